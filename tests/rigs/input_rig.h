/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * input_rig.h - the driver's side of an input device, for tests of whatever moves it
 */
#ifndef VG_INPUT_RIG_H
#define VG_INPUT_RIG_H

#include <endian.h>
#include <linux/virtio_input.h>
#include <string.h>

#include "tests/driver/testport.h"

enum { BUFS = 64 }; /* as Linux' driver has them */

static struct {
	struct tp tp;
	struct drv_buf bufs; /* of the event queue */
	struct drv_buf status;
} in;

/* The @i-th buffer is the device's. */
static void post(unsigned i)
{
	const struct drv_seg seg = { in.bufs.addr + i * 8, 8 };

	assert_true(drv_vring_add(&in.tp.vr[0], NULL, 0, &seg, 1, (uint8_t *)in.bufs.virt + i * 8,
				  0) >= 0);
}

static inline void post_all(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		post(i);
	tp_kick(&in.tp, 0);
}

/* A device of @spec, whose driver has given it @bufs buffers. */
static void in_open(const char *spec, enum tp_manner manner, unsigned bufs)
{
	memset(&in, 0, sizeof(in));
	tp_open(&in.tp, manner, spec);
	tp_start(&in.tp, TP_ALL, 64);
	assert_int_equal(drv_alloc(&in.tp.flat.mem, BUFS * 8, 4096, true, &in.bufs), 0);
	assert_int_equal(drv_alloc(&in.tp.flat.mem, 64, 16, false, &in.status), 0);
	post_all(bufs);
}

static void in_close(void)
{
	tp_reset(&in.tp);
	drv_free(&in.tp.flat.mem, &in.bufs);
	drv_free(&in.tp.flat.mem, &in.status);
	tp_close(&in.tp);
}

/* The next event; its buffer is given back. Return: false: there is none. */
static bool next(struct virtio_input_event *e)
{
	struct drv_used used;

	tp_settle(&in.tp);
	if (drv_vring_get(&in.tp.vr[0], &used) <= 0)
		return false;
	assert_true(used.skipped || used.len == 8);
	memcpy(e, used.cookie, sizeof(*e));
	post((unsigned)((uint8_t *)used.cookie - (uint8_t *)in.bufs.virt) / 8);
	tp_kick(&in.tp, 0);
	return true;
}

static void expect(uint16_t type, uint16_t code, int32_t value)
{
	struct virtio_input_event e;

	assert_true(next(&e));
	assert_int_equal(le16toh(e.type), type);
	assert_int_equal(le16toh(e.code), code);
	assert_int_equal((int32_t)le32toh(e.value), value);
}

static void expect_nothing(void)
{
	struct virtio_input_event e;

	assert_false(next(&e));
}

#endif
