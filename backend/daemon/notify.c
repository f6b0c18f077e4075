// SPDX-License-Identifier: GPL-2.0-or-later
/* notify.c - see notify.h */
#include "backend/daemon/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/log.h"
#include "backend/base/ticks.h"

enum { PATIENCE_S = 1 }; /* with a manager whose queue is full */

void vg_notify_init(struct vg_notify *n)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;

	*n = (struct vg_notify){ .address.sun_family = AF_UNIX };
	if (len < 2 || len >= sizeof(n->address.sun_path) || (*path != '/' && *path != '@'))
		len = 0; /* none, or of a kind that we do not know, as vsock: */
	if (len) {
		memcpy(n->address.sun_path, path, len);
		n->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
		if (*path == '@')
			n->address.sun_path[0] = '\0'; /* abstract, unix(7) */
	}
	unsetenv("NOTIFY_SOCKET");
}

static void tell(const struct vg_notify *n, const char *state)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd;

	if (!n->len)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&n->address,
		   n->len) < 0)
		vg_warn("the service manager does not hear of %s: %s", state, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void vg_notify_ready(const struct vg_notify *n)
{
	tell(n, "READY=1");
}

/* The time lets a manager tell this reload from one that it asks for later. */
void vg_notify_reloading(const struct vg_notify *n)
{
	char state[64];

	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, vg_now_ns() / 1000);
	tell(n, state);
}

void vg_notify_stopping(const struct vg_notify *n)
{
	tell(n, "STOPPING=1");
}
