/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * context.h - where a queue lives: a loop, and a view of guest memory
 *
 * Context 0 is the main thread's: it has the control plane, and the queues of
 * group 0. Each further context has a thread of its own, which turns its loop and
 * does nothing else. What a context owns nobody else touches: what is meant for it
 * is sent there (vg_ctx_call(), on top of vg_loop_post(), the one call that crosses
 * threads).
 *
 * A loop is made by the main thread, with privileges; threads are made after
 * privileges are dropped, and before system calls are filtered (worker/sandbox.c).
 */
#ifndef VG_CONTEXT_H
#define VG_CONTEXT_H

#include <pthread.h>
#include <stdbool.h>

#include "backend/base/loop.h"

struct vg_mem;

/* Contexts of one device, at most: as many as it can have queues. */
#define VG_MAX_CONTEXTS 64

struct vg_ctx {
	unsigned index;	      /* 0: the main context */
	struct vg_loop *loop; /* its thread's */
	struct vg_mem *mem;   /* guest memory as this context sees it; the port's */
	pthread_t thread;
	bool has_thread;
	struct vg_post end;
	int64_t notify_ns; /* what a notification of the driver costs here, of late; 0: none was sent */
};

/* What vg_ctx_call() calls. Embed it, allocated: fn() frees it. */
struct vg_call {
	struct vg_post post;
	void (*fn)(struct vg_call *call);
};

/** vg_ctx_post - run @p in @ctx: from the main context, in that one now; else in a later turn */
void vg_ctx_post(struct vg_ctx *ctx, struct vg_post *p);

/** vg_ctx_call - call @call->fn(@call) in @ctx: from the main context, now; else in a later turn */
void vg_ctx_call(struct vg_ctx *ctx, struct vg_call *call);

/**
 * vg_ctx_start - give a context other than 0 its thread, which waits until the loop is enabled
 *
 * Return: 0, or negative errno of pthread_create(3).
 */
int vg_ctx_start(struct vg_ctx *ctx);

/** vg_ctx_end - end its thread, if there is one, and wait for that; nothing of it is under way */
void vg_ctx_end(struct vg_ctx *ctx);

#endif /* VG_CONTEXT_H */
