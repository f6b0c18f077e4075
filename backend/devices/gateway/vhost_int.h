/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_int.h - what the parts of "vgrantd --vhost" share
 *
 *	vhost.c		a front-end's messages, and what is let through of them
 *	vhost_kinds.c	what each of the kernel's devices wants
 */
#ifndef VG_GATEWAY_VHOST_INT_H
#define VG_GATEWAY_VHOST_INT_H

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "backend/devices/gateway/int.h"
#include "backend/wire/vhost_user.h"

enum { VH_REGIONS = 8, VH_QUEUES = 16, VH_CONFIG = 256 };

struct vh_region {
	struct vg_vu_region r;
	uint8_t *base;
};

struct vhost;

/* A device of the kernel's. Of each operation: 0, or negative errno. */
struct vh_kind {
	const char *name;
	int (*open)(struct vhost *v); /* once: nothing can be opened later */
	/* Into its first state, whatever it did; it then knows no memory that is not given anew. */
	int (*reset)(struct vhost *v);
	int (*config)(struct vhost *v, uint8_t *bytes, uint32_t off, uint32_t len);
	/* Features were set, which a device that ran does not take; or NULL. */
	int (*agree)(struct vhost *v);
	int (*memory)(struct vhost *v);
	int (*start)(struct vhost *v);
	int (*base)(struct vhost *v, unsigned q, uint32_t *base); /* and stop */
	uint64_t withheld;					  /* features */
	bool addresses_are_its_own;				  /* and not ours */
	int quiet_ms; /* without a word, until it is started */
};

struct vhost {
	const struct vh_kind *kind;
	const char *what;
	int fd;
	unsigned queues, kernel_queues; /* that there are, and that the kernel knows */
	struct vh_region region[VH_REGIONS];
	unsigned n_regions;
	struct {
		uint32_t size; /* entries; 0: not said yet */
		bool has_kick; /* kick: */
		int kick;
		bool placed; /* at: */
		struct vg_vu_addr at;
	} ring[VH_QUEUES];
	bool enabled[VH_QUEUES];
	bool running;
	bool waits; /* its buffers wait to be filled, some of them for ever */
	bool due;   /* something was enabled, and more may be on its way */
};

/* The kinds; one whose name is NULL ends them. */
extern const struct vh_kind vh_kinds[];

/** vh_ask - ioctl(2). Return: 0 or negative errno. */
static inline int vh_ask(const struct vhost *v, unsigned long request, void *arg)
{
	return ioctl(v->fd, request, arg) < 0 ? -errno : 0;
}

/** vh_ours - our address of @len bytes at a front-end's; 0: it has not all of them */
static inline uint64_t vh_ours(const struct vhost *v, uint64_t user, uint64_t len)
{
	for (unsigned i = 0; i < v->n_regions; i++) {
		const struct vg_vu_region *r = &v->region[i].r;

		if (user >= r->user && user - r->user < r->size &&
		    len <= r->size - (user - r->user))
			return (uintptr_t)v->region[i].base + (user - r->user);
	}
	return 0;
}

/* VIRTIO 1.3 section 2.7, with the fields of EVENT_IDX: bytes of each part of a ring */
static inline uint64_t vh_desc_bytes(uint32_t size)
{
	return sizeof(struct vring_desc) * (uint64_t)size;
}

static inline uint64_t vh_avail_bytes(uint32_t size)
{
	return sizeof(struct vring_avail) + sizeof(uint16_t) * ((uint64_t)size + 1);
}

static inline uint64_t vh_used_bytes(uint32_t size)
{
	return sizeof(struct vring_used) + sizeof(struct vring_used_elem) * (uint64_t)size +
	       sizeof(uint16_t);
}

#endif /* VG_GATEWAY_VHOST_INT_H */
