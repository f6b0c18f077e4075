/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metrics.h - the process that tells Prometheus (control/exporter.h), as the supervisor sees it
 */
#ifndef VG_DAEMON_METRICS_H
#define VG_DAEMON_METRICS_H

#include "backend/control/control.h"
#include "backend/daemon/child.h"

/* Zero it. */
struct vg_metrics {
	struct vg_child c;
	struct vg_control *control;
	struct vg_timer timer; /* before the next is started */
	int listen;	       /* where it is found; of no meaning while control is NULL */
	const char *path;      /* of a Unix socket; NULL: it is none */
};

/**
 * vg_metrics_start - where the settings say so; what does not work is told in the log, and no more
 * @control: must outlive it
 */
void vg_metrics_start(struct vg_metrics *m, struct vg_children *all, struct vg_control *control);

/** vg_metrics_stop - the process ends, and its socket is gone */
void vg_metrics_stop(struct vg_metrics *m);

#endif /* VG_DAEMON_METRICS_H */
