// SPDX-License-Identifier: GPL-2.0-or-later
/* test_spin.c - how long a ring is looked at, for drivers of all speeds. Time is counted, not spent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/virtio/spin.h"

#define US   1000ll
#define MOST (100 * US)

struct load {
	struct vg_spin spin;
	int64_t now, looked; /* ns */
	unsigned seen, told; /* requests that were found by looking, and that were notified */
};

/* An answer, and the next request @reply ns after it. */
static void round_of(struct load *l, int64_t reply)
{
	int64_t window;

	vg_spin_answered(&l->spin, l->now);
	window = vg_spin_for(&l->spin, MOST);
	assert_true(window >= 0 && window <= MOST);
	if (window && reply <= window) {
		vg_spin_found(&l->spin);
		l->seen++;
		l->looked += reply;
	} else {
		if (window)
			vg_spin_missed(&l->spin);
		l->told++;
		l->looked += window;
	}
	l->now += reply;
	vg_spin_came(&l->spin, l->now, MOST);
}

static struct load load_of(int64_t reply, unsigned rounds)
{
	struct load l = { .now = US };

	while (rounds--)
		round_of(&l, reply);
	return l;
}

static void a_quick_driver_is_seen(void **state)
{
	struct load l = load_of(10 * US, 1000);

	(void)state;
	assert_int_equal(l.told, 1); /* the first, of whose turnaround nothing was known */
	assert_int_equal(l.seen, 999);
}

static void a_slow_one_is_told_of(void **state)
{
	struct load l = load_of(MOST + 1, 1000);

	(void)state;
	assert_int_equal(l.seen, 0);
	assert_int_equal(l.looked, 0);
}

/* One that has become idle is looked at in vain once. */
static void it_ends_with_the_driver(void **state)
{
	struct load l = load_of(10 * US, 1000);
	int64_t before = l.looked;

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		round_of(&l, 1000 * MOST);
	assert_true(l.looked - before <= MOST);
	/* And is seen again when it is quick again. */
	l.seen = 0;
	for (unsigned i = 0; i < 100; i++)
		round_of(&l, 10 * US);
	assert_true(l.seen > 80);
}

/* One that is quick now and then is looked at ever less: what is in vain stays little. */
static void vain_looks_become_rare(void **state)
{
	struct load l = { .now = US };

	(void)state;
	for (unsigned i = 0; i < 100000; i++)
		round_of(&l, i % 8 ? 90 * US : 5 * MOST);
	assert_true(l.looked < l.now / 2);
}

/* Another processor's counter may be behind. */
static void time_that_runs_back_is_nothing(void **state)
{
	struct load l = load_of(10 * US, 10);
	int64_t reply = l.spin.reply;

	(void)state;
	vg_spin_answered(&l.spin, l.now);
	vg_spin_came(&l.spin, l.now - 50 * US, MOST);
	assert_int_equal(l.spin.reply, reply);
}

static void words(void **state)
{
	enum vg_spin_policy p = VG_SPIN_ALWAYS;

	(void)state;
	assert_int_equal(vg_spin_parse("off", &p), 0);
	assert_int_equal(p, VG_SPIN_OFF);
	assert_int_equal(vg_spin_parse("auto", &p), 0);
	assert_int_equal(p, VG_SPIN_AUTO);
	assert_int_equal(vg_spin_parse("always", &p), 0);
	assert_int_equal(p, VG_SPIN_ALWAYS);
	assert_int_equal(vg_spin_parse("", &p), -EINVAL);
	assert_int_equal(vg_spin_parse("autox", &p), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quick_driver_is_seen),
		cmocka_unit_test(a_slow_one_is_told_of),
		cmocka_unit_test(it_ends_with_the_driver),
		cmocka_unit_test(vain_looks_become_rare),
		cmocka_unit_test(time_that_runs_back_is_nothing),
		cmocka_unit_test(words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
