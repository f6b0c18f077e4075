/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * doctor.h - what the parts of `vgrant doctor` share
 *
 *	doctor.c         findings, and this domain: kernel, Xen, xenstored, vgrantd
 *	doctor_guests.c  guests and their devices
 */
#ifndef VGRANT_DOCTOR_H
#define VGRANT_DOCTOR_H

#include "backend/daemon/settings.h"
#include "backend/toolstack/hypervisor.h"
#include "tools/vgrant.h"

struct vg_xs;

struct doctor {
	const struct vgrant_options *opt;
	const char *guest; /* the only one that is looked at, by name or number; NULL: all */
	struct vg_settings settings;
	struct vg_hypervisor hv;
	struct vg_xs *xs;	      /* NULL: xenstored does not answer */
	uint32_t domid;		      /* ours */
	struct json_object *findings; /* an array: see doctor_tell() */
	struct json_object *devices;  /* vgrantd's list; NULL: it does not answer */
	unsigned n_guests, n_devices; /* that were looked at */
};

/**
 * doctor_tell - add a finding
 * @id: by which programs know it; vgrant(8) lists them
 * @subject: "this domain", "guest web"
 * @what: is wrong, a sentence without its full stop
 * @why: it matters; ""
 * @mend: what to type, or to do
 */
void doctor_tell(struct doctor *d, const char *id, const char *subject, const char *what,
		 const char *why, const char *mend);

/** doctor_text - printf() to one of a few static buffers, used in turn */
const char *doctor_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** doctor_guests - all guests with devices of ours, or the one of @d->guest */
void doctor_guests(struct doctor *d);

/** vg_doctor_root - what stands before paths of the kernel: ""; tests have another */
const char *vg_doctor_root(void);

#endif /* VGRANT_DOCTOR_H */
