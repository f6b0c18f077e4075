// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * watch.c - see watch.h
 *
 * A path comes from xenstored, but the names in it may be a guest's: what is no
 * number, or no kind of ours, is about nothing.
 */
#include "xenstore/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/number.h"
#include "virtio_grant.h"

enum { PARTS = 8, DOMIDS = 0x7ff0 /* Xen's DOMID_FIRST_RESERVED */ };

static const char *const kinds[] = { VIRTIO_GRANT_XENBUS_TYPE, VIRTIO_GRANT_XENBUS_TYPE_DISK };

bool vg_xs_is_kind(const char *kind)
{
	for (size_t k = 0; k < COUNT(kinds); k++) {
		if (strcmp(kind, kinds[k]) == 0)
			return true;
	}
	return false;
}

static bool number(const char *text, uint64_t max, uint32_t *out)
{
	uint64_t v;

	if (vg_number(text, 10, max, &v) < 0)
		return false;
	*out = (uint32_t)v;
	return true;
}

/* Split "/a/b/c" in @text. Return: how many parts, at most PARTS. */
static unsigned split(char *text, char **part)
{
	unsigned n = 0;
	char *save;

	for (char *p = strtok_r(text, "/", &save); p && n < PARTS; p = strtok_r(NULL, "/", &save))
		part[n++] = p;
	return n;
}

static bool device(struct vg_xs_event *event, const char *kind, const char *guest, const char *id)
{
	if (strlen(kind) >= sizeof(event->kind) || !number(guest, DOMIDS, &event->guest) ||
	    !number(id, INT32_MAX, &event->id))
		return false;
	memcpy(event->kind, kind, strlen(kind) + 1);
	return true;
}

void vg_xs_about(const char *path, struct vg_xs_event *event)
{
	char text[VG_XS_PATH], *part[PARTS];
	unsigned n;

	memset(event, 0, sizeof(*event));
	event->about = path[0] == '@' ? VG_XS_DOMAINS : VG_XS_TREES;
	/* Far below a node of ours: nothing that we read. */
	if (path[0] != '/' || snprintf(text, sizeof(text), "%s", path) < 0)
		return;
	n = split(text, part);
	/* local domain <domid> name | device <kind> <id> ... | backend <kind> <guest> <id> ... */
	if (n < 4 || strcmp(part[0], "local") != 0 || strcmp(part[1], "domain") != 0)
		return;
	if (strcmp(part[3], "name") == 0 && number(part[2], DOMIDS, &event->guest))
		event->about = VG_XS_NAME;
	else if (n >= 6 && strcmp(part[3], "device") == 0 &&
		 device(event, part[4], part[2], part[5]))
		event->about = VG_XS_FRONTEND;
	else if (n >= 7 && strcmp(part[3], "backend") == 0 &&
		 device(event, part[4], part[5], part[6]))
		event->about = VG_XS_BACKEND;
}

int vg_xs_own_domid(struct vg_xs *x, uint32_t *domid)
{
	/* A path that does not begin with a slash is below the caller's own /local/domain/<id>. */
	if (vg_xs_u32(x, "domid", NULL, DOMIDS - 1, domid) == 0)
		return 0;
	return vg_xs_u32(x, "/local/domain/0", "domid", DOMIDS - 1, domid);
}

static void base_of(uint32_t domid, const char *kind, char *path)
{
	snprintf(path, VG_XS_PATH, "/local/domain/%u/backend/%s", domid, kind);
}

int vg_xs_watch_backend(struct vg_xs *x, uint32_t domid, bool introduced)
{
	char base[VG_XS_PATH];
	int ret = 0;

	for (size_t k = 0; ret == 0 && k < COUNT(kinds); k++) {
		base_of(domid, kinds[k], base);
		ret = vg_xs_watch(x, base, "b");
	}
	if (ret == 0 && introduced)
		ret = vg_xs_watch(x, "@introduceDomain", "d");
	return ret < 0 ? ret : vg_xs_watch(x, "@releaseDomain", "d");
}

int vg_xs_watch_name(struct vg_xs *x, uint32_t domid, bool on)
{
	char path[VG_XS_PATH];

	snprintf(path, sizeof(path), "/local/domain/%u/name", domid);
	return on ? vg_xs_watch(x, path, "n") : vg_xs_unwatch(x, path, "n");
}

static int scan_guest(struct vg_xs *x, const char *kind, const char *base, uint32_t guest,
		      void (*found)(void *ctx, const char *kind, uint32_t guest, uint32_t id),
		      void *ctx)
{
	char path[VG_XS_PATH + 16];
	unsigned n;
	char **list;
	uint32_t id;
	int ret;

	snprintf(path, sizeof(path), "%s/%u", base, guest);
	ret = vg_xs_list(x, path, &list, &n);
	for (unsigned i = 0; i < n; i++) {
		if (number(list[i], INT32_MAX, &id))
			found(ctx, kind, guest, id);
	}
	free(list);
	return ret;
}

int vg_xs_scan(struct vg_xs *x, uint32_t domid,
	       void (*found)(void *ctx, const char *kind, uint32_t guest, uint32_t id), void *ctx)
{
	int ret = 0;

	for (size_t k = 0; k < COUNT(kinds); k++) {
		char base[VG_XS_PATH];
		uint32_t guest;
		unsigned n;
		char **list;
		int one;

		base_of(domid, kinds[k], base);
		one = vg_xs_list(x, base, &list, &n);
		for (unsigned i = 0; one == 0 && i < n; i++) {
			if (number(list[i], DOMIDS, &guest))
				one = scan_guest(x, kinds[k], base, guest, found, ctx);
		}
		free(list);
		if (one < 0)
			ret = one;
	}
	return ret;
}
