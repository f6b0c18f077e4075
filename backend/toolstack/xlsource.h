/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xlsource.h - configurations from files of xl (xlconf.h), as a source
 */
#ifndef VG_XLSOURCE_H
#define VG_XLSOURCE_H

#include "backend/toolstack/source.h"

/** vg_xl_source - its ctx is a `const char *const *`: folders, ended by NULL, as vg_xlfind() */
extern const struct vg_source vg_xl_source;

#endif /* VG_XLSOURCE_H */
