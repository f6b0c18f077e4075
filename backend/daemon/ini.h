/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ini.h - lines of an INI file, of any length
 *
 *	# a comment, or with ;
 *	[section]
 *	name = value   ; a comment behind a blank
 *	  more of it	 (a line that begins with a blank goes on with the name before it)
 *
 * As Python's configparser and libinih take them; the latter, as distributions build it, has lines
 * of 200 bytes and calls a longer comment a mistake.
 */
#ifndef VG_INI_H
#define VG_INI_H

#include <stdio.h>

#include "backend/base/log.h"

#define VG_INI_LINE_MAX \
	65536 /* bytes of a line that is no comment: nothing that means something is longer */

struct vg_ini_ops {
	/* @section: "" before the first. Each text is trimmed, and borrowed for the call. */
	void (*pair)(void *ctx, int line, const char *section, const char *name, const char *value);
	/* A line that is none of these; the next ones are read all the same. */
	void (*wrong)(void *ctx, int line, const char *why);
};

/** vg_ini_read - read all of @file. Return: 0; -ENOMEM, -EIO. */
int vg_ini_read(FILE *file, const struct vg_ini_ops *ops, void *ctx);

#endif /* VG_INI_H */
