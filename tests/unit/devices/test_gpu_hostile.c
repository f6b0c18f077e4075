// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_gpu_hostile.c - the GPU and a guest, or a display, that wants to break it
 *
 * After each of them the device works, or works again after a reset, and nothing of the guest's stays
 * mapped (gr_close() looks).
 */
#include "backend/base/limits.h"
#include "tests/rigs/gpu_rig.h"

enum { W = 64, H = 48, BYTES = W * H * 4 };

static const uint64_t split = TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED);

#define BAD_PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define BAD_RESOURCE  VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID
#define BAD_HEAD      VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID
#define NO_MEMORY     VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define UNSPEC	      VIRTIO_GPU_RESP_ERR_UNSPEC

static struct gr gr;
static struct drv_buf buf;

static void up(const char *spec)
{
	gr_up(&gr, TP_COPY, spec, split);
	gr_look(&gr);
	buf = gr_buf(&gr, BYTES, 1);
}

/* A picture goes all the way. */
static void still_works(void)
{
	uint8_t *p = buf.virt;

	assert_false(gr_broken(&gr));
	assert_int_equal(gr_create(&gr, 999, 2, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 999, &buf), GR_OK);
	assert_int_equal(gr_transfer(&gr, 999, 0, 0, W, H, 0), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 999, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_flush(&gr, 999, 0, 0, W, H), GR_OK);
	p += (5 * W + 7) * 4;
	assert_int_equal(gr_pixel(&gr, 0, W, 7, 5),
			 (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0]);
	assert_int_equal(gr_unref(&gr, 999), GR_OK);
}

static void down(void)
{
	still_works();
	gr_free(&gr, &buf);
	gr_close(&gr);
}

/* ---- sizes -------------------------------------------------------------- */

static void test_sizes_that_overflow(void **state)
{
	static const uint32_t sides[][2] = {
		{ 0x10000, 0x10000 },	    { 0x40000000, 1 }, { 1, 0x40000000 }, { 0x80000001, 2 },
		{ 0xffffffff, 0xffffffff }, { 16385, 1 },      { 4096, 4097 },
	};

	(void)state;
	up("gpu");
	for (unsigned i = 0; i < COUNT(sides); i++)
		assert_int_equal(gr_create(&gr, 1, 2, sides[i][0], sides[i][1]), NO_MEMORY);
	assert_int_equal(gr_create(&gr, 1, 2, 0, 5), BAD_PARAMETER);
	assert_int_equal(gr_create(&gr, 1, 2, 5, 0), BAD_PARAMETER);
	down();
}

static void test_unknown_formats(void **state)
{
	(void)state;
	up("gpu");
	for (uint32_t f = 0; f < 300; f++) {
		bool known = (f >= 1 && f <= 4) || f == 67 || f == 68 || f == 121 || f == 134;

		assert_int_equal(gr_create(&gr, 1, f, 8, 8), known ? GR_OK : BAD_PARAMETER);
		if (known)
			assert_int_equal(gr_unref(&gr, 1), GR_OK);
	}
	assert_int_equal(gr_create(&gr, 1, UINT32_MAX, 8, 8), BAD_PARAMETER);
	down();
}

static void test_transfers_outside(void **state)
{
	static const struct {
		uint32_t x, y, w, h;
		uint64_t offset;
	} bad[] = {
		{ W, 0, 1, 1, 0 },	    { 0, H, 1, 1, 0 },
		{ 1, 0, W, 1, 0 },	    { 0, 1, 1, H, 0 },
		{ 0, 0, 0, 1, 0 },	    { 0, 0, 1, 0, 0 },
		{ 0xffffffff, 0, 2, 1, 0 }, { 2, 2, 0xffffffff, 0xffffffff, 0 },
		{ 0, 0, W, H, 1 },	    { 0, 0, 1, 1, BYTES },
		{ 0, 0, 1, 1, BYTES - 3 },  { 0, 0, 1, 2, BYTES - W * 4 },
		{ 0, 0, 1, 1, UINT64_MAX }, { 0, 0, 1, 1, UINT64_MAX - 3 },
		{ 0, 0, W, H, 1ull << 63 },
	};

	(void)state;
	up("gpu");
	assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
	assert_int_equal(gr_transfer(&gr, 1, 0, 0, 1, 1, 0), UNSPEC); /* no memory behind it */
	assert_int_equal(gr_attach(&gr, 1, &buf), GR_OK);
	for (unsigned i = 0; i < COUNT(bad); i++)
		assert_int_equal(gr_transfer(&gr, 1, bad[i].x, bad[i].y, bad[i].w, bad[i].h,
					     bad[i].offset),
				 BAD_PARAMETER);
	assert_int_equal(gr_transfer(&gr, 1, W - 1, H - 1, 1, 1, BYTES - 4), GR_OK);
	assert_int_equal(gr_transfer(&gr, 2, 0, 0, 1, 1, 0), BAD_RESOURCE);
	/* Flushes and heads outside of the picture. */
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W + 1, H), BAD_PARAMETER);
	assert_int_equal(gr_flush(&gr, 1, 1, 0, 0xffffffff, 1), BAD_PARAMETER);
	assert_int_equal(gr_flush(&gr, 2, 0, 0, 1, 1), BAD_RESOURCE);
	assert_int_equal(gr_scanout(&gr, 0, 1, 1, 0, W, H), BAD_PARAMETER);
	assert_int_equal(gr_scanout(&gr, 0, 1, 0, 0, 0, 0), BAD_PARAMETER);
	assert_int_equal(gr_scanout(&gr, 0, 1, 0xfffffff0, 0, 0x20, 1), BAD_PARAMETER);
	assert_int_equal(gr_scanout(&gr, 1, 1, 0, 0, W, H), BAD_HEAD);
	assert_int_equal(gr_scanout(&gr, 0xffffffff, 0, 0, 0, W, H), BAD_HEAD);
	assert_int_equal(gr_scanout(&gr, 0, 3, 0, 0, W, H), BAD_RESOURCE);
	down();
}

/* ---- resources ---------------------------------------------------------- */

static void test_ids(void **state)
{
	struct drv_seg seg;

	(void)state;
	up("gpu");
	seg = (struct drv_seg){ buf.addr, BYTES };
	assert_int_equal(gr_create(&gr, 0, 2, W, H), BAD_RESOURCE);
	assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
	assert_int_equal(gr_create(&gr, 1, 2, 8, 8), BAD_RESOURCE);
	assert_int_equal(gr_blob_n(&gr, 1, BYTES, &seg, 1), BAD_RESOURCE);
	assert_int_equal(gr_create(&gr, 65, 2, 8, 8), GR_OK); /* of the same bucket */
	assert_int_equal(gr_create(&gr, 0xffffffff, 2, 8, 8), GR_OK);
	assert_int_equal(gr_detach(&gr, 1), UNSPEC);
	assert_int_equal(gr_attach(&gr, 1, &buf), GR_OK);
	assert_int_equal(gr_attach(&gr, 1, &buf), UNSPEC); /* twice */
	assert_int_equal(gr_attach(&gr, 2, &buf), BAD_RESOURCE);
	assert_int_equal(gr_detach(&gr, 1), GR_OK);
	assert_int_equal(gr_detach(&gr, 1), UNSPEC);
	assert_int_equal(gr_detach(&gr, 2), BAD_RESOURCE);
	assert_int_equal(gr_unref(&gr, 1), GR_OK);
	assert_int_equal(gr_unref(&gr, 1), BAD_RESOURCE);
	assert_int_equal(gr_unref(&gr, 65), GR_OK);
	assert_int_equal(gr_unref(&gr, 0), BAD_RESOURCE);
	down();
}

/* Freed, detached and made anew, smaller, while it is on a head, and as a cursor. */
static void test_freed_while_shown(void **state)
{
	struct drv_seg seg;

	(void)state;
	up("gpu,heads=2");
	seg = (struct drv_seg){ buf.addr, BYTES };
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
		assert_int_equal(gr_attach(&gr, 1, &buf), GR_OK);
		assert_int_equal(gr_transfer(&gr, 1, 0, 0, W, H, 0), GR_OK);
		assert_int_equal(gr_scanout(&gr, 0, 1, 0, 0, W, H), GR_OK);
		assert_int_equal(gr_scanout(&gr, 1, 1, 0, 0, W, H), GR_OK);
		assert_int_equal(gr_detach(&gr, 1), GR_OK);
		assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
		assert_int_equal(gr_unref(&gr, 1), GR_OK);
		assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), BAD_RESOURCE);
		assert_int_equal(gr_create(&gr, 1, 2, 8, 8), GR_OK);
		assert_int_equal(gr_flush(&gr, 1, 0, 0, 8, 8), GR_OK);
		assert_int_equal(gr_unref(&gr, 1), GR_OK);
		/* A blob whose pages are gone is black, and one of another size does not show. */
		assert_int_equal(gr_blob_n(&gr, 1, BYTES, &seg, 1), GR_OK);
		assert_int_equal(gr_scanout_blob(&gr, 0, 1, W, H, W * 4, 0), GR_OK);
		assert_int_equal(gr_detach(&gr, 1), GR_OK);
		assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
		assert_int_equal(gr_pixel(&gr, 0, W, 1, 1), 0);
		assert_int_equal(gr_unref(&gr, 1), GR_OK);
		/* The cursor's picture. */
		assert_int_equal(gr_create(&gr, 1, 2, 64, 64), GR_OK);
		assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 1, 0, 0, 0, 0),
				 GR_OK);
		assert_int_equal(gr_unref(&gr, 1), GR_OK);
		assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_MOVE_CURSOR, 0, 0, 5, 5, 0, 0),
				 GR_OK);
	}
	down();
}

/* It creates for ever: resources, bytes, ranges of memory; what is freed can be had again. */
static void test_endless_resources(void **state)
{
	uint32_t n = 0, id;
	char text[512];

	(void)state;
	up("gpu");
	while (gr_create(&gr, n + 1, 2, 8, 8) == GR_OK)
		n++;
	assert_int_equal(n, VG_LIMIT_GPU_RESOURCES);
	for (id = 1; id <= n; id++)
		assert_int_equal(gr_unref(&gr, id), GR_OK);
	still_works();
	gr.tp.dev.host_bytes = 10 << 20;
	for (n = 0; gr_create(&gr, n + 1, 2, 512, 512) == GR_OK; n++)
		;
	assert_int_equal(n, 10);
	assert_int_equal(gr_create(&gr, n + 1, 2, 512, 512), NO_MEMORY);
	assert_int_equal(gr_unref(&gr, 3), GR_OK);
	assert_int_equal(gr_create(&gr, n + 1, 2, 512, 512), GR_OK);
	tp_reset(&gr.tp);
	tp_start(&gr.tp, split, 64);
	gr.tp.dev.ops->describe(&gr.tp.dev, text, sizeof(text));
	assert_non_null(strstr(text, "resources=0 mapped=0KiB copies=0KiB"));
	gr.tp.dev.host_bytes = VG_LIMIT_HOST_BYTES;
	down();
}

/* A command of @n entries, which does not fit a slot: in memory of its own. */
static uint32_t attach_many(uint32_t id, uint32_t n, uint32_t step, uint32_t len)
{
	struct virtio_gpu_resource_attach_backing c = { GR_HDR(RESOURCE_ATTACH_BACKING),
							htole32(id), htole32(n) };
	size_t bytes = sizeof(c) + (size_t)n * sizeof(struct virtio_gpu_mem_entry);
	struct drv_buf b;
	struct drv_seg out, in;
	struct drv_used used;
	struct virtio_gpu_ctrl_hdr h;

	assert_int_equal(drv_alloc(&gr.tp.flat.mem, bytes + 64, 16, true, &b), 0);
	memcpy(b.virt, &c, sizeof(c));
	for (uint32_t i = 0; i < n; i++) {
		const struct virtio_gpu_mem_entry e = {
			htole64(buf.addr + i * (uint64_t)step % 4096), htole32(len), 0
		};

		memcpy((uint8_t *)b.virt + sizeof(c) + i * sizeof(e), &e, sizeof(e));
	}
	out = (struct drv_seg){ b.addr, (uint32_t)bytes };
	in = (struct drv_seg){ b.addr + bytes, sizeof(h) };
	assert_true(drv_vring_add(&gr.tp.vr[0], &out, 1, &in, 1, &gr, 0) >= 0);
	tp_kick(&gr.tp, 0);
	tp_wait(&gr.tp, 0, &used);
	memcpy(&h, (uint8_t *)b.virt + bytes, sizeof(h));
	drv_free(&gr.tp.flat.mem, &b);
	return le32toh(h.type);
}

static void test_endless_entries(void **state)
{
	(void)state;
	up("gpu");
	assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
	assert_int_equal(gr_create(&gr, 2, 2, W, H), GR_OK);
	/* Side by side in the same bytes, so that none can be put together. */
	assert_int_equal(attach_many(1, VG_LIMIT_GPU_ENTRIES, 8, 4), GR_OK);
	assert_int_equal(gr_transfer(&gr, 1, 0, 0, W, H, 0), GR_OK);
	assert_int_equal(attach_many(2, 1, 8, 4), NO_MEMORY);
	assert_int_equal(gr_detach(&gr, 1), GR_OK);
	assert_int_equal(attach_many(2, 1, 8, 4), GR_OK);
	assert_int_equal(attach_many(1, VG_LIMIT_GPU_ENTRIES + 1, 8, 4), NO_MEMORY);
	assert_int_equal(attach_many(1, 3, 8, 0), BAD_PARAMETER);
	down();
}

/* The command says more entries than it has, or none. */
static void test_entries_that_are_not_there(void **state)
{
	static const uint32_t claims[] = { 0, 2, 0x10000000, 0x10000001, 0xffffffff };
	struct drv_seg seg, bad[] = {
		{ 0, 4096 },
		{ UINT64_MAX - 10, 4096 },
		{ TP_BASE + TP_MEMORY - 1, 2 },
		{ TP_BASE, 0xffffffff },
		{ TP_BASE - 1, 2 },
	};

	(void)state;
	up("gpu");
	seg = (struct drv_seg){ buf.addr, BYTES };
	assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
	for (unsigned i = 0; i < COUNT(claims); i++)
		assert_int_equal(gr_attach_n(&gr, 1, &seg, 1, claims[i]), BAD_PARAMETER);
	for (unsigned i = 0; i < COUNT(bad); i++) {
		assert_int_equal(gr_attach_n(&gr, 1, &bad[i], 1, 1), BAD_PARAMETER);
		assert_int_equal(gr_blob_n(&gr, 2, 4096, &bad[i], 1), BAD_PARAMETER);
	}
	assert_int_equal(gr.tp.long_maps, 0);
	tp_revoke(&gr.tp, buf.addr + 4096, 1, false);
	assert_int_equal(gr_attach(&gr, 1, &buf), BAD_PARAMETER);
	gr.tp.n_revoked = 0;
	down();
}

static void test_blobs_that_lie(void **state)
{
	struct virtio_gpu_resource_create_blob c;
	struct drv_seg seg;

	(void)state;
	up("gpu");
	seg = (struct drv_seg){ buf.addr, BYTES };
	assert_int_equal(gr_blob_n(&gr, 1, BYTES + 1, &seg, 1), BAD_PARAMETER);
	assert_int_equal(gr_blob_n(&gr, 1, UINT64_MAX, &seg, 1), BAD_PARAMETER);
	assert_int_equal(gr_blob_n(&gr, 1, 0, &seg, 1), BAD_PARAMETER);
	assert_int_equal(gr_blob_n(&gr, 1, BYTES, NULL, 0), BAD_PARAMETER);
	for (uint32_t mem = 0; mem < 6; mem++) {
		c = (struct virtio_gpu_resource_create_blob){ GR_HDR(RESOURCE_CREATE_BLOB),
							      .resource_id = htole32(1),
							      .blob_mem = htole32(mem),
							      .size = htole64(4096) };
		assert_int_equal(gr_cmd(&gr, &c, sizeof(c)), BAD_PARAMETER);
	}
	assert_int_equal(gr.tp.long_maps, 0);
	/* A head that shows more than the blob has, or in an overlapping way. */
	assert_int_equal(gr_blob_n(&gr, 1, BYTES, &seg, 1), GR_OK);
	assert_int_equal(gr_scanout_blob(&gr, 0, 1, W, H, W * 4, 4), BAD_PARAMETER);
	assert_int_equal(gr_scanout_blob(&gr, 0, 1, W, H + 1, W * 4, 0), BAD_PARAMETER);
	assert_int_equal(gr_scanout_blob(&gr, 0, 1, W, H, W * 4 - 1, 0), BAD_PARAMETER);
	assert_int_equal(gr_scanout_blob(&gr, 0, 1, W, H, 0xffffffff, 0), BAD_PARAMETER);
	assert_int_equal(gr_scanout_blob(&gr, 0, 1, 16384, 16384, 65536, 0xffffffff),
			 BAD_PARAMETER);
	assert_int_equal(gr_scanout_blob(&gr, 0, 1, 0x80000000, 2, 0, 0), BAD_PARAMETER);
	assert_int_equal(gr_scanout_blob(&gr, 0, 1, 0, 0, 0, 0), BAD_PARAMETER);
	/* The two ways of showing are not the other's. */
	assert_int_equal(gr_scanout(&gr, 0, 1, 0, 0, W, H), BAD_PARAMETER);
	assert_int_equal(gr_create(&gr, 2, 2, W, H), GR_OK);
	assert_int_equal(gr_scanout_blob(&gr, 0, 2, W, H, W * 4, 0), BAD_PARAMETER);
	down();
}

/* There is no window of the host's memory to map a blob into. */
static void test_map_blob(void **state)
{
	struct virtio_gpu_resource_map_blob c = { GR_HDR(RESOURCE_MAP_BLOB),
						  .resource_id = htole32(1) };
	struct drv_seg seg;

	(void)state;
	up("gpu");
	seg = (struct drv_seg){ buf.addr, BYTES };
	assert_int_equal(gr_cmd(&gr, &c, sizeof(c)), BAD_RESOURCE);
	assert_int_equal(gr_blob_n(&gr, 1, BYTES, &seg, 1), GR_OK);
	assert_int_equal(gr_cmd(&gr, &c, sizeof(c)), BAD_PARAMETER);
	c.hdr.type = htole32(VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB);
	assert_int_equal(gr_cmd(&gr, &c, sizeof(c)), BAD_PARAMETER);
	down();
}

static void test_capsets(void **state)
{
	struct virtio_gpu_get_capset_info i = { GR_HDR(GET_CAPSET_INFO) };
	struct virtio_gpu_get_capset c = { GR_HDR(GET_CAPSET) };

	(void)state;
	up("gpu");
	for (uint32_t n = 0; n < 5; n++) {
		i.capset_index = c.capset_id = htole32(n == 4 ? UINT32_MAX : n);
		assert_int_equal(gr_cmd(&gr, &i, sizeof(i)), BAD_PARAMETER);
		assert_int_equal(gr_cmd(&gr, &c, sizeof(c)), BAD_PARAMETER);
	}
	down();
}

static void test_cursors(void **state)
{
	(void)state;
	up("gpu");
	assert_int_equal(gr_create(&gr, 1, 2, 63, 64), GR_OK);
	assert_int_equal(gr_create(&gr, 2, 2, 64, 64), GR_OK);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 1, 0, 0, 0, 0),
			 BAD_PARAMETER);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 7, 0, 0, 0, 0),
			 BAD_RESOURCE);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, 2, 0, 0, 0, 0), BAD_HEAD);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_MOVE_CURSOR, UINT32_MAX, 2, 0, 0, 0, 0),
			 BAD_HEAD);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 2, UINT32_MAX, 1u << 31,
				   UINT32_MAX, 64),
			 GR_OK);
	assert_int_equal(gr_cursor(&gr, VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0, 2, 0, 0, 0, 0), UNSPEC);
	down();
}

/* ---- commands ----------------------------------------------------------- */

/* Of every length below the right one, of every type that there is and some that there are not. */
static void test_short_commands(void **state)
{
	static const uint32_t types[] = { 0x0100, 0x0101,     0x0102, 0x0103, 0x0104, 0x0105,
					  0x0106, 0x0107,     0x0108, 0x0109, 0x010a, 0x010b,
					  0x010c, 0x010d,     0x0200, 0x0207, 0x0208, 0x0300,
					  0x1100, 0xffffffff, 0 };
	uint8_t cmd[256] = { 0 };

	(void)state;
	up("gpu");
	for (unsigned i = 0; i < COUNT(types); i++) {
		uint32_t type = htole32(types[i]);

		memcpy(cmd, &type, sizeof(type));
		for (uint32_t len = 1; len < 100; len++) {
			struct gr_sent *s = gr_send(&gr, cmd, len);

			gr_go(&gr);
			assert_true(s->done);
			assert_true(s->len >= sizeof(struct virtio_gpu_ctrl_hdr));
			if (len < sizeof(struct virtio_gpu_ctrl_hdr))
				assert_int_equal(gr_type(s), UNSPEC);
			s = gr_send_to(&gr, GR_CURSORQ, cmd, len, 24);
			gr_go(&gr);
			assert_true(s->done);
		}
	}
	down();
}

static void test_no_room_for_the_answer(void **state)
{
	const struct virtio_gpu_cmd_get_edid edid = { GR_HDR(GET_EDID) };
	struct gr_sent *s;

	(void)state;
	up("gpu");
	/* Room for an error. */
	s = gr_send_to(&gr, GR_CONTROLQ, &edid, sizeof(edid), 24);
	gr_go(&gr);
	assert_int_equal(gr_type(s), BAD_PARAMETER);
	assert_int_equal(s->len, 24);
	still_works();
	/* Not even that. */
	gr_send_to(&gr, GR_CONTROLQ, &edid, sizeof(edid), 23);
	gr_go(&gr);
	assert_true(gr_broken(&gr));
	tp_reset(&gr.tp);
	tp_start(&gr.tp, split, 64);
	down();
}

/* What it reads twice is not the same. */
static void test_double_fetch(void **state)
{
	(void)state;
	up("gpu");
	gr.tp.fickle = true;
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
		assert_int_equal(gr_attach(&gr, 1, &buf), GR_OK);
		assert_int_equal(gr_unref(&gr, 1), GR_OK);
	}
	gr.tp.fickle = false;
	down();
}

static void test_flood(void **state)
{
	struct virtio_gpu_resource_flush c = gr_flush_cmd(1, 0, 0, W, H);
	unsigned done = 0;

	(void)state;
	up("gpu");
	c.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
	assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 1, 0, 0, W, H), GR_OK);
	/* Fenced flushes, as many as the ring has room for, and a display that never reads. */
	for (unsigned round = 0; round < 20; round++) {
		struct drv_used used;

		for (unsigned i = 0; i < 30; i++)
			gr_send(&gr, &c, sizeof(c));
		tp_kick(&gr.tp, 0);
		for (unsigned i = 0; i < 30; i++, done++)
			tp_wait(&gr.tp, 0, &used);
	}
	assert_int_equal(done, 600);
	down();
}

static void test_reset_with_pictures(void **state)
{
	struct virtio_gpu_resource_flush c = gr_flush_cmd(1, 0, 0, W, H);
	struct vg_display_msg m;
	struct drv_seg seg;

	(void)state;
	up("gpu");
	seg = (struct drv_seg){ buf.addr, BYTES };
	c.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(gr_blob_n(&gr, 1, BYTES, &seg, 1), GR_OK);
		assert_int_equal(gr_create(&gr, 2, 2, W, H), GR_OK);
		assert_int_equal(gr_attach(&gr, 2, &buf), GR_OK);
		assert_int_equal(gr_scanout_blob(&gr, 0, 1, W, H, W * 4, 0), GR_OK);
		gr_send(&gr, &c, sizeof(c));
		gr_go(&gr);
		gr_deaf(&gr);
		tp_reset(&gr.tp);
		assert_int_equal(gr.tp.long_maps, 0);
		m = gr_hear(&gr, VG_DISPLAY_MODE);
		assert_int_equal(m.mode.width, 0);
		tp_start(&gr.tp, split, 64);
	}
	down();
}

/* ---- a display that was taken over -------------------------------------- */

static void test_display_talks_nonsense(void **state)
{
	struct vg_display_msg m = { .type = 12345 };

	(void)state;
	up("gpu");
	gr_say(&gr, &m);
	m = (struct vg_display_msg){ .type = VG_DISPLAY_READ, .head = 5000, .serial = 1 };
	gr_say(&gr, &m);
	m = (struct vg_display_msg){ .type = VG_DISPLAY_WISH, .mode = { UINT32_MAX, UINT32_MAX } };
	gr_say(&gr, &m);
	still_works();
	/* A packet of another size is its end. */
	assert_int_equal(send(gr.display, "x", 1, 0), 1);
	tp_settle(&gr.tp);
	assert_int_equal(recv(gr.display, &m, sizeof(m), 0) >= 0, 1);
	gr_look(&gr);
	still_works();
	down();
}

/* It never reads: what could not be said is said once it does. */
static void test_display_does_not_read(void **state)
{
	struct vg_display_msg m = { 0 };
	bool seen = false;

	(void)state;
	up("gpu");
	assert_int_equal(gr_create(&gr, 1, 2, W, H), GR_OK);
	assert_int_equal(gr_attach(&gr, 1, &buf), GR_OK);
	assert_int_equal(gr_transfer(&gr, 1, 0, 0, W, H, 0), GR_OK);
	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(gr_scanout(&gr, 0, i % 2, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_scanout(&gr, 0, 1, 0, 0, W, H), GR_OK);
	assert_int_equal(gr_flush(&gr, 1, 0, 0, W, H), GR_OK);
	gr_deaf(&gr);
	gr.tp.dev.ops->tick(&gr.tp.dev);
	while (gr_heard(&gr, &m))
		seen = seen || (m.type == VG_DISPLAY_DAMAGE && m.damage.width == W);
	assert_true(seen);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes_that_overflow),
		cmocka_unit_test(test_unknown_formats),
		cmocka_unit_test(test_transfers_outside),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_freed_while_shown),
		cmocka_unit_test(test_endless_resources),
		cmocka_unit_test(test_endless_entries),
		cmocka_unit_test(test_entries_that_are_not_there),
		cmocka_unit_test(test_blobs_that_lie),
		cmocka_unit_test(test_map_blob),
		cmocka_unit_test(test_capsets),
		cmocka_unit_test(test_cursors),
		cmocka_unit_test(test_short_commands),
		cmocka_unit_test(test_no_room_for_the_answer),
		cmocka_unit_test(test_double_fetch),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_reset_with_pictures),
		cmocka_unit_test(test_display_talks_nonsense),
		cmocka_unit_test(test_display_does_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
