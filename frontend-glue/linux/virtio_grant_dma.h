/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_dma.h - DMA addresses that are grants
 */
#ifndef VIRTIO_GRANT_DMA_H
#define VIRTIO_GRANT_DMA_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <xen/grant_table.h>

#include "virtio_grant_pool.h"

/* Longest buffer of one mapping, and the pages that it can touch. */
#define VG_DMA_MAX_SIZE (32 * XEN_PAGE_SIZE)
#define VG_RUN_MAX	33

/* References that a device keeps for itself; 32768 is what a guest has. */
#define VG_REFS_KEPT 1024

/**
 * struct vg_run_stack - free runs of consecutive grant references
 * @first: first references of the runs; @size entries
 * @n: runs on the stack
 * @size: room
 */
struct vg_run_stack {
	grant_ref_t *first;
	unsigned int n;
	unsigned int size;
};

/**
 * struct vg_dma - the mappings of one device
 * @dev: whose DMA operations these are
 * @domid: the backend's domain
 * @poison_status: fill small device-written buffers before the device does
 *	(virtio_msg_orphan.c)
 * @broken: the backend kept a buffer that it had given back
 * @fault: called once, in any context, when that is seen
 * @pool: where buffers go that need not be granted
 * @lock: of @run and @kept
 * @run: free runs by length; run[0] has those of one reference
 * @kept: references in all of @run
 * @granted: buffers that were granted by themselves, since the device is there
 * @memory: of all stacks
 */
struct vg_dma {
	struct device *dev;
	domid_t domid;
	bool poison_status;
	bool broken;
	void (*fault)(struct vg_dma *dma);
	struct vg_pool pool;
	spinlock_t lock;
	struct vg_run_stack run[VG_RUN_MAX];
	unsigned int kept;
	atomic64_t granted;
	grant_ref_t *memory;
};

int vg_dma_init(struct vg_dma *dma, struct device *dev,
		void (*fault)(struct vg_dma *dma));
void vg_dma_exit(struct vg_dma *dma);
int vg_dma_attach(struct vg_dma *dma);

/* The bus knows which device has which mappings. */
struct vg_dma *vg_dma_of(struct device *dev);

#endif /* VIRTIO_GRANT_DMA_H */
