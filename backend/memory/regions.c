// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * regions.c - see regions.h
 *
 * Regions are sorted; a look-up is a binary search, after a glance at where the
 * last one ended.
 */
#include "backend/memory/regions.h"

#include <errno.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/memory/backing.h"

/** regions_of - the regions behind @mem, which vg_regions_init() made */
static struct vg_regions *regions_of(struct vg_mem *mem)
{
	return container_of(mem, struct vg_regions, mem);
}

/** regions_find - the region that holds @addr, or NULL */
static const struct vg_region *regions_find(const struct vg_regions *rs, unsigned *hit,
					    uint64_t addr)
{
	unsigned lo = 0, hi = rs->n;
	const struct vg_region *r = &rs->r[*hit < rs->n ? *hit : 0];

	if (*hit < rs->n && addr - r->guest_addr < r->size)
		return r;
	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		r = &rs->r[mid];
		if (addr < r->guest_addr) {
			hi = mid;
		} else if (addr - r->guest_addr >= r->size) {
			lo = mid + 1;
		} else {
			*hit = mid;
			return r;
		}
	}
	return NULL;
}

/** find_direct - a range within one region, writable if it must be */
static void *find_direct(const struct vg_regions *rs, unsigned *hit, uint64_t addr, size_t len,
			 enum vg_dir dir)
{
	const struct vg_region *r = regions_find(rs, hit, addr);

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
static int regions_copy_one(const struct vg_regions *rs, unsigned *hit, const struct vg_copy *op)
{
	uint8_t *host = op->host;
	uint64_t addr = op->addr;
	size_t left = op->len;

	while (left) {
		const struct vg_region *r = regions_find(rs, hit, addr);
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

/** copy_all - what find_direct() refused, thus rare */
static int copy_all(const struct vg_regions *rs, unsigned *hit, struct vg_copy *ops, unsigned n)
{
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		int rc = regions_copy_one(rs, hit, &ops[i]);

		if (rc && ops[i].error)
			*ops[i].error = rc;
		if (rc && !first)
			first = rc;
	}
	return first;
}

/** map_one - within one writable region */
static int map_one(const struct vg_regions *rs, unsigned *hit, uint64_t addr, size_t len,
		   struct vg_map *out)
{
	void *p = find_direct(rs, hit, addr, len, VG_TO_GUEST);

	if (!p)
		return -EFAULT;
	*out = (struct vg_map){ .ptr = p, .len = len };
	return 0;
}

/** map_long - where @segs lie, region by region; there is nothing to unmap */
static int map_long(const struct vg_regions *rs, unsigned *hit, const struct vg_seg *segs,
		    unsigned n, enum vg_dir dir, struct vg_backing *b)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t addr = segs[i].addr, left = segs[i].len;

		while (left) {
			const struct vg_region *r = regions_find(rs, hit, addr);
			uint64_t len;
			int ret;

			if (!r || (dir == VG_TO_GUEST && r->read_only))
				return -EFAULT;
			len = r->size - (addr - r->guest_addr);
			if (len > left)
				len = left;
			ret = vg_backing_add(b, r->host + (addr - r->guest_addr), len);
			if (ret < 0)
				return ret;
			addr += len;
			left -= len;
			if (left && !addr) /* wrapped */
				return -EFAULT;
		}
	}
	return 0;
}

/** regions_unmap - ops->unmap: the region's owner unmaps it as a whole */
static void regions_unmap(struct vg_mem *mem, struct vg_map *map)
{
	(void)mem;
	(void)map;
}

/* ---- the regions themselves, and views of them ---------------------------- */

static void *regions_direct(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir)
{
	struct vg_regions *rs = regions_of(mem);

	return find_direct(rs, &rs->hit, addr, len, dir);
}

static int regions_copy(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	struct vg_regions *rs = regions_of(mem);

	return copy_all(rs, &rs->hit, ops, n);
}

static int regions_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	struct vg_regions *rs = regions_of(mem);

	return map_one(rs, &rs->hit, addr, len, out);
}

static int regions_map_long(struct vg_mem *mem, const struct vg_seg *segs, unsigned n,
			    enum vg_dir dir, struct vg_map *out, struct vg_backing *b)
{
	struct vg_regions *rs = regions_of(mem);

	(void)out;
	return map_long(rs, &rs->hit, segs, n, dir, b);
}

static const struct vg_mem_ops regions_ops = {
	.direct = regions_direct,
	.copy = regions_copy,
	.map = regions_map,
	.unmap = regions_unmap,
	.map_long = regions_map_long,
};

static struct vg_regions_view *view_of(struct vg_mem *mem)
{
	return container_of(mem, struct vg_regions_view, mem);
}

static void *view_direct(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir)
{
	struct vg_regions_view *v = view_of(mem);

	return find_direct(v->of, &v->hit, addr, len, dir);
}

static int view_copy(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	struct vg_regions_view *v = view_of(mem);

	return copy_all(v->of, &v->hit, ops, n);
}

static int view_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	struct vg_regions_view *v = view_of(mem);

	return map_one(v->of, &v->hit, addr, len, out);
}

static int view_map_long(struct vg_mem *mem, const struct vg_seg *segs, unsigned n, enum vg_dir dir,
			 struct vg_map *out, struct vg_backing *b)
{
	struct vg_regions_view *v = view_of(mem);

	(void)out;
	return map_long(v->of, &v->hit, segs, n, dir, b);
}

static const struct vg_mem_ops view_ops = {
	.direct = view_direct,
	.copy = view_copy,
	.map = view_map,
	.unmap = regions_unmap,
	.map_long = view_map_long,
};

void vg_regions_view_init(struct vg_regions_view *v, const struct vg_regions *rs)
{
	*v = (struct vg_regions_view){ .mem.ops = &view_ops, .of = rs };
}

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
