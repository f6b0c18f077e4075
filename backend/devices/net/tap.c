// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tap.c - a TAP as the link of a network device, see link.h
 *
 * A TAP that is made here is not persistent: it goes, with its place on a bridge and
 * all that was set of it, when the last descriptor is closed; so nothing is left of
 * a worker, however it ended. One that is there already is used as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/base/limits.h"
#include "backend/devices/net/host.h"
#include "backend/devices/net/link.h"
#include "backend/devices/net/macvtap.h"
#include "backend/devices/net/tapfd.h"

#ifndef IFF_TUN_EXCL
#define IFF_TUN_EXCL 0x8000
#endif

static const struct net_link_ops net_tap_ops;
const struct net_link_ops *net_link_ops = &net_tap_ops;

/* ---- while it runs ------------------------------------------------------ */

static void tap_carrier(struct net_link *link, bool on)
{
	unsigned value = on;

	/* It may be gone: then nothing hangs on it any more. */
	if (ioctl(link->fd[0], TUNSETCARRIER, &value) < 0 && errno != EBADFD)
		vg_warn("the carrier of interface %s cannot be switched: %s", link->name,
			strerror(errno));
}

/* One that was moved elsewhere is its owner's affair. */
static enum net_link_state tap_look(struct net_link *link)
{
	struct net_tapfd *t = net_tapfd_of(link);
	struct ifreq ifr;
	uint32_t master;

	if (ioctl(link->fd[0], TUNGETIFF, &ifr) < 0 && errno == EBADFD)
		return NET_LINK_GONE;
	if (t->watcher < 0 || net_host_look(t->watcher, t->index, NULL, &master) < 0 || master)
		return NET_LINK_GOOD;
	switch (net_host_look(t->watcher, 0, t->bridge, &master)) {
	case 0:
		return NET_LINK_STALE;
	case -ENODEV:
		return NET_LINK_LOST;
	default:
		return NET_LINK_GOOD;
	}
}

/* ---- opening ------------------------------------------------------------ */

static int open_failed(int error, const char *name, bool made, struct vg_err *err)
{
	switch (error) {
	case EBUSY:
		return vg_fail(err, -error,
			       made ? "there is an interface %s already; choose another name: "
				      "vifname="
				    : "interface %s is in use by another process",
			       name);
	case EINVAL:
		return vg_fail(
			err, -error,
			"%s: this is no TAP, or it was not made for as many queues (`ip tuntap "
			"add ... mode tap multi_queue vnet_hdr`)",
			name);
	case EPERM:
		return vg_fail(err, -error,
			       "%s: no permission to use a TAP; this takes CAP_NET_ADMIN", name);
	default:
		return vg_fail(err, -error, "TAP %s cannot be opened: %s", name, strerror(error));
	}
}

/* One queue of the TAP, the first makes it. */
static int open_queue(struct net_tapfd *t, unsigned i, bool make, struct vg_err *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return vg_fail(err, -errno,
			       "/dev/net/tun cannot be opened: %s; load it with `modprobe tun`",
			       strerror(errno));
	t->link.fd[i] = fd;
	if (t->link.pairs > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (make && i == 0)
		ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_TUN_EXCL);
	memcpy(ifr.ifr_name, t->link.name, sizeof(ifr.ifr_name));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return open_failed(errno, t->link.name, make, err);
	memcpy(t->link.name, ifr.ifr_name, sizeof(t->link.name));
	return net_tapfd_header(t, fd, err);
}

static int name_it(struct net_tapfd *t, const struct net_link_config *c, struct vg_err *err)
{
	const char *name = c->tap ? c->tap : c->name ? c->name : "vgnet%d";
	int ret = net_tapfd_name(t, name, !c->tap && !c->name, err);

	if (ret < 0)
		return ret;
	if (c->tap && !if_nametoindex(c->tap))
		return vg_fail(err, -ENODEV,
			       "there is no interface %s; make it with `ip tuntap add %s mode tap "
			       "multi_queue vnet_hdr`",
			       c->tap, c->tap);
	return 0;
}

static int watch(struct net_tapfd *t, const char *bridge, struct vg_err *err)
{
	snprintf(t->bridge, sizeof(t->bridge), "%s", bridge);
	t->index = (int)if_nametoindex(t->link.name);
	t->watcher = net_host_watcher();
	return t->watcher < 0 ? vg_fail(err, t->watcher, "rtnetlink cannot be opened: %s",
					strerror(-t->watcher))
			      : 0;
}

/* A port of whatever the script has put it on is watched as one of a bridge that we know. */
static int run_script(struct net_tapfd *t, const struct net_link_config *c, struct vg_err *err)
{
	char master[IFNAMSIZ];
	int ret = net_host_prepare(t->link.name, c->mtu, err);

	if (ret == 0)
		ret = vg_command_run(c->script, VG_LIMIT_SCRIPT_S, err);
	if (ret < 0)
		return ret;
	ret = net_host_seat(t->link.name, &t->link.mtu, master);
	if (ret < 0)
		return vg_fail(err, ret, "interface %s is gone after %s", t->link.name,
			       c->script->argv[0]);
	return master[0] ? watch(t, master, err) : 0;
}

static int open_all(struct net_tapfd *t, const struct net_link_config *c, struct vg_err *err)
{
	int ret = name_it(t, c, err);

	for (unsigned i = 0; ret == 0 && i < c->pairs; i++)
		ret = open_queue(t, i, !c->tap, err);
	if (ret < 0)
		return ret;
	net_tapfd_ready(t);
	tap_carrier(&t->link, false);
	t->link.mtu = c->mtu;
	if (c->tap)
		return net_host_mtu(t->link.name, &t->link.mtu) < 0
			       ? vg_fail(err, -ENODEV, "interface %s is gone", t->link.name)
			       : 0;
	if (c->script)
		return run_script(t, c, err);
	ret = net_host_plug(t->link.name, c->bridge, &t->link.mtu, err);
	return ret < 0 || !c->bridge ? ret : watch(t, c->bridge, err);
}

static int tap_open(const struct net_link_config *c, struct net_link **out, struct vg_err *err)
{
	struct net_tapfd *t;
	int ret;

	if (c->lower)
		return net_macvtap_open(c, out, err);
	t = net_tapfd_new(&net_tap_ops, c->pairs);
	if (!t)
		return vg_fail(err, -ENOMEM, "out of memory");
	ret = open_all(t, c, err);
	if (ret < 0) {
		net_tapfd_close(&t->link);
		return ret;
	}
	*out = &t->link;
	return 0;
}

static const struct net_link_ops net_tap_ops = {
	.open = tap_open,
	.close = net_tapfd_close,
	.offloads = net_tapfd_offloads,
	.active = net_tapfd_active,
	.carrier = tap_carrier,
	.look = tap_look,
};
