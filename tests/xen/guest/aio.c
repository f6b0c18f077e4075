// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * aio.c - keeps a disk busy at a depth, for a benchmark or to verify it
 *
 *	aio DEVICE read|write BYTES DEPTH SECONDS
 *	aio DEVICE verify MIN-MAX DEPTH MIB
 *
 * Linux' own asynchronous I/O (io_submit(2)) with O_DIRECT, from one thread: what
 * completes is replaced at once, so that DEPTH requests are always out. It does
 * what fio would do, and starts in a hundredth of the time on an emulated CPU.
 *
 * read, write: requests of BYTES at random multiples of that; prints
 * "aio: N requests in M ms".
 *
 * verify: writes the first MIB of the disk in pieces of random lengths from MIN to
 * MAX bytes (multiples of 512) in random order, then reads it in other pieces, in
 * another order, and compares. Each word holds a hash of its place and of the
 * run's seed, so that data of another place or time is seen. Prints
 * "aio: verified N bytes" or "aio: FAILED ...", and ends with status 1 then.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SECTOR = 512, DEPTH_MAX = 256 };

struct piece {
	uint64_t off;
	uint32_t len;
};

struct request {
	struct iocb cb;
	struct piece at;
	uint8_t *buf;
};

static int disk;
static aio_context_t ctx;
static struct request request[DEPTH_MAX];
static unsigned depth;
static uint64_t state, seed;

static void fail(const char *what, uint64_t off, long error)
{
	printf("aio: FAILED: %s at byte %llu: %s\n", what, (unsigned long long)off,
	       error ? strerror((int)error) : "wrong data");
	exit(1);
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t next(void)
{
	return mix(state += 0x9e3779b97f4a7c15ull);
}

static uint64_t word(uint64_t off)
{
	return mix(seed + off);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static void submit(struct request *r, bool write)
{
	struct iocb *list[1] = { &r->cb };

	r->cb = (struct iocb){
		.aio_data = (uintptr_t)r,
		.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)disk,
		.aio_buf = (uintptr_t)r->buf,
		.aio_nbytes = r->at.len,
		.aio_offset = (int64_t)r->at.off,
	};
	while (syscall(SYS_io_submit, ctx, 1L, list) != 1)
		if (errno != EAGAIN && errno != EINTR)
			fail("io_submit", r->at.off, errno);
}

/* Wait for at least one. Return: how many, in @done. */
static unsigned collect(struct request **done)
{
	struct io_event event[DEPTH_MAX];
	long n;

	do
		n = syscall(SYS_io_getevents, ctx, 1L, (long)depth, event, NULL);
	while (n < 0 && errno == EINTR);
	if (n < 1)
		fail("io_getevents", 0, errno);
	for (long i = 0; i < n; i++) {
		done[i] = (struct request *)(uintptr_t)event[i].data;
		if ((int64_t)event[i].res < 0)
			fail("I/O", done[i]->at.off, -(long)event[i].res);
		if ((uint64_t)event[i].res != done[i]->at.len)
			fail("a short transfer", done[i]->at.off, EIO);
	}
	return (unsigned)n;
}

/* ---- load ----------------------------------------------------------------- */

static void load(bool write, uint32_t len, int64_t ms)
{
	struct request *done[DEPTH_MAX];
	uint64_t size, requests = 0;
	unsigned out = 0;
	int64_t start;

	if (ioctl(disk, BLKGETSIZE64, &size) < 0 || size < len)
		fail("BLKGETSIZE64", 0, errno);
	start = now_ms();
	for (; out < depth; out++) {
		request[out].at = (struct piece){ next() % (size / len) * len, len };
		submit(&request[out], write);
	}
	while (out) {
		unsigned n = collect(done);
		bool more = now_ms() - start < ms;

		requests += n;
		for (unsigned i = 0; i < n; i++) {
			if (!more) {
				out--;
				continue;
			}
			done[i]->at.off = next() % (size / len) * len;
			submit(done[i], write);
		}
	}
	printf("aio: %llu requests in %lld ms\n", (unsigned long long)requests,
	       (long long)(now_ms() - start));
}

/* ---- verifying ------------------------------------------------------------ */

static void compare(const struct request *r)
{
	const uint64_t *w = (const uint64_t *)r->buf;

	for (uint32_t i = 0; i < r->at.len / 8; i++)
		if (w[i] != word(r->at.off + i * 8ull))
			fail("reading back", r->at.off + i * 8ull, 0);
}

/* The whole area once, in shuffled pieces. */
static void pass(bool write, uint32_t min, uint32_t max, uint64_t size)
{
	struct piece *list = calloc(size / SECTOR, sizeof(*list));
	struct request *done[DEPTH_MAX];
	uint64_t n = 0, at = 0, given = 0;
	unsigned out = 0;

	while (at < size) {
		uint64_t len = min + next() % ((max - min) / SECTOR + 1) * SECTOR;

		list[n++] = (struct piece){ at, (uint32_t)(len < size - at ? len : size - at) };
		at += list[n - 1].len;
	}
	for (uint64_t i = n - 1; i > 0; i--) {
		uint64_t k = next() % (i + 1);
		struct piece p = list[i];

		list[i] = list[k];
		list[k] = p;
	}
	for (unsigned i = 0; i < depth; i++)
		done[i] = &request[i];
	for (unsigned idle = depth; given < n || out;) {
		for (unsigned i = 0; i < idle && given < n; i++, out++) {
			struct request *r = done[i];

			r->at = list[given++];
			for (uint32_t k = 0; k < r->at.len / 8; k++)
				((uint64_t *)r->buf)[k] = write ? word(r->at.off + k * 8ull) : 0;
			submit(r, write);
		}
		idle = collect(done);
		out -= idle;
		for (unsigned i = 0; i < idle && !write; i++)
			compare(done[i]);
	}
	free(list);
}

int main(int argc, char **argv)
{
	uint32_t min, max;
	char *end;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 6) {
		fprintf(stderr, "usage: aio DEVICE read|write|verify BYTES DEPTH SECONDS|MIB\n");
		return 2;
	}
	min = max = (uint32_t)strtoul(argv[3], &end, 10);
	if (*end == '-')
		max = (uint32_t)strtoul(end + 1, NULL, 10);
	depth = (unsigned)atoi(argv[4]);
	if (min < SECTOR || max < min || min % SECTOR || max % SECTOR || depth < 1 ||
	    depth > DEPTH_MAX) {
		fprintf(stderr, "aio: bad length or depth\n");
		return 2;
	}
	disk = open(argv[1], O_RDWR | O_DIRECT);
	if (disk < 0)
		fail(argv[1], 0, errno);
	if (syscall(SYS_io_setup, depth, &ctx) < 0)
		fail("io_setup", 0, errno);
	state = seed = (uint64_t)now_ms() << 20 | (uint64_t)getpid();
	for (unsigned i = 0; i < depth; i++)
		if (posix_memalign((void **)&request[i].buf, 4096, max))
			fail("memory", 0, ENOMEM);
	if (strcmp(argv[2], "verify") != 0) {
		load(strcmp(argv[2], "write") == 0, max, atoi(argv[5]) * 1000ll);
		return 0;
	}
	pass(true, min, max, (uint64_t)atoi(argv[5]) << 20);
	pass(false, min, max, (uint64_t)atoi(argv[5]) << 20);
	printf("aio: verified %llu bytes\n", (unsigned long long)atoi(argv[5]) << 20);
	return 0;
}
