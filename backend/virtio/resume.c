/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resume.c - in-flight records: what a successor needs to carry on
 *
 * Theory of operation
 *
 * The ring alone does not say which chains were taken and not given back: with
 * completion out of order, their entries have been written over. The record
 * does. Its layout and its fields' meaning are those of vhost-user's in-flight
 * region (QEMU docs/interop/vhost-user.rst, "Inflight I/O tracking"); where that
 * text leaves a gap between two instructions, the order below closes it.
 *
 * SIGKILL may strike between any two instructions. All that has executed is then
 * in memory and nothing else is (in_sequence()), so it is enough to look at each
 * prefix of the sequence of stores. There is one store per chain or batch at
 * which the fate changes, marked >; a kill before it undoes, a kill after it
 * completes.
 *
 * Where the available side goes on is not recorded, it follows: what was taken is
 * what was used and what is in flight. avail = used + chains in flight (split),
 * or + their descriptors (packed). Hence chains must be marked in the order of
 * the ring, and unmarked from the newest.
 *
 * Split, pop, each chain:       counter = n, n + 1, ...
 *                             > inflight = 1
 *   Before >: not counted, the successor takes it from the available ring, whose
 *   entry the driver cannot have reused.
 *
 * Split, flush of a batch:      used ring elements
 *                               each: next = last_batch_head; last_batch_head = it
 *                             > used->idx (the ring's)
 *                               each: inflight = 0
 *                               used_idx = used->idx
 *   Before >: used->idx equals used_idx, nobody looks at the list; elements beyond
 *   used->idx mean nothing. After >: they differ by the size of the batch; that
 *   many entries from last_batch_head lose their mark, again perhaps.
 *
 * Split, unpop:               > inflight = 0
 *
 * Packed. The entries form a free list; a chain has one entry per descriptor,
 * with a copy of it, since used descriptors overwrite the ring. free_head and
 * old_free_head are neighbours and change in one store; so do used_idx,
 * used_wrap_counter and their old ones. "Old" is the committed state.
 *
 * Packed, pop, each chain:      copies into entries from the free list's front
 *                               head: last, num, counter, inflight = 1
 *                             > free_head, old_free_head = behind its last entry
 *   Before >: its entries are in the free list, where no mark counts.
 *
 * Packed, flush of a batch:     each: its last entry's next = free list's front,
 *                                     which is its head from now on
 *                               free_head = the front
 *                               used_idx, used_wrap_counter = after the batch
 *                               used descriptors of the batch but the first
 *                             > the first one's flags
 *                               each: inflight = 0
 *                               old_free_head = free_head
 *                               old used = used
 *   The successor sees by old used which descriptor to look at, and by its USED
 *   flag whether > has happened. Before >, the flag is the opposite of the lap's
 *   counter, be the descriptor the first of its chain or not: a driver must mark
 *   all as available, since any other pair of flags would sooner or later look
 *   used to itself or available to us. After >, it is equal, even when the driver
 *   has made the descriptor available again since.
 *   Not happened: used descriptors of the batch that are written already must go,
 *   or the driver would take them for the successor's once the first is there.
 *   They lie in our part of the ring; their flags become available; only then is
 *   the record rolled back. Happened: the rest is done. Both may be cut short by
 *   another kill and start over. Heads that agree while the places do not, or the
 *   other way round, are met by both paths. A batch as long as the ring leaves
 *   used_idx as it was: the wrap counter tells.
 *
 * Packed, unpop:                its last entry's next = free_head
 *                             > free_head, old_free_head = its head
 *                               inflight = 0
 *
 * While running, the record is only written, never read: whoever shares it cannot
 * lead us astray. When resuming, each field is read once and checked; a record
 * that makes no sense is refused. The split ring's used->idx and the packed
 * ring's flags are the guest's to forge: it can mislay its own chains, no more.
 */
#include "backend/virtio/resume.h"

#include <errno.h>
#include <stdlib.h>

#include "backend/virtio/inflight.h"

/* ---- chains in the order in which they were popped ----------------------- */

struct order {
	uint64_t counter;
	struct vg_resub chain;
};

/** by_counter - for qsort(): eldest first */
static int by_counter(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	return x->counter < y->counter ? -1 : x->counter > y->counter;
}

/**
 * set_resub - note the chains to give out again
 * @o: @n chains, in any order; is sorted
 *
 * Return: 0 or -ENOMEM.
 */
static int set_resub(struct vg_vq *vq, struct order *o, uint32_t n)
{
	qsort(o, n, sizeof(*o), by_counter);
	vq->resub = calloc(n ? n : 1, sizeof(*vq->resub));
	if (!vq->resub)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		vq->resub[i] = o[i].chain;
	vq->resub_n = n;
	vq->chains_out = n;
	vq->rec_counter = n ? o[n - 1].counter + 1 : 0;
	return 0;
}

/* ---- split -------------------------------------------------------------- */

/** split_fresh - begin a record: nothing in flight at vq->used_idx */
static void split_fresh(struct vg_vq *vq, struct rec_split *rec)
{
	rec_st16(&rec->desc_num, (uint16_t)vq->size);
	rec_st16(&rec->used_idx, vq->used_idx);
	rec_st16(&rec->version, 1);
}

/** split_finish_batch - a predecessor died around its last flush. Return: 0, or -EINVAL. */
static int split_finish_batch(struct vg_vq *vq, struct rec_split *rec, struct vg_err *err)
{
	uint16_t used = ld16(&vq->used->idx), batch = (uint16_t)(used - ld16(&rec->used_idx));
	uint16_t i = ld16(&rec->last_batch_head);

	if (batch > vq->size)
		return vg_fail(err, -EINVAL,
			       "used index %u in the ring, %u in the in-flight record", used,
			       (uint16_t)(used - batch));
	for (uint16_t n = 0; n < batch; n++) {
		if (i >= vq->size)
			return vg_fail(err, -EINVAL, "in-flight record: entry %u of %u", i,
				       vq->size);
		rec_st8(&rec->desc[i].inflight, 0);
		i = ld16(&rec->desc[i].next);
	}
	rec_st16(&rec->used_idx, used);
	vq->used_idx = used;
	return 0;
}

/** split_resume - carry on from @rec. Return: 0, -EINVAL or -ENOMEM. */
static int split_resume(struct vg_vq *vq, struct rec_split *rec, struct order *o,
			struct vg_err *err)
{
	uint32_t n = 0;
	int rc = split_finish_batch(vq, rec, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < vq->size; i++)
		if (ld8(&rec->desc[i].inflight))
			o[n++] = (struct order){ ld64(&rec->desc[i].counter),
						 { .entry = (uint16_t)i } };
	vq->avail_idx = vq->avail_seen = (uint16_t)(vq->used_idx + n);
	return set_resub(vq, o, n);
}

/* ---- packed ------------------------------------------------------------- */

/** packed_fresh - begin a record: nothing in flight at vq->used_idx */
static void packed_fresh(struct vg_vq *vq, struct rec_packed *rec)
{
	struct place used = vg_packed_used(vq);

	for (uint32_t i = 0; i < vq->size; i++) {
		rec_st16(&rec->desc[i].next, (uint16_t)(i + 1));
		vq->rec_next[i] = (uint16_t)(i + 1);
	}
	rec_st16(&rec->desc_num, (uint16_t)vq->size);
	rec_set_free(rec, 0, 0);
	rec_set_used(rec, used, used);
	rec_st16(&rec->version, 1);
	vq->rec_free = 0;
}

/**
 * packed_finish_batch - a predecessor died around its last flush: finish it or take it back
 * @used: where the ring then stands
 * @free: head of the free list then
 *
 * Return: 0, or -EINVAL.
 */
static int packed_finish_batch(struct vg_vq *vq, struct rec_packed *rec, struct place *used,
			       uint16_t *free, struct vg_err *err)
{
	uint64_t u = ld64(&rec->used);
	uint32_t heads = ld32(&rec->heads);
	struct place new = { .idx = (uint16_t)u, .wrap = u >> 32 & 1 };
	struct place old = { .idx = (uint16_t)(u >> 16), .wrap = u >> 40 & 1 };
	uint32_t moved;

	if (new.idx >= vq->size || old.idx >= vq->size)
		return vg_fail(err, -EINVAL, "in-flight record: used index %u, %u of %u", new.idx,
			       old.idx, vq->size);
	moved = new.idx + (new.wrap != old.wrap ? vq->size : 0) - old.idx;
	if (moved > vq->size)
		return vg_fail(err, -EINVAL, "in-flight record: used index %u after %u", new.idx,
			       old.idx);
	*used = old;
	*free = (uint16_t)(heads >> 16);
	if (moved && vg_packed_was_used(vq, old)) {
		*used = new;
		*free = (uint16_t)heads;
	} else if (moved) {
		for (uint32_t i = 1; i < moved; i++)
			vg_packed_unuse(vq, vg_place_add(vq, old, i));
	}
	rec_set_free(rec, *free, *free);
	rec_set_used(rec, *used, *used);
	return 0;
}

/**
 * packed_claim - follow a list of entries, each of which may belong to one list only
 * @seen: a byte for each entry
 * @n: how many; ends before when the list does
 *
 * Return: how many, or UINT32_MAX when one is met twice.
 */
static uint32_t packed_claim(struct vg_vq *vq, uint8_t *seen, uint16_t i, uint32_t n)
{
	uint32_t k;

	for (k = 0; k < n && i < vq->size; k++) {
		if (seen[i]++)
			return UINT32_MAX;
		i = vq->rec_next[i];
	}
	return k;
}

/** packed_lists - check that free list and chains make up all entries. Return: 0, -EINVAL, -ENOMEM */
static int packed_lists(struct vg_vq *vq, struct rec_packed *rec, struct order *o, uint32_t *n_out,
			struct vg_err *err)
{
	uint8_t *seen = calloc((size_t)vq->size + 1, 1); /* + 1: never 0, even to an analyzer */
	uint32_t total, n = 0;

	if (!seen)
		return -ENOMEM;
	total = packed_claim(vq, seen, vq->rec_free, vq->size);
	for (uint32_t i = 0; i < vq->size; i++)
		if (seen[i] && ld8(&rec->desc[i].inflight))
			rec_st8(&rec->desc[i].inflight, 0);
	for (uint32_t i = 0; i < vq->size && total <= vq->size; i++) {
		uint16_t num = ld16(&rec->desc[i].num);

		if (!ld8(&rec->desc[i].inflight))
			continue;
		if (!num || packed_claim(vq, seen, (uint16_t)i, num) != num) {
			total = UINT32_MAX;
			break;
		}
		total += num;
		vq->descs_out += num;
		o[n++] = (struct order){ ld64(&rec->desc[i].counter),
					 { .entry = (uint16_t)i, .num = num } };
	}
	free(seen);
	if (total != vq->size)
		return vg_fail(err, -EINVAL, "in-flight record: its lists do not fit together");
	*n_out = n;
	return 0;
}

/** packed_resume - carry on from @rec. Return: 0, -EINVAL or -ENOMEM. */
static int packed_resume(struct vg_vq *vq, struct rec_packed *rec, struct order *o,
			 struct vg_err *err)
{
	struct place used = { 0 };
	uint32_t n = 0;
	int rc = packed_finish_batch(vq, rec, &used, &vq->rec_free, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < vq->size; i++)
		vq->rec_next[i] = ld16(&rec->desc[i].next);
	rc = packed_lists(vq, rec, o, &n, err);
	if (rc)
		return rc;
	vg_packed_set(vq, vg_place_add(vq, used, vq->descs_out), used);
	return set_resub(vq, o, n);
}

/* ---- both --------------------------------------------------------------- */

int vg_rec_start(struct vg_vq *vq, void *rec, struct vg_err *err)
{
	struct rec_packed *p = rec;
	struct rec_split *s = rec;
	uint16_t version, num;
	struct order *o;
	int rc;

	if ((uintptr_t)rec % 8)
		return vg_fail(err, -EINVAL, "in-flight record is not aligned to 8");
	version = ld16(vq->packed ? &p->version : &s->version);
	num = ld16(vq->packed ? &p->desc_num : &s->desc_num);
	if (version > 1)
		return vg_fail(err, -EINVAL, "in-flight record of version %u, we know 1", version);
	if (version && num != vq->size)
		return vg_fail(err, -EINVAL, "in-flight record of a queue of %u, not %u", num,
			       vq->size);
	vq->rec = rec;
	if (vq->packed) {
		vq->rec_next = calloc(vq->size, sizeof(*vq->rec_next));
		if (!vq->rec_next)
			return vg_fail(err, -ENOMEM, "out of memory for a queue of %u", vq->size);
	}
	if (!version) {
		if (vq->avail_idx != vq->used_idx || vq->avail_wrap != vq->used_wrap)
			return vg_fail(err, -EINVAL,
				       "chains are in flight (available index %u, used %u), but "
				       "the in-flight record is fresh",
				       vq->avail_idx, vq->used_idx);
		if (vq->packed)
			packed_fresh(vq, p);
		else
			split_fresh(vq, s);
		return 0;
	}
	o = calloc(vq->size, sizeof(*o));
	if (!o)
		return vg_fail(err, -ENOMEM, "out of memory for a queue of %u", vq->size);
	rc = vq->packed ? packed_resume(vq, p, o, err) : split_resume(vq, s, o, err);
	free(o);
	if (rc == -ENOMEM)
		vg_fail(err, rc, "out of memory for a queue of %u", vq->size);
	return rc;
}
