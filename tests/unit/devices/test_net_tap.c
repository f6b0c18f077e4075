// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net_tap.c - the network device on a TAP, in a network namespace of this test
 */
#include "backend/devices/net/int.h"
#include "tests/rigs/net_host.h"

/* ---- tests -------------------------------------------------------------- */

static void test_bridge(void **state)
{
	int fd;

	(void)state;
	nh_need();
	nr_open(&nr, TP_COPY, "net,mac=" NR_MAC ",bridge=br0,vifname=vif9.64");
	assert_string_equal(sys("vif9.64", "master/uevent"), "DEVTYPE=bridge");
	assert_string_equal(sys("vif9.64", "mtu"), "1400"); /* the bridge's */
	assert_string_equal(sys("vif9.64", "address"), "fe:ff:ff:ff:ff:ff");
	assert_string_equal(sys("vif9.64", "carrier"), "0");
	tp_start(&nr.tp, TP_ALL, 64);
	assert_string_equal(sys("vif9.64", "carrier"), "1");
	nr_says(&nr, "vif9.64=up " NR_MAC " mtu=1400");
	forwarding("vif9.64");
	fd = listen_on("v1");
	nr_ethernet(&f, 1414);
	nr_send(&nr, &f, 1414);
	assert_int_equal(hear(fd, &got), 1414);
	assert_memory_equal(got.data, f.data, 1414);
	nr_post(&nr, 0, 1536, 8);
	for (unsigned i = 0; i < 5; i++) {
		nr_ethernet(&f, 1000);
		f.data[20] = (uint8_t)i;
		assert_int_equal(send(fd, f.data, 1000, 0), 1000);
		do {
			assert_true(nr_take(&nr, 0, &got) > 0); /* the host's own chatter, too */
		} while (got.data[12] != 0x88);
		assert_memory_equal(got.data, f.data, 1000);
		assert_int_equal(le16toh(got.h.num_buffers), 1);
	}
	close(fd);
	tp_reset(&nr.tp);
	assert_string_equal(sys("vif9.64", "carrier"), "0");
	nr_close(&nr);
	assert_int_equal(if_nametoindex("vif9.64"), 0);
}

/* The host cuts what the guest has not, and makes its checksum. */
static void segments(enum tp_manner manner)
{
	size_t len = nr_packet(&f, false, IPPROTO_TCP, 0, 30000, 1300);
	int fd;

	nr_up(&nr, manner, "net,mac=" NR_MAC ",bridge=br0,vifname=tap0", TP_ALL);
	forwarding("tap0");
	fd = listen_on("v1");
	nr_send(&nr, &f, len);
	hear_segments(fd, 30000);
	close(fd);
	nr_close(&nr);
}

static void test_segments(void **state)
{
	(void)state;
	nh_need();
	segments(TP_COPY);
	segments(TP_DIRECT);
}

/* More frames at a time than one turn reads, and than the ring has: in order, none twice. */
static void test_many(void **state)
{
	unsigned seen = 0;
	int fd;

	(void)state;
	nh_need();
	nr_up(&nr, TP_COPY, "net,mac=" NR_MAC ",bridge=br0,vifname=tap0", TP_ALL);
	forwarding("tap0");
	fd = listen_on("v1");
	nr_post(&nr, 0, 300, 60);
	while (seen < 2000) {
		for (unsigned i = seen; i < seen + 50; i++) {
			nr_ethernet(&f, 200);
			memcpy(f.data + 20, &i, sizeof(i));
			assert_int_equal(send(fd, f.data, 200, 0), 200);
		}
		for (unsigned n = 0; n < 50;) {
			struct drv_used used;
			struct drv_seg seg;
			struct drv_buf *b;

			tp_wait(&nr.tp, 0, &used);
			b = used.cookie;
			if (((uint8_t *)b->virt)[NET_HDR + 12] == 0x88) {
				assert_memory_equal((uint8_t *)b->virt + NET_HDR + 20, &seen,
						    sizeof(seen));
				seen++;
				n++;
			}
			seg = (struct drv_seg){ b->addr, 300 };
			assert_true(drv_vring_add(&nr.tp.vr[0], NULL, 0, &seg, 1, b, 0) >= 0);
			tp_kick(&nr.tp, 0);
		}
	}
	close(fd);
	nr_close(&nr);
}

static void test_queues(void **state)
{
	uint16_t n = htole16(4);
	int fd;

	(void)state;
	nh_need();
	nr_up(&nr, TP_COPY, "net,mac=" NR_MAC ",bridge=br0,vifname=many0,queues=3,threads=1",
	      TP_ALL);
	forwarding("many0");
	n = htole16(3);
	assert_int_equal(nr_control(&nr, 6, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n,
				    2),
			 VIRTIO_NET_OK);
	fd = listen_on("v1");
	for (unsigned i = 0; i < 3; i++) {
		nr_ethernet(&f, 100 + i);
		nr_send_cut(&nr, 2 * i + 1, &f, 100 + i, NULL, 0);
		assert_int_equal(hear(fd, &got), 100 + i);
	}
	n = htole16(1);
	assert_int_equal(nr_control(&nr, 6, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n,
				    2),
			 VIRTIO_NET_OK);
	/* Whatever the flow, it comes to the one pair that is left. */
	nr_post(&nr, 0, 300, 40);
	for (unsigned i = 0; i < 20; i++) {
		nr_ethernet(&f, 100);
		f.data[11] = (uint8_t)i;
		assert_int_equal(send(fd, f.data, 100, 0), 100);
		do {
			assert_true(nr_take(&nr, 0, &got) > 0);
			nr_post(&nr, 0, 300, 1);
		} while (got.data[12] != 0x88);
		assert_int_equal(got.data[11], i);
	}
	close(fd);
	nr_close(&nr);
	assert_int_equal(if_nametoindex("many0"), 0);
}

static void test_mistakes(void **state)
{
	(void)state;
	nh_need();
	refused("net,bridge=br7", "there is no bridge br7");
	refused("net,bridge=v0,vifname=mist0", "no Linux bridge");
	refused("net,vifname=v0", "already");
	refused("net,vifname=br0", "already");
	refused("net,vifname=a-name-that-is-far-too-long", "no interface's name");
	refused("net,vifname=a/b", "no interface's name");
	refused("net,vifname=vif%d", "no interface's name");
	refused("net,tap=tap77", "there is no interface tap77");
	refused("net,tap=v0", "no TAP");
	assert_int_equal(if_nametoindex("mist0"), 0);
}

/* One that is there already is used as it is, and stays. */
static void test_existing(void **state)
{
	int fd;

	(void)state;
	nh_need();
	assert_int_equal(sh("ip tuntap add tap7 mode tap vnet_hdr && ip link set tap7 mtu 1300 "
			    "master br0 up"),
			 0);
	nr_up(&nr, TP_COPY, "net,mac=" NR_MAC ",tap=tap7", TP_ALL);
	nr_says(&nr, "tap7=up " NR_MAC " mtu=1300");
	forwarding("tap7");
	fd = listen_on("v1");
	nr_ethernet(&f, 500);
	nr_send(&nr, &f, 500);
	assert_int_equal(hear(fd, &got), 500);
	refused("net,tap=tap7", "in use");
	close(fd);
	nr_close(&nr);
	assert_int_not_equal(if_nametoindex("tap7"), 0);
	refused("net,tap=tap7,queues=2", "as many queues");
	assert_int_equal(sh("ip link del tap7"), 0);
	/* One with several queues, under the name and the address that it has. */
	assert_int_equal(sh("ip tuntap add tap8 mode tap multi_queue vnet_hdr && ip link set tap8 "
			    "address 02:00:00:00:00:08 master br0 up"),
			 0);
	nr_up(&nr, TP_COPY, "net,mac=" NR_MAC ",tap=tap8,queues=2,threads=1", TP_ALL);
	forwarding("tap8");
	fd = listen_on("v1");
	for (unsigned i = 0; i < 2; i++) {
		nr_ethernet(&f, 100 + i);
		nr_send_cut(&nr, 2 * i + 1, &f, 100 + i, NULL, 0);
		assert_int_equal(hear(fd, &got), 100 + i);
	}
	close(fd);
	nr_close(&nr);
	assert_string_equal(sys("tap8", "address"), "02:00:00:00:00:08");
	assert_string_equal(sys("tap8", "master/uevent"), "DEVTYPE=bridge");
	assert_int_equal(sh("ip link del tap8"), 0);
}

/* Somebody takes it away: the guest's cable is out, and nothing spins. */
static void test_taken_away(void **state)
{
	struct net_config c;

	(void)state;
	nh_need();
	nr_up(&nr, TP_COPY, "net,mac=" NR_MAC ",bridge=br0,vifname=away0", TP_ALL);
	nr_post(&nr, 0, 1536, 8);
	assert_int_equal(sh("ip link del away0"), 0);
	for (unsigned i = 0; i < 250; i++) {
		vg_loop_turn(nr.tp.loop, false);
		usleep(10000);
	}
	nr_ethernet(&f, 100);
	nr_send(&nr, &f, 100);
	nr_says(&nr, "tx-down=1");
	nr.tp.dev.ops->tick(&nr.tp.dev);
	nr_says(&nr, "away0=gone");
	assert_int_equal(vg_dev_config_read(&nr.tp.dev, 0, &c, sizeof(c)), 0);
	assert_false(le16toh(c.status) & VIRTIO_NET_S_LINK_UP);
	assert_false(nr_broken(&nr));
	assert_true(nr.tp.dev.outdated);
	nr_close(&nr);
}

static void look(const char *says, bool outdated)
{
	nr.tp.dev.ops->tick(&nr.tp.dev);
	nr_says(&nr, says);
	assert_int_equal(nr.tp.dev.outdated, outdated);
}

/* A bridge that is deleted lets the interface go. Once it is back, it has to be put there again. */
static void test_bridge_removed(void **state)
{
	(void)state;
	nh_need();
	assert_int_equal(sh("ip link add gone0 type bridge && ip link add other0 type bridge"), 0);
	nr_up(&nr, TP_COPY, "net,mac=" NR_MAC ",bridge=gone0,vifname=lost0", TP_ALL);
	look("lost0=up", false);
	assert_int_equal(sh("ip link set lost0 master other0"), 0); /* its owner's wish */
	look("lost0=up", false);
	assert_int_equal(sh("ip link set lost0 master gone0"), 0);
	assert_int_equal(sh("ip link del gone0"), 0);
	look("lost0=lost", false);
	look("lost0=lost", false);
	assert_int_equal(sh("ip link add gone0 type bridge"), 0);
	look("lost0=", true);
	nr_close(&nr);
	assert_int_equal(sh("ip link del gone0; ip link del other0"), 0);
	/* On none from the beginning: nothing is looked for. */
	nr_up(&nr, TP_COPY, "net,mac=" NR_MAC ",bridge=,vifname=lost0", TP_ALL);
	look("lost0=up", false);
	nr_close(&nr);
}

/* Down is not gone. */
static void test_interface_down(void **state)
{
	int fd;

	(void)state;
	nh_need();
	nr_up(&nr, TP_COPY, "net,mac=" NR_MAC ",bridge=br0,vifname=down0", TP_ALL);
	assert_int_equal(sh("ip link set down0 down"), 0);
	nr_ethernet(&f, 100);
	nr_send(&nr, &f, 100);
	nr_says(&nr, "tx-down=1");
	assert_int_equal(sh("ip link set down0 up"), 0);
	forwarding("down0");
	fd = listen_on("v1");
	nr_send(&nr, &f, 100);
	assert_int_equal(hear(fd, &got), 100);
	close(fd);
	nr_close(&nr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bridge),	       cmocka_unit_test(test_segments),
		cmocka_unit_test(test_many),	       cmocka_unit_test(test_queues),
		cmocka_unit_test(test_mistakes),       cmocka_unit_test(test_existing),
		cmocka_unit_test(test_taken_away),     cmocka_unit_test(test_bridge_removed),
		cmocka_unit_test(test_interface_down),
	};

	return cmocka_run_group_tests(tests, nh_enter, NULL);
}
