// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vgrant-display.c - the process that shows a guest's picture, for vgrantd
 *
 * A program of its own: it alone needs libvncserver, and what that brings.
 */
#include "backend/worker/display.h"

#include <stdio.h>
#include <string.h>

#include "backend/daemon/child.h"

int main(int argc, char **argv)
{
	if (argc != 2 || strcmp(argv[1], "--display") != 0) {
		fprintf(stderr, "usage: vgrant-display --display\n"
				"vgrantd starts it, with a socket: see vgrantd(8).\n");
		return 2;
	}
	return vg_display_main(VG_CHILD_SOCK);
}
