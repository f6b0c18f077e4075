/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gpu_rig.h - a GPU between a driver of our own and a display of our own
 *
 *	driver (gr_cmd, gr_create, ...) - device - display (gr_look, gr_heard, gr_read)
 *
 * The display's end is a socket as the supervisor would have made it, and the frame memory that
 * comes over it, mapped.
 */
#ifndef GPU_RIG_H
#define GPU_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <linux/virtio_gpu.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/displays/display.h"
#include "tests/driver/testport.h"

enum { GR_CONTROLQ = 0, GR_CURSORQ = 1, GR_SLOTS = 64, GR_SLOT = 4096 };

#define GR_OK	    VIRTIO_GPU_RESP_OK_NODATA
#define GR_NO_BLOBS (TP_ALL & ~VG_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB))

/* The answer to a command that was sent. */
struct gr_sent {
	uint8_t *in; /* in guest memory */
	bool done;
	uint32_t len;
};

struct gr {
	struct tp tp;
	struct drv_buf cmds; /* slots: a command, and its answer in the second half */
	unsigned slot;
	struct gr_sent sent[GR_SLOTS];
	int display;	/* the other end; -1: none */
	uint8_t *frame; /* mapped by the display */
	unsigned heads;
};

/* ---- the display -------------------------------------------------------- */

/** gr_heard - the next message. Return: false: there is none */
static inline bool gr_heard(struct gr *gr, struct vg_display_msg *m)
{
	return recv(gr->display, m, sizeof(*m), MSG_DONTWAIT) == (ssize_t)sizeof(*m);
}

/** gr_hear - the next message, which is of @type */
static inline struct vg_display_msg gr_hear(struct gr *gr, uint32_t type)
{
	struct vg_display_msg m = { 0 };

	assert_true(gr_heard(gr, &m));
	assert_int_equal(m.type, type);
	return m;
}

/** gr_deaf - forget what has been said so far */
static inline void gr_deaf(struct gr *gr)
{
	struct vg_display_msg m;

	while (gr_heard(gr, &m))
		;
}

/** gr_say - the display says something */
static inline void gr_say(struct gr *gr, const struct vg_display_msg *m)
{
	assert_int_equal(send(gr->display, m, sizeof(*m), 0), sizeof(*m));
	tp_settle(&gr->tp);
}

/** gr_read - the display has read head @head up to @serial */
static inline void gr_read(struct gr *gr, uint32_t head, uint32_t serial)
{
	const struct vg_display_msg m = { .type = VG_DISPLAY_READ, .head = head, .serial = serial };

	gr_say(gr, &m);
}

static inline void gr_unlook(struct gr *gr)
{
	if (gr->frame)
		munmap(gr->frame, gr->heads * VG_DISPLAY_HEAD_BYTES);
	if (gr->display >= 0)
		close(gr->display);
	gr->frame = NULL;
	gr->display = -1;
}

/** gr_look - a display comes, in place of another; it has heard HELLO */
static inline void gr_look(struct gr *gr)
{
	struct vg_display_msg m = { 0 };
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	char control[CMSG_SPACE(sizeof(int))];
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int pair[2], fd;

	gr_unlook(gr);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	gr->display = pair[1];
	gr->tp.dev.ops->peer(&gr->tp.dev, pair[0]);
	assert_int_equal(recvmsg(gr->display, &msg, MSG_DONTWAIT), sizeof(m));
	assert_int_equal(m.type, VG_DISPLAY_HELLO);
	assert_int_equal(m.hello.version, VG_DISPLAY_VERSION);
	assert_non_null(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	gr->heads = m.hello.heads;
	gr->frame = mmap(NULL, gr->heads * VG_DISPLAY_HEAD_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(gr->frame != MAP_FAILED);
	/* Nobody can make it shorter under a display that reads it. */
	assert_int_equal(ftruncate(fd, 4096), -1);
	close(fd);
}

/** gr_pixel - what the display sees of head @head, whose picture is @width pixels wide */
static inline uint32_t gr_pixel(struct gr *gr, uint32_t head, uint32_t width, uint32_t x,
				uint32_t y)
{
	return vg_display_pixels(gr->frame, head)[(size_t)y * width + x] & 0xffffff;
}

/* ---- the driver --------------------------------------------------------- */

/** gr_send - a command of @len bytes, and room for an answer of @room. Return: where to find it */
static inline struct gr_sent *gr_send_to(struct gr *gr, unsigned q, const void *cmd, uint32_t len,
					 uint32_t room)
{
	unsigned i = gr->slot++ % GR_SLOTS;
	uint64_t at = gr->cmds.addr + (uint64_t)i * GR_SLOT;
	const struct drv_seg out = { at, len }, in = { at + GR_SLOT / 2, room };
	struct gr_sent *s = &gr->sent[i];

	assert_true(len <= GR_SLOT / 2 && room <= GR_SLOT / 2);
	*s = (struct gr_sent){ .in = (uint8_t *)gr->cmds.virt + i * GR_SLOT + GR_SLOT / 2 };
	memcpy((uint8_t *)gr->cmds.virt + i * GR_SLOT, cmd, len);
	memset(s->in, 0xa5, GR_SLOT / 2);
	assert_true(drv_vring_add(&gr->tp.vr[q], &out, 1, &in, room ? 1 : 0, s, 0) >= 0);
	return s;
}

static inline struct gr_sent *gr_send(struct gr *gr, const void *cmd, uint32_t len)
{
	return gr_send_to(gr, GR_CONTROLQ, cmd, len, 2000);
}

/** gr_go - the device sees what was sent, and works on it; done is set of what it answers */
static inline void gr_go(struct gr *gr)
{
	for (unsigned q = 0; q < 2; q++) {
		struct drv_used used;

		tp_kick(&gr->tp, q);
		tp_settle(&gr->tp);
		while (drv_vring_get(&gr->tp.vr[q], &used) > 0) {
			struct gr_sent *s = used.cookie;

			s->done = true;
			s->len = used.len;
		}
	}
}

static inline uint32_t gr_type(const struct gr_sent *s)
{
	struct virtio_gpu_ctrl_hdr h;

	assert_true(s->done);
	memcpy(&h, s->in, sizeof(h));
	return le32toh(h.type);
}

/** gr_cmd_get - a command, and @answer of @len bytes. Return: its type */
static inline uint32_t gr_cmd_get(struct gr *gr, const void *cmd, uint32_t len, void *answer,
				  uint32_t answer_len)
{
	struct gr_sent *s = gr_send(gr, cmd, len);

	gr_go(gr);
	if (answer) {
		assert_int_equal(s->len, answer_len);
		memcpy(answer, s->in, answer_len);
	}
	return gr_type(s);
}

static inline uint32_t gr_cmd(struct gr *gr, const void *cmd, uint32_t len)
{
	return gr_cmd_get(gr, cmd, len, NULL, 0);
}

#define GR_HDR(name) .hdr = { .type = htole32(VIRTIO_GPU_CMD_##name) }

static inline uint32_t gr_create(struct gr *gr, uint32_t id, uint32_t format, uint32_t w,
				 uint32_t h)
{
	const struct virtio_gpu_resource_create_2d c = { GR_HDR(RESOURCE_CREATE_2D), htole32(id),
							 htole32(format), htole32(w), htole32(h) };

	return gr_cmd(gr, &c, sizeof(c));
}

static inline uint32_t gr_unref(struct gr *gr, uint32_t id)
{
	const struct virtio_gpu_resource_unref c = { GR_HDR(RESOURCE_UNREF), htole32(id), 0 };

	return gr_cmd(gr, &c, sizeof(c));
}

static inline uint32_t gr_detach(struct gr *gr, uint32_t id)
{
	const struct virtio_gpu_resource_detach_backing c = { GR_HDR(RESOURCE_DETACH_BACKING),
							      htole32(id), 0 };

	return gr_cmd(gr, &c, sizeof(c));
}

/** gr_attach_n - entries of @segs; @claim: how many the command says there are */
static inline uint32_t gr_attach_n(struct gr *gr, uint32_t id, const struct drv_seg *segs,
				   unsigned n, uint32_t claim)
{
	uint8_t buf[GR_SLOT / 2];
	struct virtio_gpu_resource_attach_backing c = { GR_HDR(RESOURCE_ATTACH_BACKING),
							htole32(id), htole32(claim) };
	struct virtio_gpu_mem_entry e = { 0 };
	size_t at = sizeof(c);

	memcpy(buf, &c, sizeof(c));
	for (unsigned i = 0; i < n; i++, at += sizeof(e)) {
		e.addr = htole64(segs[i].addr);
		e.length = htole32(segs[i].len);
		memcpy(buf + at, &e, sizeof(e));
	}
	return gr_cmd(gr, buf, (uint32_t)at);
}

static inline uint32_t gr_attach(struct gr *gr, uint32_t id, const struct drv_buf *b)
{
	const struct drv_seg seg = { b->addr, (uint32_t)b->len };

	return gr_attach_n(gr, id, &seg, 1, 1);
}

static inline uint32_t gr_blob_n(struct gr *gr, uint32_t id, uint64_t size,
				 const struct drv_seg *segs, unsigned n)
{
	uint8_t buf[GR_SLOT / 2];
	struct virtio_gpu_resource_create_blob c = {
		GR_HDR(RESOURCE_CREATE_BLOB),
		.resource_id = htole32(id),
		.blob_mem = htole32(VIRTIO_GPU_BLOB_MEM_GUEST),
		.blob_flags = htole32(VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE),
		.nr_entries = htole32(n),
		.size = htole64(size),
	};
	struct virtio_gpu_mem_entry e = { 0 };
	size_t at = sizeof(c);

	memcpy(buf, &c, sizeof(c));
	for (unsigned i = 0; i < n; i++, at += sizeof(e)) {
		e.addr = htole64(segs[i].addr);
		e.length = htole32(segs[i].len);
		memcpy(buf + at, &e, sizeof(e));
	}
	return gr_cmd(gr, buf, (uint32_t)at);
}

static inline uint32_t gr_transfer(struct gr *gr, uint32_t id, uint32_t x, uint32_t y, uint32_t w,
				   uint32_t h, uint64_t offset)
{
	const struct virtio_gpu_transfer_to_host_2d c = {
		GR_HDR(TRANSFER_TO_HOST_2D),
		{ htole32(x), htole32(y), htole32(w), htole32(h) },
		htole64(offset),
		htole32(id),
		0,
	};

	return gr_cmd(gr, &c, sizeof(c));
}

static inline uint32_t gr_scanout(struct gr *gr, uint32_t head, uint32_t id, uint32_t x, uint32_t y,
				  uint32_t w, uint32_t h)
{
	const struct virtio_gpu_set_scanout c = {
		GR_HDR(SET_SCANOUT),
		{ htole32(x), htole32(y), htole32(w), htole32(h) },
		htole32(head),
		htole32(id),
	};

	return gr_cmd(gr, &c, sizeof(c));
}

static inline uint32_t gr_scanout_blob(struct gr *gr, uint32_t head, uint32_t id, uint32_t w,
				       uint32_t h, uint32_t stride, uint32_t offset)
{
	const struct virtio_gpu_set_scanout_blob c = {
		GR_HDR(SET_SCANOUT_BLOB),
		.r = { 0, 0, htole32(w), htole32(h) },
		.scanout_id = htole32(head),
		.resource_id = htole32(id),
		.width = htole32(w),
		.height = htole32(h),
		.format = htole32(VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM),
		.strides = { htole32(stride) },
		.offsets = { htole32(offset) },
	};

	return gr_cmd(gr, &c, sizeof(c));
}

static inline struct virtio_gpu_resource_flush gr_flush_cmd(uint32_t id, uint32_t x, uint32_t y,
							    uint32_t w, uint32_t h)
{
	return (struct virtio_gpu_resource_flush){
		GR_HDR(RESOURCE_FLUSH),
		{ htole32(x), htole32(y), htole32(w), htole32(h) },
		htole32(id),
		0,
	};
}

static inline uint32_t gr_flush(struct gr *gr, uint32_t id, uint32_t x, uint32_t y, uint32_t w,
				uint32_t h)
{
	const struct virtio_gpu_resource_flush c = gr_flush_cmd(id, x, y, w, h);

	return gr_cmd(gr, &c, sizeof(c));
}

static inline uint32_t gr_cursor(struct gr *gr, uint32_t type, uint32_t head, uint32_t id,
				 uint32_t x, uint32_t y, uint32_t hot_x, uint32_t hot_y)
{
	const struct virtio_gpu_update_cursor c = {
		.hdr.type = htole32(type),
		.pos = { htole32(head), htole32(x), htole32(y), 0 },
		.resource_id = htole32(id),
		.hot_x = htole32(hot_x),
		.hot_y = htole32(hot_y),
	};
	struct gr_sent *s = gr_send_to(gr, GR_CURSORQ, &c, sizeof(c), sizeof(c.hdr));

	gr_go(gr);
	return gr_type(s);
}

/** gr_buf - memory of the guest's, of which byte i is i * 7 + @seed, more or less */
static inline struct drv_buf gr_buf(struct gr *gr, size_t len, unsigned seed)
{
	struct drv_buf b;

	assert_int_equal(drv_alloc(&gr->tp.flat.mem, len, 4096, false, &b), 0);
	for (size_t i = 0; i < len; i++)
		((uint8_t *)b.virt)[i] = (uint8_t)(i * 7 + i / 256 * 3 + seed);
	return b;
}

static inline void gr_free(struct gr *gr, struct drv_buf *b)
{
	drv_free(&gr->tp.flat.mem, b);
}

static inline bool gr_broken(const struct gr *gr)
{
	return gr->tp.dev.status & VG_STATUS_NEEDS_RESET;
}

static inline struct virtio_gpu_config gr_config(struct gr *gr)
{
	struct virtio_gpu_config c;

	assert_int_equal(vg_dev_config_read(&gr->tp.dev, 0, &c, sizeof(c)), 0);
	return c;
}

static inline void gr_open(struct gr *gr, enum tp_manner manner, const char *spec)
{
	memset(gr, 0, sizeof(*gr));
	gr->display = -1;
	tp_open(&gr->tp, manner, spec);
	assert_int_equal(drv_alloc(&gr->tp.flat.mem, GR_SLOTS * GR_SLOT, 4096, true, &gr->cmds), 0);
}

static inline void gr_up(struct gr *gr, enum tp_manner manner, const char *spec, uint64_t want)
{
	gr_open(gr, manner, spec);
	tp_start(&gr->tp, want, 64);
}

/** gr_close - nothing of the guest's is mapped afterwards */
static inline void gr_close(struct gr *gr)
{
	tp_reset(&gr->tp);
	assert_int_equal(gr->tp.long_maps, 0);
	gr_free(gr, &gr->cmds);
	gr_unlook(gr);
	tp_close(&gr->tp);
}

#endif /* GPU_RIG_H */
