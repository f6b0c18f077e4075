/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hypervisor.h - what this machine's Xen can do, as far as configurations depend on it
 *
 * Xen tells its privileged domain how it was built (its .config, in hypfs: Xen's
 * docs/misc/hypfs-paths.pandoc, /buildinfo/config) and started (XENVER_commandline). Anybody else,
 * and who asks an old Xen or one without hypfs, learns nothing; then nothing is known.
 */
#ifndef VG_HYPERVISOR_H
#define VG_HYPERVISOR_H

#include <stdbool.h>

enum vg_known {
	VG_UNKNOWN,
	VG_NO,
	VG_YES,
};

struct vg_hypervisor {
	bool arm;	     /* Xen's architecture; where it does not tell, that of this program */
	enum vg_known ioreq; /* has it IOREQ servers (CONFIG_IOREQ_SERVER)? */
	enum vg_known silo;  /* is its security module SILO (docs/misc/xen-command-line, xsm)? */
};

/** vg_hypervisor_ask - ask Xen; says nothing when there is none, or none that answers */
void vg_hypervisor_ask(struct vg_hypervisor *hv);

#endif /* VG_HYPERVISOR_H */
