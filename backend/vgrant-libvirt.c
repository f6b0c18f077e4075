// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vgrant-libvirt.c - the process that speaks to libvirt, for vgrantd
 */
#include "backend/toolstack/libvirt/client.h"

#include <stdio.h>

#include "backend/base/log.h"
#include "backend/toolstack/libvirt/msg.h"

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: vgrant-libvirt URI\n"
				"vgrantd starts it, with a socket: see vgrantd(8).\n");
		return 2;
	}
	vg_log_init(VG_LOG_STDERR, VG_LOG_INFO, "libvirt");
	return vg_virt_client(VG_VIRT_SOCK, argv[1]);
}
