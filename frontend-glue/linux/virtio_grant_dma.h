/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_dma.h - DMA addresses that are grants
 */
#ifndef VIRTIO_GRANT_DMA_H
#define VIRTIO_GRANT_DMA_H

#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <xen/grant_table.h>

#include "virtio_grant_pool.h"
#include "virtio_grant_refs.h"

/* Longest buffer of one mapping that is fast; it touches VG_RUN_MAX pages. Longer
 * ones work, but their references are asked of the kernel each time.
 */
#define VG_DMA_MAX_SIZE (32 * XEN_PAGE_SIZE)

/**
 * struct vg_dma_counts - what one processor counted
 * @granted: buffers that were granted by themselves
 * @pooled: buffers that were put into the pool
 * @pool_full: buffers for which there was no room in it
 * @bounced: buffers whose copies were granted, to protect what lies beside them
 * @bounce_full: buffers that could not be mapped, for lack of room for that
 */
struct vg_dma_counts {
	u64 granted;
	u64 pooled;
	u64 pool_full;
	u64 bounced;
	u64 bounce_full;
};

/**
 * struct vg_dma - the mappings of one device
 * @dev: whose DMA operations these are
 * @domid: the backend's domain
 * @trusted: the backend may see what lies beside a buffer in its pages
 * @poison_status: fill small device-written buffers before the device does
 *	(virtio_msg_orphan.c)
 * @broken: the backend kept a buffer that it had given back
 * @fault: called once, in any context, when that is seen
 * @pool: where small buffers go that need not be granted
 * @full: called, in any context, when a buffer found no room there
 * @asked: it was called, and nobody wants to hear it again
 * @threshold: largest buffer that goes there, bytes
 * @bounce: where buffers go that must not be granted
 * @refs: grant references
 * @lasting: mappings that go both ways: drivers keep them across a suspend
 * @leaving: a driver is being removed, which may not have reset the device yet
 * @kept: mappings that it ended meanwhile, for vg_dma_left() to end
 * @kept_lock: of @kept
 * @counts: for each processor, since the device is there
 */
struct vg_dma {
	struct device *dev;
	domid_t domid;
	bool trusted;
	bool poison_status;
	bool broken;
	void (*fault)(struct vg_dma *dma);
	struct vg_pool pool;
	void (*full)(struct vg_dma *dma);
	bool asked;
	size_t threshold;
	struct vg_pool bounce;
	struct vg_refs refs;
	atomic_t lasting;
	bool leaving;
	struct list_head kept;
	spinlock_t kept_lock; /* of kept */
	struct vg_dma_counts __percpu *counts;
};

int vg_dma_init(struct vg_dma *dma, struct device *dev,
		void (*fault)(struct vg_dma *dma),
		void (*full)(struct vg_dma *dma));
void vg_dma_exit(struct vg_dma *dma);
int vg_dma_attach(struct vg_dma *dma);
void vg_dma_connect(struct vg_dma *dma, domid_t domid, bool trusted);
unsigned int vg_dma_make_pool(struct vg_dma *dma, unsigned int pages,
			      size_t threshold);
void vg_dma_disconnect(struct vg_dma *dma);
void vg_dma_leave(struct vg_dma *dma);
void vg_dma_left(struct vg_dma *dma);

#endif /* VIRTIO_GRANT_DMA_H */
