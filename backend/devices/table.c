// SPDX-License-Identifier: GPL-2.0-or-later
/* table.c - all devices; a new one adds its line here */
#include "backend/devices/devices.h"

const struct vg_device_ops *const vg_devices[] = {
	&vg_blk,     /* a disk */
	&vg_can,     /* a CAN controller */
	&vg_console, /* a console, and ports with names */
	&vg_fs,	     /* a folder */
	&vg_gateway, /* whatever another program serves */
	&vg_gpu,     /* a screen */
	&vg_input,   /* a keyboard or a pointer */
	&vg_net,     /* a network card */
	&vg_rng,     /* randomness */
	&vg_scsi,    /* disks, tapes ... of a SCSI target */
	&vg_vsock,   /* sockets between a guest and its host */
	NULL,
};
