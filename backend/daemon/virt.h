/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt.h - the process that speaks to libvirt (toolstack/libvirt/), started and started again
 */
#ifndef VG_DAEMON_VIRT_H
#define VG_DAEMON_VIRT_H

#include "backend/daemon/settings.h"
#include "backend/toolstack/libvirt/virtsource.h"
#include "backend/toolstack/toolstack.h"

struct vg_virt_process {
	struct vg_virt virt;
	struct vg_toolstack *toolstack;
	const struct vg_settings *settings;
	struct vg_timer again;
	unsigned delay_s; /* before the next start */
	int64_t started;  /* vg_loop_now() of the last one */
	bool stopping;
};

/**
 * vg_virt_start - add the source to @toolstack, and start the process, unless libvirt is off
 *
 * What keeps it from running is logged; vgrantd does without it. Call it before other sources are
 * added: a guest that libvirt has metadata of ours for is configured by that.
 */
void vg_virt_start(struct vg_virt_process *p, struct vg_loop *loop, struct vg_toolstack *toolstack,
		   const struct vg_settings *settings);

/** vg_virt_retry - start it now, if it does not run */
void vg_virt_retry(struct vg_virt_process *p);

/** vg_virt_stop - it ends, now that its socket is closed */
void vg_virt_stop(struct vg_virt_process *p);

#endif /* VG_DAEMON_VIRT_H */
