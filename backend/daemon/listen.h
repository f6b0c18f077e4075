/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listen.h - Unix sockets that others connect to
 */
#ifndef VG_DAEMON_LISTEN_H
#define VG_DAEMON_LISTEN_H

#include <sys/types.h>

#include "backend/base/log.h"

/**
 * vg_listen_unix - a stream socket at @path that is listened on
 * @path: at most 107 bytes; a socket that nobody listens on any more makes way
 * @group: (gid_t)-1: ours
 * @mode: permissions
 *
 * Return: a descriptor, close-on-exec and not blocking, whose file is the caller's to remove; -EBUSY:
 * another process listens there; or negative errno; all with a sentence.
 */
int vg_listen_unix(const char *path, gid_t group, mode_t mode, int backlog, struct vg_err *err);

#endif /* VG_DAEMON_LISTEN_H */
