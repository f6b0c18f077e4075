// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * data.c - host views of data, and bounce memory
 *
 * Theory of operation
 *
 * A view is the guest's own memory where all of it is direct, or mapped for this
 * request; else a bounce buffer. Also where it is grants' and the device's I/O would
 * pin it (grants.c).
 *
 * Mapping the data of one request costs a call of its own to map and one to unmap,
 * where a copy shares its call with all of a turn; and what is mapped must be
 * unmapped before its chain is pushed. It is done where the device wants it, and a
 * map that fails, for whatever reason, is no error: the copy that takes its place
 * finds out which range is bad.
 *
 * Bounce buffers come in powers of two from one page up, one free list for each,
 * so that a steady load allocates nothing. What is out and what lies free
 * together never exceed the limit: when it is reached, free buffers of other
 * sizes go back to the system first. What is pinned is beside that: a buffer that was cut from it keeps its
 * size for good, and is taken before any other.
 */
#include "backend/memory/data.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/memory/cursor.h"

/* ---- bounce memory ------------------------------------------------------ */

#define BOUNCE_SHIFT   12 /* the smallest buffer is a page: fit for O_DIRECT */
#define BOUNCE_CLASSES 21 /* the largest 4 GiB, as much as a chain can hold */

/* Header of a free buffer, in its own first bytes. */
struct bounce_free {
	struct bounce_free *next;
};

struct vg_bounce {
	size_t limit; /* bytes, out and free together */
	size_t out;   /* bytes handed out */
	size_t idle;  /* bytes on the free lists */
	struct bounce_free *free[BOUNCE_CLASSES];
	char *pinned; /* NULL: nothing is */
	size_t cut;   /* bytes of it that buffers were made of */
	struct bounce_free *free_pinned[BOUNCE_CLASSES];
	struct vg_bounce_waiter *waiters; /* eldest first */
	struct vg_loop *loop;		  /* of those who wait */
	struct vg_deferred wake;
	bool waking; /* the eldest has its turn */
};

struct vg_bounce *vg_bounce_new(size_t limit)
{
	struct vg_bounce *b = calloc(1, sizeof(*b));

	if (b)
		b->limit = limit;
	return b;
}

void vg_bounce_pin(struct vg_bounce *b, struct vg_loop *loop)
{
	char *at = aligned_alloc((size_t)1 << BOUNCE_SHIFT, VG_LIMIT_BOUNCE_PINNED);

	if (at && vg_loop_pin(loop, at, VG_LIMIT_BOUNCE_PINNED) == 0)
		b->pinned = at;
	else
		free(at);
}

static bool is_pinned(const struct vg_bounce *b, const void *buf)
{
	return b->pinned && (uintptr_t)buf - (uintptr_t)b->pinned < (size_t)VG_LIMIT_BOUNCE_PINNED;
}

/* A buffer of class @i, or NULL. */
static void *pinned_get(struct vg_bounce *b, unsigned i)
{
	size_t size = (size_t)1 << (BOUNCE_SHIFT + i);
	struct bounce_free *f = b->free_pinned[i];

	if (f) {
		b->free_pinned[i] = f->next;
		return f;
	}
	if (!b->pinned || size > VG_LIMIT_BOUNCE_PINNED_MAX ||
	    size > VG_LIMIT_BOUNCE_PINNED - b->cut)
		return NULL;
	b->cut += size;
	return b->pinned + b->cut - size;
}

/** bounce_trim - give free buffers back to the system until @idle bytes at most are left */
static void bounce_trim(struct vg_bounce *b, size_t idle)
{
	for (unsigned i = BOUNCE_CLASSES; i-- > 0 && b->idle > idle;) {
		while (b->free[i] && b->idle > idle) {
			struct bounce_free *f = b->free[i];

			b->free[i] = f->next;
			b->idle -= (size_t)1 << (BOUNCE_SHIFT + i);
			free(f);
		}
	}
}

void vg_bounce_free(struct vg_bounce *b)
{
	if (!b)
		return;
	bounce_trim(b, 0);
	free(b->pinned);
	free(b);
}

/** bounce_class - index of the smallest buffer size that holds @len bytes, 0 < @len <= 4 GiB */
static unsigned bounce_class(size_t len)
{
	unsigned i = 0;

	while ((size_t)1 << (BOUNCE_SHIFT + i) < len)
		i++;
	return i;
}

/**
 * bounce_get - take a buffer of @len bytes or more
 *
 * Return: 0; -E2BIG: never possible under this limit; -ENOBUFS: not now; -ENOMEM.
 */
static int bounce_get(struct vg_bounce *b, size_t len, void **out)
{
	unsigned i;
	size_t size;

	if (len > b->limit)
		return -E2BIG;
	i = bounce_class(len);
	size = (size_t)1 << (BOUNCE_SHIFT + i);
	if (size > b->limit)
		return -E2BIG;
	if (b->waiters && !b->waking)
		return -ENOBUFS; /* they were here before */
	*out = pinned_get(b, i);
	if (*out)
		return 0;
	if (b->free[i]) {
		*out = b->free[i];
		b->free[i] = b->free[i]->next;
		b->idle -= size;
	} else {
		if (size > b->limit - b->out)
			return -ENOBUFS;
		bounce_trim(b, b->limit - b->out - size);
		*out = aligned_alloc((size_t)1 << BOUNCE_SHIFT, size);
		if (!*out)
			return -ENOMEM;
	}
	b->out += size;
	return 0;
}

/** bounce_put - give back what bounce_get() gave for @len */
static void bounce_put(struct vg_bounce *b, void *buf, size_t len)
{
	unsigned i = bounce_class(len);
	bool pinned = is_pinned(b, buf);
	struct bounce_free **list = pinned ? &b->free_pinned[i] : &b->free[i];
	struct bounce_free *f = buf;

	f->next = *list;
	*list = f;
	if (!pinned) {
		b->out -= (size_t)1 << (BOUNCE_SHIFT + i);
		b->idle += (size_t)1 << (BOUNCE_SHIFT + i);
	}
	if (b->waiters)
		vg_loop_defer(b->loop, &b->wake);
}

static void unqueue(struct vg_bounce *b, struct vg_bounce_waiter *w)
{
	struct vg_bounce_waiter **p = &b->waiters;

	while (*p && *p != w)
		p = &(*p)->next;
	if (*p)
		*p = w->next;
}

/* Let those who wait try, the eldest first, until one has to wait again. */
static void wake(struct vg_deferred *d)
{
	struct vg_bounce *b = container_of(d, struct vg_bounce, wake);
	struct vg_bounce_waiter *w;

	b->waking = true;
	while ((w = b->waiters) != NULL) {
		b->waiters = w->next;
		w->queued = false;
		w->run(w);
		if (!w->queued)
			continue;
		unqueue(b, w);
		w->next = b->waiters;
		b->waiters = w;
		break;
	}
	b->waking = false;
}

void vg_bounce_wait(struct vg_mem *mem, struct vg_loop *loop, struct vg_bounce_waiter *w)
{
	struct vg_bounce *b = mem->bounce;
	struct vg_bounce_waiter **p = &b->waiters;

	if (w->queued)
		return;
	while (*p)
		p = &(*p)->next;
	*p = w;
	w->next = NULL;
	w->queued = true;
	b->loop = loop;
	b->wake.run = wake;
	/* Nothing is out that could come back: what is too large now never was there. */
	if (b->out == 0)
		vg_loop_defer(loop, &b->wake);
}

void vg_bounce_unwait(struct vg_mem *mem, struct vg_bounce_waiter *w)
{
	struct vg_bounce *b = mem->bounce;

	if (!w->queued)
		return;
	unqueue(b, w);
	w->queued = false;
	if (!b->waiters && b->loop)
		vg_loop_undefer(b->loop, &b->wake);
	else if (b->waiters)
		vg_loop_defer(b->loop, &b->wake); /* the next may fit where this one did not */
}

/* ---- data --------------------------------------------------------------- */

/* Let go of direct memory. */
static void data_release(struct vg_data *d)
{
	if (d->held)
		d->mem->ops->release(d->mem, d->held);
	d->held = 0;
}

/**
 * data_direct - make @d->iov of the guest's own memory
 *
 * Neighbours in host memory become one iovec.
 *
 * Return: 0; -EFAULT: some range is not direct; -ENOMEM.
 */
static int data_direct(struct vg_data *d, struct vg_cursor cur, size_t len)
{
	struct vg_chain *c = d->chain;
	unsigned max = d->dir == VG_FROM_GUEST ? c->n_out : c->n_in;

	d->iov = d->inl;
	if (max > COUNT(d->inl)) {
		d->iov = malloc(max * sizeof(*d->iov));
		if (!d->iov)
			return -ENOMEM;
	}
	while (len) {
		struct iovec *last = d->niov ? &d->iov[d->niov - 1] : NULL;
		uint64_t addr;
		uint32_t n = vg_cursor_take(&cur, len, &addr);
		uint8_t *p = vg_mem_direct(d->mem, addr, n, d->dir);

		if (!p) {
			data_release(d);
			if (d->iov != d->inl)
				free(d->iov);
			d->niov = 0;
			return -EFAULT;
		}
		if (d->mem->ops->hold)
			d->held = d->mem->ops->hold(d->mem, d->held);
		if (last && (uint8_t *)last->iov_base + last->iov_len == p)
			last->iov_len += n;
		else
			d->iov[d->niov++] = (struct iovec){ .iov_base = p, .iov_len = n };
		len -= n;
	}
	return 0;
}

/**
 * data_map - make @d->iov of the guest's own memory, mapped for this request
 *
 * Return: 0; -ENOMEM; another negative errno: it cannot be had, copy.
 */
static int data_map(struct vg_data *d, struct vg_cursor cur, size_t len)
{
	struct vg_chain *c = d->chain;
	unsigned max = d->dir == VG_FROM_GUEST ? c->n_out : c->n_in;
	struct vg_seg *segs = malloc(max * sizeof(*segs));
	unsigned n = 0;
	int rc;

	d->iov = d->inl;
	if (max > COUNT(d->inl))
		d->iov = malloc(max * sizeof(*d->iov));
	if (!segs || !d->iov) {
		rc = -ENOMEM;
		goto out;
	}
	for (; len; n++) {
		segs[n].len = vg_cursor_take(&cur, len, &segs[n].addr);
		len -= segs[n].len;
	}
	rc = d->mem->ops->map_data(d->mem, segs, n, d->dir, &d->map, d->iov);
	if (rc)
		goto out;
	d->mem->stats.maps++;
	d->niov = 1;
	for (unsigned i = 1; i < n; i++) {
		struct iovec *last = &d->iov[d->niov - 1];

		if ((uint8_t *)last->iov_base + last->iov_len == d->iov[i].iov_base)
			last->iov_len += d->iov[i].iov_len;
		else
			d->iov[d->niov++] = d->iov[i];
	}
out:
	if (rc) {
		d->map = (struct vg_map){ 0 };
		if (d->iov != d->inl)
			free(d->iov);
	}
	free(segs);
	return rc;
}

int vg_data_begin(struct vg_data *d, struct vg_batch *b, struct vg_chain *c, enum vg_dir dir,
		  size_t off, size_t len)
{
	struct vg_cursor cur;
	int rc = vg_cursor_at(&cur, c, dir, off, len);
	bool ours;

	if (rc)
		return rc;
	d->iov = d->inl;
	d->niov = 0;
	d->len = len;
	d->dir = dir;
	d->mem = b->mem;
	d->chain = c;
	d->off = off;
	d->bounce = NULL;
	d->held = 0;
	d->map = (struct vg_map){ 0 };
	if (!len)
		return 0;
	ours = b->mem->pins && b->mem->ops->unpinnable;
	if (b->mem->ops->direct && !ours) {
		rc = data_direct(d, cur, len);
		if (rc != -EFAULT)
			return rc;
	}
	if (b->mem->map_from && !ours && len >= b->mem->map_from && b->mem->ops->map_data) {
		rc = data_map(d, cur, len);
		if (rc == 0 || rc == -ENOMEM)
			return rc;
	}
	if (!b->mem->bounce)
		return -EFAULT;
	rc = bounce_get(b->mem->bounce, len, &d->bounce);
	if (rc)
		return rc;
	d->inl[0] = (struct iovec){ .iov_base = d->bounce, .iov_len = len };
	d->iov = d->inl;
	d->niov = 1;
	if (dir == VG_FROM_GUEST)
		vg_chain_copy(b, c, dir, off, d->bounce, len);
	return 0;
}

void vg_data_finish(struct vg_data *d, struct vg_batch *b, size_t len)
{
	if (!d->bounce || d->dir == VG_FROM_GUEST)
		return; /* direct and mapped memory is the guest's own */
	vg_chain_copy(b, d->chain, d->dir, d->off, d->bounce, len < d->len ? len : d->len);
}

void vg_data_end(struct vg_data *d)
{
	if (d->bounce)
		bounce_put(d->mem->bounce, d->bounce, d->len);
	else if (d->iov != d->inl)
		free(d->iov);
	data_release(d);
	vg_mem_unmap(d->mem, &d->map);
	d->bounce = NULL;
	d->iov = d->inl;
	d->niov = 0;
}
