/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake_xen.h - a Xen host made of ordinary processes, for tests
 *
 * Theory of operation
 * -------------------
 * The files next to this header implement the public functions of
 * libxengnttab, libxenevtchn, libxenstore and libxentoolcore, and those of
 * libxenhypfs and libxencall that vgrant calls. A program that is linked with
 * them instead of -lxen* believes that it runs on a Xen host, and needs neither
 * Xen nor root. This header is the other half: what the hypervisor, the
 * toolstack and a guest's kernel would do, called by tests.
 *
 * A *world* is one fake host: a directory, named by the environment variable
 * FAKE_XEN_DIR, that holds
 *
 *	world		shared memory: domains, grant tables, event channels,
 *			counters, and (sparse) the domains' memory
 *	xenstore	socket of the xenstore daemon (`fakexend`), which speaks
 *			the real wire protocol of xen/io/xs_wire.h
 *	evtchn.N	the FIFO behind the file descriptor of an event-channel
 *			handle: 4-byte ports, as /dev/xen/evtchn delivers them
 *
 * FAKE_XEN_DOMID (default 0) says which domain a process runs in. A process
 * without FAKE_XEN_DIR is on a machine without Xen: every open fails, ENOENT.
 *
 * What is mirrored, and from where, stands at the top of each fx_*.c. In
 * short: Linux's gntdev and evtchn drivers, Xen's grant_table.c and
 * event_channel.c, and C xenstored. A process that dies, by whatever signal,
 * loses its grant mappings and event channels at once, as on Xen: handles are
 * held by locks on their open file descriptions, which the kernel drops.
 *
 * A *guest* is whoever opens a struct fx_domain: a thread or a process; it
 * has memory, a grant table, event channels that are its "kernel's", and a
 * xenstore connection of its own. Its death leaves the domain as it was (the
 * domain is stopped, not destroyed) until fx_domain_destroy().
 *
 * All functions are thread-safe unless said otherwise. int results are 0 or a
 * negative errno unless said otherwise.
 */
#ifndef FAKE_XEN_H
#define FAKE_XEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <xenstore.h>

#define FX_PAGE_SIZE 4096u

/* Sizes of a world; sparse, so that what is not used costs nothing. */
#define FX_MAX_DOMAINS	  64u	  /* alive, dom0 included, or dead with grants mapped */
#define FX_MAX_PAGES	  32768u  /* of one domain: 128 MiB */
#define FX_MAX_GRANTS	  32768u  /* of one domain: 64 frames of version 1, Xen's default */
#define FX_MAX_PORTS	  1024u	  /* of one domain: xl's default is 1023 */
#define FX_MAX_PORTS_DOM0 4096u	  /* the ABI's limit for 2-level event channels */
#define FX_MAX_HANDLES	  2048u	  /* open gnttab and evtchn handles of all processes */
#define FX_MAX_MAPTRACK	  262144u /* mapped grants: 1024 frames, Xen's default */

struct fx_world;
struct fx_domain;

/* ---- world --------------------------------------------------------------- */

/**
 * fx_world_start() - make a world and start its xenstore daemon
 * @dir: an empty or absent directory, or NULL for a fresh one in /dev/shm
 * @out: the world; fx_world_stop() ends it
 *
 * Forks (call it before the first thread) a daemon that serves xenstore and
 * ends when the caller calls fx_world_stop() or dies. Sets FAKE_XEN_DIR in the
 * environment, so that the caller, its threads and its children live in it.
 * Domain 0 exists from the start, with /local/domain/0.
 *
 * Return: 0, -EEXIST if @dir holds a world, or what the system said.
 */
int fx_world_start(const char *dir, struct fx_world **out);

/**
 * fx_world_stop() - end the daemon, remove the directory, free @w
 *
 * Processes that still use the world keep their memory but lose xenstore.
 */
void fx_world_stop(struct fx_world *w);

/**
 * fx_world_attach() - open the world of another process
 * @dir: its directory, or NULL for FAKE_XEN_DIR
 * @out: the world; free with fx_world_detach()
 *
 * Return: 0, -ENOENT without a world.
 */
int fx_world_attach(const char *dir, struct fx_world **out);

/** fx_world_detach() - free what fx_world_attach() gave; the world lives on */
void fx_world_detach(struct fx_world *w);

/** fx_world_dir() - the world's directory; valid as long as @w */
const char *fx_world_dir(const struct fx_world *w);

/* ---- domains: the hypervisor and the toolstack ---------------------------- */

/** struct fx_domain_config - what xl would be told; zero is a usable default */
struct fx_domain_config {
	const char *name;    /* NULL: "guest<domid>" */
	const uint8_t *uuid; /* 16 bytes; NULL: made from the domid */
	unsigned int pages;  /* of memory; 0: FX_MAX_PAGES */
	unsigned int domid;  /* 0: the next free one */
	bool no_nodes;	     /* make no xenstore nodes: those of a domain being built */
	bool no_introduce;   /* do not introduce it to xenstored */
};

/**
 * fx_domain_create() - make a domain as xl would
 * @w: world
 * @cfg: what it is like; NULL for defaults
 * @domid: its id
 *
 * Writes /local/domain/<id> (name, domid, vm, device ...) and /vm/<uuid> with
 * libxl's owners and permissions, then introduces it: @introduceDomain fires.
 *
 * Return: 0, -ENOSPC when the world is full, -EEXIST if cfg->domid is taken.
 */
int fx_domain_create(struct fx_world *w, const struct fx_domain_config *cfg, unsigned int *domid);

/**
 * fx_domain_kill() - the hypervisor's half of destroying a domain
 *
 * All its event channels close (the peers' become unbound), no grant of it
 * can be mapped any more, mappings that exist stay valid until unmapped, and
 * @releaseDomain fires. Its xenstore nodes stay: see fx_domain_destroy().
 */
int fx_domain_kill(struct fx_world *w, unsigned int domid);

/**
 * fx_domain_destroy() - as `xl destroy`: devices, nodes, domain
 * @timeout_ms: how long to wait for each backend to be Closed; libxl: 10000.
 *              0: do not even ask (online and state are not written)
 *
 * As libxl: for each device writes online = 0 and state = 5 to the backend's
 * directory, waits for state 6, removes both directories; kills the domain;
 * removes /local/domain/<id>, /vm/<uuid> and /libxl/<id>.
 *
 * Return: 0, or -ETIMEDOUT if a backend was not Closed in time (the domain is
 * gone all the same), -ENOENT without such a domain.
 */
int fx_domain_destroy(struct fx_world *w, unsigned int domid, unsigned int timeout_ms);

/** struct fx_virtio_spec - one entry of xl's virtio = [...] list */
struct fx_virtio_spec {
	unsigned int backend; /* the backend's domain */
	unsigned int id;      /* device number in the guest */
	const char *type;     /* as xl's type=, "virtio,device2"; NULL: that */
	bool grant_usage;
};

/** struct fx_disk_spec - one entry of xl's disk = [...,specification=virtio,...] */
struct fx_disk_spec {
	unsigned int backend; /* the backend's domain */
	unsigned int id;      /* 51712 for xvda */
	const char *vdev;     /* "xvda" */
	const char *target;   /* params: path of the image */
	bool readonly;
	bool discard;
	bool grant_usage;
};

/**
 * fx_add_virtio() - make the nodes that libxl makes for virtio = [...]
 *
 * Both directories appear in one transaction, in state 1, with libxl's keys,
 * owners and permissions.
 *
 * Return: 0 or -errno of xenstore.
 */
int fx_add_virtio(struct fx_world *w, unsigned int domid, const struct fx_virtio_spec *spec);

/** fx_add_disk() - the same for disk = [...,specification=virtio,...] */
int fx_add_disk(struct fx_world *w, unsigned int domid, const struct fx_disk_spec *spec);

/**
 * fx_add_device() - the same for any device, with keys of the test's choice
 * @type: "virtio", "virtio_disk", ...
 * @id: device number
 * @backend: the backend's domain
 * @keys: key, value, key, value, ..., NULL: more keys for the backend's
 *        directory; NULL: none
 */
int fx_add_device(struct fx_world *w, unsigned int domid, const char *type, unsigned int id,
		  unsigned int backend, const char *const *keys);

/**
 * fx_remove_device() - take a device away as libxl does
 * @timeout_ms: as in fx_domain_destroy()
 *
 * Return: 0 or -ETIMEDOUT.
 */
int fx_remove_device(struct fx_world *w, unsigned int domid, const char *type, unsigned int id,
		     unsigned int backend, unsigned int timeout_ms);

/* ---- a guest -------------------------------------------------------------- */

/**
 * fx_domain_open() - be the kernel of a domain
 * @w: world; must outlive the domain
 * @domid: domain; one opener at a time
 * @out: handle; fx_domain_close()
 *
 * The handle may be used by several threads; after fork() by the child alone
 * if the parent leaves it alone.
 *
 * Return: 0, -ENOENT without such a domain.
 */
int fx_domain_open(struct fx_world *w, unsigned int domid, struct fx_domain **out);

/** fx_domain_close() - let go; the domain lives on as it is */
void fx_domain_close(struct fx_domain *d);

/** fx_domain_id() - its domid */
unsigned int fx_domain_id(const struct fx_domain *d);

/** fx_domain_world() - the world it was opened in */
struct fx_world *fx_domain_world(const struct fx_domain *d);

/** fx_domain_xs() - its xenstore connection, unprivileged; owned by @d */
struct xs_handle *fx_domain_xs(struct fx_domain *d);

/**
 * fx_pages_alloc() - allocate consecutive pages of the domain's memory
 * @count: pages, at least 1
 *
 * Zeroed. Return: the first page's frame number, or -ENOMEM.
 */
long fx_pages_alloc(struct fx_domain *d, unsigned int count);

/** fx_pages_free() - give pages back; they may still be granted, and mapped */
void fx_pages_free(struct fx_domain *d, unsigned long pfn, unsigned int count);

/** fx_page() - where a page lies in this process; consecutive with the frames */
void *fx_page(struct fx_domain *d, unsigned long pfn);

#define FX_GRANT_RO (1u << 0) /* the backend may not write */

/**
 * fx_grant() - grant access to consecutive pages by consecutive references
 * @backend: the domain that may map or copy them
 * @pfn: first page
 * @count: pages
 * @flags: FX_GRANT_*
 *
 * Return: the first reference (8 or more: the low ones are Xen's), or -ENOSPC.
 */
long fx_grant(struct fx_domain *d, unsigned int backend, unsigned long pfn, unsigned int count,
	      unsigned int flags);

/**
 * fx_grant_end() - end access, as gnttab_try_end_foreign_access()
 * @ref: first reference
 * @count: references
 *
 * Ends those that are not in use; a reference in use keeps its grant. A guest
 * would declare its device broken: the backend published a used element, or
 * answered a reset, too early.
 *
 * Return: how many are still mapped, 0 if none.
 */
int fx_grant_end(struct fx_domain *d, uint32_t ref, unsigned int count);

/**
 * fx_grant_raw() - write a grant entry, whatever was there, as a hostile guest
 * @ref: any reference
 * @flags: GTF_* of xen/grant_table.h; 0 revokes
 * @domid: who may map it
 * @pfn: any frame number
 *
 * Return: 0, -EINVAL if @ref is outside the table.
 */
int fx_grant_raw(struct fx_domain *d, uint32_t ref, uint16_t flags, unsigned int domid,
		 uint32_t pfn);

/** fx_grant_mapped() - how often a grant is mapped at the moment, now dead processes aside */
int fx_grant_mapped(struct fx_domain *d, uint32_t ref);

/**
 * fx_port_alloc() - EVTCHNOP_alloc_unbound
 * @remote: the domain that may bind it
 *
 * Return: port, 1 or more, or -ENOSPC.
 */
int fx_port_alloc(struct fx_domain *d, unsigned int remote);

/** fx_port_bind() - EVTCHNOP_bind_interdomain; the new port is pending at once */
int fx_port_bind(struct fx_domain *d, unsigned int remote, uint32_t remote_port);

/** fx_port_close() - EVTCHNOP_close; a bound peer becomes unbound */
int fx_port_close(struct fx_domain *d, uint32_t port);

/** fx_port_notify() - EVTCHNOP_send; nothing happens if it is unbound */
int fx_port_notify(struct fx_domain *d, uint32_t port);

/**
 * fx_port_wait() - wait until a port is pending, and clear it
 * @timeout_ms: -1 for ever, 0 to look only
 *
 * Return: 0, -ETIMEDOUT, -EINVAL if the port is closed.
 */
int fx_port_wait(struct fx_domain *d, uint32_t port, int timeout_ms);

/**
 * fx_port_wait_any() - the same for several ports at once
 * @ports: ports
 * @count: of @ports
 *
 * Return: the index in @ports of one that was pending (cleared), -ETIMEDOUT.
 */
int fx_port_wait_any(struct fx_domain *d, const uint32_t *ports, unsigned int count,
		     int timeout_ms);

enum fx_port_state {
	FX_PORT_CLOSED, /* no such port */
	FX_PORT_UNBOUND,
	FX_PORT_INTERDOMAIN,
	FX_PORT_VIRQ,
};

/** fx_port_state() - the state of a port of any domain, dead processes aside */
enum fx_port_state fx_port_state(struct fx_world *w, unsigned int domid, uint32_t port);

/** fx_virq_raise() - raise a VIRQ in a domain (VIRQ_DOM_EXC ...) */
int fx_virq_raise(struct fx_world *w, unsigned int domid, unsigned int virq);

/* ---- xenstore, for short -------------------------------------------------- */

/** fx_xs() - the world's own privileged connection; owned by @w */
struct xs_handle *fx_xs(struct fx_world *w);

/** fx_xs_write() - write a formatted value; Return: 0 or -errno */
int fx_xs_write(struct xs_handle *xs, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** fx_xs_read() - read a value; Return: malloc'd string, or NULL with errno */
char *fx_xs_read(struct xs_handle *xs, const char *path);

/** fx_xs_read_int() - read a decimal number; Return: it, or @missing */
long fx_xs_read_int(struct xs_handle *xs, const char *path, long missing);

/**
 * fx_xs_wait() - wait until a key has one of several values
 * @path: key
 * @mask: bit n set: the number n will do, n below 32; bit 31: absent will do
 * @timeout_ms: for how long
 *
 * Watches @path on a connection of its own with the identity of @domid.
 *
 * Return: the number, -ENOENT for absent, -ETIMEDOUT.
 */
int fx_xs_wait(struct fx_world *w, unsigned int domid, const char *path, uint32_t mask,
	       int timeout_ms);

/* ---- what happened, and what shall go wrong ------------------------------- */

/** enum fx_op - hypercalls and requests, for counters and faults */
enum fx_op {
	FX_OP_MAP,    /* GNTTABOP_map_grant_ref: one hypercall a library call */
	FX_OP_UNMAP,  /* GNTTABOP_unmap_grant_ref: the same */
	FX_OP_COPY,   /* GNTTABOP_copy: as gntdev, one for 16 operations */
	FX_OP_NOTIFY, /* EVTCHNOP_send */
	FX_OP_BIND,   /* EVTCHNOP_bind_interdomain, alloc_unbound, bind_virq */
	FX_OP_CLOSE,  /* EVTCHNOP_close */
	FX_OP_UNMASK, /* unmask of a port; no hypercall with Linux's FIFO ABI */
	FX_OP_XS,     /* xenstore request */
	FX_OPS,
};

/** struct fx_stats - counted per domain that calls, since fx_stats_reset() */
struct fx_stats {
	uint64_t calls[FX_OPS];	     /* library calls */
	uint64_t hypercalls[FX_OPS]; /* as Linux would make them */
	uint64_t items[FX_OPS];	     /* grants, copy operations */
	uint64_t failed[FX_OPS];     /* items that failed */
	uint64_t copied;	     /* bytes of grant copies */
	/* Not since a reset, but at the moment: */
	uint32_t mapped;  /* grants that the domain has mapped */
	uint32_t ports;	  /* its ports that are not closed */
	uint32_t bound;	  /* of these, interdomain */
	uint32_t handles; /* gnttab and evtchn handles its processes have open */
};

/** fx_stats() - counters of a domain; reaps dead processes first */
void fx_stats(struct fx_world *w, unsigned int domid, struct fx_stats *out);

/** fx_stats_reset() - zero the counters of a domain */
void fx_stats_reset(struct fx_world *w, unsigned int domid);

/** fx_grants_in_use() - references of a domain that anyone has mapped */
unsigned int fx_grants_in_use(struct fx_world *w, unsigned int domid);

/** struct fx_fault - a fault to come */
struct fx_fault {
	uint32_t skip;	/* items that succeed first */
	uint32_t count; /* then this many fail; 0: no fault */
	int status; /* FX_OP_MAP, _COPY: GNTST_*; else, and of a whole FX_OP_MAP, a positive errno.
			 * 0: a usual one */
};

/**
 * fx_inject() - make operations of a domain fail
 * @domid: the domain that calls
 * @op: FX_OP_MAP, _UNMAP, _COPY, _NOTIFY, _BIND, _XS
 * @fault: what; copied
 *
 * Items are single grants, copy segments and calls. Replaces the fault that
 * was set before.
 */
void fx_inject(struct fx_world *w, unsigned int domid, enum fx_op op, const struct fx_fault *fault);

/** fx_xs_delay() - make xenstored take this long for every request, microseconds */
void fx_xs_delay(struct fx_world *w, unsigned int us);

/** fx_gntdev_stock() - whether /dev/xen/gntdev is as Linux has it: no request that restricts it */
void fx_gntdev_stock(struct fx_world *w, bool stock);

/** fx_xs_conflict() - let the next @n commits of domain 0's transactions fail, EAGAIN */
void fx_xs_conflict(struct fx_world *w, unsigned int n);

#endif /* FAKE_XEN_H */
