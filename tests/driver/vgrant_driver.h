/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgrant_driver.h - a virtio-grant frontend in user space
 *
 * Theory of operation
 * -------------------
 * The frontend of xenstore/PROTOCOL.md, for tests. Section numbers below are
 * that document's. It stands on xen.h: it runs as the kernel of a fake-xen
 * domain, or in a real guest, and can be driven at three heights:
 *
 *	drv_dev_start()		negotiate, set queues up, DRIVER_OK: one call
 *	drv_dev_connect() ...	one call for each step of the protocol
 *	drv_msg_*(), ctrl	raw messages and the bare control page
 *
 * so that a well-behaved test is ten lines and a hostile one can lie about
 * anything. See tests/unit/driver/test_driver.c for the ten lines.
 *
 * Grants are direct unless a pool was announced and its allocator is used.
 * The allocator notices a device that still has a buffer mapped when the
 * driver frees it: struct drv_mem.still_mapped, which a test should assert
 * to be 0 at its end.
 *
 * A device belongs to one thread at a time; different devices are
 * independent. Timeouts are milliseconds. int results are 0 or a negative
 * errno; -ETIMEDOUT means that the backend did not answer in time.
 */
#ifndef DRV_VGRANT_DRIVER_H
#define DRV_VGRANT_DRIVER_H

#include "frontend-glue/include/virtio_grant.h"
#include "tests/driver/vring.h"
#include "tests/driver/xen.h"

/* ---- granted memory ------------------------------------------------------- */

/** struct drv_mem_grant - each buffer gets pages and grants of its own */
struct drv_mem_grant {
	struct drv_mem mem;
	struct drv_xen *xen;
	unsigned int backend; /* domid that is granted access */
	struct drv_grant *live;
};

/** drv_mem_grant_init() - direct grants (section 6); @xen must outlive it */
void drv_mem_grant_init(struct drv_mem_grant *g, struct drv_xen *xen, unsigned int backend);

/** drv_mem_grant_fini() - forget the buffers that were not freed; they stay granted, as a crash leaves them */
void drv_mem_grant_fini(struct drv_mem_grant *g);

/** drv_mem_grant_pages() - the pages behind a buffer of such an allocator */
struct drv_pages *drv_mem_grant_pages(const struct drv_buf *buf);

/* ---- the device ----------------------------------------------------------- */

#define DRV_MAX_QUEUES 64u
#define DRV_MAX_POOLS  20u

/** struct drv_queue - one virtqueue, with its event channel */
struct drv_queue {
	struct drv_dev *dev;
	unsigned int index;
	struct drv_vring vr;
	uint32_t port; /* 0: none */
	bool live;     /* vr is initialised */
	bool set;      /* SET_VQUEUE was accepted */
};

/** struct drv_event - an EVENT_CONFIG that came */
struct drv_event {
	struct virtio_msg_event_config hdr;
	uint8_t data[VIRTIO_GRANT_SLOT_SIZE];
};

/** struct drv_dev - a frontend; read its fields freely, write them at your own risk */
struct drv_dev {
	struct drv_xen *xen;
	struct xs_handle *xs; /* the guest's */
	char type[32];	      /* xenbus type */
	unsigned int id;
	unsigned int backend; /* backend-id */
	char front[128];      /* F */
	char back[128];	      /* B */
	int timeout_ms;

	struct drv_mem_grant gmem;		 /* direct grants */
	struct drv_buf pool_buf[DRV_MAX_POOLS];	 /* arenas */
	struct drv_mem_flat pool[DRV_MAX_POOLS]; /* allocators in them */
	unsigned int pools;
	struct drv_mem *ring_mem; /* where rings come from; &gmem.mem */

	/* control page; NULL when not connected */
	struct drv_buf ctrl_buf;
	struct virtio_grant_control *ctrl;
	uint32_t ctrl_port;
	uint32_t prod; /* driver_prod, as we last wrote it */
	uint32_t cons; /* driver_cons, the same */
	uint16_t next_token;
	unsigned int stray;	  /* messages to us that fitted nothing */
	unsigned int still_bound; /* queue channels still bound after a reset: the device's fault */
	unsigned int events;	  /* EVENT_CONFIGs seen */
	struct drv_event last_event;

	struct virtio_msg_device_info_resp info;
	uint64_t offered[2];  /* features, 128 bits */
	uint64_t features[2]; /* negotiated */
	struct drv_queue queues[DRV_MAX_QUEUES];
};

/** struct drv_dev_config - which device */
struct drv_dev_config {
	struct drv_xen *xen; /* the guest */
	const char *type;    /* NULL: "virtio" */
	unsigned int id;
	int timeout_ms; /* for each wait; 0: 5000 */
};

/* -- steps: xenbus, section 3 -- */

/**
 * drv_dev_open() - find a device's directories; changes nothing
 * @out: the device; drv_dev_free()
 *
 * Return: 0, -ENOENT without nodes, -ENOMEM.
 */
int drv_dev_open(const struct drv_dev_config *cfg, struct drv_dev **out);

/** drv_dev_free() - free the struct and what is shared, without a word to the backend */
void drv_dev_free(struct drv_dev *dev);

/**
 * drv_dev_connect() - from state 1 to Connected, reading info and features
 *
 * Waits for InitWait, sets the control page up (step 3), waits for Connected,
 * reads GET_DEVICE_INFO and the features, enters Connected (step 5).
 *
 * Return: 0; -ENODEV if the backend entered Closed or Closing instead (its
 * sentence: drv_dev_error()); -EPROTONOSUPPORT without our key in B.
 */
int drv_dev_connect(struct drv_dev *dev);

/** drv_dev_offer() - step 3 alone: control page, channel, keys, Initialised */
int drv_dev_offer(struct drv_dev *dev);

/** drv_dev_wait_backend() - wait for one of several states; Return: state or -errno */
int drv_dev_wait_backend(struct drv_dev *dev, uint32_t mask);

/** drv_dev_set_vqueue() - SET_VQUEUE with anything; Return: the size that GET_VQUEUE shows, or -errno */
int drv_dev_set_vqueue(struct drv_dev *dev, uint32_t index, uint32_t size, uint64_t desc,
		       uint64_t driver, uint64_t device);

/** drv_dev_set_channel() - SET_VQ_CHANNEL with anything; Return: its error, or -errno */
int drv_dev_set_channel(struct drv_dev *dev, uint32_t index, uint32_t port);

/** drv_dev_set_state() - write our state */
int drv_dev_set_state(struct drv_dev *dev, unsigned int state);

/** drv_dev_backend_state() - read the backend's; Return: state, 0 if absent */
int drv_dev_backend_state(struct drv_dev *dev);

/** drv_dev_error() - virtio-grant-error; Return: malloc'd, or NULL */
char *drv_dev_error(struct drv_dev *dev);

/**
 * drv_dev_close() - take down as section 3.3 says: reset, Closing, wait, Closed
 *
 * Return: 0, -EBUSY if the backend still had a grant mapped, -ETIMEDOUT.
 */
int drv_dev_close(struct drv_dev *dev);

/** drv_dev_reconnect() - drv_dev_close() if need be, Initialising, drv_dev_connect() */
int drv_dev_reconnect(struct drv_dev *dev);

/**
 * drv_dev_drop() - free page, ports and grants at once, as a crashed kernel would
 *
 * No state is written. What the backend has mapped stays granted.
 */
void drv_dev_drop(struct drv_dev *dev);

/* -- steps: virtio, section 5 -- */

/**
 * drv_dev_negotiate() - ACKNOWLEDGE, DRIVER, features, FEATURES_OK
 * @want: feature bits 0 to 63; what was not offered is left out
 *
 * VERSION_1 and ACCESS_PLATFORM are always added.
 *
 * Return: 0, -EINVAL if the device did not take FEATURES_OK.
 */
int drv_dev_negotiate(struct drv_dev *dev, uint64_t want);

/** drv_dev_has() - whether a feature bit was negotiated */
bool drv_dev_has(const struct drv_dev *dev, unsigned int bit);

/**
 * drv_dev_queue() - set a queue up: ring, port, SET_VQ_CHANNEL, SET_VQUEUE
 * @size: descriptors; 0: the device's maximum
 *
 * The ring's shape follows the negotiated features.
 *
 * Return: 0, -ENOENT without such a queue, -EINVAL if the device refused.
 */
int drv_dev_queue(struct drv_dev *dev, unsigned int index, unsigned int size);

/** drv_dev_queue_reset() - RESET_VQUEUE, then free the ring; -EBUSY: still mapped */
int drv_dev_queue_reset(struct drv_dev *dev, unsigned int index);

/** drv_dev_driver_ok() - set DRIVER_OK */
int drv_dev_driver_ok(struct drv_dev *dev);

/**
 * drv_dev_start() - negotiate, set up queues, DRIVER_OK
 * @want: as drv_dev_negotiate()
 * @queues: 0 to @queues - 1 are set up
 * @size: of each; 0: maximum
 */
int drv_dev_start(struct drv_dev *dev, uint64_t want, unsigned int queues, unsigned int size);

/**
 * drv_dev_reset() - status 0, then free rings and pools
 *
 * Return: 0, -EBUSY if a grant was still mapped, or a queue's channel still
 * bound, after the answer.
 */
int drv_dev_reset(struct drv_dev *dev);

/** drv_dev_get_status() - GET_DEVICE_STATUS; Return: status or -errno */
int drv_dev_get_status(struct drv_dev *dev);

/** drv_dev_set_status() - SET_DEVICE_STATUS; Return: resulting status or -errno */
int drv_dev_set_status(struct drv_dev *dev, uint32_t status);

/**
 * drv_dev_config_read() - GET_CONFIG, in as many messages as it takes
 * @generation: of the last message; NULL: not wanted
 *
 * Reads again until the generation stayed the same throughout.
 *
 * Return: 0, -ERANGE past the end.
 */
int drv_dev_config_read(struct drv_dev *dev, unsigned int offset, void *data, unsigned int len,
			uint32_t *generation);

/** drv_dev_config_write() - SET_CONFIG; Return: 0, -EPERM if refused */
int drv_dev_config_write(struct drv_dev *dev, uint32_t generation, unsigned int offset,
			 const void *data, unsigned int len);

/**
 * drv_dev_pool() - grant an arena and announce it (section 6.1)
 * @pages: of the arena
 * @out: its allocator, valid until reset or close
 *
 * Return: 0, -EOPNOTSUPP without feature-pool, the device's -errno.
 */
int drv_dev_pool(struct drv_dev *dev, unsigned int pages, struct drv_mem **out);

/** drv_pool_msg() - ADD_POOL or DROP_POOL (@id) of any references; Return: the device's -errno, or 0 */
int drv_pool_msg(struct drv_dev *dev, uint8_t id, uint32_t first_ref, uint32_t pages);

/**
 * drv_dev_pool_drop() - take the arena back that came last, with DROP_POOL
 *
 * Return: 0; the device's -errno: it is there as before; -EBUSY also when it was mapped after the answer.
 */
int drv_dev_pool_drop(struct drv_dev *dev);

/** drv_dev_poll_events() - handle messages that came; Return: events handled, -EPROTO */
int drv_dev_poll_events(struct drv_dev *dev);

/** drv_dev_wait_event() - wait for the next EVENT_CONFIG; it is in last_event */
int drv_dev_wait_event(struct drv_dev *dev);

/* -- queues: the data path -- */

/** drv_queue_kick() - publish, notify if wanted; Return: whether it was */
bool drv_queue_kick(struct drv_queue *q);

/** drv_queue_notify() - notify, wanted or not */
void drv_queue_notify(struct drv_queue *q);

/**
 * drv_queue_wait() - wait for a used chain and take it
 *
 * Return: 0, -ETIMEDOUT, -EPROTO.
 */
int drv_queue_wait(struct drv_queue *q, struct drv_used *used);

/* -- raw messages, section 4 -- */

/**
 * drv_msg_call() - send a request and wait for its response
 * @type: VIRTIO_MSG_TYPE_REQUEST, or _BUS
 * @id: enum virtio_msg_id
 * @req: payload; @req_len bytes
 * @resp: room for the response's payload; @resp_len bytes; NULL: not wanted
 *
 * Return: bytes of payload in the response (which may exceed @resp_len: it is
 * cut), or -ETIMEDOUT, -EPROTO if the backend broke the control page.
 */
int drv_msg_call(struct drv_dev *dev, uint8_t type, uint8_t id, const void *req, size_t req_len,
		 void *resp, size_t resp_len);

/**
 * drv_msg_post() - put any bytes into the next slot, advance, notify; no waiting
 * @msg: header and all, as it shall lie in the slot
 * @len: bytes, at most 480; what msg_size says is the caller's business
 *
 * Return: 0, -EAGAIN if the ring is full.
 */
int drv_msg_post(struct drv_dev *dev, const void *msg, size_t len);

/** drv_msg_drained() - wait until the backend consumed all that was posted */
int drv_msg_drained(struct drv_dev *dev);

/** drv_msg_ping() - PING; Return: 0, -EPROTO if the answer is not the question */
int drv_msg_ping(struct drv_dev *dev, uint32_t data);

#endif /* DRV_VGRANT_DRIVER_H */
