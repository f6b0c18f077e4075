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

#include "backend/base/loop.h"
#include "backend/control/control.h"
#include "backend/daemon/cgroup.h"
#include "backend/daemon/settings.h"
#include "backend/daemon/terminals.h"
#include "backend/daemon/tidy.h"
#include "backend/daemon/tracer.h"
#include "backend/ports/record.h"
#include "backend/worker/ipc.h"

struct vg_child;
struct vg_process;

/* Where a worker finds what it was started with. */
#define VG_CHILD_SOCK  3 /* its socket to the supervisor */
#define VG_CHILD_EXTRA 4 /* a second descriptor, for those that have one */

#define VG_CHILD_WAIT_MS 50 /* for what is run after another worker */

/* All devices, and all processes: those of devices that are gone, but have not ended, among them. */
struct vg_children {
	struct vg_loop *loop;
	const struct vg_settings *settings;
	struct vg_sandbox sandbox; /* of a worker that belongs to no guest */
	uid_t uid_base; /* a guest's workers run as this plus its domain's number; 0: as in sandbox */
	struct vg_cgroup cgroup;
	struct vg_tidies tidies; /* what is run after workers */
	bool stopping;		 /* vg_children_stop() */
	struct vg_child *first;
	unsigned n; /* devices */
	struct vg_process *processes;
	/* A worker has described itself, or died. NULL allowed. */
	void (*described)(struct vg_children *all);
	void *described_ctx; /* the owner's */
};

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

/* Other processes of a device's, beside its worker: at most one of each. */
enum vg_seat { VG_SEAT_DISPLAY, VG_SEAT_RENDERER, VG_SEATS };

/* And one that it shares with other devices (cards.h), which has no parent, and its own word to say. */
enum { VG_SEAT_MONITOR = VG_SEATS, VG_WORDS };

#define VG_CHILD_BESIDE 200 /* bytes of what one has to say */

struct vg_child {
	const struct vg_child_ops *ops;
	struct vg_children *all;
	struct vg_child *parent; /* the worker that this one helps; NULL: it is a device's worker */
	struct vg_child *helper[VG_SEATS]; /* its other processes, whose parent it is; NULL: none */
	struct vg_child *next, **pprev;	   /* of all->first; not of one with a parent */
	char who[160];			   /* for the log */
	char spec[VG_PARAMS_LEN];	   /* "blk,target=..." */
	const char *program; /* that lies beside this one (beside.h); NULL: this one */
	char beside[VG_WORDS]
		   [VG_CHILD_BESIDE]; /* what they have to say, behind its detail; "": nothing */
	char device[32];	      /* its name: first word of spec */
	uint32_t virtio_id;	      /* as its worker says it, when it is open; 0: not yet */
	pid_t pid;		      /* 0: none */
	struct vg_process *process;   /* NULL: none */
	int sock;		      /* -1: none */
	struct vg_watch watch;	      /* of sock */
	struct vg_deferred more;      /* it has said something, or more than one turn should hear */
	int record_fd;		      /* -1: none yet; the owner's to make, when it is OPENED */
	struct vg_err error;	      /* for lists: why it does not work; "": it does */
	char detail[1024];	      /* of the device's describe() */
	char trouble[512];	      /* of its trouble(); "": none */
	bool described;		      /* since the list that is being made was asked for */
	unsigned asked;		      /* times that the worker has asked for a descriptor */
	unsigned restarts;
	unsigned delay_ms; /* before the next restart */
	int64_t since_ns;  /* the device is here */
	int64_t worker_since_ns;
	int64_t trouble_since_ns; /* vg_child_retry(); 0: there is none */
	unsigned retry_ms;
	/* A setting that waits for the worker: vg_child_set(). NULL: none. */
	void (*set_done)(void *ctx, int ret, struct vg_err *err);
	void *set_ctx;
	char set_key[64], set_value[512];
	struct vg_tracers tracers;
	struct vg_terminals terminals; /* until the device goes; of no helper */
};

/** vg_children_reap - waitpid(2) for all that have ended, and tell their owners; tidy up after them */
void vg_children_reap(struct vg_children *all);

/** vg_children_stop - end all processes; those that do not end in time are killed */
void vg_children_stop(struct vg_children *all);

/** vg_children_gone - no process is left */
bool vg_children_gone(const struct vg_children *all);

/**
 * vg_child_init - no process yet
 * @spec: the device's configuration; copied
 *
 * The owner fills in who.
 */
void vg_child_init(struct vg_child *c, const struct vg_child_ops *ops, struct vg_children *all,
		   const char *spec);

/**
 * vg_child_init_helper - another process of @parent's device (group.h): in no list, and no device
 * @seat: which is free
 * @name: of what it does, for the log
 */
void vg_child_init_helper(struct vg_child *c, const struct vg_child_ops *ops,
			  struct vg_child *parent, enum vg_seat seat, const char *name);

/** vg_child_init_alone - a process that is no device's: it is in no list. The owner fills in who. */
void vg_child_init_alone(struct vg_child *c, const struct vg_child_ops *ops,
			 struct vg_children *all, const char *spec);

/**
 * vg_child_fini - end the process, without waiting; answer what waits; forget
 *
 * A process that does not end is killed after some seconds, whether or not anybody still knows it.
 */
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
 * Return: 0; -EINVAL: a path in its configuration is none; -EINPROGRESS: what was run after its
 * predecessor has not ended: try again in VG_CHILD_WAIT_MS; or negative errno; all with a sentence.
 */
int vg_child_start(struct vg_child *c, const char *role, uint32_t domid, int extra,
		   struct vg_err *err);

/** vg_child_tell - a message; a worker that does not read is killed. @fd: passed along, or -1 */
void vg_child_tell(struct vg_child *c, const struct vg_ipc *m, int fd);
void vg_child_tell_type(struct vg_child *c, uint32_t type);

/**
 * vg_child_end - ask the worker to end; the rest happens when it is reaped
 *
 * It has some seconds, as after vg_child_hurry().
 */
void vg_child_end(struct vg_child *c);

/**
 * vg_child_hurry - the worker must answer, or end, within some seconds, or is killed
 *
 * xl gives a backend 10 s to close (libxl: LIBXL_DESTROY_TIMEOUT); a worker whose disk hangs is
 * killed before that.
 */
void vg_child_hurry(struct vg_child *c);

/** vg_child_calm - it has answered */
void vg_child_calm(struct vg_child *c);

/** vg_child_explain - how a worker died that should not have, and what comes next */
void vg_child_explain(const struct vg_child *c, int status, char *text, size_t len);

/** vg_child_backoff - another worker is needed. Return: in how many milliseconds to start it. */
unsigned vg_child_backoff(struct vg_child *c);

/**
 * vg_child_retry - there can be no worker now, because of @error: try again?
 * @live: somebody has the device: then it is tried for ever
 *
 * What nobody has yet is tried again for some seconds, and only for what passes by itself: an image
 * that udev looks at, or that a predecessor has not let go of; a moment without memory, descriptors
 * or processes.
 * Return: in how many milliseconds, or 0: no.
 */
unsigned vg_child_retry(struct vg_child *c, int error, bool live);

/** vg_child_opened - the trouble is over. Return: whether there was any. */
bool vg_child_opened(struct vg_child *c);

/** vg_child_describe - ask for c->detail; c->described tells when it is there */
void vg_child_describe(struct vg_child *c);

/** vg_child_list - one more device to the answer of @req */
void vg_child_list(struct vg_child *c, struct vg_control_req *req);

/**
 * vg_child_set - change a setting of a device that runs
 * @done: called once, with @ctx: 0, or negative errno and a sentence; from here when the worker cannot
 *	be asked
 */
void vg_child_set(struct vg_child *c, const char *key, const char *value,
		  void (*done)(void *ctx, int ret, struct vg_err *err), void *ctx);

#endif /* VG_CHILD_H */
