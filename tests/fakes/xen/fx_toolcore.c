/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_toolcore.c - libxentoolcore: restricting all handles at once
 *
 * What it does to each kind of handle is what the real libraries of Xen 4.17
 * to 4.20 do, which is less than one hopes for (tools/libs in Xen's tree):
 *
 *	evtchn		the handle binds ports of that domain only from now on
 *	gnttab		dead: the descriptor becomes /dev/null. What is mapped
 *			stays mapped, but can be neither unmapped nor added to
 *	xenstore	dead, the same way
 */
#include "tests/fakes/xen/fx_internal.h"

#include <xentoolcore.h>

static pthread_mutex_t active_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fxi_active *active;

void fxi_active_add(struct fxi_active *a)
{
	pthread_mutex_lock(&active_lock);
	a->next = active;
	a->prev = &active;
	if (active)
		active->prev = &a->next;
	active = a;
	pthread_mutex_unlock(&active_lock);
}

void fxi_active_del(struct fxi_active *a)
{
	pthread_mutex_lock(&active_lock);
	*a->prev = a->next;
	if (a->next)
		a->next->prev = a->prev;
	pthread_mutex_unlock(&active_lock);
}

struct fxi_active *fxi_active_find(bool (*is)(const struct fxi_active *a, int fd), int fd)
{
	struct fxi_active *a;

	pthread_mutex_lock(&active_lock);
	for (a = active; a && !is(a, fd);)
		a = a->next;
	pthread_mutex_unlock(&active_lock);
	return a;
}

int xentoolcore_restrict_all(domid_t domid)
{
	struct fxi_active *a;
	int rc = 0;

	pthread_mutex_lock(&active_lock);
	for (a = active; a && !rc; a = a->next)
		rc = a->restrict_cb(a, domid);
	pthread_mutex_unlock(&active_lock);
	return rc;
}
