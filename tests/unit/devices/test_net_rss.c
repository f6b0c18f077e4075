// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_net_rss.c - hashes that are reported, and queues that are chosen by them:
 * VIRTIO 1.3 sections 5.1.6.4.3 to .5, 5.1.6.5.5.1, 5.1.6.5.6
 *
 * What a packet hashes to is test_net_hash.c's; what is malformed of the two commands,
 * in test_net_hostile.c.
 */
#include "backend/devices/net/int.h"
#include "tests/rigs/net_rig.h"

#define F(name) VG_FEATURE(VIRTIO_NET_F_##name)
#define T(name) VIRTIO_NET_RSS_HASH_TYPE_##name
#define SPEC	"net,mac=" NR_MAC

enum { PAIRS = 3, CTL = 2 * PAIRS, MORE = NET_HASH_ROOM };

static struct nr nr; /* large */
static struct nr_frame want, got;
static struct net_hash hash;
static const uint8_t key[NET_HASH_KEY] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2,
					   0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0 };

/* The packet of a flow. Return: bytes. */
static size_t flow(unsigned n, size_t payload)
{
	size_t len = nr_packet(&want, false, IPPROTO_TCP, 0, payload, 0);

	memset(&want.h, 0, sizeof(want.h));
	memcpy(want.data + 26, "\x0a\0\0\1\x0a\0\0\2", 8);
	nr_put16(want.data + 34, 1000 + n);
	nr_put16(want.data + 36, 80);
	return len;
}

static uint32_t hash_of(size_t len)
{
	uint32_t value;

	net_hash_init(&hash, NET_HASH_TYPES, key, sizeof(key));
	assert_int_equal(net_hash_packet(&hash, want.data, len, &value),
			 VIRTIO_NET_HASH_REPORT_TCPv4);
	return value;
}

static size_t put16(uint8_t *to, unsigned v)
{
	to[0] = (uint8_t)v;
	to[1] = (uint8_t)(v >> 8);
	return 2;
}

static int hash_config(unsigned q, uint32_t types)
{
	uint8_t data[64] = { (uint8_t)types, (uint8_t)(types >> 8) };

	memset(data + 4, 0x55, 8); /* reserved */
	data[12] = sizeof(key);
	memcpy(data + 13, key, sizeof(key));
	return nr_control(&nr, q, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, data,
			  13 + sizeof(key));
}

static int rss_config(unsigned q, uint32_t types, unsigned unclassified, unsigned max_tx,
		      const uint16_t *table, unsigned n)
{
	uint8_t data[512] = { (uint8_t)types, (uint8_t)(types >> 8) };
	size_t at = 4;

	at += put16(data + at, n - 1);
	at += put16(data + at, unclassified);
	for (unsigned i = 0; i < n; i++)
		at += put16(data + at, table[i]);
	at += put16(data + at, max_tx);
	data[at++] = sizeof(key);
	memcpy(data + at, key, sizeof(key));
	return nr_control(&nr, q, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, data,
			  (uint32_t)(at + sizeof(key)));
}

/* ---- features and configuration ----------------------------------------- */

static void test_offered(void **state)
{
	struct net_config c;

	(void)state;
	nr_open(&nr, TP_COPY, SPEC ",queues=3,threads=1");
	assert_false(nr.tp.dev.device_features & (F(RSS) | F(HASH_REPORT)));
	nr_close(&nr);
	/* As libvirt's <driver> has it. */
	nr_open(&nr, TP_COPY, SPEC ",queues=3,threads=1,rss=on,rss_hash_report=on");
	assert_true(nr.tp.dev.device_features & F(RSS));
	assert_true(nr.tp.dev.device_features & F(HASH_REPORT));
	nr_close(&nr);
	nr_open(&nr, TP_COPY, SPEC ",queues=3,threads=1,rss,hash");
	assert_true(nr.tp.dev.device_features & F(RSS));
	assert_true(nr.tp.dev.device_features & F(HASH_REPORT));
	assert_int_equal(vg_dev_config_read(&nr.tp.dev, 0, &c, sizeof(c)), 0);
	assert_int_equal(c.rss_max_key_size, 40);
	assert_int_equal(le16toh(c.rss_max_indirection_table_length), 128);
	assert_int_equal(le32toh(c.supported_hash_types), 0x1ff);
	/* RSS needs the control queue. */
	dh_status(&nr.tp.dev, 3);
	vg_dev_set_features(&nr.tp.dev, VG_FEATURE(VG_F_VERSION_1) | F(RSS));
	assert_false(dh_status(&nr.tp.dev, 11) & VG_STATUS_FEATURES_OK);
	dh_status(&nr.tp.dev, 0);
	nr_close(&nr);
	/* Where it is, with RSS and without MQ. */
	nr_up(&nr, TP_COPY, SPEC ",queues=3,threads=1,rss", TP_ALL & ~F(MQ));
	assert_int_equal(rss_config(CTL, T(TCPv4), 0, 3, (uint16_t[]){ 0, 2 }, 2), VIRTIO_NET_OK);
	assert_int_equal(nr.link->active, 3);
	nr_close(&nr);
}

/* ---- reports ------------------------------------------------------------ */

/* want comes, and is what the guest gets, with that behind its header. */
static void reported(size_t len, uint16_t report, uint32_t value)
{
	uint32_t v;
	uint16_t r;

	nr_wire_put(&nr, 0, &want, len);
	assert_int_equal(nr_take(&nr, 0, &got), len + MORE);
	memcpy(&v, got.data, 4);
	memcpy(&r, got.data + 4, 2);
	assert_int_equal(le16toh(r), report);
	assert_int_equal(le32toh(v), value);
	assert_int_equal(got.data[6] | got.data[7], 0);
	assert_memory_equal(got.data + MORE, want.data, len);
}

static void reports(enum tp_manner manner, uint64_t features)
{
	size_t len;

	nr_up(&nr, manner, SPEC ",hash", features);
	nr_post(&nr, 0, 1600, 8);
	len = flow(1, 100);
	reported(len, VIRTIO_NET_HASH_REPORT_NONE, 0); /* until the driver says what */
	assert_int_equal(hash_config(2, T(TCPv4)), VIRTIO_NET_OK);
	reported(len, VIRTIO_NET_HASH_REPORT_TCPv4, hash_of(len));
	nr_ethernet(&want, 60);
	reported(60, VIRTIO_NET_HASH_REPORT_NONE, 0);
	assert_int_equal(hash_config(2, 0), VIRTIO_NET_OK);
	len = flow(1, 1000);
	reported(len, VIRTIO_NET_HASH_REPORT_NONE, 0);
	/* A header over two buffers; a frame over many. */
	assert_int_equal(hash_config(2, NET_HASH_TYPES), VIRTIO_NET_OK);
	if (vg_dev_has(&nr.tp.dev, VIRTIO_NET_F_MRG_RXBUF)) {
		nr_post(&nr, 0, 21, 52);
		for (unsigned i = 0; i < 4; i++)
			reported(len, VIRTIO_NET_HASH_REPORT_TCPv4, hash_of(len));
		reported(len, VIRTIO_NET_HASH_REPORT_TCPv4, hash_of(len));
		assert_int_equal(le16toh(got.h.num_buffers), (len + 20 + 20) / 21);
	}
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

static void test_reports(void **state)
{
	(void)state;
	reports(TP_COPY, TP_ALL);
	reports(TP_DIRECT, TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED));
	reports(TP_COPY, TP_ALL & ~F(MRG_RXBUF));
}

/* The guest's header is as long when it sends; the link's is not. */
static void sends(enum tp_manner manner)
{
	static const size_t payloads[] = { 10, 1000, 30000 };
	static struct nr_frame plain;

	nr_up(&nr, manner, SPEC ",hash", TP_ALL);
	for (unsigned i = 0; i < COUNT(payloads); i++) {
		const uint32_t cuts[] = { 7, 12, 20, 54, 90 };
		size_t len = nr_packet(&want, false, IPPROTO_TCP, 0, payloads[i],
				       payloads[i] > 1000 ? 1400 : 0);

		plain = want;
		memmove(want.data + MORE, plain.data, len);
		memset(want.data, 0xee, MORE); /* not looked at */
		nr_send_cut(&nr, 1, &want, len + MORE, cuts, COUNT(cuts));
		assert_int_equal(nr_wire_get(&nr, 0, &got), len);
		assert_memory_equal(got.data, plain.data, len);
		assert_int_equal(got.h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		assert_int_equal(got.h.gso_type, plain.h.gso_type);
		assert_int_equal(got.h.num_buffers, 0);
	}
	assert_int_equal(dh_stats(&nr.tp.dev).bytes_written, 10 + 1000 + 30000 + 3 * 54);
	/* Shorter than such a header and Ethernet's. */
	nr_ethernet(&want, 21);
	nr_send(&nr, &want, 21);
	nr_says(&nr, "tx-short=1");
	nr_close(&nr);
}

static void test_sends(void **state)
{
	(void)state;
	sends(TP_COPY);
	sends(TP_DIRECT);
}

static struct net_rx *rx_of(unsigned pair)
{
	struct net *net = nr.tp.dev.priv;

	return &net->pair[pair].rx;
}

/* The next frame is being read to where it stays when the driver asks for hashes. */
static void test_reports_of_long(void **state)
{
	size_t len;

	(void)state;
	nr_up(&nr, TP_DIRECT, SPEC ",hash", TP_ALL);
	nr_post(&nr, 0, 2048, 60);
	nr_ethernet(&want, 20000);
	reported(20000, VIRTIO_NET_HASH_REPORT_NONE, 0);
	tp_settle(&nr.tp);
	assert_true(rx_of(0)->aim.n > 1);
	reported(20000, VIRTIO_NET_HASH_REPORT_NONE, 0);
	assert_int_equal(rx_of(0)->direct, 1);
	tp_settle(&nr.tp);
	assert_int_equal(hash_config(2, T(TCPv4)), VIRTIO_NET_OK);
	assert_true(rx_of(0)->aim.n > 1);
	for (unsigned i = 0; i < 3; i++) {
		len = flow(i, 20000);
		reported(len, VIRTIO_NET_HASH_REPORT_TCPv4, hash_of(len));
	}
	assert_int_equal(rx_of(0)->direct, 1);
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

static void test_small_buffer(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",hash", TP_ALL);
	nr_post(&nr, 0, NET_HDR_HASH - 1, 4);
	nr_ethernet(&want, 60);
	nr_wire_put(&nr, 0, &want, 60);
	tp_settle(&nr.tp);
	assert_true(nr_broken(&nr));
	nr_close(&nr);
}

/* ---- steering ----------------------------------------------------------- */

/* The @n-th flow, which the link brings to pair @in, is what the guest gets from pair @out. */
static void goes(unsigned n, unsigned in, unsigned out)
{
	size_t len = flow(n, 100 + n);

	nr_wire_put(&nr, in, &want, len);
	assert_int_equal(nr_take(&nr, 2 * out, &got), len);
	assert_memory_equal(got.data, want.data, len);
}

static void steers(enum tp_manner manner, const char *spec, uint64_t features)
{
	static const uint16_t table[] = { 2, 0, 1, 1, 2, 2, 0, 1 };

	nr_up(&nr, manner, spec, features);
	for (unsigned i = 0; i < PAIRS; i++)
		nr_post(&nr, 2 * i, 300, 60);
	assert_int_equal(nr.link->active, 1);
	goes(1, 0, 0);
	assert_int_equal(rss_config(CTL, T(TCPv4), 2, 3, table, COUNT(table)), VIRTIO_NET_OK);
	assert_int_equal(nr.link->active, 3);
	nr_says(&nr, "pairs=3/3 rss=8");
	for (unsigned n = 0; n < 60; n++)
		goes(n, n % PAIRS, table[hash_of(flow(n, 0)) & 7]);
	/* What has no hash. */
	for (unsigned i = 0; i < PAIRS; i++) {
		nr_ethernet(&want, 77);
		nr_wire_put(&nr, i, &want, 77);
		assert_int_equal(nr_take(&nr, 4, &got), 77);
	}
	/* Of fewer: the link has no more than are needed. */
	assert_int_equal(rss_config(CTL, T(TCPv4), 0, 1, (uint16_t[]){ 1 }, 1), VIRTIO_NET_OK);
	assert_int_equal(nr.link->active, 2);
	goes(5, 0, 1);
	/* The last command says how. */
	if (features & F(MQ)) {
		const uint8_t three[] = { 3, 0 };

		assert_int_equal(nr_control(&nr, CTL, VIRTIO_NET_CTRL_MQ,
					    VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, three, 2),
				 VIRTIO_NET_OK);
		assert_int_equal(nr.link->active, 3);
		goes(5, 0, 0);
		goes(5, 2, 2);
	}
	assert_int_equal(dh_stats(&nr.tp.dev).errors, 0);
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

static void test_steers(void **state)
{
	(void)state;
	steers(TP_COPY, SPEC ",queues=3,threads=1,rss", TP_ALL);
	steers(TP_DIRECT, SPEC ",queues=3,threads=1,rss", TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED));
	steers(TP_COPY, SPEC ",queues=3,threads=1,rss", TP_ALL & ~F(MQ));
}

/* A queue that has no buffers, or does not run, loses what is for it; others go on, with all that
 * is theirs, and so does it, once it can. */
static void test_nobody_takes_it(void **state)
{
	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",queues=3,threads=1,rss", TP_ALL);
	nr_post(&nr, 0, 300, 10);
	assert_int_equal(rss_config(CTL, T(TCPv4), 0, 3, (uint16_t[]){ 1 }, 1), VIRTIO_NET_OK);
	for (unsigned i = 0; i < 3 * VG_LIMIT_NET_RX_SLOTS; i++) {
		nr_wire_put(&nr, 0, &want, flow(i, 50));
		tp_settle(&nr.tp);
	}
	nr_says(&nr, "rx-unsteered=99");
	nr_ethernet(&want, 66); /* unclassified */
	nr_wire_put(&nr, 0, &want, 66);
	assert_int_equal(nr_take(&nr, 0, &got), 66);
	nr_post(&nr, 2, 300, 4);
	goes(1, 0, 1);
	dh_reset_queue(&nr.tp.dev, 2, NULL);
	nr_wire_put(&nr, 0, &want, flow(1, 50));
	tp_settle(&nr.tp);
	nr_says(&nr, "rx-unsteered=100");
	nr_ethernet(&want, 67);
	nr_wire_put(&nr, 0, &want, 67);
	assert_int_equal(nr_take(&nr, 0, &got), 67);
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

/* What is lent does not wait until a frame comes to the buffers that a read is under way to. */
static void test_lent_to_long(void **state)
{
	(void)state;
	nr_up(&nr, TP_DIRECT, SPEC ",queues=3,threads=1,rss", TP_ALL);
	for (unsigned i = 0; i < PAIRS; i++)
		nr_post(&nr, 2 * i, 2048, 60);
	nr_ethernet(&want, 20000);
	nr_wire_put(&nr, 0, &want, 20000);
	assert_int_equal(nr_take(&nr, 0, &got), 20000);
	tp_settle(&nr.tp);
	assert_true(rx_of(0)->aim.n > 1);
	assert_int_equal(rss_config(CTL, T(TCPv4), 0, 3, (uint16_t[]){ 0 }, 1), VIRTIO_NET_OK);
	assert_true(rx_of(0)->aim.n > 1);
	goes(1, 1, 0);
	goes(2, 0, 0);
	goes(3, 2, 0);
	assert_int_equal(rx_of(0)->direct, 0);
	nr_says(&nr, "rss=1");
	assert_false(nr_broken(&nr));
	nr_close(&nr);
}

/* Its own frames wait, for buffers; those that were lent to it wait behind, and are given back when its
 * queue, or theirs, is reset. */
static void lent_when_reset(unsigned q)
{
	size_t len;

	nr_up(&nr, TP_COPY, SPEC ",queues=3,threads=1,rss", TP_ALL);
	assert_int_equal(rss_config(CTL, T(TCPv4), 0, 3, (uint16_t[]){ 1 }, 1), VIRTIO_NET_OK);
	len = flow(1, 50);
	nr_wire_put(&nr, 1, &want, len);
	tp_settle(&nr.tp);
	for (unsigned i = 0; i < 40; i++) {
		nr_wire_put(&nr, 0, &want, len);
		tp_settle(&nr.tp);
	}
	nr_says(&nr, "rx-unsteered=24"); /* 40 less NET_RX_LENT */
	nr_post(&nr, 0, 300, 1);
	nr_ethernet(&want, 66);
	nr_wire_put(&nr, 0, &want, 66);
	assert_int_equal(nr_take(&nr, 0, &got), 66);
	dh_reset_queue(&nr.tp.dev, q, NULL);
	nr_close(&nr);
}

static void test_lent_when_reset(void **state)
{
	(void)state;
	lent_when_reset(2);
}

/* ---- threads ------------------------------------------------------------ */

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

/* A thread for each pair: frames cross from each to each, while tables change; a reset finds some on
 * their way. */
static void test_threads(void **state)
{
	uint16_t table[4] = { 0, 1, 2, 0 };

	(void)state;
	for (unsigned life = 0; life < 5; life++) {
		nr_up(&nr, TP_COPY, SPEC ",queues=3,rss,hash", TP_ALL);
		assert_int_equal(nr.tp.dev.n_ctx, 3);
		for (unsigned q = 0; q < CTL; q += 2) {
			for (unsigned i = 0; i < 50; i++) {
				struct drv_buf *b = &nr.rx[nr.n_rx++];
				struct drv_seg seg = { 0, 400 };

				assert_int_equal(drv_alloc(&nr.tp.flat.mem, 400, 16, true, b), 0);
				seg.addr = b->addr;
				assert_true(drv_vring_add(&nr.tp.vr[q], NULL, 0, &seg, 1, b, 0) >=
					    0);
			}
			kick(q);
		}
		for (unsigned round = 0; round < 30; round++) {
			size_t len;

			for (unsigned i = 0; i < COUNT(table); i++)
				table[i] = (uint16_t)((table[i] + 1 + i * round) % PAIRS);
			assert_int_equal(rss_config(CTL, NET_HASH_TYPES, round % PAIRS, 3, table,
						    COUNT(table)),
					 VIRTIO_NET_OK);
			/* All pairs have heard of it when what is posted to them afterwards has run. */
			for (unsigned i = 0; i < PAIRS; i++)
				kick(2 * i);
			usleep(2000);
			len = flow(round, 100);
			nr_wire_put(&nr, round % PAIRS, &want, len);
			assert_int_equal(nr_take(&nr, 2u * table[hash_of(len) & 3], &got),
					 len + MORE);
			assert_memory_equal(got.data + MORE, want.data, len);
		}
		for (unsigned i = 0; i < 60; i++)
			nr_wire_put(&nr, i % PAIRS, &want, flow(i, 100));
		nr_close(&nr);
	}
}

/* ---- its successor ------------------------------------------------------ */

static void test_successor(void **state)
{
	static uint8_t saved[sizeof(struct net_saved)];
	const struct net_saved *s = (const struct net_saved *)saved;
	struct net *net;
	uint64_t features;

	(void)state;
	nr_up(&nr, TP_COPY, SPEC ",queues=3,threads=1,rss,hash", TP_ALL);
	assert_int_equal(rss_config(CTL, T(TCPv4), 1, 2, (uint16_t[]){ 1, 2 }, 2), VIRTIO_NET_OK);
	memcpy(saved, nr.tp.dev.saved, sizeof(saved));
	features = nr.tp.dev.features;
	nr_close(&nr);
	nr_open(&nr, TP_COPY, SPEC ",queues=3,threads=1,rss,hash");
	vg_dev_resume(&nr.tp.dev, 15, features, 3, saved, sizeof(saved));
	vg_dev_resumed(&nr.tp.dev);
	net = nr.tp.dev.priv;
	nr_says(&nr, "pairs=3/3 rss=2");
	assert_int_equal(nr.link->active, 3);
	assert_int_equal(net->hdr, NET_HDR_HASH);
	for (unsigned i = 0; i < PAIRS; i++) {
		assert_memory_equal(&net->pair[i].rss, &s->rss, sizeof(s->rss));
		assert_int_equal(net->pair[i].hash.types, T(TCPv4));
	}
	dh_status(&nr.tp.dev, 0);
	nr_close(&nr);
	/* One with fewer pairs than the table has: the link chooses. */
	nr_open(&nr, TP_COPY, SPEC ",queues=2,threads=1,rss,hash");
	vg_dev_resume(&nr.tp.dev, 15, features, 3, saved, sizeof(saved));
	vg_dev_resumed(&nr.tp.dev);
	net = nr.tp.dev.priv;
	assert_false(net->s.rss.steers);
	assert_int_equal(nr.link->active, 2);
	nr_close(&nr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offered),		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_sends),		cmocka_unit_test(test_small_buffer),
		cmocka_unit_test(test_reports_of_long), cmocka_unit_test(test_lent_to_long),
		cmocka_unit_test(test_steers),		cmocka_unit_test(test_nobody_takes_it),
		cmocka_unit_test(test_lent_when_reset), cmocka_unit_test(test_threads),
		cmocka_unit_test(test_successor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
