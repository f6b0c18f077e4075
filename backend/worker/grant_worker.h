/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * grant_worker.h - the process that is one device
 */
#ifndef VG_WORKER_H
#define VG_WORKER_H

#include <stdint.h>

#include "backend/virtio/device.h"
#include "backend/worker/ipc.h"

/**
 * vg_worker_main - serve one device until the supervisor hangs up
 * @sock: the socket to the supervisor (ipc.h)
 *
 * Return: the process's exit status.
 */
int vg_worker_main(int sock);

/** vg_worker_reply - tell the supervisor. @text: or NULL */
void vg_worker_reply(int sock, uint32_t type, int error, const char *text);

/**
 * vg_worker_answer - DESCRIBE, SET and TRACE, which the workers of all ports answer alike
 * @fd: that came with @m, or -1; stays the caller's
 */
void vg_worker_answer(int sock, struct vg_dev *dev, const struct vg_ipc *m, int fd);

#endif /* VG_WORKER_H */
