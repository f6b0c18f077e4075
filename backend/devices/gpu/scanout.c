// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * scanout.c - which picture a head shows
 *
 * A flush copies what has changed from the picture (our copy, or the guest's own pages) into the
 * frame memory, in the one format that a display knows, and tells it where. So a picture that the
 * guest frees, or goes on drawing in, is no matter to a display; and what a guest changes while it
 * is copied is a wrong pixel, and nothing else.
 */
#include <string.h>
#include <sys/mman.h>

#include "backend/devices/gpu/int.h"

static bool is_shown(const struct gpu_head *h)
{
	return h->shown.resource != 0;
}

/* @n pixels of row @y from @x on; what is not there is black. */
static void take_row(const struct gpu_resource *r, const struct gpu_picture *p, uint32_t x,
		     uint32_t y, uint32_t n, uint32_t *to)
{
	size_t off = p->offset + (size_t)y * p->stride + (size_t)x * GPU_PIXEL;

	if (!r->blob) {
		gpu_convert(p->format, to, r->pixels + off, n);
		return;
	}
	while (n) {
		size_t len = 0;
		const uint8_t *at = vg_backing_at(&r->backing, off, &len);
		uint32_t k = len / GPU_PIXEL < n ? (uint32_t)(len / GPU_PIXEL) : n;
		uint8_t pixel[GPU_PIXEL] = { 0 };

		if (!at) {
			memset(to, 0, (size_t)n * sizeof(*to));
			return;
		}
		/* A pixel may lie in two pages, or three. */
		if (!k) {
			vg_backing_read(&r->backing, off, pixel, sizeof(pixel));
			at = pixel;
			k = 1;
		}
		gpu_convert(p->format, to, at, k);
		to += k;
		off += (size_t)k * GPU_PIXEL;
		n -= k;
	}
}

/* ---- pictures ----------------------------------------------------------- */

static void tell_mode(struct gpu *gpu, uint32_t head)
{
	const struct gpu_head *h = &gpu->head[head];
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_MODE,
		.head = head,
		.mode = { is_shown(h) ? h->shown.r.width : 0, is_shown(h) ? h->shown.r.height : 0 },
	};

	gpu_link_say(gpu, &m);
}

/* @r is of the head's own picture. Return: whether the display was told. */
static bool tell_damage(struct gpu *gpu, uint32_t head, const struct gpu_rect *r, uint32_t serial)
{
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_DAMAGE,
		.head = head,
		.damage = { r->x, r->y, r->width, r->height, serial },
	};

	return gpu_link_say(gpu, &m);
}

/* What was read of a resource of 3D. */
struct gpu_copy {
	const struct gpu_rect *rect;
	const uint8_t *pixels;
};

static void take_row_3d(uint32_t format, const struct gpu_copy *c, uint32_t x, uint32_t y,
			uint32_t n, uint32_t *to)
{
	size_t at = (size_t)(y - c->rect->y) * c->rect->width + (x - c->rect->x);

	gpu_convert(format, to, c->pixels + at * GPU_PIXEL, n);
}

/* Copy @area, of the picture that is shown, which lies in what is shown of it; of 3D, it is in @copy. */
static void draw(struct gpu *gpu, uint32_t head, const struct gpu_resource *r,
		 const struct gpu_rect *area, const struct gpu_copy *copy)
{
	const struct gpu_picture *p = &gpu->head[head].shown;
	uint32_t *to = vg_display_pixels(gpu->link.frame, head);

	to += (size_t)(area->y - p->r.y) * p->r.width + (area->x - p->r.x);
	for (uint32_t y = 0; y < area->height; y++, to += p->r.width) {
		if (copy)
			take_row_3d(r->format, copy, area->x, area->y + y, area->width, to);
		else
			take_row(r, p, area->x, area->y + y, area->width, to);
	}
}

/* What @a and @b have in common. Return: false: nothing. */
static bool intersect(const struct gpu_rect *a, const struct gpu_rect *b, struct gpu_rect *out)
{
	uint64_t right = (uint64_t)a->x + a->width, bottom = (uint64_t)a->y + a->height;

	out->x = a->x > b->x ? a->x : b->x;
	out->y = a->y > b->y ? a->y : b->y;
	if ((uint64_t)b->x + b->width < right)
		right = (uint64_t)b->x + b->width;
	if ((uint64_t)b->y + b->height < bottom)
		bottom = (uint64_t)b->y + b->height;
	if (right <= out->x || bottom <= out->y)
		return false;
	out->width = (uint32_t)(right - out->x);
	out->height = (uint32_t)(bottom - out->y);
	return true;
}

static struct gpu_rect in_picture(const struct gpu_picture *p, const struct gpu_rect *area)
{
	return (struct gpu_rect){ area->x - p->r.x, area->y - p->r.y, area->width, area->height };
}

static uint32_t flush(struct gpu *gpu, uint32_t id, const struct gpu_rect *rect,
		      const struct gpu_copy *copy)
{
	const struct gpu_resource *r = gpu_find(gpu, id);
	uint32_t told = 0;

	/* What was not read of the renderer's is not here. */
	if (r && r->is_3d && !copy)
		return 0;
	gpu->n.flushes++;
	gpu->link.serial++;
	for (uint32_t i = 0; r && i < gpu->n_heads; i++) {
		struct gpu_head *h = &gpu->head[i];
		struct gpu_rect area, at;

		if (h->shown.resource != id || !intersect(rect, &h->shown.r, &area))
			continue;
		draw(gpu, i, r, &area, copy);
		at = in_picture(&h->shown, &area);
		if (tell_damage(gpu, i, &at, gpu->link.serial))
			told |= 1u << i;
	}
	return told;
}

uint32_t gpu_flush(struct gpu *gpu, uint32_t id, const struct gpu_rect *rect)
{
	return flush(gpu, id, rect, NULL);
}

uint32_t gpu_flush_3d(struct gpu *gpu, uint32_t id, const struct gpu_rect *rect,
		      const uint8_t *pixels)
{
	const struct gpu_copy copy = { rect, pixels };

	return flush(gpu, id, rect, &copy);
}

bool gpu_is_shown(const struct gpu *gpu, uint32_t id)
{
	for (unsigned i = 0; i < gpu->n_heads; i++) {
		if (gpu->head[i].shown.resource == id)
			return true;
	}
	return false;
}

/* Memory of a picture that was larger goes back to the system; the next begins black. */
static void forget_pixels(struct gpu *gpu, uint32_t head, const struct gpu_rect *r)
{
	madvise(vg_display_pixels(gpu->link.frame, head), (size_t)r->width * r->height * 4,
		MADV_REMOVE);
}

void gpu_show_nothing(struct gpu *gpu, uint32_t head)
{
	struct gpu_head *h = &gpu->head[head];

	if (!is_shown(h))
		return;
	forget_pixels(gpu, head, &h->shown.r);
	h->shown = (struct gpu_picture){ 0 };
	gpu->dirty = true;
	tell_mode(gpu, head);
}

/* Of a picture its own numbers; of a blob what the driver says. Return: whether they are in it. */
static bool fits(const struct gpu_resource *r, const struct gpu_picture *p)
{
	uint64_t end;

	if (r->is_3d && (r->tex.target == GPU_TARGET_BUFFER || !gpu_format_known(r->format) ||
			 !vg_display_mode_ok(r->width, r->height)))
		return false;
	if (!r->blob)
		return gpu_within(&p->r, r->width, r->height);
	if (!gpu_format_known(p->format) || !p->r.width || !p->r.height ||
	    p->r.x > VG_LIMIT_GPU_SIDE || p->r.y > VG_LIMIT_GPU_SIDE ||
	    !vg_display_mode_ok(p->r.width, p->r.height) ||
	    ((uint64_t)p->r.x + p->r.width) * GPU_PIXEL > p->stride)
		return false;
	end = ((uint64_t)p->r.y + p->r.height - 1) * p->stride +
	      ((uint64_t)p->r.x + p->r.width) * GPU_PIXEL;
	return p->offset <= r->size && end <= r->size - p->offset;
}

uint32_t gpu_show(struct gpu *gpu, uint32_t head, const struct gpu_picture *p)
{
	struct gpu_head *h = &gpu->head[head];
	const struct gpu_resource *r = gpu_find(gpu, p->resource);
	struct gpu_rect old = h->shown.r;

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!fits(r, p))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	h->shown = *p;
	if (!r->blob) {
		h->shown.format = r->format;
		h->shown.stride = r->width * GPU_PIXEL;
		h->shown.offset = 0;
	}
	gpu->dirty = true;
	/* Of the same size: what it shows is seen when it is flushed. */
	if (old.width == p->r.width && old.height == p->r.height)
		return VIRTIO_GPU_RESP_OK_NODATA;
	forget_pixels(gpu, head, &old);
	tell_mode(gpu, head);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/* ---- the cursor --------------------------------------------------------- */

/* Its picture, of 64 x 64: a blob's in the format that Linux' cursors have. */
static bool take_cursor(struct gpu *gpu, uint32_t head, const struct gpu_resource *r)
{
	const struct gpu_picture p = {
		.format = r->blob ? VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM : r->format,
		.stride = VG_DISPLAY_CURSOR * GPU_PIXEL,
	};
	uint32_t *to = vg_display_cursor(gpu->link.frame, head);

	if (r->blob ? r->size < VG_DISPLAY_CURSOR_BYTES
		    : r->width != VG_DISPLAY_CURSOR || r->height != VG_DISPLAY_CURSOR)
		return false;
	for (uint32_t y = 0; y < VG_DISPLAY_CURSOR; y++)
		take_row(r, &p, 0, y, VG_DISPLAY_CURSOR, to + (size_t)y * VG_DISPLAY_CURSOR);
	return true;
}

void gpu_cursor_pixels(struct gpu *gpu, uint32_t head, uint32_t format, const uint8_t *pixels)
{
	gpu_convert(format, vg_display_cursor(gpu->link.frame, head), pixels,
		    (size_t)VG_DISPLAY_CURSOR * VG_DISPLAY_CURSOR);
}

void gpu_cursor_tell(struct gpu *gpu, uint32_t head, bool image)
{
	const struct gpu_cursor *c = &gpu->head[head].cursor;
	struct vg_display_msg m = { .type = VG_DISPLAY_CURSOR_IS, .head = head };

	m.cursor.visible = c->resource != 0;
	m.cursor.changed = image;
	/* A cursor may stand partly outside, to the left: its numbers are those of two's complement. */
	m.cursor.x = (int32_t)c->x;
	m.cursor.y = (int32_t)c->y;
	m.cursor.hot_x = c->hot_x < VG_DISPLAY_CURSOR ? c->hot_x : 0;
	m.cursor.hot_y = c->hot_y < VG_DISPLAY_CURSOR ? c->hot_y : 0;
	gpu->n.cursors++;
	gpu_link_say(gpu, &m);
}

uint32_t gpu_cursor_show(struct gpu *gpu, uint32_t head, bool image)
{
	struct gpu_head *h = &gpu->head[head];
	struct gpu_cursor *c = &h->cursor;
	const struct gpu_resource *r = c->resource ? gpu_find(gpu, c->resource) : NULL;
	uint32_t ret = VIRTIO_GPU_RESP_OK_NODATA;

	if (image && c->resource) {
		if (!r)
			ret = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
		else if (r->is_3d)
			ret = gpu_cursor_read_back(gpu, head, r);
		else if (!take_cursor(gpu, head, r))
			ret = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
		if (ret != VIRTIO_GPU_RESP_OK_NODATA)
			c->resource = 0;
	}
	gpu_cursor_tell(gpu, head, image);
	return ret;
}

/* ---- a display that is new ---------------------------------------------- */

void gpu_show_again(struct gpu *gpu, uint32_t head)
{
	struct gpu_head *h = &gpu->head[head];
	const struct gpu_resource *r = gpu_find(gpu, h->shown.resource);
	const struct gpu_rect all = { 0, 0, h->shown.r.width, h->shown.r.height };

	h->owed = false;
	tell_mode(gpu, head);
	if (is_shown(h) && r)
		tell_damage(gpu, head, &all, gpu->link.serial);
	gpu_cursor_show(gpu, head, true);
}
