/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vhost.h - devices of the kernel's own (vhost, vDPA), as a daemon of vhost-user */
#ifndef VG_GATEWAY_VHOST_H
#define VG_GATEWAY_VHOST_H

#include "backend/base/log.h"
#include "backend/base/needs.h"

/* argv[1] of a process that is one: "vgrantd --vhost vsock CID", "... scsi TARGET", "... vdpa PATH". */
#define VG_VHOST "--vhost"

/* What it calls once its device is open. */
extern const struct vg_sandbox_needs vg_vhost_needs;

/**
 * vg_vhost_main - be that process
 * @kind: "vsock", "scsi" or "vdpa"
 * @what: the guest's context identifier, a target's name, or the path of a /dev/vhost-vdpa-N
 * @confine: gives up all but vg_vhost_needs, before a front-end is heard. Return: 0, or negative errno with
 * a sentence.
 *
 * Its stdin is the socket that it listens on. Return: the process's exit status; a sentence on stderr.
 */
int vg_vhost_main(const char *kind, const char *what, int (*confine)(struct vg_err *err));

#endif /* VG_GATEWAY_VHOST_H */
