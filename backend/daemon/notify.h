/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * notify.h - what the service manager is told of us, by the protocol of sd_notify(3)
 *
 * A datagram of lines NAME=VALUE to the socket that $NOTIFY_SOCKET names. The manual calls that stable
 * and to be implemented without libsystemd, of which we would need nothing else.
 */
#ifndef VG_NOTIFY_H
#define VG_NOTIFY_H

#include <sys/socket.h>
#include <sys/un.h>

struct vg_notify {
	struct sockaddr_un address;
	socklen_t len; /* 0: nobody wants to know */
};

/** vg_notify_init - take the address from the environment, where no child finds it any more */
void vg_notify_init(struct vg_notify *n);

/** vg_notify_ready - "READY=1": devices are served, and `vgrant` is answered; or a reload is over */
void vg_notify_ready(const struct vg_notify *n);

/** vg_notify_reloading - until vg_notify_ready() */
void vg_notify_reloading(const struct vg_notify *n);

/** vg_notify_stopping - "STOPPING=1": workers are being ended */
void vg_notify_stopping(const struct vg_notify *n);

#endif /* VG_NOTIFY_H */
