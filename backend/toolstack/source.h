/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * source.h - where guests' devices are configured: from (name, uuid, domid) to device entries
 *
 * toolstack.c asks the sources one after the other when a guest appears; the first that knows the
 * guest counts. libvirt/virtsource.c (metadata of libvirt's domains) and xlsource.c (files of xl) are
 * two; what keeps configurations elsewhere is another file with a struct vg_source, and one line where
 * the supervisor adds it.
 */
#ifndef VG_SOURCE_H
#define VG_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/control/view.h"

struct vg_guest_id {
	uint32_t domid;
	const char *name; /* never NULL */
	const char *uuid; /* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"; "": the toolstack told none */
};

struct vg_source_device {
	const char *spec;    /* "blk,target=..." as the user wrote it */
	unsigned line;	     /* of where; 0: not known */
	const char *backend; /* domain that serves it: name or number; NULL: this one */
	int adopts; /* number of a node that another toolstack makes, to be served; -1: ours to make */
	const char *adopts_from; /* domain that serves that node; "": 0 */
	unsigned number;	 /* of the node to be made; no other device of the guest has it */
	bool has_id;		 /* the user wrote the number; of a source that follows */
	struct vg_err err;	 /* what is wrong with the entry; text is empty when all is well */
};

/* One guest's; made by find(), freed by free(). */
struct vg_source_config {
	const char *where;     /* the file, say: for people */
	struct vg_err warning; /* about all of it; text is empty when there is none */
	struct vg_source_device *devices;
	unsigned n_devices;
	void *priv; /* the source's */
};

struct vg_source {
	const char *name;	       /* for the log */
	enum vg_control_origin origin; /* of its devices, for `vgrant list` */
	/*
	 * What it says of a guest counts for as long as that runs: devices come and go with it
	 * (vg_guests_changed()). Otherwise it is asked once, when the guest appears.
	 */
	bool follows;
	/*
	 * @ctx: as the source was added
	 * @virtio_id_of: virtio device id of a device by its name ("blk"); 0: no such device
	 *
	 * An entry that is wrong is returned with its err: it is shown as a device that failed.
	 * Return: 0; -ENOENT: it does not know the guest; -EAGAIN: of a source that follows, it will know
	 * soon, and then vg_guests_changed() is called, until when no source behind it is asked; other
	 * negative errno. All with a sentence.
	 */
	int (*find)(void *ctx, const struct vg_guest_id *guest,
		    uint16_t (*virtio_id_of)(const char *device), struct vg_source_config **out,
		    struct vg_err *err);
	void (*free)(struct vg_source_config *config);
	/*
	 * Of a source that follows: the device of @d, which has no id=, has @number while the guest runs.
	 * It is to be written down, for what stands beside it may go. NULL: there is no place for it.
	 */
	void (*number)(void *ctx, const struct vg_guest_id *guest, const struct vg_source_device *d,
		       unsigned number);
};

#endif /* VG_SOURCE_H */
