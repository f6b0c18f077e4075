/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rate.h - how many of something may be done a second, by several threads or processes together
 */
#ifndef VG_RATE_H
#define VG_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Shared by all who draw from it; may lie in memory that several processes have mapped. Zero: no
 * limit. */
struct vg_rate {
	_Atomic uint64_t per_s; /* units a second; 0: no limit */
	_Atomic int64_t burst;	/* ns worth of units that may be taken at once */
	_Atomic int64_t due;	/* ns: what was taken so far is paid for by then */
};

/** vg_rate_set - @per_s units a second, 0: no limit; @burst ns; what is owed is forgiven */
void vg_rate_set(struct vg_rate *r, uint64_t per_s, int64_t burst);

/** vg_rate_on - whether there is a limit: else the time need not be asked for */
static inline bool vg_rate_on(const struct vg_rate *r)
{
	return atomic_load_explicit(&r->per_s, memory_order_relaxed) != 0;
}

/** vg_rate_wait - for how many ns nothing may be taken; 0: go on. @now: ns, CLOCK_MONOTONIC */
int64_t vg_rate_wait(const struct vg_rate *r, int64_t now);

#define VG_RATE_PAUSE_NS 100000000

/** vg_rate_pause - who is to wait for @ns asks again after so long: the limit may be another by then */
static inline int64_t vg_rate_pause(int64_t ns)
{
	return ns < VG_RATE_PAUSE_NS ? ns : VG_RATE_PAUSE_NS;
}

/** vg_rate_take - @units were taken */
void vg_rate_take(struct vg_rate *r, uint64_t units, int64_t now);

/** vg_rate_give_back - @units of those that were taken just now were not used after all */
void vg_rate_give_back(struct vg_rate *r, uint64_t units);

#endif /* VG_RATE_H */
