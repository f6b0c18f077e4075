/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ticks.h - the time: by the clock, and for spans of microseconds by the processor's own counter
 *
 * clock_gettime(2) is a system call where the clock is none that user space can read, as in a
 * PV domain of Xen's whose clock source is "xen": as dear as what is to be measured. The counter is
 * one instruction everywhere.
 */
#ifndef VG_TICKS_H
#define VG_TICKS_H

#include <stdint.h>

/** vg_now_ns - CLOCK_MONOTONIC in nanoseconds */
int64_t vg_now_ns(void);

/**
 * vg_span_ns - nanoseconds since the first call, by the counter
 *
 * For spans: as exact as the counter's rate was measured, to a thousandth or so. Any thread; but only
 * differences of one thread mean anything, and only such that are not negative: on old machines the
 * counters of two processors differ.
 */
int64_t vg_span_ns(void);

#endif /* VG_TICKS_H */
