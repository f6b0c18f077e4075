/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vring_packed.c - the driver's side of a packed virtqueue (VIRTIO 1.3, 2.8)
 *
 * A chain takes the next descriptors of the ring, and a buffer id of its own,
 * from a free list in vr->next. All of a chain becomes available when the
 * flags of its first descriptor are written. Chains of one batch are written
 * in full but for the very first descriptor of all; drv_packed_publish()
 * writes that one's flags, last and with release order.
 *
 * Only the last descriptor of a chain carries the buffer id (2.8.6.1). The
 * others carry its complement, so that a device that looks at the wrong one
 * is found out.
 */
#include "tests/driver/vring_int.h"

#define AVAIL_BIT (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED_BIT  (1u << VRING_PACKED_DESC_F_USED)
#define WRAP_BIT  (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

int drv_packed_init(struct drv_vring *vr)
{
	int rc;

	rc = drv_alloc(vr->mem, vr->cfg.size * sizeof(struct vring_packed_desc), 16, true,
		       &vr->desc_mem);
	if (!rc)
		rc = drv_alloc(vr->mem, sizeof(struct vring_packed_desc_event), 4, true,
			       &vr->driver_mem);
	if (!rc)
		rc = drv_alloc(vr->mem, sizeof(struct vring_packed_desc_event), 4, true,
			       &vr->device_mem);
	if (rc)
		return rc;
	vr->pdesc = vr->desc_mem.virt;
	vr->driver_event = vr->driver_mem.virt;
	vr->device_event = vr->device_mem.virt;
	vr->avail_wrap = vr->used_wrap = true;
	return 0;
}

/* put() - write the descriptor at the head of the ring, and move on */
static void put(struct drv_vring *vr, const struct drv_seg *seg, uint16_t flags, uint16_t id)
{
	struct vring_packed_desc *d = &vr->pdesc[vr->avail_idx];

	DRV_STORE64(&d->addr, seg->addr);
	DRV_STORE32(&d->len, seg->len);
	DRV_STORE16(&d->id, id);
	flags |= vr->avail_wrap ? AVAIL_BIT : USED_BIT;
	if (!vr->have_pending) {
		vr->have_pending = true;
		vr->pending_pos = vr->avail_idx;
		vr->pending_flags = flags;
	} else {
		DRV_STORE16(&d->flags, flags);
	}
	vr->pending_descs++;
	if (++vr->avail_idx == vr->cfg.size) {
		vr->avail_idx = 0;
		vr->avail_wrap = !vr->avail_wrap;
	}
}

int drv_packed_add(struct drv_vring *vr, const struct drv_seg *seg, unsigned int n_out,
		   unsigned int n, void *cookie, const struct drv_buf *table)
{
	uint16_t id = vr->free_head;
	struct drv_chain *c = &vr->chains[id];
	unsigned int k;

	vr->free_head = vr->next[id];
	c->table = *table;
	if (table->len) {
		struct drv_seg t = { table->addr, (uint32_t)table->len };

		put(vr, &t, VRING_DESC_F_INDIRECT, id);
		n = 1;
	} else {
		for (k = 0; k < n; k++)
			put(vr, &seg[k],
			    (uint16_t)((k + 1 < n ? VRING_DESC_F_NEXT : 0) |
				       (k >= n_out ? VRING_DESC_F_WRITE : 0)),
			    k + 1 < n ? (uint16_t)~id : id);
	}
	vr->num_free -= n;
	c->cookie = cookie;
	c->descs = (uint16_t)n;
	if (vr->cfg.in_order)
		drv_order_push(vr, id);
	return id;
}

bool drv_packed_publish(struct drv_vring *vr)
{
	uint16_t now = vr->avail_idx, old, off_wrap, off, mode;

	if (!vr->have_pending)
		return false;
	DRV_STORE16_RELEASE(&vr->pdesc[vr->pending_pos].flags, vr->pending_flags);
	vr->have_pending = false;
	old = (uint16_t)(now - vr->pending_descs);
	vr->pending_descs = 0;
	drv_full_barrier();
	mode = DRV_LOAD16(&vr->device_event->flags) & 3;
	if (mode != VRING_PACKED_EVENT_FLAG_DESC || !vr->cfg.event_idx)
		return mode != VRING_PACKED_EVENT_FLAG_DISABLE;
	off_wrap = DRV_LOAD16(&vr->device_event->off_wrap);
	off = off_wrap & (uint16_t)~WRAP_BIT;
	if (!!(off_wrap & WRAP_BIT) != vr->avail_wrap)
		off = (uint16_t)(off - vr->cfg.size);
	return vring_need_event(off, now, old);
}

bool drv_packed_has_used(const struct drv_vring *vr)
{
	uint16_t flags = DRV_LOAD16_ACQUIRE(&vr->pdesc[vr->last_used].flags);

	return !!(flags & USED_BIT) == vr->used_wrap && !!(flags & AVAIL_BIT) == vr->used_wrap;
}

/* release() - a chain is the driver's again */
static void release(struct drv_vring *vr, uint16_t id, struct drv_used *used)
{
	struct drv_chain *c = &vr->chains[id];
	unsigned int pos = vr->last_used + c->descs;

	used->cookie = c->cookie;
	c->cookie = NULL;
	drv_free_table(vr, c);
	vr->next[id] = vr->free_head;
	vr->free_head = id;
	vr->num_free += c->descs;
	if (pos >= vr->cfg.size) {
		pos -= vr->cfg.size;
		vr->used_wrap = !vr->used_wrap;
	}
	vr->last_used = (uint16_t)pos;
}

/* hand_out() - IN_ORDER: the next chain of a batch that the device has used */
static int hand_out(struct drv_vring *vr, struct drv_used *used)
{
	uint16_t id = vr->order[vr->order_head];

	vr->order_head = (uint16_t)((vr->order_head + 1u) % vr->cfg.size);
	release(vr, id, used);
	vr->order_skip--;
	used->skipped = vr->order_skip != 0;
	used->len = used->skipped ? 0 : vr->order_last_len;
	return 1;
}

int drv_packed_get(struct drv_vring *vr, struct drv_used *used)
{
	const struct vring_packed_desc *d = &vr->pdesc[vr->last_used];
	uint16_t id;
	int n;

	if (vr->order_skip)
		return hand_out(vr, used);
	/* Without chains the ring's old flags may look used; there is nothing to get. */
	if (!vr->in_flight || !drv_packed_has_used(vr))
		return 0;
	id = DRV_LOAD16(&d->id);
	if (id >= vr->cfg.size || !vr->chains[id].cookie)
		return -EPROTO;
	if (vr->cfg.in_order) {
		n = drv_order_take(vr, id);
		if (n < 0)
			return n;
		vr->order_skip = (unsigned int)n;
		vr->order_last_len = DRV_LOAD32(&d->len);
		return hand_out(vr, used);
	}
	used->len = DRV_LOAD32(&d->len);
	release(vr, id, used);
	return 1;
}

void drv_packed_enable_cb(struct drv_vring *vr, unsigned int n)
{
	unsigned int pending = vr->cfg.size - vr->num_free, pos;
	bool wrap = vr->used_wrap;

	if (!vr->cfg.event_idx) {
		DRV_STORE16(&vr->driver_event->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
		return;
	}
	/* Chains are counted as one descriptor each: never too late. */
	if (n > pending)
		n = pending;
	pos = vr->last_used + (n ? n - 1 : 0);
	if (pos >= vr->cfg.size) {
		pos -= vr->cfg.size;
		wrap = !wrap;
	}
	DRV_STORE16(&vr->driver_event->off_wrap, (uint16_t)(pos | (wrap ? WRAP_BIT : 0)));
	DRV_STORE16_RELEASE(&vr->driver_event->flags, VRING_PACKED_EVENT_FLAG_DESC);
}

void drv_packed_disable_cb(struct drv_vring *vr)
{
	DRV_STORE16(&vr->driver_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
}
