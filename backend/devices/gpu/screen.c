// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * screen.c - a front-end that shows the picture itself: displays/screen.h
 *
 * The monitors are then its own. GET_DISPLAY_INFO and GET_EDID are passed on, and answered by what it
 * says, or by what we know where it says nothing. That an answer would be another one it tells the
 * driver itself: QEMU has events_read of its own.
 */
#include <endian.h>
#include <string.h>

#include "backend/devices/gpu/int.h"

static void read_by_screen(struct vg_screen *s, uint32_t head, uint32_t serial)
{
	gpu_read(s->device, head, serial);
}

void gpu_screen(struct gpu *gpu, struct vg_screen *s)
{
	gpu->link.screen = s;
	gpu_release_all(gpu);
	if (!s)
		return;
	s->frame = gpu->link.frame;
	s->heads = gpu->n_heads;
	s->device = gpu;
	s->read = read_by_screen;
	for (uint32_t i = 0; i < gpu->n_heads; i++)
		gpu_show_again(gpu, i);
}

bool gpu_screen_may_ask(const struct gpu *gpu)
{
	return gpu->link.screen && gpu->link.screen->ops->may_ask(gpu->link.screen);
}

/* Our own EDIDs are to fit, where it has none. */
static void remember(struct gpu *gpu, const struct vg_screen_answer *a)
{
	for (unsigned i = 0; i < gpu->n_heads; i++) {
		struct gpu_mode m = { .hz = 60 };

		if (a->monitor[i].width > GPU_EDID_SIDE_MAX ||
		    a->monitor[i].height > GPU_EDID_SIDE_MAX)
			continue;
		m.width = (uint16_t)a->monitor[i].width;
		m.height = (uint16_t)a->monitor[i].height;
		if (gpu_mode_fits(&m))
			gpu->head[i].mode = m;
	}
}

/* As it says, whatever a size is: the guest is its own. */
static uint32_t its_monitors(const struct gpu *gpu, const struct vg_screen_answer *a,
			     struct virtio_gpu_resp_display_info *info)
{
	for (unsigned i = 0; i < gpu->n_heads; i++) {
		struct virtio_gpu_display_one *d = &info->pmodes[i];

		d->enabled = htole32(a->monitor[i].width && a->monitor[i].height);
		d->r.x = htole32(a->monitor[i].x);
		d->r.y = htole32(a->monitor[i].y);
		d->r.width = htole32(a->monitor[i].width);
		d->r.height = htole32(a->monitor[i].height);
	}
	return sizeof(*info);
}

static uint32_t its_edid(const struct vg_screen_answer *a, struct virtio_gpu_resp_edid *edid)
{
	edid->size = htole32(a->edid_bytes);
	memcpy(edid->edid, a->edid, a->edid_bytes);
	return sizeof(*edid);
}

/* @a: NULL: it does not know. */
static void finish(struct gpu *gpu, struct gpu_pending *p, const struct vg_screen_answer *a)
{
	bool monitors = p->ask.what == VG_SCREEN_MONITORS;
	union gpu_answer answer;
	uint32_t len;

	memset(&answer, 0, sizeof(answer));
	if (a && a->has_monitors)
		remember(gpu, a);
	if (monitors)
		len = a && a->has_monitors ? its_monitors(gpu, a, &answer.display_info)
					   : gpu_display_info(gpu, &answer);
	else
		len = a && a->edid_bytes ? its_edid(a, &answer.edid)
					 : gpu_edid_of(gpu, p->ask.head, &answer);
	gpu_answered(gpu, p, monitors ? VIRTIO_GPU_RESP_OK_DISPLAY_INFO : VIRTIO_GPU_RESP_OK_EDID,
		     &answer, len, 0);
}

static void answered(struct vg_screen_ask *ask, const struct vg_screen_answer *a)
{
	struct gpu_pending *p = container_of(ask, struct gpu_pending, ask);
	struct gpu *gpu = p->gpu;

	finish(gpu, p, a);
	gpu_go_on(gpu);
}

void gpu_screen_ask(struct gpu *gpu, const struct gpu_cmd *cmd, struct gpu_pending *p)
{
	p->ask.what = cmd->ask;
	p->ask.head = cmd->ask == VG_SCREEN_EDID ? le32toh(cmd->req.edid.scanout) : 0;
	p->ask.answered = answered;
	gpu->link.screen->ops->ask(gpu->link.screen, &p->ask);
}

void gpu_screen_give_up(struct gpu *gpu, struct gpu_pending *p)
{
	gpu->link.screen->ops->unask(gpu->link.screen, &p->ask);
	finish(gpu, p, NULL);
}
