// SPDX-License-Identifier: GPL-2.0-or-later
/* evdevhost.c - see evdev.h */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/devices/input/evdev.h"

/* Bits of event type @type, or all zero. */
static void bits(int fd, unsigned type, uint8_t *to, size_t size)
{
	memset(to, 0, size);
	if (ioctl(fd, EVIOCGBIT(type, size), to) < 0)
		memset(to, 0, size);
}

/* Return: its length, without a NUL. */
static uint8_t text(int fd, unsigned long request, char to[EVDEV_TEXT])
{
	memset(to, 0, EVDEV_TEXT);
	if (ioctl(fd, request, to) < 0)
		memset(to, 0, EVDEV_TEXT);
	return (uint8_t)strnlen(to, EVDEV_TEXT);
}

static void describe(int fd, struct evdev_caps *c)
{
	memset(c, 0, sizeof(*c));
	c->name_len = text(fd, EVIOCGNAME(EVDEV_TEXT), c->name);
	c->serial_len = text(fd, EVIOCGUNIQ(EVDEV_TEXT), c->serial);
	if (ioctl(fd, EVIOCGID, &c->id) < 0)
		memset(&c->id, 0, sizeof(c->id));
	if (ioctl(fd, EVIOCGPROP(sizeof(c->props)), c->props) < 0)
		memset(c->props, 0, sizeof(c->props));
	bits(fd, 0, c->types, sizeof(c->types));
	bits(fd, EV_KEY, c->key, sizeof(c->key));
	bits(fd, EV_REL, c->rel, sizeof(c->rel));
	bits(fd, EV_ABS, c->abs, sizeof(c->abs));
	bits(fd, EV_MSC, c->msc, sizeof(c->msc));
	bits(fd, EV_SW, c->sw, sizeof(c->sw));
	bits(fd, EV_LED, c->led, sizeof(c->led));
	bits(fd, EV_SND, c->snd, sizeof(c->snd));
	/* Of repeating the kernel tells times, and no bits. */
	if (c->types[EV_REP / 8] >> EV_REP % 8 & 1)
		c->rep[0] = 1u << REP_DELAY | 1u << REP_PERIOD;
	for (unsigned i = 0; i < ABS_CNT; i++) {
		if (c->abs[i / 8] >> i % 8 & 1 && ioctl(fd, EVIOCGABS(i), &c->absinfo[i]) < 0)
			memset(&c->absinfo[i], 0, sizeof(c->absinfo[i]));
	}
}

int evdev_host_open(const char *path, struct evdev_caps *caps, struct vg_err *err)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY), version, ret;

	if (fd < 0)
		return vg_fail(err, -errno, "evdev=%.150s cannot be opened: %s", path,
			       strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || ioctl(fd, EVIOCGVERSION, &version) < 0) {
		close(fd);
		return vg_fail(err, -ENODEV,
			       "evdev=%.150s is no input device: they are /dev/input/event0 and so "
			       "on, with lasting names in /dev/input/by-id",
			       path);
	}
	if (ioctl(fd, EVIOCGRAB, 1) < 0) {
		ret = -errno;
		close(fd);
		return vg_fail(err, ret, "evdev=%.150s is not ours alone: %s", path,
			       ret == -EBUSY ? "another guest or program has it" : strerror(-ret));
	}
	describe(fd, caps);
	return fd;
}

void evdev_host_state(int fd, const struct evdev_caps *caps, struct evdev_state *s)
{
	memset(s, 0, sizeof(*s));
	if (ioctl(fd, EVIOCGKEY(sizeof(s->key)), s->key) < 0)
		memset(s->key, 0, sizeof(s->key));
	if (ioctl(fd, EVIOCGSW(sizeof(s->sw)), s->sw) < 0)
		memset(s->sw, 0, sizeof(s->sw));
	for (unsigned i = 0; i < ABS_CNT; i++) {
		struct input_absinfo a;

		if (caps->abs[i / 8] >> i % 8 & 1 && ioctl(fd, EVIOCGABS(i), &a) == 0)
			s->abs[i] = a.value;
	}
}
