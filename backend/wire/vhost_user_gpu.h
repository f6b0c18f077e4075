/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_user_gpu.h - messages of QEMU's GPU socket: their form
 *
 * "Spec" below is QEMU's docs/interop/vhost-user-gpu.rst. The back-end asks, and tells what is to be
 * seen; the front-end answers what has an answer, in that order. Numbers are in the host's byte order,
 * but for those of answers that virtio has, which are little-endian.
 *
 * The header is that of vhost-user, and so a struct vg_vu_reader reads it; its flags are not: there is
 * no version in them.
 */
#ifndef VG_VHOST_USER_GPU_MSG_H
#define VG_VHOST_USER_GPU_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/displays/screen.h"
#include "backend/wire/vhost_user.h"

/* Spec, "Message types"; those of DMA buffers are left out. */
enum vg_vug_request {
	VG_VUG_GET_PROTOCOL_FEATURES = 1,
	VG_VUG_SET_PROTOCOL_FEATURES = 2,
	VG_VUG_GET_DISPLAY_INFO = 3,
	VG_VUG_CURSOR_POS = 4,
	VG_VUG_CURSOR_POS_HIDE = 5,
	VG_VUG_CURSOR_UPDATE = 6,
	VG_VUG_SCANOUT = 7,
	VG_VUG_UPDATE = 8,
	VG_VUG_GET_EDID = 11,
};

/* Spec, "Protocol features": bit numbers. QEMU has it since 8.1. */
#define VG_VUG_PF_EDID 0

/* Spec, "Header": bits of flags */
#define VG_VUG_REPLY 4u

struct vg_vug_cursor_pos {
	uint32_t head, x, y; /* pixels: of its hot spot */
};

struct vg_vug_cursor_update { /* its pixels follow: VG_DISPLAY_CURSOR_BYTES, 0xAARRGGBB */
	struct vg_vug_cursor_pos pos;
	uint32_t hot_x, hot_y;
};

struct vg_vug_scanout {
	uint32_t head, width, height; /* pixels; 0: there is no picture */
};

struct vg_vug_update { /* its pixels follow, without gaps: 0x00RRGGBB */
	uint32_t head, x, y, width, height;
};

/**
 * vg_vug_put - write a message's header, and behind it the fixed part of its payload
 * @to: has room for both
 * @payload: @len bytes of it
 * @more: bytes of payload that the caller adds
 *
 * Return: bytes written.
 */
size_t vg_vug_put(uint8_t *to, uint32_t request, const void *payload, size_t len, size_t more);

/**
 * vg_vug_check - is @m an answer to @request, of its form?
 *
 * Values that nobody here relies on are not judged: sizes of monitors, what an EDID says.
 * Return: 0, or -EPROTO with a sentence.
 */
int vg_vug_check(const struct vg_vu_msg *m, uint32_t request, struct vg_err *err);

/** vg_vug_answer - what a checked answer to GET_DISPLAY_INFO or GET_EDID says; @out points into @m */
void vg_vug_answer(const struct vg_vu_msg *m, struct vg_screen_answer *out);

#endif /* VG_VHOST_USER_GPU_MSG_H */
