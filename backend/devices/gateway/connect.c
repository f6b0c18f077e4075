// SPDX-License-Identifier: GPL-2.0-or-later
/* connect.c - the way to a daemon that listens on a socket of the file system's */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/devices/gateway/int.h"

/* What passes by itself: it is being started again, or has not come to the last who connected. */
static bool passes(int error)
{
	return error == ENOENT || error == ECONNREFUSED || error == EAGAIN;
}

int gw_connect(const char *path, struct vg_err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, e;

	if (strlen(path) >= sizeof(a.sun_path))
		return vg_fail(err, -ENAMETOOLONG,
			       "socket=%.120s: a socket's path has %zu bytes at most", path,
			       sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	e = errno;
	if (fd >= 0)
		close(fd);
	return vg_fail(err, passes(e) ? -EAGAIN : -e,
		       "no daemon can be reached at %.120s (%s): start it; it is tried again", path,
		       strerror(e));
}
