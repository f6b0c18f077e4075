/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * view.h - a device as `vgrant list` shows it: what its owner fills in, and what is made JSON of
 */
#ifndef VG_CONTROL_VIEW_H
#define VG_CONTROL_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "backend/virtio/device.h"

/* The words of "state" in vg_control_state_words[], in this order. */
enum vg_control_state {
	VG_CONTROL_OPENING,    /* the worker opens what the device stands on */
	VG_CONTROL_WAITING,    /* ready, and no driver in the guest has connected yet */
	VG_CONTROL_CONNECTED,  /* a driver uses it */
	VG_CONTROL_FAILED,     /* it stopped for good; "error" says why */
	VG_CONTROL_CLOSING,    /* the guest or the toolstack takes it down */
	VG_CONTROL_RESTARTING, /* the worker died; a new one is about to carry on */
	VG_CONTROL_STATES,
};

extern const char *const vg_control_state_words[VG_CONTROL_STATES];

/* Where a device comes from; the words of "origin" in vg_control_origin_words[]. */
enum vg_control_origin {
	VG_CONTROL_FROM_CONFIG,	 /* "config": vgrant = [...] of an xl configuration, see file */
	VG_CONTROL_FROM_VIRTIO,	 /* "xl-virtio": a node of virtio = [...] with nothing in vgrant */
	VG_CONTROL_FROM_DISK,	 /* "xl-disk": disk = [ '...,specification=virtio,...' ] */
	VG_CONTROL_FROM_ATTACH,	 /* "attach": `vgrant attach` */
	VG_CONTROL_FROM_LIBVIRT, /* "libvirt": metadata of a libvirt domain, see file */
	VG_CONTROL_FROM_SOCKET, /* "vhost-user": [vhost-user] of vgrantd.conf; file is the socket */
	VG_CONTROL_ORIGINS,
};

extern const char *const vg_control_origin_words[VG_CONTROL_ORIGINS];

struct vg_control_queue {
	unsigned index;
	uint32_t size; /* entries; 0: not set up */
	bool running;
	bool packed;
	uint64_t chains;   /* taken from the ring so far */
	uint32_t inflight; /* taken, and not yet given back */
	uint64_t kicks, interrupts;
};

#define VG_CONTROL_NO_DOMAIN UINT32_MAX /* domid of a device that no Xen guest has: null in JSON */

/* One device, for vg_control_list_add(). Borrowed for the call. NULL strings become null. */
struct vg_control_device {
	const char *guest; /* name; of a socket in [vhost-user]: the socket's */
	unsigned domid;	   /* or VG_CONTROL_NO_DOMAIN */
	const char *kind;  /* of the xenstore nodes: "virtio", "virtio_disk"; or "vhost-user" */
	unsigned id;	   /* number of the node; with kind it makes "name", as in "virtio/0" */
	const char *type;  /* name of the device: "blk" */
	unsigned virtio_id;
	enum vg_control_state state;
	const char *error;  /* one sentence for people, or NULL */
	const char *config; /* "blk,target=/x.img" */
	enum vg_control_origin origin;
	const char *file;	      /* of VG_CONTROL_FROM_CONFIG and _SOCKET */
	uint64_t offered, negotiated; /* feature bits; 0: not known yet */
	const struct vg_control_queue *queues;
	unsigned n_queues;
	struct vg_dev_stats stats;
	struct vg_hyper_stats hyper;
	pid_t worker;	    /* 0: none */
	unsigned restarts;  /* of the worker */
	int64_t uptime_ns;  /* since the device came to this backend */
	const char *detail; /* the device's own describe(), or NULL */
};

/* What may happen to a device; the words of "event" in vg_control_event_words[]. */
enum vg_control_happening {
	VG_EVENT_MADE,	       /* it is here: "text" has its configuration */
	VG_EVENT_PLUGGED,      /* the same, and its guest ran already */
	VG_EVENT_CONNECTED,    /* a driver uses it */
	VG_EVENT_DISCONNECTED, /* no driver uses it any more */
	VG_EVENT_FAILED,       /* it does not work: "text" says why */
	VG_EVENT_DIED,	       /* its worker has: "text" says how */
	VG_EVENT_RESUMED,      /* another worker goes on with its driver */
	VG_EVENT_RESIZED,      /* "text" has the size */
	VG_EVENT_CHANGED,      /* its configuration has: "text" says what */
	VG_EVENT_REFUSED,      /* its driver has, to be suspended: the guest is not saved */
	VG_EVENT_UNPLUGGED,    /* it was taken from a guest that runs */
	VG_EVENT_REMOVED,      /* it is gone, with its guest or by its toolstack */
	VG_EVENTS,
};

extern const char *const vg_control_event_words[VG_EVENTS];

/** vg_control_feature_name - "BLK_DISCARD": feature @bit of devices of that id; NULL: this version has none */
const char *vg_control_feature_name(unsigned virtio_id, unsigned bit);

/* One thing that happened. Borrowed for the call. */
struct vg_control_event {
	enum vg_control_happening what;
	int64_t ns; /* when: CLOCK_REALTIME */
	/* whose, as in struct vg_control_device */
	const char *guest;
	unsigned domid;
	const char *kind;
	unsigned id;
	const char *type;
	const char *text; /* for people; NULL: nothing to say */
};

#endif /* VG_CONTROL_VIEW_H */
