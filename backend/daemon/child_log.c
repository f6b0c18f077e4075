// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * child_log.c - see child_log.h
 *
 * A pipe holds 64 KiB. A process that fills it faster than the supervisor empties
 * it, at most TURN times BYTES in a turn of its loop, waits; nobody else does.
 */
#include "backend/daemon/child_log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"

enum {
	BYTES = 4096,
	TURN = 4,
	LAST_TURNS = 16, /* what the pipe holds */
};

int vg_child_log_pipe(int fds[2])
{
	struct stat st;

	fds[0] = fds[1] = -1;
	if (fstat(STDERR_FILENO, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0) {
		fds[0] = fds[1] = -1;
		return -errno;
	}
	/* Ours alone: the process waits when it is full. */
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0) {
		int ret = -errno;

		close(fds[0]);
		close(fds[1]);
		fds[0] = fds[1] = -1;
		return ret;
	}
	return 0;
}

/* Return: 1: there may be more; 0: not now; -1: never again. */
static int copy(struct vg_child_log *l)
{
	char text[BYTES];
	ssize_t n = read(l->fd, text, sizeof(text));

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	for (ssize_t done = 0, ret; done < n; done += ret) {
		ret = write(STDERR_FILENO, text + done, (size_t)(n - done));
		if (ret < 0)
			break; /* a full file system: the line is lost, as ours are */
	}
	return 1;
}

static void copy_turn(struct vg_child_log *l)
{
	int ret = 1;

	for (unsigned i = 0; ret > 0 && i < TURN; i++)
		ret = copy(l);
	if (ret > 0)
		vg_loop_defer(l->loop, &l->more);
	else if (ret < 0)
		vg_loop_unwatch(&l->watch);
}

static void ready(struct vg_watch *w, unsigned events)
{
	(void)events;
	copy_turn(container_of(w, struct vg_child_log, watch));
}

static void copy_more(struct vg_deferred *d)
{
	copy_turn(container_of(d, struct vg_child_log, more));
}

void vg_child_log_begin(struct vg_child_log *l, struct vg_loop *loop, int fd)
{
	if (fd < 0)
		return;
	l->piped = true;
	l->fd = fd;
	l->loop = loop;
	l->watch.ready = ready;
	l->more.run = copy_more;
	vg_loop_watch(loop, &l->watch, fd);
}

void vg_child_log_end(struct vg_child_log *l)
{
	if (!l->piped)
		return;
	for (unsigned i = 0; i < LAST_TURNS && copy(l) > 0; i++)
		;
	vg_loop_unwatch(&l->watch);
	vg_loop_undefer(l->loop, &l->more);
	close(l->fd);
	l->piped = false;
}
