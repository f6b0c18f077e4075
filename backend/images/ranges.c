// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ranges.c - writes that must not overlap, see raw.h
 *
 * One list of all writes under way or waiting, in the order in which they came. A
 * write begins when no earlier one overlaps it, unless neither of the two is
 * exclusive. So nobody waits for ever: the first of the list waits for none. Used
 * only for images whose disk has larger blocks than the guest was told, so that a
 * walk along the list for each write is no loss to others.
 */
#include "backend/images/raw.h"

void vg_ranges_init(struct vg_ranges *rs)
{
	pthread_mutex_init(&rs->lock, NULL);
	rs->first = rs->last = NULL;
}

static bool may_begin(const struct vg_range *r)
{
	for (const struct vg_range *e = r->prev; e; e = e->prev) {
		if ((e->exclusive || r->exclusive) && e->start < r->end && r->start < e->end)
			return false;
	}
	return true;
}

bool vg_range_enter(struct vg_ranges *rs, struct vg_range *r)
{
	bool begin;

	pthread_mutex_lock(&rs->lock);
	r->next = NULL;
	r->prev = rs->last;
	if (rs->last)
		rs->last->next = r;
	else
		rs->first = r;
	rs->last = r;
	begin = may_begin(r);
	r->waiting = !begin;
	pthread_mutex_unlock(&rs->lock);
	return begin;
}

void vg_range_leave(struct vg_ranges *rs, struct vg_range *r)
{
	pthread_mutex_lock(&rs->lock);
	if (r->prev)
		r->prev->next = r->next;
	else
		rs->first = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else
		rs->last = r->prev;
	for (struct vg_range *e = r->next; e; e = e->next) {
		if (!e->waiting || !may_begin(e))
			continue;
		e->waiting = false;
		vg_loop_post(e->loop, &e->post);
	}
	pthread_mutex_unlock(&rs->lock);
}
