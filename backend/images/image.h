/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image.h - what a disk image is to a device: blocks to read and write
 *
 * A format (raw.c; table.c lists all) is one `const struct vg_image_ops`. A device
 * sees no descriptor, no path and no protocol: it opens an image, opens a channel
 * for each of its queues, and submits requests to channels.
 *
 *	open      with all privileges: paths become descriptors, locks are taken.
 *		  Nothing that a guest may have written is looked at.
 *	(sandbox)
 *	probe     looks at what is in the image; size and limits are known from here on
 *	channel   an image as one loop sees it: a queue's. Any number, in any thread
 *	close     when all channels are closed
 *
 * What an image promises:
 *  - Offsets and lengths of any multiple of 512 work, buffers lie at any address:
 *    what the file below wants otherwise is bounced, or read, changed and written.
 *    But where limits.block_size is more than 512, the device below may refuse less.
 *  - A request is done as a whole, or fails as a whole. What is offered in the limits
 *    is done, by another way if the obvious one is not there.
 *  - VG_IMAGE_FUA: it is durable before done() is called. Without, when a FLUSH that
 *    was submitted after its done() is done. *  - Locks live with the image: one writer, or any number of readers, or any number
 *    of writers who all say that they share it; and none
 *    while this host itself has it mounted for writing. They last until the last
 *    I/O of this process has ended, however the process ended.
 */
#ifndef VG_IMAGE_H
#define VG_IMAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "backend/base/log.h"
#include "backend/base/loop.h"

struct vg_image;
struct vg_image_channel;

/* Whether what is read and written goes by way of the host's page cache. */
enum vg_image_cache {
	VG_CACHE_FITTING, /* a file's does, and a block device's does not if the device can without */
	VG_CACHE_PAGES,
	VG_CACHE_NONE, /* O_DIRECT; with a warning and the page cache where the file cannot */
};

/* As the user asked for it. */
struct vg_image_config {
	const char *path;
	const char
		*format; /* a name in vg_image_formats; NULL: raw, unless it looks like another */
	bool read_only;
	enum vg_image_cache cache;
	bool no_discard; /* never give space back, not for zeroes either */
	bool shareable;	 /* others who say so, too, may write it at the same time */
};

/* What probe finds out; constant from then on. Bytes, but for the flags. */
struct vg_image_limits {
	uint32_t block_size;	      /* logical: 512 to 65536, a power of two */
	uint32_t physical_block_size; /* what is best written as a whole */
	uint32_t optimal_io;	      /* 0: not known */
	uint64_t max_discard;	      /* of one request; 0: it cannot discard */
	uint32_t discard_granularity; /* best multiple, of offsets too; a multiple of 512 */
	uint64_t max_zeroes;	      /* of one request; 0: it is read-only */
	bool zeroes_unmap;	      /* with VG_IMAGE_UNMAP, zeroes give space back */
	uint32_t minimum_io;	      /* best multiple of small requests; 0: not known */
	uint32_t alignment_offset;    /* the first physical block begins there */
	uint64_t max_secure_erase; /* of one request; 0: it cannot erase so that nothing is left */
	bool lifetime;		   /* it tells how worn it is: vg_image_lifetime() */
	struct vg_image_zones {
		uint64_t size; /* of a zone; 0: not zoned. Else host-managed: zones are written from
				* their start on */
		uint32_t max_open, max_active; /* zones; 0: any number */
		uint64_t max_append;	       /* of one request */
		uint32_t granularity;	       /* writes are multiples of it */
	} zones;
};

/* A zone, as <linux/blkzoned.h> and VIRTIO 1.3 section 5.2.6 number types and states; bytes. */
struct vg_image_zone {
	uint64_t start, size, capacity, wp;
	uint8_t type, state;
};

#define VG_ZONE_CONVENTIONAL 1	/* type: written anywhere */
#define VG_ZONE_READ_ONLY    13 /* state; from here on nothing can be appended: full, offline */

enum vg_image_op {
	VG_IMAGE_READ,
	VG_IMAGE_WRITE,
	VG_IMAGE_FLUSH,
	VG_IMAGE_ZEROES,
	VG_IMAGE_DISCARD,
	VG_IMAGE_SECURE_ERASE,
	VG_IMAGE_APPEND, /* as WRITE, at the write pointer of the zone that starts at offset; done()
			  * finds in offset where that was */
	/* Of all zones in the range. */
	VG_IMAGE_ZONE_OPEN,
	VG_IMAGE_ZONE_CLOSE,
	VG_IMAGE_ZONE_FINISH,
	VG_IMAGE_ZONE_RESET,
};

#define VG_IMAGE_FUA   1u /* WRITE, ZEROES */
#define VG_IMAGE_UNMAP 2u /* ZEROES: space may be given back. Without it, it must not be. */
/* The buffers are this process' own, not the guest's: what lands in them late hurts nobody. */
#define VG_IMAGE_OWN 4u

#define VG_IMAGE_REQ_PRIV 32 /* words that a format has in each request */

/* One request. Embed it; set what is above the line; it must live until done(). */
struct vg_image_req {
	/* Called once, in the thread of the channel's loop and never from vg_image_submit().	 * @error: 0, or negative errno: -EOPNOTSUPP: the image cannot do that; -ENODATA: it is
	 * shorter than it was. Of zones: -ESPIPE: not at the write pointer; -ETOOMANYREFS,
	 * -EOVERFLOW: too many are open, active; -EINVAL: what it is asked makes no sense there. */
	void (*done)(struct vg_image_req *r, int error);
	enum vg_image_op op;
	unsigned flags;
	uint64_t offset, len; /* within the image; multiples of 512; FLUSH: ignored */
	struct iovec *iov;    /* READ, WRITE: len bytes; used up by the image */
	unsigned niov;
	/* ---- */
	struct vg_image_channel *ch;
	uint64_t priv[VG_IMAGE_REQ_PRIV];
};

struct vg_image_ops {
	const char *name; /* as in format= */
	const char *help; /* one line */
	/* See vg_image_open(), vg_image_probe(). *out is allocated; read_only and ops are set by
	 * the caller. */
	int (*open)(const struct vg_image_config *cfg, struct vg_image **out, struct vg_err *err);
	int (*probe)(struct vg_image *img, struct vg_err *err);
	void (*close)(struct vg_image *img);
	/* Make ch->priv. */
	int (*channel_open)(struct vg_image_channel *ch);
	void (*channel_close)(struct vg_image_channel *ch);
	void (*submit)(struct vg_image_req *r);
	void (*cancel)(struct vg_image_req *r);
	bool (*grown)(struct vg_image *img);
	int (*lifetime)(struct vg_image *img, uint16_t out[3]);
	int (*report)(struct vg_image *img, uint64_t offset, struct vg_image_zone *out, unsigned n);
};

struct vg_image {
	const struct vg_image_ops *ops;
	bool read_only;
	_Atomic uint64_t size; /* bytes; a multiple of limits.block_size */
	struct vg_image_limits limits;
	bool pins; /* its I/O refers to pages of the caller's until it is done (O_DIRECT) */
	const char *looks_like; /* "qcow2": another format, by its first bytes; NULL */
};

/* One thread's: that of its loop. */
struct vg_image_channel {
	struct vg_image *img;
	struct vg_loop *loop;
	unsigned inflight; /* submitted and not done */
	void (*drained)(struct vg_image_channel *ch);
	void *owner; /* the caller's, for drained() */
	void *priv;  /* the format's */
};

/** vg_image_formats - all formats, NULL-terminated (table.c) */
extern const struct vg_image_ops *const vg_image_formats[];

/** vg_image_format_check - whether format= names one. Return: 0, or -EINVAL with a sentence. */
int vg_image_format_check(const char *name, struct vg_err *err);

/**
 * vg_image_open - open and lock an image, with privileges
 *
 * May wait some seconds for a lock that udev takes on a block device while it looks at it.
 * Return: 0, or negative errno with a sentence in @err; then nothing is open. -EBUSY: somebody else
 * has it, and may let it go.
 */
int vg_image_open(const struct vg_image_config *cfg, struct vg_image **out, struct vg_err *err);

/** vg_image_probe - look into it, without privileges. Return: 0, or negative errno, a sentence. */
int vg_image_probe(struct vg_image *img, struct vg_err *err);

/** vg_image_close - NULL allowed; no channel may be open */
void vg_image_close(struct vg_image *img);

/** vg_image_channel_open - @ch is the caller's memory. Return: 0 or negative errno. */
int vg_image_channel_open(struct vg_image *img, struct vg_loop *loop, struct vg_image_channel *ch);

/** vg_image_channel_close - when nothing is in flight on it; of one that is all zero: nothing */
void vg_image_channel_close(struct vg_image_channel *ch);

void vg_image_submit(struct vg_image_channel *ch, struct vg_image_req *r);

/**
 * vg_image_cancel - hurry: @r is done soon, with -ECANCELED if it was not too late
 *
 * Its done() is called as ever. What was written in part stays written.
 */
void vg_image_cancel(struct vg_image_req *r);

/**
 * vg_image_drain - call @drained once, when nothing is in flight on @ch: from here, if nothing is
 *
 * Else from the last request's completion, after its done().
 */
void vg_image_drain(struct vg_image_channel *ch, void (*drained)(struct vg_image_channel *ch));

/** vg_image_grown - take up what it has grown by, in whole blocks. Return: whether size changed.
 * One that shrank keeps its size: what lies behind the end is an I/O error. No privileges. */
bool vg_image_grown(struct vg_image *img);

/**
 * vg_image_lifetime - how worn it is: PRE_EOL_INFO and two estimates, as eMMC has them
 *
 * Only where limits.lifetime says so. No privileges. Return: 0 or negative errno.
 */
int vg_image_lifetime(struct vg_image *img, uint16_t out[3]);

/**
 * vg_image_report - up to @n zones, from the one on that @offset lies in
 *
 * Only where limits.zones says so; waits for the device. Return: how many, or negative errno.
 */
int vg_image_report(struct vg_image *img, uint64_t offset, struct vg_image_zone *out, unsigned n);

/* ---- for formats -------------------------------------------------------- */

/** vg_image_done - a request is over: @r is the caller's again */
void vg_image_done(struct vg_image_req *r, int error);

/* ---- guess.c ------------------------------------------------------------ */

#define VG_IMAGE_HEAD 4096u /* bytes at either end that tell a format */

/**
 * vg_image_guess - the format that a file's first and last bytes are of
 * @head: its first @head_len bytes
 * @tail: its last @tail_len
 *
 * Return: a word for the user, such as "qcow2", or NULL: nothing is known that begins so.
 */
const char *vg_image_guess(const void *head, size_t head_len, const void *tail, size_t tail_len);

/** vg_image_guess_file - the same of a file or a device by its path; needs to read it */
const char *vg_image_guess_file(const char *path);

#endif /* VG_IMAGE_H */
