// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_pace.c - how many requests are gathered, for drivers of all depths
 *
 * A driver that keeps a number of requests out, each of which takes `gap` to come, and a device that
 * is done with all it took at once: it is told when as many are there as it asked for, and looks when
 * the time is over. Time is counted, not spent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/base/container.h"
#include "backend/virtio/pace.h"

#define US    1000ll
#define LIMIT (250 * US)

struct load {
	struct vg_pace pace;
	int64_t now, limit, gap;
	int64_t waited; /* ns in which the driver could do nothing */
	unsigned requests, kicks, expiries;
};

/* @depth requests come, and are taken at once. */
static void round_of(struct load *l, unsigned depth)
{
	unsigned ahead = l->pace.ahead;
	int64_t wait = vg_pace_wait(&l->pace, l->limit), busy = depth * l->gap;
	bool late = ahead > 1 && (depth < ahead || ahead * l->gap > wait);

	assert_true(wait > 0 && wait <= l->limit);
	l->requests += depth;
	if (late) {
		/* What came meanwhile; the others come afterwards. */
		unsigned n = wait < busy ? (unsigned)(wait / l->gap) : depth;

		l->expiries++;
		l->now += wait;
		l->waited += wait > busy ? wait - busy : 0;
		vg_pace_took(&l->pace, n, 128, l->now, l->limit, true);
		if (n == depth)
			return;
		depth -= n;
		l->now += depth * l->gap;
	} else {
		/* It is told of the ahead-th, and finds all that came meanwhile. */
		l->now += busy;
	}
	l->kicks++;
	vg_pace_took(&l->pace, depth, 128, l->now, l->limit, false);
}

static struct load load_of(unsigned depth, int64_t gap, int64_t limit, unsigned rounds)
{
	struct load l = { .now = 1000000 * US, .limit = limit, .gap = gap };

	while (rounds--)
		round_of(&l, depth);
	return l;
}

static void a_deep_queue_is_told_once_a_round(void **state)
{
	/* A limit far above what is needed costs nothing: the first two, beside the third. */
	static const struct {
		int64_t gap, limit;
	} cases[] = { { 5 * US, 500000 * US }, { 1000 * US, 500000 * US }, { 5 * US, LIMIT } };

	(void)state;
	for (unsigned i = 0; i < COUNT(cases); i++) {
		struct load l = load_of(32, cases[i].gap, cases[i].limit, 1000);

		assert_true(l.kicks <= 1000);
		/* Half of them, but for a try: the driver makes some while others are served. */
		assert_true(l.pace.ahead >= VG_PACE_PROBE && l.pace.ahead <= 48);
		assert_true(l.expiries > 2);  /* it tries for more, */
		assert_true(l.expiries < 12); /* and tries ever less: see below */
		assert_true(l.waited < 1000 * 32 * cases[i].gap / 25);
	}
}

/* Tries for more end in vain here for ever: their number grows as the logarithm of time. */
static void it_learns_from_what_fails(void **state)
{
	struct load shorter = load_of(32, 5 * US, 10 * LIMIT, 10000);
	struct load longer = load_of(32, 5 * US, 10 * LIMIT, 40000);

	(void)state;
	assert_true(longer.expiries - shorter.expiries <= 40000 / VG_PACE_CALM_MAX + 1);
	/* A driver that has more out from now on is found to. */
	for (unsigned i = 0; i < 4 * VG_PACE_CALM_MAX; i++)
		round_of(&longer, 120);
	assert_true(longer.pace.ahead >= 60);
}

/* It is tried whether a queue is deep, ever less often; in between nothing waits. */
static void a_shallow_queue_hardly_waits(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth < 2 * VG_PACE_LEAST; depth++) {
		struct load l = load_of(depth, 5 * US, LIMIT, 10000);

		assert_true(l.expiries > 2);
		assert_true(l.expiries < 16); /* 10000 turns, doubled from VG_PACE_CALM on */
		assert_true(l.pace.ahead < 2 || l.pace.worked);
		assert_true(l.waited <= 16 * LIMIT);
	}
}

/* Of one that keeps 24 out it is found that these are all, and half is asked for. */
static void half_is_asked_for(void **state)
{
	struct load l = load_of(24, 5 * US, LIMIT, 1000);

	(void)state;
	assert_int_equal(l.pace.depth, 24);
	assert_true(l.pace.ahead == 12 || l.pace.worked == 12);
}

/* A driver that was busy and is not any more waits once for as long as it had worked; and then for the
 * tries, each for some of its own requests. */
static void it_calms_down(void **state)
{
	struct load l = load_of(32, 5 * US, 500000 * US, 100);

	(void)state;
	l.expiries = 0;
	l.waited = 0;
	for (unsigned i = 0; i < 100; i++)
		round_of(&l, 1);
	assert_true(l.expiries <= 5); /* 8 + 16 + 32 turns and the next is more than 100 */
	assert_true(l.waited < 5 * 4 * 48 * l.gap);
	/* Nothing at all came: the same. */
	for (unsigned i = 0; i < 100; i++)
		round_of(&l, 32);
	for (unsigned i = 0; i < 2; i++)
		vg_pace_took(&l.pace, 0, 128, l.now += LIMIT, l.limit, true);
	assert_true(l.pace.ahead < 2);
}

/* Requests that come too slowly for the limit are not waited for beyond it. */
static void the_limit_holds(void **state)
{
	struct load l = load_of(32, 50 * US, LIMIT, 1000);

	(void)state;
	assert_true(l.pace.ahead < 2 ||
		    l.pace.worked); /* so few come in time that each is told of */
	assert_true(vg_pace_wait(&l.pace, LIMIT) <= LIMIT);
}

/* Told of all that it asked for, but looks late, because it was not run: this is no failure. */
static void late_but_all_there(void **state)
{
	struct load l = load_of(32, 5 * US, LIMIT, 100);
	unsigned ahead = l.pace.ahead;

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		vg_pace_took(&l.pace, 32, 128, l.now += 10 * LIMIT, l.limit, true);
	assert_true(l.pace.ahead >= ahead);
}

static void no_more_than_half_the_ring(void **state)
{
	struct vg_pace p = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		vg_pace_took(&p, 1000, 8, i, LIMIT, false);
	assert_int_equal(p.ahead, 8);
	p = (struct vg_pace){ 0 };
	vg_pace_took(&p, 2, 1, 1, LIMIT, false); /* a ring of two */
	vg_pace_took(&p, 2, 1, 2, LIMIT, false);
	assert_true(p.ahead < 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_deep_queue_is_told_once_a_round),
		cmocka_unit_test(it_learns_from_what_fails),
		cmocka_unit_test(a_shallow_queue_hardly_waits),
		cmocka_unit_test(half_is_asked_for),
		cmocka_unit_test(it_calms_down),
		cmocka_unit_test(the_limit_holds),
		cmocka_unit_test(late_but_all_there),
		cmocka_unit_test(no_more_than_half_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
