/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * limit.h - how much a guest may read and write: requests and bytes a second
 *
 * Of one disk, or of a group of disks together (limit-group=): then the buckets lie in memory that all
 * workers of the group have mapped, which the supervisor made. They belong to different guests perhaps,
 * and whoever took over one of these workers can make the others of its group wait, or not wait; no more.
 */
#ifndef VG_BLK_LIMIT_H
#define VG_BLK_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/params.h"
#include "backend/base/rate.h"

/* Keys of the device's table: short ones, and those of libvirt's <iotune>, which mean the same. What
 * stands last counts. */
#define BLK_LIMIT_KEY(key, kind, help)            \
	{                                         \
		key, kind, false, 0, 0, "0", help \
	}
#define BLK_LIMIT_PARAMS                                                                         \
	BLK_LIMIT_KEY("iops", VG_PARAM_UINT, "most requests a second; 0: any number"),           \
		BLK_LIMIT_KEY("iops-read", VG_PARAM_UINT, "the same of reads alone"),            \
		BLK_LIMIT_KEY("iops-write", VG_PARAM_UINT, "the same of writes alone"),          \
		BLK_LIMIT_KEY("bps", VG_PARAM_SIZE, "most bytes a second; 0: any number"),       \
		BLK_LIMIT_KEY("bps-read", VG_PARAM_SIZE, "the same of reads alone"),             \
		BLK_LIMIT_KEY("bps-write", VG_PARAM_SIZE, "the same of writes alone"),           \
		{ "burst",                                                                       \
		  VG_PARAM_UINT,                                                                 \
		  false,                                                                         \
		  1,                                                                             \
		  3600000,                                                                       \
		  "100",                                                                         \
		  "milliseconds worth of all these that may be done at once" },                  \
		{ "limit-group",                                                                 \
		  VG_PARAM_STRING,                                                               \
		  false,                                                                         \
		  0,                                                                             \
		  0,                                                                             \
		  "",                                                                            \
		  "name of a group of disks, of any guests, that all these are for together" },  \
		BLK_LIMIT_KEY("total_iops_sec", VG_PARAM_UINT, "libvirt's word for iops"),       \
		BLK_LIMIT_KEY("read_iops_sec", VG_PARAM_UINT, "libvirt's word for iops-read"),   \
		BLK_LIMIT_KEY("write_iops_sec", VG_PARAM_UINT, "libvirt's word for iops-write"), \
		BLK_LIMIT_KEY("total_bytes_sec", VG_PARAM_SIZE, "libvirt's word for bps"),       \
		BLK_LIMIT_KEY("read_bytes_sec", VG_PARAM_SIZE, "libvirt's word for bps-read"),   \
		BLK_LIMIT_KEY("write_bytes_sec", VG_PARAM_SIZE, "libvirt's word for bps-write"), \
	{                                                                                        \
		"group_name", VG_PARAM_STRING, false, 0, 0, "", "libvirt's word for limit-group" \
	}

enum blk_limit {
	BLK_IOPS,
	BLK_IOPS_READ,
	BLK_IOPS_WRITE,
	BLK_BPS,
	BLK_BPS_READ,
	BLK_BPS_WRITE,
	BLK_LIMITS,
};

/* Zero: no limit. Shared by all contexts, and perhaps with other processes. */
struct blk_limits {
	atomic_bool on;	  /* there is one: else the time need not be asked for */
	atomic_bool said; /* of a group: one of its disks has said how much */
	_Atomic int64_t burst;
	struct vg_rate rate[BLK_LIMITS];
};

/* What a request is to its limits. */
struct blk_cost {
	bool write;
	uint32_t requests; /* 0: it is free, as FLUSH is */
	uint64_t bytes;
};

/** blk_limits_on - does any limit hold? */
static inline bool blk_limits_on(const struct blk_limits *l)
{
	return atomic_load_explicit(&l->on, memory_order_relaxed);
}

/**
 * blk_limits_take_up - all that @params, which were checked, say of limits
 *
 * Return: whether they say anything.
 */
bool blk_limits_take_up(struct blk_limits *l, const struct vg_params *params);

/**
 * blk_limits_set - change one of them while running
 *
 * Return: 0; -ENOENT: @key is none that can be; -EINVAL with a sentence, and nothing has changed.
 */
int blk_limits_set(struct blk_limits *l, const char *key, const char *value, struct vg_err *err);

/** blk_limits_copy - @to, which nobody else changes meanwhile, becomes what @from says */
void blk_limits_copy(struct blk_limits *to, const struct blk_limits *from);

/** blk_limits_wait - for how many ns such a request must wait; 0: go on. @now: ns */
int64_t blk_limits_wait(const struct blk_limits *l, const struct blk_cost *cost, int64_t now);

/** blk_limits_take - it is done */
void blk_limits_take(struct blk_limits *l, const struct blk_cost *cost, int64_t now);

/** blk_limits_give_back - it is done later, and asks again */
void blk_limits_give_back(struct blk_limits *l, const struct blk_cost *cost);

/* ---- groups ------------------------------------------------------------- */

/** blk_limits_group - the group that @params name, or NULL */
const char *blk_limits_group(const struct vg_params *params);

/**
 * blk_limits_lend - in the supervisor: memory of group @name, as a file
 *
 * It is there while anybody has it. Return: a descriptor, the caller's; or negative errno with a
 * sentence.
 */
int blk_limits_lend(const char *name, struct vg_err *err);

/** blk_limits_map - in the worker: its limits. @fd stays the caller's. Return: NULL: errno says why */
struct blk_limits *blk_limits_map(int fd);
void blk_limits_unmap(struct blk_limits *l);

#endif /* VG_BLK_LIMIT_H */
