/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_gnttab.c - libxengnttab
 *
 * Mirrored: the library (tools/libs/gnttab), Linux's drivers/xen/gntdev.c
 * and Xen's common/grant_table.c. In particular
 *
 * - Mapping several references succeeds or fails as a whole: gntdev maps in
 *   mmap(), undoes what succeeded when one failed, and mmap() fails with
 *   EINVAL. The library shows no status of single references.
 * - A reference that is mapped is not looked up again by a second mapping of
 *   the same kind: Xen goes by its own copy, the active entry. So revoking a
 *   mapped reference does not stop those who have it.
 * - Unmapping takes exactly what one call mapped, by its start; a part of it,
 *   or anything else, is EINVAL.
 * - Closing a handle does not unmap: the mapping holds the file open.
 * - A child after fork() does not inherit mappings (VM_DONTCOPY).
 * - Grant copy has a status for each segment, and fails as a whole, EINVAL,
 *   for a segment without a reference or one that leaves its granted page.
 *   gntdev issues a hypercall for each 16 operations, and splits the local
 *   side at page boundaries, which is how FX_OP_COPY counts.
 * - A handle that was restricted, as the driver edited by backend/linux
 *   can be, maps and copies of its domain only: else the call fails as a
 *   whole, EACCES. Programs are linked with --wrap=ioctl for that.
 *
 * A granted page is mapped from the world's file at the offset of the page,
 * so that both sides share it, at different addresses.
 */
#include "tests/fakes/xen/fx_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xengnttab.h>

#include "gntdev_restrict.h"

#define MAP_LIMIT  65536u /* gntdev's module parameter "limit" */
#define COPY_BATCH 16u	  /* GNTDEV_COPY_BATCH */

/* What one call mapped. */
struct area {
	struct area *next;
	uint8_t *addr;
	uint32_t count;	  /* pages */
	uint32_t track[]; /* maptrack indices */
};

struct xengntdev_handle {
	struct fxi_active active;
	struct fx_world *w;
	unsigned int slot;
	unsigned int domid;
	int fd;		      /* holds the lock of the slot */
	bool dead;	      /* restricted: every ioctl says ENOTTY */
	pthread_mutex_t lock; /* areas; taken before the world's */
	struct area *areas[FXI_HASH];
	unsigned int n_areas;
};

static struct area **bucket(xengnttab_handle *xgt, const void *addr)
{
	return &xgt->areas[((uintptr_t)addr / FX_PAGE_SIZE) % FXI_HASH];
}

static int restrict_gnttab(struct fxi_active *a, unsigned int domid)
{
	xengnttab_handle *xgt = (xengnttab_handle *)a;

	(void)domid;
	__atomic_store_n(&xgt->dead, true, __ATOMIC_RELAXED);
	return 0;
}

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	xengnttab_handle *xgt;
	int slot;

	(void)logger;
	(void)open_flags; /* as the real one: O_CLOEXEC always */
	xgt = calloc(1, sizeof(*xgt));
	if (!xgt)
		return NULL;
	xgt->w = fxi_world_get();
	if (!xgt->w) {
		free(xgt);
		return NULL;
	}
	xgt->domid = fxi_self();
	slot = fxi_handle_open(xgt->w, FXI_GNTTAB, xgt->domid, true, &xgt->fd);
	if (slot < 0) {
		fxi_world_put(xgt->w);
		free(xgt);
		errno = -slot;
		return NULL;
	}
	xgt->slot = (unsigned int)slot;
	pthread_mutex_init(&xgt->lock, NULL);
	xgt->active.restrict_cb = restrict_gnttab;
	fxi_active_add(&xgt->active);
	return xgt;
}

int xengnttab_close(xengnttab_handle *xgt)
{
	struct fx_world *w;
	unsigned int i;

	if (!xgt)
		return 0;
	w = xgt->w;
	fxi_active_del(&xgt->active);
	/* What is mapped keeps the file open, so keep its lock as well. */
	if (!xgt->n_areas)
		close(xgt->fd);
	for (i = 0; i < FXI_HASH; i++) {
		while (xgt->areas[i]) {
			struct area *a = xgt->areas[i];

			xgt->areas[i] = a->next;
			free(a);
		}
	}
	fxi_lock(w);
	fxi_reap(w);
	fxi_unlock(w);
	pthread_mutex_destroy(&xgt->lock);
	free(xgt);
	fxi_world_put(w);
	return 0;
}

int xengnttab_fd(xengnttab_handle *xgt)
{
	return xgt->fd;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr_grants)
{
	/* Linux has no such ioctl any more, and the library hides that. */
	(void)xgt;
	(void)nr_grants;
	return 0;
}

/* ---- Linux: IOCTL_GNTDEV_RESTRICT_DOMID ------------------------------------ */

int __wrap_ioctl(int fd, unsigned long request, ...);

static uint32_t *only_domid(const xengnttab_handle *xgt)
{
	return &xgt->w->shm->handle[xgt->slot].restrict_domid;
}

/* may_use() - whether a handle reaches what @domid granted */
static bool may_use(const xengnttab_handle *xgt, uint32_t domid)
{
	uint32_t only = __atomic_load_n(only_domid(xgt), __ATOMIC_RELAXED);

	return only == FXI_NO_DOMAIN || only == domid;
}

static bool has_fd(const struct fxi_active *a, int fd)
{
	return a->restrict_cb == restrict_gnttab && ((const xengnttab_handle *)a)->fd == fd;
}

/* keep_to() - the request. Return: 0 or a positive errno. */
static int keep_to(int fd, const struct ioctl_gntdev_restrict_domid *to)
{
	xengnttab_handle *xgt = (xengnttab_handle *)fxi_active_find(has_fd, fd);
	uint32_t none = FXI_NO_DOMAIN;

	if (!xgt || __atomic_load_n(&xgt->w->shm->gntdev_stock, __ATOMIC_RELAXED))
		return ENOTTY;
	if (to->domid >= DOMID_FIRST_RESERVED)
		return EINVAL;
	return __atomic_compare_exchange_n(only_domid(xgt), &none, to->domid, false,
					   __ATOMIC_RELAXED, __ATOMIC_RELAXED)
		       ? 0
		       : EACCES;
}

/* All go to the kernel first, which knows nothing of a handle of ours: a sandbox has its say. */
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;
	int ret;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	ret = (int)syscall(SYS_ioctl, fd, request, arg);
	if (ret == 0 || errno != ENOTTY || request != IOCTL_GNTDEV_RESTRICT_DOMID)
		return ret;
	errno = keep_to(fd, arg);
	return errno ? -1 : 0;
}

/* ---- Xen: map and unmap --------------------------------------------------- */

/*
 * check_entry() - what Xen's _set_status() finds in the shared entry
 *
 * Return: GNTST_okay or the error.
 */
static int check_entry(const struct fxi_grant *g, unsigned int domid, bool write)
{
	if ((g->flags & GTF_type_mask) != GTF_permit_access || g->domid != domid)
		return GNTST_general_error;
	if (write && (g->flags & GTF_readonly))
		return GNTST_general_error;
	return GNTST_okay;
}

/*
 * pin() - look a reference up for use
 * @slot, @pfn: where its page is
 *
 * Return: GNTST_okay or the error, as Xen's map_grant_ref(), acquire_grant_for_copy().
 */
static int pin(struct fx_world *w, unsigned int self, uint32_t domid, uint32_t ref, bool write,
	       unsigned int *slot, uint32_t *pfn)
{
	struct fxi_dom *d = fxi_dom(w, domid);
	struct fxi_grant *g;
	int rc;

	if (!d)
		return GNTST_bad_domain;
	if (ref >= FX_MAX_GRANTS)
		return GNTST_bad_gntref;
	g = &d->grant[ref];
	if (g->maps && g->act_domid != self)
		return GNTST_general_error;
	if (!g->maps || (write && !g->writers)) {
		rc = check_entry(g, self, write);
		if (rc != GNTST_okay)
			return rc;
	}
	*pfn = g->maps ? g->act_pfn : g->pfn;
	*slot = fxi_slot(w, d);
	return *pfn < d->pages ? GNTST_okay : GNTST_general_error;
}

/* track_alloc() - a free maptrack index, or FX_MAX_MAPTRACK */
static uint32_t track_alloc(struct fx_shm *s)
{
	uint32_t idx;

	if (s->map_free) {
		idx = s->map_free - 1;
		s->map_free = s->map[idx].next_free;
		return idx;
	}
	return s->maps_used < FX_MAX_MAPTRACK ? s->maps_used++ : FX_MAX_MAPTRACK;
}

/* map_one() - GNTTABOP_map_grant_ref of one reference; *idx: its maptrack entry */
static int map_one(struct fx_world *w, struct fxi_dom *self, unsigned int handle, uint32_t domid,
		   uint32_t ref, bool write, uint32_t *idx)
{
	struct fx_shm *s = w->shm;
	unsigned int slot = 0;
	struct fxi_grant *g;
	struct fxi_map *m;
	uint32_t pfn = 0;
	int rc;

	rc = fxi_fault(self, FX_OP_MAP, GNTST_general_error);
	if (rc)
		return rc;
	rc = pin(w, self->domid, domid, ref, write, &slot, &pfn);
	if (rc != GNTST_okay)
		return rc;
	*idx = track_alloc(s);
	if (*idx == FX_MAX_MAPTRACK)
		return GNTST_no_space;
	m = &s->map[*idx];
	*m = (struct fxi_map){ .ro = !write,
			       .granter = (uint8_t)slot,
			       .handle = (uint16_t)handle,
			       .ref = ref,
			       .pfn = pfn,
			       .mapper = fxi_slot(w, self) };
	g = &s->dom[slot].grant[ref];
	if (!g->maps) {
		g->act_pfn = pfn;
		g->act_domid = (uint16_t)self->domid;
	}
	g->maps++;
	g->writers += write;
	s->dom[slot].pinned++;
	self->mapped++;
	__atomic_store_n(&m->valid, 1, __ATOMIC_RELEASE);
	return GNTST_okay;
}

void fxi_map_release(struct fx_world *w, uint32_t idx)
{
	struct fx_shm *s = w->shm;
	struct fxi_map *m = &s->map[idx];
	struct fxi_dom *granter = &s->dom[m->granter], *mapper = &s->dom[m->mapper];
	struct fxi_grant *g = &granter->grant[m->ref];
	uint8_t *mem;

	if (m->notify & 1) {
		mem = fxi_window(w, m->granter);
		if (mem)
			mem[(uint64_t)m->pfn * FX_PAGE_SIZE + m->notify_offset] = 0;
	}
	if (m->notify & 2)
		fxi_port_send(w, mapper, m->notify_port);
	m->valid = 0;
	g->maps--;
	g->writers -= !m->ro;
	granter->pinned--;
	mapper->mapped--;
	m->next_free = s->map_free;
	s->map_free = idx + 1;
	fxi_dom_put(w, granter);
	fxi_dom_put(w, mapper);
}

/* ---- the library: map ----------------------------------------------------- */

/* fill() - put the pages of @a where they belong, consecutive ones at once */
static int fill(xengnttab_handle *xgt, struct area *a, int prot)
{
	const struct fxi_map *map = xgt->w->shm->map;
	uint32_t i, n;

	for (i = 0; i < a->count; i += n) {
		const struct fxi_map *m = &map[a->track[i]];

		for (n = 1; i + n < a->count; n++)
			if (map[a->track[i + n]].granter != m->granter ||
			    map[a->track[i + n]].pfn != m->pfn + n)
				break;
		if (mmap(a->addr + (size_t)i * FX_PAGE_SIZE, (size_t)n * FX_PAGE_SIZE, prot,
			 MAP_SHARED | MAP_FIXED, xgt->w->shmfd,
			 (off_t)fxi_mem_off(m->granter, m->pfn)) == MAP_FAILED)
			return -errno;
	}
	/* gntdev sets VM_DONTCOPY: a forked child does not have them. */
	madvise(a->addr, (size_t)a->count * FX_PAGE_SIZE, MADV_DONTFORK);
	return 0;
}

static void *map_refs(xengnttab_handle *xgt, uint32_t count, const uint32_t *domids, bool one_dom,
		      const uint32_t *refs, int prot, uint32_t notify_offset,
		      evtchn_port_t notify_port)
{
	struct fx_world *w = xgt->w;
	bool write = prot & PROT_WRITE;
	unsigned int done = 0, failed = 0;
	struct fxi_dom *self;
	struct area *a;
	uint32_t i;
	int rc = 0;

	if (__atomic_load_n(&xgt->dead, __ATOMIC_RELAXED)) {
		errno = ENOTTY;
		return NULL;
	}
	if (!count || count > MAP_LIMIT) {
		errno = EINVAL;
		return NULL;
	}
	for (i = 0; i < count; i++) {
		if (!may_use(xgt, domids[one_dom ? 0 : i])) {
			errno = EACCES;
			return NULL;
		}
	}
	a = malloc(sizeof(*a) + count * sizeof(a->track[0]));
	if (!a)
		return NULL;
	a->count = count;
	a->addr = mmap(NULL, (size_t)count * FX_PAGE_SIZE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a->addr == MAP_FAILED) {
		free(a);
		return NULL;
	}
	pthread_mutex_lock(&xgt->lock);
	fxi_lock(w);
	self = fxi_dom(w, xgt->domid);
	for (i = 0; self && i < count; i++) {
		/* Xen tries all of them, and says of each how it went. */
		int status = map_one(w, self, xgt->slot, domids[one_dom ? 0 : i], refs[i], write,
				     &a->track[done]);

		if (status == GNTST_okay)
			done++;
		else
			failed++;
		if (status > 0) /* injected: of mmap(2), which does the whole */
			rc = -status;
	}
	if (!rc && (!self || failed))
		rc = -EINVAL;
	if (!rc)
		rc = fill(xgt, a, prot);
	if (!rc && notify_port != (evtchn_port_t)-1)
		w->shm->map[a->track[0]].notify_port = notify_port;
	if (!rc)
		w->shm->map[a->track[0]].notify =
			(uint8_t)((notify_offset < FX_PAGE_SIZE) |
				  (notify_port != (evtchn_port_t)-1) << 1);
	if (!rc)
		w->shm->map[a->track[0]].notify_offset = (uint16_t)notify_offset;
	if (self)
		fxi_count(self, FX_OP_MAP, 1, count, failed);
	if (rc && done) {
		for (i = 0; i < done; i++)
			fxi_map_release(w, a->track[i]);
		fxi_count(self, FX_OP_UNMAP, 1, done, 0);
	}
	fxi_unlock(w);
	if (!rc) {
		a->next = *bucket(xgt, a->addr);
		*bucket(xgt, a->addr) = a;
		xgt->n_areas++;
	}
	pthread_mutex_unlock(&xgt->lock);
	if (rc) {
		munmap(a->addr, (size_t)count * FX_PAGE_SIZE);
		free(a);
		errno = -rc;
		return NULL;
	}
	return a->addr;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot)
{
	return map_refs(xgt, 1, &domid, true, &ref, prot, UINT32_MAX, (evtchn_port_t)-1);
}

void *xengnttab_map_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t *domids,
			       uint32_t *refs, int prot)
{
	return map_refs(xgt, count, domids, false, refs, prot, UINT32_MAX, (evtchn_port_t)-1);
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t domid,
				      uint32_t *refs, int prot)
{
	return map_refs(xgt, count, &domid, true, refs, prot, UINT32_MAX, (evtchn_port_t)-1);
}

void *xengnttab_map_grant_ref_notify(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot,
				     uint32_t notify_offset, evtchn_port_t notify_port)
{
	return map_refs(xgt, 1, &domid, true, &ref, prot, notify_offset, notify_port);
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start_address, uint32_t count)
{
	struct fx_world *w = xgt->w;
	struct fxi_dom *self;
	struct area **p, *a;
	int rc = 0;
	uint32_t i;

	if (__atomic_load_n(&xgt->dead, __ATOMIC_RELAXED)) {
		errno = ENOTTY;
		return -1;
	}
	pthread_mutex_lock(&xgt->lock);
	for (p = bucket(xgt, start_address); *p; p = &(*p)->next)
		if ((*p)->addr == start_address)
			break;
	a = *p;
	fxi_lock(w);
	self = fxi_dom(w, xgt->domid);
	if (!a || a->count != count)
		rc = EINVAL;
	else if (self)
		rc = fxi_fault(self, FX_OP_UNMAP, EINVAL);
	if (!rc) {
		/* Gone from this process before the guest can see it unmapped. */
		munmap(start_address, (size_t)count * FX_PAGE_SIZE);
		for (i = 0; self && i < count; i++)
			fxi_map_release(w, a->track[i]);
	}
	if (self)
		fxi_count(self, FX_OP_UNMAP, 1, count, rc ? count : 0);
	fxi_unlock(w);
	if (!rc) {
		*p = a->next;
		xgt->n_areas--;
		free(a);
	}
	pthread_mutex_unlock(&xgt->lock);
	if (rc) {
		errno = rc;
		return -1;
	}
	return 0;
}

/* ---- the library: copy ---------------------------------------------------- */

/* side() - where one side of a copy lies; *status: what Xen says */
static uint8_t *side(struct fx_world *w, struct fxi_dom *self, const union xengnttab_copy_ptr *ptr,
		     bool foreign, bool write, int *status)
{
	unsigned int slot = 0;
	uint32_t pfn = 0;
	uint8_t *mem;

	if (!foreign)
		return ptr->virt;
	*status = pin(w, self->domid, ptr->foreign.domid, ptr->foreign.ref, write, &slot, &pfn);
	if (*status != GNTST_okay)
		return NULL;
	mem = fxi_window(w, slot);
	if (!mem) {
		*status = GNTST_no_space;
		return NULL;
	}
	return mem + (uint64_t)pfn * FX_PAGE_SIZE + ptr->foreign.offset;
}

/* copy_ops() - how many operations gntdev makes of a segment */
static unsigned int copy_ops(const xengnttab_grant_copy_segment_t *seg)
{
	const void *virt = seg->flags & GNTCOPY_source_gref ? seg->dest.virt : seg->source.virt;
	unsigned int off = (uintptr_t)virt % FX_PAGE_SIZE;

	if ((seg->flags & (GNTCOPY_source_gref | GNTCOPY_dest_gref)) ==
	    (GNTCOPY_source_gref | GNTCOPY_dest_gref))
		return 1;
	return (off + seg->len + FX_PAGE_SIZE - 1) / FX_PAGE_SIZE;
}

/* may_copy() - whether a handle reaches both sides of a segment */
static bool may_copy(const xengnttab_handle *xgt, const xengnttab_grant_copy_segment_t *seg)
{
	return (!(seg->flags & GNTCOPY_source_gref) || may_use(xgt, seg->source.foreign.domid)) &&
	       (!(seg->flags & GNTCOPY_dest_gref) || may_use(xgt, seg->dest.foreign.domid));
}

static void copy_segment(struct fx_world *w, struct fxi_dom *self,
			 xengnttab_grant_copy_segment_t *seg)
{
	bool from = seg->flags & GNTCOPY_source_gref, to = seg->flags & GNTCOPY_dest_gref;
	int status = fxi_fault(self, FX_OP_COPY, GNTST_general_error);
	uint8_t *src, *dst = NULL;

	if (!status) {
		status = GNTST_okay;
		src = side(w, self, &seg->source, from, false, &status);
		if (status == GNTST_okay)
			dst = side(w, self, &seg->dest, to, true, &status);
		if (status == GNTST_okay) {
			memcpy(dst, src, seg->len);
			self->stats.copied += seg->len;
		}
	}
	seg->status = (int16_t)status;
}

int xengnttab_grant_copy(xengnttab_handle *xgt, uint32_t count,
			 xengnttab_grant_copy_segment_t *segs)
{
	unsigned int ops = 0, failed = 0;
	struct fx_world *w = xgt->w;
	struct fxi_dom *self;
	uint32_t i;
	int rc = 0;

	if (__atomic_load_n(&xgt->dead, __ATOMIC_RELAXED)) {
		errno = ENOTTY;
		return -1;
	}
	fxi_lock(w);
	self = fxi_dom(w, xgt->domid);
	for (i = 0; self && i < count; i++) {
		xengnttab_grant_copy_segment_t *seg = &segs[i];

		if (!may_copy(xgt, seg)) {
			rc = EACCES;
			break;
		}
		if (!(seg->flags & (GNTCOPY_source_gref | GNTCOPY_dest_gref)) ||
		    ((seg->flags & GNTCOPY_source_gref) &&
		     seg->source.foreign.offset + seg->len > FX_PAGE_SIZE) ||
		    ((seg->flags & GNTCOPY_dest_gref) &&
		     seg->dest.foreign.offset + seg->len > FX_PAGE_SIZE)) {
			rc = EINVAL;
			break;
		}
		ops += copy_ops(seg);
		copy_segment(w, self, seg);
		failed += seg->status != GNTST_okay;
	}
	if (self)
		fxi_count(self, FX_OP_COPY, (ops + COPY_BATCH - 1) / COPY_BATCH, ops, failed);
	fxi_unlock(w);
	if (rc) {
		errno = rc;
		return -1;
	}
	return 0;
}
