// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * needs.c - see needs.h
 *
 * A process of viewers' is forked within the display's sandbox and can have nothing that the display
 * has not. So the display's list has what libvncserver calls, too, although the display never does;
 * the viewer's list has that, and nothing of the display's own: no process, no descriptor passed on,
 * no connection taken.
 */
#include "backend/displays/needs.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

/* What fork(3) of glibc makes of itself: a process, never a thread, nor a namespace. */
#define FORK (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)

/* The library makes the viewer's socket one that does not block; others than that are shared. */
#define SETFL_OF_CLIENT                                                                       \
	{                                                                                     \
		.nr = SYS_fcntl, .filtered = true, .arg = 0, .mask = UINT32_MAX,              \
		.value = VG_VIEWER_CLIENT, .also = true, .also_arg = 1, .also_value = F_SETFL \
	}

static const struct vg_sandbox_call display_calls[] = {
	VG_CALL(accept4),
	VG_CALL(socketpair),
	VG_CALL_IF(clone, 0, FORK),
	VG_CALL(set_robust_list),			 /* fork(3) */
	VG_CALL_IF(seccomp, 0, SECCOMP_SET_MODE_FILTER), /* which takes away, and never gives */
	VG_CALLS_DUP2,
	VG_CALL(close_range),
	VG_CALL_FCNTL(F_DUPFD),
	VG_CALL_FCNTL(F_GET_SEALS),
	/* libvncserver's */
	SETFL_OF_CLIENT,
	VG_CALL_SOCKOPT(setsockopt, IPPROTO_TCP, TCP_NODELAY),
	VG_CALLS_POLL,
	VG_CALLS_SELECT,
	VG_CALL(shutdown),
	VG_CALL(getrandom),
	VG_CALL(getpeername),
	VG_CALL(uname),
	VG_CALLS_END,
};

/* The frame memory is passed on. */
const struct vg_sandbox_needs vg_display_needs = { .calls = display_calls, .passes = true };

const struct vg_sandbox_call vg_viewer_calls[] = {
	VG_CALL(read),
	VG_CALL(write),
	VG_CALL(readv),
	VG_CALL(writev),
	VG_CALL(recvfrom),
	VG_CALL(recvmsg),
	VG_CALL(sendto),
	VG_CALLS_POLL,
	VG_CALLS_SELECT,
	VG_CALL(close),
	VG_CALL(shutdown),
	VG_CALL(mmap),
	VG_CALL(munmap),
	VG_CALL(mremap),
	VG_CALL(madvise),
	VG_CALL(mprotect),
	VG_CALL(brk),
	VG_CALL(futex),
	VG_CALL(getrandom),
	VG_CALL(clock_gettime),
	VG_CALL(gettimeofday),
	VG_CALL(clock_nanosleep),
	VG_CALL_FCNTL(F_GETFL),
	SETFL_OF_CLIENT,
	VG_CALL_SOCKOPT(setsockopt, IPPROTO_TCP, TCP_NODELAY),
	VG_CALL(getpeername),
	VG_CALL(uname),
	VG_CALL(getpid),
	VG_CALL(gettid),
	VG_CALL(fstat),
	VG_CALL(newfstatat),
	VG_CALL(rt_sigreturn),
	VG_CALL(rt_sigprocmask),
	VG_CALL(rt_sigaction),
	VG_CALL(sigaltstack), /* a sanitizer's end */
	VG_CALL(restart_syscall),
	VG_CALL(exit),
	VG_CALL(exit_group),
	VG_CALLS_END,
};

const struct vg_sandbox_call vg_tls_calls[] = {
	VG_CALL(read),
	VG_CALL(write),
	VG_CALL(recvfrom),
	VG_CALL(sendto), /* syslog(3) */
	VG_CALLS_POLL,
	VG_CALL(close),
	VG_CALL(shutdown),
	VG_CALL(mmap),
	VG_CALL(munmap),
	VG_CALL(mremap),
	VG_CALL(madvise),
	VG_CALL(mprotect),
	VG_CALL(brk),
	VG_CALL(futex),
	VG_CALL(getrandom),
	VG_CALL(clock_gettime),
	VG_CALL(gettimeofday),
	VG_CALL(getpid),
	VG_CALL(gettid),
	VG_CALL(rt_sigreturn),
	VG_CALL(rt_sigprocmask),
	VG_CALL(rt_sigaction),
	VG_CALL(sigaltstack),
	VG_CALL(restart_syscall),
	VG_CALL(exit),
	VG_CALL(exit_group),
	VG_CALLS_END,
};
