/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pace.h - how many requests a queue should gather before it is notified
 *
 * Each notification is a hypercall of one side and an interrupt of the other,
 * and a queue that is looked at too early finds few requests. With EVENT_IDX a
 * device can ask to be notified only when several have come. What is right
 * depends on how many the driver has out, which nobody tells; so it is tried:
 *
 *	all came before the time was over	try half as many again; if this failed
 *						before, only after a while, which
 *						doubles with each failure
 *	the time was over in a try		ask for what worked until then
 *	the time was over			ask for what came, less a sixteenth
 *	one or none came			ask for each: the queue is not busy
 *
 * A queue becomes busy when VG_PACE_START requests are found at once, or twice
 * as many are under way. One that is not busy waits for nothing: a driver with
 * a request or two out never pays.
 *
 * A busy one waits for four times as long as so many lately took to come, and
 * never for longer than its owner allows, which is also the first wait, when
 * nothing is known. So a wait that is in vain, because
 * the driver has become idle or asked too much of, costs about as much as the
 * requests before it took, on a fast machine and on a slow one.
 */
#ifndef VG_PACE_H
#define VG_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define VG_PACE_START	 4u
#define VG_PACE_CALM	 8u    /* turns until the next try after one that failed, at first */
#define VG_PACE_CALM_MAX 4096u /* and at most */

/* Zero it: not busy. */
struct vg_pace {
	unsigned ahead;	   /* ask for a notification at the ahead-th request; 0 and 1: at each */
	unsigned worked;   /* ahead before the try that goes on; 0: none does */
	unsigned taken;	   /* since ahead was last set, or so many came */
	unsigned calm;	   /* turns left until the next try */
	unsigned patience; /* what to set calm to */
	int64_t since;	   /* ns: requests were last taken then */
	int64_t gap;	   /* ns from one request to the next, of late; 0: not known */
};

static inline void vg_pace_measure(struct vg_pace *p, unsigned n, int64_t now, int64_t limit)
{
	int64_t gap = (now - p->since) / n;

	if (gap > limit)
		gap = limit;
	p->gap = p->gap ? p->gap + (gap - p->gap) / 4 : gap;
	p->since = now;
}

/* As many came as were asked for. */
static inline void vg_pace_gathered(struct vg_pace *p)
{
	if (p->worked)
		p->patience = VG_PACE_CALM;
	p->worked = 0;
	if (p->calm) {
		p->calm--;
	} else {
		p->worked = p->ahead;
		p->ahead += p->ahead / 2;
	}
}

/* The time was over before. */
static inline void vg_pace_failed(struct vg_pace *p)
{
	if (p->worked) {
		p->ahead = p->worked;
		p->calm = p->patience;
		if (p->patience < VG_PACE_CALM_MAX)
			p->patience *= 2;
	} else {
		p->ahead = p->taken - p->taken / 16;
		p->calm = p->patience = VG_PACE_CALM;
	}
	p->worked = 0;
}

/**
 * vg_pace_took - @n requests were taken: all that were there
 * @inflight: under way, these included
 * @max: largest number to ask for
 * @now: ns
 * @limit: ns; longest time that a request may wait
 * @late: the time of vg_pace_wait() was over
 *
 * Sets @p->ahead for what follows.
 */
static inline void vg_pace_took(struct vg_pace *p, unsigned n, unsigned inflight, unsigned max,
				int64_t now, int64_t limit, bool late)
{
	p->taken += n;
	if (p->ahead > 1) {
		if (n)
			vg_pace_measure(p, n, now, limit);
		if (n >= p->ahead)
			vg_pace_gathered(p);
		else if (late)
			vg_pace_failed(p);
		else
			return;
	} else if (n >= VG_PACE_START || inflight >= 2 * VG_PACE_START) {
		*p = (struct vg_pace){ .ahead = VG_PACE_START,
				       .patience = VG_PACE_CALM,
				       .since = now };
	}
	p->taken = 0;
	if (p->ahead > max)
		p->ahead = max;
}

/** vg_pace_wait - for how many ns to wait for @p->ahead requests; at most @limit */
static inline int64_t vg_pace_wait(const struct vg_pace *p, int64_t limit)
{
	int64_t ns = 4 * (int64_t)(p->ahead > VG_PACE_START ? p->ahead : VG_PACE_START) * p->gap;

	return ns && ns < limit ? ns : limit;
}

#endif /* VG_PACE_H */
