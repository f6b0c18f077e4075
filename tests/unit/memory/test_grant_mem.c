/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_grant_mem.c - guest memory over grants, on the fake Xen: copies, maps, pools
 *
 * Each test ends with the same question: does the backend hold any grant of the guest? And the
 * counters that `vgrant list` shows are compared with what the fake Xen has seen.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/base/container.h"
#include "backend/memory/backing.h"
#include "backend/memory/data.h"
#include "backend/memory/grants.h"
#include "backend/virtio/virtqueue.h"
#include "tests/fakes/xen/fake_xen.h"
#include "virtio_grant.h"

enum { PAGE = 4096, PAGES = 64 };

static struct fx_world *world;
static struct fx_domain *guest;
static unsigned domid;
static long pfn;
static uint32_t ref; /* of PAGES consecutive references, read-write */
static struct vg_grant_mem gm;
static struct vg_batch batch;

static int make_world(void **state)
{
	long first;

	(void)state;
	assert_int_equal(fx_world_start(NULL, &world), 0);
	assert_int_equal(fx_domain_create(world, NULL, &domid), 0);
	assert_int_equal(fx_domain_open(world, domid, &guest), 0);
	pfn = fx_pages_alloc(guest, PAGES);
	assert_true(pfn >= 0);
	first = fx_grant(guest, 0, (unsigned long)pfn, PAGES, 0);
	assert_true(first > 0);
	ref = (uint32_t)first;
	return 0;
}

static int end_world(void **state)
{
	(void)state;
	fx_domain_close(guest);
	fx_world_stop(world);
	return 0;
}

static int open_mem(void **state)
{
	static const struct fx_fault none;

	(void)state;
	assert_int_equal(vg_grant_mem_init(&gm, domid, NULL, NULL), 0);
	vg_batch_init(&batch, &gm.mem);
	fx_inject(world, 0, FX_OP_COPY, &none);
	fx_inject(world, 0, FX_OP_MAP, &none);
	fx_stats_reset(world, 0);
	for (unsigned i = 0; i < PAGES; i++)
		memset(fx_page(guest, (unsigned long)pfn + i), (int)i + 1, PAGE);
	return 0;
}

static int close_mem(void **state)
{
	struct fx_stats st;

	(void)state;
	fx_stats(world, 0, &st);
	assert_int_equal(gm.data_pages, 0);
	assert_int_equal(gm.stats->copy_calls, st.calls[FX_OP_COPY]);
	assert_int_equal(gm.stats->copy_hypercalls, st.hypercalls[FX_OP_COPY]);
	assert_int_equal(gm.stats->copied_bytes, st.copied);
	assert_int_equal(gm.stats->maps, st.calls[FX_OP_MAP]);
	assert_int_equal(gm.stats->mapped_pages, st.items[FX_OP_MAP]);
	vg_grant_mem_close(&gm);
	assert_int_equal(fx_grants_in_use(world, domid), 0);
	return 0;
}

static uint64_t at(unsigned page, unsigned off)
{
	return VIRTIO_GRANT_ADDR((uint64_t)ref + page, off);
}

static uint8_t *mem_at(unsigned page, unsigned off)
{
	return (uint8_t *)fx_page(guest, (unsigned long)pfn + page) + off;
}

/* Linux gives the first mapping of a process up when a completion of io_uring comes meanwhile. */
static void a_map_that_is_interrupted(void **state)
{
	const struct fx_fault interrupted = { .count = 2, .status = EINTR };
	void *p;

	(void)state;
	fx_inject(world, 0, FX_OP_MAP, &interrupted);
	p = vg_grant_map(&gm, ref, 3);
	assert_non_null(p);
	assert_memory_equal(p, mem_at(0, 0), 3 * PAGE);
	vg_grant_unmap(&gm, p, 3);
}

/* It is not tried for ever. */
static void a_map_that_is_interrupted_always(void **state)
{
	const struct fx_fault interrupted = { .count = UINT32_MAX, .status = EINTR };

	(void)state;
	fx_inject(world, 0, FX_OP_MAP, &interrupted);
	assert_null(vg_grant_map(&gm, ref, 1));
	assert_int_equal(errno, EINTR);
}

/* A copy that fails is told to its own owner; its neighbours, before and behind, are done. */
static void copy_fails_in_the_middle(void **state)
{
	static uint8_t buf[12][3 * PAGE];
	int error[12];

	(void)state;
	for (unsigned bad = 0; bad < 12; bad++) {
		memset(buf, 0, sizeof(buf));
		memset(error, 0, sizeof(error));
		for (unsigned i = 0; i < 12; i++) {
			/* Four pieces each, but for the bad one: its first reference is free. */
			uint64_t addr = i == bad ? VIRTIO_GRANT_ADDR(ref + PAGES + 1000ull, 5)
						 : at(4 * i, 5);

			vg_batch_add(&batch, addr, buf[i], sizeof(buf[i]), VG_FROM_GUEST,
				     &error[i]);
		}
		assert_int_equal(vg_batch_run(&batch), -EFAULT);
		for (unsigned i = 0; i < 12; i++) {
			assert_int_equal(error[i], i == bad ? -EFAULT : 0);
			if (i != bad)
				assert_memory_equal(buf[i], mem_at(4 * i, 5), sizeof(buf[i]));
		}
		assert_int_equal(vg_batch_run(&batch), 0);
	}
}

/* The same with the failure within one range, at each of its pages, in both directions. */
static void copy_fails_within_a_range(void **state)
{
	static uint8_t buf[8 * PAGE], other[PAGE];
	int error, fine;

	(void)state;
	for (unsigned dir = 0; dir < 2; dir++)
		for (uint32_t k = 0; k < 9; k++) {
			const struct fx_fault f = { .skip = k, .count = 1, .status = -1 };

			error = fine = 0;
			fx_inject(world, 0, FX_OP_COPY, &f);
			vg_batch_add(&batch, at(0, 100), buf, 8 * PAGE,
				     dir ? VG_TO_GUEST : VG_FROM_GUEST, &error);
			vg_batch_add(&batch, at(20, 0), other, PAGE, VG_FROM_GUEST, &fine);
			assert_int_equal(vg_batch_run(&batch), -EFAULT);
			assert_int_equal(error, -EFAULT);
			assert_int_equal(fine, 0);
			assert_memory_equal(other, mem_at(20, 0), PAGE);
		}
}

/* More than one call's worth: errors stay with their copies across the calls. */
static void copies_of_several_calls(void **state)
{
	static uint8_t buf[PAGES / 2 * PAGE];
	static int error[80];
	const struct fx_fault f = { .skip = 1024 + 7, .count = 1, .status = -1 };

	(void)state;
	fx_inject(world, 0, FX_OP_COPY, &f);
	for (unsigned i = 0; i < 80; i++) {
		error[i] = 0;
		vg_batch_add(&batch, at(0, 0), buf, sizeof(buf), VG_FROM_GUEST, &error[i]);
	}
	assert_int_equal(vg_batch_run(&batch), -EFAULT);
	for (unsigned i = 0; i < 80; i++)
		assert_int_equal(error[i], i == 1031 / 32 ? -EFAULT : 0);
	assert_int_equal(gm.stats->copy_calls, 3); /* 80 * 32 pages, 1024 at a time */
	assert_memory_equal(buf, mem_at(0, 0), sizeof(buf));
}

/* Addresses that are none are refused, and their neighbours are copied. */
static void copy_of_no_address(void **state)
{
	static const uint64_t none[] = { 0, 4096, VIRTIO_GRANT_ADDR_FLAG | 1ull << 44,
					 VIRTIO_GRANT_ADDR(UINT32_MAX, 4095), UINT64_MAX };
	uint8_t buf[16] = { 0 }, fine[16];
	int error, ok;

	(void)state;
	for (unsigned i = 0; i < COUNT(none); i++) {
		error = ok = 0;
		memset(fine, 0, sizeof(fine));
		vg_batch_add(&batch, none[i], buf, sizeof(buf), VG_TO_GUEST, &error);
		vg_batch_add(&batch, at(3, 4090), fine, sizeof(fine), VG_FROM_GUEST, &ok);
		assert_int_equal(vg_batch_run(&batch), -EFAULT);
		assert_int_equal(error, -EFAULT);
		assert_int_equal(ok, 0);
		assert_memory_equal(fine, "\4\4\4\4\4\4\5\5\5\5\5\5\5\5\5\5", 16);
	}
}

/* ---- data that is mapped --------------------------------------------------- */

static struct vg_chain chain_of(struct vg_seg *segs, unsigned n, enum vg_dir dir)
{
	struct vg_chain c = { .segs = segs };
	uint32_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += segs[i].len;
	if (dir == VG_FROM_GUEST) {
		c.n_out = (uint16_t)n;
		c.out_len = len;
	} else {
		c.n_in = (uint16_t)n;
		c.in_len = len;
	}
	return c;
}

/* One map for all of a request; neighbours are one iovec; gone at its end. */
static void data_is_mapped(void **state)
{
	struct vg_seg segs[] = { { at(0, 100), PAGE - 100 },
				 { at(1, 0), 2 * PAGE },
				 { at(8, 512), 1024 },
				 { at(4, 0), PAGE + 1 } };
	struct vg_chain c = chain_of(segs, 4, VG_TO_GUEST);
	struct vg_data d;

	(void)state;
	gm.mem.map_from = PAGE;
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 0, c.in_len), 0);
	assert_int_equal(d.niov, 3);
	assert_int_equal(gm.data_pages, 6);
	assert_int_equal(gm.stats->maps, 1);
	assert_int_equal(d.iov[0].iov_len, 3 * PAGE - 100);
	assert_ptr_equal((uint8_t *)d.iov[1].iov_base - 512,
			 (uint8_t *)d.iov[0].iov_base - 100 + 3 * PAGE);
	for (unsigned i = 0; i < 3; i++)
		memset(d.iov[i].iov_base, 0xe0 + (int)i, d.iov[i].iov_len);
	vg_data_finish(&d, &batch, d.len);
	assert_int_equal(vg_batch_run(&batch), 0);
	vg_data_end(&d);
	assert_int_equal(gm.stats->unmaps, 1);
	assert_int_equal(fx_grants_in_use(world, domid), 0);
	assert_int_equal(gm.stats->copy_calls, 0);
	assert_int_equal(*mem_at(0, 99), 1);
	assert_int_equal(*mem_at(0, 100), 0xe0);
	assert_int_equal(*mem_at(2, PAGE - 1), 0xe0);
	assert_int_equal(*mem_at(8, 512), 0xe1);
	assert_int_equal(*mem_at(8, 1536), 9);
	assert_int_equal(*mem_at(5, 0), 0xe2);
	assert_int_equal(*mem_at(5, 1), 6);

	/* Smaller than that: copied. */
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 0, PAGE - 1), 0);
	assert_int_equal(gm.stats->maps, 1);
	vg_data_end(&d);
}

/* What the driver granted for reading only can be mapped for that, and is not writable. */
static void data_read_only(void **state)
{
	long first = fx_grant(guest, 0, (unsigned long)pfn, 2, FX_GRANT_RO);
	struct vg_seg seg = { VIRTIO_GRANT_ADDR((uint64_t)first, 0), 2 * PAGE };
	struct vg_chain out = chain_of(&seg, 1, VG_FROM_GUEST);
	struct vg_chain in = chain_of(&seg, 1, VG_TO_GUEST);
	struct vg_data d;

	(void)state;
	gm.mem.map_from = 1;
	assert_int_equal(vg_data_begin(&d, &batch, &out, VG_FROM_GUEST, 0, 2 * PAGE), 0);
	assert_int_equal(gm.data_pages, 2);
	assert_int_equal(vg_batch_run(&batch), 0);
	assert_memory_equal(d.iov[0].iov_base, mem_at(0, 0), 2 * PAGE);
	vg_data_end(&d);
	/* For writing: the map fails, and so does the copy, which says so. */
	assert_int_equal(vg_data_begin(&d, &batch, &in, VG_TO_GUEST, 0, 2 * PAGE), 0);
	assert_int_equal(gm.data_pages, 0);
	vg_data_finish(&d, &batch, d.len);
	assert_int_equal(vg_batch_run(&batch), -EFAULT);
	assert_int_equal(in.error, -EFAULT);
	vg_data_end(&d);
	assert_int_equal(fx_grant_end(guest, (uint32_t)first, 2), 0);
}

/* A map of many of which one fails leaves nothing mapped, and the data is copied. */
static void map_fails_in_the_middle(void **state)
{
	struct vg_seg segs[] = { { at(0, 0), 4 * PAGE }, { at(16, 0), 4 * PAGE } };
	struct vg_chain c = chain_of(segs, 2, VG_FROM_GUEST);
	struct vg_data d;

	(void)state;
	gm.mem.map_from = PAGE;
	for (uint32_t k = 0; k < 8; k++) {
		const struct fx_fault f = { .skip = k, .count = 1, .status = -1 };

		fx_inject(world, 0, FX_OP_MAP, &f);
		assert_int_equal(vg_data_begin(&d, &batch, &c, VG_FROM_GUEST, 0, 8 * PAGE), 0);
		assert_int_equal(gm.data_pages, 0);
		assert_int_equal(fx_grants_in_use(world, domid), 0);
		assert_int_equal(vg_batch_run(&batch), 0);
		assert_int_equal(c.error, 0);
		assert_memory_equal(d.iov[0].iov_base, mem_at(0, 0), 4 * PAGE);
		assert_memory_equal((uint8_t *)d.iov[0].iov_base + 4 * PAGE, mem_at(16, 0),
				    4 * PAGE);
		vg_data_end(&d);
	}
	/* A reference that is not there: the copy names the chain. */
	segs[1].addr = at(PAGES + 1000, 0);
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_FROM_GUEST, 0, 8 * PAGE), 0);
	assert_int_equal(vg_batch_run(&batch), -EFAULT);
	assert_int_equal(c.error, -EFAULT);
	vg_data_end(&d);
}

/* No more than the limit is mapped; the rest is copied; what ends makes room. */
static void mapped_data_is_bounded(void **state)
{
	enum { EACH = PAGES, FIT = VG_LIMIT_DATA_PAGES / EACH };
	struct vg_seg seg = { at(0, 0), EACH * PAGE };
	struct vg_chain c = chain_of(&seg, 1, VG_FROM_GUEST);
	static struct vg_data d[FIT + 1];
	struct fx_stats st;

	(void)state;
	gm.mem.map_from = PAGE;
	for (unsigned i = 0; i < FIT; i++) {
		assert_int_equal(vg_data_begin(&d[i], &batch, &c, VG_FROM_GUEST, 0, seg.len), 0);
		assert_int_equal(gm.data_pages, EACH * (i + 1));
	}
	fx_stats(world, 0, &st);
	assert_int_equal(st.mapped, VG_LIMIT_DATA_PAGES);
	assert_int_equal(vg_data_begin(&d[FIT], &batch, &c, VG_FROM_GUEST, 0, seg.len), 0);
	assert_int_equal(gm.stats->maps, FIT);
	assert_int_equal(vg_batch_run(&batch), 0);
	assert_memory_equal(d[FIT].iov[0].iov_base, d[0].iov[0].iov_base, seg.len);
	vg_data_end(&d[FIT]);
	vg_data_end(&d[3]);
	assert_int_equal(vg_data_begin(&d[3], &batch, &c, VG_FROM_GUEST, 0, seg.len), 0);
	assert_int_equal(gm.stats->maps, FIT + 1);
	for (unsigned i = 0; i < FIT; i++)
		vg_data_end(&d[i]);
}

/* ---- what stays mapped ----------------------------------------------------- */

/* Pools are the cache of what may stay mapped: bounded in number and in pages. */
static void pools_are_bounded(void **state)
{
	enum { BIG = VG_LIMIT_POOL_PAGES - 2 };
	long page = fx_pages_alloc(guest, BIG), big;
	struct fx_stats st;

	(void)state;
	assert_true(page >= 0);
	big = fx_grant(guest, 0, (unsigned long)page, BIG, 0);
	assert_true(big > 0);
	assert_int_equal(vg_grant_pool_add(&gm, ref, 0), -EINVAL);
	assert_int_equal(vg_grant_pool_add(&gm, UINT32_MAX, 2), -EINVAL);
	for (unsigned i = 0; i < VG_LIMIT_POOLS; i++)
		assert_int_equal(vg_grant_pool_add(&gm, ref + 2 * i, 2), 0);
	assert_int_equal(vg_grant_pool_add(&gm, ref + 2 * VG_LIMIT_POOLS, 1), -ENOSPC);
	assert_int_equal(vg_grant_pool_add(&gm, ref + 1, 2), -EEXIST);
	fx_stats(world, 0, &st);
	assert_int_equal(st.mapped, 2 * VG_LIMIT_POOLS);
	vg_grant_pools_drop(&gm);
	assert_int_equal(fx_grants_in_use(world, domid), 0);

	assert_int_equal(vg_grant_pool_add(&gm, (uint32_t)big, BIG), 0);
	assert_int_equal(vg_grant_pool_add(&gm, ref, 3), -ENOSPC);
	assert_int_equal(vg_grant_pool_add(&gm, ref, 2), 0);
	assert_int_equal(vg_grant_pool_add(&gm, ref + 2, 1), -ENOSPC);
	fx_stats(world, 0, &st);
	assert_int_equal(st.mapped, VG_LIMIT_POOL_PAGES);
	vg_grant_pools_drop(&gm);
	assert_int_equal(fx_grant_end(guest, (uint32_t)big, BIG), 0);
	fx_pages_free(guest, (unsigned long)page, BIG);
}

/* Pool and direct grants within one chain, and a range that leaves the pool: no address is both. */
static void pool_and_direct_in_one_chain(void **state)
{
	struct vg_seg segs[] = { { at(2, 0), PAGE }, { at(20, 0), PAGE }, { at(7, 2048), PAGE } };
	struct vg_chain c = chain_of(segs, 3, VG_FROM_GUEST);
	struct vg_data d;

	(void)state;
	assert_int_equal(vg_grant_pool_add(&gm, ref, 8), 0);
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_FROM_GUEST, 0, 3 * PAGE), 0);
	assert_int_equal(vg_batch_run(&batch), 0);
	assert_int_equal(gm.stats->copy_calls, 1);
	assert_int_equal(gm.stats->copied_bytes, 2 * PAGE); /* what lies in the pool is not Xen's */
	assert_memory_equal(d.iov[0].iov_base, mem_at(2, 0), PAGE);
	assert_memory_equal((uint8_t *)d.iov[0].iov_base + PAGE, mem_at(20, 0), PAGE);
	assert_memory_equal((uint8_t *)d.iov[0].iov_base + 2 * PAGE, mem_at(7, 2048), PAGE);
	vg_data_end(&d);

	/* All in the pool: neither copied nor mapped. */
	gm.mem.map_from = 1;
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_FROM_GUEST, 0, PAGE), 0);
	assert_ptr_equal(d.iov[0].iov_base, gm.pool[0].ptr + 2 * PAGE);
	assert_int_equal(gm.stats->maps, 1); /* the pool itself */
	vg_data_end(&d);
	vg_grant_pools_drop(&gm);
}

/* What the kernel may still refer to when the process ends is memory of its own, be it in a pool or large
 * enough to be mapped. */
static void what_is_pinned_is_no_grant(void **state)
{
	struct vg_seg segs[] = { { at(2, 0), PAGE }, { at(20, 0), PAGE } };
	struct vg_chain out = chain_of(segs, 2, VG_FROM_GUEST);
	struct vg_chain in = chain_of(segs, 2, VG_TO_GUEST);
	struct vg_data d;

	(void)state;
	assert_int_equal(vg_grant_pool_add(&gm, ref, 8), 0);
	gm.mem.pins = true;
	gm.mem.map_from = 1;
	for (size_t len = PAGE; len <= 2 * PAGE; len += PAGE) {
		assert_int_equal(vg_data_begin(&d, &batch, &out, VG_FROM_GUEST, 0, len), 0);
		assert_true(vg_data_is_own(&d));
		assert_int_equal(vg_batch_run(&batch), 0);
		assert_memory_equal(d.iov[0].iov_base, mem_at(2, 0), PAGE);
		if (len > PAGE)
			assert_memory_equal((uint8_t *)d.iov[0].iov_base + PAGE, mem_at(20, 0),
					    PAGE);
		vg_data_end(&d);

		assert_int_equal(vg_data_begin(&d, &batch, &in, VG_TO_GUEST, 0, len), 0);
		assert_true(vg_data_is_own(&d));
		memset(d.iov[0].iov_base, 0x5a, len);
		vg_data_finish(&d, &batch, len);
		assert_int_equal(vg_batch_run(&batch), 0);
		assert_int_equal(*mem_at(2, PAGE - 1), 0x5a);
		assert_int_equal(*mem_at(20, 0), len > PAGE ? 0x5a : 21);
		vg_data_end(&d);
	}
	assert_int_equal(gm.stats->maps, 1); /* the pool itself */
	vg_grant_pools_drop(&gm);
}

/* A pool goes: hidden, nobody finds it, and who had found it is counted until he is done. */
static void a_pool_goes(void **state)
{
	struct vg_seg segs[] = { { at(2, 0), PAGE }, { at(3, 100), 50 }, { at(12, 0), PAGE } };
	struct vg_chain c = chain_of(segs, 3, VG_TO_GUEST);
	struct vg_data d, other;

	(void)state;
	assert_int_equal(vg_grant_pool_add(&gm, ref, 8), 0);
	assert_int_equal(vg_grant_pool_add(&gm, ref + 8, 8), 0);
	assert_int_equal(vg_grant_pool_find(&gm, ref + 8, 8), 1);
	assert_int_equal(vg_grant_pool_find(&gm, ref + 8, 7), -EINVAL);
	assert_int_equal(vg_grant_pool_find(&gm, ref + 7, 1), -EINVAL);
	assert_int_equal(vg_grant_pool_find(&gm, ref, 16), -EINVAL);
	assert_int_equal(vg_grant_pool_find(&gm, ref + 16, 8), -ENOENT);
	assert_int_equal(vg_grant_pool_find(&gm, ref, 0), -EINVAL);

	/* Once for each request, however many of its ranges lie there. */
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 0, c.in_len), 0);
	assert_false(vg_data_is_own(&d));
	assert_int_equal(gm.held[0], 1);
	assert_int_equal(gm.held[1], 1);
	vg_grant_pool_show(&gm, 0, false);
	assert_int_equal(vg_data_begin(&other, &batch, &c, VG_TO_GUEST, 0, c.in_len), 0);
	assert_true(vg_data_is_own(&other));
	assert_int_equal(gm.held[0], 1);
	assert_int_equal(gm.held[1], 1); /* what it had found before it failed, it let go */
	vg_data_end(&other);
	memset(d.iov[0].iov_base, 0x5a, 8);
	assert_memory_equal(mem_at(2, 0), "\x5a\x5a\x5a\x5a\x5a\x5a\x5a\x5a", 8);
	vg_data_end(&d);
	assert_int_equal(gm.held[0], 0);
	assert_int_equal(gm.held[1], 0);

	/* It stays after all. */
	vg_grant_pool_show(&gm, 0, true);
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 0, c.in_len), 0);
	assert_false(vg_data_is_own(&d));
	vg_data_end(&d);

	/* Its place is another's; what is left is found as before. */
	vg_grant_pool_drop(&gm, 0);
	assert_int_equal(fx_grants_in_use(world, domid), 8);
	assert_int_equal(vg_grant_pool_find(&gm, ref, 8), -ENOENT);
	assert_null(vg_mem_direct(&gm.mem, at(2, 0), 1, VG_TO_GUEST));
	assert_ptr_equal(vg_mem_direct(&gm.mem, at(8, 5), 1, VG_TO_GUEST), gm.pool[1].ptr + 5);
	assert_int_equal(vg_grant_pool_add(&gm, ref + 2, 4), 0);
	assert_int_equal(vg_grant_pool_find(&gm, ref + 2, 4), 0);
	vg_grant_pools_drop(&gm);
	assert_int_equal(fx_grants_in_use(world, domid), 0);
}

/* Another context looks all the time; it is asked before a pool goes (vg_dev_each()). */
struct looker {
	struct vg_grant_mem view;
	_Atomic unsigned asked, answered; /* rounds */
	_Atomic bool end;
	unsigned found;
};

static void *look(void *arg)
{
	struct looker *l = arg;

	while (!l->end) {
		unsigned round = l->asked;
		uint8_t *p = vg_mem_direct(&l->view.mem, at(1, 0), 64, VG_TO_GUEST);

		if (p) {
			memset(p, 1, 64);
			l->found++;
		}
		l->answered = round;
	}
	return NULL;
}

static void ask(struct looker *l)
{
	l->asked++;
	while (l->answered != l->asked)
		sched_yield();
}

static void ask_and_drop(struct looker *l, unsigned pool)
{
	vg_grant_pool_show(&gm, pool, false);
	ask(l);
	vg_grant_pool_drop(&gm, pool);
}

static void pools_come_and_go(void **state)
{
	static struct looker l;
	pthread_t thread;

	(void)state;
	memset(&l, 0, sizeof(l));
	assert_int_equal(vg_grant_mem_init(&l.view, domid, &gm, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, look, &l), 0);
	for (unsigned i = 0; i < 200; i++) {
		/* Now in one place, now in another. */
		if (i & 1)
			assert_int_equal(vg_grant_pool_add(&gm, ref + 8, 4), 0);
		assert_int_equal(vg_grant_pool_add(&gm, ref, 8), 0);
		if (i & 1)
			ask_and_drop(&l, 0);
		ask_and_drop(&l, i & 1);
	}
	assert_int_equal(vg_grant_pool_add(&gm, ref, 8), 0);
	ask(&l);
	ask(&l);
	l.end = true;
	pthread_join(thread, NULL);
	assert_true(l.found > 0);
	vg_grant_mem_close(&l.view);
	vg_grant_pools_drop(&gm);
}

/* What a payload names: one call maps all of it, out of a budget of its own, and what fails in the
 * middle leaves nothing mapped. */
static void backing(void **state)
{
	const struct fx_fault bad = { .skip = 1, .count = 1, .status = -3 };
	const struct vg_seg segs[] = { { at(3, 100), PAGE },
				       { at(0, 0), 2 * PAGE },
				       { at(2, 0), PAGE } };
	struct vg_backing b = { 0 }, c = { 0 };
	struct fx_stats st;
	uint8_t got[3];

	(void)state;
	gm.max_long_pages = 7;
	assert_int_equal(vg_backing_map(&b, &gm.mem, segs, 3, VG_FROM_GUEST), 0);
	assert_int_equal(b.len, 4 * PAGE);
	assert_int_equal(b.n_pieces, 2);
	assert_int_equal(gm.long_pages, 5);
	fx_stats(world, 0, &st);
	assert_int_equal(st.calls[FX_OP_MAP], 1);
	assert_int_equal(st.items[FX_OP_MAP], 5);
	assert_true(vg_backing_read(&b, PAGE - 101, got, 3));
	assert_int_equal(got[0], 4);
	assert_true(vg_backing_read(&b, PAGE - 1, got, 3));
	assert_int_equal(got[0], 5);
	assert_int_equal(got[1], 1);
	*mem_at(0, 1) = 99; /* it is the guest's own memory */
	assert_true(vg_backing_read(&b, PAGE + 1, got, 1));
	assert_int_equal(got[0], 99);
	/* No more than the budget has; no address of another kind. */
	assert_int_equal(vg_backing_map(&c, &gm.mem, segs, 3, VG_FROM_GUEST), -ENOSPC);
	assert_int_equal(vg_backing_map(&c, &gm.mem, &(struct vg_seg){ 4096, 1 }, 1, VG_FROM_GUEST),
			 -EFAULT);
	assert_int_equal(vg_backing_map(&c, &gm.mem, &(struct vg_seg){ at(0, 0), 2 * PAGE }, 1,
					VG_TO_GUEST),
			 0);
	assert_int_equal(gm.long_pages, 7);
	vg_backing_unmap(&c);
	vg_backing_unmap(&b);
	assert_int_equal(gm.long_pages, 0);
	fx_inject(world, 0, FX_OP_MAP, &bad);
	assert_int_equal(vg_backing_map(&b, &gm.mem, segs, 3, VG_FROM_GUEST), -EFAULT);
	assert_int_equal(gm.long_pages, 0);
	assert_int_equal(fx_grants_in_use(world, domid), 0);
	/* More than there are. */
	assert_int_equal(
		vg_backing_map(&b, &gm.mem,
			       &(struct vg_seg){ VIRTIO_GRANT_ADDR(0xffffffffull, 0), 4097 }, 1,
			       VG_FROM_GUEST),
		-EFAULT);
}

static void pages_of_other_sizes(void **state)
{
	struct vg_err err = { 0 };

	(void)state;
	assert_int_equal(vg_grant_pages_fit(4096, &err), 0);
	assert_int_equal(vg_grant_pages_fit(16384, &err), -EOPNOTSUPP);
	assert_int_equal(vg_grant_pages_fit(65536, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "pages of 64 KiB"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_mem, close_mem)
	const struct CMUnitTest tests[] = {
		T(a_map_that_is_interrupted),
		T(a_map_that_is_interrupted_always),
		T(copy_fails_in_the_middle),
		T(copy_fails_within_a_range),
		T(copies_of_several_calls),
		T(copy_of_no_address),
		T(data_is_mapped),
		T(data_read_only),
		T(map_fails_in_the_middle),
		T(mapped_data_is_bounded),
		T(pages_of_other_sizes),
		T(pools_are_bounded),
		T(pool_and_direct_in_one_chain),
		T(what_is_pinned_is_no_grant),
		T(a_pool_goes),
		T(pools_come_and_go),
		T(backing),
	};

	return cmocka_run_group_tests(tests, make_world, end_world);
}
