/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - shared by the files of the CAN device
 *
 *	can.c		the device: controller, control queue, life
 *	tx.c		from the guest to the bus
 *	rx.c		from the bus to the guest
 *	firewall.c	what may pass
 *	socket.c	the bus, as SocketCAN has it
 *	log.c		frames for people
 */
#ifndef VG_CAN_INT_H
#define VG_CAN_INT_H

#include "backend/base/container.h"
#include "backend/devices/can/bus.h"
#include "backend/devices/can/firewall.h"
#include "backend/devices/can/wire.h"
#include "backend/devices/devices.h"
#include "backend/base/limits.h"

enum {
	CAN_BATCH = 64,	 /* chains, or frames, taken in one go */
	CAN_TURN = 1024, /* of them in one turn of the loop; the rest wait for the next */
};

#define CAN_MS 1000000LL /* ns */

/* A frame of the guest that is not answered yet. */
struct can_tx {
	struct can_tx *next;
	struct vg_chain *chain;
	struct can_item item;
	uint64_t nth; /* of all chains of the transmit queue */
	bool sent;    /* waits for its confirmation */
	int64_t sent_ns;
};

/* Counters beside those of the firewall. */
struct can_counters {
	uint64_t tx, rx;     /* frames handed to the bus, to the guest */
	uint64_t tx_invalid; /* not negotiated, or out of range */
	uint64_t tx_stopped; /* refused: the controller was STOPPED, or stopped under them */
	uint64_t tx_failed;  /* not sent by the interface: down, gone, cannot do FD, one-shot */
	uint64_t rx_kind;    /* of a kind that was not negotiated */
	uint64_t rx_dropped; /* the guest had no buffers */
	uint64_t errors;     /* error frames */
	uint64_t busoff;
	uint64_t unconfirmed; /* taken for sent, see can_tx_check() */
};

struct can {
	struct vg_dev *dev;
	struct can_bus *bus;
	char interface[16];
	struct can_firewall fw;
	uint32_t bitrate, data_bitrate; /* configured; 0: as the interface says */
	struct can_counters n;

	bool started, busoff;
	bool late; /* LATE_TX_ACK was negotiated */
	unsigned busoff_told;

	struct can_tx slot[VG_LIMIT_CAN_TX_PENDING];
	struct can_tx *free;
	struct can_tx *pending, **tail; /* as taken from the ring */
	struct can_tx *unsent;		/* first of pending that the bus has not taken, or NULL */
	unsigned n_pending;
	uint64_t popped;       /* chains of the transmit queue so far */
	bool tx_full;	       /* the pending list is: chains may wait in the ring */
	struct vg_timer retry; /* the bus had no room */
	uint64_t dropped_seen; /* of bus->dropped() */
	int64_t suspect_ns;    /* own frames sent before this may have lost their confirmation */

	struct can_item *rxq; /* a ring of rxq_size */
	uint32_t rxq_size, rxq_head, rxq_count;
	bool delivered;	     /* to the guest, since it was last nudged */
	int64_t answered_ns; /* the driver was told of sent frames, and may not have looked; 0: it has */

	struct vg_timer busoff_timer, nudge_timer, echo_timer;
	struct vg_deferred more; /* work that was left over for the next turn */
	bool more_tx, more_rx, more_control;

	/* Of the running turn: what the guest is copied from and to. */
	struct vg_batch batch;
	struct {
		struct vg_chain *chain;
		uint8_t result;
	} done[CAN_BATCH];
	unsigned n_done;
	struct {
		struct can_wire_header hdr;
		uint8_t data[CANFD_MAX_DLEN];
	} wire[CAN_BATCH];
	struct can_item items[CAN_BATCH];
};

/* ---- tx.c --------------------------------------------------------------- */

/** can_tx_init - no frame is pending, the timer is stopped */
void can_tx_init(struct can *can);

/**
 * can_tx_stop - the transmit queue stops: none of its chains is left in flight
 *
 * What the bus has not taken goes back to the ring, for whoever takes up the queue; what it has is
 * answered OK, as it is without LATE_TX_ACK: it will be sent, and nobody would hear of it any more.
 */
void can_tx_stop(struct can *can);

/** can_tx_take - serve the transmit queue until it is empty, the pending list full, or the turn over */
void can_tx_take(struct can *can);

/** can_tx_send - hand what is pending to the bus, as far as it has room */
void can_tx_send(struct can *can);

/** can_tx_confirmed - our own frame has come back: it was sent. can_tx_answer() publishes that. */
void can_tx_confirmed(struct can *can, const struct can_item *item);

/** can_tx_answer - write and publish the results that have gathered */
void can_tx_answer(struct can *can);

/** can_tx_fail - answer everything pending with NOT_OK; @counter says why */
void can_tx_fail(struct can *can, uint64_t *counter);

/** can_tx_check - once a second: frames whose confirmation got lost */
void can_tx_check(struct can *can);

/* ---- rx.c --------------------------------------------------------------- */

/** can_rx_init - nothing is timed yet */
void can_rx_init(struct can *can);

/** can_rx_read - take what the bus has, then let the transmit queue go on */
void can_rx_read(struct can *can);

/** can_rx_deliver - give the guest what waits for it, as far as it has buffers */
void can_rx_deliver(struct can *can);

/** can_rx_forget - drop what waits for the guest */
void can_rx_forget(struct can *can);

#endif /* VG_CAN_INT_H */
