// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * host.c - see host.h
 *
 * As Xen's own scripts have it (vif-bridge, xen-network-common.sh): the host's end
 * of a guest's cable has the address fe:ff:ff:ff:ff:ff, which no bridge takes for
 * its own, answers no ARP and makes no IPv6 address for itself.
 *
 * What is asked while a guest runs is asked in the sandbox, where libnl is not: one
 * message to a socket that was opened before, whose answer is there at once.
 */
#include "backend/devices/net/host.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/link/macvtap.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST_END "fe:ff:ff:ff:ff:ff"

enum { ANSWER_BYTES = 16384 }; /* more than the kernel says of one interface without statistics */

/* A negative errno for what libnl says. */
static int errno_of(int nl)
{
	switch (-nl) {
	case NLE_OBJ_NOTFOUND:
	case NLE_NODEV:
		return -ENODEV;
	case NLE_PERM:
		return -EPERM;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	case NLE_EXIST:
		return -EEXIST;
	case NLE_BUSY:
		return -EBUSY;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_RANGE:
	case NLE_INVAL:
		return -EINVAL;
	default:
		return -EIO;
	}
}

static int connect_to(struct nl_sock **sk, struct vg_err *err)
{
	int ret;

	*sk = nl_socket_alloc();
	ret = *sk ? nl_connect(*sk, NETLINK_ROUTE) : -NLE_NOMEM;
	if (ret == 0)
		return 0;
	nl_socket_free(*sk);
	return vg_fail(err, errno_of(ret), "rtnetlink cannot be reached: %s", nl_geterror(ret));
}

static int find_bridge(struct nl_sock *sk, const char *name, struct rtnl_link **out,
		       struct vg_err *err)
{
	const char *type;
	int ret = rtnl_link_get_kernel(sk, 0, name, out);

	if (ret < 0)
		return errno_of(ret) == -ENODEV
			       ? vg_fail(err, -ENODEV,
					 "there is no bridge %s; make it with `ip link add %s type "
					 "bridge`, or name another: bridge=; one of Open vSwitch "
					 "takes script=" NET_OVS_SCRIPT,
					 name, name)
			       : vg_fail(err, errno_of(ret), "bridge %s: %s", name,
					 nl_geterror(ret));
	type = rtnl_link_get_type(*out);
	if (type && strcmp(type, "bridge") == 0)
		return 0;
	rtnl_link_put(*out);
	*out = NULL;
	return vg_fail(err, -EINVAL,
		       "%s is no Linux bridge; `ip link show type bridge` lists them; one of Open "
		       "vSwitch takes script=" NET_OVS_SCRIPT,
		       name);
}

/* What an interface of a guest's has, see above. @address: NULL: it stays. Return: 0, or what libnl
 * says. */
static int prepare(struct nl_sock *sk, struct rtnl_link *now, const char *address, unsigned flags,
		   uint32_t mtu)
{
	struct rtnl_link *wanted = rtnl_link_alloc();
	struct nl_addr *mac = NULL;
	int ret = wanted ? 0 : -NLE_NOMEM;

	if (ret == 0 && address)
		ret = nl_addr_parse(address, AF_LLC, &mac);
	if (ret == 0) {
		if (mac)
			rtnl_link_set_addr(wanted, mac);
		if (flags)
			rtnl_link_set_flags(wanted, flags);
		if (mtu)
			rtnl_link_set_mtu(wanted, mtu);
		ret = rtnl_link_change(sk, now, wanted, 0);
	}
	/* An address of its own would be heard by the guest; a host without IPv6 makes none. */
	if (ret == 0 && rtnl_link_inet6_set_addr_gen_mode(wanted, IN6_ADDR_GEN_MODE_NONE) == 0)
		rtnl_link_change(sk, now, wanted, 0);
	nl_addr_put(mac);
	rtnl_link_put(wanted);
	return ret;
}

static int bring_up(struct nl_sock *sk, struct rtnl_link *now)
{
	struct rtnl_link *wanted = rtnl_link_alloc();
	int ret = -NLE_NOMEM;

	if (wanted) {
		rtnl_link_set_flags(wanted, IFF_UP);
		ret = rtnl_link_change(sk, now, wanted, 0);
	}
	rtnl_link_put(wanted);
	return ret;
}

static int get(struct nl_sock *sk, const char *name, struct rtnl_link **out, struct vg_err *err)
{
	int ret = rtnl_link_get_kernel(sk, 0, name, out);

	return ret < 0 ? vg_fail(err, errno_of(ret), "interface %s: %s", name, nl_geterror(ret))
		       : 0;
}

/* One interface, over a socket of its own: both are the caller's, and nothing is after an error. */
static int connect_and_get(const char *name, struct nl_sock **sk, struct rtnl_link **out,
			   struct vg_err *err)
{
	int ret = connect_to(sk, err);

	if (ret < 0)
		return ret;
	ret = get(*sk, name, out, err);
	if (ret < 0)
		nl_socket_free(*sk);
	return ret;
}

static void put(struct nl_sock *sk, struct rtnl_link *link)
{
	rtnl_link_put(link);
	nl_socket_free(sk);
}

/* Return: 0, or negative errno with a sentence. */
static int change(struct nl_sock *sk, const char *name, struct rtnl_link *bridge, uint32_t mtu,
		  struct vg_err *err)
{
	struct rtnl_link *now;
	int ret = get(sk, name, &now, err);

	if (ret < 0)
		return ret;
	ret = prepare(sk, now, HOST_END, IFF_NOARP, mtu);
	if (ret == 0 && bridge)
		ret = rtnl_link_enslave(sk, bridge, now);
	if (ret == 0)
		ret = bring_up(sk, now);
	rtnl_link_put(now);
	return ret < 0 ? vg_fail(err, errno_of(ret), "interface %s cannot be put %s%s: %s", name,
				 bridge ? "on bridge " : "up",
				 bridge ? rtnl_link_get_name(bridge) : "", nl_geterror(ret))
		       : 0;
}

static int mtu_of(struct nl_sock *sk, const char *name, uint32_t *mtu)
{
	struct rtnl_link *link;
	int ret = rtnl_link_get_kernel(sk, 0, name, &link);

	if (ret < 0)
		return errno_of(ret);
	*mtu = rtnl_link_get_mtu(link);
	rtnl_link_put(link);
	return 0;
}

int net_host_plug(const char *name, const char *bridge, uint32_t *mtu, struct vg_err *err)
{
	struct rtnl_link *br = NULL;
	struct nl_sock *sk;
	int ret = connect_to(&sk, err);

	if (ret < 0)
		return ret;
	if (bridge)
		ret = find_bridge(sk, bridge, &br, err);
	if (ret == 0)
		ret = change(sk, name, br, *mtu ? *mtu : br ? rtnl_link_get_mtu(br) : 0, err);
	if (ret == 0)
		mtu_of(sk, name, mtu);
	if (br)
		rtnl_link_put(br);
	nl_socket_free(sk);
	return ret;
}

int net_host_prepare(const char *name, uint32_t mtu, struct vg_err *err)
{
	struct rtnl_link *now;
	struct nl_sock *sk;
	int ret = connect_and_get(name, &sk, &now, err);

	if (ret < 0)
		return ret;
	ret = prepare(sk, now, HOST_END, 0, mtu);
	if (ret < 0)
		ret = vg_fail(err, errno_of(ret), "interface %s cannot be made ready: %s", name,
			      nl_geterror(ret));
	put(sk, now);
	return ret;
}

int net_host_seat(const char *name, uint32_t *mtu, char master[IFNAMSIZ])
{
	struct rtnl_link *link;
	struct nl_sock *sk;
	int ret = connect_and_get(name, &sk, &link, NULL);
	int index;

	master[0] = '\0';
	if (ret < 0)
		return ret;
	index = rtnl_link_get_master(link);
	*mtu = rtnl_link_get_mtu(link);
	if (index && !if_indextoname((unsigned)index, master))
		master[0] = '\0';
	put(sk, link);
	return 0;
}

int net_host_kind(const char *name, char kind[NET_HOST_KIND])
{
	struct rtnl_link *link;
	struct nl_sock *sk;
	const char *type;
	char path[64];
	int ret;

	if (!*name || strlen(name) >= IFNAMSIZ || strchr(name, '/'))
		return -ENODEV;
	/* By far the most, without a lock of the kernel's that others may hold. */
	snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", name);
	if (access(path, F_OK) == 0) {
		snprintf(kind, NET_HOST_KIND, "bridge");
		return 0;
	}
	if (!if_nametoindex(name))
		return -ENODEV;
	ret = connect_and_get(name, &sk, &link, NULL);
	if (ret < 0)
		return ret;
	type = rtnl_link_get_type(link);
	snprintf(kind, NET_HOST_KIND, "%s", type ? type : "");
	put(sk, link);
	return 0;
}

int net_host_mtu(const char *name, uint32_t *mtu)
{
	struct nl_sock *sk;
	int ret = connect_to(&sk, NULL);

	if (ret < 0)
		return ret;
	ret = mtu_of(sk, name, mtu);
	nl_socket_free(sk);
	return ret;
}

/* ---- macvtap ------------------------------------------------------------ */

static int macvtap_failed(const struct net_host_macvtap *m, int nl, struct vg_err *err)
{
	int ret = errno_of(nl);

	switch (ret) {
	case -EEXIST:
		return vg_fail(
			err, -EBUSY,
			"there is an interface %s already; choose another name: vifname=", m->name);
	case -EBUSY:
		return vg_fail(err, ret,
			       "interface %s can have no macvtap: it is a port of a bridge, or of "
			       "something else",
			       m->lower);
	case -EINVAL:
		return vg_fail(err, ret,
			       "macvtap %s cannot be made on %s: %s has one in mode passthru (or "
			       "several, where mode= is passthru), or a smaller MTU than mtu=",
			       m->name, m->lower, m->lower);
	case -EOPNOTSUPP:
		return vg_fail(err, ret, "this kernel has no macvtap: `modprobe macvtap`");
	default:
		return vg_fail(err, ret, "macvtap %s cannot be made on %s: %s", m->name, m->lower,
			       nl_geterror(nl));
	}
}

/* Return: 0, or what libnl says. */
static int add_macvtap(struct nl_sock *sk, const struct net_host_macvtap *m, int lower,
		       uint32_t mtu)
{
	struct rtnl_link *wanted = rtnl_link_macvtap_alloc();
	struct nl_addr *mac = nl_addr_build(AF_LLC, m->mac, 6);
	int ret = -NLE_NOMEM;

	if (wanted && mac) {
		rtnl_link_set_name(wanted, m->name);
		rtnl_link_set_link(wanted, lower);
		rtnl_link_set_addr(wanted, mac);
		rtnl_link_set_num_tx_queues(wanted, m->queues);
		rtnl_link_set_num_rx_queues(wanted, m->queues);
		if (mtu)
			rtnl_link_set_mtu(wanted, mtu);
		ret = rtnl_link_macvtap_set_mode(wanted, m->mode);
		if (ret == 0)
			ret = rtnl_link_add(sk, wanted, NLM_F_CREATE | NLM_F_EXCL);
	}
	nl_addr_put(mac);
	rtnl_link_put(wanted);
	return ret;
}

int net_host_macvtap(const struct net_host_macvtap *m, uint32_t *mtu, int *index,
		     struct vg_err *err)
{
	int lower = (int)if_nametoindex(m->lower);
	struct rtnl_link *made = NULL;
	struct nl_sock *sk;
	int ret;

	if (!lower)
		return vg_fail(
			err, -ENODEV,
			"there is no interface %s to make a macvtap on; `ip link` lists them",
			m->lower);
	ret = connect_to(&sk, err);
	if (ret < 0)
		return ret;
	ret = add_macvtap(sk, m, lower, *mtu);
	if (ret < 0)
		ret = macvtap_failed(m, ret, err);
	if (ret == 0)
		ret = get(sk, m->name, &made, err);
	if (ret == 0) {
		*mtu = rtnl_link_get_mtu(made);
		*index = rtnl_link_get_ifindex(made);
		rtnl_link_put(made);
	}
	nl_socket_free(sk);
	return ret;
}

int net_host_macvtap_up(const char *name, struct vg_err *err)
{
	struct rtnl_link *now;
	struct nl_sock *sk;
	int ret = connect_and_get(name, &sk, &now, err);

	if (ret < 0)
		return ret;
	ret = prepare(sk, now, NULL, IFF_NOARP | IFF_ALLMULTI, 0);
	if (ret == 0)
		ret = bring_up(sk, now);
	if (errno_of(ret) == -EEXIST)
		ret = vg_fail(err, -EBUSY,
			      "interface %s cannot be put up: another one beside it has the "
			      "guest's address; choose another: mac=",
			      name);
	else if (ret < 0)
		ret = vg_fail(err, errno_of(ret), "interface %s cannot be put up: %s", name,
			      nl_geterror(ret));
	put(sk, now);
	return ret;
}

int net_host_macvtap_remove(const char *name, const char *lower, struct vg_err *err)
{
	struct rtnl_link *link;
	struct nl_sock *sk;
	int ret = connect_to(&sk, err);

	if (ret < 0)
		return ret;
	ret = rtnl_link_get_kernel(sk, 0, name, &link);
	if (ret == 0) {
		if (!rtnl_link_is_macvtap(link) ||
		    rtnl_link_get_link(link) != (int)if_nametoindex(lower))
			ret = vg_fail(err, -EBUSY,
				      "interface %s is no macvtap on %s, and stays as it is", name,
				      lower);
		else
			ret = rtnl_link_delete(sk, link);
		rtnl_link_put(link);
	}
	nl_socket_free(sk);
	if (ret == 0 || ret == -EBUSY || errno_of(ret) == -ENODEV)
		return ret == -EBUSY ? ret : 0;
	return vg_fail(err, errno_of(ret), "interface %s cannot be removed: %s", name,
		       nl_geterror(ret));
}

/* ---- in the sandbox ----------------------------------------------------- */

int net_host_watcher(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

static int ask(int fd, int index, const char *name)
{
	struct {
		struct nlmsghdr nh;
		struct ifinfomsg ifi;
		struct rtattr mask;
		uint32_t ext;
		struct rtattr attr;
		char name[IFNAMSIZ];
	} req = {
		.nh = { .nlmsg_len = sizeof(req),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST },
		.ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index },
		.mask = { .rta_len = RTA_LENGTH(sizeof(req.ext)), .rta_type = IFLA_EXT_MASK },
		.ext = RTEXT_FILTER_SKIP_STATS,
		.attr = { .rta_len = RTA_LENGTH(IFNAMSIZ), .rta_type = IFLA_IFNAME },
	};

	if (index)
		req.nh.nlmsg_len -= sizeof(req.attr) + sizeof(req.name);
	else
		memcpy(req.name, name, strnlen(name, IFNAMSIZ - 1));
	return send(fd, &req, req.nh.nlmsg_len, 0) < 0 ? -errno : 0;
}

int net_host_look(int fd, int index, const char *name, uint32_t *master)
{
	union {
		struct nlmsghdr nh;
		char bytes[ANSWER_BYTES];
	} a;
	struct rtattr *attr;
	ssize_t n;
	int left;
	int ret;

	/* An answer that an earlier question left. */
	while (recv(fd, &a, sizeof(a), MSG_DONTWAIT) > 0)
		;
	ret = ask(fd, index, name);
	if (ret < 0)
		return ret;
	n = recv(fd, &a, sizeof(a), MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (!NLMSG_OK(&a.nh, (size_t)n))
		return -EPROTO;
	if (a.nh.nlmsg_type == NLMSG_ERROR)
		return ((struct nlmsgerr *)NLMSG_DATA(&a.nh))->error;
	if (a.nh.nlmsg_type != RTM_NEWLINK)
		return -EPROTO;
	*master = 0;
	left = (int)IFLA_PAYLOAD(&a.nh);
	for (attr = IFLA_RTA(NLMSG_DATA(&a.nh)); RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		if (attr->rta_type == IFLA_MASTER)
			memcpy(master, RTA_DATA(attr), sizeof(*master));
	}
	return 0;
}
