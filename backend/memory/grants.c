// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * grants.c - see grants.h
 *
 * An address is flag | reference << 12 | offset; a range over pages uses
 * consecutive references. A grant-copy segment must not cross a page on the
 * guest's side (Linux, gntdev_grant_copy_seg: -EINVAL for the whole call), so
 * each copy is cut at the guest's page boundaries; the kernel cuts at ours.
 *
 * Pins. A page that I/O refers to (O_DIRECT) is not unmapped before that is over: Linux tries
 * again later (gntdev.c, unmap_grant_pages()). When the process has ended meanwhile, be it by
 * SIGKILL, its page tables are gone, and Xen cannot unmap from a PV domain's what it is told the
 * entry of: the kernel warns ("gntdev.c:418"), the grant stays in use, and later O_DIRECT fails with
 * ENOMEM in whoever gets that page. A disk that takes 0.1 s and a worker that is killed are enough
 * (tests/xen/t/12-blk-host.t). So no such I/O gets memory of grants.
 *
 * Lending. A mapping belongs to the open file, and mmap(2) of it to whoever has that: a process that got
 * the descriptor maps a pool that this one has announced, once (gntdev.c, gntdev_mmap()), and has it until
 * it unmaps it, whatever becomes of us. So each loan is a mapping of its own, in a file of its own.
 */
#include "backend/memory/grants.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <xen/sys/gntdev.h>

#include "backend/base/log.h"
#include "backend/memory/backing.h"
#include "backend/memory/data.h"
#include "backend/memory/chain.h"
#include "gntdev_restrict.h"
#include "virtio_grant.h"

enum {
	PAGE = VIRTIO_GRANT_PAGE_SIZE,
	SEGS = 1024, /* of one grant-copy call; more than that is cut into several */
	MAP_TRIES = 16,
	COPY_BATCH = 16, /* Linux, drivers/xen/gntdev.c: GNTDEV_COPY_BATCH */
};

_Static_assert(VG_LIMIT_POOLS <= 32, "a bit for each in struct vg_data");

#define REF_BITS_END 44 /* bits 44 to 62 of an address are zero */

/* Take an address apart. Return: whether @addr, @len is a range of this transport at all. */
static bool decode(uint64_t addr, size_t len, uint32_t *ref, uint32_t *off, uint32_t *pages)
{
	uint64_t span;

	if (!(addr & VIRTIO_GRANT_ADDR_FLAG) || len == 0)
		return false;
	addr &= ~VIRTIO_GRANT_ADDR_FLAG;
	if (addr >> REF_BITS_END)
		return false;
	*ref = (uint32_t)(addr >> VIRTIO_GRANT_PAGE_SHIFT);
	*off = (uint32_t)(addr & (PAGE - 1));
	span = (*off + (uint64_t)len + PAGE - 1) / PAGE;
	if (span > (uint64_t)UINT32_MAX - *ref)
		return false;
	*pages = (uint32_t)span;
	return true;
}

/* Where a range lies in a pool, or NULL. */
static uint8_t *in_pool(const struct vg_grant_pool *p, uint64_t addr, size_t len)
{
	size_t size = atomic_load_explicit(&p->len, memory_order_acquire);

	/* Of a pool that is not shown nothing else may be looked at. */
	if (!size || addr < p->addr || addr - p->addr >= size || len > size - (addr - p->addr))
		return NULL;
	return p->ptr + (addr - p->addr);
}

static void *grant_direct(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir)
{
	struct vg_grant_mem *gm = (struct vg_grant_mem *)mem;
	const struct vg_grant_mem *of = gm->pools;
	unsigned n = atomic_load_explicit(&of->n_pools, memory_order_relaxed);
	uint8_t *at = n ? in_pool(&of->pool[gm->hit], addr, len) : NULL;

	(void)dir;
	for (unsigned i = 0; i < n && !at; i++) {
		at = in_pool(&of->pool[i], addr, len);
		if (at)
			gm->hit = i;
	}
	if (at)
		gm->stats->pool_hits++;
	return at;
}

static uint32_t grant_hold(struct vg_mem *mem, uint32_t held)
{
	struct vg_grant_mem *gm = (struct vg_grant_mem *)mem;
	uint32_t bit = 1u << gm->hit;

	if (!(held & bit))
		gm->held[gm->hit]++;
	return held | bit;
}

static void grant_release(struct vg_mem *mem, uint32_t held)
{
	struct vg_grant_mem *gm = (struct vg_grant_mem *)mem;

	for (unsigned i = 0; held; i++, held >>= 1)
		gm->held[i] -= held & 1;
}

static int grant_share(struct vg_mem *mem, struct vg_shared *out)
{
	struct vg_grant_mem *gm = (struct vg_grant_mem *)mem, *of = gm->pools;
	const struct vg_grant_pool *p = &of->pool[gm->hit];
	uint32_t first = (uint32_t)((p->addr & ~VIRTIO_GRANT_ADDR_FLAG) >> VIRTIO_GRANT_PAGE_SHIFT);
	struct ioctl_gntdev_map_grant_ref *map;
	int ret;

	if (!of->lent)
		return -EOPNOTSUPP;
	map = calloc(1, sizeof(*map) + p->pages * sizeof(map->refs[0]));
	if (!map)
		return -ENOMEM;
	map->count = p->pages;
	for (uint32_t i = 0; i < p->pages; i++)
		map->refs[i] =
			(struct ioctl_gntdev_grant_ref){ .domid = gm->domid, .ref = first + i };
	ret = ioctl(xengnttab_fd(of->lent), IOCTL_GNTDEV_MAP_GRANT_REF, map) < 0 ? -errno : 0;
	if (ret == 0)
		*out = (struct vg_shared){ .fd = xengnttab_fd(of->lent),
					   .offset = map->index,
					   .addr = p->addr,
					   .size = (uint64_t)p->pages * PAGE,
					   .held = grant_hold(mem, 0) };
	free(map);
	return ret;
}

static void grant_unshare(struct vg_mem *mem, struct vg_shared *s)
{
	struct ioctl_gntdev_unmap_grant_ref unmap = { .index = s->offset,
						      .count = (uint32_t)(s->size / PAGE) };

	ioctl(s->fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &unmap);
	grant_release(mem, s->held);
	memset(s, 0, sizeof(*s));
}

/* How many operations Linux makes of @n segments: it cuts them at our page boundaries. */
static unsigned pieces(const xengnttab_grant_copy_segment_t *segs, unsigned n)
{
	unsigned ops = 0;

	for (unsigned i = 0; i < n; i++) {
		const void *virt = segs[i].flags & GNTCOPY_source_gref ? segs[i].dest.virt
								       : segs[i].source.virt;

		ops += (unsigned)(((uintptr_t)virt % PAGE + segs[i].len + PAGE - 1) / PAGE);
	}
	return ops;
}

/* One grant-copy call. Return: 0, or the first failed segment's error. */
static int run_segs(struct vg_grant_mem *gm, unsigned n)
{
	int first = 0;
	int ret;

	if (n == 0)
		return 0;
	gm->stats->copy_calls++;
	gm->stats->copy_hypercalls += (pieces(gm->segs, n) + COPY_BATCH - 1) / COPY_BATCH;
	/* Returns -1 when the call failed as a whole, else 0 with a status in each segment. */
	ret = xengnttab_grant_copy(gm->xgt, n, gm->segs);
	for (unsigned i = 0; i < n; i++) {
		if (ret == 0 && gm->segs[i].status == 0) {
			gm->stats->copied_bytes += gm->segs[i].len;
			continue;
		}
		first = first ? first : -EFAULT;
		if (gm->errors[i])
			*gm->errors[i] = -EFAULT;
	}
	return first;
}

static int grant_copy(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	struct vg_grant_mem *gm = (struct vg_grant_mem *)mem;
	unsigned used = 0;
	int first = 0;
	int ret;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *host = ops[i].host;
		uint32_t left = ops[i].len;
		uint32_t ref, off, pages;

		if (!decode(ops[i].addr, left, &ref, &off, &pages)) {
			if (ops[i].error)
				*ops[i].error = -EFAULT;
			first = first ? first : -EFAULT;
			continue;
		}
		while (left) {
			uint32_t step = PAGE - off < left ? PAGE - off : left;
			xengnttab_grant_copy_segment_t *s = &gm->segs[used];

			memset(s, 0, sizeof(*s));
			s->len = (uint16_t)step;
			if (ops[i].dir == VG_FROM_GUEST) {
				s->flags = GNTCOPY_source_gref;
				s->source.foreign.ref = ref;
				s->source.foreign.offset = (uint16_t)off;
				s->source.foreign.domid = (uint16_t)gm->domid;
				s->dest.virt = host;
			} else {
				s->flags = GNTCOPY_dest_gref;
				s->dest.foreign.ref = ref;
				s->dest.foreign.offset = (uint16_t)off;
				s->dest.foreign.domid = (uint16_t)gm->domid;
				s->source.virt = host;
			}
			gm->errors[used++] = ops[i].error;
			host += step;
			left -= step;
			off = 0;
			ref++;
			if (used == SEGS) {
				ret = run_segs(gm, used);
				first = first ? first : ret;
				used = 0;
			}
		}
	}
	ret = run_segs(gm, used);
	return first ? first : ret;
}

/*
 * The first mapping of a process takes all locks of its address space, which Linux gives up when a
 * signal is pending (mm_take_all_locks: -EINTR); and a completion of io_uring counts as one until the
 * thread is back in user space. There it is then, so that trying again is all that it takes.
 */
static void *map_refs(struct vg_grant_mem *gm, uint32_t *refs, uint32_t pages, int prot)
{
	void *ptr = NULL;

	for (unsigned i = 0; i < MAP_TRIES && !ptr; i++) {
		if (i && errno != EINTR)
			break;
		gm->stats->maps++;
		gm->stats->mapped_pages += pages;
		ptr = xengnttab_map_domain_grant_refs(gm->xgt, pages, gm->domid, refs, prot);
	}
	return ptr;
}

void *vg_grant_map(struct vg_grant_mem *gm, uint32_t ref, uint32_t pages)
{
	uint32_t *refs = calloc(pages, sizeof(*refs));
	void *ptr;

	if (!refs)
		return NULL;
	for (uint32_t i = 0; i < pages; i++)
		refs[i] = ref + i;
	ptr = map_refs(gm, refs, pages, PROT_READ | PROT_WRITE);
	free(refs);
	return ptr;
}

void vg_grant_unmap(struct vg_grant_mem *gm, void *ptr, uint32_t pages)
{
	gm->stats->unmaps++;
	xengnttab_unmap(gm->xgt, ptr, pages);
}

static int grant_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	struct vg_grant_mem *gm = (struct vg_grant_mem *)mem;
	uint32_t ref, off, pages;

	if (!decode(addr, len, &ref, &off, &pages))
		return -EFAULT;
	out->base = vg_grant_map(gm, ref, pages);
	if (!out->base)
		return errno == ENOMEM || errno == ENOSPC ? -errno : -EFAULT;
	out->pages = pages;
	out->len = len;
	out->ptr = (uint8_t *)out->base + off;
	return 0;
}

static void grant_unmap(struct vg_mem *mem, struct vg_map *map)
{
	struct vg_grant_mem *gm = (struct vg_grant_mem *)mem;

	vg_grant_unmap(gm, map->base, (uint32_t)map->pages);
	if (map->is_data)
		gm->data_pages -= (uint32_t)map->pages;
	if (map->is_long)
		gm->long_pages -= (uint32_t)map->pages;
}

/* Read-only where the device only reads: a driver may have granted no more than that. */
static int grant_map_data(struct vg_mem *mem, const struct vg_seg *segs, unsigned n,
			  enum vg_dir dir, struct vg_map *out, struct iovec *iov)
{
	struct vg_grant_mem *gm = (struct vg_grant_mem *)mem;
	uint32_t room = gm->max_data_pages - gm->data_pages, total = 0;
	uint32_t ref, off, pages;
	uintptr_t skip;
	uint8_t *base;

	for (unsigned i = 0; i < n; i++) {
		if (!decode(segs[i].addr, segs[i].len, &ref, &off, &pages))
			return -EFAULT;
		if (pages > room - total)
			return -ENOBUFS;
		/* How far behind the base, which is not known yet. */
		skip = (uintptr_t)total * PAGE + off;
		iov[i] = (struct iovec){ .iov_base = (void *)skip, .iov_len = segs[i].len };
		for (uint32_t k = 0; k < pages; k++)
			gm->refs[total++] = ref + k;
	}
	base = map_refs(gm, gm->refs, total,
			dir == VG_FROM_GUEST ? PROT_READ : PROT_READ | PROT_WRITE);
	if (!base)
		return -EFAULT;
	gm->data_pages += total;
	*out = (struct vg_map){ .ptr = base, .base = base, .pages = total, .is_data = true };
	for (unsigned i = 0; i < n; i++)
		iov[i].iov_base = base + (uintptr_t)iov[i].iov_base;
	return 0;
}

/* How many pages @segs are, as far as there is room for them. Return: 0, -EFAULT, -ENOSPC. */
static int count_long(const struct vg_grant_mem *gm, const struct vg_seg *segs, unsigned n,
		      uint32_t *total)
{
	uint32_t ref, off, pages;

	*total = 0;
	for (unsigned i = 0; i < n; i++) {
		if (!decode(segs[i].addr, segs[i].len, &ref, &off, &pages))
			return -EFAULT;
		if (pages > gm->max_long_pages - gm->long_pages - *total)
			return -ENOSPC;
		*total += pages;
	}
	return 0;
}

/* What is in a pool is mapped once more: a pool goes at a reset, and this may be unmapped later. */
static int grant_map_long(struct vg_mem *mem, const struct vg_seg *segs, unsigned n,
			  enum vg_dir dir, struct vg_map *out, struct vg_backing *b)
{
	struct vg_grant_mem *gm = (struct vg_grant_mem *)mem;
	uint32_t total, at = 0;
	int ret = count_long(gm, segs, n, &total);
	uint32_t *refs;
	uint8_t *base;

	if (ret < 0 || !total)
		return ret < 0 ? ret : -EINVAL;
	refs = calloc(total, sizeof(*refs));
	if (!refs)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		uint32_t ref = 0, off, pages = 0;

		decode(segs[i].addr, segs[i].len, &ref, &off, &pages);
		for (uint32_t k = 0; k < pages; k++)
			refs[at++] = ref + k;
	}
	base = map_refs(gm, refs, total, dir == VG_FROM_GUEST ? PROT_READ : PROT_READ | PROT_WRITE);
	free(refs);
	if (!base)
		return errno == ENOMEM || errno == ENOSPC ? -errno : -EFAULT;
	gm->long_pages += total;
	*out = (struct vg_map){ .ptr = base, .base = base, .pages = total, .is_long = true };
	at = 0;
	for (unsigned i = 0; ret == 0 && i < n; i++) {
		uint32_t ref, off = 0, pages = 0;

		decode(segs[i].addr, segs[i].len, &ref, &off, &pages);
		ret = vg_backing_add(b, base + (size_t)at * PAGE + off, segs[i].len);
		at += pages;
	}
	return ret;
}

static const struct vg_mem_ops grant_mem_ops = {
	.unpinnable = true,
	.direct = grant_direct,
	.hold = grant_hold,
	.release = grant_release,
	.share = grant_share,
	.unshare = grant_unshare,
	.copy = grant_copy,
	.map = grant_map,
	.unmap = grant_unmap,
	.map_data = grant_map_data,
	.map_long = grant_map_long,
};

int vg_grant_mem_init(struct vg_grant_mem *gm, uint32_t domid, struct vg_grant_mem *pools,
		      const struct vg_budget *budget)
{
	static const struct vg_budget all = VG_BUDGET_ALL;

	if (!budget)
		budget = &all;
	memset(gm, 0, sizeof(*gm));
	gm->pools = pools ? pools : gm;
	gm->max_pool_pages = budget->pool_pages;
	gm->max_data_pages =
		budget->data_pages < VG_LIMIT_DATA_PAGES ? budget->data_pages : VG_LIMIT_DATA_PAGES;
	gm->max_long_pages =
		budget->long_pages < VG_LIMIT_LONG_PAGES ? budget->long_pages : VG_LIMIT_LONG_PAGES;
	gm->mem.ops = &grant_mem_ops;
	gm->domid = domid;
	gm->stats = &gm->own_stats;
	gm->refs = calloc(VG_LIMIT_DATA_PAGES, sizeof(*gm->refs));
	gm->segs = calloc(SEGS, sizeof(*gm->segs));
	gm->errors = calloc(SEGS, sizeof(*gm->errors));
	gm->mem.bounce = vg_bounce_new(budget->bounce_bytes);
	if (gm->refs && gm->segs && gm->errors && gm->mem.bounce) {
		gm->xgt = xengnttab_open(&vg_xen_logger, 0);
		if (gm->xgt)
			return 0;
	}
	vg_grant_mem_close(gm);
	return errno ? -errno : -ENOMEM;
}

void vg_grant_mem_close(struct vg_grant_mem *gm)
{
	int e = errno;

	vg_grant_pools_drop(gm);
	if (gm->xgt)
		xengnttab_close(gm->xgt);
	if (gm->lent)
		xengnttab_close(gm->lent);
	if (gm->mem.bounce)
		vg_bounce_free(gm->mem.bounce);
	free(gm->refs);
	free(gm->segs);
	free(gm->errors);
	memset(gm, 0, sizeof(*gm));
	errno = e;
}

static int keep(xengnttab_handle *xgt, uint32_t domid)
{
	const struct ioctl_gntdev_restrict_domid to = { .domid = domid };

	return ioctl(xengnttab_fd(xgt), IOCTL_GNTDEV_RESTRICT_DOMID, &to) < 0 ? -errno : 0;
}

int vg_grant_keep(struct vg_grant_mem *gm, uint32_t domid)
{
	int ret = keep(gm->xgt, domid);

	return ret == 0 && gm->lent ? keep(gm->lent, domid) : ret;
}

int vg_grant_lend(struct vg_grant_mem *gm)
{
	gm->lent = xengnttab_open(&vg_xen_logger, 0);
	return gm->lent ? 0 : errno ? -errno : -ENODEV;
}

/* That no domain has such a number is what a kernel says that has looked. */
int vg_grant_can_keep(void)
{
	xengnttab_handle *xgt = xengnttab_open(&vg_xen_logger, 0);
	int ret = xgt ? keep(xgt, UINT32_MAX) : errno ? -errno : -ENODEV;

	if (xgt)
		xengnttab_close(xgt);
	return ret == -EINVAL ? 1 : ret == -ENOTTY ? 0 : ret;
}

/* An unused pool, or NULL. */
static struct vg_grant_pool *free_pool(struct vg_grant_mem *gm)
{
	for (unsigned i = 0; i < VG_LIMIT_POOLS; i++) {
		if (gm->pool[i].pages)
			continue;
		if (i >= gm->n_pools)
			atomic_store_explicit(&gm->n_pools, i + 1, memory_order_relaxed);
		return &gm->pool[i];
	}
	return NULL;
}

int vg_grant_pool_find(const struct vg_grant_mem *gm, uint32_t first_ref, uint32_t pages)
{
	uint64_t addr = VIRTIO_GRANT_ADDR(first_ref, 0);

	if (pages == 0 || pages > UINT32_MAX - first_ref)
		return -EINVAL;
	for (unsigned i = 0; i < gm->n_pools; i++) {
		const struct vg_grant_pool *p = &gm->pool[i];

		if (p->addr == addr && p->pages == pages)
			return (int)i;
		if (p->pages && addr < p->addr + (uint64_t)p->pages * PAGE &&
		    p->addr < addr + (uint64_t)pages * PAGE)
			return -EINVAL;
	}
	return -ENOENT;
}

int vg_grant_pool_add(struct vg_grant_mem *gm, uint32_t first_ref, uint32_t pages)
{
	int at = vg_grant_pool_find(gm, first_ref, pages);
	struct vg_grant_pool *p;
	uint64_t total = pages;
	void *ptr;

	if (pages == 0 || pages > UINT32_MAX - first_ref)
		return -EINVAL;
	if (at != -ENOENT)
		return -EEXIST;
	for (unsigned i = 0; i < gm->n_pools; i++)
		total += gm->pool[i].pages;
	p = free_pool(gm);
	if (!p || total > gm->max_pool_pages)
		return -ENOSPC;
	ptr = vg_grant_map(gm, first_ref, pages);
	if (!ptr)
		return -EFAULT;
	p->addr = VIRTIO_GRANT_ADDR(first_ref, 0);
	p->pages = pages;
	p->ptr = ptr;
	vg_grant_pool_show(gm, (unsigned)(p - gm->pool), true);
	return 0;
}

void vg_grant_pool_show(struct vg_grant_mem *gm, unsigned i, bool shown)
{
	struct vg_grant_pool *p = &gm->pool[i];

	atomic_store_explicit(&p->len, shown ? (size_t)p->pages * PAGE : 0, memory_order_release);
}

void vg_grant_pool_drop(struct vg_grant_mem *gm, unsigned i)
{
	struct vg_grant_pool *p = &gm->pool[i];

	vg_grant_pool_show(gm, i, false);
	if (p->pages)
		vg_grant_unmap(gm, p->ptr, p->pages);
	p->pages = 0;
}

void vg_grant_pools_drop(struct vg_grant_mem *gm)
{
	for (unsigned i = 0; i < gm->n_pools; i++)
		vg_grant_pool_drop(gm, i);
	atomic_store_explicit(&gm->n_pools, 0, memory_order_relaxed);
}

int vg_grant_pages_fit(long page, struct vg_err *err)
{
	if (page == PAGE)
		return 0;
	return vg_fail(
		err, -EOPNOTSUPP,
		"this kernel has pages of %ld KiB: vgrantd serves Xen's guests from a kernel with "
		"pages of 4 KiB alone",
		page / 1024);
}
