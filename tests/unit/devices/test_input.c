// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_input.c - keyboard, tablet and touch screen, driven as a guest's driver does, moved as a display does
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <linux/input-event-codes.h>
#include <linux/virtio_input.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/limits.h"
#include "backend/devices/input/keys.h"
#include "backend/displays/display.h"
#include "tests/rigs/input_rig.h"

static int display; /* the other end of what moves it */

static void look(void)
{
	int pair[2];

	if (display >= 0)
		close(display);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	display = pair[1];
	in.tp.dev.ops->peer(&in.tp.dev, pair[0]);
}

static void up(const char *spec, enum tp_manner manner, unsigned bufs)
{
	display = -1;
	in_open(spec, manner, bufs);
	look();
}

static void down(void)
{
	close(display);
	in_close();
}

static void say(const struct vg_display_msg *m)
{
	assert_int_equal(vg_display_send(display, m, -1), 0);
}

static void key(uint32_t keysym, uint32_t scancode, bool is_down)
{
	const struct vg_display_msg m = { .type = VG_DISPLAY_KEY,
					  .key = { keysym, scancode, is_down } };

	say(&m);
}

static void point(uint32_t x, uint32_t y, uint32_t buttons)
{
	const struct vg_display_msg m = { .type = VG_DISPLAY_POINTER,
					  .pointer = { x, y, buttons, 641, 481 } };

	say(&m);
}

/* ---- what it says of itself -------------------------------------------------- */

static struct virtio_input_config select_(uint8_t select, uint8_t subsel)
{
	struct virtio_input_config c;
	uint32_t generation = in.tp.dev.generation;

	assert_int_equal(vg_dev_config_write(&in.tp.dev, 0, &select, 1), 0);
	assert_int_equal(vg_dev_config_write(&in.tp.dev, 1, &subsel, 1), 0);
	assert_int_equal(vg_dev_config_read(&in.tp.dev, 0, &c, sizeof(c)), 0);
	assert_int_equal(c.select, select);
	assert_int_equal(c.subsel, subsel);
	assert_int_equal(in.tp.dev.generation, generation);
	return c;
}

static bool has(uint8_t select, uint8_t subsel, unsigned code)
{
	struct virtio_input_config c = select_(select, subsel);

	return code / 8 < c.size && c.u.bitmap[code / 8] >> code % 8 & 1;
}

static void test_keyboard_says(void **state)
{
	struct virtio_input_config c;

	(void)state;
	up("input,kind=keyboard", TP_COPY, 0);
	assert_int_equal(in.tp.dev.virtio_id, 18);
	c = select_(VIRTIO_INPUT_CFG_ID_NAME, 0);
	assert_int_equal(c.size, strlen("vgrant keyboard"));
	assert_memory_equal(c.u.string, "vgrant keyboard", c.size);
	c = select_(VIRTIO_INPUT_CFG_ID_DEVIDS, 0);
	assert_int_equal(c.size, 8);
	assert_int_equal(select_(VIRTIO_INPUT_CFG_ID_SERIAL, 0).size, 0);
	assert_int_equal(select_(VIRTIO_INPUT_CFG_PROP_BITS, 0).size, 0);
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, KEY_A));
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, KEY_RIGHTMETA));
	assert_false(has(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, BTN_LEFT));
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_LED, LED_CAPSL));
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_REP, REP_DELAY));
	assert_int_equal(select_(VIRTIO_INPUT_CFG_EV_BITS, EV_ABS).size, 0);
	assert_int_equal(select_(VIRTIO_INPUT_CFG_ABS_INFO, ABS_X).size, 0);
	assert_int_equal(select_(0x77, 0xff).size, 0);
	/* Nothing else can be written. */
	assert_int_equal(vg_dev_config_write(&in.tp.dev, 2, "x", 1), -EPERM);
	assert_int_equal(vg_dev_config_write(&in.tp.dev, 1, "xy", 2), -EPERM);
	assert_int_equal(vg_dev_config_write(&in.tp.dev, 0, "\1\0", 2), 0);
	/* All of it, as QEMU's vhost-user-input has it: it makes no difference to the rest. */
	c = (struct virtio_input_config){ .select = VIRTIO_INPUT_CFG_EV_BITS,
					  .subsel = EV_LED,
					  .size = 77 };
	memset(&c.u, 0xff, sizeof(c.u));
	assert_int_equal(vg_dev_config_write(&in.tp.dev, 0, &c, sizeof(c)), 0);
	assert_int_equal(vg_dev_config_read(&in.tp.dev, 0, &c, sizeof(c)), 0);
	assert_int_equal(c.select, VIRTIO_INPUT_CFG_EV_BITS);
	assert_int_equal(c.subsel, EV_LED);
	assert_int_equal(c.size, 1);
	assert_int_equal(c.u.bitmap[0], 1 << LED_NUML | 1 << LED_CAPSL | 1 << LED_SCROLLL);
	assert_int_equal(c.u.bitmap[1], 0);
	assert_int_equal(vg_dev_config_write(&in.tp.dev, 0, &c, sizeof(c) - 1), -EPERM);
	down();
}

static void test_pointers_say(void **state)
{
	struct virtio_input_config c;

	(void)state;
	up("input,kind=tablet", TP_DIRECT, 0);
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, BTN_MIDDLE));
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_REL, REL_WHEEL));
	c = select_(VIRTIO_INPUT_CFG_ABS_INFO, ABS_Y);
	assert_int_equal(c.size, 20);
	assert_int_equal(le32toh(c.u.abs.max), 32767);
	assert_int_equal(select_(VIRTIO_INPUT_CFG_ABS_INFO, ABS_Z).size, 0);
	down();
	up("input,kind=touch", TP_COPY, 0);
	assert_true(has(VIRTIO_INPUT_CFG_PROP_BITS, 0, INPUT_PROP_DIRECT));
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_ABS, ABS_MT_POSITION_X));
	assert_int_equal(select_(VIRTIO_INPUT_CFG_ABS_INFO, ABS_MT_SLOT).size, 20);
	down();
}

static void test_configuration_errors(void **state)
{
	static const char *const bad[] = { "input", "input,kind=mouse",
					   "input,kind=touch,head=16" };
	struct vg_err err;
	struct tp tp;

	(void)state;
	for (unsigned i = 0; i < COUNT(bad); i++)
		assert_int_equal(tp_try_open(&tp, TP_COPY, bad[i], &err), -EINVAL);
}

/* What is to be a device of the host's, and is none. */
static void test_no_evdev(void **state)
{
	static const char *const bad[] = { "input,evdev=/dev/null", "input,evdev=/proc/self/exe",
					   "input,evdev=/nowhere/at/all" };
	struct vg_err err;
	struct tp tp;

	(void)state;
	for (unsigned i = 0; i < COUNT(bad); i++) {
		assert_true(tp_try_open(&tp, TP_COPY, bad[i], &err) < 0);
		assert_non_null(strstr(err.text, bad[i] + strlen("input,")));
	}
}

/* ---- keys ---------------------------------------------------------------------- */

static void test_keys(void **state)
{
	(void)state;
	up("input,kind=keyboard", TP_COPY, BUFS);
	key('a', 0, true);
	expect(EV_KEY, KEY_A, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	key('a', 0, true); /* a viewer repeats */
	expect_nothing();
	key('a', 0, false);
	expect(EV_KEY, KEY_A, 0);
	expect(EV_SYN, SYN_REPORT, 0);
	/* The place wins over what is printed. */
	key('z', 0x15, true);
	expect(EV_KEY, KEY_Y, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	/* What was down before we knew comes up. */
	key(0xffe1, 0, false);
	expect(EV_KEY, KEY_LEFTSHIFT, 0);
	expect(EV_SYN, SYN_REPORT, 0);
	key(0x1000000 + 0x4e2d, 0, true); /* on no key */
	point(1, 1, 1);
	expect_nothing();
	/* The viewer is gone: what it held comes up. */
	close(display);
	expect(EV_KEY, KEY_Y, 0);
	expect(EV_SYN, SYN_REPORT, 0);
	display = -1;
	look();
	key(0, 0xcd, true);
	expect(EV_KEY, KEY_RIGHT, 1);
	down();
}

static void test_tables(void **state)
{
	static const struct {
		uint32_t keysym;
		uint16_t key;
	} syms[] = {
		{ 'A', KEY_A },	     { '!', KEY_1 },	    { '|', KEY_BACKSLASH },
		{ ' ', KEY_SPACE },  { '~', KEY_GRAVE },    { '"', KEY_APOSTROPHE },
		{ '?', KEY_SLASH },  { '=', KEY_EQUAL },    { 0xffbe, KEY_F1 },
		{ 0xffc9, KEY_F12 }, { 0xff0d, KEY_ENTER }, { 0, 0 },
		{ 0xe4, 0 },	     { 0xffffffff, 0 },	    { '\n', 0 },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(syms); i++)
		assert_int_equal(input_key_of_keysym(syms[i].keysym), syms[i].key);
	assert_int_equal(input_key_of_scancode(0x1c), KEY_ENTER);
	assert_int_equal(input_key_of_scancode(0x9c), KEY_KPENTER);
	assert_int_equal(input_key_of_scancode(0x56), KEY_102ND);
	assert_int_equal(input_key_of_scancode(0), 0);
	assert_int_equal(input_key_of_scancode(0x54), 0);
	assert_int_equal(input_key_of_scancode(UINT32_MAX), 0);
}

static void press(uint32_t keysym, uint16_t code)
{
	key(keysym, 0, true);
	expect(EV_KEY, code, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	key(keysym, 0, false);
	expect(EV_KEY, code, 0);
	expect(EV_SYN, SYN_REPORT, 0);
}

/* What is printed on a key is elsewhere in other countries. */
static void test_keymaps(void **state)
{
	static const struct {
		const char *keymap;
		uint32_t keysym;
		uint16_t key;
	} keys[] = {
		{ "de", 'z', KEY_Y },
		{ "de", 'Y', KEY_Z },
		{ "de", 0xf6, KEY_SEMICOLON }, /* o with two dots */
		{ "de", 0xdf, KEY_MINUS },     /* sharp s */
		{ "de", '@', KEY_Q },
		{ "de", '<', KEY_102ND },
		{ "de", 0x20ac, KEY_E },	/* the Euro, as X11 has it */
		{ "de", 0x10020ac, KEY_E },	/* and as Unicode */
		{ "de", '^', KEY_GRAVE },	/* a dead one */
		{ "de", 0xfe03, KEY_RIGHTALT }, /* AltGr */
		{ "de", 0xffe1, KEY_LEFTSHIFT },
		{ "de", 0xffc9, KEY_F12 },
		{ "de", 0xff0d, KEY_ENTER },
		{ "de", 0xff8d, KEY_KPENTER },
		{ "de", 0xff14, KEY_SCROLLLOCK },
		{ "de(nodeadkeys)", '^', KEY_GRAVE },
		{ "fr", 'a', KEY_Q },
		{ "fr", '1', KEY_1 },
		{ "fr", '&', KEY_1 },
		{ "us", 'z', KEY_Z },
		{ "ru", 0x6c6, KEY_A }, /* Cyrillic ef */
		{ "ru", 0x1000444, KEY_A },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(keys); i++) {
		char spec[80];

		snprintf(spec, sizeof(spec), "input,kind=keyboard,keymap=%s", keys[i].keymap);
		up(spec, TP_COPY, BUFS);
		press(keys[i].keysym, keys[i].key);
		/* The place wins, as ever. */
		key('z', 0x15, true);
		expect(EV_KEY, KEY_Y, 1);
		expect(EV_SYN, SYN_REPORT, 0);
		key('z', 0x15, false);
		expect(EV_KEY, KEY_Y, 0);
		expect(EV_SYN, SYN_REPORT, 0);
		/* What no key has. */
		key(0x1004e2d, 0, true);
		key(0, 0, true);
		key(UINT32_MAX, 0, true);
		expect_nothing();
		down();
	}
}

static void test_keymap_errors(void **state)
{
	static const char *const bad[] = { "keymap=nowhere", "keymap=de(nothing)", "keymap=",
					   "keymap=../x",    "keymap=de(",	   "keymap=de()x",
					   "keymap=de()",    "keymap=(de)",	   "keymap=a b" };
	struct vg_err err;
	struct tp tp;

	(void)state;
	for (unsigned i = 0; i < COUNT(bad); i++) {
		char spec[80];

		snprintf(spec, sizeof(spec), "input,kind=keyboard,%s", bad[i]);
		assert_true(tp_try_open(&tp, TP_COPY, spec, &err) < 0);
		assert_non_null(strstr(err.text, bad[i]));
	}
	assert_int_equal(tp_try_open(&tp, TP_COPY, "input,kind=tablet,keymap=de", &err), -EINVAL);
}

/* ---- pointers -------------------------------------------------------------------- */

static void test_tablet(void **state)
{
	struct vg_display_msg other = { .type = VG_DISPLAY_POINTER,
					.head = 1,
					.pointer = { 1, 1, 1, 2, 2 } };

	(void)state;
	up("input,kind=tablet,head=0", TP_COPY, BUFS);
	point(640, 240, 1);
	expect(EV_ABS, ABS_X, 32767);
	expect(EV_ABS, ABS_Y, 16383);
	expect(EV_KEY, BTN_LEFT, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	point(0, 100000, 1 | 4 | 8); /* outside: at the edge; the wheel turns once, up */
	expect(EV_ABS, ABS_X, 0);
	expect(EV_ABS, ABS_Y, 32767);
	expect(EV_KEY, BTN_RIGHT, 1);
	expect(EV_REL, REL_WHEEL, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	point(0, 0, 16);
	expect(EV_ABS, ABS_X, 0);
	expect(EV_ABS, ABS_Y, 0);
	expect(EV_KEY, BTN_LEFT, 0);
	expect(EV_KEY, BTN_RIGHT, 0);
	expect(EV_REL, REL_WHEEL, -1);
	expect(EV_SYN, SYN_REPORT, 0);
	say(&other); /* of another head */
	key('a', 0, true);
	expect_nothing();
	down();
}

static void test_touch(void **state)
{
	(void)state;
	up("input,kind=touch", TP_DIRECT, BUFS);
	point(10, 10, 0);
	expect_nothing(); /* nothing touches */
	point(640, 0, 1);
	expect(EV_ABS, ABS_MT_SLOT, 0);
	expect(EV_ABS, ABS_MT_TRACKING_ID, 1);
	expect(EV_ABS, ABS_MT_POSITION_X, 32767);
	expect(EV_ABS, ABS_MT_POSITION_Y, 0);
	expect(EV_ABS, ABS_X, 32767);
	expect(EV_ABS, ABS_Y, 0);
	expect(EV_KEY, BTN_TOUCH, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	point(640, 0, 0);
	expect(EV_ABS, ABS_MT_SLOT, 0);
	expect(EV_ABS, ABS_MT_TRACKING_ID, -1);
	expect(EV_KEY, BTN_TOUCH, 0);
	expect(EV_SYN, SYN_REPORT, 0);
	down();
}

/* ---- a guest that does not take them ------------------------------------------------ */

/* Events are lost, and which keys are held is not. */
static void test_guest_takes_nothing(void **state)
{
	bool held[KEY_CNT] = { false };
	struct virtio_input_event e;
	char text[256];

	(void)state;
	up("input,kind=keyboard", TP_COPY, 0);
	for (unsigned i = 0; i < 4 * VG_LIMIT_INPUT_EVENTS; i++) {
		key("abcdefgh"[i % 8], 0, i / 8 % 2 == 0);
		tp_settle(&in.tp);
	}
	key('x', 0, true);
	key('b', 0, true);
	tp_settle(&in.tp);
	in.tp.dev.ops->describe(&in.tp.dev, text, sizeof(text));
	assert_null(strstr(text, "dropped=0"));
	for (unsigned i = 0; i < BUFS; i++)
		post(i);
	tp_kick(&in.tp, 0);
	while (next(&e)) {
		if (le16toh(e.type) == EV_KEY)
			held[le16toh(e.code)] = e.value != 0;
	}
	for (unsigned i = 0; i < KEY_CNT; i++)
		assert_int_equal(held[i], i == KEY_X || i == KEY_B);
	assert_false(in.tp.dev.status & VG_STATUS_NEEDS_RESET);
	down();
}

/* What a guest knows of a pointer, after it took all events. */
struct pointer {
	int32_t x, y, mt_x, mt_y, contact;
	bool pressed, in_frame;
};

static struct pointer take_all(uint16_t button)
{
	struct pointer p = { .contact = -1 };
	struct virtio_input_event e;

	tp_settle(&in.tp);
	for (unsigned i = 0; i < BUFS; i++)
		post(i);
	tp_kick(&in.tp, 0);
	while (next(&e)) {
		int32_t value = (int32_t)le32toh(e.value);
		uint16_t type = le16toh(e.type), code = le16toh(e.code);

		p.in_frame = type != EV_SYN;
		if (type == EV_KEY && code == button)
			p.pressed = value;
		if (type != EV_ABS)
			continue;
		*(code == ABS_X		       ? &p.x
		  : code == ABS_Y	       ? &p.y
		  : code == ABS_MT_POSITION_X  ? &p.mt_x
		  : code == ABS_MT_POSITION_Y  ? &p.mt_y
		  : code == ABS_MT_TRACKING_ID ? &p.contact
					       : &(int32_t){ 0 }) = value;
	}
	return p;
}

/* So many moves that nothing after them has room, and then what is lost. */
static void overflow(unsigned extra)
{
	unsigned n = VG_LIMIT_INPUT_EVENTS / 3 + 10;

	point(0, 0, 0);
	for (unsigned i = 0; i < extra; i++)
		point(0, 0, i % 2 ? 0 : 2); /* one event more: frames break elsewhere */
	point(1, 1, 1);
	for (unsigned i = 0; i < n; i++) {
		point(i % 640, 7, 1);
		tp_settle(&in.tp);
	}
}

/* Where the pointer is, whether a finger touches, and where frames end: that is not lost. */
static void test_pointer_after_loss(void **state)
{
	struct pointer p;

	(void)state;
	for (unsigned extra = 0; extra < 8; extra++) {
		up("input,kind=tablet", TP_COPY, 0);
		overflow(extra);
		point(640, 480, 0);
		p = take_all(BTN_LEFT);
		assert_true(p.x == 32767 && p.y == 32767 && !p.pressed && !p.in_frame);
		down();
		up("input,kind=touch", TP_COPY, 0);
		overflow(extra);
		point(640, 480, 1);
		p = take_all(BTN_TOUCH);
		assert_true(p.contact >= 0 && p.pressed && !p.in_frame);
		assert_true(p.x == 32767 && p.y == 32767 && p.mt_x == 32767 && p.mt_y == 32767);
		down();
		up("input,kind=touch", TP_COPY, 0);
		overflow(extra);
		point(640, 480, 0);
		p = take_all(BTN_TOUCH);
		assert_true(p.contact == -1 && !p.pressed && !p.in_frame);
		down();
	}
}

static void test_small_buffers(void **state)
{
	const struct drv_seg seg = { 0, 7 };
	struct drv_seg s = seg;

	(void)state;
	up("input,kind=keyboard", TP_COPY, 0);
	s.addr = in.bufs.addr;
	assert_true(drv_vring_add(&in.tp.vr[0], NULL, 0, &s, 1, &in, 0) >= 0);
	tp_kick(&in.tp, 0);
	key('a', 0, true);
	tp_settle(&in.tp);
	assert_true(in.tp.dev.status & VG_STATUS_NEEDS_RESET);
	tp_reset(&in.tp);
	tp_start(&in.tp, TP_ALL, 64);
	for (unsigned i = 0; i < BUFS; i++)
		post(i);
	tp_kick(&in.tp, 0);
	key('b', 0, true);
	expect(EV_KEY, KEY_B, 1);
	down();
}

static void test_revoked_buffers(void **state)
{
	(void)state;
	up("input,kind=keyboard", TP_COPY, BUFS);
	tp_revoke(&in.tp, in.bufs.addr, BUFS * 8, false);
	key('a', 0, true);
	tp_settle(&in.tp);
	assert_true(in.tp.dev.status & VG_STATUS_NEEDS_RESET);
	tp_reset(&in.tp);
	tp_start(&in.tp, TP_ALL, 64);
	post(0);
	tp_kick(&in.tp, 0);
	key('b', 0, true);
	expect(EV_KEY, KEY_B, 1);
	down();
}

/* LEDs, and whatever else of whatever length. */
static void test_status(void **state)
{
	struct virtio_input_event e = { htole16(EV_LED), htole16(LED_CAPSL), htole32(1) };
	struct drv_used used;
	char text[256];

	(void)state;
	up("input,kind=keyboard", TP_COPY, 0);
	for (uint32_t len = 1; len <= 16; len++) {
		const struct drv_seg seg = { in.status.addr, len };

		memcpy(in.status.virt, &e, sizeof(e));
		assert_true(drv_vring_add(&in.tp.vr[1], &seg, 1, NULL, 0, &in, 0) >= 0);
		tp_kick(&in.tp, 1);
		tp_wait(&in.tp, 1, &used);
		assert_int_equal(used.len, 0);
		in.tp.dev.ops->describe(&in.tp.dev, text, sizeof(text));
		assert_non_null(strstr(text, len < 8 ? "leds=0" : "leds=2"));
	}
	assert_false(in.tp.dev.status & VG_STATUS_NEEDS_RESET);
	down();
}

/* A display that was taken over. */
static void test_display_talks_nonsense(void **state)
{
	struct vg_display_msg m = { .type = VG_DISPLAY_KEY, .key = { UINT32_MAX, UINT32_MAX, 7 } };

	(void)state;
	up("input,kind=tablet", TP_COPY, BUFS);
	say(&m);
	m = (struct vg_display_msg){ .type = VG_DISPLAY_POINTER,
				     .head = UINT32_MAX,
				     .pointer = { UINT32_MAX, UINT32_MAX, UINT32_MAX, 0, 1 } };
	say(&m);
	m.type = 4711;
	say(&m);
	tp_settle(&in.tp);
	assert_int_equal(send(display, "x", 1, 0), 1); /* its end */
	tp_settle(&in.tp);
	look();
	assert_false(in.tp.dev.status & VG_STATUS_NEEDS_RESET);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keyboard_says),
		cmocka_unit_test(test_pointers_say),
		cmocka_unit_test(test_configuration_errors),
		cmocka_unit_test(test_no_evdev),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_keymaps),
		cmocka_unit_test(test_keymap_errors),
		cmocka_unit_test(test_tablet),
		cmocka_unit_test(test_touch),
		cmocka_unit_test(test_guest_takes_nothing),
		cmocka_unit_test(test_pointer_after_loss),
		cmocka_unit_test(test_small_buffers),
		cmocka_unit_test(test_revoked_buffers),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_display_talks_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
