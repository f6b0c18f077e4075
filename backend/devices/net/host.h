/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.h - the host's network around an interface, by rtnetlink
 */
#ifndef VG_NET_HOST_H
#define VG_NET_HOST_H

#include <net/if.h>
#include <stdint.h>

#include "backend/base/log.h"

/* The script for bridges of Open vSwitch, which is taken where nothing is said of one. */
#define NET_OVS_SCRIPT "vgrant-openvswitch"

enum { NET_HOST_KIND = 16 }; /* bytes of a kind, with its NUL */

/**
 * net_host_plug - make interface @name ready for a guest, put it on a bridge, and up; with privileges
 * @bridge: NULL: none
 * @mtu: 0: the bridge's, if there is one; becomes what the interface has
 *
 * Nothing needs to be undone: what is set belongs to the interface and goes with it.
 * Return: 0, or negative errno with a sentence.
 */
int net_host_plug(const char *name, const char *bridge, uint32_t *mtu, struct vg_err *err);

/**
 * net_host_prepare - what of that a script need not know: interface @name's address, and @mtu
 *
 * It is not brought up, and answers ARP when it is: it may be routed. Return: as net_host_plug().
 */
int net_host_prepare(const char *name, uint32_t mtu, struct vg_err *err);

/**
 * net_host_seat - where interface @name is now
 * @master: name of what it is a port of; "": of nothing
 *
 * Return: 0, or negative errno: there is no such interface.
 */
int net_host_seat(const char *name, uint32_t *mtu, char master[IFNAMSIZ]);

/* A macvtap that is wanted. */
struct net_host_macvtap {
	const char *name;
	const char *lower;  /* interface of the host that it is on */
	unsigned mode;	    /* MACVLAN_MODE_* */
	const uint8_t *mac; /* 6 bytes: the guest's */
	unsigned queues;
};

/**
 * net_host_macvtap - make it, not up yet; with privileges
 * @mtu: 0: that of the interface that it is on; becomes what it has
 * @index: becomes its number, as in /dev/tapNUMBER
 *
 * It stays until net_host_macvtap_remove(). Return: as net_host_plug().
 */
int net_host_macvtap(const struct net_host_macvtap *m, uint32_t *mtu, int *index,
		     struct vg_err *err);

/** net_host_macvtap_up - it hears all multicast, has no address of IP, and is up. Return: likewise. */
int net_host_macvtap_up(const char *name, struct vg_err *err);

/**
 * net_host_macvtap_remove - if there is interface @name, and it is a macvtap on @lower
 *
 * Takes the kernel some ten milliseconds. Return: 0, or negative errno with a sentence.
 */
int net_host_macvtap_remove(const char *name, const char *lower, struct vg_err *err);

/** net_host_watcher - a socket for net_host_look(); with privileges. Return: it, or negative errno. */
int net_host_watcher(void);

/**
 * net_host_look - which bridge an interface is on; in the sandbox, too
 * @index: of the interface; 0: it is @name
 * @master: index of its bridge; 0: none
 *
 * Return: 0; -ENODEV: there is no such interface; or another negative errno.
 */
int net_host_look(int watcher, int index, const char *name, uint32_t *master);

/**
 * net_host_kind - of interface @name, as `ip -d link` has it: bridge, openvswitch, tun; "": none
 *
 * Return: 0, or negative errno: -ENODEV: there is none.
 */
int net_host_kind(const char *name, char kind[NET_HOST_KIND]);

/** net_host_mtu - of interface @name. Return: 0, or negative errno: there is none. */
int net_host_mtu(const char *name, uint32_t *mtu);

#endif /* VG_NET_HOST_H */
