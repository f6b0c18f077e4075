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

/* Pages of one arena: what one allocation of contiguous memory may be. */
#define VG_ARENA_PAGES 256u
/* Arenas of a device; PROTOCOL.md lets the backend refuse some. */
#define VG_ARENAS_MAX 8u

/**
 * struct vg_arena - contiguous pages with consecutive grant references
 * @mem: the pages
 * @first: reference of the first one
 * @pages: how many
 * @announced: the backend knows it: buffers may go there
 * @hint: where to look for room first
 * @used: a bit for each page
 * @orig: for each used page, the memory whose copy it has
 */
struct vg_arena {
	void *mem;
	grant_ref_t first;
	unsigned int pages;
	bool announced;
	unsigned int hint;
	DECLARE_BITMAP(used, VG_ARENA_PAGES);
	phys_addr_t orig[VG_ARENA_PAGES];
};

/**
 * struct vg_pool - all arenas of a device
 * @lock: of the arenas' @hint and @used
 * @threshold: largest buffer that goes into the pool, bytes
 * @n: arenas
 * @arena: them
 */
struct vg_pool {
	spinlock_t lock;
	size_t threshold;
	unsigned int n;
	struct vg_arena *arena[VG_ARENAS_MAX];
};

void vg_pool_init(struct vg_pool *pool);
void vg_pool_make(struct vg_pool *pool, domid_t domid, unsigned int pages,
		  size_t threshold);
void vg_pool_free(struct vg_pool *pool);

bool vg_pool_map(struct vg_pool *pool, phys_addr_t phys, size_t size,
		 dma_addr_t *addr);
bool vg_pool_unmap(struct vg_pool *pool, dma_addr_t addr, size_t size,
		   bool copy_back);
void vg_pool_sync(struct vg_pool *pool, dma_addr_t addr, size_t size,
		  bool for_cpu);

#endif /* VIRTIO_GRANT_POOL_H */
