// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_grant_dma.c - DMA addresses that are grants
 *
 * The backend reaches nothing of this guest but what is granted to it, so a
 * "DMA address" of a virtio-grant device names grants (PROTOCOL.md section 6):
 *
 *	bit 63 | reference of the first page << 12 | offset in that page
 *
 * with consecutive references for the further pages. A mapping grants each
 * page that the buffer touches, read-only when the device only reads; its end
 * revokes them. Neither takes a hypercall: both write to the grant table.
 *
 * These are DMA operations of the virtio device's parent, on all kernels.
 * Newer ones could have struct virtio_map_ops instead, but those serve only
 * virtqueues, while virtio-gpu and AF_XDP use the DMA interface directly.
 *
 * Grants are of whole pages. What a buffer shares its pages with is at the mercy
 * of the backend as long as it is mapped, and afterwards, if the backend does not
 * let go; vg_must_bounce() says when that is not acceptable, and then a copy of the
 * buffer is granted (virtio_grant_pool.c).
 *
 * A backend that still has a page mapped when it has given the buffer back
 * breaks the protocol, and the device is broken. The driver gets its buffer back
 * all the same, but Xen's code holds a reference to each such page until the
 * backend lets go, so that the page is not used for anything else.
 *
 * Buffers may also go into a pool of pages that were granted once, for speed;
 * vg_dma_map() decides. Rings never do.
 *
 * Memory whose address lies in a request's payload is the device's until it was
 * told otherwise, or was reset (section 6). Linux' virtio-gpu, when it is removed,
 * frees what is behind its resources first, tells nobody, and resets the device
 * last. So while a driver is removed, lists that go both ways keep their grants,
 * and a reference to each page, until it is gone: vg_dma_leave(), vg_dma_left().
 */
#include <linux/dma-map-ops.h>
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <xen/grant_table.h>
#include <xen/page.h>

#include "virtio_grant.h"
#include "virtio_grant_compat.h"
#include "virtio_grant_dma.h"

/* Buffers of up to this many bytes are poisoned: a block status, with the
 * sector that zone append returns before it.
 */
#define VG_POISON_MAX 16
#define VG_POISON     0xff

/* ---- granting ------------------------------------------------------------ */

/**
 * vg_grant() - grant physically contiguous memory to the backend
 * @dma: the device's mappings
 * @phys: where it begins
 * @size: bytes
 * @readonly: the backend may only read
 *
 * Return: the address for the backend, or DMA_MAPPING_ERROR.
 */
static dma_addr_t vg_grant(struct vg_dma *dma, phys_addr_t phys, size_t size,
			   bool readonly)
{
	unsigned int offset = phys & (VIRTIO_GRANT_PAGE_SIZE - 1);
	unsigned int i, n = max(1UL, XEN_PFN_UP(offset + size));
	unsigned long pfn = XEN_PFN_DOWN(phys);
	grant_ref_t first;

	if (vg_refs_get(&dma->refs, n, &first))
		return DMA_MAPPING_ERROR;

	for (i = 0; i < n; i++)
		gnttab_grant_foreign_access_ref(first + i, dma->domid,
						pfn_to_gfn(pfn + i), readonly);
	return VIRTIO_GRANT_ADDR(first, offset);
}

/**
 * vg_revoke() - take back what vg_grant() granted
 * @dma: the device's mappings
 * @addr: what vg_grant() returned
 * @size: bytes, as there
 *
 * Pages that the backend has mapped still get a reference, which Xen's code drops,
 * with the grant, when the backend lets go. So the caller may free the memory.
 */
static void vg_revoke(struct vg_dma *dma, dma_addr_t addr, size_t size)
{
	unsigned int offset = addr & (VIRTIO_GRANT_PAGE_SIZE - 1);
	unsigned int i, n = max(1UL, XEN_PFN_UP(offset + size));
	grant_ref_t first = (addr & ~VIRTIO_GRANT_ADDR_FLAG) >>
			    VIRTIO_GRANT_PAGE_SHIFT;
	unsigned int in_use = 0;

	for (i = 0; i < n; i++)
		if (unlikely(!gnttab_end_foreign_access_ref(first + i)))
			break;
	if (likely(i == n)) {
		vg_refs_put(&dma->refs, n, first);
		return;
	}

	/* Access to those before has ended, and ends once more. */
	for (i = 0; i < n; i++) {
		if (gnttab_end_foreign_access_ref(first + i)) {
			gnttab_free_grant_reference(first + i);
		} else {
			gnttab_end_foreign_access(first + i, NULL);
			in_use++;
		}
	}
	vg_refs_lost(&dma->refs, n);
	if (!xchg(&dma->broken, true)) {
		dev_alert(dma->dev,
			  "Grant still in use by backend domain %u (%u of %u from reference %u), device disabled\n",
			  dma->domid, in_use, n, first);
		dma->fault(dma);
	}
}

/**
 * vg_dma_poison() - make an unwritten status an error
 * @phys: a small buffer that the device writes
 * @size: bytes
 *
 * Until the device writes it, its contents mean nothing to the driver. If the
 * device dies, virtio_msg_orphan.c completes the request with what is there.
 */
static void vg_dma_poison(phys_addr_t phys, size_t size)
{
	struct page *page = pfn_to_page(PHYS_PFN(phys));

	if (!PageHighMem(page))
		memset(phys_to_virt(phys), VG_POISON, size);
}

/* Whether somebody beside the owner can keep all pages of a buffer from reuse. */
static bool vg_can_hold(phys_addr_t phys, size_t size)
{
	unsigned long pfn = PHYS_PFN(phys);
	unsigned long last = PHYS_PFN(phys + (size ? size - 1 : 0));
	struct folio *folio;

	for (; pfn <= last; pfn++) {
		folio = page_folio(pfn_to_page(pfn));
		if (folio_test_slab(folio) || !folio_ref_count(folio))
			return false;
	}
	return true;
}

/**
 * vg_must_bounce() - must the backend see a copy of a buffer?
 * @dma: the device's mappings
 * @phys: of the buffer
 * @size: bytes
 *
 * Yes, when others' data lies in the same pages, and the backend is not trusted
 * with that (XSA-403). And yes, whatever the backend, for objects of the slab
 * allocator and other memory whose pages have no reference count: if a backend
 * did not let go of such a page, nothing could keep it from being used again.
 */
static bool vg_must_bounce(struct vg_dma *dma, phys_addr_t phys, size_t size)
{
	if (!dma->trusted && (phys | size) & (VIRTIO_GRANT_PAGE_SIZE - 1))
		return true;
	return !vg_can_hold(phys, size);
}

/* A buffer found no room in the pool. */
static void vg_dma_full(struct vg_dma *dma)
{
	this_cpu_inc(dma->counts->pool_full);
	if (!READ_ONCE(dma->asked) && !xchg(&dma->asked, true))
		dma->full(dma);
}

/**
 * vg_dma_map() - let the device at a buffer
 * @dma: the device's mappings
 * @phys: of the buffer
 * @size: bytes
 * @dir: who writes
 * @attrs: DMA_ATTR_*
 *
 * The pool is for buffers that come back soon: not for those that go both ways,
 * nor for those that are never synchronised as a whole (page_pool's).
 *
 * Return: the address for the device, or DMA_MAPPING_ERROR.
 */
static dma_addr_t vg_dma_map(struct vg_dma *dma, phys_addr_t phys, size_t size,
			     enum dma_data_direction dir, unsigned long attrs)
{
	dma_addr_t addr;

	if (unlikely(READ_ONCE(dma->broken) || attrs & DMA_ATTR_MMIO ||
		     is_zone_device_page(pfn_to_page(PHYS_PFN(phys)))))
		return DMA_MAPPING_ERROR;

	if (dma->poison_status && dir == DMA_FROM_DEVICE &&
	    size <= VG_POISON_MAX)
		vg_dma_poison(phys, size);

	if (READ_ONCE(dma->pool.n) && size <= dma->threshold &&
	    dir != DMA_BIDIRECTIONAL && !(attrs & DMA_ATTR_SKIP_CPU_SYNC)) {
		if (vg_pool_map(&dma->pool, phys, size, false, &addr)) {
			this_cpu_inc(dma->counts->pooled);
			return addr;
		}
		vg_dma_full(dma);
	}

	if (vg_must_bounce(dma, phys, size)) {
		if (vg_pool_map(&dma->bounce, phys, size, true, &addr)) {
			this_cpu_inc(dma->counts->bounced);
		} else {
			this_cpu_inc(dma->counts->bounce_full);
			return DMA_MAPPING_ERROR;
		}
	} else {
		addr = vg_grant(dma, phys, size, dir == DMA_TO_DEVICE);
		if (addr == DMA_MAPPING_ERROR)
			return addr;
		this_cpu_inc(dma->counts->granted);
	}
	if (dir == DMA_BIDIRECTIONAL)
		atomic_inc(&dma->lasting);
	return addr;
}

/**
 * struct vg_kept - memory of a driver that goes, which the device may still have
 * @list: in struct vg_dma's @kept
 * @phys: where it begins; each of its pages has a reference
 * @addr: what the device knows it by
 * @size: bytes
 */
struct vg_kept {
	struct list_head list;
	phys_addr_t phys;
	dma_addr_t addr;
	size_t size;
};

/**
 * vg_keep() - leave a mapping as it is until the driver is gone
 * @dma: the device's mappings
 * @phys: of the buffer
 * @addr: what vg_grant() returned
 * @size: bytes
 *
 * Return: false: there is no memory to remember it in.
 */
static bool vg_keep(struct vg_dma *dma, phys_addr_t phys, dma_addr_t addr,
		    size_t size)
{
	struct vg_kept *kept = kmalloc(sizeof(*kept), GFP_ATOMIC);
	unsigned long pfn, flags;

	if (!kept)
		return false;
	kept->phys = phys;
	kept->addr = addr;
	kept->size = size;
	for (pfn = PHYS_PFN(phys); pfn < XEN_PFN_UP(phys + size); pfn++)
		get_page(pfn_to_page(pfn));
	spin_lock_irqsave(&dma->kept_lock, flags);
	list_add(&kept->list, &dma->kept);
	spin_unlock_irqrestore(&dma->kept_lock, flags);
	return true;
}

/**
 * vg_dma_unmap() - take a buffer back from the device
 * @dma: the device's mappings
 * @phys: of the buffer; 0: not known
 * @addr: what vg_dma_map() returned
 * @size: as there
 * @dir: as there
 * @attrs: DMA_ATTR_*
 */
static void vg_dma_unmap(struct vg_dma *dma, phys_addr_t phys, dma_addr_t addr,
			 size_t size, enum dma_data_direction dir,
			 unsigned long attrs)
{
	bool copy = dir != DMA_TO_DEVICE && !(attrs & DMA_ATTR_SKIP_CPU_SYNC);

	if (dir == DMA_BIDIRECTIONAL)
		atomic_dec(&dma->lasting);
	if (vg_pool_unmap(&dma->pool, addr, size, copy) ||
	    vg_pool_unmap(&dma->bounce, addr, size, copy))
		return;
	if (READ_ONCE(dma->leaving) && phys && dir == DMA_BIDIRECTIONAL &&
	    vg_keep(dma, phys, addr, size))
		return;
	vg_revoke(dma, addr, size);
}

/* Copies what the other side shall see, if the buffer is a copy. */
static void vg_dma_sync(struct vg_dma *dma, dma_addr_t addr, size_t size,
			bool for_cpu)
{
	vg_pool_sync(&dma->pool, addr, size, for_cpu);
	vg_pool_sync(&dma->bounce, addr, size, for_cpu);
}

/* ---- DMA operations ------------------------------------------------------ */

static struct vg_dma *vg_dma_of(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static void *vg_op_alloc(struct device *dev, size_t size, dma_addr_t *handle,
			 gfp_t gfp, unsigned long attrs)
{
	struct vg_dma *dma = vg_dma_of(dev);
	void *mem;

	if (READ_ONCE(dma->broken))
		return NULL;

	mem = alloc_pages_exact(size, gfp | __GFP_ZERO);
	if (!mem)
		return NULL;

	*handle = vg_grant(dma, virt_to_phys(mem), size, false);
	if (*handle == DMA_MAPPING_ERROR) {
		free_pages_exact(mem, size);
		return NULL;
	}
	return mem;
}

static void vg_op_free(struct device *dev, size_t size, void *mem,
		       dma_addr_t handle, unsigned long attrs)
{
	vg_revoke(vg_dma_of(dev), handle, size);
	free_pages_exact(mem, size);
}

/* What vg_op_alloc() returned is in the kernel's linear mapping. */
static int vg_op_mmap(struct device *dev, struct vm_area_struct *vma, void *mem,
		      dma_addr_t handle, size_t size, unsigned long attrs)
{
	unsigned long pages = PAGE_ALIGN(size) >> PAGE_SHIFT;
	unsigned long n = vma_pages(vma);

	if (vma->vm_pgoff >= pages || n > pages - vma->vm_pgoff)
		return -ENXIO;
	return remap_pfn_range(vma, vma->vm_start,
			       PHYS_PFN(virt_to_phys(mem)) + vma->vm_pgoff,
			       n << PAGE_SHIFT, vma->vm_page_prot);
}

static int vg_op_get_sgtable(struct device *dev, struct sg_table *table,
			     void *mem, dma_addr_t handle, size_t size,
			     unsigned long attrs)
{
	int ret = sg_alloc_table(table, 1, GFP_KERNEL);

	if (!ret)
		sg_set_page(table->sgl, virt_to_page(mem), PAGE_ALIGN(size), 0);
	return ret;
}

static struct page *vg_op_alloc_pages(struct device *dev, size_t size,
				      dma_addr_t *handle,
				      enum dma_data_direction dir, gfp_t gfp)
{
	void *mem = vg_op_alloc(dev, size, handle, gfp, 0);

	return mem ? virt_to_page(mem) : NULL;
}

static void vg_op_free_pages(struct device *dev, size_t size, struct page *page,
			     dma_addr_t handle, enum dma_data_direction dir)
{
	vg_op_free(dev, size, page_to_virt(page), handle, 0);
}

static dma_addr_t vg_op_map_phys(struct device *dev, phys_addr_t phys,
				 size_t size, enum dma_data_direction dir,
				 unsigned long attrs)
{
	return vg_dma_map(vg_dma_of(dev), phys, size, dir, attrs);
}

#ifndef VG_DMA_OPS_MAP_PHYS
static dma_addr_t vg_op_map_page(struct device *dev, struct page *page,
				 unsigned long offset, size_t size,
				 enum dma_data_direction dir,
				 unsigned long attrs)
{
	return vg_op_map_phys(dev, page_to_phys(page) + offset, size, dir,
			      attrs);
}
#endif

/* Also serves as unmap_page: the arguments are the same. */
static void vg_op_unmap(struct device *dev, dma_addr_t handle, size_t size,
			enum dma_data_direction dir, unsigned long attrs)
{
	vg_dma_unmap(vg_dma_of(dev), 0, handle, size, dir, attrs);
}

static void vg_op_unmap_sg(struct device *dev, struct scatterlist *sgl,
			   int nents, enum dma_data_direction dir,
			   unsigned long attrs)
{
	struct vg_dma *dma = vg_dma_of(dev);
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		vg_dma_unmap(dma, sg_phys(sg), sg_dma_address(sg),
			     sg_dma_len(sg), dir, attrs);
}

static int vg_op_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
			enum dma_data_direction dir, unsigned long attrs)
{
	struct vg_dma *dma = vg_dma_of(dev);
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) {
		sg_dma_address(sg) =
			vg_dma_map(dma, sg_phys(sg), sg->length, dir, attrs);
		if (sg_dma_address(sg) == DMA_MAPPING_ERROR) {
			vg_op_unmap_sg(dev, sgl, i, dir,
				       attrs | DMA_ATTR_SKIP_CPU_SYNC);
			return -ENOMEM;
		}
		sg_dma_len(sg) = sg->length;
	}
	return nents;
}

static void vg_op_sync_for_cpu(struct device *dev, dma_addr_t handle,
			       size_t size, enum dma_data_direction dir)
{
	if (dir != DMA_TO_DEVICE)
		vg_dma_sync(vg_dma_of(dev), handle, size, true);
}

static void vg_op_sync_for_device(struct device *dev, dma_addr_t handle,
				  size_t size, enum dma_data_direction dir)
{
	if (dir != DMA_FROM_DEVICE)
		vg_dma_sync(vg_dma_of(dev), handle, size, false);
}

static void vg_op_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl,
				  int nents, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		vg_op_sync_for_cpu(dev, sg_dma_address(sg), sg_dma_len(sg),
				   dir);
}

static void vg_op_sync_sg_for_device(struct device *dev,
				     struct scatterlist *sgl, int nents,
				     enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		vg_op_sync_for_device(dev, sg_dma_address(sg), sg_dma_len(sg),
				      dir);
}

static int vg_op_dma_supported(struct device *dev, u64 mask)
{
	return mask == DMA_BIT_MASK(64);
}

static u64 vg_op_required_mask(struct device *dev)
{
	return DMA_BIT_MASK(64);
}

static size_t vg_op_max_mapping_size(struct device *dev)
{
	return VG_DMA_MAX_SIZE;
}

static const struct dma_map_ops vg_dma_ops = {
	.alloc = vg_op_alloc,
	.free = vg_op_free,
	.mmap = vg_op_mmap,
	.get_sgtable = vg_op_get_sgtable,
	.alloc_pages_op = vg_op_alloc_pages,
	.free_pages = vg_op_free_pages,
#ifdef VG_DMA_OPS_MAP_PHYS
	.map_phys = vg_op_map_phys,
	.unmap_phys = vg_op_unmap,
#else
	.map_page = vg_op_map_page,
	.unmap_page = vg_op_unmap,
#endif
	.map_sg = vg_op_map_sg,
	.unmap_sg = vg_op_unmap_sg,
	.sync_single_for_cpu = vg_op_sync_for_cpu,
	.sync_single_for_device = vg_op_sync_for_device,
	.sync_sg_for_cpu = vg_op_sync_sg_for_cpu,
	.sync_sg_for_device = vg_op_sync_sg_for_device,
	.dma_supported = vg_op_dma_supported,
	.get_required_mask = vg_op_required_mask,
	.max_mapping_size = vg_op_max_mapping_size,
};

/* ---- the device ---------------------------------------------------------- */

/**
 * vg_dma_init() - prepare a device's mappings
 * @dma: the mappings, zeroed
 * @dev: the device; its driver data becomes @dma
 * @fault: see struct vg_dma
 * @full: likewise
 *
 * Return: 0 or -ENOMEM; vg_dma_exit() is due in both cases.
 */
int vg_dma_init(struct vg_dma *dma, struct device *dev,
		void (*fault)(struct vg_dma *dma),
		void (*full)(struct vg_dma *dma))
{
	BUILD_BUG_ON(sizeof(dma_addr_t) < 8);
	dma->dev = dev;
	dma->fault = fault;
	dma->full = full;
	dma->asked = true;
	vg_pool_init(&dma->pool);
	vg_pool_init(&dma->bounce);
	INIT_LIST_HEAD(&dma->kept);
	spin_lock_init(&dma->kept_lock);
	dev_set_drvdata(dev, dma);
	dma->counts = alloc_percpu(struct vg_dma_counts);
	return dma->counts ? vg_refs_init(&dma->refs) : -ENOMEM;
}

/**
 * vg_dma_exit() - undo vg_dma_init()
 * @dma: the mappings; none are left
 */
void vg_dma_exit(struct vg_dma *dma)
{
	vg_dma_disconnect(dma);
	vg_refs_exit(&dma->refs);
	free_percpu(dma->counts);
}

/**
 * vg_dma_attach() - make these the DMA operations of the device
 * @dma: the mappings
 *
 * To be called again before queues are made: on a PV guest, a kernel with
 * CONFIG_XEN_VIRTIO puts its own operations, for a backend in domain 0, on
 * every virtio device's parent while it negotiates features.
 *
 * Return: 0 or a negative errno.
 */
int vg_dma_attach(struct vg_dma *dma)
{
	set_dma_ops(dma->dev, &vg_dma_ops);
	dma_set_max_seg_size(dma->dev, VG_DMA_MAX_SIZE);
	return dma_set_mask_and_coherent(dma->dev, DMA_BIT_MASK(64));
}

/**
 * vg_dma_connect() - grant to this backend from now on
 * @dma: the mappings
 * @domid: the backend's domain
 * @trusted: see struct vg_dma
 */
void vg_dma_connect(struct vg_dma *dma, domid_t domid, bool trusted)
{
	dma->domid = domid;
	dma->pool.domid = domid;
	dma->bounce.domid = domid;
	dma->trusted = trusted;
	WRITE_ONCE(dma->broken, false);
}

/**
 * vg_dma_make_pool() - replace the pools: there are no queues yet
 * @dma: the mappings
 * @pages: of the pool; 0: none
 * @threshold: see struct vg_dma
 *
 * Return: pages that the pool has.
 */
unsigned int vg_dma_make_pool(struct vg_dma *dma, unsigned int pages,
			      size_t threshold)
{
	/* After a resume, these are grants of a table that is no more. */
	vg_dma_disconnect(dma);
	dma->threshold = threshold;
	return pages ? vg_pool_make(&dma->pool, pages) : 0;
}

/**
 * vg_dma_disconnect() - take the pools back
 * @dma: the mappings; the backend has let go of them, or never will
 */
void vg_dma_disconnect(struct vg_dma *dma)
{
	vg_pool_free(&dma->pool);
	vg_pool_free(&dma->bounce);
}

/**
 * vg_dma_leave() - the driver is about to be removed
 * @dma: the mappings
 */
void vg_dma_leave(struct vg_dma *dma)
{
	WRITE_ONCE(dma->leaving, true);
}

/**
 * vg_dma_left() - the driver was removed, and has reset the device
 * @dma: the mappings
 *
 * A device that was not reset, for its backend is gone, may still have something:
 * that is left to Xen's code, as ever.
 */
void vg_dma_left(struct vg_dma *dma)
{
	struct vg_kept *kept, *next;
	unsigned long pfn;

	WRITE_ONCE(dma->leaving, false);
	list_for_each_entry_safe(kept, next, &dma->kept, list) {
		list_del(&kept->list);
		vg_revoke(dma, kept->addr, kept->size);
		for (pfn = PHYS_PFN(kept->phys);
		     pfn < XEN_PFN_UP(kept->phys + kept->size); pfn++)
			put_page(pfn_to_page(pfn));
		kfree(kept);
	}
}
