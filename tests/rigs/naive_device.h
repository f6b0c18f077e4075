/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * naive_device.h - the simplest device side of a ring, for the driver's own tests
 *
 * Slow and obviously right: one descriptor at a time, straight from VIRTIO
 * 1.3, sections 2.7 and 2.8. It trusts the driver, which is the one on trial.
 */
#ifndef NAIVE_DEVICE_H
#define NAIVE_DEVICE_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <linux/virtio_ring.h>

#define NV_MAX_SEG 64u

/** struct nv - a device side */
struct nv {
	bool packed, event_idx, in_order;
	uint16_t size;
	void *(*at)(void *ctx, uint64_t addr, uint32_t len);
	void *ctx;
	void *desc, *driver, *device; /* the three areas */
	uint16_t next;		      /* split: available index; packed: position */
	uint16_t used;		      /* the same, for used */
	uint16_t told;		      /* used, when the driver was last told */
	unsigned int since;	      /* packed: descriptors used since then */
	bool wrap, used_wrap;
};

struct nv_seg {
	void *p;
	uint32_t len;
	bool write;
};

/** struct nv_chain - what nv_pop() found */
struct nv_chain {
	uint16_t id;
	uint16_t descs; /* packed: to skip in the ring when used */
	unsigned int segs;
	struct nv_seg seg[NV_MAX_SEG];
};

static inline void nv_barrier(void)
{
	static uint32_t line;

	__atomic_fetch_add(&line, 0, __ATOMIC_SEQ_CST);
}

static inline void nv_put(struct nv *d, struct nv_chain *c, uint64_t addr, uint32_t len,
			  uint16_t flags)
{
	if (c->segs == NV_MAX_SEG)
		abort();
	c->seg[c->segs].p = d->at(d->ctx, le64toh(addr), le32toh(len));
	c->seg[c->segs].len = le32toh(len);
	c->seg[c->segs++].write = flags & VRING_DESC_F_WRITE;
}

static inline bool nv_pop_split(struct nv *d, struct nv_chain *c)
{
	struct vring_avail *avail = d->driver;
	struct vring_desc *table = d->desc;
	uint16_t i, flags;

	if (le16toh(__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE)) == d->next)
		return false;
	i = c->id = le16toh(__atomic_load_n(&avail->ring[d->next % d->size], __ATOMIC_RELAXED));
	c->segs = 0;
	flags = le16toh(table[i].flags);
	if (flags & VRING_DESC_F_INDIRECT) {
		table = d->at(d->ctx, le64toh(table[i].addr), le32toh(table[i].len));
		i = 0;
	}
	do {
		flags = le16toh(table[i].flags);
		nv_put(d, c, table[i].addr, table[i].len, flags);
		i = le16toh(table[i].next);
	} while (flags & VRING_DESC_F_NEXT);
	d->next++;
	return true;
}

static inline bool nv_pop_packed(struct nv *d, struct nv_chain *c)
{
	struct vring_packed_desc *ring = d->desc, *t;
	uint16_t flags = le16toh(__atomic_load_n(&ring[d->next].flags, __ATOMIC_ACQUIRE));
	unsigned int i;

	if (!!(flags >> VRING_PACKED_DESC_F_AVAIL & 1) != d->wrap ||
	    !!(flags >> VRING_PACKED_DESC_F_USED & 1) == d->wrap)
		return false;
	c->segs = c->descs = 0;
	do {
		flags = le16toh(__atomic_load_n(&ring[d->next].flags, __ATOMIC_RELAXED));
		if (flags & VRING_DESC_F_INDIRECT) {
			t = d->at(d->ctx, le64toh(ring[d->next].addr), le32toh(ring[d->next].len));
			for (i = 0; i < le32toh(ring[d->next].len) / sizeof(*t); i++)
				nv_put(d, c, t[i].addr, t[i].len, le16toh(t[i].flags));
		} else {
			nv_put(d, c, ring[d->next].addr, ring[d->next].len, flags);
		}
		c->id = le16toh(ring[d->next].id);
		c->descs++;
		if (++d->next == d->size) {
			d->next = 0;
			d->wrap = !d->wrap;
		}
	} while (flags & VRING_DESC_F_NEXT);
	return true;
}

/** nv_init() - @desc, @driver, @device: the three areas, in this process */
static inline void nv_init(struct nv *d, uint16_t size, void *desc, void *driver, void *device)
{
	d->size = size;
	d->desc = desc;
	d->driver = driver;
	d->device = device;
	d->next = d->used = d->told = 0;
	d->since = 0;
	d->wrap = d->used_wrap = true;
}

/** nv_pop() - take a chain; false if there is none */
static inline bool nv_pop(struct nv *d, struct nv_chain *c)
{
	return d->packed ? nv_pop_packed(d, c) : nv_pop_split(d, c);
}

/**
 * nv_push() - return @n chains with one element, for the last of them
 *
 * @n is 1, unless IN_ORDER: then the chains are the oldest that are out.
 */
static inline void nv_push(struct nv *d, const struct nv_chain *c, unsigned int n, uint32_t len)
{
	unsigned int i, descs = 0;

	if (d->packed) {
		struct vring_packed_desc *e = (struct vring_packed_desc *)d->desc + d->used;
		uint16_t flags = d->used_wrap ? 1u << VRING_PACKED_DESC_F_AVAIL |
							1u << VRING_PACKED_DESC_F_USED
					      : 0;

		e->id = htole16(c[n - 1].id);
		e->len = htole32(len);
		__atomic_store_n(&e->flags, htole16(flags), __ATOMIC_RELEASE);
		for (i = 0; i < n; i++)
			descs += c[i].descs;
		d->since += descs;
		if (d->used + descs >= d->size) {
			d->used_wrap = !d->used_wrap;
			d->used = (uint16_t)(d->used + descs - d->size);
		} else {
			d->used = (uint16_t)(d->used + descs);
		}
	} else {
		struct vring_used *used = d->device;
		struct vring_used_elem *e = &used->ring[d->used % d->size];

		__atomic_store_n(&e->id, htole32(c[n - 1].id), __ATOMIC_RELAXED);
		__atomic_store_n(&e->len, htole32(len), __ATOMIC_RELAXED);
		d->used = (uint16_t)(d->used + n);
		__atomic_store_n(&used->idx, htole16(d->used), __ATOMIC_RELEASE);
	}
}

/** nv_should_notify() - whether the driver wants to hear of what was pushed since the last call */
static inline bool nv_should_notify(struct nv *d)
{
	uint16_t old = d->told, now = d->used, off, flags;
	unsigned int since = d->since;
	struct vring_packed_desc_event *ev = d->driver;
	struct vring_avail *avail = d->driver;

	d->told = now;
	d->since = 0;
	nv_barrier();
	if (d->packed) {
		flags = le16toh(__atomic_load_n(&ev->flags, __ATOMIC_ACQUIRE)) & 3;
		if (flags != VRING_PACKED_EVENT_FLAG_DESC)
			return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
		/* Walk the descriptors used since: is the wanted one among them? */
		off = le16toh(__atomic_load_n(&ev->off_wrap, __ATOMIC_RELAXED));
		for (; since; since--, old = (uint16_t)((old + 1) % d->size))
			if (old == (off & 0x7fff))
				return true;
		return false;
	}
	if (!d->event_idx)
		return !(le16toh(__atomic_load_n(&avail->flags, __ATOMIC_RELAXED)) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	off = le16toh(__atomic_load_n((uint16_t *)&avail->ring[d->size], __ATOMIC_RELAXED));
	for (; old != now; old++)
		if (old == off)
			return true;
	return false;
}

/** nv_listen() - ask for a kick at the next chain (@on), or for none */
static inline void nv_listen(struct nv *d, bool on)
{
	struct vring_packed_desc_event *ev = d->device;
	struct vring_used *used = d->device;
	uint16_t off = d->next;

	if (d->packed) {
		if (on && d->event_idx) {
			off |= (uint16_t)(d->wrap << 15);
			__atomic_store_n(&ev->off_wrap, htole16(off), __ATOMIC_RELAXED);
		}
		__atomic_store_n(&ev->flags,
				 htole16(!on		? VRING_PACKED_EVENT_FLAG_DISABLE
					 : d->event_idx ? VRING_PACKED_EVENT_FLAG_DESC
							: VRING_PACKED_EVENT_FLAG_ENABLE),
				 __ATOMIC_RELEASE);
	} else if (d->event_idx) {
		off = on ? off : (uint16_t)(off - 1);
		__atomic_store_n((uint16_t *)&used->ring[d->size], htole16(off), __ATOMIC_RELAXED);
	} else {
		__atomic_store_n(&used->flags, htole16(on ? 0 : VRING_USED_F_NO_NOTIFY),
				 __ATOMIC_RELAXED);
	}
	nv_barrier();
}

#endif /* NAIVE_DEVICE_H */
