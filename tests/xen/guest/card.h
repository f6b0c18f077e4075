/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * card.h - a guest's graphics card, for programs that draw there
 */
#ifndef GUEST_CARD_H
#define GUEST_CARD_H

#include <libdrm/drm.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CARD_NUMBERS = 64, CARD_TRIES = 300, CARD_PAUSE_US = 100000 };

static inline int card_is_ours(int fd)
{
	char name[32] = "";
	struct drm_version v = { .name = name, .name_len = sizeof(name) - 1 };

	return ioctl(fd, DRM_IOCTL_VERSION, &v) == 0 && strcmp(name, "virtio_gpu") == 0;
}

/**
 * card_open - the card of Linux' virtio-gpu driver, for which it waits 30 s
 *
 * Its number is another one after each time that the device was made anew, as long as a program has the
 * one before.
 *
 * Return: a descriptor, or -1.
 */
static inline int card_open(void)
{
	char path[32];
	int fd;

	for (int tries = 0; tries < CARD_TRIES; tries++) {
		for (int i = 0; i < CARD_NUMBERS; i++) {
			snprintf(path, sizeof(path), "/dev/dri/card%d", i);
			fd = open(path, O_RDWR | O_CLOEXEC);
			if (fd >= 0 && card_is_ours(fd))
				return fd;
			if (fd >= 0)
				close(fd);
		}
		usleep(CARD_PAUSE_US);
	}
	return -1;
}

#endif /* GUEST_CARD_H */
