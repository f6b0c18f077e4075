/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * can_stamp.c - frames a second and one-way latency between two CAN sockets, in one domain or two
 *
 *	can_stamp recv INTERFACE COUNT		waits for frames, prints one line of JSON
 *	can_stamp send INTERFACE COUNT GAP_US	sends; GAP_US 0: as fast as the interface takes them
 *
 * One-way latency needs one clock at both ends. The domains of a Xen host share
 * no clock that a program could read, but they share the time-stamp counter: PV
 * and PVH guests read the processor's own (xl: tsc_mode="native"), whose cores run
 * in step. So each frame carries the counter at the moment before write(2), as
 * its 8 data bytes, and the receiver takes the counter after read(2). Both are
 * user space to user space: two system calls, two CAN stacks, and whatever lies
 * between. The counter's frequency is measured against CLOCK_MONOTONIC_RAW by the
 * receiver. That the counters are in step is checked by measuring both ways: an
 * offset makes one way shorter by what it makes the other longer.
 *
 * Frames have the id 0x123; the receiver ignores others. It ends after COUNT, or
 * when nothing came for 3 s since the last frame (30 s before the first).
 */
#include <errno.h>
#include <linux/can.h>
#include <linux/can/raw.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ID = 0x123, FIRST_MS = 30000, NEXT_MS = 3000 };

static uint64_t ticks(void)
{
#if defined(__x86_64__)
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
#elif defined(__aarch64__)
	uint64_t v;

	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(v) : : "memory");
	return v;
#else
#error "which counter do the domains of this machine share?"
#endif
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int die(const char *what)
{
	fprintf(stderr, "can_stamp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_can(const char *name)
{
	const struct can_filter only = { .can_id = ID, .can_mask = CAN_SFF_MASK | CAN_EFF_FLAG };
	struct sockaddr_can addr = { .can_family = AF_CAN };
	int bytes = 8 << 20;
	int fd = socket(PF_CAN, SOCK_RAW, CAN_RAW);

	addr.can_ifindex = (int)if_nametoindex(name);
	if (fd < 0 || !addr.can_ifindex)
		die(name);
	setsockopt(fd, SOL_CAN_RAW, CAN_RAW_FILTER, &only, sizeof(only));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die("bind");
	return fd;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static double percentile(const int64_t *sorted, long n, double p, double hz)
{
	long i = (long)(p * (double)n);

	return (double)sorted[i < n ? i : n - 1] / hz * 1e6;
}

static int receive(int fd, long want)
{
	int64_t *delta = calloc((size_t)want, sizeof(*delta));
	uint64_t first = 0, last = 0, t0 = ticks();
	double start = now(), hz;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	long n = 0;

	if (!delta)
		die("memory");
	while (n < want && poll(&p, 1, n ? NEXT_MS : FIRST_MS) > 0) {
		struct can_frame f;
		uint64_t stamp;

		if (read(fd, &f, sizeof(f)) != sizeof(f))
			die("read");
		last = ticks();
		if (!n)
			first = last;
		memcpy(&stamp, f.data, sizeof(stamp));
		delta[n++] = (int64_t)(last - stamp);
	}
	hz = (double)(ticks() - t0) / (now() - start);
	if (!n) {
		printf("{\"frames\":0,\"lost\":%ld}\n", want);
		return 1;
	}
	qsort(delta, (size_t)n, sizeof(*delta), by_value);
	printf("{\"frames\":%ld,\"lost\":%ld,\"fps\":%.0f,\"median_us\":%.1f,\"p99_us\":%.1f,"
	       "\"p999_us\":%.1f,\"min_us\":%.1f,\"max_us\":%.1f}\n",
	       n, want - n, n > 1 ? (double)(n - 1) * hz / (double)(last - first) : 0.0,
	       percentile(delta, n, 0.5, hz), percentile(delta, n, 0.99, hz),
	       percentile(delta, n, 0.999, hz), (double)delta[0] / hz * 1e6,
	       (double)delta[n - 1] / hz * 1e6);
	return 0;
}

static int send_all(int fd, long n, long gap_us)
{
	struct can_frame f = { .can_id = ID, .len = 8 };
	struct timespec next;

	clock_gettime(CLOCK_MONOTONIC, &next);
	while (n > 0) {
		uint64_t stamp = ticks();

		memcpy(f.data, &stamp, sizeof(stamp));
		if (write(fd, &f, sizeof(f)) == sizeof(f)) {
			n--;
		} else if (errno == ENOBUFS) { /* the interface's queue: CAN tells no other way */
			usleep(100);
			continue;
		} else {
			die("write");
		}
		if (gap_us) {
			next.tv_nsec += gap_us * 1000;
			while (next.tv_nsec >= 1000000000) {
				next.tv_nsec -= 1000000000;
				next.tv_sec++;
			}
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "recv") == 0)
		return receive(open_can(argv[2]), atol(argv[3]));
	if (argc == 5 && strcmp(argv[1], "send") == 0)
		return send_all(open_can(argv[2]), atol(argv[3]), atol(argv[4]));
	fprintf(stderr, "usage: can_stamp recv INTERFACE COUNT | send INTERFACE COUNT GAP_US\n");
	return 2;
}
