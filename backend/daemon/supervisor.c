// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * supervisor.c - the daemon's process: its loop and what wakes it
 *
 *	xenstore   watches on our backend directories, each frontend's state, and the coming and
 *	           going of domains (xenstore/watch.h)
 *	signals    SIGTERM, SIGINT: stop; SIGHUP: try failed devices again, and
 *	           read [vhost-user] again; SIGCHLD
 *	metrics    a process that tells Prometheus, where the settings want it (metrics.c)
 *	control    requests of `vgrant` (requests.c)
 *	workers    child.c, and node.c or sockets.c
 *	kernel     what it tells of images, disks and interfaces (news.c)
 *	libvirt    what the process that speaks to it says (virt.c)
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
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/daemon/metrics.h"
#include "backend/daemon/nodes.h"
#include "backend/daemon/notify.h"
#include "backend/daemon/requests.h"
#include "backend/daemon/sockets.h"
#include "backend/daemon/virt.h"
#include "backend/memory/grants.h"
#include "backend/toolstack/toolstack.h"
#include "backend/toolstack/xlsource.h"
#include "virtio_grant.h"
#include "xenstore/watch.h"

enum { LOOP_ENTRIES = 64, RESCAN_S = 1 };

struct vg_super {
	struct vg_settings *settings;
	struct vg_loop *loop;
	struct vg_xs *xs; /* NULL: no Xen here; there are sockets to serve */
	struct vg_children children;
	struct vg_nodes nodes;
	struct vg_sockets sockets;
	struct vg_toolstack toolstack;
	struct vg_virt_process virt;
	struct vg_requests requests;
	struct vg_metrics metrics;
	struct vg_notify notify;
	struct vg_watch xs_watch, signal_watch;
	struct vg_timer rescan; /* xenstored did not say what there is */
};

/* ---- xenstore ----------------------------------------------------------- */

static void consider(void *ctx, const char *kind, uint32_t guest, uint32_t id)
{
	struct vg_super *s = ctx;
	int ret = vg_node_consider(&s->nodes, kind, guest, id);

	if (ret == 0 && strcmp(kind, VIRTIO_GRANT_XENBUS_TYPE) == 0)
		vg_guest_adopt(&s->toolstack, guest, id);
	if (ret < 0)
		vg_loop_timer(s->loop, &s->rescan, RESCAN_S * NS_PER_S);
}

/* Everything below our backend directories: at the start, and when a whole tree changed. */
static void scan_all(struct vg_super *s)
{
	if (vg_xs_scan(s->xs, s->nodes.domid, consider, s) < 0)
		vg_loop_timer(s->loop, &s->rescan, RESCAN_S * NS_PER_S);
}

static void rescan_expired(struct vg_timer *t)
{
	struct vg_super *s = container_of(t, struct vg_super, rescan);

	if (s->children.stopping)
		return;
	scan_all(s);
	vg_nodes_sync(&s->nodes);
}

struct seen {
	bool domains; /* a domain came or went */
	bool trees;   /* something that no node of ours is for changed below our directories */
};

/* Mark what the event at @path is about. */
static void note_event(struct vg_super *s, const char *path, struct seen *seen)
{
	struct vg_xs_event event;

	vg_xs_about(path, &event);
	switch (event.about) {
	case VG_XS_DOMAINS:
		seen->domains = true;
		break;
	case VG_XS_TREES:
		seen->trees = true;
		break;
	case VG_XS_NAME:
		vg_guest_renamed(&s->toolstack, event.guest);
		vg_nodes_note(&s->nodes, &event);
		break;
	case VG_XS_FRONTEND:
		vg_nodes_note(&s->nodes, &event);
		break;
	case VG_XS_BACKEND:
		if (!vg_nodes_note(&s->nodes, &event))
			consider(s, event.kind, event.guest, event.id);
		break;
	}
}

static void xenstore_ready(struct vg_watch *w, unsigned events)
{
	struct vg_super *s = container_of(w, struct vg_super, xs_watch);
	struct seen seen = { false, false };
	char *path;

	if (!(events & POLLIN)) {
		vg_error("xenstored has gone; devices that are connected carry on, new ones need a "
			 "restart of vgrantd");
		vg_loop_unwatch(w);
		return;
	}
	while ((path = vg_xs_event(s->xs)) != NULL) {
		note_event(s, path, &seen);
		free(path);
	}
	if (s->children.stopping)
		return;
	if (seen.domains) {
		vg_guests_scan(&s->toolstack);
		vg_nodes_mark(&s->nodes); /* guests that vanished without a word */
	}
	if (seen.trees) {
		scan_all(s);
		vg_nodes_mark(&s->nodes);
	}
	vg_nodes_sync(&s->nodes);
}

/* Once, and not by each worker. Where the device cannot be opened, each says so. */
static void tell_of_grants(void)
{
	int ret = vg_grant_can_keep();

	if (ret > 0)
		vg_info("grants: each worker is kept to those of its own guest");
	else if (ret == 0)
		vg_info("grants: this kernel cannot keep a worker to those of its own guest; what "
			"that means, and how one gets that can, is in vgrantd(8), SECURITY");
}

static int open_xenstore(struct vg_super *s, struct vg_err *err)
{
	uint32_t domid;
	int ret = vg_grant_pages_fit(sysconf(_SC_PAGESIZE), err);

	if (ret < 0)
		return ret;
	ret = vg_xs_open(&s->xs);
	if (ret < 0)
		return vg_fail(
			err, -ENODEV,
			"xenstore cannot be reached (%s): vgrantd runs in a Xen dom0 or driver "
			"domain, as root, after xenstored",
			strerror(-ret));
	if (vg_xs_own_domid(s->xs, &domid) < 0)
		return vg_fail(err, -ENODEV,
			       "xenstore does not say which domain this is: in dom0, is "
			       "xen-init-dom0 done?");
	s->nodes.xs = s->xs;
	s->nodes.domid = domid;
	vg_toolstack_init(&s->toolstack, s->loop, s->xs, domid);
	if (domid == 0) {
		vg_virt_start(&s->virt, s->loop, &s->toolstack, s->settings);
		s->requests.virt = &s->virt.virt;
		vg_toolstack_add_source(&s->toolstack, &vg_xl_source,
					(void *)(uintptr_t)s->settings->config_dirs);
	}
	s->requests.toolstack = &s->toolstack;
	tell_of_grants();
	return 0;
}

static int watch_xenstore(struct vg_super *s, struct vg_err *err)
{
	int ret = vg_xs_watch_backend(s->xs, s->nodes.domid, s->toolstack.n_sources > 0);

	if (ret < 0)
		return vg_fail(err, ret, "xenstore refuses watches: %s", strerror(-ret));
	vg_loop_watch(s->loop, &s->xs_watch, vg_xs_fd(s->xs));
	return 0;
}

/* ---- signals ------------------------------------------------------------ */

static void finish_if_alone(struct vg_super *s)
{
	if (vg_children_gone(&s->children))
		vg_loop_stop(s->loop);
}

static void tidied(struct vg_tidies *t)
{
	struct vg_super *s = container_of(t, struct vg_super, children.tidies);

	if (s->children.stopping)
		finish_if_alone(s);
}

static void stop(struct vg_super *s)
{
	if (s->children.stopping)
		return;
	vg_info("stopping; devices stay with their guests, and the next vgrantd carries on");
	vg_notify_stopping(&s->notify);
	vg_children_stop(&s->children);
	finish_if_alone(s);
}

static void stop_asked(struct vg_requests *r)
{
	stop(container_of(r, struct vg_super, requests));
}

static void reap(struct vg_super *s)
{
	vg_children_reap(&s->children);
	if (s->children.stopping)
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
	vg_info("SIGHUP: failed devices are tried again, guests' configurations are looked for "
		"again, and "
		"[vhost-user] is read again");
	vg_notify_reloading(&s->notify);
	vg_nodes_retry(&s->nodes);
	if (s->xs)
		vg_guests_look_again(&s->toolstack);
	vg_virt_retry(&s->virt);
	reload(s);
	vg_sockets_sync(&s->sockets);
	vg_notify_ready(&s->notify);
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
	s->nodes.runtime_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->nodes.runtime_fd < 0)
		return vg_fail(err, -errno, "%s cannot be opened: %s", dir, strerror(errno));
	s->children.tidies.dir = s->nodes.runtime_fd;
	return 0;
}

static int choose_sandbox(struct vg_super *s, struct vg_err *err)
{
	struct vg_sandbox *sandbox = &s->children.sandbox;

	int ret;

	sandbox->namespaces = s->settings->sandbox;
	sandbox->seccomp = s->settings->sandbox;
	if (!s->settings->sandbox || geteuid() != 0)
		return 0;
	ret = vg_settings_worker_ids(s->settings, &sandbox->uid, &sandbox->gid, err);
	return ret < 0 ? ret : vg_settings_user_range(s->settings, &s->children.uid_base, err);
}

/* Guests' memory is limited where systemd lets us; it is said once where it is not. */
static void open_cgroup(struct vg_super *s)
{
	struct vg_err err = { "" };
	char path[512];

	if (vg_cgroup_find(path, sizeof(path), &err) < 0 ||
	    vg_cgroup_open(&s->children.cgroup, path, &err) < 0)
		vg_info("guest-memory in [limits] has no effect: %s", err.text);
}

static void close_all(struct vg_super *s)
{
	s->children.stopping = true;
	vg_sockets_free(&s->sockets);
	vg_nodes_free(&s->nodes);
	vg_virt_stop(&s->virt);
	vg_toolstack_free(&s->toolstack);
	vg_metrics_stop(&s->metrics);
	vg_requests_close(&s->requests);
	vg_loop_timer_stop(&s->rescan);
	if (s->xs) {
		vg_loop_unwatch(&s->xs_watch);
		vg_xs_close(s->xs);
	}
	vg_news_close(&s->children.news);
	vg_tidies_free(&s->children.tidies);
	vg_cgroup_close(&s->children.cgroup);
	if (s->nodes.runtime_fd >= 0)
		close(s->nodes.runtime_fd);
	vg_loop_free(s->loop);
}

/* What there is, and whom it needs. */
static void init(struct vg_super *s, struct vg_settings *settings)
{
	*s = (struct vg_super){
		.settings = settings,
		.children = { .settings = settings,
			      .cgroup.dir = -1,
			      .tidies = { .dir = -1, .ended = tidied } },
		.nodes = { .children = &s->children,
			   .runtime_fd = -1,
			   .cards.children = &s->children },
		.sockets = { .children = &s->children, .settings = settings },
		.requests = { .settings = settings,
			      .children = &s->children,
			      .shutdown = stop_asked },
		.xs_watch.ready = xenstore_ready,
		.signal_watch.ready = signal_ready,
		.rescan.expired = rescan_expired,
	};
}

int vg_super_run(struct vg_settings *settings, struct vg_err *err)
{
	struct vg_super s;
	int ret;

	init(&s, settings);
	vg_notify_init(&s.notify);
	raise_descriptor_limit();
	ret = vg_loop_new(LOOP_ENTRIES, &s.loop);
	if (ret < 0)
		return vg_fail(err, ret, "io_uring cannot be set up: %s%s", strerror(-ret),
			       ret == -EPERM ? "; set sysctl kernel.io_uring_disabled to 0" : "");
	s.children.loop = s.children.tidies.loop = s.loop;
	vg_news_open(&s.children.news, s.loop);
	/* Signals first: the threads of xenstore inherit the mask. The control socket next: its lock
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
		ret = vg_requests_open(&s.requests, err);
	if (ret == 0 && s.xs)
		ret = watch_xenstore(&s, err);
	if (ret == 0) {
		vg_metrics_start(&s.metrics, &s.children, s.requests.control);
		open_cgroup(&s);
		vg_tidies_left(&s.children.tidies);
		vg_sockets_sync(&s.sockets);
		if (s.xs) {
			vg_info("version %s, domain %u%s", VG_VERSION, s.nodes.domid,
				s.toolstack.n_sources ? "" : ", a driver domain");
			vg_guests_scan(&s.toolstack);
			vg_nodes_sweep(&s.nodes);
		}
		vg_notify_ready(&s.notify);
		ret = vg_loop_run(s.loop);
		if (ret < 0)
			vg_fail(err, ret, "the event loop failed: %s", strerror(-ret));
	}
	close_all(&s);
	return ret;
}
