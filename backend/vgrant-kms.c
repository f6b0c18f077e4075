// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vgrant-kms.c - the process that shows guests on the monitors of a card, for vgrantd
 *
 * A program of its own: it alone needs libdrm.
 */
#include "backend/worker/kms.h"

#include <stdio.h>
#include <string.h>

#include "backend/daemon/child.h"

int main(int argc, char **argv)
{
	if (argc != 2 || strcmp(argv[1], "--kms") != 0) {
		fprintf(stderr, "usage: vgrant-kms --kms\n"
				"vgrantd starts it, with a socket: see vgrantd(8).\n");
		return 2;
	}
	return vg_kms_main(VG_CHILD_SOCK);
}
