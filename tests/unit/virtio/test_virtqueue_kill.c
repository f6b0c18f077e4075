/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_virtqueue_kill.c - SIGKILL at every store, and a successor that carries on
 *
 * The engine is compiled into this file with VG_KILL_POINT() as a counter that
 * jumps out at the k-th store to ring or record: what is in shared memory then
 * is what a kill there leaves (a kill between two stores leaves the same as one
 * right after the first). A successor starts on that memory. For every k of a
 * script of driver and device doings, and for every j of the successor's own
 * resumption, this must hold:
 *
 *   - the successor pops exactly the chains that the driver has not got back, in
 *     the order in which they were made available, and as they were;
 *   - the driver gets each chain back exactly once.
 *
 * The script is random but from a seed, and runs with a small ring, so that it
 * wraps many times.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

static void kill_point(void);
#define VG_KILL_POINT() kill_point()

/* NOLINTBEGIN(bugprone-suspicious-include): with the hook in them */
#include "backend/virtio/virtqueue.c"
#include "backend/virtio/chain.c"
#include "backend/virtio/resume.c"
#include "backend/virtio/packed.c"
#include "backend/virtio/split.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <cmocka.h>

#include "tests/rigs/toy_driver.h"

/* What a killed process had allocated is lost, here as well. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static jmp_buf killed;
static long stores_left; /* until the kill; negative: never */
static unsigned long kills;

static void kill_point(void)
{
	if (stores_left < 0)
		return;
	if (stores_left-- == 0) {
		stores_left = -1;
		kills++;
		longjmp(killed, 1);
	}
}

static struct rig rig;
static struct toy toy;
static uint64_t record[1024];
static struct vg_chain *held[TOY_MAX_SIZE];
static unsigned n_held;

/** got - take back what was published; the driver checks ids itself */
static void got(void)
{
	struct toy_used u;
	int rc;

	while ((rc = toy_get(&toy, &u)) > 0)
		assert_true(u.len <= u.in_len);
	assert_int_equal(rc, 0);
}

/** device_step - one random thing that a device does */
static void device_step(void)
{
	struct vg_chain *c[TOY_MAX_SIZE];
	unsigned i;
	int n;

	switch (toy_rand(&toy, 6)) {
	case 0:
	case 1:
		n = vg_vq_pop(rig.vq, c, 1 + toy_rand(&toy, 5));
		if (n < 0)
			fail_msg("%s", vg_vq_fault(rig.vq));
		for (int k = 0; k < n; k++)
			held[n_held++] = c[k];
		/* Sometimes the newest ones are put back. */
		for (; n > 0 && toy_rand(&toy, 5) == 0; n--)
			vg_vq_unpop(rig.vq, held[--n_held]);
		break;
	case 2:
	case 3:
	case 4:
		if (!n_held)
			break;
		i = toy_rand(&toy, n_held);
		vg_vq_push(rig.vq, held[i], held[i]->in_len);
		memmove(&held[i], &held[i + 1], (--n_held - i) * sizeof(held[0]));
		break;
	default:
		vg_vq_flush(rig.vq);
	}
}

/** script - some rounds of driver and device; may be killed */
static void script(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		for (unsigned n = toy_rand(&toy, 4); n > 0; n--)
			toy_add(&toy);
		if (toy_rand(&toy, 2))
			toy_publish(&toy);
		for (unsigned n = toy_rand(&toy, 6); n > 0; n--)
			device_step();
		got();
	}
}

/** succeed - start a successor and check that it finds exactly what the driver misses */
static void succeed(void)
{
	struct vg_chain *c[TOY_MAX_SIZE];
	uint64_t from = 0;
	bool fresh = false;
	int n;

	got();
	toy_publish(&toy);
	n = vg_vq_pop(rig.vq, c, TOY_MAX_SIZE);
	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		struct toy_chain *t = toy_eldest(&toy, from);

		assert_non_null(t);
		assert_true(toy_matches(t, c[i]));
		assert_false(fresh && c[i]->resubmitted);
		fresh = !c[i]->resubmitted;
		from = t->seq + 1;
	}
	assert_null(toy_eldest(&toy, from));
	/* All done, in any order, some at a time; the driver gets each once. */
	while (n > 0) {
		int i = (int)toy_rand(&toy, (unsigned)n);

		vg_vq_push(rig.vq, c[i], c[i]->in_len);
		c[i] = c[--n];
		if (toy_rand(&toy, 2))
			vg_vq_flush(rig.vq);
		got();
	}
	vg_vq_flush(rig.vq);
	got();
	assert_null(toy_eldest(&toy, 0));
	/* And the ring still goes round. */
	n_held = 0;
	script(20);
}

/** start - (re)start the queue on what is in memory; may be killed */
static void start(void)
{
	struct vg_vq_config cfg = rig.cfg;

	/* Once the record is begun, the state may say nonsense: the record knows better. */
	if (record[1] & 0xffff)
		cfg.state = (struct vg_vq_state){ 1, 0, true, true };
	if (vg_vq_new(&rig.rs.mem, &cfg, &rig.vq, &rig.err))
		fail_msg("%s", rig.err.text);
}

/**
 * life - one run: killed at store @k, its successor's start killed at store @j
 *
 * Return: bit 0: the first was killed, bit 1: the second was.
 */
static int life(uint32_t size, uint64_t features, uint64_t seed, long k, long j)
{
	volatile int was = 0;

	rig_again(&rig, size, features);
	rig.cfg.chain_max = TOY_MAX_SEGS;
	memset(record, 0, sizeof(record));
	rig.cfg.inflight = record;
	toy_init(&toy, &rig, seed);
	n_held = 0;
	stores_left = k;
	if (setjmp(killed) == 0) {
		start();
		script(30);
		stores_left = -1;
	} else {
		was |= 1;
	}
	vg_vq_free(rig.vq); /* private memory alone; what is shared stays as it is */
	rig.vq = NULL;
	stores_left = j;
	if (j >= 0) {
		if (setjmp(killed) == 0) {
			start();
			stores_left = -1;
		} else {
			was |= 2;
		}
		vg_vq_free(rig.vq);
		rig.vq = NULL;
	}
	start();
	succeed();
	vg_vq_free(rig.vq);
	return was;
}

/* One thread, so that ThreadSanitizer sees nothing new here, slowly. */
#ifdef __SANITIZE_THREAD__
enum { SEEDS = 2 };
#else
enum { SEEDS = 12 };
#endif

/** all_kills - every k, and for some of them every j */
static void all_kills(uint32_t size, uint64_t features)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		for (long k = 0; life(size, features, seed, k, -1); k++)
			if ((k + (long)seed) % 3 == 0)
				for (long j = 0; life(size, features, seed, k, j) & 2; j++)
					;
}

static void split(void **state)
{
	(void)state;
	all_kills(8, 0);
	all_kills(16, RIG_INDIRECT);
	all_kills(4, RIG_INDIRECT | RIG_EVENT);
}

static void split_in_order(void **state)
{
	(void)state;
	all_kills(8, RIG_IN_ORDER | RIG_INDIRECT);
}

static void packed(void **state)
{
	(void)state;
	all_kills(8, RIG_PACKED);
	all_kills(7, RIG_PACKED | RIG_INDIRECT);
	all_kills(3, RIG_PACKED | RIG_INDIRECT | RIG_EVENT);
}

static void packed_in_order(void **state)
{
	(void)state;
	all_kills(5, RIG_PACKED | RIG_IN_ORDER | RIG_INDIRECT);
}

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

int main(void)
{
#ifdef __SANITIZE_ADDRESS__
	__lsan_disable(); /* each killed queue's memory is lost, as with a killed process */
#endif
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split),
		cmocka_unit_test(split_in_order),
		cmocka_unit_test(packed),
		cmocka_unit_test(packed_in_order),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	printf("%lu kills survived\n", kills);
	return rc;
}
