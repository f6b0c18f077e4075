/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * group.h - a device that needs a second process: who waits for whom, and who restarts whom
 *
 * A display that clients of VNC stay connected to, a renderer that runs a guest's shaders, a daemon
 * of others behind a gateway: each is a *helper* of the device's worker, a process of its own with a
 * sandbox of its own. What becomes of one when the other dies is a property of its kind, a row of
 * vg_group_policies[].
 *
 * Both get a socket to each other by VG_IPC_PEER once both are open, and a new one whenever one of
 * them was replaced; the old one is closed at the other end then.
 *
 * The worker is the owner's (node.c, sockets.c), which starts it when vg_group_with(), or later
 * vg_group_may_start(), says so, and tells the group what became of it.
 */
#ifndef VG_GROUP_H
#define VG_GROUP_H

#include <stdbool.h>

#include "backend/daemon/child.h"

enum vg_group_act {
	VG_GROUP_ALONE, /* who died is started again; the other goes on, with a new peer */
	VG_GROUP_BOTH, /* what one knows is of no use without the other: it is ended, and both begin anew */
};

struct vg_group_policy {
	const char *name;    /* of the kind, for people; NULL ends the table */
	const char *role;    /* option of the helper's process */
	const char *program; /* that it is, beside vgrantd; NULL: vgrantd itself */
	enum vg_seat seat;   /* beside the worker: one of each */
	bool first;	     /* the worker is started when the helper is open, or cannot be */
	bool needed;	     /* and not when it cannot be */
	enum vg_group_act helper_died, worker_died;
};

extern const struct vg_group_policy vg_group_policies[];

/** vg_group_policy - by name, or NULL */
const struct vg_group_policy *vg_group_policy(const char *name);

struct vg_group;

struct vg_group_ops {
	/* vg_group_may_start() may say something else than before. */
	void (*changed)(struct vg_group *g);
	/* The worker is to end, for VG_GROUP_BOTH; vg_group_worker_gone() when it has. */
	void (*end_worker)(struct vg_group *g);
	/* A display can be looked at, as @m (VG_IPC_SHOWN) says. NULL: nobody wants to know. */
	void (*shown)(struct vg_group *g, const struct vg_ipc *m);
};

struct vg_group {
	const struct vg_group_ops *ops;
	const struct vg_group_policy *policy; /* NULL: there is no helper */
	struct vg_child *worker;	      /* the owner's */
	uint32_t domid;
	struct vg_child helper;
	struct vg_timer timer; /* before the helper is started again */
	bool helper_open, worker_open;
	bool failed; /* there is none, for now: the worker does not wait for it */
	struct vg_render_capsets capsets; /* of a renderer */
	bool anew;			  /* both are to be gone before either is started */
};

/**
 * vg_group_init - no process yet
 * @worker: initialised; outlives the group
 * @domid: of the device's guest; 0 when it has none
 */
void vg_group_init(struct vg_group *g, const struct vg_group_ops *ops,
		   const struct vg_group_policy *policy, struct vg_child *worker, uint32_t domid);

/**
 * vg_group_wanted - which processes a device of @spec needs beside its worker
 * @policy: by their seat; NULL: none there
 */
void vg_group_wanted(const char *spec, const struct vg_group_policy *policy[VG_SEATS]);

/**
 * vg_group_with - the worker is to be started: the helper of @policy first, or none
 * @g: initialised, or all zero; one of another policy is ended
 * @policy: NULL: it needs nobody
 * @ops, @worker, @domid: as in vg_group_init()
 *
 * Return: whether the worker may start now. If not, ops->changed() says when to ask again.
 */
bool vg_group_with(struct vg_group *g, const struct vg_group_ops *ops,
		   const struct vg_group_policy *policy, struct vg_child *worker, uint32_t domid);

/** vg_group_start - start the helper, unless it runs or is about to */
void vg_group_start(struct vg_group *g);

/** vg_group_may_start - may the worker be started now? */
bool vg_group_may_start(const struct vg_group *g);

/** vg_group_lacks - why the worker may not be started, when its helper cannot be; else NULL */
const char *vg_group_lacks(const struct vg_group *g);

/* These four do nothing where there is no helper. */

/** vg_group_again - the worker's configuration is another one: so is the next helper's */
void vg_group_again(struct vg_group *g);

/** vg_group_worker_opened - the worker has said OPENED */
void vg_group_worker_opened(struct vg_group *g);

/** vg_group_worker_gone - the worker has ended, for whatever reason */
void vg_group_worker_gone(struct vg_group *g);

/** vg_group_fini - end the helper, without waiting; forget */
void vg_group_fini(struct vg_group *g);

#endif /* VG_GROUP_H */
