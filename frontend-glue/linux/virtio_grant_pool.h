/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_pool.h - pages that are granted once, for copies of buffers
 */
#ifndef VIRTIO_GRANT_POOL_H
#define VIRTIO_GRANT_POOL_H

#include <linux/bitmap.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <xen/grant_table.h>
#include <xen/page.h>

/* Pages of one arena: what one allocation of contiguous memory may be. When
 * memory is too fragmented for that, less, but no less than the second. The
 * longest buffer of one mapping has 32 pages.
 */
#define VG_ARENA_PAGES	   256u
#define VG_ARENA_PAGES_MIN 16u
/* Arenas of a device of each kind; PROTOCOL.md lets the backend refuse some. */
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
 * @rcu: whoever looks an address up may still see one that is freed
 * @mem: the pages
 * @first: reference of the first one
 * @pages: how many
 * @announced: the backend knows it: buffers may go there
 * @dead: no new buffer goes there; the last one that leaves frees it
 * @counted: among the pages of all devices' pools
 * @lock: of @taken, @peak, @hint and @used
 * @taken: slots in use
 * @peak: most that were in use since vg_pool_need()
 * @hint: slot where to look for room first
 * @used: a bit for each slot
 * @orig: for each used slot, the memory whose copy it has
 */
struct vg_arena {
	struct rcu_head rcu;
	void *mem;
	grant_ref_t first;
	unsigned int pages;
	bool announced;
	bool dead;
	bool counted;
	spinlock_t lock; /* of what follows, but for orig */
	unsigned int taken;
	unsigned int peak;
	unsigned int hint;
	DECLARE_BITMAP(used, VG_ARENA_SLOTS);
	phys_addr_t orig[];
};

/**
 * struct vg_pool - arenas of a device
 * @lock: of @arena and @pages
 * @domid: to whom they are granted
 * @arena: them; some may be NULL
 * @n: entries of @arena that were used; never falls
 * @pages: of all
 */
struct vg_pool {
	spinlock_t lock; /* of what follows */
	domid_t domid;
	struct vg_arena __rcu *arena[2 * VG_ARENAS_MAX];
	unsigned int n;
	unsigned int pages;
};

void vg_pool_init(struct vg_pool *pool);
unsigned int vg_pool_make(struct vg_pool *pool, unsigned int pages);
void vg_pool_free(struct vg_pool *pool);
void vg_pool_trim(struct vg_pool *pool);
unsigned int vg_pool_need(struct vg_pool *pool);
struct vg_arena *vg_pool_spare(struct vg_pool *pool, unsigned int keep);
void vg_pool_drop(struct vg_pool *pool, struct vg_arena *a);
struct vg_arena *vg_pool_arena(struct vg_pool *pool, unsigned int i);

bool vg_pool_map(struct vg_pool *pool, phys_addr_t phys, size_t size, bool grow,
		 dma_addr_t *addr);
bool vg_pool_unmap(struct vg_pool *pool, dma_addr_t addr, size_t size,
		   bool copy_back);
void vg_pool_sync(struct vg_pool *pool, dma_addr_t addr, size_t size,
		  bool for_cpu);

#endif /* VIRTIO_GRANT_POOL_H */
