/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe.h - places at which a tracer may look (USDT): see vgrantd(8), TRACING
 *
 * A probe is one nop instruction, and a note in the program that says where it is and where its
 * arguments are; bpftrace, perf and SystemTap put a breakpoint there. Where <sys/sdt.h> was not there
 * when the program was built there are none.
 *
 *	VG_PROBE(kick, queue)		provider "vgrant", name "kick"
 *
 * Arguments are numbers that are at hand anyway: they are computed even when nobody looks.
 */
#ifndef VG_PROBE_H
#define VG_PROBE_H

#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#define VG_HAS_PROBES 1
#endif
#endif

#ifdef VG_HAS_PROBES
#define SDT_USE_VARIADIC 1
#include <sys/sdt.h>
#define VG_PROBE(name, ...) STAP_PROBEV(vgrant, name, ##__VA_ARGS__)
#else
#define VG_HAS_PROBES 0
#define VG_PROBE(name, ...) \
	do {                \
	} while (0)
#endif

#endif /* VG_PROBE_H */
