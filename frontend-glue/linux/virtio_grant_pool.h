/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_pool.h - pages that are granted once
 */
#ifndef VIRTIO_GRANT_POOL_H
#define VIRTIO_GRANT_POOL_H

#include <linux/dma-direction.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <xen/grant_table.h>
#include <xen/page.h>

/* Pages of one arena: what one allocation of contiguous memory may be. When
 * memory is too fragmented for that, less, but no less than the second.
 */
#define VG_ARENA_PAGES	   256u
#define VG_ARENA_PAGES_MIN 16u
/* Arenas of a device; PROTOCOL.md lets the backend refuse some. */
#define VG_ARENAS_MAX 16u

/* Room in an arena is given out in slots: a disk's driver sends a header of 16
 * bytes and a status of 1 with each buffer. Data must be aligned to as much for
 * a backend that reads it from the disk with O_DIRECT.
 */
#define VG_SLOT		512u
#define VG_SLOTS_A_PAGE (XEN_PAGE_SIZE / VG_SLOT)
#define VG_ARENA_SLOTS	(VG_ARENA_PAGES * VG_SLOTS_A_PAGE)

/**
 * struct vg_arena - contiguous pages with consecutive grant references
 * @mem: the pages
 * @first: reference of the first one
 * @pages: how many
 * @announced: the backend knows it: buffers may go there
 * @hint: slot where to look for room first
 * @used: a bit for each slot
 * @orig: for each used slot, the memory whose copy it has
 */
struct vg_arena {
	void *mem;
	grant_ref_t first;
	unsigned int pages;
	bool announced;
	unsigned int hint;
	DECLARE_BITMAP(used, VG_ARENA_SLOTS);
	phys_addr_t orig[VG_ARENA_SLOTS];
};

/**
 * struct vg_pool - all arenas of a device
 * @lock: of the arenas' @hint and @used, and of the counters
 * @threshold: largest buffer that goes into the pool, bytes
 * @n: arenas
 * @arena: them
 * @pages: of all that the backend knows
 * @buffers: put into the pool, since the device is there
 * @full: of at most @threshold bytes, for which there was no room
 */
struct vg_pool {
	spinlock_t lock;
	size_t threshold;
	unsigned int n;
	struct vg_arena *arena[VG_ARENAS_MAX];
	unsigned int pages;
	u64 buffers;
	u64 full;
};

void vg_pool_init(struct vg_pool *pool);
void vg_pool_make(struct vg_pool *pool, domid_t domid, unsigned int pages,
		  size_t threshold);
void vg_pool_free(struct vg_pool *pool);
void vg_pool_trim(struct vg_pool *pool);

bool vg_pool_map(struct vg_pool *pool, phys_addr_t phys, size_t size,
		 dma_addr_t *addr);
bool vg_pool_unmap(struct vg_pool *pool, dma_addr_t addr, size_t size,
		   bool copy_back);
void vg_pool_sync(struct vg_pool *pool, dma_addr_t addr, size_t size,
		  bool for_cpu);

#endif /* VIRTIO_GRANT_POOL_H */
