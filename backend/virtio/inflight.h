/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inflight.h - the in-flight record's layout, and how it is written
 *
 * See resume.c for the order of the stores and why.
 */
#ifndef VG_VIRTQUEUE_INFLIGHT_H
#define VG_VIRTQUEUE_INFLIGHT_H

#include "backend/virtio/int.h"

struct rec_split_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct rec_split {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct rec_split_desc desc[];
};

struct rec_packed_desc {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint64_t rest; /* id, flags, 32 bits of len */
	uint64_t addr;
};

struct rec_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint32_t heads; /* free_head, old_free_head */
	uint64_t used;	/* used_idx, old_used_idx, then bytes: used_wrap_counter, the old one */
	uint64_t padding;
	struct rec_packed_desc desc[];
};

_Static_assert(sizeof(struct rec_split_desc) == 16 && sizeof(struct rec_split) == 16, "layout");
_Static_assert(sizeof(struct rec_packed_desc) == 32 && sizeof(struct rec_packed) == 32, "layout");

/* Every store to a record: one instruction, in the order written here. */
static inline void rec_st8(uint8_t *p, uint8_t v)
{
	in_sequence();
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
	in_sequence();
	VG_KILL_POINT();
}

static inline void rec_st16(uint16_t *p, uint16_t v)
{
	in_sequence();
	st16(p, v);
	in_sequence();
}

static inline void rec_st64(uint64_t *p, uint64_t v)
{
	in_sequence();
	st64(p, v);
	in_sequence();
}

/** rec_set_free - packed: head of the free list, and the committed one */
static inline void rec_set_free(struct rec_packed *rec, uint16_t head, uint16_t old)
{
	in_sequence();
	st32(&rec->heads, head | (uint32_t)old << 16);
	in_sequence();
}

/** rec_set_used - packed: where the used side stands, and the committed place */
static inline void rec_set_used(struct rec_packed *rec, struct place used, struct place old)
{
	uint64_t wraps = (used.wrap ? 1ull << 32 : 0) | (old.wrap ? 1ull << 40 : 0);

	rec_st64(&rec->used, (used.idx & 0xffff) | (uint64_t)(old.idx & 0xffff) << 16 | wraps);
}

/** rec_split_pop - @n new chains are in flight */
static inline void rec_split_pop(struct vg_vq *vq, struct vg_chain **out, unsigned n)
{
	struct rec_split *rec = vq->rec;

	for (unsigned i = 0; i < n; i++) {
		rec_st64(&rec->desc[out[i]->id].counter, vq->rec_counter++);
		rec_st8(&rec->desc[out[i]->id].inflight, 1);
	}
}

/** rec_split_unpop - the newest chain is not */
static inline void rec_split_unpop(struct vg_vq *vq, uint16_t id)
{
	rec_st8(&((struct rec_split *)vq->rec)->desc[id].inflight, 0);
}

/** rec_split_batch - vq->done is about to be published */
static inline void rec_split_batch(struct vg_vq *vq)
{
	struct rec_split *rec = vq->rec;

	for (uint32_t i = 0; i < vq->n_done; i++) {
		uint16_t id = vq->done[i].id;

		/* Ours alone since the last time: what the record says is what we wrote. */
		rec_st16(&rec->desc[id].next, vq->rec_free);
		rec_st16(&rec->last_batch_head, id);
		vq->rec_free = id;
	}
}

/** rec_split_published - vq->done was published, the used index is @idx now */
static inline void rec_split_published(struct vg_vq *vq, uint16_t idx)
{
	struct rec_split *rec = vq->rec;

	in_sequence();
	for (uint32_t i = 0; i < vq->n_done; i++)
		rec_st8(&rec->desc[vq->done[i].id].inflight, 0);
	rec_st16(&rec->used_idx, idx);
}

/** rec_last - packed: last of the @num entries from @head on */
static inline uint16_t rec_last(const struct vg_vq *vq, uint16_t head, uint32_t num)
{
	while (--num)
		head = vq->rec_next[head];
	return head;
}

/** rec_packed_fill - copy a descriptor into the free entry that is next. Return: its number. */
static inline uint16_t rec_packed_fill(struct vg_vq *vq, uint64_t addr, uint64_t rest)
{
	uint16_t i = vq->rec_fill;
	struct rec_packed_desc *e = &((struct rec_packed *)vq->rec)->desc[i];

	rec_st64(&e->addr, addr);
	rec_st64(&e->rest, rest >> 32 | rest << 32);
	vq->rec_fill = vq->rec_next[i];
	return i;
}

/** rec_packed_pop - @n new chains are in flight; their entries are filled */
static inline void rec_packed_pop(struct vg_vq *vq, struct vg_chain **out, unsigned n)
{
	struct rec_packed *rec = vq->rec;

	for (unsigned i = 0; i < n; i++) {
		uint16_t head = vg_slot_of(out[i])->rec;
		uint16_t last = rec_last(vq, head, out[i]->ndesc);

		rec_st16(&rec->desc[head].last, last);
		rec_st16(&rec->desc[head].num, out[i]->ndesc);
		rec_st64(&rec->desc[head].counter, vq->rec_counter++);
		rec_st8(&rec->desc[head].inflight, 1);
		vq->rec_free = vq->rec_next[last];
		rec_set_free(rec, vq->rec_free, vq->rec_free);
	}
}

/** rec_packed_unpop - the newest chain is not */
static inline void rec_packed_unpop(struct vg_vq *vq, const struct vg_slot *s)
{
	struct rec_packed *rec = vq->rec;
	uint16_t last = rec_last(vq, s->rec, s->c.ndesc);

	rec_st16(&rec->desc[last].next, vq->rec_free);
	vq->rec_next[last] = vq->rec_free;
	vq->rec_free = s->rec;
	rec_set_free(rec, s->rec, s->rec);
	rec_st8(&rec->desc[s->rec].inflight, 0);
}

/** rec_packed_batch - vq->done is about to be published: from @old to @used */
static inline void rec_packed_batch(struct vg_vq *vq, struct place used, struct place old)
{
	struct rec_packed *rec = vq->rec;
	uint16_t committed = vq->rec_free;

	for (uint32_t i = 0; i < vq->n_done; i++) {
		uint16_t head = vq->done_rec[i], last = rec_last(vq, head, vq->done[i].ndesc);

		rec_st16(&rec->desc[last].next, vq->rec_free);
		vq->rec_next[last] = vq->rec_free;
		vq->rec_free = head;
	}
	rec_set_free(rec, vq->rec_free, committed);
	rec_set_used(rec, used, old);
}

/** rec_packed_published - vq->done was published */
static inline void rec_packed_published(struct vg_vq *vq, struct place used)
{
	struct rec_packed *rec = vq->rec;

	in_sequence();
	for (uint32_t i = 0; i < vq->n_done; i++)
		rec_st8(&rec->desc[vq->done_rec[i]].inflight, 0);
	rec_set_free(rec, vq->rec_free, vq->rec_free);
	rec_set_used(rec, used, used);
}

#endif /* VG_VIRTQUEUE_INFLIGHT_H */
