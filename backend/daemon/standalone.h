/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * standalone.h - the program vgrant-vhost-user, which vgrantd can be, too
 */
#ifndef VG_VHOST_USER_PROGRAM_H
#define VG_VHOST_USER_PROGRAM_H

/** vg_vhost_user_main - main() of vgrant-vhost-user */
int vg_vhost_user_main(int argc, char **argv);

#endif /* VG_VHOST_USER_PROGRAM_H */
