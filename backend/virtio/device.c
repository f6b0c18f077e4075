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
 *
 * A queue's life crosses from the main context to its own and back:
 *
 *	main:   running = true --start-->                        --> running = false,
 *	its:              vq is made ... stop_queue ... vq is freed --stopped--^
 *
 * Where the two are one, these are calls; else they are posted, and arrive in
 * order. Whoever waits for queues to stop is called last: for one of them, or for
 * all. A reset is what the first of the latter may ask for.
 */
#include "backend/virtio/device.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/probe.h"
#include "backend/base/ticks.h"
#include "backend/base/limits.h"
#include "backend/base/schedule.h"
#include "backend/virtio/port.h"

enum { LOOP_ENTRIES = 256 };
#define FOR_EVER (INT64_MAX / 2) /* ns: as an addend, too */

static void note_fault(struct vg_post *p);

/* ---- contexts ----------------------------------------------------------- */

static void free_contexts(struct vg_dev *dev)
{
	for (unsigned i = 1; i < dev->n_ctx; i++) {
		vg_ctx_end(&dev->ctx[i]);
		vg_loop_free(dev->ctx[i].loop);
	}
	free(dev->ctx);
	free(dev->notes);
	dev->ctx = NULL;
	dev->notes = NULL;
	dev->n_ctx = 0;
}

/* One for each group; loops, as long as there are privileges. */
static int make_contexts(struct vg_dev *dev,
			 int (*new_loop)(unsigned entries, struct vg_loop **out),
			 struct vg_err *err)
{
	dev->ctx = calloc(dev->n_groups, sizeof(*dev->ctx));
	dev->notes = calloc(dev->n_groups, sizeof(*dev->notes));
	if (!dev->ctx || !dev->notes)
		return vg_fail(err, -ENOMEM, "out of memory");
	for (; dev->n_ctx < dev->n_groups; dev->n_ctx++) {
		struct vg_ctx *ctx = &dev->ctx[dev->n_ctx];
		int ret;

		ctx->index = dev->n_ctx;
		ctx->loop = dev->loop;
		dev->notes[dev->n_ctx].dev = dev;
		dev->notes[dev->n_ctx].post.run = note_fault;
		if (dev->n_ctx == 0)
			continue;
		ret = new_loop ? new_loop(LOOP_ENTRIES, &ctx->loop)
			       : vg_loop_new(LOOP_ENTRIES, &ctx->loop);
		if (ret < 0)
			return vg_fail(err, ret, "io_uring of thread %u cannot be set up: %s",
				       dev->n_ctx, strerror(-ret));
	}
	return 0;
}

static void place_queues(struct vg_dev *dev)
{
	for (unsigned q = 0; q < VG_MAX_QUEUES; q++) {
		struct vg_queue *queue = &dev->queue[q];
		unsigned g = dev->ops->queue_group && q < dev->n_queues
				     ? dev->ops->queue_group(dev, q)
				     : 0;

		queue->dev = dev;
		queue->index = q;
		queue->ctx = &dev->ctx[g < dev->n_ctx ? g : 0];
		if (!queue->stats)
			queue->stats = &queue->own_stats;
	}
}

int vg_dev_open(struct vg_dev *dev, const struct vg_device_ops *ops, struct vg_loop *loop,
		int (*new_loop)(unsigned entries, struct vg_loop **out),
		const struct vg_params *params, struct vg_err *err)
{
	int ret;

	memset(dev, 0, sizeof(*dev));
	dev->ops = ops;
	dev->loop = loop;
	dev->stats = &dev->own_stats;
	dev->virtio_id = ops->virtio_id;
	dev->n_groups = 1;
	dev->host_bytes = VG_LIMIT_HOST_BYTES;
	dev->queue_size = VG_QUEUE_SIZE;
	dev->fault_log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	ret = vg_params_check(params, ops->params, vg_common_params, err);
	if (ret == 0)
		ret = vg_schedule_check(params, err);
	if (ret == 0 && ops->check)
		ret = ops->check(params, err);
	if (ret < 0)
		return ret;
	if (!vg_params_bool(params, vg_common_params, "packed"))
		dev->withheld_features = VG_FEATURE(VG_F_RING_PACKED);
	ret = ops->open(dev, params, err);
	if (ret < 0)
		return ret;
	ret = make_contexts(dev, new_loop, err);
	if (ret < 0) {
		ops->close(dev);
		free_contexts(dev);
	}
	return ret;
}

int vg_dev_threads(struct vg_dev *dev, struct vg_err *err)
{
	for (unsigned i = 1; i < dev->n_ctx; i++) {
		int ret = vg_ctx_start(&dev->ctx[i]);

		if (ret < 0)
			return vg_fail(err, ret, "thread %u cannot be made: %s", i, strerror(-ret));
	}
	return 0;
}

void vg_dev_threads_end(struct vg_dev *dev)
{
	for (unsigned i = 1; i < dev->n_ctx; i++)
		vg_ctx_end(&dev->ctx[i]);
}

int vg_dev_probe(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	int ret = dev->ops->probe ? dev->ops->probe(dev, params, err) : 0;

	if (ret < 0)
		return ret;
	dev->saved = calloc(1, dev->saved_size ? dev->saved_size : 1);
	if (!dev->saved)
		return vg_fail(err, -ENOMEM, "out of memory");
	place_queues(dev);
	return 0;
}

void vg_dev_close(struct vg_dev *dev)
{
	for (unsigned q = 0; q < dev->n_queues; q++)
		assert(!dev->queue[q].running);
	/* Threads first: what the device owns may be in their hands. */
	vg_dev_threads_end(dev);
	dev->ops->close(dev);
	free_contexts(dev);
	free(dev->saved);
	dev->saved = NULL;
	vg_trace_close(&dev->trace);
}

void vg_dev_map_from(struct vg_dev *dev, size_t bytes)
{
	for (unsigned i = 0; i < dev->n_ctx; i++)
		dev->ctx[i].mem->map_from = bytes;
}

/* ---- features ----------------------------------------------------------- */

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

/* ---- a queue starts ------------------------------------------------------ */

/* In its context: map the ring and hand it to the device; a ring that is not there is the guest's
 * fault. */
static void start_posted(struct vg_post *p)
{
	struct vg_queue *queue = container_of(p, struct vg_queue, start);
	struct vg_dev *dev = queue->dev;
	const struct vg_vq_config cfg = {
		.size = queue->size,
		.desc = queue->desc,
		.driver = queue->driver,
		.device = queue->device,
		.features = dev->features,
		.chain_max = queue->chain_max,
		.state = queue->state,
		.inflight = queue->inflight,
	};
	struct vg_err err = { "" };

	if (vg_vq_new(queue->ctx->mem, &cfg, &queue->vq, &err) < 0) {
		vg_dev_fault(dev, "queue %u: %s", queue->index, err.text);
		return;
	}
	if (dev->ops->start_queue)
		dev->ops->start_queue(dev, queue->index);
	/* Chains may have been made available before anyone listened. */
	vg_dev_kick(dev, queue->index);
	if (queue->taken_up)
		vg_dev_notify(dev, queue->index);
}

static void queue_start(struct vg_dev *dev, unsigned q)
{
	struct vg_queue *queue = &dev->queue[q];

	if (queue->running || !queue->enabled)
		return;
	queue->running = true;
	queue->start.run = start_posted;
	vg_ctx_post(queue->ctx, &queue->start);
}

/* ---- notifications that wait --------------------------------------------- */

static bool gathers(const struct vg_gather *g)
{
	return g->requests && g->usecs;
}

/* What waits is told of. */
static void gather_end(struct vg_queue *queue)
{
	if (!queue->gather.owed)
		return;
	queue->gather.owed = false;
	vg_loop_timer_stop(&queue->gather.late);
	vg_dev_notify(queue->dev, queue->index);
}

static void gather_late(struct vg_timer *t)
{
	gather_end(container_of(t, struct vg_queue, gather.late));
}

/* Return: whether it has waited long enough for requests. */
static bool gather_full(const struct vg_queue *queue)
{
	const struct vg_gather *g = &queue->gather;

	return !gathers(g) || queue->stats->requests - g->owed_from >= g->requests;
}

/*
 * A flush; @wanted: the driver wants to hear of it. With EVENT_IDX it says so of the first only, so
 * that it is remembered. What is suppressed does not count: a driver that polls is told late of what
 * comes after that, and not at once because so much has gone by.
 */
static bool gather_more(struct vg_queue *queue, bool wanted)
{
	struct vg_gather *g = &queue->gather;
	bool first = wanted && !g->owed;

	if (first) {
		g->owed = true;
		g->owed_from = g->published;
	}
	g->published = queue->stats->requests;
	if (g->owed && gather_full(queue)) {
		gather_end(queue);
		return true;
	}
	if (first) {
		g->late.expired = gather_late;
		vg_loop_timer(queue->ctx->loop, &g->late, (int64_t)g->usecs * 1000);
	}
	return false;
}

void vg_dev_gather(struct vg_dev *dev, unsigned q, uint32_t requests, uint32_t usecs)
{
	struct vg_queue *queue = &dev->queue[q];
	struct vg_gather *g = &queue->gather;

	if (!gathers(g))
		g->published = queue->stats->requests;
	g->requests = requests;
	g->usecs = usecs;
	if (g->owed && gather_full(queue))
		gather_end(queue);
	else if (g->owed)
		vg_loop_timer(queue->ctx->loop, &g->late, (int64_t)usecs * 1000);
}

int64_t vg_dev_patience(const struct vg_dev *dev, unsigned q)
{
	return VG_PATIENCE * dev->queue[q].ctx->notify_ns;
}

/* ---- looking at a ring --------------------------------------------------- */

static bool ring_look(struct vg_poller *p)
{
	struct vg_queue *queue = container_of(p, struct vg_queue, poller);

	if (!vg_vq_waiting(queue->vq))
		return false;
	vg_spin_found(&queue->spin);
	vg_dev_kick(queue->dev, queue->index);
	return true;
}

static void ring_over(struct vg_poller *p, bool preempted)
{
	struct vg_queue *queue = container_of(p, struct vg_queue, poller);
	struct vg_dev *dev = queue->dev;

	if (dev->spin == VG_SPIN_ALWAYS) {
		vg_loop_poll(queue->ctx->loop, p, FOR_EVER);
		return;
	}
	if (!preempted)
		vg_spin_missed(&queue->spin);
	if (vg_dev_rearm(queue->dev, queue->index))
		vg_dev_kick(queue->dev, queue->index);
}

/* What was submitted before has been through the kernel once. */
static void ring_settle(struct vg_deferred *d)
{
	struct vg_queue *queue = container_of(d, struct vg_queue, settle);

	if (!queue->settled) {
		queue->settled = true;
		vg_loop_defer(queue->ctx->loop, d);
	} else if (vg_dev_rearm(queue->dev, queue->index)) {
		vg_dev_kick(queue->dev, queue->index);
	}
}

static void settle_later(struct vg_queue *queue)
{
	vg_vq_disarm(queue->vq);
	queue->settled = false;
	queue->settle.run = ring_settle;
	vg_loop_defer(queue->ctx->loop, &queue->settle);
}

static void look_for(struct vg_queue *queue, int64_t ns)
{
	vg_vq_disarm(queue->vq);
	queue->poller.look = ring_look;
	queue->poller.over = ring_over;
	vg_loop_poll(queue->ctx->loop, &queue->poller, ns);
}

/* Neither is a notification asked for any more, nor is the ring looked at. */
static void look_away(struct vg_queue *queue)
{
	vg_loop_unpoll(&queue->poller);
	vg_loop_undefer(queue->ctx->loop, &queue->settle);
}

static bool may_look(const struct vg_dev *dev)
{
	return dev->spin == VG_SPIN_ALWAYS ||
	       (dev->spin == VG_SPIN_AUTO && !vg_dev_cheap_notify(dev));
}

bool vg_dev_watch(struct vg_dev *dev, unsigned q, bool busy)
{
	struct vg_queue *queue = &dev->queue[q];
	struct vg_vq *vq = vg_dev_vq(dev, q);
	int64_t ns;

	if (!vq || queue->stopping || !may_look(dev) ||
	    atomic_load_explicit(&dev->broken, memory_order_relaxed))
		return vg_dev_rearm(dev, q);
	look_away(queue);
	if (vg_vq_waiting(vq))
		return true;
	if (dev->spin == VG_SPIN_ALWAYS) {
		look_for(queue, FOR_EVER);
		return false;
	}
	ns = busy ? 0 : vg_spin_for(&queue->spin, vg_dev_patience(dev, q));
	if (ns)
		look_for(queue, ns);
	else if (busy && vg_spin_quick(&queue->spin, vg_dev_patience(dev, q)))
		settle_later(queue);
	else
		return vg_dev_rearm(dev, q);
	return false;
}

/* ---- a queue stops ------------------------------------------------------- */

/* Forget all that the driver has said of a queue that does not run. */
static void queue_forget(struct vg_queue *queue)
{
	queue->size = 0;
	queue->desc = queue->driver = queue->device = 0;
	queue->inflight = NULL;
	queue->state = (struct vg_vq_state)VG_VQ_STATE_START;
	queue->enabled = false;
}

void vg_waits_add(struct vg_wait **list, struct vg_wait *w)
{
	for (const struct vg_wait *other = *list; other; other = other->next) {
		if (other == w)
			return;
	}
	w->next = *list;
	*list = w;
}

void vg_waits_call(struct vg_wait **list)
{
	struct vg_wait *w = *list;

	*list = NULL;
	while (w) {
		struct vg_wait *next = w->next;

		w->done(w);
		w = next;
	}
}

static bool any_running(const struct vg_dev *dev)
{
	for (unsigned q = 0; q < dev->n_queues; q++) {
		if (dev->queue[q].running)
			return true;
	}
	return false;
}

static void reset_finish(struct vg_dev *dev)
{
	for (unsigned q = 0; q < dev->n_queues; q++)
		queue_forget(&dev->queue[q]);
	if (dev->status)
		dev->stats->resets++;
	dev->ops->reset(dev);
	dev->started = false;
	dev->resetting = false;
	dev->status = 0;
	dev->features = 0;
	dev->driver_features = 0;
	atomic_store(&dev->broken, false);
	record(dev);
}

/* Nothing runs any more, and somebody waits for that. */
static void all_stopped(struct vg_dev *dev)
{
	if (!dev->waits || any_running(dev))
		return;
	if (dev->resetting)
		reset_finish(dev);
	vg_waits_call(&dev->waits);
}

/* In the main context: queue->vq is no more, and queue->state says where it stood. */
static void stopped_main(struct vg_queue *queue)
{
	struct vg_dev *dev = queue->dev;
	bool alone = queue->waits != NULL;

	queue->running = queue->stop_asked = false;
	if (queue->state_out)
		*queue->state_out = queue->state;
	queue->state_out = NULL;
	if (alone) {
		queue_forget(queue);
		if (dev->ops->forget_queue)
			dev->ops->forget_queue(dev, queue->index);
		record(dev);
		vg_waits_call(&queue->waits);
	}
	all_stopped(dev);
}

static void stopped_posted(struct vg_post *p)
{
	stopped_main(container_of(p, struct vg_queue, stopped));
}

static void tell_stopped(struct vg_queue *queue)
{
	queue->stopping = false;
	queue->stopped.run = stopped_posted;
	if (queue->ctx->index == 0)
		stopped_main(queue);
	else
		vg_loop_post(queue->dev->loop, &queue->stopped);
}

void vg_dev_queue_stopped(struct vg_dev *dev, unsigned q)
{
	struct vg_queue *queue = &dev->queue[q];

	if (!queue->stopping || !queue->vq)
		return;
	vg_dev_flush(dev, q);
	gather_end(queue);
	queue->gather = (struct vg_gather){ .requests = 0 };
	/* A chain that is neither answered nor put back would be lost to the driver for good. */
	assert(vg_vq_inflight(queue->vq) == 0 || queue->leaves || atomic_load(&dev->broken));
	queue->leaves = false;
	queue->state = vg_vq_stop(queue->vq);
	vg_vq_free(queue->vq);
	queue->vq = NULL;
	vg_loop_undefer(queue->ctx->loop, &queue->again);
	tell_stopped(queue);
}

bool vg_dev_leave(struct vg_dev *dev, unsigned q)
{
	dev->queue[q].leaves = dev->resetting || dev->queue[q].inflight;
	return dev->queue[q].leaves;
}

/* In its context. */
static void stop_posted(struct vg_post *p)
{
	struct vg_queue *queue = container_of(p, struct vg_queue, stop);

	queue->stopping = true;
	look_away(queue);
	if (queue->vq)
		queue->dev->ops->stop_queue(queue->dev, queue->index);
	else
		tell_stopped(queue);
}

static void queue_stop(struct vg_queue *queue)
{
	if (!queue->running || queue->stop_asked)
		return;
	queue->stop_asked = true;
	queue->stop.run = stop_posted;
	vg_ctx_post(queue->ctx, &queue->stop);
}

static void stop_all(struct vg_dev *dev, struct vg_wait *w)
{
	vg_waits_add(&dev->waits, w);
	for (unsigned q = 0; q < dev->n_queues; q++)
		queue_stop(&dev->queue[q]);
	all_stopped(dev);
}

void vg_dev_reset(struct vg_dev *dev, struct vg_wait *w)
{
	dev->resetting = true;
	stop_all(dev, w);
}

void vg_dev_quiesce(struct vg_dev *dev, struct vg_wait *w)
{
	stop_all(dev, w);
}

void vg_dev_reset_queue(struct vg_dev *dev, unsigned q, struct vg_vq_state *state,
			struct vg_wait *w)
{
	struct vg_queue *queue;

	if (q >= dev->n_queues) {
		w->done(w);
		return;
	}
	queue = &dev->queue[q];
	if (!queue->running) {
		if (state)
			*state = queue->state;
		queue_forget(queue);
		record(dev);
		w->done(w);
		return;
	}
	vg_waits_add(&queue->waits, w);
	queue->state_out = state;
	queue_stop(queue);
}

bool vg_dev_queue_running(const struct vg_dev *dev, unsigned q)
{
	return q < dev->n_queues && dev->queue[q].running;
}

/* ---- all contexts --------------------------------------------------------- */

struct round {
	struct vg_dev *dev;
	void (*fn)(struct vg_ctx *ctx, void *arg);
	void *arg;
	struct vg_wait *w;
	unsigned left;
	struct way {
		struct vg_post post; /* there, and back */
		struct round *round;
		struct vg_ctx *ctx;
	} way[];
};

static void came_back(struct vg_post *p)
{
	struct round *r = container_of(p, struct way, post)->round;
	struct vg_wait *w = r->w;

	if (--r->left)
		return;
	free(r);
	w->done(w);
}

static void there(struct vg_post *p)
{
	struct way *way = container_of(p, struct way, post);

	if (way->round->fn)
		way->round->fn(way->ctx, way->round->arg);
	p->run = came_back;
	vg_loop_post(way->round->dev->loop, p);
}

void vg_dev_each(struct vg_dev *dev, void (*fn)(struct vg_ctx *ctx, void *arg), void *arg,
		 struct vg_wait *w)
{
	struct round *r;

	if (fn)
		fn(&dev->ctx[0], arg);
	if (dev->n_ctx < 2) {
		w->done(w);
		return;
	}
	r = calloc(1, sizeof(*r) + (dev->n_ctx - 1) * sizeof(r->way[0]));
	if (!r)
		abort(); /* some hundred bytes; nobody could be told */
	*r = (struct round){ .dev = dev, .fn = fn, .arg = arg, .w = w, .left = dev->n_ctx - 1 };
	for (unsigned i = 1; i < dev->n_ctx; i++) {
		struct way *way = &r->way[i - 1];

		*way = (struct way){ .post.run = there, .round = r, .ctx = &dev->ctx[i] };
		vg_loop_post(dev->ctx[i].loop, &way->post);
	}
}

void vg_dev_sync(struct vg_dev *dev, struct vg_wait *w)
{
	vg_dev_each(dev, NULL, NULL, w);
}

/* ---- status --------------------------------------------------------------- */

/* DRIVER_OK is set: the device starts, then every queue that is set. */
static void start(struct vg_dev *dev)
{
	if (dev->started)
		return;
	dev->started = true;
	for (unsigned i = 0; dev->pins && i < dev->n_ctx; i++)
		dev->ctx[i].mem->pins = true;
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

uint32_t vg_dev_set_status(struct vg_dev *dev, uint32_t status)
{
	uint32_t added = status & ~dev->status;

	if (status == 0 || dev->resetting)
		return dev->status;
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
		   const void *saved, size_t saved_size)
{
	dev->resuming = true;
	dev->status = status;
	dev->driver_features = features;
	dev->features = status & VG_STATUS_FEATURES_OK ? features : 0;
	dev->generation = generation;
	atomic_store(&dev->broken, status & VG_STATUS_NEEDS_RESET);
	memset(dev->saved, 0, dev->saved_size);
	memcpy(dev->saved, saved, saved_size < dev->saved_size ? saved_size : dev->saved_size);
}

void vg_dev_resumed(struct vg_dev *dev)
{
	int ret = 0;

	dev->resuming = false;
	/* Features that are not offered any more stay negotiated: what the device is told to refuse now it
	 * refuses request by request; what it cannot do at all its resume says. */
	if (dev->status && dev->ops->resume)
		ret = dev->ops->resume(dev);
	if (ret < 0)
		vg_dev_fault(dev, "the device cannot go on where its predecessor was: %s",
			     strerror(-ret));
	if (dev->status & VG_STATUS_DRIVER_OK)
		start(dev);
}

uint32_t vg_dev_queue_max(const struct vg_dev *dev, unsigned q)
{
	if (q >= dev->n_queues)
		return 0;
	if (dev->queue[q].max)
		return dev->queue[q].max;
	return dev->queue_size_max ? dev->queue_size_max : dev->queue_size;
}

int vg_dev_set_queue(struct vg_dev *dev, unsigned q, uint32_t size, uint64_t desc, uint64_t driver,
		     uint64_t device, const struct vg_vq_state *state, void *inflight)
{
	static const struct vg_vq_state from_start = VG_VQ_STATE_START;
	struct vg_queue *queue;

	if (size == 0 || size > vg_dev_queue_max(dev, q))
		return -EINVAL;
	if (!(dev->status & VG_STATUS_FEATURES_OK) || dev->resetting || dev->queue[q].enabled ||
	    dev->queue[q].running)
		return -EBUSY;
	if (!vg_dev_has(dev, VG_F_RING_PACKED) && (size & (size - 1)))
		return -EINVAL;
	queue = &dev->queue[q];
	queue->size = size;
	queue->desc = desc;
	queue->driver = driver;
	queue->device = device;
	queue->inflight = inflight;
	queue->state = state ? *state : from_start;
	queue->enabled = true;
	queue->taken_up = dev->resuming;
	if (dev->resuming)
		return 0;
	record(dev);
	if (dev->started)
		queue_start(dev, q);
	return 0;
}

void vg_dev_kick(struct vg_dev *dev, unsigned q)
{
	if (q < dev->n_queues && dev->queue[q].vq && !dev->queue[q].stopping &&
	    !atomic_load_explicit(&dev->broken, memory_order_relaxed))
		dev->ops->queue_ready(dev, q);
}

static void kick_again(struct vg_deferred *d)
{
	struct vg_queue *queue = container_of(d, struct vg_queue, again);

	vg_dev_kick(queue->dev, queue->index);
}

void vg_dev_kick_later(struct vg_dev *dev, unsigned q)
{
	struct vg_queue *queue = &dev->queue[q];

	queue->again.run = kick_again;
	vg_loop_defer(queue->ctx->loop, &queue->again);
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
	bool wanted;

	if (!vq)
		return false;
	wanted = vg_vq_flush(vq);
	if (may_look(dev) && !vg_vq_inflight(vq))
		vg_spin_answered(&dev->queue[q].spin, vg_span_ns());
	if (gathers(&dev->queue[q].gather))
		return gather_more(&dev->queue[q], wanted);
	if (wanted)
		vg_dev_notify(dev, q);
	return wanted;
}

void vg_dev_notify(struct vg_dev *dev, unsigned q)
{
	struct vg_queue *queue = &dev->queue[q];
	int64_t before = vg_span_ns();

	queue->stats->interrupts++;
	VG_PROBE(notify, q);
	dev->port->ops->notify(dev->port, q);
	queue->ctx->notify_ns += (vg_span_ns() - before - queue->ctx->notify_ns) / 16;
}

bool vg_dev_cheap_notify(const struct vg_dev *dev)
{
	return dev->port->ops->cheap_notify;
}

void vg_dev_save(struct vg_dev *dev)
{
	record(dev);
}

void vg_dev_resized(struct vg_dev *dev, const char *text)
{
	if (dev->lender && dev->lender->resized)
		dev->lender->resized(dev->lender, text);
}

int vg_dev_ask(struct vg_dev *dev, const char *what, bool write)
{
	return dev->lender ? dev->lender->ask(dev->lender, what, write) : -ENOTCONN;
}

void vg_dev_config_changed(struct vg_dev *dev)
{
	dev->generation++;
	record(dev);
	dev->port->ops->config_changed(dev->port);
}

/* In the main context. */
static void fault_here(struct vg_dev *dev, const char *text)
{
	atomic_store(&dev->broken, true);
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

static void note_fault(struct vg_post *p)
{
	struct vg_fault_note *n = container_of(p, struct vg_fault_note, post);
	char text[sizeof(n->text)];

	memcpy(text, n->text, sizeof(text));
	atomic_store(&n->sent, false);
	fault_here(n->dev, text);
}

/* Which context this thread is; the main one if none. */
static unsigned this_context(const struct vg_dev *dev)
{
	const struct vg_loop *here = vg_loop_current();

	for (unsigned i = 1; i < dev->n_ctx; i++) {
		if (dev->ctx[i].loop == here)
			return i;
	}
	return 0;
}

void vg_dev_fault(struct vg_dev *dev, const char *fmt, ...)
{
	unsigned i = this_context(dev);
	struct vg_fault_note *n = &dev->notes[i];
	char text[sizeof(n->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (i == 0) {
		fault_here(dev, text);
		return;
	}
	/* No context takes anything more, from now on; one reason is enough. */
	atomic_store(&dev->broken, true);
	if (atomic_exchange(&n->sent, true))
		return;
	memcpy(n->text, text, sizeof(text));
	vg_loop_post(dev->loop, &n->post);
}

unsigned vg_dev_pop(struct vg_dev *dev, unsigned q, struct vg_chain **out, unsigned max)
{
	struct vg_vq *vq = vg_dev_vq(dev, q);
	int n;

	if (!vq || atomic_load_explicit(&dev->broken, memory_order_relaxed))
		return 0;
	n = vg_vq_pop(vq, out, max);
	if (n > 0)
		VG_PROBE(pop, q, n, out[0]->id);
	if (n > 0 && may_look(dev))
		vg_spin_came(&dev->queue[q].spin, vg_span_ns(), vg_dev_patience(dev, q));
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

	return vq && !atomic_load_explicit(&dev->broken, memory_order_relaxed) &&
	       vg_vq_rearm_after(vq, n);
}

const struct vg_device_ops *vg_device_of(const struct vg_params *params)
{
	const struct vg_device_ops *ops = vg_device_find(params->device);
	const struct vg_device_ops *other = ops && ops->as ? ops->as(params) : NULL;

	return other ? other : ops;
}

const struct vg_device_ops *vg_device_find(const char *name)
{
	for (const struct vg_device_ops *const *d = vg_devices; *d; d++) {
		if (strcmp((*d)->name, name) == 0)
			return *d;
	}
	return NULL;
}
