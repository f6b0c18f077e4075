// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * device.c - the virtio state machine around a device, see device.h
 *
 *	 reset      ACKNOWLEDGE, DRIVER      FEATURES_OK          DRIVER_OK
 *	--------> features can be written --> features final --> start, queues run
 *	                                      queues can be set
 *
 * A queue runs when it is set *and* DRIVER_OK is set, whichever comes later
 * (vhost-user front-ends set queues after, virtio-grant ones before).
 *
 * Two ways in the other direction: a reset, by the driver, which stops all and
 * forgets all; and a fault, by us, which keeps all and takes nothing more from
 * the rings, until the driver resets (VIRTIO 1.3 section 2.1.2).
 */
#include "backend/virtio/device.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/container.h"

int vg_dev_open(struct vg_dev *dev, const struct vg_device_ops *ops, struct vg_loop *loop,
		const struct vg_params *params, struct vg_err *err)
{
	int ret;

	memset(dev, 0, sizeof(*dev));
	dev->ops = ops;
	dev->loop = loop;
	dev->stats = &dev->own_stats;
	dev->fault_log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	ret = vg_params_check(params, ops->params, vg_common_params, err);
	if (ret < 0)
		return ret;
	if (!vg_params_bool(params, vg_common_params, "packed"))
		dev->withheld_features = VG_FEATURE(VG_F_RING_PACKED);
	return ops->open(dev, params, err);
}

void vg_dev_close(struct vg_dev *dev)
{
	vg_dev_set_status(dev, 0);
	dev->ops->close(dev);
	vg_trace_close(&dev->trace);
}

uint64_t vg_dev_offered(const struct vg_dev *dev)
{
	return (dev->device_features | dev->port->ops->features) & ~dev->withheld_features;
}

void vg_dev_set_features(struct vg_dev *dev, uint64_t features)
{
	if (!(dev->status & VG_STATUS_FEATURES_OK))
		dev->driver_features = features;
}

static bool features_acceptable(struct vg_dev *dev)
{
	uint64_t f = dev->driver_features;
	uint64_t need = dev->port->ops->required;

	if ((f & ~vg_dev_offered(dev)) || (f & need) != need)
		return false;
	return !dev->ops->features_ok || dev->ops->features_ok(dev, f) == 0;
}

static void record(struct vg_dev *dev)
{
	if (dev->port->ops->record)
		dev->port->ops->record(dev->port);
}

/* Map the ring and hand it to the device; a ring that is not there is the guest's fault. */
static void queue_start(struct vg_dev *dev, unsigned q)
{
	struct vg_queue *queue = &dev->queue[q];
	const struct vg_vq_config cfg = {
		.size = queue->size,
		.desc = queue->desc,
		.driver = queue->driver,
		.device = queue->device,
		.features = dev->features,
		.state = queue->state,
		.inflight = queue->inflight,
	};
	struct vg_err err = { "" };
	int ret;

	if (queue->vq || !queue->enabled)
		return;
	ret = vg_vq_new(dev->mem, &cfg, &queue->vq, &err);
	if (ret < 0) {
		vg_dev_fault(dev, "queue %u: %s", q, err.text);
		return;
	}
	if (dev->ops->start_queue)
		dev->ops->start_queue(dev, q);
	/* Chains may have been made available before anyone listened. */
	vg_dev_kick(dev, q);
}

static void queue_stop(struct vg_dev *dev, unsigned q)
{
	struct vg_queue *queue = &dev->queue[q];

	if (!queue->vq)
		return;
	dev->ops->stop_queue(dev, q);
	vg_dev_flush(dev, q);
	queue->state = vg_vq_stop(queue->vq);
	vg_vq_free(queue->vq);
	queue->vq = NULL;
}

/* Forget all that the driver has said of queue @q, which does not run. */
static void queue_forget(struct vg_dev *dev, unsigned q)
{
	vg_loop_undefer(dev->loop, &dev->queue[q].again);
	memset(&dev->queue[q], 0, sizeof(dev->queue[q]));
}

/* DRIVER_OK is set: the device starts, then every queue that is set. */
static void start(struct vg_dev *dev)
{
	if (dev->started)
		return;
	dev->started = true;
	if (dev->ops->start) {
		int ret = dev->ops->start(dev);

		if (ret < 0) {
			vg_dev_fault(dev, "the device cannot start: %s", strerror(-ret));
			return;
		}
	}
	for (unsigned q = 0; q < dev->n_queues; q++)
		queue_start(dev, q);
}

static void reset(struct vg_dev *dev)
{
	for (unsigned q = 0; q < dev->n_queues; q++) {
		queue_stop(dev, q);
		queue_forget(dev, q);
	}
	if (dev->status)
		dev->stats->resets++;
	dev->ops->reset(dev);
	dev->started = false;
	dev->status = 0;
	dev->features = 0;
	dev->driver_features = 0;
}

uint32_t vg_dev_set_status(struct vg_dev *dev, uint32_t status)
{
	uint32_t added = status & ~dev->status;

	if (status == 0) {
		reset(dev);
		record(dev);
		return 0;
	}
	/* NEEDS_RESET is ours to set; and bits are cleared by a reset alone. */
	added &= VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER | VG_STATUS_DRIVER_OK |
		 VG_STATUS_FEATURES_OK | VG_STATUS_FAILED;
	if (added & VG_STATUS_FEATURES_OK) {
		if (features_acceptable(dev))
			dev->features = dev->driver_features;
		else
			added &= ~VG_STATUS_FEATURES_OK;
	}
	if (!((dev->status | added) & VG_STATUS_FEATURES_OK))
		added &= ~VG_STATUS_DRIVER_OK;
	dev->status |= added;
	record(dev);
	if (added & VG_STATUS_DRIVER_OK)
		start(dev);
	return dev->status;
}

void vg_dev_resume(struct vg_dev *dev, uint32_t status, uint64_t features, uint32_t generation,
		   const uint8_t saved[VG_DEV_SAVED])
{
	dev->resuming = true;
	dev->status = status;
	dev->driver_features = features;
	dev->features = status & VG_STATUS_FEATURES_OK ? features : 0;
	dev->generation = generation;
	memcpy(dev->saved, saved, sizeof(dev->saved));
}

void vg_dev_resumed(struct vg_dev *dev)
{
	dev->resuming = false;
	if (dev->status & VG_STATUS_DRIVER_OK)
		start(dev);
}

uint32_t vg_dev_queue_max(const struct vg_dev *dev, unsigned q)
{
	return q < dev->n_queues ? dev->queue_size_max : 0;
}

int vg_dev_set_queue(struct vg_dev *dev, unsigned q, uint32_t size, uint64_t desc, uint64_t driver,
		     uint64_t device, const struct vg_vq_state *state, void *inflight)
{
	static const struct vg_vq_state from_start = VG_VQ_STATE_START;
	struct vg_queue *queue;

	if (q >= dev->n_queues || size == 0 || size > dev->queue_size_max)
		return -EINVAL;
	if (!(dev->status & VG_STATUS_FEATURES_OK) || dev->queue[q].enabled)
		return -EBUSY;
	if (!vg_dev_has(dev, VG_F_RING_PACKED) && (size & (size - 1)))
		return -EINVAL;
	queue = &dev->queue[q];
	*queue = (struct vg_queue){
		.size = size,
		.desc = desc,
		.driver = driver,
		.device = device,
		.inflight = inflight,
		.state = state ? *state : from_start,
		.enabled = true,
	};
	if (dev->resuming)
		return 0;
	record(dev);
	if (dev->started)
		queue_start(dev, q);
	return 0;
}

void vg_dev_reset_queue(struct vg_dev *dev, unsigned q, struct vg_vq_state *state)
{
	if (q >= dev->n_queues)
		return;
	queue_stop(dev, q);
	if (state)
		*state = dev->queue[q].state;
	queue_forget(dev, q);
	record(dev);
}

void vg_dev_kick(struct vg_dev *dev, unsigned q)
{
	if (q < dev->n_queues && dev->queue[q].vq && !(dev->status & VG_STATUS_NEEDS_RESET))
		dev->ops->queue_ready(dev, q);
}

static void kick_again(struct vg_deferred *d)
{
	struct vg_queue *queue = container_of(d, struct vg_queue, again);

	vg_dev_kick(queue->dev, (unsigned)(queue - queue->dev->queue));
}

void vg_dev_kick_later(struct vg_dev *dev, unsigned q)
{
	struct vg_queue *queue = &dev->queue[q];

	queue->again.run = kick_again;
	queue->dev = dev;
	vg_loop_defer(dev->loop, &queue->again);
}

static bool config_range_ok(const struct vg_dev *dev, uint32_t off, uint32_t len)
{
	return off <= dev->config_size && len <= dev->config_size - off;
}

int vg_dev_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	if (!config_range_ok(dev, off, len))
		return -EINVAL;
	if (len)
		dev->ops->config_read(dev, off, buf, len);
	return 0;
}

int vg_dev_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len)
{
	int ret;

	if (!config_range_ok(dev, off, len) || len == 0)
		return -EINVAL;
	if (!dev->ops->config_write)
		return -EPERM;
	ret = dev->ops->config_write(dev, off, buf, len);
	if (ret == 0)
		record(dev);
	return ret;
}

struct vg_vq *vg_dev_vq(struct vg_dev *dev, unsigned q)
{
	return q < dev->n_queues ? dev->queue[q].vq : NULL;
}

bool vg_dev_has(const struct vg_dev *dev, unsigned bit)
{
	return dev->features & VG_FEATURE(bit);
}

bool vg_dev_flush(struct vg_dev *dev, unsigned q)
{
	struct vg_vq *vq = vg_dev_vq(dev, q);

	if (!vq || !vg_vq_flush(vq))
		return false;
	dev->stats->interrupts++;
	dev->port->ops->notify(dev->port, q);
	return true;
}

void vg_dev_save(struct vg_dev *dev)
{
	record(dev);
}

void vg_dev_config_changed(struct vg_dev *dev)
{
	dev->generation++;
	record(dev);
	dev->port->ops->config_changed(dev->port);
}

void vg_dev_fault(struct vg_dev *dev, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	vg_log_limited(&dev->fault_log, VG_LOG_WARN,
		       "the guest broke the rules, its device stops until its driver resets it: %s",
		       text);
	if (dev->status & VG_STATUS_NEEDS_RESET)
		return;
	dev->stats->faults++;
	dev->status |= VG_STATUS_NEEDS_RESET;
	record(dev);
	dev->port->ops->config_changed(dev->port);
}

unsigned vg_dev_pop(struct vg_dev *dev, unsigned q, struct vg_chain **out, unsigned max)
{
	struct vg_vq *vq = vg_dev_vq(dev, q);
	int n;

	if (!vq || (dev->status & VG_STATUS_NEEDS_RESET))
		return 0;
	n = vg_vq_pop(vq, out, max);
	if (n >= 0)
		return (unsigned)n;
	vg_dev_fault(dev, "queue %u: %s", q, vg_vq_fault(vq) ? vg_vq_fault(vq) : strerror(-n));
	return 0;
}

bool vg_dev_rearm(struct vg_dev *dev, unsigned q)
{
	return vg_dev_rearm_after(dev, q, 1);
}

bool vg_dev_rearm_after(struct vg_dev *dev, unsigned q, unsigned n)
{
	struct vg_vq *vq = vg_dev_vq(dev, q);

	return vq && !(dev->status & VG_STATUS_NEEDS_RESET) && vg_vq_rearm_after(vq, n);
}

const struct vg_device_ops *vg_device_find(const char *name)
{
	for (const struct vg_device_ops *const *d = vg_devices; *d; d++) {
		if (strcmp((*d)->name, name) == 0)
			return *d;
	}
	return NULL;
}
