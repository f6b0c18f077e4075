/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * macvtap.h - a macvtap as the link of a network device: `macvtap=`
 */
#ifndef VG_NET_MACVTAP_H
#define VG_NET_MACVTAP_H

#include "backend/base/params.h"
#include "backend/devices/net/link.h"

/* Of the program itself, before NAME and LOWER: remove that macvtap, and nothing else. */
#define NET_MACVTAP_REMOVE "--remove-macvtap"

/** net_macvtap_check - can `macvtap=` and `mode=` be ones? See vg_device_ops.check. */
int net_macvtap_check(const struct vg_params *params, struct vg_err *err);

/** net_macvtap_mode - what `mode=` says. Return: MACVLAN_MODE_*, or -EINVAL with a sentence. */
int net_macvtap_mode(const struct vg_params *params, struct vg_err *err);

/** net_macvtap_open - see struct net_link_ops; @c->lower is set, and a name */
int net_macvtap_open(const struct net_link_config *c, struct net_link **out, struct vg_err *err);

/** net_macvtap_main - what NET_MACVTAP_REMOVE does. Return: a process's status. */
int net_macvtap_main(const char *name, const char *lower);

#endif /* VG_NET_MACVTAP_H */
