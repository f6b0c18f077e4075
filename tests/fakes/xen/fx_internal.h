/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_internal.h - the shared memory of a fake Xen world
 *
 * Theory of operation
 * -------------------
 * All state of the hypervisor lies in one shared mapping, struct fx_shm,
 * guarded by one robust, process-shared mutex: what Xen does under its locks
 * we do under ours. There are no pointers in it, only slot numbers.
 *
 * A process may be killed at any instruction, also inside a critical section,
 * where a hypercall would have run to its end. So the tables are written in
 * an order that leaves at worst something to be cleaned up, and whoever finds
 * the mutex's owner dead rebuilds the derived counts (fxi_recover()).
 *
 * Handles (gnttab, evtchn) are slots in a table. Each holds a write lock on
 * an open file description of its own, which the kernel drops when the last
 * process that has it is gone. fxi_reap() releases what belongs to handles
 * whose lock is gone. It runs wherever the difference could be seen: when a
 * port is bound, a handle opened or closed, a grant ended, a count read. So
 * death looks immediate, and nobody has to watch for it.
 *
 * Event channels of a handle are delivered by writing the 4-byte port into
 * its FIFO; those of a guest's "kernel" by a flag and a futex.
 */
#ifndef FX_INTERNAL_H
#define FX_INTERNAL_H

#include <pthread.h>
#include <stdint.h>

#include "tests/fakes/xen/fake_xen.h"

#define FXI_MAGIC      0x46584e31u
#define FXI_NO_DOMAIN  0xffffffffu
#define FXI_HASH       1024u
#define FXI_MEM_BYTES  ((uint64_t)FX_MAX_PAGES * FX_PAGE_SIZE)
#define FXI_FIRST_GREF 8u /* GNTTAB_NR_RESERVED_ENTRIES */
#define FXI_DOMID_SELF 0x7ff0u

/** struct fxi_grant - an entry of a grant table, with Xen's active entry */
struct fxi_grant {
	uint16_t flags; /* GTF_*; 0: invalid */
	uint16_t domid;
	uint32_t pfn;
	/* Xen's own copy, from the first mapping to the last unmapping: */
	uint32_t maps;	  /* mappings */
	uint32_t writers; /* of these, writable */
	uint32_t act_pfn;
	uint16_t act_domid;
	uint16_t used; /* allocated by the guest's allocator */
};

enum fxi_owner { FXI_KERNEL, FXI_HANDLE };

/** struct fxi_port - an event channel */
struct fxi_port {
	uint8_t state;	 /* enum fx_port_state */
	uint8_t owner;	 /* enum fxi_owner */
	uint8_t pending; /* FXI_KERNEL: pending; FXI_HANDLE: again since it was delivered */
	uint8_t enabled; /* FXI_HANDLE: not masked */
	uint16_t handle; /* slot */
	uint16_t virq;
	uint32_t remote; /* domid */
	uint32_t remote_port;
};

struct fxi_fault {
	uint32_t skip, count;
	int status;
};

enum fxi_dom_state { FXI_DOM_FREE, FXI_DOM_ALIVE, FXI_DOM_DEAD };

/** struct fxi_dom - a domain */
struct fxi_dom {
	uint32_t state;
	uint32_t domid;
	uint32_t pages;
	uint32_t pinned;    /* valid maptrack entries of its grants */
	uint32_t mapped;    /* valid maptrack entries that it made */
	uint32_t event_seq; /* futex: counts events of FXI_KERNEL ports */
	uint32_t gref_hint, page_hint;
	struct fx_stats stats;
	struct fxi_fault fault[FX_OPS];
	struct fxi_port port[FX_MAX_PORTS_DOM0];
	struct fxi_grant grant[FX_MAX_GRANTS];
	uint8_t page_used[FX_MAX_PAGES];
};

enum fxi_kind { FXI_FREE, FXI_GNTTAB, FXI_EVTCHN };

/** struct fxi_handle - an open gnttab or evtchn handle of some process */
struct fxi_handle {
	uint32_t kind;		 /* enum fxi_kind */
	uint32_t gen;		 /* rises with each use of the slot */
	uint32_t domid;		 /* whose it is */
	uint32_t restrict_domid; /* FXI_NO_DOMAIN: not restricted */
	uint64_t ino;		 /* FXI_EVTCHN: of its FIFO */
};

/** struct fxi_map - a mapped grant (Xen's maptrack) */
struct fxi_map {
	uint8_t valid; /* written last when made, first when undone */
	uint8_t ro;
	uint8_t notify;	 /* bit 0: clear a byte; bit 1: send an event */
	uint8_t granter; /* slot in dom[] */
	uint16_t handle;
	uint16_t notify_offset;
	uint32_t ref;
	uint32_t pfn;
	uint32_t notify_port;
	uint32_t mapper;    /* slot in dom[] */
	uint32_t next_free; /* index + 1; 0: end */
};

/** struct fx_shm - a world */
struct fx_shm {
	uint32_t magic; /* written last */
	uint32_t next_domid;
	uint32_t xs_delay_us;
	uint32_t xs_conflict;
	bool gntdev_stock;
	int32_t daemon;
	uint32_t maps_used; /* entries of map[] ever used */
	uint32_t map_free;  /* index + 1 of the first free one; 0: none */
	pthread_mutex_t lock;
	struct fxi_handle handle[FX_MAX_HANDLES];
	struct fxi_dom dom[FX_MAX_DOMAINS];
	struct fxi_map map[FX_MAX_MAPTRACK];
};

#define FXI_MEM_BASE ((sizeof(struct fx_shm) + 0xffffull) & ~0xffffull)

struct fxi_fifo {
	int fd;
	uint32_t gen;
};

/** struct fx_world - this process's view of a world */
struct fx_world {
	struct fx_world *next; /* all that this process knows */
	unsigned int refs;
	char dir[80];
	int dirfd, shmfd;
	int lockfd; /* "locks", for asking only */
	struct fx_shm *shm;
	int32_t daemon; /* pid, in the process that started it; 0 */
	int lifeline;	/* the daemon ends when nobody has it open */
	struct xs_handle *xs;
	bool sealed; /* a handle was restricted: the process may not open files any more */
	pthread_mutex_t cache_lock;   /* the two below; taken inside shm->lock */
	uint8_t *mem[FX_MAX_DOMAINS]; /* windows on the domains' memory, for grant copies */
	struct fxi_fifo fifo[FX_MAX_HANDLES];
};

/* ---- fx_world.c ----------------------------------------------------------- */

/** fxi_world_get() - the world of FAKE_XEN_DIR, with a reference; NULL with errno */
struct fx_world *fxi_world_get(void);

/** fxi_world_put() - give a reference back */
void fxi_world_put(struct fx_world *w);

/** fxi_self() - the domid of this process: FAKE_XEN_DOMID */
unsigned int fxi_self(void);

/** fxi_lock() - take the world's lock, cleaning up after a dead owner */
void fxi_lock(struct fx_world *w);

/** fxi_unlock() - release it */
void fxi_unlock(struct fx_world *w);

/** fxi_dom() - the slot of a living domain; NULL. Lock held, as for all that follow */
struct fxi_dom *fxi_dom(struct fx_world *w, unsigned int domid);

/** fxi_slot() - index of a slot */
unsigned int fxi_slot(const struct fx_world *w, const struct fxi_dom *d);

/** fxi_dom_put() - free the slot of a dead domain when nothing of it is mapped */
void fxi_dom_put(struct fx_world *w, struct fxi_dom *d);

/** fxi_window() - the domain's memory in this process (not where the guest has it) */
uint8_t *fxi_window(struct fx_world *w, unsigned int slot);

/** fxi_mem_off() - where a page lies in the world's file, bytes */
uint64_t fxi_mem_off(unsigned int slot, uint32_t pfn);

/** fxi_fault() - whether the next item shall fail; Return: 0, or the status; @dflt for 0 */
int fxi_fault(struct fxi_dom *d, enum fx_op op, int dflt);

/** fxi_count() - count a call */
void fxi_count(struct fxi_dom *d, enum fx_op op, unsigned int hypercalls, unsigned int items,
	       unsigned int failed);

/* ---- fx_handle.c ---------------------------------------------------------- */

/**
 * fxi_handle_open() - take a handle slot and lock it. Lock NOT held
 * @fd: the locked descriptor (for FXI_EVTCHN the FIFO)
 *
 * Return: slot or -errno.
 */
int fxi_handle_open(struct fx_world *w, enum fxi_kind kind, unsigned int domid, bool cloexec,
		    int *fd);

/** fxi_handle_find() - slot of an inherited FIFO; -ENOENT */
int fxi_handle_find(struct fx_world *w, int fd);

/** fxi_reap() - release what dead handles hold. Lock held */
void fxi_reap(struct fx_world *w);

/** fxi_fifo_write() - deliver a port to a handle; false if it cannot be. Lock held */
bool fxi_fifo_write(struct fx_world *w, unsigned int handle, uint32_t port);

/* ---- fx_gnttab.c ---------------------------------------------------------- */

/** fxi_map_release() - undo a mapping: counts, unmap notification. Lock held */
void fxi_map_release(struct fx_world *w, uint32_t idx);

/* ---- fx_evtchn.c ---------------------------------------------------------- */

/** fxi_port_max() - ports that a domain may have */
uint32_t fxi_port_max(const struct fxi_dom *d);

/** fxi_port_alloc() - a free port, reset; 0 if none. The caller sets its state last */
uint32_t fxi_port_alloc(struct fxi_dom *d);

/** fxi_port_bind() - EVTCHNOP_bind_interdomain; @port set up but for its state */
int fxi_port_bind(struct fx_world *w, struct fxi_dom *d, uint32_t port, unsigned int remote,
		  uint32_t remote_port);

/** fxi_port_close() - EVTCHNOP_close */
void fxi_port_close(struct fx_world *w, struct fxi_dom *d, uint32_t port);

/** fxi_port_send() - EVTCHNOP_send; -EINVAL for a port that cannot */
int fxi_port_send(struct fx_world *w, struct fxi_dom *d, uint32_t port);

/** fxi_port_raise() - make a port pending */
void fxi_port_raise(struct fx_world *w, struct fxi_dom *d, uint32_t port);

/* ---- fx_toolcore.c -------------------------------------------------------- */

/** struct fxi_active - a handle that xentoolcore_restrict_all() shall restrict */
struct fxi_active {
	struct fxi_active *next, **prev;
	int (*restrict_cb)(struct fxi_active *a, unsigned int domid); /* 0, or -1 with errno */
};

/** fxi_active_add() - register */
void fxi_active_add(struct fxi_active *a);

/** fxi_active_del() - deregister */
void fxi_active_del(struct fxi_active *a);

/** fxi_active_find() - the handle that @is says yes to; NULL: there is none */
struct fxi_active *fxi_active_find(bool (*is)(const struct fxi_active *a, int fd), int fd);

/* ---- fx_store.c, fx_xenstored.c, fx_xs.c ---------------------------------- */

/** fxi_xenstored() - serve xenstore on @listen_fd until @lifeline says EOF, or SIGTERM */
void fxi_xenstored(struct fx_world *w, int listen_fd, int lifeline);

/** fxi_xs_open_as() - xs_open() with the identity of a domain */
struct xs_handle *fxi_xs_open_as(struct fx_world *w, unsigned int domid);

/** fxi_xs_release() - XS_RELEASE without the check that the caller is privileged */
int fxi_xs_release(struct fx_world *w, unsigned int domid);

/* Messages of our own on the xenstore socket, in struct xsd_sockmsg.type. */
#define FXI_XS_IDENTIFY 0x4601u /* "domid": who I am; answer: connection number */
#define FXI_XS_EVENTS	0x4602u /* "connection": send its watch events here instead */

#endif /* FX_INTERNAL_H */
