/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.h - frames as candump -L writes them, and canplayer reads them
 *
 *	(1712345678.123456) can0 123#11223344 T
 *	(1712345678.123999) can0 1ABCDEF0##1DEADBEEF R
 *
 * Seconds since the epoch, interface, frame as in cansend(1), and from where it
 * came: T is from the guest, R from the bus (candump's -x; canplayer ignores it).
 */
#ifndef VG_CAN_LOG_H
#define VG_CAN_LOG_H

#include <stddef.h>
#include <time.h>

#include "backend/devices/can/bus.h"

#define CAN_LOG_MAX 224 /* bytes of a line: 64 data bytes, a name, and the rest */

/**
 * can_log_line - write one line, without its end
 * @buf: CAN_LOG_MAX bytes
 * @way: 'T' or 'R'
 *
 * Return: its length.
 */
size_t can_log_line(char *buf, const struct timespec *when, const char *interface,
		    const struct can_item *item, char way);

struct can;

/** can_trace - a frame for `vgrant trace`, if anybody listens; @way: 'T' from the guest, 'R' to it */
void can_trace(struct can *can, const struct can_item *item, char way);

#endif /* VG_CAN_LOG_H */
