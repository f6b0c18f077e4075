/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * header.h - what a guest says of a frame that it sends, checked
 */
#ifndef VG_NET_HEADER_H
#define VG_NET_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/devices/net/wire.h"

enum {
	/* As much of a frame as is copied before it is looked at, and sent as it was looked at: all
	 * headers up to those of TCP, with two VLAN tags and some IPv6 extension headers. */
	NET_HEAD = 256,
};

/* Why a frame is not sent. */
enum net_verdict {
	NET_PASS,
	NET_SHORT, /* no whole Ethernet header, or no header of virtio's */
	NET_LONG,  /* more than the MTU and not to be segmented, or more than NET_FRAME_MAX */
	NET_CSUM,  /* its checksum cannot be where the guest says, or the feature is missing */
	NET_GSO,   /* not what the guest says that it is, or the feature is missing */
};

/* What was negotiated. */
struct net_rules {
	bool csum, tso4, tso6, ecn, uso;
	uint32_t mtu;
};

/**
 * net_check - may this frame be sent, and with which header?
 * @h: as the guest wrote it (a copy); becomes what a TAP may be told
 * @frame: the first @have bytes of it
 * @len: bytes of it in all; @have is @len, or at least NET_HEAD
 *
 * What the host relies on is made here, of the frame: hdr_len, and of the rest only what passes.
 */
enum net_verdict net_check(const struct net_rules *rules, struct virtio_net_hdr_v1 *h,
			   const uint8_t *frame, size_t have, size_t len);

#endif /* VG_NET_HEADER_H */
