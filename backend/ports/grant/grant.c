// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * grant.c - see grant.h
 *
 * Events. All event channels of the device arrive on one descriptor. A port
 * that has fired stays masked until we unmask it, which happens after its work
 * is done: however often the guest notifies, each port costs one round a turn.
 *
 *	fired control port -> messages, at most VG_LIMIT_MESSAGES_PER_TURN
 *	fired queue port   -> vg_dev_kick()
 *
 * The control page is read with the care that memory needs which another
 * domain can write at any time: an index is loaded once, a message copied once.
 *
 * A reset can take long (the disk must finish) and turns the loop meanwhile, so
 * that events arrive while a message is being handled. `busy` keeps messages
 * strictly one after the other.
 */
#include "backend/ports/grant/grant.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <xenevtchn.h>

/* After the types that they do not include. */
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>

#include "backend/base/container.h"
#include "backend/memory/grants.h"
#include "backend/ports/grant/virtio_msg.h"

static const struct vg_sandbox_call calls[] = {
	VG_CALL_IOCTL(IOCTL_GNTDEV_MAP_GRANT_REF),
	VG_CALL_IOCTL(IOCTL_GNTDEV_UNMAP_GRANT_REF),
	VG_CALL_IOCTL(IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR), /* of xengnttab_unmap() */
	VG_CALL_IOCTL(IOCTL_GNTDEV_SET_UNMAP_NOTIFY),
	VG_CALL_IOCTL(IOCTL_GNTDEV_GRANT_COPY),
	VG_CALL_IOCTL(IOCTL_EVTCHN_BIND_INTERDOMAIN),
	VG_CALL_IOCTL(IOCTL_EVTCHN_UNBIND),
	VG_CALL_IOCTL(IOCTL_EVTCHN_NOTIFY),
	VG_CALLS_END,
};

const struct vg_sandbox_needs vg_grant_port_needs = { .calls = calls };

enum { CONTROL = VG_MAX_QUEUES, CHANNELS = VG_MAX_QUEUES + 1, NO_PORT = -1 };
enum { REBIND_TRIES = 100, REBIND_PAUSE_NS = 10000000 };

struct channel {
	int local;	 /* our port, or NO_PORT */
	uint32_t remote; /* the guest's */
	bool fired;	 /* masked, to be unmasked once its work is done */
	uint64_t kicks;	 /* times that it fired */
};

struct vg_grant_port {
	struct vg_port port;
	struct vg_msg_bus bus;
	struct vg_grant_mem gm;
	struct vg_dev *dev;
	struct vg_record_map *rec;
	struct vg_record_state state;	 /* what vg_record_write() will store */
	struct vg_hyper_stats own_hyper; /* until there is a record */
	struct vg_grant_port_events events;
	uint32_t domid;
	xenevtchn_handle *xce;
	struct vg_watch watch;
	struct channel channel[CHANNELS];  /* by queue; CONTROL is the control page's */
	struct virtio_grant_control *page; /* NULL: not connected */
	struct vg_deferred more;	   /* messages, or an event, that wait for the next turn */
	struct vg_deferred show;	   /* refresh what `vgrant list` shows */
	bool busy;			   /* a message is being handled */
	bool patient;	    /* a connection is taken up: its ports may not be free yet */
	bool event_pending; /* an EVENT_CONFIG is owed */
	struct vg_ratelimit log;
	_Alignas(8) uint8_t req[VIRTIO_GRANT_SLOT_SIZE];
	_Alignas(8) uint8_t resp[VIRTIO_GRANT_SLOT_SIZE];
};

/* ---- event channels ----------------------------------------------------- */

static int channel_bind(struct vg_grant_port *gp, unsigned c, uint32_t remote)
{
	xenevtchn_port_or_error_t port;

	port = xenevtchn_bind_interdomain(gp->xce, gp->domid, remote);
	/* The kernel tears a dead process's io_uring down in its own time, after waitpid(2) told of
	 * its end, and with it goes the event-channel file that it polled: until then the port of a
	 * predecessor is still bound. */
	for (unsigned i = 0; port < 0 && errno == EINVAL && gp->patient && i < REBIND_TRIES; i++) {
		const struct timespec pause = { .tv_nsec = REBIND_PAUSE_NS };

		nanosleep(&pause, NULL);
		port = xenevtchn_bind_interdomain(gp->xce, gp->domid, remote);
	}
	if (port < 0)
		return errno ? -errno : -EINVAL;
	gp->channel[c] = (struct channel){ .local = port, .remote = remote };
	return 0;
}

static void channel_close(struct vg_grant_port *gp, unsigned c)
{
	if (gp->channel[c].local != NO_PORT)
		xenevtchn_unbind(gp->xce, (evtchn_port_t)gp->channel[c].local);
	gp->channel[c] = (struct channel){ .local = NO_PORT };
}

static void channel_notify(struct vg_grant_port *gp, unsigned c)
{
	if (gp->channel[c].local == NO_PORT)
		return;
	gp->gm.stats->notifies++;
	xenevtchn_notify(gp->xce, (evtchn_port_t)gp->channel[c].local);
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

/* One request, if there is one and room for its answer. Return: whether there was. */
static bool one_message(struct vg_grant_port *gp)
{
	struct virtio_grant_control *page = gp->page;
	uint32_t cons = load_acquire(&page->device_cons.value);
	int waiting = distance(load_acquire(&page->driver_prod.value), cons);
	int slots = room(gp);
	size_t len;

	if (waiting < 0 || slots < 0) {
		broken(gp, "an index is out of range");
		return false;
	}
	if (waiting == 0 || slots == 0)
		return false;
	memcpy(gp->req, page->to_device[cons % VIRTIO_GRANT_SLOTS], sizeof(gp->req));
	len = vg_msg_handle(&gp->bus, gp->req, sizeof(gp->req), gp->resp);
	if (len)
		send(gp, gp->resp, len);
	/* Only now: a request whose answer was not published is handled again by a successor. */
	store_release(&page->device_cons.value, cons + 1);
	return true;
}

/* Serve the control page, fairly: what is left over waits for the next turn. */
static void serve(struct vg_grant_port *gp)
{
	unsigned handled = 0;
	bool sent = false;

	if (!gp->page || gp->busy)
		return;
	gp->busy = true;
	while (handled < VG_LIMIT_MESSAGES_PER_TURN && one_message(gp))
		handled++;
	gp->busy = false;
	if (gp->event_pending && room(gp) > 0) {
		send(gp, gp->resp, vg_msg_event_config(gp->dev, gp->resp));
		gp->event_pending = false;
		sent = true;
	}
	if (handled || sent)
		channel_notify(gp, CONTROL);
	if (handled == VG_LIMIT_MESSAGES_PER_TURN) /* there may be more: they take their turn */
		vg_loop_defer(gp->dev->loop, &gp->more);
	vg_loop_defer(gp->dev->loop, &gp->show);
}

static void serve_more(struct vg_deferred *d)
{
	serve(container_of(d, struct vg_grant_port, more));
}

/* ---- events ------------------------------------------------------------- */

static unsigned channel_of(const struct vg_grant_port *gp, int local)
{
	for (unsigned q = 0; q < gp->dev->n_queues; q++) {
		if (gp->channel[q].local == local)
			return q;
	}
	return gp->channel[CONTROL].local == local ? CONTROL : CHANNELS;
}

static void unmask(struct vg_grant_port *gp, unsigned c)
{
	if (!gp->channel[c].fired)
		return;
	gp->channel[c].fired = false;
	if (gp->channel[c].local == NO_PORT)
		return;
	gp->gm.stats->unmasks++;
	xenevtchn_unmask(gp->xce, (evtchn_port_t)gp->channel[c].local);
}

static void events_ready(struct vg_watch *w, unsigned events)
{
	struct vg_grant_port *gp = container_of(w, struct vg_grant_port, watch);
	xenevtchn_port_or_error_t port;

	if (!(events & POLLIN)) {
		vg_loop_unwatch(w);
		return;
	}
	while ((port = xenevtchn_pending(gp->xce)) >= 0) {
		unsigned c = channel_of(gp, port);

		if (c < CHANNELS)
			gp->channel[c].fired = true;
		else
			xenevtchn_unmask(gp->xce, (evtchn_port_t)port); /* closed meanwhile */
	}
	/* Each fired port was masked by the kernel: this loop ends, whatever the guest does. */
	for (unsigned q = 0; q < gp->dev->n_queues; q++) {
		if (!gp->channel[q].fired)
			continue;
		gp->dev->stats->kicks++;
		gp->channel[q].kicks++;
		vg_dev_kick(gp->dev, q);
		unmask(gp, q);
	}
	if (gp->channel[CONTROL].fired) {
		serve(gp);
		unmask(gp, CONTROL);
	}
	vg_loop_defer(gp->dev->loop, &gp->show);
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
	s->saved_size = sizeof(dev->saved);
	s->n_pools = gp->gm.n_pools;
	for (unsigned i = 0; i < gp->gm.n_pools; i++) {
		const struct vg_grant_pool *p = &gp->gm.pool[i];

		s->pool[i].first_ref =
			(uint32_t)((p->addr & ~VIRTIO_GRANT_ADDR_FLAG) >> VIRTIO_GRANT_PAGE_SHIFT);
		s->pool[i].pages = (uint32_t)(p->len >> VIRTIO_GRANT_PAGE_SHIFT);
	}
	for (unsigned q = 0; q < dev->n_queues; q++) {
		struct vg_record_queue *r = &s->queue[q];

		*r = (struct vg_record_queue){
			.channel = gp->channel[q].local == NO_PORT ? 0 : gp->channel[q].remote,
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

/* Copy what `vgrant list` shows to where the supervisor can see it. */
static void show(struct vg_deferred *d)
{
	struct vg_grant_port *gp = container_of(d, struct vg_grant_port, show);

	if (!gp->rec->base)
		return;
	for (unsigned q = 0; q < gp->dev->n_queues; q++) {
		struct vg_record_live *live = vg_record_live(gp->rec, q);
		struct vg_vq *vq = gp->dev->queue[q].vq;

		live->size = gp->dev->queue[q].size;
		live->running = vq != NULL;
		live->packed = vg_dev_has(gp->dev, VG_F_RING_PACKED);
		live->kicks = gp->channel[q].kicks;
		live->inflight = vq ? vg_vq_inflight(vq) : 0;
		if (vq)
			live->stats = *vg_vq_stats(vq);
	}
}

/* Take up the connection that a predecessor had. Whatever of it is not there any more (the guest
 * freed a port, revoked a grant) is the guest's fault and ends in NEEDS_RESET. */
static void resume(struct vg_grant_port *gp, const struct vg_record_state *s)
{
	struct vg_dev *dev = gp->dev;

	uint8_t saved[VG_DEV_SAVED] = { 0 };

	memcpy(saved, s->saved, s->saved_size < sizeof(saved) ? s->saved_size : sizeof(saved));
	vg_dev_resume(dev, s->status, s->features, s->generation, saved);
	if (s->lost_queues)
		vg_dev_fault(dev, "%u of its queues are not configured any more", s->lost_queues);
	for (uint32_t i = 0; i < s->n_pools && i < VG_LIMIT_POOLS; i++) {
		if (vg_grant_pool_add(&gp->gm, s->pool[i].first_ref, s->pool[i].pages) < 0)
			vg_dev_fault(dev, "its pool cannot be mapped again");
	}
	for (unsigned q = 0; q < dev->n_queues; q++) {
		const struct vg_record_queue *r = &s->queue[q];

		if (r->channel && channel_bind(gp, q, r->channel) < 0)
			vg_dev_fault(dev, "queue %u: its event channel cannot be bound again", q);
		if (r->size)
			vg_dev_set_queue(dev, q, r->size, r->desc, r->driver, r->device, NULL,
					 vg_record_inflight(gp->rec, q));
	}
	vg_dev_resumed(dev);
	for (unsigned q = 0; q < dev->n_queues; q++)
		channel_notify(gp, q);
}

/* ---- what the device asks of its port ----------------------------------- */

static void notify(struct vg_port *port, unsigned q)
{
	channel_notify(container_of(port, struct vg_grant_port, port), q);
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
	int ret;

	/* A successor hears the same request again: the same port is no change. */
	if (port && gp->channel[q].local != NO_PORT && gp->channel[q].remote == port)
		return 0;
	channel_close(gp, q);
	ret = port ? channel_bind(gp, q, port) : 0;
	save(&gp->port);
	return ret;
}

static int bus_add_pool(struct vg_msg_bus *bus, uint32_t first_ref, uint32_t pages)
{
	struct vg_grant_port *gp = of_bus(bus);
	int ret;

	for (unsigned i = 0; i < gp->gm.n_pools; i++) {
		if (gp->gm.pool[i].addr == VIRTIO_GRANT_ADDR(first_ref, 0) &&
		    gp->gm.pool[i].len >> VIRTIO_GRANT_PAGE_SHIFT == pages)
			return 0; /* heard again by a successor */
	}
	ret = vg_grant_pool_add(&gp->gm, first_ref, pages);
	save(&gp->port);
	return ret;
}

static bool bus_queue_wanted(struct vg_msg_bus *bus, unsigned q, void **inflight)
{
	struct vg_grant_port *gp = of_bus(bus);

	if (gp->channel[q].local == NO_PORT)
		return false;
	vg_record_fresh(gp->rec, q);
	*inflight = vg_record_inflight(gp->rec, q);
	return true;
}

static void bus_queue_gone(struct vg_msg_bus *bus, unsigned q)
{
	struct vg_grant_port *gp = of_bus(bus);

	channel_close(gp, q);
	save(&gp->port);
}

static void bus_device_gone(struct vg_msg_bus *bus)
{
	struct vg_grant_port *gp = of_bus(bus);

	for (unsigned q = 0; q < gp->dev->n_queues; q++)
		channel_close(gp, q);
	vg_grant_pools_drop(&gp->gm);
	save(&gp->port);
}

static const struct vg_msg_bus_ops bus_ops = {
	.set_channel = bus_set_channel,
	.add_pool = bus_add_pool,
	.queue_wanted = bus_queue_wanted,
	.queue_gone = bus_queue_gone,
	.device_gone = bus_device_gone,
};

/* ---- life --------------------------------------------------------------- */

int vg_grant_port_new(struct vg_dev *dev, uint32_t domid, struct vg_record_map *rec,
		      const struct vg_grant_port_events *events, struct vg_grant_port **out,
		      struct vg_err *err)
{
	struct vg_grant_port *gp = calloc(1, sizeof(*gp));
	int ret;

	if (!gp)
		return vg_fail(err, -ENOMEM, "out of memory");
	gp->port.ops = &grant_port_ops;
	gp->bus = (struct vg_msg_bus){ .ops = &bus_ops, .dev = dev };
	gp->dev = dev;
	gp->rec = rec;
	gp->events = *events;
	gp->domid = domid;
	gp->more.run = serve_more;
	gp->show.run = show;
	gp->watch.ready = events_ready;
	gp->log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	for (unsigned c = 0; c < CHANNELS; c++)
		gp->channel[c].local = NO_PORT;
	ret = vg_grant_mem_init(&gp->gm, domid);
	if (ret < 0) {
		vg_fail(err, ret,
			"the grant device cannot be opened: %s; is this a Xen domain with "
			"xen-gntdev loaded?",
			strerror(-ret));
		goto fail;
	}
	gp->xce = xenevtchn_open(&vg_xen_logger, 0);
	if (!gp->xce) {
		ret = vg_fail(
			err, errno ? -errno : -ENODEV,
			"the event-channel device cannot be opened: %s; is xen-evtchn loaded?",
			strerror(errno));
		goto fail_mem;
	}
	/* From here on this handle reaches no other domain, whoever runs in this process. */
	if (xenevtchn_restrict(gp->xce, (domid_t)domid) < 0 && errno != EOPNOTSUPP &&
	    errno != ENOTTY) {
		ret = vg_fail(err, -errno, "the event-channel handle cannot be restricted: %s",
			      strerror(errno));
		goto fail_evtchn;
	}
	fcntl(xenevtchn_fd(gp->xce), F_SETFL, fcntl(xenevtchn_fd(gp->xce), F_GETFL) | O_NONBLOCK);
	vg_loop_watch(dev->loop, &gp->watch, xenevtchn_fd(gp->xce));
	dev->port = &gp->port;
	dev->mem = &gp->gm.mem;
	gp->gm.stats = &gp->own_hyper;
	*out = gp;
	return 0;
fail_evtchn:
	xenevtchn_close(gp->xce);
fail_mem:
	vg_grant_mem_close(&gp->gm);
fail:
	free(gp);
	return ret;
}

void vg_grant_port_recorded(struct vg_grant_port *gp)
{
	gp->dev->stats = vg_record_stats(gp->rec);
	gp->gm.stats = vg_record_hyper(gp->rec, 0);
	vg_record_offered(gp->rec, vg_dev_offered(gp->dev));
}

void vg_grant_port_free(struct vg_grant_port *gp)
{
	if (!gp)
		return;
	vg_grant_port_disconnect(gp);
	vg_loop_unwatch(&gp->watch);
	vg_loop_undefer(gp->dev->loop, &gp->more);
	vg_loop_undefer(gp->dev->loop, &gp->show);
	xenevtchn_close(gp->xce);
	vg_grant_mem_close(&gp->gm);
	free(gp);
}

int vg_grant_port_connect(struct vg_grant_port *gp, uint32_t control_ref, uint32_t channel,
			  bool take_up, struct vg_err *err)
{
	struct vg_record_state before;
	int ret;

	if (!gp->rec->base)
		return vg_fail(err, -EINVAL, "the device has no record yet");
	vg_record_read(gp->rec, &before);
	vg_grant_port_disconnect(gp);
	gp->page = vg_grant_map(&gp->gm, control_ref, 1);
	if (!gp->page)
		return vg_fail(err, -EFAULT,
			       "the guest's control page (reference %u) cannot be mapped",
			       control_ref);
	if (le32toh(__atomic_load_n(&gp->page->tail.magic, __ATOMIC_ACQUIRE)) !=
	    VIRTIO_GRANT_MAGIC) {
		ret = vg_fail(err, -EPROTO,
			      "the guest's control page does not begin a connection: "
			      "wrong magic number");
		goto fail;
	}
	gp->patient = take_up;
	ret = channel_bind(gp, CONTROL, channel);
	if (ret < 0) {
		vg_fail(err, ret, "the guest's event channel %u cannot be bound: %s", channel,
			strerror(-ret));
		goto fail;
	}
	memset(&gp->state, 0, sizeof(gp->state));
	gp->state.connected = 1;
	gp->state.control_ref = control_ref;
	gp->state.control_channel = channel;
	if (take_up && before.connected && before.control_ref == control_ref &&
	    before.control_channel == channel)
		resume(gp, &before);
	else if (take_up)
		vg_dev_fault(gp->dev, "a connection without a record: it cannot be resumed");
	gp->patient = false;
	save(&gp->port);
	vg_loop_defer(gp->dev->loop, &gp->more);
	channel_notify(gp, CONTROL);
	return 0;
fail:
	vg_grant_unmap(&gp->gm, gp->page, 1);
	gp->page = NULL;
	return ret;
}

void vg_grant_port_disconnect(struct vg_grant_port *gp)
{
	if (!gp->page)
		return;
	vg_dev_set_status(gp->dev, 0);
	bus_device_gone(&gp->bus);
	channel_close(gp, CONTROL);
	vg_grant_unmap(&gp->gm, gp->page, 1);
	gp->page = NULL;
	gp->event_pending = false;
	memset(&gp->state, 0, sizeof(gp->state));
	vg_record_write(gp->rec, &gp->state);
	show(&gp->show);
}

void vg_grant_port_show(struct vg_grant_port *gp)
{
	show(&gp->show);
}

void vg_grant_port_quiesce(struct vg_grant_port *gp)
{
	vg_loop_unwatch(&gp->watch);
	for (unsigned q = 0; q < gp->dev->n_queues; q++) {
		if (!vg_dev_vq(gp->dev, q))
			continue;
		gp->dev->ops->stop_queue(gp->dev, q);
		vg_dev_flush(gp->dev, q);
	}
	show(&gp->show);
	for (unsigned c = 0; c < CHANNELS; c++)
		channel_close(gp, c); /* free for a successor, at once */
}
