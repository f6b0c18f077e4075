/* SPDX-License-Identifier: GPL-2.0-or-later */
/* beside.h - programs that lie where vgrantd does */
#ifndef VG_BESIDE_H
#define VG_BESIDE_H

#include <stddef.h>

/**
 * vg_beside - "<the folder of this program>/@name"
 *
 * Return: 0; -ENOENT: it is not there, as where its package is not installed; or negative errno.
 */
int vg_beside(const char *name, char *path, size_t size);

#endif /* VG_BESIDE_H */
