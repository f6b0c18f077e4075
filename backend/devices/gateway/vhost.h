/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vhost.h - devices of the kernel's own (vhost, vDPA), as a daemon of vhost-user */
#ifndef VG_GATEWAY_VHOST_H
#define VG_GATEWAY_VHOST_H

/* argv[1] of a process that is one: "vgrantd --vhost vsock CID", "vgrantd --vhost vdpa PATH". */
#define VG_VHOST "--vhost"

/**
 * vg_vhost_main - be that process
 * @kind: "vsock" or "vdpa"
 * @what: the guest's context identifier, or the path of a /dev/vhost-vdpa-N
 *
 * Its stdin is the socket that it listens on. Return: the process's exit status; a sentence on stderr.
 */
int vg_vhost_main(const char *kind, const char *what);

#endif /* VG_GATEWAY_VHOST_H */
