// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * program.c - devices whose daemon is a part of them: started, watched and ended with them
 *
 *	fs,dir=/srv/x,tag=x		virtiofsd
 *	blk,target=/srv/disk.qcow2	qemu-storage-daemon: what a disk's file is, its name says, or format=
 *	blk,target=nbd://host/disk	the same, for what lies on another machine (storage.c)
 *
 * To the guest, a gateway. The daemon is a child of a process that vgrantd starts before the device's
 * worker (worker/keeper.c); the socket between them lies in vgrantd's runtime folder, under the name
 * of the guest's domain and the device, and is added to the configuration by vgrantd itself.
 *
 * An image is never asked what it is: a guest writes what it likes at the begin of a raw one, and would
 * have the next daemon open any file of the host's as its backing file.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/devices/devices.h"
#include "backend/devices/gateway/int.h"

enum { ARG = 2 * VG_PARAMS_LEN }; /* bytes of an argument */

/* What the user said of @key, or NULL. */
const char *gw_said(const struct vg_params *params, const char *key)
{
	for (unsigned i = 0; i < params->n; i++) {
		if (strcmp(params->p[i].key, key) == 0)
			return params->p[i].value;
	}
	return NULL;
}

const char *gw_said_beside(const struct vg_params *params, const struct vg_param_def *defs,
			   const char *const *known)
{
	for (; defs->key; defs++) {
		const char *const *k = known;

		while (*k && strcmp(*k, defs->key) != 0)
			k++;
		if (!*k && gw_said(params, defs->key))
			return defs->key;
	}
	return NULL;
}

/* In the supervisor: where the daemon listens follows from whose device it is. */
int gw_complete(const struct vg_params *params, const struct vg_place *place, char *spec,
		size_t size)
{
	char path[128];
	int n;

	if (gw_said(params, "socket") || place->domid == UINT32_MAX)
		return 0;
	snprintf(path, sizeof(path), "%s/%u-%u.daemon", place->runtime, place->domid, place->id);
	n = snprintf(spec + strlen(spec), size - strlen(spec), ",socket=%s", path);
	return n < 0 || strlen(spec) + 1 == size ? -E2BIG : 0;
}

int gw_no_socket(struct vg_err *err)
{
	return vg_fail(err, -EOPNOTSUPP,
		       "a daemon of its own is started for a Xen guest's device alone: start it "
		       "yourself, and name its socket to a gateway");
}

/* The first of @paths, which NULL ends, that can be run. */
static int find_program(struct vg_daemon *out, const char *const *paths, const char *package,
			struct vg_err *err)
{
	const char *name = strrchr(paths[0], '/') + 1;

	out->package = package;
	for (; *paths; paths++) {
		if (access(*paths, X_OK) == 0) {
			vg_command_init(&out->command, name, *paths);
			return 0;
		}
	}
	return vg_fail(err, -ENOENT, "%s is not installed: Debian's package %s has it", name,
		       package);
}

/* ---- a folder -------------------------------------------------------------- */

static const struct vg_param_def fs_params[] = {
	{ "dir", VG_PARAM_PATH, true, 0, 0, NULL, "folder of this domain that the guest mounts" },
	{ "tag", VG_PARAM_STRING, true, 0, 0, NULL,
	  "what it mounts it by: mount -t virtiofs TAG /mnt" },
	{ "socket", VG_PARAM_PATH, false, 0, 0, NULL, "vgrantd's own: between virtiofsd and us" },
	{ 0 },
};

static int fs_check(const struct vg_params *params, struct vg_err *err)
{
	return gw_tag_check(vg_params_str(params, fs_params, "tag"), err);
}

static int fs_daemon(const struct vg_params *params, struct vg_daemon *out, struct vg_err *err)
{
	static const char *const paths[] = { "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd",
					     NULL };
	const char *dir = vg_params_str(params, fs_params, "dir");
	struct stat st;
	int ret = find_program(out, paths, "virtiofsd", err);

	if (ret < 0)
		return ret;
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return vg_fail(err, -ENOTDIR, "dir=%.200s is no folder of this domain", dir);
	out->socket = vg_params_str(params, fs_params, "socket");
	/* Files have the owners that the guest gives them; it gives up all else itself, for good. */
	out->root = true;
	vg_command_arg(&out->command, "--fd=0");
	vg_command_arg(&out->command, "--shared-dir");
	vg_command_arg(&out->command, dir);
	vg_command_arg(&out->command, "--tag");
	vg_command_arg(&out->command, vg_params_str(params, fs_params, "tag"));
	return out->socket ? 0 : gw_no_socket(err);
}

static int fs_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	const struct gw_spec spec = { .type = "fs",
				      .socket = vg_params_str(params, fs_params, "socket"),
				      .queues = GW_QUEUES };

	return gw_open(dev, &spec, err);
}

const struct vg_device_ops vg_fs = {
	.name = "fs",
	.help = "a folder of this domain, by virtiofsd",
	.virtio_id = 26, /* VIRTIO 1.3 section 5.11.1 */
	.params = fs_params,
	.helper = "daemon",
	.complete = gw_complete,
	.daemon = fs_daemon,
	.check = fs_check,
	.open = fs_open,
	GW_OPS,
};

/* ---- a disk that is not raw -------------------------------------------------- */

static const struct format {
	const char *name, *ending, *driver; /* of QEMU's block layer */
} formats[] = {
	{ "qcow2", ".qcow2", "qcow2" }, { "vhdx", ".vhdx", "vhdx" }, { "vmdk", ".vmdk", "vmdk" },
	{ "vhd", ".vhd", "vpc" },	{ "vdi", ".vdi", "vdi" },
};

static bool ends_with(const char *text, const char *ending)
{
	size_t n = strlen(text), m = strlen(ending);

	return n > m && strcmp(text + n - m, ending) == 0;
}

/* NULL: a raw file, or a name that nobody knows. */
static const struct format *format_of(const struct vg_params *params)
{
	static const struct format raw = { "raw", "", "raw" };
	const char *format = gw_said(params, "format"), *target = gw_said(params, "target");
	bool address = target && gw_storage_is(target);

	for (unsigned i = 0; i < COUNT(formats); i++) {
		if (format ? strcmp(format, formats[i].name) == 0
			   : target && ends_with(target, formats[i].ending))
			return &formats[i];
	}
	return address && (!format || strcmp(format, raw.name) == 0) ? &raw : NULL;
}

const struct vg_device_ops *vg_image_as(const struct vg_params *params)
{
	const char *target = gw_said(params, "target");

	if (target && gw_vdpa_is(target))
		return &vg_vdpa_blk;
	return format_of(params) ? &vg_image_blk : NULL;
}

/*
 * May its daemon have the guest's own memory (share.c)? Not where I/O refers to its pages: a daemon that is
 * killed meanwhile would leave them in use for good (memory/grants.c). Libraries that reach other machines
 * promise nothing of that.
 */
static bool may_lend(const struct vg_params *params)
{
	const char *cache = gw_said(params, "cache"), *target = gw_said(params, "target");

	return target && !gw_storage_is(target) && !(cache && strcmp(cache, "none") == 0);
}

static int image_check(const struct vg_params *params, struct vg_err *err)
{
	static const char *const known[] = { "target", "format", "readonly", "discard",
					     "cache",  "queues", "socket",   NULL };
	const char *cache = gw_said(params, "cache"), *target = gw_said(params, "target");
	const char *other = gw_said_beside(params, vg_blk_params, known);
	char options[ARG];

	if (other)
		return vg_fail(err, -EINVAL,
			       "%s= is for raw images of this domain: a %s%s is served by "
			       "qemu-storage-daemon",
			       other, format_of(params)->name,
			       gw_storage_is(target) ? " of another machine" : "");
	if (cache && strcmp(cache, "none") != 0 && strcmp(cache, "writeback") != 0 &&
	    strcmp(cache, "writethrough") != 0)
		return vg_fail(err, -EINVAL,
			       "cache=%.40s: of a %s it is writethrough, writeback or none", cache,
			       format_of(params)->name);
	if (vg_params_uint(params, vg_blk_params, "queues") > GW_QUEUES)
		return vg_fail(err, -EINVAL, "queues= is at most %d for a %s", GW_QUEUES,
			       format_of(params)->name);
	return gw_storage_is(target) ? gw_storage_options(target, options, sizeof(options), err)
				     : 0;
}

/* How the daemon reaches what the disk is in. */
static int put_place(const char *target, char *arg, size_t size, struct vg_err *err)
{
	struct stat st;

	if (gw_storage_is(target))
		return gw_storage_options(target, arg, size, err);
	if (stat(target, &st) < 0)
		return vg_fail(err, -errno, "target=%.200s cannot be found: %s", target,
			       strerror(errno));
	arg[0] = '\0';
	gw_option(arg, size, "driver", S_ISBLK(st.st_mode) ? "host_device" : "file");
	gw_option(arg, size, "filename", target);
	return 0;
}

static void put_common(const struct vg_params *params, char *arg, size_t size)
{
	const char *cache = gw_said(params, "cache");

	gw_option(arg, size, "read-only",
		  vg_params_bool(params, vg_blk_params, "readonly") ? "on" : "off");
	gw_option(arg, size, "discard",
		  vg_params_bool(params, vg_blk_params, "discard") ? "unmap" : "ignore");
	gw_option(arg, size, "cache.direct", cache && strcmp(cache, "none") == 0 ? "on" : "off");
}

static int put_nodes(const struct vg_params *params, struct vg_command *c, struct vg_err *err)
{
	char arg[ARG];
	int ret = put_place(vg_params_str(params, vg_blk_params, "target"), arg, sizeof(arg), err);

	if (ret < 0)
		return ret;
	gw_option(arg, sizeof(arg), "node-name", "file");
	put_common(params, arg, sizeof(arg));
	vg_command_arg(c, "--blockdev");
	vg_command_arg(c, arg);
	arg[0] = '\0';
	gw_option(arg, sizeof(arg), "driver", format_of(params)->driver);
	gw_option(arg, sizeof(arg), "node-name", "disk");
	gw_option(arg, sizeof(arg), "file", "file");
	put_common(params, arg, sizeof(arg));
	vg_command_arg(c, "--blockdev");
	vg_command_arg(c, arg);
	return 0;
}

static int image_daemon(const struct vg_params *params, struct vg_daemon *out, struct vg_err *err)
{
	static const char *const paths[] = { "/usr/bin/qemu-storage-daemon", NULL };
	const char *target = vg_params_str(params, vg_blk_params, "target");
	int ret = find_program(out, paths, "qemu-system-common", err);
	char arg[160];

	if (ret == 0)
		ret = put_nodes(params, &out->command, err);
	if (ret < 0)
		return ret;
	out->socket = vg_params_str(params, vg_blk_params, "socket");
	out->network = gw_storage_is_remote(target);
	out->grants = may_lend(params);
	snprintf(arg, sizeof(arg),
		 "type=vhost-user-blk,id=guest,node-name=disk,writable=%s,num-queues=%u,addr.type="
		 "fd,"
		 "addr.str=0",
		 vg_params_bool(params, vg_blk_params, "readonly") ? "off" : "on",
		 (unsigned)vg_params_uint(params, vg_blk_params, "queues"));
	vg_command_arg(&out->command, "--export");
	vg_command_arg(&out->command, arg);
	return out->socket ? 0 : gw_no_socket(err);
}

static int image_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	const char *cache = gw_said(params, "cache");
	const struct gw_spec spec = { .type = "blk",
				      .socket = vg_params_str(params, vg_blk_params, "socket"),
				      .queues = GW_QUEUES,
				      .writeback = cache && strcmp(cache, "writethrough") != 0,
				      .lends = may_lend(params) };

	return gw_open(dev, &spec, err);
}

const struct vg_device_ops vg_image_blk = {
	.name = "blk",
	.help = "a disk of another format, by qemu-storage-daemon",
	.virtio_id = 2,
	.params = vg_blk_params,
	.helper = "daemon",
	.complete = gw_complete,
	.daemon = image_daemon,
	.check = image_check,
	.open = image_open,
	GW_OPS,
};
