/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake_can.h - the other participant on vgrantd-fake's CAN bus (see fake_can.c)
 */
#ifndef FAKE_CAN_H
#define FAKE_CAN_H

#define FAKE_CAN_ASK	0x7e0u /* what it answers */
#define FAKE_CAN_ANSWER 0x7e8u /* with the same data */

/* A frame that makes the worker ask its supervisor for the interface again, as when that came back. The
 * answer has the name of what it was given, or no data: it was refused. */
#define FAKE_CAN_REJOIN 0x7e1u
#define FAKE_CAN_JOINED 0x7e9u

#endif /* FAKE_CAN_H */
