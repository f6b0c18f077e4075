// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Images without a device: several channels and threads on one image, draining,
 * cancelling, writes that must not overlap, and what other formats look like.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/images/raw.h"

#define IMAGE "image"
enum { SIZE = 1 << 20, BLOCK = 4096 };

static int make_image(void **state)
{
	int fd = open(IMAGE, O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)state;
	if (fd < 0 || ftruncate(fd, SIZE) < 0)
		return -1;
	close(fd);
	return 0;
}

static struct vg_image *open_image(const struct vg_image_config *cfg)
{
	struct vg_err err = { "" };
	struct vg_image *img;

	if (vg_image_open(cfg, &img, &err) < 0 || vg_image_probe(img, &err) < 0)
		fail_msg("%s", err.text);
	return img;
}

struct job {
	struct vg_image_req r;
	struct iovec iov;
	int error;
	bool done;
};

static void job_done(struct vg_image_req *r, int error)
{
	struct job *j = container_of(r, struct job, r);

	assert_false(j->done);
	j->done = true;
	j->error = error;
}

static void job(struct job *j, enum vg_image_op op, void *buf, uint64_t offset, uint64_t len)
{
	*j = (struct job){ .iov = { buf, len } };
	j->r = (struct vg_image_req){
		.done = job_done, .op = op, .offset = offset, .len = len, .iov = &j->iov, .niov = 1
	};
}

static void wait_for(struct vg_loop *loop, const bool *done)
{
	while (!*done)
		assert_true(vg_loop_turn(loop, true) >= 0);
}

static bool drained;

static void on_drained(struct vg_image_channel *ch)
{
	assert_int_equal(ch->inflight, 0);
	assert_false(drained);
	drained = true;
}

static void test_drain(void **state)
{
	static uint8_t buf[16][BLOCK];
	struct vg_image *img = open_image(&(struct vg_image_config){ .path = IMAGE });
	struct vg_image_channel ch;
	struct vg_loop *loop;
	struct job j[16];

	(void)state;
	assert_int_equal(img->size, SIZE);
	assert_int_equal(vg_loop_new(32, &loop), 0);
	assert_int_equal(vg_image_channel_open(img, loop, &ch), 0);
	drained = false;
	vg_image_drain(&ch, on_drained); /* nothing in flight: at once */
	assert_true(drained);
	drained = false;
	for (unsigned i = 0; i < COUNT(j); i++) {
		job(&j[i], i % 2 ? VG_IMAGE_READ : VG_IMAGE_WRITE, buf[i], i * BLOCK, BLOCK);
		vg_image_submit(&ch, &j[i].r);
	}
	assert_false(j[0].done); /* never from submit */
	vg_image_drain(&ch, on_drained);
	assert_false(drained);
	wait_for(loop, &drained);
	for (unsigned i = 0; i < COUNT(j); i++)
		assert_true(j[i].done && j[i].error == 0);
	vg_image_channel_close(&ch);
	vg_loop_free(loop);
	vg_image_close(img);
}

/* A request that is cancelled is done once, whether it was in time or not. */
static void test_cancel(void **state)
{
	static uint8_t buf[64][BLOCK];
	struct vg_image *img =
		open_image(&(struct vg_image_config){ .path = IMAGE, .cache = VG_CACHE_NONE });
	struct vg_image_channel ch;
	struct vg_loop *loop;
	struct job j[64];

	(void)state;
	assert_int_equal(vg_loop_new(128, &loop), 0);
	assert_int_equal(vg_image_channel_open(img, loop, &ch), 0);
	for (unsigned i = 0; i < COUNT(j); i++) {
		/* At an odd address: more than there are bounce buffers, so that some wait. */
		job(&j[i], i % 2 ? VG_IMAGE_READ : VG_IMAGE_WRITE, buf[i] + 1, i * BLOCK,
		    BLOCK - 512);
		vg_image_submit(&ch, &j[i].r);
		if (i % 3)
			vg_image_cancel(&j[i].r);
	}
	drained = false;
	vg_image_drain(&ch, on_drained);
	wait_for(loop, &drained);
	for (unsigned i = 0; i < COUNT(j); i++) {
		assert_true(j[i].done);
		assert_true(j[i].error == 0 || (i % 3 && j[i].error == -ECANCELED));
	}
	vg_image_channel_close(&ch);
	vg_loop_free(loop);
	vg_image_close(img);
}

/* ---- threads ---------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 200 };

struct thread {
	struct vg_image *img;
	unsigned n;
	bool ok;
};

/* Each has its own sectors; each block has sectors of all. */
static void *writes(void *arg)
{
	struct thread *t = arg;
	uint8_t buf[512], back[512];
	struct vg_image_channel ch;
	struct vg_loop *loop;
	struct job j;

	t->ok = vg_loop_new(16, &loop) == 0 && vg_image_channel_open(t->img, loop, &ch) == 0;
	for (unsigned i = 0; t->ok && i < ROUNDS; i++) {
		uint64_t at = ((uint64_t)(i % 8) * THREADS + t->n) * 512;

		memset(buf, (int)(i + t->n), sizeof(buf));
		job(&j, VG_IMAGE_WRITE, buf, at, 512);
		vg_image_submit(&ch, &j.r);
		wait_for(loop, &j.done);
		t->ok = j.error == 0;
		job(&j, VG_IMAGE_READ, back, at, 512);
		vg_image_submit(&ch, &j.r);
		wait_for(loop, &j.done);
		t->ok = t->ok && j.error == 0 && memcmp(buf, back, sizeof(buf)) == 0;
	}
	vg_image_channel_close(&ch);
	vg_loop_free(loop);
	return NULL;
}

/* As on a disk that writes 4096 bytes at once: sectors of one block, by several threads. */
static void test_threads(void **state)
{
	struct vg_image *img =
		open_image(&(struct vg_image_config){ .path = IMAGE, .cache = VG_CACHE_NONE });
	struct vg_raw *raw = container_of(img, struct vg_raw, image);
	pthread_t id[THREADS];
	struct thread t[THREADS];

	(void)state;
	if (!raw->direct) {
		vg_image_close(img);
		skip();
	}
	raw->offset_align = BLOCK;
	raw->serialise = true;
	for (unsigned i = 0; i < THREADS; i++) {
		t[i] = (struct thread){ .img = img, .n = i };
		assert_int_equal(pthread_create(&id[i], NULL, writes, &t[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(id[i], NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_true(t[i].ok);
	assert_null(raw->ranges.first);
	vg_image_close(img);
}

/* ---- ranges ----------------------------------------------------------------- */

static unsigned runs;

static void range_runs(struct vg_post *p)
{
	(void)p;
	runs++;
}

static void test_ranges(void **state)
{
	struct vg_range a = { .start = 0, .end = 8192 }, b = { .start = 4096, .end = 8192 },
			c = { .start = 4096, .end = 12288, .exclusive = true },
			d = { .start = 8192, .end = 12288 }, e = { .start = 20480, .end = 24576 };
	struct vg_ranges rs;
	struct vg_loop *loop;

	(void)state;
	assert_int_equal(vg_loop_new(8, &loop), 0);
	vg_ranges_init(&rs);
	c.loop = d.loop = loop;
	c.post.run = d.post.run = range_runs;
	assert_true(vg_range_enter(&rs, &a));
	assert_true(vg_range_enter(&rs, &b)); /* overlaps, but neither is exclusive */
	assert_false(vg_range_enter(&rs, &c));
	assert_false(vg_range_enter(&rs, &d)); /* behind one that waits: nobody overtakes */
	assert_true(vg_range_enter(&rs, &e));
	vg_range_leave(&rs, &a);
	vg_loop_turn(loop, false);
	assert_int_equal(runs, 0);
	vg_range_leave(&rs, &b);
	vg_loop_turn(loop, false);
	assert_int_equal(runs, 1);
	assert_false(c.waiting);
	assert_true(d.waiting);
	vg_range_leave(&rs, &c);
	vg_loop_turn(loop, false);
	assert_int_equal(runs, 2);
	vg_range_leave(&rs, &e);
	vg_range_leave(&rs, &d);
	assert_null(rs.first);
	assert_null(rs.last);
	vg_loop_free(loop);
}

/* ---- what images look like --------------------------------------------------- */

static void test_guess(void **state)
{
	static const struct {
		const char *name, *mark;
		unsigned len, at;
	} rows[] = {
		{ "qcow2", "QFI\xfb\0\0\0\3", 8, 0 },
		{ "VHDX", "vhdxfile", 8, 0 },
		{ "VHD", "conectix", 8, 0 },
		{ "VHD", "conectix", 8, SIZE - 512 },
		{ "VMDK", "KDMV", 4, 0 },
		{ "VDI", "\x7f\x10\xda\xbe", 4, 64 },
		{ "gzip", "\x1f\x8b\x08", 3, 0 },
		{ NULL, "\xeb\x63\x90", 3, 0 },
		{ NULL, "QFI", 3, 0 },
		{ NULL, "conectix", 8, 512 },
	};

	(void)state;
	assert_null(vg_image_guess("QF", 2, NULL, 0));
	assert_null(vg_image_guess("", 0, "", 0));
	for (size_t i = 0; i < COUNT(rows); i++) {
		for (unsigned direct = 0; direct < 2; direct++) {
			const struct vg_image_config cfg = { .path = IMAGE,
							     .cache = direct ? VG_CACHE_NONE
									     : VG_CACHE_PAGES };
			const char *name;
			struct vg_image *img;
			int fd;

			make_image(NULL);
			fd = open(IMAGE, O_RDWR);
			assert_int_equal(pwrite(fd, rows[i].mark, rows[i].len, rows[i].at),
					 rows[i].len);
			close(fd);
			name = vg_image_guess_file(IMAGE);
			img = open_image(&cfg);
			if (rows[i].name) {
				assert_non_null(img->looks_like);
				assert_non_null(strstr(img->looks_like, rows[i].name));
				assert_string_equal(name, img->looks_like);
			} else {
				assert_null(img->looks_like);
				assert_null(name);
			}
			vg_image_close(img);
		}
	}
	assert_null(vg_image_guess_file("/nothing/here"));
}

#define TEST(f) cmocka_unit_test_setup(f, make_image)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_drain),  TEST(test_cancel), TEST(test_threads),
		TEST(test_ranges), TEST(test_guess),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
