/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - what the parts of the gateway share
 *
 *	gateway.c  the device: opening, configuration space, life
 *	types.c    what the gateway knows of each of VIRTIO's devices
 *	link.c     the daemon's socket: messages, answers, and its loss
 *	connect.c  where that socket comes from
 *	queue.c    a queue: requests of the guest's, requests to the daemon
 *	share.c    memory of the guest's that the daemon has, too
 *	any.c      the device gateway: a daemon that its user names
 *	program.c  devices whose daemon is a part of them: fs, and disks of other formats
 *	kernel.c   devices whose daemon is vgrantd's own: what the kernel serves, and vDPA
 *	vhost.c    that daemon; what it and vhost_kinds.c share is in vhost_int.h
 *	storage.c  the addresses of disks that are no files of this machine
 *	ring.c     the driver's side of a split ring, and bounce memory beside it
 */
#ifndef VG_GATEWAY_INT_H
#define VG_GATEWAY_INT_H

#include <linux/virtio_ring.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/virtio/device.h"
#include "backend/wire/vhost_user.h"

enum {
	GW_QUEUES = VG_LIMIT_GATEWAY_QUEUES,
	GW_SLOTS = VG_QUEUE_SIZE,    /* requests of a queue that the daemon has */
	GW_RING = 2 * GW_SLOTS,	     /* descriptors: each has two at most */
	GW_RING_BYTES = 16384,	     /* of memory for a ring's three parts */
	GW_PAGE = 4096,		     /* bounce memory is given out by it */
	GW_CONFIG = 256,	     /* bytes of a configuration space, at most */
	GW_WRITABLE = 8,	     /* of it, bytes that a driver may write, at most */
	GW_EXPECTED = GW_QUEUES * 8, /* answers of the daemon's that may be missing */
	GW_SHARES = VG_LIMIT_POOLS,
	GW_DIRECT = 64,	       /* segments of a request of which some are where they are: bits */
	GW_DIRECT_LEAST = 512, /* bytes of such a segment */
	GW_WHY = 160,	       /* bytes of a sentence about a daemon */
};

/* How long one of them may be missing, and how long requests of a queue that is to stop; tests have less. */
extern int64_t gw_patience_ns;

/* Where the daemon finds the memory that it is given: front-end's and guest's addresses are the same. */
#define GW_BASE (1ULL << 30)
#define GW_MEMORY \
	((size_t)GW_QUEUES * GW_RING_BYTES + VG_LIMIT_GATEWAY_BYTES) /* bytes of all of it */

/* ---- types.c ------------------------------------------------------------ */

/* How many queues a configuration space says that there are, beside those that are always there. */
struct gw_count {
	uint16_t at;
	uint8_t size; /* of the little-endian field: 0 (nothing is said), 2 or 4 bytes */
	bool always;  /* or else with feature @bit alone */
	uint8_t bit;
};

struct gw_type {
	const char *name;  /* VIRTIO 1.3 section 5, in short */
	uint16_t id;	   /* as listed there */
	uint16_t queues;   /* without those that are counted */
	uint16_t config;   /* bytes of the configuration space */
	uint16_t writable; /* where it is, n_writable bytes of it, that a driver may write */
	uint16_t n_writable;
	struct gw_count count;
	uint64_t withheld; /* features that cannot be carried */
	uint64_t unsaid;   /* those that mean nothing where the daemon has no configuration space */
	/* Bytes at the end of what the device writes that are a status: there is no gap before them that a
	 * daemon's used length could tell of (2.7.8.2), so they come back however short that is. */
	uint8_t tail;
	bool whole; /* all of it comes back: there is a daemon that says a length of 0, always */
	bool again; /* a request may be carried out twice */
	/* What tells the driver that a request has failed; NULL: nothing does. */
	const struct gw_failure *failure;
	const char *never; /* why it cannot be carried; NULL: it can */
};

enum { GW_ANSWER = 16 };

/* Bytes at the begin, or the end, of what the device writes; @echo: 8 bytes of the request that begin
 * there at @from stand in them at @to. */
struct gw_failure {
	uint8_t bytes[GW_ANSWER];
	uint8_t n;
	bool at_end;
	bool echo;
	uint8_t from, to;
};

/**
 * gw_type_find - by name, or by number
 * @spare: filled in and returned for a number that has no row
 *
 * Return: NULL, with a sentence: there is none of that name, or it can never be carried.
 */
const struct gw_type *gw_type_find(const char *text, struct gw_type *spare, struct vg_err *err);

/* ---- ring.c ------------------------------------------------------------- */

/* A request that the daemon has. */
struct gw_slot {
	struct vg_chain *chain; /* NULL: it is free */
	bool there;		/* the daemon has it: added, and not given back */
	uint32_t page, n_pages; /* of the queue's bounce memory */
	uint8_t *out, *in;	/* in it */
	uint64_t direct;	/* bit i: segment i has no copy there; the daemon has its memory */
	uint8_t *table; /* behind those, where @direct is not 0: the request's descriptors */
};

struct gw_ring {
	uint8_t *base;	 /* GW_RING_BYTES: descriptors, available ring, used ring */
	uint64_t addr;	 /* of base, for the daemon */
	uint8_t *bounce; /* n_pages */
	uint64_t bounce_addr;
	uint32_t n_pages;

	/* Ours alone: what lies in base can be overwritten by the daemon, and is never read back. */
	uint64_t *busy; /* a bit for each page */
	uint32_t from;	/* where the next search begins */
	uint16_t avail_idx, used_idx;
	uint16_t order[GW_RING]; /* which slot each entry of the available ring has */
	uint16_t free[GW_SLOTS], n_free;
	struct gw_slot slot[GW_SLOTS];
};

/** gw_ring_init - a new ring, and its memory. Return: 0 or -ENOMEM. gw_ring_fini() frees it. */
int gw_ring_init(struct gw_ring *r, uint8_t *base, uint64_t addr, uint8_t *bounce,
		 uint64_t bounce_addr, uint32_t n_pages);
void gw_ring_fini(struct gw_ring *r);

/** gw_ring_start - empty, all zero; nothing is with the daemon */
void gw_ring_start(struct gw_ring *r);

/** gw_ring_desc, gw_ring_avail, gw_ring_used - addresses, as SET_VRING_ADDR says them */
uint64_t gw_ring_desc(const struct gw_ring *r);
uint64_t gw_ring_avail(const struct gw_ring *r);
uint64_t gw_ring_used(const struct gw_ring *r);

/** gw_ring_out - requests that have a slot */
static inline unsigned gw_ring_out(const struct gw_ring *r)
{
	return GW_SLOTS - r->n_free;
}

/**
 * gw_ring_take - a slot and bounce memory for @c; what the daemon writes there is zero until it does
 * @direct: a bit for each segment that the daemon has the memory of; 0 where there are more than GW_DIRECT
 *
 * Return: the slot; -ENOBUFS: not before others have come back; -E2BIG: never.
 */
int gw_ring_take(struct gw_ring *r, struct vg_chain *c, uint64_t direct);

/** gw_ring_give_back - @slot and its memory are free */
void gw_ring_give_back(struct gw_ring *r, unsigned slot);

/** gw_ring_add - make @slot available; not before gw_ring_publish() */
void gw_ring_add(struct gw_ring *r, unsigned slot);

/** gw_ring_publish - the daemon sees what was added. Return: whether it wants to be notified. */
bool gw_ring_publish(struct gw_ring *r);

/**
 * gw_ring_used_next - the next request that the daemon is done with
 * @slot: which; stays taken
 * @len: bytes that it says it wrote, no more than there is room for
 *
 * Return: 1; 0: none; -EPROTO: nonsense, with a sentence.
 */
int gw_ring_used_next(struct gw_ring *r, unsigned *slot, uint32_t *len, struct vg_err *err);

/* ---- share.c ------------------------------------------------------------ */

struct gateway;

enum gw_share_state {
	GW_SHARE_NONE,
	GW_SHARE_ASKED, /* the daemon was told of it, and has not answered */
	GW_SHARE_THERE,
	GW_SHARE_LEAVES, /* it was told that it goes, and has not answered */
};

/* dev->saved[0] */
enum {
	GW_SAVED_CONFIG =
		1,	   /* the driver has written to the configuration space: what, is behind */
	GW_SAVED_TOLD = 2, /* the daemon was told of memory, and has not answered */
};

/* Memory that the daemon has, too. */
struct gw_share {
	enum gw_share_state state;
	struct vg_shared what;
};

/** gw_share_greeted - the daemon has said what it can: will anything be lent to it? @slots: regions it takes */
void gw_share_greeted(struct gateway *gw, uint64_t slots);

/**
 * gw_share_segments - which of @c's segments are in memory that the daemon has
 * @bytes: gets how many they are together
 *
 * Lends what it has not: it has it some time later. Return: a bit for each.
 */
uint64_t gw_share_segments(struct gateway *gw, struct vg_mem *mem, const struct vg_chain *c,
			   uint64_t *bytes);

/** gw_share_added, gw_share_removed - the daemon's answer about memory @i */
void gw_share_added(struct gateway *gw, unsigned i, bool refused);
void gw_share_removed(struct gateway *gw, unsigned i);

/** gw_share_end - nothing refers to it any more: take all back. Return: whether the daemon is waited for. */
bool gw_share_end(struct gateway *gw);

/** gw_share_lost - the daemon is gone, or as good as */
void gw_share_lost(struct gateway *gw);

/* ---- queue.c ------------------------------------------------------------ */

struct gw_queue {
	struct gateway *gw;
	unsigned index;
	int kick, call;	       /* eventfds */
	struct vg_watch watch; /* of call */
	struct gw_ring ring;
	bool running;	       /* the daemon has the ring */
	bool stopping;	       /* it has been asked where it stands */
	bool based;	       /* and has said so: it takes nothing more */
	bool starved;	       /* a request waits for memory or a slot */
	bool parting;	       /* it has stopped, but for what the daemon has been lent */
	struct vg_timer drain; /* runs while it still has what it had taken */
};

/** gw_queue_open - eventfds and memory. Return: 0 or negative errno. */
int gw_queue_open(struct gateway *gw, unsigned q);
void gw_queue_close(struct gw_queue *gq);

void gw_queue_start(struct gw_queue *gq);
void gw_queue_take(struct gw_queue *gq);
void gw_queue_stop(struct gw_queue *gq);

/** gw_queue_based - the daemon's answer to GET_VRING_BASE: the next that it would take */
void gw_queue_based(struct gw_queue *gq, uint32_t base);

/** gw_queue_lost - the daemon is gone */
void gw_queue_lost(struct gw_queue *gq);

/** gw_queue_part - the daemon has nothing of the guest's any more */
void gw_queue_part(struct gw_queue *gq);

/* ---- link.c ------------------------------------------------------------- */

struct gw_link {
	int sock; /* -1: it is lost */
	int back,
		back_theirs; /* of the daemon's own requests, our end and its; -1: there is none */
	struct vg_watch watch, back_watch;
	struct vg_vu_reader in, back_in;
	uint64_t features, protocol; /* the daemon's; of protocol features, those of both */
	bool shared;		     /* it has the memory */
	struct {
		uint32_t request;
		unsigned q;
	} expected[GW_EXPECTED]; /* in their order */
	unsigned first, n;
	struct vg_timer patience;
	char why[GW_WHY]; /* why it was lost; "": it was not */
};

/** gw_link_open - connect; with privileges. Return: 0, or negative errno with a sentence. */
int gw_link_open(struct gateway *gw, struct vg_err *err);
void gw_link_close(struct gateway *gw);

/**
 * gw_link_greet - learn what the daemon is: features, queues, configuration
 * @queues: gets how many it has; 0: it does not say
 *
 * Waits, GW_PATIENCE_S at most for each answer: before anything is served. Return: 0, or negative
 * errno with a sentence.
 */
int gw_link_greet(struct gateway *gw, unsigned *queues, struct vg_err *err);

/** gw_link_attend - from now on it is heard by the loop */
void gw_link_attend(struct gateway *gw);

/** gw_lose - hang up: the daemon is gone, or says nonsense; the worker that comes next finds another */
void gw_lose(struct gateway *gw, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline bool gw_is_lost(const struct gw_link *l)
{
	return l->sock < 0;
}

/* Messages. An error is the loss of the daemon. */
void gw_say_features(struct gateway *gw, uint64_t features);
void gw_say_memory(struct gateway *gw);
void gw_say_share(struct gateway *gw, unsigned i, bool goes);
void gw_say_ring(struct gw_queue *gq);
void gw_ask_base(struct gw_queue *gq);
void gw_say_config(struct gateway *gw, uint32_t off, const uint8_t *bytes, uint32_t len);
void gw_ask_config(struct gateway *gw);

/* ---- connect.c ---------------------------------------------------------- */

/** gw_connect - to a daemon's socket, without waiting. Return: a descriptor, or negative errno. */
int gw_connect(const char *path, struct vg_err *err);

/* ---- gateway.c ---------------------------------------------------------- */

struct gateway {
	struct vg_dev *dev;
	const struct gw_type *type;
	struct gw_type spare; /* of a type that has no row */
	char socket[108];
	char tag[36];	     /* of fs */
	unsigned max_queues; /* as configured */
	struct gw_link link;
	int memfd;
	uint8_t *memory;   /* GW_MEMORY bytes */
	uint64_t withheld; /* features that the daemon has, and that are not offered */
	uint8_t config[GW_CONFIG];
	uint8_t first[GW_WRITABLE]; /* what a driver may write, as it was before one did */
	bool through;		    /* a disk's daemon keeps nothing to itself */
	bool asked;		    /* the daemon, for its configuration */
	bool ask_again;
	unsigned lost_s;
	struct vg_ratelimit log;
	bool lends;	   /* memory of the guest's, to a daemon that can be told of it */
	unsigned n_shares; /* at most */
	uint64_t uncopied; /* bytes */
	struct gw_share share[GW_SHARES];
	struct gw_queue queue[GW_QUEUES];
};

/* What a gateway is made from. */
struct gw_spec {
	const char *type, *socket;
	const char *tag; /* NULL: the daemon says it */
	unsigned queues; /* at most */
	bool writeback;	 /* of a disk: see gateway.c */
	bool lends;	 /* the daemon may have the guest's own memory: see share.c */
};

/* ---- program.c ------------------------------------------------------------ */

/** gw_said - what the user said of @key, or NULL */
const char *gw_said(const struct vg_params *params, const char *key);

/** gw_said_beside - a key of @defs that the user said and that @known, which NULL ends, has not; or NULL */
const char *gw_said_beside(const struct vg_params *params, const struct vg_param_def *defs,
			   const char *const *known);

/** gw_complete - of ops->complete: where the daemon listens follows from whose device it is */
int gw_complete(const struct vg_params *params, const struct vg_place *place, char *spec,
		size_t size);

/** gw_no_socket - Return: -EOPNOTSUPP with a sentence: nobody starts its daemon here */
int gw_no_socket(struct vg_err *err);

/* ---- kernel.c ------------------------------------------------------------- */

extern const struct vg_device_ops vg_vdpa_blk;

/**
 * gw_vdpa_daemon - of ops->daemon: this program, between a gateway and a vDPA device
 * @path: /dev/vhost-vdpa-N
 * @socket: where it listens; NULL: gw_no_socket()
 */
int gw_vdpa_daemon(const char *path, const char *socket, struct vg_daemon *out, struct vg_err *err);

/** gw_vdpa_is - is a disk's target a vDPA device? */
bool gw_vdpa_is(const char *target);

/* ---- storage.c ------------------------------------------------------------ */

/** gw_storage_is - is it an address, or meant for one, and no path? */
bool gw_storage_is(const char *target);

/** gw_storage_is_remote - is it an address that is reached by the network? */
bool gw_storage_is_remote(const char *target);

/**
 * gw_storage_options - what QEMU's block layer calls it: options of --blockdev, driver= first
 *
 * Return: 0, or -EINVAL with a sentence.
 */
int gw_storage_options(const char *target, char *out, size_t size, struct vg_err *err);

/** gw_option - append "KEY=VALUE" to options; a comma in a value is written twice, as QEMU reads it */
void gw_option(char *to, size_t size, const char *key, const char *value);

/* ---- gateway.c ------------------------------------------------------------ */

/** gw_tag_check - Return: 0, or -EINVAL with a sentence; @tag: or NULL */
int gw_tag_check(const char *tag, struct vg_err *err);

/** gw_open - of ops->open; without a socket nobody started its daemon: gw_no_socket() */
int gw_open(struct vg_dev *dev, const struct gw_spec *spec, struct vg_err *err);

/* The rest of ops, for a table of operations: GW_OPS. */
extern const struct vg_sandbox_needs gw_needs;
int gw_op_probe(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err);
void gw_op_close(struct vg_dev *dev);
void gw_op_config_read(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len);
int gw_op_config_write(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len);
int gw_op_resume(struct vg_dev *dev);
int gw_op_start(struct vg_dev *dev);
void gw_op_start_queue(struct vg_dev *dev, unsigned q);
void gw_op_queue_ready(struct vg_dev *dev, unsigned q);
void gw_op_stop_queue(struct vg_dev *dev, unsigned q);
void gw_op_reset(struct vg_dev *dev);
void gw_op_tick(struct vg_dev *dev);
void gw_op_describe(struct vg_dev *dev, char *buf, size_t len);
void gw_op_trouble(struct vg_dev *dev, char *buf, size_t len);

#define GW_OPS                                                                                  \
	.needs = &gw_needs, .probe = gw_op_probe, .close = gw_op_close,                         \
	.config_read = gw_op_config_read, .config_write = gw_op_config_write,                   \
	.start = gw_op_start, .resume = gw_op_resume, .start_queue = gw_op_start_queue,         \
	.queue_ready = gw_op_queue_ready, .stop_queue = gw_op_stop_queue, .reset = gw_op_reset, \
	.tick = gw_op_tick, .describe = gw_op_describe, .trouble = gw_op_trouble

/** gw_config_came - GET_CONFIG's answer, type->config bytes */
void gw_config_came(struct gateway *gw, const uint8_t *bytes);

#endif /* VG_GATEWAY_INT_H */
