/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_guestmem.c - regions, batches, chains' bytes, data and bounce memory
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/base/limits.h"
#include "backend/base/loop.h"
#include "backend/memory/backing.h"
#include "backend/memory/data.h"
#include "backend/memory/guestmem.h"
#include "backend/memory/regions.h"
#include "backend/virtio/virtqueue.h"

/* Memory without direct: what grants look like. Fails at addresses from BAD on. */
#define BAD 0x80000

struct copymem {
	struct vg_mem mem;
	unsigned calls;
	uint8_t bytes[BAD];
};

static int cm_copy(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	struct copymem *m = (struct copymem *)mem;
	int first = 0;

	m->calls++;
	for (unsigned i = 0; i < n; i++) {
		if (ops[i].addr >= BAD || ops[i].len > BAD - ops[i].addr) {
			if (ops[i].error)
				*ops[i].error = -EFAULT;
			first = first ? first : -EFAULT;
		} else if (ops[i].dir == VG_FROM_GUEST) {
			memcpy(ops[i].host, m->bytes + ops[i].addr, ops[i].len);
		} else {
			memcpy(m->bytes + ops[i].addr, ops[i].host, ops[i].len);
		}
	}
	return first;
}

static const struct vg_mem_ops cm_ops = { .copy = cm_copy };

static struct copymem cm;
static struct vg_batch batch;
static uint8_t ram[3][8192];

static int setup(void **state)
{
	(void)state;
	memset(&cm, 0, sizeof(cm));
	cm.mem.ops = &cm_ops;
	memset(ram, 0, sizeof(ram));
	return 0;
}

/* ram[0] at 0x10000, ram[1] right behind it, ram[2] read-only at 0x20000 */
static void three_regions(struct vg_regions *rs)
{
	vg_regions_init(rs);
	assert_int_equal(vg_regions_add(rs, &(struct vg_region){ 0x20000, 8192, ram[2], true }), 0);
	assert_int_equal(vg_regions_add(rs, &(struct vg_region){ 0x10000, 8192, ram[0], false }),
			 0);
	assert_int_equal(vg_regions_add(rs, &(struct vg_region){ 0x12000, 8192, ram[1], false }),
			 0);
}

static void regions_lookup(void **state)
{
	static struct vg_regions rs;
	struct vg_map map;

	(void)state;
	three_regions(&rs);
	assert_ptr_equal(vg_mem_direct(&rs.mem, 0x10000, 8192, VG_TO_GUEST), ram[0]);
	assert_ptr_equal(vg_mem_direct(&rs.mem, 0x12001, 8191, VG_FROM_GUEST), ram[1] + 1);
	assert_null(vg_mem_direct(&rs.mem, 0x12001, 8192, VG_FROM_GUEST));
	assert_null(vg_mem_direct(&rs.mem, 0xffff, 1, VG_FROM_GUEST));
	assert_null(vg_mem_direct(&rs.mem, 0x14000, 1, VG_FROM_GUEST));
	assert_null(vg_mem_direct(&rs.mem, 0x20000, 1, VG_TO_GUEST));
	assert_non_null(vg_mem_direct(&rs.mem, 0x20000, 1, VG_FROM_GUEST));
	assert_null(vg_mem_direct(&rs.mem, UINT64_MAX, 2, VG_FROM_GUEST));
	assert_null(vg_mem_direct(&rs.mem, 0x10001, SIZE_MAX, VG_FROM_GUEST));

	assert_int_equal(vg_mem_map(&rs.mem, 0x10010, 16, &map), 0);
	assert_ptr_equal(map.ptr, ram[0] + 16);
	vg_mem_unmap(&rs.mem, &map);
	assert_null(map.ptr);
	vg_mem_unmap(&rs.mem, &map);
	assert_int_equal(rs.mem.stats.unmaps, 1);
	assert_int_equal(vg_mem_map(&rs.mem, 0x10010, 0, &map), -EINVAL);
	assert_int_equal(vg_mem_map(&rs.mem, UINT64_MAX - 1, 16, &map), -EINVAL);
	assert_int_equal(vg_mem_map(&rs.mem, 0x20000, 16, &map), -EFAULT);

	assert_int_equal(vg_regions_del(&rs, 0x10000, 4096), -ENOENT);
	assert_int_equal(vg_regions_del(&rs, 0x10000, 8192), 0);
	assert_null(vg_mem_direct(&rs.mem, 0x10000, 1, VG_FROM_GUEST));
	assert_non_null(vg_mem_direct(&rs.mem, 0x12000, 1, VG_FROM_GUEST));
}

static void regions_refuse(void **state)
{
	static struct vg_regions rs;
	struct vg_region r = { 0x11fff, 2, ram[0], false };

	(void)state;
	three_regions(&rs);
	assert_int_equal(vg_regions_add(&rs, &r), -EEXIST);
	r.guest_addr = 0x1ffff;
	assert_int_equal(vg_regions_add(&rs, &r), -EEXIST);
	r = (struct vg_region){ 0, 0x10001, ram[0], false };
	assert_int_equal(vg_regions_add(&rs, &r), -EEXIST);
	r = (struct vg_region){ 0, 0, ram[0], false };
	assert_int_equal(vg_regions_add(&rs, &r), -EINVAL);
	r = (struct vg_region){ UINT64_MAX, 2, ram[0], false };
	assert_int_equal(vg_regions_add(&rs, &r), -EINVAL);
	r = (struct vg_region){ UINT64_MAX, 1, ram[0], false };
	assert_int_equal(vg_regions_add(&rs, &r), 0);
	assert_non_null(vg_mem_direct(&rs.mem, UINT64_MAX, 1, VG_FROM_GUEST));

	vg_regions_init(&rs);
	for (uint64_t i = 0; i < VG_MAX_REGIONS; i++) {
		r = (struct vg_region){ (i * 7 % VG_MAX_REGIONS) * 16, 16, ram[0], false };
		assert_int_equal(vg_regions_add(&rs, &r), 0);
	}
	for (unsigned i = 1; i < rs.n; i++)
		assert_true(rs.r[i - 1].guest_addr < rs.r[i].guest_addr);
	r = (struct vg_region){ 1 << 20, 16, ram[0], false };
	assert_int_equal(vg_regions_add(&rs, &r), -ENOSPC);
}

static void regions_cross(void **state)
{
	static struct vg_regions rs;
	char out[16] = "0123456789abcde", in[16] = "";
	int error = 0;

	(void)state;
	three_regions(&rs);
	vg_batch_init(&batch, &rs.mem);
	vg_batch_add(&batch, 0x11ff8, out, 16, VG_TO_GUEST, &error);
	assert_int_equal(vg_batch_run(&batch), 0);
	assert_memory_equal(ram[0] + 8184, "01234567", 8);
	assert_memory_equal(ram[1], "89abcde", 8);
	vg_batch_add(&batch, 0x11ff8, in, 16, VG_FROM_GUEST, &error);
	assert_int_equal(vg_batch_run(&batch), 0);
	assert_string_equal(in, out);
	assert_int_equal(error, 0);
	vg_batch_add(&batch, 0x13ff8, in, 16, VG_FROM_GUEST, &error);
	assert_int_equal(vg_batch_run(&batch), -EFAULT);
	assert_int_equal(error, -EFAULT);
	vg_batch_add(&batch, 0x20000, in, 16, VG_TO_GUEST, NULL);
	assert_int_equal(vg_batch_run(&batch), -EFAULT);
	assert_int_equal(vg_batch_run(&batch), 0);
}

static void batch_overflows_into_a_run(void **state)
{
	uint8_t byte[VG_BATCH_MAX + 1];
	int bad = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(byte); i++)
		cm.bytes[i] = (uint8_t)(i * 7);
	vg_batch_init(&batch, &cm.mem);
	vg_batch_add(&batch, BAD - 1, byte, 2, VG_FROM_GUEST, &bad);
	for (unsigned i = 0; i < sizeof(byte); i++)
		vg_batch_add(&batch, i, &byte[i], 1, VG_FROM_GUEST, NULL);
	assert_int_equal(cm.calls, 1);
	assert_int_equal(vg_batch_run(&batch), -EFAULT);
	assert_int_equal(cm.calls, 2);
	assert_int_equal(bad, -EFAULT);
	assert_memory_equal(byte, cm.bytes, sizeof(byte));
	assert_int_equal(vg_batch_run(&batch), 0);
	assert_int_equal(cm.calls, 2);
	assert_int_equal(cm.mem.stats.copies, 2);
}

static void chain_bytes(void **state)
{
	struct vg_seg segs[] = {
		{ 100, 3 }, { 200, 5 }, { 300, 1 }, { 400, 4 }, { 500, 4 },
	};
	struct vg_chain c = { .n_out = 3, .n_in = 2, .out_len = 9, .in_len = 8, .segs = segs };
	char buf[10] = "";

	(void)state;
	vg_batch_init(&batch, &cm.mem);
	memcpy(cm.bytes + 100, "abc", 3);
	memcpy(cm.bytes + 200, "defgh", 5);
	memcpy(cm.bytes + 300, "i", 1);
	for (unsigned off = 0; off < 9; off++)
		for (unsigned len = 1; len <= 9 - off; len++) {
			memset(buf, 0, sizeof(buf));
			assert_int_equal(vg_chain_read(&batch, &c, off, buf, len), 0);
			assert_int_equal(vg_batch_run(&batch), 0);
			assert_memory_equal(buf, &"abcdefghi"[off], len);
			assert_int_equal(buf[len], 0);
		}
	assert_int_equal(vg_chain_read(&batch, &c, 9, buf, 0), 0);
	assert_int_equal(vg_chain_read(&batch, &c, 9, buf, 1), -EINVAL);
	assert_int_equal(vg_chain_read(&batch, &c, 10, buf, 0), -EINVAL);
	assert_int_equal(vg_chain_read(&batch, &c, 1, buf, SIZE_MAX), -EINVAL);

	assert_int_equal(vg_chain_write(&batch, &c, 2, "ABCDEF", 6), 0);
	assert_int_equal(vg_chain_write(&batch, &c, 3, "ABCDEF", 6), -EINVAL);
	assert_int_equal(vg_batch_run(&batch), 0);
	assert_memory_equal(cm.bytes + 402, "AB", 2);
	assert_memory_equal(cm.bytes + 500, "CDEF", 4);

	segs[3].addr = BAD;
	assert_int_equal(vg_chain_write(&batch, &c, 0, "ABCDEF", 6), 0);
	assert_int_equal(vg_batch_run(&batch), -EFAULT);
	assert_int_equal(c.error, -EFAULT);
}

static void data_direct_iovs(void **state)
{
	static struct vg_regions rs;
	struct vg_seg segs[12];
	struct vg_chain c = { .n_in = 12, .in_len = 12 * 16, .segs = segs };
	struct vg_data d;

	(void)state;
	three_regions(&rs);
	vg_batch_init(&batch, &rs.mem);
	for (unsigned i = 0; i < 12; i++)
		segs[i] = (struct vg_seg){ 0x10000 + 32 * i, 16 };
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 0, 12 * 16), 0);
	assert_int_equal(d.niov, 12);
	assert_ptr_equal(d.iov[11].iov_base, ram[0] + 32 * 11);
	vg_data_finish(&d, &batch, 12 * 16);
	vg_data_end(&d);
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 17, 18), 0);
	assert_int_equal(d.niov, 2);
	assert_ptr_equal(d.iov[0].iov_base, ram[0] + 33);
	assert_int_equal(d.iov[0].iov_len, 15);
	assert_int_equal(d.iov[1].iov_len, 3);
	vg_data_end(&d);
	segs[1].addr = 0x10010; /* neighbours are one iovec */
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 8, 24), 0);
	assert_int_equal(d.niov, 1);
	assert_int_equal(d.iov[0].iov_len, 24);
	vg_data_end(&d);
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 8, 12 * 16), -EINVAL);
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_FROM_GUEST, 0, 1), -EINVAL);
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 0, 0), 0);
	assert_int_equal(d.niov, 0);
	vg_data_end(&d);

	/* Across two regions: bounced, when there is bounce memory. */
	segs[11].addr = 0x11ff8;
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 11 * 16, 16), -EFAULT);
	rs.mem.bounce = vg_bounce_new(4096);
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_TO_GUEST, 11 * 16, 16), 0);
	assert_int_equal(d.niov, 1);
	memcpy(d.iov[0].iov_base, "0123456789abcdef", 16);
	vg_data_finish(&d, &batch, 12);
	assert_int_equal(vg_batch_run(&batch), 0);
	vg_data_end(&d);
	assert_memory_equal(ram[0] + 8184, "01234567", 8);
	assert_memory_equal(ram[1], "89ab\0\0\0\0", 8);
	vg_bounce_free(rs.mem.bounce);
}

static void data_bounced(void **state)
{
	struct vg_seg segs[] = { { 1000, 5000 }, { 8000, 300 } };
	struct vg_chain c = { .n_out = 2, .out_len = 5300, .segs = segs };
	struct vg_data d, d2;
	int rc;

	(void)state;
	vg_batch_init(&batch, &cm.mem);
	cm.mem.bounce = vg_bounce_new(16384);
	memset(cm.bytes + 1000, 'x', 5000);
	memset(cm.bytes + 8000, 'y', 300);
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_FROM_GUEST, 100, 5200), 0);
	assert_int_equal(cm.calls, 0);
	assert_int_equal(vg_batch_run(&batch), 0);
	assert_int_equal(cm.calls, 1);
	assert_int_equal(d.niov, 1);
	assert_int_equal((uintptr_t)d.iov[0].iov_base % 4096, 0);
	assert_memory_equal(d.iov[0].iov_base, cm.bytes + 1100, 4900);
	assert_memory_equal((char *)d.iov[0].iov_base + 4900, cm.bytes + 8000, 300);

	assert_int_equal(vg_data_begin(&d2, &batch, &c, VG_FROM_GUEST, 0, 5300), 0);
	rc = vg_data_begin(&(struct vg_data){ 0 }, &batch, &c, VG_FROM_GUEST, 0, 1);
	assert_int_equal(rc, -ENOBUFS);
	vg_batch_run(&batch);
	vg_data_end(&d);
	/* Another size: the idle buffer must make room for it. */
	assert_int_equal(vg_data_begin(&d, &batch, &c, VG_FROM_GUEST, 0, 1), 0);
	vg_batch_run(&batch);
	vg_data_end(&d);
	vg_data_end(&d2);
	segs[0].len = c.out_len = 16385;
	rc = vg_data_begin(&d, &batch, &c, VG_FROM_GUEST, 0, 16385);
	assert_int_equal(rc, -E2BIG);
	vg_bounce_free(cm.mem.bounce);
}

/* What is pinned comes first, is beside the limit, and is taken again by those of its size. */
static void data_pinned(void **state)
{
	enum { MAX = VG_LIMIT_BOUNCE_PINNED_MAX, N = VG_LIMIT_BOUNCE_PINNED / MAX };
	struct vg_seg seg = { 0, 4 * MAX };
	struct vg_chain c = { .n_in = 1, .in_len = seg.len, .segs = &seg };
	struct vg_data d[N + 3];
	struct vg_loop *loop;
	char *first;

	(void)state;
	assert_int_equal(vg_loop_new(8, &loop), 0);
	vg_batch_init(&batch, &cm.mem);
	cm.mem.bounce = vg_bounce_new(2 * MAX);
	vg_bounce_pin(cm.mem.bounce, loop);
	for (unsigned i = 0; i < N + 2; i++)
		assert_int_equal(vg_data_begin(&d[i], &batch, &c, VG_TO_GUEST, 0, MAX), 0);
	assert_int_equal(vg_data_begin(&d[N + 2], &batch, &c, VG_TO_GUEST, 0, MAX), -ENOBUFS);
	first = d[0].iov[0].iov_base;
	for (unsigned i = 0; i < N; i++)
		assert_ptr_equal(d[i].iov[0].iov_base, first + (size_t)i * MAX);
	for (unsigned i = 0; i < N + 2; i++)
		vg_data_end(&d[i]);
	/* All of it is made of such buffers: others find none, and the limit is all theirs. */
	assert_int_equal(vg_data_begin(&d[0], &batch, &c, VG_TO_GUEST, 0, 1), 0);
	assert_true((size_t)((char *)d[0].iov[0].iov_base - first) >= VG_LIMIT_BOUNCE_PINNED);
	vg_data_end(&d[0]);
	assert_int_equal(vg_data_begin(&d[0], &batch, &c, VG_TO_GUEST, 0, 2 * MAX), 0);
	assert_true((size_t)((char *)d[0].iov[0].iov_base - first) >= VG_LIMIT_BOUNCE_PINNED);
	assert_int_equal(vg_data_begin(&d[1], &batch, &c, VG_TO_GUEST, 0, MAX), 0);
	assert_true((size_t)((char *)d[1].iov[0].iov_base - first) < VG_LIMIT_BOUNCE_PINNED);
	vg_data_end(&d[1]);
	vg_data_end(&d[0]);
	vg_bounce_free(cm.mem.bounce);
	vg_loop_free(loop);
}

/* ---- backings --------------------------------------------------------------- */

/* Two regions side by side, whose host memory is not, and one apart. */
struct backing_world {
	uint8_t memory[3][8192];
	struct vg_regions rs;
};

static void backing_world(struct backing_world *w)
{
	const uint64_t at[] = { 0x10000, 0x12000, 0x80000 };
	static const unsigned place[] = { 1, 0, 2 };

	memset(w, 0, sizeof(*w));
	vg_regions_init(&w->rs);
	for (unsigned i = 0; i < 3; i++) {
		struct vg_region r = { .guest_addr = at[i],
				       .size = 8192,
				       .host = w->memory[place[i]],
				       .read_only = i == 2 };

		for (unsigned k = 0; k < 8192; k++)
			r.host[k] = (uint8_t)(i * 100 + k / 128);
		assert_int_equal(vg_regions_add(&w->rs, &r), 0);
	}
}

static void backing_lies_in_regions(void **state)
{
	static const struct vg_seg segs[] = {
		{ 0x11f00, 0x200 }, { 0x10000, 0x100 }, { 0x10100, 0x80 }, { 0x80000, 0x2000 }
	};
	static struct backing_world w;
	struct vg_backing b = { 0 };
	uint8_t got[0x2380];
	size_t n = 0;

	(void)state;
	backing_world(&w);
	assert_int_equal(vg_backing_map(&b, &w.rs.mem, segs, 4, VG_FROM_GUEST), 0);
	assert_int_equal(b.len, 0x2380);
	assert_int_equal(b.n_pieces,
			 4); /* cut between the regions; the next two are side by side */
	assert_true(vg_backing_read(&b, 0, got, sizeof(got)));
	assert_int_equal(got[0], 0x1f00 / 128);
	assert_int_equal(got[0x100], 100);
	assert_int_equal(got[0x200], 0);
	assert_int_equal(got[0x300], 2);
	assert_int_equal(got[0x380], 200);
	assert_ptr_equal(vg_backing_at(&b, 0x208, &n), w.memory[1] + 8);
	assert_int_equal(n, 0x178);
	assert_null(vg_backing_at(&b, 0x2380, &n));
	assert_false(vg_backing_read(&b, 1, got, sizeof(got)));
	assert_false(vg_backing_read(&b, SIZE_MAX, got, 2));
	vg_backing_unmap(&b);
	assert_int_equal(b.n_pieces, 0);
	vg_backing_unmap(&b);
	/* What is not there, wraps, or must not be written. */
	assert_int_equal(vg_backing_map(&b, &w.rs.mem, segs, 4, VG_TO_GUEST), -EFAULT);
	assert_int_equal(vg_backing_map(&b, &w.rs.mem, &(struct vg_seg){ 0x13fff, 2 }, 1,
					VG_FROM_GUEST),
			 -EFAULT);
	assert_int_equal(vg_backing_map(&b, &w.rs.mem, &(struct vg_seg){ UINT64_MAX, 2 }, 1,
					VG_FROM_GUEST),
			 -EFAULT);
	assert_null(w.rs.mem.backings);
}

/* The table changes under backings: those that are there still are found anew, the others are gone,
 * and come back with their memory. */
static void backings_are_renewed(void **state)
{
	static struct backing_world w;
	static uint8_t other[8192];
	struct vg_backing a = { 0 }, b = { 0 }, c = { 0 };
	struct vg_region r = { .guest_addr = 0x12000, .size = 8192, .host = other };
	uint8_t got = 0;

	(void)state;
	backing_world(&w);
	memset(other, 77, sizeof(other));
	assert_int_equal(vg_backing_map(&a, &w.rs.mem, &(struct vg_seg){ 0x10000, 64 }, 1,
					VG_FROM_GUEST),
			 0);
	assert_int_equal(vg_backing_map(&b, &w.rs.mem, &(struct vg_seg){ 0x12000, 64 }, 1,
					VG_FROM_GUEST),
			 0);
	assert_int_equal(
		vg_backing_map(&c, &w.rs.mem, &(struct vg_seg){ 0x11fff, 2 }, 1, VG_FROM_GUEST), 0);
	assert_int_equal(vg_regions_del(&w.rs, 0x12000, 8192), 0);
	vg_backings_renew(&w.rs.mem);
	assert_true(vg_backing_read(&a, 0, &got, 1));
	assert_false(vg_backing_read(&b, 0, &got, 1));
	assert_false(vg_backing_read(&c, 0, &got, 1));
	assert_int_equal(vg_regions_add(&w.rs, &r), 0);
	vg_backings_renew(&w.rs.mem);
	assert_true(vg_backing_read(&b, 63, &got, 1));
	assert_int_equal(got, 77);
	assert_true(vg_backing_read(&c, 1, &got, 1));
	assert_int_equal(got, 77);
	vg_backing_unmap(&b); /* from the middle of the list */
	vg_backing_unmap(&a);
	vg_backing_unmap(&c);
	assert_null(w.rs.mem.backings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(regions_lookup, setup),
		cmocka_unit_test_setup(regions_refuse, setup),
		cmocka_unit_test_setup(regions_cross, setup),
		cmocka_unit_test_setup(batch_overflows_into_a_run, setup),
		cmocka_unit_test_setup(chain_bytes, setup),
		cmocka_unit_test_setup(data_direct_iovs, setup),
		cmocka_unit_test_setup(data_bounced, setup),
		cmocka_unit_test_setup(data_pinned, setup),
		cmocka_unit_test(backing_lies_in_regions),
		cmocka_unit_test(backings_are_renewed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
