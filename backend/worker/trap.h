/* SPDX-License-Identifier: GPL-2.0-or-later */
/* trap.h - a file that a library opens again and again, in a sandbox that lets nobody open any */
#ifndef VG_TRAP_H
#define VG_TRAP_H

/**
 * vg_trap_open - get ready to answer for a file, while files can be opened; one a process
 * @path: vg_sandbox_needs.empty: static
 *
 * Return: 0, or negative errno.
 */
int vg_trap_open(const char *path);

/**
 * vg_trap_set - from now on, SIGSYS of a system call that the filter traps (SCMP_ACT_TRAP) is answered
 *
 * The filter is to trap openat(2) with the flags O_RDONLY | O_CLOEXEC, and nothing else. Return: 0, or
 * negative errno.
 */
int vg_trap_set(void);

#endif /* VG_TRAP_H */
