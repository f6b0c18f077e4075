// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zones.c - requests to a host-managed zoned disk, VIRTIO 1.3 section 5.2.6
 *
 *	ZONE_REPORT	answered at once, from what the device says: it waits for it
 *	ZONE_APPEND	data as of a write; before the status byte there are eight bytes more, which
 *			learn where it was written
 *	ZONE_*		no data: of the zone that starts at the sector; RESET_ALL, of all
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/blk/int.h"

enum {
	APPEND_SECTOR = sizeof(uint64_t), /* bytes before the status byte */
	REPORT_MOST = 1024,		  /* zones of one report; a driver asks for the rest */
};

static const struct vg_image_zones *zones_of(const struct blk_req *r)
{
	return &r->bq->blk->img->limits.zones;
}

void blk_zones_config(struct blk *blk)
{
	const struct vg_image_zones *z = &blk->img->limits.zones;

	if (!z->size)
		return;
	blk->config.zoned.zone_sectors = htole32((uint32_t)(z->size / SECTOR));
	blk->config.zoned.max_open_zones = htole32(z->max_open);
	blk->config.zoned.max_active_zones = htole32(z->max_active);
	blk->config.zoned.max_append_sectors = htole32((uint32_t)(z->max_append / SECTOR));
	blk->config.zoned.write_granularity = htole32(z->granularity);
	blk->config.zoned.model = BLK_Z_HM;
}

/* ---- report ------------------------------------------------------------- */

static void describe(struct blk_report_zone *d, const struct vg_image_zone *z)
{
	*d = (struct blk_report_zone){
		.z_cap = htole64(z->capacity / SECTOR),
		.z_start = htole64(z->start / SECTOR),
		.z_wp = htole64(z->wp / SECTOR),
		.z_type = z->type,
		.z_state = z->state,
	};
}

/* Return: how many of @room zones there are, in @report behind its head; or negative errno. */
static int make_report(struct blk_req *r, uint8_t *report, unsigned room)
{
	struct vg_image_zone *zones = calloc(room, sizeof(*zones));
	struct blk_report_head *head = (struct blk_report_head *)report;
	struct blk_report_zone *list = (struct blk_report_zone *)(head + 1);
	int n = zones ? vg_image_report(r->bq->blk->img, r->offset, zones, room) : -ENOMEM;

	for (int i = 0; i < n; i++)
		describe(&list[i], &zones[i]);
	memset(head, 0, sizeof(*head));
	head->nr_zones = htole64(n < 0 ? 0 : (uint64_t)n);
	free(zones);
	return n;
}

/* From @report to the guest's buffers. */
static void scatter(const struct vg_data *d, const uint8_t *report, size_t len)
{
	for (unsigned i = 0; i < d->niov && len; i++) {
		size_t n = d->iov[i].iov_len < len ? d->iov[i].iov_len : len;

		memcpy(d->iov[i].iov_base, report, n);
		report += n;
		len -= n;
	}
}

static int parse_report(struct blk_req *r, struct vg_batch *batch)
{
	size_t room = r->chain->in_len - 1;
	uint8_t *report;
	size_t most;
	int ret;

	r->offset = le64toh(r->hdr.sector) * SECTOR;
	if (room < sizeof(struct blk_report_head) + sizeof(struct blk_report_zone) ||
	    !blk_req_range_ok(r->bq->blk, le64toh(r->hdr.sector), SECTOR)) {
		blk_req_done(r, BLK_S_ZONE_INVALID_CMD);
		return 0;
	}
	most = room / sizeof(struct blk_report_zone) - 1; /* the head is as large as one */
	most = most > REPORT_MOST ? REPORT_MOST : most;
	r->len = (1 + most) * sizeof(struct blk_report_zone);
	ret = blk_req_take_data(r, batch, VG_TO_GUEST, 0);
	if (ret < 0 || r->decided)
		return ret;
	report = calloc(1, r->len);
	ret = report ? make_report(r, report, (unsigned)most) : -ENOMEM;
	if (ret >= 0) {
		r->len = (1 + (size_t)ret) * sizeof(struct blk_report_zone);
		scatter(&r->data, report, r->len);
	}
	free(report);
	blk_req_done(r, ret < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
	return 0;
}

/* ---- the others --------------------------------------------------------- */

static bool starts_a_zone(const struct blk_req *r)
{
	uint64_t sector = le64toh(r->hdr.sector);

	return blk_req_range_ok(r->bq->blk, sector, SECTOR) &&
	       sector * SECTOR % zones_of(r)->size == 0;
}

static int parse_append(struct blk_req *r, struct vg_batch *batch)
{
	const struct vg_image_zones *z = zones_of(r);

	r->len = r->chain->out_len - sizeof(r->hdr);
	if (r->chain->in_len < APPEND_SECTOR + 1 || !starts_a_zone(r) || !r->len ||
	    r->len % SECTOR || (z->max_append && r->len > z->max_append) ||
	    (z->granularity && r->len % z->granularity)) {
		blk_req_done(r, BLK_S_ZONE_INVALID_CMD);
		return 0;
	}
	r->offset = le64toh(r->hdr.sector) * SECTOR;
	return blk_req_take_data(r, batch, VG_FROM_GUEST, sizeof(r->hdr));
}

/* The last zone may be shorter. */
static void parse_manage(struct blk_req *r)
{
	uint64_t size = r->bq->blk->img->size;

	if (r->type == BLK_T_ZONE_RESET_ALL) {
		r->offset = 0;
		r->len = size;
	} else if (starts_a_zone(r)) {
		r->offset = le64toh(r->hdr.sector) * SECTOR;
		r->len = zones_of(r)->size;
		if (r->len > size - r->offset)
			r->len = size - r->offset;
	} else {
		blk_req_done(r, BLK_S_ZONE_INVALID_CMD);
	}
}

int blk_zones_parse(struct blk_req *r, struct vg_batch *batch)
{
	switch (r->type) {
	case BLK_T_ZONE_REPORT:
		return parse_report(r, batch);
	case BLK_T_ZONE_APPEND:
	case BLK_T_ZONE_OPEN:
	case BLK_T_ZONE_CLOSE:
	case BLK_T_ZONE_FINISH:
	case BLK_T_ZONE_RESET:
	case BLK_T_ZONE_RESET_ALL:
		break;
	default:
		blk_req_done(r, VIRTIO_BLK_S_UNSUPP);
		return 0;
	}
	if (r->bq->blk->img->read_only) {
		blk_req_done(r, VIRTIO_BLK_S_IOERR);
		return 0;
	}
	if (r->type == BLK_T_ZONE_APPEND)
		return parse_append(r, batch);
	parse_manage(r);
	return 0;
}

void blk_zones_submit(struct blk_req *r, struct vg_image_req *io)
{
	switch (r->type) {
	case BLK_T_ZONE_APPEND:
		io->op = VG_IMAGE_APPEND;
		io->flags = (r->bq->blk->write_through ? VG_IMAGE_FUA : 0) |
			    (vg_data_is_own(&r->data) ? VG_IMAGE_OWN : 0);
		io->iov = r->data.iov;
		io->niov = r->data.niov;
		break;
	case BLK_T_ZONE_OPEN:
		io->op = VG_IMAGE_ZONE_OPEN;
		break;
	case BLK_T_ZONE_CLOSE:
		io->op = VG_IMAGE_ZONE_CLOSE;
		break;
	case BLK_T_ZONE_FINISH:
		io->op = VG_IMAGE_ZONE_FINISH;
		break;
	default:
		io->op = VG_IMAGE_ZONE_RESET;
		break;
	}
}

uint8_t blk_zones_status(const struct blk_req *r, int error)
{
	if (!zones_of(r)->size)
		return 0;
	switch (-error) {
	case ESPIPE:
		return BLK_S_ZONE_UNALIGNED_WP;
	case ETOOMANYREFS:
		return BLK_S_ZONE_OPEN_RESOURCE;
	case EOVERFLOW:
		return BLK_S_ZONE_ACTIVE_RESOURCE;
	case EINVAL:
		return r->type >= BLK_T_ZONE_APPEND ? BLK_S_ZONE_INVALID_CMD : 0;
	default:
		return 0;
	}
}

void blk_zones_answer(struct blk_req *r, struct vg_batch *batch)
{
	if (r->type != BLK_T_ZONE_APPEND)
		return;
	r->append_sector = htole64(r->io.offset / SECTOR);
	vg_chain_write(batch, r->chain, r->chain->in_len - 1 - APPEND_SECTOR, &r->append_sector,
		       APPEND_SECTOR);
}
