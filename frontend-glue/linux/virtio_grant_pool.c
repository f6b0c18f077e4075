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
 * The pool is a few arenas. A buffer takes whole pages of one arena, at offset
 * 0, found first-fit in a bitmap. When there is no room, it is granted by
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
	struct vg_arena *a;

	vg_pool_free(pool);
	pool->threshold = threshold;
	while (pages && pool->n < VG_ARENAS_MAX) {
		a = vg_arena_new(domid, min(pages, VG_ARENA_PAGES));
		if (!a)
			break;
		pages -= a->pages;
		pool->arena[pool->n++] = a;
	}
}

static struct vg_arena *vg_arena_of(struct vg_pool *pool, dma_addr_t addr,
				    unsigned int *page)
{
	grant_ref_t ref = (addr & ~VIRTIO_GRANT_ADDR_FLAG) >>
			  VIRTIO_GRANT_PAGE_SHIFT;
	unsigned int i;

	for (i = 0; i < pool->n; i++) {
		*page = ref - pool->arena[i]->first;
		if (*page < pool->arena[i]->pages)
			return pool->arena[i];
	}
	return NULL;
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
	unsigned int pages = DIV_ROUND_UP(size, VG_PAGE);
	struct vg_arena *a = NULL;
	unsigned int i, page = 0;
	unsigned long flags;

	if (!size || size > pool->threshold ||
	    PageHighMem(pfn_to_page(PHYS_PFN(phys))))
		return false;

	spin_lock_irqsave(&pool->lock, flags);
	for (i = 0; i < pool->n; i++) {
		a = pool->arena[i];
		if (!a->announced)
			continue;
		page = bitmap_find_next_zero_area(a->used, a->pages, a->hint,
						  pages, 0);
		if (page >= a->pages && a->hint)
			page = bitmap_find_next_zero_area(a->used, a->pages, 0,
							  pages, 0);
		if (page < a->pages) {
			bitmap_set(a->used, page, pages);
			a->hint = page + pages;
			break;
		}
	}
	spin_unlock_irqrestore(&pool->lock, flags);
	if (i == pool->n)
		return false;

	for (i = 0; i < pages; i++)
		a->orig[page + i] = phys + i * VG_PAGE;
	memcpy(a->mem + page * VG_PAGE, phys_to_virt(phys), size);
	*addr = VIRTIO_GRANT_ADDR(a->first + page, 0);
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
	unsigned int offset = addr & (VG_PAGE - 1);
	unsigned int page;
	struct vg_arena *a = vg_arena_of(pool, addr, &page);
	void *copy, *buffer;

	if (!a)
		return;
	copy = a->mem + page * VG_PAGE + offset;
	buffer = phys_to_virt(a->orig[page] + offset);
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
	unsigned int page;
	struct vg_arena *a = vg_arena_of(pool, addr, &page);
	unsigned long flags;

	if (!a)
		return false;
	if (copy_back)
		vg_pool_sync(pool, addr, size, true);
	spin_lock_irqsave(&pool->lock, flags);
	bitmap_clear(a->used, page, DIV_ROUND_UP(size, VG_PAGE));
	spin_unlock_irqrestore(&pool->lock, flags);
	return true;
}
