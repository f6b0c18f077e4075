/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * renderer_rig.h - the renderer's own process beside a GPU under test, and streams of virgl for it
 *
 *	driver (gpu_rig.h) - device - vgrant-renderer (rr_start, rr_join)
 *
 * The process is the real one, sandbox and all, with llvmpipe; this is its supervisor.
 */
#ifndef RENDERER_RIG_H
#define RENDERER_RIG_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

#include "backend/devices/gpu/int.h"
#include "backend/worker/ipc.h"
#include "tests/rigs/gpu_rig.h"

enum { RR_PATIENCE_MS = 60000 }; /* of a machine that is busy */

struct rr {
	pid_t pid; /* 0: none */
	int super;
	struct vg_render_capsets caps;
};

/** rr_start_with - start it, with these variables besides ours. Return: what it answers to SETUP */
static inline struct vg_ipc rr_start_with(struct rr *rr, char **env)
{
	const char *build = getenv("VGRANT_BUILD");
	posix_spawn_file_actions_t actions;
	char path[256];
	char *argv[] = { path, (char *)(uintptr_t) "--renderer", NULL };
	struct vg_ipc m = { .type = VG_IPC_SETUP };
	struct pollfd p;
	int pair[2], theirs;

	snprintf(path, sizeof(path), "%s/vgrant-renderer", build ? build : "build/asan");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 10);
	close(pair[1]);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, theirs, 3);
	assert_int_equal(posix_spawn(&rr->pid, path, &actions, NULL, argv, env), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(theirs);
	rr->super = pair[0];
	m.setup.log_level = VG_LOG_ERR;
#ifndef __SANITIZE_THREAD__
	m.setup.sandbox.seccomp = true;
	m.setup.sandbox.namespaces = true;
	if (geteuid() == 0)
		m.setup.sandbox.uid = m.setup.sandbox.gid = 65534;
#endif
	snprintf(m.setup.who, sizeof(m.setup.who), "guest web (7) gpu, its renderer");
	snprintf(m.setup.spec, sizeof(m.setup.spec), "gpu,render=virgl");
	assert_int_equal(vg_ipc_send(rr->super, &m, -1), 0);
	p = (struct pollfd){ .fd = rr->super, .events = POLLIN };
	assert_int_equal(poll(&p, 1, RR_PATIENCE_MS), 1);
	assert_int_equal(vg_ipc_recv(rr->super, &m, NULL), 1);
	return m;
}

/** rr_start - start it; it opens */
static inline void rr_start(struct rr *rr)
{
	extern char **environ;
	struct vg_ipc m = rr_start_with(rr, environ);

	if (m.type != VG_IPC_OPENED)
		fail_msg("%s", m.text);
	rr->caps = m.peer.capsets;
}

/** rr_join - give it and the device each a socket to the other */
static inline void rr_join(struct rr *rr, struct gr *gr)
{
	const struct vg_ipc m = { .type = VG_IPC_PEER };
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(vg_ipc_send(rr->super, &m, pair[1]), 0);
	close(pair[1]);
	gr->tp.dev.ops->renderer(&gr->tp.dev, pair[0], &rr->caps);
}

/** rr_reap - it ends, or has ended. Return: its status, of waitpid(2) */
static inline int rr_reap(struct rr *rr)
{
	int status = 0;

	assert_int_equal(waitpid(rr->pid, &status, 0), rr->pid);
	close(rr->super);
	rr->pid = 0;
	return status;
}

/** rr_end - the supervisor wants it to end */
static inline void rr_end(struct rr *rr)
{
	const struct vg_ipc m = { .type = VG_IPC_QUIESCE };
	int status;

	vg_ipc_send(rr->super, &m, -1);
	status = rr_reap(rr);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- the driver -------------------------------------------------------------------- */

/** rr_wait - until @s is answered. Return: its type */
static inline uint32_t rr_wait(struct gr *gr, struct gr_sent *s)
{
	int64_t end = vg_now_ns() + RR_PATIENCE_MS * (NS_PER_S / 1000);

	gr_go(gr);
	while (!s->done) {
		assert_true(vg_now_ns() < end);
		usleep(200);
		gr_go(gr);
	}
	return gr_type(s);
}

/** rr_cmd - a command, and its answer. Return: its type */
static inline uint32_t rr_cmd(struct gr *gr, const void *cmd, uint32_t len)
{
	return rr_wait(gr, gr_send(gr, cmd, len));
}

#define RR_HDR(name, ctx) .hdr = { .type = htole32(VIRTIO_GPU_CMD_##name), .ctx_id = htole32(ctx) }

static inline uint32_t rr_context(struct gr *gr, uint32_t ctx, uint32_t init)
{
	const struct virtio_gpu_ctx_create c = { RR_HDR(CTX_CREATE, ctx), .nlen = htole32(4),
						 .context_init = htole32(init),
						 .debug_name = "test" };

	return rr_cmd(gr, &c, sizeof(c));
}

static inline uint32_t rr_context_end(struct gr *gr, uint32_t ctx)
{
	const struct virtio_gpu_ctx_destroy c = { RR_HDR(CTX_DESTROY, ctx) };

	return rr_cmd(gr, &c, sizeof(c));
}

static inline uint32_t rr_resource(struct gr *gr, uint32_t id, uint32_t target, uint32_t format,
				   uint32_t bind, uint32_t w, uint32_t h)
{
	const struct virtio_gpu_resource_create_3d c = {
		RR_HDR(RESOURCE_CREATE_3D, 0),
		.resource_id = htole32(id),
		.target = htole32(target),
		.format = htole32(format),
		.bind = htole32(bind),
		.width = htole32(w),
		.height = htole32(h),
		.depth = htole32(1),
		.array_size = htole32(1),
		.flags = htole32(target == 2 ? VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP : 0),
	};

	return rr_cmd(gr, &c, sizeof(c));
}

static inline uint32_t rr_attach(struct gr *gr, uint32_t ctx, uint32_t id)
{
	const struct virtio_gpu_ctx_resource c = { RR_HDR(CTX_ATTACH_RESOURCE, ctx), htole32(id),
						   0 };

	return rr_cmd(gr, &c, sizeof(c));
}

/** rr_transfer_cmd - of a box of @w x @h at @x, @y, whose first byte is at @offset of the backing */
static inline struct virtio_gpu_transfer_host_3d rr_transfer_cmd(uint32_t type, uint32_t ctx,
								 uint32_t id, uint32_t x,
								 uint32_t y, uint32_t w, uint32_t h,
								 uint32_t stride, uint64_t offset)
{
	return (struct virtio_gpu_transfer_host_3d){
		.hdr = { .type = htole32(type), .ctx_id = htole32(ctx) },
		.box = { htole32(x), htole32(y), 0, htole32(w), htole32(h), htole32(1) },
		.offset = htole64(offset),
		.resource_id = htole32(id),
		.stride = htole32(stride),
	};
}

static inline uint32_t rr_transfer(struct gr *gr, uint32_t type, uint32_t ctx, uint32_t id,
				   uint32_t x, uint32_t y, uint32_t w, uint32_t h, uint32_t stride,
				   uint64_t offset)
{
	const struct virtio_gpu_transfer_host_3d c =
		rr_transfer_cmd(type, ctx, id, x, y, w, h, stride, offset);

	return rr_cmd(gr, &c, sizeof(c));
}

#define RR_TO	VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D
#define RR_FROM VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D

/* ---- streams: numbers of virgl_protocol.h ---------------------------------------------- */

struct rr_stream {
	uint32_t word[400];
	unsigned n;
};

enum {
	RR_CREATE_OBJECT = 1,
	RR_BIND_OBJECT = 2,
	RR_SET_VIEWPORT = 4,
	RR_SET_VERTICES = 6,
	RR_DRAW = 8,
	RR_BIND_SHADER = 31,
	RR_BLEND = 1, /* objects */
	RR_RASTERIZER = 2,
	RR_DSA = 3,
	RR_SHADER = 4,
	RR_ELEMENTS = 5,
	RR_SET_FRAMEBUFFER = 5,
	RR_CLEAR = 7,
	RR_SET_SUB = 28,
	RR_CREATE_SUB = 29,
	RR_SURFACE = 8,
	RR_TARGET_BUFFER = 0,
	RR_TARGET_2D = 2,
	RR_BIND_RENDER = 1 << 1,
	RR_BIND_SAMPLER = 1 << 3,
	RR_BIND_VERTEX = 1 << 4,
	RR_BIND_CUSTOM = 1 << 17,
	RR_BIND_SCANOUT = 1 << 18,
};

static inline void rr_put(struct rr_stream *s, uint32_t word)
{
	assert_true(s->n < COUNT(s->word));
	s->word[s->n++] = htole32(word);
}

static inline void rr_begin(struct rr_stream *s, uint32_t cmd, uint32_t object, uint32_t words)
{
	rr_put(s, cmd | object << 8 | words << 16);
}

static inline void rr_float(struct rr_stream *s, float f)
{
	uint32_t v;

	memcpy(&v, &f, sizeof(v));
	rr_put(s, v);
}

/** rr_sub - what each context begins with */
static inline void rr_sub(struct rr_stream *s)
{
	rr_begin(s, RR_CREATE_SUB, 0, 1);
	rr_put(s, 1);
	rr_begin(s, RR_SET_SUB, 0, 1);
	rr_put(s, 1);
}

/** rr_target - draw on resource @id, by surface @handle */
static inline void rr_target(struct rr_stream *s, uint32_t handle, uint32_t id, uint32_t format)
{
	rr_begin(s, RR_CREATE_OBJECT, RR_SURFACE, 5);
	rr_put(s, handle);
	rr_put(s, id);
	rr_put(s, format);
	rr_put(s, 0);
	rr_put(s, 0);
	rr_begin(s, RR_SET_FRAMEBUFFER, 0, 3);
	rr_put(s, 1);
	rr_put(s, 0);
	rr_put(s, handle);
}

static inline void rr_clear(struct rr_stream *s, float red, float green, float blue)
{
	rr_begin(s, RR_CLEAR, 0, 8);
	rr_put(s, 1 << 2); /* colour buffer 0 */
	rr_float(s, red);
	rr_float(s, green);
	rr_float(s, blue);
	rr_float(s, 1);
	rr_put(s, 0);
	rr_put(s, 0);
	rr_put(s, 0);
}

/** rr_object - one of @n words, bound */
static inline void rr_object(struct rr_stream *s, uint32_t object, uint32_t handle,
			     const uint32_t *words, uint32_t n)
{
	rr_begin(s, RR_CREATE_OBJECT, object, n + 1);
	rr_put(s, handle);
	for (uint32_t i = 0; i < n; i++)
		rr_put(s, words[i]);
	rr_begin(s, RR_BIND_OBJECT, object, 1);
	rr_put(s, handle);
}

/** rr_shader - @text of TGSI, bound. @stage: 0: of vertices; 1: of fragments */
static inline void rr_shader(struct rr_stream *s, uint32_t handle, uint32_t stage, const char *text)
{
	uint32_t len = (uint32_t)strlen(text) + 1, words = (len + 3) / 4;

	rr_begin(s, RR_CREATE_OBJECT, RR_SHADER, 5 + words);
	rr_put(s, handle);
	rr_put(s, stage);
	rr_put(s, len);
	rr_put(s, 300); /* tokens, at most */
	rr_put(s, 0);
	for (uint32_t i = 0; i < words; i++) {
		char four[4] = "";
		uint32_t w;

		memcpy(four, text + i * 4, len - i * 4 < 4 ? len - i * 4 : 4);
		memcpy(&w, four, 4);
		rr_put(s, le32toh(w));
	}
	rr_begin(s, RR_BIND_SHADER, 0, 2);
	rr_put(s, handle);
	rr_put(s, stage);
}

/** rr_triangle - three vertices of four floats, in resource @id, by what the shaders make of them */
static inline void rr_triangle(struct rr_stream *s, uint32_t id, uint32_t w, uint32_t h)
{
	const uint32_t blend[10] = { 0, 0, 0xfu << 27 }; /* all colours are written */
	const uint32_t dsa[4] = { 0 }, elements[4] = { 0, 0, 0, 31 /* R32G32B32A32_FLOAT */ };
	uint32_t rasterizer[8] = { 1u << 1 | 1u << 29 };
	const float one = 1;

	memcpy(&rasterizer[4], &one, 4); /* a line's width */
	rr_object(s, RR_BLEND, 21, blend, 10);
	rr_object(s, RR_DSA, 22, dsa, 4);
	rr_object(s, RR_RASTERIZER, 23, rasterizer, 8);
	rr_object(s, RR_ELEMENTS, 24, elements, 4);
	rr_begin(s, RR_SET_VERTICES, 0, 3);
	rr_put(s, 16);
	rr_put(s, 0);
	rr_put(s, id);
	rr_begin(s, RR_SET_VIEWPORT, 0, 7);
	rr_put(s, 0);
	rr_float(s, (float)w / 2);
	rr_float(s, (float)h / 2);
	rr_float(s, 0.5f);
	rr_float(s, (float)w / 2);
	rr_float(s, (float)h / 2);
	rr_float(s, 0.5f);
	rr_begin(s, RR_DRAW, 0, 12);
	rr_put(s, 0);
	rr_put(s, 3);
	rr_put(s, 4); /* triangles */
	for (unsigned i = 3; i < 12; i++)
		rr_put(s, i == 4 ? 1 : i == 10 ? 2 : 0); /* one instance; indices up to 2 */
}

/** rr_send - @len bytes as a stream, of which the command says @claim. Return: where its answer comes */
static inline struct gr_sent *rr_send(struct gr *gr, uint32_t ctx, const void *bytes, uint32_t len,
				      uint32_t claim)
{
	uint8_t buf[GR_SLOT / 2];
	struct virtio_gpu_cmd_submit c = { RR_HDR(SUBMIT_3D, ctx), .size = htole32(claim) };

	assert_true(sizeof(c) + len <= sizeof(buf));
	memcpy(buf, &c, sizeof(c));
	memcpy(buf + sizeof(c), bytes, len);
	return gr_send(gr, buf, (uint32_t)sizeof(c) + len);
}

static inline uint32_t rr_submit(struct gr *gr, uint32_t ctx, const struct rr_stream *s)
{
	return rr_wait(gr, rr_send(gr, ctx, s->word, s->n * 4, s->n * 4));
}

#endif /* RENDERER_RIG_H */
