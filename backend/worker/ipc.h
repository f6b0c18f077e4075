/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ipc.h - between the supervisor and a worker
 *
 * A SOCK_SEQPACKET pair; each packet is one struct vg_ipc. The supervisor tells,
 * the worker answers. A worker that ends, for whatever reason, closes its end.
 *
 *	SETUP                                -> OPENED | FAILED
 *	RECORD (with its descriptor)
 *	CONNECT                              -> CONNECTED | REFUSED
 *	DISCONNECT                           -> DISCONNECTED
 *	DESCRIBE                             -> DESCRIPTION
 *	SET                                  -> SET_DONE
 *	TRACE (with a socket for the lines)
 *	QUIESCE                              -> (ends)
 *	                                        BROKEN, at any time
 *
 * The record (record.h) is made when the worker has told its shape.
 *
 * A worker on a vhost-user socket, which has that as another descriptor, is not told
 * to connect: CONNECTED and DISCONNECTED say that a front-end came, and went.
 */
#ifndef VG_IPC_H
#define VG_IPC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "backend/base/log.h"
#include "backend/base/params.h"
#include "backend/ports/record.h"
#include "backend/worker/sandbox.h"

enum vg_ipc_type {
	VG_IPC_SETUP = 1,
	VG_IPC_CONNECT,
	VG_IPC_DISCONNECT,
	VG_IPC_DESCRIBE,
	VG_IPC_SET,
	VG_IPC_QUIESCE,
	VG_IPC_RECORD, /* with the record's descriptor */
	VG_IPC_TRACE,  /* lines go to the descriptor that comes with it, see trace.h */

	VG_IPC_OPENED = 64,
	VG_IPC_FAILED, /* error, text */
	VG_IPC_CONNECTED,
	VG_IPC_REFUSED, /* error, text */
	VG_IPC_DISCONNECTED,
	VG_IPC_DESCRIPTION, /* text */
	VG_IPC_SET_DONE,    /* error, text */
	VG_IPC_BROKEN,	    /* text: the guest broke the control page */
};

struct vg_ipc {
	uint32_t type; /* enum vg_ipc_type */
	int32_t error; /* 0 or negative errno */
	union {
		struct {
			uint32_t domid;
			uint32_t log_target, log_level;
			struct vg_sandbox sandbox;
			char who[160];		  /* for the log */
			char spec[VG_PARAMS_LEN]; /* "blk,target=..." */
		} setup;
		struct {
			uint32_t control_ref, channel;
			uint32_t resume; /* bool */
		} connect;
		struct { /* OPENED */
			uint32_t virtio_id;
			struct vg_record_shape shape;
		} opened;
		struct { /* SET */
			char key[64];
			char value[512];
		} set;
		char text[256];
	};
};

/**
 * vg_ipc_send - one packet
 * @fd_to_pass: a descriptor to hand over, or -1
 *
 * Return: 0; -EAGAIN: the peer does not read; other negative errno: it is gone.
 */
int vg_ipc_send(int sock, const struct vg_ipc *m, int fd_to_pass);

/**
 * vg_ipc_recv - one packet, texts terminated
 * @fd_passed: gets a passed descriptor (owned by the caller) or -1; NULL: such are closed
 *
 * Return: 1; 0: the peer closed; -EAGAIN: nothing there; -EPROTO: not a packet of this kind.
 */
int vg_ipc_recv(int sock, struct vg_ipc *m, int *fd_passed);

#endif /* VG_IPC_H */
