/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keeper.h - the process that starts, watches and ends a gateway's daemon */
#ifndef VG_KEEPER_H
#define VG_KEEPER_H

/**
 * vg_keeper_main - be that process
 * @sock: the socket to the supervisor, which sends SETUP on it
 *
 * Return: the process's exit status.
 */
int vg_keeper_main(int sock);

#endif /* VG_KEEPER_H */
