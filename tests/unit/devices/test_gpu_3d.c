// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_gpu_3d.c - the GPU in three dimensions: a guest's driver on one side, the real renderer, with
 * llvmpipe and in its sandbox, on the other
 */
#include <glob.h>
#include <sched.h>
#include <sys/mount.h>

#include "tests/rigs/renderer_rig.h"

enum { W = 64, H = 48, BYTES = W * H * 4, BGRA = 1, BGRX = 2 };

static const uint64_t split = TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED);

static struct gr gr;
static struct rr rr;

static void begin(const char *spec)
{
	rr_start(&rr);
	gr_open(&gr, TP_COPY, spec);
	rr_join(&rr, &gr);
	tp_start(&gr.tp, split, 64);
}

static void end(void)
{
	gr_close(&gr);
	rr_end(&rr);
}

static void describe(char *text, size_t size)
{
	gr.tp.dev.ops->describe(&gr.tp.dev, text, size);
}

static void assert_state(const char *word)
{
	char text[512], want[64];

	describe(text, sizeof(text));
	snprintf(want, sizeof(want), " 3d=%s ", word);
	if (!strstr(text, want))
		fail_msg("%s: no%s", text, want);
}

/* Turn until the device knows that its renderer is gone. */
static void await_state(const char *word)
{
	int64_t until = vg_now_ns() + RR_PATIENCE_MS * (NS_PER_S / 1000);
	char text[512], want[64];

	snprintf(want, sizeof(want), " 3d=%s ", word);
	do {
		assert_true(vg_now_ns() < until);
		tp_settle(&gr.tp);
		describe(text, sizeof(text));
	} while (!strstr(text, want));
}

/* ---- what there is ------------------------------------------------------------- */

static uint32_t capset_info(uint32_t i, struct virtio_gpu_resp_capset_info *info)
{
	const struct virtio_gpu_get_capset_info c = { GR_HDR(GET_CAPSET_INFO), htole32(i), 0 };
	struct gr_sent *s = gr_send(&gr, &c, sizeof(c));
	uint32_t type = rr_wait(&gr, s);

	memcpy(info, s->in, sizeof(*info));
	return type;
}

static struct gr_sent *get_capset(uint32_t id, uint32_t version)
{
	const struct virtio_gpu_get_capset c = { GR_HDR(GET_CAPSET), htole32(id),
						 htole32(version) };
	struct gr_sent *s = gr_send(&gr, &c, sizeof(c));

	rr_wait(&gr, s);
	return s;
}

static void test_capsets(void **state)
{
	struct virtio_gpu_resp_capset_info info;
	struct gr_sent *s;
	uint32_t bits;

	(void)state;
	begin("gpu,render=virgl");
	assert_true(vg_dev_has(&gr.tp.dev, VIRTIO_GPU_F_VIRGL));
	assert_true(vg_dev_has(&gr.tp.dev, VIRTIO_GPU_F_CONTEXT_INIT));
	assert_int_equal(le32toh(gr_config(&gr).num_capsets), 2);
	assert_state("virgl");
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(capset_info(i, &info), VIRTIO_GPU_RESP_OK_CAPSET_INFO);
		assert_int_equal(le32toh(info.capset_id), i + 1);
		assert_true(le32toh(info.capset_max_size) >= 308);
		s = get_capset(i + 1, le32toh(info.capset_max_version));
		assert_int_equal(gr_type(s), VIRTIO_GPU_RESP_OK_CAPSET);
		assert_int_equal(s->len, sizeof(struct virtio_gpu_ctrl_hdr) +
						 le32toh(info.capset_max_size));
	}
	/* Streams that read guest memory by themselves are not offered. */
	memcpy(&bits, s->in + sizeof(struct virtio_gpu_ctrl_hdr) + 392, 4);
	assert_int_equal(le32toh(bits) & (1u << 17 | 1u << 26), 0);
	assert_true(le32toh(bits) & 1);
	assert_int_equal(capset_info(2, &info), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(capset_info(UINT32_MAX, &info), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(gr_type(get_capset(3, 0)), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(gr_type(get_capset(2, 77)), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	end();
}

/* Where nobody draws, nothing is offered, and commands of 3D are unknown. */
static void test_without(void **state)
{
	struct virtio_gpu_resp_capset_info info;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu,render=virgl", split);
	assert_false(vg_dev_has(&gr.tp.dev, VIRTIO_GPU_F_VIRGL));
	assert_int_equal(gr_config(&gr).num_capsets, 0);
	assert_int_equal(capset_info(0, &info), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
	assert_int_equal(rr_context(&gr, 1, 0), VIRTIO_GPU_RESP_ERR_UNSPEC);
	assert_int_equal(gr_create(&gr, 1, BGRX, W, H), GR_OK);
	assert_state("none");
	gr_close(&gr);
}

/* Of what is not configured there is nothing, though a renderer should come. */
static void test_off(void **state)
{
	char text[512];

	(void)state;
	rr_start(&rr);
	gr_open(&gr, TP_COPY, "gpu");
	rr_join(&rr, &gr);
	tp_start(&gr.tp, split, 64);
	assert_false(vg_dev_has(&gr.tp.dev, VIRTIO_GPU_F_VIRGL));
	describe(text, sizeof(text));
	assert_null(strstr(text, "3d="));
	gr_close(&gr);
	rr_end(&rr);
}

static void test_configuration(void **state)
{
	struct vg_err err;
	struct tp tp;

	(void)state;
	assert_int_equal(tp_try_open(&tp, TP_COPY, "gpu,render=venus", &err), -EINVAL);
	assert_non_null(strstr(err.text, "render=venus: it is virgl or off"));
}

/* ---- drawing ---------------------------------------------------------------------- */

/* Context 1, and resource @id of W x H attached to it, with memory @b. */
static void canvas(uint32_t id, struct drv_buf *b)
{
	*b = gr_buf(&gr, BYTES, id);
	assert_int_equal(rr_resource(&gr, id, RR_TARGET_2D, BGRA, RR_BIND_RENDER | RR_BIND_SCANOUT,
				     W, H),
			 GR_OK);
	assert_int_equal(gr_attach(&gr, id, b), GR_OK);
	assert_int_equal(rr_attach(&gr, 1, id), GR_OK);
}

/* Make resource @id, by surface @handle, all of that colour. */
static void paint(uint32_t id, uint32_t handle, float red, float green, float blue)
{
	struct rr_stream s = { .n = 0 };

	rr_sub(&s);
	rr_target(&s, handle, id, BGRA);
	rr_clear(&s, red, green, blue);
	assert_int_equal(rr_submit(&gr, 1, &s), GR_OK);
}

static uint32_t pixel_at(const struct drv_buf *b, size_t i)
{
	uint32_t v;

	memcpy(&v, (const uint8_t *)b->virt + i * 4, 4);
	return le32toh(v);
}

static void test_clear(void **state)
{
	struct drv_buf b;

	(void)state;
	begin("gpu,render=virgl");
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	canvas(5, &b);
	paint(5, 1, 1, 0.2f, 0);
	assert_int_equal(rr_transfer(&gr, RR_FROM, 1, 5, 0, 0, W, H, W * 4, 0), GR_OK);
	for (size_t i = 0; i < (size_t)W * H; i++)
		assert_int_equal(pixel_at(&b, i), 0xffff3300);
	assert_int_equal(gr_unref(&gr, 5), GR_OK);
	assert_int_equal(gr.tp.long_maps, 0);
	assert_int_equal(rr_context_end(&gr, 1), GR_OK);
	gr_free(&gr, &b);
	end();
}

/* A triangle over all, whose colour a shader gives: machine code is made, in the sandbox, and run. */
static void test_shaders(void **state)
{
	static const float corners[3][4] = { { -1, -1, 0, 1 }, { 3, -1, 0, 1 }, { -1, 3, 0, 1 } };
	struct rr_stream s = { .n = 0 };
	struct drv_buf b, v;

	(void)state;
	begin("gpu,render=virgl");
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	canvas(5, &b);
	v = gr_buf(&gr, 4096, 0);
	memcpy(v.virt, corners, sizeof(corners));
	assert_int_equal(rr_resource(&gr, 6, RR_TARGET_BUFFER, 64, RR_BIND_VERTEX, sizeof(corners),
				     1),
			 GR_OK);
	assert_int_equal(gr_attach(&gr, 6, &v), GR_OK);
	assert_int_equal(rr_attach(&gr, 1, 6), GR_OK);
	assert_int_equal(rr_transfer(&gr, RR_TO, 1, 6, 0, 0, sizeof(corners), 1, 0, 0), GR_OK);
	rr_sub(&s);
	rr_target(&s, 1, 5, BGRA);
	rr_clear(&s, 1, 0, 0);
	rr_shader(&s, 11, 0,
		  "VERT\nDCL IN[0]\nDCL OUT[0], POSITION\n  0: MOV OUT[0], IN[0]\n  1: END\n");
	rr_shader(&s, 12, 1,
		  "FRAG\nDCL OUT[0], COLOR\nIMM[0] FLT32 { 0.0, 0.8, 0.4, 1.0 }\n"
		  "  0: MOV OUT[0], IMM[0]\n  1: END\n");
	rr_triangle(&s, 6, W, H);
	assert_int_equal(rr_submit(&gr, 1, &s), GR_OK);
	assert_int_equal(rr_transfer(&gr, RR_FROM, 1, 5, 0, 0, W, H, W * 4, 0), GR_OK);
	for (size_t i = 0; i < (size_t)W * H; i++)
		assert_int_equal(pixel_at(&b, i), 0xff00cc66);
	gr_unref(&gr, 6);
	gr_unref(&gr, 5);
	gr_free(&gr, &v);
	gr_free(&gr, &b);
	end();
}

/* What is beside a box stays as it is, in the resource and in guest memory. */
static void test_transfers(void **state)
{
	struct drv_buf b, was;
	uint32_t *p;

	(void)state;
	begin("gpu,render=virgl");
	assert_int_equal(rr_context(&gr, 1, VIRTIO_GPU_CAPSET_VIRGL2), GR_OK);
	canvas(5, &b);
	paint(5, 1, 0, 0, 0);
	/* 8 x 4 pixels, at 10, 20 there and here. */
	p = (uint32_t *)b.virt + 20 * W + 10;
	for (uint32_t y = 0; y < 4; y++) {
		for (uint32_t x = 0; x < 8; x++)
			p[y * W + x] = htole32(0xff000000 | y << 16 | x);
	}
	assert_int_equal(rr_transfer(&gr, RR_TO, 1, 5, 10, 20, 8, 4, W * 4, (20 * W + 10) * 4),
			 GR_OK);
	was = gr_buf(&gr, BYTES, 9);
	memset(b.virt, 0x77, BYTES);
	assert_int_equal(rr_transfer(&gr, RR_FROM, 1, 5, 0, 0, W, H, 0, 0), GR_OK);
	for (uint32_t y = 0; y < H; y++) {
		for (uint32_t x = 0; x < W; x++) {
			bool in = x >= 10 && x < 18 && y >= 20 && y < 24;

			assert_int_equal(pixel_at(&b, (size_t)y * W + x),
					 in ? 0xff000000 | (y - 20) << 16 | (x - 10) : 0xff000000);
		}
	}
	/* Of a part only that part is written. */
	memset(b.virt, 0x77, BYTES);
	assert_int_equal(rr_transfer(&gr, RR_FROM, 1, 5, 10, 20, 8, 4, W * 4, (20 * W + 10) * 4),
			 GR_OK);
	for (uint32_t y = 0; y < H; y++) {
		for (uint32_t x = 0; x < W; x++) {
			bool in = x >= 10 && x < 18 && y >= 20 && y < 24;

			assert_int_equal(pixel_at(&b, (size_t)y * W + x),
					 in ? 0xff000000 | (y - 20) << 16 | (x - 10) : 0x77777777);
		}
	}
	gr_unref(&gr, 5);
	gr_free(&gr, &was);
	gr_free(&gr, &b);
	end();
}

/* A buffer's bytes, there and back. */
static void test_buffer(void **state)
{
	struct drv_buf b = { 0 };
	uint8_t want[1000];

	(void)state;
	begin("gpu,render=virgl");
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	b = gr_buf(&gr, 4096, 3);
	memcpy(want, b.virt, sizeof(want));
	assert_int_equal(rr_resource(&gr, 6, RR_TARGET_BUFFER, 64, RR_BIND_VERTEX, 1000, 1), GR_OK);
	assert_int_equal(gr_attach(&gr, 6, &b), GR_OK);
	assert_int_equal(rr_attach(&gr, 1, 6), GR_OK);
	assert_int_equal(rr_transfer(&gr, RR_TO, 1, 6, 0, 0, 1000, 1, 0, 0), GR_OK);
	memset(b.virt, 0, 4096);
	assert_int_equal(rr_transfer(&gr, RR_FROM, 1, 6, 100, 0, 300, 1, 0, 100), GR_OK);
	assert_memory_equal((uint8_t *)b.virt + 100, want + 100, 300);
	for (unsigned i = 0; i < 4096; i++)
		assert_true((i >= 100 && i < 400) || ((uint8_t *)b.virt)[i] == 0);
	gr_unref(&gr, 6);
	gr_free(&gr, &b);
	end();
}

/* What is drawn is seen, when it is flushed; and a fence waits until somebody has read it. */
static void test_scanout(void **state)
{
	struct virtio_gpu_resource_flush c;
	struct vg_display_msg m;
	struct gr_sent *s;
	struct drv_buf b;

	(void)state;
	begin("gpu,render=virgl");
	gr_look(&gr);
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	canvas(5, &b);
	paint(5, 1, 0, 0.4f, 1);
	assert_int_equal(gr_scanout(&gr, 0, 5, 0, 0, W, H), GR_OK);
	gr_deaf(&gr);
	c = gr_flush_cmd(5, 0, 0, W, H);
	assert_int_equal(rr_cmd(&gr, &c, sizeof(c)), GR_OK);
	m = gr_hear(&gr, VG_DISPLAY_DAMAGE);
	assert_int_equal(m.damage.width, W);
	for (uint32_t y = 0; y < H; y++) {
		for (uint32_t x = 0; x < W; x++)
			assert_int_equal(gr_pixel(&gr, 0, W, x, y), 0x0066ff);
	}
	/* A part of it: the rest is not drawn again. */
	paint(5, 2, 1, 1, 1);
	c = gr_flush_cmd(5, 8, 4, 16, 12);
	c.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
	s = gr_send(&gr, &c, sizeof(c));
	gr_go(&gr);
	while (!gr_heard(&gr, &m))
		gr_go(&gr);
	assert_int_equal(m.type, VG_DISPLAY_DAMAGE);
	assert_int_equal(m.damage.x, 8);
	gr_read(&gr, 0, m.damage.serial);
	assert_int_equal(rr_wait(&gr, s), GR_OK);
	for (uint32_t y = 0; y < H; y++) {
		for (uint32_t x = 0; x < W; x++)
			assert_int_equal(gr_pixel(&gr, 0, W, x, y),
					 x >= 8 && x < 24 && y >= 4 && y < 16 ? 0xffffff
									      : 0x0066ff);
	}
	/* Freed while it is shown. */
	assert_int_equal(gr_unref(&gr, 5), GR_OK);
	gr_hear(&gr, VG_DISPLAY_MODE);
	gr_free(&gr, &b);
	end();
}

static void test_cursor(void **state)
{
	struct vg_display_msg m = { 0 };
	struct rr_stream s = { .n = 0 };

	(void)state;
	begin("gpu,render=virgl");
	gr_look(&gr);
	gr_deaf(&gr);
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	assert_int_equal(rr_resource(&gr, 7, RR_TARGET_2D, BGRA, RR_BIND_RENDER, 64, 64), GR_OK);
	assert_int_equal(rr_attach(&gr, 1, 7), GR_OK);
	rr_sub(&s);
	rr_target(&s, 1, 7, BGRA);
	rr_clear(&s, 1, 0, 1);
	assert_int_equal(rr_submit(&gr, 1, &s), GR_OK);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 7, 3, 4, 1, 1), GR_OK);
	for (int i = 0; i < 200000 && vg_display_cursor(gr.frame, 0)[4095] != 0xffff00ff; i++)
		tp_settle(&gr.tp);
	assert_int_equal(vg_display_cursor(gr.frame, 0)[0], 0xffff00ff);
	assert_int_equal(vg_display_cursor(gr.frame, 0)[4095], 0xffff00ff);
	while (gr_heard(&gr, &m) && m.type != VG_DISPLAY_CURSOR_IS)
		;
	assert_true(m.cursor.visible && m.cursor.changed);
	end();
}

/* The library writes results of queries to guest memory by itself. */
static void test_query(void **state)
{
	enum { QUERY = 9, END = 20, RESULT = 21, TIME = 2, DONE = 1, WAITS = 2 };
	struct rr_stream s = { .n = 0 };
	struct drv_buf b, q;
	volatile uint32_t *is;

	(void)state;
	begin("gpu,render=virgl");
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	canvas(5, &b);
	q = gr_buf(&gr, 4096, 0);
	memset(q.virt, 0, 4096);
	assert_int_equal(rr_resource(&gr, 8, RR_TARGET_BUFFER, 64, RR_BIND_CUSTOM, 16, 1), GR_OK);
	assert_int_equal(gr_attach(&gr, 8, &q), GR_OK);
	assert_int_equal(rr_attach(&gr, 1, 8), GR_OK);
	is = q.virt;
	for (unsigned round = 0; round < 3; round++) {
		s.n = 0;
		is[0] = htole32(WAITS);
		if (round == 0) {
			rr_sub(&s);
			rr_target(&s, 1, 5, BGRA);
			rr_begin(&s, RR_CREATE_OBJECT, QUERY, 4);
			rr_put(&s, 77);
			rr_put(&s, TIME);
			rr_put(&s, 0);
			rr_put(&s, 8);
		}
		rr_clear(&s, 1, 1, 1);
		rr_begin(&s, END, 0, 1);
		rr_put(&s, 77);
		rr_begin(&s, RESULT, 0, 2);
		rr_put(&s, 77);
		rr_put(&s, 1);
		assert_int_equal(rr_submit(&gr, 1, &s), GR_OK);
		assert_int_equal(le32toh(is[0]), DONE);
		assert_true(is[2] || is[3]);
	}
	gr_unref(&gr, 8);
	gr_unref(&gr, 5);
	gr_free(&gr, &q);
	gr_free(&gr, &b);
	end();
}

/* ---- a renderer that is gone -------------------------------------------------------- */

/* Two dimensions go on; the next reset brings another renderer in. */
static void goes_on_in_2d(void)
{
	struct drv_buf b = gr_buf(&gr, BYTES, 7);
	struct rr_stream s = { .n = 0 };

	assert_false(gr_broken(&gr));
	rr_sub(&s);
	assert_int_equal(rr_submit(&gr, 1, &s), VIRTIO_GPU_RESP_ERR_UNSPEC);
	assert_int_equal(rr_context(&gr, 9, 0), VIRTIO_GPU_RESP_ERR_UNSPEC);
	assert_int_equal(gr_create(&gr, 50, BGRX, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 50, &b), GR_OK);
	assert_int_equal(gr_transfer(&gr, 50, 0, 0, W, H, 0), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 50, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_flush(&gr, 50, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_pixel(&gr, 0, W, 1, 0), pixel_at(&b, 1) & 0xffffff);
	assert_int_equal(gr_unref(&gr, 50), GR_OK);
	gr_free(&gr, &b);
}

static void another_comes(struct drv_buf *b)
{
	rr_start(&rr);
	rr_join(&rr, &gr);
	assert_state("reset");
	/* What was is freed in order. */
	assert_int_equal(gr_unref(&gr, 5), GR_OK);
	assert_int_equal(rr_context_end(&gr, 1), GR_OK);
	tp_reset(&gr.tp);
	assert_int_equal(gr.tp.long_maps, 0);
	tp_start(&gr.tp, split, 64);
	assert_state("virgl");
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	gr_free(&gr, b);
	canvas(5, b);
	paint(5, 1, 0, 1, 0);
	assert_int_equal(rr_transfer(&gr, RR_FROM, 1, 5, 0, 0, W, H, W * 4, 0), GR_OK);
	assert_int_equal(pixel_at(b, 0), 0xff00ff00);
}

static void goes_by(int signal)
{
	struct drv_buf b;
	int status;

	begin("gpu,render=virgl");
	gr_look(&gr);
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	canvas(5, &b);
	kill(rr.pid, signal);
	status = rr_reap(&rr);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signal);
	await_state("lost");
	goes_on_in_2d();
	another_comes(&b);
	end();
	gr_unlook(&gr);
}

static void test_killed(void **state)
{
	(void)state;
	goes_by(SIGKILL);
}

/* Its alarm ends it, wherever it is: nobody has to take notice. */
static void test_alarm(void **state)
{
	(void)state;
	goes_by(SIGALRM);
}

/* One that does not answer is given up, and what waits for it is answered. */
static void test_hung(void **state)
{
	struct gpu *gpu;
	struct gr_sent *sent;
	struct drv_buf b;
	struct rr_stream s = { .n = 0 };
	int64_t patience;

	(void)state;
	begin("gpu,render=virgl");
	gr_look(&gr);
	gpu = gr.tp.dev.priv;
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	canvas(5, &b);
	patience = gpu->render.patience_ns;
	assert_true(patience > VG_RENDER_PATIENCE_S * NS_PER_S);
	gpu->render.patience_ns = NS_PER_S / 10;
	kill(rr.pid, SIGSTOP);
	rr_sub(&s);
	sent = rr_send(&gr, 1, s.word, s.n * 4, s.n * 4);
	assert_int_equal(rr_wait(&gr, sent), VIRTIO_GPU_RESP_ERR_UNSPEC);
	gpu->render.patience_ns = patience;
	assert_state("lost");
	goes_on_in_2d();
	/* Once it goes on it finds nobody there, and ends. */
	kill(rr.pid, SIGCONT);
	assert_true(WIFEXITED(rr_reap(&rr)));
	another_comes(&b);
	end();
}

/* Many at once, and the renderer away meanwhile: what is not answered stays in the ring. */
static void test_many(void **state)
{
	struct gr_sent *sent[GR_SLOTS];
	struct drv_buf b;

	(void)state;
	begin("gpu,render=virgl");
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	canvas(5, &b);
	for (unsigned round = 0; round < 20; round++) {
		const struct virtio_gpu_transfer_host_3d c =
			rr_transfer_cmd(RR_TO, 1, 5, 0, 0, W, H, W * 4, 0);
		unsigned n = 0;

		while (n < 30)
			sent[n++] = gr_send(&gr, &c, sizeof(c));
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(rr_wait(&gr, sent[i]), GR_OK);
	}
	gr_unref(&gr, 5);
	gr_free(&gr, &b);
	end();
}

/* The driver leaves while the renderer is at it. */
static void test_reset(void **state)
{
	struct drv_buf b;

	(void)state;
	begin("gpu,render=virgl");
	for (unsigned round = 0; round < 3; round++) {
		const struct virtio_gpu_transfer_host_3d c =
			rr_transfer_cmd(RR_FROM, 1, 5, 0, 0, W, H, W * 4, 0);

		assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
		canvas(5, &b);
		for (unsigned i = 0; i < 20; i++)
			gr_send(&gr, &c, sizeof(c));
		tp_kick(&gr.tp, GR_CONTROLQ);
		tp_reset(&gr.tp);
		assert_int_equal(gr.tp.long_maps, 0);
		gr_free(&gr, &b);
		tp_start(&gr.tp, split, 64);
		assert_state("virgl");
	}
	end();
}

/* A worker in the place of one that died: what was drawn is lost, until the driver resets the device. */
static void test_resume(void **state)
{
	static uint8_t memory[TP_MEMORY];
	uint64_t features;
	struct drv_buf b;
	size_t size;
	void *saved;

	(void)state;
	begin("gpu,render=virgl");
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	canvas(5, &b);
	size = gr.tp.dev.saved_size;
	saved = malloc(size);
	assert_non_null(saved);
	memcpy(saved, gr.tp.dev.saved, size);
	memcpy(memory, gr.tp.memory, TP_MEMORY);
	features = gr.tp.dev.features & ~VG_FEATURE(VG_F_RING_PACKED);
	end();

	rr_start(&rr);
	gr_open(&gr, TP_COPY, "gpu,render=virgl");
	memcpy(gr.tp.memory, memory, TP_MEMORY);
	gr_look(&gr);
	rr_join(&rr, &gr);
	vg_dev_resume(&gr.tp.dev, 15, features, 3, saved, size);
	tp_start_queue(&gr.tp, GR_CONTROLQ, 64);
	tp_start_queue(&gr.tp, GR_CURSORQ, 64);
	vg_dev_resumed(&gr.tp.dev);
	assert_false(gr_broken(&gr));
	assert_state("reset");
	assert_int_equal(gr.tp.long_maps, 1);
	goes_on_in_2d();
	assert_int_equal(gr_unref(&gr, 5), GR_OK);
	assert_int_equal(gr.tp.long_maps, 0);
	tp_reset(&gr.tp);
	tp_start(&gr.tp, split, 64);
	assert_state("virgl");
	assert_int_equal(rr_context(&gr, 1, 0), GR_OK);
	end();
	free(saved);
}

/* A machine without Mesa: a sentence. */
static void test_no_egl(void **state)
{
	char *env[] = { (char *)(uintptr_t) "__EGL_VENDOR_LIBRARY_FILENAMES=/nowhere.json",
			(char *)(uintptr_t) "ASAN_OPTIONS=detect_leaks=0", NULL };
	struct vg_ipc m = rr_start_with(&rr, env);

	(void)state;
	assert_int_equal(m.type, VG_IPC_FAILED);
	assert_non_null(strstr(m.text, "install libegl1 and libgl1-mesa-dri"));
	assert_true(WIFEXITED(rr_reap(&rr)));
}

/* A machine without GL's own library, which is a package of its own. */
static void test_no_gl(void **state)
{
	char *env[] = { (char *)(uintptr_t) "ASAN_OPTIONS=detect_leaks=0", NULL };
	struct vg_ipc m;
	glob_t g = { 0 };

	(void)state;
	if (unshare(CLONE_NEWNS) < 0)
		skip();
	assert_return_code(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	glob("/usr/lib/*/libGL.so.1", 0, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc; i++)
		assert_return_code(mount("/dev/null", g.gl_pathv[i], NULL, MS_BIND, NULL), 0);
	m = rr_start_with(&rr, env);
	assert_int_equal(m.type, VG_IPC_FAILED);
	assert_non_null(strstr(m.text, "install libgl1"));
	assert_true(WIFEXITED(rr_reap(&rr)));
	for (size_t i = 0; i < g.gl_pathc; i++)
		umount(g.gl_pathv[i]);
	globfree(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capsets), cmocka_unit_test(test_without),
		cmocka_unit_test(test_off),	cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_clear),	cmocka_unit_test(test_shaders),
		cmocka_unit_test(test_alarm),	cmocka_unit_test(test_transfers),
		cmocka_unit_test(test_buffer),	cmocka_unit_test(test_scanout),
		cmocka_unit_test(test_cursor),	cmocka_unit_test(test_query),
		cmocka_unit_test(test_killed),	cmocka_unit_test(test_hung),
		cmocka_unit_test(test_many),	cmocka_unit_test(test_reset),
		cmocka_unit_test(test_resume),	cmocka_unit_test(test_no_egl),
		cmocka_unit_test(test_no_gl),
	};

	vg_log_init(VG_LOG_STDERR, VG_LOG_ERR, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
