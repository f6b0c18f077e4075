// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mem.c - see vhost_user/mem.h
 *
 * A region of a file is mapped whole and is direct memory (guestmem.h): no copy,
 * no look-up but one. Its file must be as long as the region claims; a file that
 * is truncated later is met by vhost_user/sigbus.c.
 *
 * A region of Xen's:
 *
 *	foreign			mapped whole, direct
 *	grant			mapped whole as a pool, direct
 *	grant, no advance	nothing is mapped: grant-copied, or mapped for as long
 *				as a ring needs it, within the region's bounds
 *	foreign, no advance	likewise, but mapped and unmapped around each copy
 *
 * The last two are why a device then sees `xen_mem`, which sends each address to
 * where it can be had, by the region that it lies in. The descriptor that
 * comes with a region of Xen's is not used: our own handles were opened before
 * the sandbox, and do only what these functions do with them.
 *
 * A new table is mapped before the old one is unmapped, so that a table that
 * cannot be had changes nothing. Both are then mapped for a moment: what counts
 * against limits is address space alone.
 */
#include "backend/ports/vhost_user/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/memory/backing.h"
#include "backend/memory/data.h"
#include "virtio_grant.h"

enum { XEN_PAGE_SHIFT = 12 };

/* ---- grants beside direct memory ---------------------------------------- */

static struct vg_vu_mem *of_mem(struct vg_mem *mem)
{
	return container_of(mem, struct vg_vu_mem, xen_mem);
}

/* The region that is no direct memory and holds the whole range; NULL: there is none. */
static const struct vg_vu_mapping *not_direct(const struct vg_vu_mem *vm, uint64_t addr,
					      uint64_t len)
{
	for (unsigned i = 0; i < vm->n; i++) {
		const struct vg_vu_mapping *m = vm->map[i];

		if (!m->base && addr - m->region.guest < m->region.size &&
		    len <= m->region.size - (addr - m->region.guest))
			return m;
	}
	return NULL;
}

/* Foreign pages of a region that is not mapped in advance. Return: 0 or -EFAULT. */
static int map_pages(struct vg_vu_xen *xen, const struct vg_vu_mapping *m, uint64_t addr,
		     size_t len, struct vg_map *out)
{
	uint64_t first = addr >> XEN_PAGE_SHIFT;
	size_t pages = (size_t)(((addr + len - 1) >> XEN_PAGE_SHIFT) - first + 1);
	uint8_t *p = xen->foreign->map(xen->foreign_handle, m->region.xen_domid, first, pages);

	if (!p)
		return -EFAULT;
	*out = (struct vg_map){ .ptr = p + (addr & ((1u << XEN_PAGE_SHIFT) - 1)),
				.len = len,
				.base = p,
				.pages = pages,
				.foreign = true };
	return 0;
}

static int copy_foreign(struct vg_vu_xen *xen, const struct vg_vu_mapping *m, struct vg_copy *op)
{
	struct vg_map map;
	int ret = map_pages(xen, m, op->addr, op->len, &map);

	if (ret < 0) {
		if (op->error)
			*op->error = ret;
		return ret;
	}
	if (op->dir == VG_FROM_GUEST)
		memcpy(op->host, map.ptr, op->len);
	else
		memcpy(map.ptr, op->host, op->len);
	xen->foreign->unmap(xen->foreign_handle, map.base, map.pages);
	return 0;
}

static void *seen_direct(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir)
{
	struct vg_vu_mem *vm = of_mem(mem);
	void *p = vm->direct.mem.ops->direct(&vm->direct.mem, addr, len, dir);
	const struct vg_vu_mapping *m = p ? NULL : not_direct(vm, addr, len);

	if (p || !m || !m->grant)
		return p;
	return vm->xen->grants.mem.ops->direct(&vm->xen->grants.mem, addr, len, dir);
}

static int seen_copy(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	struct vg_vu_mem *vm = of_mem(mem);
	int first = 0;

	/* Runs of the same sort: one hypercall for each run of grants. */
	for (unsigned i = 0; i < n;) {
		const struct vg_vu_mapping *m = not_direct(vm, ops[i].addr, ops[i].len);
		struct vg_mem *to = m ? &vm->xen->grants.mem : &vm->direct.mem;
		unsigned k = i + 1;
		int ret;

		while (k < n && not_direct(vm, ops[k].addr, ops[k].len) == m && !(m && m->foreign))
			k++;
		ret = m && m->foreign ? copy_foreign(vm->xen, m, &ops[i])
				      : to->ops->copy(to, ops + i, k - i);
		first = first ? first : ret;
		i = k;
	}
	return first;
}

static int seen_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	struct vg_vu_mem *vm = of_mem(mem);
	const struct vg_vu_mapping *m = not_direct(vm, addr, len);
	struct vg_mem *to = m ? &vm->xen->grants.mem : &vm->direct.mem;

	if (m && m->foreign)
		return map_pages(vm->xen, m, addr, len, out);
	return to->ops->map(to, addr, len, out);
}

static void seen_unmap(struct vg_mem *mem, struct vg_map *map)
{
	struct vg_vu_mem *vm = of_mem(mem);

	/* Direct memory is unmapped with its region, and has no base. */
	if (map->foreign)
		vm->xen->foreign->unmap(vm->xen->foreign_handle, map->base, map->pages);
	else if (map->base)
		vm->xen->grants.mem.ops->unmap(&vm->xen->grants.mem, map);
}

/* All of one sort: direct memory, or grants that are not mapped in advance. */
static int seen_map_long(struct vg_mem *mem, const struct vg_seg *segs, unsigned n, enum vg_dir dir,
			 struct vg_map *out, struct vg_backing *b)
{
	struct vg_vu_mem *vm = of_mem(mem);
	const struct vg_vu_mapping *m = not_direct(vm, segs[0].addr, segs[0].len);
	struct vg_mem *to = &vm->direct.mem;

	if (m && m->foreign)
		return -EOPNOTSUPP;
	if (m) {
		to = &vm->xen->grants.mem;
		for (unsigned i = 0; i < n; i++) {
			m = not_direct(vm, segs[i].addr, segs[i].len);
			if (!m || !m->grant)
				return -EFAULT;
		}
	}
	return to->ops->map_long(to, segs, n, dir, out, b);
}

static const struct vg_mem_ops seen_ops = {
	.unpinnable =
		true, /* foreign memory cannot even be pinned: Linux maps no pages of its own there */
	.direct = seen_direct,
	.copy = seen_copy,
	.map = seen_map,
	.unmap = seen_unmap,
	.map_long = seen_map_long,
};

/* ---- one region --------------------------------------------------------- */

/* The first reference of a region of grants. */
static uint64_t region_ref(const struct vg_vu_region *r)
{
	return (r->guest & ~VIRTIO_GRANT_ADDR_FLAG) >> XEN_PAGE_SHIFT;
}

/* The pool that a region of grants was mapped as, if it was. */
static void drop_pool(struct vg_grant_mem *gm, const struct vg_vu_region *r)
{
	int i = vg_grant_pool_find(gm, (uint32_t)region_ref(r),
				   (uint32_t)(r->size >> XEN_PAGE_SHIFT));

	if (i >= 0)
		vg_grant_pool_drop(gm, (unsigned)i);
}

static void unmap_region(struct vg_vu_mem *vm, struct vg_vu_mapping *m)
{
	vg_sigbus_unguard(&m->guard);
	if (vm->xen && m->grant && !(m->region.xen_flags & VG_VU_XEN_NO_ADVANCE))
		drop_pool(&vm->xen->grants, &m->region);
	if (vm->xen && m->foreign && m->base)
		vm->xen->foreign->unmap(vm->xen->foreign_handle, m->base, m->len >> XEN_PAGE_SHIFT);
	else if (!m->grant && m->base)
		munmap(m->base, m->len);
	free(m);
}

/* Map [offset, offset + size) of a file. Huge pages want a larger alignment than ours: their files
 * are then mapped from the start. Return: where offset lies, or MAP_FAILED. */
static uint8_t *map_file(struct vg_vu_mapping *m, int fd, int prot)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t starts[] = { m->region.offset & ~(page - 1), 0 };

	for (unsigned i = 0; i < 2; i++) {
		uint64_t skip = m->region.offset - starts[i];

		m->len = (size_t)((m->region.size + skip + page - 1) & ~(page - 1));
		m->base =
			mmap(NULL, m->len, prot, MAP_SHARED | MAP_NORESERVE, fd, (off_t)starts[i]);
		if (m->base != MAP_FAILED)
			return (uint8_t *)m->base + skip;
		if (errno != EINVAL)
			break;
	}
	m->base = NULL;
	return MAP_FAILED;
}

static int map_shared(struct vg_vu_mapping *m, int fd, struct vg_region *host, struct vg_err *err)
{
	const struct vg_vu_region *r = &m->region;
	struct stat st;
	uint8_t *p;

	if (fstat(fd, &st) < 0)
		return vg_fail(err, -errno, "a region's file: %s", strerror(errno));
	if (r->offset + r->size < r->offset || r->offset + r->size > INT64_MAX)
		return vg_fail(err, -EINVAL, "region 0x%llx: it wraps in its file",
			       (unsigned long long)r->guest);
	if (S_ISREG(st.st_mode) && r->offset + r->size > (uint64_t)st.st_size)
		return vg_fail(err, -EINVAL,
			       "region 0x%llx: %llu bytes at %llu of a file that has %llu",
			       (unsigned long long)r->guest, (unsigned long long)r->size,
			       (unsigned long long)r->offset, (unsigned long long)st.st_size);
	p = map_file(m, fd, PROT_READ | PROT_WRITE);
	if (p == MAP_FAILED && errno == EACCES) {
		p = map_file(m, fd, PROT_READ);
		host->read_only = true;
	}
	if (p == MAP_FAILED)
		return vg_fail(err, -errno, "region 0x%llx cannot be mapped: %s",
			       (unsigned long long)r->guest, strerror(errno));
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	vg_sigbus_guard(&m->guard, m->base, m->len);
	host->host = p;
	return 0;
}

/* A front-end is of one guest, and says of which with its first region: before the first byte of that
 * guest is looked at, the handle for foreign memory is its own, and that for grants where the kernel can.
 * Who takes the worker over later has no other guest's memory, nor this domain's. */
static int of_one_guest(struct vg_vu_xen *xen, uint32_t domid, struct vg_err *err)
{
	int ret;

	if (xen->domid_known && xen->grants.domid != domid)
		return vg_fail(err, -EINVAL, "memory of two domains, %u and %u", xen->grants.domid,
			       domid);
	if (xen->kept && xen->guest != domid)
		return vg_fail(err, -EPERM,
			       "memory of domain %u: this process has served domain %u", domid,
			       xen->guest);
	if (!xen->kept) {
		ret = xen->foreign->keep_to(xen->foreign_handle, domid);
		if (ret < 0)
			return vg_fail(err, ret, "foreign memory cannot be kept to domain %u: %s",
				       domid, strerror(-ret));
		ret = vg_grant_keep(&xen->grants, domid);
		if (ret < 0 && ret != -ENOTTY)
			return vg_fail(err, ret, "grants cannot be kept to domain %u: %s", domid,
				       strerror(-ret));
	}
	xen->kept = true;
	xen->guest = xen->grants.domid = domid;
	xen->domid_known = true;
	return 0;
}

static int map_foreign(struct vg_vu_xen *xen, struct vg_vu_mapping *m, struct vg_region *host,
		       struct vg_err *err)
{
	const struct vg_vu_region *r = &m->region;
	uint64_t page = (1u << XEN_PAGE_SHIFT) - 1;

	if ((r->guest | r->size) & page)
		return vg_fail(err, -EINVAL, "region 0x%llx of Xen is not made of pages",
			       (unsigned long long)r->guest);
	m->foreign = true;
	if (r->xen_flags & VG_VU_XEN_NO_ADVANCE)
		return 0;
	m->base = xen->foreign->map(xen->foreign_handle, r->xen_domid, r->guest >> XEN_PAGE_SHIFT,
				    r->size >> XEN_PAGE_SHIFT);
	if (!m->base)
		return vg_fail(err, errno ? -errno : -EFAULT,
			       "foreign memory of domain %u at 0x%llx cannot be mapped",
			       r->xen_domid, (unsigned long long)r->guest);
	m->len = r->size;
	host->host = m->base;
	return 0;
}

static int map_grants(struct vg_vu_xen *xen, struct vg_vu_mapping *m, struct vg_err *err)
{
	const struct vg_vu_region *r = &m->region;
	uint64_t ref = region_ref(r);
	uint64_t pages = r->size >> XEN_PAGE_SHIFT;
	int ret;

	if (!(r->guest & VIRTIO_GRANT_ADDR_FLAG) || ((r->guest & 0xfff)))
		return vg_fail(err, -EINVAL, "region 0x%llx is no address of grants",
			       (unsigned long long)r->guest);
	m->grant = true;
	if (r->xen_flags & VG_VU_XEN_NO_ADVANCE)
		return 0;
	if (ref > UINT32_MAX || pages > UINT32_MAX)
		return vg_fail(err, -EINVAL, "region 0x%llx: more grants than there are",
			       (unsigned long long)r->guest);
	ret = vg_grant_pool_add(&xen->grants, (uint32_t)ref, (uint32_t)pages);
	if (ret < 0)
		return vg_fail(err, ret, "%llu grants of domain %u cannot be mapped: %s",
			       (unsigned long long)pages, r->xen_domid, strerror(-ret));
	return 0;
}

/*
 * Which flags go together the specification leaves to sense: memory is foreign or granted, not both,
 * and what is neither is a file, of which nobody forbids to map the whole. rust-vmm's vm-memory
 * (MmapXenFlags::is_valid) also refuses foreign memory that is not mapped in advance; we take it.
 */
static int check_flags(const struct vg_vu_region *r, struct vg_err *err)
{
	const uint32_t known = VG_VU_XEN_FOREIGN | VG_VU_XEN_GRANT | VG_VU_XEN_NO_ADVANCE;
	bool foreign = r->xen_flags & VG_VU_XEN_FOREIGN;
	bool grant = r->xen_flags & VG_VU_XEN_GRANT;

	if (r->xen_flags & ~known)
		return vg_fail(err, -EINVAL, "region 0x%llx: unknown flags 0x%x of Xen's memory",
			       (unsigned long long)r->guest, r->xen_flags & ~known);
	if (foreign && grant)
		return vg_fail(err, -EINVAL, "region 0x%llx is both foreign memory and grants",
			       (unsigned long long)r->guest);
	if ((r->xen_flags & VG_VU_XEN_NO_ADVANCE) && !grant && !foreign)
		return vg_fail(err, -EINVAL,
			       "region 0x%llx: a file is mapped in advance, or not at all",
			       (unsigned long long)r->guest);
	return 0;
}

static int check(const struct vg_vu_mem *vm, const struct vg_vu_region *r, struct vg_err *err)
{
	int ret = check_flags(r, err);

	if (ret < 0)
		return ret;
	if (r->size == 0 || r->guest + (r->size - 1) < r->guest ||
	    r->user + (r->size - 1) < r->user)
		return vg_fail(err, -EINVAL, "region 0x%llx is empty or wraps",
			       (unsigned long long)r->guest);
	for (unsigned i = 0; i < vm->n; i++) {
		const struct vg_vu_region *o = &vm->map[i]->region;
		bool guest = r->guest < o->guest ? o->guest - r->guest < r->size
						 : r->guest - o->guest < o->size;
		bool user = r->user < o->user ? o->user - r->user < r->size
					      : r->user - o->user < o->size;

		if (guest || user)
			return vg_fail(err, -EEXIST, "regions 0x%llx and 0x%llx overlap",
				       (unsigned long long)r->guest, (unsigned long long)o->guest);
	}
	if (vm->n == VG_MAX_REGIONS)
		return vg_fail(err, -ENOSPC, "more than %u regions", VG_MAX_REGIONS);
	return 0;
}

int vg_vu_mem_add(struct vg_vu_mem *vm, const struct vg_vu_region *region, int fd,
		  struct vg_err *err)
{
	struct vg_region host = { .guest_addr = region->guest, .size = region->size };
	struct vg_vu_mapping *m;
	int ret = check(vm, region, err);

	if (ret < 0)
		return ret;
	m = calloc(1, sizeof(*m));
	if (!m)
		return vg_fail(err, -ENOMEM, "out of memory for a region");
	m->region = *region;
	if (!(region->xen_flags & (VG_VU_XEN_FOREIGN | VG_VU_XEN_GRANT)))
		ret = map_shared(m, fd, &host, err);
	else if (!vm->xen)
		ret = vg_fail(err, -EINVAL, "memory of Xen, but Xen was not asked for");
	else
		ret = of_one_guest(vm->xen, region->xen_domid, err);
	if (ret == 0 && region->xen_flags & VG_VU_XEN_GRANT)
		ret = map_grants(vm->xen, m, err);
	else if (ret == 0 && region->xen_flags & VG_VU_XEN_FOREIGN)
		ret = map_foreign(vm->xen, m, &host, err);
	if (ret == 0 && m->base) {
		ret = vg_regions_add(&vm->direct, &host);
		if (ret < 0)
			vg_fail(err, ret, "region 0x%llx cannot be added",
				(unsigned long long)region->guest);
	}
	if (ret < 0) {
		unmap_region(vm, m);
		return ret;
	}
	vm->map[vm->n++] = m;
	vg_backings_renew(vg_vu_mem_seen(vm, 0));
	return 0;
}

static void remove_at(struct vg_vu_mem *vm, unsigned i)
{
	struct vg_vu_mapping *m = vm->map[i];

	vm->map[i] = vm->map[--vm->n];
	if (m->base)
		vg_regions_del(&vm->direct, m->region.guest, m->region.size);
	vg_backings_renew(vg_vu_mem_seen(vm, 0));
	unmap_region(vm, m);
}

int vg_vu_mem_del(struct vg_vu_mem *vm, const struct vg_vu_region *region, struct vg_err *err)
{
	for (unsigned i = 0; i < vm->n; i++) {
		const struct vg_vu_region *r = &vm->map[i]->region;

		if (r->guest == region->guest && r->user == region->user &&
		    r->size == region->size) {
			remove_at(vm, i);
			return 0;
		}
	}
	return vg_fail(err, -ENOENT, "there is no region of %llu bytes at 0x%llx",
		       (unsigned long long)region->size, (unsigned long long)region->guest);
}

/* ---- all regions -------------------------------------------------------- */

int vg_vu_mem_init(struct vg_vu_mem *vm, struct vg_vu_xen *xen, unsigned contexts,
		   size_t bounce_bytes)
{
	memset(vm, 0, sizeof(*vm));
	vg_regions_init(&vm->direct);
	vm->direct.mem.bounce = vg_bounce_new(bounce_bytes / contexts);
	vm->view = calloc(contexts, sizeof(*vm->view));
	if (!vm->direct.mem.bounce || !vm->view)
		goto fail;
	for (; vm->n_views < contexts - 1; vm->n_views++) {
		struct vg_regions_view *v = &vm->view[vm->n_views];

		vg_regions_view_init(v, &vm->direct);
		v->mem.bounce = vg_bounce_new(bounce_bytes / contexts);
		if (!v->mem.bounce)
			goto fail;
	}
	vm->xen = xen;
	vm->xen_mem = (struct vg_mem){ .ops = &seen_ops, .bounce = vm->direct.mem.bounce };
	return 0;
fail:
	vg_vu_mem_fini(vm);
	return -ENOMEM;
}

void vg_vu_mem_fini(struct vg_vu_mem *vm)
{
	vg_vu_mem_clear(vm);
	for (unsigned i = 0; i < vm->n_views; i++)
		vg_bounce_free(vm->view[i].mem.bounce);
	free(vm->view);
	vm->view = NULL;
	vm->n_views = 0;
	vg_bounce_free(vm->direct.mem.bounce);
	vm->direct.mem.bounce = NULL;
}

struct vg_mem *vg_vu_mem_seen(struct vg_vu_mem *vm, unsigned i)
{
	if (i)
		return &vm->view[i - 1].mem;
	return vm->xen ? &vm->xen_mem : &vm->direct.mem;
}

void vg_vu_mem_clear(struct vg_vu_mem *vm)
{
	while (vm->n)
		remove_at(vm, vm->n - 1);
	if (vm->xen) {
		vg_grant_pools_drop(&vm->xen->grants);
		vm->xen->domid_known = false;
	}
}

bool vg_vu_mem_same(const struct vg_vu_mem *vm, const struct vg_vu_region *regions, const int *fds,
		    unsigned n)
{
	if (n != vm->n)
		return false;
	for (unsigned i = 0; i < n; i++) {
		const struct vg_vu_mapping *m = NULL;
		struct stat st;

		for (unsigned k = 0; k < n && !m; k++) {
			if (memcmp(&vm->map[k]->region, &regions[i], sizeof(regions[i])) == 0)
				m = vm->map[k];
		}
		if (!m || m->guard.hurt || m->grant || m->foreign || fstat(fds[i], &st) < 0 ||
		    st.st_dev != m->dev || st.st_ino != m->ino)
			return false;
	}
	return true;
}

/*
 * With grants the old table has to go first: pools are limited, and may not overlap. A failure then
 * leaves no memory at all.
 */
int vg_vu_mem_set(struct vg_vu_mem *vm, const struct vg_vu_region *regions, const int *fds,
		  unsigned n, struct vg_err *err)
{
	struct vg_vu_mem *old;
	int ret = 0;

	if (vm->xen) {
		vg_vu_mem_clear(vm);
		for (unsigned i = 0; i < n && ret == 0; i++)
			ret = vg_vu_mem_add(vm, &regions[i], fds[i], err);
		if (ret < 0)
			vg_vu_mem_clear(vm);
		return ret;
	}
	old = malloc(sizeof(*old));
	if (!old)
		return vg_fail(err, -ENOMEM, "out of memory for regions");
	memcpy(old, vm, sizeof(*old));
	vm->n = 0;
	vm->direct.n = 0;
	vm->direct.hit = 0;
	for (unsigned i = 0; i < n && ret == 0; i++)
		ret = vg_vu_mem_add(vm, &regions[i], fds[i], err);
	if (ret < 0) {
		vg_vu_mem_clear(vm);
		memcpy(vm->map, old->map, sizeof(vm->map));
		vm->n = old->n;
		memcpy(vm->direct.r, old->direct.r, sizeof(vm->direct.r));
		vm->direct.n = old->direct.n;
		vg_backings_renew(vg_vu_mem_seen(vm, 0));
	} else {
		for (unsigned i = 0; i < old->n; i++)
			unmap_region(vm, old->map[i]);
	}
	free(old);
	return ret;
}

int vg_vu_mem_from_user(const struct vg_vu_mem *vm, uint64_t user, uint64_t *guest)
{
	for (unsigned i = 0; i < vm->n; i++) {
		const struct vg_vu_region *r = &vm->map[i]->region;

		if (user - r->user < r->size) {
			*guest = r->guest + (user - r->user);
			return 0;
		}
	}
	return -EFAULT;
}

bool vg_vu_mem_hurt(const struct vg_vu_mem *vm)
{
	if (!vg_sigbus_hits)
		return false;
	for (unsigned i = 0; i < vm->n; i++) {
		if (vm->map[i]->guard.hurt)
			return true;
	}
	return false;
}
