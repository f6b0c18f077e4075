/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_toolstack.c - what xl and libxl do: domains, devices and their nodes
 *
 * Mirrored from tools/libs/light: libxl__domain_make(),
 * libxl__device_generic_add(), libxl__set_xenstore_virtio(),
 * device_disk_add(), and the destroy path: each backend gets online = 0 and
 * state = 5 and some time to reach 6. Nodes, owners and permissions are those
 * of libxl, as far as a backend or frontend could notice.
 */
#include "backend/base/container.h"
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROOM 256u /* of a path */

/* ---- nodes ---------------------------------------------------------------- */

/* struct batch - a transaction in which the first error sticks */
struct batch {
	struct xs_handle *xs;
	xs_transaction_t t;
	int rc;
};

static void put(struct batch *b, const char *path, const char *value)
{
	if (!b->rc && !xs_write(b->xs, b->t, path, value, (unsigned int)strlen(value)))
		b->rc = -errno;
}

static void put2(struct batch *b, const char *dir, const char *key, const char *value)
{
	char path[2 * ROOM];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	put(b, path, value);
}

static void put_int(struct batch *b, const char *dir, const char *key, unsigned int value)
{
	char s[16];

	snprintf(s, sizeof(s), "%u", value);
	put2(b, dir, key, s);
}

/* mknod() of libxl: a directory with an owner and perhaps a reader */
static void dir_node(struct batch *b, const char *path, unsigned int owner, int reader)
{
	struct xs_permissions p[2] = { { .id = owner, .perms = XS_PERM_NONE },
				       { .id = (unsigned int)reader, .perms = XS_PERM_READ } };

	if (!b->rc && (!xs_rm(b->xs, b->t, path) && errno != ENOENT))
		b->rc = -errno;
	if (!b->rc && (!xs_mkdir(b->xs, b->t, path) ||
		       !xs_set_permissions(b->xs, b->t, path, p, reader < 0 ? 1 : 2)))
		b->rc = -errno;
}

/* begin() - start a transaction */
static void begin(struct batch *b, struct fx_world *w)
{
	b->xs = fx_xs(w);
	b->rc = 0;
	b->t = b->xs ? xs_transaction_start(b->xs) : XBT_NULL;
	if (b->t == XBT_NULL)
		b->rc = -errno;
}

/* commit() - end it; true: again, it conflicted */
static bool commit(struct batch *b)
{
	if (b->t == XBT_NULL)
		return false;
	if (xs_transaction_end(b->xs, b->t, b->rc != 0))
		return false;
	if (errno == EAGAIN)
		return true;
	if (!b->rc)
		b->rc = -errno;
	return false;
}

static void front_path(char out[ROOM], unsigned int domid, const char *type, unsigned int id)
{
	snprintf(out, ROOM, "/local/domain/%u/device/%s/%u", domid, type, id);
}

static void back_path(char out[ROOM], unsigned int backend, const char *type, unsigned int domid,
		      unsigned int id)
{
	snprintf(out, ROOM, "/local/domain/%u/backend/%s/%u/%u", backend, type, domid, id);
}

static void libxl_path(char out[ROOM], unsigned int domid, const char *type, unsigned int id)
{
	snprintf(out, ROOM, "/libxl/%u/device/%s/%u", domid, type, id);
}

/* ---- domains -------------------------------------------------------------- */

static void uuid_string(char out[40], const struct fx_domain_config *cfg, unsigned int domid)
{
	uint8_t u[16] = { 0xfa, 0x4e, 0x0e, 0x40, [14] = (uint8_t)(domid >> 8), (uint8_t)domid };

	if (cfg && cfg->uuid)
		memcpy(u, cfg->uuid, sizeof(u));
	snprintf(out, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
		 u[13], u[14], u[15]);
}

static int domain_nodes(struct fx_world *w, const struct fx_domain_config *cfg, unsigned int domid)
{
	/* Owner is the guest for the last ones: libxl's rwperm. */
	static const char *const ro[] = { "cpu", "memory", "device", "control" };
	static const char *const rw[] = { "device/suspend/event-channel",
					  "control/shutdown",
					  "control/feature-poweroff",
					  "control/feature-reboot",
					  "control/feature-suspend",
					  "control/sysrq",
					  "data",
					  "drivers",
					  "feature",
					  "attr",
					  "error" };
	char dom[ROOM / 2], vm[ROOM / 2], lx[ROOM / 2], path[ROOM], uuid[40], name[64];
	struct batch b;
	unsigned int i;

	snprintf(name, sizeof(name), "guest%u", domid);
	uuid_string(uuid, cfg, domid);
	snprintf(dom, sizeof(dom), "/local/domain/%u", domid);
	snprintf(vm, sizeof(vm), "/vm/%s", uuid);
	snprintf(lx, sizeof(lx), "/libxl/%u", domid);
	do {
		begin(&b, w);
		dir_node(&b, dom, 0, (int)domid);
		dir_node(&b, vm, 0, (int)domid);
		dir_node(&b, lx, 0, -1);
		snprintf(path, sizeof(path), "%s/device", lx);
		dir_node(&b, path, 0, -1);
		put2(&b, dom, "vm", vm);
		put2(&b, dom, "name", cfg && cfg->name ? cfg->name : name);
		for (i = 0; i < COUNT(ro); i++) {
			snprintf(path, sizeof(path), "%s/%s", dom, ro[i]);
			dir_node(&b, path, 0, (int)domid);
		}
		for (i = 0; i < COUNT(rw); i++) {
			snprintf(path, sizeof(path), "%s/%s", dom, rw[i]);
			dir_node(&b, path, domid, -1);
		}
		put2(&b, vm, "uuid", uuid);
		put2(&b, vm, "name", cfg && cfg->name ? cfg->name : name);
		put2(&b, lx, "type", "pvh");
		put_int(&b, dom, "domid", domid);
	} while (commit(&b));
	return b.rc;
}

/* domain_alloc() - a slot in the hypervisor */
static int domain_alloc(struct fx_world *w, const struct fx_domain_config *cfg)
{
	struct fx_shm *s = w->shm;
	unsigned int domid = cfg ? cfg->domid : 0, i;
	struct fxi_dom *d = NULL;
	int rc;

	fxi_lock(w);
	fxi_reap(w);
	if (!domid) {
		while (fxi_dom(w, s->next_domid))
			s->next_domid++;
		domid = s->next_domid++;
	}
	rc = fxi_dom(w, domid) ? -EEXIST : -ENOSPC;
	for (i = 0; rc == -ENOSPC && i < FX_MAX_DOMAINS; i++) {
		d = &s->dom[i];
		if (d->state != FXI_DOM_FREE)
			continue;
		memset(d, 0, sizeof(*d));
		d->domid = domid;
		d->pages =
			cfg && cfg->pages && cfg->pages <= FX_MAX_PAGES ? cfg->pages : FX_MAX_PAGES;
		d->state = FXI_DOM_ALIVE;
		rc = (int)domid;
	}
	fxi_unlock(w);
	return rc;
}

int fx_domain_create(struct fx_world *w, const struct fx_domain_config *cfg, unsigned int *domid)
{
	int rc = domain_alloc(w, cfg);

	if (rc < 0)
		return rc;
	*domid = (unsigned int)rc;
	rc = cfg && cfg->no_nodes ? 0 : domain_nodes(w, cfg, *domid);
	if (!rc && !(cfg && cfg->no_introduce) && !xs_introduce_domain(fx_xs(w), *domid, 0xfeff, 1))
		rc = -errno;
	if (rc)
		fx_domain_kill(w, *domid);
	return rc;
}

int fx_domain_kill(struct fx_world *w, unsigned int domid)
{
	struct fx_shm *s = w->shm;
	struct fxi_dom *d;
	unsigned int i;

	if (!domid)
		return -EINVAL;
	fxi_lock(w);
	d = fxi_dom(w, domid);
	if (d) {
		for (i = 1; i < fxi_port_max(d); i++)
			if (d->port[i].state != FX_PORT_CLOSED)
				fxi_port_close(w, d, i);
		/* What it has mapped itself, as a driver domain. */
		for (i = 0; d->mapped && i < s->maps_used; i++)
			if (s->map[i].valid && &s->dom[s->map[i].mapper] == d)
				fxi_map_release(w, i);
		d->state = FXI_DOM_DEAD;
		fxi_dom_put(w, d);
	}
	fxi_unlock(w);
	if (!d)
		return -ENOENT;
	xs_release_domain(fx_xs(w), domid); /* unless it never was introduced */
	return 0;
}

/* ---- devices -------------------------------------------------------------- */

/* device_nodes() - libxl__device_generic_add(); @front, @back: key, value, ..., NULL */
static int device_nodes(struct fx_world *w, unsigned int domid, const char *type, unsigned int id,
			unsigned int backend, const char *const *front, const char *const *back,
			const char *const *more)
{
	char f[ROOM], b[ROOM], l[ROOM];
	const char *const *kv;
	struct batch t;

	front_path(f, domid, type, id);
	back_path(b, backend, type, domid, id);
	libxl_path(l, domid, type, id);
	do {
		begin(&t, w);
		put2(&t, l, "frontend", f);
		put2(&t, l, "backend", b);
		dir_node(&t, f, domid, (int)backend);
		put2(&t, f, "backend", b);
		put_int(&t, f, "backend-id", backend);
		put2(&t, f, "state", "1");
		for (kv = front; kv && *kv; kv += 2)
			put2(&t, f, kv[0], kv[1]);
		dir_node(&t, b, backend, (int)domid);
		put2(&t, b, "frontend", f);
		put_int(&t, b, "frontend-id", domid);
		put2(&t, b, "online", "1");
		put2(&t, b, "state", "1");
		for (kv = back; kv && *kv; kv += 2)
			put2(&t, b, kv[0], kv[1]);
		for (kv = more; kv && *kv; kv += 2)
			put2(&t, b, kv[0], kv[1]);
	} while (commit(&t));
	return t.rc;
}

int fx_add_device(struct fx_world *w, unsigned int domid, const char *type, unsigned int id,
		  unsigned int backend, const char *const *keys)
{
	return device_nodes(w, domid, type, id, backend, NULL, NULL, keys);
}

int fx_add_virtio(struct fx_world *w, unsigned int domid, const struct fx_virtio_spec *spec)
{
	const char *const back[] = { "irq",	    "0",
				     "base",	    "0",
				     "type",	    spec->type ? spec->type : "virtio,device2",
				     "transport",   "mmio",
				     "grant_usage", spec->grant_usage ? "1" : "0",
				     NULL };

	return device_nodes(w, domid, "virtio", spec->id, spec->backend, NULL, back, NULL);
}

int fx_add_disk(struct fx_world *w, unsigned int domid, const struct fx_disk_spec *spec)
{
	char devid[16];
	const char *const front[] = { "virtual-device", devid, "device-type", "disk",
				      "trusted",	"1",   NULL };
	const char *const back[] = { "params",
				     spec->target,
				     "removable",
				     "0",
				     "bootable",
				     "1",
				     "dev",
				     spec->vdev,
				     "type",
				     "standalone",
				     "mode",
				     spec->readonly ? "r" : "w",
				     "device-type",
				     "disk",
				     "discard-enable",
				     spec->discard ? "1" : "0",
				     "specification",
				     "virtio",
				     "transport",
				     "mmio",
				     "base",
				     "0",
				     "irq",
				     "0",
				     "grant_usage",
				     spec->grant_usage ? "1" : "0",
				     NULL };

	snprintf(devid, sizeof(devid), "%u", spec->id);
	return device_nodes(w, domid, "virtio_disk", spec->id, spec->backend, front, back, NULL);
}

/* say_goodbye() - online = 0, state = 5, unless the backend is Closed or gone already */
static void say_goodbye(struct fx_world *w, const char *back)
{
	char state[ROOM + 16];
	struct batch b;
	long s;

	snprintf(state, sizeof(state), "%s/state", back);
	do {
		begin(&b, w);
		s = 0;
		if (!b.rc) {
			char *v = xs_read(b.xs, b.t, state, NULL);

			s = v ? atol(v) : 6;
			free(v);
		}
		if (s != 6) {
			put2(&b, back, "online", "0");
			put2(&b, back, "state", "5");
		}
	} while (commit(&b));
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

int fx_remove_device(struct fx_world *w, unsigned int domid, const char *type, unsigned int id,
		     unsigned int backend, unsigned int timeout_ms)
{
	char f[ROOM], b[ROOM], l[ROOM], state[ROOM + 16];
	int rc = 0;

	front_path(f, domid, type, id);
	back_path(b, backend, type, domid, id);
	libxl_path(l, domid, type, id);
	if (timeout_ms) {
		say_goodbye(w, b);
		snprintf(state, sizeof(state), "%s/state", b);
		rc = fx_xs_wait(w, 0, state, 1u << 6 | 1u << 31, (int)timeout_ms);
		rc = rc == 6 || rc == -ENOENT ? 0 : -ETIMEDOUT;
	}
	/* As libxl__device_destroy(): both directories, and the backend's guest if empty. */
	xs_rm(fx_xs(w), XBT_NULL, f);
	xs_rm(fx_xs(w), XBT_NULL, b);
	xs_rm(fx_xs(w), XBT_NULL, l);
	return rc;
}

/* backend_of() - the backend's domid of a device, from libxl's own nodes */
static unsigned int backend_of(struct fx_world *w, unsigned int domid, const char *type,
			       const char *id)
{
	char path[ROOM], *v;
	unsigned int backend = 0;

	snprintf(path, sizeof(path), "/libxl/%u/device/%s/%s/backend", domid, type, id);
	v = fx_xs_read(fx_xs(w), path);
	if (v)
		sscanf(v, "/local/domain/%u/", &backend);
	free(v);
	return backend;
}

/* remove_devices() - all of a domain; one deadline for all */
static int remove_devices(struct fx_world *w, unsigned int domid, unsigned int timeout_ms)
{
	char **types, **ids, path[ROOM], back[ROOM];
	int64_t end = now_ms() + timeout_ms;
	unsigned int n_types = 0, n_ids = 0, i, j, pass;
	int rc = 0;

	snprintf(path, sizeof(path), "/libxl/%u/device", domid);
	types = xs_directory(fx_xs(w), XBT_NULL, path, &n_types);
	/* First tell all, then wait for each. */
	for (pass = timeout_ms ? 0 : 1; types && pass < 2; pass++) {
		for (i = 0; i < n_types; i++) {
			snprintf(path, sizeof(path), "/libxl/%u/device/%s", domid, types[i]);
			ids = xs_directory(fx_xs(w), XBT_NULL, path, &n_ids);
			for (j = 0; ids && j < n_ids; j++) {
				unsigned int id = (unsigned int)strtoul(ids[j], NULL, 10);
				unsigned int be = backend_of(w, domid, types[i], ids[j]);
				int64_t left = end - now_ms();

				back_path(back, be, types[i], domid, id);
				if (!pass)
					say_goodbye(w, back);
				else if (fx_remove_device(w, domid, types[i], id, be,
							  !timeout_ms ? 0
							  : left > 1  ? (unsigned int)left
								      : 1))
					rc = -ETIMEDOUT;
			}
			free(ids);
		}
	}
	free(types);
	return rc;
}

int fx_domain_destroy(struct fx_world *w, unsigned int domid, unsigned int timeout_ms)
{
	char path[ROOM], *vm;
	int rc, kill;

	rc = remove_devices(w, domid, timeout_ms);
	snprintf(path, sizeof(path), "/local/domain/%u/vm", domid);
	vm = fx_xs_read(fx_xs(w), path);
	if (vm)
		xs_rm(fx_xs(w), XBT_NULL, vm);
	free(vm);
	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	xs_rm(fx_xs(w), XBT_NULL, path);
	snprintf(path, sizeof(path), "/libxl/%u", domid);
	xs_rm(fx_xs(w), XBT_NULL, path);
	kill = fx_domain_kill(w, domid);
	return kill ? kill : rc;
}
