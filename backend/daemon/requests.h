/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * requests.h - what the supervisor does for each command of `vgrant`
 */
#ifndef VG_REQUESTS_H
#define VG_REQUESTS_H

#include "backend/control/control.h"
#include "backend/daemon/child.h"
#include "backend/daemon/settings.h"
#include "backend/toolstack/libvirt/virtsource.h"
#include "backend/toolstack/toolstack.h"

/* The owner fills in the first five, and zeroes the rest. */
struct vg_requests {
	struct vg_settings *settings;
	struct vg_children *children;
	struct vg_toolstack *toolstack; /* NULL: there is no Xen here */
	struct vg_virt *virt;		/* NULL: none; its libvirt may be out of reach */
	void (*shutdown)(struct vg_requests *r);
	struct vg_control *control;
	struct vg_timer list_timer; /* the end of patience with workers that describe */
	struct vg_control_req *list_req[8];
	char *list_guest[8];
	unsigned n_lists;
};

/** vg_requests_open - make the control socket and serve it. Return: 0, or negative errno with a sentence. */
int vg_requests_open(struct vg_requests *r, struct vg_err *err);

/** vg_requests_close - requests that wait are told, and forgotten */
void vg_requests_close(struct vg_requests *r);

#endif /* VG_REQUESTS_H */
