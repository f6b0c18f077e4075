/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * filter.h - which frames a guest wants, VIRTIO 1.3 sections 5.1.6.5.1 to 5.1.6.5.3
 */
#ifndef VG_NET_FILTER_H
#define VG_NET_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/devices/net/wire.h"

/* All of it is what the driver said: it is copied between threads, and saved for a successor. */
struct net_filter {
	uint8_t mac[6];
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool uni_overflow, multi_overflow; /* more than the table holds: all of that kind */
	bool vlans_filtered;		   /* CTRL_VLAN was negotiated */
	uint16_t n_uni, n_multi;
	uint8_t uni[NET_MACS][6], multi[NET_MACS][6];
	uint8_t vlans[512]; /* a bit for each of 4096 */
};

/**
 * net_filter_init - as after a reset: everything passes
 * @vlans: the driver will say which VLANs it wants: none, so far
 */
void net_filter_init(struct net_filter *f, const uint8_t mac[6], bool vlans);

/** net_filter_pass - does the guest want this frame of at least NET_ETH bytes? @have: bytes of it */
bool net_filter_pass(const struct net_filter *f, const uint8_t *frame, size_t have);

/** net_filter_vlan - let VLAN @id (below 4096) pass, or not */
void net_filter_vlan(struct net_filter *f, uint16_t id, bool pass);

#endif /* VG_NET_FILTER_H */
