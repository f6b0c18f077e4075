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

bool gpu_link_say(struct gpu *gpu, const struct vg_display_msg *m)
{
	return gpu->link.sock >= 0 && send(gpu->link.sock, m, sizeof(*m),
					   MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(*m);
}

/* HELLO, with the frame memory. */
static bool greet(struct gpu *gpu)
{
	struct vg_display_msg m = {
		.type = VG_DISPLAY_HELLO,
		.hello = { VG_DISPLAY_VERSION, gpu->n_heads },
	};
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &gpu->link.memfd, sizeof(int));
	return sendmsg(gpu->link.sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(m);
}

void gpu_link_catch_up(struct gpu *gpu)
{
	for (uint32_t i = 0; i < gpu->n_heads; i++) {
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

/* Return: whether another may follow; false: it is gone, says nonsense, or never stops. */
static bool hear(struct gpu *gpu, bool *gone)
{
	struct vg_display_msg m;
	ssize_t n = recv(gpu->link.sock, &m, sizeof(m), MSG_DONTWAIT | MSG_TRUNC);

	*gone = n < 0 ? errno != EAGAIN && errno != EINTR : n != (ssize_t)sizeof(m);
	if (n != (ssize_t)sizeof(m))
		return false;
	heard(gpu, &m);
	return true;
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
	hang_up(gpu);
	gpu_release_all(gpu);
	gpu->link.sock = sock;
	gpu->link.watch.ready = ready;
	if (!greet(gpu)) {
		vg_log_limited(&gpu->link.log, VG_LOG_WARN, "the display cannot be greeted: %s",
			       strerror(errno));
		hang_up(gpu);
		return;
	}
	vg_loop_watch(gpu->dev->loop, &gpu->link.watch, sock);
	for (uint32_t i = 0; i < gpu->n_heads; i++)
		gpu_show_again(gpu, i);
}
