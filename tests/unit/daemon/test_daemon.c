/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_daemon.c - the whole of vgrantd on a fake Xen host: guests come, work and go
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <sys/resource.h>

#include "tests/rigs/daemon_rig.h"
#include "tests/rigs/loop_device.h"

#define BIT(n) (1ull << (n))

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* ---- work ------------------------------------------------------------------ */

static void reads_and_writes(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	uint8_t data[4096], back[4096];
	char id[21];
	int fd;

	rig_reads(g, 0);
	rig_reads(g, RIG_SECTORS - 1);
	memset(data, 0xa5, sizeof(data));
	assert_int_equal(drv_blk_write(&g->blk, 8, data, sizeof(data)), 0);
	assert_int_equal(drv_blk_flush(&g->blk), 0);
	assert_int_equal(drv_blk_get_id(&g->blk, id), 0);
	fd = open(g->image, O_RDONLY);
	assert_int_equal(pread(fd, back, sizeof(back), 8 * 512), sizeof(back));
	close(fd);
	assert_memory_equal(data, back, sizeof(data));
	assert_int_equal(drv_blk_read(&g->blk, RIG_SECTORS, back, 512), -EIO);
	assert_int_equal(drv_dev_close(g->dev), 0);
	assert_int_equal(g->dev->gmem.mem.still_mapped, 0);
	assert_true(rig_nothing_left(r, 2));
}

/* Every ring that can be negotiated, direct grants and pool, at odd places in the page. */
/* Its image is made longer: the driver is told, and writes behind the old end. The worker asks the
 * supervisor, who alone can raise its limit. */
static void image_grows(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	uint8_t data[4096], back[4096];
	int fd;

	memset(data, 0x3c, sizeof(data));
	assert_int_equal(drv_blk_write(&g->blk, RIG_SECTORS, data, sizeof(data)), -EIO);
	fd = open(g->image,
		  O_WRONLY); /* as truncate(1) does it: the kernel tells when it is closed */
	assert_int_equal(ftruncate(fd, (off_t)RIG_SECTORS * 512 + 8192), 0);
	assert_int_equal(close(fd), 0);
	for (int i = 0; i < 1000 && !rig_logged(r, "the image has grown to"); i++)
		usleep(10000);
	assert_true(rig_logs(r, "the image has grown to"));
	assert_int_equal(drv_blk_write(&g->blk, RIG_SECTORS, data, sizeof(data)), 0);
	assert_int_equal(drv_blk_flush(&g->blk), 0);
	assert_int_equal(drv_blk_read(&g->blk, RIG_SECTORS, back, sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(data));
	assert_int_equal(drv_blk_write(&g->blk, RIG_SECTORS + 16, data, 512), -EIO);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

static void every_ring(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	struct drv_mem *mem, *pool;
	uint8_t data[9000], back[9000];
	unsigned int f, i;

	assert_int_equal(drv_dev_connect(g->dev), 0);
	for (f = 0; f < 16; f++) {
		uint64_t want = (f & 1 ? BIT(VIRTIO_F_RING_PACKED) : 0) |
				(f & 2 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0) | (f & 4 ? BIT(35) : 0) |
				BIT(VIRTIO_BLK_F_FLUSH);

		assert_int_equal(drv_dev_negotiate(g->dev, want), 0);
		assert_true(drv_dev_has(g->dev, VIRTIO_F_RING_PACKED) == (f & 1));
		assert_true(drv_dev_has(g->dev, 35) == !!(f & 4));
		mem = &g->dev->gmem.mem;
		if (f & 8) {
			assert_int_equal(drv_dev_pool(g->dev, 64, &pool), 0);
			mem = pool;
		}
		assert_int_equal(drv_dev_queue(g->dev, 0, f & 1 ? 13 : 16), 0);
		assert_int_equal(drv_dev_driver_ok(g->dev), 0);
		drv_blk_queue(&g->blk, &g->dev->queues[0], mem);
		for (i = 0; i < 20; i++) {
			size_t len = 512 * (1 + i % 17);

			memset(data, (int)(f * 30 + i), len);
			assert_int_equal(drv_blk_write(&g->blk, i, data, len), 0);
			assert_int_equal(drv_blk_read(&g->blk, i, back, len), 0);
			assert_memory_equal(data, back, len);
		}
		assert_int_equal(drv_dev_reset(g->dev), 0);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/*
 * Data is mapped from a size on, and unmapped before the driver can see that its request is done:
 * drv_blk_read() and _write() free their buffers at once, which a grant in use would not let them.
 */
static void data_is_mapped(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	static uint8_t data[300 * 512], back[300 * 512];
	unsigned int f, i, maps;
	struct fx_stats st;
	char spec[300];

	rig_image(g->image, RIG_SECTORS, g->id);
	snprintf(spec, sizeof(spec), "blk,target=%s,map-from=8K", g->image);
	rig_nodes(r, 0, spec);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	for (f = 0; f < 2; f++) {
		rig_up(g, f ? ~0ull : ~BIT(VIRTIO_F_RING_PACKED), 64);
		fx_stats(r->w, 0, &st);
		maps = (unsigned int)st.calls[FX_OP_MAP];
		for (i = 0; i < 30; i++) {
			size_t len = 512 * (1 + (i * 37) % 300);

			memset(data, (int)(f * 30 + i + 1), len);
			assert_int_equal(drv_blk_write(&g->blk, i, data, len), 0);
			assert_int_equal(drv_blk_read(&g->blk, i, back, len), 0);
			assert_memory_equal(data, back, len);
			maps += len >= 8192 ? 2 : 0;
		}
		fx_stats(r->w, 0, &st);
		assert_int_equal(st.calls[FX_OP_MAP], maps);
		assert_int_equal(drv_dev_reset(g->dev), 0);
	}
	assert_int_equal(g->dev->gmem.mem.still_mapped, 0);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* Many segments, indirect and direct, at depth. */
static void at_depth(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct drv_blk_req req[16];
	struct drv_buf buf[16];
	struct drv_used used;
	unsigned int i, k, round, n;

	for (round = 0; round < 20; round++) {
		for (i = 0; i < 16; i++) {
			assert_int_equal(drv_alloc(&g->dev->gmem.mem, 4096, 512, true, &buf[i]), 0);
			req[i] = (struct drv_blk_req){ .type = VIRTIO_BLK_T_IN,
						       .sector = (i + round) * 8,
						       .dev_writes = true,
						       .user = &buf[i] };
			n = round & 1 ? 8 : 1;
			for (k = 0; k < n; k++)
				req[i].seg[k] =
					(struct drv_seg){ buf[i].addr + k * (4096 / n), 4096 / n };
			req[i].segs = n;
			req[i].add_flags = round & 1 ? DRV_ADD_INDIRECT : 0;
			assert_int_equal(drv_blk_submit(&g->blk, &req[i]), 0);
		}
		drv_queue_kick(&g->dev->queues[0]);
		for (i = 0; i < 16; i++) {
			struct drv_blk_req *done;
			struct drv_buf *b;

			assert_int_equal(drv_queue_wait(&g->dev->queues[0], &used), 0);
			done = drv_blk_finish(&g->blk, &used);
			assert_int_equal(done->result, 0);
			b = done->user;
			for (k = 0; k < 8; k++)
				assert_int_equal(((uint8_t *)b->virt)[k * 512],
						 (uint8_t)(done->sector + k + g->id));
			assert_int_equal(drv_free(&g->dev->gmem.mem, b), 0);
		}
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/*
 * hypercalls() - 4 KiB reads at depth 32; what domain 0 asked of Xen for them
 * @mem: where buffers come from
 *
 * Return: hypercalls per 1000 requests.
 */
static unsigned int hypercalls(struct rig *r, struct rig_guest *g, struct drv_mem *mem,
			       const char *what)
{
	static struct drv_blk_req req[32];
	struct drv_buf buf[32];
	struct drv_used used;
	struct fx_stats st;
	unsigned int i, round;
	uint64_t grant, all;

	drv_blk_queue(&g->blk, &g->dev->queues[0], mem);
	for (i = 0; i < 32; i++)
		assert_int_equal(drv_alloc(mem, 4096, 4096, true, &buf[i]), 0);
	fx_stats_reset(r->w, 0);
	for (round = 0; round < 50; round++) {
		for (i = 0; i < 32; i++) {
			req[i] = (struct drv_blk_req){ .type = VIRTIO_BLK_T_IN,
						       .sector = 8 * i,
						       .dev_writes = true,
						       .segs = 1 };
			req[i].seg[0] = (struct drv_seg){ buf[i].addr, 4096 };
			assert_int_equal(drv_blk_submit(&g->blk, &req[i]), 0);
		}
		drv_queue_kick(&g->dev->queues[0]);
		for (i = 0; i < 32; i++) {
			assert_int_equal(drv_queue_wait(&g->dev->queues[0], &used), 0);
			assert_int_equal(drv_blk_finish(&g->blk, &used)->result, 0);
		}
	}
	fx_stats(r->w, 0, &st);
	for (i = 0; i < 32; i++)
		assert_int_equal(drv_free(mem, &buf[i]), 0);
	grant = st.hypercalls[FX_OP_MAP] + st.hypercalls[FX_OP_UNMAP] + st.hypercalls[FX_OP_COPY];
	all = grant + st.hypercalls[FX_OP_NOTIFY];
	printf("# %-28s %5.3f grant hypercalls, %5.3f notifications per 4 KiB read\n", what,
	       (double)grant / 1600, (double)st.hypercalls[FX_OP_NOTIFY] / 1600);
	return (unsigned int)(all * 1000 / 1600);
}

/* The pool is there so that the data path asks nothing of Xen but to notify. */
static void hypercalls_per_request(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	struct drv_mem *pool;
	unsigned int packed, n;

	assert_int_equal(drv_dev_connect(g->dev), 0);
	for (packed = 0; packed < 2; packed++) {
		assert_int_equal(drv_dev_pool(g->dev, 128, &pool), 0);
		assert_int_equal(drv_dev_start(g->dev, packed ? ~0ull : ~BIT(VIRTIO_F_RING_PACKED),
					       1, 128),
				 0);
		hypercalls(r, g, &g->dev->gmem.mem,
			   packed ? "packed, direct grants" : "split, direct grants");
		n = hypercalls(r, g, pool, packed ? "packed, pool" : "split, pool");
		/* Fewer than 0.1 is the aim; a busy machine spreads completions a little. */
		assert_true(n < 200);
		assert_int_equal(drv_dev_reset(g->dev), 0);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
}

static void several_guests(void **state)
{
	struct rig *r = *state;
	unsigned int i, k;
	pid_t pids[8];

	for (i = 0; i < RIG_GUESTS; i++)
		rig_connected(r, i);
	assert_int_equal(rig_workers(r, pids, 8), RIG_GUESTS);
	for (k = 0; k < 50; k++)
		for (i = 0; i < RIG_GUESTS; i++)
			rig_reads(&r->guest[i], k * 7);
	for (i = 0; i < RIG_GUESTS; i++)
		assert_int_equal(drv_dev_close(r->guest[i].dev), 0);
}

/* ---- limits ---------------------------------------------------------------- */

static void set(struct rig *r, const struct rig_guest *g, const char *key, const char *value)
{
	char request[200];

	snprintf(request, sizeof(request),
		 "{\"cmd\":\"set\",\"guest\":\"%u\",\"id\":\"%u\",\"key\":\"%s\",\"value\":"
		 "\"%s\"}\n",
		 g->id, RIG_ID, key, value);
	assert_non_null(strstr(rig_ask(r, request), "\"ok\":true"));
}

/* Whether the list says it, in @ms at most. */
static bool listed(struct rig *r, const char *text, int ms)
{
	int64_t end = now_ms() + ms;

	do {
		if (strstr(rig_ask(r, "{\"cmd\":\"list\"}\n"), text))
			return true;
		usleep(10000);
	} while (now_ms() < end);
	return false;
}

/* Two guests' disks are one group: what one has used up the other waits for; a third is not slowed. A
 * worker that is replaced finds its group as it is. */
static void limits_of_a_group(void **state)
{
	struct rig *r = *state;
	uint8_t data[512] = { 1 };
	struct drv_blk_req req;
	struct rig_guest *g[3];
	struct drv_buf buf;
	struct drv_used used;
	pid_t pids[3];

	for (unsigned i = 0; i < 3; i++) {
		char spec[300];

		g[i] = rig_domain(r, i);
		rig_image(g[i]->image, RIG_SECTORS, g[i]->id);
		snprintf(spec, sizeof(spec), "blk,target=%s,bps-write=1%s", g[i]->image,
			 i < 2 ? ",limit-group=both" : "");
		rig_nodes(r, i, spec);
		assert_int_equal(drv_dev_connect(g[i]->dev), 0);
		rig_up(g[i], ~BIT(VIRTIO_F_RING_PACKED), 64);
	}
	assert_int_equal(drv_blk_write(&g[0]->blk, 0, data, sizeof(data)), 0);
	assert_int_equal(drv_alloc(&g[1]->dev->gmem.mem, 512, 512, true, &buf), 0);
	req = (struct drv_blk_req){ .type = VIRTIO_BLK_T_OUT,
				    .segs = 1,
				    .seg = { { buf.addr, 512 } } };
	assert_int_equal(drv_blk_submit(&g[1]->blk, &req), 0);
	drv_queue_kick(&g[1]->dev->queues[0]);
	assert_true(listed(r, "has waited", 10000));
	assert_int_equal(drv_blk_write(&g[2]->blk, 0, data, sizeof(data)), 0);
	assert_int_equal(rig_workers(r, pids, 3), 3);
	kill(pids[1], SIGKILL);
	assert_true(rig_logs(r, "another resumes"));
	assert_true(listed(r, "has waited", 10000)); /* of the new worker */
	set(r, g[0], "bps-write", "0");
	assert_int_equal(drv_queue_wait(&g[1]->dev->queues[0], &used), 0);
	assert_int_equal(drv_blk_finish(&g[1]->blk, &used)->result, 0);
	assert_int_equal(drv_free(&g[1]->dev->gmem.mem, &buf), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(drv_dev_close(g[i]->dev), 0);
}

/* A disk that fails: what the list says of it, by kind, with the image and why; and that each operation's
 * time is kept, over a worker's death. */
static void failures_are_told(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	uint8_t data[4096] = { 7 }, back[512];
	char text[600];
	pid_t pid = 0;

	assert_true(listed(r,
			   "\"failed\":{\"refused\":0,\"unsupported\":0,\"io\":0,\"space\":0,"
			   "\"short\":0,\"gone\":0}",
			   1000));
	assert_int_equal(drv_blk_write(&g->blk, 8, data, sizeof(data)), 0);
	assert_int_equal(drv_blk_flush(&g->blk), 0);
	assert_int_equal(drv_blk_read(&g->blk, RIG_SECTORS, back, 512), -EIO);
	assert_int_equal(truncate(g->image, 8192), 0);
	assert_int_equal(drv_blk_read(&g->blk, RIG_SECTORS - 1, back, 512), -EIO);
	assert_true(listed(r,
			   "\"failed\":{\"refused\":1,\"unsupported\":0,\"io\":0,\"space\":0,"
			   "\"short\":1,\"gone\":0}",
			   1000));
	snprintf(text, sizeof(text), "%s fails: it is shorter than it was; the guest saw",
		 strrchr(g->image, '/') + 1);
	assert_true(listed(r, text, 1000));
	assert_true(listed(r, "\"latency\":{\"read\":{\"us\":", 1000));
	assert_true(listed(r, "\"write\":{\"us\":", 1000));
	assert_true(listed(r, "\"flush\":{\"us\":", 1000));
	assert_int_equal(rig_workers(r, &pid, 1), 1);
	kill(pid, SIGKILL);
	assert_true(rig_logs(r, "another resumes"));
	assert_int_equal(drv_blk_read(&g->blk, 0, back, 512), 0);
	assert_true(listed(r,
			   "\"failed\":{\"refused\":1,\"unsupported\":0,\"io\":0,\"space\":0,"
			   "\"short\":1,\"gone\":0}",
			   1000));
	assert_true(listed(r, "\"flush\":{\"us\":", 1000));
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* What a user says of a worker's processor time is so of the process. */
static void scheduled(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	unsigned cpu = 0;
	char spec[300];
	cpu_set_t has;
	pid_t pid = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(has), &has), 0);
	while (!CPU_ISSET(cpu, &has))
		cpu++;
	rig_image(g->image, RIG_SECTORS, g->id);
	snprintf(spec, sizeof(spec), "blk,target=%s,cpus=%u,nice=19,sched=idle", g->image, cpu);
	rig_nodes(r, 0, spec);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~BIT(VIRTIO_F_RING_PACKED), 64);
	rig_reads(g, 3);
	assert_int_equal(rig_workers(r, &pid, 1), 1);
	assert_int_equal(sched_getaffinity(pid, sizeof(has), &has), 0);
	assert_int_equal(CPU_COUNT(&has), 1);
	assert_true(CPU_ISSET(cpu, &has));
	assert_int_equal(sched_getscheduler(pid), SCHED_IDLE);
	assert_int_equal(getpriority(PRIO_PROCESS, (id_t)pid), 19);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* ---- reset, reconnect ------------------------------------------------------ */

/* submit() - @n reads that nobody waits for; their memory stays allocated */
static void submit(struct rig_guest *g, unsigned int n, struct drv_blk_req *req,
		   struct drv_buf *buf)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		assert_int_equal(drv_alloc(&g->dev->gmem.mem, 65536, 512, true, &buf[i]), 0);
		req[i] = (struct drv_blk_req){ .type = VIRTIO_BLK_T_IN,
					       .dev_writes = true,
					       .segs = 1 };
		req[i].seg[0] = (struct drv_seg){ buf[i].addr, 65536 };
		assert_int_equal(drv_blk_submit(&g->blk, &req[i]), 0);
	}
	drv_queue_kick(&g->dev->queues[0]);
}

static void free_all(struct rig_guest *g, unsigned int n, struct drv_blk_req *req,
		     struct drv_buf *buf)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		assert_int_equal(drv_free(&g->dev->gmem.mem, &req[i].hdr), 0);
		assert_int_equal(drv_free(&g->dev->gmem.mem, &buf[i]), 0);
	}
}

static void reset_in_mid_io(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct drv_blk_req req[16];
	struct drv_buf buf[16];
	unsigned int round;

	for (round = 0; round < 10; round++) {
		submit(g, 16, req, buf);
		/* The answer promises: nothing mapped, no channel bound. */
		assert_int_equal(drv_dev_reset(g->dev), 0);
		free_all(g, 16, req, buf);
		rig_up(g, round & 1 ? ~0ull : ~BIT(VIRTIO_F_RING_PACKED), 64);
		rig_reads(g, round);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
}

static void queue_reset(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct drv_blk_req req[16];
	struct drv_buf buf[16];
	unsigned int round;

	assert_true(drv_dev_has(g->dev, 40));
	for (round = 0; round < 10; round++) {
		submit(g, 16, req, buf);
		assert_int_equal(drv_dev_queue_reset(g->dev, 0), 0);
		free_all(g, 16, req, buf);
		assert_int_equal(drv_dev_queue(g->dev, 0, 64u << (round % 3)), 0);
		rig_reads(g, round);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
}

static void reconnects(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	unsigned int round;

	for (round = 0; round < 10; round++) {
		assert_int_equal(drv_dev_reconnect(g->dev), 0);
		rig_up(g, ~0ull, 0);
		rig_reads(g, round);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
	assert_true(rig_nothing_left(r, 2));
}

/* The guest's kernel crashed and a new one starts, with I/O out: kexec. */
static void crash_and_connect(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct drv_dev_config cfg = { .xen = drv_xen_of(g->dom), .id = RIG_ID };
	struct drv_blk_req req[8];
	struct drv_buf buf[8];

	submit(g, 8, req, buf);
	drv_dev_free(g->dev);
	assert_int_equal(drv_dev_open(&cfg, &g->dev), 0);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 0);
	rig_reads(g, 5);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* ---- going ----------------------------------------------------------------- */

static void destroyed_in_mid_io(void **state)
{
	struct rig *r = *state;
	struct rig_guest *other = rig_connected(r, 1);
	unsigned int round, id;
	int64_t before;

	for (round = 0; round < 5; round++) {
		struct rig_guest *g = rig_connected(r, 0);
		struct drv_blk_req req[16];
		struct drv_buf buf[16];

		submit(g, 16, req, buf);
		id = g->id;
		before = now_ms();
		/* As xl destroy: it must not wait long for Closed. */
		assert_int_equal(fx_domain_destroy(r->w, id, 10000), 0);
		assert_true(now_ms() - before < 5000);
		assert_int_equal(fx_grants_in_use(r->w, id), 0);
		rig_guest_gone(g);
		rig_reads(other, round);
	}
	assert_int_equal(drv_dev_close(other->dev), 0);
	assert_true(rig_nothing_left(r, 2));
}

/* The domain dies in the hypervisor; the toolstack cleans up later, or never asks. */
static void vanishes(void **state)
{
	struct rig *r = *state;
	unsigned int round, id;
	pid_t pids[4];
	int i;

	for (round = 0; round < 3; round++) {
		struct rig_guest *g = rig_connected(r, 0);
		struct drv_blk_req req[16];
		struct drv_buf buf[16];

		submit(g, 16, req, buf);
		id = g->id;
		assert_int_equal(fx_domain_kill(r->w, id), 0);
		usleep(round * 20000);
		fx_domain_destroy(r->w, id, 0);
		rig_guest_gone(g);
		assert_true(rig_nothing_left(r, 2));
	}
	for (i = 0; i < 500 && rig_workers(r, pids, 4); i++)
		usleep(10000);
	assert_int_equal(rig_workers(r, pids, 4), 0);
}

/* Twenty times a guest: nothing accumulates. */
static void twenty_guests(void **state)
{
	struct rig *r = *state;
	unsigned int round, id;

	for (round = 0; round < 20; round++) {
		struct rig_guest *g = rig_connected(r, 0);

		rig_reads(g, round);
		id = g->id;
		if (round & 1)
			assert_int_equal(drv_dev_close(g->dev), 0);
		assert_int_equal(fx_domain_destroy(r->w, id, 10000), 0);
		rig_guest_gone(g);
	}
	assert_true(rig_nothing_left(r, 0));
}

/* ---- crashes of ours -------------------------------------------------------- */

/* The worker is killed under a load; every request comes back, exactly once. */
static void worker_killed(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	unsigned int packed, round, i;
	struct drv_used used;
	pid_t pid = 0;

	g->dev->timeout_ms = 30000;
	assert_int_equal(drv_dev_connect(g->dev), 0);
	for (packed = 0; packed < 2; packed++) {
		rig_up(g, packed ? ~0ull : ~BIT(VIRTIO_F_RING_PACKED), 64);
		for (round = 0; round < 2; round++) {
			struct drv_blk_req req[16];
			struct drv_buf buf[16];

			submit(g, 16, req, buf);
			assert_int_equal(rig_workers(r, &pid, 1), 1);
			kill(pid, SIGKILL);
			for (i = 0; i < 16; i++) {
				assert_int_equal(drv_queue_wait(&g->dev->queues[0], &used), 0);
				assert_int_equal(drv_blk_finish(&g->blk, &used)->result, 0);
			}
			assert_int_equal(drv_vring_get(&g->dev->queues[0].vr, &used), 0);
			for (i = 0; i < 16; i++)
				assert_int_equal(drv_free(&g->dev->gmem.mem, &buf[i]), 0);
			/* The state never left Connected; control messages are answered. */
			assert_int_equal(drv_dev_backend_state(g->dev), 4);
			assert_int_equal(drv_msg_ping(g->dev, round), 0);
		}
		assert_int_equal(drv_dev_reset(g->dev), 0);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* The daemon itself dies, and its successor carries on. */
static void daemon_killed(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	unsigned int round;

	g->dev->timeout_ms = 30000;
	for (round = 0; round < 2; round++) {
		struct drv_blk_req req[8];
		struct drv_buf buf[8];
		struct drv_used used;
		unsigned int i;

		rig_reads(g, 1);
		submit(g, 8, req, buf);
		rig_daemon_stop(r, round ? SIGTERM : SIGKILL);
		assert_int_equal(drv_dev_backend_state(g->dev), 4);
		rig_daemon_start(r);
		rig_daemon_ready(r);
		for (i = 0; i < 8; i++) {
			assert_int_equal(drv_queue_wait(&g->dev->queues[0], &used), 0);
			assert_int_equal(drv_blk_finish(&g->blk, &used)->result, 0);
		}
		for (i = 0; i < 8; i++)
			assert_int_equal(drv_free(&g->dev->gmem.mem, &buf[i]), 0);
		rig_reads(g, 2);
		assert_int_equal(drv_msg_ping(g->dev, round), 0);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* ---- where devices come from ------------------------------------------------- */

/* config() - an xl configuration for @name with one of our devices */
static void config(struct rig *r, const char *name, const char *image)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/xen/%s.cfg", r->dir, name);
	f = fopen(path, "w");
	fprintf(f, "name = \"%s\"\nmemory = 256\nvgrant = [ 'blk,target=%s' ]\n", name, image);
	fclose(f);
}

/* named() - guest 0, by name, as `xl create` makes it */
static struct rig_guest *named(struct rig *r, const char *name)
{
	struct fx_domain_config cfg = { .name = name };
	struct rig_guest *g = &r->guest[0];

	assert_int_equal(fx_domain_create(r->w, &cfg, &g->id), 0);
	assert_int_equal(fx_domain_open(r->w, g->id, &g->dom), 0);
	return g;
}

/* use() - wait for the nodes of a device, connect, read */
static void use(struct rig *r, struct rig_guest *g, const char *type, unsigned int id)
{
	struct drv_dev_config cfg = {
		.xen = drv_xen_of(g->dom), .type = type, .id = id, .timeout_ms = 10000
	};
	char path[128];

	snprintf(path, sizeof(path), "/local/domain/%u/device/%s/%u/state", g->id, type, id);
	assert_int_equal(fx_xs_wait(r->w, 0, path, 1u << 1, 10000), 1);
	assert_int_equal(drv_dev_open(&cfg, &g->dev), 0);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 0);
	rig_reads(g, 11);
}

/* vgrant = [...] in an xl configuration; the nodes that vgrantd made, it removes. */
static void from_xl_config(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g;
	char image[200], path[128];

	snprintf(image, sizeof(image), "%s/web.img", r->dir);
	rig_image(image, RIG_SECTORS, 1); /* the first domain made is number 1 */
	config(r, "web", image);
	g = named(r, "web");
	use(r, g, "virtio", RIG_ID);
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/%u", g->id, RIG_ID);
	/* libxl does not know this device: it only destroys the domain. */
	assert_int_equal(fx_domain_destroy(r->w, g->id, 10000), 0);
	assert_int_equal(fx_xs_wait(r->w, 0, path, 1u << 31, 10000), -ENOENT);
	rig_guest_gone(g);
	assert_true(rig_nothing_left(r, 0));
}

/* The same with xl's own virtio = [...]: those nodes are adopted, none is made. */
static void adopts_xl_virtio(void **state)
{
	struct fx_virtio_spec spec = { .id = 0, .type = "virtio,device2", .grant_usage = true };
	struct rig *r = *state;
	struct rig_guest *g;
	char image[200], path[128];

	snprintf(image, sizeof(image), "%s/db.img", r->dir);
	rig_image(image, RIG_SECTORS, 1);
	snprintf(path, sizeof(path), "%s/xen/db.cfg", r->dir);
	config(r, "db", image);
	{
		FILE *f = fopen(path, "a");

		fprintf(f, "virtio = [ 'backend=0,type=virtio,device2,transport=mmio,"
			   "grant_usage=1' ]\n");
		fclose(f);
	}
	g = named(r, "db");
	assert_int_equal(fx_add_virtio(r->w, g->id, &spec), 0);
	use(r, g, "virtio", 0);
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/%u", g->id, RIG_ID);
	assert_null(fx_xs_read(fx_xs(r->w), path));
	assert_int_equal(fx_domain_destroy(r->w, g->id, 10000), 0);
	rig_guest_gone(g);
}

/* disk = [ '...,specification=virtio,...' ] */
static void from_xl_disk(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	struct fx_disk_spec disk = { .id = 51712, .vdev = "xvda", .target = g->image };

	rig_image(g->image, RIG_SECTORS, g->id);
	assert_int_equal(fx_add_disk(r->w, g->id, &disk), 0);
	use(r, g, "virtio_disk", 51712);
	/* no-discard: the node has discard-enable = 0 */
	assert_false(g->dev->offered[0] & (1ull << VIRTIO_BLK_F_DISCARD));
	assert_true(g->dev->offered[0] & (1ull << VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(fx_domain_destroy(r->w, g->id, 10000), 0);
	rig_guest_gone(g);
	assert_true(rig_nothing_left(r, 0));
}

/* Another transport's device is left alone. */
static void not_ours(void **state)
{
	struct fx_virtio_spec spec = { .id = 3 };
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	char path[128];

	assert_int_equal(fx_add_virtio(r->w, g->id, &spec), 0);
	rig_reads(g, 1);
	usleep(100000);
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/3/state", g->id);
	assert_int_equal(fx_xs_read_int(fx_xs(r->w), path, 0), 1);
	snprintf(path, sizeof(path), "/local/domain/0/backend/virtio/%u/3/virtio-grant-version",
		 g->id);
	assert_int_equal(fx_xs_read_int(fx_xs(r->w), path, -1), -1);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* The backend runs in a domain without rights, and the guest is told so by backend-id. */
static void driver_domain(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g;
	struct drv_dev_config cfg;
	struct fx_stats st;
	unsigned int dd;
	char spec[300];
	const char *const keys[] = { "vgrant-config", spec, NULL };

	rig_daemon_stop(r, SIGTERM);
	assert_int_equal(fx_domain_create(r->w, NULL, &dd), 0);
	snprintf(spec, sizeof(spec), "%u", dd);
	setenv("FAKE_XEN_DOMID", spec, 1);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	unsetenv("FAKE_XEN_DOMID");
	g = rig_domain(r, 0);
	rig_image(g->image, RIG_SECTORS, g->id);
	snprintf(spec, sizeof(spec), "blk,target=%s", g->image);
	assert_int_equal(fx_add_device(r->w, g->id, "virtio", 0, dd, keys), 0);
	cfg = (struct drv_dev_config){ .xen = drv_xen_of(g->dom), .timeout_ms = 10000 };
	assert_int_equal(drv_dev_open(&cfg, &g->dev), 0);
	assert_int_equal(g->dev->backend, dd);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 0);
	rig_reads(g, 9);
	assert_int_equal(drv_dev_close(g->dev), 0);
	assert_int_equal(fx_domain_destroy(r->w, g->id, 10000), 0);
	rig_guest_gone(g);
	rig_daemon_stop(r, SIGTERM);
	fx_stats(r->w, dd, &st);
	assert_int_equal(st.mapped + st.ports, 0);
}

/* ---- sentences --------------------------------------------------------------- */

/* refused() - a device with this configuration is Closed, and says why */
static void refused(struct rig *r, const char *spec, const char *why)
{
	struct rig_guest *g = rig_domain(r, 0);
	char *text;

	rig_nodes(r, 0, spec);
	assert_int_equal(drv_dev_connect(g->dev), -ENODEV);
	assert_int_equal(drv_dev_backend_state(g->dev), 6);
	text = drv_dev_error(g->dev);
	assert_non_null(text);
	if (!strstr(text, why))
		fail_msg("'%s' says '%s', not '%s'", spec, text, why);
	assert_true(rig_logs(r, text));
	free(text);
	assert_int_equal(fx_domain_destroy(r->w, g->id, 10000), 0);
	rig_guest_gone(g);
}

static void bad_configurations(void **state)
{
	struct rig *r = *state;
	char spec[300];

	refused(r, "blk,target=/none/such.img", "/none/such.img");
	snprintf(spec, sizeof(spec), "blk,target=%s", r->dir);
	refused(r, spec, r->dir); /* a directory */
	refused(r, "blk", "target");
	refused(r, "nonsense,target=/x", "nonsense");
	refused(r, "blk,target=/x,colour=blue", "colour");
	refused(r, "blk,target=x.img", "begins with a slash");
	refused(r, "blk,target=phy:/dev/x", "xl's phy:");
}

/* descriptors() - what @pid has open from number @fd on, below @end, a line each; Return: how many */
static unsigned int descriptors(pid_t pid, int fd, int end, char text[8192])
{
	unsigned int n = 0;
	size_t len = 0;

	text[0] = '\0';
	for (; fd < end; fd++) {
		char name[64], target[512];
		ssize_t got;

		snprintf(name, sizeof(name), "/proc/%d/fd/%d", (int)pid, fd);
		got = readlink(name, target, sizeof(target) - 1);
		if (got < 0)
			continue;
		target[got] = '\0';
		len += (size_t)snprintf(text + len, 8192 - len, "%s\n", target);
		assert_true(len < 8192);
		n++;
	}
	return n;
}

/* own() - fails if @text, what a worker has, holds something that @others has, too */
static void own(char *text, const char *others)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		/* Kinds, not objects; and what stands for Xen's devices and its memory. */
		if (strncmp(line, "anon_inode:", 11) == 0 || strstr(line, "fake-xen") ||
		    strncmp(line, "/dev/null", 9) == 0)
			continue;
		if (strstr(others, line))
			fail_msg("a worker shares %s", line);
	}
}

/* A worker has its image, its end of a socket and a pipe to the log, nothing of another worker's or of
 * the supervisor's, and no record: that is mapped. */
static void descriptors_are_its_own(void **state)
{
	static char all[3][8192], copy[8192];
	struct rig *r = *state;
	struct rig_guest *a = rig_connected(r, 0), *b = rig_connected(r, 1);
	pid_t pids[4] = { 0 };

	rig_reads(a, 1);
	rig_reads(b, 1);
	assert_int_equal(rig_workers(r, pids, 4), 2);
	pids[2] = r->daemon;
	for (unsigned int i = 0; i < 3; i++)
		assert_true(descriptors(pids[i], 3, 256, all[i]) > 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_non_null(strstr(all[i], ".img"));
		assert_null(strstr(all[i], "/run"));
		/* The log is a file here: no worker may cut it, or punch holes into it. */
		assert_int_equal(descriptors(pids[i], 0, 3, copy), 3);
		assert_ptr_equal(strstr(copy, "/dev/null\npipe:"), copy);
		assert_null(strstr(copy, r->dir));
		for (unsigned int k = 0; k < 3; k++) {
			if (k == i)
				continue;
			memcpy(copy, all[i], sizeof(copy));
			own(copy, all[k]);
		}
	}
	assert_int_equal(drv_dev_close(a->dev), 0);
	assert_int_equal(drv_dev_close(b->dev), 0);
}

static off_t allocated(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_blocks * 512;
}

/* What a guest discards of a block device is given back, by way of the ring that has this one file; which
 * the kernel holds for a while when its worker has died, and the next one waits for. */
static void discards_of_a_device(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_domain(r, 0);
	char spec[64], device[32];
	pid_t worker = 0;
	int back, fd;

	rig_image(g->image, RIG_SECTORS, g->id);
	back = open(g->image, O_RDWR | O_CLOEXEC);
	fd = loop_device(back, device, sizeof(device));
	close(back);
	if (fd < 0) {
		rig_guest_gone(g);
		skip();
	}
	snprintf(spec, sizeof(spec), "blk,target=%s", device);
	rig_nodes(r, 0, spec);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, ~0ull, 64);
	assert_true(g->dev->offered[0] & (1ull << VIRTIO_BLK_F_DISCARD));
	for (unsigned int life = 0; life < 2; life++) {
		rig_reads(g, 3);
		assert_true(allocated(g->image) >= (1024 - 512 * (off_t)life) << 10);
		assert_int_equal(drv_blk_discard(&g->blk, 1024 - 1024 * life + 8, 1008), 0);
		assert_true(allocated(g->image) < (1024 - 512 * (off_t)life - 400) << 10);
		if (life)
			break;
		assert_int_equal(rig_workers(r, &worker, 1), 1);
		kill(worker, SIGKILL);
	}
	assert_int_equal(drv_dev_close(g->dev), 0);
	close(fd);
}

static void two_daemons(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct rig second = *r;
	int status, i;

	rig_daemon_start(&second);
	for (i = 0; i < 500 && waitpid(second.daemon, &status, WNOHANG) == 0; i++)
		usleep(10000);
	assert_true(i < 500);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status));
	rig_reads(g, 3); /* the first does not mind */
	assert_int_equal(drv_dev_close(g->dev), 0);
}

static void no_xen(void **state)
{
	struct rig *r = *state, alone = *r;
	int status = 0, i;

	unsetenv("FAKE_XEN_DIR");
	snprintf(alone.dir, sizeof(alone.dir), "%s", r->dir);
	snprintf(alone.log, sizeof(alone.log), "%s/log2", r->dir);
	rig_daemon_start(&alone);
	setenv("FAKE_XEN_DIR", fx_world_dir(r->w), 1);
	for (i = 0; i < 500 && waitpid(alone.daemon, &status, WNOHANG) == 0; i++)
		usleep(10000);
	assert_true(i < 500);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status));
	assert_true(rig_logs(&alone, "xenstore"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_begin, rig_end)
	const struct CMUnitTest tests[] = {
		T(reads_and_writes),
		T(every_ring),
		T(image_grows),
		T(data_is_mapped),
		T(at_depth),
		T(hypercalls_per_request),
		T(several_guests),
		T(limits_of_a_group),
		T(failures_are_told),
		T(scheduled),
		T(reset_in_mid_io),
		T(queue_reset),
		T(reconnects),
		T(crash_and_connect),
		T(destroyed_in_mid_io),
		T(vanishes),
		T(twenty_guests),
		T(worker_killed),
		T(daemon_killed),
		T(bad_configurations),
		T(descriptors_are_its_own),
		T(discards_of_a_device),
		T(two_daemons),
		T(no_xen),
		T(from_xl_config),
		T(adopts_xl_virtio),
		T(from_xl_disk),
		T(not_ours),
		T(driver_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
