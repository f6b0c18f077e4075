// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * gpu.c - graphics adapter, VIRTIO 1.3 section 5.7: several heads, two dimensions, or three
 *
 * The driver makes pictures (resource.c), and says which of them a head shows and what of it has
 * changed (scanout.c); a process of its own shows that to people (link.c, displays/), or the front-end
 * that runs the guest does (screen.c). Commands are carried out one by one (control.c, commands.c).
 * All of it happens in one context.
 *
 * A guest's pictures lie in its own memory, which payloads of commands name. The driver of Linux,
 * offered blobs, has no others: what it draws is copied once, by a flush, from its pages into the
 * frame memory.
 *
 * With render=virgl, a guest's programs draw by streams of commands that a renderer carries out, a process
 * of its own, too (render.c, virgl.c, renderers/).
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "backend/devices/gpu/int.h"
#include "backend/displays/listen.h"
#include "backend/displays/place.h"

static const struct vg_param_def gpu_params[] = {
	{ "heads", VG_PARAM_UINT, false, 1, GPU_HEADS, "1", "monitors that can be plugged in" },
	{ "mode", VG_PARAM_STRING, false, 0, 0, "1280x800",
	  "what a monitor likes best, as 1920x1080 or 1920x1080@50, or off; several, for one head "
	  "after the other, are joined with +" },
	{ "resize", VG_PARAM_BOOL, false, 0, 1, "1",
	  "a viewer that is made larger or smaller changes its monitor's mode" },
	{ "blob", VG_PARAM_BOOL, false, 0, 1, "1",
	  "offer blobs: pictures that are copied once, out of the guest's memory" },
	{ "render", VG_PARAM_STRING, false, 0, 0, "off",
	  "virgl: the guest's programs draw in three dimensions, by a process of this machine that "
	  "parses what they say; or off" },
	VG_DISPLAY_PARAMS,
	VG_PLACE_PARAMS,
	{ 0 },
};

/* ---- opening ------------------------------------------------------------ */

static void gpu_close(struct vg_dev *dev)
{
	struct gpu *gpu = dev->priv;

	vg_loop_timer_stop(&gpu->patience);
	gpu_render_close(gpu);
	gpu_link_close(gpu);
	free(gpu);
	dev->priv = NULL;
}

static int read_modes(const struct vg_params *params, struct gpu_mode modes[GPU_HEADS],
		      struct vg_err *err)
{
	const char *text = vg_params_str(params, gpu_params, "mode");
	unsigned heads = (unsigned)vg_params_uint(params, gpu_params, "heads");
	int n = gpu_modes_parse(text, modes, err);

	if (n < 0)
		return n;
	if ((unsigned)n > heads)
		return vg_fail(err, -EINVAL,
			       "mode=%.60s names %d heads, and there are heads=%u of them", text, n,
			       heads);
	return 0;
}

/* A picture of each monitor, of 4 bytes a pixel. */
static uint32_t gpu_grants(const struct vg_params *params)
{
	enum { PAGE_PIXELS = 1024 };
	unsigned heads = (unsigned)vg_params_uint(params, gpu_params, "heads");
	uint32_t pages = vg_ring_grants(VG_QUEUE_SIZE);
	struct gpu_mode modes[GPU_HEADS];

	if (read_modes(params, modes, NULL) < 0)
		return pages;
	for (unsigned h = 0; h < heads; h++)
		pages += (modes[h].width * modes[h].height + PAGE_PIXELS - 1) / PAGE_PIXELS;
	return pages;
}

static bool gpu_draws(const struct vg_params *params)
{
	return strcmp(vg_params_str(params, gpu_params, "render"), "virgl") == 0;
}

static int check_places(const struct vg_params *params, struct vg_err *err)
{
	struct vg_place_of_head places[VG_DISPLAY_HEADS];
	unsigned heads = (unsigned)vg_params_uint(params, gpu_params, "heads");
	int n = vg_places_parse(params, gpu_params, places, err);

	if (n > (int)heads)
		return vg_fail(err, -EINVAL,
			       "kms=%.60s names %d heads, and there are heads=%u of them",
			       vg_params_str(params, gpu_params, "kms"), n, heads);
	return n < 0 ? n : 0;
}

static int gpu_check(const struct vg_params *params, struct vg_err *err)
{
	const char *render = vg_params_str(params, gpu_params, "render");
	const char *tls = vg_params_str(params, gpu_params, "vnc-tls");
	struct gpu_mode modes[GPU_HEADS];
	int ret = read_modes(params, modes, err);

	if (ret == 0 && strcmp(render, "off") != 0 && !gpu_draws(params))
		ret = vg_fail(err, -EINVAL, "render=%.60s: it is virgl or off", render);
	if (ret == 0)
		ret = vg_listen_check(vg_params_str(params, gpu_params, "vnc"), err);
	if (ret == 0)
		ret = check_places(params, err);
	return ret < 0 || !tls ? ret : vg_listen_check_tls(tls, err);
}

static int gpu_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	struct gpu *gpu = calloc(1, sizeof(*gpu));
	struct gpu_mode modes[GPU_HEADS];
	int ret;

	if (!gpu)
		return vg_fail(err, -ENOMEM, "out of memory");
	gpu->dev = dev;
	gpu->n_heads = (unsigned)vg_params_uint(params, gpu_params, "heads");
	gpu->resize = vg_params_bool(params, gpu_params, "resize");
	gpu->pending_tail = &gpu->pending;
	gpu->patience.expired = gpu_patience_over;
	gpu->link.memfd = gpu->link.sock = -1;
	gpu->render.memfd = gpu->render.sock = gpu->render.next = -1;
	gpu->render.wanted = gpu_draws(params);
	dev->priv = gpu;
	ret = read_modes(params, modes, err);
	for (unsigned i = 0; ret == 0 && i < gpu->n_heads; i++)
		gpu->head[i].mode = modes[i];
	if (ret == 0 && getrandom(gpu->uuid, sizeof(gpu->uuid), 0) != sizeof(gpu->uuid))
		ret = vg_fail(err, -EIO, "the kernel gives no random numbers");
	if (ret == 0)
		ret = gpu_link_open(gpu, err);
	if (ret == 0)
		ret = gpu_render_open(gpu, err);
	if (ret < 0) {
		gpu_close(dev);
		return ret;
	}
	dev->n_queues = GPU_QUEUES;
	dev->config_size = sizeof(struct virtio_gpu_config);
	dev->saved_size = gpu_saved_size();
	dev->device_features =
		VG_FEATURE(VIRTIO_GPU_F_EDID) | VG_FEATURE(VIRTIO_GPU_F_RESOURCE_UUID);
	if (vg_params_bool(params, gpu_params, "blob"))
		dev->device_features |= VG_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB);
	return 0;
}

static int gpu_features_ok(struct vg_dev *dev, uint64_t f)
{
	(void)dev;
	/* 5.7.3: the one needs the other. */
	if (f & VG_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT) && !(f & VG_FEATURE(VIRTIO_GPU_F_VIRGL)))
		return -EINVAL;
	return f & VG_FEATURE(VG_F_VERSION_1) ? 0 : -EINVAL;
}

/* ---- configuration ------------------------------------------------------ */

static void gpu_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	const struct gpu *gpu = dev->priv;
	const struct virtio_gpu_config c = {
		.events_read = htole32(gpu->events),
		.num_scanouts = htole32(gpu->n_heads),
		.num_capsets = htole32(gpu->render.capsets.n),
	};

	memcpy(buf, (const uint8_t *)&c + off, len);
}

/*
 * A driver reads events_read, looks at its monitors and clears the event; another that came in between
 * it would clear unseen, and never ask for what that was about. Nobody knows when it looked, so that
 * it is told once more: a look too many costs little.
 */
static void clear_events(struct gpu *gpu, uint32_t clear)
{
	bool again = gpu->again && clear & VIRTIO_GPU_EVENT_DISPLAY;

	gpu->events &= ~clear;
	if (again)
		gpu->events |= VIRTIO_GPU_EVENT_DISPLAY;
	gpu->again = gpu->again && !again;
	gpu_save(gpu);
	if (again)
		vg_dev_config_changed(gpu->dev);
}

/* 5.7.4: events_clear, whose bits are cleared in events_read; it reads as 0. QEMU hands on all of the
 * configuration, whatever of it a driver wrote (hw/display/vhost-user-gpu.c). */
static int gpu_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len)
{
	struct gpu *gpu = dev->priv;
	uint32_t clear;

	if (off == 0 && len == sizeof(struct virtio_gpu_config)) {
		off = offsetof(struct virtio_gpu_config, events_clear);
		len = sizeof(clear);
		buf = (const uint8_t *)buf + off;
	}
	if (off != offsetof(struct virtio_gpu_config, events_clear) || len != sizeof(clear))
		return -EPERM;
	memcpy(&clear, buf, sizeof(clear));
	clear_events(gpu, le32toh(clear));
	return 0;
}

/* ---- life --------------------------------------------------------------- */

static void gpu_queue_ready(struct vg_dev *dev, unsigned q)
{
	if (q == GPU_CONTROLQ)
		gpu_control_take(dev->priv);
	else
		gpu_cursor_take(dev->priv);
}

static void gpu_stop_queue(struct vg_dev *dev, unsigned q)
{
	if (q == GPU_CONTROLQ)
		gpu_abandon_all(dev->priv);
	vg_dev_queue_stopped(dev, q);
}

/* A driver asks for all modes when it begins: no event is left of before. */
static void gpu_reset(struct vg_dev *dev)
{
	struct gpu *gpu = dev->priv;

	gpu->render.lost = true; /* all of it goes at once, and not one by one */
	gpu_unref_all(gpu);
	gpu_render_reset(gpu);
	for (uint32_t i = 0; i < gpu->n_heads; i++) {
		gpu_show_nothing(gpu, i);
		if (gpu->head[i].cursor.resource) {
			gpu->head[i].cursor = (struct gpu_cursor){ 0 };
			gpu_cursor_show(gpu, i, true);
		}
	}
	gpu->events = 0;
	gpu->again = false;
	gpu->dirty = false;
	memset(dev->saved, 0, dev->saved_size);
}

static int gpu_resume_op(struct vg_dev *dev)
{
	return gpu_resume(dev->priv);
}

static void gpu_peer(struct vg_dev *dev, int sock)
{
	gpu_link_peer(dev->priv, sock);
}

static void gpu_screen_op(struct vg_dev *dev, struct vg_screen *s)
{
	gpu_screen(dev->priv, s);
}

static void gpu_renderer(struct vg_dev *dev, int sock, const struct vg_render_capsets *caps)
{
	gpu_render_peer(dev->priv, sock, caps);
}

static void gpu_tick(struct vg_dev *dev)
{
	gpu_link_catch_up(dev->priv);
}

/* ---- while it runs ------------------------------------------------------ */

static int gpu_set(struct vg_dev *dev, const char *key, const char *value, struct vg_err *err)
{
	struct gpu *gpu = dev->priv;

	if (strcmp(key, "mode") == 0)
		return gpu_modes_set(gpu, value, err);
	if (strcmp(key, "resize") != 0)
		return vg_fail(err, -ENOENT,
			       "%s cannot be changed while running; mode and resize can", key);
	if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
		return vg_fail(err, -EINVAL, "resize=%s: it is 1 or 0", value);
	gpu->resize = *value == '1';
	return 0;
}

static unsigned long long mapped(const struct gpu *gpu)
{
	unsigned long long bytes = 0;

	for (unsigned i = 0; i < GPU_BUCKETS; i++) {
		for (const struct gpu_resource *r = gpu->res.bucket[i]; r; r = r->next)
			bytes += r->backing.len;
	}
	return bytes;
}

static void gpu_describe(struct vg_dev *dev, char *buf, size_t len)
{
	const struct gpu *gpu = dev->priv;
	char text[512];
	int at = 0;

	for (unsigned i = 0; i < gpu->n_heads; i++) {
		const struct gpu_rect *r = &gpu->head[i].shown.r;
		const struct gpu_mode *m = &gpu->head[i].mode;

		at += snprintf(text + at, sizeof(text) - (size_t)at, "%s", i ? "+" : "shows=");
		if (gpu->head[i].shown.resource)
			at += snprintf(text + at, sizeof(text) - (size_t)at, "%ux%u", r->width,
				       r->height);
		else
			at += snprintf(text + at, sizeof(text) - (size_t)at, "%s",
				       m->width ? "nothing" : "off");
	}
	snprintf(text + at, sizeof(text) - (size_t)at,
		 " display=%s resources=%u mapped=%lluKiB copies=%lluKiB flushes=%llu late=%llu",
		 gpu->link.screen      ? "front-end"
		 : gpu->link.sock >= 0 ? "yes"
				       : "no",
		 gpu->res.n, mapped(gpu) >> 10, (unsigned long long)gpu->res.host_bytes >> 10,
		 (unsigned long long)gpu->n.flushes, (unsigned long long)gpu->n.late);
	if (gpu->render.wanted)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " 3d=%s streams=%llu",
			 gpu_render_state(gpu), (unsigned long long)gpu->n.streams);
	snprintf(buf, len, "%s", text);
}

/* link.c: the frame memory is passed on. */
static const struct vg_sandbox_needs gpu_needs = { .passes = true };

const struct vg_device_ops vg_gpu = {
	.name = "gpu",
	.help = "a graphics adapter, shown by VNC and on monitors of this machine",
	.virtio_id = 16, /* VIRTIO 1.3 section 5.7.1 */
	.params = gpu_params,
	.needs = &gpu_needs,
	.check = gpu_check,
	.open = gpu_open,
	.close = gpu_close,
	.config_read = gpu_config_read,
	.config_write = gpu_config_write,
	.features_ok = gpu_features_ok,
	.queue_ready = gpu_queue_ready,
	.stop_queue = gpu_stop_queue,
	.reset = gpu_reset,
	.resume = gpu_resume_op,
	.set = gpu_set,
	.peer = gpu_peer,
	.screen = gpu_screen_op,
	.draws = gpu_draws,
	.grants = gpu_grants,
	.renderer = gpu_renderer,
	.describe = gpu_describe,
	.tick = gpu_tick,
	.helper = "display",
	.keeps = true,
};
