/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.h - what a device is, and the virtio state machine around it
 *
 * A device (devices/NAME.c) is one `const struct vg_device_ops` and a line in
 * devices/table.c. It never knows on which port it is.
 *
 * The life of a device in a worker:
 *
 *   open        with all privileges: open images, interfaces, sockets. Nothing
 *               of the guest's has been read yet.
 *   (sandbox)   privileges are dropped for good
 *   start       the driver set DRIVER_OK; dev->features is final
 *   start_queue for each enabled queue: dev->vq[i] is there
 *   queue_ready chains may have been made available
 *   stop_queue  finish what is in flight; no chain of the queue may be touched
 *               after it returns
 *   reset       back to the state after open; idempotent
 *   close
 *
 * struct vg_dev holds what every virtio device has: status, features, queues,
 * configuration generation. Ports drive it with the vg_dev_*() functions below
 * (VIRTIO 1.3 sections 2.1 to 2.6, 3.1).
 */
#ifndef VG_DEVICE_H
#define VG_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/memory/guestmem.h"
#include "backend/base/log.h"
#include "backend/base/loop.h"
#include "backend/base/needs.h"
#include "backend/base/params.h"
#include "backend/base/trace.h"
#include "backend/virtio/virtqueue.h"

struct vg_dev;
struct vg_port;

#define VG_MAX_QUEUES 65 /* of one device: 32 pairs and a control queue; see limits.h */

#define VG_DEV_SAVED 64 /* bytes of vg_dev.saved */

/* VIRTIO 1.3 section 2.1 */
#define VG_STATUS_ACKNOWLEDGE 1u
#define VG_STATUS_DRIVER      2u
#define VG_STATUS_DRIVER_OK   4u
#define VG_STATUS_FEATURES_OK 8u
#define VG_STATUS_NEEDS_RESET 64u
#define VG_STATUS_FAILED      128u

#define VG_FEATURE(bit) (1ULL << (bit))

/* VIRTIO 1.3 section 6: offered by the core on every port that can carry them. */
#define VG_F_INDIRECT_DESC   28
#define VG_F_EVENT_IDX	     29
#define VG_F_VERSION_1	     32
#define VG_F_ACCESS_PLATFORM 33
#define VG_F_RING_PACKED     34
#define VG_F_IN_ORDER	     35
#define VG_F_RING_RESET	     40

struct vg_device_ops {
	const char *name;   /* first word of a configuration: "blk" */
	const char *help;   /* one line for `vgrant help` */
	uint16_t virtio_id; /* VIRTIO 1.3 section 5 */
	const struct vg_param_def *params;
	const struct vg_sandbox_needs *needs; /* NULL: nothing but what every worker needs */
	/**
	 * may_open - in the supervisor: may a device of this configuration have the file @name?
	 *
	 * For what a worker finds out in its sandbox: a backing file. Whoever asks may have been
	 * taken over: the configuration alone decides. NULL: none. Return: 0, or negative errno
	 * with a sentence.
	 */
	int (*may_open)(const struct vg_params *params, const char *name, bool write,
			struct vg_err *err);

	/**
	 * open - make dev->priv from the configuration; still privileged
	 *
	 * Sets dev->device_features, dev->n_queues, dev->queue_size_max, dev->config_size.
	 * Return: 0, or negative errno and a sentence for the user.
	 */
	int (*open)(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err);
	void (*close)(struct vg_dev *dev);

	/* Copy @len config bytes at @off; the core has checked the range. Little-endian. */
	void (*config_read)(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len);
	/* NULL: nothing is writable. Return 0, or -EPERM when this field is not. */
	int (*config_write)(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len);

	/* NULL: any subset of what was offered will do. Return 0 or -EINVAL. */
	int (*features_ok)(struct vg_dev *dev, uint64_t features);
	int (*start)(struct vg_dev *dev); /* NULL allowed; an error sets NEEDS_RESET */
	void (*start_queue)(struct vg_dev *dev, unsigned q); /* NULL allowed */
	void (*queue_ready)(struct vg_dev *dev, unsigned q);
	void (*stop_queue)(struct vg_dev *dev, unsigned q);
	void (*reset)(struct vg_dev *dev);

	/* Change a setting while running (`vgrant set`); NULL: nothing can be changed. */
	int (*set)(struct vg_dev *dev, const char *key, const char *value, struct vg_err *err);
	/* Device's own counters as "name=value ..." for `vgrant list`; NULL: none. */
	void (*describe)(struct vg_dev *dev, char *buf, size_t len);
	/* It writes lines to dev->trace, for `vgrant trace`. */
	bool traces;
	/* Called on the worker's clock, once a second, privileged to nothing; NULL: not called. */
	void (*tick)(struct vg_dev *dev);
};

/** vg_devices - all devices, NULL-terminated (devices/table.c) */
extern const struct vg_device_ops *const vg_devices[];

/** vg_device_find - by name or NULL */
const struct vg_device_ops *vg_device_find(const char *name);

/* Counters that `vgrant list` shows; one writer (the worker), any readers. */
struct vg_dev_stats {
	uint64_t requests;	/* completed */
	uint64_t errors;	/* completed with an error status */
	uint64_t bytes_read;	/* to the guest */
	uint64_t bytes_written; /* from the guest */
	uint64_t kicks;		/* notifications received */
	uint64_t interrupts;	/* notifications sent */
	uint64_t faults;	/* times that the guest broke the rules */
	uint64_t resets;
};

struct vg_queue {
	struct vg_deferred again; /* vg_dev_kick_later() */
	struct vg_dev *dev;
	uint32_t size;		       /* 0: not set */
	uint64_t desc, driver, device; /* guest addresses */
	struct vg_vq *vq;	       /* non-NULL: running */
	void *inflight;		       /* record of this queue, or NULL; the port's */
	struct vg_vq_state state;      /* where to start */
	bool enabled;		       /* set up by the driver */
};

/* How the core reaches the guest; each port has one const table. */
struct vg_port_ops {
	const char *name;  /* "grant", "vhost-user" */
	uint64_t features; /* common feature bits that this port can carry */
	uint64_t required; /* those of them without which FEATURES_OK is refused */
	/* Notifications, either way, cost little more than a system call: a device need not wait in
	 * order to save some. */
	bool cheap_notify;
	void (*notify)(struct vg_port *port, unsigned q); /* used buffer notification */
	/* Status, generation or config changed: tell the driver. */
	void (*config_changed)(struct vg_port *port);
	/* Something that a successor must know changed: status, features, a queue. NULL allowed. */
	void (*record)(struct vg_port *port);
};

struct vg_port {
	const struct vg_port_ops *ops;
};

struct vg_dev {
	const struct vg_device_ops *ops;
	void *priv; /* the device's own */
	struct vg_loop *loop;
	struct vg_mem *mem; /* the port's; set before start */
	struct vg_port *port;

	uint64_t withheld_features; /* that the port has and the user does not want */

	/* set by ops->open */
	uint64_t device_features; /* device-specific bits offered, 0 to 23 and 50 to 63 */
	unsigned n_queues;
	uint32_t queue_size_max; /* a power of two, at most VG_VQ_SIZE_MAX */
	uint32_t config_size;	 /* bytes */

	/* the state machine's */
	uint32_t status;	  /* VG_STATUS_* */
	uint64_t driver_features; /* as the driver writes them */
	uint64_t features;	  /* negotiated: valid from FEATURES_OK on */
	uint32_t generation;
	bool started;  /* ops->start was called */
	bool resuming; /* between vg_dev_resume() and vg_dev_resumed() */
	struct vg_queue queue[VG_MAX_QUEUES];
	/* The device's own few bytes that its successor must know if the worker dies: what the driver
	 * set in it. Written before the driver sees the effect; zero after open. */
	uint8_t saved[VG_DEV_SAVED];
	struct vg_dev_stats *stats; /* never NULL */
	struct vg_dev_stats own_stats;
	struct vg_ratelimit fault_log;
	struct vg_trace trace;
};

/**
 * vg_dev_open - make a device from its configuration
 * @dev: zeroed by the callee
 * @params: checked here against the device's table
 *
 * Return: 0, or negative errno with a sentence. vg_dev_close() only after 0.
 */
int vg_dev_open(struct vg_dev *dev, const struct vg_device_ops *ops, struct vg_loop *loop,
		const struct vg_params *params, struct vg_err *err);
/** vg_dev_close - reset it and free what open made; its port is disconnected, and still there */
void vg_dev_close(struct vg_dev *dev);

/* ---- for ports ---------------------------------------------------------- */

/** vg_dev_offered - all feature bits on this port, common ones included */
uint64_t vg_dev_offered(const struct vg_dev *dev);

/** vg_dev_set_features - the driver's choice; ignored once FEATURES_OK is set */
void vg_dev_set_features(struct vg_dev *dev, uint64_t features);

/**
 * vg_dev_set_status - the driver writes the status register; 0 resets
 *
 * Starts queues at DRIVER_OK. A reset returns when all queues have stopped.
 * Return: the status that results.
 */
uint32_t vg_dev_set_status(struct vg_dev *dev, uint32_t status);

/**
 * vg_dev_resume - take up what a dead predecessor had, before its queues are set again
 *
 * Ends in the state that @status says, save that queues are not there and nothing runs: set each
 * queue, then call vg_dev_resumed().
 */
void vg_dev_resume(struct vg_dev *dev, uint32_t status, uint64_t features, uint32_t generation,
		   const uint8_t saved[VG_DEV_SAVED]);
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

/** vg_dev_reset_queue - stop and forget queue @q; where it stood goes to *@state if not NULL */
void vg_dev_reset_queue(struct vg_dev *dev, unsigned q, struct vg_vq_state *state);

/** vg_dev_kick - an available buffer notification for queue @q came in */
void vg_dev_kick(struct vg_dev *dev, unsigned q);

/** vg_dev_config_read - config bytes; -EINVAL past the end */
int vg_dev_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len);
/** vg_dev_config_write - -EINVAL past the end, -EPERM when not writable */
int vg_dev_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len);

/**
 * vg_dev_kick_later - the device has had its share of this turn: call queue_ready again in the next
 *
 * A guest can keep a ring busy for ever; a device that answers at once must stop now and then.
 */
void vg_dev_kick_later(struct vg_dev *dev, unsigned q);

/* ---- for devices -------------------------------------------------------- */

/** vg_dev_vq - the running queue @q, or NULL */
struct vg_vq *vg_dev_vq(struct vg_dev *dev, unsigned q);

/** vg_dev_has - was feature bit @bit negotiated? */
bool vg_dev_has(const struct vg_dev *dev, unsigned bit);

/**
 * vg_dev_flush - publish what was pushed to queue @q, and notify if the driver wants it
 *
 * Return: whether it was notified.
 */
bool vg_dev_flush(struct vg_dev *dev, unsigned q);

/** vg_dev_save - dev->saved was changed: a successor knows it from now on */
void vg_dev_save(struct vg_dev *dev);

/** vg_dev_config_changed - raise the generation and tell the driver */
void vg_dev_config_changed(struct vg_dev *dev);

/**
 * vg_dev_fault - the guest broke the rules: DEVICE_NEEDS_RESET
 *
 * Logs once (rate-limited). Queues take nothing more until a reset; what is in flight is finished.
 */
void vg_dev_fault(struct vg_dev *dev, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * vg_dev_pop - vg_vq_pop(), with a broken ring turned into vg_dev_fault()
 *
 * Return: how many, 0 also for a broken queue or one that does not run.
 */
unsigned vg_dev_pop(struct vg_dev *dev, unsigned q, struct vg_chain **out, unsigned max);

/**
 * vg_dev_rearm - vg_vq_rearm(), false also for a queue that must not be popped any more
 */
bool vg_dev_rearm(struct vg_dev *dev, unsigned q);

/** vg_dev_rearm_after - vg_vq_rearm_after(), the same */
bool vg_dev_rearm_after(struct vg_dev *dev, unsigned q, unsigned n);

#endif /* VG_DEVICE_H */
