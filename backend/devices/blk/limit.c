// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * limit.c - see limit.h
 *
 * Six buckets (base/rate.h): requests and bytes; of all, of reads, of writes. A request waits for the
 * slowest of those that it draws from. It may be larger than what is left, and what comes after it
 * waits the longer: so that a limit below one request's size is an average, and no dead end.
 *
 * Groups. A file of memory (memfd) for each, made by whoever of its disks asks first. Who has it holds
 * a lock of it (flock(2)), on an open file of its own that its mapping keeps open; a group whose file
 * can be locked exclusively has no disk any more, and is forgotten.
 */
#include "backend/devices/blk/limit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"

#define NS_PER_MS (NS_PER_S / 1000)

static const struct vg_param_def defs[] = { BLK_LIMIT_PARAMS, { 0 } };

static const char *const words[BLK_LIMITS][2] = {
	[BLK_IOPS] = { "iops", "total_iops_sec" },
	[BLK_IOPS_READ] = { "iops-read", "read_iops_sec" },
	[BLK_IOPS_WRITE] = { "iops-write", "write_iops_sec" },
	[BLK_BPS] = { "bps", "total_bytes_sec" },
	[BLK_BPS_READ] = { "bps-read", "read_bytes_sec" },
	[BLK_BPS_WRITE] = { "bps-write", "write_bytes_sec" },
};

static enum blk_limit find(const char *key)
{
	unsigned i = 0;

	while (i < BLK_LIMITS && strcmp(words[i][0], key) != 0 && strcmp(words[i][1], key) != 0)
		i++;
	return (enum blk_limit)i;
}

/* ---- settings ----------------------------------------------------------- */

static void set_burst(struct blk_limits *l, uint64_t ms)
{
	int64_t burst = (int64_t)ms * NS_PER_MS;

	atomic_store(&l->burst, burst);
	for (unsigned i = 0; i < BLK_LIMITS; i++)
		atomic_store(&l->rate[i].burst, burst);
}

static void set_limit(struct blk_limits *l, enum blk_limit i, uint64_t per_s)
{
	bool on = false;

	vg_rate_set(&l->rate[i], per_s, atomic_load(&l->burst));
	for (unsigned k = 0; k < BLK_LIMITS; k++)
		on |= vg_rate_on(&l->rate[k]);
	atomic_store(&l->on, on);
}

bool blk_limits_take_up(struct blk_limits *l, const struct vg_params *params)
{
	bool any = false;

	set_burst(l, vg_params_uint(params, defs, "burst"));
	for (unsigned i = 0; i < params->n; i++) {
		enum blk_limit k = find(params->p[i].key);

		if (k == BLK_LIMITS)
			continue;
		set_limit(l, k, vg_params_uint(params, defs, params->p[i].key));
		any = true;
	}
	return any;
}

int blk_limits_set(struct blk_limits *l, const char *key, const char *value, struct vg_err *err)
{
	bool burst = strcmp(key, "burst") == 0;
	enum blk_limit i = find(key);
	struct vg_params one;
	int ret;

	if (i == BLK_LIMITS && !burst)
		return -ENOENT;
	ret = vg_params_one("blk", key, value, defs, &one, err);
	if (ret < 0)
		return ret;
	if (burst)
		set_burst(l, vg_params_uint(&one, defs, key));
	else
		set_limit(l, i, vg_params_uint(&one, defs, key));
	atomic_store(&l->said, true);
	return 0;
}

void blk_limits_copy(struct blk_limits *to, const struct blk_limits *from)
{
	atomic_store(&to->burst, atomic_load(&from->burst));
	for (unsigned i = 0; i < BLK_LIMITS; i++)
		set_limit(to, (enum blk_limit)i, atomic_load(&from->rate[i].per_s));
}

/* ---- drawing ------------------------------------------------------------ */

static bool draws(const struct blk_cost *cost, unsigned i, uint64_t *units)
{
	bool of_all = i == BLK_IOPS || i == BLK_BPS;
	bool of_writes = i == BLK_IOPS_WRITE || i == BLK_BPS_WRITE;

	*units = i < BLK_BPS ? cost->requests : cost->bytes;
	return *units && (of_all || of_writes == cost->write);
}

int64_t blk_limits_wait(const struct blk_limits *l, const struct blk_cost *cost, int64_t now)
{
	int64_t longest = 0;
	uint64_t units;

	for (unsigned i = 0; i < BLK_LIMITS; i++) {
		int64_t ns = draws(cost, i, &units) ? vg_rate_wait(&l->rate[i], now) : 0;

		if (ns > longest)
			longest = ns;
	}
	return longest;
}

void blk_limits_take(struct blk_limits *l, const struct blk_cost *cost, int64_t now)
{
	uint64_t units;

	for (unsigned i = 0; i < BLK_LIMITS; i++) {
		if (draws(cost, i, &units))
			vg_rate_take(&l->rate[i], units, now);
	}
}

void blk_limits_give_back(struct blk_limits *l, const struct blk_cost *cost)
{
	uint64_t units;

	for (unsigned i = 0; i < BLK_LIMITS; i++) {
		if (draws(cost, i, &units))
			vg_rate_give_back(&l->rate[i], units);
	}
}

/* ---- groups ------------------------------------------------------------- */

const char *blk_limits_group(const struct vg_params *params)
{
	const char *name = NULL;

	for (unsigned i = 0; i < params->n; i++) {
		if (strcmp(params->p[i].key, "limit-group") == 0 ||
		    strcmp(params->p[i].key, "group_name") == 0)
			name = params->p[i].value;
	}
	return name && *name ? name : NULL;
}

/* The supervisor's. Those that nobody has are closed when the next is made. */
static struct group {
	char *name; /* NULL: free */
	int fd;
} groups[VG_LIMIT_DEVICES];

static void forget_unused(void)
{
	for (unsigned i = 0; i < COUNT(groups); i++) {
		if (!groups[i].name || flock(groups[i].fd, LOCK_EX | LOCK_NB) < 0)
			continue;
		close(groups[i].fd);
		free(groups[i].name);
		groups[i].name = NULL;
	}
}

static int make_memory(void)
{
	int fd = memfd_create("limit-group", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, sizeof(struct blk_limits)) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Return: the group, made if there was none; NULL: errno says why. */
static struct group *group_of(const char *name)
{
	struct group *unused = NULL;

	forget_unused();
	for (unsigned i = 0; i < COUNT(groups); i++) {
		if (groups[i].name && strcmp(groups[i].name, name) == 0)
			return &groups[i];
		if (!groups[i].name && !unused)
			unused = &groups[i];
	}
	if (!unused) {
		errno = ENOSPC;
		return NULL;
	}
	unused->name = strdup(name);
	unused->fd = unused->name ? make_memory() : -1;
	if (unused->fd >= 0)
		return unused;
	free(unused->name);
	unused->name = NULL;
	return NULL;
}

int blk_limits_lend(const char *name, struct vg_err *err)
{
	const struct group *g = group_of(name);
	char path[64];
	int fd = -1, ret;

	if (g) {
		/* An open file of its own, whose lock says that somebody has it. */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", g->fd);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == 0)
		return fd;
	ret = vg_fail(err, -errno, "the group of limits %s cannot be made: %s", name,
		      strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

struct blk_limits *blk_limits_map(int fd)
{
	void *p = mmap(NULL, sizeof(struct blk_limits), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

void blk_limits_unmap(struct blk_limits *l)
{
	munmap(l, sizeof(*l));
}
