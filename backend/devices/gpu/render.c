// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * render.c - the renderer, seen from the device: renderers/renderer.h
 *
 *	command --> job --> [unsent] --> socket --> renderer
 *	                                               |
 *	answer <-- done() <----- in their order <------+
 *
 * The window is made while the worker has privileges. What a job has of it (a stream, pixels) is a
 * part of a ring, which is free again when the job is answered; jobs are answered in their order.
 * Where there is no room, neither there nor for another job (VG_LIMIT_GPU_OPERATIONS), a command
 * stays in the driver's ring. So all that is here is bounded, and nothing waits.
 *
 * The renderer may die, or be ended: it does not answer in time, it says nonsense. Then what the
 * driver made there is lost: jobs fail, and so does every command of 3D, until the driver resets the
 * device; two dimensions go on, and what was shown stays. Another renderer, which the supervisor has
 * started meanwhile, waits for that reset. Without any, the next driver is not offered 3D.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/devices/gpu/int.h"

enum {
	ALIGN = 16, /* bytes: of what has a part of the window */
	/* Of an operation: the renderer's own alarm comes first. */
	PATIENCE_S = VG_RENDER_PATIENCE_S + 5,
};

/* What is offered only where somebody draws. */
#define FEATURES (VG_FEATURE(VIRTIO_GPU_F_VIRGL) | VG_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT))

static void watchdog_expired(struct vg_timer *t)
{
	gpu_render_lose(container_of(t, struct gpu, render.watchdog), "it does not answer");
}

int gpu_render_open(struct gpu *gpu, struct vg_err *err)
{
	struct gpu_render *r = &gpu->render;
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	r->tail = &r->jobs;
	r->patience_ns = PATIENCE_S * NS_PER_S;
	r->watchdog.expired = watchdog_expired;
	r->log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	if (!r->wanted)
		return 0;
	r->memfd = memfd_create("vgrant-window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->memfd < 0 || ftruncate(r->memfd, (off_t)VG_RENDER_WINDOW_BYTES) < 0 ||
	    fcntl(r->memfd, F_ADD_SEALS, seals) < 0)
		return vg_fail(err, -errno, "memory for the renderer cannot be made: %s",
			       strerror(errno));
	r->window = mmap(NULL, VG_RENDER_WINDOW_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE, r->memfd, 0);
	if (r->window == MAP_FAILED) {
		r->window = NULL;
		return vg_fail(err, -errno, "memory for the renderer cannot be mapped: %s",
			       strerror(errno));
	}
	return 0;
}

/* ---- jobs ------------------------------------------------------------------ */

static uint64_t rounded(uint64_t len)
{
	return (len + ALIGN - 1) / ALIGN * ALIGN;
}

/* The oldest job is over. */
static void finish(struct gpu *gpu, bool ok)
{
	struct gpu_render *r = &gpu->render;
	struct gpu_job *job = r->jobs;

	r->jobs = job->next;
	if (!r->jobs)
		r->tail = &r->jobs;
	if (r->unsent == job)
		r->unsent = job->next;
	r->n_jobs--;
	if (job->done)
		job->done(gpu, job, ok);
	if (job->op.len) {
		r->n_windowed--;
		r->from = job->op.at + rounded(job->op.len);
	}
	if (job->pending)
		gpu_answered(gpu, job->pending,
			     ok ? VIRTIO_GPU_RESP_OK_NODATA : VIRTIO_GPU_RESP_ERR_UNSPEC, NULL, 0,
			     0);
	free(job);
}

static void hang_up(struct gpu *gpu)
{
	struct gpu_render *r = &gpu->render;

	vg_loop_timer_stop(&r->watchdog);
	if (r->sock >= 0) {
		vg_loop_unwatch(&r->watch);
		close(r->sock);
	}
	r->sock = -1;
	while (r->jobs)
		finish(gpu, false);
	memset(r->context, 0, sizeof(r->context));
}

/* Between drivers: what the next one is offered. */
static void offer(struct gpu *gpu)
{
	if (gpu->render.sock >= 0)
		gpu->dev->device_features |= FEATURES;
	else
		gpu->dev->device_features &= ~FEATURES;
}

static void run_watchdog(struct gpu *gpu)
{
	struct gpu_render *r = &gpu->render;

	vg_loop_timer_stop(&r->watchdog);
	if (r->jobs)
		vg_loop_timer(gpu->dev->loop, &r->watchdog, r->patience_ns);
}

/* As many as the socket takes; when it takes more, what it has is answered first. */
static void send_jobs(struct gpu *gpu)
{
	struct gpu_render *r = &gpu->render;
	int ret = 0;

	while (r->unsent && ret == 0) {
		struct gpu_job *job = r->unsent;

		ret = vg_render_send(r->sock, &job->op,
				     job->op.type == VG_RENDER_HELLO ? r->memfd : -1);
		if (ret == 0)
			r->unsent = job->next;
	}
	/* Another error is that of a socket whose other end is gone: which is heard, too. */
}

bool gpu_render_is(const struct gpu *gpu)
{
	return gpu->render.sock >= 0 && !gpu->render.lost;
}

bool gpu_render_full(struct gpu *gpu)
{
	if (gpu->render.n_jobs >= VG_LIMIT_GPU_OPERATIONS)
		gpu->render.full = true;
	return gpu->render.n_jobs >= VG_LIMIT_GPU_OPERATIONS;
}

bool gpu_render_room(struct gpu *gpu, uint64_t len, uint64_t *at)
{
	struct gpu_render *r = &gpu->render;

	len = rounded(len);
	if (!r->n_windowed)
		r->from = r->to = 0;
	*at = r->to;
	if (r->to >= r->from ? VG_RENDER_WINDOW - r->to >= len : r->from - r->to > len)
		return true;
	*at = 0;
	if (r->to >= r->from && r->from > len)
		return true;
	r->full = true;
	return false;
}

struct gpu_job *gpu_render_do(struct gpu *gpu, const struct vg_render_op *op)
{
	struct gpu_render *r = &gpu->render;
	struct gpu_job *job = r->sock >= 0 ? calloc(1, sizeof(*job)) : NULL;

	if (!job)
		return NULL;
	job->op = *op;
	job->op.seq = ++r->seq;
	*r->tail = job;
	r->tail = &job->next;
	if (!r->unsent)
		r->unsent = job;
	if (job->op.len) {
		r->n_windowed++;
		r->to = op->at + rounded(op->len);
	}
	if (r->n_jobs++ == 0)
		run_watchdog(gpu);
	r->used = true;
	send_jobs(gpu);
	return job;
}

/* ---- the socket -------------------------------------------------------------- */

/* HELLO is answered by what follows it. */
static bool is_answer(const struct gpu_render *r, const struct vg_render_done *d)
{
	return r->jobs && r->jobs != r->unsent && r->jobs->op.seq == d->seq;
}

/* Return: 1: another may follow; -EAGAIN: none; or negative errno: it is gone, or talks nonsense. */
static int hear(struct gpu *gpu)
{
	struct gpu_render *r = &gpu->render;
	struct vg_render_done d;
	int ret = vg_render_recv_done(r->sock, &d);

	if (ret != 1)
		return ret == 0 ? -EPIPE : ret;
	if (!is_answer(r, &d))
		return -EPROTO;
	finish(gpu, d.error == 0);
	run_watchdog(gpu);
	return 1;
}

/* Commands that waited are looked at again. */
static void go_on(struct gpu *gpu)
{
	if (vg_dev_vq(gpu->dev, GPU_CONTROLQ))
		gpu_go_on(gpu);
	if (gpu->render.full && vg_dev_vq(gpu->dev, GPU_CURSORQ))
		vg_dev_kick_later(gpu->dev, GPU_CURSORQ);
	gpu->render.full = false;
}

static void ready(struct vg_watch *w, unsigned events)
{
	struct gpu *gpu = container_of(w, struct gpu, render.watch);
	int ret = 1;

	(void)events;
	while (ret == 1)
		ret = hear(gpu);
	if (ret == -EAGAIN) {
		send_jobs(gpu);
		go_on(gpu);
		return;
	}
	gpu_render_lose(gpu, ret == -EPROTO ? "it talks nonsense" : "it has ended");
}

void gpu_render_lose(struct gpu *gpu, const char *why)
{
	struct gpu_render *r = &gpu->render;
	bool driver = gpu->dev->started && vg_dev_has(gpu->dev, VIRTIO_GPU_F_VIRGL);

	if (r->sock >= 0)
		vg_log_limited(&r->log, VG_LOG_WARN, "the renderer is given up: %s%s", why,
			       driver ? "; its guest draws in two dimensions until its driver "
					"resets the device"
				      : "");
	r->lost = driver;
	hang_up(gpu);
	if (!driver)
		offer(gpu);
	go_on(gpu);
}

/* ---- who draws ----------------------------------------------------------------- */

static void adopt(struct gpu *gpu)
{
	const struct vg_render_op hello = { .type = VG_RENDER_HELLO, .version = VG_RENDER_VERSION };
	struct gpu_render *r = &gpu->render;

	r->sock = r->next;
	r->capsets = r->next_capsets;
	r->next = -1;
	r->watch.ready = ready;
	vg_loop_watch(gpu->dev->loop, &r->watch, r->sock);
	if (vg_render_send(r->sock, &hello, r->memfd) < 0)
		gpu_render_lose(gpu, "it cannot be greeted");
}

static bool caps_ok(const struct vg_render_capsets *caps)
{
	bool ok = caps->n && caps->n <= VG_RENDER_CAPSETS;

	for (uint32_t i = 0; ok && i < caps->n; i++)
		ok = caps->set[i].id && caps->set[i].size &&
		     caps->set[i].size <= VG_LIMIT_GPU_CAPSET;
	return ok;
}

void gpu_render_peer(struct gpu *gpu, int sock, const struct vg_render_capsets *caps)
{
	struct gpu_render *r = &gpu->render;

	if (!r->wanted || !caps_ok(caps)) {
		close(sock);
		return;
	}
	if (r->next >= 0)
		close(r->next);
	r->next = sock;
	r->next_capsets = *caps;
	/* It has nothing of what the driver made with the one before. */
	if (r->sock >= 0)
		gpu_render_lose(gpu, "another has been started");
	if (gpu->dev->started || gpu->dev->resuming)
		return;
	adopt(gpu);
	offer(gpu);
}

void gpu_render_reset(struct gpu *gpu)
{
	const struct vg_render_op reset = { .type = VG_RENDER_RESET };
	struct gpu_render *r = &gpu->render;

	r->lost = false;
	if (r->next >= 0) {
		hang_up(gpu);
		adopt(gpu);
	} else if (r->sock >= 0 && r->used) {
		gpu_render_do(gpu, &reset);
		memset(r->context, 0, sizeof(r->context));
	}
	r->used = false;
	offer(gpu);
}

const char *gpu_render_state(const struct gpu *gpu)
{
	const struct gpu_render *r = &gpu->render;

	if (r->lost)
		return r->next >= 0 || r->sock >= 0 ? "reset" : "lost";
	return r->sock >= 0 ? "virgl" : "none";
}

void gpu_render_close(struct gpu *gpu)
{
	struct gpu_render *r = &gpu->render;

	hang_up(gpu);
	if (r->next >= 0)
		close(r->next);
	if (r->window)
		munmap(r->window, VG_RENDER_WINDOW_BYTES);
	if (r->memfd >= 0)
		close(r->memfd);
}
