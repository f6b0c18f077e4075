/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * packed.c - the packed ring (VIRTIO 1.3, 2.8)
 *
 * Theory of operation
 *
 * One ring of descriptors that driver and device write in turns. Each side goes
 * round it and keeps a *wrap counter* that flips with each lap. A descriptor is
 * available when its AVAIL flag equals our lap's counter and its USED flag does
 * not; it is used when both equal it. A chain is a run of neighbouring
 * descriptors linked by NEXT; the driver sets the first one's flags last. The
 * buffer id is the last one's. The device writes one used descriptor a chain,
 * wherever its own place in the ring is, and moves on by as many descriptors as
 * the chain had.
 *
 * Order. The flags of a chain's first descriptor are read once, by an acquire: if
 * they say available, its other fields and the rest of the chain are there, each
 * read once. The first used descriptor of a batch has its flags written last.
 *
 * Batches. All used descriptors of a flush but the first are written ahead; the
 * driver, which waits at the first, sees none of them until that one's store,
 * which is the last. It is sequentially consistent, as is the load of the
 * driver's wish behind it: see split.c about notifications.
 *
 * What the driver may not do, and is checked: chain more descriptors than it
 * has, use the id of a chain that is out, take back an available descriptor
 * that vg_vq_rearm() saw (else it could keep us turning for ever).
 */
#include "backend/virtio/chain.h"
#include "backend/virtio/inflight.h"

/* Flags as they lie in the second word. */
#define F_NEXT	   ((uint64_t)VRING_DESC_F_NEXT << 48)
#define F_WRITE	   ((uint64_t)VRING_DESC_F_WRITE << 48)
#define F_INDIRECT ((uint64_t)VRING_DESC_F_INDIRECT << 48)
#define F_AVAIL	   (1ull << (48 + VRING_PACKED_DESC_F_AVAIL))
#define F_USED	   (1ull << (48 + VRING_PACKED_DESC_F_USED))

/** packed_flags - acquire the flags of the descriptor at @at, in their place in the second word */
static inline uint64_t packed_flags(const struct vg_vq *vq, uint32_t at)
{
	const any16 *p = (const any16 *)&vq->desc[at].rest + 3;

	return (uint64_t)le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE)) << 48;
}

/** packed_available - whether the second word @rest belongs to an available descriptor */
static inline bool packed_available(uint64_t rest, bool wrap)
{
	return (rest & (F_AVAIL | F_USED)) == (wrap ? F_AVAIL : F_USED);
}

/** packed_settle_id - give the chain in @s its id. Return: false: it is out already, the queue is broken. */
static inline bool packed_settle_id(struct vg_vq *vq, struct vg_slot *s, uint16_t id)
{
	if (__builtin_expect(vq->ids[id / 64] >> id % 64 & 1, 0)) {
		vg_vq_break(vq, -EPROTO, "buffer id %u is made available twice", id);
		return false;
	}
	s->c.id = id;
	return true;
}

/** packed_take - slot @s, on top of the stack, is in use */
static inline void packed_take(struct vg_vq *vq, struct vg_slot *s)
{
	s->state = VG_SLOT_OUT;
	vq->n_free_slots--;
	vq->ids[s->c.id / 64] |= 1ull << s->c.id % 64;
}

/**
 * packed_walk - follow one chain from @at, whose second word is @rest
 *
 * Return: its slot; NULL: the queue is broken, or no block is free now.
 */
static inline __attribute__((always_inline)) struct vg_slot *packed_walk(struct vg_vq *vq,
									 uint32_t at, uint64_t rest)
{
	struct vg_slot *s = vq->free_slots[vq->n_free_slots - 1];
	struct vg_build b = vg_build_start(vq, s);
	uint32_t left = vq->size - vq->descs_out, n = 0;

	s->c = (struct vg_chain){ 0 };
	s->written = 0;
	for (;;) {
		uint64_t addr = ld64(&vq->desc[at].addr);
		uint32_t len = (uint32_t)rest;

		if (vq->rec) {
			uint16_t entry = rec_packed_fill(vq, addr, rest);

			if (!n)
				s->rec = entry;
		}
		n++;
		if (rest & F_INDIRECT) {
			if (rest & F_NEXT) {
				vg_vq_break(vq, -EPROTO, "indirect descriptor with next");
				goto undo;
			}
			if (vg_build_table(vq, s, &b, addr, len))
				goto undo;
			break;
		}
		if (vg_build_add(vq, s, &b, addr, len, rest & F_WRITE))
			goto undo;
		if (!(rest & F_NEXT))
			break;
		if (__builtin_expect(n == left, 0)) {
			vg_vq_break(vq, -EPROTO, "chain of more than the %u descriptors left",
				    left);
			goto undo;
		}
		at = at + 1 < vq->size ? at + 1 : 0;
		rest = ld64(&vq->desc[at].rest);
	}
	if (!packed_settle_id(vq, s, (uint16_t)(rest >> 32)) || vg_build_end(vq, s, &b))
		goto undo;
	s->c.ndesc = (uint16_t)n;
	vq->descs_out += n;
	packed_take(vq, s);
	return s;
undo:
	vg_block_release(vq, s);
	return NULL;
}

/**
 * packed_walk_record - the chain of a predecessor whose entries in the record are @r's
 *
 * Its descriptors count as out since vg_rec_start(). Not hot.
 *
 * Return: as packed_walk().
 */
static struct vg_slot *packed_walk_record(struct vg_vq *vq, struct vg_resub r)
{
	const struct rec_packed *rec = vq->rec;
	struct vg_slot *s = vq->free_slots[vq->n_free_slots - 1];
	struct vg_build b = vg_build_start(vq, s);
	uint16_t i = r.entry;
	uint64_t rest = 0;

	s->c = (struct vg_chain){ .resubmitted = true };
	s->written = 0;
	s->rec = r.entry;
	for (uint16_t n = 0; n < r.num; n++) {
		uint64_t addr = ld64(&rec->desc[i].addr);

		rest = ld64(&rec->desc[i].rest);
		rest = rest >> 32 | rest << 32;
		if (rest & F_INDIRECT
			    ? vg_build_table(vq, s, &b, addr, (uint32_t)rest)
			    : vg_build_add(vq, s, &b, addr, (uint32_t)rest, rest & F_WRITE))
			goto undo;
		if (rest & F_INDIRECT)
			break;
		i = vq->rec_next[i];
	}
	s->c.ndesc = r.num;
	if (!packed_settle_id(vq, s, (uint16_t)(rest >> 32)) || vg_build_end(vq, s, &b))
		goto undo;
	packed_take(vq, s);
	return s;
undo:
	vg_block_release(vq, s);
	return NULL;
}

/** packed_resub - chains of a predecessor, eldest first. Return: how many. */
static unsigned packed_resub(struct vg_vq *vq, struct vg_chain **out, unsigned max)
{
	bool tables = false;
	unsigned n = 0;

	while (n < max && vq->resub_at + n < vq->resub_n) {
		struct vg_slot *s = packed_walk_record(vq, vq->resub[vq->resub_at + n]);

		if (!s)
			break;
		tables |= s->written != 0;
		out[n++] = &s->c;
	}
	if (tables)
		n = vg_chain_settle(vq, out, n);
	vq->resub_at += n;
	return n;
}

/** packed_ring - chains of the ring. Return: how many. */
static unsigned packed_ring(struct vg_vq *vq, struct vg_chain **out, unsigned max)
{
	struct place start = { .idx = vq->avail_idx, .wrap = vq->avail_wrap }, p = start;
	bool tables = false;
	unsigned n = 0;

	vq->rec_fill = vq->rec_free;
	while (n < max && vq->descs_out < vq->size) {
		uint64_t rest = packed_flags(vq, p.idx);
		struct vg_slot *s;

		if (!packed_available(rest, p.wrap)) {
			if (!n && vq->promised)
				vg_vq_break(vq, -EPROTO, "descriptor %u is available no longer",
					    p.idx);
			break;
		}
		rest |= ld32(&vq->desc[p.idx].rest);
		rest |= (uint64_t)ld16((const char *)&vq->desc[p.idx].rest + 4) << 32;
		s = packed_walk(vq, p.idx, rest);
		if (!s)
			break;
		p = vg_place_add(vq, p, s->c.ndesc);
		__builtin_prefetch(&vq->desc[p.idx + 4 < vq->size ? p.idx + 4 : 0]);
		tables |= s->written != 0;
		out[n++] = &s->c;
	}
	vq->promised = false;
	if (tables) {
		n = vg_chain_settle(vq, out, n);
		p = start;
		for (unsigned i = 0; i < n; i++)
			p = vg_place_add(vq, p, out[i]->ndesc);
	}
	if (vq->rec)
		rec_packed_pop(vq, out, n);
	vq->avail_idx = (uint16_t)p.idx;
	vq->avail_wrap = p.wrap;
	vq->chains_out += n;
	return n;
}

unsigned vg_packed_pop(struct vg_vq *vq, struct vg_chain **out, unsigned max)
{
	unsigned n = 0;

	if (__builtin_expect(vq->resub_at < vq->resub_n, 0)) {
		n = packed_resub(vq, out, max);
		if (vq->resub_at < vq->resub_n)
			return n;
	}
	return n + packed_ring(vq, out + n, max - n);
}

void vg_packed_unpop(struct vg_vq *vq, struct vg_slot *s)
{
	struct place p = { .idx = vq->avail_idx, .wrap = vq->avail_wrap };

	if (s->c.resubmitted) {
		vq->resub_at--;
		return;
	}
	if (vq->rec)
		rec_packed_unpop(vq, s);
	p = vg_place_sub(vq, p, s->c.ndesc);
	vq->avail_idx = (uint16_t)p.idx;
	vq->avail_wrap = p.wrap;
	vq->chains_out--;
}

/** packed_used_word - second word of a used descriptor (VIRTIO 2.8.6, 2.8.9): WRITE says that len counts */
static inline uint64_t packed_used_word(const struct vg_done *d, bool wrap)
{
	return d->written | (uint64_t)d->id << 32 | (d->written ? F_WRITE : 0) |
	       (wrap ? F_AVAIL | F_USED : 0);
}

/** packed_wished - the driver's event suppression area: off and wrap, then flags, in one load */
static uint32_t packed_wished(const struct vg_vq *vq)
{
	return le32toh(__atomic_load_n((const uint32_t *)vq->driver_event, __ATOMIC_SEQ_CST));
}

/**
 * packed_wants - whether the driver wants to hear that the ring was used up to @now
 * @moved: by how many descriptors just now
 *
 * VIRTIO 2.8.10: the driver names a descriptor and a lap. Counted from the start of our lap, it is
 * at off, or at off - size when the name is of the lap before.
 */
static bool packed_wants(struct vg_vq *vq, struct place now, uint32_t moved)
{
	uint32_t e = packed_wished(vq);
	uint16_t flags = (uint16_t)(e >> 16) & 3;
	int32_t off = (int32_t)(e & 0x7fff), idx = (int32_t)now.idx;

	if (flags == VRING_PACKED_EVENT_FLAG_DISABLE)
		return false;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !vq->event_idx || vq->notify_always)
		return true;
	if ((e >> 15 & 1) != now.wrap)
		off -= (int32_t)vq->size;
	return idx - (int32_t)moved <= off && off < idx;
}

bool vg_packed_seen(const struct vg_vq *vq)
{
	uint32_t e = packed_wished(vq);
	struct place p = vg_packed_used(vq);

	switch ((e >> 16) & 3) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false; /* it is about to */
	case VRING_PACKED_EVENT_FLAG_DESC:
		return (e & 0xffff) == (p.idx | (uint32_t)p.wrap << 15);
	default:
		return true;
	}
}

bool vg_packed_was_used(const struct vg_vq *vq, struct place p)
{
	return !!(ld64(&vq->desc[p.idx].rest) & F_USED) == p.wrap;
}

void vg_packed_unuse(struct vg_vq *vq, struct place p)
{
	st64(&vq->desc[p.idx].rest, p.wrap ? F_AVAIL : F_USED);
}

bool vg_packed_publish(struct vg_vq *vq)
{
	struct place first = vg_packed_used(vq), p = first;
	uint32_t moved = 0, head;
	uint64_t word;
	bool wanted;

	for (uint32_t i = 0; i < vq->n_done; i++)
		moved += vq->done[i].ndesc;
	if (vq->rec)
		rec_packed_batch(vq, vg_place_add(vq, first, moved), first);
	/* In order, a used descriptor is that of the last chain of n, where the first one was. */
	head = vg_done_batch(vq, 0);
	for (uint32_t i = 0, n = head; i < vq->n_done; i += n) {
		if (i) {
			n = vg_done_batch(vq, i);
			st64(&vq->desc[p.idx].rest, packed_used_word(&vq->done[i + n - 1], p.wrap));
		}
		for (uint32_t k = i; k < i + n; k++)
			p = vg_place_add(vq, p, vq->done[k].ndesc);
	}
	vq->used_idx = (uint16_t)p.idx;
	vq->used_wrap = p.wrap;
	vq->chains_out -= vq->n_done;
	vq->descs_out -= moved;
	word = packed_used_word(&vq->done[head - 1], first.wrap);
	st32(&vq->desc[first.idx].rest, (uint32_t)word);
	st16((char *)&vq->desc[first.idx].rest + 4, (uint16_t)(word >> 32));
	st16_publish((char *)&vq->desc[first.idx].rest + 6, (uint16_t)(word >> 48));
	if (vq->rec)
		rec_packed_published(vq, p);
	wanted = packed_wants(vq, p, moved);
	vq->notify_always = false;
	return wanted;
}

/** packed_wish - write our event suppression area: off and wrap, then flags, in one store */
static void packed_wish(struct vg_vq *vq, uint16_t off_wrap, uint16_t flags)
{
	__atomic_store_n((uint32_t *)vq->device_event, htole32(off_wrap | (uint32_t)flags << 16),
			 __ATOMIC_SEQ_CST);
}

void vg_packed_quiet(struct vg_vq *vq)
{
	packed_wish(vq, 0, VRING_PACKED_EVENT_FLAG_DISABLE);
}

/** packed_waits - whether the descriptor at @p is available, looked at after our wish was written */
static bool packed_waits(const struct vg_vq *vq, struct place p)
{
	uint16_t flags = __atomic_load_n((any16 *)&vq->desc[p.idx].rest + 3, __ATOMIC_SEQ_CST);

	return packed_available((uint64_t)le16toh(flags) << 48, p.wrap);
}

bool vg_packed_waiting(const struct vg_vq *vq)
{
	struct place next = { .idx = vq->avail_idx, .wrap = vq->avail_wrap };

	return vq->descs_out < vq->size && packed_waits(vq, next);
}

bool vg_packed_rearm(struct vg_vq *vq, uint32_t skip)
{
	struct place next = { .idx = vq->avail_idx, .wrap = vq->avail_wrap };
	struct place p = vg_place_add(vq, next, skip);

	if (vq->event_idx)
		packed_wish(vq, (uint16_t)(p.idx | (uint32_t)p.wrap << 15),
			    VRING_PACKED_EVENT_FLAG_DESC);
	else
		packed_wish(vq, 0, VRING_PACKED_EVENT_FLAG_ENABLE);
	if (vq->descs_out + skip >= vq->size)
		return false;
	/*
	 * What is to be had begins with the next. While that is not available there is nothing, whatever
	 * lies further on: old flags, or chains that a driver publishes with the flags of their first one.
	 * It will read our wish then.
	 */
	if (!packed_waits(vq, next) || (skip && !packed_waits(vq, p)))
		return false;
	vq->promised = true;
	return true;
}
