/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_xenstored.c - the xenstore daemon: connections and watches
 *
 * One process, one epoll loop, the wire protocol of xen/io/xs_wire.h on the
 * socket "xenstore" of the world's directory. A connection is domain 0's
 * until it says otherwise (FXI_XS_IDENTIFY). The client of fx_xs.c opens two:
 * one for requests, one (FXI_XS_EVENTS) for its watch events, so that the
 * second can be polled; a real libxenstore, which has both on one, works too.
 *
 * Mirrored from tools/xenstored: who may do and see what, quotas, when
 * watches fire and for whom (not for nodes that the watcher may not read),
 * the event at registration, E2BIG for directories that do not fit.
 */
#include "tests/fakes/xen/fx_xenstored.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"

/* ---- sending -------------------------------------------------------------- */

static void conn_poll(struct fxd_daemon *d, struct fxd_conn *c, int op)
{
	struct epoll_event ev = { .events = EPOLLIN | (c->out ? EPOLLOUT : 0u), .data.ptr = c };

	epoll_ctl(d->epoll, op, c->fd, &ev);
}

static void flush(struct fxd_daemon *d, struct fxd_conn *c)
{
	bool had = c->out;

	while (c->out) {
		struct fxd_out *o = c->out;
		ssize_t n = send(c->fd, o->bytes + o->sent, o->len - o->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				c->gone = true;
			return;
		}
		o->sent += (uint32_t)n;
		if (o->sent < o->len)
			continue;
		c->out = o->next;
		if (!c->out)
			c->out_tail = &c->out;
		free(o);
	}
	if (had)
		conn_poll(d, c, EPOLL_CTL_MOD);
}

static void post(struct fxd_daemon *d, struct fxd_conn *c, uint32_t type, uint32_t req, uint32_t tx,
		 const void *data, uint32_t len)
{
	struct xsd_sockmsg hdr = { .type = type, .req_id = req, .tx_id = tx, .len = len };
	struct fxd_out *o = malloc(sizeof(*o) + sizeof(hdr) + len);

	if (!o)
		abort();
	o->next = NULL;
	o->sent = 0;
	o->len = (uint32_t)sizeof(hdr) + len;
	memcpy(o->bytes, &hdr, sizeof(hdr));
	memcpy(o->bytes + sizeof(hdr), data, len);
	*c->out_tail = o;
	c->out_tail = &o->next;
	flush(d, c);
	if (c->out)
		conn_poll(d, c, EPOLL_CTL_MOD);
}

void fxd_reply(struct fxd_daemon *d, struct fxd_conn *c, const void *data, size_t len)
{
	post(d, c, c->in.hdr.type, c->in.hdr.req_id, c->in.hdr.tx_id, data, (uint32_t)len);
}

void fxd_error(struct fxd_daemon *d, struct fxd_conn *c, int err)
{
	const char *name = "EINVAL";
	unsigned int i;

	for (i = 0; i < COUNT(xsd_errors); i++)
		if (xsd_errors[i].errnum == err)
			name = xsd_errors[i].errstring;
	post(d, c, XS_ERROR, c->in.hdr.req_id, c->in.hdr.tx_id, name, (uint32_t)strlen(name) + 1);
}

/* ---- watches -------------------------------------------------------------- */

void fxd_event(struct fxd_daemon *d, struct fxd_conn *c, const struct fxd_watch *wt,
	       const char *path)
{
	char buf[XENSTORE_PAYLOAD_MAX];
	const char *p = path + (path[0] == '@' ? 0 : wt->prefix);
	int n = snprintf(buf, sizeof(buf), "%s%c%s", p, 0, wt->token);

	post(d, c->events ? c->events : c, XS_WATCH_EVENT, 0, 0, buf, (uint32_t)n + 1);
}

static bool below(const char *path, const char *top)
{
	size_t len = strlen(top);

	if (len == 1)
		return path[0] == '/';
	return !strncmp(path, top, len) && (path[len] == '/' || !path[len]);
}

/* may_see() - watch_permitted() of xenstored */
static bool may_see(struct fxd_daemon *d, struct fxd_conn *c, const char *path,
		    const struct xs_permissions *old, unsigned int n_old)
{
	struct fxs_node *n;
	char *up;

	if (!c->domid)
		return true;
	if (path[0] == '@')
		return false;
	if (old && (fxs_perm(old, n_old, c->domid) & XS_PERM_READ))
		return true;
	n = fxs_lookup(&d->store, NULL, path);
	if (!n)
		return false;
	if (fxs_perm(n->perms, n->n_perms, c->domid) & XS_PERM_READ)
		return true;
	up = fxs_parent(path);
	n = fxs_lookup(&d->store, NULL, up);
	free(up);
	return n && (fxs_perm(n->perms, n->n_perms, c->domid) & XS_PERM_READ);
}

void fxd_fire(void *ctx, const char *path, bool exact, const struct xs_permissions *old,
	      unsigned int n_old)
{
	struct fxd_daemon *d = ctx;
	struct fxd_watch *wt;
	struct fxd_conn *c;

	for (c = d->conns; c; c = c->next) {
		if (!c->watches || !may_see(d, c, path, old, n_old))
			continue;
		for (wt = c->watches; wt; wt = wt->next)
			if (exact ? !strcmp(path, wt->path) : below(path, wt->path))
				fxd_event(d, c, wt, path);
	}
}

void fxd_watch_free(struct fxd_watch *wt)
{
	free(wt->path);
	free(wt->token);
	free(wt);
}

/* ---- connections ---------------------------------------------------------- */

static void conn_read(struct fxd_daemon *d, struct fxd_conn *c)
{
	unsigned int delay;
	ssize_t n;
	int rc;

	for (;;) {
		uint32_t want = c->have < sizeof(c->in.hdr) ? sizeof(c->in.hdr)
							    : sizeof(c->in.hdr) + c->in.hdr.len;

		if (c->have >= sizeof(c->in.hdr) && c->in.hdr.len > XENSTORE_PAYLOAD_MAX) {
			c->gone = true;
			return;
		}
		if (c->have == want && want >= sizeof(c->in.hdr) &&
		    c->have >= sizeof(c->in.hdr) + c->in.hdr.len) {
			delay = __atomic_load_n(&d->w->shm->xs_delay_us, __ATOMIC_RELAXED);
			if (delay && !c->quiet)
				usleep(delay);
			rc = fxd_dispatch(d, c);
			if (rc)
				fxd_error(d, c, rc);
			c->have = 0;
			return; /* one request a turn: fair to the others */
		}
		n = recv(c->fd, c->in.bytes + c->have, want - c->have, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			c->gone = true;
		if (n <= 0)
			return;
		c->have += (uint32_t)n;
	}
}

static void conn_new(struct fxd_daemon *d, int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct fxd_conn *c;

	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	c->fd = fd;
	c->id = ++d->next_conn;
	c->out_tail = &c->out;
	c->next = d->conns;
	d->conns = c;
	conn_poll(d, c, EPOLL_CTL_ADD);
}

static void conn_free(struct fxd_daemon *d, struct fxd_conn *c)
{
	struct fxd_conn *o;

	for (o = d->conns; o; o = o->next) {
		if (o->events == c)
			o->gone = true;
		if (c->events == o)
			o->gone = true;
	}
	while (c->watches) {
		struct fxd_watch *wt = c->watches;

		c->watches = wt->next;
		fxd_watch_free(wt);
	}
	while (c->tx) {
		struct fxs_tx *tx = c->tx;

		c->tx = tx->next;
		fxs_tx_free(tx);
	}
	while (c->out) {
		struct fxd_out *o1 = c->out;

		c->out = o1->next;
		free(o1);
	}
	close(c->fd);
	free(c);
}

/* sweep() - free the connections that are gone, and those that go with them */
static void sweep(struct fxd_daemon *d)
{
	struct fxd_conn **p, *c;
	bool again;

	do {
		again = false;
		for (p = &d->conns; *p;) {
			c = *p;
			if (!c->gone) {
				p = &c->next;
				continue;
			}
			*p = c->next;
			conn_free(d, c);
			again = true;
		}
	} while (again);
}

void fxi_xenstored(struct fx_world *w, int listen_fd, int lifeline)
{
	struct fxd_daemon *d = calloc(1, sizeof(*d));
	struct epoll_event ev[32];
	bool stop = false;
	int i, n, sfd;
	sigset_t set;

	if (!d)
		return;
	d->w = w;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sfd = signalfd(-1, &set, SFD_CLOEXEC);
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	d->store.fire = fxd_fire;
	d->store.ctx = d;
	fxs_init(&d->store);
	ev[0] = (struct epoll_event){ .events = EPOLLIN, .data.ptr = &listen_fd };
	epoll_ctl(d->epoll, EPOLL_CTL_ADD, listen_fd, &ev[0]);
	ev[0] = (struct epoll_event){ .events = EPOLLIN, .data.ptr = &lifeline };
	epoll_ctl(d->epoll, EPOLL_CTL_ADD, lifeline, &ev[0]);
	epoll_ctl(d->epoll, EPOLL_CTL_ADD, sfd, &ev[0]);
	while (!stop) {
		n = epoll_wait(d->epoll, ev, 32, -1);
		for (i = 0; i < n; i++) {
			struct fxd_conn *c = ev[i].data.ptr;

			if (ev[i].data.ptr == &lifeline) {
				stop = true;
			} else if (ev[i].data.ptr == &listen_fd) {
				conn_new(d, listen_fd);
			} else if (!c->gone) {
				if (ev[i].events & EPOLLOUT)
					flush(d, c);
				if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
					conn_read(d, c);
			}
		}
		sweep(d);
	}
	while (d->conns) {
		d->conns->gone = true;
		sweep(d);
	}
	fxs_fini(&d->store);
	close(d->epoll);
	close(sfd);
	free(d);
}
