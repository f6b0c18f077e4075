// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * grant_worker.c - see worker.h
 *
 *	SETUP: open device and port, with privileges
 *	       enter the sandbox
 *	       OPENED
 *	CONNECT, DISCONNECT, ...: as the supervisor sees the guest come and go
 *	the supervisor hangs up: end, and leave all to a successor
 *
 * The supervisor's messages are handled between turns of the loop, never from
 * within one: stopping a device turns the loop itself.
 *
 * A supervisor that dies closes the socket. The worker then finishes what is in
 * flight and ends; the next supervisor starts another, which resumes.
 */
#include "backend/worker/grant_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/virtio/device.h"
#include "backend/worker/ipc.h"
#include "backend/ports/grant/grant.h"
#include "backend/ports/record.h"

enum { LOOP_ENTRIES = 256 };

struct worker {
	int sock;
	struct vg_loop *loop;
	struct vg_watch watch;
	bool heard; /* the supervisor's socket has something */
	bool ending;
	struct vg_dev dev;
	struct vg_grant_port *port;
	struct vg_record_map rec;
	struct vg_timer tick;
};

void vg_worker_reply(int sock, uint32_t type, int error, const char *text)
{
	struct vg_ipc m = { .type = type, .error = error };

	if (text)
		snprintf(m.text, sizeof(m.text), "%s", text);
	vg_ipc_send(sock, &m, -1);
}

void vg_worker_answer(int sock, struct vg_dev *dev, const struct vg_ipc *m, int fd)
{
	struct vg_ipc answer = { .type = VG_IPC_DESCRIPTION };
	struct vg_err err = { "" };
	int ret;

	switch (m->type) {
	case VG_IPC_DESCRIBE:
		if (dev->ops->describe)
			dev->ops->describe(dev, answer.text, sizeof(answer.text));
		vg_ipc_send(sock, &answer, -1);
		break;
	case VG_IPC_SET:
		ret = dev->ops->set ? dev->ops->set(dev, m->set.key, m->set.value, &err)
				    : vg_fail(&err, -EOPNOTSUPP,
					      "a running %s device has nothing that can be changed",
					      dev->ops->name);
		vg_worker_reply(sock, VG_IPC_SET_DONE, ret, err.text);
		break;
	case VG_IPC_TRACE:
		if (fd >= 0)
			vg_trace_add(&dev->trace, fcntl(fd, F_DUPFD_CLOEXEC, 0));
		break;
	}
}

static void reply(struct worker *w, uint32_t type, int error, const char *text)
{
	vg_worker_reply(w->sock, type, error, text);
}

static void control_page_broken(void *owner, const char *why)
{
	struct worker *w = owner;

	reply(w, VG_IPC_BROKEN, -EPROTO, why);
}

static void tick(struct vg_timer *t)
{
	struct worker *w = container_of(t, struct worker, tick);

	w->dev.ops->tick(&w->dev);
	vg_loop_timer(w->loop, t, NS_PER_S);
}

/* Everything that needs privileges, then the sandbox. */
static int open_all(struct worker *w, const struct vg_ipc *m, struct vg_err *err)
{
	const struct vg_sandbox_needs *needs[3] = { &vg_grant_port_needs };
	const struct vg_grant_port_events events = { .broken = control_page_broken, .owner = w };
	const struct vg_device_ops *ops;
	struct vg_params params;
	int ret;

	ret = vg_params_parse(m->setup.spec, &params, err);
	if (ret < 0)
		return ret;
	ops = vg_device_find(params.device);
	if (!ops)
		return vg_fail(err, -EINVAL, "there is no device '%s': `vgrant help` lists them",
			       params.device);
	ret = vg_dev_open(&w->dev, ops, w->loop, &params, err);
	if (ret < 0)
		return ret;
	ret = vg_grant_port_new(&w->dev, m->setup.domid, &w->rec, &events, &w->port, err);
	if (ret < 0)
		goto fail;
	if (ops->tick) {
		w->tick.expired = tick;
		vg_loop_timer(w->loop, &w->tick, NS_PER_S);
	}
	needs[1] = ops->needs;
	ret = vg_sandbox_enter(&m->setup.sandbox, needs, err);
	if (ret == 0)
		return 0;
	vg_grant_port_free(w->port);
	w->port = NULL;
fail:
	w->dev.ops->close(&w->dev);
	return ret;
}

/* The supervisor has made the record: from now on a successor could go on. */
static void recorded(struct worker *w, int fd)
{
	struct vg_record_shape shape;
	int ret;

	if (w->rec.base)
		return;
	vg_record_shape_of(&w->dev, &shape);
	ret = fd < 0 ? -EBADF : vg_record_open(fd, &shape, &w->rec);
	if (ret < 0) {
		vg_error("the record cannot be mapped: %s", strerror(-ret));
		w->ending = true;
		return;
	}
	vg_grant_port_recorded(w->port);
}

static void setup(struct worker *w, const struct vg_ipc *m)
{
	struct vg_ipc opened = { .type = VG_IPC_OPENED };
	struct vg_err err = { "" };
	int ret;

	vg_log_init((enum vg_log_target)m->setup.log_target, (enum vg_log_level)m->setup.log_level,
		    m->setup.who);
	ret = w->port ? vg_fail(&err, -EBUSY, "set up twice") : open_all(w, m, &err);
	if (ret < 0) {
		reply(w, VG_IPC_FAILED, ret, err.text);
		w->ending = true;
		return;
	}
	opened.opened.virtio_id = w->dev.ops->virtio_id;
	vg_record_shape_of(&w->dev, &opened.opened.shape);
	vg_ipc_send(w->sock, &opened, -1);
}

static void handle(struct worker *w, const struct vg_ipc *m, int fd)
{
	struct vg_err err = { "" };
	int ret;

	if (m->type == VG_IPC_SETUP) {
		setup(w, m);
		return;
	}
	if (!w->port)
		return;
	switch (m->type) {
	case VG_IPC_RECORD:
		recorded(w, fd);
		break;
	case VG_IPC_CONNECT:
		ret = vg_grant_port_connect(w->port, m->connect.control_ref, m->connect.channel,
					    m->connect.resume, &err);
		reply(w, ret < 0 ? VG_IPC_REFUSED : VG_IPC_CONNECTED, ret, err.text);
		break;
	case VG_IPC_DISCONNECT:
		vg_grant_port_disconnect(w->port);
		reply(w, VG_IPC_DISCONNECTED, 0, NULL);
		break;
	case VG_IPC_QUIESCE:
		w->ending = true;
		break;
	default:
		vg_grant_port_show(w->port);
		vg_worker_answer(w->sock, &w->dev, m, fd);
		break;
	}
}

static void hear(struct worker *w)
{
	struct vg_ipc m;
	int fd = -1;
	int ret;

	while (!w->ending && (ret = vg_ipc_recv(w->sock, &m, &fd)) != -EAGAIN) {
		if (ret <= 0) {
			w->ending = true;
			break;
		}
		handle(w, &m, fd);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
}

static void socket_ready(struct vg_watch *watch, unsigned events)
{
	struct worker *w = container_of(watch, struct worker, watch);

	w->heard = true;
	if (!(events & POLLIN))
		vg_loop_unwatch(watch);
}

int vg_worker_main(int sock)
{
	struct worker *w = calloc(1, sizeof(*w));
	struct vg_err err = { "" };
	int ret;

	if (!w)
		return EXIT_FAILURE;
	w->sock = sock;
	/* A terminal's ^C goes to the whole group; the supervisor decides when a worker ends. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	ret = vg_loop_new_disabled(LOOP_ENTRIES, &w->loop);
	if (ret < 0) {
		vg_fail(&err, ret,
			ret == -EPERM ? "io_uring is not permitted: set sysctl "
					"kernel.io_uring_disabled to 0"
				      : "io_uring cannot be set up: %s",
			strerror(-ret));
		reply(w, VG_IPC_FAILED, ret, err.text);
		free(w);
		return EXIT_FAILURE;
	}
	w->watch.ready = socket_ready;
	vg_loop_watch(w->loop, &w->watch, sock);
	/* The loop is enabled by the sandbox: SETUP is waited for without it. */
	while (!w->ending && !w->port) {
		struct pollfd p = { .fd = sock, .events = POLLIN };

		if (poll(&p, 1, -1) > 0)
			hear(w);
	}
	while (!w->ending) {
		w->heard = false;
		if (vg_loop_turn(w->loop, true) < 0)
			break;
		if (w->heard)
			hear(w);
		vg_trace_flush(&w->dev.trace);
	}
	if (w->port)
		vg_grant_port_quiesce(w->port);
	return EXIT_SUCCESS;
}
