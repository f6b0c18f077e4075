/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * grant.h - the virtio-grant port: one device to one Xen guest (xenstore/PROTOCOL.md)
 *
 * It holds the grant and event-channel devices, the control page, and each
 * queue's event channel. It knows nothing of xenstore: the supervisor reads
 * what the frontend published there, and tells it.
 */
#ifndef VG_GRANT_PORT_H
#define VG_GRANT_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/virtio/device.h"
#include "backend/ports/record.h"

struct vg_grant_port;

/* What the port tells its owner. Called from a turn of the loop. */
struct vg_grant_port_events {
	/* The guest broke the control page: nothing more can be said to it. */
	void (*broken)(void *owner, const char *why);
	void *owner;
};

/* What the port needs in the sandbox. */
extern const struct vg_sandbox_needs vg_grant_port_needs;

/**
 * vg_grant_port_new - open the devices, for one guest and no other
 * @dev: open; its port and mem are set
 * @rec: the device's record, mapped by the time of vg_grant_port_recorded(); must outlive the port
 *
 * To be called with privileges. Return: 0, or negative errno with a sentence.
 */
int vg_grant_port_new(struct vg_dev *dev, uint32_t domid, struct vg_record_map *rec,
		      const struct vg_grant_port_events *events, struct vg_grant_port **out,
		      struct vg_err *err);

/** vg_grant_port_recorded - the record is mapped: from now on it is written; to be called once */
void vg_grant_port_recorded(struct vg_grant_port *gp);

/** vg_grant_port_free - disconnect and close */
void vg_grant_port_free(struct vg_grant_port *gp);

/**
 * vg_grant_port_connect - map the control page and bind its channel
 * @resume: take up the state in the record, when it belongs to this very connection
 *
 * Return: 0, or negative errno with a sentence about the guest; then nothing is connected.
 */
int vg_grant_port_connect(struct vg_grant_port *gp, uint32_t control_ref, uint32_t channel,
			  bool resume, struct vg_err *err);

/** vg_grant_port_disconnect - reset the device, unmap all, close all channels; idempotent */
void vg_grant_port_disconnect(struct vg_grant_port *gp);

/** vg_grant_port_show - bring up to date what `vgrant list` shows */
void vg_grant_port_show(struct vg_grant_port *gp);

/** vg_grant_port_quiesce - finish what is in flight, and leave the rest to a successor */
void vg_grant_port_quiesce(struct vg_grant_port *gp);

#endif /* VG_GRANT_PORT_H */
