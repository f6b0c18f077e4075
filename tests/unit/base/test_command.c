// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_command.c - programs of the host's: how they are run, and what is said of those that fail
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/command.h"
#include "backend/base/loop.h"
#include "backend/base/container.h"

static struct vg_command c;
static struct vg_err err;
static char dir[64];

static int begin(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/vgrant-command-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
	char text[96];

	(void)state;
	snprintf(text, sizeof(text), "rm -r %s", dir);
	return system(text);
}

/* `sh -c TEXT`, for @limit_s seconds, with HERE for the test's folder */
static int run(const char *text, unsigned limit_s)
{
	err.text[0] = '\0';
	vg_command_init(&c, "test", "/bin/sh");
	vg_command_arg(&c, "-c");
	vg_command_arg(&c, text);
	vg_command_env(&c, "HERE", dir);
	return vg_command_run(&c, limit_s, &err);
}

static void says(const char *part)
{
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

/* What the file @name in the test's folder has. */
static const char *file(const char *name)
{
	static char text[4096];
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static void succeeds(void **state)
{
	(void)state;
	assert_int_equal(run("echo is >$HERE/is; echo nothing is wrong >&2", 10), 0);
	assert_string_equal(file("is"), "is\n");
	assert_string_equal(err.text, "");
}

/* @n is ignored, also where it is one of the two that the C library keeps for itself. */
static void ignore(int n)
{
	struct {
		void (*handler)(int);
		unsigned long rest[7];
	} a = { .handler = SIG_IGN };

	assert_return_code(syscall(SYS_rt_sigaction, n, &a, NULL, 8), errno);
}

/* Its environment is what was given, its descriptors are three, its signals are as they should be. */
static void is_alone(void **state)
{
	int fd = open("/dev/null", O_RDONLY);
	sigset_t all, before;

	(void)state;
	assert_true(fd > 2);
	assert_int_equal(setenv("SECRET", "1", 1), 0);
	for (int n = 32; n <= 64; n++)
		ignore(n);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	assert_int_equal(run("env | cut -d= -f1 | sort | tr '\\n' ' ' >$HERE/env; pwd >>$HERE/env; "
			     "for n in 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$n ] || "
			     "readlink /proc/$$/fd/$n >>$HERE/env; done; "
			     "grep -E 'Sig(Blk|Ign)' /proc/self/status >$HERE/sig",
			     10),
			 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
	close(fd);
	assert_string_equal(file("env"), "HERE LANG PATH PWD /\n");
	assert_string_equal(file("sig"), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void failures(void **state)
{
	(void)state;
	assert_int_equal(run("echo first >&2; echo 'the bridge is gone' >&2; echo >&2; exit 3", 10),
			 -EIO);
	says("/bin/sh -c failed with status 3: the bridge is gone");
	assert_int_equal(run("exit 7", 10), -EIO);
	assert_string_equal(err.text, "/bin/sh -c failed with status 7");
	assert_int_equal(run("printf 'red\\033[31m\\athe end' >&2; exit 1", 10), -EIO);
	says("status 1: red?[31m?the end");
	assert_int_equal(run("echo why >&2; kill -9 $$", 10), -EIO);
	says("killed by signal 9: why");
	vg_command_init(&c, "test", "/nonexistent/script");
	vg_command_arg(&c, "add");
	assert_int_equal(vg_command_run(&c, 10, &err), -EIO);
	says("/nonexistent/script add failed with status 127: No such file or directory");
}

/* A pipe that nobody read would hold it up. Of what it says the end counts. */
static void says_much(void **state)
{
	(void)state;
	assert_int_equal(
		run("yes 'a line of many' | head -c 1000000 >&2; printf '\\nthe end' >&2; exit 1",
		    10),
		-EIO);
	says("status 1: the end");
	assert_int_equal(run("yes | tr -d '\\n' | head -c 100000 >&2; exit 1", 10), -EIO);
	says("status 1: yyyyyyyyyy");
}

/* It is killed, with what it has started; whoever has left its group is not waited for. */
static void hangs(void **state)
{
	int64_t before = vg_now_ns();
	pid_t pid;

	(void)state;
	assert_int_equal(run("echo begun >&2; sleep 300 & echo $! >$HERE/pid; wait", 1),
			 -ETIMEDOUT);
	says("/bin/sh -c did not end within 1 s and was killed: begun");
	assert_true(vg_now_ns() - before < 60 * NS_PER_S);
	pid = (pid_t)strtol(file("pid"), NULL, 10);
	assert_true(pid > 1);
	/* Somebody else's child by now, who may not have looked at it yet. */
	for (int i = 0; i < 1000; i++) {
		char path[64], stat[256] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, stat, sizeof(stat) - 1) < 0 || strstr(stat, ") Z"))
			stat[0] = '\0';
		if (fd >= 0)
			close(fd);
		if (!stat[0])
			return;
		usleep(10000);
	}
	fail_msg("process %d lives", (int)pid);
}

/* A daemon that it leaves behind has its stderr, and does not hold anybody up. */
static void leaves_somebody(void **state)
{
	int64_t before = vg_now_ns();

	(void)state;
	assert_int_equal(run("sleep 300 & echo $! >$HERE/pid; exit 0", 100), 0);
	assert_true(vg_now_ns() - before < 90 * NS_PER_S);
	assert_int_equal(kill((pid_t)strtol(file("pid"), NULL, 10), SIGKILL), 0);
}

/* It dies with whoever runs it: no script goes on behind a worker that was killed. */
static void dies_with_us(void **state)
{
	pid_t runner = fork(), script;
	int status;

	(void)state;
	if (runner == 0) {
		run("echo $$ >$HERE/script.new; mv $HERE/script.new $HERE/script; exec sleep 300",
		    100);
		_exit(0);
	}
	for (int i = 0; i < 1000 && !*file("script"); i++)
		usleep(10000);
	script = (pid_t)strtol(file("script"), NULL, 10);
	assert_true(script > 1);
	assert_int_equal(kill(script, 0), 0);
	kill(runner, SIGKILL);
	assert_int_equal(waitpid(runner, &status, 0), runner);
	for (int i = 0; i < 1000; i++) {
		char path[64], text[256] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/stat", (int)script);
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || strstr(text, ") Z")) {
			if (fd >= 0)
				close(fd);
			return;
		}
		close(fd);
		usleep(10000);
	}
	fail_msg("the script lives");
}

static void too_much(void **state)
{
	char text[VG_COMMAND_TEXT];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	vg_command_init(&c, "test", "/bin/true");
	vg_command_env(&c, "X", text);
	assert_int_equal(vg_command_run(&c, 10, &err), -E2BIG);
	says("too long");
	vg_command_init(&c, "test", "/bin/true");
	for (int i = 0; i < VG_COMMAND_ENV; i++)
		vg_command_env(&c, "X", "");
	assert_int_equal(vg_command_run(&c, 10, &err), -E2BIG);
	vg_command_init(&c, "test", "/bin/true");
	for (int i = 0; i < VG_COMMAND_ARGS; i++)
		vg_command_arg(&c, "X");
	assert_int_equal(vg_command_run(&c, 10, &err), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(succeeds, begin, end),
		cmocka_unit_test_setup_teardown(is_alone, begin, end),
		cmocka_unit_test_setup_teardown(failures, begin, end),
		cmocka_unit_test_setup_teardown(says_much, begin, end),
		cmocka_unit_test_setup_teardown(hangs, begin, end),
		cmocka_unit_test_setup_teardown(leaves_somebody, begin, end),
		cmocka_unit_test_setup_teardown(dies_with_us, begin, end),
		cmocka_unit_test_setup_teardown(too_much, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
