/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pace.h - how many requests a queue should gather before it is notified
 *
 * Each notification is a hypercall of one side and an interrupt of the other,
 * and a queue that is looked at too early finds few requests. With EVENT_IDX a
 * device can ask to be notified only when several have come. What is right
 * depends on how many the driver has out, which nobody tells; so it is tried:
 *
 *	all came before the time was over	ask for half as many again
 *	the time was over			ask for what came, less a sixteenth,
 *						and for no more for a while
 *	one or none came			ask for each: the queue is not busy
 *
 * A queue becomes busy when VG_PACE_START requests are found at once, or twice
 * as many are under way. One that is not busy waits for nothing: a driver with
 * a request or two out never pays. A busy one waits for at most the time that
 * its owner sets a timer to.
 */
#ifndef VG_PACE_H
#define VG_PACE_H

#define VG_PACE_START 4u
#define VG_PACE_CALM  64u /* times that it stays as it is after the time was over */

struct vg_pace {
	unsigned ahead; /* ask for a notification at the ahead-th request; 0 and 1: at each */
	unsigned taken; /* since it was last set */
	unsigned calm;	/* times left */
};

/**
 * vg_pace_took - @n requests were taken; @inflight are under way, these included
 * @max: largest number to ask for
 */
static inline void vg_pace_took(struct vg_pace *p, unsigned n, unsigned inflight, unsigned max)
{
	p->taken += n;
	if (p->ahead > 1) {
		if (n >= p->ahead) {
			if (p->calm)
				p->calm--;
			else
				p->ahead += p->ahead / 2;
			p->taken = 0;
		}
	} else if (n >= VG_PACE_START || inflight >= 2 * VG_PACE_START) {
		p->ahead = VG_PACE_START;
		p->taken = 0;
	}
	if (p->ahead > max)
		p->ahead = max;
}

/** vg_pace_expired - the time is over; what is there was taken */
static inline void vg_pace_expired(struct vg_pace *p)
{
	p->ahead = p->taken - p->taken / 16;
	p->taken = 0;
	p->calm = VG_PACE_CALM;
}

#endif /* VG_PACE_H */
