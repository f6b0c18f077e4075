// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * can.c - CAN controller, VIRTIO 1.4 "CAN Device" (device id 36)
 *
 * The guest's side: three queues, a controller that is STARTED or STOPPED, one
 * configuration field. What the frames come from and go to is a struct can_bus
 * (can/bus.h), what may pass is decided by a struct can_firewall.
 *
 *	txq -> check -> firewall -> pending list -> bus
 *	  ^                             |            |
 *	  +-- result OK ----------------+ sent       | own frame: it was really sent
 *	      (LATE_TX_ACK: only now) <--------------+
 *	rxq <- receive queue <- firewall <- kind negotiated? <- bus
 *
 * The host's interface is to the guest what the cable is to a controller. While
 * it is down or gone START succeeds, nothing is received, and every frame is
 * answered NOT_OK at once. Bus-off of the host's controller is the guest's: the
 * controller stops, pending frames are answered NOT_OK, the configuration says
 * so. START ends it; should the host's controller still be in bus-off a tenth of
 * a second later (it is restarted by the host: `ip link set can0 type can
 * restart-ms ...`), the guest is told again.
 *
 * A worker that dies: START and bus-off are in dev->saved. Frames that were taken
 * and not answered are sent by the successor, possibly for the second time: as on
 * a real bus, where an error in the last bit does the same. Frames that arrive
 * meanwhile are not received.
 */
#include <endian.h>
#include <errno.h>
#include <linux/can/raw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "backend/base/container.h"
#include "backend/devices/can/int.h"

enum {
	CONTROL_TURN = 64, /* control messages in one turn of the loop */
	BUSOFF_AGAIN = 5,  /* how often bus-off is told, once a second, until START */
	/* index into dev->saved */
	SAVED_STARTED = 0,
	SAVED_BUSOFF = 1,
	SAVED_SIZE = 2,
	/* For the bus load of an interface that does not tell its bit rate (vcan). */
	DEFAULT_BITRATE = 500000,
	DEFAULT_DATA_BITRATE = 2000000,
};

/* What is asked of the supervisor: a socket on the interface as it is now. */
#define SOCKET "socket"

/* See busoff_still(). */
#define BUSOFF_STILL_NS (100 * CAN_MS)

static const struct vg_param_def can_params[] = {
	{ "interface", VG_PARAM_STRING, true, 0, 0, NULL,
	  "CAN interface of this domain: a controller's, vcan or vxcan" },
	CAN_FIREWALL_PARAMS,
	{ "late-ack", VG_PARAM_BOOL, false, 0, 1, "1",
	  "offer LATE_TX_ACK: the guest learns when a frame was really sent" },
	{ "brs", VG_PARAM_BOOL, false, 0, 1, "1",
	  "send FD frames with bit rate switch, which virtio-can cannot say" },
	{ "bitrate", VG_PARAM_UINT, false, 0, 1000000, "0",
	  "bit/s of the bus, for load limits; 0: as the interface says, else 500000" },
	{ "data-bitrate", VG_PARAM_UINT, false, 0, 20000000, "0",
	  "bit/s of the data phase of FD frames; 0: as the interface says, else 2000000" },
	{ "rx-queue", VG_PARAM_UINT, false, 1, VG_LIMIT_CAN_RX_QUEUE, "1024",
	  "frames that wait when the guest does not take them; the next are dropped" },
	{ "queue-size", VG_PARAM_UINT, false, 2, 1024, NULL,
	  "largest queue size, a power of two; default: 256, or 1024 over vhost-user" },
	{ 0 },
};

/* ---- the controller ----------------------------------------------------- */

static void save(struct can *can)
{
	can->dev->saved[SAVED_STARTED] = can->started;
	can->dev->saved[SAVED_BUSOFF] = can->busoff;
	vg_dev_save(can->dev);
}

/* Leave the bus: what is pending is cancelled, what was received is forgotten. */
static void stop(struct can *can)
{
	can->started = false;
	can_rx_forget(can);
	vg_loop_timer_stop(&can->busoff_timer);
	can_tx_fail(can, &can->n.tx_stopped);
	can_tx_take(can); /* what is still in the ring, too */
}

/* "BusOff Indication" */
static void bus_off(struct can *can)
{
	if (!can->started)
		return;
	can->n.busoff++;
	can->busoff = true;
	can->busoff_told = 1;
	stop(can);
	save(can);
	vg_warn("CAN interface %s is in bus-off; the guest's controller stops until it is started "
		"again",
		can->interface);
	vg_dev_config_changed(can->dev);
}

/* A guest that starts its controller while the host's is in bus-off. It is told after its driver has
 * had time to take note of START: Linux' would otherwise forget it. */
static void busoff_still(struct vg_timer *t)
{
	struct can *can = container_of(t, struct can, busoff_timer);

	if (can->bus->state == CAN_BUSOFF)
		bus_off(can);
}

/* The driver asked for it, so it need not be told; but its configuration is another one now. */
static void no_busoff(struct can *can)
{
	can->dev->generation += can->busoff;
	can->busoff = false;
}

static uint8_t control_start(struct can *can)
{
	if (can->bus->state == CAN_BUSOFF) {
		if (can->bus->state_known)
			vg_loop_timer(can->dev->loop, &can->busoff_timer, BUSOFF_STILL_NS);
		else
			can->bus->state = CAN_ACTIVE; /* no controller to be in that state */
	}
	can->started = true;
	no_busoff(can);
	save(can);
	return CAN_RESULT_OK;
}

static uint8_t control_stop(struct can *can)
{
	stop(can);
	no_busoff(can);
	save(can);
	return CAN_RESULT_OK;
}

static uint8_t control_one(struct can *can, uint16_t msg_type)
{
	switch (msg_type) {
	case CAN_MSG_START:
		return control_start(can);
	case CAN_MSG_STOP:
		return control_stop(can);
	default:
		return CAN_RESULT_NOT_OK;
	}
}

/* "Control queue messages are processed in order", and each is answered before the next. */
static void take_control(struct can *can)
{
	struct vg_dev *dev = can->dev;
	struct vg_chain *c;
	unsigned taken = 0;

	do {
		while (vg_dev_pop(dev, CAN_CONTROLQ, &c, 1)) {
			uint16_t type = 0;
			uint8_t result;

			if (c->in_len < 1) {
				vg_vq_unpop(vg_dev_vq(dev, CAN_CONTROLQ), c);
				vg_dev_fault(dev, "a control message without room for its result");
				return;
			}
			vg_batch_init(&can->batch, dev->mem);
			vg_chain_read(&can->batch, c, 0, &type, sizeof(type));
			vg_batch_run(&can->batch);
			result = c->error ? CAN_RESULT_NOT_OK : control_one(can, le16toh(type));
			c->error = 0;
			vg_batch_init(&can->batch, dev->mem);
			vg_chain_write(&can->batch, c, 0, &result, 1);
			vg_batch_run(&can->batch);
			if (c->error)
				vg_dev_fault(
					dev,
					"the result of a control message cannot be written: %s",
					strerror(-c->error));
			vg_dev_stats(dev, CAN_CONTROLQ)->requests++;
			if (result != CAN_RESULT_OK)
				vg_dev_stats(dev, CAN_CONTROLQ)->errors++;
			vg_vq_push(vg_dev_vq(dev, CAN_CONTROLQ), c, c->error ? 0 : 1);
			vg_dev_flush(dev, CAN_CONTROLQ);
			if (++taken >= CONTROL_TURN) {
				can->more_control = true;
				vg_loop_defer(dev->loop, &can->more);
				return;
			}
		}
	} while (vg_dev_rearm(dev, CAN_CONTROLQ));
}

static void do_more(struct vg_deferred *d)
{
	struct can *can = container_of(d, struct can, more);
	bool tx = can->more_tx, rx = can->more_rx, control = can->more_control;

	can->more_tx = can->more_rx = can->more_control = false;
	if (control)
		take_control(can);
	if (rx)
		can_rx_read(can);
	if (tx)
		can_tx_take(can);
}

/* ---- what the bus says -------------------------------------------------- */

static void bus_readable(void *owner)
{
	can_rx_read(owner);
}

static void bus_wanted(void *owner)
{
	struct can *can = owner;

	vg_dev_ask(can->dev, SOCKET, false);
}

static void bus_changed(void *owner)
{
	struct can *can = owner;
	const struct can_bus *bus = can->bus;

	can->fw.bitrate = can->bitrate	 ? can->bitrate
			  : bus->bitrate ? bus->bitrate
					 : DEFAULT_BITRATE;
	can->fw.data_bitrate = can->data_bitrate   ? can->data_bitrate
			       : bus->data_bitrate ? bus->data_bitrate
						   : DEFAULT_DATA_BITRATE;
	/* The kernel forgets what it was to send; no confirmation will come. */
	if (bus->link != CAN_LINK_UP)
		can_tx_fail(can, &can->n.tx_failed);
	else if (bus->state == CAN_BUSOFF && !can->busoff_timer.tether)
		bus_off(can);
}

/* ---- the device --------------------------------------------------------- */

static int can_open(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err)
{
	const char *name = vg_params_str(params, can_params, "interface");
	uint32_t size = (uint32_t)vg_params_uint(params, can_params, "queue-size");
	struct can_bus_events events = { .readable = bus_readable,
					 .changed = bus_changed,
					 .wanted = bus_wanted };
	struct can *can;
	int ret;

	if (size & (size - 1))
		return vg_fail(err, -EINVAL, "queue-size=%u is not a power of two", size);
	can = calloc(1, sizeof(*can));
	if (!can)
		return vg_fail(err, -ENOMEM, "out of memory");
	events.owner = can;
	can->dev = dev;
	snprintf(can->interface, sizeof(can->interface), "%s", name);
	can->rxq_size = (uint32_t)vg_params_uint(params, can_params, "rx-queue");
	can->rxq = calloc(can->rxq_size, sizeof(*can->rxq));
	ret = can->rxq ? can_firewall_init(&can->fw, params, can_params, err)
		       : vg_fail(err, -ENOMEM, "out of memory");
	if (ret == 0)
		ret = can_bus_ops->open(name, dev->loop, &events, &can->bus, err);
	if (ret < 0) {
		free(can->rxq);
		free(can);
		return ret;
	}
	can->fw.brs = vg_params_bool(params, can_params, "brs");
	can->bitrate = (uint32_t)vg_params_uint(params, can_params, "bitrate");
	can->data_bitrate = (uint32_t)vg_params_uint(params, can_params, "data-bitrate");
	can->busoff_timer.expired = busoff_still;
	can->more.run = do_more;
	can_tx_init(can);
	can_rx_init(can);
	bus_changed(can);
	dev->priv = can;
	dev->n_queues = CAN_QUEUES;
	dev->saved_size = SAVED_SIZE;
	dev->queue_size_max = size;
	dev->config_size = sizeof(struct can_wire_config);
	dev->device_features = VG_FEATURE(CAN_F_CLASSIC);
	/* An interface that is not there yet may turn out to do FD; if not, frames are refused. */
	if (can->fw.fd && (can->bus->fd || can->bus->link == CAN_LINK_GONE))
		dev->device_features |= VG_FEATURE(CAN_F_FD);
	if (can->fw.rtr)
		dev->device_features |= VG_FEATURE(CAN_F_RTR);
	if (vg_params_bool(params, can_params, "late-ack"))
		dev->device_features |= VG_FEATURE(CAN_F_LATE_TX_ACK);
	return 0;
}

static void can_close(struct vg_dev *dev)
{
	struct can *can = dev->priv;

	vg_loop_timer_stop(&can->retry);
	vg_loop_timer_stop(&can->busoff_timer);
	vg_loop_timer_stop(&can->nudge_timer);
	vg_loop_timer_stop(&can->echo_timer);
	vg_loop_undefer(dev->loop, &can->more);
	can->bus->ops->close(can->bus);
	free(can->rxq);
	free(can);
	dev->priv = NULL;
}

static void can_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	struct can *can = dev->priv;
	struct can_wire_config config = { .status = htole16(can->busoff ? CAN_S_BUSOFF : 0) };

	memcpy(buf, (const uint8_t *)&config + off, len);
}

/* "Feature bit requirements" */
static int can_features_ok(struct vg_dev *dev, uint64_t features)
{
	bool classic = features & VG_FEATURE(CAN_F_CLASSIC);

	(void)dev;
	if (!classic && !(features & VG_FEATURE(CAN_F_FD)))
		return -EINVAL;
	if (!classic && (features & VG_FEATURE(CAN_F_RTR)))
		return -EINVAL;
	return 0;
}

static int can_start(struct vg_dev *dev)
{
	struct can *can = dev->priv;

	can->late = vg_dev_has(dev, CAN_F_LATE_TX_ACK);
	can->bus->ops->confirm(can->bus, can->late);
	can->dropped_seen = can->bus->ops->dropped(can->bus);
	/* Not zero for a worker that takes up what another had. */
	can->started = dev->saved[SAVED_STARTED];
	can->busoff = dev->saved[SAVED_BUSOFF];
	if (can->started && can->bus->state == CAN_BUSOFF && can->bus->state_known)
		bus_off(can);
	return 0;
}

static void can_queue_ready(struct vg_dev *dev, unsigned q)
{
	struct can *can = dev->priv;

	if (q == CAN_TXQ)
		can_tx_take(can);
	else if (q == CAN_RXQ)
		can_rx_deliver(can);
	else
		take_control(can);
}

/* The other two queues have nothing in flight between turns. */
static void can_stop_queue(struct vg_dev *dev, unsigned q)
{
	struct can *can = dev->priv;

	if (q == CAN_TXQ)
		can_tx_stop(can);
	vg_dev_queue_stopped(dev, q);
}

static void can_reset(struct vg_dev *dev)
{
	struct can *can = dev->priv;

	can->started = false;
	can->busoff = false;
	can->late = false;
	can_rx_forget(can);
	vg_loop_timer_stop(&can->busoff_timer);
	can->bus->ops->confirm(can->bus, false);
	memset(dev->saved, 0, dev->saved_size);
}

static int can_set(struct vg_dev *dev, const char *key, const char *value, struct vg_err *err)
{
	struct can *can = dev->priv;
	const struct can_firewall before = can->fw;
	int ret = can_firewall_set(&can->fw, key, value, err);

	if (ret == -ENOENT)
		return vg_fail(err, ret,
			       "%s cannot be changed while running; tx-allow, rx-allow, tx-rate, "
			       "rx-rate, tx-load, rx-load, fd and rtr can",
			       key);
	if (ret == 0 && ((strcmp(key, "fd") == 0 && can->fw.fd &&
			  !(dev->device_features & VG_FEATURE(CAN_F_FD))) ||
			 (strcmp(key, "rtr") == 0 && can->fw.rtr &&
			  !(dev->device_features & VG_FEATURE(CAN_F_RTR))))) {
		can->fw = before;
		return vg_fail(
			err, -EINVAL,
			"%s was not offered to the guest when the device was made: attach it "
			"again with %s=1, on an interface that can do it",
			key, key);
	}
	return ret;
}

static void can_tick(struct vg_dev *dev)
{
	struct can *can = dev->priv;

	can->bus->ops->tick(can->bus);
	can_tx_check(can);
	can_tx_take(can);
	/* Linux' driver misses it while START is under way. */
	if (can->busoff && can->busoff_told < BUSOFF_AGAIN) {
		can->busoff_told++;
		vg_dev_config_changed(dev);
	}
}

/* id/kind/rate/load: how many frames a gate refused, by reason. */
static int describe_refused(const struct can_gate *g, const char *way, char *buf, size_t len)
{
	return snprintf(buf, len, " %s-refused=id:%llu/kind:%llu/rate:%llu/load:%llu", way,
			(unsigned long long)g->refused[CAN_REFUSED_ID],
			(unsigned long long)g->refused[CAN_REFUSED_KIND],
			(unsigned long long)g->refused[CAN_REFUSED_RATE],
			(unsigned long long)g->refused[CAN_REFUSED_LOAD]);
}

static void can_describe(struct vg_dev *dev, char *buf, size_t len)
{
	static const char *const links[] = { "gone", "down", "up" };
	static const char *const states[] = { "active", "warning", "passive", "bus-off" };
	const struct can *can = dev->priv;
	const struct can_counters *n = &can->n;
	char text[512];
	int at;

	/* What is zero, as most of it should be, is not said. */
	at = snprintf(text, sizeof(text), "%s=%s %s %s tx=%llu rx=%llu", can->interface,
		      links[can->bus->link], states[can->bus->state],
		      can->busoff    ? "stopped(bus-off)"
		      : can->started ? "started"
				     : "stopped",
		      (unsigned long long)n->tx, (unsigned long long)n->rx);
	if (can_firewall_refused(&can->fw.tx))
		at += describe_refused(&can->fw.tx, "tx", text + at, sizeof(text) - (size_t)at);
	if (can_firewall_refused(&can->fw.rx))
		at += describe_refused(&can->fw.rx, "rx", text + at, sizeof(text) - (size_t)at);
	const struct {
		const char *name;
		uint64_t value;
	} rest[] = {
		{ "rx-dropped", n->rx_dropped },
		{ "host-dropped", can->bus->ops->dropped(can->bus) },
		{ "tx-failed", n->tx_failed },
		{ "tx-stopped", n->tx_stopped },
		{ "tx-invalid", n->tx_invalid },
		{ "rx-not-negotiated", n->rx_kind },
		{ "error-frames", n->errors },
		{ "bus-offs", n->busoff },
		{ "unconfirmed", n->unconfirmed },
	};
	for (size_t i = 0; i < COUNT(rest); i++) {
		if (rest[i].value && at < (int)sizeof(text) - 48)
			at += snprintf(text + at, sizeof(text) - (size_t)at, " %s=%llu",
				       rest[i].name, (unsigned long long)rest[i].value);
	}
	snprintf(buf, len, "%s", text);
}

/* In the supervisor. The interface is that of the configuration, whatever is asked. */
static int can_lend(const struct vg_params *params, const char *what, struct vg_err *err)
{
	const char *name = vg_params_str(params, can_params, "interface");

	if (strcmp(what, SOCKET) != 0 || !name || !can_bus_ops->lend)
		return vg_fail(err, -EPERM, "a can device has no %s", what);
	return can_bus_ops->lend(name, err);
}

static void can_given(struct vg_dev *dev, const char *what, int fd, const char *why)
{
	struct can *can = dev->priv;

	(void)what;
	can->bus->ops->given(can->bus, fd, why);
}

/* Of socket.c. Nothing that takes an address, and none of the socket's options that makes it hear more
 * than it was made for. */
static const struct vg_sandbox_call can_calls[] = {
	VG_CALL(recvmmsg),
	VG_CALL(getsockname),
	VG_CALL_SOCKOPT(setsockopt, SOL_CAN_RAW, CAN_RAW_RECV_OWN_MSGS),
	VG_CALL_SOCKOPT(getsockopt, SOL_SOCKET, SO_MEMINFO),
	VG_CALLS_END,
};
static const struct vg_sandbox_needs can_needs = { .calls = can_calls };

const struct vg_device_ops vg_can = {
	.name = "can",
	.help = "a CAN controller on a CAN interface of this domain, with a firewall",
	.virtio_id = CAN_VIRTIO_ID,
	.params = can_params,
	.needs = &can_needs,
	.lend = can_lend,
	.given = can_given,
	.open = can_open,
	.close = can_close,
	.config_read = can_config_read,
	.features_ok = can_features_ok,
	.start = can_start,
	.queue_ready = can_queue_ready,
	.stop_queue = can_stop_queue,
	.reset = can_reset,
	.set = can_set,
	.describe = can_describe,
	.traces = true,
	.tick = can_tick,
};
