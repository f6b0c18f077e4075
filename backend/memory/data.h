/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * data.h - the data of a chain, as host iovecs
 *
 * As against headers, which are copied. Whether the iovecs are guest memory or a
 * bounce buffer that a copy fills or empties is hidden from the device.
 */
#ifndef VG_DATA_H
#define VG_DATA_H

#include "backend/base/loop.h"
#include "backend/memory/guestmem.h"

/*
 * Data of one chain as host iovecs. Life: begin, (FROM_GUEST: vg_batch_run),
 * I/O on iov, finish (TO_GUEST), vg_batch_run, end.
 */
struct vg_data {
	struct iovec *iov; /* vg_data_begin() to vg_data_end() */
	unsigned niov;
	size_t len; /* bytes */
	enum vg_dir dir;
	/* private */
	struct vg_mem *mem;
	struct vg_chain *chain;
	size_t off;
	void *bounce;	     /* NULL: iov is guest memory */
	uint32_t held;	     /* of it, by ops->hold */
	struct vg_map map;   /* of it, for this request; all zero: none */
	struct iovec inl[8]; /* a longer list is allocated; bounce memory needs one */
};

/**
 * vg_data_begin - make @len bytes at @off of one part of @c available
 * @dir: VG_FROM_GUEST: the device-readable part, else the device-writable
 *
 * Return: 0; -EINVAL when the part is too short; -ENOBUFS when bounce memory is used up for now (try
 * again when another chain has completed); -E2BIG when it would never suffice; -EFAULT when memory
 * is neither direct nor can be bounced (@mem has no bounce memory); -ENOMEM. @d needs vg_data_end()
 * only after 0. With VG_FROM_GUEST a copy that fails later sets @c->error.
 */
int vg_data_begin(struct vg_data *d, struct vg_batch *b, struct vg_chain *c, enum vg_dir dir,
		  size_t off, size_t len);

/** vg_data_finish - queue what takes the first @len bytes to the guest; nothing to do when direct
 * or VG_FROM_GUEST */
void vg_data_finish(struct vg_data *d, struct vg_batch *b, size_t len);

/** vg_data_end - unmap, give bounce memory and iovecs back; after vg_batch_run(), before vg_vq_push() */
void vg_data_end(struct vg_data *d);

/**
 * vg_bounce_new - page-aligned buffers for data that is copied
 * @limit: bytes that it may hold at once, over all sizes; buffers are powers of two, from 4096 up
 *
 * Return: NULL when out of memory. Free with vg_bounce_free(), when nothing is out.
 */
struct vg_bounce *vg_bounce_new(size_t limit);

/**
 * vg_bounce_pin - have VG_LIMIT_BOUNCE_PINNED bytes of it pinned by @loop, beside the limit
 *
 * For devices whose I/O pins each buffer otherwise (vg_loop_pin()). Once, before @loop is enabled. Where
 * memory cannot be pinned, buffers are as without.
 */
void vg_bounce_pin(struct vg_bounce *b, struct vg_loop *loop);

/* Somebody who waits for bounce memory. Zero it, set run. */
struct vg_bounce_waiter {
	struct vg_bounce_waiter *next; /* private */
	bool queued;		       /* private */
	void (*run)(struct vg_bounce_waiter *w);
};

/**
 * vg_bounce_wait - after -ENOBUFS: call @w->run when bounce memory came back
 * @loop: that of the context whose memory @mem is; run() is called at the end of one of its turns
 *
 * Whoever waits longest is called first, and nobody else gets memory before. One that waits again
 * from within run() stays the first.
 */
void vg_bounce_wait(struct vg_mem *mem, struct vg_loop *loop, struct vg_bounce_waiter *w);

/** vg_bounce_unwait - do not call @w->run after all */
void vg_bounce_unwait(struct vg_mem *mem, struct vg_bounce_waiter *w);
void vg_bounce_free(struct vg_bounce *b);

/** vg_data_is_own - whether iov is this process' own memory, of which no guest has any */
static inline bool vg_data_is_own(const struct vg_data *d)
{
	return d->bounce != NULL;
}

#endif /* VG_DATA_H */
