/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * record.h - what a worker's successor must know
 *
 * One file a device, below the runtime folder (tmpfs) or a sealed memfd. The supervisor makes it once
 * the worker has told of which shape its device is (VG_IPC_OPENED), and hands it over before the
 * device connects; so the file outlives the worker, and the supervisor. It holds
 *
 *  - the state of the virtio device and of the connection, in two copies of which `active` names the
 *    valid one: a worker killed while it writes leaves the other intact;
 *  - the configuration that the device was opened with;
 *  - counters, and the view that `vgrant list` shows;
 *  - an in-flight record for each queue (virtqueue.h), as large as its largest ring needs.
 *
 * It describes itself: its head tells where everything lies, how many there are and how large each
 * is. Who reads one of another shape, or of a program with larger or smaller structures, takes what
 * both have; the rest is zero. vg_record_make() turns such a file, and one of version 2, which did not
 * describe itself, into one of today's shape: a device lives on through an upgrade of vgrantd.
 *
 * The supervisor never maps it, for a worker is what a guest attacks first: it reads copies of numbers.
 */
#ifndef VG_RECORD_H
#define VG_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/limits.h"
#include "backend/ports/vhost_user/sigbus.h"
#include "backend/virtio/device.h"

#define VG_RECORD_SAVED_MAX (256u << 10) /* bytes of a device's own state */
#define VG_RECORD_OWED	    64u /* bytes of a control request: a slot of the control page */

/* What lays a record out; VG_IPC_OPENED tells it. */
struct vg_record_shape {
	uint32_t n_queues;		   /* 1 to VG_MAX_QUEUES */
	uint32_t saved_size;		   /* bytes, at most VG_RECORD_SAVED_MAX */
	uint32_t queue_max[VG_MAX_QUEUES]; /* each queue's largest ring, 1 to VG_VQ_SIZE_MAX */
};

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
	uint32_t lost_queues; /* set by the driver, and more than the record has room for now */
	/* A control request that was taken from the page and is not answered yet; 0 bytes: none. */
	uint32_t owed_len;
	uint8_t owed[VG_RECORD_OWED];
	struct vg_record_pool pool[VG_LIMIT_POOLS];
	struct vg_record_queue queue[VG_MAX_QUEUES];
	/* The device's own state. Of vg_record_read(): in the record itself, valid until the second
	 * vg_record_write() from then. */
	const void *saved;
	uint32_t saved_size; /* bytes */
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

/* ---- for the supervisor -------------------------------------------------- */

/* Copies. Nothing in it is believed: a worker that was taken over writes what it likes. */
struct vg_record_view {
	bool connected;
	uint32_t status;
	uint64_t features, offered;
	uint32_t n_queues;	     /* at most VG_MAX_QUEUES */
	struct vg_dev_stats stats;   /* of the device and all its queues */
	struct vg_hyper_stats hyper; /* of all its contexts */
	struct vg_dev_stats queue_stats[VG_MAX_QUEUES];
	struct vg_record_live live[VG_MAX_QUEUES];
	char spec[VG_PARAMS_LEN]; /* what the device was opened with; "": not known (version 2) */
};

/**
 * vg_record_peek - read what a record says, by pread(2)
 *
 * Return: 0; -ENODATA: no record is there; -EPROTO: what is there makes no sense; or negative errno.
 */
int vg_record_peek(int fd, struct vg_record_view *out);

/**
 * vg_record_make - a record of @shape in the file @name below the folder @dir
 * @spec: the configuration that the device was opened with
 * @fd: gets its descriptor, read-write and close-on-exec; the caller's
 *
 * A record that is there is kept: as it is when it has this shape; else its state, counters and
 * in-flight records are carried over into a new file, which takes its place. What is no record at all
 * is replaced by an empty one. All memory is there when it returns.
 *
 * Return: 0; -EBUSY: its file must be replaced, and another process has it open still; -ENOSPC: the
 * file system is full; or negative errno; all with a sentence.
 */
int vg_record_make(int dir, const char *name, const struct vg_record_shape *shape, const char *spec,
		   int *fd, struct vg_err *err);

/**
 * vg_record_held - has a process that is not ours the record @name below @dir open still?
 *
 * The worker of a vgrantd that was killed has, until its last I/O is done; the kernel lets go of a
 * process's files after its memory: what it mapped of a guest is unmapped by then.
 */
bool vg_record_held(int dir, const char *name);

/**
 * vg_record_make_memfd - the same in memory that has no name, which nobody can make shorter or longer
 * @fd: -1, or what this function returned before: it is kept, or carried over and closed
 */
int vg_record_make_memfd(const struct vg_record_shape *shape, const char *spec, int *fd,
			 struct vg_err *err);

/* ---- for the worker ------------------------------------------------------ */

struct vg_record_layout; /* private */

struct vg_record_map {
	uint8_t *base; /* NULL: not mapped */
	struct vg_record_layout *layout;
	size_t size; /* bytes */
	struct vg_sigbus_guard guard;
	bool hurt_told;
};

/** vg_record_shape_of - the shape of @dev's record */
void vg_record_shape_of(const struct vg_dev *dev, struct vg_record_shape *shape);

/**
 * vg_record_open - map the record in @fd, which must have @shape
 * @map: stays where it is until vg_record_close()
 *
 * Return: 0; -EPROTO: it has not; or negative errno.
 */
int vg_record_open(int fd, const struct vg_record_shape *shape, struct vg_record_map *map);
void vg_record_close(struct vg_record_map *map);

/** vg_record_read - the valid copy of the state */
void vg_record_read(const struct vg_record_map *map, struct vg_record_state *out);

/** vg_record_write - make @state the valid copy: all of it, or, if we die, nothing */
void vg_record_write(struct vg_record_map *map, const struct vg_record_state *state);

/* Where counters lie, for one writer each: the device's own; those of queue @q; those of context @c
 * (less than the number of queues); and what is shown of queue @q. */
struct vg_dev_stats *vg_record_stats(const struct vg_record_map *map);
struct vg_dev_stats *vg_record_queue_stats(const struct vg_record_map *map, unsigned q);
struct vg_hyper_stats *vg_record_hyper(const struct vg_record_map *map, unsigned c);
struct vg_record_live *vg_record_live(const struct vg_record_map *map, unsigned q);

/**
 * vg_record_show - bring up to date what lists show of @queue
 * @kicks: times that the driver notified
 *
 * In the queue's context.
 */
void vg_record_show(const struct vg_record_map *map, const struct vg_queue *queue, uint64_t kicks);

/** vg_record_offered - the feature bits that the device offers, for lists */
void vg_record_offered(const struct vg_record_map *map, uint64_t offered);

/** vg_record_inflight - the in-flight area of queue @q */
void *vg_record_inflight(const struct vg_record_map *map, unsigned q);

/** vg_record_fresh - zero the in-flight area of queue @q, for a ring that begins anew */
void vg_record_fresh(struct vg_record_map *map, unsigned q);

/** vg_dev_stats_add - @sum += @one, for lists */
void vg_dev_stats_add(struct vg_dev_stats *sum, const struct vg_dev_stats *one);

#endif /* VG_RECORD_H */
