/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chain.c - memory of long chains, and indirect tables
 *
 * Theory of operation
 *
 * A slot holds a chain of up to VG_SHORT segments. A longer one takes a *block*
 * of chain_max segments from a stack. Blocks lie in one anonymous mapping that
 * costs memory only where it was touched; being a stack, as few as possible
 * are. Their distance is chain_max segments and one cache line, so that the
 * first lines of many blocks do not all fall into one set of the cache.
 *
 * An indirect table (VIRTIO 2.7.5.3, 2.8.7) that is direct memory is decoded from
 * there, each descriptor read once, when the whole pop has been gathered: it had
 * that long to come from memory. Any other table is copied, to where the chain's
 * segments will be: a descriptor and a segment have the same size, and each
 * descriptor is read before its segment overwrites it. Drivers fill tables from
 * front to back, so the segment with number i comes from descriptor i. A split
 * table may jump, though: from the first jump on it is decoded from yet another
 * copy. Whatever it does, it cannot take more steps than it has descriptors.
 *
 * The tables of all chains of a pop are fetched by one batch: for grants, one
 * hypercall.
 */
#include "backend/virtio/chain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int vg_vq_break(struct vg_vq *vq, int code, const char *fmt, ...)
{
	va_list ap;

	if (vq->fault)
		return vq->fault;
	vq->fault = code;
	va_start(ap, fmt);
	vsnprintf(vq->fault_text, sizeof(vq->fault_text), fmt, ap);
	va_end(ap);
	return code;
}

/** move_to_block - give @s a block and move @b's segments there. Return: 0, or -EAGAIN: none free. */
static int move_to_block(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b)
{
	struct vg_seg *block;

	if (!vq->n_free_blocks) {
		vq->starved = true;
		return -EAGAIN;
	}
	block = vq->blocks + vq->block_stride * vq->free_blocks[--vq->n_free_blocks];
	memcpy(block, s->few, b->n * sizeof(*block));
	s->c.segs = block;
	s->is_long = true;
	b->segs = block;
	b->room = vq->chain_max;
	return 0;
}

int vg_build_grow(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b)
{
	if (b->n == vq->chain_max)
		return vg_vq_break(vq, -EPROTO, "chain of more than %u buffers", vq->chain_max);
	return move_to_block(vq, s, b);
}

int vg_build_table(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b, uint64_t addr,
		   uint32_t len)
{
	uint32_t n = len / sizeof(struct vg_desc);

	if (!vq->indirect)
		return vg_vq_break(vq, -EPROTO, "indirect descriptor, not negotiated");
	if (!n || len % sizeof(struct vg_desc))
		return vg_vq_break(vq, -EPROTO, "indirect table of %u bytes", len);
	if (n > vq->chain_max - b->n)
		return vg_vq_break(vq, -EPROTO, "indirect table of %u descriptors, at most %u", n,
				   vq->chain_max - b->n);
	if (addr + (len - 1) < addr)
		return vg_vq_break(vq, -EPROTO, "indirect table of %u bytes at 0x%llx", len,
				   (unsigned long long)addr);
	if (n > b->room - b->n) {
		int rc = move_to_block(vq, s, b);

		if (rc)
			return rc;
	}
	s->written = n;
	s->table = vg_mem_direct(vq->mem, addr, len, VG_FROM_GUEST);
	if (s->table && (uintptr_t)s->table % sizeof(uint64_t) == 0) {
		__builtin_prefetch(s->table);
		__builtin_prefetch((const char *)s->table + 64);
		return 0;
	}
	s->table = NULL;
	vg_batch_add(&vq->batch, addr, b->segs + b->n, len, VG_FROM_GUEST, &s->c.error);
	return 0;
}

void vg_chain_drop(struct vg_vq *vq, struct vg_slot *s)
{
	/* Packed: a predecessor's chain still has its descriptors; split: they count once walked. */
	if (!(vq->packed && s->c.resubmitted))
		vq->descs_out -= s->c.ndesc;
	vg_slot_release(vq, s);
}

/** table_add - append the buffer that a split table's descriptor describes. Return: 0 or -EPROTO. */
static inline int table_add(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b,
			    struct vg_desc d)
{
	return vg_build_add(vq, s, b, d.addr, vg_desc_len(d), d.rest >> 32 & VRING_DESC_F_WRITE);
}

/**
 * table_save - copy descriptors @from to @n of a table that segments are about to overwrite
 *
 * Those before are segments by now: whoever jumps back there is in a loop.
 */
static const struct vg_desc *table_save(struct vg_vq *vq, const struct vg_desc *table,
					uint32_t from, uint32_t n)
{
	memset(vq->scratch, 0, from * sizeof(*vq->scratch));
	memcpy(vq->scratch + from, table + from, (n - from) * sizeof(*vq->scratch));
	return vq->scratch;
}

/**
 * table_split - turn a table of @n descriptors into segments behind @b's
 * @in_place: the table lies where the segments will
 *
 * Return: 0, or -EPROTO: the queue is broken.
 */
static int table_split(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b,
		       const struct vg_desc *table, uint32_t n, bool in_place)
{
	uint32_t i = 0;

	for (uint32_t steps = 1;; steps++) {
		struct vg_desc d = vg_desc_read(&table[i]);
		uint32_t flags = (uint32_t)(d.rest >> 32), next = flags >> 16;
		int rc;

		if (flags & VRING_DESC_F_INDIRECT)
			return vg_vq_break(vq, -EPROTO, "indirect table within an indirect table");
		if (in_place && (flags & VRING_DESC_F_NEXT) && next != i + 1) {
			table = table_save(vq, table, i + 1, n);
			in_place = false;
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
static int table_packed(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b,
			const struct vg_desc *table, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct vg_desc d = vg_desc_read(&table[i]);
		int rc = vg_build_add(vq, s, b, d.addr, vg_desc_len(d),
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
	const struct vg_desc *table = s->table ? s->table : (const void *)(b.segs + b.n);
	uint32_t n = s->written;
	int rc;

	s->written = 0;
	if (s->c.error)
		return vg_vq_break(vq, -EFAULT, "indirect table of chain %u cannot be read",
				   s->c.id);
	rc = vq->packed ? table_packed(vq, s, &b, table, n)
			: table_split(vq, s, &b, table, n, !s->table);
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
