/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bus.h - the bus that a CAN device's guest takes part in
 *
 * can.c is the guest's side and knows no socket; can/socket.c is SocketCAN. A
 * small table lies between them, so that unit tests put a bus of their own there
 * (tests/rigs/can_rig.h), without root and without a CAN interface.
 *
 * Nothing here blocks. What arrives is announced by events->readable, and is
 * taken with ops->recv until it says that there is no more. Other participants
 * of the same interface, other guests among them, appear as `own == false`;
 * frames that this device sent come back with `own == true` when it asked for
 * that (ops->confirm): this is how one knows that a frame was really sent.
 */
#ifndef VG_CAN_BUS_H
#define VG_CAN_BUS_H

#include <linux/can.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/base/loop.h"

/* A frame: classic or FD in one shape, with SocketCAN's flags in can_id (EFF, RTR, ERR). */
struct can_item {
	struct canfd_frame f; /* a classic frame has len, data and flags 0 */
	bool fd;
	bool own; /* received: our own, now sent */
};

enum can_link {
	CAN_LINK_GONE, /* no such interface now */
	CAN_LINK_DOWN,
	CAN_LINK_UP,
};

/* Of the controller behind the interface; vcan and vxcan have none, and are always ACTIVE. */
enum can_bus_state {
	CAN_ACTIVE, /* error-active */
	CAN_WARNING,
	CAN_PASSIVE,
	CAN_BUSOFF,
};

struct can_bus_events {
	void (*readable)(void *owner); /* there may be something for ops->recv */
	void (*changed)(void *owner);  /* link or state changed */
	/* What ops->lend makes is needed, and to be handed to ops->given, not from within this */
	void (*wanted)(void *owner);
	void *owner;
};

struct can_bus;

struct can_bus_ops {
	/**
	 * open - join the interface @name
	 * @events: copied
	 *
	 * With privileges. An interface that is not there (yet) is no error: link is GONE.
	 * Return: 0; -EINVAL: not a CAN interface; other negative errno, with a sentence.
	 */
	int (*open)(const char *name, struct vg_loop *loop, const struct can_bus_events *events,
		    struct can_bus **out, struct vg_err *err);
	void (*close)(struct can_bus *bus);

	/**
	 * lend - of the supervisor: what reaches the interface @name as it is now, and no other
	 *
	 * Return: a descriptor, the caller's; -ENODEV: there is none of that name; or negative
	 * errno; all with a sentence.
	 */
	int (*lend)(const char *name, struct vg_err *err);

	/**
	 * given - the answer to events->wanted
	 * @fd: of lend, the bus' from now on; or negative errno, and @why says a sentence
	 */
	void (*given)(struct can_bus *bus, int fd, const char *why);

	/**
	 * send - hand @n frames over for transmission, in order
	 *
	 * Return: how many were taken, at least 1; -EAGAIN: no room now, try again soon;
	 * -ENETDOWN, -ENODEV: the interface is down or gone; another negative errno: the first
	 * frame can never be sent on this interface.
	 */
	int (*send)(struct can_bus *bus, const struct can_item *items, unsigned n);

	/** recv - take up to @max frames, error frames too. Return: how many; 0: no more. */
	int (*recv)(struct can_bus *bus, struct can_item *items, unsigned max);

	/** confirm - whether own frames come back once they were sent */
	void (*confirm)(struct can_bus *bus, bool on);

	/** dropped - frames, confirmations among them, that were lost because recv came too late */
	uint64_t (*dropped)(struct can_bus *bus);

	/** tick - once a second: look again at what may have been missed */
	void (*tick)(struct can_bus *bus);
};

struct can_bus {
	const struct can_bus_ops *ops;
	struct can_bus_events events;
	enum can_link link;
	enum can_bus_state state;
	bool fd;			/* the interface takes FD frames */
	bool state_known;		/* from the controller, not only from error frames */
	bool one_shot;			/* it gives a frame up after one try, without a word */
	uint32_t bitrate, data_bitrate; /* bit/s; 0: not known */
};

/** can_bus_ops - what devices open: SocketCAN; tests point it elsewhere */
extern const struct can_bus_ops *can_bus_ops;

/** can_socket_ops - SocketCAN (can/socket.c) */
extern const struct can_bus_ops can_socket_ops;

#endif /* VG_CAN_BUS_H */
