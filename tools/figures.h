/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * figures.h - numbers of a device out of vgrantd's JSON, and what became of them between two looks
 */
#ifndef VGRANT_FIGURES_H
#define VGRANT_FIGURES_H

#include "backend/virtio/device.h"
#include "tools/vgrant.h"

struct vgrant_figures {
	uint64_t requests, errors;
	uint64_t bytes_read, bytes_written;
	uint64_t kicks, interrupts;
	uint64_t hypercalls;		    /* of the backend, as tests/bench counts them */
	uint64_t count[VG_LATENCY_BUCKETS]; /* of all operations: see struct vg_latency */
	uint64_t depth; /* requests in flight, of all queues, at the look itself */
};

/** vgrant_figures_read - of device @dev of a list */
void vgrant_figures_read(struct json_object *dev, struct vgrant_figures *f);

/**
 * vgrant_figures_since - @now less @before, but for the depth
 *
 * Return: false: a counter has gone backwards, so that these are two devices; @out is not to be used.
 */
bool vgrant_figures_since(const struct vgrant_figures *now, const struct vgrant_figures *before,
			  struct vgrant_figures *out);

/**
 * vgrant_latency_read - add the histogram of one operation, @l, to @count
 *
 * Return: how many requests are in it.
 */
uint64_t vgrant_latency_read(struct json_object *l, uint64_t count[VG_LATENCY_BUCKETS]);

/**
 * vgrant_within - in less than how many microseconds @percent of the requests in @count were answered
 *
 * A power of two, for that is what is known; that of the last bucket, which has no end, stands for
 * "longer". Return: 0: there were none.
 */
uint64_t vgrant_within(const uint64_t count[VG_LATENCY_BUCKETS], unsigned percent);

/**
 * vgrant_print_failures - why requests failed, in words: "3 I/O errors, 1 not supported"
 * @failed: that member of a device; NULL allowed
 * @before: printed first, and @after last, where any failed; else nothing is printed
 */
void vgrant_print_failures(struct json_object *failed, const char *before, const char *after);

#endif /* VGRANT_FIGURES_H */
