/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * socket_worker.h - the process that holds one device and serves it on a vhost-user socket
 *
 * What worker.h is for a Xen guest's device: opens everything with privileges,
 * enters the same sandbox, and only then hears the first front-end. Its parent is
 * vgrantd, which speaks ipc.h with it, or vgrant-vhost-user, which does not.
 */
#ifndef VG_SOCKET_WORKER_H
#define VG_SOCKET_WORKER_H

#include <stdbool.h>

#include "backend/base/log.h"
#include "backend/worker/sandbox.h"

struct vg_socket_worker_config {
	const char *spec; /* "blk,target=/disk.img" */
	int listen;	  /* front-ends connect here, one after the other; -1: none */
	int conn; /* a front-end that is there already; -1: none. When it is gone, so are we. */
	/* A socket of ipc.h's packets: ends when it is closed at its other end, which answers ASK, and
	 * says nothing else; -1: none */
	int life;
	int ipc; /* the supervisor's socket; ends when that is closed; -1: none */
	bool in_band, no_packed, xen; /* vhost_user.h: struct vg_vu_options */
	struct vg_sandbox sandbox;
	size_t bounce_bytes; /* bounce memory, at most; 0: what limits.h allows */
};

/**
 * vg_socket_worker_run - be the worker until @life ends or there is nobody left to serve
 *
 * Return: 0; 1: the one front-end of @conn is gone; 2: a front-end is gone, and the next one is for
 * another process, this one's handles are its guest's; or negative errno with a sentence: the device
 * could not be opened.
 */
int vg_socket_worker_run(const struct vg_socket_worker_config *config, struct vg_err *err);

/**
 * vg_socket_worker_main - be vgrantd's worker for one socket
 * @sock: the socket to the supervisor, which sends SETUP on it
 * @listen: where front-ends connect
 *
 * Return: the process's exit status.
 */
int vg_socket_worker_main(int sock, int listen);

#endif /* VG_SOCKET_WORKER_H */
