// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net_hash.c - what a packet hashes to
 *
 * The numbers are those that are published for the verification of RSS (Microsoft,
 * "Verifying the RSS Hash Calculation"), whose key, and inputs, are used for the rest, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/devices/net/hash.h"

#define T(name) VIRTIO_NET_RSS_HASH_TYPE_##name
#define R(name) VIRTIO_NET_HASH_REPORT_##name

static const uint8_t key[NET_HASH_KEY] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct {
	const char *from, *to;
	uint16_t from_port, to_port;
	uint32_t addresses, ports; /* the hash of the former alone; of both */
} published[] = {
	{ "66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178 },
	{ "199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea },
	{ "24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a },
	{ "38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f },
	{ "153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2 },
	{ "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d },
	{ "3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf },
	{ "3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024,
	  0x4b61e985, 0x02d1feef },
};
enum { V4 = 0, V6 = 5 }; /* the first of each kind */

static struct net_hash h;
static uint8_t f[512];

/* The @v-th packet, behind @tags, with @ext between the headers of IPv6, which says what it is in its last
 * header itself. Return: bytes. */
static size_t packet(unsigned v, unsigned tags, uint8_t l4, uint8_t first, const uint8_t *ext,
		     size_t ext_len)
{
	bool v6 = v >= V6;
	size_t net = 14 + tags * 4, at = net + (v6 ? 40 : 20) + ext_len;

	memset(f, 0, sizeof(f));
	for (unsigned i = 0; i < tags; i++)
		f[12 + 4 * i] = i ? 0x81 : 0x88, f[13 + 4 * i] = i ? 0 : 0xa8;
	f[net - 2] = v6 ? 0x86 : 8;
	f[net - 1] = v6 ? 0xdd : 0;
	f[net] = v6 ? 0x60 : 0x45;
	f[net + (v6 ? 6 : 9)] = ext_len ? first : l4;
	inet_pton(v6 ? AF_INET6 : AF_INET, published[v].from, f + net + (v6 ? 8 : 12));
	inet_pton(v6 ? AF_INET6 : AF_INET, published[v].to, f + net + (v6 ? 24 : 16));
	if (ext_len)
		memcpy(f + net + 40, ext, ext_len);
	f[at] = (uint8_t)(published[v].from_port >> 8);
	f[at + 1] = (uint8_t)published[v].from_port;
	f[at + 2] = (uint8_t)(published[v].to_port >> 8);
	f[at + 3] = (uint8_t)published[v].to_port;
	return at + (l4 == IPPROTO_TCP ? 20 : 8);
}

/* Of a copy whose end is the sanitizer's to see. */
static void check_cut(size_t len, uint16_t report, uint32_t value)
{
	uint8_t *copy = malloc(len);
	uint32_t got;
	uint16_t how;

	assert_non_null(copy);
	memcpy(copy, f, len);
	how = net_hash_packet(&h, copy, len, &got);
	free(copy);
	if (how != report || got != value)
		fail_msg("%zu bytes: report %u, %08x; not %u, %08x", len, how, got, report, value);
}

static void check(size_t len, uint16_t report, uint32_t value)
{
	check_cut(len, report, value);
	/* However much of it there is, nothing beyond is looked at. */
	for (size_t have = NET_ETH; have < len; have++) {
		uint8_t *copy = malloc(have);
		uint32_t got;

		assert_non_null(copy);
		memcpy(copy, f, have);
		net_hash_packet(&h, copy, have, &got);
		free(copy);
	}
}

static void allow(uint32_t types)
{
	net_hash_init(&h, types, key, sizeof(key));
}

static void test_published(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT(published); i++) {
		bool v6 = i >= V6;

		for (unsigned tags = 0; tags < 3; tags++) {
			allow(NET_HASH_TYPES);
			check(packet(i, tags, IPPROTO_TCP, 0, NULL, 0), v6 ? R(TCPv6) : R(TCPv4),
			      published[i].ports);
			check(packet(i, tags, IPPROTO_UDP, 0, NULL, 0), v6 ? R(UDPv6) : R(UDPv4),
			      published[i].ports);
			check(packet(i, tags, IPPROTO_ICMP, 0, NULL, 0), v6 ? R(IPv6) : R(IPv4),
			      published[i].addresses);
			allow(T(IPv4) | T(IPv6));
			check(packet(i, tags, IPPROTO_TCP, 0, NULL, 0), v6 ? R(IPv6) : R(IPv4),
			      published[i].addresses);
		}
	}
}

/* Each kind of packet, with each set of types: the first of three that is allowed. */
static void test_types(void **state)
{
	static const uint8_t l4s[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };

	(void)state;
	for (uint32_t types = 0; types <= NET_HASH_TYPES; types++) {
		allow(types);
		for (unsigned v = V4; v <= V6; v += V6) {
			for (unsigned k = 0; k < COUNT(l4s); k++) {
				uint16_t ip = v == V6 ? R(IPv6) : R(IPv4),
					 with = (uint16_t)(ip + 1 + k);
				size_t len = packet(v, 0, l4s[k], 0, NULL, 0);

				if (k < 2 && types & 1u << (with - 1))
					check_cut(len, with, published[v].ports);
				else if (types & 1u << (ip - 1))
					check_cut(len, ip, published[v].addresses);
				else
					check_cut(len, R(NONE), 0);
			}
		}
	}
}

static void test_others(void **state)
{
	static const uint8_t v6_fragment[8] = { IPPROTO_TCP, 0, 0, 1 };

	(void)state;
	allow(NET_HASH_TYPES);
	/* No IP; more tags than two; versions that are not what the type says. */
	packet(V4, 0, IPPROTO_TCP, 0, NULL, 0);
	f[13] = 6;
	check(100, R(NONE), 0);
	packet(V4, 0, IPPROTO_TCP, 0, NULL, 0);
	f[14] = 0x65;
	check(54, R(NONE), 0);
	packet(V6, 0, IPPROTO_TCP, 0, NULL, 0);
	f[14] = 0x45;
	check(74, R(NONE), 0);
	packet(V4, 2, IPPROTO_TCP, 0, NULL, 0);
	f[20] = 0x81;
	f[21] = 0;
	check(62, R(NONE), 0);
	/* Fragments, the first of them and others, have no ports. */
	packet(V4, 0, IPPROTO_TCP, 0, NULL, 0);
	f[14 + 6] = 0x20;
	check(54, R(IPv4), published[V4].addresses);
	f[14 + 6] = 0;
	f[14 + 7] = 1;
	check(54, R(IPv4), published[V4].addresses);
	f[14 + 6] = 0x40; /* DON'T FRAGMENT */
	f[14 + 7] = 0;
	check(54, R(TCPv4), published[V4].ports);
	/* Nor has a packet whose header of TCP is cut off, or whose header of IP claims more. */
	check(53, R(IPv4), published[V4].addresses);
	f[14] = 0x4f;
	check(54, R(IPv4), published[V4].addresses);
	f[14] = 0x44;
	check(54, R(IPv4), published[V4].addresses);
	packet(V6, 0, IPPROTO_TCP, IPPROTO_FRAGMENT, v6_fragment, 8);
	check(82, R(IPv6_EX), published[V6].addresses);
}

/* Options for the destination with an address at home, a routing header of type 2 with another; what
 * they name is what is published, the IP header has something else. */
static void test_extensions(void **state)
{
	uint8_t ext[64] = { IPPROTO_ROUTING, 2, 1, 2, 0, 0, 0xc9, 16 }; /* PadN before it */
	size_t len;

	(void)state;
	inet_pton(AF_INET6, published[V6].from, ext + 8);
	ext[24] = IPPROTO_TCP;
	ext[25] = 2;
	ext[26] = 2;
	ext[27] = 1;
	inet_pton(AF_INET6, published[V6].to, ext + 32);
	allow(NET_HASH_TYPES);
	len = packet(V6, 1, IPPROTO_TCP, IPPROTO_DSTOPTS, ext, 48);
	memset(f + 18 + 8, 0x77, 32);
	check(len, R(TCPv6_EX), published[V6].ports);
	allow(T(IP_EX) | T(TCPv6));
	check(len, R(IPv6_EX), published[V6].addresses);
	/* None of the three: as if the headers were not there. */
	allow(T(TCPv6) | T(IPv6));
	len = packet(V6, 0, IPPROTO_TCP, IPPROTO_DSTOPTS, ext, 48);
	memset(ext + 8, 0x77, 16);
	check(len, R(TCPv6), published[V6].ports);
	allow(NET_HASH_TYPES);
	ext[24] = IPPROTO_UDP;
	inet_pton(AF_INET6, published[V6].from, ext + 8);
	len = packet(V6, 0, IPPROTO_UDP, IPPROTO_DSTOPTS, ext, 48);
	check(len, R(UDPv6_EX), published[V6].ports);
}

/* Headers that name nothing; that claim more than there is; more than anybody has. */
static void test_extension_lies(void **state)
{
	uint8_t ext[128];

	(void)state;
	allow(NET_HASH_TYPES);
	for (unsigned kind = 0; kind < 4; kind++) {
		static const uint8_t kinds[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS,
						 IPPROTO_AH };

		memset(ext, 0, sizeof(ext));
		ext[0] = IPPROTO_TCP;
		check(packet(V6, 0, IPPROTO_TCP, kinds[kind], ext, 8), R(TCPv6_EX),
		      published[V6].ports);
		ext[1] = 0xff;
		check(packet(V6, 0, IPPROTO_TCP, kinds[kind], ext, 8), R(IPv6_EX),
		      published[V6].addresses);
	}
	/* A home address of another length, one that is cut off, type 2 too short for an address. */
	memset(ext, 0, sizeof(ext));
	memcpy(ext, "\x06\x00\xc9\x10", 4);
	check(packet(V6, 0, IPPROTO_TCP, IPPROTO_DSTOPTS, ext, 8), R(TCPv6_EX),
	      published[V6].ports);
	ext[3] = 4;
	check(packet(V6, 0, IPPROTO_TCP, IPPROTO_DSTOPTS, ext, 8), R(TCPv6_EX),
	      published[V6].ports);
	memcpy(ext, "\x06\x00\x02\x01", 4);
	check(packet(V6, 0, IPPROTO_TCP, IPPROTO_ROUTING, ext, 8), R(TCPv6_EX),
	      published[V6].ports);
	memset(ext, 0, sizeof(ext));
	for (unsigned i = 0; i < 9; i++)
		ext[i * 8] = i < 8 ? IPPROTO_HOPOPTS : IPPROTO_TCP;
	check(packet(V6, 0, IPPROTO_TCP, IPPROTO_HOPOPTS, ext, 72), R(IPv6_EX),
	      published[V6].addresses);
}

/* What a key lacks is zero: of a key of one byte only the first 8 bits of the input count. */
static void test_short_key(void **state)
{
	uint32_t all, none;
	size_t len = packet(V4, 0, IPPROTO_TCP, 0, NULL, 0);

	(void)state;
	net_hash_init(&h, NET_HASH_TYPES, key, 1);
	assert_int_equal(net_hash_packet(&h, f, len, &all), R(TCPv4));
	memset(f + 14 + 13, 0, 7 + 4);
	assert_int_equal(net_hash_packet(&h, f, len, &none), R(TCPv4));
	assert_int_equal(all, none);
	assert_int_not_equal(all, 0);
	net_hash_init(&h, NET_HASH_TYPES, NULL, 0);
	assert_int_equal(net_hash_packet(&h, f, len, &none), R(TCPv4));
	assert_int_equal(none, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published),      cmocka_unit_test(test_types),
		cmocka_unit_test(test_others),	       cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_extension_lies), cmocka_unit_test(test_short_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
