// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events.c - see events.h
 *
 * What a listener does not take is dropped, and counted, by control.c: nobody waits for it.
 */
#include "backend/daemon/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct vg_listener {
	struct vg_listener *next;
	struct vg_events *all;
	struct vg_control_req *req;
	char *guest; /* NULL: all */
};

/* @l is in no list any more. */
static void end(struct vg_listener *l)
{
	l->all->n--;
	vg_control_ok(l->req);
	free(l->guest);
	free(l);
}

static void client_gone(void *arg)
{
	struct vg_listener *l = arg, **p = &l->all->first;

	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	end(l);
}

void vg_events_listen(struct vg_events *es, struct vg_control_req *req, const char *guest)
{
	struct vg_listener *l = es->n < VG_EVENTS_MAX ? calloc(1, sizeof(*l)) : NULL;
	struct vg_err err;

	if (l && guest)
		l->guest = strdup(guest);
	if (!l || (guest && !l->guest)) {
		free(l);
		vg_control_fail(req,
				es->n < VG_EVENTS_MAX
					? vg_fail(&err, -ENOMEM, "out of memory")
					: vg_fail(&err, -EBUSY,
						  "%d clients hear of events already: end one",
						  VG_EVENTS_MAX),
				&err);
		return;
	}
	l->all = es;
	l->req = req;
	l->next = es->first;
	es->first = l;
	es->n++;
	vg_control_on_gone(req, client_gone, l);
}

void vg_events_tell(struct vg_events *es, const struct vg_control_event *e)
{
	for (struct vg_listener *l = es->first; l; l = l->next) {
		if (!l->guest || vg_control_is_guest(l->guest, e->guest, e->domid))
			vg_control_event(l->req, e);
	}
}

void vg_events_end(struct vg_events *es)
{
	struct vg_listener *l;

	while ((l = es->first)) {
		es->first = l->next;
		end(l);
	}
}
