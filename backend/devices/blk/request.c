// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * request.c - one request, VIRTIO 1.3 section 5.2.6: what the guest asked for, what
 * the disk is told, and what the guest is answered
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/base/probe.h"
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
	r->status = VIRTIO_BLK_S_OK;
	r->failure = VG_FAILED_REFUSED;
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
	vg_loop_defer(vg_dev_loop(bq->dev, bq->q), &bq->complete);
}

/*
 * Bytes written to the device-writable part. 2.7.8: no more may be claimed than was written from the
 * start on without a gap; the status byte lies behind the data, which an error leaves unwritten, and
 * is read by a driver regardless.
 */
uint32_t blk_req_written(const struct blk_req *r)
{
	bool fills = r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_GET_ID ||
		     r->type == BLK_T_GET_LIFETIME || r->type == BLK_T_ZONE_REPORT;
	size_t data = r->status == VIRTIO_BLK_S_OK && fills ? r->len : 0;

	return (uint32_t)(data == r->chain->in_len - 1 ? data + 1 : data);
}

void blk_req_put_status(struct blk_req *r, struct vg_batch *batch)
{
	vg_chain_write(batch, r->chain, r->chain->in_len - 1, &r->status, 1);
}

static enum vg_dev_op op_of(uint32_t type)
{
	switch (type) {
	case VIRTIO_BLK_T_IN:
		return VG_OP_READ;
	case VIRTIO_BLK_T_OUT:
	case BLK_T_ZONE_APPEND:
		return VG_OP_WRITE;
	case VIRTIO_BLK_T_FLUSH:
		return VG_OP_FLUSH;
	default:
		return VG_OP_OTHER;
	}
}

void blk_req_count(struct blk_req *r, int64_t now)
{
	struct vg_dev_stats *stats = vg_dev_stats(r->bq->dev, r->bq->q);

	VG_PROBE(complete, r->bq->q, r->chain->id, r->type, r->status, now - r->taken);
	stats->requests++;
	vg_latency_add(&stats->latency[op_of(r->type)], now - r->taken);
	if (r->status != VIRTIO_BLK_S_OK) {
		stats->errors++;
		stats->failed[r->status == VIRTIO_BLK_S_UNSUPP ? VG_FAILED_UNSUPPORTED
							       : r->failure]++;
	} else if (r->type == VIRTIO_BLK_T_IN) {
		stats->bytes_read += r->len;
	} else if (op_of(r->type) == VG_OP_WRITE) {
		stats->bytes_written += r->len;
	}
}
/* ---- the disk ----------------------------------------------------------- */

/* Zeroes may have to be written: they count as if they were. */
static void pay_zeroes(struct blk_req *r)
{
	struct blk_limits *l = atomic_load(&r->bq->blk->limits);
	const struct blk_cost cost = { .write = true, .bytes = r->len };

	if (blk_limits_on(l))
		blk_limits_take(l, &cost, vg_loop_now(vg_dev_loop(r->bq->dev, r->bq->q)));
}

void blk_req_submit(struct blk_req *r)
{
	struct vg_image_req *io = &r->io;
	unsigned fua = r->bq->blk->write_through ? VG_IMAGE_FUA : 0;

	io->flags = 0;
	io->offset = r->offset;
	io->len = r->len;
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		io->op = r->type == VIRTIO_BLK_T_IN ? VG_IMAGE_READ : VG_IMAGE_WRITE;
		io->flags = (r->type == VIRTIO_BLK_T_OUT ? fua : 0) |
			    (vg_data_is_own(&r->data) ? VG_IMAGE_OWN : 0);
		io->iov = r->data.iov;
		io->niov = r->data.niov;
		break;
	case VIRTIO_BLK_T_FLUSH:
		io->op = VG_IMAGE_FLUSH;
		break;
	case VIRTIO_BLK_T_DISCARD:
		io->op = VG_IMAGE_DISCARD;
		break;
	case BLK_T_SECURE_ERASE:
		io->op = VG_IMAGE_SECURE_ERASE;
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		pay_zeroes(r);
		io->op = VG_IMAGE_ZEROES;
		io->flags = fua | (le32toh(r->range.flags) & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
					   ? VG_IMAGE_UNMAP
					   : 0);
		break;
	default:
		blk_zones_submit(r, io);
		break;
	}
	if (r->type == VIRTIO_BLK_T_FLUSH)
		r->bq->unsynced = false;
	VG_PROBE(submit, r->bq->q, r->chain->id, r->type, r->offset, r->len);
	vg_image_submit(&r->bq->disk, io);
}

static uint8_t status_of(const struct blk_req *r, int error)
{
	uint8_t zones = blk_zones_status(r, error);

	if (zones)
		return zones;
	switch (-error) {
	case 0:
		return VIRTIO_BLK_S_OK;
	case EOPNOTSUPP:
		return VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_IOERR;
	}
}

static const char *doing(uint32_t type)
{
	switch (type) {
	case VIRTIO_BLK_T_IN:
		return "reading";
	case VIRTIO_BLK_T_FLUSH:
		return "flushing";
	case VIRTIO_BLK_T_DISCARD:
		return "discarding";
	case BLK_T_SECURE_ERASE:
		return "erasing";
	default:
		return "writing";
	}
}

static enum vg_dev_failure failure_of(int error)
{
	switch (-error) {
	case ENOSPC:
	case EDQUOT:
		return VG_FAILED_SPACE;
	case ENODATA:
		return VG_FAILED_SHORT;
	case ENODEV:
	case ENXIO:
	case ENOMEDIUM:
	case ESTALE:
		return VG_FAILED_GONE;
	default:
		return VG_FAILED_IO;
	}
}

/* For `vgrant list`, and the log. */
static void remember(struct blk_req *r, int error)
{
	struct blk *blk = r->bq->blk;

	r->failure = (uint8_t)failure_of(error);
	atomic_store(&blk->last_error[r->bq->q].when,
		     vg_loop_now(vg_dev_loop(r->bq->dev, r->bq->q)));
	atomic_store(&blk->last_error[r->bq->q].error, -error);
	vg_log_limited(&blk->io_errors[r->bq->q], VG_LOG_ERR,
		       "%s of %zu bytes at %llu failed: %s; the guest sees an I/O error",
		       doing(r->type), r->len, (unsigned long long)r->offset,
		       error == -ENODATA ? "the image is shorter than it was" : strerror(-error));
}

void blk_req_io_done(struct vg_image_req *io, int error)
{
	struct blk_req *r = container_of(io, struct blk_req, io);
	uint8_t status = status_of(r, error);

	if (status == VIRTIO_BLK_S_IOERR)
		remember(r, error);
	r->bq->unsynced |= r->type == VIRTIO_BLK_T_FLUSH ? error != 0 : r->type != VIRTIO_BLK_T_IN;
	r->bq->inflight--;
	blk_req_done(r, status);
}

/* ---- parsing ------------------------------------------------------------ */

bool blk_req_range_ok(const struct blk *blk, uint64_t sector, uint64_t len)
{
	uint64_t sectors = blk->img->size / SECTOR;

	return len % SECTOR == 0 && sector <= sectors && len / SECTOR <= sectors - sector;
}

int blk_req_take_data(struct blk_req *r, struct vg_batch *batch, enum vg_dir dir, size_t off)
{
	int ret = vg_data_begin(&r->data, batch, r->chain, dir, off, r->len);

	if (ret == -ENOBUFS)
		return ret;
	if (ret < 0) {
		blk_req_done(r, VIRTIO_BLK_S_IOERR);
		return 0;
	}
	r->has_data = true;
	return 0;
}

/* Data part of a read or a write: between header (or nothing) and status byte (or nothing). */
static int parse_rw(struct blk_req *r, struct vg_batch *batch, enum vg_dir dir)
{
	struct blk *blk = r->bq->blk;
	uint64_t sector = le64toh(r->hdr.sector);
	size_t off = dir == VG_FROM_GUEST ? sizeof(r->hdr) : 0;

	r->len = dir == VG_FROM_GUEST ? r->chain->out_len - sizeof(r->hdr) : r->chain->in_len - 1;
	if ((dir == VG_FROM_GUEST && blk->img->read_only) ||
	    !blk_req_range_ok(blk, sector, r->len) || r->len == 0) {
		blk_req_done(r, VIRTIO_BLK_S_IOERR);
		return 0;
	}
	r->offset = sector * SECTOR;
	return blk_req_take_data(r, batch, dir, off);
}

static void parse_get_id(struct blk_req *r, struct vg_batch *batch)
{
	/* 5.2.6.1: 20 bytes; a shorter buffer gets what fits. */
	uint32_t room = r->chain->in_len - 1;

	r->len = room < VIRTIO_BLK_ID_BYTES ? room : VIRTIO_BLK_ID_BYTES;
	vg_chain_write(batch, r->chain, 0, r->bq->blk->serial, r->len);
	blk_req_done(r, VIRTIO_BLK_S_OK);
}

static void parse_lifetime(struct blk_req *r, struct vg_batch *batch)
{
	uint16_t *life = r->life;
	int ret = r->chain->in_len - 1 < sizeof(struct blk_lifetime)
			  ? -EINVAL
			  : vg_image_lifetime(r->bq->blk->img, life);

	for (unsigned i = 0; ret == 0 && i < 3; i++)
		life[i] = htole16(life[i]);
	r->len = sizeof(struct blk_lifetime);
	if (ret == 0)
		vg_chain_write(batch, r->chain, 0, life, r->len);
	blk_req_done(r, ret == 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

/* Discard, secure erase and write-zeroes: their one range has been fetched beside the header. */
static void parse_range(struct blk_req *r)
{
	struct blk *blk = r->bq->blk;
	uint64_t sector = le64toh(r->range.sector);
	uint64_t sectors = le32toh(r->range.num_sectors);
	uint64_t most =
		le32toh(r->type == VIRTIO_BLK_T_DISCARD ? blk->config.max_discard_sectors
			: r->type == BLK_T_SECURE_ERASE ? blk->config.max_secure_erase_sectors
							: blk->config.max_write_zeroes_sectors);
	uint32_t flags = le32toh(r->range.flags);
	uint32_t known =
		r->type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

	if (r->chain->out_len != sizeof(r->hdr) + sizeof(r->range) || (flags & ~known)) {
		blk_req_done(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	r->offset = sector * SECTOR;
	r->len = sectors * SECTOR;
	if (blk->img->read_only || sectors > most || sectors == 0 ||
	    !blk_req_range_ok(blk, sector, r->len))
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
		if (r->bq->blk->img->read_only || r->bq->blk->flush_is_nothing)
			blk_req_done(r, VIRTIO_BLK_S_OK);
		return 0;
	case BLK_T_GET_LIFETIME:
		if (!vg_dev_has(dev, BLK_F_LIFETIME))
			break;
		parse_lifetime(r, batch);
		return 0;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
	case BLK_T_SECURE_ERASE:
		if (!vg_dev_has(dev, r->type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_F_DISCARD
				     : r->type == BLK_T_SECURE_ERASE ? (unsigned)BLK_F_SECURE_ERASE
								     : VIRTIO_BLK_F_WRITE_ZEROES))
			break;
		parse_range(r);
		return 0;
	default:
		if (vg_dev_has(dev, BLK_F_ZONED))
			return blk_zones_parse(r, batch);
		break;
	}
	blk_req_done(r, VIRTIO_BLK_S_UNSUPP);
	return 0;
}
