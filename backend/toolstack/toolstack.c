// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * toolstack.c - from a guest's configuration to nodes in xenstore
 *
 * `xl create` hands on to nobody what it was called with, and ignores keys that it
 * does not know. So when a domain appears, the sources (source.h) are asked for
 * its configuration, and its devices are turned into nodes, each with our
 * configuration in VG_KEY_CONFIG:
 *
 *  - where xl makes a node of the right virtio device id from its own
 *    `virtio = [...]`, that one is adopted, when it appears;
 *  - otherwise both directories are made.
 *
 * A source that follows (libvirt's metadata) counts while the guest runs, too: nodes of its origin
 * are compared with what it wants, at first and whenever it changes, and made or taken away. An entry
 * with id= is known by that; one without, by what it says, until its number is written into it (number()
 * of the source), so that it keeps that when others go. What one says anew under an old id is for the
 * device to take, as by `vgrant set`; what it cannot take is told, and counts from the guest's next
 * start: a device is not changed by taking it away under its guest.
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
#include "backend/toolstack/spec.h"
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
	char *uuid;			 /* NULL until it was looked for a configuration */
	const struct vg_source *source;	 /* of config */
	struct vg_source_config *config; /* NULL: none was found */
	bool looked;			 /* for a configuration */
	bool ran;     /* before: what is made is plugged into a guest that runs */
	bool dropped; /* the source, which follows, has nothing for it any more */
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

/* Whose nodes are made, and what for. */
struct making {
	uint32_t guest;
	enum vg_control_origin origin;
	const char *file; /* or NULL */
	bool plugged;	  /* the guest ran already */
};

static struct making making_for(const struct vg_guest *g)
{
	return (struct making){
		.guest = g->domid,
		.origin = g->source->origin,
		.file = g->config->where,
		.plugged = g->ran,
	};
}

/* Make both directories for @spec. Return: 0 or negative errno with a sentence. */
static int make_nodes(struct vg_toolstack *ts, const struct making *m, uint32_t backend,
		      uint32_t id, const char *spec, struct vg_err *err)
{
	const struct vg_xs_entry entries[] = {
		{ VG_KEY_CONFIG, spec },
		{ VG_KEY_ORIGIN, vg_control_origin_words[m->origin] },
		{ VG_KEY_MADE, "1" },
		{ "type", "virtio" },
		{ "transport", "grant" },
		{ VG_KEY_FILE, m->file },
		{ VG_KEY_PLUGGED, m->plugged ? "1" : NULL },
	};
	struct vg_xs_pair pair;
	int ret;

	vg_xs_pair_init(&pair, VIRTIO_GRANT_XENBUS_TYPE, m->guest, backend, id);
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
	const struct making m = making_for(g);
	struct vg_err err = { "" };
	uint32_t backend;
	int ret;

	ret = backend_domid(ts, d->backend, &backend, &err);
	if (ret == 0)
		ret = make_nodes(ts, &m, backend, d->number, d->spec, &err);
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

static struct vg_guest_id id_of(const struct vg_guest *g)
{
	return (struct vg_guest_id){
		.domid = g->domid,
		.name = g->name,
		.uuid = g->uuid ? g->uuid : "",
	};
}

/* Ask the sources. Return: 0; -ENOENT: none knows it; -EAGAIN: one will; or negative errno; logged. */
static int find_config(struct vg_toolstack *ts, struct vg_guest *g,
		       struct vg_source_config **config, const struct vg_source **from)
{
	const struct vg_guest_id id = id_of(g);
	int ret = -ENOENT;

	for (unsigned i = 0; ret == -ENOENT && i < ts->n_sources; i++) {
		const struct vg_source *source = ts->sources[i].source;
		struct vg_err err = { "" };

		ret = source->find(ts->sources[i].ctx, &id, virtio_id_of, config, &err);
		*from = source;
		if (ret < 0)
			vg_log(ret == -ENOENT || ret == -EAGAIN ? VG_LOG_DEBUG : VG_LOG_ERR,
			       "guest %s (%u): %s: %s", g->name, g->domid, source->name, err.text);
	}
	return ret;
}

static void tell_config(const struct vg_guest *g)
{
	const struct vg_source_config *c = g->config;

	vg_info("guest %s (%u): %u devices in %s", g->name, g->domid, c->n_devices, c->where);
	if (c->warning.text[0])
		vg_error("guest %s (%u): %s: %s", g->name, g->domid, c->where, c->warning.text);
	for (unsigned i = 0; i < c->n_devices; i++) {
		if (c->devices[i].err.text[0])
			vg_error("guest %s (%u): %s:%u: %s", g->name, g->domid, c->where,
				 c->devices[i].line, c->devices[i].err.text);
	}
}

/* ---- a source that follows ------------------------------------------------------ */

enum { BACKENDS_MAX = 8 }; /* domains that serve one guest, looked at for what is to go */

/* A node that an entry of such a source was made into. */
struct made {
	struct vg_xs_pair pair;
	char spec[VG_PARAMS_LEN];
	bool wanted;
};

struct mades {
	unsigned n;
	struct made made[VG_LIMIT_DEVICES_PER_GUEST];
};

static void add_backend(struct vg_toolstack *ts, const char *name, uint32_t *list, unsigned *n)
{
	uint32_t domid;

	if (backend_domid(ts, name, &domid, NULL) < 0)
		return;
	for (unsigned i = 0; i < *n; i++) {
		if (list[i] == domid)
			return;
	}
	if (*n < BACKENDS_MAX)
		list[(*n)++] = domid;
}

/* Our domain, those that @config names, and those that it named. Return: how many. */
static unsigned backends_of(struct vg_toolstack *ts, const struct vg_guest *g, uint32_t *list)
{
	unsigned n = 0;

	add_backend(ts, NULL, list, &n);
	for (unsigned i = 0; i < g->config->n_devices; i++)
		add_backend(ts, g->config->devices[i].backend, list, &n);
	return n;
}

/* What was made for @g already, by this source. Return: 0, or negative errno. */
static int list_made(struct vg_toolstack *ts, const struct vg_guest *g, uint32_t backend,
		     struct mades *all)
{
	const char *origin = vg_control_origin_words[g->source->origin];
	char dir[VG_XS_PATH], **list, *word;
	unsigned n;
	int ret;

	snprintf(dir, sizeof(dir), "/local/domain/%u/backend/" VIRTIO_GRANT_XENBUS_TYPE "/%u",
		 backend, g->domid);
	ret = vg_xs_list(ts->xs, dir, &list, &n);
	for (unsigned i = 0; ret == 0 && i < n && all->n < COUNT(all->made); i++) {
		struct made *m = &all->made[all->n];
		uint64_t id;

		if (vg_number(list[i], 10, INT32_MAX, &id) < 0)
			continue;
		vg_xs_pair_init(&m->pair, VIRTIO_GRANT_XENBUS_TYPE, g->domid, backend,
				(uint32_t)id);
		ret = vg_xs_text_dup(ts->xs, m->pair.b, VG_KEY_ORIGIN, &word);
		if (ret == 0 && strcmp(word, origin) == 0)
			ret = vg_spec_read(ts->xs, &m->pair, false, m->spec);
		else if (ret == 0)
			ret = -ENOENT;
		free(word);
		m->wanted = false;
		all->n += ret == 0;
		if (ret == -ENOENT || ret == -EINVAL)
			ret = 0;
	}
	free(list);
	return ret;
}

/* Do both say the same, whatever the order of their keys, and whoever wrote the number? */
static bool says_same(const char *a, const char *b)
{
	struct vg_params p, q;
	unsigned n_p = 0, n_q = 0;

	if (vg_params_parse(a, &p, NULL) < 0 || vg_params_parse(b, &q, NULL) < 0)
		return strcmp(a, b) == 0;
	for (unsigned i = 0; i < p.n; i++) {
		const char *other = vg_params_str(&q, NULL, p.p[i].key);

		if (strcmp(p.p[i].key, "id") == 0)
			continue;
		n_p++;
		if (!other || strcmp(other, p.p[i].value) != 0)
			return false;
	}
	for (unsigned i = 0; i < q.n; i++)
		n_q += strcmp(q.p[i].key, "id") != 0;
	return n_p == n_q && strcmp(p.device, q.device) == 0;
}

static struct made *made_of(struct mades *all, const struct vg_source_device *d)
{
	for (unsigned i = 0; i < all->n; i++) {
		struct made *m = &all->made[i];

		if (!m->wanted &&
		    (d->has_id ? m->pair.id == d->number : says_same(m->spec, d->spec)))
			return m;
	}
	return NULL;
}

/*
 * A node for @d; without id= the first number that is free.
 * Return: 0, with @number, which is -1 when there can be none; or negative errno: try again.
 */
static int plug(struct vg_toolstack *ts, const struct vg_guest *g, const struct vg_source_device *d,
		int *number)
{
	const struct making m = making_for(g);
	struct vg_err err = { "" };
	uint32_t backend, id = d->number;
	int ret = backend_domid(ts, d->backend, &backend, &err);

	do {
		if (ret == 0 || ret == -EEXIST)
			ret = make_nodes(ts, &m, backend, id, d->spec, &err);
	} while (ret == -EEXIST && !d->has_id &&
		 ++id < VG_XL_FIRST_NUMBER + VG_LIMIT_DEVICES_PER_GUEST * 4);
	if (ret < 0)
		vg_error("guest %s (%u): '%s' in %s: %s", g->name, g->domid, d->spec,
			 g->config->where, err.text);
	else
		vg_info("guest %s (%u): device %u: '%s'", g->name, g->domid, id, d->spec);
	*number = ret < 0 ? -1 : (int)id;
	return ret == -ENOENT || ret == -EEXIST ? 0 : ret;
}

/* Take a node away as `xl` would. Its domain's vgrantd does the rest. */
static int unplug(struct vg_toolstack *ts, const struct vg_guest *g, const struct made *m)
{
	int ret = vg_xs_update_one(ts->xs, m->pair.b, "online", "0");

	vg_info("guest %s (%u): device %u goes: %s has it no more", g->name, g->domid, m->pair.id,
		g->config->where);
	return ret == -ENOENT ? 0 : ret;
}

/* The entry with the same id in what counted before; NULL: there is none, or nothing did. */
static const struct vg_source_device *entry_before(const struct vg_source_config *before,
						   const struct vg_source_device *d)
{
	for (unsigned i = 0; before && i < before->n_devices; i++) {
		if (before->devices[i].has_id && before->devices[i].number == d->number)
			return &before->devices[i];
	}
	return NULL;
}

/* Entry @d says something else than what @m was made with. */
static void differs(struct vg_toolstack *ts, const struct vg_guest *g, const struct made *m,
		    const struct vg_source_device *d, const struct vg_source_config *before)
{
	const struct vg_source_device *was = entry_before(before, d);

	/* It said so before: then `vgrant set` has changed the device since, or it was told. */
	if (was && says_same(was->spec, d->spec))
		return;
	if (was && m->pair.backend == ts->domid && ts->changed &&
	    ts->changed(ts->changed_ctx, g->domid, m->pair.id, was->spec, d->spec))
		return;
	vg_warn("guest %s (%u): device %u stays '%s' while the guest has it; '%s' in %s counts "
		"from "
		"its next start",
		g->name, g->domid, m->pair.id, m->spec, d->spec, g->config->where);
}

/* Entries without id= have a number now. @numbers: of the first @n; -1: none */
static void tell_numbers(struct vg_toolstack *ts, const struct vg_guest *g, const int *numbers,
			 unsigned n)
{
	const struct vg_guest_id id = id_of(g);
	void *ctx = NULL;

	for (unsigned i = 0; i < ts->n_sources; i++) {
		if (ts->sources[i].source == g->source)
			ctx = ts->sources[i].ctx;
	}
	for (unsigned i = 0; i < n && g->source->number; i++) {
		const struct vg_source_device *d = &g->config->devices[i];

		if (!d->has_id && numbers[i] >= 0)
			g->source->number(ctx, &id, d, (unsigned)numbers[i]);
	}
}

/*
 * Have the nodes be as g->config wants. @before: what counted until now, or NULL
 * Return: whether all are; if not: try again.
 */
static bool follow(struct vg_toolstack *ts, struct vg_guest *g, const uint32_t *backends,
		   unsigned n, const struct vg_source_config *before)
{
	struct mades *all = calloc(1, sizeof(*all));
	int numbers[VG_XL_DEVICES_MAX]; /* -1: it has no node */
	unsigned n_wanted = g->dropped ? 0 : g->config->n_devices;
	int ret = all ? 0 : -ENOMEM;

	for (unsigned i = 0; ret == 0 && i < n; i++)
		ret = list_made(ts, g, backends[i], all);
	for (unsigned i = 0; ret == 0 && i < n_wanted; i++) {
		struct made *m = made_of(all, &g->config->devices[i]);

		numbers[i] = m ? (int)m->pair.id : -1;
		if (!m)
			continue;
		m->wanted = true;
		if (!says_same(m->spec, g->config->devices[i].spec))
			differs(ts, g, m, &g->config->devices[i], before);
	}
	for (unsigned i = 0; ret == 0 && i < all->n; i++) {
		if (!all->made[i].wanted)
			ret = unplug(ts, g, &all->made[i]);
	}
	for (unsigned i = 0; ret == 0 && i < n_wanted; i++) {
		if (numbers[i] < 0)
			ret = plug(ts, g, &g->config->devices[i], &numbers[i]);
	}
	if (ret == 0)
		tell_numbers(ts, g, numbers, n_wanted);
	free(all);
	return ret == 0;
}

/* ---- new guests ----------------------------------------------------------------- */

/* The guest is new to us: find its configuration and do what it says. */
static void configure(struct vg_toolstack *ts, struct vg_guest *g)
{
	char dir[VG_XS_PATH], *mark;
	bool marked, all = true;
	int ret;

	if (!g->config) {
		g->looked = true;
		free(g->uuid);
		g->uuid = uuid_of(ts, g->domid);
		ret = find_config(ts, g, &g->config, &g->source);
		if (ret < 0) {
			g->ran |= ret == -ENOENT;
			return;
		}
		if (!g->config->n_devices && !g->source->follows)
			return;
		tell_config(g);
	}
	domain_dir(dir, g->domid);
	ret = vg_xs_text_dup(ts->xs, dir, MARK, &mark);
	free(mark);
	marked = ret == 0 || ret == -EINVAL;
	all = marked || ret == -ENOENT;
	g->ran |= marked;
	if (all && g->source->follows) {
		uint32_t backends[BACKENDS_MAX];

		all = follow(ts, g, backends, backends_of(ts, g, backends), NULL);
	}
	for (unsigned i = 0; all && !g->source->follows && i < g->config->n_devices; i++) {
		const struct vg_source_device *d = &g->config->devices[i];

		if (d->adopts >= 0)
			ret = adopt(ts, g, d);
		else
			ret = marked ? 0 : make(ts, g, d);
		all = ret == 0;
	}
	if (all)
		all = vg_xs_put(ts->xs, dir, MARK, g->config->where) == 0;
	g->ran |= all;
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
	free(g->uuid);
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

void vg_guests_look_again(struct vg_toolstack *ts)
{
	for (struct vg_guest *g = ts->guests; g; g = g->next)
		g->looked &= g->config != NULL;
	vg_guests_scan(ts);
}

static void again_expired(struct vg_timer *t)
{
	vg_guests_scan(container_of(t, struct vg_toolstack, again));
}

/* Nodes were made for @g from another source than @where: that one keeps it. */
static bool is_anothers(struct vg_toolstack *ts, const struct vg_guest *g, const char *where)
{
	char dir[VG_XS_PATH], *mark;
	bool other;

	domain_dir(dir, g->domid);
	vg_xs_text_dup(ts->xs, dir, MARK, &mark);
	other = mark && strcmp(mark, where) != 0;
	free(mark);
	return other;
}

/* Its source says something new, or, without devices of ours, nothing any more. */
static void change(struct vg_toolstack *ts, struct vg_guest *g)
{
	struct vg_source_config *config = NULL, *before = NULL;
	const struct vg_source *from, *before_from = g->source;
	uint32_t backends[BACKENDS_MAX];
	unsigned n = 0;
	int ret = find_config(ts, g, &config, &from);

	if (ret < 0 && (ret != -ENOENT || !g->source->follows))
		return;
	if (ret == 0 &&
	    (!from->follows || (g->source != from && is_anothers(ts, g, config->where)))) {
		if (from->follows)
			vg_warn("guest %s (%u): %s has devices, too; those of %s count while it "
				"runs",
				g->name, g->domid, config->where, g->config->where);
		from->free(config);
		/* A file of xl's is for guests that appear: what was followed has nothing any more. */
		if (from->follows || !g->source->follows)
			return;
		ret = -ENOENT;
	}
	if (g->source->follows)
		n = backends_of(ts, g, backends);
	g->dropped = ret < 0;
	if (ret == 0) {
		before = g->config;
		g->config = config;
		g->source = from;
		tell_config(g);
	}
	for (unsigned i = 0; i < g->config->n_devices; i++)
		add_backend(ts, g->config->devices[i].backend, backends, &n);
	add_backend(ts, NULL, backends, &n);
	g->looked = follow(ts, g, backends, n, before);
	if (before)
		before_from->free(before);
	if (!g->looked)
		again(ts);
}

void vg_guests_changed(struct vg_toolstack *ts, const char *uuid)
{
	for (struct vg_guest *g = ts->guests; g; g = g->next) {
		if (!g->uuid || strcmp(g->uuid, uuid) != 0)
			continue;
		if (g->config) {
			change(ts, g);
		} else {
			g->looked = false;
			see(ts, g->domid);
		}
	}
}

int vg_guest_followed(const struct vg_toolstack *ts, const char *guest, const char **uuid)
{
	for (const struct vg_guest *g = ts->guests; g; g = g->next) {
		if (!g->name || !g->uuid || !vg_control_is_guest(guest, g->name, g->domid))
			continue;
		*uuid = g->uuid;
		return !g->config || g->source->follows;
	}
	return -ENOENT;
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

static int parse(const char *spec, struct vg_params *params, struct vg_err *err)
{
	const struct vg_device_ops *ops;
	int ret = vg_params_parse(spec, params, err);

	if (ret < 0)
		return ret;
	ops = vg_device_find(params->device);
	if (!ops)
		return vg_fail(err, -EINVAL, "there is no device '%s': `vgrant help` lists them",
			       params->device);
	ret = vg_params_check(params, ops->params, vg_common_params, err);
	return ret < 0 ? ret : vg_params_check_paths(params, ops->params, err);
}

int vg_guest_check(const char *spec, struct vg_err *err)
{
	struct vg_params params;

	return parse(spec, &params, err);
}

int vg_guest_attach(struct vg_toolstack *ts, const char *guest, const char *spec,
		    struct vg_err *err)
{
	struct making m = { .origin = VG_CONTROL_FROM_ATTACH, .plugged = true };
	uint32_t backend, id = VG_XL_FIRST_NUMBER;
	struct vg_params params;
	const char *id_text;
	int ret;

	if (!ts->n_sources)
		return vg_fail(
			err, -EPERM,
			"this is no dom0: attach the device there, with backend=<this domain>");
	ret = parse(spec, &params, err);
	if (ret < 0)
		return ret;
	ret = find_domain(ts, guest, &m.guest);
	if (ret == 0 && m.guest == 0)
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
		ret = make_nodes(ts, &m, backend, id, spec, err);
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
