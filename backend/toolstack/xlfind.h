/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xlfind.h - which xl configuration is a guest's?
 *
 * xl tells nobody which file it made a guest from. It can be read from the command line of the xl that stays
 * beside the guest; else a file is known by what it says, a name or a uuid, in the folders of the settings.
 */
#ifndef VG_XLFIND_H
#define VG_XLFIND_H

#include <stddef.h>

#include "backend/base/log.h"
#include "backend/toolstack/xlconf.h"

/**
 * vg_xlfind_name_len - how much of a guest's name in xenstore is its own
 *
 * xl appends "--incoming" to the name of a guest that migrates to here, until it runs: all that is made of
 * the name must be as it was where the guest comes from. Return: bytes, of @name.
 */
size_t vg_xlfind_name_len(const char *name);

/**
 * vg_xlfind_in - find the file of a guest in folders
 * @dirs: folders, ended by NULL; their order is the order of preference
 * @name: the guest's name, as in xenstore; see vg_xlfind_name_len()
 * @uuid: its uuid; NULL or "": not known
 *
 * A file that says that uuid is the guest's, whatever it is called: by `xl create web.cfg name="other"`, or
 * `xl rename`. Else it is the one that says the name.
 *
 * Looks at every regular file, in byte order of the names, except hidden ones, Xen's own (xl.conf ...) and those that
 * editors and package managers leave behind (~ .bak .old .orig .swp .dpkg-* .rpm* .ucf-*). Folders in
 * folders are not entered. A file that cannot be read hides no other one: it is logged once, until it
 * changes. When two files name the same guest, or its uuid, the first is taken, and that is logged once, too;
 * one file found twice, by a link in auto/, is one file.
 *
 * Return: 0; -ENOENT: none has that name; else negative errno (-ENOMEM).
 */
int vg_xlfind_in(const char *const *dirs, const char *name, const char *uuid,
		 struct vg_xlconf **out, struct vg_err *err);

/**
 * vg_xlfind - find the file of a guest that runs
 *
 * The one that an xl which still runs was told to make it from, wherever it lies, with what that command line
 * sets (xlprocess.h); the newest such xl counts. Where none was, for the guest was restored or came from
 * another host, or its xl has ended, it is looked for as by vg_xlfind_in().
 * Arguments and return: of vg_xlfind_in().
 */
int vg_xlfind(const char *const *dirs, const char *name, const char *uuid, struct vg_xlconf **out,
	      struct vg_err *err);

/**
 * vg_xlfind_broken - which files does vg_xlfind_in() pass over because they cannot be read?
 * @tell: called with a sentence about each, once
 */
void vg_xlfind_broken(const char *const *dirs, void (*tell)(void *ctx, const char *why), void *ctx);

#endif /* VG_XLFIND_H */
