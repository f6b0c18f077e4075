// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_trace.c - a device's lines and those who listen (backend/base/trace.c)
 *
 * The whole way, through a worker, vgrantd and its control socket, is gone in
 * test_daemon_can.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/trace.h"

/* A listener; its end is returned. */
static int listen_to(struct vg_trace *t)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(vg_trace_add(t, pair[1]), 0);
	return pair[0];
}

static void line(struct vg_trace *t, const char *text)
{
	vg_trace_line(t, text, strlen(text));
}

/* The next packet is @want. */
static void expect(int fd, const char *want)
{
	char text[VG_TRACE_PACKET + 1];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	assert_string_equal(text, want);
}

static void expect_nothing(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void several_listeners(void **state)
{
	struct vg_trace t = { 0 };
	int a, b, c;

	(void)state;
	assert_false(vg_trace_on(&t));
	a = listen_to(&t);
	b = listen_to(&t);
	c = listen_to(&t);
	assert_true(vg_trace_on(&t));
	vg_trace_flush(&t); /* nothing to say is nothing said */
	expect_nothing(a);
	line(&t, "one");
	line(&t, "two");
	expect_nothing(a);
	vg_trace_flush(&t);
	expect(a, "one\ntwo\n");
	expect(b, "one\ntwo\n");
	close(b); /* in the middle of the list */
	line(&t, "three");
	vg_trace_flush(&t);
	expect(a, "three\n");
	expect(c, "one\ntwo\n");
	expect(c, "three\n");
	close(a);
	close(c);
	line(&t, "four");
	vg_trace_flush(&t);
	assert_false(vg_trace_on(&t));
	vg_trace_close(&t);
}

/* There is room for some, and again for as many as left, though nothing was written since. */
static void as_many_as_there_is_room_for(void **state)
{
	struct vg_trace t = { 0 };
	int fd[VG_TRACE_MAX], pair[2];
	char c;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < VG_TRACE_MAX; i++)
			fd[i] = listen_to(&t);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
		assert_int_equal(vg_trace_add(&t, pair[1]), -EBUSY);
		assert_int_equal(recv(pair[0], &c, 1, 0), 0); /* it was closed */
		close(pair[0]);
		close(fd[1]);
		fd[1] = listen_to(&t);
		line(&t, "all");
		vg_trace_flush(&t);
		for (unsigned i = 0; i < VG_TRACE_MAX; i++) {
			expect(fd[i], "all\n");
			close(fd[i]);
		}
	}
	vg_trace_close(&t);
}

/* A listener that does not read loses lines, and is told how many; another loses none. */
static void slow_listener(void **state)
{
	struct vg_trace t = { 0 };
	int slow = listen_to(&t), fast = listen_to(&t);
	unsigned lines = 0, lost = 0, sent = 20000, n;
	char text[VG_TRACE_PACKET + 1], want[32];

	(void)state;
	for (unsigned i = 0; i < sent; i++) {
		snprintf(want, sizeof(want), "line %u", i);
		line(&t, want);
		vg_trace_flush(&t);
		strcat(want, "\n");
		expect(fast, want);
	}
	while ((n = (unsigned)recv(slow, text, sizeof(text) - 1, 0)) != (unsigned)-1) {
		text[n] = '\0';
		snprintf(want, sizeof(want), "line %u\n", lines++);
		assert_string_equal(text, want); /* the oldest were kept, in order */
	}
	assert_in_range(lines, 1, sent - 1);
	line(&t, "it reads again");
	vg_trace_flush(&t);
	n = (unsigned)recv(slow, text, sizeof(text) - 1, 0);
	text[n] = '\0';
	assert_int_equal(sscanf(text, "# %u lines were lost\n", &lost), 1);
	assert_int_equal(lines + lost, sent);
	expect(slow, "it reads again\n");
	line(&t, "and loses nothing");
	vg_trace_flush(&t);
	expect(slow, "and loses nothing\n");
	close(slow);
	close(fast);
	vg_trace_close(&t);
}

/* Lines that fill a packet, and what does not fit into one. */
static void packets(void **state)
{
	static char text[VG_TRACE_PACKET + 100], got[VG_TRACE_PACKET + 1];
	struct vg_trace t = { 0 };
	int fd = listen_to(&t);
	unsigned lines = 0;
	ssize_t n;

	(void)state;
	memset(text, 'x', sizeof(text));
	vg_trace_line(&t, text, sizeof(text)); /* dropped: longer than the contract allows */
	vg_trace_flush(&t);
	expect_nothing(fd);
	vg_trace_line(&t, text, VG_TRACE_PACKET - 64);
	vg_trace_flush(&t);
	assert_int_equal(recv(fd, got, sizeof(got), 0), VG_TRACE_PACKET - 63);
	for (int i = 0; i < 100; i++)
		vg_trace_line(&t, text, 99);
	vg_trace_flush(&t);
	while ((n = recv(fd, got, sizeof(got), 0)) > 0) {
		assert_int_equal(n % 100, 0); /* whole lines */
		lines += (unsigned)n / 100;
	}
	assert_int_equal(lines, 100);
	line(&t, "last words");
	vg_trace_close(&t);
	expect(fd, "last words\n");
	assert_int_equal(recv(fd, got, sizeof(got), 0), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_listeners),
		cmocka_unit_test(as_many_as_there_is_room_for),
		cmocka_unit_test(slow_listener),
		cmocka_unit_test(packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
