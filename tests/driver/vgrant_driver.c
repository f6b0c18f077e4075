/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgrant_driver.c - the virtio half of the frontend: features, status, config, queues
 */
#include "tests/driver/vgrant_driver.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>

#define F_IN_ORDER   35u
#define F_RING_RESET 40u

#define BIT64(n) (1ull << (n))

/* Config bytes in a GET_CONFIG response, a SET_CONFIG request. */
#define CONFIG_MAX                                                   \
	(VIRTIO_GRANT_SLOT_SIZE - sizeof(struct virtio_msg_header) - \
	 sizeof(struct virtio_msg_config))

/* call() - a request with a response of exactly @resp_len bytes */
static int call(struct drv_dev *dev, uint8_t type, uint8_t id, const void *req, size_t req_len,
		void *resp, size_t resp_len)
{
	int rc = drv_msg_call(dev, type, id, req, req_len, resp, resp_len);

	if (rc < 0)
		return rc;
	return (size_t)rc == resp_len ? 0 : -EPROTO;
}

/* ---- status and features -------------------------------------------------- */

int drv_dev_get_status(struct drv_dev *dev)
{
	struct virtio_msg_status a;
	int rc = call(dev, 0, VIRTIO_MSG_GET_DEVICE_STATUS, NULL, 0, &a, sizeof(a));

	return rc ? rc : (int)le32toh(a.status);
}

int drv_dev_set_status(struct drv_dev *dev, uint32_t status)
{
	struct virtio_msg_status q = { .status = htole32(status) }, a;
	int rc = call(dev, 0, VIRTIO_MSG_SET_DEVICE_STATUS, &q, sizeof(q), &a, sizeof(a));

	return rc ? rc : (int)le32toh(a.status);
}

bool drv_dev_has(const struct drv_dev *dev, unsigned int bit)
{
	return dev->features[bit / 64] >> (bit % 64) & 1;
}

int drv_dev_negotiate(struct drv_dev *dev, uint64_t want)
{
	struct {
		struct virtio_msg_features hdr;
		uint32_t block[2];
	} q;
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	int rc;

	want |= BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_F_ACCESS_PLATFORM);
	want &= dev->offered[0];
	rc = drv_dev_set_status(dev, status);
	if (rc >= 0)
		rc = drv_dev_set_status(dev, status |= VIRTIO_CONFIG_S_DRIVER);
	if (rc < 0)
		return rc;
	q.hdr.index = 0;
	q.hdr.num = htole32(2);
	q.block[0] = htole32((uint32_t)want);
	q.block[1] = htole32((uint32_t)(want >> 32));
	rc = call(dev, 0, VIRTIO_MSG_SET_DRIVER_FEATURES, &q, sizeof(q), NULL, 0);
	if (!rc)
		rc = drv_dev_set_status(dev, status |= VIRTIO_CONFIG_S_FEATURES_OK);
	if (rc < 0)
		return rc;
	if (!(rc & VIRTIO_CONFIG_S_FEATURES_OK))
		return -EINVAL;
	dev->features[0] = want;
	return 0;
}

int drv_dev_driver_ok(struct drv_dev *dev)
{
	int rc = drv_dev_get_status(dev);

	if (rc >= 0)
		rc = drv_dev_set_status(dev, (uint32_t)rc | VIRTIO_CONFIG_S_DRIVER_OK);
	if (rc < 0)
		return rc;
	return rc & VIRTIO_CONFIG_S_DRIVER_OK ? 0 : -EINVAL;
}

int drv_dev_start(struct drv_dev *dev, uint64_t want, unsigned int queues, unsigned int size)
{
	unsigned int i;
	int rc = drv_dev_negotiate(dev, want);

	for (i = 0; !rc && i < queues; i++)
		rc = drv_dev_queue(dev, i, size);
	return rc ? rc : drv_dev_driver_ok(dev);
}

/* ---- config ---------------------------------------------------------------- */

int drv_dev_config_read(struct drv_dev *dev, unsigned int offset, void *data, unsigned int len,
			uint32_t *generation)
{
	struct {
		struct virtio_msg_config hdr;
		uint8_t data[CONFIG_MAX];
	} a;
	struct virtio_msg_get_config q;
	uint32_t gen = 0, done, n;
	int rc;

	do {
		for (done = 0; done < len; done += n) {
			n = len - done < CONFIG_MAX ? len - done : (uint32_t)CONFIG_MAX;
			q.offset = htole32(offset + done);
			q.size = htole32(n);
			rc = drv_msg_call(dev, 0, VIRTIO_MSG_GET_CONFIG, &q, sizeof(q), &a,
					  sizeof(a));
			if (rc < 0)
				return rc;
			if ((size_t)rc < sizeof(a.hdr) || a.hdr.offset != q.offset)
				return -EPROTO;
			if (!a.hdr.size)
				return -ERANGE;
			if (a.hdr.size != q.size || (size_t)rc != sizeof(a.hdr) + n)
				return -EPROTO;
			memcpy((uint8_t *)data + done, a.data, n);
			if (!done)
				gen = le32toh(a.hdr.generation);
			else if (gen != le32toh(a.hdr.generation))
				break; /* it changed in the middle */
		}
	} while (done < len);
	if (generation)
		*generation = gen;
	return 0;
}

int drv_dev_config_write(struct drv_dev *dev, uint32_t generation, unsigned int offset,
			 const void *data, unsigned int len)
{
	struct {
		struct virtio_msg_config hdr;
		uint8_t data[CONFIG_MAX];
	} q, a;
	int rc;

	if (len > CONFIG_MAX)
		return -EMSGSIZE;
	q.hdr.generation = htole32(generation);
	q.hdr.offset = htole32(offset);
	q.hdr.size = htole32(len);
	memcpy(q.data, data, len);
	rc = drv_msg_call(dev, 0, VIRTIO_MSG_SET_CONFIG, &q, sizeof(q.hdr) + len, &a, sizeof(a));
	if (rc < 0)
		return rc;
	if ((size_t)rc < sizeof(a.hdr) || a.hdr.offset != q.hdr.offset)
		return -EPROTO;
	if (!a.hdr.size)
		return (size_t)rc == sizeof(a.hdr) ? -EPERM : -EPROTO;
	return a.hdr.size == q.hdr.size && (size_t)rc == sizeof(a.hdr) + len ? 0 : -EPROTO;
}

/* ---- queues ---------------------------------------------------------------- */

/* get_vqueue() - GET_VQUEUE */
static int get_vqueue(struct drv_dev *dev, unsigned int index, struct virtio_msg_vqueue *a)
{
	struct virtio_msg_vq_index q = { .index = htole32(index) };
	int rc = call(dev, 0, VIRTIO_MSG_GET_VQUEUE, &q, sizeof(q), a, sizeof(*a));

	return !rc && a->index != q.index ? -EPROTO : rc;
}

/* set_vqueue() - SET_VQUEUE; *shown: what GET_VQUEUE says then */
static int set_vqueue(struct drv_dev *dev, const struct virtio_msg_vqueue *m,
		      struct virtio_msg_vqueue *shown)
{
	int rc = call(dev, 0, VIRTIO_MSG_SET_VQUEUE, m, sizeof(*m), NULL, 0);

	return rc ? rc : get_vqueue(dev, le32toh(m->index), shown);
}

int drv_dev_set_vqueue(struct drv_dev *dev, uint32_t index, uint32_t size, uint64_t desc,
		       uint64_t driver, uint64_t device)
{
	const struct virtio_msg_vqueue m = { .index = htole32(index),
					     .size = htole32(size),
					     .descriptor_addr = htole64(desc),
					     .driver_addr = htole64(driver),
					     .device_addr = htole64(device) };
	struct virtio_msg_vqueue shown;
	int rc = set_vqueue(dev, &m, &shown);

	return rc ? rc : (int)le32toh(shown.size);
}

int drv_dev_set_channel(struct drv_dev *dev, uint32_t index, uint32_t port)
{
	const struct virtio_grant_vq_channel m = { htole32(index), htole32(port) };
	struct virtio_grant_vq_channel_resp a = { 0, 0xffff };
	int rc = call(dev, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, &m, sizeof(m), &a,
		      sizeof(a));

	return rc ? rc : (int)le32toh(a.error);
}

/* name_channel() - SET_VQ_CHANNEL, with the port that the queue has, or a new one */
static int name_channel(struct drv_queue *q)
{
	int rc;

	if (!q->port) {
		rc = drv_xen_port_alloc(q->dev->xen, q->dev->backend);
		if (rc < 0)
			return rc;
		q->port = (uint32_t)rc;
	}
	rc = drv_dev_set_channel(q->dev, q->index, q->port);
	return rc < 0 ? rc : -rc;
}

int drv_dev_queue(struct drv_dev *dev, unsigned int index, unsigned int size)
{
	struct drv_vring_config cfg = {
		.packed = drv_dev_has(dev, VIRTIO_F_RING_PACKED),
		.event_idx = drv_dev_has(dev, VIRTIO_RING_F_EVENT_IDX),
		.indirect = drv_dev_has(dev, VIRTIO_RING_F_INDIRECT_DESC),
		.in_order = drv_dev_has(dev, F_IN_ORDER),
	};
	struct virtio_msg_vqueue m, a;
	struct drv_queue *q;
	int rc;

	if (index >= DRV_MAX_QUEUES)
		return -EINVAL;
	q = &dev->queues[index];
	rc = get_vqueue(dev, index, &a);
	if (rc)
		return rc;
	if (!a.max_size)
		return -ENOENT;
	cfg.size = size ? size : le32toh(a.max_size);
	rc = drv_vring_init(&q->vr, &cfg, dev->ring_mem);
	if (rc)
		return rc;
	q->live = true;
	rc = name_channel(q);
	if (rc)
		return rc;
	m = (struct virtio_msg_vqueue){
		.index = htole32(index),
		.size = htole32(cfg.size),
		.descriptor_addr = htole64(q->vr.desc_mem.addr),
		.driver_addr = htole64(q->vr.driver_mem.addr),
		.device_addr = htole64(q->vr.device_mem.addr),
	};
	rc = set_vqueue(dev, &m, &a);
	if (rc)
		return rc;
	if (!a.size)
		return -EINVAL;
	q->set = true;
	return a.size == m.size && a.descriptor_addr == m.descriptor_addr &&
			       a.driver_addr == m.driver_addr && a.device_addr == m.device_addr
		       ? 0
		       : -EPROTO;
}

int drv_dev_queue_reset(struct drv_dev *dev, unsigned int index)
{
	struct virtio_msg_vq_index m = { .index = htole32(index) };
	struct drv_queue *q = &dev->queues[index];
	int rc;

	if (!drv_dev_has(dev, F_RING_RESET))
		return -EOPNOTSUPP;
	rc = call(dev, 0, VIRTIO_MSG_RESET_VQUEUE, &m, sizeof(m), NULL, 0);
	if (rc)
		return rc;
	if (q->port && !drv_xen_port_unbound(dev->xen, q->port)) {
		dev->still_bound++;
		rc = -EBUSY;
	}
	if (q->live && drv_vring_fini(&q->vr))
		rc = -EBUSY;
	q->live = q->set = false;
	return rc;
}

bool drv_queue_kick(struct drv_queue *q)
{
	bool kick = drv_vring_publish(&q->vr);

	if (kick)
		drv_queue_notify(q);
	return kick;
}

void drv_queue_notify(struct drv_queue *q)
{
	drv_xen_port_notify(q->dev->xen, q->port);
}

int drv_queue_wait(struct drv_queue *q, struct drv_used *used)
{
	int rc;

	for (;;) {
		rc = drv_vring_get(&q->vr, used);
		if (rc)
			return rc < 0 ? rc : 0;
		if (!drv_vring_enable_cb(&q->vr))
			continue;
		rc = drv_xen_port_wait(q->dev->xen, q->port, q->dev->timeout_ms);
		/* No last look: a chain used without a notification shall show. */
		if (rc)
			return rc;
	}
}

/* ---- the pool -------------------------------------------------------------- */

int drv_pool_msg(struct drv_dev *dev, uint8_t id, uint32_t first_ref, uint32_t pages)
{
	struct virtio_grant_pool m = { htole32(first_ref), htole32(pages) };
	struct virtio_grant_pool_resp a;
	int rc = call(dev, VIRTIO_MSG_TYPE_BUS, id, &m, sizeof(m), &a, sizeof(a));

	return rc ? rc : -(int)le32toh(a.error);
}

static uint32_t first_ref(const struct drv_buf *buf)
{
	return (uint32_t)(buf->addr >> VIRTIO_GRANT_PAGE_SHIFT);
}

int drv_dev_pool(struct drv_dev *dev, unsigned int pages, struct drv_mem **out)
{
	struct drv_buf *buf;
	char path[192];
	int rc;

	snprintf(path, sizeof(path), "%s/%s", dev->back, VIRTIO_GRANT_KEY_FEATURE_POOL);
	if (drv_xs_read_int(dev->xs, path, 0) < VIRTIO_GRANT_POOL_FIXED)
		return -EOPNOTSUPP;
	if (dev->pools == DRV_MAX_POOLS)
		return -ENOSPC;
	buf = &dev->pool_buf[dev->pools];
	rc = drv_alloc(&dev->gmem.mem, (size_t)pages * DRV_PAGE, DRV_PAGE, true, buf);
	if (rc)
		return rc;
	rc = drv_pool_msg(dev, VIRTIO_GRANT_BUS_ADD_POOL, first_ref(buf), pages);
	if (!rc)
		rc = drv_mem_flat_init(&dev->pool[dev->pools], buf->virt, buf->addr, buf->len);
	if (rc) {
		drv_free(&dev->gmem.mem, buf);
		return rc;
	}
	*out = &dev->pool[dev->pools++].mem;
	return 0;
}

int drv_dev_pool_drop(struct drv_dev *dev)
{
	struct drv_buf *buf = &dev->pool_buf[dev->pools - 1];
	int rc = drv_pool_msg(dev, VIRTIO_GRANT_BUS_DROP_POOL, first_ref(buf),
			      (uint32_t)(buf->len / DRV_PAGE));

	if (rc)
		return rc;
	drv_mem_flat_fini(&dev->pool[--dev->pools]);
	return drv_free(&dev->gmem.mem, buf);
}
