// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio_msg.c - see virtio_msg.h
 *
 * Each message is a row of a table: how large its request must be, and who
 * answers. A handler gets the payload, checked for its least size, and writes
 * the payload of the response; it returns that payload's size, DISCARD, or LATER:
 * a reset, of the device or of a queue, is answered when all has stopped, and that a
 * pool is dropped when no context looks at it any more.
 */
#include "backend/ports/grant/virtio_msg.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/virtio/port.h"

enum {
	DISCARD = -1,
	LATER = -2,
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
	r->device_id = htole32(dev->virtio_id);
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

/* ---- what may take long --------------------------------------------------- */

/* Begin it. Return: where the payload of its answer, @size bytes, zeroed, waits for it to be done. */
static void *late_begin(struct vg_msg_bus *bus, const void *req, size_t size)
{
	struct virtio_msg_header *h = (struct virtio_msg_header *)bus->late;

	memcpy(h, (const uint8_t *)req - HEADER, HEADER);
	h->type |= VIRTIO_MSG_TYPE_RESPONSE;
	h->msg_size = htole16((uint16_t)(HEADER + size));
	memset(h + 1, 0, size);
	bus->done = false;
	bus->handling = true;
	return h + 1;
}

/* It is done: at once, while its request is handled, or later. */
static void late_done(struct vg_msg_bus *bus)
{
	const struct virtio_msg_header *h = (const struct virtio_msg_header *)bus->late;

	if (bus->handling)
		bus->done = true;
	else
		bus->ops->late(bus, le16toh(h->msg_size));
}

/* What its handler returns. */
static int late_end(struct vg_msg_bus *bus, void *resp)
{
	const struct virtio_msg_header *h = (const struct virtio_msg_header *)bus->late;
	size_t size = le16toh(h->msg_size) - HEADER;

	bus->handling = false;
	if (!bus->done)
		return LATER;
	memcpy(resp, h + 1, size);
	return (int)size;
}

/* Each context has let go of what was reset. */
static void has_let_go(struct vg_wait *w)
{
	late_done(container_of(w, struct vg_msg_bus, let_go));
}

static void has_stopped(struct vg_wait *w)
{
	struct vg_msg_bus *bus = container_of(w, struct vg_msg_bus, wait);

	if (bus->late_queue == UINT32_MAX)
		bus->ops->device_gone(bus);
	else
		bus->ops->queue_gone(bus, bus->late_queue);
	/* The answer promises: no channel is bound. */
	vg_dev_sync(bus->dev, &bus->let_go);
}

/* Return: as a handler; the status in the answer to a device's reset is 0. */
static int reset(struct vg_msg_bus *bus, const void *req, void *resp, uint32_t queue)
{
	bool device = queue == UINT32_MAX;

	late_begin(bus, req, device ? sizeof(struct virtio_msg_status) : 0);
	bus->late_queue = queue;
	bus->wait.done = has_stopped;
	bus->let_go.done = has_let_go;
	if (device)
		vg_dev_reset(bus->dev, &bus->wait);
	else
		vg_dev_reset_queue(bus->dev, queue, NULL, &bus->wait);
	return late_end(bus, resp);
}

static int set_status(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_msg_status *q = req;
	struct virtio_msg_status *r = resp;
	uint32_t status = le32toh(q->status);

	(void)len;
	if (status == 0)
		return reset(bus, req, resp, UINT32_MAX);
	r->status = htole32(vg_dev_set_status(bus->dev, status));
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
	if (!vg_dev_has(bus->dev, VG_F_RING_RESET) || !vg_dev_queue_max(bus->dev, i))
		return 0;
	return reset(bus, req, resp, i);
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
	int ret = bus->ops->add_pool(bus, le32toh(q->first_ref), le32toh(q->pages));

	(void)len;
	r->first_ref = q->first_ref;
	r->error = htole32((uint32_t)-ret);
	return sizeof(*r);
}

static void pool_dropped(struct vg_wait *w)
{
	struct vg_msg_bus *bus = container_of(w, struct vg_msg_bus, wait);
	struct virtio_grant_pool_resp *r = (void *)(bus->late + HEADER);

	r->error = htole32((uint32_t)-bus->error);
	late_done(bus);
}

static int drop_pool(struct vg_msg_bus *bus, const void *req, size_t len, void *resp)
{
	const struct virtio_grant_pool *q = req;
	struct virtio_grant_pool_resp *r = late_begin(bus, req, sizeof(*r));

	(void)len;
	r->first_ref = q->first_ref;
	bus->wait.done = pool_dropped;
	bus->ops->drop_pool(bus, le32toh(q->first_ref), le32toh(q->pages), &bus->wait);
	return late_end(bus, resp);
}

struct row {
	msg_handler handle; /* NULL: no such message */
	uint16_t size;	    /* payload bytes; the least, when more may follow */
	bool more;
	bool reads; /* changes nothing */
};

static const struct row transport[] = {
	[VIRTIO_MSG_GET_DEVICE_INFO] = { get_device_info, 0, false, true },
	[VIRTIO_MSG_GET_DEVICE_FEATURES] = { get_device_features,
					     sizeof(struct virtio_msg_features), false, true },
	[VIRTIO_MSG_SET_DRIVER_FEATURES] = { set_driver_features,
					     sizeof(struct virtio_msg_features), true, false },
	[VIRTIO_MSG_GET_CONFIG] = { get_config, sizeof(struct virtio_msg_get_config), false, true },
	[VIRTIO_MSG_SET_CONFIG] = { set_config, sizeof(struct virtio_msg_config), true, false },
	[VIRTIO_MSG_GET_DEVICE_STATUS] = { get_status, 0, false, true },
	[VIRTIO_MSG_SET_DEVICE_STATUS] = { set_status, sizeof(struct virtio_msg_status), false,
					   false },
	[VIRTIO_MSG_GET_VQUEUE] = { get_vqueue, sizeof(struct virtio_msg_vq_index), false, true },
	[VIRTIO_MSG_SET_VQUEUE] = { set_vqueue, sizeof(struct virtio_msg_vqueue), false, false },
	[VIRTIO_MSG_RESET_VQUEUE] = { reset_vqueue, sizeof(struct virtio_msg_vq_index), false,
				      false },
	[VIRTIO_MSG_GET_SHM] = { get_shm, sizeof(struct virtio_msg_vq_index), false, true },
};

static const struct row bus_rows[] = {
	[VIRTIO_MSG_BUS_PING] = { ping, sizeof(struct virtio_msg_ping), false, true },
	[VIRTIO_GRANT_BUS_SET_VQ_CHANNEL] = { set_vq_channel,
					      sizeof(struct virtio_grant_vq_channel), false,
					      false },
	[VIRTIO_GRANT_BUS_ADD_POOL] = { add_pool, sizeof(struct virtio_grant_pool), false, false },
	[VIRTIO_GRANT_BUS_DROP_POOL] = { drop_pool, sizeof(struct virtio_grant_pool), false,
					 false },
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
	if (ret == LATER)
		return VG_MSG_LATER;
	*r = *h;
	r->type |= VIRTIO_MSG_TYPE_RESPONSE;
	r->msg_size = htole16((uint16_t)(HEADER + ret));
	return HEADER + (size_t)ret;
}

bool vg_msg_reads(const void *req, size_t len)
{
	const struct virtio_msg_header *h = req;
	const struct row *row = len < HEADER ? NULL : find_row(h->type, h->msg_id);

	return row && row->reads;
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
