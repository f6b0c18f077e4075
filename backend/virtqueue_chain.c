/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtqueue_chain.c - memory of long chains, and indirect tables
 *
 * Theory of operation
 *
 * A slot holds a chain of up to VG_SHORT segments. A longer one takes a *block*
 * of chain_max segments from a stack. Blocks lie in one anonymous mapping that
 * costs memory only where it was touched; being a stack, as few as possible
 * are. Their distance is chain_max segments and one cache line, so that the
 * first lines of many blocks do not all fall into one set of the cache.
 *
 * An indirect table (VIRTIO 2.7.5.3, 2.8.7) is copied to where the chain's
 * segments will be: a descriptor and a segment have the same size, and each
 * descriptor is read before its segment overwrites it. Drivers fill tables
 * from front to back, so the segment with number i comes from descriptor i. A split
 * table may jump, though: from the first jump on it is decoded from a copy.
 * Whatever it does, it cannot take more steps than it has descriptors.
 *
 * The tables of all chains of a pop are fetched by one batch: for grants, one
 * hypercall.
 */
#include <string.h>

#include "backend/virtqueue_chain.h"

bool vg_chain_grow(struct vg_vq *vq, struct vg_slot *s, uint32_t n)
{
	struct vg_seg *block;

	if (!vq->n_free_blocks) {
		vq->starved = true;
		return false;
	}
	block = vq->blocks + vq->block_stride * vq->free_blocks[--vq->n_free_blocks];
	memcpy(block, s->few, n * sizeof(*block));
	s->c.segs = block;
	s->is_long = true;
	return true;
}

void vg_chain_drop(struct vg_vq *vq, struct vg_slot *s)
{
	/* Packed: a predecessor's chain still has its descriptors; split: they count once walked. */
	if (!(vq->packed && s->c.resubmitted))
		vq->descs_out -= s->c.ndesc;
	vg_slot_release(vq, s);
}

/** table_desc - descriptor @i of a table that was copied over segments */
static struct vg_desc table_desc(const struct vg_seg *segs, uint32_t i)
{
	struct vg_desc d;

	memcpy(&d, &segs[i], sizeof(d));
	d.addr = le64toh(d.addr);
	d.rest = le64toh(d.rest);
	return d;
}

/** table_add - append the buffer that a table's descriptor describes. Return: 0 or -EPROTO. */
static int table_add(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b, struct vg_desc d)
{
	return vg_build_add(vq, s, b, d.addr, vg_desc_len(d), d.rest >> 32 & VRING_DESC_F_WRITE);
}

/**
 * table_split - turn the table of @n descriptors behind @b's segments into segments
 *
 * Return: 0, or -EPROTO: the queue is broken.
 */
static int table_split(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b, uint32_t n)
{
	const struct vg_seg *table = b->segs + b->n;
	bool copied = false;
	uint32_t i = 0;

	for (uint32_t steps = 1;; steps++) {
		struct vg_desc d = copied ? vq->scratch[i] : table_desc(table, i);
		uint16_t flags = (uint16_t)(d.rest >> 32), next = (uint16_t)(d.rest >> 48);
		int rc;

		if (flags & VRING_DESC_F_INDIRECT)
			return vg_vq_break(vq, -EPROTO, "indirect table within an indirect table");
		if ((flags & VRING_DESC_F_NEXT) && next != i + 1 && !copied) {
			/* Those up to @i are segments by now. None of them may be the next. */
			if (next <= i)
				return vg_vq_break(vq, -EPROTO, "loop in an indirect table");
			for (uint32_t k = i + 1; k < n; k++)
				vq->scratch[k] = table_desc(table, k);
			for (uint32_t k = 0; k <= i; k++)
				vq->scratch[k].rest = (uint64_t)VRING_DESC_F_INDIRECT << 32;
			copied = true;
		}
		rc = table_add(vq, s, b, d);
		if (rc)
			return rc;
		if (!(flags & VRING_DESC_F_NEXT))
			return 0;
		if (next >= n)
			return vg_vq_break(vq, -EPROTO, "next %u in a table of %u descriptors",
					   next, n);
		if (steps == n)
			return vg_vq_break(vq, -EPROTO, "loop in an indirect table");
		i = next;
	}
}

/**
 * table_packed - the same for a packed ring: all descriptors, one after the other; of their flags
 * only WRITE has a meaning (VIRTIO 2.8.7)
 */
static int table_packed(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b, uint32_t n)
{
	const struct vg_seg *table = b->segs + b->n;

	for (uint32_t i = 0; i < n; i++) {
		struct vg_desc d = table_desc(table, i);
		int rc;

		rc = vg_build_add(vq, s, b, d.addr, vg_desc_len(d),
				  d.rest >> 48 & VRING_DESC_F_WRITE);
		if (rc)
			return rc;
	}
	return 0;
}

/** table_decode - decode the table that follows the segments of @s. Return: 0 or negative errno. */
static int table_decode(struct vg_vq *vq, struct vg_slot *s)
{
	struct vg_build b = {
		.segs = s->c.segs,
		.n = (uint32_t)s->c.n_out + s->c.n_in,
		.room = s->is_long ? vq->chain_max : vq->short_max,
		.n_out = s->c.n_out,
		.out = s->c.out_len,
		.in = s->c.in_len,
	};
	uint32_t n = s->written;
	int rc;

	s->written = 0;
	if (s->c.error)
		return vg_vq_break(vq, -EFAULT, "indirect table of chain %u cannot be read",
				   s->c.id);
	rc = vq->packed ? table_packed(vq, s, &b, n) : table_split(vq, s, &b, n);
	return rc ? rc : vg_build_end(vq, s, &b);
}

unsigned vg_chain_settle(struct vg_vq *vq, struct vg_chain **out, unsigned n)
{
	unsigned good;

	(void)vg_batch_run(&vq->batch); /* each chain has its own result in c.error */
	for (good = 0; good < n; good++) {
		struct vg_slot *s = vg_slot_of(out[good]);

		if (s->written && table_decode(vq, s))
			break;
	}
	for (unsigned i = good; i < n; i++)
		vg_chain_drop(vq, vg_slot_of(out[i]));
	return good;
}
