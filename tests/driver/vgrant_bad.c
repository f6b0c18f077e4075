/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgrant_bad.c - see vgrant_bad.h
 */
#include "tests/driver/vgrant_bad.h"

#include <stdio.h>
#include <string.h>

#include "backend/base/container.h"

#define BIT(n) (1ull << (n))

void drv_bad_queues(uint64_t at, uint64_t ro, struct drv_bad_queue bad[DRV_BAD_QUEUES])
{
	const struct drv_bad_queue all[] = {
		{ 0, at, at + 4096, at + 8192, "size 0" },
		{ 3, at, at + 4096, at + 8192, "size 3" },
		{ 65536, at, at + 4096, at + 8192, "size 65536" },
		{ 0x80000000, at, at + 4096, at + 8192, "size 2^31" },
		{ 0xffffffff, at, at + 4096, at + 8192, "size 2^32 - 1" },
		{ 16, at + 8, at + 4096, at + 8192, "descriptors misaligned" },
		{ 16, at, at + 4097, at + 8192, "available ring misaligned" },
		{ 16, at, at + 4096, at + 8194, "used ring misaligned" },
		{ 16, at & ~BIT(63), at + 4096, at + 8192, "no grant address" },
		{ 16, at | BIT(50), at + 4096, at + 8192, "bit 50" },
		{ 16, 0, 0, 0, "address 0" },
		{ 16, ~0ull & ~15ull, at + 4096, at + 8192, "the last address" },
		{ 16, ro, at + 4096, at + 8192, "read-only descriptors" },
		{ 16, at, ro, at + 8192, "read-only available ring" },
		{ 16, at, at + 4096, ro, "read-only used ring" },
		{ 16, VIRTIO_GRANT_ADDR(15000, 0), at + 4096, at + 8192, "not granted" },
		{ 16, VIRTIO_GRANT_ADDR(20000, 0), at + 4096, at + 8192, "not granted either" },
		{ 16, VIRTIO_GRANT_ADDR(0xffffffff, 0), at, at + 4096, "no such reference" },
		{ 32768, at, at + 4096, at + 8192, "not all granted" },
	};

	_Static_assert(COUNT(all) == DRV_BAD_QUEUES, "all of them");
	memcpy(bad, all, sizeof(all));
}

int drv_dev_put(struct drv_dev *dev, const char *name, const char *text)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", dev->front, name);
	return drv_xs_text(dev->xs, path, text);
}

unsigned int drv_dev_odd_state(struct drv_dev *dev, unsigned int seed, unsigned int *pause)
{
	static const char *const odd[] = { "", "0", "9", "77", "-1", "x", "4x", "99999999999" };

	seed = seed * 1103515245 + 12345;
	if ((seed >> 16) % 8 == 0)
		drv_dev_put(dev, "state", odd[(seed >> 20) % 8]);
	else if ((seed >> 16) % 31 == 0)
		drv_dev_put(dev, "state", NULL);
	else
		drv_dev_set_state(dev, 1 + (seed >> 16) % 6);
	*pause = (seed >> 24) % 4 == 0 ? (seed >> 16) % 3 + 1 : 0;
	return seed;
}
