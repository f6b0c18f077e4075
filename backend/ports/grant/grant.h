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
	/* The answer to vg_grant_port_connect(), perhaps before that returns: 0, or negative errno
	 * with a sentence; then nothing is connected. -EBUSY: a predecessor has not ended yet. */
	void (*connected)(void *owner, int error, const char *text);
	/* The guest broke the control page: nothing more can be said to it. */
	void (*broken)(void *owner, const char *why);
	void *owner;
};

/* What the port needs in the sandbox. */
extern const struct vg_sandbox_needs vg_grant_port_needs;

/**
 * vg_grant_port_new - open the devices, for one guest and no other
 * @dev: open; its port and its contexts' views of memory are set
 * @budget: what it may hold
 * @rec: the device's record, mapped by the time of vg_grant_port_recorded(); must outlive the port
 *
 * To be called with privileges. Return: 0, or negative errno with a sentence.
 */
int vg_grant_port_new(struct vg_dev *dev, uint32_t domid, const struct vg_budget *budget,
		      struct vg_record_map *rec, const struct vg_grant_port_events *events,
		      struct vg_grant_port **out, struct vg_err *err);

/** vg_grant_port_recorded - the record is mapped: from now on it is written; to be called once */
void vg_grant_port_recorded(struct vg_grant_port *gp);

/** vg_grant_port_free - close; nothing is connected, and no thread of the device's runs */
void vg_grant_port_free(struct vg_grant_port *gp);

/**
 * vg_grant_port_connect - map the control page and bind its channel, once it is disconnected
 * @take_up: take up the state in the record, when it belongs to this very connection
 *
 * events.connected() says how it went.
 */
void vg_grant_port_connect(struct vg_grant_port *gp, uint32_t control_ref, uint32_t channel,
			   bool take_up);

/**
 * vg_grant_port_disconnect - reset the device, unmap all, close all channels; idempotent
 * @w: done() is called when that is so; perhaps before this returns
 */
void vg_grant_port_disconnect(struct vg_grant_port *gp, struct vg_wait *w);

/** vg_grant_port_show - bring up to date what `vgrant list` shows, then call @w->done */
void vg_grant_port_show(struct vg_grant_port *gp, struct vg_wait *w);

/** vg_grant_port_quiesce - finish what is in flight, leave the rest to a successor, call @w->done */
void vg_grant_port_quiesce(struct vg_grant_port *gp, struct vg_wait *w);

#endif /* VG_GRANT_PORT_H */
