// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_blk_threads.c - a disk whose queues are served by threads, and the driver at once
 *
 * The driver is the main thread, which is the device's main context, too: it keeps
 * several requests out on each queue, and checks each byte that it wrote. Between
 * them it resets queues and the whole device, writes to its configuration, asks how
 * it is, and lets it break on a ring that lies. Under TSan this is the test of who
 * may touch what: context.h says it in words.
 *
 * Each queue has a part of the image for itself, and each request out a part of that:
 * what a request that was lost in a reset wrote, or did not, is not known; the next
 * one writes the same place before it is read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/driver/testport.h"

enum {
	DEPTH = 6,
	PIECE = 8192, /* bytes of a request */
	IMAGE = TP_QUEUES * DEPTH * PIECE,
};

struct slot {
	struct drv_blk_req req;
	struct drv_buf buf;
	bool out;     /* the device has it */
	bool written; /* the image has @byte here */
	uint8_t byte;
};

struct load {
	struct tp tp;
	unsigned queues;
	struct drv_blk blk[TP_QUEUES];
	struct slot slot[TP_QUEUES][DEPTH];
	unsigned long done;
	unsigned seed;
};

static char image[64];

static unsigned below(struct load *l, unsigned n)
{
	l->seed = l->seed * 1103515245u + 12345u;
	return (l->seed >> 16) % n;
}

static int setup(void **state)
{
	int fd;

	(void)state;
	snprintf(image, sizeof(image), "%s/t.XXXXXX", getenv("TMPDIR") ?: "/tmp");
	fd = mkstemp(image);
	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, IMAGE), errno);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(image);
	return 0;
}

static void begin(struct load *l, enum tp_manner manner, unsigned queues, unsigned threads)
{
	char spec[160];

	memset(l, 0, sizeof(*l));
	l->queues = queues;
	l->seed = queues * 16 + threads;
	snprintf(spec, sizeof(spec), "blk,target=%s,queues=%u,threads=%u,queue-size=32", image,
		 queues, threads);
	tp_open(&l->tp, manner, spec);
	assert_int_equal(l->tp.dev.n_ctx, threads < queues ? threads : queues);
	for (unsigned q = 0; q < queues; q++) {
		tp_blk(&l->tp, q, &l->blk[q]);
		for (unsigned i = 0; i < DEPTH; i++)
			assert_int_equal(drv_alloc(&l->tp.flat.mem, PIECE, 4096, true,
						   &l->slot[q][i].buf),
					 0);
	}
}

static void end(struct load *l)
{
	for (unsigned q = 0; q < l->queues; q++) {
		for (unsigned i = 0; i < DEPTH; i++)
			drv_free(&l->tp.flat.mem, &l->slot[q][i].buf);
	}
	tp_close(&l->tp);
}

/* A read of what is known to be there, or a write. */
static void submit(struct load *l, unsigned q, struct slot *s)
{
	unsigned place = q * DEPTH + (unsigned)(s - l->slot[q]);
	bool read = s->written && below(l, 2);

	if (!read)
		s->byte = (uint8_t)(1 + below(l, 255));
	memset(s->buf.virt, read ? 0 : s->byte, PIECE);
	s->written = read;
	s->req = (struct drv_blk_req){
		.type = read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
		.sector = place * (PIECE / 512),
		.seg = { { s->buf.addr, PIECE } },
		.segs = 1,
		.dev_writes = read,
		.user = s,
	};
	assert_int_equal(drv_blk_submit(&l->blk[q], &s->req), 0);
	s->out = true;
}

/* What has come back of queue @q. */
static void reap(struct load *l, unsigned q)
{
	struct drv_used used;

	while (drv_vring_get(&l->tp.vr[q], &used) == 1) {
		struct drv_blk_req *req = drv_blk_finish(&l->blk[q], &used);
		struct slot *s = req->user;
		const uint8_t *at = s->buf.virt;

		assert_int_equal(req->result, 0);
		for (unsigned i = 0; req->dev_writes && i < PIECE; i++) {
			if (at[i] != s->byte)
				fail_msg("queue %u: byte %u is %u, not %u", q, i, at[i], s->byte);
		}
		s->written = true;
		s->out = false;
		l->done++;
	}
}

/* Requests that a reset of queue @q has taken away from the driver. */
static void forget(struct load *l, unsigned q)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		struct slot *s = &l->slot[q][i];

		if (s->out)
			drv_free(&l->tp.flat.mem, &s->req.hdr);
		s->out = s->written = false;
	}
}

static void fill_up(struct load *l, unsigned q)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		if (!l->slot[q][i].out)
			submit(l, q, &l->slot[q][i]);
	}
	tp_kick(&l->tp, q);
}

static unsigned still_out(const struct load *l)
{
	unsigned n = 0;

	for (unsigned q = 0; q < l->queues; q++) {
		for (unsigned i = 0; i < DEPTH; i++)
			n += l->slot[q][i].out;
	}
	return n;
}

static void drain(struct load *l)
{
	int64_t until = vg_now_ns() + 20 * NS_PER_S;

	while (still_out(l)) {
		assert_true(vg_loop_turn(l->tp.loop, false) >= 0);
		for (unsigned q = 0; q < l->queues; q++)
			reap(l, q);
		if (vg_now_ns() > until)
			fail_msg("%u requests did not come back", still_out(l));
	}
}

static void synced(struct load *l)
{
	struct dh_wait w = DH_WAIT;

	vg_dev_sync(&l->tp.dev, &w.w);
	dh_await(l->tp.loop, &w);
}

/* What `vgrant set`, `vgrant list` and the driver's sysfs do to a disk at work. */
static void main_context_at_work(struct load *l)
{
	uint8_t wce = (uint8_t)below(l, 2);
	struct virtio_blk_config c;
	char text[256];

	assert_int_equal(vg_dev_config_write(&l->tp.dev, offsetof(struct virtio_blk_config, wce),
					     &wce, 1),
			 0);
	assert_int_equal(vg_dev_config_read(&l->tp.dev, 0, &c, 60), 0);
	l->tp.dev.ops->describe(&l->tp.dev, text, sizeof(text));
	l->tp.dev.ops->tick(&l->tp.dev);
	assert_int_equal(!strstr(text, "write-through"), wce);
}

static void round_of(struct load *l, unsigned want)
{
	struct tp *tp = &l->tp;

	for (unsigned turn = 0; turn < want; turn++) {
		unsigned q = below(l, l->queues);

		fill_up(l, q);
		assert_true(vg_loop_turn(tp->loop, false) >= 0);
		for (unsigned i = 0; i < l->queues; i++)
			reap(l, i);
		switch (below(l, 24)) {
		case 0:
			tp_stop_queue(tp, q);
			forget(l, q);
			tp_start_queue(tp, q, 32);
			break;
		case 1:
			main_context_at_work(l);
			break;
		case 2:
			synced(l);
			break;
		}
	}
}

/* Rings of both kinds, memory that is direct or copied; queues and threads, as many as each other, or
 * several queues a thread. */
static void under_load(void **state)
{
	static const struct {
		unsigned queues, threads;
	} shapes[] = { { 1, 1 }, { 2, 2 }, { 4, 4 }, { 4, 2 }, { 8, 3 }, { 2, 8 } };
	static struct load l;

	(void)state;
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		for (unsigned how = 0; how < 4; how++) {
			begin(&l, how & 1 ? TP_COPY : TP_DIRECT, shapes[i].queues,
			      shapes[i].threads);
			for (unsigned life = 0; life < 3; life++) {
				tp_start(&l.tp, how & 2 ? TP_ALL : ~VG_FEATURE(VG_F_RING_PACKED),
					 32);
				round_of(&l, 60);
				if (life == 1)
					drain(&l);
				/* With requests out, or without. */
				tp_reset(&l.tp);
				for (unsigned q = 0; q < l.queues; q++)
					forget(&l, q);
			}
			assert_true(l.done > 0);
			end(&l);
		}
	}
}

/* Each context counts for itself, and what it counts is all that there was. */
static void counters_are_whole(void **state)
{
	static struct load l;

	(void)state;
	begin(&l, TP_COPY, 4, 4);
	tp_start(&l.tp, TP_ALL, 32);
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned q = 0; q < 4; q++)
			fill_up(&l, q);
		drain(&l);
	}
	assert_int_equal(l.done, 20 * 4 * DEPTH);
	synced(&l);
	assert_int_equal(dh_stats(&l.tp.dev).requests, l.done);
	for (unsigned q = 0; q < 4; q++)
		assert_int_equal(vg_dev_stats(&l.tp.dev, q)->requests, 20 * DEPTH);
	tp_reset(&l.tp);
	end(&l);
}

/* A ring that lies, in one thread: all of them stop, the driver is told once, and a reset mends it. */
static void one_ring_lies(void **state)
{
	static struct load l;
	struct tp *tp = &l.tp;

	(void)state;
	for (unsigned bad = 0; bad < 4; bad++) {
		int64_t until = vg_now_ns() + 20 * NS_PER_S;

		begin(&l, bad & 1 ? TP_COPY : TP_DIRECT, 4, 4);
		tp_start(tp, ~VG_FEATURE(VG_F_RING_PACKED), 32);
		for (unsigned q = 0; q < 4; q++)
			fill_up(&l, q);
		/* More is available than the ring has room for. */
		__atomic_store_n((uint16_t *)tp->vr[bad].driver_mem.virt + 1, htole16(0x4000),
				 __ATOMIC_RELEASE);
		tp_kick_anyway(tp, bad);
		while (!(tp->dev.status & VG_STATUS_NEEDS_RESET)) {
			assert_true(vg_loop_turn(tp->loop, false) >= 0);
			assert_true(vg_now_ns() < until);
		}
		synced(&l);
		tp_settle(tp);
		assert_int_equal(tp->dev.stats->faults, 1);
		assert_int_equal(tp->config_changes, 1);
		tp_reset(tp);
		for (unsigned q = 0; q < 4; q++)
			forget(&l, q);
		tp_start(tp, TP_ALL, 32);
		round_of(&l, 10);
		drain(&l);
		tp_reset(tp);
		end(&l);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(under_load),
		T(counters_are_whole),
		T(one_ring_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
