/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - what blk.c (the device), queue.c (a turn of a queue) and request.c
 * (one request) share; nobody else includes it. limit.c: how much a guest may do.
 * zones.c: requests to a disk that has zones
 */
#ifndef VG_BLK_INT_H
#define VG_BLK_INT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/devices/blk/config.h"
#include "backend/devices/blk/limit.h"
#include "backend/images/image.h"
#include "backend/memory/data.h"
#include "backend/virtio/device.h"
#include "backend/virtio/pace.h"

enum {
	SECTOR = 512, /* unit of all sector numbers, 5.2.4 */
};

struct blk_queue;

struct blk_req {
	struct vg_image_req io;
	struct blk_queue *bq;
	struct blk_req *next; /* free list, or done list */
	struct vg_chain *chain;
	struct virtio_blk_outhdr hdr; /* as the guest wrote it, copied once */
	struct virtio_blk_discard_write_zeroes range;
	struct vg_data data;
	bool has_data;
	bool decided;			/* its status is known: on the done list */
	uint32_t type;			/* VIRTIO_BLK_T_* */
	uint64_t offset;		/* bytes, of the image */
	size_t len;			/* bytes of data */
	uint8_t status;			/* VIRTIO_BLK_S_* */
	uint8_t failure;		/* enum vg_dev_failure, when that is an error */
	int64_t taken;			/* ns: when it was */
	union {				/* what the guest learns beside data, little-endian */
		uint64_t append_sector; /* of ZONE_APPEND: where it was written */
		uint16_t life[3];	/* of GET_LIFETIME: struct blk_lifetime */
	};
};

struct blk_queue {
	struct vg_dev *dev;
	struct blk *blk;
	unsigned q;
	struct blk_req *reqs; /* one for each descriptor: a chain takes at least one */
	struct blk_req *free;
	struct blk_req *done, **done_tail;
	struct vg_deferred complete;
	struct vg_image_channel disk;
	unsigned inflight;	/* given to the disk */
	struct vg_batch *batch; /* of the running turn: never kept over a turn */
	bool stopping;
	bool stopped; /* nothing of it is under way, and its memory is given back */
	bool starved; /* bounce memory, or the engine's room for long chains, ran out */
	struct vg_bounce_waiter waiter;
	unsigned n_done; /* on the done list */
	struct vg_pace pace;
	int64_t gather_until;  /* requests in the ring are taken by then, ns; 0: at once */
	int64_t hold_until;    /* the driver is told by then of what is done; 0: nothing waits */
	struct vg_timer timer; /* runs while something waits */
	int64_t timer_at;
	struct vg_timer paid; /* runs while the limits forbid to take more */
	bool unsynced;	      /* the disk has done what no FLUSH has been asked for since */
	struct vg_image_req sync;
};

struct blk {
	struct vg_image *img;
	struct blk_config config; /* as the guest reads it; but for writeback */
	char serial[VIRTIO_BLK_ID_BYTES];
	atomic_bool write_through; /* set by the main context, read by all */
	size_t map_from;	   /* bytes; see struct vg_mem */
	bool cache_is_through;	   /* the driver is offered no FLUSH */
	bool flush_is_nothing;	   /* it is answered at once */
	bool wait_is_set;	   /* by the user */
	int64_t wait_ns;	   /* 0: never wait */
	bool untold,
		asked; /* the image has grown: the guest is not told; the supervisor was asked */
	struct blk_limits own;
	bool has_limits;		     /* its configuration says some */
	atomic_ulong limited[VG_MAX_QUEUES]; /* times that a queue had to wait for them */
	_Atomic(struct blk_limits *) limits; /* its own, or the group's */
	char *target;			     /* as the user says it */
	struct {
		atomic_int error;     /* positive errno, of the disk below; 0: none yet */
		_Atomic int64_t when; /* ns */
	} last_error[VG_MAX_QUEUES];
	struct vg_ratelimit io_errors[VG_MAX_QUEUES]; /* a queue's, over its resets */
	struct blk_queue queue[VG_MAX_QUEUES];
};
/* ---- request.c ---------------------------------------------------------- */

/** blk_req_get - a free request of @bq, for @c; there is one for each chain that can be popped */
struct blk_req *blk_req_get(struct blk_queue *bq, struct vg_chain *c);
void blk_req_put(struct blk_req *r);

/** blk_req_done - it is decided; what the guest must see is copied at the end of the turn */
void blk_req_done(struct blk_req *r, uint8_t status);

/**
 * blk_req_parse - decide on the copied header, and make data available
 *
 * Return: 0, or -ENOBUFS: put the chain back and go on later.
 */
int blk_req_parse(struct blk_req *r, struct vg_batch *batch);

/** blk_req_submit - give it to the disk */
void blk_req_submit(struct blk_req *r);

/** blk_req_io_done - the disk has done it */
void blk_req_io_done(struct vg_image_req *io, int error);

/** blk_req_written - bytes written to the device-writable part, for the used ring (2.7.8) */
uint32_t blk_req_written(const struct blk_req *r);

/** blk_req_put_status - queue copying its status byte to the guest */
void blk_req_put_status(struct blk_req *r, struct vg_batch *batch);

/** blk_req_count - count what completed, at @now */
void blk_req_count(struct blk_req *r, int64_t now);

/**
 * blk_req_range_ok - is it inside of the image?
 * @sector: of 512 bytes; @len: bytes
 */
bool blk_req_range_ok(const struct blk *blk, uint64_t sector, uint64_t len);

/** blk_req_take_data - make @r->len bytes of data at @off of that part available. Return: as parse */
int blk_req_take_data(struct blk_req *r, struct vg_batch *batch, enum vg_dir dir, size_t off);

/* ---- zones.c ------------------------------------------------------------ */

/** blk_zones_config - what of the configuration is about zones */
void blk_zones_config(struct blk *blk);

/** blk_zones_parse - as blk_req_parse(), of a request to zones */
int blk_zones_parse(struct blk_req *r, struct vg_batch *batch);

/** blk_zones_submit - what the disk is told: @io gets all but offset and length */
void blk_zones_submit(struct blk_req *r, struct vg_image_req *io);

/** blk_zones_status - the status of an error that is about zones; 0: it is not */
uint8_t blk_zones_status(const struct blk_req *r, int error);

/** blk_zones_answer - @r is done, without an error: queue what the guest learns of it beside data */
void blk_zones_answer(struct blk_req *r, struct vg_batch *batch);

/* ---- queue.c ------------------------------------------------------------ */

/* As struct vg_device_ops has them. */
void blk_queue_ready(struct vg_dev *dev, unsigned q);
void blk_start_queue(struct vg_dev *dev, unsigned q);
void blk_stop_queue(struct vg_dev *dev, unsigned q);

#endif /* VG_BLK_INT_H */
