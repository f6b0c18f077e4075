// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_can_socket.c - the CAN device on a real vcan, where there is one
 *
 * Needs root and the kernel's vcan; is skipped without. Everything happens in a
 * network namespace of its own, and, as in a worker, the device lives in another,
 * empty one as soon as it is open: what it needs of the first it must have kept.
 */
#include "tests/rigs/can_rig.h"

#include <fcntl.h>
#include <linux/can/raw.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>

static int bus_ns = -1; /* the namespace with the interfaces */

/* Run a shell command there. Return: its status. */
static int there(const char *cmd)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setns(bus_ns, CLONE_NEWNET) < 0)
			_exit(127);
		execl("/bin/sh", "sh", "-c", cmd, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* A plain CAN socket on the interface @name. */
static int peer_on(const char *name)
{
	int empty = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct sockaddr_can addr = { .can_family = AF_CAN };
	int on = 1, fd;

	assert_int_equal(setns(bus_ns, CLONE_NEWNET), 0);
	fd = socket(PF_CAN, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, CAN_RAW);
	addr.can_ifindex = (int)if_nametoindex(name);
	assert_int_equal(setns(empty, CLONE_NEWNET), 0);
	close(empty);
	assert_true(fd >= 0 && addr.can_ifindex > 0);
	setsockopt(fd, SOL_CAN_RAW, CAN_RAW_FD_FRAMES, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* One frame from there; a socket whose interface was down has an error to tell first. */
static void peer_write(int fd, const struct can_frame *c)
{
	if (write(fd, c, sizeof(*c)) < 0)
		assert_int_equal(write(fd, c, sizeof(*c)), sizeof(*c));
}

static int peer_open(void)
{
	return peer_on("vgcan0");
}

/* Turn @cr's loop until @what appears in its description, 5 s at most; the seconds of its clock are
 * shorter. */
static void until(struct cr *cr, const char *what)
{
	int64_t end = vg_now_ns() + 5000000000LL;

	for (unsigned i = 1; !cr_said(cr, what) && vg_now_ns() < end; i++) {
		vg_loop_turn(cr->tp.loop, false);
		if (i % 100 == 0)
			cr->tp.dev.ops->tick(&cr->tp.dev);
		usleep(1000);
	}
	cr_assert_says(cr, what);
}

static void await_frame(struct cr *cr, struct cr_frame *f)
{
	struct cr_slot *s = cr_wait(cr, CAN_RXQ);

	memcpy(f, cr_in(s), 80);
	cr_post(cr, 1);
}

/* The supervisor's part: in the namespace with the interfaces, and later. */
static struct lender {
	struct vg_dev_lender lender;
	struct vg_deferred answer;
	struct cr *cr;
	unsigned asked;
} lender;

static void lend(struct vg_deferred *d)
{
	struct vg_dev *dev = &lender.cr->tp.dev;
	int empty = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct vg_params params;
	struct vg_err err = { "" };
	int fd;

	(void)d;
	assert_int_equal(vg_params_parse("can,interface=vgcan0", &params, &err), 0);
	assert_int_equal(setns(bus_ns, CLONE_NEWNET), 0);
	fd = dev->ops->lend(&params, "socket", &err);
	assert_int_equal(setns(empty, CLONE_NEWNET), 0);
	close(empty);
	dev->ops->given(dev, "socket", fd, err.text);
}

static int ask_lender(struct vg_dev_lender *l, const char *what, bool write)
{
	(void)l;
	(void)write;
	assert_string_equal(what, "socket");
	lender.asked++;
	vg_loop_defer(lender.cr->tp.loop, &lender.answer);
	return 0;
}

static void device_up(struct cr *cr)
{
	int empty = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	memset(cr, 0, sizeof(*cr));
	can_bus_ops = &can_socket_ops;
	assert_int_equal(setns(bus_ns, CLONE_NEWNET), 0);
	tp_open(&cr->tp, TP_COPY, "can,interface=vgcan0");
	assert_int_equal(setns(empty, CLONE_NEWNET), 0); /* the sandbox */
	lender = (struct lender){ .lender.ask = ask_lender, .answer.run = lend, .cr = cr };
	cr->tp.dev.lender = &lender.lender;
	close(empty);
	cr->rx_room = 80;
	for (unsigned i = 0; i < CR_SLOTS; i++)
		assert_int_equal(drv_alloc(&cr->tp.flat.mem, 256, 16, true, &cr->slot[i].mem), 0);
	cr_begin(cr, TP_ALL, 64);
	cr_post(cr, 32);
	assert_int_equal(cr_control(cr, CAN_MSG_START), CAN_RESULT_OK);
}

static int setup(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return 0;
	bus_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (there("ip link add vgcan0 type vcan && ip link set vgcan0 mtu 72 up") != 0 ||
	    unshare(CLONE_NEWNET) < 0) {
		close(bus_ns);
		bus_ns = -1;
	}
	return 0;
}

static void need_vcan(void)
{
	if (bus_ns < 0)
		skip(); /* no root, no ip(8) or no vcan here */
}

static void test_vcan_frames(void **state)
{
	struct cr_frame f = cr_frame(CAN_WIRE_FD | CAN_WIRE_EXTENDED, 0x1234567, 64), got;
	struct canfd_frame there_f;
	struct cr a, b;
	int fd;

	(void)state;
	need_vcan();
	device_up(&a);
	device_up(&b);
	fd = peer_open();
	/* To dom0, and to another guest on the same interface; not back. */
	assert_int_equal(cr_send(&a, &f), CAN_RESULT_OK);
	assert_int_equal(read(fd, &there_f, sizeof(there_f)), CANFD_MTU);
	assert_int_equal(there_f.can_id, 0x1234567 | CAN_EFF_FLAG);
	assert_memory_equal(there_f.data, f.data, 64);
	await_frame(&b, &got);
	assert_memory_equal(got.data, f.data, 64);
	tp_settle(&a.tp);
	assert_null(cr_get(&a, CAN_RXQ));
	/* From dom0, to both. */
	there_f = (struct canfd_frame){ .can_id = 0x77 | CAN_RTR_FLAG, .len = 3 };
	assert_int_equal(write(fd, &there_f, CAN_MTU), CAN_MTU);
	await_frame(&a, &got);
	assert_int_equal(le32toh(got.h.flags), CAN_WIRE_RTR);
	assert_int_equal(le16toh(got.h.length), 3);
	await_frame(&b, &got);
	assert_int_equal(le32toh(got.h.can_id), 0x77);
	close(fd);
	cr_close(&b);
	cr_close(&a);
}

static void test_vcan_error_frames(void **state)
{
	struct can_frame e = { .can_id = CAN_ERR_FLAG | CAN_ERR_CRTL,
			       .len = 8,
			       .data = { 0, CAN_ERR_CRTL_TX_PASSIVE } };
	struct cr_frame f = cr_frame(0, 1, 1);
	struct cr cr;
	int fd;

	(void)state;
	need_vcan();
	device_up(&cr);
	fd = peer_open();
	assert_int_equal(write(fd, &e, sizeof(e)), sizeof(e));
	until(&cr, "vgcan0=up passive started");
	e.can_id = CAN_ERR_FLAG | CAN_ERR_BUSOFF;
	assert_int_equal(write(fd, &e, sizeof(e)), sizeof(e));
	until(&cr, "bus-off stopped(bus-off)");
	assert_int_equal(cr_status(&cr), CAN_S_BUSOFF);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
	assert_int_equal(cr_control(&cr, CAN_MSG_START), CAN_RESULT_OK);
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	close(fd);
	cr_close(&cr);
}

/* Down, gone, and back again under another index, seen from an empty namespace. */
static void test_vcan_goes_and_comes_back(void **state)
{
	struct can_frame c = { .can_id = 0x55, .len = 1, .data = { 9 } };
	struct cr_frame f = cr_frame(0, 1, 8), got;
	struct cr cr;
	int fd;

	(void)state;
	need_vcan();
	device_up(&cr);
	assert_int_equal(there("ip link set vgcan0 down"), 0);
	until(&cr, "vgcan0=down");
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
	assert_int_equal(there("ip link set vgcan0 up"), 0);
	until(&cr, "vgcan0=up");
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(there("ip link del vgcan0"), 0);
		until(&cr, "vgcan0=gone");
		assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
		assert_int_equal(
			there("ip link add dummy type vcan; ip link del dummy;"
			      "ip link add vgcan0 type vcan && ip link set vgcan0 mtu 72 up"),
			0);
		until(&cr, "vgcan0=up");
		assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
		fd = peer_open();
		assert_int_equal(write(fd, &c, sizeof(c)), sizeof(c));
		await_frame(&cr, &got);
		assert_int_equal(le32toh(got.h.can_id), 0x55);
		close(fd);
	}
	/* Another interface of the same name that is no CAN is not joined. */
	assert_int_equal(lender.asked, 3);
	assert_int_equal(there("ip link del vgcan0; ip link add vgcan0 type dummy"), 0);
	until(&cr, "vgcan0=gone");
	assert_int_equal(lender.asked, 3);
	assert_int_equal(there("ip link del vgcan0; ip link add vgcan0 type vcan && ip link set "
			       "vgcan0 mtu 72 up"),
			 0);
	until(&cr, "vgcan0=up");
	cr_close(&cr);
}

/* The interface is the one that has the name now. */
static void test_vcan_is_renamed(void **state)
{
	struct can_frame c = { .can_id = 0x56, .len = 1, .data = { 1 } }, got_c;
	struct cr_frame f = cr_frame(0, 1, 8), got;
	int left, right;
	struct cr cr;

	(void)state;
	need_vcan();
	device_up(&cr);
	left = peer_open();
	/* Another one takes its name before the device looks. */
	peer_write(left, &c); /* and a frame is on the way */
	assert_int_equal(there("ip link set vgcan0 down && ip link set vgcan0 name vgleft0 up && "
			       "ip link add vgcan0 type vcan && ip link set vgcan0 mtu 72 up"),
			 0);
	right = peer_open();
	until(&cr, "vgcan0=up");
	tp_settle(&cr.tp);
	while (cr_get(&cr, CAN_RXQ))
		; /* the one on the way may have come in time */
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	assert_int_equal(read(right, &got_c, sizeof(got_c)), CAN_MTU);
	assert_int_equal(got_c.can_id, 1);
	assert_true(read(left, &got_c, sizeof(got_c)) < 0);
	/* Nothing is heard of the one that went, and all of the one that came. */
	c.data[0] = 2;
	peer_write(left, &c);
	c.can_id = 0x57;
	peer_write(right, &c);
	await_frame(&cr, &got);
	assert_int_equal(le32toh(got.h.can_id), 0x57);
	/* It loses its name, and nobody has that; then the first one gets it back. */
	assert_int_equal(there("ip link set vgcan0 down && ip link set vgcan0 name vgright0 up"),
			 0);
	until(&cr, "vgcan0=gone");
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_NOT_OK);
	peer_write(right, &c);
	tp_settle(&cr.tp);
	assert_null(cr_get(&cr, CAN_RXQ));
	assert_int_equal(there("ip link set vgleft0 down && ip link set vgleft0 name vgcan0 up"),
			 0);
	until(&cr, "vgcan0=up");
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	c.can_id = 0x58;
	peer_write(left, &c);
	await_frame(&cr, &got);
	assert_int_equal(le32toh(got.h.can_id), 0x58);
	assert_int_equal(there("ip link del vgright0"), 0);
	close(left);
	close(right);
	cr_close(&cr);
}

/* More frames than the kernel's buffer holds while the device does not run. */
static void test_vcan_flood(void **state)
{
	struct can_frame c = { .can_id = 0x55, .len = 8 };
	struct cr_frame f = cr_frame(0, 1, 8);
	struct cr cr;
	int fd;

	(void)state;
	need_vcan();
	device_up(&cr);
	fd = peer_open();
	for (int i = 0; i < 50000; i++)
		while (write(fd, &c, sizeof(c)) < 0)
			assert_true(errno == ENOBUFS || errno == EAGAIN);
	tp_settle(&cr.tp);
	for (int i = 0; i < 32; i++)
		assert_non_null(cr_get(&cr, CAN_RXQ));
	until(&cr, "rx-dropped=");
	until(&cr, "host-dropped=");
	cr_post(&cr, 64);
	for (int i = 0; i < 64; i++)
		assert_non_null(cr_get(&cr, CAN_RXQ));
	assert_int_equal(cr_send(&cr, &f), CAN_RESULT_OK);
	close(fd);
	cr_close(&cr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vcan_frames),
		cmocka_unit_test(test_vcan_error_frames),
		cmocka_unit_test(test_vcan_goes_and_comes_back),
		cmocka_unit_test(test_vcan_is_renamed),
		cmocka_unit_test(test_vcan_flood),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
