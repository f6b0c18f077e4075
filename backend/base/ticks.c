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
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#endif

#include "backend/base/container.h"

/* Two readings of both are some microseconds apart: a thousandth of that at most. */
enum { MEASURE_NS = 20000000 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int64_t first_ticks, first_ns;
static _Atomic double ns_per_tick; /* 0: not known yet */

int64_t vg_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* The counter, in units of its own. */
static int64_t counter(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return (int64_t)__rdtsc();
#elif defined(__aarch64__)
	int64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#else
	return vg_now_ns();
#endif
}

static void begin(void)
{
	first_ticks = counter();
	first_ns = vg_now_ns();
}

static int64_t measure(void)
{
	int64_t ticks = counter() - first_ticks, ns = vg_now_ns() - first_ns;

	if (ns >= MEASURE_NS && ticks > 0)
		atomic_store_explicit(&ns_per_tick, (double)ns / (double)ticks,
				      memory_order_relaxed);
	return ns;
}

int64_t vg_span_ns(void)
{
	double rate = atomic_load_explicit(&ns_per_tick, memory_order_relaxed);

	if (rate > 0) /* what follows needs begin() to have been seen, and whoever stored it had */
		return (int64_t)((double)(counter() - first_ticks) * rate);
	pthread_once(&once, begin);
	return measure();
}
