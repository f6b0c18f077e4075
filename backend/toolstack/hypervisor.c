// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hypervisor.c - see hypervisor.h
 */
#include "backend/toolstack/hypervisor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xencall.h>
#include <xenhypfs.h>
#include <xen/grant_table.h>
#include <xen/version.h>

#include "backend/base/number.h"
#include "backend/memory/grants.h"

/* Does @config have @line, whole? */
static bool has_line(const char *config, const char *line)
{
	size_t len = strlen(line);

	for (const char *p = config; (p = strstr(p, line)) != NULL; p += len) {
		if ((p == config || p[-1] == '\n') && (p[len] == '\n' || !p[len]))
			return true;
	}
	return false;
}

/* What hypfs has at @path, to be freed; NULL: not known. */
static char *read_hypfs(const char *path)
{
	xenhypfs_handle *fs = xenhypfs_open(&vg_xen_logger, 0);
	char *text;

	if (!fs)
		return NULL;
	text = xenhypfs_read(fs, path);
	xenhypfs_close(fs);
	return text;
}

/* A number there; 0: not known. */
static uint32_t read_param(const char *path)
{
	char *text = read_hypfs(path);
	uint64_t value = 0;

	if (text && vg_number(text, 10, UINT32_MAX, &value) < 0)
		value = 0;
	free(text);
	return (uint32_t)value;
}

/* The command line of Xen. Return: whether it is known; to whom it is denied Xen says "<denied>". */
static bool read_command_line(char *line, size_t size)
{
	xencall_handle *call = xencall_open(&vg_xen_logger, 0);
	char *buf = NULL;
	bool known = false;

	if (!call)
		return false;
	buf = xencall_alloc_buffer(call, sizeof(xen_commandline_t));
	if (buf) {
		memset(buf, 0, sizeof(xen_commandline_t));
		known = xencall2(call, __HYPERVISOR_xen_version, XENVER_commandline,
				 (uintptr_t)buf) == 0 &&
			buf[0] != '<';
		snprintf(line, size, "%.*s", (int)sizeof(xen_commandline_t) - 1, buf);
		xencall_free_buffer(call, buf);
	}
	xencall_close(call);
	return known;
}

/* Xen, xsm/xsm_core.c: the last xsm= that it was built with counts, and else what it was built for. */
static enum vg_known silo_of(const char *config)
{
	enum vg_known silo = has_line(config, "CONFIG_XSM_SILO_DEFAULT=y") ? VG_YES : VG_NO;
	char line[sizeof(xen_commandline_t)], *save = NULL;

	if (!has_line(config, "CONFIG_XSM_SILO=y"))
		return VG_NO;
	if (!read_command_line(line, sizeof(line)))
		return VG_UNKNOWN;
	for (char *p = strtok_r(line, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
		if (strcmp(p, "xsm=silo") == 0)
			silo = VG_YES;
		else if (strcmp(p, "xsm=dummy") == 0 ||
			 (strcmp(p, "xsm=flask") == 0 && has_line(config, "CONFIG_XSM_FLASK=y")))
			silo = VG_NO;
	}
	return silo;
}

void vg_hypervisor_ask(struct vg_hypervisor *hv)
{
	char *config = read_hypfs("/buildinfo/config");

	*hv = (struct vg_hypervisor){ .arm = false };
#if defined(__aarch64__) || defined(__arm__)
	hv->arm = true;
#endif
	if (!config)
		return;
	hv->arm = has_line(config, "CONFIG_ARM=y");
	hv->ioreq = has_line(config, "CONFIG_IOREQ_SERVER=y") ? VG_YES : VG_NO;
	hv->silo = silo_of(config);
	hv->maptrack_frames = read_param("/params/gnttab_max_maptrack_frames");
	free(config);
}

int vg_hypervisor_grants(uint32_t domid, uint32_t *frames)
{
	xencall_handle *call = xencall_open(&vg_xen_logger, 0);
	struct gnttab_query_size *query;
	int ret = -ENOSYS;

	if (!call)
		return errno ? -errno : -ENOENT;
	query = xencall_alloc_buffer(call, sizeof(*query));
	if (query) {
		*query = (struct gnttab_query_size){ .dom = (domid_t)domid };
		if (xencall3(call, __HYPERVISOR_grant_table_op, GNTTABOP_query_size,
			     (uintptr_t)query, 1) < 0)
			ret = -errno;
		else
			ret = query->status == GNTST_okay ? 0 : -ESRCH;
		*frames = query->max_nr_frames;
		xencall_free_buffer(call, query);
	}
	xencall_close(call);
	return ret;
}
