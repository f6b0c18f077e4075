// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ticks.c - see ticks.h
 *
 * How fast the counter counts is measured against CLOCK_MONOTONIC, from the first look at both on:
 * until MEASURE_NS have passed the clock itself is asked.
 */
#include "backend/base/ticks.h"

#include <pthread.h>
#include <stdatomic.h>

#include "backend/base/container.h"
#include "backend/base/loop.h"

/* Two readings of both are some microseconds apart: a thousandth of that at most. */
enum { MEASURE_NS = 20000000 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int64_t first_ticks, first_ns;
static _Atomic double ns_per_tick; /* 0: not known yet */

static void begin(void)
{
	first_ticks = vg_ticks();
	first_ns = vg_now_ns();
}

static int64_t measure(void)
{
	int64_t ticks = vg_ticks() - first_ticks, ns = vg_now_ns() - first_ns;

	if (ns >= MEASURE_NS && ticks > 0)
		atomic_store_explicit(&ns_per_tick, (double)ns / (double)ticks,
				      memory_order_relaxed);
	return ns;
}

int64_t vg_span_ns(void)
{
	double rate = atomic_load_explicit(&ns_per_tick, memory_order_relaxed);

	if (rate > 0) /* what follows needs begin() to have been seen, and whoever stored it had */
		return (int64_t)((double)(vg_ticks() - first_ticks) * rate);
	pthread_once(&once, begin);
	return measure();
}
