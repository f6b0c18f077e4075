// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tracer.c - `vgrant trace` and `vgrant capture`: from a worker to a client of the control socket
 *
 * Each trace has a socket pair of its own. The worker gets one end (trace.h), and
 * the supervisor passes on what comes out of the other, packet by packet. When
 * the worker ends, its end closes; the trace waits and goes on with the next one.
 *
 * Nothing here waits for the client: a line that it does not take is dropped, and
 * control.c tells it how many were. What the worker, whom a guest may have taken
 * over, writes is text for people: it is cut into lines, and nothing more.
 *
 * Packets (capture.h) are too many for that: the client brings a socket, of which each
 * worker gets a copy, and nothing of it passes through here.
 */
#include "backend/daemon/tracer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/capture.h"
#include "backend/base/trace.h"
#include "backend/virtio/device.h"
#include "backend/worker/ipc.h"

enum { TURN = 64 /* packets of one turn of the loop: the supervisor has other work */ };

struct vg_tracer {
	struct vg_tracer *next; /* of all->first */
	struct vg_tracers *all;
	struct vg_control_req *req;
	int packets; /* the client's socket, ours to close; -1: it is lines that it wants */
	int fd;	     /* for lines; -1: no worker now */
	struct vg_watch watch;
	struct vg_deferred more;
};

static void disconnect(struct vg_tracer *t)
{
	if (t->fd < 0)
		return;
	vg_loop_unwatch(&t->watch);
	vg_loop_undefer(t->all->loop, &t->more);
	/* Said in so many words: the loop's unfinished poll may hold the socket a while longer, and
	 * the worker must know by the time that it gets the next one. */
	shutdown(t->fd, SHUT_RDWR);
	close(t->fd);
	t->fd = -1;
}

/* One packet: some lines. */
static void pass_on(struct vg_tracer *t, char *text)
{
	char *save, *line = strtok_r(text, "\n", &save);

	for (; line; line = strtok_r(NULL, "\n", &save))
		vg_control_line(t->req, line);
}

static void drain(struct vg_tracer *t)
{
	char text[VG_TRACE_PACKET + 1];
	ssize_t n;

	for (unsigned i = 0; i < TURN; i++) {
		n = recv(t->fd, text, sizeof(text) - 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			disconnect(t);
			return;
		}
		text[n] = '\0';
		pass_on(t, text);
	}
	vg_loop_defer(t->all->loop, &t->more);
}

static void ready(struct vg_watch *w, unsigned events)
{
	(void)events;
	drain(container_of(w, struct vg_tracer, watch));
}

static void drain_more(struct vg_deferred *d)
{
	drain(container_of(d, struct vg_tracer, more));
}

/* Give the worker its end. Without one the trace waits for the next. */
static void connect_one(struct vg_tracer *t)
{
	const struct vg_ipc m = { .type = VG_IPC_TRACE };
	const struct vg_tracers *ts = t->all;
	int pair[2];

	if (t->packets >= 0) {
		const struct vg_ipc packets = { .type = VG_IPC_CAPTURE };

		/* A worker that cannot be told is at its end: there will be another. */
		if (ts->sock >= 0)
			vg_ipc_send(ts->sock, &packets, t->packets);
		return;
	}
	disconnect(t);
	if (ts->sock < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return;
	t->fd = pair[0];
	if (vg_ipc_send(ts->sock, &m, pair[1]) == 0) {
		vg_loop_watch(ts->loop, &t->watch, t->fd);
	} else {
		close(t->fd);
		t->fd = -1;
	}
	close(pair[1]);
}

void vg_tracers_init(struct vg_tracers *ts, struct vg_loop *loop)
{
	*ts = (struct vg_tracers){ .loop = loop, .sock = -1 };
}

void vg_tracers_connect(struct vg_tracers *ts, int sock)
{
	ts->sock = sock;
	for (struct vg_tracer *t = ts->first; t; t = t->next)
		connect_one(t);
}

/* @t is in no list any more. */
static void end(struct vg_tracer *t)
{
	disconnect(t);
	if (t->packets >= 0)
		close(t->packets);
	vg_control_ok(t->req);
	free(t);
}

static void client_gone(void *arg)
{
	struct vg_tracer *t = arg;
	struct vg_tracer **p = &t->all->first;

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	end(t);
}

void vg_tracers_end(struct vg_tracers *ts)
{
	struct vg_tracer *t;

	while ((t = ts->first)) {
		ts->first = t->next;
		end(t);
	}
}

static unsigned count(const struct vg_tracers *ts, bool packets)
{
	unsigned i = 0;

	for (const struct vg_tracer *t = ts->first; t; t = t->next)
		i += (t->packets >= 0) == packets;
	return i;
}

/* @packets: as in the structure; the callee's if 0 is returned. Return: 0, or negative errno with a
 * sentence. */
static int start(struct vg_tracers *ts, struct vg_control_req *req, int packets, struct vg_err *err)
{
	struct vg_tracer *t = calloc(1, sizeof(*t));

	if (!t)
		return vg_fail(err, -ENOMEM, "out of memory");
	t->all = ts;
	t->req = req;
	t->packets = packets;
	t->fd = -1;
	t->watch.ready = ready;
	t->more.run = drain_more;
	t->next = ts->first;
	ts->first = t;
	vg_control_on_gone(req, client_gone, t);
	connect_one(t);
	return 0;
}

void vg_tracer_start(struct vg_tracers *ts, const char *device, struct vg_control_req *req)
{
	const struct vg_device_ops *ops = vg_device_find(device);
	struct vg_err err;
	int ret;

	if (!ops || !ops->traces)
		ret = vg_fail(&err, -EOPNOTSUPP, "a %s device has nothing to trace", device);
	else if (count(ts, false) == VG_TRACE_MAX)
		ret = vg_fail(&err, -EBUSY, "%d traces of it run already: end one", VG_TRACE_MAX);
	else
		ret = start(ts, req, -1, &err);
	if (ret < 0)
		vg_control_fail(req, ret, &err);
}

/* A worker gets it: so it must be one that reaches nobody but whoever has the other end. */
static bool is_packets(int fd)
{
	int type = 0, domain = 0;
	socklen_t len = sizeof(int);

	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       type == SOCK_SEQPACKET && domain == AF_UNIX;
}

void vg_tracer_capture(struct vg_tracers *ts, const char *device, struct vg_control_req *req,
		       int fd)
{
	const struct vg_device_ops *ops = vg_device_find(device);
	struct vg_err err;
	int ret;

	if (!ops || !ops->capture)
		ret = vg_fail(&err, -EOPNOTSUPP, "no packets pass through a %s device", device);
	else if (!is_packets(fd))
		ret = vg_fail(&err, -EINVAL,
			      "\"capture\" needs a packet socket that comes with the request");
	else if (count(ts, true) == VG_CAPTURE_MAX)
		ret = vg_fail(&err, -EBUSY, "%d captures of it run already: end one",
			      VG_CAPTURE_MAX);
	else
		ret = start(ts, req, fd, &err);
	if (ret == 0)
		return;
	if (fd >= 0)
		close(fd);
	vg_control_fail(req, ret, &err);
}
