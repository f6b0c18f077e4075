// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * holder.c - who on this host has a block device, for a sentence that helps
 *
 * The kernel only says EBUSY to O_EXCL. Who it is stands in /proc/self/mountinfo
 * (proc_pid_mountinfo(5)), /proc/swaps and, for devices on top (LVM, RAID), in
 * /sys/dev/block/MAJOR:MINOR/holders. A disk is held when one of its partitions is.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "backend/images/raw.h"

static void found(struct vg_holder *h, bool writes, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The first that writes counts; else the first. */
static void found(struct vg_holder *h, bool writes, const char *fmt, ...)
{
	va_list ap;

	if (h->found && (h->writes || !writes))
		return;
	h->found = true;
	h->writes = writes;
	va_start(ap, fmt);
	vsnprintf(h->what, sizeof(h->what), fmt, ap);
	va_end(ap);
}

static bool is_device(const char *path, dev_t dev)
{
	struct stat st;

	return path[0] == '/' && stat(path, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == dev;
}

/* 36 35 98:0 /root /mount/point rw,noatime - ext4 /dev/root rw,errors=continue */
static void by_mount(dev_t dev, struct vg_holder *h)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0) {
		unsigned maj, min;
		char point[128], *dash = strstr(line, " - ");
		char source[256] = "", options[16] = "";

		if (sscanf(line, "%*d %*d %u:%u %*s %127s", &maj, &min, point) != 3 || !dash ||
		    sscanf(dash, " - %*s %255s %15s", source, options) != 2)
			continue;
		if (makedev(maj, min) == dev || is_device(source, dev))
			found(h, strncmp(options, "rw", 2) == 0, "is mounted on %s", point);
	}
	free(line);
	if (f)
		fclose(f);
}

static void by_swap(dev_t dev, struct vg_holder *h)
{
	FILE *f = fopen("/proc/swaps", "re");
	char *line = NULL;
	size_t size = 0;
	char path[256];

	while (f && getline(&line, &size, f) > 0) {
		if (sscanf(line, "%255s", path) == 1 && is_device(path, dev))
			found(h, true, "is swap space");
	}
	free(line);
	if (f)
		fclose(f);
}

static bool read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(buf, (int)size, f);

	if (f)
		fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

/* Devices on top, and the partitions' holders. */
static void by_sysfs(dev_t dev, struct vg_holder *h)
{
	char path[64], name[384], text[32];
	struct dirent *e;
	unsigned maj, min;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major(dev), minor(dev));
	d = opendir(path);
	while (d && (e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.')
			found(h, true, "is part of /dev/%s", e->d_name);
	}
	if (d)
		closedir(d);
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	d = opendir(path);
	while (d && (e = readdir(d)) != NULL) {
		snprintf(name, sizeof(name), "%s/%s/partition", path, e->d_name);
		if (e->d_name[0] == '.' || access(name, F_OK) < 0)
			continue;
		snprintf(name, sizeof(name), "%s/%s/dev", path, e->d_name);
		if (read_line(name, text, sizeof(text)) && sscanf(text, "%u:%u", &maj, &min) == 2 &&
		    makedev(maj, min) != dev) {
			by_mount(makedev(maj, min), h);
			by_swap(makedev(maj, min), h);
			by_sysfs(makedev(maj, min), h);
		}
	}
	if (d)
		closedir(d);
}

void vg_holder_of(dev_t dev, struct vg_holder *h)
{
	memset(h, 0, sizeof(*h));
	by_mount(dev, h);
	by_swap(dev, h);
	by_sysfs(dev, h);
}

/* Who has claimed it (O_EXCL) without a mount: xen-blkback, for another guest's disk; another vgrantd. */
static void by_claim(const char *node, const char *disk, struct vg_holder *h)
{
	char name[300], text[8] = "";
	int fd = open(node, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0) {
		close(fd);
		return;
	}
	if (errno != EBUSY)
		return;
	snprintf(name, sizeof(name), "/sys/block/%.200s/ro", disk);
	found(h, !(read_line(name, text, sizeof(text)) && text[0] == '1'),
	      "another guest or program has claimed");
}

void vg_holder_of_file(dev_t dev, ino_t ino, struct vg_holder *h)
{
	char name[300], text[1024];
	struct vg_holder loop;
	struct dirent *e;
	struct stat st;
	DIR *d = opendir("/sys/block");

	memset(h, 0, sizeof(*h));
	while (d && (e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, "loop", 4) != 0)
			continue;
		snprintf(name, sizeof(name), "/sys/block/%s/loop/backing_file", e->d_name);
		if (!read_line(name, text, sizeof(text)) || stat(text, &st) < 0 ||
		    st.st_dev != dev || st.st_ino != ino)
			continue;
		snprintf(name, sizeof(name), "/dev/%s", e->d_name);
		if (stat(name, &st) < 0 || !S_ISBLK(st.st_mode))
			continue;
		vg_holder_of(st.st_rdev, &loop);
		if (!loop.found)
			by_claim(name, e->d_name, &loop);
		if (loop.found)
			found(h, loop.writes, "is under /dev/%s, which %.120s", e->d_name,
			      loop.what);
	}
	if (d)
		closedir(d);
}
