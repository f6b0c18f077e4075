// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virt.c - see virt.h
 *
 * vgrant-libvirt lies beside vgrantd. Where it does not (it is packaged on its own, for it alone
 * needs libvirt's library), or its library does not, vgrantd runs without. One that ended is
 * started again, ever more slowly, whether it said a word or not: a library that is installed
 * later is found, and one that was killed in its first moment is not given up. That it has ended is
 * seen by its socket; it is reaped with the workers (vg_children_reap()).
 */
#include "backend/daemon/virt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/daemon/beside.h"

/*
 * Seconds: between two starts of what has worked, and of what never said a word, which is most
 * likely not installed whole; and how long it runs before it counts as well.
 */
enum { FREE_FD = 10, DELAY_MAX_S = 30, DELAY_MUTE_S = 300, WELL_S = 30 };

/* Return: our end of its socket, or negative errno. */
static int spawn(const char *path, const char *uri)
{
	char *argv[] = { (char *)(uintptr_t)path, (char *)(uintptr_t)uri, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int pair[2], theirs, ret;
	sigset_t none;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, FREE_FD);
	ret = theirs < 0 ? errno : 0;
	close(pair[1]);
	if (ret == 0) {
		sigemptyset(&none);
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_adddup2(&actions, theirs, VG_VIRT_SOCK);
		posix_spawnattr_init(&attr);
		posix_spawnattr_setsigmask(&attr, &none);
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
		ret = posix_spawn(&pid, path, &actions, &attr, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
		posix_spawnattr_destroy(&attr);
		close(theirs);
	}
	if (ret == 0)
		return pair[0];
	close(pair[0]);
	return -ret;
}

/* later() - start it again, in p->delay_s, of which the sentence has told */
static void later(struct vg_virt_process *p, unsigned max_s)
{
	vg_loop_timer(p->virt.loop, &p->again, p->delay_s * NS_PER_S);
	p->delay_s = p->delay_s * 2 < max_s ? p->delay_s * 2 : max_s;
}

static void start(struct vg_virt_process *p)
{
	char path[PATH_MAX];
	int ret = vg_beside("vgrant-libvirt", path, sizeof(path));
	int sock;

	if (ret < 0) {
		vg_info("guests of libvirt's are not looked for: %s: %s",
			ret == -ENOENT ? "vgrant-libvirt is not installed" : path, strerror(-ret));
		return;
	}
	sock = spawn(path, p->settings->libvirt);
	p->started = vg_loop_now(p->virt.loop);
	if (sock < 0) {
		vg_error("%s cannot be started: %s; tried again in %u s", path, strerror(-sock),
			 p->delay_s);
		later(p, DELAY_MAX_S);
		return;
	}
	vg_virt_serve(&p->virt, sock);
}

static void again_expired(struct vg_timer *t)
{
	start(container_of(t, struct vg_virt_process, again));
}

static void lost(void *ctx, bool heard)
{
	struct vg_virt_process *p = ctx;

	if (p->stopping)
		return;
	if (vg_loop_now(p->virt.loop) - p->started >= WELL_S * NS_PER_S)
		p->delay_s = 1;
	if (heard)
		vg_error("vgrant-libvirt has ended and is started again in %u s", p->delay_s);
	else
		vg_error("vgrant-libvirt has ended without a word (is libvirt's library "
			 "installed? apt install libvirt0): guests of libvirt's have no devices of "
			 "ours. It is started again in %u s, or at SIGHUP; libvirt = off in "
			 "vgrantd.conf does without",
			 p->delay_s);
	later(p, heard ? DELAY_MAX_S : DELAY_MUTE_S);
}

static void changed(void *ctx, const char *uuid)
{
	struct vg_virt_process *p = ctx;

	p->delay_s = 1;
	vg_guests_changed(p->toolstack, uuid);
}

void vg_virt_start(struct vg_virt_process *p, struct vg_loop *loop, struct vg_toolstack *toolstack,
		   const struct vg_settings *settings)
{
	*p = (struct vg_virt_process){
		.virt = { .loop = loop, .changed = changed, .lost = lost, .ctx = p },
		.toolstack = toolstack,
		.settings = settings,
		.again.expired = again_expired,
		.delay_s = 1,
	};
	vg_virt_init(&p->virt);
	if (strcmp(settings->libvirt, "off") == 0)
		return;
	vg_toolstack_add_source(toolstack, &vg_virt_source, &p->virt);
	start(p);
}

void vg_virt_retry(struct vg_virt_process *p)
{
	if (!p->virt.loop || p->virt.sock >= 0 || strcmp(p->settings->libvirt, "off") == 0)
		return;
	vg_loop_timer_stop(&p->again);
	start(p);
}

void vg_virt_stop(struct vg_virt_process *p)
{
	if (!p->virt.loop)
		return;
	p->stopping = true;
	vg_loop_timer_stop(&p->again);
	vg_virt_free(&p->virt);
}
