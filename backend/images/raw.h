/* SPDX-License-Identifier: GPL-2.0-or-later */
/* * raw.h - a raw image, a file or a block device: what raw.c (requests), raw_open.c
 * (opening, locks, limits), ranges.c, holder.c, sysfs.c, erase.c and zones.c share
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

/* ---- sysfs.c ------------------------------------------------------------ */

/** vg_raw_sysfs_text - attribute @name of @dev, or of the disk that it is a partition of; its first line.
 * Return: whether it is there */
bool vg_raw_sysfs_text(dev_t dev, const char *name, char *text, size_t size);

/** vg_raw_sysfs_number - the same as a number; 0 when it is none */
uint64_t vg_raw_sysfs_number(dev_t dev, const char *name);

/** vg_raw_sysfs_open - the same, open for reading; -1: it is not there */
int vg_raw_sysfs_open(dev_t dev, const char *name);

/* ---- erase.c ------------------------------------------------------------ */

/** vg_raw_can_erase - can the block device @fd erase? */
bool vg_raw_can_erase(int fd);

/** vg_raw_erase - wait until it has erased that. Return: 0 or negative errno. */
int vg_raw_erase(int fd, uint64_t offset, uint64_t len);

/* ---- zones.c ------------------------------------------------------------ */

/** vg_zones_measure - what zones @dev has; size 0: none, or it takes writes anywhere */
void vg_zones_measure(dev_t dev, struct vg_image_zones *z);

/** vg_zones_report - see vg_image_report() */
int vg_zones_report(int fd, uint64_t offset, struct vg_image_zone *out, unsigned n);

/** vg_zones_manage - VG_IMAGE_ZONE_*. Return: 0 or negative errno. */
int vg_zones_manage(int fd, enum vg_image_op op, uint64_t offset, uint64_t len);

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
	uint32_t mem_align;
	/* bytes, of buffers */ /* Ranges are used: offset_align is more than the guest knows of, or there are zones. */
	bool serialise;
	int life_fd[2]; /* eMMC's life_time and pre_eol_info; -1: it has none */
	struct vg_ranges ranges;
	uint64_t discard_step; /* bytes of one BLKDISCARD */
	/* Ways that were tried in vain, once and for all; any thread sets them. */
	atomic_bool no_punch, no_zero_range, no_ring_discard;
};

int vg_raw_open(const struct vg_image_config *cfg, struct vg_image **out, struct vg_err *err);
int vg_raw_probe(struct vg_image *img, struct vg_err *err);
void vg_raw_close(struct vg_image *img);
bool vg_raw_grown(struct vg_image *img);
int vg_raw_lifetime(struct vg_image *img, uint16_t out[3]);
int vg_raw_report(struct vg_image *img, uint64_t offset, struct vg_image_zone *out, unsigned n);

#endif /* VG_RAW_H */
