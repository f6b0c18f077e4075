// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The rng device, driven as a guest would: copy this file beside a
 * new device, as its first test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tests/driver/devhelp.h"
#include "tests/driver/testport.h"

static const uint64_t split = TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED);

static struct drv_used ask(struct tp *tp, const struct drv_buf *b, uint32_t len)
{
	struct drv_seg seg = { .addr = b->addr, .len = len };
	struct drv_used used;
	int token;

	assert_true(drv_vring_add(&tp->vr[0], NULL, 0, &seg, 1, &token, 0) >= 0);
	tp_kick(tp, 0);
	tp_wait(tp, 0, &used);
	return used;
}

static void fills(enum tp_manner manner, uint64_t features)
{
	static const uint8_t zero[64];
	struct drv_buf b;
	struct tp tp;

	tp_open(&tp, manner, "rng");
	tp_start(&tp, features, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 8192, 4096, true, &b), 0);
	assert_int_equal(ask(&tp, &b, 64).len, 64);
	assert_memory_not_equal(b.virt, zero, 64);
	assert_memory_equal((uint8_t *)b.virt + 64, zero, 64); /* and not a byte more */
	/* A short answer to a large request. */
	assert_int_equal(ask(&tp, &b, 8192).len, 4096);
	for (int i = 0; i < 100; i++) /* around the ring */
		assert_int_equal(ask(&tp, &b, 32).len, 32);
	assert_int_equal(dh_stats(&tp.dev).requests, 102);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

static void test_fills_split(void **state)
{
	(void)state;
	fills(TP_DIRECT, split);
	fills(TP_COPY, split);
}

static void test_fills_packed(void **state)
{
	(void)state;
	fills(TP_DIRECT, TP_ALL);
	fills(TP_COPY, TP_ALL);
}

static void test_limit(void **state)
{
	struct drv_buf b;
	struct tp tp;
	struct vg_err err;

	(void)state;
	tp_open(&tp, TP_COPY, "rng,max-bytes=100");
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	assert_int_equal(ask(&tp, &b, 4096).len, 100);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
	assert_int_equal(tp_try_open(&tp, TP_COPY, "rng,max-bytes=100000", &err), -EINVAL);
	assert_non_null(strstr(err.text, "max-bytes"));
}

/* A buffer that is not there: the guest loses its device, and a reset brings it back. */
static void test_bad_buffer(void **state)
{
	struct drv_used used;
	struct drv_buf b;
	struct drv_seg seg;
	struct tp tp;
	int token;

	(void)state;
	tp_open(&tp, TP_COPY, "rng");
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	tp_revoke(&tp, b.addr, 4096, false);
	seg = (struct drv_seg){ .addr = b.addr, .len = 64 };
	assert_true(drv_vring_add(&tp.vr[0], NULL, 0, &seg, 1, &token, 0) >= 0);
	tp_kick(&tp, 0);
	tp_settle(&tp);
	assert_true(tp.dev.status & VG_STATUS_NEEDS_RESET);
	assert_int_equal(tp.config_changes, 1);
	while (drv_vring_get(&tp.vr[0], &used) > 0)
		assert_int_equal(used.len, 0);
	tp_reset(&tp);
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(ask(&tp, &b, 64).len, 64);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fills_split),
		cmocka_unit_test(test_fills_packed),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_bad_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
