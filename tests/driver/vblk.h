/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vblk.h - virtio-blk requests on a driver-side queue
 *
 * Theory of operation
 * -------------------
 * VIRTIO 1.3 section 5.2.6: a request is a 16-byte header that the device
 * reads, data one way or the other, and a status byte that it writes. A
 * struct vblk makes such chains on one queue, with memory from any allocator
 * of vring.h, so that the same code drives a device through the virtio-grant
 * transport (drv_queue) and a bare engine in a unit test.
 *
 * Simple calls (drv_blk_read() ...) are synchronous. For depth, submit with
 * drv_blk_submit(), publish with the queue's kick, and reap.
 */
#ifndef DRV_VBLK_H
#define DRV_VBLK_H

#include <linux/virtio_blk.h>

#include "tests/driver/vring.h"

#define DRV_SECTOR	512u
#define DRV_BLK_MAX_SEG 64u

/** struct drv_blk_req - a request; the caller's until submitted, again after reaping */
struct drv_blk_req {
	uint32_t type; /* VIRTIO_BLK_T_* or anything */
	uint64_t sector;
	struct drv_seg seg[DRV_BLK_MAX_SEG]; /* data */
	unsigned int segs;
	bool dev_writes;	/* direction of the data */
	unsigned int add_flags; /* DRV_ADD_* */
	void *user;		/* the caller's */

	/* set by drv_blk_*() */
	struct drv_buf hdr; /* header, and status byte behind it */
	uint8_t *status;    /* in hdr */
	uint32_t used_len;
	int result; /* 0, -EIO, -EOPNOTSUPP, -EPROTO, -EBUSY: grant still mapped */
};

/** struct drv_blk - requests on one queue */
struct drv_blk {
	struct drv_vring *vr;
	struct drv_mem *mem; /* headers and bounce buffers */
	/* kick: publish and notify; wait: for one used chain. For drv_queue: drv_blk_queue() */
	void (*kick)(void *ctx);
	int (*wait)(void *ctx, struct drv_used *used);
	void *ctx;
};

struct drv_queue;

/** drv_blk_queue() - set @b up on a queue of a virtio-grant device (vgrant_driver.h) */
void drv_blk_queue(struct drv_blk *b, struct drv_queue *q, struct drv_mem *mem);

/**
 * drv_blk_submit() - add a request; it is not published
 *
 * Return: 0, -ENOSPC when the ring is full, -ENOMEM.
 */
int drv_blk_submit(struct drv_blk *b, struct drv_blk_req *req);

/** drv_blk_finish() - evaluate a chain that came back; Return: the request */
struct drv_blk_req *drv_blk_finish(struct drv_blk *b, const struct drv_used *used);

/** drv_blk_do() - submit, kick, wait, finish; Return: the request's result */
int drv_blk_do(struct drv_blk *b, struct drv_blk_req *req);

/**
 * drv_blk_read() - read sectors into a private buffer, through a bounce buffer
 * @len: bytes
 *
 * Return: 0, -EIO if the device said so, -EBUSY if it left the grant mapped.
 */
int drv_blk_read(struct drv_blk *b, uint64_t sector, void *data, size_t len);

/** drv_blk_write() - the same, the other way */
int drv_blk_write(struct drv_blk *b, uint64_t sector, const void *data, size_t len);

/** drv_blk_flush() - VIRTIO_BLK_T_FLUSH */
int drv_blk_flush(struct drv_blk *b);

/** drv_blk_get_id() - VIRTIO_BLK_T_GET_ID; @id: 20 bytes and a NUL */
int drv_blk_get_id(struct drv_blk *b, char id[21]);

/** drv_blk_discard() - VIRTIO_BLK_T_DISCARD of one range, in sectors */
int drv_blk_discard(struct drv_blk *b, uint64_t sector, uint32_t sectors);

/** drv_blk_write_zeroes() - VIRTIO_BLK_T_WRITE_ZEROES of one range */
int drv_blk_write_zeroes(struct drv_blk *b, uint64_t sector, uint32_t sectors, bool unmap);

#endif /* DRV_VBLK_H */
