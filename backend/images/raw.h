/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw.h - a raw image, a file or a block device: what raw.c (requests), raw_open.c
 * (opening, locks, limits), ranges.c and holder.c share
 */
#ifndef VG_RAW_H
#define VG_RAW_H

#include <pthread.h>
#include <sys/types.h>

#include "backend/images/image.h"

extern const struct vg_image_ops vg_image_raw;

/* ---- ranges.c ----------------------------------------------------------- */

/*
 * A range of an image that is being written. Where a sector is smaller than what can be written,
 * writing it is reading, changing and writing its surroundings: nobody else may write them then.
 */
struct vg_range {
	struct vg_range *prev, *next; /* in order of arrival */
	uint64_t start, end;	      /* bytes: of all that is read and written */
	bool exclusive;		      /* surroundings are written as they were read */
	bool waiting;
	struct vg_loop *loop;
	struct vg_post post; /* set post.run: called in @loop when it may begin */
};

struct vg_ranges {
	pthread_mutex_t lock;
	struct vg_range *first, *last;
};

void vg_ranges_init(struct vg_ranges *rs);

/** vg_range_enter - Return: true: begin; false: r->post is posted to r->loop when it may */
bool vg_range_enter(struct vg_ranges *rs, struct vg_range *r);
void vg_range_leave(struct vg_ranges *rs, struct vg_range *r);

/* ---- holder.c ----------------------------------------------------------- */

struct vg_holder {
	bool found;
	bool writes; /* it may write: mounted read-write, swap, another device on top */
	char what[200];
};

/** vg_holder_of - who on this host has block device @dev: a file system, swap, a device on top */
void vg_holder_of(dev_t dev, struct vg_holder *h);

/** vg_holder_of_file - the same of a file, by way of a loop device that stands on it */
void vg_holder_of_file(dev_t dev, ino_t ino, struct vg_holder *h);

/* ---- raw_open.c --------------------------------------------------------- */

struct vg_raw {
	struct vg_image image;
	int fd;		   /* owned */
	bool direct;	   /* past the page cache */
	bool direct_asked; /* the user said so, and hears if it cannot be */
	bool block_device;
	bool discards;	   /* vg_loops_discard() knows it */
	bool format_given; /* by the user: what it looks like is no news */
	uint32_t
		offset_align; /* bytes, of offsets and lengths of what goes to the disk; 1 or more */
	uint32_t mem_align;   /* bytes, of buffers */
	bool serialise;	      /* offset_align is more than the guest knows of: ranges are used */
	struct vg_ranges ranges;
	uint64_t discard_step; /* bytes of one BLKDISCARD */
	/* Ways that were tried in vain, once and for all; any thread sets them. */
	atomic_bool no_punch, no_zero_range, no_ring_discard;
};

int vg_raw_open(const struct vg_image_config *cfg, struct vg_image **out, struct vg_err *err);
int vg_raw_probe(struct vg_image *img, struct vg_err *err);
void vg_raw_close(struct vg_image *img);
bool vg_raw_grown(struct vg_image *img);

#endif /* VG_RAW_H */
