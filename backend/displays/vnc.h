/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vnc.h - one viewer of one head, over VNC (RFC 6143)
 */
#ifndef VG_VNC_H
#define VG_VNC_H

#include <stdbool.h>
#include <stdint.h>

enum { VG_VNC_PASSWORD = 8 }; /* bytes that the protocol's password has, at most */

struct vg_vnc_config {
	int client;	      /* the viewer's connection; closed at the end */
	int parent;	      /* the display: displays/display.h, as if it was the device */
	uint32_t head;	      /* that it looks at */
	const char *name;     /* of the desktop, for the viewer's title */
	const char *password; /* NULL: anybody may look */
	bool websocket;	      /* browsers may */
};

/**
 * vg_vnc_view - serve the viewer until it, or the display, hangs up
 *
 * Waits as it likes, and so does the library under it: the process is there for this viewer alone.
 */
void vg_vnc_view(const struct vg_vnc_config *config);

/** vg_vnc_warm_up - what the library opens and reads when it is first used; with privileges */
void vg_vnc_warm_up(void);

#endif /* VG_VNC_H */
