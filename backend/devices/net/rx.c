// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rx.c - from the link to the guest, VIRTIO 1.3 sections 5.1.6.3 and 5.1.6.4
 *
 *	io_uring --> wanted? --> driver's buffers, one copy a turn --> used, one notification
 *
 * Frames are read into memory of our own and copied to the guest's, all of a turn
 * with one batch. How long a frame is, and whether the guest wants it, is known only
 * once it was read, so that the driver's buffers cannot be given to the kernel
 * beforehand without tying up 64 KiB of them for each read.
 *
 * A long frame costs more to copy than to ask for: where frames are of NET_RX_LARGE
 * bytes and more, and the guest's memory is there to be written to, the sentinel (below) reads
 * straight into the oldest 64 KiB of buffers, of which the frame uses what it needs. One that
 * the guest does not want is overwritten by the next, unannounced. The driver is told once the
 * next read was submitted, which may have found the next frame. tests/bench/xen-net, in one
 * boot, beside frames that are read so only where they wait behind another, one by one with a
 * system call: 1.12, 1.10 and 1.15 times as many bytes a second. tests/bench/bench_net.sh, CPU time
 * of a frame of 64000 bytes, likewise: one at once 4.6 us instead of 5.6 and 6.8, eight at once 4.6
 * and 3.9 instead of 4.0 and 3.7.
 *
 * One read, the sentinel, waits for the next frame; it is submitted with what else
 * the turn submits and costs no system call of its own, nor does being told. Where
 * frames come faster than turns, reads that do not wait are submitted before it, as
 * many as lately found something: see adapt().
 *
 * While the driver has no buffers nothing is read: the link keeps what it can, and
 * the host drops the rest there, where it counts it.
 *
 * What the driver has made available and no frame has used yet is held, popped, for
 * a frame may need many buffers (MRG_RXBUF) and they may come one by one.
 *
 * The link chooses a queue by flow, and not as the driver's table says (RSS, 5.1.6.5.6).
 * A frame that belongs to another pair is lent to it: the slot that it was read into
 * goes there, and comes back when it is delivered. A pair that has no buffers for it
 * gives it back at once, undelivered, as a card drops what comes to a queue without any;
 * and a pair lends NET_RX_LENT at most, so that one that is slow does not stop others.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/net/int.h"

enum {
	SLOTS = VG_LIMIT_NET_RX_SLOTS,
	USED = 256,	 /* buffers that one batch fills */
	FIRST_BURST = 4, /* reads */
	CALM = 4,	 /* single frames before a burst is tried */
	CALM_MAX = 64,
	PATIENCE = 3, /* shorter frames in a row until they are copied again */
};

#define AGAIN_NS NS_PER_S /* a link that failed is tried again */

static struct vg_loop *loop_of(const struct net_pair *p)
{
	return vg_dev_loop(p->dev, p->rx.q);
}

static unsigned aim(struct net_pair *p);
static void hit(struct net_pair *p, struct net_rx_slot *s, uint32_t got);
static void try_stop(struct net_pair *p);
static void post(struct net_pair *p);

/* ---- reads -------------------------------------------------------------- */

static struct net_rx_slot *slot_get(struct net_rx *rx)
{
	struct net_rx_slot *s = rx->free;

	rx->free = s->next;
	s->next = NULL;
	return s;
}

static void slot_put(struct net_rx *rx, struct net_rx_slot *s)
{
	s->next = rx->free;
	rx->free = s;
}

/* Have @s->post.run called in the context of @to, from that of @p. */
static void pass(struct net_pair *p, unsigned to, struct net_rx_slot *s)
{
	struct vg_loop *loop = vg_dev_loop(p->dev, to * 2);

	if (loop == loop_of(p))
		s->post.run(&s->post);
	else
		vg_loop_post(loop, &s->post);
}

/* In its own context again. */
static void came_back(struct vg_post *back)
{
	struct net_rx_slot *s = container_of(back, struct net_rx_slot, post);
	struct net_pair *p = s->pair;

	p->rx.lent--;
	slot_put(&p->rx, s);
	if (p->rx.stopping)
		try_stop(p);
	else
		post(p);
}

/* @p has done with @s, its own or one that was lent to it. */
static void slot_done(struct net_pair *p, struct net_rx_slot *s)
{
	struct net_pair *owner = s->pair;

	if (owner == p) {
		slot_put(&p->rx, s);
		return;
	}
	s->post.run = came_back;
	pass(p, owner->index, s);
}

static void ready(struct net_pair *p, struct net_rx_slot *s)
{
	s->next = NULL;
	*p->rx.ready_tail = s;
	p->rx.ready_tail = &s->next;
}

/* In the context of the pair that it is for. */
static void was_lent(struct vg_post *lent)
{
	struct net_rx_slot *s = container_of(lent, struct net_rx_slot, post);
	struct net_pair *p = &s->pair->net->pair[s->to];

	if (!p->rx.slots || p->rx.stopping) {
		net_count(&p->n.rx_unsteered);
		slot_done(p, s);
		return;
	}
	ready(p, s);
	vg_loop_defer(loop_of(p), &p->rx.deliver);
}

/* 5.1.6.5.6.2: which pair is the packet for? And what its hash is, if anybody asks. */
static void classify(struct net_pair *p, struct net_rx_slot *s)
{
	s->report = net_hash_packet(&p->hash, s->buf + NET_HASH_ROOM + NET_HDR, s->len - NET_HDR,
				    &s->hash);
	s->to = (uint16_t)p->index;
	if (p->rss.steers)
		s->to = s->report ? p->rss.table[s->hash & p->rss.mask] : p->rss.unclassified;
}

static void steer(struct net_pair *p, struct net_rx_slot *s)
{
	if (s->to == p->index) {
		ready(p, s);
	} else if (p->rx.lent < NET_RX_LENT) {
		p->rx.lent++;
		s->post.run = was_lent;
		pass(p, s->to, s);
	} else {
		net_count(&p->n.rx_unsteered);
		slot_put(&p->rx, s);
	}
}

static void failed(struct net_pair *p, int error)
{
	struct net_rx *rx = &p->rx;

	switch (error) {
	case -EAGAIN:
		rx->dry = true;
		break;
	case -EOPNOTSUPP:
		rx->cannot_burst = true;
		break;
	case -ECANCELED:
	case -EINTR:
		break;
	default:
		net_count(&p->n.rx_failed);
		if (!rx->stopping && !rx->again.tether)
			vg_loop_timer(loop_of(p), &rx->again, AGAIN_NS);
		break;
	}
}

/* A frame of @len bytes, with the link's header, is in @s. */
static void came(struct net_pair *p, struct net_rx_slot *s, uint32_t len)
{
	s->len = len;
	p->rx.got++;
	classify(p, s);
	steer(p, s);
}

/* The sentinel writes to no buffers of the guest's any more. */
static void unhold_aim(struct net_pair *p)
{
	struct vg_mem *mem = vg_dev_mem(p->dev, p->rx.q);

	p->rx.aim.n = 0;
	if (mem->ops->hold)
		mem->ops->release(mem, p->rx.aim.held);
}

static void read_done(struct vg_io *io, int res)
{
	struct net_rx_slot *s = container_of(io, struct net_rx_slot, io);
	struct net_pair *p = s->pair;
	struct net_rx *rx = &p->rx;

	bool aimed = rx->sentinel == s && rx->aim.n;

	rx->inflight--;
	if (rx->sentinel == s)
		rx->sentinel = NULL;
	if (aimed)
		unhold_aim(p);
	if (res >= NET_HDR + NET_ETH && !rx->stopping) {
		if (aimed)
			hit(p, s, (uint32_t)res);
		else
			came(p, s, (uint32_t)res);
	} else {
		slot_put(rx, s);
		if (res < NET_HDR + NET_ETH)
			failed(p, res < 0 ? res : -EIO);
	}
	if (rx->stopping)
		try_stop(p);
	else
		vg_loop_defer(loop_of(p), &rx->deliver);
}

/*
 * How many reads to submit that do not wait. A sentinel that finds a frame does not tell whether
 * there are more, and asking costs a turn: so it is asked after some single frames, ever more seldom
 * if in vain. What found all that it looked for is doubled.
 */
static void adapt(struct net_rx *rx)
{
	if (rx->large) { /* one after the other */
		rx->got = 0;
		rx->dry = false;
		return;
	}
	if (rx->burst && rx->dry) {
		/* The sentinel's, too, is among them. */
		rx->burst = rx->got > 2 ? rx->got - 1 : 0;
		if (rx->burst)
			rx->patience = CALM;
		else if (rx->patience < CALM_MAX)
			rx->patience *= 2;
		rx->calm = 0;
	} else if (rx->burst) {
		rx->burst = rx->burst * 2 < SLOTS - 1 ? rx->burst * 2 : SLOTS - 1;
	} else if (rx->got && ++rx->calm >= rx->patience) {
		rx->burst = FIRST_BURST;
		rx->calm = 0;
	}
	if (rx->cannot_burst)
		rx->burst = 0;
	rx->got = 0;
	rx->dry = false;
}

static void post(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;
	struct vg_loop *loop = loop_of(p);

	if (rx->stopping || !rx->slots || rx->sentinel || rx->ready || rx->again.tether)
		return;
	adapt(rx);
	for (unsigned i = 0; i < rx->burst && !rx->large && rx->free && rx->free->next; i++) {
		struct net_rx_slot *s = slot_get(rx);

		rx->inflight++;
		vg_loop_readv_now(loop, &s->io, p->fd, &s->iov, 1, 0);
	}
	if (!rx->free)
		return; /* others deliver what there is */
	rx->sentinel = slot_get(rx);
	rx->inflight++;
	if (aim(p))
		vg_loop_readv(loop, &rx->sentinel->io, p->fd, rx->aim.iov, rx->aim.n, 0);
	else
		vg_loop_readv(loop, &rx->sentinel->io, p->fd, &rx->sentinel->iov, 1, 0);
}

static void try_again(struct vg_timer *t)
{
	post(container_of(t, struct net_pair, rx.again));
}

/* ---- the driver's buffers ----------------------------------------------- */

static struct vg_chain *held_at(const struct net_rx *rx, unsigned i, uint32_t size)
{
	return rx->held[(rx->held_head + i) % size];
}

/* Take what the driver has made available. Return: whether there was anything. */
static bool hold(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;
	uint32_t size = p->dev->queue[rx->q].size;
	struct vg_chain *chains[NET_BATCH];
	unsigned n, room = size - rx->held_n;

	n = room ? vg_dev_pop(p->dev, rx->q, chains, room < NET_BATCH ? room : NET_BATCH) : 0;
	for (unsigned i = 0; i < n; i++) {
		rx->held[(rx->held_head + rx->held_n++) % size] = chains[i];
		rx->held_bytes += chains[i]->in_len;
		rx->held_descs += chains[i]->ndesc;
	}
	return n > 0;
}

static struct vg_chain *unhold(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;
	uint32_t size = p->dev->queue[rx->q].size;
	struct vg_chain *c = rx->held[rx->held_head];

	rx->held_head = (rx->held_head + 1) % size;
	rx->held_n--;
	rx->held_bytes -= c->in_len;
	rx->held_descs -= c->ndesc;
	return c;
}

/* How many of the held buffers take @len bytes; 0: they do not. */
static unsigned buffers_for(const struct net_pair *p, uint32_t len)
{
	const struct net_rx *rx = &p->rx;
	uint32_t size = p->dev->queue[rx->q].size;
	uint64_t bytes = 0;
	unsigned n = 0;

	if (rx->held_bytes < len)
		return 0;
	while (bytes < len)
		bytes += held_at(rx, n++, size)->in_len;
	return n;
}

/* ---- delivery ----------------------------------------------------------- */

struct used {
	struct {
		struct vg_chain *chain;
		uint32_t len;
	} at[USED];
	unsigned n;
};

/* Copy, and publish. */
static void finish(struct net_pair *p, struct used *u)
{
	struct net_rx *rx = &p->rx;

	vg_batch_run(rx->batch);
	for (unsigned i = 0; i < u->n; i++) {
		struct vg_chain *c = u->at[i].chain;

		if (c->error) {
			vg_dev_fault(p->dev, "queue %u: a receive buffer cannot be written: %s",
				     rx->q, strerror(-c->error));
			c->error = 0;
			u->at[i].len = 0;
		}
		vg_vq_push(vg_dev_vq(p->dev, rx->q), c, u->at[i].len);
	}
	u->n = 0;
	while (rx->written) {
		struct net_rx_slot *s = rx->written;

		rx->written = s->next;
		slot_done(p, s);
	}
}

/* The header that the guest gets, of p->net->hdr bytes, from the link's, @from, which may be the same
 * memory. What the host says of the frame; a TAP leaves num_buffers, the rest of it, as it finds it. */
static void put_header(const struct net_pair *p, void *to, const void *from, unsigned buffers,
		       uint16_t report, uint32_t hash)
{
	struct virtio_net_hdr_v1_hash h = { .hash_value = htole32(hash),
					    .hash_report = htole16(report) };

	memcpy(&h.hdr, from, NET_HDR);
	h.hdr.flags &= vg_dev_has(p->dev, VIRTIO_NET_F_GUEST_CSUM)
			       ? VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID
			       : 0;
	h.hdr.num_buffers = htole16((uint16_t)buffers);
	memcpy(to, &h, p->net->hdr);
}

enum fate { DELIVERED, DROPPED, LATER };

/* The oldest frame, which the guest wants. */
static enum fate deliver_one(struct net_pair *p, struct net_rx_slot *s, struct used *u)
{
	struct net_rx *rx = &p->rx;
	struct vg_dev *dev = p->dev;
	bool merge = vg_dev_has(dev, VIRTIO_NET_F_MRG_RXBUF);
	uint32_t done = 0, len = s->len - NET_HDR + p->net->hdr;
	uint8_t *from = s->buf + NET_HDR_HASH - p->net->hdr;
	unsigned n;

	while (rx->held_n == 0 && hold(p))
		;
	if (merge) {
		while (rx->held_bytes < len && hold(p))
			;
	}
	if (rx->held_n == 0)
		return LATER;
	if (rx->held[rx->held_head]->in_len < p->net->hdr) {
		vg_dev_fault(dev, "queue %u: a receive buffer of %u bytes", rx->q,
			     rx->held[rx->held_head]->in_len);
		return DROPPED;
	}
	n = merge ? buffers_for(p, len) : rx->held[rx->held_head]->in_len >= len;
	if (!n) {
		/* More buffers may come, unless these are all that fit into the ring. */
		if (merge && rx->held_descs < dev->queue[rx->q].size)
			return LATER;
		net_count(&p->n.rx_small);
		return DROPPED;
	}
	if (n > USED) {
		net_count(&p->n.rx_small);
		return DROPPED;
	}
	if (u->n + n > USED)
		finish(p, u);
	put_header(p, from, s->buf + NET_HASH_ROOM, n, s->report, s->hash);
	if (vg_capture_on(&p->capture)) {
		const struct iovec frame = { .iov_base = s->buf + NET_HASH_ROOM,
					     .iov_len = s->len };

		vg_capture_packet(&p->capture, VG_CAPTURE_ETHERNET, &frame, 1, NET_HDR);
	}
	while (n--) {
		struct vg_chain *c = unhold(p);
		uint32_t part = c->in_len < len - done ? c->in_len : len - done;

		vg_chain_write(rx->batch, c, 0, from + done, part);
		u->at[u->n].chain = c;
		u->at[u->n++].len = part;
		done += part;
	}
	vg_dev_stats(dev, rx->q)->requests++;
	vg_dev_stats(dev, rx->q)->bytes_read += s->len - NET_HDR;
	if (s->len >= NET_RX_LARGE)
		rx->large = PATIENCE;
	return DELIVERED;
}

/* Give the guest all frames that are there, as far as it has buffers. Return: whether it lacks some. */
static bool deliver_all(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;
	struct used u = { .n = 0 };
	bool later = false;

	vg_batch_init(rx->batch, vg_dev_mem(p->dev, rx->q));
	while (rx->ready && !later) {
		struct net_rx_slot *s = rx->ready;
		enum fate fate = DROPPED;

		if (!atomic_load_explicit(&p->net->cut, memory_order_relaxed) &&
		    net_filter_pass(&p->filter, s->buf + NET_HASH_ROOM + NET_HDR, s->len - NET_HDR))
			fate = deliver_one(p, s, &u);
		else
			net_count(&p->n.rx_filtered);
		if (fate == LATER && s->pair != p) {
			net_count(&p->n.rx_unsteered);
			fate = DROPPED;
		}
		later = fate == LATER;
		if (later)
			break;
		rx->ready = s->next;
		if (!rx->ready)
			rx->ready_tail = &rx->ready;
		if (fate == DELIVERED) {
			s->next = rx->written;
			rx->written = s;
		} else {
			slot_done(p, s);
		}
	}
	finish(p, &u);
	vg_dev_flush(p->dev, rx->q);
	return later;
}

/* ---- straight into the guest's memory ----------------------------------- */

/* Not what has to be looked at first, nor what has to lie in one buffer. */
static bool may_aim(const struct net_pair *p)
{
	return p->rx.large && !p->hash.types && !p->rss.steers && !vg_capture_on(&p->capture) &&
	       vg_dev_has(p->dev, VIRTIO_NET_F_MRG_RXBUF);
}

/*
 * Set rx->aim: the oldest buffers, for the longest frame, behind room for the link's header; the guest's own
 * is left out. They stay where they are, at the head of what is held, and nothing else is delivered meanwhile.
 * Return: how many iovecs; 0: there are not enough, or not such ones.
 */
static unsigned aim(struct net_pair *p)
{
	struct vg_mem *mem = vg_dev_mem(p->dev, p->rx.q);
	struct net_rx *rx = &p->rx;
	uint32_t size = p->dev->queue[rx->q].size, skip = p->net->hdr, held = 0;
	const uint32_t need = skip + NET_FRAME_MAX;
	uint64_t bytes = 0;
	unsigned n = 0;

	if (!may_aim(p))
		return 0;
	while (rx->held_bytes < need && hold(p))
		;
	if (rx->held_bytes < need || held_at(rx, 0, size)->in_len < skip + NET_ETH + NET_VLAN)
		return 0;
	rx->aim.iov[n++] = (struct iovec){ .iov_base = rx->aim.head, .iov_len = NET_HDR };
	do {
		const struct vg_chain *c = held_at(rx, n - 1, size);
		const struct vg_seg *seg = &c->segs[c->n_out];
		uint8_t *at = n < NET_RX_IOV && c->n_in == 1
				      ? vg_mem_direct(mem, seg->addr, seg->len, VG_TO_GUEST)
				      : NULL;

		if (!at) {
			if (mem->ops->hold)
				mem->ops->release(mem, held);
			return 0;
		}
		if (mem->ops->hold)
			held = mem->ops->hold(mem, held);
		rx->aim.iov[n++] =
			(struct iovec){ .iov_base = at + skip, .iov_len = seg->len - skip };
		bytes += seg->len;
		skip = 0;
	} while (bytes < need);
	rx->aim.held = held;
	rx->aim.n = n;
	return n;
}

/* The frame of @got bytes that was read to rx->aim, into @s. */
static void fetch(const struct net_rx *rx, struct net_rx_slot *s, uint32_t got)
{
	uint8_t *to = s->buf + NET_HASH_ROOM;

	for (const struct iovec *v = rx->aim.iov; got; v++) {
		uint32_t part = v->iov_len < got ? (uint32_t)v->iov_len : got;

		memcpy(to, v->iov_base, part);
		to += part;
		got -= part;
	}
}

/* The driver gets the first buffers that it lies in. */
static void give(struct net_pair *p, uint32_t got)
{
	struct net_rx *rx = &p->rx;
	uint32_t len = got - NET_HDR + p->net->hdr, done = 0;
	unsigned n = buffers_for(p, len);

	put_header(p, (uint8_t *)rx->aim.iov[1].iov_base - p->net->hdr, rx->aim.head, n,
		   VIRTIO_NET_HASH_REPORT_NONE, 0);
	while (n--) {
		struct vg_chain *c = unhold(p);
		uint32_t part = c->in_len < len - done ? c->in_len : len - done;

		vg_vq_push(vg_dev_vq(p->dev, rx->q), c, part);
		done += part;
	}
	vg_dev_stats(p->dev, rx->q)->requests++;
	vg_dev_stats(p->dev, rx->q)->bytes_read += got - NET_HDR;
	rx->untold = true;
}

/* The sentinel, @s, has read a frame of @got bytes, with the link's header, to where it was aimed. */
static void hit(struct net_pair *p, struct net_rx_slot *s, uint32_t got)
{
	struct net_rx *rx = &p->rx;
	uint8_t frame[NET_ETH + NET_VLAN];
	size_t have = got - NET_HDR < sizeof(frame) ? got - NET_HDR : sizeof(frame);

	if (!may_aim(p)) { /* any more */
		fetch(rx, s, got);
		came(p, s, got);
		return;
	}
	slot_put(rx, s);
	rx->large = got >= NET_RX_LARGE ? PATIENCE : rx->large - 1;
	rx->direct++;
	/* The guest may change it while we look: it does so for itself. */
	memcpy(frame, rx->aim.iov[1].iov_base, sizeof(frame));
	if (!atomic_load_explicit(&p->net->cut, memory_order_relaxed) &&
	    net_filter_pass(&p->filter, frame, have))
		give(p, got);
	else
		net_count(&p->n.rx_filtered);
}

/* At its second run what was submitted before has been through the kernel once. */
static void tell(struct vg_deferred *d)
{
	struct net_pair *p = container_of(d, struct net_pair, rx.tell);

	if (p->rx.submitted) {
		vg_dev_flush(p->dev, p->rx.q);
		return;
	}
	p->rx.submitted = true;
	vg_loop_defer(loop_of(p), d);
}

void net_rx_take(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;

	if (rx->stopping || !rx->slots)
		return;
	/* The oldest buffers are the sentinel's. What another pair has lent does not wait for a frame of ours. */
	if (rx->aim.n) {
		if (rx->ready)
			vg_loop_cancel(loop_of(p), &rx->sentinel->io);
		return;
	}
	/* As long as frames wait, the next buffer is to be announced. */
	while (rx->ready && deliver_all(p)) {
		if (!vg_dev_rearm(p->dev, rx->q))
			return;
	}
	vg_vq_quiet(vg_dev_vq(p->dev, rx->q));
	post(p);
	if (rx->untold && !rx->tell.queued) {
		rx->untold = rx->submitted = false;
		vg_loop_defer(loop_of(p), &rx->tell);
	}
}

static void deliver(struct vg_deferred *d)
{
	net_rx_take(container_of(d, struct net_pair, rx.deliver));
}

/* ---- starting, stopping ------------------------------------------------- */

static void forget(struct net_rx *rx)
{
	free(rx->slots);
	free(rx->memory);
	free(rx->held);
	free(rx->batch);
	rx->slots = NULL;
	rx->memory = NULL;
	rx->held = NULL;
	rx->batch = NULL;
}

void net_rx_start(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;

	*rx = (struct net_rx){ .q = p->index * 2, .patience = CALM };
	rx->ready_tail = &rx->ready;
	rx->deliver.run = deliver;
	rx->tell.run = tell;
	rx->again.expired = try_again;
	rx->slots = calloc(SLOTS, sizeof(*rx->slots));
	rx->memory = aligned_alloc(4096, (size_t)SLOTS * VG_LIMIT_NET_RX_BYTES);
	rx->held = calloc(p->dev->queue[rx->q].size, sizeof(struct vg_chain *));
	rx->batch = malloc(sizeof(*rx->batch));
	if (!rx->slots || !rx->memory || !rx->held || !rx->batch) {
		forget(rx);
		vg_dev_fault(p->dev, "queue %u cannot start: out of memory", rx->q);
		return;
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		struct net_rx_slot *s = &rx->slots[i];

		s->io.done = read_done;
		s->pair = p;
		s->buf = rx->memory + (size_t)i * VG_LIMIT_NET_RX_BYTES;
		s->iov = (struct iovec){ .iov_base = s->buf + NET_HASH_ROOM,
					 .iov_len = VG_LIMIT_NET_RX_BYTES - NET_HASH_ROOM };
		slot_put(rx, s);
	}
	post(p);
}

/* Buffers go back to the ring, untouched, once nothing is written there. */
static void try_stop(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;
	uint32_t size = p->dev->queue[rx->q].size;

	if (rx->inflight || rx->lent)
		return;
	while (rx->held_n)
		vg_vq_unpop(vg_dev_vq(p->dev, rx->q), held_at(rx, --rx->held_n, size));
	vg_loop_undefer(loop_of(p), &rx->deliver);
	vg_loop_undefer(loop_of(p), &rx->tell);
	vg_loop_timer_stop(&rx->again);
	forget(rx);
	vg_dev_queue_stopped(p->dev, rx->q);
}

/* What was read and not delivered is lost, as on a wire. */
void net_rx_stop(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;

	rx->stopping = true;
	while (rx->ready) {
		struct net_rx_slot *s = rx->ready;

		rx->ready = s->next;
		slot_done(p, s);
	}
	rx->ready_tail = &rx->ready;
	for (unsigned i = 0; rx->sentinel && i < SLOTS; i++) {
		if (&rx->slots[i] == rx->sentinel)
			vg_loop_cancel(loop_of(p), &rx->slots[i].io);
	}
	try_stop(p);
}
