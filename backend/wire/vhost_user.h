/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_user.h - vhost-user messages: their form, reading, writing
 *
 * "Spec" below is QEMU's docs/interop/vhost-user.rst. Numbers are in the host's
 * byte order. Nothing here knows whether this process is a back-end or a
 * front-end: both channels, requests and replies, are described by the same
 * tables, so that the gateway (we as the front-end of a foreign daemon) reads
 * and writes through the same code as the port.
 *
 * A stream socket carries the messages, so a message can arrive in any number
 * of pieces, and the peer can vanish after any byte. struct vg_vu_reader holds
 * what has come of one message; descriptors come with one of its bytes.
 */
#ifndef VG_VHOST_USER_MSG_H
#define VG_VHOST_USER_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"

/* Spec, "Front-end message types": requests on the main channel. */
enum vg_vu_request {
	VG_VU_GET_FEATURES = 1,
	VG_VU_SET_FEATURES = 2,
	VG_VU_SET_OWNER = 3,
	VG_VU_RESET_OWNER = 4,
	VG_VU_SET_MEM_TABLE = 5,
	VG_VU_SET_VRING_NUM = 8,
	VG_VU_SET_VRING_ADDR = 9,
	VG_VU_SET_VRING_BASE = 10,
	VG_VU_GET_VRING_BASE = 11,
	VG_VU_SET_VRING_KICK = 12,
	VG_VU_SET_VRING_CALL = 13,
	VG_VU_SET_VRING_ERR = 14,
	VG_VU_GET_PROTOCOL_FEATURES = 15,
	VG_VU_SET_PROTOCOL_FEATURES = 16,
	VG_VU_GET_QUEUE_NUM = 17,
	VG_VU_SET_VRING_ENABLE = 18,
	VG_VU_SET_BACKEND_REQ_FD = 21,
	VG_VU_GET_CONFIG = 24,
	VG_VU_SET_CONFIG = 25,
	VG_VU_GET_INFLIGHT_FD = 31,
	VG_VU_SET_INFLIGHT_FD = 32,
	VG_VU_GPU_SET_SOCKET = 33,
	VG_VU_RESET_DEVICE = 34,
	VG_VU_VRING_KICK = 35,
	VG_VU_GET_MAX_MEM_SLOTS = 36,
	VG_VU_ADD_MEM_REG = 37,
	VG_VU_REM_MEM_REG = 38,
	VG_VU_SET_STATUS = 39,
	VG_VU_GET_STATUS = 40,
	VG_VU_REQUESTS, /* one more than the largest that has a row */
};

/* Spec, "Back-end message types": requests on the back-end's channel. */
enum vg_vu_back_request {
	VG_VU_BACK_CONFIG_CHANGE = 2,
	VG_VU_BACK_VRING_CALL = 4,
	VG_VU_BACK_VRING_ERR = 5,
	VG_VU_BACK_REQUESTS,
};

/* Spec, "Protocol features": bit numbers. */
#define VG_VU_PF_MQ		     0
#define VG_VU_PF_REPLY_ACK	     3
#define VG_VU_PF_BACKEND_REQ	     5
#define VG_VU_PF_CONFIG		     9
#define VG_VU_PF_INFLIGHT_SHMFD	     12
#define VG_VU_PF_RESET_DEVICE	     13
#define VG_VU_PF_INBAND		     14
#define VG_VU_PF_CONFIGURE_MEM_SLOTS 15
#define VG_VU_PF_STATUS		     16
#define VG_VU_PF_XEN_MMAP	     17

/* Feature bit that says that protocol features are understood. */
#define VG_VU_F_PROTOCOL_FEATURES 30

/* Spec, "Header": bits of flags */
#define VG_VU_VERSION	   1u
#define VG_VU_VERSION_MASK 3u
#define VG_VU_REPLY	   4u
#define VG_VU_NEED_REPLY   8u

/* SET_VRING_KICK, _CALL, _ERR: the queue, and "no descriptor comes with this". */
#define VG_VU_RING_INDEX 0xffu
#define VG_VU_RING_NO_FD 0x100u

/* XEN_MMAP: flags of a region. The specification says "bit 8" for the third, vm-memory's code,
 * which every rust-vmm front-end uses, has the value 8: both are understood. */
#define VG_VU_XEN_FOREIGN    0x1u
#define VG_VU_XEN_GRANT	     0x2u
#define VG_VU_XEN_NO_ADVANCE 0x108u

#define VG_VU_CONFIG_MIGRATION 1u /* flags of SET_CONFIG */

/* Regions of one SET_MEM_TABLE. The specification has 8; rust-vmm front-ends send up to 32. */
#define VG_VU_TABLE_MAX 32u
#define VG_VU_FDS_MAX	VG_VU_TABLE_MAX
/* Largest part of a configuration space that can be asked for; a device's is far smaller, but the
 * front-end chooses what it reads. */
#define VG_VU_CONFIG_MAX  4096u
#define VG_VU_PAYLOAD_MAX (VG_VU_CONFIG_MAX + 12u)

struct vg_vu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* bytes of payload */
};

struct vg_vu_state {
	uint32_t index; /* of the queue */
	uint32_t num;
};

struct vg_vu_addr {
	uint32_t index;
	uint32_t flags; /* bit 0: log; we do not offer it */
	uint64_t desc;	/* user addresses */
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct vg_vu_region {
	uint64_t guest;	    /* guest address of its first byte */
	uint64_t size;	    /* bytes */
	uint64_t user;	    /* the front-end's own address of its first byte */
	uint64_t offset;    /* in the descriptor's file */
	uint32_t xen_flags; /* on the wire only with XEN_MMAP */
	uint32_t xen_domid;
};

#define VG_VU_REGION_SIZE     32u /* bytes on the wire */
#define VG_VU_REGION_SIZE_XEN 40u

struct vg_vu_table {
	uint32_t n;
	uint32_t padding;
	uint8_t regions[VG_VU_TABLE_MAX * VG_VU_REGION_SIZE_XEN]; /* vg_vu_table_region() */
};

struct vg_vu_single {
	uint64_t padding;
	uint8_t region[VG_VU_REGION_SIZE_XEN];
};

struct vg_vu_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t data[VG_VU_CONFIG_MAX];
};

/* 20 bytes; C front-ends send 24, with padding. */
struct vg_vu_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
	uint32_t padding;
};

struct vg_vu_msg {
	struct vg_vu_header hdr;
	union {
		uint64_t u64;
		struct vg_vu_state state;
		struct vg_vu_addr addr;
		struct vg_vu_table table;
		struct vg_vu_single one;
		struct vg_vu_config config;
		struct vg_vu_inflight inflight;
		uint8_t bytes[VG_VU_PAYLOAD_MAX];
	};
	unsigned n_fds;
	int fds[VG_VU_FDS_MAX]; /* -1: was taken */
};

enum vg_vu_kind {
	VG_VU_MAIN_REQUEST, /* front-end to back-end */
	VG_VU_MAIN_REPLY,
	VG_VU_BACK_REQUEST, /* back-end to front-end, on its own channel */
	VG_VU_BACK_REPLY,
};

/** vg_vu_name - a request's name in the specification, or "unknown" */
const char *vg_vu_name(enum vg_vu_kind kind, uint32_t request);

/**
 * vg_vu_check - is @m a message of this kind, of the size and with the descriptors that it needs?
 * @xen: XEN_MMAP was negotiated
 *
 * Values are not judged, but what counts elements of the message itself is.
 * Return: 0; -EPROTO, or -EOPNOTSUPP: there is no such request. A sentence goes to @err.
 */
int vg_vu_check(const struct vg_vu_msg *m, enum vg_vu_kind kind, bool xen, struct vg_err *err);

/** vg_vu_has_reply - whether the specification gives this main request a reply of its own */
bool vg_vu_has_reply(uint32_t request);

/** vg_vu_table_region - region @i of a checked SET_MEM_TABLE */
void vg_vu_table_region(const struct vg_vu_msg *m, unsigned i, bool xen, struct vg_vu_region *out);

/** vg_vu_single_region - the region of a checked ADD_MEM_REG or REM_MEM_REG */
void vg_vu_single_region(const struct vg_vu_msg *m, bool xen, struct vg_vu_region *out);

/** vg_vu_take_fd - descriptor @i of @m, the caller's from now on; -1: there is none */
int vg_vu_take_fd(struct vg_vu_msg *m, unsigned i);

/** vg_vu_drop_fds - close what was not taken */
void vg_vu_drop_fds(struct vg_vu_msg *m);

/* ---- on a socket -------------------------------------------------------- */

struct vg_vu_reader {
	size_t got; /* bytes of msg, header first */
	bool whole; /* msg was handed out: whatever its owner made of it, the next one begins anew */
	struct vg_vu_msg msg; /* the reader of it may write to it; until the next vg_vu_read() */
};

/** vg_vu_reader_init - nothing has come yet */
void vg_vu_reader_init(struct vg_vu_reader *r);

/** vg_vu_reader_fini - close descriptors of a message that never became whole */
void vg_vu_reader_fini(struct vg_vu_reader *r);

/**
 * vg_vu_read - take in one message, or a part of it; never waits
 *
 * Descriptors of the previous message that were not taken are closed first.
 * Return: 1: @r->msg is whole, though not checked; 0: the peer has closed, between two messages;
 * -EAGAIN: more has to come; -EPROTO: not vhost-user, or more descriptors or bytes than any message
 * has; -ECONNRESET: the peer vanished inside a message; another errno of recvmsg(2).
 */
int vg_vu_read(struct vg_vu_reader *r, int sock);

/**
 * vg_vu_send - send @m with its descriptors, which stay the caller's; never waits
 *
 * Return: 0; -EAGAIN: the peer does not read, nothing was sent; -EPIPE and others: it is gone, or
 * took only a part (the channel is then of no more use).
 */
int vg_vu_send(int sock, const struct vg_vu_msg *m);

/** vg_vu_send_u64 - a message with one number; @flags besides the version */
int vg_vu_send_u64(int sock, uint32_t request, uint32_t flags, uint64_t value);

#endif /* VG_VHOST_USER_MSG_H */
