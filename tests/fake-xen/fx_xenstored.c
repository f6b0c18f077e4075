/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_xenstored.c - the xenstore daemon: connections, requests, watches
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
#include "tests/fake-xen/fx_internal.h"
#include "tests/fake-xen/fx_store.h"

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

#include <xen/io/xs_wire.h>

struct watch {
	struct watch *next;
	char *path; /* absolute */
	char *token;
	unsigned int prefix; /* bytes to leave out in events: relative watches */
};

struct out {
	struct out *next;
	uint32_t len, sent;
	char bytes[];
};

struct conn {
	struct conn *next;
	int fd;
	uint32_t id;
	unsigned int domid;
	bool quiet; /* the toolstack's: not counted, no faults */
	bool gone;
	uint32_t events_for; /* this connection carries events of that one; 0 */
	struct conn *events; /* events go there; NULL: here */
	struct watch *watches;
	unsigned int n_watches;
	struct fxs_tx *tx;
	unsigned int n_tx;
	struct out *out, **out_tail;
	uint32_t have;
	union {
		struct xsd_sockmsg hdr;
		char bytes[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX + 1];
	} in;
};

struct daemon {
	struct fx_world *w;
	int epoll;
	struct conn *conns;
	uint32_t next_conn, next_tx;
	uint8_t introduced[32768];
	struct fxs_store store;
};

/* ---- sending -------------------------------------------------------------- */

static void conn_poll(struct daemon *d, struct conn *c, int op)
{
	struct epoll_event ev = { .events = EPOLLIN | (c->out ? EPOLLOUT : 0u), .data.ptr = c };

	epoll_ctl(d->epoll, op, c->fd, &ev);
}

static void flush(struct daemon *d, struct conn *c)
{
	bool had = c->out;

	while (c->out) {
		struct out *o = c->out;
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

static void post(struct daemon *d, struct conn *c, uint32_t type, uint32_t req, uint32_t tx,
		 const void *data, uint32_t len)
{
	struct xsd_sockmsg hdr = { .type = type, .req_id = req, .tx_id = tx, .len = len };
	struct out *o = malloc(sizeof(*o) + sizeof(hdr) + len);

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

static void reply(struct daemon *d, struct conn *c, const void *data, size_t len)
{
	post(d, c, c->in.hdr.type, c->in.hdr.req_id, c->in.hdr.tx_id, data, (uint32_t)len);
}

static void reply_error(struct daemon *d, struct conn *c, int err)
{
	const char *name = "EINVAL";
	unsigned int i;

	for (i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
		if (xsd_errors[i].errnum == err)
			name = xsd_errors[i].errstring;
	post(d, c, XS_ERROR, c->in.hdr.req_id, c->in.hdr.tx_id, name, (uint32_t)strlen(name) + 1);
}

/* ---- watches -------------------------------------------------------------- */

static void send_event(struct daemon *d, struct conn *c, const struct watch *wt, const char *path)
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
static bool may_see(struct daemon *d, struct conn *c, const char *path,
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

static void fire(void *ctx, const char *path, bool exact, const struct xs_permissions *old,
		 unsigned int n_old)
{
	struct daemon *d = ctx;
	struct watch *wt;
	struct conn *c;

	for (c = d->conns; c; c = c->next) {
		if (!c->watches || !may_see(d, c, path, old, n_old))
			continue;
		for (wt = c->watches; wt; wt = wt->next)
			if (exact ? !strcmp(path, wt->path) : below(path, wt->path))
				send_event(d, c, wt, path);
	}
}

static void watch_free(struct watch *wt)
{
	free(wt->path);
	free(wt->token);
	free(wt);
}

/* ---- requests ------------------------------------------------------------- */

/*
 * A request's payload, cut into strings; arg[i] is NULL beyond them. The
 * bytes after the last terminator are the rest (a value to write).
 */
struct args {
	const char *arg[8];
	unsigned int n;
	const char *rest; /* after the first string */
	uint32_t rest_len;
	char path[XENSTORE_ABS_PATH_MAX + 64]; /* arg[0] made absolute */
	bool relative;
};

static void parse(struct conn *c, struct args *a)
{
	char *p = c->in.bytes + sizeof(c->in.hdr), *end = p + c->in.hdr.len, *q;

	memset(a, 0, sizeof(*a));
	*end = '\0'; /* there is one byte of room */
	for (q = p; q < end && a->n < 8; a->n++) {
		size_t len = strnlen(q, (size_t)(end - q));

		if (q + len == end && a->n) /* not terminated: a value */
			break;
		a->arg[a->n] = q;
		q += len + 1;
		if (a->n == 0) {
			a->rest = q < end ? q : end;
			a->rest_len = q < end ? (uint32_t)(end - q) : 0;
		}
	}
	if (!a->n)
		return;
	a->relative = a->arg[0][0] != '/' && a->arg[0][0] != '@';
	if (a->relative)
		snprintf(a->path, sizeof(a->path), "/local/domain/%u/%s", c->domid, a->arg[0]);
	else
		snprintf(a->path, sizeof(a->path), "%s", a->arg[0]);
}

static struct fxs_tx **find_tx(struct conn *c, uint32_t id)
{
	struct fxs_tx **p;

	for (p = &c->tx; *p; p = &(*p)->next)
		if ((*p)->id == id)
			return p;
	return NULL;
}

static int do_directory(struct daemon *d, struct conn *c, struct fxs_tx *tx, struct args *a,
			bool part)
{
	char buf[XENSTORE_PAYLOAD_MAX];
	size_t used = 0, off = 0, pos = 0;
	struct fxs_node *n;
	unsigned int i;
	int rc;

	if (a->n < (part ? 2u : 1u))
		return EINVAL;
	rc = fxs_get(&d->store, tx, c->domid, a->path, XS_PERM_READ, &n);
	if (rc)
		return rc;
	if (part) {
		off = strtoul(a->arg[1], NULL, 10);
		used = (size_t)snprintf(buf, sizeof(buf), "%llu", (unsigned long long)n->gen) + 1;
	}
	for (i = 0; i < n->n_child; pos += strlen(n->child[i]) + 1, i++) {
		size_t len = strlen(n->child[i]) + 1;

		if (pos < off)
			continue;
		if (used + len > sizeof(buf) - (part ? 1 : 0)) {
			if (!part)
				return E2BIG;
			break;
		}
		memcpy(buf + used, n->child[i], len);
		used += len;
	}
	if (part && i == n->n_child)
		buf[used++] = '\0';
	reply(d, c, buf, used);
	return 0;
}

static int do_get_perms(struct daemon *d, struct conn *c, struct fxs_tx *tx, struct args *a)
{
	static const char letter[4] = { 'n', 'r', 'w', 'b' };
	char buf[XENSTORE_PAYLOAD_MAX];
	struct fxs_node *n;
	size_t used = 0;
	unsigned int i;
	int rc;

	rc = fxs_get(&d->store, tx, c->domid, a->path, XS_PERM_READ, &n);
	if (rc)
		return rc;
	for (i = 0; i < n->n_perms; i++)
		used += (size_t)sprintf(buf + used, "%c%u", letter[n->perms[i].perms & 3],
					n->perms[i].id) +
			1;
	reply(d, c, buf, used);
	return 0;
}

static int do_set_perms(struct daemon *d, struct conn *c, struct fxs_tx *tx, struct args *a)
{
	struct xs_permissions perms[64];
	const char *p = a->rest;
	unsigned int n = 0;

	while (p && p < a->rest + a->rest_len) {
		static const char letters[] = "nrwb";
		const char *l = *p ? strchr(letters, *p) : NULL;

		if (!l || n == 64)
			return EINVAL;
		perms[n].perms = (unsigned int)(l - letters);
		perms[n++].id = (unsigned int)strtoul(p + 1, NULL, 10);
		p += strlen(p) + 1;
	}
	return fxs_set_perms(&d->store, tx, c->domid, a->path, perms, n);
}

static int do_watch(struct daemon *d, struct conn *c, struct args *a)
{
	struct watch *wt, **tail;

	if (a->n != 2 || !fxs_path_ok(a->path, true))
		return EINVAL;
	for (tail = &c->watches; *tail; tail = &(*tail)->next)
		if (!strcmp((*tail)->path, a->path) && !strcmp((*tail)->token, a->arg[1]))
			return EEXIST;
	if (c->domid && c->n_watches >= FXS_QUOTA_WATCH)
		return E2BIG;
	wt = calloc(1, sizeof(*wt));
	if (!wt)
		return ENOMEM;
	wt->path = strdup(a->path);
	wt->token = strdup(a->arg[1]);
	if (!wt->path || !wt->token)
		abort();
	wt->prefix = a->relative ? (unsigned int)(strlen(a->path) - strlen(a->arg[0])) : 0;
	*tail = wt;
	c->n_watches++;
	reply(d, c, "OK", 3);
	send_event(d, c, wt, wt->path);
	return 0;
}

static int do_unwatch(struct daemon *d, struct conn *c, struct args *a)
{
	struct watch **p, *wt;

	if (a->n != 2)
		return EINVAL;
	for (p = &c->watches; *p; p = &(*p)->next)
		if (!strcmp((*p)->path, a->path) && !strcmp((*p)->token, a->arg[1]))
			break;
	wt = *p;
	if (!wt)
		return ENOENT;
	*p = wt->next;
	c->n_watches--;
	watch_free(wt);
	reply(d, c, "OK", 3);
	return 0;
}

static int do_tx_start(struct daemon *d, struct conn *c)
{
	struct fxs_tx *tx;
	char buf[16];

	if (c->in.hdr.tx_id)
		return EBUSY;
	if (c->domid && c->n_tx >= FXS_QUOTA_TX)
		return ENOSPC;
	if (!++d->next_tx)
		d->next_tx = 1;
	tx = fxs_tx_new(d->next_tx);
	tx->next = c->tx;
	c->tx = tx;
	c->n_tx++;
	reply(d, c, buf, (size_t)snprintf(buf, sizeof(buf), "%u", tx->id) + 1);
	return 0;
}

static int do_tx_end(struct daemon *d, struct conn *c, struct args *a)
{
	struct fxs_tx **p = find_tx(c, c->in.hdr.tx_id), *tx;
	uint32_t *force = &d->w->shm->xs_conflict;
	int rc = 0;

	if (a->n != 1 || (strcmp(a->arg[0], "T") && strcmp(a->arg[0], "F")))
		return EINVAL;
	if (!p)
		return ENOENT;
	tx = *p;
	*p = tx->next;
	c->n_tx--;
	if (a->arg[0][0] == 'T') {
		uint32_t n = __atomic_load_n(force, __ATOMIC_RELAXED);

		if (n && !c->domid && !c->quiet) {
			__atomic_store_n(force, n - 1, __ATOMIC_RELAXED);
			rc = EAGAIN;
		} else {
			rc = fxs_tx_commit(&d->store, tx, c->domid);
		}
	}
	fxs_tx_free(tx);
	if (!rc)
		reply(d, c, "OK", 3);
	return rc;
}

/* drop_domain() - a domain is gone: its connections too */
static void drop_domain(struct daemon *d, unsigned int domid)
{
	struct conn *c;

	for (c = d->conns; c; c = c->next)
		if (c->domid == domid)
			c->gone = true;
}

static int do_domain(struct daemon *d, struct conn *c, struct args *a)
{
	unsigned long domid = a->n ? strtoul(a->arg[0], NULL, 10) : 32768;
	uint32_t type = c->in.hdr.type;
	char buf[32];
	bool known;

	if (domid >= 32768)
		return EINVAL;
	known = !domid || d->introduced[domid];
	if (type == XS_GET_DOMAIN_PATH) {
		reply(d, c, buf,
		      (size_t)snprintf(buf, sizeof(buf), "/local/domain/%lu", domid) + 1);
		return 0;
	}
	if (c->domid && type != XS_IS_DOMAIN_INTRODUCED)
		return EACCES;
	if (type == XS_IS_DOMAIN_INTRODUCED) {
		reply(d, c, known ? "T" : "F", 2);
		return 0;
	}
	if (type == XS_INTRODUCE) {
		if (!known) {
			d->introduced[domid] = 1;
			fire(d, "@introduceDomain", false, NULL, 0);
		}
	} else {
		if (!known || !domid)
			return ENOENT;
		d->introduced[domid] = 0;
		drop_domain(d, (unsigned int)domid);
		fire(d, "@releaseDomain", false, NULL, 0);
	}
	reply(d, c, "OK", 3);
	return 0;
}

/* do_identify() - a connection says whose it is */
static int do_identify(struct daemon *d, struct conn *c, struct args *a)
{
	unsigned long domid = a->n ? strtoul(a->arg[0], NULL, 10) : 32768;
	char buf[16];

	if (domid >= 32768 || (domid && !d->introduced[domid]))
		return ENOENT;
	c->domid = (unsigned int)domid;
	c->quiet = a->n > 1;
	reply(d, c, buf, (size_t)snprintf(buf, sizeof(buf), "%u", c->id) + 1);
	return 0;
}

static int do_events(struct daemon *d, struct conn *c, struct args *a)
{
	uint32_t id = a->n ? (uint32_t)strtoul(a->arg[0], NULL, 10) : 0;
	struct conn *o;

	for (o = d->conns; o; o = o->next) {
		if (o->id != id || o == c || o->events)
			continue;
		o->events = c;
		c->events_for = id;
		c->domid = o->domid;
		reply(d, c, "OK", 3);
		return 0;
	}
	return ENOENT;
}

/* fault() - count the request; whether it shall fail */
static int fault(struct daemon *d, struct conn *c)
{
	struct fxi_dom *dom;
	int err = 0;

	if (c->quiet || c->in.hdr.type >= FXI_XS_IDENTIFY)
		return 0;
	fxi_lock(d->w);
	dom = fxi_dom(d->w, c->domid);
	if (dom) {
		err = fxi_fault(dom, FX_OP_XS, EIO);
		fxi_count(dom, FX_OP_XS, 0, 1, err != 0);
	}
	fxi_unlock(d->w);
	return err;
}

static int dispatch(struct daemon *d, struct conn *c)
{
	uint32_t type = c->in.hdr.type;
	struct fxs_tx *tx = NULL, **p;
	struct fxs_node *n;
	struct args a;
	int rc;

	parse(c, &a);
	rc = fault(d, c);
	if (rc)
		return rc;
	if (c->in.hdr.tx_id && type != XS_TRANSACTION_START && type != XS_TRANSACTION_END) {
		p = find_tx(c, c->in.hdr.tx_id);
		if (!p)
			return ENOENT;
		tx = *p;
	}
	if (!a.n && type != XS_TRANSACTION_START)
		return EINVAL;
	switch (type) {
	case XS_DIRECTORY:
	case XS_DIRECTORY_PART:
		return do_directory(d, c, tx, &a, type == XS_DIRECTORY_PART);
	case XS_READ:
		rc = fxs_get(&d->store, tx, c->domid, a.path, XS_PERM_READ, &n);
		if (!rc)
			reply(d, c, n->data ? n->data : "", n->len);
		return rc;
	case XS_GET_PERMS:
		return do_get_perms(d, c, tx, &a);
	case XS_WRITE:
		rc = fxs_write(&d->store, tx, c->domid, a.path, a.rest, a.rest_len);
		break;
	case XS_MKDIR:
		rc = fxs_mkdir(&d->store, tx, c->domid, a.path);
		break;
	case XS_RM:
		rc = fxs_rm(&d->store, tx, c->domid, a.path);
		break;
	case XS_SET_PERMS:
		rc = do_set_perms(d, c, tx, &a);
		break;
	case XS_WATCH:
		return do_watch(d, c, &a);
	case XS_UNWATCH:
		return do_unwatch(d, c, &a);
	case XS_TRANSACTION_START:
		return do_tx_start(d, c);
	case XS_TRANSACTION_END:
		return do_tx_end(d, c, &a);
	case XS_INTRODUCE:
	case XS_RELEASE:
	case XS_GET_DOMAIN_PATH:
	case XS_IS_DOMAIN_INTRODUCED:
		return do_domain(d, c, &a);
	case FXI_XS_IDENTIFY:
		return do_identify(d, c, &a);
	case FXI_XS_EVENTS:
		return do_events(d, c, &a);
	default:
		return ENOSYS;
	}
	if (!rc)
		reply(d, c, "OK", 3);
	return rc;
}

/* ---- connections ---------------------------------------------------------- */

static void conn_read(struct daemon *d, struct conn *c)
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
			rc = dispatch(d, c);
			if (rc)
				reply_error(d, c, rc);
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

static void conn_new(struct daemon *d, int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct conn *c;

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

static void conn_free(struct daemon *d, struct conn *c)
{
	struct conn *o;

	for (o = d->conns; o; o = o->next) {
		if (o->events == c)
			o->gone = true;
		if (c->events == o)
			o->gone = true;
	}
	while (c->watches) {
		struct watch *wt = c->watches;

		c->watches = wt->next;
		watch_free(wt);
	}
	while (c->tx) {
		struct fxs_tx *tx = c->tx;

		c->tx = tx->next;
		fxs_tx_free(tx);
	}
	while (c->out) {
		struct out *o1 = c->out;

		c->out = o1->next;
		free(o1);
	}
	close(c->fd);
	free(c);
}

/* sweep() - free the connections that are gone, and those that go with them */
static void sweep(struct daemon *d)
{
	struct conn **p, *c;
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
	struct daemon *d = calloc(1, sizeof(*d));
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
	d->store.fire = fire;
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
			struct conn *c = ev[i].data.ptr;

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
