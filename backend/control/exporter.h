/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exporter.h - the process that tells Prometheus: `vgrantd --metrics`
 */
#ifndef VG_CONTROL_EXPORTER_H
#define VG_CONTROL_EXPORTER_H

/**
 * vg_exporter_main - serve /metrics
 * @sock: to the supervisor (ipc.h): SETUP, then CONTROL with a client's end of the control socket
 * @listen: where clients connect
 *
 * Return: an exit status.
 */
int vg_exporter_main(int sock, int listen);

#endif /* VG_CONTROL_EXPORTER_H */
