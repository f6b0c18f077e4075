// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * view.c - a viewer for tests on real Xen (tests/driver/rfb.h), which runs in dom0
 *
 *   view PORT size                  "WIDTHxHEIGHT"
 *   view PORT pattern SEED [S]      wait until what it sees is what tests/xen/guest/draw.c draws, at most
 *                                   S seconds (default 30); prints the first pixel that is not
 *   view PORT raw FILE              all that it sees: pixels of 32 bits, 0x00RRGGBB
 *   view PORT ppm FILE              the same for people
 *   view PORT type TEXT             keys, as a person at a US keyboard types them; \n is Enter
 *   view PORT point X Y BUTTONS
 *   view PORT watch S               frames (updates) that came within S seconds
 *   view PORT frames S              the same in whole screens of pixels: "frames N seconds S"
 *   view PORT console               Ctrl, Alt and 1: the first console of a QEMU that shows none
 *   view FILE.png png SEED          whether a screenshot is what draw.c draws
 *
 * PASSWORD in the environment is the password.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <png.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/driver/rfb.h"

enum { STEP_MS = 1000, WHOLE_S = 30 };

static void fail(const char *what, int error)
{
	fprintf(stderr, "view: %s: %s\n", what, strerror(-error));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void look(struct rfb *r, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("connect", -errno);
	ret = rfb_open(r, fd, getenv("PASSWORD"));
	if (ret < 0)
		fail("handshake", ret);
}

/* One update, which may be none: of what has changed, or of all. */
static void update(struct rfb *r, bool changed)
{
	int ret = rfb_ask(r, changed);

	if (ret == 0)
		ret = rfb_take(r, STEP_MS);
	if (ret < 0 && ret != -ETIMEDOUT)
		fail("update", ret);
}

/*
 * Says no more, and hears the server out until it hangs up: then it has done all that it was told. A
 * viewer that leaves with an answer on its way resets the connection, and what the server has not read
 * is lost.
 */
static void leave(struct rfb *r)
{
	struct pollfd p = { .fd = r->fd, .events = POLLIN };
	char bytes[65536];
	ssize_t n = 1;

	shutdown(r->fd, SHUT_WR);
	while (n > 0) {
		if (poll(&p, 1, WHOLE_S * 1000) <= 0)
			fail("the server does not hang up", -ETIMEDOUT);
		n = recv(r->fd, bytes, sizeof(bytes), 0);
	}
}

/* All of the picture. A server may answer the first with sizes and keys alone, and does so whenever it is
 * asked for all: that is asked once. */
static void whole(struct rfb *r)
{
	double end = now() + WHOLE_S;
	uint64_t before = r->seen;

	update(r, false);
	while (r->seen - before < (uint64_t)r->width * r->height) {
		update(r, true);
		if (now() > end)
			fail("no picture came", -ETIMEDOUT);
	}
}

static uint32_t pattern(unsigned seed, uint32_t x, uint32_t y)
{
	return ((x * 3 + seed * 17) & 255) << 16 | ((y * 5 + seed) & 255) << 8 |
	       (((x ^ y) + seed * 31) & 255);
}

static bool is_pattern(const struct rfb *r, unsigned seed, char *why, size_t len)
{
	for (uint32_t y = 0; y < r->height; y++) {
		for (uint32_t x = 0; x < r->width; x++) {
			uint32_t got = r->pixels[(size_t)y * r->width + x] & 0xffffff;

			if (got == pattern(seed, x, y))
				continue;
			snprintf(why, len, "%ux%u: pixel %u,%u is %06x, not %06x", r->width,
				 r->height, x, y, got, pattern(seed, x, y));
			return false;
		}
	}
	return true;
}

static int wait_for_pattern(struct rfb *r, unsigned seed, double seconds)
{
	double end = now() + seconds;
	char why[120] = "";

	for (bool first = true;; first = false) {
		update(r, !first);
		if (is_pattern(r, seed, why, sizeof(why))) {
			printf("%ux%u\n", r->width, r->height);
			return 0;
		}
		if (now() > end) {
			printf("%s\n", why);
			return 1;
		}
	}
}

static int save(struct rfb *r, const char *file, bool ppm)
{
	FILE *f = fopen(file, "we");

	if (!f)
		fail(file, -errno);
	whole(r);
	if (ppm)
		fprintf(f, "P6\n%u %u\n255\n", r->width, r->height);
	for (size_t i = 0; i < (size_t)r->width * r->height; i++) {
		uint32_t v = r->pixels[i] & 0xffffff;
		const uint8_t rgb[] = { (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

		if (ppm)
			fwrite(rgb, 3, 1, f);
		else
			fwrite(&v, 4, 1, f);
	}
	return fclose(f) == 0 ? 0 : 1;
}

static int check_png(const char *file, unsigned seed)
{
	png_image image = { .version = PNG_IMAGE_VERSION };
	struct rfb r = { 0 };
	char why[120];

	if (!png_image_begin_read_from_file(&image, file)) {
		printf("%s: %s\n", file, image.message);
		return 1;
	}
	image.format = PNG_FORMAT_BGRA; /* bytes of 0xAARRGGBB, as x86 has them */
	r.width = image.width;
	r.height = image.height;
	r.pixels = malloc(PNG_IMAGE_SIZE(image));
	if (!r.pixels || !png_image_finish_read(&image, NULL, r.pixels, 0, NULL)) {
		printf("%s: %s\n", file, image.message);
		return 1;
	}
	if (!is_pattern(&r, seed, why, sizeof(why))) {
		printf("%s\n", why);
		return 1;
	}
	printf("%ux%u\n", r.width, r.height);
	return 0;
}

/* ---- keys: XT scancodes of a US keyboard --------------------------------------- */

static unsigned scancode(char c, bool *shift)
{
	static const char *const rows[][2] = {
		{ "1234567890-=", "!@#$%^&*()_+" },
		{ "qwertyuiop[]", "QWERTYUIOP{}" },
		{ "asdfghjkl;'`", "ASDFGHJKL:\"~" },
		{ "\\zxcvbnm,./", "|ZXCVBNM<>?" },
	};
	static const unsigned first[] = { 0x02, 0x10, 0x1e, 0x2b };

	*shift = false;
	if (c == '\n')
		return 0x1c;
	if (c == ' ')
		return 0x39;
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned k = 0; k < 2; k++) {
			const char *at = strchr(rows[i][k], c);

			if (c && at) {
				*shift = k == 1;
				return first[i] + (unsigned)(at - rows[i][k]);
			}
		}
	}
	return 0;
}

static void press(struct rfb *r, uint32_t keysym, unsigned code, bool down)
{
	int ret = rfb_key(r, keysym, code, down);

	if (ret < 0)
		fail("key", ret);
	usleep(5000);
}

static int type(struct rfb *r, const char *text)
{
	int ret;

	/* Whether the server knows keys by their place. */
	ret = rfb_ask(r, false);
	if (ret == 0)
		ret = rfb_take(r, WHOLE_S * 1000);
	if (ret < 0)
		fail("answer", ret);
	for (; *text; text++) {
		char c = text[0] == '\\' && text[1] == 'n' ? (text++, '\n') : *text;
		bool shift;
		unsigned code = scancode(c, &shift);
		uint32_t keysym = c == '\n' ? 0xff0d : (uint8_t)c;

		if (shift)
			press(r, 0xffe1, 0x2a, true);
		press(r, keysym, code, true);
		press(r, keysym, code, false);
		if (shift)
			press(r, 0xffe1, 0x2a, false);
	}
	leave(r);
	return 0;
}

/* Ctrl, Alt and 1, keys that QEMU keeps for itself. */
static int console(struct rfb *r)
{
	static const struct {
		uint32_t keysym;
		unsigned code;
	} keys[] = { { 0xffe3, 0x1d }, { 0xffe9, 0x38 }, { '1', 0x02 } };

	update(r, false);
	for (int i = 0; i < 3; i++)
		press(r, keys[i].keysym, keys[i].code, true);
	for (int i = 3; i--;)
		press(r, keys[i].keysym, keys[i].code, false);
	leave(r);
	return 0;
}

static int watch(struct rfb *r, double seconds)
{
	double end = now() + seconds;
	unsigned n = 0;

	rfb_ask(r, false);
	while (now() < end) {
		if (rfb_take(r, 100) == 0) {
			n++;
			rfb_ask(r, true);
		}
	}
	printf("%u\n", n);
	return 0;
}

/* From the first whole picture on. */
static int frames(struct rfb *r, double seconds)
{
	double begin, end;
	uint64_t before;

	whole(r);
	before = r->seen;
	begin = now();
	end = begin + seconds;
	while (now() < end)
		update(r, true);
	printf("frames %.2f seconds %.2f\n",
	       (double)(r->seen - before) / ((double)r->width * r->height), now() - begin);
	return 0;
}

int main(int argc, char **argv)
{
	struct rfb r;
	const char *what = argc > 2 ? argv[2] : "";
	const char *arg = argc > 3 ? argv[3] : "";

	if (argc < 3) {
		fprintf(stderr, "usage: view PORT "
				"size|pattern|raw|ppm|type|point|watch|frames|console [ARG...]\n");
		return 2;
	}
	if (strcmp(what, "png") == 0)
		return check_png(argv[1], (unsigned)atoi(arg));
	look(&r, argv[1]);
	if (strcmp(what, "size") == 0)
		return printf("%ux%u\n", r.width, r.height) < 0;
	if (strcmp(what, "pattern") == 0)
		return wait_for_pattern(&r, (unsigned)atoi(arg), argc > 4 ? atof(argv[4]) : 30);
	if (strcmp(what, "raw") == 0 || strcmp(what, "ppm") == 0)
		return save(&r, arg, what[0] == 'p');
	if (strcmp(what, "type") == 0)
		return type(&r, arg);
	if (strcmp(what, "watch") == 0)
		return watch(&r, atof(arg));
	if (strcmp(what, "console") == 0)
		return console(&r);
	if (strcmp(what, "frames") == 0)
		return frames(&r, atof(arg));
	if (strcmp(what, "point") == 0 && argc > 5) {
		rfb_pointer(&r, (uint32_t)atoi(arg), (uint32_t)atoi(argv[4]),
			    (uint8_t)atoi(argv[5]));
		leave(&r);
		return 0;
	}
	fprintf(stderr, "view: '%s' is not understood\n", what);
	return 2;
}
