// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * worker.c - see worker.h
 *
 * The supervisor's messages are handled between turns of the loop, never from
 * within one: a device that is told something finds its queues at rest, or at work,
 * but not in the middle of a request.
 */
#include "backend/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/schedule.h"
#include "backend/virtio/port.h"
#include "backend/worker/sandbox.h"

enum { LOOP_ENTRIES = 256 };

/* ---- opening ------------------------------------------------------------ */

static void sock_ready(struct vg_watch *watch, unsigned events)
{
	struct vg_worker *w = container_of(watch, struct vg_worker, watch);

	w->something = true;
	if (!(events & POLLIN))
		vg_loop_unwatch(watch);
}

static void tick(struct vg_timer *t)
{
	struct vg_worker *w = container_of(t, struct vg_worker, tick);
	const struct vg_ipc quiesce = { .type = VG_IPC_QUIESCE };

	w->dev.ops->tick(&w->dev);
	if (w->dev.outdated && w->sock >= 0 && !w->ending)
		w->heard(w, &quiesce, -1);
	else
		vg_loop_timer(w->loop, t, NS_PER_S);
}

static int ask(struct vg_dev_lender *lender, const char *what, bool write)
{
	const struct vg_worker *w = container_of(lender, struct vg_worker, lender);

	return w->ask < 0 ? -ENOTCONN : vg_ipc_ask(w->ask, what, write);
}

int vg_worker_init(struct vg_worker *w, int sock, struct vg_err *err)
{
	int ret;

	memset(w, 0, sizeof(*w));
	w->sock = w->ask = sock;
	w->lender.ask = ask;
	w->watch.ready = sock_ready;
	w->tick.expired = tick;
	ret = vg_loop_new_disabled(LOOP_ENTRIES, &w->loop);
	if (ret < 0)
		return vg_fail(err, ret,
			       ret == -EPERM ? "io_uring is not permitted: set sysctl "
					       "kernel.io_uring_disabled to 0"
					     : "io_uring cannot be set up: %s",
			       strerror(-ret));
	if (sock >= 0)
		vg_loop_watch(w->loop, &w->watch, sock);
	return 0;
}

int vg_worker_open(struct vg_worker *w, const char *spec, struct vg_err *err)
{
	const struct vg_device_ops *ops;
	int ret = vg_params_parse(spec, &w->params, err);

	if (ret < 0)
		return ret;
	ops = vg_device_of(&w->params);
	if (!ops)
		return vg_fail(err, -EINVAL, "there is no device '%s': `vgrant help` lists them",
			       w->params.device);
	ret = vg_schedule_apply(&w->params, err);
	if (ret < 0)
		return ret;
	ret = vg_dev_open(&w->dev, ops, w->loop, vg_loop_new_disabled, &w->params, err);
	w->opened = ret == 0;
	w->dev.lender = &w->lender;
	return ret;
}

int vg_worker_enter(struct vg_worker *w, const struct vg_sandbox *sb,
		    const struct vg_sandbox_needs *const *port, struct vg_err *err)
{
	const struct vg_sandbox_needs *needs[4] = { NULL };
	struct vg_sandbox of_it = *sb;
	unsigned n = 0;
	int ret;

	while (n < 2 && port[n]) {
		needs[n] = port[n];
		n++;
	}
	needs[n] = w->dev.ops->needs; /* NULL: the list ends here */
	of_it.file_bytes = w->dev.file_bytes;
	ret = vg_sandbox_isolate(&of_it, needs, err);
	if (ret == 0)
		ret = vg_dev_threads(&w->dev, err);
	if (ret == 0)
		ret = vg_sandbox_restrict(&of_it, needs, err);
	if (ret == 0)
		ret = vg_dev_probe(&w->dev, &w->params, err);
	if (ret == 0 && w->dev.ops->tick)
		vg_loop_timer(w->loop, &w->tick, NS_PER_S);
	return ret;
}

void vg_worker_opened(struct vg_worker *w)
{
	struct vg_ipc m = { .type = VG_IPC_OPENED };

	if (w->sock < 0)
		return;
	m.opened.virtio_id = w->dev.virtio_id;
	vg_record_shape_of(&w->dev, &m.opened.shape);
	vg_ipc_send(w->sock, &m, -1);
}

bool vg_worker_record(struct vg_worker *w, int fd)
{
	struct vg_record_shape shape;
	int ret;

	if (w->rec.base)
		return false;
	vg_record_shape_of(&w->dev, &shape);
	ret = fd < 0 ? -EBADF : vg_record_open(fd, &shape, &w->rec);
	if (ret == 0)
		return true;
	vg_error("the record cannot be mapped: %s", strerror(-ret));
	w->ending = true;
	return false;
}

/* ---- the supervisor ----------------------------------------------------- */

void vg_worker_reply(struct vg_worker *w, uint32_t type, int error, const char *text)
{
	struct vg_ipc m = { .type = type, .error = error };

	if (w->sock < 0)
		return;
	if (text)
		snprintf(m.text, sizeof(m.text), "%s", text);
	vg_ipc_send(w->sock, &m, -1);
}

static void describe(struct vg_wait *wait)
{
	struct vg_worker *w = container_of(wait, struct vg_worker, shown);
	struct vg_ipc answer = { .type = VG_IPC_DESCRIPTION };
	struct vg_ipc trouble = { .type = VG_IPC_TROUBLE };

	if (w->dev.ops->trouble) {
		w->dev.ops->trouble(&w->dev, trouble.text, sizeof(trouble.text));
		vg_ipc_send(w->sock, &trouble, -1);
	}
	if (w->dev.ops->describe)
		w->dev.ops->describe(&w->dev, answer.text, sizeof(answer.text));
	for (; w->describing; w->describing--)
		vg_ipc_send(w->sock, &answer, -1);
}

static void set(struct vg_worker *w, const struct vg_ipc *m)
{
	struct vg_dev *dev = &w->dev;
	struct vg_err err = { "" };
	int ret;

	ret = dev->ops->set ? dev->ops->set(dev, m->set.key, m->set.value, &err)
			    : vg_fail(&err, -EOPNOTSUPP,
				      "a running %s device has nothing that can be changed",
				      dev->ops->name);
	vg_worker_reply(w, VG_IPC_SET_DONE, ret, err.text);
}

void vg_worker_given(struct vg_worker *w, const struct vg_ipc *m, int fd)
{
	int ret = m->error < 0 ? m->error : fd < 0 ? -EPROTO : fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (w->dev.ops->given)
		w->dev.ops->given(&w->dev, m->given.what, ret < 0 && !m->error ? -errno : ret,
				  m->given.why);
	else if (ret >= 0)
		close(ret);
}

static void peer(struct vg_worker *w, const struct vg_ipc *m, int sock)
{
	const struct vg_device_ops *ops = w->dev.ops;

	sock = sock < 0 ? -1 : fcntl(sock, F_DUPFD_CLOEXEC, 0);
	if (sock >= 0 && m->peer.draws && ops->renderer)
		ops->renderer(&w->dev, sock, &m->peer.capsets);
	else if (sock >= 0 && !m->peer.draws && ops->peer)
		ops->peer(&w->dev, sock);
	else if (sock >= 0)
		close(sock);
}

void vg_worker_terminal(struct vg_worker *w, const struct vg_ipc *m, int fd)
{
	const struct vg_device_ops *ops = w->dev.ops;

	fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0 && m->type == VG_IPC_TERMINAL && ops->terminal)
		ops->terminal(&w->dev, m->terminal.index, fd);
	else if (fd >= 0 && m->type == VG_IPC_MEMORY && ops->memory)
		ops->memory(&w->dev, fd);
	else if (fd >= 0)
		close(fd);
}

static void handle(struct vg_worker *w, const struct vg_ipc *m, int fd)
{
	switch (w->opened ? m->type : 0) {
	case VG_IPC_DESCRIBE:
		if (w->describing++)
			break;
		w->shown.done = describe;
		w->show(w, &w->shown);
		break;
	case VG_IPC_SET:
		set(w, m);
		break;
	case VG_IPC_GIVEN:
		vg_worker_given(w, m, fd);
		break;
	case VG_IPC_TRACE:
		if (fd >= 0)
			vg_trace_add(&w->dev.trace, fcntl(fd, F_DUPFD_CLOEXEC, 0));
		break;
	case VG_IPC_PEER:
		peer(w, m, fd);
		break;
	case VG_IPC_TERMINAL:
	case VG_IPC_MEMORY:
		vg_worker_terminal(w, m, fd);
		break;
	case VG_IPC_CAPTURE:
		if (fd >= 0 && w->dev.ops->capture)
			w->dev.ops->capture(&w->dev, fcntl(fd, F_DUPFD_CLOEXEC, 0));
		break;
	default:
		w->heard(w, m, fd);
		break;
	}
}

void vg_worker_hear(struct vg_worker *w)
{
	struct vg_ipc m;
	int fd = -1;
	int ret;

	w->something = false;
	while (!w->ending && (ret = vg_ipc_recv(w->sock, &m, &fd)) != -EAGAIN) {
		if (ret <= 0) {
			vg_loop_unwatch(&w->watch);
			w->heard(w, NULL, -1);
			return;
		}
		handle(w, &m, fd);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
}

/* ---- life --------------------------------------------------------------- */

int vg_worker_run(struct vg_worker *w)
{
	int ret = 0;

	while (ret >= 0 && !w->ending) {
		ret = vg_loop_turn(w->loop, true);
		if (w->something)
			vg_worker_hear(w);
		vg_trace_flush(&w->dev.trace);
	}
	return ret < 0 ? ret : 0;
}

void vg_worker_fini(struct vg_worker *w)
{
	vg_loop_timer_stop(&w->tick);
	vg_loop_unwatch(&w->watch);
	if (w->opened)
		vg_dev_close(&w->dev);
	vg_record_close(&w->rec);
	vg_loop_free(w->loop);
	w->loop = NULL;
}
