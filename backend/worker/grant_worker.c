// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * grant_worker.c - see grant_worker.h
 *
 *	SETUP: open device and port, with privileges
 *	       enter the sandbox
 *	       OPENED
 *	RECORD: where a successor finds what it must know
 *	CONNECT, DISCONNECT, ...: as the supervisor sees the guest come and go
 *	the supervisor hangs up: end, and leave all to a successor
 *
 * A supervisor that dies closes the socket. The worker then finishes what is in
 * flight and ends; the next supervisor starts another, which resumes.
 */
#include "backend/worker/grant_worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/ports/grant/grant.h"
#include "backend/worker/sandbox.h"
#include "backend/worker/worker.h"

struct grant_worker {
	struct vg_worker w;
	struct vg_grant_port *port;
	struct vg_wait left, quiet;
	bool leaving;
};

static struct grant_worker *of(struct vg_worker *w)
{
	return container_of(w, struct grant_worker, w);
}

/* ---- what the port says --------------------------------------------------- */

static void control_page_broken(void *owner, const char *why)
{
	struct grant_worker *g = owner;

	vg_worker_reply(&g->w, VG_IPC_BROKEN, -EPROTO, why);
}

static void connected(void *owner, int error, const char *text)
{
	struct grant_worker *g = owner;

	vg_worker_reply(&g->w, error < 0 ? VG_IPC_REFUSED : VG_IPC_CONNECTED, error, text);
}

static void disconnected(struct vg_wait *wait)
{
	struct grant_worker *g = container_of(wait, struct grant_worker, left);

	g->leaving = false;
	vg_worker_reply(&g->w, VG_IPC_DISCONNECTED, 0, NULL);
}

static void has_become_quiet(struct vg_wait *wait)
{
	container_of(wait, struct grant_worker, quiet)->w.ending = true;
}

static void show(struct vg_worker *w, struct vg_wait *done)
{
	vg_grant_port_show(of(w)->port, done);
}

/* ---- what the supervisor says ----------------------------------------------- */

/* Everything that needs privileges, then the sandbox. */
static int open_all(struct grant_worker *g, const struct vg_ipc *m, struct vg_err *err)
{
	const struct vg_sandbox_needs *const needs[] = { &vg_grant_port_needs, NULL };
	const struct vg_grant_port_events events = { .broken = control_page_broken,
						     .connected = connected,
						     .owner = g };
	int ret = vg_worker_open(&g->w, m->setup.spec, err);

	if (ret == 0 && m->setup.budget.host_bytes < g->w.dev.host_bytes)
		g->w.dev.host_bytes = m->setup.budget.host_bytes;
	if (ret == 0)
		ret = vg_grant_port_new(&g->w.dev, m->setup.domid, &m->setup.budget, &g->w.rec,
					&events, &g->port, err);
	if (ret == 0)
		ret = vg_worker_enter(&g->w, &m->setup.sandbox, needs, err);
	return ret;
}

static void setup(struct grant_worker *g, const struct vg_ipc *m)
{
	struct vg_err err = { "" };
	int ret;

	vg_log_init((enum vg_log_target)m->setup.log_target, (enum vg_log_level)m->setup.log_level,
		    m->setup.who);
	ret = g->w.opened ? vg_fail(&err, -EBUSY, "set up twice") : open_all(g, m, &err);
	if (ret < 0) {
		vg_worker_reply(&g->w, VG_IPC_FAILED, ret, err.text);
		g->w.ending = true;
		return;
	}
	vg_worker_opened(&g->w);
}

static void quiesce(struct grant_worker *g)
{
	if (g->port && g->w.rec.base)
		vg_grant_port_quiesce(g->port, &g->quiet);
	else
		g->w.ending = true;
}

static void heard(struct vg_worker *w, const struct vg_ipc *m, int fd)
{
	struct grant_worker *g = of(w);

	if (!m || m->type == VG_IPC_QUIESCE) {
		quiesce(g);
		return;
	}
	if (m->type == VG_IPC_SETUP) {
		setup(g, m);
		return;
	}
	if (!g->port)
		return;
	switch (m->type) {
	case VG_IPC_RECORD:
		if (vg_worker_record(w, fd))
			vg_grant_port_recorded(g->port);
		break;
	case VG_IPC_CONNECT:
		vg_grant_port_connect(g->port, m->connect.control_ref, m->connect.channel,
				      m->connect.resume);
		break;
	case VG_IPC_DISCONNECT:
		if (!g->leaving) {
			g->leaving = true;
			vg_grant_port_disconnect(g->port, &g->left);
		}
		break;
	}
}

int vg_grant_worker_main(int sock)
{
	struct grant_worker *g = calloc(1, sizeof(*g));
	struct vg_err err = { "" };
	int ret;

	if (!g)
		return EXIT_FAILURE;
	/* A terminal's ^C goes to the whole group; the supervisor decides when a worker ends. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	g->left.done = disconnected;
	g->quiet.done = has_become_quiet;
	ret = vg_worker_init(&g->w, sock, &err);
	g->w.heard = heard;
	g->w.show = show;
	if (ret < 0) {
		vg_worker_reply(&g->w, VG_IPC_FAILED, ret, err.text);
		free(g);
		return EXIT_FAILURE;
	}
	/* The loop is enabled by the sandbox: SETUP is waited for without it. */
	while (!g->w.ending && !g->port) {
		struct pollfd p = { .fd = sock, .events = POLLIN };

		if (poll(&p, 1, -1) > 0)
			vg_worker_hear(&g->w);
	}
	ret = vg_worker_run(&g->w);
	/* The process ends here: the kernel takes back what is left, threads included. */
	return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
