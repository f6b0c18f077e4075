// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * script.c - see script.h
 *
 * A script is called as libxl calls its own for a TAP (libxl_linux.c, get_hotplug_env() and
 * libxl__hotplug_nic()): `add type_if=tap` when the interface is there, and not up yet, `remove
 * type_if=tap` when it is gone. In the environment are what libxl gives (script, vif, INTERFACE,
 * netdev, XENBUS_TYPE, XENBUS_PATH, XENBUS_BASE_PATH), and what Xen's scripts read from a vif's nodes
 * of xenstore, where ours are not: bridge, ip, mac, mtu, rate. Xen's scripts take these from the
 * environment when there is no such node (vif-common.sh).
 *
 *	the worker, before its sandbox	    TAP made, add
 *	the supervisor, when that has ended	    remove
 *
 * A macvtap does not go with the worker either, and is removed likewise.
 *
 * A script runs with root's rights: it must be root's, and nobody else may have been able to write it.
 */
#include "backend/devices/net/script.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/base/container.h"
#include "backend/devices/net/macvtap.h"

static const char *text(const struct vg_params *params, const char *key)
{
	const char *value = vg_params_str(params, NULL, key);

	return value ? value : "";
}

static bool is_name(const char *s)
{
	return *s && strcmp(s, ".") != 0 && strcmp(s, "..") != 0 && !strchr(s, '/');
}

int net_script_check(const struct vg_params *params, struct vg_err *err)
{
	const char *script = text(params, "script");

	if (*text(params, "gatewaydev") && !*script)
		return vg_fail(err, -EINVAL, "gatewaydev= is for a script: script=vgrant-route");
	if (!*script)
		return 0;
	if (*script != '/' && !is_name(script))
		return vg_fail(
			err, -EINVAL,
			"script=%s is neither a path that begins with a slash nor the name of "
			"a script in " NET_SCRIPTS,
			script);
	if (*text(params, "tap"))
		return vg_fail(err, -EINVAL,
			       "script= is for an interface that is made: that of tap= is used as "
			       "it is");
	return 0;
}

/* Return: 0, with the path of the script; or negative errno with a sentence. */
static int find(const char *script, char path[PATH_MAX], struct vg_err *err)
{
	struct stat st;
	int n = snprintf(path, PATH_MAX, "%s%s", *script == '/' ? "" : NET_SCRIPTS "/", script);

	if (n >= PATH_MAX)
		return vg_fail(err, -ENAMETOOLONG, "script= is too long");
	if (stat(path, &st) < 0)
		return vg_fail(err, -errno, "script %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vg_fail(err, -EINVAL, "script %s is no file", path);
	if (st.st_uid != 0)
		return vg_fail(err, -EPERM,
			       "script %s does not belong to root, with whose rights it would run: "
			       "`chown root %s`",
			       path, path);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return vg_fail(err, -EPERM,
			       "script %s can be written by others than root, with whose rights it "
			       "would run: `chmod go-w %s`",
			       path, path);
	if (!(st.st_mode & S_IXUSR))
		return vg_fail(err, -EACCES, "script %s cannot be run: `chmod +x %s`", path, path);
	return 0;
}

/* "DOMAIN/NUMBER/NAME", as net_complete() writes it: whose device it is. */
static void whose(const struct vg_params *params, struct vg_command *out)
{
	const char *place = text(params, "place"), *number = strchr(place, '/'), *name;
	char domid[16], id[16], bus[64];

	name = number ? strchr(number + 1, '/') : NULL;
	if (!name)
		return;
	snprintf(domid, sizeof(domid), "%.*s", (int)(number - place), place);
	snprintf(id, sizeof(id), "%.*s", (int)(name - number - 1), number + 1);
	vg_command_env(out, "VGRANT_GUEST", name + 1);
	vg_command_env(out, "VGRANT_DEVICE", id);
	if (!*domid)
		return;
	snprintf(bus, sizeof(bus), "backend/virtio/%s/%s", domid, id);
	vg_command_env(out, "VGRANT_DOMAIN", domid);
	vg_command_env(out, "XENBUS_TYPE", "virtio");
	vg_command_env(out, "XENBUS_PATH", bus);
	vg_command_env(out, "XENBUS_BASE_PATH", "backend");
}

int net_script(const struct vg_params *params, const char *action, const char *name,
	       struct vg_command *out, struct vg_err *err)
{
	static const char *const keys[] = { "bridge", "mac", "mtu", "rate" };
	const char *script = text(params, "script");
	char path[PATH_MAX], ip[VG_PARAMS_LEN];
	int ret;

	if (!*script)
		return 0;
	ret = find(script, path, err);
	if (ret < 0)
		return ret;
	vg_command_init(out, name, path);
	vg_command_arg(out, action);
	vg_command_arg(out, "type_if=tap");
	vg_command_env(out, "script", path);
	vg_command_env(out, "type_if", "tap");
	vg_command_env(out, "vif", name);
	vg_command_env(out, "dev", name);
	vg_command_env(out, "INTERFACE", name);
	for (size_t i = 0; i < COUNT(keys); i++) {
		if (*text(params, keys[i]))
			vg_command_env(out, keys[i], text(params, keys[i]));
	}
	/* Xen's have blanks between addresses, ours may have plus signs. */
	snprintf(ip, sizeof(ip), "%s", text(params, "ip"));
	for (char *p = ip; (p = strchr(p, '+')) != NULL;)
		*p = ' ';
	if (*ip)
		vg_command_env(out, "ip", ip);
	vg_command_env(out, "netdev", text(params, "gatewaydev"));
	whose(params, out);
	return 1;
}

/* A process of this very program's removes it: that takes the kernel some time. */
static int remove_macvtap(const char *name, const char *lower, struct vg_command *out)
{
	vg_command_init(out, name, "/proc/self/exe");
	vg_command_arg(out, NET_MACVTAP_REMOVE);
	vg_command_arg(out, name);
	vg_command_arg(out, lower);
	return 1;
}

int net_afterwards(const struct vg_params *params, bool ended, struct vg_command *out,
		   struct vg_err *err)
{
	const char *name = text(params, "vifname"), *lower = text(params, "macvtap");
	bool there;

	/* What is no name the worker refuses. */
	if ((!*text(params, "script") && !*lower) || !is_name(name) || strlen(name) >= IFNAMSIZ)
		return 0;
	snprintf(out->name, sizeof(out->name), "%s", name);
	there = if_nametoindex(name);
	if (*lower && (ended || !there))
		return ended && !there ? 0 : remove_macvtap(name, lower, out);
	if (there)
		return ended ? vg_fail(err, -EBUSY, "interface %s does not go", name)
			     : vg_fail(err, -EBUSY,
				       "there is an interface %s already; choose another name: "
				       "vifname=",
				       name);
	return net_script(params, "remove", name, out, err);
}
