/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * display.h - between a device that has a picture and the process that shows it
 *
 * The device's worker makes a *frame memory*: a sealed memfd, which the display maps, too. It has
 * room for the largest picture of each head, of which only what was drawn takes memory, and for each
 * head's cursor. Pixels are 0x00RRGGBB (the cursor's: 0xAARRGGBB) in the host's byte order, a row
 * follows the other without a gap.
 *
 * What is in there is said over a SOCK_SEQPACKET socket, by packets of struct vg_display_msg:
 *
 *	device				display
 *	HELLO (frame memory)
 *	MODE head, width, height
 *	DAMAGE head, area, serial
 *					READ head, serial: that, and all before
 *	CURSOR head, ...
 *					WISH head, width, height: a viewer would like that size
 *
 * Either end may be replaced, by one that knows nothing: a new socket begins with HELLO, and MODE and
 * CURSOR of each head, and DAMAGE of all of it. A display that does not read, or says nonsense, costs
 * the device nothing but a wait that ends after VG_DISPLAY_PATIENCE_MS. A device that says nonsense is
 * not heard any more. Neither end trusts the other: each may have been taken over, by a guest or by
 * a viewer.
 */
#ifndef VG_DISPLAY_H
#define VG_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/limits.h"

enum {
	VG_DISPLAY_VERSION = 1,
	VG_DISPLAY_HEADS = 16,	      /* VIRTIO 1.3 section 5.7.4 */
	VG_DISPLAY_CURSOR = 64,	      /* pixels of a side, 5.7.6.10 */
	VG_DISPLAY_PATIENCE_MS = 100, /* of a device that waits for READ */
};

/* Bytes of a head in the frame memory: its picture, and behind it its cursor. */
#define VG_DISPLAY_CURSOR_BYTES (VG_DISPLAY_CURSOR * VG_DISPLAY_CURSOR * 4u)
#define VG_DISPLAY_HEAD_BYTES	((size_t)VG_LIMIT_GPU_BYTES + VG_DISPLAY_CURSOR_BYTES)

enum vg_display_type {
	VG_DISPLAY_HELLO = 1,
	VG_DISPLAY_MODE,
	VG_DISPLAY_DAMAGE,
	VG_DISPLAY_CURSOR_IS,
	VG_DISPLAY_READ = 64,
	VG_DISPLAY_WISH,
	VG_DISPLAY_KEY, /* these two from a viewer to the display, and to who is the keyboard */
	VG_DISPLAY_POINTER,
	VG_DISPLAY_RELEASE, /* whoever held keys and buttons is gone */
};

struct vg_display_msg {
	uint32_t type;
	uint32_t head; /* below the number of HELLO */
	union {
		struct { /* HELLO, with the frame memory */
			uint32_t version, heads;
		} hello;
		struct { /* MODE, WISH; 0: there is no picture */
			uint32_t width, height;
		} mode;
		struct { /* DAMAGE: within the picture */
			uint32_t x, y, width, height;
			uint32_t serial;
		} damage;
		struct { /* CURSOR_IS: where its hot spot is in the picture */
			int32_t x, y;
			uint32_t hot_x, hot_y;	   /* within the cursor */
			uint32_t visible, changed; /* bools: changed: its pixels */
		} cursor;
		struct {		 /* KEY */
			uint32_t keysym; /* X11's; 0: not known */
			uint32_t
				scancode; /* of QEMU's extension: XT's, 0x80 added for 0xe0; 0: not known */
			uint32_t down; /* bool */
		} key;
		struct { /* POINTER: in a picture of that size */
			uint32_t x, y, buttons;
			uint32_t width, height;
		} pointer;
		uint32_t serial; /* READ */
	};
};

/* A part of a picture; width 0: nothing. */
struct vg_display_area {
	uint32_t x, y, width, height;
};

/** vg_display_area_add - @a has what both have, and what lies between; @b is not empty */
void vg_display_area_add(struct vg_display_area *a, const struct vg_display_area *b);

/** vg_display_send - one message, without waiting. @fd: goes with it, or -1. Return: 0, -EAGAIN, ... */
int vg_display_send(int sock, const struct vg_display_msg *m, int fd);

/**
 * vg_display_recv - one message
 * @fd: gets what came with it, the caller's, or -1
 * @flags: MSG_DONTWAIT, or 0
 *
 * Return: 1; 0: the other end is closed; -EAGAIN; -EPROTO: it is none.
 */
int vg_display_recv(int sock, struct vg_display_msg *m, int *fd, int flags);

/** vg_display_pixels, vg_display_cursor - where head @head lies in the frame memory @base */
static inline uint32_t *vg_display_pixels(uint8_t *base, uint32_t head)
{
	return (uint32_t *)(void *)(base + head * VG_DISPLAY_HEAD_BYTES);
}

static inline uint32_t *vg_display_cursor(uint8_t *base, uint32_t head)
{
	return (uint32_t *)(void *)(base + head * VG_DISPLAY_HEAD_BYTES + VG_LIMIT_GPU_BYTES);
}

/** vg_display_is_frame_memory - whether @fd is one for @heads, which its maker cannot make shorter any more */
bool vg_display_is_frame_memory(int fd, uint32_t heads);

/** vg_display_is_within - whether the area of DAMAGE is, and there is any, in a picture of that size */
bool vg_display_is_within(const struct vg_display_msg *m, uint32_t width, uint32_t height);

/** vg_display_mode_ok - whether a picture of that size has room; 0, 0 has */
static inline bool vg_display_mode_ok(uint32_t width, uint32_t height)
{
	if (!width || !height)
		return !width && !height;
	return width <= VG_LIMIT_GPU_SIDE && height <= VG_LIMIT_GPU_SIDE &&
	       (uint64_t)width * height * 4 <= VG_LIMIT_GPU_BYTES;
}

#endif /* VG_DISPLAY_H */
