/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * child_log.h - what a process of ours says on stderr when the log is a file
 *
 * A terminal, a pipe or the journal takes lines and nothing else. A file can be
 * written anywhere, cut and punched by everybody who has it open for writing, and
 * io_uring's restrictions cannot tell one descriptor of a process from another:
 * a worker that serves files could wipe the log. So it never gets a log that is a
 * file, but a pipe, and the supervisor appends what comes out of it.
 */
#ifndef VG_CHILD_LOG_H
#define VG_CHILD_LOG_H

#include <stdbool.h>

#include "backend/base/loop.h"

/* Embed it; zeroed: there is none. */
struct vg_child_log {
	bool piped;		 /* there is a pipe */
	int fd;			 /* our end of it */
	struct vg_loop *loop;	 /* that reads it */
	struct vg_watch watch;	 /* of fd */
	struct vg_deferred more; /* there may be more than one turn should take */
};

/**
 * vg_child_log_pipe - the pipe of a process that is about to be started
 * @fds: set to our end, for vg_child_log_begin(), and to the end that the process is to have as its
 *	stderr, the caller's to close; both -1: the log is no file, and stderr stays as it is
 *
 * Return: 0, or negative errno.
 */
int vg_child_log_pipe(int fds[2]);

/** vg_child_log_begin - copy from @fd, which @l owns from now on, to stderr, in @loop; @fd -1: nothing */
void vg_child_log_begin(struct vg_child_log *l, struct vg_loop *loop, int fd);

/** vg_child_log_end - copy what the process has left, which is dead, and close */
void vg_child_log_end(struct vg_child_log *l);

#endif /* VG_CHILD_LOG_H */
