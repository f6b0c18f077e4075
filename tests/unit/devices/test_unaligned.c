// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_unaligned.c - requests that lie where no compiler would put them
 *
 * VIRTIO asks no alignment of buffers (1.3, 2.7.4.2), and a driver may cut a header anywhere. Each
 * request here is made at all distances from a multiple of eight, its parts one after the other
 * without room between, and cut after one to seven bytes: the answer is what it is for the one
 * that is aligned and whole. UBSan watches that nobody loads a word from where none may lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <endian.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_input.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "tests/driver/testport.h"

enum { OUT_MAX = 1024, IN_MAX = 1024 };

struct request {
	const char *name, *spec;
	unsigned queue;
	const void *out;
	uint32_t out_len, in_len;
};

static const struct virtio_blk_outhdr blk_read = { .type = VIRTIO_BLK_T_IN, .sector = 1 };
static const struct virtio_blk_outhdr blk_id = { .type = VIRTIO_BLK_T_GET_ID };
static const struct {
	struct virtio_blk_outhdr h;
	uint8_t data[512];
} blk_write = { .h = { .type = VIRTIO_BLK_T_OUT, .sector = 3 }, .data = "written" };
static const struct {
	struct virtio_blk_outhdr h;
	struct virtio_blk_discard_write_zeroes what;
} blk_zeroes = { .h = { .type = VIRTIO_BLK_T_WRITE_ZEROES },
		 .what = { .sector = 3, .num_sectors = 1 } };
static const struct virtio_gpu_ctrl_hdr gpu_info = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
static const struct virtio_gpu_resource_create_2d gpu_create = {
	.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
	.resource_id = 7,
	.format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
	.width = 64,
	.height = 64,
};
static const struct {
	struct virtio_gpu_resource_attach_backing a;
	struct virtio_gpu_mem_entry e[2];
} gpu_attach = { .a = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
			.resource_id = 9,
			.nr_entries = 2 },
		 .e = { { .addr = TP_BASE, .length = 16 }, { .addr = TP_BASE, .length = 16 } } };
static const struct virtio_console_control ready = { .id = ~0u,
						     .event = VIRTIO_CONSOLE_DEVICE_READY,
						     .value = 1 };
static const struct virtio_input_event led = { .type = 17, .code = 0, .value = 1 };

#define R(name, spec, q, out, in)                                  \
	{                                                          \
		name, spec, q, &(out), (uint32_t)sizeof(out), (in) \
	}
static const struct request requests[] = {
	R("a sector is read", "blk,target=disk.img", 0, blk_read, 513),
	R("a disk's name", "blk,target=disk.img", 0, blk_id, 21),
	R("a sector is written", "blk,target=disk.img", 0, blk_write, 1),
	R("a sector is zeroed", "blk,target=disk.img", 0, blk_zeroes, 1),
	R("what screens there are", "gpu", 0, gpu_info,
	  sizeof(struct virtio_gpu_resp_display_info)),
	R("a picture of a size", "gpu", 0, gpu_create, sizeof(struct virtio_gpu_ctrl_hdr)),
	R("where a picture lies", "gpu", 0, gpu_attach, sizeof(struct virtio_gpu_ctrl_hdr)),
	R("a console's driver is ready", "console,ports=a", 3, ready, 0),
	R("a lamp of a keyboard", "input,kind=keyboard", 1, led, 0),
};

/* Carry out @r, @off bytes from where all is aligned, with its header in two pieces when @cut. Its answer goes to @in. */
static uint32_t carry_out(const struct request *r, enum tp_manner manner, unsigned off,
			  uint32_t cut, uint8_t *in)
{
	struct drv_seg out[2], answer;
	struct drv_used used;
	struct drv_buf b;
	unsigned n = 0;
	struct tp tp;
	int token;

	tp_open(&tp, manner, r->spec);
	tp_start(&tp, TP_ALL, 16);
	assert_int_equal(drv_alloc(&tp.flat.mem, 4096, 4096, true, &b), 0);
	memcpy((uint8_t *)b.virt + off, r->out, r->out_len);
	if (cut)
		out[n++] = (struct drv_seg){ b.addr + off, cut };
	out[n++] = (struct drv_seg){ b.addr + off + cut, r->out_len - cut };
	answer = (struct drv_seg){ b.addr + off + r->out_len, r->in_len };
	assert_true(drv_vring_add(&tp.vr[r->queue], out, n, &answer, r->in_len != 0, &token, 0) >=
		    0);
	tp_kick(&tp, r->queue);
	tp_wait(&tp, r->queue, &used);
	memcpy(in, (uint8_t *)b.virt + off + r->out_len, r->in_len);
	tp_reset(&tp);
	drv_free(&tp.flat.mem, &b);
	tp_close(&tp);
	return used.len;
}

static void all_places(enum tp_manner manner)
{
	uint8_t right[IN_MAX], in[IN_MAX];

	for (size_t i = 0; i < COUNT(requests); i++) {
		const struct request *r = &requests[i];
		uint32_t len = carry_out(r, manner, 0, 0, right);

		assert_true(r->in_len <= IN_MAX && r->out_len <= OUT_MAX);
		assert_int_equal(len != 0, r->in_len != 0);
		for (unsigned off = 1; off < 8; off++) {
			uint32_t cut = off < r->out_len ? off : 0;

			if (carry_out(r, manner, off, 0, in) != len ||
			    memcmp(in, right, r->in_len) != 0)
				fail_msg("%s: another answer at an address of 8n + %u", r->name,
					 off);
			if (carry_out(r, manner, off, cut, in) != len ||
			    memcmp(in, right, r->in_len) != 0)
				fail_msg("%s: another answer when cut after %u bytes", r->name,
					 cut);
		}
	}
}

static void in_memory_that_is_direct(void **state)
{
	(void)state;
	all_places(TP_DIRECT);
}

static void in_memory_that_is_copied(void **state)
{
	(void)state;
	all_places(TP_COPY);
}

static int make_image(void **state)
{
	FILE *f = fopen("disk.img", "we");

	(void)state;
	if (!f)
		return -1;
	fprintf(f, "%512s%512s", "first", "second");
	return ftruncate(fileno(f), 1 << 20) < 0 || fclose(f) ? -1 : 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_memory_that_is_direct),
		cmocka_unit_test(in_memory_that_is_copied),
	};

	return cmocka_run_group_tests(tests, make_image, NULL);
}
