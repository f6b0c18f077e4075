/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vu_front.h - a bare vhost-user front-end, for tests and benchmarks
 *
 * Theory of operation
 * -------------------
 * It speaks to a back-end over a socket (QEMU docs/interop/vhost-user.rst) and
 * drives its queues with vring.h. Messages are written from the specification,
 * byte by byte, not with the back-end's own code, so that the two check each
 * other; and a test can send whatever it likes.
 *
 * Guest memory is one memfd, at a guest address and at a "user" address that
 * need not be where it is mapped: the back-end must go by the regions alone.
 *
 * The back-end may be in this very thread: what would wait calls idle() until
 * there is something.
 */
#ifndef DRV_VU_FRONT_H
#define DRV_VU_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/driver/vblk.h"
#include "tests/driver/vring.h"

#define VUF_QUEUES 4

/* The requests and bits that front-ends use, by the specification's numbers. */
enum {
	VUF_GET_FEATURES = 1,
	VUF_SET_FEATURES = 2,
	VUF_SET_OWNER = 3,
	VUF_SET_MEM_TABLE = 5,
	VUF_SET_VRING_NUM = 8,
	VUF_SET_VRING_ADDR = 9,
	VUF_SET_VRING_BASE = 10,
	VUF_GET_VRING_BASE = 11,
	VUF_SET_VRING_KICK = 12,
	VUF_SET_VRING_CALL = 13,
	VUF_SET_VRING_ERR = 14,
	VUF_GET_PROTOCOL_FEATURES = 15,
	VUF_SET_PROTOCOL_FEATURES = 16,
	VUF_GET_QUEUE_NUM = 17,
	VUF_SET_VRING_ENABLE = 18,
	VUF_SET_BACKEND_REQ_FD = 21,
	VUF_GET_CONFIG = 24,
	VUF_SET_CONFIG = 25,
	VUF_GET_INFLIGHT_FD = 31,
	VUF_SET_INFLIGHT_FD = 32,
	VUF_RESET_DEVICE = 34,
	VUF_VRING_KICK = 35,
	VUF_GET_MAX_MEM_SLOTS = 36,
	VUF_ADD_MEM_REG = 37,
	VUF_REM_MEM_REG = 38,
	VUF_SET_STATUS = 39,
	VUF_GET_STATUS = 40,

	VUF_NEED_REPLY = 8,
	VUF_PAYLOAD_MAX = 8192,
};

#define VUF_F_PROTOCOL (1ull << 30)
#define VUF_F_EVENT    (1ull << 29)
#define VUF_F_INDIRECT (1ull << 28)
#define VUF_F_VERSION1 (1ull << 32)
#define VUF_F_PACKED   (1ull << 34)

#define VUF_P_MQ       (1ull << 0)
#define VUF_P_ACK      (1ull << 3)
#define VUF_P_BACKEND  (1ull << 5)
#define VUF_P_CONFIG   (1ull << 9)
#define VUF_P_INFLIGHT (1ull << 12)
#define VUF_P_RESET    (1ull << 13)
#define VUF_P_INBAND   (1ull << 14)
#define VUF_P_SLOTS    (1ull << 15)
#define VUF_P_STATUS   (1ull << 16)
#define VUF_P_XEN      (1ull << 17)

/** struct vuf_region - as on the wire, without XEN_MMAP's fields */
struct vuf_region {
	uint64_t guest, size, user, offset;
};

/** struct vuf_msg - what was received */
struct vuf_msg {
	uint32_t request, flags, size;
	uint8_t payload[VUF_PAYLOAD_MAX];
	int fd; /* the first that came with it, the caller's; or -1 */
};

struct vuf_queue {
	struct vuf *f;
	unsigned q;
	struct drv_vring vr;
	struct drv_blk blk; /* requests on it */
	int kick, call;	    /* eventfds */
};

struct vuf {
	int sock;
	int memfd;
	uint8_t *mem;
	size_t len;
	uint64_t guest, user; /* addresses of its first byte */
	struct drv_mem_flat flat;
	uint64_t offered, features; /* features: also what vuf_negotiate() asks for */
	uint64_t poffered, protocol;
	bool ack; /* ask for an acknowledgement of each request, once negotiated */
	struct vuf_queue queue[VUF_QUEUES];
	void (*idle)(void *ctx); /* called while waiting; NULL: sleep */
	void *ctx;
};

/**
 * vuf_init() - a front-end with memory, on a connected socket
 * @sock: its from now on
 * @len: bytes of guest memory
 * @guest, @user: its addresses
 *
 * Return: 0 or negative errno.
 */
int vuf_init(struct vuf *f, int sock, size_t len, uint64_t guest, uint64_t user);

/** vuf_fini() - hang up, free all */
void vuf_fini(struct vuf *f);

/** vuf_send() - any message; Return: 0 or negative errno */
int vuf_send(struct vuf *f, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
	     const int *fds, unsigned n_fds);

/** vuf_recv() - one message from @sock, waiting up to 5 s; Return: 1, 0: closed, or negative errno */
int vuf_recv(struct vuf *f, int sock, struct vuf_msg *m);

/**
 * vuf_do() - a request without a reply of its own
 *
 * Return: 0; with f->ack what the back-end said: 0, or -EREMOTEIO when refused; -EPIPE: it hung up.
 */
int vuf_do(struct vuf *f, uint32_t request, const void *payload, uint32_t size, int fd);
int vuf_do_u64(struct vuf *f, uint32_t request, uint64_t value, int fd);
int vuf_do_state(struct vuf *f, uint32_t request, uint32_t index, uint32_t num);

/** vuf_get_u64() - a request whose reply is a number; Return: 0 or negative errno */
int vuf_get_u64(struct vuf *f, uint32_t request, uint64_t *value);

/** vuf_get_base() - GET_VRING_BASE */
int vuf_get_base(struct vuf *f, uint32_t q, uint32_t *num);

/** vuf_config() - GET_CONFIG; Return: bytes of config in the reply, or negative errno */
int vuf_config(struct vuf *f, uint32_t offset, uint32_t size, void *data);

/** vuf_negotiate() - owner, features, protocol features: f->features and f->protocol, as offered */
int vuf_negotiate(struct vuf *f);

/** vuf_share() - SET_MEM_TABLE of the one region */
int vuf_share(struct vuf *f);

/** vuf_region() - the one region */
struct vuf_region vuf_region(const struct vuf *f);

/** vuf_queue_init() - make ring and eventfds; the back-end hears nothing of it */
int vuf_queue_init(struct vuf *f, unsigned q, unsigned size);

/** vuf_queue_tell() - NUM, BASE, ADDR, CALL, KICK and (with bit 30) ENABLE of a queue */
int vuf_queue_tell(struct vuf *f, unsigned q, uint32_t base);

/** vuf_addr() - SET_VRING_ADDR of a queue */
int vuf_addr(struct vuf *f, unsigned q);

/** vuf_user() - user address of a guest address */
uint64_t vuf_user(const struct vuf *f, uint64_t guest);

#endif /* DRV_VU_FRONT_H */
