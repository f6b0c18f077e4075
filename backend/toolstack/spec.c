// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * spec.c - see spec.h
 */
#include "backend/toolstack/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/params.h"
#include "virtio_grant.h"
#include "xenstore/keys.h"

/* A key of xl's that may be missing, or be nothing that we know: then @word stays as it is. */
static int word_of(struct vg_xs *x, const struct vg_xs_pair *p, const char *key, char *word,
		   size_t size)
{
	char found[8];
	int ret = vg_xs_text(x, p->b, key, found, sizeof(found));

	if (ret == 0)
		snprintf(word, size, "%s", found);
	return ret == -ENOENT || ret == -EINVAL ? 0 : ret;
}

/* xl's disk = [ '...,specification=virtio,...' ]: what our configuration would be. */
static int spec_of_disk(struct vg_xs *x, const struct vg_xs_pair *p, char *spec)
{
	char mode[8] = "r", discard[8] = "1", writable[VG_PARAMS_LEN], *target;
	int ret = vg_xs_text_dup(x, p->b, "params", &target);

	if (ret < 0)
		return ret;
	ret = word_of(x, p, "mode", mode, sizeof(mode));
	/* xl-disk-configuration(5), no-discard: the image stays allocated. */
	if (ret == 0)
		ret = word_of(x, p, "discard-enable", discard, sizeof(discard));
	if (ret == 0)
		ret = vg_params_replace("blk", "target", target, writable, sizeof(writable));
	free(target);
	if (ret < 0)
		return ret;
	return (size_t)snprintf(spec, VG_PARAMS_LEN, "%s%s%s", writable,
				mode[0] == 'w' ? "" : ",readonly",
				strcmp(discard, "0") == 0 ? ",discard=0" : "") < VG_PARAMS_LEN
		       ? 0
		       : -E2BIG;
}

/* What `vgrant set` changed. */
static int apply_changes(struct vg_xs *x, const struct vg_xs_pair *pair, char *spec)
{
	char changes[VG_PARAMS_LEN], next[VG_PARAMS_LEN];
	struct vg_params p;
	int ret = vg_xs_text(x, pair->b, VG_KEY_SET, changes, sizeof(changes));

	if (ret < 0)
		return ret == -ENOENT || ret == -EINVAL ? 0 : ret;
	if (vg_params_parse(changes, &p, NULL) < 0)
		return 0;
	for (unsigned i = 0; i < p.n; i++) {
		if (vg_params_replace(spec, p.p[i].key, p.p[i].value, next, sizeof(next)) == 0)
			memcpy(spec, next, VG_PARAMS_LEN);
	}
	return 0;
}

int vg_spec_read(struct vg_xs *x, const struct vg_xs_pair *pair, bool running, char *spec)
{
	int ret = -ENOENT;

	if (running)
		ret = vg_xs_text(x, pair->b, VG_KEY_RUNNING, spec, VG_PARAMS_LEN);
	if (ret == -ENOENT)
		ret = vg_xs_text(x, pair->b, VG_KEY_CONFIG, spec, VG_PARAMS_LEN);
	if (ret == -ENOENT && strcmp(pair->kind, VIRTIO_GRANT_XENBUS_TYPE_DISK) == 0)
		ret = spec_of_disk(x, pair, spec);
	return ret < 0 ? ret : apply_changes(x, pair, spec);
}

int vg_spec_keep(struct vg_xs *x, const struct vg_xs_pair *pair, const char *device,
		 const char *key, const char *value)
{
	char spec[VG_PARAMS_LEN], changes[VG_PARAMS_LEN];
	int ret = vg_xs_text(x, pair->b, VG_KEY_SET, spec, sizeof(spec));

	if (ret == -ENOENT || ret == -EINVAL)
		ret = snprintf(spec, sizeof(spec), "%s", device) < 0 ? -EINVAL : 0;
	if (ret == 0)
		ret = vg_params_replace(spec, key, value, changes, sizeof(changes));
	return ret < 0 ? ret : vg_xs_update_one(x, pair->b, VG_KEY_SET, changes);
}
