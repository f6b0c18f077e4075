// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net.c - the network device, spoken to as VIRTIO 1.3 section 5.1 has it
 *
 * What a guest does on purpose to break things is in test_net_hostile.c; a TAP below
 * the device, in test_net_tap.c.
 */
#include "backend/devices/net/int.h"
#include "tests/rigs/net_rig.h"

#define F(name) VG_FEATURE(VIRTIO_NET_F_##name)
#define SPEC	"net,mac=" NR_MAC

static const uint64_t split = TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED);
static const uint64_t no_merge = TP_ALL & ~F(MRG_RXBUF);

static struct nr nr; /* large */
static struct nr_frame want, got;

/* ---- features and configuration ----------------------------------------- */

static bool try_features(uint64_t device)
{
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	dh_status(&nr.tp.dev, 0);
	dh_status(&nr.tp.dev, status);
	vg_dev_set_features(&nr.tp.dev, VG_FEATURE(VG_F_VERSION_1) | device);
	return dh_status(&nr.tp.dev, status | VG_STATUS_FEATURES_OK) & VG_STATUS_FEATURES_OK;
}

static void test_features(void **state)
{
	static const uint64_t bad[] = {
		F(HOST_TSO4),
		F(HOST_TSO6),
		F(HOST_USO),
		F(CSUM) | F(HOST_ECN),
		F(GUEST_TSO4),
		F(GUEST_TSO6),
		F(GUEST_USO4),
		F(GUEST_CSUM) | F(GUEST_ECN),
		F(CTRL_RX),
		F(CTRL_RX_EXTRA),
		F(CTRL_VLAN),
		F(CTRL_MAC_ADDR),
		F(CTRL_GUEST_OFFLOADS),
	};
	static const uint64_t good[] = {
		0,
		F(CSUM) | F(HOST_TSO4) | F(HOST_ECN),
		F(GUEST_CSUM) | F(GUEST_TSO6) | F(GUEST_ECN),
		F(CTRL_VQ) | F(CTRL_RX) | F(GUEST_ANNOUNCE),
		F(GUEST_ANNOUNCE), /* of QEMU, which keeps the control queue */
	};

	(void)state;
	nr_open(&nr, TP_COPY, SPEC);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(try_features(bad[i]));
	for (size_t i = 0; i < COUNT(good); i++)
		assert_true(try_features(good[i]));
	assert_true(try_features(nr.tp.dev.device_features));
	assert_false(nr.tp.dev.device_features & F(MQ));
	assert_true(nr.tp.dev.device_features & F(HOST_USO));
	dh_status(&nr.tp.dev, 0);
	nr_close(&nr);
}

static void test_features_follow_configuration(void **state)
{
	const uint64_t unfinished = F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) |
				    F(HOST_USO) | NET_GUEST_OFFLOADS | F(CTRL_GUEST_OFFLOADS);

	(void)state;
	nr_open(&nr, TP_COPY, SPEC ",offloads=0,queues=2,threads=1");
	assert_int_equal(nr.tp.dev.device_features & unfinished, 0);
	assert_true(nr.tp.dev.device_features & F(MQ));
	assert_int_equal(nr.tp.dev.n_queues, 5);
	nr_close(&nr);
	nr_uso = false; /* a kernel before 6.2 */
	nr_open(&nr, TP_COPY, SPEC);
	nr_uso = true;
	assert_int_equal(nr.tp.dev.device_features & (F(HOST_USO) | F(GUEST_USO4) | F(GUEST_USO6)),
			 0);
	nr_close(&nr);
}

static void test_configuration_errors(void **state)
{
	static const char *const bad[][2] = {
		{ "net,bridge=nobridge", "no bridge" },
		{ "net,mac=1", "no address" },
		{ "net,mac=00:16:3e:01:02:0g", "no address" },
		{ "net,mac=00:16:3e:01:02:03:04", "no address" },
		{ "net,mac=0x:16:3e:01:02:03", "no address" },
		{ "net,mac=01:16:3e:01:02:03", "multicast" },
		{ "net,mac=00:00:00:00:00:00", "no interface" },
		{ "net,mtu=67", "mtu" },
		{ "net,ip=10.0.0", "ip=" },
		{ "net,mtu=70000", "mtu" },
		{ "net,queues=33", "queues" },
		{ "net,queue-size=100", "power of two" },
		{ "net,link=sideways", "up or down" },
		{ "net,rate=10", "rate=10 is none" },
		{ "net,tap=tap0,bridge=br0", "tap=" },
		{ "net,colour=red", "colour" },
	};
	struct vg_err err;
	struct tp tp;

	(void)state;
	net_link_ops = &nr_link_ops;
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_true(tp_try_open(&tp, TP_COPY, bad[i][0], &err) < 0);
		if (!strstr(err.text, bad[i][1]))
			fail_msg("%s: '%s'", bad[i][0], err.text);
	}
}

static struct net_config config(void)
{
	struct net_config c;

	assert_int_equal(vg_dev_config_read(&nr.tp.dev, 0, &c, sizeof(c)), 0);
	return c;
}

static void test_config_space(void **state)
{
	uint8_t b = 0;

	(void)state;
	nr_open(&nr, TP_COPY, SPEC ",mtu=9000,queues=3,threads=1,speed=25000,bridge=xenbr0");
	assert_memory_equal(config().mac, "\x00\x16\x3e\x01\x02\x03", 6);
	assert_int_equal(le16toh(config().mtu), 9000);
	assert_int_equal(le16toh(config().max_pairs), 3);
	assert_int_equal(le32toh(config().speed), 25000);
	assert_int_equal(config().duplex, 1);
	assert_int_equal(le16toh(config().status), VIRTIO_NET_S_LINK_UP);
	assert_string_equal(nr_bridge, "xenbr0");
	assert_int_equal(vg_dev_config_write(&nr.tp.dev, 0, &b, 1), -EPERM);
	assert_int_equal(vg_dev_config_read(&nr.tp.dev, sizeof(struct net_config), &b, 1), -EINVAL);
	nr_close(&nr);
	/* Without mtu=, what the link says. Without mac=, one of Xen's, and not always the same. */
	nr_mtu = 1400;
	nr_open(&nr, TP_COPY, "net");
	nr_mtu = 1500;
	assert_int_equal(le16toh(config().mtu), 1400);
	assert_memory_equal(config().mac, "\x00\x16\x3e", 3);
	memcpy(want.data, config().mac, 6);
	nr_close(&nr);
	nr_open(&nr, TP_COPY, "net");
	assert_memory_not_equal(config().mac, want.data, 6);
	nr_close(&nr);
}

/* ---- transmission ------------------------------------------------------- */

static const struct virtio_net_hdr_v1 plain;

static void check_sent(const struct nr_frame *f, size_t len, const struct virtio_net_hdr_v1 *h)
{
	assert_int_equal(nr_wire_get(&nr, 0, &got), len);
	assert_memory_equal(&got.h, h, NET_HDR);
	assert_memory_equal(got.data, f->data, len);
}

static void transmit(enum tp_manner manner, uint64_t features)
{
	static const size_t lens[] = { 14, 15, 60, 64, 243, 244, 245, 257, 999, 1514, 1518, 1522 };

	nr_up(&nr, manner, SPEC, features);
	for (size_t i = 0; i < COUNT(lens); i++) {
		nr_ethernet(&want, lens[i]);
		nr_send(&nr, &want, lens[i]);
		check_sent(&want, lens[i], &plain);
		/* Header and frame in one descriptor; cut anywhere; in many pieces. */
		nr_send_cut(&nr, 1, &want, lens[i], NULL, 0);
		check_sent(&want, lens[i], &plain);
		for (uint32_t at = 1; at < lens[i] + NET_HDR; at += 61) {
			const uint32_t cuts[] = { at, at + 1, at + 7 };

			nr_send_cut(&nr, 1, &want, lens[i], cuts, 3);
			check_sent(&want, lens[i], &plain);
		}
	}
	assert_int_equal(dh_stats(&nr.tp.dev).errors, 0);
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

static void test_transmit_split(void **state)
{
	(void)state;
	transmit(TP_DIRECT, split);
	transmit(TP_COPY, split);
	transmit(TP_COPY, split & ~VG_FEATURE(VG_F_EVENT_IDX));
}

static void test_transmit_packed(void **state)
{
	(void)state;
	transmit(TP_DIRECT, TP_ALL);
	transmit(TP_COPY, TP_ALL & ~VG_FEATURE(VG_F_IN_ORDER));
}

/* A short frame goes back before the link has it; a long one, which may be sent from where it lies,
 * when it has. */
static void back_at_once(enum tp_manner manner)
{
	struct drv_used used;
	size_t len;

	nr_up(&nr, manner, SPEC, TP_ALL);
	nr_ethernet(&want, 1514);
	nr_add(&nr, 1, &want, 1514, NULL, 0);
	tp_kick(&nr.tp, 1);
	tp_wait(&nr.tp, 1, &used);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	nr_settle(&nr);
	check_sent(&want, 1514, &plain);
	len = nr_packet(&want, false, IPPROTO_TCP, 0, NET_TX_COPY, 1000);
	nr_add(&nr, 1, &want, len, NULL, 0);
	tp_kick(&nr.tp, 1);
	tp_wait(&nr.tp, 1, &used);
	assert_int_equal(nr_wire_get(&nr, 0, &got), len);
	assert_memory_equal(got.data, want.data, len);
	assert_int_equal(dh_stats(&nr.tp.dev).requests, 2);
	nr_close(&nr);
}

static void test_back_at_once(void **state)
{
	(void)state;
	back_at_once(TP_DIRECT);
	back_at_once(TP_COPY);
}

/* As many pieces as Linux has, and more: more than there are iovecs beside the request. */
static void many_pieces(enum tp_manner manner)
{
	uint32_t cuts[48];

	nr_up(&nr, manner, SPEC, TP_ALL);
	nr_ethernet(&want, 1514);
	for (unsigned i = 0; i < COUNT(cuts); i++)
		cuts[i] = (i + 1) * 31;
	nr_send_cut(&nr, 1, &want, 1514, cuts, COUNT(cuts));
	check_sent(&want, 1514, &plain);
	nr_close(&nr);
}

static void test_transmit_many_pieces(void **state)
{
	(void)state;
	many_pieces(TP_DIRECT);
	many_pieces(TP_COPY);
}

/* More at once than the link may have, in order. */
static void transmit_many(enum tp_manner manner)
{
	static struct drv_buf buf[60];
	unsigned sent = 0, seen = 0, back = 0;
	struct drv_used used;

	nr_up(&nr, manner, SPEC, TP_ALL);
	for (unsigned i = 0; i < COUNT(buf); i++)
		assert_int_equal(drv_alloc(&nr.tp.flat.mem, 200, 16, false, &buf[i]), 0);
	while (seen < 1000) {
		for (unsigned i = sent - back; i < COUNT(buf) && sent < 1000; i++) {
			struct drv_buf *b = &buf[sent % COUNT(buf)];
			struct drv_seg seg = { b->addr, 112 };

			nr_ethernet(b->virt, 100);
			memcpy((uint8_t *)b->virt + NET_HDR + 20, &sent, sizeof(sent));
			assert_true(drv_vring_add(&nr.tp.vr[1], &seg, 1, NULL, 0, b, 0) >= 0);
			sent++;
		}
		tp_kick(&nr.tp, 1);
		vg_loop_turn(nr.tp.loop, false);
		while (drv_vring_get(&nr.tp.vr[1], &used) == 1)
			back++;
		while (nr_wire_get(&nr, 0, &got) == 100) {
			assert_memory_equal(got.data + 20, &seen, sizeof(seen));
			seen++;
		}
	}
	for (unsigned i = 0; i < COUNT(buf); i++)
		drv_free(&nr.tp.flat.mem, &buf[i]);
	nr_close(&nr);
}

static void test_transmit_many(void **state)
{
	(void)state;
	transmit_many(TP_DIRECT);
	transmit_many(TP_COPY);
}

/* The checksum is left to the host, at its place. */
static void test_checksum(void **state)
{
	size_t len = nr_packet(&want, false, IPPROTO_UDP, 0, 100, 0);

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	want.h.hdr_len = htole16(999); /* of no use: computed */
	want.h.num_buffers = htole16(77);
	want.h.flags |= VIRTIO_NET_HDR_F_DATA_VALID | 0x80;
	nr_send(&nr, &want, len);
	want.h.hdr_len = want.h.num_buffers = 0;
	want.h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	check_sent(&want, len, &want.h);
	nr_close(&nr);
	nr_up(&nr, TP_COPY, SPEC,
	      TP_ALL & ~F(CSUM) & ~F(HOST_TSO4) & ~F(HOST_TSO6) & ~F(HOST_USO) & ~F(HOST_ECN));
	nr_send(&nr, &want, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	nr_says(&nr, "tx-csum=1");
	nr_close(&nr);
}

static void segmentation(enum tp_manner manner)
{
	static const struct {
		bool v6;
		uint8_t l4;
		unsigned vlans;
		uint64_t feature;
	} kinds[] = {
		{ false, IPPROTO_TCP, 0, F(HOST_TSO4) }, { true, IPPROTO_TCP, 0, F(HOST_TSO6) },
		{ false, IPPROTO_TCP, 1, F(HOST_TSO4) }, { true, IPPROTO_TCP, 2, F(HOST_TSO6) },
		{ false, IPPROTO_UDP, 0, F(HOST_USO) },	 { true, IPPROTO_UDP, 1, F(HOST_USO) },
	};

	for (unsigned i = 0; i < COUNT(kinds); i++) {
		struct virtio_net_hdr_v1 h;
		size_t len =
			nr_packet(&want, kinds[i].v6, kinds[i].l4, kinds[i].vlans, 60000, 1400);

		nr_up(&nr, manner, SPEC, TP_ALL);
		h = want.h;
		h.hdr_len = htole16((uint16_t)(len - 60000));
		want.h.hdr_len = htole16(17);
		nr_send(&nr, &want, len);
		check_sent(&want, len, &h);
		/* ECN belongs to TCP. */
		want.h.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		h.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		nr_send(&nr, &want, len);
		if (kinds[i].l4 == IPPROTO_TCP)
			check_sent(&want, len, &h);
		else
			assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
		/* What is one segment is no case for it. */
		len = nr_packet(&want, kinds[i].v6, kinds[i].l4, kinds[i].vlans, 1400, 1400);
		h = want.h;
		h.gso_type = 0;
		h.gso_size = 0;
		nr_send(&nr, &want, len);
		check_sent(&want, len, &h);
		nr_close(&nr);

		len = nr_packet(&want, kinds[i].v6, kinds[i].l4, kinds[i].vlans, 60000, 1400);
		nr_up(&nr, manner, SPEC, TP_ALL & ~kinds[i].feature & ~F(HOST_ECN) & ~F(HOST_USO));
		nr_send(&nr, &want, len);
		assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
		nr_says(&nr, "tx-gso=1");
		nr_close(&nr);
	}
}

static void test_segmentation(void **state)
{
	(void)state;
	segmentation(TP_DIRECT);
	segmentation(TP_COPY);
}

/* IPv6 extension headers before TCP. */
static void test_extension_headers(void **state)
{
	size_t len = nr_packet(&want, true, IPPROTO_TCP, 0, 20000, 1000);
	uint8_t *ip = want.data + NET_ETH;
	struct virtio_net_hdr_v1 h;

	(void)state;
	memmove(ip + 40 + 24, ip + 40, len - NET_ETH - 40);
	memset(ip + 40, 0, 24);
	ip[6] = IPPROTO_HOPOPTS;
	ip[40] = IPPROTO_DSTOPTS; /* of 8 bytes, then one of 16 */
	ip[48] = IPPROTO_TCP;
	ip[49] = 1;
	want.h.csum_start = htole16(NET_ETH + 40 + 24);
	h = want.h;
	h.hdr_len = htole16(NET_ETH + 40 + 24 + 20);
	nr_up(&nr, TP_DIRECT, SPEC, TP_ALL);
	nr_send(&nr, &want, len + 24);
	check_sent(&want, len + 24, &h);
	nr_close(&nr);
}

/* ---- reception ---------------------------------------------------------- */

static void receive(enum tp_manner manner, uint64_t features)
{
	static const size_t lens[] = { 14, 60, 243, 1514, 4000, 65549 };

	for (size_t i = 0; i < COUNT(lens); i++) {
		bool fits = lens[i] + NET_HDR <= 1536;

		nr_up(&nr, manner, SPEC, features);
		nr_post(&nr, 0,
			fits || vg_dev_has(&nr.tp.dev, VIRTIO_NET_F_MRG_RXBUF) ? 1536 : 65562, 60);
		for (unsigned k = 0; k < 5; k++) {
			nr_ethernet(&want, lens[i]);
			want.data[13] = (uint8_t)k;
			want.h.num_buffers = htole16(0x5555); /* as a TAP leaves it: anything */
			nr_wire_put(&nr, 0, &want, lens[i]);
			assert_int_equal(nr_take(&nr, 0, &got), lens[i]);
			assert_memory_equal(got.data, want.data, lens[i]);
			assert_int_equal(le16toh(got.h.num_buffers),
					 vg_dev_has(&nr.tp.dev, VIRTIO_NET_F_MRG_RXBUF)
						 ? (lens[i] + NET_HDR + 1535) / 1536
						 : 1);
			got.h.num_buffers = 0;
			assert_memory_equal(&got.h, &plain, NET_HDR);
			if (lens[i] > 50000 && vg_dev_has(&nr.tp.dev, VIRTIO_NET_F_MRG_RXBUF))
				nr_post(&nr, 0, 1536, 43);
		}
		assert_false(nr_broken(&nr));
		assert_int_equal(dh_stats(&nr.tp.dev).bytes_read, 5 * lens[i]);
		nr_close(&nr);
	}
}

static void test_receive_split(void **state)
{
	(void)state;
	receive(TP_DIRECT, split);
	receive(TP_COPY, split);
	receive(TP_COPY, split & no_merge);
	receive(TP_COPY, split & ~VG_FEATURE(VG_F_EVENT_IDX));
}

static void test_receive_packed(void **state)
{
	(void)state;
	receive(TP_DIRECT, TP_ALL);
	receive(TP_COPY, TP_ALL & no_merge);
	receive(TP_COPY, TP_ALL & ~VG_FEATURE(VG_F_IN_ORDER));
}

/* What the host left unfinished reaches the guest only as far as it can finish it. */
static void test_receive_unfinished(void **state)
{
	(void)state;
	nr_packet(&want, false, IPPROTO_TCP, 0, 3000, 1000);
	want.h.flags |= 0x70;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	assert_int_equal(nr.link->offloads, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN |
						    TUN_F_USO4 | TUN_F_USO6);
	nr_post(&nr, 0, 1536, 10);
	nr_wire_put(&nr, 0, &want, 3054);
	assert_int_equal(nr_take(&nr, 0, &got), 3054);
	assert_int_equal(got.h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(got.h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(le16toh(got.h.gso_size), 1000);
	nr_close(&nr);
	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~NET_GUEST_OFFLOADS & ~F(CTRL_GUEST_OFFLOADS));
	assert_int_equal(nr.link->offloads, 0);
	/* What a link says nevertheless is not passed on. */
	nr_post(&nr, 0, 1536, 1);
	nr_wire_put(&nr, 0, &want, 100);
	assert_int_equal(nr_take(&nr, 0, &got), 100);
	assert_int_equal(got.h.flags, 0);
	nr_close(&nr);
	/* The kernel takes both kinds of UDP segmentation, or none. */
	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~F(GUEST_USO6) & ~F(GUEST_TSO6));
	assert_int_equal(nr.link->offloads, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN);
	nr_close(&nr);
}

/* Frames wait for buffers, in order; a frame takes them as they come. */
static void test_receive_waits(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	for (unsigned i = 0; i < 100; i++) {
		nr_ethernet(&want, 100);
		want.data[13] = (uint8_t)i;
		nr_wire_put(&nr, 0, &want, 100);
	}
	nr_silent(&nr, 0);
	for (unsigned i = 0; i < 100; i++) {
		nr_post(&nr, 0, 200, 1);
		assert_int_equal(nr_take(&nr, 0, &got), 100);
		assert_int_equal(got.data[13], i);
	}
	nr_ethernet(&want, 1000);
	nr_wire_put(&nr, 0, &want, 1000);
	for (unsigned i = 0; i < 5; i++) {
		nr_post(&nr, 0, 200, 1);
		nr_silent(&nr, 0);
	}
	nr_post(&nr, 0, 200, 1);
	assert_int_equal(nr_take(&nr, 0, &got), 1000);
	assert_memory_equal(got.data, want.data, 1000);
	assert_int_equal(le16toh(got.h.num_buffers), 6);
	nr_close(&nr);
}

/* Faster than turns: all of them come, in order. */
static void receive_many(enum tp_manner manner, uint64_t features)
{
	unsigned put = 0, seen = 0;

	nr_up(&nr, manner, SPEC, features);
	nr_post(&nr, 0, 300, 60);
	while (seen < 2000) {
		for (; put < 2000 && put - seen < 50; put++) {
			nr_ethernet(&want, 200);
			memcpy(want.data + 20, &put, sizeof(put));
			nr_wire_put(&nr, 0, &want, 200);
		}
		for (unsigned n = 1 + seen % 40; n && seen < put; n--) {
			struct drv_used used;
			struct drv_buf *b;
			struct drv_seg seg;

			tp_wait(&nr.tp, 0, &used);
			b = used.cookie;
			assert_int_equal(used.len, NET_HDR + 200);
			assert_memory_equal((uint8_t *)b->virt + NET_HDR + 20, &seen, sizeof(seen));
			seen++;
			seg = (struct drv_seg){ b->addr, 300 };
			assert_true(drv_vring_add(&nr.tp.vr[0], NULL, 0, &seg, 1, b, 0) >= 0);
			tp_kick(&nr.tp, 0);
		}
	}
	nr_close(&nr);
}

static void test_receive_many(void **state)
{
	(void)state;
	receive_many(TP_DIRECT, TP_ALL);
	receive_many(TP_COPY, split);
	receive_many(TP_COPY, TP_ALL & no_merge);
}

/* ---- the control queue -------------------------------------------------- */

enum { CTL = 2 }; /* with one pair, or without MQ */

static int mode(uint8_t cmd, uint8_t on)
{
	return nr_control(&nr, CTL, VIRTIO_NET_CTRL_RX, cmd, &on, 1);
}

/* Does a frame to this address, with this tag unless it is negative, come through? */
static bool comes(const char *to, int vlan)
{
	struct drv_used used;

	nr_ethernet(&want, 100);
	memcpy(want.data, to, 6);
	if (vlan >= 0) {
		nr_put16(want.data + 12, ETH_P_8021Q);
		nr_put16(want.data + 14, 0xe000 | (unsigned)vlan); /* with a priority */
	}
	nr_post(&nr, 0, 128, 1);
	nr_wire_put(&nr, 0, &want, 100);
	tp_settle(&nr.tp);
	if (drv_vring_get(&nr.tp.vr[0], &used) == 1)
		return true;
	/* It was filtered. One that passes takes the buffer back. */
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_OK);
	nr_wire_put(&nr, 0, &want, 100);
	tp_wait(&nr.tp, 0, &used);
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	return false;
}

#define OWN    "\x00\x16\x3e\x01\x02\x03"
#define OTHER  "\x00\x16\x3e\x09\x09\x09"
#define GROUP  "\x01\x00\x5e\x00\x00\x01"
#define GROUP2 "\x33\x33\x00\x00\x00\x01"
#define ALL    "\xff\xff\xff\xff\xff\xff"

static void test_rx_modes(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	/* Whoever says nothing gets everything. */
	assert_true(comes(OWN, -1) && comes(OTHER, -1) && comes(GROUP, -1) && comes(ALL, -1));
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_true(comes(OWN, -1) && comes(ALL, -1));
	assert_false(comes(OTHER, -1));
	assert_false(comes(GROUP, -1));
	nr_says(&nr, "rx-filtered=2");
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_ALLMULTI, 1), VIRTIO_NET_OK);
	assert_true(comes(GROUP, -1));
	assert_false(comes(OTHER, -1));
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_ALLUNI, 1), VIRTIO_NET_OK);
	assert_true(comes(OTHER, -1));
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_NOMULTI, 1), VIRTIO_NET_OK);
	assert_false(comes(GROUP, -1));
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_NOUNI, 1), VIRTIO_NET_OK);
	assert_false(comes(OWN, -1));
	assert_true(comes(ALL, -1));
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_NOBCAST, 1), VIRTIO_NET_OK);
	assert_false(comes(ALL, -1));
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_NOUNI, 0), VIRTIO_NET_OK);
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_ALLUNI, 0), VIRTIO_NET_OK);
	assert_true(comes(OWN, -1));
	/* A reset forgets all of it. */
	nr_close(&nr);
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	assert_true(comes(OTHER, -1));
	nr_close(&nr);
}

/* A table of @n addresses, those of @table first. Return: bytes. */
static size_t put_table(uint8_t *p, uint32_t n, const char *table)
{
	uint32_t le = htole32(n);

	memcpy(p, &le, 4);
	for (uint32_t i = 0; i < n; i++) {
		memcpy(p + 4 + i * 6, i == 0 ? table : "\x02\x02\x02\x02\0\0", 6);
		p[4 + i * 6 + 5] = (uint8_t)(p[4 + i * 6 + 5] + (i ? i : 0));
	}
	return 4 + n * (size_t)6;
}

static int mac_tables(uint32_t uni, uint32_t multi)
{
	static uint8_t data[6000];
	size_t at = put_table(data, uni, OTHER);

	at += put_table(data + at, multi, GROUP);
	return nr_control(&nr, CTL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
			  (uint32_t)at);
}

static void test_mac_tables(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_int_equal(mac_tables(1, 1), VIRTIO_NET_OK);
	assert_true(comes(OTHER, -1) && comes(GROUP, -1) && comes(OWN, -1));
	assert_false(comes(GROUP2, -1));
	assert_int_equal(mac_tables(0, NET_MACS), VIRTIO_NET_OK);
	assert_false(comes(OTHER, -1));
	assert_true(comes(GROUP, -1));
	assert_false(comes(GROUP2, -1));
	/* More than we keep: all of that kind. */
	assert_int_equal(mac_tables(0, NET_MACS + 1), VIRTIO_NET_OK);
	assert_true(comes(GROUP2, -1));
	assert_false(comes(OTHER, -1));
	assert_int_equal(mac_tables(NET_MACS + 1, 0), VIRTIO_NET_OK);
	assert_true(comes("\x02\x77\x77\x77\x77\x77", -1));
	assert_false(comes(GROUP, -1));
	assert_int_equal(mac_tables(0, 0), VIRTIO_NET_OK);
	assert_false(comes(OTHER, -1));
	nr_close(&nr);
}

static void test_mac_address(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				    OTHER, 6),
			 VIRTIO_NET_OK);
	assert_memory_equal(config().mac, OTHER, 6);
	assert_true(comes(OTHER, -1));
	assert_false(comes(OWN, -1));
	assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				    GROUP, 6),
			 VIRTIO_NET_ERR);
	assert_memory_equal(config().mac, OTHER, 6);
	tp_reset(&nr.tp);
	assert_memory_equal(config().mac, OWN, 6);
	nr_close(&nr);
}

static int vlan_on(unsigned q, uint16_t id)
{
	id = htole16(id);
	return nr_control(&nr, q, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &id, 2);
}

static int vlan(uint8_t cmd, uint16_t id)
{
	id = htole16(id);
	return nr_control(&nr, CTL, VIRTIO_NET_CTRL_VLAN, cmd, &id, 2);
}

static void test_vlans(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	assert_true(comes(OWN, 7)); /* promiscuous */
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_false(comes(OWN, 7));
	assert_true(comes(OWN, -1));
	assert_int_equal(vlan(VIRTIO_NET_CTRL_VLAN_ADD, 7), VIRTIO_NET_OK);
	assert_int_equal(vlan(VIRTIO_NET_CTRL_VLAN_ADD, 4095), VIRTIO_NET_OK);
	assert_true(comes(OWN, 7) && comes(OWN, 4095));
	assert_false(comes(OTHER, 7));
	assert_false(comes(OWN, 8));
	assert_int_equal(vlan(VIRTIO_NET_CTRL_VLAN_DEL, 7), VIRTIO_NET_OK);
	assert_false(comes(OWN, 7));
	assert_int_equal(vlan(VIRTIO_NET_CTRL_VLAN_ADD, 4096), VIRTIO_NET_ERR);
	nr_close(&nr);
	/* Whoever cannot say gets them all. */
	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~F(CTRL_VLAN));
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_true(comes(OWN, 7));
	assert_int_equal(vlan(VIRTIO_NET_CTRL_VLAN_ADD, 7), VIRTIO_NET_ERR);
	nr_close(&nr);
}

static void test_announce(void **state)
{
	unsigned changes;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	assert_int_equal(le16toh(config().status), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	changes = nr.tp.config_changes;
	assert_true(changes >= 1);
	assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_ANNOUNCE,
				    VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
			 VIRTIO_NET_OK);
	assert_int_equal(le16toh(config().status), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(nr.tp.config_changes, changes);
	nr_close(&nr);
	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~F(GUEST_ANNOUNCE));
	assert_int_equal(le16toh(config().status), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_ANNOUNCE,
				    VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
			 VIRTIO_NET_ERR);
	nr_close(&nr);
	/* Whoever cannot answer is not asked. */
	nr_up(&nr, TP_COPY, SPEC, F(GUEST_ANNOUNCE));
	assert_int_equal(le16toh(config().status), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(nr.tp.config_changes, 0);
	nr_close(&nr);
}

static int offloads(uint64_t bits)
{
	bits = htole64(bits);
	return nr_control(&nr, CTL, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
			  VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &bits, 8);
}

static void test_offloads(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~F(GUEST_USO4) & ~F(GUEST_USO6));
	assert_int_equal(offloads(0), VIRTIO_NET_OK);
	assert_int_equal(nr.link->offloads, 0);
	assert_int_equal(offloads(F(GUEST_CSUM) | F(GUEST_TSO6)), VIRTIO_NET_OK);
	assert_int_equal(nr.link->offloads, TUN_F_CSUM | TUN_F_TSO6);
	assert_int_equal(offloads(F(GUEST_CSUM) | F(GUEST_USO4) | F(GUEST_USO6)), VIRTIO_NET_ERR);
	assert_int_equal(offloads(F(CSUM)), VIRTIO_NET_ERR);
	nr.link->error = -EINVAL;
	assert_int_equal(offloads(0), VIRTIO_NET_ERR);
	nr.link->error = 0;
	assert_int_equal(nr.link->offloads, TUN_F_CSUM | TUN_F_TSO6);
	nr_close(&nr);
}

/* Long frames that wait behind one: where memory is direct, each is read to where it stays. */
static void receive_direct(enum tp_manner manner, uint64_t features)
{
	static const size_t lens[] = { 20000, 65000, 14, 40000, 60, 60, 16384, 30000 };
	struct net *net;

	nr_up(&nr, manner, SPEC, features);
	net = nr.tp.dev.priv;
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	nr_post(&nr, 0, 2048, 60);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < COUNT(lens); i++) {
			nr_ethernet(&want, lens[i]);
			memcpy(want.data + 13, &round, 1);
			nr_wire_put(&nr, 0, &want, lens[i]);
			memcpy(want.data, OTHER, 6); /* not wanted */
			nr_wire_put(&nr, 0, &want, lens[i]);
		}
		for (unsigned i = 0; i < COUNT(lens); i++) {
			unsigned used;

			nr_ethernet(&want, lens[i]);
			memcpy(want.data + 13, &round, 1);
			assert_int_equal(nr_take(&nr, 0, &got), lens[i]);
			assert_memory_equal(got.data, want.data, lens[i]);
			assert_int_equal(got.h.flags | got.h.gso_type, 0);
			used = le16toh(got.h.num_buffers);
			assert_int_equal(used, (NET_HDR + lens[i] + 2047) / 2048);
			nr_post(&nr, 0, 2048, used);
		}
	}
	tp_settle(&nr.tp);
	if (manner == TP_COPY)
		assert_int_equal(net->pair[0].rx.direct, 0);
	else
		assert_true(net->pair[0].rx.direct >= 8);
	nr_says(&nr, "rx-filtered=32");
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

static void test_receive_direct(void **state)
{
	(void)state;
	receive_direct(TP_DIRECT, TP_ALL);
	receive_direct(TP_DIRECT, split);
	receive_direct(TP_COPY, TP_ALL);
	/* Not where a frame has to lie in one buffer. */
	nr_up(&nr, TP_DIRECT, SPEC, no_merge);
	nr_post(&nr, 0, 70000, 4);
	for (unsigned i = 0; i < 4; i++) {
		nr_ethernet(&want, 60000);
		nr_wire_put(&nr, 0, &want, 60000);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(nr_take(&nr, 0, &got), 60000);
	assert_int_equal(((struct net *)nr.tp.dev.priv)->pair[0].rx.direct, 0);
	nr_close(&nr);
}

/* ---- several pairs ------------------------------------------------------ */

static int set_pairs(unsigned q, uint16_t n)
{
	n = htole16(n);
	return nr_control(&nr, q, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n, 2);
}

static void test_pairs(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",queues=3,threads=1", TP_ALL);
	assert_int_equal(nr.link->active, 1);
	assert_int_equal(set_pairs(6, 3), VIRTIO_NET_OK);
	assert_int_equal(nr.link->active, 3);
	nr_says(&nr, "pairs=3/3");
	for (unsigned i = 0; i < 3; i++) {
		nr_ethernet(&want, 100 + i);
		nr_send_cut(&nr, 2 * i + 1, &want, 100 + i, NULL, 0);
		assert_int_equal(nr_wire_get(&nr, i, &got), 100 + i);
		nr_post(&nr, 2 * i, 200, 1);
		nr_wire_put(&nr, i, &want, 100 + i);
		assert_int_equal(nr_take(&nr, 2 * i, &got), 100 + i);
	}
	assert_int_equal(set_pairs(6, 0), VIRTIO_NET_ERR);
	assert_int_equal(set_pairs(6, 4), VIRTIO_NET_ERR);
	assert_int_equal(nr.link->active, 3);
	assert_int_equal(set_pairs(6, 2), VIRTIO_NET_OK);
	assert_int_equal(nr.link->active, 2);
	nr_close(&nr);
	/* 5.1.2: without MQ the control queue is the third, whatever the device has. */
	nr_up(&nr, TP_COPY, SPEC ",queues=3,threads=1", TP_ALL & ~F(MQ));
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_int_equal(set_pairs(CTL, 2), VIRTIO_NET_ERR);
	nr_ethernet(&want, 100);
	nr_send(&nr, &want, 100);
	assert_int_equal(nr_wire_get(&nr, 0, &got), 100);
	nr_close(&nr);
}

static int coal(unsigned q, uint8_t cmd, uint32_t packets, uint32_t usecs)
{
	const struct net_coal c = { htole32(packets), htole32(usecs) };

	return nr_control(&nr, q, VIRTIO_NET_CTRL_NOTF_COAL, cmd, &c, sizeof(c));
}

static int coal_queue(unsigned ctl, unsigned q, uint32_t packets, uint32_t usecs)
{
	const struct net_coal_vq v = { htole16((uint16_t)q),
				       0xffff,
				       { htole32(packets), htole32(usecs) } };

	return nr_control(&nr, ctl, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &v,
			  sizeof(v));
}

/* What the device says of queue @q; behind the answer. */
static int coal_of(unsigned ctl, unsigned q, struct net_coal *c)
{
	uint8_t *p = nr.ctl.virt;
	const struct drv_seg out = { nr.ctl.addr, 6 };
	const struct drv_seg in[] = { { nr.ctl.addr + 8000, 1 }, { nr.ctl.addr + 8001, 8 } };
	struct drv_used used;

	p[0] = VIRTIO_NET_CTRL_NOTF_COAL;
	p[1] = VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET;
	p[2] = (uint8_t)q;
	p[3] = (uint8_t)(q >> 8);
	p[4] = p[5] = 0xff; /* reserved: ignored */
	memset(p + 8000, 0xff, 9);
	assert_true(drv_vring_add(&nr.tp.vr[ctl], &out, 1, in, 2, &nr, 0) >= 0);
	tp_kick(&nr.tp, ctl);
	tp_wait(&nr.tp, ctl, &used);
	assert_int_equal(used.len, p[8000] == VIRTIO_NET_OK ? 9 : 1);
	memcpy(c, p + 8001, sizeof(*c));
	*c = (struct net_coal){ le32toh(c->max_packets), le32toh(c->max_usecs) };
	return p[8000];
}

static void check_coal(unsigned ctl, unsigned q, uint32_t packets, uint32_t usecs)
{
	struct net_coal c;

	assert_int_equal(coal_of(ctl, q, &c), VIRTIO_NET_OK);
	assert_int_equal(c.max_packets, packets);
	assert_int_equal(c.max_usecs, usecs);
}

/* @n frames come to the first pair, one by one; the driver takes them then. Return: how often it was
 * told. */
static unsigned told_of(unsigned n)
{
	unsigned before = nr.tp.notified[0];

	for (unsigned i = 0; i < n; i++) {
		nr_ethernet(&want, 100);
		nr_wire_put(&nr, 0, &want, 100);
		tp_settle(&nr.tp);
	}
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(nr_take(&nr, 0, &got), 100);
	drv_vring_enable_cb(&nr.tp.vr[0]);
	return nr.tp.notified[0] - before;
}

#define HOUR_US 3600000000u
#define SOON_US 20000u

static void coalescing(enum tp_manner manner, uint64_t features)
{
	unsigned before;
	int64_t since;

	nr_up(&nr, manner, SPEC ",queues=2,threads=1", features);
	nr_post(&nr, 0, 200, 60);
	assert_int_equal(told_of(1), 1);
	assert_int_equal(coal(4, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 3, HOUR_US), VIRTIO_NET_OK);
	check_coal(4, 0, 3, HOUR_US);
	check_coal(4, 2, 3, HOUR_US);
	check_coal(4, 1, 0, 0);
	/* By number: of each three, once. */
	assert_int_equal(told_of(2), 0);
	assert_int_equal(told_of(1), 1);
	assert_int_equal(told_of(2), 0);
	assert_int_equal(told_of(1), 1);
	assert_int_equal(told_of(3), 1);
	/* Two wait, for three; two will do. */
	assert_int_equal(told_of(2), 0);
	before = nr.tp.notified[0];
	assert_int_equal(coal_queue(4, 0, 2, HOUR_US), VIRTIO_NET_OK);
	assert_int_equal(nr.tp.notified[0], before + 1);
	check_coal(4, 0, 2, HOUR_US);
	check_coal(4, 2, 3, HOUR_US);
	/* By time, also where that becomes shorter meanwhile. */
	since = vg_now_ns();
	assert_int_equal(told_of(1), 0);
	assert_int_equal(coal_queue(4, 0, 100, SOON_US), VIRTIO_NET_OK);
	while (nr.tp.notified[0] == before + 1) {
		assert_true(vg_now_ns() - since < 5 * NS_PER_S);
		assert_true(vg_loop_turn(nr.tp.loop, true) >= 0);
	}
	assert_true(vg_now_ns() - since >= SOON_US * INT64_C(1000));
	/* Nothing is owed when it is over; and either zero is the end of it. */
	assert_int_equal(coal_queue(4, 0, 100, HOUR_US), VIRTIO_NET_OK);
	assert_int_equal(told_of(1), 0);
	before = nr.tp.notified[0];
	assert_int_equal(coal_queue(4, 0, 100, 0), VIRTIO_NET_OK);
	assert_int_equal(nr.tp.notified[0], before + 1);
	assert_int_equal(told_of(1), 1);
	assert_int_equal(told_of(1), 1);
	nr_close(&nr);
}

static void test_coalescing(void **state)
{
	(void)state;
	coalescing(TP_COPY, split & ~VG_FEATURE(VG_F_EVENT_IDX));
	coalescing(TP_COPY, split);
	coalescing(TP_DIRECT, TP_ALL);
}

/* What is sent, too: a queue that is reset is told of what waits, and begins with its direction's. */
static void test_coalescing_life(void **state)
{
	static uint8_t saved[sizeof(struct net_saved)];
	struct vg_vq_state at;
	struct net_coal c;
	uint64_t features;
	unsigned before;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",queues=2,threads=1", TP_ALL);
	assert_int_equal(coal(4, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 50, HOUR_US), VIRTIO_NET_OK);
	assert_int_equal(coal_queue(4, 1, 8, HOUR_US), VIRTIO_NET_OK);
	before = nr.tp.notified[1];
	nr_ethernet(&want, 100);
	drv_vring_enable_cb(&nr.tp.vr[1]);
	nr_send(&nr, &want, 100);
	nr_send(&nr, &want, 100);
	assert_int_equal(nr.tp.notified[1], before);
	dh_reset_queue(&nr.tp.dev, 1, &at);
	assert_int_equal(nr.tp.notified[1], before + 1);
	/* It does not run now. */
	assert_int_equal(coal_of(4, 1, &c), VIRTIO_NET_ERR);
	assert_int_equal(coal_queue(4, 1, 1, 1), VIRTIO_NET_ERR);
	assert_int_equal(nr.tp.dev.saved_size, sizeof(saved));
	memcpy(saved, nr.tp.dev.saved, sizeof(saved));
	assert_int_equal(((struct net_saved *)(void *)saved)->coal[1].max_packets, 50);
	/* No queue that carries frames; sizes; what was not negotiated. */
	assert_int_equal(coal_queue(4, 4, 1, 1), VIRTIO_NET_ERR);
	assert_int_equal(coal_queue(4, 5, 1, 1), VIRTIO_NET_ERR);
	assert_int_equal(coal_queue(4, 0xffff, 1, 1), VIRTIO_NET_ERR);
	assert_int_equal(nr_control(&nr, 4, VIRTIO_NET_CTRL_NOTF_COAL,
				    VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, "1234567", 7),
			 VIRTIO_NET_ERR);
	assert_int_equal(coal(4, 4, 1, 1), VIRTIO_NET_ERR);
	/* A place for the answer, and none for what was asked: an answer. */
	assert_int_equal(nr_control(&nr, 4, VIRTIO_NET_CTRL_NOTF_COAL,
				    VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, "\0\0\0", 4),
			 VIRTIO_NET_ERR);
	features = nr.tp.dev.features;
	nr_close(&nr);

	nr_open(&nr, TP_COPY, SPEC ",queues=2,threads=1");
	vg_dev_resume(&nr.tp.dev, 15, features, 3, saved, sizeof(saved));
	vg_dev_resumed(&nr.tp.dev);
	assert_memory_equal(nr.tp.dev.saved + offsetof(struct net_saved, coal),
			    saved + offsetof(struct net_saved, coal),
			    sizeof(((struct net_saved *)0)->coal));
	dh_status(&nr.tp.dev, 0);
	nr_close(&nr);

	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~F(NOTF_COAL));
	assert_int_equal(coal(CTL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 1, 1), VIRTIO_NET_ERR);
	assert_int_equal(coal_queue(CTL, 0, 1, 1), VIRTIO_NET_OK);
	nr_close(&nr);
	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~F(VQ_NOTF_COAL));
	assert_int_equal(coal(CTL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 1, 1), VIRTIO_NET_OK);
	assert_int_equal(coal_queue(CTL, 0, 1, 1), VIRTIO_NET_ERR);
	nr_close(&nr);
}

struct kick {
	struct vg_call call;
	struct vg_dev *dev;
	unsigned q;
};

static void kick_there(struct vg_call *call)
{
	struct kick *k = container_of(call, struct kick, call);

	vg_dev_kick(k->dev, k->q);
	free(k);
}

/* A kick of a queue that another thread may have. */
static void kick(unsigned q)
{
	struct kick *k = calloc(1, sizeof(*k));

	k->call.fn = kick_there;
	k->dev = &nr.tp.dev;
	k->q = q;
	drv_vring_publish(&nr.tp.vr[q]);
	vg_ctx_call(nr.tp.dev.queue[q].ctx, &k->call);
}

/* A thread for each pair. The control queue is the main one's, with MQ and without. */
static void test_threads(void **state)
{
	struct drv_used used;
	struct vg_err err;
	struct drv_seg seg;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",queues=3", TP_ALL & ~F(MQ));
	assert_int_equal(nr.tp.dev.n_ctx, 3);
	assert_int_equal(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	nr_close(&nr);
	nr_up(&nr, TP_COPY, SPEC ",queues=3", TP_ALL);
	assert_int_equal(set_pairs(6, 3), VIRTIO_NET_OK);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 3; i++) {
			struct drv_buf *b = &nr.rx[i];
			int64_t end = vg_now_ns() + 5 * NS_PER_S;

			nr_ethernet(&want, 100 + i);
			memcpy(want.data + 6, OWN, 6);
			nr_add(&nr, 2 * i + 1, &want, 100 + i, NULL, 0);
			kick(2 * i + 1);
			tp_wait(&nr.tp, 2 * i + 1, &used);
			while (nr_wire_get(&nr, i, &got) != (ssize_t)(100 + i)) {
				assert_true(vg_now_ns() < end);
				vg_loop_turn(nr.tp.loop, false);
			}
			if (round == 0)
				assert_int_equal(drv_alloc(&nr.tp.flat.mem, 200, 16, true, b), 0);
			seg = (struct drv_seg){ b->addr, 200 };
			assert_true(drv_vring_add(&nr.tp.vr[2 * i], NULL, 0, &seg, 1, b, 0) >= 0);
			kick(2 * i);
			nr_wire_put(&nr, i, &want, 100 + i);
			assert_int_equal(nr_take(&nr, 2 * i, &got), 100 + i);
		}
		/* Filters, addresses, and how often it is told, change meanwhile. */
		assert_int_equal(
			nr.tp.dev.ops->set(&nr.tp.dev, "ip", round & 1 ? "" : "10.0.0.2", &err), 0);
		assert_int_equal(coal_queue(6, round % 6, round % 5, 100), VIRTIO_NET_OK);
		assert_int_equal(vlan_on(6, (uint16_t)round), VIRTIO_NET_OK);
	}
	nr.n_rx = 3;
	nr_close(&nr);
}

/* ---- the cable, the life ------------------------------------------------- */

static void test_link(void **state)
{
	struct vg_err err;
	unsigned changes;

	(void)state;
	nr_open(&nr, TP_COPY, SPEC);
	assert_false(nr.link->carrier);
	tp_start(&nr.tp, TP_ALL, 64);
	assert_true(nr.link->carrier);
	changes = nr.tp.config_changes;
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "link", "down", &err), 0);
	assert_false(nr.link->carrier);
	assert_false(le16toh(config().status) & VIRTIO_NET_S_LINK_UP);
	assert_int_equal(nr.tp.config_changes, changes + 1);
	nr_says(&nr, "fake0=down");
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "link", "down", &err), 0);
	assert_int_equal(nr.tp.config_changes, changes + 1);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "link", "up", &err), 0);
	assert_true(nr.link->carrier);
	assert_true(le16toh(config().status) & VIRTIO_NET_S_LINK_UP);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "link", "left", &err), -EINVAL);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "mac", OWN, &err), -ENOENT);
	/* The host sees a driver go. */
	tp_reset(&nr.tp);
	assert_false(nr.link->carrier);
	nr_close(&nr);
	nr_up(&nr, TP_COPY, SPEC ",link=down", TP_ALL);
	assert_false(nr.link->carrier);
	nr_close(&nr);
}

/* Of a link whose carrier is not ours, frames are dropped here, and old ones thrown away. */
static void test_no_carrier(void **state)
{
	struct vg_err err;

	(void)state;
	nr_macvtap = true;
	nr_open(&nr, TP_COPY, SPEC);
	nr_ethernet(&want, 100);
	nr_wire_put(&nr, 0, &want, 100);
	nr_wire_put(&nr, 0, &want, 1514);
	tp_start(&nr.tp, TP_ALL, 64);
	nr_post(&nr, 0, 1536, 8);
	nr_ethernet(&want, 99);
	nr_wire_put(&nr, 0, &want, 99);
	assert_int_equal(nr_take(&nr, 0, &got), 99);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "link", "down", &err), 0);
	nr_send(&nr, &want, 99);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	nr_says(&nr, "tx-down=1");
	nr_wire_put(&nr, 0, &want, 99);
	nr_settle(&nr);
	nr_says(&nr, "rx-filtered=1");
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "link", "up", &err), 0);
	nr_send(&nr, &want, 99);
	check_sent(&want, 99, &plain);
	nr_ethernet(&want, 98);
	nr_wire_put(&nr, 0, &want, 98);
	assert_int_equal(nr_take(&nr, 0, &got), 98);
	/* What is for another address would not come: it is not taken on. */
	assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				    OTHER, 6),
			 VIRTIO_NET_ERR);
	assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				    config().mac, 6),
			 VIRTIO_NET_OK);
	nr_close(&nr);
	nr_macvtap = false;
}

static void test_rate_words(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
		int64_t burst;
	} good[] = {
		{ "0", 0, 0 },
		{ "10Mb/s", 1250000, 50000000 },
		{ "250KB/s", 250000, 50000000 },
		{ "1GB/s@20ms", 1000000000, 20000000 },
		{ "8b/s@1s", 1, 1000000000 },
		{ "100B/s@10us", 100, 10000 },
		{ "1000Gb/s", 125000000000, 50000000 },
	};
	static const char *const bad[] = {
		"",
		"10",
		"Mb/s",
		"10Mb",
		"10mb/s",
		"10Mb/s@",
		"-1Mb/s",
		"10Mb/s@20",
		"10Mb/s@0ms",
		"10Mb/s@2s",
		"10Mb/s@20ms ",
		"7b/s",
		"0Mb/s",
		"2000GB/s",
		"10MMb/s",
		"10Mb/s@20min",
		"99999999999999999999b/s",
		"10 Mb/s",
		"10Mb/s@ 20ms",
	};
	struct vg_rate r = { 0 };
	struct vg_err err;

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_int_equal(net_rate_set(&r, good[i].text, &err), 0);
		assert_int_equal(r.per_s, good[i].bytes);
		assert_int_equal(r.burst, good[i].burst);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (net_rate_set(&r, bad[i], &err) != -EINVAL)
			fail_msg("rate=%s", bad[i]);
	}
	assert_int_equal(r.per_s, 125000000000); /* as it was */
}

/* A second of sending as fast as is allowed carries what the rate says, and the burst. */
static void test_rate_bucket(void **state)
{
	struct vg_rate r = { 0 };
	uint64_t sent = 0;
	int64_t now = 5 * NS_PER_S, end = now + NS_PER_S;

	(void)state;
	assert_int_equal(vg_rate_wait(&r, now), 0); /* no limit */
	vg_rate_take(&r, 1 << 30, now);
	assert_int_equal(vg_rate_wait(&r, now), 0);
	assert_int_equal(net_rate_set(&r, "1MB/s@20ms", NULL), 0);
	while (now < end) {
		int64_t wait = vg_rate_wait(&r, now);

		if (wait) {
			now += wait;
			continue;
		}
		sent += 1500;
		vg_rate_take(&r, 1500, now);
	}
	assert_in_range(sent, 1000000, 1000000 + 20000 + 1500);
	/* What was not sent while nothing was to be sent is not saved up. */
	now += 10 * NS_PER_S;
	for (sent = 0; vg_rate_wait(&r, now) == 0; sent += 1500)
		vg_rate_take(&r, 1500, now);
	assert_in_range(sent, 20000, 20000 + 1500);
}

static void test_rate(void **state)
{
	int64_t begin = vg_now_ns();
	struct vg_err err;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",rate=100KB/s@10ms", TP_ALL);
	for (unsigned i = 0; i < 20; i++) {
		nr_ethernet(&want, 1000);
		nr_send(&nr, &want, 1000);
		check_sent(&want, 1000, &plain);
	}
	/* 20000 bytes less the burst of 1000 and the last frame. */
	assert_true(vg_now_ns() - begin >= 180000000);
	/* A slow one that waits hears of a change. */
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "rate", "8b/s", &err), 0);
	nr_send(&nr, &want, 1000);
	nr_add(&nr, 1, &want, 1000, NULL, 0);
	tp_kick(&nr.tp, 1);
	tp_settle(&nr.tp);
	check_sent(&want, 1000, &plain);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "rate", "0", &err), 0);
	begin = vg_now_ns();
	while (nr_wire_get(&nr, 0, &got) < 0) {
		vg_loop_turn(nr.tp.loop, false);
		assert_true(vg_now_ns() - begin < 5 * NS_PER_S);
	}
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "rate", "fast", &err), -EINVAL);
	nr_close(&nr);
}

static void test_antispoof(void **state)
{
	struct vg_err err;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",antispoof", TP_ALL);
	nr_ethernet(&want, 100); /* from another address */
	nr_send(&nr, &want, 100);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	nr_says(&nr, "tx-spoofed=1");
	memcpy(want.data + 6, OWN, 6);
	nr_send(&nr, &want, 100);
	check_sent(&want, 100, &plain);
	/* Also not with one that the guest has given itself. */
	assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				    OTHER, 6),
			 VIRTIO_NET_OK);
	memcpy(want.data + 6, OTHER, 6);
	nr_send(&nr, &want, 100);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "antispoof", "0", &err), 0);
	nr_send(&nr, &want, 100);
	check_sent(&want, 100, &plain);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "antispoof", "maybe", &err), -EINVAL);
	nr_close(&nr);
}

/* `ip=`: from other addresses of IP nothing is sent, nor from another card's. */
static void test_addresses(void **state)
{
	struct vg_err err;
	size_t len;

	(void)state;
	nr_up(&nr, TP_DIRECT, SPEC ",ip=10.0.0.2 10.0.0.3", TP_ALL);
	len = nr_packet(&want, false, IPPROTO_UDP, 0, 100, 0);
	memcpy(want.data + 6, OWN, 6);
	memcpy(want.data + NET_ETH + 12, "\x0a\0\0\x04", 4);
	nr_send(&nr, &want, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	nr_says(&nr, "tx-spoofed=1");
	want.data[NET_ETH + 15] = 3;
	nr_send(&nr, &want, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), len);
	want.data[6 + 5] ^= 1;
	nr_send(&nr, &want, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	want.data[6 + 5] ^= 1;
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "ip", "10.0.0.2", &err), 0);
	nr_send(&nr, &want, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "ip", "10.0.0.2.1", &err), -EINVAL);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "ip", "", &err), 0);
	nr_send(&nr, &want, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), len);
	nr_close(&nr);
}

/* Stopped with a read under way, frames that wait, buffers held: the buffers are the ring's again. */
static void queue_reset(enum tp_manner manner, uint64_t features)
{
	struct vg_vq_state at;

	nr_up(&nr, manner, SPEC, features);
	nr_post(&nr, 0, 200, 5);
	nr_ethernet(&want, 100);
	nr_wire_put(&nr, 0, &want, 100);
	assert_int_equal(nr_take(&nr, 0, &got), 100);
	dh_reset_queue(&nr.tp.dev, 0, &at);
	/* One was used: four are still available. */
	assert_int_equal(at.avail_idx, 1);
	assert_int_equal(at.used_idx, 1);
	nr_add(&nr, 1, &want, 100, NULL, 0);
	tp_kick(&nr.tp, 1);
	dh_reset_queue(&nr.tp.dev, 1, &at);
	assert_int_equal(nr.tp.dev.status & VG_STATUS_NEEDS_RESET, 0);
	nr_close(&nr);
}

/* The read that is under way is one to the buffers. */
static void queue_reset_aimed(uint64_t features)
{
	const struct net *net;
	struct vg_vq_state at;

	nr_up(&nr, TP_DIRECT, SPEC, features);
	net = nr.tp.dev.priv;
	nr_post(&nr, 0, 2048, 60);
	nr_ethernet(&want, 20000);
	nr_wire_put(&nr, 0, &want, 20000);
	assert_int_equal(nr_take(&nr, 0, &got), 20000);
	tp_settle(&nr.tp);
	assert_true(net->pair[0].rx.aim.n > 1);
	dh_reset_queue(&nr.tp.dev, 0, &at);
	assert_int_equal(at.avail_idx, 10);
	assert_int_equal(at.used_idx, 10);
	assert_int_equal(net->pair[0].rx.aim.n, 0);
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

static void test_queue_reset(void **state)
{
	(void)state;
	queue_reset_aimed(split);
	queue_reset_aimed(TP_ALL);
	queue_reset(TP_COPY, split);
	queue_reset(TP_DIRECT, TP_ALL & ~VG_FEATURE(VG_F_IN_ORDER));
	queue_reset(TP_COPY, TP_ALL);
}

/* 5.1.4.1: what a driver was told of the MTU stays, until it starts anew. */
static void test_mtu_stays(void **state)
{
	static const char *const wrong[] = { "67", "70000", "abc", "", "-1" };
	static uint8_t saved[sizeof(struct net_saved)];
	struct vg_err err;
	uint64_t features;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	for (unsigned i = 0; i < COUNT(wrong); i++) {
		assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "mtu", wrong[i], &err), -EINVAL);
		assert_non_null(strstr(err.text, "from 68 to 65521"));
	}
	assert_false(nr.tp.dev.outdated);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "mtu", "9000", &err), 0);
	assert_true(nr.tp.dev.outdated); /* another worker has it then */
	assert_int_equal(le16toh(config().mtu), 1500);
	memcpy(saved, nr.tp.dev.saved, sizeof(saved));
	features = nr.tp.dev.features;
	nr_close(&nr);

	nr_open(&nr, TP_COPY, SPEC ",mtu=9000");
	vg_dev_resume(&nr.tp.dev, 15, features, 3, saved, sizeof(saved));
	vg_dev_resumed(&nr.tp.dev);
	assert_int_equal(le16toh(config().mtu), 1500);
	nr_says(&nr, "mtu=9000"); /* the link's */
	dh_status(&nr.tp.dev, 0);
	assert_int_equal(le16toh(config().mtu), 9000);
	nr_close(&nr);

	nr_up(&nr, TP_COPY, SPEC ",tap=theirs", TP_ALL);
	assert_int_equal(nr.tp.dev.ops->set(&nr.tp.dev, "mtu", "9000", &err), -EINVAL);
	assert_non_null(strstr(err.text, "used as it is"));
	nr_close(&nr);
}

/* A successor knows what the driver had set, and asks it to announce itself. */
static void test_successor(void **state)
{
	static uint8_t saved[sizeof(struct net_saved)];
	uint64_t features;
	size_t size;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",queues=2,threads=1", TP_ALL);
	assert_int_equal(set_pairs(4, 2), VIRTIO_NET_OK);
	assert_int_equal(nr_control(&nr, 4, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				    OTHER, 6),
			 VIRTIO_NET_OK);
	assert_int_equal(nr_control(&nr, 4, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK,
				    NULL, 0),
			 VIRTIO_NET_OK);
	size = nr.tp.dev.saved_size;
	assert_int_equal(size, sizeof(saved));
	memcpy(saved, nr.tp.dev.saved, size);
	features = nr.tp.dev.features;
	nr_close(&nr);

	nr_open(&nr, TP_COPY, SPEC ",queues=2,threads=1");
	vg_dev_resume(&nr.tp.dev, 15, features, 3, saved, size);
	vg_dev_resumed(&nr.tp.dev);
	assert_int_equal(nr.link->active, 2);
	assert_true(nr.link->carrier);
	assert_true(nr.link->offloads & TUN_F_TSO4);
	assert_memory_equal(config().mac, OTHER, 6);
	assert_true(le16toh(config().status) & VIRTIO_NET_S_ANNOUNCE);
	dh_status(&nr.tp.dev, 0);
	assert_memory_equal(config().mac, OWN, 6);
	nr_close(&nr);
}

/* ---- captures ----------------------------------------------------------- */

static struct {
	struct vg_capture_head head;
	uint8_t data[NET_FRAME_MAX];
} copy;

/* Who listens to what passes. Return: its end. */
static int captures(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	nr.tp.dev.ops->capture(&nr.tp.dev, pair[1]);
	return pair[0];
}

static void assert_captured(int fd, const struct nr_frame *f, size_t len)
{
	assert_int_equal(recv(fd, &copy, sizeof(copy), 0), sizeof(copy.head) + len);
	assert_int_equal(copy.head.len, len);
	assert_int_equal(copy.head.link, VG_CAPTURE_ETHERNET);
	assert_memory_equal(copy.data, f->data, len);
}

/* Copied, and mapped in pieces; both ways; not what is dropped. */
static void test_capture(void **state)
{
	static const size_t sizes[] = { 60, 1514, 40000 };
	static const enum tp_manner manners[] = { TP_COPY, TP_DIRECT };
	static const uint32_t cuts[] = { NET_HDR, 100, 5000 };
	int fd;

	(void)state;
	for (size_t m = 0; m < COUNT(manners); m++) {
		nr_up(&nr, manners[m], SPEC ",antispoof", TP_ALL);
		fd = captures();
		for (size_t i = 0; i < COUNT(sizes); i++) {
			size_t len = sizes[i] > 1514 ? nr_packet(&want, false, IPPROTO_TCP, 0,
								 sizes[i], 1448)
						     : (nr_ethernet(&want, sizes[i]), sizes[i]);

			memcpy(want.data + 6, "\0\x16\x3e\1\2\3", 6);
			nr_send_cut(&nr, 1, &want, len, cuts, COUNT(cuts));
			assert_captured(fd, &want, len);
		}
		nr_ethernet(&want, 60); /* another's address */
		nr_send(&nr, &want, 60);
		nr_says(&nr, "tx-spoofed=1");
		nr_post(&nr, 0, 1536, 4);
		nr_wire_put(&nr, 0, &want, 300);
		nr_take(&nr, 0, &got);
		assert_captured(fd, &want, 300);
		nr_wire_get(&nr, 0, &got);
		/* Who hangs up is forgotten, and nothing is the matter. */
		close(fd);
		nr_wire_put(&nr, 0, &want, 200);
		nr_take(&nr, 0, &got);
		assert_false(vg_capture_on(&((struct net *)nr.tp.dev.priv)->pair[0].capture));
		nr_close(&nr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_features_follow_configuration),
		cmocka_unit_test(test_configuration_errors),
		cmocka_unit_test(test_config_space),
		cmocka_unit_test(test_transmit_split),
		cmocka_unit_test(test_transmit_packed),
		cmocka_unit_test(test_back_at_once),
		cmocka_unit_test(test_transmit_many_pieces),
		cmocka_unit_test(test_transmit_many),
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_segmentation),
		cmocka_unit_test(test_extension_headers),
		cmocka_unit_test(test_receive_split),
		cmocka_unit_test(test_receive_packed),
		cmocka_unit_test(test_receive_unfinished),
		cmocka_unit_test(test_receive_waits),
		cmocka_unit_test(test_receive_many),
		cmocka_unit_test(test_receive_direct),
		cmocka_unit_test(test_rx_modes),
		cmocka_unit_test(test_mac_tables),
		cmocka_unit_test(test_mac_address),
		cmocka_unit_test(test_vlans),
		cmocka_unit_test(test_announce),
		cmocka_unit_test(test_offloads),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_coalescing),
		cmocka_unit_test(test_coalescing_life),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_no_carrier),
		cmocka_unit_test(test_rate_words),
		cmocka_unit_test(test_rate_bucket),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_antispoof),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_queue_reset),
		cmocka_unit_test(test_mtu_stays),
		cmocka_unit_test(test_successor),
		cmocka_unit_test(test_capture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
