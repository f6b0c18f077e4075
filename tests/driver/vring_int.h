/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vring_int.h - what the files of the driver-side ring share
 */
#ifndef DRV_VRING_INT_H
#define DRV_VRING_INT_H

#include <endian.h>
#include <errno.h>

#include "tests/driver/vring.h"

/** struct drv_chain - what the driver remembers of a chain */
struct drv_chain {
	void *cookie;	      /* NULL: this id is free */
	uint16_t descs;	      /* ring descriptors that it takes */
	struct drv_buf table; /* indirect; len 0: none */
};

/* Single, aligned accesses to shared little-endian fields. */
#define DRV_LOAD16(p)		  le16toh(__atomic_load_n((const uint16_t *)(p), __ATOMIC_RELAXED))
#define DRV_LOAD32(p)		  le32toh(__atomic_load_n((const uint32_t *)(p), __ATOMIC_RELAXED))
#define DRV_LOAD16_ACQUIRE(p)	  le16toh(__atomic_load_n((const uint16_t *)(p), __ATOMIC_ACQUIRE))
#define DRV_STORE16(p, v)	  __atomic_store_n((uint16_t *)(p), htole16(v), __ATOMIC_RELAXED)
#define DRV_STORE32(p, v)	  __atomic_store_n((uint32_t *)(p), htole32(v), __ATOMIC_RELAXED)
#define DRV_STORE64(p, v)	  __atomic_store_n((uint64_t *)(p), htole64(v), __ATOMIC_RELAXED)
#define DRV_STORE16_RELEASE(p, v) __atomic_store_n((uint16_t *)(p), htole16(v), __ATOMIC_RELEASE)

/* Between "I have published" and "do you want to hear of it": VIRTIO 1.3, 2.7.13.4.1. */
#ifdef __SANITIZE_THREAD__ /* which does not know fences */
static inline void drv_full_barrier(void)
{
	static uint32_t line;

	__atomic_fetch_add(&line, 0, __ATOMIC_SEQ_CST);
}
#else
#define drv_full_barrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

/** drv_free_table() - free a chain's indirect table; 0 or -EBUSY */
int drv_free_table(struct drv_vring *vr, struct drv_chain *c);

/** drv_order_push() - IN_ORDER: remember that @id was added */
void drv_order_push(struct drv_vring *vr, uint16_t id);

/**
 * drv_order_take() - IN_ORDER: the device wrote an element for @id
 *
 * Everything up to @id is used. Return: chains, -EPROTO if @id is not in flight.
 */
int drv_order_take(struct drv_vring *vr, uint16_t id);

/* The two formats; the same verbs as vring.h. */
int drv_split_init(struct drv_vring *vr);
int drv_split_add(struct drv_vring *vr, const struct drv_seg *seg, unsigned int n_out,
		  unsigned int n, void *cookie, const struct drv_buf *table);
bool drv_split_publish(struct drv_vring *vr);
int drv_split_get(struct drv_vring *vr, struct drv_used *used);
bool drv_split_has_used(const struct drv_vring *vr);
void drv_split_enable_cb(struct drv_vring *vr, unsigned int n);
void drv_split_disable_cb(struct drv_vring *vr);

int drv_packed_init(struct drv_vring *vr);
int drv_packed_add(struct drv_vring *vr, const struct drv_seg *seg, unsigned int n_out,
		   unsigned int n, void *cookie, const struct drv_buf *table);
bool drv_packed_publish(struct drv_vring *vr);
int drv_packed_get(struct drv_vring *vr, struct drv_used *used);
bool drv_packed_has_used(const struct drv_vring *vr);
void drv_packed_enable_cb(struct drv_vring *vr, unsigned int n);
void drv_packed_disable_cb(struct drv_vring *vr);

#endif /* DRV_VRING_INT_H */
