// SPDX-License-Identifier: GPL-2.0-or-later
/* erase.c - BLKSECDISCARD of <linux/fs.h>: data is gone for good, also from flash that is not in use */
#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "backend/images/raw.h"

/* No attribute of sysfs says it. What can erase looks at the range, which is none; what cannot does not
 * (Linux: block/ioctl.c, blk_ioctl_secure_erase()). */
bool vg_raw_can_erase(int fd)
{
	uint64_t none[2] = { 1, 1 };

	return ioctl(fd, BLKSECDISCARD, none) < 0 && errno == EINVAL;
}

int vg_raw_erase(int fd, uint64_t offset, uint64_t len)
{
	uint64_t range[2] = { offset, len };

	return ioctl(fd, BLKSECDISCARD, range) < 0 ? -errno : 0;
}
