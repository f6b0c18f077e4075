// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fx_hypervisor.c - libxenhypfs and libxencall: how Xen was built and started
 *
 * $FAKE_XEN_DIR/config is the .config, $FAKE_XEN_DIR/commandline the command line; without the
 * first there is no hypfs, as on a Xen built without, and without the second Xen denies it. As with
 * the real libraries, buffers of hypercalls are the library's own: another address is EFAULT.
 */
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xencall.h>
#include <xenhypfs.h>
#include <xen/version.h>

/* A file of the world, to be freed, or NULL with errno. */
static char *read_file(const char *name)
{
	const char *dir = getenv("FAKE_XEN_DIR");
	char *text = NULL, *path = NULL;
	size_t len = 0;
	FILE *f;

	errno = ENOENT;
	if (!dir || asprintf(&path, "%s/%s", dir, name) < 0)
		return NULL;
	f = fopen(path, "re");
	free(path);
	if (!f)
		return NULL;
	if (getdelim(&text, &len, '\0', f) < 0) {
		free(text);
		text = strdup(""); /* it is empty */
	}
	fclose(f);
	return text;
}

/* ---- libxenhypfs --------------------------------------------------------- */

struct xenhypfs_handle {
	char *config;
};

xenhypfs_handle *xenhypfs_open(struct xentoollog_logger *logger, unsigned int open_flags)
{
	xenhypfs_handle *h = calloc(1, sizeof(*h));

	(void)logger, (void)open_flags;
	if (h && !(h->config = read_file("config"))) {
		free(h);
		return NULL;
	}
	return h;
}

int xenhypfs_close(xenhypfs_handle *h)
{
	free(h->config);
	free(h);
	return 0;
}

char *xenhypfs_read(xenhypfs_handle *h, const char *path)
{
	if (strcmp(path, "/buildinfo/config") == 0)
		return strdup(h->config);
	errno = ENOENT;
	return NULL;
}

/* ---- libxencall ---------------------------------------------------------- */

struct xencall_handle {
	void *buffer;
};

xencall_handle *xencall_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	(void)logger, (void)open_flags;
	errno = ENOENT;
	return getenv("FAKE_XEN_DIR") ? calloc(1, sizeof(xencall_handle)) : NULL;
}

int xencall_close(xencall_handle *h)
{
	free(h);
	return 0;
}

void *xencall_alloc_buffer(xencall_handle *h, size_t size)
{
	return h->buffer = malloc(size);
}

void xencall_free_buffer(xencall_handle *h, void *p)
{
	free(p);
	h->buffer = NULL;
}

int xencall2(xencall_handle *h, unsigned int op, uint64_t arg1, uint64_t arg2)
{
	char *line;

	errno = op == __HYPERVISOR_xen_version && arg1 == XENVER_commandline ? EFAULT : ENOSYS;
	if (errno == ENOSYS || !h->buffer || arg2 != (uintptr_t)h->buffer)
		return -1;
	line = read_file("commandline");
	snprintf(h->buffer, sizeof(xen_commandline_t), "%s", line ? line : "<denied>");
	free(line);
	return 0;
}
