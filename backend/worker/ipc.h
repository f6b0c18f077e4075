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
 *	CAPTURE (with a socket for the packets)
 *	GIVEN (with a descriptor, or error)  <- ASK, at any time
 *	PEER (with a socket), again whenever the other process was replaced
 *	INPUT (with a socket), to a display: a keyboard or pointer of its guest's
 *	MEMORY (with a memfd), TERMINAL (each with its device's side), behind SETUP: daemon/terminals.h
 *	LOOK (with a socket), to a display: it is told once what a viewer is told (displays/display.h)
 *	VIEWER (with a socket), to a display: it is told all that a viewer is, and says what one says
 *	SCREEN (with that socket's other end) -> SCREEN_IS, to who shows guests on monitors, at any time;
 *	  without a socket: the screen is gone
 *	NEWS, at any time behind OPENED: its device looks at what it stands on (daemon/news.h), which
 *	  only this wakes it for from the first on
 *	QUIESCE                              -> (ends)
 *	                                        BROKEN, at any time
 *	                                        SHOWN, of a display, at any time
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

#include "backend/base/limits.h"
#include "backend/base/log.h"
#include "backend/base/params.h"
#include "backend/displays/place.h"
#include "backend/ports/record.h"
#include "backend/renderers/renderer.h"
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

	VG_IPC_GIVEN, /* error, given; without an error: with a descriptor */

	VG_IPC_CAPTURE, /* packets go to the descriptor that comes with it, see capture.h */
	VG_IPC_NEWS,

	VG_IPC_PEER =
		32,   /* peer, with a socket to another process of the device's (daemon/group.h) */
	VG_IPC_INPUT, /* with a socket to a device that takes keys and pointers */
	VG_IPC_LOOK,  /* look, with a socket to who looks */
	VG_IPC_TERMINAL, /* terminal, with the device's side of it */
	VG_IPC_MEMORY,	 /* with memory that outlives the worker */
	VG_IPC_VIEWER,	 /* look, with a socket to who looks */
	VG_IPC_SCREEN,	 /* screen, with a socket to its display; without one, it is gone */
	VG_IPC_CONTROL,	 /* with a client's end of the control socket */

	VG_IPC_OPENED = 64,
	VG_IPC_FAILED, /* error, text */
	VG_IPC_CONNECTED,
	VG_IPC_REFUSED, /* error, text */
	VG_IPC_DISCONNECTED,
	VG_IPC_DESCRIPTION, /* text */
	VG_IPC_SET_DONE,    /* error, text */
	VG_IPC_BROKEN,	    /* text: the guest broke the control page */
	VG_IPC_ASK,	    /* asked: its device's configuration must allow it */
	VG_IPC_SHOWN,	    /* shown: where a display can be looked at */
	VG_IPC_SCREEN_IS,   /* screen_is: where a screen is seen, or why not */
	VG_IPC_TROUBLE,	    /* text, "": none; before the DESCRIPTION, of devices that tell it */
	VG_IPC_RESIZED,	    /* text: to what; for who hears of events */
};

/* Both ends are of one program, which may be replaced while it runs: who speaks another version is
 * not understood. To be raised with every change of struct vg_ipc. */
#define VG_IPC_VERSION 8u

#define VG_SCREEN_TEXT 200 /* bytes of what is said of a screen */

#define VG_IPC_FDS 4u /* descriptors that one packet brings, at most */

struct vg_ipc {
	uint32_t version; /* vg_ipc_send()'s to set */
	uint32_t type;	  /* enum vg_ipc_type */
	int32_t error;	  /* 0 or negative errno */
	union {
		struct {
			uint32_t domid;
			uint32_t log_target, log_level;
			struct vg_sandbox sandbox;
			struct vg_budget budget;
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
		struct {		/* ASK */
			uint32_t write; /* bool; of a file */
			char what[1024];
		} asked;
		struct {		 /* GIVEN */
			char what[1024]; /* as it was asked for */
			char why[256];
		} given;
		struct { /* LOOK, VIEWER */
			uint32_t head;
		} look;
		struct {	     /* SCREEN */
			uint32_t id; /* for good: no other has it, before or after */
			uint32_t head;
			struct vg_place_of_head place;
		} screen;
		struct { /* SCREEN_IS */
			uint32_t id;
			char text[VG_SCREEN_TEXT]; /* for people */
		} screen_is;
		struct { /* TERMINAL */
			uint32_t index;
		} terminal;
		struct {		/* PEER; OPENED of a renderer: the second alone */
			uint32_t draws; /* bool: it is a renderer */
			struct vg_render_capsets capsets;
		} peer;
		struct {	       /* SHOWN */
			uint32_t port; /* 0: none of TCP */
			uint32_t viewers;
			char where[120]; /* "": nowhere */
		} shown;
		char text[1024];
	};
};

/**
 * vg_ipc_send - one packet
 * @fd_to_pass: a descriptor to hand over, or -1
 *
 * Return: 0; -EAGAIN: the peer does not read; other negative errno: it is gone.
 */
int vg_ipc_send(int sock, const struct vg_ipc *m, int fd_to_pass);

/** vg_ipc_send_fds - the same with @n descriptors, at most VG_IPC_FDS */
int vg_ipc_send_fds(int sock, const struct vg_ipc *m, const int *fds, unsigned n);

/**
 * vg_ipc_recv - one packet, texts terminated
 * @fd_passed: gets a passed descriptor (owned by the caller) or -1; NULL: such are closed
 *
 * Return: 1; 0: the peer closed; -EAGAIN: nothing there; -EPROTO: not a packet of this kind.
 */
int vg_ipc_recv(int sock, struct vg_ipc *m, int *fd_passed);

/**
 * vg_ipc_recv_fds - the same
 * @fds: gets VG_IPC_FDS descriptors, owned by the caller; -1 for each that did not come
 */
int vg_ipc_recv_fds(int sock, struct vg_ipc *m, int fds[VG_IPC_FDS]);

/** vg_ipc_ask - of a worker: ask for a descriptor, see vg_dev_ask(). Return: of vg_ipc_send(). */
int vg_ipc_ask(int sock, const char *what, bool write);

/**
 * vg_ipc_open_file - of a worker in its sandbox: have the supervisor open a file, and wait for it
 * @name: the file's path, which the supervisor's device table must allow (vg_device_ops.may_open)
 * @other: called with what else the supervisor says meanwhile; @fd stays the callee's to close
 *
 * For probe(), before the device is OPENED. Return: a descriptor, the caller's; or negative errno
 * with a sentence; -EPIPE: the supervisor is gone.
 */
int vg_ipc_open_file(int sock, const char *name, bool write,
		     void (*other)(void *owner, const struct vg_ipc *m, int fd), void *owner,
		     struct vg_err *err);

/**
 * vg_ipc_answer - of the supervisor: answer an ASK
 * @worker: who asks
 * @spec: the configuration of the device that asks, which decides
 *
 * Of files it opens regular ones and block devices alone. Of a regular one the worker may write as much
 * as there is: its limit of file sizes is raised to that. Return: of vg_ipc_send().
 */
int vg_ipc_answer(int sock, pid_t worker, const char *spec, const struct vg_ipc *m);

#endif /* VG_IPC_H */
