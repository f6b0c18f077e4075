// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vgrant-renderer.c - the process that draws for a guest, for vgrantd
 *
 * A program of its own: it alone needs virglrenderer, and the GL that that brings.
 */
#include "backend/worker/renderer.h"

#include <stdio.h>
#include <string.h>

#include "backend/daemon/child.h"

int main(int argc, char **argv)
{
	if (argc != 2 || strcmp(argv[1], "--renderer") != 0) {
		fprintf(stderr, "usage: vgrant-renderer --renderer\n"
				"vgrantd starts it, with a socket: see vgrantd(8).\n");
		return 2;
	}
	return vg_renderer_main(VG_CHILD_SOCK);
}
