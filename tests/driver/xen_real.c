/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xen_real.c - xen.h in a guest on real Xen, from user space, as root
 *
 * Pages come from /dev/xen/gntalloc, which allocates a page and a reference
 * each and promises no order. A range of this transport needs consecutive
 * references, so drv_xen_grant() allocates until it holds such a run, gives
 * the rest back, and maps the pages in the order of their references. Each
 * page is a mapping of its own: revoking it takes the mapping away and the
 * page out of the file's list, and with its last user Linux ends the grant.
 *
 * Ports are those of one /dev/xen/evtchn handle. What arrives for a port that
 * nobody waits for at the moment is remembered.
 *
 * Needs xen-gntalloc (its parameter `limit` bounds the pages) and xen-evtchn in
 * the guest's kernel.
 */
#include "tests/driver/xen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <xen/gntalloc.h>
#include <xenevtchn.h>

enum { PORTS = 4096, SPARE = 256 };

struct drv_xen {
	int gntalloc;
	xenevtchn_handle *evtchn;
	struct xs_handle *xs;
	unsigned int domid;
	bool fired[PORTS];
};

/* struct page - one granted page of the file */
struct page {
	uint32_t ref;
	bool gone;
	uint64_t index; /* in the file */
};

struct drv_xen *drv_xen_open(void)
{
	struct drv_xen *x = calloc(1, sizeof(*x));
	long id;

	if (!x)
		return NULL;
	x->gntalloc = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
	x->evtchn = xenevtchn_open(NULL, 0);
	x->xs = xs_open(0);
	/* A relative path is below the connection's own domain. */
	id = x->xs ? drv_xs_read_int(x->xs, "domid", -1) : -1;
	if (x->gntalloc >= 0 && x->evtchn && id >= 0) {
		x->domid = (unsigned int)id;
		return x;
	}
	fprintf(stderr, "gntalloc %d, evtchn %d, xenstore %d: %s\n", x->gntalloc >= 0,
		x->evtchn != NULL, id >= 0, strerror(errno));
	drv_xen_close(x);
	errno = ENODEV;
	return NULL;
}

void drv_xen_close(struct drv_xen *x)
{
	if (x->xs)
		xs_close(x->xs);
	if (x->evtchn)
		xenevtchn_close(x->evtchn);
	if (x->gntalloc >= 0)
		close(x->gntalloc);
	free(x);
}

unsigned int drv_xen_domid(struct drv_xen *x)
{
	return x->domid;
}

/* ---- pages ------------------------------------------------------------------ */

/* take() - @n more pages of the kernel's */
static int take(struct drv_xen *x, unsigned int backend, unsigned int n, bool writable,
		struct page *out)
{
	struct ioctl_gntalloc_alloc_gref *op;
	unsigned int i;
	int rc = 0;

	op = calloc(1, sizeof(*op) + n * sizeof(op->gref_ids[0]));
	if (!op)
		return -ENOMEM;
	op->domid = (uint16_t)backend;
	op->flags = writable ? GNTALLOC_FLAG_WRITABLE : 0;
	op->count = n;
	if (ioctl(x->gntalloc, IOCTL_GNTALLOC_ALLOC_GREF, op) < 0)
		rc = -errno;
	for (i = 0; !rc && i < n; i++)
		out[i] = (struct page){ op->gref_ids[i], false, op->index + i * DRV_PAGE };
	free(op);
	return rc;
}

static void give_back(struct drv_xen *x, struct page *p)
{
	struct ioctl_gntalloc_dealloc_gref op = { .index = p->index, .count = 1 };

	if (!p->gone)
		ioctl(x->gntalloc, IOCTL_GNTALLOC_DEALLOC_GREF, &op);
	p->gone = true;
}

static int by_ref(const void *a, const void *b)
{
	const struct page *p = a, *q = b;

	return p->ref < q->ref ? -1 : p->ref > q->ref;
}

/* find_run() - @count consecutive references among @n sorted ones; Return: the first's place or -1 */
static int find_run(const struct page *p, unsigned int n, unsigned int count)
{
	unsigned int i, first = 0;

	for (i = 0; i < n; i++) {
		if (i && p[i].ref != p[i - 1].ref + 1)
			first = i;
		if (i - first + 1 == count)
			return (int)first;
	}
	return -1;
}

/* consecutive() - @count pages with consecutive references; Return: malloc'd, or NULL with errno */
static struct page *consecutive(struct drv_xen *x, unsigned int backend, unsigned int count,
				bool writable)
{
	unsigned int max = 2 * count + SPARE, n = 0, step = count, i;
	struct page *all = calloc(max, sizeof(*all)), *own = NULL;
	int at = -1, rc = all ? 0 : -ENOMEM;

	while (!rc && at < 0) {
		if (n + step > max)
			step = max - n;
		rc = step ? take(x, backend, step, writable, all + n) : -ENOSPC;
		if (rc)
			break;
		n += step;
		step = 16;
		qsort(all, n, sizeof(*all), by_ref);
		at = find_run(all, n, count);
	}
	if (!rc) {
		own = calloc(count, sizeof(*own));
		rc = own ? 0 : -ENOMEM;
	}
	for (i = 0; i < n; i++) {
		if (own && i >= (unsigned int)at && i < (unsigned int)at + count)
			own[i - (unsigned int)at] = all[i];
		else
			give_back(x, &all[i]);
	}
	free(all);
	errno = -rc;
	return own;
}

int drv_xen_grant(struct drv_xen *x, unsigned int backend, unsigned int count, bool writable,
		  struct drv_pages *out)
{
	size_t len = (size_t)count * DRV_PAGE;
	struct page *p = consecutive(x, backend, count, writable);
	uint8_t *virt;
	unsigned int i;

	if (!p)
		return -errno;
	*out = (struct drv_pages){ .ref = p[0].ref, .count = count, .priv = (uintptr_t)p };
	virt = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (virt == MAP_FAILED)
		return -errno;
	out->virt = virt;
	for (i = 0; i < count; i++) {
		if (mmap(virt + (size_t)i * DRV_PAGE, DRV_PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, x->gntalloc, (off_t)p[i].index) == MAP_FAILED) {
			int rc = -errno;

			drv_xen_ungrant(x, out);
			return rc;
		}
	}
	return 0;
}

int drv_xen_ungrant(struct drv_xen *x, struct drv_pages *pages)
{
	struct page *p = (struct page *)(uintptr_t)pages->priv;
	unsigned int i;

	munmap(pages->virt, (size_t)pages->count * DRV_PAGE);
	for (i = 0; i < pages->count; i++)
		give_back(x, &p[i]);
	free(p);
	return 0;
}

void drv_xen_revoke(struct drv_xen *x, struct drv_pages *pages, unsigned int i)
{
	struct page *p = (struct page *)(uintptr_t)pages->priv + i;

	/* The place stays reserved: nothing else of this process gets there. */
	mmap((uint8_t *)pages->virt + (size_t)i * DRV_PAGE, DRV_PAGE, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	give_back(x, p);
}

/* ---- event channels --------------------------------------------------------- */

int drv_xen_port_alloc(struct drv_xen *x, unsigned int backend)
{
	xenevtchn_port_or_error_t port = xenevtchn_bind_unbound_port(x->evtchn, backend);

	if (port < 0)
		return errno ? -errno : -ENOSPC;
	if (port >= PORTS) {
		xenevtchn_unbind(x->evtchn, (evtchn_port_t)port);
		return -ENOSPC;
	}
	x->fired[port] = false;
	return port;
}

void drv_xen_port_close(struct drv_xen *x, uint32_t port)
{
	xenevtchn_unbind(x->evtchn, port);
}

void drv_xen_port_notify(struct drv_xen *x, uint32_t port)
{
	xenevtchn_notify(x->evtchn, port);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

int drv_xen_port_wait(struct drv_xen *x, uint32_t port, int timeout_ms)
{
	struct pollfd pfd = { .fd = xenevtchn_fd(x->evtchn), .events = POLLIN };
	int64_t end = now_ms() + timeout_ms, left = timeout_ms;
	xenevtchn_port_or_error_t p;

	if (!port || port >= PORTS)
		return -EINVAL;
	while (!x->fired[port]) {
		if (left < 0 || poll(&pfd, 1, (int)left) <= 0)
			return -ETIMEDOUT;
		p = xenevtchn_pending(x->evtchn);
		if (p < 0)
			return -errno;
		xenevtchn_unmask(x->evtchn, (evtchn_port_t)p);
		if (p < PORTS)
			x->fired[p] = true;
		left = end - now_ms();
	}
	x->fired[port] = false;
	return 0;
}

/* Linux lets no program of an unprivileged guest ask Xen (EVTCHNOP_status). */
bool drv_xen_port_unbound(struct drv_xen *x, uint32_t port)
{
	(void)x;
	return port != 0;
}

/* ---- xenstore --------------------------------------------------------------- */

struct xs_handle *drv_xen_xs(struct drv_xen *x)
{
	return x->xs;
}

/* Looks again and again: a watch would be delivered by a thread of libxenstore's. */
int drv_xen_xs_wait(struct drv_xen *x, const char *path, uint32_t mask, int timeout_ms)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	int64_t end = now_ms() + timeout_ms;
	int rc;

	while ((rc = drv_xs_look(x->xs, path, mask)) == -EAGAIN && now_ms() < end)
		nanosleep(&pause, NULL);
	return rc == -EAGAIN ? -ETIMEDOUT : rc;
}
