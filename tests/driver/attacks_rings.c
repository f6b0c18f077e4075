/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attacks_rings.c - rings that lie: where they are, what is in them, and when it changes
 */
#include "backend/base/container.h"
#include "tests/driver/attacks.h"
#include "tests/driver/vgrant_bad.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { CLOSING = 5, CLOSED = 6, NOBODY = 0x7ff0 - 1, SLICE_MS = 60, TABLE = 64 };

#define LARGE (64u << 10)

int attack_ring_address(struct attack_on *a)
{
	struct drv_mem_grant theirs;
	struct drv_bad_queue bad[DRV_BAD_QUEUES + 3];
	struct drv_buf b, ro, foreign;
	uint64_t at;
	unsigned int i;
	int port;

	drv_mem_grant_init(&theirs, a->xen, NOBODY);
	MUST(!drv_dev_reset(a->dev), "no reset");
	MUST(!drv_alloc(&a->dev->gmem.mem, 8 * DRV_PAGE, DRV_PAGE, true, &b) &&
		     !drv_alloc(&a->dev->gmem.mem, 8 * DRV_PAGE, DRV_PAGE, false, &ro) &&
		     !drv_alloc(&theirs.mem, 8 * DRV_PAGE, DRV_PAGE, true, &foreign),
	     "no pages");
	at = b.addr;
	port = drv_xen_port_alloc(a->xen, a->dev->backend);
	MUST(port > 0, "no port: %d", port);
	drv_bad_queues(at, ro.addr, bad);
	bad[DRV_BAD_QUEUES] = (struct drv_bad_queue){ 16, foreign.addr, at + 4096, at + 8192,
						      "another domain's descriptors" };
	bad[DRV_BAD_QUEUES + 1] = (struct drv_bad_queue){ 16, at, foreign.addr, at + 8192,
							  "another domain's available ring" };
	bad[DRV_BAD_QUEUES + 2] = (struct drv_bad_queue){ 16, at, at + 4096, foreign.addr,
							  "another domain's used ring" };
	for (i = 0; i < COUNT(bad); i++) {
		MUST(!drv_dev_negotiate(a->dev, 0), "%s: no FEATURES_OK", bad[i].what);
		MUST(!drv_dev_set_channel(a->dev, 0, (uint32_t)port), "%s: no channel",
		     bad[i].what);
		/* Refused at once, or found out when the queue starts. */
		if (drv_dev_set_vqueue(a->dev, 0, bad[i].size, bad[i].desc, bad[i].driver,
				       bad[i].device)) {
			drv_dev_set_status(a->dev, 15);
			MUST(drv_dev_get_status(a->dev) & NEEDS_RESET, "%s: taken", bad[i].what);
		}
		MUST(!drv_dev_reset(a->dev), "%s: no reset", bad[i].what);
		MUST(drv_xen_port_unbound(a->xen, (uint32_t)port), "%s: the port is still bound",
		     bad[i].what);
	}
	/* No channel, no such queue, a queue that is set already. */
	MUST(!drv_dev_negotiate(a->dev, 0), "no FEATURES_OK");
	MUST(!drv_dev_set_vqueue(a->dev, 0, 16, at, at + 4096, at + 8192),
	     "a queue without a channel");
	MUST(!drv_dev_set_vqueue(a->dev, 1000, 16, at, at + 4096, at + 8192), "queue 1000");
	MUST(!drv_dev_set_vqueue(a->dev, 0xffffffff, 16, at, at + 4096, at + 8192),
	     "queue 2^32 - 1");
	MUST(!drv_dev_set_channel(a->dev, 0, (uint32_t)port), "no channel");
	MUST(drv_dev_set_vqueue(a->dev, 0, 16, at, at + 4096, at + 8192) == 16,
	     "a good queue was refused");
	MUST(drv_dev_set_vqueue(a->dev, 0, 8, at, at + 4096, at + 8192) == 16,
	     "a queue was set twice");
	MUST(drv_dev_set_channel(a->dev, 0, (uint32_t)port) == EINVAL, "a channel after the queue");
	if (at_again(a, "ring addresses"))
		return -1;
	drv_xen_port_close(a->xen, (uint32_t)port);
	MUST(!drv_free(&a->dev->gmem.mem, &b) && !drv_free(&a->dev->gmem.mem, &ro) &&
		     !drv_free(&theirs.mem, &foreign),
	     "still mapped");
	return 0;
}

/* restart() - whatever state the connection is in: take it down, connect anew */
static int restart(struct attack_on *a, const char *what)
{
	int rc;

	drv_dev_set_state(a->dev, CLOSING);
	rc = drv_dev_wait_backend(a->dev, 1u << CLOSED);
	MUST(rc == CLOSED, "%s: the backend is not Closed: %d", what, rc);
	drv_dev_drop(a->dev);
	MUST(!a->dev->gmem.mem.still_mapped, "%s: Closed, and still mapped", what);
	return at_connect(a) || at_up(a, NO_PACKED, 64) || at_works(a) ? -1 : 0;
}

int attack_ring_overlap(struct attack_on *a)
{
	struct drv_buf b;
	unsigned int i, k;
	int port;

	MUST(!drv_dev_reset(a->dev), "no reset");
	for (i = 0; i < 5; i++) {
		struct drv_mem *mem = &a->dev->gmem.mem;
		uint64_t at, ctrl = a->dev->ctrl_buf.addr, d, v, u;

		MUST(!drv_alloc(mem, 2 * DRV_PAGE, DRV_PAGE, true, &b), "no pages");
		port = drv_xen_port_alloc(a->xen, a->dev->backend);
		MUST(port > 0, "no port");
		at = d = v = u = b.addr;
		switch (i) {
		case 0: /* all three in one place */
			break;
		case 1: /* the used ring lies on the descriptors */
			v = at + 4096;
			break;
		case 2: /* the available ring lies on the used ring */
			v = u = at + 4096;
			break;
		case 3: /* descriptors are the control page */
			d = ctrl;
			v = at;
			u = at + 4096;
			break;
		case 4: /* the device writes its used ring over the control page */
			v = at + 4096;
			u = ctrl;
			break;
		}
		/* A descriptor of everything: it is an available index, too, and a used one. */
		for (k = 0; k < DRV_PAGE / 16; k++) {
			struct vring_desc *desc = (struct vring_desc *)b.virt + k;

			*desc = (struct vring_desc){ htole64(at + 16 * k), htole32(4096),
						     htole16(VRING_DESC_F_WRITE), htole16(1) };
		}
		MUST(!drv_dev_negotiate(a->dev, 0), "no FEATURES_OK");
		MUST(!drv_dev_set_channel(a->dev, 0, (uint32_t)port), "no channel");
		drv_dev_set_vqueue(a->dev, 0, 16, d, v, u);
		a->dev->timeout_ms = 400; /* the control page may be gone */
		drv_dev_set_status(a->dev, 15);
		for (k = 0; k < 50; k++) {
			drv_xen_port_notify(a->xen, (uint32_t)port);
			at_pause(1);
		}
		a->dev->timeout_ms = 10000;
		if (restart(a, "overlapping rings"))
			return -1;
		MUST(!drv_dev_reset(a->dev), "no reset");
		drv_xen_port_close(a->xen, (uint32_t)port);
		MUST(!drv_free(mem, &b), "still mapped");
	}
	return at_again(a, "overlapping rings");
}

int attack_ring_split(struct attack_on *a)
{
	static const char *const what[] = {
		"a head out of range",
		"an index that jumps",
		"a loop",
		"next out of range",
		"a table of odd length",
		"an empty table",
		"indirect in indirect",
		"indirect with NEXT",
		"a loop in a table",
		"a table that is not there",
		"a chain that is longer than the queue",
		"a range that wraps",
		"readable behind writable",
	};
	unsigned int i, k;

	for (i = 0; i < COUNT(what); i++) {
		struct drv_vring *vr = &a->dev->queues[0].vr;
		struct vring_desc *d = vr->desc;
		uint64_t self = vr->desc_mem.addr;
		bool faults = true;

		memset(d, 0, vr->cfg.size * sizeof(*d));
		switch (i) {
		case 2:
			d[0] = (struct vring_desc){ self, 16, VRING_DESC_F_NEXT, 1 };
			d[1] = (struct vring_desc){ self, 16, VRING_DESC_F_NEXT, 0 };
			break;
		case 3:
			d[0] = (struct vring_desc){ self, 16, VRING_DESC_F_NEXT, 999 };
			break;
		case 4:
			d[0] = (struct vring_desc){ self, 17, VRING_DESC_F_INDIRECT, 0 };
			break;
		case 5:
			d[0] = (struct vring_desc){ self, 0, VRING_DESC_F_INDIRECT, 0 };
			break;
		case 6:
			d[0] = (struct vring_desc){ self + 16, 32, VRING_DESC_F_INDIRECT, 0 };
			d[1] = (struct vring_desc){ self, 16, VRING_DESC_F_INDIRECT, 0 };
			break;
		case 7:
			d[0] = (struct vring_desc){ self + 16, 16,
						    VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1 };
			d[1] = (struct vring_desc){ self, 16, 0, 0 };
			break;
		case 8:
			d[0] = (struct vring_desc){ self + 16, 32, VRING_DESC_F_INDIRECT, 0 };
			d[1] = (struct vring_desc){ self, 16, VRING_DESC_F_NEXT, 1 };
			d[2] = (struct vring_desc){ self, 16, VRING_DESC_F_NEXT, 0 };
			break;
		case 9:
			d[0] = (struct vring_desc){ VIRTIO_GRANT_ADDR(15000, 0), 64,
						    VRING_DESC_F_INDIRECT, 0 };
			break;
		case 10:
			for (k = 0; k < vr->cfg.size; k++)
				d[k] = (struct vring_desc){ self, 16, VRING_DESC_F_NEXT,
							    (uint16_t)((k + 1) % vr->cfg.size) };
			break;
		case 11:
			d[0] = (struct vring_desc){ ~0ull - 15, 16, VRING_DESC_F_NEXT, 1 };
			d[1] = (struct vring_desc){ ~0ull - 15, 0xffffffff, VRING_DESC_F_WRITE, 0 };
			faults = false; /* an error of the request, or the device's: as it likes */
			break;
		case 12:
			d[0] = (struct vring_desc){ self, 16,
						    VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1 };
			d[1] = (struct vring_desc){ self, 16, 0, 0 };
			break;
		}
		vr->avail->ring[vr->published % vr->cfg.size] = htole16(i ? 0 : 60000);
		__atomic_store_n(
			&vr->avail->idx,
			htole16((uint16_t)(vr->published + (i == 1 ? vr->cfg.size + 1 : 1))),
			__ATOMIC_RELEASE);
		drv_queue_notify(&a->dev->queues[0]);
		if (faults ? at_stopped(a, what[i]) : at_again(a, what[i]))
			return -1;
	}
	snprintf(a->note, sizeof(a->note), "%zu broken rings", COUNT(what));
	return 0;
}

int attack_break_ring(struct attack_on *a)
{
	struct drv_vring *vr = &a->dev->queues[0].vr;

	vr->avail->ring[vr->published % vr->cfg.size] = htole16(60000);
	__atomic_store_n(&vr->avail->idx, htole16((uint16_t)(vr->published + 1)), __ATOMIC_RELEASE);
	drv_queue_notify(&a->dev->queues[0]);
	return 0;
}

int attack_ring_packed(struct attack_on *a)
{
	static const char *const what[] = { "a chain longer than the ring",
					    "indirect with NEXT, of odd length",
					    "an id that is none", "indirect in indirect" };
	unsigned int i, k;

	for (i = 0; i < COUNT(what); i++) {
		const uint16_t avail = 1u << VRING_PACKED_DESC_F_AVAIL;
		struct vring_packed_desc *d;
		uint64_t self;

		MUST(!drv_dev_reset(a->dev), "%s: no reset", what[i]);
		if (at_up(a, ~0ull, 8))
			return -1;
		d = a->dev->queues[0].vr.pdesc;
		self = a->dev->queues[0].vr.desc_mem.addr;
		switch (i) {
		case 0:
			for (k = 0; k < 8; k++)
				d[k] = (struct vring_packed_desc){ self, 16, 0,
								   avail | VRING_DESC_F_NEXT };
			break;
		case 1:
			d[0] = (struct vring_packed_desc){
				self, 17, 0,
				(uint16_t)(avail | VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT)
			};
			break;
		case 2:
			d[0] = (struct vring_packed_desc){ self, 16, 60000, avail };
			break;
		case 3:
			d[1] = (struct vring_packed_desc){ self, 16, 0, VRING_DESC_F_INDIRECT };
			d[0] = (struct vring_packed_desc){
				self + 16, 16, 0, (uint16_t)(avail | VRING_DESC_F_INDIRECT)
			};
			break;
		}
		drv_queue_notify(&a->dev->queues[0]);
		if (at_stopped(a, what[i]))
			return -1;
	}
	return 0;
}

/* One chain, made available four times at once. */
int attack_ring_twice(struct attack_on *a)
{
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_IN, .dev_writes = true, .segs = 1 };
	struct drv_vring *vr = &a->dev->queues[0].vr;
	struct drv_buf b;
	uint16_t head;
	unsigned int i;

	MUST(!drv_alloc(&a->dev->gmem.mem, LARGE, DRV_PAGE, true, &b), "no pages");
	req.seg[0] = (struct drv_seg){ b.addr, LARGE };
	head = vr->free_head;
	MUST(!drv_blk_submit(&a->blk, &req), "not submitted");
	for (i = 0; i < 4; i++)
		vr->avail->ring[(vr->published + i) % vr->cfg.size] = htole16(head);
	__atomic_store_n(&vr->avail->idx, htole16((uint16_t)(vr->published + 4)), __ATOMIC_RELEASE);
	drv_queue_notify(&a->dev->queues[0]);
	at_pause(100);
	if (at_again(a, "a chain given twice"))
		return -1;
	MUST(!drv_free(&a->dev->gmem.mem, &req.hdr) && !drv_free(&a->dev->gmem.mem, &b),
	     "still mapped after a reset");
	return 0;
}

/* The device's own ring, scribbled over while it works. */
int attack_ring_used(struct attack_on *a)
{
	struct drv_blk_req req[8];
	struct drv_vring *vr = &a->dev->queues[0].vr;
	struct drv_buf b[8];
	unsigned int i;
	int64_t end;

	memset(req, 0, sizeof(req));
	for (i = 0; i < 8; i++) {
		MUST(!drv_alloc(&a->dev->gmem.mem, LARGE, DRV_PAGE, true, &b[i]), "no pages");
		req[i].type = VIRTIO_BLK_T_IN;
		req[i].dev_writes = true;
		req[i].segs = 1;
		req[i].seg[0] = (struct drv_seg){ b[i].addr, LARGE };
		MUST(!drv_blk_submit(&a->blk, &req[i]), "not submitted");
	}
	drv_queue_kick(&a->dev->queues[0]);
	for (end = at_now() + 100, i = 1; at_now() < end; i = i * 1103515245 + 12345) {
		uint16_t *used = (uint16_t *)vr->used;

		__atomic_store_n(&used[(i >> 16) % (2 + 4 * vr->cfg.size)], (uint16_t)(i >> 8),
				 __ATOMIC_RELAXED);
	}
	if (at_again(a, "a used ring written by the guest"))
		return -1;
	for (i = 0; i < 8; i++)
		MUST(!drv_free(&a->dev->gmem.mem, &req[i].hdr) &&
			     !drv_free(&a->dev->gmem.mem, &b[i]),
		     "still mapped after a reset");
	return 0;
}

/* ---- memory that changes ------------------------------------------------------ */

struct flipper {
	struct drv_vring *vr;
	struct drv_buf *data, *table, *header;
	bool stop;
	uint64_t x;
	pthread_t thread;
};

static uint64_t roll(struct flipper *f)
{
	f->x ^= f->x << 13;
	f->x ^= f->x >> 7;
	f->x ^= f->x << 17;
	return f->x;
}

/* One descriptor, of either format: mostly plausible. */
static void scribble(struct flipper *f, void *where)
{
	static const uint32_t lens[] = { 0, 1, 16, 17, 32, 512, 4096, 65536 };
	const uint64_t addrs[] = { f->data->addr,	 f->data->addr + DRV_PAGE,
				   f->table->addr,	 f->header->addr,
				   f->header->addr + 16, f->vr->desc_mem.addr,
				   f->data->addr,	 VIRTIO_GRANT_ADDR(15000, 0) };
	uint64_t *w = where, r = roll(f), flags = r >> 8 & 7;

	if (f->vr->cfg.packed && (r >> 16 & 3))
		flags |= (r >> 20 & 1) << VRING_PACKED_DESC_F_AVAIL |
			 (r >> 21 & 1) << VRING_PACKED_DESC_F_USED;
	__atomic_store_n(&w[0], htole64(addrs[r >> 24 & 7]), __ATOMIC_RELAXED);
	/* split: len, flags, next; packed: len, id, flags */
	r = lens[r >> 28 & 7] | (f->vr->cfg.packed ? flags << 48 | (r >> 32 & 63) << 32
						   : flags << 32 | (r >> 32 & 63) << 48);
	__atomic_store_n(&w[1], htole64(r), __ATOMIC_RELAXED);
}

static void *flip(void *arg)
{
	struct flipper *f = arg;
	unsigned int size = f->vr->cfg.size;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		uint64_t r = roll(f);
		struct virtio_blk_outhdr *h = f->header->virt;

		scribble(f, (uint8_t *)(f->vr->cfg.packed ? (void *)f->vr->pdesc
							  : (void *)f->vr->desc) +
				    (r % size) * 16);
		if (r >> 8 & 1)
			scribble(f, (uint8_t *)f->table->virt + (r >> 16) % TABLE * 16);
		__atomic_store_n(&h->type, htole32(r >> 24 & 15), __ATOMIC_RELAXED);
		__atomic_store_n(&h->sector, htole64(r >> 28 & 2047), __ATOMIC_RELAXED);
		if (!f->vr->cfg.packed) {
			f->vr->avail->ring[(r >> 32) % size] = htole16((r >> 40) % size);
			if (!(r >> 48 & 15))
				__atomic_fetch_add(&f->vr->avail->idx, 1, __ATOMIC_RELEASE);
		}
	}
	return NULL;
}

/* flip_round() - start anew, flip for a while or until the device stops; Return: whether it did */
static int flip_round(struct attack_on *a, struct flipper *f, uint64_t features)
{
	int64_t end;
	int rc = drv_dev_reset(a->dev), stopped = 0;

	MUST(!rc, "flipping: the reset failed: %d", rc);
	a->dev->last_event.hdr.status = 0;
	if (at_up(a, features, 64))
		return -1;
	f->vr = &a->dev->queues[0].vr;
	f->stop = false;
	MUST(!pthread_create(&f->thread, NULL, flip, f), "no thread");
	for (end = at_now() + SLICE_MS; at_now() < end && !stopped;) {
		drv_queue_notify(&a->dev->queues[0]);
		at_pause(1);
		rc = drv_dev_poll_events(a->dev);
		stopped =
			rc < 0 || (a->dev->events && (a->dev->last_event.hdr.status & NEEDS_RESET));
	}
	__atomic_store_n(&f->stop, true, __ATOMIC_RELAXED);
	pthread_join(f->thread, NULL);
	MUST(rc >= 0, "flipping: the device broke the control page");
	return stopped;
}

static int flip_for(struct attack_on *a, uint64_t features, bool forever)
{
	struct flipper f = { .x = 88172645463325252ull };
	struct drv_mem *mem = &a->dev->gmem.mem;
	struct drv_buf data, table, header;
	unsigned int rounds = 0, stopped = 0;
	int64_t end = at_now() + a->ms;
	int rc;

	MUST(!drv_alloc(mem, LARGE + DRV_PAGE, DRV_PAGE, true, &data) &&
		     !drv_alloc(mem, DRV_PAGE, DRV_PAGE, true, &table) &&
		     !drv_alloc(mem, DRV_PAGE, DRV_PAGE, true, &header),
	     "no pages");
	f.data = &data;
	f.table = &table;
	f.header = &header;
	do {
		rc = flip_round(a, &f, features);
		if (rc < 0)
			return rc;
		stopped += (unsigned int)rc;
		rounds++;
	} while (forever || at_now() < end);
	if (at_again(a, "flipping"))
		return -1;
	MUST(!drv_free(mem, &data) && !drv_free(mem, &table) && !drv_free(mem, &header),
	     "still mapped");
	snprintf(a->note, sizeof(a->note), "%u rounds, in %u the device stopped", rounds, stopped);
	return 0;
}

int attack_flip_split(struct attack_on *a)
{
	return flip_for(a, NO_PACKED, false);
}

int attack_flip_packed(struct attack_on *a)
{
	return flip_for(a, ~0ull, false);
}

int attack_flip_siege(struct attack_on *a)
{
	return flip_for(a, ~0ull, true);
}
