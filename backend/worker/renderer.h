/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * renderer.h - the process that draws for a device
 */
#ifndef VG_WORKER_RENDERER_H
#define VG_WORKER_RENDERER_H

/**
 * vg_renderer_main - draw what one device's guest says, until the supervisor or the device hangs up
 * @sock: the socket to the supervisor (ipc.h)
 *
 * Return: the process's exit status.
 */
int vg_renderer_main(int sock);

#endif /* VG_WORKER_RENDERER_H */
