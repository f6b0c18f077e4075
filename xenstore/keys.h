/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keys.h - keys of a backend node between its toolstack and who serves it
 *
 * toolstack/ and daemon/node.c meet in these alone, so that a vgrantd in a driver domain, which
 * has only the second, is fed by the one in dom0, and another toolstack can do as toolstack/ does.
 * PROTOCOL.md, which is about the two ends of a device, knows nothing of them.
 */
#ifndef VG_KEYS_H
#define VG_KEYS_H

#define VG_KEY_CONFIG  "vgrant-config"	/* "blk,target=/disk.img" */
#define VG_KEY_ORIGIN  "vgrant-origin"	/* a word of vg_control_origin_words[] */
#define VG_KEY_FILE    "vgrant-file"	/* the configuration that it is from */
#define VG_KEY_SET     "vgrant-set"	/* "blk,key=value": what `vgrant set` changed since */
#define VG_KEY_MADE    "vgrant-made"	/* "1": the nodes are ours to remove */
#define VG_KEY_PLUGGED "vgrant-plugged" /* "1": its guest ran already when it was made */
#define VG_KEY_RUNNING \
	"vgrant-running" /* with what configuration a driver is connected; not a toolstack's */

#endif /* VG_KEYS_H */
