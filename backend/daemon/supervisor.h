/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * supervisor.h - the daemon
 *
 *	supervisor.c  the process: its loop, signals, xenstore's events
 *	requests.c    what `vgrant` asks for
 *	nodes.c       devices of Xen guests, all of them
 *	node.c        one of them: from a node to a worker, and its states
 *	sockets.c     devices of [vhost-user]: from a line of the settings to a worker
 *	child.c       what those two have in common: a worker process
 *	tracer.c      from a worker's trace to those who ask for it
 *	notify.c      what systemd is told of us
 *	settings.c    vgrantd.conf
 *
 * Each includes only those after it. toolstack/, the toolstack's part, and node.c meet in xenstore
 * alone (xenstore/keys.h).
 */
#ifndef VG_SUPERVISOR_H
#define VG_SUPERVISOR_H

#include "backend/daemon/settings.h"

/**
 * vg_super_run - be the daemon until SIGTERM
 *
 * Return: 0, or negative errno with a sentence.
 */
int vg_super_run(struct vg_settings *settings, struct vg_err *err);

#endif /* VG_SUPERVISOR_H */
