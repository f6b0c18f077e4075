/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guestmem.h - one view of a guest's memory, whatever the port
 *
 * A *guest address* is what the driver wrote into a ring: a grant reference and
 * an offset (virtio-grant), or a guest-physical address (vhost-user, IOREQ).
 * Which of the two is settled by the port that made the struct vg_mem, never
 * guessed from the address. Nothing outside a port's code turns one into a
 * pointer; every access is checked when it is made.
 *
 * Three ways in, by cost:
 *
 *  direct  a pointer, where the range is mapped anyway (vhost-user regions, the
 *          virtio-grant pool). Free. Not for I/O that pins pages of grants (vg_mem.pins).
 *  copy    many small ranges at once: one hypercall for grants.
 *  map     for what stays: rings, and memory that a payload names (backing.h). And for the
 *          data of one large request, where the device allows it (vg_mem.map_from).
 *
 * A struct vg_batch gathers copies, so that a whole turn of a ring costs one
 * hypercall. Data (as against headers) goes through struct vg_data (data.h).
 */
#ifndef VG_GUESTMEM_H
#define VG_GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "backend/memory/chain.h"

struct vg_backing;
struct vg_mem;

/* Seen from the guest: what it gives us to read, what it gives us to fill. */
enum vg_dir { VG_FROM_GUEST, VG_TO_GUEST };

struct vg_copy {
	uint64_t addr; /* guest address */
	void *host;    /* only read from when dir is VG_TO_GUEST */
	uint32_t len;  /* bytes; the range may cross pages */
	enum vg_dir dir;
	int *error; /* where this copy's own result goes when it fails: negative errno */
};

/* A range mapped until vg_mem_unmap(). */
struct vg_map {
	void *ptr;    /* the range's first byte */
	size_t len;   /* bytes */
	void *base;   /* the port's own */
	size_t pages; /* the port's own */
	bool is_data; /* the port's own */
	bool is_long; /* the port's own */
	bool foreign; /* the port's own */
};

/* Memory that stays, as another process can have it, too: see ops->share. */
struct vg_shared {
	int fd; /* of mmap(2), for one of all of it; the view's own, and nobody closes it */
	uint64_t offset; /* in that: the first byte */
	uint64_t addr;	 /* its guest address */
	uint64_t size;	 /* bytes */
	uint32_t held;	 /* the port's own */
};

struct vg_mem_stats {
	uint64_t copies; /* calls of ops->copy: one hypercall each, for grants */
	uint64_t copied_bytes;
	uint64_t maps;
	uint64_t unmaps;
	uint64_t direct; /* ranges that needed neither */
};

/*
 * What a port asked of the hypervisor, counted where the call is made. A mapping is two hypercalls
 * in a PV backend domain (the process' page tables and the kernel's own), one elsewhere.
 */
struct vg_hyper_stats {
	uint64_t copy_calls;	  /* of grant copy */
	uint64_t copy_hypercalls; /* Linux makes of them: one for each 16 pieces within pages */
	uint64_t copied_bytes;
	uint64_t maps;	       /* calls, of any number of pages */
	uint64_t mapped_pages; /* by them */
	uint64_t unmaps;
	uint64_t pool_hits; /* ranges that were mapped anyway: no call */
	uint64_t notifies;  /* events sent */
	uint64_t unmasks;   /* ports opened again; a hypercall only if an event came meanwhile */
};

struct vg_mem_ops {
	/* Where direct() and map_data() lead must not be what the kernel refers to when the process
	 * ends: see grants.c. */
	bool unpinnable;
	/* A pointer to the whole range, valid until the next vg_loop turn, or while it is held; NULL
	 * when there is none. NULL op: never. */
	void *(*direct)(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir);
	/* What direct() returned last is used for longer than this turn: @held, with the bit of what it
	 * lies in. NULL op: what is direct stays while queues run. */
	uint32_t (*hold)(struct vg_mem *mem, uint32_t held);
	/* It is not used any more, nor what else was held with it. */
	void (*release)(struct vg_mem *mem, uint32_t held);
	/*
	 * What direct() returned last lies in memory that another process may map, whole: it stays, as if
	 * held, until ops->unshare, before which that process must have unmapped it. 0, or negative
	 * errno. NULL op: never.
	 */
	int (*share)(struct vg_mem *mem, struct vg_shared *out);
	void (*unshare)(struct vg_mem *mem, struct vg_shared *s);
	/* All of @n, each with its own result; 0, or the first error. */
	int (*copy)(struct vg_mem *mem, struct vg_copy *ops, unsigned n);
	/* Read-write. 0, or negative errno with nothing mapped. */
	int (*map)(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out);
	void (*unmap)(struct vg_mem *mem, struct vg_map *map);
	/* All of @n > 0 ranges with one call, for ops->unmap; @iov[i] is where @segs[i] lies. 0, or
	 * negative errno with nothing mapped. NULL op: never. */
	int (*map_data)(struct vg_mem *mem, const struct vg_seg *segs, unsigned n, enum vg_dir dir,
			struct vg_map *out, struct iovec *iov);
	/* For backing.h: all of @n > 0 ranges with one call, until ops->unmap; where they lie is told
	 * with vg_backing_add(). 0, or negative errno with nothing mapped. NULL op: never. */
	int (*map_long)(struct vg_mem *mem, const struct vg_seg *segs, unsigned n, enum vg_dir dir,
			struct vg_map *out, struct vg_backing *b);
};

struct vg_bounce;

struct vg_mem {
	const struct vg_mem_ops *ops;
	struct vg_bounce *bounce; /* where ops->direct can fail: vg_bounce_new() */
	/* Data of at least this many bytes is mapped, not copied; 0: never. The device's to set: its
	 * I/O must leave no reference to a page behind when it completes (O_DIRECT does), because the
	 * kernel then puts off the unmapping, and the guest finds its grant still in use. */
	size_t map_from;
	/* The device's I/O refers to pages until it is done (O_DIRECT): as struct vg_dev says. */
	bool pins;
	struct vg_backing *backings; /* that are mapped: backing.h */
	struct vg_mem_stats stats;
};

/** vg_mem_direct - a pointer to the whole range, or NULL (then copy) */
void *vg_mem_direct(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir);

/** vg_mem_map - map @len > 0 bytes for long, read-write. Return: 0, or negative errno. */
int vg_mem_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out);

/** vg_mem_unmap - undo vg_mem_map(); a map that is all zero is left alone; zeroes @map */
void vg_mem_unmap(struct vg_mem *mem, struct vg_map *map);

/* ---- batches ------------------------------------------------------------ */

#define VG_BATCH_MAX 512 /* copies a batch holds before it runs by itself */

struct vg_batch {
	struct vg_mem *mem;
	unsigned n;
	int error; /* first error since vg_batch_init() or the last vg_batch_run() */
	struct vg_copy ops[VG_BATCH_MAX];
};

void vg_batch_init(struct vg_batch *b, struct vg_mem *mem);

/**
 * vg_batch_add - queue one copy, or do it now where memory is direct
 * @error: set to a negative errno when this copy fails, else left alone; may be NULL
 *
 * The result is there after vg_batch_run(). When the batch is full it runs first.
 */
void vg_batch_add(struct vg_batch *b, uint64_t addr, void *host, uint32_t len, enum vg_dir dir,
		  int *error);

/** vg_batch_run - do what is queued. Return: 0, or the first error since the last run. */
int vg_batch_run(struct vg_batch *b);

/**
 * vg_chain_read - queue copying @len bytes at @off of a chain's device-readable part to @dst
 *
 * A failing copy sets @c->error. Return: 0, or -EINVAL when the part is shorter than off + len
 * (nothing is queued).
 */
int vg_chain_read(struct vg_batch *b, struct vg_chain *c, size_t off, void *dst, size_t len);

/**
 * vg_chain_write - queue copying @src to @off of a chain's device-writable part
 *
 * @src must live until vg_batch_run(). Errors as vg_chain_read().
 */
int vg_chain_write(struct vg_batch *b, struct vg_chain *c, size_t off, const void *src, size_t len);

#endif /* VG_GUESTMEM_H */
