/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chain.h - one descriptor after the other becomes a checked chain
 *
 * Inline because this is the inner loop of both rings. A struct vg_build is the
 * chain so far; it lives in registers.
 */
#ifndef VG_VIRTQUEUE_CHAIN_H
#define VG_VIRTQUEUE_CHAIN_H

#include <errno.h>

#include "backend/virtio/int.h"

struct vg_build {
	struct vg_seg *segs;
	uint32_t n;    /* segments so far */
	uint32_t room; /* segments that fit behind @segs */
	uint32_t n_out;
	uint64_t out, in; /* bytes: 1024 times 2^32 at most, no overflow */
};

/** vg_desc_len - length field of a descriptor, bytes */
static inline uint32_t vg_desc_len(struct vg_desc d)
{
	return (uint32_t)d.rest;
}

/** vg_desc_read - copy a ring descriptor that the driver may change at any time, once */
static inline struct vg_desc vg_desc_read(const struct vg_desc *p)
{
	return (struct vg_desc){ .addr = ld64(&p->addr), .rest = ld64(&p->rest) };
}

/** vg_build_start - an empty chain in slot @s */
static inline struct vg_build vg_build_start(const struct vg_vq *vq, struct vg_slot *s)
{
	return (struct vg_build){ .segs = s->few, .room = vq->short_max };
}

/*
 * The two below are not hot and lie in chain.c. They take a copy of the
 * build, so that the one in the inner loop need not live in memory.
 */

/** vg_build_grow - make room. Return: 0, -EPROTO: too long, the queue is broken; -EAGAIN: later. */
int vg_build_grow(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b);

/** vg_build_table - queue fetching an indirect table behind what @b has. Return: as vg_build_add() */
int vg_build_table(struct vg_vq *vq, struct vg_slot *s, struct vg_build *b, uint64_t addr,
		   uint32_t len);

/**
 * vg_build_add - append one buffer
 *
 * Return: 0; -EPROTO: the queue is broken; -EAGAIN: no block for a long chain is free now.
 */
static inline __attribute__((always_inline)) int vg_build_add(struct vg_vq *vq, struct vg_slot *s,
							      struct vg_build *b, uint64_t addr,
							      uint32_t len, bool writable)
{
	if (__builtin_expect(b->n == b->room, 0)) {
		struct vg_build copy = *b;
		int rc = vg_build_grow(vq, s, &copy);

		if (rc)
			return rc;
		*b = copy;
	}
	if (__builtin_expect(!len || addr + (len - 1) < addr, 0))
		return vg_vq_break(vq, -EPROTO, "buffer of %u bytes at 0x%llx", len,
				   (unsigned long long)addr);
	b->segs[b->n].addr = addr;
	b->segs[b->n].len = len;
	b->n++;
	if (writable) {
		b->in += len;
		return 0;
	}
	if (__builtin_expect(b->in != 0, 0))
		return vg_vq_break(vq, -EPROTO,
				   "device-readable buffer behind a device-writable one");
	b->n_out = b->n;
	b->out += len;
	return 0;
}

/** vg_build_end - write the chain down in @s. Return: 0, or -EPROTO: the queue is broken. */
static inline int vg_build_end(struct vg_vq *vq, struct vg_slot *s, const struct vg_build *b)
{
	if (__builtin_expect((b->out | b->in) >> 32, 0))
		return vg_vq_break(vq, -EPROTO, "chain of more than 2^32 - 1 bytes");
	s->c.n_out = (uint16_t)b->n_out;
	s->c.n_in = (uint16_t)(b->n - b->n_out);
	s->c.out_len = (uint32_t)b->out;
	s->c.in_len = (uint32_t)b->in;
	s->c.segs = b->segs;
	return 0;
}

#endif /* VG_VIRTQUEUE_CHAIN_H */
