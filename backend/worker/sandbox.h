/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sandbox.h - what a worker gives up before it looks at the guest's first byte
 */
#ifndef VG_SANDBOX_H
#define VG_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "backend/base/log.h"

struct vg_sandbox {
	uid_t uid; /* whom to become; 0: stay (tests without root) */
	gid_t gid;
	bool namespaces; /* leave the host's network, IPC, mounts and names */
	bool seccomp;	 /* allow only the system calls that a worker makes */
};

/**
 * vg_sandbox_enter - for good
 *
 * Open descriptors stay. As one who is not root, privileges are not there to be dropped, and only
 * no_new_privs and seccomp apply. Verifies that what was dropped is gone.
 * Return: 0, or negative errno with a sentence; the process should then end.
 */
int vg_sandbox_enter(const struct vg_sandbox *sb, struct vg_err *err);

#endif /* VG_SANDBOX_H */
