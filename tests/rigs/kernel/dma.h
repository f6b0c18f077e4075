// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dma.h - as much of Linux' DMA interface as the guest's mappings need
 *
 * virtio_grant_dma.c is compiled with this in a test (tests/unit/test_module.c). An address of
 * memory is its physical address, and a struct page is the number of its page. The test says which
 * pages belong to the slab allocator.
 */
#ifndef KERNEL_DMA_H
#define KERNEL_DMA_H

#include "core.h"

#define likely(c)   (c)
#define unlikely(c) (c)
#define xchg(p, v)                            \
	__extension__({                       \
		__typeof__(*(p)) was_ = *(p); \
		*(p) = (v);                   \
		was_;                         \
	})
#define BUILD_BUG_ON(c)	    _Static_assert(!(c), #c)
#define dev_alert(dev, ...) fake_say(dev, __VA_ARGS__)
typedef struct {
	int v;
} atomic_t;
#define atomic_inc(a)		((a)->v++)
#define atomic_dec(a)		((a)->v--)
#define atomic_read(a)		((a)->v)
#define ATOMIC_INIT(n)		((atomic_t){ n })
#define atomic_add_return(n, a) ((a)->v += (n))
#define atomic_sub(n, a)	((a)->v -= (n))

/* ---- pages -------------------------------------------------------------------- */

struct page;
struct folio;
#define PAGE_SHIFT	12
#define PAGE_ALIGN(n)	(((n) + 4095) & ~4095ul)
#define XEN_PFN_UP(n)	(((n) + 4095ul) >> 12)
#define XEN_PFN_DOWN(n) ((unsigned long)((n) >> 12))
#define pfn_to_gfn(pfn) (pfn)
#undef pfn_to_page
#define pfn_to_page(pfn)	  ((struct page *)(uintptr_t)(pfn))
#define page_to_phys(page)	  ((phys_addr_t)(uintptr_t)(page) << 12)
#define virt_to_phys(p)		  ((phys_addr_t)(uintptr_t)(p))
#define virt_to_page(p)		  pfn_to_page((uintptr_t)(p) >> 12)
#define page_to_virt(page)	  ((void *)((uintptr_t)(page) << 12))
#define page_folio(page)	  ((struct folio *)(page))
#define is_zone_device_page(page) ((void)(page), false)
#define folio_ref_count(folio)	  ((void)(folio), 1)
bool folio_test_slab(const struct folio *folio);
void get_page(struct page *page);
void put_page(struct page *page);

/* ---- the interface ---------------------------------------------------------------- */

enum dma_data_direction { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE };
#define DMA_ATTR_SKIP_CPU_SYNC 32ul
#define DMA_ATTR_MMIO	       1024ul
#define DMA_MAPPING_ERROR      (~(dma_addr_t)0)
#define DMA_BIT_MASK(n)	       ((n) == 64 ? ~0ull : (1ull << (n)) - 1)
struct scatterlist {
	phys_addr_t phys;
	unsigned int length, dma_length;
	dma_addr_t dma_address;
};
struct sg_table {
	struct scatterlist *sgl;
};
#define for_each_sg(list, sg, n, i) for ((i) = 0, (sg) = (list); (i) < (n); (i)++, (sg)++)
#define sg_phys(sg)		    ((sg)->phys)
#define sg_dma_address(sg)	    ((sg)->dma_address)
#define sg_dma_len(sg)		    ((sg)->dma_length)
#define sg_alloc_table(t, n, gfp)   ((void)(t), (void)(gfp), -ENOMEM)
#define sg_set_page(sg, page, n, o) ((void)(sg))
typedef unsigned long pgprot_t;
struct vm_area_struct {
	unsigned long vm_pgoff, vm_start, vm_end;
	pgprot_t vm_page_prot;
};
#define vma_pages(v)				   (((v)->vm_end - (v)->vm_start) >> 12)
#define remap_pfn_range(v, start, pfn, size, prot) ((void)(v), (void)(pfn), 0)

struct dma_map_ops {
	void *(*alloc)(struct device *dev, size_t size, dma_addr_t *handle, gfp_t gfp,
		       unsigned long attrs);
	void (*free)(struct device *dev, size_t size, void *mem, dma_addr_t handle,
		     unsigned long attrs);
	int (*mmap)(struct device *dev, struct vm_area_struct *vma, void *mem, dma_addr_t handle,
		    size_t size, unsigned long attrs);
	int (*get_sgtable)(struct device *dev, struct sg_table *table, void *mem, dma_addr_t handle,
			   size_t size, unsigned long attrs);
	struct page *(*alloc_pages_op)(struct device *dev, size_t size, dma_addr_t *handle,
				       enum dma_data_direction dir, gfp_t gfp);
	void (*free_pages)(struct device *dev, size_t size, struct page *page, dma_addr_t handle,
			   enum dma_data_direction dir);
	dma_addr_t (*map_page)(struct device *dev, struct page *page, unsigned long offset,
			       size_t size, enum dma_data_direction dir, unsigned long attrs);
	void (*unmap_page)(struct device *dev, dma_addr_t handle, size_t size,
			   enum dma_data_direction dir, unsigned long attrs);
	int (*map_sg)(struct device *dev, struct scatterlist *sg, int n,
		      enum dma_data_direction dir, unsigned long attrs);
	void (*unmap_sg)(struct device *dev, struct scatterlist *sg, int n,
			 enum dma_data_direction dir, unsigned long attrs);
	void (*sync_single_for_cpu)(struct device *dev, dma_addr_t handle, size_t size,
				    enum dma_data_direction dir);
	void (*sync_single_for_device)(struct device *dev, dma_addr_t handle, size_t size,
				       enum dma_data_direction dir);
	void (*sync_sg_for_cpu)(struct device *dev, struct scatterlist *sg, int n,
				enum dma_data_direction dir);
	void (*sync_sg_for_device)(struct device *dev, struct scatterlist *sg, int n,
				   enum dma_data_direction dir);
	int (*dma_supported)(struct device *dev, u64 mask);
	u64 (*get_required_mask)(struct device *dev);
	size_t (*max_mapping_size)(struct device *dev);
};
#define dev_set_drvdata(dev, p) ((dev)->data = (p))
#define dev_get_drvdata(dev)	((dev)->data)
#define set_dma_ops(dev, o)	((dev)->dma_ops = (o))
/* Both warn, or fail, of a device that has no place for it. */
#define dma_set_max_seg_size(dev, n) \
	(assert_non_null((dev)->dma_parms), (dev)->dma_parms->max_segment_size = (n))
#define dma_set_mask_and_coherent(dev, m) \
	(assert_non_null((dev)->dma_mask), *(dev)->dma_mask = (m), 0)

#endif /* KERNEL_DMA_H */
