/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgrant_msg.c - the control page: messages both ways (PROTOCOL.md, 4 and 5)
 *
 * Our own indices are kept in struct drv_dev and only ever written to the
 * page, never read back from it.
 */
#include "tests/driver/vgrant_driver.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <time.h>

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static uint32_t load(const unsigned int *p)
{
	return le32toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static void store(unsigned int *p, uint32_t v)
{
	__atomic_store_n(p, htole32(v), __ATOMIC_RELEASE);
}

int drv_msg_post(struct drv_dev *dev, const void *msg, size_t len)
{
	if (!dev->ctrl)
		return -ENOTCONN;
	if (len > VIRTIO_GRANT_SLOT_SIZE)
		return -EMSGSIZE;
	if (dev->prod - load(&dev->ctrl->device_cons.value) >= VIRTIO_GRANT_SLOTS)
		return -EAGAIN;
	memcpy(dev->ctrl->to_device[dev->prod % VIRTIO_GRANT_SLOTS], msg, len);
	store(&dev->ctrl->driver_prod.value, ++dev->prod);
	drv_xen_port_notify(dev->xen, dev->ctrl_port);
	return 0;
}

/* event() - an EVENT_CONFIG; @len: bytes of payload */
static void event(struct drv_dev *dev, const uint8_t *payload, size_t len)
{
	struct drv_event *e = &dev->last_event;
	size_t hdr = sizeof(e->hdr);

	if (len < hdr) {
		dev->stray++;
		return;
	}
	memcpy(&e->hdr, payload, hdr);
	memcpy(e->data, payload + hdr, len - hdr);
	dev->events++;
}

/* struct want - the response that a caller waits for */
struct want {
	uint8_t type, id;
	uint16_t token;
	void *resp;
	size_t room;
	int got; /* bytes of payload; -EAGAIN: not yet */
};

/*
 * receive() - take every message that is there
 * @want: the response to look for; NULL: none
 *
 * Return: messages taken, -EPROTO if the backend's index makes no sense.
 */
static int receive(struct drv_dev *dev, struct want *want)
{
	uint8_t slot[VIRTIO_GRANT_SLOT_SIZE];
	struct virtio_msg_header h;
	uint32_t prod = load(&dev->ctrl->device_prod.value);
	int n = 0;
	size_t len;

	if (prod - dev->cons > VIRTIO_GRANT_SLOTS)
		return -EPROTO;
	for (; dev->cons != prod; n++) {
		memcpy(slot, dev->ctrl->to_driver[dev->cons % VIRTIO_GRANT_SLOTS], sizeof(slot));
		store(&dev->ctrl->tail.driver_cons, ++dev->cons);
		memcpy(&h, slot, sizeof(h));
		len = le16toh(h.msg_size);
		if (len < sizeof(h) || len > sizeof(slot) || h.dev_num) {
			dev->stray++;
			continue;
		}
		len -= sizeof(h);
		if (want && want->got == -EAGAIN && h.type == want->type && h.msg_id == want->id &&
		    h.token == want->token) {
			if (want->resp)
				memcpy(want->resp, slot + sizeof(h),
				       len < want->room ? len : want->room);
			want->got = (int)len;
		} else if (!h.type && h.msg_id == VIRTIO_MSG_EVENT_CONFIG && !h.token) {
			event(dev, slot + sizeof(h), len);
		} else {
			dev->stray++;
		}
	}
	if (n) /* there is room now */
		drv_xen_port_notify(dev->xen, dev->ctrl_port);
	return n;
}

int drv_msg_call(struct drv_dev *dev, uint8_t type, uint8_t id, const void *req, size_t req_len,
		 void *resp, size_t resp_len)
{
	int64_t end = now_ms() + dev->timeout_ms, left;
	uint8_t slot[VIRTIO_GRANT_SLOT_SIZE] = { 0 };
	struct virtio_msg_header h = { .type = type, .msg_id = id };
	struct want want = { .type = type | VIRTIO_MSG_TYPE_RESPONSE,
			     .id = id,
			     .resp = resp,
			     .room = resp_len,
			     .got = -EAGAIN };
	bool posted = false;
	int rc;

	if (!dev->ctrl)
		return -ENOTCONN;
	if (sizeof(h) + req_len > sizeof(slot))
		return -EMSGSIZE;
	if (!++dev->next_token)
		dev->next_token = 1;
	h.token = want.token = htole16(dev->next_token);
	h.msg_size = htole16((uint16_t)(sizeof(h) + req_len));
	memcpy(slot, &h, sizeof(h));
	if (req_len)
		memcpy(slot + sizeof(h), req, req_len);
	for (;;) {
		if (!posted) {
			rc = drv_msg_post(dev, slot, sizeof(h) + req_len);
			if (rc && rc != -EAGAIN)
				return rc;
			posted = !rc;
		}
		rc = receive(dev, &want);
		if (rc < 0)
			return rc;
		if (want.got != -EAGAIN)
			return want.got;
		left = end - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		rc = drv_xen_port_wait(dev->xen, dev->ctrl_port, (int)left);
		if (rc && rc != -ETIMEDOUT)
			return rc;
	}
}

int drv_msg_drained(struct drv_dev *dev)
{
	int64_t end = now_ms() + dev->timeout_ms, left;
	int rc;

	while (load(&dev->ctrl->device_cons.value) != dev->prod) {
		rc = receive(dev, NULL);
		if (rc < 0)
			return rc;
		left = end - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		rc = drv_xen_port_wait(dev->xen, dev->ctrl_port, (int)left);
		if (rc && rc != -ETIMEDOUT)
			return rc;
	}
	return 0;
}

int drv_msg_ping(struct drv_dev *dev, uint32_t data)
{
	struct virtio_msg_ping q = { .data = data }, a = { .data = ~data };
	int rc = drv_msg_call(dev, VIRTIO_MSG_TYPE_BUS, VIRTIO_MSG_BUS_PING, &q, sizeof(q), &a,
			      sizeof(a));

	if (rc < 0)
		return rc;
	return rc == sizeof(a) && a.data == data ? 0 : -EPROTO;
}

int drv_dev_poll_events(struct drv_dev *dev)
{
	unsigned int before = dev->events;
	int rc = receive(dev, NULL);

	return rc < 0 ? rc : (int)(dev->events - before);
}

int drv_dev_wait_event(struct drv_dev *dev)
{
	int64_t end = now_ms() + dev->timeout_ms, left;
	int rc;

	for (;;) {
		rc = drv_dev_poll_events(dev);
		if (rc)
			return rc < 0 ? rc : 0;
		left = end - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		rc = drv_xen_port_wait(dev->xen, dev->ctrl_port, (int)left);
		if (rc && rc != -ETIMEDOUT)
			return rc;
	}
}
