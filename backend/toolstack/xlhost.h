/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xlhost.h - what xl is told of this host: /etc/xen/xl.conf
 */
#ifndef VG_XLHOST_H
#define VG_XLHOST_H

#include <stddef.h>

#define VG_XL_CONF "/etc/xen/xl.conf"

/**
 * vg_xl_default_bridge - vif.default.bridge of the file, or xenbr0, as xl.conf(5) has it
 * @file: NULL: VG_XL_CONF
 */
void vg_xl_default_bridge(const char *file, char *name, size_t size);

#endif /* VG_XLHOST_H */
