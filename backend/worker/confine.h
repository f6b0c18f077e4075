/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine.h - AppArmor's part of a worker's sandbox
 *
 * The profile vgrantd (configs/apparmor/vgrantd) is what the supervisor, a worker that opens what its
 * device stands on, and scripts of network cards have. Its child, vgrantd//worker, has neither
 * programs, nor mounts, nor capabilities, and is laid over it ("stacked") when a worker gives up its
 * rights: what both allow is allowed then, for good, and that is all that no_new_privs lets anybody
 * change his profile to (apparmor(7), aa_stack_profile(2)).
 */
#ifndef VG_WORKER_CONFINE_H
#define VG_WORKER_CONFINE_H

#include "backend/base/params.h"

/*
 * To be called while there is a /proc. Return: a descriptor for vg_confine(), which closes it; -1 where
 * the profile is not in force: there is no AppArmor, or this process has no profile, or somebody
 * else's, which may keep it from looking.
 */
int vg_confine_open(void);

/* Have the calling thread, and those that it will start, in the worker's profile. @fd: of
 * vg_confine_open(); -1: nothing is done. Return: 0, or negative errno with @err. */
int vg_confine(int fd, struct vg_err *err);

#endif
