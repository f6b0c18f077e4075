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
	DATA_PART = 5, /* of the pages that a guest may have mapped, one in five is for data */
};

static uint64_t deal(uint64_t all, uint64_t used, uint64_t to_come, uint64_t floor, uint64_t most)
{
	uint64_t kept = used + to_come * floor;
	uint64_t share = all > kept ? (all - kept) / 2 : 0;

	return share < floor ? floor : share < most ? share : most;
}

struct vg_budget vg_budget_deal(const struct vg_guest_budget *all, const struct vg_budget *used,
				unsigned present)
{
	uint64_t to_come = all->devices > present + 1 ? all->devices - present - 1 : 0;
	uint64_t data = all->mapped_pages / DATA_PART;

	return (struct vg_budget){
		.pool_pages = (uint32_t)deal(all->mapped_pages - data, used->pool_pages, to_come,
					     FLOOR_POOL_PAGES, VG_LIMIT_POOL_PAGES),
		.data_pages = (uint32_t)deal(data, used->data_pages, to_come, FLOOR_DATA_PAGES,
					     VG_LIMIT_DATA_PAGES),
		.bounce_bytes = deal(all->bounce_bytes, used->bounce_bytes, to_come,
				     FLOOR_BOUNCE_BYTES, VG_LIMIT_BOUNCE_BYTES),
	};
}

void vg_budget_add(struct vg_budget *sum, const struct vg_budget *share)
{
	sum->pool_pages += share->pool_pages;
	sum->data_pages += share->data_pages;
	sum->bounce_bytes += share->bounce_bytes;
}
