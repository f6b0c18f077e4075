// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * supervisor.c - the daemon's process: its loop and what wakes it
 *
 *	xenstore   watches on our backend directories, each frontend's state, and the coming and
 *	           going of domains
 *	signals    SIGTERM, SIGINT: stop; SIGHUP: try failed devices again, and
 *	           read [vhost-user] again; SIGCHLD
 *	control    requests of `vgrant`
 *	workers    child.c, and node.c or sockets.c
 *
 * Watch events are drained first, all there are, and only mark what they name:
 * a guest that writes its state a thousand times costs one look (XSA-349).
 *
 * To stop is not to take devices away: workers finish what is in flight and
 * end, states stay as they are, and the next vgrantd resumes. `xl destroy` and
 * `vgrant detach` take away.
 */
#include "backend/daemon/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/daemon/sockets.h"
#include "virtio_grant.h"

enum {
	LOOP_ENTRIES = 64,
	STOP_PATIENCE_S = 10,
	DESCRIBE_PATIENCE_MS = 300,
};

static const char *const kinds[] = { VIRTIO_GRANT_XENBUS_TYPE, VIRTIO_GRANT_XENBUS_TYPE_DISK };

/* ---- xenstore ----------------------------------------------------------- */

static void base_of(const struct vg_super *s, const char *kind, char *path)
{
	snprintf(path, VG_XS_PATH, "/local/domain/%u/backend/%s", s->domid, kind);
}

static void consider(struct vg_super *s, const char *kind, uint32_t guest, uint32_t id)
{
	if (!vg_node_consider(s, kind, guest, id) && strcmp(kind, VIRTIO_GRANT_XENBUS_TYPE) == 0)
		vg_guest_adopt(s, guest, id);
}

/* Number that is all of @text, or -1. */
static long number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && n <= INT32_MAX ? (long)n : -1;
}

static void scan_guest(struct vg_super *s, const char *kind, const char *guest)
{
	char base[VG_XS_PATH], path[VG_XS_PATH + 16];
	unsigned n = 0;
	char **list;

	if (number(guest) < 0)
		return;
	base_of(s, kind, base);
	snprintf(path, sizeof(path), "%s/%ld", base, number(guest));
	list = xs_directory(s->xs, XBT_NULL, path, &n);
	for (unsigned i = 0; list && i < n; i++) {
		if (number(list[i]) >= 0)
			consider(s, kind, (uint32_t)number(guest), (uint32_t)number(list[i]));
	}
	free(list);
}

/* Everything below our backend directories: at the start, and when a whole tree changed. */
static void scan_all(struct vg_super *s)
{
	for (size_t k = 0; k < COUNT(kinds); k++) {
		char base[VG_XS_PATH];
		unsigned n = 0;
		char **list;

		base_of(s, kinds[k], base);
		list = xs_directory(s->xs, XBT_NULL, base, &n);
		for (unsigned i = 0; list && i < n; i++)
			scan_guest(s, kinds[k], list[i]);
		free(list);
	}
}

struct seen {
	bool domains; /* a domain came or went */
	bool trees;   /* something that no node of ours is for changed below our directories */
};

/* What an event's path is about. Marks nodes; the rest is told in @seen. */
static void note_event(struct vg_super *s, const char *path, struct seen *seen)
{
	char kind[16], rest[32];
	uint32_t domid, guest, id;
	struct vg_node *n;

	if (path[0] == '@') {
		seen->domains = true;
		return;
	}
	if (sscanf(path, "/local/domain/%u/device/%15[^/]/%u/%31s", &guest, kind, &id, rest) == 4) {
		n = vg_node_find(s, kind, guest, id);
		if (n)
			n->dirty = true;
		return;
	}
	if (sscanf(path, "/local/domain/%u/backend/%15[^/]/%u/%u", &domid, kind, &guest, &id) ==
	    4) {
		n = vg_node_find(s, kind, guest, id);
		if (n) {
			n->dirty = true;
			return;
		}
		consider(s, kind, guest, id);
		return;
	}
	if (sscanf(path, "/local/domain/%u/device/%15[^/]/%u", &guest, kind, &id) == 3) {
		n = vg_node_find(s, kind, guest, id);
		if (n)
			n->dirty = true;
		return;
	}
	seen->trees = true;
}

static void sync_marked(struct vg_super *s)
{
	struct vg_node *n = s->nodes;

	while (n) {
		struct vg_node *next = n->next;

		if (n->dirty)
			vg_node_sync(n); /* may free n, and no other */
		n = next;
	}
}

static void mark_all(struct vg_super *s)
{
	for (struct vg_node *n = s->nodes; n; n = n->next)
		n->dirty = true;
}

static void xenstore_ready(struct vg_watch *w, unsigned events)
{
	struct vg_super *s = container_of(w, struct vg_super, xs_watch);
	struct seen seen = { false, false };
	char **event;

	if (!(events & POLLIN)) {
		vg_error("xenstored has gone; devices that are connected carry on, new ones need a "
			 "restart of vgrantd");
		vg_loop_unwatch(w);
		return;
	}
	while ((event = xs_check_watch(s->xs)) != NULL) {
		note_event(s, event[XS_WATCH_PATH], &seen);
		free(event);
	}
	if (s->stopping)
		return;
	if (seen.domains) {
		vg_guests_scan(s);
		mark_all(s); /* guests that vanished without a word */
	}
	if (seen.trees) {
		scan_all(s);
		mark_all(s);
	}
	sync_marked(s);
}

/* A path that does not begin with a slash is below the caller's own /local/domain/<id>. */
static int own_domid(struct xs_handle *xs, uint32_t *domid)
{
	char *text = xs_read(xs, XBT_NULL, "domid", NULL);
	char *end = text;
	unsigned long v = text ? strtoul(text, &end, 10) : 0;
	int ret = end != text && !*end && v < 0x7ff0 ? 0 : -EINVAL;

	*domid = (uint32_t)v;
	free(text);
	return ret;
}

static int open_xenstore(struct vg_super *s, struct vg_err *err)
{
	uint32_t domid;

	s->xs = xs_open(0);
	if (!s->xs)
		return vg_fail(
			err, -ENODEV,
			"xenstore cannot be reached (%s): vgrantd runs in a Xen dom0 or driver "
			"domain, as root, after xenstored",
			strerror(errno));
	if (own_domid(s->xs, &domid) < 0 &&
	    vg_xs_u32(s->xs, "/local/domain/0", "domid", 0x7fef, &domid) < 0)
		return vg_fail(err, -ENODEV,
			       "xenstore does not say which domain this is: in dom0, is "
			       "xen-init-dom0 done?");
	s->domid = domid;
	s->toolstack = domid == 0;
	return 0;
}

static int watch_xenstore(struct vg_super *s, struct vg_err *err)
{
	char base[VG_XS_PATH];
	bool ok = true;

	for (size_t k = 0; k < COUNT(kinds); k++) {
		base_of(s, kinds[k], base);
		ok = ok && xs_watch(s->xs, base, "b");
	}
	if (s->toolstack)
		ok = ok && xs_watch(s->xs, "@introduceDomain", "d");
	ok = ok && xs_watch(s->xs, "@releaseDomain", "d");
	if (!ok)
		return vg_fail(err, -errno, "xenstore refuses watches: %s", strerror(errno));
	vg_loop_watch(s->loop, &s->xs_watch, xs_fileno(s->xs));
	return 0;
}

/* ---- signals ------------------------------------------------------------ */

static void finish_if_alone(struct vg_super *s)
{
	for (const struct vg_child *c = s->children; c; c = c->next) {
		if (c->pid)
			return;
	}
	vg_loop_stop(s->loop);
}

static void stop(struct vg_super *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	vg_info("stopping; devices stay with their guests, and the next vgrantd carries on");
	for (struct vg_child *c = s->children; c; c = c->next)
		vg_child_end(c);
	vg_loop_timer(s->loop, &s->timer, STOP_PATIENCE_S * NS_PER_S);
	finish_if_alone(s);
}

static void reap(struct vg_super *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct vg_child *c = s->children;

		while (c && c->pid != pid)
			c = c->next;
		if (c)
			vg_child_reaped(c, status);
	}
	if (s->stopping)
		finish_if_alone(s);
}

/* [vhost-user] of the file as it is now; the other settings wait for a restart. */
static void reload(struct vg_super *s)
{
	struct vg_settings *now = malloc(sizeof(*now));
	struct vg_err err = { "" };

	if (!now) {
		vg_error("out of memory; [vhost-user] stays as it was");
	} else if (vg_settings_load(now, s->settings->file, &err) < 0) {
		vg_error("%s; [vhost-user] stays as it was", err.text);
	} else {
		memcpy(s->settings->sockets, now->sockets, sizeof(now->sockets));
		s->settings->n_sockets = now->n_sockets;
		memcpy(s->settings->socket_group, now->socket_group, sizeof(now->socket_group));
		s->settings->socket_mode = now->socket_mode;
	}
	free(now);
}

static void hangup(struct vg_super *s)
{
	struct vg_node *n = s->nodes;

	vg_info("SIGHUP: failed devices are tried again, and [vhost-user] is read again");
	while (n) {
		struct vg_node *next = n->next;

		vg_node_retry(n);
		n = next;
	}
	reload(s);
	vg_sockets_sync(s);
}

static void signal_ready(struct vg_watch *w, unsigned events)
{
	struct vg_super *s = container_of(w, struct vg_super, signal_watch);
	struct signalfd_siginfo info;

	(void)events;
	while (read(vg_loop_watch_fd(w), &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			reap(s);
			break;
		case SIGHUP:
			hangup(s);
			break;
		default:
			stop(s);
			break;
		}
	}
}

static int watch_signals(struct vg_super *s)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	vg_loop_watch(s->loop, &s->signal_watch, fd);
	return 0;
}

/* The timer serves two: guests that had no name yet, and a stop that takes too long. */
static void timer_expired(struct vg_timer *t)
{
	struct vg_super *s = container_of(t, struct vg_super, timer);

	if (!s->stopping) {
		vg_guests_scan(s);
		sync_marked(s);
		return;
	}
	for (const struct vg_child *c = s->children; c; c = c->next) {
		if (c->pid)
			kill(c->pid, SIGKILL);
	}
}

/* ---- control ------------------------------------------------------------ */

static bool is_of_guest(const struct vg_child *c, const char *guest)
{
	struct vg_control_device d = { 0 };

	c->ops->place(c, &d);
	return vg_control_is_guest(guest, d.guest, d.domid);
}

static void answer_lists(struct vg_super *s)
{
	vg_loop_timer_stop(&s->list_timer);
	for (unsigned i = 0; i < s->n_lists; i++) {
		for (struct vg_child *c = s->children; c; c = c->next) {
			if (!s->list_guest[i] || is_of_guest(c, s->list_guest[i]))
				vg_child_list(c, s->list_req[i]);
		}
		vg_control_ok(s->list_req[i]);
		free(s->list_guest[i]);
	}
	s->n_lists = 0;
}

void vg_super_described(struct vg_super *s)
{
	if (!s->n_lists)
		return;
	for (const struct vg_child *c = s->children; c; c = c->next) {
		if (c->sock >= 0 && !c->described)
			return;
	}
	answer_lists(s);
}

static void list_timer_expired(struct vg_timer *t)
{
	answer_lists(container_of(t, struct vg_super, list_timer));
}

static void on_list(void *ctx, struct vg_control_req *req, const char *guest)
{
	struct vg_super *s = ctx;

	if (s->n_lists == COUNT(s->list_req))
		answer_lists(s);
	s->list_req[s->n_lists] = req;
	s->list_guest[s->n_lists++] = guest ? strdup(guest) : NULL;
	for (struct vg_child *c = s->children; c; c = c->next)
		vg_child_describe(c);
	vg_loop_timer(s->loop, &s->list_timer, DESCRIBE_PATIENCE_MS * 1000000LL);
	vg_super_described(s);
}

static void on_attach(void *ctx, struct vg_control_req *req, const char *guest, const char *spec)
{
	struct vg_super *s = ctx;
	struct vg_err err = { "" };
	int ret = s->xs ? vg_guest_attach(s, guest, spec, &err)
			: vg_fail(&err, -ENODEV, "there is no Xen here, and thus no guest");

	if (ret < 0) {
		vg_control_fail(req, ret, &err);
		return;
	}
	vg_control_add_uint(req, "id", (uint64_t)ret);
	vg_control_ok(req);
}

/* A guest's device before a socket's of the same name; "vhost-user/0" is the latter in any case. */
static struct vg_child *target_of(struct vg_super *s, const struct vg_control_target *t,
				  struct vg_control_req *req)
{
	struct vg_child *found = NULL;
	struct vg_err err;

	for (struct vg_child *c = s->children; c; c = c->next) {
		struct vg_control_device d = { 0 };

		c->ops->place(c, &d);
		if (d.id == t->id && (!t->kind || strcmp(t->kind, d.kind) == 0) &&
		    vg_control_is_guest(t->guest, d.guest, d.domid) &&
		    (!found || d.domid != VG_CONTROL_NO_DOMAIN))
			found = c;
	}
	if (!found)
		vg_control_fail(req,
				vg_fail(&err, -ENOENT,
					"%s has no device %u: vgrant list shows what there is",
					t->guest, t->id),
				&err);
	return found;
}

static void on_detach(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	struct vg_child *c = target_of(ctx, t, req);
	struct vg_err err = { "" };
	int ret;

	if (!c)
		return;
	ret = c->ops->detach(c, &err);
	if (ret < 0)
		vg_control_fail(req, ret, &err);
	else
		vg_control_ok(req);
}

static void on_set(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		   const char *key, const char *value)
{
	struct vg_child *c = target_of(ctx, t, req);

	if (c)
		vg_child_set(c, req, key, value);
}

static void on_trace(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	struct vg_child *c = target_of(ctx, t, req);

	if (c)
		vg_tracer_start(c, req);
}

static void on_show_config(void *ctx, FILE *out)
{
	struct vg_super *s = ctx;

	vg_settings_print(s->settings, out);
}

/* Of the supervisor, and of workers from the next one on. */
static void on_log_level(void *ctx, enum vg_log_level level)
{
	struct vg_super *s = ctx;

	s->settings->log_level = level;
	vg_log_init(s->settings->log_target, level, NULL);
}

static void on_shutdown(void *ctx)
{
	stop(ctx);
}

static const struct vg_control_ops control_ops = {
	.list = on_list,
	.attach = on_attach,
	.detach = on_detach,
	.set = on_set,
	.trace = on_trace,
	.show_config = on_show_config,
	.log_level = on_log_level,
	.shutdown = on_shutdown,
};

static int open_control(struct vg_super *s, struct vg_err *err)
{
	char path[108];
	struct vg_control_config cfg = {
		.path = path,
		.mode = (mode_t)s->settings->mode,
		.version = VG_VERSION,
		.ops = &control_ops,
		.ctx = s,
	};
	int ret;

	vg_settings_socket(s->settings, path, sizeof(path));
	ret = vg_settings_group(s->settings, &cfg.group, err);
	return ret < 0 ? ret : vg_control_new(s->loop, &cfg, &s->control, err);
}

/* ---- life --------------------------------------------------------------- */

/* Two descriptors a device: all that the system allows us. */
static void raise_descriptor_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

static int open_runtime_dir(struct vg_super *s, struct vg_err *err)
{
	const char *dir = s->settings->runtime_dir;

	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return vg_fail(err, -errno, "%s cannot be made: %s", dir, strerror(errno));
	s->runtime_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->runtime_fd < 0)
		return vg_fail(err, -errno, "%s cannot be opened: %s", dir, strerror(errno));
	return 0;
}

static int choose_sandbox(struct vg_super *s, struct vg_err *err)
{
	s->sandbox.namespaces = s->settings->sandbox;
	s->sandbox.seccomp = s->settings->sandbox;
	if (!s->settings->sandbox || geteuid() != 0)
		return 0;
	return vg_settings_worker_ids(s->settings, &s->sandbox.uid, &s->sandbox.gid, err);
}

static void close_all(struct vg_super *s)
{
	s->stopping = true;
	vg_sockets_free(s);
	while (s->nodes)
		vg_node_free(s->nodes);
	vg_guests_free(s);
	vg_control_free(s->control);
	if (s->xs) {
		vg_loop_unwatch(&s->xs_watch);
		xs_close(s->xs);
	}
	if (s->runtime_fd >= 0)
		close(s->runtime_fd);
	vg_loop_free(s->loop);
}

int vg_super_run(struct vg_settings *settings, struct vg_err *err)
{
	struct vg_super s = {
		.settings = settings,
		.runtime_fd = -1,
		.xs_watch.ready = xenstore_ready,
		.signal_watch.ready = signal_ready,
		.timer.expired = timer_expired,
		.list_timer.expired = list_timer_expired,
	};
	int ret;

	raise_descriptor_limit();
	ret = vg_loop_new(LOOP_ENTRIES, &s.loop);
	if (ret < 0)
		return vg_fail(err, ret, "io_uring cannot be set up: %s%s", strerror(-ret),
			       ret == -EPERM ? "; set sysctl kernel.io_uring_disabled to 0" : "");
	/* Signals first: libxenstore's thread inherits the mask. The control socket next: its lock
	 * keeps a second vgrantd from touching anything. */
	ret = watch_signals(&s);
	if (ret < 0)
		vg_fail(err, ret, "signals cannot be watched: %s", strerror(-ret));
	if (ret == 0)
		ret = choose_sandbox(&s, err);
	if (ret == 0)
		ret = open_runtime_dir(&s, err);
	if (ret == 0) {
		ret = open_xenstore(&s, err);
		if (ret < 0 && !s.xs && settings->n_sockets) {
			vg_info("version %s, without Xen: for [vhost-user] alone", VG_VERSION);
			ret = 0;
		}
	}
	if (ret == 0)
		ret = open_control(&s, err);
	if (ret == 0 && s.xs)
		ret = watch_xenstore(&s, err);
	if (ret == 0) {
		vg_sockets_sync(&s);
		if (s.xs) {
			vg_info("version %s, domain %u%s", VG_VERSION, s.domid,
				s.toolstack ? "" : ", a driver domain");
			vg_guests_scan(&s);
		}
		ret = vg_loop_run(s.loop);
		if (ret < 0)
			vg_fail(err, ret, "the event loop failed: %s", strerror(-ret));
	}
	close_all(&s);
	return ret;
}
