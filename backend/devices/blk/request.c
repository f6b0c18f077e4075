// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * request.c - one request, VIRTIO 1.3 section 5.2.6: what the guest asked for, what
 * the disk is told, and what the guest is answered
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "backend/base/limits.h"
#include "backend/devices/blk/int.h"

struct blk_req *blk_req_get(struct blk_queue *bq, struct vg_chain *c)
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

void blk_req_put(struct blk_req *r)
{
	r->next = r->bq->free;
	r->bq->free = r;
}

/* The request is decided; what the guest must see is copied at the end of the turn. */
void blk_req_done(struct blk_req *r, uint8_t status)
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
uint32_t blk_req_written(const struct blk_req *r)
{
	bool fills = r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_GET_ID;
	size_t data = r->status == VIRTIO_BLK_S_OK && fills ? r->len : 0;

	return (uint32_t)(data == r->chain->in_len - 1 ? data + 1 : data);
}

void blk_req_put_status(struct blk_req *r, struct vg_batch *batch)
{
	vg_chain_write(batch, r->chain, r->chain->in_len - 1, &r->status, 1);
}

void blk_req_count(struct blk_req *r)
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
/* ---- disk I/O ----------------------------------------------------------- */

void blk_req_submit(struct blk_req *r)
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

void blk_req_io_done(struct vg_io *io, int res)
{
	struct blk_req *r = (struct blk_req *)io;
	static struct vg_ratelimit rl = VG_RATELIMIT_INIT;

	if (res == -EINTR || res == -EAGAIN) {
		blk_req_submit(r);
		return;
	}
	if (res > 0) {
		if ((size_t)res < r->len - r->transferred) {
			advance(r, (size_t)res);
			blk_req_submit(r);
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
	blk_req_done(r, status_of(r, res));
}

/* ---- parsing ------------------------------------------------------------ */

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
		blk_req_done(r, VIRTIO_BLK_S_IOERR);
		return 0;
	}
	r->offset = sector * SECTOR;
	ret = vg_data_begin(&r->data, batch, r->chain, dir, off, r->len);
	if (ret == -ENOBUFS)
		return ret;
	if (ret < 0) {
		blk_req_done(r, VIRTIO_BLK_S_IOERR);
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
	blk_req_done(r, VIRTIO_BLK_S_OK);
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
		blk_req_done(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	r->offset = sector * SECTOR;
	r->len = sectors * SECTOR;
	if (blk->img.read_only || sectors > VG_LIMIT_DISCARD_SECTORS || sectors == 0 ||
	    !range_ok(blk, sector, r->len))
		blk_req_done(r, VIRTIO_BLK_S_IOERR);
}

/* Return: 0, or -ENOBUFS: put the chain back and go on later. */
int blk_req_parse(struct blk_req *r, struct vg_batch *batch)
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
			blk_req_done(r, VIRTIO_BLK_S_OK);
		return 0;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		if (!vg_dev_has(dev, r->type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_F_DISCARD
								     : VIRTIO_BLK_F_WRITE_ZEROES))
			break;
		parse_range(r);
		return 0;
	}
	blk_req_done(r, VIRTIO_BLK_S_UNSUPP);
	return 0;
}
