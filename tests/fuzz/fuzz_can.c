/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_can.c - libFuzzer target: a hostile driver, and a hostile bus, against the CAN device
 *
 * The input is a little program. A header chooses the configuration and the
 * features; then each operation is a byte and its operands: frames, control
 * messages and buffers of the driver, mostly sensible or any bytes of any
 * lengths; frames, confirmations, changes and lack of room of the bus; changes of
 * the firewall; time that passes. Rings keep the rules: breaking those is
 * fuzz_ring's matter. The loop is fuzz_loop.h: a run is a function of its input.
 *
 * What must hold: no crash, no sanitizer report; every control message is
 * answered before the next turn; once the device is stopped, every frame has been
 * answered; nothing reaches the bus that SocketCAN must not get from a guest.
 */
#include <endian.h>
#include <errno.h>
#include <linux/can/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/devices/can/int.h"
#include "backend/memory/regions.h"
#include "tests/driver/devhelp.h"
#include "tests/driver/vring.h"
#include "tests/fuzz/fuzz_loop.h"

enum { RING = 32, MEM = 1 << 20, SLOTS = 3 * RING, FIFO = 64 };

/* ---- the loop: what is to run, and when the program says so -------------- */

static void fl_turn(void)
{
	fl_deferred();
}

/* ---- the bus ------------------------------------------------------------ */

static struct can_bus bus;
static struct can_item fifo[FIFO], last[4];
static unsigned fifo_n, last_n, room;
static uint64_t dropped;
static bool confirming;

static int bus_open(const char *name, struct vg_loop *loop, const struct can_bus_events *events,
		    struct can_bus **out, struct vg_err *err)
{
	(void)name;
	(void)loop;
	(void)err;
	bus.events = *events;
	*out = &bus;
	return 0;
}

static void bus_close(struct can_bus *b)
{
	(void)b;
}

static int bus_send(struct can_bus *b, const struct can_item *items, unsigned n)
{
	unsigned i;

	if (b->link != CAN_LINK_UP)
		return b->link == CAN_LINK_DOWN ? -ENETDOWN : -ENODEV;
	for (i = 0; i < n && room; i++, room--) {
		const struct can_item *t = &items[i];
		canid_t id = t->f.can_id;

		MUST(!(id & CAN_ERR_FLAG) && !t->own);
		MUST((id & CAN_EFF_FLAG) || !(id & CAN_EFF_MASK & ~CAN_SFF_MASK));
		MUST(t->f.len <= (t->fd ? 64 : 8) && !(t->fd && (id & CAN_RTR_FLAG)));
		last[last_n++ % 4] = *t;
	}
	return i ? (int)i : room ? -EINVAL : -EAGAIN;
}

static int bus_recv(struct can_bus *b, struct can_item *items, unsigned max)
{
	unsigned n = fifo_n < max ? fifo_n : max;

	(void)b;
	memcpy(items, fifo, n * sizeof(*items));
	memmove(fifo, fifo + n, (fifo_n - n) * sizeof(*items));
	fifo_n -= n;
	return (int)n;
}

static void bus_confirm(struct can_bus *b, bool on)
{
	(void)b;
	confirming = on;
}

static uint64_t bus_dropped(struct can_bus *b)
{
	(void)b;
	return dropped;
}

static void bus_tick(struct can_bus *b)
{
	(void)b;
}

static const struct can_bus_ops fuzz_bus = {
	.open = bus_open,
	.close = bus_close,
	.send = bus_send,
	.recv = bus_recv,
	.confirm = bus_confirm,
	.dropped = bus_dropped,
	.tick = bus_tick,
};
const struct can_bus_ops *can_bus_ops = &fuzz_bus;
const struct vg_device_ops *const vg_devices[] = { &vg_can, NULL };

static void arrives(const struct can_item *item)
{
	if (fifo_n < FIFO)
		fifo[fifo_n++] = *item;
	bus.events.readable(bus.events.owner);
}

/* ---- the driver --------------------------------------------------------- */

static uint8_t memory[MEM] __attribute__((aligned(4096)));
static struct vg_regions regions;
static struct drv_mem_flat flat;
static struct drv_buf slot[SLOTS];
static bool busy[SLOTS];
static struct drv_vring vr[CAN_QUEUES];
static struct vg_dev dev;
static struct vg_port port;
static unsigned tx_out; /* frames not answered */

static void no_notify(struct vg_port *p, unsigned q)
{
	(void)p;
	MUST(q < CAN_QUEUES);
}

static void no_change(struct vg_port *p)
{
	(void)p;
}

static const struct vg_port_ops port_ops = {
	.name = "fuzz",
	.features = VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_RING_PACKED) |
		    VG_FEATURE(VG_F_EVENT_IDX) | VG_FEATURE(VG_F_IN_ORDER),
	.required = VG_FEATURE(VG_F_VERSION_1),
	.notify = no_notify,
	.config_changed = no_change,
};

static bool running(void)
{
	return vr[0].mem && !(dev.status & VG_STATUS_NEEDS_RESET);
}

static void add(unsigned q, const void *data, uint32_t out, uint32_t room_in)
{
	struct drv_seg o, i;
	unsigned s = q * RING;

	while (s < (q + 1) * RING && busy[s])
		s++;
	if (s == (q + 1) * RING || !vr[q].mem || (!out && !room_in))
		return;
	o = (struct drv_seg){ slot[s].addr, out };
	i = (struct drv_seg){ slot[s].addr + 128, room_in };
	memcpy(slot[s].virt, data, out);
	if (drv_vring_add(&vr[q], &o, out ? 1 : 0, &i, room_in ? 1 : 0, &busy[s], 0) < 0)
		return;
	busy[s] = true;
	if (q == CAN_TXQ)
		tx_out++;
}

static unsigned take(unsigned q)
{
	struct drv_used used;
	unsigned n = 0;

	while (vr[q].mem && drv_vring_get(&vr[q], &used) > 0) {
		*(bool *)used.cookie = false;
		n++;
	}
	if (q == CAN_TXQ)
		tx_out -= n;
	return n;
}

static void kick(unsigned q)
{
	if (vr[q].mem && drv_vring_publish(&vr[q]))
		vg_dev_kick(&dev, q);
}

static void reset(void)
{
	dh_status(&dev, 0);
	for (unsigned q = 0; q < CAN_QUEUES; q++) {
		if (vr[q].mem)
			drv_vring_fini(&vr[q]);
		memset(&vr[q], 0, sizeof(vr[q]));
	}
	memset(busy, 0, sizeof(busy));
	tx_out = 0;
}

static void start(uint64_t want)
{
	uint32_t status = VG_STATUS_ACKNOWLEDGE | VG_STATUS_DRIVER;

	reset();
	dh_status(&dev, status);
	vg_dev_set_features(&dev, (vg_dev_offered(&dev) & want) | VG_FEATURE(VG_F_VERSION_1));
	status |= VG_STATUS_FEATURES_OK;
	if (dh_status(&dev, status) != status)
		return;
	for (unsigned q = 0; q < CAN_QUEUES; q++) {
		const struct drv_vring_config cfg = {
			.size = RING,
			.packed = vg_dev_has(&dev, VG_F_RING_PACKED),
			.event_idx = vg_dev_has(&dev, VG_F_EVENT_IDX),
			.in_order = vg_dev_has(&dev, VG_F_IN_ORDER),
		};

		MUST(drv_vring_init(&vr[q], &cfg, &flat.mem) == 0);
		MUST(vg_dev_set_queue(&dev, q, RING, vr[q].desc_mem.addr, vr[q].driver_mem.addr,
				      vr[q].device_mem.addr, NULL, NULL) == 0);
	}
	dh_status(&dev, status | VG_STATUS_DRIVER_OK);
}

static void control(uint16_t type, uint32_t out, uint32_t room_in)
{
	unsigned answered;

	take(CAN_CONTROLQ);
	type = htole16(type);
	add(CAN_CONTROLQ, &type, out, room_in);
	kick(CAN_CONTROLQ);
	answered = take(CAN_CONTROLQ);
	MUST(!running() || !room_in || answered == 1);
}

/* A frame of the driver: mostly one that could be right. */
static void send_frame(void)
{
	struct {
		struct can_wire_header h;
		uint8_t data[112];
	} f;
	unsigned how = u8();
	uint32_t out;

	memset(&f, (int)how, sizeof(f));
	f.h = (struct can_wire_header){ .msg_type = htole16(CAN_MSG_TX) };
	f.h.flags = htole32((how & 1 ? CAN_WIRE_FD : 0) | (how & 2 ? CAN_WIRE_EXTENDED : 0) |
			    (how & 4 ? CAN_WIRE_RTR : 0));
	f.h.can_id = htole32(how & 2 ? u16() << 13 : u16() & 0x7ff);
	f.h.length = htole16((uint16_t)(u8() % (how & 1 ? 66 : 10)));
	if (how & 8)
		fuzz_bytes(&f.h, sizeof(f.h));
	out = how & 16 ? u8() % 129 : 16u + (le16toh(f.h.length) & 127);
	add(CAN_TXQ, &f, out > 128 ? 128 : out, how & 32 ? u8() % 3 : 1);
	if (!(how & 64))
		kick(CAN_TXQ);
}

static void bus_frame(void)
{
	struct can_item item = { .own = false };
	unsigned how = u8();

	item.fd = how & 1;
	item.f.can_id = u16() | (how & 2 ? CAN_EFF_FLAG : 0) | (how & 4 ? CAN_RTR_FLAG : 0);
	if (how & 8)
		item.f.can_id |= CAN_ERR_FLAG;
	item.f.len = (uint8_t)(u8() % (item.fd ? 65 : 9));
	item.own = how & 16;
	arrives(&item);
}

static void change_setting(void)
{
	static const char *const keys[] = { "tx-allow", "rx-allow", "tx-rate",
					    "rx-rate",	"tx-load",  "rx-load",
					    "fd",	"rtr",	    "interface" };
	char value[24] = { 0 };
	struct vg_err err;
	unsigned k = u8() % 9;

	fuzz_bytes(value, u8() % 23);
	dev.ops->set(&dev, keys[k], value, &err);
}

static void step(void)
{
	char text[256];

	switch (u8() % 14) {
	case 0:
	case 1:
		send_frame();
		break;
	case 2:
		control((uint16_t)(u8() & 1 ? CAN_MSG_START : CAN_MSG_STOP), 2, 1);
		break;
	case 3:
		control((uint16_t)u16(), u8() % 3, u8() % 3);
		break;
	case 4:
		add(CAN_RXQ, "", 0, u8() & 1 ? 80 : u8() % 128);
		kick(CAN_RXQ);
		break;
	case 5:
		bus_frame();
		break;
	case 6:
		if (last_n && confirming) {
			struct can_item item = last[u8() % (last_n < 4 ? last_n : 4)];

			item.own = true;
			arrives(&item);
		}
		break;
	case 7:
		bus.link = (enum can_link)(u8() % 3);
		bus.state = (enum can_bus_state)(u8() % 4);
		bus.state_known = u8() & 1;
		bus.bitrate = u16();
		bus.events.changed(bus.events.owner);
		break;
	case 8:
		room = u8();
		dropped += room & 1;
		break;
	case 9:
		fl_now += (int64_t)u16() * 1000000;
		fl_timers();
		break;
	case 10:
		fl_deferred();
		take(CAN_TXQ);
		take(CAN_RXQ);
		break;
	case 11:
		dev.ops->tick(&dev);
		dev.ops->describe(&dev, text, u8());
		break;
	case 12:
		change_setting();
		break;
	case 13:
		start((uint64_t)u16() << 20 | u8() | 1);
		break;
	}
}

/* However it went: a STOP, and every frame is answered. */
static void settle(void)
{
	if (!running())
		return;
	for (unsigned q = 0; q < CAN_QUEUES; q++)
		kick(q);
	control(CAN_MSG_STOP, 2, 1);
	for (int i = 0; i < 4 && running(); i++) {
		fl_timers();
		fl_deferred();
		take(CAN_TXQ);
	}
	MUST(!running() || tx_out == 0);
}

static void once(void)
{
	MUST(drv_mem_flat_init(&flat, memory, 0x10000000, MEM) == 0);
	vg_regions_init(&regions);
	MUST(vg_regions_add(&regions, &(struct vg_region){ .guest_addr = 0x10000000,
							   .size = MEM,
							   .host = memory }) == 0);
	for (int i = 0; i < SLOTS; i++)
		MUST(drv_alloc(&flat.mem, 256, 16, true, &slot[i]) == 0);
	vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
	port.ops = &port_ops;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool ready;
	struct vg_params params;
	char spec[128];
	struct vg_err err;

	if (!ready)
		once();
	ready = true;
	fuzz_begin(data, len);
	bus = (struct can_bus){ .ops = &fuzz_bus, .link = CAN_LINK_UP, .fd = true };
	fifo_n = last_n = 0;
	room = 1000;
	dropped = 0;
	snprintf(spec, sizeof(spec), "can,interface=x,rx-queue=%u,late-ack=%u", 1 + u8() % 32,
		 u8() & 1);
	MUST(vg_params_parse(spec, &params, &err) == 0);
	MUST(dh_open(&dev, &vg_can, NULL, &params, &err) == 0);
	dev.port = &port;
	dev.mem = dev.ctx[0].mem = &regions.mem;
	start(u8() & 1 ? ~0ull : ~0ull << 40 | 0xf | 1ull << 32);
	control(CAN_MSG_START, 2, 1);
	while (fuzz_more())
		step();
	settle();
	reset();
	dh_close(&dev);
	MUST(fl_idle());
	return 0;
}
