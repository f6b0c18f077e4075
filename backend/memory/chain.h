/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chain.h - a chain: what a driver made available as one request
 *
 * The ring engine makes it (virtio/virtqueue.h), the views of guest memory read
 * and write along it, the device decides what it means.
 */
#ifndef VG_CHAIN_H
#define VG_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

struct vg_seg {
	uint64_t addr; /* guest address */
	uint32_t len;  /* bytes, > 0 */
};

struct vg_chain {
	uint16_t id;	  /* head (split) or buffer id (packed) */
	uint16_t ndesc;	  /* ring descriptors it takes */
	uint16_t n_out;	  /* device-readable segments: segs[0] to segs[n_out - 1] */
	uint16_t n_in;	  /* device-writable segments: behind them */
	uint32_t out_len; /* bytes */
	uint32_t in_len;  /* bytes */
	int error; /* set by a failed copy of vg_chain_read() and the like; the device's to read */
	bool resubmitted; /* was popped by a predecessor that died */
	void *user;	  /* the device's own */
	struct vg_seg *segs;
};

#endif /* VG_CHAIN_H */
