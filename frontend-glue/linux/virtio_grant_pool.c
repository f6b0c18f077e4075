// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_grant_pool.c - pages that are granted once, for copies of buffers
 *
 * A device has two pools of this kind.
 *
 * The *pool* of PROTOCOL.md section 6.1 is for speed: granting is cheap for a
 * guest; mapping what was granted is not for a backend. So a guest may grant some
 * pages for as long as the connection lasts, tell the backend of them, and copy
 * buffers into them and out of them: one memcpy() here, and no hypercall at all
 * anywhere. When there is no room, a buffer is granted by itself instead; both
 * kinds mix freely.
 *
 * The *bounce* pool is for safety: for buffers whose own pages must not be granted
 * (see vg_must_bounce()). The backend is not told of it, and sees grants like any
 * others; that they are not revoked after each use is our affair, since the pages
 * have nothing but such copies. It grows while it is used, in any context. When it
 * cannot, the mapping fails.
 *
 * The first one begins small, and virtio_grant_size.c adds arenas where buffers find
 * no room, and takes away what has none. The pools of all devices together have at
 * most a quarter of the guest's grant table: references are netfront's and others',
 * too, and whatever finds no room in a pool needs some itself.
 *
 * A pool is a few arenas. A buffer takes slots of one arena, found next-fit in a
 * bitmap; processors begin with different arenas. Like swiotlb, a buffer is copied
 * in whatever its direction, so that what the device leaves unwritten keeps the
 * contents that it had, and nothing of an earlier buffer gets out.
 *
 * An arena is freed when the connection ends, but not before its last buffer has
 * left: some drivers keep mappings for longer than their device (virtio-gpu, for
 * as long as a program has it open). Until then its references are taken, so that
 * an address never means two things. Pages that the backend has mapped still
 * are left to it, by Xen's own code, until it lets go.
 */
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <xen/grant_table.h>
#include <xen/page.h>

#include "virtio_grant.h"
#include "virtio_grant_pool.h"

#define VG_PAGE VIRTIO_GRANT_PAGE_SIZE

/* Pages of all devices' pools, but for bounce pools. */
static atomic_t vg_pools_pages = ATOMIC_INIT(0);

/* Entries of version 1 have 8 bytes; no kernel that has so few pages uses others. */
static unsigned int vg_pools_limit(void)
{
	return gnttab_max_grant_frames() * (VG_PAGE / 8) / 4;
}

/* Takes an arena's pages out of what all pools may have. */
static bool vg_pools_count(unsigned int pages)
{
	if (atomic_add_return(pages, &vg_pools_pages) <= vg_pools_limit())
		return true;
	atomic_sub(pages, &vg_pools_pages);
	return false;
}

void vg_pool_init(struct vg_pool *pool)
{
	spin_lock_init(&pool->lock);
}

/**
 * vg_arena_new() - allocate and grant an arena
 * @domid: to whom
 * @pages: at most VG_ARENA_PAGES
 * @gfp: how to allocate
 *
 * Return: the arena, or NULL.
 */
static struct vg_arena *vg_arena_new(domid_t domid, unsigned int pages,
				     gfp_t gfp)
{
	unsigned int slots = pages * VG_SLOTS_A_PAGE;
	struct vg_arena *a;
	unsigned int i;

	gfp |= __GFP_ZERO | __GFP_NOWARN;
	a = kmalloc(struct_size(a, orig, slots), gfp);
	if (!a)
		return NULL;
	spin_lock_init(&a->lock);
	a->pages = pages;
	a->mem = alloc_pages_exact(pages * VG_PAGE, gfp);
	if (!a->mem)
		goto free;
	if (gnttab_alloc_grant_reference_seq(pages, &a->first))
		goto free_mem;
	for (i = 0; i < pages; i++) {
		unsigned long gfn = virt_to_gfn(a->mem + i * VG_PAGE);

		gnttab_grant_foreign_access_ref(a->first + i, domid, gfn, 0);
	}
	return a;

free_mem:
	free_pages_exact(a->mem, pages * VG_PAGE);
free:
	kfree(a);
	return NULL;
}

/*
 * Nobody uses the arena, but somebody may be looking at it. What the backend has
 * mapped stays allocated, and granted, until it lets go.
 */
static void vg_arena_free(struct vg_arena *a)
{
	unsigned int i;

	for (i = 0; i < a->pages; i++) {
		if (gnttab_end_foreign_access_ref(a->first + i))
			gnttab_free_grant_reference(a->first + i);
		else
			gnttab_end_foreign_access(a->first + i, NULL);
	}
	if (a->counted)
		atomic_sub(a->pages, &vg_pools_pages);
	free_pages_exact(a->mem, a->pages * VG_PAGE);
	kfree_rcu(a, rcu);
}

/* An arena that counts among all devices', which nobody has been told of. */
static struct vg_arena *vg_arena_counted(domid_t domid, unsigned int pages)
{
	struct vg_arena *a;

	if (!vg_pools_count(pages))
		return NULL;
	/* Fewer pages do as well: no reason to have somebody killed for them. */
	a = vg_arena_new(domid, pages, GFP_KERNEL | __GFP_NORETRY);
	if (a)
		a->counted = true;
	else
		atomic_sub(pages, &vg_pools_pages);
	return a;
}

/* Puts an arena where it is found; false: there are too many. */
static bool vg_pool_add(struct vg_pool *pool, struct vg_arena *a)
{
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&pool->lock, flags);
	for (i = 0; i < ARRAY_SIZE(pool->arena); i++) {
		if (rcu_access_pointer(pool->arena[i]))
			continue;
		rcu_assign_pointer(pool->arena[i], a);
		pool->pages += a->pages;
		if (i >= pool->n)
			WRITE_ONCE(pool->n, i + 1);
		break;
	}
	spin_unlock_irqrestore(&pool->lock, flags);
	return i < ARRAY_SIZE(pool->arena);
}

/* Takes an arena away that has no buffers; it cannot be found any more. */
static void vg_pool_del(struct vg_pool *pool, struct vg_arena *a)
{
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&pool->lock, flags);
	for (i = 0; i < pool->n; i++) {
		if (rcu_access_pointer(pool->arena[i]) != a)
			continue;
		RCU_INIT_POINTER(pool->arena[i], NULL);
		pool->pages -= a->pages;
	}
	spin_unlock_irqrestore(&pool->lock, flags);
	vg_arena_free(a);
}

/* No new buffer goes into an arena; frees it now, or when the last one leaves. */
static void vg_arena_kill(struct vg_pool *pool, struct vg_arena *a)
{
	unsigned long flags;
	bool gone;

	spin_lock_irqsave(&a->lock, flags);
	gone = !a->taken && !a->dead;
	a->dead = true;
	spin_unlock_irqrestore(&a->lock, flags);
	if (gone)
		vg_pool_del(pool, a);
}

/**
 * vg_pool_arena() - one arena after the other
 * @pool: the pool; the caller is the one who makes and frees its arenas
 * @i: less than its @n
 *
 * Return: the arena, or NULL when there is none, or one that is only left over.
 */
struct vg_arena *vg_pool_arena(struct vg_pool *pool, unsigned int i)
{
	struct vg_arena *a = NULL;

	rcu_read_lock();
	a = rcu_dereference(pool->arena[i]);
	if (a && READ_ONCE(a->dead))
		a = NULL;
	rcu_read_unlock();
	return a;
}

/**
 * vg_pool_free() - take the pool back
 * @pool: the backend has let go of it, or never will
 *
 * Buffers that are still in it stay valid, for the processor.
 */
void vg_pool_free(struct vg_pool *pool)
{
	struct vg_arena *a;
	unsigned int i;

	for (i = 0; i < pool->n; i++) {
		a = vg_pool_arena(pool, i);
		if (a)
			vg_arena_kill(pool, a);
	}
}

/**
 * vg_pool_make() - allocate and grant more arenas, as many pages as can be had
 * @pool: the pool
 * @pages: how many
 *
 * Return: how many have come.
 */
unsigned int vg_pool_make(struct vg_pool *pool, unsigned int pages)
{
	unsigned int chunk = VG_ARENA_PAGES, n = 0, had = 0;
	struct vg_arena *a;

	while (had < pages && n < VG_ARENAS_MAX) {
		a = vg_arena_counted(pool->domid, min(pages - had, chunk));
		if (a) {
			if (!vg_pool_add(pool, a)) {
				vg_arena_free(a);
				break;
			}
			had += a->pages;
			n++;
		} else if (chunk > VG_ARENA_PAGES_MIN) {
			chunk /= 2;
		} else {
			break;
		}
	}
	return had;
}

/**
 * vg_pool_trim() - free the arenas that the backend has refused
 * @pool: the pool
 */
void vg_pool_trim(struct vg_pool *pool)
{
	struct vg_arena *a;
	unsigned int i;

	for (i = 0; i < pool->n; i++) {
		a = vg_pool_arena(pool, i);
		if (a && !a->announced)
			vg_arena_kill(pool, a);
	}
}

/**
 * vg_pool_need() - how much of the pool was of use, of late
 * @pool: the pool; a new period begins
 *
 * Return: pages; an upper bound, since not all arenas were at their fullest at once.
 */
unsigned int vg_pool_need(struct vg_pool *pool)
{
	unsigned int i, slots = 0;
	struct vg_arena *a;

	for (i = 0; i < pool->n; i++) {
		a = vg_pool_arena(pool, i);
		if (!a)
			continue;
		spin_lock_irq(&a->lock);
		slots += a->peak;
		a->peak = a->taken;
		spin_unlock_irq(&a->lock);
	}
	return DIV_ROUND_UP(slots, VG_SLOTS_A_PAGE);
}

/**
 * vg_pool_spare() - find an arena that can go
 * @pool: the pool
 * @keep: pages that are to stay
 *
 * Return: one without buffers, and none will go there as long as it is not
 * @announced again; or NULL.
 */
struct vg_arena *vg_pool_spare(struct vg_pool *pool, unsigned int keep)
{
	unsigned int i = pool->n;
	struct vg_arena *a;
	bool spare;

	while (i--) {
		a = vg_pool_arena(pool, i);
		if (!a || pool->pages < keep + a->pages)
			continue;
		spin_lock_irq(&a->lock);
		spare = a->announced && !a->taken;
		if (spare)
			a->announced = false;
		spin_unlock_irq(&a->lock);
		if (spare)
			return a;
	}
	return NULL;
}

/**
 * vg_pool_drop() - free one arena
 * @pool: the pool
 * @a: from vg_pool_spare(); the backend has let go of it
 */
void vg_pool_drop(struct vg_pool *pool, struct vg_arena *a)
{
	vg_arena_kill(pool, a);
}

/**
 * vg_arena_of() - in which arena an address lies
 * @pool: the pool
 * @addr: the address for the device
 * @offset: receives the bytes before it in the arena
 *
 * Return: the arena, which stays there while the buffer at @addr is in it; or
 * NULL: not in this pool.
 */
static struct vg_arena *vg_arena_of(struct vg_pool *pool, dma_addr_t addr,
				    size_t *offset)
{
	unsigned int i, n = READ_ONCE(pool->n);
	struct vg_arena *a = NULL;

	rcu_read_lock();
	for (i = 0; i < n; i++) {
		a = rcu_dereference(pool->arena[i]);
		if (!a)
			continue;
		*offset = addr - VIRTIO_GRANT_ADDR(a->first, 0);
		if (*offset < a->pages * VG_PAGE)
			break;
		a = NULL;
	}
	rcu_read_unlock();
	return a;
}

/**
 * vg_arena_take() - find room in an arena
 * @a: the arena
 * @slots: how many
 *
 * Return: the first one, or -1.
 */
static int vg_arena_take(struct vg_arena *a, unsigned int slots)
{
	unsigned int size = a->pages * VG_SLOTS_A_PAGE;
	unsigned long flags;
	unsigned int at;
	int ret = -1;

	spin_lock_irqsave(&a->lock, flags);
	if (!a->announced || a->dead || a->taken + slots > size)
		goto out;
	at = bitmap_find_next_zero_area(a->used, size, a->hint, slots, 0);
	if (at >= size && a->hint)
		at = bitmap_find_next_zero_area(a->used, size, 0, slots, 0);
	if (at >= size)
		goto out;
	bitmap_set(a->used, at, slots);
	a->taken += slots;
	a->peak = max(a->peak, a->taken);
	a->hint = at + slots;
	ret = at;
out:
	spin_unlock_irqrestore(&a->lock, flags);
	return ret;
}

/* Finds room in any arena; the arena stays there while the slots are taken. */
static struct vg_arena *vg_pool_take(struct vg_pool *pool, unsigned int slots,
				     int *slot)
{
	unsigned int i, n = READ_ONCE(pool->n);
	unsigned int first = n ? raw_smp_processor_id() % n : 0;
	struct vg_arena *a = NULL;

	*slot = -1;
	rcu_read_lock();
	for (i = 0; i < n && *slot < 0; i++) {
		a = rcu_dereference(pool->arena[(first + i) % n]);
		if (a)
			*slot = vg_arena_take(a, slots);
	}
	rcu_read_unlock();
	return *slot < 0 ? NULL : a;
}

/* One more arena, as large as all that there are, in any context. */
static bool vg_pool_grow(struct vg_pool *pool, unsigned int least)
{
	unsigned int pages = clamp(READ_ONCE(pool->pages), VG_ARENA_PAGES_MIN,
				   VG_ARENA_PAGES);
	struct vg_arena *a;

	least = max(least, VG_ARENA_PAGES_MIN);
	if (least > VG_ARENA_PAGES)
		return false;
	for (pages = max(pages, least);; pages = max(pages / 2, least)) {
		a = vg_arena_new(pool->domid, pages, GFP_ATOMIC);
		if (a)
			break;
		if (pages == least)
			return false;
	}
	/* There is nobody to be told of it. */
	a->announced = true;
	if (vg_pool_add(pool, a))
		return true;
	vg_arena_free(a);
	return false;
}

/**
 * vg_pool_map() - put a buffer into the pool
 * @pool: the pool
 * @phys: of the buffer
 * @size: bytes
 * @grow: make room where there is none
 * @addr: receives the address for the device
 *
 * Return: whether it is there.
 */
bool vg_pool_map(struct vg_pool *pool, phys_addr_t phys, size_t size, bool grow,
		 dma_addr_t *addr)
{
	unsigned int slots = DIV_ROUND_UP(size, VG_SLOT);
	struct vg_arena *a;
	unsigned int i;
	size_t offset;
	int slot;

	if (!size || PageHighMem(pfn_to_page(PHYS_PFN(phys))))
		return false;

	a = vg_pool_take(pool, slots, &slot);
	while (!a) {
		if (!grow || !vg_pool_grow(pool, DIV_ROUND_UP(size, VG_PAGE)))
			return false;
		a = vg_pool_take(pool, slots, &slot);
	}

	for (i = 0; i < slots; i++)
		a->orig[slot + i] = phys + i * VG_SLOT;
	offset = (size_t)slot * VG_SLOT;
	memcpy(a->mem + offset, phys_to_virt(phys), size);
	*addr = VIRTIO_GRANT_ADDR(a->first, 0) + offset;
	return true;
}

/* Copies between a buffer and its place in an arena. */
static void vg_arena_sync(struct vg_arena *a, size_t offset, size_t size,
			  bool for_cpu)
{
	void *copy = a->mem + offset;
	void *buffer =
		phys_to_virt(a->orig[offset / VG_SLOT] + offset % VG_SLOT);

	if (for_cpu)
		memcpy(buffer, copy, size);
	else
		memcpy(copy, buffer, size);
}

/**
 * vg_pool_sync() - copy between a buffer and its place in the pool
 * @pool: the pool
 * @addr: in the buffer, for the device; perhaps not in the pool at all
 * @size: bytes
 * @for_cpu: from the pool to the buffer
 */
void vg_pool_sync(struct vg_pool *pool, dma_addr_t addr, size_t size,
		  bool for_cpu)
{
	struct vg_arena *a;
	size_t offset;

	a = vg_arena_of(pool, addr, &offset);
	if (a)
		vg_arena_sync(a, offset, size, for_cpu);
}

/**
 * vg_pool_unmap() - take a buffer out of the pool
 * @pool: the pool
 * @addr: of a buffer, for the device
 * @size: as when it was mapped
 * @copy_back: the device may have written it
 *
 * Return: false when it is not in the pool.
 */
bool vg_pool_unmap(struct vg_pool *pool, dma_addr_t addr, size_t size,
		   bool copy_back)
{
	unsigned int slots = DIV_ROUND_UP(size, VG_SLOT);
	struct vg_arena *a;
	unsigned long flags;
	size_t offset;
	bool gone;

	a = vg_arena_of(pool, addr, &offset);
	if (!a)
		return false;
	if (copy_back)
		vg_arena_sync(a, offset, size, true);
	/* Once our slots are free, vg_arena_kill() may free the arena. */
	rcu_read_lock();
	spin_lock_irqsave(&a->lock, flags);
	bitmap_clear(a->used, offset / VG_SLOT, slots);
	a->taken -= slots;
	gone = a->dead && !a->taken;
	spin_unlock_irqrestore(&a->lock, flags);
	rcu_read_unlock();
	if (gone)
		vg_pool_del(pool, a);
	return true;
}
