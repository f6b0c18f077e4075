/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_bus.h - one virtio-grant device; what the files of the bus share
 *
 * virtio_grant_bus.c has the picture.
 */
#ifndef VIRTIO_GRANT_BUS_H
#define VIRTIO_GRANT_BUS_H

#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <xen/grant_table.h>
#include <xen/xenbus.h>

#include "virtio_grant.h"
#include "virtio_grant_calc.h"
#include "virtio_grant_dma.h"
#include "virtio_msg.h"

/**
 * struct vg_counts - what one processor counted
 * @kicks: notifications of virtqueues that were sent, each one a hypercall
 * @interrupts: that came for virtqueues
 */
struct vg_counts {
	u64 kicks;
	u64 interrupts;
};

/**
 * enum vg_phase - where a device is in its life
 * @VG_IDLE: nothing is shared with the backend
 * @VG_OFFERED: the control page is granted, our state is Initialised
 * @VG_LIVE: the virtio device is registered, our state is Connected
 * @VG_CLOSING: our state is Closing, the backend is to let go
 */
enum vg_phase {
	VG_IDLE,
	VG_OFFERED,
	VG_LIVE,
	VG_CLOSING,
};

/**
 * struct vg_device - one device
 * @dev: a platform device, between the xenbus device and the virtio device; its
 *	driver data is @dma
 * @release: what a platform device is freed by
 * @xdev: the xenbus device
 * @dma: DMA operations of @dev
 * @counts: for each processor, as long as @dev is registered
 * @work: see the top of this file
 * @gone: likewise
 * @event: likewise
 * @again: likewise
 * @grow: likewise
 * @idle: likewise
 * @backend_watch: for @again; its node is NULL while it is not registered
 * @life: serialises what changes @phase
 * @phase: where we are
 * @heard: xenbus has said that the backend is Connected, see vg_start_anew()
 * @reconnect: from Closed, start anew without waiting to be asked
 * @pm_frozen: a suspend is under way
 * @pm_refused: how often there was none, for this device
 * @removing: vg_remove() is at work
 * @dead: requests fail at once
 * @closing_since: jiffies when Closing was seen or entered
 * @vmdev_lock: of @vmdev
 * @vmdev: the virtio device, or NULL
 *
 * The size of the pool:
 * @pool_lock: held by those who make, announce, or take away arenas
 * @pool_least: pages that it begins with, and keeps
 * @pool_most: pages
 * @pool_resize: the backend can have it change while the device is used
 * @pool_open: arenas may come and go
 * @pool_held: but not during a suspend
 * @pool_seen: buffers that had been put there when it was last looked at
 *
 * The control page:
 * @ctrl: shared with the backend
 * @ctrl_ref: its grant
 * @ctrl_port: event channel
 * @ctrl_irq: bound to it; 0: none
 * @driver_prod: index of ours; the page has a copy
 * @driver_cons: index of ours; the page has a copy
 * @spurious: notifications that brought no message
 * @ring_lock: of what follows, and of consuming
 * @call_token: of the request that waits; 0: none
 * @call_buf: the request that waits, and where its response goes
 * @call_done: the response is there
 * @event_pending: there are a status and a generation to report
 * @event_status: from the last EVENT_CONFIG
 * @event_generation: likewise
 *
 * @call_lock: one request at a time
 * @next_token: for the next request
 * @wait: for responses and room
 */
struct vg_device {
	struct device *dev;
	void (*release)(struct device *dev);
	struct xenbus_device *xdev;
	struct vg_dma dma;
	struct vg_counts __percpu *counts;

	struct delayed_work work;
	struct delayed_work gone;
	struct work_struct event;
	struct delayed_work again;
	struct work_struct grow;
	struct delayed_work idle;
	struct xenbus_watch backend_watch;

	struct mutex life; /* changes of phase */
	enum vg_phase phase;
	bool heard;
	bool reconnect;
	bool pm_frozen;
	unsigned int pm_refused;
	bool removing;
	bool dead;
	unsigned long closing_since;

	struct mutex vmdev_lock; /* of vmdev */
	struct virtio_msg_device *vmdev;

	struct mutex pool_lock; /* of what follows, and of the arenas */
	unsigned int pool_least;
	unsigned int pool_most;
	bool pool_resize;
	bool pool_open;
	bool pool_held;
	u64 pool_seen;

	struct virtio_grant_control *ctrl;
	grant_ref_t ctrl_ref;
	evtchn_port_t ctrl_port;
	int ctrl_irq;
	u32 driver_prod;
	u32 driver_cons;
	struct vg_spurious spurious;

	spinlock_t ring_lock; /* the to-driver ring and the call */
	u16 call_token;
	struct virtio_msg_buf *call_buf;
	bool call_done;
	bool event_pending;
	u32 event_status;
	u32 event_generation;

	struct mutex call_lock; /* one request at a time */
	u16 next_token;
	wait_queue_head_t wait;
};

extern struct workqueue_struct *vg_workqueue;
extern struct workqueue_struct *vg_rescue;

/* virtio_grant_bus.c */
enum xenbus_state vg_backend_state(struct vg_device *vg);
bool vg_is_leaving(struct vg_device *vg, enum xenbus_state state);
u64 vg_sum(u64 __percpu *count);

/* virtio_grant_ctrl.c */
int vg_bind(struct vg_device *vg, evtchn_port_t port, irq_handler_t handler,
	    const char *name, void *arg);
int vg_make_control(struct vg_device *vg);
void vg_free_control(struct vg_device *vg);
void vg_give_up(struct vg_device *vg);
int vg_call(struct vg_device *vg, struct virtio_msg_buf *msg);
int vg_bus_call(struct vg_device *vg, u8 id, void *payload, size_t len);
int vg_ping(struct vg_device *vg);

/* virtio_grant_size.c */
void vg_size_init(struct vg_device *vg);
void vg_size_exit(struct vg_device *vg);
void vg_size_begin(struct vg_device *vg, u32 id);
void vg_size_announce(struct vg_device *vg);
void vg_size_hold(struct vg_device *vg, bool held);
void vg_size_end(struct vg_device *vg);
void vg_size_full(struct vg_dma *dma);

/* virtio_grant_queue.c */
extern const struct virtio_msg_bus_ops vg_bus_ops;

#endif /* VIRTIO_GRANT_BUS_H */
