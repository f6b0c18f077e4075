/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attacks_control.c - the control page, notifications, xenstore, coming and going
 */
#include "backend/base/container.h"
#include "tests/driver/attacks.h"
#include "tests/driver/vgrant_bad.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/xen.h>

enum { INITIALISING = 1, INIT_WAIT = 2, INITIALISED = 3, CONNECTED = 4, CLOSING = 5, CLOSED = 6 };
enum { NOBODY = 0x7ff0 - 1, CONNECTS = 12, FLOOD = 200 };

/* ---- the control page --------------------------------------------------------- */

static int put_number(struct attack_on *a, const char *name, uint32_t value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return drv_dev_put(a->dev, name, text);
}

/* leave() - Closed, then Initialising until the backend waits */
static int leave(struct attack_on *a)
{
	int rc = a->dev->ctrl ? drv_dev_close(a->dev) : 0;

	MUST(!rc, "it does not close: %d", rc);
	drv_dev_set_state(a->dev, INITIALISING);
	rc = drv_dev_wait_backend(a->dev, 1u << INIT_WAIT);
	MUST(rc == INIT_WAIT, "the backend does not wait: %d", rc);
	return 0;
}

/* refused() - Initialised with keys that cannot do: Closed, with a sentence */
static int refused(struct attack_on *a, const char *what)
{
	char *text;
	int rc;

	drv_dev_set_state(a->dev, INITIALISED);
	rc = drv_dev_wait_backend(a->dev, 1u << CONNECTED | 1u << CLOSED);
	MUST(rc == CLOSED, "%s: the backend is in state %d", what, rc);
	text = drv_dev_error(a->dev);
	MUST(text, "%s: no virtio-grant-error", what);
	snprintf(a->note, sizeof(a->note), "%.200s", text);
	free(text);
	return leave(a);
}

/* back() - connected and up, as before the attack */
static int back(struct attack_on *a)
{
	int rc = drv_dev_connect(a->dev);

	MUST(!rc, "no connection: %d", rc);
	return at_up(a, NO_PACKED, 64) || at_works(a) ? -1 : 0;
}

int attack_control_offer(struct attack_on *a)
{
	struct drv_mem_grant theirs;
	struct drv_buf good, ro, empty, foreign;
	struct drv_mem *mem = &a->dev->gmem.mem;
	int port, other;
	unsigned int i;

	if (leave(a))
		return -1;
	drv_mem_grant_init(&theirs, a->xen, NOBODY);
	MUST(!drv_alloc(mem, DRV_PAGE, DRV_PAGE, true, &good) &&
		     !drv_alloc(mem, DRV_PAGE, DRV_PAGE, true, &empty) &&
		     !drv_alloc(mem, DRV_PAGE, DRV_PAGE, false, &ro) &&
		     !drv_alloc(&theirs.mem, DRV_PAGE, DRV_PAGE, true, &foreign),
	     "no pages");
	port = drv_xen_port_alloc(a->xen, a->dev->backend);
	other = drv_xen_port_alloc(a->xen, NOBODY);
	/* Where domains are kept apart (XSM's SILO, Arm's default) only for whom there is: ourselves. */
	if (other == -ESRCH)
		other = drv_xen_port_alloc(a->xen, DOMID_SELF);
	MUST(port > 0 && other > 0, "no ports: %d, %d", port, other);
	((struct virtio_grant_control *)good.virt)->tail.magic = htole32(VIRTIO_GRANT_MAGIC);
	((struct virtio_grant_control *)ro.virt)->tail.magic = htole32(VIRTIO_GRANT_MAGIC);
	((struct virtio_grant_control *)foreign.virt)->tail.magic = htole32(VIRTIO_GRANT_MAGIC);
	for (i = 0;; i++) {
		const struct {
			uint64_t addr;
			uint32_t port;
			const char *what;
		} bad[] = {
			{ VIRTIO_GRANT_ADDR(15000, 0), (uint32_t)port, "a page never granted" },
			{ VIRTIO_GRANT_ADDR(0xffffffff, 0), (uint32_t)port, "no such reference" },
			{ ro.addr, (uint32_t)port, "a read-only page" },
			{ empty.addr, (uint32_t)port, "a page without magic" },
			{ foreign.addr, (uint32_t)port, "a page for another domain" },
			{ good.addr, (uint32_t)other, "a port for another domain" },
			{ good.addr, 999, "no such port" },
			{ good.addr, 0, "port 0" },
			{ good.addr, 0xffffffff, "the last port" },
		};

		if (i == COUNT(bad))
			break;
		put_number(a, "control-ref", (uint32_t)(bad[i].addr >> VIRTIO_GRANT_PAGE_SHIFT));
		put_number(a, "event-channel", bad[i].port);
		put_number(a, "virtio-grant-version", 1);
		if (refused(a, bad[i].what))
			return -1;
		MUST(drv_xen_port_unbound(a->xen, (uint32_t)port), "%s: the port is bound",
		     bad[i].what);
	}
	MUST(!drv_free(mem, &good) && !drv_free(mem, &empty) && !drv_free(mem, &ro) &&
		     !drv_free(&theirs.mem, &foreign),
	     "still mapped");
	drv_xen_port_close(a->xen, (uint32_t)port);
	drv_xen_port_close(a->xen, (uint32_t)other);
	return back(a);
}

/* What is mapped cannot be taken back, yet nothing comes through it any more. */
int attack_control_revoked(struct attack_on *a)
{
	struct drv_dev_config cfg = { .xen = a->xen,
				      .id = a->id,
				      .timeout_ms = a->dev->timeout_ms };
	uint32_t port = a->dev->ctrl_port;
	unsigned int i;
	int rc;

	/* The rings' pages, too. */
	drv_xen_revoke(a->xen, drv_mem_grant_pages(&a->dev->queues[0].vr.desc_mem), 0);
	drv_xen_revoke(a->xen, drv_mem_grant_pages(&a->dev->ctrl_buf), 0);
	for (i = 0; i < 100; i++) {
		drv_xen_port_notify(a->xen, port);
		drv_xen_port_notify(a->xen, a->dev->queues[0].port);
	}
	at_pause(50);
	/* As a crashed kernel that starts again. */
	a->dev->ctrl = NULL;
	drv_dev_free(a->dev);
	a->dev = NULL;
	rc = drv_dev_open(&cfg, &a->dev);
	MUST(!rc, "there is no device any more: %d", rc);
	return at_connect(a) || at_up(a, NO_PACKED, 64) || at_works(a) ? -1 : 0;
}

int attack_control_index(struct attack_on *a)
{
	static const uint32_t jump[] = { 5, 0x7fffffff, 0xffffffff };
	struct virtio_msg_header h = { .type = VIRTIO_MSG_TYPE_BUS,
				       .msg_id = VIRTIO_MSG_BUS_PING,
				       .msg_size = htole16(12) };
	uint8_t m[12] = { 0 };
	unsigned int i;

	for (i = 0; i < COUNT(jump); i++) {
		a->dev->ctrl->driver_prod.value += jump[i];
		drv_xen_port_notify(a->xen, a->dev->ctrl_port);
		if (at_gets_back(a, "the producer's index jumps"))
			return -1;
	}
	memcpy(m, &h, sizeof(h));
	a->dev->ctrl->tail.driver_cons += 7; /* has consumed what was never there */
	drv_msg_post(a->dev, m, sizeof(m));
	return at_gets_back(a, "the consumer's index jumps");
}

/* close_and_back() - close in order a device whose control page may be spoilt, and begin anew */
static int close_and_back(struct attack_on *a)
{
	int rc;

	drv_dev_set_state(a->dev, CLOSING);
	rc = drv_dev_wait_backend(a->dev, 1u << CLOSED);
	MUST(rc == CLOSED, "the backend is not Closed: %d", rc);
	drv_dev_drop(a->dev);
	MUST(!a->dev->gmem.mem.still_mapped, "Closed, and still mapped");
	return leave(a) || back(a) ? -1 : 0;
}

int attack_control_own(struct attack_on *a)
{
	unsigned int i;

	for (i = 0; i < 50; i++) {
		a->dev->ctrl->device_cons.value = i * 0x10000001u;
		a->dev->ctrl->device_prod.value = i * 0x20000003u;
		memset(a->dev->ctrl->to_device, (int)i, sizeof(a->dev->ctrl->to_device));
		drv_xen_port_notify(a->xen, a->dev->ctrl_port);
		at_pause(1);
	}
	return close_and_back(a);
}

/* post() - a message with any header; waits for room */
static int post(struct attack_on *a, uint8_t type, uint8_t id, uint16_t dev_num, uint16_t size)
{
	struct virtio_msg_header h = { type, id, htole16(dev_num), htole16(99), htole16(size) };
	uint8_t m[VIRTIO_GRANT_SLOT_SIZE];

	memset(m, 0xee, sizeof(m));
	memcpy(m, &h, sizeof(h));
	while (drv_msg_post(a->dev, m, sizeof(m)) == -EAGAIN)
		MUST(!drv_msg_drained(a->dev), "messages are not consumed");
	return 0;
}

/* Consumed, every one, and not answered. */
int attack_control_message(struct attack_on *a)
{
	static const uint16_t sizes[] = { 0, 1, 7, 9, 479, 481, 0x8000, 0xffff };
	unsigned int i, id, n = 0;
	int rc = 0;

	for (id = 2; id < 0x0d && !rc; id++)
		for (i = 0; i < COUNT(sizes) && !rc; i++, n++)
			rc = post(a, 0, (uint8_t)id, 0, sizes[i]);
	for (id = 0; id < 256 && !rc; id += id < 0x10 || (id >= 0x3e && id < 0x46) ? 1 : 7) {
		if (id < 0x02 || id > 0x0c)
			rc = post(a, 0, (uint8_t)id, 0, 8);
		rc = rc ? rc : post(a, 1, (uint8_t)id, 0, 12); /* a response */
		rc = rc ? rc : post(a, 3, (uint8_t)id, 0, 12);
		rc = rc ? rc : post(a, 0xfc, (uint8_t)id, 0, 12); /* bits that nobody defined */
		rc = rc ? rc : post(a, 0, (uint8_t)id, 1, 12);	  /* another device */
		n += 5;
	}
	rc = rc ? rc : post(a, 2, VIRTIO_MSG_BUS_PING, 0, 11);
	rc = rc ? rc : post(a, 2, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, 0, 15);
	rc = rc ? rc : post(a, 2, VIRTIO_GRANT_BUS_ADD_POOL, 0, 17);
	if (rc)
		return rc;
	MUST(!drv_msg_drained(a->dev), "messages are not consumed");
	MUST(!drv_msg_ping(a->dev, 1), "a PING is not answered");
	MUST(!a->dev->stray, "%u of them were answered", a->dev->stray);
	snprintf(a->note, sizeof(a->note), "%u messages", n + 3);
	return 0;
}

/* A guest that takes no answers gets no more than there is room for, and loses none. */
int attack_control_silent(struct attack_on *a)
{
	struct virtio_msg_header h = { .type = VIRTIO_MSG_TYPE_BUS,
				       .msg_id = VIRTIO_MSG_BUS_PING,
				       .msg_size = htole16(12) };
	uint32_t before = le32toh(a->dev->ctrl->device_prod.value), now;
	int64_t end = at_now() + 5000;
	uint8_t m[12] = { 0 };
	unsigned int i;

	memcpy(m, &h, sizeof(h));
	for (i = 0; i < 2 * VIRTIO_GRANT_SLOTS; i++) {
		while (drv_msg_post(a->dev, m, sizeof(m))) {
			MUST(at_now() < end, "messages are not consumed");
			at_pause(1);
		}
	}
	at_pause(100);
	now = le32toh(__atomic_load_n(&a->dev->ctrl->device_prod.value, __ATOMIC_ACQUIRE));
	MUST(now == before + VIRTIO_GRANT_SLOTS, "%u answers where %u have room", now - before,
	     VIRTIO_GRANT_SLOTS);
	MUST(!drv_msg_drained(a->dev), "messages are not consumed"); /* takes them */
	MUST(!drv_msg_ping(a->dev, 9), "a PING is not answered");
	MUST(a->dev->stray == 2 * VIRTIO_GRANT_SLOTS, "%u answers", a->dev->stray);
	a->dev->stray = 0;
	return 0;
}

int attack_control_flood(struct attack_on *a)
{
	int64_t end = at_now() + a->ms;
	unsigned int n = 0;

	while (at_now() < end) {
		if (post(a, n & 1 ? 2 : 0,
			 n & 1 ? VIRTIO_MSG_BUS_PING : VIRTIO_MSG_GET_DEVICE_STATUS, 0,
			 n & 1 ? 12 : 8))
			return -1;
		n++;
	}
	MUST(!drv_msg_drained(a->dev), "messages are not consumed");
	MUST(!drv_msg_ping(a->dev, 9), "a PING is not answered");
	MUST(a->dev->stray == n, "%u messages, %u answers", n, a->dev->stray);
	a->dev->stray = 0;
	snprintf(a->note, sizeof(a->note), "%u messages in %u ms", n, a->ms);
	return 0;
}

/* ---- notifications ------------------------------------------------------------ */

static int storm(struct attack_on *a, uint32_t port)
{
	int64_t end = at_now() + a->ms;
	unsigned int n = 0, i;

	while (at_now() < end)
		for (i = 0; i < 64; i++, n++)
			drv_xen_port_notify(a->xen, port);
	snprintf(a->note, sizeof(a->note), "%u notifications in %u ms", n, a->ms);
	return at_works(a);
}

int attack_storm_queue(struct attack_on *a)
{
	return storm(a, a->dev->queues[0].port);
}

int attack_storm_control(struct attack_on *a)
{
	return storm(a, a->dev->ctrl_port);
}

/* Channels without queues, queues that there are none of, notifications in band. */
int attack_kick_nothing(struct attack_on *a)
{
	const uint32_t n = le32toh(a->dev->info.max_vqs);
	const uint32_t none[] = { n, n + 1, 1000, 0x7fffffff, 0xffffffff };
	struct {
		struct virtio_msg_header h;
		uint32_t index, off, wrap;
	} m = { .h = { .msg_id = VIRTIO_MSG_EVENT_AVAIL, .msg_size = htole16(sizeof(m)) } };
	struct virtio_grant_vq_channel q;
	struct virtio_grant_vq_channel_resp resp;
	unsigned int i, k;
	int port = drv_xen_port_alloc(a->xen, a->dev->backend), rc;

	MUST(port > 0, "no port: %d", port);
	for (i = 0; i < COUNT(none); i++) {
		q = (struct virtio_grant_vq_channel){ htole32(none[i]), htole32((uint32_t)port) };
		rc = drv_msg_call(a->dev, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, &q,
				  sizeof(q), &resp, sizeof(resp));
		MUST(rc == sizeof(resp) && le32toh(resp.error) == EINVAL, "queue %u has a channel",
		     none[i]);
		m.index = htole32(none[i]);
		for (k = 0; k < 50; k++) {
			drv_xen_port_notify(a->xen, (uint32_t)port);
			while (drv_msg_post(a->dev, &m, sizeof(m)) == -EAGAIN)
				MUST(!drv_msg_drained(a->dev), "messages are not consumed");
		}
	}
	MUST(!drv_msg_drained(a->dev) && !drv_msg_ping(a->dev, 3), "a PING is not answered");
	/* A channel, and no queue behind it. */
	MUST(!drv_dev_reset(a->dev), "no reset");
	q = (struct virtio_grant_vq_channel){ 0, htole32((uint32_t)port) };
	rc = drv_msg_call(a->dev, VIRTIO_MSG_TYPE_BUS, VIRTIO_GRANT_BUS_SET_VQ_CHANNEL, &q,
			  sizeof(q), &resp, sizeof(resp));
	MUST(rc == sizeof(resp) && !resp.error, "no channel");
	for (k = 0; k < 500; k++)
		drv_xen_port_notify(a->xen, (uint32_t)port);
	if (at_again(a, "kicks for no queue"))
		return -1;
	MUST(drv_xen_port_unbound(a->xen, (uint32_t)port), "the port is bound after a reset");
	/* The queue's own port, closed under the backend's feet, and used. */
	drv_xen_port_close(a->xen, a->dev->queues[0].port);
	drv_xen_port_notify(a->xen, a->dev->queues[0].port);
	a->dev->queues[0].port = 0;
	drv_xen_port_close(a->xen, (uint32_t)port);
	return at_again(a, "a port that is gone");
}

/* ---- xenstore ------------------------------------------------------------------ */

int attack_xenstore_keys(struct attack_on *a)
{
	static const char *const names[] = { "control-ref", "event-channel",
					     "virtio-grant-version" };
	static const char *const bad[] = { NULL, "12x", "-1", "", "0x10", "99999999999999999999" };
	char huge[1500];
	unsigned int n, i;

	memset(huge, '1', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	/* Keys that change once connected mean nothing. */
	for (n = 0; n < 3; n++)
		drv_dev_put(a->dev, names[n], "rubbish");
	drv_dev_put(a->dev, "backend-id", "7");
	drv_dev_put(a->dev, "backend", "/local/domain/0/backend/virtio/0/64");
	if (at_works(a))
		return -1;
	put_number(a, "backend-id", a->dev->backend);
	drv_dev_put(a->dev, "backend", a->dev->back);
	if (leave(a))
		return -1;
	for (n = 0; n < 3; n++) {
		for (i = 0; i <= COUNT(bad); i++) {
			const char *v = i < COUNT(bad) ? bad[i] : huge;

			/* All combinations take long in emulation: each key has two or three. */
			if (i % 3 != n)
				continue;
			put_number(a, "control-ref", 8);
			put_number(a, "event-channel", 1);
			put_number(a, "virtio-grant-version", 1);
			drv_dev_put(a->dev, names[n], v);
			if (refused(a, names[n]))
				return -1;
		}
	}
	return back(a);
}

int attack_xenstore_states(struct attack_on *a)
{
	unsigned int i, seed = 12345, pause;

	for (i = 0; i < 120; i++) {
		seed = drv_dev_odd_state(a->dev, seed, &pause);
		if (pause)
			at_pause(pause - 1);
	}
	return close_and_back(a);
}

int attack_xenstore_flood(struct attack_on *a)
{
	unsigned int i, flood = a->ms / 5 > FLOOD ? a->ms / 5 : FLOOD;
	int64_t from = at_now();
	char name[16];

	for (i = 0; i < flood; i++) {
		snprintf(name, sizeof(name), "k%u", i % 50);
		if (i % 10 == 0)
			drv_dev_set_state(a->dev, CONNECTED);
		else
			put_number(a, name, i);
		if (i % 200 == 0 && at_works(a))
			return -1;
	}
	snprintf(a->note, sizeof(a->note), "%u writes in %lld ms", flood,
		 (long long)(at_now() - from));
	for (i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		drv_dev_put(a->dev, name, NULL);
	}
	return 0;
}

int attack_reconnect(struct attack_on *a)
{
	unsigned int i, connects = a->ms / 80 > CONNECTS ? a->ms / 80 : CONNECTS;
	int64_t from = at_now();

	for (i = 0; i < connects; i++) {
		int rc = drv_dev_reconnect(a->dev);

		MUST(!rc, "connection %u: %d", i, rc);
	}
	snprintf(a->note, sizeof(a->note), "%u connections in %lld ms", i,
		 (long long)(at_now() - from));
	return at_up(a, NO_PACKED, 64);
}
