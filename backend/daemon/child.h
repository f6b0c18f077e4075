/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * child.h - a worker process and its device, as the supervisor sees them
 *
 * What a device of a Xen guest (node.c) and one on a vhost-user socket (sockets.c)
 * have in common: this program again as a process, a socket to it (ipc.h), the
 * record that it writes and `vgrant list` shows, `vgrant set` and `vgrant trace`,
 * and how long to wait before a worker that died is replaced. When to start and to
 * end it, and what its messages mean, its owner decides through struct vg_child_ops.
 */
#ifndef VG_CHILD_H
#define VG_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "backend/control/control.h"
#include "backend/worker/ipc.h"
#include "backend/base/loop.h"
#include "backend/ports/record.h"

struct vg_child;
struct vg_super;
struct vg_tracer;

/* Where a worker finds what it was started with. */
#define VG_CHILD_SOCK  3 /* its socket to the supervisor */
#define VG_CHILD_EXTRA 4 /* a second descriptor, for those that have one */

struct vg_child_ops {
	/* Fill in what only the owner knows: guest, domid, kind, id, state, origin, file. */
	void (*place)(const struct vg_child *c, struct vg_control_device *d);
	/* The worker said something that child.c does not answer itself. */
	void (*message)(struct vg_child *c, const struct vg_ipc *m);
	/* All that the worker had to say was handled; may free @c. NULL allowed. */
	void (*heard)(struct vg_child *c);
	/* The worker has ended with @status of waitpid(2); pid and sock are gone. May free @c. */
	void (*reaped)(struct vg_child *c, int status);
	/* set_key and set_value, in spec by now, were taken by the worker; NULL: nothing to do. */
	void (*setting_kept)(struct vg_child *c);
	/* `vgrant detach`. Return: 0, or negative errno with a sentence. */
	int (*detach)(struct vg_child *c, struct vg_err *err);
};

struct vg_child {
	const struct vg_child_ops *ops;
	struct vg_super *super;
	struct vg_child *next, **pprev; /* of super->children */
	char who[160];			/* for the log */
	char spec[VG_PARAMS_LEN];	/* "blk,target=..." */
	char device[32];		/* its name: first word of spec */
	pid_t pid;			/* 0: none */
	int sock;			/* -1: none */
	struct vg_watch watch;		/* of sock */
	int record_fd;			/* -1: none yet; the owner's to make, when it is OPENED */
	struct vg_err error;		/* for lists: why it does not work; "": it does */
	char detail[1024];		/* of the device's describe() */
	bool described;			/* since the list that is being made was asked for */
	unsigned restarts;
	unsigned delay_ms; /* before the next restart */
	int64_t since_ns;  /* the device is here */
	int64_t worker_since_ns;
	struct vg_control_req *set_req; /* a `vgrant set` that waits for the worker */
	char set_key[64], set_value[512];
	struct vg_tracer *tracers;
};

/**
 * vg_child_init - no process yet
 * @spec: the device's configuration; copied
 *
 * The owner fills in who.
 */
void vg_child_init(struct vg_child *c, const struct vg_child_ops *ops, struct vg_super *super,
		   const char *spec);

/** vg_child_fini - end the process, without waiting; answer what waits; forget */
void vg_child_fini(struct vg_child *c);

/** vg_child_set_spec - another configuration, for the next worker */
void vg_child_set_spec(struct vg_child *c, const char *spec);

/** vg_child_say - a line in the log that begins with whose it is */
void vg_child_say(const struct vg_child *c, enum vg_log_level level, const char *text);

/**
 * vg_child_start - a process, and SETUP to it
 * @role: its option: "--worker"
 * @domid: of its guest; 0 when it has none
 * @extra: a descriptor that it finds as VG_CHILD_EXTRA, or -1
 *
 * Return: 0, or negative errno.
 */
int vg_child_start(struct vg_child *c, const char *role, uint32_t domid, int extra);

/** vg_child_tell - a message; a worker that does not read is killed. @fd: passed along, or -1 */
void vg_child_tell(struct vg_child *c, const struct vg_ipc *m, int fd);
void vg_child_tell_type(struct vg_child *c, uint32_t type);

/** vg_child_end - ask the worker to end; the rest happens when it is reaped */
void vg_child_end(struct vg_child *c);

/** vg_child_reaped - waitpid(2) returned c->pid with @status: its last words, then ops->reaped */
void vg_child_reaped(struct vg_child *c, int status);

/** vg_child_explain - how a worker died that should not have, and what comes next */
void vg_child_explain(const struct vg_child *c, int status, char *text, size_t len);

/** vg_child_backoff - another worker is needed. Return: in how many milliseconds to start it. */
unsigned vg_child_backoff(struct vg_child *c);

/** vg_child_describe - ask for c->detail; c->described tells when it is there */
void vg_child_describe(struct vg_child *c);

/** vg_child_list - one more device to the answer of @req */
void vg_child_list(struct vg_child *c, struct vg_control_req *req);

/** vg_child_set - `vgrant set`: @req is answered when the worker has */
void vg_child_set(struct vg_child *c, struct vg_control_req *req, const char *key,
		  const char *value);

#endif /* VG_CHILD_H */
