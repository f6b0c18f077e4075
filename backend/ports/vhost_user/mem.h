/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mem.h - guest memory as a vhost-user front-end shares it
 *
 * The front-end hands over regions: a file, and which guest addresses and which
 * of its own ("user") addresses it stands for. Descriptors hold guest addresses;
 * SET_VRING_ADDR holds user addresses, which mean nothing but what the regions
 * say (OpenVMM's lie 1 << 52 above any real address).
 *
 * With XEN_MMAP a region can also be another domain's memory: "foreign" pages, or
 * grants (guest addresses are then grant references, as on the virtio-grant port);
 * both are mapped whole, or page by page when they are used.
 */
#ifndef VG_VHOST_USER_MEM_H
#define VG_VHOST_USER_MEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "backend/memory/guestmem.h"
#include "backend/base/log.h"
#include "backend/memory/grants.h"
#include "backend/memory/regions.h"
#include "backend/wire/vhost_user.h"
#include "backend/ports/vhost_user/sigbus.h"

/* Foreign memory of Xen: a table, so that tests need no Xen. */
struct vg_vu_foreign_ops {
	/* Map @pages pages of @domid from frame @first on, read-write; NULL and errno. */
	void *(*map)(void *handle, uint32_t domid, uint64_t first, size_t pages);
	void (*unmap)(void *handle, void *ptr, size_t pages);
	/* Memory of @domid alone from now on, for good. Return: 0, or negative errno. */
	int (*keep_to)(void *handle, uint32_t domid);
	void (*close)(void *handle);
};

struct vg_vu_xen {
	struct vg_grant_mem grants;
	const struct vg_vu_foreign_ops *foreign;
	void *foreign_handle;
	bool domid_known; /* grants.domid is that of the regions there are */
	bool kept;	  /* foreign_handle is kept to guest: that of the first region there was */
	uint32_t guest;
};

struct vg_vu_mapping {
	struct vg_vu_region region;
	dev_t dev; /* what file it is of */
	ino_t ino;
	void *base; /* NULL: no direct memory: grants, or foreign memory that is mapped when used */
	size_t len; /* bytes mapped */
	bool grant; /* mapped, if at all, as a pool of xen->grants */
	bool foreign;
	struct vg_sigbus_guard guard;
};

struct vg_vu_mem {
	struct vg_mem xen_mem;	      /* what a device sees when there is Xen: both of the below */
	struct vg_regions direct;     /* what a device sees otherwise */
	struct vg_vu_xen *xen;	      /* NULL: files only; the owner's */
	struct vg_regions_view *view; /* n_views of them: of contexts but the main one */
	unsigned n_views;
	unsigned n;
	struct vg_vu_mapping *map[VG_MAX_REGIONS]; /* each allocated: guards are linked */
};

/**
 * vg_vu_mem_init - an empty memory
 * @contexts: how many will look at it, at least 1; one only with @xen
 * @bounce_bytes: bounce memory, of all contexts together
 *
 * Return: 0 or -ENOMEM.
 */
int vg_vu_mem_init(struct vg_vu_mem *vm, struct vg_vu_xen *xen, unsigned contexts,
		   size_t bounce_bytes);

/** vg_vu_mem_fini - unmap all */
void vg_vu_mem_fini(struct vg_vu_mem *vm);

/** vg_vu_mem_seen - guest memory as context @i of the device sees it */
struct vg_mem *vg_vu_mem_seen(struct vg_vu_mem *vm, unsigned i);

/** vg_vu_mem_same - are these the very regions that are there already? */
bool vg_vu_mem_same(const struct vg_vu_mem *vm, const struct vg_vu_region *regions, const int *fds,
		    unsigned n);

/**
 * vg_vu_mem_set - these regions in place of all others; no queue may be running
 * @fds: one for each region; they stay the caller's
 *
 * Return: 0; -EINVAL: a region is empty, wraps, or is longer than its file; -EEXIST: two overlap;
 * -ENOSPC: too many; errno of mmap(2). Then the former regions are still there.
 */
int vg_vu_mem_set(struct vg_vu_mem *vm, const struct vg_vu_region *regions, const int *fds,
		  unsigned n, struct vg_err *err);

/** vg_vu_mem_add - one more; errors as above. Queues of the main context may run. */
int vg_vu_mem_add(struct vg_vu_mem *vm, const struct vg_vu_region *region, int fd,
		  struct vg_err *err);

/** vg_vu_mem_del - one less, found by guest address, user address and size. Return: 0, -ENOENT. */
int vg_vu_mem_del(struct vg_vu_mem *vm, const struct vg_vu_region *region, struct vg_err *err);

/** vg_vu_mem_clear - no regions at all; no queue may be running */
void vg_vu_mem_clear(struct vg_vu_mem *vm);

/**
 * vg_vu_mem_from_user - the guest address of a user address
 *
 * Return: 0, or -EFAULT when no region has it.
 */
int vg_vu_mem_from_user(const struct vg_vu_mem *vm, uint64_t user, uint64_t *guest);

/** vg_vu_mem_hurt - has a region turned out to be shorter than its file was said to be? */
bool vg_vu_mem_hurt(const struct vg_vu_mem *vm);

#endif /* VG_VHOST_USER_MEM_H */
