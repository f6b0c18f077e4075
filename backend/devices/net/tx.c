// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tx.c - from the guest to the link, VIRTIO 1.3 section 5.1.6.2
 *
 *	pop --> copy --> check --> used, one notification --> io_uring
 *	pop ----------> check --> io_uring --> used, one notification	(long frames)
 *
 * One turn takes what is there, at most as many frames as the link may have at
 * once; all of them are copied with one batch and submitted with one system call.
 * A TAP takes a frame while it is submitted, in order, and nothing waits.
 *
 * A TAP takes a frame by having the host's stack receive it, and while that lasts the
 * guest could make the next one. Its TCP does not: it has two frames out, and makes
 * more when the driver tells it that these are done; and the longer that takes, the
 * shorter are the frames that it makes. So a frame that was copied goes back before it
 * is submitted. Memory for frames is bounded, as they are then: NET_TX_MAX. A long
 * frame is not copied where the guest's memory can be read in place.
 *
 * What is checked must be what is sent. Where data is copied that is so by itself.
 * Where it lies in memory that the guest may write to, all headers (NET_HEAD bytes)
 * are copied and sent from there, and only what is behind them comes from the guest's
 * memory, of which nobody concludes anything.
 *
 * A guest that waits for an answer to each frame is quick to send the next one, and its ring is looked
 * at meanwhile (vg_dev_watch()): tests/bench/xen-net, in one boot with poll=off: round trips of 1777 us
 * instead of 2102 (netback 1618), TCP from the guest 1.10 and 1.14 times as many bytes a second.
 *
 * A frame that cannot be sent is dropped and counted, as a wire would: the driver is
 * not told. Memory that is not there is the driver's fault.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/net/int.h"

#define PAID_MAX_NS (NS_PER_S / 10)

static struct vg_loop *loop_of(const struct net_pair *p)
{
	return vg_dev_loop(p->dev, p->tx.q);
}

static void try_stop(struct net_pair *p);

/* ---- requests ----------------------------------------------------------- */

static struct net_tx_req *req_get(struct net_pair *p, struct vg_chain *c)
{
	struct net_tx_req *r = p->tx.free;

	assert(r); /* no more is popped than there are */
	p->tx.free = r->next;
	p->tx.free_n--;
	r->next = NULL;
	r->chain = c;
	r->len = c->out_len;
	r->has_data = false;
	r->iov = r->inl;
	return r;
}

static void req_put(struct net_tx_req *r)
{
	if (r->iov != r->inl)
		free(r->iov);
	r->iov = r->inl;
	if (r->has_data)
		vg_data_end(&r->data);
	r->has_data = false;
	r->next = r->pair->tx.free;
	r->pair->tx.free = r;
	r->pair->tx.free_n++;
}

/* It is dealt with: its chain goes back at the end of the turn. */
static void req_done(struct net_tx_req *r)
{
	struct net_tx *tx = &r->pair->tx;

	r->next = NULL;
	*tx->done_tail = r;
	tx->done_tail = &r->next;
	vg_loop_defer(loop_of(r->pair), &tx->complete);
}

static void drop(struct net_tx_req *r, uint64_t *counter)
{
	net_count(counter);
	vg_dev_stats(r->pair->dev, r->pair->tx.q)->errors++;
	req_done(r);
}

static void written(struct vg_io *io, int res)
{
	struct net_tx_req *r = container_of(io, struct net_tx_req, io);
	struct net_pair *p = r->pair;
	struct vg_dev_stats *stats = vg_dev_stats(p->dev, p->tx.q);

	p->tx.inflight--;
	r->writing = false;
	if (res >= 0) {
		stats->bytes_written += r->len - p->net->hdr;
		req_done(r);
	} else {
		drop(r, res == -EINVAL ? &p->n.tx_refused : &p->n.tx_down);
	}
}

/* ---- one frame ---------------------------------------------------------- */

static uint64_t *counter_of(struct net_counters *n, enum net_verdict verdict)
{
	switch (verdict) {
	case NET_SHORT:
		return &n->tx_short;
	case NET_LONG:
		return &n->tx_long;
	case NET_CSUM:
		return &n->tx_csum;
	default:
		return &n->tx_gso;
	}
}

/* Bytes at the start of a chain that are copied where the rest is not. */
static size_t head_of(const struct net_pair *p, const struct vg_chain *c)
{
	return c->out_len < p->net->hdr + NET_HEAD ? c->out_len : p->net->hdr + NET_HEAD;
}

/* Where in a copied head what the link gets begins: its header is the guest's, or the first part of it. */
static size_t skipped(const struct net_pair *p)
{
	return p->net->hdr - NET_HDR;
}

static bool is_copied(const struct net_tx_req *r)
{
	return r->len <= NET_TX_COPY;
}

/* Have the data of @r made available. Return: 0, or of vg_data_begin(). */
static int fetch(struct net_tx_req *r, struct vg_batch *batch)
{
	struct vg_chain *c = r->chain;
	int ret;

	if (is_copied(r))
		return vg_chain_read(batch, c, 0, r->copy, r->len);
	ret = vg_data_begin(&r->data, batch, c, VG_FROM_GUEST, 0, c->out_len);
	if (ret < 0)
		return ret;
	r->has_data = true;
	if (!vg_data_is_own(&r->data))
		ret = vg_chain_read(batch, c, 0, r->head, head_of(r->pair, c));
	return ret;
}

/* What is written, where the data lies in guest memory: the copied head, then the rest. Return: how
 * many; 0: out of memory. */
static unsigned gather(struct net_tx_req *r)
{
	size_t skip = head_of(r->pair, r->chain), hash = skipped(r->pair);
	unsigned n = 1;

	if (r->data.niov + 1 > NET_TX_IOV) {
		r->iov = malloc((r->data.niov + 1) * sizeof(*r->iov));
		if (!r->iov) {
			r->iov = r->inl;
			return 0;
		}
	}
	r->iov[0] = (struct iovec){ .iov_base = r->head + hash, .iov_len = skip - hash };
	for (unsigned i = 0; i < r->data.niov; i++) {
		struct iovec v = r->data.iov[i];

		if (v.iov_len <= skip) {
			skip -= v.iov_len;
			continue;
		}
		v.iov_base = (uint8_t *)v.iov_base + skip;
		v.iov_len -= skip;
		skip = 0;
		r->iov[n++] = v;
	}
	return n;
}

/* What is asked of the frames of a batch. */
struct tx_rules {
	struct net_rules header;
	const uint8_t *source; /* address that frames must be from; NULL: any */
};

/* The driver has it back, and is told at the end of the batch. */
static void give_back(struct net_tx_req *r)
{
	struct net_pair *p = r->pair;

	vg_dev_stats(p->dev, p->tx.q)->requests++;
	vg_vq_push(vg_dev_vq(p->dev, p->tx.q), r->chain, 0);
	r->chain = NULL;
}

/* Decide on the copy, and give it to the link. */
static void send(struct net_tx_req *r, const struct tx_rules *rules)
{
	struct net_pair *p = r->pair;
	bool own = is_copied(r) || vg_data_is_own(&r->data);
	uint8_t *head = is_copied(r) ? r->copy : own ? r->data.iov[0].iov_base : r->head;
	const uint8_t *frame = head + p->net->hdr;
	size_t len = r->len - p->net->hdr, skip = skipped(p);
	size_t have = own ? len : head_of(p, r->chain) - p->net->hdr;
	struct virtio_net_hdr_v1 h;
	enum net_verdict verdict;
	unsigned n;

	memcpy(&h, head, NET_HDR);
	verdict = net_check(&rules->header, &h, frame, have, len);
	if (verdict != NET_PASS) {
		drop(r, counter_of(&p->n, verdict));
		return;
	}
	if ((rules->source && memcmp(frame + 6, rules->source, 6) != 0) ||
	    !net_addresses_pass(&p->addresses, p->net->mac, frame, have)) {
		drop(r, &p->n.tx_spoofed);
		return;
	}
	if (atomic_load_explicit(&p->net->cut, memory_order_relaxed)) {
		drop(r, &p->n.tx_down);
		return;
	}
	memcpy(head + skip, &h, NET_HDR);
	if (own) {
		r->inl[0] = (struct iovec){ .iov_base = head + skip, .iov_len = r->len - skip };
		n = 1;
	} else {
		n = gather(r);
		if (!n) {
			drop(r, &p->n.tx_refused);
			return;
		}
	}
	if (vg_rate_on(&p->net->rate))
		vg_rate_take(&p->net->rate, len, vg_loop_now(loop_of(p)));
	if (vg_capture_on(&p->capture))
		vg_capture_packet(&p->capture, VG_CAPTURE_ETHERNET, r->iov, n, NET_HDR);
	p->tx.inflight++;
	r->writing = true;
	vg_loop_writev(loop_of(p), &r->io, p->fd, r->iov, n, 0, 0);
	if (is_copied(r))
		give_back(r);
}

/* ---- a turn ------------------------------------------------------------- */

static struct net_rules rules_of(const struct net_pair *p)
{
	const struct vg_dev *dev = p->dev;

	return (struct net_rules){
		.csum = vg_dev_has(dev, VIRTIO_NET_F_CSUM),
		.tso4 = vg_dev_has(dev, VIRTIO_NET_F_HOST_TSO4),
		.tso6 = vg_dev_has(dev, VIRTIO_NET_F_HOST_TSO6),
		.ecn = vg_dev_has(dev, VIRTIO_NET_F_HOST_ECN),
		.uso = vg_dev_has(dev, VIRTIO_NET_F_HOST_USO),
		.mtu = atomic_load_explicit(&p->net->mtu, memory_order_relaxed),
	};
}

/* Why there is no data of @c; the last of these: we have no memory for it. */
static uint64_t *unfetched(struct net_pair *p, const struct vg_chain *c)
{
	if (c->out_len < p->net->hdr + NET_ETH)
		return &p->n.tx_short;
	return c->out_len - p->net->hdr > NET_FRAME_MAX ? &p->n.tx_long : &p->n.tx_refused;
}

/* One batch of chains that have been popped. Return: how many could be taken, of @n. */
static unsigned take(struct net_pair *p, struct vg_chain **chains, unsigned n)
{
	const struct tx_rules rules = {
		.header = rules_of(p),
		.source = atomic_load_explicit(&p->net->antispoof, memory_order_relaxed) ||
					  p->addresses.n
				  ? p->net->mac
				  : NULL,
	};
	struct net_tx_req *reqs[NET_BATCH];
	unsigned taken = 0;
	int ret = 0;

	vg_batch_init(p->tx.batch, vg_dev_mem(p->dev, p->tx.q));
	for (; taken < n; taken++) {
		struct vg_chain *c = chains[taken];
		struct net_tx_req *r = reqs[taken] = req_get(p, c);

		if (c->out_len < p->net->hdr + NET_ETH || c->out_len - p->net->hdr > NET_FRAME_MAX)
			continue; /* nothing of it needs to be looked at */
		ret = fetch(r, p->tx.batch);
		if (ret < 0 && ret != -ENOMEM && ret != -E2BIG)
			break;
	}
	vg_batch_run(p->tx.batch);
	for (unsigned i = 0; i < taken; i++) {
		struct net_tx_req *r = reqs[i];
		struct vg_chain *c = r->chain;

		if (c->error) {
			vg_dev_fault(p->dev, "queue %u: a frame cannot be read: %s", p->tx.q,
				     strerror(-c->error));
			c->error = 0;
			req_done(r);
		} else if (r->has_data || (is_copied(r) && r->len >= p->net->hdr + NET_ETH)) {
			send(r, &rules);
		} else {
			drop(r, unfetched(p, c));
		}
	}
	vg_dev_flush(p->dev, p->tx.q);
	if (taken == n)
		return n;
	req_put(reqs[taken]);
	if (ret == -ENOBUFS) {
		p->tx.starved = true;
		vg_bounce_wait(vg_dev_mem(p->dev, p->tx.q), loop_of(p), &p->tx.waiter);
	} else {
		vg_dev_fault(p->dev, "queue %u: a frame cannot be read: %s", p->tx.q,
			     strerror(-ret));
	}
	return taken;
}

/* Does the rate forbid to send now? Then a timer brings us back. @batch: how many, if not */
static bool has_to_wait(struct net_pair *p, unsigned *batch)
{
	const struct vg_rate *rate = &p->net->rate;
	int64_t ns;

	*batch = NET_BATCH;
	if (!vg_rate_on(rate))
		return false;
	*batch = NET_TX_PAID;
	ns = vg_rate_wait(rate, vg_loop_now(loop_of(p)));
	if (ns)
		vg_loop_timer(loop_of(p), &p->tx.paid, vg_rate_pause(ns));
	return ns > 0;
}

static void paid(struct vg_timer *t)
{
	net_tx_take(container_of(t, struct net_pair, tx.paid));
}

void net_tx_take(struct net_pair *p)
{
	struct vg_chain *chains[NET_BATCH];
	struct net_tx *tx = &p->tx;
	unsigned batch;

	if (tx->stopping || tx->starved || !tx->reqs || tx->paid.tether)
		return;
	do {
		vg_vq_quiet(vg_dev_vq(p->dev, tx->q));
		for (;;) {
			unsigned n, taken;

			if (has_to_wait(p, &batch))
				return;
			if (!tx->free_n) {
				tx->starved = true; /* until some are done */
				return;
			}
			n = vg_dev_pop(p->dev, tx->q, chains,
				       tx->free_n < batch ? tx->free_n : batch);
			if (!n)
				break;
			taken = take(p, chains, n);
			while (n > taken)
				vg_vq_unpop(vg_dev_vq(p->dev, tx->q), chains[--n]);
			if (tx->starved)
				return;
			if (!taken)
				break; /* broken */
		}
	} while (vg_dev_watch(p->dev, tx->q, tx->inflight > 0));
}

/* End of a turn: what is sent or dropped goes back, with one notification. */
static void complete_all(struct vg_deferred *d)
{
	struct net_pair *p = container_of(d, struct net_pair, tx.complete);
	struct net_tx *tx = &p->tx;
	struct net_tx_req *done = tx->done;

	tx->done = NULL;
	tx->done_tail = &tx->done;
	while (done) {
		struct net_tx_req *r = done;

		done = r->next;
		if (r->chain)
			give_back(r);
		req_put(r);
	}
	vg_dev_flush(p->dev, tx->q);
	if (!tx->waiter.queued)
		tx->starved = false;
	if (tx->stopping)
		try_stop(p);
	else
		net_tx_take(p);
}

/* Bounce memory has come back. */
static void fed(struct vg_bounce_waiter *w)
{
	struct net_pair *p = container_of(w, struct net_pair, tx.waiter);

	p->tx.starved = false;
	net_tx_take(p);
}

/* ---- starting, stopping ------------------------------------------------- */

static void forget(struct net_tx *tx)
{
	free(tx->reqs);
	free(tx->memory);
	free(tx->batch);
	tx->reqs = NULL;
	tx->memory = NULL;
	tx->batch = NULL;
}

void net_tx_start(struct net_pair *p)
{
	struct net_tx *tx = &p->tx;

	*tx = (struct net_tx){ .q = p->index * 2 + 1 };
	tx->done_tail = &tx->done;
	tx->complete.run = complete_all;
	tx->waiter.run = fed;
	tx->paid.expired = paid;
	tx->reqs = calloc(NET_TX_MAX, sizeof(*tx->reqs));
	tx->memory = malloc((size_t)NET_TX_MAX * NET_TX_COPY);
	tx->batch = malloc(sizeof(*tx->batch));
	if (!tx->reqs || !tx->memory || !tx->batch) {
		forget(tx);
		vg_dev_fault(p->dev, "queue %u cannot start: out of memory", tx->q);
		return;
	}
	for (unsigned i = 0; i < NET_TX_MAX; i++) {
		tx->reqs[i].io.done = written;
		tx->reqs[i].pair = p;
		tx->reqs[i].copy = tx->memory + (size_t)i * NET_TX_COPY;
		tx->reqs[i].iov = tx->reqs[i].inl;
		req_put(&tx->reqs[i]);
	}
}

static void try_stop(struct net_pair *p)
{
	struct net_tx *tx = &p->tx;

	if (tx->inflight || tx->done)
		return;
	vg_loop_undefer(loop_of(p), &tx->complete);
	if (tx->waiter.queued)
		vg_bounce_unwait(vg_dev_mem(p->dev, tx->q), &tx->waiter);
	forget(tx);
	vg_dev_queue_stopped(p->dev, tx->q);
}

/* A link that does not take what it has (only a test's) is not waited for. */
void net_tx_stop(struct net_pair *p)
{
	struct net_tx *tx = &p->tx;

	tx->stopping = true;
	vg_loop_timer_stop(&tx->paid);
	for (unsigned i = 0; tx->inflight && i < NET_TX_MAX; i++) {
		if (tx->reqs[i].writing)
			vg_loop_cancel(loop_of(p), &tx->reqs[i].io);
	}
	try_stop(p);
}
