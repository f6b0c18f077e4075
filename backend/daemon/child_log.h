/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * child_log.h - what a process of ours says on stderr, by way of a pipe of its own
 *
 * Whoever has a file open for writing can write anywhere in it, cut it and punch it,
 * and io_uring's restrictions cannot tell one descriptor of a process from another: a
 * worker that serves files could wipe the log. A terminal is mostly open for reading,
 * too: what its user types could be taken, and what its user sees be changed. And
 * whoever may change an open file's flags changes them for all that share it. So a
 * process gets our stderr only where that takes bytes and nothing else, a pipe's end or
 * the journal's socket, and where the process may not change flags. Any other gets a
 * pipe, and the supervisor passes on what comes out of it: whole lines, without control
 * characters.
 */
#ifndef VG_CHILD_LOG_H
#define VG_CHILD_LOG_H

#include <stdbool.h>

#include "backend/base/loop.h"

/* ---- the pipe, for whoever waits for it by himself ------------------------ */

/* The supervisor's end. */
struct vg_log_pipe {
	int fd;	  /* -1: there is none */
	size_t n; /* bytes of a line that is not complete */
	char text[4096];
};

/**
 * vg_log_pipe_make - the pipe of a process that is about to be started
 * @flags: the process may change the flags of open files: no stderr of ours is for it
 * @l: our end of it, or, where it may have our stderr, none
 * @end: the end that the process is to have as its stderr, the caller's to close; -1: ours
 *
 * Return: 0, or negative errno.
 */
int vg_log_pipe_make(bool flags, struct vg_log_pipe *l, int *end);

/**
 * vg_log_pipe_copy - pass lines on, one read(2) of them; never waits
 *
 * Return: 1: there may be more; 0: not now: wait for input; -EAGAIN: stderr takes nothing now, try
 * again later; -EPIPE: nothing will come any more.
 */
int vg_log_pipe_copy(struct vg_log_pipe *l);

/** vg_log_pipe_end - pass on what the process has left, which is dead, and close */
void vg_log_pipe_end(struct vg_log_pipe *l);

/* ---- in a loop ------------------------------------------------------------ */

/* Embed it; zeroed: there is none. */
struct vg_child_log {
	struct vg_log_pipe pipe;
	struct vg_loop *loop;	 /* that reads it */
	struct vg_watch watch;	 /* of the pipe; its ready is NULL: there is none */
	struct vg_deferred more; /* there may be more than one turn should take */
	struct vg_timer later;	 /* stderr takes nothing now */
};

/** vg_child_log_begin - copy from @pipe, which @l owns from now on, in @loop; nothing if there is none */
void vg_child_log_begin(struct vg_child_log *l, struct vg_loop *loop,
			const struct vg_log_pipe *pipe);

/** vg_child_log_end - copy what the process has left, which is dead, and close */
void vg_child_log_end(struct vg_child_log *l);

#endif /* VG_CHILD_LOG_H */
