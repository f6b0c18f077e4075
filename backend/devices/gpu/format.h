/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * format.h - the formats of pictures, VIRTIO 1.3 section 5.7.6.8: all of four bytes a pixel
 */
#ifndef VG_GPU_FORMAT_H
#define VG_GPU_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GPU_PIXEL = 4 }; /* bytes */

/** gpu_format_known - whether @format is one of the specification's */
bool gpu_format_known(uint32_t format);

/**
 * gpu_convert - @n pixels of @format, which is known, to 0xAARRGGBB
 * @from: may be guest memory, which changes meanwhile
 *
 * Of a format without alpha, alpha is 255.
 */
void gpu_convert(uint32_t format, uint32_t *to, const void *from, size_t n);

#endif /* VG_GPU_FORMAT_H */
