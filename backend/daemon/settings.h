/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * settings.h - the daemon's own settings: /etc/vgrant/vgrantd.conf
 *
 * An INI file. Every key stands in one table (vg_settings_keys), with its default
 * and a sentence of help; the reader, `vgrantd --help`, `vgrant show-config`, and
 * the test that the manual names every key all go by that table.
 */
#ifndef VG_SETTINGS_H
#define VG_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "backend/base/log.h"
#include "backend/base/params.h"

#ifndef VG_SYSCONFDIR
#define VG_SYSCONFDIR "/etc"
#endif
#define VG_SETTINGS_FILE VG_SYSCONFDIR "/vgrant/vgrantd.conf"
#define VG_RUNTIME_DIR	 "/run/vgrant"
#define VG_CONTROL_NAME	 "control" /* of the socket, in the runtime folder */

#define VG_SETTINGS_DIRS_MAX 16

#define VG_SETTINGS_SOCKETS_MAX 64

/* A line of [vhost-user]: a device on <runtime-dir>/NAME.sock. */
struct vg_settings_socket_device {
	char name[64];
	char spec[VG_PARAMS_LEN]; /* "blk,target=..." */
};

/* Pointers go into the struct: it must not be copied by assignment. */
struct vg_settings {
	const char
		*file; /* that was loaded, the caller's; NULL: VG_SETTINGS_FILE, if there is one */

	/* [daemon] */
	enum vg_log_target log_target;
	enum vg_log_level log_level;
	char runtime_dir[80]; /* an absolute path; short enough for a socket's name below it */

	/* [guests] */
	const char *config_dirs[VG_SETTINGS_DIRS_MAX + 1]; /* ended by NULL */
	char config_dirs_text[2048];			   /* what config_dirs points into */

	char libvirt[128]; /* libvirt's URI, or "off" */

	/* [control] */
	char group[33];	   /* "": root */
	unsigned mode;	   /* of the socket */
	char metrics[108]; /* "off", a path, or a port of this machine's own address */

	/* [worker] */
	char user[33];
	bool user_is_set; /* user was written by somebody: then it must exist */
	bool sandbox;
	char user_range
		[33]; /* user whose id is that of the first guest's workers; or a number; "": none */
	bool user_range_is_set;

	/* [limits] */
	uint64_t devices; /* in all */
	uint64_t devices_per_guest;
	uint64_t guest_mapped_pages, guest_bounce_mib, guest_memory_mib; /* of all its devices */
	uint64_t guest_picture_pages, guest_picture_mib;		 /* the same */

	/* [vhost-user] */
	char socket_group[33]; /* "": ours */
	unsigned socket_mode;
	struct vg_settings_socket_device sockets[VG_SETTINGS_SOCKETS_MAX];
	unsigned n_sockets;
};

enum vg_setting_kind {
	VG_SETTING_STRING,
	VG_SETTING_PATH,  /* absolute */
	VG_SETTING_PATHS, /* absolute, separated by blanks or commas */
	VG_SETTING_BOOL,
	VG_SETTING_UINT,
	VG_SETTING_MODE, /* octal */
	VG_SETTING_LOG_LEVEL,
	VG_SETTING_LOG_TARGET,
	VG_SETTING_METRICS, /* off, an absolute path, or a port */
};

struct vg_setting_key {
	const char *section, *key; /* section NULL ends the table */
	enum vg_setting_kind kind;
	size_t offset, size; /* of the member; the kind says its type */
	uint64_t min, max;   /* of UINT and MODE */
	const char *fallback;
	const char *help; /* a sentence */
};

extern const struct vg_setting_key vg_settings_keys[];

/** vg_settings_defaults - fill @s with the table's defaults */
void vg_settings_defaults(struct vg_settings *s);

/**
 * vg_settings_load - defaults, and over them what the file says
 * @path: NULL: VG_SETTINGS_FILE, which may be absent
 *
 * Return: 0; -EINVAL with "FILE:LINE: ..." for the first line that is wrong; or what open(2)
 * returned. @s is whole in any case: lines without a mistake are in it.
 */
int vg_settings_load(struct vg_settings *s, const char *path, struct vg_err *err);

/**
 * vg_settings_set - set one key, as the command line does
 * @key: "section.key" or a key that only one section has
 *
 * Return: 0, or -EINVAL with a sentence.
 */
int vg_settings_set(struct vg_settings *s, const char *key, const char *value, struct vg_err *err);

/** vg_settings_print - all settings in effect, as a file that would set them */
void vg_settings_print(const struct vg_settings *s, FILE *out);

/** vg_settings_socket - "<runtime-dir>/control" to @buf of at least 108 bytes */
void vg_settings_socket(const struct vg_settings *s, char *buf, size_t len);

/**
 * vg_settings_worker_ids - user and group that workers run as
 *
 * The user of [worker] user; when that is only the default and there is none, nobody.
 * Return: 0; -ENOENT: no such user.
 */
int vg_settings_worker_ids(const struct vg_settings *s, uid_t *uid, gid_t *gid, struct vg_err *err);

/**
 * vg_settings_user_range - id of the first user for workers of guests: that of domain n is n more
 *
 * Return: 0, with *@uid 0: there is no such range, and all run as vg_settings_worker_ids() says; or
 * -ENOENT, -ERANGE with a sentence.
 */
int vg_settings_user_range(const struct vg_settings *s, uid_t *uid, struct vg_err *err);

/* The control socket's group, and that of sockets in [vhost-user]; (gid_t)-1: none is set. -ENOENT:
 * no such group */
int vg_settings_group(const struct vg_settings *s, gid_t *gid, struct vg_err *err);
int vg_settings_socket_group(const struct vg_settings *s, gid_t *gid, struct vg_err *err);

#endif /* VG_SETTINGS_H */
