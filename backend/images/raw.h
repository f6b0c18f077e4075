/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw.h - a raw disk image: a regular file or a block device
 *
 * Opening checks all that a user can get wrong and says it in a sentence. A
 * writable image is locked against a second writer, a read-only one against
 * writers (flock(2), kept until the descriptor closes, also over fork): two
 * guests that write one ext4 destroy it.
 */
#ifndef VG_RAW_H
#define VG_RAW_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/log.h"

struct vg_raw {
	int fd;			      /* owned */
	uint64_t size;		      /* bytes, a multiple of 512 and of block_size */
	uint32_t block_size;	      /* logical, bytes: 512 to 4096 */
	uint32_t physical_block_size; /* bytes */
	bool read_only;
	bool block_device;
	bool can_punch; /* the file system, or the device, takes discards */
};

/**
 * vg_raw_open - open and lock an image
 * @direct: bypass the page cache (O_DIRECT)
 *
 * Return: 0, or negative errno with a sentence in @err; then nothing is open.
 */
int vg_raw_open(const char *path, bool read_only, bool direct, struct vg_raw *img,
		struct vg_err *err);

void vg_raw_close(struct vg_raw *img);

/**
 * vg_raw_grown - take up what the file or the block device has grown by, in whole blocks
 *
 * One that shrank keeps its size: what lies behind the end is an I/O error, and there again when
 * the image is. Needs no privileges.
 * Return: whether img->size changed.
 */
bool vg_raw_grown(struct vg_raw *img);

#endif /* VG_RAW_H */
