// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_can.c - the CAN device, spoken to as VIRTIO 1.4 "CAN Device" has it
 *
 * What a guest does on purpose to break things is in test_can_hostile.c.
 */
#include "backend/base/container.h"
#include "tests/driver/devhelp.h"
#include "tests/rigs/can_rig.h"

#define F(bit) VG_FEATURE(bit)

static const uint64_t no_late = TP_ALL & ~F(CAN_F_LATE_TX_ACK);

/* ---- features and configuration ----------------------------------------- */

static uint32_t try_features(struct tp *tp, uint64_t device)
{
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	dh_status(&tp->dev, 0);
	dh_status(&tp->dev, status);
	vg_dev_set_features(&tp->dev, F(VG_F_VERSION_1) | device);
	return dh_status(&tp->dev, status | VG_STATUS_FEATURES_OK) & VG_STATUS_FEATURES_OK;
}

static void test_features(void **state)
{
	struct cr cr;

	(void)state;
	cr_open(&cr, TP_COPY, "can,interface=c0");
	assert_int_equal(cr.tp.dev.device_features,
			 F(CAN_F_CLASSIC) | F(CAN_F_FD) | F(CAN_F_RTR) | F(CAN_F_LATE_TX_ACK));
	assert_true(try_features(&cr.tp, F(CAN_F_CLASSIC)));
	assert_true(try_features(&cr.tp, F(CAN_F_FD)));
	assert_true(try_features(&cr.tp, F(CAN_F_CLASSIC) | F(CAN_F_RTR)));
	/* Neither of the two, and RTR without classic, are refused. */
	assert_false(try_features(&cr.tp, 0));
	assert_false(try_features(&cr.tp, F(CAN_F_LATE_TX_ACK)));
	assert_false(try_features(&cr.tp, F(CAN_F_FD) | F(CAN_F_RTR)));
	cr_close(&cr);
}

static void test_features_follow_configuration(void **state)
{
	struct cr cr;

	(void)state;
	cr_open(&cr, TP_COPY, "can,interface=c0,fd=0,rtr=no,late-ack=0");
	assert_int_equal(cr.tp.dev.device_features, F(CAN_F_CLASSIC));
	cr_close(&cr);
	fake.fd = false; /* a classic controller */
	cr_open(&cr, TP_COPY, "can,interface=c0");
	assert_false(cr.tp.dev.device_features & F(CAN_F_FD));
	cr_close(&cr);
	fake.fd = false;
	fake.link = CAN_LINK_GONE; /* not known yet */
	cr_open(&cr, TP_COPY, "can,interface=c0");
	assert_true(cr.tp.dev.device_features & F(CAN_F_FD));
	cr_close(&cr);
}

static void test_configuration_errors(void **state)
{
	static const char *const bad[][2] = {
		{ "can", "interface" },
		{ "can,interface=nocan", "no CAN interface" },
		{ "can,interface=c0,tx-allow=12", "no rule" },
		{ "can,interface=c0,tx-load=101", "tx-load" },
		{ "can,interface=c0,queue-size=100", "power of two" },
		{ "can,interface=c0,rx-queue=0", "rx-queue" },
		{ "can,interface=c0,colour=red", "colour" },
	};
	struct tp tp;
	struct vg_err err;

	(void)state;
	can_bus_ops = &fake_ops;
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_true(tp_try_open(&tp, TP_COPY, bad[i][0], &err) < 0);
		if (!strstr(err.text, bad[i][1]))
			fail_msg("%s: '%s'", bad[i][0], err.text);
	}
}

static void test_config_space(void **state)
{
	uint16_t w;
	uint8_t b;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	assert_int_equal(cr_status(&cr), 0);
	assert_int_equal(vg_dev_config_read(&cr.tp.dev, 1, &b, 1), 0);
	assert_int_equal(vg_dev_config_read(&cr.tp.dev, 1, &w, 2), -EINVAL);
	assert_int_equal(vg_dev_config_write(&cr.tp.dev, 0, &b, 1), -EPERM); /* read-only */
	cr_close(&cr);
}

/* ---- transmission ------------------------------------------------------- */

static void check_sent(struct cr *cr, const struct cr_frame *f, canid_t id, bool fd)
{
	const struct can_item *o;

	assert_true(cr->bus->out_n > 0);
	o = &cr->bus->out[cr->bus->out_n - 1];
	assert_int_equal(o->f.can_id, id);
	assert_int_equal(o->fd, fd);
	assert_int_equal(o->f.len, le16toh(f->h.length));
	if (!(id & CAN_RTR_FLAG))
		assert_memory_equal(o->f.data, f->data, o->f.len);
}

static void transmit(enum tp_manner manner, uint64_t want)
{
	static const uint8_t fd_len[] = { 0, 1, 7, 8, 12, 16, 20, 24, 32, 48, 64 };
	struct cr_frame f;
	struct cr cr;

	cr_up(&cr, manner, "can,interface=c0", want);
	for (uint16_t len = 0; len <= 8; len++) {
		f = cr_frame(0, 0x123, len);
		assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
		check_sent(&cr, &f, 0x123, false);
		assert_int_equal(cr.bus->out[cr.bus->out_n - 1].f.flags, 0);
	}
	f = cr_frame(0, 0x7ff, 8);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	check_sent(&cr, &f, 0x7ff, false);
	f = cr_frame(CAN_WIRE_EXTENDED, 0x1fffffff, 8);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	check_sent(&cr, &f, 0x1fffffff | CAN_EFF_FLAG, false);
	f = cr_frame(CAN_WIRE_EXTENDED, 0x12, 8); /* a small extended id stays extended */
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	check_sent(&cr, &f, 0x12 | CAN_EFF_FLAG, false);
	f = cr_frame(CAN_WIRE_RTR, 0x321, 4);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	check_sent(&cr, &f, 0x321 | CAN_RTR_FLAG, false);
	for (unsigned i = 0; i < sizeof(fd_len); i++) {
		f = cr_frame(CAN_WIRE_FD | (i & 1 ? CAN_WIRE_EXTENDED : 0), 0x55, fd_len[i]);
		assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
		check_sent(&cr, &f, 0x55 | (i & 1 ? CAN_EFF_FLAG : 0), true);
		assert_true(cr.bus->out[cr.bus->out_n - 1].f.flags & CANFD_BRS);
	}
	assert_int_equal(dh_stats(&cr.tp.dev).errors, 0);
	assert_int_equal(cr.tp.dev.status & VG_STATUS_NEEDS_RESET, 0);
	cr_close(&cr);
}

static void test_transmit_split(void **state)
{
	(void)state;
	transmit(TP_DIRECT, CR_SPLIT);
	transmit(TP_COPY, CR_SPLIT);
	transmit(TP_COPY, CR_SPLIT & no_late);
}

static void test_transmit_packed(void **state)
{
	(void)state;
	transmit(TP_DIRECT, TP_ALL);
	transmit(TP_COPY, TP_ALL & ~F(VG_F_IN_ORDER));
}

/* A length that no FD frame has is filled up, as a controller does. */
static void test_fd_length_is_filled_up(void **state)
{
	struct cr_frame f = cr_frame(CAN_WIRE_FD, 1, 9);
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0,brs=0", TP_ALL);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	assert_int_equal(cr.bus->out[0].f.len, 12);
	assert_memory_equal(cr.bus->out[0].f.data, f.data, 9);
	assert_memory_equal(cr.bus->out[0].f.data + 9, "\0\0\0", 3);
	assert_false(cr.bus->out[0].f.flags & CANFD_BRS);
	cr_close(&cr);
}

/* The header and the data in descriptors of their own, cut anywhere. */
static void test_split_over_descriptors(void **state)
{
	struct cr_frame f = cr_frame(CAN_WIRE_FD, 0x77, 64);
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	for (uint32_t at = 1; at < 80; at += 13) {
		struct cr_slot *s = cr_slot(&cr);
		const struct drv_seg o[] = { { s->mem.addr, at }, { s->mem.addr + at, 80 - at } };
		const struct drv_seg i = { s->mem.addr + 128, 1 };

		memcpy(s->mem.virt, &f, 80);
		assert_true(drv_vring_add(&cr.tp.vr[CAN_TXQ], o, 2, &i, 1, s, 0) >= 0);
		tp_kick(&cr.tp, CAN_TXQ);
		assert_ptr_equal(cr_wait(&cr, CAN_TXQ), s);
		assert_int_equal(*cr_in(s), CAN_RESULT_OK);
		check_sent(&cr, &f, 0x77, true);
	}
	cr_close(&cr);
}

/* Frame types that were not negotiated are refused, and never reach the bus. */
static void test_not_negotiated(void **state)
{
	struct cr_frame classic = cr_frame(0, 1, 8), fd = cr_frame(CAN_WIRE_FD, 1, 8),
			rtr = cr_frame(CAN_WIRE_RTR, 1, 0);
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL & ~F(CAN_F_FD) & ~F(CAN_F_RTR));
	assert_int_equal(cr_send(&cr, &classic), CAN_RESULT_OK);
	assert_int_equal(cr_send(&cr, &fd), CAN_RESULT_NOT_OK);
	assert_int_equal(cr_send(&cr, &rtr), CAN_RESULT_NOT_OK);
	assert_int_equal(cr.bus->out_n, 1);
	cr_close(&cr);
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL & ~F(CAN_F_CLASSIC) & ~F(CAN_F_RTR));
	assert_int_equal(cr_send(&cr, &classic), CAN_RESULT_NOT_OK);
	assert_int_equal(cr_send(&cr, &rtr), CAN_RESULT_NOT_OK);
	assert_int_equal(cr_send(&cr, &fd), CAN_RESULT_OK);
	assert_int_equal(cr.bus->out_n, 1);
	cr_assert_says(&cr, "tx-invalid=2");
	cr_close(&cr);
}

/* LATE_TX_ACK: the result comes when the bus has the frame, not before. */
static void test_late_tx_ack(void **state)
{
	struct cr_frame f = cr_frame(0, 0x10, 8), g = cr_frame(0, 0x20, 8);
	struct cr_slot *a, *b;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL & ~F(VG_F_IN_ORDER));
	assert_true(cr.bus->confirming);
	cr.bus->silent = true;
	a = cr_add(&cr, &f);
	b = cr_add(&cr, &g);
	tp_kick(&cr.tp, CAN_TXQ);
	tp_settle(&cr.tp);
	assert_int_equal(cr.bus->out_n, 2);
	assert_null(cr_get(&cr, CAN_TXQ));
	fake_confirm(cr.bus, 1); /* a controller that sends by priority */
	assert_ptr_equal(cr_wait(&cr, CAN_TXQ), b);
	assert_int_equal(*cr_in(b), CAN_RESULT_OK);
	fake_confirm(cr.bus, 1); /* once more: nothing to confirm, and nothing to receive */
	tp_settle(&cr.tp);
	assert_null(cr_get(&cr, CAN_TXQ));
	fake_confirm(cr.bus, 0);
	assert_ptr_equal(cr_wait(&cr, CAN_TXQ), a);
	assert_null(cr_get(&cr, CAN_RXQ));
	cr_close(&cr);
	/* Without it the result is there at once. */
	cr_up(&cr, TP_COPY, "can,interface=c0", no_late);
	assert_false(cr.bus->confirming);
	a = cr_add(&cr, &f);
	tp_kick(&cr.tp, CAN_TXQ);
	assert_ptr_equal(cr_get(&cr, CAN_TXQ), a);
	cr_close(&cr);
}

/* The interface has no room: frames wait, in order, and none is lost. */
static void interface_full(uint64_t want)
{
	struct cr_frame f;
	struct cr cr;

	cr_up(&cr, TP_COPY, "can,interface=c0", want);
	cr.bus->room = 3;
	for (uint32_t i = 0; i < 20; i++) {
		f = cr_frame(0, i, 1);
		cr_add(&cr, &f);
	}
	tp_kick(&cr.tp, CAN_TXQ);
	assert_int_equal(cr.bus->out_n, 3);
	for (uint32_t i = 0; i < 20; i++) {
		cr.bus->room += 1;
		assert_int_equal(*cr_in(cr_wait(&cr, CAN_TXQ)), CAN_RESULT_OK);
	}
	assert_int_equal(cr.bus->out_n, 20);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(cr.bus->out[i].f.can_id, i);
	cr_close(&cr);
}

static void test_interface_full(void **state)
{
	(void)state;
	interface_full(TP_ALL);
	interface_full(no_late);
}

/* Confirmations that the kernel lost do not hold the guest's frames for ever. */
static void test_lost_confirmation(void **state)
{
	struct cr_frame f = cr_frame(0, 0x10, 8);
	struct cr_slot *s;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	cr.bus->silent = true;
	s = cr_add(&cr, &f);
	tp_kick(&cr.tp, CAN_TXQ);
	usleep(1100000);
	cr.tp.dev.ops->tick(&cr.tp.dev);
	assert_null(cr_get(&cr, CAN_TXQ)); /* nothing was lost: the bus is slow, or alone */
	cr.bus->dropped = 5;
	cr.tp.dev.ops->tick(&cr.tp.dev);
	assert_ptr_equal(cr_get(&cr, CAN_TXQ), s);
	assert_int_equal(*cr_in(s), CAN_RESULT_OK);
	cr_assert_says(&cr, "unconfirmed=1");
	cr_assert_says(&cr, "host-dropped=5");
	assert_int_equal(cr.bus->ticks, 2);
	cr_close(&cr);
}

/* A controller in one-shot mode drops what it could not send at once, and says nothing: the guest
 * is told, and its queue goes on. */
static void test_one_shot(void **state)
{
	struct cr_frame f = cr_frame(0, 0x10, 8);
	struct cr_slot *s;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	cr.bus->bus.one_shot = true;
	cr.bus->silent = true;
	s = cr_add(&cr, &f);
	tp_kick(&cr.tp, CAN_TXQ);
	cr.tp.dev.ops->tick(&cr.tp.dev);
	assert_null(cr_get(&cr, CAN_TXQ));
	usleep(1100000);
	cr.tp.dev.ops->tick(&cr.tp.dev);
	assert_ptr_equal(cr_get(&cr, CAN_TXQ), s);
	assert_int_equal(*cr_in(s), CAN_RESULT_NOT_OK);
	cr_assert_says(&cr, "tx-failed=1");
	cr.bus->silent = false;
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	cr_close(&cr);
}

/* ---- reception ---------------------------------------------------------- */

static void receive(enum tp_manner manner, uint64_t want)
{
	static const uint8_t fd_len[] = { 0, 8, 12, 16, 20, 24, 32, 48, 64 };
	struct can_item item;
	struct cr_frame f;
	struct cr cr;

	cr_up(&cr, manner, "can,interface=c0", want);
	for (uint8_t len = 0; len <= 8; len++) {
		item = cr_item(len & 1 ? 0x18daf110 | CAN_EFF_FLAG : 0x7ab, len, false);
		fake_put(cr.bus, &item);
		tp_settle(&cr.tp);
		assert_true(cr_take(&cr, &f));
		cr_post(&cr, 1);
		assert_int_equal(le16toh(f.h.msg_type), CAN_MSG_RX);
		assert_int_equal(le16toh(f.h.length), len);
		assert_int_equal(le32toh(f.h.flags), len & 1 ? CAN_WIRE_EXTENDED : 0);
		assert_int_equal(le32toh(f.h.can_id), len & 1 ? 0x18daf110 : 0x7ab);
		assert_memory_equal(f.data, item.f.data, len);
	}
	for (unsigned i = 0; i < sizeof(fd_len); i++) {
		item = cr_item(0x42, fd_len[i], true);
		fake_put(cr.bus, &item);
		tp_settle(&cr.tp);
		assert_true(cr_take(&cr, &f));
		cr_post(&cr, 1);
		assert_int_equal(le32toh(f.h.flags), CAN_WIRE_FD);
		assert_int_equal(le16toh(f.h.length), fd_len[i]);
		assert_memory_equal(f.data, item.f.data, fd_len[i]);
	}
	/* A remote frame: its length, and room for data as Linux' driver wants it. */
	item = cr_item(0x99 | CAN_RTR_FLAG, 5, false);
	fake_put(cr.bus, &item);
	tp_settle(&cr.tp);
	assert_true(cr_take(&cr, &f));
	assert_int_equal(le32toh(f.h.flags), CAN_WIRE_RTR);
	assert_int_equal(le16toh(f.h.length), 5);
	assert_int_equal(cr.last_len, 16 + 5);
	cr_close(&cr);
}

static void test_receive(void **state)
{
	(void)state;
	receive(TP_DIRECT, CR_SPLIT);
	receive(TP_COPY, CR_SPLIT);
	receive(TP_COPY, TP_ALL);
}

/* Frames of a kind that the driver did not negotiate are not its to see. */
static void test_receive_only_negotiated(void **state)
{
	struct can_item fd = cr_item(1, 8, true), rtr = cr_item(2 | CAN_RTR_FLAG, 0, false),
			classic = cr_item(3, 8, false);
	struct cr_frame f;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL & ~F(CAN_F_FD) & ~F(CAN_F_RTR));
	fake_put(cr.bus, &fd);
	fake_put(cr.bus, &rtr);
	fake_put(cr.bus, &classic);
	tp_settle(&cr.tp);
	assert_true(cr_take(&cr, &f));
	assert_int_equal(le32toh(f.h.can_id), 3);
	assert_false(cr_take(&cr, &f));
	cr_assert_says(&cr, "rx-not-negotiated=2");
	cr_close(&cr);
}

/* The guest's own frames never come back to it; those of others do. */
static void test_own_frames_do_not_come_back(void **state)
{
	struct cr_frame f = cr_frame(0, 0x10, 8), got;
	struct can_item other;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	tp_settle(&cr.tp);
	assert_false(cr_take(&cr, &got));
	other = cr.bus->out[0]; /* the very same frame, sent by another guest */
	fake_put(cr.bus, &other);
	tp_settle(&cr.tp);
	assert_true(cr_take(&cr, &got));
	assert_memory_equal(got.data, f.data, 8);
	cr_close(&cr);
}

/* ---- the controller ----------------------------------------------------- */

static void test_starts_stopped(void **state)
{
	struct can_item item = cr_item(1, 8, false);
	struct cr_frame f = cr_frame(0, 1, 8), got;
	struct cr cr;

	(void)state;
	cr_open(&cr, TP_COPY, "can,interface=c0");
	cr_begin(&cr, TP_ALL, 64);
	cr_post(&cr, 8);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
	fake_put(cr.bus, &item);
	tp_settle(&cr.tp);
	assert_false(cr_take(&cr, &got));
	assert_int_equal(cr.bus->out_n, 0);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK); /* as it is already */
	assert_int_equal(cr_control(&cr, CAN_MSG_STOP), CAN_RESULT_OK);
	assert_int_equal(cr_control(&cr, CAN_MSG_STOP), CAN_RESULT_OK);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
	/* What was on the bus meanwhile is not received afterwards. */
	fake_put(cr.bus, &item);
	tp_settle(&cr.tp);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	tp_settle(&cr.tp);
	assert_false(cr_take(&cr, &got));
	assert_int_equal(cr.tp.config_changes, 0);
	cr_close(&cr);
}

/* STOP answers what is pending, on the bus or before it, with NOT_OK, and then STOP itself. */
static void test_stop_cancels_pending(void **state)
{
	struct cr_frame f = cr_frame(0, 1, 8);
	struct cr_slot *s[60];
	struct cr cr;

	(void)state;
	cr_open(&cr, TP_COPY, "can,interface=c0");
	cr_begin(&cr, TP_ALL & ~F(VG_F_IN_ORDER), 128);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	cr.bus->silent = true;
	cr.bus->room = 5;
	for (int i = 0; i < 60; i++)
		s[i] = cr_add(&cr, &f);
	tp_kick(&cr.tp, CAN_TXQ);
	tp_settle(&cr.tp);
	assert_null(cr_get(&cr, CAN_TXQ));
	assert_int_equal(cr_control(&cr, CAN_MSG_STOP), CAN_RESULT_OK);
	for (int i = 0; i < 60; i++) {
		assert_ptr_equal(cr_get(&cr, CAN_TXQ), s[i]);
		assert_int_equal(*cr_in(s[i]), CAN_RESULT_NOT_OK);
	}
	assert_int_equal(cr.bus->out_n, 5);
	/* Their confirmations, when they come, mean nothing any more. */
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	fake_confirm(cr.bus, 0);
	tp_settle(&cr.tp);
	assert_null(cr_get(&cr, CAN_TXQ));
	cr_assert_says(&cr, "tx-stopped=60");
	cr_close(&cr);
}

static void bus_off_comes(struct cr *cr)
{
	struct can_item err = { .f = { .can_id = CAN_ERR_FLAG | CAN_ERR_BUSOFF, .len = 8 } };

	fake_put(cr->bus, &err);
	tp_settle(&cr->tp);
	fake_change(cr->bus, CAN_LINK_UP, CAN_BUSOFF);
}

static void test_bus_off(void **state)
{
	struct cr_frame f = cr_frame(0, 1, 8), got;
	struct can_item item = cr_item(1, 8, false);
	uint32_t generation;
	struct cr_slot *s;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	cr.bus->silent = true;
	s = cr_add(&cr, &f);
	tp_kick(&cr.tp, CAN_TXQ);
	generation = cr.tp.dev.generation;
	bus_off_comes(&cr);
	assert_int_equal(cr_status(&cr), CAN_S_BUSOFF);
	assert_int_equal(cr.tp.config_changes, 1);
	assert_true(cr.tp.dev.generation != generation);
	assert_ptr_equal(cr_get(&cr, CAN_TXQ), s);
	assert_int_equal(*cr_in(s), CAN_RESULT_NOT_OK);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
	fake_put(cr.bus, &item);
	tp_settle(&cr.tp);
	assert_false(cr_take(&cr, &got));
	cr_assert_says(&cr, "stopped(bus-off)");
	cr_assert_says(&cr, "error-frames=1");
	/* Told again, for a driver that was not listening, but not for ever. */
	for (int i = 0; i < 10; i++)
		cr.tp.dev.ops->tick(&cr.tp.dev);
	assert_int_equal(cr.tp.config_changes, 5);
	/* The host's controller has recovered; START brings the guest's back. */
	fake_change(cr.bus, CAN_LINK_UP, CAN_ACTIVE);
	assert_int_equal(cr_status(&cr), CAN_S_BUSOFF);
	generation = cr.tp.dev.generation;
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	assert_int_equal(cr_status(&cr), 0);
	assert_true(cr.tp.dev.generation != generation);
	cr.bus->silent = false;
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	cr_assert_says(&cr, "bus-offs=1");
	cr_close(&cr);
}

/* START while the host's controller is still in bus-off: the guest is told again, a little later. */
static void test_bus_off_persists(void **state)
{
	struct cr cr;
	int64_t end;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	cr.bus->bus.state_known = true;
	bus_off_comes(&cr);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	assert_int_equal(cr_status(&cr), 0);
	end = vg_now_ns() + 2000000000LL;
	while (cr_status(&cr) == 0 && vg_now_ns() < end)
		vg_loop_turn(cr.tp.loop, true);
	assert_int_equal(cr_status(&cr), CAN_S_BUSOFF);
	assert_int_equal(cr.tp.config_changes, 2);
	/* vcan has no controller that could stay in that state. */
	cr.bus->bus.state_known = false;
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	usleep(150000);
	tp_settle(&cr.tp);
	assert_int_equal(cr_status(&cr), 0);
	cr_close(&cr);
}

/* ---- the interface ------------------------------------------------------ */

static void test_interface_goes_and_comes_back(void **state)
{
	struct can_item item = cr_item(7, 8, false);
	struct cr_frame f = cr_frame(0, 1, 8), got;
	struct cr_slot *s;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	cr.bus->silent = true;
	s = cr_add(&cr, &f);
	tp_kick(&cr.tp, CAN_TXQ);
	fake_change(cr.bus, CAN_LINK_DOWN, CAN_ACTIVE);
	/* What it had taken will never be confirmed. */
	assert_ptr_equal(cr_get(&cr, CAN_TXQ), s);
	assert_int_equal(*cr_in(s), CAN_RESULT_NOT_OK);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
	cr_assert_says(&cr, "c0=down");
	fake_change(cr.bus, CAN_LINK_GONE, CAN_ACTIVE);
	cr_assert_says(&cr, "c0=gone");
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
	/* START is answered all the same: a controller needs no cable for it. */
	assert_int_equal(cr_control(&cr, CAN_MSG_STOP), CAN_RESULT_OK);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	fake_change(cr.bus, CAN_LINK_UP, CAN_ACTIVE);
	cr.bus->silent = false;
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	fake_put(cr.bus, &item);
	tp_settle(&cr.tp);
	assert_true(cr_take(&cr, &got));
	cr_assert_says(&cr, "tx-failed=3");
	assert_int_equal(cr.tp.config_changes, 0);
	cr_close(&cr);
}

/* An interface that can never send a frame costs that frame, and not those behind it. */
static void test_frame_that_cannot_be_sent(void **state)
{
	struct cr_frame f = cr_frame(CAN_WIRE_FD, 1, 64);
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	cr.bus->error = -EINVAL;
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
	cr.bus->error = 0;
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	cr_close(&cr);
}

/* ---- the firewall, at the device ---------------------------------------- */

static int set(struct cr *cr, const char *key, const char *value)
{
	struct vg_err err = { "" };
	int ret = cr->tp.dev.ops->set(&cr->tp.dev, key, value, &err);

	assert_true(ret == 0 || err.text[0]);
	return ret;
}

static void test_firewall(void **state)
{
	struct can_item in = cr_item(0x100, 8, false), out = cr_item(0x200, 8, false);
	struct cr_frame ok = cr_frame(0, 0x105, 8), bad = cr_frame(0, 0x205, 8), got;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0,tx-allow=100:7f0,rx-allow=200:7f0", TP_ALL);
	assert_int_equal(cr_send(&cr, &ok), CAN_RESULT_OK);
	assert_int_equal(cr_send(&cr, &bad), CAN_RESULT_NOT_OK);
	assert_int_equal(cr.bus->out_n, 1);
	fake_put(cr.bus, &in);
	fake_put(cr.bus, &out);
	tp_settle(&cr.tp);
	assert_true(cr_take(&cr, &got));
	assert_int_equal(le32toh(got.h.can_id), 0x200);
	assert_false(cr_take(&cr, &got));
	cr_assert_says(&cr, "tx-refused=id:1/kind:0/rate:0/load:0");
	cr_assert_says(&cr, "rx-refused=id:1/kind:0/rate:0/load:0");
	/* While it runs. */
	assert_int_equal(set(&cr, "tx-allow", "none"), 0);
	assert_int_equal(cr_send(&cr, &ok), CAN_RESULT_NOT_OK);
	assert_int_equal(set(&cr, "tx-allow", "any"), 0);
	assert_int_equal(cr_send(&cr, &bad), CAN_RESULT_OK);
	assert_int_equal(set(&cr, "tx-allow", "100:xyz"), -EINVAL);
	assert_int_equal(cr_send(&cr, &bad), CAN_RESULT_OK); /* nothing changed */
	assert_int_equal(set(&cr, "interface", "c1"), -ENOENT);
	cr_close(&cr);
}

static void test_firewall_kinds(void **state)
{
	struct cr_frame fd = cr_frame(CAN_WIRE_FD, 1, 8), rtr = cr_frame(CAN_WIRE_RTR, 1, 0);
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	assert_int_equal(set(&cr, "fd", "0"), 0);
	assert_int_equal(set(&cr, "rtr", "0"), 0);
	assert_int_equal(cr_send(&cr, &fd), CAN_RESULT_NOT_OK);
	assert_int_equal(cr_send(&cr, &rtr), CAN_RESULT_NOT_OK);
	cr_assert_says(&cr, "tx-refused=id:0/kind:2");
	assert_int_equal(set(&cr, "fd", "1"), 0);
	assert_int_equal(cr_send(&cr, &fd), CAN_RESULT_OK);
	cr_close(&cr);
	/* What was never offered cannot be allowed later. */
	cr_up(&cr, TP_COPY, "can,interface=c0,fd=0", TP_ALL);
	assert_int_equal(set(&cr, "fd", "1"), -EINVAL);
	assert_int_equal(set(&cr, "tx-rate", "10"), 0);
	cr_close(&cr);
	/* Nor can FD on an interface that does not do it; the rest can be set there as anywhere. */
	fake.fd = false;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	assert_int_equal(set(&cr, "tx-rate", "10"), 0);
	assert_int_equal(set(&cr, "rtr", "0"), 0);
	assert_int_equal(set(&cr, "rtr", "1"), 0);
	assert_int_equal(set(&cr, "fd", "1"), -EINVAL);
	assert_int_equal(set(&cr, "fd", "0"), 0);
	cr_close(&cr);
}

static void test_firewall_rate(void **state)
{
	struct cr_frame f = cr_frame(0, 1, 8);
	unsigned passed = 0;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0,tx-rate=100", TP_ALL);
	for (int i = 0; i < 50; i++)
		passed += cr_send(&cr, &f) == CAN_RESULT_OK;
	assert_in_range(passed, 10, 14); /* a tenth of a second's worth, and what the test took */
	usleep(100000);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	assert_int_equal(set(&cr, "tx-rate", "0"), 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	cr_close(&cr);
}

/* ---- trace, resume ------------------------------------------------------ */

static void test_trace(void **state)
{
	struct can_item in = cr_item(0x18daf110 | CAN_EFF_FLAG, 2, true);
	struct cr_frame f = cr_frame(0, 0x7a, 3);
	char text[1024];
	struct cr cr;
	long sec, usec;
	int pair[2], end;
	ssize_t n;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(vg_trace_add(&cr.tp.dev.trace, pair[1]), 0);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	fake_put(cr.bus, &in);
	tp_settle(&cr.tp);
	vg_trace_flush(&cr.tp.dev.trace);
	n = read(pair[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_int_equal(sscanf(text, "(%ld.%ld) c0 07A#7A7B7C T%n", &sec, &usec, &end), 2);
	assert_true(sec > 1600000000);
	assert_non_null(strstr(text, "c0 18DAF110##01011 R\n"));
	close(pair[0]);
	/* A listener that has gone is forgotten. */
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	vg_trace_flush(&cr.tp.dev.trace);
	assert_false(vg_trace_on(&cr.tp.dev.trace));
	cr_close(&cr);
}

/* A worker that died is followed by one that knows whether the controller was started. */
static void test_successor_knows_the_state(void **state)
{
	uint8_t saved[2];
	struct cr_frame f = cr_frame(0, 1, 8);
	uint64_t features;
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0", TP_ALL);
	features = cr.tp.dev.features;
	assert_int_equal(cr.tp.dev.saved_size, sizeof(saved));
	memcpy(saved, cr.tp.dev.saved, sizeof(saved));
	cr_close(&cr);
	cr_open(&cr, TP_COPY, "can,interface=c0");
	vg_dev_resume(&cr.tp.dev,
		      VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER | VG_STATUS_FEATURES_OK |
			      VG_STATUS_DRIVER_OK,
		      features, 3, saved, sizeof(saved));
	for (unsigned q = 0; q < CAN_QUEUES; q++) {
		struct drv_vring_config cfg = { .size = 64,
						.packed = true,
						.event_idx = true,
						.indirect = true,
						.in_order = true };

		assert_int_equal(drv_vring_init(&cr.tp.vr[q], &cfg, &cr.tp.flat.mem), 0);
		assert_int_equal(vg_dev_set_queue(&cr.tp.dev, q, 64, cr.tp.vr[q].desc_mem.addr,
						  cr.tp.vr[q].driver_mem.addr,
						  cr.tp.vr[q].device_mem.addr, NULL, NULL),
				 0);
	}
	vg_dev_resumed(&cr.tp.dev);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	assert_true(cr.bus->confirming);
	bus_off_comes(&cr);
	memcpy(saved, cr.tp.dev.saved, sizeof(saved));
	assert_int_equal(saved[0], 0);
	assert_int_equal(saved[1], 1);
	cr_close(&cr);
}

/* Queue @q of @cr stops, as a VMM that pauses its guest has it, and is taken up where it stood. */
static void stop_and_go_on(struct cr *cr, unsigned q)
{
	struct drv_vring *vr = &cr->tp.vr[q];
	struct vg_vq_state at;

	dh_reset_queue(&cr->tp.dev, q, &at);
	assert_int_equal(vg_dev_set_queue(&cr->tp.dev, q, vr->cfg.size, vr->desc_mem.addr,
					  vr->driver_mem.addr, vr->device_mem.addr, &at, NULL),
			 0);
}

/*
 * A queue that stops keeps no chain: what the bus has is answered, what it has not stays in the ring
 * for whoever takes it up. Without an in-flight record nobody else would know of either.
 */
static void stop_with_frames_pending(uint64_t want)
{
	struct cr_slot *slot[5];
	struct cr cr;

	cr_up(&cr, TP_COPY, "can,interface=c0", want);
	cr.bus->silent = true; /* the bus is busy: nothing is confirmed */
	cr.bus->room = 3;
	for (unsigned i = 0; i < 5; i++) {
		struct cr_frame f = cr_frame(0, 0x100 + i, 8);

		slot[i] = cr_add(&cr, &f);
	}
	tp_kick(&cr.tp, CAN_TXQ);
	assert_int_equal(cr.bus->out_n, 3);
	assert_null(cr_get(&cr, CAN_TXQ));
	assert_int_equal(vg_vq_inflight(vg_dev_vq(&cr.tp.dev, CAN_TXQ)), 5);

	stop_and_go_on(&cr, CAN_TXQ);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(cr_get(&cr, CAN_TXQ), slot[i]);
		assert_int_equal(*cr_in(slot[i]), CAN_RESULT_OK);
	}
	assert_null(cr_get(&cr, CAN_TXQ));

	/* A confirmation that comes late is nobody's. */
	fake_confirm(cr.bus, 0);
	cr.bus->silent = false;
	cr.bus->room = UINT32_MAX;
	tp_settle(&cr.tp);
	vg_dev_kick(&cr.tp.dev, CAN_TXQ);
	for (unsigned i = 3; i < 5; i++) {
		assert_ptr_equal(cr_wait(&cr, CAN_TXQ), slot[i]);
		assert_int_equal(*cr_in(slot[i]), CAN_RESULT_OK);
	}
	assert_int_equal(cr.bus->out_n, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(cr.bus->out[i].f.can_id, 0x100 + i);
	assert_int_equal(vg_vq_inflight(vg_dev_vq(&cr.tp.dev, CAN_TXQ)), 0);
	cr_close(&cr);
}

static void test_stop_with_frames_pending(void **state)
{
	(void)state;
	stop_with_frames_pending(CR_SPLIT);
	stop_with_frames_pending(TP_ALL);
}

/* A chain that was refused is answered already: those before it cannot go back behind it. */
static void test_stop_behind_a_refused_frame(void **state)
{
	static const uint16_t ids[] = { 0x101, 0x102, 0x201, 0x103, 0x104 };
	/* In order of their answers, with what the bus got later. */
	static const uint8_t results[] = { CAN_RESULT_NOT_OK, CAN_RESULT_NOT_OK, CAN_RESULT_NOT_OK,
					   CAN_RESULT_OK, CAN_RESULT_OK };
	struct cr_slot *slot[5];
	struct cr cr;

	(void)state;
	cr_up(&cr, TP_COPY, "can,interface=c0,tx-allow=100:7f0", CR_SPLIT);
	cr.bus->room = 0;
	for (unsigned i = 0; i < 5; i++) {
		struct cr_frame f = cr_frame(0, ids[i], 8);

		slot[i] = cr_add(&cr, &f);
	}
	tp_kick(&cr.tp, CAN_TXQ);
	stop_and_go_on(&cr, CAN_TXQ);
	cr.bus->room = UINT32_MAX;
	vg_dev_kick(&cr.tp.dev, CAN_TXQ);
	for (unsigned i = 0; i < 5; i++)
		cr_wait(&cr, CAN_TXQ);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(*cr_in(slot[i]), results[i]);
	assert_int_equal(cr.bus->out_n, 2);
	assert_int_equal(cr.bus->out[0].f.can_id, 0x103);
	assert_int_equal(cr.bus->out[1].f.can_id, 0x104);
	cr_assert_says(&cr, "tx-failed=2");
	cr_close(&cr);
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
		cmocka_unit_test(test_fd_length_is_filled_up),
		cmocka_unit_test(test_split_over_descriptors),
		cmocka_unit_test(test_not_negotiated),
		cmocka_unit_test(test_late_tx_ack),
		cmocka_unit_test(test_interface_full),
		cmocka_unit_test(test_lost_confirmation),
		cmocka_unit_test(test_one_shot),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_receive_only_negotiated),
		cmocka_unit_test(test_own_frames_do_not_come_back),
		cmocka_unit_test(test_starts_stopped),
		cmocka_unit_test(test_stop_cancels_pending),
		cmocka_unit_test(test_bus_off),
		cmocka_unit_test(test_bus_off_persists),
		cmocka_unit_test(test_interface_goes_and_comes_back),
		cmocka_unit_test(test_frame_that_cannot_be_sent),
		cmocka_unit_test(test_firewall),
		cmocka_unit_test(test_firewall_kinds),
		cmocka_unit_test(test_firewall_rate),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_successor_knows_the_state),
		cmocka_unit_test(test_stop_with_frames_pending),
		cmocka_unit_test(test_stop_behind_a_refused_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
