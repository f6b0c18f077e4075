// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_virtqueue_order.c - each barrier of the rings is needed, and all of them are enough
 *
 * The device's side (backend/virtio) and the driver's (tests/driver) are compiled into this file with
 * tests/rigs/order.h in place of the compiler's atomics. A driver sends a few requests through a
 * small ring and sleeps when it has nothing to do, and so does the device. Whatever they see of each
 * other's memory: no side finds what the other has not written yet, each request is answered once,
 * and not both sleep at the end.
 *
 * Then one place after the other that has an order is made weaker, step by step: each time one of
 * the runs must go wrong. The table that this prints says how. So a barrier that is taken out of the
 * code fails this test, and so does one that is put in without need (order_sites.h has the exceptions).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <endian.h>
#include <sys/mman.h>

#ifndef __SANITIZE_THREAD__ /* which follows no coroutines, and real threads it has in test_virtqueue_threads */

#include "backend/base/log.h"
#include "backend/memory/regions.h"
#include "tests/rigs/order.h"
#include "tests/rigs/order_sites.h"

/* NOLINTBEGIN(bugprone-suspicious-include): with the model in them */
#include "backend/virtio/virtqueue.c"
#include "backend/virtio/chain.c"
#include "backend/virtio/resume.c"
#include "backend/virtio/packed.c"
#include "backend/virtio/split.c"
#include "tests/driver/vring_int.h"
#define release	 release_of_the_split_ring
#define hand_out hand_out_of_the_split_ring
#include "tests/driver/vring_split.c"
#undef release
#undef hand_out
#include "tests/driver/vring_packed.c"
#include "tests/driver/vring.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <cmocka.h>

enum {
	SHARED = 512,
	BASE = 0x10000,
	REQUESTS_MAX = 3,
};

/* What is leaked by a run that ends in the middle. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0:detect_stack_use_after_return=0";
}

/* ---- a driver and a device ---------------------------------------------------- */

struct shape {
	const char *name;
	bool packed, event_idx;
	unsigned depth;	   /* requests that are out at once */
	unsigned requests; /* in all */
	unsigned size;	   /* of the ring */
};

struct slot {
	uint16_t question, answer;
};

static uint8_t memory[SHARED] __attribute__((aligned(4096)));
static const struct shape *shape;
static struct drv_mem_flat flat;
static struct drv_vring vring;
static struct drv_buf data;
static struct vg_regions regions;
static struct vg_vq *vq;
static struct om_event kick, interrupt;

static void prepare(void)
{
	struct drv_vring_config c = { .size = shape->size,
				      .packed = shape->packed,
				      .event_idx = shape->event_idx };
	struct vg_vq_config v = { .size = shape->size, .state = VG_VQ_STATE_START };
	struct vg_err err = { "" };

	memset(memory, 0, sizeof(memory));
	memset(&kick, 0, sizeof(kick));
	memset(&interrupt, 0, sizeof(interrupt));
	if (drv_mem_flat_init(&flat, memory, BASE, SHARED) ||
	    drv_vring_init(&vring, &c, &flat.mem) ||
	    drv_alloc(&flat.mem, shape->depth * sizeof(struct slot), 16, true, &data))
		abort();
	v.features = (shape->packed ? 1ull << VIRTIO_F_RING_PACKED : 0) |
		     (shape->event_idx ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0);
	v.desc = vring.desc_mem.addr;
	v.driver = vring.driver_mem.addr;
	v.device = vring.device_mem.addr;
	if (!shape->packed)
		v.state = (struct vg_vq_state){ 0 };
	if (vg_vq_new(&regions.mem, &v, &vq, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	om_begin(memory, SHARED);
}

static void tidy(void)
{
	vg_vq_free(vq);
	(void)drv_free(&flat.mem, &data);
	(void)drv_vring_fini(&vring);
	drv_mem_flat_fini(&flat);
}

static void ask(unsigned i)
{
	struct slot *slots = data.virt, *s = &slots[i % shape->depth];
	uint64_t at = data.addr + (i % shape->depth) * sizeof(*s);
	struct drv_seg out = { at, 2 }, in = { at + 2, 2 };

	__atomic_store_n(&s->question, (uint16_t)(100 + i), __ATOMIC_RELAXED);
	if (drv_vring_add(&vring, &out, 1, &in, 1, s, 0) < 0)
		om_fail("the driver has no room for a request");
}

/* Take what is there, at least one. Return: how many. */
static unsigned take(unsigned got)
{
	struct drv_used used;
	unsigned n = 0;
	int rc;

	for (;;) {
		while ((rc = drv_vring_get(&vring, &used)) > 0) {
			const struct slot *slots = data.virt, *s = &slots[(got + n) % shape->depth];

			if (used.cookie != s || used.len != 2)
				om_fail("the driver finds another used element than was written");
			if (__atomic_load_n(&s->answer, __ATOMIC_RELAXED) != 200 + got + n)
				om_fail("the driver finds an answer that was not written yet");
			n++;
		}
		if (rc < 0)
			om_fail("the driver finds a used ring that was not written yet");
		if (n)
			return n;
		if (!drv_vring_enable_cb(&vring))
			continue;
		om_wait(&interrupt);
		drv_vring_disable_cb(&vring);
	}
}

static void driver(void)
{
	unsigned asked = 0, got = 0;

	drv_vring_disable_cb(&vring);
	while (got < shape->requests) {
		while (asked < shape->requests && asked - got < shape->depth)
			ask(asked++);
		if (drv_vring_publish(&vring))
			om_signal(&kick);
		got += take(got);
	}
}

static void answer(struct vg_chain *c, unsigned i)
{
	struct slot *slots = data.virt, *s = &slots[i % shape->depth];
	uint64_t at = data.addr + (i % shape->depth) * sizeof(*s);

	if (c->n_out != 1 || c->n_in != 1 || c->segs[0].addr != at || c->segs[0].len != 2 ||
	    c->segs[1].addr != at + 2 || c->segs[1].len != 2)
		om_fail("the device finds descriptors that were not written yet");
	if (__atomic_load_n(&s->question, __ATOMIC_RELAXED) != 100 + i)
		om_fail("the device finds a request that was not written yet");
	__atomic_store_n(&s->answer, (uint16_t)(200 + i), __ATOMIC_RELAXED);
	vg_vq_push(vq, c, 2);
}

/* As device.c turns: quiet while there is work, then asking again. */
static void device(void)
{
	struct vg_chain *out[REQUESTS_MAX];
	unsigned done = 0;

	while (done < shape->requests) {
		int n = vg_vq_pop(vq, out, REQUESTS_MAX);

		if (n < 0)
			om_fail("the device finds a ring that was not written yet: %s",
				vg_vq_fault(vq));
		for (int i = 0; i < n; i++)
			answer(out[i], done++);
		if (n && vg_vq_flush(vq))
			om_signal(&interrupt);
		if (n || vg_vq_rearm(vq))
			continue;
		om_wait(&kick);
		vg_vq_quiet(vq);
	}
}

static void (*const threads[OM_THREADS])(void) = { driver, device };

/* ---- the tests ------------------------------------------------------------------- */

static const struct shape shapes[] = {
	{ "split, flags, one at a time", false, false, 1, 2, 2 },
	{ "split, event index, one at a time", false, true, 1, 2, 2 },
	{ "split, event index, two at once", false, true, 2, 3, 4 },
	{ "packed, flags, one at a time", true, false, 1, 2, 2 },
	{ "packed, event index, one at a time", true, true, 1, 2, 2 },
	{ "packed, event index, two at once", true, true, 2, 3, 4 },
};

/* What goes wrong in the shapes of one format; NULL: nothing. */
static const char *explore(bool packed, int budget, const char **where)
{
	for (size_t i = 0; i < COUNT(shapes); i++) {
		const char *wrong;

		shape = &shapes[i];
		if (shape->packed != packed)
			continue;
		*where = shape->name;
		wrong = om_explore(prepare, tidy, threads, budget);
		if (wrong)
			return wrong;
	}
	return NULL;
}

static const char *explore_split(int budget, const char **where)
{
	return explore(false, budget, where);
}

static const char *explore_packed(int budget, const char **where)
{
	return explore(true, budget, where);
}

static void each_barrier_of_the_split_ring(void **state)
{
	(void)state;
	om_each_is_needed("split", explore_split, 8);
}

static void each_barrier_of_the_packed_ring(void **state)
{
	(void)state;
	om_each_is_needed("packed", explore_packed, 8);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_barrier_of_the_split_ring),
		cmocka_unit_test(each_barrier_of_the_packed_ring),
	};

	vg_regions_init(&regions);
	if (vg_regions_add(&regions, &(struct vg_region){
					     .guest_addr = BASE, .size = SHARED, .host = memory }))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

#include <cmocka.h>

static void no_coroutines_here(void **state)
{
	(void)state;
	skip();
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(no_coroutines_here) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
