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
 * Grant references. The kernel's allocator has one lock for the guest, and for
 * consecutive references it may walk the whole table under that lock. A
 * device's buffers come in few lengths, over and over, so each device keeps
 * the runs that it has used, on one stack for each length, up to VG_REFS_KEPT
 * references together: in steady state, a mapping takes a run from a stack
 * and its end puts it back.
 *
 * A backend that still has a page mapped when it has given the buffer back
 * breaks the protocol. The page cannot be taken back, so the reference is
 * never used again, and the device is broken.
 *
 * Buffers may also go into a pool of pages that were granted once; vg_dma_map()
 * decides, and virtio_grant_pool.c does it. Rings never do.
 */
#include <linux/dma-map-ops.h>
#include <linux/highmem.h>
#include <linux/mm.h>
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

/* ---- grant references ---------------------------------------------------- */

/**
 * vg_refs_drop() - give all references that are kept back to the kernel
 * @dma: the device's mappings
 */
static void vg_refs_drop(struct vg_dma *dma)
{
	unsigned long flags;
	grant_ref_t first;
	unsigned int i;

	spin_lock_irqsave(&dma->lock, flags);
	for (i = 0; i < VG_RUN_MAX; i++) {
		while (dma->run[i].n) {
			first = dma->run[i].first[--dma->run[i].n];
			gnttab_free_grant_reference_seq(first, i + 1);
		}
	}
	dma->kept = 0;
	spin_unlock_irqrestore(&dma->lock, flags);
}

/**
 * vg_refs_get() - get consecutive grant references
 * @dma: the device's mappings
 * @n: how many, at least 1
 * @first: receives the first one
 *
 * Return: 0, or a negative errno when the guest has no such run left.
 */
static int vg_refs_get(struct vg_dma *dma, unsigned int n, grant_ref_t *first)
{
	struct vg_run_stack *s;
	unsigned long flags;
	bool found = false;

	if (n <= VG_RUN_MAX) {
		s = &dma->run[n - 1];
		spin_lock_irqsave(&dma->lock, flags);
		if (s->n) {
			*first = s->first[--s->n];
			dma->kept -= n;
			found = true;
		}
		spin_unlock_irqrestore(&dma->lock, flags);
	}
	if (found || !gnttab_alloc_grant_reference_seq(n, first))
		return 0;

	/* Perhaps what is kept in other lengths makes room. */
	vg_refs_drop(dma);
	return gnttab_alloc_grant_reference_seq(n, first);
}

/**
 * vg_refs_put() - give references back
 * @dma: the device's mappings
 * @n: how many
 * @first: the first one; access has ended for all of them
 */
static void vg_refs_put(struct vg_dma *dma, unsigned int n, grant_ref_t first)
{
	struct vg_run_stack *s;
	unsigned long flags;
	bool kept = false;

	if (n <= VG_RUN_MAX) {
		s = &dma->run[n - 1];
		spin_lock_irqsave(&dma->lock, flags);
		if (s->n < s->size && dma->kept + n <= VG_REFS_KEPT) {
			s->first[s->n++] = first;
			dma->kept += n;
			kept = true;
		}
		spin_unlock_irqrestore(&dma->lock, flags);
	}
	if (!kept)
		gnttab_free_grant_reference_seq(first, n);
}

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

	if (vg_refs_get(dma, n, &first))
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
 * Return: false when the backend still has some of it mapped; then the memory
 * must not be thought private.
 */
static bool vg_revoke(struct vg_dma *dma, dma_addr_t addr, size_t size)
{
	unsigned int offset = addr & (VIRTIO_GRANT_PAGE_SIZE - 1);
	unsigned int i, n = max(1UL, XEN_PFN_UP(offset + size));
	grant_ref_t first = (addr & ~VIRTIO_GRANT_ADDR_FLAG) >>
			    VIRTIO_GRANT_PAGE_SHIFT;
	unsigned int in_use = 0;

	for (i = 0; i < n; i++)
		if (unlikely(!gnttab_end_foreign_access_ref(first + i)))
			in_use++;
	if (likely(!in_use)) {
		vg_refs_put(dma, n, first);
		return true;
	}

	if (!xchg(&dma->broken, true)) {
		dev_alert(
			dma->dev,
			"Grant still in use by backend domain %u (%u of %u from reference %u), device disabled\n",
			dma->domid, in_use, n, first);
		dma->fault(dma);
	}
	return false;
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

/**
 * vg_dma_map() - let the device at a buffer
 * @dma: the device's mappings
 * @phys: of the buffer
 * @size: bytes
 * @dir: who writes
 * @attrs: DMA_ATTR_*
 *
 * Return: the address for the device, or DMA_MAPPING_ERROR.
 */
static dma_addr_t vg_dma_map(struct vg_dma *dma, phys_addr_t phys, size_t size,
			     enum dma_data_direction dir, unsigned long attrs)
{
	dma_addr_t addr;

	if (unlikely(READ_ONCE(dma->broken) || attrs & DMA_ATTR_MMIO))
		return DMA_MAPPING_ERROR;

	if (dma->poison_status && dir == DMA_FROM_DEVICE &&
	    size <= VG_POISON_MAX)
		vg_dma_poison(phys, size);

	if (vg_pool_map(&dma->pool, phys, size, &addr))
		return addr;
	atomic64_inc(&dma->granted);
	return vg_grant(dma, phys, size, dir == DMA_TO_DEVICE);
}

/**
 * vg_dma_unmap() - take a buffer back from the device
 * @dma: the device's mappings
 * @addr: what vg_dma_map() returned
 * @size: as there
 * @dir: as there
 * @attrs: DMA_ATTR_*
 */
static void vg_dma_unmap(struct vg_dma *dma, dma_addr_t addr, size_t size,
			 enum dma_data_direction dir, unsigned long attrs)
{
	bool copy = dir != DMA_TO_DEVICE && !(attrs & DMA_ATTR_SKIP_CPU_SYNC);

	if (!vg_pool_unmap(&dma->pool, addr, size, copy))
		vg_revoke(dma, addr, size);
}

/* ---- DMA operations ------------------------------------------------------ */

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
	/* Memory that the backend still has must never be used again. */
	if (vg_revoke(vg_dma_of(dev), handle, size))
		free_pages_exact(mem, size);
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
	vg_dma_unmap(vg_dma_of(dev), handle, size, dir, attrs);
}

static void vg_op_unmap_sg(struct device *dev, struct scatterlist *sgl,
			   int nents, enum dma_data_direction dir,
			   unsigned long attrs)
{
	struct vg_dma *dma = vg_dma_of(dev);
	struct scatterlist *sg;
	int i;

	for_each_sg (sgl, sg, nents, i)
		vg_dma_unmap(dma, sg_dma_address(sg), sg_dma_len(sg), dir,
			     attrs);
}

static int vg_op_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
			enum dma_data_direction dir, unsigned long attrs)
{
	struct vg_dma *dma = vg_dma_of(dev);
	struct scatterlist *sg;
	int i;

	for_each_sg (sgl, sg, nents, i) {
		sg_dma_address(sg) =
			vg_dma_map(dma, sg_phys(sg), sg->length, dir, attrs);
		if (sg_dma_address(sg) == DMA_MAPPING_ERROR) {
			vg_op_unmap_sg(dev, sgl, i, dir,
				       attrs | DMA_ATTR_SKIP_CPU_SYNC);
			return -EIO;
		}
		sg_dma_len(sg) = sg->length;
	}
	return nents;
}

static void vg_op_sync_for_cpu(struct device *dev, dma_addr_t handle,
			       size_t size, enum dma_data_direction dir)
{
	if (dir != DMA_TO_DEVICE)
		vg_pool_sync(&vg_dma_of(dev)->pool, handle, size, true);
}

static void vg_op_sync_for_device(struct device *dev, dma_addr_t handle,
				  size_t size, enum dma_data_direction dir)
{
	vg_pool_sync(&vg_dma_of(dev)->pool, handle, size, false);
}

static void vg_op_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl,
				  int nents, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg (sgl, sg, nents, i)
		vg_op_sync_for_cpu(dev, sg_dma_address(sg), sg_dma_len(sg),
				   dir);
}

static void vg_op_sync_sg_for_device(struct device *dev,
				     struct scatterlist *sgl, int nents,
				     enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sg (sgl, sg, nents, i)
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
 * @dev: the device
 * @fault: see struct vg_dma
 *
 * Return: 0 or -ENOMEM.
 */
int vg_dma_init(struct vg_dma *dma, struct device *dev,
		void (*fault)(struct vg_dma *dma))
{
	unsigned int i, total = 0;

	dma->dev = dev;
	dma->fault = fault;
	spin_lock_init(&dma->lock);
	vg_pool_init(&dma->pool);
	for (i = 0; i < VG_RUN_MAX; i++) {
		dma->run[i].size = max(4u, VG_REFS_KEPT / (i + 1));
		total += dma->run[i].size;
	}
	dma->memory = kvcalloc(total, sizeof(*dma->memory), GFP_KERNEL);
	if (!dma->memory)
		return -ENOMEM;
	for (i = 0, total = 0; i < VG_RUN_MAX; i++) {
		dma->run[i].first = dma->memory + total;
		total += dma->run[i].size;
	}
	return 0;
}

/**
 * vg_dma_exit() - undo vg_dma_init()
 * @dma: the mappings; none are left
 */
void vg_dma_exit(struct vg_dma *dma)
{
	if (dma->memory)
		vg_refs_drop(dma);
	kvfree(dma->memory);
	dma->memory = NULL;
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
	return dma_set_mask_and_coherent(dma->dev, DMA_BIT_MASK(64));
}
