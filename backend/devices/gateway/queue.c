// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * queue.c - a queue: a request of the guest's becomes one to the daemon
 *
 *	guest's ring --pop--> bounce memory --add--> daemon
 *	guest's ring <-push-- bounce memory <-used-- daemon
 *
 * What a turn takes is copied with one batch, and what a turn brings back with another. A request for
 * which there is no room is put back, the newest first, until another returns.
 *
 * Stopping: the daemon is asked where the ring stands (GET_VRING_BASE), and takes nothing from then on.
 * What it has not taken is put back into the guest's ring; what it has taken comes back. Only then is the
 * queue stopped, and its memory free. A daemon that keeps a request for too long is lost.
 *
 * The daemon lost, nothing that it has is answered: a successor of this worker finds it in the in-flight
 * record, marked as resubmitted, and gives it to the daemon that it finds (gateway.c). Where there is no
 * record, as for a front-end of vhost-user that keeps none, they come back empty.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend/devices/gateway/int.h"

enum {
	BATCH = 32,  /* requests of one copy */
	ROUNDS = 16, /* batches of one turn */
};

int gw_queue_open(struct gateway *gw, unsigned q)
{
	struct gw_queue *gq = &gw->queue[q];
	/* Pages that lie behind all rings, as many for each queue. */
	uint32_t n_pages = VG_LIMIT_GATEWAY_BYTES / gw->dev->n_queues / GW_PAGE;
	size_t ring = (size_t)q * GW_RING_BYTES;
	size_t bounce = (size_t)GW_QUEUES * GW_RING_BYTES + (size_t)q * n_pages * GW_PAGE;

	gq->gw = gw;
	gq->index = q;
	gq->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	gq->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (gq->kick < 0 || gq->call < 0)
		return -errno;
	return gw_ring_init(&gq->ring, gw->memory + ring, GW_BASE + ring, gw->memory + bounce,
			    GW_BASE + bounce, n_pages);
}

void gw_queue_close(struct gw_queue *gq)
{
	if (!gq->gw)
		return;
	vg_loop_timer_stop(&gq->drain);
	vg_loop_unwatch(&gq->watch);
	if (gq->kick >= 0)
		close(gq->kick);
	if (gq->call >= 0)
		close(gq->call);
	gw_ring_fini(&gq->ring);
}

/* ---- back to the guest --------------------------------------------------- */

static void answer(struct gw_queue *gq, struct vg_chain *c, uint32_t len, bool ok)
{
	struct vg_dev *dev = gq->gw->dev;
	struct vg_dev_stats *stats = vg_dev_stats(dev, gq->index);

	if (c->error) {
		vg_dev_fault(dev, "a buffer cannot be reached: %s", strerror(-c->error));
		len = 0;
		ok = false;
	}
	stats->requests++;
	stats->errors += !ok;
	stats->bytes_read += len;
	stats->bytes_written += ok ? c->out_len : 0;
	vg_vq_push(vg_dev_vq(dev, gq->index), c, len);
}

/* Say that @c has failed, as its driver understands it. */
static void refuse(struct gw_queue *gq, struct vg_chain *c)
{
	const struct gw_failure *f = gq->gw->type->failure;
	uint8_t bytes[GW_ANSWER];
	struct vg_batch b;
	uint32_t len = 0;

	vg_batch_init(&b, vg_dev_mem(gq->gw->dev, gq->index));
	if (f && c->in_len >= f->n) {
		memcpy(bytes, f->bytes, f->n);
		len = f->at_end ? c->in_len : f->n;
		if (f->echo && vg_chain_read(&b, c, f->from, bytes + f->to, 8) == 0)
			vg_batch_run(&b);
		vg_chain_write(&b, c, f->at_end ? c->in_len - f->n : 0, bytes, f->n);
		vg_batch_run(&b);
	}
	answer(gq, c, len, false);
}

struct done {
	unsigned slot;
	uint32_t len;
};

/* Bytes [from, to) of what the device writes, but for what is where it belongs. */
static void bring_part(struct vg_batch *b, const struct gw_slot *s, uint32_t from, uint32_t to)
{
	struct vg_chain *c = s->chain;
	uint32_t begin = 0;

	if (!s->direct) {
		vg_chain_write(b, c, from, s->in + from, to - from);
		return;
	}
	for (unsigned i = c->n_out; i < (unsigned)c->n_out + c->n_in; i++) {
		uint32_t end = begin + c->segs[i].len;
		uint32_t first = from > begin ? from : begin, last = to < end ? to : end;

		if (first < last && !(s->direct >> i & 1))
			vg_chain_write(b, c, first, s->in + first, last - first);
		begin = end;
	}
}

/* As much as it says that it wrote, and a status behind that. */
static void bring_one(struct vg_batch *b, const struct gw_slot *s, uint32_t len, uint32_t tail)
{
	uint32_t in_len = s->chain->in_len;

	if (in_len < tail)
		tail = in_len;
	bring_part(b, s, 0, len);
	if (len < in_len)
		bring_part(b, s, in_len - tail > len ? in_len - tail : len, in_len);
}

static void bring_back(struct gw_queue *gq, const struct done *done, unsigned n)
{
	struct gw_ring *r = &gq->ring;
	struct vg_batch b;

	vg_batch_init(&b, vg_dev_mem(gq->gw->dev, gq->index));
	for (unsigned i = 0; i < n; i++) {
		const struct gw_slot *s = &r->slot[done[i].slot];

		bring_one(&b, s, done[i].len, gq->gw->type->tail);
	}
	vg_batch_run(&b);
	for (unsigned i = 0; i < n; i++) {
		struct vg_chain *c = r->slot[done[i].slot].chain;

		gw_ring_give_back(r, done[i].slot);
		answer(gq, c, done[i].len, true);
	}
}

/* All that the daemon is done with. Return: whether it made sense; else it is lost. */
static bool reap(struct gw_queue *gq)
{
	struct done done[BATCH];
	struct vg_err err = { "" };
	bool any = false;
	unsigned n;
	int ret;

	do {
		for (n = 0; n < BATCH; n++) {
			ret = gw_ring_used_next(&gq->ring, &done[n].slot, &done[n].len, &err);
			if (ret != 1)
				break;
			/* What the daemon has not written is zero. */
			if (gq->gw->type->whole)
				done[n].len = gq->ring.slot[done[n].slot].chain->in_len;
		}
		bring_back(gq, done, n);
		any |= n > 0;
	} while (n == BATCH);
	if (any)
		vg_dev_flush(gq->gw->dev, gq->index);
	if (ret < 0)
		gw_lose(gq->gw, "queue %u: %s", gq->index, err.text);
	return ret >= 0;
}

/* ---- to the daemon ------------------------------------------------------- */

static void kick(const struct gw_queue *gq)
{
	const uint64_t one = 1;

	/* EAGAIN: it has not read what was written before, and will. */
	if (write(gq->kick, &one, sizeof(one)) < 0 && errno != EAGAIN)
		vg_warn("queue %u: the daemon cannot be notified: %s", gq->index, strerror(errno));
}

/* Its predecessor's daemon may have carried it out, or half of it. */
static bool must_not_again(const struct gw_queue *gq, const struct vg_chain *c)
{
	return c->resubmitted && c->out_len && !gq->gw->type->again;
}

/* What the daemon reads, but for what it has. */
static void take_out(struct vg_batch *b, const struct gw_slot *s)
{
	struct vg_chain *c = s->chain;
	uint32_t at = 0;

	if (!s->direct)
		vg_chain_read(b, c, 0, s->out, c->out_len);
	for (unsigned i = 0; s->direct && i < c->n_out; i++) {
		if (!(s->direct >> i & 1))
			vg_chain_read(b, c, at, s->out + at, c->segs[i].len);
		at += c->segs[i].len;
	}
}

/*
 * Give @n chains slots, and queue the copies; one that there is no room for is put back, with all behind
 * it. @slots: -1 for one that was answered. Return: how many were taken.
 */
static unsigned place(struct gw_queue *gq, struct vg_batch *b, struct vg_chain **c, int *slots,
		      unsigned n)
{
	struct vg_vq *vq = vg_dev_vq(gq->gw->dev, gq->index);

	for (unsigned i = 0; i < n; i++) {
		uint64_t bytes, direct = gw_share_segments(gq->gw, b->mem, c[i], &bytes);

		slots[i] =
			must_not_again(gq, c[i]) ? -E2BIG : gw_ring_take(&gq->ring, c[i], direct);
		if (slots[i] == -ENOBUFS) {
			gq->starved = true;
			while (n > i)
				vg_vq_unpop(vq, c[--n]);
			return i;
		}
		if (slots[i] < 0)
			continue;
		gq->gw->uncopied += bytes;
		take_out(b, &gq->ring.slot[slots[i]]);
	}
	return n;
}

/* Return: how many were taken from the guest's ring. */
static unsigned take_some(struct gw_queue *gq)
{
	struct vg_dev *dev = gq->gw->dev;
	struct vg_chain *c[BATCH];
	int slots[BATCH];
	struct vg_batch b;
	unsigned n = vg_dev_pop(dev, gq->index, c, BATCH);
	bool added = false, answered = false;

	vg_batch_init(&b, vg_dev_mem(dev, gq->index));
	n = place(gq, &b, c, slots, n);
	vg_batch_run(&b);
	for (unsigned i = 0; i < n; i++) {
		if (slots[i] < 0) {
			refuse(gq, c[i]);
			answered = true;
		} else if (c[i]->error) {
			gw_ring_give_back(&gq->ring, (unsigned)slots[i]);
			answer(gq, c[i], 0, false);
			answered = true;
		} else {
			gw_ring_add(&gq->ring, (unsigned)slots[i]);
			added = true;
		}
	}
	if (added && gw_ring_publish(&gq->ring))
		kick(gq);
	if (answered)
		vg_dev_flush(dev, gq->index);
	return n;
}

void gw_queue_take(struct gw_queue *gq)
{
	struct vg_dev *dev = gq->gw->dev;
	unsigned rounds = 0;

	if (!gq->running || gq->stopping)
		return;
	gq->starved = false;
	do {
		while (take_some(gq) > 0) {
			if (++rounds == ROUNDS) {
				vg_dev_kick_later(dev, gq->index);
				return;
			}
		}
	} while (!gq->starved && vg_dev_rearm(dev, gq->index));
}

/* ---- stopping ------------------------------------------------------------ */

static bool any_runs(const struct gateway *gw)
{
	for (unsigned q = 0; q < gw->dev->n_queues; q++) {
		if (gw->queue[q].running)
			return true;
	}
	return false;
}

void gw_queue_part(struct gw_queue *gq)
{
	if (!gq->parting)
		return;
	gq->parting = false;
	vg_dev_queue_stopped(gq->gw->dev, gq->index);
}

/* It has what was taken no more, or never will. The last one waits until it has nothing of the guest's. */
static void stopped(struct gw_queue *gq)
{
	vg_loop_timer_stop(&gq->drain);
	vg_loop_unwatch(&gq->watch);
	gq->running = gq->stopping = gq->based = false;
	gq->parting = true;
	if (any_runs(gq->gw) || !gw_share_end(gq->gw))
		gw_queue_part(gq);
}

/* Who comes next finds what is out in the record; where there is none, nobody would. */
static void leave(struct gw_queue *gq)
{
	struct gw_ring *r = &gq->ring;
	bool record = vg_dev_leave(gq->gw->dev, gq->index);

	for (unsigned i = 0; i < GW_SLOTS; i++) {
		if (r->slot[i].chain && !record)
			answer(gq, r->slot[i].chain, 0, false);
		r->slot[i].chain = NULL;
	}
	stopped(gq);
}

static void drained(struct gw_queue *gq)
{
	if (gq->based && gw_ring_out(&gq->ring) == 0)
		stopped(gq);
}

static void drain_expired(struct vg_timer *t)
{
	struct gw_queue *gq = container_of(t, struct gw_queue, drain);

	gw_lose(gq->gw, "queue %u: it keeps %u requests of a queue that is to stop", gq->index,
		gw_ring_out(&gq->ring));
}

void gw_queue_based(struct gw_queue *gq, uint32_t base)
{
	struct gw_ring *r = &gq->ring;
	unsigned left = (uint16_t)(r->avail_idx - (uint16_t)base);

	if (!gq->stopping || gq->based || !reap(gq))
		return;
	if (left > gw_ring_out(r)) {
		gw_lose(gq->gw, "queue %u: it says that it is at %u, and %u were made available",
			gq->index, base, r->avail_idx);
		return;
	}
	gq->based = true;
	while (left--) {
		unsigned slot = r->order[--r->avail_idx % GW_RING];
		struct vg_chain *c = r->slot[slot].chain;

		if (!r->slot[slot].there) {
			gw_lose(gq->gw, "queue %u: it gives back what it has not taken", gq->index);
			return;
		}
		gw_ring_give_back(r, slot);
		vg_vq_unpop(vg_dev_vq(gq->gw->dev, gq->index), c);
	}
	gq->drain.expired = drain_expired;
	vg_loop_timer(gq->gw->dev->loop, &gq->drain, gw_patience_ns);
	drained(gq);
}

void gw_queue_lost(struct gw_queue *gq)
{
	if (gq->stopping)
		leave(gq);
}

void gw_queue_stop(struct gw_queue *gq)
{
	gq->stopping = true;
	if (gw_is_lost(&gq->gw->link) || !gq->running) {
		leave(gq);
		return;
	}
	gw_ask_base(gq);
}

/* ---- life ---------------------------------------------------------------- */

static void called(struct vg_watch *w, unsigned events)
{
	struct gw_queue *gq = container_of(w, struct gw_queue, watch);
	uint64_t n;

	(void)events;
	if (read(gq->call, &n, sizeof(n)) < 0 && errno != EAGAIN)
		vg_loop_unwatch(w);
	if (gw_is_lost(&gq->gw->link) || !reap(gq))
		return;
	if (gq->stopping)
		drained(gq);
	else if (gq->starved)
		gw_queue_take(gq);
}

void gw_queue_start(struct gw_queue *gq)
{
	gw_ring_start(&gq->ring);
	gq->running = !gw_is_lost(&gq->gw->link);
	gq->starved = false;
	if (!gq->running)
		return;
	gq->watch.ready = called;
	vg_loop_watch(gq->gw->dev->loop, &gq->watch, gq->call);
	gw_say_ring(gq);
}
