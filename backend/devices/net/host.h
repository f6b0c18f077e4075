/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.h - the host's network around an interface, by rtnetlink; with privileges
 */
#ifndef VG_NET_HOST_H
#define VG_NET_HOST_H

#include <stdint.h>

#include "backend/base/log.h"

/**
 * net_host_plug - make interface @name ready for a guest, put it on a bridge, and up
 * @bridge: NULL: none
 * @mtu: 0: the bridge's, if there is one; becomes what the interface has
 *
 * Nothing needs to be undone: what is set belongs to the interface and goes with it.
 * Return: 0, or negative errno with a sentence.
 */
int net_host_plug(const char *name, const char *bridge, uint32_t *mtu, struct vg_err *err);

/** net_host_mtu - of interface @name. Return: 0, or negative errno: there is none. */
int net_host_mtu(const char *name, uint32_t *mtu);

#endif /* VG_NET_HOST_H */
