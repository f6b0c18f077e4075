/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gntdev-restrict.h - what the edited driver calls, see gntdev-restrict
 *
 * All is asked of the kernel's own copy of what user space passed, which nobody can
 * change any more.  Included at the end of gntdev-common.h.
 */
#ifndef _GNTDEV_RESTRICT_H
#define _GNTDEV_RESTRICT_H

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/uaccess.h>
#include <xen/gntdev.h>
#include <xen/interface/xen.h>

#include "gntdev_restrict.h"

/* Whether this open file may use grants of, or to, @domid. */
static inline bool gntdev_may_use(const struct gntdev_priv *priv, u32 domid)
{
	u32 only = READ_ONCE(priv->only_domid_1);

	return !only || domid == only - 1;
}

/* The same of all that a mapping is to be made of.  0 or -EACCES. */
static inline int gntdev_may_map(const struct gntdev_priv *priv,
				 const struct gntdev_grant_map *map)
{
	int i;

	for (i = 0; i < map->count; i++) {
		if (!gntdev_may_use(priv, map->grants[i].domid))
			return -EACCES;
	}
	return 0;
}

/* The same of both sides of a copy, as far as they are foreign.  0 or -EACCES. */
static inline int gntdev_may_copy(const struct gntdev_priv *priv,
				  const struct gntdev_grant_copy_segment *seg)
{
	if ((seg->flags & GNTCOPY_source_gref) &&
	    !gntdev_may_use(priv, seg->source.foreign.domid))
		return -EACCES;
	if ((seg->flags & GNTCOPY_dest_gref) &&
	    !gntdev_may_use(priv, seg->dest.foreign.domid))
		return -EACCES;
	return 0;
}

static inline long gntdev_ioctl_restrict(struct gntdev_priv *priv,
					 const void __user *u)
{
	struct ioctl_gntdev_restrict_domid op;

	if (copy_from_user(&op, u, sizeof(op)))
		return -EFAULT;
	if (op.domid >= DOMID_FIRST_RESERVED)
		return -EINVAL;
	return cmpxchg(&priv->only_domid_1, 0, op.domid + 1) ? -EACCES : 0;
}

#endif
