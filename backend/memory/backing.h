/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * backing.h - guest memory that a request names in its payload, mapped for as long as the device wants
 *
 * A chain's buffers are the device's until the chain is pushed. What a payload names (the pages
 * behind a picture of virtio-gpu) is the device's from one request to another: the addresses are of
 * the same kind (PROTOCOL.md section 6), and the driver does not take them back before the answer to
 * the request that ends it, or a reset. Map it once, by one call, and unmap it before that answer is
 * published.
 *
 * What a guest can have mapped so is bounded by its budget (limits.h).
 */
#ifndef VG_BACKING_H
#define VG_BACKING_H

#include "backend/memory/guestmem.h"

/* A part that lies side by side. */
struct vg_piece {
	uint8_t *ptr;
	size_t off, len; /* of the whole; bytes */
};

/* Zero it before its first use. */
struct vg_backing {
	const struct vg_seg *segs; /* as they were given; NULL: it is not mapped */
	unsigned n;
	struct vg_piece *pieces; /* where it lies, in the order of the addresses */
	unsigned n_pieces;	 /* 0: it is not there, see vg_backings_renew() */
	size_t len;		 /* bytes, in all */
	/* private */
	unsigned room; /* for pieces */
	struct vg_mem *mem;
	struct vg_map map;		  /* all zero: there is nothing to unmap */
	struct vg_backing *next, **pprev; /* of mem->backings */
	enum vg_dir dir;
};

/**
 * vg_backing_map - map @n > 0 ranges, which the caller has bounded
 * @segs: copied; each of them longer than 0
 * @dir: VG_FROM_GUEST: to read; VG_TO_GUEST: to read and write
 *
 * Return: 0; -EFAULT: some of it is not there, or must not be written; -ENOSPC: more pages than the
 * guest's budget has; -ENOMEM; -EOPNOTSUPP: memory of this port cannot be mapped for long. @b is as
 * it was, not mapped, then.
 */
int vg_backing_map(struct vg_backing *b, struct vg_mem *mem, const struct vg_seg *segs, unsigned n,
		   enum vg_dir dir);

/** vg_backing_unmap - let go of it; what is not mapped is left alone */
void vg_backing_unmap(struct vg_backing *b);

/**
 * vg_backing_at - the bytes from @off on that lie side by side
 * @len: gets how many, at least 1
 *
 * Return: the first; NULL: it is not mapped, or ends before.
 */
const uint8_t *vg_backing_at(const struct vg_backing *b, size_t off, size_t *len);

/** vg_backing_read - copy [@off, @off + @len) to @to. Return: false: it is not there, in whole. */
bool vg_backing_read(const struct vg_backing *b, size_t off, void *to, size_t len);

/** vg_backing_write - the other way, where it was mapped to be written. Return: the same. */
bool vg_backing_write(const struct vg_backing *b, size_t off, const void *from, size_t len);

/* ---- for ports ---------------------------------------------------------- */

/** vg_backing_add - for ops->map_long: the next @len bytes lie at @ptr. Return: 0 or -ENOMEM. */
int vg_backing_add(struct vg_backing *b, void *ptr, size_t len);

/**
 * vg_backings_renew - what lies behind guest addresses is not what it was: map all anew
 *
 * Where memory is a table that the other side may change while devices hold on to some of it. Call it
 * when the new table is in force, and before the old memory is unmapped. What is not there any more
 * has no pieces from then on.
 */
void vg_backings_renew(struct vg_mem *mem);

#endif /* VG_BACKING_H */
