// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * renderer.c - see worker/renderer.h
 *
 *	supervisor --- SETUP, PEER        OPENED: with what it can
 *	    |
 *	renderer ----- peer: the device's worker       renderers/renderer.h
 *
 * The GL is loaded first, for it is made of files; then privileges are given up, and only then the
 * device's first packet is read. There is one thread, which waits in poll(2) and nowhere else: what it
 * does for its guest it does at once, however long that takes. What takes too long its own alarm
 * ends, which also ends code in a loop, for it is a signal that kills.
 *
 * A packet that makes no sense ends the process: its worker checks what it sends. What a guest says
 * within a stream, the library refuses or not; it dies of it, or not. Nobody else is here.
 */
#include "backend/worker/renderer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/renderers/engine.h"
#include "backend/renderers/needs.h"
#include "backend/worker/helper.h"
#include "backend/worker/ipc.h"
#include "backend/worker/sandbox.h"

enum {
	UNSAID = 256,	 /* operations that were carried out and are not answered yet */
	FINISH_POLL = 1, /* ms: how often a GL that is at work is asked whether it has finished */
};

struct unsaid {
	struct vg_render_done done;
	bool later; /* when the GL has finished it */
};

struct renderer {
	struct vg_helper h;
	int peer;     /* to the device's worker; -1: there is none */
	bool greeted; /* the window is there */
	struct unsaid unsaid[UNSAID];
	unsigned first, n;
};

/* ---- what a guest may cost ------------------------------------------------ */

static void alarm_in(unsigned s)
{
	const struct itimerval t = { .it_value.tv_sec = (time_t)s };

	setitimer(ITIMER_REAL, &t, NULL);
}

/* ---- the device ------------------------------------------------------------- */

/* Memory that its maker can make shorter would kill who reads it. Return: whether it is the window. */
static bool map_window(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	uint8_t *p;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) < 0 ||
	    (uint64_t)st.st_size < VG_RENDER_WINDOW_BYTES)
		return false;
	p = mmap(NULL, VG_RENDER_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return false;
	vg_engine_window(p);
	return true;
}

static void add_unsaid(struct renderer *r, uint32_t seq, unsigned error, bool later)
{
	r->unsaid[(r->first + r->n++) % UNSAID] =
		(struct unsaid){ .done = { .seq = seq, .error = error }, .later = later };
}

/* Return: whether it made sense. @fd: the callee's. */
static bool run(struct renderer *r, const struct vg_render_op *op, int fd)
{
	bool ok = vg_render_ok(op) && r->greeted == (op->type != VG_RENDER_HELLO);
	bool later = false;
	unsigned error;

	if (ok && op->type == VG_RENDER_HELLO)
		ok = r->greeted = fd >= 0 && map_window(fd);
	else if (ok) {
		alarm_in(VG_RENDER_PATIENCE_S);
		error = vg_engine_run(op, &later);
		alarm_in(0);
		add_unsaid(r, op->seq, error, later);
	}
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Say what is done. Return: whether somebody is there to hear it. */
static bool say(struct renderer *r)
{
	bool heard = true;

	while (r->n && heard) {
		const struct unsaid *u = &r->unsaid[r->first];
		bool finished = true;

		if (u->later) {
			alarm_in(VG_RENDER_PATIENCE_S);
			finished = vg_engine_finished(u->done.seq);
			alarm_in(0);
		}
		if (!finished)
			break;
		heard = vg_render_send_done(r->peer, &u->done) == 0;
		r->first = (r->first + 1) % UNSAID;
		r->n--;
	}
	return heard;
}

static void peer_ready(struct renderer *r)
{
	struct vg_render_op op;
	int fd, ret = 1;

	while (ret == 1 && r->n < UNSAID) {
		ret = vg_render_recv(r->peer, &op, &fd);
		if (ret == 1 && !run(r, &op, fd)) {
			vg_error("its device talks nonsense (operation %u)", op.type);
			ret = 0;
		}
		if (!say(r))
			ret = 0;
	}
	/* It served one device, which it has had memory of. */
	if (ret != 1 && ret != -EAGAIN)
		r->h.ending = true;
}

/* ---- the supervisor ------------------------------------------------------------- */

static int setup(struct vg_helper *h, const struct vg_ipc *m, struct vg_ipc *answer,
		 struct vg_err *err)
{
	const struct vg_sandbox_needs *const all[] = { &vg_renderer_needs, NULL };
	int ret = vg_engine_open(&answer->peer.capsets, err);

	(void)h;
	return ret < 0 ? ret : vg_sandbox_enter(&m->setup.sandbox, all, err);
}

static bool heard(struct vg_helper *h, const struct vg_ipc *m, int fd)
{
	struct renderer *r = container_of(h, struct renderer, h);

	if (m->type != VG_IPC_PEER || fd < 0)
		return false;
	h->ending = r->peer >= 0; /* another device: for another renderer */
	if (!h->ending)
		r->peer = fd;
	return !h->ending;
}

int vg_renderer_main(int sock)
{
	static struct renderer r;

	vg_helper_begin();
	r = (struct renderer){ .h = { .setup = setup, .heard = heard, .sock = sock }, .peer = -1 };
	while (!r.h.ending) {
		struct pollfd p[] = { { .fd = sock, .events = POLLIN },
				      { .fd = r.peer, .events = POLLIN } };

		if (r.n == UNSAID)
			p[1].fd = -1;
		if (poll(p, COUNT(p), r.n ? FINISH_POLL : -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			vg_helper_hear(&r.h);
		if (!r.h.ending && r.n && !say(&r))
			r.h.ending = true;
		if (!r.h.ending && p[1].revents)
			peer_ready(&r);
	}
	/* No destructor of the GL's is of use to anybody. */
	_exit(EXIT_SUCCESS);
}
