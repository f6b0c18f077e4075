/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_pace.c - how many requests are gathered, for drivers of all depths
 *
 * A driver that keeps a number of requests out, and a device that is done with all it took at once:
 * the driver submits one after the other, the device is told when as many are there as it asked
 * for, and looks when the time is over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/pace.h"

struct load {
	struct vg_pace pace;
	unsigned requests, kicks, expiries;
};

/* @depth requests come; the device takes them in turns. */
static void round_of(struct load *l, unsigned depth)
{
	unsigned there = depth;

	l->requests += depth;
	while (there) {
		unsigned ahead = l->pace.ahead ? l->pace.ahead : 1;

		if (there >= ahead) {
			/* It is told of the ahead-th, and finds all that came meanwhile. */
			l->kicks++;
			vg_pace_took(&l->pace, there, there, 128);
		} else {
			l->expiries++;
			vg_pace_took(&l->pace, there, there, 128);
			vg_pace_expired(&l->pace);
		}
		there = 0;
	}
}

static void a_deep_queue_is_told_once_a_round(void **state)
{
	struct load l = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		round_of(&l, 32);
	assert_true(l.kicks <= 1000);
	assert_true(l.pace.ahead > 24 && l.pace.ahead <= 48);
	assert_true(l.expiries < 20); /* it tries for more, and soon gives up */
	assert_true(l.expiries > 2);  /* but it tries */
}

static void a_shallow_queue_never_waits(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth < VG_PACE_START; depth++) {
		struct load l = { 0 };

		for (unsigned i = 0; i < 1000; i++)
			round_of(&l, depth);
		assert_int_equal(l.expiries, 0);
		assert_int_equal(l.kicks, 1000);
		assert_true(l.pace.ahead < 2);
	}
}

/* A driver that was busy and is not any more waits once or twice. */
static void it_calms_down(void **state)
{
	struct load l = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		round_of(&l, 32);
	l.expiries = 0;
	for (unsigned i = 0; i < 100; i++)
		round_of(&l, 1);
	assert_true(l.expiries <= 2);
	/* Nothing at all came: the same. */
	for (unsigned i = 0; i < 100; i++)
		round_of(&l, 32);
	vg_pace_expired(&l.pace);
	vg_pace_expired(&l.pace);
	assert_true(l.pace.ahead < 2);
}

static void no_more_than_half_the_ring(void **state)
{
	struct vg_pace p = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		vg_pace_took(&p, 1000, 1000, 8);
	assert_int_equal(p.ahead, 8);
	p = (struct vg_pace){ 0 };
	vg_pace_took(&p, 2, 2, 1); /* a ring of two */
	vg_pace_took(&p, 2, 8, 1);
	assert_true(p.ahead < 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_deep_queue_is_told_once_a_round),
		cmocka_unit_test(a_shallow_queue_never_waits),
		cmocka_unit_test(it_calms_down),
		cmocka_unit_test(no_more_than_half_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
