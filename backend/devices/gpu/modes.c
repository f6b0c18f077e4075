// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * modes.c - which monitors there are
 *
 *	mode=1920x1080			each head has such a monitor
 *	mode=1920x1080+1280x720@50+off	the first three; the others have what the last one has
 *
 * Where a front-end shows the picture itself (screen.c), the monitors are its own, and events as well.
 *
 * A monitor that is changed while the guest runs is told as an event, VIRTIO 1.3 section 5.7.6.2:
 * the driver reads EDIDs and display information again, as if a cable had been plugged.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "backend/base/number.h"
#include "backend/devices/gpu/int.h"

enum { DEFAULT_HZ = 60 };

/* A number that *@text begins with, which ends behind it. Return: false: none, or too large a one. */
static bool number(const char **text, unsigned max, unsigned *out)
{
	uint64_t v;
	bool ok = vg_digits(*text, 10, text, &v) == 0 && v <= max;

	*out = ok ? (unsigned)v : 0;
	return ok;
}

/* "off", or WIDTHxHEIGHT[@HZ]. */
static bool parse_one(const char **text, struct gpu_mode *m)
{
	unsigned width, height, hz = DEFAULT_HZ;

	*m = (struct gpu_mode){ 0 };
	if (strncmp(*text, "off", 3) == 0) {
		*text += 3;
		return true;
	}
	if (!number(text, GPU_EDID_SIDE_MAX, &width) || *(*text)++ != 'x' ||
	    !number(text, GPU_EDID_SIDE_MAX, &height))
		return false;
	if (**text == '@') {
		(*text)++;
		if (!number(text, GPU_HZ_MAX, &hz))
			return false;
	}
	*m = (struct gpu_mode){ (uint16_t)width, (uint16_t)height, (uint8_t)hz };
	return gpu_mode_fits(m);
}

int gpu_modes_parse(const char *text, struct gpu_mode modes[GPU_HEADS], struct vg_err *err)
{
	const char *at = text;
	int n = 0;

	do {
		if (n == GPU_HEADS)
			return vg_fail(err, -EINVAL, "mode=%.60s names more than %d heads", text,
				       GPU_HEADS);
		if (!parse_one(&at, &modes[n++]))
			return vg_fail(err, -EINVAL,
				       "mode=%.60s: a mode is \"off\", or WIDTHxHEIGHT or "
				       "WIDTHxHEIGHT@HZ with sides of 64 to %d and a clock below "
				       "655 MHz; several are joined with +",
				       text, GPU_EDID_SIDE_MAX);
	} while (*at++ == '+');
	if (at[-1])
		return vg_fail(err, -EINVAL,
			       "mode=%.60s: '%.20s' is no mode, nor the + before another one", text,
			       at - 1);
	for (int i = n; i < GPU_HEADS; i++)
		modes[i] = modes[n - 1];
	return n;
}

uint32_t gpu_display_info(const struct gpu *gpu, union gpu_answer *a)
{
	struct virtio_gpu_resp_display_info *info = &a->display_info;
	uint32_t x = 0;

	/* Side by side. */
	for (unsigned i = 0; i < gpu->n_heads; i++) {
		const struct gpu_mode *m = &gpu->head[i].mode;

		info->pmodes[i].enabled = htole32(m->width != 0);
		info->pmodes[i].r.x = htole32(x);
		info->pmodes[i].r.width = htole32(m->width);
		info->pmodes[i].r.height = htole32(m->height);
		x += m->width;
	}
	return sizeof(*info);
}

uint32_t gpu_edid_of(const struct gpu *gpu, uint32_t head, union gpu_answer *a)
{
	static const struct gpu_mode unplugged = { 1024, 768, DEFAULT_HZ };
	const struct gpu_mode *m = &gpu->head[head].mode;

	gpu_edid(a->edid.edid, m->width ? m : &unplugged, head + 1);
	a->edid.size = htole32(GPU_EDID_BYTES);
	return sizeof(a->edid);
}

static void tell(struct gpu *gpu)
{
	gpu->again = gpu->events & VIRTIO_GPU_EVENT_DISPLAY;
	gpu->events |= VIRTIO_GPU_EVENT_DISPLAY;
	gpu_save(gpu);
	vg_dev_config_changed(gpu->dev);
}

int gpu_modes_set(struct gpu *gpu, const char *text, struct vg_err *err)
{
	struct gpu_mode modes[GPU_HEADS];
	int n = gpu_modes_parse(text, modes, err);

	if (n < 0)
		return n;
	if ((unsigned)n > gpu->n_heads)
		return vg_fail(err, -EINVAL, "mode=%.60s names %d heads, and the device has %u",
			       text, n, gpu->n_heads);
	if (gpu->link.screen)
		return vg_fail(err, -EBUSY,
			       "the front-end shows the picture, and the monitors are its own: set "
			       "their sizes there");
	for (unsigned i = 0; i < gpu->n_heads; i++)
		gpu->head[i].mode = modes[i];
	tell(gpu);
	return 0;
}

void gpu_mode_wish(struct gpu *gpu, uint32_t head, uint32_t width, uint32_t height)
{
	struct gpu_head *h = &gpu->head[head];
	struct gpu_mode m = { .hz = h->mode.hz };

	if (!gpu->resize || gpu->link.screen || !h->mode.width || width > GPU_EDID_SIDE_MAX ||
	    height > GPU_EDID_SIDE_MAX)
		return;
	m.width = (uint16_t)width;
	m.height = (uint16_t)height;
	if (!gpu_mode_fits(&m) || (m.width == h->mode.width && m.height == h->mode.height))
		return;
	h->mode = m;
	tell(gpu);
}
