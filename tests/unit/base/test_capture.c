// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_capture.c - copies of packets and those who listen (backend/base/capture.c)
 *
 * The whole way, through a worker, vgrantd and `vgrant capture`, is gone in
 * test_daemon_net.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/capture.h"
#include "backend/base/container.h"

static struct {
	struct vg_capture_head head;
	uint8_t data[VG_CAPTURE_BYTES];
} got; /* large */

/* A listener; its end is returned. */
static int listen_to(struct vg_capture *c)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(vg_capture_add(c, pair[1]), 0);
	return pair[0];
}

static void packet(struct vg_capture *c, const char *text)
{
	const struct iovec iov = { .iov_base = (char *)(uintptr_t)text, .iov_len = strlen(text) };

	vg_capture_packet(c, VG_CAPTURE_ETHERNET, &iov, 1, 0);
}

/* The next message; -1: there is none. Return: bytes of the packet. */
static ssize_t take(int fd)
{
	ssize_t n = recv(fd, &got, sizeof(got), 0);

	return n < 0 ? -1 : n - (ssize_t)sizeof(got.head);
}

static void expect(int fd, const char *want, uint64_t lost)
{
	assert_int_equal(take(fd), strlen(want));
	assert_memory_equal(got.data, want, strlen(want));
	assert_int_equal(got.head.len, strlen(want));
	assert_int_equal(got.head.link, VG_CAPTURE_ETHERNET);
	assert_int_equal(got.head.lost, lost);
}

static void several_listeners(void **state)
{
	struct vg_capture c = { 0 };
	int a, b;

	(void)state;
	assert_false(vg_capture_on(&c));
	a = listen_to(&c);
	packet(&c, "one");
	b = listen_to(&c);
	packet(&c, "two");
	expect(a, "one", 0);
	assert_true(got.head.ns / NS_PER_S - (uint64_t)time(NULL) + 60 < 120);
	expect(a, "two", 0);
	expect(b, "two", 0);
	close(a);
	packet(&c, "three");
	expect(b, "three", 0);
	assert_int_equal(c.n, 1);
	close(b);
	packet(&c, "four");
	assert_false(vg_capture_on(&c));
	assert_null(c.message);
}

/* In pieces, behind something that is none of it; and longer than what is kept. */
static void gathered(void **state)
{
	static uint8_t big[VG_CAPTURE_BYTES];
	struct iovec iov[] = { { "ab", 2 }, { "cdef", 4 }, { "gh", 2 } };
	struct vg_capture c = { 0 };
	int bytes = 4 << 20;
	int fd = listen_to(&c);

	(void)state;
	setsockopt(c.to[0].fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	vg_capture_packet(&c, VG_CAPTURE_ETHERNET, iov, 3, 0);
	expect(fd, "abcdefgh", 0);
	vg_capture_packet(&c, VG_CAPTURE_ETHERNET, iov, 3, 2);
	expect(fd, "cdefgh", 0);
	vg_capture_packet(&c, VG_CAPTURE_ETHERNET, iov, 3, 3);
	expect(fd, "defgh", 0);
	memset(big, 0x5a, sizeof(big));
	iov[1] = (struct iovec){ big, sizeof(big) };
	vg_capture_packet(&c, VG_CAPTURE_ETHERNET, iov, 3, 1);
	if (take(fd) >= 0) { /* where such a message may be sent */
		assert_int_equal(got.head.len, VG_CAPTURE_BYTES + 3);
		assert_int_equal(got.data[0], 'b');
		assert_int_equal(got.data[VG_CAPTURE_BYTES - 1], 0x5a);
	}
	vg_capture_close(&c);
	close(fd);
}

/* It loses packets, and is told how many; the device goes on. */
static void slow_listener(void **state)
{
	struct vg_capture c = { 0 };
	int fd = listen_to(&c);
	unsigned sent = 0, came = 0;

	(void)state;
	while (c.to[0].lost < 5) {
		packet(&c, "much");
		sent++;
	}
	while (take(fd) >= 0) {
		assert_int_equal(got.head.lost, 0);
		came++;
	}
	assert_int_equal(came + 5, sent);
	packet(&c, "more");
	expect(fd, "more", 5);
	packet(&c, "and more");
	expect(fd, "and more", 0);
	vg_capture_close(&c);
	vg_capture_close(&c);
	assert_int_equal(recv(fd, &got, sizeof(got), 0), 0);
	close(fd);
}

static void not_too_many(void **state)
{
	struct vg_capture c = { 0 };
	int fd[VG_CAPTURE_MAX], pair[2];

	(void)state;
	for (unsigned i = 0; i < VG_CAPTURE_MAX; i++)
		fd[i] = listen_to(&c);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(vg_capture_add(&c, pair[1]), -EBUSY);
	close(pair[0]);
	/* One that hung up makes room, also when nothing passes. */
	close(fd[1]);
	fd[1] = listen_to(&c);
	vg_capture_close(&c);
	for (unsigned i = 0; i < VG_CAPTURE_MAX; i++)
		close(fd[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_listeners),
		cmocka_unit_test(gathered),
		cmocka_unit_test(slow_listener),
		cmocka_unit_test(not_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
