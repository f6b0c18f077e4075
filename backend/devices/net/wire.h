/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.h - what virtio-net's drivers and a TAP say, as far as the kernel's headers
 * of Debian 12 (Linux 6.1) do not have it yet; VIRTIO 1.3 section 5.1
 */
#ifndef VG_NET_WIRE_H
#define VG_NET_WIRE_H

#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdint.h>

#ifndef VIRTIO_NET_F_GUEST_USO4 /* Linux 6.2 */
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO	56
#endif
#ifndef VIRTIO_NET_F_VQ_NOTF_COAL /* Linux 6.6 */
#define VIRTIO_NET_F_VQ_NOTF_COAL	 52
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET 2
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET 3
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
	NET_VIRTIO_ID = 1,
	NET_PAIRS_MAX = 32,
	/* In front of each frame, with VERSION_1 and without HASH_REPORT (5.1.6). */
	NET_HDR = sizeof(struct virtio_net_hdr_v1),
	NET_HDR_HASH = sizeof(struct virtio_net_hdr_v1_hash), /* with it */
	NET_ETH = 14,
	NET_VLAN = 4,
	NET_MTU_MIN = 68, /* RFC 791; Linux' driver forgets the feature below that */
	NET_MTU_MAX =
		65521, /* 5.1.4: what a TAP can be set to, too: 65535 less the Ethernet header */
	/* The longest frame, GSO or not: an IP packet of 65535 bytes behind two VLAN tags. */
	NET_FRAME_MAX = 65535 + NET_ETH + 2 * NET_VLAN,
	/* 5.1.4.1: at least 128, and Linux' driver before 7.0 takes no more. */
	NET_RSS_TABLE = 128,
	NET_MACS =
		64, /* of each filter table; a driver that has more gets all frames of that kind */
};

/* 5.1.4, as far as it is offered. */
struct net_config {
	uint8_t mac[6];
	uint16_t status;
	uint16_t max_pairs;
	uint16_t mtu;
	uint32_t speed; /* Mbit/s */
	uint8_t duplex;
	uint8_t rss_max_key_size;
	uint16_t rss_max_indirection_table_length;
	uint32_t supported_hash_types;
} __attribute__((packed));

/* 5.1.6.5.9: how many packets one notification tells of at most, and how long they wait for it. */
struct net_coal {
	uint32_t max_packets, max_usecs;
};

struct net_coal_vq {
	uint16_t vq_index, reserved;
	struct net_coal coal;
};

_Static_assert(sizeof(struct net_coal_vq) == 12, "as 5.1.6.5.9 has it");
_Static_assert(sizeof(struct net_config) == 24 && NET_HDR == 12 && NET_HDR_HASH == 20,
	       "as 5.1.4 and 5.1.6 have it");

#endif /* VG_NET_WIRE_H */
