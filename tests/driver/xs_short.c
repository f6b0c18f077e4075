/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xs_short.c - xenstore in short (xen.h), over libxenstore, real or fake
 */
#include "tests/driver/xen.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int drv_xs_text(struct xs_handle *xs, const char *path, const char *text)
{
	bool ok = text ? xs_write(xs, XBT_NULL, path, text, (unsigned int)strlen(text))
		       : xs_rm(xs, XBT_NULL, path);

	return ok ? 0 : -errno;
}

int drv_xs_write(struct xs_handle *xs, const char *path, uint32_t value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return drv_xs_text(xs, path, text);
}

char *drv_xs_read(struct xs_handle *xs, const char *path)
{
	return xs_read(xs, XBT_NULL, path, NULL);
}

/* decimal() - a string that is a decimal number and nothing else; else @bad */
static long decimal(const char *s, long bad)
{
	char *end;
	long v;

	if (!s || *s < '0' || *s > '9')
		return bad;
	v = strtol(s, &end, 10);
	return *end ? bad : v;
}

long drv_xs_read_int(struct xs_handle *xs, const char *path, long missing)
{
	char *s = drv_xs_read(xs, path);
	long v = decimal(s, missing);

	free(s);
	return v;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

int drv_xs_look(struct xs_handle *xs, const char *path, uint32_t mask)
{
	char *s = drv_xs_read(xs, path);
	long v = decimal(s, -1);
	int rc = -EAGAIN;

	if (!s && errno == ENOENT && mask >> 31)
		rc = -ENOENT;
	if (v >= 0 && v < 31 && (mask >> v & 1))
		rc = (int)v;
	free(s);
	return rc;
}

int drv_xs_wait(struct xs_handle *xs, const char *path, uint32_t mask, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms, left = timeout_ms;
	struct pollfd pfd = { .fd = xs_fileno(xs), .events = POLLIN };
	int rc = -EAGAIN;
	char **ev;

	if (!xs_watch(xs, path, "wait"))
		rc = -errno;
	while (rc == -EAGAIN && left >= 0 && poll(&pfd, 1, (int)left) > 0) {
		ev = xs_check_watch(xs);
		if (!ev && errno != EAGAIN)
			rc = -errno;
		else
			rc = drv_xs_look(xs, path, mask);
		free(ev);
		left = end - now_ms();
	}
	return rc == -EAGAIN ? -ETIMEDOUT : rc;
}
