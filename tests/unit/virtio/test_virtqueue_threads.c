/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_virtqueue_threads.c - driver and device at once, each asleep till it is notified
 *
 * The other side is tests/driver/vring.c, written from the specification by
 * another hand. Both sides sleep on a semaphore that the other posts only when
 * the ring says that a notification is wanted: one lost is a test that hangs,
 * which the timeout turns into a failure. Under TSan this checks the order of
 * accesses, too: each chain carries a number in memory that both sides write
 * without atomics.
 *
 *	VG_THREADS_CHAINS=n	chains for each kind of ring (default 30000)
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <linux/virtio_config.h>

#include "backend/memory/regions.h"
#include "backend/virtio/virtqueue.h"
#include "tests/driver/vring.h"

#define BASE	 0x10000000ull
#define MEM	 (1u << 20)
#define SIZE	 16u
#define IN_ORDER (1ull << 35)

static uint8_t *mem;
static struct vg_regions regions;
static struct vg_vq *vq;
static struct drv_mem_flat flat;
static struct drv_vring vr;
static sem_t kick, call;
static unsigned long total;
static unsigned long kicks, calls;
static bool failed;

/** wait_for - sleep until @s is posted, at most 20 seconds. Return: false when it was not. */
static bool wait_for(sem_t *s)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 20;
	while (sem_timedwait(s, &t))
		if (errno != EINTR)
			return false;
	return true;
}

/** device - answer each number n with ~n */
static void *device(void *arg)
{
	static struct vg_batch batch;
	struct vg_chain *c[5];
	uint64_t x[5];
	unsigned long done = 0;

	(void)arg;
	vg_batch_init(&batch, &regions.mem);
	while (done < total) {
		int n = vg_vq_pop(vq, c, 5);

		if (n < 0)
			goto fail;
		if (n == 0) {
			if (!vg_vq_rearm(vq) && !wait_for(&kick))
				goto fail;
			vg_vq_quiet(vq);
			continue;
		}
		for (int i = 0; i < n; i++)
			if (vg_chain_read(&batch, c[i], 0, &x[i], 8))
				goto fail;
		vg_batch_run(&batch);
		for (int i = n; i-- > 0;) {
			x[i] = ~x[i];
			if (vg_chain_write(&batch, c[i], 0, &x[i], 8))
				goto fail;
			vg_batch_run(&batch);
			vg_vq_push(vq, c[i], 8);
			done++;
			if ((done & 1) && vg_vq_flush(vq)) {
				calls++;
				sem_post(&call);
			}
		}
		if (vg_vq_flush(vq)) {
			calls++;
			sem_post(&call);
		}
	}
	return NULL;
fail:
	__atomic_store_n(&failed, true, __ATOMIC_RELAXED);
	sem_post(&call);
	return NULL;
}

/** add - one chain with number @n in buffer @slot: 4 + 4 bytes out, 8 in. Return: false when full. */
static bool add(uint64_t n, uint64_t *slot, unsigned flags)
{
	uint64_t at = BASE + (uint64_t)((uint8_t *)slot - mem);
	struct drv_seg out[2] = { { at, 4 }, { at + 4, 4 } }, in = { at + 8, 8 };
	int rc;

	slot[0] = n;
	slot[1] = 0;
	rc = drv_vring_add(&vr, out, 2, &in, 1, slot, flags);
	return rc >= 0;
}

/** driver - keep the ring as full as it gets; take answers when there are any */
static void driver(unsigned flags)
{
	uint64_t *slots[SIZE], n_free = 0;
	unsigned long sent = 0, got = 0;

	for (unsigned i = 0; i < SIZE; i++)
		slots[n_free++] = (uint64_t *)(mem + MEM / 2 + 64 * i);
	drv_vring_disable_cb(&vr);
	while (got < total) {
		unsigned long before = got;
		struct drv_used u;
		int rc;

		while (n_free && sent < total && add(sent, slots[n_free - 1], flags)) {
			n_free--;
			sent++;
			if (sent % 3 == 0 && drv_vring_publish(&vr)) {
				kicks++;
				sem_post(&kick);
			}
		}
		if (drv_vring_publish(&vr)) {
			kicks++;
			sem_post(&kick);
		}
		while ((rc = drv_vring_get(&vr, &u)) > 0) {
			uint64_t *slot = u.cookie;

			assert_int_equal(slot[1], ~slot[0]);
			slots[n_free++] = slot;
			got++;
		}
		assert_int_equal(rc, 0);
		/* Sleep only when the ring is full, or all is sent. */
		if (got == before && drv_vring_enable_cb(&vr)) {
			assert_true(wait_for(&call));
			assert_false(__atomic_load_n(&failed, __ATOMIC_RELAXED));
		}
		drv_vring_disable_cb(&vr);
	}
}

/** both - run one kind of ring */
static void both(uint64_t features, unsigned flags)
{
	struct drv_vring_config dc = {
		.size = SIZE,
		.packed = features >> VIRTIO_F_RING_PACKED & 1,
		.event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1,
		.indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1,
		.in_order = !!(features & IN_ORDER),
	};
	struct vg_vq_config c = { .size = SIZE, .features = features, .state = VG_VQ_STATE_START };
	struct vg_err err;
	pthread_t t;

	mem = aligned_alloc(4096, MEM);
	assert_non_null(mem);
	memset(mem, 0, MEM);
	vg_regions_init(&regions);
	vg_regions_add(&regions, &(struct vg_region){ BASE, MEM, mem, false });
	assert_int_equal(drv_mem_flat_init(&flat, mem, BASE, MEM / 2), 0);
	assert_int_equal(drv_vring_init(&vr, &dc, &flat.mem), 0);
	c.desc = vr.desc_mem.addr;
	c.driver = vr.driver_mem.addr;
	c.device = vr.device_mem.addr;
	if (!dc.packed)
		c.state.avail_wrap = c.state.used_wrap = false;
	if (vg_vq_new(&regions.mem, &c, &vq, &err))
		fail_msg("%s", err.text);
	sem_init(&kick, 0, 0);
	sem_init(&call, 0, 0);
	kicks = calls = 0;
	failed = false;
	assert_int_equal(pthread_create(&t, NULL, device, NULL), 0);
	driver(flags);
	pthread_join(t, NULL);
	assert_null(vg_vq_fault(vq));
	print_message("features 0x%llx: %lu chains, %lu kicks, %lu calls\n",
		      (unsigned long long)features, total, kicks, calls);
	vg_vq_free(vq);
	drv_vring_fini(&vr);
	drv_mem_flat_fini(&flat);
	free(mem);
}

#define EVENT	 (1ull << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define PACKED	 (1ull << VIRTIO_F_RING_PACKED)

static void split(void **state)
{
	(void)state;
	both(0, 0);
	both(EVENT, 0);
	both(EVENT | INDIRECT | IN_ORDER, DRV_ADD_INDIRECT);
}

static void packed(void **state)
{
	(void)state;
	both(PACKED, 0);
	both(PACKED | EVENT, 0);
	both(PACKED | EVENT | INDIRECT | IN_ORDER, DRV_ADD_INDIRECT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split),
		cmocka_unit_test(packed),
	};
	const char *env = getenv("VG_THREADS_CHAINS");

	total = env ? strtoul(env, NULL, 0) : 30000;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
