// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * shape.c - what a device says of itself, VIRTIO 1.3 section 5.8.5
 *
 * A bitmap ends with its last byte that is not zero; what there is none of has size 0.
 */
#include <endian.h>
#include <linux/input.h>
#include <string.h>

#include "backend/devices/input/int.h"
#include "backend/devices/input/keys.h"

const char *const input_kind_words[INPUT_KINDS] = { "keyboard", "tablet", "touch" };

static const uint16_t keyboard_leds[] = { LED_NUML, LED_CAPSL, LED_SCROLLL };
static const uint16_t repeat[] = { REP_DELAY, REP_PERIOD };
static const uint16_t tablet_keys[] = { BTN_LEFT, BTN_RIGHT, BTN_MIDDLE };
static const uint16_t tablet_rel[] = { REL_WHEEL, REL_HWHEEL };
static const uint16_t tablet_abs[] = { ABS_X, ABS_Y };
static const uint16_t touch_keys[] = { BTN_TOUCH };
static const uint16_t touch_abs[] = {
	ABS_X, ABS_Y, ABS_MT_SLOT, ABS_MT_POSITION_X, ABS_MT_POSITION_Y, ABS_MT_TRACKING_ID
};
static const uint16_t direct[] = { INPUT_PROP_DIRECT };

/* What there is beside the keys of a keyboard, which are those that a viewer can name. */
static const struct {
	enum input_kind kind;
	uint8_t select, subsel;
	const uint16_t *codes;
	unsigned n;
} shapes[] = {
#define S(kind, select, subsel, codes)                                       \
	{                                                                    \
		kind, VIRTIO_INPUT_CFG_##select, subsel, codes, COUNT(codes) \
	}
	S(INPUT_KEYBOARD, EV_BITS, EV_LED, keyboard_leds),
	S(INPUT_KEYBOARD, EV_BITS, EV_REP, repeat),
	S(INPUT_TABLET, EV_BITS, EV_KEY, tablet_keys),
	S(INPUT_TABLET, EV_BITS, EV_REL, tablet_rel),
	S(INPUT_TABLET, EV_BITS, EV_ABS, tablet_abs),
	S(INPUT_TOUCH, EV_BITS, EV_KEY, touch_keys),
	S(INPUT_TOUCH, EV_BITS, EV_ABS, touch_abs),
	S(INPUT_TOUCH, PROP_BITS, 0, direct),
#undef S
};

static bool has(const struct input *in, uint8_t select, uint8_t subsel, uint16_t code)
{
	for (unsigned i = 0; i < COUNT(shapes); i++) {
		if (shapes[i].kind != in->kind || shapes[i].select != select ||
		    shapes[i].subsel != subsel)
			continue;
		for (unsigned k = 0; k < shapes[i].n; k++) {
			if (shapes[i].codes[k] == code)
				return true;
		}
	}
	return false;
}

static void put_bit(struct virtio_input_config *c, unsigned bit)
{
	input_set_bit(c->u.bitmap, bit, true);
	if (c->size < bit / 8 + 1)
		c->size = (uint8_t)(bit / 8 + 1);
}

static void put_bits(const struct input *in, struct virtio_input_config *c)
{
	for (unsigned i = 0; i < COUNT(shapes); i++) {
		if (shapes[i].kind != in->kind || shapes[i].select != in->select ||
		    shapes[i].subsel != in->subsel)
			continue;
		for (unsigned k = 0; k < shapes[i].n; k++)
			put_bit(c, shapes[i].codes[k]);
	}
	if (in->kind != INPUT_KEYBOARD || in->select != VIRTIO_INPUT_CFG_EV_BITS ||
	    in->subsel != EV_KEY)
		return;
	for (uint32_t code = 1; code < 0x100; code++) {
		if (input_key_of_scancode(code))
			put_bit(c, input_key_of_scancode(code));
	}
}

static void put_abs(const struct input *in, struct virtio_input_config *c)
{
	uint32_t max = INPUT_ABS_MAX;

	if (!has(in, VIRTIO_INPUT_CFG_EV_BITS, EV_ABS, in->subsel))
		return;
	if (in->subsel == ABS_MT_SLOT)
		max = 0; /* one finger, as a pointer has */
	else if (in->subsel == ABS_MT_TRACKING_ID)
		max = 65535;
	c->u.abs.max = htole32(max);
	c->size = sizeof(c->u.abs);
}

void input_config(const struct input *in, struct virtio_input_config *c)
{
	memset(c, 0, sizeof(*c));
	c->select = in->select;
	c->subsel = in->subsel;
	if (in->evdev) {
		evdev_config(in, c);
		return;
	}
	switch (in->select) {
	case VIRTIO_INPUT_CFG_ID_NAME:
		c->size = (uint8_t)(strlen("vgrant ") + strlen(input_kind_words[in->kind]));
		memcpy(c->u.string, "vgrant ", strlen("vgrant "));
		memcpy(c->u.string + strlen("vgrant "), input_kind_words[in->kind],
		       strlen(input_kind_words[in->kind]));
		break;
	case VIRTIO_INPUT_CFG_ID_DEVIDS:
		c->u.ids.bustype = htole16(BUS_VIRTUAL);
		c->u.ids.product = htole16((uint16_t)(in->kind + 1));
		c->u.ids.version = htole16(1);
		c->size = sizeof(c->u.ids);
		break;
	case VIRTIO_INPUT_CFG_PROP_BITS:
	case VIRTIO_INPUT_CFG_EV_BITS:
		put_bits(in, c);
		break;
	case VIRTIO_INPUT_CFG_ABS_INFO:
		put_abs(in, c);
		break;
	}
}
