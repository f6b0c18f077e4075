/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * devhelp.h - devices under test: what completes later, waited for
 *
 * A test turns the main loop itself, so that it may wait where a port must not.
 */
#ifndef DEVHELP_H
#define DEVHELP_H

#include <assert.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/ports/record.h"
#include "backend/virtio/port.h"

struct dh_wait {
	struct vg_wait w;
	bool done;
};

static inline void dh_done(struct vg_wait *w)
{
	container_of(w, struct dh_wait, w)->done = true;
}

#define DH_WAIT                   \
	{                         \
		.w.done = dh_done \
	}

/** dh_await - turn @loop until @d is done */
static inline void dh_await(struct vg_loop *loop, struct dh_wait *d)
{
	while (!d->done) {
		int ret = vg_loop_turn(loop, true);

		assert(ret >= 0);
		(void)ret;
	}
}

/** dh_open - a device, with its threads, known for what it is. Return: as vg_dev_open(). */
static inline int dh_open(struct vg_dev *dev, const struct vg_device_ops *ops, struct vg_loop *loop,
			  const struct vg_params *params, struct vg_err *err)
{
	int ret = vg_dev_open(dev, ops, loop, NULL, params, err);

	if (ret < 0)
		return ret;
	ret = vg_dev_threads(dev, err);
	if (ret == 0)
		ret = vg_dev_probe(dev, params, err);
	if (ret < 0)
		vg_dev_close(dev);
	return ret;
}

/** dh_reset - the driver's reset. Return: the status that results, 0. */
static inline uint32_t dh_reset(struct vg_dev *dev)
{
	struct dh_wait d = DH_WAIT;

	vg_dev_reset(dev, &d.w);
	dh_await(dev->loop, &d);
	return dev->status;
}

/** dh_status - set_status(), a reset when 0 */
static inline uint32_t dh_status(struct vg_dev *dev, uint32_t status)
{
	return status ? vg_dev_set_status(dev, status) : dh_reset(dev);
}

/** dh_reset_queue - RESET_VQUEUE */
static inline void dh_reset_queue(struct vg_dev *dev, unsigned q, struct vg_vq_state *state)
{
	struct dh_wait d = DH_WAIT;

	vg_dev_reset_queue(dev, q, state, &d.w);
	dh_await(dev->loop, &d);
}

/** dh_close - reset and close */
static inline void dh_close(struct vg_dev *dev)
{
	dh_reset(dev);
	vg_dev_close(dev);
}

/** dh_stats - counters of the device and all its queues */
static inline struct vg_dev_stats dh_stats(const struct vg_dev *dev)
{
	struct vg_dev_stats sum = *dev->stats;

	for (unsigned q = 0; q < dev->n_queues; q++)
		vg_dev_stats_add(&sum, dev->queue[q].stats);
	return sum;
}

#endif /* DEVHELP_H */
