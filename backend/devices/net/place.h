/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * place.h - what a network device's configuration leaves open and its place decides
 */
#ifndef VG_NET_PLACE_H
#define VG_NET_PLACE_H

#include "backend/devices/net/host.h"
#include "backend/virtio/device.h"

/** net_place_mac - the address of device @id of @guest, to @text with its NUL */
void net_place_mac(const char *guest, uint32_t id, char text[18]);

/**
 * net_place_on_ovs - is it Open vSwitch's, what `bridge=` says: a bridge, or NAME.VLAN:TRUNK:TRUNK?
 * @kind: net_host_kind()
 */
bool net_place_on_ovs(const char *bridge, int (*kind)(const char *name, char kind[NET_HOST_KIND]));

/** net_complete - see struct vg_device_ops */
int net_complete(const struct vg_params *params, const struct vg_place *place, char *spec,
		 size_t size);

#endif /* VG_NET_PLACE_H */
