// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * grant.c - see grant.h
 *
 * The control page is read with the care that memory needs which another
 * domain can write at any time: an index is loaded once, a message copied once.
 *
 * Messages are handled one after the other, in their order. A request that takes
 * long (a reset: the disk must finish) stays the first in the page until it is
 * answered; requests behind it that only read are answered meanwhile, and passed
 * over when their turn comes. Should we die before, a successor finds them all
 * again.
 *
 * To connect, to disconnect and to become quiet complete later, since queues must
 * stop and each context must have let go of its event channels.
 */
#include "backend/ports/grant/grant.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <xenevtchn.h>

/* After the types that they do not include. */
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>

#include "backend/base/container.h"
#include "backend/base/probe.h"
#include "backend/memory/data.h"
#include "backend/memory/grants.h"
#include "backend/ports/grant/channels.h"
#include "backend/ports/grant/virtio_msg.h"
#include "backend/virtio/port.h"

static const struct vg_sandbox_call calls[] = {
	VG_CALL_IOCTL(IOCTL_GNTDEV_MAP_GRANT_REF),
	VG_CALL_IOCTL(IOCTL_GNTDEV_UNMAP_GRANT_REF),
	VG_CALL_IOCTL(IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR), /* of xengnttab_unmap() */
	VG_CALL_IOCTL(IOCTL_GNTDEV_GRANT_COPY),
	VG_CALL_IOCTL(IOCTL_EVTCHN_BIND_INTERDOMAIN),
	VG_CALL_IOCTL(IOCTL_EVTCHN_UNBIND),
	VG_CALL_IOCTL(IOCTL_EVTCHN_NOTIFY),
	VG_CALLS_END,
};

const struct vg_sandbox_needs vg_grant_port_needs = { .calls = calls };

enum { CONTROL = VG_CHANNEL_CONTROL };
enum { REBIND_TRIES = 100, REBIND_PAUSE_NS = 10000000 };

/* A context as the port sees it. */
struct view {
	struct vg_grant_port *gp;
	struct vg_ctx *ctx;
	struct vg_grant_mem gm;
	struct vg_deferred show; /* refresh what `vgrant list` shows */
};

/* A pool that the driver takes back, while each context is asked whether it has requests there. */
struct parting {
	struct vg_wait asked;
	struct vg_wait *w; /* who waits for it */
	unsigned pool;	   /* index */
	bool gone;	   /* with all others */
	_Atomic uint32_t held;
};

struct vg_grant_port {
	struct vg_port port;
	struct vg_msg_bus bus;
	struct vg_dev *dev;
	struct vg_record_map *rec;
	struct vg_record_state state; /* what vg_record_write() will store */
	struct vg_grant_port_events events;
	struct view *view; /* dev->n_ctx of them */
	struct vg_channels channels;
	struct parting parting;
	struct virtio_grant_control *page; /* NULL: not connected */
	struct vg_deferred more;	   /* messages, or an event, that wait for the next turn */
	bool late;			   /* the first request in the page is being carried out */
	size_t late_len;    /* its answer is there, of so many bytes, and waits for room */
	unsigned ahead;	    /* bit i: the i-th behind the first was answered already */
	bool event_pending; /* an EVENT_CONFIG is owed */
	struct vg_ratelimit log;

	/* connecting */
	uint32_t control_ref, channel;
	bool connecting, take_up;
	unsigned tries;
	struct vg_timer again;
	struct vg_record_state before;
	struct vg_wait left; /* the connection before */

	/* disconnecting, or becoming quiet */
	struct vg_wait stopped, synced, seen;
	bool leaving, keep;	 /* the latter: the record, and the page, are a successor's */
	struct vg_wait *leavers; /* who waits for it */

	_Alignas(8) uint8_t req[VIRTIO_GRANT_SLOT_SIZE];
	_Alignas(8) uint8_t resp[VIRTIO_GRANT_SLOT_SIZE];
};

static struct vg_grant_mem *main_mem(struct vg_grant_port *gp)
{
	return &gp->view[0].gm;
}

/* ---- the control page --------------------------------------------------- */

static uint32_t load_acquire(const unsigned int *index)
{
	return le32toh(__atomic_load_n(index, __ATOMIC_ACQUIRE));
}

static void store_release(unsigned int *index, uint32_t value)
{
	__atomic_store_n(index, htole32(value), __ATOMIC_RELEASE);
}

/* How many messages lie between two indices, or -1: more than there is room for. */
static int distance(uint32_t prod, uint32_t cons)
{
	return prod - cons <= VIRTIO_GRANT_SLOTS ? (int)(prod - cons) : -1;
}

static void broken(struct vg_grant_port *gp, const char *why)
{
	vg_log_limited(&gp->log, VG_LOG_WARN, "the guest broke the control page: %s", why);
	gp->dev->stats->faults++;
	gp->events.broken(gp->events.owner, why);
}

/* Slots free in the to-driver ring, or -1. */
static int room(struct vg_grant_port *gp)
{
	int used = distance(load_acquire(&gp->page->device_prod.value),
			    load_acquire(&gp->page->tail.driver_cons));

	return used < 0 ? -1 : (int)VIRTIO_GRANT_SLOTS - used;
}

/* There is room. The producer index is ours, yet lies where the guest can write: a wrong one costs
 * the guest its own messages and us nothing. */
static void send(struct vg_grant_port *gp, const void *msg, size_t len)
{
	uint32_t prod = load_acquire(&gp->page->device_prod.value);

	memcpy(gp->page->to_driver[prod % VIRTIO_GRANT_SLOTS], msg, len);
	store_release(&gp->page->device_prod.value, prod + 1);
}

static void take(struct vg_grant_port *gp, uint32_t i)
{
	memcpy(gp->req, gp->page->to_device[i % VIRTIO_GRANT_SLOTS], sizeof(gp->req));
}

/* The first request is done with, and those behind it that were answered already. Only now: one whose
 * answer was not published is handled again by a successor. */
static void advance(struct vg_grant_port *gp)
{
	uint32_t cons = load_acquire(&gp->page->device_cons.value) + 1;

	for (; gp->ahead & 1; gp->ahead >>= 1)
		cons++;
	gp->ahead >>= 1;
	store_release(&gp->page->device_cons.value, cons);
}

/* While the first is being carried out: answer those of the others that only read, up to one that does
 * not. Return: how many. */
static unsigned answer_ahead(struct vg_grant_port *gp, uint32_t cons, int waiting)
{
	unsigned n = 0;

	for (int i = 1; i < waiting && room(gp) > 0; i++) {
		size_t len;

		if (gp->ahead >> (i - 1) & 1)
			continue;
		take(gp, cons + (uint32_t)i);
		if (!vg_msg_reads(gp->req, sizeof(gp->req)))
			break;
		len = vg_msg_handle(&gp->bus, gp->req, sizeof(gp->req), gp->resp);
		if (len)
			send(gp, gp->resp, len);
		gp->ahead |= 1u << (i - 1);
		n++;
	}
	return n;
}

/* Requests, if there are any and room for their answers. Return: how many were answered. */
static unsigned some_messages(struct vg_grant_port *gp)
{
	struct virtio_grant_control *page = gp->page;
	uint32_t cons = load_acquire(&page->device_cons.value);
	int waiting = distance(load_acquire(&page->driver_prod.value), cons);
	int slots = room(gp);
	size_t len;

	if (waiting < 0 || slots < 0) {
		broken(gp, "an index is out of range");
		return 0;
	}
	if (waiting == 0 || slots == 0)
		return 0;
	if (gp->late)
		return answer_ahead(gp, cons, waiting);
	if (gp->late_len) {
		send(gp, gp->bus.late, gp->late_len);
		gp->late_len = 0;
		advance(gp);
		return 1;
	}
	take(gp, cons);
	len = vg_msg_handle(&gp->bus, gp->req, sizeof(gp->req), gp->resp);
	gp->late = len == VG_MSG_LATER;
	if (gp->late)
		return answer_ahead(gp, cons, waiting);
	if (len)
		send(gp, gp->resp, len);
	advance(gp);
	return 1;
}

/* Serve the control page, fairly: what is left over waits for the next turn. */
static void serve(struct vg_grant_port *gp)
{
	unsigned handled = 0, n;
	bool sent = false;

	if (!gp->page || gp->leaving)
		return;
	while (handled < VG_LIMIT_MESSAGES_PER_TURN && (n = some_messages(gp)) > 0)
		handled += n;
	if (gp->event_pending && room(gp) > 0) {
		send(gp, gp->resp, vg_msg_event_config(gp->dev, gp->resp));
		gp->event_pending = false;
		sent = true;
	}
	if (handled || sent)
		vg_channels_notify(&gp->channels, CONTROL);
	if (handled >= VG_LIMIT_MESSAGES_PER_TURN) /* there may be more: they take their turn */
		vg_loop_defer(gp->dev->loop, &gp->more);
}

static void serve_more(struct vg_deferred *d)
{
	serve(container_of(d, struct vg_grant_port, more));
}

/* ---- events ------------------------------------------------------------- */

static void kicked(void *owner, unsigned q)
{
	struct vg_grant_port *gp = owner;

	vg_dev_stats(gp->dev, q)->kicks++;
	VG_PROBE(kick, q);
	vg_dev_kick(gp->dev, q);
}

static void control(void *owner)
{
	serve(owner);
}

static void turned(void *owner, struct vg_ctx *ctx)
{
	struct vg_grant_port *gp = owner;

	vg_loop_defer(ctx->loop, &gp->view[ctx->index].show);
}

/* ---- the record --------------------------------------------------------- */

static void save(struct vg_port *port)
{
	struct vg_grant_port *gp = container_of(port, struct vg_grant_port, port);
	struct vg_record_state *s = &gp->state;
	struct vg_dev *dev = gp->dev;

	/* While a state is taken up the record is what it is taken from. */
	if (!gp->page || dev->resuming)
		return;
	s->status = dev->status;
	s->features = dev->driver_features;
	s->generation = dev->generation;
	s->saved = dev->saved;
	s->saved_size = (uint32_t)dev->saved_size;
	s->n_pools = 0;
	for (unsigned i = 0; i < main_mem(gp)->n_pools; i++) {
		const struct vg_grant_pool *p = &main_mem(gp)->pool[i];

		if (p->pages)
			s->pool[s->n_pools++] = (struct vg_record_pool){
				.first_ref = (uint32_t)((p->addr & ~VIRTIO_GRANT_ADDR_FLAG) >>
							VIRTIO_GRANT_PAGE_SHIFT),
				.pages = p->pages,
			};
	}
	for (unsigned q = 0; q < dev->n_queues; q++) {
		struct vg_record_queue *r = &s->queue[q];

		*r = (struct vg_record_queue){
			.channel = gp->channels.channel[q].remote,
		};
		if (!dev->queue[q].enabled)
			continue;
		r->size = dev->queue[q].size;
		r->desc = dev->queue[q].desc;
		r->driver = dev->queue[q].driver;
		r->device = dev->queue[q].device;
	}
	vg_record_write(gp->rec, s);
}

/* Copy what `vgrant list` shows of a context's queues to where the supervisor can see it. */
static void show_view(struct view *v)
{
	struct vg_grant_port *gp = v->gp;

	if (!gp->rec->base)
		return;
	for (unsigned q = 0; q < gp->dev->n_queues; q++) {
		const struct vg_queue *queue = &gp->dev->queue[q];

		if (queue->ctx == v->ctx)
			vg_record_show(gp->rec, queue, gp->channels.channel[q].kicks);
	}
}

static void show(struct vg_deferred *d)
{
	show_view(container_of(d, struct view, show));
}

/* Take up the connection that a predecessor had. Whatever of it is not there any more (the guest
 * freed a port, revoked a grant) is the guest's fault and ends in NEEDS_RESET. */
static void resume(struct vg_grant_port *gp, const struct vg_record_state *s)
{
	struct vg_dev *dev = gp->dev;

	vg_dev_resume(dev, s->status, s->features, s->generation, s->saved, s->saved_size);
	if (s->lost_queues)
		vg_dev_fault(dev, "%u of its queues are not configured any more", s->lost_queues);
	for (uint32_t i = 0; i < s->n_pools && i < VG_LIMIT_POOLS; i++) {
		if (vg_grant_pool_add(main_mem(gp), s->pool[i].first_ref, s->pool[i].pages) < 0)
			vg_dev_fault(dev, "its pool cannot be mapped again");
	}
	for (unsigned q = 0; q < dev->n_queues; q++) {
		const struct vg_record_queue *r = &s->queue[q];

		if (r->channel && !gp->channels.channel[q].bound)
			vg_dev_fault(dev, "queue %u: its event channel cannot be bound again", q);
		if (r->size && vg_dev_set_queue(dev, q, r->size, r->desc, r->driver, r->device,
						NULL, vg_record_inflight(gp->rec, q)) < 0)
			vg_dev_fault(dev, "queue %u: it cannot be taken up with %u descriptors", q,
				     r->size);
	}
	vg_dev_resumed(dev);
	/* What the predecessor owed, it cannot give any more; a driver that was told already looks once
	 * more, and finds nothing new. */
	gp->event_pending = true;
}

/* ---- what the device asks of its port ----------------------------------- */

static void notify(struct vg_port *port, unsigned q)
{
	vg_channels_notify(&container_of(port, struct vg_grant_port, port)->channels, q);
}

static void config_changed(struct vg_port *port)
{
	struct vg_grant_port *gp = container_of(port, struct vg_grant_port, port);

	gp->event_pending = true;
	vg_loop_defer(gp->dev->loop, &gp->more);
}

static const struct vg_port_ops grant_port_ops = {
	.name = "grant",
	.features = VG_FEATURE(VG_F_INDIRECT_DESC) | VG_FEATURE(VG_F_EVENT_IDX) |
		    VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_ACCESS_PLATFORM) |
		    VG_FEATURE(VG_F_RING_PACKED) | VG_FEATURE(VG_F_IN_ORDER) |
		    VG_FEATURE(VG_F_RING_RESET),
	/* Without ACCESS_PLATFORM a driver would send guest-physical addresses. */
	.required = VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_ACCESS_PLATFORM),
	.notify = notify,
	.config_changed = config_changed,
	.record = save,
};

/* ---- what a message asks of its bus ------------------------------------- */

static struct vg_grant_port *of_bus(struct vg_msg_bus *bus)
{
	return container_of(bus, struct vg_grant_port, bus);
}

static int bus_set_channel(struct vg_msg_bus *bus, unsigned q, uint32_t port)
{
	struct vg_grant_port *gp = of_bus(bus);
	const struct vg_channel *c = &gp->channels.channel[q];
	int ret;

	/* A successor hears the same request again: the same port is no change. */
	if (port && c->bound && c->remote == port)
		return 0;
	vg_channels_unbind(&gp->channels, q);
	ret = port ? vg_channels_bind(&gp->channels, q, port) : 0;
	save(&gp->port);
	return ret;
}

static int bus_add_pool(struct vg_msg_bus *bus, uint32_t first_ref, uint32_t pages)
{
	struct vg_grant_port *gp = of_bus(bus);
	struct vg_grant_mem *gm = main_mem(gp);
	int ret;

	if (vg_grant_pool_find(gm, first_ref, pages) >= 0)
		return 0; /* heard again by a successor */
	ret = vg_grant_pool_add(gm, first_ref, pages);
	save(&gp->port);
	return ret;
}

/* In each context: no request can find the pool from here on, and those that did are counted. */
static void count_held(struct vg_ctx *ctx, void *arg)
{
	struct vg_grant_port *gp = arg;

	atomic_fetch_add(&gp->parting.held, gp->view[ctx->index].gm.held[gp->parting.pool]);
}

static void held_counted(struct vg_wait *w)
{
	struct vg_grant_port *gp = container_of(w, struct vg_grant_port, parting.asked);
	struct parting *parting = &gp->parting;
	bool held = atomic_load(&parting->held);

	if (!parting->gone && held)
		vg_grant_pool_show(main_mem(gp), parting->pool, true);
	else if (!parting->gone)
		vg_grant_pool_drop(main_mem(gp), parting->pool);
	save(&gp->port);
	gp->bus.error = held ? -EBUSY : 0;
	parting->w->done(parting->w);
}

static void bus_drop_pool(struct vg_msg_bus *bus, uint32_t first_ref, uint32_t pages,
			  struct vg_wait *w)
{
	struct vg_grant_port *gp = of_bus(bus);
	int i = vg_grant_pool_find(main_mem(gp), first_ref, pages);

	if (i < 0) {
		bus->error = i == -ENOENT ? 0 : i; /* dropped by a predecessor, or never there */
		w->done(w);
		return;
	}
	gp->parting.w = w;
	gp->parting.pool = (unsigned)i;
	gp->parting.gone = false;
	atomic_store(&gp->parting.held, 0);
	vg_grant_pool_show(main_mem(gp), (unsigned)i, false);
	vg_dev_each(gp->dev, count_held, gp, &gp->parting.asked);
}

/* All go: no queue runs. */
static void drop_pools(struct vg_grant_port *gp)
{
	vg_grant_pools_drop(main_mem(gp));
	gp->parting.gone = true;
}

static bool bus_queue_wanted(struct vg_msg_bus *bus, unsigned q, void **inflight)
{
	struct vg_grant_port *gp = of_bus(bus);

	if (!gp->channels.channel[q].bound)
		return false;
	vg_record_fresh(gp->rec, q);
	*inflight = vg_record_inflight(gp->rec, q);
	return true;
}

static void bus_queue_gone(struct vg_msg_bus *bus, unsigned q)
{
	struct vg_grant_port *gp = of_bus(bus);

	vg_channels_unbind(&gp->channels, q);
	save(&gp->port);
}

static void bus_device_gone(struct vg_msg_bus *bus)
{
	struct vg_grant_port *gp = of_bus(bus);

	for (unsigned q = 0; q < gp->dev->n_queues; q++)
		vg_channels_unbind(&gp->channels, q);
	drop_pools(gp);
	save(&gp->port);
}

static void bus_late(struct vg_msg_bus *bus, size_t len)
{
	struct vg_grant_port *gp = of_bus(bus);

	gp->late = false;
	if (!gp->page || gp->leaving)
		return;
	gp->late_len = len;
	vg_loop_defer(gp->dev->loop, &gp->more);
}

static const struct vg_msg_bus_ops bus_ops = {
	.set_channel = bus_set_channel,
	.add_pool = bus_add_pool,
	.drop_pool = bus_drop_pool,
	.queue_wanted = bus_queue_wanted,
	.queue_gone = bus_queue_gone,
	.device_gone = bus_device_gone,
	.late = bus_late,
};

/* ---- life --------------------------------------------------------------- */

static void stopped(struct vg_wait *w);
static void synced(struct vg_wait *w);
static void seen(struct vg_wait *w);
static void left(struct vg_wait *w);
static void try_again(struct vg_timer *t);

static int open_mem(struct vg_grant_mem *gm, uint32_t domid, struct vg_grant_mem *pools, bool lends,
		    const struct vg_budget *budget, struct vg_err *err)
{
	int ret = vg_grant_mem_init(gm, domid, pools, budget);

	if (ret == 0 && lends)
		ret = vg_grant_lend(gm);

	if (ret < 0)
		return vg_fail(err, ret,
			       "the grant device cannot be opened: %s; is this a Xen domain with "
			       "xen-gntdev loaded?",
			       strerror(-ret));
	/* From here on this handle reaches no other domain, where the kernel has that: the supervisor
	 * says once whether it has. */
	ret = vg_grant_keep(gm, domid);
	if (ret == 0 || ret == -ENOTTY)
		return 0;
	vg_grant_mem_close(gm);
	return vg_fail(err, ret, "the grant device cannot be kept to domain %u: %s", domid,
		       strerror(-ret));
}

static int open_views(struct vg_grant_port *gp, uint32_t domid, const struct vg_budget *budget,
		      struct vg_err *err)
{
	struct vg_dev *dev = gp->dev;
	struct vg_budget share = *budget;

	/* Each context has its own bounce memory and its own mappings of data, of equal parts; but not
	 * so little that a request would never fit. */
	share.data_pages /= dev->n_ctx;
	share.bounce_bytes /= dev->n_ctx;
	if (share.bounce_bytes < VG_LIMIT_BOUNCE_LEAST)
		share.bounce_bytes = VG_LIMIT_BOUNCE_LEAST;
	for (unsigned i = 0; i < dev->n_ctx; i++) {
		struct view *v = &gp->view[i];
		int ret = open_mem(&v->gm, domid, i ? main_mem(gp) : NULL, i == 0 && dev->lends,
				   &share, err);

		if (ret < 0)
			return ret;
		v->gp = gp;
		v->ctx = &dev->ctx[i];
		v->show.run = show;
		v->ctx->mem = &v->gm.mem;
		if (dev->pins)
			vg_bounce_pin(v->gm.mem.bounce, v->ctx->loop);
	}
	return 0;
}

int vg_grant_port_new(struct vg_dev *dev, uint32_t domid, const struct vg_budget *budget,
		      struct vg_record_map *rec, const struct vg_grant_port_events *events,
		      struct vg_grant_port **out, struct vg_err *err)
{
	struct vg_grant_port *gp = calloc(1, sizeof(*gp));
	struct vg_channels_events ch = { .kicked = kicked, .control = control, .turned = turned };
	int ret;

	if (!gp)
		return vg_fail(err, -ENOMEM, "out of memory");
	gp->port.ops = &grant_port_ops;
	gp->bus = (struct vg_msg_bus){ .ops = &bus_ops, .dev = dev };
	gp->dev = dev;
	gp->rec = rec;
	gp->events = *events;
	gp->more.run = serve_more;
	gp->again.expired = try_again;
	gp->stopped.done = stopped;
	gp->synced.done = synced;
	gp->seen.done = seen;
	gp->left.done = left;
	gp->parting.asked.done = held_counted;
	gp->log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	gp->view = calloc(dev->n_ctx, sizeof(*gp->view));
	ret = gp->view ? open_views(gp, domid, budget, err)
		       : vg_fail(err, -ENOMEM, "out of memory");
	ch.owner = gp;
	if (ret == 0)
		ret = vg_channels_open(&gp->channels, dev, domid, &ch, err);
	if (ret) {
		vg_grant_port_free(gp);
		return ret;
	}
	for (unsigned i = 0; i < dev->n_ctx; i++)
		gp->channels.end[i].stats = gp->view[i].gm.stats;
	dev->port = &gp->port;
	dev->mem = dev->ctx[0].mem;
	*out = gp;
	return 0;
}

void vg_grant_port_recorded(struct vg_grant_port *gp)
{
	struct vg_dev *dev = gp->dev;

	dev->stats = vg_record_stats(gp->rec);
	for (unsigned q = 0; q < dev->n_queues; q++)
		dev->queue[q].stats = vg_record_queue_stats(gp->rec, q);
	for (unsigned i = 0; i < dev->n_ctx; i++) {
		gp->view[i].gm.stats = vg_record_hyper(gp->rec, i);
		gp->channels.end[i].stats = gp->view[i].gm.stats;
	}
	vg_record_offered(gp->rec, vg_dev_offered(dev));
}

void vg_grant_port_free(struct vg_grant_port *gp)
{
	if (!gp)
		return;
	vg_loop_timer_stop(&gp->again);
	vg_loop_undefer(gp->dev->loop, &gp->more);
	if (gp->channels.end)
		vg_channels_close(&gp->channels);
	for (unsigned i = 0; gp->view && i < gp->dev->n_ctx; i++) {
		struct view *v = &gp->view[i];

		if (!v->gp)
			continue;
		vg_loop_undefer(v->ctx->loop, &v->show);
		vg_grant_mem_close(&v->gm);
	}
	free(gp->view);
	free(gp);
}

/* ---- connecting --------------------------------------------------------- */

static void unbind_all(struct vg_grant_port *gp)
{
	for (unsigned c = 0; c < VG_CHANNELS; c++)
		vg_channels_unbind(&gp->channels, c);
}

/* Whether it is the connection that the record tells of. */
static bool known(const struct vg_grant_port *gp)
{
	return gp->take_up && gp->before.connected && gp->before.control_ref == gp->control_ref &&
	       gp->before.control_channel == gp->channel;
}

/*
 * The kernel tears a dead process's io_uring down in its own time, after waitpid(2) told of its end,
 * and with it goes the event-channel file that it polled: until then the ports of a predecessor are
 * still bound.
 *
 * Return: 0: all that can be are bound; -EAGAIN: later, none is bound; or negative errno with a
 * sentence.
 */
static int bind_all(struct vg_grant_port *gp, struct vg_err *err)
{
	bool patient = gp->take_up && gp->tries < REBIND_TRIES;
	int ret = vg_channels_bind(&gp->channels, CONTROL, gp->channel);

	for (unsigned q = 0; ret == 0 && known(gp) && q < gp->dev->n_queues; q++) {
		uint32_t port = gp->before.queue[q].channel;

		if (port)
			ret = vg_channels_bind(&gp->channels, q, port);
		if (ret < 0 && !patient)
			ret = 0; /* resume() says what is missing */
	}
	if (ret == 0)
		return 0;
	unbind_all(gp);
	if (ret == -EINVAL && patient)
		return -EAGAIN;
	if (ret == -EINVAL && gp->take_up)
		return vg_fail(err, -EBUSY,
			       "the guest's event channel %u is bound by a process that has not "
			       "ended yet",
			       gp->channel);
	return vg_fail(err, ret, "the guest's event channel %u cannot be bound: %s", gp->channel,
		       strerror(-ret));
}

static int open_page(struct vg_grant_port *gp, struct vg_err *err)
{
	if (gp->page)
		return 0;
	gp->page = vg_grant_map(main_mem(gp), gp->control_ref, 1);
	if (!gp->page)
		return vg_fail(err, -EFAULT,
			       "the guest's control page (reference %u) cannot be mapped",
			       gp->control_ref);
	if (le32toh(__atomic_load_n(&gp->page->tail.magic, __ATOMIC_ACQUIRE)) == VIRTIO_GRANT_MAGIC)
		return 0;
	return vg_fail(err, -EPROTO,
		       "the guest's control page does not begin a connection: wrong magic number");
}

static void close_page(struct vg_grant_port *gp)
{
	if (gp->page)
		vg_grant_unmap(main_mem(gp), gp->page, 1);
	gp->page = NULL;
	gp->event_pending = false;
	gp->late_len = 0;
	gp->ahead = 0;
}

static void connect_now(struct vg_grant_port *gp)
{
	struct vg_err err = { "" };
	int ret = open_page(gp, &err);

	if (ret == 0)
		ret = bind_all(gp, &err);
	if (ret == -EAGAIN) {
		gp->tries++;
		vg_loop_timer(gp->dev->loop, &gp->again, REBIND_PAUSE_NS);
		return;
	}
	gp->connecting = false;
	if (ret < 0) {
		close_page(gp);
		gp->events.connected(gp->events.owner, ret, err.text);
		return;
	}
	memset(&gp->state, 0, sizeof(gp->state));
	gp->state.connected = 1;
	gp->state.control_ref = gp->control_ref;
	gp->state.control_channel = gp->channel;
	if (known(gp))
		resume(gp, &gp->before);
	else if (gp->take_up)
		vg_dev_fault(gp->dev, "a connection without a record: it cannot be resumed");
	save(&gp->port);
	vg_loop_defer(gp->dev->loop, &gp->more);
	vg_channels_notify(&gp->channels, CONTROL);
	gp->events.connected(gp->events.owner, 0, "");
}

static void try_again(struct vg_timer *t)
{
	connect_now(container_of(t, struct vg_grant_port, again));
}

static void left(struct vg_wait *w)
{
	struct vg_grant_port *gp = container_of(w, struct vg_grant_port, left);

	if (gp->connecting)
		connect_now(gp);
}

void vg_grant_port_connect(struct vg_grant_port *gp, uint32_t control_ref, uint32_t channel,
			   bool take_up)
{
	if (!gp->rec->base || gp->connecting) {
		gp->events.connected(gp->events.owner, -EINVAL,
				     gp->connecting ? "it is connecting already"
						    : "the device has no record yet");
		return;
	}
	gp->connecting = true;
	gp->control_ref = control_ref;
	gp->channel = channel;
	gp->take_up = take_up;
	gp->tries = 0;
	vg_record_read(gp->rec, &gp->before);
	vg_grant_port_disconnect(gp, &gp->left);
}

/* ---- disconnecting ------------------------------------------------------- */

/* No queue runs; what was bound is given up, and each context is waited for. */
static void stopped(struct vg_wait *w)
{
	struct vg_grant_port *gp = container_of(w, struct vg_grant_port, stopped);

	if (!gp->keep)
		drop_pools(gp);
	unbind_all(gp);
	vg_dev_sync(gp->dev, &gp->synced);
}

static void synced(struct vg_wait *w)
{
	struct vg_grant_port *gp = container_of(w, struct vg_grant_port, synced);

	if (!gp->keep) {
		close_page(gp);
		memset(&gp->state, 0, sizeof(gp->state));
		vg_record_write(gp->rec, &gp->state);
	}
	gp->leaving = gp->keep; /* one that became quiet stays so */
	vg_waits_call(&gp->leavers);
}

static void seen(struct vg_wait *w)
{
	struct vg_grant_port *gp = container_of(w, struct vg_grant_port, seen);

	gp->leaving = false;
	vg_waits_call(&gp->leavers);
}

static void leave(struct vg_grant_port *gp, struct vg_wait *w, bool keep)
{
	vg_waits_add(&gp->leavers, w);
	if (gp->leaving)
		return;
	gp->leaving = true;
	gp->keep = keep;
	if (keep)
		vg_dev_quiesce(gp->dev, &gp->stopped);
	else
		vg_dev_reset(gp->dev, &gp->stopped);
}

void vg_grant_port_disconnect(struct vg_grant_port *gp, struct vg_wait *w)
{
	if (w != &gp->left && gp->connecting) {
		vg_loop_timer_stop(&gp->again);
		gp->connecting = false;
		if (!gp->state.connected)
			close_page(gp);
	}
	if (gp->page || gp->leaving) {
		leave(gp, w, false);
		return;
	}
	/* Before the first event can reach a context, it sees all that was written of its queues. */
	vg_waits_add(&gp->leavers, w);
	gp->leaving = true;
	vg_dev_sync(gp->dev, &gp->seen);
}

void vg_grant_port_quiesce(struct vg_grant_port *gp, struct vg_wait *w)
{
	vg_loop_timer_stop(&gp->again);
	gp->connecting = false;
	leave(gp, w, true);
}

/* ---- what lists show ------------------------------------------------------ */

static void show_context(struct vg_ctx *ctx, void *arg)
{
	struct vg_grant_port *gp = arg;

	show_view(&gp->view[ctx->index]);
}

void vg_grant_port_show(struct vg_grant_port *gp, struct vg_wait *w)
{
	/* Asked here: other threads must not look at a record that is being opened. */
	vg_dev_each(gp->dev, gp->rec->base ? show_context : NULL, gp, w);
}
