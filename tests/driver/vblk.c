/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vblk.c - virtio-blk requests on a driver-side queue
 */
#include "tests/driver/vblk.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "tests/driver/vgrant_driver.h"

#define HDR_LEN 16u /* struct virtio_blk_outhdr */

static void queue_kick(void *ctx)
{
	drv_queue_kick(ctx);
}

static int queue_wait(void *ctx, struct drv_used *used)
{
	return drv_queue_wait(ctx, used);
}

void drv_blk_queue(struct drv_blk *b, struct drv_queue *q, struct drv_mem *mem)
{
	*b = (struct drv_blk){
		.vr = &q->vr, .mem = mem, .kick = queue_kick, .wait = queue_wait, .ctx = q
	};
}

int drv_blk_submit(struct drv_blk *b, struct drv_blk_req *req)
{
	struct drv_seg out[1 + DRV_BLK_MAX_SEG], in[1 + DRV_BLK_MAX_SEG];
	unsigned int n_out = 0, n_in = 0;
	struct virtio_blk_outhdr *hdr;
	int rc;

	if (req->segs > DRV_BLK_MAX_SEG)
		return -EINVAL;
	rc = drv_alloc(b->mem, HDR_LEN + 1, 16, true, &req->hdr);
	if (rc)
		return rc;
	hdr = req->hdr.virt;
	hdr->type = htole32(req->type);
	hdr->sector = htole64(req->sector);
	req->status = (uint8_t *)req->hdr.virt + HDR_LEN;
	*req->status = 0xff; /* what no device writes */
	out[n_out++] = (struct drv_seg){ req->hdr.addr, HDR_LEN };
	if (req->dev_writes) {
		memcpy(in, req->seg, req->segs * sizeof(in[0]));
		n_in = req->segs;
	} else {
		memcpy(out + 1, req->seg, req->segs * sizeof(out[0]));
		n_out += req->segs;
	}
	in[n_in++] = (struct drv_seg){ req->hdr.addr + HDR_LEN, 1 };
	rc = drv_vring_add(b->vr, out, n_out, in, n_in, req, req->add_flags);
	if (rc < 0)
		drv_free(b->mem, &req->hdr);
	return rc < 0 ? rc : 0;
}

struct drv_blk_req *drv_blk_finish(struct drv_blk *b, const struct drv_used *used)
{
	struct drv_blk_req *req = used->cookie;
	uint32_t want = 1;
	unsigned int i;

	for (i = 0; req->dev_writes && i < req->segs; i++)
		want += req->seg[i].len;
	req->used_len = used->len;
	switch (*req->status) {
	case VIRTIO_BLK_S_OK:
		/* The used length of a success covers data and status (2.7.8.2, 5.2.6.2). */
		req->result = used->skipped || used->len == want ? 0 : -EPROTO;
		break;
	case VIRTIO_BLK_S_IOERR:
		req->result = -EIO;
		break;
	case VIRTIO_BLK_S_UNSUPP:
		req->result = -EOPNOTSUPP;
		break;
	default:
		req->result = -EPROTO;
	}
	if (drv_free(b->mem, &req->hdr))
		req->result = -EBUSY;
	return req;
}

int drv_blk_do(struct drv_blk *b, struct drv_blk_req *req)
{
	struct drv_used used;
	int rc = drv_blk_submit(b, req);

	if (rc)
		return rc;
	b->kick(b->ctx);
	rc = b->wait(b->ctx, &used);
	if (rc)
		return rc;
	return drv_blk_finish(b, &used)->result;
}

/* bounce() - a request with one data buffer of its own */
static int bounce(struct drv_blk *b, uint32_t type, uint64_t sector, void *in, const void *out,
		  size_t len)
{
	struct drv_blk_req req = { .type = type, .sector = sector, .dev_writes = in };
	struct drv_buf buf = { 0 };
	int rc = 0;

	if (len)
		rc = drv_alloc(b->mem, len, DRV_SECTOR, in, &buf);
	if (rc)
		return rc;
	if (len) {
		if (out)
			memcpy(buf.virt, out, len);
		req.seg[0] = (struct drv_seg){ buf.addr, (uint32_t)len };
		req.segs = 1;
	}
	rc = drv_blk_do(b, &req);
	if (!rc && in)
		memcpy(in, buf.virt, len);
	/* One that never came back stays the device's. */
	if (rc != -ETIMEDOUT && drv_free(b->mem, &buf))
		rc = -EBUSY;
	return rc;
}

int drv_blk_read(struct drv_blk *b, uint64_t sector, void *data, size_t len)
{
	return bounce(b, VIRTIO_BLK_T_IN, sector, data, NULL, len);
}

int drv_blk_write(struct drv_blk *b, uint64_t sector, const void *data, size_t len)
{
	return bounce(b, VIRTIO_BLK_T_OUT, sector, NULL, data, len);
}

int drv_blk_flush(struct drv_blk *b)
{
	return bounce(b, VIRTIO_BLK_T_FLUSH, 0, NULL, NULL, 0);
}

int drv_blk_get_id(struct drv_blk *b, char id[21])
{
	id[20] = '\0';
	return bounce(b, VIRTIO_BLK_T_GET_ID, 0, id, NULL, VIRTIO_BLK_ID_BYTES);
}

int drv_blk_discard(struct drv_blk *b, uint64_t sector, uint32_t sectors)
{
	struct virtio_blk_discard_write_zeroes r = { .sector = htole64(sector),
						     .num_sectors = htole32(sectors) };

	return bounce(b, VIRTIO_BLK_T_DISCARD, 0, NULL, &r, sizeof(r));
}

int drv_blk_write_zeroes(struct drv_blk *b, uint64_t sector, uint32_t sectors, bool unmap)
{
	struct virtio_blk_discard_write_zeroes r = {
		.sector = htole64(sector),
		.num_sectors = htole32(sectors),
		.flags = htole32(unmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0),
	};

	return bounce(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, NULL, &r, sizeof(r));
}
