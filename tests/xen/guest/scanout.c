// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * scanout.c - what a card of dom0's shows on a monitor, for tests in dom0; vkms' card in particular
 *
 *   scanout CARD size CRTC              "WIDTHxHEIGHT" of its mode, or "dark"; CRTC: 0 for the first
 *   scanout CARD areas CRTC S AREA...   wait until it shows that, at most S seconds; prints the size,
 *                                       or the first pixel that is not
 *   scanout CARD take                   be the card's master until SIGTERM comes
 *
 * An AREA is SEED:WIDTHxHEIGHT@X:Y: there it is what draw.c draws with that seed, or black, with 0. Where
 * two meet the first one counts; where none is it is black. Who shows it is not asked: as root one may look
 * at others' framebuffers (GETFB2). What is compared is each pixel of the framebuffer, and then the checksum
 * that vkms makes of what it sends to its monitor (debugfs, crc/data: crc32_le() over rows of 16 bits each
 * for alpha, red, green and blue: vkms_composer.c).
 */
#include <libdrm/drm.h>
#include <libdrm/drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX = 16, LINE = 64 };

#define CRC_FOLDER "/sys/kernel/debug/dri/%s/crtc-%u/crc/%s"

struct area {
	unsigned seed, width, height, x, y;
};

static int card;
static const char *minor_of; /* "0" of /dev/dri/card0 */
static unsigned crtc_no;

static void die(const char *what)
{
	printf("scanout: FAILED: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint32_t pattern(unsigned seed, uint32_t x, uint32_t y)
{
	return ((x * 3 + seed * 17) & 255) << 16 | ((y * 5 + seed) & 255) << 8 |
	       (((x ^ y) + seed * 31) & 255);
}

static uint32_t wanted(const struct area *areas, unsigned n, uint32_t x, uint32_t y)
{
	for (unsigned i = 0; i < n; i++) {
		const struct area *a = &areas[i];

		if (x >= a->x && y >= a->y && x - a->x < a->width && y - a->y < a->height)
			return a->seed ? pattern(a->seed, x - a->x, y - a->y) : 0;
	}
	return 0;
}

/* Return: whether the crtc shows something. */
static int lit(struct drm_mode_crtc *c)
{
	uint32_t crtcs[MAX] = { 0 };
	struct drm_mode_card_res res = { .crtc_id_ptr = (uintptr_t)crtcs, .count_crtcs = MAX };

	if (ioctl(card, DRM_IOCTL_MODE_GETRESOURCES, &res) < 0)
		die("resources");
	*c = (struct drm_mode_crtc){ .crtc_id = crtcs[crtc_no] };
	if (ioctl(card, DRM_IOCTL_MODE_GETCRTC, c) < 0)
		die("crtc");
	return c->mode_valid && c->fb_id;
}

/* Whether the framebuffer is what is wanted. */
static int is_in_memory(const struct drm_mode_crtc *c, const struct area *areas, unsigned n,
			char *why)
{
	struct drm_mode_fb_cmd2 fb = { .fb_id = c->fb_id };
	struct drm_mode_map_dumb map = { 0 };
	struct drm_gem_close done = { 0 };
	size_t size;
	uint8_t *p;
	int ok = 1;

	/* It may go while it is looked at: another has taken its place. */
	if (ioctl(card, DRM_IOCTL_MODE_GETFB2, &fb) < 0)
		return 0;
	map.handle = done.handle = fb.handles[0];
	if (ioctl(card, DRM_IOCTL_MODE_MAP_DUMB, &map) < 0)
		die("map");
	size = (size_t)fb.pitches[0] * fb.height;
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, card, (off_t)map.offset);
	if (p == MAP_FAILED)
		die("mmap");
	for (uint32_t y = 0; ok && y < c->mode.vdisplay; y++) {
		const uint32_t *row =
			(const uint32_t *)(const void *)(p + (size_t)y * fb.pitches[0]);

		for (uint32_t x = 0; ok && x < c->mode.hdisplay; x++) {
			uint32_t want = wanted(areas, n, x, y);

			ok = (row[x] & 0xffffff) == want;
			if (!ok)
				sprintf(why, "%ux%u: pixel %u,%u is %06x, not %06x",
					c->mode.hdisplay, c->mode.vdisplay, x, y, row[x] & 0xffffff,
					want);
		}
	}
	munmap(p, size);
	ioctl(card, DRM_IOCTL_GEM_CLOSE, &done);
	return ok;
}

/* ---- what is sent --------------------------------------------------------------- */

static uint32_t crc_add(uint32_t crc, const void *data, size_t len)
{
	static uint32_t table[256];
	const uint8_t *p = data;

	for (uint32_t i = 0; i < 256 && !table[255]; i++) {
		uint32_t v = i;

		for (int k = 0; k < 8; k++)
			v = v & 1 ? v >> 1 ^ 0xedb88320 : v >> 1;
		table[i] = v;
	}
	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 255];
	return crc;
}

static uint32_t checksum(const struct drm_mode_crtc *c, const struct area *areas, unsigned n)
{
	uint32_t crc = 0;

	for (uint32_t y = 0; y < c->mode.vdisplay; y++) {
		for (uint32_t x = 0; x < c->mode.hdisplay; x++) {
			uint32_t v = wanted(areas, n, x, y);
			const uint16_t argb[] = { 0xffff, (uint16_t)((v >> 16 & 255) * 257),
						  (uint16_t)((v >> 8 & 255) * 257),
						  (uint16_t)((v & 255) * 257) };

			crc = crc_add(crc, argb, sizeof(argb));
		}
	}
	return crc;
}

static int crc_file(const char *name, int flags)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), CRC_FOLDER, minor_of, crtc_no, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

/* Wait until a frame with that checksum is sent. */
static int is_sent(uint32_t want, double end, char *why)
{
	int control = crc_file("control", O_WRONLY), data;
	char line[LINE + 1];
	unsigned frame, crc = 0;
	ssize_t n;

	if (write(control, "auto", 4) < 0)
		die("crc/control");
	close(control);
	data = crc_file("data", O_RDONLY | O_NONBLOCK);
	do {
		struct pollfd p = { .fd = data, .events = POLLIN };

		poll(&p, 1, 1000);
		n = read(data, line, LINE);
		line[n > 0 ? n : 0] = '\0';
		if (n > 0 && sscanf(line, "%x %x", &frame, &crc) == 2 && crc == want) {
			close(data);
			return 1;
		}
	} while (now() < end);
	sprintf(why, "the checksum of what is sent is %08x, not %08x", crc, want);
	close(data);
	return 0;
}

static int wait_for_areas(const struct area *areas, unsigned n, double seconds)
{
	double end = now() + seconds;
	struct drm_mode_crtc c;
	char why[160] = "dark";
	int ok = 0;

	while (!ok && now() < end) {
		ok = lit(&c) && is_in_memory(&c, areas, n, why);
		if (!ok)
			usleep(100000);
	}
	ok = ok && is_sent(checksum(&c, areas, n), end + 10, why);
	if (ok)
		printf("%ux%u\n", c.mode.hdisplay, c.mode.vdisplay);
	else
		printf("%s\n", why);
	return !ok;
}

static int take(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (ioctl(card, DRM_IOCTL_SET_MASTER, 0) < 0)
		die("master");
	printf("scanout: taken\n");
	fflush(stdout);
	return sigwait(&set, &sig);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[2] : "";
	struct area areas[MAX];
	struct drm_mode_crtc c;
	unsigned n = 0;

	card = argc > 1 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	if (card < 0)
		die(argc > 1 ? argv[1] : "no card");
	minor_of = argv[1] + strcspn(argv[1], "0123456789");
	if (strcmp(what, "take") == 0)
		return take();
	/* First to open it, one is its master, and nobody else can be. */
	ioctl(card, DRM_IOCTL_DROP_MASTER, 0);
	crtc_no = argc > 3 ? (unsigned)atoi(argv[3]) % MAX : 0;
	if (strcmp(what, "size") == 0) {
		if (lit(&c))
			printf("%ux%u\n", c.mode.hdisplay, c.mode.vdisplay);
		else
			printf("dark\n");
		return 0;
	}
	for (int i = 5; i < argc && n < MAX; i++, n++) {
		struct area *a = &areas[n];

		if (sscanf(argv[i], "%u:%ux%u@%u:%u", &a->seed, &a->width, &a->height, &a->x,
			   &a->y) != 5)
			die(argv[i]);
	}
	if (strcmp(what, "areas") == 0 && n)
		return wait_for_areas(areas, n, atof(argv[4]));
	fprintf(stderr, "usage: scanout CARD size|areas|take [ARG...]\n");
	return 2;
}
