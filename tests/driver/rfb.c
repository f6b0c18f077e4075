// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rfb.c - see rfb.h
 *
 * The password is asked for as RFC 6143, 7.2.2 has it: a challenge, enciphered with DES, whose key is
 * the password with the bits of each byte the other way round.
 */
#include "tests/driver/rfb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	SIDE_MAX = 16384,
	RAW = 0,
	COPYRECT = 1,
	CURSOR = -239,
	DESKTOP_SIZE = -223,
	EXT_DESKTOP_SIZE = -308,
	EXT_KEY = -258,
};

/* ---- bytes ------------------------------------------------------------------ */

static int get(struct rfb *r, void *to, size_t len)
{
	uint8_t *at = to;

	while (len) {
		ssize_t n = recv(r->fd, at, len, MSG_WAITALL);

		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int put(struct rfb *r, const void *from, size_t len)
{
	const uint8_t *at = from;

	while (len) {
		ssize_t n = send(r->fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

static void set16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void set32(uint8_t *p, uint32_t v)
{
	set16(p, v >> 16);
	set16(p + 2, v);
}

/* ---- DES (FIPS 46-3) ---------------------------------------------------------- */

static const uint8_t ip[] = { 58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4,
			      62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8,
			      57, 49, 41, 33, 25, 17, 9,  1, 59, 51, 43, 35, 27, 19, 11, 3,
			      61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7 };
static const uint8_t fp[] = { 40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31,
			      38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53, 21, 61, 29,
			      36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27,
			      34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9,  49, 17, 57, 25 };
static const uint8_t expand[] = { 32, 1,  2,  3,  4,  5,  4,  5,  6,  7,  8,  9,  8,  9,  10, 11,
				  12, 13, 12, 13, 14, 15, 16, 17, 16, 17, 18, 19, 20, 21, 20, 21,
				  22, 23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1 };
static const uint8_t perm[] = { 16, 7, 20, 21, 29, 12, 28, 17, 1,  15, 23, 26, 5,  18, 31, 10,
				2,  8, 24, 14, 32, 27, 3,  9,  19, 13, 30, 6,  22, 11, 4,  25 };
static const uint8_t pc1[] = { 57, 49, 41, 33, 25, 17, 9,  1,  58, 50, 42, 34, 26, 18,
			       10, 2,  59, 51, 43, 35, 27, 19, 11, 3,  60, 52, 44, 36,
			       63, 55, 47, 39, 31, 23, 15, 7,  62, 54, 46, 38, 30, 22,
			       14, 6,  61, 53, 45, 37, 29, 21, 13, 5,  28, 20, 12, 4 };
static const uint8_t pc2[] = { 14, 17, 11, 24, 1,  5,  3,  28, 15, 6,  21, 10, 23, 19, 12, 4,
			       26, 8,  16, 7,  27, 20, 13, 2,  41, 52, 31, 37, 47, 55, 30, 40,
			       51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32 };
static const uint8_t sbox[8][64] = {
	{ 14, 4,  13, 1, 2,  15, 11, 8, 3, 10, 6, 12, 5,  9,  0,  7,  0,  15, 7,  4,  14, 2,
	  13, 1,  10, 6, 12, 11, 9,  5, 3, 8,  4, 1,  14, 8,  13, 6,  2,  11, 15, 12, 9,  7,
	  3,  10, 5,  0, 15, 12, 8,  2, 4, 9,  1, 7,  5,  11, 3,  14, 10, 0,  6,  13 },
	{ 15, 1,  8,  14, 6,  11, 3,  4, 9,  7,	 2, 13, 12, 0,	5,  10, 3,  13, 4,  7, 15, 2,
	  8,  14, 12, 0,  1,  10, 6,  9, 11, 5,	 0, 14, 7,  11, 10, 4,	13, 1,	5,  8, 12, 6,
	  9,  3,  2,  15, 13, 8,  10, 1, 3,  15, 4, 2,	11, 6,	7,  12, 0,  5,	14, 9 },
	{ 10, 0,  9,  14, 6, 3,	 15, 5,	 1,  13, 12, 7, 11, 4,	2,  8,	13, 7, 0,  9, 3, 4,
	  6,  10, 2,  8,  5, 14, 12, 11, 15, 1,	 13, 6, 4,  9,	8,  15, 3,  0, 11, 1, 2, 12,
	  5,  10, 14, 7,  1, 10, 13, 0,	 6,  9,	 8,  7, 4,  15, 14, 3,	11, 5, 2,  12 },
	{ 7, 13, 14, 3, 0, 6,  9, 10, 1,  2, 8,	 5, 11, 12, 4,	15, 13, 8,  11, 5, 6, 15,
	  0, 3,	 4,  7, 2, 12, 1, 10, 14, 9, 10, 6, 9,	0,  12, 11, 7,	13, 15, 1, 3, 14,
	  5, 2,	 8,  4, 3, 15, 0, 6,  10, 1, 13, 8, 9,	4,  5,	11, 12, 7,  2,	14 },
	{ 2,  12, 4, 1,	 7,  10, 11, 6, 8, 5,  3, 15, 13, 0,  14, 9,  14, 11, 2,  12, 4,  7,
	  13, 1,  5, 0,	 15, 10, 3,  9, 8, 6,  4, 2,  1,  11, 10, 13, 7,  8,  15, 9,  12, 5,
	  6,  3,  0, 14, 11, 8,	 12, 7, 1, 14, 2, 13, 6,  15, 0,  9,  10, 4,  5,  3 },
	{ 12, 1,  10, 15, 9,  2,  6, 8,	 0, 13, 3,  4,	14, 7,	5, 11, 10, 15, 4, 2, 7, 12,
	  9,  5,  6,  1,  13, 14, 0, 11, 3, 8,	9,  14, 15, 5,	2, 8,  12, 3,  7, 0, 4, 10,
	  1,  13, 11, 6,  4,  3,  2, 12, 9, 5,	15, 10, 11, 14, 1, 7,  6,  0,  8, 13 },
	{ 4, 11, 2,  14, 15, 0,	 8,  13, 3, 12, 9,  7, 5,  10, 6,  1,  13, 0,  11, 7,  4, 9,
	  1, 10, 14, 3,	 5,  12, 2,  15, 8, 6,	1,  4, 11, 13, 12, 3,  7,  14, 10, 15, 6, 8,
	  0, 5,	 9,  2,	 6,  11, 13, 8,	 1, 4,	10, 7, 9,  5,  0,  15, 14, 2,  3,  12 },
	{ 13, 2, 8,  4, 6, 15, 11, 1,  10, 9,  3, 14, 5,  0,  12, 7,  1,  15, 13, 8, 10, 3,
	  7,  4, 12, 5, 6, 11, 0,  14, 9,  2,  7, 11, 4,  1,  9,  12, 14, 2,  0,  6, 10, 13,
	  15, 3, 5,  8, 2, 1,  14, 7,  4,  10, 8, 13, 15, 12, 9,  0,  3,  5,  6,  11 },
};

/* Bit 1 is the highest of @width. */
static uint64_t pick(uint64_t v, unsigned width, const uint8_t *table, unsigned n)
{
	uint64_t out = 0;

	for (unsigned i = 0; i < n; i++)
		out = out << 1 | (v >> (width - table[i]) & 1);
	return out;
}

static uint32_t f(uint32_t r, uint64_t k)
{
	uint64_t e = pick(r, 32, expand, 48) ^ k;
	uint32_t s = 0;

	for (unsigned i = 0; i < 8; i++) {
		unsigned six = (unsigned)(e >> (42 - 6 * i)) & 63;

		s = s << 4 | sbox[i][(six & 32) + (six & 1) * 16 + (six >> 1 & 15)];
	}
	return (uint32_t)pick(s, 32, perm, 32);
}

static uint64_t des(uint64_t block, uint64_t key)
{
	uint64_t k = pick(key, 64, pc1, 56), b = pick(block, 64, ip, 64);
	uint32_t c = (uint32_t)(k >> 28), d = (uint32_t)k & 0xfffffff;
	uint32_t l = (uint32_t)(b >> 32), r = (uint32_t)b;

	for (unsigned i = 0; i < 16; i++) {
		unsigned n = i == 0 || i == 1 || i == 8 || i == 15 ? 1 : 2;
		uint32_t t = r;

		c = (c << n | c >> (28 - n)) & 0xfffffff;
		d = (d << n | d >> (28 - n)) & 0xfffffff;
		r = l ^ f(r, pick((uint64_t)c << 28 | d, 56, pc2, 48));
		l = t;
	}
	return pick((uint64_t)r << 32 | l, 64, fp, 64);
}

void rfb_des(uint8_t challenge[16], const char *password)
{
	uint64_t key = 0;

	for (unsigned i = 0, end = 0; i < 8; i++) {
		uint8_t c = end ? 0 : (uint8_t)password[i], turned = 0;

		end = end || !c;
		for (unsigned k = 0; k < 8; k++)
			turned = (uint8_t)(turned << 1 | (c >> k & 1));
		key = key << 8 | turned;
	}
	for (unsigned i = 0; i < 16; i += 8) {
		uint64_t v =
			des((uint64_t)be32(challenge + i) << 32 | be32(challenge + i + 4), key);

		set32(challenge + i, (uint32_t)(v >> 32));
		set32(challenge + i + 4, (uint32_t)v);
	}
}

/* ---- the handshake --------------------------------------------------------------- */

static int resize(struct rfb *r, uint32_t width, uint32_t height)
{
	uint32_t *pixels;

	if (!width || !height || width > SIDE_MAX || height > SIDE_MAX)
		return -EPROTO;
	pixels = calloc((size_t)width * height, sizeof(*pixels));
	if (!pixels)
		return -ENOMEM;
	free(r->pixels);
	r->pixels = pixels;
	r->width = width;
	r->height = height;
	return 0;
}

static int authenticate(struct rfb *r, const char *password)
{
	uint8_t types[256], n, type, challenge[16], result[4];
	int ret = get(r, &n, 1);

	if (ret == 0 && n == 0)
		return -EACCES;
	if (ret == 0)
		ret = get(r, types, n);
	if (ret < 0)
		return ret;
	type = password ? 2 : 1;
	if (!memchr(types, type, n))
		return -EACCES;
	ret = put(r, &type, 1);
	if (ret == 0 && password) {
		ret = get(r, challenge, sizeof(challenge));
		rfb_des(challenge, password);
		if (ret == 0)
			ret = put(r, challenge, sizeof(challenge));
	}
	if (ret == 0)
		ret = get(r, result, sizeof(result));
	return ret < 0 ? ret : be32(result) ? -EACCES : 0;
}

/* Pixels as ours, and what we understand. */
static int announce(struct rfb *r)
{
	static const int32_t encodings[] = { RAW,	   COPYRECT,	     CURSOR,
					     DESKTOP_SIZE, EXT_DESKTOP_SIZE, EXT_KEY };
	uint8_t m[20] = { 0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0 };
	uint8_t e[4 + sizeof(encodings)] = { 2 };
	int ret = put(r, m, sizeof(m));

	set16(e + 2, sizeof(encodings) / 4);
	for (unsigned i = 0; i < sizeof(encodings) / 4; i++)
		set32(e + 4 + 4 * i, (uint32_t)encodings[i]);
	return ret < 0 ? ret : put(r, e, sizeof(e));
}

int rfb_open(struct rfb *r, int fd, const char *password)
{
	uint8_t init[24], shared = 1;
	char version[13] = "";
	uint32_t len;
	int ret;

	memset(r, 0, sizeof(*r));
	r->fd = fd;
	ret = get(r, version, 12);
	if (ret == 0 && strncmp(version, "RFB 003.", 8) != 0)
		ret = -EPROTO;
	if (ret == 0)
		ret = put(r, "RFB 003.008\n", 12);
	if (ret == 0)
		ret = authenticate(r, password);
	if (ret == 0)
		ret = put(r, &shared, 1);
	if (ret == 0)
		ret = get(r, init, sizeof(init));
	if (ret < 0)
		return ret;
	len = be32(init + 20);
	if (len >= RFB_NAME)
		return -EPROTO;
	ret = get(r, r->name, len);
	if (ret == 0)
		ret = resize(r, be16(init), be16(init + 2));
	return ret < 0 ? ret : announce(r);
}

void rfb_close(struct rfb *r)
{
	if (r->fd >= 0)
		close(r->fd);
	free(r->pixels);
	memset(r, 0, sizeof(*r));
	r->fd = -1;
}

/* ---- updates ----------------------------------------------------------------------- */

int rfb_ask(struct rfb *r, bool changed)
{
	uint8_t m[10] = { 3, changed };

	set16(m + 6, r->width);
	set16(m + 8, r->height);
	return put(r, m, sizeof(m));
}

static int take_raw(struct rfb *r, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	int ret = 0;

	if (x > r->width || w > r->width - x || y > r->height || h > r->height - y)
		return -EPROTO;
	/* Of whole rows all at once: a viewer's own work is not to be what one measures. */
	if (w == r->width)
		return get(r, r->pixels + (size_t)y * w, (size_t)w * h * 4);
	for (uint32_t i = 0; ret == 0 && i < h; i++)
		ret = get(r, r->pixels + (size_t)(y + i) * r->width + x, (size_t)w * 4);
	return ret;
}

static int take_cursor(struct rfb *r, uint32_t hx, uint32_t hy, uint32_t w, uint32_t h)
{
	uint8_t mask[64 * 8];
	uint32_t pitch = (w + 7) / 8;
	int ret;

	if (w > 64 || h > 64)
		return -EPROTO;
	ret = get(r, r->cursor, (size_t)w * h * 4);
	if (ret == 0)
		ret = get(r, mask, (size_t)pitch * h);
	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < w * h; i++) {
		bool set = mask[i / w * pitch + i % w / 8] & 0x80 >> i % w % 8;

		r->cursor[i] = set ? r->cursor[i] | 0xff000000 : 0;
	}
	r->cursor_width = w;
	r->cursor_height = h;
	r->hot_x = hx;
	r->hot_y = hy;
	r->cursors++;
	return 0;
}

static int take_screens(struct rfb *r, uint32_t w, uint32_t h)
{
	uint8_t head[4], screen[16];
	int ret = get(r, head, sizeof(head));

	for (unsigned i = 0; ret == 0 && i < head[0]; i++)
		ret = get(r, screen, sizeof(screen));
	r->has_ext_size = true;
	if (ret < 0 || (w == r->width && h == r->height))
		return ret;
	r->resizes++;
	return resize(r, w, h);
}

static int take_rect(struct rfb *r)
{
	uint8_t m[12];
	uint32_t x, y, w, h;
	int ret = get(r, m, sizeof(m));

	if (ret < 0)
		return ret;
	x = be16(m);
	y = be16(m + 2);
	w = be16(m + 4);
	h = be16(m + 6);
	switch ((int32_t)be32(m + 8)) {
	case RAW:
		r->seen += (uint64_t)w * h;
		return take_raw(r, x, y, w, h);
	case CURSOR:
		return take_cursor(r, x, y, w, h);
	case DESKTOP_SIZE:
		r->resizes++;
		return resize(r, w, h);
	case EXT_DESKTOP_SIZE:
		return take_screens(r, w, h);
	case EXT_KEY:
		r->has_ext_keys = true;
		return 0;
	default:
		return -EPROTO;
	}
}

static int take_text(struct rfb *r)
{
	uint8_t m[7], c;
	int ret = get(r, m, sizeof(m));

	for (uint32_t n = ret ? 0 : be32(m + 3); ret == 0 && n; n--)
		ret = get(r, &c, 1);
	return ret;
}

int rfb_take(struct rfb *r, int timeout_ms)
{
	struct pollfd p = { .fd = r->fd, .events = POLLIN };
	uint8_t type, m[3];
	int ret = poll(&p, 1, timeout_ms);

	if (ret <= 0)
		return ret < 0 ? -errno : -ETIMEDOUT;
	ret = get(r, &type, 1);
	if (ret < 0 || type == 2) /* a bell */
		return ret;
	if (type == 3)
		return take_text(r);
	if (type != 0)
		return -EPROTO;
	ret = get(r, m, sizeof(m));
	for (uint32_t n = ret ? 0 : be16(m + 1); ret == 0 && n; n--)
		ret = take_rect(r);
	return ret;
}

/* ---- what a person does --------------------------------------------------------------- */

int rfb_key(struct rfb *r, uint32_t keysym, uint32_t scancode, bool down)
{
	uint8_t m[12] = { 4, down };

	if (!r->has_ext_keys || !scancode) {
		set32(m + 4, keysym);
		return put(r, m, 8);
	}
	m[0] = 255;
	m[1] = 0;
	set16(m + 2, down);
	set32(m + 4, keysym);
	set32(m + 8, scancode);
	return put(r, m, 12);
}

int rfb_pointer(struct rfb *r, uint32_t x, uint32_t y, uint8_t buttons)
{
	uint8_t m[6] = { 5, buttons };

	set16(m + 2, x);
	set16(m + 4, y);
	return put(r, m, sizeof(m));
}

int rfb_wish(struct rfb *r, uint16_t width, uint16_t height)
{
	uint8_t m[24] = { 251 };

	set16(m + 2, width);
	set16(m + 4, height);
	m[6] = 1;
	set16(m + 16, width);
	set16(m + 18, height);
	return put(r, m, sizeof(m));
}
