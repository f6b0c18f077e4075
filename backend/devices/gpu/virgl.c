// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virgl.c - the commands of 3D, VIRTIO 1.3 section 5.7.6.8
 *
 * What they mean the library knows (renderers/engine.c), which is elsewhere. Here their numbers are
 * checked, what they cost is counted, and what they have in guest memory is copied to the window or
 * from it. The answer comes when the renderer has given one.
 *
 * Transfers. What a driver names is the first byte in the resource's backing, and a box of the
 * resource; where the rows lie follows from a stride, or from the format. Of formats as much is known
 * here as bounds that (pixel_bytes()): what is copied is at least what the box has, and lies in
 * the backing. To the guest only what the renderer has changed is written: what lies beside the box stays.
 *
 * Small buffers of the kind that Mesa has for results of queries (bind CUSTOM) are written to by the library
 * itself, whenever a result is there. They have a slot of the window, which is compared
 * with the guest's memory before and after each stream: who has changed is who is believed.
 */
#include <endian.h>
#include <string.h>

#include "backend/devices/gpu/int.h"

enum {
	BIND_CUSTOM = 1 << 17, /* VIRGL_BIND_CUSTOM, virgl_hw.h */
	LEVELS = 16,	       /* of a side of VG_LIMIT_GPU_SIDE */
	PIXEL_MAX = 16,	       /* bytes: of four floats; of a block of 4 x 4 that is compressed */
	COMPARE = 64,	       /* bytes that are written to the guest at once, or not at all */
	CAPSET_MASK = 0xff,    /* VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK */
};

_Static_assert(1u << (LEVELS - 2) == VG_LIMIT_GPU_SIDE, "its levels");

/* Bytes of a pixel, at most: what is not here has PIXEL_MAX. Numbers of enum virgl_formats. */
static unsigned pixel_bytes(uint32_t format)
{
	switch (format) {
	case 1 ... 4:	  /* B8G8R8A8 to X8R8G8B8 */
	case 8:		  /* R10G10B10A2 */
	case 17 ... 22:	  /* of depth, 32 bits */
	case 28:	  /* R32_FLOAT */
	case 67 ... 68:	  /* R8G8B8A8, X8B8G8R8 */
	case 100 ... 104: /* the same as sRGB */
	case 121:	  /* A8B8G8R8 */
	case 134:	  /* R8G8B8X8 */
		return 4;
	case 5 ... 7: /* 16 bits of colour */
	case 16:      /* Z16 */
	case 12:      /* L8A8 */
	case 65:      /* R8G8 */
	case 48:      /* R16 */
	case 91:      /* R16_FLOAT */
		return 2;
	case 9 ... 11: /* L8, A8, I8 */
	case 23:       /* S8 */
	case 64:       /* R8 */
		return 1;
	case 92: /* R16G16_FLOAT */
	case 49:
		return 4;
	case 29: /* R32G32_FLOAT */
	case 94: /* R16G16B16A16_FLOAT */
	case 51:
		return 8;
	default:
		return PIXEL_MAX;
	}
}

/* Return: *@job is set, for an answer that comes; else why not. */
static uint32_t forward(struct gpu *gpu, struct gpu_cmd *cmd, const struct vg_render_op *op)
{
	cmd->job = gpu_render_do(gpu, op);
	return cmd->job ? VIRTIO_GPU_RESP_OK_NODATA : VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
}

/* Room for @len bytes. Return: whether there is, or will be: cmd->later. */
static bool room(struct gpu *gpu, struct gpu_cmd *cmd, uint64_t len, uint64_t *at)
{
	if (len > VG_RENDER_WINDOW)
		return false;
	cmd->later = !gpu_render_room(gpu, len, at);
	return true;
}

/* That of @job, if it has not been freed meanwhile. */
static struct gpu_resource *still(struct gpu *gpu, const struct gpu_job *job)
{
	struct gpu_resource *r = gpu_find(gpu, job->op.resource);

	return r && r->born == job->born ? r : NULL;
}

/* ---- capsets ---------------------------------------------------------------- */

uint32_t gpu_capset_info(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct vg_render_capsets *caps = &gpu->render.capsets;
	struct virtio_gpu_resp_capset_info *info = &cmd->answer.capset_info;
	uint32_t i = le32toh(cmd->req.capset_info.capset_index);

	if (!vg_dev_has(gpu->dev, VIRTIO_GPU_F_VIRGL) || i >= caps->n)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	info->capset_id = htole32(caps->set[i].id);
	info->capset_max_version = htole32(caps->set[i].version);
	info->capset_max_size = htole32(caps->set[i].size);
	cmd->answer_len = sizeof(*info);
	return VIRTIO_GPU_RESP_OK_CAPSET_INFO;
}

static void capset_done(struct gpu *gpu, struct gpu_job *job, bool ok)
{
	union gpu_answer a = { 0 };
	const size_t len = sizeof(struct virtio_gpu_resp_capset) + job->op.len;

	if (!job->pending || !ok)
		return;
	memcpy(a.capset + sizeof(struct virtio_gpu_resp_capset), gpu->render.window + job->op.at,
	       job->op.len);
	gpu_answered(gpu, job->pending, VIRTIO_GPU_RESP_OK_CAPSET, &a, (uint32_t)len, 0);
	job->pending = NULL;
}

uint32_t gpu_capset(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct vg_render_capsets *caps = &gpu->render.capsets;
	struct vg_render_op op = {
		.type = VG_RENDER_CAPSET,
		.capset = { le32toh(cmd->req.capset.capset_id),
			    le32toh(cmd->req.capset.capset_version) },
	};
	uint32_t ret;

	for (uint32_t i = 0; i < caps->n; i++) {
		if (caps->set[i].id == op.capset.id && op.capset.version <= caps->set[i].version)
			op.len = caps->set[i].size;
	}
	if (!vg_dev_has(gpu->dev, VIRTIO_GPU_F_VIRGL) || !op.len)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (!gpu_render_is(gpu))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (!room(gpu, cmd, op.len, &op.at) || cmd->later)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	ret = forward(gpu, cmd, &op);
	if (cmd->job)
		cmd->job->done = capset_done;
	return ret;
}

/* ---- contexts ------------------------------------------------------------------ */

/* Where context @id stands; of 0: a free place. NULL: nowhere. */
static uint32_t *find_context(struct gpu *gpu, uint32_t id)
{
	uint32_t *c = gpu->render.context;

	while (c < gpu->render.context + VG_LIMIT_GPU_CONTEXTS && *c != id)
		c++;
	return c < gpu->render.context + VG_LIMIT_GPU_CONTEXTS ? c : NULL;
}

static uint32_t context_of(const struct gpu_cmd *cmd)
{
	return le32toh(cmd->req.hdr.ctx_id);
}

/* Return: VIRTIO_GPU_RESP_OK_NODATA: there is a renderer that has the command's context. */
static uint32_t check_context(struct gpu *gpu, const struct gpu_cmd *cmd)
{
	if (!gpu_render_is(gpu))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	return context_of(cmd) && find_context(gpu, context_of(cmd))
		       ? VIRTIO_GPU_RESP_OK_NODATA
		       : VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
}

static void context_done(struct gpu *gpu, struct gpu_job *job, bool ok)
{
	uint32_t *c = find_context(gpu, job->op.context);

	if (c && !ok)
		*c = 0;
}

/* Of those that the renderer has. */
static bool is_capset(const struct gpu *gpu, uint32_t id)
{
	for (uint32_t i = 0; i < gpu->render.capsets.n; i++) {
		if (gpu->render.capsets.set[i].id == id)
			return true;
	}
	return false;
}

uint32_t gpu_ctx_create(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_ctx_create *c = &cmd->req.ctx_create;
	struct vg_render_op op = {
		.type = VG_RENDER_CONTEXT,
		.context = context_of(cmd),
		.create = { .name_len = le32toh(c->nlen) },
	};
	uint32_t *place = find_context(gpu, 0), ret;

	if (vg_dev_has(gpu->dev, VIRTIO_GPU_F_CONTEXT_INIT))
		op.create.init = le32toh(c->context_init);
	if (!gpu_render_is(gpu))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (!op.context || find_context(gpu, op.context))
		return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	if (op.create.name_len > VG_RENDER_NAME || (op.create.init & ~(uint32_t)CAPSET_MASK) ||
	    (op.create.init && !is_capset(gpu, op.create.init)))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (!place)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	memcpy(op.create.name, c->debug_name, op.create.name_len);
	ret = forward(gpu, cmd, &op);
	if (cmd->job) {
		cmd->job->done = context_done;
		*place = op.context;
	}
	return ret;
}

uint32_t gpu_ctx_destroy(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct vg_render_op op = { .type = VG_RENDER_CONTEXT_END,
					 .context = context_of(cmd) };
	uint32_t ret = check_context(gpu, cmd);

	if (gpu->render.lost)
		return VIRTIO_GPU_RESP_OK_NODATA;
	if (ret != VIRTIO_GPU_RESP_OK_NODATA)
		return ret;
	ret = forward(gpu, cmd, &op);
	if (cmd->job)
		*find_context(gpu, op.context) = 0;
	return ret;
}

/* A resource of two dimensions, which drivers name here, too, is nothing that a stream can use. */
static uint32_t ctx_resource(struct gpu *gpu, struct gpu_cmd *cmd, uint32_t type)
{
	const struct vg_render_op op = {
		.type = type,
		.context = context_of(cmd),
		.resource = le32toh(cmd->req.ctx_resource.resource_id),
	};
	const struct gpu_resource *r = gpu_find(gpu, op.resource);
	uint32_t ret = check_context(gpu, cmd);

	if (ret != VIRTIO_GPU_RESP_OK_NODATA)
		return ret;
	if (!r)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	return r->is_3d ? forward(gpu, cmd, &op) : VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t gpu_ctx_attach(struct gpu *gpu, struct gpu_cmd *cmd)
{
	return ctx_resource(gpu, cmd, VG_RENDER_ATTACH);
}

uint32_t gpu_ctx_detach(struct gpu *gpu, struct gpu_cmd *cmd)
{
	return ctx_resource(gpu, cmd, VG_RENDER_DETACH);
}

/* ---- resources -------------------------------------------------------------------- */

/* At most: all levels of all layers of all samples. 0: more than anybody has. */
static uint64_t resource_bytes(const struct vg_render_op *op)
{
	const uint32_t n = op->make.nr_samples ? op->make.nr_samples : 1;
	const uint64_t layers = op->make.array_size ? op->make.array_size : 1;
	uint64_t bytes;

	if (op->make.target == GPU_TARGET_BUFFER)
		return op->make.width;
	bytes = (uint64_t)op->make.width * op->make.height; /* 28 bits */
	if (bytes * op->make.depth * layers > VG_LIMIT_HOST_BYTES)
		return 0;
	bytes *= op->make.depth * layers * n * pixel_bytes(op->make.format);
	return op->make.last_level ? bytes * 2 : bytes;
}

static void resource_done(struct gpu *gpu, struct gpu_job *job, bool ok)
{
	struct gpu_resource *r = still(gpu, job);

	if (r && !ok)
		gpu_unref(gpu, r);
}

uint32_t gpu_resource_3d(struct gpu *gpu, struct gpu_cmd *cmd)
{
	const struct virtio_gpu_resource_create_3d *c = &cmd->req.create_3d;
	const struct vg_render_op op = {
		.type = VG_RENDER_RESOURCE,
		.resource = le32toh(c->resource_id),
		.make = { le32toh(c->target), le32toh(c->format), le32toh(c->bind),
			  le32toh(c->width), le32toh(c->height), le32toh(c->depth),
			  le32toh(c->array_size), le32toh(c->last_level), le32toh(c->nr_samples),
			  le32toh(c->flags) },
	};
	struct gpu_resource *r = NULL;
	uint64_t size;
	uint32_t ret;

	if (!gpu_render_is(gpu))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (!op.resource || gpu_find(gpu, op.resource))
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	if (!vg_render_ok(&op))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	size = resource_bytes(&op);
	if (!size)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	ret = gpu_create_3d(gpu, op.resource, size, &r);
	if (ret != VIRTIO_GPU_RESP_OK_NODATA)
		return ret;
	r->format = op.make.format;
	r->width = op.make.width;
	r->height = op.make.height;
	r->tex.target = op.make.target;
	r->tex.levels = op.make.last_level + 1;
	r->tex.is_written = op.make.target == GPU_TARGET_BUFFER && (op.make.bind & BIND_CUSTOM) &&
			    op.make.width <= VG_RENDER_SLOT;
	ret = forward(gpu, cmd, &op);
	if (cmd->job) {
		cmd->job->done = resource_done;
		cmd->job->born = r->born;
	} else {
		gpu_unref(gpu, r);
	}
	return ret;
}

/* Told, and nobody waits for it. */
static void tell(struct gpu *gpu, uint32_t type, uint32_t resource, uint32_t slot)
{
	const struct vg_render_op op = { .type = type, .resource = resource, .slot = slot };

	if (gpu_render_is(gpu) && !gpu_render_do(gpu, &op))
		gpu_render_lose(gpu, "there is no memory for what it must be told");
}

static uint8_t *slot_of(const struct gpu *gpu, const struct gpu_resource *r)
{
	return gpu->render.window + VG_RENDER_WINDOW + (size_t)r->tex.slot * VG_RENDER_SLOT;
}

void gpu_3d_attached(struct gpu *gpu, struct gpu_resource *r)
{
	uint32_t i = 0;

	if (!r->tex.is_written || r->backing.len < r->width || !gpu_render_is(gpu))
		return;
	/* There is one for each resource that there can be. */
	while (gpu->render.slot[i])
		i++;
	gpu->render.slot[i] = r->tex.has_slot = true;
	r->tex.slot = i;
	vg_backing_read(&r->backing, 0, r->tex.seed, r->width);
	memcpy(slot_of(gpu, r), r->tex.seed, VG_RENDER_SLOT);
	tell(gpu, VG_RENDER_SLOT_IS, r->id, i);
}

static void slot_gone(struct gpu *gpu, struct gpu_job *job, bool ok)
{
	(void)ok;
	gpu->render.slot[job->op.slot] = false;
}

void gpu_3d_detached(struct gpu *gpu, struct gpu_resource *r)
{
	const struct vg_render_op op = { .type = VG_RENDER_SLOT_GONE,
					 .resource = r->id,
					 .slot = r->tex.slot };
	struct gpu_job *job;

	if (!r->tex.has_slot)
		return;
	r->tex.has_slot = false;
	/* Until the renderer knows, the slot is nobody else's. */
	job = gpu_render_is(gpu) ? gpu_render_do(gpu, &op) : NULL;
	if (job)
		job->done = slot_gone;
	else
		gpu->render.slot[r->tex.slot] = false;
}

void gpu_3d_gone(struct gpu *gpu, struct gpu_resource *r)
{
	if (r->is_3d)
		tell(gpu, VG_RENDER_RESOURCE_END, r->id, 0);
}

/* ---- transfers ----------------------------------------------------------------------- */

static uint32_t minified(uint32_t side, uint32_t level)
{
	side >>= level;
	return side ? side : 1;
}

/* Bytes of the backing, from the box's first on, that it may have: at most. 0: it makes no sense. */
static uint64_t extent(const struct gpu_resource *r, const struct vg_render_op *op)
{
	const struct vg_render_box *b = &op->transfer.box;
	const uint64_t pixel = pixel_bytes(r->format);
	uint64_t row, layer;

	if (!b->width || !b->height || !b->depth || op->transfer.level >= r->tex.levels ||
	    op->transfer.level >= LEVELS)
		return 0;
	if (r->tex.target == GPU_TARGET_BUFFER)
		return b->height == 1 && b->depth == 1 ? b->width : 0;
	if (b->width > VG_LIMIT_GPU_SIDE || b->height > VG_LIMIT_GPU_SIDE ||
	    b->depth > VG_LIMIT_GPU_SIDE)
		return 0;
	row = op->transfer.stride ? op->transfer.stride
				  : minified(r->width, op->transfer.level) * pixel;
	layer = op->transfer.layer_stride ? op->transfer.layer_stride
					  : minified(r->height, op->transfer.level) * row;
	/* 14 + 46, 14 + 32 and 18 bits at most */
	return (b->depth - 1) * layer + (b->height - 1) * row + b->width * pixel;
}

/* To the guest what the renderer has changed of it. */
static void give_back(const struct gpu_resource *r, uint64_t off, const uint8_t *from, uint64_t len)
{
	while (len) {
		uint8_t is[COMPARE];
		size_t n = len < COMPARE ? len : COMPARE;

		if (vg_backing_read(&r->backing, off, is, n) && memcmp(is, from, n) != 0)
			vg_backing_write(&r->backing, off, from, n);
		off += n;
		from += n;
		len -= n;
	}
}

static void read_done(struct gpu *gpu, struct gpu_job *job, bool ok)
{
	const struct gpu_resource *r = still(gpu, job);

	/* Whoever asked may have been told that it failed: nothing is written behind his back. */
	if (r && ok && job->pending)
		give_back(r, job->offset, gpu->render.window + job->op.at, job->op.len);
}

static uint32_t transfer(struct gpu *gpu, struct gpu_cmd *cmd, uint32_t type)
{
	const struct virtio_gpu_transfer_host_3d *c = &cmd->req.transfer_3d;
	struct vg_render_op op = {
		.type = type,
		.context = context_of(cmd),
		.resource = le32toh(c->resource_id),
		.transfer = { le32toh(c->level),
			      le32toh(c->stride),
			      le32toh(c->layer_stride),
			      { le32toh(c->box.x), le32toh(c->box.y), le32toh(c->box.z),
				le32toh(c->box.w), le32toh(c->box.h), le32toh(c->box.d) } },
	};
	const struct gpu_resource *r = gpu_find(gpu, op.resource);
	const uint64_t offset = le64toh(c->offset);
	uint32_t ret;

	if (!gpu_render_is(gpu))
		return VIRTIO_GPU_RESP_ERR_UNSPEC;
	if (!r || !r->is_3d)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	/* Of none: the library's own. */
	if (op.context && !find_context(gpu, op.context))
		return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	op.len = extent(r, &op);
	if (!op.len || offset >= r->backing.len)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (op.len > r->backing.len - offset)
		op.len = r->backing.len - offset;
	if (!room(gpu, cmd, op.len, &op.at) || cmd->later)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	if (!vg_backing_read(&r->backing, offset, gpu->render.window + op.at, op.len))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	gpu->n.transfers++;
	ret = forward(gpu, cmd, &op);
	if (cmd->job && type == VG_RENDER_READ) {
		cmd->job->done = read_done;
		cmd->job->born = r->born;
		cmd->job->offset = offset;
	}
	return ret;
}

uint32_t gpu_transfer_to(struct gpu *gpu, struct gpu_cmd *cmd)
{
	return transfer(gpu, cmd, VG_RENDER_WRITE);
}

uint32_t gpu_transfer_from(struct gpu *gpu, struct gpu_cmd *cmd)
{
	return transfer(gpu, cmd, VG_RENDER_READ);
}

/* ---- streams ---------------------------------------------------------------------------- */

/* For each buffer that the library writes to. */
static void each_slot(struct gpu *gpu, void (*one)(struct gpu *gpu, struct gpu_resource *r))
{
	for (unsigned i = 0; i < GPU_BUCKETS; i++) {
		for (struct gpu_resource *r = gpu->res.bucket[i]; r; r = r->next) {
			if (r->tex.has_slot)
				one(gpu, r);
		}
	}
}

/* What the guest has changed. */
static void slot_in(struct gpu *gpu, struct gpu_resource *r)
{
	uint8_t is[VG_RENDER_SLOT];

	if (!vg_backing_read(&r->backing, 0, is, r->width) ||
	    memcmp(is, r->tex.seed, r->width) == 0)
		return;
	memcpy(r->tex.seed, is, r->width);
	memcpy(slot_of(gpu, r), is, r->width);
}

/* What the library has. */
static void slot_out(struct gpu *gpu, struct gpu_resource *r)
{
	uint8_t is[VG_RENDER_SLOT];

	memcpy(is, slot_of(gpu, r), r->width);
	if (memcmp(is, r->tex.seed, r->width) == 0)
		return;
	memcpy(r->tex.seed, is, r->width);
	vg_backing_write(&r->backing, 0, is, r->width);
}

static void submit_done(struct gpu *gpu, struct gpu_job *job, bool ok)
{
	(void)ok;
	if (job->pending)
		each_slot(gpu, slot_out);
}

uint32_t gpu_submit(struct gpu *gpu, struct gpu_cmd *cmd)
{
	struct vg_render_op op = {
		.type = VG_RENDER_SUBMIT,
		.context = context_of(cmd),
		.len = le32toh(cmd->req.submit.size),
	};
	uint32_t ret = check_context(gpu, cmd);

	if (ret != VIRTIO_GPU_RESP_OK_NODATA)
		return ret;
	if (!op.len || op.len % 4 || op.len > VG_LIMIT_GPU_STREAM ||
	    op.len > cmd->chain->out_len - sizeof(cmd->req.submit))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	if (!room(gpu, cmd, op.len, &op.at) || cmd->later)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	if (!gpu_get(gpu, cmd, sizeof(cmd->req.submit), gpu->render.window + op.at, op.len))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	each_slot(gpu, slot_in);
	gpu->n.streams++;
	ret = forward(gpu, cmd, &op);
	if (cmd->job)
		cmd->job->done = submit_done;
	return ret;
}

/* ---- what is shown ------------------------------------------------------------------------ */

/* READ of @rect, a row after the other, as the display wants it. */
static struct vg_render_op read_op(const struct gpu_resource *r, const struct gpu_rect *rect)
{
	return (struct vg_render_op){
		.type = VG_RENDER_READ,
		.resource = r->id,
		.len = (uint64_t)rect->width * rect->height * GPU_PIXEL,
		.transfer = { .stride = rect->width * GPU_PIXEL,
			      .box = { rect->x, rect->y, 0, rect->width, rect->height, 1 } },
	};
}

static void flush_done(struct gpu *gpu, struct gpu_job *job, bool ok)
{
	struct gpu_pending *p = job->pending;
	uint32_t heads = 0;

	if (ok && still(gpu, job))
		heads = gpu_flush_3d(gpu, job->op.resource, &job->rect,
				     gpu->render.window + job->op.at);
	if (!p || !ok)
		return;
	job->pending = NULL;
	gpu_answered(gpu, p, VIRTIO_GPU_RESP_OK_NODATA, NULL, 0, heads);
}

uint32_t gpu_read_back(struct gpu *gpu, struct gpu_cmd *cmd, const struct gpu_resource *r,
		       const struct gpu_rect *rect)
{
	struct vg_render_op op = read_op(r, rect);
	uint32_t ret;

	if (!gpu_is_shown(gpu, r->id) || gpu->render.lost)
		return VIRTIO_GPU_RESP_OK_NODATA;
	if (!room(gpu, cmd, op.len, &op.at) || cmd->later)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	ret = forward(gpu, cmd, &op);
	if (cmd->job) {
		cmd->job->done = flush_done;
		cmd->job->born = r->born;
		cmd->job->rect = *rect;
	}
	return ret;
}

static void cursor_done(struct gpu *gpu, struct gpu_job *job, bool ok)
{
	const struct gpu_resource *r = still(gpu, job);

	if (!ok || !r || gpu->head[job->head].cursor.resource != r->id)
		return;
	gpu_cursor_pixels(gpu, job->head, r->format, gpu->render.window + job->op.at);
	gpu_cursor_tell(gpu, job->head, true);
}

uint32_t gpu_cursor_read_back(struct gpu *gpu, uint32_t head, const struct gpu_resource *r)
{
	const struct gpu_rect all = { 0, 0, VG_DISPLAY_CURSOR, VG_DISPLAY_CURSOR };
	struct vg_render_op op = read_op(r, &all);
	struct gpu_job *job;

	if (r->width != VG_DISPLAY_CURSOR || r->height != VG_DISPLAY_CURSOR ||
	    r->tex.target == GPU_TARGET_BUFFER || !gpu_format_known(r->format) ||
	    !gpu_render_is(gpu))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	/* A cursor that comes late, for once, is no reason to wait. */
	if (gpu_render_full(gpu) || !gpu_render_room(gpu, op.len, &op.at))
		return VIRTIO_GPU_RESP_OK_NODATA;
	job = gpu_render_do(gpu, &op);
	if (job) {
		job->done = cursor_done;
		job->born = r->born;
		job->head = head;
	}
	return VIRTIO_GPU_RESP_OK_NODATA;
}
