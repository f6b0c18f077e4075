// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * resource.c - pictures, and the memory behind them
 *
 * A picture (RESOURCE_CREATE_2D) is a copy of ours, which TRANSFER_TO_HOST_2D takes from the
 * guest's pages; a blob (RESOURCE_CREATE_BLOB) is these pages. Both are mapped once, by one call,
 * when the driver attaches them, and unmapped when it detaches them, frees the resource, or resets
 * the device: before that is answered (PROTOCOL.md section 6).
 *
 * A resource of 3D (RESOURCE_CREATE_3D) is the renderer's; here is what its memory is, which
 * transfers (virgl.c) go to and come from.
 *
 * What a guest can make us hold is bounded before it is allocated: how many resources there are,
 * the bytes of each and of all, the ranges of memory; and how many pages are mapped, by the view of
 * memory. More is refused with ERR_OUT_OF_MEMORY, and the guest goes on with what it has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/gpu/int.h"

static struct gpu_resource **bucket(struct gpu *gpu, uint32_t id)
{
	return &gpu->res.bucket[id % GPU_BUCKETS];
}

struct gpu_resource *gpu_find(struct gpu *gpu, uint32_t id)
{
	struct gpu_resource *r = *bucket(gpu, id);

	while (r && r->id != id)
		r = r->next;
	return r;
}

bool gpu_within(const struct gpu_rect *r, uint32_t width, uint32_t height)
{
	return r->width && r->height && r->x < width && r->y < height && r->width <= width - r->x &&
	       r->height <= height - r->y;
}

/* ---- backing ------------------------------------------------------------ */

/* What lies side by side becomes one. Return: how many are left; 0: one of them is empty. */
static unsigned put_together(struct vg_seg *segs, unsigned n)
{
	unsigned k = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!segs[i].len)
			return 0;
		if (k && segs[k - 1].addr + segs[k - 1].len == segs[i].addr &&
		    segs[i].len <= UINT32_MAX - segs[k - 1].len)
			segs[k - 1].len += segs[i].len;
		else
			segs[k++] = segs[i];
	}
	return k;
}

uint32_t gpu_attach(struct gpu *gpu, struct gpu_resource *r, struct vg_seg *segs, unsigned n)
{
	int ret;

	n = put_together(segs, n);
	if (!n)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (n > VG_LIMIT_GPU_RANGES - gpu->res.ranges)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	ret = vg_backing_map(&r->backing, gpu->dev->mem, segs, n,
			     r->is_3d ? VG_TO_GUEST : VG_FROM_GUEST);
	if (ret < 0)
		return ret == -EFAULT ? VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
				      : VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	gpu->res.ranges += n;
	gpu->dirty = true;
	gpu_3d_attached(gpu, r);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

void gpu_detach(struct gpu *gpu, struct gpu_resource *r)
{
	gpu_3d_detached(gpu, r);
	gpu->res.ranges -= r->backing.n;
	vg_backing_unmap(&r->backing);
	gpu->dirty = true;
}

/* ---- resources ---------------------------------------------------------- */

/* In no list yet. */
static struct gpu_resource *make(struct gpu *gpu, uint32_t id, uint64_t size)
{
	struct gpu_resource *r;

	if (gpu->res.n == VG_LIMIT_GPU_RESOURCES)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (r) {
		r->id = id;
		r->size = size;
		r->born = ++gpu->res.births;
	}
	return r;
}

static void add(struct gpu *gpu, struct gpu_resource *r)
{
	struct gpu_resource **b = bucket(gpu, r->id);

	r->next = *b;
	*b = r;
	gpu->res.n++;
	gpu->dirty = true;
}

uint32_t gpu_create_2d(struct gpu *gpu, uint32_t id, uint32_t format, uint32_t width,
		       uint32_t height)
{
	uint64_t size = (uint64_t)width * height * GPU_PIXEL;
	struct gpu_resource *r;

	if (!gpu_format_known(format) || !width || !height)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (!vg_display_mode_ok(width, height) || size > gpu->dev->host_bytes - gpu->res.host_bytes)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	r = make(gpu, id, size);
	if (r)
		r->pixels = calloc(1, size);
	if (!r || !r->pixels) {
		free(r);
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	}
	r->format = format;
	r->width = width;
	r->height = height;
	gpu->res.host_bytes += size;
	add(gpu, r);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t gpu_create_3d(struct gpu *gpu, uint32_t id, uint64_t size, struct gpu_resource **out)
{
	struct gpu_resource *r = NULL;

	if (size <= gpu->dev->host_bytes - gpu->res.host_bytes)
		r = make(gpu, id, size);
	if (!r)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	r->is_3d = true;
	gpu->res.host_bytes += size;
	add(gpu, r);
	*out = r;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t gpu_create_blob(struct gpu *gpu, uint32_t id, uint64_t size, struct vg_seg *segs,
			 unsigned n)
{
	struct gpu_resource *r = make(gpu, id, size);
	uint32_t ret;

	if (!r)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	r->blob = true;
	ret = gpu_attach(gpu, r, segs, n);
	if (ret == VIRTIO_GPU_RESP_OK_NODATA && r->backing.len < size) {
		gpu_detach(gpu, r);
		ret = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	}
	if (ret == VIRTIO_GPU_RESP_OK_NODATA)
		add(gpu, r);
	else
		free(r);
	return ret;
}

/* The one that *@p is, a link of its bucket. */
static void destroy(struct gpu *gpu, struct gpu_resource **p)
{
	struct gpu_resource *r = *p;

	for (uint32_t i = 0; i < gpu->n_heads; i++) {
		if (gpu->head[i].shown.resource == r->id)
			gpu_show_nothing(gpu, i);
	}
	*p = r->next;
	gpu_detach(gpu, r);
	gpu_3d_gone(gpu, r);
	gpu->res.n--;
	if (r->pixels || r->is_3d)
		gpu->res.host_bytes -= r->size;
	free(r->pixels);
	free(r);
}

void gpu_unref(struct gpu *gpu, struct gpu_resource *r)
{
	struct gpu_resource **p = bucket(gpu, r->id);

	while (*p != r)
		p = &(*p)->next;
	destroy(gpu, p);
}

void gpu_unref_all(struct gpu *gpu)
{
	for (unsigned i = 0; i < GPU_BUCKETS; i++) {
		while (gpu->res.bucket[i])
			destroy(gpu, &gpu->res.bucket[i]);
	}
}

uint32_t gpu_transfer(struct gpu *gpu, struct gpu_resource *r, const struct gpu_rect *rect,
		      uint64_t offset)
{
	size_t stride = (size_t)r->width * GPU_PIXEL, row = (size_t)rect->width * GPU_PIXEL;
	uint64_t bytes;
	uint8_t *to;

	if (!gpu_within(rect, r->width, r->height))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	bytes = (uint64_t)(rect->height - 1) * stride + row;
	if (offset > r->backing.len || bytes > r->backing.len - offset)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	to = r->pixels + rect->y * stride + (size_t)rect->x * GPU_PIXEL;
	gpu->n.transfers++;
	if (row == stride) {
		vg_backing_read(&r->backing, offset, to, bytes);
		return VIRTIO_GPU_RESP_OK_NODATA;
	}
	for (uint32_t y = 0; y < rect->height; y++)
		vg_backing_read(&r->backing, offset + y * stride, to + y * stride, row);
	return VIRTIO_GPU_RESP_OK_NODATA;
}
