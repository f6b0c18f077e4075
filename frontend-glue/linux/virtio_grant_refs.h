/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_refs.h - grant references of one device
 */
#ifndef VIRTIO_GRANT_REFS_H
#define VIRTIO_GRANT_REFS_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <xen/grant_table.h>

#include "virtio_grant_runs.h"

/**
 * struct vg_front - idle runs at one processor
 * @lock: of @runs; contended only while all devices give back
 * @runs: at most two batches of each length
 */
struct vg_front {
	spinlock_t lock; /* of runs */
	struct vg_runs runs;
};

/**
 * struct vg_refs - grant references of one device
 * @list: of all devices'
 * @front: for each processor
 * @lock: of @runs and @share; taken after a front's lock
 * @runs: idle ones that any processor may have
 * @share: how many the device may hold
 * @missed: runs that the kernel's own allocator had to find
 */
struct vg_refs {
	struct list_head list;
	struct vg_front __percpu *front;
	spinlock_t lock; /* of runs and share */
	struct vg_runs runs;
	struct vg_share share;
	atomic64_t missed;
};

int vg_refs_init(struct vg_refs *refs);
void vg_refs_exit(struct vg_refs *refs);
void vg_refs_fini(void);

int vg_refs_get(struct vg_refs *refs, unsigned int n, grant_ref_t *first);
void vg_refs_put(struct vg_refs *refs, unsigned int n, grant_ref_t first);
void vg_refs_lost(struct vg_refs *refs, unsigned int n);

#endif /* VIRTIO_GRANT_REFS_H */
