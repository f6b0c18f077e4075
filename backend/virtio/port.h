/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * port.h - the contract of ports: what one offers, and how it drives a device
 *
 * A port is a way in which a guest's virtqueues reach us. It has one const table
 * of what the core asks of it, and calls the vg_dev_*() below as the driver wants
 * it (VIRTIO 1.3 sections 2.1 to 2.6, 3.1). All of them are called in the main
 * context, but for vg_dev_kick(), which belongs to the queue's.
 *
 * Nothing here waits. What ends queues, a reset or the end of a port, completes
 * later: the driver is answered when vg_wait.done() is called.
 */
#ifndef VG_PORT_H
#define VG_PORT_H

#include "backend/virtio/device.h"

/* The core calls these in the main context, but for notify. */
struct vg_port_ops {
	const char *name;  /* "grant", "vhost-user" */
	uint64_t features; /* common feature bits that this port can carry */
	uint64_t required; /* those of them without which FEATURES_OK is refused */
	/* Notifications, either way, cost little more than a system call: a device need not wait in
	 * order to save some. */
	bool cheap_notify;
	/* Used buffer notification; in the queue's context. */
	void (*notify)(struct vg_port *port, unsigned q);
	/* Status, generation or config changed: tell the driver. */
	void (*config_changed)(struct vg_port *port);
	/* Something that a successor must know changed: status, features, a queue. NULL allowed. */
	void (*record)(struct vg_port *port);
};

struct vg_port {
	const struct vg_port_ops *ops;
};

/**
 * vg_waits_add - put @w on @list; where it is there already, for it was asked for twice, it stays there once
 *
 * A worker hears of its end twice: it is told, and then finds the socket closed.
 */
void vg_waits_add(struct vg_wait **list, struct vg_wait *w);

/** vg_waits_call - empty @list, and call done() of each that was on it */
void vg_waits_call(struct vg_wait **list);

/** vg_dev_offered - all feature bits on this port, common ones included */
uint64_t vg_dev_offered(const struct vg_dev *dev);

/** vg_dev_set_features - the driver's choice; ignored once FEATURES_OK is set */
void vg_dev_set_features(struct vg_dev *dev, uint64_t features);

/**
 * vg_dev_set_status - the driver writes the status register, not 0: see vg_dev_reset()
 *
 * Queues are started at DRIVER_OK. Ignored during a reset.
 * Return: the status that results.
 */
uint32_t vg_dev_set_status(struct vg_dev *dev, uint32_t status);

/**
 * vg_dev_reset - the driver writes 0 to the status register, or is gone
 * @w: done() is called when all queues have stopped and all is as after open; perhaps before this
 *     returns. Stays the caller's, and must live until then.
 *
 * dev->status is what it was until then. Several may wait for one reset.
 */
void vg_dev_reset(struct vg_dev *dev, struct vg_wait *w);

/**
 * vg_dev_quiesce - stop all queues, and forget nothing: a successor goes on from the rings
 * @w: done() is called when none runs, as above
 */
void vg_dev_quiesce(struct vg_dev *dev, struct vg_wait *w);

/**
 * vg_dev_reset_queue - stop and forget queue @q
 * @state: where it stood goes here if it ran; NULL allowed; must live until done()
 * @w: as above; a queue that does not run, or is not there, has stopped
 */
void vg_dev_reset_queue(struct vg_dev *dev, unsigned q, struct vg_vq_state *state,
			struct vg_wait *w);

/** vg_dev_queue_running - whether queue @q was started and has not stopped yet */
bool vg_dev_queue_running(const struct vg_dev *dev, unsigned q);

/**
 * vg_dev_each - run @fn in each context, after what was posted to it before, and then call @w->done
 * @fn: called in the thread of @ctx, with @arg; NULL: nothing
 * @w: called in the main context, once all have run; in here, where there are no threads
 */
void vg_dev_each(struct vg_dev *dev, void (*fn)(struct vg_ctx *ctx, void *arg), void *arg,
		 struct vg_wait *w);

/**
 * vg_dev_sync - call @w->done once each context has done what was posted to it before
 */
void vg_dev_sync(struct vg_dev *dev, struct vg_wait *w);

/**
 * vg_dev_resume - take up what a dead predecessor had, before its queues are set again
 * @saved: @saved_size bytes of its dev->saved
 *
 * Ends in the state that @status says, save that queues are not there and nothing runs: set each
 * queue, then call vg_dev_resumed().
 */
void vg_dev_resume(struct vg_dev *dev, uint32_t status, uint64_t features, uint32_t generation,
		   const void *saved, size_t saved_size);
void vg_dev_resumed(struct vg_dev *dev);

/** vg_dev_queue_max - largest size of queue @q; 0: no such queue */
uint32_t vg_dev_queue_max(const struct vg_dev *dev, unsigned q);

/**
 * vg_dev_set_queue - the driver sets up and enables queue @q
 * @state: where the ring begins; NULL: at its start
 * @inflight: its in-flight record, or NULL
 *
 * Starts it at once when DRIVER_OK is set. Return: 0; -EINVAL: no such queue, bad size; -EBUSY: is
 * enabled already, or not the time for it.
 */
int vg_dev_set_queue(struct vg_dev *dev, unsigned q, uint32_t size, uint64_t desc, uint64_t driver,
		     uint64_t device, const struct vg_vq_state *state, void *inflight);

/** vg_dev_kick - an available buffer notification for queue @q came in; in its context */
void vg_dev_kick(struct vg_dev *dev, unsigned q);

/** vg_dev_config_read - config bytes; never waits; -EINVAL past the end */
int vg_dev_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len);
/** vg_dev_config_write - -EINVAL past the end, -EPERM when not writable */
int vg_dev_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len);

#endif /* VG_PORT_H */
