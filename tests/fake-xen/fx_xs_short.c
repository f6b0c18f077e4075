/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_xs_short.c - xenstore in short for tests (fake_xen.h), and xenstore_lib.h
 */
#include "tests/fake-xen/fx_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int fx_xs_write(struct xs_handle *xs, const char *path, const char *fmt, ...)
{
	va_list ap;
	char *s;
	int rc = 0;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	if (!s)
		return -ENOMEM;
	if (!xs_write(xs, XBT_NULL, path, s, (unsigned int)strlen(s)))
		rc = -errno;
	free(s);
	return rc;
}

char *fx_xs_read(struct xs_handle *xs, const char *path)
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

long fx_xs_read_int(struct xs_handle *xs, const char *path, long missing)
{
	char *s = fx_xs_read(xs, path);
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

/* look() - whether the key has one of the values; -EAGAIN: no */
static int look(struct xs_handle *xs, const char *path, uint32_t mask)
{
	char *s = fx_xs_read(xs, path);
	long v = decimal(s, -1);
	int rc = -EAGAIN;

	if (!s && errno == ENOENT && mask >> 31)
		rc = -ENOENT;
	if (v >= 0 && v < 31 && (mask >> v & 1))
		rc = (int)v;
	free(s);
	return rc;
}

int fx_xs_wait(struct fx_world *w, unsigned int domid, const char *path, uint32_t mask,
	       int timeout_ms)
{
	struct xs_handle *xs = fxi_xs_open_as(w, domid);
	int64_t end = now_ms() + timeout_ms, left = timeout_ms;
	struct pollfd pfd = { .events = POLLIN };
	int rc = -EAGAIN;
	char **ev;

	if (!xs)
		return -errno;
	pfd.fd = xs_fileno(xs);
	if (!xs_watch(xs, path, "wait"))
		rc = -errno;
	while (rc == -EAGAIN && left >= 0 && poll(&pfd, 1, (int)left) > 0) {
		ev = xs_check_watch(xs);
		if (!ev && errno != EAGAIN)
			rc = -errno;
		else
			rc = look(xs, path, mask);
		free(ev);
		left = end - now_ms();
	}
	xs_close(xs);
	return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

/* ---- xenstore_lib.h ------------------------------------------------------- */

const char *xs_daemon_socket(void)
{
	static char path[128];
	const char *dir = getenv("FAKE_XEN_DIR");

	snprintf(path, sizeof(path), "%s/xenstore", dir ? dir : "");
	return path;
}

const char *xs_daemon_socket_ro(void)
{
	return xs_daemon_socket();
}

bool xs_strings_to_perms(struct xs_permissions *perms, unsigned int num, const char *strings)
{
	unsigned int i;

	for (i = 0; i < num; i++) {
		const char *l = *strings ? strchr("nrwb", *strings) : NULL;

		if (!l) {
			errno = EINVAL;
			return false;
		}
		perms[i].perms = (unsigned int)(*l == 'n'   ? XS_PERM_NONE
						: *l == 'r' ? XS_PERM_READ
						: *l == 'w' ? XS_PERM_WRITE
							    : XS_PERM_READ | XS_PERM_WRITE);
		perms[i].id = (unsigned int)strtoul(strings + 1, NULL, 10);
		strings += strlen(strings) + 1;
	}
	return true;
}
