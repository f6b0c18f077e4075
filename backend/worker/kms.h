/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kms.h - the process that shows guests' pictures on the monitors of a card
 */
#ifndef VG_WORKER_KMS_H
#define VG_WORKER_KMS_H

/**
 * vg_kms_main - show what the supervisor says on the monitors of one card, until it hangs up
 * @sock: the socket to the supervisor (ipc.h)
 *
 * Return: the process's exit status.
 */
int vg_kms_main(int sock);

#endif /* VG_WORKER_KMS_H */
