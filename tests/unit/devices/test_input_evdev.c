// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_input_evdev.c - an input device of the host's, passed on; the host's is a socket of the test's
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <linux/virtio_input.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/devices/input/evdev.h"
#include "backend/devices/input/int.h"
#include "tests/rigs/input_rig.h"

#define SPEC "input,evdev=/dev/input/event7"

static struct {
	int host; /* the other end of the device */
	struct evdev_caps caps;
	struct evdev_state state;
} ev;

/* ---- in the place of evdevhost.c ---------------------------------------------------- */

int evdev_host_open(const char *path, struct evdev_caps *caps, struct vg_err *err)
{
	int pair[2];

	assert_string_equal(path, "/dev/input/event7");
	if (ev.host >= 0)
		return vg_fail(err, -EBUSY, "evdev=%s is not ours alone", path);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	ev.host = pair[1];
	*caps = ev.caps;
	return pair[0];
}

void evdev_host_state(int fd, const struct evdev_caps *caps, struct evdev_state *s)
{
	(void)fd;
	(void)caps;
	*s = ev.state;
}

/* ---- the driver ------------------------------------------------------------------------ */

/* What it is told at first: how the device is. */
static void skip_first(void)
{
	struct virtio_input_event e;

	while (next(&e))
		;
}

static void up(enum tp_manner manner, unsigned bufs)
{
	ev.host = -1;
	in_open(SPEC, manner, bufs);
}

static void down(void)
{
	close(ev.host);
	ev.host = -1;
	in_close();
}

/* ---- the host ----------------------------------------------------------------------------- */

static void set(uint8_t *bits, unsigned i)
{
	input_set_bit(bits, i, true);
}

static void type_is(unsigned type)
{
	set(ev.caps.types, type);
}

static void a_keyboard(void)
{
	memset(&ev.caps, 0, sizeof(ev.caps));
	memset(&ev.state, 0, sizeof(ev.state));
	memcpy(ev.caps.name, "Keyboard of 1999", ev.caps.name_len = 16);
	memcpy(ev.caps.serial, "0815", ev.caps.serial_len = 4);
	ev.caps.id = (struct input_id){ BUS_USB, 0x1234, 0x5678, 3 };
	type_is(EV_KEY);
	for (unsigned i = KEY_ESC; i <= KEY_KPDOT; i++)
		set(ev.caps.key, i);
	type_is(EV_LED);
	set(ev.caps.led, LED_CAPSL);
	type_is(EV_REP);
	ev.caps.rep[0] = 3;
	type_is(EV_MSC);
	set(ev.caps.msc, MSC_SCAN);
	type_is(EV_FF); /* which is not passed on */
}

static void axis(unsigned code, int32_t min, int32_t max)
{
	set(ev.caps.abs, code);
	ev.caps.absinfo[code] =
		(struct input_absinfo){ .minimum = min, .maximum = max, .resolution = 12 };
}

static void a_touch_screen(void)
{
	memset(&ev.caps, 0, sizeof(ev.caps));
	memset(&ev.state, 0, sizeof(ev.state));
	memcpy(ev.caps.name, "Touch", ev.caps.name_len = 5);
	set(ev.caps.props, INPUT_PROP_DIRECT);
	type_is(EV_KEY);
	set(ev.caps.key, BTN_TOUCH);
	type_is(EV_ABS);
	axis(ABS_X, -10, 4095);
	axis(ABS_Y, 0, 4095);
	axis(ABS_MT_SLOT, 0, 9);
	axis(ABS_MT_POSITION_X, -10, 4095);
	axis(ABS_MT_POSITION_Y, 0, 4095);
	axis(ABS_MT_TRACKING_ID, 0, 65535);
	type_is(EV_SW);
	set(ev.caps.sw, SW_LID);
	ev.state.abs[ABS_X] = 7;
	set(ev.state.sw, SW_LID);
}

static void happens(uint16_t type, uint16_t code, int32_t value)
{
	const struct input_event e = { .type = type, .code = code, .value = value };

	assert_int_equal(send(ev.host, &e, sizeof(e), MSG_NOSIGNAL), sizeof(e));
	tp_settle(&in.tp);
}

static void report(void)
{
	happens(EV_SYN, SYN_REPORT, 0);
}

/* ---- what it is ------------------------------------------------------------------------------ */

static struct virtio_input_config select_(uint8_t select, uint8_t subsel)
{
	struct virtio_input_config c;

	assert_int_equal(vg_dev_config_write(&in.tp.dev, 0, &select, 1), 0);
	assert_int_equal(vg_dev_config_write(&in.tp.dev, 1, &subsel, 1), 0);
	assert_int_equal(vg_dev_config_read(&in.tp.dev, 0, &c, sizeof(c)), 0);
	return c;
}

static bool has(uint8_t select, uint8_t subsel, unsigned code)
{
	struct virtio_input_config c = select_(select, subsel);

	return code / 8 < c.size && c.u.bitmap[code / 8] >> code % 8 & 1;
}

static void test_says_what_the_host_says(void **state)
{
	struct virtio_input_config c;

	(void)state;
	a_keyboard();
	up(TP_COPY, 0);
	c = select_(VIRTIO_INPUT_CFG_ID_NAME, 0);
	assert_int_equal(c.size, 16);
	assert_memory_equal(c.u.string, "Keyboard of 1999", 16);
	c = select_(VIRTIO_INPUT_CFG_ID_SERIAL, 0);
	assert_int_equal(c.size, 4);
	c = select_(VIRTIO_INPUT_CFG_ID_DEVIDS, 0);
	assert_int_equal(le16toh(c.u.ids.vendor), 0x1234);
	assert_int_equal(le16toh(c.u.ids.bustype), BUS_USB);
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, KEY_KPDOT));
	assert_false(has(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, KEY_F24));
	/* No byte behind the last bit. */
	assert_int_equal(select_(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY).size, KEY_KPDOT / 8 + 1);
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_LED, LED_CAPSL));
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_REP, REP_PERIOD));
	assert_int_equal(select_(VIRTIO_INPUT_CFG_EV_BITS, EV_FF).size, 0);
	assert_int_equal(select_(VIRTIO_INPUT_CFG_EV_BITS, 0xff).size, 0);
	assert_int_equal(select_(VIRTIO_INPUT_CFG_ABS_INFO, ABS_X).size, 0);
	down();
	a_touch_screen();
	memset(ev.caps.name, 'n', ev.caps.name_len = EVDEV_TEXT);
	up(TP_DIRECT, 0);
	assert_int_equal(select_(VIRTIO_INPUT_CFG_ID_NAME, 0).size, 128);
	assert_true(has(VIRTIO_INPUT_CFG_PROP_BITS, 0, INPUT_PROP_DIRECT));
	assert_true(has(VIRTIO_INPUT_CFG_EV_BITS, EV_SW, SW_LID));
	c = select_(VIRTIO_INPUT_CFG_ABS_INFO, ABS_X);
	assert_int_equal(c.size, 20);
	assert_int_equal((int32_t)le32toh(c.u.abs.min), -10);
	assert_int_equal(le32toh(c.u.abs.max), 4095);
	assert_int_equal(le32toh(c.u.abs.res), 12);
	assert_int_equal(select_(VIRTIO_INPUT_CFG_ABS_INFO, 0xff).size, 0);
	down();
}

static void test_configuration_errors(void **state)
{
	static const char *const bad[] = { "input", "input,kind=touch,evdev=/dev/input/event7",
					   "input,evdev=/dev/input/event7,head=1" };
	struct vg_err err;
	struct tp tp;

	(void)state;
	ev.host = -1;
	for (unsigned i = 0; i < COUNT(bad); i++)
		assert_int_equal(tp_try_open(&tp, TP_COPY, bad[i], &err), -EINVAL);
	ev.host = 77; /* somebody has it */
	assert_int_equal(tp_try_open(&tp, TP_COPY, SPEC, &err), -EBUSY);
	ev.host = -1;
}

/* ---- events -------------------------------------------------------------------------------------- */

static void test_keys(void **state)
{
	(void)state;
	a_keyboard();
	up(TP_COPY, BUFS);
	skip_first();
	happens(EV_MSC, MSC_SCAN, 0x70004);
	happens(EV_KEY, KEY_A, 1);
	report();
	expect(EV_MSC, MSC_SCAN, 0x70004);
	expect(EV_KEY, KEY_A, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	/* What the device repeats the guest repeats itself; what it does not have is not passed on. */
	happens(EV_KEY, KEY_A, 2);
	happens(EV_KEY, KEY_F24, 1);
	happens(EV_LED, LED_CAPSL, 1);
	happens(EV_FF, 1, 1);
	happens(0xffff, 0xffff, -1);
	happens(EV_SYN, SYN_CONFIG, 0);
	expect_nothing();
	happens(EV_KEY, KEY_A, 0);
	report();
	expect(EV_KEY, KEY_A, 0);
	expect(EV_SYN, SYN_REPORT, 0);
	down();
}

/* LEDs and beeps reach the device; nothing else does. */
static void test_status(void **state)
{
	static const struct virtio_input_event events[] = {
		{ EV_LED, LED_CAPSL, 1 }, { EV_LED, LED_NUML, 1 },	  { EV_KEY, KEY_A, 1 },
		{ EV_REP, REP_DELAY, 1 }, { EV_LED, LED_CAPSL + 512, 1 }, { 0xffff, 0xffff, 1 },
	};
	struct input_event got[3];
	struct drv_used used;

	(void)state;
	a_keyboard();
	up(TP_COPY, 0);
	for (unsigned i = 0; i < COUNT(events); i++) {
		const struct virtio_input_event e = { htole16(events[i].type),
						      htole16(events[i].code),
						      htole32(events[i].value) };

		for (uint32_t len = 7; len <= 8; len++) {
			const struct drv_seg seg = { in.status.addr, len };

			memcpy(in.status.virt, &e, sizeof(e));
			assert_true(drv_vring_add(&in.tp.vr[1], &seg, 1, NULL, 0, &in, 0) >= 0);
			tp_kick(&in.tp, 1);
			tp_wait(&in.tp, 1, &used);
		}
	}
	assert_int_equal(recv(ev.host, got, sizeof(got), MSG_DONTWAIT), 2 * sizeof(got[0]));
	assert_int_equal(got[0].type, EV_LED);
	assert_int_equal(got[0].code, LED_CAPSL);
	assert_int_equal(got[0].value, 1);
	assert_int_equal(got[1].type, EV_SYN);
	assert_int_equal(recv(ev.host, got, sizeof(got), MSG_DONTWAIT), -1);
	down();
}

/* A driver that comes is told how the device is. */
static void test_told_at_first(void **state)
{
	(void)state;
	a_touch_screen();
	up(TP_COPY, BUFS);
	expect(EV_ABS, ABS_MT_SLOT, 0);
	expect(EV_ABS, ABS_X, 7);
	expect(EV_ABS, ABS_Y, 0);
	expect(EV_SW, SW_LID, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	expect_nothing();
	/* The next one, too. */
	tp_reset(&in.tp);
	happens(EV_ABS, ABS_X, 9); /* which nobody hears */
	tp_start(&in.tp, TP_ALL, 64);
	post_all(BUFS);
	expect(EV_ABS, ABS_MT_SLOT, 0);
	expect(EV_ABS, ABS_X, 9);
	down();
}

static void finger(int32_t slot, int32_t id)
{
	happens(EV_ABS, ABS_MT_SLOT, slot);
	happens(EV_ABS, ABS_MT_TRACKING_ID, id);
}

static void test_touch(void **state)
{
	(void)state;
	a_touch_screen();
	up(TP_COPY, BUFS);
	skip_first();
	finger(1, 5);
	report();
	expect(EV_ABS, ABS_MT_SLOT, 1);
	expect(EV_ABS, ABS_MT_TRACKING_ID, 5);
	expect(EV_SYN, SYN_REPORT, 0);
	/* More fingers than are kept of. */
	finger(64, 6);
	finger(-1, 7);
	happens(EV_ABS, ABS_MT_POSITION_X, 1);
	report();
	expect(EV_SYN, SYN_REPORT, 0);
	expect_nothing();
	down();
}

/* What the guest knows after it took all. */
struct known {
	bool key[KEY_CNT], in_frame;
	int32_t abs[ABS_CNT], id[64];
	int32_t slot;
};

static struct known take_all(void)
{
	static struct known k;
	struct virtio_input_event e;

	memset(&k, 0, sizeof(k));
	memset(k.id, 0xff, sizeof(k.id));
	while (next(&e)) {
		uint16_t type = le16toh(e.type), code = le16toh(e.code);
		int32_t value = (int32_t)le32toh(e.value);

		k.in_frame = type != EV_SYN;
		if (type == EV_KEY)
			k.key[code] = value;
		if (type == EV_ABS)
			k.abs[code] = value;
		if (type == EV_ABS && code == ABS_MT_SLOT)
			k.slot = value;
		if (type == EV_ABS && code == ABS_MT_TRACKING_ID)
			k.id[k.slot] = value;
	}
	return k;
}

/* Events were lost on the host: how the device is now counts, and the rest of the report does not. */
static void test_lost_on_the_host(void **state)
{
	struct known k;

	(void)state;
	a_touch_screen();
	up(TP_COPY, BUFS);
	skip_first();
	finger(2, 9);
	report();
	expect(EV_ABS, ABS_MT_SLOT, 2);
	expect(EV_ABS, ABS_MT_TRACKING_ID, 9);
	expect(EV_SYN, SYN_REPORT, 0);
	happens(EV_SYN, SYN_DROPPED, 0);
	happens(EV_ABS, ABS_X, 4711);
	happens(EV_KEY, BTN_TOUCH, 1);
	expect_nothing();
	ev.state.abs[ABS_X] = 99;
	ev.state.abs[ABS_MT_SLOT] = 3;
	set(ev.state.key, BTN_TOUCH);
	report();
	k = take_all();
	assert_int_equal(k.abs[ABS_X], 99);
	assert_int_equal(k.id[2], -1);
	assert_int_equal(k.slot, 3);
	assert_true(k.key[BTN_TOUCH]);
	assert_false(k.in_frame);
	happens(EV_ABS, ABS_X, 100);
	report();
	expect(EV_ABS, ABS_X, 100);
	down();
}

/* The guest took none, and then all: no key hangs, no finger stays. */
static void test_guest_takes_nothing(void **state)
{
	struct known k;

	(void)state;
	a_touch_screen();
	up(TP_COPY, 0);
	for (unsigned i = 0; i < VG_LIMIT_INPUT_EVENTS; i++) {
		finger((int32_t)(i % 4), i % 8 < 4 ? (int32_t)i : -1);
		happens(EV_KEY, BTN_TOUCH, i % 2 == 0);
		happens(EV_ABS, ABS_X, (int32_t)i);
		report();
	}
	post_all(BUFS);
	k = take_all();
	assert_int_equal(k.abs[ABS_X], VG_LIMIT_INPUT_EVENTS - 1);
	assert_false(k.key[BTN_TOUCH]);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(k.id[i], -1);
	assert_false(k.in_frame);
	down();
}

/* It is pulled out: what it held is let go of, and the worker is to be replaced. */
static void test_unplugged(void **state)
{
	char text[256];
	struct known k;

	(void)state;
	a_keyboard();
	up(TP_COPY, BUFS);
	skip_first();
	happens(EV_KEY, KEY_A, 1);
	report();
	expect(EV_KEY, KEY_A, 1);
	expect(EV_SYN, SYN_REPORT, 0);
	assert_false(in.tp.dev.outdated);
	close(ev.host);
	k = take_all();
	assert_false(k.key[KEY_A]);
	assert_false(k.in_frame);
	assert_true(in.tp.dev.outdated);
	in.tp.dev.ops->describe(&in.tp.dev, text, sizeof(text));
	assert_non_null(strstr(text, "evdev there=no"));
	assert_false(in.tp.dev.status & VG_STATUS_NEEDS_RESET);
	ev.host = socket(AF_UNIX, SOCK_STREAM, 0); /* for down() */
	down();
}

/* It is pulled out while the press of a key waits for a buffer: its release comes behind that. */
static void test_unplugged_with_events_on_their_way(void **state)
{
	struct known k;

	(void)state;
	a_keyboard();
	up(TP_COPY, 2);
	skip_first();
	happens(EV_KEY, KEY_B, 1);
	report();
	happens(EV_KEY, KEY_A, 1);
	report();
	close(ev.host);
	k = take_all();
	assert_false(k.key[KEY_A]);
	assert_false(k.key[KEY_B]);
	assert_false(k.in_frame);
	ev.host = socket(AF_UNIX, SOCK_STREAM, 0); /* for down() */
	down();
}

/* Of a worker that died, or whose device was pulled out: a key that the guest believes held comes up. */
static void test_successor(void **state)
{
	bool up_told = false;
	struct virtio_input_event e;

	(void)state;
	a_keyboard();
	up(TP_COPY, 0);
	in.tp.dev.ops->resume(&in.tp.dev);
	post_all(BUFS);
	while (next(&e))
		up_told |= le16toh(e.type) == EV_KEY && le16toh(e.code) == KEY_A && e.value == 0;
	assert_true(up_told);
	down();
}

/* A display that the guest has, too, is none of its business. */
static void test_no_display(void **state)
{
	int pair[2];
	char c;

	(void)state;
	a_keyboard();
	up(TP_COPY, BUFS);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	in.tp.dev.ops->peer(&in.tp.dev, pair[0]);
	assert_int_equal(recv(pair[1], &c, 1, MSG_DONTWAIT), 0);
	close(pair[1]);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_says_what_the_host_says),
		cmocka_unit_test(test_configuration_errors),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_told_at_first),
		cmocka_unit_test(test_touch),
		cmocka_unit_test(test_lost_on_the_host),
		cmocka_unit_test(test_guest_takes_nothing),
		cmocka_unit_test(test_unplugged),
		cmocka_unit_test(test_unplugged_with_events_on_their_way),
		cmocka_unit_test(test_successor),
		cmocka_unit_test(test_no_display),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
