/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compose.h - the pictures of several guests on one monitor
 *
 * A monitor's picture is made of *layers*, each of which has an area that nobody else draws in: what a
 * layer above covers of it is left out, pixel by pixel. All of it is opaque: an area is black where
 * its guest shows nothing, for a guest below must not show there what looks as if it came from the one
 * above. Pixels are 0x00RRGGBB, of a cursor 0xAARRGGBB with colours multiplied by their alpha, as
 * planes of Linux' DRM have them by default.
 *
 * No descriptor, no memory of its own: what tests call is what runs.
 */
#ifndef VG_COMPOSE_H
#define VG_COMPOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/displays/display.h"

/* Pixels of a monitor from x, y to right, bottom, which are outside; none where right <= x. */
struct vg_rect {
	int32_t x, y, right, bottom;
};

#define VG_RECT_NONE ((struct vg_rect){ 0, 0, 0, 0 })

struct vg_layer {
	struct vg_rect area;	    /* within the monitor */
	const uint32_t *pixels;	    /* of its guest, width times height; NULL: it shows nothing */
	uint32_t width, height;	    /* up to VG_LIMIT_GPU_SIDE */
	const uint32_t *cursor;	    /* VG_DISPLAY_CURSOR squared; NULL: there is none */
	int32_t cursor_x, cursor_y; /* its upper left corner, in the guest's picture */
};

static inline bool vg_rect_empty(const struct vg_rect *r)
{
	return r->x >= r->right || r->y >= r->bottom;
}

/** vg_rect_and - what both have */
struct vg_rect vg_rect_and(struct vg_rect a, struct vg_rect b);

/** vg_rect_or - the smallest that has both; an empty one adds nothing */
struct vg_rect vg_rect_or(struct vg_rect a, struct vg_rect b);

/**
 * vg_layer_picture - where a guest's picture lies: in the middle of its area, or, where it is larger,
 * with its upper left corner in that of the area, and cut off
 *
 * Return: on the monitor, as large as the picture is, also outside of the area.
 */
struct vg_rect vg_layer_picture(const struct vg_layer *l);

/**
 * vg_layer_damage - what of the monitor a change of a guest's picture concerns
 * @x, @y, @width, @height: in the picture, or beyond its edges, as a cursor may be
 *
 * Return: within the layer's area; empty: nothing.
 */
struct vg_rect vg_layer_damage(const struct vg_layer *l, int64_t x, int64_t y, uint32_t width,
			       uint32_t height);

/**
 * vg_layer_seen - whether anything of @r is seen, which layer @i of @n has
 * @layers: from the lowest to the topmost
 */
bool vg_layer_seen(const struct vg_layer *layers, unsigned n, unsigned i, struct vg_rect r);

/**
 * vg_compose - draw what is to be seen in @r; each pixel is written once
 * @out: the monitor's picture, whose rows are @pitch pixels apart; @r lies within
 * @layers: @n of them, from the lowest to the topmost; where none is, it is black
 */
void vg_compose(uint32_t *out, uint32_t pitch, const struct vg_layer *layers, unsigned n,
		struct vg_rect r);

#endif /* VG_COMPOSE_H */
