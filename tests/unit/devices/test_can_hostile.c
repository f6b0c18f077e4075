// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_can_hostile.c - what a guest, or a bus, does to break a CAN device
 *
 * Each row: the guest loses its own device at worst, a reset brings it back, and
 * what it makes us hold is bounded. Broken rings are in test_hostile_rings.c.
 */
#include "backend/base/container.h"
#include "tests/driver/devhelp.h"
#include "tests/rigs/can_rig.h"

#define F(bit) VG_FEATURE(bit)

/* The device lives, and does what it is for. */
static void assert_lives(struct cr *cr)
{
	struct cr_frame f = cr_frame(0, 0x123, 8);
	unsigned sent = cr->bus->out_n;

	assert_false(cr->tp.dev.status & VG_STATUS_NEEDS_RESET);
	assert_int_equal(cr_send(cr, &f), CAN_RESULT_OK);
	assert_int_equal(cr->bus->out_n, sent + 1);
}

/* The guest broke the rules: its device stops, once, and a reset brings it back. */
static void assert_faulted(struct cr *cr)
{
	tp_settle(&cr->tp);
	assert_true(cr->tp.dev.status & VG_STATUS_NEEDS_RESET);
	assert_int_equal(dh_stats(&cr->tp.dev).faults, 1);
	tp_reset(&cr->tp);
	cr_begin(cr, cr->want, 64);
	cr_post(cr, 8);
	assert_int_equal(cr_control(cr, CAN_MSG_START), CAN_RESULT_OK);
	assert_lives(cr);
}

/* @f is answered NOT_OK, and never reaches the bus. */
static void refused(struct cr *cr, struct cr_frame f)
{
	unsigned sent = cr->bus->out_n;

	assert_int_equal(cr_send(cr, &f), CAN_RESULT_NOT_OK);
	tp_settle(&cr->tp);
	assert_int_equal(cr->bus->out_n, sent);
}

static void up(struct cr *cr)
{
	cr_up(cr, TP_COPY, "can,interface=c0", TP_ALL);
}

static void test_length_over_8_or_64(void **state)
{
	static const uint16_t classic[] = { 9, 15, 64, 65, 255, 2048, 4095, 32768, 65535 };
	static const uint16_t fd[] = { 65, 255, 2048, 4095, 32768, 65535 };
	struct cr cr;

	(void)state;
	up(&cr);
	for (unsigned i = 0; i < COUNT(classic); i++) {
		refused(&cr, cr_frame(0, 1, classic[i]));
		refused(&cr, cr_frame(CAN_WIRE_EXTENDED, 1, classic[i]));
		refused(&cr, cr_frame(CAN_WIRE_RTR, 1, classic[i]));
	}
	for (unsigned i = 0; i < COUNT(fd); i++)
		refused(&cr, cr_frame(CAN_WIRE_FD, 1, fd[i]));
	assert_lives(&cr);
	cr_close(&cr);
}

/* The header says more than the chain has. */
static void test_length_beyond_the_chain(void **state)
{
	struct cr_frame f = cr_frame(CAN_WIRE_FD, 1, 64);
	struct cr cr;

	(void)state;
	up(&cr);
	for (uint32_t have = 1; have < 80; have++) {
		struct cr_slot *s = cr_put(&cr, CAN_TXQ, &f, have, 1);

		tp_kick(&cr.tp, CAN_TXQ);
		assert_ptr_equal(cr_wait(&cr, CAN_TXQ), s);
		assert_int_equal(*cr_in(s), CAN_RESULT_NOT_OK);
	}
	assert_int_equal(cr.bus->out_n, 0);
	assert_lives(&cr);
	cr_close(&cr);
}

static void test_unknown_flags(void **state)
{
	struct cr cr;

	(void)state;
	up(&cr);
	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t flag = 1u << bit;

		if (flag & (CAN_WIRE_RTR | CAN_WIRE_FD | CAN_WIRE_EXTENDED))
			continue;
		refused(&cr, cr_frame(flag, 1, 8));
		refused(&cr, cr_frame(flag | CAN_WIRE_FD, 1, 8));
	}
	refused(&cr, cr_frame(CAN_WIRE_RTR | CAN_WIRE_FD, 1, 0)); /* there is no such frame */
	assert_lives(&cr);
	cr_close(&cr);
}

static void test_unknown_message_type(void **state)
{
	struct cr cr;

	(void)state;
	up(&cr);
	for (unsigned type = 0; type < 0x10000; type += type < 0x400 ? 1 : 0x1001) {
		struct cr_frame f = cr_frame(0, 1, 8);

		if (type == CAN_MSG_TX)
			continue;
		f.h.msg_type = htole16((uint16_t)type);
		refused(&cr, f);
		if (type != CAN_MSG_START && type != CAN_MSG_STOP)
			assert_int_equal(cr_control(&cr, (uint16_t)type), CAN_RESULT_NOT_OK);
	}
	assert_lives(&cr);
	cr_close(&cr);
}

static void test_id_out_of_range(void **state)
{
	struct cr cr;

	(void)state;
	up(&cr);
	refused(&cr, cr_frame(0, 0x800, 8));
	refused(&cr, cr_frame(0, 0x1fffffff, 8));
	refused(&cr, cr_frame(CAN_WIRE_EXTENDED, 0x20000000, 8));
	/* SocketCAN's own flags in the id: an error frame, above all, must not be had this way. */
	refused(&cr, cr_frame(0, CAN_ERR_FLAG | 0x40, 8));
	refused(&cr, cr_frame(0, CAN_EFF_FLAG | 1, 8));
	refused(&cr, cr_frame(CAN_WIRE_EXTENDED, CAN_RTR_FLAG | 1, 8));
	refused(&cr, cr_frame(CAN_WIRE_EXTENDED, UINT32_MAX, 8));
	assert_lives(&cr);
	cr_close(&cr);
}

static void test_wrong_state(void **state)
{
	struct cr cr;

	(void)state;
	up(&cr);
	assert_int_equal(cr_control(&cr, CAN_MSG_STOP), CAN_RESULT_OK);
	refused(&cr, cr_frame(0, 1, 8));
	refused(&cr, cr_frame(0, 0x800, 9));
	fake_change(cr.bus, CAN_LINK_UP, CAN_BUSOFF); /* while it is stopped: nothing to tell */
	assert_int_equal(cr_status(&cr), 0);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	assert_lives(&cr);
	cr_close(&cr);
}

/* Without a byte for the result there is no way to answer. */
static void test_no_room_for_the_result(void **state)
{
	const struct cr_frame f = cr_frame(0, 1, 8);
	const uint16_t start = htole16(CAN_MSG_START);
	struct cr cr;

	(void)state;
	up(&cr);
	cr_put(&cr, CAN_TXQ, &f, 24, 0);
	tp_kick(&cr.tp, CAN_TXQ);
	assert_faulted(&cr);
	assert_int_equal(cr.bus->out_n, 1);
	cr_close(&cr);
	up(&cr);
	cr_put(&cr, CAN_CONTROLQ, &start, 2, 0);
	tp_kick(&cr.tp, CAN_CONTROLQ);
	assert_faulted(&cr);
	cr_close(&cr);
}

static void test_short_messages(void **state)
{
	const uint8_t byte = 1;
	struct cr_slot *s;
	struct cr cr;

	(void)state;
	up(&cr);
	for (unsigned out = 0; out < 2; out++) {
		s = cr_put(&cr, CAN_CONTROLQ, &byte, out, 1);
		tp_kick(&cr.tp, CAN_CONTROLQ);
		assert_ptr_equal(cr_get(&cr, CAN_CONTROLQ), s);
		assert_int_equal(*cr_in(s), CAN_RESULT_NOT_OK);
		s = cr_put(&cr, CAN_TXQ, &byte, out, 1);
		tp_kick(&cr.tp, CAN_TXQ);
		assert_ptr_equal(cr_wait(&cr, CAN_TXQ), s);
		assert_int_equal(*cr_in(s), CAN_RESULT_NOT_OK);
	}
	/* A longer one than needed is one all the same; so is more room than needed. */
	s = cr_put(&cr, CAN_CONTROLQ, "\1\2trailing", 11, 64);
	tp_kick(&cr.tp, CAN_CONTROLQ);
	assert_ptr_equal(cr_get(&cr, CAN_CONTROLQ), s);
	assert_int_equal(*cr_in(s), CAN_RESULT_OK);
	assert_int_equal(cr_in(s)[1], 0xa5);
	assert_lives(&cr);
	cr_close(&cr);
}

/* A receive buffer that cannot hold the frame that has come. */
static void test_receive_buffer_too_small(void **state)
{
	static const uint32_t room[] = { 1, 15, 16, 23 };
	struct can_item item = cr_item(1, 8, false);
	struct cr cr;

	(void)state;
	for (unsigned i = 0; i < COUNT(room); i++) {
		cr_open(&cr, TP_COPY, "can,interface=c0");
		cr_begin(&cr, TP_ALL, 64);
		cr.rx_room = room[i];
		cr_post(&cr, 4);
		assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
		fake_put(cr.bus, &item);
		assert_faulted(&cr);
		cr_close(&cr);
	}
}

/* A receive buffer with a part that the device reads: it is not looked at. */
static void test_receive_buffer_with_readable_part(void **state)
{
	struct can_item item = cr_item(1, 8, false);
	struct cr cr;

	(void)state;
	cr_open(&cr, TP_COPY, "can,interface=c0");
	cr_begin(&cr, TP_ALL, 64);
	cr_put(&cr, CAN_RXQ, "what", 4, 80);
	tp_kick(&cr.tp, CAN_RXQ);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	fake_put(cr.bus, &item);
	tp_settle(&cr.tp);
	assert_non_null(cr_get(&cr, CAN_RXQ));
	assert_int_equal(cr.last_len, 24);
	assert_lives(&cr);
	cr_close(&cr);
}

/* Memory that is not there: a frame is refused, a result or a buffer is a fault. */
static void test_revoked_memory(void **state)
{
	const struct cr_frame f = cr_frame(0, 1, 8);
	struct can_item item = cr_item(1, 8, false);
	struct cr_slot *s;
	struct cr cr;

	(void)state;
	up(&cr);
	s = cr_put(&cr, CAN_TXQ, &f, 24, 1);
	tp_revoke(&cr.tp, s->mem.addr, 24, false);
	tp_kick(&cr.tp, CAN_TXQ);
	assert_ptr_equal(cr_wait(&cr, CAN_TXQ), s);
	assert_int_equal(*cr_in(s), CAN_RESULT_NOT_OK);
	cr.tp.n_revoked = 0;
	assert_lives(&cr);
	s = cr_put(&cr, CAN_TXQ, &f, 24, 1);
	tp_revoke(&cr.tp, s->mem.addr + 128, 1, false);
	tp_kick(&cr.tp, CAN_TXQ);
	assert_faulted(&cr);
	cr_close(&cr);
	up(&cr);
	tp_revoke(&cr.tp, cr.slot[0].mem.addr + 128, 80, false); /* the first buffer posted */
	fake_put(cr.bus, &item);
	assert_faulted(&cr);
	cr_close(&cr);
}

/* Control messages without end: each is answered, and frames go on between them. */
static void test_control_flood(void **state)
{
	struct cr_frame f = cr_frame(0, 1, 8);
	struct cr cr;

	(void)state;
	up(&cr);
	for (unsigned round = 0; round < 200; round++) {
		struct cr_slot *s[32];
		struct drv_used used;

		for (unsigned i = 0; i < 32; i++) {
			uint16_t type = htole16(i & 1 ? CAN_MSG_START : CAN_MSG_STOP);

			s[i] = cr_put(&cr, CAN_CONTROLQ, &type, 2, 1);
		}
		tp_kick(&cr.tp, CAN_CONTROLQ);
		for (unsigned i = 0; i < 32; i++) {
			tp_wait(&cr.tp, CAN_CONTROLQ, &used);
			assert_ptr_equal(used.cookie, s[i]); /* in order */
			assert_int_equal(*cr_in(s[i]), CAN_RESULT_OK);
			s[i]->busy = false;
		}
		assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	}
	cr_close(&cr);
}

/* Frames without end while the guest takes nothing: a bounded queue, the rest is counted, and the
 * guest receives the moment that it has buffers. */
static void test_receive_flood(void **state)
{
	struct can_item item = cr_item(0, 8, false);
	struct cr_frame f;
	struct cr cr;

	(void)state;
	cr_open(&cr, TP_COPY, "can,interface=c0,rx-queue=100");
	cr_begin(&cr, TP_ALL, 64);
	cr_post(&cr, 8);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	for (uint32_t i = 0; i < 20000; i++) {
		item.f.can_id = i & 0x7ff;
		fake_put(cr.bus, &item);
		if (cr.bus->in_n == 1000)
			tp_settle(&cr.tp);
	}
	tp_settle(&cr.tp);
	for (uint32_t i = 0; i < 8; i++) {
		assert_true(cr_take(&cr, &f));
		assert_int_equal(le32toh(f.h.can_id), i);
	}
	assert_false(cr_take(&cr, &f));
	cr_assert_says(&cr, "rx-dropped=19892"); /* all but 8 in buffers and 100 in the queue */
	/* Buffers come, and with them, at once, what waited: the oldest first. */
	for (uint32_t i = 8; i < 108; i++) {
		cr_post(&cr, 1);
		assert_true(cr_take(&cr, &f));
		assert_int_equal(le32toh(f.h.can_id), i);
	}
	cr_post(&cr, 8);
	assert_false(cr_take(&cr, &f));
	item.f.can_id = 0x555;
	fake_put(cr.bus, &item);
	tp_settle(&cr.tp);
	assert_true(cr_take(&cr, &f));
	assert_int_equal(le32toh(f.h.can_id), 0x555);
	assert_lives(&cr);
	cr_close(&cr);
}

/* A guest that sends without end into an interface that takes nothing: it is held back. */
static void test_transmit_flood(void **state)
{
	struct cr_frame f = cr_frame(0, 1, 8);
	unsigned added = 0;
	struct cr cr;

	(void)state;
	cr_open(&cr, TP_COPY, "can,interface=c0,queue-size=1024");
	cr_begin(&cr, TP_ALL & ~F(CAN_F_LATE_TX_ACK), 1024);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	cr.bus->room = 0;
	for (; added < 500; added++)
		cr_add(&cr, &f);
	tp_kick(&cr.tp, CAN_TXQ);
	tp_settle(&cr.tp);
	assert_null(cr_get(&cr, CAN_TXQ));
	cr.bus->room = UINT32_MAX;
	while (added--)
		assert_int_equal(*cr_in(cr_wait(&cr, CAN_TXQ)), CAN_RESULT_OK);
	assert_int_equal(cr.bus->out_n, 500);
	cr_close(&cr);
}

/* Kicks without work, for every queue and for none. */
static void test_kick_storm(void **state)
{
	struct cr cr;

	(void)state;
	up(&cr);
	for (unsigned i = 0; i < 100000; i++)
		vg_dev_kick(&cr.tp.dev, i % 5);
	assert_lives(&cr);
	cr_close(&cr);
}

/* A reset with frames on the bus, in the list and in the ring. */
static void test_reset_with_frames_in_flight(void **state)
{
	struct cr_frame f = cr_frame(0, 1, 8);
	struct cr cr;

	(void)state;
	up(&cr);
	for (int round = 0; round < 3; round++) {
		cr.bus->silent = true;
		cr.bus->room = 4;
		for (int i = 0; i < 20; i++)
			cr_add(&cr, &f);
		tp_kick(&cr.tp, CAN_TXQ);
		tp_settle(&cr.tp);
		tp_reset(&cr.tp);
		assert_false(cr.bus->confirming);
		tp_settle(&cr.tp);
		cr_begin(&cr, TP_ALL, 64);
		fake_confirm(cr.bus, 0); /* late */
		cr.bus->silent = false;
		cr.bus->room = UINT32_MAX;
		assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK); /* STOPPED again */
		assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
		assert_lives(&cr);
	}
	cr_close(&cr);
}

/* A queue of its own is reset while the others run. */
static void test_queue_reset_with_frames_in_flight(void **state)
{
	struct cr_frame f = cr_frame(0, 1, 8);
	struct can_item item = cr_item(2, 8, false);
	struct vg_vq_state at;
	struct cr cr;

	(void)state;
	up(&cr);
	cr.bus->silent = true;
	cr_add(&cr, &f);
	tp_kick(&cr.tp, CAN_TXQ);
	dh_reset_queue(&cr.tp.dev, CAN_TXQ, &at);
	fake_confirm(cr.bus, 0);
	fake_put(cr.bus, &item);
	fake_change(cr.bus, CAN_LINK_DOWN, CAN_ACTIVE);
	fake_change(cr.bus, CAN_LINK_UP, CAN_ACTIVE);
	tp_settle(&cr.tp);
	assert_non_null(cr_get(&cr, CAN_RXQ));
	assert_int_equal(cr_control(&cr, CAN_MSG_STOP), CAN_RESULT_OK);
	dh_reset_queue(&cr.tp.dev, CAN_RXQ, &at);
	dh_reset_queue(&cr.tp.dev, CAN_CONTROLQ, &at);
	fake_put(cr.bus, &item);
	tp_settle(&cr.tp);
	cr_close(&cr);
}

/* START, STOP and bus-off in any order, with frames between: every frame is answered. */
static void test_state_storm(void **state)
{
	struct cr_frame f = cr_frame(0, 1, 8);
	unsigned long seed = 12345;
	struct cr cr;

	(void)state;
	up(&cr);
	for (unsigned i = 0; i < 5000; i++) {
		seed = seed * 6364136223846793005ul + 1442695040888963407ul;
		switch (seed >> 60 & 7) {
		case 0:
			assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
			break;
		case 1:
			assert_int_equal(cr_control(&cr, CAN_MSG_STOP), CAN_RESULT_OK);
			break;
		case 2:
			fake_change(cr.bus, CAN_LINK_UP, CAN_BUSOFF);
			break;
		case 3:
			fake_change(cr.bus, seed >> 59 & 1 ? CAN_LINK_DOWN : CAN_LINK_UP,
				    CAN_ACTIVE);
			break;
		default:
			assert_in_range(cr_send(&cr, &f), CAN_RESULT_OK, CAN_RESULT_NOT_OK);
		}
	}
	fake_change(cr.bus, CAN_LINK_UP, CAN_ACTIVE);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	assert_lives(&cr);
	cr_close(&cr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_length_over_8_or_64),
		cmocka_unit_test(test_length_beyond_the_chain),
		cmocka_unit_test(test_unknown_flags),
		cmocka_unit_test(test_unknown_message_type),
		cmocka_unit_test(test_id_out_of_range),
		cmocka_unit_test(test_wrong_state),
		cmocka_unit_test(test_no_room_for_the_result),
		cmocka_unit_test(test_short_messages),
		cmocka_unit_test(test_receive_buffer_too_small),
		cmocka_unit_test(test_receive_buffer_with_readable_part),
		cmocka_unit_test(test_revoked_memory),
		cmocka_unit_test(test_control_flood),
		cmocka_unit_test(test_receive_flood),
		cmocka_unit_test(test_transmit_flood),
		cmocka_unit_test(test_kick_storm),
		cmocka_unit_test(test_reset_with_frames_in_flight),
		cmocka_unit_test(test_queue_reset_with_frames_in_flight),
		cmocka_unit_test(test_state_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
