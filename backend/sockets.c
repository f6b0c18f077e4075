// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sockets.c - see sockets.h
 *
 * Each device is this program again, as `vgrantd --vhost-user` (vhost_user_program.c):
 * it holds the socket and starts the sandboxed worker anew when that dies. So a
 * socket needs nothing of Xen, and vgrantd serves them on a host without Xen, too.
 * A vgrantd that dies takes them with it; the next one starts them again, and
 * front-ends that reconnect carry on.
 */
#include "backend/sockets.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int start(struct vg_sockets *s, unsigned i, const struct vg_settings *settings)
{
	const struct vg_settings_socket_device *d = &settings->sockets[i];
	char path[sizeof(settings->runtime_dir) + sizeof(d->name) + 8];
	const char *argv[16];
	posix_spawnattr_t attr;
	sigset_t none;
	unsigned n = 0;
	int ret;

	snprintf(path, sizeof(path), "%s/%s.sock", settings->runtime_dir, d->name);
	argv[n++] = "vgrantd";
	argv[n++] = "--vhost-user";
	argv[n++] = "--with-parent";
	argv[n++] = "--socket-path";
	argv[n++] = path;
	if (settings->log_target == VG_LOG_SYSLOG)
		argv[n++] = "--syslog";
	if (settings->log_level == VG_LOG_DEBUG)
		argv[n++] = "--verbose";
	if (!settings->sandbox)
		argv[n++] = "--no-sandbox";
	if (settings->user_is_set) {
		argv[n++] = "--user";
		argv[n++] = settings->user;
	}
	argv[n++] = "--";
	argv[n++] = d->spec;
	argv[n] = NULL;
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	ret = posix_spawn(&s->pid[i], "/proc/self/exe", NULL, &attr, (char *const *)(uintptr_t)argv,
			  environ);
	posix_spawnattr_destroy(&attr);
	return -ret;
}

void vg_sockets_start(struct vg_sockets *sockets, const struct vg_settings *settings)
{
	sockets->n = settings->n_sockets;
	for (unsigned i = 0; i < sockets->n; i++) {
		int ret = start(sockets, i, settings);

		if (ret < 0) {
			sockets->pid[i] = 0;
			vg_error("[vhost-user] %s cannot be started: %s", settings->sockets[i].name,
				 strerror(-ret));
		}
	}
}

bool vg_sockets_reaped(struct vg_sockets *sockets, const struct vg_settings *settings, pid_t pid,
		       int status)
{
	for (unsigned i = 0; i < sockets->n; i++) {
		if (sockets->pid[i] != pid)
			continue;
		sockets->pid[i] = 0;
		if (status)
			vg_error("[vhost-user] %s has ended: the lines above say why; restart "
				 "vgrantd "
				 "to try again",
				 settings->sockets[i].name);
		return true;
	}
	return false;
}

void vg_sockets_stop(struct vg_sockets *sockets)
{
	for (unsigned i = 0; i < sockets->n; i++) {
		if (sockets->pid[i])
			kill(sockets->pid[i], SIGTERM);
	}
	for (unsigned i = 0; i < sockets->n; i++) {
		while (sockets->pid[i] && waitpid(sockets->pid[i], NULL, 0) < 0 && errno == EINTR)
			;
		sockets->pid[i] = 0;
	}
}
