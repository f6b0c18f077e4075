/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_virtqueue_packed.c - the packed ring, looked at closely
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/rigs/ring_rig.h"

#define D     (RIG_BASE + RIG_DATA)
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

/* Descriptors 3, 4, 0 of a ring of 5: across the end, into the next lap. */
static void chain_wraps(void **state)
{
	struct vg_chain *c[4];
	struct vg_vq_state s;
	struct rig r;

	(void)state;
	rig_prepare(&r, 5, RIG_PACKED);
	r.cfg.state.avail_idx = r.cfg.state.used_idx = 3;
	rig_start(&r);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 0);
	rig_pdesc(&r, 4, D + 16, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1, true);
	rig_pdesc(&r, 0, D + 1024, 1, VRING_DESC_F_WRITE, 777, false);
	rig_pdesc(&r, 3, D, 16, VRING_DESC_F_NEXT, 2, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 1);
	assert_int_equal(c[0]->id, 777);
	assert_int_equal(c[0]->ndesc, 3);
	assert_int_equal(c[0]->n_out, 1);
	assert_int_equal(c[0]->n_in, 2);
	assert_int_equal(c[0]->in_len, 513);
	vg_vq_push(r.vq, c[0], 7);
	assert_int_equal(r.pdesc[3].flags & USED, 0);
	assert_true(vg_vq_flush(r.vq));
	assert_int_equal(r.pdesc[3].flags, AVAIL | USED | VRING_DESC_F_WRITE);
	assert_int_equal(r.pdesc[3].id, 777);
	assert_int_equal(r.pdesc[3].len, 7);
	s = vg_vq_stop(r.vq);
	assert_int_equal(s.avail_idx, 1);
	assert_int_equal(s.used_idx, 1);
	assert_false(s.avail_wrap);
	assert_false(s.used_wrap);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 0);

	/* The lap with counter 0: used is both flags clear. */
	rig_pdesc(&r, 1, D, 16, 0, 9, false);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 1);
	vg_vq_push(r.vq, c[0], 0);
	vg_vq_flush(r.vq);
	assert_int_equal(r.pdesc[1].flags, 0);
	rig_fini(&r);
}

static void batch_is_one(void **state)
{
	struct vg_chain *c[4];
	struct rig r;

	(void)state;
	rig_init(&r, 4, RIG_PACKED);
	for (unsigned i = 0; i < 4; i++)
		rig_pdesc(&r, i, D, 1, VRING_DESC_F_WRITE, (uint16_t)i, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 4);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 0);
	assert_false(vg_vq_rearm(r.vq));
	for (unsigned i = 4; i-- > 0;)
		vg_vq_push(r.vq, c[i], 1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(r.pdesc[i].flags & USED, 0);
	assert_true(vg_vq_flush(r.vq));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(r.pdesc[i].flags & (AVAIL | USED), AVAIL | USED);
		assert_int_equal(r.pdesc[i].id, 3 - i);
	}
	rig_fini(&r);
}

static void chain_indirect(void **state)
{
	struct vring_packed_desc *t;
	struct vg_chain *c[4];
	struct rig r;

	(void)state;
	rig_prepare(&r, 4, RIG_PACKED | RIG_INDIRECT);
	r.cfg.chain_max = 32;
	rig_start(&r);
	t = rig_at(&r, RIG_DATA);
	/* NEXT, INDIRECT and ids mean nothing in a table. */
	for (unsigned i = 0; i < 20; i++)
		t[i] = (struct vring_packed_desc){ D + i, 1, 0xffff,
						   VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT };
	t[19].flags = VRING_DESC_F_WRITE;
	rig_pdesc(&r, 0, D, 320, VRING_DESC_F_INDIRECT, 3, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 1);
	assert_int_equal(c[0]->id, 3);
	assert_int_equal(c[0]->ndesc, 1);
	assert_int_equal(c[0]->n_out, 19);
	assert_int_equal(c[0]->n_in, 1);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(c[0]->segs[i].addr, D + i);
	rig_fini(&r);
}

static void unpop_over_the_edge(void **state)
{
	struct vg_chain *c[4];
	struct rig r;

	(void)state;
	rig_prepare(&r, 3, RIG_PACKED);
	r.cfg.state.avail_idx = r.cfg.state.used_idx = 2;
	rig_start(&r);
	rig_pdesc(&r, 2, D, 1, VRING_DESC_F_NEXT, 7, true);
	rig_pdesc(&r, 0, D, 2, 0, 7, false);
	rig_pdesc(&r, 1, D, 3, 0, 8, false);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 2);
	vg_vq_unpop(r.vq, c[1]);
	vg_vq_unpop(r.vq, c[0]);
	assert_int_equal(vg_vq_stop(r.vq).avail_idx, 2);
	assert_true(vg_vq_stop(r.vq).avail_wrap);
	assert_true(vg_vq_rearm(r.vq));
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 2);
	assert_int_equal(c[0]->out_len, 3);
	assert_int_equal(c[1]->out_len, 3);
	rig_fini(&r);
}

/*
 * Use @chains descriptors from place @used of a ring of 4 (8: the next lap), with the driver asking
 * for place @want: is it notified?
 */
static bool notified(unsigned used, unsigned chains, unsigned want)
{
	struct vg_chain *c[5];
	struct rig r;
	bool yes;
	unsigned before = used - 1; /* one more before, since the first flush notifies always */

	rig_prepare(&r, 4, RIG_PACKED | RIG_EVENT);
	r.cfg.state.avail_idx = r.cfg.state.used_idx = before % 4;
	r.cfg.state.avail_wrap = r.cfg.state.used_wrap = before / 4 % 2 == 0;
	rig_start(&r);
	rig_pdesc(&r, before % 4, D, 1, 0, 9, before / 4 % 2 == 0);
	assert_int_equal(vg_vq_pop(r.vq, c, 5), 1);
	vg_vq_push(r.vq, c[0], 0);
	r.driver_ev->flags = VRING_PACKED_EVENT_FLAG_DESC;
	r.driver_ev->off_wrap = 3;
	assert_true(vg_vq_flush(r.vq));
	for (unsigned i = 0; i < chains; i++)
		rig_pdesc(&r, (used + i) % 4, D, 1, 0, (uint16_t)i, (used + i) / 4 % 2 == 0);
	assert_int_equal(vg_vq_pop(r.vq, c, 5), chains);
	for (unsigned i = 0; i < chains; i++)
		vg_vq_push(r.vq, c[i], 0);
	r.driver_ev->off_wrap = (uint16_t)(want % 4 | (want / 4 % 2 == 0) << 15);
	yes = vg_vq_flush(r.vq);
	rig_fini(&r);
	return yes;
}

static void event_idx(void **state)
{
	(void)state;
	/* Every place, every length, and every wish that a driver can have: from the last one used
	 * to a lap ahead. */
	for (unsigned used = 5; used < 13; used++)
		for (unsigned n = 1; n <= 4; n++)
			for (unsigned want = used - 1; want < used + 4; want++)
				assert_int_equal(notified(used, n, want),
						 used <= want && want < used + n);
}

static void suppression(void **state)
{
	struct vg_chain *c[4];
	struct rig r;

	(void)state;
	rig_init(&r, 4, RIG_PACKED);
	vg_vq_quiet(r.vq);
	assert_int_equal(r.device_ev->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	rig_pdesc(&r, 0, D, 1, 0, 0, true);
	assert_true(vg_vq_rearm(r.vq));
	assert_int_equal(r.device_ev->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 1);
	assert_false(vg_vq_rearm(r.vq));
	r.driver_ev->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	vg_vq_push(r.vq, c[0], 0);
	assert_false(vg_vq_flush(r.vq));
	rig_fini(&r);

	rig_init(&r, 4, RIG_PACKED | RIG_EVENT);
	rig_pdesc(&r, 0, D, 1, 0, 0, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 1);
	assert_false(vg_vq_rearm(r.vq));
	assert_int_equal(r.device_ev->off_wrap, 1 | 1 << 15);
	assert_int_equal(r.device_ev->flags, VRING_PACKED_EVENT_FLAG_DESC);
	rig_fini(&r);
}

/* What the driver has taken, its event index tells, over the edge as well. */
static void seen(void **state)
{
	struct vg_chain *c[4];
	struct rig r;

	(void)state;
	rig_init(&r, 4, RIG_PACKED | RIG_EVENT);
	for (unsigned i = 0; i < 4; i++)
		rig_pdesc(&r, i, D, 1, 0, (uint16_t)i, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 4), 4);
	for (unsigned i = 0; i < 4; i++)
		vg_vq_push(r.vq, c[i], 0);
	r.driver_ev->off_wrap = 1 << 15;
	r.driver_ev->flags = VRING_PACKED_EVENT_FLAG_DESC;
	assert_true(vg_vq_seen(r.vq));
	vg_vq_flush(r.vq);
	assert_false(vg_vq_seen(r.vq)); /* the same place, a lap ago */
	r.driver_ev->off_wrap = 0;
	assert_true(vg_vq_seen(r.vq));
	r.driver_ev->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	assert_false(vg_vq_seen(r.vq));
	r.driver_ev->flags = VRING_PACKED_EVENT_FLAG_ENABLE;
	assert_true(vg_vq_seen(r.vq));
	rig_fini(&r);
}

/* Asked for after several, past the end of the ring: the lap of the wish is the next one. */
static void rearm_after_several(void **state)
{
	struct vg_chain *c[8];
	struct rig r;

	(void)state;
	rig_init(&r, 8, RIG_PACKED | RIG_EVENT);
	for (unsigned i = 0; i < 6; i++)
		rig_pdesc(&r, i, D, 1, 0, (uint16_t)i, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 6);
	for (unsigned i = 0; i < 6; i++)
		vg_vq_push(r.vq, c[i], 0);
	vg_vq_flush(r.vq);
	assert_false(vg_vq_rearm_after(r.vq, 4));
	assert_int_equal(r.device_ev->off_wrap, 1);
	rig_pdesc(&r, 6, D, 1, 0, 6, true);
	rig_pdesc(&r, 7, D, 1, 0, 7, true);
	rig_pdesc(&r, 0, D, 1, 0, 0, false);
	assert_false(vg_vq_rearm_after(r.vq, 4));
	assert_true(vg_vq_rearm_after(r.vq, 3));
	assert_int_equal(r.device_ev->off_wrap, 0);
	rig_pdesc(&r, 1, D, 1, 0, 1, false);
	assert_true(vg_vq_rearm_after(r.vq, 4));
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 4);
	/* All that the ring holds and more: none is left that could be asked for. */
	assert_false(vg_vq_rearm_after(r.vq, 1000));
	rig_fini(&r);
}

static void in_order_holds_back(void **state)
{
	struct vg_chain *c[4];
	struct rig r;

	(void)state;
	rig_init(&r, 3, RIG_PACKED | RIG_IN_ORDER);
	for (unsigned round = 0; round < 6; round++) {
		bool wrap = round % 2 == 0;

		for (unsigned i = 0; i < 3; i++)
			rig_pdesc(&r, i, D, 1, VRING_DESC_F_WRITE, (uint16_t)i, wrap);
		assert_int_equal(vg_vq_pop(r.vq, c, 4), 3);
		vg_vq_push(r.vq, c[1], 1);
		vg_vq_push(r.vq, c[2], 1);
		assert_false(vg_vq_flush(r.vq));
		vg_vq_push(r.vq, c[0], 1);
		assert_true(vg_vq_flush(r.vq));
		assert_int_equal(r.pdesc[0].id, 2); /* for all three */
	}
	rig_fini(&r);
}

/* 2.8.8: one used descriptor, where the batch begins, for its last chain. */
static void in_order_batches(void **state)
{
	struct vg_chain *c[8];
	struct rig r;

	(void)state;
	rig_init(&r, 5, RIG_PACKED | RIG_IN_ORDER);
	for (unsigned round = 0; round < 10; round++) {
		bool wrap = round % 2 == 0;
		uint16_t used = wrap ? 1u << 7 | 1u << 15 : 0, avail = wrap ? 1u << 7 : 1u << 15;

		/* Chains of 1, 2, 1 and 1 descriptors; the third is not written in full. */
		rig_pdesc(&r, 0, D, 4, VRING_DESC_F_WRITE, 10, wrap);
		rig_pdesc(&r, 1, D, 4, VRING_DESC_F_NEXT, 0, wrap);
		rig_pdesc(&r, 2, D, 4, VRING_DESC_F_WRITE, 11, wrap);
		rig_pdesc(&r, 3, D, 4, VRING_DESC_F_WRITE, 12, wrap);
		rig_pdesc(&r, 4, D, 4, VRING_DESC_F_WRITE, 13, wrap);
		assert_int_equal(vg_vq_pop(r.vq, c, 8), 4);
		vg_vq_push(r.vq, c[0], 4);
		vg_vq_push(r.vq, c[1], 4);
		vg_vq_push(r.vq, c[2], 3);
		vg_vq_push(r.vq, c[3], 4);
		assert_true(vg_vq_flush(r.vq));
		assert_int_equal(r.pdesc[0].id, 12);
		assert_int_equal(r.pdesc[0].len, 3);
		assert_int_equal(r.pdesc[0].flags, used | VRING_DESC_F_WRITE);
		/* Those that were skipped are as the driver left them. */
		assert_int_equal(r.pdesc[1].flags, avail | VRING_DESC_F_NEXT);
		assert_int_equal(r.pdesc[3].flags, avail | VRING_DESC_F_WRITE);
		assert_int_equal(r.pdesc[3].id, 12);
		assert_int_equal(r.pdesc[4].id, 13);
		assert_int_equal(r.pdesc[4].flags, used | VRING_DESC_F_WRITE);
		assert_int_equal(vg_vq_pop(r.vq, c, 8), 0);
	}
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chain_wraps),
		cmocka_unit_test(batch_is_one),
		cmocka_unit_test(chain_indirect),
		cmocka_unit_test(unpop_over_the_edge),
		cmocka_unit_test(event_idx),
		cmocka_unit_test(suppression),
		cmocka_unit_test(seen),
		cmocka_unit_test(in_order_holds_back),
		cmocka_unit_test(in_order_batches),
		cmocka_unit_test(rearm_after_several),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
