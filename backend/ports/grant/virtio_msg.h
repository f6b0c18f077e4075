/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_msg.h - the device side of virtio-msg, revision 1 (PROTOCOL.md section 5)
 *
 * One function: a request that was copied from the guest goes in, the response
 * comes out. What a message means to the bus (event channels, pools, what must
 * go when a queue goes) is asked of a small table.
 */
#ifndef VG_VIRTIO_MSG_H
#define VG_VIRTIO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/virtio/device.h"
#include "virtio_grant.h"

struct vg_msg_bus;

struct vg_msg_bus_ops {
	/* Bind the guest's @port to queue @q. Return: 0 or negative errno for the guest. */
	int (*set_channel)(struct vg_msg_bus *bus, unsigned q, uint32_t port);
	/* Map a pool. Return: as above. */
	int (*add_pool)(struct vg_msg_bus *bus, uint32_t first_ref, uint32_t pages);
	/* Unmap a pool, when no context looks at it any more: bus->error says how that went when
	 * @w->done is called, perhaps in here. */
	void (*drop_pool)(struct vg_msg_bus *bus, uint32_t first_ref, uint32_t pages,
			  struct vg_wait *w);
	/* Queue @q is about to be set. Return: false to refuse it (no channel); *@inflight is the
	 * zeroed in-flight record for it, or NULL. */
	bool (*queue_wanted)(struct vg_msg_bus *bus, unsigned q, void **inflight);
	/* Queue @q, or the whole device, has been reset: let go of what belonged to it. */
	void (*queue_gone)(struct vg_msg_bus *bus, unsigned q);
	void (*device_gone)(struct vg_msg_bus *bus);
	/* The request that VG_MSG_LATER was said of is done: bus->late holds its answer, @len bytes. */
	void (*late)(struct vg_msg_bus *bus, size_t len);
};

struct vg_msg_bus {
	const struct vg_msg_bus_ops *ops;
	struct vg_dev *dev;
	int error; /* of ops->drop_pool: 0, or negative errno for the guest */
	/* private, but for the answer in late */
	struct vg_wait wait, let_go;
	bool handling, done;
	uint32_t late_queue; /* what is being reset; UINT32_MAX: the device */
	_Alignas(8) uint8_t late[VIRTIO_GRANT_SLOT_SIZE];
};

/* The answer comes later, through ops->late; until then, nothing but what vg_msg_reads(). */
#define VG_MSG_LATER SIZE_MAX

/**
 * vg_msg_handle - answer one request
 * @req: @len bytes of a slot, copied; only msg_size of them count
 * @resp: room for VIRTIO_GRANT_SLOT_SIZE bytes; aligned to 8, as @req is
 *
 * Return: bytes of the response; 0: the message is discarded; VG_MSG_LATER.
 */
size_t vg_msg_handle(struct vg_msg_bus *bus, const void *req, size_t len, void *resp);

/** vg_msg_reads - whether a request changes nothing, so that it may be answered before its elders */
bool vg_msg_reads(const void *req, size_t len);

/** vg_msg_event_config - make an EVENT_CONFIG without data. Return: its bytes. */
size_t vg_msg_event_config(const struct vg_dev *dev, void *msg);

#endif /* VG_VIRTIO_MSG_H */
