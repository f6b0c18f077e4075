// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tx.c - the transmit queue of a CAN device, VIRTIO 1.4 "CAN Message Transmission"
 *
 * Transmission. A chain is answered NOT_OK when it is no frame that was
 * negotiated and is in range, when the firewall refuses it, when the controller
 * is STOPPED, or when the interface cannot take it. When the interface has no
 * room, frames wait in the pending list, at most VG_LIMIT_CAN_TX_PENDING, and
 * further ones in the ring: the guest is slowed, and nothing is lost. With
 * LATE_TX_ACK a frame stays pending until the bus confirms it. A confirmation can
 * get lost with the kernel's buffer; the kernel counts that, and a second later
 * the frames that were under way then are taken for sent. A controller in one-shot
 * mode drops a frame that lost arbitration, or that nobody acknowledged, and says
 * nothing: there, a frame that was not confirmed within a second was not sent.
 */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/devices/can/int.h"
#include "backend/devices/can/log.h"

/* The interface's queue was full: 1 ms is 8 short frames at 1 Mbit/s, of Linux' 10. */
#define RETRY_NS (1 * CAN_MS)

/* After this, nothing will be heard of an own frame if its confirmation, or itself, can be lost. */
#define CONFIRM_LOST_NS (1 * NS_PER_S)

/* ---- answering the transmit queue --------------------------------------- */

void can_tx_answer(struct can *can)
{
	struct vg_dev *dev = can->dev;

	if (!can->n_done)
		return;
	vg_batch_init(&can->batch, dev->mem);
	for (unsigned i = 0; i < can->n_done; i++)
		vg_chain_write(&can->batch, can->done[i].chain, 0, &can->done[i].result, 1);
	vg_batch_run(&can->batch);
	for (unsigned i = 0; i < can->n_done; i++) {
		struct vg_chain *c = can->done[i].chain;

		if (c->error)
			vg_dev_fault(dev, "the result of a frame cannot be written: %s",
				     strerror(-c->error));
		vg_dev_stats(dev, CAN_TXQ)->requests++;
		if (can->done[i].result != CAN_RESULT_OK)
			vg_dev_stats(dev, CAN_TXQ)->errors++;
		vg_vq_push(vg_dev_vq(dev, CAN_TXQ), c, c->error ? 0 : 1);
	}
	can->n_done = 0;
	if (vg_dev_flush(dev, CAN_TXQ) && !can->answered_ns)
		can->answered_ns = vg_now_ns();
}

static void answer(struct can *can, struct vg_chain *c, uint8_t result)
{
	if (can->n_done == CAN_BATCH)
		can_tx_answer(can);
	can->done[can->n_done].chain = c;
	can->done[can->n_done].result = result;
	can->n_done++;
}

/* ---- the pending list --------------------------------------------------- */

static void pending_add(struct can *can, struct vg_chain *c, const struct can_item *item,
			uint64_t nth)
{
	struct can_tx *t = can->free;

	if (!t) { /* never: no more is popped than there is room for */
		answer(can, c, CAN_RESULT_NOT_OK);
		return;
	}
	can->free = t->next;
	*t = (struct can_tx){ .chain = c, .item = *item, .nth = nth };
	*can->tail = t;
	can->tail = &t->next;
	if (!can->unsent)
		can->unsent = t;
	can->n_pending++;
}

/* Take *@p out of the list and answer it. */
static void pending_done(struct can *can, struct can_tx **p, uint8_t result)
{
	struct can_tx *t = *p;

	answer(can, t->chain, result);
	if (can->unsent == t)
		can->unsent = t->next;
	*p = t->next;
	if (can->tail == &t->next)
		can->tail = p;
	t->next = can->free;
	can->free = t;
	can->n_pending--;
}

void can_tx_fail(struct can *can, uint64_t *counter)
{
	while (can->pending) {
		(*counter)++;
		pending_done(can, &can->pending, CAN_RESULT_NOT_OK);
	}
	vg_loop_timer_stop(&can->retry);
	can_tx_answer(can);
}

static bool same_frame(const struct can_item *a, const struct can_item *b)
{
	return a->fd == b->fd && a->f.can_id == b->f.can_id && a->f.len == b->f.len &&
	       ((a->f.can_id & CAN_RTR_FLAG) || memcmp(a->f.data, b->f.data, a->f.len) == 0);
}

/* A controller may send by priority, so it need not be the oldest. None is found for one that was
 * cancelled meanwhile. */
void can_tx_confirmed(struct can *can, const struct can_item *item)
{
	for (struct can_tx **p = &can->pending; *p && *p != can->unsent; p = &(*p)->next) {
		if (same_frame(&(*p)->item, item)) {
			pending_done(can, p, CAN_RESULT_OK);
			vg_loop_timer_stop(&can->retry); /* there is room now */
			return;
		}
	}
}

void can_tx_check(struct can *can)
{
	uint64_t dropped = can->bus->ops->dropped(can->bus);
	int64_t now = vg_now_ns();

	if (dropped != can->dropped_seen) {
		can->dropped_seen = dropped;
		can->suspect_ns = now;
	}
	for (struct can_tx **p = &can->pending; *p && *p != can->unsent;) {
		if (now - (*p)->sent_ns < CONFIRM_LOST_NS) {
			p = &(*p)->next;
		} else if ((*p)->sent_ns <= can->suspect_ns) {
			can->n.unconfirmed++;
			pending_done(can, p, CAN_RESULT_OK);
		} else if (can->bus->one_shot) {
			can->n.tx_failed++;
			pending_done(can, p, CAN_RESULT_NOT_OK);
		} else {
			p = &(*p)->next; /* the bus is slow, or nobody else is there */
		}
	}
	can_tx_answer(can);
}

/* ---- transmission ------------------------------------------------------- */

/* The bus took the frame at @p. Return: where the next one is. */
static struct can_tx **was_sent(struct can *can, struct can_tx **p, int64_t now)
{
	struct can_tx *t = *p;

	can->n.tx++;
	vg_dev_stats(can->dev, CAN_TXQ)->bytes_written += t->item.f.len;
	can_trace(can, &t->item, 'T');
	can->unsent = t->next;
	if (!can->late) {
		pending_done(can, p, CAN_RESULT_OK);
		return p;
	}
	t->sent = true;
	t->sent_ns = now;
	return &t->next;
}

static struct can_tx **find_unsent(struct can *can)
{
	struct can_tx **p = &can->pending;

	while (*p && *p != can->unsent)
		p = &(*p)->next;
	return p;
}

void can_tx_send(struct can *can)
{
	while (can->unsent && !can->retry.tether) {
		struct can_tx **p = find_unsent(can);
		unsigned n = 0;
		int64_t now;
		int ret;

		if (!*p)
			break; /* never: what is unsent is pending */
		for (struct can_tx *t = can->unsent; t && n < CAN_BATCH; t = t->next)
			can->items[n++] = t->item;
		ret = can->bus->ops->send(can->bus, can->items, n);
		if (ret == -EAGAIN) {
			vg_loop_timer(can->dev->loop, &can->retry, RETRY_NS);
		} else if (ret == -ENETDOWN || ret == -ENODEV) {
			can_tx_fail(can, &can->n.tx_failed);
		} else if (ret < 0) {
			can->n.tx_failed++;
			pending_done(can, p, CAN_RESULT_NOT_OK);
		}
		now = can->late ? vg_now_ns() : 0; /* for the wait for a confirmation alone */
		for (; ret > 0; ret--)
			p = was_sent(can, p, now);
	}
	can_tx_answer(can);
}

static void retry_expired(struct vg_timer *t)
{
	struct can *can = container_of(t, struct can, retry);

	can_tx_send(can);
	can_tx_take(can);
}

/* What a CAN FD frame can carry, ISO 11898-1:2015 8.4.2.4: other lengths are filled up with zeros,
 * as every controller does. */
static uint8_t fd_length(uint8_t len)
{
	static const uint8_t steps[] = { 8, 12, 16, 20, 24, 32, 48, 64 };

	for (unsigned i = 0; len > 8 && i < sizeof(steps); i++) {
		if (len <= steps[i])
			return steps[i];
	}
	return len;
}

/* Is chain @i of the batch a frame that the driver may send? Then fill @item. */
static bool parse(struct can *can, unsigned i, const struct vg_chain *c, struct can_item *item)
{
	const struct can_wire_header *h = &can->wire[i].hdr;
	uint32_t flags = le32toh(h->flags);
	uint32_t id = le32toh(h->can_id);
	uint16_t len = le16toh(h->length);
	bool fd = flags & CAN_WIRE_FD, rtr = flags & CAN_WIRE_RTR;

	if (c->error || c->out_len < sizeof(*h) || le16toh(h->msg_type) != CAN_MSG_TX ||
	    (flags & ~(CAN_WIRE_FD | CAN_WIRE_RTR | CAN_WIRE_EXTENDED)))
		return false;
	if (!vg_dev_has(can->dev, fd ? CAN_F_FD : CAN_F_CLASSIC) ||
	    (rtr && (fd || !vg_dev_has(can->dev, CAN_F_RTR))))
		return false;
	if (len > (fd ? CANFD_MAX_DLEN : CAN_MAX_DLEN) ||
	    id > (flags & CAN_WIRE_EXTENDED ? CAN_EFF_MASK : CAN_SFF_MASK))
		return false;
	/* A remote frame has a length and no data; Linux' driver sends room for them, others need
	 * not. */
	if (!rtr && c->out_len - sizeof(*h) < len)
		return false;
	memset(item, 0, sizeof(*item));
	item->fd = fd;
	item->f.can_id =
		id | (flags & CAN_WIRE_EXTENDED ? CAN_EFF_FLAG : 0) | (rtr ? CAN_RTR_FLAG : 0);
	item->f.len = fd ? fd_length((uint8_t)len) : (uint8_t)len;
	item->f.flags = fd ? CANFD_FDF | (can->fw.brs ? CANFD_BRS : 0) : 0;
	if (!rtr)
		memcpy(item->f.data, can->wire[i].data, len);
	return true;
}

/* One chain of the transmit queue. */
static void take_one(struct can *can, unsigned i, struct vg_chain *c, int64_t now)
{
	uint64_t nth = ++can->popped;
	struct can_item item;

	if (!can->started) {
		can->n.tx_stopped++;
	} else if (!parse(can, i, c, &item)) {
		c->error = 0;
		can->n.tx_invalid++;
	} else if (can_firewall_pass(&can->fw, &can->fw.tx, &item, now) == CAN_PASS) {
		pending_add(can, c, &item, nth);
		return;
	}
	answer(can, c, CAN_RESULT_NOT_OK);
}

/* Fetch headers and data of popped chains: one copy for all. Return: how many are requests; the
 * others are back in the ring, which is broken. */
static unsigned fetch(struct can *can, struct vg_chain **chains, unsigned n)
{
	vg_batch_init(&can->batch, can->dev->mem);
	for (unsigned i = 0; i < n; i++) {
		struct vg_chain *c = chains[i];
		size_t len = c->out_len < sizeof(can->wire[i]) ? c->out_len : sizeof(can->wire[i]);

		if (c->in_len < 1) {
			while (n > i)
				vg_vq_unpop(vg_dev_vq(can->dev, CAN_TXQ), chains[--n]);
			vg_dev_fault(can->dev, "a frame to send without room for its result");
			break;
		}
		if (len)
			vg_chain_read(&can->batch, c, 0, &can->wire[i], len);
	}
	vg_batch_run(&can->batch);
	return n;
}

void can_tx_take(struct can *can)
{
	struct vg_dev *dev = can->dev;
	struct vg_chain *chains[CAN_BATCH];
	unsigned room, n, taken = 0;

	if (!vg_dev_vq(dev, CAN_TXQ))
		return;
	do {
		vg_vq_quiet(vg_dev_vq(dev, CAN_TXQ));
		while ((room = VG_LIMIT_CAN_TX_PENDING - can->n_pending) > 0) {
			int64_t now;

			if (taken >= CAN_TURN) {
				can->more_tx = true;
				vg_loop_defer(dev->loop, &can->more);
				return;
			}
			n = vg_dev_pop(dev, CAN_TXQ, chains, room < CAN_BATCH ? room : CAN_BATCH);
			if (!n)
				break;
			taken += n;
			now = vg_now_ns(); /* not for a look that finds nothing: it costs 25 ns */
			n = fetch(can, chains, n);
			for (unsigned i = 0; i < n; i++)
				take_one(can, i, chains[i], now);
			can_tx_answer(can);
			can_tx_send(can);
		}
		can->tx_full = !room;
		if (can->tx_full)
			return; /* whoever makes room comes back here */
	} while (vg_dev_rearm(dev, CAN_TXQ));
}

void can_tx_stop(struct can *can)
{
	struct vg_vq *vq = vg_dev_vq(can->dev, CAN_TXQ);
	const struct can_tx *unsent[VG_LIMIT_CAN_TX_PENDING];
	unsigned n = 0;

	for (const struct can_tx *t = can->unsent; t; t = t->next)
		unsent[n++] = t;
	/* Only the newest chain of the ring can go back. One that was refused, and so answered, is
	 * in the way of the older ones: they have missed their turn. */
	for (; n && unsent[n - 1]->nth == can->popped; can->popped--)
		vg_vq_unpop(vq, unsent[--n]->chain);
	for (unsigned i = 0; i < n; i++) {
		can->n.tx_failed++;
		answer(can, unsent[i]->chain, CAN_RESULT_NOT_OK);
	}
	for (const struct can_tx *t = can->pending; t && t != can->unsent; t = t->next)
		answer(can, t->chain, CAN_RESULT_OK);
	can_tx_answer(can);
	can_tx_init(can);
}

void can_tx_init(struct can *can)
{
	can->retry.expired = retry_expired;
	vg_loop_timer_stop(&can->retry);
	can->free = NULL;
	for (unsigned i = 0; i < VG_LIMIT_CAN_TX_PENDING; i++) {
		can->slot[i].next = can->free;
		can->free = &can->slot[i];
	}
	can->pending = can->unsent = NULL;
	can->tail = &can->pending;
	can->n_pending = 0;
	can->tx_full = false;
	can->n_done = 0;
}
