/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pace.h - how many requests a queue should gather before it is notified
 *
 * Each notification is a hypercall of one side and an interrupt of the other,
 * and a queue that is looked at too early finds few requests. With EVENT_IDX a
 * device can ask to be notified only when several have come. What is right
 * depends on how many the driver has out, which nobody tells; so it is tried:
 *
 *	a queue that is not busy		after a while, ask for VG_PACE_PROBE; the while
 *						doubles with each time that is in vain
 *	all came before the time was over	try half as many again, or half as many again as the
 *						driver once had; if this failed before, after a
 *						while likewise
 *	the time was over in a try		what came is all that the driver has: ask for half
 *						of it, so that it makes the one half while the
 *						other is served
 *	the time was over			ask for what came
 *	less than VG_PACE_LEAST			ask for each: the queue is not busy
 *
 * With few out, gathering makes each side wait for the other: at a depth of 4, tests/bench/xen-blk
 * gave 0.95 of blkback's reads when each was served alone, 0.69 in pairs, and 0.44 in fours; at 32,
 * 1.19 alone, 1.22 in fours, 1.38 in eights, and 1.48 in sixteens.
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

#define VG_PACE_PROBE	 16u
#define VG_PACE_LEAST	 8u
#define VG_PACE_CALM	 8u    /* turns until the next try after one that failed, at first */
#define VG_PACE_CALM_MAX 4096u /* and at most */

/* Zero it: not busy. */
struct vg_pace {
	unsigned ahead;	 /* ask for a notification at the ahead-th request; 0 and 1: at each */
	unsigned worked; /* ahead before the try that goes on; 0: none does */
	unsigned depth;	 /* what came in a try that failed: all that the driver had; 0: not known */
	unsigned taken;	 /* since ahead was last set, or so many came */
	unsigned calm;	 /* turns left until the next try */
	unsigned patience; /* what to set calm to; 0: nothing was tried yet */
	int64_t since;	   /* ns: requests were last taken then; 0: never */
	int64_t gap;	   /* ns from one request to the next, of late; 0: not known */
};

static inline void vg_pace_measure(struct vg_pace *p, unsigned n, int64_t now, int64_t limit)
{
	int64_t gap = (now - p->since) / n;

	if (!p->since) {
		p->since = now;
		return;
	}
	if (gap > limit)
		gap = limit;
	p->gap = p->gap ? p->gap + (gap - p->gap) / 4 : gap;
	p->since = now;
}

/* As many came as were asked for. */
static inline void vg_pace_gathered(struct vg_pace *p)
{
	unsigned most = p->depth > p->ahead ? p->depth : p->ahead;

	if (p->worked) {
		p->patience = VG_PACE_CALM;
		p->depth = 0;
		most = p->ahead;
	}
	p->worked = 0;
	if (p->calm) {
		p->calm--;
	} else {
		p->worked = p->ahead;
		p->ahead = most + most / 2;
	}
}

/* The time was over before. */
static inline void vg_pace_failed(struct vg_pace *p)
{
	unsigned ahead = p->taken / 2;

	if (!p->worked) {
		ahead = p->taken;
		p->patience = VG_PACE_CALM;
	}
	p->calm = p->patience;
	if (p->patience < VG_PACE_CALM_MAX)
		p->patience *= 2;
	p->worked = 0;
	p->depth = p->taken;
	p->ahead = ahead < VG_PACE_LEAST ? 1 : ahead;
}

/* Some were found by a queue that asks for each. */
static inline void vg_pace_alone(struct vg_pace *p)
{
	if (!p->patience)
		p->calm = p->patience = VG_PACE_CALM;
	if (p->calm) {
		p->calm--;
		return;
	}
	p->worked = 1;
	p->ahead = VG_PACE_PROBE;
	p->depth = 0;
}

/**
 * vg_pace_took - @n requests were taken: all that were there
 * @max: largest number to ask for
 * @now: ns
 * @limit: ns; longest time that a request may wait
 * @late: the time of vg_pace_wait() was over
 *
 * Sets @p->ahead for what follows.
 */
static inline void vg_pace_took(struct vg_pace *p, unsigned n, unsigned max, int64_t now,
				int64_t limit, bool late)
{
	p->taken += n;
	if (n)
		vg_pace_measure(p, n, now, limit);
	if (p->ahead > 1) {
		if (n >= p->ahead)
			vg_pace_gathered(p);
		else if (late)
			vg_pace_failed(p);
		else
			return;
	} else if (n) {
		vg_pace_alone(p);
	}
	p->taken = 0;
	if (p->ahead > max)
		p->ahead = max;
}

/** vg_pace_wait - for how many ns to wait for @p->ahead requests; at most @limit */
static inline int64_t vg_pace_wait(const struct vg_pace *p, int64_t limit)
{
	int64_t ns = 4 * (int64_t)p->ahead * p->gap;

	return ns && ns < limit ? ns : limit;
}

#endif /* VG_PACE_H */
