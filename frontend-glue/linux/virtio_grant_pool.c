// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_grant_pool.c - pages that are granted once (PROTOCOL.md section 6.1)
 *
 * Granting is cheap for a guest; mapping what was granted is not for a backend.
 * So a guest may grant some pages for as long as the connection lasts, and copy
 * buffers into them and out of them: one memcpy() here, and no hypercall at all
 * anywhere. It is also the safest way, because the backend sees nothing but
 * copies.
 *
 * The pool is a few arenas. A buffer takes slots of one arena, found next-fit in
 * a bitmap. When there is no room, it is granted by
 * itself instead; both kinds mix freely. Like swiotlb, a buffer is copied in
 * whatever its direction, so that what the device leaves unwritten keeps the
 * contents that it had, and nothing of an earlier buffer gets out.
 */
#include <linux/bitmap.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <xen/grant_table.h>
#include <xen/page.h>

#include "virtio_grant.h"
#include "virtio_grant_pool.h"

#define VG_PAGE VIRTIO_GRANT_PAGE_SIZE

void vg_pool_init(struct vg_pool *pool)
{
	spin_lock_init(&pool->lock);
}

/**
 * vg_arena_new() - allocate and grant an arena
 * @domid: to whom
 * @pages: at most VG_ARENA_PAGES
 *
 * Return: the arena, or NULL.
 */
static struct vg_arena *vg_arena_new(domid_t domid, unsigned int pages)
{
	struct vg_arena *a = kvzalloc(sizeof(*a), GFP_KERNEL);
	unsigned int i;

	if (!a)
		return NULL;
	a->pages = pages;
	a->mem = alloc_pages_exact(pages * VG_PAGE,
				   GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
	if (!a->mem)
		goto free;
	if (gnttab_alloc_grant_reference_seq(pages, &a->first))
		goto free_mem;
	for (i = 0; i < pages; i++)
		gnttab_grant_foreign_access_ref(
			a->first + i, domid, virt_to_gfn(a->mem + i * VG_PAGE),
			0);
	return a;

free_mem:
	free_pages_exact(a->mem, pages * VG_PAGE);
free:
	kvfree(a);
	return NULL;
}

/* Memory that the backend still has mapped is left to it for ever. */
static void vg_arena_free(struct vg_arena *a)
{
	unsigned int i, in_use = 0;

	for (i = 0; i < a->pages; i++)
		if (!gnttab_end_foreign_access_ref(a->first + i))
			in_use++;
	if (in_use) {
		pr_alert("virtio_grant: backend keeps %u pages of the pool\n",
			 in_use);
	} else {
		gnttab_free_grant_reference_seq(a->first, a->pages);
		free_pages_exact(a->mem, a->pages * VG_PAGE);
	}
	kvfree(a);
}

/**
 * vg_pool_free() - take the pool back
 * @pool: no buffer is in it, and the backend has let go of it
 */
void vg_pool_free(struct vg_pool *pool)
{
	pool->pages = 0;
	while (pool->n)
		vg_arena_free(pool->arena[--pool->n]);
}

/**
 * vg_pool_make() - allocate and grant a pool, as much of it as can be had
 * @pool: an old one is freed
 * @domid: to whom
 * @pages: how many
 * @threshold: see struct vg_pool
 */
void vg_pool_make(struct vg_pool *pool, domid_t domid, unsigned int pages,
		  size_t threshold)
{
	unsigned int chunk = VG_ARENA_PAGES;
	struct vg_arena *a;

	vg_pool_free(pool);
	pool->threshold = threshold;
	while (pages && pool->n < VG_ARENAS_MAX) {
		a = vg_arena_new(domid, min(pages, chunk));
		if (a) {
			pages -= a->pages;
			pool->arena[pool->n++] = a;
		} else if (chunk > VG_ARENA_PAGES_MIN) {
			chunk /= 2;
		} else {
			break;
		}
	}
}

/**
 * vg_pool_trim() - free the arenas that the backend has refused
 * @pool: no buffer is in them
 */
void vg_pool_trim(struct vg_pool *pool)
{
	unsigned int i, n = 0, pages = 0;

	for (i = 0; i < pool->n; i++) {
		if (pool->arena[i]->announced) {
			pages += pool->arena[i]->pages;
			pool->arena[n++] = pool->arena[i];
		} else {
			vg_arena_free(pool->arena[i]);
		}
	}
	pool->n = n;
	pool->pages = pages;
}

/**
 * vg_arena_of() - in which arena an address lies
 * @pool: the pool
 * @addr: the address for the device
 * @offset: receives the bytes before it in the arena
 *
 * Return: the arena, or NULL: a grant of its own.
 */
static struct vg_arena *vg_arena_of(struct vg_pool *pool, dma_addr_t addr,
				    size_t *offset)
{
	struct vg_arena *a;
	unsigned int i;

	for (i = 0; i < pool->n; i++) {
		a = pool->arena[i];
		*offset = addr - VIRTIO_GRANT_ADDR(a->first, 0);
		if (*offset < a->pages * VG_PAGE)
			return a;
	}
	return NULL;
}

/**
 * vg_arena_take() - find room in an arena
 * @a: the arena; its pool is locked
 * @slots: how many
 *
 * Return: the first one, or -1.
 */
static int vg_arena_take(struct vg_arena *a, unsigned int slots)
{
	unsigned int size = a->pages * VG_SLOTS_A_PAGE;
	unsigned int at;

	at = bitmap_find_next_zero_area(a->used, size, a->hint, slots, 0);
	if (at >= size && a->hint)
		at = bitmap_find_next_zero_area(a->used, size, 0, slots, 0);
	if (at >= size)
		return -1;
	bitmap_set(a->used, at, slots);
	a->hint = at + slots;
	return at;
}

/**
 * vg_pool_map() - put a buffer into the pool
 * @pool: the pool
 * @phys: of the buffer
 * @size: bytes
 * @addr: receives the address for the device
 *
 * Return: whether it is there. If not, it must be granted by itself.
 */
bool vg_pool_map(struct vg_pool *pool, phys_addr_t phys, size_t size,
		 dma_addr_t *addr)
{
	unsigned int slots = DIV_ROUND_UP(size, VG_SLOT);
	struct vg_arena *a = NULL;
	unsigned long flags;
	unsigned int i;
	size_t offset;
	int slot = -1;

	if (!pool->n || !size || size > pool->threshold ||
	    PageHighMem(pfn_to_page(PHYS_PFN(phys))))
		return false;

	spin_lock_irqsave(&pool->lock, flags);
	for (i = 0; i < pool->n && slot < 0; i++) {
		a = pool->arena[i];
		if (a->announced)
			slot = vg_arena_take(a, slots);
	}
	if (slot < 0)
		pool->full++;
	else
		pool->buffers++;
	spin_unlock_irqrestore(&pool->lock, flags);
	if (slot < 0)
		return false;

	for (i = 0; i < slots; i++)
		a->orig[slot + i] = phys + i * VG_SLOT;
	offset = (size_t)slot * VG_SLOT;
	memcpy(a->mem + offset, phys_to_virt(phys), size);
	*addr = VIRTIO_GRANT_ADDR(a->first, 0) + offset;
	return true;
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
	void *copy, *buffer;
	struct vg_arena *a;
	size_t offset;

	a = vg_arena_of(pool, addr, &offset);
	if (!a)
		return;
	copy = a->mem + offset;
	buffer = phys_to_virt(a->orig[offset / VG_SLOT] + offset % VG_SLOT);
	if (for_cpu)
		memcpy(buffer, copy, size);
	else
		memcpy(copy, buffer, size);
}

/**
 * vg_pool_unmap() - take a buffer out of the pool
 * @pool: the pool
 * @addr: what vg_pool_map() or vg_grant() returned
 * @size: as there
 * @copy_back: the device may have written it
 *
 * Return: false when it is not in the pool.
 */
bool vg_pool_unmap(struct vg_pool *pool, dma_addr_t addr, size_t size,
		   bool copy_back)
{
	struct vg_arena *a;
	unsigned long flags;
	size_t offset;

	a = vg_arena_of(pool, addr, &offset);
	if (!a)
		return false;
	if (copy_back)
		vg_pool_sync(pool, addr, size, true);
	spin_lock_irqsave(&pool->lock, flags);
	bitmap_clear(a->used, offset / VG_SLOT, DIV_ROUND_UP(size, VG_SLOT));
	spin_unlock_irqrestore(&pool->lock, flags);
	return true;
}
