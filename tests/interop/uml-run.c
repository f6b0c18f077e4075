// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uml-run.c - run User Mode Linux on processors that are newer than it
 *
 * UML before Linux 6.13 keeps its processes' registers in a buffer of fixed size.
 * Where the processor has AMX, PTRACE_SETREGSET wants 11 KiB, and every UML process
 * dies at its start. UML falls back to PTRACE_SETFPREGS when the very first
 * PTRACE_GETREGSET of NT_X86_XSTATE fails: a seccomp filter makes it fail. What lies
 * in the upper halves of vector registers is then lost at page faults, so that glibc
 * in the guest must be told not to use them (GLIBC_TUNABLES in tests/interop/run).
 *
 *	uml-run PROGRAM ARGUMENT...
 */
#include <elf.h>
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int ret = ctx ? 0 : -ENOMEM;

	if (argc < 2) {
		fprintf(stderr, "usage: uml-run PROGRAM ARGUMENT...\n");
		return 2;
	}
	if (ret == 0)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(ptrace), 2,
				       SCMP_A0(SCMP_CMP_EQ, PTRACE_GETREGSET),
				       SCMP_A2(SCMP_CMP_EQ, NT_X86_XSTATE));
	if (ret == 0)
		ret = seccomp_load(ctx);
	if (ret < 0) {
		fprintf(stderr, "uml-run: no filter: %s\n", strerror(-ret));
		return 1;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "uml-run: %s: %s\n", argv[1], strerror(errno));
	return 127;
}
