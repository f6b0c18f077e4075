/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio_grant_calc.h - small decisions that need no kernel
 *
 * What is here takes numbers and returns numbers, so that a test in user space
 * (tests/unit/test_module.c) can include it. Who includes it has u8, u32, bool.
 */
#ifndef VIRTIO_GRANT_CALC_H
#define VIRTIO_GRANT_CALC_H

/* ---- notifications without work ------------------------------------------ */

/* Notifications that are remembered; older ones count half, and half again. */
#define VG_SPURIOUS_WINDOW 256u
/* So many must have come before anything is thought of them. */
#define VG_SPURIOUS_LEAST 64u

/**
 * struct vg_spurious - how many notifications of late brought nothing
 * @all: notifications, weighted
 * @idle: those that brought nothing, weighted likewise
 */
struct vg_spurious {
	u32 all;
	u32 idle;
};

/**
 * vg_spurious_add() - a notification came
 * @s: what is known of the earlier ones
 * @idle: it brought nothing
 *
 * A driver that polls leaves some behind even with the best of backends, which
 * is why a few of them mean nothing; and one that brings something now and then
 * excuses no flood, which is why a single one does not reset the count.
 *
 * Return: whether the sender is to be slowed down: of the last ones, more than
 * fifteen of sixteen brought nothing.
 */
static inline bool vg_spurious_add(struct vg_spurious *s, bool idle)
{
	s->all++;
	s->idle += idle;
	if (s->all >= VG_SPURIOUS_WINDOW) {
		s->all /= 2;
		s->idle /= 2;
	}
	return s->all >= VG_SPURIOUS_LEAST && s->idle * 16 > s->all * 15;
}

/* ---- queues and processors ----------------------------------------------- */

/**
 * vg_queue_of_cpu() - which of several queues a processor should use
 * @cpu: the how-manieth processor, from 0
 * @cpus: processors
 * @queues: at least 1
 *
 * Neighbours share a queue; each queue serves as many processors as any other,
 * or one more, if there are no more queues than processors.
 *
 * Return: 0 to @queues - 1.
 */
static inline u32 vg_queue_of_cpu(u32 cpu, u32 cpus, u32 queues)
{
	return (u32)((u64)cpu * queues / cpus);
}

#endif /* VIRTIO_GRANT_CALC_H */
