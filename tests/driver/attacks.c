/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attacks.c - the table of attacks, and what they share; see attacks.h
 */
#include "tests/driver/attacks.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/base/container.h"

enum { INIT_WAIT = 2, CONNECTED = 4, CLOSED = 6 };
enum { QUEUE_SIZE = 64, PATIENCE_MS = 10000, PLACES = 8 };

#define LARGE	(64u << 10)
#define SECTORS (LARGE / DRV_SECTOR)

const struct attack attacks[] = {
	{ "grants", "grant-unknown", "data: no such reference, never granted, no grant address",
	  attack_grant_unknown },
	{ "grants", "grant-revoked", "data: revoked after it was submitted", attack_grant_revoked },
	{ "grants", "grant-readonly", "data: read-only where the device writes",
	  attack_grant_readonly },
	{ "grants", "grant-foreign", "data: granted to another domain", attack_grant_foreign },
	{ "grants", "grant-hole", "data: one bad page in the middle of a range",
	  attack_grant_hole },
	{ "grants", "grant-batch", "data: one bad request in the middle of a batch",
	  attack_grant_batch },
	{ "grants", "grant-header", "header or status byte that cannot be reached",
	  attack_grant_header },
	{ "grants", "grant-race", "data revoked while the device works on it", attack_grant_race },
	{ "grants", "map-slots", "all queues at their largest, all pools, and more",
	  attack_map_slots },
	{ "grants", "pool-churn", "pools dropped with data in them, in part, twice, for ever",
	  attack_pool_churn },
	{ "rings", "ring-address", "rings: bad sizes, bad, misaligned, read-only, foreign memory",
	  attack_ring_address },
	{ "rings", "ring-overlap", "rings over each other, the control page and data",
	  attack_ring_overlap },
	{ "rings", "ring-split", "split: loops, heads, indices, indirect tables",
	  attack_ring_split },
	{ "rings", "ring-packed", "packed: endless chains, tables, ids", attack_ring_packed },
	{ "rings", "ring-twice", "buffers resubmitted before completion", attack_ring_twice },
	{ "rings", "ring-used", "used ring written by the guest", attack_ring_used },
	{ "rings", "flip-split", "split: memory that changes between two reads",
	  attack_flip_split },
	{ "rings", "flip-packed", "packed: memory that changes between two reads",
	  attack_flip_packed },
	{ "control", "control-offer", "control page and channel that are none of ours",
	  attack_control_offer },
	{ "control", "control-revoked", "control page revoked while connected",
	  attack_control_revoked },
	{ "control", "control-index", "control page: the guest's indices jump",
	  attack_control_index },
	{ "control", "control-own", "control page: the backend's indices overwritten",
	  attack_control_own },
	{ "control", "control-message", "messages: sizes that lie, unknown ids and directions",
	  attack_control_message },
	{ "control", "control-silent", "answers that nobody takes", attack_control_silent },
	{ "control", "control-flood", "messages as fast as they can be sent",
	  attack_control_flood },
	{ "control", "kick-nothing", "kicks for queues that do not exist", attack_kick_nothing },
	{ "control", "storm-queue", "event storm on a queue's channel", attack_storm_queue },
	{ "control", "storm-control", "event storm on the control channel", attack_storm_control },
	{ "life", "xenstore-keys", "keys missing, huge, no numbers", attack_xenstore_keys },
	{ "life", "xenstore-states", "states in any order", attack_xenstore_states },
	{ "life", "xenstore-flood", "a flood of watches", attack_xenstore_flood },
	{ "life", "reconnect", "connects in a loop", attack_reconnect },
};

const unsigned int n_attacks = COUNT(attacks);

const struct attack *attack_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < n_attacks; i++)
		if (!strcmp(attacks[i].name, name))
			return &attacks[i];
	return NULL;
}

/* ---- what they share -------------------------------------------------------- */

int at_fail(struct attack_on *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!a->why[0])
		vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
	return -1;
}

int64_t at_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

void at_pause(unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };

	nanosleep(&ts, NULL);
}

int at_connect(struct attack_on *a)
{
	int rc;

	/* Connected: one that died before us; drv_dev_connect() takes it down first. */
	if (!a->dev->ctrl && drv_dev_backend_state(a->dev) == CONNECTED)
		rc = drv_dev_connect(a->dev);
	else
		rc = drv_dev_reconnect(a->dev);
	MUST(!rc, "no connection: %d (%s), the backend is in state %d", rc, strerror(-rc),
	     drv_dev_backend_state(a->dev));
	return 0;
}

int at_up(struct attack_on *a, uint64_t features, unsigned int size)
{
	int rc = drv_dev_start(a->dev, features, 1, size);

	MUST(!rc, "the device does not start: %d (%s)", rc, strerror(-rc));
	a->dev->events = 0;
	drv_blk_queue(&a->blk, &a->dev->queues[0], &a->dev->gmem.mem);
	return 0;
}

/* rewrite() - write @len bytes somewhere, read them back, compare */
static int rewrite(struct attack_on *a, size_t len)
{
	static uint8_t out[LARGE], in[LARGE];
	uint64_t sector = (uint64_t)(a->turn % PLACES) * SECTORS;
	unsigned int k;
	int rc;

	for (k = 0; k < len; k++)
		out[k] = (uint8_t)(a->turn * 7 + k + (k >> 8) * 3);
	a->turn++;
	rc = drv_blk_write(&a->blk, sector, out, len);
	MUST(!rc, "a write of %zu bytes failed: %d", len, rc);
	memset(in, 0, sizeof(in));
	rc = drv_blk_read(&a->blk, sector, in, len);
	MUST(!rc, "a read of %zu bytes failed: %d", len, rc);
	MUST(!memcmp(in, out, len), "what was written is not what is read");
	return 0;
}

int at_works(struct attack_on *a)
{
	return rewrite(a, DRV_PAGE);
}

int at_outcome(struct attack_on *a, struct drv_used *used, const char *what)
{
	int64_t end = at_now() + PATIENCE_MS;
	int rc;

	do {
		rc = drv_vring_get(&a->dev->queues[0].vr, used);
		if (rc > 0)
			return AT_USED;
		MUST(!rc, "%s: the device broke the used ring", what);
		rc = drv_dev_poll_events(a->dev);
		MUST(rc >= 0, "%s: the device broke the control page", what);
		if (a->dev->events && (a->dev->last_event.hdr.status & NEEDS_RESET))
			return AT_STOPPED;
		at_pause(1);
	} while (at_now() < end);
	return at_fail(a, "%s: neither an answer nor NEEDS_RESET", what);
}

int at_again(struct attack_on *a, const char *what)
{
	int rc = drv_dev_reset(a->dev);

	MUST(!rc, "%s: the reset failed: %d", what, rc);
	a->dev->last_event.hdr.status = 0;
	if (at_up(a, NO_PACKED, QUEUE_SIZE))
		return -1;
	return at_works(a);
}

int at_stopped(struct attack_on *a, const char *what)
{
	int64_t end = at_now() + PATIENCE_MS;
	int rc = 0;

	while (!(a->dev->events && (a->dev->last_event.hdr.status & NEEDS_RESET)) &&
	       at_now() < end) {
		rc = drv_dev_poll_events(a->dev);
		MUST(rc >= 0, "%s: the device broke the control page", what);
		at_pause(1);
	}
	MUST(a->dev->events, "%s: no EVENT_CONFIG with NEEDS_RESET", what);
	rc = drv_dev_get_status(a->dev);
	MUST(rc >= 0 && (rc & NEEDS_RESET), "%s: the status is %#x", what, (unsigned int)rc);
	return at_again(a, what);
}

int at_gets_back(struct attack_on *a, const char *what)
{
	int rc = drv_dev_wait_backend(a->dev, 1u << CLOSED);
	char *text;

	MUST(rc == CLOSED, "%s: the backend is not Closed: %d", what, rc);
	text = drv_dev_error(a->dev);
	MUST(text, "%s: no virtio-grant-error", what);
	snprintf(a->note, sizeof(a->note), "%.200s", text);
	free(text);
	drv_dev_drop(a->dev);
	MUST(!a->dev->gmem.mem.still_mapped, "%s: Closed, and still mapped", what);
	if (at_connect(a))
		return -1;
	text = drv_dev_error(a->dev);
	free(text);
	MUST(!text, "%s: virtio-grant-error stays after the new connection", what);
	if (at_up(a, NO_PACKED, QUEUE_SIZE))
		return -1;
	return at_works(a);
}

/* ---- running them ------------------------------------------------------------- */

static int begin(struct drv_xen *xen, unsigned int id, struct attack_on *a)
{
	struct drv_dev_config cfg = { .xen = xen, .id = id, .timeout_ms = PATIENCE_MS };
	int rc;

	*a = (struct attack_on){ .xen = xen, .id = id };
	rc = drv_dev_open(&cfg, &a->dev);
	MUST(!rc, "there is no device %u: %d", id, rc);
	return at_connect(a) || at_up(a, NO_PACKED, QUEUE_SIZE) ? -1 : 0;
}

int attack_run(const struct attack *attack, struct drv_xen *xen, unsigned int id, unsigned int ms,
	       struct attack_on *a)
{
	int rc = begin(xen, id, a), err;

	a->ms = ms;
	if (!rc)
		rc = attack->run(a);
	if (!rc)
		rc = at_works(a) || rewrite(a, LARGE) ? -1 : 0;
	if (!rc) {
		err = drv_dev_close(a->dev);
		if (err)
			rc = at_fail(a, "it does not close: %d", err);
		else if (a->dev->gmem.mem.still_mapped || a->dev->still_bound)
			rc = at_fail(a, "%u buffers still mapped, %u channels still bound",
				     a->dev->gmem.mem.still_mapped, a->dev->still_bound);
	}
	drv_dev_free(a->dev);
	a->dev = NULL;
	return rc;
}

int attack_siege(struct drv_xen *xen, unsigned int id, struct attack_on *a)
{
	return begin(xen, id, a) ? -1 : attack_flip_siege(a);
}

int attack_vanish(struct drv_xen *xen, unsigned int id, struct attack_on *a)
{
	struct drv_blk_req *req;
	struct drv_buf buf;
	struct drv_mem *pool;
	unsigned int i;

	if (begin(xen, id, a))
		return -1;
	/* A pool is announced before DRIVER_OK. */
	MUST(!drv_dev_reset(a->dev) && !drv_dev_pool(a->dev, 32, &pool), "no pool");
	if (at_up(a, NO_PACKED, QUEUE_SIZE))
		return -1;
	for (i = 0; i < 8; i++) {
		req = calloc(1, sizeof(*req));
		MUST(req && !drv_alloc(&a->dev->gmem.mem, LARGE, DRV_PAGE, true, &buf),
		     "out of memory");
		req->type = VIRTIO_BLK_T_IN;
		req->dev_writes = true;
		req->segs = 1;
		req->seg[0] = (struct drv_seg){ buf.addr, LARGE };
		MUST(!drv_blk_submit(&a->blk, req), "the ring is full");
	}
	drv_queue_kick(&a->dev->queues[0]);
	return 0;
}

int attack_park(struct drv_xen *xen, unsigned int id, bool control, struct attack_on *a)
{
	int64_t end = at_now() + PATIENCE_MS;
	int rc;

	if (begin(xen, id, a))
		return -1;
	if (control) {
		a->dev->ctrl->driver_prod.value += 100;
		drv_xen_port_notify(xen, a->dev->ctrl_port);
		rc = drv_dev_wait_backend(a->dev, 1u << CLOSED);
		MUST(rc == CLOSED, "the backend is not Closed: %d", rc);
		return 0;
	}
	attack_break_ring(a);
	while (!((rc = drv_dev_get_status(a->dev)) & NEEDS_RESET) && at_now() < end)
		at_pause(10);
	MUST(rc >= 0 && (rc & NEEDS_RESET), "the status is %#x", (unsigned int)rc);
	return 0;
}
