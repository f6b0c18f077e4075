/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * needs.h - what code needs from the kernel once the sandbox is closed
 *
 * Each device and each port says so beside its code, in one const struct that its table names;
 * worker/sandbox.c allows the sum, and what every worker needs, and nothing else. Whoever adds a
 * system call adds it there: without, the worker is killed at the first call.
 */
#ifndef VG_NEEDS_H
#define VG_NEEDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

/* A system call: any, or only where argument @arg (0 to 5), as far as @mask goes, is @value, and,
 * with @also, argument @also_arg, 32 bits of it, is @also_value. Several of the same number: each adds
 * what it allows. */
struct vg_sandbox_call {
	int nr; /* SYS_* */
	bool filtered;
	uint8_t arg;
	uint64_t mask, value;
	bool also;
	uint8_t also_arg;
	uint32_t also_value;
};

/* For lists: a call with any arguments; one whose 32-bit argument is a number; whose pointer is NULL; ioctl(2) by request;
 * fcntl(2) by command; setsockopt(2) and getsockopt(2) by level and option. The list ends with
 * VG_CALLS_END. */
#define VG_CALL(name)            \
	{                        \
		.nr = SYS_##name \
	}
/* What the C library makes of poll(3), select(3) and dup2(3): later architectures than x86 have the
 * newer call of each alone. */
#ifdef SYS_poll
#define VG_CALLS_POLL	VG_CALL(poll), VG_CALL(ppoll)
#define VG_CALLS_SELECT VG_CALL(select), VG_CALL(pselect6)
#define VG_CALLS_DUP2	VG_CALL(dup2), VG_CALL(dup3)
#else
#define VG_CALLS_POLL	VG_CALL(ppoll)
#define VG_CALLS_SELECT VG_CALL(pselect6)
#define VG_CALLS_DUP2	VG_CALL(dup3)
#endif
#define VG_CALL_IF(name, a, v)                                                                   \
	{                                                                                        \
		.nr = SYS_##name, .filtered = true, .arg = (a), .mask = UINT32_MAX, .value = (v) \
	}
#define VG_CALL_IOCTL(request) VG_CALL_IF(ioctl, 1, (uint32_t)(request))
#define VG_CALL_FCNTL(command) VG_CALL_IF(fcntl, 1, command)
#define VG_CALL_NULL(name, a)                                                                  \
	{                                                                                      \
		.nr = SYS_##name, .filtered = true, .arg = (a), .mask = UINT64_MAX, .value = 0 \
	}
#define VG_CALL_SOCKOPT(name, level, option)                                          \
	{                                                                             \
		.nr = SYS_##name, .filtered = true, .arg = 1, .mask = UINT32_MAX,     \
		.value = (level), .also = true, .also_arg = 2, .also_value = (option) \
	}
#define VG_CALLS_END     \
	{                \
		.nr = -1 \
	}

struct vg_sandbox_needs {
	const struct vg_sandbox_call *calls; /* NULL: none but those of every worker */
	unsigned loop;			     /* VG_LOOP_* of loop.h */
	bool network;			     /* stays in the network namespace of before */
	bool passes;			     /* sends descriptors: vg_pass() of passing.h */
	bool code;			     /* makes machine code, and executes it */
	/* A file that it opens to read, and finds empty: worker/trap.h; NULL: none */
	const char *empty;
};

#endif /* VG_NEEDS_H */
