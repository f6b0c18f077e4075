// SPDX-License-Identifier: GPL-2.0-or-later
/* ipc.c - see ipc.h */
#include "backend/worker/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union fd_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int vg_ipc_send(int sock, const struct vg_ipc *m, int fd_to_pass)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union fd_control control;
	ssize_t n;

	if (fd_to_pass >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd_to_pass, sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Every text may be used as a string, whatever the peer sent. */
static void terminate(struct vg_ipc *m)
{
	switch (m->type) {
	case VG_IPC_SETUP:
		m->setup.who[sizeof(m->setup.who) - 1] = '\0';
		m->setup.spec[sizeof(m->setup.spec) - 1] = '\0';
		break;
	case VG_IPC_SET:
		m->set.key[sizeof(m->set.key) - 1] = '\0';
		m->set.value[sizeof(m->set.value) - 1] = '\0';
		break;
	default:
		m->text[sizeof(m->text) - 1] = '\0';
		break;
	}
}

int vg_ipc_recv(int sock, struct vg_ipc *m, int *fd_passed)
{
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	union fd_control control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	int fd = -1;
	ssize_t n;

	if (fd_passed)
		*fd_passed = -1;
	do
		n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&fd, CMSG_DATA(c), sizeof(int));
	}
	if (fd >= 0 && fd_passed)
		*fd_passed = fd;
	else if (fd >= 0)
		close(fd);
	if (n == 0)
		return 0;
	if (n != (ssize_t)sizeof(*m) || (msg.msg_flags & MSG_TRUNC))
		return -EPROTO;
	terminate(m);
	return 1;
}
