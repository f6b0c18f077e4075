// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * socket_worker.c - see socket_worker.h
 *
 *	open device and port, with privileges
 *	enter the sandbox
 *	a front-end connects -> serve it until it hangs up -> the next one
 *
 * One front-end at a time: while one is there the others wait in the socket's
 * backlog. Between two of them nothing of the guest's is kept but what lies in
 * the guest's memory and in the in-flight record, which the front-end keeps.
 */
#include "backend/worker/socket_worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/virtio/device.h"
#include "backend/worker/ipc.h"
#include "backend/ports/vhost_user/vhost_user.h"
#include "backend/ports/record.h"
#include "backend/worker/grant_worker.h"

enum { LOOP_ENTRIES = 256 };

struct socket_worker {
	const struct vg_socket_worker_config *config;
	struct vg_loop *loop;
	struct vg_watch accept_watch, life_watch;
	struct vg_dev dev;
	struct vg_vu *vu;
	struct vg_vu_xen *xen;
	struct vg_timer tick;
	struct vg_timer again; /* listen again, after accept(2) failed */
	struct vg_watch ipc_watch;
	struct vg_record_map rec;
	bool heard; /* the supervisor's socket has something */
	bool ending;
	int result;
};

static void end(struct socket_worker *w, int result)
{
	w->ending = true;
	w->result = result;
}

static void tell(struct socket_worker *w, uint32_t type, int error, const char *text)
{
	if (w->config->ipc >= 0)
		vg_worker_reply(w->config->ipc, type, error, text);
}

static void tell_opened(struct socket_worker *w)
{
	struct vg_ipc m = { .type = VG_IPC_OPENED };

	m.opened.virtio_id = w->dev.ops->virtio_id;
	vg_record_shape_of(&w->dev, &m.opened.shape);
	if (w->config->ipc >= 0)
		vg_ipc_send(w->config->ipc, &m, -1);
}

static void listen_again(struct socket_worker *w)
{
	if (!w->accept_watch.tether)
		vg_loop_watch(w->loop, &w->accept_watch, w->config->listen);
}

static void accept_ready(struct vg_watch *watch, unsigned events)
{
	struct socket_worker *w = container_of(watch, struct socket_worker, accept_watch);
	int fd = accept4(w->config->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0 && errno == EAGAIN)
		return;
	vg_loop_unwatch(watch);
	if (fd < 0) {
		vg_error("a front-end cannot be accepted: %s", strerror(errno));
		vg_loop_timer(w->loop, &w->again, NS_PER_S);
		return;
	}
	vg_info("a front-end has connected");
	tell(w, VG_IPC_CONNECTED, 0, NULL);
	vg_vu_serve(w->vu, fd);
}

static void accept_again(struct vg_timer *t)
{
	listen_again(container_of(t, struct socket_worker, again));
}

static void front_end_gone(void *owner, int error)
{
	struct socket_worker *w = owner;

	if (error < 0)
		vg_warn("hung up on the front-end: %s", strerror(-error));
	else
		vg_info("the front-end has hung up");
	tell(w, VG_IPC_DISCONNECTED, error, NULL);
	if (w->config->listen < 0)
		end(w, 1);
	else
		listen_again(w);
}

static void life_over(struct vg_watch *watch, unsigned events)
{
	struct socket_worker *w = container_of(watch, struct socket_worker, life_watch);

	(void)events;
	vg_loop_unwatch(watch);
	end(w, 0);
}

static void tick(struct vg_timer *t)
{
	struct socket_worker *w = container_of(t, struct socket_worker, tick);

	w->dev.ops->tick(&w->dev);
	vg_loop_timer(w->loop, t, NS_PER_S);
}

/* Counters go where the supervisor sees them; a predecessor's are carried on. */
static void recorded(struct socket_worker *w, int fd)
{
	struct vg_record_shape shape;
	int ret;

	if (w->rec.base)
		return;
	vg_record_shape_of(&w->dev, &shape);
	ret = fd < 0 ? -EBADF : vg_record_open(fd, &shape, &w->rec);
	if (ret < 0) {
		vg_error("the record cannot be mapped: %s", strerror(-ret));
		end(w, 0);
		return;
	}
	vg_dev_stats_add(vg_record_stats(&w->rec), &w->dev.own_stats);
	w->dev.stats = vg_record_stats(&w->rec);
	vg_vu_show(w->vu, &w->rec);
}

/* Everything that needs privileges. */
static int open_all(struct socket_worker *w, struct vg_err *err)
{
	const struct vg_socket_worker_config *c = w->config;
	const struct vg_vu_events events = { .gone = front_end_gone, .owner = w };
	struct vg_vu_options options = { .in_band = c->in_band, .no_packed = c->no_packed };
	const struct vg_device_ops *ops;
	struct vg_params params;
	int ret = vg_params_parse(c->spec, &params, err);

	if (ret < 0)
		return ret;
	ops = vg_device_find(params.device);
	if (!ops)
		return vg_fail(err, -EINVAL, "there is no device '%s': --help lists them",
			       params.device);
	if (c->xen) {
		ret = vg_vu_xen_open(&w->xen, err);
		if (ret < 0)
			return ret;
		options.xen = w->xen;
	}
	ret = vg_dev_open(&w->dev, ops, w->loop, &params, err);
	if (ret < 0)
		return ret;
	ret = vg_vu_new(&w->dev, &options, &events, &w->vu, err);
	if (ret < 0)
		ops->close(&w->dev);
	return ret;
}

/* ---- the supervisor ----------------------------------------------------- */

static void ipc_ready(struct vg_watch *watch, unsigned events)
{
	struct socket_worker *w = container_of(watch, struct socket_worker, ipc_watch);

	w->heard = true;
	if (!(events & POLLIN))
		vg_loop_unwatch(watch);
}

/* Between turns of the loop, never from within one: as in worker.c. */
static void hear(struct socket_worker *w)
{
	struct vg_ipc m;
	int fd = -1;
	int ret;

	w->heard = false;
	while (!w->ending && (ret = vg_ipc_recv(w->config->ipc, &m, &fd)) != -EAGAIN) {
		if (ret <= 0 || m.type == VG_IPC_QUIESCE) {
			end(w, 0);
		} else if (m.type == VG_IPC_RECORD) {
			recorded(w, fd);
		} else {
			if (w->rec.base)
				vg_vu_show(w->vu, &w->rec);
			vg_worker_answer(w->config->ipc, &w->dev, &m, fd);
		}
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
}

static int enter_sandbox(struct socket_worker *w, struct vg_err *err)
{
	const struct vg_sandbox_needs *needs[4] = { &vg_vu_needs };
	unsigned n = 1;

	if (w->dev.ops->needs)
		needs[n++] = w->dev.ops->needs;
	if (w->xen)
		needs[n++] = &vg_vu_xen_needs;
	return vg_sandbox_enter(&w->config->sandbox, needs, err);
}

/* ---- life --------------------------------------------------------------- */

static int begin(struct socket_worker *w, struct vg_err *err)
{
	const struct vg_socket_worker_config *c = w->config;
	int ret = vg_loop_new_disabled(LOOP_ENTRIES, &w->loop);

	if (ret < 0)
		return vg_fail(err, ret,
			       ret == -EPERM ? "io_uring is not permitted: set sysctl "
					       "kernel.io_uring_disabled to 0"
					     : "io_uring cannot be set up: %s",
			       strerror(-ret));
	ret = open_all(w, err);
	if (ret < 0)
		return ret;
	ret = enter_sandbox(w, err);
	if (ret < 0)
		return ret;
	if (w->dev.ops->tick) {
		w->tick.expired = tick;
		vg_loop_timer(w->loop, &w->tick, NS_PER_S);
	}
	if (c->life >= 0)
		vg_loop_watch(w->loop, &w->life_watch, c->life);
	if (c->ipc >= 0)
		vg_loop_watch(w->loop, &w->ipc_watch, c->ipc);
	tell_opened(w);
	if (c->listen >= 0)
		listen_again(w);
	if (c->conn >= 0)
		vg_vu_serve(w->vu, c->conn);
	return 0;
}

int vg_socket_worker_run(const struct vg_socket_worker_config *config, struct vg_err *err)
{
	struct socket_worker *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return vg_fail(err, -ENOMEM, "out of memory");
	w->config = config;
	w->accept_watch.ready = accept_ready;
	w->life_watch.ready = life_over;
	w->again.expired = accept_again;
	w->ipc_watch.ready = ipc_ready;
	signal(SIGPIPE, SIG_IGN);
	ret = begin(w, err);
	if (ret < 0)
		tell(w, VG_IPC_FAILED, ret, err->text);
	while (ret == 0 && !w->ending) {
		ret = vg_loop_turn(w->loop, true) < 0 ? -EIO : 0;
		if (w->heard)
			hear(w);
		vg_trace_flush(&w->dev.trace);
	}
	if (w->vu) {
		vg_vu_quiesce(w->vu);
		vg_vu_free(w->vu);
		w->dev.ops->close(&w->dev);
		vg_trace_close(&w->dev.trace);
	}
	vg_record_close(&w->rec);
	vg_vu_xen_close(w->xen);
	vg_loop_free(w->loop);
	if (ret == 0)
		ret = w->result;
	free(w);
	return ret;
}

int vg_socket_worker_main(int sock, int listen)
{
	struct vg_socket_worker_config config = {
		.listen = listen, .conn = -1, .life = -1, .ipc = sock
	};
	struct pollfd p = { .fd = sock, .events = POLLIN };
	struct vg_err err = { "" };
	struct vg_ipc m;

	/* A terminal's ^C goes to the whole group; the supervisor decides when a worker ends. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	if (vg_ipc_recv(sock, &m, NULL) != 1 || m.type != VG_IPC_SETUP)
		return EXIT_FAILURE;
	vg_log_init((enum vg_log_target)m.setup.log_target, (enum vg_log_level)m.setup.log_level,
		    m.setup.who);
	config.spec = m.setup.spec;
	config.sandbox = m.setup.sandbox;
	return vg_socket_worker_run(&config, &err) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
