// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * address.c - see address.h
 *
 * RFC 826 (ARP), 5227 (its probes), 2131 (DHCP), 8200 (IPv6), 4861 and 4862 (neighbours).
 */
#include "backend/devices/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "backend/base/number.h"
#include "backend/devices/net/wire.h"

enum {
	IP4_MIN = 20,
	IP6_LEN = 40,
	ARP_LEN = 28,
	EXTENSIONS = 8, /* headers of IPv6 that are looked past: more are not needed by anybody */
	BOOTPS = 67,
	BOOTPC = 68,
	ND_ROUTER_ADVERTISEMENT = 134,
	ND_NEIGHBOUR_ADVERTISEMENT = 136,
	ND_REDIRECT = 137,
};

/* ---- the list ------------------------------------------------------------ */

static int parse_one(const char *word, size_t len, struct net_addresses *a)
{
	char text[INET6_ADDRSTRLEN + sizeof("/128")], *slash;
	uint64_t bits;

	if (len >= sizeof(text) || a->n == NET_ADDRESSES)
		return -EINVAL;
	memcpy(text, word, len);
	text[len] = '\0';
	slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	memset(&a->at[a->n], 0, sizeof(a->at[0]));
	if (inet_pton(AF_INET, text, a->at[a->n].addr) == 1)
		a->at[a->n].bytes = 4;
	else if (inet_pton(AF_INET6, text, a->at[a->n].addr) == 1)
		a->at[a->n].bytes = 16;
	else
		return -EINVAL;
	bits = a->at[a->n].bytes * 8u;
	if (slash && vg_number(slash + 1, 10, bits, &bits) < 0)
		return -EINVAL;
	a->at[a->n++].bits = (uint8_t)bits;
	return 0;
}

int net_addresses_parse(const char *text, struct net_addresses *out, struct vg_err *err)
{
	static const char between[] = " \t+";
	struct net_addresses a = { 0 };

	for (const char *p = text ? text : ""; *(p += strspn(p, between));) {
		size_t len = strcspn(p, between);

		if (a.n == NET_ADDRESSES)
			return vg_fail(err, -EINVAL, "ip= has more than %d addresses",
				       NET_ADDRESSES);
		if (parse_one(p, len, &a) < 0)
			return vg_fail(
				err, -EINVAL,
				"ip=: \"%.*s\" is no address, as 10.0.0.2 or 2001:db8::2, and "
				"no network, as 10.1.0.0/24",
				len > 60 ? 60 : (int)len, p);
		p += len;
	}
	*out = a;
	return 0;
}

static bool listed(const struct net_addresses *a, const uint8_t *addr, unsigned bytes)
{
	for (unsigned i = 0; i < a->n; i++) {
		unsigned whole = a->at[i].bits / 8, rest = a->at[i].bits % 8;

		if (a->at[i].bytes == bytes && memcmp(a->at[i].addr, addr, whole) == 0 &&
		    (!rest || (a->at[i].addr[whole] ^ addr[whole]) >> (8 - rest) == 0))
			return true;
	}
	return false;
}

/* ---- frames -------------------------------------------------------------- */

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static bool is_zero(const uint8_t *p, size_t len)
{
	while (len && !*p)
		p++, len--;
	return len == 0;
}

static bool arp_passes(const struct net_addresses *a, const uint8_t mac[6], const uint8_t *p,
		       size_t have)
{
	static const uint8_t of_ethernet_and_ip[] = { 0, 1, 8, 0, 6, 4 };
	const uint8_t *hardware = p + 8, *protocol = p + 14;

	return have >= ARP_LEN && memcmp(p, of_ethernet_and_ip, 6) == 0 &&
	       memcmp(hardware, mac, 6) == 0 && (is_zero(protocol, 4) || listed(a, protocol, 4));
}

static bool ip4_passes(const struct net_addresses *a, const uint8_t *p, size_t have)
{
	size_t header = have < IP4_MIN ? 0 : (size_t)(p[0] & 15) * 4;

	if (header < IP4_MIN || p[0] >> 4 != 4)
		return false;
	if (listed(a, p + 12, 4))
		return true;
	/* Not a later piece of a packet, whose ports nobody has seen. */
	return is_zero(p + 12, 4) && p[9] == IPPROTO_UDP && !(be16(p + 6) & 0x1fff) &&
	       have >= header + 4 && be16(p + header) == BOOTPC && be16(p + header + 2) == BOOTPS;
}

static bool link_local(const uint8_t addr[16])
{
	return addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80;
}

/* What ICMPv6 says of addresses; @p: its @have bytes. */
static bool icmp6_passes(const struct net_addresses *a, const uint8_t *p, size_t have)
{
	if (have < 1)
		return false;
	switch (p[0]) {
	case ND_ROUTER_ADVERTISEMENT:
	case ND_REDIRECT:
		return false;
	case ND_NEIGHBOUR_ADVERTISEMENT:
		return have >= 24 && (link_local(p + 8) || listed(a, p + 8, 16));
	default:
		return true;
	}
}

static bool ip6_passes(const struct net_addresses *a, const uint8_t *p, size_t have)
{
	const uint8_t *source = p + 8;
	size_t at = IP6_LEN;
	uint8_t next;

	if (have < IP6_LEN || p[0] >> 4 != 6)
		return false;
	if (!listed(a, source, 16) && !link_local(source) && !is_zero(source, 16))
		return false;
	next = p[6];
	for (unsigned i = 0;; i++) {
		if (next == IPPROTO_ICMPV6)
			return icmp6_passes(a, p + at, have - at);
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
			break;
		if (i == EXTENSIONS || have - at < 8)
			return false;
		next = p[at];
		at += ((size_t)p[at + 1] + 1) * 8;
		if (at > have)
			return false;
	}
	/* Pieces of what asks a neighbour are taken by nobody (RFC 6980). */
	return !is_zero(source, 16);
}

bool net_addresses_pass(const struct net_addresses *a, const uint8_t mac[6], const uint8_t *frame,
			size_t have)
{
	size_t at = NET_ETH;
	unsigned proto;

	if (!a->n)
		return true;
	for (unsigned tags = 0;; tags++, at += NET_VLAN) {
		if (at > have || tags > 2)
			return false;
		proto = be16(frame + at - 2);
		if (proto != ETH_P_8021Q && proto != ETH_P_8021AD)
			break;
	}
	switch (proto) {
	case ETH_P_ARP:
	case ETH_P_RARP:
		return arp_passes(a, mac, frame + at, have - at);
	case ETH_P_IP:
		return ip4_passes(a, frame + at, have - at);
	case ETH_P_IPV6:
		return ip6_passes(a, frame + at, have - at);
	default:
		return true;
	}
}
