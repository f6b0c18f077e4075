/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.h - what a device is, and the virtio state machine around it
 *
 * A device (devices/NAME.c) is one `const struct vg_device_ops` and a line in
 * devices/table.c. It never knows on which port it is.
 *
 * The life of a device in a worker:
 *
 *   open        with all privileges: paths become descriptors. Nothing is parsed
 *               that a guest may have written.
 *   (sandbox)   privileges are dropped for good
 *   probe       what it is: features, queues, configuration
 *   start       the driver set DRIVER_OK; dev->features is final
 *   start_queue for each enabled queue: vg_dev_vq() is there
 *   queue_ready chains may have been made available
 *   stop_queue  take no more; when nothing is in flight any more, say so with
 *               vg_dev_queue_stopped(), at once or later
 *   reset       all queues have stopped: back to the state after probe; idempotent
 *   close
 *
 * A device may have its queues served by several threads (context.h): it says which
 * of them belong together (queue_group). start_queue, queue_ready, stop_queue and
 * what they submit to the queue's loop run in the queue's context; all else, in the
 * main one. A device of one group need not think of it.
 *
 * struct vg_dev holds what every virtio device has: status, features, queues,
 * configuration generation. Ports drive it (port.h).
 */
#ifndef VG_DEVICE_H
#define VG_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/command.h"
#include "backend/base/limits.h"
#include "backend/memory/guestmem.h"
#include "backend/base/log.h"
#include "backend/base/loop.h"
#include "backend/base/needs.h"
#include "backend/base/params.h"
#include "backend/base/trace.h"
#include "backend/virtio/context.h"
#include "backend/virtio/spin.h"
#include "backend/virtio/virtqueue.h"

struct vg_dev;
struct vg_port;
struct vg_render_capsets;
struct vg_screen;

#define VG_MAX_QUEUES 65  /* of one device: 32 pairs and a control queue; see limits.h */
#define VG_QUEUE_SIZE 256 /* largest ring of which nobody says anything */

#define VG_TERMINALS	 VG_LIMIT_CONSOLE_PORTS /* of one device */
#define VG_TERMINAL_NAME 64			/* bytes of a terminal's name, NUL included */

/* VIRTIO 1.3 section 2.1 */
#define VG_STATUS_ACKNOWLEDGE 1u
#define VG_STATUS_DRIVER      2u
#define VG_STATUS_DRIVER_OK   4u
#define VG_STATUS_FEATURES_OK 8u
#define VG_STATUS_NEEDS_RESET 64u
#define VG_STATUS_FAILED      128u

#define VG_FEATURE(bit) (1ULL << (bit))

/* VIRTIO 1.3 section 6: offered by the core on every port that can carry them. */
#define VG_F_INDIRECT_DESC   28
#define VG_F_EVENT_IDX	     29
#define VG_F_VERSION_1	     32
#define VG_F_ACCESS_PLATFORM 33
#define VG_F_RING_PACKED     34
#define VG_F_IN_ORDER	     35
#define VG_F_RING_RESET	     40

/* Where a device is served, and whose it is; the supervisor knows. */
struct vg_place {
	const char *guest;   /* its name; NULL: it is not known */
	uint32_t domid;	     /* of the guest; UINT32_MAX: it is none of Xen's */
	uint32_t id;	     /* the device's number among the guest's */
	const char *bridge;  /* that guests' interfaces are put on where nothing is said */
	const char *runtime; /* vgrantd's folder for what lives as long as it does */
};

/* A program of others that serves a device, behind a gateway; see ops->daemon. */
struct vg_daemon {
	struct vg_command command; /* its stdin is the socket that it listens on, but: */
	bool listens;	     /* it makes that socket itself, in a folder that is made for it */
	const char *socket;  /* that one's path, of the configuration */
	const char *package; /* of Debian's, that has it */
	bool root;	     /* it gives up its rights itself, and needs them before */
	bool network;	     /* what it serves is on another machine */
	bool grants; /* it is given descriptors of the grant device, to map what they lead to */
};

struct vg_device_ops {
	const char *name;   /* first word of a configuration: "blk" */
	const char *help;   /* one line for `vgrant help` */
	uint16_t virtio_id; /* VIRTIO 1.3 section 5; 0: its configuration says it */
	const struct vg_param_def *params;
	const struct vg_sandbox_needs *needs; /* NULL: nothing but what every worker needs */
	/**
	 * check - what its table cannot say of @params: that a value means something
	 *
	 * Opens nothing and may be asked anywhere (`vgrant check`), and is, before open(). A sentence
	 * begins with the key. NULL: the table says it all. Return: 0, or negative errno with one.
	 */
	int (*check)(const struct vg_params *params, struct vg_err *err);
	/**
	 * as - whose operations a device of this configuration has, in the place of these; NULL: these
	 *
	 * One name, one table of keys, served by another part of ours. NULL op: these, always.
	 */
	const struct vg_device_ops *(*as)(const struct vg_params *params);
	/**
	 * daemon - in the helper "daemon" (daemon/group.c): the program that serves it
	 * @params: completed
	 *
	 * Return: 0, or negative errno with a sentence. NULL: none does.
	 */
	int (*daemon)(const struct vg_params *params, struct vg_daemon *out, struct vg_err *err);
	/**
	 * may_open - in the supervisor: may a device of this configuration have the file @name?
	 *
	 * For what a worker finds out in its sandbox: a backing file. Whoever asks may have been
	 * taken over: the configuration alone decides. NULL: none. Return: 0, or negative errno
	 * with a sentence.
	 */
	int (*may_open)(const struct vg_params *params, const char *name, bool write,
			struct vg_err *err);

	/**
	 * lend - in the supervisor: make what a worker in its sandbox asks for, with vg_dev_ask()
	 * @what: a word of the device's own, that does not begin with a slash
	 *
	 * For what is needed anew: a socket on an interface that came back. Whoever asks may have
	 * been taken over: what is made follows from the configuration alone, and must be harmless
	 * in its hands. Does not wait. NULL: nothing. Return: a descriptor, the caller's, or
	 * negative errno with a sentence.
	 */
	int (*lend)(const struct vg_params *params, const char *what, struct vg_err *err);
	/**
	 * given - the answer to vg_dev_ask(), between turns of the loop
	 * @fd: the device's from now on; or negative errno, and @why says a sentence
	 */
	void (*given)(struct vg_dev *dev, const char *what, int fd, const char *why);

	/**
	 * complete - in the supervisor: add to @spec what follows from where the device is
	 * @params: of @spec, which may have mistakes; they are for open to tell
	 * @spec: @size bytes, with room behind the text; NULL op: there is nothing to add
	 *
	 * Return: 0, or negative errno; @spec is whole then, and perhaps not complete.
	 */
	int (*complete)(const struct vg_params *params, const struct vg_place *place, char *spec,
			size_t size);

	/**
	 * afterwards - in the supervisor: what is to be run when a worker has ended, however it did
	 * @params: as that worker has them, completed
	 * @ended: it has ended; or else it is about to be started
	 * @out: gets the command, whose name is the interface's, or what else the device made
	 *
	 * Asked twice of each worker that can be started, and its answer is remembered in a file between:
	 * of one that a vgrantd was killed with, the next one runs it. NULL: nothing.
	 * Return: 1: *@out; 0: nothing is to be done; -EBUSY, with a sentence: what it would be about is
	 * there, and is not this worker's, not yet or not any more (ask again); or another negative errno
	 * with one.
	 */
	int (*afterwards)(const struct vg_params *params, bool ended, struct vg_command *out,
			  struct vg_err *err);

	/**
	 * open - make dev->priv from the configuration; still privileged
	 *
	 * Sets dev->n_groups, and may set what probe sets.
	 * Return: 0, or negative errno and a sentence for the user.
	 */
	int (*open)(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err);
	/**
	 * probe - in the sandbox: find out what it is; NULL: open has said it
	 *
	 * Sets dev->device_features, dev->n_queues, dev->queue_size_max or each queue's max and
	 * chain_max, dev->config_size, dev->saved_size, and dev->virtio_id where it is not the
	 * table's. Return: 0, or negative errno and a sentence; then close is called.
	 */
	int (*probe)(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err);
	void (*close)(struct vg_dev *dev);

	/* Copy @len config bytes at @off; the core has checked the range. Little-endian. */
	void (*config_read)(struct vg_dev *dev, uint32_t off, void *buf, uint32_t len);
	/* NULL: nothing is writable. Return 0, or -EPERM when this field is not. */
	int (*config_write)(struct vg_dev *dev, uint32_t off, const void *buf, uint32_t len);

	/* NULL: any subset of what was offered will do. Return 0 or -EINVAL. */
	int (*features_ok)(struct vg_dev *dev, uint64_t features);
	int (*start)(struct vg_dev *dev); /* NULL allowed; an error sets NEEDS_RESET */
	void (*start_queue)(struct vg_dev *dev, unsigned q); /* NULL allowed */
	void (*queue_ready)(struct vg_dev *dev, unsigned q);
	void (*stop_queue)(struct vg_dev *dev, unsigned q);
	/* Queue @q was reset alone, and has stopped: what the driver set of it is void. In the main
	 * context; what it changes of dev->saved is recorded. NULL allowed. */
	void (*forget_queue)(struct vg_dev *dev, unsigned q);
	/* Which group queue @q belongs to, below dev->n_groups; NULL: all to group 0. */
	unsigned (*queue_group)(const struct vg_dev *dev, unsigned q);
	void (*reset)(struct vg_dev *dev);
	/* Take up dev->saved of a predecessor, whose queues go on. NULL: nothing to do. Negative
	 * errno: it cannot; the driver is told to reset the device. */
	int (*resume)(struct vg_dev *dev);

	/* Change a setting while running (`vgrant set`); NULL: nothing can be changed. */
	int (*set)(struct vg_dev *dev, const char *key, const char *value, struct vg_err *err);
	/* The device's other process (daemon/group.h) is there, or another one in its place: @sock, the
	 * device's now, leads to it. NULL: it has none. */
	void (*peer)(struct vg_dev *dev, int sock);
	/* Whoever runs the guest shows the device's picture, too: @s (displays/screen.h), in the place of
	 * another; NULL: not any more, and @s is gone. Main context. NULL op: it has no picture. */
	void (*screen)(struct vg_dev *dev, struct vg_screen *s);
	/**
	 * terminals - in the supervisor: the pseudo-terminals of a device of this configuration
	 * @names: gets what each is called, for people; a name has no blanks
	 *
	 * They are the supervisor's, and so outlive workers. NULL: none. Return: how many, at most
	 * VG_TERMINALS.
	 */
	unsigned (*terminals)(const struct vg_params *params,
			      char names[VG_TERMINALS][VG_TERMINAL_NAME]);
	/* The device's side of terminal @i, @fd, which does not wait; the device's from now on. */
	void (*terminal)(struct vg_dev *dev, unsigned i, int fd);
	/* Memory that outlives workers, @fd, the device's from now on: what it holds is a predecessor's,
	 * or zero. Told before the terminals. NULL: it needs none. */
	void (*memory)(struct vg_dev *dev, int fd);
	size_t memory_size; /* bytes of it for each terminal */
	/* Device's own counters as "name=value ..." for `vgrant list`; NULL: none. */ void (
		*describe)(struct vg_dev *dev, char *buf, size_t len);
	/* What is wrong with what it stands on, a sentence for people, or ""; asked beside describe. NULL:
	 * nothing is told. */
	void (*trouble)(struct vg_dev *dev, char *buf, size_t len);
	/* It writes lines to dev->trace, for `vgrant trace`. */
	bool traces;
	/* Send copies of packets to @fd, the device's from now on (base/capture.h), for `vgrant
	 * capture`; NULL: it has none. */
	void (*capture)(struct vg_dev *dev, int fd);
	/* The other process that its devices have, a row of daemon/group.c; NULL: none. */
	const char *helper;
	/**
	 * draws - does a device of this configuration need a renderer, too (renderers/renderer.h)?
	 *
	 * NULL: none does. renderer() tells of one, which can @caps: @sock, the device's from now on;
	 * again of each that is started in the place of another.
	 */
	bool (*draws)(const struct vg_params *params);
	void (*renderer)(struct vg_dev *dev, int sock, const struct vg_render_capsets *caps);
	/* It takes keys and pointers from the display of the guest's other device: peer() again. */
	bool listens;
	/**
	 * grants - how many pages does a driver grant to a device of this configuration, when it is busy?
	 *
	 * NULL: a ring of VG_QUEUE_SIZE. See vg_device_grants().
	 */
	uint32_t (*grants)(const struct vg_params *params);
	/* It has a share of long_pages and host_bytes (struct vg_budget). */
	bool keeps;
	/*
	 * Is what it stands on as it was? Privileged to nothing; NULL: it does not ask. Called once a
	 * second; where the kernel tells (daemon/news.h), when it has told, and once a minute.
	 */
	void (*tick)(struct vg_dev *dev);
	/* What tick() looks at: a file or block device, by its path, which is @params' (NULL: none), or
	 * network interfaces. */
	const char *(*looks_at)(const struct vg_params *params);
	bool looks_at_links;
};

/** vg_devices - all devices, NULL-terminated (devices/table.c) */
extern const struct vg_device_ops *const vg_devices[];

/** vg_device_find - by name or NULL */
const struct vg_device_ops *vg_device_find(const char *name);

/** vg_device_of - who serves a device of this configuration (ops->as); NULL: there is no such device */
const struct vg_device_ops *vg_device_of(const struct vg_params *params);

/**
 * vg_ring_grants - pages that a driver grants for a ring of @size entries when it is busy
 *
 * A page for each entry, and the ring's own three parts: a split ring, the larger kind, has 26 bytes an
 * entry and 12 beside (VIRTIO 1.3, section 2.7). Indirect tables may make it more, small buffers in
 * one page less.
 */
static inline uint32_t vg_ring_grants(uint32_t size)
{
	return size + (26 * size + 12 + 4095) / 4096 + 2;
}

/** vg_device_grants - of a device with @params, which were checked: its rings, buffers and control page */
static inline uint32_t vg_device_grants(const struct vg_device_ops *ops,
					const struct vg_params *params)
{
	return 1 + (ops->grants ? ops->grants(params) : vg_ring_grants(VG_QUEUE_SIZE));
}

/* Why a request failed. */
enum vg_dev_failure {
	VG_FAILED_REFUSED,     /* it asked for what cannot be, such as what lies behind the end */
	VG_FAILED_UNSUPPORTED, /* the device, or what is below it, cannot do that */
	VG_FAILED_IO,	       /* below: an error */
	VG_FAILED_SPACE,       /* below: no space is left */
	VG_FAILED_SHORT,       /* below: the image is shorter than it was */
	VG_FAILED_GONE,	       /* below: the device is gone */
	VG_FAILURES,
};

enum vg_dev_op { VG_OP_READ, VG_OP_WRITE, VG_OP_FLUSH, VG_OP_OTHER, VG_OPS };

#define VG_LATENCY_BUCKETS 24

/* How long requests took, from when they were taken until they were answered. Bucket 0 counts those of
 * less than 1 us, bucket i those of less than 2^i us, the last all others. */
struct vg_latency {
	uint64_t ns; /* of all together */
	uint64_t count[VG_LATENCY_BUCKETS];
};

/** vg_latency_add - one took @ns */
static inline void vg_latency_add(struct vg_latency *l, int64_t ns)
{
	uint64_t us = ns > 0 ? (uint64_t)ns / 1000 : 0;
	unsigned i = us ? 64 - (unsigned)__builtin_clzll(us) : 0;

	l->ns += ns > 0 ? (uint64_t)ns : 0;
	l->count[i < VG_LATENCY_BUCKETS ? i : VG_LATENCY_BUCKETS - 1]++;
}

/* Counters that `vgrant list` shows; one writer (the worker), any readers. New ones go to the end: a
 * record of before has those that it has. */
struct vg_dev_stats {
	uint64_t requests;	/* completed */
	uint64_t errors;	/* completed with an error status */
	uint64_t bytes_read;	/* to the guest */
	uint64_t bytes_written; /* from the guest */
	uint64_t kicks;		/* notifications received */
	uint64_t interrupts;	/* notifications sent */
	uint64_t faults;	/* times that the guest broke the rules */
	uint64_t resets;
	uint64_t failed[VG_FAILURES]; /* of errors, by kind, where the device knows it */
	struct vg_latency latency[VG_OPS];
};

/* Somebody who waits for queues to stop: see port.h. Zero it, set done. */
struct vg_wait {
	struct vg_wait *next; /* private */
	void (*done)(struct vg_wait *w);
};

/* Notifications that wait for more to tell of: vg_dev_gather(). A queue's, its context's. */
struct vg_gather {
	uint32_t requests, usecs; /* either 0: nothing waits */
	uint64_t published;	  /* requests that were completed at the last flush */
	bool owed;		  /* the driver wants to be told, and was not yet */
	uint64_t owed_from;	  /* requests that had been completed before the first of those */
	struct vg_timer late;	  /* runs while owed */
};

#define VG_PATIENCE 64 /* vg_dev_patience() */

struct vg_queue {
	struct vg_dev *dev;
	unsigned index;
	struct vg_ctx *ctx;
	struct vg_dev_stats *stats; /* its own counters, the context's; never NULL */
	/* set by open or probe */
	uint32_t max;	    /* largest size; 0: dev->queue_size_max */
	uint32_t chain_max; /* segments of a chain, at most VG_CHAIN_MAX; 0: the ring's size */

	/* the driver's: the main context's */
	uint32_t size;		       /* 0: not set */
	uint64_t desc, driver, device; /* guest addresses */
	void *inflight;		       /* record of this queue, or NULL; the port's */
	struct vg_vq_state state;      /* where to start; once stopped: where it stood */
	bool enabled;		       /* set up by the driver */
	bool running;		       /* started, and not stopped yet */
	bool stop_asked;
	bool leaves;	       /* vg_dev_leave() was asked, and said yes */
	bool taken_up;	       /* from a predecessor, who may have died before it notified */
	struct vg_wait *waits; /* for it alone */
	struct vg_vq_state *state_out; /* where they want its state */

	/* the context's */
	struct vg_vq *vq; /* non-NULL: there is a ring */
	bool stopping;
	struct vg_deferred again; /* vg_dev_kick_later() */
	struct vg_gather gather;
	struct vg_spin spin;
	struct vg_deferred settle; /* asks for a notification, at its second run */
	bool settled;		   /* it has had its first */
	struct vg_poller
		poller; /* runs while the ring is looked at, and no notification asked for */
	struct vg_post start, stop, stopped;
	struct vg_dev_stats own_stats;
};

/* A fault that a context other than the main one met: on its way there. */
struct vg_fault_note {
	struct vg_post post;
	struct vg_dev *dev;
	atomic_bool sent;
	char text[256];
};

/* Who answers vg_dev_ask(): the worker has it, and tests. */
struct vg_dev_lender {
	/* Return: 0: ops->given() will be called; or negative errno. */
	int (*ask)(struct vg_dev_lender *lender, const char *what, bool write);
	/* NULL: nobody wants to know. @text: to what. */
	void (*resized)(struct vg_dev_lender *lender, const char *text);
};

struct vg_dev {
	const struct vg_device_ops *ops;
	void *priv;	      /* the device's own */
	struct vg_loop *loop; /* the main context's */
	struct vg_mem *mem;   /* the main context's view; the port's; set before start */
	struct vg_port *port;
	struct vg_ctx *ctx; /* n_ctx of them */
	unsigned n_ctx;
	struct vg_dev_lender *lender; /* the worker's, or NULL */

	uint64_t withheld_features; /* that the port has and the user does not want */
	/* Memory of its own that a guest may make it keep; VG_LIMIT_HOST_BYTES, unless its opener
	 * says less between open and probe. */
	uint64_t host_bytes;
	/* Largest ring where the device does not say; VG_QUEUE_SIZE, unless its opener says otherwise
	 * between open and probe. A power of two. */
	uint32_t queue_size;

	/* A regular file that it writes is so long, bytes: set by ops->open; 0: it writes none. */
	uint64_t file_bytes;

	/* It lends memory to another process, where its port can (vg_mem_ops.share): set by ops->open. */
	bool lends;

	/* set by ops->open or ops->probe */
	uint16_t virtio_id;	  /* VIRTIO 1.3 section 5; the table's unless set */
	uint64_t device_features; /* device-specific bits offered, 0 to 23 and 50 to 63 */
	unsigned n_groups;	  /* of queues, 1 to VG_MAX_CONTEXTS; open's alone */
	unsigned n_queues;
	uint32_t queue_size_max; /* a power of two, at most VG_VQ_SIZE_MAX; 0: queue_size */
	uint32_t config_size;	 /* bytes */
	size_t saved_size;	 /* bytes of saved */

	/* the state machine's */
	uint32_t status;	  /* VG_STATUS_* */
	uint64_t driver_features; /* as the driver writes them */
	uint64_t features;	  /* negotiated: valid from FEATURES_OK on */
	uint32_t generation;
	bool started;  /* ops->start was called */
	bool resuming; /* between vg_dev_resume() and vg_dev_resumed() */
	bool resetting;
	struct vg_wait *waits;	     /* for all queues to stop */
	atomic_bool broken;	     /* NEEDS_RESET, as contexts see it */
	struct vg_fault_note *notes; /* one for each context */
	struct vg_queue queue[VG_MAX_QUEUES];
	/* The device's own bytes that its successor must know if the worker dies: what the driver set
	 * in it. Written before the driver sees the effect; zero after probe. Main context. */
	uint8_t *saved;
	struct vg_dev_stats *stats; /* of no queue: never NULL */
	/* The device's to set, in the main context: what it has opened is not what its configuration
	 * means any more. Where there is a supervisor the worker ends, and the next one opens anew. */
	bool outdated;
	bool pins; /* set by ops->open: its I/O refers to pages until it is done (struct vg_mem) */
	/* Set by ops->open: whether the rings of a quick driver are looked at (vg_dev_watch()). */
	enum vg_spin_policy spin;
	struct vg_dev_stats own_stats;
	struct vg_ratelimit fault_log;
	struct vg_trace trace;
};

/**
 * vg_dev_open - make a device from its configuration, with privileges
 * @dev: zeroed by the callee
 * @loop: the main context's
 * @new_loop: makes the loops of the others; NULL: vg_loop_new()
 * @params: checked here against the device's table
 *
 * Return: 0, or negative errno with a sentence. vg_dev_close() only after 0.
 */
int vg_dev_open(struct vg_dev *dev, const struct vg_device_ops *ops, struct vg_loop *loop,
		int (*new_loop)(unsigned entries, struct vg_loop **out),
		const struct vg_params *params, struct vg_err *err);

/** vg_dev_threads - give each context but the main one its thread. Return: 0, or negative errno. */
int vg_dev_threads(struct vg_dev *dev, struct vg_err *err);

/** vg_dev_threads_end - end them; no queue runs. Idempotent; vg_dev_close() does it, too. */
void vg_dev_threads_end(struct vg_dev *dev);

/** vg_dev_probe - find out what the device is, in the sandbox. Return: 0, or negative errno. */
int vg_dev_probe(struct vg_dev *dev, const struct vg_params *params, struct vg_err *err);

/**
 * vg_dev_close - free what open made, threads included
 *
 * No queue runs: it was reset, or made quiet, or never started. Needs no port.
 */
void vg_dev_close(struct vg_dev *dev);

/* ---- for devices -------------------------------------------------------- */

/** vg_dev_loop, vg_dev_mem, vg_dev_stats - those of queue @q's context, and its own counters */
static inline struct vg_loop *vg_dev_loop(const struct vg_dev *dev, unsigned q)
{
	return dev->queue[q].ctx->loop;
}

static inline struct vg_mem *vg_dev_mem(const struct vg_dev *dev, unsigned q)
{
	return dev->queue[q].ctx->mem;
}

static inline struct vg_dev_stats *vg_dev_stats(const struct vg_dev *dev, unsigned q)
{
	return dev->queue[q].stats;
}

/** vg_dev_map_from - data of at least so many bytes is mapped (struct vg_mem); before queues start */
void vg_dev_map_from(struct vg_dev *dev, size_t bytes);

/**
 * vg_dev_queue_stopped - the answer to stop_queue: nothing of queue @q is in flight any more
 *
 * In its context. What was pushed is published.
 */
void vg_dev_queue_stopped(struct vg_dev *dev, unsigned q);

/**
 * vg_dev_leave - in stop_queue, or later: may chains of queue @q that are out stay out when it stops?
 *
 * For who cannot get them back, and cannot answer either. Whoever serves the queue next finds them in its
 * in-flight record, as if this process had been killed; or they are of no use any more, for the driver
 * resets the device. Return: whether they may; else each is to be pushed.
 */
bool vg_dev_leave(struct vg_dev *dev, unsigned q);

/**
 * vg_dev_kick_later - the device has had its share of this turn: call queue_ready again in the next
 *
 * A guest can keep a ring busy for ever; a device that answers at once must stop now and then.
 */
void vg_dev_kick_later(struct vg_dev *dev, unsigned q);

/** vg_dev_vq - the running queue @q, or NULL; in its context */
struct vg_vq *vg_dev_vq(struct vg_dev *dev, unsigned q);

/** vg_dev_has - was feature bit @bit negotiated? */
bool vg_dev_has(const struct vg_dev *dev, unsigned bit);

/**
 * vg_dev_flush - publish what was pushed to queue @q, and notify if the driver wants it
 *
 * With vg_dev_gather(), not always now. Return: whether it was notified.
 */
bool vg_dev_flush(struct vg_dev *dev, unsigned q);

/**
 * vg_dev_gather - notify of several requests of queue @q at once; in its context
 * @requests: that a notification waits for, counted as vg_dev_stats()->requests
 * @usecs: that it waits at most; either 0: each flush notifies, as after the queue's start
 *
 * VIRTIO 1.3 section 5.1.6.5.9, where a driver asks for that. What waits by now and need not any
 * more is told of at once.
 */
void vg_dev_gather(struct vg_dev *dev, unsigned q, uint32_t requests, uint32_t usecs);

/** vg_dev_notify - a used buffer notification, though nothing was published; in its context */
void vg_dev_notify(struct vg_dev *dev, unsigned q);

/** vg_dev_cheap_notify - whether notifications cost so little that waiting saves nothing */
bool vg_dev_cheap_notify(const struct vg_dev *dev);

/** vg_dev_save - dev->saved was changed: a successor knows it from now on; main context */
void vg_dev_save(struct vg_dev *dev);

/** vg_dev_resized - what the device stands on has another size, @text: for events; main context */
void vg_dev_resized(struct vg_dev *dev, const char *text);

/**
 * vg_dev_ask - have the supervisor open something, which the configuration must allow; main context
 * @what: the path of a file (ops->may_open), or a word that ops->lend knows
 * @write: of a file: to be opened for writing, too
 *
 * Return: 0: ops->given() will be called, unless the supervisor ends; -ENOTCONN: there is none; or
 * another negative errno: it does not listen.
 */
int vg_dev_ask(struct vg_dev *dev, const char *what, bool write);

/** vg_dev_config_changed - raise the generation and tell the driver; main context */
void vg_dev_config_changed(struct vg_dev *dev);

/**
 * vg_dev_fault - the guest broke the rules: DEVICE_NEEDS_RESET; from any context
 *
 * Logs once (rate-limited). Queues take nothing more until a reset; what is in flight is finished.
 */
void vg_dev_fault(struct vg_dev *dev, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * vg_dev_pop - vg_vq_pop(), with a broken ring turned into vg_dev_fault()
 *
 * Return: how many, 0 also for a broken queue or one that does not run.
 */
unsigned vg_dev_pop(struct vg_dev *dev, unsigned q, struct vg_chain **out, unsigned max);

/**
 * vg_dev_rearm - vg_vq_rearm(), false also for a queue that must not be popped any more
 */
bool vg_dev_rearm(struct vg_dev *dev, unsigned q);

/**
 * vg_dev_watch - have the device's queue_ready() called when more is available: by looking at the
 * ring for a while, if that is worth it, or by asking for a notification
 * @busy: something of the queue is under way, whose end will bring the device here again. A
 *        notification is asked for then, too, but not before the loop has turned: what the disk does at
 *        once is done by then.
 *
 * Return: as vg_dev_rearm().
 */
bool vg_dev_watch(struct vg_dev *dev, unsigned q, bool busy);

/**
 * vg_dev_patience - ns, as long as VG_PATIENCE notifications take, as the queue's context lately sent them
 *
 * What is done in order to save notifications may last so long. Some 100 microseconds on a machine of
 * today, milliseconds on an emulated one. 0: it was never notified.
 */
int64_t vg_dev_patience(const struct vg_dev *dev, unsigned q);

/** vg_dev_rearm_after - vg_vq_rearm_after(), the same */
bool vg_dev_rearm_after(struct vg_dev *dev, unsigned q, unsigned n);

#endif /* VG_DEVICE_H */
