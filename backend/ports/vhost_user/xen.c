// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xen.c - handles for memory of Xen guests, for a front-end that speaks XEN_MMAP
 *
 * Which guest it is, the front-end says with its regions. With the first one, the handle
 * for foreign memory is restricted to that guest (mem.c), as that for grants is where the
 * kernel can, which cannot be undone: the next guest's front-end is another process'
 * (socket_worker.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <xenforeignmemory.h>

/* After the types that they do not include. */
#include <xen/sys/gntdev.h>
#include <xen/sys/privcmd.h>

#include "backend/ports/vhost_user/vhost_user.h"
#include "gntdev_restrict.h"

static const struct vg_sandbox_call calls[] = {
	VG_CALL_IOCTL(IOCTL_PRIVCMD_MMAPBATCH_V2), /* xenforeignmemory_map() */
	VG_CALL_IOCTL(IOCTL_PRIVCMD_MMAPBATCH),
	VG_CALL_IOCTL(IOCTL_PRIVCMD_RESTRICT),	    /* which takes away, and never gives */
	VG_CALL_IOCTL(IOCTL_GNTDEV_RESTRICT_DOMID), /* so does this */
	VG_CALL_IOCTL(IOCTL_GNTDEV_MAP_GRANT_REF),
	VG_CALL_IOCTL(IOCTL_GNTDEV_UNMAP_GRANT_REF),
	VG_CALL_IOCTL(IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR),
	VG_CALLS_END,
};

const struct vg_sandbox_needs vg_vu_xen_needs = { .calls = calls };

static void *foreign_map(void *handle, uint32_t domid, uint64_t first, size_t pages)
{
	xen_pfn_t *frames;
	void *p;

	if (pages > SIZE_MAX / sizeof(*frames) || domid > UINT16_MAX) {
		errno = EINVAL;
		return NULL;
	}
	frames = malloc(pages * sizeof(*frames));
	if (!frames)
		return NULL;
	for (size_t i = 0; i < pages; i++)
		frames[i] = first + i;
	/* No array of errors: all pages, or none. */
	p = xenforeignmemory_map(handle, domid, PROT_READ | PROT_WRITE, pages, frames, NULL);
	free(frames);
	return p;
}

static void foreign_unmap(void *handle, void *ptr, size_t pages)
{
	xenforeignmemory_unmap(handle, ptr, pages);
}

static int foreign_keep_to(void *handle, uint32_t domid)
{
	if (domid > UINT16_MAX)
		return -EINVAL;
	return xenforeignmemory_restrict(handle, (domid_t)domid) < 0 ? -errno : 0;
}

static void foreign_close(void *handle)
{
	xenforeignmemory_close(handle);
}

static const struct vg_vu_foreign_ops foreign_ops = {
	.map = foreign_map,
	.unmap = foreign_unmap,
	.keep_to = foreign_keep_to,
	.close = foreign_close,
};

int vg_vu_xen_open(struct vg_vu_xen **out, struct vg_err *err)
{
	struct vg_vu_xen *xen = calloc(1, sizeof(*xen));
	int ret;

	if (!xen)
		return vg_fail(err, -ENOMEM, "out of memory");
	ret = vg_grant_mem_init(&xen->grants, 0, NULL, NULL);
	if (ret < 0) {
		free(xen);
		return vg_fail(err, ret,
			       "the grant device cannot be opened: %s; is this a Xen "
			       "domain with xen-gntdev loaded?",
			       strerror(-ret));
	}
	xen->foreign = &foreign_ops;
	xen->foreign_handle = xenforeignmemory_open(NULL, 0);
	if (!xen->foreign_handle) {
		ret = errno ? -errno : -ENODEV;
		vg_grant_mem_close(&xen->grants);
		free(xen);
		return vg_fail(err, ret,
			       "foreign memory cannot be opened: %s; is xen-privcmd loaded?",
			       strerror(-ret));
	}
	*out = xen;
	return 0;
}

void vg_vu_xen_close(struct vg_vu_xen *xen)
{
	if (!xen)
		return;
	xen->foreign->close(xen->foreign_handle);
	vg_grant_mem_close(&xen->grants);
	free(xen);
}
