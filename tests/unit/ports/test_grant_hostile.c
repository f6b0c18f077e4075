/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_grant_hostile.c - guests that break the rules of the virtio-grant transport
 *
 * Grants, event channels, xenstore, and what of the rings the transport has a
 * part in; the ring itself is the engine's tests'. hostile.rows says which row
 * each test is. The real daemon serves guest 0, which misbehaves, and guest 1, which must not notice.
 * After each offence guest 0 gets its device back by a reset, or a reconnect.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>

#include <cmocka.h>
#include <xen/grant_table.h>

#include "backend/base/container.h"
#include "tests/driver/vgrant_bad.h"
#include "tests/rigs/daemon_rig.h"

#define BIT(n)	    (1ull << (n))
#define NO_PACKED   (~BIT(VIRTIO_F_RING_PACKED))
#define NEEDS_RESET 0x40u

static int begin(void **state)
{
	int rc = rig_begin(state);

	if (!rc)
		rig_connected(*state, 1);
	return rc;
}

static int end(void **state)
{
	struct rig *r = *state;

	rig_reads(&r->guest[1], 77);
	assert_int_equal(drv_dev_close(r->guest[1].dev), 0);
	assert_int_equal(r->guest[1].dev->gmem.mem.still_mapped, 0);
	return rig_end(state);
}

/* needs_reset() - the device stopped, says so, answers, and a reset brings it back */
static void needs_reset(struct rig_guest *g, const char *what)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < 200 && !(rc = drv_dev_get_status(g->dev) & (int)NEEDS_RESET); i++)
		usleep(5000);
	if (!rc)
		fail_msg("%s: no NEEDS_RESET", what);
	if (!g->dev->events)
		drv_dev_wait_event(g->dev);
	if (!(g->dev->last_event.hdr.status & NEEDS_RESET))
		fail_msg("%s: NEEDS_RESET without an EVENT_CONFIG", what);
	rc = drv_dev_reset(g->dev);
	if (rc)
		fail_msg("%s: the reset failed: %d", what, rc);
	g->dev->events = 0;
	g->dev->last_event.hdr.status = 0;
	rig_up(g, NO_PACKED, 16);
	rig_reads(g, 3);
}

/* gets_back() - after an error of the connection: Closed, a sentence, and a new start */
static void gets_back(struct rig_guest *g, const char *what)
{
	char *text;
	int rc = drv_dev_wait_backend(g->dev, 1u << 6);

	if (rc != 6)
		fail_msg("%s: the backend is not Closed: %d", what, rc);
	text = drv_dev_error(g->dev);
	if (!text)
		fail_msg("%s: no virtio-grant-error", what);
	free(text);
	drv_dev_drop(g->dev);
	assert_int_equal(g->dev->gmem.mem.still_mapped, 0);
	rc = drv_dev_reconnect(g->dev);
	if (rc)
		fail_msg("%s: no new connection: %d", what, rc);
	text = drv_dev_error(g->dev);
	assert_null(text); /* removed at InitWait */
	rig_up(g, NO_PACKED, 16);
	rig_reads(g, 4);
}

static void closes(struct rig_guest *g)
{
	assert_int_equal(drv_dev_close(g->dev), 0);
	assert_int_equal(g->dev->gmem.mem.still_mapped, 0);
	assert_int_equal(g->dev->still_bound, 0);
}

/* ---- the control page ------------------------------------------------------- */

static void post(struct rig_guest *g, uint8_t type, uint8_t id, uint16_t dev_num, uint16_t size)
{
	struct virtio_msg_header h = { type, id, dev_num, 99, size };
	uint8_t m[VIRTIO_GRANT_SLOT_SIZE];

	memset(m, 0xee, sizeof(m));
	memcpy(m, &h, sizeof(h));
	while (drv_msg_post(g->dev, m, sizeof(m)) == -EAGAIN)
		assert_int_equal(drv_msg_drained(g->dev), 0);
}

/* Discarded, every one: consumed and not answered. */
static void malformed_messages(void **state)
{
	static const uint16_t sizes[] = { 0, 1, 7, 481, 0x8000, 0xffff };
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	unsigned int i, id;

	for (i = 0; i < 6; i++)
		for (id = 2; id < 0x0d; id++)
			post(g, 0, (uint8_t)id, 0, sizes[i]);
	for (id = 0; id < 256; id++) {
		if (id < 0x02 || id > 0x0c)
			post(g, 0, (uint8_t)id, 0, 8);
		post(g, 1, (uint8_t)id, 0, 12); /* a response */
		post(g, 3, (uint8_t)id, 0, 12);
		post(g, 0xfc, (uint8_t)id, 0, 12); /* bits that nobody defined */
		post(g, 0, (uint8_t)id, 1, 12);	   /* another device */
		if (id != 3 && (id < 0x80 || id > 0x82))
			post(g, 2, (uint8_t)id, 0, 12);
	}
	/* Too short and too long for what they are. */
	for (id = 2; id < 0x0d; id++) {
		post(g, 0, (uint8_t)id, 0, 9);
		post(g, 0, (uint8_t)id, 0, 479);
	}
	post(g, 2, 3, 0, 11);
	post(g, 2, 0x80, 0, 15);
	post(g, 2, 0x81, 0, 17);
	assert_int_equal(drv_msg_drained(g->dev), 0);
	assert_int_equal(drv_msg_ping(g->dev, 1), 0);
	assert_int_equal(g->dev->stray, 0);
	rig_reads(g, 1);
	closes(g);
}

static void producer_index_jumps(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	unsigned int jump[] = { 5, 6, 0x7fffffff, 0xffffffff }, i;

	for (i = 0; i < 4; i++) {
		g->dev->ctrl->driver_prod.value += jump[i];
		fx_port_notify(g->dom, g->dev->ctrl_port);
		gets_back(g, "driver_prod");
	}
	closes(g);
}

static void consumer_index_jumps(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct virtio_msg_header h = { .type = 2, .msg_id = 3, .msg_size = 12 };
	uint8_t m[12] = { 0 };

	memcpy(m, &h, sizeof(h));
	g->dev->ctrl->tail.driver_cons += 7; /* has consumed what was never there */
	drv_msg_post(g->dev, m, sizeof(m));
	gets_back(g, "driver_cons");
	closes(g);
}

/* The backend's own indices lie where the guest can write. */
static void backend_indices_overwritten(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	unsigned int i;

	for (i = 0; i < 20; i++) {
		g->dev->ctrl->device_cons.value = i * 0x10000001u;
		g->dev->ctrl->device_prod.value = i * 0x20000003u;
		memset(g->dev->ctrl->to_device, (int)i, sizeof(g->dev->ctrl->to_device));
		fx_port_notify(g->dom, g->dev->ctrl_port);
		usleep(1000);
	}
	drv_dev_set_state(g->dev, 5);
	assert_int_equal(drv_dev_wait_backend(g->dev, 1u << 6), 6);
	drv_dev_drop(g->dev);
	assert_int_equal(g->dev->gmem.mem.still_mapped, 0);
	assert_int_equal(drv_dev_reconnect(g->dev), 0);
	rig_up(g, NO_PACKED, 16);
	rig_reads(g, 2);
	closes(g);
}

/* scribble() - a process of the guest's that writes into its messages, until it is killed */
static pid_t scribble(const struct rig_guest *g)
{
	uint64_t x = 88172645463325252ull;
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		uint8_t *slot = g->dev->ctrl->to_device[x % VIRTIO_GRANT_SLOTS];

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* The header: type, id, size; now and then what a queue is told. */
		__atomic_store_n(&slot[x >> 20 & 1], (uint8_t)(x >> 24 & 15), __ATOMIC_RELAXED);
		__atomic_store_n(&slot[6 + (x >> 32 & 1)], (uint8_t)(x >> 40), __ATOMIC_RELAXED);
		__atomic_store_n(&slot[8 + (x >> 48) % 40], (uint8_t)(x >> 54), __ATOMIC_RELAXED);
	}
}

/* Messages that change while the backend looks at them: each is copied once, then judged. */
static void messages_change(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct drv_dev *dev = g->dev;
	uint8_t m[VIRTIO_GRANT_SLOT_SIZE] = { 0 };
	pid_t pid = scribble(g);
	unsigned int i;

	assert_true(pid > 0);
	for (i = 0; i < 3000; i++) {
		struct virtio_msg_header h = { .type = i & 2,
					       .msg_id = (uint8_t)(2 + i % 11),
					       .msg_size = (uint16_t)(8 + i % 57) };

		memcpy(m, &h, sizeof(h));
		while (drv_msg_post(dev, m, sizeof(m)) == -EAGAIN)
			assert_true(drv_dev_poll_events(dev) >= 0);
		if (i % 300 == 0)
			rig_reads(&r->guest[1], i / 300);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(drv_msg_drained(dev), 0);
	assert_int_equal(drv_dev_reset(dev), 0);
	assert_int_equal(drv_dev_reconnect(dev), 0);
	rig_up(g, NO_PACKED, 16);
	rig_reads(g, 1);
	closes(g);
}

/* A guest that takes no answers gets no more than there is room for, and loses none. */
static void answers_not_taken(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct virtio_msg_header h = { .type = 2, .msg_id = 3, .msg_size = 12 };
	uint32_t before = g->dev->ctrl->device_prod.value;
	uint8_t m[12] = { 0 };
	unsigned int i;

	memcpy(m, &h, sizeof(h));
	for (i = 0; i < 8; i++)
		while (drv_msg_post(g->dev, m, sizeof(m)))
			usleep(1000);
	usleep(50000);
	assert_int_equal(__atomic_load_n(&g->dev->ctrl->device_prod.value, __ATOMIC_ACQUIRE),
			 before + 4);
	assert_int_equal(drv_msg_drained(g->dev), 0); /* takes them */
	assert_int_equal(drv_msg_ping(g->dev, 9), 0);
	assert_int_equal(g->dev->stray, 8);
	closes(g);
}

/* ---- features and status ------------------------------------------------------ */

static void features(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	struct {
		struct virtio_msg_features hdr;
		uint32_t block[4];
	} q = { { 0, 4 }, { 0 } };
	static const struct {
		uint32_t block[4];
		const char *what;
	} bad[] = {
		{ { 0, 2, 0, 0 }, "no VERSION_1" },
		{ { 0, 1, 0, 0 }, "no ACCESS_PLATFORM" },
		{ { 1u << 3, 3, 0, 0 }, "bit 3 was not offered" },
		{ { 0, 3 | 1u << 6, 0, 0 }, "NOTIFICATION_DATA was not offered" },
		{ { 0, 3, 1, 0 }, "bit 64" },
		{ { 0, 3, 0, 1u << 31 }, "bit 127" },
	};
	unsigned int i;

	assert_int_equal(drv_dev_connect(g->dev), 0);
	assert_false(g->dev->offered[0] >> 38 & 1); /* an event channel carries no data */
	for (i = 0; i < COUNT(bad); i++) {
		memcpy(q.block, bad[i].block, sizeof(q.block));
		assert_int_equal(drv_dev_set_status(g->dev, 3), 3);
		drv_msg_call(g->dev, 0, VIRTIO_MSG_SET_DRIVER_FEATURES, &q, sizeof(q), NULL, 0);
		if (drv_dev_set_status(g->dev, 11) & 8)
			fail_msg("FEATURES_OK although %s", bad[i].what);
		assert_int_equal(drv_dev_set_status(g->dev, 15) & 4, 0); /* no DRIVER_OK then */
		assert_int_equal(drv_dev_set_status(g->dev, 0), 0);
	}
	/* Too late: ignored. A bit once set stays. */
	assert_int_equal(drv_dev_negotiate(g->dev, 0), 0);
	memset(q.block, 0, sizeof(q.block));
	drv_msg_call(g->dev, 0, VIRTIO_MSG_SET_DRIVER_FEATURES, &q, sizeof(q), NULL, 0);
	assert_int_equal(drv_dev_set_status(g->dev, 1), 11);
	assert_int_equal(drv_dev_queue(g->dev, 0, 16), 0);
	assert_int_equal(drv_dev_driver_ok(g->dev), 0);
	drv_blk_queue(&g->blk, &g->dev->queues[0], &g->dev->gmem.mem);
	rig_reads(g, 1);
	/* Blocks of features: any range, zero beyond. */
	q.hdr.index = 0xfffffff0;
	q.hdr.num = 100;
	assert_int_equal(drv_msg_call(g->dev, 0, VIRTIO_MSG_GET_DEVICE_FEATURES, &q.hdr, 8, NULL,
				      0),
			 8 + 400);
	closes(g);
}

static void config_out_of_range(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	uint32_t size = g->dev->info.config_size;
	uint8_t buf[1024];
	unsigned int i;

	for (i = 0; i < size; i++)
		assert_int_equal(drv_dev_config_read(g->dev, i, buf, size - i, NULL), 0);
	assert_int_equal(drv_dev_config_read(g->dev, 0, buf, size + 1, NULL), -ERANGE);
	assert_int_equal(drv_dev_config_read(g->dev, size, buf, 1, NULL), -ERANGE);
	assert_int_equal(drv_dev_config_read(g->dev, 0xffffffff, buf, 1, NULL), -ERANGE);
	assert_int_equal(drv_dev_config_read(g->dev, 0xffffffff, buf, 2, NULL), -ERANGE);
	for (i = 0; i < size; i++) {
		if (i != 32) /* writeback, if offered */
			assert_int_equal(drv_dev_config_write(g->dev, 0, i, "xxxxxxxx", 8), -EPERM);
	}
	assert_int_equal(drv_dev_config_write(g->dev, 0, 0xfffffffc, buf, 8), -EPERM);
	rig_reads(g, 1);
	closes(g);
}

/* ---- queues ------------------------------------------------------------------ */

/* set_queue() - SET_VQUEUE with anything; Return: the size that GET_VQUEUE shows */
static uint32_t set_queue(struct rig_guest *g, uint32_t index, uint32_t size, uint64_t d,
			  uint64_t a, uint64_t u)
{
	int shown = drv_dev_set_vqueue(g->dev, index, size, d, a, u);

	assert_true(shown >= 0);
	return (uint32_t)shown;
}

/* channel() - SET_VQ_CHANNEL; Return: its error */
static uint32_t channel(struct rig_guest *g, uint32_t index, uint32_t port)
{
	int error = drv_dev_set_channel(g->dev, index, port);

	assert_true(error >= 0);
	return (uint32_t)error;
}

static void impossible_queues(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	int port = 0;
	struct drv_bad_queue bad[DRV_BAD_QUEUES];
	struct drv_buf b, ro;
	uint64_t a;
	unsigned int i;

	assert_int_equal(drv_dev_connect(g->dev), 0);
	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 8 * 4096, 4096, true, &b), 0);
	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 8 * 4096, 4096, false, &ro), 0);
	a = b.addr;
	port = fx_port_alloc(g->dom, 0);
	drv_bad_queues(a, ro.addr, bad);
	for (i = 0; i < DRV_BAD_QUEUES; i++) {
		assert_int_equal(drv_dev_negotiate(g->dev, 0), 0);
		assert_int_equal(channel(g, 0, (uint32_t)port), 0);
		/* Refused at once, or found out when the queue starts. */
		if (set_queue(g, 0, bad[i].size, bad[i].desc, bad[i].driver, bad[i].device)) {
			drv_dev_set_status(g->dev, 15);
			if (!(drv_dev_get_status(g->dev) & (int)NEEDS_RESET))
				fail_msg("%s: taken", bad[i].what);
		}
		assert_int_equal(drv_dev_reset(g->dev), 0);
		assert_int_equal(fx_port_state(r->w, g->id, (uint32_t)port), FX_PORT_UNBOUND);
		assert_int_equal(fx_grants_in_use(r->w, g->id), 1); /* the control page */
	}
	/* No channel, no such queue, a queue that is set already. */
	assert_int_equal(drv_dev_negotiate(g->dev, 0), 0);
	assert_int_equal(set_queue(g, 0, 16, a, a + 4096, a + 8192), 0);
	assert_int_equal(set_queue(g, 1000, 16, a, a + 4096, a + 8192), 0);
	assert_int_equal(set_queue(g, 0xffffffff, 16, a, a + 4096, a + 8192), 0);
	assert_int_equal(channel(g, 0, (uint32_t)port), 0);
	assert_int_equal(set_queue(g, 0, 16, a, a + 4096, a + 8192), 16);
	assert_int_equal(set_queue(g, 0, 8, a, a + 4096, a + 8192), 16);
	assert_int_equal(channel(g, 0, (uint32_t)port), EINVAL);
	assert_int_equal(drv_dev_reset(g->dev), 0);
	assert_int_equal(drv_free(&g->dev->gmem.mem, &b), 0);
	assert_int_equal(drv_free(&g->dev->gmem.mem, &ro), 0);
	g->dev->events = 0;
	rig_up(g, NO_PACKED, 16);
	rig_reads(g, 1);
	closes(g);
}

static void impossible_channels(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	int other, mine;

	assert_int_equal(drv_dev_connect(g->dev), 0);
	assert_int_equal(drv_dev_negotiate(g->dev, 0), 0);
	other = fx_port_alloc(g->dom, 77); /* for another domain */
	mine = fx_port_alloc(g->dom, 0);
	assert_int_not_equal(channel(g, 0, (uint32_t)other), 0);
	assert_int_not_equal(channel(g, 0, 1000), 0);
	assert_int_not_equal(channel(g, 0, 0xffffffff), 0);
	assert_int_not_equal(channel(g, 0, g->dev->ctrl_port), 0); /* in use: the control channel */
	assert_int_not_equal(channel(g, 0, r->guest[1].dev->ctrl_port + 50), 0);
	assert_int_equal(channel(g, 1000, (uint32_t)mine), EINVAL);
	assert_int_equal(channel(g, 0xffffffff, (uint32_t)mine), EINVAL);
	assert_int_equal(fx_port_state(r->w, g->id, (uint32_t)mine), FX_PORT_UNBOUND);
	/* Named again and again: one binding at a time. */
	assert_int_equal(channel(g, 0, (uint32_t)mine), 0);
	assert_int_equal(channel(g, 0, (uint32_t)mine), 0);
	assert_int_equal(fx_port_state(r->w, g->id, (uint32_t)mine), FX_PORT_INTERDOMAIN);
	/* Closed under the backend's feet, then used. */
	fx_port_close(g->dom, (uint32_t)mine);
	assert_int_equal(drv_dev_reset(g->dev), 0);
	fx_port_close(g->dom, (uint32_t)other);
	rig_up(g, NO_PACKED, 16);
	rig_reads(g, 1);
	fx_port_close(g->dom, g->dev->queues[0].port);
	drv_queue_notify(&g->dev->queues[0]);
	g->dev->queues[0].port = 0;
	assert_int_equal(drv_dev_reset(g->dev), 0);
	rig_up(g, NO_PACKED, 16);
	rig_reads(g, 2);
	closes(g);
}

static void impossible_pools(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	struct virtio_grant_pool q;
	struct virtio_grant_pool_resp a;
	struct drv_mem *pool;
	static const struct virtio_grant_pool bad[] = {
		{ 8, 0 },	   { 20000, 4 },      { 0xffffffff, 1 }, { 0xfffffff0, 32 },
		{ 8, 0xffffffff }, { 0, 0x80000000 }, { 8, 100000 },
	};
	unsigned int i;

	assert_int_equal(drv_dev_connect(g->dev), 0);
	for (i = 0; i < COUNT(bad); i++) {
		q = bad[i];
		a.error = 0;
		assert_int_equal(drv_msg_call(g->dev, 2, VIRTIO_GRANT_BUS_ADD_POOL, &q, sizeof(q),
					      &a, sizeof(a)),
				 sizeof(a));
		if (!a.error)
			fail_msg("pool %u + %u was taken", q.first_ref, q.pages);
	}
	assert_int_equal(fx_grants_in_use(r->w, g->id), 1);
	for (i = 0; i < DRV_MAX_POOLS && !drv_dev_pool(g->dev, 16, &pool); i++)
		;
	assert_true(i > 0 && i < DRV_MAX_POOLS); /* the backend has a limit */
	rig_up(g, NO_PACKED, 16);
	assert_true(drv_dev_pool(g->dev, 16, &pool) < 0); /* too many */
	rig_reads(g, 1);
	/* What is given back can be had again, as often as one likes. */
	for (unsigned int n = 0; n < 3 * DRV_MAX_POOLS; n++) {
		assert_int_equal(drv_dev_pool_drop(g->dev), 0);
		if (n % 3 == 2)
			rig_reads(g, n);
		assert_int_equal(drv_dev_pool(g->dev, 16, &pool), 0);
	}
	for (unsigned int n = 0; n < COUNT(bad); n++) {
		int rc = drv_pool_msg(g->dev, VIRTIO_GRANT_BUS_DROP_POOL, bad[n].first_ref,
				      bad[n].pages);

		if (rc && rc != -EINVAL)
			fail_msg("dropping pool %u + %u: %d", bad[n].first_ref, bad[n].pages, rc);
	}
	assert_int_equal(drv_dev_reset(g->dev), 0);
	closes(g);
}

/* ---- data ---------------------------------------------------------------------- */

/*
 * offend() - a read into an address that the device cannot use
 *
 * It fails visibly: with an error status, or the device stops (PROTOCOL.md
 * 7.3). Either way nothing is left mapped, and the device works afterwards.
 */
static void offend(struct rig_guest *g, uint64_t addr, uint32_t len, const char *what)
{
	struct drv_blk_req req = { .type = VIRTIO_BLK_T_IN, .dev_writes = true, .segs = 1 };
	struct drv_used used;
	int i, rc = 0;

	req.seg[0] = (struct drv_seg){ addr, len };
	assert_int_equal(drv_blk_submit(&g->blk, &req), 0);
	drv_queue_kick(&g->dev->queues[0]);
	for (i = 0; i < 1000 && !rc && !g->dev->events; i++) {
		rc = drv_vring_get(&g->dev->queues[0].vr, &used);
		drv_dev_poll_events(g->dev);
		usleep(2000);
	}
	if (!rc) {
		needs_reset(g, what);
		assert_int_equal(drv_free(&g->dev->gmem.mem, &req.hdr), 0);
		return;
	}
	drv_blk_finish(&g->blk, &used);
	if (req.result != -EIO)
		fail_msg("%s: the request's result is %d", what, req.result);
	rig_reads(g, 5);
}

static void bad_data_grants(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct drv_buf b, ro, hole;
	unsigned int big;

	for (big = 0; big < 2; big++) {
		/* Small ones are copied, large ones mapped: both ways must notice. */
		uint32_t len = big ? 16 * 4096 : 512;

		drv_alloc(&g->dev->gmem.mem, 16 * 4096, 4096, true, &b);
		drv_alloc(&g->dev->gmem.mem, 16 * 4096, 4096, false, &ro);
		drv_alloc(&g->dev->gmem.mem, 16 * 4096, 4096, true, &hole);
		offend(g, VIRTIO_GRANT_ADDR(20000, 0), len, "not granted");
		offend(g, VIRTIO_GRANT_ADDR(0xfffffff0, 0), len, "no such reference");
		offend(g, b.addr & ~BIT(63), len, "no grant address");
		offend(g, b.addr | BIT(44), len, "bit 44");
		offend(g, b.addr | BIT(62), len, "bit 62");
		offend(g, ro.addr, len, "read-only, to be written");
		fx_grant_raw(g->dom, (uint32_t)(hole.addr >> 12) + (big ? 7 : 0), 0, 0, 0);
		offend(g, hole.addr, len, "one in the middle revoked");
		fx_grant_raw(g->dom, (uint32_t)(hole.addr >> 12) + (big ? 7 : 0), GTF_permit_access,
			     77, 1);
		offend(g, hole.addr, len, "one in the middle granted to another");
		fx_grant_raw(g->dom, (uint32_t)(hole.addr >> 12) + (big ? 7 : 0), GTF_permit_access,
			     0, 0xfffffff);
		offend(g, hole.addr, len, "one in the middle without a page");
		assert_int_equal(drv_free(&g->dev->gmem.mem, &b), 0);
		assert_int_equal(drv_free(&g->dev->gmem.mem, &ro), 0);
		assert_int_equal(drv_free(&g->dev->gmem.mem, &hole), 0);
	}
	closes(g);
}

/* regrant() - take away, or give again, the reference of the page at @p */
static void regrant(struct rig_guest *g, const struct drv_buf *b, unsigned int page, bool again)
{
	uint32_t pfn = (uint32_t)(((char *)b->virt - (char *)fx_page(g->dom, 0)) / 4096) + page;

	fx_grant_raw(g->dom, (uint32_t)(b->addr >> 12) + page, again ? GTF_permit_access : 0, 0,
		     again ? pfn : 0);
}

struct revoker {
	struct rig_guest *g;
	struct drv_buf buf;
	bool stop;
};

static void *revoke_main(void *arg)
{
	struct revoker *s = arg;
	unsigned int i = 0;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		regrant(s->g, &s->buf, i % 16, false);
		if (i % 3 == 0)
			usleep(50);
		regrant(s->g, &s->buf, i % 16, true);
		if (i % 5 == 0)
			usleep(200);
		i++;
	}
	return NULL;
}

/* References that come and go under requests: each request is right, or an error. */
static void revoked_meanwhile(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct revoker s = { .g = g };
	unsigned int i, k, good = 0;
	pthread_t th;

	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 16 * 4096, 4096, true, &s.buf), 0);
	assert_int_equal(pthread_create(&th, NULL, revoke_main, &s), 0);
	for (i = 0; i < 300; i++) {
		struct drv_blk_req req = {
			.type = VIRTIO_BLK_T_IN, .sector = i % 64 * 8, .dev_writes = true, .segs = 1
		};
		uint32_t len = i & 1 ? 16 * 4096 : 4096;

		req.seg[0] = (struct drv_seg){ s.buf.addr, len };
		memset(s.buf.virt, 0xee, len);
		assert_int_equal(drv_blk_do(&g->blk, &req) == 0 || req.result == -EIO, true);
		if (req.result)
			continue;
		good++;
		for (k = 0; k < len / 512; k++)
			assert_int_equal(((uint8_t *)s.buf.virt)[k * 512],
					 (uint8_t)(req.sector + k + g->id));
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_join(th, NULL);
	assert_true(good > 0);
	/* What is mapped stays mapped, whatever becomes of its reference. */
	regrant(g, &g->dev->ctrl_buf, 0, false);
	regrant(g, &g->dev->queues[0].vr.desc_mem, 0, false);
	rig_reads(g, 1);
	assert_int_equal(drv_msg_ping(g->dev, 5), 0);
	regrant(g, &g->dev->queues[0].vr.desc_mem, 0, true);
	regrant(g, &g->dev->ctrl_buf, 0, true);
	assert_int_equal(drv_free(&g->dev->gmem.mem, &s.buf), 0);
	closes(g);
}

/* Our domain runs out of map slots, or a hypercall fails: the host's fault, one device's loss. */
static void grant_operations_fail(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct fx_fault f = { .count = 1, .status = GNTST_no_space };
	struct fx_fault later = { .skip = 5, .count = 1, .status = GNTST_no_space };
	struct fx_fault none = { .count = 0 };
	struct drv_buf b;
	struct drv_blk_req req;
	struct drv_used used;
	int rc;

	drv_alloc(&g->dev->gmem.mem, 16 * 4096, 4096, true, &b);
	req = (struct drv_blk_req){ .type = VIRTIO_BLK_T_IN, .dev_writes = true, .segs = 1 };
	req.seg[0] = (struct drv_seg){ b.addr, 16 * 4096 };
	fx_inject(r->w, 0, FX_OP_MAP, &later);
	fx_inject(r->w, 0, FX_OP_COPY, &later);
	assert_int_equal(drv_blk_submit(&g->blk, &req), 0);
	drv_queue_kick(&g->dev->queues[0]);
	/* Failed visibly, one way or the other: an error status, or NEEDS_RESET. */
	g->dev->timeout_ms = 1000;
	rc = drv_queue_wait(&g->dev->queues[0], &used);
	g->dev->timeout_ms = 10000;
	fx_inject(r->w, 0, FX_OP_MAP, &none);
	fx_inject(r->w, 0, FX_OP_COPY, &none);
	if (!rc) {
		drv_blk_finish(&g->blk, &used);
		assert_int_not_equal(req.result, -EBUSY);
		assert_int_equal(drv_dev_reset(g->dev), 0);
		rig_up(g, NO_PACKED, 16);
	} else {
		needs_reset(g, "a failed grant operation");
		assert_int_equal(drv_free(&g->dev->gmem.mem, &req.hdr), 0);
	}
	rig_reads(g, 1);
	assert_int_equal(drv_free(&g->dev->gmem.mem, &b), 0);
	closes(g);
	/* The control page cannot be mapped. */
	assert_int_equal(drv_dev_set_state(g->dev, 1), 0);
	assert_int_equal(drv_dev_wait_backend(g->dev, 1u << 2), 2);
	fx_inject(r->w, 0, FX_OP_MAP, &f);
	assert_int_equal(drv_dev_connect(g->dev), -ENODEV);
	gets_back(g, "control page not mapped");
	closes(g);
}

/* ---- rings, end to end ----------------------------------------------------------- */

static void broken_split_rings(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct drv_vring *vr = &g->dev->queues[0].vr;
	unsigned int i;

	for (i = 0; i < 6; i++) {
		struct vring_desc *d = vr->desc;
		uint64_t self = vr->desc_mem.addr;

		memset(d, 0, 16 * sizeof(*d));
		switch (i) {
		case 0: /* head out of range */
			vr->avail->ring[vr->published % vr->cfg.size] = 60000;
			break;
		case 1: /* jumps */
			vr->avail->idx = (uint16_t)(vr->published + vr->cfg.size + 1);
			break;
		case 2: /* a loop */
			d[0] = (struct vring_desc){ self, 16, VRING_DESC_F_NEXT, 1 };
			d[1] = (struct vring_desc){ self, 16, VRING_DESC_F_NEXT, 0 };
			break;
		case 3: /* next out of range */
			d[0] = (struct vring_desc){ self, 16, VRING_DESC_F_NEXT, 999 };
			break;
		case 4: /* an indirect table that is no table */
			d[0] = (struct vring_desc){ self, 17, VRING_DESC_F_INDIRECT, 0 };
			break;
		case 5: /* indirect in indirect */
			d[0] = (struct vring_desc){ self + 16, 32, VRING_DESC_F_INDIRECT, 0 };
			d[1] = (struct vring_desc){ self, 16, VRING_DESC_F_INDIRECT, 0 };
			break;
		}
		if (i)
			vr->avail->ring[vr->published % vr->cfg.size] = 0;
		if (i != 1)
			vr->avail->idx = (uint16_t)(vr->published + 1);
		drv_queue_notify(&g->dev->queues[0]);
		needs_reset(g, "a broken split ring");
	}
	closes(g);
}

static void broken_packed_rings(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	struct drv_vring *vr = &g->dev->queues[0].vr;
	unsigned int i, k;

	assert_int_equal(drv_dev_connect(g->dev), 0);
	for (i = 0; i < 3; i++) {
		struct vring_packed_desc *d;
		uint16_t avail = 1u << VRING_PACKED_DESC_F_AVAIL;

		rig_up(g, ~0ull, 8);
		d = vr->pdesc;
		switch (i) {
		case 0: /* a chain longer than the ring */
			for (k = 0; k < 8; k++)
				d[k] = (struct vring_packed_desc){ vr->desc_mem.addr, 16, 0,
								   avail | VRING_DESC_F_NEXT };
			break;
		case 1: /* indirect with NEXT, of odd length */
			d[0] = (struct vring_packed_desc){
				vr->desc_mem.addr, 17, 0,
				(uint16_t)(avail | VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT)
			};
			break;
		case 2: /* an id that is none */
			d[0] = (struct vring_packed_desc){ vr->desc_mem.addr, 16, 60000, avail };
			break;
		}
		drv_queue_notify(&g->dev->queues[0]);
		needs_reset(g, "a broken packed ring");
		assert_int_equal(drv_dev_reset(g->dev), 0);
	}
	closes(g);
}

/* listed() - what `vgrant list` would get, holds @text */
static bool listed(struct rig *r, const char *text)
{
	return strstr(rig_ask(r, "{\"cmd\":\"list\"}"), text);
}

/* Whoever asks why a disk hangs finds it in the list, until the driver has reset the device. */
static void list_tells_of_a_fault(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	struct drv_vring *vr = &g->dev->queues[0].vr;

	assert_false(listed(r, "broke the rules"));
	vr->avail->ring[vr->published % vr->cfg.size] = 60000;
	vr->avail->idx = (uint16_t)(vr->published + 1);
	drv_queue_notify(&g->dev->queues[0]);
	while (!g->dev->events)
		assert_int_equal(drv_dev_wait_event(g->dev), 0);
	assert_true(listed(r, "broke the rules"));
	needs_reset(g, "a head out of range");
	assert_false(listed(r, "broke the rules"));
	closes(g);
}

/* ---- storms ----------------------------------------------------------------------- */

struct storm {
	struct rig_guest *g;
	bool stop;
};

static void *storm_main(void *arg)
{
	struct storm *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		fx_port_notify(s->g->dom, s->g->dev->queues[0].port);
		fx_port_notify(s->g->dom, s->g->dev->ctrl_port);
	}
	return NULL;
}

/* Events without work: this guest's worker is busy, the other guest's is not. */
static void event_storm(void **state)
{
	struct rig *r = *state;
	struct storm s = { .g = rig_connected(r, 0) };
	pthread_t th;
	unsigned int i;

	assert_int_equal(pthread_create(&th, NULL, storm_main, &s), 0);
	for (i = 0; i < 30; i++)
		rig_reads(&r->guest[1], i);
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_join(th, NULL);
	rig_reads(s.g, 9);
	closes(s.g);
}

static void watch_flood(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	char path[192];
	unsigned int i;

	for (i = 0; i < 3000; i++) {
		snprintf(path, sizeof(path), "%s/k%u", g->dev->front, i % 50);
		fx_xs_write(g->dev->xs, path, "%u", i);
		if (i % 10 == 0)
			drv_dev_set_state(g->dev, 4);
		if (i % 500 == 0)
			rig_reads(&r->guest[1], i / 500);
	}
	rig_reads(g, 6);
	closes(g);
}

/* ---- xenstore ------------------------------------------------------------------------ */

static void malformed_keys(void **state)
{
	static const char *const names[] = { "control-ref", "event-channel",
					     "virtio-grant-version" };
	static const char *const bad[] = { NULL,   "",	  "abc",	"12x",
					   " 12",  "-1",  "4294967296", "99999999999999999999",
					   "0x10", "1\n", "1 2",	"+1" };
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	static char huge[1900];
	unsigned int n, i;

	memset(huge, '1', sizeof(huge) - 1);
	for (n = 0; n < 3; n++) {
		for (i = 0; i <= COUNT(bad); i++) {
			const char *v = i < COUNT(bad) ? bad[i] : huge;

			assert_int_equal(drv_dev_wait_backend(g->dev, 1u << 2), 2);
			drv_dev_put(g->dev, "control-ref", "8");
			drv_dev_put(g->dev, "event-channel", "1");
			drv_dev_put(g->dev, "virtio-grant-version", "1");
			drv_dev_put(g->dev, names[n], v);
			drv_dev_set_state(g->dev, 3);
			if (drv_dev_wait_backend(g->dev, 1u << 4 | 1u << 6) != 6)
				fail_msg("%s = '%.20s' was taken", names[n], v ? v : "(none)");
			free(drv_dev_error(g->dev));
			drv_dev_set_state(g->dev, 1);
		}
	}
	assert_int_equal(drv_dev_wait_backend(g->dev, 1u << 2), 2);
	drv_dev_put(g->dev, "virtio-grant-version", "2"); /* more than the backend's */
	drv_dev_set_state(g->dev, 3);
	gets_back(g, "version 2");
	closes(g);
}

/* offer() - Initialised with a control page and a port of the test's choice; Closed is right */
static void offer(struct rig_guest *g, uint32_t ref, uint32_t port, const char *what)
{
	char text[16];

	assert_int_equal(drv_dev_wait_backend(g->dev, 1u << 2), 2);
	snprintf(text, sizeof(text), "%u", ref);
	drv_dev_put(g->dev, "control-ref", text);
	snprintf(text, sizeof(text), "%u", port);
	drv_dev_put(g->dev, "event-channel", text);
	drv_dev_put(g->dev, "virtio-grant-version", "1");
	drv_dev_set_state(g->dev, 3);
	if (drv_dev_wait_backend(g->dev, 1u << 4 | 1u << 6) != 6)
		fail_msg("%s: taken", what);
	assert_int_equal(fx_grants_in_use(fx_domain_world(g->dom), g->id), 0);
	drv_dev_set_state(g->dev, 1);
}

static void bad_control_page(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	int port = fx_port_alloc(g->dom, 0), other = fx_port_alloc(g->dom, 77);
	struct drv_buf good, ro, empty;
	uint32_t ref;

	drv_alloc(&g->dev->gmem.mem, 4096, 4096, true, &good);
	drv_alloc(&g->dev->gmem.mem, 4096, 4096, true, &empty);
	drv_alloc(&g->dev->gmem.mem, 4096, 4096, false, &ro);
	((struct virtio_grant_control *)good.virt)->tail.magic = VIRTIO_GRANT_MAGIC;
	((struct virtio_grant_control *)ro.virt)->tail.magic = VIRTIO_GRANT_MAGIC;
	ref = (uint32_t)(good.addr >> 12);
	offer(g, 20000, (uint32_t)port, "not granted");
	offer(g, 0xffffffff, (uint32_t)port, "no such reference");
	offer(g, (uint32_t)(ro.addr >> 12), (uint32_t)port, "read-only");
	offer(g, (uint32_t)(empty.addr >> 12), (uint32_t)port, "no magic");
	offer(g, ref, (uint32_t)other, "another domain's port");
	offer(g, ref, 999, "no such port");
	offer(g, ref, 0, "port 0");
	fx_grant_raw(g->dom, ref, GTF_permit_access, 77, 0);
	offer(g, ref, (uint32_t)port, "granted to another");
	drv_free(&g->dev->gmem.mem, &good);
	drv_free(&g->dev->gmem.mem, &empty);
	drv_free(&g->dev->gmem.mem, &ro);
	fx_port_close(g->dom, (uint32_t)port);
	fx_port_close(g->dom, (uint32_t)other);
	assert_int_equal(drv_dev_wait_backend(g->dev, 1u << 2), 2);
	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, NO_PACKED, 16);
	rig_reads(g, 1);
	closes(g);
}

/* States in any order, repeated, skipped, or none at all. */
static void states_in_any_order(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_guest(r, 0);
	unsigned int i, seed = 12345, pause;

	assert_int_equal(drv_dev_connect(g->dev), 0);
	rig_up(g, NO_PACKED, 16);
	for (i = 0; i < 300; i++) {
		seed = drv_dev_odd_state(g->dev, seed, &pause);
		if (pause)
			usleep((pause - 1) * 1000);
	}
	drv_dev_set_state(g->dev, 5);
	assert_int_equal(drv_dev_wait_backend(g->dev, 1u << 6), 6);
	drv_dev_drop(g->dev);
	assert_int_equal(g->dev->gmem.mem.still_mapped, 0);
	assert_int_equal(drv_dev_reconnect(g->dev), 0);
	rig_up(g, NO_PACKED, 16);
	rig_reads(g, 1);
	/* Keys that change later mean nothing. */
	drv_dev_put(g->dev, "control-ref", "1");
	drv_dev_put(g->dev, "event-channel", "rubbish");
	drv_dev_put(g->dev, "backend-id", "7");
	drv_dev_put(g->dev, "backend", "/local/domain/0/backend/virtio/2/64");
	rig_reads(g, 2);
	closes(g);
}

static void nodes_removed(void **state)
{
	struct rig *r = *state;
	unsigned int round;

	for (round = 0; round < 2; round++) {
		struct rig_guest *g = rig_connected(r, 0);
		unsigned int id = g->id, i;

		assert_true(xs_rm(fx_xs(r->w), XBT_NULL, round ? g->dev->front : g->dev->back));
		for (i = 0; i < 500 && fx_grants_in_use(r->w, id); i++)
			usleep(10000);
		assert_int_equal(fx_grants_in_use(r->w, id), 0);
		fx_domain_destroy(r->w, id, 5000);
		rig_guest_gone(g);
	}
}

/* Connected and gone, over and over, with requests out and without waiting to be let go. */
static void reconnects_in_a_loop(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = rig_connected(r, 0);
	static struct drv_blk_req req[4];
	struct drv_buf buf;
	unsigned int i, k;

	for (i = 0; i < 30; i++) {
		assert_int_equal(drv_alloc(&g->dev->gmem.mem, 16 * 4096, 4096, true, &buf), 0);
		for (k = 0; k < 4; k++) {
			req[k] = (struct drv_blk_req){ .type = VIRTIO_BLK_T_IN,
						       .dev_writes = true,
						       .segs = 1 };
			req[k].seg[0] = (struct drv_seg){ buf.addr, 16 * 4096 };
			assert_int_equal(drv_blk_submit(&g->blk, &req[k]), 0);
		}
		drv_queue_kick(&g->dev->queues[0]);
		drv_dev_set_state(g->dev, i & 1 ? 1 : 5);
		if (i & 2)
			drv_dev_set_state(g->dev, 6);
		assert_int_equal(drv_dev_wait_backend(g->dev, 1u << 6 | 1u << 2) > 0, true);
		if (drv_dev_backend_state(g->dev) != 6 && !(i & 1))
			assert_int_equal(drv_dev_wait_backend(g->dev, 1u << 6), 6);
		for (k = 0; k < 4; k++)
			assert_int_equal(drv_free(&g->dev->gmem.mem, &req[k].hdr), 0);
		assert_int_equal(drv_free(&g->dev->gmem.mem, &buf), 0);
		drv_dev_drop(g->dev);
		assert_int_equal(g->dev->gmem.mem.still_mapped, 0);
		assert_int_equal(drv_dev_reconnect(g->dev), 0);
		rig_up(g, i & 4 ? NO_PACKED : ~0ull, 16);
	}
	rig_reads(g, 1);
	closes(g);
	assert_int_equal(fx_grants_in_use(r->w, g->id), 0);
}

static void slow_xenstore(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g;

	fx_xs_delay(r->w, 3000);
	g = rig_connected(r, 0);
	rig_reads(g, 1);
	closes(g);
	fx_xs_delay(r->w, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(malformed_messages),
		T(producer_index_jumps),
		T(consumer_index_jumps),
		T(backend_indices_overwritten),
		T(messages_change),
		T(answers_not_taken),
		T(features),
		T(config_out_of_range),
		T(impossible_queues),
		T(impossible_channels),
		T(impossible_pools),
		T(bad_data_grants),
		T(revoked_meanwhile),
		T(grant_operations_fail),
		T(broken_split_rings),
		T(broken_packed_rings),
		T(list_tells_of_a_fault),
		T(event_storm),
		T(watch_flood),
		T(malformed_keys),
		T(bad_control_page),
		T(states_in_any_order),
		T(nodes_removed),
		T(reconnects_in_a_loop),
		T(slow_xenstore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
