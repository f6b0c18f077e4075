/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cgroup.h - a control group for the workers of each guest, with a limit of its memory
 *
 * Below the group that systemd has delegated to the service (Delegate=memory). Without one there are
 * no groups, and the other limits hold alone.
 *
 *	vgrantd.service/supervisor    vgrantd itself: a group with groups below it may hold no process
 *	vgrantd.service/guest-7       workers of domain 7; memory.max
 */
#ifndef VG_CGROUP_H
#define VG_CGROUP_H

#include <stdint.h>
#include <sys/types.h>

#include "backend/base/log.h"

struct vg_cgroup {
	int dir; /* of the delegated group; -1: there is none */
};

/**
 * vg_cgroup_find - the group that was delegated to this process
 * @path: gets it, @size bytes
 *
 * Return: 0; -ENOENT: cgroup v2 is not mounted; -EPERM: the group that we are in was not delegated;
 * with a sentence.
 */
int vg_cgroup_find(char *path, size_t size, struct vg_err *err);

/**
 * vg_cgroup_open - take the group @path: move this process out of the way, enable the memory controller
 *
 * Return: 0, or negative errno with a sentence; cg->dir is -1 then.
 */
int vg_cgroup_open(struct vg_cgroup *cg, const char *path, struct vg_err *err);

/**
 * vg_cgroup_add - put a worker into its guest's group, which is made if need be
 * @memory_max: bytes, of all the guest's workers and of what the kernel keeps for them
 *
 * Return: 0, also when there are no groups; or negative errno: it is in no group.
 */
int vg_cgroup_add(const struct vg_cgroup *cg, uint32_t domid, pid_t pid, uint64_t memory_max);

/** vg_cgroup_remove - remove a guest's group, if nobody is in it any more */
void vg_cgroup_remove(const struct vg_cgroup *cg, uint32_t domid);

/** vg_cgroup_close - forget; groups stay as they are */
void vg_cgroup_close(struct vg_cgroup *cg);

#endif /* VG_CGROUP_H */
