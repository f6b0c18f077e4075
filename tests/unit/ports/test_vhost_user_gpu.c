// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_vhost_user_gpu.c - a picture that the front-end shows itself, by QEMU's GPU socket
 *
 *	driver (gpu_rig.h) - device - screen.c - socket - the front-end's end (screen_rig.h)
 *
 * The device lies on the port of the tests, and the real port's screen beside it; how a front-end hands
 * its socket over is tried with the real port, at the end. The loop's clock stands still until a test
 * moves it: however slow this machine is, nobody waits in vain.
 */
#include "tests/rigs/gpu_rig.h"
#include "tests/rigs/screen_rig.h"
#include "tests/rigs/vu_rig.h"

#include <sys/eventfd.h>

#include "backend/ports/vhost_user/int.h"

enum { W = 200, H = 120, BYTES = W * H * 4 };

/* In order, an answer that waits would hold up those behind it. */
static const uint64_t features =
	TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED) & ~VG_FEATURE(VG_F_IN_ORDER);

static struct gr gr;
static struct vg_vu vu;
static struct sr sr;
static struct drv_buf buf;

static int64_t clock_ns = 1;

int64_t __wrap_vg_loop_now(struct vg_loop *loop); /* for screen.c, and the device */

int64_t __wrap_vg_loop_now(struct vg_loop *loop)
{
	(void)loop;
	return clock_ns;
}

/* Until @s is answered, for which nobody waits any more. */
static void out_of_patience(struct gr_sent *s)
{
	while (!s->done) {
		gr_go(&gr);
		clock_ns += NS_PER_S;
	}
}

static void turn(void *ctx)
{
	(void)ctx;
	tp_settle(&gr.tp);
}

static void attach_screen(void)
{
	assert_int_equal(vg_vu_screen_new(&vu, sr_open(&sr, turn, NULL)), 0);
}

static void up(const char *spec)
{
	gr_up(&gr, TP_COPY, spec, features);
	memset(&vu, 0, sizeof(vu));
	vu.dev = &gr.tp.dev;
	vu.log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	attach_screen();
	sr.width[0] = 1024;
	sr.height[0] = 600;
	buf = gr_buf(&gr, BYTES, 1);
}

static void down(void)
{
	vg_vu_screen_drop(&vu);
	sr_close(&sr);
	tp_reset(&gr.tp);
	gr_free(&gr, &buf);
	gr_close(&gr);
}

/* A picture of the guest's, shown on head @head. */
static void show(uint32_t head, uint32_t id)
{
	assert_int_equal(gr_create(&gr, id, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, id, &buf), GR_OK);
	assert_int_equal(gr_transfer(&gr, id, 0, 0, W, H, 0), GR_OK);
	assert_int_equal(gr_scanout(&gr, head, id, 0, 0, W, H), GR_OK);
}

/* Eight of the bits are nobody's. */
static uint32_t seen(uint32_t head, size_t pixel)
{
	return sr.head[head].pixels[pixel] & 0xffffff;
}

static void assert_shown(uint32_t head, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	const uint8_t *p = buf.virt;

	assert_int_equal(sr.head[head].width, W);
	assert_int_equal(sr.head[head].height, H);
	for (uint32_t j = y; j < y + h; j++) {
		for (uint32_t i = x; i < x + w; i++) {
			const uint8_t *at = p + ((size_t)j * W + i) * 4;
			uint32_t want = (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];

			if (seen(head, j * W + i) != want)
				fail_msg("pixel %u,%u: %06x, not %06x", i, j, seen(head, j * W + i),
					 want);
		}
	}
}

static struct gr_sent *ask_info(void)
{
	const struct virtio_gpu_ctrl_hdr c = { .type = htole32(VIRTIO_GPU_CMD_GET_DISPLAY_INFO) };

	return gr_send(&gr, &c, sizeof(c));
}

static struct gr_sent *ask_edid(uint32_t head)
{
	const struct virtio_gpu_cmd_get_edid c = { GR_HDR(GET_EDID), htole32(head), 0 };

	return gr_send(&gr, &c, sizeof(c));
}

static struct virtio_gpu_resp_display_info info_of(const struct gr_sent *s)
{
	struct virtio_gpu_resp_display_info i;

	assert_int_equal(gr_type(s), VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
	assert_int_equal(s->len, sizeof(i));
	memcpy(&i, s->in, sizeof(i));
	return i;
}

static void assert_info(const struct gr_sent *s, uint32_t width, uint32_t height)
{
	const struct virtio_gpu_resp_display_info i = info_of(s);

	assert_int_equal(le32toh(i.pmodes[0].enabled), width != 0);
	assert_int_equal(le32toh(i.pmodes[0].r.width), width);
	assert_int_equal(le32toh(i.pmodes[0].r.height), height);
}

/* Its first timing says so. */
static void assert_own_edid(const struct gr_sent *s, unsigned width, unsigned height)
{
	struct virtio_gpu_resp_edid e;
	const uint8_t *d = e.edid + 54;

	assert_int_equal(gr_type(s), VIRTIO_GPU_RESP_OK_EDID);
	memcpy(&e, s->in, sizeof(e));
	assert_int_equal(le32toh(e.size), 128);
	assert_int_equal(d[2] | (d[4] >> 4) << 8, width);
	assert_int_equal(d[5] | (d[7] >> 4) << 8, height);
}

/* ---- pictures ----------------------------------------------------------- */

static void test_a_picture(void **state)
{
	(void)state;
	up("gpu,blob=0");
	assert_true(sr_look(&sr));
	assert_int_equal(sr.seen[SR_GET_PROTOCOL_FEATURES], 1);
	assert_int_equal(sr.seen[SR_SET_PROTOCOL_FEATURES], 1);
	assert_int_equal(sr.agreed, 1); /* EDID; not DMABUF2 */
	show(0, 1);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.head[0].width, W);
	assert_int_equal(sr.seen[SR_UPDATE], 0);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	assert_true(sr_look(&sr));
	assert_shown(0, 0, 0, W, H);
	/* What changed, and no more. */
	memset(buf.virt, 0x5a, BYTES);
	assert_int_equal(gr_transfer(&gr, 1, 0, 0, W, H, 0), GR_OK);
	sr.bytes = 0;
	assert_int_equal(gr_flush(&gr, 1, 30, 40, 50, 20), GR_OK);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.bytes, 50 * 20 * 4);
	assert_shown(0, 30, 40, 50, 20);
	assert_int_not_equal(seen(0, 0), 0x5a5a5a);
	/* A part of it, and nothing. */
	assert_int_equal(gr_scanout(&gr, 0, 1, 10, 10, 100, 50), GR_OK);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.head[0].width, 100);
	assert_int_equal(sr.head[0].height, 50);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	assert_true(sr_look(&sr));
	assert_int_equal(seen(0, 100 * 50 - 1), 0x5a5a5a);
	assert_int_equal(gr_scanout(&gr, 0, 0, 0, 0, 0, 0), GR_OK);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.head[0].width, 0);
	down();
}

/* Far more than a socket holds: what is told is one message after the other. */
static void test_a_large_picture(void **state)
{
	enum { LARGE_W = 1920, LARGE_H = 1080 };
	struct drv_buf large;

	(void)state;
	up("gpu,blob=0");
	large = gr_buf(&gr, (size_t)LARGE_W * LARGE_H * 4, 9);
	assert_int_equal(gr_create(&gr, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, LARGE_W, LARGE_H),
			 GR_OK);
	assert_int_equal(gr_attach(&gr, 1, &large), GR_OK);
	assert_int_equal(gr_transfer(&gr, 1, 0, 0, LARGE_W, LARGE_H, 0), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 1, 0, 0, LARGE_W, LARGE_H), GR_OK);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, LARGE_W, LARGE_H), GR_OK);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.bytes, LARGE_W * LARGE_H * 4);
	for (unsigned i = 0; i < LARGE_W * LARGE_H; i++) {
		const uint8_t *at = (const uint8_t *)large.virt + (size_t)i * 4;

		if (seen(0, i) != ((uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0]))
			fail_msg("pixel %u", i);
	}
	assert_int_equal(gr_unref(&gr, 1), GR_OK);
	gr_free(&gr, &large);
	down();
}

static void test_two_heads(void **state)
{
	(void)state;
	up("gpu,heads=2,blob=0");
	show(0, 1);
	show(1, 2);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_flush(&gr, 2, 0, 0, W, H), GR_OK);
	assert_true(sr_look(&sr));
	assert_shown(0, 0, 0, W, H);
	assert_shown(1, 0, 0, W, H);
	down();
}

/* A front-end that comes when there is a picture is shown all of it: QEMU, when it goes on. */
static void test_another_screen(void **state)
{
	(void)state;
	up("gpu,blob=0");
	show(0, 1);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	assert_true(sr_look(&sr));
	sr_close(&sr);
	turn(NULL);
	assert_null(vu.screen);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	attach_screen();
	assert_true(sr_look(&sr));
	assert_shown(0, 0, 0, W, H);
	down();
}

/* Both are shown it, and each is told of the damage that the other has heard of. */
static void test_beside_a_display(void **state)
{
	struct vg_display_msg m;
	unsigned damages = 0;

	(void)state;
	up("gpu,blob=0");
	gr_look(&gr);
	show(0, 1);
	gr_deaf(&gr);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	while (gr_heard(&gr, &m))
		damages += m.type == VG_DISPLAY_DAMAGE;
	assert_int_equal(damages, 1);
	assert_true(sr_look(&sr));
	assert_shown(0, 0, 0, W, H);
	gr_unlook(&gr);
	tp_settle(&gr.tp);
	/* Without a display nothing is told again and again. */
	sr.bytes = 0;
	assert_int_equal(gr_flush(&gr, 1, 0, 0, 8, 8), GR_OK);
	for (unsigned i = 0; i < 3; i++)
		gr.tp.dev.ops->tick(&gr.tp.dev);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.bytes, 8 * 8 * 4);
	down();
}

/* ---- fences, and a front-end that is slow ------------------------------- */

static struct gr_sent *fenced_flush(uint32_t id)
{
	struct virtio_gpu_resource_flush c = gr_flush_cmd(id, 0, 0, W, H);

	c.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
	c.hdr.fence_id = htole64(7);
	return gr_send(&gr, &c, sizeof(c));
}

/* A frame is done when it has been copied. */
static void test_a_fence(void **state)
{
	struct gr_sent *s;

	(void)state;
	up("gpu,blob=0");
	show(0, 1);
	assert_true(sr_look(&sr));
	s = fenced_flush(1);
	gr_go(&gr);
	gr_go(&gr);
	assert_true(s->done);
	down();
}

/* What was drawn, and is gone before it is told: nobody waits for it. */
static void test_a_fence_of_what_is_gone(void **state)
{
	const struct virtio_gpu_set_scanout c = {
		GR_HDR(SET_SCANOUT), { 0, 0, htole32(W / 2), htole32(H / 2) }, 0, htole32(1)
	};
	struct gr_sent *s;

	(void)state;
	up("gpu,blob=0");
	show(0, 1);
	assert_true(sr_look(&sr));
	s = fenced_flush(1);
	gr_send(&gr, &c, sizeof(c));
	gr_go(&gr);
	assert_true(s->done);
	down();
}

static unsigned late(void)
{
	char text[512];
	unsigned n = 99;

	gr.tp.dev.ops->describe(&gr.tp.dev, text, sizeof(text));
	assert_non_null(strstr(text, "display=front-end"));
	assert_int_equal(sscanf(strstr(text, "late="), "late=%u", &n), 1);
	return n;
}

/* It reads nothing while the guest draws a thousand frames: what it gets then is a few of them, the
 * last one whole. */
static void test_does_not_read(void **state)
{
	struct gr_sent *s;

	(void)state;
	up("gpu,blob=0");
	show(0, 1);
	for (unsigned i = 0; i < 1000; i++) {
		memset(buf.virt, (int)i, BYTES);
		assert_int_equal(gr_transfer(&gr, 1, 0, 0, W, H, 0), GR_OK);
		assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	}
	/* A fence is not waited for without end. */
	s = fenced_flush(1);
	out_of_patience(s);
	assert_int_equal(late(), 1);
	assert_true(sr_look(&sr));
	assert_shown(0, 0, 0, W, H);
	assert_true(sr.bytes < 1 << 20);
	/* One that reads is waited for. */
	s = fenced_flush(1);
	gr_go(&gr);
	assert_true(sr_look(&sr));
	gr_go(&gr);
	assert_true(s->done);
	assert_int_equal(late(), 1);
	down();
}

/* It reads more slowly than the guest draws the upper rows: the lower ones are shown all the same. */
static void test_drawn_from_above(void **state)
{
	enum { TALL = 4000 };
	struct drv_buf tall;

	(void)state;
	up("gpu,blob=0");
	tall = gr_buf(&gr, (size_t)W * TALL * 4, 3);
	assert_int_equal(gr_create(&gr, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, W, TALL), GR_OK);
	assert_int_equal(gr_attach(&gr, 1, &tall), GR_OK);
	assert_int_equal(gr_transfer(&gr, 1, 0, 0, W, TALL, 0), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 1, 0, 0, W, TALL), GR_OK);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, TALL), GR_OK);
	for (unsigned i = 0; i < 200 && sr.last[2] + sr.last[4] < TALL; i++) {
		assert_int_equal(gr_flush(&gr, 1, 0, 0, W, 1000), GR_OK);
		if (sr_read(&sr) == 1)
			sr_take(&sr);
	}
	assert_int_equal(sr.last[2] + sr.last[4], TALL);
	assert_int_equal(gr_unref(&gr, 1), GR_OK);
	gr_free(&gr, &tall);
	down();
}

/* ---- cursors ------------------------------------------------------------ */

static void test_cursors(void **state)
{
	struct drv_buf image;
	const uint8_t *p;

	(void)state;
	up("gpu,blob=0");
	image = gr_buf(&gr, SR_CURSOR * SR_CURSOR * 4, 77);
	p = image.virt;
	assert_int_equal(gr_create(&gr, 5, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, SR_CURSOR, SR_CURSOR),
			 GR_OK);
	assert_int_equal(gr_attach(&gr, 5, &image), GR_OK);
	assert_int_equal(gr_transfer(&gr, 5, 0, 0, SR_CURSOR, SR_CURSOR, 0), GR_OK);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 5, 100, 50, 3, 4), GR_OK);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.seen[SR_CURSOR_UPDATE], 1);
	assert_true(sr.head[0].cursor_shown);
	assert_int_equal(sr.head[0].cursor_x, 100);
	assert_int_equal(sr.head[0].cursor_y, 50);
	assert_int_equal(sr.head[0].hot_x, 3);
	assert_int_equal(sr.head[0].hot_y, 4);
	for (unsigned i = 0; i < SR_CURSOR * SR_CURSOR; i++, p += 4)
		assert_int_equal(sr.head[0].cursor[i], (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 |
							       (uint32_t)p[1] << 8 | p[0]);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_MOVE_CURSOR, 0, 5, 7, 8, 0, 0), GR_OK);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.seen[SR_CURSOR_POS], 1);
	assert_int_equal(sr.seen[SR_CURSOR_UPDATE], 1);
	assert_int_equal(sr.head[0].cursor_x, 7);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 0, 7, 8, 0, 0), GR_OK);
	assert_true(sr_look(&sr));
	assert_false(sr.head[0].cursor_shown);
	assert_int_equal(gr_unref(&gr, 5), GR_OK);
	gr_free(&gr, &image);
	down();
}

/* ---- monitors ----------------------------------------------------------- */

static void test_monitors(void **state)
{
	const struct virtio_gpu_resp_edid want = sr_edid(1);
	struct virtio_gpu_resp_edid got;
	struct gr_sent *i, *e;

	(void)state;
	up("gpu,heads=2,mode=1920x1080");
	sr.width[1] = 5000; /* that no EDID of ours tells */
	sr.height[1] = 3000;
	/* As Linux' driver begins, before the front-end has said a word. */
	e = ask_edid(1);
	i = ask_info();
	gr_go(&gr);
	assert_false(e->done);
	assert_false(i->done);
	assert_true(sr_look(&sr));
	gr_go(&gr);
	assert_info(i, 1024, 600);
	assert_int_equal(le32toh(info_of(i).pmodes[1].r.width), 5000);
	assert_int_equal(gr_type(e), VIRTIO_GPU_RESP_OK_EDID);
	memcpy(&got, e->in, sizeof(got));
	assert_int_equal(e->len, sizeof(got));
	assert_int_equal(got.size, want.size);
	assert_memory_equal(got.edid, want.edid, sizeof(got.edid));
	/* Its window has another size: it tells the driver so itself, who asks again. */
	sr.width[0] = 800;
	i = ask_info();
	gr_go(&gr);
	assert_true(sr_look(&sr));
	gr_go(&gr);
	assert_info(i, 800, 600);
	assert_int_equal(gr.tp.config_changes, 0);
	/* A head that is not there is not asked for. */
	e = ask_edid(2);
	gr_go(&gr);
	assert_int_equal(gr_type(e), VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
	down();
}

/* QEMU before 8.1: the EDID is ours, of the size that it says. */
static void test_without_edid(void **state)
{
	struct gr_sent *e;

	(void)state;
	up("gpu,mode=1920x1080");
	sr.features = 0;
	e = ask_edid(0);
	gr_go(&gr);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.agreed, 0);
	gr_go(&gr);
	assert_own_edid(e, 1024, 600);
	assert_int_equal(sr.seen[SR_GET_EDID], 0);
	down();
}

/* A guest asks for the EDID of a head that the front-end has not: what is asked next is answered right. */
static void test_unknown_head(void **state)
{
	struct gr_sent *e, *i;

	(void)state;
	up("gpu,heads=2,mode=1920x1080");
	sr.no_edid = true;
	e = ask_edid(1);
	i = ask_info();
	gr_go(&gr);
	assert_true(sr_look(&sr));
	gr_go(&gr);
	assert_info(i, 1024, 600);
	assert_own_edid(e, 1920, 1080);
	assert_non_null(vu.screen);
	down();
}

/* Of any size: the guest is the front-end's own. What no EDID of ours can tell is not taken into one. */
static void test_absurd_monitors(void **state)
{
	struct gr_sent *e, *i;

	(void)state;
	up("gpu,heads=2,mode=1920x1080");
	sr.features = 0;
	sr.width[0] = UINT32_MAX;
	sr.height[0] = UINT32_MAX;
	sr.width[1] = (1 << 16) + 640;
	sr.height[1] = 480;
	i = ask_info();
	gr_go(&gr);
	assert_true(sr_look(&sr));
	gr_go(&gr);
	assert_info(i, UINT32_MAX, UINT32_MAX);
	assert_int_equal(le32toh(info_of(i).pmodes[1].r.width), (1 << 16) + 640);
	e = ask_edid(1);
	gr_go(&gr);
	assert_true(sr_look(&sr));
	gr_go(&gr);
	assert_own_edid(e, 1920, 1080);
	down();
}

/* Nobody else says what monitors there are. */
static void test_whose_monitors(void **state)
{
	const struct vg_display_msg wish = { .type = VG_DISPLAY_WISH, .mode = { 640, 480 } };
	struct vg_err err;

	(void)state;
	up("gpu");
	gr_look(&gr);
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "mode", "640x480", &err), -EBUSY);
	assert_non_null(strstr(err.text, "front-end"));
	gr_say(&gr, &wish);
	assert_int_equal(gr.tp.config_changes, 0);
	vg_vu_screen_drop(&vu);
	gr_say(&gr, &wish);
	assert_int_equal(gr.tp.config_changes, 1);
	down();
}

/* QEMU hands on all of the configuration when a driver clears its events. */
static void test_configuration_of_qemu(void **state)
{
	struct virtio_gpu_config c;

	(void)state;
	up("gpu");
	vg_vu_screen_drop(&vu);
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "mode", "640x480", &(struct vg_err){ "" }),
			 0);
	c = gr_config(&gr);
	assert_int_equal(le32toh(c.events_read), VIRTIO_GPU_EVENT_DISPLAY);
	c.events_clear = htole32(VIRTIO_GPU_EVENT_DISPLAY);
	c.num_scanouts = htole32(9);
	assert_int_equal(vg_dev_config_write(&gr.tp.dev, 0, &c, sizeof(c)), 0);
	c = gr_config(&gr);
	assert_int_equal(c.events_read, 0);
	assert_int_equal(le32toh(c.num_scanouts), 1);
	assert_int_equal(vg_dev_config_write(&gr.tp.dev, 0, &c, 8), -EPERM);
	down();
}

/* ---- a front-end that does not answer ----------------------------------- */

/* Its questions wait, and nothing else does; then they are answered by what the device knows. */
static void test_does_not_answer(void **state)
{
	struct gr_sent *i, *e;

	(void)state;
	up("gpu,mode=1280x720,blob=0");
	sr.silent = true;
	i = ask_info();
	gr_go(&gr);
	assert_true(sr_look(&sr));
	assert_false(i->done);
	show(0, 1);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	assert_true(sr_look(&sr));
	assert_shown(0, 0, 0, W, H);
	out_of_patience(i);
	assert_info(i, 1280, 720);
	/* More questions than it may leave unanswered are not asked. */
	for (unsigned n = 0; n < 31; n++)
		ask_edid(0);
	gr_go(&gr);
	e = ask_edid(0);
	gr_go(&gr);
	assert_own_edid(e, 1280, 720);
	down();
}

/* An answer comes in as many pieces as it has bytes; before the last one nothing is answered. */
static void test_byte_by_byte(void **state)
{
	struct {
		uint32_t hdr[3];
		struct virtio_gpu_resp_edid edid;
	} __attribute__((packed)) m = { { SR_GET_EDID, SR_REPLY, sizeof(m.edid) }, sr_edid(0) };
	struct gr_sent *e;

	(void)state;
	up("gpu");
	assert_true(sr_look(&sr));
	sr.silent = true;
	e = ask_edid(0);
	gr_go(&gr);
	assert_true(sr_look(&sr));
	for (size_t at = 0; at < sizeof(m); at++) {
		assert_false(e->done);
		assert_int_equal(send(sr.sock, (uint8_t *)&m + at, 1, MSG_NOSIGNAL), 1);
		tp_settle(&gr.tp);
	}
	gr_go(&gr);
	assert_int_equal(gr_type(e), VIRTIO_GPU_RESP_OK_EDID);
	assert_memory_equal(e->in + offsetof(struct virtio_gpu_resp_edid, edid), m.edid.edid,
			    sizeof(m.edid.edid));
	down();
}

/* It answers when nobody waits any more: that is heard, and is no answer to what was asked since. */
static void test_answers_late(void **state)
{
	struct gr_sent *i;

	(void)state;
	up("gpu,mode=1280x720");
	assert_true(sr_look(&sr));
	sr.silent = true;
	i = ask_info();
	gr_go(&gr);
	assert_true(sr_look(&sr));
	assert_int_equal(sr.asked, SR_GET_DISPLAY_INFO);
	out_of_patience(i);
	assert_info(i, 1280, 720);
	i = ask_info();
	gr_go(&gr);
	sr_say_monitors(&sr);
	tp_settle(&gr.tp);
	gr_go(&gr);
	assert_false(i->done);
	sr.width[0] = 800;
	sr_say_monitors(&sr);
	tp_settle(&gr.tp);
	gr_go(&gr);
	assert_info(i, 800, 600);
	down();
}

/* Hung up on, or stopped, while questions wait. */
static void test_ends_with_questions(void **state)
{
	struct gr_sent *i;

	(void)state;
	up("gpu,mode=1280x720");
	sr.silent = true;
	i = ask_info();
	gr_go(&gr);
	close(sr.sock);
	sr.sock = -1;
	gr_go(&gr);
	gr_go(&gr);
	assert_info(i, 1280, 720);
	assert_null(vu.screen);
	sr_close(&sr);
	attach_screen();
	sr.silent = true;
	ask_info();
	ask_edid(0);
	gr_go(&gr);
	tp_reset(&gr.tp);
	/* What it answers now nobody asked. */
	assert_true(sr_look(&sr));
	sr.silent = false;
	sr_answer(&sr, SR_GET_PROTOCOL_FEATURES);
	assert_true(sr_look(&sr));
	assert_non_null(vu.screen);
	down();
}

/* ---- a front-end that talks nonsense ------------------------------------ */

enum nonsense {
	ANOTHER_ANSWER,
	TOO_SHORT,
	TOO_LONG,
	FAR_TOO_LONG,
	NO_REPLY,
	NOT_OK,
	NO_EDID,
	LONG_EDID,
	ODD_EDID,
	NONSENSE,
};

static void talk_nonsense(enum nonsense what)
{
	struct virtio_gpu_resp_edid e = sr_edid(0);
	uint8_t longer[sizeof(e) + 8] = { 0 };
	const uint32_t hdr[3] = { SR_GET_EDID, SR_REPLY, 0x7fffffff };

	memcpy(longer, &e, sizeof(e));
	switch (what) {
	case ANOTHER_ANSWER:
		sr_say_monitors(&sr);
		return;
	case TOO_SHORT:
		sr_say(&sr, SR_GET_EDID, SR_REPLY, &e, sizeof(e) - 4);
		return;
	case TOO_LONG:
		sr_say(&sr, SR_GET_EDID, SR_REPLY, longer, sizeof(longer));
		return;
	case FAR_TOO_LONG:
		assert_int_equal(send(sr.sock, hdr, sizeof(hdr), 0), sizeof(hdr));
		return;
	case NO_REPLY:
		sr_say(&sr, SR_GET_EDID, 0, &e, sizeof(e));
		return;
	case NOT_OK:
		e.hdr.type = htole32(VIRTIO_GPU_RESP_ERR_UNSPEC);
		break;
	case NO_EDID:
		e.size = 0;
		break;
	case LONG_EDID:
		e.size = htole32(1152);
		break;
	case ODD_EDID:
		e.size = htole32(127);
		break;
	case NONSENSE:
		break;
	}
	sr_say(&sr, SR_GET_EDID, SR_REPLY, &e, sizeof(e));
}

/* It is not heard any more, nor shown anything; the guest is served all the same. */
static void test_nonsense(void **state)
{
	(void)state;
	up("gpu,mode=1280x720,blob=0");
	for (unsigned what = 0; what < NONSENSE; what++) {
		struct gr_sent *e;

		assert_true(sr_look(&sr));
		assert_non_null(vu.screen);
		sr.silent = true;
		e = ask_edid(0);
		gr_go(&gr);
		assert_true(sr_look(&sr));
		assert_int_equal(sr.asked, SR_GET_EDID);
		talk_nonsense(what);
		assert_false(sr_look(&sr));
		assert_null(vu.screen);
		gr_go(&gr);
		assert_own_edid(e, 1280, 720);
		sr_close(&sr);
		attach_screen();
	}
	down();
}

/* Answers that nobody asked for, and answers without end. */
static void test_unasked(void **state)
{
	(void)state;
	up("gpu,blob=0");
	assert_true(sr_look(&sr));
	sr_say_monitors(&sr);
	assert_false(sr_look(&sr));
	assert_null(vu.screen);
	sr_close(&sr);
	attach_screen();
	assert_true(sr_look(&sr));
	for (unsigned i = 0; i < 100; i++) {
		const uint32_t hdr[3] = { 10, SR_REPLY, 0 };

		if (send(sr.sock, hdr, sizeof(hdr), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	}
	assert_false(sr_look(&sr));
	assert_null(vu.screen);
	show(0, 1);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	down();
}

/* Descriptors that come with an answer are closed. */
static void test_descriptors(void **state)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct {
		uint32_t hdr[3];
		uint64_t features;
	} __attribute__((packed)) m = { { SR_GET_PROTOCOL_FEATURES, SR_REPLY, 8 }, 3 };
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control) };
	unsigned before;

	(void)state;
	up("gpu");
	sr.silent = true;
	assert_true(sr_look(&sr));
	before = rig_fds();
	CMSG_FIRSTHDR(&mh)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&mh)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&mh)->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&mh)), &sr.sock, sizeof(int));
	assert_int_equal(sendmsg(sr.sock, &mh, 0), sizeof(m));
	tp_settle(&gr.tp);
	assert_null(vu.screen);
	assert_int_equal(rig_fds(), before - 1); /* and the back-end's own end */
	down();
}

/* ---- the socket is handed over ------------------------------------------ */

static struct vu_rig rig;

static void rig_settled(void *ctx)
{
	rig_settle(ctx);
}

static int set_socket(struct sr *s)
{
	int fd = sr_open(s, rig_settled, &rig), ret;

	ret = vuf_do(&rig.f, 33, NULL, 0, fd);
	close(fd);
	return ret;
}

/* As QEMU does: before the queues are started. A command on a real ring; and who is gone is shown
 * nothing any more, though its socket be open still. */
static void test_set_socket(void **state)
{
	const struct virtio_gpu_ctrl_hdr c = { .type = htole32(VIRTIO_GPU_CMD_GET_DISPLAY_INFO) };
	struct virtio_gpu_resp_display_info i;
	struct drv_buf mem;
	struct drv_used used;
	struct drv_seg out, in;
	struct sr s;

	(void)state;
	rig_open(&rig, "gpu", NULL);
	rig_connect(&rig, RIG_GUEST, RIG_USER);
	assert_int_equal(vuf_negotiate(&rig.f), 0);
	assert_int_equal(vuf_share(&rig.f), 0);
	assert_int_equal(set_socket(&s), 0);
	s.width[0] = 333;
	s.height[0] = 222;
	assert_int_equal(vuf_queue_init(&rig.f, 0, 64), 0);
	assert_int_equal(vuf_queue_tell(&rig.f, 0, 0), 0);
	assert_int_equal(drv_alloc(&rig.f.flat.mem, 4096, 64, true, &mem), 0);
	memcpy(mem.virt, &c, sizeof(c));
	out = (struct drv_seg){ mem.addr, sizeof(c) };
	in = (struct drv_seg){ mem.addr + 2048, sizeof(i) };
	assert_true(drv_vring_add(&rig.f.queue[0].vr, &out, 1, &in, 1, &s, 0) >= 0);
	drv_vring_publish(&rig.f.queue[0].vr);
	assert_int_equal(eventfd_write(rig.f.queue[0].kick, 1), 0);
	assert_true(sr_look(&s));
	assert_int_equal(drv_vring_get(&rig.f.queue[0].vr, &used), 1);
	memcpy(&i, (uint8_t *)mem.virt + 2048, sizeof(i));
	assert_int_equal(le32toh(i.pmodes[0].r.width), 333);
	drv_free(&rig.f.flat.mem, &mem);
	rig_disconnect(&rig);
	rig_connect(&rig, RIG_GUEST, RIG_USER);
	assert_false(sr_look(&s));
	sr_close(&s);
	rig_close(&rig);
}

/* It begins, and is another in the place of what was there. */
static void assert_another(void)
{
	struct sr s;

	assert_int_equal(set_socket(&s), 0);
	assert_true(sr_look(&s));
	assert_int_equal(s.seen[SR_SET_PROTOCOL_FEATURES], 1);
	sr_close(&s);
}

/* Sockets that are no streams, with an answer in them: nobody waits for them, nor is one left open. */
static void test_sockets_of_other_kinds(void **state)
{
	static const int kinds[] = { SOCK_DGRAM, SOCK_SEQPACKET };
	const uint32_t message[5] = { SR_GET_PROTOCOL_FEATURES, SR_REPLY, 8, 3, 0 };
	unsigned before;
	int pair[2];

	(void)state;
	rig_open(&rig, "gpu", NULL);
	rig_connect(&rig, RIG_GUEST, RIG_USER);
	assert_int_equal(vuf_negotiate(&rig.f), 0);
	before = rig_fds();
	for (unsigned i = 0; i < 2; i++) {
		assert_return_code(socketpair(AF_UNIX, kinds[i] | SOCK_CLOEXEC, 0, pair), errno);
		assert_int_equal(vuf_do(&rig.f, 33, NULL, 0, pair[1]), 0);
		close(pair[1]);
		rig_settle(&rig);
		send(pair[0], message, sizeof(message), MSG_NOSIGNAL);
		rig_settle(&rig);
		assert_another();
		close(pair[0]);
		rig_settle(&rig);
		assert_int_equal(rig_fds(), before);
	}
	rig_close(&rig);
}

static void test_sockets_for_others(void **state)
{
	int fds[2];
	struct sr s;

	(void)state;
	/* A device without a picture. */
	rig_blk(&rig);
	assert_int_equal(vuf_negotiate(&rig.f), 0);
	assert_int_not_equal(set_socket(&s), 0);
	assert_false(sr_look(&s));
	sr_close(&s);
	rig_close(&rig);
	/* What is no socket. */
	rig_open(&rig, "gpu", NULL);
	rig_connect(&rig, RIG_GUEST, RIG_USER);
	assert_int_equal(vuf_negotiate(&rig.f), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(vuf_do(&rig.f, 33, NULL, 0, fds[0]), -EREMOTEIO);
	close(fds[0]);
	close(fds[1]);
	/* One that is of no use: it listens. */
	fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(vuf_do(&rig.f, 33, NULL, 0, fds[0]), 0);
	close(fds[0]);
	rig_settle(&rig);
	assert_another();
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_picture),
		cmocka_unit_test(test_a_large_picture),
		cmocka_unit_test(test_two_heads),
		cmocka_unit_test(test_another_screen),
		cmocka_unit_test(test_beside_a_display),
		cmocka_unit_test(test_a_fence),
		cmocka_unit_test(test_a_fence_of_what_is_gone),
		cmocka_unit_test(test_does_not_read),
		cmocka_unit_test(test_drawn_from_above),
		cmocka_unit_test(test_cursors),
		cmocka_unit_test(test_monitors),
		cmocka_unit_test(test_without_edid),
		cmocka_unit_test(test_unknown_head),
		cmocka_unit_test(test_absurd_monitors),
		cmocka_unit_test(test_whose_monitors),
		cmocka_unit_test(test_configuration_of_qemu),
		cmocka_unit_test(test_does_not_answer),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_answers_late),
		cmocka_unit_test(test_ends_with_questions),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_unasked),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_set_socket),
		cmocka_unit_test(test_sockets_of_other_kinds),
		cmocka_unit_test(test_sockets_for_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
