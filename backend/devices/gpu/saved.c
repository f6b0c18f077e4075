// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * saved.c - what a worker's successor must know
 *
 * Which resources there are, the addresses of the memory behind each, what the heads show. The
 * successor maps the same memory again, which the driver keeps granted (PROTOCOL.md section 6). Our
 * copies of pictures are lost; they are taken anew from the guest's pages, all of them: what the
 * driver has drawn there and not transferred yet is seen a little early. A picture whose memory was
 * detached is black until its next transfer.
 *
 * What the renderer had is lost: resources of 3D are there, for a driver that frees them, and nothing
 * can be done with them until it resets the device (render.c).
 *
 * All is written with each change that a driver sees: some 10 microseconds. A worker may die while it
 * is at work in here, or have been taken over by its guest: numbers are checked when they are read,
 * as if the driver had sent them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/gpu/int.h"

enum { VERSION = 2 };

struct saved_resource {
	uint32_t id, format, width, height; /* format 0: a blob; or of 3D */
	uint64_t size;
	uint32_t ranges;
	uint32_t has_uuid;
	uint32_t is_3d;
	uint8_t uuid[GPU_UUID];
};

struct saved_range {
	uint32_t addr[2]; /* low, high */
	uint32_t len;
};

struct saved {
	uint32_t version; /* 0: nothing is here */
	uint32_t events;
	uint32_t n_resources, n_ranges;
	struct gpu_picture shown[GPU_HEADS];
	struct gpu_cursor cursor[GPU_HEADS];
	struct saved_resource resource[VG_LIMIT_GPU_RESOURCES];
	struct saved_range range[VG_LIMIT_GPU_RANGES]; /* of each resource, one after the other */
};

size_t gpu_saved_size(void)
{
	return sizeof(struct saved);
}

static void put(struct saved *s, const struct gpu_resource *r)
{
	struct saved_resource *to = &s->resource[s->n_resources++];

	*to = (struct saved_resource){
		.id = r->id,
		.format = r->format,
		.width = r->width,
		.height = r->height,
		.size = r->size,
		.ranges = r->backing.n,
		.has_uuid = r->has_uuid,
		.is_3d = r->is_3d,
	};
	memcpy(to->uuid, r->uuid, sizeof(to->uuid));
	for (unsigned i = 0; i < r->backing.n; i++) {
		const struct vg_seg *seg = &r->backing.segs[i];

		s->range[s->n_ranges++] =
			(struct saved_range){ { (uint32_t)seg->addr, (uint32_t)(seg->addr >> 32) },
					      seg->len };
	}
}

void gpu_save(struct gpu *gpu)
{
	struct saved *s = (struct saved *)(void *)gpu->dev->saved;

	s->version = VERSION;
	s->events = gpu->events;
	s->n_resources = s->n_ranges = 0;
	for (unsigned i = 0; i < GPU_BUCKETS; i++) {
		for (const struct gpu_resource *r = gpu->res.bucket[i]; r; r = r->next)
			put(s, r);
	}
	for (unsigned i = 0; i < GPU_HEADS; i++) {
		s->shown[i] = gpu->head[i].shown;
		s->cursor[i] = gpu->head[i].cursor;
	}
	vg_dev_save(gpu->dev);
}

/* Return: 0; -EPROTO: it makes no sense; -ENOMEM: what it says cannot be had. */
static int take(struct gpu *gpu, const struct saved_resource *from,
		const struct saved_range *ranges)
{
	struct vg_seg *segs = malloc((from->ranges ? from->ranges : 1) * sizeof(*segs));
	uint32_t ret = VIRTIO_GPU_RESP_OK_NODATA;
	struct gpu_resource *r = NULL;

	if (!segs)
		return -ENOMEM;
	for (uint32_t i = 0; i < from->ranges; i++)
		segs[i] = (struct vg_seg){ ranges[i].addr[0] | (uint64_t)ranges[i].addr[1] << 32,
					   ranges[i].len };
	if (!from->id || gpu_find(gpu, from->id))
		ret = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	else if (from->is_3d)
		ret = gpu_create_3d(gpu, from->id, from->size, &r);
	else if (from->format)
		ret = gpu_create_2d(gpu, from->id, from->format, from->width, from->height);
	else if (from->ranges)
		ret = gpu_create_blob(gpu, from->id, from->size, segs, from->ranges);
	r = gpu_find(gpu, from->id);
	if (ret == VIRTIO_GPU_RESP_OK_NODATA && r && !r->blob && from->ranges)
		ret = gpu_attach(gpu, r, segs, from->ranges);
	free(segs);
	if (ret != VIRTIO_GPU_RESP_OK_NODATA)
		return ret == VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY ? -ENOMEM : -EPROTO;
	if (r) {
		r->has_uuid = from->has_uuid;
		memcpy(r->uuid, from->uuid, sizeof(r->uuid));
		if (r->is_3d) {
			r->format = from->format;
			r->width = from->width;
			r->height = from->height;
		} else if (!r->blob && r->backing.len)
			vg_backing_read(&r->backing, 0, r->pixels,
					r->backing.len < r->size ? r->backing.len : r->size);
	}
	return 0;
}

static void show(struct gpu *gpu, uint32_t head, const struct gpu_picture *p)
{
	const struct gpu_resource *r = gpu_find(gpu, p->resource);
	const struct gpu_rect all = { 0, 0, UINT32_MAX, UINT32_MAX };

	/* A blob whose memory was detached is not there any more: nothing shows it. */
	if (r && gpu_show(gpu, head, p) == VIRTIO_GPU_RESP_OK_NODATA)
		gpu_flush(gpu, r->id, &all);
}

int gpu_resume(struct gpu *gpu)
{
	const struct saved *s = (const struct saved *)(const void *)gpu->dev->saved;
	uint32_t at = 0;

	gpu->render.lost = vg_dev_has(gpu->dev, VIRTIO_GPU_F_VIRGL);
	if (!s->version)
		return 0;
	if (s->version != VERSION || s->n_resources > VG_LIMIT_GPU_RESOURCES ||
	    s->n_ranges > VG_LIMIT_GPU_RANGES)
		return -EPROTO;
	gpu->events = s->events & VIRTIO_GPU_EVENT_DISPLAY;
	for (uint32_t i = 0; i < s->n_resources; i++) {
		const struct saved_resource *from = &s->resource[i];
		int ret;

		if (from->ranges > s->n_ranges - at)
			return -EPROTO;
		ret = take(gpu, from, &s->range[at]);
		if (ret < 0)
			return ret;
		at += from->ranges;
	}
	for (uint32_t i = 0; i < gpu->n_heads; i++) {
		show(gpu, i, &s->shown[i]);
		gpu->head[i].cursor = s->cursor[i];
		gpu_cursor_show(gpu, i, true);
	}
	return 0;
}
