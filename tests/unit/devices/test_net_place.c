// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net_place.c - what the supervisor adds to a network device's configuration
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
#include "backend/devices/net/place.h"
#include "backend/toolstack/xlhost.h"

static const struct vg_place web = { "web", 7, 65, "xenbr1", NULL };

static const char *completed(const char *spec, const struct vg_place *place)
{
	static char out[VG_PARAMS_LEN];
	struct vg_params params;

	snprintf(out, sizeof(out), "%s", spec);
	assert_int_equal(vg_params_parse(out, &params, NULL), 0);
	assert_int_equal(net_complete(&params, place, out, sizeof(out)), 0);
	return out;
}

static void test_completes(void **state)
{
	const struct vg_place nobody = { NULL, 7, 65, "xenbr1", NULL };
	const struct vg_place socket = { "s", UINT32_MAX, 0, "xenbr1", NULL };
	char mac[18], want[200];

	(void)state;
	net_place_mac("web", 65, mac);
	snprintf(want, sizeof(want), "net,mac=%s,vifname=vif7.65,bridge=xenbr1", mac);
	assert_string_equal(completed("net", &web), want);
	/* What is said stays, be it empty. */
	assert_string_equal(completed("net,bridge=,mac=00:16:3e:00:00:01,vifname=w", &web),
			    "net,bridge=,mac=00:16:3e:00:00:01,vifname=w");
	snprintf(want, sizeof(want), "net,tap=tap0,mac=%s", mac);
	assert_string_equal(completed("net,tap=tap0", &web), want);
	/* A script may want to know whose interface it is. */
	snprintf(want, sizeof(want), "net,script=s,vifname=w,mac=%s,bridge=xenbr1,place=7/65/web",
		 mac);
	assert_string_equal(completed("net,script=s,vifname=w", &web), want);
	assert_string_equal(completed("net", &nobody), "net,vifname=vif7.65,bridge=xenbr1");
	net_place_mac("s", 0, mac);
	snprintf(want, sizeof(want), "net,mac=%s", mac);
	assert_string_equal(completed("net", &socket), want);
	snprintf(want, sizeof(want), "net,script=s,mac=%s,place=/0/s", mac);
	assert_string_equal(completed("net,script=s", &socket), want);
}

/* A host with these interfaces. */
static int kind_here(const char *name, char kind[NET_HOST_KIND])
{
	static const char *const here[][2] = { { "br0", "bridge" },	  { "br0.5", "bridge" },
					       { "ovs0", "openvswitch" }, { "ovs0.7", "vlan" },
					       { "ovs1", "tun" },	  { "eth0", "" } };

	for (unsigned i = 0; i < COUNT(here); i++) {
		if (strcmp(here[i][0], name) == 0) {
			snprintf(kind, NET_HOST_KIND, "%s", here[i][1]);
			return 0;
		}
	}
	return -ENODEV;
}

/* What is Open vSwitch's gets its script; what is a Linux bridge's name, with a dot or not, does not. */
static void test_openvswitch(void **state)
{
	static const char *const theirs[] = { "ovs0", "ovs0.5", "ovs0.5:1:2", "ovs0:1",
					      "ovs1", "ovs1.5", "later:5" };
	static const char *const others[] = { "br0",
					      "br0.5",
					      "br0.6",
					      "ovs0.7",
					      "ovs0.5x",
					      "eth0",
					      "eth0.5",
					      "later",
					      "later.5",
					      "a-name-that-is-far-too-long",
					      "a-name-that-is-far-too-long.5" };
	char mac[18], want[200];

	(void)state;
	for (unsigned i = 0; i < COUNT(theirs); i++)
		assert_true(net_place_on_ovs(theirs[i], kind_here));
	for (unsigned i = 0; i < COUNT(others); i++)
		assert_false(net_place_on_ovs(others[i], kind_here));
	net_place_mac("web", 65, mac);
	snprintf(want, sizeof(want),
		 "net,bridge=s.5:7,mac=%s,vifname=vif7.65,script=vgrant-openvswitch,place=7/65/web",
		 mac);
	assert_string_equal(completed("net,bridge=s.5:7", &web), want);
	snprintf(want, sizeof(want),
		 "net,bridge=s.5:7,script=,mac=%s,vifname=vif7.65,place=7/65/web", mac);
	assert_string_equal(completed("net,bridge=s.5:7,script=", &web), want);
}

static void test_macvtap(void **state)
{
	char mac[18], want[200];

	(void)state;
	net_place_mac("web", 65, mac);
	snprintf(want, sizeof(want), "net,macvtap=eth0,mac=%s,vifname=vif7.65", mac);
	assert_string_equal(completed("net,macvtap=eth0", &web), want);
}

/* A configuration that has no room left stays as it is. */
static void test_no_room(void **state)
{
	char spec[VG_PARAMS_LEN] = "net,bridge=", before[VG_PARAMS_LEN];
	struct vg_params params;

	(void)state;
	memset(spec + strlen(spec), 'b', VG_PARAMS_LEN - 5 - strlen(spec));
	memcpy(before, spec, sizeof(spec));
	assert_int_equal(vg_params_parse(spec, &params, NULL), 0);
	assert_true(net_complete(&params, &web, spec, sizeof(spec)) < 0);
	assert_string_equal(spec, before);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The same for the same guest, in Xen's range, and as different as 23 bits can be for others. */
static void test_addresses(void **state)
{
	static char mac[2000][18];
	unsigned same = 0;
	char again[18];

	(void)state;
	for (unsigned i = 0; i < COUNT(mac); i++) {
		char name[16];

		snprintf(name, sizeof(name), "vm%u", i / 4);
		net_place_mac(name, 64 + i % 4, mac[i]);
		net_place_mac(name, 64 + i % 4, again);
		assert_string_equal(mac[i], again);
		assert_int_equal(strncmp(mac[i], "00:16:3e:", 9), 0);
		assert_true(mac[i][9] < '8');
	}
	qsort(mac, COUNT(mac), sizeof(mac[0]), compare);
	for (unsigned i = 1; i < COUNT(mac); i++)
		same += strcmp(mac[i], mac[i - 1]) == 0;
	/* Of 2 million pairs among 8 million addresses: 0.24 are expected. */
	assert_true(same <= 3);
	/* Not to change: a guest keeps its address when vgrant is upgraded. */
	net_place_mac("web", 64, again);
	assert_string_equal(again, "00:16:3e:30:71:97");
}

static void test_default_bridge(void **state)
{
	char name[64];
	FILE *f;

	(void)state;
	vg_xl_default_bridge("/nonexistent/xl.conf", name, sizeof(name));
	assert_string_equal(name, "xenbr0");
	f = fopen("xl.conf", "w");
	assert_non_null(f);
	fputs("# comment\nautoballoon=\"off\"\nvif.default.bridge=\"br-guests\"\n", f);
	fclose(f);
	vg_xl_default_bridge("xl.conf", name, sizeof(name));
	assert_string_equal(name, "br-guests");
	f = fopen("xl.conf", "w");
	assert_non_null(f);
	fputs("autoballoon=\"off\"\n", f);
	fclose(f);
	vg_xl_default_bridge("xl.conf", name, sizeof(name));
	assert_string_equal(name, "xenbr0");
	f = fopen("xl.conf", "w");
	assert_non_null(f);
	fputs("vif.default.bridge = [ broken\n", f);
	fclose(f);
	vg_xl_default_bridge("xl.conf", name, sizeof(name));
	assert_string_equal(name, "xenbr0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_completes), cmocka_unit_test(test_openvswitch),
		cmocka_unit_test(test_macvtap),	  cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_default_bridge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
