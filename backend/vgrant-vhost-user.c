// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vgrant-vhost-user.c - the program: see standalone.c
 */
#include "backend/daemon/standalone.h"

int main(int argc, char **argv)
{
	return vg_vhost_user_main(argc, argv);
}
