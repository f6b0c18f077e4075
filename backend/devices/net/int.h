/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - shared by the files of the network device; nobody else includes it
 *
 *	net.c		the device: configuration, features, life
 *	control.c	the control queue
 *	tx.c		from the guest to the link
 *	rx.c		from the link to the guest
 *	header.c	what a guest says of a frame, checked
 *	filter.c	which frames a guest wants
 *	hash.c		what a packet hashes to
 *	rate.c		how much a guest may send
 *	address.c	from which addresses of IP
 *	place.c		what the supervisor adds to its configuration
 *	script.c	the script that puts its interface where it belongs
 *	tap.c, macvtap.c, tapfd.c, host.c
 *			the link: a TAP, or a macvtap, and the host's network around it
 */
#ifndef VG_NET_INT_H
#define VG_NET_INT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/capture.h"
#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/devices/devices.h"
#include "backend/devices/net/address.h"
#include "backend/devices/net/filter.h"
#include "backend/devices/net/hash.h"
#include "backend/devices/net/header.h"
#include "backend/devices/net/link.h"
#include "backend/devices/net/rate.h"
#include "backend/devices/net/wire.h"
#include "backend/memory/data.h"

enum {
	NET_BATCH = 64, /* chains taken in one go */
	/* Frames of a pair that the link may have at once: the most that one submission carries. */
	NET_TX_MAX = 128,
	/* The same where the rate is limited: what it may be off by. */
	NET_TX_PAID = 8,
	/* Header included: a frame that is not longer is copied, and its chain given back at once. */
	NET_TX_COPY = 16 << 10,
	NET_TX_IOV = 24, /* Linux' driver has 19 segments at most; more are allocated */
	/* Header included: whether a frame is one that is read to where the guest has it. */
	NET_RX_LARGE = 16 << 10,
	NET_RX_IOV = 80, /* buffers for one: 47 of Linux' smallest */
	/* Frames of one pair that others may have to deliver: what is left reads on, whatever they do. */
	NET_RX_LENT = VG_LIMIT_NET_RX_SLOTS / 2,
};

/* By how much the guest's header is longer than the link's, where hashes are reported. */
#define NET_HASH_ROOM (NET_HDR_HASH - NET_HDR)

/* What CTRL_GUEST_OFFLOADS can switch, 5.1.6.5.6.1. */
#define NET_GUEST_OFFLOADS                                                           \
	(VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | VG_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | \
	 VG_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | VG_FEATURE(VIRTIO_NET_F_GUEST_ECN) |  \
	 VG_FEATURE(VIRTIO_NET_F_GUEST_USO4) | VG_FEATURE(VIRTIO_NET_F_GUEST_USO6))

struct net;
struct net_pair;

/* Frames that were not passed on, by reason; a context writes, any reads. */
struct net_counters {
	uint64_t tx_short, tx_long, tx_csum, tx_gso; /* enum net_verdict */
	uint64_t tx_spoofed;			     /* with another sender's address */
	uint64_t tx_refused;			     /* the host's kernel found fault with them */
	uint64_t tx_down;			     /* the interface is down, or gone */
	uint64_t rx_filtered;
	uint64_t rx_small;  /* larger than all buffers that the driver can have */
	uint64_t rx_failed; /* reads of the link that failed: it is gone */
	/* For another queue, which does not run, or takes nothing. */
	uint64_t rx_unsteered;
};

static inline void net_count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/* A frame of the guest's. */
struct net_tx_req {
	struct vg_io io;
	struct net_pair *pair;
	struct net_tx_req *next; /* free list, or done list */
	struct vg_chain *chain;	 /* NULL: given back */
	size_t len;		 /* of the frame, with its header */
	uint8_t *copy;		 /* NET_TX_COPY bytes: where a frame of no more is */
	struct vg_data data;	 /* of a longer one */
	bool has_data;
	bool writing; /* the link has it */
	struct iovec *iov;
	struct iovec inl[NET_TX_IOV];
	uint8_t head[NET_HDR_HASH +
		     NET_HEAD]; /* of what lies in guest memory: sent as it was checked */
};

/* A read of the link. */
struct net_rx_slot {
	struct vg_io io;
	struct net_pair *pair;
	struct net_rx_slot *next;
	uint8_t *
		buf; /* VG_LIMIT_NET_RX_BYTES, of which the link fills what is behind NET_HASH_ROOM */
	struct iovec iov;
	uint32_t len; /* bytes read, header included */
	uint32_t hash;
	uint16_t report;     /* VIRTIO_NET_HASH_REPORT_*: of what hash is */
	uint16_t to;	     /* the pair that delivers it */
	struct vg_post post; /* on the way there, or back */
};

struct net_tx {
	unsigned q;
	struct net_tx_req *reqs; /* NET_TX_MAX; NULL: it does not run */
	uint8_t *memory;	 /* their copies */
	struct net_tx_req *free, *done, **done_tail;
	unsigned free_n;
	unsigned inflight; /* that the link has */
	struct vg_deferred complete;
	struct vg_batch *batch;
	struct vg_bounce_waiter waiter;
	bool starved;	      /* bounce memory, requests or the engine's room ran out */
	struct vg_timer paid; /* runs while the rate forbids to send */
	bool stopping;
};

struct net_rx {
	unsigned q;
	struct net_rx_slot *slots; /* VG_LIMIT_NET_RX_SLOTS; NULL: it does not run */
	uint8_t *memory;
	struct net_rx_slot *free, *ready, **ready_tail, *written;
	unsigned inflight;	      /* reads under way */
	unsigned lent;		      /* frames that another pair delivers */
	struct net_rx_slot *sentinel; /* the read that waits for the next frame; NULL: none does */
	unsigned burst, got;	 /* reads that do not wait: posted, and of all that found a frame */
	bool dry;		 /* one found none */
	unsigned calm, patience; /* see adapt() */
	bool cannot_burst;	 /* this kernel's link cannot be asked not to wait */
	unsigned large;	 /* frames until reading into guest memory is given up; 0: it is not done */
	uint64_t direct; /* frames that were so read */
	struct {
		unsigned n;    /* iovecs; 0: the sentinel reads into its slot */
		uint32_t held; /* vg_mem_ops.hold */
		struct iovec iov[NET_RX_IOV];
		uint8_t head[NET_HDR]; /* the link's header */
	} aim;
	bool untold;		 /* the driver of some of them */
	struct vg_deferred tell; /* tells it, at its second run */
	bool submitted;		 /* it has had its first */
	struct vg_chain **held;	 /* a ring of the queue's size: popped, oldest first */
	unsigned held_head, held_n;
	uint64_t held_bytes;
	unsigned held_descs;
	struct vg_deferred deliver;
	struct vg_timer again; /* the link failed */
	struct vg_batch *batch;
	bool stopping;
};

/* 5.1.6.5.5.1, 5.1.6.5.6.1: how packets are hashed, and where they go then. */
struct net_rss {
	uint32_t types;
	uint8_t key_len;
	bool steers; /* else the link chooses the queue */
	uint8_t key[NET_HASH_KEY];
	uint16_t mask, unclassified;
	uint16_t table[NET_RSS_TABLE]; /* of pairs; mask + 1 of them count */
};

struct net_pair {
	struct net *net;
	struct vg_dev *dev;
	unsigned index;
	int fd; /* of the link */
	struct net_tx tx;
	struct net_rx rx;
	struct net_filter filter; /* this context's copy */
	struct net_coal
		coal[2];      /* likewise: of its receive and its transmit queue; our byte order */
	struct net_rss rss;   /* likewise */
	struct net_hash hash; /* of its key and types */
	struct net_addresses addresses; /* likewise */
	struct net_counters n;
	struct vg_capture capture; /* of what passes, both ways */
};

/* What a successor must know; dev->saved. */
struct net_saved {
	uint8_t valid;	   /* the driver has started the device */
	uint8_t hw[6];	   /* its address before the driver set another */
	uint8_t announced; /* it has acknowledged that */
	uint16_t active;
	uint16_t mtu;	   /* that it was told, and must not be told otherwise (5.1.4.1) */
	uint64_t offloads; /* bits of VIRTIO_NET_F_GUEST_* in effect */
	struct net_filter filter;
	struct net_coal coal_all[2]; /* of queues that start anew: receive, transmit */
	struct net_coal coal[NET_PAIRS_MAX * 2];
	struct net_rss rss;
};

struct net {
	struct vg_dev *dev;
	struct net_link *link;
	unsigned n_pairs;
	uint8_t mac[6];	 /* as configured */
	atomic_uint mtu; /* the link's */
	bool lent;	 /* the interface is somebody's: `tap=` */
	struct vg_rate rate;
	atomic_bool antispoof;
	uint32_t speed;	 /* Mbit/s */
	bool plugged;	 /* `link=up` */
	atomic_bool cut; /* no frame passes, and it is for us to drop them */
	bool gone;	 /* the link's interface is */
	bool lost;	 /* its bridge is gone */
	struct net_saved s;
	unsigned control_q;    /* its index depends on MQ and RSS, 5.1.2 */
	unsigned hdr;	       /* bytes of the guest's header; not changed while queues run */
	struct vg_batch batch; /* of the control queue */
	struct net_pair pair[NET_PAIRS_MAX];
};

/** net_pair_of - the pair that queue @q belongs to, which is not the control queue; or NULL */
static inline struct net_pair *net_pair_of(struct net *net, unsigned q)
{
	return q != net->control_q && q / 2 < net->n_pairs ? &net->pair[q / 2] : NULL;
}

/* ---- net.c -------------------------------------------------------------- */

/** net_filter_changed - net->s.filter is another one: tell all pairs */
void net_filter_changed(struct net *net);

/** net_rss_changed - net->s.rss is another one: tell all pairs */
void net_rss_changed(struct net *net);

/** net_coal_changed - net->s.coal of queue @q is another one: tell its pair */
void net_coal_changed(struct net *net, unsigned q);

/** net_save - net->s was changed */
void net_save(struct net *net);

/** net_apply_offloads - the link may give what net->s.offloads says. Return: 0, or negative errno. */
int net_apply_offloads(struct net *net);

/* ---- control.c ---------------------------------------------------------- */

/** net_control_take - answer what is in the control queue */
void net_control_take(struct net *net);

/* ---- tx.c, rx.c: as struct vg_device_ops has them, for one pair --------- */

void net_tx_start(struct net_pair *p);
void net_tx_take(struct net_pair *p);
void net_tx_stop(struct net_pair *p);
void net_rx_start(struct net_pair *p);
void net_rx_take(struct net_pair *p);
void net_rx_stop(struct net_pair *p);

#endif /* VG_NET_INT_H */
