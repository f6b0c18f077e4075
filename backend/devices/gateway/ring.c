// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ring.c - the driver's side of a split ring (VIRTIO 1.3 section 2.7), and bounce memory beside it
 *
 *	base:    descriptors | available ring | used ring      GW_RING entries
 *	bounce:  pages; a request has some that lie side by side: what the daemon reads, then, on
 *	         another page, what it writes
 *
 * Request s has descriptors 2s and 2s + 1, so that which are free need not be asked, and any id that the
 * daemon names is right or not at a glance. All of this memory is the daemon's, too, for as long as it
 * lives: it can write to it at any time. So only what it is there to tell is read, once: the used ring.
 *
 * A request of which some segments lie in memory that the daemon has been lent (share.c) has one descriptor,
 * of a table behind its bounce memory (2.7.5.3): what lies in bounce memory is where it would be else, what
 * does not leaves a hole there.
 *
 * Every queue has bounce memory of its own: buffers that wait for long (a network's, a vsock's) take none
 * from those that pass. In one queue requests wait in their order, and all memory comes back.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/gateway/int.h"

enum {
	AVAIL_AT = GW_RING * sizeof(struct vring_desc),
	USED_AT = AVAIL_AT + 2048,
	WORD = 64,
};

_Static_assert(GW_DIRECT * sizeof(struct vring_desc) <= GW_PAGE, "a table");

_Static_assert(sizeof(struct vring_avail) + (GW_RING + 1) * sizeof(uint16_t) <= USED_AT - AVAIL_AT,
	       "the available ring");
_Static_assert(USED_AT + sizeof(struct vring_used) + GW_RING * sizeof(struct vring_used_elem) +
			       sizeof(uint16_t) <=
		       GW_RING_BYTES,
	       "the used ring");

static struct vring_desc *descs(const struct gw_ring *r)
{
	return (struct vring_desc *)(void *)r->base;
}

static struct vring_avail *avail(const struct gw_ring *r)
{
	return (struct vring_avail *)(void *)(r->base + AVAIL_AT);
}

static struct vring_used *used(const struct gw_ring *r)
{
	return (struct vring_used *)(void *)(r->base + USED_AT);
}

uint64_t gw_ring_desc(const struct gw_ring *r)
{
	return r->addr;
}

uint64_t gw_ring_avail(const struct gw_ring *r)
{
	return r->addr + AVAIL_AT;
}

uint64_t gw_ring_used(const struct gw_ring *r)
{
	return r->addr + USED_AT;
}

int gw_ring_init(struct gw_ring *r, uint8_t *base, uint64_t addr, uint8_t *bounce,
		 uint64_t bounce_addr, uint32_t n_pages)
{
	*r = (struct gw_ring){ .base = base,
			       .addr = addr,
			       .bounce = bounce,
			       .bounce_addr = bounce_addr,
			       .n_pages = n_pages };
	r->busy = calloc((n_pages + WORD - 1) / WORD, sizeof(*r->busy));
	if (!r->busy)
		return -ENOMEM;
	gw_ring_start(r);
	return 0;
}

void gw_ring_fini(struct gw_ring *r)
{
	free(r->busy);
	r->busy = NULL;
}

void gw_ring_start(struct gw_ring *r)
{
	memset(r->base, 0, GW_RING_BYTES);
	memset(r->busy, 0, (r->n_pages + WORD - 1) / WORD * sizeof(*r->busy));
	memset(r->slot, 0, sizeof(r->slot));
	r->avail_idx = r->used_idx = 0;
	r->from = 0;
	r->n_free = 0;
	while (r->n_free < GW_SLOTS) {
		r->free[r->n_free] = (uint16_t)(GW_SLOTS - 1 - r->n_free);
		r->n_free++;
	}
}

/* ---- bounce memory ------------------------------------------------------ */

static bool is_busy(const struct gw_ring *r, uint32_t page)
{
	return r->busy[page / WORD] >> page % WORD & 1;
}

static void mark(struct gw_ring *r, uint32_t page, uint32_t n, bool busy)
{
	for (; n; page++, n--) {
		uint64_t bit = 1ULL << page % WORD;

		r->busy[page / WORD] =
			busy ? r->busy[page / WORD] | bit : r->busy[page / WORD] & ~bit;
	}
}

/* The first of @n free pages side by side, from @page on; n_pages: there are none. */
static uint32_t find(const struct gw_ring *r, uint32_t page, uint32_t n)
{
	uint32_t run = 0;

	while (page < r->n_pages && run < n) {
		if (page % WORD == 0 && r->busy[page / WORD] == UINT64_MAX) {
			run = 0;
			page += WORD;
			continue;
		}
		run = is_busy(r, page) ? 0 : run + 1;
		page++;
	}
	return run == n ? page - n : r->n_pages;
}

static uint32_t pages(uint32_t len)
{
	return (uint32_t)(((uint64_t)len + GW_PAGE - 1) / GW_PAGE);
}

/* What it does not write, though it says so, is nobody's. */
static void clear(const struct gw_slot *s)
{
	const struct vg_chain *c = s->chain;
	uint8_t *at = s->in;

	for (unsigned i = c->n_out; s->direct && i < (unsigned)c->n_out + c->n_in; i++) {
		if (!(s->direct >> i & 1))
			memset(at, 0, c->segs[i].len);
		at += c->segs[i].len;
	}
	if (!s->direct)
		memset(at, 0, c->in_len);
}

int gw_ring_take(struct gw_ring *r, struct vg_chain *c, uint64_t direct)
{
	uint32_t n = pages(c->out_len) + pages(c->in_len), page;
	struct gw_slot *s;
	unsigned i;

	/* One that fills all of it has no room for a table. */
	if (n == r->n_pages)
		direct = 0;
	n += direct ? 1 : 0;
	if (n > r->n_pages)
		return -E2BIG;
	if (!r->n_free)
		return -ENOBUFS;
	page = find(r, r->from, n);
	if (page == r->n_pages)
		page = find(r, 0, n);
	if (page == r->n_pages)
		return -ENOBUFS;
	mark(r, page, n, true);
	r->from = page + n < r->n_pages ? page + n : 0;
	i = r->free[--r->n_free];
	s = &r->slot[i];
	s->chain = c;
	s->page = page;
	s->n_pages = n;
	s->out = r->bounce + (size_t)page * GW_PAGE;
	s->in = s->out + (size_t)pages(c->out_len) * GW_PAGE;
	s->direct = direct;
	s->table = direct ? s->in + (size_t)pages(c->in_len) * GW_PAGE : NULL;
	clear(s);
	return (int)i;
}

void gw_ring_give_back(struct gw_ring *r, unsigned slot)
{
	struct gw_slot *s = &r->slot[slot];

	mark(r, s->page, s->n_pages, false);
	s->chain = NULL;
	s->there = false;
	r->free[r->n_free++] = (uint16_t)slot;
}

/* ---- the ring ----------------------------------------------------------- */

static uint64_t address(const struct gw_ring *r, const uint8_t *p)
{
	return r->bounce_addr + (uint64_t)(p - r->bounce);
}

/* Bounce memory that lies side by side is one. Return: the bytes of all descriptors. */
static uint32_t fill_table(const struct gw_ring *r, const struct gw_slot *s)
{
	struct vring_desc table[GW_DIRECT];
	const struct vg_chain *c = s->chain;
	uint64_t at = address(r, s->out);
	unsigned all = (unsigned)c->n_out + c->n_in;
	uint32_t n = 0, i = 0, size;
	bool joins = false; /* the one before is bounce memory, of the same kind */

	do {
		const struct vg_seg *seg = &c->segs[i];
		bool direct = s->direct >> i & 1;

		if (i == c->n_out) {
			at = address(r, s->in);
			joins = false;
		}
		size = joins && !direct ? le32toh(table[--n].len) : 0;
		table[n] = (struct vring_desc){
			.addr = htole64((direct ? seg->addr : at) - size),
			.len = htole32(size + seg->len),
			.flags = htole16((i + 1 < all ? VRING_DESC_F_NEXT : 0) |
					 (i < c->n_out ? 0 : VRING_DESC_F_WRITE)),
			.next = htole16((uint16_t)(n + 1)),
		};
		n++;
		joins = !direct;
		at += seg->len;
	} while (++i < all);
	size = (uint32_t)(n * sizeof(table[0]));
	memcpy(s->table, table, size);
	return size;
}

void gw_ring_add(struct gw_ring *r, unsigned slot)
{
	struct gw_slot *s = &r->slot[slot];
	const struct vg_chain *c = s->chain;
	struct vring_desc *d = &descs(r)[2 * slot];
	uint16_t at = r->avail_idx++ % GW_RING;

	if (s->direct)
		*d = (struct vring_desc){ .addr = htole64(address(r, s->table)),
					  .len = htole32(fill_table(r, s)),
					  .flags = htole16(VRING_DESC_F_INDIRECT) };
	else if (c->out_len)
		*d++ = (struct vring_desc){ .addr = htole64(address(r, s->out)),
					    .len = htole32(c->out_len),
					    .flags = htole16(c->in_len ? VRING_DESC_F_NEXT : 0),
					    .next = htole16((uint16_t)(2 * slot + 1)) };
	if (!s->direct && c->in_len)
		*d = (struct vring_desc){ .addr = htole64(address(r, s->in)),
					  .len = htole32(c->in_len),
					  .flags = htole16(VRING_DESC_F_WRITE) };
	s->there = true;
	r->order[at] = (uint16_t)slot;
	avail(r)->ring[at] = htole16((uint16_t)(2 * slot));
}

bool gw_ring_publish(struct gw_ring *r)
{
	/* 2.7.13.4.1: the index before the flags are looked at. */
	__atomic_store_n(&avail(r)->idx, htole16(r->avail_idx), __ATOMIC_SEQ_CST);
	return !(le16toh(__atomic_load_n(&used(r)->flags, __ATOMIC_SEQ_CST)) &
		 VRING_USED_F_NO_NOTIFY);
}

int gw_ring_used_next(struct gw_ring *r, unsigned *slot, uint32_t *len, struct vg_err *err)
{
	uint16_t idx = le16toh(__atomic_load_n(&used(r)->idx, __ATOMIC_ACQUIRE));
	const struct vring_used_elem *e = &used(r)->ring[r->used_idx % GW_RING];
	uint32_t id;

	if (idx == r->used_idx)
		return 0;
	if ((uint16_t)(idx - r->used_idx) > gw_ring_out(r))
		return vg_fail(err, -EPROTO, "it gives back %u requests and has %u",
			       (uint16_t)(idx - r->used_idx), gw_ring_out(r));
	id = le32toh(__atomic_load_n(&e->id, __ATOMIC_RELAXED));
	*len = le32toh(__atomic_load_n(&e->len, __ATOMIC_RELAXED));
	*slot = id / 2;
	if (id % 2 || *slot >= GW_SLOTS || !r->slot[*slot].there)
		return vg_fail(err, -EPROTO, "it gives back request %u, which it does not have",
			       id);
	if (*len > r->slot[*slot].chain->in_len)
		return vg_fail(err, -EPROTO, "it says that it wrote %u bytes where %u have room",
			       *len, r->slot[*slot].chain->in_len);
	r->slot[*slot].there = false;
	r->used_idx++;
	return 1;
}
