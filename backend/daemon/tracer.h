/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tracer.h - `vgrant trace` and `vgrant capture` of one device: from its worker to clients of the
 * control socket
 */
#ifndef VG_TRACER_H
#define VG_TRACER_H

#include "backend/base/loop.h"
#include "backend/control/control.h"

struct vg_tracer;

/* The traces of one device. */
struct vg_tracers {
	struct vg_loop *loop;
	struct vg_tracer *first;
	int sock; /* to the worker that is to write lines; -1: none now */
};

/** vg_tracers_init - none yet, and no worker */
void vg_tracers_init(struct vg_tracers *ts, struct vg_loop *loop);

/**
 * vg_tracer_start - @req gets lines of the device until its client or vg_tracers_end() ends it
 * @device: name of the device's kind
 *
 * @req is finished in any case, now or then.
 */
void vg_tracer_start(struct vg_tracers *ts, const char *device, struct vg_control_req *req);

/**
 * vg_tracer_capture - the same with packets (base/capture.h)
 * @fd: of the client's socket for them, the callee's to close; -1: none came
 */
void vg_tracer_capture(struct vg_tracers *ts, const char *device, struct vg_control_req *req,
		       int fd);

/** vg_tracers_connect - there is a new worker behind @sock (ipc.h), which is borrowed; -1: none */
void vg_tracers_connect(struct vg_tracers *ts, int sock);

/** vg_tracers_end - the device goes */
void vg_tracers_end(struct vg_tracers *ts);

#endif /* VG_TRACER_H */
