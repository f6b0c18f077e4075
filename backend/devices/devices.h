/* SPDX-License-Identifier: GPL-2.0-or-later */
/* devices.h - the devices that table.c lists */
#ifndef VG_DEVICES_H
#define VG_DEVICES_H

#include "backend/virtio/device.h"

extern const struct vg_device_ops vg_blk;
extern const struct vg_device_ops vg_can;
extern const struct vg_device_ops vg_console;
extern const struct vg_device_ops vg_gateway;
extern const struct vg_device_ops vg_gpu;
extern const struct vg_device_ops vg_input;
extern const struct vg_device_ops vg_net;
extern const struct vg_device_ops vg_rng;

#endif /* VG_DEVICES_H */
