/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - shared by the files of the console device; nobody else includes it
 *
 *	console.c	the device: configuration, queues, life
 *	control.c	what guest and device tell each other of ports
 *	port.c		a port: its terminal, what waits for it, its two queues
 *	backlog.c	what waits
 */
#ifndef VG_CONSOLE_INT_H
#define VG_CONSOLE_INT_H

#include <linux/virtio_console.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/devices/devices.h"

/* VIRTIO 1.3 section 5.3.2: queues 0 and 1 are port 0's, then come the two of control, then those of
 * port 1, and so on. */
enum {
	CONSOLE_CONTROL_RX = 2, /* to the driver */
	CONSOLE_CONTROL_TX = 3,
	CONSOLE_QUEUES_FIRST = 4, /* of a device with one port */
	CONSOLE_READ = 4096,	  /* bytes of a terminal that are read at once */
};

/* What guest and device have told each other of a port: dev->saved. */
enum {
	PORT_ADDED = 1 << 0,	     /* the driver was told that it is there */
	PORT_READY = 1 << 1,	     /* the driver has it */
	PORT_IS_CONSOLE = 1 << 2,    /* the driver was told that it is one */
	PORT_NAMED = 1 << 3,	     /* and its name */
	PORT_GUEST_OPEN = 1 << 4,    /* the driver says that the guest has it open */
	PORT_HOST_OPEN_TOLD = 1 << 5 /* the driver was told that somebody has it open here */
};

/* As it lies in memory that outlives a worker; of a predecessor, who may have been taken over. What was
 * put and what was taken are counted without end, and each is changed after what it tells of: a worker that
 * dies in between is succeeded by one that gives the same to the terminal again. */
struct console_kept {
	uint64_t put, got; /* bytes */
	uint8_t bytes[VG_LIMIT_CONSOLE_BYTES];
};

struct console;

struct console_port {
	struct console *c;
	unsigned index; /* 0: the console */
	const char *name;

	int tty; /* the device's side of its terminal; -1: there is none */
	struct vg_watch watch;
	bool attached;	     /* somebody has the other side open */
	int64_t moved_ns;    /* when they last took something */
	uint16_t cols, rows; /* of the other side's window; 0: not known */
	uint16_t told_cols, told_rows;

	struct console_kept *kept;
	struct vg_chain *out; /* of the guest's, that was not taken in full; NULL: none */
	uint32_t out_done;    /* bytes of it that were */
	uint64_t lost;	      /* bytes */
};

struct console {
	struct vg_dev *dev;
	unsigned n_ports;
	struct console_port port[VG_LIMIT_CONSOLE_PORTS];
	char names[VG_TERMINALS][VG_TERMINAL_NAME];
	struct console_kept *own;    /* n_ports of them, until the supervisor's are there */
	struct console_kept *shared; /* mapped; NULL: none */
	struct vg_batch batch;
	uint8_t bytes[CONSOLE_READ];
};

/* ---- backlog.c ------------------------------------------------------------ */

/** console_kept_check - of a predecessor's: numbers that cannot be are as nothing kept */
void console_kept_check(struct console_kept *k);

/** console_kept_n, console_kept_room - bytes that wait, and for which there is room */
static inline uint32_t console_kept_n(const struct console_kept *k)
{
	return (uint32_t)(k->put - k->got);
}

static inline uint32_t console_kept_room(const struct console_kept *k)
{
	return VG_LIMIT_CONSOLE_BYTES - console_kept_n(k);
}

/** console_kept_forget - the eldest @n of them */
void console_kept_forget(struct console_kept *k, uint32_t n);

/** console_kept_next - where the next of room go. Return: how many in a row, at most @n. */
uint32_t console_kept_next(struct console_kept *k, uint32_t n, uint8_t **at);

/** console_kept_first - where the eldest of them lie. Return: how many in a row. */
uint32_t console_kept_first(const struct console_kept *k, const uint8_t **at);

/* ---- port.c --------------------------------------------------------------- */

/** console_rx, console_tx - the queues of a port, to the driver and from it */
static inline unsigned console_rx(const struct console_port *p)
{
	return p->index ? 2 * p->index + 2 : 0;
}

static inline unsigned console_tx(const struct console_port *p)
{
	return console_rx(p) + 1;
}

/** console_of_queue - the port that queue @q, which is none of control's, belongs to */
static inline struct console_port *console_of_queue(struct console *c, unsigned q)
{
	return &c->port[q < CONSOLE_CONTROL_RX ? 0 : q / 2 - 1];
}

/** port_new_terminal - @fd, the port's from now on */
void port_new_terminal(struct console_port *p, int fd);

/** port_close - its terminal, for good */
void port_close(struct console_port *p);

/** port_in - what was typed, to the guest, as far as there are buffers */
void port_in(struct console_port *p);

/** port_out - what the guest says, to the terminal; or kept */
void port_out(struct console_port *p);

/** port_stop_out - its queue is to stop: nothing of it is in flight afterwards */
void port_stop_out(struct console_port *p);

/** port_say - one byte of the guest's that comes in no queue */
void port_say(struct console_port *p, uint8_t byte);

/** port_look - is somebody there, and how large is their window? Once a second, and when it is woken. */
void port_look(struct console_port *p);

/* ---- control.c ------------------------------------------------------------- */

/** port_flags - what was told of it */
uint8_t port_flags(const struct console_port *p);

/** port_open - whether the guest takes what is typed */
bool port_open(const struct console_port *p);

/** control_tell - tell the driver what it does not know yet, as far as there are buffers */
void control_tell(struct console *c);

/** control_hear - what the driver says */
void control_hear(struct console *c);

#endif /* VG_CONSOLE_INT_H */
