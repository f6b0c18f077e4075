// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uinput.c - a keyboard of dom0's that a test makes, moves and pulls out
 *
 *   uinput NAME LINK FIFO      until SIGTERM
 *
 * LINK becomes a symbolic link to its node, as udev makes them. Each line of FIFO, "TYPE CODE VALUE" in
 * decimal, is an event of it. What is said to it, LEDs, is a line "said TYPE CODE VALUE".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/uinput.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what)
{
	printf("uinput: %s: %s\n", what, strerror(errno));
	return 1;
}

static int make(const char *name)
{
	struct uinput_setup setup = {
		.id = { .bustype = BUS_USB, .vendor = 0x1234, .product = 1 }
	};
	int fd = open("/dev/uinput", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -1;
	snprintf(setup.name, sizeof(setup.name), "%s", name);
	ioctl(fd, UI_SET_EVBIT, EV_KEY);
	for (int i = KEY_ESC; i <= KEY_KPDOT; i++)
		ioctl(fd, UI_SET_KEYBIT, i);
	ioctl(fd, UI_SET_EVBIT, EV_LED);
	ioctl(fd, UI_SET_LEDBIT, LED_CAPSL);
	if (ioctl(fd, UI_DEV_SETUP, &setup) < 0 || ioctl(fd, UI_DEV_CREATE) < 0)
		return -1;
	return fd;
}

/* Its node, once it is there, and the link to it. */
static int place(int fd, const char *link)
{
	char name[64], path[160], node[300] = "";

	if (ioctl(fd, UI_GET_SYSNAME(sizeof(name)), name) < 0)
		return -1;
	snprintf(path, sizeof(path), "/sys/devices/virtual/input/%s", name);
	for (int i = 0; i < 50 && !node[0]; i++) {
		DIR *d = opendir(path);
		struct dirent *e;

		while (d && (e = readdir(d))) {
			if (strncmp(e->d_name, "event", 5) == 0)
				snprintf(node, sizeof(node), "/dev/input/%s", e->d_name);
		}
		if (d)
			closedir(d);
		if (node[0] && access(node, F_OK) < 0)
			node[0] = '\0';
		usleep(100000);
	}
	unlink(link);
	return node[0] ? symlink(node, link) : -1;
}

int main(int argc, char **argv)
{
	struct pollfd p[2];
	FILE *lines;

	if (argc != 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	p[0] = (struct pollfd){ .fd = make(argv[1]), .events = POLLIN };
	if (p[0].fd < 0)
		return fail("/dev/uinput");
	if (place(p[0].fd, argv[2]) < 0)
		return fail(argv[2]);
	mkfifo(argv[3], 0600);
	p[1] = (struct pollfd){ .fd = open(argv[3], O_RDWR | O_NONBLOCK | O_CLOEXEC),
				.events = POLLIN };
	lines = fdopen(p[1].fd, "r+");
	if (!lines)
		return fail(argv[3]);
	printf("uinput: ready\n");
	while (poll(p, 2, -1) > 0) {
		struct input_event e = { 0 };
		unsigned type, code;
		char line[80];
		int value;

		while (p[1].revents && fgets(line, sizeof(line), lines)) {
			if (sscanf(line, "%u %u %d", &type, &code, &value) != 3)
				continue;
			e = (struct input_event){ .type = (unsigned short)type,
						  .code = (unsigned short)code,
						  .value = value };
			if (write(p[0].fd, &e, sizeof(e)) < 0)
				return fail("an event");
		}
		clearerr(lines);
		while (p[0].revents && read(p[0].fd, &e, sizeof(e)) == (ssize_t)sizeof(e)) {
			if (e.type != EV_SYN)
				printf("said %u %u %d\n", e.type, e.code, e.value);
		}
	}
	return 0;
}
