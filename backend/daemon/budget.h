/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * budget.h - how what one guest may hold is dealt out over its devices
 *
 * A worker learns its share when it starts, and keeps it until it ends; nobody knows how many more
 * devices will come. So each gets half of what is left, at most what one device may have, and a
 * floor is kept back for each device that may still come: the first few get all that they can use,
 * and the last still works. What a worker had is there for the next when it has ended, not before:
 * until then its pages are mapped.
 */
#ifndef VG_BUDGET_H
#define VG_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/limits.h"

/* What a guest may hold, in all. */
struct vg_guest_budget {
	uint64_t mapped_pages; /* of pools and data */
	uint64_t bounce_bytes;
	uint64_t long_pages, host_bytes; /* see struct vg_budget */
	uint64_t devices;		 /* that it may have, at most */
};

/**
 * vg_budget_deal - the share of one more device
 * @used: what the guest's other devices have, added up
 * @present: how many these are
 * @keeps: it is one that holds long_pages and host_bytes (struct vg_device_ops); others get none
 */
struct vg_budget vg_budget_deal(const struct vg_guest_budget *all, const struct vg_budget *used,
				unsigned present, bool keeps);

/** vg_budget_add - @sum += @share, for @used above */
void vg_budget_add(struct vg_budget *sum, const struct vg_budget *share);

#endif /* VG_BUDGET_H */
