// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * socket.c - a host interface through SocketCAN (can/bus.h)
 *
 * One CAN_RAW socket, opened with privileges and bound to the interface. Other
 * sockets of this host, those of other guests' workers among them, see what it
 * sends (CAN_RAW_LOOPBACK, the default), and it sees what they send. It does not
 * see its own frames, but when confirm is on: then each comes back once the
 * controller has sent it, marked MSG_CONFIRM (Linux, Documentation/networking/
 * can.rst, "RAW socket option CAN_RAW_RECV_OWN_MSGS").
 *
 * The interface goes down, goes away, comes back. A socket belongs for good to
 * the network namespace in which it was made (the kernel's sock_net(sk)),
 * wherever its process goes after. So the worker, in an empty namespace of its
 * own, keeps two sockets that were made outside:
 *
 *	link   rtnetlink: says whether the interface is there, up, and how its
 *	       controller is. Asking needs no privilege.
 *	can    bound to the interface. When that is unregistered the kernel unbinds
 *	       it for good, and says ENODEV: it is closed. When an interface of the
 *	       same name appears, another one is asked for (events.wanted), which the
 *	       supervisor makes and binds, to what the configuration names
 *	       (socket_lend()).
 *
 * The interface is the one that has the name now: one that is renamed is left, and
 * the next that gets the name is joined.
 *
 * CAN_RAW takes an interface with each bind(2), and with each frame that is sent to
 * an address, and asks for no privilege. So that a worker which a guest has taken
 * over does not reach all CAN interfaces of the host, its sandbox has neither
 * bind(2) nor any system call that sends to an address (can.c, can_needs): frames
 * are written, many in one call (base/writes.h).
 *
 * Error frames. All classes are asked for; they tell the state of the controller
 * at once, before rtnetlink does, and are all that vcan has (there, a test writes
 * them). They are handed up like frames: can.c counts them.
 */
/* Before the kernel's own, which then leave out what it has. */
#include <net/if.h>

#include <errno.h>
#include <linux/can/error.h>
#include <linux/can/netlink.h>
#include <linux/can/raw.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/can/bus.h"
#include "backend/base/limits.h"
#include "backend/base/writes.h"

enum {
	BATCH = 64,	       /* frames of one system call */
	LINK_ANSWER_MS = 1000, /* patience with the first answer of rtnetlink */
	LINK_BUFFER = 32768,   /* what a netlink message fits into (the kernel's own limit) */
};

struct can_socket {
	struct can_bus bus;
	int can, link;
	struct vg_loop *loop;
	struct vg_watch can_watch, link_watch;
	char name[IFNAMSIZ];
	int index;  /* of the interface that the socket is bound to; 0: none, and no socket */
	bool asked; /* for a socket, since the last tick */
	bool confirming;
	uint64_t lost; /* dropped by sockets that were closed */
	bool said_wrong_kind;
	struct vg_writes *writes;
	/* Of one system call; msghdrs, for those that are received, point into the frames. */
	struct canfd_frame frame[BATCH];
	struct sockaddr_can from[BATCH];
	struct iovec iov[BATCH];
	struct mmsghdr msg[BATCH];
	_Alignas(8) uint8_t nl[LINK_BUFFER];
};

static int socket_lend(const char *name, struct vg_err *err);
static void socket_given(struct can_bus *bus, int can, const char *why);

static struct can_socket *of_bus(struct can_bus *bus)
{
	return container_of(bus, struct can_socket, bus);
}

/* ---- the interface ------------------------------------------------------ */

static void set_link(struct can_socket *cs, enum can_link link, enum can_bus_state state)
{
	struct can_bus *bus = &cs->bus;

	if (bus->link == link && bus->state == state)
		return;
	if (bus->link != link)
		vg_info("CAN interface %s is %s", cs->name,
			link == CAN_LINK_UP	? "up"
			: link == CAN_LINK_DOWN ? "down: ip link set it up"
						: "gone; the device waits for it");
	bus->link = link;
	bus->state = state;
	if (bus->events.changed)
		bus->events.changed(bus->events.owner);
}

static uint64_t dropped_by(int can)
{
	uint32_t info[9] = { 0 }; /* SK_MEMINFO_* of linux/sock_diag.h; [8] is SK_MEMINFO_DROPS */
	socklen_t len = sizeof(info);

	if (getsockopt(can, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
		return 0;
	return info[8];
}

static void close_can(struct can_socket *cs)
{
	vg_loop_unwatch(&cs->can_watch);
	if (cs->can >= 0) {
		cs->lost += dropped_by(cs->can);
		close(cs->can);
	}
	cs->can = -1;
	cs->index = 0;
}

/* Our interface is gone, or is no longer the one that is meant: nothing is heard of it any more. */
static void leave(struct can_socket *cs)
{
	if (!cs->index)
		return;
	close_can(cs);
	set_link(cs, CAN_LINK_GONE, CAN_ACTIVE);
}

/* What a message says of an interface. */
struct link_news {
	const char *name; /* NULL: not told */
	uint32_t mtu;
	bool has_state;
	uint32_t state; /* enum can_state of linux/can/netlink.h */
	bool one_shot;
	uint32_t bitrate, data_bitrate;
};

static void read_can_info(struct rtattr *info, struct link_news *news)
{
	struct rtattr *a = RTA_DATA(info);
	int len = (int)RTA_PAYLOAD(info);

	for (; RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		struct can_bittiming bt;
		struct can_ctrlmode mode;

		if (a->rta_type == IFLA_CAN_CTRLMODE && RTA_PAYLOAD(a) >= sizeof(mode)) {
			memcpy(&mode, RTA_DATA(a), sizeof(mode));
			news->one_shot = mode.flags & CAN_CTRLMODE_ONE_SHOT;
		}
		if (a->rta_type == IFLA_CAN_STATE && RTA_PAYLOAD(a) >= sizeof(news->state)) {
			memcpy(&news->state, RTA_DATA(a), sizeof(news->state));
			news->has_state = true;
		}
		if ((a->rta_type != IFLA_CAN_BITTIMING && a->rta_type != IFLA_CAN_DATA_BITTIMING) ||
		    RTA_PAYLOAD(a) < sizeof(bt))
			continue;
		memcpy(&bt, RTA_DATA(a), sizeof(bt));
		if (a->rta_type == IFLA_CAN_BITTIMING)
			news->bitrate = bt.bitrate;
		else
			news->data_bitrate = bt.bitrate;
	}
}

/* IFLA_LINKINFO: the kind, and for a real controller ("can") its own attributes. */
static void read_link_info(struct rtattr *linkinfo, struct link_news *news)
{
	struct rtattr *a = RTA_DATA(linkinfo);
	int len = (int)RTA_PAYLOAD(linkinfo);
	bool controller = false;

	for (; RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == IFLA_INFO_KIND)
			controller = RTA_PAYLOAD(a) == 4 && memcmp(RTA_DATA(a), "can", 4) == 0;
		else if (a->rta_type == IFLA_INFO_DATA && controller)
			read_can_info(a, news);
	}
}

static void read_attributes(struct nlmsghdr *nh, struct link_news *news)
{
	struct rtattr *a = IFLA_RTA(NLMSG_DATA(nh));
	int len = (int)IFLA_PAYLOAD(nh);

	for (; RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == IFLA_IFNAME && RTA_PAYLOAD(a) > 0)
			news->name = RTA_DATA(a); /* the kernel terminates it */
		else if (a->rta_type == IFLA_MTU && RTA_PAYLOAD(a) >= sizeof(news->mtu))
			memcpy(&news->mtu, RTA_DATA(a), sizeof(news->mtu));
		else if (a->rta_type == IFLA_LINKINFO)
			read_link_info(a, news);
	}
}

static enum can_bus_state state_of(uint32_t kernels)
{
	switch (kernels) {
	case CAN_STATE_ERROR_WARNING:
		return CAN_WARNING;
	case CAN_STATE_ERROR_PASSIVE:
		return CAN_PASSIVE;
	case CAN_STATE_BUS_OFF:
		return CAN_BUSOFF;
	default:
		return CAN_ACTIVE;
	}
}

/* A socket for the interface that has our name now: while the device is opened, of our own making; later
 * asked for, once a second at most, for it may go as it comes. */
static void want(struct can_socket *cs)
{
	struct vg_err err = { "" };

	if (!cs->bus.events.wanted) {
		socket_given(&cs->bus, socket_lend(cs->name, &err), err.text);
	} else if (!cs->asked) {
		cs->asked = true;
		cs->bus.events.wanted(cs->bus.events.owner);
	}
}

/* An interface of our name is there. Join it, if that has not been done. */
static bool joined(struct can_socket *cs, const struct ifinfomsg *ifi)
{
	if (cs->index == ifi->ifi_index)
		return true;
	leave(cs); /* it has our name, so that the one that we had has not */
	if (ifi->ifi_type != ARPHRD_CAN) {
		if (!cs->said_wrong_kind)
			vg_error("%s is no CAN interface; the device waits for one of that name",
				 cs->name);
		cs->said_wrong_kind = true;
		return false;
	}
	want(cs);
	return cs->index == ifi->ifi_index;
}

/* Ask for the interface; the answer comes as a message, or as ENODEV when it is not there. */
static int ask(struct can_socket *cs)
{
	struct {
		struct nlmsghdr nh;
		struct ifinfomsg ifi;
		struct rtattr attr;
		char name[IFNAMSIZ];
	} req = {
		.nh = { .nlmsg_len = sizeof(req),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST,
			.nlmsg_seq = 1 },
		.ifi = { .ifi_family = AF_UNSPEC },
		.attr = { .rta_len = RTA_LENGTH(IFNAMSIZ), .rta_type = IFLA_IFNAME },
	};

	memcpy(req.name, cs->name, sizeof(req.name));
	return send(cs->link, &req, sizeof(req), MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void link_message(struct can_socket *cs, struct nlmsghdr *nh)
{
	const struct ifinfomsg *ifi = NLMSG_DATA(nh);
	struct link_news news = { 0 };
	struct can_bus *bus = &cs->bus;

	if ((nh->nlmsg_type != RTM_NEWLINK && nh->nlmsg_type != RTM_DELLINK) ||
	    nh->nlmsg_len < NLMSG_LENGTH(sizeof(*ifi)))
		return;
	read_attributes(nh, &news);
	if (nh->nlmsg_type == RTM_DELLINK) {
		if (ifi->ifi_index == cs->index)
			leave(cs);
		return;
	}
	if (!news.name)
		return;
	if (strcmp(news.name, cs->name) != 0) {
		if (ifi->ifi_index == cs->index) {
			vg_warn("CAN interface %s has got another name, %s; what has the name %s "
				"is joined",
				cs->name, news.name, cs->name);
			leave(cs);
			ask(cs);
		}
		return;
	}
	if (!joined(cs, ifi))
		return;
	bus->fd = news.mtu >= CANFD_MTU;
	bus->state_known = news.has_state;
	bus->one_shot = news.one_shot;
	bus->bitrate = news.bitrate;
	bus->data_bitrate = news.data_bitrate;
	if (!(ifi->ifi_flags & IFF_UP))
		set_link(cs, CAN_LINK_DOWN, CAN_ACTIVE);
	else
		set_link(cs, CAN_LINK_UP, news.has_state ? state_of(news.state) : bus->state);
}

/* Our own question was answered with an error. */
static void link_error(struct can_socket *cs, const struct nlmsghdr *nh)
{
	const struct nlmsgerr *e = NLMSG_DATA(nh);

	if (nh->nlmsg_len >= NLMSG_LENGTH(sizeof(*e)) && e->error == -ENODEV)
		leave(cs);
}

/* Return: how many messages were read. */
static unsigned read_link(struct can_socket *cs)
{
	unsigned n = 0;
	ssize_t got;

	while ((got = recv(cs->link, cs->nl, sizeof(cs->nl), MSG_DONTWAIT)) != 0) {
		struct nlmsghdr *nh = (struct nlmsghdr *)cs->nl;
		size_t len = (size_t)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == ENOBUFS) {
			ask(cs); /* messages were lost: what they said is asked for */
			continue;
		}
		if (got < 0)
			break;
		for (; NLMSG_OK(nh, len); nh = NLMSG_NEXT(nh, len), n++) {
			if (nh->nlmsg_type == NLMSG_ERROR)
				link_error(cs, nh);
			else
				link_message(cs, nh);
		}
	}
	return n;
}

static void link_ready(struct vg_watch *w, unsigned events)
{
	(void)events;
	read_link(container_of(w, struct can_socket, link_watch));
}

/* ---- frames ------------------------------------------------------------- */

static void can_ready(struct vg_watch *w, unsigned events)
{
	struct can_socket *cs = container_of(w, struct can_socket, can_watch);

	(void)events; /* POLLERR, too, is told by reading, and passes */
	cs->bus.events.readable(cs->bus.events.owner);
}

static size_t frame_size(const struct can_item *item)
{
	return item->fd ? CANFD_MTU : CAN_MTU;
}

static int socket_send(struct can_bus *bus, const struct can_item *items, unsigned n)
{
	struct can_socket *cs = of_bus(bus);
	int ret;

	if (!cs->index)
		return -ENODEV;
	if (n > BATCH)
		n = BATCH;
	for (unsigned i = 0; i < n; i++)
		cs->iov[i] = (struct iovec){
			.iov_base = (void *)(uintptr_t)&items[i].f,
			.iov_len = frame_size(&items[i]),
		};
	ret = vg_writes_do(cs->writes, cs->can, cs->iov, n);
	switch (ret) {
	case -ENOBUFS: /* the interface's queue; -EAGAIN: the socket's buffer */
	case -ENOMEM:
		return -EAGAIN;
	case -ENXIO: /* unbound meanwhile */
		return -ENODEV;
	default:
		return ret;
	}
}

/* The socket has an error to tell, once: the interface went. rtnetlink says the rest. */
static bool link_went(struct can_socket *cs, int error)
{
	if (error == ENETDOWN) {
		if (cs->index) /* else it is of one that we have left meanwhile */
			set_link(cs, CAN_LINK_DOWN, CAN_ACTIVE);
	} else if (error == ENODEV) {
		leave(cs);
	} else {
		return error == EINTR;
	}
	ask(cs);
	return true;
}

/* An error frame: what it says of the controller. */
static void note_error(struct can_socket *cs, const struct canfd_frame *f)
{
	enum can_bus_state state = cs->bus.state;

	if (f->can_id & CAN_ERR_CRTL) {
		if (f->data[1] & (CAN_ERR_CRTL_RX_PASSIVE | CAN_ERR_CRTL_TX_PASSIVE))
			state = CAN_PASSIVE;
		else if (f->data[1] & (CAN_ERR_CRTL_RX_WARNING | CAN_ERR_CRTL_TX_WARNING))
			state = CAN_WARNING;
		else if (f->data[1] & CAN_ERR_CRTL_ACTIVE)
			state = CAN_ACTIVE;
	}
	if (f->can_id & CAN_ERR_RESTARTED)
		state = CAN_ACTIVE;
	if (f->can_id & CAN_ERR_BUSOFF)
		state = CAN_BUSOFF;
	if (cs->bus.link == CAN_LINK_UP)
		set_link(cs, CAN_LINK_UP, state);
}

static int socket_recv(struct can_bus *bus, struct can_item *items, unsigned max)
{
	struct can_socket *cs = of_bus(bus);
	unsigned kept = 0;
	int n;

	if (cs->can < 0)
		return 0;
	if (max > BATCH)
		max = BATCH;
	for (unsigned i = 0; i < max; i++) {
		cs->iov[i] = (struct iovec){ .iov_base = &cs->frame[i], .iov_len = CANFD_MTU };
		cs->msg[i] = (struct mmsghdr){
			.msg_hdr = { .msg_iov = &cs->iov[i],
				     .msg_iovlen = 1,
				     .msg_name = &cs->from[i],
				     .msg_namelen = sizeof(cs->from[i]) },
		};
	}
	while ((n = recvmmsg(cs->can, cs->msg, max, MSG_DONTWAIT, NULL)) < 0) {
		if (!link_went(cs, errno))
			return 0;
	}
	for (int i = 0; i < n; i++) {
		unsigned len = cs->msg[i].msg_len;
		struct can_item *item = &items[kept];

		if (len != CAN_MTU && len != CANFD_MTU)
			continue; /* CAN XL: nothing that a virtio-can guest could take */
		if (cs->from[i].can_ifindex != cs->index)
			continue; /* of an interface that we have left meanwhile */
		memset(item, 0, sizeof(*item));
		memcpy(&item->f, &cs->frame[i], len);
		item->fd = len == CANFD_MTU;
		item->own = cs->msg[i].msg_hdr.msg_flags & MSG_CONFIRM;
		if (!item->fd)
			item->f.flags = item->f.__res0 = item->f.__res1 = 0;
		if (item->f.len > (item->fd ? CANFD_MAX_DLEN : CAN_MAX_DLEN))
			continue;
		if (item->f.can_id & CAN_ERR_FLAG)
			note_error(cs, &item->f);
		kept++;
	}
	/* Nothing kept of a full batch is not the end: the caller takes 0 for one. */
	return kept || n < (int)max ? (int)kept : socket_recv(bus, items, max);
}

static void socket_confirm(struct can_bus *bus, bool on)
{
	struct can_socket *cs = of_bus(bus);
	int value = on;

	cs->confirming = on;
	if (cs->can >= 0 &&
	    setsockopt(cs->can, SOL_CAN_RAW, CAN_RAW_RECV_OWN_MSGS, &value, sizeof(value)) < 0)
		vg_error("the interface's confirmations cannot be switched: %s", strerror(errno));
}

static uint64_t socket_dropped(struct can_bus *bus)
{
	struct can_socket *cs = of_bus(bus);

	return cs->lost + (cs->can >= 0 ? dropped_by(cs->can) : 0);
}

static void socket_tick(struct can_bus *bus)
{
	of_bus(bus)->asked = false;
	ask(of_bus(bus));
}

/* ---- life --------------------------------------------------------------- */

static int set_up(int can)
{
	const can_err_mask_t all = CAN_ERR_MASK;
	int bytes = VG_LIMIT_CAN_SOCKET_BYTES;
	int on = 1;

	if (setsockopt(can, SOL_CAN_RAW, CAN_RAW_FD_FRAMES, &on, sizeof(on)) < 0 ||
	    setsockopt(can, SOL_CAN_RAW, CAN_RAW_ERR_FILTER, &all, sizeof(all)) < 0)
		return -errno;
	if (setsockopt(can, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(can, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return 0;
}

static int bind_to(int can, const char *name)
{
	struct sockaddr_can addr = { .can_family = AF_CAN };

	addr.can_ifindex = (int)if_nametoindex(name);
	return addr.can_ifindex && bind(can, (struct sockaddr *)&addr, sizeof(addr)) == 0 ? 0
											  : -errno;
}

static int make_socket(struct vg_err *err)
{
	int can = socket(PF_CAN, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, CAN_RAW);

	return can < 0 ? vg_fail(err, -errno,
				 "this kernel has no CAN sockets: %s; load them with 'modprobe "
				 "can-raw'",
				 strerror(errno))
		       : can;
}

/* Bound to 0 a socket would hear all interfaces: such a one is never handed out. */
static int socket_lend(const char *name, struct vg_err *err)
{
	int can = make_socket(err);
	int ret;

	if (can < 0)
		return can;
	ret = set_up(can);
	if (ret == 0)
		ret = bind_to(can, name);
	if (ret == 0)
		return can;
	close(can);
	return vg_fail(err, ret, "CAN interface %s cannot be joined: %s", name, strerror(-ret));
}

static void socket_given(struct can_bus *bus, int can, const char *why)
{
	struct sockaddr_can addr = { .can_ifindex = 0 };
	struct can_socket *cs = of_bus(bus);
	socklen_t len = sizeof(addr);

	if (can < 0) {
		/* It has gone again; should it come, that is told. */
		if (can != -ENODEV)
			vg_error("%s", why);
		return;
	}
	close_can(cs);
	if (getsockname(can, (struct sockaddr *)&addr, &len) < 0 || addr.can_ifindex <= 0) {
		close(can);
		return;
	}
	cs->can = can;
	cs->index = addr.can_ifindex;
	if (cs->confirming)
		socket_confirm(bus, true);
	if (cs->bus.events.readable)
		vg_loop_watch(cs->loop, &cs->can_watch, can);
	ask(cs); /* how it is, and whether it has our name still */
}

static int open_link(struct can_socket *cs, struct vg_err *err)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

	cs->link = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (cs->link < 0 || bind(cs->link, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return vg_fail(err, -errno, "rtnetlink cannot be opened: %s", strerror(errno));
	return 0;
}

/* How the interface is now, before anything else happens. */
static int first_look(struct can_socket *cs, struct vg_err *err)
{
	struct pollfd p = { .fd = cs->link, .events = POLLIN };
	int ret = ask(cs);

	if (ret == 0 && poll(&p, 1, LINK_ANSWER_MS) <= 0)
		ret = -ETIMEDOUT;
	if (ret < 0)
		return vg_fail(err, ret, "rtnetlink does not answer: %s", strerror(-ret));
	read_link(cs);
	if (cs->said_wrong_kind)
		return vg_fail(err, -EINVAL,
			       "%s is no CAN interface; `ip -details link` lists those "
			       "that there are",
			       cs->name);
	if (cs->bus.link == CAN_LINK_GONE)
		vg_warn("there is no CAN interface %s yet; the device waits for it", cs->name);
	else if (cs->bus.link == CAN_LINK_DOWN)
		vg_warn("CAN interface %s is down: `ip link set %s up`", cs->name, cs->name);
	return 0;
}

static void socket_close(struct can_bus *bus)
{
	struct can_socket *cs = of_bus(bus);

	close_can(cs);
	vg_loop_unwatch(&cs->link_watch);
	if (cs->link >= 0)
		close(cs->link);
	vg_writes_free(cs->writes);
	free(cs);
}

static int socket_open(const char *name, struct vg_loop *loop, const struct can_bus_events *events,
		       struct can_bus **out, struct vg_err *err)
{
	struct can_socket *cs;
	int ret;

	if (!*name || strlen(name) >= IFNAMSIZ)
		return vg_fail(err, -EINVAL, "interface=%s: names have 1 to %d characters", name,
			       IFNAMSIZ - 1);
	cs = calloc(1, sizeof(*cs));
	if (!cs)
		return vg_fail(err, -ENOMEM, "out of memory");
	cs->can = cs->link = -1;
	cs->loop = loop;
	cs->bus.ops = &can_socket_ops;
	cs->bus.link = CAN_LINK_GONE;
	cs->can_watch.ready = can_ready;
	cs->link_watch.ready = link_ready;
	memcpy(cs->name, name, strlen(name) + 1);
	ret = make_socket(err); /* without an interface, too, this is to be known */
	if (ret >= 0) {
		close(ret);
		ret = vg_writes_new(BATCH, &cs->writes);
		if (ret < 0)
			vg_fail(err, ret, "io_uring cannot be set up: %s", strerror(-ret));
	}
	if (ret == 0)
		ret = open_link(cs, err);
	if (ret == 0)
		ret = first_look(cs, err);
	if (ret < 0) {
		socket_close(&cs->bus);
		return ret;
	}
	cs->bus.events = *events; /* only now: the caller is not ready for them before */
	if (cs->can >= 0)
		vg_loop_watch(loop, &cs->can_watch, cs->can);
	vg_loop_watch(loop, &cs->link_watch, cs->link);
	*out = &cs->bus;
	return 0;
}

const struct can_bus_ops can_socket_ops = {
	.open = socket_open,
	.close = socket_close,
	.lend = socket_lend,
	.given = socket_given,
	.send = socket_send,
	.recv = socket_recv,
	.confirm = socket_confirm,
	.dropped = socket_dropped,
	.tick = socket_tick,
};

const struct can_bus_ops *can_bus_ops = &can_socket_ops;
