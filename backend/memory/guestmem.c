// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guestmem.c - copies in and out of guest memory
 *
 * Theory of operation
 *
 * All of it stands on the calls of struct vg_mem_ops. What is written here is the
 * same for every port: gathering copies so that a port that pays by the call
 * (grants: one hypercall) pays once; and cutting a chain's bytes along its
 * segments (cursor.h).
 *
 * Copy-once. What is copied out of guest memory is decided on in its copy only.
 * A compiler is allowed to read the source of a memcpy() again instead of the
 * copy, since C knows of no guest; barrier() after each copy forbids it.
 *
 * A guest may write to its memory while we read it. The bytes are then a mix of
 * old and new: the guest's own loss, since nothing is ever checked but the copy.
 */
#include <errno.h>
#include <string.h>

#include "backend/memory/cursor.h"

/** barrier - what memory holds is not known to the compiler past this point */
static inline void barrier(void)
{
	__asm__ __volatile__("" ::: "memory");
}

void *vg_mem_direct(struct vg_mem *mem, uint64_t addr, size_t len, enum vg_dir dir)
{
	void *p;

	if (!mem->ops->direct)
		return NULL;
	p = mem->ops->direct(mem, addr, len, dir);
	if (p)
		mem->stats.direct++;
	return p;
}

int vg_mem_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	int rc;

	*out = (struct vg_map){ 0 };
	if (!len || addr + (len - 1) < addr)
		return -EINVAL;
	rc = mem->ops->map(mem, addr, len, out);
	if (rc) {
		*out = (struct vg_map){ 0 };
		return rc;
	}
	mem->stats.maps++;
	return 0;
}

void vg_mem_unmap(struct vg_mem *mem, struct vg_map *map)
{
	if (!map->ptr)
		return;
	mem->ops->unmap(mem, map);
	mem->stats.unmaps++;
	*map = (struct vg_map){ 0 };
}

/* ---- batches ------------------------------------------------------------ */

void vg_batch_init(struct vg_batch *b, struct vg_mem *mem)
{
	b->mem = mem;
	b->n = 0;
	b->error = 0;
}

/**
 * batch_do - hand what is queued to the port
 *
 * A port reports each copy through its error pointer; copies that were queued without one get the
 * batch's. The first error stays in @b->error.
 */
static void batch_do(struct vg_batch *b)
{
	struct vg_mem *mem = b->mem;
	unsigned n = b->n;
	int rc;

	if (!n)
		return;
	b->n = 0;
	mem->stats.copies++;
	rc = mem->ops->copy(mem, b->ops, n);
	barrier();
	if (rc && !b->error)
		b->error = rc;
}

void vg_batch_add(struct vg_batch *b, uint64_t addr, void *host, uint32_t len, enum vg_dir dir,
		  int *error)
{
	void *p;

	if (!len)
		return;
	p = vg_mem_direct(b->mem, addr, len, dir);
	if (p) {
		if (dir == VG_FROM_GUEST)
			memcpy(host, p, len);
		else
			memcpy(p, host, len);
		barrier();
		return;
	}
	if (!b->mem->ops->copy) {
		if (error)
			*error = -EFAULT;
		if (!b->error)
			b->error = -EFAULT;
		return;
	}
	if (b->n == VG_BATCH_MAX)
		batch_do(b);
	b->mem->stats.copied_bytes += len;
	b->ops[b->n++] = (struct vg_copy){
		.addr = addr, .host = host, .len = len, .dir = dir, .error = error
	};
}

int vg_batch_run(struct vg_batch *b)
{
	int rc;

	batch_do(b);
	rc = b->error;
	b->error = 0;
	return rc;
}

int vg_chain_copy(struct vg_batch *b, struct vg_chain *c, enum vg_dir dir, size_t off,
		  uint8_t *host, size_t len)
{
	struct vg_cursor cur;
	int rc = vg_cursor_at(&cur, c, dir, off, len);

	if (rc)
		return rc;
	while (len) {
		uint64_t addr;
		uint32_t n = vg_cursor_take(&cur, len, &addr);

		vg_batch_add(b, addr, host, n, dir, &c->error);
		host += n;
		len -= n;
	}
	return 0;
}

int vg_chain_read(struct vg_batch *b, struct vg_chain *c, size_t off, void *dst, size_t len)
{
	return vg_chain_copy(b, c, VG_FROM_GUEST, off, dst, len);
}

int vg_chain_write(struct vg_batch *b, struct vg_chain *c, size_t off, const void *src, size_t len)
{
	/* Only read from: struct vg_copy says so for VG_TO_GUEST. */
	return vg_chain_copy(b, c, VG_TO_GUEST, off, (uint8_t *)(uintptr_t)src, len);
}
