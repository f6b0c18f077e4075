// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * news.c - see news.h
 *
 * A worker that looked once a second at its image's size, or at its bridge, would wake an idle machine
 * as often as it has devices. The kernel tells instead, the supervisor alone, by three sockets:
 *
 *	inotify(7)	IN_CLOSE_WRITE of image files: a worker, which keeps its image open, causes none
 *	uevents		RESIZE=1 of block devices (set_capacity_and_notify(), Linux 5.11)
 *	rtnetlink(7)	RTMGRP_LINK: of interfaces, their bridges among them
 *
 * Nothing of an event is believed but that there was one: whoever follows looks for itself. Where the
 * kernel drops events (ENOBUFS, IN_Q_OVERFLOW) all are told.
 */
#include "backend/daemon/news.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/log.h"

enum { KERNEL_GROUP = 1 }; /* of uevents: the kernel's own; udev's is another */

/* @watch: of inotify; -1: all of that kind */
static void tell(struct vg_news *n, enum vg_news_of of, int watch)
{
	struct vg_follower *next;

	for (struct vg_follower *f = n->first; f; f = next) {
		next = f->next;
		if (f->of == of && (watch < 0 || f->watch == watch))
			f->heard(f);
	}
}

/* ---- files -------------------------------------------------------------- */

static void files_ready(struct vg_watch *w, unsigned events)
{
	struct vg_news *n = container_of(w, struct vg_news, files);
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t len;

	(void)events;
	while ((len = read(vg_loop_watch_fd(w), buf, sizeof(buf))) > 0) {
		for (char *at = buf; at < buf + len;) {
			struct inotify_event e;

			memcpy(&e, at, sizeof(e));
			at += sizeof(e) + e.len;
			if (!(e.mask & IN_IGNORED))
				tell(n, VG_NEWS_FILE, e.mask & IN_Q_OVERFLOW ? -1 : e.wd);
		}
	}
}

/* ---- netlink ------------------------------------------------------------ */

/* One message of the kernel's. Return: its length, 0: nobody else's; -1: there are no more. */
static ssize_t next_message(int fd, char *buf, size_t size)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1
	};
	ssize_t len = recvmsg(fd, &msg, MSG_DONTWAIT);

	if (len > 0 && from.nl_pid != 0)
		return 0;
	return len;
}

/* A uevent is "ACTION@PATH" and then KEY=VALUE, each with a NUL behind it. */
static bool is_resize(const char *buf, ssize_t len)
{
	for (const char *at = buf; at < buf + len; at += strnlen(at, (size_t)(buf + len - at)) + 1)
		if (strcmp(at, "RESIZE=1") == 0)
			return true;
	return false;
}

static void disks_ready(struct vg_watch *w, unsigned events)
{
	struct vg_news *n = container_of(w, struct vg_news, disks);
	bool any = false;
	char buf[8192];
	ssize_t len;

	(void)events;
	while ((len = next_message(vg_loop_watch_fd(w), buf, sizeof(buf) - 1)) >= 0 ||
	       errno == ENOBUFS) {
		buf[len > 0 ? len : 0] = '\0';
		any |= len < 0 || is_resize(buf, len);
	}
	if (any)
		tell(n, VG_NEWS_DISKS, -1);
}

static void links_ready(struct vg_watch *w, unsigned events)
{
	struct vg_news *n = container_of(w, struct vg_news, links);
	bool any = false;
	char buf[8192];
	ssize_t len;

	(void)events;
	while ((len = next_message(vg_loop_watch_fd(w), buf, sizeof(buf))) >= 0 || errno == ENOBUFS)
		any |= len != 0;
	if (any)
		tell(n, VG_NEWS_LINKS, -1);
}

static int netlink(int protocol, uint32_t groups)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* ---- life --------------------------------------------------------------- */

static bool listen_to(struct vg_news *n, struct vg_watch *w, int fd, const char *what)
{
	if (fd < 0) {
		vg_debug("the kernel does not tell of %s (%s): devices look once a second", what,
			 strerror(errno));
		return false;
	}
	vg_loop_watch(n->loop, w, fd);
	return true;
}

void vg_news_open(struct vg_news *n, struct vg_loop *loop)
{
	*n = (struct vg_news){ .loop = loop,
			       .files.ready = files_ready,
			       .disks.ready = disks_ready,
			       .links.ready = links_ready };
	n->has_files = listen_to(n, &n->files, inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "files");
	n->has_disks =
		listen_to(n, &n->disks, netlink(NETLINK_KOBJECT_UEVENT, KERNEL_GROUP), "disks");
	n->has_links = listen_to(n, &n->links, netlink(NETLINK_ROUTE, RTMGRP_LINK), "interfaces");
}

static void stop(struct vg_watch *w, bool has)
{
	int fd;

	if (!has)
		return;
	fd = vg_loop_watch_fd(w);
	vg_loop_unwatch(w);
	close(fd);
}

void vg_news_close(struct vg_news *n)
{
	stop(&n->files, n->has_files);
	stop(&n->disks, n->has_disks);
	stop(&n->links, n->has_links);
	*n = (struct vg_news){ 0 };
}

/* ---- who follows -------------------------------------------------------- */

static bool follow(struct vg_news *n, struct vg_follower *f, enum vg_news_of of, int watch)
{
	f->news = n;
	f->of = of;
	f->watch = watch;
	f->next = n->first;
	f->pprev = &n->first;
	if (f->next)
		f->next->pprev = &f->next;
	n->first = f;
	return true;
}

bool vg_news_file(struct vg_news *n, struct vg_follower *f, const char *path)
{
	struct stat st;
	int watch;

	vg_news_unfollow(f);
	if (stat(path, &st) < 0)
		return false;
	if (S_ISBLK(st.st_mode))
		return n->has_disks && follow(n, f, VG_NEWS_DISKS, -1);
	if (!n->has_files)
		return false;
	watch = inotify_add_watch(vg_loop_watch_fd(&n->files), path, IN_CLOSE_WRITE);
	return watch >= 0 && follow(n, f, VG_NEWS_FILE, watch);
}

bool vg_news_links(struct vg_news *n, struct vg_follower *f)
{
	vg_news_unfollow(f);
	return n->has_links && follow(n, f, VG_NEWS_LINKS, -1);
}

/* Of several that follow one file, as images that are shared, inotify has one watch. */
static bool is_followed(const struct vg_news *n, int watch)
{
	for (const struct vg_follower *f = n->first; f; f = f->next)
		if (f->of == VG_NEWS_FILE && f->watch == watch)
			return true;
	return false;
}

void vg_news_unfollow(struct vg_follower *f)
{
	struct vg_news *n = f->news;

	if (!n)
		return;
	*f->pprev = f->next;
	if (f->next)
		f->next->pprev = f->pprev;
	f->news = NULL;
	if (f->of == VG_NEWS_FILE && !is_followed(n, f->watch))
		(void)inotify_rm_watch(vg_loop_watch_fd(&n->files), f->watch);
}
