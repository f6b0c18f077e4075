// SPDX-License-Identifier: GPL-2.0-or-later
/* ipc.c - see ipc.h */
#include "backend/worker/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/virtio/device.h"

union fd_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * VG_IPC_FDS)];
};

/* All that a worker says: with send(2), for its sandbox has no sendmsg(2). */
static int send_plain(int sock, const struct vg_ipc *m)
{
	ssize_t sent;

	do
		sent = send(sock, m, sizeof(*m), MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int vg_ipc_send_fds(int sock, const struct vg_ipc *m, const int *fds, unsigned n)
{
	struct vg_ipc out = *m;
	struct iovec iov = { .iov_base = &out, .iov_len = sizeof(out) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union fd_control control;
	struct cmsghdr *c;
	ssize_t sent;

	if (n > VG_IPC_FDS)
		return -EINVAL;
	out.version = VG_IPC_VERSION;
	if (!n)
		return send_plain(sock, &out);
	memset(&control, 0, sizeof(control));
	msg.msg_control = control.bytes;
	msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	do
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int vg_ipc_send(int sock, const struct vg_ipc *m, int fd_to_pass)
{
	return vg_ipc_send_fds(sock, m, &fd_to_pass, fd_to_pass >= 0);
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
	case VG_IPC_ASK:
		m->asked.what[sizeof(m->asked.what) - 1] = '\0';
		break;
	case VG_IPC_GIVEN:
		m->given.what[sizeof(m->given.what) - 1] = '\0';
		m->given.why[sizeof(m->given.why) - 1] = '\0';
		break;
	case VG_IPC_SHOWN:
		m->shown.where[sizeof(m->shown.where) - 1] = '\0';
		break;
	case VG_IPC_SCREEN:
		m->screen.place.card[sizeof(m->screen.place.card) - 1] = '\0';
		m->screen.place.connector[sizeof(m->screen.place.connector) - 1] = '\0';
		break;
	case VG_IPC_SCREEN_IS:
		m->screen_is.text[sizeof(m->screen_is.text) - 1] = '\0';
		break;
	case VG_IPC_OPENED:
	case VG_IPC_PEER:
	case VG_IPC_CONNECT:
		break;
	default:
		m->text[sizeof(m->text) - 1] = '\0';
		break;
	}
}

static void close_all(int fds[VG_IPC_FDS])
{
	for (unsigned i = 0; i < VG_IPC_FDS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static int receive(int sock, struct vg_ipc *m, int fds[VG_IPC_FDS], int flags)
{
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	union fd_control control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	memset(fds, -1, sizeof(int) * VG_IPC_FDS);
	do
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    len <= sizeof(int) * VG_IPC_FDS)
			memcpy(fds, CMSG_DATA(c), len);
	}
	if (n == 0)
		return 0;
	if (n != (ssize_t)sizeof(*m) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
	    m->version != VG_IPC_VERSION) {
		close_all(fds);
		return -EPROTO;
	}
	terminate(m);
	return 1;
}

int vg_ipc_recv_fds(int sock, struct vg_ipc *m, int fds[VG_IPC_FDS])
{
	return receive(sock, m, fds, MSG_DONTWAIT);
}

/* The first of @fds, or -1; the rest is closed. */
static int first_of(int fds[VG_IPC_FDS])
{
	int fd = fds[0];

	fds[0] = -1;
	close_all(fds);
	return fd;
}

int vg_ipc_recv(int sock, struct vg_ipc *m, int *fd_passed)
{
	int fds[VG_IPC_FDS];
	int ret = receive(sock, m, fds, MSG_DONTWAIT);

	if (fd_passed)
		*fd_passed = first_of(fds);
	else
		close_all(fds);
	return ret;
}

/* ---- descriptors that are asked for ------------------------------------------ */

int vg_ipc_ask(int sock, const char *what, bool write)
{
	struct vg_ipc m = { .type = VG_IPC_ASK };

	if ((size_t)snprintf(m.asked.what, sizeof(m.asked.what), "%s", what) >=
	    sizeof(m.asked.what))
		return -ENAMETOOLONG;
	m.asked.write = write;
	return vg_ipc_send(sock, &m, -1);
}

int vg_ipc_open_file(int sock, const char *name, bool write,
		     void (*other)(void *owner, const struct vg_ipc *m, int fd), void *owner,
		     struct vg_err *err)
{
	struct vg_ipc m;
	int fds[VG_IPC_FDS];
	int ret = vg_ipc_ask(sock, name, write), fd;

	if (ret == -ENAMETOOLONG)
		return vg_fail(err, ret, "a file's name is too long");
	while (ret == 0 && (ret = receive(sock, &m, fds, 0)) == 1) {
		fd = first_of(fds);
		if (m.type != VG_IPC_GIVEN) {
			other(owner, &m, fd);
			ret = 0;
			continue;
		}
		if (m.error == 0 && fd >= 0)
			return fd;
		if (fd >= 0)
			close(fd);
		return vg_fail(err, m.error < 0 ? m.error : -EPROTO, "%s", m.given.why);
	}
	return vg_fail(err, ret < 0 ? ret : -EPIPE, "the supervisor does not answer");
}

/* Return: a descriptor, or negative errno with a sentence. */
static int open_file(const struct vg_device_ops *ops, const struct vg_params *params,
		     const char *name, bool write, struct vg_err *err)
{
	struct stat st;
	int fd, ret;

	if (!ops->may_open)
		return vg_fail(err, -EPERM, "a %s device opens no files", params->device);
	ret = ops->may_open(params, name, write, err);
	if (ret < 0)
		return ret;
	fd = open(name, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return vg_fail(err, -errno, "%.200s cannot be opened: %s", name, strerror(errno));
	if (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
		return fd;
	close(fd);
	return vg_fail(err, -EINVAL, "%.200s is neither a file nor a block device", name);
}

static int give(const char *spec, const struct vg_ipc *m, struct vg_err *err)
{
	const struct vg_device_ops *ops;
	struct vg_params params;
	int ret = vg_params_parse(spec, &params, err);

	if (ret < 0)
		return ret;
	ops = vg_device_find(params.device);
	if (ops && m->asked.what[0] == '/')
		return open_file(ops, &params, m->asked.what, m->asked.write, err);
	if (!ops || !ops->lend)
		return vg_fail(err, -EPERM, "a %s device is lent nothing", params.device);
	return ops->lend(&params, m->asked.what, err);
}

/* Who @pid is by now, which it does not change any more. Return: 0 or negative errno. */
static int ids_of(pid_t pid, uid_t *uid, gid_t *gid)
{
	char path[64], line[128];
	unsigned seen = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		seen += sscanf(line, "Uid: %u", uid) == 1 || sscanf(line, "Gid: %u", gid) == 1;
	fclose(f);
	return seen == 2 ? 0 : -EIO;
}

/* In a process of its own: no capability lets us set another user's limit but CAP_SYS_RESOURCE, which
 * not everybody has who may become another user. Calls nothing that a thread of ours could hold. */
static int raise_as(uid_t uid, gid_t gid, pid_t worker, uint64_t bytes)
{
	struct rlimit rl;

	if ((geteuid() == 0 && setgroups(0, NULL) < 0) || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0 || prlimit(worker, RLIMIT_FSIZE, NULL, &rl) < 0)
		return errno;
	if (rl.rlim_cur >= bytes || rl.rlim_cur == rl.rlim_max)
		return 0; /* it may already; or it writes no file at all */
	rl.rlim_cur = bytes < rl.rlim_max ? bytes : rl.rlim_max;
	return prlimit(worker, RLIMIT_FSIZE, &rl, NULL) < 0 ? errno : 0;
}

/*
 * Who is given a regular file may write files up to its length, as vg_sandbox_isolate() lets a worker at
 * its start. The length is the user's: the worker could not change it.
 * Return: 0 or negative errno with a sentence.
 */
static int let_write(pid_t worker, int fd, struct vg_err *err)
{
	struct stat st;
	uid_t uid = 0;
	gid_t gid = 0;
	int ret, status;
	pid_t pid;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	ret = ids_of(worker, &uid, &gid);
	pid = ret < 0 ? ret : fork();
	if (pid == 0)
		_exit(raise_as(uid, gid, worker, (uint64_t)st.st_size));
	if (ret == 0 && pid < 0)
		ret = -errno;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0)
		ret = WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
	return ret < 0 ? vg_fail(err, ret, "its limit of file sizes cannot be raised: %s",
				 strerror(-ret))
		       : 0;
}

int vg_ipc_answer(int sock, pid_t worker, const char *spec, const struct vg_ipc *m)
{
	struct vg_ipc answer = { .type = VG_IPC_GIVEN };
	struct vg_err err = { "" };
	int fd = give(spec, m, &err);
	int ret = fd < 0 ? 0 : let_write(worker, fd, &err);

	if (ret < 0) {
		close(fd);
		fd = ret;
	}
	snprintf(answer.given.what, sizeof(answer.given.what), "%s", m->asked.what);
	if (fd < 0) {
		answer.error = fd;
		snprintf(answer.given.why, sizeof(answer.given.why), "%.255s", err.text);
	}
	ret = vg_ipc_send(sock, &answer, fd < 0 ? -1 : fd);
	if (fd >= 0)
		close(fd);
	return ret;
}
