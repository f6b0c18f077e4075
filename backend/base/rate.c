// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rate.c - see rate.h
 *
 * A bucket that several draw from without a lock: kept is not how many units are
 * left but when all that were taken will be paid for at the rate that is set (the
 * generic cell rate algorithm, ITU-T I.371). While that lies further ahead than the
 * burst lasts, nothing is taken. Whoever takes more than is left has taken it, and
 * everybody waits longer: the average is right, whatever the size of what is taken.
 */
#include "backend/base/rate.h"

#include "backend/base/container.h"

/* Further ahead than this nobody looks: 30 years. */
#define FAR ((double)(1LL << 60))

static int64_t price(uint64_t units, uint64_t per_s)
{
	double ns = (double)units * NS_PER_S / (double)per_s;

	return (int64_t)(ns < FAR ? ns : FAR);
}

void vg_rate_set(struct vg_rate *r, uint64_t per_s, int64_t burst)
{
	atomic_store(&r->due, 0);
	atomic_store(&r->burst, burst);
	atomic_store(&r->per_s, per_s);
}

int64_t vg_rate_wait(const struct vg_rate *r, int64_t now)
{
	int64_t ahead;

	if (!vg_rate_on(r))
		return 0;
	ahead = atomic_load(&r->due) - now - atomic_load(&r->burst);
	return ahead > 0 ? ahead : 0;
}

void vg_rate_take(struct vg_rate *r, uint64_t units, int64_t now)
{
	uint64_t rate = atomic_load_explicit(&r->per_s, memory_order_relaxed);
	int64_t due = atomic_load(&r->due), next;

	if (!rate)
		return;
	do {
		next = (due > now ? due : now);
		next = next < INT64_MAX / 2 ? next + price(units, rate) : next;
	} while (!atomic_compare_exchange_weak(&r->due, &due, next));
}

void vg_rate_give_back(struct vg_rate *r, uint64_t units)
{
	uint64_t rate = atomic_load_explicit(&r->per_s, memory_order_relaxed);

	if (rate)
		atomic_fetch_sub(&r->due, price(units, rate));
}
