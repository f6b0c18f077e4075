// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_can_firewall.c - allow lists, limits and bus load, and the candump format
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/devices/can/firewall.h"
#include "backend/devices/can/log.h"

#define SECOND 1000000000LL

static const struct vg_param_def defs[] = { CAN_FIREWALL_PARAMS, { 0 } };

static struct can_firewall fw;
static struct vg_err err;

static int init(const char *spec)
{
	struct vg_params p;
	int ret;

	err.text[0] = '\0';
	assert_int_equal(vg_params_parse(spec, &p, &err), 0);
	assert_int_equal(vg_params_check(&p, defs, NULL, &err), 0);
	ret = can_firewall_init(&fw, &p, defs, &err);
	fw.bitrate = 500000;
	return ret;
}

static enum can_verdict pass(canid_t id, int64_t now)
{
	const struct can_item item = { .f = { .can_id = id, .len = 8 } };

	return can_firewall_pass(&fw, &fw.tx, &item, now);
}

static bool lets(canid_t id)
{
	return pass(id, 0) == CAN_PASS;
}

static void test_lists(void **state)
{
	(void)state;
	assert_int_equal(init("can"), 0);
	assert_true(lets(0) && lets(0x7ff) && lets(CAN_EFF_FLAG | 0x1fffffff));
	assert_int_equal(init("can,tx-allow=none"), 0);
	assert_false(lets(0) || lets(0x7ff) || lets(CAN_EFF_FLAG));
	assert_int_equal(init("can,tx-allow=123"), 0);
	assert_true(lets(0x123));
	assert_false(lets(0x122) || lets(CAN_EFF_FLAG | 0x123));
	assert_true(lets(0x123 | CAN_RTR_FLAG)); /* by id; RTR is another switch */
	assert_int_equal(init("can,tx-allow=100:7f0+18DAF100:1fffff00"), 0);
	assert_true(lets(0x100) && lets(0x10f) && lets(CAN_EFF_FLAG | 0x18daf1ff));
	assert_false(lets(0x110) || lets(CAN_EFF_FLAG | 0x18daf200) || lets(CAN_EFF_FLAG | 0x100));
	assert_int_equal(init("can,tx-allow=000:0"), 0); /* every standard id, no extended one */
	assert_true(lets(0) && lets(0x7ff));
	assert_false(lets(CAN_EFF_FLAG));
	assert_int_equal(init("can,tx-allow=00000000:0"), 0);
	assert_true(lets(CAN_EFF_FLAG | 0x1234567));
	assert_false(lets(0x123));
	assert_int_equal(fw.tx.refused[CAN_REFUSED_ID], 1);
	assert_int_equal(fw.tx.passed, 1);
}

static void test_bad_lists(void **state)
{
	static const char *const bad[] = {
		"can,tx-allow=",	  "can,tx-allow=1",	      "can,tx-allow=1234",
		"can,tx-allow=800",	  "can,tx-allow=20000000",    "can,tx-allow=xyz",
		"can,tx-allow=123:",	  "can,tx-allow=123:1234",    "can,tx-allow=123:fff",
		"can,tx-allow=123+",	  "can,tx-allow=+123",	      "can,tx-allow=123++124",
		"can,rx-allow=123:7f0:1", "can,rx-allow=ffffffff",    "can,rx-allow=anyany",
		"can,rx-allow=1 3",	  "can,rx-allow=00000000:-1",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (init(bad[i]) != -EINVAL || !err.text[0])
			fail_msg("%s was taken", bad[i]);
	}
}

static void test_too_many_rules(void **state)
{
	char list[2000];
	struct can_firewall before;
	size_t at = 0;

	(void)state;
	assert_int_equal(init("can"), 0);
	for (unsigned i = 0; i < CAN_RULES_MAX; i++)
		at += (size_t)sprintf(list + at, "%s%03x", i ? "+" : "", i);
	assert_int_equal(can_firewall_set(&fw, "tx-allow", list, &err), 0);
	assert_true(lets(CAN_RULES_MAX - 1));
	assert_false(lets(CAN_RULES_MAX));
	before = fw;
	sprintf(list + at, "+7ff");
	assert_int_equal(can_firewall_set(&fw, "tx-allow", list, &err), -E2BIG);
	assert_memory_equal(&before, &fw, sizeof(fw)); /* all or nothing */
}

static void test_rate(void **state)
{
	unsigned n = 0;
	int64_t now = 7 * SECOND;

	(void)state;
	assert_int_equal(init("can,tx-rate=1000"), 0);
	/* A minute of ten times that rate. */
	for (unsigned i = 0; i < 600000; i++, now += SECOND / 10000)
		n += pass(1, now) == CAN_PASS;
	assert_in_range(n, 60000, 60102); /* and a tenth of a second at once */
	assert_int_equal(fw.tx.refused[CAN_REFUSED_RATE], 600000 - n);
	/* Silence does not add up to more than the burst. */
	now += 3600 * SECOND;
	for (n = 0; pass(1, now) == CAN_PASS; n++)
		;
	assert_int_equal(n, 100);
	/* A rate below one frame in a tenth of a second still lets frames pass. */
	assert_int_equal(can_firewall_set(&fw, "tx-rate", "1", &err), 0);
	now += SECOND;
	for (unsigned i = n = 0; i < 1000; i++, now += SECOND / 100)
		n += pass(1, now) == CAN_PASS;
	assert_in_range(n, 10, 11);
	/* A clock that stands still, or a bucket that was never used, is no reason to refuse. */
	assert_int_equal(can_firewall_set(&fw, "tx-rate", "0", &err), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(pass(1, 0), CAN_PASS);
}

static void test_load(void **state)
{
	struct can_item item = { .f = { .can_id = 1, .len = 8 } };
	uint64_t ns = can_frame_ns(&item, 500000, 2000000, true);
	uint64_t used = 0;
	int64_t now = SECOND;

	(void)state;
	assert_int_equal(init("can,tx-load=30"), 0);
	for (unsigned i = 0; i < 200000; i++, now += SECOND / 20000)
		used += can_firewall_pass(&fw, &fw.tx, &item, now) == CAN_PASS ? ns : 0;
	/* 30 % of ten seconds, and a tenth of a second's worth at once. */
	assert_in_range(used, 3 * SECOND, 3 * SECOND + SECOND * 3 / 100 + 2 * (int64_t)ns);
	assert_true(fw.tx.refused[CAN_REFUSED_LOAD] > 0);
	/* A load smaller than one frame in the burst still lets frames pass. */
	fw.bitrate = 10000;
	assert_int_equal(can_firewall_set(&fw, "tx-load", "1", &err), 0);
	used = 0;
	for (unsigned i = 0; i < 10000; i++, now += SECOND / 100)
		used += can_firewall_pass(&fw, &fw.tx, &item, now) == CAN_PASS ? 1 : 0;
	assert_in_range(used, 70, 90); /* 1 % of 100 s, at 13 ms a frame */
}

/* Bits by hand, see can_frame_ns(). */
static void test_frame_time(void **state)
{
	struct can_item i = { .f = { .can_id = 1, .len = 0 } };

	(void)state;
	assert_int_equal(can_frame_ns(&i, 1000000, 0, true), 55 * 1000); /* 47 + 8 stuff bits */
	i.f.len = 8;
	assert_int_equal(can_frame_ns(&i, 1000000, 0, true), 135 * 1000); /* 111 + 24 */
	i.f.can_id |= CAN_EFF_FLAG;
	assert_int_equal(can_frame_ns(&i, 1000000, 0, true), 160 * 1000); /* 131 + 29 */
	i.f.can_id |= CAN_RTR_FLAG; /* no data, whatever the length says */
	assert_int_equal(can_frame_ns(&i, 1000000, 0, true), 80 * 1000); /* 67 + 13 */
	i.fd = true;
	i.f.can_id = 1;
	i.f.len = 64;
	/* 17 + 4 + 13 slow; 5 + 512, 129 stuff bits, 32 fast. */
	assert_int_equal(can_frame_ns(&i, 1000000, 4000000, true), 34 * 1000 + 678 * 250);
	assert_int_equal(can_frame_ns(&i, 1000000, 4000000, false), (34 + 678) * 1000);
}

static void test_set(void **state)
{
	(void)state;
	assert_int_equal(init("can"), 0);
	assert_int_equal(can_firewall_set(&fw, "bitrate", "1", &err), -ENOENT);
	assert_int_equal(can_firewall_set(&fw, "tx-load", "101", &err), -EINVAL);
	assert_int_equal(can_firewall_set(&fw, "tx-rate", "-1", &err), -EINVAL);
	assert_int_equal(can_firewall_set(&fw, "fd", "maybe", &err), -EINVAL);
	assert_int_equal(can_firewall_set(&fw, "fd", "off", &err), 0);
	assert_false(fw.fd);
	assert_int_equal(can_firewall_set(&fw, "rx-load", "7", &err), 0);
	assert_int_equal(fw.rx.load, 7);
	assert_int_equal(can_firewall_set(&fw, "rx-rate", "9", &err), 0);
	assert_int_equal(fw.rx.rate, 9);
}

static void line_is(const struct can_item *item, char way, const char *want)
{
	const struct timespec when = { 1712345678, 4200999 };
	char got[CAN_LOG_MAX];

	assert_int_equal(can_log_line(got, &when, "can0", item, way), strlen(want));
	assert_string_equal(got, want);
}

static void test_candump_format(void **state)
{
	struct can_item i = { .f = { .can_id = 0x1a, .len = 2, .data = { 0xde, 0xad } } };

	(void)state;
	line_is(&i, 'T', "(1712345678.004200) can0 01A#DEAD T");
	i.f.can_id |= CAN_EFF_FLAG;
	line_is(&i, 'R', "(1712345678.004200) can0 0000001A#DEAD R");
	i.f.can_id = 0x7ff | CAN_RTR_FLAG;
	line_is(&i, 'R', "(1712345678.004200) can0 7FF#R2 R");
	i.f.len = 0;
	line_is(&i, 'R', "(1712345678.004200) can0 7FF#R R");
	i = (struct can_item){ .f = { .can_id = 1, .len = 0, .flags = CANFD_FDF | CANFD_BRS },
			       .fd = true };
	line_is(&i, 'T', "(1712345678.004200) can0 001##1 T");
	i = (struct can_item){ .f = { .can_id = CAN_ERR_FLAG | 0x40, .len = 1 } };
	line_is(&i, 'R', "(1712345678.004200) can0 20000040#00 R");
}

static void test_candump_longest(void **state)
{
	const struct timespec when = { 9999999999, 999999999 };
	struct can_item i = { .f = { .can_id = CAN_EFF_FLAG | 0x1fffffff, .len = 64 }, .fd = true };
	char got[CAN_LOG_MAX];

	(void)state;
	memset(i.f.data, 0xff, 64);
	assert_in_range(can_log_line(got, &when, "abcdefghijklmno", &i, 'T'), 1, CAN_LOG_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_bad_lists),
		cmocka_unit_test(test_too_many_rules),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_frame_time),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_candump_format),
		cmocka_unit_test(test_candump_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
