/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * channels.h - the event channels of a device
 *
 * One for the control page, and one for each queue. Each context has a handle of
 * its own, on whose descriptor the events of its queues arrive; the main context's
 * has the control page's as well.
 *
 * A channel is bound and given up by the main context; all else of it is its
 * context's, which learns of both by a call that is posted there.
 */
#ifndef VG_CHANNELS_H
#define VG_CHANNELS_H

#include <stdbool.h>
#include <stdint.h>
#include <xenevtchn.h>

#include "backend/memory/guestmem.h"
#include "backend/virtio/device.h"

enum { VG_CHANNEL_CONTROL = VG_MAX_QUEUES, VG_CHANNELS };

struct vg_channels;

struct vg_channel {
	/* the main context's */
	bool bound;
	uint32_t remote; /* the guest's port */
	/* its context's */
	int local;	/* our port; -1: none */
	bool fired;	/* masked, to be unmasked once its work is done */
	uint64_t kicks; /* times that it fired */
};

/* A context's handle. */
struct vg_channel_end {
	struct vg_channels *all;
	struct vg_ctx *ctx;
	xenevtchn_handle *xce;
	struct vg_watch watch;
	struct vg_deferred unmask;    /* what has fired */
	unsigned runs;		      /* of that, since something fired */
	struct vg_hyper_stats *stats; /* the owner's to set; never NULL once events come */
};

/* What the owner is told, in the context that it concerns. */
struct vg_channels_events {
	void (*kicked)(void *owner, unsigned q);
	void (*control)(void *owner);			 /* the control page's channel fired */
	void (*turned)(void *owner, struct vg_ctx *ctx); /* all that came was handled */
	void *owner;
};

struct vg_channels {
	struct vg_dev *dev;
	uint32_t domid;
	struct vg_channels_events events;
	struct vg_channel channel[VG_CHANNELS];
	struct vg_channel_end *end; /* dev->n_ctx of them */
};

/**
 * vg_channels_open - a handle for each context of @dev, which reaches domain @domid and no other
 *
 * With privileges. Return: 0, or negative errno with a sentence.
 */
int vg_channels_open(struct vg_channels *ch, struct vg_dev *dev, uint32_t domid,
		     const struct vg_channels_events *events, struct vg_err *err);

/** vg_channels_close - all handles; threads have ended, or never began */
void vg_channels_close(struct vg_channels *ch);

/**
 * vg_channels_bind - bind channel @c, which is not bound, to the guest's port @remote
 *
 * Return: 0, or negative errno. -EINVAL: the guest has no such port for us, or somebody has bound it.
 */
int vg_channels_bind(struct vg_channels *ch, unsigned c, uint32_t remote);

/** vg_channels_unbind - give channel @c up; in its context, soon: vg_dev_sync() waits for that */
void vg_channels_unbind(struct vg_channels *ch, unsigned c);

/** vg_channels_notify - an event for the guest, in the channel's context; none where none is bound */
void vg_channels_notify(struct vg_channels *ch, unsigned c);

#endif /* VG_CHANNELS_H */
