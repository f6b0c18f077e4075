/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * script.h - the script that puts a network device's interface where it belongs: `script=`
 */
#ifndef VG_NET_SCRIPT_H
#define VG_NET_SCRIPT_H

#include "backend/base/command.h"

/* Where Xen's toolstack looks for scripts that are named without a path. */
#define NET_SCRIPTS "/etc/xen/scripts"

/** net_script_check - can `script=` be one? See vg_device_ops.check. */
int net_script_check(const struct vg_params *params, struct vg_err *err);

/**
 * net_script - what is to be run for an interface of this configuration
 * @params: completed (place.h)
 * @action: "add", or "remove"
 * @name: of the interface
 *
 * Return: 1: *@out; 0: it has no script; -EPERM: somebody else than root could write it; or another
 * negative errno; with a sentence.
 */
int net_script(const struct vg_params *params, const char *action, const char *name,
	       struct vg_command *out, struct vg_err *err);

/** net_afterwards - see struct vg_device_ops */
int net_afterwards(const struct vg_params *params, bool ended, struct vg_command *out,
		   struct vg_err *err);

#endif /* VG_NET_SCRIPT_H */
