// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * keys.c - a guest's program that tells what its input devices say, through evdev alone
 *
 *   keys [WAIT]        waits at most WAIT seconds (default 60) for a first device, then tells until SIGTERM
 *
 * "keys: N devices" when it listens, then a line for each report: the device's name, a colon, and for
 * each of its events but the last (SYN_REPORT) " TYPE CODE VALUE" in decimal. What the kernel itself
 * adds, a key that repeats (EV_KEY with value 2), is left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/input.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DEVICES = 8, LINE = 2000, WAIT = 60 };

static struct device {
	char name[80];
	char line[LINE];
	size_t len;
} devices[DEVICES];
static struct pollfd polls[DEVICES];
static nfds_t n;

static void find(void)
{
	glob_t g;

	if (glob("/dev/input/event*", 0, NULL, &g) != 0)
		return;
	for (size_t i = 0; i < g.gl_pathc && n < DEVICES; i++) {
		int fd = open(g.gl_pathv[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (ioctl(fd, EVIOCGNAME(sizeof(devices[n].name)), devices[n].name) < 0 ||
		    strncmp(devices[n].name, "vgrant ", 7) != 0) {
			close(fd);
			continue;
		}
		polls[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	globfree(&g);
}

static void tell(struct device *d, const struct input_event *e)
{
	if (e->type == EV_SYN && e->code == SYN_REPORT) {
		if (d->len)
			printf("%s:%s\n", d->name, d->line);
		d->len = 0;
		fflush(stdout);
	} else if (e->type != EV_KEY || e->value != 2) {
		int more = snprintf(d->line + d->len, LINE - d->len, " %u %u %d", e->type, e->code,
				    e->value);

		if (more > 0 && (size_t)more < LINE - d->len)
			d->len += (size_t)more;
	}
}

int main(int argc, char **argv)
{
	int wait = argc > 1 ? atoi(argv[1]) : WAIT;

	for (int i = 0; i < wait * 10 && n == 0; i++) {
		find();
		usleep(100000);
	}
	printf("keys: %u devices\n", (unsigned)n);
	fflush(stdout);
	while (poll(polls, n, -1) > 0) {
		for (nfds_t i = 0; i < n; i++) {
			struct input_event e;

			if (!polls[i].revents)
				continue;
			if (read(polls[i].fd, &e, sizeof(e)) == (ssize_t)sizeof(e)) {
				tell(&devices[i], &e);
			} else if (errno != EINTR) {
				printf("keys: %s is gone\n", devices[i].name);
				fflush(stdout);
				polls[i].fd = -1;
			}
		}
	}
	return 0;
}
