// SPDX-License-Identifier: GPL-2.0-or-later
/* beside.c - see beside.h */
#include "backend/daemon/beside.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int vg_beside(const char *name, char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size);
	char *slash;

	if (n < 0)
		return -errno;
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash + 1 - path) + strlen(name) >= size)
		return -ENAMETOOLONG;
	memcpy(slash + 1, name, strlen(name) + 1);
	return access(path, X_OK) < 0 ? -errno : 0;
}
