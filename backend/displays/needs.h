/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * needs.h - what the process that shows a picture, and one that serves a viewer, may call
 */
#ifndef VG_DISPLAYS_NEEDS_H
#define VG_DISPLAYS_NEEDS_H

#include "backend/base/needs.h"

/* Descriptors of a viewer's process: it has no others but the log's. */
enum { VG_VIEWER_CLIENT = 3, VG_VIEWER_PARENT = 4 };

extern const struct vg_sandbox_needs vg_display_needs;

/* For vg_sandbox_narrow(): of who serves a viewer, and of who speaks TLS with it. */
extern const struct vg_sandbox_call vg_viewer_calls[];
extern const struct vg_sandbox_call vg_tls_calls[];

#endif /* VG_DISPLAYS_NEEDS_H */
