/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_virtqueue_split.c - the split ring, looked at closely
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "backend/base/container.h"
#include "tests/rigs/ring_rig.h"

#define D (RIG_BASE + RIG_DATA)

static void chain_direct(void **state)
{
	struct vg_chain *c[4];
	struct rig r;

	(void)state;
	rig_init(&r, 8, 0);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 0);
	rig_desc(&r, 5, D, 16, VRING_DESC_F_NEXT, 2);
	rig_desc(&r, 2, D + 16, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 7);
	rig_desc(&r, 7, D + 1024, 1, VRING_DESC_F_WRITE, 0);
	rig_avail(&r, 5);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 1);
	assert_int_equal(c[0]->id, 5);
	assert_int_equal(c[0]->ndesc, 3);
	assert_int_equal(c[0]->n_out, 1);
	assert_int_equal(c[0]->n_in, 2);
	assert_int_equal(c[0]->out_len, 16);
	assert_int_equal(c[0]->in_len, 513);
	assert_int_equal(c[0]->segs[2].addr, D + 1024);
	assert_int_equal(vg_vq_inflight(r.vq), 1);
	vg_vq_push(r.vq, c[0], 513);
	assert_int_equal(r.used->idx, 0);
	assert_true(vg_vq_flush(r.vq));
	assert_int_equal(r.used->idx, 1);
	assert_int_equal(r.used->ring[0].id, 5);
	assert_int_equal(r.used->ring[0].len, 513);
	assert_false(vg_vq_flush(r.vq));
	assert_int_equal(vg_vq_inflight(r.vq), 0);
	assert_int_equal(vg_vq_stop(r.vq).avail_idx, 1);
	assert_int_equal(vg_vq_stop(r.vq).used_idx, 1);
	assert_null(vg_vq_fault(r.vq));
	rig_fini(&r);
}

static void chain_indirect(void **state)
{
	struct vg_chain *c[4];
	struct vring_desc *table;
	struct rig r;

	(void)state;
	rig_prepare(&r, 8, RIG_INDIRECT);
	r.cfg.chain_max = 64;
	rig_start(&r);
	table = rig_at(&r, RIG_DATA);
	/* In order; 40 descriptors, of which the last two are for us to write. */
	for (unsigned i = 0; i < 40; i++)
		table[i] = (struct vring_desc){ D + 4096 * i, 10 + i, i == 39 ? 0 : 1, i + 1 };
	table[38].flags |= VRING_DESC_F_WRITE;
	table[39].flags |= VRING_DESC_F_WRITE;
	rig_desc(&r, 0, D, 40 * 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	/* Jumping: 0, 2, 1, 3. With a direct buffer before it. */
	for (unsigned i = 0; i < 4; i++)
		table[100 + i] = (struct vring_desc){ D + i, 1, VRING_DESC_F_NEXT, 0 };
	table[100].next = 2;
	table[102].next = 1;
	table[101].next = 3;
	table[103].flags = VRING_DESC_F_WRITE;
	rig_desc(&r, 1, D + 99, 9, VRING_DESC_F_NEXT, 2);
	rig_desc(&r, 2, D + 1600, 64, VRING_DESC_F_INDIRECT, 0);
	rig_avail(&r, 1);

	assert_int_equal(vg_vq_pop(r.vq, c, 4), 2);
	assert_int_equal(c[0]->n_out, 38);
	assert_int_equal(c[0]->n_in, 2);
	assert_int_equal(c[0]->in_len, 48 + 49);
	assert_int_equal(c[0]->ndesc, 1);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(c[0]->segs[i].addr, D + 4096 * i);
	assert_int_equal(c[1]->ndesc, 2);
	assert_int_equal(c[1]->n_out, 4);
	assert_int_equal(c[1]->n_in, 1);
	assert_int_equal(c[1]->segs[0].len, 9);
	assert_int_equal(c[1]->segs[1].addr, D + 0);
	assert_int_equal(c[1]->segs[2].addr, D + 2);
	assert_int_equal(c[1]->segs[3].addr, D + 1);
	assert_int_equal(c[1]->segs[4].addr, D + 3);
	vg_vq_push(r.vq, c[1], 1);
	vg_vq_push(r.vq, c[0], 0);
	assert_true(vg_vq_flush(r.vq));
	assert_int_equal(r.used->ring[0].id, 1);
	assert_int_equal(r.used->ring[1].id, 0);
	rig_fini(&r);
}

static void unpop_gives_it_again(void **state)
{
	struct vg_chain *c[4];
	struct rig r;

	(void)state;
	rig_init(&r, 4, 0);
	for (unsigned i = 0; i < 3; i++) {
		rig_desc(&r, i, D, 1, 0, 0);
		rig_avail(&r, (uint16_t)i);
	}
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 3);
	vg_vq_unpop(r.vq, c[2]);
	vg_vq_unpop(r.vq, c[1]);
	assert_int_equal(vg_vq_inflight(r.vq), 1);
	assert_true(vg_vq_rearm(r.vq));
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 2);
	assert_int_equal(c[0]->id, 1);
	assert_int_equal(c[1]->id, 2);
	rig_fini(&r);
}

static void in_order_holds_back(void **state)
{
	struct vg_chain *c[4];
	struct rig r;

	(void)state;
	rig_init(&r, 4, RIG_IN_ORDER);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 3; i++) {
			rig_desc(&r, i, D, 1, VRING_DESC_F_WRITE, 0);
			rig_avail(&r, (uint16_t)i);
		}
		assert_int_equal(vg_vq_pop(r.vq, c, 4), 3);
		vg_vq_push(r.vq, c[2], 1);
		assert_false(vg_vq_flush(r.vq));
		vg_vq_push(r.vq, c[0], 0);
		assert_true(vg_vq_flush(r.vq));
		assert_int_equal(r.used->idx, 3 * round + 1);
		vg_vq_push(r.vq, c[1], 1);
		assert_true(vg_vq_flush(r.vq));
		assert_int_equal(r.used->idx, 3 * round + 3);
		assert_int_equal(r.used->ring[3 * round % 4].id, 0);
		assert_int_equal(r.used->ring[(3 * round + 1) % 4].id, 2);
	}
	rig_fini(&r);
}

/* 2.7.9: one element, where the batch begins, for its last chain; those before it are written in full. */
static void in_order_batches(void **state)
{
	/* Bytes written of 10 that each chain has room for, and the ids of the elements. */
	static const struct {
		uint32_t written[6];
		uint32_t id[6]; /* 99: none is written here */
	} rows[] = {
		{ { 10, 10, 10, 10, 10, 10 }, { 5, 99, 99, 99, 99, 99 } },
		{ { 10, 10, 10, 10, 10, 7 }, { 5, 99, 99, 99, 99, 99 } },
		{ { 10, 0, 10, 10, 9, 10 }, { 1, 99, 4, 99, 99, 5 } },
		{ { 0, 0, 0, 0, 0, 0 }, { 0, 1, 2, 3, 4, 5 } },
	};
	struct vg_chain *c[8];
	struct rig r;

	(void)state;
	for (unsigned k = 0; k < COUNT(rows); k++) {
		rig_init(&r, 8, RIG_IN_ORDER);
		for (unsigned i = 0; i < 6; i++) {
			rig_desc(&r, i, D, 10, VRING_DESC_F_WRITE, 0);
			rig_avail(&r, (uint16_t)i);
			r.used->ring[i].id = 99;
		}
		assert_int_equal(vg_vq_pop(r.vq, c, 8), 6);
		for (unsigned i = 0; i < 6; i++)
			vg_vq_push(r.vq, c[i], rows[k].written[i]);
		assert_true(vg_vq_flush(r.vq));
		assert_int_equal(r.used->idx, 6);
		for (unsigned i = 0; i < 6; i++) {
			assert_int_equal(r.used->ring[i].id, rows[k].id[i]);
			if (rows[k].id[i] != 99)
				assert_int_equal(r.used->ring[i].len,
						 rows[k].written[rows[k].id[i]]);
		}
		assert_int_equal(vg_vq_stats(r.vq)->used, 6);
		rig_fini(&r);
	}
	/* What the device only reads has nothing to be written: all of it is one batch. */
	rig_init(&r, 4, RIG_IN_ORDER);
	for (unsigned i = 0; i < 3; i++) {
		rig_desc(&r, i, D, 10, 0, 0);
		rig_avail(&r, (uint16_t)i);
	}
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 3);
	for (unsigned i = 0; i < 3; i++)
		vg_vq_push(r.vq, c[i], 0);
	assert_true(vg_vq_flush(r.vq));
	assert_int_equal(r.used->ring[0].id, 2);
	assert_int_equal(r.used->idx, 3);
	rig_fini(&r);
}

/* used + chains published, and whether the driver's used_event asks for a notification */
static bool notified(uint16_t used, unsigned chains, uint16_t used_event)
{
	struct vg_chain *c[8];
	struct rig r;
	bool yes = false;

	rig_prepare(&r, 8, RIG_EVENT);
	/* One more before, since the first flush notifies always. */
	r.cfg.state.avail_idx = r.cfg.state.used_idx = (uint16_t)(used - 1);
	r.avail->idx = r.used->idx = (uint16_t)(used - 1);
	rig_start(&r);
	for (unsigned i = 0; i <= chains; i++) {
		rig_desc(&r, i, D, 1, 0, 0);
		rig_avail(&r, (uint16_t)i);
	}
	assert_int_equal(vg_vq_pop(r.vq, c, 8), chains + 1);
	r.avail->ring[8] = used_event;
	for (unsigned i = 0; i <= chains; i++) {
		vg_vq_push(r.vq, c[i], 0);
		if (i == 0)
			assert_true(vg_vq_flush(r.vq));
	}
	yes = vg_vq_flush(r.vq);
	rig_fini(&r);
	return yes;
}

static void event_idx(void **state)
{
	(void)state;
	assert_true(notified(10, 1, 10));
	assert_false(notified(10, 1, 11));
	assert_false(notified(10, 1, 9));
	assert_true(notified(10, 4, 13));
	assert_false(notified(10, 4, 14));
	assert_true(notified(65534, 4, 65534));
	assert_true(notified(65534, 4, 1));
	assert_false(notified(65534, 4, 2));
	assert_false(notified(65534, 4, 65533));
	assert_true(notified(0, 3, 2));
	assert_false(notified(0, 3, 65535));
}

static void suppression(void **state)
{
	struct vg_chain *c[4];
	uint16_t event;
	struct rig r;

	(void)state;
	rig_init(&r, 4, 0);
	rig_desc(&r, 0, D, 1, 0, 0);
	vg_vq_quiet(r.vq);
	assert_int_equal(r.used->flags, VRING_USED_F_NO_NOTIFY);
	rig_avail(&r, 0);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 1);
	assert_false(vg_vq_rearm(r.vq));
	assert_int_equal(r.used->flags, 0);
	vg_vq_push(r.vq, c[0], 0);
	r.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	assert_false(vg_vq_flush(r.vq));
	rig_avail(&r, 0);
	assert_true(vg_vq_rearm(r.vq));
	assert_int_equal(vg_vq_stats(r.vq)->suppressed, 1);
	rig_fini(&r);

	rig_init(&r, 4, RIG_EVENT);
	rig_avail(&r, 0);
	rig_desc(&r, 0, D, 1, 0, 0);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 1);
	assert_false(vg_vq_rearm(r.vq));
	memcpy(&event, &r.used->ring[4], sizeof(event));
	assert_int_equal(event, 1);
	rig_fini(&r);
}

/* What the driver has taken, its event index tells; without one nobody knows. */
static void seen(void **state)
{
	struct vg_chain *c[2];
	struct rig r;

	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		uint16_t event = 0;

		rig_init(&r, 4, event_idx ? RIG_EVENT : 0);
		rig_desc(&r, 0, D, 1, 0, 0);
		rig_avail(&r, 0);
		assert_true(vg_vq_seen(r.vq)); /* nothing was published */
		assert_int_equal(vg_vq_pop(r.vq, c, 2), 1);
		vg_vq_push(r.vq, c[0], 0);
		assert_true(vg_vq_seen(r.vq));
		vg_vq_flush(r.vq);
		assert_true(vg_vq_seen(r.vq) == !event_idx);
		event = 1;
		memcpy(&r.avail->ring[4], &event, sizeof(event));
		assert_true(vg_vq_seen(r.vq));
		rig_fini(&r);
	}
}

/* Asked for after several: the wish stands that far ahead, and fewer are not told of. */
static void rearm_after_several(void **state)
{
	struct vg_chain *c[8];
	uint16_t event;
	struct rig r;

	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		rig_init(&r, 8, event_idx ? RIG_EVENT : 0);
		for (unsigned i = 0; i < 8; i++)
			rig_desc(&r, i, D, 1, 0, 0);
		rig_avail(&r, 0);
		assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
		assert_false(vg_vq_rearm_after(r.vq, 3));
		memcpy(&event, &r.used->ring[8], sizeof(event));
		assert_int_equal(event, event_idx ? 3 : 0);
		rig_avail(&r, 1);
		rig_avail(&r, 2);
		assert_true(vg_vq_rearm_after(r.vq, 3) == !event_idx);
		rig_avail(&r, 3);
		assert_true(vg_vq_rearm_after(r.vq, 3));
		assert_int_equal(vg_vq_pop(r.vq, c + 1, 8), 3);
		/* More than the ring holds: as many as that. */
		assert_false(vg_vq_rearm_after(r.vq, 1000));
		memcpy(&event, &r.used->ring[8], sizeof(event));
		assert_int_equal(event, event_idx ? 4 + 7 : 0);
		rig_fini(&r);
	}
}

static void refuses(struct rig *r, int code)
{
	r->err.text[0] = 0;
	assert_int_equal(vg_vq_new(&r->rs.mem, &r->cfg, &r->vq, &r->err), code);
	assert_true(r->err.text[0]);
	r->vq = NULL;
}

static void bad_shapes(void **state)
{
	struct vg_vq_config good;
	struct rig r;

	(void)state;
	rig_prepare(&r, 256, 0);
	good = r.cfg;
	r.cfg.size = 0;
	refuses(&r, -EINVAL);
	r.cfg.size = 100;
	refuses(&r, -EINVAL);
	r.cfg.size = 65536;
	refuses(&r, -EINVAL);
	r.cfg = good;
	r.cfg.desc += 8;
	refuses(&r, -EINVAL);
	r.cfg = good;
	r.cfg.driver += 1;
	refuses(&r, -EINVAL);
	r.cfg = good;
	r.cfg.device += 2;
	refuses(&r, -EINVAL);
	r.cfg = good;
	r.cfg.device = r.cfg.desc + 4080;
	refuses(&r, -EINVAL);
	r.cfg = good;
	r.cfg.desc = RIG_BASE + RIG_LEN - 4080;
	refuses(&r, -EFAULT);
	r.cfg = good;
	r.cfg.desc = UINT64_MAX - 15;
	refuses(&r, -EINVAL);
	r.cfg = good;
	r.cfg.size = 32768;
	assert_int_equal(vg_vq_new(&r.rs.mem, &r.cfg, &r.vq, &r.err), 0);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chain_direct),		cmocka_unit_test(chain_indirect),
		cmocka_unit_test(unpop_gives_it_again), cmocka_unit_test(in_order_holds_back),
		cmocka_unit_test(in_order_batches),	cmocka_unit_test(event_idx),
		cmocka_unit_test(suppression),		cmocka_unit_test(seen),
		cmocka_unit_test(bad_shapes),		cmocka_unit_test(rearm_after_several),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
