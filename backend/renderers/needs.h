/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs.h - what the process that draws for a guest may call */
#ifndef VG_RENDERERS_NEEDS_H
#define VG_RENDERERS_NEEDS_H

#include "backend/base/needs.h"

extern const struct vg_sandbox_needs vg_renderer_needs;

#endif /* VG_RENDERERS_NEEDS_H */
