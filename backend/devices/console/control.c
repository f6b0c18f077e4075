// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * control.c - what guest and device tell each other of ports, VIRTIO 1.3 section 5.3.6.2
 *
 * Level, not edge: what the driver does not know yet is found by comparing what is with what it was
 * told, so that nothing waits in a list, however few buffers a guest gives, and a successor goes on
 * from dev->saved. That is written after the driver can see a message: who dies in between tells it
 * again, which Linux' driver takes.
 */
#include <endian.h>
#include <string.h>

#include "backend/devices/console/int.h"

enum {
	TURN = 64, /* messages of the driver's in one turn of the loop */
	/* dev->saved: whether the driver has begun, then a byte for each port. */
	SAVED_BEGUN = 0,
	SAVED_PORTS = 1,
};

struct message {
	struct virtio_console_control head;
	uint8_t rest[VG_TERMINAL_NAME]; /* of RESIZE and PORT_NAME */
};

_Static_assert(sizeof(struct virtio_console_control) == 8, "VIRTIO 1.3 section 5.3.6.2");

uint8_t port_flags(const struct console_port *p)
{
	return p->c->dev->saved[SAVED_PORTS + p->index];
}

static void set_flags(struct console_port *p, uint8_t set, uint8_t clear)
{
	uint8_t *flags = &p->c->dev->saved[SAVED_PORTS + p->index];

	*flags = (uint8_t)((*flags | set) & ~clear);
}

bool port_open(const struct console_port *p)
{
	if (!vg_dev_has(p->c->dev, VIRTIO_CONSOLE_F_MULTIPORT))
		return p->index == 0;
	return port_flags(p) & PORT_GUEST_OPEN;
}

/* ---- to the driver ------------------------------------------------------------ */

/* What is to be told of @p next, and what is known then. Return: its length; 0: nothing. */
static uint32_t next_of(struct console_port *p, struct message *m, uint8_t *set, uint8_t *clear)
{
	uint8_t flags = port_flags(p);
	bool open = p->index == 0 || p->attached;

	*m = (struct message){ .head = { .id = htole32(p->index) } };
	*set = *clear = 0;
	if (!(flags & PORT_ADDED)) {
		m->head.event = htole16(VIRTIO_CONSOLE_PORT_ADD);
		*set = PORT_ADDED;
	} else if (!(flags & PORT_READY)) {
		return 0;
	} else if (p->index == 0 && !(flags & PORT_IS_CONSOLE)) {
		m->head.event = htole16(VIRTIO_CONSOLE_CONSOLE_PORT);
		m->head.value = htole16(1);
		*set = PORT_IS_CONSOLE;
	} else if (p->index && !(flags & PORT_NAMED)) {
		m->head.event = htole16(VIRTIO_CONSOLE_PORT_NAME);
		m->head.value = htole16(1);
		memcpy(m->rest, p->name, strlen(p->name));
		*set = PORT_NAMED;
		return (uint32_t)(sizeof(m->head) + strlen(p->name));
	} else if (open != !!(flags & PORT_HOST_OPEN_TOLD)) {
		m->head.event = htole16(VIRTIO_CONSOLE_PORT_OPEN);
		m->head.value = htole16(open);
		*(open ? set : clear) = PORT_HOST_OPEN_TOLD;
	} else if (p->index == 0 && vg_dev_has(p->c->dev, VIRTIO_CONSOLE_F_SIZE) &&
		   (p->cols != p->told_cols || p->rows != p->told_rows)) {
		const uint16_t size[] = { htole16(p->cols), htole16(p->rows) };

		m->head.event = htole16(VIRTIO_CONSOLE_RESIZE);
		memcpy(m->rest, size, sizeof(size));
		p->told_cols = p->cols;
		p->told_rows = p->rows;
		return sizeof(m->head) + sizeof(size);
	} else {
		return 0;
	}
	return sizeof(m->head);
}

/* Return: false: there is no buffer, or it is none. */
static bool send_control(struct console *c, const struct message *m, uint32_t len)
{
	struct vg_dev *dev = c->dev;
	struct vg_chain *chain;

	if (!vg_dev_pop(dev, CONSOLE_CONTROL_RX, &chain, 1))
		return false;
	if (chain->in_len < len) {
		vg_vq_unpop(vg_dev_vq(dev, CONSOLE_CONTROL_RX), chain);
		vg_dev_fault(dev, "a buffer without room for a control message");
		return false;
	}
	vg_batch_init(&c->batch, dev->mem);
	vg_chain_write(&c->batch, chain, 0, m, len);
	vg_batch_run(&c->batch);
	if (chain->error)
		vg_dev_fault(dev, "a control message cannot be written: %s",
			     strerror(-chain->error));
	vg_dev_stats(dev, CONSOLE_CONTROL_RX)->requests++;
	vg_vq_push(vg_dev_vq(dev, CONSOLE_CONTROL_RX), chain, chain->error ? 0 : len);
	return true;
}

/* Return: false: something is to be told, and cannot be. */
static bool tell_of(struct console_port *p, bool *any)
{
	uint16_t cols = p->told_cols, rows = p->told_rows;
	struct message m;
	uint8_t set, clear;
	uint32_t len;

	while ((len = next_of(p, &m, &set, &clear)) > 0) {
		if (!send_control(p->c, &m, len)) {
			p->told_cols = cols;
			p->told_rows = rows;
			return false;
		}
		set_flags(p, set, clear);
		cols = p->told_cols;
		rows = p->told_rows;
		*any = true;
	}
	return true;
}

void control_tell(struct console *c)
{
	struct vg_dev *dev = c->dev;
	bool all, any;

	if (!vg_dev_has(dev, VIRTIO_CONSOLE_F_MULTIPORT) || !dev->saved[SAVED_BEGUN] ||
	    !vg_dev_vq(dev, CONSOLE_CONTROL_RX))
		return;
	do {
		any = false;
		all = true;
		for (unsigned i = 0; all && i < c->n_ports; i++)
			all = tell_of(&c->port[i], &any);
		vg_dev_flush(dev, CONSOLE_CONTROL_RX);
		if (any)
			vg_dev_save(dev);
	} while (!all && vg_dev_rearm(dev, CONSOLE_CONTROL_RX));
}

/* ---- from the driver ------------------------------------------------------------- */

static void hear_one(struct console *c, const struct virtio_console_control *m)
{
	uint32_t id = le32toh(m->id);
	bool yes = le16toh(m->value);
	struct console_port *p;

	if (le16toh(m->event) == VIRTIO_CONSOLE_DEVICE_READY) {
		c->dev->saved[SAVED_BEGUN] = yes;
		return;
	}
	/* Linux' driver speaks of no port that it was not told of. */
	if (id >= c->n_ports || !(port_flags(&c->port[id]) & PORT_ADDED))
		return;
	p = &c->port[id];
	switch (le16toh(m->event)) {
	case VIRTIO_CONSOLE_PORT_READY:
		/* It knows nothing of it, or will hear nothing of it. */
		set_flags(p, yes ? PORT_READY : 0,
			  PORT_IS_CONSOLE | PORT_NAMED | PORT_GUEST_OPEN | PORT_HOST_OPEN_TOLD |
				  (yes ? 0 : PORT_READY));
		p->told_cols = p->told_rows = 0;
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		set_flags(p, yes ? PORT_GUEST_OPEN : 0, yes ? 0 : PORT_GUEST_OPEN);
		break;
	}
}

/* Return: how many. */
static unsigned take_all(struct console *c)
{
	struct vg_dev *dev = c->dev;
	struct vg_chain *chain;
	unsigned n = 0;

	while (n < TURN && vg_dev_pop(dev, CONSOLE_CONTROL_TX, &chain, 1)) {
		struct virtio_console_control m;

		vg_batch_init(&c->batch, dev->mem);
		/* One that is too short says nothing. */
		if (vg_chain_read(&c->batch, chain, 0, &m, sizeof(m)) == 0) {
			vg_batch_run(&c->batch);
			if (!chain->error)
				hear_one(c, &m);
		}
		if (chain->error)
			vg_dev_fault(dev, "a control message cannot be read: %s",
				     strerror(-chain->error));
		vg_dev_stats(dev, CONSOLE_CONTROL_TX)->requests++;
		vg_vq_push(vg_dev_vq(dev, CONSOLE_CONTROL_TX), chain, 0);
		n++;
	}
	return n;
}

void control_hear(struct console *c)
{
	struct vg_dev *dev = c->dev;
	unsigned n;

	if (!vg_dev_vq(dev, CONSOLE_CONTROL_TX))
		return;
	n = take_all(c);
	/* What it said is known to a successor before it is known to have been heard. */
	vg_dev_save(dev);
	vg_dev_flush(dev, CONSOLE_CONTROL_TX);
	control_tell(c);
	for (unsigned i = 0; n && i < c->n_ports; i++)
		port_in(&c->port[i]);
	if (n == TURN || vg_dev_rearm(dev, CONSOLE_CONTROL_TX))
		vg_dev_kick_later(dev, CONSOLE_CONTROL_TX);
}
