// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rx.c - the receive queue of a CAN device, VIRTIO 1.4 "CAN Message Reception"
 *
 * Reception. Frames wait in a bounded queue for the driver's buffers; beyond it
 * they are dropped and counted, and go on the moment that buffers come.
 *
 * Error frames have no form in virtio-can: they are counted, and traced. What
 * they say of the controller the bus knows already (can/socket.c).
 */
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include "backend/devices/can/int.h"
#include "backend/devices/can/log.h"

/* See nudge(). */
#define NUDGE_NS (50 * CAN_MS)

/* See echo_first(): how often to look, and for how long. */
#define ECHO_LOOK_NS (CAN_MS / 20)
#define ECHO_MAX_NS  (20 * CAN_MS)

/* ---- reception ---------------------------------------------------------- */

static size_t fill(const struct can_item *item, struct can_wire_header *h, uint8_t *data)
{
	canid_t id = item->f.can_id;
	uint32_t flags = (id & CAN_EFF_FLAG ? CAN_WIRE_EXTENDED : 0) |
			 (id & CAN_RTR_FLAG ? CAN_WIRE_RTR : 0) | (item->fd ? CAN_WIRE_FD : 0);

	*h = (struct can_wire_header){
		.msg_type = htole16(CAN_MSG_RX),
		.length = htole16(item->f.len),
		.flags = htole32(flags),
		.can_id = htole32(id & (id & CAN_EFF_FLAG ? CAN_EFF_MASK : CAN_SFF_MASK)),
	};
	/* Linux' driver wants room for the data of a remote frame to be there, too. */
	memcpy(data, item->f.data, item->f.len);
	return sizeof(*h) + item->f.len;
}

/* Fill @n chains with the oldest frames of the queue, which has as many. */
static void deliver_batch(struct can *can, struct vg_chain **chains, unsigned n)
{
	struct vg_dev *dev = can->dev;
	uint32_t len[CAN_BATCH];

	vg_batch_init(&can->batch, dev->mem);
	for (unsigned i = 0; i < n; i++) {
		const struct can_item *item = &can->rxq[can->rxq_head];

		len[i] = (uint32_t)fill(item, &can->wire[i].hdr, can->wire[i].data);
		if (vg_chain_write(&can->batch, chains[i], 0, &can->wire[i], len[i]) < 0) {
			vg_dev_fault(dev, "a receive buffer of %u bytes, where %u are needed",
				     chains[i]->in_len, len[i]);
			len[i] = 0;
		}
		can->rxq_head = (can->rxq_head + 1) % can->rxq_size;
		can->rxq_count--;
	}
	vg_batch_run(&can->batch);
	for (unsigned i = 0; i < n; i++) {
		if (chains[i]->error) {
			vg_dev_fault(dev, "a receive buffer cannot be written: %s",
				     strerror(-chains[i]->error));
			len[i] = 0;
		}
		if (len[i]) {
			can->n.rx++;
			vg_dev_stats(dev, CAN_RXQ)->requests++;
			vg_dev_stats(dev, CAN_RXQ)->bytes_read +=
				len[i] - sizeof(struct can_wire_header);
		}
		vg_vq_push(vg_dev_vq(dev, CAN_RXQ), chains[i], len[i]);
	}
	vg_dev_flush(dev, CAN_RXQ);
}

/*
 * A frame's answer must not overtake the frame. When Linux' driver finds both at once, in its two
 * queues, it hands the received frame up first: its own echo takes the longer way (netif_rx). A
 * protocol that awaits the echo, as J1939 in the kernel does, then gives up. So what was received
 * waits, up to a limit, until the driver has looked at what was sent.
 */
static bool echo_first(struct can *can)
{
	struct vg_vq *vq = vg_dev_vq(can->dev, CAN_TXQ);

	if (!can->answered_ns)
		return false;
	if (!vq || vg_vq_seen(vq) || vg_now_ns() - can->answered_ns > ECHO_MAX_NS) {
		can->answered_ns = 0;
		return false;
	}
	if (!can->echo_timer.tether)
		vg_loop_timer(can->dev->loop, &can->echo_timer, ECHO_LOOK_NS);
	return true;
}

static void echo_expired(struct vg_timer *t)
{
	can_rx_deliver(container_of(t, struct can, echo_timer));
}

void can_rx_deliver(struct can *can)
{
	struct vg_dev *dev = can->dev;
	struct vg_chain *chains[CAN_BATCH];

	if (can->rxq_count && echo_first(can))
		return;
	while (can->rxq_count && vg_dev_vq(dev, CAN_RXQ)) {
		unsigned n = vg_dev_pop(dev, CAN_RXQ, chains,
					can->rxq_count < CAN_BATCH ? can->rxq_count : CAN_BATCH);

		if (n) {
			deliver_batch(can, chains, n);
			can->delivered = true;
			if (!can->nudge_timer.tether)
				vg_loop_timer(dev->loop, &can->nudge_timer, NUDGE_NS);
		} else if (!vg_dev_rearm(dev, CAN_RXQ)) {
			return; /* the next buffer is announced */
		}
	}
	/* No announcement is needed while there is nothing to deliver. */
	if (vg_dev_vq(dev, CAN_RXQ))
		vg_vq_quiet(vg_dev_vq(dev, CAN_RXQ));
}

/*
 * Linux' driver (drivers/net/can/virtio_can.c, 7.2) sends START before it enables its NAPI
 * contexts. A frame that is delivered between the two raises an interrupt which switches further
 * ones off and is then forgotten: nothing would ever be received. One more notification, whatever
 * the driver's event index says, a little after frames were delivered, sets it going again.
 */
static void nudge(struct vg_timer *t)
{
	struct can *can = container_of(t, struct can, nudge_timer);

	if (!can->delivered || !vg_dev_vq(can->dev, CAN_RXQ))
		return;
	can->delivered = false;
	vg_dev_notify(can->dev, CAN_RXQ);
}

/* One frame of another participant. */
static void receive(struct can *can, const struct can_item *item, int64_t now)
{
	bool rtr = item->f.can_id & CAN_RTR_FLAG;

	if (!can->started)
		return;
	if (!vg_dev_has(can->dev, item->fd ? CAN_F_FD : CAN_F_CLASSIC) ||
	    (rtr && !vg_dev_has(can->dev, CAN_F_RTR))) {
		can->n.rx_kind++;
		return;
	}
	if (can_firewall_pass(&can->fw, &can->fw.rx, item, now) != CAN_PASS)
		return;
	if (can->rxq_count == can->rxq_size) {
		can->n.rx_dropped++;
		return;
	}
	can->rxq[(can->rxq_head + can->rxq_count) % can->rxq_size] = *item;
	can->rxq_count++;
	can_trace(can, item, 'R');
}

void can_rx_read(struct can *can)
{
	struct can_item items[CAN_BATCH];
	unsigned taken = 0;
	int n;

	while ((n = can->bus->ops->recv(can->bus, items, CAN_BATCH)) > 0) {
		int64_t now = vg_now_ns();

		for (int i = 0; i < n; i++) {
			if (items[i].f.can_id & CAN_ERR_FLAG) {
				can->n.errors++;
				can_trace(can, &items[i], 'R');
			} else if (items[i].own) {
				can_tx_confirmed(can, &items[i]);
			} else {
				receive(can, &items[i], now);
			}
		}
		can_tx_answer(can);
		can_rx_deliver(can);
		taken += (unsigned)n;
		if (taken >= CAN_TURN) {
			can->more_rx = true;
			vg_loop_defer(can->dev->loop, &can->more);
			break;
		}
	}
	can_tx_send(can);
	if (can->tx_full)
		can_tx_take(can);
}

void can_rx_init(struct can *can)
{
	can->nudge_timer.expired = nudge;
	can->echo_timer.expired = echo_expired;
}

void can_rx_forget(struct can *can)
{
	can->rxq_count = 0;
	can->delivered = false;
	can->answered_ns = 0;
	vg_loop_timer_stop(&can->nudge_timer);
	vg_loop_timer_stop(&can->echo_timer);
}
