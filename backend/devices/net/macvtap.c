// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * macvtap.c - see macvtap.h
 *
 *	guest - device - /dev/tapN - macvtap, with the guest's address - the host's interface
 *
 * The interface is made here, before the sandbox, and does not go with its descriptors: the
 * supervisor has it removed once the worker has ended (script.c, "afterwards"), by a process of its
 * own, since that takes the kernel a while (net_macvtap_main()).
 *
 * Frames for another address than the interface's do not come, but in mode passthru; of multicast all
 * do, for what the guest wants of it is decided here as on a TAP (filter.c).
 *
 * Unlike a TAP's, its carrier is that of the host's interface: with the cable pulled, the device drops
 * frames itself (net.c). At least one queue stays attached all the time: what comes for a macvtap
 * without any is handed to the host's own network.
 */
#include "backend/devices/net/macvtap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/loop.h"
#include "backend/devices/net/host.h"
#include "backend/devices/net/tapfd.h"

enum {
	NODE_PATIENCE_S = 5, /* for /dev/tapN, which devtmpfs has at once, and udev soon */
	NODE_LOOK_MS = 10,
};

/* ---- configuration ------------------------------------------------------ */

static const char *text(const struct vg_params *params, const char *key)
{
	const char *value = vg_params_str(params, NULL, key);

	return value ? value : "";
}

int net_macvtap_mode(const struct vg_params *params, struct vg_err *err)
{
	static const struct {
		const char *name;
		int mode;
	} modes[] = { { "bridge", MACVLAN_MODE_BRIDGE },
		      { "vepa", MACVLAN_MODE_VEPA },
		      { "private", MACVLAN_MODE_PRIVATE },
		      { "passthru", MACVLAN_MODE_PASSTHRU } };
	const char *mode = vg_params_str(params, NULL, "mode");

	for (size_t i = 0; i < COUNT(modes); i++) {
		if (!mode || strcmp(mode, modes[i].name) == 0)
			return modes[i].mode;
	}
	return vg_fail(err, -EINVAL, "mode=%s: it is bridge, vepa, private or passthru", mode);
}

int net_macvtap_check(const struct vg_params *params, struct vg_err *err)
{
	static const char *const others[] = { "bridge", "script", "tap" };
	const char *lower = vg_params_str(params, NULL, "macvtap");
	int ret;

	if (!lower)
		return vg_params_str(params, NULL, "mode") ? vg_fail(err, -EINVAL,
								     "mode= is for an interface of "
								     "macvtap=, which is not there")
							   : 0;
	for (size_t i = 0; i < COUNT(others); i++) {
		if (*text(params, others[i]))
			return vg_fail(err, -EINVAL,
				       "macvtap= is an interface of this host that the card is put "
				       "on: it does not go with %s=",
				       others[i]);
	}
	if (!*lower || strlen(lower) >= IFNAMSIZ || strpbrk(lower, "/ \t:%"))
		return vg_fail(err, -EINVAL,
			       "macvtap=%s is no interface's name, such as macvtap=eth0", lower);
	ret = net_macvtap_mode(params, err);
	return ret < 0 ? ret : 0;
}

/* ---- opening ------------------------------------------------------------ */

/* Is @fd the interface's? One of another network namespace may have the same number, and the file. */
static bool is_ours(const struct net_tapfd *t, int fd)
{
	struct ifreq ifr = { 0 };

	return ioctl(fd, TUNGETIFF, &ifr) == 0 &&
	       strncmp(ifr.ifr_name, t->link.name, IFNAMSIZ) == 0;
}

/* Return: a descriptor, or negative errno with a sentence. */
static int open_node(const struct net_tapfd *t, struct vg_err *err)
{
	static const struct timespec pause = { .tv_nsec = NODE_LOOK_MS * 1000000L };
	int64_t end = vg_now_ns() + NODE_PATIENCE_S * NS_PER_S;
	bool others = false;
	char path[32];

	snprintf(path, sizeof(path), "/dev/tap%d", t->index);
	for (;;) {
		int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

		if (fd >= 0 && is_ours(t, fd))
			return fd;
		others = fd >= 0;
		if (others)
			close(fd);
		else if (errno != ENOENT && errno != ENXIO && errno != ENODEV)
			return vg_fail(err, -errno, "%s of interface %s cannot be opened: %s", path,
				       t->link.name, strerror(errno));
		if (vg_now_ns() >= end)
			break;
		nanosleep(&pause, NULL);
	}
	if (others)
		return vg_fail(err, -EBUSY,
			       "%s is not that of interface %s, but another network "
			       "namespace's",
			       path, t->link.name);
	return vg_fail(
		err, -ENODEV,
		"%s of interface %s does not appear within %d s: is /dev a devtmpfs, or does "
		"udev run?",
		path, t->link.name, NODE_PATIENCE_S);
}

static int open_queue(struct net_tapfd *t, unsigned i, struct vg_err *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int all =
		INT_MAX; /* as a TAP has it: what is too much the host's queues drop, and not we */
	int fd = open_node(t, err);

	if (fd < 0)
		return fd;
	t->link.fd[i] = fd;
	if (t->link.pairs > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(ifr.ifr_name, t->link.name, sizeof(ifr.ifr_name));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETSNDBUF, &all) < 0)
		return vg_fail(err, -errno, "macvtap %s cannot be opened: %s", t->link.name,
			       strerror(errno));
	return net_tapfd_header(t, fd, err);
}

static enum net_link_state macvtap_look(struct net_link *link)
{
	struct ifreq ifr;

	/* Also with the interface that it is on. */
	return ioctl(link->fd[0], TUNGETIFF, &ifr) < 0 && errno == ENOLINK ? NET_LINK_GONE
									   : NET_LINK_GOOD;
}

static const struct net_link_ops net_macvtap_ops = {
	.open = net_macvtap_open,
	.close = net_tapfd_close,
	.offloads = net_tapfd_offloads,
	.active = net_tapfd_active,
	.look = macvtap_look,
};

/* The interface is there. */
static int open_all(struct net_tapfd *t, const struct net_link_config *c, struct vg_err *err)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < c->pairs; i++)
		ret = open_queue(t, i, err);
	if (ret < 0)
		return ret;
	net_tapfd_ready(t);
	return net_host_macvtap_up(t->link.name, err);
}

int net_macvtap_open(const struct net_link_config *c, struct net_link **out, struct vg_err *err)
{
	const struct net_host_macvtap wanted = {
		.name = c->name,
		.lower = c->lower,
		.mode = c->macvtap_mode,
		.mac = c->mac,
		.queues = c->pairs,
	};
	struct net_tapfd *t = net_tapfd_new(&net_macvtap_ops, c->pairs);
	int ret;

	if (!t)
		return vg_fail(err, -ENOMEM, "out of memory");
	t->link.mtu = c->mtu;
	t->link.fixed_mac = c->macvtap_mode != MACVLAN_MODE_PASSTHRU;
	/* By what name else should it be removed? */
	ret = c->name ? net_tapfd_name(t, c->name, false, err)
		      : vg_fail(err, -EINVAL, "macvtap= needs a name for the interface: vifname=");
	if (ret == 0)
		ret = net_host_macvtap(&wanted, &t->link.mtu, &t->index, err);
	if (ret == 0) {
		ret = open_all(t, c, err);
		if (ret < 0)
			net_host_macvtap_remove(c->name, c->lower, NULL);
	}
	if (ret < 0) {
		net_tapfd_close(&t->link);
		return ret;
	}
	*out = &t->link;
	return 0;
}

/* ---- afterwards --------------------------------------------------------- */

int net_macvtap_main(const char *name, const char *lower)
{
	struct vg_err err = { "" };

	if (net_host_macvtap_remove(name, lower, &err) == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "%s\n", err.text);
	return EXIT_FAILURE;
}
