/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xlconf.h - what a guest's xl configuration file says to us
 *
 *	name   = "web"
 *	vgrant = [ 'blk,target=/srv/web.img', 'net,bridge=xenbr0' ]
 *	virtio = [ "type=virtio,device24,transport=mmio,grant_usage=1" ]
 *
 * xl ignores `vgrant`; of the rest only `name` and `virtio` matter here.
 *
 * A device of ours needs a pair of nodes in xenstore. xl makes nodes 0, 1, 2 ...
 * for the entries of `virtio`; vg_xlconf_match() says which device of `vgrant`
 * adopts which of them (same virtio device id). For a device that adopts none,
 * the daemon makes nodes itself.
 *
 * A mistake in one entry is told in that entry's err, so that the other devices
 * of the guest work, and the one that does not can be listed as failed.
 */
#ifndef VG_XLCONF_H
#define VG_XLCONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/base/params.h"
#include "backend/toolstack/xlplace.h"

/* Devices without id= that adopt none of xl's nodes are numbered from here on: xl counts its own
 * from 0, and may add some while the guest runs. */
#define VG_XL_FIRST_NUMBER 64u

#define VG_XL_DEVICES_MAX 64 /* entries of one list; more are told and left out */

/* One entry of `vgrant`. */
struct vg_xl_device {
	char *spec;		  /* as written; never NULL */
	struct vg_xl_place place; /* of its first character */
	struct vg_params params;  /* not checked against a device's table; empty after an error */
	int id;			  /* id=, or -1 */
	const char *backend; /* backend=, into params; NULL: this domain, or as the node says */
	int virtio;	 /* entry of `virtio` that it adopts; -1: none. Set by vg_xlconf_match() */
	unsigned number; /* that its nodes should have; unique. Set by vg_xlconf_match() */
	struct vg_err err; /* text is empty when all is well */
};

/* One entry of `virtio`: node number = index, as xl counts them when it creates the guest. */
struct vg_xl_virtio {
	char *spec;		  /* as written; never NULL */
	struct vg_xl_place place; /* of its first character */
	uint16_t virtio_id;	  /* type=virtio,device<hex>; 0: it names none */
	char *backend;		  /* domain name or number; "": not written, which xl takes for 0 */
	char transport[16];	  /* "mmio"; "": not written */
	int grant_usage;   /* 0 or 1; -1: not written, which xl takes for (backend is not 0) */
	struct vg_err err; /* text is empty when all is well */
};

struct vg_xlconf {
	char *path; /* the file */
	char *name; /* the guest's; "" when the file has none */
	char *uuid; /* likewise */
	struct vg_xl_device *devices;
	unsigned n_devices;
	struct vg_xl_virtio *virtios;
	unsigned n_virtios;
	char *virtio_disk; /* the first entry of `disk` with specification=virtio, or NULL */
	struct vg_xl_place virtio_disk_place;
	unsigned dropped; /* entries beyond VG_XL_DEVICES_MAX */
	struct vg_xl_place vgrant,
		vgrant_again; /* of `vgrant =`, and of one that replaces it; line 0: none */
};

/**
 * vg_xlconf_read - read one file
 * @out: to be freed with vg_xlconf_free()
 *
 * Refused are what is no regular file, or longer than 1 MiB; and a file that others than root
 * (or the user that we run as) may write, because it names files that we open with our rights.
 *
 * Return: 0, or negative errno with a sentence that names the file: -EINVAL for a syntax error (the
 * sentence has the line), -EPERM, -EFBIG, -ENOMEM, or what open(2) returned.
 */
int vg_xlconf_read(const char *path, struct vg_xlconf **out, struct vg_err *err);

/**
 * vg_xlconf_read_with - read one file and what `xl create` was told besides
 * @settings: "key=value", ended by NULL: each a line behind the file's, as xl has it; or NULL
 *
 * Return: as vg_xlconf_read().
 */
int vg_xlconf_read_with(const char *path, const char *const *settings, struct vg_xlconf **out,
			struct vg_err *err);

void vg_xlconf_free(struct vg_xlconf *conf);

/**
 * vg_xlconf_read_device - parse @dev->spec, of a device that stands behind those of @conf
 *
 * For what is written elsewhere than in an xl configuration. A mistake goes to @dev->err.
 */
void vg_xlconf_read_device(struct vg_xlconf *conf, struct vg_xl_device *dev);

/**
 * vg_xlconf_match - settle which nodes of xl's the devices adopt
 * @virtio_id_of: virtio device id of a device by its name ("blk"); 0: no such device
 *
 * Devices with id= take the entry of that number; if its virtio device id is another, that is told
 * in the device's err. Then the others, in the order of the list, take the first free entry of
 * their virtio device id. Sets ->virtio of every device, and ->number: that of the adopted node, or
 * id=, or the first that no other device has; also of a device with an error, so that it can be
 * shown as one that failed. (One whose id= is taken gets a free number, and has an error.)
 */
void vg_xlconf_match(struct vg_xlconf *conf, uint16_t (*virtio_id_of)(const char *device));

#endif /* VG_XLCONF_H */
