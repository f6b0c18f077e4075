// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_gpu_3d_hostile.c - the GPU's 3D and a guest, a renderer, or a device, that wants to break it
 *
 * The renderer is the real one, but for where it is what is hostile. After each of them two dimensions
 * work, and three do, at the latest after a reset with another renderer.
 */
#include <sys/mman.h>

#include "tests/rigs/renderer_rig.h"

enum { W = 64, H = 48, BYTES = W * H * 4, BGRA = 1, FLOAT = 28 };

/* Answers come when they are ready. */
static const uint64_t split = TP_ALL & ~(VG_FEATURE(VG_F_RING_PACKED) | VG_FEATURE(VG_F_IN_ORDER));

#define BAD_PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define BAD_RESOURCE  VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID
#define BAD_CONTEXT   VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID
#define NO_MEMORY     VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define UNSPEC	      VIRTIO_GPU_RESP_ERR_UNSPEC

static struct gr gr;
static struct rr rr;
static struct drv_buf buf;

static struct gpu *gpu_of(void)
{
	return gr.tp.dev.priv;
}

static void start_driver(void)
{
	tp_start(&gr.tp, split, 64);
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
}

static void up(void)
{
	rr_start(&rr);
	gr_open(&gr, TP_COPY, "gpu,render=virgl");
	gr_look(&gr);
	rr_join(&rr, &gr);
	start_driver();
	buf = gr_buf(&gr, BYTES, 1);
}

/* A picture of two dimensions goes all the way. */
static void works_in_2d(void)
{
	uint32_t *p = buf.virt;

	p[3] = htole32(0x123456);
	assert_false(gr_broken(&gr));
	assert_int_equal(gr_create(&gr, 998, 2, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 998, &buf), GR_OK);
	assert_int_equal(gr_transfer(&gr, 998, 0, 0, W, H, 0), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 998, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_flush(&gr, 998, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_pixel(&gr, 0, W, 3, 0), 0x123456);
	assert_int_equal(gr_unref(&gr, 998), GR_OK);
}

/* One of three. */
static void works_in_3d(void)
{
	struct rr_stream s = { .n = 0 };
	uint32_t *p = buf.virt;

	assert_int_equal(rr_context(&gr, 60, 0), GR_OK);
	assert_int_equal(rr_resource(&gr, 999, RR_TARGET_2D, BGRA, RR_BIND_RENDER, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 999, &buf), GR_OK);
	assert_int_equal(rr_attach(&gr, 60, 999), GR_OK);
	rr_sub(&s);
	rr_target(&s, 1, 999, BGRA);
	rr_clear(&s, 1, 0, 0);
	assert_int_equal(rr_submit(&gr, 60, &s), GR_OK);
	assert_int_equal(rr_transfer(&gr, RR_FROM, 60, 999, 0, 0, W, H, W * 4, 0), GR_OK);
	assert_int_equal(le32toh(p[W * H - 1]), 0xffff0000);
	assert_int_equal(gr_unref(&gr, 999), GR_OK);
	assert_int_equal(rr_context_end(&gr, 60), GR_OK);
}

static bool is_lost(void)
{
	tp_settle(&gr.tp);
	return gpu_of()->render.lost;
}

/* Whatever became of the renderer. */
static void renew(void)
{
	if (!is_lost())
		return;
	kill(rr.pid, SIGKILL);
	rr_reap(&rr);
	rr_start(&rr);
	rr_join(&rr, &gr);
	tp_reset(&gr.tp);
	start_driver();
}

static void down(void)
{
	works_in_2d();
	renew();
	works_in_3d();
	gr_free(&gr, &buf);
	gr_close(&gr);
	rr_end(&rr);
}

/* ---- streams ------------------------------------------------------------------------ */

/* Of every command, with too few words, too many, and any. */
static void test_malformed_streams(void **state)
{
	uint32_t seed = 1;

	(void)state;
	up();
	for (uint32_t cmd = 0; cmd < 64; cmd++) {
		for (uint32_t n = 0; n < 4; n++) {
			struct rr_stream s = { .n = 0 };
			struct gr_sent *sent;
			uint32_t type;

			if (is_lost())
				renew();
			assert_int_equal(rr_context(&gr, 2, 0), GR_OK);
			rr_sub(&s);
			rr_begin(&s, cmd, seed % 12, n == 3 ? 0xffff : n * 5);
			for (unsigned i = 0; i < 12; i++) {
				seed = seed * 1664525 + 1013904223;
				rr_put(&s, seed % 3 ? seed >> 28 : seed);
			}
			sent = rr_send(&gr, 2, s.word, s.n * 4, s.n * 4);
			type = rr_wait(&gr, sent);
			assert_true(type == GR_OK || type == UNSPEC);
			assert_false(gr_broken(&gr));
			type = rr_context_end(&gr, 2);
			assert_true(type == GR_OK || type == UNSPEC);
		}
	}
	down();
}

static void test_stream_sizes(void **state)
{
	const uint32_t words[4] = { 0 };

	(void)state;
	up();
	assert_int_equal(rr_wait(&gr, rr_send(&gr, 1, words, 16, 0)), BAD_PARAMETER);
	assert_int_equal(rr_wait(&gr, rr_send(&gr, 1, words, 16, 15)), BAD_PARAMETER);
	assert_int_equal(rr_wait(&gr, rr_send(&gr, 1, words, 16, 20)), BAD_PARAMETER);
	assert_int_equal(rr_wait(&gr, rr_send(&gr, 1, words, 16, 0xfffffffc)), BAD_PARAMETER);
	assert_int_equal(rr_wait(&gr, rr_send(&gr, 1, words, 16, VG_LIMIT_GPU_STREAM + 4)),
			 BAD_PARAMETER);
	assert_int_equal(rr_wait(&gr, rr_send(&gr, 0, words, 16, 16)), BAD_CONTEXT);
	assert_int_equal(rr_wait(&gr, rr_send(&gr, 2, words, 16, 16)), BAD_CONTEXT);
	down();
}

/* A stream that reads guest memory by itself finds none, whatever the guest was told. */
static void test_streams_that_transfer(void **state)
{
	enum { TRANSFER3D = 43, TO = 1, FROM = 2 };
	uint8_t was[BYTES];

	(void)state;
	up();
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 5, &buf), GR_OK);
	assert_int_equal(rr_attach(&gr, 1, 5), GR_OK);
	memcpy(was, buf.virt, BYTES);
	for (uint32_t way = TO; way <= FROM && !is_lost(); way++) {
		struct rr_stream s = { .n = 0 };
		const uint32_t words[] = { 5, 0, 0, W * 4, 0, 0, 0, 0, W, H, 1, 0, way };

		rr_sub(&s);
		rr_begin(&s, TRANSFER3D, 0, COUNT(words));
		for (unsigned i = 0; i < COUNT(words); i++)
			rr_put(&s, words[i]);
		assert_int_equal(rr_submit(&gr, 1, &s), UNSPEC);
	}
	assert_memory_equal(buf.virt, was, BYTES);
	gr_unref(&gr, 5);
	down();
}

/* ---- contexts, resources -------------------------------------------------------------- */

static void test_contexts(void **state)
{
	struct virtio_gpu_ctx_create c = { RR_HDR(CTX_CREATE, 7), .nlen = htole32(65) };
	uint32_t id = 2;

	(void)state;
	up();
	assert_int_equal(rr_context(&gr, 1, 0), BAD_CONTEXT);
	assert_int_equal(rr_context(&gr, 0, 0), BAD_CONTEXT);
	assert_int_equal(rr_context_end(&gr, 0), BAD_CONTEXT);
	assert_int_equal(rr_context_end(&gr, 2), BAD_CONTEXT);
	assert_int_equal(rr_context(&gr, 7, 3), BAD_PARAMETER);
	assert_int_equal(rr_context(&gr, 7, 0x100), BAD_PARAMETER);
	assert_int_equal(rr_cmd(&gr, &c, sizeof(c)), BAD_PARAMETER);
	c.nlen = htole32(UINT32_MAX);
	assert_int_equal(rr_cmd(&gr, &c, sizeof(c)), BAD_PARAMETER);
	assert_int_equal(rr_attach(&gr, 2, 5), BAD_CONTEXT);
	assert_int_equal(rr_attach(&gr, 1, 5), BAD_RESOURCE);
	while (id < VG_LIMIT_GPU_CONTEXTS + 1)
		assert_int_equal(rr_context(&gr, id++, 0), GR_OK);
	assert_int_equal(rr_context(&gr, id, 0), NO_MEMORY);
	while (--id > 1)
		assert_int_equal(rr_context_end(&gr, id), GR_OK);
	down();
}

static void test_resources(void **state)
{
	static const uint32_t sides[][2] = { { 0, 1 },	      { 1, 0 },
					     { 16385, 1 },    { 1, 0xffffffff },
					     { 0x10000, 16 }, { 0x80000000, 0x80000000 } };

	(void)state;
	up();
	for (unsigned i = 0; i < COUNT(sides); i++)
		assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER,
					     sides[i][0], sides[i][1]),
				 BAD_PARAMETER);
	assert_int_equal(rr_resource(&gr, 0, RR_TARGET_2D, BGRA, RR_BIND_RENDER, 1, 1),
			 BAD_RESOURCE);
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_BUFFER, 64, RR_BIND_VERTEX, UINT32_MAX, 1),
			 BAD_PARAMETER);
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_BUFFER, 64, RR_BIND_VERTEX, 64, 2),
			 BAD_PARAMETER);
	/* What the library does not know: it says so, and nothing of it is left. */
	assert_int_equal(rr_resource(&gr, 5, 77, BGRA, RR_BIND_RENDER, W, H), UNSPEC);
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, 5000, RR_BIND_RENDER, W, H), UNSPEC);
	assert_int_equal(gpu_of()->res.n, 0);
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, W, H), GR_OK);
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, W, H),
			 BAD_RESOURCE);
	assert_int_equal(gr_create(&gr, 5, 2, W, H), BAD_RESOURCE);
	/* Its memory is another's: not to be transferred as a picture. */
	assert_int_equal(gr_transfer(&gr, 5, 0, 0, W, H, 0), BAD_PARAMETER);
	gr_unref(&gr, 5);
	assert_int_equal(gpu_of()->res.host_bytes, 0);
	down();
}

/* Bytes, and numbers, without end. */
static void test_endless_resources(void **state)
{
	uint32_t id = 10;

	(void)state;
	up();
	gr.tp.dev.host_bytes = 64u << 20;
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, 4096, 4097),
			 NO_MEMORY);
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, 16384, 16384),
			 NO_MEMORY);
	while (rr_resource(&gr, id, RR_TARGET_BUFFER, 64, RR_BIND_VERTEX, 1 << 20, 1) == GR_OK)
		id++;
	assert_int_equal(id - 10, 64);
	while (--id >= 10)
		gr_unref(&gr, id);
	while (rr_resource(&gr, ++id, RR_TARGET_BUFFER, 64, RR_BIND_VERTEX, 16, 1) == GR_OK)
		;
	assert_int_equal(gpu_of()->res.n, VG_LIMIT_GPU_RESOURCES);
	tp_reset(&gr.tp);
	assert_int_equal(gpu_of()->res.host_bytes, 0);
	start_driver();
	down();
}

/* ---- transfers -------------------------------------------------------------------------- */

static void test_transfers_outside(void **state)
{
	struct virtio_gpu_transfer_host_3d c;

	(void)state;
	up();
	for (unsigned i = 0; i < 2; i++) {
		const uint32_t way = i ? RR_TO : RR_FROM;

		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0, 0, W, H, 0, 0), BAD_RESOURCE);
		assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, W, H),
				 GR_OK);
		assert_int_equal(rr_attach(&gr, 1, 5), GR_OK);
		/* No memory yet. */
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0, 0, W, H, 0, 0), BAD_PARAMETER);
		assert_int_equal(gr_attach(&gr, 5, &buf), GR_OK);
		assert_int_equal(rr_transfer(&gr, way, 2, 5, 0, 0, W, H, 0, 0), BAD_CONTEXT);
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0, 0, W, H, 0, BYTES), BAD_PARAMETER);
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0, 0, W, H, 0, UINT64_MAX),
				 BAD_PARAMETER);
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0, 0, 0, H, 0, 0), BAD_PARAMETER);
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0, 0, 0xffffffff, H, 0, 0),
				 BAD_PARAMETER);
		/* In the resource, and not in its memory; and the other way round. */
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0, 0, W, H, 0, 4), UNSPEC);
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0, 0, W, H, 0xffffff00, 0), UNSPEC);
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 1, 0, W, H, 0, 0), UNSPEC);
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0xfffffff0, 0, W, H, 0, 0), UNSPEC);
		c = rr_transfer_cmd(way, 1, 5, 0, 0, W, H, 0, 0);
		c.level = htole32(1);
		assert_int_equal(rr_cmd(&gr, &c, sizeof(c)), BAD_PARAMETER);
		c.level = htole32(UINT32_MAX);
		assert_int_equal(rr_cmd(&gr, &c, sizeof(c)), BAD_PARAMETER);
		c.level = 0;
		c.box.d = htole32(2);
		assert_int_equal(rr_cmd(&gr, &c, sizeof(c)), UNSPEC);
		c.box.z = htole32(1);
		c.box.d = htole32(1);
		assert_int_equal(rr_cmd(&gr, &c, sizeof(c)), UNSPEC);
		/* Detached again. */
		assert_int_equal(gr_detach(&gr, 5), GR_OK);
		assert_int_equal(rr_transfer(&gr, way, 1, 5, 0, 0, W, H, 0, 0), BAD_PARAMETER);
		assert_int_equal(gr_unref(&gr, 5), GR_OK);
	}
	down();
}

/* Memory that cannot be written, for what must be. */
static void test_read_only_backing(void **state)
{
	(void)state;
	up();
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, W, H), GR_OK);
	tp_revoke(&gr.tp, buf.addr, BYTES, true);
	assert_int_equal(gr_attach(&gr, 5, &buf), BAD_PARAMETER);
	gr.tp.n_revoked = 0;
	assert_int_equal(gr_unref(&gr, 5), GR_OK);
	down();
}

/* What was freed while the renderer is at it is not written any more. */
static void test_freed_meanwhile(void **state)
{
	const struct virtio_gpu_resource_unref u = { GR_HDR(RESOURCE_UNREF), htole32(5), 0 };
	const struct virtio_gpu_transfer_host_3d c =
		rr_transfer_cmd(RR_FROM, 1, 5, 0, 0, W, H, W * 4, 0);
	struct gr_sent *sent, *freed;
	uint8_t was[BYTES];

	(void)state;
	up();
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 5, &buf), GR_OK);
	assert_int_equal(rr_attach(&gr, 1, 5), GR_OK);
	memcpy(was, buf.virt, BYTES);
	kill(rr.pid, SIGSTOP);
	sent = gr_send(&gr, &c, sizeof(c));
	gr_go(&gr);
	assert_false(sent->done);
	freed = gr_send(&gr, &u, sizeof(u));
	gr_go(&gr);
	assert_int_equal(gr_type(freed), GR_OK);
	assert_int_equal(gr.tp.long_maps, 0);
	/* Its number is another's. */
	kill(rr.pid, SIGCONT);
	assert_int_equal(rr_wait(&gr, sent), GR_OK);
	assert_memory_equal(buf.virt, was, BYTES);
	down();
}

/* ---- heads --------------------------------------------------------------------------------- */

static void test_heads(void **state)
{
	(void)state;
	up();
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, FLOAT, RR_BIND_RENDER, W, H), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 5, 0, 0, W, H), BAD_PARAMETER);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 5, 0, 0, 0, 0),
			 BAD_PARAMETER);
	gr_unref(&gr, 5);
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_BUFFER, BGRA, RR_BIND_VERTEX, 4096, 1),
			 GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 5, 0, 0, 64, 1), BAD_PARAMETER);
	gr_unref(&gr, 5);
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, W, H), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 5, 0, 0, W + 1, H), BAD_PARAMETER);
	assert_int_equal(gr_scanout(&gr, 0, 5, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_flush(&gr, 5, 1, 0, W, H), BAD_PARAMETER);
	gr_unref(&gr, 5);
	down();
}

/* ---- a flood -------------------------------------------------------------------------------- */

/* A renderer that does not read: what waits for it is bounded, the rest stays in the ring. */
static void test_flood(void **state)
{
	struct gr_sent *sent[25];

	(void)state;
	up();
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, 64, 64), GR_OK);
	kill(rr.pid, SIGSTOP);
	/* Each has the renderer read a cursor's picture, and nobody waits for that. */
	for (unsigned i = 0; i < 2 * VG_LIMIT_GPU_OPERATIONS; i++) {
		const struct virtio_gpu_update_cursor c = {
			.hdr.type = htole32(VIRTIO_GPU_CMD_UPDATE_CURSOR),
			.resource_id = htole32(5),
		};

		if (i < VG_LIMIT_GPU_OPERATIONS) {
			assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 5, 0, 0, 0,
						   0),
					 GR_OK);
		} else if (i < VG_LIMIT_GPU_OPERATIONS + COUNT(sent)) {
			unsigned k = i - VG_LIMIT_GPU_OPERATIONS;

			sent[k] = gr_send_to(&gr, GR_CURSORQ, &c, sizeof(c), sizeof(c.hdr));
			gr_go(&gr);
			assert_false(sent[k]->done);
		}
		assert_true(gpu_of()->render.n_jobs <= VG_LIMIT_GPU_OPERATIONS);
	}
	kill(rr.pid, SIGCONT);
	for (unsigned k = 0; k < COUNT(sent); k++)
		assert_int_equal(rr_wait(&gr, sent[k]), GR_OK);
	/* It has still as much to do as there may be. */
	while (gpu_of()->render.n_jobs && !is_lost())
		;
	gr_unref(&gr, 5);
	down();
}

/* The window is used up: commands wait, and are carried out. */
static void test_window_is_full(void **state)
{
	const struct virtio_gpu_resource_flush c = gr_flush_cmd(5, 0, 0, 4096, 2048);
	struct gr_sent *sent[6];

	(void)state;
	up();
	assert_int_equal(rr_resource(&gr, 5, RR_TARGET_2D, BGRA, RR_BIND_RENDER, 4096, 2048),
			 GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 5, 0, 0, 4096, 2048), GR_OK);
	kill(rr.pid, SIGSTOP);
	for (unsigned i = 0; i < COUNT(sent); i++)
		sent[i] = gr_send(&gr, &c, sizeof(c));
	gr_go(&gr);
	/* 32 MiB each, of 64. */
	assert_int_equal(gpu_of()->render.n_jobs, 2);
	kill(rr.pid, SIGCONT);
	for (unsigned i = 0; i < COUNT(sent); i++)
		assert_int_equal(rr_wait(&gr, sent[i]), GR_OK);
	gr_unref(&gr, 5);
	down();
}

/* ---- a renderer that is hostile --------------------------------------------------------------- */

/* Our end of what the device takes for its renderer. */
static int pretend(void)
{
	struct vg_render_capsets caps = { .n = 1, .set = { { 2, 2, 1376 } } };
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	gr.tp.dev.ops->renderer(&gr.tp.dev, pair[0], &caps);
	return pair[1];
}

static void test_renderer_talks_nonsense(void **state)
{
	static const struct {
		uint32_t seq, error, len;
	} says[] = { { 0, 0, 8 }, { 2, 0, 8 }, { 1, 0, 7 }, { 1, 0, 0 }, { 0x80000001, 5, 8 } };

	(void)state;
	for (unsigned i = 0; i < COUNT(says); i++) {
		const struct vg_render_done d = { says[i].seq, says[i].error };
		const struct virtio_gpu_ctx_create c = { RR_HDR(CTX_CREATE, 1) };
		struct gr_sent *sent;
		int sock;

		gr_open(&gr, TP_COPY, "gpu,render=virgl");
		gr_look(&gr);
		sock = pretend();
		tp_start(&gr.tp, split, 64);
		assert_true(vg_dev_has(&gr.tp.dev, VIRTIO_GPU_F_VIRGL));
		sent = gr_send(&gr, &c, sizeof(c));
		gr_go(&gr);
		assert_false(sent->done);
		if (says[i].len)
			assert_int_equal(send(sock, &d, says[i].len, 0), says[i].len);
		else
			shutdown(sock, SHUT_RDWR);
		assert_int_equal(rr_wait(&gr, sent), UNSPEC);
		assert_true(is_lost());
		buf = gr_buf(&gr, BYTES, 1);
		works_in_2d();
		gr_free(&gr, &buf);
		gr_close(&gr);
		close(sock);
	}
}

/* It can nothing, or too much: there is no such renderer. */
static void test_capsets_that_lie(void **state)
{
	static const struct vg_render_capsets lies[] = {
		{ .n = 0 },
		{ .n = VG_RENDER_CAPSETS + 1 },
		{ .n = 1, .set = { { 2, 2, VG_LIMIT_GPU_CAPSET + 1 } } },
		{ .n = 1, .set = { { 0, 2, 4 } } },
		{ .n = UINT32_MAX },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(lies); i++) {
		int pair[2];

		gr_open(&gr, TP_COPY, "gpu,render=virgl");
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		gr.tp.dev.ops->renderer(&gr.tp.dev, pair[0], &lies[i]);
		tp_start(&gr.tp, split, 64);
		assert_false(vg_dev_has(&gr.tp.dev, VIRTIO_GPU_F_VIRGL));
		gr_close(&gr);
		close(pair[1]);
	}
}

/* ---- a device that is hostile ------------------------------------------------------------------- */

static int window(unsigned seals, uint64_t size)
{
	int fd = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void test_device_talks_nonsense(void **state)
{
	static const struct {
		struct vg_render_op op;
		bool hello;
	} says[] = {
		{ { .type = VG_RENDER_RESET }, false }, /* before HELLO */
		{ { .type = 0 }, true },
		{ { .type = VG_RENDER_TYPES }, true },
		{ { .type = VG_RENDER_HELLO, .version = VG_RENDER_VERSION }, true }, /* again */
		{ { .type = VG_RENDER_SUBMIT, .context = 1, .at = VG_RENDER_WINDOW, .len = 4 },
		  true },
		{ { .type = VG_RENDER_SUBMIT, .context = 1, .at = UINT64_MAX - 3, .len = 8 },
		  true },
		{ { .type = VG_RENDER_SUBMIT, .context = 1, .at = 2, .len = 4 }, true },
		{ { .type = VG_RENDER_READ, .resource = 1, .at = 16, .len = VG_RENDER_WINDOW },
		  true },
		{ { .type = VG_RENDER_SLOT_IS, .resource = 1, .slot = VG_RENDER_SLOTS }, true },
		{ { .type = VG_RENDER_CAPSET, .len = VG_LIMIT_GPU_CAPSET + 1 }, true },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(says); i++) {
		const struct vg_render_op hello = { .type = VG_RENDER_HELLO,
						    .version = VG_RENDER_VERSION };
		const struct vg_ipc peer = { .type = VG_IPC_PEER };
		int pair[2], fd = window(F_SEAL_SHRINK, VG_RENDER_WINDOW_BYTES);

		rr_start(&rr);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(vg_ipc_send(rr.super, &peer, pair[1]), 0);
		close(pair[1]);
		if (says[i].hello)
			assert_int_equal(vg_render_send(pair[0], &hello, fd), 0);
		assert_int_equal(vg_render_send(pair[0], &says[i].op, -1), 0);
		assert_true(WIFEXITED(rr_reap(&rr)));
		close(pair[0]);
		close(fd);
	}
}

/* A window that its maker could make shorter, or that is too short. */
static void test_window_that_shrinks(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		const struct vg_render_op hello = { .type = VG_RENDER_HELLO,
						    .version = VG_RENDER_VERSION };
		const struct vg_ipc peer = { .type = VG_IPC_PEER };
		int pair[2], fd = i == 0   ? window(F_SEAL_GROW, VG_RENDER_WINDOW_BYTES)
				  : i == 1 ? window(F_SEAL_SHRINK, VG_RENDER_WINDOW)
					   : -1;

		rr_start(&rr);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(vg_ipc_send(rr.super, &peer, pair[1]), 0);
		close(pair[1]);
		assert_int_equal(vg_render_send(pair[0], &hello, fd), 0);
		assert_true(WIFEXITED(rr_reap(&rr)));
		close(pair[0]);
		if (fd >= 0)
			close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malformed_streams),
		cmocka_unit_test(test_stream_sizes),
		cmocka_unit_test(test_streams_that_transfer),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_resources),
		cmocka_unit_test(test_endless_resources),
		cmocka_unit_test(test_transfers_outside),
		cmocka_unit_test(test_read_only_backing),
		cmocka_unit_test(test_freed_meanwhile),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_window_is_full),
		cmocka_unit_test(test_renderer_talks_nonsense),
		cmocka_unit_test(test_capsets_that_lie),
		cmocka_unit_test(test_device_talks_nonsense),
		cmocka_unit_test(test_window_that_shrinks),
	};

	vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
