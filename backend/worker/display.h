/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * display.h - the process that shows a device's picture
 */
#ifndef VG_WORKER_DISPLAY_H
#define VG_WORKER_DISPLAY_H

/**
 * vg_display_main - show the picture of one device, until the supervisor hangs up
 * @sock: the socket to the supervisor (ipc.h)
 *
 * Return: the process's exit status.
 */
int vg_display_main(int sock);

#endif /* VG_WORKER_DISPLAY_H */
