/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tapfd.h - the descriptors of an interface that frames are read from and written to
 *
 * A TAP and a macvtap have them alike: one for each queue pair, with the same requests.
 */
#ifndef VG_NET_TAPFD_H
#define VG_NET_TAPFD_H

#include <net/if.h>

#include "backend/devices/net/link.h"

struct net_tapfd {
	struct net_link link;
	unsigned active;    /* queues that are attached: the first ones */
	int watcher, index; /* -1: it need not be watched */
	char bridge[IFNAMSIZ];
};

/** net_tapfd_new - without descriptors yet. Return: it, or NULL. */
struct net_tapfd *net_tapfd_new(const struct net_link_ops *ops, unsigned pairs);

/** net_tapfd_of - the one that @link is part of */
struct net_tapfd *net_tapfd_of(struct net_link *link);

/** net_tapfd_close - its descriptors; see struct net_link_ops */
void net_tapfd_close(struct net_link *link);

/**
 * net_tapfd_name - take @name for the interface's
 * @pattern: the kernel may replace a %d in it
 *
 * Return: 0, or -EINVAL with a sentence.
 */
int net_tapfd_name(struct net_tapfd *t, const char *name, bool pattern, struct vg_err *err);

/** net_tapfd_header - @fd has virtio's header before each frame. Return: 0, or negative errno, and a
 * sentence. */
int net_tapfd_header(const struct net_tapfd *t, int fd, struct vg_err *err);

/** net_tapfd_ready - all descriptors are there: find out what they can do */
void net_tapfd_ready(struct net_tapfd *t);

/** net_tapfd_offloads, net_tapfd_active - see struct net_link_ops */
int net_tapfd_offloads(struct net_link *link, unsigned flags);
int net_tapfd_active(struct net_link *link, unsigned pairs);

#endif /* VG_NET_TAPFD_H */
