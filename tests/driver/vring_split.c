/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vring_split.c - the driver's side of a split virtqueue (VIRTIO 1.3, 2.7)
 *
 * Free descriptors are a list in vr->next, private to the driver; a chain's
 * descriptors stay linked there while it is in flight. With IN_ORDER (2.7.9)
 * the list is the ring itself, 0, 1, 2 ... and never changes: chains take the
 * next ones, and give them back in the same order.
 */
#include "tests/driver/vring_int.h"

int drv_split_init(struct drv_vring *vr)
{
	size_t n = vr->cfg.size;
	int rc;

	rc = drv_alloc(vr->mem, n * sizeof(struct vring_desc), 16, true, &vr->desc_mem);
	if (!rc) /* flags, idx, ring, used_event */
		rc = drv_alloc(vr->mem, 6 + 2 * n, 2, true, &vr->driver_mem);
	if (!rc) /* flags, idx, ring, avail_event */
		rc = drv_alloc(vr->mem, 6 + 8 * n, 4, true, &vr->device_mem);
	if (rc)
		return rc;
	vr->desc = vr->desc_mem.virt;
	vr->avail = vr->driver_mem.virt;
	vr->used = vr->device_mem.virt;
	vr->used_event = (uint16_t *)&vr->avail->ring[n];
	vr->avail_event = (uint16_t *)&vr->used->ring[n];
	return 0;
}

static void fill(struct vring_desc *d, const struct drv_seg *seg, uint16_t flags, uint16_t next)
{
	DRV_STORE64(&d->addr, seg->addr);
	DRV_STORE32(&d->len, seg->len);
	DRV_STORE16(&d->flags, flags);
	DRV_STORE16(&d->next, next);
}

int drv_split_add(struct drv_vring *vr, const struct drv_seg *seg, unsigned int n_out,
		  unsigned int n, void *cookie, const struct drv_buf *table)
{
	uint16_t head = vr->free_head, i = head;
	struct drv_chain *c = &vr->chains[head];
	unsigned int k;

	c->table = *table;
	if (table->len) {
		struct drv_seg t = { table->addr, (uint32_t)table->len };

		fill(&vr->desc[i], &t, VRING_DESC_F_INDIRECT, 0);
		i = vr->next[i];
		n = 1;
	} else {
		for (k = 0; k < n; k++, i = vr->next[i])
			fill(&vr->desc[i], &seg[k],
			     (uint16_t)((k + 1 < n ? VRING_DESC_F_NEXT : 0) |
					(k >= n_out ? VRING_DESC_F_WRITE : 0)),
			     k + 1 < n ? vr->next[i] : 0);
	}
	vr->free_head = i;
	vr->num_free -= n;
	c->cookie = cookie;
	c->descs = (uint16_t)n;
	if (vr->cfg.in_order)
		drv_order_push(vr, head);
	DRV_STORE16(&vr->avail->ring[vr->avail_idx & (vr->cfg.size - 1)], head);
	vr->avail_idx++;
	return head;
}

bool drv_split_publish(struct drv_vring *vr)
{
	uint16_t old = vr->published, now = vr->avail_idx;

	if (old == now)
		return false;
	DRV_STORE16_RELEASE(&vr->avail->idx, now);
	vr->published = now;
	drv_full_barrier();
	if (vr->cfg.event_idx)
		return vring_need_event(DRV_LOAD16(vr->avail_event), now, old);
	return !(DRV_LOAD16(&vr->used->flags) & VRING_USED_F_NO_NOTIFY);
}

bool drv_split_has_used(const struct drv_vring *vr)
{
	return DRV_LOAD16_ACQUIRE(&vr->used->idx) != vr->last_used;
}

/* release() - a chain is the driver's again; its descriptors are free */
static void release(struct drv_vring *vr, uint16_t head, struct drv_used *used)
{
	struct drv_chain *c = &vr->chains[head];
	uint16_t last = head;
	unsigned int k;

	used->cookie = c->cookie;
	c->cookie = NULL;
	drv_free_table(vr, c);
	for (k = 1; k < c->descs; k++)
		last = vr->next[last];
	if (!vr->cfg.in_order) {
		if (vr->num_free)
			vr->next[last] = vr->free_head;
		vr->free_head = head;
	}
	vr->num_free += c->descs;
}

/* hand_out() - IN_ORDER: the next chain of a batch that the device has used */
static int hand_out(struct drv_vring *vr, struct drv_used *used)
{
	uint16_t head = vr->order[vr->order_head];

	vr->order_head = (uint16_t)((vr->order_head + 1u) % vr->cfg.size);
	release(vr, head, used);
	vr->order_skip--;
	vr->last_used++;
	used->skipped = vr->order_skip != 0;
	used->len = used->skipped ? 0 : vr->order_last_len;
	return 1;
}

int drv_split_get(struct drv_vring *vr, struct drv_used *used)
{
	const struct vring_used_elem *e;
	uint16_t ready;
	uint32_t id;
	int n;

	if (vr->order_skip)
		return hand_out(vr, used);
	ready = (uint16_t)(DRV_LOAD16_ACQUIRE(&vr->used->idx) - vr->last_used);
	if (!ready)
		return 0;
	if (ready > vr->in_flight)
		return -EPROTO;
	e = &vr->used->ring[vr->last_used & (vr->cfg.size - 1)];
	id = DRV_LOAD32(&e->id);
	if (id >= vr->cfg.size || !vr->chains[id].cookie)
		return -EPROTO;
	if (vr->cfg.in_order) {
		n = drv_order_take(vr, (uint16_t)id);
		if (n < 0 || n > ready)
			return -EPROTO;
		vr->order_skip = (unsigned int)n;
		vr->order_last_len = DRV_LOAD32(&e->len);
		return hand_out(vr, used);
	}
	used->len = DRV_LOAD32(&e->len);
	release(vr, (uint16_t)id, used);
	vr->last_used++;
	return 1;
}

void drv_split_enable_cb(struct drv_vring *vr, unsigned int n)
{
	if (vr->cfg.event_idx) {
		if (n > vr->in_flight)
			n = vr->in_flight;
		DRV_STORE16(vr->used_event, (uint16_t)(vr->last_used + (n ? n - 1 : 0)));
	} else {
		DRV_STORE16(&vr->avail->flags, 0);
	}
}

void drv_split_disable_cb(struct drv_vring *vr)
{
	if (vr->cfg.event_idx) /* far away: half the index space behind */
		DRV_STORE16(vr->used_event, (uint16_t)(vr->last_used - 0x8000u));
	else
		DRV_STORE16(&vr->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}
