/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mem_flat.c - first-fit allocator over one region of memory
 *
 * The free pieces are a list sorted by offset, outside the region: the region
 * belongs to the test and the device, which may both scribble over it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/driver/vring.h"

#define GRAIN 16u /* lengths are rounded up to this */

struct drv_flat_free {
	struct drv_flat_free *next;
	size_t off, len;
};

int drv_alloc(struct drv_mem *mem, size_t len, size_t align, bool dev_writes, struct drv_buf *buf)
{
	return mem->ops->alloc(mem, len, align, dev_writes, buf);
}

int drv_free(struct drv_mem *mem, struct drv_buf *buf)
{
	int rc = 0;

	if (buf->len)
		rc = mem->ops->free(mem, buf);
	if (rc == -EBUSY)
		mem->still_mapped++;
	memset(buf, 0, sizeof(*buf));
	return rc;
}

/* cut() - take [off, off + len) out of the free piece *p */
static int cut(struct drv_flat_free **p, size_t off, size_t len)
{
	struct drv_flat_free *f = *p, *tail;
	size_t after = f->off + f->len - (off + len);

	if (off > f->off && after) {
		tail = malloc(sizeof(*tail));
		if (!tail)
			return -ENOMEM;
		tail->off = off + len;
		tail->len = after;
		tail->next = f->next;
		f->next = tail;
		f->len = off - f->off;
	} else if (off > f->off) {
		f->len = off - f->off;
	} else if (after) {
		f->off = off + len;
		f->len = after;
	} else {
		*p = f->next;
		free(f);
	}
	return 0;
}

static int flat_alloc(struct drv_mem *mem, size_t len, size_t align, bool dev_writes,
		      struct drv_buf *buf)
{
	struct drv_mem_flat *m = (struct drv_mem_flat *)mem;
	size_t want = (len + GRAIN - 1) / GRAIN * GRAIN, off;
	struct drv_flat_free **p;

	(void)dev_writes;
	if (!len)
		return -EINVAL;
	for (p = &m->free; *p; p = &(*p)->next) {
		off = ((*p)->off + align - 1) / align * align;
		if (off + want > (*p)->off + (*p)->len)
			continue;
		if (cut(p, off, want))
			return -ENOMEM;
		buf->virt = m->virt + off;
		buf->addr = m->base + off;
		buf->len = len;
		buf->priv = off;
		memset(buf->virt, 0, len);
		return 0;
	}
	return -ENOSPC;
}

static int flat_free(struct drv_mem *mem, struct drv_buf *buf)
{
	struct drv_mem_flat *m = (struct drv_mem_flat *)mem;
	size_t len = (buf->len + GRAIN - 1) / GRAIN * GRAIN, off = buf->priv;
	struct drv_flat_free **p, *f, *prev = NULL;

	for (p = &m->free; *p && (*p)->off < off; p = &(*p)->next)
		prev = *p;
	if (prev && prev->off + prev->len == off) {
		prev->len += len;
		f = prev;
	} else {
		f = malloc(sizeof(*f));
		if (!f)
			return -ENOMEM;
		f->off = off;
		f->len = len;
		f->next = *p;
		*p = f;
	}
	if (f->next && f->off + f->len == f->next->off) {
		struct drv_flat_free *n = f->next;

		f->len += n->len;
		f->next = n->next;
		free(n);
	}
	return 0;
}

static const struct drv_mem_ops flat_ops = { .alloc = flat_alloc, .free = flat_free };

int drv_mem_flat_init(struct drv_mem_flat *m, void *virt, uint64_t base, size_t len)
{
	struct drv_flat_free *f = malloc(sizeof(*f));

	if (!f)
		return -ENOMEM;
	*f = (struct drv_flat_free){ .len = len / GRAIN * GRAIN };
	*m = (struct drv_mem_flat){
		.mem.ops = &flat_ops, .virt = virt, .base = base, .len = len, .free = f
	};
	return 0;
}

void drv_mem_flat_fini(struct drv_mem_flat *m)
{
	while (m->free) {
		struct drv_flat_free *f = m->free;

		m->free = f->next;
		free(f);
	}
}
