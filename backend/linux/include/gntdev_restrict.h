/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gntdev_restrict.h - keep a handle of /dev/xen/gntdev to one domain
 *
 * No Linux has this request by itself: backend/linux puts it into the driver.
 * It is the same for kernel and user space, and does for grants what
 * IOCTL_EVTCHN_RESTRICT_DOMID does for event channels.
 */
#ifndef GNTDEV_RESTRICT_H
#define GNTDEV_RESTRICT_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct ioctl_gntdev_restrict_domid {
	__u32 domid; /* below DOMID_FIRST_RESERVED of Xen's */
};

/*
 * From now on, and for good, this open file maps, copies from and to, and shares as
 * dma-buf only what is granted by, or to, that domain; for any other: EACCES.  What it had
 * before stays.
 *
 * Returns 0; EACCES: it is restricted already; EINVAL: no domain has that number;
 * ENOTTY: the driver does not know the request.  So EINVAL is how one learns that it
 * does, without restricting anything.
 *
 * The number.  Those of gntdev and gntalloc are of type 'G', from 0 on, all of them
 * _IOC_NONE (Documentation/userspace-api/ioctl/ioctl-number.rst has 00 to 0F for the
 * two).  This one is _IOC_WRITE, which it is by ioctl(2)'s rules, and far from
 * theirs: whatever Linux adds there, it is another number, so that no kernel takes
 * it for something else.
 */
#define IOCTL_GNTDEV_RESTRICT_DOMID \
	_IOW('G', 0xd0, struct ioctl_gntdev_restrict_domid)

#endif /* GNTDEV_RESTRICT_H */
