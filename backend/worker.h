/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * worker.h - the process that is one device
 */
#ifndef VG_WORKER_H
#define VG_WORKER_H

/**
 * vg_worker_main - serve one device until the supervisor hangs up
 * @sock: the socket to the supervisor (ipc.h)
 *
 * Return: the process's exit status.
 */
int vg_worker_main(int sock);

#endif /* VG_WORKER_H */
