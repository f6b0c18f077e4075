/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sigbus.h - memory that another process can take away
 *
 * Who shares a file with us can truncate it; touching a page that is gone then
 * raises SIGBUS. A guarded range is replaced by zeros at that moment, and its
 * guard says so. The kernel's own accesses (io_uring) fail with EFAULT instead.
 */
#ifndef VG_VHOST_USER_SIGBUS_H
#define VG_VHOST_USER_SIGBUS_H

#include <signal.h>
#include <stddef.h>

struct vg_sigbus_guard {
	struct vg_sigbus_guard *next, **pprev; /* private */
	void *base;			       /* page-aligned */
	size_t len;			       /* bytes */
	volatile sig_atomic_t hurt;
};

extern volatile sig_atomic_t vg_sigbus_hits; /* 0: no guard was ever hurt */

/**
 * vg_sigbus_guard - watch over a mapping, and install the handler
 *
 * For one thread: the one that adds, removes and touches. @g must stay where it is.
 */
void vg_sigbus_guard(struct vg_sigbus_guard *g, void *base, size_t len);

/** vg_sigbus_unguard - before it is unmapped; a guard that is all zero is left alone */
void vg_sigbus_unguard(struct vg_sigbus_guard *g);

#endif /* VG_VHOST_USER_SIGBUS_H */
