/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring_rig.h - a ring whose every byte the test writes by hand
 *
 * For the driver that keeps the rules there is tests/driver/vring.h; this is
 * for looking closely, and for breaking them. One region of guest memory, at a
 * guest address that is not its host address; the ring at its start, data from
 * DATA on.
 */
#ifndef RING_RIG_H
#define RING_RIG_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/memory/regions.h"
#include "backend/virtio/virtqueue.h"

#define RIG_BASE 0x40000000ull
#define RIG_LEN	 (4u << 20)
#define RIG_DATA (2u << 20) /* offset of free memory */

#define RIG_PACKED   (1ull << VIRTIO_F_RING_PACKED)
#define RIG_EVENT    (1ull << VIRTIO_RING_F_EVENT_IDX)
#define RIG_INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define RIG_IN_ORDER (1ull << 35)

struct rig {
	struct vg_regions rs;
	struct vg_vq_config cfg;
	struct vg_vq *vq;
	struct vg_err err;
	uint8_t *host;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_packed_desc *pdesc;
	struct vring_packed_desc_event *driver_ev, *device_ev;
};

/** rig_addr - guest address of a byte of the rig's memory */
static inline uint64_t rig_addr(const struct rig *r, const void *host)
{
	return RIG_BASE + (uint64_t)((const uint8_t *)host - r->host);
}

/** rig_at - guest memory at offset @off */
static inline void *rig_at(const struct rig *r, size_t off)
{
	return r->host + off;
}

/** rig_again - configuration for a new queue on zeroed ring memory, data as it was; first use: all */
static inline void rig_again(struct rig *r, uint32_t size, uint64_t features)
{
	if (!r->host) {
		r->host = aligned_alloc(4096, RIG_LEN);
		if (!r->host)
			abort();
		memset(r->host, 0, RIG_LEN);
		vg_regions_init(&r->rs);
		if (vg_regions_add(&r->rs, &(struct vg_region){ .guest_addr = RIG_BASE,
								.size = RIG_LEN,
								.host = r->host }))
			abort();
	}
	r->vq = NULL;
	r->cfg = (struct vg_vq_config){
		.size = size,
		.features = features,
		.desc = RIG_BASE,
		.driver = RIG_BASE + (1u << 20),
		.device = RIG_BASE + (1u << 20) + (512u << 10),
		.state = VG_VQ_STATE_START,
	};
	if (!(features & RIG_PACKED))
		r->cfg.state.avail_wrap = r->cfg.state.used_wrap = false;
	r->desc = rig_at(r, 0);
	r->avail = rig_at(r, 1u << 20);
	r->used = rig_at(r, (1u << 20) + (512u << 10));
	r->pdesc = rig_at(r, 0);
	r->driver_ev = rig_at(r, 1u << 20);
	r->device_ev = rig_at(r, (1u << 20) + (512u << 10));
	memset(r->desc, 0, (size_t)16 * size);
	memset(r->avail, 0, 6 + (size_t)2 * size);
	memset(r->used, 0, 6 + (size_t)8 * size);
}

/** rig_prepare - memory and configuration, no queue yet */
static inline void rig_prepare(struct rig *r, uint32_t size, uint64_t features)
{
	memset(r, 0, sizeof(*r));
	rig_again(r, size, features);
}

/** rig_start - make the queue; exits when that fails */
static inline void rig_start(struct rig *r)
{
	if (vg_vq_new(&r->rs.mem, &r->cfg, &r->vq, &r->err)) {
		fprintf(stderr, "vg_vq_new: %s\n", r->err.text);
		abort();
	}
}

/** rig_init - both */
static inline void rig_init(struct rig *r, uint32_t size, uint64_t features)
{
	rig_prepare(r, size, features);
	rig_start(r);
}

/** rig_fini - free all */
static inline void rig_fini(struct rig *r)
{
	vg_vq_free(r->vq);
	free(r->host);
}

/** rig_desc - write descriptor @i of the split table */
static inline void rig_desc(struct rig *r, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
			    uint16_t next)
{
	r->desc[i] = (struct vring_desc){ addr, len, flags, next };
}

/** rig_avail - make the chain at @head available */
static inline void rig_avail(struct rig *r, uint16_t head)
{
	r->avail->ring[r->avail->idx & (r->cfg.size - 1)] = head;
	__atomic_store_n(&r->avail->idx, (uint16_t)(r->avail->idx + 1), __ATOMIC_RELEASE);
}

/** rig_pdesc - write descriptor @i of the packed ring, available in the lap @wrap */
static inline void rig_pdesc(struct rig *r, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
			     uint16_t id, bool wrap)
{
	flags |= wrap ? 1u << VRING_PACKED_DESC_F_AVAIL : 1u << VRING_PACKED_DESC_F_USED;
	r->pdesc[i] = (struct vring_packed_desc){ addr, len, id, flags };
}

#endif /* RING_RIG_H */
