/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vring.h - the driver's side of a virtqueue, split and packed
 *
 * Theory of operation
 * -------------------
 * This is what a guest's driver does with a virtqueue (VIRTIO 1.3, sections
 * 2.7 and 2.8), in user space, for tests, fuzzers and benchmarks. It is
 * written from the specification, not from the device side's code, so that
 * the two check each other.
 *
 * Memory comes from a struct drv_mem, a small allocator whose buffers have a
 * place in this process (virt) and an address for the device (addr):
 *
 *	drv_mem_flat	one region; address = base + offset in it
 *	drv_mem_grant	(vgrant_driver.h) pages of a fake-xen domain, granted
 *
 * A driver adds chains with drv_vring_add(), makes all that it added visible
 * with drv_vring_publish(), which says whether the device wants a kick, and
 * takes what came back with drv_vring_get(). Ring memory is only ever touched
 * with single, aligned accesses and the barriers of the specification.
 *
 * A hostile driver writes whatever it likes through the raw pointers in
 * struct drv_vring: nothing here depends on what lies in the shared ring but
 * the used side, and every value read from there is checked (-EPROTO).
 *
 * One queue belongs to one thread at a time.
 */
#ifndef DRV_VRING_H
#define DRV_VRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

/* ---- memory --------------------------------------------------------------- */

/** struct drv_buf - a piece of memory that the device can reach */
struct drv_buf {
	void *virt;    /* where it lies in this process */
	uint64_t addr; /* what the device is told */
	size_t len;    /* bytes */
	uint64_t priv; /* the allocator's */
};

struct drv_mem;

/** struct drv_mem_ops - an allocator */
struct drv_mem_ops {
	/*
	 * alloc: @len bytes, zeroed, at an address that is a multiple of @align
	 * (a power of two, at most 4096); @dev_writes: the device may write to
	 * it. 0, -ENOMEM or -ENOSPC.
	 */
	int (*alloc)(struct drv_mem *mem, size_t len, size_t align, bool dev_writes,
		     struct drv_buf *buf);
	/* free: 0, or -EBUSY if the device still holds it (its grant is in use) */
	int (*free)(struct drv_mem *mem, struct drv_buf *buf);
};

/** struct drv_mem - embedded at the start of each allocator */
struct drv_mem {
	const struct drv_mem_ops *ops;
	unsigned int still_mapped; /* how often free() said -EBUSY: the device's fault */
};

/** drv_alloc() - see struct drv_mem_ops */
int drv_alloc(struct drv_mem *mem, size_t len, size_t align, bool dev_writes, struct drv_buf *buf);

/** drv_free() - see struct drv_mem_ops; a buf with len 0 is ignored */
int drv_free(struct drv_mem *mem, struct drv_buf *buf);

/** struct drv_mem_flat - first-fit allocator over one region */
struct drv_mem_flat {
	struct drv_mem mem;
	uint8_t *virt;
	uint64_t base;
	size_t len;
	struct drv_flat_free *free;
};

/**
 * drv_mem_flat_init() - make an allocator over a region
 * @virt: the region, 4096-aligned; stays the caller's
 * @base: address of its first byte for the device, a multiple of 4096
 * @len: bytes
 *
 * Return: 0 or -ENOMEM. Free with drv_mem_flat_fini().
 */
int drv_mem_flat_init(struct drv_mem_flat *f, void *virt, uint64_t base, size_t len);

/** drv_mem_flat_fini() - forget the bookkeeping; the region is untouched */
void drv_mem_flat_fini(struct drv_mem_flat *f);

/* ---- the ring ------------------------------------------------------------- */

/** struct drv_vring_config - shape of a queue, as negotiated */
struct drv_vring_config {
	unsigned int size; /* 1 to 32768; a power of two for split */
	bool packed;	   /* VIRTIO_F_RING_PACKED */
	bool event_idx;	   /* VIRTIO_RING_F_EVENT_IDX */
	bool indirect;	   /* VIRTIO_RING_F_INDIRECT_DESC */
	bool in_order;	   /* VIRTIO_F_IN_ORDER */
};

/** struct drv_seg - one descriptor's worth */
struct drv_seg {
	uint64_t addr;
	uint32_t len; /* bytes */
};

/** struct drv_used - what came back */
struct drv_used {
	void *cookie;
	uint32_t len; /* bytes that the device says it wrote */
	bool skipped; /* IN_ORDER: the device wrote no element for it; len is 0 */
};

/** struct drv_vring - a queue; the pointers into shared memory are for raw use */
struct drv_vring {
	struct drv_vring_config cfg;
	struct drv_mem *mem;
	struct drv_buf desc_mem;   /* descriptor area */
	struct drv_buf driver_mem; /* driver area: available ring, or event suppression */
	struct drv_buf device_mem; /* device area: used ring, or event suppression */

	/* split */
	struct vring_desc *desc; /* [size] */
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t *used_event;  /* after avail->ring[size]; the driver's */
	uint16_t *avail_event; /* after used->ring[size]; the device's */

	/* packed */
	struct vring_packed_desc *pdesc; /* [size] */
	struct vring_packed_desc_event *driver_event;
	struct vring_packed_desc_event *device_event;

	/* The driver's own state, never shared. */
	struct drv_chain *chains; /* [size], by id: head (split), buffer id (packed) */
	uint16_t *next;		  /* split: free list */
	uint16_t free_head;
	unsigned int num_free; /* descriptors */
	uint16_t avail_idx;    /* split: index; packed: position of the next descriptor */
	uint16_t last_used;    /* split: index; packed: position */
	uint16_t published;    /* split: avail index that the device can see */
	bool avail_wrap;       /* packed */
	bool used_wrap;	       /* packed */
	bool have_pending;     /* packed: a head whose flags are not written yet */
	uint16_t pending_pos;
	uint16_t pending_flags;
	unsigned int pending_descs; /* descriptors since the last publish */
	uint16_t *order;	    /* [size], IN_ORDER: ids in the order they were added */
	uint16_t order_head, order_tail;
	unsigned int order_skip; /* ids still to hand out without an element */
	uint32_t order_last_len;
	unsigned int in_flight; /* chains */
};

/**
 * drv_vring_init() - allocate a ring and set it up
 * @cfg: its shape; copied
 * @mem: where rings and indirect tables come from; must outlive the ring
 *
 * Return: 0, -EINVAL for an impossible size, -ENOMEM.
 */
int drv_vring_init(struct drv_vring *vr, const struct drv_vring_config *cfg, struct drv_mem *mem);

/**
 * drv_vring_fini() - free it, and the indirect tables in flight
 *
 * Return: 0, or -EBUSY if the device still had any of it mapped.
 */
int drv_vring_fini(struct drv_vring *vr);

#define DRV_ADD_INDIRECT (1u << 0) /* use an indirect table; needs the feature */

/**
 * drv_vring_add() - add a chain; the device does not see it yet
 * @out: segments that the device reads; @n_out of them
 * @in: segments that the device writes; @n_in of them
 * @cookie: handed back by drv_vring_get(); not NULL
 * @flags: DRV_ADD_*
 *
 * Return: the chain's id (split: head descriptor; packed: buffer id), -ENOSPC
 * when descriptors are short, -EINVAL without any segment, -ENOMEM.
 */
int drv_vring_add(struct drv_vring *vr, const struct drv_seg *out, unsigned int n_out,
		  const struct drv_seg *in, unsigned int n_in, void *cookie, unsigned int flags);

/**
 * drv_vring_publish() - let the device see all that was added
 *
 * Return: true if the device asked for a kick.
 */
bool drv_vring_publish(struct drv_vring *vr);

/**
 * drv_vring_get() - take one chain that the device has used
 *
 * Return: 1 with *@used filled, 0 if there is none, -EPROTO if the used ring
 * makes no sense (unknown or free id, index that jumped).
 */
int drv_vring_get(struct drv_vring *vr, struct drv_used *used);

/** drv_vring_has_used() - whether drv_vring_get() would find something */
bool drv_vring_has_used(const struct drv_vring *vr);

/**
 * drv_vring_enable_cb() - ask for a notification at the next used chain
 *
 * Return: false if something is there already: take it, do not wait.
 */
bool drv_vring_enable_cb(struct drv_vring *vr);

/**
 * drv_vring_enable_cb_after() - ask for one only after @n more chains
 * @n: 1 or more; without EVENT_IDX the same as drv_vring_enable_cb()
 */
bool drv_vring_enable_cb_after(struct drv_vring *vr, unsigned int n);

/** drv_vring_disable_cb() - ask for none (a hint) */
void drv_vring_disable_cb(struct drv_vring *vr);

#endif /* DRV_VRING_H */
