/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attacks_grants.c - data and headers in memory that the backend cannot use
 *
 * A bad grant is an error of its request, and of no other (PROTOCOL.md, 7.3).
 * Each is tried with a size that the backend copies and one that is larger.
 */
#include "backend/base/container.h"
#include "tests/driver/attacks.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOBODY = 0x7ff0 - 1, BATCH = 16, BAD = 5, RACERS = 24, FEW_POOLS = 4, POOL_PAGES = 64 };

#define SMALL 512u
#define LARGE (64u << 10)

static const uint32_t sizes[] = { SMALL, LARGE };

/* struct offence - a request whose data is at @addr; @revoke: a page to revoke before the kick */
struct offence {
	uint64_t addr;
	uint32_t len;
	bool dev_writes;
	struct drv_buf *revoke;
	unsigned int page;
	const char *what;
};

/* offend() - the request must fail, and the device go on */
static int offend(struct attack_on *a, const struct offence *o)
{
	struct drv_blk_req req = { .type = o->dev_writes ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
				   .dev_writes = o->dev_writes,
				   .segs = 1 };
	struct drv_used used;
	int rc;

	req.seg[0] = (struct drv_seg){ o->addr, o->len };
	rc = drv_blk_submit(&a->blk, &req);
	MUST(!rc, "%s: not submitted: %d", o->what, rc);
	/* Only now: the next allocation may get the same reference. */
	if (o->revoke)
		drv_xen_revoke(a->xen, drv_mem_grant_pages(o->revoke), o->page);
	drv_queue_kick(&a->dev->queues[0]);
	rc = at_outcome(a, &used, o->what);
	if (rc < 0)
		return rc;
	MUST(rc == AT_USED, "%s: the device stopped, not the request alone", o->what);
	drv_blk_finish(&a->blk, &used);
	MUST(req.result == -EIO, "%s, %u bytes to be %s: the request's result is %d", o->what,
	     o->len, o->dev_writes ? "written" : "read", req.result);
	return at_works(a);
}

int attack_grant_unknown(struct attack_on *a)
{
	uint64_t good = VIRTIO_GRANT_ADDR(a->dev->ctrl_buf.addr >> VIRTIO_GRANT_PAGE_SHIFT, 0) |
			VIRTIO_GRANT_ADDR_FLAG;
	unsigned int i, k, w;

	for (i = 0; i < 2; i++) {
		const struct {
			uint64_t addr;
			const char *what;
		} bad[] = {
			{ VIRTIO_GRANT_ADDR(15000, 0), "never granted" },
			{ VIRTIO_GRANT_ADDR(0x00fffff0, 0), "no such reference" },
			{ VIRTIO_GRANT_ADDR(0xfffffff0, 0), "the last references" },
			{ good & ~VIRTIO_GRANT_ADDR_FLAG, "no grant address" },
			{ good | 1ull << 44, "bit 44" },
			{ good | 1ull << 62, "bit 62" },
			{ 0, "address 0" },
		};

		for (k = 0; k < COUNT(bad); k++) {
			for (w = 0; w < 2; w++) {
				struct offence o = { .addr = bad[k].addr,
						     .len = sizes[i],
						     .dev_writes = w,
						     .what = bad[k].what };

				if (offend(a, &o))
					return -1;
			}
		}
	}
	return 0;
}

/* with_buffer() - offend with a buffer of our own: read-only, another domain's, revoked */
static int with_buffer(struct attack_on *a, unsigned int backend, bool writable, bool dev_writes,
		       bool revoke, bool middle, const char *what)
{
	struct drv_mem_grant mem;
	unsigned int i;

	drv_mem_grant_init(&mem, a->xen, backend);
	for (i = 0; i < 2; i++) {
		/* From the middle of a page: 512 bytes may lie in two. */
		uint32_t off = middle ? DRV_PAGE - SMALL / 2 : 0;
		struct offence o = { .len = sizes[i], .dev_writes = dev_writes, .what = what };
		struct drv_buf b;
		int rc;

		rc = drv_alloc(&mem.mem, sizes[i] + (middle ? DRV_PAGE : 0), DRV_PAGE, writable,
			       &b);
		MUST(!rc, "no pages: %d", rc);
		o.addr = b.addr + off;
		if (revoke) {
			o.revoke = &b;
			o.page = !middle ? 0 : sizes[i] > DRV_PAGE ? 7 : 1;
		}
		if (offend(a, &o))
			return -1;
		MUST(!drv_free(&mem.mem, &b), "%s: still mapped", what);
	}
	return 0;
}

/* both_ways() - with buffers that the device is to write, then with those that it is to read */
static int both_ways(struct attack_on *a, unsigned int backend, bool revoke, bool middle,
		     const char *what)
{
	return with_buffer(a, backend, true, true, revoke, middle, what) ||
			       with_buffer(a, backend, true, false, revoke, middle, what)
		       ? -1
		       : 0;
}

int attack_grant_revoked(struct attack_on *a)
{
	return both_ways(a, a->dev->backend, true, false, "revoked");
}

int attack_grant_readonly(struct attack_on *a)
{
	return with_buffer(a, a->dev->backend, false, true, false, false, "read-only");
}

int attack_grant_foreign(struct attack_on *a)
{
	/* Of a domain that is not there, and of ourselves: neither is the backend. */
	return both_ways(a, NOBODY, false, false, "granted to another domain");
}

int attack_grant_hole(struct attack_on *a)
{
	return both_ways(a, a->dev->backend, true, true, "a hole");
}

/* One of sixteen requests, published at once, is bad: it alone fails. */
int attack_grant_batch(struct attack_on *a)
{
	struct drv_blk_req req[BATCH];
	struct drv_buf buf[BATCH];
	struct drv_used used;
	unsigned int i, k;

	for (k = 0; k < 2; k++) {
		memset(req, 0, sizeof(req));
		for (i = 0; i < BATCH; i++) {
			MUST(!drv_alloc(&a->dev->gmem.mem, DRV_PAGE, DRV_PAGE, true, &buf[i]),
			     "no pages");
			req[i].type = k ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
			req[i].dev_writes = !k;
			req[i].sector = 1024 + i * 8;
			req[i].segs = 1;
			req[i].seg[0] = (struct drv_seg){ buf[i].addr, DRV_PAGE };
			MUST(!drv_blk_submit(&a->blk, &req[i]), "not submitted");
		}
		drv_xen_revoke(a->xen, drv_mem_grant_pages(&buf[BAD]), 0);
		drv_queue_kick(&a->dev->queues[0]);
		for (i = 0; i < BATCH; i++) {
			int rc = at_outcome(a, &used, "a batch");

			if (rc < 0)
				return rc;
			MUST(rc == AT_USED, "a batch: the device stopped");
			drv_blk_finish(&a->blk, &used);
		}
		for (i = 0; i < BATCH; i++) {
			MUST(req[i].result == (i == BAD ? -EIO : 0), "request %u of the batch: %d",
			     i, req[i].result);
			MUST(!drv_free(&a->dev->gmem.mem, &buf[i]), "still mapped");
		}
	}
	return 0;
}

/* A header that cannot be read, a status byte that cannot be written: no answer can tell. */
int attack_grant_header(struct attack_on *a)
{
	unsigned int i;

	for (i = 0; i < 4; i++) {
		static const char *const what[] = { "no header", "a revoked header",
						    "no status byte", "a read-only status byte" };
		struct drv_mem *mem = &a->dev->gmem.mem;
		struct virtio_blk_outhdr *h;
		struct drv_buf hdr, data, status;
		struct drv_seg out, in[2];
		struct drv_used used;
		int rc;

		MUST(!drv_alloc(mem, sizeof(*h), 16, true, &hdr) &&
			     !drv_alloc(mem, SMALL, 16, true, &data) &&
			     !drv_alloc(mem, 1, 1, i != 3, &status),
		     "no pages");
		h = hdr.virt;
		h->type = htole32(VIRTIO_BLK_T_IN);
		out = (struct drv_seg){ i ? hdr.addr : VIRTIO_GRANT_ADDR(15000, 0), sizeof(*h) };
		in[0] = (struct drv_seg){ data.addr, SMALL };
		in[1] = (struct drv_seg){ i == 2 ? VIRTIO_GRANT_ADDR(15001, 0) : status.addr, 1 };
		rc = drv_vring_add(&a->dev->queues[0].vr, &out, 1, in, 2, &out, 0);
		MUST(rc >= 0, "not added: %d", rc);
		if (i == 1)
			drv_xen_revoke(a->xen, drv_mem_grant_pages(&hdr), 0);
		drv_queue_kick(&a->dev->queues[0]);
		rc = at_outcome(a, &used, what[i]);
		if (rc < 0)
			return rc;
		/* Where there is no place for an error, it is the device's. */
		if (rc == AT_USED)
			rc = drv_dev_get_status(a->dev) & NEEDS_RESET ? AT_STOPPED : AT_USED;
		if (rc == AT_STOPPED && at_stopped(a, what[i]))
			return -1;
		mem = &a->dev->gmem.mem;
		MUST(!drv_free(mem, &hdr) && !drv_free(mem, &data) && !drv_free(mem, &status),
		     "%s: still mapped", what[i]);
		if (at_works(a))
			return -1;
	}
	return 0;
}

/* Revoked at about the time when the backend looks. Each request comes back, one way or the other. */
int attack_grant_race(struct attack_on *a)
{
	struct drv_blk_req req[RACERS];
	struct drv_buf buf[RACERS];
	struct drv_used used;
	unsigned int i, failed = 0, turn, x = 12345;

	for (turn = 0; turn < 4; turn++) {
		memset(req, 0, sizeof(req));
		for (i = 0; i < RACERS / 2; i++) {
			MUST(!drv_alloc(&a->dev->gmem.mem, LARGE, DRV_PAGE, true, &buf[i]),
			     "no pages");
			req[i].type = i & 1 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
			req[i].dev_writes = !(i & 1);
			req[i].sector = 0;
			req[i].segs = 1;
			req[i].seg[0] = (struct drv_seg){ buf[i].addr, LARGE };
			MUST(!drv_blk_submit(&a->blk, &req[i]), "not submitted");
		}
		drv_queue_kick(&a->dev->queues[0]);
		for (i = 0; i < RACERS / 2; i++) {
			x = x * 1103515245 + 12345;
			drv_xen_revoke(a->xen, drv_mem_grant_pages(&buf[i]), x >> 16 & 15);
		}
		for (i = 0; i < RACERS / 2; i++) {
			int rc = at_outcome(a, &used, "a race");

			if (rc < 0)
				return rc;
			MUST(rc == AT_USED, "a race: the device stopped");
			rc = drv_blk_finish(&a->blk, &used)->result;
			MUST(!rc || rc == -EIO, "a race: a request's result is %d", rc);
			failed += rc != 0;
		}
		for (i = 0; i < RACERS / 2; i++)
			MUST(!drv_free(&a->dev->gmem.mem, &buf[i]), "still mapped");
	}
	snprintf(a->note, sizeof(a->note), "%u of %u requests failed", failed, 4 * RACERS / 2);
	return 0;
}

/* As many mappings as a device may have, and then more. */
int attack_map_slots(struct attack_on *a)
{
	static const struct virtio_grant_pool bad[] = {
		{ 8, 0 },	   { 15000, 4 },      { 0xffffffff, 1 }, { 0xfffffff0, 32 },
		{ 8, 0xffffffff }, { 0, 0x80000000 }, { 8, 100000 },	 { 8, 8193 },
	};
	unsigned int n = le32toh(a->dev->info.max_vqs), pools = 0, i, slots;
	struct drv_mem *pool;
	int rc = drv_dev_reset(a->dev);

	MUST(!rc, "the reset failed: %d", rc);
	for (i = 0; i < COUNT(bad); i++) {
		struct virtio_grant_pool_resp resp = { 0, 0 };

		rc = drv_msg_call(a->dev, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_ADD_POOL, &bad[i],
				  sizeof(bad[i]), &resp, sizeof(resp));
		MUST(rc == sizeof(resp) && resp.error, "pool %u + %u was taken", bad[i].first_ref,
		     bad[i].pages);
	}
	while (!(rc = drv_dev_pool(a->dev, POOL_PAGES, &pool)))
		pools++;
	MUST(pools >= FEW_POOLS && rc == -ENOSPC, "%u pools were taken, then %d", pools, rc);
	rc = drv_dev_negotiate(a->dev, NO_PACKED);
	for (i = 0, slots = pools * POOL_PAGES; !rc && i < n; i++) {
		rc = drv_dev_queue(a->dev, i, 0);
		if (!rc)
			slots += (unsigned int)((a->dev->queues[i].vr.desc_mem.len +
						 a->dev->queues[i].vr.driver_mem.len +
						 a->dev->queues[i].vr.device_mem.len) /
						DRV_PAGE) +
				 3;
	}
	MUST(!rc, "queue %u: %d", i, rc);
	MUST(!drv_dev_driver_ok(a->dev), "no DRIVER_OK");
	MUST(drv_dev_queue(a->dev, n, 0) == -ENOENT, "a queue more than there are");
	drv_blk_queue(&a->blk, &a->dev->queues[n - 1], &a->dev->gmem.mem);
	if (at_works(a))
		return -1;
	drv_blk_queue(&a->blk, &a->dev->queues[0], pool);
	if (at_works(a))
		return -1;
	snprintf(a->note, sizeof(a->note), "%u queues, %u pools, about %u pages mapped", n, pools,
		 slots);
	return at_again(a, "all map slots");
}

/* Requests whose data lies in the arena that goes, and half of them header and status too. */
static int submit_in_pool(struct attack_on *a, struct drv_mem *pool, struct drv_blk_req *req)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		struct drv_buf buf;

		memset(&req[i], 0, sizeof(req[i]));
		MUST(!drv_alloc(pool, SMALL, DRV_PAGE, true, &buf), "no room in a pool");
		req[i].type = i & 1 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		req[i].dev_writes = !(i & 1);
		req[i].segs = 1;
		req[i].seg[0] = (struct drv_seg){ buf.addr, SMALL };
		drv_blk_queue(&a->blk, &a->dev->queues[0], i & 2 ? pool : &a->dev->gmem.mem);
		MUST(!drv_blk_submit(&a->blk, &req[i]), "not submitted");
	}
	drv_queue_kick(&a->dev->queues[0]);
	return 0;
}

/* Arenas come and go, while requests have data there: each succeeds, since the memory stays granted. */
int attack_pool_churn(struct attack_on *a)
{
	unsigned int turns = 20 + a->ms / 50, busy = 0, turn, i;
	struct drv_blk_req req[BATCH];
	struct drv_used used;
	struct drv_mem *pool;
	uint32_t ref;
	int rc;

	for (turn = 0; turn < turns; turn++) {
		MUST(!(rc = drv_dev_pool(a->dev, POOL_PAGES, &pool)), "no pool: %d", rc);
		ref = (uint32_t)(a->dev->pool_buf[0].addr >> VIRTIO_GRANT_PAGE_SHIFT);
		rc = drv_pool_msg(a->dev, VIRTIO_GRANT_BUS_DROP_POOL, ref + 1, POOL_PAGES - 1);
		MUST(rc == -EINVAL, "a part of a pool was dropped: %d", rc);
		rc = drv_pool_msg(a->dev, VIRTIO_GRANT_BUS_DROP_POOL, ref, POOL_PAGES + 1);
		MUST(rc == -EINVAL, "more than a pool was dropped: %d", rc);
		if (submit_in_pool(a, pool, req))
			return -1;
		rc = drv_pool_msg(a->dev, VIRTIO_GRANT_BUS_DROP_POOL, ref, POOL_PAGES);
		MUST(!rc || rc == -EBUSY, "a pool with data in it: %d", rc);
		busy += rc == -EBUSY;
		for (i = 0; i < BATCH; i++) {
			rc = at_outcome(a, &used, "data in a pool that goes");
			MUST(rc == AT_USED, "data in a pool that goes: the device stopped");
			rc = drv_blk_finish(&a->blk, &used)->result;
			MUST(!rc, "data in a pool that goes: a request's result is %d", rc);
		}
		MUST(!(rc = drv_dev_pool_drop(a->dev)), "a pool without data in it: %d", rc);
		rc = drv_pool_msg(a->dev, VIRTIO_GRANT_BUS_DROP_POOL, ref, POOL_PAGES);
		MUST(!rc, "dropped once more: %d", rc);
	}
	drv_blk_queue(&a->blk, &a->dev->queues[0], &a->dev->gmem.mem);
	if (at_works(a))
		return -1;
	snprintf(a->note, sizeof(a->note), "%u of %u pools had data in them", busy, turns);
	return 0;
}
