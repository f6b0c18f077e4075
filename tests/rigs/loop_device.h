// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * loop_device.h - a block device, where this machine lets us have one
 */
#ifndef LOOP_DEVICE_H
#define LOOP_DEVICE_H

#include <fcntl.h>
#include <linux/loop.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/**
 * loop_device() - put a loop device on a file
 * @back: the file, open for reading and writing; stays the caller's
 * @path: receives the device's name
 * @len: bytes of it, at least 32
 *
 * Return: the device, which goes when all have closed it; -1: no right to one, or there are none.
 */
static inline int loop_device(int back, char *path, size_t len)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;
	int n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	struct loop_config config = { .fd = (uint32_t)back };

	config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	snprintf(path, len, "/dev/loop%d", n);
	if (n >= 0)
		fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
		close(fd);
		fd = -1;
	}
	if (control >= 0)
		close(control);
	return fd;
}

#endif /* LOOP_DEVICE_H */
