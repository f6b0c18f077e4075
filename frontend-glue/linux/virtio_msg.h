/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_msg.h - a virtio device whose transport is messages
 *
 * virtio-msg has two parts. This one gives the messages their meaning: it is
 * the struct virtio_config_ops of a device that is reached by requests and
 * responses. The other one, the bus, discovers devices, carries messages, and
 * notifies queues; it offers struct virtio_msg_bus_ops. UPSTREAM.md says what
 * Linux' own transport would need for virtio_msg.c to go and the bus to stay.
 */
#ifndef VIRTIO_MSG_H
#define VIRTIO_MSG_H

#include <linux/cpumask.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/types.h>
#include <linux/virtio.h>

#include "virtio_grant.h"

struct virtio_msg_device;

/* Room for the largest message of the bus. */
#define VIRTIO_MSG_PAYLOAD \
	(VIRTIO_GRANT_SLOT_SIZE - sizeof(struct virtio_msg_header))

/* Bytes of configuration that a driver can read from its config_changed(): virtio-net has 24. */
#define VIRTIO_MSG_SNAPSHOT 256

/**
 * struct virtio_msg_buf - one message, in memory of our own
 * @header: as on the wire, little-endian
 * @payload: as on the wire, little-endian
 */
struct virtio_msg_buf {
	struct virtio_msg_header header;
	u8 payload[VIRTIO_MSG_PAYLOAD];
} __aligned(8);

/**
 * struct virtio_msg_bus_ops - what the transport asks of a bus
 * @prepare: the driver is about to make its queues: once after a reset, before
 *	any ring is allocated. May sleep. Returns 0 or a negative errno.
 * @transfer: send the request in @msg (type, msg_id and msg_size are set, the
 *	bus sets the token) and wait until its response is in @msg. The bus has
 *	checked type, msg_id, token and the bounds of msg_size. May sleep.
 *	Returns 0 or a negative errno; -ETIMEDOUT and -EIO are final.
 * @queue_open: prepare the notifications of the virtqueue, which the device
 *	does not know yet. Sets vq->priv, which is NULL at first; after a
 *	queue reset it is called again, with vq->priv as it left it. May sleep. Returns 0 or -errno.
 * @queue_close: undo @queue_open; the device has stopped the queue. May sleep.
 * @queue_irq: the interrupt of the virtqueue's notifications
 * @notify: tell the device of available buffers; in any context
 * @lasting: whether the driver, which was just frozen, keeps addresses of memory
 *	that will mean nothing after the suspend
 * @leave: the driver is about to be removed: until @left it may free memory
 *	that the device, which it has not reset yet, was told of. May sleep.
 * @left: it was removed. May sleep.
 * @bus_name: name of the device on its bus
 */
struct virtio_msg_bus_ops {
	int (*prepare)(struct virtio_msg_device *vmdev);
	int (*transfer)(struct virtio_msg_device *vmdev,
			struct virtio_msg_buf *msg);
	int (*queue_open)(struct virtio_msg_device *vmdev,
			  struct virtqueue *vq);
	void (*queue_close)(struct virtio_msg_device *vmdev,
			    struct virtqueue *vq);
	int (*queue_irq)(struct virtqueue *vq);
	bool (*notify)(struct virtqueue *vq);
	bool (*lasting)(struct virtio_msg_device *vmdev);
	void (*leave)(struct virtio_msg_device *vmdev);
	void (*left)(struct virtio_msg_device *vmdev);
	const char *(*bus_name)(struct virtio_msg_device *vmdev);
};

/**
 * struct virtio_msg_device - a virtio device behind messages
 * @vdev: the virtio device
 * @ops: the bus
 * @bus_priv: the bus's own
 * @queue_mutex: held while queues come and go, and while
 *	virtio_msg_fail_requests() looks at them
 * @config_size: bytes of configuration space
 * @max_vqs: number of virtqueues
 * @generation: of the configuration, as last heard
 * @status: as last heard; what get_status says once the device is gone
 * @initialised: the struct device in @vdev counts references
 * @started: the lists in @vdev are initialised
 * @queues_set: the device knows at least one queue
 * @gone: the device will not answer any more
 * @frozen: virtio_msg_freeze() was called, virtio_msg_restore() not yet, or in vain
 * @in_event: the task that tells the driver of a configuration change, or NULL
 * @snapshot: the configuration as that task read it before
 * @parting: restored only to be unregistered: there is no device behind
 * @masks: processors that a queue serves, for each of the queues that are spread
 * @n_masks: how many those are
 * @masks_first: index of the first one
 * @lost: the driver was frozen, but kept memory that it cannot keep
 * @stale: the driver cannot be restored: the device must be registered anew
 * @unbind: hears when a driver is removed, whoever does that
 */
struct virtio_msg_device {
	struct virtio_device vdev;
	const struct virtio_msg_bus_ops *ops;
	void *bus_priv;
	struct mutex queue_mutex; /* queues that come and go */
	u32 config_size;
	u32 max_vqs;
	u32 generation;
	u8 status;
	bool initialised;
	bool started;
	bool queues_set;
	bool gone;
	bool frozen;
	bool parting;
	bool lost;
	bool stale;
	cpumask_var_t *masks;
	unsigned int n_masks;
	unsigned int masks_first;
	struct task_struct *in_event;
	struct notifier_block unbind;
	u8 snapshot[VIRTIO_MSG_SNAPSHOT];
};

struct virtio_msg_device *
virtio_msg_create(struct device *parent, const struct virtio_msg_bus_ops *ops,
		  void *bus_priv);
int virtio_msg_identify(struct virtio_msg_device *vmdev);
int virtio_msg_register(struct virtio_msg_device *vmdev);
void virtio_msg_unregister(struct virtio_msg_device *vmdev);
void virtio_msg_put(struct virtio_msg_device *vmdev);

void virtio_msg_config_event(struct virtio_msg_device *vmdev, u32 status,
			     u32 generation);
void virtio_msg_break(struct virtio_msg_device *vmdev);
void virtio_msg_fail_requests(struct virtio_msg_device *vmdev);

int virtio_msg_freeze(struct virtio_msg_device *vmdev);
int virtio_msg_restore(struct virtio_msg_device *vmdev);

/* virtio_msg_orphan.c */
void virtio_msg_fail_queue(struct virtqueue *vq);

#endif /* VIRTIO_MSG_H */
