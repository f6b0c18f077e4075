// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * listen.c - see listen.h
 */
#include "backend/daemon/listen.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool is_socket(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* Return: whether nobody listens on @un any more, and its file is removed. */
static bool left_behind(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool refused;

	if (fd < 0 || !is_socket(un->sun_path)) {
		if (fd >= 0)
			close(fd);
		errno = EADDRINUSE;
		return false;
	}
	refused =
		connect(fd, (const struct sockaddr *)un, sizeof(*un)) < 0 && errno == ECONNREFUSED;
	close(fd);
	if (refused && unlink(un->sun_path) == 0)
		return true;
	errno = EADDRINUSE;
	return false;
}

int vg_listen_unix(const char *path, gid_t group, mode_t mode, int backlog, struct vg_err *err)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd, ret;

	memcpy(un.sun_path, path, strnlen(path, sizeof(un.sun_path) - 1));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return vg_fail(err, -errno, "no socket can be made: %s", strerror(errno));
	ret = bind(fd, (const struct sockaddr *)&un, sizeof(un));
	if (ret < 0 && errno == EADDRINUSE && left_behind(&un))
		ret = bind(fd, (const struct sockaddr *)&un, sizeof(un));
	if (ret == 0 && (chown(path, (uid_t)-1, group) < 0 || chmod(path, mode) < 0 ||
			 listen(fd, backlog) < 0)) {
		ret = -errno;
		unlink(path);
		errno = -ret;
	}
	if (ret == 0)
		return fd;
	ret = -errno;
	close(fd);
	if (ret == -EADDRINUSE && is_socket(path))
		return vg_fail(err, -EBUSY, "%s is in use by another process", path);
	return vg_fail(err, ret, "%s cannot be listened on: %s", path,
		       ret == -EADDRINUSE ? "something that is no socket is there"
					  : strerror(-ret));
}
