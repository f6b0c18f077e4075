// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * engine.c - see engine.h
 *
 * The GL is Mesa's llvmpipe, by EGL without a surface, in this thread alone: no other is made by it,
 * so that the sandbox need not allow any (LP_NUM_THREADS), and no file is read or written once it is
 * open (no cache of shaders).
 *
 * What a guest is told that this renderer can is less than what the library can: streams that read
 * or write guest memory themselves (VIRGL_CAP_TRANSFER, VIRGL_CAP_COPY_TRANSFER) would need that
 * here. Mesa, which is not told of them, sends TRANSFER_TO_HOST_3D and TRANSFER_FROM_HOST_3D. A guest
 * that uses them all the same finds a resource without memory, and gets an error. Small buffers that the
 * library writes results of queries to have memory in the window (SLOT_IS).
 */
#include "backend/renderers/engine.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <virgl/virglrenderer.h>

#include "backend/base/container.h"

/* Of struct virgl_caps_v2 (virgl_hw.h of virglrenderer and Mesa, whose fields never move): words. */
enum {
	CAPSET_VIRGL = 1,
	CAPSET_VIRGL2 = 2,
	CAPS_BITS = 392 / 4,
	CAPS_BITS_V2 = 688 / 4,
};
#define CAP_TRANSFER		       (1u << 17)
#define CAP_COPY_TRANSFER	       (1u << 26)
#define CAP_V2_COPY_TRANSFER_BOTH_WAYS (1u << 7)

static uint8_t *window;
static uint32_t finished; /* fence of the last stream that the GL has finished */
static struct iovec slots[VG_RENDER_SLOTS];
static struct vg_render_capsets known;
static uint32_t capset_words[VG_RENDER_CAPSETS][VG_LIMIT_GPU_CAPSET / 4];

static void write_fence(void *cookie, uint32_t fence)
{
	(void)cookie;
	finished = fence;
}

/* Most of it a guest can provoke. */
__attribute__((format(printf, 1, 0))) static void log_line(const char *format, va_list args)
{
	static struct vg_ratelimit limit = VG_RATELIMIT_INIT;
	char text[256];

	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	vg_log_limited(&limit, VG_LOG_INFO, "virglrenderer: %s", text);
}

static struct virgl_renderer_callbacks callbacks = { .version = 2, .write_fence = write_fence };

/* ---- opening -------------------------------------------------------------- */

/* Made once, with privileges: Mesa looks into /proc/meminfo for them (25.0). */
static void find_capsets(struct vg_render_capsets *caps)
{
	static const uint32_t ids[] = { CAPSET_VIRGL, CAPSET_VIRGL2 };
	uint32_t *words;

	memset(caps, 0, sizeof(*caps));
	for (unsigned i = 0; i < COUNT(ids); i++) {
		struct vg_render_capset *c = &caps->set[caps->n];

		c->id = ids[i];
		virgl_renderer_get_cap_set(c->id, &c->version, &c->size);
		if (!c->size || c->size > VG_LIMIT_GPU_CAPSET)
			continue;
		words = capset_words[caps->n++];
		virgl_renderer_fill_caps(c->id, c->version, words);
		if (c->id == CAPSET_VIRGL2) {
			words[CAPS_BITS] &= ~(CAP_TRANSFER | CAP_COPY_TRANSFER);
			words[CAPS_BITS_V2] &= ~CAP_V2_COPY_TRANSFER_BOTH_WAYS;
		}
	}
}

/*
 * Whether there is an EGL that needs no screen. The library looks for itself, and, where there is none,
 * uses what it has not made (0.10.4).
 */
static bool has_egl(void)
{
	enum { PLATFORM_SURFACELESS = 0x31dd }; /* EGL_MESA_platform_surfaceless */
	void *(*get_display)(unsigned platform, void *native, const intptr_t *attribs);
	unsigned (*initialize)(void *display, int *major, int *minor);
	void *lib = dlopen("libEGL.so.1", RTLD_NOW | RTLD_GLOBAL);
	void *display;

	if (!lib)
		return false;
	get_display = (__typeof__(get_display))dlsym(lib, "eglGetPlatformDisplay");
	initialize = (__typeof__(initialize))dlsym(lib, "eglInitialize");
	if (!get_display || !initialize)
		return false;
	display = get_display(PLATFORM_SURFACELESS, NULL, NULL);
	/* It stays: the library has the same. */
	return display && initialize(display, NULL, NULL);
}

/* Whether there is the library of GL itself. libepoxy, which virglrenderer calls it by, looks for it again
 * with each call where there is none (1.5.10, epoxy_load_gl()), which the sandbox forbids, or ends the
 * process. */
static bool has_gl(void)
{
	return dlopen("libGL.so.1", RTLD_NOW | RTLD_GLOBAL) != NULL;
}

int vg_engine_open(struct vg_render_capsets *caps, struct vg_err *err)
{
	int ret = -1;

	setenv("LIBGL_ALWAYS_SOFTWARE", "1", 1);
	setenv("GALLIUM_DRIVER", "llvmpipe", 1);
	setenv("LP_NUM_THREADS", "0", 1);
	setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
	setenv("MESA_NO_ERROR", "0", 1);
	setenv("EGL_LOG_LEVEL", "fatal", 0);
	virgl_set_debug_callback(log_line);
	if (!has_gl())
		return vg_fail(err, -ENODEV, "there is no OpenGL: install libgl1");
	if (has_egl())
		ret = virgl_renderer_init(&callbacks,
					  VIRGL_RENDERER_USE_EGL | VIRGL_RENDERER_USE_SURFACELESS,
					  &callbacks);
	if (ret)
		return vg_fail(err, -ENODEV,
			       "there is no EGL that draws without a screen: install "
			       "libegl1 and libgl1-mesa-dri");
	find_capsets(&known);
	*caps = known;
	if (!known.n)
		return vg_fail(err, -ENODEV, "its virglrenderer has no capset of virgl");
	return 0;
}

void vg_engine_window(uint8_t *at)
{
	window = at;
}

/* ---- operations ------------------------------------------------------------ */

static unsigned capset(const struct vg_render_op *op)
{
	const struct vg_render_capset *c = known.set;

	while (c < known.set + known.n && c->id != op->capset.id)
		c++;
	if (c == known.set + known.n || op->capset.version > c->version || op->len < c->size)
		return EINVAL;
	memcpy(window + op->at, capset_words[c - known.set], c->size);
	return 0;
}

static unsigned context(const struct vg_render_op *op)
{
	int ret = op->create.init
			  ? virgl_renderer_context_create_with_flags(op->context, op->create.init,
								     op->create.name_len,
								     op->create.name)
			  : virgl_renderer_context_create(op->context, op->create.name_len,
							  op->create.name);

	return ret ? EINVAL : 0;
}

static unsigned resource(const struct vg_render_op *op)
{
	struct virgl_renderer_resource_create_args args = {
		.handle = op->resource,
		.target = op->make.target,
		.format = op->make.format,
		.bind = op->make.bind,
		.width = op->make.width,
		.height = op->make.height,
		.depth = op->make.depth,
		.array_size = op->make.array_size,
		.last_level = op->make.last_level,
		.nr_samples = op->make.nr_samples,
		.flags = op->make.flags,
	};

	return virgl_renderer_resource_create(&args, NULL, 0) ? EINVAL : 0;
}

static unsigned slot_is(const struct vg_render_op *op)
{
	struct iovec *iov = &slots[op->slot];

	*iov = (struct iovec){ window + VG_RENDER_WINDOW + (size_t)op->slot * VG_RENDER_SLOT,
			       VG_RENDER_SLOT };
	return virgl_renderer_resource_attach_iov((int)op->resource, iov, 1) ? EINVAL : 0;
}

static unsigned slot_gone(const struct vg_render_op *op)
{
	struct iovec *iov;
	int n;

	virgl_renderer_resource_detach_iov((int)op->resource, &iov, &n);
	return 0;
}

static unsigned submit(const struct vg_render_op *op, bool *later)
{
	int ret = virgl_renderer_submit_cmd(window + op->at, (int)op->context, (int)(op->len / 4));

	*later = virgl_renderer_create_fence((int)op->seq, op->context) == 0;
	return ret ? EINVAL : 0;
}

/* virgl_hw.h has the same six numbers. */
static unsigned transfer(const struct vg_render_op *op)
{
	struct vg_render_box box = op->transfer.box;
	struct iovec iov = { window + op->at, op->len };
	int ret;

	if (op->type == VG_RENDER_WRITE)
		ret = virgl_renderer_transfer_write_iov(
			op->resource, op->context, (int)op->transfer.level, op->transfer.stride,
			op->transfer.layer_stride, (struct virgl_box *)(void *)&box, 0, &iov, 1);
	else
		ret = virgl_renderer_transfer_read_iov(
			op->resource, op->context, op->transfer.level, op->transfer.stride,
			op->transfer.layer_stride, (struct virgl_box *)(void *)&box, 0, &iov, 1);
	return ret ? EINVAL : 0;
}

unsigned vg_engine_run(const struct vg_render_op *op, bool *later)
{
	*later = false;
	switch (op->type) {
	case VG_RENDER_RESET:
		virgl_renderer_reset();
		return 0;
	case VG_RENDER_CAPSET:
		return capset(op);
	case VG_RENDER_CONTEXT:
		return context(op);
	case VG_RENDER_CONTEXT_END:
		virgl_renderer_context_destroy(op->context);
		return 0;
	case VG_RENDER_ATTACH:
		virgl_renderer_ctx_attach_resource((int)op->context, (int)op->resource);
		return 0;
	case VG_RENDER_DETACH:
		virgl_renderer_ctx_detach_resource((int)op->context, (int)op->resource);
		return 0;
	case VG_RENDER_RESOURCE:
		return resource(op);
	case VG_RENDER_RESOURCE_END:
		virgl_renderer_resource_unref(op->resource);
		return 0;
	case VG_RENDER_SLOT_IS:
		return slot_is(op);
	case VG_RENDER_SLOT_GONE:
		return slot_gone(op);
	case VG_RENDER_SUBMIT:
		return submit(op, later);
	case VG_RENDER_WRITE:
	case VG_RENDER_READ:
		return transfer(op);
	default:
		return EINVAL;
	}
}

bool vg_engine_finished(uint32_t seq)
{
	if ((int32_t)(finished - seq) >= 0)
		return true;
	virgl_renderer_poll();
	if ((int32_t)(finished - seq) < 0)
		return false;
	/* Results of queries that it waited for are written. */
	virgl_renderer_poll();
	return true;
}
