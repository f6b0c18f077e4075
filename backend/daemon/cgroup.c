// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cgroup.c - see cgroup.h; Documentation/admin-guide/cgroup-v2.rst of Linux
 *
 * systemd marks a group that it has given away with the extended attribute
 * "trusted.delegate", or "user.delegate" (systemd, CGROUP_DELEGATION.md). A vgrantd
 * that somebody started by hand is in a group that is not its own to change.
 */
#include "backend/daemon/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/magic.h>

#define MOUNT "/sys/fs/cgroup"

/* Write @text to @file below @dir. Return: 0 or negative errno. */
static int put(int dir, const char *file, const char *text)
{
	int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		ret = -errno;
	close(fd);
	return ret;
}

/* "0::/system.slice/vgrantd.service" of /proc/self/cgroup: what is behind the colons. */
static int own_group(char *path, size_t size)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[512];
	int ret = -ENOENT;

	while (file && ret < 0 && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0 &&
		    (size_t)snprintf(path, size, MOUNT "%s", line + 3) < size)
			ret = 0;
	}
	if (file)
		fclose(file);
	return ret;
}

static bool is_delegated(const char *path)
{
	char value[4] = "";

	return (getxattr(path, "trusted.delegate", value, sizeof(value)) == 1 ||
		getxattr(path, "user.delegate", value, sizeof(value)) == 1) &&
	       value[0] == '1';
}

int vg_cgroup_find(char *path, size_t size, struct vg_err *err)
{
	struct statfs fs;

	if (statfs(MOUNT, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC || own_group(path, size) < 0)
		return vg_fail(err, -ENOENT, "there is no cgroup v2 here");
	if (!is_delegated(path))
		return vg_fail(
			err, -EPERM,
			"the control group %.120s is not vgrantd's own (Delegate=memory in its "
			"unit gives it one)",
			path);
	return 0;
}

int vg_cgroup_open(struct vg_cgroup *cg, const char *path, struct vg_err *err)
{
	char pid[16];
	int ret = 0;

	cg->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cg->dir < 0)
		return vg_fail(err, -errno, "the control group %.120s cannot be opened: %s", path,
			       strerror(errno));
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (mkdirat(cg->dir, "supervisor", 0755) < 0 && errno != EEXIST)
		ret = -errno;
	if (ret == 0)
		ret = put(cg->dir, "supervisor/cgroup.procs", pid);
	if (ret == 0)
		ret = put(cg->dir, "cgroup.subtree_control", "+memory");
	if (ret == 0)
		return 0;
	vg_cgroup_close(cg);
	return vg_fail(err, ret, "guests get no control groups below %.120s: %s", path,
		       strerror(-ret));
}

int vg_cgroup_add(const struct vg_cgroup *cg, uint32_t domid, pid_t pid, uint64_t memory_max)
{
	char name[32], file[64], text[32];
	int ret;

	if (cg->dir < 0)
		return 0;
	snprintf(name, sizeof(name), "guest-%u", domid);
	if (mkdirat(cg->dir, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	snprintf(file, sizeof(file), "%s/memory.max", name);
	snprintf(text, sizeof(text), "%" PRIu64, memory_max);
	ret = put(cg->dir, file, text);
	snprintf(file, sizeof(file), "%s/cgroup.procs", name);
	snprintf(text, sizeof(text), "%d", (int)pid);
	return ret < 0 ? ret : put(cg->dir, file, text);
}

void vg_cgroup_remove(const struct vg_cgroup *cg, uint32_t domid)
{
	char name[32];

	if (cg->dir < 0)
		return;
	snprintf(name, sizeof(name), "guest-%u", domid);
	(void)unlinkat(cg->dir, name, AT_REMOVEDIR); /* -EBUSY: others of the guest are in it */
}

void vg_cgroup_close(struct vg_cgroup *cg)
{
	if (cg->dir >= 0)
		close(cg->dir);
	cg->dir = -1;
}
