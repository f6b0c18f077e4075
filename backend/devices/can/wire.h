/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.h - what stands in a CAN device's queues, VIRTIO 1.4 "CAN Device"
 *
 * All little-endian. A frame in the transmit queue is a header, which the
 * driver's data follow, and one device-writable byte for the result. In the
 * receive queue it is the same header and the data, written by the device.
 */
#ifndef VG_CAN_WIRE_H
#define VG_CAN_WIRE_H

#include <stdint.h>

#define CAN_VIRTIO_ID 36 /* Device ID */

/* Virtqueues */
enum { CAN_TXQ, CAN_RXQ, CAN_CONTROLQ, CAN_QUEUES };

/* Feature bits */
#define CAN_F_CLASSIC	  0
#define CAN_F_FD	  1
#define CAN_F_RTR	  2 /* needs CLASSIC */
#define CAN_F_LATE_TX_ACK 3

/* Device configuration layout */
struct can_wire_config {
	uint16_t status;
};
#define CAN_S_BUSOFF 0x0001u /* VIRTIO_CAN_S_CTRL_BUSOFF */

/* Outcome of an operation */
#define CAN_RESULT_OK	  0
#define CAN_RESULT_NOT_OK 1

/* msg_type */
#define CAN_MSG_TX    0x0001u
#define CAN_MSG_RX    0x0101u
#define CAN_MSG_START 0x0201u
#define CAN_MSG_STOP  0x0202u

/* flags; every other bit is undefined and makes a frame one that was not negotiated */
#define CAN_WIRE_RTR	  0x2000u
#define CAN_WIRE_FD	  0x4000u
#define CAN_WIRE_EXTENDED 0x8000u

/* struct virtio_can_tx_out and struct virtio_can_rx, without the data */
struct can_wire_header {
	uint16_t msg_type;
	uint16_t length; /* bytes of data: 0 to 8, 0 to 64 with FD */
	uint8_t reserved_classic_dlc;
	uint8_t padding;
	uint16_t reserved_xl_priority;
	uint32_t flags;
	uint32_t can_id; /* 11 or 29 bits; bits 29 to 31 are 0 */
};

_Static_assert(sizeof(struct can_wire_header) == 16, "the header has 16 bytes on the wire");

#endif /* VG_CAN_WIRE_H */
