// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net_address.c - which addresses of IP a guest may send from: `ip=`
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/devices/net/address.h"

static const uint8_t mac[6] = { 0x00, 0x16, 0x3e, 1, 2, 3 };
static struct net_addresses list;

/* @text: hexadecimal, blanks do not count. Return: bytes. */
static size_t bytes(const char *text, uint8_t *out)
{
	size_t n = 0;

	for (unsigned v; *text; text += 2) {
		while (*text == ' ')
			text++;
		if (!*text)
			break;
		assert_int_equal(sscanf(text, "%2x", &v), 1);
		out[n++] = (uint8_t)v;
	}
	return n;
}

/* The frame passes, with its last byte; every one that is cut off before byte @needed does not. */
static void frame(const char *ethernet, const char *rest, bool passes, size_t needed)
{
	uint8_t *f, all[512];
	size_t n = bytes("ffffffffffff 00163e010203", all);

	n += bytes(ethernet, all + n);
	n += bytes(rest, all + n);
	for (size_t have = 14; have <= n; have++) {
		bool got;

		/* Of that size: what is read beyond it is the sanitizer's to see. */
		f = malloc(have);
		assert_non_null(f);
		memcpy(f, all, have);
		got = net_addresses_pass(&list, mac, f, have);
		free(f);
		if (have == n ? got != passes : have < needed && got)
			fail_msg("%s %s: %zu bytes of %zu %s", ethernet, rest, have, n,
				 got ? "pass" : "do not pass");
	}
}

#define SMALL 0 /* how much of it is needed is not looked at */

static void set(const char *text)
{
	struct vg_err err;

	assert_int_equal(net_addresses_parse(text, &list, &err), 0);
}

static void test_parse(void **state)
{
	static const char *const wrong[] = { "10.0.0",
					     "10.0.0.256",
					     "10.0.0.1/33",
					     "10.0.0.1/",
					     "10.0.0.1/-1",
					     "2001:db8::/129",
					     "2001:db8:::1",
					     "web",
					     "10.0.0.1,10.0.0.2",
					     "10.0.0.1 / 24",
					     "fe80::1%eth0",
					     "10.0.0.1/2 4 x",
					     "1111:2222:3333:4444:5555:6666:7777:8888:9999/128" };
	char many[NET_ADDRESSES * 12 + 32] = "";
	struct net_addresses before;
	struct vg_err err;

	(void)state;
	set(NULL);
	assert_int_equal(list.n, 0);
	set("  + ");
	assert_int_equal(list.n, 0);
	set("10.0.0.2 2001:db8::2+10.1.0.0/24 ");
	assert_int_equal(list.n, 3);
	assert_int_equal(list.at[0].bits, 32);
	assert_int_equal(list.at[1].bits, 128);
	assert_int_equal(list.at[2].bits, 24);
	before = list;
	for (unsigned i = 0; i < COUNT(wrong); i++) {
		if (net_addresses_parse(wrong[i], &list, &err) != -EINVAL)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_non_null(strstr(err.text, "ip=: \""));
	}
	for (unsigned i = 0; i <= NET_ADDRESSES; i++)
		strcat(many, "10.0.0.2+");
	assert_int_equal(net_addresses_parse(many, &list, &err), -EINVAL);
	assert_non_null(strstr(err.text, "more than 32"));
	assert_memory_equal(&list, &before, sizeof(list));
}

static void test_none(void **state)
{
	(void)state;
	set("");
	frame("0800", "", true, SMALL);
	frame("8100", "", true, SMALL);
}

#define UDP4(source) "4500001c 00000000 40110000 " source " 0a000001"

static void test_ip4(void **state)
{
	(void)state;
	set("10.0.0.2 10.1.0.0/23 192.168.7.128/25");
	frame("0800", UDP4("0a000002") "1234567800080000", true, 34);
	frame("0800", UDP4("0a000003") "1234567800080000", false, SMALL);
	frame("0800", UDP4("0a0101ff") "1234567800080000", true, 34);
	frame("0800", UDP4("0a010200") "1234567800080000", false, SMALL);
	frame("0800", UDP4("c0a80780") "1234567800080000", true, 34);
	frame("0800", UDP4("c0a8077f") "1234567800080000", false, SMALL);
	/* Behind tags; not behind more than two. */
	frame("8100 0005 0800", UDP4("0a000002") "1234567800080000", true, 38);
	frame("88a8 0005 8100 0006 0800", UDP4("0a000003") "1234567800080000", false, SMALL);
	frame("88a8 0005 88a8 0005 8100 0006 0800", UDP4("0a000002") "1234567800080000", false,
	      SMALL);
	/* Headers that are none. */
	frame("0800", "6500001c 00000000 40110000 0a000002 0a000001", false, SMALL);
	frame("0800", "4400001c 00000000 40110000 0a000002 0a000001", false, SMALL);
}

static void test_dhcp(void **state)
{
	(void)state;
	set("10.0.0.2");
	frame("0800", "4500001c 00000000 40110000 00000000 ffffffff 0044004300080000", true, 38);
	frame("0800", "4500001c 00004000 40110000 00000000 ffffffff 0044004300080000", true, 38);
	/* Other ports, another protocol, a later piece; options before the ports. */
	frame("0800", "4500001c 00000000 40110000 00000000 ffffffff 0043004400080000", false,
	      SMALL);
	frame("0800", "4500001c 00000000 40060000 00000000 ffffffff 0044004300080000", false,
	      SMALL);
	frame("0800", "4500001c 00000001 40110000 00000000 ffffffff 0044004300080000", false,
	      SMALL);
	frame("0800", "4600001c 00000000 40110000 00000000 ffffffff 00000000 0044004300080000",
	      true, 42);
	frame("0800", "4600001c 00000000 40110000 00000000 ffffffff 00440043 0001000200080000",
	      false, SMALL);
}

static void test_arp(void **state)
{
	(void)state;
	set("10.0.0.2");
	frame("0806", "0001080006040001 00163e010203 0a000002 000000000000 0a000001", true, 42);
	frame("0806", "0001080006040002 00163e010203 0a000001 000000000000 0a000002", false, SMALL);
	/* A probe; somebody else's hardware; other kinds. */
	frame("0806", "0001080006040001 00163e010203 00000000 000000000000 0a000001", true, 42);
	frame("0806", "0001080006040002 00163e010204 0a000002 000000000000 0a000001", false, SMALL);
	frame("0806", "0006080006040001 00163e010203 0a000002 000000000000 0a000001", false, SMALL);
	frame("0806", "0001080006100001 00163e010203 0a000002 000000000000 0a000001", false, SMALL);
	frame("8035", "0001080006040003 00163e010203 0a000009 00163e010203 00000000", false, SMALL);
}

#define A		  "20010db8000000000000000000000002"
#define B		  "20010db8000000000000000000000003"
#define LINK		  "fe800000000000000216 3efffe010203"
#define NOBODY		  "00000000000000000000000000000000"
#define ALL		  "ff020000000000000000000000000001"
#define IP6(next, source) "60000000 0020" next "ff" source ALL

static void test_ip6(void **state)
{
	(void)state;
	set("2001:db8::2 10.0.0.2");
	frame("86dd", IP6("11", A) "1234567800080000", true, 54);
	frame("86dd", IP6("11", B) "1234567800080000", false, SMALL);
	frame("86dd", IP6("11", LINK) "0222022300080000", true, 54);
	frame("86dd", IP6("11", NOBODY) "0222022300080000", false, SMALL);
	frame("86dd", "50000000 0020 11ff" A ALL, false, SMALL);
}

static void test_neighbours(void **state)
{
	(void)state;
	set("2001:db8::2");
	/* Duplicate address detection, of any address; the question of a listed one. */
	frame("86dd", IP6("3a", NOBODY) "87000000 00000000" B, true, SMALL);
	frame("86dd", IP6("3a", A) "87000000 00000000" B, true, 54);
	/* Answers: for its own addresses, and for nobody else's. */
	frame("86dd", IP6("3a", A) "88000000 60000000" A, true, 78);
	frame("86dd", IP6("3a", LINK) "88000000 60000000" LINK, true, 78);
	frame("86dd", IP6("3a", LINK) "88000000 60000000" B, false, SMALL);
	frame("86dd", IP6("3a", A) "88000000 60000000" B, false, SMALL);
	/* It is no router. */
	frame("86dd", IP6("3a", LINK) "86000000 00000000", false, SMALL);
	frame("86dd", IP6("3a", LINK) "89000000 00000000" B, false, SMALL);
	/* Behind a header of options, as for multicast listeners, and behind one that does not end. */
	frame("86dd", IP6("00", NOBODY) "3a00050200000000 8f000000 00000000", true, SMALL);
	frame("86dd", IP6("00", LINK) "3a00050200000000 86000000 00000000", false, SMALL);
	frame("86dd", IP6("00", LINK) "3aff050200000000 86000000 00000000", false, SMALL);
	frame("86dd",
	      IP6("3c", LINK) "3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000"
			      "3c00000000000000 3c00000000000000 3c00000000000000 3c00000000000000"
			      "3a00000000000000 80000000",
	      false, SMALL);
}

static void test_others(void **state)
{
	(void)state;
	set("10.0.0.2");
	frame("88b5", "0102", true, SMALL);
	frame("88cc", "0102", true, SMALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),	   cmocka_unit_test(test_none),
		cmocka_unit_test(test_ip4),	   cmocka_unit_test(test_dhcp),
		cmocka_unit_test(test_arp),	   cmocka_unit_test(test_ip6),
		cmocka_unit_test(test_neighbours), cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
