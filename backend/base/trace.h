/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * trace.h - what a device does, line by line, for `vgrant trace`
 *
 * The device's worker writes lines; whoever listens gets them through a
 * SOCK_SEQPACKET socket that the supervisor made and passed (VG_IPC_TRACE): one
 * packet is some lines, each with its newline. A listener that is too slow loses
 * lines and is told how many ("# 12 lines were lost"), the device never waits. A
 * listener that hangs up is forgotten.
 */
#ifndef VG_TRACE_H
#define VG_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VG_TRACE_MAX	4    /* listeners of one device; a descriptor and some lines each */
#define VG_TRACE_PACKET 4096 /* bytes */

struct vg_trace {
	unsigned n; /* listeners */
	struct {
		int fd;
		uint64_t lost; /* lines, since the last packet that went through */
	} to[VG_TRACE_MAX];
	size_t len; /* bytes that wait in buf */
	unsigned lines;
	char buf[VG_TRACE_PACKET];
};

/** vg_trace_on - does anybody listen? Ask before making a line. */
static inline bool vg_trace_on(const struct vg_trace *t)
{
	return t->n > 0;
}

/** vg_trace_add - one more listener; @fd is t's from now on. Return: 0, or -EBUSY (@fd is closed). */
int vg_trace_add(struct vg_trace *t, int fd);

/** vg_trace_line - @len bytes of text, without newline, at most VG_TRACE_PACKET - 64 */
void vg_trace_line(struct vg_trace *t, const char *text, size_t len);

/** vg_trace_flush - hand over what waits; once a turn of the loop */
void vg_trace_flush(struct vg_trace *t);

/** vg_trace_close - let all listeners go */
void vg_trace_close(struct vg_trace *t);

#endif /* VG_TRACE_H */
