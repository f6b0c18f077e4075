/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtqueue.c - life of a queue, and what both ring formats have in common
 *
 * Theory of operation
 *
 * A chain passes through these states, all in its *slot*:
 *
 *   pop      the ring's file walks the descriptors into a slot (OUT)
 *   push     the chain joins done[], its slot is free again; with IN_ORDER it
 *            is HELD first until it is the eldest
 *   flush    the ring's file publishes done[] with one store that the driver
 *            sees, and says whether the driver wants to know; with IN_ORDER one
 *            used entry may stand for many chains, see vg_done_batch()
 *
 * All memory is taken in vg_vq_new(). Every verb's work is bounded by its
 * arguments and the ring's size, whatever the driver does meanwhile.
 *
 * A rule that the driver breaks is noted once, in words; from then on pop
 * fails. What was popped before may still be pushed and flushed.
 */
#include "backend/virtio/virtqueue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/virtio/inflight.h"
#include "backend/virtio/resume.h"

/* ---- start and end ------------------------------------------------------ */

/** feature - whether @bit was negotiated */
static bool feature(const struct vg_vq_config *cfg, unsigned bit)
{
	return cfg->features >> bit & 1;
}

/** overlap - whether two ranges that do not wrap share a byte */
static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b ? b - a < a_len : a - b < b_len;
}

/** check_size - VIRTIO 1.3: 2.7 for the split ring, 2.8.10.1 for the packed. Return: 0, -EINVAL. */
static int check_size(const struct vg_vq_config *cfg, struct vg_err *err)
{
	if (!cfg->size || cfg->size > VG_VQ_SIZE_MAX)
		return vg_fail(err, -EINVAL, "queue size %u is not between 1 and %u", cfg->size,
			       VG_VQ_SIZE_MAX);
	if (!feature(cfg, VIRTIO_F_RING_PACKED) && cfg->size & (cfg->size - 1))
		return vg_fail(err, -EINVAL, "queue size %u of a split ring is not a power of two",
			       cfg->size);
	if (cfg->chain_max > VG_CHAIN_MAX)
		return vg_fail(err, -EINVAL, "chains of %u segments, at most %u", cfg->chain_max,
			       VG_CHAIN_MAX);
	return 0;
}

/**
 * map_ring - map the ring's three areas
 *
 * Return: 0; -EINVAL: misaligned (VIRTIO 2.7: 16, 2, 4; 2.8.10.1: 16, 4, 4) or overlapping; or
 * what vg_mem_map() says.
 */
static int map_ring(struct vg_vq *vq, const struct vg_vq_config *cfg, struct vg_err *err)
{
	size_t desc_len = (size_t)16 * cfg->size;
	size_t driver_len = vq->packed ? 4 : 6 + (size_t)2 * cfg->size;
	size_t device_len = vq->packed ? 4 : 6 + (size_t)8 * cfg->size;
	struct {
		struct vg_map *map;
		uint64_t addr;
		size_t len;
		unsigned align;
		const char *name;
	} area[] = {
		{ &vq->map_desc, cfg->desc, desc_len, 16, "descriptor" },
		{ &vq->map_driver, cfg->driver, driver_len, vq->packed ? 4 : 2, "driver" },
		{ &vq->map_device, cfg->device, device_len, 4, "device" },
	};

	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < i; k++)
			if (overlap(area[i].addr, area[i].len, area[k].addr, area[k].len))
				return vg_fail(err, -EINVAL,
					       "%s area at 0x%llx overlaps the %s area",
					       area[i].name, (unsigned long long)area[i].addr,
					       area[k].name);
		if (area[i].addr % area[i].align)
			return vg_fail(err, -EINVAL, "%s area at 0x%llx is not aligned to %u",
				       area[i].name, (unsigned long long)area[i].addr,
				       area[i].align);
	}
	for (unsigned i = 0; i < 3; i++) {
		int rc = vg_mem_map(vq->mem, area[i].addr, area[i].len, area[i].map);

		if (rc)
			return vg_fail(err, rc, "%s area, %zu bytes at 0x%llx, is not there",
				       area[i].name, area[i].len, (unsigned long long)area[i].addr);
		/* A host page holds what the guest aligned, but regions are the front-end's. */
		if ((uintptr_t)area[i].map->ptr % area[i].align)
			return vg_fail(err, -EINVAL, "%s area is not aligned to %u in our memory",
				       area[i].name, area[i].align);
	}
	vq->desc = vq->map_desc.ptr;
	vq->avail = vq->map_driver.ptr;
	vq->used = vq->map_device.ptr;
	return 0;
}

/** alloc_blocks - scratch, and address space for long chains. Return: 0 or -ENOMEM. */
static int alloc_blocks(struct vg_vq *vq)
{
	uint32_t n = vq->size < VG_VQ_LONG_MAX ? vq->size : VG_VQ_LONG_MAX;
	size_t len;
	void *p;

	vq->scratch = calloc(vq->chain_max, sizeof(*vq->scratch));
	if (!vq->scratch)
		return -ENOMEM;
	if (vq->chain_max <= VG_SHORT)
		return 0;
	vq->block_stride = vq->chain_max + 4; /* 64 bytes more: see chain.c */
	len = n * vq->block_stride * sizeof(struct vg_seg);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	vq->blocks = p;
	vq->blocks_len = len;
	vq->free_blocks = calloc(n, sizeof(*vq->free_blocks));
	if (!vq->free_blocks)
		return -ENOMEM;
	while (n-- > 0)
		vq->free_blocks[vq->n_free_blocks++] = (uint16_t)n;
	return 0;
}

/** alloc - all memory that the queue will ever need. Return: 0 or -ENOMEM; vg_vq_free() tidies. */
static int alloc(struct vg_vq *vq)
{
	size_t slots = vq->size * sizeof(*vq->slots);

	vq->slots = aligned_alloc(64, slots);
	vq->done = calloc(vq->size, sizeof(*vq->done));
	if (!vq->slots || !vq->done)
		return -ENOMEM;
	memset(vq->slots, 0, slots);
	if (vq->in_order) {
		vq->order = calloc(vq->size, sizeof(struct vg_slot *));
		vq->whole = calloc(vq->size, sizeof(*vq->whole));
		if (!vq->order || !vq->whole)
			return -ENOMEM;
	}
	if (vq->packed) {
		vq->ids = calloc(65536 / 64, sizeof(*vq->ids));
		vq->free_slots = calloc(vq->size, sizeof(struct vg_slot *));
		vq->done_rec = calloc(vq->size, sizeof(*vq->done_rec));
		if (!vq->ids || !vq->free_slots || !vq->done_rec)
			return -ENOMEM;
		while (vq->n_free_slots < vq->size) {
			vq->free_slots[vq->n_free_slots] =
				&vq->slots[vq->size - 1 - vq->n_free_slots];
			vq->n_free_slots++;
		}
	}
	return alloc_blocks(vq);
}

/** start_at - take up the ring where @cfg says. Return: 0 or -EINVAL. */
static int start_at(struct vg_vq *vq, const struct vg_vq_config *cfg, struct vg_err *err)
{
	vq->avail_idx = cfg->state.avail_idx;
	vq->used_idx = cfg->state.used_idx;
	vq->avail_wrap = cfg->state.avail_wrap;
	vq->used_wrap = cfg->state.used_wrap;
	if (!vq->packed) {
		if (cfg->used_from_ring)
			vq->used_idx = ld16(&vq->used->idx);
		vq->avail_seen = vq->avail_idx;
		return 0;
	}
	if (vq->avail_idx >= vq->size || vq->used_idx >= vq->size)
		return vg_fail(err, -EINVAL, "ring of %u descriptors cannot start at %u and %u",
			       vq->size, vq->avail_idx, vq->used_idx);
	return 0;
}

int vg_vq_new(struct vg_mem *mem, const struct vg_vq_config *cfg, struct vg_vq **out,
	      struct vg_err *err)
{
	struct vg_vq *vq;
	int rc = check_size(cfg, err);

	if (rc)
		return rc;
	vq = calloc(1, sizeof(*vq));
	if (!vq)
		return vg_fail(err, -ENOMEM, "out of memory for a queue of %u", cfg->size);
	vq->mem = mem;
	vq->size = cfg->size;
	vq->mask = (uint16_t)(cfg->size - 1);
	vq->packed = feature(cfg, VIRTIO_F_RING_PACKED);
	vq->event_idx = feature(cfg, VIRTIO_RING_F_EVENT_IDX);
	vq->indirect = feature(cfg, VIRTIO_RING_F_INDIRECT_DESC);
	vq->in_order = feature(cfg, VIRTIO_F_IN_ORDER);
	vq->chain_max = cfg->chain_max ? cfg->chain_max : cfg->size;
	if (vq->chain_max > VG_CHAIN_MAX)
		vq->chain_max = VG_CHAIN_MAX;
	vq->short_max = vq->chain_max < VG_SHORT ? vq->chain_max : VG_SHORT;
	vq->notify_always = true;
	vg_batch_init(&vq->batch, mem);

	rc = map_ring(vq, cfg, err);
	if (!rc) {
		rc = alloc(vq);
		if (rc)
			vg_fail(err, rc, "out of memory for a queue of %u", cfg->size);
	}
	if (!rc)
		rc = start_at(vq, cfg, err);
	if (!rc && cfg->inflight)
		rc = vg_rec_start(vq, cfg->inflight, err);
	if (rc) {
		vg_vq_free(vq);
		return rc;
	}
	*out = vq;
	return 0;
}

void vg_vq_free(struct vg_vq *vq)
{
	if (!vq)
		return;
	vg_mem_unmap(vq->mem, &vq->map_desc);
	vg_mem_unmap(vq->mem, &vq->map_driver);
	vg_mem_unmap(vq->mem, &vq->map_device);
	if (vq->blocks)
		munmap(vq->blocks, vq->blocks_len);
	free(vq->slots);
	free(vq->free_slots);
	free(vq->ids);
	free(vq->done);
	free(vq->done_rec);
	free(vq->free_blocks);
	free(vq->scratch);
	free(vq->order);
	free(vq->whole);
	free(vq->rec_next);
	free(vq->resub);
	free(vq);
}

struct vg_vq_state vg_vq_stop(struct vg_vq *vq)
{
	return (struct vg_vq_state){
		.avail_idx = vq->avail_idx,
		.used_idx = vq->used_idx,
		.avail_wrap = vq->avail_wrap,
		.used_wrap = vq->used_wrap,
	};
}

/* ---- the verbs ---------------------------------------------------------- */

/** order_at - place of the @i-th eldest chain in vq->order */
static uint32_t order_at(const struct vg_vq *vq, uint32_t i)
{
	uint32_t at = vq->order_head + i;

	return at < vq->size ? at : at - vq->size;
}

int vg_vq_pop(struct vg_vq *vq, struct vg_chain **out, unsigned max)
{
	unsigned n;

	if (__builtin_expect(vq->fault, 0))
		return vq->fault;
	n = vq->packed ? vg_packed_pop(vq, out, max) : vg_split_pop(vq, out, max);
	if (!n)
		return vq->fault;
	if (vq->in_order)
		for (unsigned i = 0; i < n; i++)
			vq->order[order_at(vq, vq->order_n++)] = vg_slot_of(out[i]);
	vq->stats.chains += n;
	vq->stats.pops++;
	return (int)n;
}

void vg_vq_unpop(struct vg_vq *vq, struct vg_chain *c)
{
	struct vg_slot *s = vg_slot_of(c);

	if (vq->packed)
		vg_packed_unpop(vq, s);
	else
		vg_split_unpop(vq, s);
	if (vq->in_order)
		vq->order_n--;
	vq->stats.chains--;
	vg_chain_drop(vq, s);
}

/** finish - the chain in @s waits for the next flush; its slot is free */
static inline void finish(struct vg_vq *vq, struct vg_slot *s, uint32_t written)
{
	uint32_t i = vq->n_done++;

	vq->done[i] = (struct vg_done){ .written = written, .id = s->c.id, .ndesc = s->c.ndesc };
	if (vq->packed)
		vq->done_rec[i] = s->rec;
	vg_slot_release(vq, s);
}

/** push_in_order - hold @s until it is the eldest; then finish all that can be */
static void push_in_order(struct vg_vq *vq, struct vg_slot *s, uint32_t written)
{
	s->state = VG_SLOT_HELD;
	s->written = written;
	vq->n_held++;
	while (vq->order_n) {
		s = vq->order[vq->order_head];
		if (s->state != VG_SLOT_HELD)
			return;
		vq->order_head = order_at(vq, 1);
		vq->order_n--;
		vq->n_held--;
		vq->whole[vq->n_done] = s->written == s->c.in_len;
		finish(vq, s, s->written);
	}
}

void vg_vq_push(struct vg_vq *vq, struct vg_chain *c, uint32_t written)
{
	struct vg_slot *s = vg_slot_of(c);

	if (written > c->in_len)
		written = c->in_len;
	if (__builtin_expect(vq->in_order, 0))
		push_in_order(vq, s, written);
	else
		finish(vq, s, written);
}

bool vg_vq_flush(struct vg_vq *vq)
{
	bool wanted;

	if (!vq->n_done)
		return false;
	vq->stats.used += vq->n_done;
	wanted = vq->packed ? vg_packed_publish(vq) : vg_split_publish(vq);
	vq->n_done = 0;
	if (wanted)
		vq->stats.notifications++;
	else
		vq->stats.suppressed++;
	return wanted;
}

void vg_vq_quiet(struct vg_vq *vq)
{
	if (vq->packed)
		vg_packed_quiet(vq);
	else
		vg_split_quiet(vq);
}

void vg_vq_disarm(struct vg_vq *vq)
{
	if (vq->packed)
		vg_packed_quiet(vq);
	else
		vg_split_disarm(vq);
}

bool vg_vq_waiting(const struct vg_vq *vq)
{
	if (vq->fault || vq->starved)
		return false;
	return vq->resub_at < vq->resub_n ||
	       (vq->packed ? vg_packed_waiting(vq) : vg_split_waiting(vq));
}

bool vg_vq_seen(const struct vg_vq *vq)
{
	if (!vq->event_idx)
		return true;
	return vq->packed ? vg_packed_seen(vq) : vg_split_seen(vq);
}

bool vg_vq_rearm(struct vg_vq *vq)
{
	return vg_vq_rearm_after(vq, 1);
}

bool vg_vq_rearm_after(struct vg_vq *vq, unsigned n)
{
	uint32_t skip = !vq->event_idx ? 0 : n - 1 < vq->size ? n - 1 : vq->size - 1;
	bool more;

	if (vq->fault)
		return false;
	more = vq->packed ? vg_packed_rearm(vq, skip) : vg_split_rearm(vq, skip);
	/* Nothing can be had until a chain is pushed. */
	if (vq->starved)
		return false;
	return more || vq->resub_at < vq->resub_n;
}

uint32_t vg_vq_size(const struct vg_vq *vq)
{
	return vq->size;
}

bool vg_vq_packed(const struct vg_vq *vq)
{
	return vq->packed;
}

unsigned vg_vq_inflight(const struct vg_vq *vq)
{
	return vq->chains_out - (vq->resub_n - vq->resub_at) - vq->n_held - vq->n_done;
}

const char *vg_vq_fault(const struct vg_vq *vq)
{
	return vq->fault ? vq->fault_text : NULL;
}

const struct vg_vq_stats *vg_vq_stats(const struct vg_vq *vq)
{
	return &vq->stats;
}

size_t vg_vq_inflight_size(uint32_t size, bool packed)
{
	size_t len = packed ? sizeof(struct rec_packed) + size * sizeof(struct rec_packed_desc)
			    : sizeof(struct rec_split) + size * sizeof(struct rec_split_desc);

	return (len + 63) & ~(size_t)63;
}
