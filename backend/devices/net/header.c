// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * header.c - see header.h
 *
 * A TAP's frames go through the host's stack, and perhaps out of a network card, as
 * if the host itself had made them. A guest must not be able to send there what no
 * cable could have brought. Three things are more than a cable can carry, and each
 * is a number in the guest's header: that the checksum is still to be made (and
 * where), that the frame is to be cut into segments (and how), and how long its
 * headers are. Of these
 *
 *  - hdr_len, from which tun takes how much of a long frame is linear (XSA-423:
 *    cards hang on headers that are not), is computed: for a frame to be segmented
 *    the length of all its headers, else 0;
 *  - the checksum's place must lie in the frame, behind the smallest IP header;
 *  - a frame to be segmented is parsed: VLAN tags, IPv4 or IPv6 with extension
 *    headers, TCP or UDP, each whole, no fragment, and all of that must be what
 *    gso_type, csum_start and csum_offset say; the segments must fit the MTU.
 *    What would be one segment is sent as it is.
 *
 * All else of the header is cleared.
 */
#include "backend/devices/net/header.h"

#include <endian.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

enum {
	IP4_MIN = 20,
	IP6_LEN = 40,
	TCP_MIN = 20,
	UDP_LEN = 8,
	TCP_CSUM = 16, /* offsets of the checksum */
	UDP_CSUM = 6,
	/* Below, segments are smaller than any that TCP may agree on (RFC 879: 536; Linux has 48 as
	 * its own least, and XSA-style tricks begin where headers outweigh data). */
	GSO_SIZE_MIN = 8,
	EXTENSIONS = 8, /* of IPv6, before we give up */
};

/* Where things are in a frame. */
struct shape {
	uint16_t proto; /* ETH_P_IP, ETH_P_IPV6 or something else */
	size_t net;	/* where the IP header begins */
	uint8_t l4;	/* IPPROTO_* */
	size_t l4_at;
	size_t data; /* where what is behind all headers begins */
};

static uint16_t be16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Behind at most two VLAN tags. */
static bool parse_ethernet(struct shape *s, const uint8_t *f, size_t have)
{
	s->net = NET_ETH;
	for (unsigned tags = 0; s->net <= have; tags++, s->net += NET_VLAN) {
		s->proto = be16_at(f + s->net - 2);
		if ((s->proto != ETH_P_8021Q && s->proto != ETH_P_8021AD) || tags == 2)
			return true;
	}
	return false;
}

static bool parse_ip4(struct shape *s, const uint8_t *f, size_t have)
{
	const uint8_t *ip = f + s->net;
	size_t ihl;

	if (have - s->net < IP4_MIN || ip[0] >> 4 != 4)
		return false;
	ihl = (size_t)(ip[0] & 15) * 4;
	/* Bits 0x3fff: MORE FRAGMENTS, and the offset. */
	if (ihl < IP4_MIN || ihl > have - s->net || (be16_at(ip + 6) & 0x3fff))
		return false;
	s->l4 = ip[9];
	s->l4_at = s->net + ihl;
	return true;
}

static bool parse_ip6(struct shape *s, const uint8_t *f, size_t have)
{
	if (have - s->net < IP6_LEN || f[s->net] >> 4 != 6)
		return false;
	s->l4 = f[s->net + 6];
	s->l4_at = s->net + IP6_LEN;
	for (unsigned i = 0; i < EXTENSIONS; i++) {
		if (s->l4 != IPPROTO_HOPOPTS && s->l4 != IPPROTO_ROUTING &&
		    s->l4 != IPPROTO_DSTOPTS)
			return true;
		if (have - s->l4_at < 8)
			return false;
		s->l4 = f[s->l4_at];
		s->l4_at += ((size_t)f[s->l4_at + 1] + 1) * 8;
		if (s->l4_at > have)
			return false;
	}
	return false;
}

static bool parse(struct shape *s, const uint8_t *f, size_t have)
{
	size_t header = UDP_LEN;

	if (!parse_ethernet(s, f, have))
		return false;
	if (s->proto == ETH_P_IP ? !parse_ip4(s, f, have)
				 : s->proto != ETH_P_IPV6 || !parse_ip6(s, f, have))
		return false;
	if (s->l4 == IPPROTO_TCP) {
		if (have - s->l4_at < TCP_MIN)
			return false;
		header = (size_t)(f[s->l4_at + 12] >> 4) * 4;
		if (header < TCP_MIN)
			return false;
	} else if (s->l4 != IPPROTO_UDP) {
		return false;
	}
	if (header > have - s->l4_at)
		return false;
	s->data = s->l4_at + header;
	return true;
}

/* Was this kind of segmentation negotiated, and is it that of the frame? */
static bool gso_fits(const struct net_rules *r, uint8_t type, const struct shape *s)
{
	bool ecn = type & VIRTIO_NET_HDR_GSO_ECN;

	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return r->tso4 && s->proto == ETH_P_IP && s->l4 == IPPROTO_TCP && (!ecn || r->ecn);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return r->tso6 && s->proto == ETH_P_IPV6 && s->l4 == IPPROTO_TCP &&
		       (!ecn || r->ecn);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return r->uso && s->l4 == IPPROTO_UDP && !ecn;
	default: /* UFO, which nobody is offered, among them */
		return false;
	}
}

static enum net_verdict check_gso(const struct net_rules *r, const struct virtio_net_hdr_v1 *in,
				  struct virtio_net_hdr_v1 *out, const uint8_t *frame, size_t have,
				  size_t len)
{
	uint16_t size = le16toh(in->gso_size);
	struct shape s;

	if (!(out->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || size < GSO_SIZE_MIN ||
	    !parse(&s, frame, have) || !gso_fits(r, in->gso_type, &s) || s.data >= len)
		return NET_GSO;
	if (le16toh(in->csum_start) != s.l4_at ||
	    le16toh(in->csum_offset) != (s.l4 == IPPROTO_TCP ? TCP_CSUM : UDP_CSUM))
		return NET_GSO;
	if (len - s.data <= size) /* one segment */
		return len - s.net > r->mtu ? NET_LONG : NET_PASS;
	if (s.data - s.net + size > r->mtu)
		return NET_GSO;
	out->gso_type = in->gso_type;
	out->gso_size = in->gso_size;
	out->hdr_len = htole16((uint16_t)s.data);
	return NET_PASS;
}

enum net_verdict net_check(const struct net_rules *r, struct virtio_net_hdr_v1 *h,
			   const uint8_t *frame, size_t have, size_t len)
{
	const struct virtio_net_hdr_v1 in = *h;
	uint32_t start = le16toh(in.csum_start), offset = le16toh(in.csum_offset);

	memset(h, 0, sizeof(*h));
	if (len < NET_ETH)
		return NET_SHORT;
	if (len > NET_FRAME_MAX)
		return NET_LONG;
	/* 5.1.6.2.2: other flags are to be ignored. */
	if (in.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (!r->csum || start < NET_ETH + IP4_MIN || start + offset + 2 > len)
			return NET_CSUM;
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = in.csum_start;
		h->csum_offset = in.csum_offset;
	}
	if (in.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return check_gso(r, &in, h, frame, have, len);
	/* A tag, or two, are not part of the MTU. */
	return len > r->mtu + NET_ETH + 2 * NET_VLAN ? NET_LONG : NET_PASS;
}
