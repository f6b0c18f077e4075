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
#include "backend/ports/vhost_user/vhost_user.h"
#include "backend/virtio/port.h"
#include "backend/worker/worker.h"

struct socket_worker {
	struct vg_worker w;
	const struct vg_socket_worker_config *config;
	struct vg_watch accept_watch, life_watch;
	struct vg_vu *vu;
	struct vg_vu_xen *xen;
	struct vg_timer again; /* listen again, after accept(2) failed */
	struct vg_wait quiet;
	bool ending; /* becoming quiet */
	int result;
};

static struct socket_worker *of(struct vg_worker *w)
{
	return container_of(w, struct socket_worker, w);
}

static void has_become_quiet(struct vg_wait *wait)
{
	container_of(wait, struct socket_worker, quiet)->w.ending = true;
}

/* Finish what is in flight, and be no more. */
static void end(struct socket_worker *w, int result)
{
	if (w->ending)
		return;
	w->ending = true;
	w->result = result;
	vg_vu_quiesce(w->vu, &w->quiet);
}

static void listen_again(struct socket_worker *w)
{
	if (!w->accept_watch.tether)
		vg_loop_watch(w->w.loop, &w->accept_watch, w->config->listen);
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
		vg_loop_timer(w->w.loop, &w->again, NS_PER_S);
		return;
	}
	vg_info("a front-end has connected");
	vg_worker_reply(&w->w, VG_IPC_CONNECTED, 0, NULL);
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
	vg_worker_reply(&w->w, VG_IPC_DISCONNECTED, error, NULL);
	if (w->config->listen < 0)
		end(w, 1);
	else if (w->xen && w->xen->kept && w->config->ipc < 0)
		end(w, 2);
	else if (!w->ending)
		listen_again(w);
}

/* What was asked for, terminals, or the end. */
static void life_ready(struct vg_watch *watch, unsigned events)
{
	struct socket_worker *w = container_of(watch, struct socket_worker, life_watch);
	struct vg_ipc m;
	int fd, ret;

	(void)events;
	while ((ret = vg_ipc_recv(w->config->life, &m, &fd)) == 1) {
		if (m.type == VG_IPC_GIVEN)
			vg_worker_given(&w->w, &m, fd);
		else if (m.type == VG_IPC_TERMINAL || m.type == VG_IPC_MEMORY)
			vg_worker_terminal(&w->w, &m, fd);
		if (fd >= 0)
			close(fd);
	}
	if (ret == -EAGAIN)
		return;
	vg_loop_unwatch(watch);
	end(w, 0);
}

/* Counters go where the supervisor sees them; a predecessor's are carried on. Nobody is served before
 * that: no context counts yet. */
static void recorded(struct socket_worker *w)
{
	struct vg_dev *dev = &w->w.dev;

	dev->stats = vg_record_stats(&w->w.rec);
	for (unsigned q = 0; q < dev->n_queues; q++)
		dev->queue[q].stats = vg_record_queue_stats(&w->w.rec, q);
	vg_record_offered(&w->w.rec, vg_dev_offered(dev));
	listen_again(w);
}

static void show(struct vg_worker *worker, struct vg_wait *done)
{
	struct socket_worker *w = of(worker);

	if (w->w.rec.base)
		vg_vu_show(w->vu, &w->w.rec, done);
	else
		done->done(done);
}

/* Everything that needs privileges. */
static int open_all(struct socket_worker *w, struct vg_err *err)
{
	const struct vg_socket_worker_config *c = w->config;
	const struct vg_vu_events events = { .gone = front_end_gone, .owner = w };
	struct vg_vu_options options = { .in_band = c->in_band,
					 .no_packed = c->no_packed,
					 .bounce_bytes = c->bounce_bytes };
	int ret;

	if (c->xen) {
		ret = vg_vu_xen_open(&w->xen, err);
		if (ret < 0)
			return ret;
		options.xen = w->xen;
	}
	ret = vg_worker_open(&w->w, c->spec, err);
	return ret < 0 ? ret : vg_vu_new(&w->w.dev, &options, &events, &w->vu, err);
}

static void heard(struct vg_worker *worker, const struct vg_ipc *m, int fd)
{
	struct socket_worker *w = of(worker);

	if (!m || m->type == VG_IPC_QUIESCE)
		end(w, 0);
	else if (m->type == VG_IPC_RECORD && vg_worker_record(worker, fd))
		recorded(w);
}

/* ---- life --------------------------------------------------------------- */

static int begin(struct socket_worker *w, struct vg_err *err)
{
	const struct vg_socket_worker_config *c = w->config;
	const struct vg_sandbox_needs *const needs[] = { &vg_vu_needs,
							 c->xen ? &vg_vu_xen_needs : NULL, NULL };
	int ret = vg_worker_init(&w->w, c->ipc, err);

	w->w.heard = heard;
	w->w.show = show;
	if (c->ipc < 0)
		w->w.ask = c->life;
	if (ret == 0)
		ret = open_all(w, err);
	if (ret == 0)
		ret = vg_worker_enter(&w->w, &c->sandbox, needs, err);
	if (ret < 0)
		return ret;
	if (c->life >= 0)
		vg_loop_watch(w->w.loop, &w->life_watch, c->life);
	vg_worker_opened(&w->w);
	if (c->listen >= 0 && c->ipc < 0)
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
	w->life_watch.ready = life_ready;
	w->again.expired = accept_again;
	w->quiet.done = has_become_quiet;
	signal(SIGPIPE, SIG_IGN);
	ret = begin(w, err);
	if (ret < 0)
		vg_worker_reply(&w->w, VG_IPC_FAILED, ret, err->text);
	if (ret == 0 && vg_worker_run(&w->w) < 0)
		ret = -EIO;
	vg_loop_timer_stop(&w->again);
	vg_loop_unwatch(&w->accept_watch);
	vg_loop_unwatch(&w->life_watch);
	if (w->w.opened)
		vg_dev_threads_end(&w->w.dev);
	vg_vu_free(w->vu);
	vg_worker_fini(&w->w);
	vg_vu_xen_close(w->xen);
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
	config.bounce_bytes = m.setup.budget.bounce_bytes;
	return vg_socket_worker_run(&config, &err) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
