// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rr.c - round trips, streams and echoes over TCP and UDP, for tests of networks
 *
 *	rr serve PORT			answers, until it is killed
 *	rr trips HOST PORT SECONDS	round trips of one byte; "trips N median US p99 US"
 *	rr up HOST PORT SECONDS		sends as fast as it can; "bytes N seconds S"
 *	rr down HOST PORT SECONDS	is sent to, likewise
 *	rr small HOST PORT SECONDS	datagrams of 22 bytes (frames of 64), as fast as it can, to PORT + 1;
 *					"datagrams N arrived N seconds S"
 *
 *	rr echo HOST PORT BYTES		sends BYTES, checks that the same come back; "echoed BYTES"
 *	rr beat HOST PORT SECONDS	keeps one connection, and echoes something over it ten times a
 *					second: a line "beat N" each time
 *
 *	rr vserve PORT			answers over vsock; of HOST, "cid:N" is who is asked so
 *
 * The first byte of a connection says what the server is to do.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 128 << 10, TRIPS = 1 << 20, SMALL = 22, BEAT = 20000 };

static char chunk[CHUNK];

static void fail(const char *what)
{
	fprintf(stderr, "rr: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *host, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	if (host && inet_pton(AF_INET, host, &a.sin_addr) != 1)
		fail(host);
	return a;
}

static int bound(int type, int port)
{
	struct sockaddr_in a = address(NULL, port);
	int fd = socket(AF_INET, type, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("bind");
	return fd;
}

static void put(int fd, const char *from, size_t n)
{
	for (ssize_t did; n; from += did, n -= (size_t)did) {
		did = write(fd, from, n);
		if (did <= 0)
			fail("write");
	}
}

/* One connection. */
static void answer(int fd)
{
	uint64_t bytes = 0;
	int on = 1;
	ssize_t n;
	char what;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (read(fd, &what, 1) != 1)
		exit(0);
	if (what == 'd') {
		while (write(fd, chunk, CHUNK) > 0)
			;
		exit(0);
	}
	while ((n = read(fd, chunk, what == 't' ? 1 : CHUNK)) > 0) {
		bytes += (uint64_t)n;
		if (what == 't' && write(fd, chunk, 1) != 1)
			break;
		if (what == 'e' || what == 'b')
			put(fd, chunk, (size_t)n);
	}
	if (what == 'u' && write(fd, &bytes, sizeof(bytes)) < 0)
		fail("write");
	exit(0);
}

/* Counts datagrams; one of one byte asks how many there were, and begins anew. */
static void count(int fd)
{
	uint64_t n = 0;

	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);

		if (recvfrom(fd, chunk, CHUNK, 0, (struct sockaddr *)&from, &len) != 1) {
			n++;
			continue;
		}
		sendto(fd, &n, sizeof(n), 0, (struct sockaddr *)&from, len);
		n = 0;
	}
}

/* Whoever connects to @fd. */
static void serve(int fd)
{
	int one;

	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	listen(fd, 8);
	while ((one = accept(fd, NULL, NULL)) >= 0) {
		if (fork() == 0)
			answer(one);
		close(one);
	}
	fail("accept");
}

static void serve_network(int port)
{
	int fd = bound(SOCK_STREAM, port), udp = bound(SOCK_DGRAM, port + 1);

	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		count(udp);
	}
	serve(fd);
}

static struct sockaddr_vm vsock_address(unsigned cid, int port)
{
	return (struct sockaddr_vm){ .svm_family = AF_VSOCK,
				     .svm_cid = cid,
				     .svm_port = (unsigned)port };
}

static void serve_vsock(int port)
{
	struct sockaddr_vm a = vsock_address(VMADDR_CID_ANY, port);
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("bind");
	serve(fd);
}

static int reach(const char *host, int port)
{
	bool vsock = strncmp(host, "cid:", 4) == 0;
	int fd = socket(vsock ? AF_VSOCK : AF_INET, SOCK_STREAM, 0), ret;

	if (vsock) {
		struct sockaddr_vm a = vsock_address((unsigned)atoi(host + 4), port);

		ret = connect(fd, (struct sockaddr *)&a, sizeof(a));
	} else {
		struct sockaddr_in a = address(host, port);

		ret = connect(fd, (struct sockaddr *)&a, sizeof(a));
	}
	if (ret < 0)
		fail("connect");
	return fd;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void trips(int fd, double end)
{
	static double took[TRIPS];
	unsigned n = 0;

	while (n < TRIPS && now() < end) {
		double begin = now();

		if (write(fd, chunk, 1) != 1 || read(fd, chunk, 1) != 1)
			fail("a round trip");
		took[n++] = now() - begin;
	}
	qsort(took, n, sizeof(took[0]), by_size);
	printf("trips %u median %.1f p99 %.1f\n", n, took[n / 2] * 1e6, took[n * 99 / 100] * 1e6);
}

static void small(const char *host, int port, double seconds)
{
	struct sockaddr_in a = address(host, port + 1);
	struct timeval patience = { 0, 200000 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint64_t arrived = 0, sent = 0;
	double begin, took;

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("connect");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	send(fd, chunk, 1, 0);
	recv(fd, &arrived, sizeof(arrived), 0); /* begins anew */
	for (begin = now(); (took = now() - begin) < seconds; sent++)
		send(fd, chunk, SMALL, 0);
	for (int i = 0; i < 50; i++) {
		send(fd, chunk, 1, 0);
		if (recv(fd, &arrived, sizeof(arrived), 0) == sizeof(arrived))
			break;
	}
	printf("datagrams %llu arrived %llu seconds %.3f\n", (unsigned long long)sent,
	       (unsigned long long)arrived, took);
}

/* Bytes of a stream that repeats itself nowhere near the size of a frame, from one to the next. */
static void fill(char *to, size_t n, uint64_t *state)
{
	for (size_t i = 0; i < n; i++) {
		*state = *state * 6364136223846793005ull + 1442695040888963407ull;
		to[i] = (char)(*state >> 56);
	}
}

/* What comes must be the next @n bytes of the stream. */
static void expect(int fd, uint64_t n, uint64_t *state)
{
	static char want[CHUNK];
	ssize_t got;

	for (; n; n -= (uint64_t)got) {
		got = read(fd, chunk, n < CHUNK ? n : CHUNK);
		if (got <= 0)
			fail("read");
		fill(want, (size_t)got, state);
		if (memcmp(chunk, want, (size_t)got) != 0) {
			errno = EBADMSG;
			fail("what came back");
		}
	}
}

/* Both ways at once: sending has a process of its own. */
static void echo(int fd, uint64_t bytes)
{
	uint64_t there = 1, back = 1;

	if (fork() == 0) {
		for (uint64_t left = bytes, n; left; left -= n) {
			n = left < CHUNK ? left : CHUNK;
			fill(chunk, n, &there);
			put(fd, chunk, n);
		}
		_exit(0);
	}
	expect(fd, bytes, &back);
	printf("echoed %llu\n", (unsigned long long)bytes);
}

/* More than fits into a frame, so that segments are made and put together. */
static void beat(int fd, double end)
{
	uint64_t there = 1, back = 1;
	char some[BEAT];

	for (unsigned n = 1; now() < end; n++) {
		fill(some, BEAT, &there);
		put(fd, some, BEAT);
		expect(fd, BEAT, &back);
		printf("beat %u\n", n);
		fflush(stdout);
		usleep(100000);
	}
}

int main(int argc, char **argv)
{
	double seconds = argc > 4 ? atof(argv[4]) : 0, begin, end;
	uint64_t bytes = 0;
	int fd, on = 1;
	ssize_t n;

	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve_network(atoi(argv[2]));
	if (argc == 3 && strcmp(argv[1], "vserve") == 0)
		serve_vsock(atoi(argv[2]));
	if (argc != 5)
		return 2;
	if (strcmp(argv[1], "small") == 0) {
		small(argv[2], atoi(argv[3]), seconds);
		return 0;
	}
	fd = reach(argv[2], atoi(argv[3]));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (write(fd, argv[1], 1) != 1)
		fail("write");
	begin = now();
	end = begin + seconds;
	if (argv[1][0] == 't') {
		trips(fd, end);
	} else if (argv[1][0] == 'e') {
		echo(fd, strtoull(argv[4], NULL, 10));
	} else if (argv[1][0] == 'b') {
		beat(fd, end);
	} else if (argv[1][0] == 'u') {
		while (now() < end && write(fd, chunk, CHUNK) > 0)
			;
		shutdown(fd, SHUT_WR);
		if (read(fd, &bytes, sizeof(bytes)) != sizeof(bytes))
			fail("read");
		printf("bytes %llu seconds %.3f\n", (unsigned long long)bytes, now() - begin);
	} else {
		while (now() < end && (n = read(fd, chunk, CHUNK)) > 0)
			bytes += (uint64_t)n;
		printf("bytes %llu seconds %.3f\n", (unsigned long long)bytes, now() - begin);
	}
	return 0;
}
