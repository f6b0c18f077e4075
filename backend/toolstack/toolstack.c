// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * toolstack.c - from a guest's xl configuration to nodes in xenstore
 *
 * `xl create` tells nobody what it was called with, and ignores keys that it
 * does not know. So when a domain appears, its configuration is looked for by
 * its name in the configured folders, and `vgrant = [...]` in it is turned into
 * nodes, each with our configuration in VG_KEY_CONFIG:
 *
 *  - where xl makes a node of the right virtio device id from its own
 *    `virtio = [...]`, that one is adopted, when it appears;
 *  - otherwise both directories are made, numbered from VG_FIRST_ID on.
 *
 * An entry that is wrong becomes a node as well: its worker says what is wrong,
 * where the user looks for it.
 *
 * /local/domain/<guest>/vgrant marks a guest whose nodes were made, so that a
 * vgrantd that is started again does not bring back what was detached. libxl
 * removes it with the guest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/daemon/supervisor.h"
#include "virtio_grant.h"

#define MARK "vgrant" /* key of a guest's own directory, which only toolstacks can write */

static void domain_dir(char *dir, uint32_t domid)
{
	snprintf(dir, VG_XS_PATH, "/local/domain/%u", domid);
}

static uint16_t virtio_id_of(const char *device)
{
	const struct vg_device_ops *ops = vg_device_find(device);

	return ops ? ops->virtio_id : 0;
}

/* Number of the domain that @backend= names; ours when it names none. */
static int backend_domid(struct vg_super *s, const char *backend, uint32_t *domid,
			 struct vg_err *err)
{
	char dir[VG_XS_PATH], name[64];
	unsigned n = 0;
	char *end;
	char **list;
	int ret;

	*domid = s->domid;
	if (!backend)
		return 0;
	*domid = (uint32_t)strtoul(backend, &end, 10);
	if (*backend && !*end)
		return 0;
	ret = vg_fail(err, -ENOENT, "backend=%s: there is no domain of that name (is it running?)",
		      backend);
	list = xs_directory(s->xs, XBT_NULL, "/local/domain", &n);
	for (unsigned i = 0; ret < 0 && list && i < n; i++) {
		*domid = (uint32_t)strtoul(list[i], NULL, 10);
		domain_dir(dir, *domid);
		if (vg_xs_text(s->xs, dir, "name", name, sizeof(name)) == 0 &&
		    strcmp(name, backend) == 0)
			ret = 0;
	}
	free(list);
	return ret;
}

/* Make both directories for @spec. Return: 0 or negative errno with a sentence. */
static int make_nodes(struct vg_super *s, uint32_t guest, uint32_t backend, uint32_t id,
		      const char *spec, enum vg_control_origin origin, const char *file,
		      struct vg_err *err)
{
	const char *keys[] = { VG_KEY_CONFIG,
			       spec,
			       VG_KEY_ORIGIN,
			       vg_control_origin_words[origin],
			       VG_KEY_MADE,
			       "1",
			       "type",
			       "virtio",
			       "transport",
			       "grant",
			       file ? VG_KEY_FILE : NULL,
			       file,
			       NULL };
	struct vg_xs_pair pair;
	int ret;

	vg_xs_pair_init(&pair, VIRTIO_GRANT_XENBUS_TYPE, guest, backend, id);
	ret = vg_xs_make_pair(s->xs, &pair, keys);
	if (ret < 0)
		return vg_fail(err, ret, "nodes for device %u cannot be made in xenstore: %s", id,
			       strerror(-ret));
	return 0;
}

static void adopt(struct vg_super *s, const struct vg_guest *g, const struct vg_xl_device *d,
		  const struct vg_xl_virtio *v)
{
	struct vg_xs_pair pair;
	struct vg_err err;
	uint32_t backend;

	if (backend_domid(s, v->backend[0] ? v->backend : "0", &backend, &err) < 0) {
		vg_error("guest %s (%u): virtio entry %d: %s", g->name, g->domid, d->virtio,
			 err.text);
		return;
	}
	vg_xs_pair_init(&pair, VIRTIO_GRANT_XENBUS_TYPE, g->domid, backend, (uint32_t)d->virtio);
	if (!vg_xs_exists(s->xs, pair.b))
		return; /* xl has not made it yet: vg_guest_adopt() will bring us back */
	vg_xs_update(s->xs, pair.b, VG_KEY_FILE, g->conf->path);
	vg_xs_update(s->xs, pair.b, VG_KEY_ORIGIN, vg_control_origin_words[VG_CONTROL_FROM_CONFIG]);
	vg_xs_update(s->xs, pair.b, VG_KEY_CONFIG, d->spec);
}

static void make(struct vg_super *s, const struct vg_guest *g, const struct vg_xl_device *d)
{
	struct vg_err err = { "" };
	uint32_t backend;
	int ret;

	ret = backend_domid(s, d->backend, &backend, &err);
	if (ret == 0)
		ret = make_nodes(s, g->domid, backend, d->number, d->spec, VG_CONTROL_FROM_CONFIG,
				 g->conf->path, &err);
	/* -EEXIST: an earlier vgrantd was killed before it could leave its mark. */
	if (ret < 0 && ret != -EEXIST)
		vg_error("guest %s (%u): '%s' in %s: %s", g->name, g->domid, d->spec, g->conf->path,
			 err.text);
}

/* The guest is new to us: find its configuration and do what it says. */
static void configure(struct vg_super *s, struct vg_guest *g)
{
	char dir[VG_XS_PATH];
	struct vg_err err = { "" };
	bool marked;
	int ret;

	g->looked = true;
	ret = vg_xlconf_find(s->settings->config_dirs, g->name, &g->conf, &err);
	if (ret < 0) {
		vg_log(ret == -ENOENT ? VG_LOG_DEBUG : VG_LOG_ERR, "guest %s (%u): %s", g->name,
		       g->domid, err.text);
		return;
	}
	if (!g->conf->n_devices)
		return;
	vg_info("guest %s (%u): %u devices in %s", g->name, g->domid, g->conf->n_devices,
		g->conf->path);
	vg_xlconf_match(g->conf, virtio_id_of);
	domain_dir(dir, g->domid);
	marked = vg_xs_text(s->xs, dir, MARK, err.text, sizeof(err.text)) == 0;
	for (unsigned i = 0; i < g->conf->n_devices; i++) {
		const struct vg_xl_device *d = &g->conf->devices[i];

		if (d->err.text[0])
			vg_error("guest %s (%u): '%s' in %s: %s", g->name, g->domid, d->spec,
				 g->conf->path, d->err.text);
		if (d->virtio >= 0)
			adopt(s, g, d, &g->conf->virtios[d->virtio]);
		else if (!marked)
			make(s, g, d);
	}
	vg_xs_put(s->xs, XBT_NULL, dir, MARK, "%s", g->conf->path);
}

static struct vg_guest *guest_of(struct vg_super *s, uint32_t domid)
{
	for (struct vg_guest *g = s->guests; g; g = g->next) {
		if (g->domid == domid)
			return g;
	}
	return NULL;
}

static void guest_free(struct vg_guest *g)
{
	vg_xlconf_free(g->conf);
	free(g);
}

/* A domain number that is there now, with a name. */
static void see(struct vg_super *s, uint32_t domid)
{
	struct vg_guest *g = guest_of(s, domid);
	char dir[VG_XS_PATH];

	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return;
		g->domid = domid;
		g->next = s->guests;
		s->guests = g;
	}
	if (g->looked)
		return;
	domain_dir(dir, domid);
	if (vg_xs_text(s->xs, dir, "name", g->name, sizeof(g->name)) < 0 || !g->name[0]) {
		vg_loop_timer(s->loop, &s->timer, NS_PER_S);
		return;
	}
	configure(s, g);
}

void vg_guests_scan(struct vg_super *s)
{
	struct vg_guest **p = &s->guests;
	unsigned n = 0;
	char **list;

	if (!s->toolstack)
		return;
	while (*p) {
		struct vg_guest *g = *p;

		if (xs_is_domain_introduced(s->xs, g->domid)) {
			p = &g->next;
			continue;
		}
		*p = g->next;
		guest_free(g);
	}
	list = xs_directory(s->xs, XBT_NULL, "/local/domain", &n);
	for (unsigned i = 0; list && i < n; i++) {
		uint32_t domid = (uint32_t)strtoul(list[i], NULL, 10);

		if (domid != s->domid && domid != 0 && xs_is_domain_introduced(s->xs, domid))
			see(s, domid);
	}
	free(list);
}

void vg_guest_adopt(struct vg_super *s, uint32_t domid, uint32_t id)
{
	struct vg_guest *g;

	if (!s->toolstack)
		return;
	g = guest_of(s, domid);
	if (!g || !g->conf)
		return; /* its turn comes with vg_guests_scan() */
	for (unsigned i = 0; i < g->conf->n_devices; i++) {
		const struct vg_xl_device *d = &g->conf->devices[i];

		if (d->virtio >= 0 && (uint32_t)d->virtio == id)
			adopt(s, g, d, &g->conf->virtios[id]);
	}
}

/* Number of the guest that a user calls @text: a name or a number. */
static int guest_domid(struct vg_super *s, const char *text, uint32_t *domid, struct vg_err *err)
{
	char dir[VG_XS_PATH], name[64];
	unsigned n = 0;
	char **list = xs_directory(s->xs, XBT_NULL, "/local/domain", &n);
	int ret =
		vg_fail(err, -ENOENT, "there is no guest '%s': xl list shows those that run", text);

	for (unsigned i = 0; ret < 0 && list && i < n; i++) {
		*domid = (uint32_t)strtoul(list[i], NULL, 10);
		domain_dir(dir, *domid);
		if (vg_xs_text(s->xs, dir, "name", name, sizeof(name)) < 0)
			name[0] = '\0';
		if (*domid != 0 && vg_control_is_guest(text, name, *domid))
			ret = 0;
	}
	free(list);
	return ret;
}

int vg_guest_attach(struct vg_super *s, const char *guest, const char *spec, struct vg_err *err)
{
	const char *backend_name = NULL, *id_text = NULL;
	const struct vg_device_ops *ops;
	struct vg_params params;
	uint32_t domid = 0, backend, id = VG_FIRST_ID;
	int ret;

	if (!s->toolstack)
		return vg_fail(
			err, -EPERM,
			"this is no dom0: attach the device there, with backend=<this domain>");
	ret = vg_params_parse(spec, &params, err);
	if (ret < 0)
		return ret;
	ops = vg_device_find(params.device);
	if (!ops)
		return vg_fail(err, -EINVAL, "there is no device '%s': `vgrant help` lists them",
			       params.device);
	ret = vg_params_check(&params, ops->params, vg_common_params, err);
	if (ret == 0)
		ret = guest_domid(s, guest, &domid, err);
	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < params.n; i++) {
		if (strcmp(params.p[i].key, "backend") == 0)
			backend_name = params.p[i].value;
		else if (strcmp(params.p[i].key, "id") == 0)
			id_text = params.p[i].value;
	}
	ret = backend_domid(s, backend_name, &backend, err);
	if (ret < 0)
		return ret;
	if (id_text)
		id = (uint32_t)strtoul(id_text, NULL, 10);
	do
		ret = make_nodes(s, domid, backend, id, spec, VG_CONTROL_FROM_ATTACH, NULL, err);
	while (ret == -EEXIST && !id_text && ++id < VG_FIRST_ID + VG_LIMIT_DEVICES_PER_GUEST * 4);
	return ret < 0 ? ret : (int)id;
}

void vg_guests_free(struct vg_super *s)
{
	while (s->guests) {
		struct vg_guest *g = s->guests;

		s->guests = g->next;
		guest_free(g);
	}
}
