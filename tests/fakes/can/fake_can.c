// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fake_can.c - a CAN bus for vgrantd-fake, where the kernel has none
 *
 * Linked into vgrantd-fake, it takes SocketCAN's place before main() begins. Each
 * worker has a bus of its own, always up: every frame is sent at once, and
 * confirmed when that is wanted. There is one other participant, which answers a
 * frame with id FAKE_CAN_ASK by the same data under FAKE_CAN_ANSWER. Whether real
 * interfaces do what can/bus.h says is shown by tests/unit/devices/test_can_socket.c.
 */
#include "tests/fakes/can/fake_can.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/devices/can/bus.h"

enum { ROOM = 1024 }; /* frames that wait for recv */

struct fake {
	struct can_bus bus;
	struct vg_loop *loop;
	struct vg_deferred news;
	bool confirming;
	uint64_t dropped;
	unsigned head, n;
	struct can_item in[ROOM];
};

static struct fake *of_bus(struct can_bus *bus)
{
	return container_of(bus, struct fake, bus);
}

static void put(struct fake *f, const struct can_item *item)
{
	if (f->n == ROOM) {
		f->dropped++;
		return;
	}
	f->in[(f->head + f->n++) % ROOM] = *item;
	vg_loop_defer(f->loop, &f->news);
}

static void tell(struct vg_deferred *d)
{
	struct fake *f = container_of(d, struct fake, news);

	f->bus.events.readable(f->bus.events.owner);
}

static int fake_send(struct can_bus *bus, const struct can_item *items, unsigned n)
{
	struct fake *f = of_bus(bus);

	for (unsigned i = 0; i < n; i++) {
		struct can_item item = items[i];

		item.own = true;
		if (f->confirming)
			put(f, &item);
		item.own = false;
		item.f.can_id = FAKE_CAN_ANSWER;
		if (items[i].f.can_id == FAKE_CAN_ASK)
			put(f, &item);
		if (items[i].f.can_id == FAKE_CAN_REJOIN)
			f->bus.events.wanted(f->bus.events.owner);
	}
	return (int)n;
}

static int fake_recv(struct can_bus *bus, struct can_item *items, unsigned max)
{
	struct fake *f = of_bus(bus);
	unsigned n = 0;

	for (; n < max && f->n; f->n--) {
		items[n++] = f->in[f->head];
		f->head = (f->head + 1) % ROOM;
	}
	return (int)n;
}

static void fake_confirm(struct can_bus *bus, bool on)
{
	of_bus(bus)->confirming = on;
}

static uint64_t fake_dropped(struct can_bus *bus)
{
	return of_bus(bus)->dropped;
}

static void fake_tick(struct can_bus *bus)
{
	(void)bus;
}

static void fake_close(struct can_bus *bus)
{
	vg_loop_undefer(of_bus(bus)->loop, &of_bus(bus)->news);
	free(of_bus(bus));
}

/* A pipe with the interface's name in it. */
static int fake_lend(const char *name, struct vg_err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return vg_fail(err, -errno, "no pipe");
	if (write(ends[1], name, strlen(name)) < 0)
		vg_warn("the fake bus: %s", strerror(errno));
	close(ends[1]);
	return ends[0];
}

static void fake_given(struct can_bus *bus, int fd, const char *why)
{
	struct can_item item = { .f = { .can_id = FAKE_CAN_JOINED } };
	ssize_t n = fd < 0 ? -1 : read(fd, item.f.data, CAN_MAX_DLEN);

	if (fd < 0)
		vg_warn("%s", why);
	else
		close(fd);
	item.f.len = (uint8_t)(n < 0 ? 0 : n);
	put(of_bus(bus), &item);
}

static int fake_open(const char *name, struct vg_loop *loop, const struct can_bus_events *events,
		     struct can_bus **out, struct vg_err *err)
{
	static const struct can_bus_ops ops = {
		.open = fake_open,
		.close = fake_close,
		.given = fake_given,
		.send = fake_send,
		.recv = fake_recv,
		.confirm = fake_confirm,
		.dropped = fake_dropped,
		.tick = fake_tick,
	};
	struct fake *f = calloc(1, sizeof(*f));

	(void)name;
	if (!f)
		return vg_fail(err, -ENOMEM, "out of memory");
	f->bus.ops = &ops;
	f->bus.events = *events;
	f->bus.link = CAN_LINK_UP;
	f->bus.fd = true;
	f->loop = loop;
	f->news.run = tell;
	*out = &f->bus;
	return 0;
}

static const struct can_bus_ops fake_ops = { .open = fake_open, .lend = fake_lend };

__attribute__((constructor)) static void replace_socketcan(void)
{
	can_bus_ops = &fake_ops;
}
