/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtqueue_inflight.c - in-flight records
 */
#include "backend/virtqueue_int.h"

size_t vg_vq_inflight_size(uint32_t size, bool packed)
{
	size_t len = packed ? 32 + (size_t)32 * size : 16 + (size_t)16 * size;

	return (len + 63) & ~(size_t)63;
}
