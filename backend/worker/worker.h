/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * worker.h - what every process that is one device does
 *
 * On whatever port: open the device, enter the sandbox, turn the loop, answer the
 * supervisor's questions, tick. grant_worker.c and socket_worker.c are built on it.
 *
 *	vg_worker_open     the device, with privileges
 *	(the port)
 *	vg_worker_enter    isolate, threads, restrict, probe: see sandbox.h
 *	vg_worker_opened   to the supervisor: what the device is
 *	vg_worker_run      until somebody sets ending
 */
#ifndef VG_WORKER_H
#define VG_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/ports/record.h"
#include "backend/virtio/device.h"
#include "backend/worker/ipc.h"

struct vg_worker {
	int sock; /* to the supervisor; -1: there is none */
	int ask;  /* where descriptors are asked for: vg_worker_init() says sock; -1: nowhere */
	/* A message that is not answered here, QUIESCE and the supervisor's end (@m is NULL) among
	 * them. @fd came with it, or -1; stays the caller's. Between turns of the loop. */
	void (*heard)(struct vg_worker *w, const struct vg_ipc *m, int fd);
	/* Bring up to date what lists show, then call @done; before it is described. */
	void (*show)(struct vg_worker *w, struct vg_wait *done);
	bool ending; /* vg_worker_run() returns after this turn */

	/* private, but for reading */
	struct vg_loop *loop;
	struct vg_dev dev;
	bool opened;
	struct vg_params params;
	struct vg_record_map rec;
	struct vg_timer tick;  /* look() */
	bool told;	       /* of news */
	struct vg_watch watch; /* of sock */
	bool something;	       /* sock has something */
	struct vg_wait shown;
	struct vg_dev_lender lender;
	unsigned describing; /* times that the supervisor has asked and was not answered yet */
};

/** vg_worker_init - zero, and make the loop. Return: 0, or negative errno with a sentence. */
int vg_worker_init(struct vg_worker *w, int sock, struct vg_err *err);

/**
 * vg_worker_open - the device that @spec tells of, with its contexts; with privileges
 *
 * Return: 0, or negative errno with a sentence; then nothing is open.
 */
int vg_worker_open(struct vg_worker *w, const char *spec, struct vg_err *err);

/**
 * vg_worker_enter - drop privileges for good, give the device its threads, find out what it is
 * @port: what the port needs; NULL ends the list; at most 2
 *
 * Return: 0, or negative errno with a sentence; the process must end then.
 */
int vg_worker_enter(struct vg_worker *w, const struct vg_sandbox *sb,
		    const struct vg_sandbox_needs *const *port, struct vg_err *err);

/** vg_worker_opened - tell the supervisor what the device is */
void vg_worker_opened(struct vg_worker *w);

/** vg_worker_record - map the record in @fd. Return: whether it is there, for the first time. */
bool vg_worker_record(struct vg_worker *w, int fd);

/** vg_worker_reply - tell the supervisor, if there is one. @text: or NULL */
void vg_worker_reply(struct vg_worker *w, uint32_t type, int error, const char *text);

/** vg_worker_given - a GIVEN has come, with @fd, which stays the caller's, or -1; tell the device */
void vg_worker_given(struct vg_worker *w, const struct vg_ipc *m, int fd);

/** vg_worker_terminal - a TERMINAL or MEMORY has come, with @fd, which stays the caller's, or -1 */
void vg_worker_terminal(struct vg_worker *w, const struct vg_ipc *m, int fd);

/** vg_worker_hear - all that the supervisor has said so far; before the loop can be turned, too */
void vg_worker_hear(struct vg_worker *w);

/** vg_worker_run - turn the loop until w->ending. Return: 0, or negative errno of the loop. */
int vg_worker_run(struct vg_worker *w);

/** vg_worker_fini - close the device, whose port is closed, or was never made; free the loop */
void vg_worker_fini(struct vg_worker *w);

#endif /* VG_WORKER_H */
