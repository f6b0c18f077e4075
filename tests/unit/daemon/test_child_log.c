// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_child_log.c - what a process of ours says, and what of our stderr it gets to say it
 *
 * stderr is one thing after the other here: each test puts its own in place, and the first one back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/daemon/child_log.h"

static int own_stderr;

static int begin(void **state)
{
	(void)state;
	own_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	return own_stderr < 0;
}

static int end(void **state)
{
	(void)state;
	return dup2(own_stderr, STDERR_FILENO) < 0 || close(own_stderr) < 0;
}

static void stderr_is(int fd)
{
	assert_true(fd >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
}

/* Return: whether a process would get a pipe in place of @fd, which is closed. */
static bool piped(int fd, bool flags)
{
	struct vg_log_pipe l;
	int other;

	stderr_is(fd);
	close(fd);
	assert_int_equal(vg_log_pipe_make(flags, &l, &other), 0);
	assert_int_equal(l.fd >= 0, other >= 0);
	if (other >= 0)
		close(other);
	vg_log_pipe_end(&l);
	return other >= 0;
}

static int file(void)
{
	char name[] = "log.XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	return fd;
}

static int terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), fd;

	assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	fd = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	close(master);
	return fd;
}

/* One end of two; the other is closed. */
static int one_of(const int fds[2], unsigned which)
{
	close(fds[!which]);
	return fds[which];
}

static void who_gets_ours(void **state)
{
	int fds[2];

	(void)state;
	assert_true(piped(file(), false));
	assert_true(piped(terminal(), false));
	assert_true(piped(open("/dev/null", O_RDWR | O_CLOEXEC), false));
	assert_int_equal(pipe(fds), 0);
	assert_false(piped(one_of(fds, 1), false));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_false(piped(one_of(fds, 0), false));
	/* A FIFO that could be read, too: others' lines. */
	assert_int_equal(mkfifo("log.fifo", 0600), 0);
	assert_true(piped(open("log.fifo", O_RDWR | O_CLOEXEC), false));
	unlink("log.fifo");
	/* One who may change flags changes them for all. */
	assert_int_equal(pipe(fds), 0);
	assert_true(piped(one_of(fds, 1), true));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_true(piped(one_of(fds, 0), true));
	/* And without a stderr there is nothing to be had. */
	close(STDERR_FILENO);
	{
		struct vg_log_pipe l;
		int other;

		assert_int_equal(vg_log_pipe_make(true, &l, &other), 0);
		assert_int_equal(other, -1);
	}
}

/* A pipe for a process, whose end is returned, with a file as stderr, at *@log. */
static int with_file(struct vg_log_pipe *l, int *log)
{
	int other;

	*log = file();
	stderr_is(*log);
	assert_int_equal(vg_log_pipe_make(false, l, &other), 0);
	return other;
}

static void says(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void logged(int log, const char *text)
{
	static char got[16384];
	ssize_t n = pread(log, got, sizeof(got) - 1, 0);

	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, text);
}

static void whole_lines(void **state)
{
	struct vg_log_pipe l;
	int log, end = with_file(&l, &log);

	(void)state;
	says(end, "one\ntw");
	assert_int_equal(vg_log_pipe_copy(&l), 1);
	logged(log, "one\n");
	assert_int_equal(vg_log_pipe_copy(&l), 0);
	says(STDERR_FILENO, "ours\n");
	says(end, "o\nthree");
	assert_int_equal(vg_log_pipe_copy(&l), 1);
	logged(log, "one\nours\ntwo\n");
	close(end);
	assert_int_equal(vg_log_pipe_copy(&l), -EPIPE);
	vg_log_pipe_end(&l);
	logged(log, "one\nours\ntwo\nthree\n");
	close(log);
}

/* Nothing that a terminal would take for more than text; a line without an end has one. */
static void no_controls(void **state)
{
	static char text[8192 + 1], expected[8192 + 2];
	struct vg_log_pipe l;
	int log, end = with_file(&l, &log);

	(void)state;
	says(end, "\033]0;mine\a \x7f\tm\xc3\xb6\r\n");
	assert_int_equal(vg_log_pipe_copy(&l), 1);
	logged(log, "?]0;mine? ?\tm\xc3\xb6?\n");
	assert_int_equal(ftruncate(log, 0), 0);
	assert_int_equal(lseek(log, 0, SEEK_SET), 0);
	memset(text, '\b', sizeof(text) - 1);
	memset(expected, '?', sizeof(text) - 1);
	says(end, text);
	vg_log_pipe_end(&l);
	logged(log, expected);
	close(end);
	close(log);
}

static void stop(struct vg_timer *t)
{
	(void)t;
}

/* A reader of our log who does not read: the process waits for him, and the supervisor for nobody. */
static void a_log_that_is_stuck(void **state)
{
	static char line[1024], got[65536];
	struct vg_child_log l = { 0 };
	struct vg_timer t = { .expired = stop };
	struct vg_loop *loop;
	struct vg_log_pipe p;
	unsigned said = 0, read_back = 0;
	int ours[2], end;

	(void)state;
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	assert_int_equal(pipe(ours), 0);
	stderr_is(ours[1]);
	assert_int_equal(fcntl(ours[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(vg_loop_new(16, &loop), 0);
	assert_int_equal(vg_log_pipe_make(true, &p, &end), 0);
	assert_int_equal(fcntl(end, F_SETFL, O_NONBLOCK), 0);
	vg_child_log_begin(&l, loop, &p);
	alarm(60); /* a supervisor that waits would wait for ever */
	for (unsigned quiet = 0; quiet < 3;) {
		ssize_t n = write(end, line, sizeof(line));

		quiet = n < 0 ? quiet + 1 : 0;
		said += n < 0 ? 0 : (unsigned)n;
		vg_loop_timer(loop, &t, NS_PER_S / 200);
		while (t.tether)
			assert_true(vg_loop_turn(loop, true) >= 0);
	}
	/* Two pipes full, and none of it lost. */
	assert_true(said > 100000);
	while (read_back < said) {
		ssize_t n = read(ours[0], got, sizeof(got));

		assert_true(n > 0 || errno == EAGAIN);
		read_back += n > 0 ? (unsigned)n : 0;
		if (n < 0)
			assert_true(vg_loop_turn(loop, true) >= 0);
	}
	alarm(0);
	close(end);
	vg_child_log_end(&l);
	vg_loop_free(loop);
	close(ours[0]);
	close(ours[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(who_gets_ours),
		T(whole_lines),
		T(no_controls),
		T(a_log_that_is_stuck),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
