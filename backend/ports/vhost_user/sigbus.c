// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sigbus.c - see vhost_user/sigbus.h
 *
 * The handler puts anonymous memory over the whole range, so that each range
 * costs one signal at most, and returns: the access is made again, and finds
 * zeros. It calls nothing but mmap(2). A SIGBUS elsewhere ends the process, as
 * it would have without us.
 */
#include "backend/ports/vhost_user/sigbus.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

volatile sig_atomic_t vg_sigbus_hits;

static struct vg_sigbus_guard *guards;

static bool patch(struct vg_sigbus_guard *g)
{
	int saved = errno;
	void *p = mmap(g->base, g->len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	errno = saved;
	g->hurt = 1;
	vg_sigbus_hits = 1;
	return p != MAP_FAILED;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	for (struct vg_sigbus_guard *g = guards; g; g = g->next) {
		if (at - (uintptr_t)g->base < g->len && !g->hurt && patch(g))
			return;
	}
	signal(sig, SIG_DFL); /* and the access is made again */
}

void vg_sigbus_guard(struct vg_sigbus_guard *g, void *base, size_t len)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	/* Each time: whoever else sets one meanwhile (a test's harness) would be in the way. */
	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, NULL);
	*g = (struct vg_sigbus_guard){ .next = guards, .pprev = &guards, .base = base, .len = len };
	if (guards)
		guards->pprev = &g->next;
	guards = g;
}

void vg_sigbus_unguard(struct vg_sigbus_guard *g)
{
	if (!g->pprev)
		return;
	*g->pprev = g->next;
	if (g->next)
		g->next->pprev = g->pprev;
	memset(g, 0, sizeof(*g));
}
