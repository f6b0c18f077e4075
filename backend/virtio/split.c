/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * split.c - the split ring (VIRTIO 1.3, 2.7)
 *
 * Theory of operation
 *
 * The driver writes chains of descriptors into the descriptor table, puts the
 * index of each chain's first (its *head*) into the available ring, and raises
 * avail->idx. The device puts { head, bytes written } into the used ring and
 * raises used->idx. Both indices run freely modulo 2^16; the ring position is
 * the index modulo the size.
 *
 * Order. Reading avail->idx is an acquire: it pairs with the driver's write
 * barrier before it raised the index, so that ring entries and descriptors
 * behind it are there. Writing used->idx is a release for the same reason.
 *
 * Notifications (2.7.7, 2.7.10). Each side tells the other at which index it
 * wants to be notified (EVENT_IDX), or whether at all (flags). The one who
 * publishes must read that wish after it published; the other must look for
 * news after it wrote its wish; else both may miss each other (Dekker). So
 * both our publishing store and our wish are sequentially consistent, as are
 * the loads behind them. On x86 the store is an xchg, which is cheaper than a
 * fence; on Arm stlr and ldar, which keep their order.
 *
 * What the driver may not do, and is checked: raise the index further than
 * there is room, take it back, name a head beyond the table or one that it has
 * not got back, chain more descriptors than the ring has left.
 */
#include "backend/virtio/chain.h"
#include "backend/virtio/inflight.h"

#define HEADS 32u /* looked at ahead: their descriptors come from memory meanwhile */

/** split_look - take note of the driver's index. Return: 0, or -EPROTO: the queue is broken. */
static int split_look(struct vg_vq *vq)
{
	uint16_t idx = le16toh(__atomic_load_n(&vq->avail->idx, __ATOMIC_SEQ_CST));
	uint16_t known = (uint16_t)(vq->avail_seen - vq->avail_idx);
	uint16_t more = (uint16_t)(idx - vq->avail_seen);

	if (__builtin_expect(more > vq->size - vq->chains_out - known, 0))
		return vg_vq_break(vq, -EPROTO,
				   "available index jumps from %u to %u with %u of %u chains out",
				   vq->avail_seen, idx, vq->chains_out + known, vq->size);
	vq->avail_seen = idx;
	return 0;
}

/**
 * split_walk - follow one chain from @head
 * @left: ring descriptors that are not out, less this chain's on return
 *
 * Return: 0, with the chain in its slot (s->written != 0: less its table); -EPROTO: the queue is
 * broken; -EAGAIN: later.
 */
static inline __attribute__((always_inline)) int split_walk(struct vg_vq *vq, struct vg_slot *s,
							    uint16_t head, uint32_t *left)
{
	const struct vg_desc *ring = vq->desc;
	struct vg_build b = vg_build_start(vq, s);
	uint32_t size = vq->size, n = 0, i = head;
	int rc;

	if (__builtin_expect(s->state != VG_SLOT_FREE, 0))
		return vg_vq_break(vq, -EPROTO, "chain %u is made available twice", head);
	s->c.error = 0;
	s->written = 0;
	for (;;) {
		struct vg_desc d = vg_desc_read(&ring[i]);
		uint32_t flags = (uint32_t)(d.rest >> 32);

		if (__builtin_expect(n++ == *left, 0)) {
			rc = vg_vq_break(vq, -EPROTO, "chain %u loops or shares descriptors", head);
			goto undo;
		}
		if (__builtin_expect(flags & VRING_DESC_F_INDIRECT, 0)) {
			struct vg_build copy = b;

			if (flags & VRING_DESC_F_NEXT)
				rc = vg_vq_break(vq, -EPROTO, "indirect descriptor with next");
			else
				rc = vg_build_table(vq, s, &copy, d.addr, vg_desc_len(d));
			if (rc)
				goto undo;
			b = copy;
			break;
		}
		rc = vg_build_add(vq, s, &b, d.addr, vg_desc_len(d), flags & VRING_DESC_F_WRITE);
		if (rc)
			goto undo;
		if (!(flags & VRING_DESC_F_NEXT))
			break;
		i = flags >> 16;
		if (__builtin_expect(i >= size, 0)) {
			rc = vg_vq_break(vq, -EPROTO, "next %u in a ring of %u", i, size);
			goto undo;
		}
	}
	rc = vg_build_end(vq, s, &b);
	if (rc)
		goto undo;
	s->c.id = head;
	s->c.ndesc = (uint16_t)n;
	s->c.resubmitted = false;
	s->c.user = NULL;
	s->state = VG_SLOT_OUT;
	*left -= n;
	return 0;
undo:
	vg_block_release(vq, s);
	return rc;
}

/**
 * split_heads - fetch @n <= HEADS heads, of the available ring or of a predecessor, from the @from-th
 *
 * Their descriptors and slots come from memory meanwhile.
 *
 * Return: how many are in range.
 */
static inline __attribute__((always_inline)) unsigned
split_heads(const struct vg_vq *vq, uint16_t *heads, unsigned from, unsigned n, bool resub)
{
	const struct vring_avail *avail = vq->avail;
	const struct vg_desc *desc = vq->desc;
	struct vg_slot *slots = vq->slots;
	uint32_t size = vq->size, mask = vq->mask, at = vq->avail_idx + from;

	for (unsigned i = 0; i < n; i++) {
		heads[i] = resub ? vq->resub[vq->resub_at + from + i].entry
				 : ld16(&avail->ring[(at + i) & mask]);
		if (__builtin_expect(heads[i] >= size, 0))
			return i;
		__builtin_prefetch(&desc[heads[i]]);
		__builtin_prefetch(&slots[heads[i]], 1);
	}
	return n;
}

/**
 * split_gather - walk up to @want chains, of the available ring or of a predecessor
 * @tables: set when any has an indirect table
 *
 * Return: how many.
 */
static inline __attribute__((always_inline)) unsigned
split_gather(struct vg_vq *vq, struct vg_chain **out, unsigned want, bool resub, bool *tables)
{
	uint32_t left = vq->size - vq->descs_out, any = 0;
	uint16_t heads[HEADS];
	unsigned n = 0;

	while (n < want) {
		unsigned ask = want - n < HEADS ? want - n : HEADS;
		unsigned got = split_heads(vq, heads, n, ask, resub);

		for (unsigned i = 0; i < got; i++) {
			struct vg_slot *s = &vq->slots[heads[i]];

			if (split_walk(vq, s, heads[i], &left))
				goto out;
			any |= s->written;
			out[n++] = &s->c;
		}
		if (got < ask) {
			vg_vq_break(vq, -EPROTO, "head %u in a ring of %u", heads[got], vq->size);
			break;
		}
	}
out:
	vq->descs_out = vq->size - left;
	*tables = any;
	return n;
}

/** split_resub - chains of a predecessor, eldest first. Return: how many. */
static unsigned split_resub(struct vg_vq *vq, struct vg_chain **out, unsigned max)
{
	unsigned left = vq->resub_n - vq->resub_at, n;
	bool tables = false;

	n = split_gather(vq, out, left < max ? left : max, true, &tables);
	if (tables)
		n = vg_chain_settle(vq, out, n);
	for (unsigned i = 0; i < n; i++)
		out[i]->resubmitted = true;
	vq->resub_at += n;
	return n;
}

unsigned vg_split_pop(struct vg_vq *vq, struct vg_chain **out, unsigned max)
{
	unsigned before = 0, ready, n;
	bool tables = false;

	if (__builtin_expect(vq->resub_at < vq->resub_n, 0)) {
		before = split_resub(vq, out, max);
		if (vq->resub_at < vq->resub_n)
			return before;
		out += before;
		max -= before;
	}
	ready = (uint16_t)(vq->avail_seen - vq->avail_idx);
	if (ready < max) {
		if (split_look(vq))
			return before;
		ready = (uint16_t)(vq->avail_seen - vq->avail_idx);
	}
	n = split_gather(vq, out, ready < max ? ready : max, false, &tables);
	if (tables)
		n = vg_chain_settle(vq, out, n);
	if (vq->rec)
		rec_split_pop(vq, out, n);
	vq->avail_idx = (uint16_t)(vq->avail_idx + n);
	vq->chains_out += n;
	return before + n;
}

void vg_split_unpop(struct vg_vq *vq, struct vg_slot *s)
{
	if (s->c.resubmitted) {
		vq->resub_at--;
		return;
	}
	if (vq->rec)
		rec_split_unpop(vq, s->c.id);
	vq->avail_idx--;
	vq->chains_out--;
}

/** split_put_used - write the used elements of what is done. Return: ring descriptors that it took. */
static inline uint32_t split_put_used(struct vg_vq *vq)
{
	const struct vg_done *d = vq->done, *end = d + vq->n_done;
	struct vring_used_elem *ring = vq->used->ring;
	uint32_t mask = vq->mask, at = vq->used_idx, descs = 0;

	for (; d < end; d++, at++) {
		st32(&ring[at & mask].id, d->id);
		st32(&ring[at & mask].len, d->written);
		descs += d->ndesc;
	}
	return descs;
}

/** split_put_used_in_order - the same, one element a batch */
static uint32_t split_put_used_in_order(struct vg_vq *vq)
{
	struct vring_used_elem *ring = vq->used->ring;
	uint32_t descs = 0;

	for (uint32_t i = 0, n; i < vq->n_done; i += n) {
		struct vring_used_elem *e = &ring[(vq->used_idx + i) & vq->mask];
		const struct vg_done *last;

		n = vg_done_batch(vq, i);
		last = &vq->done[i + n - 1];
		st32(&e->id, last->id);
		st32(&e->len, last->written);
		for (uint32_t k = i; k < i + n; k++)
			descs += vq->done[k].ndesc;
	}
	return descs;
}

/** split_used_event - the used element at which the driver wants to be notified */
static uint16_t split_used_event(const struct vg_vq *vq)
{
	return le16toh(__atomic_load_n(&vq->avail->ring[vq->size], __ATOMIC_SEQ_CST));
}

bool vg_split_publish(struct vg_vq *vq)
{
	uint16_t old = vq->used_idx, new = (uint16_t)(old + vq->n_done), event;
	bool always = vq->notify_always;

	if (vq->in_order)
		vq->descs_out -= split_put_used_in_order(vq);
	else
		vq->descs_out -= split_put_used(vq);
	vq->used_idx = new;
	vq->chains_out -= vq->n_done;
	if (vq->rec)
		rec_split_batch(vq);
	st16_publish(&vq->used->idx, new);
	if (vq->rec)
		rec_split_published(vq, new);
	vq->notify_always = false;

	if (!vq->event_idx)
		return !(le16toh(__atomic_load_n(&vq->avail->flags, __ATOMIC_SEQ_CST)) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	event = split_used_event(vq);
	return always || (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

bool vg_split_seen(const struct vg_vq *vq)
{
	return split_used_event(vq) == vq->used_idx;
}

void vg_split_quiet(struct vg_vq *vq)
{
	/* With EVENT_IDX the index asked for last lies behind us already: nothing to do. */
	if (!vq->event_idx)
		st16(&vq->used->flags, VRING_USED_F_NO_NOTIFY);
}

/* An index that lies behind is met after a lap of all 65536. */
void vg_split_disarm(struct vg_vq *vq)
{
	if (vq->event_idx)
		st16((uint16_t *)&vq->used->ring[vq->size], (uint16_t)(vq->avail_idx - 1));
	else
		vg_split_quiet(vq);
}

bool vg_split_waiting(const struct vg_vq *vq)
{
	return ld16(&vq->avail->idx) != vq->avail_idx;
}

bool vg_split_rearm(struct vg_vq *vq, uint32_t skip)
{
	if (vq->event_idx)
		__atomic_store_n((uint16_t *)&vq->used->ring[vq->size],
				 htole16((uint16_t)(vq->avail_idx + skip)), __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(&vq->used->flags, 0, __ATOMIC_SEQ_CST);
	/* A broken index is for the next pop to tell. */
	return split_look(vq) || (uint16_t)(vq->avail_seen - vq->avail_idx) > skip;
}
