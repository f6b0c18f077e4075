/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_virtqueue_model.c - the ring engine in lockstep with a model
 *
 * The driver is tests/rigs/toy_driver.h, which knows all its chains by heart.
 * The model of the device is three lists of sequence numbers: popped, pushed,
 * published. Each step does one random thing to both; every answer of the engine
 * must be the model's: which chains, of which shape, in which order, which used
 * lengths, whether to notify, whether more is there. Rings of all sizes to 64
 * and all features, starting anywhere; now and then the queue is stopped and
 * started, or dropped and resumed from its in-flight record.
 *
 *	VG_MODEL_STEPS=n	how many steps (default 300000)
 *	VG_MODEL_SEED=n		which (default: of the day); is printed
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "tests/rigs/toy_driver.h"

#define LIFE 1500u /* steps before a new ring */

/* What a device holds, in the order in which it came. */
struct list {
	unsigned n;
	struct {
		uint64_t seq;
		uint32_t len;
		struct vg_chain *c;
	} e[TOY_MAX_SIZE];
};

static struct rig rig;
static struct toy toy;
static uint64_t record[1024];
static struct list popped, pushed, published;
static uint64_t visible; /* chains with a smaller seq are published by the driver */
static uint64_t next;	 /* seq that comes next out of the available ring */
static uint64_t used_at; /* where the used side stands: chains (split), descriptors (packed) */
static uint64_t want_at; /* where the driver wants to be notified */
static bool want_none;	 /* the driver wants no notification */
static bool want_desc;	 /* packed: the driver named a place */
static bool first_flush; /* since the start */
static uint64_t step, chains, notified;

/** list_add - append */
static void list_add(struct list *l, uint64_t seq, uint32_t len, struct vg_chain *c)
{
	assert_true(l->n < TOY_MAX_SIZE);
	l->e[l->n].seq = seq;
	l->e[l->n].len = len;
	l->e[l->n++].c = c;
}

/** list_del - take out the @i-th */
static void list_del(struct list *l, unsigned i)
{
	memmove(&l->e[i], &l->e[i + 1], (--l->n - i) * sizeof(l->e[0]));
}

/* Guest memory that is never direct, as grants are; below it the rig's. */
static int copy_only(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	(void)mem;
	return rig.rs.mem.ops->copy(&rig.rs.mem, ops, n);
}

static int map_through(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	(void)mem;
	return rig.rs.mem.ops->map(&rig.rs.mem, addr, len, out);
}

static void unmap_through(struct vg_mem *mem, struct vg_map *map)
{
	(void)mem;
	(void)map;
}

static const struct vg_mem_ops copied_ops = { .copy = copy_only,
					      .map = map_through,
					      .unmap = unmap_through };

static struct vg_mem copied = { .ops = &copied_ops };
static bool direct;

/** start - (re)start the queue from rig.cfg */
static void start(void)
{
	if (vg_vq_new(direct ? &rig.rs.mem : &copied, &rig.cfg, &rig.vq, &rig.err))
		fail_msg("%s", rig.err.text);
	first_flush = true;
}

/** do_wish - the driver says when it wants to be notified */
static void do_wish(void)
{
	unsigned how = toy_rand(&toy, 3);

	want_none = how == 0;
	want_desc = how == 1 && (rig.cfg.features & RIG_EVENT);
	want_at = used_at + toy_rand(&toy, rig.cfg.size);
	if (toy.packed) {
		unsigned size = rig.cfg.size;

		rig.driver_ev->off_wrap =
			(uint16_t)(want_at % size | (want_at / size % 2 == 0) << 15);
		rig.driver_ev->flags = want_none   ? VRING_PACKED_EVENT_FLAG_DISABLE
				       : want_desc ? VRING_PACKED_EVENT_FLAG_DESC
						   : VRING_PACKED_EVENT_FLAG_ENABLE;
	} else {
		rig.avail->flags = want_none ? VRING_AVAIL_F_NO_INTERRUPT : 0;
		rig.avail->ring[rig.cfg.size] = (uint16_t)want_at;
		want_none &= !(rig.cfg.features & RIG_EVENT);
		want_desc = rig.cfg.features & RIG_EVENT;
	}
}

/** new_ring - a ring of random shape, starting anywhere */
static void new_ring(uint64_t seed)
{
	uint64_t features = 0;
	uint32_t size;
	bool packed;

	toy.seed = seed;
	packed = toy_rand(&toy, 2);
	direct = toy_rand(&toy, 2);
	size = packed ? 1 + toy_rand(&toy, TOY_MAX_SIZE) : 1u << toy_rand(&toy, 7);
	features |= packed ? RIG_PACKED : 0;
	features |= toy_rand(&toy, 2) ? RIG_EVENT : 0;
	features |= toy_rand(&toy, 2) ? RIG_INDIRECT : 0;
	features |= toy_rand(&toy, 4) ? 0 : RIG_IN_ORDER;
	rig_again(&rig, size, features);
	if (packed) {
		rig.cfg.state.used_idx = (uint16_t)toy_rand(&toy, size);
		rig.cfg.state.used_wrap = toy_rand(&toy, 2);
	} else {
		rig.cfg.state.used_idx = (uint16_t)(65536 - toy_rand(&toy, 200));
	}
	rig.cfg.state.avail_idx = rig.cfg.state.used_idx;
	rig.cfg.state.avail_wrap = rig.cfg.state.used_wrap;
	memset(record, 0, sizeof(record));
	rig.cfg.inflight = toy_rand(&toy, 2) ? record : NULL;
	used_at = rig.cfg.state.used_idx + (packed && !rig.cfg.state.used_wrap ? size : 0);
	popped.n = pushed.n = published.n = 0;
	visible = next = 0;
	toy_init(&toy, &rig, seed * 2654435761u + 1);
	do_wish();
	start();
}

/** do_add - the driver adds chains, and perhaps publishes them */
static void do_add(void)
{
	for (unsigned n = toy_rand(&toy, 5); n > 0; n--)
		toy_add(&toy);
	if (toy_rand(&toy, 3)) {
		toy_publish(&toy);
		visible = toy.seq;
	}
}

/** do_get - the driver takes back all that was published, in that order */
static void do_get(void)
{
	struct toy_used u;
	int rc;

	while ((rc = toy_get(&toy, &u)) > 0) {
		assert_true(published.n > 0);
		assert_int_equal(u.seq, published.e[0].seq);
		assert_int_equal(u.len, published.e[0].len);
		list_del(&published, 0);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(published.n, 0);
}

/** do_pop - the next chains, neither more nor fewer, as the driver made them */
static void do_pop(void)
{
	struct vg_chain *c[TOY_MAX_SIZE];
	unsigned max = 1 + toy_rand(&toy, TOY_MAX_SIZE);
	uint64_t want = visible - next < max ? visible - next : max;
	int n = vg_vq_pop(rig.vq, c, max);

	if (n < 0)
		fail_msg("%s", vg_vq_fault(rig.vq));
	/* After a resumption there are holes: chains that are done. */
	for (int i = 0; i < n; i++) {
		struct toy_chain *t = toy_eldest(&toy, next);

		assert_non_null(t);
		assert_true(t->seq < visible);
		assert_true(toy_matches(t, c[i]));
		next = t->seq + 1;
		list_add(&popped, t->seq, 0, c[i]);
	}
	if ((uint64_t)n < want && (unsigned)n < max) {
		struct toy_chain *t = toy_eldest(&toy, next);

		assert_true(!t || t->seq >= visible);
		next = visible;
	}
	chains += (uint64_t)n;
	/* Sometimes the newest are put back. */
	for (; n > 0 && toy_rand(&toy, 6) == 0; n--) {
		next = popped.e[popped.n - 1].seq;
		vg_vq_unpop(rig.vq, c[n - 1]);
		popped.n--;
	}
}

/** do_push - some chain is done; in order it must wait for its elders */
static void do_push(void)
{
	unsigned i;

	if (!popped.n)
		return;
	i = toy_rand(&toy, popped.n);
	/* In order, a chain that was pushed stays in the list, marked by c == NULL, till its turn. */
	if (!popped.e[i].c)
		return;
	popped.e[i].len = toy_rand(&toy, 2) ? popped.e[i].c->in_len : 0;
	vg_vq_push(rig.vq, popped.e[i].c, popped.e[i].len);
	popped.e[i].c = NULL;
	if (!(rig.cfg.features & RIG_IN_ORDER)) {
		list_add(&pushed, popped.e[i].seq, popped.e[i].len, NULL);
		list_del(&popped, i);
		return;
	}
	while (popped.n && !popped.e[0].c) {
		list_add(&pushed, popped.e[0].seq, popped.e[0].len, NULL);
		list_del(&popped, 0);
	}
}

/**
 * in_turn - whether a place that the driver named comes up between @from and @to
 *
 * A name that is old enough means a later place, too: it has a lap's parity (packed) or 16 bits.
 */
static bool in_turn(uint64_t at, uint64_t from, uint64_t to)
{
	uint64_t again = toy.packed ? 2 * rig.cfg.size : 65536;

	while (at < from)
		at += again;
	return at < to;
}

/** do_flush - what was pushed is published; is the notification what the driver asked for? */
static void do_flush(void)
{
	uint64_t before = used_at;
	bool yes, expect;

	for (unsigned i = 0; i < pushed.n; i++) {
		struct toy_chain *t = toy_by_seq(&toy, pushed.e[i].seq);

		assert_non_null(t);
		used_at += toy.packed ? t->ndesc : 1;
		list_add(&published, pushed.e[i].seq, pushed.e[i].len, NULL);
	}
	yes = vg_vq_flush(rig.vq);
	if (want_none)
		expect = false;
	else if (want_desc && !first_flush)
		expect = in_turn(want_at, before, used_at);
	else
		expect = true;
	assert_int_equal(yes, expect && pushed.n);
	if (pushed.n)
		first_flush = false;
	notified += yes;
	pushed.n = 0;
}

/** do_rearm - is there more? and what the driver is told */
static void do_rearm(void)
{
	struct toy_chain *t = toy_eldest(&toy, next);
	bool more = t && t->seq < visible;

	assert_int_equal(vg_vq_rearm(rig.vq), more);
	if (rig.cfg.features & RIG_EVENT) {
		struct vg_vq_state s = vg_vq_stop(rig.vq);

		uint16_t event;

		memcpy(&event, &rig.used->ring[rig.cfg.size], sizeof(event));
		if (!toy.packed)
			assert_int_equal(event, s.avail_idx);
		else
			assert_int_equal(rig.device_ev->off_wrap, s.avail_idx | s.avail_wrap << 15);
	}
}

/** do_restart - stop and start; or, with a record, drop all and let a successor find it */
static void do_restart(void)
{
	if (rig.cfg.inflight) {
		popped.n = pushed.n = 0;
		next = 0; /* the eldest that the driver has not got, whatever has been popped */
		do_get();
	} else if (popped.n || pushed.n) {
		return;
	}
	rig.cfg.state = vg_vq_stop(rig.vq);
	rig.cfg.used_from_ring = !toy.packed;
	if (rig.cfg.used_from_ring)
		rig.cfg.state.used_idx = 0x4444;
	vg_vq_free(rig.vq);
	start();
}

static void lockstep(void **state)
{
	const char *env = getenv("VG_MODEL_STEPS"), *env_seed = getenv("VG_MODEL_SEED");
	uint64_t steps = env ? strtoull(env, NULL, 0) : 300000;
	uint64_t seed = env_seed ? strtoull(env_seed, NULL, 0) : (uint64_t)time(NULL) / 86400;

	(void)state;
	print_message("VG_MODEL_SEED=%llu\n", (unsigned long long)seed);
	for (step = 0; step < steps; step++) {
		if (step % LIFE == 0) {
			vg_vq_free(rig.vq);
			new_ring(seed * 1000003 + step / LIFE);
		}
		switch (toy_rand(&toy, 16)) {
		case 0:
		case 1:
		case 2:
			do_add();
			break;
		case 3:
		case 4:
			do_pop();
			break;
		case 5:
		case 6:
		case 7:
		case 8:
		case 9:
			do_push();
			break;
		case 10:
			do_flush();
			break;
		case 11:
			do_get();
			break;
		case 12:
			do_wish();
			break;
		case 13:
			do_rearm();
			break;
		case 14:
			vg_vq_quiet(rig.vq);
			break;
		default:
			if (toy_rand(&toy, 8) == 0)
				do_restart();
		}
		/* Pushed out of turn counts as pushed. */
		unsigned out = 0;

		for (unsigned i = 0; i < popped.n; i++)
			out += popped.e[i].c != NULL;
		assert_int_equal(vg_vq_inflight(rig.vq), out);
		assert_null(vg_vq_fault(rig.vq));
	}
	vg_vq_free(rig.vq);
	free(rig.host);
	print_message("%llu steps, %llu chains, %llu notifications\n", (unsigned long long)steps,
		      (unsigned long long)chains, (unsigned long long)notified);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lockstep),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	if (rc)
		fprintf(stderr, "failed at step %llu: size %u features 0x%llx\n",
			(unsigned long long)step, rig.cfg.size,
			(unsigned long long)rig.cfg.features);
	return rc;
}
