// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * trap.c - see trap.h
 *
 * A filter of system calls sees numbers, and a path is a pointer. So it has the kernel send SIGSYS in place
 * of the call (seccomp(2), SECCOMP_RET_TRAP), and the handler, which runs in the sandbox as all else does,
 * compares the path and gives the call its answer: another descriptor of /dev/null. Whoever has taken the
 * process over gains nothing by forging one: a handler can do no more than the process can. Any other path
 * ends it, with the signal that a call outside of the list ends it with.
 *
 * Not an error in place of the descriptor (SECCOMP_RET_ERRNO), which would be simpler: LLVM tells stderr of
 * it, and so a guest could fill the log. Not the file itself, which would have to be wound back: a process
 * that may set the position of one open file may, by dup, of those that it shares with others.
 */
#include "backend/worker/trap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static const char *empty;
static int nothing = -1; /* /dev/null */

/* The second argument of the call that was trapped, and its result: syscall(2), "Architecture calling
 * conventions". */
#ifdef __aarch64__
static const char *path_of(const ucontext_t *uc)
{
	return (const char *)(uintptr_t)uc->uc_mcontext.regs[1];
}

static void answer(ucontext_t *uc, int result)
{
	uc->uc_mcontext.regs[0] = (uint64_t)(int64_t)result;
}
#else
static const char *path_of(const ucontext_t *uc)
{
	return (const char *)(uintptr_t)uc->uc_mcontext.gregs[REG_RSI];
}

static void answer(ucontext_t *uc, int result)
{
	uc->uc_mcontext.gregs[REG_RAX] = result;
}
#endif

static void trapped(int sig, siginfo_t *info, void *context)
{
	int kept = errno, fd;

	(void)sig;
	/* To write: what the filter ends a process for. A signal that somebody sent is none of a call's:
	 * sigaction(2), "The si_code field". */
	if (info->si_code <= 0 || strcmp(path_of(context), empty) != 0)
		syscall(SYS_openat, AT_FDCWD, empty, O_WRONLY);
	fd = fcntl(nothing, F_DUPFD_CLOEXEC, 0);
	answer(context, fd < 0 ? -errno : fd);
	errno = kept;
}

int vg_trap_open(const char *path)
{
	empty = path;
	nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return nothing < 0 ? -errno : 0;
}

int vg_trap_set(void)
{
	const struct sigaction sa = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };

	return sigaction(SIGSYS, &sa, NULL) < 0 ? -errno : 0;
}
