/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sockets.h - devices that vgrantd serves on vhost-user sockets, from [vhost-user] of its settings
 */
#ifndef VG_SOCKETS_H
#define VG_SOCKETS_H

#include "backend/daemon/child.h"
#include "backend/daemon/settings.h"

struct vg_socket_device;

/* All of them; the owner fills in the first two. */
struct vg_sockets {
	struct vg_children *children;
	const struct vg_settings *settings;
	struct vg_socket_device *first;
};

#define VG_SOCKETS_KIND "vhost-user" /* of their names in lists: "vhost-user/0" */

/**
 * vg_sockets_sync - make what is served be what s->settings says
 *
 * A line that is new gets its socket, one that is gone loses it, one that changed gets another
 * worker behind the same socket; one that failed is tried again. The others hear nothing of it.
 * What cannot be served says so in `vgrant list` and in the log.
 */
void vg_sockets_sync(struct vg_sockets *s);

/** vg_sockets_free - remove all sockets; their workers have been ended */
void vg_sockets_free(struct vg_sockets *s);

#endif /* VG_SOCKETS_H */
