// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ring.c - rings of a vhost-user device: when they run, kicks and calls
 *
 * Spec, "Ring states". A ring runs when all of this is there: its size, its
 * addresses, a kick (descriptor, or "none will come", or an in-band one), leave
 * to run (SET_VRING_ENABLE, unless protocol features are not spoken), and a
 * device whose driver has negotiated. Front-ends bring these in many orders, so
 * each message that brings one tries to start the ring. A ring that is told
 * something new while it runs (CH re-activates a device so, with nothing but
 * SET_VRING_ENABLE 0 before) is stopped first and starts again with it.
 *
 * Where a ring starts. From where we stopped it, when it was us. Else from what
 * SET_VRING_BASE says: for a packed ring all four values; for a split one the
 * available index alone, the used index being in the ring. With an in-flight
 * record the record knows better, and when it is fresh, nothing is in flight: the
 * available index must then be the used one, whatever the front-end says (CH
 * sends the index that the driver has reached, which would lose every request in
 * between).
 *
 * Kicks. An eventfd is not read: the kernel wakes a poller at every write to it,
 * whatever its count, so that reading would cost a system call for nothing. What
 * is no eventfd is drained.
 *
 * Calls go to a descriptor that the front-end gave. A pipe is made non-blocking: a
 * front-end that never reads it loses calls, we lose nothing.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/probe.h"
#include "backend/ports/vhost_user/int.h"

enum { USED_IDX_AT = 2 /* VIRTIO 1.3, 2.7.8: flags, idx */ };

enum news_kind { KICK, KICK_TO_DRAIN, CALL, NOTIFY, KICKED, FORGET };
static int tell(struct vg_vu_ring *r, enum news_kind kind, int fd);

/* ---- starting and stopping ---------------------------------------------- */

/*
 * Front-ends start rings when the driver has set DRIVER_OK, and not before. So a first ring that is
 * ready stands for the status bits that did not come: all of them without STATUS, and DRIVER_OK
 * with it (QEMU 7.2 never sends it for an rng). Return: whether the device can have queues now.
 */
static bool negotiated(struct vg_vu *vu)
{
	const uint32_t begin = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER | VG_STATUS_FEATURES_OK;
	struct vg_dev *dev = vu->dev;

	if (!vu->has_features)
		return false;
	if (!(dev->status & VG_STATUS_FEATURES_OK) &&
	    !(vg_dev_set_status(dev, begin) & VG_STATUS_FEATURES_OK)) {
		vg_log_limited(&vu->log, VG_LOG_WARN, "the driver's features 0x%llx do not do",
			       (unsigned long long)dev->driver_features);
		return false;
	}
	return true;
}

static bool is_start(const struct vg_vu *vu, const struct vg_vq_state *s)
{
	if (!(vu->features & VG_FEATURE(VG_F_RING_PACKED)))
		return s->avail_idx == 0;
	return s->avail_idx == 0 && s->used_idx == 0 && s->avail_wrap && s->used_wrap;
}

/*
 * What the driver has set in the device. A successor finds it in the in-flight trailer. And a VM
 * that is paused and continued makes QEMU write status 0 between the two, which resets us under a
 * driver that knows of no reset: a ring that does not begin at its start tells it from a real one.
 */
static void restore_saved(struct vg_vu_ring *r)
{
	struct vg_vu *vu = r->vu;
	struct vg_dev *dev = vu->dev;
	void *rec = vg_vu_inflight_of(vu, r->q, r->num);

	if (dev->started)
		return;
	if (rec && !vg_vu_inflight_fresh(rec) && vg_vu_inflight_saved(vu, dev->saved))
		return;
	if (!is_start(vu, &r->state) && vu->parked)
		memcpy(dev->saved, vu->parked, dev->saved_size);
}

/* Return: the used index of a split ring, as the ring has it; 0 when it is not there. */
static uint16_t used_idx(struct vg_vu *vu, uint64_t used)
{
	struct vg_batch batch;
	uint16_t idx = 0;

	vg_batch_init(&batch, vu->dev->mem);
	vg_batch_add(&batch, used + USED_IDX_AT, &idx, sizeof(idx), VG_FROM_GUEST, NULL);
	return vg_batch_run(&batch) == 0 ? le16toh(idx) : 0;
}

static struct vg_vq_state start_state(struct vg_vu_ring *r, uint64_t used, const void *rec)
{
	struct vg_vq_state s = r->state;

	if (r->base_is_ours || (r->vu->features & VG_FEATURE(VG_F_RING_PACKED)))
		return s;
	s.used_idx = used_idx(r->vu, used);
	if (rec && vg_vu_inflight_fresh(rec))
		s.avail_idx = s.used_idx;
	return s;
}

void vg_vu_ring_start(struct vg_vu_ring *r)
{
	struct vg_vu *vu = r->vu;
	struct vg_dev *dev = vu->dev;
	bool needs_leave = vu->features & VG_FEATURE(VG_VU_F_PROTOCOL_FEATURES);
	uint64_t desc, avail, used;
	struct vg_vq_state state;
	void *rec;
	int ret;

	if (!r->has_num || !r->has_addr || !r->kicked || (needs_leave && !r->enabled) ||
	    dev->queue[r->q].enabled || !negotiated(vu))
		return;
	if (vg_vu_mem_from_user(&vu->mem, r->addr.desc, &desc) < 0 ||
	    vg_vu_mem_from_user(&vu->mem, r->addr.avail, &avail) < 0 ||
	    vg_vu_mem_from_user(&vu->mem, r->addr.used, &used) < 0) {
		vg_dev_fault(dev, "queue %u: its ring lies in no region of memory", r->q);
		return;
	}
	rec = vg_vu_inflight_of(vu, r->q, r->num);
	state = start_state(r, used, rec);
	restore_saved(r);
	ret = vg_dev_set_queue(dev, r->q, r->num, desc, avail, used, &state, rec);
	if (ret < 0) {
		vg_dev_fault(dev, "queue %u of %u descriptors: %s", r->q, r->num, strerror(-ret));
		return;
	}
	vg_dev_set_status(dev, dev->status | VG_STATUS_DRIVER_OK);
	vg_vu_inflight_save(vu);
	if (vu->config_again) {
		vu->config_again = false;
		vg_vu_back_config_changed(vu);
	}
	/* A predecessor may have died between used index and call. */
	if (rec)
		tell(r, NOTIFY, -1);
}

/* One less that has not stopped. */
static void one_stopped(struct vg_vu *vu)
{
	void (*then)(struct vg_vu * vu) = vu->then;

	if (--vu->stopping)
		return;
	vu->then = NULL;
	then(vu);
}

static void ring_stopped(struct vg_wait *w)
{
	struct vg_vu_ring *r = container_of(w, struct vg_vu_ring, stopped);
	const struct vg_vq_state *s = &r->state;

	if (r->ran) {
		r->base_is_ours = true;
		if (s->avail_idx == s->used_idx && s->avail_wrap == s->used_wrap)
			vg_vu_inflight_wipe(r->vu, r->q);
	}
	one_stopped(r->vu);
}

static void ring_stop(struct vg_vu_ring *r)
{
	struct vg_dev *dev = r->vu->dev;

	if (!dev->queue[r->q].enabled)
		return;
	r->ran = vg_dev_queue_running(dev, r->q);
	r->stopped.done = ring_stopped;
	r->vu->stopping++;
	vg_dev_reset_queue(dev, r->q, &r->state, &r->stopped);
}

void vg_vu_rings_stop(struct vg_vu *vu, int q, void (*then)(struct vg_vu *vu))
{
	vu->then = then;
	vu->stopping = 1;
	for (unsigned i = 0; i < vu->dev->n_queues; i++) {
		if (q == VG_VU_ALL || q == (int)i)
			ring_stop(&vu->ring[i]);
	}
	one_stopped(vu);
}

void vg_vu_rings_start(struct vg_vu *vu)
{
	for (unsigned q = 0; q < vu->dev->n_queues; q++)
		vg_vu_ring_start(&vu->ring[q]);
}

bool vg_vu_rings_running(const struct vg_vu *vu)
{
	for (unsigned q = 0; q < vu->dev->n_queues; q++) {
		if (vu->dev->queue[q].enabled)
			return true;
	}
	return false;
}

uint32_t vg_vu_ring_base(const struct vg_vu_ring *r)
{
	const struct vg_vq_state *s = &r->state;

	if (!(r->vu->features & VG_FEATURE(VG_F_RING_PACKED)))
		return s->avail_idx;
	return s->avail_idx | (uint32_t)s->avail_wrap << 15 | (uint32_t)s->used_idx << 16 |
	       (uint32_t)s->used_wrap << 31;
}

void vg_vu_ring_set_base(struct vg_vu_ring *r, uint32_t num)
{
	struct vg_vq_state s = { .avail_idx = (uint16_t)num, .used_idx = (uint16_t)num };

	/* What GET_VRING_BASE said: 0, too, is then no start, but a packed ring's second lap. */
	if (r->base_is_ours && num == vg_vu_ring_base(r))
		return;
	if (r->vu->features & VG_FEATURE(VG_F_RING_PACKED)) {
		s.avail_idx = num & 0x7fff;
		s.avail_wrap = num >> 15 & 1;
		s.used_idx = num >> 16 & 0x7fff;
		s.used_wrap = num >> 31;
		/* Front-ends that know of split rings only say 0 for the start. */
		if (num == 0)
			s.avail_wrap = s.used_wrap = true;
	}
	r->state = s;
	r->base_is_ours = false;
}

/* ---- kicks -------------------------------------------------------------- */

/* In the ring's context. Regions come and go while no ring runs. */
static void kick(struct vg_vu_ring *r)
{
	struct vg_dev *dev = r->vu->dev;

	vg_dev_stats(dev, r->q)->kicks++;
	VG_PROBE(kick, r->q);
	r->kicks++;
	vg_dev_kick(dev, r->q);
	if (vg_dev_vq(dev, r->q) && vg_vu_mem_hurt(&r->vu->mem))
		vg_dev_fault(dev, "guest memory has vanished: its file was truncated");
}

static void kick_ready(struct vg_watch *w, unsigned events)
{
	struct vg_vu_ring *r = container_of(w, struct vg_vu_ring, watch);
	uint8_t rubbish[256];

	if (!(events & POLLIN)) {
		vg_loop_unwatch(w);
		return;
	}
	/* Bounded: what is left wakes us again at the next write. */
	for (unsigned i = 0; r->drain && i < 16; i++) {
		if (read(r->kick, rubbish, sizeof(rubbish)) < (ssize_t)sizeof(rubbish))
			break;
	}
	kick(r);
}

/*
 * The flag is the front-end's, too, since it belongs to what both have open: an eventfd, which blocks
 * a writer only after 2^64 - 2 calls that nobody heard, is left as it is. A front-end that writes such
 * a number into it stops its own device, and no more.
 */
static void dont_block(int fd)
{
	struct stat st;
	int flags;

	if (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) == 0)
		return;
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && !(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Close what is in *@slot, put @fd there, which may be -1. */
static void set_fd(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
	if (fd >= 0)
		dont_block(fd);
}

/* Whether somebody must do something before @fd is readable; /dev/zero always is, and would keep us
 * busy for ever. eventfd and its like have no type in st_mode. */
static bool can_kick(const struct stat *st)
{
	return (st->st_mode & S_IFMT) == 0 || S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode);
}

int vg_vu_ring_set_kick(struct vg_vu_ring *r, int fd)
{
	struct stat st = { 0 };

	if (fd >= 0 && (fstat(fd, &st) < 0 || !can_kick(&st))) {
		close(fd);
		return -EINVAL;
	}
	return tell(r, (st.st_mode & S_IFMT) != 0 ? KICK_TO_DRAIN : KICK, fd);
}

/* ---- calls -------------------------------------------------------------- */

static void signal_fd(int fd)
{
	static const uint64_t one = 1;

	/* -EAGAIN: there is a call already that was not heard yet. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

void vg_vu_notify(struct vg_port *port, unsigned q)
{
	struct vg_vu *vu = container_of(port, struct vg_vu, port);

	if (vu->ring[q].call >= 0)
		signal_fd(vu->ring[q].call);
	/* Offered only where there is one context: vg_vu_new(). */
	else if (vu->options.in_band && vg_vu_has(vu, VG_VU_PF_INBAND))
		vg_vu_back_call(vu, q);
}

void vg_vu_ring_set_call(struct vg_vu_ring *r, int fd)
{
	tell(r, CALL, fd);
}

void vg_vu_ring_set_err(struct vg_vu_ring *r, int fd)
{
	set_fd(&r->err, fd);
}

void vg_vu_ring_kick(struct vg_vu_ring *r)
{
	tell(r, KICKED, -1);
}

/* ---- what a ring's context is told ----------------------------------------- */

struct news {
	struct vg_call call;
	struct vg_vu_ring *r;
	enum news_kind kind;
	int fd;
};

static void hear(struct vg_call *call)
{
	struct news *n = container_of(call, struct news, call);
	struct vg_vu_ring *r = n->r;

	switch (n->kind) {
	case KICK:
	case KICK_TO_DRAIN:
		vg_loop_unwatch(&r->watch);
		set_fd(&r->kick, n->fd);
		r->drain = n->kind == KICK_TO_DRAIN;
		if (n->fd >= 0)
			vg_loop_watch(vg_dev_loop(r->vu->dev, r->q), &r->watch, n->fd);
		break;
	case CALL:
		set_fd(&r->call, n->fd);
		/* What was used before there was a call: one too many does no harm. */
		if (r->call >= 0 && vg_dev_vq(r->vu->dev, r->q))
			vg_vu_notify(&r->vu->port, r->q);
		break;
	case NOTIFY:
		vg_vu_notify(&r->vu->port, r->q);
		break;
	case KICKED:
		kick(r);
		break;
	case FORGET:
		vg_loop_unwatch(&r->watch);
		set_fd(&r->kick, -1);
		set_fd(&r->call, -1);
		r->kicks = 0;
		r->drain = false;
		break;
	}
	free(n);
}

/* Return: 0; -ENOMEM: @fd was closed. */
static int tell(struct vg_vu_ring *r, enum news_kind kind, int fd)
{
	struct news *n = calloc(1, sizeof(*n));

	if (!n) {
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	*n = (struct news){ .call.fn = hear, .r = r, .kind = kind, .fd = fd };
	vg_ctx_call(r->vu->dev->queue[r->q].ctx, &n->call);
	return 0;
}

void vg_vu_rings_show(struct vg_vu *vu, const struct vg_ctx *ctx, struct vg_record_map *map)
{
	struct vg_dev *dev = vu->dev;

	for (unsigned q = 0; q < dev->n_queues; q++) {
		if (dev->queue[q].ctx == ctx)
			vg_record_show(map, &dev->queue[q], vu->ring[q].kicks);
	}
}

void vg_vu_errors(struct vg_vu *vu)
{
	for (unsigned q = 0; q < vu->dev->n_queues; q++) {
		if (vu->ring[q].err >= 0)
			signal_fd(vu->ring[q].err);
	}
}

/* ---- life --------------------------------------------------------------- */

void vg_vu_rings_init(struct vg_vu *vu)
{
	for (unsigned q = 0; q < VG_MAX_QUEUES; q++) {
		struct vg_vu_ring *r = &vu->ring[q];

		*r = (struct vg_vu_ring){ .vu = vu, .q = q, .kick = -1, .call = -1, .err = -1 };
		r->watch.ready = kick_ready;
	}
}

void vg_vu_rings_forget(struct vg_vu *vu)
{
	for (unsigned q = 0; q < vu->dev->n_queues; q++) {
		struct vg_vu_ring *r = &vu->ring[q];

		tell(r, FORGET, -1);
		set_fd(&r->err, -1);
		r->has_num = r->has_addr = r->kicked = r->enabled = r->base_is_ours = false;
		r->call_owed = r->call_sent = false;
		r->num = 0;
		memset(&r->addr, 0, sizeof(r->addr));
		memset(&r->state, 0, sizeof(r->state));
	}
}
