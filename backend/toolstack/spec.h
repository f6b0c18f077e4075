/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spec.h - the configuration of a backend node: from the keys that its toolstack wrote
 */
#ifndef VG_SPEC_H
#define VG_SPEC_H

#include "xenstore/xs.h"

/**
 * vg_spec_read - "blk,target=...": VG_KEY_CONFIG, or what xl wrote for a disk
 * @running: take what the driver was connected with, if that is known
 * @spec: VG_PARAMS_LEN bytes
 *
 * With what `vgrant set` changed since. Return: 0; -ENOENT: it has none; or negative errno.
 */
int vg_spec_read(struct vg_xs *x, const struct vg_xs_pair *pair, bool running, char *spec);

/**
 * vg_spec_keep - what `vgrant set` changed, for the next worker and the next vgrantd
 * @device: its name
 *
 * Return: 0; -E2BIG, -EINVAL: as vg_params_replace(); or what xenstored said.
 */
int vg_spec_keep(struct vg_xs *x, const struct vg_xs_pair *pair, const char *device,
		 const char *key, const char *value);

#endif /* VG_SPEC_H */
