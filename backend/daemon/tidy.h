/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tidy.h - what is run after a worker, so that nothing of it is left on the host
 *
 * A device may have something done before its worker gives up its rights that does not end with the
 * worker: its interface has a port of a switch, set up by a script. The device says what undoes it
 * (vg_device_ops.afterwards), and here it is run: when the worker has ended, be it by SIGKILL; and
 * for a vgrantd that was killed by the next one, which finds a note of it in the runtime folder.
 * Whoever needs the same name waits meanwhile.
 */
#ifndef VG_TIDY_H
#define VG_TIDY_H

#include <stdbool.h>
#include <sys/types.h>

#include "backend/base/log.h"
#include "backend/base/loop.h"

struct vg_tidy;

/* All of them. The owner fills in the first three. */
struct vg_tidies {
	struct vg_loop *loop;
	int dir; /* that notes are kept in, as NAME.tidy; -1: none are */
	void (*ended)(struct vg_tidies *all); /* one that ran is done. NULL allowed. */
	bool stopping;
	struct vg_tidy *first;
};

/**
 * vg_tidy_new - a worker of this configuration is about to be started
 * @spec: completed, as the worker gets it
 * @out: gets the owner's, or NULL: nothing will have to be done
 *
 * Return: 0; -EINPROGRESS: what was run after another worker has not ended yet: soon; -EBUSY: the
 * name is another worker's, or something else's; or negative errno; all with a sentence.
 */
int vg_tidy_new(struct vg_tidies *all, const char *spec, struct vg_tidy **out, struct vg_err *err);

/** vg_tidy_run - its worker has ended; @t is @all's from now on */
void vg_tidy_run(struct vg_tidy *t);

/** vg_tidy_drop - there was no worker after all */
void vg_tidy_drop(struct vg_tidy *t);

/** vg_tidies_left - run what notes of another vgrantd say; at the start */
void vg_tidies_left(struct vg_tidies *all);

/** vg_tidies_reaped - the process @pid has ended. Return: whether it was one of ours. */
bool vg_tidies_reaped(struct vg_tidies *all, pid_t pid, int status);

/** vg_tidies_stop - hurry: those that run, and what is run from now on */
void vg_tidies_stop(struct vg_tidies *all);

/** vg_tidies_busy - is there one that runs? */
bool vg_tidies_busy(const struct vg_tidies *all);

/** vg_tidies_free - forget them; notes stay */
void vg_tidies_free(struct vg_tidies *all);

#endif /* VG_TIDY_H */
