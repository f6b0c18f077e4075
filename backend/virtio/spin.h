/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spin.h - how long to look at a ring before asking to be notified
 *
 * A driver with one request out sends the next one when it has the answer, after a time that hardly
 * changes: that of its program. To be notified of it costs a hypercall there, an interrupt here, and
 * the way of a thread from its sleep to its ring, which is longer than the request takes. So the
 * ring is looked at instead, without a notification asked for, for as long as a request may be
 * expected: some times as long as answers lately took to be followed by one.
 *
 *	no longer than is worth it	a driver that takes longer than so many notifications
 *					would cost (vg_dev_patience()) is not waited for at all
 *	the time was over		then not the next time; in a row, for twice as many times
 *	somebody else wants to run	then not now (vg_loop_poll())
 *	a crowd				requests that gather are not looked at: see pace.h
 *
 * Times are those of vg_span_ns(): a clock that is a system call costs more than this saves.
 */
#ifndef VG_SPIN_H
#define VG_SPIN_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VG_SPIN_TIMES	 4
#define VG_SPIN_SKIP_MAX 256u

/* The user's word: see vg_dev_watch(). */
enum vg_spin_policy { VG_SPIN_OFF, VG_SPIN_AUTO, VG_SPIN_ALWAYS };

/** vg_spin_parse - off, auto or always. Return: 0 with @out, or -EINVAL. */
static inline int vg_spin_parse(const char *word, enum vg_spin_policy *out)
{
	static const char *const words[] = { "off", "auto", "always" };

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i]) != 0)
			continue;
		*out = (enum vg_spin_policy)i;
		return 0;
	}
	return -EINVAL;
}

/* Zero it: nothing is known. */
struct vg_spin {
	int64_t answered; /* when the driver had its last answer; 0: a request came since */
	int64_t reply;	  /* from there to its next request, of late; 0: not known */
	unsigned skip;	  /* times left that the ring is not looked at */
	unsigned penalty; /* what skip was last; 0: the last look found something */
};

/** vg_spin_answered - the driver has an answer at @now, and nothing of its is under way */
static inline void vg_spin_answered(struct vg_spin *s, int64_t now)
{
	s->answered = now;
}

/** vg_spin_came - a request came at @now; @max: as below */
static inline void vg_spin_came(struct vg_spin *s, int64_t now, int64_t max)
{
	int64_t took = now - s->answered;

	if (!s->answered || took < 0)
		return;
	if (took > 4 * max)
		took = 4 * max;
	s->reply = s->reply ? s->reply + (took - s->reply) / 4 : took;
	s->answered = 0;
}

/** vg_spin_found - a look found something */
static inline void vg_spin_found(struct vg_spin *s)
{
	s->penalty = 0;
}

/** vg_spin_missed - it found nothing in time, or had to end before */
static inline void vg_spin_missed(struct vg_spin *s)
{
	s->penalty = s->penalty ? 2 * s->penalty : 1;
	if (s->penalty > VG_SPIN_SKIP_MAX)
		s->penalty = VG_SPIN_SKIP_MAX;
	s->skip = s->penalty;
}

/** vg_spin_quick - whether looking lately found something, or nothing speaks against it; @max: as below */
static inline bool vg_spin_quick(const struct vg_spin *s, int64_t max)
{
	return s->reply && s->reply <= max && !s->penalty;
}

/** vg_spin_for - for how many ns to look now, at most @max; 0: do not */
static inline int64_t vg_spin_for(struct vg_spin *s, int64_t max)
{
	if (!s->reply || s->reply > max)
		return 0;
	if (s->skip) {
		s->skip--;
		return 0;
	}
	return VG_SPIN_TIMES * s->reply < max ? VG_SPIN_TIMES * s->reply : max;
}

#endif /* VG_SPIN_H */
