// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * translate.c - from what a viewer does to input events
 *
 * A viewer repeats keys that are held; a guest does that by itself. So only changes are told, but for
 * a key that comes up: a worker may not know that it was down.
 */
#include <string.h>

#include "backend/devices/input/int.h"
#include "backend/devices/input/keymap.h"
#include "backend/devices/input/keys.h"

/* RFC 6143, 7.5.5: bit n is button n + 1; 4 to 7 are a wheel's. */
enum { LEFT = 1u << 0, MIDDLE = 1u << 1, RIGHT = 1u << 2, WHEEL = 3 };

static void key(struct input *in, unsigned code, bool down)
{
	if (down && input_bit(in->held, code))
		return;
	input_set_bit(in->held, code, down);
	input_put(in, EV_KEY, (uint16_t)code, down);
}

static void end(struct input *in)
{
	input_put(in, EV_SYN, SYN_REPORT, 0);
}

static uint32_t scale(uint32_t at, uint32_t size)
{
	if (size < 2)
		return 0;
	if (at > size - 1)
		at = size - 1;
	return (uint32_t)((uint64_t)at * INPUT_ABS_MAX / (size - 1));
}

static void move(struct input *in, const struct vg_display_msg *m)
{
	in->x = scale(m->pointer.x, m->pointer.width);
	in->y = scale(m->pointer.y, m->pointer.height);
}

/* A touch screen's finger: where it is, or that it is gone. */
static void finger(struct input *in, bool is)
{
	input_put(in, EV_ABS, ABS_MT_SLOT, 0);
	input_put(in, EV_ABS, ABS_MT_TRACKING_ID, is ? 1 : UINT32_MAX);
}

static void tell_finger_at(struct input *in)
{
	input_put(in, EV_ABS, ABS_MT_POSITION_X, in->x);
	input_put(in, EV_ABS, ABS_MT_POSITION_Y, in->y);
	input_put(in, EV_ABS, ABS_X, in->x);
	input_put(in, EV_ABS, ABS_Y, in->y);
}

static void tell_at(struct input *in)
{
	input_put(in, EV_ABS, ABS_X, in->x);
	input_put(in, EV_ABS, ABS_Y, in->y);
}

static void tablet(struct input *in, const struct vg_display_msg *m)
{
	static const struct {
		uint32_t bit;
		uint16_t code;
	} buttons[] = { { LEFT, BTN_LEFT }, { MIDDLE, BTN_MIDDLE }, { RIGHT, BTN_RIGHT } };
	static const struct {
		uint16_t code;
		int32_t by;
	} wheel[] = { { REL_WHEEL, 1 }, { REL_WHEEL, -1 }, { REL_HWHEEL, -1 }, { REL_HWHEEL, 1 } };
	uint32_t now = m->pointer.buttons, changed = now ^ in->buttons;

	move(in, m);
	tell_at(in);
	for (unsigned i = 0; i < COUNT(buttons); i++) {
		if (changed & buttons[i].bit)
			key(in, buttons[i].code, now & buttons[i].bit);
	}
	for (unsigned i = 0; i < COUNT(wheel); i++) {
		if (changed & now & 1u << (WHEEL + i))
			input_put(in, EV_REL, wheel[i].code, (uint32_t)wheel[i].by);
	}
	in->buttons = now;
	end(in);
}

static void touch(struct input *in, const struct vg_display_msg *m)
{
	bool was = in->buttons & LEFT, is = m->pointer.buttons & LEFT;

	move(in, m);
	in->buttons = m->pointer.buttons;
	if (!was && !is)
		return;
	if (was != is)
		finger(in, is);
	else
		input_put(in, EV_ABS, ABS_MT_SLOT, 0);
	if (is)
		tell_finger_at(in);
	key(in, BTN_TOUCH, is);
	end(in);
}

/* Whoever held them is gone. */
static void all_up(struct input *in)
{
	bool any = false;

	for (unsigned i = 0; i < KEY_CNT; i++) {
		if (!input_bit(in->held, i))
			continue;
		key(in, i, false);
		any = true;
	}
	if (any && in->kind == INPUT_TOUCH)
		finger(in, false);
	if (any)
		end(in);
	in->buttons = 0;
}

static void keyboard(struct input *in, const struct vg_display_msg *m)
{
	uint16_t code = input_key_of_scancode(m->key.scancode);

	/* Keys without a character are where they are on any keyboard. */
	if (!code && (!in->keymap || m->key.keysym >= 0xfe00))
		code = input_key_of_keysym(m->key.keysym);
	if (!code && in->keymap)
		code = input_keymap_key(in->keymap, m->key.keysym);
	if (!code || (m->key.down && input_bit(in->held, code)))
		return;
	key(in, code, m->key.down);
	end(in);
}

void input_heard(struct input *in, const struct vg_display_msg *m)
{
	if (m->type == VG_DISPLAY_RELEASE)
		all_up(in);
	else if (m->type == VG_DISPLAY_KEY && in->kind == INPUT_KEYBOARD)
		keyboard(in, m);
	else if (m->type == VG_DISPLAY_POINTER && (in->head < 0 || (uint32_t)in->head == m->head)) {
		if (in->kind == INPUT_TABLET)
			tablet(in, m);
		else if (in->kind == INPUT_TOUCH)
			touch(in, m);
	}
}

void input_catch_up(struct input *in)
{
	if (in->evdev)
		evdev_catch_up(in);
	if (in->kind == INPUT_TABLET)
		tell_at(in);
	if (in->kind == INPUT_TOUCH) {
		finger(in, input_bit(in->held, BTN_TOUCH));
		if (input_bit(in->held, BTN_TOUCH))
			tell_finger_at(in);
	}
	for (unsigned i = 0; i < KEY_CNT; i++) {
		if (input_bit(in->held, i) != input_bit(in->told, i))
			input_put(in, EV_KEY, (uint16_t)i, input_bit(in->held, i));
	}
	end(in);
}
