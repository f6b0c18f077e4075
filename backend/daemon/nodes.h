/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nodes.h - all devices of Xen guests that we serve
 *
 * Every backend node of ours that has a configuration (spec.h) is served, whoever made it.
 */
#ifndef VG_NODES_H
#define VG_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/daemon/node.h"
#include "xenstore/watch.h"

/**
 * vg_node_consider - is there a node that we should serve, and do not yet?
 *
 * Return: 1: it is (now) one of ours; 0: it is not; negative errno: xenstored did not say.
 */
int vg_node_consider(struct vg_nodes *all, const char *kind, uint32_t guest, uint32_t id);

/** vg_nodes_note - mark what @event is about. Return: whether that is a device of ours. */
bool vg_nodes_note(struct vg_nodes *all, const struct vg_xs_event *event);

/** vg_nodes_mark - something of any of them may have changed */
void vg_nodes_mark(struct vg_nodes *all);

/** vg_nodes_sync - look at those that are marked, and take their next steps */
void vg_nodes_sync(struct vg_nodes *all);

/** vg_nodes_retry - try failed devices again */
void vg_nodes_retry(struct vg_nodes *all);

/**
 * vg_nodes_sweep - remove records of devices that are gone; at the start
 *
 * A toolstack may destroy a guest, nodes and all, while no vgrantd runs. Domain numbers come again.
 */
void vg_nodes_sweep(struct vg_nodes *all);

/** vg_nodes_free - forget all; xenstore is left as it is */
void vg_nodes_free(struct vg_nodes *all);

#endif /* VG_NODES_H */
