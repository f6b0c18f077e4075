// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * draw.c - a guest's program that shows patterns, through the DRM driver alone
 *
 *   draw SEED      a pattern on each monitor that is plugged in, of its own size
 *
 * Each pixel of monitor i is what pattern(SEED + i, x, y) says: tests/xen/view knows the same. Prints
 * "draw: N heads WxH..." when all are shown, draws again when SIGUSR1 comes (with a seed that is 100
 * more), and looks anew for monitors then; ends with SIGTERM. A frame is done when DIRTYFB returns.
 */
#include <libdrm/drm.h>
#include <libdrm/drm_mode.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/xen/guest/card.h"

enum { HEADS = 16 };

static int card;

static void die(const char *what)
{
	printf("draw: FAILED: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void call(unsigned long request, void *arg, const char *what)
{
	if (ioctl(card, request, arg) < 0)
		die(what);
}

static uint32_t pattern(unsigned seed, uint32_t x, uint32_t y)
{
	return ((x * 3 + seed * 17) & 255) << 16 | ((y * 5 + seed) & 255) << 8 |
	       (((x ^ y) + seed * 31) & 255);
}

/* The first mode of a connector, which it likes best. Return: 0: no monitor is there. */
static int mode_of(uint32_t connector, struct drm_mode_modeinfo *mode)
{
	struct drm_mode_modeinfo modes[64];
	struct drm_mode_get_connector c = { .connector_id = connector };

	/* Once to have it looked for, once for the modes. */
	call(DRM_IOCTL_MODE_GETCONNECTOR, &c, "connector");
	if (c.connection != 1 || c.count_modes == 0)
		return 0;
	c = (struct drm_mode_get_connector){ .connector_id = connector,
					     .modes_ptr = (uintptr_t)modes,
					     .count_modes = 64 };
	call(DRM_IOCTL_MODE_GETCONNECTOR, &c, "modes");
	*mode = modes[0];
	for (unsigned i = 0; i < c.count_modes && i < 64; i++) {
		if (modes[i].type & DRM_MODE_TYPE_PREFERRED) {
			*mode = modes[i];
			break;
		}
	}
	return 1;
}

static void show(uint32_t crtc, uint32_t connector, struct drm_mode_modeinfo *mode, unsigned seed)
{
	struct drm_mode_create_dumb dumb = { .width = mode->hdisplay,
					     .height = mode->vdisplay,
					     .bpp = 32 };
	struct drm_mode_fb_cmd fb = {
		.width = mode->hdisplay, .height = mode->vdisplay, .bpp = 32, .depth = 24
	};
	struct drm_mode_map_dumb map = { 0 };
	struct drm_mode_crtc set = { .crtc_id = crtc,
				     .set_connectors_ptr = (uintptr_t)&connector,
				     .count_connectors = 1,
				     .mode_valid = 1,
				     .mode = *mode };
	struct drm_clip_rect all = { 0, 0, mode->hdisplay, mode->vdisplay };
	struct drm_mode_fb_dirty_cmd dirty = { .num_clips = 1, .clips_ptr = (uintptr_t)&all };
	uint32_t *p;

	call(DRM_IOCTL_MODE_CREATE_DUMB, &dumb, "dumb buffer");
	fb.pitch = dumb.pitch;
	fb.handle = dumb.handle;
	call(DRM_IOCTL_MODE_ADDFB, &fb, "framebuffer");
	map.handle = dumb.handle;
	call(DRM_IOCTL_MODE_MAP_DUMB, &map, "map");
	p = mmap(NULL, dumb.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, (off_t)map.offset);
	if (p == MAP_FAILED)
		die("mmap");
	for (uint32_t y = 0; y < mode->vdisplay; y++) {
		for (uint32_t x = 0; x < mode->hdisplay; x++)
			p[y * (dumb.pitch / 4) + x] = pattern(seed, x, y);
	}
	set.fb_id = fb.fb_id;
	call(DRM_IOCTL_MODE_SETCRTC, &set, "crtc");
	dirty.fb_id = fb.fb_id;
	call(DRM_IOCTL_MODE_DIRTYFB, &dirty, "dirty");
	munmap(p, dumb.size);
}

static void show_all(unsigned seed)
{
	uint32_t crtcs[HEADS], connectors[HEADS];
	struct drm_mode_card_res res = { .crtc_id_ptr = (uintptr_t)crtcs,
					 .count_crtcs = HEADS,
					 .connector_id_ptr = (uintptr_t)connectors,
					 .count_connectors = HEADS };
	struct drm_mode_modeinfo mode;
	char text[400] = "";
	unsigned n = 0;

	call(DRM_IOCTL_MODE_GETRESOURCES, &res, "resources");
	for (unsigned i = 0; i < res.count_connectors && i < res.count_crtcs && i < HEADS; i++) {
		if (!mode_of(connectors[i], &mode))
			continue;
		show(crtcs[i], connectors[i], &mode, seed + i);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " %ux%u", mode.hdisplay,
			 mode.vdisplay);
		n++;
	}
	printf("draw: seed %u, %u heads%s\n", seed, n, text);
	fflush(stdout);
}

/* One that was killed just now has the card until it is gone. */
static void become_master(void)
{
	for (int tries = 0; ioctl(card, DRM_IOCTL_SET_MASTER, 0) < 0; tries++) {
		if (tries == 1000)
			die("master");
		usleep(20000);
	}
}

int main(int argc, char **argv)
{
	unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	sigset_t set;
	int sig;

	card = card_open();
	if (card < 0)
		die("card");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	become_master();
	do {
		show_all(seed);
		seed += 100;
	} while (sigwait(&set, &sig) == 0 && sig == SIGUSR1);
	return 0;
}
