// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The blk device, driven as a guest would, over direct and over copied memory,
 * split and packed; every blk row of the list of what a hostile guest does.
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
#include <sys/file.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/blk/config.h"
#include "tests/driver/devhelp.h"
#include "tests/driver/testport.h"

#define IMAGE	 "disk.img"
#define SECTORS	 2048u
#define TARGET	 "blk,target=" IMAGE
#define NO_FLUSH (TP_ALL & ~VG_FEATURE(VIRTIO_BLK_F_FLUSH))

/* ---- what the loop is asked for ------------------------------------------- */

static struct {
	unsigned writes, durable_writes, syncs, fallocates, discards;
	bool no_fallocate, no_discard; /* as on a file system, a kernel, that cannot */
	const uint8_t *memory;	       /* the guest's, if reads into it are to be counted */
	unsigned reads, into_guest;
	const uint8_t *choosy; /* the guest's, if the disk refuses it */
	unsigned refused;
} seen;

void __real_vg_loop_readv(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
			  unsigned niov, uint64_t offset);
void __wrap_vg_loop_readv(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
			  unsigned niov, uint64_t offset);

void __real_vg_loop_writev(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
			   unsigned niov, uint64_t offset, int rw_flags);
void __wrap_vg_loop_writev(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
			   unsigned niov, uint64_t offset, int rw_flags);
void __real_vg_loop_fdatasync(struct vg_loop *loop, struct vg_io *io, int fd);
void __wrap_vg_loop_fdatasync(struct vg_loop *loop, struct vg_io *io, int fd);
void __real_vg_loop_fallocate(struct vg_loop *loop, struct vg_io *io, int fd, int mode,
			      uint64_t offset, uint64_t len);
void __wrap_vg_loop_fallocate(struct vg_loop *loop, struct vg_io *io, int fd, int mode,
			      uint64_t offset, uint64_t len);
void __real_vg_loop_discard(struct vg_loop *loop, struct vg_io *io, int fd, uint64_t offset,
			    uint64_t len);
void __wrap_vg_loop_discard(struct vg_loop *loop, struct vg_io *io, int fd, uint64_t offset,
			    uint64_t len);

/* A disk that takes no buffers of the guest's, though it had said that it would. */
static struct vg_io *refused_io;

static void refuse(struct vg_timer *t)
{
	(void)t;
	refused_io->done(refused_io, -EINVAL);
}

static struct vg_timer refusal = { .expired = refuse };

/* Return: whether it is refused: @io is done then, in a later turn. */
static bool choosy(struct vg_loop *loop, struct vg_io *io, const struct iovec *iov)
{
	const uint8_t *p = iov[0].iov_base;

	if (!seen.choosy || p < seen.choosy || p >= seen.choosy + TP_MEMORY)
		return false;
	seen.refused++;
	refused_io = io;
	vg_loop_timer(loop, &refusal, 1);
	return true;
}

void __wrap_vg_loop_readv(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
			  unsigned niov, uint64_t offset)
{
	const uint8_t *p = iov[0].iov_base;

	seen.reads++;
	seen.into_guest += seen.memory && p >= seen.memory && p < seen.memory + TP_MEMORY;
	if (!choosy(loop, io, iov))
		__real_vg_loop_readv(loop, io, fd, iov, niov, offset);
}

void __wrap_vg_loop_writev(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
			   unsigned niov, uint64_t offset, int rw_flags)
{
	seen.writes++;
	seen.durable_writes += rw_flags & RWF_DSYNC ? 1 : 0;
	if (!choosy(loop, io, iov))
		__real_vg_loop_writev(loop, io, fd, iov, niov, offset, rw_flags);
}

void __wrap_vg_loop_fdatasync(struct vg_loop *loop, struct vg_io *io, int fd)
{
	seen.syncs++;
	__real_vg_loop_fdatasync(loop, io, fd);
}

/* A regular file that has no fallocate: its answer is EOPNOTSUPP. */
static int cannot_fd(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/proc/self/comm", O_WRONLY | O_CLOEXEC);
	return fd;
}

void __wrap_vg_loop_fallocate(struct vg_loop *loop, struct vg_io *io, int fd, int mode,
			      uint64_t offset, uint64_t len)
{
	seen.fallocates++;
	__real_vg_loop_fallocate(loop, io, seen.no_fallocate ? cannot_fd() : fd, mode, offset, len);
}

void __wrap_vg_loop_discard(struct vg_loop *loop, struct vg_io *io, int fd, uint64_t offset,
			    uint64_t len)
{
	seen.discards++;
	__real_vg_loop_discard(loop, io, seen.no_discard ? cannot_fd() : fd, offset, len);
}

/* ---- rigs ----------------------------------------------------------------- */

static int make_image(void **state)
{
	int fd = open(IMAGE, O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)state;
	memset(&seen, 0, sizeof(seen));
	if (fd < 0 || ftruncate(fd, SECTORS * DRV_SECTOR) < 0)
		return -1;
	close(fd);
	return 0;
}

static void read_image(uint64_t sector, void *buf, size_t len)
{
	int fd = open(IMAGE, O_RDONLY);

	assert_int_equal(pread(fd, buf, len, (off_t)(sector * DRV_SECTOR)), len);
	close(fd);
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed + i * 7 + i / 251);
}

/* One request with @n data segments of @len bytes from @b. Return: its result. */
static int request(struct drv_blk *blk, uint32_t type, uint64_t sector, const struct drv_buf *b,
		   uint32_t len, unsigned n, bool dev_writes, unsigned flags)
{
	struct drv_blk_req req = { .type = type,
				   .sector = sector,
				   .dev_writes = dev_writes,
				   .segs = n,
				   .add_flags = flags };

	for (unsigned i = 0; i < n; i++)
		req.seg[i] = (struct drv_seg){ .addr = b->addr + i * len, .len = len };
	return drv_blk_do(blk, &req);
}

/** blk_rig - a disk, started, and requests on its first queue; tp_close() ends it */
static void blk_rig(struct tp *tp, struct drv_blk *blk, enum tp_manner manner, const char *spec,
		    uint64_t features, unsigned size)
{
	tp_open(tp, manner, spec);
	tp_start(tp, features, size);
	tp_blk(tp, 0, blk);
}

/** need_discard - skip a test where the file system cannot punch holes */
static void need_discard(struct tp *tp)
{
	if (tp->features & VG_FEATURE(VIRTIO_BLK_F_DISCARD))
		return;
	tp_close(tp);
	skip();
}

static void roundtrip(enum tp_manner manner, uint64_t features)
{
	static uint8_t out[65536], in[65536];
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;
	char id[21];

	blk_rig(&tp, &blk, manner, TARGET ",serial=S123", features, 64);
	for (unsigned i = 0; i < 20; i++) {
		size_t len = i % 2 ? 512 : sizeof(out);

		fill(out, len, i);
		assert_int_equal(drv_blk_write(&blk, i * 64, out, len), 0);
		assert_int_equal(drv_blk_read(&blk, i * 64, in, len), 0);
		assert_memory_equal(in, out, len);
		read_image(i * 64, in, len);
		assert_memory_equal(in, out, len);
	}
	assert_int_equal(drv_blk_flush(&blk), 0);
	assert_int_equal(drv_blk_get_id(&blk, id), 0);
	assert_string_equal(id, "S123");

	/* Scattered, direct and through an indirect table. */
	assert_int_equal(drv_alloc(&tp.flat.mem, 32 * 1024, 4096, true, &b), 0);
	fill(b.virt, b.len, 99);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_OUT, 8, &b, 1024, 32, false, 0), 0);
	read_image(8, in, 32 * 1024);
	assert_memory_equal(in, b.virt, 32 * 1024);
	memset(b.virt, 0, b.len);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_IN, 8, &b, 512, 60, true,
				 tp.vr[0].cfg.indirect ? DRV_ADD_INDIRECT : 0),
			 0);
	assert_memory_equal(in, b.virt, 60 * 512);
	drv_free(&tp.flat.mem, &b);
	assert_int_equal(dh_stats(&tp.dev).errors, 0);
	tp_close(&tp);
}

static void test_roundtrip(void **state)
{
	static const uint64_t sets[] = {
		TP_ALL, /* packed, IN_ORDER */
		TP_ALL & ~VG_FEATURE(VG_F_IN_ORDER),
		TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED),
		TP_ALL & ~(VG_FEATURE(VG_F_RING_PACKED) | VG_FEATURE(VG_F_EVENT_IDX) |
			   VG_FEATURE(VG_F_INDIRECT_DESC) | VG_FEATURE(VG_F_IN_ORDER)),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(sets); i++) {
		roundtrip(TP_DIRECT, sets[i]);
		roundtrip(TP_COPY, sets[i]);
	}
}

/* Many requests at once, on several queues: one hypercall serves many. */
static void test_batches(void **state)
{
	enum { N = 30, QUEUES = 4 };
	static struct drv_blk_req req[QUEUES][N];
	struct drv_blk blk[QUEUES];
	struct drv_used used;
	struct drv_buf b;
	struct tp tp;
	uint64_t before;

	(void)state;
	tp_open(&tp, TP_COPY, TARGET ",queues=4");
	tp_start(&tp, TP_ALL, 128);
	assert_true(tp.features & VG_FEATURE(VIRTIO_BLK_F_MQ));
	assert_int_equal(drv_alloc(&tp.flat.mem, QUEUES * N * 4096, 4096, true, &b), 0);
	fill(b.virt, b.len, 5);
	for (unsigned q = 0; q < QUEUES; q++) {
		tp_blk(&tp, q, &blk[q]);
		for (unsigned i = 0; i < N; i++) {
			req[q][i] = (struct drv_blk_req){
				.type = VIRTIO_BLK_T_OUT,
				.sector = (q * N + i) * 8,
				.seg = { { b.addr + (q * N + i) * 4096, 4096 } },
				.segs = 1,
			};
			assert_int_equal(drv_blk_submit(&blk[q], &req[q][i]), 0);
		}
		/* Indirect tables or not, 30 requests are taken with one copy of headers and one of
		 * data. (How many copies bring the answers back is up to the disk's timing.) */
		before = tp.view[0].mem.stats.copies;
		tp_kick(&tp, q);
		assert_true(tp.view[0].mem.stats.copies - before <= 2);
	}
	for (unsigned q = 0; q < QUEUES; q++) {
		for (unsigned i = 0; i < N; i++) {
			tp_wait(&tp, q, &used);
			assert_int_equal(drv_blk_finish(&blk[q], &used)->result, 0);
		}
	}
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

/* FLUSH not negotiated, or writeback switched off: each write is durable (RWF_DSYNC). */
static void test_cache_modes(void **state)
{
	uint8_t wce = 1, data[512] = { 1 };
	char text[128];
	struct drv_blk blk;
	struct tp tp;
	uint32_t off = offsetof(struct virtio_blk_config, wce);

	(void)state;
	tp_open(&tp, TP_COPY, TARGET);
	tp_start(&tp, NO_FLUSH, 16);
	tp.dev.ops->describe(&tp.dev, text, sizeof(text));
	assert_non_null(strstr(text, "write-through"));
	tp_reset(&tp);

	tp_start(&tp, TP_ALL, 16);
	tp_blk(&tp, 0, &blk);
	tp.dev.ops->describe(&tp.dev, text, sizeof(text));
	assert_null(strstr(text, "write-through"));
	assert_int_equal(vg_dev_config_read(&tp.dev, off, &wce, 1), 0);
	assert_int_equal(wce, 1);
	wce = 0;
	assert_int_equal(vg_dev_config_write(&tp.dev, off, &wce, 1), 0);
	tp.dev.ops->describe(&tp.dev, text, sizeof(text));
	assert_non_null(strstr(text, "write-through"));
	assert_int_equal(drv_blk_write(&blk, 0, data, 512), 0);
	/* A successor of this worker must know. */
	assert_int_not_equal(tp.dev.saved[0], 0);
	assert_int_equal(vg_dev_config_write(&tp.dev, 0, &wce, 1), -EPERM);
	tp_reset(&tp);
	assert_int_equal(vg_dev_config_read(&tp.dev, off, &wce, 1), 0);
	assert_int_equal(wce, 1);
	tp_close(&tp);
}

static const uint8_t block[4096] = { 1, 2, 3 };

/* cache=: what the driver is offered, and what comes of its writes and flushes. */
static void test_cache_words(void **state)
{
	static const struct {
		const char *spec;
		bool flush;		 /* is offered */
		unsigned durable, syncs; /* of one write and, where it can, one flush */
	} cases[] = {
		{ TARGET ",cache=writeback", true, 0, 1 },
		{ TARGET ",direct=0", true, 0, 1 },
		{ TARGET ",cache=none", true, 0, 1 },
		{ TARGET ",direct", true, 0, 1 },
		{ TARGET ",cache=writethrough", false, 1, 0 },
		{ TARGET ",cache=unsafe", true, 0, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(cases); i++) {
		struct drv_blk blk;
		struct tp tp;

		seen.durable_writes = seen.syncs = 0;
		blk_rig(&tp, &blk, TP_COPY, cases[i].spec, TP_ALL, 16);
		assert_int_equal(!!(tp.features & VG_FEATURE(VIRTIO_BLK_F_FLUSH)), cases[i].flush);
		assert_int_equal(!!(tp.features & VG_FEATURE(VIRTIO_BLK_F_CONFIG_WCE)),
				 cases[i].flush);
		assert_int_equal(drv_blk_write(&blk, 0, block, 4096), 0);
		if (cases[i].flush)
			assert_int_equal(drv_blk_flush(&blk), 0);
		assert_int_equal(seen.durable_writes, cases[i].durable);
		assert_int_equal(seen.syncs, cases[i].syncs);
		tp_close(&tp);
	}
}

/* Another host may serve the image after a reset: what was not flushed is then. */
static void test_reset_syncs(void **state)
{
	static const struct {
		const char *spec;
		uint64_t features;
		bool flushes; /* the driver does, after its write */
		unsigned syncs;
	} cases[] = {
		{ TARGET ",cache=writeback", TP_ALL, false, 1 },
		{ TARGET ",cache=writeback", TP_ALL, true, 0 },
		{ TARGET ",cache=none", TP_ALL, false, 1 },
		{ TARGET ",cache=writethrough", TP_ALL, false, 0 },
		{ TARGET ",cache=writeback", NO_FLUSH, false, 0 },
		{ TARGET ",cache=unsafe", TP_ALL, false, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(cases); i++) {
		struct drv_blk blk;
		struct tp tp;

		blk_rig(&tp, &blk, TP_COPY, cases[i].spec, cases[i].features, 16);
		assert_int_equal(drv_blk_write(&blk, 0, block, 4096), 0);
		if (cases[i].flushes)
			assert_int_equal(drv_blk_flush(&blk), 0);
		seen.syncs = 0;
		tp_reset(&tp);
		assert_int_equal(seen.syncs, cases[i].syncs);
		tp_close(&tp);
	}
}

/* A ring that is looked at: a request that nobody tells of is served. */
static void looked_at(const char *spec, uint64_t features)
{
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_FLUSH };
	struct vg_queue *queue;
	struct drv_used used;
	struct drv_blk blk;
	struct tp tp;

	blk_rig(&tp, &blk, TP_COPY, spec, features, 16);
	queue = &tp.dev.queue[0];
	/* Laps of the ring; but where requests may gather (pace.h), before it is tried whether they do. */
	for (unsigned i = 0; i < (strstr(spec, "wait=0") ? 40 : 3); i++) {
		/* A driver that is quick, for one to whom a notification is so dear. */
		queue->spin = (struct vg_spin){ .reply = 10 * NS_PER_S };
		queue->ctx->notify_ns = NS_PER_S;
		assert_int_equal(drv_blk_write(&blk, 0, block, 512), 0);
		tp_settle(&tp);
		assert_non_null(queue->poller.pprev);
		assert_int_equal(drv_blk_submit(&blk, &req), 0);
		assert_false(drv_vring_publish(&tp.vr[0]));
		tp_wait(&tp, 0, &used);
		assert_ptr_equal(drv_blk_finish(&blk, &used), &req);
		assert_int_equal(req.result, 0);
	}
	tp_stop_queue(&tp, 0);
	assert_null(queue->poller.pprev);
	tp_close(&tp);
}

/* One that is not: it is asked for a notification, whatever the driver is like. */
static void told_of(const char *spec)
{
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_FLUSH };
	struct vg_queue *queue;
	struct drv_used used;
	struct drv_blk blk;
	struct tp tp;

	blk_rig(&tp, &blk, TP_COPY, spec, TP_ALL, 16);
	queue = &tp.dev.queue[0];
	queue->spin = (struct vg_spin){ .reply = 10 * NS_PER_S };
	queue->ctx->notify_ns = strstr(spec, "off") ? NS_PER_S : NS_PER_S / VG_PATIENCE;
	assert_int_equal(drv_blk_write(&blk, 0, block, 512), 0);
	tp_settle(&tp);
	assert_null(queue->poller.pprev);
	assert_int_equal(drv_blk_submit(&blk, &req), 0);
	assert_true(drv_vring_publish(&tp.vr[0]));
	tp_kick_anyway(&tp, 0);
	tp_wait(&tp, 0, &used);
	tp_close(&tp);
}

static void test_poll(void **state)
{
	static const char *const specs[] = { TARGET, TARGET ",poll=always,wait=0",
					     TARGET ",poll=auto,wait=0" };

	(void)state;
	for (unsigned i = 0; i < COUNT(specs); i++) {
		looked_at(specs[i], TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED));
		looked_at(specs[i], TP_ALL);
		looked_at(specs[i], TP_ALL & ~VG_FEATURE(VG_F_EVENT_IDX));
		looked_at(specs[i],
			  TP_ALL & ~(VG_FEATURE(VG_F_EVENT_IDX) | VG_FEATURE(VG_F_RING_PACKED)));
	}
	told_of(TARGET ",poll=off");
	told_of(TARGET); /* who is slower than notifications are dear */
}

/* A queue of a device that broke is left alone, whatever lies in its ring: it does not turn for ever. */
static void test_broken_is_left(void **state)
{
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_FLUSH };
	struct drv_used used;
	struct drv_blk blk;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET ",wait=0", TP_ALL, 16);
	assert_int_equal(drv_blk_submit(&blk, &req), 0);
	drv_vring_publish(&tp.vr[0]);
	atomic_store(&tp.dev.broken, true);
	tp.dev.ops->queue_ready(&tp.dev, 0);
	assert_null(tp.dev.queue[0].poller.pprev);
	atomic_store(&tp.dev.broken, false);
	tp_kick_anyway(&tp, 0);
	tp_wait(&tp, 0, &used);
	tp_close(&tp);
}

/* The time is over: then a notification is asked for, and nothing that came meanwhile is missed. */
static void test_poll_ends(void **state)
{
	struct vg_queue *queue;
	struct drv_blk blk;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET ",wait=0", TP_ALL, 16);
	queue = &tp.dev.queue[0];
	for (unsigned i = 0; i < 200; i++) {
		queue->spin = (struct vg_spin){ .reply = 1000 + i * 1000 };
		queue->ctx->notify_ns = NS_PER_S;
		assert_int_equal(drv_blk_write(&blk, 0, block, 512), 0);
	}
	queue->spin = (struct vg_spin){ .reply = 1000 };
	assert_int_equal(drv_blk_write(&blk, 0, block, 512), 0);
	while (queue->poller.pprev)
		assert_true(vg_loop_turn(tp.loop, false) >= 0);
	assert_int_equal(queue->spin.skip, 1);
	assert_int_equal(drv_blk_write(&blk, 0, block, 512), 0);
	tp_close(&tp);
}

static void test_config_space(void **state)
{
	struct blk_config c;
	struct tp tp;

	(void)state;
	tp_open(&tp, TP_COPY, TARGET ",queues=3");
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(vg_dev_config_read(&tp.dev, 0, &c, sizeof(c)), 0);
	assert_int_equal(le64toh(c.capacity), SECTORS);
	assert_int_equal(le32toh(c.blk_size), 512);
	assert_int_equal(le16toh(c.num_queues), 3);
	assert_int_equal(le32toh(c.size_max), 4 << 20);
	assert_int_equal(le16toh(c.geometry.cylinders), SECTORS / 16 / 63);
	assert_int_equal(c.geometry.heads, 16);
	assert_int_equal(c.geometry.sectors, 63);
	/* Odd offsets and sizes work; past the end fails. */
	assert_int_equal(vg_dev_config_read(&tp.dev, 3, &c, 5), 0);
	assert_int_equal(vg_dev_config_read(&tp.dev, sizeof(c), &c, 0), 0);
	assert_int_equal(vg_dev_config_read(&tp.dev, sizeof(c) - 1, &c, 2), -EINVAL);
	assert_int_equal(vg_dev_config_read(&tp.dev, UINT32_MAX, &c, 2), -EINVAL);
	assert_int_equal(vg_dev_config_write(&tp.dev, sizeof(c), &c, 1), -EINVAL);
	tp_close(&tp);
}

static void test_read_only(void **state)
{
	uint8_t data[512];
	struct drv_blk blk;
	struct tp tp, second;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET ",readonly", TP_ALL, 16);
	assert_true(tp.features & VG_FEATURE(VIRTIO_BLK_F_RO));
	assert_int_equal(drv_blk_read(&blk, 0, data, 512), 0);
	assert_int_equal(drv_blk_write(&blk, 0, data, 512), -EIO);
	assert_int_equal(drv_blk_flush(&blk), 0);
	/* Readers may share; a writer may not join them. */
	tp_open(&second, TP_COPY, TARGET ",readonly");
	tp_close(&second);
	assert_int_equal(tp_try_open(&second, TP_COPY, TARGET, NULL), -EBUSY);
	tp_close(&tp);
}

/* Two who write one image both say that they share it; nobody else joins them, nor they anybody. */
static void shared(const char *target)
{
	static struct tp tp, second, third;
	uint8_t data[512] = { 3 }, back[512];
	char spec[200], share[220], readonly[220];
	struct drv_blk one, two;
	struct vg_err err;

	snprintf(spec, sizeof(spec), "blk,target=%s", target);
	snprintf(share, sizeof(share), "%s,shareable", spec);
	snprintf(readonly, sizeof(readonly), "%s,readonly", spec);
	blk_rig(&tp, &one, TP_COPY, share, TP_ALL, 16);
	assert_int_equal(drv_blk_write(&one, 5, data, sizeof(data)), 0);
	blk_rig(&second, &two, TP_COPY, share, TP_ALL, 16);
	assert_int_equal(drv_blk_read(&two, 5, back, sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(data));
	assert_int_equal(tp_try_open(&third, TP_COPY, spec, NULL), -EBUSY);
	assert_int_equal(tp_try_open(&third, TP_COPY, readonly, &err), -EBUSY);
	assert_non_null(strstr(err.text, "says shareable"));
	tp_close(&tp);
	assert_int_equal(tp_try_open(&third, TP_COPY, spec, NULL), -EBUSY);
	tp_close(&second);
	tp_open(&tp, TP_COPY, spec);
	assert_int_equal(tp_try_open(&third, TP_COPY, share, NULL), -EBUSY);
	tp_close(&tp);
	tp_open(&tp, TP_COPY, readonly);
	assert_int_equal(tp_try_open(&third, TP_COPY, share, &err), -EBUSY);
	assert_non_null(strstr(err.text, "says shareable"));
	tp_close(&tp);
}

static void test_shareable(void **state)
{
	(void)state;
	shared(IMAGE);
}

static void test_discard(void **state)
{
	uint8_t data[8192], zero[8192] = { 0 };
	struct drv_blk blk;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	need_discard(&tp);
	fill(data, sizeof(data), 1);
	assert_int_equal(drv_blk_write(&blk, 16, data, sizeof(data)), 0);
	assert_int_equal(drv_blk_write_zeroes(&blk, 16, 8, true), 0);
	assert_int_equal(drv_blk_read(&blk, 16, data, sizeof(data)), 0);
	assert_memory_equal(data, zero, 4096);
	assert_memory_not_equal(data + 4096, zero, 4096);
	assert_int_equal(drv_blk_discard(&blk, 16, 16), 0);
	/* Hostile ranges: beyond the end, wrapping, huge, none at all. */
	assert_int_equal(drv_blk_discard(&blk, SECTORS - 1, 2), -EIO);
	assert_int_equal(drv_blk_discard(&blk, UINT64_MAX, 2), -EIO);
	assert_int_equal(drv_blk_discard(&blk, 0, UINT32_MAX), -EIO);
	assert_int_equal(drv_blk_write_zeroes(&blk, UINT64_MAX - 1, UINT32_MAX, false), -EIO);
	assert_int_equal(drv_blk_discard(&blk, 0, 0), -EIO);
	assert_false(tp.dev.status & VG_STATUS_NEEDS_RESET);
	tp_close(&tp);
}

/* ---- what a hostile guest does ------------------------------------------- */

static void test_hostile_ranges(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} bad[] = {
		{ SECTORS, 512 },
		{ SECTORS - 1, 1024 },
		{ UINT64_MAX, 512 },
		{ UINT64_MAX / 512, 512 },
		{ 1ULL << 55, 512 },
		{ 0, 511 },
		{ 0, 1 },
		{ 0, 513 },
	};
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(request(&blk, VIRTIO_BLK_T_IN, bad[i].sector, &b, bad[i].len, 1,
					 true, 0),
				 -EIO);
		assert_int_equal(request(&blk, VIRTIO_BLK_T_OUT, bad[i].sector, &b, bad[i].len, 1,
					 false, 0),
				 -EIO);
	}
	/* Without data at all. */
	assert_int_equal(request(&blk, VIRTIO_BLK_T_IN, 0, &b, 0, 0, true, 0), -EIO);
	/* The device is none the worse. */
	assert_int_equal(request(&blk, VIRTIO_BLK_T_IN, 0, &b, 512, 1, true, 0), 0);
	assert_false(tp.dev.status & VG_STATUS_NEEDS_RESET);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

static void test_hostile_types(void **state)
{
	static const uint32_t types[] = { 2, 3, 5, 6, 7, 9, 10, 12, 15, 0x80000000, UINT32_MAX };
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	for (size_t i = 0; i < COUNT(types); i++)
		assert_int_equal(request(&blk, types[i], 0, &b, 512, 1, true, 0), -EOPNOTSUPP);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

static void test_hostile_short_id(void **state)
{
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET ",serial=ABCDEFGH", TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	memset(b.virt, 'x', 64);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_GET_ID, 0, &b, 4, 1, true, 0), 0);
	assert_memory_equal(b.virt, "ABCDxxxx", 8);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_GET_ID, 0, &b, 0, 0, true, 0), 0);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_GET_ID, 0, &b, 20, 1, true, 0), 0);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

/* Chains that are no request: the device stops for this guest, until it is reset. */
static void no_request(const struct drv_seg *out, unsigned n_out, const struct drv_seg *in,
		       unsigned n_in, struct tp *tp)
{
	uint8_t data[512];
	struct drv_blk blk;
	int token;

	assert_true(drv_vring_add(&tp->vr[0], out, n_out, in, n_in, &token, 0) >= 0);
	tp_kick(tp, 0);
	tp_settle(tp);
	assert_true(tp->dev.status & VG_STATUS_NEEDS_RESET);
	tp_reset(tp);
	tp_start(tp, TP_ALL, 16);
	tp_blk(tp, 0, &blk);
	assert_int_equal(drv_blk_read(&blk, 0, data, 512), 0);
}

static void test_hostile_no_request(void **state)
{
	struct drv_buf b;
	struct tp tp;

	(void)state;
	tp_open(&tp, TP_COPY, TARGET);
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	const struct drv_seg hdr = { b.addr, 16 }, shorter = { b.addr, 15 },
			     one = { b.addr + 64, 1 };

	no_request(&hdr, 1, NULL, 0, &tp); /* no status byte */
	no_request(NULL, 0, &one, 1, &tp); /* no header */
	no_request(&shorter, 1, &one, 1, &tp);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

/* Data that cannot be copied is an I/O error of that request, and never reads as success. */
static void test_hostile_revoked_data(void **state)
{
	struct drv_blk blk;
	struct drv_buf b, ok;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &ok), 0);
	tp_revoke(&tp, b.addr, 4096, true); /* read-only where the device must write */
	assert_int_equal(request(&blk, VIRTIO_BLK_T_IN, 0, &b, 4096, 1, true, 0), -EIO);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_OUT, 0, &b, 4096, 1, false, 0), 0);
	tp.n_revoked = 0;
	tp_revoke(&tp, b.addr, 4096, false);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_IN, 0, &b, 4096, 1, true, 0), -EIO);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_OUT, 0, &b, 4096, 1, false, 0), -EIO);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_IN, 0, &ok, 4096, 1, true, 0), 0);
	assert_false(tp.dev.status & VG_STATUS_NEEDS_RESET);
	drv_free(&tp.flat.mem, &b);
	drv_free(&tp.flat.mem, &ok);
	tp_close(&tp);
}

/* A request that is larger than all bounce memory. */
static void test_hostile_huge_request(void **state)
{
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_IN, .dev_writes = true, .segs = 60 };
	struct drv_blk blk;
	struct drv_buf b;
	uint8_t data[512];
	struct tp tp;

	(void)state;
	assert_int_equal(truncate(IMAGE, 256 << 20), 0);
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 64);
	assert_int_equal(drv_alloc(&tp.flat.mem, 1 << 20, 4096, true, &b), 0);
	for (unsigned i = 0; i < req.segs; i++)
		req.seg[i] = (struct drv_seg){ b.addr, 1 << 20 };
	assert_int_equal(drv_blk_do(&blk, &req), -EIO);
	assert_int_equal(drv_blk_read(&blk, 0, data, 512), 0);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

/* A queue has all bounce memory out; another, which got none, goes on as soon as there is some. */
static void test_queues_share_bounce_memory(void **state)
{
	enum { LARGE = 16, BYTES = 4 << 20 }; /* more than all bounce memory */
	static struct drv_blk_req req[LARGE], small;
	struct drv_blk all, other;
	struct drv_used u;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	assert_int_equal(truncate(IMAGE, 64 << 20), 0);
	tp_open(&tp, TP_COPY, TARGET ",queues=2");
	tp_start(&tp, TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED), 64);
	tp_blk(&tp, 0, &all);
	tp_blk(&tp, 1, &other);
	assert_int_equal(drv_alloc(&tp.flat.mem, BYTES, 4096, true, &b), 0);
	for (unsigned i = 0; i < LARGE; i++) {
		req[i] = (struct drv_blk_req){ .type = VIRTIO_BLK_T_IN,
					       .dev_writes = true,
					       .segs = 1,
					       .seg = { { b.addr, BYTES } } };
		assert_int_equal(drv_blk_submit(&all, &req[i]), 0);
	}
	tp_kick(&tp, 0);
	small = (struct drv_blk_req){
		.type = VIRTIO_BLK_T_IN, .dev_writes = true, .segs = 1, .seg = { { b.addr, 512 } }
	};
	assert_int_equal(drv_blk_submit(&other, &small), 0);
	tp_kick(&tp, 1);
	for (unsigned i = 0; i < LARGE; i++) {
		tp_wait(&tp, 0, &u);
		assert_int_equal(drv_blk_finish(&all, &u)->result, 0);
	}
	tp_wait(&tp, 1, &u);
	assert_int_equal(drv_blk_finish(&other, &u)->result, 0);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

/* A chain is as long as seg_max allows, through a table, on rings that are smaller, and larger. */
static void test_rings_of_other_sizes(void **state)
{
	static const struct {
		const char *spec;
		unsigned ring;
	} cases[] = { { TARGET, 16 },
		      { TARGET, 64 },
		      { TARGET ",queue-size=2", 2 },
		      { TARGET ",queue-size=4096", 4096 } };
	static uint8_t data[512 * 60];
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	for (unsigned i = 0; i < 2 * COUNT(cases); i++) {
		uint64_t want = i & 1 ? TP_ALL : TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED);

		blk_rig(&tp, &blk, TP_COPY, cases[i / 2].spec, want, cases[i / 2].ring);
		assert_int_equal(drv_alloc(&tp.flat.mem, sizeof(data), 4096, true, &b), 0);
		fill(b.virt, sizeof(data), i);
		fill(data, sizeof(data), i);
		assert_int_equal(request(&blk, VIRTIO_BLK_T_OUT, 8, &b, 512, 60, false,
					 DRV_ADD_INDIRECT),
				 0);
		memset(b.virt, 0, sizeof(data));
		assert_int_equal(
			request(&blk, VIRTIO_BLK_T_IN, 8, &b, 512, 60, true, DRV_ADD_INDIRECT), 0);
		assert_memory_equal(b.virt, data, sizeof(data));
		assert_false(tp.dev.status & VG_STATUS_NEEDS_RESET);
		drv_free(&tp.flat.mem, &b);
		tp_close(&tp);
	}
}

static void test_image_shrinks(void **state)
{
	struct drv_blk blk;
	uint8_t data[4096];
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	assert_int_equal(truncate(IMAGE, 8 * 512 + 100), 0);
	assert_int_equal(drv_blk_read(&blk, 0, data, 4096), 0);
	assert_int_equal(drv_blk_read(&blk, 8, data, 512), -EIO);
	assert_int_equal(drv_blk_read(&blk, 100, data, 4096), -EIO);
	tp_close(&tp);
}

/* The driver is told, and reads and writes behind the old end. */
static void test_image_grows(void **state)
{
	struct drv_blk blk;
	uint64_t capacity;
	uint8_t data[4096] = { 1 }, back[4096];
	struct tp tp;
	struct stat st;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	assert_int_equal(stat(IMAGE, &st), 0);
	tp.dev.ops->tick(&tp.dev);
	assert_int_equal(tp.config_changes, 0);
	assert_int_equal(drv_blk_write(&blk, (uint64_t)st.st_size / 512, data, 4096), -EIO);
	assert_int_equal(truncate(IMAGE, st.st_size + 8192 + 100), 0);
	tp.dev.ops->tick(&tp.dev);
	assert_int_equal(tp.config_changes, 1);
	assert_int_equal(vg_dev_config_read(&tp.dev, 0, &capacity, sizeof(capacity)), 0);
	assert_int_equal(le64toh(capacity), (uint64_t)st.st_size / 512 + 16); /* whole blocks */
	assert_int_equal(drv_blk_write(&blk, (uint64_t)st.st_size / 512 + 8, data, 4096), 0);
	assert_int_equal(drv_blk_read(&blk, (uint64_t)st.st_size / 512 + 8, back, 4096), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(drv_blk_write(&blk, (uint64_t)st.st_size / 512 + 16, data, 512), -EIO);
	tp.dev.ops->tick(&tp.dev);
	assert_int_equal(tp.config_changes, 1);
	/* Shrinking is no news: test_image_shrinks. */
	assert_int_equal(truncate(IMAGE, st.st_size), 0);
	tp.dev.ops->tick(&tp.dev);
	assert_int_equal(tp.config_changes, 1);
	tp_close(&tp);
}

/* A reset while requests are under way waits for them, and forgets them. */
static void test_reset_in_flight(void **state)
{
	enum { N = 14 };
	static struct drv_blk_req req[N];
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	tp_open(&tp, TP_COPY, TARGET);
	for (int round = 0; round < 20; round++) {
		tp_start(&tp, TP_ALL, 64);
		tp_blk(&tp, 0, &blk);
		assert_int_equal(drv_alloc(&tp.flat.mem, N * 4096, 4096, true, &b), 0);
		for (unsigned i = 0; i < N; i++) {
			req[i] = (struct drv_blk_req){ .type = i % 2 ? VIRTIO_BLK_T_OUT
								     : VIRTIO_BLK_T_IN,
						       .dev_writes = !(i % 2),
						       .sector = i * 8,
						       .seg = { { b.addr + i * 4096, 4096 } },
						       .segs = 1 };
			assert_int_equal(drv_blk_submit(&blk, &req[i]), 0);
		}
		tp_kick(&tp, 0);
		/* No turn of the loop: all of it is under way. Reset waits for it. */
		tp_reset(&tp);
		drv_free(&tp.flat.mem, &b);
	}
	tp_close(&tp);
}

/* Discard and write-zeroes: any shape and any flags but the one range that the device announces. */
static void test_hostile_discard(void **state)
{
	static const struct {
		uint32_t type, len, flags;
		int result;
	} rows[] = {
		{ VIRTIO_BLK_T_DISCARD, 16, 0, 0 },
		{ VIRTIO_BLK_T_DISCARD, 16, 1, -EOPNOTSUPP }, /* 5.2.6.1: UNMAP must be 0 */
		{ VIRTIO_BLK_T_DISCARD, 16, 2, -EOPNOTSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 16, 1, 0 },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 16, 2, -EOPNOTSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 16, UINT32_MAX, -EOPNOTSUPP },
		{ VIRTIO_BLK_T_DISCARD, 0, 0, -EOPNOTSUPP },
		{ VIRTIO_BLK_T_DISCARD, 1, 0, -EOPNOTSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 15, 0, -EOPNOTSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 17, 0, -EOPNOTSUPP },
		{ VIRTIO_BLK_T_DISCARD, 32, 0, -EOPNOTSUPP }, /* two ranges, that overlap */
		{ VIRTIO_BLK_T_DISCARD, 4096, 0, -EOPNOTSUPP },
	};
	struct virtio_blk_discard_write_zeroes *range;
	uint8_t data[512], back[512];
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	need_discard(&tp);
	fill(data, sizeof(data), 3);
	assert_int_equal(drv_blk_write(&blk, 24, data, 512), 0);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	range = b.virt;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int rc;

		for (unsigned k = 0; k < 2; k++)
			range[k] = (struct virtio_blk_discard_write_zeroes){
				.sector = htole64(16 + 4 * k),
				.num_sectors = htole32(8),
				.flags = htole32(rows[i].flags)
			};
		rc = request(&blk, rows[i].type, 0, &b, rows[i].len, rows[i].len ? 1 : 0, false, 0);
		if (rc != rows[i].result)
			fail_msg("row %zu: %d", i, rc);
	}
	assert_int_equal(drv_blk_read(&blk, 24, back, 512), 0);
	assert_memory_equal(back, data, 512);
	assert_false(tp.dev.status & VG_STATUS_NEEDS_RESET);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);

	/* A read-only disk offers neither, and does neither. */
	blk_rig(&tp, &blk, TP_COPY, TARGET ",readonly", TP_ALL, 16);
	assert_true(drv_blk_discard(&blk, 24, 8) < 0);
	assert_true(drv_blk_write_zeroes(&blk, 24, 8, false) < 0);
	assert_int_equal(drv_blk_read(&blk, 24, back, 512), 0);
	assert_memory_equal(back, data, 512);
	tp_close(&tp);
}

/* Headers, ranges, tables and data that are no longer the same once they have been read. */
static void test_hostile_double_fetch(void **state)
{
	static uint8_t data[8192], back[8192];
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		blk_rig(&tp, &blk, TP_COPY, TARGET,
			packed ? TP_ALL : TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED), 64);
		tp.fickle = true;
		for (unsigned i = 0; i < 10; i++) {
			fill(data, sizeof(data), i);
			assert_int_equal(drv_blk_write(&blk, 16 * i, data, sizeof(data)), 0);
			assert_int_equal(drv_blk_read(&blk, 16 * i, back, sizeof(back)), 0);
			assert_memory_equal(back, data, sizeof(back));
		}
		if (tp.features & VG_FEATURE(VIRTIO_BLK_F_DISCARD)) {
			assert_int_equal(drv_blk_write_zeroes(&blk, 0, 8, false), 0);
			assert_int_equal(drv_blk_read(&blk, 8, back, 4096), 0);
			fill(data, sizeof(data), 0);
			assert_memory_equal(back, data + 4096, 4096);
		}
		/* Many segments through a table. */
		assert_int_equal(drv_alloc(&tp.flat.mem, 8192, 4096, true, &b), 0);
		fill(b.virt, 8192, 42);
		fill(data, 8192, 42);
		assert_int_equal(request(&blk, VIRTIO_BLK_T_OUT, 32, &b, 512, 16, false,
					 DRV_ADD_INDIRECT),
				 0);
		assert_int_equal(drv_blk_read(&blk, 32, back, 8192), 0);
		assert_memory_equal(back, data, 8192);
		drv_free(&tp.flat.mem, &b);
		assert_int_equal(dh_stats(&tp.dev).errors, 0);
		tp_close(&tp);
	}
}

/** swap_image - the image's descriptor, wherever it is, becomes @path, opened with @flags */
static void swap_image(const char *path, int flags)
{
	unsigned found = 0;
	int with = open(path, flags | O_CLOEXEC);

	assert_true(with >= 0);
	for (int fd = 3; fd < 64; fd++) {
		char name[32], target[4096];
		ssize_t n;

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		n = readlink(name, target, sizeof(target) - 1);
		if (fd == with || n < (ssize_t)strlen(IMAGE) ||
		    memcmp(target + n - strlen(IMAGE), IMAGE, strlen(IMAGE)) != 0)
			continue;
		assert_int_equal(dup2(with, fd), fd);
		found++;
	}
	close(with);
	assert_int_equal(found, 1);
}

/* The disk below is full: an error of that request, and no more. */
static void test_disk_full(void **state)
{
	uint8_t data[4096] = { 1 };
	struct drv_blk blk;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	assert_int_equal(drv_blk_write(&blk, 0, data, sizeof(data)), 0);
	swap_image("/dev/full", O_RDWR);
	assert_int_equal(drv_blk_write(&blk, 8, data, sizeof(data)), -EIO);
	assert_int_equal(drv_blk_flush(&blk), -EIO); /* what cannot be synced is not durable */
	assert_int_equal(drv_blk_read(&blk, 0, data, sizeof(data)), 0);
	tp_close(&tp);
}

/* Reading, or writing, the image fails. */
static void test_io_errors(void **state)
{
	uint8_t data[4096] = { 1 }, back[4096];
	struct drv_blk blk;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	assert_int_equal(drv_blk_write(&blk, 0, data, sizeof(data)), 0);
	swap_image(IMAGE, O_RDONLY);
	assert_int_equal(drv_blk_write(&blk, 0, back, sizeof(back)), -EIO);
	assert_int_equal(drv_blk_write_zeroes(&blk, 0, 8, false) < 0, true);
	assert_int_equal(drv_blk_read(&blk, 0, back, sizeof(back)), 0);
	assert_memory_equal(back, data, sizeof(data));
	swap_image(IMAGE, O_WRONLY);
	assert_int_equal(drv_blk_read(&blk, 0, back, sizeof(back)), -EIO);
	assert_int_equal(drv_blk_write(&blk, 8, data, sizeof(data)), 0);
	assert_true(dh_stats(&tp.dev).errors >= 3);
	assert_false(tp.dev.status & VG_STATUS_NEEDS_RESET);
	tp_close(&tp);
}

/* ---- durability, and ways that are not there ------------------------------- */

/* 5.2.6.2: in write-through mode a write of zeroes is durable before it completes, whichever way it
 * takes; with FLUSH it need not be. */
static void test_zeroes_are_durable(void **state)
{
	struct drv_blk blk;
	struct tp tp;

	(void)state;
	for (unsigned way = 0; way < 3; way++) {
		make_image(NULL);
		blk_rig(&tp, &blk, TP_COPY, TARGET, NO_FLUSH, 16);
		need_discard(&tp);
		seen.no_fallocate = way == 2;
		assert_int_equal(drv_blk_write_zeroes(&blk, 8, 8, way == 1), 0);
		assert_true(seen.fallocates > 0);
		if (way == 2)
			assert_true(seen.writes > 0 && seen.durable_writes == seen.writes);
		else
			assert_true(seen.syncs > 0);
		tp_close(&tp);
	}
	make_image(NULL);
	blk_rig(&tp, &blk, TP_COPY, TARGET, TP_ALL, 16);
	assert_int_equal(drv_blk_write_zeroes(&blk, 8, 8, true), 0);
	assert_int_equal(seen.syncs, 0);
	tp_close(&tp);
}

/* 5.2.5.2: without FLUSH, `writeback` is 0, whatever the driver wrote to it. */
static void test_no_flush_is_write_through(void **state)
{
	uint32_t off = offsetof(struct virtio_blk_config, wce);
	struct drv_blk blk;
	uint8_t wce = 9;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_COPY, TARGET, NO_FLUSH, 16);
	assert_true(tp.features & VG_FEATURE(VIRTIO_BLK_F_CONFIG_WCE));
	assert_int_equal(vg_dev_config_read(&tp.dev, off, &wce, 1), 0);
	assert_int_equal(wce, 0);
	wce = 1;
	assert_int_equal(vg_dev_config_write(&tp.dev, off, &wce, 1), 0);
	assert_int_equal(vg_dev_config_read(&tp.dev, off, &wce, 1), 0);
	assert_int_equal(wce, 0);
	assert_int_equal(drv_blk_write(&blk, 0, &tp.memory[0], 512), 0);
	assert_int_equal(seen.durable_writes, 1);
	tp_close(&tp);
}

/* Zeroes are written where nothing else works; and what lies beside them stays. */
static void zeroes(const char *spec, bool unmap)
{
	static uint8_t before[4096], back[4096], zero[4096];
	struct drv_blk blk;
	struct tp tp;

	blk_rig(&tp, &blk, TP_COPY, spec, TP_ALL, 16);
	assert_true(tp.features & VG_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES));
	fill(before, sizeof(before), 7);
	for (unsigned s = 0; s < SECTORS; s += 8)
		assert_int_equal(drv_blk_write(&blk, s, before, sizeof(before)), 0);
	assert_int_equal(drv_blk_write_zeroes(&blk, 9, SECTORS - 18, unmap), 0);
	assert_int_equal(drv_blk_read(&blk, 8, back, sizeof(back)), 0);
	assert_memory_equal(back, before, 512);
	assert_memory_equal(back + 512, zero, sizeof(back) - 512);
	for (unsigned s = 16; s < SECTORS - 16; s += 8) {
		assert_int_equal(drv_blk_read(&blk, s, back, sizeof(back)), 0);
		assert_memory_equal(back, zero, sizeof(back));
	}
	assert_int_equal(drv_blk_read(&blk, SECTORS - 16, back, sizeof(back)), 0);
	assert_memory_equal(back, zero, 7 * 512);
	assert_memory_equal(back + 7 * 512, before + 7 * 512, 512);
	assert_int_equal(dh_stats(&tp.dev).errors, 0);
	tp_close(&tp);
}

static void test_zeroes_every_way(void **state)
{
	char spec[64];
	int fd = memfd_create("image", MFD_CLOEXEC); /* tmpfs: no ZERO_RANGE */

	(void)state;
	assert_true(fd >= 0 && ftruncate(fd, SECTORS * DRV_SECTOR) == 0);
	snprintf(spec, sizeof(spec), "blk,target=/proc/self/fd/%d", fd);
	zeroes(spec, false);
	zeroes(spec, true);
	close(fd);
	for (unsigned unmap = 0; unmap < 2; unmap++) {
		make_image(NULL);
		zeroes(TARGET, unmap);
		seen.no_fallocate = true;
		zeroes(TARGET, unmap);
		zeroes(TARGET ",direct", unmap);
		assert_true(seen.writes > 0);
	}
}

static uint64_t allocated(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* discard=0: the image keeps what it has been given, whatever the guest does. */
static void test_no_discard(void **state)
{
	struct virtio_blk_config c;
	struct drv_blk blk;
	struct tp tp;
	int fd = open(IMAGE, O_RDWR);

	(void)state;
	assert_int_equal(posix_fallocate(fd, 0, SECTORS * DRV_SECTOR), 0);
	close(fd);
	blk_rig(&tp, &blk, TP_COPY, TARGET ",discard=0", TP_ALL, 16);
	assert_false(tp.features & VG_FEATURE(VIRTIO_BLK_F_DISCARD));
	assert_true(tp.features & VG_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(vg_dev_config_read(&tp.dev, 0, &c, 60), 0);
	assert_int_equal(c.write_zeroes_may_unmap, 0);
	assert_int_equal(drv_blk_write_zeroes(&blk, 0, SECTORS, true), 0);
	assert_true(drv_blk_discard(&blk, 0, SECTORS) < 0);
	assert_true(allocated(IMAGE) >= SECTORS * DRV_SECTOR);
	tp_close(&tp);
}

/* ---- alignment ------------------------------------------------------------- */

/* VIRTIO asks no alignment of buffers; O_DIRECT does. */
static void test_buffers_anywhere(void **state)
{
	static const unsigned at[] = { 0, 2048, 512, 256, 16, 8, 4, 1, 3 };
	static uint8_t back[65536];
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	for (unsigned readonly = 0; readonly < 2; readonly++) {
		blk_rig(&tp, &blk, TP_DIRECT,
			readonly ? TARGET ",direct,readonly" : TARGET ",direct", TP_ALL, 64);
		assert_int_equal(drv_alloc(&tp.flat.mem, 128 * 1024, 4096, true, &b), 0);
		for (size_t i = 0; i < COUNT(at); i++) {
			struct drv_buf odd = b;

			odd.addr += at[i];
			fill((uint8_t *)b.virt + at[i], sizeof(back), readonly ? 8 : (unsigned)i);
			memcpy(back, (uint8_t *)b.virt + at[i], sizeof(back));
			if (!readonly)
				assert_int_equal(request(&blk, VIRTIO_BLK_T_OUT, 3, &odd, 32768, 2,
							 false, 0),
						 0);
			memset(b.virt, 0, b.len);
			/* In pieces that are no blocks, either. */
			assert_int_equal(
				request(&blk, VIRTIO_BLK_T_IN, 3, &odd, 4096 + 128, 8, true, 0), 0);
			assert_memory_equal((uint8_t *)b.virt + at[i], back, 8 * (4096 + 128));
		}
		drv_free(&tp.flat.mem, &b);
		assert_int_equal(dh_stats(&tp.dev).errors, 0);
		tp_close(&tp);
	}
}

/* A disk that is choosier than it says: what it refuses is tried again by way of memory of ours. */
static void test_choosy_disk(void **state)
{
	static uint8_t back[4 * 4096];
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	blk_rig(&tp, &blk, TP_DIRECT, TARGET ",direct", TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, sizeof(back), 4096, true, &b), 0);
	fill(b.virt, sizeof(back), 77);
	memcpy(back, b.virt, sizeof(back));
	seen.choosy = tp.memory;
	seen.refused = 0;
	assert_int_equal(request(&blk, VIRTIO_BLK_T_OUT, 8, &b, 4096, 4, false, 0), 0);
	assert_int_equal(seen.refused, 1);
	memset(b.virt, 0, b.len);
	assert_int_equal(request(&blk, VIRTIO_BLK_T_IN, 8, &b, 4096, 4, true, 0), 0);
	assert_int_equal(seen.refused, 2);
	assert_memory_equal(b.virt, back, sizeof(back));
	assert_int_equal(dh_stats(&tp.dev).errors, 0);
	seen.choosy = NULL;
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
}

/* Readers share their lock, so a successor may be at work while the disk still writes to where a dead
 * worker told it to: that is never the guest's memory. What is no DMA ends with the process. */
static void test_late_reads(void **state)
{
	static const struct {
		const char *spec;
		bool into_guest;
	} rows[] = {
		{ TARGET ",direct,readonly", false },
		{ TARGET ",direct", true },
		{ TARGET ",readonly", true },
	};
	struct drv_blk blk;
	struct drv_buf b;
	struct tp tp;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		blk_rig(&tp, &blk, TP_DIRECT, rows[i].spec, TP_ALL, 16);
		assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
		seen.memory = tp.memory;
		seen.reads = seen.into_guest = 0;
		assert_int_equal(request(&blk, VIRTIO_BLK_T_IN, 0, &b, 4096, 1, true, 0), 0);
		assert_int_equal(seen.reads, 1);
		assert_int_equal(seen.into_guest, rows[i].into_guest);
		seen.memory = NULL;
		drv_free(&tp.flat.mem, &b);
		tp_close(&tp);
	}
}

/* Runs a script; its first line, if any, goes to @line. Return: whether it went well. */
static bool script(const char *text, char *line, size_t size)
{
	FILE *f = popen(text, "r");
	bool ok;

	assert_non_null(f);
	if (line && !fgets(line, (int)size, f))
		line[0] = '\0';
	if (line)
		line[strcspn(line, "\n")] = '\0';
	ok = pclose(f) == 0;
	return ok;
}

static char loop_name[64]; /* of this test; "": none */

/* Whatever became of the test. */
static int put_away(void **state)
{
	char text[128];

	(void)state;
	umount("mnt");
	snprintf(text, sizeof(text), "losetup -d %s", loop_name);
	if (loop_name[0] && !script(text, NULL, 0))
		return -1;
	loop_name[0] = '\0';
	return 0;
}

/* A loop device for this test. Return: its name */
static const char *loop_device(const char *options)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "exec 2>/dev/null; rm -f back.img; truncate -s 32M back.img && "
		 "losetup %s -f --show back.img",
		 options);
	if (geteuid() != 0 || !script(text, loop_name, sizeof(loop_name))) {
		loop_name[0] = '\0';
		skip(); /* not root, or no loop devices here */
	}
	return loop_name;
}

/* Mount @what on `mnt`, seen by this process and its children only. */
static bool mount_here(const char *what, const char *options, bool mkfs)
{
	char text[256];

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	snprintf(text, sizeof(text), "exec 2>&1; mkdir -p mnt; %s%s && mount -o %s %s mnt",
		 mkfs ? "mkfs.ext4 -q -F " : ": ", what, options, what);
	return script(text, NULL, 0);
}

/* An image on a disk of 4096-byte blocks, with O_DIRECT: the guest sees 512 as before. */
static void test_large_blocks(void **state)
{
	enum { N = 48 };
	static struct drv_blk_req req[N];
	static uint8_t data[N * 512], back[N * 512], whole[65536];
	struct virtio_blk_config c;
	struct drv_used used;
	struct drv_blk blk;
	struct drv_buf b;
	const char *name;
	struct tp tp;

	(void)state;
	name = loop_device("-b 4096");
	if (!mount_here(name, "rw", true))
		skip();
	assert_true(script("truncate -s 1M mnt/disk.img", NULL, 0));
	blk_rig(&tp, &blk, TP_DIRECT, "blk,target=mnt/disk.img,direct", TP_ALL, 256);
	assert_int_equal(vg_dev_config_read(&tp.dev, 0, &c, 60), 0);
	assert_int_equal(le32toh(c.blk_size), 512);
	assert_int_equal(c.physical_block_exp, 3);
	fill(data, 1024, 1);
	assert_int_equal(drv_blk_write(&blk, 1, data, 512), 0);
	assert_int_equal(drv_blk_read(&blk, 0, back, 1536), 0);
	assert_memory_equal(back + 512, data, 512);
	assert_int_equal(drv_blk_write(&blk, 7, data, 1024), 0);
	assert_int_equal(drv_blk_read(&blk, 7, back, 1024), 0);
	assert_memory_equal(back, data, 1024);
	/* Sector by sector, all at once, aligned ones among them: none loses its neighbour's. */
	assert_int_equal(drv_alloc(&tp.flat.mem, sizeof(data), 4096, true, &b), 0);
	for (unsigned round = 0; round < 8; round++) {
		fill(b.virt, sizeof(data), round);
		memcpy(data, b.virt, sizeof(data));
		for (unsigned i = 0; i < N; i++) {
			unsigned n = i == 16 ? 8 : 1; /* 16 to 23 as one */

			if (i > 16 && i < 24)
				continue;
			req[i] = (struct drv_blk_req){ .type = VIRTIO_BLK_T_OUT,
						       .sector = 64 + i,
						       .seg = { { b.addr + i * 512, n * 512 } },
						       .segs = 1 };
			assert_int_equal(drv_blk_submit(&blk, &req[i]), 0);
		}
		tp_kick(&tp, 0);
		for (unsigned i = 0; i < N - 7; i++) {
			tp_wait(&tp, 0, &used);
			assert_int_equal(drv_blk_finish(&blk, &used)->result, 0);
		}
		assert_int_equal(drv_blk_read(&blk, 64, back, sizeof(back)), 0);
		assert_memory_equal(back, data, sizeof(data));
	}
	drv_free(&tp.flat.mem, &b);
	/* Larger than a bounce buffer, at an odd sector; zeroes across blocks. */
	seen.no_fallocate = true;
	fill(whole, sizeof(whole), 3);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(drv_blk_write(&blk, 129 + i * 128, whole, sizeof(whole)), 0);
	assert_int_equal(drv_blk_write_zeroes(&blk, 130, 1022, false), 0);
	assert_int_equal(drv_blk_read(&blk, 129, back, 1024), 0);
	assert_memory_equal(back, whole, 512);
	for (unsigned i = 512; i < 1024; i++)
		assert_int_equal(back[i], 0);
	assert_int_equal(drv_blk_read(&blk, 1151, back, 1024), 0);
	assert_memory_equal(back + 512, whole + 65536 - 512, 512);
	assert_int_equal(back[0], 0);
	assert_int_equal(dh_stats(&tp.dev).errors, 0);
	tp_close(&tp);
	/* What direct I/O cannot write at the end goes by way of the page cache. */
	assert_true(script("truncate -s 1049088 mnt/disk.img", NULL, 0));
	blk_rig(&tp, &blk, TP_DIRECT, "blk,target=mnt/disk.img,direct", TP_ALL, 16);
	assert_int_equal(drv_blk_write(&blk, 2048, data, 512), 0);
	assert_int_equal(drv_blk_read(&blk, 2048, back, 512), 0);
	assert_memory_equal(back, data, 512);
	assert_int_equal(drv_blk_write(&blk, 2049, data, 512), -EIO);
	tp_close(&tp);
}

/* ---- block devices ---------------------------------------------------------- */

static void expect_error(const char *spec, int error, const char *word);

/* What is discarded is given back by the device, by either way to tell it. */
static void test_device_discard(void **state)
{
	static uint8_t data[65536];
	const char *name;
	char spec[128];
	struct virtio_blk_config c;
	struct drv_blk blk;
	struct tp tp;

	(void)state;
	name = loop_device("");
	snprintf(spec, sizeof(spec), "blk,target=%s", name);
	for (unsigned old_kernel = 0; old_kernel < 2; old_kernel++) {
		seen.no_discard = old_kernel;
		blk_rig(&tp, &blk, TP_COPY, spec, TP_ALL, 16);
		assert_true(tp.features & VG_FEATURE(VIRTIO_BLK_F_DISCARD));
		assert_int_equal(vg_dev_config_read(&tp.dev, 0, &c, 60), 0);
		assert_true(le32toh(c.max_discard_sectors) > 0);
		assert_true(le32toh(c.discard_sector_alignment) >= 1);
		fill(data, sizeof(data), 1);
		for (unsigned i = 0; i < 32; i++)
			assert_int_equal(drv_blk_write(&blk, i * 128, data, sizeof(data)), 0);
		assert_int_equal(drv_blk_flush(&blk), 0);
		assert_true(allocated("back.img") >= 2 << 20);
		assert_int_equal(drv_blk_discard(&blk, 0, 32 * 128), 0);
		assert_int_equal(seen.discards, 1 + old_kernel);
		assert_true(allocated("back.img") < 1 << 20);
		assert_int_equal(drv_blk_write_zeroes(&blk, 0, 128, true), 0);
		assert_int_equal(drv_blk_write_zeroes(&blk, 1, 3, false), 0);
		assert_int_equal(dh_stats(&tp.dev).errors, 0);
		tp_close(&tp);
	}
}

static void test_shareable_device(void **state)
{
	(void)state;
	shared(loop_device(""));
}

/* What this machine has mounted is not served, under whatever name. */
static void test_mounted(void **state)
{
	const char *name;
	char spec[128], copy[128];
	struct stat st;
	struct tp tp;

	(void)state;
	name = loop_device("");
	if (!mount_here(name, "rw", true))
		skip();
	assert_int_equal(stat(name, &st), 0);
	unlink("node");
	assert_int_equal(mknod("node", S_IFBLK | 0600, st.st_rdev), 0);
	snprintf(spec, sizeof(spec), "blk,target=%s", name);
	expect_error(spec, -EBUSY, "is mounted on");
	expect_error("blk,target=node", -EBUSY, "is mounted on");
	expect_error("blk,target=back.img", -EBUSY, "is mounted on");
	snprintf(spec, sizeof(spec), "blk,target=%s,readonly", name);
	expect_error(spec, -EBUSY, "is mounted on");
	expect_error("blk,target=back.img,readonly", -EBUSY, "is mounted on");
	/* Mounted read-only, it can be shared by readers; by no writer. */
	assert_int_equal(umount("mnt"), 0);
	snprintf(copy, sizeof(copy), "mount -o ro,noload %s mnt", name);
	assert_true(script(copy, NULL, 0));
	tp_open(&tp, TP_COPY, spec);
	tp_close(&tp);
	tp_open(&tp, TP_COPY, "blk,target=back.img,readonly");
	tp_close(&tp);
	snprintf(spec, sizeof(spec), "blk,target=%s", name);
	expect_error(spec, -EBUSY, "readonly");
}

/* An image under a loop device that xen-blkback, say, has for another guest. */
static void test_claimed(void **state)
{
	const char *name;
	struct tp tp;
	int fd;

	(void)state;
	name = loop_device("");
	fd = name ? open(name, O_RDWR | O_EXCL | O_CLOEXEC) : -1;
	if (fd < 0)
		skip();
	expect_error("blk,target=back.img", -EBUSY, "has claimed");
	expect_error("blk,target=back.img,readonly", -EBUSY, "has claimed");
	close(fd);
	tp_open(&tp, TP_COPY, "blk,target=back.img");
	tp_close(&tp);
}

/* One device by two nodes is one device: one writer, or readers. */
static void test_two_nodes(void **state)
{
	const char *name;
	char spec[128];
	struct stat st;
	struct tp tp, second;

	(void)state;
	name = loop_device("");
	assert_int_equal(stat(name, &st), 0);
	unlink("node");
	assert_int_equal(mknod("node", S_IFBLK | 0600, st.st_rdev), 0);
	snprintf(spec, sizeof(spec), "blk,target=%s", name);
	tp_open(&tp, TP_COPY, "blk,target=node");
	expect_error(spec, -EBUSY, "in use");
	expect_error("blk,target=node,readonly", -EBUSY, "in use");
	tp_close(&tp);
	snprintf(spec, sizeof(spec), "blk,target=%s,readonly", name);
	tp_open(&tp, TP_COPY, spec);
	tp_open(&second, TP_COPY, "blk,target=node,readonly");
	tp_close(&second);
	expect_error("blk,target=node", -EBUSY, "in use");
	tp_close(&tp);
	tp_open(&tp, TP_COPY, "blk,target=node");
	tp_close(&tp);
}

/* udev looks at a device for a moment, with a shared lock on its node. */
static void test_udev_looks(void **state)
{
	const char *name;
	char spec[128];
	struct tp tp;
	pid_t pid;
	int fd, status;

	(void)state;
	name = loop_device("");
	fd = open(name, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	pid = fork();
	if (pid == 0) {
		usleep(700000);
		_exit(0); /* the lock is the open file's: the last to close it ends it */
	}
	close(fd);
	snprintf(spec, sizeof(spec), "blk,target=%s", name);
	tp_open(&tp, TP_COPY, spec);
	tp_close(&tp);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* ---- images of other formats ------------------------------------------------ */

/* What is logged meanwhile. */
static int log_file = -1, log_stderr = -1;

static void log_begin(void)
{
	log_file = memfd_create("log", MFD_CLOEXEC);
	log_stderr = dup(STDERR_FILENO);
	assert_true(log_file >= 0 && log_stderr >= 0);
	assert_int_equal(dup2(log_file, STDERR_FILENO), STDERR_FILENO);
}

static void log_end(char *text, size_t size)
{
	ssize_t n = pread(log_file, text, size - 1, 0);

	assert_int_equal(dup2(log_stderr, STDERR_FILENO), STDERR_FILENO);
	close(log_stderr);
	close(log_file);
	assert_true(n >= 0);
	text[n] = '\0';
}

static void test_formats(void **state)
{
	char text[256];
	struct tp tp;
	int fd;

	(void)state;
	expect_error(TARGET ",format=qed", -EINVAL, "raw, qcow2");
	fd = open(IMAGE, O_RDWR);
	assert_int_equal(pwrite(fd, "QFI\xfb\0\0\0\3", 8, 0), 8);
	close(fd);
	for (unsigned direct = 0; direct < 2; direct++) {
		log_begin();
		tp_open(&tp, TP_COPY, direct ? TARGET ",direct" : TARGET);
		log_end(text, sizeof(text));
		assert_non_null(strstr(text, "warning: "));
		assert_non_null(strstr(text, "disk.img"));
		assert_non_null(strstr(text, "qcow2"));
		tp.dev.ops->describe(&tp.dev, text, sizeof(text));
		assert_non_null(strstr(text, "looks like qcow2"));
		tp_close(&tp);
	}
	log_begin();
	tp_open(&tp, TP_COPY, TARGET ",format=raw");
	log_end(text, sizeof(text));
	assert_null(strstr(text, "qcow2"));
	tp.dev.ops->describe(&tp.dev, text, sizeof(text));
	assert_null(strstr(text, "qcow2"));
	tp_close(&tp);
}

/* ---- what a user gets wrong ----------------------------------------------- */

static void expect_error(const char *spec, int error, const char *word)
{
	struct vg_err err = { "" };
	struct tp tp;

	assert_int_equal(tp_try_open(&tp, TP_COPY, spec, &err), error);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not name '%s'", err.text, word);
}

static void test_user_errors(void **state)
{
	int fd;

	(void)state;
	expect_error("blk", -EINVAL, "target");
	expect_error("blk,target=nowhere.img", -ENOENT, "nowhere.img");
	mkdir("folder", 0700);
	expect_error("blk,target=folder", -EISDIR, "directory");
	expect_error("blk,target=folder,readonly", -EISDIR, "directory");
	expect_error("blk,target=/dev/null", -EINVAL, "neither");
	mkfifo("fifo", 0600);
	expect_error("blk,target=fifo", -EINVAL, "neither");
	assert_int_equal(truncate(IMAGE, 1000), 0);
	expect_error(TARGET, -EINVAL, "1000");
	assert_int_equal(truncate(IMAGE, 0), 0);
	expect_error(TARGET, -EINVAL, "empty");
	make_image(NULL);
	expect_error(TARGET ",serial=123456789012345678901", -EINVAL, "serial");
	expect_error(TARGET ",queue-size=100", -EINVAL, "power of two");
	expect_error(TARGET ",queues=1000", -EINVAL, "queues");
	expect_error(TARGET ",direct,map-from=64K", -EINVAL, "exclude");
	expect_error(TARGET ",cache=none,map-from=64K", -EINVAL, "exclude");
	expect_error(TARGET ",cache=none,direct", -EINVAL, "one of them");
	expect_error(TARGET ",cache=directsync", -EINVAL, "writethrough");
	expect_error(TARGET ",poll=sometimes", -EINVAL, "always");
	expect_error(TARGET ",map-from=5M", -EINVAL, "map-from");
	expect_error(TARGET ",taget=x", -EINVAL, "taget");
	fd = open(IMAGE, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	expect_error(TARGET, -EBUSY, "in use");
	close(fd);
	if (geteuid() != 0) {
		chmod(IMAGE, 0);
		expect_error(TARGET, -EACCES, "permissions");
		chmod(IMAGE, 0600);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_image, put_away)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_roundtrip),
		TEST(test_batches),
		TEST(test_cache_modes),
		TEST(test_cache_words),
		TEST(test_poll),
		TEST(test_poll_ends),
		TEST(test_broken_is_left),
		TEST(test_config_space),
		TEST(test_read_only),
		TEST(test_shareable),
		TEST(test_shareable_device),
		TEST(test_discard),
		TEST(test_hostile_ranges),
		TEST(test_hostile_types),
		TEST(test_hostile_short_id),
		TEST(test_hostile_no_request),
		TEST(test_hostile_revoked_data),
		TEST(test_hostile_huge_request),
		TEST(test_queues_share_bounce_memory),
		TEST(test_rings_of_other_sizes),
		TEST(test_hostile_discard),
		TEST(test_hostile_double_fetch),
		TEST(test_image_shrinks),
		TEST(test_image_grows),
		TEST(test_disk_full),
		TEST(test_io_errors),
		TEST(test_reset_in_flight),
		TEST(test_zeroes_are_durable),
		TEST(test_no_flush_is_write_through),
		TEST(test_reset_syncs),
		TEST(test_zeroes_every_way),
		TEST(test_no_discard),
		TEST(test_buffers_anywhere),
		TEST(test_late_reads),
		TEST(test_large_blocks),
		TEST(test_device_discard),
		TEST(test_mounted),
		TEST(test_claimed),
		TEST(test_two_nodes),
		TEST(test_udev_looks),
		TEST(test_choosy_disk),
		TEST(test_formats),
		TEST(test_user_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
