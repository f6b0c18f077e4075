// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_gpu.c - the GPU in two dimensions, driven as a guest's driver does, and looked at as a display does
 */
#include "backend/devices/gpu/format.h"
#include "tests/rigs/gpu_rig.h"

enum { W = 64, H = 48, BYTES = W * H * 4 };

static const uint64_t split = TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED);

/* What a pixel of four bytes is to be, by the format's name: which byte is which colour. */
static uint32_t colour(uint32_t format, const uint8_t *p)
{
	static const struct {
		uint32_t format;
		uint8_t red, green, blue; /* index of its byte */
	} formats[] = {
		{ VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 2, 1, 0 },
		{ VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 2, 1, 0 },
		{ VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 1, 2, 3 },
		{ VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 1, 2, 3 },
		{ VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 0, 1, 2 },
		{ VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 3, 2, 1 },
		{ VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 3, 2, 1 },
		{ VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 0, 1, 2 },
	};

	for (unsigned i = 0; i < COUNT(formats); i++) {
		if (formats[i].format == format)
			return (uint32_t)p[formats[i].red] << 16 |
			       (uint32_t)p[formats[i].green] << 8 | p[formats[i].blue];
	}
	fail();
	return 0;
}

/* The display sees the picture at @p, @stride bytes a row, from (@x, @y) of it on, in @w x @h of its own. */
static void assert_seen(struct gr *gr, uint32_t head, uint32_t format, const uint8_t *p,
			uint32_t stride, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	for (uint32_t j = 0; j < h; j++) {
		for (uint32_t i = 0; i < w; i++) {
			uint32_t want = colour(format, p + (size_t)(y + j) * stride + (x + i) * 4);

			if (gr_pixel(gr, head, w, i, j) != want)
				fail_msg("pixel %u,%u: %06x, not %06x", i, j,
					 gr_pixel(gr, head, w, i, j), want);
		}
	}
}

/* ---- what there is ------------------------------------------------------ */

static struct virtio_gpu_resp_display_info info(struct gr *gr)
{
	const struct virtio_gpu_ctrl_hdr c = { .type = htole32(VIRTIO_GPU_CMD_GET_DISPLAY_INFO) };
	struct virtio_gpu_resp_display_info r;

	assert_int_equal(gr_cmd_get(gr, &c, sizeof(c), &r, sizeof(r)),
			 VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
	return r;
}

static struct virtio_gpu_resp_edid edid(struct gr *gr, uint32_t head)
{
	const struct virtio_gpu_cmd_get_edid c = { GR_HDR(GET_EDID), htole32(head), 0 };
	struct virtio_gpu_resp_edid r;
	uint8_t sum = 0;

	assert_int_equal(gr_cmd_get(gr, &c, sizeof(c), &r, sizeof(r)), VIRTIO_GPU_RESP_OK_EDID);
	assert_int_equal(le32toh(r.size), 128);
	for (unsigned i = 0; i < 128; i++)
		sum = (uint8_t)(sum + r.edid[i]);
	assert_int_equal(sum, 0);
	assert_memory_equal(r.edid, "\0\377\377\377\377\377\377\0", 8);
	assert_int_equal(r.edid[126], 0);
	return r;
}

/* Its first timing, as a driver reads it. */
static void assert_timing(const struct virtio_gpu_resp_edid *e, unsigned w, unsigned h, unsigned hz)
{
	const uint8_t *d = e->edid + 54;
	unsigned width = d[2] | (d[4] >> 4) << 8, hblank = d[3] | (d[4] & 15) << 8;
	unsigned height = d[5] | (d[7] >> 4) << 8, vblank = d[6] | (d[7] & 15) << 8;
	double got = (d[0] | d[1] << 8) * 10000.0 / ((width + hblank) * (height + vblank));

	assert_int_equal(width, w);
	assert_int_equal(height, h);
	assert_true(got > hz * 0.995 && got <= hz);
}

static void test_what_there_is(void **state)
{
	struct virtio_gpu_resp_display_info i;
	struct virtio_gpu_resp_edid e;
	struct gr gr;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu,heads=3,mode=1920x1080+800x600@75+off", split);
	assert_int_equal(le32toh(gr_config(&gr).num_scanouts), 3);
	assert_int_equal(gr_config(&gr).num_capsets, 0);
	i = info(&gr);
	assert_int_equal(le32toh(i.pmodes[0].enabled), 1);
	assert_int_equal(le32toh(i.pmodes[0].r.width), 1920);
	assert_int_equal(le32toh(i.pmodes[0].r.height), 1080);
	assert_int_equal(le32toh(i.pmodes[1].r.x), 1920);
	assert_int_equal(le32toh(i.pmodes[1].r.width), 800);
	assert_int_equal(le32toh(i.pmodes[2].enabled), 0);
	assert_int_equal(le32toh(i.pmodes[3].enabled), 0);
	e = edid(&gr, 0);
	assert_timing(&e, 1920, 1080, 60);
	e = edid(&gr, 1);
	assert_timing(&e, 800, 600, 75);
	e = edid(&gr, 2);
	gr_close(&gr);
	/* All that can be asked for can be told. */
	gr_up(&gr, TP_COPY, "gpu,heads=16,mode=64x64@255+4095x4095@30+3840x2160+640x480", split);
	e = edid(&gr, 0);
	assert_timing(&e, 64, 64, 255);
	e = edid(&gr, 1);
	assert_timing(&e, 4095, 4095, 30);
	e = edid(&gr, 2);
	assert_timing(&e, 3840, 2160, 60);
	e = edid(&gr, 15); /* as the last that was named */
	assert_timing(&e, 640, 480, 60);
	gr_close(&gr);
}

static void test_modes_change(void **state)
{
	const uint32_t clear = htole32(VIRTIO_GPU_EVENT_DISPLAY);
	struct virtio_gpu_resp_display_info i;
	struct virtio_gpu_resp_edid e;
	struct vg_err err;
	struct gr gr;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu,heads=2", split);
	assert_int_equal(gr_config(&gr).events_read, 0);
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "mode", "1024x768+off", &err), 0);
	assert_int_equal(gr.tp.config_changes, 1);
	assert_int_equal(le32toh(gr_config(&gr).events_read), VIRTIO_GPU_EVENT_DISPLAY);
	i = info(&gr);
	assert_int_equal(le32toh(i.pmodes[0].r.width), 1024);
	assert_int_equal(le32toh(i.pmodes[1].enabled), 0);
	e = edid(&gr, 0);
	assert_timing(&e, 1024, 768, 60);
	/* Only events_clear can be written, and only as a whole. */
	assert_int_equal(vg_dev_config_write(&gr.tp.dev, 0, &clear, 4), -EPERM);
	assert_int_equal(vg_dev_config_write(&gr.tp.dev, 4, &clear, 2), -EPERM);
	assert_int_equal(vg_dev_config_write(&gr.tp.dev, 4, &clear, 4), 0);
	assert_int_equal(gr_config(&gr).events_read, 0);
	assert_int_equal(gr_config(&gr).events_clear, 0);
	/* A driver that clears the event that it has read does not clear one that came since: it would
	 * never ask for what that was about. */
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "mode", "800x600+off", &err), 0);
	assert_int_equal(le32toh(gr_config(&gr).events_read), VIRTIO_GPU_EVENT_DISPLAY);
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "mode", "1024x768+off", &err), 0);
	assert_int_equal(gr.tp.config_changes, 3);
	assert_int_equal(vg_dev_config_write(&gr.tp.dev, 4, &clear, 4), 0);
	assert_int_equal(gr.tp.config_changes, 4);
	assert_int_equal(le32toh(gr_config(&gr).events_read), VIRTIO_GPU_EVENT_DISPLAY);
	assert_int_equal(vg_dev_config_write(&gr.tp.dev, 4, &clear, 4), 0);
	assert_int_equal(gr.tp.config_changes, 4);
	assert_int_equal(gr_config(&gr).events_read, 0);
	/* What is wrong changes nothing. */
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "mode", "63x64", &err), -EINVAL);
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "mode", "1x1+2x2+3x3", &err), -EINVAL);
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "mode", "800x600+800x600+800x600", &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "has 2"));
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "heads", "3", &err), -ENOENT);
	assert_int_equal(gr.tp.config_changes, 4);
	gr_close(&gr);
}

static void test_configuration_errors(void **state)
{
	static const struct {
		const char *spec, *says;
	} bad[] = {
		{ "gpu,mode=800x", "800x" },	  { "gpu,mode=", "mode" },
		{ "gpu,mode=800x600+", "+" },	  { "gpu,mode=800x600,heads=0", "heads" },
		{ "gpu,mode=800x600y", "'y'" },	  { "gpu,mode=off+off", "heads=1" },
		{ "gpu,mode=4096x2160", "4095" }, { "gpu,mode=4095x4095@60", "655 MHz" },
		{ "gpu,mode=-800x600", "mode" },  { "gpu,mode=99999999999x600", "mode" },
		{ "gpu,heads=17", "heads" },	  { "gpu,mode=800x600@0", "mode" },
	};
	struct vg_err err;
	struct tp tp;

	(void)state;
	for (unsigned i = 0; i < COUNT(bad); i++) {
		err.text[0] = '\0';
		assert_int_equal(tp_try_open(&tp, TP_COPY, bad[i].spec, &err), -EINVAL);
		if (!strstr(err.text, bad[i].says))
			fail_msg("%s: %s", bad[i].spec, err.text);
	}
}

/* ---- pictures ----------------------------------------------------------- */

static void shows(enum tp_manner manner, uint64_t features, uint32_t format)
{
	struct vg_display_msg m;
	struct drv_buf b;
	struct gr gr;

	gr_up(&gr, manner, "gpu", features);
	gr_look(&gr);
	gr_deaf(&gr);
	b = gr_buf(&gr, BYTES, format);
	assert_int_equal(gr_create(&gr, 5, format, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 5, &b), GR_OK);
	if (manner == TP_COPY)
		assert_int_equal(gr.tp.long_maps, 1);
	assert_int_equal(gr_transfer(&gr, 5, 0, 0, W, H, 0), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 5, 0, 0, W, H), GR_OK);
	m = gr_hear(&gr, VG_DISPLAY_MODE);
	assert_int_equal(m.mode.width, W);
	assert_int_equal(m.mode.height, H);
	assert_int_equal(gr_flush(&gr, 5, 0, 0, W, H), GR_OK);
	m = gr_hear(&gr, VG_DISPLAY_DAMAGE);
	assert_int_equal(m.damage.width, W);
	assert_int_equal(m.damage.height, H);
	assert_seen(&gr, 0, format, b.virt, W * 4, 0, 0, W, H);
	/* What the guest draws is not seen before it is transferred and flushed. */
	memset(b.virt, 0x11, BYTES);
	assert_int_equal(gr_flush(&gr, 5, 0, 0, W, H), GR_OK);
	assert_int_not_equal(gr_pixel(&gr, 0, W, 3, 3), 0x111111);
	assert_int_equal(gr_transfer(&gr, 5, 0, 0, W, H, 0), GR_OK);
	assert_int_not_equal(gr_pixel(&gr, 0, W, 3, 3), 0x111111);
	assert_int_equal(gr_flush(&gr, 5, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_pixel(&gr, 0, W, 3, 3), 0x111111);
	/* Unmapped before the answer that lets the guest have its memory back. */
	assert_int_equal(gr_unref(&gr, 5), GR_OK);
	assert_int_equal(gr.tp.long_maps, 0);
	gr_free(&gr, &b);
	gr_close(&gr);
}

static void test_every_format(void **state)
{
	static const uint32_t formats[] = { 1, 2, 3, 4, 67, 68, 121, 134 };

	(void)state;
	for (unsigned i = 0; i < COUNT(formats); i++)
		shows(i % 2 ? TP_COPY : TP_DIRECT, i % 4 < 2 ? split : TP_ALL, formats[i]);
}

/* As many pixels as are asked for, and none more, wherever they begin. */
static void test_formats_convert(void **state)
{
	enum { MOST = 40 };
	uint8_t from[(MOST + 1) * 4 + 1];
	uint32_t to[MOST + 1];

	(void)state;
	for (unsigned i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 37);
	for (size_t n = 0; n <= MOST; n++) {
		memset(to, 0x55, sizeof(to));
		gpu_convert(VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, to, from + n % 2, n);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(to[i],
					 0xff000000 | colour(VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM,
							     from + n % 2 + i * 4));
		assert_int_equal(to[n], 0x55555555);
	}
}

/* Parts of a picture, of a transfer, of a flush: each where it belongs, and nothing beside it. */
static void test_parts(void **state)
{
	struct vg_display_msg m;
	struct drv_buf b;
	uint8_t want[BYTES] = { 0 };
	struct gr gr;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu", split);
	gr_look(&gr);
	b = gr_buf(&gr, BYTES, 9);
	assert_int_equal(gr_create(&gr, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 1, &b), GR_OK);
	/* The head shows a part of the picture. */
	assert_int_equal(gr_scanout(&gr, 0, 1, 8, 4, 32, 20), GR_OK);
	assert_int_equal(gr_transfer(&gr, 1, 10, 6, 12, 5, (6 * W + 10) * 4), GR_OK);
	for (unsigned y = 6; y < 11; y++)
		memcpy(want + (y * W + 10) * 4, (uint8_t *)b.virt + (y * W + 10) * 4, 12 * 4);
	gr_deaf(&gr);
	/* Of what is flushed only what is shown is damage. */
	assert_int_equal(gr_flush(&gr, 1, 0, 0, 20, 9), GR_OK);
	m = gr_hear(&gr, VG_DISPLAY_DAMAGE);
	assert_int_equal(m.damage.x, 0);
	assert_int_equal(m.damage.y, 0);
	assert_int_equal(m.damage.width, 12);
	assert_int_equal(m.damage.height, 5);
	assert_int_equal(gr_pixel(&gr, 0, 32, 2, 4), colour(2, want + (8 * W + 10) * 4));
	assert_int_equal(gr_pixel(&gr, 0, 32, 2, 5), 0);  /* not flushed */
	assert_int_equal(gr_pixel(&gr, 0, 32, 12, 2), 0); /* neither */
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	assert_seen(&gr, 0, 2, want, W * 4, 8, 4, 32, 20);
	/* Nothing of it is shown: nothing is said. */
	gr_deaf(&gr);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, 8, H), GR_OK);
	assert_false(gr_heard(&gr, &m));
	/* Dark: the display hears of it, and the memory is given back. */
	assert_int_equal(gr_scanout(&gr, 0, 0, 0, 0, 0, 0), GR_OK);
	m = gr_hear(&gr, VG_DISPLAY_MODE);
	assert_int_equal(m.mode.width, 0);
	gr_close(&gr);
}

/* Memory in pieces, whose seams lie within rows, and within pixels. */
static void test_scattered(void **state)
{
	static const uint32_t cuts[] = { 1, 4097, 6000, 6001, 6002, 9000, BYTES };
	struct drv_seg segs[COUNT(cuts)];
	struct drv_buf b;
	uint8_t want[BYTES];
	uint32_t at = 0;
	struct gr gr;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		gr_up(&gr, round ? TP_COPY : TP_DIRECT, "gpu", split);
		gr_look(&gr);
		b = gr_buf(&gr, 2 * BYTES, 3);
		/* Last piece first. */
		at = 0;
		for (unsigned i = 0; i < COUNT(cuts); i++) {
			uint32_t len = cuts[i] - at;

			segs[i] = (struct drv_seg){ b.addr + 2 * BYTES - 64 * i - cuts[i], len };
			memcpy(want + at, (uint8_t *)b.virt + (segs[i].addr - b.addr), len);
			at = cuts[i];
		}
		assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
		assert_int_equal(gr_attach_n(&gr, 1, segs, COUNT(segs), COUNT(segs)), GR_OK);
		assert_int_equal(gr_transfer(&gr, 1, 0, 0, W, H, 0), GR_OK);
		assert_int_equal(gr_scanout(&gr, 0, 1, 0, 0, W, H), GR_OK);
		assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
		assert_seen(&gr, 0, 2, want, W * 4, 0, 0, W, H);
		/* The same as a blob, which is not transferred. */
		assert_int_equal(gr_blob_n(&gr, 2, BYTES, segs, COUNT(segs)), GR_OK);
		assert_int_equal(gr_scanout_blob(&gr, 0, 2, W - 1, H - 1, W * 4, 4), GR_OK);
		assert_int_equal(gr_transfer(&gr, 2, 0, 0, W, H, 0), GR_OK);
		assert_int_equal(gr_flush(&gr, 2, 0, 0, W, H), GR_OK);
		assert_seen(&gr, 0, 2, want, W * 4, 1, 0, W - 1, H - 1);
		gr_free(&gr, &b);
		gr_close(&gr);
	}
}

/* What a blob shows is the guest's own memory, as it is when it is flushed. */
static void test_blob(void **state)
{
	struct drv_buf b;
	struct drv_seg seg;
	struct gr gr;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu", split);
	gr_look(&gr);
	b = gr_buf(&gr, BYTES, 1);
	seg = (struct drv_seg){ b.addr, BYTES };
	assert_int_equal(gr_blob_n(&gr, 7, BYTES, &seg, 1), GR_OK);
	assert_int_equal(gr.tp.long_maps, 1);
	assert_int_equal(gr_scanout_blob(&gr, 0, 7, W, H, W * 4, 0), GR_OK);
	assert_int_equal(gr_flush(&gr, 7, 0, 0, W, H), GR_OK);
	assert_seen(&gr, 0, 2, b.virt, W * 4, 0, 0, W, H);
	memset(b.virt, 0x44, BYTES);
	assert_int_equal(gr_flush(&gr, 7, 0, 0, 1, 1), GR_OK);
	assert_int_equal(gr_pixel(&gr, 0, W, 0, 0), 0x444444);
	assert_int_not_equal(gr_pixel(&gr, 0, W, 1, 0), 0x444444);
	assert_int_equal(gr_detach(&gr, 7), GR_OK);
	assert_int_equal(gr.tp.long_maps, 0);
	/* Without its memory it is black. */
	assert_int_equal(gr_flush(&gr, 7, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_pixel(&gr, 0, W, 9, 9), 0);
	gr_close(&gr);
	/* Not where they were not offered. */
	gr_up(&gr, TP_COPY, "gpu,blob=0", split);
	b = gr_buf(&gr, BYTES, 1);
	assert_int_equal(gr_blob_n(&gr, 7, BYTES, &seg, 1), VIRTIO_GPU_RESP_ERR_UNSPEC);
	gr_close(&gr);
}

static void test_several_heads(void **state)
{
	struct drv_buf a, b;
	struct gr gr;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu,heads=3", split);
	gr_look(&gr);
	a = gr_buf(&gr, BYTES, 1);
	b = gr_buf(&gr, BYTES, 2);
	assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
	assert_int_equal(gr_create(&gr, 2, 67, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 1, &a), GR_OK);
	assert_int_equal(gr_attach(&gr, 2, &b), GR_OK);
	assert_int_equal(gr_transfer(&gr, 1, 0, 0, W, H, 0), GR_OK);
	assert_int_equal(gr_transfer(&gr, 2, 0, 0, W, H, 0), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 1, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_scanout(&gr, 1, 2, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_scanout(&gr, 2, 1, W / 2, 0, W / 2, H), GR_OK); /* a mirror of a part */
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_flush(&gr, 2, 0, 0, W, H), GR_OK);
	assert_seen(&gr, 0, 2, a.virt, W * 4, 0, 0, W, H);
	assert_seen(&gr, 1, 67, b.virt, W * 4, 0, 0, W, H);
	assert_seen(&gr, 2, 2, a.virt, W * 4, W / 2, 0, W / 2, H);
	gr_close(&gr);
}

static void test_uuid(void **state)
{
	const struct virtio_gpu_resource_assign_uuid c = { GR_HDR(RESOURCE_ASSIGN_UUID), htole32(1),
							   0 };
	struct virtio_gpu_resp_resource_uuid one, again;
	struct gr gr;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu", split);
	assert_int_equal(gr_cmd(&gr, &c, sizeof(c)), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
	assert_int_equal(gr_cmd_get(&gr, &c, sizeof(c), &one, sizeof(one)),
			 VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
	assert_int_equal(gr_cmd_get(&gr, &c, sizeof(c), &again, sizeof(again)),
			 VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
	assert_memory_equal(one.uuid, again.uuid, 16);
	gr_close(&gr);
}

/* ---- the cursor --------------------------------------------------------- */

static void test_cursor(void **state)
{
	struct vg_display_msg m;
	struct drv_buf b;
	struct drv_seg seg;
	struct gr gr;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu,heads=2", split);
	gr_look(&gr);
	b = gr_buf(&gr, VG_DISPLAY_CURSOR_BYTES, 5);
	assert_int_equal(gr_create(&gr, 1, VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 64, 64), GR_OK);
	assert_int_equal(gr_attach(&gr, 1, &b), GR_OK);
	assert_int_equal(gr_transfer(&gr, 1, 0, 0, 64, 64, 0), GR_OK);
	gr_deaf(&gr);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, 1, 30, 40, 3, 4), GR_OK);
	m = gr_hear(&gr, VG_DISPLAY_CURSOR_IS);
	assert_int_equal(m.head, 1);
	assert_true(m.cursor.visible && m.cursor.changed);
	assert_int_equal(m.cursor.x, 30);
	assert_int_equal(m.cursor.y, 40);
	assert_int_equal(m.cursor.hot_x, 3);
	assert_int_equal(m.cursor.hot_y, 4);
	for (unsigned i = 0; i < 64 * 64; i++) {
		const uint8_t *p = (uint8_t *)b.virt + i * 4;

		assert_int_equal(vg_display_cursor(gr.frame, 1)[i],
				 (uint32_t)p[0] << 24 | colour(3, p));
	}
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_MOVE_CURSOR, 1, 0, (uint32_t)-5, 2, 0, 0),
			 GR_OK);
	m = gr_hear(&gr, VG_DISPLAY_CURSOR_IS);
	assert_true(m.cursor.visible && !m.cursor.changed);
	assert_int_equal(m.cursor.x, -5);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, 0, 0, 0, 0, 0), GR_OK);
	m = gr_hear(&gr, VG_DISPLAY_CURSOR_IS);
	assert_false(m.cursor.visible);
	/* A blob, as Linux has them. */
	seg = (struct drv_seg){ b.addr, VG_DISPLAY_CURSOR_BYTES };
	assert_int_equal(gr_blob_n(&gr, 2, VG_DISPLAY_CURSOR_BYTES, &seg, 1), GR_OK);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 2, 1, 1, 0, 0), GR_OK);
	assert_int_equal(vg_display_cursor(gr.frame, 0)[1] & 0xffffff,
			 colour(1, (uint8_t *)b.virt + 4));
	gr_close(&gr);
}

/* Linux' driver gives no room for answers there. */
static void test_cursor_without_answer(void **state)
{
	const struct virtio_gpu_update_cursor c = {
		.hdr.type = htole32(VIRTIO_GPU_CMD_MOVE_CURSOR),
	};
	struct gr_sent *s;
	struct gr gr;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu", TP_ALL);
	s = gr_send_to(&gr, GR_CURSORQ, &c, sizeof(c), 0);
	gr_go(&gr);
	assert_true(s->done);
	assert_int_equal(s->len, 0);
	assert_false(gr_broken(&gr));
	gr_close(&gr);
}

/* ---- fences ------------------------------------------------------------- */

/* A picture on head 0 of a device that a display looks at. */
static void picture(struct gr *gr, struct drv_buf *b, uint64_t features)
{
	gr_up(gr, TP_COPY, "gpu,heads=2", features);
	gr_look(gr);
	*b = gr_buf(gr, BYTES, 1);
	assert_int_equal(gr_create(gr, 1, 2, W, H), GR_OK);
	assert_int_equal(gr_attach(gr, 1, b), GR_OK);
	assert_int_equal(gr_transfer(gr, 1, 0, 0, W, H, 0), GR_OK);
	assert_int_equal(gr_scanout(gr, 0, 1, 0, 0, W, H), GR_OK);
	gr_deaf(gr);
}

static struct gr_sent *fenced_flush(struct gr *gr, uint64_t id)
{
	struct virtio_gpu_resource_flush c = gr_flush_cmd(1, 0, 0, W, H);

	c.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
	c.hdr.fence_id = htole64(id);
	return gr_send(gr, &c, sizeof(c));
}

static struct gr_sent *fenced_info(struct gr *gr, uint64_t id, uint32_t flags)
{
	struct virtio_gpu_ctrl_hdr c = {
		.type = htole32(VIRTIO_GPU_CMD_GET_DISPLAY_INFO),
		.flags = htole32(VIRTIO_GPU_FLAG_FENCE | flags),
		.fence_id = htole64(id),
		.ctx_id = htole32(77),
		.ring_idx = 3,
	};

	return gr_send(gr, &c, sizeof(c));
}

static struct virtio_gpu_ctrl_hdr header(const struct gr_sent *s)
{
	struct virtio_gpu_ctrl_hdr h;

	assert_true(s->done);
	memcpy(&h, s->in, sizeof(h));
	return h;
}

static void fences(uint64_t features)
{
	struct gr_sent *one, *two, *three, *plain;
	struct virtio_gpu_ctrl_hdr h;
	struct vg_display_msg m;
	struct drv_buf b;
	struct gr gr;

	picture(&gr, &b, features);
	/* The answer comes when the display has read; until then fences behind it wait, too. */
	one = fenced_flush(&gr, 0x1122334455667788);
	two = fenced_info(&gr, 9, VIRTIO_GPU_FLAG_INFO_RING_IDX);
	gr_go(&gr);
	assert_false(one->done || two->done);
	m = gr_hear(&gr, VG_DISPLAY_DAMAGE);
	three = fenced_flush(&gr, 10);
	gr_go(&gr);
	gr_read(&gr, 1, m.damage.serial); /* the other head's word is none */
	gr_go(&gr);
	assert_false(one->done || two->done || three->done);
	gr_read(&gr, 0, m.damage.serial);
	gr_go(&gr);
	assert_true(one->done && two->done);
	assert_false(three->done);
	h = header(one);
	assert_int_equal(le32toh(h.flags), VIRTIO_GPU_FLAG_FENCE);
	assert_true(le64toh(h.fence_id) == 0x1122334455667788);
	h = header(two);
	assert_int_equal(le32toh(h.flags), VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX);
	assert_int_equal(le32toh(h.ctx_id), 77);
	assert_int_equal(h.ring_idx, 3);
	assert_int_equal(two->len, sizeof(struct virtio_gpu_resp_display_info));
	m = gr_hear(&gr, VG_DISPLAY_DAMAGE);
	gr_read(&gr, 0, m.damage.serial);
	gr_go(&gr);
	assert_true(three->done);
	/* Without a fence nothing waits, but for IN_ORDER's sake. */
	one = fenced_flush(&gr, 11);
	gr_go(&gr);
	plain = gr_send(
		&gr,
		&(struct virtio_gpu_ctrl_hdr){ .type = htole32(VIRTIO_GPU_CMD_GET_DISPLAY_INFO) },
		sizeof(struct virtio_gpu_ctrl_hdr));
	gr_go(&gr);
	assert_false(one->done);
	if (!vg_dev_has(&gr.tp.dev, VG_F_IN_ORDER))
		assert_true(plain->done);
	m = gr_hear(&gr, VG_DISPLAY_DAMAGE);
	gr_read(&gr, 0, m.damage.serial);
	gr_go(&gr);
	assert_true(one->done && plain->done);
	/* A fence on what takes no time. */
	two = fenced_info(&gr, 12, 0);
	gr_go(&gr);
	assert_true(two->done);
	gr_close(&gr);
}

static void test_fences(void **state)
{
	(void)state;
	fences(split & ~VG_FEATURE(VG_F_IN_ORDER));
	fences(TP_ALL);
}

/* A display that does not read is not waited for; nor one that is gone. */
static void test_fences_without_a_reader(void **state)
{
	struct gr_sent *s, *t;
	struct drv_used used;
	struct drv_buf b;
	int64_t start;
	struct gr gr;

	(void)state;
	picture(&gr, &b, split);
	start = vg_now_ns();
	s = fenced_flush(&gr, 1);
	tp_kick(&gr.tp, GR_CONTROLQ);
	tp_wait(&gr.tp, GR_CONTROLQ, &used);
	assert_ptr_equal(used.cookie, s);
	assert_true(vg_now_ns() - start >= VG_DISPLAY_PATIENCE_MS * (NS_PER_S / 1000));
	s = fenced_flush(&gr, 2);
	gr_go(&gr);
	assert_false(s->done);
	gr_unlook(&gr);
	gr_go(&gr);
	assert_true(s->done);
	s = fenced_flush(&gr, 3);
	gr_go(&gr);
	assert_true(s->done);
	/* A queue that is stopped waits for nobody. */
	gr_look(&gr);
	s = fenced_flush(&gr, 4);
	t = fenced_info(&gr, 5, 0);
	gr_go(&gr);
	assert_false(s->done || t->done);
	dh_reset_queue(&gr.tp.dev, GR_CONTROLQ, NULL);
	while (drv_vring_get(&gr.tp.vr[0], &used) > 0)
		((struct gr_sent *)used.cookie)->done = true;
	assert_true(s->done && t->done);
	gr_close(&gr);
}

/* ---- others come -------------------------------------------------------- */

/* A display in place of another is shown all. */
static void test_another_display(void **state)
{
	struct vg_display_msg m;
	struct drv_buf b;
	struct gr gr;

	(void)state;
	picture(&gr, &b, split);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	gr_look(&gr);
	m = gr_hear(&gr, VG_DISPLAY_MODE);
	assert_int_equal(m.head, 0);
	assert_int_equal(m.mode.width, W);
	m = gr_hear(&gr, VG_DISPLAY_DAMAGE);
	assert_int_equal(m.damage.width, W);
	assert_int_equal(m.damage.height, H);
	gr_hear(&gr, VG_DISPLAY_CURSOR_IS);
	m = gr_hear(&gr, VG_DISPLAY_MODE);
	assert_int_equal(m.head, 1);
	assert_int_equal(m.mode.width, 0);
	gr_hear(&gr, VG_DISPLAY_CURSOR_IS);
	assert_false(gr_heard(&gr, &m));
	assert_seen(&gr, 0, 2, b.virt, W * 4, 0, 0, W, H);
	gr_close(&gr);
}

/* A viewer's wish is a monitor that was changed. */
static void test_wish(void **state)
{
	struct vg_display_msg m = { .type = VG_DISPLAY_WISH, .head = 1, .mode = { 700, 500 } };
	struct virtio_gpu_resp_display_info i;
	struct vg_err err;
	struct gr gr;

	(void)state;
	gr_up(&gr, TP_COPY, "gpu,heads=2", split);
	gr_look(&gr);
	gr_say(&gr, &m);
	assert_int_equal(gr.tp.config_changes, 1);
	i = info(&gr);
	assert_int_equal(le32toh(i.pmodes[1].r.width), 700);
	assert_int_equal(le32toh(i.pmodes[0].r.width), 1280);
	gr_say(&gr, &m); /* it is so already */
	m.mode.width = 100000;
	gr_say(&gr, &m);
	m.head = 2;
	gr_say(&gr, &m);
	assert_int_equal(gr.tp.config_changes, 1);
	assert_int_equal(gr.tp.dev.ops->set(&gr.tp.dev, "resize", "0", &err), 0);
	m = (struct vg_display_msg){ .type = VG_DISPLAY_WISH, .head = 0, .mode = { 700, 500 } };
	gr_say(&gr, &m);
	assert_int_equal(gr.tp.config_changes, 1);
	gr_close(&gr);
}

/* A worker in place of one that died: the guest's pictures are where they were. */
static void test_resume(void **state)
{
	static uint8_t memory[TP_MEMORY];
	struct drv_buf b, c;
	struct virtio_gpu_resp_resource_uuid uuid, uuid2;
	const struct virtio_gpu_resource_assign_uuid ask = { GR_HDR(RESOURCE_ASSIGN_UUID),
							     htole32(1), 0 };
	struct vg_display_msg m;
	struct drv_seg segs[2];
	size_t size;
	void *saved;
	struct gr gr;

	(void)state;
	picture(&gr, &b, split);
	c = gr_buf(&gr, BYTES, 50);
	segs[0] = (struct drv_seg){ c.addr + 8192, BYTES - 8192 };
	segs[1] = (struct drv_seg){ c.addr, 8192 };
	assert_int_equal(gr_blob_n(&gr, 2, BYTES, segs, 2), GR_OK);
	assert_int_equal(gr_scanout_blob(&gr, 1, 2, W, H, W * 4, 0), GR_OK);
	assert_int_equal(gr_create(&gr, 3, 1, 64, 64), GR_OK);
	assert_int_equal(gr_attach(&gr, 3, &b), GR_OK);
	/* b is 12 KiB: a cursor needs 16. */
	assert_int_equal(gr_transfer(&gr, 3, 0, 0, 64, 40, 0), GR_OK);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 3, 1, 2, 0, 0), GR_OK);
	assert_int_equal(gr_cmd_get(&gr, &ask, sizeof(ask), &uuid, sizeof(uuid)),
			 VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
	size = gr.tp.dev.saved_size;
	saved = malloc(size);
	assert_non_null(saved);
	memcpy(saved, gr.tp.dev.saved, size);
	memcpy(memory, gr.tp.memory, TP_MEMORY);
	gr_close(&gr);

	gr_open(&gr, TP_COPY, "gpu,heads=2");
	memcpy(gr.tp.memory, memory, TP_MEMORY);
	gr_look(&gr);
	vg_dev_resume(&gr.tp.dev, 15,
		      VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VIRTIO_GPU_F_RESOURCE_UUID), 3, saved,
		      size);
	tp_start_queue(&gr.tp, GR_CONTROLQ, 64);
	tp_start_queue(&gr.tp, GR_CURSORQ, 64);
	vg_dev_resumed(&gr.tp.dev);
	assert_false(gr_broken(&gr));
	assert_int_equal(gr.tp.long_maps, 3);
	assert_seen(&gr, 0, 2, memory + (b.addr - TP_BASE), W * 4, 0, 0, W, H);
	memcpy(memory, memory + (c.addr - TP_BASE) + 8192, BYTES - 8192);
	memcpy(memory + BYTES - 8192, gr.tp.memory + (c.addr - TP_BASE), 8192);
	assert_seen(&gr, 1, 2, memory, W * 4, 0, 0, W, H);
	while (gr_heard(&gr, &m) && !(m.type == VG_DISPLAY_CURSOR_IS && m.cursor.visible))
		;
	assert_int_equal(m.type, VG_DISPLAY_CURSOR_IS);
	assert_int_equal(m.cursor.y, 2);
	assert_int_equal(gr_cmd_get(&gr, &ask, sizeof(ask), &uuid2, sizeof(uuid2)),
			 VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
	assert_memory_equal(uuid.uuid, uuid2.uuid, 16);
	assert_int_equal(gr_unref(&gr, 2), GR_OK);
	assert_int_equal(gr.tp.long_maps, 2);
	gr_close(&gr);
	free(saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_there_is),
		cmocka_unit_test(test_modes_change),
		cmocka_unit_test(test_configuration_errors),
		cmocka_unit_test(test_every_format),
		cmocka_unit_test(test_formats_convert),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_scattered),
		cmocka_unit_test(test_blob),
		cmocka_unit_test(test_several_heads),
		cmocka_unit_test(test_uuid),
		cmocka_unit_test(test_cursor),
		cmocka_unit_test(test_cursor_without_answer),
		cmocka_unit_test(test_fences),
		cmocka_unit_test(test_fences_without_a_reader),
		cmocka_unit_test(test_another_display),
		cmocka_unit_test(test_wish),
		cmocka_unit_test(test_resume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
