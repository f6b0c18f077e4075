/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vring.c - the driver's side of a virtqueue: what both formats share
 */
#include "tests/driver/vring_int.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SIZE 32768u

int drv_vring_init(struct drv_vring *vr, const struct drv_vring_config *cfg, struct drv_mem *mem)
{
	unsigned int i;
	int rc;

	memset(vr, 0, sizeof(*vr));
	if (!cfg->size || cfg->size > MAX_SIZE || (!cfg->packed && (cfg->size & (cfg->size - 1))))
		return -EINVAL;
	vr->cfg = *cfg;
	vr->mem = mem;
	vr->chains = calloc(cfg->size, sizeof(*vr->chains));
	vr->next = calloc(cfg->size, sizeof(*vr->next));
	vr->order = calloc(cfg->size, sizeof(*vr->order));
	if (!vr->chains || !vr->next || !vr->order) {
		drv_vring_fini(vr);
		return -ENOMEM;
	}
	for (i = 0; i < cfg->size; i++)
		vr->next[i] = (uint16_t)((i + 1) % cfg->size);
	vr->num_free = cfg->size;
	rc = cfg->packed ? drv_packed_init(vr) : drv_split_init(vr);
	if (rc)
		drv_vring_fini(vr);
	return rc;
}

int drv_vring_fini(struct drv_vring *vr)
{
	unsigned int i;
	int rc = 0, err;

	for (i = 0; vr->chains && i < vr->cfg.size; i++) {
		err = drv_free_table(vr, &vr->chains[i]);
		rc = rc ? rc : err;
	}
	err = drv_free(vr->mem, &vr->desc_mem);
	rc = rc ? rc : err;
	err = drv_free(vr->mem, &vr->driver_mem);
	rc = rc ? rc : err;
	err = drv_free(vr->mem, &vr->device_mem);
	rc = rc ? rc : err;
	free(vr->chains);
	free(vr->next);
	free(vr->order);
	memset(vr, 0, sizeof(*vr));
	return rc;
}

int drv_free_table(struct drv_vring *vr, struct drv_chain *c)
{
	return drv_free(vr->mem, &c->table);
}

/* make_table() - an indirect table, in the format of the ring: 16 bytes an entry in both */
static int make_table(struct drv_vring *vr, const struct drv_seg *seg, unsigned int n_out,
		      unsigned int n, struct drv_buf *table)
{
	unsigned int i;
	int rc = drv_alloc(vr->mem, n * sizeof(struct vring_desc), 16, false, table);

	if (rc)
		return rc;
	for (i = 0; i < n; i++) {
		uint16_t flags = i >= n_out ? VRING_DESC_F_WRITE : 0;

		if (vr->cfg.packed) {
			struct vring_packed_desc *d = (struct vring_packed_desc *)table->virt + i;

			d->addr = htole64(seg[i].addr);
			d->len = htole32(seg[i].len);
			d->flags = htole16(flags);
		} else {
			struct vring_desc *d = (struct vring_desc *)table->virt + i;

			if (i + 1 < n) {
				flags |= VRING_DESC_F_NEXT;
				d->next = htole16((uint16_t)(i + 1));
			}
			d->addr = htole64(seg[i].addr);
			d->len = htole32(seg[i].len);
			d->flags = htole16(flags);
		}
	}
	return 0;
}

int drv_vring_add(struct drv_vring *vr, const struct drv_seg *out, unsigned int n_out,
		  const struct drv_seg *in, unsigned int n_in, void *cookie, unsigned int flags)
{
	unsigned int n = n_out + n_in;
	struct drv_buf table = { 0 };
	struct drv_seg *seg;
	int rc = 0;

	if (!n || !cookie)
		return -EINVAL;
	seg = malloc(n * sizeof(*seg));
	if (!seg)
		return -ENOMEM;
	if (n_out)
		memcpy(seg, out, n_out * sizeof(*seg));
	if (n_in)
		memcpy(seg + n_out, in, n_in * sizeof(*seg));
	if (flags & DRV_ADD_INDIRECT)
		rc = vr->cfg.indirect ? make_table(vr, seg, n_out, n, &table) : -EINVAL;
	if (!rc && vr->num_free < (table.len ? 1 : n))
		rc = -ENOSPC;
	if (!rc)
		rc = vr->cfg.packed ? drv_packed_add(vr, seg, n_out, n, cookie, &table)
				    : drv_split_add(vr, seg, n_out, n, cookie, &table);
	if (rc < 0)
		drv_free(vr->mem, &table);
	else
		vr->in_flight++;
	free(seg);
	return rc;
}

bool drv_vring_publish(struct drv_vring *vr)
{
	return vr->cfg.packed ? drv_packed_publish(vr) : drv_split_publish(vr);
}

int drv_vring_get(struct drv_vring *vr, struct drv_used *used)
{
	int rc;

	memset(used, 0, sizeof(*used));
	rc = vr->cfg.packed ? drv_packed_get(vr, used) : drv_split_get(vr, used);
	if (rc > 0)
		vr->in_flight--;
	return rc;
}

bool drv_vring_has_used(const struct drv_vring *vr)
{
	return vr->order_skip ||
	       (vr->cfg.packed ? drv_packed_has_used(vr) : drv_split_has_used(vr));
}

bool drv_vring_enable_cb_after(struct drv_vring *vr, unsigned int n)
{
	if (vr->cfg.packed)
		drv_packed_enable_cb(vr, n);
	else
		drv_split_enable_cb(vr, n);
	drv_full_barrier();
	return !drv_vring_has_used(vr);
}

bool drv_vring_enable_cb(struct drv_vring *vr)
{
	return drv_vring_enable_cb_after(vr, 1);
}

void drv_vring_disable_cb(struct drv_vring *vr)
{
	if (vr->cfg.packed)
		drv_packed_disable_cb(vr);
	else
		drv_split_disable_cb(vr);
}

/* ---- IN_ORDER -------------------------------------------------------------- */

void drv_order_push(struct drv_vring *vr, uint16_t id)
{
	vr->order[vr->order_tail] = id;
	vr->order_tail = (uint16_t)((vr->order_tail + 1u) % vr->cfg.size);
}

int drv_order_take(struct drv_vring *vr, uint16_t id)
{
	unsigned int i, pos = vr->order_head;

	for (i = 1; i <= vr->in_flight; i++) {
		if (vr->order[pos] == id)
			return (int)i;
		pos = (pos + 1) % vr->cfg.size;
	}
	return -EPROTO;
}
