/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * writes.h - many write(2) in one system call, in order: sendmmsg(2) without addresses
 *
 * For a socket that does not block, whose messages are small, so that what each costs is the system
 * call. An io_uring of its own, which takes writes alone from its first moment (restricted, as the
 * sandbox restricts loops), and a link from each to the next: what follows one that fails is not sent.
 */
#ifndef VG_WRITES_H
#define VG_WRITES_H

#include <sys/uio.h>

struct vg_writes;

/** vg_writes_new - before the sandbox; @most: at once, 1 to 4096. Return: 0, or negative errno. */
int vg_writes_new(unsigned most, struct vg_writes **out);

void vg_writes_free(struct vg_writes *w);

/**
 * vg_writes_do - write @n messages to @fd, which does not block; in the thread that made @w
 *
 * Return: how many were written whole, before the first that was not; or what became of the first, a
 * negative errno.
 */
int vg_writes_do(struct vg_writes *w, int fd, const struct iovec *iov, unsigned n);

#endif /* VG_WRITES_H */
