// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * commands.c - what each command does, VIRTIO 1.3 sections 5.7.6.8 to 5.7.6.10
 *
 * One function for each, which decides on our copy of the command, in the host's byte order by
 * le32toh() where it is read. Those of 3D are in virgl.c, and unknown where that was not negotiated
 * (F_VIRGL).
 *
 * A command that a predecessor had taken when it died (chain->resubmitted) may have been carried out
 * by it: what creates something then begins anew, what ends something finds it gone. Both are in order.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/gpu/int.h"

static struct gpu_rect rect_of(const struct virtio_gpu_rect *r)
{
	return (struct gpu_rect){ le32toh(r->x), le32toh(r->y), le32toh(r->width),
				  le32toh(r->height) };
}

/* ---- what there is ------------------------------------------------------ */

static uint32_t display_info(struct gpu *gpu, struct gpu_cmd *cmd)
{
	cmd->answer_len = gpu_display_info(gpu, &cmd->answer);
	if (gpu_screen_may_ask(gpu))
		cmd->ask = VG_SCREEN_MONITORS;
	return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

static uint32_t edid(struct gpu *gpu, struct gpu_cmd *cmd)
{
	uint32_t head = le32toh(cmd->req.edid.scanout);

	if (head >= gpu->n_heads)
		return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
	cmd->answer_len = gpu_edid_of(gpu, head, &cmd->answer);
	if (gpu_screen_may_ask(gpu))
		cmd->ask = VG_SCREEN_EDID;
	return VIRTIO_GPU_RESP_OK_EDID;
}

/* ---- resources ---------------------------------------------------------- */

/* Is @id free to be created? What a predecessor made of the same command goes. */
static bool is_free(struct gpu *gpu, const struct gpu_cmd *cmd, uint32_t id)
{
	struct gpu_resource *r = gpu_find(gpu, id);

	if (r && cmd->chain->resubmitted) {
		gpu_unref(gpu, r);
		r = NULL;
	}
	return id != 0 && !r;
}

static uint32_t create_2d(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_resource_create_2d *c = &cmd->req.create_2d;
	uint32_t id = le32toh(c->resource_id);

	if (!is_free(gpu, cmd, id))
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	return gpu_create_2d(gpu, id, le32toh(c->format), le32toh(c->width), le32toh(c->height));
}

/* The entries behind the fixed part of @fixed bytes. Return: of malloc(), or NULL and *@error. */
static struct vg_seg *entries(struct gpu *gpu, struct gpu_cmd *cmd, size_t fixed, uint32_t n,
			      uint32_t *error)
{
	struct virtio_gpu_mem_entry *e;
	struct vg_seg *segs;

	*error = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (!n || n > (cmd->chain->out_len - fixed) / sizeof(*e))
		return NULL;
	*error = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	if (n > VG_LIMIT_GPU_ENTRIES)
		return NULL;
	e = malloc(n * sizeof(*e));
	segs = malloc(n * sizeof(*segs));
	if (e && segs && !gpu_get(gpu, cmd, fixed, e, n * sizeof(*e))) {
		*error = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
		free(segs);
		segs = NULL;
	}
	for (uint32_t i = 0; e && segs && i < n; i++)
		segs[i] = (struct vg_seg){ le64toh(e[i].addr), le32toh(e[i].length) };
	free(e);
	return segs;
}

static uint32_t create_blob(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_resource_create_blob *c = &cmd->req.create_blob;
	const uint32_t flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE |
			       VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE |
			       VIRTIO_GPU_BLOB_FLAG_USE_CROSS_DEVICE;
	uint32_t id = le32toh(c->resource_id), n = le32toh(c->nr_entries), ret;
	struct vg_seg *segs;

	if (!is_free(gpu, cmd, id))
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	/* The other kinds are of 3D, whose memory is the host's. */
	if (le32toh(c->blob_mem) != VIRTIO_GPU_BLOB_MEM_GUEST ||
	    (le32toh(c->blob_flags) & ~flags) || !c->size)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	segs = entries(gpu, cmd, sizeof(*c), n, &ret);
	if (segs)
		ret = gpu_create_blob(gpu, id, le64toh(c->size), segs, n);
	free(segs);
	return ret;
}

static uint32_t unref(struct gpu *gpu, struct gpu_cmd *cmd)
{
	struct gpu_resource *r = gpu_find(gpu, le32toh(cmd->req.unref.resource_id));

	if (r)
		gpu_unref(gpu, r);
	return r || cmd->chain->resubmitted ? VIRTIO_GPU_RESP_OK_NODATA
					    : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
}

static uint32_t attach(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_resource_attach_backing *c = &cmd->req.attach;
	struct gpu_resource *r = gpu_find(gpu, le32toh(c->resource_id));
	uint32_t n = le32toh(c->nr_entries), ret;
	struct vg_seg *segs;

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (r->backing.segs && cmd->chain->resubmitted)
		gpu_detach(gpu, r);
	if (r->blob || r->backing.segs)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	segs = entries(gpu, cmd, sizeof(*c), n, &ret);
	if (segs)
		ret = gpu_attach(gpu, r, segs, n);
	free(segs);
	return ret;
}

static uint32_t detach(struct gpu *gpu, struct gpu_cmd *cmd)
{
	struct gpu_resource *r = gpu_find(gpu, le32toh(cmd->req.detach.resource_id));

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!r->backing.segs && !cmd->chain->resubmitted)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	gpu_detach(gpu, r);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t transfer(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_transfer_to_host_2d *c = &cmd->req.transfer;
	struct gpu_resource *r = gpu_find(gpu, le32toh(c->resource_id));
	struct gpu_rect rect = rect_of(&c->r);

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (r->is_3d)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	/* A blob is the guest's own memory: there is nothing to transfer. */
	if (r->blob)
		return VIRTIO_GPU_RESP_OK_NODATA;
	if (!r->backing.segs)
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	return gpu_transfer(gpu, r, &rect, le64toh(c->offset));
}

/* Any will do that no other has: one that was drawn when the device was opened, and counts. */
static void next_uuid(struct gpu *gpu, uint8_t uuid[GPU_UUID])
{
	memcpy(uuid, gpu->uuid, GPU_UUID);
	/* RFC 9562: version 4, variant 1. */
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	for (unsigned i = GPU_UUID; i-- > 12 && ++gpu->uuid[i] == 0;)
		;
}

static uint32_t assign_uuid(struct gpu *gpu, struct gpu_cmd *cmd)
{
	struct gpu_resource *r = gpu_find(gpu, le32toh(cmd->req.assign_uuid.resource_id));

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!r->has_uuid) {
		next_uuid(gpu, r->uuid);
		r->has_uuid = true;
		gpu->dirty = true;
	}
	memcpy(cmd->answer.uuid.uuid, r->uuid, sizeof(r->uuid));
	cmd->answer_len = sizeof(cmd->answer.uuid);
	return VIRTIO_GPU_RESP_OK_RESOURCE_UUID;
}

/* Into a window of the host's memory, which this device has not. */
static uint32_t map_blob(struct gpu *gpu, struct gpu_cmd *cmd)
{
	return gpu_find(gpu, le32toh(cmd->req.map_blob.resource_id))
		       ? VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
		       : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
}

/* ---- heads -------------------------------------------------------------- */

static uint32_t show(struct gpu *gpu, uint32_t head, const struct gpu_picture *p, bool blob)
{
	const struct gpu_resource *r = gpu_find(gpu, p->resource);

	if (head >= gpu->n_heads)
		return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
	if (!p->resource) {
		gpu_show_nothing(gpu, head);
		return VIRTIO_GPU_RESP_OK_NODATA;
	}
	/* How a blob is to be read only SET_SCANOUT_BLOB says. */
	if (r && r->blob != blob)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	return gpu_show(gpu, head, p);
}

static uint32_t set_scanout(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_set_scanout *c = &cmd->req.set_scanout;
	const struct gpu_picture p = { .resource = le32toh(c->resource_id), .r = rect_of(&c->r) };

	return show(gpu, le32toh(c->scanout_id), &p, false);
}

static uint32_t set_scanout_blob(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_set_scanout_blob *c = &cmd->req.scanout_blob;
	const struct gpu_picture p = {
		.resource = le32toh(c->resource_id),
		.format = le32toh(c->format),
		.stride = le32toh(c->strides[0]),
		.offset = le32toh(c->offsets[0]),
		.r = rect_of(&c->r),
	};

	if (p.resource && !gpu_within(&p.r, le32toh(c->width), le32toh(c->height)))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	return show(gpu, le32toh(c->scanout_id), &p, true);
}

static uint32_t flush(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_resource_flush *c = &cmd->req.flush;
	const struct gpu_resource *r = gpu_find(gpu, le32toh(c->resource_id));
	struct gpu_rect rect = rect_of(&c->r);

	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!r->blob && !gpu_within(&rect, r->width, r->height))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (r->is_3d)
		return gpu_read_back(gpu, cmd, r, &rect);
	cmd->heads = gpu_flush(gpu, r->id, &rect);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/* ---- which is which ----------------------------------------------------- */

enum { ALWAYS = 64 }; /* no feature bit */

static const struct command {
	uint32_t type;
	unsigned feature; /* without which it is unknown */
	size_t size;	  /* bytes of its fixed part */
	uint32_t (*run)(struct gpu *gpu, struct gpu_cmd *cmd);
} commands[] = {
#define C(name, f, member, fn)                                                            \
	{                                                                                 \
		VIRTIO_GPU_CMD_##name, f, sizeof(((union gpu_request *)NULL)->member), fn \
	}
	C(GET_DISPLAY_INFO, ALWAYS, hdr, display_info),
	C(RESOURCE_CREATE_2D, ALWAYS, create_2d, create_2d),
	C(RESOURCE_UNREF, ALWAYS, unref, unref),
	C(SET_SCANOUT, ALWAYS, set_scanout, set_scanout),
	C(RESOURCE_FLUSH, ALWAYS, flush, flush),
	C(TRANSFER_TO_HOST_2D, ALWAYS, transfer, transfer),
	C(RESOURCE_ATTACH_BACKING, ALWAYS, attach, attach),
	C(RESOURCE_DETACH_BACKING, ALWAYS, detach, detach),
	C(GET_CAPSET_INFO, ALWAYS, capset_info, gpu_capset_info),
	C(GET_CAPSET, ALWAYS, capset, gpu_capset),
	C(GET_EDID, VIRTIO_GPU_F_EDID, edid, edid),
	C(RESOURCE_ASSIGN_UUID, VIRTIO_GPU_F_RESOURCE_UUID, assign_uuid, assign_uuid),
	C(RESOURCE_CREATE_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, create_blob, create_blob),
	C(SET_SCANOUT_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, scanout_blob, set_scanout_blob),
	C(RESOURCE_MAP_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, map_blob, map_blob),
	C(RESOURCE_UNMAP_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, unref, map_blob),
	C(CTX_CREATE, VIRTIO_GPU_F_VIRGL, ctx_create, gpu_ctx_create),
	C(CTX_DESTROY, VIRTIO_GPU_F_VIRGL, hdr, gpu_ctx_destroy),
	C(CTX_ATTACH_RESOURCE, VIRTIO_GPU_F_VIRGL, ctx_resource, gpu_ctx_attach),
	C(CTX_DETACH_RESOURCE, VIRTIO_GPU_F_VIRGL, ctx_resource, gpu_ctx_detach),
	C(RESOURCE_CREATE_3D, VIRTIO_GPU_F_VIRGL, create_3d, gpu_resource_3d),
	C(TRANSFER_TO_HOST_3D, VIRTIO_GPU_F_VIRGL, transfer_3d, gpu_transfer_to),
	C(TRANSFER_FROM_HOST_3D, VIRTIO_GPU_F_VIRGL, transfer_3d, gpu_transfer_from),
	C(SUBMIT_3D, VIRTIO_GPU_F_VIRGL, submit, gpu_submit),
#undef C
};

void gpu_command(struct gpu *gpu, struct gpu_cmd *cmd)
{
	uint32_t type = le32toh(cmd->req.hdr.type);

	cmd->type = VIRTIO_GPU_RESP_ERR_UNSPEC;
	/* Whatever it is, it may have something to tell the renderer. */
	cmd->later = gpu_render_full(gpu);
	if (cmd->later)
		return;
	for (unsigned i = 0; i < COUNT(commands); i++) {
		const struct command *c = &commands[i];

		if (c->type != type)
			continue;
		if (c->feature != ALWAYS && !vg_dev_has(gpu->dev, c->feature))
			return;
		cmd->type = cmd->chain->out_len < c->size ? VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
							  : c->run(gpu, cmd);
		return;
	}
}

void gpu_cursor_command(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_update_cursor *c = &cmd->req.cursor;
	uint32_t type = le32toh(c->hdr.type), head = le32toh(c->pos.scanout_id);
	struct gpu_cursor *cursor;

	cmd->type = VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (type != VIRTIO_GPU_CMD_UPDATE_CURSOR && type != VIRTIO_GPU_CMD_MOVE_CURSOR)
		return;
	cmd->type = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (cmd->chain->out_len < sizeof(*c))
		return;
	cmd->type = VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
	if (head >= gpu->n_heads)
		return;
	cmd->later = gpu_render_full(gpu);
	if (cmd->later)
		return;
	cursor = &gpu->head[head].cursor;
	cursor->x = le32toh(c->pos.x);
	cursor->y = le32toh(c->pos.y);
	if (type == VIRTIO_GPU_CMD_UPDATE_CURSOR) {
		cursor->resource = le32toh(c->resource_id);
		cursor->hot_x = le32toh(c->hot_x);
		cursor->hot_y = le32toh(c->hot_y);
		gpu->dirty = true;
	}
	cmd->type = gpu_cursor_show(gpu, head, type == VIRTIO_GPU_CMD_UPDATE_CURSOR);
}
