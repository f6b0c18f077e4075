/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * msg.h - between vgrantd and vgrant-libvirt, the process that speaks to libvirt
 *
 * A SOCK_SEQPACKET pair; each packet is one struct vg_virt_msg. Calls of libvirt's wait for
 * libvirtd, which may hang; and libvirt's library brings some thirty others. So both stay in a
 * process of their own, which vgrantd starts, and does without where it cannot be started.
 *
 *	vgrant-libvirt says                      vgrantd says
 *	HELLO     it runs                        CHANGE  of a domain's metadata
 *	STATE     connected to libvirt, or not   WHO     is the guest of this uuid
 *	GUEST     a domain as it is now; then n_devices times DEVICE
 *	GONE      libvirt has no such domain,    NUMBER  to be written into the running
 *	          or not any more                        definition, as id
 *	SYNCED    after a STATE: all domains were told
 *	DONE      the answer to CHANGE, behind the GUEST that it led to
 */
#ifndef VG_VIRT_MSG_H
#define VG_VIRT_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/params.h"

#define VG_VIRT_SOCK 3 /* where vgrant-libvirt finds its socket */

/* Both ends are of one build; to be raised with every change of struct vg_virt_msg. */
#define VG_VIRT_VERSION 3u

enum vg_virt_type {
	VG_VIRT_HELLO = 1,
	VG_VIRT_STATE, /* error, text: why there is no connection */
	VG_VIRT_GUEST,
	VG_VIRT_DEVICE,
	VG_VIRT_GONE,
	VG_VIRT_SYNCED,
	VG_VIRT_DONE, /* error, text; or change.id */

	VG_VIRT_CHANGE = 64,
	VG_VIRT_WHO,	/* answered by a GUEST or GONE of that uuid */
	VG_VIRT_NUMBER, /* device.number, of the first device without id that says device.spec */
};

enum vg_virt_op { VG_VIRT_ATTACH = 1, VG_VIRT_DETACH, VG_VIRT_SET };

/* Of which definition; neither: of the one that counts now, as virsh's --current. */
enum { VG_VIRT_LIVE = 1u << 0, VG_VIRT_CONFIG = 1u << 1 };

struct vg_virt_msg {
	uint32_t version; /* vg_virt_send()'s to set */
	uint32_t type;	  /* enum vg_virt_type */
	int32_t error; /* 0 or negative errno; of GUEST: the metadata is wrong, and text says how */
	uint32_t request; /* of CHANGE, and of its DONE */
	char uuid[40];
	char text[256];
	union {
		struct { /* GUEST */
			char name[256];
			uint32_t n_devices;
			uint32_t ours; /* bool: it has our element */
			uint32_t active;
			uint32_t
				passing; /* bool: transient, and does not run yet: no event says if it never does */
		} guest;
		struct { /* DEVICE; NUMBER: number, spec */
			uint32_t line, number;
			uint32_t has_id;   /* bool: number is written in it */
			char backend[128]; /* domain that serves it; "": dom0 */
			char spec[VG_PARAMS_LEN];
		} device;
		struct { /* CHANGE; DONE: id */
			uint32_t op;
			uint32_t scope;	    /* VG_VIRT_LIVE, VG_VIRT_CONFIG */
			uint32_t id;	    /* of ATTACH: unless its spec says another */
			uint32_t only_look; /* bool: whether it could be done */
			uint8_t taken
				[32]; /* bits: numbers that devices have which libvirt does not know */
			char guest[256];	  /* name or uuid; when uuid is "" */
			char spec[VG_PARAMS_LEN]; /* of ATTACH; of SET: "x,key=value" */
		} change;
	};
};

/** vg_virt_send - one packet. Return: 0; -EAGAIN: the peer does not read; negative errno: it is gone. */
int vg_virt_send(int sock, struct vg_virt_msg *m, bool wait);

/** vg_virt_recv - one packet, texts terminated. Return: 1; 0: the peer is gone; -EAGAIN; -EPROTO. */
int vg_virt_recv(int sock, struct vg_virt_msg *m);

#endif /* VG_VIRT_MSG_H */
