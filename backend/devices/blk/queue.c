// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * queue.c - a turn of a queue: take what is there, answer what is done, and when
 * to look and to tell again; see blk.c
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/ticks.h"
#include "backend/devices/blk/int.h"

enum {
	BATCH = 64,    /* chains taken in one go */
	HOLD_FROM = 4, /* requests that the disk has: fewer are answered at once */
};

static void process(struct blk_queue *bq);
static void try_stop(struct blk_queue *bq);

/* For how long a request may wait for others: where nobody says, for what many notifications cost. */
static int64_t limit_of(const struct blk_queue *bq)
{
	int64_t ns = bq->blk->wait_ns, many = vg_dev_patience(bq->dev, bq->q);

	return bq->blk->wait_is_set || !ns || many < ns ? ns : many;
}

/* Something waits, until @when. A timer that runs until sooner is left alone, and started again by
 * wait_is_over(): waits begin more often than they last until their end. */
static void wait_begins(struct blk_queue *bq, int64_t now, int64_t when)
{
	if (bq->timer.tether && bq->timer_at <= when)
		return;
	bq->timer_at = when;
	vg_loop_timer(vg_dev_loop(bq->dev, bq->q), &bq->timer, when > now ? when - now : 0);
}

static void wait_is_over(struct vg_timer *t)
{
	struct blk_queue *bq = container_of(t, struct blk_queue, timer);
	int64_t now = vg_span_ns(), when = bq->gather_until;

	if (!when || (bq->hold_until && bq->hold_until < when))
		when = bq->hold_until;
	if (!when)
		return;
	if (now < when)
		wait_begins(bq, now, when);
	else
		vg_loop_defer(vg_dev_loop(bq->dev, bq->q), &bq->complete);
}

/* Whether what is done had better wait for more of what the disk has. */
static bool hold_back(struct blk_queue *bq)
{
	int64_t now;

	if (!bq->blk->wait_ns || bq->stopping || bq->starved || bq->inflight < HOLD_FROM ||
	    bq->n_done >= bq->inflight)
		return false;
	now = vg_span_ns();
	if (!bq->hold_until)
		bq->hold_until = now + vg_pace_wait(&bq->pace, limit_of(bq));
	if (now >= bq->hold_until)
		return false;
	wait_begins(bq, now, bq->hold_until);
	return true;
}

/* Whether the next requests had better gather: a disk that has none was faster than the driver. While
 * it has some, each is given to it as soon as it is seen. */
static bool gathers(struct blk_queue *bq)
{
	int64_t now;

	if (bq->stopping || bq->inflight || bq->pace.ahead < 2)
		return false;
	now = vg_span_ns();
	if (now >= bq->gather_until || vg_dev_rearm_after(bq->dev, bq->q, bq->pace.ahead))
		return false;
	wait_begins(bq, now, bq->gather_until);
	return true;
}

/* End of a turn: everything that completed goes to the guest with one copy, one notification. */
static void complete_all(struct vg_deferred *d)
{
	struct blk_queue *bq = container_of(d, struct blk_queue, complete);
	struct vg_dev *dev = bq->dev;
	struct vg_batch *batch = bq->batch;
	struct blk_req *done = bq->done;
	bool starved = bq->starved;
	int64_t now;

	if (hold_back(bq)) {
		process(bq);
		return;
	}
	now = vg_span_ns();
	bq->done = NULL;
	bq->done_tail = &bq->done;
	bq->n_done = 0;
	bq->hold_until = 0;
	vg_batch_init(batch, vg_dev_mem(dev, bq->q));
	for (struct blk_req *r = done; r; r = r->next) {
		if (r->has_data && r->status == VIRTIO_BLK_S_OK)
			vg_data_finish(&r->data, batch, r->len);
		if (r->status == VIRTIO_BLK_S_OK)
			blk_zones_answer(r, batch);
		blk_req_put_status(r, batch);
	}
	if (vg_batch_run(batch) < 0) {
		/* Some data did not reach its buffer: that request must not read as done. */
		for (struct blk_req *r = done; r; r = r->next) {
			if (!r->chain->error)
				continue;
			r->chain->error = 0;
			r->status = VIRTIO_BLK_S_IOERR;
			blk_req_put_status(r, batch);
			vg_batch_run(batch);
			if (r->chain->error)
				vg_dev_fault(dev,
					     "queue %u: the status byte of a request cannot be "
					     "written: %s",
					     bq->q, strerror(-r->chain->error));
		}
	}
	while (done) {
		struct blk_req *r = done;

		done = r->next;
		if (r->has_data)
			vg_data_end(&r->data);
		blk_req_count(r, now);
		vg_vq_push(vg_dev_vq(dev, bq->q), r->chain, blk_req_written(r));
		blk_req_put(r);
	}
	vg_dev_flush(dev, bq->q);
	/* What could not be taken for want of bounce memory, or of the engine's room for long chains,
	 * may be taken now; no notification will come for it (vg_vq_pop). */
	if (!bq->waiter.queued)
		bq->starved = false;
	if (bq->stopping)
		try_stop(bq);
	else if (starved || !gathers(bq))
		process(bq);
}

/* ---- taking requests ---------------------------------------------------- */

/* One batch of chains that have been popped. Return: how many could be taken, of @n. */
static unsigned take(struct blk_queue *bq, struct vg_chain **chains, unsigned n)
{
	struct vg_batch *batch = bq->batch;
	struct blk_req *reqs[BATCH];
	int64_t now = vg_span_ns();
	unsigned taken = n;

	vg_batch_init(batch, vg_dev_mem(bq->dev, bq->q));
	for (unsigned i = 0; i < n; i++) {
		struct vg_chain *c = chains[i];

		if (c->out_len < sizeof(reqs[i]->hdr) || c->in_len < 1) {
			vg_dev_fault(bq->dev, "queue %u: a request without header or status byte",
				     bq->q);
			vg_batch_run(batch);
			for (unsigned k = 0; k < i; k++)
				blk_req_put(reqs[k]);
			return n; /* nothing of them is answered before the reset */
		}
		reqs[i] = blk_req_get(bq, c);
		reqs[i]->taken = now;
		vg_chain_read(batch, c, 0, &reqs[i]->hdr, sizeof(reqs[i]->hdr));
		if (c->out_len == sizeof(reqs[i]->hdr) + sizeof(reqs[i]->range))
			vg_chain_read(batch, c, sizeof(reqs[i]->hdr), &reqs[i]->range,
				      sizeof(reqs[i]->range));
	}
	vg_batch_run(batch);
	for (unsigned i = 0; i < taken; i++) {
		if (chains[i]->error) {
			chains[i]->error = 0;
			blk_req_done(reqs[i], VIRTIO_BLK_S_IOERR);
		} else if (blk_req_parse(reqs[i], batch) == -ENOBUFS) {
			taken = i;
		}
	}
	vg_batch_run(batch); /* data of writes */
	for (unsigned i = 0; i < taken; i++) {
		struct blk_req *r = reqs[i];

		if (r->decided)
			continue;
		if (chains[i]->error) {
			chains[i]->error = 0;
			blk_req_done(r, VIRTIO_BLK_S_IOERR);
			continue;
		}
		bq->inflight++;
		blk_req_submit(r);
	}
	for (unsigned i = taken; i < n; i++)
		blk_req_put(reqs[i]);
	return taken;
}

static bool watch(struct blk_queue *bq)
{
	return vg_dev_watch(bq->dev, bq->q, bq->inflight || bq->done);
}

/* @all chains were taken since it was last asked. Return: whether there are more. */
static bool rearm(struct blk_queue *bq, unsigned *all)
{
	struct vg_dev *dev = bq->dev;
	int64_t limit = limit_of(bq), now;

	if (!limit || !vg_dev_has(dev, VG_F_EVENT_IDX))
		return watch(bq);
	now = vg_span_ns();
	vg_pace_took(&bq->pace, *all, dev->queue[bq->q].size / 2, now, limit,
		     bq->gather_until && now >= bq->gather_until);
	*all = 0;
	if (bq->pace.ahead < 2) {
		bq->gather_until = 0;
		return watch(bq);
	}
	bq->gather_until = now + vg_pace_wait(&bq->pace, limit);
	wait_begins(bq, now, bq->gather_until);
	return vg_dev_rearm_after(dev, bq->q, bq->pace.ahead);
}

/* ---- limits ------------------------------------------------------------- */

static struct blk_limits *limits_of(const struct blk_queue *bq)
{
	return atomic_load_explicit(&bq->blk->limits, memory_order_acquire);
}

/* What a request is to its limits, as far as its chain tells: header, data, status byte (5.2.6). What
 * write-zeroes comes to is known later. */
static struct blk_cost cost_of(const struct vg_chain *c)
{
	const size_t header = sizeof(struct virtio_blk_outhdr);
	bool reads = c->in_len > 1;
	size_t out = c->out_len > header ? c->out_len - header : 0;

	return (struct blk_cost){
		.write = !reads,
		.requests = reads || out,
		.bytes = reads ? c->in_len - 1 : out,
	};
}

/* Back to the ring, from @from on of @n; the first @paid had been paid for. */
static void put_back(struct blk_queue *bq, struct vg_chain **chains, unsigned from, unsigned paid,
		     unsigned n)
{
	struct blk_limits *l = limits_of(bq);

	while (n > from) {
		n--;
		if (n < paid && blk_limits_on(l)) {
			struct blk_cost cost = cost_of(chains[n]);

			blk_limits_give_back(l, &cost);
		}
		vg_vq_unpop(vg_dev_vq(bq->dev, bq->q), chains[n]);
	}
}

/* Return: how many of @n the limits allow; the others are back in the ring, and a timer brings us. */
static unsigned allowed(struct blk_queue *bq, struct vg_chain **chains, unsigned n)
{
	struct blk_limits *l = limits_of(bq);
	int64_t now, ns = 0;
	unsigned may = 0;

	if (!blk_limits_on(l))
		return n;
	now = vg_loop_now(vg_dev_loop(bq->dev, bq->q));
	for (; may < n; may++) {
		struct blk_cost cost = cost_of(chains[may]);

		ns = blk_limits_wait(l, &cost, now);
		if (ns)
			break;
		blk_limits_take(l, &cost, now);
	}
	if (may == n)
		return n;
	put_back(bq, chains, may, may, n);
	atomic_fetch_add_explicit(&bq->blk->limited[bq->q], 1, memory_order_relaxed);
	vg_loop_timer(vg_dev_loop(bq->dev, bq->q), &bq->paid, vg_rate_pause(ns));
	return may;
}

static void paid(struct vg_timer *t)
{
	process(container_of(t, struct blk_queue, paid));
}

static void process(struct blk_queue *bq)
{
	struct vg_chain *chains[BATCH];
	unsigned n, taken, all = 0;

	if (bq->stopping || bq->starved || bq->paid.tether || !vg_dev_vq(bq->dev, bq->q))
		return;
	do {
		vg_vq_quiet(vg_dev_vq(bq->dev, bq->q));
		while ((n = vg_dev_pop(bq->dev, bq->q, chains, BATCH)) > 0) {
			n = allowed(bq, chains, n);
			taken = take(bq, chains, n);
			all += taken;
			if (taken == n && bq->paid.tether)
				return;
			if (taken == n)
				continue;
			put_back(bq, chains, taken, n, n);
			bq->starved = true;
			vg_bounce_wait(vg_dev_mem(bq->dev, bq->q), vg_dev_loop(bq->dev, bq->q),
				       &bq->waiter);
			return;
		}
	} while (rearm(bq, &all));
}
void blk_queue_ready(struct vg_dev *dev, unsigned q)
{
	struct blk *blk = dev->priv;

	process(&blk->queue[q]);
}
/* Bounce memory has come back. */
static void fed(struct vg_bounce_waiter *w)
{
	struct blk_queue *bq = container_of(w, struct blk_queue, waiter);

	bq->starved = false;
	process(bq);
}

/* ---- starting, stopping ------------------------------------------------- */

void blk_start_queue(struct vg_dev *dev, unsigned q)
{
	struct blk *blk = dev->priv;
	struct blk_queue *bq = &blk->queue[q];
	uint32_t size = dev->queue[q].size;

	*bq = (struct blk_queue){ .dev = dev, .blk = blk, .q = q };
	bq->done_tail = &bq->done;
	bq->complete.run = complete_all;
	bq->timer.expired = wait_is_over;
	bq->paid.expired = paid;
	bq->waiter.run = fed;
	bq->reqs = calloc(size, sizeof(*bq->reqs));
	bq->batch = malloc(sizeof(*bq->batch));
	if (!bq->reqs || !bq->batch ||
	    vg_image_channel_open(blk->img, vg_dev_loop(dev, q), &bq->disk) < 0) {
		vg_error("queue %u: out of memory for %u requests", q, size);
		vg_dev_fault(dev, "queue %u cannot start", q);
		bq->stopping = true;
		return;
	}
	for (uint32_t i = 0; i < size; i++) {
		bq->reqs[i].io.done = blk_req_io_done;
		bq->reqs[i].bq = bq;
		blk_req_put(&bq->reqs[i]);
	}
}

static void synced(struct vg_image_req *io, int error)
{
	struct blk_queue *bq = container_of(io, struct blk_queue, sync);

	if (error)
		vg_log_limited(&bq->blk->io_errors[bq->q], VG_LOG_ERR,
			       "flushing for a reset failed: %s", strerror(-error));
	bq->inflight--;
	try_stop(bq);
}

/*
 * What a guest wrote may lie in this host's page cache. After a reset another host may serve the image,
 * where the guest goes on (live migration), and there it flushes: so that must be on the disk by then. A
 * successor on this host needs nothing of that. Return: whether it takes a while.
 */
static bool syncs_first(struct blk_queue *bq)
{
	const struct blk *blk = bq->blk;

	if (!bq->unsynced || !bq->dev->resetting || blk->img->read_only || blk->write_through ||
	    blk->flush_is_nothing)
		return false;
	bq->unsynced = false;
	bq->inflight++;
	bq->sync = (struct vg_image_req){ .done = synced, .op = VG_IMAGE_FLUSH };
	vg_image_submit(&bq->disk, &bq->sync);
	return true;
}

/* A queue that stops has stopped when all that was taken is answered. */
static void try_stop(struct blk_queue *bq)
{
	if (!bq->stopping || bq->stopped || bq->inflight || bq->done || syncs_first(bq))
		return;
	bq->stopped = true;
	vg_loop_timer_stop(&bq->timer);
	vg_loop_timer_stop(&bq->paid);
	vg_loop_undefer(vg_dev_loop(bq->dev, bq->q), &bq->complete);
	vg_bounce_unwait(vg_dev_mem(bq->dev, bq->q), &bq->waiter);
	vg_image_channel_close(&bq->disk);
	free(bq->reqs);
	free(bq->batch);
	bq->reqs = NULL;
	bq->batch = NULL;
	vg_dev_queue_stopped(bq->dev, bq->q);
}

/* What the disk has begun is finished first: a write that lands after the driver was told that the
 * device has stopped could overwrite a later one. */
void blk_stop_queue(struct vg_dev *dev, unsigned q)
{
	struct blk *blk = dev->priv;
	struct blk_queue *bq = &blk->queue[q];

	bq->stopping = true;
	vg_loop_timer_stop(&bq->timer);
	if (bq->done)
		vg_loop_defer(vg_dev_loop(dev, q), &bq->complete);
	try_stop(bq);
}
