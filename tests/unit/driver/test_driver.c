/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_driver.c - the virtio-grant frontend against a naive backend
 *
 * The frontend must get a good backend's disk, and notice a bad one's sins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/driver/vblk.h"
#include "tests/driver/vgrant_driver.h"
#include "tests/rigs/naive_backend.h"

#define ALL    (~0ull)
#define BIT(n) (1ull << (n))

struct rig {
	struct fx_world *w;
	struct fx_domain *g;
	unsigned int gid;
	struct drv_dev *dev;
	struct nb nb;
};

static int setup(void **state)
{
	struct fx_virtio_spec spec = { .id = 0, .grant_usage = true };
	struct rig *r = calloc(1, sizeof(*r));
	struct drv_dev_config cfg;

	assert_int_equal(fx_world_start(NULL, &r->w), 0);
	assert_int_equal(fx_domain_create(r->w, NULL, &r->gid), 0);
	assert_int_equal(fx_add_virtio(r->w, r->gid, &spec), 0);
	assert_int_equal(fx_domain_open(r->w, r->gid, &r->g), 0);
	cfg = (struct drv_dev_config){ .xen = drv_xen_of(r->g), .timeout_ms = 5000 };
	assert_int_equal(drv_dev_open(&cfg, &r->dev), 0);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	struct fx_stats st;

	nb_end(&r->nb);
	fx_stats(r->w, 0, &st);
	assert_int_equal(st.mapped + st.ports + st.handles, 0);
	drv_dev_free(r->dev);
	fx_stats(r->w, r->gid, &st);
	assert_int_equal(st.ports, 0);
	fx_domain_close(r->g);
	fx_world_stop(r->w);
	free(r);
	return 0;
}

/* The ten lines. */
static void reads_a_sector(void **state)
{
	struct rig *r = *state;
	struct drv_blk b;
	char sector[512];

	nb_start(&r->nb, r->w, r->gid, 0, NB_GOOD);
	memcpy(r->nb.disk, "boot", 5);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	assert_int_equal(drv_dev_start(r->dev, ALL & ~BIT(VIRTIO_F_RING_PACKED), 1, 0), 0);
	drv_blk_queue(&b, &r->dev->queues[0], &r->dev->gmem.mem);
	assert_int_equal(drv_blk_read(&b, 0, sector, sizeof(sector)), 0);
	assert_string_equal(sector, "boot");
	assert_int_equal(drv_dev_close(r->dev), 0);
	assert_int_equal(r->dev->gmem.mem.still_mapped, 0);
}

static void every_ring(void **state)
{
	struct rig *r = *state;
	uint8_t data[8192], back[8192];
	struct drv_mem *mem, *pool;
	struct drv_blk b;
	unsigned int f, i;
	char id[21];

	nb_start(&r->nb, r->w, r->gid, 0, NB_GOOD);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	for (f = 0; f < 16; f++) {
		uint64_t want = (f & 1 ? BIT(VIRTIO_F_RING_PACKED) : 0) |
				(f & 2 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0) | (f & 4 ? BIT(35) : 0);

		assert_int_equal(drv_dev_negotiate(r->dev, want), 0);
		assert_true(drv_dev_has(r->dev, VIRTIO_F_RING_PACKED) == (f & 1));
		mem = &r->dev->gmem.mem;
		if (f & 8) {
			assert_int_equal(drv_dev_pool(r->dev, 64, &pool), 0);
			mem = pool;
		}
		assert_int_equal(drv_dev_queue(r->dev, 0, f & 1 ? 13 : 16), 0);
		assert_int_equal(drv_dev_driver_ok(r->dev), 0);
		drv_blk_queue(&b, &r->dev->queues[0], mem);
		for (i = 0; i < 30; i++) {
			memset(data, (int)(f * 30 + i), sizeof(data));
			assert_int_equal(drv_blk_write(&b, i, data, sizeof(data)), 0);
			assert_int_equal(drv_blk_read(&b, i, back, sizeof(back)), 0);
			assert_memory_equal(data, back, sizeof(data));
		}
		assert_int_equal(drv_blk_read(&b, NB_SECTORS, back, 512), -EIO);
		assert_int_equal(drv_blk_get_id(&b, id), 0);
		assert_string_equal(id, "naive");
		assert_int_equal(drv_blk_discard(&b, 0, 1), -EOPNOTSUPP);
		assert_int_equal(drv_dev_reset(r->dev), 0);
	}
	assert_int_equal(drv_dev_close(r->dev), 0);
}

static void config_and_events(void **state)
{
	struct rig *r = *state;
	uint64_t capacity = 0;
	uint32_t gen = 9;

	nb_start(&r->nb, r->w, r->gid, 0, NB_GOOD);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	assert_int_equal(r->dev->info.device_id, 2);
	assert_int_equal(r->dev->offered[0], NB_FEATURES);
	assert_int_equal(drv_dev_config_read(r->dev, 0, &capacity, 8, &gen), 0);
	assert_int_equal(capacity, NB_SECTORS);
	assert_int_equal(gen, 0);
	assert_int_equal(drv_dev_config_read(r->dev, 56, &capacity, 8, NULL), -ERANGE);
	assert_int_equal(drv_dev_config_write(r->dev, 0, 32, "x", 1), -EPERM);
	assert_int_equal(drv_msg_ping(r->dev, 77), 0);
	nb_config_changed(&r->nb);
	assert_int_equal(drv_dev_wait_event(r->dev), 0);
	assert_int_equal(r->dev->last_event.hdr.generation, 1);
	assert_int_equal(r->dev->stray, 0);
	assert_int_equal(drv_dev_close(r->dev), 0);
}

static void queue_reset_and_reconnect(void **state)
{
	struct rig *r = *state;
	struct drv_blk b;
	char sector[512];
	int i;

	nb_start(&r->nb, r->w, r->gid, 0, NB_GOOD);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	for (i = 0; i < 5; i++) {
		assert_int_equal(drv_dev_start(r->dev, ALL, 1, 32), 0);
		drv_blk_queue(&b, &r->dev->queues[0], &r->dev->gmem.mem);
		assert_int_equal(drv_blk_read(&b, 1, sector, 512), 0);
		assert_int_equal(drv_dev_queue_reset(r->dev, 0), 0);
		assert_int_equal(drv_dev_queue(r->dev, 0, 8), 0);
		assert_int_equal(drv_blk_read(&b, 1, sector, 512), 0);
		assert_int_equal(drv_dev_reconnect(r->dev), 0);
	}
	assert_int_equal(drv_dev_queue(r->dev, 1, 8), -ENOENT);
	assert_int_equal(drv_dev_close(r->dev), 0);
}

/* A frontend that crashed finds the backend Connected, and starts anew. */
static void crash_and_connect(void **state)
{
	struct rig *r = *state;
	struct drv_dev_config cfg = { .xen = drv_xen_of(r->g) };

	nb_start(&r->nb, r->w, r->gid, 0, NB_GOOD);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	assert_int_equal(drv_dev_start(r->dev, ALL, 1, 32), 0);
	drv_dev_free(r->dev);
	assert_int_equal(drv_dev_open(&cfg, &r->dev), 0);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	assert_int_equal(drv_msg_ping(r->dev, 1), 0);
	assert_int_equal(drv_dev_close(r->dev), 0);
}

static void sin_keeps_buffers(void **state)
{
	struct rig *r = *state;
	struct drv_blk b;
	char sector[512];

	nb_start(&r->nb, r->w, r->gid, 0, NB_KEEPS_BUFFERS);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	assert_int_equal(drv_dev_start(r->dev, 0, 1, 0), 0);
	drv_blk_queue(&b, &r->dev->queues[0], &r->dev->gmem.mem);
	assert_int_equal(drv_blk_read(&b, 0, sector, 512), -EBUSY);
	assert_true(r->dev->gmem.mem.still_mapped > 0);
	drv_dev_close(r->dev);
}

static void sin_keeps_rings(void **state)
{
	struct rig *r = *state;

	nb_start(&r->nb, r->w, r->gid, 0, NB_KEEPS_RINGS);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	assert_int_equal(drv_dev_start(r->dev, ALL, 1, 0), 0);
	assert_int_equal(drv_dev_reset(r->dev), -EBUSY);
	drv_dev_close(r->dev);
}

static void sin_keeps_channel(void **state)
{
	struct rig *r = *state;

	nb_start(&r->nb, r->w, r->gid, 0, NB_KEEPS_CHANNEL);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	assert_int_equal(drv_dev_start(r->dev, ALL, 1, 0), 0);
	assert_int_equal(drv_dev_reset(r->dev), -EBUSY);
	assert_int_equal(r->dev->still_bound, 1);
	drv_dev_close(r->dev);
}

static void sin_silent(void **state)
{
	struct rig *r = *state;

	nb_start(&r->nb, r->w, r->gid, 0, NB_SILENT);
	r->dev->timeout_ms = 200;
	assert_int_equal(drv_dev_connect(r->dev), -ETIMEDOUT);
	r->dev->timeout_ms = 5000;
	drv_dev_set_state(r->dev, 5);
	assert_int_equal(drv_dev_wait_backend(r->dev, 1u << 6), 6);
}

static void sin_no_notify(void **state)
{
	struct rig *r = *state;
	struct drv_blk b;
	char sector[512];

	nb_start(&r->nb, r->w, r->gid, 0, NB_NO_NOTIFY);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	assert_int_equal(drv_dev_start(r->dev, 0, 1, 0), 0);
	drv_blk_queue(&b, &r->dev->queues[0], &r->dev->gmem.mem);
	/* Used by the time the driver looks, if it is slow: so make it ask first. */
	drv_vring_enable_cb(&r->dev->queues[0].vr);
	r->dev->timeout_ms = 200;
	while (!drv_blk_read(&b, 0, sector, 512))
		;
	r->dev->timeout_ms = 5000;
	drv_dev_close(r->dev);
}

static void sin_others(void **state)
{
	struct rig *r = *state;

	nb_start(&r->nb, r->w, r->gid, 0, NB_WRONG_PING);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	assert_int_equal(drv_msg_ping(r->dev, 5), -EPROTO);
	assert_int_equal(drv_dev_close(r->dev), 0);
	nb_end(&r->nb);
	drv_dev_set_state(r->dev, 1);
	nb_start(&r->nb, r->w, r->gid, 0, NB_BAD_INDEX);
	assert_int_equal(drv_dev_wait_backend(r->dev, 1u << 2), 2);
	assert_int_equal(drv_dev_connect(r->dev), -EPROTO);
	drv_dev_set_state(r->dev, 5);
	assert_int_equal(drv_dev_wait_backend(r->dev, 1u << 6), 6);
}

static void backend_fails(void **state)
{
	struct rig *r = *state;
	char *why;

	nb_start(&r->nb, r->w, r->gid, 0, NB_FAILS);
	assert_int_equal(drv_dev_connect(r->dev), -ENODEV);
	why = drv_dev_error(r->dev);
	assert_string_equal(why, "No such image.");
	free(why);
	assert_int_equal(drv_dev_backend_state(r->dev), 6);
}

static void another_transport(void **state)
{
	struct rig *r = *state;

	nb_start(&r->nb, r->w, r->gid, 0, NB_NO_KEY);
	assert_int_equal(drv_dev_connect(r->dev), -EPROTONOSUPPORT);
	assert_int_equal(fx_xs_read_int(r->dev->xs, "device/virtio/0/state", 0), 1);
}

static void raw_messages(void **state)
{
	struct rig *r = *state;
	struct virtio_msg_header h = { .msg_id = 0x3f, .msg_size = 8, .token = 1 };
	int i;

	nb_start(&r->nb, r->w, r->gid, 0, NB_GOOD);
	assert_int_equal(drv_msg_post(r->dev, &h, sizeof(h)), -ENOTCONN);
	assert_int_equal(drv_dev_connect(r->dev), 0);
	for (i = 0; i < 20; i++) { /* unknown: consumed, not answered */
		if (drv_msg_post(r->dev, &h, sizeof(h)))
			assert_int_equal(drv_msg_drained(r->dev), 0);
	}
	assert_int_equal(drv_msg_drained(r->dev), 0);
	assert_int_equal(drv_msg_ping(r->dev, 3), 0);
	assert_int_equal(r->dev->stray, 0);
	assert_int_equal(drv_msg_post(r->dev, &h, 481), -EMSGSIZE);
	assert_int_equal(drv_dev_close(r->dev), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(reads_a_sector),    T(every_ring),
		T(config_and_events), T(queue_reset_and_reconnect),
		T(crash_and_connect), T(sin_keeps_buffers),
		T(sin_keeps_rings),   T(sin_keeps_channel),
		T(sin_silent),	      T(sin_no_notify),
		T(sin_others),	      T(backend_fails),
		T(another_transport), T(raw_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
