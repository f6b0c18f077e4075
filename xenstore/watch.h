/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watch.h - what a backend watches in xenstore, and what its events are about
 *
 *	/local/domain/<us>/backend/<kind>             token "b": nodes come, change and go
 *	/local/domain/<guest>/device/<kind>/<id>      token "f", by who serves that node
 *	/local/domain/<guest>/name                    token "n", likewise
 *	@introduceDomain, @releaseDomain              token "d"
 */
#ifndef VG_WATCH_H
#define VG_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "xenstore/xs.h"

enum vg_xs_about {
	VG_XS_DOMAINS,	/* one came or went */
	VG_XS_FRONTEND, /* something of a frontend: kind, guest, id */
	VG_XS_BACKEND,	/* something of a backend's node: kind, guest, id */
	VG_XS_NAME,	/* of the domain guest */
	VG_XS_TREES,	/* anything else: look at all */
};

struct vg_xs_event {
	enum vg_xs_about about;
	char kind[16];
	uint32_t guest, id;
};

/** vg_xs_about - what the path of an event is about */
void vg_xs_about(const char *path, struct vg_xs_event *event);

/** vg_xs_own_domid - which domain this is. Return: 0 or negative errno. */
int vg_xs_own_domid(struct vg_xs *x, uint32_t *domid);

/**
 * vg_xs_watch_backend - watch what tells of nodes to serve, and of domains
 * @introduced: of those that come, too
 *
 * Return: 0 or negative errno.
 */
int vg_xs_watch_backend(struct vg_xs *x, uint32_t domid, bool introduced);

/** vg_xs_watch_name - watch a domain's name, or (@on false) no longer. Return: 0 or negative errno. */
int vg_xs_watch_name(struct vg_xs *x, uint32_t domid, bool on);

/**
 * vg_xs_scan - call @found for every node below our backend directories
 *
 * Return: 0, or negative errno: some may not have been seen.
 */
int vg_xs_scan(struct vg_xs *x, uint32_t domid,
	       void (*found)(void *ctx, const char *kind, uint32_t guest, uint32_t id), void *ctx);

/** vg_xs_is_kind - is it a xenbus device type that a device of ours may have? */
bool vg_xs_is_kind(const char *kind);

#endif /* VG_WATCH_H */
