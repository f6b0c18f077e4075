/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sockets.h - devices that vgrantd serves on vhost-user sockets, from [vhost-user] of its settings
 */
#ifndef VG_SOCKETS_H
#define VG_SOCKETS_H

#include <stdbool.h>
#include <sys/types.h>

#include "backend/settings.h"

struct vg_sockets {
	pid_t pid[VG_SETTINGS_SOCKETS_MAX]; /* 0: none, or ended */
	unsigned n;
};

/**
 * vg_sockets_start - a process for each, which looks after its own worker
 *
 * What cannot be started is told in the log, and changes nothing for the others.
 */
void vg_sockets_start(struct vg_sockets *sockets, const struct vg_settings *settings);

/** vg_sockets_reaped - @pid has ended. Return: whether it was one of ours. */
bool vg_sockets_reaped(struct vg_sockets *sockets, const struct vg_settings *settings, pid_t pid,
		       int status);

/** vg_sockets_stop - end all, and wait for them: requests in flight are finished */
void vg_sockets_stop(struct vg_sockets *sockets);

#endif /* VG_SOCKETS_H */
