/* SPDX-License-Identifier: GPL-2.0-or-later */
/* devices.h - the devices that table.c lists */
#ifndef VG_DEVICES_H
#define VG_DEVICES_H

#include "backend/virtio/device.h"

extern const struct vg_device_ops vg_blk;
extern const struct vg_device_ops vg_can;
extern const struct vg_device_ops vg_console;
extern const struct vg_device_ops vg_fs;
extern const struct vg_device_ops vg_gateway;
extern const struct vg_device_ops vg_gpu;
extern const struct vg_device_ops vg_input;
extern const struct vg_device_ops vg_net;
extern const struct vg_device_ops vg_rng;
extern const struct vg_device_ops vg_scsi;
extern const struct vg_device_ops vg_vsock;

/* Of a disk whose image is not raw, which has blk's keys: vg_blk.as. */
extern const struct vg_device_ops vg_image_blk;
extern const struct vg_param_def vg_blk_params[];
const struct vg_device_ops *vg_image_as(const struct vg_params *params);

#endif /* VG_DEVICES_H */
