// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How much a disk, or a group of disks, may do a second. Buckets are looked at on a clock of the
 * test's; a disk is given one byte a second, so that what has to wait does so for minutes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/blk/limit.h"
#include "tests/driver/testport.h"

#define IMAGE	"disk.img"
#define OTHER	"other.img"
#define TARGET	"blk,target=" IMAGE
#define SECTORS 2048u

static const struct blk_cost read_4k = { .requests = 1, .bytes = 4096 };
static const struct blk_cost write_4k = { .write = true, .requests = 1, .bytes = 4096 };
static const struct blk_cost flush = { .write = true };

static int make_images(void **state)
{
	static const char *const names[] = { IMAGE, OTHER };

	(void)state;
	for (unsigned i = 0; i < COUNT(names); i++) {
		int fd = open(names[i], O_RDWR | O_CREAT | O_TRUNC, 0600);

		if (fd < 0 || ftruncate(fd, SECTORS * DRV_SECTOR) < 0)
			return -1;
		close(fd);
	}
	return 0;
}

/* ---- buckets -------------------------------------------------------------- */

static void take_up(struct blk_limits *l, const char *spec)
{
	struct vg_params params;

	memset(l, 0, sizeof(*l));
	assert_int_equal(vg_params_parse(spec, &params, NULL), 0);
	blk_limits_take_up(l, &params);
}

/* Return: how many such requests are done from @from on for @ns. */
static unsigned done_in(struct blk_limits *l, const struct blk_cost *cost, int64_t from, int64_t ns)
{
	unsigned n = 0;

	for (int64_t now = from; now < from + ns;) {
		int64_t wait = blk_limits_wait(l, cost, now);

		if (wait) {
			now += wait;
			continue;
		}
		blk_limits_take(l, cost, now);
		n++;
	}
	return n;
}

static void test_words(void **state)
{
	static const struct {
		const char *spec;
		enum blk_limit which;
		uint64_t per_s;
	} cases[] = {
		{ "blk,iops=100", BLK_IOPS, 100 },
		{ "blk,total_iops_sec=100", BLK_IOPS, 100 },
		{ "blk,iops-read=7", BLK_IOPS_READ, 7 },
		{ "blk,read_iops_sec=7", BLK_IOPS_READ, 7 },
		{ "blk,iops-write=7", BLK_IOPS_WRITE, 7 },
		{ "blk,write_iops_sec=7", BLK_IOPS_WRITE, 7 },
		{ "blk,bps=10M", BLK_BPS, 10 << 20 },
		{ "blk,total_bytes_sec=10485760", BLK_BPS, 10 << 20 },
		{ "blk,bps-read=1K", BLK_BPS_READ, 1024 },
		{ "blk,read_bytes_sec=1K", BLK_BPS_READ, 1024 },
		{ "blk,bps-write=1K", BLK_BPS_WRITE, 1024 },
		{ "blk,write_bytes_sec=1K", BLK_BPS_WRITE, 1024 },
		{ "blk,iops=100,total_iops_sec=200", BLK_IOPS, 200 }, /* the last counts */
	};
	struct blk_limits l;
	struct vg_err err;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		take_up(&l, cases[i].spec);
		assert_true(blk_limits_on(&l));
		for (unsigned k = 0; k < BLK_LIMITS; k++)
			assert_int_equal(l.rate[k].per_s, k == cases[i].which ? cases[i].per_s : 0);
	}
	take_up(&l, "blk,burst=50");
	assert_false(blk_limits_on(&l));
	assert_int_equal(l.rate[BLK_BPS].burst, 50000000);
	assert_int_equal(blk_limits_set(&l, "iops", "many", &err), -EINVAL);
	assert_non_null(strstr(err.text, "iops must be a number"));
	assert_int_equal(blk_limits_set(&l, "burst", "0", &err), -EINVAL);
	assert_int_equal(blk_limits_set(&l, "serial", "1", &err), -ENOENT);
	assert_false(blk_limits_on(&l));
	assert_int_equal(blk_limits_set(&l, "read_bytes_sec", "2K", &err), 0);
	assert_true(blk_limits_on(&l));
	assert_int_equal(l.rate[BLK_BPS_READ].per_s, 2048);
	assert_int_equal(blk_limits_set(&l, "bps-read", "0", &err), 0);
	assert_false(blk_limits_on(&l));
}

static void test_buckets(void **state)
{
	const int64_t now = 5 * NS_PER_S;
	struct blk_limits l;

	(void)state;
	take_up(&l, "blk,iops=1000,burst=10");
	/* A second's worth, the burst, and the one that is not paid for yet. */
	assert_in_range(done_in(&l, &read_4k, now, NS_PER_S), 1000, 1011);
	assert_int_equal(blk_limits_wait(&l, &flush, now + NS_PER_S), 0); /* free, as in QEMU */
	assert_true(blk_limits_wait(&l, &write_4k, now + NS_PER_S - 1) > 0);

	take_up(&l, "blk,bps=4096K,burst=10");
	assert_in_range(done_in(&l, &write_4k, now, NS_PER_S), 1024, 1036);

	/* Reads and writes have buckets of their own, and one together. */
	take_up(&l, "blk,iops-read=10,iops=1000,burst=100");
	assert_in_range(done_in(&l, &read_4k, now, NS_PER_S), 10, 12);
	assert_int_equal(blk_limits_wait(&l, &write_4k, now + NS_PER_S), 0);
	assert_true(blk_limits_wait(&l, &read_4k, now + NS_PER_S - 1) > 0);

	/* What is done later after all is not paid for twice. */
	take_up(&l, "blk,bps=4096,burst=1000");
	blk_limits_take(&l, &write_4k, now);
	blk_limits_take(&l, &write_4k, now);
	assert_in_range(blk_limits_wait(&l, &write_4k, now), NS_PER_S, NS_PER_S);
	blk_limits_give_back(&l, &write_4k);
	assert_int_equal(blk_limits_wait(&l, &write_4k, now), 0);

	/* Nor is a limit overrun by what no bucket can hold. */
	take_up(&l, "blk,bps=1,burst=1");
	blk_limits_take(&l, &(struct blk_cost){ .write = true, .bytes = UINT64_MAX }, now);
	blk_limits_take(&l, &(struct blk_cost){ .write = true, .bytes = UINT64_MAX }, now);
	assert_true(blk_limits_wait(&l, &write_4k, now) > 365 * 86400 * NS_PER_S);
}

/* ---- disks ---------------------------------------------------------------- */

static struct drv_blk_req pending[8];
static struct drv_buf memory;

/* A request of one sector, whose answer nobody waits for yet. */
static void submit(struct tp *tp, struct drv_blk *blk, unsigned i, uint32_t type)
{
	if (!memory.len)
		assert_int_equal(drv_alloc(&tp->flat.mem, 4096, 4096, true, &memory), 0);
	pending[i] = (struct drv_blk_req){
		.type = type,
		.sector = i,
		.dev_writes = type == VIRTIO_BLK_T_IN,
		.seg = { { memory.addr, type == VIRTIO_BLK_T_FLUSH ? 0 : 512 } },
		.segs = type == VIRTIO_BLK_T_FLUSH ? 0 : 1,
	};
	assert_int_equal(drv_blk_submit(blk, &pending[i]), 0);
	tp_kick(tp, 0);
	tp_settle(tp);
}

static void finish(struct tp *tp, struct drv_blk *blk)
{
	struct drv_used used;

	tp_wait(tp, 0, &used);
	assert_int_equal(drv_blk_finish(blk, &used)->result, 0);
}

static bool is_back(struct tp *tp, struct drv_blk *blk)
{
	struct drv_used used;

	tp_settle(tp);
	if (drv_vring_get(&tp->vr[0], &used) <= 0)
		return false;
	assert_int_equal(drv_blk_finish(blk, &used)->result, 0);
	return true;
}

static void open_disk(struct tp *tp, struct drv_blk *blk, const char *spec)
{
	memset(&memory, 0, sizeof(memory));
	tp_open(tp, TP_COPY, spec);
	tp_start(tp, TP_ALL, 16);
	tp_blk(tp, 0, blk);
}

/* A disk at its limit takes nothing more, and goes on when the limit is changed. */
static void test_at_the_limit(void **state)
{
	struct drv_blk blk;
	struct vg_err err;
	char text[256];
	struct tp tp;

	(void)state;
	open_disk(&tp, &blk, TARGET ",bps-write=1");
	submit(&tp, &blk, 0, VIRTIO_BLK_T_IN);
	finish(&tp, &blk);
	submit(&tp, &blk, 1, VIRTIO_BLK_T_OUT);
	finish(&tp, &blk);
	submit(&tp, &blk, 2, VIRTIO_BLK_T_IN); /* reads have no limit */
	finish(&tp, &blk);
	submit(&tp, &blk, 3, VIRTIO_BLK_T_FLUSH);
	finish(&tp, &blk);
	tp.dev.ops->describe(&tp.dev, text, sizeof(text));
	assert_null(strstr(text, "limit"));
	submit(&tp, &blk, 4, VIRTIO_BLK_T_OUT);
	assert_false(is_back(&tp, &blk));
	submit(&tp, &blk, 5, VIRTIO_BLK_T_OUT);
	assert_false(is_back(&tp, &blk));
	tp.dev.ops->describe(&tp.dev, text, sizeof(text));
	assert_non_null(strstr(text, "limit"));
	assert_int_equal(tp.dev.ops->set(&tp.dev, "serial", "x", &err), -ENOENT);
	assert_non_null(strstr(err.text, "cannot be changed while running"));
	assert_int_equal(tp.dev.ops->set(&tp.dev, "bps-write", "0", &err), 0);
	finish(&tp, &blk);
	finish(&tp, &blk);
	assert_int_equal(dh_stats(&tp.dev).errors, 0);
	tp_close(&tp);
}

/* Zeroes count as the bytes that they come to, not as those of the request. */
static void test_zeroes_count(void **state)
{
	struct drv_blk blk;
	struct vg_err err;
	struct tp tp;

	(void)state;
	open_disk(&tp, &blk, TARGET ",bps=100M,burst=1");
	assert_int_equal(drv_blk_write_zeroes(&blk, 0, 2048, false), 0);
	/* The request itself is 16 bytes, which the burst allows at once; a MiB lasts ten seconds. */
	assert_int_equal(tp.dev.ops->set(&tp.dev, "bps", "100K", &err), 0);
	assert_int_equal(drv_blk_write_zeroes(&blk, 0, 2048, false), 0);
	submit(&tp, &blk, 0, VIRTIO_BLK_T_OUT);
	assert_false(is_back(&tp, &blk));
	tp_close(&tp);
}

/* Requests that wait for their limit are nobody's when the driver resets its disk. */
static void test_reset_at_the_limit(void **state)
{
	struct drv_blk blk;
	struct tp tp;

	(void)state;
	open_disk(&tp, &blk, TARGET ",bps=1");
	submit(&tp, &blk, 0, VIRTIO_BLK_T_OUT);
	finish(&tp, &blk);
	submit(&tp, &blk, 1, VIRTIO_BLK_T_OUT);
	assert_false(is_back(&tp, &blk));
	tp_reset(&tp);
	tp_start(&tp, TP_ALL, 16);
	tp_blk(&tp, 0, &blk);
	submit(&tp, &blk, 2, VIRTIO_BLK_T_FLUSH);
	finish(&tp, &blk);
	tp_close(&tp);
}

/* ---- groups --------------------------------------------------------------- */

static void give(struct tp *tp, const char *group)
{
	struct vg_err err = { "" };
	int fd = blk_limits_lend(group, &err);

	if (fd < 0)
		fail_msg("%s", err.text);
	tp->dev.ops->given(&tp->dev, "limits", fd, NULL);
}

/* Two disks of one group draw from one bucket; a third is in another. */
static void test_group(void **state)
{
	static struct tp a, b, c;
	struct drv_blk one, two, three;
	struct vg_err err;

	(void)state;
	open_disk(&a, &one, TARGET ",bps=1,limit-group=g");
	give(&a, "g");
	submit(&a, &one, 0, VIRTIO_BLK_T_OUT);
	finish(&a, &one);

	open_disk(&b, &two, "blk,target=" OTHER ",readonly,group_name=g");
	give(&b, "g");
	submit(&b, &two, 0, VIRTIO_BLK_T_IN);
	assert_false(is_back(&b, &two)); /* though it says no limit, and has done nothing */

	open_disk(&c, &three, "blk,target=" OTHER ",readonly,bps=1,limit-group=h");
	give(&c, "h");
	submit(&c, &three, 1, VIRTIO_BLK_T_IN);
	finish(&c, &three);

	/* The first has said how much; another that comes says the same or is not heard. */
	tp_close(&c);
	open_disk(&c, &three, "blk,target=" OTHER ",readonly,bps=0,limit-group=g");
	give(&c, "g");
	submit(&c, &three, 1, VIRTIO_BLK_T_IN);
	assert_false(is_back(&c, &three));

	/* A change to one is a change to all. */
	assert_int_equal(a.dev.ops->set(&a.dev, "bps", "0", &err), 0);
	finish(&b, &two);
	finish(&c, &three);
	tp_close(&c);
	tp_close(&b);
	tp_close(&a);

	/* A group that nobody was in any more begins anew. */
	open_disk(&a, &one, TARGET ",limit-group=g");
	give(&a, "g");
	submit(&a, &one, 0, VIRTIO_BLK_T_OUT);
	finish(&a, &one);
	submit(&a, &one, 1, VIRTIO_BLK_T_OUT);
	finish(&a, &one);
	tp_close(&a);
}

/* The supervisor makes memory for the group that the configuration names, and for no other. */
static void test_lend(void **state)
{
	const struct vg_device_ops *ops = vg_device_find("blk");
	struct vg_params params;
	struct vg_err err;
	int fd;

	(void)state;
	assert_int_equal(vg_params_parse(TARGET, &params, &err), 0);
	assert_int_equal(ops->lend(&params, "limits", &err), -EPERM);
	assert_int_equal(vg_params_parse(TARGET ",limit-group=g", &params, &err), 0);
	fd = ops->lend(&params, "limits", &err);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 0), -1); /* no guest's worker ends another's by SIGBUS */
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	close(fd);
}

/* As many groups as there are devices, however many there were. */
static void test_groups_end(void **state)
{
	struct vg_err err;
	char name[32];

	(void)state;
	for (unsigned i = 0; i < 3 * VG_LIMIT_DEVICES; i++) {
		int fd;

		snprintf(name, sizeof(name), "g%u", i);
		fd = blk_limits_lend(name, &err);
		if (fd < 0)
			fail_msg("%s: %s", name, err.text);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_at_the_limit),
		cmocka_unit_test(test_zeroes_count),
		cmocka_unit_test(test_reset_at_the_limit),
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_lend),
		cmocka_unit_test(test_groups_end),
	};

	return cmocka_run_group_tests(tests, make_images, NULL);
}
