// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net_macvtap.c - the network device on a macvtap, in a network namespace of this test
 *
 *	nr.tp (driver) - device - macvtap - m0 = m1 - packet socket
 */
#include "backend/devices/net/host.h"
#include "backend/devices/net/int.h"
#include "tests/rigs/macvtap_host.h"
#include "tests/rigs/net_host.h"

#define SPEC "net,macvtap=m0,vifname=vif9.67,mac=" NR_MAC

static int enter(void **state)
{
	nh_enter(state);
	if (!nh_why_not && sh("ip link add m0 type veth peer name m1 && ip link set m0 mtu 1400 up "
			      "&& ip link set m1 mtu 1400 up") != 0)
		nh_why_not = "no pair of interfaces can be made";
	if (!nh_why_not)
		nh_why_not = mh_enter("m0");
	return 0;
}

static void opened(const char *spec)
{
	nh_need();
	nr_up(&nr, TP_COPY, spec, TP_ALL);
}

/* The device, and what the supervisor does then. */
static void closed(const char *name)
{
	struct vg_err err = { "" };

	nr_close(&nr);
	assert_int_not_equal(if_nametoindex(name), 0);
	assert_int_equal(net_host_macvtap_remove(name, "m0", &err), 0);
	assert_int_equal(if_nametoindex(name), 0);
}

/* @len bytes of the guest's for somebody else than itself. */
static void sent(unsigned q, size_t len)
{
	nr_ethernet(&f, len);
	memcpy(f.data, "\x02\0\0\0\0\2", 6);
	nr_send_cut(&nr, q, &f, len, NULL, 0);
}

/* A frame for @to comes along. */
static void arrives(int fd, const char *to, size_t len, uint8_t mark)
{
	nr_ethernet(&f, len);
	memcpy(f.data, to, 6);
	f.data[20] = mark;
	assert_int_equal(send(fd, f.data, len, 0), len);
}

#define OWN   "\x00\x16\x3e\x01\x02\x03"
#define OTHER "\x02\0\0\0\0\7"
#define GROUP "\x33\x33\xff\0\0\1"

/* The next frame of our protocol that the guest gets is the one with @mark. */
static void got_mark(unsigned q, uint8_t mark)
{
	do {
		assert_true(nr_take(&nr, q, &got) > 0); /* the host's own chatter, too */
		nr_post(&nr, q, 1536, 1);
	} while (got.data[12] != 0x88);
	assert_int_equal(got.data[20], mark);
}

/* ---- tests -------------------------------------------------------------- */

static void test_carries(void **state)
{
	int fd;

	(void)state;
	opened(SPEC);
	nr_says(&nr, "vif9.67=up " NR_MAC " mtu=1400");
	assert_string_equal(sys("vif9.67", "address"), NR_MAC);
	assert_int_equal(strtoul(sys("vif9.67", "flags"), NULL, 0) &
				 (IFF_UP | IFF_NOARP | IFF_ALLMULTI),
			 IFF_UP | IFF_NOARP | IFF_ALLMULTI);
	assert_int_not_equal(sh("ip addr show dev vif9.67 | grep -q inet"), 0);
	assert_int_equal(sh("ip -d link show vif9.67 | grep -q 'macvtap mode bridge'"), 0);
	fd = listen_on("m1");
	sent(1, 1414);
	assert_int_equal(hear(fd, &got), 1414);
	assert_memory_equal(got.data, f.data, 1414);
	nr_post(&nr, 0, 1536, 16);
	arrives(fd, OWN, 1414, 1);
	got_mark(0, 1);
	assert_memory_equal(got.data, f.data, 1414);
	assert_int_equal(le16toh(got.h.num_buffers), 1);
	arrives(fd, OTHER, 60, 2);
	arrives(fd, GROUP, 60, 3);
	got_mark(0, 3);
	close(fd);
	closed("vif9.67");
}

/* The host cuts what the guest has not, and makes its checksum. */
static void test_segments(void **state)
{
	size_t len;
	int fd;

	(void)state;
	opened(SPEC);
	fd = listen_on("m1");
	len = nr_packet(&f, false, IPPROTO_TCP, 0, 30000, 1300);
	memcpy(f.data, "\x02\0\0\0\0\2", 6);
	nr_send(&nr, &f, len);
	hear_segments(fd, 30000);
	close(fd);
	closed("vif9.67");
}

static void test_queues(void **state)
{
	uint16_t n = htole16(3);
	int fd;

	(void)state;
	opened(SPEC ",queues=3,threads=1");
	assert_int_equal(nr_control(&nr, 6, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n,
				    2),
			 VIRTIO_NET_OK);
	fd = listen_on("m1");
	for (unsigned i = 0; i < 3; i++) {
		sent(2 * i + 1, 100 + i);
		assert_int_equal(hear(fd, &got), 100 + i);
	}
	n = htole16(1);
	assert_int_equal(nr_control(&nr, 6, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n,
				    2),
			 VIRTIO_NET_OK);
	/* Whatever the flow, it comes to the one pair that is left. */
	nr_post(&nr, 0, 1536, 40);
	for (uint8_t i = 0; i < 20; i++) {
		arrives(fd, OWN, 100 + i, i);
		got_mark(0, i);
	}
	close(fd);
	closed("vif9.67");
}

/* The carrier is not ours: frames are dropped while the cable is out, and what came before a driver. */
static void test_unplugged(void **state)
{
	struct vg_err err;
	int fd;

	(void)state;
	opened(SPEC);
	fd = listen_on("m1");
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "link", "down", &err), 0);
	sent(1, 100);
	nr_says(&nr, "tx-down=1");
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "link", "up", &err), 0);
	sent(1, 101);
	assert_int_equal(hear(fd, &got), 101);
	tp_reset(&nr.tp);
	for (uint8_t i = 0; i < 5; i++)
		arrives(fd, OWN, 100, i);
	tp_start(&nr.tp, TP_ALL, 64);
	nr_post(&nr, 0, 1536, 16);
	arrives(fd, OWN, 100, 9);
	got_mark(0, 9);
	close(fd);
	closed("vif9.67");
}

/* A guest that changes its address would be deaf, but in mode passthru. */
static void test_modes(void **state)
{
	int fd;

	(void)state;
	opened(SPEC ",mode=private");
	assert_int_equal(sh("ip -d link show vif9.67 | grep -q 'macvtap mode private'"), 0);
	assert_int_equal(nr_control(&nr, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				    OTHER, 6),
			 VIRTIO_NET_ERR);
	refused("net,macvtap=m0,vifname=no0,mode=passthru", "mode passthru");
	closed("vif9.67");
	opened(SPEC ",mode=vepa");
	assert_int_equal(sh("ip -d link show vif9.67 | grep -q 'macvtap mode vepa'"), 0);
	closed("vif9.67");
	opened(SPEC ",mode=passthru");
	assert_int_equal(sh("ip -d link show vif9.67 | grep -q 'macvtap mode passthru'"), 0);
	assert_int_equal(nr_control(&nr, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				    OTHER, 6),
			 VIRTIO_NET_OK);
	nr_post(&nr, 0, 1536, 16);
	fd = listen_on("m1");
	arrives(fd, OTHER, 100, 5);
	got_mark(0, 5);
	close(fd);
	refused("net,macvtap=m0,vifname=no0,mode=bridge", "mode passthru");
	closed("vif9.67");
}

/* What fails leaves no interface, and says why. */
static void test_failures(void **state)
{
	(void)state;
	opened(SPEC);
	refused("net,macvtap=nosuch,vifname=no0", "there is no interface nosuch to make");
	refused("net,macvtap=v0,vifname=no0", "v0 can have no macvtap: it is a port");
	refused("net,macvtap=m0,vifname=v1", "there is an interface v1 already");
	refused("net,macvtap=m0,vifname=a-name-that-is-far-too-long", "no interface's name");
	refused("net,macvtap=m0", "macvtap= needs a name for the interface");
	refused("net,macvtap=m0,vifname=no0,mtu=1401", "a smaller MTU than mtu=");
	refused("net,macvtap=m0,vifname=no0,mac=" NR_MAC, "has the guest's address");
	assert_int_equal(if_nametoindex("no0"), 0);
	assert_int_not_equal(if_nametoindex("v1"), 0);
	closed("vif9.67");
	opened(SPEC ",mtu=1300");
	assert_string_equal(sys("vif9.67", "mtu"), "1300");
	closed("vif9.67");
}

/* Nobody else's interface is removed; one that is not there need not be. */
static void test_removal(void **state)
{
	struct vg_err err = { "" };

	(void)state;
	opened(SPEC);
	assert_int_equal(net_host_macvtap_remove("vif9.67", "v0", &err), -EBUSY);
	assert_non_null(strstr(err.text, "is no macvtap on v0"));
	assert_int_equal(net_host_macvtap_remove("v0", "m0", &err), -EBUSY);
	assert_int_equal(net_host_macvtap_remove("br0", "nosuch", &err), -EBUSY);
	assert_int_equal(net_host_macvtap_remove("nosuch", "m0", &err), 0);
	assert_int_not_equal(if_nametoindex("vif9.67"), 0);
	assert_int_not_equal(if_nametoindex("v0"), 0);
	closed("vif9.67");
}

/* It goes with the host's interface: the guest's cable is out, and nothing spins. */
static void test_taken_away(void **state)
{
	struct net_config c;

	(void)state;
	nh_need();
	assert_int_equal(sh("ip link add n0 type veth peer name n1 && ip link set n0 up"), 0);
	opened("net,macvtap=n0,vifname=away0,mac=" NR_MAC);
	nr_post(&nr, 0, 1536, 8);
	nr.tp.dev.ops->tick(&nr.tp.dev);
	nr_says(&nr, "away0=up");
	assert_int_equal(sh("ip link del n0"), 0);
	sent(1, 100);
	nr.tp.dev.ops->tick(&nr.tp.dev);
	nr_says(&nr, "away0=gone");
	assert_int_equal(vg_dev_config_read(&nr.tp.dev, 0, &c, sizeof(c)), 0);
	assert_false(le16toh(c.status) & VIRTIO_NET_S_LINK_UP);
	assert_false(nr_broken(&nr));
	assert_true(nr.tp.dev.outdated);
	nr_close(&nr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_carries), cmocka_unit_test(test_segments),
		cmocka_unit_test(test_queues),	cmocka_unit_test(test_unplugged),
		cmocka_unit_test(test_modes),	cmocka_unit_test(test_failures),
		cmocka_unit_test(test_removal), cmocka_unit_test(test_taken_away),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
