// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * paint.c - a guest's program that paints its whole screen anew, again and again, for benchmarks
 *
 *   paint /dev/dri/cardN SECONDS    a frame is done when DIRTYFB returns
 *   paint /dev/fbN SECONDS          by a frame buffer, whose driver looks for changes when it likes
 *
 * Each frame is another colour. It prints "frames N seconds S size WxH", N: how many it has painted.
 */
#include <libdrm/drm.h>
#include <libdrm/drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX = 16 };

struct screen {
	int fd;
	uint32_t width, height, pitch, fb; /* pitch: bytes; fb: DRM's number; 0: it has none */
	uint8_t *pixels;
};

static void die(const char *what)
{
	printf("paint: FAILED: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void call(const struct screen *s, unsigned long request, void *arg, const char *what)
{
	if (ioctl(s->fd, request, arg) < 0)
		die(what);
}

static void map(struct screen *s, uint64_t offset, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, (off_t)offset);

	if (p == MAP_FAILED)
		die("mmap");
	s->pixels = p;
}

/* The first monitor, in the mode that it likes best. */
static void open_drm(struct screen *s)
{
	struct drm_mode_modeinfo modes[64] = { 0 };
	uint32_t crtcs[MAX] = { 0 }, connectors[MAX] = { 0 };
	struct drm_mode_card_res res = { .crtc_id_ptr = (uintptr_t)crtcs,
					 .count_crtcs = MAX,
					 .connector_id_ptr = (uintptr_t)connectors,
					 .count_connectors = MAX };
	struct drm_mode_get_connector c = { .modes_ptr = (uintptr_t)modes, .count_modes = 64 };
	struct drm_mode_create_dumb dumb = { .bpp = 32 };
	struct drm_mode_fb_cmd fb = { .bpp = 32, .depth = 24 };
	struct drm_mode_map_dumb at = { 0 };
	struct drm_mode_crtc set = { .count_connectors = 1, .mode_valid = 1 };

	ioctl(s->fd, DRM_IOCTL_SET_MASTER, 0);
	call(s, DRM_IOCTL_MODE_GETRESOURCES, &res, "resources");
	c.connector_id = connectors[0];
	call(s, DRM_IOCTL_MODE_GETCONNECTOR, &c, "connector");
	s->width = fb.width = dumb.width = modes[0].hdisplay;
	s->height = fb.height = dumb.height = modes[0].vdisplay;
	call(s, DRM_IOCTL_MODE_CREATE_DUMB, &dumb, "dumb buffer");
	fb.handle = at.handle = dumb.handle;
	s->pitch = fb.pitch = dumb.pitch;
	call(s, DRM_IOCTL_MODE_ADDFB, &fb, "framebuffer");
	call(s, DRM_IOCTL_MODE_MAP_DUMB, &at, "map");
	map(s, at.offset, dumb.size);
	set.crtc_id = crtcs[0];
	set.set_connectors_ptr = (uintptr_t)connectors;
	set.mode = modes[0];
	s->fb = set.fb_id = fb.fb_id;
	call(s, DRM_IOCTL_MODE_SETCRTC, &set, "crtc");
}

static void open_fb(struct screen *s)
{
	struct fb_var_screeninfo var;
	struct fb_fix_screeninfo fix;

	call(s, FBIOGET_VSCREENINFO, &var, "screen");
	call(s, FBIOGET_FSCREENINFO, &fix, "screen");
	if (var.bits_per_pixel != 32)
		die("pixels are not of 32 bits");
	s->width = var.xres;
	s->height = var.yres;
	s->pitch = fix.line_length;
	map(s, 0, fix.smem_len);
}

static void paint(const struct screen *s, unsigned n)
{
	struct drm_clip_rect all = { 0, 0, (uint16_t)s->width, (uint16_t)s->height };
	struct drm_mode_fb_dirty_cmd dirty = { .fb_id = s->fb,
					       .num_clips = 1,
					       .clips_ptr = (uintptr_t)&all };

	memset(s->pixels, (int)(n * 37 % 255 + 1), (size_t)s->pitch * s->height);
	if (s->fb)
		call(s, DRM_IOCTL_MODE_DIRTYFB, &dirty, "dirty");
}

int main(int argc, char **argv)
{
	const char *device = argc > 1 ? argv[1] : "/dev/dri/card0";
	struct screen s = { .fd = open(device, O_RDWR | O_CLOEXEC) };
	double begin, seconds = argc > 2 ? atof(argv[2]) : 10;
	unsigned n = 0;

	if (s.fd < 0)
		die(device);
	if (strncmp(device, "/dev/fb", 7) == 0)
		open_fb(&s);
	else
		open_drm(&s);
	begin = now();
	while (now() - begin < seconds)
		paint(&s, n++);
	printf("frames %u seconds %.2f size %ux%u\n", n, now() - begin, s.width, s.height);
	return 0;
}
