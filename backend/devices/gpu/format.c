// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * format.c - see format.h
 *
 * A format's name has its bytes in the order of their addresses: of B8G8R8A8 blue comes first. What
 * is shown is the same as a number of 32 bits, alpha in its highest byte.
 */
#include "backend/devices/gpu/format.h"

#include <endian.h>
#include <linux/virtio_gpu.h>
#include <string.h>

bool gpu_format_known(uint32_t format)
{
	switch (format) {
	case VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM:
	case VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM:
	case VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM:
	case VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM:
	case VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM:
	case VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM:
	case VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM:
	case VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM:
		return true;
	default:
		return false;
	}
}

static inline uint32_t swap_red_and_blue(uint32_t v)
{
	return (v & 0xff00ff00) | (v >> 16 & 0xff) | (v & 0xff) << 16;
}

/* Pixels at a time, of which a compiler makes vectors at -O2: it must know how many, and that they do not overlap. */
enum { BLOCK = 16 };

#define SOME(count, expression)                     \
	for (size_t i = 0; i < (count); i++) {      \
		uint32_t v;                         \
                                                    \
		memcpy(&v, at + (done + i) * 4, 4); \
		v = le32toh(v);                     \
		to[done + i] = (expression);        \
	}
#define EACH(expression)                                 \
	do {                                             \
		size_t done = 0;                         \
                                                         \
		for (; n - done >= BLOCK; done += BLOCK) \
			SOME(BLOCK, expression)          \
		SOME(n - done, expression)               \
	} while (0)

void gpu_convert(uint32_t format, uint32_t *restrict to, const void *restrict from, size_t n)
{
	const uint8_t *restrict at = from;
	const uint32_t opaque = 0xff000000;

	switch (format) {
	case VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM:
		EACH(v);
		break;
	case VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM:
		EACH(v | opaque);
		break;
	case VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM:
		EACH(__builtin_bswap32(v));
		break;
	case VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM:
		EACH(__builtin_bswap32(v) | opaque);
		break;
	case VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM:
		EACH(swap_red_and_blue(v));
		break;
	case VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM:
		EACH(swap_red_and_blue(v) | opaque);
		break;
	case VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM:
		EACH(v >> 8 | v << 24);
		break;
	case VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM:
		EACH(v >> 8 | opaque);
		break;
	}
}
