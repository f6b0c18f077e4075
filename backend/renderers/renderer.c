// SPDX-License-Identifier: GPL-2.0-or-later
/* renderer.c - see renderer.h */
#include "backend/renderers/renderer.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/passing.h"

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int vg_render_send(int sock, const struct vg_render_op *op, int fd)
{
	struct vg_render_op out = *op;
	const struct iovec iov = { .iov_base = &out, .iov_len = sizeof(out) };
	ssize_t n;

	if (fd >= 0) {
		n = vg_pass(sock, &iov, 1, fd);
		return n < 0 ? (int)n : 0;
	}
	n = send(sock, op, sizeof(*op), MSG_NOSIGNAL | MSG_DONTWAIT);
	return n < 0 ? -errno : 0;
}

/* Return: bytes; 0: it is closed; or negative errno. */
static ssize_t receive(int sock, struct msghdr *msg)
{
	ssize_t n;

	do
		n = recvmsg(sock, msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return n;
}

int vg_render_recv(int sock, struct vg_render_op *op, int *fd)
{
	struct iovec iov = { .iov_base = op, .iov_len = sizeof(*op) };
	union control control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t n = receive(sock, &msg);
	struct cmsghdr *c;

	*fd = -1;
	if (n < 0)
		return (int)n;
	/* One descriptor is all that there is room for; the kernel closes others. */
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	if (n == (ssize_t)sizeof(*op) && !(msg.msg_flags & MSG_TRUNC))
		return 1;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return n == 0 ? 0 : -EPROTO;
}

int vg_render_recv_done(int sock, struct vg_render_done *d)
{
	struct iovec iov = { .iov_base = d, .iov_len = sizeof(*d) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = receive(sock, &msg);

	if (n <= 0)
		return (int)n;
	return n == (ssize_t)sizeof(*d) && !(msg.msg_flags & MSG_TRUNC) ? 1 : -EPROTO;
}

int vg_render_send_done(int sock, const struct vg_render_done *d)
{
	struct pollfd p = { .fd = sock, .events = POLLOUT };

	while (send(sock, d, sizeof(*d), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		poll(&p, 1, -1);
	}
	return 0;
}

/* ---- what makes sense ---------------------------------------------------- */

static bool in_window(const struct vg_render_op *op)
{
	return op->len && op->at <= VG_RENDER_WINDOW && op->len <= VG_RENDER_WINDOW - op->at;
}

static bool resource_ok(const struct vg_render_op *op)
{
	const uint32_t side = VG_LIMIT_GPU_SIDE;

	if (!op->resource || !op->make.width || !op->make.height || !op->make.depth)
		return false;
	/* A buffer (target 0) is as wide as it has bytes. */
	if (op->make.target == 0)
		return op->make.width <= VG_LIMIT_HOST_BYTES && op->make.height == 1 &&
		       op->make.depth == 1 && op->make.array_size <= 1;
	return op->make.width <= side && op->make.height <= side && op->make.depth <= side &&
	       op->make.array_size <= side && op->make.last_level < 32 && op->make.nr_samples <= 32;
}

bool vg_render_ok(const struct vg_render_op *op)
{
	switch (op->type) {
	case VG_RENDER_HELLO:
		return op->version == VG_RENDER_VERSION;
	case VG_RENDER_RESET:
		return true;
	case VG_RENDER_CAPSET:
		return in_window(op) && op->len <= VG_LIMIT_GPU_CAPSET;
	case VG_RENDER_CONTEXT:
		return op->context && op->create.name_len <= VG_RENDER_NAME;
	case VG_RENDER_CONTEXT_END:
		return op->context;
	case VG_RENDER_ATTACH:
	case VG_RENDER_DETACH:
		return op->context && op->resource;
	case VG_RENDER_RESOURCE:
		return resource_ok(op);
	case VG_RENDER_RESOURCE_END:
	case VG_RENDER_SLOT_GONE:
		return op->resource;
	case VG_RENDER_SLOT_IS:
		return op->resource && op->slot < VG_RENDER_SLOTS;
	case VG_RENDER_SUBMIT:
		return op->context && in_window(op) && op->at % 4 == 0 && op->len % 4 == 0 &&
		       op->len <= VG_LIMIT_GPU_STREAM;
	case VG_RENDER_WRITE:
	case VG_RENDER_READ:
		return op->resource && in_window(op);
	default:
		return false;
	}
}
