/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * can_rig.h - a CAN device between a driver of our own and a bus of our own
 *
 *	driver (cr_send, cr_control, cr_post, cr_take) - device - bus (fake_*)
 *
 * The bus is a table beside SocketCAN's, in this process: no root, no vcan. It
 * announces what it has through an eventfd, so that the loop is part of the test.
 */
#ifndef CAN_RIG_H
#define CAN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <linux/can/error.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/can/bus.h"
#include "backend/devices/can/wire.h"
#include "tests/driver/testport.h"

/* ---- the bus ------------------------------------------------------------ */

enum { FAKE_FRAMES = 4096 };

struct fake_bus {
	struct can_bus bus;
	struct vg_loop *loop;
	struct vg_watch watch;
	int event;
	struct can_item in[FAKE_FRAMES]; /* for the device */
	unsigned in_head, in_n;
	struct can_item out[FAKE_FRAMES]; /* that the device sent */
	unsigned out_n;
	unsigned room;	 /* frames that it takes; UINT32_MAX: any number */
	int error;	 /* of send; 0: none */
	bool confirming; /* the device asked for confirmations */
	bool silent;	 /* and does not get them by itself */
	uint64_t dropped;
	unsigned ticks;
	bool closed;
};

/* What the next open() finds; and what it made. */
static struct {
	enum can_link link;
	bool fd;
	uint32_t bitrate;
	struct fake_bus *made;
} fake = { CAN_LINK_UP, true, 0, NULL };

static inline struct fake_bus *fake_of(struct can_bus *bus)
{
	return (struct fake_bus *)bus;
}

static inline void fake_wake(struct fake_bus *fb)
{
	assert_int_equal(eventfd_write(fb->event, 1), 0);
}

static inline void fake_ready(struct vg_watch *w, unsigned events)
{
	struct fake_bus *fb = container_of(w, struct fake_bus, watch);
	eventfd_t v;

	(void)events;
	eventfd_read(fb->event, &v);
	fb->bus.events.readable(fb->bus.events.owner);
}

/** fake_put - a frame for the device */
static inline void fake_put(struct fake_bus *fb, const struct can_item *item)
{
	assert_true(fb->in_n < FAKE_FRAMES);
	fb->in[(fb->in_head + fb->in_n++) % FAKE_FRAMES] = *item;
	fake_wake(fb);
}

/** fake_confirm - the frame at @i of what was sent comes back as our own */
static inline void fake_confirm(struct fake_bus *fb, unsigned i)
{
	struct can_item item = fb->out[i];

	item.own = true;
	fake_put(fb, &item);
}

static inline int fake_send(struct can_bus *bus, const struct can_item *items, unsigned n)
{
	struct fake_bus *fb = fake_of(bus);
	unsigned i;

	if (fb->error)
		return fb->error;
	if (bus->link != CAN_LINK_UP)
		return bus->link == CAN_LINK_DOWN ? -ENETDOWN : -ENODEV;
	for (i = 0; i < n && fb->room; i++) {
		assert_true(fb->out_n < FAKE_FRAMES);
		fb->out[fb->out_n++] = items[i];
		if (fb->room != UINT32_MAX)
			fb->room--;
		if (fb->confirming && !fb->silent)
			fake_confirm(fb, fb->out_n - 1);
	}
	return i ? (int)i : -EAGAIN;
}

static inline int fake_recv(struct can_bus *bus, struct can_item *items, unsigned max)
{
	struct fake_bus *fb = fake_of(bus);
	unsigned n = 0;

	while (fb->in_n && n < max) {
		items[n++] = fb->in[fb->in_head];
		fb->in_head = (fb->in_head + 1) % FAKE_FRAMES;
		fb->in_n--;
	}
	return (int)n;
}

static inline void fake_set_confirm(struct can_bus *bus, bool on)
{
	fake_of(bus)->confirming = on;
}

static inline uint64_t fake_dropped(struct can_bus *bus)
{
	return fake_of(bus)->dropped;
}

static inline void fake_tick(struct can_bus *bus)
{
	fake_of(bus)->ticks++;
}

/** fake_change - link and state change */
static inline void fake_change(struct fake_bus *fb, enum can_link link, enum can_bus_state state)
{
	fb->bus.link = link;
	fb->bus.state = state;
	fb->bus.events.changed(fb->bus.events.owner);
}

static inline void fake_close(struct can_bus *bus)
{
	struct fake_bus *fb = fake_of(bus);

	vg_loop_unwatch(&fb->watch);
	close(fb->event);
	free(fb);
	fake.made = NULL;
}

static inline int fake_open(const char *name, struct vg_loop *loop,
			    const struct can_bus_events *events, struct can_bus **out,
			    struct vg_err *err)
{
	struct fake_bus *fb;

	if (strcmp(name, "nocan") == 0)
		return vg_fail(err, -EINVAL, "%s is no CAN interface", name);
	fb = calloc(1, sizeof(*fb));
	assert_non_null(fb);
	extern const struct can_bus_ops fake_ops;

	fb->bus.ops = &fake_ops;
	fb->bus.events = *events;
	fb->bus.link = fake.link;
	fb->bus.fd = fake.fd;
	fb->bus.bitrate = fake.bitrate;
	fb->room = UINT32_MAX;
	fb->loop = loop;
	fb->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fb->watch.ready = fake_ready;
	vg_loop_watch(loop, &fb->watch, fb->event);
	fake.made = fb;
	*out = &fb->bus;
	return 0;
}

const struct can_bus_ops fake_ops = {
	.open = fake_open,
	.close = fake_close,
	.send = fake_send,
	.recv = fake_recv,
	.confirm = fake_set_confirm,
	.dropped = fake_dropped,
	.tick = fake_tick,
};

/* ---- the driver --------------------------------------------------------- */

enum { CR_SLOTS = 512 };

/* A chain of the driver: what it sends, and where the answer goes. */
struct cr_slot {
	struct drv_buf mem; /* out part, then in part, 128 bytes each */
	bool busy;
};

struct cr {
	struct tp tp;
	struct fake_bus *bus;
	struct cr_slot slot[CR_SLOTS];
	unsigned posted;   /* receive buffers that the device has */
	uint32_t rx_room;  /* bytes of a receive buffer */
	uint32_t last_len; /* used length of what came back last */
	uint64_t want;
};

#define CR_SPLIT (TP_ALL & ~VG_FEATURE(VG_F_RING_PACKED))

static inline void cr_open(struct cr *cr, enum tp_manner manner, const char *spec)
{
	memset(cr, 0, sizeof(*cr));
	can_bus_ops = &fake_ops;
	tp_open(&cr->tp, manner, spec);
	cr->bus = fake.made;
	cr->rx_room = 16 + 64;
	for (unsigned i = 0; i < CR_SLOTS; i++)
		assert_int_equal(drv_alloc(&cr->tp.flat.mem, 256, 16, true, &cr->slot[i].mem), 0);
}

/** cr_begin - negotiate @want of what is offered, rings of @size */
static inline void cr_begin(struct cr *cr, uint64_t want, unsigned size)
{
	cr->want = want;
	tp_start(&cr->tp, want, size);
	for (unsigned i = 0; i < CR_SLOTS; i++)
		cr->slot[i].busy = false;
	cr->posted = 0;
}

static inline void cr_close(struct cr *cr)
{
	tp_reset(&cr->tp);
	for (unsigned i = 0; i < CR_SLOTS; i++)
		drv_free(&cr->tp.flat.mem, &cr->slot[i].mem);
	tp_close(&cr->tp);
	fake.link = CAN_LINK_UP;
	fake.fd = true;
	fake.bitrate = 0;
}

static inline struct cr_slot *cr_slot(struct cr *cr)
{
	for (unsigned i = 0; i < CR_SLOTS; i++) {
		if (!cr->slot[i].busy) {
			cr->slot[i].busy = true;
			memset(cr->slot[i].mem.virt, 0xa5, 256);
			return &cr->slot[i];
		}
	}
	fail_msg("the rig has no slot left");
	return NULL;
}

/** cr_put - a chain of @out bytes from @data and @in bytes of room on queue @q; not yet visible */
static inline struct cr_slot *cr_put(struct cr *cr, unsigned q, const void *data, uint32_t out,
				     uint32_t in)
{
	struct cr_slot *s = cr_slot(cr);
	struct drv_seg o = { .addr = s->mem.addr, .len = out };
	struct drv_seg i = { .addr = s->mem.addr + 128, .len = in };

	if (out)
		memcpy(s->mem.virt, data, out);
	assert_true(drv_vring_add(&cr->tp.vr[q], &o, out ? 1 : 0, &i, in ? 1 : 0, s, 0) >= 0);
	return s;
}

static inline uint8_t *cr_in(const struct cr_slot *s)
{
	return (uint8_t *)s->mem.virt + 128;
}

/** cr_get - has queue @q given a chain back? Return: it, or NULL */
static inline struct cr_slot *cr_get(struct cr *cr, unsigned q)
{
	struct drv_used used;
	int ret = drv_vring_get(&cr->tp.vr[q], &used);
	struct cr_slot *s = used.cookie;

	assert_true(ret >= 0);
	if (!ret)
		return NULL;
	/* IN_ORDER tells no length of chains that it skips. */
	cr->last_len = used.skipped ? UINT32_MAX : used.len;
	s->busy = false;
	return s;
}

/** cr_wait - the same, within 5 s */
static inline struct cr_slot *cr_wait(struct cr *cr, unsigned q)
{
	struct drv_used used;
	struct cr_slot *s;

	tp_wait(&cr->tp, q, &used);
	s = used.cookie;
	cr->last_len = used.skipped ? UINT32_MAX : used.len;
	s->busy = false;
	return s;
}

/** cr_control - one control message. Return: its result. */
static inline uint8_t cr_control(struct cr *cr, uint16_t type)
{
	uint16_t msg = htole16(type);
	struct cr_slot *s = cr_put(cr, CAN_CONTROLQ, &msg, sizeof(msg), 1);

	tp_kick(&cr->tp, CAN_CONTROLQ);
	assert_ptr_equal(cr_get(cr, CAN_CONTROLQ), s); /* at once, without a turn of the loop */
	assert_int_equal(cr->last_len, 1);
	return *cr_in(s);
}

/* A frame as the driver writes it. */
struct cr_frame {
	struct can_wire_header h;
	uint8_t data[112];
};

static inline struct cr_frame cr_frame(uint32_t flags, uint32_t id, uint16_t len)
{
	struct cr_frame f = { .h = { .msg_type = htole16(CAN_MSG_TX),
				     .length = htole16(len),
				     .flags = htole32(flags),
				     .can_id = htole32(id) } };

	for (unsigned i = 0; i < sizeof(f.data); i++)
		f.data[i] = (uint8_t)(i + id);
	return f;
}

/** cr_add - a frame into the transmit queue; not yet visible */
static inline struct cr_slot *cr_add(struct cr *cr, const struct cr_frame *f)
{
	uint16_t len = le16toh(f->h.length);

	return cr_put(cr, CAN_TXQ, f, 16u + (len > 64 ? 64 : len), 1);
}

/** cr_send - send a frame and wait for its result */
static inline uint8_t cr_send(struct cr *cr, const struct cr_frame *f)
{
	struct cr_slot *s = cr_add(cr, f);

	tp_kick(&cr->tp, CAN_TXQ);
	assert_ptr_equal(cr_wait(cr, CAN_TXQ), s);
	return *cr_in(s);
}

/** cr_post - @n receive buffers for the device */
static inline void cr_post(struct cr *cr, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		cr_put(cr, CAN_RXQ, NULL, 0, cr->rx_room);
	cr->posted += n;
	tp_kick(&cr->tp, CAN_RXQ);
}

/** cr_take - the next frame that was received, or false */
static inline bool cr_take(struct cr *cr, struct cr_frame *f)
{
	struct cr_slot *s = cr_get(cr, CAN_RXQ);

	if (!s)
		return false;
	cr->posted--;
	memset(f, 0, sizeof(*f));
	memcpy(f, cr_in(s), cr->rx_room < sizeof(*f) ? cr->rx_room : sizeof(*f));
	return true;
}

/** cr_item - a frame as it stands on the bus */
static inline struct can_item cr_item(canid_t id, uint8_t len, bool fd)
{
	struct can_item item = { .f = { .can_id = id, .len = len }, .fd = fd };

	for (unsigned i = 0; i < len; i++)
		item.f.data[i] = (uint8_t)(i ^ id);
	return item;
}

/** cr_up - open with @spec, negotiate all but @without, post buffers, START */
static inline void cr_up(struct cr *cr, enum tp_manner manner, const char *spec, uint64_t want)
{
	cr_open(cr, manner, spec);
	cr_begin(cr, want, 64);
	cr_post(cr, 32);
	assert_int_equal(cr_control(cr, CAN_MSG_START), CAN_RESULT_OK);
}

static inline uint16_t cr_status(struct cr *cr)
{
	uint16_t s;

	assert_int_equal(vg_dev_config_read(&cr->tp.dev, 0, &s, 2), 0);
	return le16toh(s);
}

static inline bool cr_said(struct cr *cr, const char *what)
{
	char text[256];

	cr->tp.dev.ops->describe(&cr->tp.dev, text, sizeof(text));
	return strstr(text, what) != NULL;
}

#define cr_assert_says(cr, what)                                                 \
	do {                                                                     \
		char text_[256];                                                 \
		(cr)->tp.dev.ops->describe(&(cr)->tp.dev, text_, sizeof(text_)); \
		if (!strstr(text_, what))                                        \
			fail_msg("'%s' is not in '%s'", what, text_);            \
	} while (0)

#endif /* CAN_RIG_H */
