/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * regions.h - guest memory that lies in ours: guest-physical regions
 *
 * For ports that map a guest's memory whole (vhost-user), and for tests.
 */
#ifndef VG_REGIONS_H
#define VG_REGIONS_H

#include "backend/memory/guestmem.h"

struct vg_region {
	uint64_t guest_addr;
	uint64_t size; /* bytes */
	uint8_t *host; /* stays mapped until vg_regions_del() and the last chain that uses it */
	bool read_only;
};

#define VG_MAX_REGIONS 509 /* QEMU's own limit for memory slots of a vhost-user device */

struct vg_regions {
	struct vg_mem mem;
	unsigned n;
	unsigned hit;			    /* private: where the last look-up ended */
	struct vg_region r[VG_MAX_REGIONS]; /* sorted by guest_addr, disjoint */
};

/* The same regions as another context sees them: with its own place where the last look-up ended. */
struct vg_regions_view {
	struct vg_mem mem;
	const struct vg_regions *of;
	unsigned hit; /* private */
};

/** vg_regions_view_init - a view of @rs, which changes only while nobody uses @v */
void vg_regions_view_init(struct vg_regions_view *v, const struct vg_regions *rs);

/**
 * vg_regions_init - an empty view, all of it direct
 *
 * But for a range that crosses two neighbouring regions: that one is copied, through @rs->mem.bounce
 * (the caller's to set) where it is data.
 */
void vg_regions_init(struct vg_regions *rs);

/**
 * vg_regions_add - add memory
 *
 * Return: 0; -EINVAL when it is empty or wraps; -EEXIST when it overlaps another; -ENOSPC.
 */
int vg_regions_add(struct vg_regions *rs, const struct vg_region *r);

/** vg_regions_del - remove the region that is exactly @guest_addr, @size. Return: 0 or -ENOENT. */
int vg_regions_del(struct vg_regions *rs, uint64_t guest_addr, uint64_t size);

#endif /* VG_REGIONS_H */
