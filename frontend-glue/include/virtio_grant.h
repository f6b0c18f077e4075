/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio_grant.h - the wire format of the virtio-grant transport
 *
 * virtio-grant is a virtio-msg bus over Xen: xenbus finds the device, a shared
 * page carries virtio-msg messages, event channels carry notifications, grant
 * references name memory. xenstore/PROTOCOL.md specifies it; this header is
 * the same in C, for both ends. It includes nothing, so that a kernel, a
 * daemon and firmware can all use it: every multi-byte field on the wire is
 * little-endian, and the types below hold it as it lies in memory.
 */
#ifndef VIRTIO_GRANT_H
#define VIRTIO_GRANT_H

/* ---- discovery: xenstore (PROTOCOL.md section 3) ------------------------ */

#define VIRTIO_GRANT_VERSION 1

/* xenbus device types that may carry a virtio-grant device. */
#define VIRTIO_GRANT_XENBUS_TYPE      "virtio"
#define VIRTIO_GRANT_XENBUS_TYPE_DISK "virtio_disk"

/* Written by the backend, before it enters XenbusStateInitWait. */
#define VIRTIO_GRANT_KEY_VERSION "virtio-grant-version"
/* Written by the backend. 1: it understands VIRTIO_GRANT_BUS_ADD_POOL, before DRIVER_OK. 2: at any
 * time, and VIRTIO_GRANT_BUS_DROP_POOL. */
#define VIRTIO_GRANT_KEY_FEATURE_POOL "feature-pool"
#define VIRTIO_GRANT_POOL_FIXED	      1
#define VIRTIO_GRANT_POOL_RESIZE      2
/* Written by the backend when it gives up: one sentence for the user. */
#define VIRTIO_GRANT_KEY_ERROR "virtio-grant-error"
/* Written by the frontend, before it enters XenbusStateInitialised. It also
 * writes VIRTIO_GRANT_KEY_VERSION: the version that it chose. */
#define VIRTIO_GRANT_KEY_CONTROL_REF   "control-ref"
#define VIRTIO_GRANT_KEY_EVENT_CHANNEL "event-channel"
/* Written by the frontend, decimal: how often it could not be suspended. */
#define VIRTIO_GRANT_KEY_REFUSED "suspends-refused"
/* Written by the toolstack for the frontend, "0": share nothing but buffers. */
#define VIRTIO_GRANT_KEY_TRUSTED "trusted"

/* ---- addresses (PROTOCOL.md section 6) ---------------------------------- */

#define VIRTIO_GRANT_PAGE_SHIFT 12
#define VIRTIO_GRANT_PAGE_SIZE	(1u << VIRTIO_GRANT_PAGE_SHIFT)
#define VIRTIO_GRANT_ADDR_FLAG	(1ULL << 63)
/* Bits 12 to 43: the grant reference of the first page; 0 to 11: the offset. */
#define VIRTIO_GRANT_ADDR(ref, off) \
	(VIRTIO_GRANT_ADDR_FLAG | ((unsigned long long)(ref) << VIRTIO_GRANT_PAGE_SHIFT) | (off))

/* ---- control page (PROTOCOL.md section 4) ------------------------------- */

#define VIRTIO_GRANT_MAGIC     0x31475256u /* "VRG1" in memory */
#define VIRTIO_GRANT_SLOTS     4u	   /* messages in flight in each direction */
#define VIRTIO_GRANT_SLOT_SIZE 480u	   /* bytes: the bus's maximum message size */

/*
 * Indices run freely, modulo 2^32; slot = index % VIRTIO_GRANT_SLOTS. Each is
 * written by one side only, and alone on its cache line.
 */
struct virtio_grant_index {
	unsigned int value; /* le32 */
	unsigned int reserved[15];
};

struct virtio_grant_control {
	struct virtio_grant_index driver_prod; /* to-device ring: written by the driver */
	struct virtio_grant_index device_cons; /* to-device ring: written by the device */
	struct virtio_grant_index device_prod; /* to-driver ring: written by the device */
	struct {
		unsigned int driver_cons; /* to-driver ring: written by the driver */
		unsigned int magic; /* VIRTIO_GRANT_MAGIC, written by the driver before state 3 */
		unsigned int reserved[14];
	} tail;
	unsigned char to_device[VIRTIO_GRANT_SLOTS][VIRTIO_GRANT_SLOT_SIZE];
	unsigned char to_driver[VIRTIO_GRANT_SLOTS][VIRTIO_GRANT_SLOT_SIZE];
};

/* ---- virtio-msg revision 1 (PROTOCOL.md section 5) ---------------------- */

#define VIRTIO_MSG_REVISION 1

struct virtio_msg_header {
	unsigned char type; /* VIRTIO_MSG_TYPE_* */
	unsigned char msg_id;
	unsigned short dev_num;	 /* le16: always 0 here, one device a page */
	unsigned short token;	 /* le16: 0 in events; a response echoes its request's */
	unsigned short msg_size; /* le16: header and payload, bytes */
};

#define VIRTIO_MSG_TYPE_REQUEST	 0x00u
#define VIRTIO_MSG_TYPE_RESPONSE 0x01u /* bit 0 */
#define VIRTIO_MSG_TYPE_BUS	 0x02u /* bit 1 */

enum virtio_msg_id {
	VIRTIO_MSG_GET_DEVICE_INFO = 0x02,
	VIRTIO_MSG_GET_DEVICE_FEATURES = 0x03,
	VIRTIO_MSG_SET_DRIVER_FEATURES = 0x04,
	VIRTIO_MSG_GET_CONFIG = 0x05,
	VIRTIO_MSG_SET_CONFIG = 0x06,
	VIRTIO_MSG_GET_DEVICE_STATUS = 0x07,
	VIRTIO_MSG_SET_DEVICE_STATUS = 0x08,
	VIRTIO_MSG_GET_VQUEUE = 0x09,
	VIRTIO_MSG_SET_VQUEUE = 0x0a,
	VIRTIO_MSG_RESET_VQUEUE = 0x0b,
	VIRTIO_MSG_GET_SHM = 0x0c,
	VIRTIO_MSG_EVENT_CONFIG = 0x40,
	VIRTIO_MSG_EVENT_AVAIL = 0x41,
	VIRTIO_MSG_EVENT_USED = 0x42,
};

/* Bus messages: header type has VIRTIO_MSG_TYPE_BUS set. */
enum virtio_msg_bus_id {
	VIRTIO_MSG_BUS_PING = 0x03,
	/* From 0x80 on: this bus's own (virtio-msg, "Bus Specific Messages"). */
	VIRTIO_GRANT_BUS_SET_VQ_CHANNEL = 0x80,
	VIRTIO_GRANT_BUS_ADD_POOL = 0x81,
	VIRTIO_GRANT_BUS_DROP_POOL = 0x82,
};

struct virtio_msg_device_info_resp {
	unsigned int device_id;
	unsigned int vendor_id;
	unsigned int num_feature_bits; /* a multiple of 32 */
	unsigned int config_size;      /* bytes */
	unsigned int max_vqs;
	unsigned short admin_vq_start;
	unsigned short admin_vq_count;
};

/* GET_DEVICE_FEATURES request; with the blocks behind it, its response and
 * SET_DRIVER_FEATURES. */
struct virtio_msg_features {
	unsigned int index; /* first block of 32 bits */
	unsigned int num;   /* blocks */
};

struct virtio_msg_get_config {
	unsigned int offset; /* bytes */
	unsigned int size;   /* bytes */
};

/* GET_CONFIG response, SET_CONFIG request and response; data follows. */
struct virtio_msg_config {
	unsigned int generation;
	unsigned int offset;
	unsigned int size; /* 0 in a SET_CONFIG response: refused */
};

struct virtio_msg_status {
	unsigned int status; /* VIRTIO_CONFIG_S_*; 0 in SET_DEVICE_STATUS: reset */
};

struct virtio_msg_vq_index {
	unsigned int index;
};

struct virtio_msg_vqueue {
	unsigned int index;
	unsigned int max_size; /* GET_VQUEUE response; 0: no such queue; MBZ in SET_VQUEUE */
	unsigned int size;
	unsigned int reserved; /* MBZ */
	unsigned long long descriptor_addr;
	unsigned long long driver_addr;
	unsigned long long device_addr;
};

struct virtio_msg_shm_resp {
	unsigned int index;
	unsigned int length; /* 0: no such region; always 0 on this bus */
	unsigned int address;
};

/* EVENT_CONFIG; data follows. */
struct virtio_msg_event_config {
	unsigned int status;
	unsigned int generation;
	unsigned int offset;
	unsigned int size;
};

struct virtio_msg_ping {
	unsigned int data;
};

/* VIRTIO_GRANT_BUS_SET_VQ_CHANNEL */
struct virtio_grant_vq_channel {
	unsigned int index;
	unsigned int port; /* the driver's, unbound, for the backend's domain; 0: none */
};

struct virtio_grant_vq_channel_resp {
	unsigned int index;
	unsigned int error; /* 0, or a positive Linux errno */
};

/* VIRTIO_GRANT_BUS_ADD_POOL, VIRTIO_GRANT_BUS_DROP_POOL */
struct virtio_grant_pool {
	unsigned int first_ref; /* references are consecutive */
	unsigned int pages;
};

struct virtio_grant_pool_resp {
	unsigned int first_ref;
	unsigned int error; /* 0, or a positive Linux errno */
};

#endif /* VIRTIO_GRANT_H */
