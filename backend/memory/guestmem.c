/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guestmem.c - copies, host views of data, bounce memory, guest-physical regions
 *
 * Theory of operation
 *
 * All of it stands on the four calls of struct vg_mem_ops. What is written here
 * is the same for every port: gathering copies so that a port that pays by the
 * call (grants: one hypercall) pays once; cutting a chain's bytes along its
 * segments; and choosing between a view of guest memory and a bounce buffer.
 *
 * Copy-once. What is copied out of guest memory is decided on in its copy only.
 * A compiler is allowed to read the source of a memcpy() again instead of the
 * copy, since C knows of no guest; barrier() after each copy forbids it.
 *
 * A guest may write to its memory while we read it. The bytes are then a mix of
 * old and new: the guest's own loss, since nothing is ever checked but the copy.
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
 * sizes go back to the system first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/memory/guestmem.h"
#include "backend/base/container.h"
#include "backend/virtio/virtqueue.h"

/** barrier - what memory holds is not known to the compiler past this point */
static inline void barrier(void)
{
	__asm__ __volatile__("" ::: "memory");
}

void *vg_mem_direct(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir)
{
	void *p;

	if (!mem->ops->direct)
		return NULL;
	p = mem->ops->direct(mem, addr, len, dir);
	if (p)
		mem->stats.direct++;
	return p;
}

int vg_mem_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	int rc;

	*out = (struct vg_map){ 0 };
	if (!len || addr + (len - 1) < addr)
		return -EINVAL;
	rc = mem->ops->map(mem, addr, len, out);
	if (rc) {
		*out = (struct vg_map){ 0 };
		return rc;
	}
	mem->stats.maps++;
	return 0;
}

void vg_mem_unmap(struct vg_mem *mem, struct vg_map *map)
{
	if (!map->ptr)
		return;
	mem->ops->unmap(mem, map);
	mem->stats.unmaps++;
	*map = (struct vg_map){ 0 };
}

/* ---- batches ------------------------------------------------------------ */

void vg_batch_init(struct vg_batch *b, struct vg_mem *mem)
{
	b->mem = mem;
	b->n = 0;
	b->error = 0;
}

/**
 * batch_do - hand what is queued to the port
 *
 * A port reports each copy through its error pointer; copies that were queued without one get the
 * batch's. The first error stays in @b->error.
 */
static void batch_do(struct vg_batch *b)
{
	struct vg_mem *mem = b->mem;
	unsigned n = b->n;
	int rc;

	if (!n)
		return;
	b->n = 0;
	mem->stats.copies++;
	rc = mem->ops->copy(mem, b->ops, n);
	barrier();
	if (rc && !b->error)
		b->error = rc;
}

void vg_batch_add(struct vg_batch *b, uint64_t addr, void *host, uint32_t len, enum vg_dir dir,
		  int *error)
{
	void *p;

	if (!len)
		return;
	p = vg_mem_direct(b->mem, addr, len, dir);
	if (p) {
		if (dir == VG_FROM_GUEST)
			memcpy(host, p, len);
		else
			memcpy(p, host, len);
		barrier();
		return;
	}
	if (!b->mem->ops->copy) {
		if (error)
			*error = -EFAULT;
		if (!b->error)
			b->error = -EFAULT;
		return;
	}
	if (b->n == VG_BATCH_MAX)
		batch_do(b);
	b->mem->stats.copied_bytes += len;
	b->ops[b->n++] = (struct vg_copy){
		.addr = addr, .host = host, .len = len, .dir = dir, .error = error
	};
}

int vg_batch_run(struct vg_batch *b)
{
	int rc;

	batch_do(b);
	rc = b->error;
	b->error = 0;
	return rc;
}

/* ---- chains ------------------------------------------------------------- */

/* A walk along the segments of one part of a chain. */
struct cursor {
	const struct vg_seg *seg;
	uint32_t skip; /* bytes of *seg that lie before the cursor */
};

/**
 * cursor_at - find byte @off of one part of @c
 * @dir: VG_FROM_GUEST: the device-readable part, else the device-writable
 * @len: bytes that must be there from @off on
 *
 * Return: 0, or -EINVAL when the part ends before.
 */
static int cursor_at(struct cursor *cur, const struct vg_chain *c, enum vg_dir dir, size_t off,
		     size_t len)
{
	size_t total = dir == VG_FROM_GUEST ? c->out_len : c->in_len;

	if (off > total || len > total - off)
		return -EINVAL;
	cur->seg = c->segs + (dir == VG_FROM_GUEST ? 0 : c->n_out);
	while (off && off >= cur->seg->len) {
		off -= cur->seg->len;
		cur->seg++;
	}
	cur->skip = (uint32_t)off;
	return 0;
}

/**
 * cursor_take - the next contiguous range, at most @len bytes, @len > 0
 * @addr: its guest address
 *
 * Return: its length; the cursor stands behind it.
 */
static uint32_t cursor_take(struct cursor *cur, size_t len, uint64_t *addr)
{
	uint32_t n = cur->seg->len - cur->skip;

	*addr = cur->seg->addr + cur->skip;
	if (len < n) {
		cur->skip += (uint32_t)len;
		return (uint32_t)len;
	}
	cur->seg++;
	cur->skip = 0;
	return n;
}

/**
 * chain_copy - queue copying between @host and @len bytes at @off of one part of @c
 *
 * Return: 0, or -EINVAL when the part is too short; nothing is queued then.
 */
static int chain_copy(struct vg_batch *b, struct vg_chain *c, enum vg_dir dir, size_t off,
		      uint8_t *host, size_t len)
{
	struct cursor cur;
	int rc = cursor_at(&cur, c, dir, off, len);

	if (rc)
		return rc;
	while (len) {
		uint64_t addr;
		uint32_t n = cursor_take(&cur, len, &addr);

		vg_batch_add(b, addr, host, n, dir, &c->error);
		host += n;
		len -= n;
	}
	return 0;
}

int vg_chain_read(struct vg_batch *b, struct vg_chain *c, size_t off, void *dst, size_t len)
{
	return chain_copy(b, c, VG_FROM_GUEST, off, dst, len);
}

int vg_chain_write(struct vg_batch *b, struct vg_chain *c, size_t off, const void *src, size_t len)
{
	/* Only read from: struct vg_copy says so for VG_TO_GUEST. */
	return chain_copy(b, c, VG_TO_GUEST, off, (uint8_t *)(uintptr_t)src, len);
}

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
};

struct vg_bounce *vg_bounce_new(size_t limit)
{
	struct vg_bounce *b = calloc(1, sizeof(*b));

	if (b)
		b->limit = limit;
	return b;
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
	struct bounce_free *f = buf;

	f->next = b->free[i];
	b->free[i] = f;
	b->out -= (size_t)1 << (BOUNCE_SHIFT + i);
	b->idle += (size_t)1 << (BOUNCE_SHIFT + i);
}

/* ---- data --------------------------------------------------------------- */

/**
 * data_direct - make @d->iov of the guest's own memory
 *
 * Neighbours in host memory become one iovec.
 *
 * Return: 0; -EFAULT: some range is not direct; -ENOMEM.
 */
static int data_direct(struct vg_data *d, struct cursor cur, size_t len)
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
		uint32_t n = cursor_take(&cur, len, &addr);
		uint8_t *p = vg_mem_direct(d->mem, addr, n, d->dir);

		if (!p) {
			if (d->iov != d->inl)
				free(d->iov);
			d->niov = 0;
			return -EFAULT;
		}
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
static int data_map(struct vg_data *d, struct cursor cur, size_t len)
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
		segs[n].len = cursor_take(&cur, len, &segs[n].addr);
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
	struct cursor cur;
	int rc = cursor_at(&cur, c, dir, off, len);

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
	d->map = (struct vg_map){ 0 };
	if (!len)
		return 0;
	if (b->mem->ops->direct) {
		rc = data_direct(d, cur, len);
		if (rc != -EFAULT)
			return rc;
	}
	if (b->mem->map_from && len >= b->mem->map_from && b->mem->ops->map_data) {
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
		chain_copy(b, c, dir, off, d->bounce, len);
	return 0;
}

void vg_data_finish(struct vg_data *d, struct vg_batch *b, size_t len)
{
	if (!d->bounce || d->dir == VG_FROM_GUEST)
		return; /* direct and mapped memory is the guest's own */
	chain_copy(b, d->chain, d->dir, d->off, d->bounce, len < d->len ? len : d->len);
}

void vg_data_end(struct vg_data *d)
{
	if (d->bounce)
		bounce_put(d->mem->bounce, d->bounce, d->len);
	else if (d->iov != d->inl)
		free(d->iov);
	vg_mem_unmap(d->mem, &d->map);
	d->bounce = NULL;
	d->iov = d->inl;
	d->niov = 0;
}

/* ---- guest-physical regions --------------------------------------------- */

/** regions_of - the regions behind @mem, which vg_regions_init() made */
static struct vg_regions *regions_of(struct vg_mem *mem)
{
	return container_of(mem, struct vg_regions, mem);
}

/** regions_find - the region that holds @addr, or NULL */
static const struct vg_region *regions_find(struct vg_regions *rs, uint64_t addr)
{
	unsigned lo = 0, hi = rs->n;
	const struct vg_region *r = &rs->r[rs->hit];

	if (rs->hit < rs->n && addr - r->guest_addr < r->size)
		return r;
	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		r = &rs->r[mid];
		if (addr < r->guest_addr) {
			hi = mid;
		} else if (addr - r->guest_addr >= r->size) {
			lo = mid + 1;
		} else {
			rs->hit = mid;
			return r;
		}
	}
	return NULL;
}

/** regions_direct - ops->direct: a range within one region, writable if it must be */
static void *regions_direct(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir)
{
	const struct vg_region *r = regions_find(regions_of(mem), addr);

	if (!r || len > r->size - (addr - r->guest_addr))
		return NULL;
	if (dir == VG_TO_GUEST && r->read_only)
		return NULL;
	return r->host + (addr - r->guest_addr);
}

/**
 * regions_copy_one - one copy, across as many neighbouring regions as it takes
 *
 * Return: 0, or -EFAULT at the first byte that is not there or not writable.
 */
static int regions_copy_one(struct vg_regions *rs, const struct vg_copy *op)
{
	uint8_t *host = op->host;
	uint64_t addr = op->addr;
	size_t left = op->len;

	while (left) {
		const struct vg_region *r = regions_find(rs, addr);
		uint64_t n;
		uint8_t *p;

		if (!r || (op->dir == VG_TO_GUEST && r->read_only))
			return -EFAULT;
		n = r->size - (addr - r->guest_addr);
		if (n > left)
			n = left;
		p = r->host + (addr - r->guest_addr);
		if (op->dir == VG_FROM_GUEST)
			memcpy(host, p, n);
		else
			memcpy(p, host, n);
		host += n;
		addr += n;
		left -= n;
		if (left && !addr) /* wrapped */
			return -EFAULT;
	}
	return 0;
}

/** regions_copy - ops->copy: what regions_direct() refused, thus rare */
static int regions_copy(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	struct vg_regions *rs = regions_of(mem);
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		int rc = regions_copy_one(rs, &ops[i]);

		if (rc && ops[i].error)
			*ops[i].error = rc;
		if (rc && !first)
			first = rc;
	}
	return first;
}

/** regions_map - ops->map: within one writable region */
static int regions_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	void *p = regions_direct(mem, addr, len, VG_TO_GUEST);

	if (!p)
		return -EFAULT;
	*out = (struct vg_map){ .ptr = p, .len = len };
	return 0;
}

/** regions_unmap - ops->unmap: the region's owner unmaps it as a whole */
static void regions_unmap(struct vg_mem *mem, struct vg_map *map)
{
	(void)mem;
	(void)map;
}

static const struct vg_mem_ops regions_ops = {
	.direct = regions_direct,
	.copy = regions_copy,
	.map = regions_map,
	.unmap = regions_unmap,
};

void vg_regions_init(struct vg_regions *rs)
{
	rs->mem = (struct vg_mem){ .ops = &regions_ops };
	rs->n = 0;
	rs->hit = 0;
}

int vg_regions_add(struct vg_regions *rs, const struct vg_region *r)
{
	unsigned at = 0;

	if (!r->size || !r->host || r->guest_addr + (r->size - 1) < r->guest_addr)
		return -EINVAL;
	if (r->size > SIZE_MAX || (uintptr_t)r->host + (size_t)(r->size - 1) < (uintptr_t)r->host)
		return -EINVAL;
	while (at < rs->n && rs->r[at].guest_addr <= r->guest_addr)
		at++;
	if (at > 0 && r->guest_addr - rs->r[at - 1].guest_addr < rs->r[at - 1].size)
		return -EEXIST;
	if (at < rs->n && rs->r[at].guest_addr - r->guest_addr < r->size)
		return -EEXIST;
	if (rs->n == VG_MAX_REGIONS)
		return -ENOSPC;
	memmove(&rs->r[at + 1], &rs->r[at], (rs->n - at) * sizeof(rs->r[0]));
	rs->r[at] = *r;
	rs->n++;
	return 0;
}

int vg_regions_del(struct vg_regions *rs, uint64_t guest_addr, uint64_t size)
{
	for (unsigned i = 0; i < rs->n; i++) {
		if (rs->r[i].guest_addr != guest_addr || rs->r[i].size != size)
			continue;
		rs->n--;
		memmove(&rs->r[i], &rs->r[i + 1], (rs->n - i) * sizeof(rs->r[0]));
		return 0;
	}
	return -ENOENT;
}
