// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_daemon_threads.c - a disk with a thread for each queue, through the whole of vgrantd on a fake
 * Xen host: each thread has an event channel and a view of guest memory of its own, in the sandbox
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>

#include "tests/rigs/daemon_rig.h"

enum { QUEUES = 4, DEPTH = 8, PIECE = 4096 };

struct load {
	struct rig_guest *g;
	struct drv_mem *mem; /* of data */
	struct drv_blk blk[QUEUES];
	struct drv_blk_req req[QUEUES][DEPTH];
	struct drv_buf buf[QUEUES][DEPTH];
	unsigned seed;
};

static void up(struct load *l, uint64_t features)
{
	assert_int_equal(drv_dev_start(l->g->dev, features, QUEUES, 64), 0);
	l->mem = &l->g->dev->gmem.mem;
	for (unsigned q = 0; q < QUEUES; q++)
		drv_blk_queue(&l->blk[q], &l->g->dev->queues[q], &l->g->dev->gmem.mem);
}

static void begin_load(struct rig *r, struct load *l, const char *threads)
{
	char spec[400];

	memset(l, 0, sizeof(*l));
	l->g = rig_domain(r, 0);
	rig_image(l->g->image, RIG_SECTORS, l->g->id);
	snprintf(spec, sizeof(spec), "blk,target=%s,queues=%d,threads=%s", l->g->image, QUEUES,
		 threads);
	rig_nodes(r, 0, spec);
	l->g->dev->timeout_ms = 30000;
	assert_int_equal(drv_dev_connect(l->g->dev), 0);
}

/* Requests of queue @q: writes of a place of its own, or reads of what is there. */
static void put(struct load *l, unsigned q, bool write)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		struct drv_blk_req *req = &l->req[q][i];
		struct drv_buf *b = &l->buf[q][i];

		assert_int_equal(drv_alloc(l->mem, PIECE, 4096, !write, b), 0);
		memset(b->virt, write ? (int)(l->seed + q * DEPTH + i) : 0, PIECE);
		*req = (struct drv_blk_req){ .type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
					     .sector = (q * DEPTH + i) * (PIECE / 512),
					     .dev_writes = !write,
					     .seg = { { b->addr, PIECE } },
					     .segs = 1 };
		assert_int_equal(drv_blk_submit(&l->blk[q], req), 0);
	}
	drv_queue_kick(&l->g->dev->queues[q]);
}

static void get(struct load *l, unsigned q, bool write)
{
	struct drv_used used;
	uint8_t want[PIECE];

	for (unsigned i = 0; i < DEPTH; i++) {
		struct drv_blk_req *req;
		unsigned at;

		assert_int_equal(drv_queue_wait(&l->g->dev->queues[q], &used), 0);
		req = drv_blk_finish(&l->blk[q], &used);
		assert_int_equal(req->result, 0);
		at = (unsigned)(req - l->req[q]);
		assert_true(at < DEPTH);
		memset(want, (int)(l->seed + q * DEPTH + at), PIECE);
		if (!write)
			assert_memory_equal(l->buf[q][at].virt, want, PIECE);
		assert_int_equal(drv_free(l->mem, &l->buf[q][at]), 0);
	}
}

static void kill_worker(struct rig *r)
{
	pid_t pid = 0;

	assert_int_equal(rig_workers(r, &pid, 1), 1);
	kill(pid, SIGKILL);
}

/* How many threads the worker has. */
static unsigned threads_of_worker(struct rig *r)
{
	char path[64];
	pid_t pid = 0;
	DIR *d;
	unsigned n = 0;

	assert_int_equal(rig_workers(r, &pid, 1), 1);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/*
 * All queues at once, both kinds of ring; the worker dies in the middle of it. It does so four times
 * in all: vgrantd doubles its pause each time, and the next ones would make the test wait for it.
 */
static void workers_die(void **state)
{
	struct rig *r = *state;
	static struct load l;

	begin_load(r, &l, "4");
	assert_true(threads_of_worker(r) >= QUEUES);
	for (unsigned packed = 0; packed < 2; packed++) {
		up(&l, packed ? ~0ull : ~(1ull << VIRTIO_F_RING_PACKED));
		for (unsigned round = 0; round < 2; round++) {
			l.seed = packed * 64 + round * 16;
			for (unsigned step = 0; step < 2; step++) {
				for (unsigned q = 0; q < QUEUES; q++)
					put(&l, q, step == 0);
				if (round == 1)
					kill_worker(r);
				for (unsigned q = 0; q < QUEUES; q++)
					get(&l, q, step == 0);
			}
			assert_int_equal(drv_dev_backend_state(l.g->dev), 4);
			assert_int_equal(drv_msg_ping(l.g->dev, round), 0);
		}
		assert_int_equal(drv_dev_reset(l.g->dev), 0);
	}
	assert_int_equal(l.g->dev->gmem.mem.still_mapped, 0);
	assert_int_equal(drv_dev_close(l.g->dev), 0);
	assert_true(rig_nothing_left(r, 2 + 2 * QUEUES));
}

/* One queue is reset, and the device is, while the other queues work; fewer threads than queues. */
static void resets(void **state)
{
	struct rig *r = *state;
	struct drv_mem *mem;
	static struct load l;

	begin_load(r, &l, "3");
	mem = &l.g->dev->gmem.mem;
	up(&l, ~0ull);
	for (unsigned round = 0; round < 8; round++) {
		unsigned bad = round % QUEUES;

		for (unsigned q = 0; q < QUEUES; q++)
			put(&l, q, true);
		assert_int_equal(drv_dev_queue_reset(l.g->dev, bad), 0);
		for (unsigned i = 0; i < DEPTH; i++) {
			assert_int_equal(drv_free(mem, &l.req[bad][i].hdr), 0);
			assert_int_equal(drv_free(mem, &l.buf[bad][i]), 0);
		}
		for (unsigned q = 0; q < QUEUES; q++) {
			if (q != bad)
				get(&l, q, true);
		}
		assert_int_equal(drv_dev_queue(l.g->dev, bad, 32), 0);
		put(&l, bad, true);
		get(&l, bad, true);
		if (round % 3 == 2) {
			for (unsigned q = 0; q < QUEUES; q++)
				put(&l, q, true);
			/* The answer promises: nothing mapped, no channel bound. */
			assert_int_equal(drv_dev_reset(l.g->dev), 0);
			for (unsigned q = 0; q < QUEUES; q++) {
				for (unsigned i = 0; i < DEPTH; i++) {
					assert_int_equal(drv_free(mem, &l.req[q][i].hdr), 0);
					assert_int_equal(drv_free(mem, &l.buf[q][i]), 0);
				}
			}
			up(&l, round & 4 ? ~0ull : ~(1ull << VIRTIO_F_RING_PACKED));
		}
	}
	assert_int_equal(drv_dev_close(l.g->dev), 0);
	assert_true(rig_nothing_left(r, 2 + 2 * QUEUES));
}

/* Pools come while all threads work, and go from under their requests: or not, then each is done. */
static void pools_come_and_go(void **state)
{
	struct rig *r = *state;
	unsigned busy = 0, rounds = 60;
	static struct load l;

	begin_load(r, &l, "4");
	up(&l, ~0ull);
	for (unsigned round = 0; round < rounds; round++) {
		const struct drv_buf *pool = &l.g->dev->pool_buf[1];
		struct drv_mem *mem = l.mem, *other;
		int rc;

		l.seed = round / 2;
		assert_int_equal(drv_dev_pool(l.g->dev, 8, &other), 0);
		assert_int_equal(drv_dev_pool(l.g->dev, QUEUES * DEPTH, &l.mem), 0);
		for (unsigned q = 0; q < QUEUES; q++)
			put(&l, q, round % 2 == 0);
		if (round % 20 == 19)
			kill_worker(r);
		rc = drv_pool_msg(l.g->dev, VIRTIO_GRANT_BUS_DROP_POOL,
				  (uint32_t)(pool->addr >> VIRTIO_GRANT_PAGE_SHIFT),
				  QUEUES * DEPTH);
		assert_true(rc == 0 || rc == -EBUSY);
		busy += rc == -EBUSY;
		for (unsigned q = 0; q < QUEUES; q++)
			get(&l, q, round % 2 == 0);
		assert_int_equal(drv_dev_pool_drop(l.g->dev), 0);
		assert_int_equal(drv_dev_pool_drop(l.g->dev), 0);
		l.mem = mem;
	}
	print_message("%u of %u pools had data in them\n", busy, rounds);
	assert_int_equal(l.g->dev->gmem.mem.still_mapped, 0);
	assert_int_equal(drv_dev_close(l.g->dev), 0);
	assert_true(rig_nothing_left(r, 2 + 2 * QUEUES));
}

/* vgrantd goes, with its workers, and comes back; then the guest reconnects. */
static void vgrantd_dies(void **state)
{
	struct rig *r = *state;
	static struct load l;

	begin_load(r, &l, "2");
	up(&l, ~0ull);
	for (unsigned q = 0; q < QUEUES; q++)
		put(&l, q, true);
	rig_daemon_stop(r, SIGKILL);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	for (unsigned q = 0; q < QUEUES; q++)
		get(&l, q, true);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(drv_dev_reconnect(l.g->dev), 0);
		up(&l, ~0ull);
		for (unsigned q = 0; q < QUEUES; q++)
			put(&l, q, false);
		for (unsigned q = 0; q < QUEUES; q++)
			get(&l, q, false);
	}
	assert_int_equal(drv_dev_close(l.g->dev), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_begin, rig_end)
	const struct CMUnitTest tests[] = {
		T(workers_die),
		T(resets),
		T(pools_come_and_go),
		T(vgrantd_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
