/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_hostile_rings.c - what a guest may do to its rings, row by row
 *
 * Each row is a thing that a malicious driver does. What must hold for each: the
 * call returns, with an error and a sentence when a rule was broken; the queue
 * then gives nothing more, but takes back what is out; a neighbour in the same
 * memory works on; after a reset the queue itself works again. hostile.rows says
 * which row of the table each test is; tests/run-unit prints it.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/base/container.h"
#include "backend/memory/data.h"
#include "backend/memory/regions.h"
#include "tests/rigs/ring_rig.h"

#define D (RIG_BASE + RIG_DATA)

/* ---- what must hold ------------------------------------------------------- */

/** one_chain - make one good chain of one buffer available, first in a fresh ring */
static void one_chain(struct rig *r)
{
	if (r->cfg.features & RIG_PACKED) {
		rig_pdesc(r, 0, D, 1, VRING_DESC_F_WRITE, 0, true);
	} else {
		rig_desc(r, 0, D, 1, VRING_DESC_F_WRITE, 0);
		rig_avail(r, 0);
	}
}

/** works - a fresh queue on zeroed ring memory takes and gives a chain */
static void works(struct rig *r)
{
	struct vg_chain *c;

	one_chain(r);
	assert_int_equal(vg_vq_pop(r->vq, &c, 1), 1);
	vg_vq_push(r->vq, c, 1);
	assert_true(vg_vq_flush(r->vq));
	assert_null(vg_vq_fault(r->vq));
}

/** neighbour_works - another queue in the same guest memory takes and gives a chain */
static void neighbour_works(const struct rig *r)
{
	struct rig n = *r;

	n.cfg.desc += 1u << 19;
	n.cfg.driver += 1u << 18;
	n.cfg.device += 1u << 18;
	n.cfg.state = (struct vg_vq_state)VG_VQ_STATE_START;
	n.desc = (void *)((char *)n.desc + (1u << 19));
	n.pdesc = (void *)n.desc;
	n.avail = (void *)((char *)n.avail + (1u << 18));
	n.used = (void *)((char *)n.used + (1u << 18));
	n.driver_ev = (void *)n.avail;
	n.device_ev = (void *)n.used;
	memset(n.desc, 0, (size_t)16 * n.cfg.size);
	memset(n.avail, 0, 64);
	memset(n.used, 0, 64);
	rig_start(&n);
	works(&n);
	vg_vq_free(n.vq);
}

/** end - reset brings the queue back; free all */
static void end(struct rig *r)
{
	vg_vq_free(r->vq);
	rig_again(r, r->cfg.size, r->cfg.features);
	rig_start(r);
	works(r);
	rig_fini(r);
}

/** broken - the next pop must fail with @code, and what must hold then does */
static void broken(struct rig *r, int code)
{
	struct vg_chain *c[8];

	assert_int_equal(vg_vq_pop(r->vq, c, 8), code);
	assert_non_null(vg_vq_fault(r->vq));
	assert_true(strlen(vg_vq_fault(r->vq)) > 8);
	assert_int_equal(vg_vq_pop(r->vq, c, 8), code);
	assert_false(vg_vq_rearm(r->vq));
	assert_false(vg_vq_flush(r->vq));
	neighbour_works(r);
	end(r);
}

/** split - a fresh split ring of 8 */
static void split(struct rig *r, uint64_t features)
{
	rig_init(r, 8, features);
}

/** packed - a fresh packed ring of 8 */
static void packed(struct rig *r, uint64_t features)
{
	rig_init(r, 8, features | RIG_PACKED);
}

/** split_table - a split ring whose one chain is an indirect table of @n, zeroed. Return: the table. */
static struct vring_desc *split_table(struct rig *r, unsigned n, uint16_t more_flags)
{
	struct vring_desc *t;

	split(r, RIG_INDIRECT);
	t = rig_at(r, RIG_DATA);
	for (unsigned i = 0; i < n; i++)
		t[i] = (struct vring_desc){ D + 4096, 1, VRING_DESC_F_NEXT, (uint16_t)(i + 1) };
	if (n)
		t[n - 1].flags = 0;
	rig_desc(r, 0, D, n * 16, (uint16_t)(VRING_DESC_F_INDIRECT | more_flags), 1);
	rig_desc(r, 1, D, 1, 0, 0);
	rig_avail(r, 0);
	return t;
}

/* ---- rows ----------------------------------------------------------------- */

static void next_loops(void)
{
	struct rig r;

	split(&r, 0);
	rig_desc(&r, 3, D, 1, VRING_DESC_F_NEXT, 3);
	rig_avail(&r, 3);
	broken(&r, -EPROTO);

	split(&r, 0);
	rig_desc(&r, 0, D, 1, VRING_DESC_F_NEXT, 1);
	rig_desc(&r, 1, D, 1, VRING_DESC_F_NEXT, 2);
	rig_desc(&r, 2, D, 1, VRING_DESC_F_NEXT, 0);
	rig_avail(&r, 0);
	broken(&r, -EPROTO);

	split(&r, 0);
	rig_desc(&r, 0, D, 1, VRING_DESC_F_NEXT, 8);
	rig_avail(&r, 0);
	broken(&r, -EPROTO);
}

static void next_loops_in_table(void)
{
	struct vring_desc *t;
	struct rig r;

	t = split_table(&r, 4, 0);
	t[3].flags = VRING_DESC_F_NEXT;
	t[3].next = 0;
	broken(&r, -EPROTO);
	t = split_table(&r, 4, 0);
	t[2].next = 2;
	broken(&r, -EPROTO);
	t = split_table(&r, 4, 0);
	t[0].next = 3;
	t[3] = (struct vring_desc){ D, 1, VRING_DESC_F_NEXT, 1 };
	t[1].next = 3;
	broken(&r, -EPROTO);
	t = split_table(&r, 4, 0);
	t[0].next = 3;
	t[3] = (struct vring_desc){ D, 1, VRING_DESC_F_NEXT, 0 };
	broken(&r, -EPROTO);
	t = split_table(&r, 4, 0);
	t[1].next = 4;
	broken(&r, -EPROTO);
}

static void indirect_in_indirect(void)
{
	struct vring_desc *t;
	struct rig r;

	t = split_table(&r, 4, 0);
	t[1].flags = VRING_DESC_F_INDIRECT;
	broken(&r, -EPROTO);
	t = split_table(&r, 4, 0);
	t[0].flags |= VRING_DESC_F_INDIRECT;
	broken(&r, -EPROTO);
}

/* In a packed ring's table the flag is reserved (2.8.7): a buffer like any other, never a table. */
static void indirect_in_indirect_packed(void)
{
	struct vring_packed_desc *t;
	struct vg_chain *c[8];
	struct rig r;

	packed(&r, RIG_INDIRECT);
	t = rig_at(&r, RIG_DATA);
	for (unsigned i = 0; i < 4; i++)
		t[i] = (struct vring_packed_desc){
			D, 64, (uint16_t)i,
			i % 2 ? VRING_DESC_F_INDIRECT : VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT
		};
	rig_pdesc(&r, 0, D, 64, VRING_DESC_F_INDIRECT, 9, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
	assert_int_equal(c[0]->n_out, 4);
	assert_int_equal(c[0]->out_len, 4 * 64);
	neighbour_works(&r);
	end(&r);
}

static void indirect_with_next(void)
{
	struct rig r;

	split_table(&r, 4, VRING_DESC_F_NEXT);
	broken(&r, -EPROTO);
	packed(&r, RIG_INDIRECT);
	rig_pdesc(&r, 1, D, 1, 0, 0, true);
	rig_pdesc(&r, 0, D, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 0, true);
	broken(&r, -EPROTO);
}

static void indirect_not_negotiated(void)
{
	struct rig r;

	split(&r, 0);
	rig_desc(&r, 0, D, 16, VRING_DESC_F_INDIRECT, 0);
	rig_avail(&r, 0);
	broken(&r, -EPROTO);
	packed(&r, 0);
	rig_pdesc(&r, 0, D, 16, VRING_DESC_F_INDIRECT, 0, true);
	broken(&r, -EPROTO);
}

static void table_length(void)
{
	static const uint32_t bad[] = { 0,	    1,		15,
					17,	    8 * 16 + 8, 9 * 16,
					65536 * 16, UINT32_MAX, UINT32_MAX - 15 };
	struct rig r;

	for (unsigned i = 0; i < COUNT(bad); i++) {
		split_table(&r, 4, 0);
		r.desc[0].len = bad[i];
		broken(&r, -EPROTO);
		packed(&r, RIG_INDIRECT);
		rig_pdesc(&r, 0, D, bad[i], VRING_DESC_F_INDIRECT, 0, true);
		broken(&r, -EPROTO);
	}
}

static void table_not_there(void)
{
	struct rig r;

	split_table(&r, 4, 0);
	r.desc[0].addr = RIG_BASE + RIG_LEN - 32;
	broken(&r, -EFAULT);
	split_table(&r, 4, 0);
	r.desc[0].addr = UINT64_MAX - 32;
	broken(&r, -EPROTO);
	packed(&r, RIG_INDIRECT);
	rig_pdesc(&r, 0, 0x10, 32, VRING_DESC_F_INDIRECT, 0, true);
	broken(&r, -EFAULT);
}

static void too_long(void)
{
	struct rig r;

	/* Split: more descriptors than are left, because another chain has them. */
	struct vg_chain *c;

	split(&r, 0);
	for (unsigned i = 0; i < 8; i++)
		rig_desc(&r, i, D, 1, i < 7 ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	rig_avail(&r, 0);
	assert_int_equal(vg_vq_pop(r.vq, &c, 1), 1);
	rig_avail(&r, 3);
	broken(&r, -EPROTO);

	/* Packed: the chain goes all the way round. */
	packed(&r, 0);
	for (unsigned i = 1; i < 8; i++)
		rig_pdesc(&r, i, D, 1, VRING_DESC_F_NEXT, 0, true);
	rig_pdesc(&r, 0, D, 1, VRING_DESC_F_NEXT, 0, true);
	broken(&r, -EPROTO);

	/* A limit below the ring's size. */
	rig_prepare(&r, 64, 0);
	r.cfg.chain_max = 20;
	rig_start(&r);
	for (unsigned i = 0; i < 21; i++)
		rig_desc(&r, i, D, 1, i < 20 ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	rig_avail(&r, 0);
	broken(&r, -EPROTO);
	rig_prepare(&r, 64, 0);
	r.cfg.chain_max = 4; /* fits into the slot: no blocks at all */
	rig_start(&r);
	for (unsigned i = 0; i < 5; i++)
		rig_desc(&r, i, D, 1, i < 4 ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	rig_avail(&r, 0);
	broken(&r, -EPROTO);
}

static void head_out_of_range(void)
{
	struct vg_chain *c[8];
	struct rig r;

	split(&r, 0);
	rig_avail(&r, 8);
	broken(&r, -EPROTO);
	split(&r, 0);
	rig_avail(&r, 65535);
	broken(&r, -EPROTO);
	/* Good chains before it are given, and can be given back. */
	split(&r, 0);
	rig_desc(&r, 0, D, 1, 0, 0);
	rig_avail(&r, 0);
	rig_avail(&r, 9);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
	assert_int_equal(vg_vq_pop(r.vq, c + 1, 7), -EPROTO);
	vg_vq_push(r.vq, c[0], 0);
	assert_true(vg_vq_flush(r.vq));
	assert_int_equal(r.used->idx, 1);
	broken(&r, -EPROTO);
}

static void avail_jumps(void)
{
	struct vg_chain *c[8];
	struct rig r;

	split(&r, 0);
	r.avail->idx = 9;
	broken(&r, -EPROTO);
	split(&r, 0);
	r.avail->idx = 0xffff; /* backwards */
	broken(&r, -EPROTO);
	/* By no more than the size, but more than what is not out. */
	split(&r, 0);
	for (unsigned i = 0; i < 8; i++) {
		rig_desc(&r, i, D, 1, 0, 0);
		rig_avail(&r, (uint16_t)i);
	}
	assert_int_equal(vg_vq_pop(r.vq, c, 5), 5);
	r.avail->idx = 12;
	broken(&r, -EPROTO);
	/* Seen by rearm, then taken back. */
	split(&r, 0);
	one_chain(&r);
	assert_true(vg_vq_rearm(r.vq));
	r.avail->idx = 0;
	broken(&r, -EPROTO);
}

static void used_index_forged(void)
{
	struct vg_chain *c;
	struct rig r;

	split(&r, 0);
	one_chain(&r);
	assert_int_equal(vg_vq_pop(r.vq, &c, 1), 1);
	r.used->idx = 0x1234;
	r.used->ring[0].id = 77;
	vg_vq_push(r.vq, c, 1);
	assert_true(vg_vq_flush(r.vq));
	assert_int_equal(r.used->idx, 1);
	assert_int_equal(r.used->ring[0].id, 0);
	neighbour_works(&r);
	end(&r);
}

/* What the device writes back lies in the ring itself: the guest spoils it, and what is out. */
static void used_descriptors_forged(void)
{
	struct vg_chain *c[8];
	struct rig r;

	packed(&r, 0);
	for (unsigned i = 0; i < 4; i++)
		rig_pdesc(&r, i, D, 1, VRING_DESC_F_WRITE, (uint16_t)(10 + i), true);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 4);
	for (unsigned i = 0; i < 4; i++)
		r.pdesc[i] = (struct vring_packed_desc){ ~0ull, ~0u, 0xffff, 0xffff };
	for (unsigned i = 0; i < 4; i++)
		vg_vq_push(r.vq, c[3 - i], 1);
	assert_true(vg_vq_flush(r.vq));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(r.pdesc[i].id, 13 - i);
		assert_int_equal(r.pdesc[i].len, 1);
		assert_int_equal(r.pdesc[i].flags & (1u << 7 | 1u << 15), 1u << 7 | 1u << 15);
		r.pdesc[i].flags = 0xffff;
	}
	/* The next lap begins where it should. */
	for (unsigned i = 4; i < 8; i++)
		rig_pdesc(&r, i, D, 1, 0, (uint16_t)i, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 4);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 0);
	neighbour_works(&r);
	end(&r);
}

static void refused(struct rig *r, int code)
{
	struct vg_vq *vq = NULL;

	r->err.text[0] = 0;
	assert_int_equal(vg_vq_new(&r->rs.mem, &r->cfg, &vq, &r->err), code);
	assert_null(vq);
	assert_true(strlen(r->err.text) > 8);
}

static void queue_sizes(void)
{
	static const uint32_t bad[] = { 0, 3, 100, 32769, 65536, UINT32_MAX };
	struct rig r;

	rig_prepare(&r, 8, 0);
	for (unsigned i = 0; i < COUNT(bad); i++) {
		r.cfg.size = bad[i];
		refused(&r, -EINVAL);
	}
	r.cfg.features = RIG_PACKED; /* any size to 32768 */
	for (unsigned i = 3; i < COUNT(bad); i++) {
		r.cfg.size = bad[i];
		refused(&r, -EINVAL);
	}
	r.cfg.size = 0;
	refused(&r, -EINVAL);
	r.cfg.size = 100;
	rig_start(&r);
	rig_fini(&r);
}

static void ring_placement(void)
{
	struct vg_vq_config good;
	struct rig r;

	for (unsigned p = 0; p < 2; p++) {
		rig_prepare(&r, 256, p ? RIG_PACKED : 0);
		good = r.cfg;
		for (unsigned off = 1; off < 16; off++) {
			r.cfg.desc = good.desc + off;
			refused(&r, -EINVAL);
		}
		r.cfg = good;
		r.cfg.driver += 1;
		refused(&r, -EINVAL);
		r.cfg = good;
		r.cfg.device += 2;
		refused(&r, -EINVAL);
		r.cfg = good;
		r.cfg.desc = RIG_BASE + RIG_LEN - 4096 + 16;
		refused(&r, -EFAULT);
		r.cfg.desc = RIG_BASE - 4096;
		refused(&r, -EFAULT);
		r.cfg.desc = UINT64_MAX - 4095;
		refused(&r, -EFAULT);
		r.cfg.desc = UINT64_MAX - 15;
		refused(&r, -EINVAL);
		r.cfg = good;
		r.cfg.driver = RIG_BASE + RIG_LEN;
		refused(&r, -EFAULT);
		r.cfg = good;
		r.cfg.device = RIG_BASE + RIG_LEN;
		refused(&r, -EFAULT);
		r.cfg = good;
		r.cfg.device = r.cfg.desc + 4092;
		refused(&r, -EINVAL);
		r.cfg.device = r.cfg.driver = good.driver;
		refused(&r, -EINVAL);
		r.cfg = good;
		rig_start(&r);
		rig_fini(&r);
	}
}

/* Two queues that share all their memory: garbage for the guest, nothing for us. */
static void another_queues_memory(void)
{
	struct vg_chain *c[8];
	struct rig r;

	for (unsigned p = 0; p < 2; p++) {
		struct vg_vq *twin;

		rig_init(&r, 8, p ? RIG_PACKED : 0);
		assert_int_equal(vg_vq_new(&r.rs.mem, &r.cfg, &twin, &r.err), 0);
		one_chain(&r);
		assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
		assert_int_equal(vg_vq_pop(twin, c + 1, 7), 1);
		vg_vq_push(r.vq, c[0], 1);
		vg_vq_push(twin, c[1], 1);
		vg_vq_flush(r.vq);
		vg_vq_flush(twin);
		for (unsigned i = 0; i < 100; i++) {
			(void)vg_vq_pop(r.vq, c, 8);
			(void)vg_vq_pop(twin, c, 8);
		}
		vg_vq_free(twin);
		neighbour_works(&r);
		end(&r);
	}
	/* Data on top of the ring: a copy into it is the guest's own affair. */
	split(&r, 0);
	rig_desc(&r, 0, r.cfg.desc, 128, VRING_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
	memset(r.desc, 0xff, 128);
	vg_vq_push(r.vq, c[0], 128);
	assert_true(vg_vq_flush(r.vq));
	rig_avail(&r, 1);
	broken(&r, -EPROTO);
}

static void packed_flags_flip(void)
{
	struct vg_chain *c[8];
	unsigned turns;
	struct rig r;

	/* As a device's loop goes: pop until nothing, rearm, go on if there is more. */
	packed(&r, 0);
	for (turns = 0; turns < 1000; turns++) {
		r.pdesc[0].flags = 0;
		if (vg_vq_pop(r.vq, c, 8) < 0)
			break;
		r.pdesc[0].flags = 1u << VRING_PACKED_DESC_F_AVAIL;
		assert_true(vg_vq_rearm(r.vq));
	}
	assert_int_equal(turns, 1);
	broken(&r, -EPROTO);

	/* The same when several are waited for: one further on that looks available is none to be had. */
	packed(&r, RIG_EVENT);
	rig_pdesc(&r, 3, D, 1, 0, 3, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 0);
	assert_false(vg_vq_rearm_after(r.vq, 4));
	assert_int_equal(r.device_ev->off_wrap, 3 | 1 << 15);
	for (unsigned i = 0; i < 3; i++)
		rig_pdesc(&r, i, D, 1, 0, (uint16_t)i, true);
	assert_true(vg_vq_rearm_after(r.vq, 4));
	r.pdesc[0].flags = 0;
	broken(&r, -EPROTO);
}

static void wrap_games(void)
{
	struct vg_chain *c[8];
	struct rig r;

	/* Available in the wrong lap. */
	packed(&r, 0);
	rig_pdesc(&r, 0, D, 1, 0, 0, false);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 0);
	assert_false(vg_vq_rearm(r.vq));
	r.pdesc[0].flags = 1u << 7 | 1u << 15; /* used, says the driver */
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 0);
	/* A full lap out, and the next lap announced already. */
	for (unsigned i = 0; i < 8; i++)
		rig_pdesc(&r, i, D, 1, 0, (uint16_t)i, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 8);
	for (unsigned i = 0; i < 8; i++)
		rig_pdesc(&r, i, D, 1, 0, (uint16_t)(100 + i), false);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 0);
	assert_false(vg_vq_rearm(r.vq));
	/* The wish for a notification: places and laps that do not exist. */
	for (unsigned e = 0; e < 65536; e += 257) {
		r.driver_ev->off_wrap = (uint16_t)e;
		r.driver_ev->flags = (uint16_t)(e >> 3);
	}
	for (unsigned i = 0; i < 8; i++)
		vg_vq_push(r.vq, c[i], 0);
	(void)vg_vq_flush(r.vq);
	neighbour_works(&r);
	end(&r);
}

static void zero_length(void)
{
	struct vring_desc *t;
	struct rig r;

	split(&r, 0);
	rig_desc(&r, 0, D, 0, 0, 0);
	rig_avail(&r, 0);
	broken(&r, -EPROTO);
	packed(&r, 0);
	rig_pdesc(&r, 0, D, 0, VRING_DESC_F_WRITE, 0, true);
	broken(&r, -EPROTO);
	t = split_table(&r, 4, 0);
	t[3].len = 0;
	broken(&r, -EPROTO);
}

static void lengths(void)
{
	struct vg_chain *c[8];
	struct rig r;

	split(&r, 0);
	rig_desc(&r, 0, UINT64_MAX - 9, 11, 0, 0);
	rig_avail(&r, 0);
	broken(&r, -EPROTO);
	packed(&r, 0);
	rig_pdesc(&r, 0, UINT64_MAX, 2, 0, 0, true);
	broken(&r, -EPROTO);
	/* Sum beyond 32 bits. */
	split(&r, 0);
	rig_desc(&r, 0, D, UINT32_MAX, VRING_DESC_F_NEXT, 1);
	rig_desc(&r, 1, D, 1, 0, 0);
	rig_avail(&r, 0);
	broken(&r, -EPROTO);
	/* Right below: well-formed; the memory is looked at when it is used. */
	split(&r, 0);
	rig_desc(&r, 0, UINT64_MAX - 9, 10, VRING_DESC_F_NEXT, 1);
	rig_desc(&r, 1, D, UINT32_MAX, VRING_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
	assert_int_equal(c[0]->in_len, UINT32_MAX);
	{
		static struct vg_batch b;
		struct vg_data d;
		char ten[10];

		vg_batch_init(&b, &r.rs.mem);
		assert_int_equal(vg_chain_read(&b, c[0], 0, ten, 10), 0);
		assert_int_equal(vg_batch_run(&b), -EFAULT);
		assert_int_equal(c[0]->error, -EFAULT);
		assert_int_equal(vg_data_begin(&d, &b, c[0], VG_TO_GUEST, 0, UINT32_MAX), -EFAULT);
	}
	neighbour_works(&r);
	end(&r);
}

static void across_regions(void)
{
	static struct vg_batch b;
	struct vg_chain *c[8];
	char buf[32] = "";
	struct rig r;

	/* One byte beyond the last region; and the ring itself across two. */
	split(&r, 0);
	rig_desc(&r, 0, RIG_BASE + RIG_LEN - 16, 17, 0, 0);
	rig_avail(&r, 0);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
	vg_batch_init(&b, &r.rs.mem);
	assert_int_equal(vg_chain_read(&b, c[0], 0, buf, 17), 0);
	assert_int_equal(vg_batch_run(&b), -EFAULT);
	end(&r);

	rig_prepare(&r, 256, 0);
	assert_int_equal(vg_regions_del(&r.rs, RIG_BASE, RIG_LEN), 0);
	assert_int_equal(
		vg_regions_add(&r.rs, &(struct vg_region){ RIG_BASE, 2048, r.host, false }), 0);
	assert_int_equal(vg_regions_add(&r.rs, &(struct vg_region){ RIG_BASE + 2048, RIG_LEN - 2048,
								    r.host + 2048, false }),
			 0);
	refused(&r, -EFAULT);
	rig_fini(&r);
}

static void wrong_order(void)
{
	struct vring_desc *t;
	struct rig r;

	split(&r, 0);
	rig_desc(&r, 0, D, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	rig_desc(&r, 1, D, 1, 0, 0);
	rig_avail(&r, 0);
	broken(&r, -EPROTO);
	packed(&r, 0);
	rig_pdesc(&r, 1, D, 1, 0, 0, true);
	rig_pdesc(&r, 0, D, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 0, true);
	broken(&r, -EPROTO);
	t = split_table(&r, 4, 0);
	t[1].flags |= VRING_DESC_F_WRITE;
	broken(&r, -EPROTO);
}

static void resubmitted_early(void)
{
	struct vg_chain *c[8];
	struct rig r;

	split(&r, 0);
	one_chain(&r);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
	rig_avail(&r, 0);
	broken(&r, -EPROTO);
	packed(&r, 0);
	rig_pdesc(&r, 0, D, 1, 0, 5, true);
	rig_pdesc(&r, 1, D, 1, 0, 5, true);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
	broken(&r, -EPROTO);
	/* A middle descriptor of one chain as the head of others, over and over. */
	split(&r, 0);
	rig_desc(&r, 0, D, 1, VRING_DESC_F_NEXT, 1);
	rig_desc(&r, 1, D, 1, VRING_DESC_F_NEXT, 2);
	rig_desc(&r, 2, D, 1, VRING_DESC_F_NEXT, 3);
	rig_desc(&r, 3, D, 1, 0, 0);
	rig_avail(&r, 0);
	rig_avail(&r, 1);
	rig_avail(&r, 2);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 2);
	broken(&r, -EPROTO);
}

static void kicks_without_work(void)
{
	struct vg_chain *c[8];
	struct rig r;

	for (unsigned p = 0; p < 2; p++) {
		rig_init(&r, 8, p ? RIG_PACKED : 0);
		for (unsigned i = 0; i < 100000; i++) {
			assert_int_equal(vg_vq_pop(r.vq, c, 8), 0);
			assert_false(vg_vq_rearm(r.vq));
			assert_false(vg_vq_flush(r.vq));
		}
		assert_int_equal(vg_vq_stats(r.vq)->pops, 0);
		assert_int_equal(r.rs.mem.stats.copies, 0);
		works(&r);
		rig_fini(&r);
	}
}

static void reset_in_flight(void)
{
	struct vg_chain *c[8];
	struct rig r;

	for (unsigned p = 0; p < 2; p++) {
		rig_init(&r, 8, RIG_INDIRECT | RIG_IN_ORDER | (p ? RIG_PACKED : 0));
		one_chain(&r);
		assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
		end(&r);
		assert_int_equal(r.rs.mem.stats.maps, r.rs.mem.stats.unmaps);
	}
}

/* Long chains, more than there are blocks for: the ring waits, nothing is lost. */
static void memory_is_bounded(void)
{
	static struct vg_chain *c[4096];
	struct vring_desc *t;
	struct rig r;
	int n, more;

	rig_prepare(&r, 4096, RIG_INDIRECT);
	r.cfg.chain_max = VG_CHAIN_MAX;
	rig_start(&r);
	t = rig_at(&r, RIG_DATA);
	for (unsigned i = 0; i < VG_CHAIN_MAX; i++)
		t[i] = (struct vring_desc){ D, 1, i + 1 < VG_CHAIN_MAX ? VRING_DESC_F_NEXT : 0,
					    (uint16_t)(i + 1) };
	for (unsigned i = 0; i < 4096; i++) {
		rig_desc(&r, i, D, VG_CHAIN_MAX * 16, VRING_DESC_F_INDIRECT, 0);
		rig_avail(&r, (uint16_t)i);
	}
	n = vg_vq_pop(r.vq, c, 4096);
	assert_int_equal(n, VG_VQ_LONG_MAX);
	assert_int_equal(vg_vq_pop(r.vq, c + n, 4096), 0);
	assert_false(vg_vq_rearm(r.vq)); /* nothing to be had: no turning */
	vg_vq_push(r.vq, c[--n], 0);
	assert_true(vg_vq_rearm(r.vq));
	more = vg_vq_pop(r.vq, c + n, 4096);
	assert_int_equal(more, 1);
	neighbour_works(&r);
	end(&r);
}

/* ---- double fetch ---------------------------------------------------------- */

/*
 * Guest memory that changes whenever it has been copied: what was decided on the
 * first copy must not be looked up again.
 */
struct fickle {
	struct vg_mem mem;
	struct vg_mem *below;
};

static int fickle_copy(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	struct fickle *f = (struct fickle *)mem;

	for (unsigned i = 0; i < n; i++) {
		void *p = vg_mem_direct(f->below, ops[i].addr, ops[i].len, VG_TO_GUEST);

		assert_non_null(p);
		assert_int_equal(ops[i].dir, VG_FROM_GUEST);
		memcpy(ops[i].host, p, ops[i].len);
		memset(p, 0xff, ops[i].len);
	}
	return 0;
}

static int fickle_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	struct fickle *f = (struct fickle *)mem;

	return f->below->ops->map(f->below, addr, len, out);
}

static void fickle_unmap(struct vg_mem *mem, struct vg_map *map)
{
	(void)mem;
	(void)map;
}

static const struct vg_mem_ops fickle_ops = { .copy = fickle_copy,
					      .map = fickle_map,
					      .unmap = fickle_unmap };

static void double_fetch_table(void)
{
	struct fickle f = { .mem.ops = &fickle_ops };
	struct vg_chain *c[8];
	struct rig r;

	split_table(&r, 8, 0);
	vg_vq_free(r.vq);
	f.below = &r.rs.mem;
	assert_int_equal(vg_vq_new(&f.mem, &r.cfg, &r.vq, &r.err), 0);
	assert_int_equal(vg_vq_pop(r.vq, c, 8), 1);
	assert_int_equal(c[0]->n_out, 8);
	assert_int_equal(f.mem.stats.copies, 1);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(c[0]->segs[i].addr, D + 4096);
	rig_fini(&r);
}

#ifdef __x86_64__
/*
 * Every access to the ring, by address: its pages are closed; a fault notes the
 * address, opens them for one instruction (trap flag), and closes them again.
 */
#define TRACE_LEN (1u << 16)
#define TRACE_MAX 4096

static struct {
	uint8_t *from;
	uintptr_t at[TRACE_MAX];
	unsigned n;
} trace;

static void on_segv(int sig, siginfo_t *si, void *uc)
{
	uintptr_t a = (uintptr_t)si->si_addr;

	(void)sig;
	if (a - (uintptr_t)trace.from >= TRACE_LEN || trace.n == TRACE_MAX)
		_exit(99);
	trace.at[trace.n++] = a - (uintptr_t)trace.from;
	mprotect(trace.from, TRACE_LEN, PROT_READ | PROT_WRITE);
	((ucontext_t *)uc)->uc_mcontext.gregs[REG_EFL] |= 0x100;
}

static void on_trap(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)si;
	mprotect(trace.from, TRACE_LEN, PROT_NONE);
	((ucontext_t *)uc)->uc_mcontext.gregs[REG_EFL] &= ~0x100ll;
}

/** traced_pop - pop with every access to the pages from @from on noted. Return: how many chains. */
static int traced_pop(struct rig *r, struct vg_chain **c, unsigned max, void *from)
{
	struct sigaction segv = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO }, old_segv;
	struct sigaction trap = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO }, old_trap;
	int n;

	sigaction(SIGSEGV, &segv, &old_segv);
	sigaction(SIGTRAP, &trap, &old_trap);
	trace.n = 0;
	trace.from = from;
	mprotect(trace.from, TRACE_LEN, PROT_NONE);
	n = vg_vq_pop(r->vq, c, max);
	mprotect(trace.from, TRACE_LEN, PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGTRAP, &old_trap, NULL);
	return n;
}

/**
 * fetched_once - each part of @n descriptors was read once
 * @parts: bit map of the offsets in a descriptor at which reads may start, first descriptors
 * @rest: the same for those that follow
 * @per_chain: descriptors of a chain
 */
static void fetched_once(unsigned n, unsigned parts, unsigned rest, unsigned per_chain)
{
	unsigned want = 0, seen[8] = { 0 };

	for (unsigned i = 0; i < trace.n; i++) {
		unsigned at = (unsigned)(trace.at[i] / 16), bit = 1u << trace.at[i] % 16;

		assert_true(at < n);
		assert_true(bit & (at % per_chain ? rest : parts));
		assert_false(seen[at] & bit);
		seen[at] |= bit;
	}
	for (unsigned i = 0; i < n; i++)
		want += (unsigned)__builtin_popcount(i % per_chain ? rest : parts);
	assert_int_equal(trace.n, want);
}

#define WORDS (1u << 0 | 1u << 8)
#define HEAD  (1u << 0 | 1u << 8 | 1u << 12 | 1u << 14) /* addr, len, id, flags */

static void double_fetch_ring(void)
{
	struct vg_chain *c[8];
	struct rig r;

	/* Two chains of three, one of two: eight descriptors. */
	split(&r, 0);
	for (unsigned i = 0; i < 8; i++)
		rig_desc(&r, i, D, 1, i % 3 < 2 && i < 7 ? VRING_DESC_F_NEXT : 0,
			 (uint16_t)(i + 1));
	rig_avail(&r, 0);
	rig_avail(&r, 3);
	rig_avail(&r, 6);
	assert_int_equal(traced_pop(&r, c, 8, r.desc), 3);
	fetched_once(8, WORDS, WORDS, 3);
	rig_fini(&r);

	packed(&r, 0);
	for (unsigned i = 0; i < 8; i++)
		rig_pdesc(&r, i, D, 1, i % 3 < 2 && i < 7 ? VRING_DESC_F_NEXT : 0,
			  (uint16_t)(i / 3), true);
	assert_int_equal(traced_pop(&r, c, 8, r.desc), 3);
	fetched_once(8, HEAD, WORDS, 3);
	rig_fini(&r);

	split_table(&r, 8, 0);
	assert_int_equal(traced_pop(&r, c, 8, rig_at(&r, RIG_DATA)), 1);
	fetched_once(8, WORDS, WORDS, 8);
	rig_fini(&r);
}
#else
static void double_fetch_ring(void)
{
	skip();
}
#endif

/* A thread turns a ring's descriptors upside down while they are read. */
static bool flip_stop;

static void *flip(void *arg)
{
	struct rig *r = arg;
	uint64_t x = 88172645463325252ull;

	while (!__atomic_load_n(&flip_stop, __ATOMIC_RELAXED)) {
		uint64_t *w = (uint64_t *)r->desc;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* Mostly sensible: small numbers, the flags that exist. */
		__atomic_store_n(&w[x % 16], x & 0x8087000700000fffull, __ATOMIC_RELAXED);
		if (x >> 40 & 1)
			__atomic_store_n(&r->avail->ring[x >> 8 & 7], (uint16_t)(x >> 16 & 15),
					 __ATOMIC_RELAXED);
	}
	return NULL;
}

static void memory_changes(void)
{
	static struct vg_chain *c[8];
	unsigned popped = 0;

	for (unsigned p = 0; p < 2; p++) {
		struct rig r;
		pthread_t t;

		rig_prepare(&r, 8, RIG_INDIRECT | (p ? RIG_PACKED : 0));
		flip_stop = false;
		assert_int_equal(pthread_create(&t, NULL, flip, &r), 0);
		for (unsigned i = 0; i < 3000; i++) {
			int n;

			__atomic_store_n(&r.avail->idx, 4, __ATOMIC_RELEASE);
			r.cfg.driver = p ? RIG_BASE + (1u << 20) + 1024 : r.cfg.driver;
			rig_start(&r);
			n = vg_vq_pop(r.vq, c, 8);
			for (int k = 0; k < n; k++) {
				uint64_t out = 0, in = 0;

				for (unsigned s = 0; s < c[k]->n_out; s++)
					out += c[k]->segs[s].len;
				for (unsigned s = 0; s < c[k]->n_in; s++)
					in += c[k]->segs[c[k]->n_out + s].len;
				assert_int_equal(out, c[k]->out_len);
				assert_int_equal(in, c[k]->in_len);
				popped++;
			}
			vg_vq_free(r.vq);
			r.vq = NULL;
		}
		__atomic_store_n(&flip_stop, true, __ATOMIC_RELAXED);
		pthread_join(t, NULL);
		rig_fini(&r);
	}
	assert_true(popped > 0);
}

/* ---- the tests ------------------------------------------------------------- */

static struct row {
	const char *name;
	void (*run)(void);
} rows[] = {
	{ "next loops", next_loops },
	{ "next loops inside an indirect table", next_loops_in_table },
	{ "indirect in indirect", indirect_in_indirect },
	{ "indirect in indirect, packed", indirect_in_indirect_packed },
	{ "indirect with NEXT", indirect_with_next },
	{ "indirect without the feature", indirect_not_negotiated },
	{ "table length 0 or no multiple of 16", table_length },
	{ "table that is not there", table_not_there },
	{ "chain longer than the queue", too_long },
	{ "head index out of range", head_out_of_range },
	{ "available index jumps", avail_jumps },
	{ "used index written by the guest", used_index_forged },
	{ "used descriptors written by the guest", used_descriptors_forged },
	{ "queue size 0, no power of two, over the maximum", queue_sizes },
	{ "ring out of bounds, misaligned, overlapping", ring_placement },
	{ "ring in another queue's or the data's memory", another_queues_memory },
	{ "packed flags that keep changing", packed_flags_flip },
	{ "wrap counter games", wrap_games },
	{ "double fetch: copied indirect tables", double_fetch_table },
	{ "double fetch: descriptors, direct tables", double_fetch_ring },
	{ "memory changes while it is read", memory_changes },
	{ "zero-length descriptors", zero_length },
	{ "address + length overflow, lengths near 2^32", lengths },
	{ "ranges across regions", across_regions },
	{ "readable behind writable", wrong_order },
	{ "buffers resubmitted before completion", resubmitted_early },
	{ "kicks without work", kicks_without_work },
	{ "reset with chains in flight", reset_in_flight },
	{ "chains longer than memory lasts", memory_is_bounded },
};

#define N_ROWS (COUNT(rows))

static void run_row(void **state)
{
	const struct row *row = *state;

	row->run();
}

int main(void)
{
	struct CMUnitTest tests[N_ROWS];

	for (unsigned i = 0; i < N_ROWS; i++)
		tests[i] = (struct CMUnitTest){ .name = rows[i].name,
						.test_func = run_row,
						.initial_state = &rows[i] };
	return _cmocka_run_group_tests("hostile rings", tests, N_ROWS, NULL, NULL);
}
