// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net_hostile.c - the network device and a guest that wants to break it, or the host
 *
 * What comes out of the link is what the host's stack is told: nothing may come out
 * there that no cable could bring (XSA-423 and its kind).
 */
#include "backend/devices/net/int.h"
#include "tests/rigs/net_rig.h"

#define SPEC "net,mac=" NR_MAC

enum { CTL = 2 };

static struct nr nr;
static struct nr_frame f, got;

static void not_sent(size_t len, const char *says)
{
	nr_send(&nr, &f, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	nr_says(&nr, says);
	assert_false(nr_broken(&nr));
}

static void still_works(void)
{
	nr_ethernet(&f, 200);
	nr_send(&nr, &f, 200);
	assert_int_equal(nr_wire_get(&nr, 0, &got), 200);
	nr_post(&nr, 0, 300, 1);
	nr_wire_put(&nr, 0, &f, 200);
	assert_int_equal(nr_take(&nr, 0, &got), 200);
	assert_memory_equal(got.data, f.data, 200);
}

static void both(void (*test)(void))
{
	nr_up(&nr, TP_DIRECT, SPEC, TP_ALL);
	test();
	nr_close(&nr);
	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED));
	test();
	nr_close(&nr);
}

/* ---- frames ------------------------------------------------------------- */

static void short_frames(void)
{
	struct drv_used used;

	for (uint32_t len = 1; len < NET_HDR + NET_ETH; len++) {
		const struct drv_seg seg = { nr.tx.addr, len };

		assert_true(drv_vring_add(&nr.tp.vr[1], &seg, 1, NULL, 0, &nr, 0) >= 0);
		tp_kick(&nr.tp, 1);
		tp_wait(&nr.tp, 1, &used);
		assert_int_equal(used.len, 0);
	}
	/* One that has only a writable part. */
	const struct drv_seg in = { nr.ctl.addr, 100 };

	assert_true(drv_vring_add(&nr.tp.vr[1], NULL, 0, &in, 1, &nr, 0) >= 0);
	tp_kick(&nr.tp, 1);
	tp_wait(&nr.tp, 1, &used);
	assert_int_equal(used.len, 0);
	nr_says(&nr, "tx-short=26");
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	still_works();
}

static void test_short_frames(void **state)
{
	(void)state;
	both(short_frames);
}

/* Each byte of the header, and of the headers behind it, in a descriptor of its own. */
static void split_header(void)
{
	size_t len = nr_packet(&f, false, IPPROTO_TCP, 0, 9000, 1000);
	uint32_t cuts[55];

	for (unsigned i = 0; i < COUNT(cuts); i++)
		cuts[i] = i + 1;
	nr_send_cut(&nr, 1, &f, len, cuts, COUNT(cuts));
	assert_int_equal(nr_wire_get(&nr, 0, &got), len);
	assert_int_equal(le16toh(got.h.hdr_len), 54);
	assert_memory_equal(got.data, f.data, len);
	still_works();
}

static void test_split_header(void **state)
{
	(void)state;
	both(split_header);
}

static void test_huge_chains(void **state)
{
	struct drv_seg segs[40];
	struct drv_used used;
	struct drv_buf b;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	assert_int_equal(drv_alloc(&nr.tp.flat.mem, 1 << 20, 4096, false, &b), 0);
	memset(b.virt, 0, b.len);
	/* 40 MiB of the same memory; a byte more than the longest frame; 4 GiB less one. */
	for (unsigned i = 0; i < COUNT(segs); i++)
		segs[i] = (struct drv_seg){ b.addr, 1 << 20 };
	assert_true(drv_vring_add(&nr.tp.vr[1], segs, COUNT(segs), NULL, 0, &nr, 0) >= 0);
	segs[0].len = NET_HDR + NET_FRAME_MAX + 1;
	assert_true(drv_vring_add(&nr.tp.vr[1], segs, 1, NULL, 0, &nr, 0) >= 0);
	segs[0].len = UINT32_MAX;
	assert_true(drv_vring_add(&nr.tp.vr[1], segs, 1, NULL, 0, &nr, 0) >= 0);
	tp_kick(&nr.tp, 1);
	for (unsigned i = 0; i < 3; i++)
		tp_wait(&nr.tp, 1, &used);
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	nr_says(&nr, "tx-long=3");
	still_works();
	drv_free(&nr.tp.flat.mem, &b);
	nr_close(&nr);
}

/* Frames longer than the MTU that are not to be segmented; segments that are. */
static void test_mtu(void **state)
{
	size_t len;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	nr_ethernet(&f, 1523);
	not_sent(1523, "tx-long=1");
	len = nr_packet(&f, false, IPPROTO_TCP, 0, 3000, 1461); /* 1460 fit */
	not_sent(len, "tx-gso=1");
	len = nr_packet(&f, true, IPPROTO_TCP, 2, 3000, 1441); /* 1440 fit */
	not_sent(len, "tx-gso=2");
	len = nr_packet(&f, false, IPPROTO_TCP, 0, 1461, 1461);
	not_sent(len, "tx-long=2");
	len = nr_packet(&f, false, IPPROTO_TCP, 0, 3000, 1460);
	nr_send(&nr, &f, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), len);
	/* More than an IP packet can be. */
	len = nr_packet(&f, true, IPPROTO_TCP, 0, NET_FRAME_MAX + 1 - 74, 1000);
	assert_int_equal(len, NET_FRAME_MAX + 1);
	not_sent(len, "tx-long=3");
	still_works();
	nr_close(&nr);
}

static void checksum_place(void)
{
	static const struct {
		uint16_t start, offset;
	} bad[] = {
		{ 0, 0 },      { 0, 16 },    { 33, 16 },       { 199, 0 },	 { 198, 1 },
		{ 200, 0 },    { 183, 16 },  { 34, 165 },      { 65535, 65535 }, { 65535, 0 },
		{ 34, 65535 }, { 65535, 1 }, { 32768, 32767 },
	};

	for (unsigned i = 0; i < COUNT(bad); i++) {
		char says[32];

		nr_ethernet(&f, 200);
		f.h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		f.h.csum_start = htole16(bad[i].start);
		f.h.csum_offset = htole16(bad[i].offset);
		snprintf(says, sizeof(says), "tx-csum=%u", i + 1);
		not_sent(200, says);
	}
	f.h.csum_start = htole16(34);
	f.h.csum_offset = htole16(164); /* the last two bytes */
	nr_send(&nr, &f, 200);
	assert_int_equal(nr_wire_get(&nr, 0, &got), 200);
	still_works();
}

static void test_checksum_place(void **state)
{
	(void)state;
	both(checksum_place);
}

/* ---- segments ----------------------------------------------------------- */

static void gso_sizes(void)
{
	static const uint16_t bad[] = { 0, 1, 7, 1461, 30000, 65535 };
	char says[32];

	for (unsigned i = 0; i < COUNT(bad); i++) {
		size_t len = nr_packet(&f, false, IPPROTO_TCP, 0, 65000, 1000);

		f.h.gso_size = htole16(bad[i]);
		snprintf(says, sizeof(says), bad[i] < 65000 ? "tx-gso=%u" : "tx-long=1", i + 1);
		not_sent(len, says);
	}
	still_works();
}

static void test_gso_sizes(void **state)
{
	(void)state;
	both(gso_sizes);
}

static void gso_types(void)
{
	static const uint8_t l4[] = { IPPROTO_TCP, IPPROTO_UDP };
	unsigned refused = 0, passed = 0;
	struct vg_dev_stats before;

	/* All 256 of them, for each kind of packet: what is not its own does not pass. */
	for (unsigned kind = 0; kind < 4; kind++) {
		for (unsigned type = 1; type < 256; type++) {
			size_t len = nr_packet(&f, kind & 1, l4[kind / 2], 0, 3000, 1000);
			uint8_t own = f.h.gso_type;

			f.h.gso_type = (uint8_t)type;
			nr_send(&nr, &f, len);
			if (type == own ||
			    (kind < 2 && type == (own | (unsigned)VIRTIO_NET_HDR_GSO_ECN))) {
				assert_int_equal(nr_wire_get(&nr, 0, &got), len);
				passed++;
			} else {
				assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
				refused++;
			}
		}
	}
	assert_int_equal(passed, 6);
	before = dh_stats(&nr.tp.dev);
	assert_int_equal(before.errors, refused);
	assert_false(nr_broken(&nr));
	still_works();
}

static void test_gso_types(void **state)
{
	(void)state;
	both(gso_types);
}

/* A good packet of @payload bytes with the byte at @at changed to @value is not sent, and changed
 * back it is. */
static void spoilt(bool v6, uint8_t l4, size_t at, uint8_t value)
{
	size_t len = nr_packet(&f, v6, l4, 0, 3000, 1000);

	f.data[at] = value;
	nr_send(&nr, &f, len);
	if (nr_wire_get(&nr, 0, &got) != -1)
		fail_msg("byte %zu = 0x%x, IPv%d", at, value, v6 ? 6 : 4);
	assert_false(nr_broken(&nr));
	len = nr_packet(&f, v6, l4, 0, 3000, 1000);
	nr_send(&nr, &f, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), len);
}

static void gso_headers(void)
{
	spoilt(false, IPPROTO_TCP, 12, 0x86); /* Ethernet: another protocol */
	spoilt(false, IPPROTO_TCP, 13, 0xdd); /* likewise */
	spoilt(true, IPPROTO_TCP, 12, 0x81);  /* a VLAN tag that is none */
	spoilt(false, IPPROTO_TCP, 14, 0x65); /* version */
	spoilt(true, IPPROTO_TCP, 14, 0x40);
	spoilt(false, IPPROTO_TCP, 14, 0x44);	      /* IPv4: header too short, */
	spoilt(false, IPPROTO_TCP, 14, 0x46);	      /* longer than csum_start says */
	spoilt(false, IPPROTO_TCP, 20, 0x20);	      /* a fragment: first, */
	spoilt(false, IPPROTO_TCP, 21, 0x01);	      /* later */
	spoilt(false, IPPROTO_TCP, 23, IPPROTO_UDP);  /* another protocol */
	spoilt(false, IPPROTO_TCP, 23, IPPROTO_IPIP); /* one in another */
	spoilt(false, IPPROTO_TCP, 46, 0x40);	      /* TCP: header too short, */
	spoilt(false, IPPROTO_UDP, 23, IPPROTO_TCP);
	spoilt(true, IPPROTO_TCP, 20, IPPROTO_UDP);
	spoilt(true, IPPROTO_TCP, 20, IPPROTO_FRAGMENT); /* IPv6: a fragment, */
	spoilt(true, IPPROTO_TCP, 20, IPPROTO_HOPOPTS);	 /* extension headers that are none, */
	spoilt(true, IPPROTO_TCP, 20, IPPROTO_IPV6);	 /* one in another */
	still_works();
}

static void test_gso_headers(void **state)
{
	(void)state;
	both(gso_headers);
}

/* Headers that do not end, or end behind the frame; and what header says of another frame. */
static void gso_ends(void)
{
	size_t len = nr_packet(&f, false, IPPROTO_TCP, 0, 3000, 1000);

	/* No payload at all: 54 bytes of headers. */
	not_sent(54, "tx-gso=1");
	/* Cut within TCP, within IP. */
	f.h.csum_start = htole16(34);
	not_sent(52, "tx-gso=2");
	f.h.flags = 0;
	not_sent(len, "tx-gso=3"); /* segments need a checksum */
	len = nr_packet(&f, false, IPPROTO_TCP, 0, 3000, 1000);
	f.h.csum_start = htole16(35);
	not_sent(len, "tx-gso=4");
	f.h.csum_start = htole16(34);
	f.h.csum_offset = htole16(6);
	not_sent(len, "tx-gso=5");
	/* TCP's header of 60 bytes in a frame of less. */
	len = nr_packet(&f, false, IPPROTO_TCP, 0, 30, 8);
	f.data[46] = 0xf0;
	not_sent(len, "tx-gso=6");
	/* Extension headers, each pointing at the next, for ever; and over the end of what is copied. */
	len = nr_packet(&f, true, IPPROTO_TCP, 0, 3000, 1000);
	f.data[20] = IPPROTO_DSTOPTS;
	memset(f.data + 54, 0, 1000);
	for (unsigned i = 54; i < 1000; i += 8)
		f.data[i] = IPPROTO_DSTOPTS;
	not_sent(len, "tx-gso=7");
	f.data[55] = 255;
	not_sent(len, "tx-gso=8");
	/* Three VLAN tags. */
	nr_packet(&f, false, IPPROTO_TCP, 2, 3000, 1000);
	memmove(f.data + 16, f.data + 12, 3000);
	f.h.csum_start = htole16(46);
	not_sent(3058, "tx-gso=9");
	still_works();
}

static void test_gso_ends(void **state)
{
	(void)state;
	both(gso_ends);
}

/* hdr_len, num_buffers, unknown flags: whatever they say, the host is told what we computed. */
static void header_lies(void)
{
	static const uint16_t lies[] = { 0, 1, 13, 55, 1514, 4097, 30000, 65535 };

	for (unsigned i = 0; i < COUNT(lies); i++) {
		size_t len = nr_packet(&f, false, IPPROTO_TCP, 0, 30000, 1000);

		f.h.hdr_len = f.h.num_buffers = htole16(lies[i]);
		f.h.flags |= 0xfe;
		nr_send(&nr, &f, len);
		assert_int_equal(nr_wire_get(&nr, 0, &got), len);
		assert_int_equal(le16toh(got.h.hdr_len), 54);
		assert_int_equal(got.h.num_buffers, 0);
		assert_int_equal(got.h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		nr_ethernet(&f, 1000);
		f.h.hdr_len = f.h.num_buffers = f.h.gso_size = f.h.csum_start = f.h.csum_offset =
			htole16(lies[i]);
		f.h.flags = 0xfe;
		nr_send(&nr, &f, 1000);
		assert_int_equal(nr_wire_get(&nr, 0, &got), 1000);
		memset(&f.h, 0, NET_HDR);
		assert_memory_equal(&got.h, &f.h, NET_HDR);
	}
	still_works();
}

static void test_header_lies(void **state)
{
	(void)state;
	both(header_lies);
}

/* What was read once is not read again: it has changed meanwhile. */
static void test_double_fetch(void **state)
{
	size_t len = nr_packet(&f, false, IPPROTO_TCP, 0, 3000, 1000);
	uint8_t command[2 + 1] = { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0 };

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~VG_FEATURE(VG_F_INDIRECT_DESC));
	nr.tp.fickle = true;
	nr_send(&nr, &f, len);
	assert_int_equal(nr_wire_get(&nr, 0, &got), len);
	assert_int_equal(le16toh(got.h.hdr_len), 54);
	assert_memory_equal(got.data, f.data, len);
	assert_int_equal(*((uint8_t *)nr.tx.virt + NET_HDR), 0xff); /* it did change */
	assert_int_equal(nr_control(&nr, CTL, command[0], command[1], command + 2, 1),
			 VIRTIO_NET_OK);
	nr.tp.fickle = false;
	nr_close(&nr);
}

/* Where the frame lies in memory that the guest can write to while it is sent: headers are sent as
 * they were checked. The link is full, so that sending takes until the guest has changed them. */
static void test_headers_change_while_sent(void **state)
{
	size_t len = nr_packet(&f, false, IPPROTO_TCP, 0, 60000, 1000);
	struct drv_used used;
	unsigned filled = 0;

	(void)state;
	nr_up(&nr, TP_DIRECT, SPEC, TP_ALL & ~VG_FEATURE(VG_F_IN_ORDER));
	while (send(nr.link->link.fd[0], "filler", 6, MSG_DONTWAIT) == 6)
		filled++;
	assert_true(filled > 0);
	nr_add(&nr, 1, &f, len, NULL, 0);
	tp_kick(&nr.tp, 1);
	tp_settle(&nr.tp);
	memset(nr.tx.virt, 0xff, NET_HDR + 100);
	while (filled--)
		assert_int_equal(recv(nr.link->peer[0], &got, sizeof(got), 0), 6);
	tp_wait(&nr.tp, 1, &used);
	assert_int_equal(nr_wire_get(&nr, 0, &got), len);
	assert_int_equal(le16toh(got.h.hdr_len), 54);
	assert_memory_equal(got.data, f.data, 100);
	nr_close(&nr);
}

/* ---- memory ------------------------------------------------------------- */

static void test_revoked_frame(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	nr_ethernet(&f, 1000);
	tp_revoke(&nr.tp, nr.tx.addr + 500, 10, false);
	nr_add(&nr, 1, &f, 1000, NULL, 0);
	tp_kick(&nr.tp, 1);
	tp_settle(&nr.tp);
	assert_true(nr_broken(&nr));
	assert_int_equal(nr_wire_get(&nr, 0, &got), -1);
	tp_reset(&nr.tp);
	tp_start(&nr.tp, TP_ALL, 64);
	still_works();
	nr_close(&nr);
}

static void test_revoked_buffer(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	nr_post(&nr, 0, 1536, 1);
	tp_revoke(&nr.tp, nr.rx[0].addr + 100, 10, true);
	nr_ethernet(&f, 1000);
	nr_wire_put(&nr, 0, &f, 1000);
	tp_settle(&nr.tp);
	assert_true(nr_broken(&nr));
	tp_reset(&nr.tp);
	tp_start(&nr.tp, TP_ALL, 64);
	still_works();
	nr_close(&nr);
}

/* ---- receive buffers ---------------------------------------------------- */

/* Too small for the header; without a writable part; with a readable one before it, which is none of
 * our business. */
static void test_tiny_buffers(void **state)
{
	(void)state;
	for (uint32_t size = 1; size < NET_HDR; size += 5) {
		nr_up(&nr, TP_COPY, SPEC, TP_ALL);
		nr_post(&nr, 0, size, 40);
		nr_ethernet(&f, 100);
		nr_wire_put(&nr, 0, &f, 100);
		tp_settle(&nr.tp);
		assert_true(nr_broken(&nr));
		tp_reset(&nr.tp);
		tp_start(&nr.tp, TP_ALL, 64);
		still_works();
		nr_close(&nr);
	}
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	const struct drv_seg out = { nr.tx.addr, 100 }, in = { nr.ctl.addr, 200 };
	struct drv_used used;

	assert_true(drv_vring_add(&nr.tp.vr[0], &out, 1, &in, 1, &nr, 0) >= 0);
	tp_kick(&nr.tp, 0);
	nr_wire_put(&nr, 0, &f, 100);
	tp_wait(&nr.tp, 0, &used);
	assert_int_equal(used.len, 112);
	assert_true(drv_vring_add(&nr.tp.vr[0], &out, 1, NULL, 0, &nr, 0) >= 0);
	tp_kick(&nr.tp, 0);
	nr_wire_put(&nr, 0, &f, 100);
	tp_settle(&nr.tp);
	assert_true(nr_broken(&nr));
	nr_close(&nr);
}

/* Too small for the frame: it is dropped, smaller ones are not. */
static void test_small_buffers(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL & ~VG_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
	nr_post(&nr, 0, 200, 3);
	nr_ethernet(&f, 1000);
	nr_wire_put(&nr, 0, &f, 1000);
	nr_silent(&nr, 0);
	nr_says(&nr, "rx-small=1");
	nr_wire_put(&nr, 0, &f, 188);
	assert_int_equal(nr_take(&nr, 0, &got), 188);
	assert_false(nr_broken(&nr));
	nr_close(&nr);
	/* A whole ring of them does not take it. */
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	nr_post(&nr, 0, 100, 64);
	nr_ethernet(&f, 60000);
	nr_wire_put(&nr, 0, &f, 60000);
	nr_silent(&nr, 0);
	nr_says(&nr, "rx-small=1");
	nr_wire_put(&nr, 0, &f, 1000);
	assert_int_equal(nr_take(&nr, 0, &got), 1000);
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

/* Frames without end, and a guest that takes none: we hold what limits.h says, the rest stays with
 * the host. When it takes them again, it goes on. */
static void test_receive_flood(void **state)
{
	unsigned put = 0;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	nr_ethernet(&f, 1000);
	for (unsigned round = 0; round < 200; round++) {
		while (put < 5000 && send(nr.link->peer[0], &f, NET_HDR + 1000, MSG_DONTWAIT) > 0)
			put++;
		vg_loop_turn(nr.tp.loop, false);
	}
	/* The link is full, for we have stopped to read. */
	assert_true(send(nr.link->peer[0], &f, NET_HDR + 1000, MSG_DONTWAIT) < 0 || put == 5000);
	for (unsigned i = 0; i < VG_LIMIT_NET_RX_SLOTS + 50; i++) {
		nr_post(&nr, 0, 1536, 1);
		assert_int_equal(nr_take(&nr, 0, &got), 1000);
		drv_free(&nr.tp.flat.mem, &nr.rx[--nr.n_rx]);
	}
	nr_close(&nr);
}

/* ---- control commands --------------------------------------------------- */

/* Every class and command, with every wrong size. */
static void test_control_sizes(void **state)
{
	static const struct {
		uint8_t class, cmd;
		uint32_t right;
	} known[] = {
		{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1 },
		{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1 },
		{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 8 },
		{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 6 },
		{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 2 },
		{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, 2 },
		{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, 0 },
		{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2 },
		{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 8 },
		{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 8 },
		{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 8 },
		{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, 12 },
	};
	static const uint8_t zeros[64];

	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",queues=2,threads=1", TP_ALL);
	for (unsigned class = 0; class < 10; class ++) {
		for (unsigned cmd = 0; cmd < 8; cmd++) {
			for (uint32_t len = 0; len < 20; len++) {
				bool right = false;

				for (unsigned i = 0; i < COUNT(known); i++)
					right |= known[i].class == class && known[i].right == len &&
						 (known[i].cmd == cmd ||
						  (class == VIRTIO_NET_CTRL_RX && cmd < 6));
				/* No pairs at all: of the right size, and wrong. */
				right &= class != VIRTIO_NET_CTRL_MQ;
				/* No address is nobody's. */
				right &= class != VIRTIO_NET_CTRL_MAC || len != 6;
				if (nr_control(&nr, 4, (uint8_t) class, (uint8_t)cmd, zeros, len) !=
				    (right ? VIRTIO_NET_OK : VIRTIO_NET_ERR))
					fail_msg("class %u, command %u, %u bytes", class, cmd, len);
			}
		}
	}
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

/* ---- commands for hashes and their table --------------------------------- */

static struct {
	uint8_t data[512];
	uint32_t len;
} rss;

static void put16(uint32_t at, unsigned v)
{
	rss.data[at] = (uint8_t)v;
	rss.data[at + 1] = (uint8_t)(v >> 8);
}

enum { RSS_MASK = 4, RSS_UNCLASSIFIED = 6, RSS_TABLE = 8, RSS_N = 4, RSS_TX = 16, RSS_KEY = 18 };

/* One that is right: four entries, of two pairs, a key of 40 bytes. */
static void rss_right(void)
{
	memset(&rss, 0, sizeof(rss));
	rss.data[0] = 0x3f;
	put16(RSS_MASK, RSS_N - 1);
	for (unsigned i = 0; i < RSS_N; i++)
		put16(RSS_TABLE + 2 * i, i & 1);
	put16(RSS_TX, 2);
	rss.data[RSS_KEY] = NET_HASH_KEY;
	memset(rss.data + RSS_KEY + 1, 0x6d, NET_HASH_KEY);
	rss.len = RSS_KEY + 1 + NET_HASH_KEY;
}

static void hash_right(void)
{
	memset(&rss, 0, sizeof(rss));
	rss.data[0] = 0x3f;
	rss.data[12] = NET_HASH_KEY;
	memset(rss.data + 13, 0x6d, NET_HASH_KEY);
	rss.len = 13 + NET_HASH_KEY;
}

static int rss_send(uint8_t cmd, uint32_t len)
{
	return nr_control(&nr, 4, VIRTIO_NET_CTRL_MQ, cmd, rss.data, len);
}

/* It is refused, and what was set before stays. */
static void rss_refused(uint8_t cmd)
{
	struct net *net = nr.tp.dev.priv;
	const struct net_saved before = net->s;

	assert_int_equal(rss_send(cmd, rss.len), VIRTIO_NET_ERR);
	assert_memory_equal(&net->s, &before, sizeof(before));
	assert_memory_equal(&net->pair[1].rss, &before.rss, sizeof(before.rss));
	assert_int_equal(nr.link->active, before.active);
	assert_false(nr_broken(&nr));
}

#define RSS_SPEC SPEC ",queues=2,threads=1,rss,hash"

static void test_rss_sizes(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, RSS_SPEC, TP_ALL);
	for (uint8_t cmd = VIRTIO_NET_CTRL_MQ_RSS_CONFIG; cmd <= VIRTIO_NET_CTRL_MQ_HASH_CONFIG;
	     cmd++) {
		for (uint32_t len = 0; len < 100; len++) {
			if (cmd == VIRTIO_NET_CTRL_MQ_RSS_CONFIG)
				rss_right();
			else
				hash_right();
			if (rss_send(cmd, len) != (len == rss.len ? VIRTIO_NET_OK : VIRTIO_NET_ERR))
				fail_msg("command %u, %u bytes", cmd, len);
		}
	}
	assert_false(nr_broken(&nr));
	nr_close(&nr);
	/* What was not negotiated. */
	nr_up(&nr, TP_COPY, RSS_SPEC, TP_ALL & ~VG_FEATURE(VIRTIO_NET_F_RSS));
	rss_right();
	rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
	nr_close(&nr);
	nr_up(&nr, TP_COPY, RSS_SPEC, TP_ALL & ~VG_FEATURE(VIRTIO_NET_F_HASH_REPORT));
	hash_right();
	rss_refused(VIRTIO_NET_CTRL_MQ_HASH_CONFIG);
	nr_close(&nr);
}

/* Each number of the command wrong, by turns. */
static void test_rss_lies(void **state)
{
	static const uint16_t masks[] = { 1, 2, 4, 5, 6, 7, 126, 127, 128, 255, 0x7fff, 0xffff };
	static const uint16_t queues[] = { 2, 3, 4, 0x4000, 0x8000, 0x8001, 0xffff };
	static const uint8_t keys[] = { 0, 1, 39, 41, 128, 255 };

	(void)state;
	nr_up(&nr, TP_COPY, RSS_SPEC, TP_ALL);
	rss_right();
	assert_int_equal(rss_send(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss.len), VIRTIO_NET_OK);
	for (unsigned i = 0; i < COUNT(masks); i++) {
		rss_right();
		put16(RSS_MASK, masks[i]);
		rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
	}
	for (unsigned i = 0; i < COUNT(queues); i++) {
		for (unsigned at = RSS_UNCLASSIFIED; at < RSS_TX; at += 2) {
			rss_right();
			put16(at, queues[i]);
			rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
		}
		rss_right();
		put16(RSS_TX, i ? queues[i] : 0);
		rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
	}
	for (unsigned i = 0; i < COUNT(keys); i++) {
		rss_right();
		rss.data[RSS_KEY] = keys[i];
		rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
		rss.len = RSS_KEY + 1 + keys[i]; /* and as long as it says */
		if (keys[i] == 0 || keys[i] > NET_HASH_KEY)
			rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
		hash_right();
		rss.data[12] = keys[i];
		rss_refused(VIRTIO_NET_CTRL_MQ_HASH_CONFIG);
	}
	for (unsigned bit = 9; bit < 32; bit++) {
		rss_right();
		rss.data[bit / 8] |= (uint8_t)(1 << bit % 8);
		rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
		hash_right();
		rss.data[bit / 8] |= (uint8_t)(1 << bit % 8);
		rss_refused(VIRTIO_NET_CTRL_MQ_HASH_CONFIG);
	}
	/* A queue that the driver has not enabled. */
	dh_reset_queue(&nr.tp.dev, 2, NULL);
	rss_right();
	rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
	/* What the link cannot do. */
	for (unsigned i = 0; i < RSS_N; i++)
		put16(RSS_TABLE + 2 * i, 0);
	nr.link->error = -EINVAL;
	rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
	nr.link->error = 0;
	assert_int_equal(rss_send(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss.len), VIRTIO_NET_OK);
	nr_close(&nr);
}

/* A table whose length is another one when it is looked at again: it counts as it was at first. */
static void test_rss_changes(void **state)
{
	struct net *net;

	(void)state;
	nr_up(&nr, TP_COPY, RSS_SPEC, TP_ALL & ~VG_FEATURE(VG_F_INDIRECT_DESC));
	net = nr.tp.dev.priv;
	nr.tp.fickle = true;
	for (unsigned n = 1; n <= NET_RSS_TABLE; n *= 2) {
		rss_right();
		memset(rss.data + RSS_TABLE, 0, sizeof(rss.data) - RSS_TABLE);
		put16(RSS_MASK, n - 1);
		put16(RSS_TABLE + 2 * n, 2);
		rss.data[RSS_TABLE + 2 * n + 2] = NET_HASH_KEY;
		rss.len = sizeof(rss.data);
		rss_refused(VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
		rss.len = RSS_TABLE + 2 * n + 3 + NET_HASH_KEY;
		assert_int_equal(rss_send(VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss.len), VIRTIO_NET_OK);
		assert_int_equal(net->s.rss.mask, n - 1);
		assert_int_equal(net->pair[1].rss.mask, n - 1);
	}
	nr.tp.fickle = false;
	nr_close(&nr);
}

/* Tables that claim more than the command has. */
static void test_mac_table_lies(void **state)
{
	static const uint32_t lies[] = {
		2, 64, 65, 0x2aaaaaab, 0x7fffffff, 0x80000000, 0xffffffff
	};
	uint8_t data[4 + 6 + 4];

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	for (unsigned i = 0; i < COUNT(lies); i++) {
		uint32_t n = htole32(lies[i]);

		memset(data, 0, sizeof(data));
		memcpy(data, &n, 4);
		assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_MAC,
					    VIRTIO_NET_CTRL_MAC_TABLE_SET, data, sizeof(data)),
				 VIRTIO_NET_ERR);
		n = htole32(1);
		memcpy(data, &n, 4);
		n = htole32(lies[i]);
		memcpy(data + 10, &n, 4);
		assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_MAC,
					    VIRTIO_NET_CTRL_MAC_TABLE_SET, data, sizeof(data)),
				 VIRTIO_NET_ERR);
	}
	still_works();
	nr_close(&nr);
}

static void test_no_room_for_the_answer(void **state)
{
	struct drv_seg out;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	out = (struct drv_seg){ nr.ctl.addr, 3 };
	assert_true(drv_vring_add(&nr.tp.vr[CTL], &out, 1, NULL, 0, &nr, 0) >= 0);
	tp_kick(&nr.tp, CTL);
	tp_settle(&nr.tp);
	assert_true(nr_broken(&nr));
	tp_reset(&nr.tp);
	tp_start(&nr.tp, TP_ALL, 64);
	still_works();
	nr_close(&nr);
}

/* Commands as fast as they can be sent: each turn has an end, and data passes between. */
static void test_control_flood(void **state)
{
	struct drv_used used;
	unsigned answered = 0;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	nr_post(&nr, 0, 300, 10);
	nr_ethernet(&f, 200);
	for (unsigned round = 0; round < 500; round++) {
		const struct drv_seg out = { nr.ctl.addr, 3 }, in = { nr.ctl.addr + 100, 1 };

		while (drv_vring_get(&nr.tp.vr[CTL], &used) == 1)
			answered++;
		while (drv_vring_add(&nr.tp.vr[CTL], &out, 1, &in, 1, &nr, 0) >= 0)
			;
		tp_kick(&nr.tp, CTL);
		vg_loop_turn(nr.tp.loop, false);
		if (round % 100 == 50) {
			nr_wire_put(&nr, 0, &f, 200);
			assert_int_equal(nr_take(&nr, 0, &got), 200);
		}
	}
	assert_true(answered > 1000);
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

/* ---- life --------------------------------------------------------------- */

/* A link that takes nothing any more, and a reset with frames on their way. */
static void in_flight(void)
{
	nr_ethernet(&f, 1500);
	while (send(nr.link->link.fd[0], &f, 1000, MSG_DONTWAIT) > 0)
		;
	for (unsigned i = 0; i < 20; i++)
		nr_add(&nr, 1, &f, 1500, NULL, 0);
	nr_post(&nr, 0, 100, 20);
	nr_wire_put(&nr, 0, &f, 1500);
	tp_kick(&nr.tp, 1);
	tp_settle(&nr.tp);
	tp_reset(&nr.tp);
	tp_start(&nr.tp, TP_ALL, 64);
	while (recv(nr.link->peer[0], &got, sizeof(got), MSG_DONTWAIT) > 0)
		;
	still_works();
}

static void test_reset_in_flight(void **state)
{
	(void)state;
	both(in_flight);
}

static void test_kick_storm(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",queues=2,threads=1", TP_ALL);
	for (unsigned i = 0; i < 100000; i++)
		vg_dev_kick(&nr.tp.dev, i % 7); /* two of them are no queues */
	still_works();
	nr_close(&nr);
}

/* The other end goes away while frames pass: a sentence, and no busy loop. */
static void test_link_goes(void **state)
{
	int64_t end = vg_now_ns() + 300000000;
	unsigned turns = 0;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC, TP_ALL);
	close(nr.link->peer[0]);
	nr.link->peer[0] = -1;
	nr_ethernet(&f, 200);
	nr_send(&nr, &f, 200);
	nr_says(&nr, "tx-down=1");
	while (vg_now_ns() < end)
		turns += vg_loop_turn(nr.tp.loop, false) > 0;
	assert_true(turns < 20);
	nr_says(&nr, "rx-failed=");
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_frames),
		cmocka_unit_test(test_split_header),
		cmocka_unit_test(test_huge_chains),
		cmocka_unit_test(test_mtu),
		cmocka_unit_test(test_checksum_place),
		cmocka_unit_test(test_gso_sizes),
		cmocka_unit_test(test_gso_types),
		cmocka_unit_test(test_gso_headers),
		cmocka_unit_test(test_gso_ends),
		cmocka_unit_test(test_header_lies),
		cmocka_unit_test(test_double_fetch),
		cmocka_unit_test(test_headers_change_while_sent),
		cmocka_unit_test(test_revoked_frame),
		cmocka_unit_test(test_revoked_buffer),
		cmocka_unit_test(test_tiny_buffers),
		cmocka_unit_test(test_small_buffers),
		cmocka_unit_test(test_receive_flood),
		cmocka_unit_test(test_control_sizes),
		cmocka_unit_test(test_mac_table_lies),
		cmocka_unit_test(test_rss_sizes),
		cmocka_unit_test(test_rss_lies),
		cmocka_unit_test(test_rss_changes),
		cmocka_unit_test(test_no_room_for_the_answer),
		cmocka_unit_test(test_control_flood),
		cmocka_unit_test(test_reset_in_flight),
		cmocka_unit_test(test_kick_storm),
		cmocka_unit_test(test_link_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
