// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * channels.c - see channels.h
 *
 * A port that has fired stays masked until we unmask it, which happens after its
 * work is done: however often the guest notifies, each port costs one round a turn.
 *
 * Every system call between a guest's notification and our answer makes the guest wait.
 * So all ports that fired are read at once; to look whether that was all, and to
 * unmask them, comes after what their work could do without waiting: the loop has
 * then submitted it, and the device has pushed what was complete and notified. That
 * is one turn later, not when there is nothing left to do: a queue that is always
 * busy must not keep others' events masked.
 */
#include "backend/ports/grant/channels.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/memory/grants.h"

enum {
	NO_PORT = -1,
	/* Runs of deferred work until ports are unmasked: the end of the turn that heard of them, both
	 * of the next one, and the one before the loop could wait. */
	UNMASK_AT = 4,
};

static struct vg_channel_end *end_of(struct vg_channels *ch, unsigned c)
{
	return &ch->end[c < VG_CHANNEL_CONTROL ? ch->dev->queue[c].ctx->index : 0];
}

/* ---- events ------------------------------------------------------------- */

/* Which of this context's channels has the port @local; VG_CHANNELS: none any more. */
static unsigned channel_of(const struct vg_channel_end *e, int local)
{
	const struct vg_channels *ch = e->all;

	for (unsigned q = 0; q < ch->dev->n_queues; q++) {
		if (ch->dev->queue[q].ctx == e->ctx && ch->channel[q].local == local)
			return q;
	}
	return e->ctx->index == 0 && ch->channel[VG_CHANNEL_CONTROL].local == local
		       ? VG_CHANNEL_CONTROL
		       : VG_CHANNELS;
}

static void unmask(struct vg_channel_end *e, struct vg_channel *c)
{
	c->fired = false;
	if (c->local == NO_PORT)
		return;
	e->stats->unmasks++;
	xenevtchn_unmask(e->xce, (evtchn_port_t)c->local);
}

/*
 * Take the ports that have fired; each was masked by the kernel, so that there is an end to it,
 * whatever the guest does. As xenevtchn_pending() does, but that this asks for one.
 *
 * @all: until there are no more. The kernel wakes who waits only for a port that finds nothing unread
 * before it (evtchn_interrupt() in Linux' drivers/xen/evtchn.c), and one that fires while others are
 * read finds those: who has not seen the end may never hear of it.
 * Return: whether there was any.
 */
static bool take_events(struct vg_channel_end *e, bool all)
{
	struct vg_channels *ch = e->all;
	bool fired[VG_CHANNELS] = { false }, any = false;
	evtchn_port_t port[VG_CHANNELS];
	ssize_t n;

	do {
		n = read(xenevtchn_fd(e->xce), port, sizeof(port));
		for (ssize_t i = 0; i < n / (ssize_t)sizeof(port[0]); i++) {
			unsigned c = channel_of(e, (int)port[i]);

			any = true;
			if (c < VG_CHANNELS)
				ch->channel[c].fired = fired[c] = true;
			else
				xenevtchn_unmask(e->xce, port[i]); /* closed meanwhile */
		}
	} while (n == (ssize_t)sizeof(port) || (all && n > 0));
	for (unsigned q = 0; q < ch->dev->n_queues; q++) {
		if (!fired[q])
			continue;
		ch->channel[q].kicks++;
		ch->events.kicked(ch->events.owner, q);
	}
	if (fired[VG_CHANNEL_CONTROL])
		ch->events.control(ch->events.owner);
	return any;
}

/* See the end of what has fired, and unmask it, in time. */
static void unmask_all(struct vg_deferred *d)
{
	struct vg_channel_end *e = container_of(d, struct vg_channel_end, unmask);
	struct vg_channels *ch = e->all;
	struct vg_channel *control = &ch->channel[VG_CHANNEL_CONTROL];

	if (++e->runs < UNMASK_AT) {
		vg_loop_defer(e->ctx->loop, d);
		return;
	}
	if (take_events(e, true)) {
		e->runs = 0;
		vg_loop_defer(e->ctx->loop, d);
		ch->events.turned(ch->events.owner, e->ctx);
		return;
	}
	for (unsigned q = 0; q < ch->dev->n_queues; q++) {
		if (ch->dev->queue[q].ctx == e->ctx && ch->channel[q].fired)
			unmask(e, &ch->channel[q]);
	}
	if (e->ctx->index == 0 && control->fired)
		unmask(e, control);
}

static void events_ready(struct vg_watch *w, unsigned events)
{
	struct vg_channel_end *e = container_of(w, struct vg_channel_end, watch);
	struct vg_channels *ch = e->all;

	if (!(events & POLLIN)) {
		vg_loop_unwatch(w);
		return;
	}
	take_events(e, false);
	if (!e->unmask.queued)
		e->runs = 0;
	e->unmask.run = unmask_all;
	vg_loop_defer(e->ctx->loop, &e->unmask);
	ch->events.turned(ch->events.owner, e->ctx);
}

void vg_channels_notify(struct vg_channels *ch, unsigned c)
{
	struct vg_channel_end *e = end_of(ch, c);

	if (ch->channel[c].local == NO_PORT)
		return;
	e->stats->notifies++;
	xenevtchn_notify(e->xce, (evtchn_port_t)ch->channel[c].local);
}

/* ---- binding ------------------------------------------------------------ */

/* What the main context tells a channel's. */
struct news {
	struct vg_call call;
	struct vg_channels *ch;
	unsigned c;
	int local; /* NO_PORT: give up what there is */
};

static void hear(struct vg_call *call)
{
	struct news *n = container_of(call, struct news, call);
	struct vg_channel *c = &n->ch->channel[n->c];

	if (n->local == NO_PORT && c->local != NO_PORT)
		xenevtchn_unbind(end_of(n->ch, n->c)->xce, (evtchn_port_t)c->local);
	c->local = n->local;
	c->fired = false;
	c->kicks = 0;
	free(n);
}

static int tell(struct vg_channels *ch, unsigned c, int local)
{
	struct news *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	*n = (struct news){ .call.fn = hear, .ch = ch, .c = c, .local = local };
	vg_ctx_call(end_of(ch, c)->ctx, &n->call);
	return 0;
}

int vg_channels_bind(struct vg_channels *ch, unsigned c, uint32_t remote)
{
	struct vg_channel_end *e = end_of(ch, c);
	xenevtchn_port_or_error_t port = xenevtchn_bind_interdomain(e->xce, ch->domid, remote);
	int ret;

	if (port < 0)
		return errno ? -errno : -EINVAL;
	ret = tell(ch, c, port);
	if (ret < 0) {
		xenevtchn_unbind(e->xce, (evtchn_port_t)port);
		return ret;
	}
	ch->channel[c].bound = true;
	ch->channel[c].remote = remote;
	return 0;
}

void vg_channels_unbind(struct vg_channels *ch, unsigned c)
{
	if (!ch->channel[c].bound)
		return;
	ch->channel[c].bound = false;
	ch->channel[c].remote = 0;
	if (tell(ch, c, NO_PORT) < 0)
		abort(); /* some bytes: without them a port stays bound that nobody knows of */
}

/* ---- life --------------------------------------------------------------- */

static int open_end(struct vg_channel_end *e, uint32_t domid, struct vg_err *err)
{
	int fd;

	e->xce = xenevtchn_open(&vg_xen_logger, 0);
	if (!e->xce)
		return vg_fail(
			err, errno ? -errno : -ENODEV,
			"the event-channel device cannot be opened: %s; is xen-evtchn loaded?",
			strerror(errno));
	/* From here on this handle reaches no other domain, whoever runs in this process. */
	if (xenevtchn_restrict(e->xce, (domid_t)domid) < 0 && errno != EOPNOTSUPP &&
	    errno != ENOTTY)
		return vg_fail(err, -errno, "the event-channel handle cannot be restricted: %s",
			       strerror(errno));
	fd = xenevtchn_fd(e->xce);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	e->watch.ready = events_ready;
	vg_loop_watch(e->ctx->loop, &e->watch, fd);
	return 0;
}

int vg_channels_open(struct vg_channels *ch, struct vg_dev *dev, uint32_t domid,
		     const struct vg_channels_events *events, struct vg_err *err)
{
	int ret = 0;

	memset(ch, 0, sizeof(*ch));
	ch->dev = dev;
	ch->domid = domid;
	ch->events = *events;
	for (unsigned c = 0; c < VG_CHANNELS; c++)
		ch->channel[c].local = NO_PORT;
	ch->end = calloc(dev->n_ctx, sizeof(*ch->end));
	if (!ch->end)
		return vg_fail(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < dev->n_ctx && ret == 0; i++) {
		ch->end[i].all = ch;
		ch->end[i].ctx = &dev->ctx[i];
		ret = open_end(&ch->end[i], domid, err);
	}
	if (ret < 0)
		vg_channels_close(ch);
	return ret;
}

void vg_channels_close(struct vg_channels *ch)
{
	for (unsigned i = 0; ch->end && i < ch->dev->n_ctx; i++) {
		vg_loop_unwatch(&ch->end[i].watch);
		if (ch->end[i].ctx)
			vg_loop_undefer(ch->end[i].ctx->loop, &ch->end[i].unmask);
		if (ch->end[i].xce)
			xenevtchn_close(ch->end[i].xce);
	}
	free(ch->end);
	ch->end = NULL;
}
