// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * any.c - the device gateway: whatever daemon its user names
 *
 *	gateway,type=scsi,socket=/run/s.sock			one that somebody else starts
 *	gateway,type=net,run=passt --vhost-user -f,network	one that is started with the device
 *	gateway,type=net,vdpa=/dev/vhost-vdpa-0			a vDPA device, whose daemon is ours
 *
 * The second is told where to listen as vhost-user has it for programs (QEMU's docs/interop/vhost-user.rst,
 * "Backend program conventions"): --socket-path=PATH, behind what its user says.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/devices.h"
#include "backend/devices/gateway/int.h"

static const struct vg_param_def gateway_params[] = {
	{ "type", VG_PARAM_STRING, true, 0, 0, NULL,
	  "what the daemon serves: blk, fs, net, vsock, scsi, sound ..., or a number of VIRTIO's" },
	{ "socket", VG_PARAM_PATH, false, 0, 0, NULL,
	  "where it listens, a socket of vhost-user (its --socket-path)" },
	{ "run", VG_PARAM_STRING, false, 0, 0, NULL,
	  "instead: the daemon, and words for it, to be started with the device, and ended" },
	{ "vdpa", VG_PARAM_PATH, false, 0, 0, NULL,
	  "instead: a vDPA device of this type, /dev/vhost-vdpa-N" },
	{ "network", VG_PARAM_BOOL, false, 0, 0, "no",
	  "of one that is started: it has this domain's network" },
	{ "queues", VG_PARAM_UINT, false, 1, GW_QUEUES, "16",
	  "as many of its queues at most, all counted" },
	{ "cache", VG_PARAM_STRING, false, 0, 0, "writethrough",
	  "of a disk: writethrough, or writeback: quick, and what the guest has not flushed may go "
	  "with "
	  "a daemon that dies" },
	{ "tag", VG_PARAM_STRING, false, 0, 0, NULL,
	  "of a file system: what the guest mounts it by, where the daemon does not say" },
	{ 0 },
};

static bool is_writeback(const struct vg_params *params)
{
	return strcmp(vg_params_str(params, gateway_params, "cache"), "writeback") == 0;
}

static int gateway_check(const struct vg_params *params, struct vg_err *err)
{
	const char *cache = vg_params_str(params, gateway_params, "cache");
	struct gw_type spare;

	if (!is_writeback(params) && strcmp(cache, "writethrough") != 0)
		return vg_fail(err, -EINVAL, "cache=%.40s: it is writethrough or writeback", cache);

	if (!gw_said(params, "socket") && !gw_said(params, "run") && !gw_said(params, "vdpa"))
		return vg_fail(
			err, -EINVAL,
			"socket= is missing, where its daemon listens, or run=, which starts "
			"one, or vdpa=");
	if (gw_said(params, "run") && gw_said(params, "vdpa"))
		return vg_fail(err, -EINVAL, "run= and vdpa= are two daemons for one device");
	if (gw_said(params, "network") && !gw_said(params, "run"))
		return vg_fail(err, -EINVAL, "network is for a daemon that run= starts");
	if (!gw_type_find(vg_params_str(params, gateway_params, "type"), &spare, err))
		return -EINVAL;
	return gw_tag_check(vg_params_str(params, gateway_params, "tag"), err);
}

static int gateway_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	const struct gw_spec spec = {
		.type = vg_params_str(params, gateway_params, "type"),
		.socket = vg_params_str(params, gateway_params, "socket"),
		.tag = vg_params_str(params, gateway_params, "tag"),
		.queues = (unsigned)vg_params_uint(params, gateway_params, "queues"),
		.writeback = is_writeback(params),
	};

	return gw_open(dev, &spec, err);
}

/* ---- that is started with the device ----------------------------------------- */

/* Where @name is, if it is no path. Return: 0, or -ENOENT with a sentence. */
static int find_daemon(const char *name, char *path, size_t size, struct vg_err *err)
{
	/* Daemons of devices lie beside the programs that people call. */
	static const char *const folders[] = {
		"/usr/local/libexec", "/usr/local/sbin", "/usr/local/bin", "/usr/libexec",
		"/usr/lib/qemu",      "/usr/sbin",	 "/usr/bin"
	};

	snprintf(path, size, "%s", name);
	for (size_t i = 0; name[0] != '/' && i < COUNT(folders); i++) {
		snprintf(path, size, "%s/%s", folders[i], name);
		if (access(path, X_OK) == 0)
			return 0;
	}
	return path[0] == '/' && access(path, X_OK) == 0
		       ? 0
		       : vg_fail(err, -ENOENT,
				 "run=%.100s: there is no such program that can be run", name);
}

/* A daemon that has given up its rights by then makes its socket in a folder of its own. */
static int run_complete(const struct vg_params *params, const struct vg_place *place, char *spec,
			size_t size)
{
	size_t before = strlen(spec), n;
	int ret = gw_complete(params, place, spec, size);

	n = strlen(spec);
	if (ret == 0 && n > before)
		ret = snprintf(spec + n, size - n, "/socket") < (int)(size - n) ? 0 : -E2BIG;
	return ret;
}

static int run_daemon(const struct vg_params *params, struct vg_daemon *out, struct vg_err *err)
{
	char words[VG_PARAMS_LEN], path[PATH_MAX], arg[160], *rest = words, *word;
	int ret;

	snprintf(words, sizeof(words), "%s", vg_params_str(params, gateway_params, "run"));
	word = strtok_r(rest, " \t", &rest);
	if (!word)
		return vg_fail(err, -EINVAL, "run= names no program");
	ret = find_daemon(word, path, sizeof(path), err);
	if (ret < 0)
		return ret;
	vg_command_init(&out->command, strrchr(path, '/') + 1, path);
	while ((word = strtok_r(rest, " \t", &rest)))
		vg_command_arg(&out->command, word);
	out->socket = vg_params_str(params, gateway_params, "socket");
	out->network = vg_params_bool(params, gateway_params, "network");
	out->listens = true;
	if (!out->socket)
		return gw_no_socket(err);
	snprintf(arg, sizeof(arg), "--socket-path=%s", out->socket);
	vg_command_arg(&out->command, arg);
	return 0;
}

static const struct vg_device_ops vg_gateway_run = {
	.name = "gateway",
	.help = "a device that another program serves, by vhost-user",
	.params = gateway_params,
	.helper = "daemon",
	.complete = run_complete,
	.daemon = run_daemon,
	.check = gateway_check,
	.open = gateway_open,
	GW_OPS,
};

static int vdpa_daemon(const struct vg_params *params, struct vg_daemon *out, struct vg_err *err)
{
	return gw_vdpa_daemon(vg_params_str(params, gateway_params, "vdpa"),
			      vg_params_str(params, gateway_params, "socket"), out, err);
}

static const struct vg_device_ops vg_gateway_vdpa = {
	.name = "gateway",
	.help = "a device that is a vDPA device of this domain",
	.params = gateway_params,
	.helper = "daemon",
	.complete = gw_complete,
	.daemon = vdpa_daemon,
	.check = gateway_check,
	.open = gateway_open,
	GW_OPS,
};

static const struct vg_device_ops *gateway_as(const struct vg_params *params)
{
	if (gw_said(params, "vdpa"))
		return &vg_gateway_vdpa;
	return gw_said(params, "run") ? &vg_gateway_run : NULL;
}

const struct vg_device_ops vg_gateway = {
	.name = "gateway",
	.help = "a device that another program serves, by vhost-user",
	.params = gateway_params,
	.as = gateway_as,
	.check = gateway_check,
	.open = gateway_open,
	GW_OPS,
};
