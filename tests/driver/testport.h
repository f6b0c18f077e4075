/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * testport.h - a port like any other, for tests of devices
 *
 * A device under test, opened from its configuration as a user writes it, with
 * a driver beside it in the same thread. Memory is one flat region, in one of
 * three manners:
 *
 *	TP_DIRECT	the device works on it in place, as over vhost-user
 *	TP_COPY		nothing is direct: all data is copied and bounced, as over grants; what
 *			a test marks with tp_revoke() cannot be copied any more; with `fickle`
 *			what was copied from the guest changes at once, so that who reads
 *			twice does not find the same
 *	TP_LENT		as a pool over grants: direct, and another process can have it (`lent`)
 *
 * Ten lines make a test:
 *
 *	struct tp tp;
 *	tp_open(&tp, TP_COPY, "rng", TP_ALL);
 *	tp_start(&tp, 64);
 *	... drv_vring_add(&tp.vr[0], ...); tp_kick(&tp, 0); tp_wait(&tp, 0, &used);
 *	tp_close(&tp);
 */
#ifndef TESTPORT_H
#define TESTPORT_H

#include "backend/memory/regions.h"
#include "backend/virtio/device.h"
#include "tests/driver/devhelp.h"
#include "tests/driver/vblk.h"
#include "tests/driver/vring.h"

enum tp_manner { TP_DIRECT, TP_COPY, TP_LENT };

enum { TP_QUEUES = 8, TP_REVOKED = 8 };

#define TP_MEMORY (16u << 20)	 /* bytes of the guest */
#define TP_BASE	  0x100000000ULL /* guest address of its first byte */
#define TP_ALL	  (~0ULL)	 /* negotiate all that is offered */

struct tp;

/* The memory, to be copied, as one context sees it. */
struct tp_view {
	struct vg_mem mem;
	struct tp *tp;
	struct vg_regions_view regions; /* for ranges that stay mapped; or all, TP_DIRECT */
};

struct tp {
	struct vg_port port;
	struct vg_dev dev;
	struct vg_loop *loop;
	enum tp_manner manner;
	struct vg_regions regions; /* the memory, direct */
	struct tp_view *view;	   /* dev.n_ctx of them */
	uint8_t *memory;
	struct drv_mem_flat flat;
	struct {
		uint64_t addr;
		size_t len;
		bool writes_only; /* a read-only grant */
	} revoked[TP_REVOKED];
	unsigned n_revoked;
	bool fickle;
	int memfd;	    /* the memory (TP_LENT) */
	unsigned lent;	    /* shares of it that are held */
	unsigned long_maps; /* backings that are mapped (TP_COPY) */
	uint64_t features;  /* negotiated */
	struct drv_vring vr[TP_QUEUES];
	atomic_uint notified[TP_QUEUES]; /* used buffer notifications */
	unsigned config_changes;
};

/** tp_try_open - open a device from its configuration. Return: as dh_open(); @err may be NULL */
int tp_try_open(struct tp *tp, enum tp_manner manner, const char *spec, struct vg_err *err);

/** tp_open - the same; a failure fails the test */
void tp_open(struct tp *tp, enum tp_manner manner, const char *spec);

/**
 * tp_start - negotiate and set up all queues, to DRIVER_OK
 * @want: feature bits to take where they are offered; VERSION_1 always is
 * @size: of each queue, as far as the device allows it
 */
void tp_start(struct tp *tp, uint64_t want, unsigned size);

/** tp_start_queue, tp_stop_queue - one queue, with a ring of its own, while the others run */
void tp_start_queue(struct tp *tp, unsigned q, unsigned size);
void tp_stop_queue(struct tp *tp, unsigned q);

/** tp_reset - reset the device, and the driver's rings with it */
void tp_reset(struct tp *tp);
void tp_close(struct tp *tp);

/** tp_kick - publish and notify if the device wants it */
void tp_kick(struct tp *tp, unsigned q);

/** tp_kick_anyway - notify, whether it is wanted or not */
void tp_kick_anyway(struct tp *tp, unsigned q);

/** tp_wait - turn the loop until queue @q gives something back; fails the test after 5 s */
void tp_wait(struct tp *tp, unsigned q, struct drv_used *used);

/** tp_settle - turn the loop until nothing happens any more */
void tp_settle(struct tp *tp);

/** tp_revoke - from now on copies of this range fail (TP_COPY) */
void tp_revoke(struct tp *tp, uint64_t addr, size_t len, bool writes_only);

/** tp_blk - virtio-blk requests on queue @q */
void tp_blk(struct tp *tp, unsigned q, struct drv_blk *blk);

#endif /* TESTPORT_H */
