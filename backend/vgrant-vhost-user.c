// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vgrant-vhost-user.c - the program: see standalone.c
 */
#include <string.h>

#include "backend/daemon/standalone.h"
#include "backend/devices/net/macvtap.h"

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], NET_MACVTAP_REMOVE) == 0)
		return net_macvtap_main(argv[2], argv[3]);
	return vg_vhost_user_main(argc, argv);
}
