// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * link.c - the daemon's socket: we are its front-end (QEMU docs/interop/vhost-user.rst)
 *
 *	greet   owner, features, protocol features, number of queues, configuration;
 *	        each answer is waited for: nobody is served yet
 *	attend  from here on by the loop
 *	start   SET_FEATURES, once SET_MEM_TABLE; for each queue NUM, BASE, ADDR, CALL, KICK, ENABLE
 *	stop    GET_VRING_BASE
 *
 * A daemon answers in the order in which it was asked, so that which answers are missing is a list. All
 * requests want one, where REPLY_ACK is spoken: what a daemon refuses is known. It has gw_patience_ns for
 * each; a daemon that is silent, hangs up or talks nonsense is lost (gw_lose()), once and for good: the
 * worker that comes next begins with another connection, and with other memory, for the daemon of before
 * may live on and write to what it has.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/ticks.h"
#include "backend/devices/gateway/int.h"

enum { HEARD = 64 }; /* messages of one turn */

#define PROTOCOL                                                                                  \
	(VG_FEATURE(VG_VU_PF_MQ) | VG_FEATURE(VG_VU_PF_REPLY_ACK) | VG_FEATURE(VG_VU_PF_CONFIG) | \
	 VG_FEATURE(VG_VU_PF_BACKEND_REQ))

int64_t gw_patience_ns = 10 * NS_PER_S;

static bool speaks(const struct gw_link *l, unsigned bit)
{
	return l->protocol & VG_FEATURE(bit);
}

/* ---- its loss ------------------------------------------------------------ */

static void hang_up(struct gw_link *l)
{
	vg_loop_timer_stop(&l->patience);
	vg_loop_unwatch(&l->watch);
	vg_loop_unwatch(&l->back_watch);
	if (l->sock >= 0)
		close(l->sock);
	if (l->back >= 0)
		close(l->back);
	if (l->back_theirs >= 0)
		close(l->back_theirs);
	l->sock = l->back = l->back_theirs = -1;
	l->n = 0;
}

void gw_lose(struct gateway *gw, const char *fmt, ...)
{
	struct gw_link *l = &gw->link;
	va_list ap;

	if (gw_is_lost(l))
		return;
	va_start(ap, fmt);
	vsnprintf(l->why, sizeof(l->why), fmt, ap);
	va_end(ap);
	vg_log_limited(&gw->log, VG_LOG_ERR, "the daemon at %s is given up: %s", gw->socket,
		       l->why);
	hang_up(l);
	gw_share_lost(gw);
	gw->dev->outdated = true;
	for (unsigned q = 0; q < gw->dev->n_queues; q++)
		gw_queue_lost(&gw->queue[q]);
}

static void patience_over(struct vg_timer *t)
{
	struct gateway *gw = container_of(t, struct gateway, link.patience);
	const struct gw_link *l = &gw->link;

	gw_lose(gw, "it does not answer %s",
		vg_vu_name(VG_VU_MAIN_REQUEST, l->expected[l->first].request));
}

/* ---- asking --------------------------------------------------------------- */

static void run_patience(struct gateway *gw)
{
	struct gw_link *l = &gw->link;

	if (l->n)
		vg_loop_timer(gw->dev->loop, &l->patience, gw_patience_ns);
	else
		vg_loop_timer_stop(&l->patience);
}

static void expect(struct gateway *gw, uint32_t request, unsigned q)
{
	struct gw_link *l = &gw->link;
	unsigned at = (l->first + l->n) % GW_EXPECTED;

	l->expected[at].request = request;
	l->expected[at].q = q;
	if (l->n++ == 0)
		run_patience(gw);
}

/* Send @m, whose request, size, payload and descriptors are set. @q: what its answer is about. */
static void say(struct gateway *gw, struct vg_vu_msg *m, unsigned q)
{
	struct gw_link *l = &gw->link;
	bool replies = vg_vu_has_reply(m->hdr.request) || speaks(l, VG_VU_PF_REPLY_ACK);
	int ret;

	if (gw_is_lost(l))
		return;
	if (l->n == GW_EXPECTED) {
		gw_lose(gw, "it has not answered %u requests", l->n);
		return;
	}
	m->hdr.flags = VG_VU_VERSION |
		       (replies && !vg_vu_has_reply(m->hdr.request) ? VG_VU_NEED_REPLY : 0);
	ret = vg_vu_send(l->sock, m);
	if (ret < 0)
		gw_lose(gw, "it does not take %s: %s",
			vg_vu_name(VG_VU_MAIN_REQUEST, m->hdr.request), strerror(-ret));
	else if (replies)
		expect(gw, m->hdr.request, q);
}

static void say_empty(struct gateway *gw, uint32_t request)
{
	struct vg_vu_msg m;

	m.hdr = (struct vg_vu_header){ .request = request };
	m.n_fds = 0;
	say(gw, &m, 0);
}

static void say_u64(struct gateway *gw, uint32_t request, uint64_t value)
{
	struct vg_vu_msg m;

	m.hdr = (struct vg_vu_header){ .request = request, .size = sizeof(m.u64) };
	m.u64 = value;
	m.n_fds = 0;
	say(gw, &m, 0);
}

static void say_fd(struct gateway *gw, uint32_t request, unsigned q, uint32_t size, int fd)
{
	struct vg_vu_msg m;

	m.hdr = (struct vg_vu_header){ .request = request, .size = size };
	m.u64 = q;
	m.n_fds = 1;
	m.fds[0] = fd;
	say(gw, &m, q);
}

static void say_state(struct gateway *gw, uint32_t request, unsigned q, uint32_t num)
{
	struct vg_vu_msg m;

	m.hdr = (struct vg_vu_header){ .request = request, .size = sizeof(m.state) };
	m.state = (struct vg_vu_state){ .index = q, .num = num };
	m.n_fds = 0;
	say(gw, &m, q);
}

void gw_say_features(struct gateway *gw, uint64_t features)
{
	say_u64(gw, VG_VU_SET_FEATURES,
		features | (gw->link.features & VG_FEATURE(VG_VU_F_PROTOCOL_FEATURES)));
}

/* ADD_MEM_REG, or REM_MEM_REG; @fd: -1: none. @i: what its answer is about */
static void say_region(struct gateway *gw, uint32_t request, const struct vg_vu_region *region,
		       int fd, unsigned i)
{
	struct vg_vu_msg m;

	m.hdr = (struct vg_vu_header){ .request = request, .size = 8 + VG_VU_REGION_SIZE };
	m.one.padding = 0;
	memcpy(m.one.region, region, VG_VU_REGION_SIZE);
	m.n_fds = fd >= 0;
	m.fds[0] = fd;
	say(gw, &m, i);
}

void gw_say_share(struct gateway *gw, unsigned i, bool goes)
{
	const struct vg_shared *s = &gw->share[i].what;
	const struct vg_vu_region region = {
		.guest = s->addr, .size = s->size, .user = s->addr, .offset = s->offset
	};

	say_region(gw, goes ? VG_VU_REM_MEM_REG : VG_VU_ADD_MEM_REG, &region, goes ? -1 : s->fd, i);
}

void gw_say_memory(struct gateway *gw)
{
	const struct vg_vu_region region = { .guest = GW_BASE, .size = GW_MEMORY, .user = GW_BASE };
	struct vg_vu_msg m;

	if (gw->link.shared)
		return;
	gw->link.shared = true;
	/* With the one, the other is not to be used. */
	if (speaks(&gw->link, VG_VU_PF_CONFIGURE_MEM_SLOTS)) {
		say_region(gw, VG_VU_ADD_MEM_REG, &region, gw->memfd, GW_SHARES);
		return;
	}
	m.hdr = (struct vg_vu_header){ .request = VG_VU_SET_MEM_TABLE,
				       .size = 8 + VG_VU_REGION_SIZE };
	m.table.n = 1;
	m.table.padding = 0;
	memcpy(m.table.regions, &region, VG_VU_REGION_SIZE);
	m.n_fds = 1;
	m.fds[0] = gw->memfd;
	say(gw, &m, 0);
}

void gw_say_ring(struct gw_queue *gq)
{
	struct gateway *gw = gq->gw;
	struct vg_vu_msg m;

	say_state(gw, VG_VU_SET_VRING_NUM, gq->index, GW_RING);
	say_state(gw, VG_VU_SET_VRING_BASE, gq->index, 0);
	m.hdr = (struct vg_vu_header){ .request = VG_VU_SET_VRING_ADDR, .size = sizeof(m.addr) };
	m.addr = (struct vg_vu_addr){ .index = gq->index,
				      .desc = gw_ring_desc(&gq->ring),
				      .avail = gw_ring_avail(&gq->ring),
				      .used = gw_ring_used(&gq->ring) };
	m.n_fds = 0;
	say(gw, &m, gq->index);
	say_fd(gw, VG_VU_SET_VRING_CALL, gq->index, sizeof(m.u64), gq->call);
	say_fd(gw, VG_VU_SET_VRING_KICK, gq->index, sizeof(m.u64), gq->kick);
	if (gw->link.features & VG_FEATURE(VG_VU_F_PROTOCOL_FEATURES))
		say_state(gw, VG_VU_SET_VRING_ENABLE, gq->index, 1);
}

void gw_ask_base(struct gw_queue *gq)
{
	say_state(gq->gw, VG_VU_GET_VRING_BASE, gq->index, 0);
}

void gw_say_config(struct gateway *gw, uint32_t off, const uint8_t *bytes, uint32_t len)
{
	struct vg_vu_msg m;

	m.hdr = (struct vg_vu_header){ .request = VG_VU_SET_CONFIG,
				       .size = offsetof(struct vg_vu_config, data) + len };
	m.config.offset = off;
	m.config.size = len;
	m.config.flags = 0;
	memcpy(m.config.data, bytes, len);
	m.n_fds = 0;
	say(gw, &m, 0);
}

void gw_ask_config(struct gateway *gw)
{
	struct vg_vu_msg m;
	uint32_t len = gw->type->config;

	m.hdr = (struct vg_vu_header){ .request = VG_VU_GET_CONFIG,
				       .size = offsetof(struct vg_vu_config, data) + len };
	m.config.offset = 0;
	m.config.size = len;
	m.config.flags = 0;
	memset(m.config.data, 0, len);
	m.n_fds = 0;
	say(gw, &m, 0);
}

/* ---- hearing -------------------------------------------------------------- */

/* The answer to what was asked first. Return: 0, or negative errno with a sentence. */
static int check(const struct gw_link *l, const struct vg_vu_msg *m, struct vg_err *err)
{
	uint32_t request = l->expected[l->first].request;
	int ret;

	if (!l->n || m->hdr.request != request)
		return vg_fail(err, -EPROTO, "it answers %s, which is not what it was asked",
			       vg_vu_name(VG_VU_MAIN_REPLY, m->hdr.request));
	ret = vg_vu_check(m, VG_VU_MAIN_REPLY, false, err);
	if (ret < 0)
		return ret;
	/* A daemon that takes no such change, or no memory of the guest's, is no worse for it. */
	if (!vg_vu_has_reply(request) && m->u64 && request != VG_VU_SET_CONFIG &&
	    !(request == VG_VU_ADD_MEM_REG && l->expected[l->first].q < GW_SHARES))
		return vg_fail(err, -EPROTO, "it refuses %s",
			       vg_vu_name(VG_VU_MAIN_REQUEST, request));
	return 0;
}

static void answered(struct gateway *gw, const struct vg_vu_msg *m)
{
	struct gw_link *l = &gw->link;
	unsigned q = l->expected[l->first].q;
	uint32_t len = gw->type->config;

	l->first = (l->first + 1) % GW_EXPECTED;
	l->n--;
	run_patience(gw);
	if (m->hdr.request == VG_VU_SET_CONFIG && m->u64)
		vg_log_limited(&gw->log, VG_LOG_INFO,
			       "the daemon at %s does not take a change of its configuration",
			       gw->socket);
	if (m->hdr.request == VG_VU_ADD_MEM_REG && q < GW_SHARES)
		gw_share_added(gw, q, m->u64);
	else if (m->hdr.request == VG_VU_REM_MEM_REG)
		gw_share_removed(gw, q);
	if (m->hdr.request == VG_VU_GET_VRING_BASE) {
		if (m->state.index == q)
			gw_queue_based(&gw->queue[q], m->state.num);
		else
			gw_lose(gw, "it answers for queue %u, and was asked for %u", m->state.index,
				q);
	} else if (m->hdr.request == VG_VU_GET_CONFIG) {
		if (m->hdr.size >= offsetof(struct vg_vu_config, data) + len &&
		    m->config.size == len)
			gw_config_came(gw, m->config.data);
		else
			gw_lose(gw, "%u bytes of its configuration were asked for, and it has %u",
				len, m->config.size);
	}
}

/* Return: 1: another may have come; 0: none has. */
static int hear(struct gateway *gw)
{
	struct gw_link *l = &gw->link;
	struct vg_err err = { "" };
	int ret = vg_vu_read(&l->in, l->sock);

	if (ret == -EAGAIN)
		return 0;
	if (ret == 1)
		ret = check(l, &l->in.msg, &err) < 0 ? -EPROTO : 1;
	if (ret == 1)
		answered(gw, &l->in.msg);
	else if (ret == 0)
		gw_lose(gw, "it has hung up");
	else
		gw_lose(gw, "%s", err.text[0] ? err.text : strerror(-ret));
	return ret == 1 && !gw_is_lost(l);
}

static void ready(struct vg_watch *w, unsigned events)
{
	struct gateway *gw = container_of(w, struct gateway, link.watch);
	unsigned n = 0;

	(void)events;
	while (hear(gw)) {
		if (++n == HEARD) {
			gw_lose(gw, "it talks without end");
			return;
		}
	}
}

/* A request of the daemon's. Return: 1: another may have come; 0: none has, or ever will. */
static int hear_back(struct gateway *gw)
{
	struct gw_link *l = &gw->link;
	struct vg_err err = { "" };
	int ret = vg_vu_read(&l->back_in, l->back);
	const struct vg_vu_msg *m = &l->back_in.msg;
	bool known;

	if (ret == -EAGAIN || ret == 0)
		return 0;
	if (ret != 1) {
		gw_lose(gw, "its own requests make no sense: %s", strerror(-ret));
		return 0;
	}
	known = vg_vu_check(m, VG_VU_BACK_REQUEST, false, &err) == 0 &&
		m->hdr.request == VG_VU_BACK_CONFIG_CHANGE;
	if (known && speaks(l, VG_VU_PF_CONFIG) && gw->type->config) {
		gw->ask_again = gw->asked;
		if (!gw->asked)
			gw_ask_config(gw);
		gw->asked = true;
	}
	if (m->hdr.flags & VG_VU_NEED_REPLY)
		vg_vu_send_u64(l->back, m->hdr.request, VG_VU_REPLY, known ? 0 : 1);
	return !gw_is_lost(l);
}

static void back_ready(struct vg_watch *w, unsigned events)
{
	struct gateway *gw = container_of(w, struct gateway, link.back_watch);
	unsigned n = 0;

	if (!(events & POLLIN))
		vg_loop_unwatch(w);
	while (hear_back(gw)) {
		if (++n == HEARD) {
			gw_lose(gw, "it talks without end");
			return;
		}
	}
}

/* ---- greeting ------------------------------------------------------------- */

static const char *silence(int ret)
{
	return ret == 0		? "it has hung up"
	       : ret == -EAGAIN ? "it is silent (does it serve somebody else?)"
				: strerror(-ret);
}

/* Wait for the answer to all that was asked. Return: 0, or negative errno with a sentence. */
static int await(struct gateway *gw, struct vg_vu_msg *out, struct vg_err *err)
{
	struct gw_link *l = &gw->link;
	int64_t end = vg_now_ns() + gw_patience_ns;

	while (l->n) {
		int64_t left = (end - vg_now_ns()) / (NS_PER_S / 1000);
		struct pollfd p = { .fd = l->sock, .events = POLLIN };
		int ret = vg_vu_read(&l->in, l->sock);

		if (ret == -EAGAIN && left > 0 && poll(&p, 1, (int)left) >= 0)
			continue;
		if (ret != 1)
			return vg_fail(
				err, -EAGAIN, "the daemon at %s does not answer %s: %s", gw->socket,
				vg_vu_name(VG_VU_MAIN_REQUEST, l->expected[l->first].request),
				silence(ret));
		ret = check(l, &l->in.msg, err);
		if (ret < 0)
			return ret;
		l->first = (l->first + 1) % GW_EXPECTED;
		l->n--;
		*out = l->in.msg;
	}
	run_patience(gw);
	return 0;
}

static int ask_u64(struct gateway *gw, uint32_t request, uint64_t *value, struct vg_err *err)
{
	struct vg_vu_msg m;
	int ret;

	m.u64 = 0;
	say_empty(gw, request);
	ret = await(gw, &m, err);
	*value = m.u64;
	return ret;
}

/* The daemon's requests have a channel of their own. */
static int give_back_channel(struct gateway *gw, struct vg_err *err)
{
	struct gw_link *l = &gw->link;
	struct vg_vu_msg m;

	say_fd(gw, VG_VU_SET_BACKEND_REQ_FD, 0, 0, l->back_theirs);
	if (l->back_theirs >= 0)
		close(l->back_theirs);
	l->back_theirs = -1;
	return await(gw, &m, err);
}

static int greet_config(struct gateway *gw, struct vg_err *err)
{
	uint32_t len = gw->type->config;
	struct vg_vu_msg m;
	int ret;

	m.hdr.size = 0;
	m.config.size = 0;
	gw_ask_config(gw);
	ret = await(gw, &m, err);
	if (ret < 0)
		return ret;
	if (m.hdr.size < offsetof(struct vg_vu_config, data) + len || m.config.size != len)
		return vg_fail(err, -EPROTO,
			       "the daemon at %s has no configuration space of %u bytes, as "
			       "type=%s has it",
			       gw->socket, len, gw->type->name);
	memcpy(gw->config, m.config.data, len);
	return 0;
}

int gw_link_greet(struct gateway *gw, unsigned *queues, struct vg_err *err)
{
	struct gw_link *l = &gw->link;
	uint64_t n = 0, slots = 0;
	int ret;

	*queues = 0;
	say_empty(gw, VG_VU_SET_OWNER);
	ret = ask_u64(gw, VG_VU_GET_FEATURES, &l->features, err);
	if (ret == 0 && l->features & VG_FEATURE(VG_VU_F_PROTOCOL_FEATURES)) {
		uint64_t has = 0, ours = PROTOCOL;

		ret = ask_u64(gw, VG_VU_GET_PROTOCOL_FEATURES, &has, err);
		if (ret < 0)
			return ret;
		if (gw->lends)
			ours |= VG_FEATURE(VG_VU_PF_CONFIGURE_MEM_SLOTS);
		say_u64(gw, VG_VU_SET_PROTOCOL_FEATURES, has & ours);
		l->protocol = has & ours;
	}
	if (ret == 0 && speaks(l, VG_VU_PF_CONFIGURE_MEM_SLOTS))
		ret = ask_u64(gw, VG_VU_GET_MAX_MEM_SLOTS, &slots, err);
	if (ret == 0)
		gw_share_greeted(gw, slots);
	if (ret == 0 && speaks(l, VG_VU_PF_MQ))
		ret = ask_u64(gw, VG_VU_GET_QUEUE_NUM, &n, err);
	if (ret == 0 && speaks(l, VG_VU_PF_BACKEND_REQ))
		ret = give_back_channel(gw, err);
	if (ret == 0 && speaks(l, VG_VU_PF_CONFIG) && gw->type->config)
		ret = greet_config(gw, err);
	if (ret == 0 && gw_is_lost(l))
		ret = vg_fail(err, -EAGAIN, "the daemon at %s is gone: %s", gw->socket, l->why);
	*queues = n < GW_QUEUES ? (unsigned)n : GW_QUEUES;
	return ret;
}

/* ---- life ------------------------------------------------------------------ */

int gw_link_open(struct gateway *gw, struct vg_err *err)
{
	struct gw_link *l = &gw->link;
	int pair[2];

	l->patience.expired = patience_over;
	vg_vu_reader_init(&l->in);
	vg_vu_reader_init(&l->back_in);
	/* Here, since a worker in its sandbox makes no sockets. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return vg_fail(err, -errno, "no socket for the daemon's requests: %s",
			       strerror(errno));
	l->back = pair[0];
	l->back_theirs = pair[1];
	l->sock = gw_connect(gw->socket, err);
	return l->sock < 0 ? l->sock : 0;
}

void gw_link_attend(struct gateway *gw)
{
	struct gw_link *l = &gw->link;

	l->watch.ready = ready;
	vg_loop_watch(gw->dev->loop, &l->watch, l->sock);
	l->back_watch.ready = back_ready;
	if (l->back >= 0)
		vg_loop_watch(gw->dev->loop, &l->back_watch, l->back);
}

void gw_link_close(struct gateway *gw)
{
	hang_up(&gw->link);
	vg_vu_reader_fini(&gw->link.in);
	vg_vu_reader_fini(&gw->link.back_in);
}
