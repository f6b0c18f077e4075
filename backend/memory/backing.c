// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * backing.c - see backing.h
 *
 * The port maps (ops->map_long) and says where each range lies; here is what is the same for all of
 * them. The ranges are kept, so that they can be mapped again when a front-end changes its table of
 * regions.
 */
#include "backend/memory/backing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 8 };

int vg_backing_add(struct vg_backing *b, void *ptr, size_t len)
{
	struct vg_piece *last = b->n_pieces ? &b->pieces[b->n_pieces - 1] : NULL;

	if (last && last->ptr + last->len == ptr) {
		last->len += len;
		b->len += len;
		return 0;
	}
	if (!b->pieces || b->n_pieces == b->room) {
		unsigned room = b->room ? b->room * 2 : FIRST_ROOM;
		struct vg_piece *pieces = reallocarray(b->pieces, room, sizeof(*pieces));

		if (!pieces)
			return -ENOMEM;
		b->pieces = pieces;
		b->room = room;
	}
	b->pieces[b->n_pieces++] = (struct vg_piece){ ptr, b->len, len };
	b->len += len;
	return 0;
}

static void let_go(struct vg_backing *b)
{
	vg_mem_unmap(b->mem, &b->map);
	free(b->pieces);
	b->pieces = NULL;
	b->n_pieces = b->room = 0;
	b->len = 0;
}

static int take(struct vg_backing *b)
{
	int ret = b->mem->ops->map_long(b->mem, b->segs, b->n, b->dir, &b->map, b);

	if (ret == 0)
		b->mem->stats.maps++;
	else
		let_go(b);
	return ret;
}

int vg_backing_map(struct vg_backing *b, struct vg_mem *mem, const struct vg_seg *segs, unsigned n,
		   enum vg_dir dir)
{
	struct vg_seg *copy;
	int ret;

	if (!mem->ops->map_long)
		return -EOPNOTSUPP;
	copy = malloc(n * sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, segs, n * sizeof(*segs));
	*b = (struct vg_backing){ .mem = mem, .segs = copy, .n = n, .dir = dir };
	ret = take(b);
	if (ret < 0) {
		free(copy);
		*b = (struct vg_backing){ 0 };
		return ret;
	}
	b->pprev = &mem->backings;
	b->next = mem->backings;
	if (b->next)
		b->next->pprev = &b->next;
	mem->backings = b;
	return 0;
}

void vg_backing_unmap(struct vg_backing *b)
{
	if (!b->mem)
		return;
	*b->pprev = b->next;
	if (b->next)
		b->next->pprev = b->pprev;
	let_go(b);
	free((void *)(uintptr_t)b->segs);
	*b = (struct vg_backing){ 0 };
}

void vg_backings_renew(struct vg_mem *mem)
{
	for (struct vg_backing *b = mem->backings; b; b = b->next)
		let_go(b);
	for (struct vg_backing *b = mem->backings; b; b = b->next)
		take(b); /* whoever reads it finds out */
}

const uint8_t *vg_backing_at(const struct vg_backing *b, size_t off, size_t *len)
{
	unsigned lo = 0, hi = b->n_pieces;
	const struct vg_piece *p;

	if (off >= b->len)
		return NULL;
	/* The last piece that begins at or before @off. */
	while (hi - lo > 1) {
		unsigned mid = lo + (hi - lo) / 2;

		if (b->pieces[mid].off <= off)
			lo = mid;
		else
			hi = mid;
	}
	p = &b->pieces[lo];
	*len = p->len - (off - p->off);
	return p->ptr + (off - p->off);
}

/* One of @to and @from is NULL: that side is the backing. Return: whether it has all of these bytes. */
static bool copy(const struct vg_backing *b, size_t off, uint8_t *to, const uint8_t *from,
		 size_t len)
{
	if (off > b->len || len > b->len - off)
		return false;
	for (size_t at = 0, n = 0; at < len; at += n) {
		uint8_t *p = (uint8_t *)(uintptr_t)vg_backing_at(b, off + at, &n);

		if (n > len - at)
			n = len - at;
		memcpy(to ? to + at : p, to ? p : from + at, n);
	}
	return true;
}

bool vg_backing_read(const struct vg_backing *b, size_t off, void *to, size_t len)
{
	return copy(b, off, to, NULL, len);
}

bool vg_backing_write(const struct vg_backing *b, size_t off, const void *from, size_t len)
{
	return b->dir == VG_TO_GUEST && copy(b, off, NULL, from, len);
}
