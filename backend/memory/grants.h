/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * grants.h - guest memory named by grant references (PROTOCOL.md section 6)
 *
 * Copies are one grant-copy call for all of a batch; rings and pools are
 * mapped. Addresses in a pool are direct: no hypercall at all.
 *
 * What stays mapped is what the driver announced for that: the control page, the
 * rings and the pools, and what a payload gives the device until another request
 * (backing.h), bounded by limits.h. They are a cache that needs no
 * eviction. Nothing else may stay: a Linux driver ends access to a buffer's
 * grants as soon as it sees its used element, and disables the device when it
 * finds one still mapped; and a reference says nothing about the page behind it,
 * which is another one the next time. So a mapping of a data buffer lives for its
 * request, VG_LIMIT_DATA_PAGES at a time, and a cache of those would never be hit.
 *
 * A struct vg_grant_mem is one context's view: it has its own handle, scratch,
 * bounce memory and counters, and sees the pools of the first.
 *
 * Pools come and go while contexts look at them. One that comes is written, and then
 * its length is (release), which is what a look begins with (acquire). One that goes is
 * hidden first, by a length of 0; then each context is asked, by a call that is posted
 * to it, how many requests hold memory of it (vg_mem_ops.hold): after that call none
 * can find the pool any more, so that when all have answered 0, it is unmapped. What
 * does not cross a turn needs no hold.
 */
#ifndef VG_GRANT_MEM_H
#define VG_GRANT_MEM_H

#include <stdatomic.h>
#include <stdint.h>
#include <xengnttab.h>
#include <xentoollog.h>

#include "backend/memory/guestmem.h"
#include "backend/base/limits.h"
#include "backend/base/log.h"

struct vg_grant_pool {
	uint64_t addr;	/* as in descriptors */
	uint32_t pages; /* 0: unused */
	uint8_t *ptr;
	_Atomic size_t len; /* bytes, as contexts see it; 0: none, or hidden */
};

struct vg_grant_mem {
	struct vg_mem mem;
	xengnttab_handle *xgt;	/* owned */
	xengnttab_handle *lent; /* owned: what other processes map (ops->share); NULL: none does */
	uint32_t domid;
	/* The pools: those of the view that made them (vg_grant_pool_add()). */
	struct vg_grant_mem *pools;
	_Atomic unsigned n_pools; /* of @pool, some perhaps unused */
	struct vg_grant_pool pool[VG_LIMIT_POOLS];
	unsigned hit;		       /* in which one this view found something last */
	uint32_t held[VG_LIMIT_POOLS]; /* requests of this view that use memory of each */
	uint32_t max_pool_pages, max_data_pages, max_long_pages; /* at once */
	xengnttab_grant_copy_segment_t *segs;			 /* scratch of copies */
	int **errors;			 /* whose copy each segment belongs to */
	uint32_t *refs;			 /* scratch of maps */
	uint32_t data_pages, long_pages; /* of data buffers, of backings, mapped now */
	struct vg_hyper_stats *stats;	 /* never NULL */
	struct vg_hyper_stats own_stats;
};

/* For Xen's libraries, which print errors as often as they happen: it logs them for debugging. */
extern struct xentoollog_logger vg_xen_logger;

/**
 * vg_grant_mem_init - open the grant device for memory of @domid
 * @pools: the view whose pools are seen; NULL: its own
 * @budget: what this view may hold; NULL: all that limits.h allows
 *
 * Return: 0 or negative errno.
 */
int vg_grant_mem_init(struct vg_grant_mem *gm, uint32_t domid, struct vg_grant_mem *pools,
		      const struct vg_budget *budget);
void vg_grant_mem_close(struct vg_grant_mem *gm);

/**
 * vg_grant_lend - from now on other processes may have its pools (ops->share): a handle for that alone
 *
 * Whoever has a descriptor of the grant device can ask it for more than was meant for him: what he may
 * ask is to be held by somebody else (vg_sandbox_no_grants()). Return: 0 or negative errno.
 */
int vg_grant_lend(struct vg_grant_mem *gm);

/**
 * vg_grant_keep - from now on, for good, its handles reach what @domid granted and nothing else
 *
 * Whoever runs in this process then. Only a kernel with a patch of ours can (backend/linux).
 * Return: 0; -ENOTTY: this kernel cannot, and nothing has changed; or negative errno.
 */
int vg_grant_keep(struct vg_grant_mem *gm, uint32_t domid);

/**
 * vg_grant_can_keep - whether this kernel has what vg_grant_keep() wants
 *
 * Return: 1, 0, or negative errno: the grant device cannot be opened.
 */
int vg_grant_can_keep(void);

/** vg_grant_map - map @pages consecutive references from @ref on. Return: memory, or NULL (errno). */
void *vg_grant_map(struct vg_grant_mem *gm, uint32_t ref, uint32_t pages);
void vg_grant_unmap(struct vg_grant_mem *gm, void *ptr, uint32_t pages);

/** vg_grant_pool_add - map a pool. Return: 0; -EINVAL, -ENOSPC (limits.h), -EEXIST, -EFAULT. */
int vg_grant_pool_add(struct vg_grant_mem *gm, uint32_t first_ref, uint32_t pages);

/**
 * vg_grant_pool_find - the pool of just these references
 *
 * Return: its index in @gm->pool; -ENOENT: none of them is in a pool; -EINVAL: some are, or @pages is 0.
 */
int vg_grant_pool_find(const struct vg_grant_mem *gm, uint32_t first_ref, uint32_t pages);

/** vg_grant_pool_show - let pool @i be found, or (@shown false) not be found any more */
void vg_grant_pool_show(struct vg_grant_mem *gm, unsigned i, bool shown);

/** vg_grant_pool_drop - unmap pool @i: it is hidden, and no view holds memory of it; or no queue runs */
void vg_grant_pool_drop(struct vg_grant_mem *gm, unsigned i);

/** vg_grant_pools_drop - unmap all pools; no queue runs */
void vg_grant_pools_drop(struct vg_grant_mem *gm);

/**
 * vg_grant_pages_fit - whether grants can be mapped where a page has @page bytes (sysconf(3))
 *
 * A grant is of 4 KiB, and Linux puts each into a page of its own (drivers/xen/gntdev.c): with larger
 * pages what should be one piece of memory would have holes.
 *
 * Return: 0, or -EOPNOTSUPP with a sentence.
 */
int vg_grant_pages_fit(long page, struct vg_err *err);

#endif /* VG_GRANT_MEM_H */
