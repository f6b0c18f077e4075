/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_xs_short.c - xenstore in short for tests (fake_xen.h), and xenstore_lib.h
 */
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/driver/xen.h"

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
	return drv_xs_read(xs, path);
}

long fx_xs_read_int(struct xs_handle *xs, const char *path, long missing)
{
	return drv_xs_read_int(xs, path, missing);
}

int fx_xs_wait(struct fx_world *w, unsigned int domid, const char *path, uint32_t mask,
	       int timeout_ms)
{
	struct xs_handle *xs = fxi_xs_open_as(w, domid);
	int rc;

	if (!xs)
		return -errno;
	rc = drv_xs_wait(xs, path, mask, timeout_ms);
	xs_close(xs);
	return rc;
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
