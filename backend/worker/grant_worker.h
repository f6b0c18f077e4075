/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * grant_worker.h - the process that is one device of a Xen guest
 */
#ifndef VG_GRANT_WORKER_H
#define VG_GRANT_WORKER_H

/**
 * vg_grant_worker_main - serve one device until the supervisor hangs up
 * @sock: the socket to the supervisor (ipc.h)
 *
 * Return: the process's exit status.
 */
int vg_grant_worker_main(int sock);

#endif /* VG_GRANT_WORKER_H */
