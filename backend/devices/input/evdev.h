/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * evdev.h - an input device of the host's (/dev/input/eventN), as much of it as is passed on
 *
 * What asks the host is here alone, so that tests have another.
 */
#ifndef VG_INPUT_EVDEV_H
#define VG_INPUT_EVDEV_H

#include <linux/input.h>
#include <stdint.h>

#include "backend/base/log.h"

enum {
	EVDEV_TEXT = 128, /* bytes of a name: as many as the configuration space has, 5.8.4 */
	EVDEV_SLOTS = 64, /* of touches at once; what is beyond is not passed on */
};

/* What it says of itself; bits as in the EVIOCGBIT() of linux/input.h. */
struct evdev_caps {
	char name[EVDEV_TEXT], serial[EVDEV_TEXT]; /* no NUL behind 128 bytes */
	uint8_t name_len, serial_len;
	struct input_id id;
	uint8_t props[INPUT_PROP_CNT / 8];
	uint8_t types[EV_CNT / 8];
	uint8_t key[KEY_CNT / 8], rel[REL_CNT / 8], abs[ABS_CNT / 8], msc[MSC_CNT / 8];
	uint8_t sw[(SW_CNT + 7) / 8], led[LED_CNT / 8], snd[SND_CNT / 8], rep[1];
	struct input_absinfo absinfo[ABS_CNT];
};

/* How it is now. */
struct evdev_state {
	uint8_t key[KEY_CNT / 8], sw[(SW_CNT + 7) / 8];
	int32_t abs[ABS_CNT];
};

/**
 * evdev_host_open - open it, for us alone (EVIOCGRAB)
 *
 * Return: a descriptor, that does not wait, of which struct input_event are read and to which they are
 * written; or negative errno with a sentence.
 */
int evdev_host_open(const char *path, struct evdev_caps *caps, struct vg_err *err);

/** evdev_host_state - what is held, switched, and where axes are; what cannot be asked is 0 */
void evdev_host_state(int fd, const struct evdev_caps *caps, struct evdev_state *s);

#endif /* VG_INPUT_EVDEV_H */
