/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hypervisor.h - what this machine's Xen can do, as far as configurations depend on it
 *
 * Xen tells its privileged domain how it was built (its .config, in hypfs: Xen's
 * docs/misc/hypfs-paths.pandoc, /buildinfo/config) and started (XENVER_commandline; /params/). Anybody else,
 * and who asks an old Xen or one without hypfs, learns nothing; then nothing is known.
 */
#ifndef VG_HYPERVISOR_H
#define VG_HYPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

enum vg_known {
	VG_UNKNOWN,
	VG_NO,
	VG_YES,
};

struct vg_hypervisor {
	bool arm;	     /* Xen's architecture; where it does not tell, that of this program */
	enum vg_known ioreq; /* has it IOREQ servers (CONFIG_IOREQ_SERVER)? */
	enum vg_known silo;  /* is its security module SILO (docs/misc/xen-command-line, xsm)? */
	/* Frames of what a domain has mapped (gnttab_max_maptrack_frames), VG_MAPTRACK_ENTRIES mappings
	 * each, unless its own configuration says otherwise; 0: not known. */
	uint32_t maptrack_frames;
};

#define VG_MAPTRACK_ENTRIES 256u /* Xen, common/grant_table.c, MAPTRACK_PER_PAGE: of 16 bytes */
#define VG_GRANT_ENTRIES    512u /* of a frame of a grant table of version 1: of 8 bytes */

/** vg_hypervisor_ask - ask Xen; says nothing when there is none, or none that answers */
void vg_hypervisor_ask(struct vg_hypervisor *hv);

/**
 * vg_hypervisor_grants - how large may a domain's grant table become (GNTTABOP_query_size)?
 * @frames: gets its max_grant_frames (xl.cfg)
 *
 * Return: 0; or negative errno: there is no Xen, no such domain, or no right to ask about it.
 */
int vg_hypervisor_grants(uint32_t domid, uint32_t *frames);

#endif /* VG_HYPERVISOR_H */
