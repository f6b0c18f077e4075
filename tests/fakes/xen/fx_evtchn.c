/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_evtchn.c - libxenevtchn, and Xen's event channels
 *
 * Mirrored: the library (tools/libs/evtchn), Linux's drivers/xen/evtchn.c
 * and Xen's common/event_channel.c. In particular
 *
 * - A port that was delivered (xenevtchn_pending(), or a read of the file
 *   descriptor: both give 4-byte ports) is masked until it is unmasked.
 *   Events in between become one, delivered at the unmask.
 * - Binding an interdomain channel makes the local port pending at once.
 * - Notifying an unbound port succeeds and does nothing. Ports that are not
 *   this handle's: ENOTCONN.
 * - Closing one end turns the other back to unbound, for the same domain.
 *   The other end is not told.
 * - Unbinding does not take back what was delivered: a port may come out of
 *   xenevtchn_pending() after it was unbound.
 * - A restricted handle binds only to its domain (EACCES), binds no VIRQ, is
 *   restricted only once (EACCES), and never to domain 0 (EINVAL).
 */
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xenevtchn.h>

struct xenevtchn_handle {
	struct fxi_active active;
	struct fx_world *w;
	int slot; /* -1: not a handle of this world (fdopen of something else) */
	unsigned int domid;
	int fd;
};

/* ---- Xen ------------------------------------------------------------------ */

uint32_t fxi_port_max(const struct fxi_dom *d)
{
	return d->domid ? FX_MAX_PORTS : FX_MAX_PORTS_DOM0;
}

uint32_t fxi_port_alloc(struct fxi_dom *d)
{
	uint32_t i;

	for (i = 1; i < fxi_port_max(d); i++) {
		if (d->port[i].state == FX_PORT_CLOSED) {
			d->port[i] = (struct fxi_port){ .enabled = 1 };
			return i;
		}
	}
	return 0;
}

void fxi_port_raise(struct fx_world *w, struct fxi_dom *d, uint32_t port)
{
	struct fxi_port *p = &d->port[port];

	if (p->owner == FXI_KERNEL) {
		p->pending = 1;
		__atomic_fetch_add(&d->event_seq, 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &d->event_seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	} else if (p->enabled && fxi_fifo_write(w, p->handle, port)) {
		p->enabled = 0; /* after the write: a kill in between costs a spurious event */
	} else {
		p->pending = 1;
	}
}

/* peer() - the other end of an interdomain port; NULL */
static struct fxi_dom *peer(struct fx_world *w, const struct fxi_port *p)
{
	return p->state == FX_PORT_INTERDOMAIN ? fxi_dom(w, p->remote) : NULL;
}

int fxi_port_send(struct fx_world *w, struct fxi_dom *d, uint32_t port)
{
	struct fxi_port *p;
	struct fxi_dom *r;

	if (!port || port >= fxi_port_max(d))
		return -EINVAL;
	p = &d->port[port];
	if (p->state == FX_PORT_CLOSED || p->state == FX_PORT_VIRQ)
		return -EINVAL;
	r = peer(w, p);
	if (r)
		fxi_port_raise(w, r, p->remote_port);
	return 0;
}

int fxi_port_bind(struct fx_world *w, struct fxi_dom *d, uint32_t port, unsigned int remote,
		  uint32_t remote_port)
{
	struct fxi_dom *r = fxi_dom(w, remote);
	struct fxi_port *p = &d->port[port], *q;

	if (!r)
		return -ESRCH;
	if (!remote_port || remote_port >= fxi_port_max(r))
		return -EINVAL;
	q = &r->port[remote_port];
	if (q->state == FX_PORT_INTERDOMAIN)
		fxi_reap(w); /* its peer may be dead */
	if (q->state != FX_PORT_UNBOUND || q->remote != d->domid)
		return -EINVAL;
	p->remote = r->domid;
	p->remote_port = remote_port;
	p->state = FX_PORT_INTERDOMAIN;
	q->remote_port = port;
	q->state = FX_PORT_INTERDOMAIN;
	fxi_port_raise(w, d, port);
	return 0;
}

void fxi_port_close(struct fx_world *w, struct fxi_dom *d, uint32_t port)
{
	struct fxi_port *p = &d->port[port];
	struct fxi_dom *r = peer(w, p);

	if (r) {
		r->port[p->remote_port].remote = d->domid;
		r->port[p->remote_port].state = FX_PORT_UNBOUND;
	}
	p->state = FX_PORT_CLOSED;
}

int fx_virq_raise(struct fx_world *w, unsigned int domid, unsigned int virq)
{
	struct fxi_dom *d;
	uint32_t i;

	fxi_lock(w);
	d = fxi_dom(w, domid);
	for (i = 1; d && i < fxi_port_max(d); i++)
		if (d->port[i].state == FX_PORT_VIRQ && d->port[i].virq == virq)
			fxi_port_raise(w, d, i);
	fxi_unlock(w);
	return d ? 0 : -ESRCH;
}

enum fx_port_state fx_port_state(struct fx_world *w, unsigned int domid, uint32_t port)
{
	enum fx_port_state state = FX_PORT_CLOSED;
	struct fxi_dom *d;

	fxi_lock(w);
	fxi_reap(w);
	d = fxi_dom(w, domid);
	if (d && port < fxi_port_max(d))
		state = d->port[port].state;
	fxi_unlock(w);
	return state;
}

/* ---- the library: handles ------------------------------------------------- */

static int restrict_evtchn(struct fxi_active *a, unsigned int domid)
{
	return xenevtchn_restrict((xenevtchn_handle *)a, (domid_t)domid);
}

static xenevtchn_handle *handle_new(void)
{
	xenevtchn_handle *xce = calloc(1, sizeof(*xce));

	if (!xce)
		return NULL;
	xce->w = fxi_world_get();
	if (!xce->w) {
		free(xce);
		return NULL;
	}
	xce->domid = fxi_self();
	xce->fd = xce->slot = -1;
	xce->active.restrict_cb = restrict_evtchn;
	return xce;
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
	xenevtchn_handle *xce;

	(void)logger;
	if (flags & ~XENEVTCHN_NO_CLOEXEC) {
		errno = EINVAL;
		return NULL;
	}
	xce = handle_new();
	if (!xce)
		return NULL;
	xce->slot = fxi_handle_open(xce->w, FXI_EVTCHN, xce->domid, !(flags & XENEVTCHN_NO_CLOEXEC),
				    &xce->fd);
	if (xce->slot < 0) {
		int err = -xce->slot;

		fxi_world_put(xce->w);
		free(xce);
		errno = err;
		return NULL;
	}
	fxi_active_add(&xce->active);
	return xce;
}

xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd, unsigned open_flags)
{
	xenevtchn_handle *xce;

	(void)logger;
	if (open_flags) {
		errno = EINVAL;
		return NULL;
	}
	xce = handle_new();
	if (!xce)
		return NULL;
	xce->fd = fd;
	xce->slot = fxi_handle_find(xce->w, fd);
	fxi_active_add(&xce->active);
	return xce;
}

int xenevtchn_close(xenevtchn_handle *xce)
{
	int rc;

	if (!xce)
		return 0;
	fxi_active_del(&xce->active);
	rc = xce->fd < 0 ? 0 : close(xce->fd);
	fxi_lock(xce->w);
	fxi_reap(xce->w); /* unless another process still has it */
	fxi_unlock(xce->w);
	fxi_world_put(xce->w);
	free(xce);
	return rc;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
	return xce->fd;
}

/*
 * enter() - take the lock for a call on a handle
 * @self: the handle's domain
 *
 * Return: 0, or an errno with the lock released.
 */
static int enter(xenevtchn_handle *xce, struct fxi_dom **self)
{
	if (xce->slot < 0)
		return ENOTTY;
	fxi_lock(xce->w);
	*self = fxi_dom(xce->w, xce->domid);
	if (*self)
		return 0;
	fxi_unlock(xce->w);
	return ENODEV;
}

/* leave() - release it, count the call, turn an errno into the library's result */
static int leave(xenevtchn_handle *xce, struct fxi_dom *self, enum fx_op op, int err, int ok)
{
	fxi_count(self, op, op != FX_OP_UNMASK, 1, err != 0);
	fxi_unlock(xce->w);
	if (err) {
		errno = err;
		return -1;
	}
	return ok;
}

/* mine() - whether a port is bound through this handle */
static bool mine(xenevtchn_handle *xce, const struct fxi_dom *self, evtchn_port_t port)
{
	return port && port < fxi_port_max(self) && self->port[port].state != FX_PORT_CLOSED &&
	       self->port[port].owner == FXI_HANDLE && self->port[port].handle == xce->slot;
}

int xenevtchn_restrict(xenevtchn_handle *xce, domid_t domid)
{
	struct fxi_handle *h;
	struct fxi_dom *self;
	int err = enter(xce, &self);

	if (!err) {
		h = &xce->w->shm->handle[xce->slot];
		if (h->restrict_domid != FXI_NO_DOMAIN)
			err = EACCES;
		else if (domid == 0 || domid >= DOMID_FIRST_RESERVED)
			err = EINVAL;
		else
			h->restrict_domid = domid;
		if (!err)
			__atomic_store_n(&xce->w->sealed, true, __ATOMIC_RELAXED);
		fxi_unlock(xce->w);
	}
	if (err) {
		errno = err;
		return -1;
	}
	return 0;
}

/* ---- the library: ports --------------------------------------------------- */

/* allowed() - whether a handle may bind to a domain */
static bool allowed(xenevtchn_handle *xce, uint32_t domid)
{
	uint32_t r = xce->w->shm->handle[xce->slot].restrict_domid;

	return r == FXI_NO_DOMAIN || r == domid;
}

/* new_port() - a port of this handle, not yet in any state; 0 and *err */
static uint32_t new_port(xenevtchn_handle *xce, struct fxi_dom *self, uint32_t domid, int *err)
{
	uint32_t port = 0;

	*err = fxi_fault(self, FX_OP_BIND, EINVAL);
	if (!*err && !allowed(xce, domid))
		*err = EACCES;
	if (!*err) {
		port = fxi_port_alloc(self);
		if (!port)
			*err = ENOSPC;
	}
	if (port) {
		self->port[port].owner = FXI_HANDLE;
		self->port[port].handle = (uint16_t)xce->slot;
	}
	return port;
}

xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *xce, uint32_t domid)
{
	struct fxi_dom *self;
	int err = enter(xce, &self);
	uint32_t port;

	if (err) {
		errno = err;
		return -1;
	}
	port = new_port(xce, self, domid, &err);
	if (port) {
		self->port[port].remote = domid == FXI_DOMID_SELF ? xce->domid : domid;
		self->port[port].state = FX_PORT_UNBOUND;
	}
	return leave(xce, self, FX_OP_BIND, err, (int)port);
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
						     evtchn_port_t remote_port)
{
	struct fxi_dom *self;
	int err = enter(xce, &self);
	uint32_t port;

	if (err) {
		errno = err;
		return -1;
	}
	port = new_port(xce, self, domid, &err);
	if (port)
		err = -fxi_port_bind(xce->w, self, port, domid, remote_port);
	return leave(xce, self, FX_OP_BIND, err, (int)port);
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
	struct fxi_dom *self;
	int err = enter(xce, &self);
	uint32_t port = 0, i;

	if (err) {
		errno = err;
		return -1;
	}
	if (virq >= NR_VIRQS)
		err = EINVAL;
	fxi_reap(xce->w);
	for (i = 1; i < fxi_port_max(self); i++)
		if (self->port[i].state == FX_PORT_VIRQ && self->port[i].virq == virq)
			err = EEXIST;
	if (!err)
		port = new_port(xce, self, FXI_NO_DOMAIN, &err);
	if (port) {
		self->port[port].virq = (uint16_t)virq;
		self->port[port].state = FX_PORT_VIRQ;
	}
	return leave(xce, self, FX_OP_BIND, err, (int)port);
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
	struct fxi_dom *self;
	int err = enter(xce, &self);

	if (err) {
		errno = err;
		return -1;
	}
	if (port >= fxi_port_max(self))
		err = EINVAL;
	else if (!mine(xce, self, port))
		err = ENOTCONN;
	else
		fxi_port_close(xce->w, self, port);
	return leave(xce, self, FX_OP_CLOSE, err, 0);
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
	struct fxi_dom *self;
	int err = enter(xce, &self);

	if (err) {
		errno = err;
		return -1;
	}
	if (!mine(xce, self, port))
		err = ENOTCONN;
	else
		err = fxi_fault(self, FX_OP_NOTIFY, EINVAL);
	if (!err)
		fxi_port_send(xce->w, self, port);
	return leave(xce, self, FX_OP_NOTIFY, err, 0);
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
	evtchn_port_t port;

	if (read(xce->fd, &port, sizeof(port)) != sizeof(port))
		return -1;
	return (int)port;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
	struct fxi_dom *self;
	int err = enter(xce, &self);

	if (err) {
		errno = err;
		return -1;
	}
	/* Linux's write() says nothing of ports that are not the handle's. */
	if (mine(xce, self, port) && !self->port[port].enabled) {
		struct fxi_port *p = &self->port[port];

		p->enabled = 1;
		if (p->pending) {
			p->pending = 0;
			fxi_port_raise(xce->w, self, port);
		}
	}
	return leave(xce, self, FX_OP_UNMASK, 0, 0);
}
