// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_msg.c - see virtio_msg.h
 *
 * Each message is a row of a table: how large its request must be, and who
 * answers. A handler gets the payload, checked for its least size, and writes
 * the payload of the response; it returns that payload's size, or DISCARD.
 */
#include "backend/ports/grant/virtio_msg.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "backend/base/container.h"

enum {
	DISCARD = -1,
	HEADER = sizeof(struct virtio_msg_header),
	ROOM = VIRTIO_GRANT_SLOT_SIZE - HEADER, /* payload bytes of a message */
	VENDOR_ID = 0x564752,			/* "VGR": what GET_DEVICE_INFO calls the vendor */
	FEATURE_BITS = 64, /* a device's features fit here; blocks beyond are zero */
};

typedef int (*msg_handler)(struct vg_msg_bus *bus, const void *req, size_t len, void *resp);

static int get_device_info(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct vg_dev *dev = bus->dev;
	struct virtio_msg_device_info_resp *r = resp;

	(void)req;
	(void)len;
	r->device_id = htole32(dev->ops->virtio_id);
	r->vendor_id = htole32(VENDOR_ID);
	r->num_feature_bits = htole32(FEATURE_BITS);
	r->config_size = htole32(dev->config_size);
	r->max_vqs = htole32(dev->n_queues);
	r->admin_vq_start = 0;
	r->admin_vq_count = 0;
	return sizeof(*r);
}

static int get_device_features(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_features *q = req;
	struct virtio_msg_features *r = resp;
	uint32_t *block = (uint32_t *)(r + 1);
	uint64_t offered = vg_dev_offered(bus->dev);
	uint32_t first = le32toh(q->index);
	uint32_t num = le32toh(q->num);

	(void)len;
	if (num > (ROOM - sizeof(*r)) / sizeof(*block))
		return DISCARD;
	*r = *q;
	for (uint32_t i = 0; i < num; i++) {
		uint64_t n = (uint64_t)first + i;

		block[i] = n < FEATURE_BITS / 32 ? htole32((uint32_t)(offered >> (32 * n))) : 0;
	}
	return (int)(sizeof(*r) + num * sizeof(*block));
}

static int set_driver_features(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_features *q = req;
	const uint32_t *block = (const uint32_t *)(q + 1);
	uint32_t first = le32toh(q->index);
	uint32_t num = le32toh(q->num);
	uint64_t features = bus->dev->driver_features;
	bool unknown = false;

	(void)resp;
	if (num > ROOM / sizeof(*block) || len != sizeof(*q) + num * sizeof(*block))
		return DISCARD;
	for (uint32_t i = 0; i < num; i++) {
		uint64_t n = (uint64_t)first + i;
		uint64_t bits = le32toh(block[i]);

		if (n < FEATURE_BITS / 32)
			features = (features & ~(0xffffffffULL << (32 * n))) | bits << (32 * n);
		else if (bits)
			unknown = true;
	}
	/* A bit that does not even fit was not offered: bit 63 never is, so FEATURES_OK will fail. */
	vg_dev_set_features(bus->dev, unknown ? features | 1ULL << 63 : features);
	return 0;
}

static int get_config(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_get_config *q = req;
	struct virtio_msg_config *r = resp;
	uint32_t size = le32toh(q->size);

	(void)len;
	r->generation = htole32(bus->dev->generation);
	r->offset = q->offset;
	r->size = q->size;
	if (size > ROOM - sizeof(*r) ||
	    vg_dev_config_read(bus->dev, le32toh(q->offset), r + 1, size) < 0) {
		r->size = 0;
		size = 0;
	}
	return (int)(sizeof(*r) + size);
}

static int set_config(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_config *q = req;
	struct virtio_msg_config *r = resp;
	uint32_t offset = le32toh(q->offset);
	uint32_t size = le32toh(q->size);
	bool done;

	if (size > ROOM - sizeof(*q) || len != sizeof(*q) + size)
		return DISCARD;
	done = le32toh(q->generation) == bus->dev->generation &&
	       vg_dev_config_write(bus->dev, offset, q + 1, size) == 0;
	r->generation = htole32(bus->dev->generation);
	r->offset = q->offset;
	r->size = done ? q->size : 0;
	if (!done)
		return sizeof(*r);
	vg_dev_config_read(bus->dev, offset, r + 1, size);
	return (int)(sizeof(*r) + size);
}

static int get_status(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	struct virtio_msg_status *r = resp;

	(void)req;
	(void)len;
	r->status = htole32(bus->dev->status);
	return sizeof(*r);
}

static int set_status(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_status *q = req;
	struct virtio_msg_status *r = resp;
	uint32_t status = le32toh(q->status);

	(void)len;
	r->status = htole32(vg_dev_set_status(bus->dev, status));
	if (status == 0)
		bus->ops->device_gone(bus);
	return sizeof(*r);
}

static int get_vqueue(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_vq_index *q = req;
	struct virtio_msg_vqueue *r = resp;
	uint32_t i = le32toh(q->index);

	(void)len;
	memset(r, 0, sizeof(*r));
	r->index = q->index;
	r->max_size = htole32(vg_dev_queue_max(bus->dev, i));
	if (r->max_size && bus->dev->queue[i].enabled) {
		const struct vg_queue *queue = &bus->dev->queue[i];

		r->size = htole32(queue->size);
		r->descriptor_addr = htole64(queue->desc);
		r->driver_addr = htole64(queue->driver);
		r->device_addr = htole64(queue->device);
	}
	return sizeof(*r);
}

static int set_vqueue(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_vqueue *q = req;
	struct vg_dev *dev = bus->dev;
	uint32_t i = le32toh(q->index);
	void *inflight;

	(void)len;
	(void)resp;
	/* A refusal shows in GET_VQUEUE alone (PROTOCOL.md 5.1). After DRIVER_OK a queue may come
	 * back only where queues can be reset. */
	if (!vg_dev_queue_max(dev, i) || dev->queue[i].enabled ||
	    ((dev->status & VG_STATUS_DRIVER_OK) && !vg_dev_has(dev, VG_F_RING_RESET)) ||
	    !bus->ops->queue_wanted(bus, i, &inflight))
		return 0;
	vg_dev_set_queue(dev, i, le32toh(q->size), le64toh(q->descriptor_addr),
			 le64toh(q->driver_addr), le64toh(q->device_addr), NULL, inflight);
	return 0;
}

static int reset_vqueue(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_vq_index *q = req;
	uint32_t i = le32toh(q->index);

	(void)len;
	(void)resp;
	if (vg_dev_has(bus->dev, VG_F_RING_RESET) && vg_dev_queue_max(bus->dev, i)) {
		vg_dev_reset_queue(bus->dev, i, NULL);
		bus->ops->queue_gone(bus, i);
	}
	return 0;
}

static int get_shm(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_vq_index *q = req;
	struct virtio_msg_shm_resp *r = resp;

	(void)bus;
	(void)len;
	memset(r, 0, sizeof(*r));
	r->index = q->index;
	return sizeof(*r);
}

static int ping(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	(void)bus;
	(void)len;
	memcpy(resp, req, sizeof(struct virtio_msg_ping));
	return sizeof(struct virtio_msg_ping);
}

static int set_vq_channel(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_grant_vq_channel *q = req;
	struct virtio_grant_vq_channel_resp *r = resp;
	uint32_t i = le32toh(q->index);
	int ret = -EINVAL;

	(void)len;
	if (vg_dev_queue_max(bus->dev, i) && !bus->dev->queue[i].enabled)
		ret = bus->ops->set_channel(bus, i, le32toh(q->port));
	r->index = q->index;
	r->error = htole32((uint32_t)-ret);
	return sizeof(*r);
}

static int add_pool(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_grant_pool *q = req;
	struct virtio_grant_pool_resp *r = resp;
	int ret = -EBUSY;

	(void)len;
	if (!(bus->dev->status & VG_STATUS_DRIVER_OK))
		ret = bus->ops->add_pool(bus, le32toh(q->first_ref), le32toh(q->pages));
	r->first_ref = q->first_ref;
	r->error = htole32((uint32_t)-ret);
	return sizeof(*r);
}

struct row {
	msg_handler handle; /* NULL: no such message */
	uint16_t size;	    /* payload bytes; the least, when more may follow */
	bool more;
};

static const struct row transport[] = {
	[VIRTIO_MSG_GET_DEVICE_INFO] = { get_device_info, 0, false },
	[VIRTIO_MSG_GET_DEVICE_FEATURES] = { get_device_features,
					     sizeof(struct virtio_msg_features), false },
	[VIRTIO_MSG_SET_DRIVER_FEATURES] = { set_driver_features,
					     sizeof(struct virtio_msg_features), true },
	[VIRTIO_MSG_GET_CONFIG] = { get_config, sizeof(struct virtio_msg_get_config), false },
	[VIRTIO_MSG_SET_CONFIG] = { set_config, sizeof(struct virtio_msg_config), true },
	[VIRTIO_MSG_GET_DEVICE_STATUS] = { get_status, 0, false },
	[VIRTIO_MSG_SET_DEVICE_STATUS] = { set_status, sizeof(struct virtio_msg_status), false },
	[VIRTIO_MSG_GET_VQUEUE] = { get_vqueue, sizeof(struct virtio_msg_vq_index), false },
	[VIRTIO_MSG_SET_VQUEUE] = { set_vqueue, sizeof(struct virtio_msg_vqueue), false },
	[VIRTIO_MSG_RESET_VQUEUE] = { reset_vqueue, sizeof(struct virtio_msg_vq_index), false },
	[VIRTIO_MSG_GET_SHM] = { get_shm, sizeof(struct virtio_msg_vq_index), false },
};

static const struct row bus_rows[] = {
	[VIRTIO_MSG_BUS_PING] = { ping, sizeof(struct virtio_msg_ping), false },
	[VIRTIO_GRANT_BUS_SET_VQ_CHANNEL] = { set_vq_channel,
					      sizeof(struct virtio_grant_vq_channel), false },
	[VIRTIO_GRANT_BUS_ADD_POOL] = { add_pool, sizeof(struct virtio_grant_pool), false },
};

static const struct row *find_row(uint8_t type, uint8_t id)
{
	size_t n = COUNT(transport);
	const struct row *rows = transport;

	if (type == VIRTIO_MSG_TYPE_BUS) {
		rows = bus_rows;
		n = COUNT(bus_rows);
	} else if (type != VIRTIO_MSG_TYPE_REQUEST) {
		return NULL; /* a response, or bits that revision 1 does not know */
	}
	return id < n && rows[id].handle ? &rows[id] : NULL;
}

size_t vg_msg_handle(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_header *h = req;
	struct virtio_msg_header *r = resp;
	const struct row *row;
	size_t size;
	int ret;

	if (len < HEADER)
		return 0;
	size = le16toh(h->msg_size);
	if (size < HEADER || size > len || size > VIRTIO_GRANT_SLOT_SIZE || h->dev_num != 0)
		return 0;
	row = find_row(h->type, h->msg_id);
	if (!row)
		return 0;
	size -= HEADER;
	if (row->more ? size < row->size : size != row->size)
		return 0;
	ret = row->handle(bus, h + 1, size, r + 1);
	if (ret == DISCARD)
		return 0;
	*r = *h;
	r->type |= VIRTIO_MSG_TYPE_RESPONSE;
	r->msg_size = htole16((uint16_t)(HEADER + ret));
	return HEADER + (size_t)ret;
}

size_t vg_msg_event_config(const struct vg_dev *dev, void *msg)
{
	struct virtio_msg_header *h = msg;
	struct virtio_msg_event_config *e = (struct virtio_msg_event_config *)(h + 1);

	memset(msg, 0, sizeof(*h) + sizeof(*e));
	h->msg_id = VIRTIO_MSG_EVENT_CONFIG;
	h->msg_size = htole16(sizeof(*h) + sizeof(*e));
	e->status = htole32(dev->status);
	e->generation = htole32(dev->generation);
	return sizeof(*h) + sizeof(*e);
}
