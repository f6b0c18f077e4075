// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_compose.c - pictures of several guests on one monitor, against what each pixel is to be, one by one
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "backend/displays/compose.h"

enum { W = 40, H = 30, PITCH = 48, LAYERS = 6, SIDE = 24, UNTOUCHED = 0x55aa55 };

struct rig {
	uint32_t out[H * PITCH];
	uint32_t pixels[LAYERS][SIDE * SIDE];
	uint32_t cursor[VG_DISPLAY_CURSOR * VG_DISPLAY_CURSOR];
	struct vg_layer layer[LAYERS];
	unsigned n;
};

static struct rig rig;

static const struct vg_rect all = { 0, 0, W, H };

/* ---- what is to be, in other words ------------------------------------------------- */

static bool has(const struct vg_rect *r, int32_t x, int32_t y)
{
	return x >= r->x && x < r->right && y >= r->y && y < r->bottom;
}

/* The topmost layer there, or -1. */
static int top(int32_t x, int32_t y)
{
	for (int i = (int)rig.n - 1; i >= 0; i--) {
		if (has(&rig.layer[i].area, x, y))
			return i;
	}
	return -1;
}

/* One channel of a premultiplied colour over another one, rounded. */
static uint32_t blend(uint32_t over, uint32_t under, unsigned shift)
{
	double a = over >> 24;
	double v = (over >> shift & 255) + (under >> shift & 255) * (255 - a) / 255;
	uint32_t u = (uint32_t)(v + 0.5);

	return (u > 255 ? 255 : u) << shift;
}

static uint32_t want(int32_t x, int32_t y)
{
	int i = top(x, y);
	const struct vg_layer *l = i < 0 ? NULL : &rig.layer[i];
	int32_t px, py;
	int64_t cx, cy;
	uint32_t v, c;

	if (!l || !l->pixels)
		return 0;
	/* In the middle, or at the upper left. */
	px = x - l->area.x;
	py = y - l->area.y;
	if ((int32_t)l->width < l->area.right - l->area.x)
		px -= (l->area.right - l->area.x - (int32_t)l->width) / 2;
	if ((int32_t)l->height < l->area.bottom - l->area.y)
		py -= (l->area.bottom - l->area.y - (int32_t)l->height) / 2;
	if (px < 0 || py < 0 || px >= (int32_t)l->width || py >= (int32_t)l->height)
		return 0;
	v = l->pixels[py * (int32_t)l->width + px];
	cx = (int64_t)px - l->cursor_x;
	cy = (int64_t)py - l->cursor_y;
	if (!l->cursor || cx < 0 || cy < 0 || cx >= VG_DISPLAY_CURSOR || cy >= VG_DISPLAY_CURSOR)
		return v;
	c = l->cursor[cy * VG_DISPLAY_CURSOR + cx];
	return blend(c, v, 16) | blend(c, v, 8) | blend(c, v, 0);
}

/* ---- the other side ------------------------------------------------------------------ */

static uint32_t seed;

static uint32_t number(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static void begin(void)
{
	memset(&rig, 0, sizeof(rig));
	for (unsigned i = 0; i < H * PITCH; i++)
		rig.out[i] = UNTOUCHED;
	for (unsigned i = 0; i < LAYERS; i++) {
		for (unsigned k = 0; k < SIDE * SIDE; k++)
			rig.pixels[i][k] = (i + 1) << 16 | k;
	}
	for (unsigned i = 0; i < VG_DISPLAY_CURSOR * VG_DISPLAY_CURSOR; i++) {
		uint32_t a = i * 5 % 256;

		rig.cursor[i] =
			a << 24 | (i % (a + 1)) << 16 | (i * 3 % (a + 1)) << 8 | i * 7 % (a + 1);
	}
}

static struct vg_layer *layer(struct vg_rect area, uint32_t width, uint32_t height)
{
	struct vg_layer *l = &rig.layer[rig.n];

	*l = (struct vg_layer){ .area = area, .width = width, .height = height };
	l->pixels = width ? rig.pixels[rig.n] : NULL;
	rig.n++;
	return l;
}

/* Compose @r: all in there is as it is to be, and nothing else was written. */
static void compose(struct vg_rect r)
{
	vg_compose(rig.out, PITCH, rig.layer, rig.n, r);
	for (int32_t y = 0; y < H; y++) {
		for (int32_t x = 0; x < PITCH; x++) {
			uint32_t v = has(&r, x, y) ? want(x, y) : UNTOUCHED;

			if (rig.out[y * PITCH + x] != v)
				fail_msg("pixel %d,%d: %06x, not %06x", x, y,
					 rig.out[y * PITCH + x], v);
		}
	}
}

/* ---- tests ------------------------------------------------------------------------- */

static void nobody_is_black(void **state)
{
	(void)state;
	begin();
	compose(all);
}

static void the_one_above_covers(void **state)
{
	(void)state;
	begin();
	layer(all, SIDE, SIDE);
	layer((struct vg_rect){ 10, 8, 20, 18 }, 10, 10);
	compose(all);
	assert_int_equal(rig.out[8 * PITCH + 10], rig.pixels[1][0]);
	assert_int_equal(rig.out[17 * PITCH + 19], rig.pixels[1][99]);
}

/* An area is its guest's, also while that shows nothing. */
static void an_area_is_kept(void **state)
{
	(void)state;
	begin();
	layer(all, SIDE, SIDE);
	layer((struct vg_rect){ 10, 8, 20, 18 }, 0, 0);
	layer((struct vg_rect){ 22, 8, 38, 18 }, 4, 4); /* and where its picture is smaller */
	compose(all);
	assert_int_equal(rig.out[9 * PITCH + 12], 0);
	assert_int_equal(rig.out[8 * PITCH + 22], 0);
}

static void a_larger_picture_is_cut_off(void **state)
{
	(void)state;
	begin();
	layer((struct vg_rect){ 3, 4, 9, 7 }, SIDE, SIDE);
	compose(all);
	assert_int_equal(rig.out[4 * PITCH + 3], rig.pixels[0][0]);
}

static void a_cursor_is_blended(void **state)
{
	struct vg_layer *l;

	(void)state;
	begin();
	l = layer((struct vg_rect){ 5, 5, 29, 29 }, SIDE, SIDE);
	l->cursor = rig.cursor;
	l->cursor_x = -10;
	l->cursor_y = 4;
	layer((struct vg_rect){ 12, 12, 16, 16 }, 4, 4);
	compose(all);
	/* Far outside, as a guest may say. */
	begin();
	l = layer((struct vg_rect){ 5, 5, 29, 29 }, SIDE, SIDE);
	l->cursor = rig.cursor;
	l->cursor_x = INT32_MAX;
	l->cursor_y = INT32_MIN;
	compose(all);
}

static struct vg_rect any_rect(void)
{
	int32_t x = (int32_t)number(W), y = (int32_t)number(H);

	return (struct vg_rect){ x, y, x + 1 + (int32_t)number((uint32_t)(W - x)),
				 y + 1 + (int32_t)number((uint32_t)(H - y)) };
}

static bool is_seen(unsigned i, const struct vg_rect *r)
{
	for (int32_t y = r->y; y < r->bottom; y++) {
		for (int32_t x = r->x; x < r->right; x++) {
			if (top(x, y) <= (int)i)
				return true;
		}
	}
	return false;
}

static void whatever_is_laid_over_what(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		seed = round;
		begin();
		for (unsigned n = number(LAYERS + 1); n; n--) {
			struct vg_layer *l = layer(any_rect(), number(SIDE + 1), 1 + number(SIDE));

			if (l->width && number(3) == 0) {
				l->cursor = rig.cursor;
				l->cursor_x = (int32_t)number(100) - 70;
				l->cursor_y = (int32_t)number(100) - 70;
			}
		}
		compose(any_rect());
		for (unsigned i = 0; i < rig.n; i++) {
			struct vg_rect r = any_rect();

			r = vg_rect_and(r, rig.layer[i].area);
			assert_int_equal(vg_layer_seen(rig.layer, rig.n, i, r), is_seen(i, &r));
		}
	}
}

/* What a guest says has changed, on the monitor: no more than its area, no less than what it is. */
static void damage(void **state)
{
	struct vg_layer *l;
	struct vg_rect r;

	(void)state;
	begin();
	l = layer((struct vg_rect){ 4, 6, 34, 26 }, 10, 10); /* from 14, 11 on */
	r = vg_layer_damage(l, 0, 0, 10, 10);
	assert_memory_equal(&r, (&(struct vg_rect){ 14, 11, 24, 21 }), sizeof(r));
	r = vg_layer_damage(l, 2, 3, 4, 5);
	assert_memory_equal(&r, (&(struct vg_rect){ 16, 14, 20, 19 }), sizeof(r));
	r = vg_layer_damage(l, -5, 8, 7, 64);
	assert_memory_equal(&r, (&(struct vg_rect){ 14, 19, 16, 21 }), sizeof(r));
	r = vg_layer_damage(l, INT32_MAX, INT32_MIN, UINT32_MAX, UINT32_MAX);
	assert_true(vg_rect_empty(&r));
	r = vg_layer_damage(l, INT32_MIN, INT32_MIN, UINT32_MAX, UINT32_MAX);
	assert_memory_equal(&r, (&(struct vg_rect){ 14, 11, 24, 21 }), sizeof(r));
	/* A picture that is larger than its area, and cut off. */
	begin();
	l = layer((struct vg_rect){ 4, 6, 14, 16 }, SIDE, SIDE);
	r = vg_layer_damage(l, 8, 8, 10, 10);
	assert_memory_equal(&r, (&(struct vg_rect){ 12, 14, 14, 16 }), sizeof(r));
	r = vg_layer_damage(l, 10, 10, 10, 10);
	assert_true(vg_rect_empty(&r));
}

static void rectangles(void **state)
{
	const struct vg_rect a = { 1, 2, 5, 6 }, b = { 3, 4, 9, 9 }, far = { 20, 20, 30, 30 };
	struct vg_rect r;

	(void)state;
	r = vg_rect_and(a, b);
	assert_memory_equal(&r, (&(struct vg_rect){ 3, 4, 5, 6 }), sizeof(r));
	r = vg_rect_and(a, far);
	assert_true(vg_rect_empty(&r));
	r = vg_rect_or(a, b);
	assert_memory_equal(&r, (&(struct vg_rect){ 1, 2, 9, 9 }), sizeof(r));
	r = vg_rect_or(a, VG_RECT_NONE);
	assert_memory_equal(&r, &a, sizeof(r));
	r = vg_rect_or(VG_RECT_NONE, b);
	assert_memory_equal(&r, &b, sizeof(r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rectangles),
		cmocka_unit_test(nobody_is_black),
		cmocka_unit_test(the_one_above_covers),
		cmocka_unit_test(an_area_is_kept),
		cmocka_unit_test(a_larger_picture_is_cut_off),
		cmocka_unit_test(a_cursor_is_blended),
		cmocka_unit_test(whatever_is_laid_over_what),
		cmocka_unit_test(damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
