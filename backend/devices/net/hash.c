// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hash.c - see hash.h
 *
 * Toeplitz: for each bit of the input that is set, the 32 bits of the key that begin
 * at the place of that bit are added, modulo 2. That is linear, so that what a half
 * byte adds can be looked up: 72 tables of 16 numbers, made when the driver sets a
 * key, and 72 additions a packet at most.
 *
 * What is hashed depends on the packet and on what the driver allows, in the order of
 * 5.1.6.4.3.2 to .4: ports and addresses, or addresses alone; with extension headers
 * of IPv6, first of all the addresses that these name in place of the header's.
 */
#include "backend/devices/net/hash.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

enum {
	IP4_MIN = 20,
	IP6_LEN = 40,
	IP6_ADDR = 16,
	PORTS = 4, /* bytes */
	/* Of IPv6, before we give up: a packet with more has no ports. */
	EXTENSIONS = 8,
	ROUTING_TYPE_2 = 2,  /* RFC 6275, 6.4 */
	HOME_ADDRESS = 0xc9, /* RFC 6275, 6.3: an option, with its two upper bits */
	FRAGMENT_LEN = 8,    /* RFC 8200, 4.5 */
};

void net_hash_init(struct net_hash *h, uint32_t types, const uint8_t *key, size_t key_len)
{
	uint8_t k[NET_HASH_INPUT + sizeof(uint64_t)] = { 0 };

	if (key_len)
		memcpy(k, key, key_len < NET_HASH_KEY ? key_len : NET_HASH_KEY);
	h->types = types;
	for (unsigned i = 0; i < NET_HASH_INPUT * 2; i++) {
		uint32_t bit[4]; /* what each of this half byte's bits adds, the highest first */

		for (unsigned b = 0; b < 4; b++) {
			unsigned at = i * 4 + b;
			uint64_t window = 0;

			for (unsigned n = 0; n < 5; n++)
				window = window << 8 | k[at / 8 + n];
			bit[b] = (uint32_t)(window >> (8 - at % 8));
		}
		for (unsigned v = 0; v < 16; v++)
			h->half[i][v] = (v & 8 ? bit[0] : 0) ^ (v & 4 ? bit[1] : 0) ^
					(v & 2 ? bit[2] : 0) ^ (v & 1 ? bit[3] : 0);
	}
}

/* What is known of a packet. */
struct packet {
	const uint8_t *from, *to; /* addresses as the IP header has them */
	const uint8_t *home, *by; /* those that extension headers name; else as above */
	const uint8_t *ports;	  /* NULL: there are none, or not in this fragment */
	uint8_t l4;
	size_t addr; /* bytes of an address */
	bool extended;
};

static uint16_t be16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* A whole header of TCP or UDP, or no ports: what has only the ports is no packet of either. */
static void find_ports(struct packet *p, const uint8_t *l4, size_t have)
{
	if ((p->l4 == IPPROTO_TCP && have >= 20) || (p->l4 == IPPROTO_UDP && have >= 8))
		p->ports = l4;
}

static bool parse_ip4(struct packet *p, const uint8_t *ip, size_t have)
{
	size_t ihl;

	if (have < IP4_MIN || ip[0] >> 4 != 4)
		return false;
	p->from = ip + 12;
	p->to = ip + 16;
	p->addr = 4;
	p->l4 = ip[9];
	ihl = (size_t)(ip[0] & 15) * 4;
	/* Bits 0x3fff: MORE FRAGMENTS, and the offset. */
	if (ihl >= IP4_MIN && ihl <= have && !(be16_at(ip + 6) & 0x3fff))
		find_ports(p, ip + ihl, have - ihl);
	return true;
}

/* Options for the destination, @len bytes: one may be its sender's address at home. */
static void find_home(struct packet *p, const uint8_t *opts, size_t len)
{
	for (size_t at = 2; at < len;) {
		if (opts[at] == 0) { /* Pad1 */
			at++;
			continue;
		}
		if (at + 2 > len || at + 2 + opts[at + 1] > len)
			return;
		if (opts[at] == HOME_ADDRESS && opts[at + 1] == IP6_ADDR)
			p->home = opts + at + 2;
		at += 2u + opts[at + 1];
	}
}

/*
 * The extension header of kind *@next at @at. Return: its bytes; 0: it is none, is cut off, or nothing
 * behind it can be found.
 */
static size_t extension(struct packet *p, uint8_t next, const uint8_t *at, size_t have)
{
	size_t len;

	if (have < 8)
		return 0;
	if (next == IPPROTO_FRAGMENT) /* bits 0xfff9: the offset, and MORE FRAGMENTS */
		return be16_at(at + 2) & 0xfff9 ? 0 : FRAGMENT_LEN;
	len = next == IPPROTO_AH ? (at[1] + 2u) * 4 : (at[1] + 1u) * 8;
	if (len > have)
		return 0;
	if (next == IPPROTO_DSTOPTS)
		find_home(p, at, len);
	if (next == IPPROTO_ROUTING && at[2] == ROUTING_TYPE_2 && len >= 8 + IP6_ADDR)
		p->by = at + 8;
	return len;
}

static bool is_extension(uint8_t next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
	       next == IPPROTO_AH || next == IPPROTO_DSTOPTS;
}

static bool parse_ip6(struct packet *p, const uint8_t *ip, size_t have)
{
	size_t at = IP6_LEN, len;

	if (have < IP6_LEN || ip[0] >> 4 != 6)
		return false;
	p->from = p->home = ip + 8;
	p->to = p->by = ip + 8 + IP6_ADDR;
	p->addr = IP6_ADDR;
	p->l4 = ip[6];
	for (unsigned i = 0; is_extension(p->l4); i++) {
		p->extended = true;
		len = i < EXTENSIONS ? extension(p, p->l4, ip + at, have - at) : 0;
		if (!len)
			return true;
		p->l4 = ip[at];
		at += len;
	}
	find_ports(p, ip + at, have - at);
	return true;
}

static bool parse(struct packet *p, const uint8_t *frame, size_t len)
{
	size_t net = NET_ETH;
	uint16_t proto = be16_at(frame + 12);

	for (unsigned tags = 0; tags < 2 && (proto == ETH_P_8021Q || proto == ETH_P_8021AD);
	     tags++) {
		net += NET_VLAN;
		if (net > len)
			return false;
		proto = be16_at(frame + net - 2);
	}
	if (proto == ETH_P_IP)
		return parse_ip4(p, frame + net, len - net);
	return proto == ETH_P_IPV6 && parse_ip6(p, frame + net, len - net);
}

static uint32_t add(const struct net_hash *h, unsigned *at, const uint8_t *bytes, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		sum ^= h->half[*at][bytes[i] >> 4] ^ h->half[*at + 1][bytes[i] & 15];
		*at += 2;
	}
	return sum;
}

/* The one of three, in this order, that is allowed: 1 << (report - 1) is its type. Return: its report. */
static uint16_t choose(const struct net_hash *h, const struct packet *p, uint16_t tcp, uint16_t udp,
		       uint16_t ip)
{
	if (p->ports && p->l4 == IPPROTO_TCP && (h->types & 1u << (tcp - 1)))
		return tcp;
	if (p->ports && p->l4 == IPPROTO_UDP && (h->types & 1u << (udp - 1)))
		return udp;
	return h->types & 1u << (ip - 1) ? ip : VIRTIO_NET_HASH_REPORT_NONE;
}

uint16_t net_hash_packet(const struct net_hash *h, const uint8_t *frame, size_t len,
			 uint32_t *value)
{
	struct packet p = { .ports = NULL };
	uint16_t report = VIRTIO_NET_HASH_REPORT_NONE;
	bool named = false; /* by extension headers */
	unsigned at = 0;

	*value = 0;
	if (!h->types || !parse(&p, frame, len))
		return report;
	if (p.extended) {
		report = choose(h, &p, VIRTIO_NET_HASH_REPORT_TCPv6_EX,
				VIRTIO_NET_HASH_REPORT_UDPv6_EX, VIRTIO_NET_HASH_REPORT_IPv6_EX);
		named = report != VIRTIO_NET_HASH_REPORT_NONE;
	}
	if (!report && p.addr == IP6_ADDR)
		report = choose(h, &p, VIRTIO_NET_HASH_REPORT_TCPv6, VIRTIO_NET_HASH_REPORT_UDPv6,
				VIRTIO_NET_HASH_REPORT_IPv6);
	else if (!report)
		report = choose(h, &p, VIRTIO_NET_HASH_REPORT_TCPv4, VIRTIO_NET_HASH_REPORT_UDPv4,
				VIRTIO_NET_HASH_REPORT_IPv4);
	if (!report)
		return report;
	*value = add(h, &at, named ? p.home : p.from, p.addr);
	*value ^= add(h, &at, named ? p.by : p.to, p.addr);
	if (report != VIRTIO_NET_HASH_REPORT_IPv4 && report != VIRTIO_NET_HASH_REPORT_IPv6 &&
	    report != VIRTIO_NET_HASH_REPORT_IPv6_EX)
		*value ^= add(h, &at, p.ports, PORTS);
	return report;
}
