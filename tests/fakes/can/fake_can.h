/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake_can.h - the other participant on vgrantd-fake's CAN bus (see fake_can.c)
 */
#ifndef FAKE_CAN_H
#define FAKE_CAN_H

#define FAKE_CAN_ASK	0x7e0u /* what it answers */
#define FAKE_CAN_ANSWER 0x7e8u /* with the same data */

#endif /* FAKE_CAN_H */
