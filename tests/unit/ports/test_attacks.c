/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_attacks.c - the attacks of tests/driver/attacks.h, on the fake host
 *
 * The same functions that tests/xen/t/46-attacks.t runs in a real guest: here
 * each is a test of its own, against the daemon under sanitizers. A second
 * guest must not notice; at the end nothing is mapped, bound or left running.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/driver/attacks.h"
#include "tests/rigs/daemon_rig.h"

#define SPEC_QUEUES ",queues=4,queue-size=1024"

enum { STORM_MS = 300 };

static const struct attack *current;

static int begin(void **state)
{
	char spec[300];
	struct rig *r;

	current = *state;
	rig_begin(state);
	r = *state;
	rig_connected(r, 1);
	rig_domain(r, 0);
	rig_image(r->guest[0].image, RIG_SECTORS, r->guest[0].id);
	snprintf(spec, sizeof(spec), "blk,target=%s" SPEC_QUEUES, r->guest[0].image);
	rig_nodes(r, 0, spec);
	return 0;
}

static void run(void **state)
{
	struct rig *r = *state;
	struct attack_on a;
	int rc;

	rc = attack_run(current, drv_xen_of(r->guest[0].dom), RIG_ID, STORM_MS, &a);
	if (rc)
		fail_msg("%s", a.why);
	if (a.note[0])
		printf("%s: %s\n", current->name, a.note);
	rig_reads(&r->guest[1], 77);
	assert_int_equal(drv_dev_close(r->guest[1].dev), 0);
	assert_false(rig_logged(r, "was killed by"));
}

int main(void)
{
	struct CMUnitTest tests[64];
	unsigned int i;

	for (i = 0; i < n_attacks; i++)
		tests[i] = (struct CMUnitTest){ .name = attacks[i].name,
						.test_func = run,
						.setup_func = begin,
						.teardown_func = rig_end,
						.initial_state = (void *)(uintptr_t)&attacks[i] };
	return _cmocka_run_group_tests("attacks", tests, n_attacks, NULL, NULL);
}
