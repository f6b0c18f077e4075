/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cursor.h - a walk along a chain's bytes; for the files of this room alone
 */
#ifndef VG_CURSOR_H
#define VG_CURSOR_H

#include <errno.h>

#include "backend/memory/guestmem.h"

/* A walk along the segments of one part of a chain. */
struct vg_cursor {
	const struct vg_seg *seg;
	uint32_t skip; /* bytes of *seg that lie before the cursor */
};

/**
 * vg_cursor_at - find byte @off of one part of @c
 * @dir: VG_FROM_GUEST: the device-readable part, else the device-writable
 * @len: bytes that must be there from @off on
 *
 * Return: 0, or -EINVAL when the part ends before.
 */
static inline int vg_cursor_at(struct vg_cursor *cur, const struct vg_chain *c, enum vg_dir dir,
			       size_t off, size_t len)
{
	size_t total = dir == VG_FROM_GUEST ? c->out_len : c->in_len;

	if (off > total || len > total - off)
		return -EINVAL;
	cur->seg = c->segs + (dir == VG_FROM_GUEST ? 0 : c->n_out);
	while (off && off >= cur->seg->len) {
		off -= cur->seg->len;
		cur->seg++;
	}
	cur->skip = (uint32_t)off;
	return 0;
}

/**
 * vg_cursor_take - the next contiguous range, at most @len bytes, @len > 0
 * @addr: its guest address
 *
 * Return: its length; the cursor stands behind it.
 */
static inline uint32_t vg_cursor_take(struct vg_cursor *cur, size_t len, uint64_t *addr)
{
	uint32_t n = cur->seg->len - cur->skip;

	*addr = cur->seg->addr + cur->skip;
	if (len < n) {
		cur->skip += (uint32_t)len;
		return (uint32_t)len;
	}
	cur->seg++;
	cur->skip = 0;
	return n;
}

/**
 * vg_chain_copy - queue copying between @host and @len bytes at @off of one part of @c
 * @host: only read from where @dir is VG_TO_GUEST
 *
 * Return: 0, or -EINVAL when the part is too short; nothing is queued then.
 */
int vg_chain_copy(struct vg_batch *b, struct vg_chain *c, enum vg_dir dir, size_t off,
		  uint8_t *host, size_t len);

#endif /* VG_CURSOR_H */
