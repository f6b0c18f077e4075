// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zones.c - what a host-managed zoned block device is asked by ioctl(2): <linux/blkzoned.h>
 *
 * Nothing of it is kept: where a zone's write pointer is the device knows. All of it blocks, for one
 * command of the device.
 */
#include <errno.h>
#include <linux/blkzoned.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "backend/images/raw.h"

enum { SECTOR = 512 };

void vg_zones_measure(dev_t dev, struct vg_image_zones *z)
{
	char model[32];

	memset(z, 0, sizeof(*z));
	if (!vg_raw_sysfs_text(dev, "queue/zoned", model, sizeof(model)) ||
	    strcmp(model, "host-managed") != 0)
		return;
	z->size = vg_raw_sysfs_number(dev, "queue/chunk_sectors") * SECTOR;
	z->max_open = (uint32_t)vg_raw_sysfs_number(dev, "queue/max_open_zones");
	z->max_active = (uint32_t)vg_raw_sysfs_number(dev, "queue/max_active_zones");
	z->max_append = vg_raw_sysfs_number(dev, "queue/zone_append_max_bytes");
	z->granularity = (uint32_t)vg_raw_sysfs_number(dev, "queue/zone_write_granularity");
}

int vg_zones_report(int fd, uint64_t offset, struct vg_image_zone *out, unsigned n)
{
	struct blk_zone_report *rep = calloc(1, sizeof(*rep) + n * sizeof(rep->zones[0]));
	int ret = rep ? 0 : -ENOMEM;

	if (ret == 0) {
		rep->sector = offset / SECTOR;
		rep->nr_zones = n;
		ret = ioctl(fd, BLKREPORTZONE, rep) < 0 ? -errno : (int)rep->nr_zones;
	}
	for (int i = 0; i < ret && i < (int)n; i++) {
		const struct blk_zone *z = &rep->zones[i];
		uint64_t capacity = rep->flags & BLK_ZONE_REP_CAPACITY ? z->capacity : z->len;

		out[i] = (struct vg_image_zone){
			.start = z->start * SECTOR,
			.size = z->len * SECTOR,
			.capacity = capacity * SECTOR,
			.wp = z->wp * SECTOR,
			.type = z->type,
			.state = z->cond,
		};
	}
	free(rep);
	return ret;
}

int vg_zones_manage(int fd, enum vg_image_op op, uint64_t offset, uint64_t len)
{
	struct blk_zone_range range = { .sector = offset / SECTOR, .nr_sectors = len / SECTOR };
	unsigned long request = op == VG_IMAGE_ZONE_OPEN     ? BLKOPENZONE
				: op == VG_IMAGE_ZONE_CLOSE  ? BLKCLOSEZONE
				: op == VG_IMAGE_ZONE_FINISH ? BLKFINISHZONE
							     : BLKRESETZONE;

	return ioctl(fd, request, &range) < 0 ? -errno : 0;
}
