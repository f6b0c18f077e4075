/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - shared by the files of the input device; nobody else includes it
 *
 *	input.c		the device: queues, configuration, life
 *	shape.c		what a keyboard, a tablet, a touch screen says of itself
 *	translate.c	from what a viewer does to input events
 *	keys.c		which key is meant
 *	keymap.c	and on keyboards of other layouts
 *	passthrough.c	a device of the host's in the place of those three
 *	evdevhost.c	what asks the host of it
 */
#ifndef VG_INPUT_INT_H
#define VG_INPUT_INT_H

#include <linux/input-event-codes.h>
#include <linux/virtio_input.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/devices/devices.h"
#include "backend/displays/display.h"

enum {
	INPUT_EVENTQ = 0,
	INPUT_STATUSQ = 1,
	INPUT_QUEUES = 2,
	INPUT_ABS_MAX = 32767, /* of both axes, whatever the picture's size */
};

enum input_kind { INPUT_KEYBOARD, INPUT_TABLET, INPUT_TOUCH, INPUT_KINDS };

extern const char *const input_kind_words[INPUT_KINDS];

struct input_item {
	uint16_t type, code;
	uint32_t value;
};

struct input {
	struct vg_dev *dev;
	enum input_kind kind;
	int head; /* whose pointer it takes; -1: of all */
	/* What the driver selected in the configuration space; dev->saved. */
	uint8_t select, subsel;

	/* events that wait for the guest's buffers, the eldest first */
	struct input_item event[VG_LIMIT_INPUT_EVENTS];
	unsigned first, n;
	bool lost; /* some had no room: what is different is told when there is */

	/* what is held down: by the viewers, and as the guest was told */
	uint8_t held[KEY_CNT / 8], told[KEY_CNT / 8];
	uint32_t buttons;
	uint32_t x, y; /* where the pointer was last, in units of INPUT_ABS_MAX */
	uint32_t leds;

	int sock; /* to a display; -1: none */
	struct vg_watch watch;
	struct vg_batch batch;
	uint64_t events, dropped;
	struct input_keymap *keymap; /* NULL: of the US */
	struct input_evdev *evdev;   /* the host's that it is; NULL: it listens to a display */
	struct vg_deferred more;     /* of which there is more than one turn takes */
};

/* ---- shape.c ------------------------------------------------------------- */

/** input_config - the configuration space, VIRTIO 1.3 section 5.8.4, as select and subsel have it */
void input_config(const struct input *in, struct virtio_input_config *c);

/* ---- translate.c ---------------------------------------------------------- */

/** input_heard - a viewer did something; events are put to the queue */
void input_heard(struct input *in, const struct vg_display_msg *m);

/**
 * input_catch_up - after events were lost, and all others told: what is held now and was not told,
 * where the pointer is, and the end of a frame that lost its own
 */
void input_catch_up(struct input *in);

/* ---- passthrough.c ---------------------------------------------------------- */

/** evdev_open - it is that of the host's. Return: 0, or negative errno with a sentence. */
int evdev_open(struct input *in, const char *path, struct vg_err *err);
/** evdev_close - let go of it */
void evdev_close(struct input *in);
/** evdev_config - as input_config(); select and subsel are in @c, and all else is zero */
void evdev_config(const struct input *in, struct virtio_input_config *c);
/** evdev_catch_up - as input_catch_up(), but for keys and the end of the frame */
void evdev_catch_up(struct input *in);
/** evdev_status - the driver says something of it */
void evdev_status(struct input *in, uint16_t type, uint16_t code, uint32_t value);
/** evdev_forget - no driver has it: the next one knows nothing */
void evdev_forget(struct input *in);
/** evdev_resume - a driver has it, and may believe anything of its keys */
void evdev_resume(struct input *in);
/** evdev_again - there may be more */
void evdev_again(struct input *in);
/** evdev_is_there - it was not unplugged */
bool evdev_is_there(const struct input *in);

/* ---- input.c ---------------------------------------------------------------- */

/** input_put - one event to the queue; a frame of them ends with SYN_REPORT */
void input_put(struct input *in, uint16_t type, uint16_t code, uint32_t value);

/** input_flush - what is in the queue, to the driver, as far as there are buffers */
void input_flush(struct input *in);

static inline bool input_bit(const uint8_t *bits, unsigned i)
{
	return bits[i / 8] >> i % 8 & 1;
}

static inline void input_set_bit(uint8_t *bits, unsigned i, bool on)
{
	if (on)
		bits[i / 8] |= (uint8_t)(1u << i % 8);
	else
		bits[i / 8] &= (uint8_t) ~(1u << i % 8);
}

#endif /* VG_INPUT_INT_H */
