/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * screen_rig.h - the front-end's end of QEMU's GPU socket
 *
 * As hw/display/vhost-user-gpu.c of QEMU 10 does it, and as strictly as it takes things for granted: an
 * UPDATE lies in the picture of the last SCANOUT. What is not shown is counted. Messages are read and
 * written from docs/interop/vhost-user-gpu.rst, byte by byte, not with the back-end's own code.
 */
#ifndef SCREEN_RIG_H
#define SCREEN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	SR_GET_PROTOCOL_FEATURES = 1,
	SR_SET_PROTOCOL_FEATURES = 2,
	SR_GET_DISPLAY_INFO = 3,
	SR_CURSOR_POS = 4,
	SR_CURSOR_POS_HIDE = 5,
	SR_CURSOR_UPDATE = 6,
	SR_SCANOUT = 7,
	SR_UPDATE = 8,
	SR_GET_EDID = 11,
	SR_REQUESTS,

	SR_REPLY = 4,
	SR_HEADS = 4,
	SR_CURSOR = 64,
	SR_MAX = 1 << 20, /* bytes of one message; QEMU has no limit */
};

struct sr_head {
	uint32_t width, height;
	uint32_t *pixels; /* of the last SCANOUT; NULL: none */
	bool cursor_shown;
	uint32_t cursor_x, cursor_y, hot_x, hot_y;
	uint32_t cursor[SR_CURSOR * SR_CURSOR];
};

struct sr {
	int sock;
	void (*turn)(void *ctx); /* of the back-end's loop, until nothing happens */
	void *ctx;
	uint64_t features; /* that it has */
	uint64_t agreed;   /* SET_PROTOCOL_FEATURES */
	bool silent;	   /* answers nothing */
	bool no_edid;	   /* as QEMU, asked for that of a head that it has not */
	uint32_t width[SR_HEADS], height[SR_HEADS]; /* of its monitors */
	uint32_t hdr[3];
	uint8_t *payload;
	size_t got;
	unsigned seen[SR_REQUESTS];
	uint32_t asked;	  /* a question that it has not answered, being silent; 0: none */
	size_t bytes;	  /* of pixels that came */
	uint32_t last[5]; /* head and area of the last UPDATE */
	struct sr_head head[SR_HEADS];
};

static inline void sr_say(struct sr *s, uint32_t request, uint32_t flags, const void *payload,
			  uint32_t len)
{
	uint8_t buf[4096];
	const uint32_t hdr[3] = { request, flags, len };

	assert_true(sizeof(hdr) + len <= sizeof(buf));
	memcpy(buf, hdr, sizeof(hdr));
	if (len)
		memcpy(buf + sizeof(hdr), payload, len);
	assert_int_equal(send(s->sock, buf, sizeof(hdr) + len, MSG_NOSIGNAL), sizeof(hdr) + len);
}

static inline void sr_say_monitors(struct sr *s)
{
	struct virtio_gpu_resp_display_info i = { .hdr.type = htole32(
							  VIRTIO_GPU_RESP_OK_DISPLAY_INFO) };

	for (unsigned h = 0; h < SR_HEADS; h++) {
		i.pmodes[h].enabled = htole32(s->width[h] != 0);
		i.pmodes[h].r.width = htole32(s->width[h]);
		i.pmodes[h].r.height = htole32(s->height[h]);
	}
	sr_say(s, SR_GET_DISPLAY_INFO, SR_REPLY, &i, sizeof(i));
}

/** sr_edid - what it says as the EDID of head @head: no EDID, but one of a kind */
static inline struct virtio_gpu_resp_edid sr_edid(uint32_t head)
{
	struct virtio_gpu_resp_edid e = { .hdr.type = htole32(VIRTIO_GPU_RESP_OK_EDID),
					  .size = htole32(sizeof(e.edid)) };

	for (unsigned i = 0; i < sizeof(e.edid); i++)
		e.edid[i] = (uint8_t)(i * 5 + head + i / 256);
	return e;
}

static inline void sr_answer(struct sr *s, uint32_t request)
{
	uint32_t head;

	if (s->silent) {
		s->asked = request;
	} else if (s->no_edid && request == SR_GET_EDID) {
		return;
	} else if (request == SR_GET_PROTOCOL_FEATURES) {
		sr_say(s, request, SR_REPLY, &s->features, sizeof(s->features));
	} else if (request == SR_GET_DISPLAY_INFO) {
		sr_say_monitors(s);
	} else {
		struct virtio_gpu_resp_edid e;

		memcpy(&head, s->payload, sizeof(head));
		e = sr_edid(head);
		sr_say(s, request, SR_REPLY, &e, sizeof(e));
	}
}

static inline void sr_scanout(struct sr *s)
{
	uint32_t m[3];
	struct sr_head *h;

	assert_int_equal(s->hdr[2], sizeof(m));
	memcpy(m, s->payload, sizeof(m));
	assert_true(m[0] < SR_HEADS);
	h = &s->head[m[0]];
	h->width = m[1];
	h->height = m[2];
	free(h->pixels);
	h->pixels = m[1] ? calloc((size_t)m[1] * m[2], 4) : NULL;
}

static inline void sr_update(struct sr *s)
{
	uint32_t *m = s->last;
	struct sr_head *h;

	assert_true(s->hdr[2] > sizeof(s->last));
	memcpy(m, s->payload, sizeof(s->last));
	assert_true(m[0] < SR_HEADS);
	h = &s->head[m[0]];
	assert_non_null(h->pixels);
	assert_true(m[3] && m[4] && m[1] + m[3] <= h->width && m[2] + m[4] <= h->height);
	assert_int_equal(s->hdr[2], sizeof(s->last) + (size_t)m[3] * m[4] * 4);
	s->bytes += (size_t)m[3] * m[4] * 4;
	for (uint32_t y = 0; y < m[4]; y++)
		memcpy(h->pixels + (size_t)(m[2] + y) * h->width + m[1],
		       s->payload + sizeof(s->last) + (size_t)y * m[3] * 4, (size_t)m[3] * 4);
}

static inline void sr_cursor(struct sr *s)
{
	uint32_t m[5] = { 0 };
	struct sr_head *h;

	memcpy(m, s->payload, s->hdr[0] == SR_CURSOR_UPDATE ? sizeof(m) : 12);
	assert_true(m[0] < SR_HEADS);
	h = &s->head[m[0]];
	h->cursor_x = m[1];
	h->cursor_y = m[2];
	h->cursor_shown = s->hdr[0] != SR_CURSOR_POS_HIDE;
	if (s->hdr[0] != SR_CURSOR_UPDATE) {
		assert_int_equal(s->hdr[2], 12);
		return;
	}
	assert_int_equal(s->hdr[2], sizeof(m) + sizeof(h->cursor));
	h->hot_x = m[3];
	h->hot_y = m[4];
	memcpy(h->cursor, s->payload + sizeof(m), sizeof(h->cursor));
}

static inline void sr_take(struct sr *s)
{
	uint32_t request = s->hdr[0];

	assert_true(request < SR_REQUESTS);
	assert_int_equal(s->hdr[1], 0);
	s->seen[request]++;
	switch (request) {
	case SR_GET_PROTOCOL_FEATURES:
	case SR_GET_DISPLAY_INFO:
		assert_int_equal(s->hdr[2], 0);
		sr_answer(s, request);
		break;
	case SR_GET_EDID:
		assert_true(s->agreed & 1);
		assert_int_equal(s->hdr[2], 4);
		sr_answer(s, request);
		break;
	case SR_SET_PROTOCOL_FEATURES:
		assert_int_equal(s->hdr[2], 8);
		memcpy(&s->agreed, s->payload, sizeof(s->agreed));
		break;
	case SR_SCANOUT:
		sr_scanout(s);
		break;
	case SR_UPDATE:
		sr_update(s);
		break;
	case SR_CURSOR_POS:
	case SR_CURSOR_POS_HIDE:
	case SR_CURSOR_UPDATE:
		sr_cursor(s);
		break;
	default:
		fail_msg("message %u", request);
	}
}

/* What is there of a message. Return: 1: all; 0: closed; -EAGAIN. */
static inline int sr_read(struct sr *s)
{
	for (;;) {
		size_t header = sizeof(s->hdr);
		size_t whole = s->got < header ? header : header + s->hdr[2];
		uint8_t *to = s->got < header ? (uint8_t *)s->hdr + s->got
					      : s->payload + (s->got - header);
		ssize_t n;

		assert_true(whole <= SR_MAX);
		if (s->got >= header && s->got == whole) {
			s->got = 0;
			return 1;
		}
		n = recv(s->sock, to, whole - s->got, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0)
			return -EAGAIN;
		s->got += (size_t)n;
	}
}

/** sr_look - take all that is said. Return: false: it has been hung up on */
static inline bool sr_look(struct sr *s)
{
	for (unsigned quiet = 0; quiet < 3;) {
		int ret = sr_read(s);

		if (ret == 0)
			return false;
		if (ret == 1) {
			sr_take(s);
			quiet = 0;
			continue;
		}
		s->turn(s->ctx);
		quiet++;
	}
	return true;
}

/** sr_open - a socket. Return: the back-end's end, the caller's */
static inline int sr_open(struct sr *s, void (*turn)(void *ctx), void *ctx)
{
	int pair[2];

	memset(s, 0, sizeof(*s));
	/* As QEMU's, whose ends block. */
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
	s->sock = pair[0];
	s->turn = turn;
	s->ctx = ctx;
	s->features = 3; /* EDID, DMABUF2 */
	s->payload = malloc(SR_MAX);
	assert_non_null(s->payload);
	return pair[1];
}

static inline void sr_close(struct sr *s)
{
	if (s->sock >= 0)
		close(s->sock);
	s->sock = -1;
	for (unsigned i = 0; i < SR_HEADS; i++) {
		free(s->head[i].pixels);
		s->head[i].pixels = NULL;
	}
	free(s->payload);
	s->payload = NULL;
}

#endif /* SCREEN_RIG_H */
