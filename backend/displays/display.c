// SPDX-License-Identifier: GPL-2.0-or-later
/* display.c - see display.h */
#include "backend/displays/display.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/passing.h"

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

void vg_display_area_add(struct vg_display_area *a, const struct vg_display_area *b)
{
	uint32_t right, bottom;

	if (!a->width) {
		*a = *b;
		return;
	}
	right = a->x + a->width > b->x + b->width ? a->x + a->width : b->x + b->width;
	bottom = a->y + a->height > b->y + b->height ? a->y + a->height : b->y + b->height;
	a->x = a->x < b->x ? a->x : b->x;
	a->y = a->y < b->y ? a->y : b->y;
	a->width = right - a->x;
	a->height = bottom - a->y;
}

int vg_display_send(int sock, const struct vg_display_msg *m, int fd)
{
	struct vg_display_msg out = *m;
	const struct iovec iov = { .iov_base = &out, .iov_len = sizeof(out) };
	ssize_t n;

	if (fd >= 0) {
		n = vg_pass(sock, &iov, 1, fd);
		return n < 0 ? (int)n : 0;
	}
	n = send(sock, m, sizeof(*m), MSG_NOSIGNAL | MSG_DONTWAIT);
	return n < 0 ? -errno : 0;
}

int vg_display_recv(int sock, struct vg_display_msg *m, int *fd, int flags)
{
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	union control control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	do
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	/* One descriptor is all that there is room for; the kernel closes others. */
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	if (n == (ssize_t)sizeof(*m) && !(msg.msg_flags & MSG_TRUNC))
		return 1;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return n == 0 ? 0 : -EPROTO;
}

/* One that its maker can make shorter would kill who reads it. */
bool vg_display_is_frame_memory(int fd, uint32_t heads)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return heads >= 1 && heads <= VG_DISPLAY_HEADS && seals >= 0 && (seals & F_SEAL_SHRINK) &&
	       fstat(fd, &st) == 0 && (uint64_t)st.st_size >= heads * VG_DISPLAY_HEAD_BYTES;
}

bool vg_display_is_within(const struct vg_display_msg *m, uint32_t width, uint32_t height)
{
	return m->damage.width && m->damage.height && m->damage.x < width && m->damage.y < height &&
	       m->damage.width <= width - m->damage.x && m->damage.height <= height - m->damage.y;
}
