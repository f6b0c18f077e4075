/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - what the files of the ring engine share; nobody else includes it
 *
 *   virtqueue.c   life of a queue, the five verbs, in-order completion
 *   resume        an in-flight record is taken up
 *   split.c       the split ring (VIRTIO 1.3, 2.7)
 *   packed.c      the packed ring (2.8)
 *   inflight.h    the in-flight record's layout, and how it is written
 *   chain         descriptors become a checked chain; indirect tables
 *
 * Each knows those below it only.
 */
#ifndef VG_VIRTQUEUE_INT_H
#define VG_VIRTQUEUE_INT_H

#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "backend/base/container.h"
#include "backend/base/log.h"
#include "backend/memory/guestmem.h"
#include "backend/virtio/types.h"

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif

/* Tests redefine it, to strike after any store that outlives the process. */
#ifndef VG_KILL_POINT
#define VG_KILL_POINT() ((void)0)
#endif

/* ---- memory that others write or read ----------------------------------- */

/*
 * Rings are shared with the driver, records with a successor. One access each,
 * of the natural size, never repeated by the compiler: hence atomics. Contents
 * are little-endian (VIRTIO 1.x, and records on the machines that we run on).
 */
typedef uint16_t __attribute__((may_alias)) any16; /* whatever type the memory was declared with */
typedef uint32_t __attribute__((may_alias)) any32;
typedef uint64_t __attribute__((may_alias)) any64;

static inline uint16_t ld16(const void *p)
{
	return le16toh(__atomic_load_n((const any16 *)p, __ATOMIC_RELAXED));
}

static inline uint64_t ld64(const void *p)
{
	return le64toh(__atomic_load_n((const any64 *)p, __ATOMIC_RELAXED));
}

static inline uint8_t ld8(const void *p)
{
	return __atomic_load_n((const uint8_t *)p, __ATOMIC_RELAXED);
}

static inline uint32_t ld32(const void *p)
{
	return le32toh(__atomic_load_n((const any32 *)p, __ATOMIC_RELAXED));
}

static inline void st16(void *p, uint16_t v)
{
	__atomic_store_n((any16 *)p, htole16(v), __ATOMIC_RELAXED);
	VG_KILL_POINT();
}

static inline void st32(void *p, uint32_t v)
{
	__atomic_store_n((any32 *)p, htole32(v), __ATOMIC_RELAXED);
	VG_KILL_POINT();
}

static inline void st64(void *p, uint64_t v)
{
	__atomic_store_n((any64 *)p, htole64(v), __ATOMIC_RELAXED);
	VG_KILL_POINT();
}

/* Publishing: see "Notifications" in split.c. */
static inline void st16_publish(void *p, uint16_t v)
{
	__atomic_store_n((any16 *)p, htole16(v), __ATOMIC_SEQ_CST);
	VG_KILL_POINT();
}

/**
 * in_sequence - the compiler moves no store across this point
 *
 * What a killed process had executed, its successor finds: SIGKILL takes back no store that has
 * retired, and the kernel's own synchronisation lies between the two. So the order of the
 * instructions is all that a record's correctness needs; no fence of the processor.
 */
static inline void in_sequence(void)
{
	__asm__ __volatile__("" ::: "memory");
}

/* ---- chains ------------------------------------------------------------- */

#define VG_SHORT 8u /* segments that fit in the slot itself: a slot is three cache lines */

/* A descriptor as it stands in a ring or a table, in two words: both ring formats fit. */
struct vg_desc {
	uint64_t addr;
	uint64_t rest; /* len, then two halves: flags and next (split), id and flags (packed) */
};

enum vg_slot_state { VG_SLOT_FREE, VG_SLOT_OUT, VG_SLOT_HELD };

/* One chain that is out, with what only the engine needs. Split: slot number = head. */
struct vg_slot {
	struct vg_chain c;
	uint32_t written;	     /* of a HELD one; while popping: descriptors of its table */
	uint16_t rec;		     /* packed: its first entry in the record */
	uint8_t state;		     /* enum vg_slot_state */
	bool is_long;		     /* segs point to a block */
	struct vg_seg few[VG_SHORT]; /* the first one shares the first cache line */
	const struct vg_desc *table; /* while popping: its table in guest memory, or NULL: copied */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct vg_seg) == sizeof(struct vg_desc), "tables are decoded in place");
_Static_assert(sizeof(struct vg_slot) <= 192, "three cache lines");
_Static_assert(offsetof(struct vg_slot, few[1]) <= 64, "a chain of one segment: one");

/* A chain that was pushed and is not yet published. */
struct vg_done {
	uint32_t written;
	uint16_t id;
	uint16_t ndesc;
};

/* A chain that a predecessor popped. */
struct vg_resub {
	uint16_t entry; /* in the record: head (split), first entry (packed) */
	uint16_t num;	/* packed: how many entries */
};

struct vg_vq {
	/* The ring. What is marked * is the driver's to write. */
	union {
		struct vg_desc *desc; /* split: * descriptor table; packed: * the ring */
	};
	union {
		struct vring_avail *avail; /* split: * */
		void *driver_event;	   /* packed: * */
	};
	union {
		struct vring_used *used; /* split */
		void *device_event;	 /* packed */
	};
	uint32_t size;
	uint16_t mask; /* split */
	bool packed, event_idx, in_order, indirect;
	bool notify_always;	    /* nothing published since the start */
	bool starved;		    /* a long chain waits for a block */
	bool promised;		    /* packed: vg_vq_rearm() saw an available descriptor */
	bool avail_wrap, used_wrap; /* packed */

	/* Where it stands. Split: free-running. Packed: 0 to size - 1. */
	uint16_t avail_idx;  /* next to take */
	uint16_t avail_seen; /* split: the driver's index as last read */
	uint16_t used_idx;   /* published */
	uint32_t chains_out; /* taken, by us or a predecessor, and not published */
	uint32_t descs_out;  /* ring descriptors of these */

	uint32_t chain_max;	     /* segments */
	uint32_t short_max;	     /* the smaller of chain_max and VG_SHORT */
	struct vg_slot *slots;	     /* @size */
	struct vg_slot **free_slots; /* packed: stack */
	uint32_t n_free_slots;
	uint64_t *ids;	      /* packed: bit map of the buffer ids that are out */
	struct vg_done *done; /* @size */
	uint16_t *done_rec;   /* @size; packed: a done one's first entry in the record */
	uint32_t n_done;

	/* Blocks for long chains: @block_stride segments apart, see block_get(). */
	struct vg_seg *blocks;
	size_t blocks_len; /* bytes */
	size_t block_stride;
	uint16_t *free_blocks; /* stack */
	uint32_t n_free_blocks;
	struct vg_desc *scratch; /* chain_max: a copied table whose next fields jump about */

	/* In-order: slots from the eldest, a ring of @size. */
	struct vg_slot **order;
	uint32_t order_head, order_n;
	uint32_t n_held; /* of these, pushed */
	bool *whole;	 /* @size; of the done ones: written in full, so that it may go unsaid */

	/* In-flight record, written only while running. */
	void *rec;
	uint64_t rec_counter;	/* next chain's */
	uint16_t *rec_next;	/* packed: our copy of the entries' next fields */
	uint16_t rec_free;	/* packed: head of the free list */
	uint16_t rec_fill;	/* packed: where the pop under way fills in */
	struct vg_resub *resub; /* eldest first */
	uint32_t resub_at, resub_n;

	struct vg_vq_stats stats;
	struct vg_mem *mem;
	struct vg_map map_desc, map_driver, map_device;
	int fault; /* 0 or negative errno */
	char fault_text[160];
	struct vg_batch batch;
};

/* chain.c */

/** vg_vq_break - note why the driver broke the queue; the first reason stays. Return: @code */
int vg_vq_break(struct vg_vq *vq, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/**
 * vg_chain_settle - fetch and decode the tables of what a pop has gathered
 * @out: @n chains, those with a table have s->written != 0
 *
 * Return: how many at the front of @out are good; the others are dropped, and the queue broken.
 */
unsigned vg_chain_settle(struct vg_vq *vq, struct vg_chain **out, unsigned n);

/** vg_chain_drop - free the slot of a chain that the caller of pop will not see */
void vg_chain_drop(struct vg_vq *vq, struct vg_slot *s);

/** vg_slot_of - the slot that holds @c */
static inline struct vg_slot *vg_slot_of(struct vg_chain *c)
{
	return container_of(c, struct vg_slot, c);
}

/** vg_block_release - the segments of @s are not needed any more */
static inline void vg_block_release(struct vg_vq *vq, struct vg_slot *s)
{
	if (__builtin_expect(!s->is_long, 1))
		return;
	vq->free_blocks[vq->n_free_blocks++] =
		(uint16_t)((size_t)(s->c.segs - vq->blocks) / vq->block_stride);
	s->is_long = false;
	vq->starved = false;
}

/** vg_slot_release - the chain in @s is gone: block, slot and id are free again */
static inline void vg_slot_release(struct vg_vq *vq, struct vg_slot *s)
{
	s->state = VG_SLOT_FREE;
	vg_block_release(vq, s);
	if (vq->packed) {
		vq->ids[s->c.id / 64] &= ~(1ull << s->c.id % 64);
		vq->free_slots[vq->n_free_slots++] = s;
	}
}

/*
 * split.c, packed.c: the ring's side of each verb.
 *
 * rearm asks for the notification of the chain (split) or descriptor (packed) after @skip < size others.
 * pop returns how many chains it gathered; the reason why not more may be vq->fault. publish makes
 * vq->done[] visible, n_done > 0, and says whether to notify.
 */
unsigned vg_split_pop(struct vg_vq *vq, struct vg_chain **out, unsigned max);
void vg_split_unpop(struct vg_vq *vq, struct vg_slot *s);
bool vg_split_publish(struct vg_vq *vq);
bool vg_split_seen(const struct vg_vq *vq);
void vg_split_quiet(struct vg_vq *vq);
void vg_split_disarm(struct vg_vq *vq);
bool vg_split_waiting(const struct vg_vq *vq);
bool vg_split_rearm(struct vg_vq *vq, uint32_t skip);

unsigned vg_packed_pop(struct vg_vq *vq, struct vg_chain **out, unsigned max);
void vg_packed_unpop(struct vg_vq *vq, struct vg_slot *s);
bool vg_packed_publish(struct vg_vq *vq);
bool vg_packed_seen(const struct vg_vq *vq);
void vg_packed_quiet(struct vg_vq *vq);
bool vg_packed_waiting(const struct vg_vq *vq);
bool vg_packed_rearm(struct vg_vq *vq, uint32_t skip);

/**
 * vg_done_batch - for how many done chains, from the @i-th on, one used entry will do
 *
 * With IN_ORDER the entry of a batch's last chain stands where the batch begins, and stands for all
 * of it (VIRTIO 1.3, 2.7.9 and 2.8.8). Those before the last count as written in full.
 */
static inline uint32_t vg_done_batch(const struct vg_vq *vq, uint32_t i)
{
	uint32_t n = 1;

	while (vq->in_order && vq->whole[i] && i + 1 < vq->n_done) {
		i++;
		n++;
	}
	return n;
}

/* ---- places in a packed ring ---------------------------------------------- */

struct place {
	uint32_t idx; /* below the size */
	bool wrap;    /* the lap's counter */
};

/** vg_place_add - @n <= size descriptors further */
static inline struct place vg_place_add(const struct vg_vq *vq, struct place p, uint32_t n)
{
	p.idx += n;
	if (p.idx >= vq->size) {
		p.idx -= vq->size;
		p.wrap = !p.wrap;
	}
	return p;
}

/** vg_place_sub - @n <= size descriptors back */
static inline struct place vg_place_sub(const struct vg_vq *vq, struct place p, uint32_t n)
{
	if (p.idx < n) {
		p.idx += vq->size;
		p.wrap = !p.wrap;
	}
	p.idx -= n;
	return p;
}

/** vg_packed_used - where the used side stands */
static inline struct place vg_packed_used(const struct vg_vq *vq)
{
	return (struct place){ .idx = vq->used_idx, .wrap = vq->used_wrap };
}

/** vg_packed_set - set where both sides stand */
static inline void vg_packed_set(struct vg_vq *vq, struct place avail, struct place used)
{
	vq->avail_idx = (uint16_t)avail.idx;
	vq->avail_wrap = avail.wrap;
	vq->used_idx = (uint16_t)used.idx;
	vq->used_wrap = used.wrap;
}

/** vg_packed_was_used - whether the descriptor at @p was given back in @p's lap or later */
bool vg_packed_was_used(const struct vg_vq *vq, struct place p);

/** vg_packed_unuse - make the descriptor at @p, which is ours, look available in @p's lap */
void vg_packed_unuse(struct vg_vq *vq, struct place p);

#endif /* VG_VIRTQUEUE_INT_H */
