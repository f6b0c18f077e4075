// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * budget.c - see budget.h
 */
#include "backend/daemon/budget.h"

enum {
	/* A device works with these, slowly: a small pool, no data mapped, some requests bounced. */
	FLOOR_POOL_PAGES = 64,
	FLOOR_DATA_PAGES = 16,
	FLOOR_BOUNCE_BYTES = VG_LIMIT_BOUNCE_LEAST,
	/* A GPU shows a text console of 640 x 480 with these, without and with blobs. */
	FLOOR_LONG_PAGES = 320,
	FLOOR_HOST_BYTES = 320 << 12,
	DATA_PART = 5, /* of the pages that a guest may have mapped, one in five is for data */
};

static uint64_t deal(uint64_t all, uint64_t used, uint64_t to_come, uint64_t floor, uint64_t most)
{
	uint64_t kept = used + to_come * floor;
	uint64_t share = all > kept ? (all - kept) / 2 : 0;

	return share < floor ? floor : share < most ? share : most;
}

struct vg_budget vg_budget_deal(const struct vg_guest_budget *all, const struct vg_budget *used,
				unsigned present, bool keeps)
{
	uint64_t to_come = all->devices > present + 1 ? all->devices - present - 1 : 0;
	uint64_t data = all->mapped_pages / DATA_PART;

	struct vg_budget share = {
		.pool_pages = (uint32_t)deal(all->mapped_pages - data, used->pool_pages, to_come,
					     FLOOR_POOL_PAGES, VG_LIMIT_POOL_PAGES),
		.data_pages = (uint32_t)deal(data, used->data_pages, to_come, FLOOR_DATA_PAGES,
					     VG_LIMIT_DATA_PAGES),
		.bounce_bytes = deal(all->bounce_bytes, used->bounce_bytes, to_come,
				     FLOOR_BOUNCE_BYTES, VG_LIMIT_BOUNCE_BYTES),
	};

	/* Nothing is kept back: few guests have a second one. */
	if (keeps) {
		share.long_pages = (uint32_t)deal(all->long_pages, used->long_pages, 0,
						  FLOOR_LONG_PAGES, VG_LIMIT_LONG_PAGES);
		share.host_bytes = deal(all->host_bytes, used->host_bytes, 0, FLOOR_HOST_BYTES,
					VG_LIMIT_HOST_BYTES);
	}
	return share;
}

void vg_budget_add(struct vg_budget *sum, const struct vg_budget *share)
{
	sum->pool_pages += share->pool_pages;
	sum->data_pages += share->data_pages;
	sum->long_pages += share->long_pages;
	sum->bounce_bytes += share->bounce_bytes;
	sum->host_bytes += share->host_bytes;
}
