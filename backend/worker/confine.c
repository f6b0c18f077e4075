// SPDX-License-Identifier: GPL-2.0-or-later
/* confine.c - see confine.h */
#include "backend/worker/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Of the thread, not of the process: /proc/self is the first thread's. */
#define ATTR	"/proc/thread-self/attr/apparmor/current"
#define PROFILE "vgrantd"

int vg_confine_open(void)
{
	static const char ours[] = PROFILE " (";
	char label[sizeof(ours) - 1];
	int fd = open(ATTR, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	/* "vgrantd (enforce)\n"; EINVAL where AppArmor is off */
	if (read(fd, label, sizeof(label)) == (ssize_t)sizeof(label) &&
	    memcmp(label, ours, sizeof(label)) == 0)
		return fd;
	close(fd);
	return -1;
}

int vg_confine(int fd, struct vg_err *err)
{
	static const char stack[] = "stack " PROFILE "//worker";
	int ret = 0;

	if (fd < 0)
		return 0;
	if (pwrite(fd, stack, sizeof(stack) - 1, 0) < 0)
		ret = vg_fail(err, -errno,
			      "AppArmor's profile " PROFILE "//worker is not given: %s",
			      strerror(errno));
	close(fd);
	return ret;
}
