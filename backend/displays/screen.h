/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * screen.h - between a device that has a picture and a front-end that shows it itself
 *
 * Beside its display process (display.h) a device can be shown by whoever runs its guest: QEMU, by a
 * protocol of its own (ports/vhost_user/screen.c). Such a screen is in the device's own process, sees
 * its frame memory, and is told MODE, DAMAGE and CURSOR_IS by calls. The monitors are its own: which
 * there are, and what they say of themselves, the device asks it, and so long a driver's command waits.
 *
 * All of it in the main context. No call waits, none fails, and none comes back into its caller.
 */
#ifndef VG_SCREEN_H
#define VG_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/displays/display.h"

enum vg_screen_question {
	VG_SCREEN_NOTHING,
	VG_SCREEN_MONITORS, /* which there are */
	VG_SCREEN_EDID,	    /* of one of them */
};

enum { VG_SCREEN_EDID_MAX = 1024 }; /* bytes, VIRTIO 1.3 section 5.7.6.8 */

/* What is known: of the two one, perhaps the other than was asked for. */
struct vg_screen_answer {
	bool has_monitors;
	struct {
		uint32_t x, y, width,
			height; /* pixels, of any size; width or height 0: none is there */
	} monitor[VG_DISPLAY_HEADS];
	uint32_t edid_bytes; /* 0: no EDID; at most VG_SCREEN_EDID_MAX */
	const uint8_t *edid;
};

/* A question under way. Embed it, set what, head and answered. */
struct vg_screen_ask {
	enum vg_screen_question what;
	uint32_t head; /* of EDID */
	bool asked;    /* the screen's: answered() will be called */
	/* @a: NULL: there is no answer. @ask may be freed. */
	void (*answered)(struct vg_screen_ask *ask, const struct vg_screen_answer *a);
};

struct vg_screen;

struct vg_screen_ops {
	/** show - MODE, DAMAGE (within the last MODE) or CURSOR_IS, of a head below @s->heads */
	void (*show)(struct vg_screen *s, const struct vg_display_msg *m);
	/** may_ask - whether there is room for one more question */
	bool (*may_ask)(const struct vg_screen *s);
	/** ask - a question, there being room: answered() is called later, in any case but unask() */
	void (*ask)(struct vg_screen *s, struct vg_screen_ask *ask);
	/** unask - the answer to @ask, which is asked, is not waited for any more */
	void (*unask)(struct vg_screen *s, struct vg_screen_ask *ask);
};

struct vg_screen {
	const struct vg_screen_ops *ops;
	/* The device's, which sets them when it is told of the screen: its frame memory, of so many
	 * heads; and read(): damage of head @head has been read, up to @serial. */
	uint8_t *frame;
	uint32_t heads; /* at most VG_DISPLAY_HEADS */
	void *device;
	void (*read)(struct vg_screen *s, uint32_t head, uint32_t serial);
};

#endif /* VG_SCREEN_H */
