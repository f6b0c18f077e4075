// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * doctor.c - `vgrant doctor [GUEST]`: what is wrong with this domain or its guests, and how to mend it
 *
 *	guest web: it may grant 512 pages, and its devices need 2580: 64 gpu 2310, 65 blk 270; a device that
 *	cannot grant waits, or does not come up. Mend: max_grant_frames = 6 in ..., then start it anew
 *
 * A finding is a line, or with --json an object: what, why it matters, what to type. Nothing is changed,
 * and nothing is waited for longer than xs.h and client.c say. It looks in the order in which things stand on each
 * other: kernel, Xen, xenstored, vgrantd, guests; and goes on as far as it can, because the first
 * reason is rarely the only one.
 *
 * What has no finding when all is well is the rule; what might be so on purpose is none.
 */
#include "tools/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backend/base/limits.h"
#include "backend/base/number.h"
#include "backend/toolstack/xlfind.h"
#include "xenstore/watch.h"
#include "xenstore/xs.h"

#define HERE "this domain"

/* ---- findings ----------------------------------------------------------- */

const char *doctor_text(const char *fmt, ...)
{
	static char bufs[8][1024];
	static unsigned turn;
	char *buf = bufs[turn++ % 8];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(bufs[0]), fmt, ap);
	va_end(ap);
	return buf;
}

static void add_text(struct json_object *obj, const char *key, const char *text)
{
	json_object_object_add(obj, key, json_object_new_string(vgrant_printable(text)));
}

void doctor_tell(struct doctor *d, const char *id, const char *subject, const char *what,
		 const char *why, const char *mend)
{
	struct json_object *finding = json_object_new_object();

	add_text(finding, "id", id);
	add_text(finding, "subject", subject);
	add_text(finding, "what", what);
	add_text(finding, "why", why);
	add_text(finding, "mend", mend);
	json_object_array_add(d->findings, finding);
}

static void print_finding(struct json_object *f)
{
	const char *why = vgrant_text(f, "why");

	printf("%s: %s%s%s. Mend: %s\n", vgrant_text(f, "subject"), vgrant_text(f, "what"),
	       *why ? "; " : "", why, vgrant_text(f, "mend"));
}

static void print_json(struct doctor *d)
{
	struct json_object *all = json_object_new_object();

	json_object_object_add(all, "findings", json_object_get(d->findings));
	json_object_object_add(all, "guests", json_object_new_uint64(d->n_guests));
	json_object_object_add(all, "devices", json_object_new_uint64(d->n_devices));
	puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY |
							 JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
}

static void print_all(struct doctor *d)
{
	size_t n = json_object_array_length(d->findings);

	for (size_t i = 0; i < n; i++)
		print_finding(json_object_array_get_idx(d->findings, i));
	printf("%zu finding%s; looked at this domain, %u guest%s and %u device%s\n", n,
	       n == 1 ? "" : "s", d->n_guests, d->n_guests == 1 ? "" : "s", d->n_devices,
	       d->n_devices == 1 ? "" : "s");
}

/* ---- the kernel --------------------------------------------------------- */

static const char *rooted(const char *path)
{
	return doctor_text("%s%s", vg_doctor_root(), path);
}

/* The first line of @path, without its end; false: it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(rooted(path), "re");
	bool ok = f && fgets(line, (int)size, f);

	if (f)
		fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = '\0';
	return ok;
}

static bool read_number(const char *path, uint64_t *value)
{
	char line[32];

	return read_line(path, line, sizeof(line)) && vg_number(line, 10, UINT64_MAX, value) == 0;
}

/* Does the running kernel have @module, loaded or not? */
static bool has_module(const char *module)
{
	char line[512], name[64];
	struct utsname u;
	bool found = false;
	FILE *f;

	if (uname(&u) < 0)
		return false;
	snprintf(name, sizeof(name), "/%s.ko", module);
	f = fopen(rooted(doctor_text("/lib/modules/%s/modules.dep", u.release)), "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, name);
	if (f)
		fclose(f);
	return found;
}

/* Both are what a vgrantd in any domain needs; xenstored is asked below. */
static void look_at_devices(struct doctor *d)
{
	static const struct {
		const char *path, *module, *option, *use;
	} devices[] = {
		{ "/dev/xen/gntdev", "xen-gntdev", "CONFIG_XEN_GNTDEV",
		  "no guest's memory can be reached" },
		{ "/dev/xen/evtchn", "xen-evtchn", "CONFIG_XEN_DEV_EVTCHN",
		  "guests and devices cannot wake each other" },
	};

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		const char *path = rooted(devices[i].path);
		int fd = open(path, O_RDWR | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
		else if (errno != ENOENT && errno != ENXIO && errno != ENODEV)
			doctor_tell(d, "device-permission", HERE,
				    doctor_text("%s cannot be opened: %s", devices[i].path,
						strerror(errno)),
				    devices[i].use,
				    doctor_text("run this as root; if you are, ls -l %s",
						devices[i].path));
		else
			doctor_tell(
				d, "device-missing", HERE,
				doctor_text("%s is not there", devices[i].path), devices[i].use,
				has_module(devices[i].module)
					? doctor_text("modprobe %s, and put %s into "
						      "/etc/modules-load.d/xen.conf",
						      devices[i].module, devices[i].module)
					: doctor_text(
						  "boot a kernel with %s: this one has not even "
						  "a module %s",
						  devices[i].option, devices[i].module));
	}
}

/* Linux, drivers/xen/gntdev.c: grants of one request to map some. */
static void look_at_gntdev(struct doctor *d)
{
	uint64_t limit;

	if (read_number("/sys/module/xen_gntdev/parameters/limit", &limit) &&
	    limit < VG_LIMIT_POOL_PAGES)
		doctor_tell(
			d, "gntdev-limit", HERE,
			doctor_text("the kernel maps %llu grants at a time, and vgrantd may ask "
				    "for %u",
				    (unsigned long long)limit, VG_LIMIT_POOL_PAGES),
			"rings, pools and pictures that are larger cannot be mapped",
			"echo 65536 >/sys/module/xen_gntdev/parameters/limit, and take limit= out "
			"of the kernel's command line and of /etc/modprobe.d");
}

/* Linux, Documentation/admin-guide/sysctl/kernel.rst: 2: nobody may have one. */
static void look_at_io_uring(struct doctor *d)
{
	uint64_t off;

	if (read_number("/proc/sys/kernel/io_uring_disabled", &off) && off == 2)
		doctor_tell(d, "io-uring", HERE, "the kernel lets nobody use io_uring",
			    "vgrantd and its workers wait for everything by it",
			    "sysctl kernel.io_uring_disabled=0, and look for that name in "
			    "/etc/sysctl.d");
}

/* ---- Xen ---------------------------------------------------------------- */

/* Return: whether there is one. */
static bool look_at_xen(struct doctor *d)
{
	char type[16];

	if (!read_line("/sys/hypervisor/type", type, sizeof(type)) || strcmp(type, "xen") != 0) {
		/* Where there are devices for other machines it was not meant to. */
		if (!d->settings.n_sockets)
			doctor_tell(d, "no-xen", HERE, "it does not run on Xen",
				    "there are no guests to serve",
				    "boot the entry \"with Xen hypervisor\" (Debian: apt install "
				    "xen-system-amd64, or -arm64)");
		return false;
	}
	vg_hypervisor_ask(&d->hv);
	return true;
}

/* One guest alone must not use up what all others need as well. */
static void look_at_maptrack(struct doctor *d)
{
	uint64_t have = (uint64_t)d->hv.maptrack_frames * VG_MAPTRACK_ENTRIES;
	uint64_t one = d->settings.guest_mapped_pages + d->settings.guest_picture_pages;

	if (have && one > have)
		doctor_tell(d, "maptrack", HERE,
			    doctor_text("one guest may have %llu pages mapped (guest-mapped-pages, "
					"guest-picture-pages), and Xen lets a domain map %llu",
					(unsigned long long)one, (unsigned long long)have),
			    "a guest that takes them leaves none to the others",
			    doctor_text("gnttab_max_maptrack_frames=%llu, or more, on Xen's "
					"command line; or less in [limits] of %s",
					(unsigned long long)one / VG_MAPTRACK_ENTRIES * 2,
					VG_SETTINGS_FILE));
}

/* ---- xenstored ---------------------------------------------------------- */

/* Of a xenstored that is there; @ret: what became of a first question. */
static const char *no_answer(int ret)
{
	if (ret == -ETIMEDOUT)
		return doctor_text("xenstored has not answered for %d s", VG_XS_PATIENCE_MS / 1000);
	return doctor_text("xenstored does not say which domain this is: %s", strerror(-ret));
}

static void look_at_xenstored(struct doctor *d)
{
	static const char why[] =
		"guests and devices find each other there: none can be started, nor ended";
	static const char look[] =
		"look what it does: ps -o stat,wchan,pcpu,args -C xenstored,oxenstored";
	int ret = vg_xs_open(&d->xs);

	if (ret < 0) {
		d->xs = NULL;
		if (ret == -EACCES || ret == -EPERM)
			doctor_tell(d, "xenstored", HERE, "you may not talk to xenstored", why,
				    "run this as root");
		else if (ret == -ETIMEDOUT)
			doctor_tell(d, "xenstored", HERE, no_answer(ret), why, look);
		else
			doctor_tell(d, "xenstored", HERE,
				    doctor_text("xenstored cannot be reached: %s", strerror(-ret)),
				    why,
				    "systemctl status xenstored; it cannot be started anew under "
				    "running guests: if it is gone, restart this machine");
		return;
	}
	ret = vg_xs_own_domid(d->xs, &d->domid);
	if (ret == 0)
		return;
	doctor_tell(d, "xenstored", HERE, no_answer(ret), why, look);
	vg_xs_close(d->xs);
	d->xs = NULL;
}

/* ---- vgrantd ------------------------------------------------------------ */

static void look_at_settings(struct doctor *d)
{
	struct vg_err err = { "" };
	uid_t uid;
	gid_t gid;

	if (vg_settings_load(&d->settings, NULL, &err) < 0)
		doctor_tell(d, "settings", HERE, err.text, "vgrantd does not start with it",
			    "mend that line, then: systemctl restart vgrantd");
	else if (d->settings.sandbox && vg_settings_worker_ids(&d->settings, &uid, &gid, &err) < 0)
		doctor_tell(d, "settings", HERE, err.text, "vgrantd does not start with it",
			    "make that user, or name another one in [worker]");
}

static void file_is_broken(void *ctx, const char *why)
{
	doctor_tell(ctx, "file", HERE, why, "a guest that it configures has no devices",
		    "mend it: vgrant check says more, and ls -l who may write to it");
}

/* Files that lie where guests' are looked for, and are passed over. */
static void look_at_files(struct doctor *d)
{
	if (d->domid == 0)
		vg_xlfind_broken(d->settings.config_dirs, file_is_broken, d);
}

/* Who listens on the control socket; 0: not known. */
static pid_t daemon_pid(const struct doctor *d)
{
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);
	int fd = vgrant_connect(d->opt);

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		who.pid = 0;
	close(fd);
	return who.pid;
}

/* Two or three of its descriptors go with a device; some are its own. */
static void look_at_descriptors(struct doctor *d)
{
	enum { A_DEVICE = 4, OWN = 48 };
	uint64_t need = OWN + A_DEVICE * json_object_array_length(d->devices);
	struct rlimit rl;
	pid_t pid = daemon_pid(d);

	if (pid && prlimit(pid, RLIMIT_NOFILE, NULL, &rl) == 0 && rl.rlim_cur < need)
		doctor_tell(d, "descriptors", HERE,
			    doctor_text("vgrantd may open %llu files, and its devices need up to "
					"%llu",
					(unsigned long long)rl.rlim_cur, (unsigned long long)need),
			    "further devices fail",
			    "LimitNOFILE=65536 by systemctl edit vgrantd, then: systemctl restart "
			    "vgrantd (guests see a pause)");
}

static void look_at_version(struct doctor *d)
{
	struct json_object *answer = NULL;
	const char *runs;

	if (vgrant_ask(d->opt, &answer, "version", NULL) != VGRANT_OK)
		return;
	runs = vgrant_text(answer, "version");
	if (strcmp(runs, VG_VERSION) != 0)
		doctor_tell(d, "version", HERE,
			    doctor_text("the vgrantd that runs is %s, and vgrant is " VG_VERSION,
					runs),
			    "what the newer one mended is not in effect",
			    "systemctl restart vgrantd (guests see a pause)");
	json_object_put(answer);
}

/* Return: its list, whose "devices" are d->devices; NULL: it does not answer. */
static struct json_object *look_at_daemon(struct doctor *d)
{
	struct json_object *answer = NULL;

	if (!vgrant_is_there(d->opt)) {
		doctor_tell(d, "vgrantd", HERE, "vgrantd does not run, or you may not talk to it",
			    "guests' devices stand still until it does, and new guests get none",
			    "systemctl start vgrantd; if it ends at once: journalctl -u vgrantd -n "
			    "20");
		return NULL;
	}
	if (vgrant_devices(d->opt, NULL, &answer, &d->devices) != VGRANT_OK) {
		d->devices = NULL;
		doctor_tell(d, "vgrantd", HERE, "vgrantd does not say which devices there are",
			    "what is wrong with them cannot be told",
			    "journalctl -u vgrantd -n 20");
		return answer;
	}
	look_at_version(d);
	look_at_descriptors(d);
	return answer;
}

/* ---- all ---------------------------------------------------------------- */

static void look_at_all(struct doctor *d)
{
	struct json_object *list;

	look_at_settings(d);
	look_at_io_uring(d);
	if (look_at_xen(d)) {
		look_at_devices(d);
		look_at_gntdev(d);
		look_at_xenstored(d);
		look_at_maptrack(d);
		look_at_files(d);
	}
	list = look_at_daemon(d);
	doctor_guests(d);
	json_object_put(list);
}

int vgrant_doctor(const struct vgrant_options *opt, int argc, char **argv)
{
	static struct doctor d;
	size_t n;

	d = (struct doctor){ .opt = opt, .guest = argc ? argv[0] : NULL };
	d.findings = json_object_new_array();
	/* What a part that is asked complains of is said in a finding. */
	vg_log_init(VG_LOG_STDERR, VG_LOG_ERR, NULL);
	look_at_all(&d);
	n = json_object_array_length(d.findings);
	if (d.guest && !d.n_guests && d.xs && d.devices) {
		vgrant_complain(
			d.domid == 0 ? "there is no guest '%s': xl list shows those that run"
				     : "there is no guest '%s' that has devices of this domain's",
			d.guest);
		n++;
	} else if (opt->json) {
		print_json(&d);
	} else {
		print_all(&d);
	}
	vg_xs_close(d.xs);
	json_object_put(d.findings);
	return n ? VGRANT_FAILED : VGRANT_OK;
}

__attribute__((weak)) const char *vg_doctor_root(void)
{
	return "";
}
