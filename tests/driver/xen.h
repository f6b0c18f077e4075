/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xen.h - what a frontend in user space needs of Xen, and nothing more
 *
 * Theory of operation
 * -------------------
 * The frontend (vgrant_driver.h) shares pages, owns event-channel ports and
 * speaks to xenstore. It does so through this interface, which has two
 * implementations; a program is linked with one of them:
 *
 *	xen_fake.c	a domain of tests/fakes/xen: unit tests
 *	xen_real.c	the guest that the program runs in, on real Xen:
 *			/dev/xen/gntalloc, /dev/xen/evtchn, /dev/xen/xenbus
 *
 * Thus the same driver, and the same attacks (attacks.h), run against the
 * daemon on the fake host and against the daemon in a real dom0.
 *
 * Three things that the fake can tell are hidden from a real guest's user
 * space: whether a page that it took back is still mapped by the backend
 * (Linux keeps such pages aside by itself), whether a port is bound, and the
 * grant table's raw entries. The first two are counted in dom0; of the third,
 * revoking is what a program can do.
 *
 * A struct drv_xen belongs to one thread, but for drv_xen_port_notify(). int
 * results are 0 or a negative errno unless said otherwise.
 */
#ifndef DRV_XEN_H
#define DRV_XEN_H

#include <stdbool.h>
#include <stdint.h>

#include <xenstore.h>

#define DRV_PAGE 4096u

struct drv_xen;
struct fx_domain;

/**
 * drv_xen_open() - be the domain that this process runs in
 *
 * On the fake host: that of FAKE_XEN_DIR and FAKE_XEN_DOMID.
 *
 * Return: a handle, NULL with errno. drv_xen_close() frees it, with all pages and ports.
 */
struct drv_xen *drv_xen_open(void);
void drv_xen_close(struct drv_xen *x);

/** drv_xen_of() - xen_fake.c only: the handle for a domain that a test has opened, and keeps */
struct drv_xen *drv_xen_of(struct fx_domain *dom);

/** drv_xen_domid() - the guest's domain id */
unsigned int drv_xen_domid(struct drv_xen *x);

/* ---- pages ------------------------------------------------------------------ */

/** struct drv_pages - pages that lie one after the other, granted by consecutive references */
struct drv_pages {
	void *virt;
	uint32_t ref; /* of the first */
	unsigned int count;
	uint64_t priv; /* the implementation's */
};

/**
 * drv_xen_grant() - allocate zeroed pages, and grant access to them
 * @backend: the domain that may map or copy them
 * @count: pages, at least 1
 * @writable: it may write to them
 *
 * Return: 0, -ENOMEM, -ENOSPC.
 */
int drv_xen_grant(struct drv_xen *x, unsigned int backend, unsigned int count, bool writable,
		  struct drv_pages *out);

/**
 * drv_xen_ungrant() - end access, and free
 *
 * Return: 0; -EBUSY (on the fake host alone) if the backend still had one mapped: those pages
 * are lost, as in Linux.
 */
int drv_xen_ungrant(struct drv_xen *x, struct drv_pages *pages);

/**
 * drv_xen_revoke() - end access to page @i alone, as a hostile guest would
 *
 * Its place in drv_pages.virt must not be touched afterwards. A page that the backend has mapped
 * stays mapped: Xen lets no guest take that back.
 */
void drv_xen_revoke(struct drv_xen *x, struct drv_pages *pages, unsigned int i);

/* ---- event channels --------------------------------------------------------- */

/** drv_xen_port_alloc() - an unbound port for @backend; Return: it, or -errno */
int drv_xen_port_alloc(struct drv_xen *x, unsigned int backend);
void drv_xen_port_close(struct drv_xen *x, uint32_t port);

/** drv_xen_port_notify() - EVTCHNOP_send; from any thread; nothing happens if it is unbound */
void drv_xen_port_notify(struct drv_xen *x, uint32_t port);

/**
 * drv_xen_port_wait() - wait until a port was notified, and clear it
 * @timeout_ms: 0 to look only
 *
 * Return: 0, -ETIMEDOUT, -EINVAL if the port is closed.
 */
int drv_xen_port_wait(struct drv_xen *x, uint32_t port, int timeout_ms);

/**
 * drv_xen_port_unbound() - whether the port is open and the other end is not bound to it
 *
 * In a real guest, which cannot tell: true.
 */
bool drv_xen_port_unbound(struct drv_xen *x, uint32_t port);

/* ---- xenstore --------------------------------------------------------------- */

/** drv_xen_xs() - the guest's connection; owned by @x; NULL: it could not be made */
struct xs_handle *drv_xen_xs(struct drv_xen *x);

/** drv_xen_xs_wait() - drv_xs_wait(), whoever watches on drv_xen_xs() */
int drv_xen_xs_wait(struct drv_xen *x, const char *path, uint32_t mask, int timeout_ms);

/* In short, over any connection (xs_short.c). */

/** drv_xs_write() - write a number */
int drv_xs_write(struct xs_handle *xs, const char *path, uint32_t value);

/** drv_xs_text() - write any text; NULL removes the key */
int drv_xs_text(struct xs_handle *xs, const char *path, const char *text);

/** drv_xs_read() - read a value; Return: malloc'd string, or NULL with errno */
char *drv_xs_read(struct xs_handle *xs, const char *path);

/** drv_xs_read_int() - read a decimal number; Return: it, or @missing */
long drv_xs_read_int(struct xs_handle *xs, const char *path, long missing);

/**
 * drv_xs_wait() - wait until a key has one of several values
 * @xs: a connection that nobody else watches on
 * @mask: bit n set: the number n will do, n below 31; bit 31: absent will do
 * @timeout_ms: for how long
 *
 * Return: the number, -ENOENT for absent, -ETIMEDOUT.
 */
int drv_xs_wait(struct xs_handle *xs, const char *path, uint32_t mask, int timeout_ms);

/** drv_xs_look() - the same without waiting; -EAGAIN: it has none of them */
int drv_xs_look(struct xs_handle *xs, const char *path, uint32_t mask);

#endif /* DRV_XEN_H */
