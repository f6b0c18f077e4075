// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nodes.c - see nodes.h
 */
#include "backend/daemon/nodes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/ports/record.h"
#include "backend/toolstack/spec.h"
#include "virtio_grant.h"
#include "xenstore/keys.h"

static struct vg_node *find(struct vg_nodes *all, const char *kind, uint32_t guest, uint32_t id)
{
	for (struct vg_node *n = all->first; n; n = n->next) {
		if (n->pair.guest == guest && n->pair.id == id && strcmp(n->pair.kind, kind) == 0)
			return n;
	}
	return NULL;
}

static enum vg_control_origin origin_of(const char *word)
{
	for (unsigned o = 0; o < VG_CONTROL_ORIGINS; o++) {
		if (strcmp(vg_control_origin_words[o], word) == 0)
			return (enum vg_control_origin)o;
	}
	return VG_CONTROL_FROM_VIRTIO;
}

/* What the node says beside its configuration. Return: 0, or negative errno: ask again later. */
static int read_traits(struct vg_xs *x, const struct vg_xs_pair *pair, struct vg_node_traits *t)
{
	uint32_t made = 0, plugged = 0;
	char word[32];
	int ret;

	t->origin = VG_CONTROL_FROM_VIRTIO;
	ret = vg_xs_text(x, pair->b, VG_KEY_ORIGIN, word, sizeof(word));
	if (strcmp(pair->kind, VIRTIO_GRANT_XENBUS_TYPE_DISK) == 0)
		t->origin = VG_CONTROL_FROM_DISK;
	else if (ret == 0)
		t->origin = origin_of(word);
	if (ret == 0 || ret == -ENOENT || ret == -EINVAL)
		ret = vg_xs_u32(x, pair->b, VG_KEY_MADE, 1, &made);
	if (ret == 0 || ret == -ENOENT || ret == -EINVAL)
		ret = vg_xs_u32(x, pair->b, VG_KEY_PLUGGED, 1, &plugged);
	if (ret == 0 || ret == -ENOENT || ret == -EINVAL)
		ret = vg_xs_text_dup(x, pair->b, VG_KEY_FILE, &t->file);
	t->made = made;
	t->plugged = plugged;
	return ret == -ENOENT || ret == -EINVAL ? 0 : ret;
}

int vg_node_consider(struct vg_nodes *all, const char *kind, uint32_t guest, uint32_t id)
{
	struct vg_node_traits traits = { 0 };
	char spec[VG_PARAMS_LEN];
	struct vg_xs_pair pair;
	int ret;

	if (find(all, kind, guest, id))
		return 1;
	vg_xs_pair_init(&pair, kind, guest, all->domid, id);
	ret = vg_xs_exists(all->xs, pair.b);
	if (ret <= 0)
		return ret;
	ret = vg_xs_state(all->xs, pair.b, &traits.state);
	if (ret == 0)
		ret = vg_spec_read(all->xs, &pair, traits.state == VG_XENBUS_CONNECTED, spec);
	if (ret == -ENOENT || ret == -EINVAL || ret == -E2BIG)
		return 0;
	if (ret == 0)
		ret = read_traits(all->xs, &pair, &traits);
	if (ret == 0)
		ret = vg_node_new(all, &pair, spec, &traits);
	free(traits.file);
	return ret < 0 ? ret : 1;
}

bool vg_nodes_note(struct vg_nodes *all, const struct vg_xs_event *event)
{
	struct vg_node *n;

	if (event->about == VG_XS_NAME) {
		for (n = all->first; n; n = n->next) {
			if (n->pair.guest == event->guest)
				n->renamed = n->dirty = true;
		}
		return true;
	}
	n = find(all, event->kind, event->guest, event->id);
	if (n)
		n->dirty = true;
	return n;
}

void vg_nodes_mark(struct vg_nodes *all)
{
	for (struct vg_node *n = all->first; n; n = n->next)
		n->dirty = true;
}

void vg_nodes_sync(struct vg_nodes *all)
{
	struct vg_node *n = all->first;

	while (n) {
		struct vg_node *next = n->next;

		if (n->dirty)
			vg_node_sync(n); /* may free n, and no other */
		n = next;
	}
}

void vg_nodes_retry(struct vg_nodes *all)
{
	struct vg_node *n = all->first;

	while (n) {
		struct vg_node *next = n->next;

		vg_node_retry(n);
		n = next;
	}
}

/* Is @name that of a record of ours, whose device xenstore does not know? */
static bool is_left(struct vg_nodes *all, const char *name)
{
	struct vg_xs_pair pair;
	uint32_t guest, id;
	char kind[16], again[64];

	if (sscanf(name, "%" SCNu32 "-%15[a-z_]-%" SCNu32 ".record", &guest, kind, &id) != 3 ||
	    !vg_xs_is_kind(kind))
		return false;
	vg_xs_pair_init(&pair, kind, guest, all->domid, id);
	vg_node_record_name(&pair, again, sizeof(again));
	return strcmp(name, again) == 0 && !find(all, kind, guest, id) &&
	       vg_xs_exists(all->xs, pair.b) == 0 && !vg_record_held(all->runtime_fd, name);
}

void vg_nodes_sweep(struct vg_nodes *all)
{
	int fd = openat(all->runtime_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (is_left(all, e->d_name))
			unlinkat(all->runtime_fd, e->d_name, 0);
	}
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

void vg_nodes_free(struct vg_nodes *all)
{
	while (all->first)
		vg_node_free(all->first);
}
