/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * macvtap_host.h - can macvtaps be made here, in a network namespace of a test's?
 */
#ifndef MACVTAP_HOST_H
#define MACVTAP_HOST_H

#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/**
 * mh_enter() - in the test's namespace, until the process ends
 * @lower: an interface of it that macvtaps can be made on
 *
 * /dev has one tapN for a number that interfaces of several namespaces may have: such tests run one
 * after the other. Return: NULL; or why there are no macvtaps here.
 */
static inline const char *mh_enter(const char *lower)
{
	int lock = open("/tmp/vgrant-test-macvtap", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char text[128];
	bool there;

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return "/tmp cannot be written to";
	snprintf(text, sizeof(text), "ip link add link %s name probe type macvtap 2>/dev/null",
		 lower);
	if (system(text) != 0)
		return "this kernel has no macvtap";
	snprintf(text, sizeof(text), "/dev/tap%u", if_nametoindex("probe"));
	for (int i = 0; i < 100 && access(text, F_OK) != 0; i++)
		usleep(10000);
	there = access(text, F_OK) == 0;
	if (system("ip link del probe") != 0)
		return "a macvtap cannot be removed";
	return there ? NULL : "/dev is no devtmpfs: macvtaps have no file there";
}

#endif /* MACVTAP_HOST_H */
