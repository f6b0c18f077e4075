/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link.h - the contract of what is at the other end of a network device
 *
 * A link has a descriptor for each queue pair. One read(2) of it is one frame with
 * a struct virtio_net_hdr_v1 before it, little-endian, whose num_buffers is not
 * set; one write(2) sends one. All of it is opened with privileges; afterwards the
 * descriptors, and what is below, are all that is used.
 */
#ifndef VG_NET_LINK_H
#define VG_NET_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/command.h"
#include "backend/base/log.h"
#include "backend/devices/net/wire.h"

struct net_link;

struct net_link_config {
	const char *name;   /* of the interface that is made; NULL: the kernel chooses */
	const char *tap;    /* of one that is there, and stays; NULL: none */
	const char *bridge; /* NULL: none */
	/* Of the host's interface that a macvtap is made on, instead of a TAP; NULL: none. */
	const char *lower;
	unsigned macvtap_mode; /* of that: MACVLAN_MODE_* */
	const uint8_t *mac;    /* the guest's */
	/* Runs once the interface is there, instead of what else puts it somewhere; NULL: none. */
	const struct vg_command *script;
	unsigned pairs; /* 1 to NET_PAIRS_MAX */
	uint32_t mtu;	/* 0: the bridge's, or else as it is */
};

enum net_link_state {
	NET_LINK_GOOD,
	NET_LINK_LOST,	/* its bridge is gone */
	NET_LINK_GONE,	/* it is */
	NET_LINK_STALE, /* its bridge is there, but it is on none: to be opened anew */
};

struct net_link_ops {
	/* Return: 0, or negative errno with a sentence; then nothing is left. */
	int (*open)(const struct net_link_config *config, struct net_link **out,
		    struct vg_err *err);
	void (*close)(struct net_link *link);
	/* What may be handed to the guest: TUN_F_*. Return: 0, or negative errno. */
	int (*offloads)(struct net_link *link, unsigned tun_flags);
	/* Frames for the guest go to the first @pairs descriptors. Return: likewise. */
	int (*active)(struct net_link *link, unsigned pairs);
	/* Whether the cable is plugged in, as the host sees it. NULL: that cannot be switched. */
	void (*carrier)(struct net_link *link, bool on);
	/* Now and then: is it still where it was put? NULL: always. */
	enum net_link_state (*look)(struct net_link *link);
};

struct net_link {
	const struct net_link_ops *ops;
	char name[16];	       /* of the interface */
	unsigned pairs;	       /* that it has */
	int fd[NET_PAIRS_MAX]; /* non-blocking; -1: closed */
	uint32_t mtu;
	bool uso;	/* UDP segmentation both ways */
	bool fixed_mac; /* what is for another address than the configured one does not come */
};

/** net_link_ops - what net.c opens: a TAP (tap.c), or a macvtap, unless a test says otherwise */
extern const struct net_link_ops *net_link_ops;

#endif /* VG_NET_LINK_H */
