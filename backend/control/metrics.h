/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metrics.h - what `vgrant list` knows, as Prometheus reads it
 */
#ifndef VG_METRICS_H
#define VG_METRICS_H

#include <stdio.h>

struct json_object;

/* Of what vg_metrics_print() prints: Prometheus' text format 0.0.4. */
#define VG_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/** vg_metrics_print - the devices of a list, an array as vg_control_list_add() makes it, to @out */
void vg_metrics_print(struct json_object *devices, FILE *out);

#endif /* VG_METRICS_H */
