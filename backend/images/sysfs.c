// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sysfs.c - what the kernel says of a block device in /sys/dev/block/MAJOR:MINOR, for raw_open.c and
 * zones.c (Documentation/ABI/stable/sysfs-block)
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/images/raw.h"

/* A partition's disk lies one up. */
static const char *const up[] = { "", "../" };

bool vg_raw_sysfs_text(dev_t dev, const char *name, char *text, size_t size)
{
	char path[160];
	FILE *f = NULL;
	bool ok;

	for (unsigned i = 0; i < COUNT(up) && !f; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s%s", major(dev), minor(dev),
			 up[i], name);
		f = fopen(path, "re");
	}
	ok = f && fgets(text, (int)size, f);
	if (f)
		fclose(f);
	if (ok)
		text[strcspn(text, "\n")] = '\0';
	return ok;
}

uint64_t vg_raw_sysfs_number(dev_t dev, const char *name)
{
	unsigned long long value = 0;
	char text[32];

	if (!vg_raw_sysfs_text(dev, name, text, sizeof(text)) || sscanf(text, "%llu", &value) != 1)
		return 0;
	return value;
}

int vg_raw_sysfs_open(dev_t dev, const char *name)
{
	char path[160];
	int fd = -1;

	for (unsigned i = 0; i < COUNT(up) && fd < 0; i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s%s", major(dev), minor(dev),
			 up[i], name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	return fd;
}
