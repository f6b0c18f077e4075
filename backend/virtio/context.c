// SPDX-License-Identifier: GPL-2.0-or-later
/* context.c - see context.h */
#include "backend/virtio/context.h"

#include <semaphore.h>
#include <signal.h>

#include "backend/base/container.h"

void vg_ctx_post(struct vg_ctx *ctx, struct vg_post *p)
{
	if (ctx->index == 0)
		p->run(p);
	else
		vg_loop_post(ctx->loop, p);
}

static void call(struct vg_post *p)
{
	struct vg_call *c = container_of(p, struct vg_call, post);

	c->fn(c);
}

void vg_ctx_call(struct vg_ctx *ctx, struct vg_call *c)
{
	c->post.run = call;
	vg_ctx_post(ctx, &c->post);
}

struct start {
	struct vg_ctx *ctx;
	sem_t running;
};

static void *turn(void *arg)
{
	struct start *start = arg;
	struct vg_ctx *ctx = start->ctx;

	sem_post(&start->running);
	vg_loop_run(ctx->loop);
	return NULL;
}

int vg_ctx_start(struct vg_ctx *ctx)
{
	struct start start = { .ctx = ctx };
	sigset_t all, before;
	int ret;

	/* Signals are the main thread's; those that a fault raises come to whom it happens anyway. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	sem_init(&start.running, 0, 0);
	ret = pthread_create(&ctx->thread, NULL, turn, &start);
	/* What the C library does first in a thread, no sandbox allows. No signal comes. */
	if (ret == 0)
		sem_wait(&start.running);
	sem_destroy(&start.running);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	ctx->has_thread = ret == 0;
	return -ret;
}

static void end(struct vg_post *p)
{
	vg_loop_stop(container_of(p, struct vg_ctx, end)->loop);
}

void vg_ctx_end(struct vg_ctx *ctx)
{
	if (!ctx->has_thread)
		return;
	ctx->end.run = end;
	vg_loop_post(ctx->loop, &ctx->end);
	pthread_join(ctx->thread, NULL);
	ctx->has_thread = false;
}
