// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net_back.c - a network device's interface where the scripts of configs/xen/scripts put it, in a
 * network namespace of this test
 *
 * Open vSwitch runs here with a database of the test's, and forwards by itself (datapath_type=netdev):
 * it needs no module of the kernel's.
 */
#include "backend/devices/net/int.h"
#include "backend/devices/net/place.h"
#include "tests/rigs/net_host.h"

#include <netinet/if_ether.h>
#include <sys/stat.h>

#define MAC ",mac=" NR_MAC

static char folder[96]; /* of copies of the scripts that are surely root's */

static int enter(void **state)
{
	const char *build = getenv("VGRANT_BUILD");
	char text[512];

	snprintf(folder, sizeof(folder), "/tmp/vgrant-back-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(text, sizeof(text),
		 "cp %s%sconfigs/xen/scripts/* %s && chown root %s/* && chmod 755 %s %s/*",
		 build ? build : "", build ? "/../../" : "", folder, folder, folder, folder);
	if (geteuid() == 0 && sh(text) != 0)
		return -1;
	nh_enter(state);
	if (geteuid() != 0)
		nh_why_not = "only root may put interfaces anywhere";
	return 0;
}

static int leave(void **state)
{
	char text[128];

	(void)state;
	snprintf(text, sizeof(text), "rm -r %s", folder);
	return sh(text);
}

/* "net,script=FOLDER/NAME,REST" */
static const char *with(const char *name, const char *rest)
{
	static char spec[512];

	snprintf(spec, sizeof(spec), "net,script=%s/%s,%s", folder, name, rest);
	return spec;
}

/* The script of the name, as it is run when the worker has ended. */
static void removed(const char *name, const char *interface)
{
	struct vg_err err = { "" };
	struct vg_command c;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	vg_command_init(&c, interface, path);
	vg_command_arg(&c, "remove");
	vg_command_env(&c, "INTERFACE", interface);
	if (vg_command_run(&c, 20, &err) < 0)
		fail_msg("%s", err.text);
}

static void write_script(const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

/* Both ways, on the bridge where v0 is. */
static void carries(void)
{
	int fd = listen_on("v1");

	nr_ethernet(&f, 1000);
	nr_send(&nr, &f, 1000);
	assert_int_equal(hear(fd, &got), 1000);
	assert_memory_equal(got.data, f.data, 1000);
	nr_post(&nr, 0, 1536, 8);
	assert_int_equal(send(fd, f.data, 1000, 0), 1000);
	do {
		assert_true(nr_take(&nr, 0, &got) > 0); /* the host's own chatter, too */
	} while (got.data[12] != 0x88);
	assert_memory_equal(got.data, f.data, 1000);
	close(fd);
}

/* ---- vgrant-bridge ------------------------------------------------------ */

static void test_bridge(void **state)
{
	(void)state;
	nh_need();
	nr_open(&nr, TP_COPY, with("vgrant-bridge", "bridge=br0,vifname=vif9.64" MAC));
	assert_string_equal(sys("vif9.64", "master/uevent"), "DEVTYPE=bridge");
	assert_string_equal(sys("vif9.64", "mtu"), "1400"); /* the bridge's */
	assert_string_equal(sys("vif9.64", "address"), "fe:ff:ff:ff:ff:ff");
	assert_int_equal(strtoul(sys("vif9.64", "flags"), NULL, 0) & (IFF_UP | IFF_NOARP),
			 IFF_UP | IFF_NOARP);
	nr_says(&nr, "mtu=1400");
	tp_start(&nr.tp, TP_ALL, 64);
	forwarding("vif9.64");
	carries();
	nr_close(&nr);
	assert_int_equal(if_nametoindex("vif9.64"), 0);
	removed("vgrant-bridge", "vif9.64");
	/* One that stays is taken off. */
	assert_int_equal(sh("ip tuntap add stays0 mode tap && ip link set stays0 master br0 up"),
			 0);
	removed("vgrant-bridge", "stays0");
	assert_string_equal(sys("stays0", "master/uevent"), "");
	assert_int_equal(sh("ip link del stays0"), 0);
	nr_open(&nr, TP_COPY, with("vgrant-bridge", "bridge=br0,vifname=vif9.64,mtu=1300" MAC));
	assert_string_equal(sys("vif9.64", "mtu"), "1300");
	nr_close(&nr);
}

/* The bridge that the script has put it on is watched as one that we have. */
static void test_bridge_removed(void **state)
{
	(void)state;
	nh_need();
	assert_int_equal(sh("ip link add gone0 type bridge"), 0);
	nr_up(&nr, TP_COPY, with("vgrant-bridge", "bridge=gone0,vifname=lost0" MAC), TP_ALL);
	nr.tp.dev.ops->tick(&nr.tp.dev);
	nr_says(&nr, "lost0=up");
	assert_int_equal(sh("ip link del gone0"), 0);
	nr.tp.dev.ops->tick(&nr.tp.dev);
	nr_says(&nr, "lost0=lost");
	assert_false(nr.tp.dev.outdated);
	assert_int_equal(sh("ip link add gone0 type bridge"), 0);
	nr.tp.dev.ops->tick(&nr.tp.dev);
	assert_true(nr.tp.dev.outdated);
	nr_close(&nr);
	assert_int_equal(sh("ip link del gone0"), 0);
}

/* What fails leaves no interface, and says why. */
static void test_failures(void **state)
{
	(void)state;
	nh_need();
	refused(with("vgrant-bridge", "bridge=br7,vifname=no0"),
		"status 1: there is no bridge br7");
	refused(with("vgrant-bridge", "bridge=v0,vifname=no0"), "v0 is no Linux bridge");
	refused(with("vgrant-bridge", "vifname=no0"), "there is no bridge= to put no0 on");
	refused(with("vgrant-bridge", "bridge=br0"), "script= needs a name for the interface");
	refused(with("nosuch", "vifname=no0"), "No such file");
	write_script("takes", "#!/bin/sh\nip link del dev $INTERFACE\n");
	refused(with("takes", "vifname=no0"), "interface no0 is gone after");
	write_script("told", "#!/bin/sh\necho $1 $2 $bridge >&2; exit 9\n");
	refused(with("told", "vifname=no0,bridge=a.5:6"),
		"told add failed with status 9: add type_if=tap a.5:6");
	assert_int_equal(if_nametoindex("no0"), 0);
}

/* ---- vgrant-route ------------------------------------------------------- */

/* Is what was received with @n bytes an answer for @address? */
static bool is_arp_answer(size_t n, const uint8_t address[4])
{
	const struct ether_arp *arp = (const struct ether_arp *)(got.data + 14);

	return n >= 42 && got.data[12] == 8 && got.data[13] == 6 &&
	       arp->ea_hdr.ar_op == htons(ARPOP_REPLY) && memcmp(arp->arp_spa, address, 4) == 0;
}

/* The guest asks who has @address, each second again, as ARP does: until the kernel's linkwatch has seen
 * that the interface has a carrier, which links elsewhere may put off, what it answers is dropped.
 * Return: whether the interface answers. */
static bool answers_arp(const uint8_t address[4])
{
	struct ether_arp *arp = (struct ether_arp *)(f.data + 14);

	nr_ethernet(&f, 60);
	memset(f.data + 14, 0, 46);
	memset(f.data, 0xff, 6);
	memcpy(f.data + 6, "\x00\x16\x3e\x01\x02\x03", 6);
	nr_put16(f.data + 12, ETH_P_ARP);
	arp->ea_hdr = (struct arphdr){ htons(1), htons(ETH_P_IP), 6, 4, htons(ARPOP_REQUEST) };
	memcpy(arp->arp_sha, "\x00\x16\x3e\x01\x02\x03", 6);
	memcpy(arp->arp_spa, "\x0a\x00\x00\x02", 4);
	memcpy(arp->arp_tpa, address, 4);
	for (unsigned i = 0; i < 30; i++) {
		int64_t end = vg_now_ns() + NS_PER_S;

		nr_send(&nr, &f, 60);
		while (vg_now_ns() < end) {
			assert_true(vg_loop_turn(nr.tp.loop, false) >= 0);
			if (drv_vring_has_used(&nr.tp.vr[0]) &&
			    is_arp_answer(nr_take(&nr, 0, &got), address))
				return true;
		}
	}
	return false;
}

static void test_route(void **state)
{
	(void)state;
	nh_need();
	assert_int_equal(sh("echo 1 >/proc/sys/net/ipv4/ip_forward; ip link add e0 type veth peer "
			    "name e1 && ip addr add 192.0.2.1/24 dev "
			    "e0 && ip link set e0 up && ip link set e1 up"),
			 0);
	nr_open(&nr, TP_COPY,
		with("vgrant-route",
		     "vifname=vif9.65,gatewaydev=e0,ip=10.0.0.2+10.1.0.0/24+2001:db8::2" MAC));
	assert_int_equal(sh("ip route show dev vif9.65 | grep -q '^10.0.0.2 .*src 192.0.2.1'"), 0);
	assert_int_equal(sh("ip route show dev vif9.65 | grep -q '^10.1.0.0/24 .*src 192.0.2.1'"),
			 0);
	assert_int_equal(sh("ip -6 route show dev vif9.65 | grep -q '^2001:db8::2 '"), 0);
	assert_string_equal(sys("vif9.65", "master/uevent"), "");
	assert_int_equal(strtoul(sys("vif9.65", "flags"), NULL, 0) & (IFF_UP | IFF_NOARP), IFF_UP);
	tp_start(&nr.tp, TP_ALL, 64);
	nr_post(&nr, 0, 1536, 64);
	/* The host's own address, and for all that it has a route to. */
	assert_true(answers_arp((const uint8_t[]){ 192, 0, 2, 1 }));
	assert_true(answers_arp((const uint8_t[]){ 192, 0, 2, 77 }));
	assert_int_equal(sh("ip -6 addr show dev vif9.65 | grep -q fe80::fcff:ffff:feff:ffff"), 0);
	nr_close(&nr);
	removed("vgrant-route", "vif9.65");
	assert_int_not_equal(sh("ip route | grep -q 10[.]"), 0);
	refused(with("vgrant-route", "vifname=no0,gatewaydev=e0"),
		"there is no ip= to route to no0");
	refused(with("vgrant-route", "vifname=no0,ip=10.0.0.2"), "there is no default route");
	refused(with("vgrant-route", "vifname=no0,ip=10.0.0.2,gatewaydev=v0"),
		"v0 has no address of IPv4");
	assert_int_equal(sh("ip route add default via 192.0.2.9"), 0);
	nr_open(&nr, TP_COPY, with("vgrant-route", "vifname=vif9.65,ip=10.0.0.2" MAC));
	assert_int_equal(sh("ip route show dev vif9.65 | grep -q '^10.0.0.2 .*src 192.0.2.1'"), 0);
	nr_close(&nr);
	assert_int_equal(sh("ip link del e0"), 0);
}

/* ---- vgrant-openvswitch ------------------------------------------------- */

/* A switch of this test's, which v0 is a port of instead of br0's; NULL, or why there is none. */
static const char *start_switch(void)
{
	static const char start[] =
		"exec >/dev/null 2>&1; mount -t tmpfs none /run && mkdir /run/openvswitch && cd "
		"/run && "
		"ovsdb-tool create /run/conf.db /usr/share/openvswitch/vswitch.ovsschema && "
		"ovsdb-server /run/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile "
		"--detach "
		"--log-file=/run/db.log && ovs-vsctl --timeout=10 --no-wait init && "
		"ovs-vswitchd --pidfile --detach --log-file=/run/switch.log && "
		"ovs-vsctl --timeout=10 add-br ovs0 -- set bridge ovs0 datapath_type=netdev && "
		"ip link set v0 nomaster && ovs-vsctl --timeout=10 add-port ovs0 v0";

	if (sh("PATH=$PATH:/usr/sbin; command -v ovs-vsctl ovs-vswitchd ovsdb-server ovsdb-tool "
	       ">/dev/null") != 0)
		return "Open vSwitch is not installed (openvswitch-switch)";
	return sh(start) == 0 ? NULL : "Open vSwitch cannot be started here";
}

static void stop_switch(void)
{
	sh("ovs-vsctl --timeout=10 del-br ovs0; kill $(cat /run/openvswitch/*.pid) 2>/dev/null; "
	   "ip link set v0 master br0; sleep 0.2; umount -l /run");
}

static void test_openvswitch(void **state)
{
	const char *why_not;

	(void)state;
	nh_need();
	why_not = start_switch();
	if (why_not) {
		stop_switch();
		print_message("%s\n", why_not);
		skip();
	}
	/* The supervisor knows what that is. */
	assert_true(net_place_on_ovs("ovs0", net_host_kind));
	assert_true(net_place_on_ovs("ovs0.5", net_host_kind));
	assert_false(net_place_on_ovs("br0", net_host_kind));
	assert_false(net_place_on_ovs("v0", net_host_kind));
	assert_false(net_place_on_ovs("nosuch.5", net_host_kind));
	refused("net,bridge=ovs0,vifname=no0", "takes script=vgrant-openvswitch");
	nr_up(&nr, TP_COPY,
	      with("vgrant-openvswitch", "bridge=ovs0,vifname=vif9.66,place=9/66/a \"b" MAC),
	      TP_ALL);
	carries();
	assert_int_equal(sh("ovs-vsctl get interface vif9.66 external_ids | grep -qF "
			    "'attached-mac=\"" NR_MAC
			    "\"' && ovs-vsctl get interface vif9.66 external_ids | "
			    "grep -qF 'a \\\"b'"),
			 0);
	nr_close(&nr);
	/* The port is there without its interface, until it is removed. */
	assert_int_equal(sh("ovs-vsctl list-ports ovs0 | grep -qx vif9.66"), 0);
	removed("vgrant-openvswitch", "vif9.66");
	removed("vgrant-openvswitch", "vif9.66");
	assert_int_not_equal(sh("ovs-vsctl list-ports ovs0 | grep -qx vif9.66"), 0);

	nr_open(&nr, TP_COPY, with("vgrant-openvswitch", "bridge=ovs0.5,vifname=vif9.66" MAC));
	assert_int_equal(
		sh("[ \"$(ovs-vsctl get port vif9.66 tag trunks vlan_mode | tr '\\n' ' ')\" "
		   "= '5 [] [] ' ]"),
		0);
	nr_close(&nr);
	/* Over what a worker left that was killed with its vgrantd. */
	nr_open(&nr, TP_COPY,
		with("vgrant-openvswitch", "bridge=ovs0.5:10:20,vifname=vif9.66" MAC));
	assert_int_equal(
		sh("[ \"$(ovs-vsctl get port vif9.66 tag trunks vlan_mode | tr '\\n' ' ')\" "
		   "= '5 [10, 20] native-untagged ' ]"),
		0);
	nr_close(&nr);
	nr_open(&nr, TP_COPY, with("vgrant-openvswitch", "bridge=ovs0:10,vifname=vif9.66" MAC));
	assert_int_equal(
		sh("[ \"$(ovs-vsctl get port vif9.66 tag trunks vlan_mode | tr '\\n' ' ')\" "
		   "= '[] [10] [] ' ]"),
		0);
	nr_close(&nr);
	removed("vgrant-openvswitch", "vif9.66");

	refused(with("vgrant-openvswitch", "bridge=nosuch,vifname=no0"),
		"there is no Open vSwitch bridge nosuch");
	refused(with("vgrant-openvswitch", "bridge=ovs0.x,vifname=no0"), "'x' is no VLAN");
	refused(with("vgrant-openvswitch", "bridge=ovs0.4096,vifname=no0"), "'4096' is no VLAN");
	refused(with("vgrant-openvswitch", "bridge=ovs0:1::2,vifname=no0"), "'' is no VLAN");
	refused(with("vgrant-openvswitch", "bridge=.5,vifname=no0"), "names no bridge");
	refused(with("vgrant-openvswitch", "vifname=no0"), "names no bridge");
	assert_int_not_equal(sh("ovs-vsctl list-ports ovs0 | grep -qx no0"), 0);
	assert_int_equal(if_nametoindex("no0"), 0);
	stop_switch();
	refused(with("vgrant-openvswitch", "bridge=ovs0,vifname=no0"),
		"Open vSwitch does not answer");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bridge),	    cmocka_unit_test(test_bridge_removed),
		cmocka_unit_test(test_failures),    cmocka_unit_test(test_route),
		cmocka_unit_test(test_openvswitch),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
