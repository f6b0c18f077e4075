/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sandbox.h - what a worker gives up before it looks at the guest's first byte
 *
 *	main thread:	loops made, disabled; device and port opened
 *			vg_sandbox_isolate()
 *			threads are created, which wait in vg_loop_run()
 *			vg_sandbox_restrict()
 *	all threads:	serve
 */
#ifndef VG_SANDBOX_H
#define VG_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "backend/base/log.h"
#include "backend/base/needs.h"

struct vg_sandbox {
	uid_t uid; /* whom to become; 0: stay (tests without root). One for each guest, best. */
	gid_t gid;
	bool namespaces; /* leave the host's network, IPC, mounts and names */
	bool seccomp;	 /* allow only the system calls and ring operations that the worker needs */
	/* A regular file that it writes may become so long, bytes; 0: it writes none. The device says so:
	 * vg_dev.file_bytes. */
	uint64_t file_bytes;
};

/**
 * vg_sandbox_isolate - namespaces, user, capabilities, no_new_privs: for good
 * @needs: of device and port; NULL ends the list
 *
 * To be called by the only thread, whose children inherit all of it. Open descriptors stay. As one
 * who is not root, privileges are not there to be dropped, and only no_new_privs applies. Verifies
 * that what was dropped is gone.
 * Return: 0, or negative errno with a sentence; the process should then end.
 */
int vg_sandbox_isolate(const struct vg_sandbox *sb, const struct vg_sandbox_needs *const *needs,
		       struct vg_err *err);

/**
 * vg_sandbox_restrict - enable the loops of this process, with what they may do; filter system calls
 *
 * Of all threads that there are; no other can be created afterwards.
 * Return: as vg_sandbox_isolate(); -EBUSY: a loop was made that is not disabled.
 */
int vg_sandbox_restrict(const struct vg_sandbox *sb, const struct vg_sandbox_needs *const *needs,
			struct vg_err *err);

/** vg_sandbox_enter - both, in a row: for a worker of one thread */
int vg_sandbox_enter(const struct vg_sandbox *sb, const struct vg_sandbox_needs *const *needs,
		     struct vg_err *err);

/**
 * vg_sandbox_no_grants - from now on, and in whatever is executed, the grant device is not asked for anything
 *
 * What was mapped for somebody he may still map; another one's grants are behind ioctl(2). Needs
 * no_new_privs, or privileges. Return: 0, or negative errno with a sentence.
 */
int vg_sandbox_no_grants(struct vg_err *err);

/**
 * vg_sandbox_narrow - of a process that was forked in its sandbox: from now on, of what that allows,
 * these calls alone
 *
 * Needs seccomp(2) in that sandbox. Return: 0, or negative errno; the process should then end.
 */
int vg_sandbox_narrow(const struct vg_sandbox_call *calls);

#endif /* VG_SANDBOX_H */
