// SPDX-License-Identifier: GPL-2.0-or-later
/* trace.c - see trace.h */
#include "backend/base/trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void forget(struct vg_trace *t, unsigned i)
{
	close(t->to[i].fd);
	t->to[i] = t->to[--t->n];
}

/* Nobody says that a listener hung up; without lines to write one would never know. */
static void forget_gone(struct vg_trace *t)
{
	char c;

	for (unsigned i = 0; i < t->n;) {
		if (recv(t->to[i].fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			forget(t, i);
		else
			i++;
	}
}

int vg_trace_add(struct vg_trace *t, int fd)
{
	forget_gone(t);
	if (t->n == VG_TRACE_MAX) {
		close(fd);
		return -EBUSY;
	}
	t->to[t->n].fd = fd;
	t->to[t->n].lost = 0;
	t->n++;
	return 0;
}

static int packet(int fd, const char *text, size_t len)
{
	return send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Return: 0; -EAGAIN: it does not read; other negative errno: it is gone. */
static int hand_over(struct vg_trace *t, unsigned i)
{
	char note[64];
	int ret;

	if (t->to[i].lost) {
		int n = snprintf(note, sizeof(note), "# %llu lines were lost\n",
				 (unsigned long long)t->to[i].lost);

		ret = packet(t->to[i].fd, note, (size_t)n);
		if (ret < 0)
			return ret;
		t->to[i].lost = 0;
	}
	return packet(t->to[i].fd, t->buf, t->len);
}

void vg_trace_flush(struct vg_trace *t)
{
	if (!t->len)
		return;
	for (unsigned i = 0; i < t->n;) {
		int ret = hand_over(t, i);

		if (ret == -EAGAIN || ret == -ENOBUFS)
			t->to[i].lost += t->lines;
		else if (ret < 0) {
			forget(t, i);
			continue;
		}
		i++;
	}
	t->len = 0;
	t->lines = 0;
}

void vg_trace_line(struct vg_trace *t, const char *text, size_t len)
{
	if (len + 1 > sizeof(t->buf))
		return;
	if (t->len + len + 1 > sizeof(t->buf))
		vg_trace_flush(t);
	memcpy(t->buf + t->len, text, len);
	t->buf[t->len + len] = '\n';
	t->len += len + 1;
	t->lines++;
}

void vg_trace_close(struct vg_trace *t)
{
	vg_trace_flush(t);
	while (t->n)
		close(t->to[--t->n].fd);
}
