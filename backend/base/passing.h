/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * passing.h - a message with a descriptor, from a process in its sandbox
 *
 * Only sendmsg(2) passes descriptors, and it takes an address with each message: on a datagram socket
 * or one of CAN, that is whoever has such an address, whatever the socket is bound or connected to. A
 * filter of system calls sees no more of its arguments than a pointer.
 *
 * So there is one header, without an address, in a page that nobody can write, unmap or replace, and
 * that pointer is what the filter compares: sendmsg(2) is then send(2) with descriptors, on every
 * socket. The page lies at FLOOR, below anything else of the process; mmap(2), munmap(2), mremap(2),
 * mprotect(2) and madvise(2) are allowed from its end upwards alone (worker/sandbox.c). What the header
 * points to, data and descriptors, is written for each message.
 */
#ifndef VG_PASSING_H
#define VG_PASSING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/**
 * vg_pass_seal - make the header, and have vg_pass() use it; once for a process
 *
 * Return: 0, or negative errno: there is no room where it must lie.
 */
int vg_pass_seal(void);

/** vg_pass_header - what sendmsg(2) is called with; NULL: not sealed */
const void *vg_pass_header(void);

/** vg_pass_floor - the end of its page */
uintptr_t vg_pass_floor(void);

/**
 * vg_pass - one message on a connected socket, without waiting, with the descriptor @fd
 * @iov: @n of them, at most 2
 *
 * In one thread only. Return: bytes; -EAGAIN; or negative errno.
 */
long vg_pass(int sock, const struct iovec *iov, size_t n, int fd);

#endif /* VG_PASSING_H */
