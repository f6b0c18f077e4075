/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * engine.h - virglrenderer: what carries out the operations of renderer.h
 */
#ifndef VG_ENGINE_H
#define VG_ENGINE_H

#include "backend/base/log.h"
#include "backend/renderers/renderer.h"

/**
 * vg_engine_open - load the GL, and find out what it can; once for a process
 * @caps: gets the capsets
 *
 * Reads files; makes no thread. Return: 0, or negative errno with a sentence that says what to
 * install.
 */
int vg_engine_open(struct vg_render_capsets *caps, struct vg_err *err);

/** vg_engine_window - where the window is mapped, VG_RENDER_WINDOW_BYTES of it; stays there */
void vg_engine_window(uint8_t *window);

/**
 * vg_engine_run - carry out @op, for which vg_render_ok() says yes
 * @later: gets whether it is done only when vg_engine_finished() says so
 *
 * Return: 0, or a positive errno.
 */
unsigned vg_engine_run(const struct vg_render_op *op, bool *later);

/** vg_engine_finished - whether the GL has finished the stream of operation @seq */
bool vg_engine_finished(uint32_t seq);

#endif /* VG_ENGINE_H */
