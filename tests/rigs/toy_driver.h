/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * toy_driver.h - a driver that is slow and obviously right
 *
 * The reference that the ring engine is held against. It keeps a plain list of
 * all chains it ever made available and not got back, eldest first, with every
 * segment written out; the ring's rules are followed by the letter of VIRTIO
 * 1.3, 2.7 and 2.8, nothing is cached, free descriptors are found by looking at
 * all of them. Ring memory is that of a struct rig.
 */
#ifndef TOY_DRIVER_H
#define TOY_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/rigs/ring_rig.h"

#define TOY_MAX_SIZE 64u
#define TOY_MAX_SEGS 24u

/* One chain, from add to get. */
struct toy_chain {
	bool live;
	uint64_t seq; /* 0, 1, 2 ... in the order of toy_add() */
	uint16_t id;  /* head or buffer id */
	unsigned n_out, n_in;
	struct vg_seg segs[TOY_MAX_SEGS];
	unsigned ndesc;
	uint16_t descs[TOY_MAX_SEGS]; /* ring descriptors it occupies */
};

struct toy {
	struct rig *r;
	bool packed, indirect, in_order;
	struct toy_chain
		*batch;	    /* in_order: the last of a batch that is being taken back, or NULL */
	uint32_t batch_len; /* its used length */
	unsigned size;
	uint64_t seed;
	uint64_t seq;
	struct toy_chain chains[TOY_MAX_SIZE];
	bool busy[TOY_MAX_SIZE];      /* split: descriptor belongs to a chain */
	uint16_t avail_idx, used_idx; /* split: free-running; packed: place */
	bool avail_wrap, used_wrap;
	unsigned free; /* packed: descriptors */
	bool pending;  /* packed: first head since the last publish */
	uint16_t pending_at, pending_flags;
	uint16_t published; /* split */
};

/* What the device gave back. */
struct toy_used {
	uint64_t seq;
	uint32_t len;
	uint32_t in_len;
};

/** toy_rand - a number below @n; xorshift64*, reproducible */
static inline unsigned toy_rand(struct toy *t, unsigned n)
{
	t->seed ^= t->seed >> 12;
	t->seed ^= t->seed << 25;
	t->seed ^= t->seed >> 27;
	return (unsigned)((t->seed * 2685821657736338717ull >> 33) % n);
}

/** toy_init - a driver on @r's ring, from where @r->cfg.state says */
static inline void toy_init(struct toy *t, struct rig *r, uint64_t seed)
{
	const struct vg_vq_state *s = &r->cfg.state;

	memset(t, 0, sizeof(*t));
	t->r = r;
	t->packed = r->cfg.features & RIG_PACKED;
	t->indirect = r->cfg.features & RIG_INDIRECT;
	t->in_order = r->cfg.features & RIG_IN_ORDER;
	t->size = r->cfg.size;
	t->free = t->size;
	t->seed = seed ? seed : 1;
	t->avail_idx = s->avail_idx;
	t->published = s->avail_idx;
	t->used_idx = s->used_idx;
	t->avail_wrap = s->avail_wrap;
	t->used_wrap = s->used_wrap;
	if (!t->packed) {
		r->avail->idx = s->avail_idx;
		r->used->idx = s->used_idx;
	} else {
		/* As if laps had gone by: everything used in the lap before. */
		for (unsigned i = 0; i < t->size; i++) {
			bool w = i < s->avail_idx ? s->avail_wrap : !s->avail_wrap;

			r->pdesc[i].flags = w ? 1u << 7 | 1u << 15 : 0;
		}
	}
}

/** toy_free_desc - split: a free descriptor other than those of @c, or -1 */
static inline int toy_free_desc(struct toy *t)
{
	unsigned start = toy_rand(t, t->size);

	for (unsigned i = 0; i < t->size; i++) {
		unsigned d = (start + i) % t->size;

		if (!t->busy[d])
			return (int)d;
	}
	return -1;
}

/** toy_count_free - how many ring descriptors are free */
static inline unsigned toy_count_free(const struct toy *t)
{
	unsigned n = 0;

	if (t->packed)
		return t->free;
	for (unsigned i = 0; i < t->size; i++)
		n += !t->busy[i];
	return n;
}

/** toy_by_id - the live chain with @id, or NULL */
static inline struct toy_chain *toy_by_id(struct toy *t, uint16_t id)
{
	for (unsigned i = 0; i < t->size; i++)
		if (t->chains[i].live && t->chains[i].id == id)
			return &t->chains[i];
	return NULL;
}

/** toy_by_seq - the live chain with @seq, or NULL */
static inline struct toy_chain *toy_by_seq(struct toy *t, uint64_t seq)
{
	for (unsigned i = 0; i < t->size; i++)
		if (t->chains[i].live && t->chains[i].seq == seq)
			return &t->chains[i];
	return NULL;
}

/** toy_eldest - the live chain with the smallest seq not below @from, or NULL */
static inline struct toy_chain *toy_eldest(struct toy *t, uint64_t from)
{
	struct toy_chain *best = NULL;

	for (unsigned i = 0; i < t->size; i++) {
		struct toy_chain *c = &t->chains[i];

		if (c->live && c->seq >= from && (!best || c->seq < best->seq))
			best = c;
	}
	return best;
}

/** toy_table - write an indirect table of @n of @c's segments from @from on; its guest address */
static inline uint64_t toy_table(struct toy *t, const struct toy_chain *c, unsigned from,
				 unsigned n, unsigned slot)
{
	uint8_t *mem = rig_at(t->r, RIG_DATA + slot * TOY_MAX_SEGS * 16);
	struct vring_packed_desc *p = (void *)mem;
	struct vring_desc *s = (void *)mem;
	uint16_t at[TOY_MAX_SEGS];

	for (unsigned i = 0; i < n; i++)
		at[i] = (uint16_t)i;
	/* A split table may be linked in any order, but starts with its first. */
	if (!t->packed && toy_rand(t, 4) == 0)
		for (unsigned i = n; i-- > 2;) {
			unsigned k = 1 + toy_rand(t, i);
			uint16_t x = at[i];

			at[i] = at[k];
			at[k] = x;
		}
	for (unsigned i = 0; i < n; i++) {
		const struct vg_seg *g = &c->segs[from + i];
		uint16_t w = from + i >= c->n_out ? VRING_DESC_F_WRITE : 0;

		if (t->packed)
			p[i] = (struct vring_packed_desc){ g->addr, g->len, 0x5555, w };
		else
			s[at[i]] = (struct vring_desc){
				g->addr, g->len,
				(uint16_t)(w | (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
				i + 1 < n ? at[i + 1] : (uint16_t)0xdead
			};
	}
	return rig_addr(t->r, mem);
}

/**
 * toy_add - make a chain of random shape; visible after toy_publish()
 *
 * Return: it, or NULL when there is no room.
 */
static inline struct toy_chain *toy_add(struct toy *t)
{
	unsigned n = 1 + toy_rand(t, toy_rand(t, 8) ? 4 : TOY_MAX_SEGS), slot, direct;
	unsigned max = t->size < TOY_MAX_SEGS ? t->size : TOY_MAX_SEGS;
	bool table = t->indirect && toy_rand(t, 2);
	struct toy_chain *c = NULL;
	struct vring_packed_desc *head = NULL;
	uint16_t head_flags = 0, prev = 0;

	if (n > max)
		n = max;
	/* Split: direct ones may precede a table (VIRTIO 2.7.5.3.2). */
	direct = !table ? n : (t->packed || toy_rand(t, 4)) ? 0 : toy_rand(t, n);
	if (direct + table > toy_count_free(t))
		return NULL;
	for (slot = 0; slot < t->size; slot++)
		if (!t->chains[slot].live)
			break;
	c = &t->chains[slot];
	memset(c, 0, sizeof(*c));
	c->live = true;
	c->seq = t->seq++;
	c->n_out = toy_rand(t, n + 1);
	c->n_in = n - c->n_out;
	c->ndesc = direct + table;
	for (unsigned i = 0; i < n; i++)
		c->segs[i] = (struct vg_seg){ RIG_BASE + RIG_DATA + (c->seq * 64 + i) % 65536,
					      1 + toy_rand(t, 5000) };
	c->live = false;
	do
		c->id = (uint16_t)toy_rand(t, 65536);
	while (t->packed && toy_by_id(t, c->id));
	c->live = true;

	for (unsigned i = 0; i < c->ndesc; i++) {
		bool inner = table && i == direct;
		uint64_t addr = inner ? toy_table(t, c, direct, n - direct, slot) : c->segs[i].addr;
		uint32_t len = inner ? (n - direct) * 16 : c->segs[i].len;
		uint16_t flags = inner		 ? VRING_DESC_F_INDIRECT
				 : i >= c->n_out ? VRING_DESC_F_WRITE
						 : 0;

		flags |= i + 1 < c->ndesc ? VRING_DESC_F_NEXT : 0;
		if (!t->packed) {
			uint16_t d = (uint16_t)toy_free_desc(t);

			t->busy[d] = true;
			c->descs[i] = d;
			t->r->desc[d] = (struct vring_desc){ addr, len, flags, 0xbeef };
			if (i)
				t->r->desc[prev].next = d;
			else
				c->id = d;
			prev = d;
			continue;
		}
		flags |= t->avail_wrap ? 1u << VRING_PACKED_DESC_F_AVAIL
				       : 1u << VRING_PACKED_DESC_F_USED;
		c->descs[i] = t->avail_idx;
		t->r->pdesc[t->avail_idx].addr = addr;
		t->r->pdesc[t->avail_idx].len = len;
		t->r->pdesc[t->avail_idx].id = i + 1 < c->ndesc ? 0x7777 : c->id;
		if (i == 0) {
			head = &t->r->pdesc[t->avail_idx];
			head_flags = flags;
			if (!t->pending)
				t->pending_at = t->avail_idx;
		} else {
			t->r->pdesc[t->avail_idx].flags = flags;
		}
		t->free--;
		if (++t->avail_idx == t->size) {
			t->avail_idx = 0;
			t->avail_wrap = !t->avail_wrap;
		}
	}
	if (t->packed && t->pending) {
		head->flags = head_flags;
	} else if (t->packed) {
		t->pending = true;
		t->pending_flags = head_flags;
	} else {
		t->r->avail->ring[t->avail_idx % t->size] = c->id;
		t->avail_idx++;
	}
	return c;
}

/** toy_publish - the device may see all that was added */
static inline void toy_publish(struct toy *t)
{
	if (!t->packed) {
		t->published = t->avail_idx;
		__atomic_store_n(&t->r->avail->idx, t->avail_idx, __ATOMIC_RELEASE);
	} else if (t->pending) {
		__atomic_store_n(&t->r->pdesc[t->pending_at].flags, t->pending_flags,
				 __ATOMIC_RELEASE);
		t->pending = false;
	}
}

/** toy_in_len - bytes of @c that the device may write */
static inline uint32_t toy_in_len(const struct toy_chain *c)
{
	uint32_t len = 0;

	for (unsigned i = 0; i < c->n_in; i++)
		len += c->segs[c->n_out + i].len;
	return len;
}

/**
 * toy_look - what the device wrote where the used side stands
 *
 * Return: 1; 0: nothing; -1: the device broke the ring.
 */
static inline int toy_look(struct toy *t, uint16_t *id, uint32_t *len)
{
	if (t->packed) {
		struct vring_packed_desc *d = &t->r->pdesc[t->used_idx];
		uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);
		bool a = flags & 1u << VRING_PACKED_DESC_F_AVAIL;
		bool b = flags & 1u << VRING_PACKED_DESC_F_USED;

		if (a != t->used_wrap || b != t->used_wrap)
			return 0;
		*id = d->id;
		*len = flags & VRING_DESC_F_WRITE ? d->len : 0;
	} else {
		struct vring_used_elem *e = &t->r->used->ring[t->used_idx % t->size];

		if (__atomic_load_n(&t->r->used->idx, __ATOMIC_ACQUIRE) == t->used_idx)
			return 0;
		if (e->id > 65535)
			return -1;
		*id = (uint16_t)e->id;
		*len = e->len;
	}
	return 1;
}

/**
 * toy_get - take one chain back
 *
 * In order, one entry stands for a batch (2.7.9): its chains come one by one, and those before the
 * last have been written in full.
 *
 * Return: 1; 0: none; -1: the device broke the ring.
 */
static inline int toy_get(struct toy *t, struct toy_used *u)
{
	struct toy_chain *c = t->batch;
	uint16_t id = 0;
	int rc;

	if (!c) {
		rc = toy_look(t, &id, &t->batch_len);
		if (rc <= 0)
			return rc;
		c = toy_by_id(t, id);
		if (!c)
			return -1;
	} else if (!t->packed &&
		   __atomic_load_n(&t->r->used->idx, __ATOMIC_ACQUIRE) == t->used_idx) {
		return -1; /* the batch was longer than the index says */
	}
	if (t->in_order) {
		t->batch = c;
		c = toy_eldest(t, 0);
	}
	u->seq = c->seq;
	u->in_len = toy_in_len(c);
	u->len = t->batch && c != t->batch ? u->in_len : t->batch_len;
	if (c == t->batch)
		t->batch = NULL;
	if (t->packed) {
		t->used_idx = (uint16_t)(t->used_idx + c->ndesc);
		if (t->used_idx >= t->size) {
			t->used_idx = (uint16_t)(t->used_idx - t->size);
			t->used_wrap = !t->used_wrap;
		}
		t->free += c->ndesc;
	} else {
		t->used_idx++;
		for (unsigned i = 0; i < c->ndesc; i++)
			t->busy[c->descs[i]] = false;
	}
	c->live = false;
	return 1;
}

/** toy_matches - whether the device saw exactly the chain that was added */
static inline bool toy_matches(const struct toy_chain *c, const struct vg_chain *d)
{
	uint32_t out = 0, in = 0;

	if (d->id != c->id || d->ndesc != c->ndesc || d->n_out != c->n_out || d->n_in != c->n_in)
		return false;
	for (unsigned i = 0; i < c->n_out + c->n_in; i++) {
		if (d->segs[i].addr != c->segs[i].addr || d->segs[i].len != c->segs[i].len)
			return false;
		*(i < c->n_out ? &out : &in) += c->segs[i].len;
	}
	return d->out_len == out && d->in_len == in && !d->error;
}

#endif /* TOY_DRIVER_H */
