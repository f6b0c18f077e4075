// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * doctor_guests.c - what `vgrant doctor` looks at in guests and their devices
 *
 * Which devices there are xenstore says, not vgrantd: it may be what is wrong. In dom0 those of all
 * backend domains are looked at, elsewhere our own. What a guest's configuration says is for check.c.
 */
#include "tools/doctor.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "backend/base/params.h"
#include "backend/control/control.h"
#include "backend/toolstack/spec.h"
#include "backend/toolstack/xlfind.h"
#include "backend/virtio/device.h"
#include "virtio_grant.h"
#include "xenstore/keys.h"
#include "xenstore/watch.h"
#include "xenstore/xs.h"

enum {
	DOMIDS = 0x7ff0, /* Xen's DOMID_FIRST_RESERVED */
	RESERVED = 8,	 /* grants of which Xen's console and xenstore have the first two */
	PATIENCE_S = 60, /* a guest's kernel has booted by then */
	FULL_BYTES = 16 << 20
};

/* Nodes that were found, of all guests. */
struct wards {
	struct doctor *d;
	uint32_t backend; /* whose are looked for */
	struct vg_xs_pair *pair;
	unsigned n;
};

/* A guest that is being looked at. */
struct ward {
	uint32_t domid;
	char name[80];
	const char *subject; /* "guest web" */
	char file[PATH_MAX]; /* its configuration; "": not known */
	uint64_t grants;     /* that its devices need */
	char shares[512];    /* "64 blk 270, 65 gpu 2310" */
};

/* ---- nodes -------------------------------------------------------------- */

static void found(void *ctx, const char *kind, uint32_t guest, uint32_t id)
{
	struct wards *w = ctx;
	struct vg_xs_pair *more = realloc(w->pair, (w->n + 1) * sizeof(*more));

	if (!more)
		return;
	w->pair = more;
	vg_xs_pair_init(&w->pair[w->n++], kind, guest, w->backend, id);
}

static int by_guest(const void *a, const void *b)
{
	const struct vg_xs_pair *p = a, *q = b;

	if (p->guest != q->guest)
		return p->guest < q->guest ? -1 : 1;
	return p->id < q->id ? -1 : p->id > q->id;
}

/* Domains that xenstore has, or, in another than dom0, ours. Return: to be freed; @n of them. */
static uint32_t *list_domains(struct doctor *d, unsigned *n)
{
	char **names = NULL;
	unsigned n_names = 0;
	uint32_t *list;

	*n = 0;
	if (d->domid == 0)
		(void)vg_xs_list(d->xs, "/local/domain", &names, &n_names);
	list = calloc(n_names + 1, sizeof(*list));
	for (unsigned i = 0; list && i < n_names; i++) {
		char *end;
		unsigned long v = strtoul(names[i], &end, 10);

		if (!*end && v < DOMIDS)
			list[(*n)++] = (uint32_t)v;
	}
	if (list && !n_names)
		list[(*n)++] = d->domid;
	free(names);
	return list;
}

/* ---- a device's nodes --------------------------------------------------- */

static void pause_a_second(void)
{
	const struct timespec second = { .tv_sec = 1 };

	nanosleep(&second, NULL);
}

/* What whoever made the nodes has given, and nobody else may take away: PROTOCOL.md. */
static void look_at_rights(struct doctor *d, const struct ward *w, const struct vg_xs_pair *p)
{
	const struct {
		const char *dir, *key;
		uint32_t domid;
		int rights;
	} need[] = {
		{ p->b, "/state", p->guest, VG_XS_READS },
		{ p->f, "/state", p->guest, VG_XS_READS | VG_XS_WRITES },
		{ p->f, "", p->guest, VG_XS_READS | VG_XS_WRITES },
		{ p->f, "/state", p->backend, VG_XS_READS },
	};

	for (size_t i = 0; i < sizeof(need) / sizeof(need[0]); i++) {
		const char *path = doctor_text("%s%s", need[i].dir, need[i].key);
		int has = vg_xs_rights(d->xs, path, need[i].domid);

		/* dom0 may do all. */
		if (has < 0 || need[i].domid == 0 || (need[i].rights & ~has) == 0)
			continue;
		doctor_tell(d, "xenstore-permission", w->subject,
			    doctor_text("domain %u may not %s %s in xenstore", need[i].domid,
					need[i].rights & ~has & VG_XS_READS ? "read" : "write",
					path),
			    "its side of the device cannot follow what the other side does",
			    need[i].dir == p->b ? doctor_text("xenstore-chmod -r %s n%u r%u", p->b,
							      p->backend, p->guest)
						: doctor_text("xenstore-chmod -r %s n%u r%u", p->f,
							      p->guest, p->backend));
		return;
	}
}

static bool is_untouched(struct doctor *d, const struct vg_xs_pair *p)
{
	enum vg_xenbus_state state;

	return vg_xs_state(d->xs, p->b, &state) == 0 && state == VG_XENBUS_INITIALISING;
}

/* A backend that runs takes a node up at once. Of our own, vgrantd's list tells. */
static void look_at_server(struct doctor *d, const struct ward *w, const struct vg_xs_pair *p)
{
	if (p->backend == d->domid || !is_untouched(d, p))
		return;
	pause_a_second();
	if (is_untouched(d, p))
		doctor_tell(d, "unserved", w->subject,
			    doctor_text("nobody serves its device %u: it waits for domain %u",
					p->id, p->backend),
			    "the guest does not see the device",
			    "start vgrantd in that domain; vgrant doctor, there, says what keeps "
			    "it");
}

static void add_grants(struct ward *w, const struct vg_xs_pair *p, const char *spec)
{
	const struct vg_device_ops *ops;
	struct vg_params params;
	size_t used = strlen(w->shares);
	uint32_t grants;

	if (vg_params_parse(spec, &params, NULL) < 0)
		return;
	ops = vg_device_find(params.device);
	if (!ops)
		return;
	grants = vg_device_grants(ops, &params);
	w->grants += grants;
	snprintf(w->shares + used, sizeof(w->shares) - used, "%s%u %s %u", used ? ", " : "", p->id,
		 ops->name, grants);
}

static void look_at_pair(struct doctor *d, struct ward *w, const struct vg_xs_pair *p)
{
	char spec[VG_PARAMS_LEN];

	/* A node without a configuration is another backend's, or will have one. */
	if (vg_spec_read(d->xs, p, false, spec) < 0)
		return;
	d->n_devices++;
	if (!w->file[0])
		(void)vg_xs_text(d->xs, p->b, VG_KEY_FILE, w->file, sizeof(w->file));
	look_at_rights(d, w, p);
	look_at_server(d, w, p);
	add_grants(w, p, spec);
}

/* ---- a guest ------------------------------------------------------------ */

static void look_at_grants(struct doctor *d, const struct ward *w)
{
	uint64_t need = w->grants + RESERVED;
	uint32_t frames;

	if (vg_hypervisor_grants(w->domid, &frames) < 0 ||
	    need <= (uint64_t)frames * VG_GRANT_ENTRIES)
		return;
	doctor_tell(d, "grants", w->subject,
		    doctor_text("it can grant %u pages (max_grant_frames of %u), and its devices "
				"need %llu: %s",
				frames * VG_GRANT_ENTRIES, frames, (unsigned long long)need,
				w->shares),
		    "a device that cannot grant waits under load, or does not come up",
		    doctor_text("write max_grant_frames = %llu into %s, then xl shutdown -w %s && "
				"xl create",
				(unsigned long long)need / VG_GRANT_ENTRIES + 2,
				w->file[0] ? w->file : "its configuration", w->name));
}

struct listener {
	struct doctor *d;
	const struct ward *w;
};

static void file_says(void *ctx, const char *what)
{
	const struct listener *l = ctx;

	doctor_tell(
		l->d, "configuration", l->w->subject, what, "",
		doctor_text("edit it, until vgrant check %s finds nothing; devices take it from "
			    "the guest's next start on",
			    l->w->file));
}

static void look_at_guest(struct doctor *d, struct ward *w, const struct vg_xs_pair *pairs,
			  unsigned n)
{
	unsigned before = d->n_devices;
	struct listener l = { d, w };

	for (unsigned i = 0; i < n; i++)
		look_at_pair(d, w, &pairs[i]);
	if (d->n_devices == before)
		return;
	d->n_guests++;
	look_at_grants(d, w);
	if (w->file[0] == '/')
		vgrant_check_running(w->file, file_says, &l);
}

static bool is_wanted(const struct doctor *d, const char *name, uint32_t domid)
{
	return !d->guest || vg_control_is_guest(d->guest, name, domid);
}

static void look_at_guests_of(struct doctor *d, const struct vg_xs_pair *pairs, unsigned n)
{
	static struct ward w;
	char dir[VG_XS_PATH];

	w = (struct ward){ .domid = pairs->guest };
	snprintf(dir, sizeof(dir), "/local/domain/%u", w.domid);
	if (vg_xs_text(d->xs, dir, "name", w.name, sizeof(w.name)) < 0)
		snprintf(w.name, sizeof(w.name), "%u", w.domid);
	w.subject = strdup(doctor_text("guest %s", w.name));
	if (w.subject && is_wanted(d, w.name, w.domid))
		look_at_guest(d, &w, pairs, n);
	free((char *)(uintptr_t)w.subject);
}

/*
 * One that runs, and has no device of ours: is that right? Nobody knows of a guest without a configuration
 * whether it should have one: that is told of the guest that is asked about alone.
 */
static void look_at_bare(struct doctor *d, const char *name, uint32_t domid)
{
	const char *subject = doctor_text("guest %s", name);
	char dir[VG_XS_PATH], *vm = NULL;
	struct vg_xlconf *conf;
	struct vg_err err;
	int ret;

	snprintf(dir, sizeof(dir), "/local/domain/%u", domid);
	(void)vg_xs_text_dup(d->xs, dir, "vm", &vm);
	ret = vg_xlfind(d->settings.config_dirs, name,
			vm && strrchr(vm, '/') ? strrchr(vm, '/') + 1 : NULL, &conf, &err);
	free(vm);
	d->n_guests += d->guest != NULL;
	if (ret < 0) {
		if (d->guest)
			doctor_tell(d, "unconfigured", subject, err.text,
				    "it has no devices of vgrant's, unless libvirt has it and its "
				    "metadata says so",
				    "link its file to there, then: systemctl reload vgrantd");
		return;
	}
	if (conf->n_devices)
		doctor_tell(d, "unconfigured", subject,
			    doctor_text("it has no devices, and %s has %u", conf->path,
					conf->n_devices),
			    "the guest does not see them",
			    "systemctl reload vgrantd, which makes them; if not: journalctl -u "
			    "vgrantd");
	else if (d->guest)
		doctor_tell(d, "unconfigured", subject,
			    doctor_text("%s has no vgrant = [ ... ]", conf->path),
			    "it has no devices of vgrant's",
			    doctor_text("write it, then xl shutdown -w %s && xl create; vgrant "
					"attach gives one "
					"to the guest that runs",
					name));
	vg_xlconf_free(conf);
}

/* Guests are configured in dom0. */
static void look_at_those_without(struct doctor *d, const uint32_t *domains, unsigned n,
				  const struct wards *w)
{
	for (unsigned i = 0; d->domid == 0 && i < n; i++) {
		char dir[VG_XS_PATH], name[80];
		unsigned k = 0;

		while (k < w->n && w->pair[k].guest != domains[i])
			k++;
		snprintf(dir, sizeof(dir), "/local/domain/%u", domains[i]);
		if (domains[i] && k == w->n && vg_xs_introduced(d->xs, domains[i]) > 0 &&
		    vg_xs_text(d->xs, dir, "name", name, sizeof(name)) == 0 &&
		    is_wanted(d, name, domains[i]))
			look_at_bare(d, name, domains[i]);
	}
}

static void look_at_nodes(struct doctor *d)
{
	struct wards w = { .d = d };
	unsigned n_domains, first = 0;
	uint32_t *domains = list_domains(d, &n_domains);

	for (unsigned i = 0; domains && i < n_domains; i++) {
		w.backend = domains[i];
		(void)vg_xs_scan(d->xs, domains[i], found, &w);
	}
	look_at_those_without(d, domains, n_domains, &w);
	free(domains);
	if (w.n)
		qsort(w.pair, w.n, sizeof(*w.pair), by_guest);
	for (unsigned i = 1; i <= w.n; i++) {
		if (i < w.n && w.pair[i].guest == w.pair[first].guest)
			continue;
		look_at_guests_of(d, &w.pair[first], i - first);
		first = i;
	}
	free(w.pair);
}

/* ---- what vgrantd says of its devices ----------------------------------- */

/* An image that grows with what the guest writes, where nothing is left to grow into. */
static void look_at_image(struct doctor *d, const char *subject, struct json_object *dev)
{
	struct vg_params params;
	struct statvfs fs;
	const char *target;
	struct stat st;

	if (!vgrant_is_a(dev, "blk") ||
	    vg_params_parse(vgrant_text(dev, "config"), &params, NULL) < 0)
		return;
	target = vg_params_str(&params, NULL, "target");
	if (!target || stat(target, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_blocks * 512 >= st.st_size || statvfs(target, &fs) < 0 ||
	    (uint64_t)fs.f_bavail * fs.f_frsize >= FULL_BYTES)
		return;
	doctor_tell(d, "space", subject,
		    doctor_text("the file system of %s has %s left, and the image is not allocated "
				"whole",
				target, vgrant_bytes((uint64_t)fs.f_bavail * fs.f_frsize)),
		    "what the guest writes then fails",
		    doctor_text("make room there: df -h %s; what the guest discards (fstrim) gives "
				"room back",
				target));
}

static void look_at_state(struct doctor *d, const char *subject, struct json_object *dev)
{
	const char *state = vgrant_text(dev, "state"), *error = vgrant_text(dev, "error");

	if (strcmp(state, "failed") == 0)
		doctor_tell(d, "device-failed", subject, *error ? error : "it does not work",
			    "the guest does not have it",
			    "mend that, then: systemctl reload vgrantd, which tries again");
	else if (strcmp(state, "restarting") == 0)
		doctor_tell(d, "device-restarting", subject,
			    *error ? error : "its worker died, and the next one is on its way",
			    "the guest waits meanwhile",
			    "journalctl -u vgrantd says what it died of; report it");
	else if (strcmp(state, "waiting") == 0 && vgrant_number(dev, "uptime") >= PATIENCE_S)
		doctor_tell(d, "device-waiting", subject,
			    doctor_text("no driver of the guest's has connected for %s",
					vgrant_duration(vgrant_number(dev, "uptime"))),
			    "the guest does not have it",
			    "in the guest: modprobe virtio_grant, and dmesg; or it has not booted: "
			    "xl console");
	else if (*error)
		doctor_tell(d, "device-error", subject, error, "", "vgrant list -v has the rest");
}

static void look_at_device(struct doctor *d, struct json_object *dev)
{
	const char *subject = strdup(doctor_text("device %s of %s", vgrant_text(dev, "name"),
						 vgrant_text(dev, "guest")));
	uint64_t faults = vgrant_number(vgrant_member(dev, "counters"), "faults");

	if (!subject)
		return;
	look_at_state(d, subject, dev);
	look_at_image(d, subject, dev);
	if (faults)
		doctor_tell(d, "faults", subject,
			    doctor_text("its driver broke the rules, %llu time%s",
					(unsigned long long)faults, faults == 1 ? "" : "s"),
			    "the device stops until the driver resets it",
			    "journalctl -u vgrantd says how; in the guest, unload the driver and "
			    "load it again; an attacker in the guest would do the same");
	free((char *)(uintptr_t)subject);
}

static void look_at_devices(struct doctor *d)
{
	for (size_t i = 0; i < json_object_array_length(d->devices); i++) {
		struct json_object *dev = json_object_array_get_idx(d->devices, i);

		if (!is_wanted(d, vgrant_text(dev, "guest"), (uint32_t)vgrant_number(dev, "domid")))
			continue;
		look_at_device(d, dev);
		if (!d->xs)
			d->n_devices++;
	}
}

void doctor_guests(struct doctor *d)
{
	if (d->xs)
		look_at_nodes(d);
	if (d->devices)
		look_at_devices(d);
}
