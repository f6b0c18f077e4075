// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * helper.c - see worker/helper.h
 */
#include "backend/worker/helper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/base/container.h"

void vg_helper_begin(void)
{
	/* A terminal's ^C goes to the whole group. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

static void setup(struct vg_helper *h, const struct vg_ipc *m)
{
	struct vg_ipc answer = { .type = VG_IPC_OPENED };
	struct vg_err err = { "" };
	int ret;

	vg_log_init((enum vg_log_target)m->setup.log_target, (enum vg_log_level)m->setup.log_level,
		    m->setup.who);
	ret = h->setup(h, m, &answer, &err);
	if (ret < 0) {
		answer = (struct vg_ipc){ .type = VG_IPC_FAILED, .error = ret };
		snprintf(answer.text, sizeof(answer.text), "%s", err.text);
		h->ending = true;
	}
	h->open = ret == 0;
	vg_ipc_send(h->sock, &answer, -1);
	if (h->open && h->opened)
		h->opened(h);
}

void vg_helper_hear(struct vg_helper *h)
{
	struct vg_ipc m;
	int fd = -1, ret;

	h->something = false;
	while (!h->ending && (ret = vg_ipc_recv(h->sock, &m, &fd)) != -EAGAIN) {
		if (ret <= 0 || m.type == VG_IPC_QUIESCE)
			h->ending = true;
		else if (m.type == VG_IPC_SETUP && !h->open)
			setup(h, &m);
		else if (h->open && h->heard(h, &m, fd))
			fd = -1;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
}

static void sock_ready(struct vg_watch *w, unsigned events)
{
	struct vg_helper *h = container_of(w, struct vg_helper, watch);

	h->something = true;
	if (!(events & POLLIN))
		vg_loop_unwatch(w);
}

int vg_helper_loop(struct vg_helper *h, unsigned entries)
{
	int ret = vg_loop_new_disabled(entries, &h->loop);

	if (ret < 0)
		return ret;
	h->watch.ready = sock_ready;
	vg_loop_watch(h->loop, &h->watch, h->sock);
	return 0;
}

int vg_helper_run(struct vg_helper *h)
{
	int ret = 0;

	/* The loop is enabled by the sandbox: SETUP is waited for without it. */
	while (!h->ending && !h->open) {
		struct pollfd p = { .fd = h->sock, .events = POLLIN };

		if (poll(&p, 1, -1) > 0)
			vg_helper_hear(h);
	}
	while (!h->ending && ret >= 0) {
		ret = vg_loop_turn(h->loop, true);
		if (h->something)
			vg_helper_hear(h);
	}
	/* The process ends behind this: the kernel takes back what is left. */
	return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
