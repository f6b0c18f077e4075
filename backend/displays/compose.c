// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * compose.c - see compose.h
 *
 * From the top down: a rectangle is cut at the edges of the topmost area that touches it. What lies
 * within is that layer's; what is left, four strips at most, is looked for one layer further down.
 */
#include "backend/displays/compose.h"

#include <stddef.h>
#include <string.h>

static int32_t least(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static int32_t most(int32_t a, int32_t b)
{
	return a > b ? a : b;
}

struct vg_rect vg_rect_and(struct vg_rect a, struct vg_rect b)
{
	const struct vg_rect r = { most(a.x, b.x), most(a.y, b.y), least(a.right, b.right),
				   least(a.bottom, b.bottom) };

	return vg_rect_empty(&r) ? VG_RECT_NONE : r;
}

struct vg_rect vg_rect_or(struct vg_rect a, struct vg_rect b)
{
	if (vg_rect_empty(&a))
		return b;
	if (vg_rect_empty(&b))
		return a;
	return (struct vg_rect){ least(a.x, b.x), least(a.y, b.y), most(a.right, b.right),
				 most(a.bottom, b.bottom) };
}

/* ---- one layer -------------------------------------------------------------- */

struct vg_rect vg_layer_picture(const struct vg_layer *l)
{
	int32_t w = (int32_t)l->width, h = (int32_t)l->height;
	int32_t x = l->area.x + most(0, (l->area.right - l->area.x - w) / 2);
	int32_t y = l->area.y + most(0, (l->area.bottom - l->area.y - h) / 2);

	return (struct vg_rect){ x, y, x + w, y + h };
}

/* Where a guest says that its cursor is may be anywhere in 32 bits. */
static int32_t clamp(int64_t v)
{
	const int64_t far = 1 << 24;

	return (int32_t)(v < -far ? -far : v > far ? far : v);
}

struct vg_rect vg_layer_damage(const struct vg_layer *l, int64_t x, int64_t y, uint32_t width,
			       uint32_t height)
{
	struct vg_rect p = vg_layer_picture(l);
	const struct vg_rect r = { clamp(p.x + x), clamp(p.y + y), clamp(p.x + x + width),
				   clamp(p.y + y + height) };

	return vg_rect_and(vg_rect_and(r, p), l->area);
}

/* Premultiplied: what the cursor has, and what it lets through. */
static uint32_t over(uint32_t cursor, uint32_t below)
{
	uint32_t through = 255 - (cursor >> 24), out = 0;

	for (unsigned shift = 0; shift < 24; shift += 8) {
		uint32_t c =
			(cursor >> shift & 255) + ((below >> shift & 255) * through + 127) / 255;

		out |= (c < 255 ? c : 255) << shift;
	}
	return out;
}

static void draw_cursor(uint32_t *out, uint32_t pitch, const struct vg_layer *l, struct vg_rect r)
{
	struct vg_rect p = vg_layer_picture(l);
	int32_t x0 = clamp((int64_t)p.x + l->cursor_x), y0 = clamp((int64_t)p.y + l->cursor_y);
	const struct vg_rect at = vg_rect_and(r, (struct vg_rect){ x0, y0, x0 + VG_DISPLAY_CURSOR,
								   y0 + VG_DISPLAY_CURSOR });

	for (int32_t y = at.y; y < at.bottom; y++) {
		for (int32_t x = at.x; x < at.right; x++) {
			uint32_t *to = &out[(size_t)y * pitch + (size_t)x];

			*to = over(l->cursor[(y - y0) * VG_DISPLAY_CURSOR + (x - x0)], *to);
		}
	}
}

static void black(uint32_t *out, uint32_t pitch, struct vg_rect r)
{
	for (int32_t y = r.y; y < r.bottom; y++)
		memset(&out[(size_t)y * pitch + (size_t)r.x], 0, (size_t)(r.right - r.x) * 4);
}

/* @r: within its area. */
static void draw_layer(uint32_t *out, uint32_t pitch, const struct vg_layer *l, struct vg_rect r)
{
	struct vg_rect p = vg_layer_picture(l);
	struct vg_rect in = l->pixels ? vg_rect_and(r, p) : VG_RECT_NONE;

	if (memcmp(&in, &r, sizeof(r)) != 0)
		black(out, pitch, r);
	for (int32_t y = in.y; y < in.bottom; y++)
		memcpy(&out[(size_t)y * pitch + (size_t)in.x],
		       &l->pixels[(size_t)(y - p.y) * l->width + (size_t)(in.x - p.x)],
		       (size_t)(in.right - in.x) * 4);
	if (l->pixels && l->cursor)
		draw_cursor(out, pitch, l, in);
}

/* ---- all of them ------------------------------------------------------------- */

/* What of @r is not in @hole: above it, below it, to its left and right; some of them empty. */
static void around(struct vg_rect r, struct vg_rect hole, struct vg_rect strip[4])
{
	strip[0] = (struct vg_rect){ r.x, r.y, r.right, hole.y };
	strip[1] = (struct vg_rect){ r.x, hole.bottom, r.right, r.bottom };
	strip[2] = (struct vg_rect){ r.x, hole.y, hole.x, hole.bottom };
	strip[3] = (struct vg_rect){ hole.right, hole.y, r.right, hole.bottom };
}

bool vg_layer_seen(const struct vg_layer *layers, unsigned n, unsigned i, struct vg_rect r)
{
	struct vg_rect strip[4], hole = VG_RECT_NONE;
	bool seen = false;

	if (vg_rect_empty(&r))
		return false;
	while (n > i + 1 && vg_rect_empty(&hole))
		hole = vg_rect_and(r, layers[--n].area);
	if (vg_rect_empty(&hole))
		return true;
	around(r, hole, strip);
	for (unsigned k = 0; k < 4 && !seen; k++)
		seen = vg_layer_seen(layers, n, i, strip[k]);
	return seen;
}

void vg_compose(uint32_t *out, uint32_t pitch, const struct vg_layer *layers, unsigned n,
		struct vg_rect r)
{
	struct vg_rect strip[4], hole = VG_RECT_NONE;

	if (vg_rect_empty(&r))
		return;
	while (n && vg_rect_empty(&hole))
		hole = vg_rect_and(r, layers[--n].area);
	if (vg_rect_empty(&hole)) {
		black(out, pitch, r);
		return;
	}
	draw_layer(out, pitch, &layers[n], hole);
	around(r, hole, strip);
	for (unsigned k = 0; k < 4; k++)
		vg_compose(out, pitch, layers, n, strip[k]);
}
