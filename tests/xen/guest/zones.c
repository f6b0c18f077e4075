// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zones.c - a host-managed zoned disk, as programs of the guest use it: <linux/blkzoned.h>
 *
 *	zones DISK ZONES CONVENTIONAL
 *
 * DISK has so many zones, the first ones conventional. Reports, opens, closes, writes, finishes and resets
 * zones, and does what is not allowed; says "@ok" or "@no" of each, as a guest's script does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/blkzoned.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SECTOR = 512, BLOCK = 4096, MOST = 256 };

static int disk;
static unsigned zones;
static char *block;
static struct blk_zone_report *report;

static void check(bool ok, const char *fmt, ...)
{
	va_list ap;

	printf(ok ? "@ok " : "@no ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(ok ? "\n" : " (%s)\n", strerror(errno));
	fflush(stdout);
}

static const struct blk_zone *zone(unsigned i)
{
	memset(report, 0, sizeof(*report));
	report->nr_zones = MOST;
	if (ioctl(disk, BLKREPORTZONE, report) < 0) {
		check(false, "report");
		exit(1);
	}
	return &report->zones[i];
}

static bool manage(unsigned long request, unsigned i)
{
	const struct blk_zone *z = zone(i);
	struct blk_zone_range range = { z->start, z->len };

	return ioctl(disk, request, &range) == 0;
}

/* A block @at bytes behind zone @i's start. */
static bool write_at(unsigned i, unsigned at, char with)
{
	memset(block, with, BLOCK);
	return pwrite(disk, block, BLOCK, (off_t)zone(i)->start * SECTOR + at) == BLOCK;
}

static bool reads(unsigned i, unsigned at, char with)
{
	if (pread(disk, block, BLOCK, (off_t)zone(i)->start * SECTOR + at) != BLOCK)
		return false;
	return block[0] == with && block[BLOCK - 1] == with;
}

int main(int argc, char **argv)
{
	unsigned conventional, a, b;

	if (argc != 4)
		return 2;
	zones = (unsigned)atoi(argv[2]);
	conventional = (unsigned)atoi(argv[3]);
	a = conventional;
	b = conventional + 1;
	report = calloc(1, sizeof(*report) + MOST * sizeof(report->zones[0]));
	disk = open(argv[1], O_RDWR | O_DIRECT);
	if (disk < 0 || !report || posix_memalign((void **)&block, BLOCK, BLOCK)) {
		check(false, "%s opens", argv[1]);
		return 1;
	}
	zone(0);
	check(report->nr_zones == zones, "%u zones", zones);
	check(report->zones[0].type == BLK_ZONE_TYPE_CONVENTIONAL &&
		      report->zones[a].type == BLK_ZONE_TYPE_SEQWRITE_REQ,
	      "the first %u are conventional", conventional);
	check(zone(a)->cond == BLK_ZONE_COND_EMPTY && zone(a)->wp == zone(a)->start, "empty");
	check(write_at(0, 8 * BLOCK, 'c') && reads(0, 8 * BLOCK, 'c'),
	      "a conventional zone is written anywhere");
	check(write_at(a, 0, 'x') && write_at(a, BLOCK, 'y'), "a sequential one in order");
	check(reads(a, 0, 'x') && reads(a, BLOCK, 'y'), "and read back");
	check(zone(a)->wp == zone(a)->start + 2 * BLOCK / SECTOR, "its write pointer has moved");
	check(zone(a)->cond == BLK_ZONE_COND_IMP_OPEN, "it is open");
	check(!write_at(a, 0, 'z') && !write_at(a, 16 * BLOCK, 'z'), "and written nowhere else");
	check(reads(a, 0, 'x'), "nor was it");
	check(manage(BLKOPENZONE, b) && zone(b)->cond == BLK_ZONE_COND_EXP_OPEN, "open");
	check(write_at(b, 0, 'b') && manage(BLKCLOSEZONE, b) &&
		      zone(b)->cond == BLK_ZONE_COND_CLOSED,
	      "close");
	check(manage(BLKFINISHZONE, b) && zone(b)->cond == BLK_ZONE_COND_FULL, "finish");
	check(!write_at(b, BLOCK, 'b'), "a full one takes no more");
	check(manage(BLKRESETZONE, b) && zone(b)->cond == BLK_ZONE_COND_EMPTY, "reset");
	check(write_at(b, 0, 'd') && reads(b, 0, 'd'), "it is written anew");
	return 0;
}
