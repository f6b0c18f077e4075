/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * record.h - what a worker's successor must know
 *
 * One file a device below the runtime folder (tmpfs), made by the supervisor,
 * mapped by both: it outlives the worker and the supervisor. It holds
 *
 *  - the state of the virtio device and of the connection, in two copies of
 *    which `active` names the valid one: a worker killed while it writes leaves
 *    the other intact;
 *  - counters, and the view that `vgrant list` shows;
 *  - an in-flight record for each queue (virtqueue.h).
 *
 * The supervisor only reads, and believes nothing but numbers: a worker is what
 * a guest attacks first.
 */
#ifndef VG_RECORD_H
#define VG_RECORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/virtio/device.h"
#include "backend/base/limits.h"

#define VG_RECORD_MAGIC	  0x56475245434f5244ULL /* "VGRECORD" */
#define VG_RECORD_VERSION 2u

struct vg_record_queue {
	uint32_t size;	  /* 0: not set */
	uint32_t channel; /* the guest's event-channel port; 0: none */
	uint64_t desc, driver, device;
};

struct vg_record_pool {
	uint32_t first_ref, pages;
};

struct vg_record_state {
	uint32_t connected; /* control_ref and control_channel are valid */
	uint32_t control_ref;
	uint32_t control_channel;
	uint32_t status;
	uint64_t features; /* as the driver wrote them */
	uint32_t generation;
	uint32_t n_pools;
	struct vg_record_pool pool[VG_LIMIT_POOLS];
	uint8_t saved[VG_DEV_SAVED];
	struct vg_record_queue queue[VG_MAX_QUEUES];
};

/* What `vgrant list` shows of a queue. */
struct vg_record_live {
	uint32_t size;
	uint32_t running;
	uint32_t inflight;
	uint32_t packed;
	uint64_t kicks; /* of this worker */
	struct vg_vq_stats stats;
};

struct vg_record {
	uint64_t magic;
	uint32_t version;
	uint32_t queue_size_max; /* what the in-flight areas were laid out for */
	_Atomic uint32_t active; /* 0 or 1: index into state */
	uint32_t reserved;
	struct vg_record_state state[2];
	uint64_t offered; /* feature bits */
	struct vg_dev_stats stats;
	struct vg_hyper_stats hyper;
	struct vg_record_live live[VG_MAX_QUEUES];
};

struct vg_record_map {
	struct vg_record *rec;
	size_t size; /* bytes mapped */
};

/**
 * vg_record_open - map the record in @fd
 * @queue_size_max: lays out the in-flight areas; 0: map the header only (the supervisor)
 *
 * A file that is empty, or not a record of this version and layout, becomes a fresh one.
 * Return: 0, or negative errno.
 */
int vg_record_open(int fd, uint32_t queue_size_max, struct vg_record_map *map);
void vg_record_close(struct vg_record_map *map);

/** vg_record_read - the valid copy of the state */
const struct vg_record_state *vg_record_read(const struct vg_record_map *map);

/** vg_record_write - make @state the valid copy: all of it, or, if we die, nothing */
void vg_record_write(struct vg_record_map *map, const struct vg_record_state *state);

/** vg_record_inflight - the in-flight area of queue @q */
void *vg_record_inflight(const struct vg_record_map *map, unsigned q);

/** vg_record_fresh - zero the in-flight area of queue @q, for a ring that begins anew */
void vg_record_fresh(struct vg_record_map *map, unsigned q);

#endif /* VG_RECORD_H */
