/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * helper.h - what processes beside a device's worker have alike: a socket to the supervisor
 */
#ifndef VG_WORKER_HELPER_H
#define VG_WORKER_HELPER_H

#include <stdbool.h>

#include "backend/base/loop.h"
#include "backend/worker/ipc.h"

/* Embed it; set what is above the line, and sock; the rest is zero. */
struct vg_helper {
	/* SETUP: open all, and give up privileges. What OPENED tells goes into @answer.
	 * Return: 0, or negative errno with a sentence, and the process ends. */
	int (*setup)(struct vg_helper *h, const struct vg_ipc *m, struct vg_ipc *answer,
		     struct vg_err *err);
	/* OPENED is said. NULL allowed. */
	void (*opened)(struct vg_helper *h);
	/* Another message, once it is open. Return: whether @fd, -1 or a descriptor, is taken. */
	bool (*heard)(struct vg_helper *h, const struct vg_ipc *m, int fd);
	/* ---- */
	int sock; /* to the supervisor (ipc.h) */
	bool open, ending;
	struct vg_loop *loop; /* of vg_helper_run(); NULL: it waits in its own way */
	struct vg_watch watch;
	bool something; /* sock has something */
};

/** vg_helper_begin - signals are as a helper has them: it ends when the supervisor says so */
void vg_helper_begin(void);

/** vg_helper_hear - all that the supervisor has said; @h->ending: it wants no more */
void vg_helper_hear(struct vg_helper *h);

/** vg_helper_loop - @h->loop of @entries, which setup() enables with the sandbox. Return: 0 or negative errno. */
int vg_helper_loop(struct vg_helper *h, unsigned entries);

/** vg_helper_run - until it ends; needs vg_helper_loop(). Return: the process's exit status. */
int vg_helper_run(struct vg_helper *h);

#endif /* VG_WORKER_HELPER_H */
