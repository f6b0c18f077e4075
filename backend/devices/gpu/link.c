// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * link.c - the display, seen from the device: displays/display.h
 *
 * The frame memory is made while the worker has privileges, as large as it can ever be, so that
 * nothing need be allocated or mapped once a guest is served; what was never drawn takes no memory.
 *
 * What cannot be said because the display's socket is full is not waited for: the head is marked,
 * and all of it said again when the display has caught up.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/devices/gpu/int.h"

enum { HEARD_MAX = 1024 }; /* messages at once: no display has so much to say */

int gpu_link_open(struct gpu *gpu, struct vg_err *err)
{
	struct gpu_link *l = &gpu->link;
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	l->sock = -1;
	l->size = gpu->n_heads * VG_DISPLAY_HEAD_BYTES;
	l->memfd = memfd_create("vgrant-frames", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (l->memfd < 0 || ftruncate(l->memfd, (off_t)l->size) < 0 ||
	    fcntl(l->memfd, F_ADD_SEALS, seals) < 0)
		return vg_fail(err, -errno, "memory for the picture cannot be made: %s",
			       strerror(errno));
	l->frame = mmap(NULL, l->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, l->memfd,
			0);
	if (l->frame == MAP_FAILED) {
		l->frame = NULL;
		return vg_fail(err, -errno, "memory for the picture cannot be mapped: %s",
			       strerror(errno));
	}
	l->log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	return 0;
}

static void hang_up(struct gpu *gpu)
{
	struct gpu_link *l = &gpu->link;

	if (l->sock < 0)
		return;
	vg_loop_unwatch(&l->watch);
	close(l->sock);
	l->sock = -1;
}

void gpu_link_close(struct gpu *gpu)
{
	struct gpu_link *l = &gpu->link;

	hang_up(gpu);
	if (l->frame)
		munmap(l->frame, l->size);
	if (l->memfd >= 0)
		close(l->memfd);
}

/* Damage of what it does not know yet would be of no use to it. */
static bool say_display(struct gpu *gpu, const struct vg_display_msg *m)
{
	struct gpu_head *h = &gpu->head[m->head];
	bool told = !(m->type == VG_DISPLAY_DAMAGE && h->owed) && gpu->link.sock >= 0 &&
		    vg_display_send(gpu->link.sock, m, -1) == 0;

	if (!told)
		h->owed = true;
	return told;
}

bool gpu_link_say(struct gpu *gpu, const struct vg_display_msg *m)
{
	bool told = say_display(gpu, m);
	struct vg_screen *s = gpu->link.screen;

	if (s)
		s->ops->show(s, m);
	return told || s;
}

/* HELLO, with the frame memory. */
static int greet(struct gpu *gpu)
{
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_HELLO,
		.hello = { VG_DISPLAY_VERSION, gpu->n_heads },
	};

	return vg_display_send(gpu->link.sock, &m, gpu->link.memfd);
}

void gpu_link_catch_up(struct gpu *gpu)
{
	for (uint32_t i = 0; gpu->link.sock >= 0 && i < gpu->n_heads; i++) {
		if (gpu->head[i].owed)
			gpu_show_again(gpu, i);
	}
}

static void heard(struct gpu *gpu, const struct vg_display_msg *m)
{
	if (m->head >= gpu->n_heads)
		return;
	if (m->type == VG_DISPLAY_READ)
		gpu_read(gpu, m->head, m->serial);
	else if (m->type == VG_DISPLAY_WISH)
		gpu_mode_wish(gpu, m->head, m->mode.width, m->mode.height);
}

/* Return: whether another may follow; *@gone: it is gone, or says nonsense. */
static bool hear(struct gpu *gpu, bool *gone)
{
	struct vg_display_msg m;
	int fd;
	int ret = vg_display_recv(gpu->link.sock, &m, &fd, MSG_DONTWAIT);

	if (fd >= 0)
		close(fd);
	*gone = ret <= 0 && ret != -EAGAIN;
	if (ret == 1)
		heard(gpu, &m);
	return ret == 1;
}

static void ready(struct vg_watch *w, unsigned events)
{
	struct gpu *gpu = container_of(w, struct gpu, link.watch);
	bool gone = false;

	(void)events;
	for (unsigned i = 0; !gone && hear(gpu, &gone); i++)
		gone = i == HEARD_MAX;
	if (gone) {
		/* Another will come, and is shown all. */
		hang_up(gpu);
		gpu_release_all(gpu);
	}
	gpu_link_catch_up(gpu);
}

void gpu_link_peer(struct gpu *gpu, int sock)
{
	int ret;

	hang_up(gpu);
	gpu_release_all(gpu);
	gpu->link.sock = sock;
	gpu->link.watch.ready = ready;
	ret = greet(gpu);
	if (ret < 0) {
		vg_log_limited(&gpu->link.log, VG_LOG_WARN, "the display cannot be greeted: %s",
			       strerror(-ret));
		hang_up(gpu);
		return;
	}
	vg_loop_watch(gpu->dev->loop, &gpu->link.watch, sock);
	for (uint32_t i = 0; i < gpu->n_heads; i++)
		gpu_show_again(gpu, i);
}
