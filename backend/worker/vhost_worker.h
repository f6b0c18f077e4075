/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vhost_worker.h - the process between a gateway and a device of the kernel's (devices/gateway/vhost.h) */
#ifndef VG_VHOST_WORKER_H
#define VG_VHOST_WORKER_H

/**
 * vg_vhost_worker_main - vg_vhost_main(), in a sandbox
 *
 * The keeper has started it as the user of the guest's workers, who may open any file; that right goes with
 * the others once the device is open.
 */
int vg_vhost_worker_main(const char *kind, const char *what);

#endif /* VG_VHOST_WORKER_H */
