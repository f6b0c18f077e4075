/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fakexend.c - a fake Xen world for a shell
 *
 *	fakexend DIR COMMAND [ARGUMENT...]
 *
 * Makes a world in DIR, runs COMMAND in it (FAKE_XEN_DIR is set) and removes
 * the world when COMMAND ends. Exits with COMMAND's status.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fakes/xen/fake_xen.h"

int main(int argc, char **argv)
{
	struct fx_world *w;
	int rc, status;
	pid_t pid;

	if (argc < 3) {
		fprintf(stderr, "usage: fakexend DIR COMMAND [ARGUMENT...]\n");
		return 2;
	}
	rc = fx_world_start(argv[1], &w);
	if (rc) {
		fprintf(stderr, "fakexend: cannot make a world in %s: %s\n", argv[1],
			strerror(-rc));
		return 1;
	}
	pid = fork();
	if (!pid) {
		execvp(argv[2], argv + 2);
		fprintf(stderr, "fakexend: cannot run %s: %s\n", argv[2], strerror(errno));
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		status = 1 << 8;
	fx_world_stop(w);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
