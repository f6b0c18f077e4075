/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.h - a client of libvirt that tells vgrantd of domains and changes their metadata
 */
#ifndef VG_VIRT_CLIENT_H
#define VG_VIRT_CLIENT_H

/**
 * vg_virt_client - serve until vgrantd closes @sock
 * @uri: libvirt's, as "xen:///system"
 *
 * Return: an exit status.
 */
int vg_virt_client(int sock, const char *uri);

#endif /* VG_VIRT_CLIENT_H */
