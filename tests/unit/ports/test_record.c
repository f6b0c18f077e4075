// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The record: kept, carried over into another shape, read from version 2, read by a program with
 * other structures; and files that lie, shrink, or find no room.
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
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/ports/record.h"

static int dir = -1;
static char dir_name[200];
static struct vg_err err;

const struct vg_device_ops *const vg_devices[] = { NULL };

static int begin(void **state)
{
	(void)state;
	snprintf(dir_name, sizeof(dir_name), "%.150s/record.XXXXXX", getenv("TMPDIR") ?: "/tmp");
	if (!mkdtemp(dir_name))
		return -1;
	dir = open(dir_name, O_RDONLY | O_DIRECTORY);
	return dir < 0 ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	unlinkat(dir, "r", 0);
	unlinkat(dir, "r.new", 0);
	close(dir);
	return rmdir(dir_name);
}

static struct vg_record_shape shape(uint32_t n, uint32_t max, uint32_t saved)
{
	struct vg_record_shape s = { .n_queues = n, .saved_size = saved };

	for (uint32_t q = 0; q < n; q++)
		s.queue_max[q] = max << (q & 1);
	return s;
}

static int make(const struct vg_record_shape *s, const char *spec)
{
	int fd = -1;
	int ret = vg_record_make(dir, "r", s, spec, &fd, &err);

	return ret < 0 ? ret : fd;
}

/* A state with something everywhere. */
static void fill_in(const struct vg_record_shape *s, struct vg_record_state *st, uint8_t *saved)
{
	memset(st, 0, sizeof(*st));
	st->connected = 1;
	st->control_ref = 7;
	st->control_channel = 8;
	st->status = 15;
	st->features = 0x123456789abcdefULL;
	st->generation = 3;
	st->n_pools = 2;
	st->pool[1] = (struct vg_record_pool){ 55, 64 };
	st->owed_len = 5;
	memcpy(st->owed, "owed", 5);
	for (uint32_t q = 0; q < s->n_queues; q++)
		st->queue[q] = (struct vg_record_queue){ 64, 100 + q, q + 1, q + 2, q + 3 };
	for (uint32_t i = 0; i < s->saved_size; i++)
		saved[i] = (uint8_t)(i * 7 + 1);
	st->saved = saved;
	st->saved_size = s->saved_size;
}

static void assert_state(const struct vg_record_state *a, const struct vg_record_state *b,
			 uint32_t queues, uint32_t saved)
{
	assert_memory_equal(a, b, offsetof(struct vg_record_state, queue));
	assert_memory_equal(a->queue, b->queue, queues * sizeof(a->queue[0]));
	assert_true(a->saved_size >= saved);
	assert_memory_equal(a->saved, b->saved, saved);
}

static void test_kept(void **state)
{
	struct vg_record_shape s = shape(3, 256, 1000);
	struct vg_record_state st, back;
	struct vg_record_view view;
	struct vg_record_map map;
	uint8_t saved[1000];
	struct stat before, after;
	int fd = make(&s, "blk,target=/a");

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(vg_record_peek(fd, &view), 0);
	assert_false(view.connected);
	assert_string_equal(view.spec, "blk,target=/a");
	assert_int_equal(vg_record_open(fd, &s, &map), 0);
	fill_in(&s, &st, saved);
	vg_record_write(&map, &st);
	vg_record_read(&map, &back);
	assert_state(&back, &st, VG_MAX_QUEUES, 1000);
	/* A worker that dies while it writes the other copy: this one stays. */
	st.generation = 4;
	vg_record_write(&map, &st);
	vg_record_read(&map, &back);
	assert_int_equal(back.generation, 4);
	vg_record_stats(&map)->resets = 1;
	vg_record_queue_stats(&map, 0)->requests = 10;
	vg_record_queue_stats(&map, 2)->requests = 32;
	vg_record_hyper(&map, 0)->maps = 5;
	vg_record_hyper(&map, 2)->maps = 6;
	vg_record_live(&map, 1)->size = 64;
	vg_record_offered(&map, 99);
	for (unsigned q = 0; q < 3; q++)
		memset(vg_record_inflight(&map, q), (int)q + 1,
		       vg_vq_inflight_size(s.queue_max[q], true));
	vg_record_fresh(&map, 1);
	assert_int_equal(((uint8_t *)vg_record_inflight(&map, 0))[0], 1);
	assert_int_equal(((uint8_t *)vg_record_inflight(&map, 1))[0], 0);
	assert_int_equal(((uint8_t *)vg_record_inflight(&map, 2))[0], 3);
	assert_int_equal(vg_record_peek(fd, &view), 0);
	assert_true(view.connected);
	assert_int_equal(view.n_queues, 3);
	assert_int_equal(view.stats.requests, 42);
	assert_int_equal(view.stats.resets, 1);
	assert_int_equal(view.queue_stats[2].requests, 32);
	assert_int_equal(view.hyper.maps, 11);
	assert_int_equal(view.live[1].size, 64);
	assert_int_equal(view.offered, 99);
	vg_record_close(&map);
	/* Made again with the same shape it is the same file, whoever has it open. */
	assert_int_equal(fstat(fd, &before), 0);
	close(make(&s, "blk,target=/b"));
	assert_int_equal(fstatat(dir, "r", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(vg_record_peek(fd, &view), 0);
	assert_string_equal(view.spec, "blk,target=/b");
	assert_int_equal(view.stats.requests, 42);
	close(fd);
}

/* queue-size= or queues= was edited, or the device keeps more of its own now. */
static void test_carried_over(void **state)
{
	struct vg_record_shape s = shape(3, 256, 64), wide = shape(5, 512, 1000),
			       few = shape(2, 256, 64);
	struct vg_record_state st, back;
	struct vg_record_map map;
	uint8_t saved[64], area[32768];
	size_t bytes = vg_vq_inflight_size(256, true);
	int fd = make(&s, "x");

	(void)state;
	assert_int_equal(vg_record_open(fd, &s, &map), 0);
	fill_in(&s, &st, saved);
	vg_record_write(&map, &st);
	vg_record_queue_stats(&map, 1)->requests = 10;
	for (size_t i = 0; i < bytes; i++)
		area[i] = (uint8_t)(i * 5 + 1);
	memcpy(vg_record_inflight(&map, 2), area, bytes);
	vg_record_close(&map);
	close(fd);

	fd = make(&wide, "x");
	assert_int_equal(vg_record_open(fd, &s, &map), -EPROTO);
	assert_int_equal(vg_record_open(fd, &wide, &map), 0);
	vg_record_read(&map, &back);
	assert_state(&back, &st, 5, 64);
	assert_int_equal(back.saved_size, 1000);
	assert_int_equal(((const uint8_t *)back.saved)[64], 0);
	assert_int_equal(vg_record_queue_stats(&map, 1)->requests, 10);
	assert_memory_equal(vg_record_inflight(&map, 2), area, bytes);
	vg_record_close(&map);
	close(fd);

	/* Fewer queues than the driver has set: that is told. */
	fd = make(&few, "x");
	assert_int_equal(vg_record_open(fd, &few, &map), 0);
	vg_record_read(&map, &back);
	assert_int_equal(back.lost_queues, 1);
	assert_int_equal(back.queue[1].size, 64);
	assert_int_equal(back.control_ref, 7);
	vg_record_close(&map);
	close(fd);
}

/* A worker of an earlier vgrantd finishes still: its last words must not be lost. */
static void test_in_use(void **state)
{
	struct vg_record_shape s = shape(1, 64, 64), wide = shape(2, 64, 64);
	struct vg_record_state st;
	struct vg_record_map map;
	uint8_t saved[64];
	int fd = make(&s, "x");

	(void)state;
	assert_int_equal(vg_record_open(fd, &s, &map), 0);
	fill_in(&s, &st, saved);
	vg_record_write(&map, &st);
	close(fd);
	/* It is mapped still, which counts as open. */
	assert_int_equal(make(&wide, "x"), -EBUSY);
	assert_non_null(strstr(err.text, "in use"));
	vg_record_close(&map);
	fd = make(&wide, "x");
	assert_true(fd >= 0);
	close(fd);
}

/* What 5d3f301 wrote: 12288 bytes of head, an area for each of 65 queues. Offsets by hand. */
static void test_version_2(void **state)
{
	enum { STATE = 24 + 2304, AREA0 = 12288 };
	struct vg_record_shape s = shape(2, 256, 200);
	struct vg_record_state back;
	struct vg_record_view view;
	struct vg_record_map map;
	size_t bytes = vg_vq_inflight_size(256, true), stride = (bytes + 4095) & ~(size_t)4095;
	size_t size = AREA0 + 65 * stride;
	uint8_t *old = calloc(1, size), area[32768];
	int fd = openat(dir, "r", O_RDWR | O_CREAT, 0600);
#define AT(type, off) (*(type *)(old + (off)))

	(void)state;
	AT(uint64_t, 0) = 0x56475245434f5244ULL;
	AT(uint32_t, 8) = 2;
	AT(uint32_t, 12) = 256;
	AT(uint32_t, 16) = 1; /* the second copy */
	AT(uint32_t, STATE) = 1;
	AT(uint32_t, STATE + 4) = 7;
	AT(uint32_t, STATE + 8) = 8;
	AT(uint32_t, STATE + 12) = 15;
	AT(uint64_t, STATE + 16) = 0xabcdef;
	AT(uint32_t, STATE + 24) = 3;
	AT(uint32_t, STATE + 28) = 1;
	AT(uint32_t, STATE + 32) = 55;
	AT(uint32_t, STATE + 36) = 64;
	memcpy(old + STATE + 160, "its own", 8);
	AT(uint32_t, STATE + 224 + 32) = 128;
	AT(uint32_t, STATE + 224 + 36) = 44;
	AT(uint64_t, STATE + 224 + 40) = 0x1000;
	AT(uint64_t, 4632) = 77;   /* offered */
	AT(uint64_t, 4640) = 1234; /* requests */
	for (size_t i = 0; i < bytes; i++)
		area[i] = old[AREA0 + stride + i] = (uint8_t)(i * 3 + 1);
	assert_int_equal(pwrite(fd, old, size, 0), size);
	assert_int_equal(vg_record_peek(fd, &view), 0);
	assert_true(view.connected);
	assert_int_equal(view.stats.requests, 1234);
	assert_string_equal(view.spec, "");
	close(fd);

	fd = make(&s, "x");
	assert_true(fd >= 0);
	assert_int_equal(vg_record_open(fd, &s, &map), 0);
	vg_record_read(&map, &back);
	assert_int_equal(back.connected, 1);
	assert_int_equal(back.control_ref, 7);
	assert_int_equal(back.control_channel, 8);
	assert_int_equal(back.status, 15);
	assert_int_equal(back.features, 0xabcdef);
	assert_int_equal(back.generation, 3);
	assert_int_equal(back.n_pools, 1);
	assert_int_equal(back.pool[0].first_ref, 55);
	assert_int_equal(back.pool[0].pages, 64);
	assert_int_equal(back.queue[1].size, 128);
	assert_int_equal(back.queue[1].channel, 44);
	assert_int_equal(back.queue[1].desc, 0x1000);
	assert_int_equal(back.lost_queues, 0);
	assert_string_equal(back.saved, "its own");
	assert_memory_equal(vg_record_inflight(&map, 1), area, bytes);
	assert_int_equal(vg_record_peek(fd, &view), 0);
	assert_int_equal(view.stats.requests, 1234);
	assert_string_equal(view.spec, "x");
	vg_record_close(&map);
	close(fd);
	free(old);
}

/* What lies about itself, or is something else, is refused, and replaced by a fresh one. */
static void test_files_that_lie(void **state)
{
	struct vg_record_shape s = shape(2, 64, 64);
	struct vg_record_state st, back;
	struct vg_record_view view;
	struct vg_record_map map;
	uint8_t saved[64], head[512];
	int fd = make(&s, "x");

	(void)state;
	assert_int_equal(vg_record_open(fd, &s, &map), 0);
	fill_in(&s, &st, saved);
	vg_record_write(&map, &st);
	vg_record_close(&map);
	assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
	/* Each word of the head at odds with the rest: an answer, whatever it is, and no harm. */
	for (size_t i = 8; i < 220; i += 4) {
		static const uint32_t evil[] = { 0, 1, 0xffff, 0x7fffffff, 0xffffffff, 0xfffff000 };

		for (unsigned k = 0; k < COUNT(evil); k++) {
			int ret;

			assert_int_equal(pwrite(fd, &evil[k], 4, (off_t)i), 4);
			ret = vg_record_peek(fd, &view);
			assert_true(ret == 0 || ret == -EPROTO);
			if (ret == 0)
				assert_true(view.n_queues <= VG_MAX_QUEUES);
			assert_int_equal(pwrite(fd, head + i, 4, (off_t)i), 4);
		}
	}
	assert_int_equal(vg_record_peek(fd, &view), 0);
	/* Too short for what it says. */
	assert_int_equal(ftruncate(fd, 300), 0);
	assert_int_equal(vg_record_peek(fd, &view), -EPROTO);
	assert_int_equal(vg_record_open(fd, &s, &map), -EPROTO);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(vg_record_peek(fd, &view), -ENODATA);
	assert_int_equal(pwrite(fd, "something else altogether", 25, 0), 25);
	assert_int_equal(vg_record_peek(fd, &view), -EPROTO);
	close(fd);
	fd = make(&s, "x");
	assert_true(fd >= 0);
	assert_int_equal(vg_record_open(fd, &s, &map), 0);
	vg_record_read(&map, &back);
	assert_int_equal(back.connected, 0);
	vg_record_close(&map);
	close(fd);
}

/* Its file is made shorter under a worker: that goes on, and tells; nothing is killed. */
static void test_taken_away(void **state)
{
	struct vg_record_shape s = shape(2, 64, 64);
	struct vg_record_state st, back;
	struct vg_record_map map;
	uint8_t saved[64];
	int fd = make(&s, "x");

	(void)state;
	assert_int_equal(vg_record_open(fd, &s, &map), 0);
	fill_in(&s, &st, saved);
	vg_record_write(&map, &st);
	assert_int_equal(ftruncate(fd, 0), 0);
	vg_record_queue_stats(&map, 1)->requests++;
	vg_record_write(&map, &st);
	vg_record_write(&map, &st);
	vg_record_read(&map, &back);
	assert_int_equal(back.control_ref, 7);
	assert_true(map.hurt_told);
	vg_record_fresh(&map, 1);
	vg_record_close(&map);
	close(fd);
}

/* The memory of a socket's worker: of one size, for good. */
static void test_memfd(void **state)
{
	struct vg_record_shape s = shape(1, 64, 64), wide = shape(2, 64, 64);
	struct vg_record_map map;
	struct vg_record_view view;
	int fd = -1, was;

	(void)state;
	assert_int_equal(vg_record_make_memfd(&s, "x", &fd, &err), 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	assert_int_equal(vg_record_open(fd, &s, &map), 0);
	vg_record_queue_stats(&map, 0)->requests = 9;
	vg_record_close(&map);
	was = fd;
	assert_int_equal(vg_record_make_memfd(&s, "y", &fd, &err), 0);
	assert_int_equal(fd, was);
	assert_int_equal(vg_record_make_memfd(&wide, "y", &fd, &err), 0);
	assert_int_equal(vg_record_peek(fd, &view), 0);
	assert_int_equal(view.stats.requests, 9);
	assert_int_equal(view.n_queues, 2);
	close(fd);
}

static void test_shapes_that_are_none(void **state)
{
	struct vg_record_shape none = shape(0, 64, 0), big = shape(1, 64, VG_RECORD_SAVED_MAX + 1);
	struct vg_record_shape zero = shape(2, 0, 0), huge = shape(1, 2 * VG_VQ_SIZE_MAX, 0);

	(void)state;
	assert_int_equal(make(&none, "x"), -EINVAL);
	assert_int_equal(make(&big, "x"), -EINVAL);
	assert_int_equal(make(&zero, "x"), -EINVAL);
	assert_int_equal(make(&huge, "x"), -EINVAL);
	assert_int_equal(faccessat(dir, "r", F_OK, 0), -1);
}

/* The runtime folder is full, for any reason: an error and a sentence, no signal later on. */
static void test_no_room(void **state)
{
	struct vg_record_shape s = shape(4, 256, 64);
	int fd;

	(void)state;
	if (geteuid() != 0 || mount("none", dir_name, "tmpfs", 0, "size=8k") < 0)
		skip();
	close(dir);
	dir = open(dir_name, O_RDONLY | O_DIRECTORY);
	fd = make(&s, "x");
	assert_int_equal(fd, -ENOSPC);
	assert_non_null(strstr(err.text, "no room for its record"));
	assert_int_equal(faccessat(dir, "r", F_OK, 0), -1);
	assert_int_equal(faccessat(dir, "r.new", F_OK, 0), -1);
	close(dir);
	assert_int_equal(umount2(dir_name, MNT_DETACH), 0);
	dir = open(dir_name, O_RDONLY | O_DIRECTORY);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_kept),	   T(test_carried_over),	 T(test_in_use),
		T(test_version_2), T(test_files_that_lie),	 T(test_taken_away),
		T(test_memfd),	   T(test_shapes_that_are_none), T(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
