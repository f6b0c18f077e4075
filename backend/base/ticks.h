/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ticks.h - the processor's own counter of time, for spans of microseconds
 *
 * clock_gettime(2) is a system call where the clock is none that user space can read, as in a
 * PV domain of Xen's, whose clock source is "xen": as dear as what is to be measured. The counter is
 * one instruction everywhere. Only differences of one thread mean anything, and only such that are
 * not negative: on old machines the counters of two processors differ.
 */
#ifndef VG_TICKS_H
#define VG_TICKS_H

#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#elif !defined(__aarch64__)
#include <time.h>
#endif

/**
 * vg_span_ns - nanoseconds since the first call, by the counter
 *
 * For spans: as exact as the counter's rate was measured, to a thousandth or so. Any thread.
 */
int64_t vg_span_ns(void);

/** vg_ticks - the counter now, in units of its own */
static inline int64_t vg_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return (int64_t)__rdtsc();
#elif defined(__aarch64__)
	int64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#else
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
#endif
}

/** vg_relax - in a loop that waits for memory to change: leave the other threads of the core more room */
static inline void vg_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	_mm_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

#endif /* VG_TICKS_H */
