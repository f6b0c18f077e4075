/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - a program of the host's that is run, with a time limit and its own words on failure
 *
 * For what an administrator configures: the script that puts an interface where it belongs. Nothing
 * in a command comes from a guest.
 */
#ifndef VG_COMMAND_H
#define VG_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "backend/base/log.h"
#include "backend/base/params.h"

enum {
	VG_COMMAND_ARGS = 32,
	VG_COMMAND_ENV = 24,
	VG_COMMAND_TEXT = 3 * VG_PARAMS_LEN,
};

/* Pointers go into the struct: it must not be copied by assignment. */
struct vg_command {
	char name[32];			 /* of what it is about: an interface */
	char *argv[VG_COMMAND_ARGS + 1]; /* argv[0]: its path; ended by NULL */
	char *env[VG_COMMAND_ENV + 1];	 /* "NAME=VALUE"; ended by NULL */
	unsigned n_args, n_env;
	int input;     /* its stdin, which stays the caller's; -1: /dev/null */
	size_t used;   /* of text */
	bool too_much; /* something did not fit */
	char text[VG_COMMAND_TEXT];
};

/* One that was started. */
struct vg_command_run {
	pid_t pid;	/* of its process, which leads a group; 0: none */
	int fd;		/* its stderr; -1: closed */
	char tail[512]; /* the end of what it said */
	size_t n;
};

/**
 * vg_command_init - without arguments yet, and with PATH and LANG alone in its environment
 * @name: what it is about; copied, cut at 31 bytes
 * @path: absolute
 */
void vg_command_init(struct vg_command *c, const char *name, const char *path);

/** vg_command_arg, vg_command_env - one more; copied. What does not fit is told by the start. */
void vg_command_arg(struct vg_command *c, const char *arg);
void vg_command_env(struct vg_command *c, const char *name, const char *value);

/**
 * vg_command_start - a process of its own group, without descriptors of ours, in /
 * @run: for vg_command_ended(), also after a failure of the program
 *
 * It is killed when the thread that calls this ends. Return: 0, or negative errno with a sentence:
 * there is no process.
 */
int vg_command_start(const struct vg_command *c, struct vg_command_run *run, struct vg_err *err);

/**
 * vg_command_hear - take what it has said on stderr, without waiting, and not without end
 *
 * Return: false: it will say nothing more.
 */
bool vg_command_hear(struct vg_command_run *run);

/** vg_command_said - the last line that it has said on stderr; of a long one, its end */
void vg_command_said(struct vg_command_run *run, char *out, size_t size);

/** vg_command_end - ask it to end, and what it has started: SIGTERM */
void vg_command_end(const struct vg_command_run *run);

/** vg_command_kill - it, and what it has started and not put into another group */
void vg_command_kill(const struct vg_command_run *run);

/**
 * vg_command_ended - it was waited for: what came of it
 * @status: of waitpid(2)
 * @late_s: it was killed since it had not ended after so many seconds; 0: it was not
 *
 * Closes what is left of it. Return: 0: it ended with status 0; -ETIMEDOUT, or -EIO; with a sentence,
 * in which the last line of its stderr is.
 */
int vg_command_ended(const struct vg_command *c, struct vg_command_run *run, int status,
		     unsigned late_s, struct vg_err *err);

/**
 * vg_command_run - all of that, and wait for it
 * @limit_s: seconds that it may take; then it is killed
 *
 * Return: of vg_command_start(), or vg_command_ended().
 */
int vg_command_run(const struct vg_command *c, unsigned limit_s, struct vg_err *err);

#endif /* VG_COMMAND_H */
