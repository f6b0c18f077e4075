// SPDX-License-Identifier: GPL-2.0-or-later
/* Which processors a worker runs on, and how readily. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/schedule.h"

static int check(const char *spec, struct vg_err *err)
{
	struct vg_params params;

	assert_int_equal(vg_params_parse(spec, &params, err), 0);
	return vg_schedule_check(&params, err);
}

static void test_words(void **state)
{
	static const char *const good[] = {
		"blk",
		"blk,cpus=0",
		"blk,cpus=0-1+3",
		"blk,cpus=0-1\\,3",
		"blk,cpus=0 2 3",
		"blk,nice=-20",
		"blk,nice=19",
		"blk,nice=0",
		"blk,sched=idle",
		"blk,sched=batch",
		"blk,sched=other",
	};
	static const char *const bad[] = {
		"blk,cpus=",	   "blk,cpus=a",
		"blk,cpus=1-",	   "blk,cpus=3-1",
		"blk,cpus=0+",	   "blk,cpus=100000",
		"blk,cpus=0;1",	   "blk,cpus=18446744073709551616",
		"blk,nice=20",	   "blk,nice=-21",
		"blk,nice=",	   "blk,nice=-",
		"blk,nice=1.5",	   "blk,sched=fifo",
		"blk,sched=rr",	   "blk,sched=",
		"blk,nice=--1",	   "blk,cpus=-1",
		"blk,sched=idle2",
	};
	struct vg_err err;

	(void)state;
	for (unsigned i = 0; i < COUNT(good); i++) {
		if (check(good[i], &err) < 0)
			fail_msg("%s: %s", good[i], err.text);
	}
	for (unsigned i = 0; i < COUNT(bad); i++) {
		if (check(bad[i], &err) != -EINVAL)
			fail_msg("%s is taken", bad[i]);
		if (!strstr(bad[i], ",") || strncmp(err.text, strchr(bad[i], ',') + 1, 4) != 0)
			fail_msg("%s: \"%s\" does not begin with the key", bad[i], err.text);
	}
}

/* What a process is after it: what was not said is as before. */
static int applied(const char *spec, unsigned cpu)
{
	struct vg_params params;
	struct vg_err err;
	cpu_set_t set;

	if (vg_params_parse(spec, &params, &err) < 0 || vg_schedule_apply(&params, &err) < 0)
		return 1;
	if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) != 1 ||
	    !CPU_ISSET(cpu, &set))
		return 2;
	return sched_getscheduler(0) != SCHED_BATCH || getpriority(PRIO_PROCESS, 0) != 19 ? 3 : 0;
}

static void test_applied(void **state)
{
	struct vg_params params;
	struct vg_err err;
	unsigned cpu = 0;
	cpu_set_t set;
	char spec[64];
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	snprintf(spec, sizeof(spec), "blk,cpus=%u,nice=19,sched=batch", cpu);
	pid = fork();
	if (pid == 0)
		_exit(applied(spec, cpu));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	snprintf(spec, sizeof(spec), "blk,cpus=%d", CPU_SETSIZE - 1);
	assert_int_equal(vg_params_parse(spec, &params, &err), 0);
	assert_int_equal(vg_schedule_apply(&params, &err), -EINVAL);
	assert_non_null(strstr(err.text, "has none of these processors"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_applied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
