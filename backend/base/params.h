/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * params.h - a device's configuration: "blk,target=/disk.img,readonly"
 *
 * One syntax wherever a user writes a device: the guest's xl config, vgrantd.conf,
 * `vgrant attach`, and the node in xenstore that carries it to a driver domain.
 * The first word is the device's name; then keys with values, separated by
 * commas; a key alone is a boolean "1". A comma in a value is written "\,", a
 * backslash "\\". Which keys there are each device says in a table, which also
 * checks values and feeds `vgrant help` and the manual.
 */
#ifndef VG_PARAMS_H
#define VG_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"

enum vg_param_kind {
	VG_PARAM_STRING,
	VG_PARAM_PATH,	/* see vg_params_check_paths() */
	VG_PARAM_PLACE, /* a path, or the address of a disk on another machine */
	VG_PARAM_BOOL,	/* 0/1, no/yes, off/on, false/true; alone: 1 */
	VG_PARAM_UINT,	/* decimal, or 0x hexadecimal; within min and max */
	VG_PARAM_SIZE,	/* bytes; suffix K, M, G, T: powers of 1024 */
};

struct vg_param_def {
	const char *key; /* NULL ends a table */
	enum vg_param_kind kind;
	bool required;
	uint64_t min, max;    /* of UINT and SIZE */
	const char *fallback; /* value when absent; NULL: none */
	const char *help;     /* one sentence for the user */
};

#define VG_PARAMS_MAX 32   /* pairs */
#define VG_PARAMS_LEN 2048 /* bytes of the whole text, NUL included */

struct vg_params {
	char device[32]; /* "blk" */
	unsigned n;
	struct {
		const char *key;   /* into text */
		const char *value; /* into text */
	} p[VG_PARAMS_MAX];
	char text[VG_PARAMS_LEN]; /* what key and value point into */
};

/**
 * vg_params_parse - split @spec
 *
 * Return: 0; -EINVAL (empty, no device name, a key twice, bad escape), -E2BIG. @err says which.
 * Pointers point into @out: it must not be copied by assignment.
 */
int vg_params_parse(const char *spec, struct vg_params *out, struct vg_err *err);

/**
 * vg_params_replace - @spec with @key set to @value: in its place, or at the end
 * @out: @size bytes; not @spec
 *
 * Return: 0; -E2BIG; -EINVAL when @spec is none, or parsing would not give @key and @value back:
 * blanks around the value, control characters.
 */
int vg_params_replace(const char *spec, const char *key, const char *value, char *out, size_t size);

/**
 * vg_params_check - do all keys stand in @defs or @common, with values that fit?
 * @common: a second table, or NULL: keys that every device has
 *
 * Return: 0, or -EINVAL with a sentence that names the key and lists what there is.
 */
int vg_params_check(const struct vg_params *p, const struct vg_param_def *defs,
		    const struct vg_param_def *common, struct vg_err *err);

/**
 * vg_params_check_paths - do paths begin with a slash?
 *
 * For configurations, which are written in one folder and read in another: a relative path, ~, $HOME
 * or the prefixes of xl's disks mean nothing there. Beside vg_params_check(), which does not mind.
 * Return: 0, or -EINVAL with a sentence that begins with the key.
 */
int vg_params_check_paths(const struct vg_params *p, const struct vg_param_def *defs,
			  struct vg_err *err);

/**
 * vg_params_one - @value as the one pair of a configuration of @device, checked like any other
 * @key: a string that lives as long as @out
 *
 * For settings that are changed while running. Return: 0; -E2BIG or -EINVAL, with a sentence.
 */
int vg_params_one(const char *device, const char *key, const char *value,
		  const struct vg_param_def *defs, struct vg_params *out, struct vg_err *err);

/* Keys that every device has: "backend" (domain name or number), "id", "packed"; and those of
 * schedule.h. In params.c. */
extern const struct vg_param_def vg_common_params[];

/* Values of a set that passed vg_params_check(); @defs gives the fallback. */
const char *vg_params_str(const struct vg_params *p, const struct vg_param_def *defs,
			  const char *key);
bool vg_params_bool(const struct vg_params *p, const struct vg_param_def *defs, const char *key);
uint64_t vg_params_uint(const struct vg_params *p, const struct vg_param_def *defs,
			const char *key);

#endif /* VG_PARAMS_H */
