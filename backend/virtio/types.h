/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * types.h - what a virtqueue is made from and tells of itself (virtqueue.h)
 */
#ifndef VG_VIRTQUEUE_TYPES_H
#define VG_VIRTQUEUE_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/limits.h"

#define VG_VQ_SIZE_MAX 32768u /* VIRTIO 1.3, 2.7 and 2.8.10.1 */

/* Chains of more than a few segments that may be out at once; further ones wait in the ring. Bounds
 * a queue's memory: this many times VG_CHAIN_MAX segments of 16 bytes are 16 MiB. */
#define VG_VQ_LONG_MAX 1024u

/* Where a ring stands, as vhost-user's GET_VRING_BASE and an in-flight record tell it. */
struct vg_vq_state {
	uint16_t avail_idx; /* split: next available index; packed: next descriptor */
	uint16_t used_idx;
	bool avail_wrap; /* packed */
	bool used_wrap;	 /* packed */
};

#define VG_VQ_STATE_START                                                            \
	{                                                                            \
		.avail_idx = 0, .used_idx = 0, .avail_wrap = true, .used_wrap = true \
	}

struct vg_vq_config {
	uint32_t size;	    /* descriptors; split: a power of two */
	uint64_t desc;	    /* guest address of the descriptor area */
	uint64_t driver;    /* ... of the driver area: available ring or event suppression */
	uint64_t device;    /* ... of the device area: used ring or event suppression */
	uint64_t features;  /* negotiated; RING_PACKED, INDIRECT_DESC, EVENT_IDX, IN_ORDER count */
	uint32_t chain_max; /* segments of a chain, at most VG_CHAIN_MAX; 0: the size of the queue,
			     * which VIRTIO 2.7.5.3.1 asks of drivers. Linux's virtio-gpu and
			     * others exceed that through indirect tables. */
	struct vg_vq_state state; /* where to begin */
	bool used_from_ring; /* split: the used index is what the ring says, not @state's (vhost-user
			      * hands over the available index alone) */
	/* In-flight record of vg_vq_inflight_size() bytes, or NULL; stays the caller's. All zero:
	 * a fresh one. Otherwise the queue resumes from it, and @state is ignored where the record
	 * knows better. */
	void *inflight;
};

struct vg_vq_stats {
	uint64_t chains;	/* popped */
	uint64_t pops;		/* calls that found something */
	uint64_t used;		/* published */
	uint64_t notifications; /* that flush asked for */
	uint64_t suppressed;	/* that the driver did not want */
};

struct vg_vq; /* opaque */

#endif /* VG_VIRTQUEUE_TYPES_H */
