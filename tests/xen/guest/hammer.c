// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hammer.c - writes to a disk for a while, and verifies all it wrote
 *
 *	hammer DEVICE MIB SECONDS [THREADS [SEED]]
 *	hammer --sum FILE MIB
 *
 * Each thread has a stripe of blocks of 4 KiB, of which it writes runs of one to
 * sixteen at random places with O_DIRECT, reads runs back and compares, and calls
 * fsync now and then. A block is filled from a seed, its number and its
 * generation, which is kept in memory: a write that was lost, was done twice out
 * of order, or went elsewhere is seen when the block is next read, and at the
 * end all are. SECONDS are counted after the first pass, which writes each
 * block once; it ends early when /run/hammer.stop exists.
 *
 * Says "hammer: at N" about every second, N being operations so far,
 * and at last "hammer: done N ops, sum S" or "hammer: FAILED ...".
 * S is the sum of the MIB as they should be; --sum prints that of a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, RUN = 16, THREADS_MAX = 8, FLUSH_EVERY = 64 };

struct job {
	pthread_t thread;
	unsigned number;
	uint64_t first, blocks; /* of its stripe */
	uint32_t *generation;	/* by block of the stripe */
	uint64_t random;
};

static int disk;
static uint64_t seed = 1;
static atomic_ulong ops;
static atomic_bool stop, failed;

static void complain(const char *what, uint64_t block, int error)
{
	if (atomic_exchange(&failed, true))
		return;
	printf("hammer: FAILED: %s at block %llu: %s\n", what, (unsigned long long)block,
	       error ? strerror(error) : "wrong data");
	fflush(stdout);
}

/* xorshift64* */
static uint64_t next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static void fill(uint64_t *words, uint64_t block, uint32_t generation)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL ^ block << 32 ^ generation;

	x = x ? x : 1;
	words[0] = block;
	words[1] = generation;
	for (unsigned i = 2; i < BLOCK / 8; i++)
		words[i] = next(&x);
}

/* FNV-1a over words: quick enough for an emulated CPU. */
static uint64_t sum_add(uint64_t sum, const uint64_t *words)
{
	for (unsigned i = 0; i < BLOCK / 8; i++)
		sum = (sum ^ words[i]) * 0x100000001b3ULL;
	return sum;
}

static bool transfer(bool write, uint8_t *buf, uint64_t block, unsigned n)
{
	size_t done = 0, len = (size_t)n * BLOCK;

	while (done < len) {
		off_t at = (off_t)(block * BLOCK + done);
		ssize_t ret = write ? pwrite(disk, buf + done, len - done, at)
				    : pread(disk, buf + done, len - done, at);

		if (ret <= 0) {
			complain(write ? "write" : "read", block, ret ? errno : EIO);
			return false;
		}
		done += (size_t)ret;
	}
	atomic_fetch_add(&ops, 1);
	return true;
}

static bool put(struct job *j, uint8_t *buf, uint64_t at, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fill((uint64_t *)(buf + (size_t)i * BLOCK), j->first + at + i,
		     ++j->generation[at + i]);
	return transfer(true, buf, j->first + at, n);
}

static bool check(struct job *j, uint8_t *buf, uint64_t at, unsigned n)
{
	uint64_t want[BLOCK / 8];

	if (!transfer(false, buf, j->first + at, n))
		return false;
	for (unsigned i = 0; i < n; i++) {
		fill(want, j->first + at + i, j->generation[at + i]);
		if (memcmp(buf + (size_t)i * BLOCK, want, BLOCK) == 0)
			continue;
		complain("verification", j->first + at + i, 0);
		return false;
	}
	return true;
}

static bool flush(void)
{
	if (fsync(disk) == 0)
		return true;
	complain("fsync", 0, errno);
	return false;
}

/* All of the stripe, with one of the above. */
static bool each(struct job *j, uint8_t *buf,
		 bool (*what)(struct job *, uint8_t *, uint64_t, unsigned))
{
	for (uint64_t at = 0; at < j->blocks; at += RUN) {
		unsigned n = j->blocks - at < RUN ? (unsigned)(j->blocks - at) : RUN;

		if (atomic_load(&failed) || !what(j, buf, at, n))
			return false;
	}
	return flush();
}

static void *work(void *arg)
{
	struct job *j = arg;
	uint8_t *buf = aligned_alloc(BLOCK, (size_t)RUN * BLOCK);
	bool ok = buf && each(j, buf, put);

	for (unsigned turn = 1; ok && !atomic_load(&stop) && !atomic_load(&failed); turn++) {
		uint64_t at = next(&j->random) % j->blocks;
		unsigned n = 1 + (unsigned)(next(&j->random) % RUN);

		if (n > j->blocks - at)
			n = (unsigned)(j->blocks - at);
		ok = next(&j->random) & 1 ? put(j, buf, at, n) : check(j, buf, at, n);
		if (ok && turn % FLUSH_EVERY == 0)
			ok = flush();
	}
	if (ok)
		each(j, buf, check);
	free(buf);
	return NULL;
}

static int print_sum(const char *path, uint64_t blocks)
{
	uint64_t words[BLOCK / 8], sum = 0xcbf29ce484222325ULL;
	FILE *f = fopen(path, "r");

	if (!f) {
		perror(path);
		return 1;
	}
	while (blocks--) {
		if (fread(words, BLOCK, 1, f) != 1) {
			fprintf(stderr, "%s is too short\n", path);
			return 1;
		}
		sum = sum_add(sum, words);
	}
	printf("%016llx\n", (unsigned long long)sum);
	return 0;
}

int main(int argc, char **argv)
{
	static struct job job[THREADS_MAX];
	uint64_t blocks, words[BLOCK / 8], sum = 0xcbf29ce484222325ULL;
	unsigned threads = argc > 4 ? (unsigned)atoi(argv[4]) : 2;
	time_t end;

	if (argc < 4 || threads < 1 || threads > THREADS_MAX) {
		fprintf(stderr, "usage: hammer DEVICE MIB SECONDS [THREADS [SEED]]\n");
		return 2;
	}
	blocks = strtoull(argv[strcmp(argv[1], "--sum") ? 2 : 3], NULL, 10) * (1 << 20) / BLOCK;
	if (strcmp(argv[1], "--sum") == 0)
		return print_sum(argv[2], blocks);
	if (argc > 5)
		seed = strtoull(argv[5], NULL, 10);
	disk = open(argv[1], O_RDWR | O_DIRECT);
	if (disk < 0) {
		printf("hammer: FAILED: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	for (unsigned i = 0; i < threads; i++) {
		job[i].number = i;
		job[i].first = blocks / threads * i;
		job[i].blocks = i + 1 < threads ? blocks / threads : blocks - job[i].first;
		job[i].generation = calloc(job[i].blocks, sizeof(uint32_t));
		job[i].random = seed * 1000003 + i + 1;
		if (!job[i].generation || pthread_create(&job[i].thread, NULL, work, &job[i])) {
			printf("hammer: FAILED: out of memory\n");
			return 1;
		}
	}
	end = time(NULL) + atoi(argv[3]);
	while (time(NULL) < end && !atomic_load(&failed) && access("/run/hammer.stop", F_OK) < 0) {
		printf("hammer: at %lu\n", atomic_load(&ops));
		fflush(stdout);
		sleep(1);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(job[i].thread, NULL);
	if (atomic_load(&failed))
		return 1;
	for (unsigned i = 0; i < threads; i++) {
		for (uint64_t b = 0; b < job[i].blocks; b++) {
			fill(words, job[i].first + b, job[i].generation[b]);
			sum = sum_add(sum, words);
		}
	}
	printf("hammer: done %lu ops, sum %016llx\n", atomic_load(&ops), (unsigned long long)sum);
	return 0;
}
