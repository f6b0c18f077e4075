/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * schedule.h - which processors a worker runs on, and how readily: cpus=, nice=, sched=
 *
 * Keys of every device. Those of real-time classes are not among them: a guest that keeps its worker
 * busy would have a processor of this domain for itself.
 */
#ifndef VG_SCHEDULE_H
#define VG_SCHEDULE_H

#include "backend/base/params.h"

/**
 * vg_schedule_check - do the keys mean something?
 *
 * Return: 0, or -EINVAL with a sentence that begins with the key.
 */
int vg_schedule_check(const struct vg_params *params, struct vg_err *err);

/**
 * vg_schedule_apply - what they say, for this process and all threads that it makes from now on
 *
 * What is not said stays as it is. Return: 0, or negative errno with a sentence: -EINVAL: no such
 * processor is there; -EACCES, -EPERM: the user may not.
 */
int vg_schedule_apply(const struct vg_params *params, struct vg_err *err);

#endif /* VG_SCHEDULE_H */
