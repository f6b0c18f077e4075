/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hash.h - the hash of a packet, VIRTIO 1.3 section 5.1.6.4.3
 */
#ifndef VG_NET_HASH_H
#define VG_NET_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "backend/devices/net/wire.h"

enum {
	NET_HASH_KEY =
		40, /* bytes; 5.1.4.1: at least 40, and Linux' driver before 7.0 takes no more */
	NET_HASH_INPUT = 36, /* two addresses of IPv6 and two ports */
};

#define NET_HASH_TYPES                                                      \
	(VIRTIO_NET_RSS_HASH_TYPE_IPv4 | VIRTIO_NET_RSS_HASH_TYPE_TCPv4 |   \
	 VIRTIO_NET_RSS_HASH_TYPE_UDPv4 | VIRTIO_NET_RSS_HASH_TYPE_IPv6 |   \
	 VIRTIO_NET_RSS_HASH_TYPE_TCPv6 | VIRTIO_NET_RSS_HASH_TYPE_UDPv6 |  \
	 VIRTIO_NET_RSS_HASH_TYPE_IP_EX | VIRTIO_NET_RSS_HASH_TYPE_TCP_EX | \
	 VIRTIO_NET_RSS_HASH_TYPE_UDP_EX)

/* A key, made ready: what each value of each half byte of the input adds. */
struct net_hash {
	uint32_t types; /* VIRTIO_NET_RSS_HASH_TYPE_*; 0: nothing is hashed */
	uint32_t half[NET_HASH_INPUT * 2][16];
};

/** net_hash_init - @types of packets are hashed with @key; what it lacks to NET_HASH_KEY bytes is zero */
void net_hash_init(struct net_hash *h, uint32_t types, const uint8_t *key, size_t key_len);

/**
 * net_hash_packet - the hash of a frame
 * @frame: from its Ethernet header on, @len bytes, at least NET_ETH
 * @value: gets the hash; 0 where there is none
 *
 * Behind up to two VLAN tags. A fragment has no ports, the first one neither: all of a packet get the
 * same. Return: VIRTIO_NET_HASH_REPORT_*: of what it was made; NONE: nothing that is to be hashed.
 */
uint16_t net_hash_packet(const struct net_hash *h, const uint8_t *frame, size_t len,
			 uint32_t *value);

#endif /* VG_NET_HASH_H */
