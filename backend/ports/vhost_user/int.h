/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - what the files of the vhost-user port share
 *
 *	vhost_user.c		connection, negotiation, one function for each message
 *	vhost_user/ring.c	rings: when they run, kicks and calls
 *	vhost_user/inflight.c	the in-flight record that the front-end keeps
 *	vhost_user/back.c	the channel on which the back-end speaks first
 *	vhost_user/screen.c	a picture that the front-end shows itself
 */
#ifndef VG_VHOST_USER_INT_H
#define VG_VHOST_USER_INT_H

#include "backend/base/container.h"
#include "backend/ports/vhost_user/vhost_user.h"
#include "backend/ports/vhost_user/mem.h"
#include "backend/ports/record.h"
#include "backend/virtio/port.h"
#include "backend/wire/vhost_user.h"

struct vg_vu_ring {
	struct vg_vu *vu;
	unsigned q;
	bool has_num, has_addr;
	bool kicked;  /* has a kick descriptor, or was told to do without, or was kicked in-band */
	bool enabled; /* SET_VRING_ENABLE */
	bool base_is_ours; /* state is where we stopped; else what the front-end said */
	uint32_t num;
	struct vg_vu_addr addr;
	struct vg_vq_state state; /* where to start */
	int err;		  /* -1: none */
	bool ran;		  /* when it was told to stop */
	struct vg_wait stopped;
	/* The context's, which is told of changes: vg_vu_ring_set_kick(), _set_call(). */
	int kick, call;	       /* -1: none */
	struct vg_watch watch; /* of kick */
	uint64_t kicks;	       /* since the front-end is there */
	bool drain;	       /* kick is no eventfd: what is written to it must be read */
	bool call_owed;	       /* in-band: a call to be sent when the one before is answered */
	bool call_sent;	       /* in-band: waits for its answer */
};

struct vg_vu_inflight_map {
	uint8_t *base;	/* NULL: no record */
	size_t len;	/* bytes mapped */
	uint8_t *first; /* record of queue 0 */
	size_t stride;	/* bytes from one queue's record to the next */
	unsigned queues;
	uint32_t queue_size;
	uint8_t *
		trailer; /* ours, behind the last record; NULL: a region that is not of our making */
	struct vg_sigbus_guard guard;
};

struct vg_vu {
	struct vg_port port;
	struct vg_port_ops ops; /* what this port offers, by its options */
	struct vg_dev *dev;
	struct vg_record_map *shown; /* where vg_vu_show() shows it */
	struct vg_vu_options options;
	struct vg_vu_events events;
	struct vg_vu_mem mem;

	int sock; /* -1: no front-end */
	struct vg_watch watch;
	struct vg_vu_reader reader;
	struct vg_timer more; /* messages that wait for the next turn */
	bool pending;	      /* a message waits for rings to stop */
	bool inside;	      /* handle() tells them to, and goes on by itself if they have */
	bool ending;	      /* hang up once it is handled */
	unsigned stopping;    /* rings that were told to, and one for who tells them */
	void (*then)(struct vg_vu *vu); /* once they have */
	struct vg_wait *leavers;	/* who waits for drop or quiesce */
	bool leaving, quiet;		/* one of them is under way; the latter was asked for */
	struct vg_wait left;
	bool has_left; /* gone() is to be called then */
	int left_error;
	struct vg_wait parted; /* from all that contexts hold of the front-end's */
	int error;	       /* why */
	uint64_t protocol;     /* negotiated protocol features */
	uint64_t features;     /* as the front-end set them, bit 30 included */
	bool has_features;     /* SET_FEATURES came */
	struct vg_ratelimit log;

	int back; /* the back-end's channel; -1: none */
	struct vg_watch back_watch;
	struct vg_vu_reader back_reader;
	uint8_t calls[VG_MAX_QUEUES]; /* in-band calls that wait for answers, eldest first */
	unsigned calls_at, calls_n;
	bool config_owed;  /* a change message that could not be sent yet */
	bool config_again; /* it changed while no ring ran: front-ends may not heed that */
	struct vg_timer back_retry;

	int inflight_fd;     /* ours, for GET_INFLIGHT_FD */
	size_t inflight_max; /* bytes of it */
	struct vg_vu_inflight_map inflight;
	uint8_t *parked; /* dev->saved of before a stop: see ring start; NULL before the first */

	struct vg_vu_screen *screen; /* NULL: the front-end does not show the picture */

	struct vg_vu_ring ring[VG_MAX_QUEUES];
};

static inline bool vg_vu_has(const struct vg_vu *vu, unsigned protocol_feature)
{
	return vu->protocol >> protocol_feature & 1;
}

/* ---- vhost_user/ring.c -------------------------------------------------- */

void vg_vu_rings_init(struct vg_vu *vu);

/** vg_vu_rings_forget - all that the front-end said of its rings; they do not run */
void vg_vu_rings_forget(struct vg_vu *vu);

/** vg_vu_ring_start - let the ring run, if all is there that it needs */
void vg_vu_ring_start(struct vg_vu_ring *r);

void vg_vu_rings_start(struct vg_vu *vu);

/**
 * vg_vu_rings_stop - finish what is in flight of ring @q, or of all rings (VG_VU_ALL), and then
 *                    call @then: perhaps before this returns. r->state tells where a ring stands.
 */
enum { VG_VU_ALL = -2, VG_VU_NONE = -1 };
void vg_vu_rings_stop(struct vg_vu *vu, int q, void (*then)(struct vg_vu *vu));

/** vg_vu_rings_running - whether any runs */
bool vg_vu_rings_running(const struct vg_vu *vu);

/**
 * vg_vu_ring_set_kick - @fd is the ring's from now on; -1: none will come, poll (we do not)
 *
 * Return: 0; -EINVAL: @fd is neither an eventfd nor a pipe nor a socket.
 */
int vg_vu_ring_set_kick(struct vg_vu_ring *r, int fd);
/** vg_vu_ring_set_call - the same for calls; what was used before is told of */
void vg_vu_ring_set_call(struct vg_vu_ring *r, int fd);
/** vg_vu_ring_set_err - the same for errors */
void vg_vu_ring_set_err(struct vg_vu_ring *r, int fd);

/** vg_vu_ring_kick - chains may be there: an in-band kick */
void vg_vu_ring_kick(struct vg_vu_ring *r);

/** vg_vu_rings_show - what lists show of the queues of context @ctx; in that context */
void vg_vu_rings_show(struct vg_vu *vu, const struct vg_ctx *ctx, struct vg_record_map *map);

/** vg_vu_ring_base - r->state as GET_VRING_BASE tells it */
uint32_t vg_vu_ring_base(const struct vg_vu_ring *r);
/** vg_vu_ring_set_base - r->state from what SET_VRING_BASE says */
void vg_vu_ring_set_base(struct vg_vu_ring *r, uint32_t num);

/** vg_vu_notify, vg_vu_errors - tell the front-end: chains are used; a ring is broken */
void vg_vu_notify(struct vg_port *port, unsigned q);
void vg_vu_errors(struct vg_vu *vu);

/* ---- vhost_user/back.c -------------------------------------------------- */

void vg_vu_back_init(struct vg_vu *vu);
/** vg_vu_back_set - @fd is the port's from now on; -1: close */
void vg_vu_back_set(struct vg_vu *vu, int fd);
/** vg_vu_back_call - in-band call of ring @q */
void vg_vu_back_call(struct vg_vu *vu, unsigned q);
/** vg_vu_back_config_changed - BACKEND_CONFIG_CHANGE_MSG */
void vg_vu_back_config_changed(struct vg_vu *vu);

/* ---- vhost_user/screen.c ------------------------------------------------ */

/**
 * vg_vu_screen_new - the front-end shows the picture of its device, which has one (ops->screen)
 * @sock: a stream socket, the port's from now on; in the place of another
 *
 * Return: 0 or -ENOMEM.
 */
int vg_vu_screen_new(struct vg_vu *vu, int sock);

/** vg_vu_screen_drop - it does not any more; idempotent */
void vg_vu_screen_drop(struct vg_vu *vu);

/* ---- vhost_user/inflight.c ---------------------------------------------- */

/** vg_vu_inflight_new - memory for the largest record there can be. Return: 0 or negative errno. */
int vg_vu_inflight_new(struct vg_vu *vu);
void vg_vu_inflight_free(struct vg_vu *vu);

/** vg_vu_inflight_get - answer GET_INFLIGHT_FD: fill in @d; no ring runs. Return: 0, negative errno */
int vg_vu_inflight_get(struct vg_vu *vu, struct vg_vu_inflight *d, struct vg_err *err);

/** vg_vu_inflight_set - use the record in @fd, which stays the caller's; no ring runs */
int vg_vu_inflight_set(struct vg_vu *vu, const struct vg_vu_inflight *d, int fd,
		       struct vg_err *err);

/** vg_vu_inflight_drop - use none */
void vg_vu_inflight_drop(struct vg_vu *vu);

/** vg_vu_inflight_of - record of queue @q, of size @num; NULL: none */
void *vg_vu_inflight_of(struct vg_vu *vu, unsigned q, uint32_t num);

/** vg_vu_inflight_fresh - whether a record says nothing yet */
bool vg_vu_inflight_fresh(const void *record);

/** vg_vu_inflight_wipe - nothing of queue @q is in flight, and where it begins is not known */
void vg_vu_inflight_wipe(struct vg_vu *vu, unsigned q);

/** vg_vu_inflight_save - dev->saved changed */
void vg_vu_inflight_save(struct vg_vu *vu);
/** vg_vu_inflight_saved - what a predecessor saved, dev->saved_size bytes. Return: whether there is. */
bool vg_vu_inflight_saved(struct vg_vu *vu, uint8_t *saved);

#endif /* VG_VHOST_USER_INT_H */
