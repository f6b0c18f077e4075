/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * events.h - who wants to hear what happens to devices: clients of the control socket
 *
 * What happens is told in one place, vg_child_event(), beside the log.
 */
#ifndef VG_EVENTS_H
#define VG_EVENTS_H

#include "backend/control/control.h"

enum { VG_EVENTS_MAX = 32 }; /* listeners; fewer than the control socket has clients */

struct vg_listener;

/* Zero it. */
struct vg_events {
	struct vg_listener *first;
	unsigned n;
};

/**
 * vg_events_listen - @req hears of all that happens, until its client goes, or vg_events_end()
 * @guest: to devices of this one only, by name or number; NULL: of all
 *
 * @req is finished in any case, now or then.
 */
void vg_events_listen(struct vg_events *es, struct vg_control_req *req, const char *guest);

/** vg_events_tell - @e has happened: to all whom it concerns. Waits for nobody. */
void vg_events_tell(struct vg_events *es, const struct vg_control_event *e);

/** vg_events_end - nothing will happen any more */
void vg_events_end(struct vg_events *es);

#endif /* VG_EVENTS_H */
