// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fx_hypervisor.c - libxenhypfs and libxencall: how Xen was built and started
 *
 * $FAKE_XEN_DIR/config is the .config, $FAKE_XEN_DIR/commandline the command line; without the
 * first there is no hypfs, as on a Xen built without, and without the second Xen denies it.
 * $FAKE_XEN_DIR/maptrack-frames is that parameter, and $FAKE_XEN_DIR/grant-frames.N how large the
 * grant table of domain N may become; without it there is no such domain. As with
 * the real libraries, buffers of hypercalls are the library's own: another address is EFAULT.
 * $FAKE_XEN_DIR/root stands for / where `vgrant doctor` looks at the kernel.
 */
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xencall.h>
#include <xenhypfs.h>
#include <xen/grant_table.h>
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
	if (strcmp(path, "/params/gnttab_max_maptrack_frames") == 0)
		return read_file("maptrack-frames");
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

int xencall3(xencall_handle *h, unsigned int op, uint64_t arg1, uint64_t arg2, uint64_t arg3)
{
	struct gnttab_query_size *query = h->buffer;
	char name[32], *frames;

	errno = op == __HYPERVISOR_grant_table_op && arg1 == GNTTABOP_query_size ? EFAULT : ENOSYS;
	if (errno == ENOSYS || !query || arg2 != (uintptr_t)query || arg3 != 1)
		return -1;
	snprintf(name, sizeof(name), "grant-frames.%u", query->dom);
	frames = read_file(name);
	query->status = frames ? GNTST_okay : GNTST_bad_domain;
	query->max_nr_frames = frames ? (uint32_t)strtoul(frames, NULL, 10) : 0;
	free(frames);
	return 0;
}

/* ---- what the kernel says ------------------------------------------------ */

const char *vg_doctor_root(void);

/* Instead of the one in tools/doctor.c, which is weak. */
const char *vg_doctor_root(void)
{
	static char root[4096];
	const char *dir = getenv("FAKE_XEN_DIR");

	snprintf(root, sizeof(root), "%s/root", dir ? dir : "");
	return root;
}
