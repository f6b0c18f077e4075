// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtio state machine (VIRTIO 1.3 sections 2.1 to 2.4, 2.6, 3.1), and the
 * device side of virtio-msg on top of it (PROTOCOL.md section 5): every message,
 * well-formed and not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/ports/grant/virtio_msg.h"
#include "tests/driver/devhelp.h"
#include "tests/driver/testport.h"

#define TARGET "blk,target=dev.img"
enum { CAPACITY = 64 };

static int make_image(void **state)
{
	int fd = open("dev.img", O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)state;
	if (fd < 0 || ftruncate(fd, CAPACITY * 512) < 0)
		return -1;
	return close(fd);
}

/* ---- status and features --------------------------------------------------- */

static const uint32_t ACK = VG_STATUS_ACKNOWLEDGE, DRV = VG_STATUS_DRIVER,
		      OK = VG_STATUS_FEATURES_OK, RUN = VG_STATUS_DRIVER_OK;

static void test_status(void **state)
{
	struct tp tp;
	struct vg_dev *dev = &tp.dev;

	(void)state;
	tp_open(&tp, TP_COPY, TARGET);
	/* DRIVER_OK without FEATURES_OK is not set; NEEDS_RESET is not the driver's to set. */
	assert_int_equal(dh_status(dev, ACK | DRV | RUN | VG_STATUS_NEEDS_RESET), ACK | DRV);
	/* FEATURES_OK without VERSION_1 is refused, and with what was not offered. */
	vg_dev_set_features(dev, 0);
	assert_int_equal(dh_status(dev, ACK | DRV | OK), ACK | DRV);
	vg_dev_set_features(dev, VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VIRTIO_BLK_F_RO));
	assert_int_equal(dh_status(dev, ACK | DRV | OK), ACK | DRV);
	vg_dev_set_features(dev, VG_FEATURE(VG_F_VERSION_1));
	assert_int_equal(dh_status(dev, ACK | DRV | OK), ACK | DRV | OK);
	/* Final now. */
	vg_dev_set_features(dev, VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_RING_PACKED));
	assert_false(vg_dev_has(dev, VG_F_RING_PACKED));
	/* Bits cannot be taken back one by one. */
	assert_int_equal(dh_status(dev, ACK), ACK | DRV | OK);
	assert_int_equal(dh_status(dev, ACK | DRV | OK | RUN), ACK | DRV | OK | RUN);
	assert_true(dev->started);
	assert_int_equal(dh_status(dev, 0), 0);
	assert_int_equal(dh_status(dev, 0), 0); /* idempotent */
	assert_false(dev->started);
	assert_int_equal(dh_stats(dev).resets, 1);
	tp_close(&tp);
}

static void test_queues(void **state)
{
	struct tp tp;
	struct vg_dev *dev = &tp.dev;
	struct vg_vq_state where;

	(void)state;
	tp_open(&tp, TP_COPY, TARGET ",queues=2");
	assert_int_equal(vg_dev_queue_max(dev, 1), 256);
	assert_int_equal(vg_dev_queue_max(dev, 2), 0);
	assert_int_equal(vg_dev_queue_max(dev, UINT32_MAX), 0);
	/* Not before FEATURES_OK. */
	assert_int_equal(vg_dev_set_queue(dev, 0, 16, TP_BASE, TP_BASE, TP_BASE, NULL, NULL),
			 -EBUSY);
	tp_start(&tp, TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED), 16);
	/* Enabled twice; out of range; no power of two; too large; zero. */
	assert_int_equal(vg_dev_set_queue(dev, 0, 16, TP_BASE, TP_BASE, TP_BASE, NULL, NULL),
			 -EBUSY);
	assert_int_equal(vg_dev_set_queue(dev, 2, 16, TP_BASE, TP_BASE, TP_BASE, NULL, NULL),
			 -EINVAL);
	dh_reset_queue(dev, 0, &where);
	assert_null(vg_dev_vq(dev, 0));
	assert_non_null(vg_dev_vq(dev, 1));
	assert_int_equal(vg_dev_set_queue(dev, 0, 15, TP_BASE, TP_BASE, TP_BASE, NULL, NULL),
			 -EINVAL);
	assert_int_equal(vg_dev_set_queue(dev, 0, 512, TP_BASE, TP_BASE, TP_BASE, NULL, NULL),
			 -EINVAL);
	assert_int_equal(vg_dev_set_queue(dev, 0, 0, TP_BASE, TP_BASE, TP_BASE, NULL, NULL),
			 -EINVAL);
	dh_reset_queue(dev, 0, NULL); /* not set: no harm */
	dh_reset_queue(dev, 99, NULL);
	/* After a queue reset it runs again at once: the other has never stopped. */
	assert_int_equal(vg_dev_set_queue(dev, 0, 16, tp.vr[0].desc_mem.addr,
					  tp.vr[0].driver_mem.addr, tp.vr[0].device_mem.addr, NULL,
					  NULL),
			 0);
	assert_non_null(vg_dev_vq(dev, 0));
	/* Kicks for what is not there. */
	vg_dev_kick(dev, 2);
	vg_dev_kick(dev, UINT32_MAX);
	tp_close(&tp);
}

/* A ring that is not in memory stops the device, and only until its reset. */
static void test_ring_not_there(void **state)
{
	static const uint64_t bad[] = { 0, TP_BASE + TP_MEMORY, TP_BASE + 1, UINT64_MAX - 15 };
	struct tp tp;
	struct vg_dev *dev = &tp.dev;

	(void)state;
	tp_open(&tp, TP_COPY, TARGET);
	for (size_t i = 0; i < COUNT(bad); i++) {
		tp_start(&tp, TP_ALL, 16);
		dh_reset_queue(dev, 0, NULL);
		assert_int_equal(vg_dev_set_queue(dev, 0, 16, bad[i], tp.vr[0].driver_mem.addr,
						  tp.vr[0].device_mem.addr, NULL, NULL),
				 0);
		assert_true(dev->status & VG_STATUS_NEEDS_RESET);
		assert_null(vg_dev_vq(dev, 0));
		tp_reset(&tp);
	}
	assert_int_equal(dh_stats(dev).faults, 4);
	tp_close(&tp);
}

/* ---- virtio-msg ------------------------------------------------------------- */

struct bus {
	struct vg_msg_bus bus;
	unsigned channels, pools, queues_gone, devices_gone;
	bool channel_bound;
	struct vg_wait *dropping; /* contexts look at a pool that is to go */
	bool at_once;
	size_t answered; /* bytes of an answer that came later */
};

static int bus_set_channel(struct vg_msg_bus *b, unsigned q, uint32_t port)
{
	struct bus *bus = (struct bus *)b;

	(void)q;
	bus->channels++;
	bus->channel_bound = port != 0;
	return port == 13 ? -ENOENT : 0;
}

static int bus_add_pool(struct vg_msg_bus *b, uint32_t first, uint32_t pages)
{
	(void)first;
	((struct bus *)b)->pools++;
	return pages ? 0 : -EINVAL;
}

static void bus_drop_pool(struct vg_msg_bus *b, uint32_t first, uint32_t pages, struct vg_wait *w)
{
	struct bus *bus = (struct bus *)b;

	(void)first;
	b->error = pages ? 0 : -EINVAL;
	if (bus->at_once)
		w->done(w);
	else
		bus->dropping = w;
}

static void bus_late(struct vg_msg_bus *b, size_t len)
{
	((struct bus *)b)->answered = len;
}

static bool bus_queue_wanted(struct vg_msg_bus *b, unsigned q, void **inflight)
{
	(void)q;
	*inflight = NULL;
	return ((struct bus *)b)->channel_bound;
}

static void bus_queue_gone(struct vg_msg_bus *b, unsigned q)
{
	(void)q;
	((struct bus *)b)->queues_gone++;
}

static void bus_device_gone(struct vg_msg_bus *b)
{
	((struct bus *)b)->devices_gone++;
}

static const struct vg_msg_bus_ops bus_ops = {
	.set_channel = bus_set_channel,
	.add_pool = bus_add_pool,
	.drop_pool = bus_drop_pool,
	.late = bus_late,
	.queue_wanted = bus_queue_wanted,
	.queue_gone = bus_queue_gone,
	.device_gone = bus_device_gone,
};

union msg {
	uint64_t align;
	uint8_t bytes[VIRTIO_GRANT_SLOT_SIZE];
	struct {
		struct virtio_msg_header h;
		union {
			uint32_t u32[8];
			struct virtio_msg_device_info_resp info;
			struct virtio_msg_features features;
			struct virtio_msg_get_config get_config;
			struct virtio_msg_config config;
			struct virtio_msg_vqueue vq;
			struct virtio_msg_status status;
			struct virtio_grant_vq_channel channel;
			struct virtio_grant_vq_channel_resp channel_resp;
			struct virtio_grant_pool pool;
			struct virtio_grant_pool_resp pool_resp;
		};
	};
};

static union msg req, resp;

/* Send what is in req, with @payload bytes. Return: payload bytes of the answer, or -1: none. */
static int ask(struct bus *bus, uint8_t type, uint8_t id, size_t payload)
{
	size_t len;

	req.h = (struct virtio_msg_header){ .type = type,
					    .msg_id = id,
					    .token = htole16(0x1234),
					    .msg_size = htole16((uint16_t)(8 + payload)) };
	memset(&resp, 0xee, sizeof(resp));
	len = vg_msg_handle(&bus->bus, &req, sizeof(req), &resp);
	if (!len)
		return -1;
	assert_true(len >= 8 && len <= sizeof(resp));
	assert_int_equal(resp.h.type, type | VIRTIO_MSG_TYPE_RESPONSE);
	assert_int_equal(resp.h.msg_id, id);
	assert_int_equal(le16toh(resp.h.token), 0x1234);
	assert_int_equal(le16toh(resp.h.msg_size), len);
	return (int)len - 8;
}

static uint32_t set_status(struct bus *bus, uint32_t status)
{
	req.status.status = htole32(status);
	assert_int_equal(ask(bus, 0, VIRTIO_MSG_SET_DEVICE_STATUS, 4), 4);
	return le32toh(resp.status.status);
}

static void set_features(struct bus *bus, uint64_t f)
{
	req.features = (struct virtio_msg_features){ htole32(0), htole32(2) };
	req.u32[2] = htole32((uint32_t)f);
	req.u32[3] = htole32((uint32_t)(f >> 32));
	assert_int_equal(ask(bus, 0, VIRTIO_MSG_SET_DRIVER_FEATURES, 16), 0);
}

static void open_bus(struct tp *tp, struct bus *bus)
{
	tp_open(tp, TP_COPY, TARGET);
	*bus = (struct bus){ .bus = { .ops = &bus_ops, .dev = &tp->dev } };
	memset(&req, 0, sizeof(req));
}

static void test_msg_device_info(void **state)
{
	struct bus bus;
	struct tp tp;

	(void)state;
	open_bus(&tp, &bus);
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_DEVICE_INFO, 0), 24);
	assert_int_equal(le32toh(resp.info.device_id), 2);
	assert_int_equal(le32toh(resp.info.num_feature_bits), 64);
	assert_int_equal(le32toh(resp.info.config_size), 96);
	assert_int_equal(le32toh(resp.info.max_vqs), 1);
	tp_close(&tp);
}

static void test_msg_features(void **state)
{
	struct bus bus;
	struct tp tp;
	uint64_t offered;

	(void)state;
	open_bus(&tp, &bus);
	req.features = (struct virtio_msg_features){ htole32(0), htole32(4) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_DEVICE_FEATURES, 8), 8 + 16);
	offered = le32toh(resp.u32[2]) | (uint64_t)le32toh(resp.u32[3]) << 32;
	assert_int_equal(offered, vg_dev_offered(&tp.dev));
	assert_int_equal(resp.u32[4], 0); /* blocks beyond are zero */
	assert_int_equal(resp.u32[5], 0);
	req.features = (struct virtio_msg_features){ htole32(UINT32_MAX), htole32(2) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_DEVICE_FEATURES, 8), 16);
	assert_int_equal(resp.u32[2], 0);
	assert_int_equal(resp.u32[3], 0); /* no wrap-around to block 0 */
	req.features = (struct virtio_msg_features){ htole32(0), htole32(117) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_DEVICE_FEATURES, 8), -1);
	req.features = (struct virtio_msg_features){ htole32(0), htole32(116) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_DEVICE_FEATURES, 8), 8 + 464);
	/* What follows must be as long as the count says. */
	req.features = (struct virtio_msg_features){ htole32(0), htole32(2) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_SET_DRIVER_FEATURES, 12), -1);
	req.features = (struct virtio_msg_features){ htole32(0), htole32(UINT32_MAX) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_SET_DRIVER_FEATURES, 12), -1);
	/* A bit that is far beyond what was offered makes FEATURES_OK fail. */
	set_features(&bus, VG_FEATURE(VG_F_VERSION_1));
	req.features = (struct virtio_msg_features){ htole32(3), htole32(1) };
	req.u32[2] = htole32(1);
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_SET_DRIVER_FEATURES, 12), 0);
	assert_int_equal(set_status(&bus, ACK | DRV | OK), ACK | DRV);
	assert_int_equal(set_status(&bus, 0), 0);
	set_features(&bus, VG_FEATURE(VG_F_VERSION_1));
	assert_int_equal(set_status(&bus, ACK | DRV | OK), ACK | DRV | OK);
	tp_close(&tp);
}

/* Bucket i has what took less than 2^i us; the last has the rest. */
static void test_latency(void **state)
{
	static const struct {
		int64_t ns;
		unsigned bucket;
	} cases[] = {
		{ -5, 0 },
		{ 0, 0 },
		{ 999, 0 },
		{ 1000, 1 },
		{ 1999, 1 },
		{ 2000, 2 },
		{ 3999, 2 },
		{ 4000, 3 },
		{ 1023999, 10 },
		{ 1024000, 11 },
		{ NS_PER_S, 20 },
		{ 4 * NS_PER_S, 22 },
		{ 5 * NS_PER_S, 23 },
		{ INT64_MAX, 23 },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(cases); i++) {
		struct vg_latency l = { 0 };

		vg_latency_add(&l, cases[i].ns);
		assert_int_equal(l.count[cases[i].bucket], 1);
		assert_int_equal(l.ns, cases[i].ns > 0 ? cases[i].ns : 0);
	}
}

static void test_msg_config(void **state)
{
	const uint32_t wce = offsetof(struct virtio_blk_config, wce);
	struct bus bus;
	struct tp tp;

	(void)state;
	open_bus(&tp, &bus);
	req.get_config = (struct virtio_msg_get_config){ 0, htole32(8) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_CONFIG, 8), 12 + 8);
	assert_int_equal(le32toh(resp.u32[3]), CAPACITY);
	/* Past the end, and more than a message holds: size 0. */
	req.get_config = (struct virtio_msg_get_config){ htole32(92), htole32(8) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_CONFIG, 8), 12);
	assert_int_equal(resp.config.size, 0);
	req.get_config = (struct virtio_msg_get_config){ htole32(UINT32_MAX), htole32(8) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_CONFIG, 8), 12);
	req.get_config = (struct virtio_msg_get_config){ 0, htole32(UINT32_MAX) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_CONFIG, 8), 12);
	assert_int_equal(resp.config.size, 0);
	/* Writing: wrong generation, wrong field, the right one. */
	set_features(&bus, vg_dev_offered(&tp.dev));
	set_status(&bus, ACK | DRV | OK);
	req.config = (struct virtio_msg_config){ htole32(7), htole32(wce), htole32(1) };
	req.bytes[20] = 0;
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_SET_CONFIG, 13), 12);
	assert_int_equal(resp.config.size, 0);
	assert_int_equal(le32toh(resp.config.generation), 0);
	req.config = (struct virtio_msg_config){ 0, 0, htole32(1) };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_SET_CONFIG, 13), 12);
	req.config = (struct virtio_msg_config){ 0, htole32(wce), htole32(1) };
	req.bytes[20] = 0;
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_SET_CONFIG, 13), 13);
	assert_int_equal(le32toh(resp.config.size), 1);
	assert_int_equal(resp.bytes[20], 0);
	/* Data shorter or longer than the size says. */
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_SET_CONFIG, 12), -1);
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_SET_CONFIG, 14), -1);
	/* A change by the device: the generation rises, and survives a reset. */
	vg_dev_config_changed(&tp.dev);
	assert_int_equal(tp.config_changes, 1);
	set_status(&bus, 0);
	req.get_config = (struct virtio_msg_get_config){ 0, 0 };
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_CONFIG, 8), 12);
	assert_int_equal(le32toh(resp.config.generation), 1);
	tp_close(&tp);
}

static uint32_t queue_size(struct bus *bus, uint32_t q, uint32_t *max)
{
	req.u32[0] = htole32(q);
	assert_int_equal(ask(bus, 0, VIRTIO_MSG_GET_VQUEUE, 4), 40);
	*max = le32toh(resp.vq.max_size);
	return le32toh(resp.vq.size);
}

static void set_queue(struct bus *bus, uint32_t q, uint32_t size)
{
	req.vq = (struct virtio_msg_vqueue){ .index = htole32(q),
					     .size = htole32(size),
					     .descriptor_addr = htole64(TP_BASE),
					     .driver_addr = htole64(TP_BASE + 4096),
					     .device_addr = htole64(TP_BASE + 8192) };
	assert_int_equal(ask(bus, 0, VIRTIO_MSG_SET_VQUEUE, 40), 0);
}

static void test_msg_queues(void **state)
{
	struct bus bus;
	struct tp tp;
	uint32_t max;

	(void)state;
	open_bus(&tp, &bus);
	assert_int_equal(queue_size(&bus, 0, &max), 0);
	assert_int_equal(max, 256);
	assert_int_equal(queue_size(&bus, 1, &max), 0);
	assert_int_equal(max, 0);
	queue_size(&bus, UINT32_MAX, &max);
	assert_int_equal(max, 0);
	set_queue(&bus, 0, 16); /* before FEATURES_OK */
	assert_int_equal(queue_size(&bus, 0, &max), 0);
	set_features(&bus, VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_RING_RESET));
	set_status(&bus, ACK | DRV | OK);
	set_queue(&bus, 0, 16); /* without a channel */
	assert_int_equal(queue_size(&bus, 0, &max), 0);

	req.channel = (struct virtio_grant_vq_channel){ htole32(5), htole32(9) };
	assert_int_equal(ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, 8), 8);
	assert_int_equal(le32toh(resp.channel_resp.error), EINVAL);
	assert_int_equal(bus.channels, 0);
	req.channel = (struct virtio_grant_vq_channel){ 0, htole32(13) };
	assert_int_equal(ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, 8), 8);
	assert_int_equal(le32toh(resp.channel_resp.error), ENOENT);
	req.channel = (struct virtio_grant_vq_channel){ 0, htole32(9) };
	assert_int_equal(ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, 8), 8);
	assert_int_equal(le32toh(resp.channel_resp.error), 0);

	set_queue(&bus, 0, 17);
	assert_int_equal(queue_size(&bus, 0, &max), 0);
	set_queue(&bus, 0, 16);
	assert_int_equal(queue_size(&bus, 0, &max), 16);
	assert_int_equal(le64toh(resp.vq.driver_addr), TP_BASE + 4096);
	set_queue(&bus, 0, 32); /* set already: no effect */
	assert_int_equal(queue_size(&bus, 0, &max), 16);
	/* Its channel cannot be changed under it. */
	req.channel = (struct virtio_grant_vq_channel){ 0, htole32(10) };
	ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, 8);
	assert_int_equal(le32toh(resp.channel_resp.error), EINVAL);
	set_status(&bus, ACK | DRV | OK | RUN);
	assert_non_null(vg_dev_vq(&tp.dev, 0));
	req.u32[0] = 0;
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_RESET_VQUEUE, 4), 0);
	assert_int_equal(bus.queues_gone, 1);
	assert_null(vg_dev_vq(&tp.dev, 0));
	req.u32[0] = htole32(77);
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_RESET_VQUEUE, 4), 0);
	assert_int_equal(bus.queues_gone, 1);
	assert_int_equal(set_status(&bus, 0), 0);
	assert_int_equal(bus.devices_gone, 1);
	tp_close(&tp);
}

static void test_msg_bus(void **state)
{
	struct bus bus;
	struct tp tp;

	(void)state;
	open_bus(&tp, &bus);
	req.u32[0] = 0xdeadbeef;
	assert_int_equal(ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_MSG_BUS_PING, 4), 4);
	assert_int_equal(resp.u32[0], 0xdeadbeef);
	req.pool = (struct virtio_grant_pool){ htole32(100), htole32(4) };
	assert_int_equal(ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_ADD_POOL, 8), 8);
	assert_int_equal(resp.pool_resp.error, 0);
	assert_int_equal(le32toh(resp.pool_resp.first_ref), 100);
	req.pool.pages = 0;
	ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_ADD_POOL, 8);
	assert_int_equal(le32toh(resp.pool_resp.error), EINVAL);
	/* And while it runs. */
	tp_start(&tp, TP_ALL, 16);
	req.pool.pages = htole32(4);
	ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_ADD_POOL, 8);
	assert_int_equal(resp.pool_resp.error, 0);
	assert_int_equal(bus.pools, 3);
	req.u32[0] = htole32(0);
	assert_int_equal(ask(&bus, 0, VIRTIO_MSG_GET_SHM, 4), 12);
	assert_int_equal(resp.u32[1], 0);
	tp_close(&tp);
}

/* A pool is dropped at once, or when all contexts have looked; the answer is the same. */
static void test_msg_drop_pool(void **state)
{
	const struct virtio_grant_pool_resp *late;
	struct bus bus;
	struct tp tp;

	(void)state;
	open_bus(&tp, &bus);
	bus.at_once = true;
	req.pool = (struct virtio_grant_pool){ htole32(100), htole32(4) };
	assert_int_equal(ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_DROP_POOL, 8), 8);
	assert_int_equal(le32toh(resp.pool_resp.first_ref), 100);
	assert_int_equal(resp.pool_resp.error, 0);
	req.pool.pages = 0;
	ask(&bus, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_DROP_POOL, 8);
	assert_int_equal(le32toh(resp.pool_resp.error), EINVAL);
	assert_int_equal(bus.answered, 0);

	bus.at_once = false;
	req.pool.pages = htole32(4);
	req.h = (struct virtio_msg_header){ VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_DROP_POOL, 0,
					    htole16(7), htole16(16) };
	assert_true(vg_msg_handle(&bus.bus, &req, 16, &resp) == VG_MSG_LATER);
	assert_int_equal(bus.answered, 0);
	bus.bus.error = -EBUSY;
	bus.dropping->done(bus.dropping);
	assert_int_equal(bus.answered, 16);
	late = (const void *)(bus.bus.late + sizeof(struct virtio_msg_header));
	assert_int_equal(bus.bus.late[0], VIRTIO_MSG_TYPE_BUS | VIRTIO_MSG_TYPE_RESPONSE);
	assert_int_equal(le32toh(late->first_ref), 100);
	assert_int_equal(le32toh(late->error), EBUSY);
	tp_close(&tp);
}

/* Every type, every id, every size: a message is answered or discarded, and nothing else happens. */
static void test_msg_hostile(void **state)
{
	struct bus bus;
	struct tp tp;
	unsigned answered = 0;

	(void)state;
	open_bus(&tp, &bus);
	for (unsigned type = 0; type < 256; type++) {
		for (unsigned id = 0; id < 256; id++) {
			for (unsigned size = 0; size <= 96; size++) {
				memset(&req, (int)(id * 31 + size), sizeof(req));
				req.h = (struct virtio_msg_header){
					.type = (uint8_t)type,
					.msg_id = (uint8_t)id,
					.msg_size = htole16((uint16_t)size),
				};
				answered += vg_msg_handle(&bus.bus, &req, sizeof(req), &resp) != 0;
			}
		}
	}
	/* One size each for 7 requests of fixed size that take any content, and so on: few. */
	assert_true(answered > 5 && answered < 200);
	/* Sizes beyond the slot, and beyond what was copied. */
	for (unsigned size = 481; size < 65536; size += 97) {
		req.h = (struct virtio_msg_header){ .msg_id = VIRTIO_MSG_SET_DRIVER_FEATURES,
						    .msg_size = htole16((uint16_t)size) };
		assert_int_equal(vg_msg_handle(&bus.bus, &req, sizeof(req), &resp), 0);
	}
	req.h = (struct virtio_msg_header){ .msg_id = VIRTIO_MSG_GET_DEVICE_STATUS,
					    .msg_size = htole16(8) };
	assert_int_equal(vg_msg_handle(&bus.bus, &req, 7, &resp), 0);
	req.h.dev_num = htole16(1);
	assert_int_equal(vg_msg_handle(&bus.bus, &req, sizeof(req), &resp), 0);
	req.h.dev_num = 0;
	assert_int_equal(vg_msg_handle(&bus.bus, &req, sizeof(req), &resp), 12);
	tp_close(&tp);
}

#define TEST(f) cmocka_unit_test_setup(f, make_image)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_status),	    TEST(test_queues),	     TEST(test_ring_not_there),
		TEST(test_msg_device_info), TEST(test_msg_features), TEST(test_msg_config),
		TEST(test_msg_queues),	    TEST(test_msg_bus),	     TEST(test_msg_drop_pool),
		TEST(test_latency),	    TEST(test_msg_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
