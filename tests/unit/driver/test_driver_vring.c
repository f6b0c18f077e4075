/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_driver_vring.c - the driver side of a ring against a naive device
 *
 * Every combination of format, EVENT_IDX, INDIRECT and IN_ORDER runs a random
 * walk, one driver, one device, in one thread: each step one of them does
 * something. A side that has asked to be told sleeps until it is told, so a
 * wrong decision to notify shows as both asleep.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/driver/vring.h"
#include "tests/rigs/naive_device.h"

#define BASE   0x123456000ull
#define REGION (2u << 20)
#define STEPS  30000u

static uint64_t rnd_state;

static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(rnd_state >> 33) % n;
}

/* One request: what the driver sent, and what it expects back. */
struct req {
	struct drv_buf out, in;
	unsigned int n_out, n_in;
	uint32_t seed;
	bool done;
};

struct walk {
	uint8_t *region;
	struct drv_mem_flat mem;
	struct drv_vring vr;
	struct nv nv;
	struct nv_chain held[64]; /* popped, not pushed */
	unsigned int n_held;
	bool driver_asleep, device_asleep, told;
	unsigned int done, skipped, kicks, interrupts;
};

static void *at(void *ctx, uint64_t addr, uint32_t len)
{
	assert_true(addr >= BASE && addr + len <= BASE + REGION);
	return (uint8_t *)ctx + (addr - BASE);
}

static void walk_init(struct walk *w, const struct drv_vring_config *cfg)
{
	memset(w, 0, sizeof(*w));
	w->region = aligned_alloc(4096, REGION);
	memset(w->region, 0, REGION);
	assert_int_equal(drv_mem_flat_init(&w->mem, w->region, BASE, REGION), 0);
	assert_int_equal(drv_vring_init(&w->vr, cfg, &w->mem.mem), 0);
	w->nv = (struct nv){ .packed = cfg->packed,
			     .event_idx = cfg->event_idx,
			     .in_order = cfg->in_order,
			     .at = at,
			     .ctx = w->region };
	nv_init(&w->nv, (uint16_t)cfg->size, w->vr.desc_mem.virt, w->vr.driver_mem.virt,
		w->vr.device_mem.virt);
}

static void walk_fini(struct walk *w)
{
	struct drv_buf all;

	assert_int_equal(drv_vring_fini(&w->vr), 0);
	/* Nothing leaked: the whole region can be had at once. */
	assert_int_equal(drv_alloc(&w->mem.mem, REGION, 4096, true, &all), 0);
	drv_free(&w->mem.mem, &all);
	drv_mem_flat_fini(&w->mem);
	free(w->region);
}

/* segments() - cut a buffer into @n pieces */
static unsigned int segments(const struct drv_buf *b, unsigned int n, struct drv_seg *seg)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		seg[i] = (struct drv_seg){ b->addr + i * (b->len / n), (uint32_t)(b->len / n) };
	return n;
}

static void driver_add(struct walk *w)
{
	struct req *r = calloc(1, sizeof(*r));
	struct drv_seg out[4], in[4];
	unsigned int flags = w->vr.cfg.indirect && rnd(2) ? DRV_ADD_INDIRECT : 0, i;
	int rc;

	r->n_out = 1 + rnd(3);
	r->n_in = rnd(4);
	r->seed = rnd(1u << 30);
	drv_alloc(&w->mem.mem, r->n_out * 8, 8, false, &r->out);
	for (i = 0; i < r->n_out * 8; i++)
		((uint8_t *)r->out.virt)[i] = (uint8_t)(r->seed + i);
	segments(&r->out, r->n_out, out);
	if (r->n_in) {
		drv_alloc(&w->mem.mem, r->n_in * 16, 8, true, &r->in);
		segments(&r->in, r->n_in, in);
	}
	rc = drv_vring_add(&w->vr, out, r->n_out, in, r->n_in, r, flags);
	if (rc < 0) {
		assert_int_equal(rc, -ENOSPC);
		assert_true(w->vr.num_free < (flags ? 1 : r->n_out + r->n_in));
		drv_free(&w->mem.mem, &r->out);
		drv_free(&w->mem.mem, &r->in);
		free(r);
	}
}

static void driver_publish(struct walk *w)
{
	if (drv_vring_publish(&w->vr)) {
		w->kicks++;
		w->device_asleep = false;
	}
}

static void driver_reap(struct walk *w)
{
	struct drv_used u;
	struct req *r;
	unsigned int i;
	int rc;

	for (;;) {
		rc = drv_vring_get(&w->vr, &u);
		assert_true(rc >= 0);
		if (!rc)
			break;
		r = u.cookie;
		assert_false(r->done);
		r->done = true;
		if (!u.skipped)
			assert_int_equal(u.len, r->n_in * 16);
		w->skipped += u.skipped;
		for (i = 0; i < r->n_in * 16; i++)
			assert_int_equal(((uint8_t *)r->in.virt)[i], (uint8_t)(r->seed ^ 0x5a));
		drv_free(&w->mem.mem, &r->out);
		drv_free(&w->mem.mem, &r->in);
		free(r);
		w->done++;
	}
}

/* execute() - the device's work: every byte it may write becomes the first it read, xored */
static uint32_t execute(const struct nv_chain *c)
{
	uint8_t seed = *(uint8_t *)c->seg[0].p;
	uint32_t i, k, len = 0, pos = 0;

	for (i = 0; i < c->segs; i++) {
		uint8_t *p = c->seg[i].p;

		for (k = 0; k < c->seg[i].len; k++) {
			if (c->seg[i].write)
				p[k] = seed ^ 0x5a;
			else
				assert_int_equal(p[k], (uint8_t)(seed + pos++));
		}
		if (c->seg[i].write)
			len += c->seg[i].len;
	}
	return len;
}

static void device_push(struct walk *w)
{
	unsigned int i, n = 1, which = 0;
	uint32_t len = 0;

	if (!w->n_held)
		return;
	if (w->nv.in_order)
		n = 1 + rnd(w->n_held);
	else
		which = rnd(w->n_held);
	for (i = 0; i < n; i++)
		len = execute(&w->held[which + i]);
	nv_push(&w->nv, &w->held[which], n, len);
	w->n_held -= n;
	memmove(&w->held[which], &w->held[which + n], (w->n_held - which) * sizeof(w->held[0]));
	if (nv_should_notify(&w->nv)) {
		w->interrupts++;
		w->driver_asleep = false;
	}
}

static void device_pop(struct walk *w)
{
	while (w->n_held < 64 && nv_pop(&w->nv, &w->held[w->n_held]))
		w->n_held++;
}

static void device_step(struct walk *w)
{
	switch (rnd(4)) {
	case 0:
		device_push(w);
		break;
	case 1: /* all done: ask to be told, look once more, sleep */
		device_pop(w);
		while (w->n_held)
			device_push(w);
		nv_listen(&w->nv, true);
		device_pop(w);
		w->device_asleep = !w->n_held;
		break;
	case 2:
		nv_listen(&w->nv, false);
		break;
	default:
		device_pop(w);
	}
}

static void driver_step(struct walk *w)
{
	switch (rnd(6)) {
	case 0:
		driver_publish(w);
		break;
	case 1:
		driver_reap(w);
		break;
	case 2: /* nothing to do but wait for what is out */
		driver_publish(w);
		driver_reap(w);
		w->driver_asleep = drv_vring_enable_cb(&w->vr) && w->vr.in_flight;
		break;
	case 3:
		drv_vring_disable_cb(&w->vr);
		break;
	default:
		driver_add(w);
	}
}

static void drain(struct walk *w)
{
	driver_publish(w);
	do {
		device_pop(w);
		while (w->n_held)
			device_push(w);
		driver_reap(w);
	} while (w->vr.in_flight);
	assert_int_equal(w->vr.num_free, w->vr.cfg.size);
}

static void random_walk(const struct drv_vring_config *cfg)
{
	struct walk w;
	unsigned int i;

	walk_init(&w, cfg);
	for (i = 0; i < STEPS; i++) {
		if (w.driver_asleep && w.device_asleep)
			fail_msg("both asleep: step %u, size %u packed %d event_idx %d", i,
				 cfg->size, cfg->packed, cfg->event_idx);
		if (w.driver_asleep || (!w.device_asleep && rnd(2)))
			device_step(&w);
		else
			driver_step(&w);
	}
	drain(&w);
	assert_true(w.done > STEPS / 100);
	assert_true(w.kicks > 10 && w.interrupts > 10);
	assert_true(!cfg->in_order || cfg->size == 1 || w.skipped > 10);
	walk_fini(&w);
}

static void walks(bool packed)
{
	static const unsigned int sizes[] = { 4, 8, 64, 256 };
	static const unsigned int packed_sizes[] = { 7, 5, 63, 100 };
	unsigned int i, f;

	for (i = 0; i < 4; i++) {
		for (f = 0; f < 8; f++) {
			struct drv_vring_config cfg = { .size = packed ? packed_sizes[i] : sizes[i],
							.packed = packed,
							.event_idx = f & 1,
							.indirect = f & 2,
							.in_order = f & 4 };

			rnd_state = i * 8 + f + 1;
			random_walk(&cfg);
		}
	}
}

static void split_walks(void **state)
{
	(void)state;
	walks(false);
}

static void packed_walks(void **state)
{
	(void)state;
	walks(true);
}

static void sizes(void **state)
{
	struct drv_vring_config cfg = { .size = 3 };
	struct walk w;
	struct drv_vring vr;

	(void)state;
	walk_init(&w, &(struct drv_vring_config){ .size = 32768 });
	walk_fini(&w);
	walk_init(&w, &(struct drv_vring_config){ .size = 1, .packed = true });
	assert_int_equal(drv_vring_init(&vr, &cfg, &w.mem.mem), -EINVAL);
	cfg.size = 0;
	assert_int_equal(drv_vring_init(&vr, &cfg, &w.mem.mem), -EINVAL);
	cfg = (struct drv_vring_config){ .size = 32769, .packed = true };
	assert_int_equal(drv_vring_init(&vr, &cfg, &w.mem.mem), -EINVAL);
	walk_fini(&w);
}

/* A device that lies is found out, and nothing is returned for it. */
static void lying_device(void **state)
{
	struct drv_seg s = { BASE, 8 };
	struct drv_used u;
	struct walk w;
	int x;

	(void)state;
	walk_init(&w, &(struct drv_vring_config){ .size = 8 });
	assert_int_equal(drv_vring_add(&w.vr, &s, 1, NULL, 0, &x, 0), 0);
	drv_vring_publish(&w.vr);
	w.vr.used->idx = 2; /* more than there are */
	assert_int_equal(drv_vring_get(&w.vr, &u), -EPROTO);
	w.vr.used->idx = 1;
	w.vr.used->ring[0].id = 8; /* out of range */
	assert_int_equal(drv_vring_get(&w.vr, &u), -EPROTO);
	w.vr.used->ring[0].id = 3; /* not in flight */
	assert_int_equal(drv_vring_get(&w.vr, &u), -EPROTO);
	w.vr.used->ring[0].id = 0;
	assert_int_equal(drv_vring_get(&w.vr, &u), 1);
	assert_int_equal(drv_vring_get(&w.vr, &u), 0);
	walk_fini(&w);

	walk_init(&w, &(struct drv_vring_config){ .size = 8, .packed = true });
	assert_int_equal(drv_vring_add(&w.vr, &s, 1, NULL, 0, &x, 0), 0);
	drv_vring_publish(&w.vr);
	w.vr.pdesc[0].id = 5;
	w.vr.pdesc[0].flags =
		htole16(1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED);
	assert_int_equal(drv_vring_get(&w.vr, &u), -EPROTO);
	walk_fini(&w);
}

/* What is added is invisible until it is published. */
static void publish_is_atomic(void **state)
{
	struct drv_seg s[3] = { { BASE, 8 }, { BASE, 8 }, { BASE, 8 } };
	struct nv_chain c;
	struct walk w;
	int packed, x;

	(void)state;
	for (packed = 0; packed < 2; packed++) {
		walk_init(&w, &(struct drv_vring_config){ .size = 8, .packed = packed });
		assert_true(drv_vring_add(&w.vr, s, 3, NULL, 0, &x, 0) >= 0);
		assert_true(drv_vring_add(&w.vr, s, 1, s, 1, &x, 0) >= 0);
		assert_false(nv_pop(&w.nv, &c));
		assert_true(drv_vring_publish(&w.vr));
		assert_true(nv_pop(&w.nv, &c));
		assert_int_equal(c.segs, 3);
		assert_true(nv_pop(&w.nv, &c));
		assert_int_equal(c.segs, 2);
		assert_false(c.seg[0].write);
		assert_true(c.seg[1].write);
		assert_false(nv_pop(&w.nv, &c));
		assert_false(drv_vring_publish(&w.vr)); /* nothing new */
		walk_fini(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),	cmocka_unit_test(publish_is_atomic),
		cmocka_unit_test(lying_device), cmocka_unit_test(split_walks),
		cmocka_unit_test(packed_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
