// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * toolstack.c - from a guest's configuration to nodes in xenstore
 *
 * `xl create` tells nobody what it was called with, and ignores keys that it
 * does not know. So when a domain appears, the sources (source.h) are asked for
 * its configuration, and its devices are turned into nodes, each with our
 * configuration in VG_KEY_CONFIG:
 *
 *  - where xl makes a node of the right virtio device id from its own
 *    `virtio = [...]`, that one is adopted, when it appears;
 *  - otherwise both directories are made.
 *
 * An entry that is wrong becomes a node as well: its worker says what is wrong,
 * where the user looks for it.
 *
 * /local/domain/<guest>/vgrant marks a guest whose nodes were made, so that a
 * vgrantd that is started again does not bring back what was detached. libxl
 * removes it with the guest.
 */
#include "backend/toolstack/toolstack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/base/number.h"
#include "backend/base/params.h"
#include "backend/control/control.h"
#include "backend/toolstack/xlconf.h"
#include "backend/virtio/device.h"
#include "virtio_grant.h"
#include "xenstore/keys.h"

#define MARK "vgrant" /* key of a guest's own directory, which only toolstacks can write */

enum { DOMIDS = 0x7ff0 /* Xen's DOMID_FIRST_RESERVED */ };

struct vg_guest {
	struct vg_guest *next;
	uint32_t domid;
	char *name;			 /* NULL: it has none yet */
	const struct vg_source *source;	 /* of config */
	struct vg_source_config *config; /* NULL: none was found */
	bool looked;			 /* for a configuration */
};

static void again(struct vg_toolstack *ts)
{
	vg_loop_timer(ts->loop, &ts->again, NS_PER_S);
}

static void domain_dir(char *dir, uint32_t domid)
{
	snprintf(dir, VG_XS_PATH, "/local/domain/%u", domid);
}

static uint16_t virtio_id_of(const char *device)
{
	const struct vg_device_ops *ops = vg_device_find(device);

	return ops ? ops->virtio_id : 0;
}

/* ---- domains by name ---------------------------------------------------- */

/*
 * The domain that @text means to xl (libxl_domain_qualifier_to_domid): what is all digits is a
 * number, whatever domains are called; all else is a name.
 * Return: 0; -ENOENT; or negative errno: xenstored did not say.
 */
static int find_domain(struct vg_toolstack *ts, const char *text, uint32_t *domid)
{
	uint64_t number;
	unsigned n;
	char **list;
	int ret = vg_number(text, 10, DOMIDS - 1, &number);
	bool is_number = ret != -EINVAL;
	int found = -ENOENT;

	if (ret == -ERANGE)
		return -ENOENT;
	ret = vg_xs_list(ts->xs, "/local/domain", &list, &n);
	for (unsigned i = 0; ret == 0 && found == -ENOENT && i < n; i++) {
		char dir[VG_XS_PATH], *name;
		uint64_t id;

		if (vg_number(list[i], 10, DOMIDS - 1, &id) < 0 || (is_number && id != number))
			continue;
		if (is_number) {
			found = 0;
		} else {
			domain_dir(dir, (uint32_t)id);
			ret = vg_xs_text_dup(ts->xs, dir, "name", &name);
			if (ret == 0 && strcmp(name, text) == 0)
				found = 0;
			free(name);
			if (ret == -ENOENT || ret == -EINVAL)
				ret = 0;
		}
		*domid = (uint32_t)id;
	}
	free(list);
	return ret < 0 ? ret : found;
}

/* Number of the domain that @backend= names; ours when it names none. A number is believed. */
static int backend_domid(struct vg_toolstack *ts, const char *backend, uint32_t *domid,
			 struct vg_err *err)
{
	uint64_t number;
	int ret;

	*domid = ts->domid;
	if (!backend)
		return 0;
	if (vg_number(backend, 10, DOMIDS - 1, &number) == 0) {
		*domid = (uint32_t)number;
		return 0;
	}
	ret = find_domain(ts, backend, domid);
	if (ret == -ENOENT)
		return vg_fail(err, ret,
			       "backend=%s: there is no domain of that name (is it running?)",
			       backend);
	return ret < 0 ? vg_fail(err, ret, "xenstored does not say which domain %s is: %s", backend,
				 strerror(-ret))
		       : 0;
}

/* ---- nodes -------------------------------------------------------------- */

/* Make both directories for @spec. Return: 0 or negative errno with a sentence. */
static int make_nodes(struct vg_toolstack *ts, uint32_t guest, uint32_t backend, uint32_t id,
		      const char *spec, enum vg_control_origin origin, const char *file,
		      struct vg_err *err)
{
	const struct vg_xs_entry entries[] = {
		{ VG_KEY_CONFIG, spec },  { VG_KEY_ORIGIN, vg_control_origin_words[origin] },
		{ VG_KEY_MADE, "1" },	  { "type", "virtio" },
		{ "transport", "grant" }, { VG_KEY_FILE, file },
	};
	struct vg_xs_pair pair;
	int ret;

	vg_xs_pair_init(&pair, VIRTIO_GRANT_XENBUS_TYPE, guest, backend, id);
	ret = vg_xs_make_pair(ts->xs, &pair, entries, COUNT(entries));
	if (ret < 0)
		return vg_fail(err, ret, "nodes for device %u cannot be made in xenstore: %s", id,
			       strerror(-ret));
	return 0;
}

/* Return: 0, also when there is nothing to do; or negative errno, logged: try again. */
static int adopt(struct vg_toolstack *ts, const struct vg_guest *g,
		 const struct vg_source_device *d)
{
	const struct vg_xs_entry entries[] = {
		{ VG_KEY_FILE, g->config->where },
		{ VG_KEY_ORIGIN, vg_control_origin_words[VG_CONTROL_FROM_CONFIG] },
		{ VG_KEY_CONFIG, d->spec },
	};
	struct vg_xs_pair pair;
	struct vg_err err;
	uint32_t backend;
	int ret;

	if (backend_domid(ts, d->adopts_from[0] ? d->adopts_from : "0", &backend, &err) < 0) {
		vg_error("guest %s (%u): virtio entry %d: %s", g->name, g->domid, d->adopts,
			 err.text);
		return 0;
	}
	vg_xs_pair_init(&pair, VIRTIO_GRANT_XENBUS_TYPE, g->domid, backend, (uint32_t)d->adopts);
	ret = vg_xs_update(ts->xs, pair.b, entries, COUNT(entries));
	if (ret == -ENOENT)
		return 0; /* xl has not made it yet: vg_guest_adopt() will bring us back */
	if (ret < 0)
		vg_error("guest %s (%u): virtio entry %d: %s", g->name, g->domid, d->adopts,
			 strerror(-ret));
	return ret;
}

static int make(struct vg_toolstack *ts, const struct vg_guest *g, const struct vg_source_device *d)
{
	struct vg_err err = { "" };
	uint32_t backend;
	int ret;

	ret = backend_domid(ts, d->backend, &backend, &err);
	if (ret == 0)
		ret = make_nodes(ts, g->domid, backend, d->number, d->spec, VG_CONTROL_FROM_CONFIG,
				 g->config->where, &err);
	/* -EEXIST: an earlier try, or vgrantd, came to an end before it could leave its mark. */
	if (ret == -EEXIST)
		return 0;
	if (ret < 0)
		vg_error("guest %s (%u): '%s' in %s: %s", g->name, g->domid, d->spec,
			 g->config->where, err.text);
	return ret == -ENOENT ? 0 : ret;
}

/* ---- guests ------------------------------------------------------------- */

/* The guest's uuid, from its key vm = "/vm/<uuid>"; "" when it has none. */
static char *uuid_of(struct vg_toolstack *ts, uint32_t domid)
{
	char dir[VG_XS_PATH], *vm, *slash, *uuid;

	domain_dir(dir, domid);
	if (vg_xs_text_dup(ts->xs, dir, "vm", &vm) < 0)
		return strdup("");
	slash = strrchr(vm, '/');
	uuid = strdup(slash ? slash + 1 : vm);
	free(vm);
	return uuid;
}

/* Ask the sources. Return: 0; -ENOENT: none knows it; or negative errno; logged. */
static int find_config(struct vg_toolstack *ts, struct vg_guest *g)
{
	char *uuid = uuid_of(ts, g->domid);
	const struct vg_guest_id id = { .domid = g->domid,
					.name = g->name,
					.uuid = uuid ? uuid : "" };
	int ret = -ENOENT;

	for (unsigned i = 0; ret == -ENOENT && i < ts->n_sources; i++) {
		const struct vg_source *source = ts->sources[i].source;
		struct vg_err err = { "" };

		ret = source->find(ts->sources[i].ctx, &id, virtio_id_of, &g->config, &err);
		if (ret == 0)
			g->source = source;
		else
			vg_log(ret == -ENOENT ? VG_LOG_DEBUG : VG_LOG_ERR, "guest %s (%u): %s: %s",
			       g->name, g->domid, source->name, err.text);
	}
	free(uuid);
	return ret;
}

/* The guest is new to us: find its configuration and do what it says. */
static void configure(struct vg_toolstack *ts, struct vg_guest *g)
{
	char dir[VG_XS_PATH], *mark;
	bool marked, all = true;
	int ret;

	if (!g->config) {
		g->looked = true;
		if (find_config(ts, g) < 0 || !g->config->n_devices)
			return;
		vg_info("guest %s (%u): %u devices in %s", g->name, g->domid, g->config->n_devices,
			g->config->where);
		if (g->config->warning.text[0])
			vg_error("guest %s (%u): %s: %s", g->name, g->domid, g->config->where,
				 g->config->warning.text);
		for (unsigned i = 0; i < g->config->n_devices; i++) {
			const struct vg_source_device *d = &g->config->devices[i];

			if (d->err.text[0])
				vg_error("guest %s (%u): %s:%u: %s", g->name, g->domid,
					 g->config->where, d->line, d->err.text);
		}
	}
	domain_dir(dir, g->domid);
	ret = vg_xs_text_dup(ts->xs, dir, MARK, &mark);
	free(mark);
	marked = ret == 0 || ret == -EINVAL;
	all = marked || ret == -ENOENT;
	for (unsigned i = 0; all && i < g->config->n_devices; i++) {
		const struct vg_source_device *d = &g->config->devices[i];

		if (d->adopts >= 0)
			ret = adopt(ts, g, d);
		else
			ret = marked ? 0 : make(ts, g, d);
		all = ret == 0;
	}
	if (all)
		all = vg_xs_put(ts->xs, dir, MARK, g->config->where) == 0;
	g->looked = all;
	if (!all)
		again(ts);
}

static struct vg_guest *guest_of(struct vg_toolstack *ts, uint32_t domid)
{
	for (struct vg_guest *g = ts->guests; g; g = g->next) {
		if (g->domid == domid)
			return g;
	}
	return NULL;
}

static void guest_free(struct vg_guest *g)
{
	if (g->config)
		g->source->free(g->config);
	free(g->name);
	free(g);
}

/* A domain number that is there now. */
static void see(struct vg_toolstack *ts, uint32_t domid)
{
	struct vg_guest *g = guest_of(ts, domid);
	char dir[VG_XS_PATH];

	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return;
		g->domid = domid;
		g->next = ts->guests;
		ts->guests = g;
	}
	if (g->looked)
		return;
	domain_dir(dir, domid);
	free(g->name);
	if (vg_xs_text_dup(ts->xs, dir, "name", &g->name) < 0 || !g->name[0]) {
		again(ts); /* it is being built */
		return;
	}
	configure(ts, g);
}

void vg_guests_scan(struct vg_toolstack *ts)
{
	struct vg_guest **p = &ts->guests;
	unsigned n;
	char **list;
	int ret;

	if (!ts->n_sources)
		return;
	while (*p) {
		struct vg_guest *g = *p;

		ret = vg_xs_introduced(ts->xs, g->domid);
		if (ret != 0) {
			if (ret < 0)
				again(ts);
			p = &g->next;
			continue;
		}
		*p = g->next;
		guest_free(g);
	}
	ret = vg_xs_list(ts->xs, "/local/domain", &list, &n);
	for (unsigned i = 0; ret >= 0 && i < n; i++) {
		uint64_t domid;

		if (vg_number(list[i], 10, DOMIDS - 1, &domid) < 0 || domid == ts->domid ||
		    domid == 0)
			continue;
		ret = vg_xs_introduced(ts->xs, (uint32_t)domid);
		if (ret > 0)
			see(ts, (uint32_t)domid);
	}
	free(list);
	if (ret < 0)
		again(ts);
}

static void again_expired(struct vg_timer *t)
{
	vg_guests_scan(container_of(t, struct vg_toolstack, again));
}

void vg_guest_renamed(struct vg_toolstack *ts, uint32_t domid)
{
	struct vg_guest *g = guest_of(ts, domid);
	char dir[VG_XS_PATH], *name;

	if (!g)
		return;
	domain_dir(dir, domid);
	if (vg_xs_text_dup(ts->xs, dir, "name", &name) < 0)
		return;
	free(g->name);
	g->name = name;
}

void vg_guest_adopt(struct vg_toolstack *ts, uint32_t domid, uint32_t id)
{
	struct vg_guest *g = guest_of(ts, domid);

	if (!g || !g->config)
		return; /* its turn comes with vg_guests_scan() */
	for (unsigned i = 0; i < g->config->n_devices; i++) {
		const struct vg_source_device *d = &g->config->devices[i];

		if (d->adopts >= 0 && (uint32_t)d->adopts == id && adopt(ts, g, d) < 0) {
			g->looked = false;
			again(ts);
		}
	}
}

/* ---- attach ------------------------------------------------------------- */

static const char *value_of(const struct vg_params *p, const char *key)
{
	for (unsigned i = 0; i < p->n; i++) {
		if (strcmp(p->p[i].key, key) == 0)
			return p->p[i].value;
	}
	return NULL;
}

int vg_guest_attach(struct vg_toolstack *ts, const char *guest, const char *spec,
		    struct vg_err *err)
{
	uint32_t domid = 0, backend, id = VG_XL_FIRST_NUMBER;
	const struct vg_device_ops *ops;
	struct vg_params params;
	const char *id_text;
	int ret;

	if (!ts->n_sources)
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
		ret = vg_params_check_paths(&params, ops->params, err);
	if (ret < 0)
		return ret;
	ret = find_domain(ts, guest, &domid);
	if (ret == 0 && domid == 0)
		ret = -ENOENT;
	if (ret < 0)
		return ret == -ENOENT ? vg_fail(err, ret,
						"there is no guest '%s': xl list shows those that "
						"run",
						guest)
				      : vg_fail(err, ret, "xenstored does not say who %s is: %s",
						guest, strerror(-ret));
	ret = backend_domid(ts, value_of(&params, "backend"), &backend, err);
	if (ret < 0)
		return ret;
	id_text = value_of(&params, "id");
	if (id_text)
		id = (uint32_t)vg_params_uint(&params, vg_common_params, "id");
	do
		ret = make_nodes(ts, domid, backend, id, spec, VG_CONTROL_FROM_ATTACH, NULL, err);
	while (ret == -EEXIST && !id_text &&
	       ++id < VG_XL_FIRST_NUMBER + VG_LIMIT_DEVICES_PER_GUEST * 4);
	return ret < 0 ? ret : (int)id;
}

/* ---- life --------------------------------------------------------------- */

void vg_toolstack_init(struct vg_toolstack *ts, struct vg_loop *loop, struct vg_xs *xs,
		       uint32_t domid)
{
	*ts = (struct vg_toolstack){ .loop = loop, .xs = xs, .domid = domid };
	ts->again.expired = again_expired;
}

void vg_toolstack_add_source(struct vg_toolstack *ts, const struct vg_source *source, void *ctx)
{
	if (ts->n_sources == VG_SOURCES_MAX)
		return;
	ts->sources[ts->n_sources].source = source;
	ts->sources[ts->n_sources++].ctx = ctx;
}

void vg_toolstack_free(struct vg_toolstack *ts)
{
	vg_loop_timer_stop(&ts->again);
	while (ts->guests) {
		struct vg_guest *g = ts->guests;

		ts->guests = g->next;
		guest_free(g);
	}
}
