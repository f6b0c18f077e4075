// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blk.c - block device, VIRTIO 1.3 section 5.2
 *
 * One turn of a queue, in batches, so that a turn costs a fixed number of
 * hypercalls however many requests it serves:
 *
 *	pop ----> headers ----> data of writes ----> io_uring
 *	          one copy      one copy                |
 *	                                                v  (later turns)
 *	used <--- publish <---- data of reads, status <- done list
 *	          one notify    one copy
 *
 * Where the port gives direct memory (vhost-user) the copies vanish and io_uring
 * works on guest memory itself; vg_data hides the difference.
 *
 * Pace. A busy queue is not looked at for each request: see pace.h. Nor is the
 * driver told of each that is done: while VG_PACE_START or more are under way, what
 * is done waits until it is half of all. Both for as long as pace.h says and at
 * most `wait` microseconds, which a timer ends. And the ring is looked at whenever
 * something completes.
 *
 * Durability (5.2.6.2). The cache is write-back when the driver negotiated
 * FLUSH (or set `writeback` to 1 with CONFIG_WCE): a write is complete when the
 * kernel has it, and a FLUSH is answered after fdatasync, which covers every
 * write that had completed when the flush was taken. Otherwise each write is
 * RWF_DSYNC: durable before it completes.
 *
 * A request that cannot be done completes with VIRTIO_BLK_S_IOERR or _UNSUPP
 * and harms nothing; a chain that is no request (no header, no status byte) is
 * a fault of the driver.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/devices/devices.h"
#include "backend/images/raw.h"
#include "backend/base/limits.h"
#include "backend/memory/data.h"
#include "backend/virtio/pace.h"

enum {
	SECTOR = 512,  /* unit of all sector numbers, 5.2.4 */
	BATCH = 64,    /* chains taken in one go */
	SEG_MAX = 126, /* data segments of a request: with header and status, 128 */
	DEFAULT_QUEUE_SIZE = 256,
	DEFAULT_WAIT_NS = 250000,
	/* 5.2.6: at most one segment of a discard or write-zeroes request. More are allowed by the
	 * standard; drivers send one when told so. */
	DISCARD_SEGS = 1,
	SAVED_WRITE_THROUGH = 0, /* index into dev->saved */
	SAVED_CAPACITY = 8,	 /* likewise: 8 bytes, as the driver was told; 0: not yet */
	/* 5.2.4 up to and with unused1: what follows belongs to features that are not offered, and
	 * its presence in the header depends on the kernel's version. */
	CONFIG_SIZE = 60,
};

static const struct vg_param_def blk_params[] = {
	{ "target", VG_PARAM_PATH, true, 0, 0, NULL, "path of a raw image or a block device" },
	{ "readonly", VG_PARAM_BOOL, false, 0, 1, "0",
	  "refuse writes; several guests may share it" },
	{ "direct", VG_PARAM_BOOL, false, 0, 1, "0", "bypass the host's page cache (O_DIRECT)" },
	/* Never, by default. Mapping and unmapping are four hypercalls in a PV domain, as many as the
	 * copy of 64 pages; and each page is a page-table entry more, and its share of a TLB flush.
	 * tests/bench/xen-blk, sweep: at 256 KiB a read took 5.25 hypercalls mapped and 5.36 copied,
	 * and mapping was slower from 4 KiB (0.83 of the copy's reads a second) to there (0.50), even
	 * in emulation, where a flush costs little. */
	{ "map-from", VG_PARAM_SIZE, false, 0, VG_LIMIT_REQUEST_BYTES, "0",
	  "map the data of requests of at least this many bytes instead of copying it; 0: never" },
	{ "wait", VG_PARAM_UINT, false, 0, 1000000, NULL,
	  "longest time in microseconds that a busy queue waits for more requests; 0: never; "
	  "default: 250, or 0 over vhost-user" },
	{ "queues", VG_PARAM_UINT, false, 1, VG_MAX_QUEUES - 1, "1", "number of request queues" },
	{ "queue-size", VG_PARAM_UINT, false, 2, VG_LIMIT_QUEUE_SIZE, "256",
	  "largest queue size, a power of two" },
	{ "serial", VG_PARAM_STRING, false, 0, 0, "",
	  "what the guest sees as the disk's serial, at most 20 characters" },
	{ 0 },
};

_Static_assert(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4 == CONFIG_SIZE,
	       "the header and 5.2.4 agree");

struct blk_queue;

struct blk_req {
	struct vg_io io;
	struct blk_queue *bq;
	struct blk_req *next; /* free list, or done list */
	struct vg_chain *chain;
	struct virtio_blk_outhdr hdr; /* as the guest wrote it, copied once */
	struct virtio_blk_discard_write_zeroes range;
	struct vg_data data;
	bool has_data;
	bool decided;	   /* its status is known: on the done list */
	struct iovec *iov; /* what is left to transfer: into data */
	unsigned niov;
	uint32_t type;	 /* VIRTIO_BLK_T_* */
	uint64_t offset; /* bytes, of the image */
	size_t len;	 /* bytes of data */
	size_t transferred;
	uint8_t status; /* VIRTIO_BLK_S_* */
};

struct blk_queue {
	struct vg_dev *dev;
	struct blk *blk;
	unsigned q;
	struct blk_req *reqs; /* one for each descriptor: a chain takes at least one */
	struct blk_req *free;
	struct blk_req *done, **done_tail;
	struct vg_deferred complete;
	unsigned inflight; /* given to io_uring */
	bool stopping;
	bool starved;	 /* bounce memory ran out: go on when something completes */
	unsigned n_done; /* on the done list */
	struct vg_pace pace;
	int64_t gather_until;  /* requests in the ring are taken by then, ns; 0: at once */
	int64_t hold_until;    /* the driver is told by then of what is done; 0: nothing waits */
	struct vg_timer timer; /* runs while something waits */
	int64_t timer_at;
};

struct blk {
	struct vg_raw img;
	struct virtio_blk_config config; /* little-endian, as the guest reads it */
	char serial[VIRTIO_BLK_ID_BYTES];
	bool write_through;
	size_t map_from;       /* bytes; see struct vg_mem */
	bool wait_is_set;      /* by the user */
	int64_t wait_ns;       /* 0: never wait */
	struct vg_batch batch; /* of the running turn: never kept over a turn */
	struct blk_queue queue[VG_MAX_QUEUES];
};

/* ---- opening ------------------------------------------------------------ */

static void make_config(struct blk *blk, unsigned queues, uint32_t queue_size)
{
	struct virtio_blk_config *c = &blk->config;
	uint32_t seg_max = queue_size > SEG_MAX + 2 ? SEG_MAX : queue_size - 2;
	unsigned exp = 0;

	while ((blk->img.block_size << exp) < blk->img.physical_block_size)
		exp++;
	c->capacity = htole64(blk->img.size / SECTOR);
	c->seg_max = htole32(seg_max ? seg_max : 1);
	c->blk_size = htole32(blk->img.block_size);
	c->physical_block_exp = (uint8_t)exp;
	c->opt_io_size = htole32(0);
	c->wce = 1;
	c->num_queues = htole16((uint16_t)queues);
	c->max_discard_sectors = htole32(VG_LIMIT_DISCARD_SECTORS);
	c->max_discard_seg = htole32(DISCARD_SEGS);
	c->discard_sector_alignment = htole32(blk->img.block_size / SECTOR);
	c->max_write_zeroes_sectors = htole32(VG_LIMIT_DISCARD_SECTORS);
	c->max_write_zeroes_seg = htole32(DISCARD_SEGS);
	c->write_zeroes_may_unmap = 1;
}

static int blk_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	const char *serial = vg_params_str(params, blk_params, "serial");
	unsigned queues = (unsigned)vg_params_uint(params, blk_params, "queues");
	uint32_t size = (uint32_t)vg_params_uint(params, blk_params, "queue-size");
	struct blk *blk;
	int ret;

	if (size & (size - 1))
		return vg_fail(err, -EINVAL, "queue-size=%u is not a power of two", size);
	if (strlen(serial) > VIRTIO_BLK_ID_BYTES)
		return vg_fail(err, -EINVAL, "serial=%s is longer than %d characters", serial,
			       VIRTIO_BLK_ID_BYTES);
	if (vg_params_bool(params, blk_params, "direct") &&
	    vg_params_uint(params, blk_params, "map-from"))
		return vg_fail(err, -EINVAL,
			       "direct and map-from exclude each other: with O_DIRECT a page that "
			       "was mapped cannot be given back in time");
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return vg_fail(err, -ENOMEM, "out of memory");
	blk->map_from = vg_params_uint(params, blk_params, "map-from");
	blk->wait_is_set = vg_params_str(params, blk_params, "wait") != NULL;
	blk->wait_ns = (int64_t)vg_params_uint(params, blk_params, "wait") * 1000;
	ret = vg_raw_open(vg_params_str(params, blk_params, "target"),
			  vg_params_bool(params, blk_params, "readonly"),
			  vg_params_bool(params, blk_params, "direct"), &blk->img, err);
	if (ret < 0) {
		free(blk);
		return ret;
	}
	memcpy(blk->serial, serial, strlen(serial));
	make_config(blk, queues, size);
	dev->priv = blk;
	dev->n_queues = queues;
	dev->queue_size_max = size;
	dev->config_size = CONFIG_SIZE;
	dev->device_features = VG_FEATURE(VIRTIO_BLK_F_SEG_MAX) |
			       VG_FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
			       VG_FEATURE(VIRTIO_BLK_F_TOPOLOGY) | VG_FEATURE(VIRTIO_BLK_F_FLUSH) |
			       VG_FEATURE(VIRTIO_BLK_F_CONFIG_WCE);
	if (queues > 1)
		dev->device_features |= VG_FEATURE(VIRTIO_BLK_F_MQ);
	if (blk->img.read_only)
		dev->device_features |= VG_FEATURE(VIRTIO_BLK_F_RO);
	if (blk->img.can_punch)
		dev->device_features |=
			VG_FEATURE(VIRTIO_BLK_F_DISCARD) | VG_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
	return 0;
}

static void blk_close(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;

	vg_raw_close(&blk->img);
	free(blk);
	dev->priv = NULL;
}

static void blk_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	struct blk *blk = dev->priv;

	memcpy(buf, (const uint8_t *)&blk->config + off, len);
}

/* 5.2.5.2: without FLUSH the driver cannot ask for durability, so each write has it. */
static void apply_cache_mode(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;

	blk->config.wce = !dev->saved[SAVED_WRITE_THROUGH];
	blk->write_through = !vg_dev_has(dev, VIRTIO_BLK_F_FLUSH) || !blk->config.wce;
}

/* Only `writeback` is writable (5.2.4, CONFIG_WCE). */
static int blk_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len)
{
	if (off != offsetof(struct virtio_blk_config, wce) || len != 1 ||
	    !vg_dev_has(dev, VIRTIO_BLK_F_CONFIG_WCE))
		return -EPERM;
	dev->saved[SAVED_WRITE_THROUGH] = *(const uint8_t *)buf ? 0 : 1;
	apply_cache_mode(dev);
	return 0;
}

/* ---- completing --------------------------------------------------------- */

static void process(struct blk_queue *bq);

static struct blk_req *req_get(struct blk_queue *bq, struct vg_chain *c)
{
	struct blk_req *r = bq->free;

	bq->free = r->next;
	r->next = NULL;
	r->chain = c;
	r->has_data = false;
	r->decided = false;
	r->type = 0;
	r->len = 0;
	r->transferred = 0;
	r->status = VIRTIO_BLK_S_OK;
	return r;
}

static void req_put(struct blk_req *r)
{
	r->next = r->bq->free;
	r->bq->free = r;
}

/* The request is decided; what the guest must see is copied at the end of the turn. */
static void req_done(struct blk_req *r, uint8_t status)
{
	struct blk_queue *bq = r->bq;

	r->status = status;
	r->decided = true;
	r->next = NULL;
	*bq->done_tail = r;
	bq->done_tail = &r->next;
	bq->n_done++;
	vg_loop_defer(bq->dev->loop, &bq->complete);
}

/*
 * Bytes written to the device-writable part. 2.7.8: no more may be claimed than was written from the
 * start on without a gap; the status byte lies behind the data, which an error leaves unwritten, and
 * is read by a driver regardless.
 */
static uint32_t written(const struct blk_req *r)
{
	bool fills = r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_GET_ID;
	size_t data = r->status == VIRTIO_BLK_S_OK && fills ? r->len : 0;

	return (uint32_t)(data == r->chain->in_len - 1 ? data + 1 : data);
}

static void put_status(struct blk_req *r, struct vg_batch *batch)
{
	vg_chain_write(batch, r->chain, r->chain->in_len - 1, &r->status, 1);
}

static void count(struct blk_req *r)
{
	struct vg_dev_stats *stats = r->bq->dev->stats;

	stats->requests++;
	if (r->status != VIRTIO_BLK_S_OK)
		stats->errors++;
	else if (r->type == VIRTIO_BLK_T_IN)
		stats->bytes_read += r->len;
	else if (r->type == VIRTIO_BLK_T_OUT)
		stats->bytes_written += r->len;
}

/* Something waits, until @when. A timer that runs until sooner is left alone, and started again by
 * wait_is_over(): waits begin more often than they last until their end. */
static void wait_begins(struct blk_queue *bq, int64_t now, int64_t when)
{
	if (bq->timer.tether && bq->timer_at <= when)
		return;
	bq->timer_at = when;
	vg_loop_timer(bq->dev->loop, &bq->timer, when > now ? when - now : 0);
}

static void wait_is_over(struct vg_timer *t)
{
	struct blk_queue *bq = container_of(t, struct blk_queue, timer);
	int64_t now = vg_now_ns(), when = bq->gather_until;

	if (!when || (bq->hold_until && bq->hold_until < when))
		when = bq->hold_until;
	if (!when)
		return;
	if (now < when)
		wait_begins(bq, now, when);
	else
		vg_loop_defer(bq->dev->loop, &bq->complete);
}

/* Whether what is done had better wait for more of what the disk has. */
static bool hold_back(struct blk_queue *bq)
{
	int64_t now;

	if (!bq->blk->wait_ns || bq->stopping || bq->starved || bq->inflight < VG_PACE_START ||
	    bq->n_done >= bq->inflight)
		return false;
	now = vg_now_ns();
	if (!bq->hold_until)
		bq->hold_until = now + vg_pace_wait(&bq->pace, bq->blk->wait_ns);
	if (now >= bq->hold_until)
		return false;
	wait_begins(bq, now, bq->hold_until);
	return true;
}

/* Whether the next requests had better gather: a disk that has none was faster than the driver. While
 * it has some, each is given to it as soon as it is seen. */
static bool gathers(struct blk_queue *bq)
{
	int64_t now;

	if (bq->stopping || bq->inflight || bq->pace.ahead < 2)
		return false;
	now = vg_now_ns();
	if (now >= bq->gather_until || vg_dev_rearm_after(bq->dev, bq->q, bq->pace.ahead))
		return false;
	wait_begins(bq, now, bq->gather_until);
	return true;
}

/* End of a turn: everything that completed goes to the guest with one copy, one notification. */
static void complete_all(struct vg_deferred *d)
{
	struct blk_queue *bq = container_of(d, struct blk_queue, complete);
	struct vg_dev *dev = bq->dev;
	struct vg_batch *batch = &bq->blk->batch;
	struct blk_req *done = bq->done;
	bool starved = bq->starved;

	if (hold_back(bq)) {
		process(bq);
		return;
	}
	bq->done = NULL;
	bq->done_tail = &bq->done;
	bq->n_done = 0;
	bq->hold_until = 0;
	vg_batch_init(batch, dev->mem);
	for (struct blk_req *r = done; r; r = r->next) {
		if (r->has_data && r->status == VIRTIO_BLK_S_OK)
			vg_data_finish(&r->data, batch, r->len);
		put_status(r, batch);
	}
	if (vg_batch_run(batch) < 0) {
		/* Some data did not reach its buffer: that request must not read as done. */
		for (struct blk_req *r = done; r; r = r->next) {
			if (!r->chain->error)
				continue;
			r->chain->error = 0;
			r->status = VIRTIO_BLK_S_IOERR;
			put_status(r, batch);
			vg_batch_run(batch);
			if (r->chain->error)
				vg_dev_fault(dev,
					     "queue %u: the status byte of a request cannot be "
					     "written: %s",
					     bq->q, strerror(-r->chain->error));
		}
	}
	while (done) {
		struct blk_req *r = done;

		done = r->next;
		if (r->has_data)
			vg_data_end(&r->data);
		count(r);
		vg_vq_push(vg_dev_vq(dev, bq->q), r->chain, written(r));
		req_put(r);
	}
	vg_dev_flush(dev, bq->q);
	/* What could not be taken for want of bounce memory, or of the engine's room for long chains,
	 * may be taken now; no notification will come for it (vg_vq_pop). */
	bq->starved = false;
	if (!starved && gathers(bq))
		return;
	process(bq);
}

/* ---- disk I/O ----------------------------------------------------------- */

static void io_submit(struct blk_req *r)
{
	struct blk *blk = r->bq->blk;
	struct vg_loop *loop = r->bq->dev->loop;

	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		vg_loop_readv(loop, &r->io, blk->img.fd, r->iov, r->niov,
			      r->offset + r->transferred);
		break;
	case VIRTIO_BLK_T_OUT:
		vg_loop_writev(loop, &r->io, blk->img.fd, r->iov, r->niov,
			       r->offset + r->transferred, blk->write_through ? RWF_DSYNC : 0);
		break;
	case VIRTIO_BLK_T_FLUSH:
		vg_loop_fdatasync(loop, &r->io, blk->img.fd);
		break;
	case VIRTIO_BLK_T_DISCARD:
		vg_loop_fallocate(loop, &r->io, blk->img.fd,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, r->offset, r->len);
		break;
	default: /* VIRTIO_BLK_T_WRITE_ZEROES */
		vg_loop_fallocate(loop, &r->io, blk->img.fd,
				  (le32toh(r->range.flags) & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
					   ? FALLOC_FL_PUNCH_HOLE
					   : FALLOC_FL_ZERO_RANGE) |
					  FALLOC_FL_KEEP_SIZE,
				  r->offset, r->len);
		break;
	}
}

/* A short transfer: forget the first @n bytes of what was to do. */
static void advance(struct blk_req *r, size_t n)
{
	r->transferred += n;
	while (n) {
		size_t step = n < r->iov->iov_len ? n : r->iov->iov_len;

		r->iov->iov_base = (char *)r->iov->iov_base + step;
		r->iov->iov_len -= step;
		n -= step;
		if (r->iov->iov_len == 0) {
			r->iov++;
			r->niov--;
		}
	}
}

static uint8_t status_of(struct blk_req *r, int error)
{
	switch (-error) {
	case 0:
		return VIRTIO_BLK_S_OK;
	case EOPNOTSUPP:
		/* A file system that cannot punch holes. Discarding is a hint (5.2.6.2). */
		return r->type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_IOERR;
	}
}

static void io_done(struct vg_io *io, int res)
{
	struct blk_req *r = (struct blk_req *)io;
	static struct vg_ratelimit rl = VG_RATELIMIT_INIT;

	if (res == -EINTR || res == -EAGAIN) {
		io_submit(r);
		return;
	}
	if (res > 0) {
		if ((size_t)res < r->len - r->transferred) {
			advance(r, (size_t)res);
			io_submit(r);
			return;
		}
		res = 0;
	} else if (res == 0 && (r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_OUT)) {
		res = -ENODATA; /* the image shrank below us */
	}
	if (res < 0 && res != -EOPNOTSUPP)
		vg_log_limited(&rl, VG_LOG_ERR,
			       "%s of %zu bytes at %llu failed: %s; the guest sees an I/O error",
			       r->type == VIRTIO_BLK_T_IN      ? "reading"
			       : r->type == VIRTIO_BLK_T_FLUSH ? "flushing"
							       : "writing",
			       r->len, (unsigned long long)r->offset,
			       res == -ENODATA ? "the image is shorter than it was"
					       : strerror(-res));
	r->bq->inflight--;
	req_done(r, status_of(r, res));
}

/* ---- taking requests ---------------------------------------------------- */

static bool range_ok(const struct blk *blk, uint64_t sector, uint64_t len)
{
	uint64_t sectors = blk->img.size / SECTOR;

	return len % SECTOR == 0 && sector <= sectors && len / SECTOR <= sectors - sector;
}

/* Data part of a read or a write: between header (or nothing) and status byte (or nothing). */
static int parse_rw(struct blk_req *r, struct vg_batch *batch, enum vg_dir dir)
{
	struct blk *blk = r->bq->blk;
	uint64_t sector = le64toh(r->hdr.sector);
	size_t off = dir == VG_FROM_GUEST ? sizeof(r->hdr) : 0;
	int ret;

	r->len = dir == VG_FROM_GUEST ? r->chain->out_len - sizeof(r->hdr) : r->chain->in_len - 1;
	if ((dir == VG_FROM_GUEST && blk->img.read_only) || !range_ok(blk, sector, r->len) ||
	    r->len == 0) {
		req_done(r, VIRTIO_BLK_S_IOERR);
		return 0;
	}
	r->offset = sector * SECTOR;
	ret = vg_data_begin(&r->data, batch, r->chain, dir, off, r->len);
	if (ret == -ENOBUFS)
		return ret;
	if (ret < 0) {
		req_done(r, VIRTIO_BLK_S_IOERR);
		return 0;
	}
	r->has_data = true;
	r->iov = r->data.iov;
	r->niov = r->data.niov;
	return 0;
}

static void parse_get_id(struct blk_req *r, struct vg_batch *batch)
{
	/* 5.2.6.1: 20 bytes; a shorter buffer gets what fits. */
	uint32_t room = r->chain->in_len - 1;

	r->len = room < VIRTIO_BLK_ID_BYTES ? room : VIRTIO_BLK_ID_BYTES;
	vg_chain_write(batch, r->chain, 0, r->bq->blk->serial, r->len);
	req_done(r, VIRTIO_BLK_S_OK);
}

/* Discard and write-zeroes: their one range has been fetched beside the header. */
static void parse_range(struct blk_req *r)
{
	struct blk *blk = r->bq->blk;
	uint64_t sector = le64toh(r->range.sector);
	uint64_t sectors = le32toh(r->range.num_sectors);
	uint32_t flags = le32toh(r->range.flags);
	uint32_t known =
		r->type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

	if (r->chain->out_len != sizeof(r->hdr) + sizeof(r->range) || (flags & ~known)) {
		req_done(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	r->offset = sector * SECTOR;
	r->len = sectors * SECTOR;
	if (blk->img.read_only || sectors > VG_LIMIT_DISCARD_SECTORS || sectors == 0 ||
	    !range_ok(blk, sector, r->len))
		req_done(r, VIRTIO_BLK_S_IOERR);
}

/* Return: 0, or -ENOBUFS: put the chain back and go on later. */
static int parse(struct blk_req *r, struct vg_batch *batch)
{
	struct vg_dev *dev = r->bq->dev;

	r->type = le32toh(r->hdr.type);
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		return parse_rw(r, batch, VG_TO_GUEST);
	case VIRTIO_BLK_T_OUT:
		return parse_rw(r, batch, VG_FROM_GUEST);
	case VIRTIO_BLK_T_GET_ID:
		parse_get_id(r, batch);
		return 0;
	case VIRTIO_BLK_T_FLUSH:
		if (r->bq->blk->img.read_only)
			req_done(r, VIRTIO_BLK_S_OK);
		return 0;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		if (!vg_dev_has(dev, r->type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_F_DISCARD
								     : VIRTIO_BLK_F_WRITE_ZEROES))
			break;
		parse_range(r);
		return 0;
	}
	req_done(r, VIRTIO_BLK_S_UNSUPP);
	return 0;
}

/* One batch of chains that have been popped. Return: how many could be taken, of @n. */
static unsigned take(struct blk_queue *bq, struct vg_chain **chains, unsigned n)
{
	struct vg_batch *batch = &bq->blk->batch;
	struct blk_req *reqs[BATCH];
	unsigned taken = n;

	vg_batch_init(batch, bq->dev->mem);
	for (unsigned i = 0; i < n; i++) {
		struct vg_chain *c = chains[i];

		if (c->out_len < sizeof(reqs[i]->hdr) || c->in_len < 1) {
			vg_dev_fault(bq->dev, "queue %u: a request without header or status byte",
				     bq->q);
			vg_batch_run(batch);
			for (unsigned k = 0; k < i; k++)
				req_put(reqs[k]);
			return n; /* nothing of them is answered before the reset */
		}
		reqs[i] = req_get(bq, c);
		vg_chain_read(batch, c, 0, &reqs[i]->hdr, sizeof(reqs[i]->hdr));
		if (c->out_len == sizeof(reqs[i]->hdr) + sizeof(reqs[i]->range))
			vg_chain_read(batch, c, sizeof(reqs[i]->hdr), &reqs[i]->range,
				      sizeof(reqs[i]->range));
	}
	vg_batch_run(batch);
	for (unsigned i = 0; i < taken; i++) {
		if (chains[i]->error) {
			chains[i]->error = 0;
			req_done(reqs[i], VIRTIO_BLK_S_IOERR);
		} else if (parse(reqs[i], batch) == -ENOBUFS) {
			taken = i;
		}
	}
	vg_batch_run(batch); /* data of writes */
	for (unsigned i = 0; i < taken; i++) {
		struct blk_req *r = reqs[i];

		if (r->decided)
			continue;
		if (chains[i]->error) {
			chains[i]->error = 0;
			req_done(r, VIRTIO_BLK_S_IOERR);
			continue;
		}
		bq->inflight++;
		io_submit(r);
	}
	for (unsigned i = taken; i < n; i++)
		req_put(reqs[i]);
	return taken;
}

/* @all chains were taken since it was last asked. Return: whether there are more. */
static bool rearm(struct blk_queue *bq, unsigned *all)
{
	struct vg_dev *dev = bq->dev;
	int64_t limit = bq->blk->wait_ns, now;

	if (!limit || !vg_dev_has(dev, VG_F_EVENT_IDX))
		return vg_dev_rearm(dev, bq->q);
	now = vg_now_ns();
	vg_pace_took(&bq->pace, *all, bq->inflight, dev->queue[bq->q].size / 2, now, limit,
		     bq->gather_until && now >= bq->gather_until);
	*all = 0;
	if (bq->pace.ahead < 2) {
		bq->gather_until = 0;
		return vg_dev_rearm(dev, bq->q);
	}
	bq->gather_until = now + vg_pace_wait(&bq->pace, limit);
	wait_begins(bq, now, bq->gather_until);
	return vg_dev_rearm_after(dev, bq->q, bq->pace.ahead);
}

static void process(struct blk_queue *bq)
{
	struct vg_chain *chains[BATCH];
	unsigned n, taken, all = 0;

	if (bq->stopping || bq->starved || !vg_dev_vq(bq->dev, bq->q))
		return;
	do {
		vg_vq_quiet(vg_dev_vq(bq->dev, bq->q));
		while ((n = vg_dev_pop(bq->dev, bq->q, chains, BATCH)) > 0) {
			taken = take(bq, chains, n);
			while (n > taken)
				vg_vq_unpop(vg_dev_vq(bq->dev, bq->q), chains[--n]);
			all += n;
			if (taken < n || n == 0) {
				bq->starved = true;
				return;
			}
		}
	} while (rearm(bq, &all));
}

static void blk_queue_ready(struct vg_dev *dev, unsigned q)
{
	struct blk *blk = dev->priv;

	process(&blk->queue[q]);
}

/* ---- starting, stopping ------------------------------------------------- */

/* From here on the driver knows the capacity: a successor that finds another one tells it. */
static void save_capacity(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;

	memcpy(&dev->saved[SAVED_CAPACITY], &blk->config.capacity, sizeof(blk->config.capacity));
	vg_dev_save(dev);
}

/* The image may have grown while there was no worker. */
static void check_capacity(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;
	uint64_t told;

	memcpy(&told, &dev->saved[SAVED_CAPACITY], sizeof(told));
	save_capacity(dev);
	if (told && told != blk->config.capacity)
		vg_dev_config_changed(dev);
}

static int blk_start(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;

	apply_cache_mode(dev);
	check_capacity(dev);
	dev->mem->map_from = blk->map_from;
	/* A timer costs more than the eventfd that it may save. */
	if (!blk->wait_is_set)
		blk->wait_ns = dev->port->ops->cheap_notify ? 0 : DEFAULT_WAIT_NS;
	return 0;
}

static void blk_start_queue(struct vg_dev *dev, unsigned q)
{
	struct blk *blk = dev->priv;
	struct blk_queue *bq = &blk->queue[q];
	uint32_t size = dev->queue[q].size;

	*bq = (struct blk_queue){ .dev = dev, .blk = blk, .q = q };
	bq->done_tail = &bq->done;
	bq->complete.run = complete_all;
	bq->timer.expired = wait_is_over;
	bq->reqs = calloc(size, sizeof(*bq->reqs));
	if (!bq->reqs) {
		vg_error("queue %u: out of memory for %u requests", q, size);
		vg_dev_fault(dev, "queue %u cannot start", q);
		bq->stopping = true;
		return;
	}
	for (uint32_t i = 0; i < size; i++) {
		bq->reqs[i].io.done = io_done;
		bq->reqs[i].bq = bq;
		req_put(&bq->reqs[i]);
	}
}

/* What the disk has begun is finished first: a write that lands after the driver was told that the
 * device has stopped could overwrite a later one. */
static void blk_stop_queue(struct vg_dev *dev, unsigned q)
{
	struct blk *blk = dev->priv;
	struct blk_queue *bq = &blk->queue[q];

	bq->stopping = true;
	vg_loop_timer_stop(&bq->timer);
	if (bq->done)
		vg_loop_defer(dev->loop, &bq->complete);
	while (bq->inflight || bq->complete.queued) {
		if (vg_loop_turn(dev->loop, bq->inflight > 0) < 0)
			break;
	}
	free(bq->reqs);
	bq->reqs = NULL;
}

static void blk_reset(struct vg_dev *dev)
{
	memset(dev->saved, 0, sizeof(dev->saved));
	apply_cache_mode(dev);
}

static void blk_describe(struct vg_dev *dev, char *buf, size_t len)
{
	struct blk *blk = dev->priv;

	snprintf(buf, len, "%llu MiB%s%s", (unsigned long long)(blk->img.size >> 20),
		 blk->img.read_only ? ", read-only" : "",
		 blk->write_through ? ", write-through" : "");
}

/*
 * An image that grew (truncate, lvextend): the driver is told and reads `capacity` again. Nobody
 * tells us; one lseek(2) a second is what it costs to find out, and the kernel has no notification
 * that fits both files and block devices and does not come with each write.
 */
static void blk_tick(struct vg_dev *dev)
{
	struct blk *blk = dev->priv;

	if (!vg_raw_grown(&blk->img))
		return;
	blk->config.capacity = htole64(blk->img.size / SECTOR);
	vg_info("the image has grown to %llu MiB", (unsigned long long)(blk->img.size >> 20));
	if (dev->started)
		save_capacity(dev);
	vg_dev_config_changed(dev);
}

/* lseek: how large the image is now, see blk_tick() */
static const struct vg_sandbox_call blk_calls[] = { VG_CALL(lseek), VG_CALLS_END };
static const struct vg_sandbox_needs blk_needs = {
	.calls = blk_calls,
	.loop = VG_LOOP_READ | VG_LOOP_WRITE | VG_LOOP_SYNC | VG_LOOP_FALLOCATE,
	.files = true,
};

const struct vg_device_ops vg_blk = {
	.name = "blk",
	.help = "a disk: a raw image file or a block device of this domain",
	.virtio_id = 2,
	.params = blk_params,
	.needs = &blk_needs,
	.open = blk_open,
	.close = blk_close,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.start = blk_start,
	.start_queue = blk_start_queue,
	.queue_ready = blk_queue_ready,
	.stop_queue = blk_stop_queue,
	.reset = blk_reset,
	.describe = blk_describe,
	.tick = blk_tick,
};
