// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kernel.c - devices that this domain's kernel serves, or hardware of it
 *
 *	vsock,cid=7				vhost-vsock
 *	scsi,target=naa.500140512345678		vhost-scsi
 *	blk,target=vdpa:/dev/vhost-vdpa-0	a vDPA device
 *
 * To the guest, gateways; their daemon is vgrantd's own (vhost.c).
 */
#include <errno.h>
#include <limits.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/devices.h"
#include "backend/devices/gateway/int.h"
#include "backend/devices/gateway/vhost.h"

/* This program again, as their daemon. */
static int daemon_of(struct vg_daemon *out, const char *kind, const char *what, const char *socket,
		     struct vg_err *err)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n < 0)
		return vg_fail(err, -errno, "this program cannot be found: %s", strerror(errno));
	path[n] = '\0';
	vg_command_init(&out->command, kind, path);
	vg_command_arg(&out->command, VG_VHOST);
	vg_command_arg(&out->command, kind);
	vg_command_arg(&out->command, what);
	out->socket = socket;
	return socket ? 0 : gw_no_socket(err);
}

/* Return: 0, or -ENODEV with a sentence: @module has to be loaded. */
static int kernel_has(const char *path, const char *module, struct vg_err *err)
{
	return access(path, F_OK) == 0
		       ? 0
		       : vg_fail(err, -ENODEV,
				 "%s is not there: modprobe %s, and name it in /etc/modules-load.d",
				 path, module);
}

/* ---- vsock ------------------------------------------------------------------ */

static const struct vg_param_def vsock_params[] = {
	/* 0 to 2 are the hypervisor's, local's and the host's; the last is anybody's: vsock(7) */
	{ "cid", VG_PARAM_UINT, true, 3, 0xfffffffe, NULL,
	  "the guest's context identifier, its own among all of this domain" },
	{ "socket", VG_PARAM_PATH, false, 0, 0, NULL, "vgrantd's own: between vhost-vsock and us" },
	{ 0 },
};

static int vsock_daemon(const struct vg_params *params, struct vg_daemon *out, struct vg_err *err)
{
	char cid[16];

	if (kernel_has("/dev/vhost-vsock", "vhost_vsock", err) < 0)
		return -ENODEV;
	snprintf(cid, sizeof(cid), "%u", (unsigned)vg_params_uint(params, vsock_params, "cid"));
	return daemon_of(out, "vsock", cid, vg_params_str(params, vsock_params, "socket"), err);
}

static int vsock_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	const struct gw_spec spec = { .type = "vsock",
				      .socket = vg_params_str(params, vsock_params, "socket"),
				      .queues = GW_QUEUES };

	return gw_open(dev, &spec, err);
}

const struct vg_device_ops vg_vsock = {
	.name = "vsock",
	.help = "sockets between the guest and this domain, by vhost-vsock",
	.virtio_id = 19, /* VIRTIO 1.3 section 5.10.1 */
	.params = vsock_params,
	.helper = "daemon",
	.complete = gw_complete,
	.daemon = vsock_daemon,
	.open = vsock_open,
	GW_OPS,
};

/* ---- scsi ------------------------------------------------------------------- */

/* Where targets of vhost's are made: the kernel's Documentation/target/tcm_mod_builder.rst, targetcli(8). */
#define SCSI_TARGETS "/sys/kernel/config/target/vhost"

static const struct vg_param_def scsi_params[] = {
	{ "target", VG_PARAM_STRING, true, 0, 0, NULL,
	  "name of a target that `targetcli` has made in /vhost: naa.5001405..." },
	{ "queues", VG_PARAM_UINT, false, 1, GW_QUEUES - 2, "1",
	  "of requests; for each the kernel takes memory, with Linux 6.12 some 70 MiB" },
	{ "socket", VG_PARAM_PATH, false, 0, 0, NULL, "vgrantd's own: between vhost-scsi and us" },
	{ 0 },
};

/* The names that drivers/vhost/scsi.c takes. */
static int scsi_check(const struct vg_params *params, struct vg_err *err)
{
	static const char *const begins[] = { "naa.", "fc.", "iqn." };
	const char *target = vg_params_str(params, scsi_params, "target");
	struct vhost_scsi_target t;

	for (size_t i = 0; i < COUNT(begins); i++) {
		if (strncmp(target, begins[i], strlen(begins[i])) == 0 && !strchr(target, '/') &&
		    strlen(target) < sizeof(t.vhost_wwpn))
			return 0;
	}
	return vg_fail(err, -EINVAL,
		       "target=%.100s: the name of a SCSI target begins with naa., fc. or iqn.",
		       target);
}

static int scsi_daemon(const struct vg_params *params, struct vg_daemon *out, struct vg_err *err)
{
	const char *target = vg_params_str(params, scsi_params, "target");
	char path[PATH_MAX];

	if (kernel_has("/dev/vhost-scsi", "vhost_scsi", err) < 0)
		return -ENODEV;
	snprintf(path, sizeof(path), SCSI_TARGETS "/%s", target);
	if (access(path, F_OK) < 0)
		return vg_fail(err, -ENODEV,
			       "target=%.100s is no target of this domain: see `targetcli ls "
			       "/vhost`",
			       target);
	return daemon_of(out, "scsi", target, vg_params_str(params, scsi_params, "socket"), err);
}

static int scsi_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	const struct gw_spec spec = {
		.type = "scsi",
		.socket = vg_params_str(params, scsi_params, "socket"),
		.queues = 2 + (unsigned)vg_params_uint(params, scsi_params, "queues"),
	};

	return gw_open(dev, &spec, err);
}

const struct vg_device_ops vg_scsi = {
	.name = "scsi",
	.help = "SCSI devices of a target of this domain, by vhost-scsi",
	.virtio_id = 8, /* VIRTIO 1.3 section 5.6.1 */
	.params = scsi_params,
	.helper = "daemon",
	.complete = gw_complete,
	.daemon = scsi_daemon,
	.check = scsi_check,
	.open = scsi_open,
	GW_OPS,
};

/* ---- a vDPA disk -------------------------------------------------------------- */

bool gw_vdpa_is(const char *target)
{
	return strncmp(target, "vdpa:/", 6) == 0;
}

static const char *vdpa_path(const struct vg_params *params)
{
	return vg_params_str(params, vg_blk_params, "target") + 5;
}

static int vdpa_check(const struct vg_params *params, struct vg_err *err)
{
	static const char *const known[] = { "target", "queues", "socket", NULL };
	const char *other = gw_said_beside(params, vg_blk_params, known);

	return other ? vg_fail(err, -EINVAL, "%s= is not for a vDPA device, which is what it is",
			       other)
		     : 0;
}

int gw_vdpa_daemon(const char *path, const char *socket, struct vg_daemon *out, struct vg_err *err)
{
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISCHR(st.st_mode))
		return vg_fail(err, -ENODEV,
			       "%.200s is no vDPA device of this domain: modprobe vhost_vdpa, and "
			       "see `vdpa dev`",
			       path);
	return daemon_of(out, "vdpa", path, socket, err);
}

static int vdpa_daemon(const struct vg_params *params, struct vg_daemon *out, struct vg_err *err)
{
	return gw_vdpa_daemon(vdpa_path(params), vg_params_str(params, vg_blk_params, "socket"),
			      out, err);
}

static int vdpa_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	const struct gw_spec spec = {
		.type = "blk",
		.socket = vg_params_str(params, vg_blk_params, "socket"),
		.queues = (unsigned)vg_params_uint(params, vg_blk_params, "queues"),
		.writeback = true, /* what keeps writes to itself is hardware, and does not die */
	};

	return gw_open(dev, &spec, err);
}

const struct vg_device_ops vg_vdpa_blk = {
	.name = "blk",
	.help = "a disk that is a vDPA device",
	.virtio_id = 2,
	.params = vg_blk_params,
	.helper = "daemon",
	.complete = gw_complete,
	.daemon = vdpa_daemon,
	.check = vdpa_check,
	.open = vdpa_open,
	GW_OPS,
};
