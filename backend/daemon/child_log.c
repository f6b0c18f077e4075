// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * child_log.c - see child_log.h
 *
 * A pipe holds 64 KiB. A process that fills it faster than the supervisor empties
 * it, at most TURN reads in a turn of its loop, waits; nobody else does. When stderr
 * itself takes nothing, a terminal that was stopped or a journal that is behind, the
 * supervisor leaves the lines where they are and looks again later.
 */
#include "backend/daemon/child_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"

enum {
	TURN = 4,
	LAST_TURNS = 16, /* what the pipe holds */
};

#define LATER_NS (NS_PER_S / 10)

/* ---- the pipe ------------------------------------------------------------- */

/* Whether there is nothing that can be done to our stderr but to add to it. */
static bool takes_bytes_only(const struct stat *st)
{
	return S_ISSOCK(st->st_mode) ||
	       (S_ISFIFO(st->st_mode) && (fcntl(STDERR_FILENO, F_GETFL) & O_ACCMODE) == O_WRONLY);
}

int vg_log_pipe_make(bool flags, struct vg_log_pipe *l, int *end)
{
	struct stat st;
	int fds[2];

	l->fd = *end = -1;
	l->n = 0;
	if (fstat(STDERR_FILENO, &st) < 0 || (!flags && takes_bytes_only(&st)))
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	/* Ours alone: the process waits when it is full. */
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0) {
		int ret = -errno;

		close(fds[0]);
		close(fds[1]);
		return ret;
	}
	l->fd = fds[0];
	*end = fds[1];
	return 0;
}

/* Whether @fd can be written without waiting, or in vain. */
static bool writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1;
}

/* The first @n bytes. What stderr does not take is lost, as lines of ours are. */
static void put(struct vg_log_pipe *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)l->text[i];

		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			l->text[i] = '?';
	}
	for (size_t done = 0; done < n;) {
		ssize_t ret = write(STDERR_FILENO, l->text + done, n - done);

		if (ret < 0)
			break;
		done += (size_t)ret;
	}
	l->n -= n;
	memmove(l->text, l->text + n, l->n);
}

int vg_log_pipe_copy(struct vg_log_pipe *l)
{
	const char *last;
	ssize_t n;

	if (!writable(STDERR_FILENO))
		return -EAGAIN;
	n = read(l->fd, l->text + l->n, sizeof(l->text) - l->n);
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -EPIPE;
	l->n += (size_t)n;
	last = memrchr(l->text, '\n', l->n);
	if (last)
		put(l, (size_t)(last - l->text) + 1);
	else if (l->n == sizeof(l->text))
		put(l, l->n);
	return 1;
}

void vg_log_pipe_end(struct vg_log_pipe *l)
{
	if (l->fd < 0)
		return;
	for (unsigned i = 0; i < LAST_TURNS && vg_log_pipe_copy(l) > 0; i++)
		;
	if (l->n && writable(STDERR_FILENO)) {
		if (l->n < sizeof(l->text))
			l->text[l->n++] = '\n';
		put(l, l->n);
	}
	close(l->fd);
	l->fd = -1;
}

/* ---- in a loop ------------------------------------------------------------ */

static void copy_turn(struct vg_child_log *l)
{
	int ret = 1;

	if (l->later.tether)
		return;
	for (unsigned i = 0; ret > 0 && i < TURN; i++)
		ret = vg_log_pipe_copy(&l->pipe);
	if (ret > 0)
		vg_loop_defer(l->loop, &l->more);
	else if (ret == -EAGAIN)
		vg_loop_timer(l->loop, &l->later, LATER_NS);
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

static void copy_later(struct vg_timer *t)
{
	copy_turn(container_of(t, struct vg_child_log, later));
}

void vg_child_log_begin(struct vg_child_log *l, struct vg_loop *loop,
			const struct vg_log_pipe *pipe)
{
	if (pipe->fd < 0)
		return;
	l->pipe = *pipe;
	l->loop = loop;
	l->watch.ready = ready;
	l->more.run = copy_more;
	l->later.expired = copy_later;
	vg_loop_watch(loop, &l->watch, l->pipe.fd);
}

void vg_child_log_end(struct vg_child_log *l)
{
	if (!l->watch.ready)
		return;
	vg_loop_timer_stop(&l->later);
	vg_loop_unwatch(&l->watch);
	vg_loop_undefer(l->loop, &l->more);
	vg_log_pipe_end(&l->pipe);
	l->watch.ready = NULL;
}
