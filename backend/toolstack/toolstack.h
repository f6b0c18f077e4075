/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * toolstack.h - the toolstack's part: from a guest's configuration to nodes in xenstore
 *
 * In dom0 alone. It writes VG_KEY_CONFIG into backend nodes, and daemon/node.c, here or in a driver
 * domain, serves every node that has it.
 */
#ifndef VG_TOOLSTACK_H
#define VG_TOOLSTACK_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/base/loop.h"
#include "backend/toolstack/source.h"
#include "xenstore/xs.h"

enum { VG_SOURCES_MAX = 4 };

struct vg_guest;

struct vg_toolstack {
	struct vg_loop *loop;
	struct vg_xs *xs;
	uint32_t domid; /* ours */
	struct {
		const struct vg_source *source;
		void *ctx;
	} sources[VG_SOURCES_MAX];
	unsigned n_sources; /* 0: this is no dom0, and all that follows does nothing */
	struct vg_guest *guests;
	/*
	 * A source that follows said @was of a device that is here, and says @spec now.
	 * Return: whether it is seen to; else it is told that the device stays as it is.
	 */
	bool (*changed)(void *ctx, uint32_t domid, uint32_t id, const char *was, const char *spec);
	void *changed_ctx;
	struct vg_timer again; /* guests without a name yet, or that xenstored said nothing of */
};

/** vg_toolstack_init - no sources, no guests yet */
void vg_toolstack_init(struct vg_toolstack *ts, struct vg_loop *loop, struct vg_xs *xs,
		       uint32_t domid);

/** vg_toolstack_add_source - asked after those that were added before; @ctx must outlive it */
void vg_toolstack_add_source(struct vg_toolstack *ts, const struct vg_source *source, void *ctx);

/** vg_guests_scan - look for guests that came or went; make nodes for those that came */
void vg_guests_scan(struct vg_toolstack *ts);

/** vg_guests_look_again - for configurations of guests that had none; SIGHUP */
void vg_guests_look_again(struct vg_toolstack *ts);

/** vg_guests_changed - a source that follows knows something new of the guest of this uuid */
void vg_guests_changed(struct vg_toolstack *ts, const char *uuid);

/**
 * vg_guest_followed - may a source that follows change the devices of the guest that runs as @guest?
 * @uuid: gets its uuid, borrowed until the next call of ours
 *
 * Return: 1; 0: its devices are from a source that does not follow; -ENOENT: no such guest runs.
 */
int vg_guest_followed(const struct vg_toolstack *ts, const char *guest, const char **uuid);

/** vg_guest_check - is @spec one that vg_guest_attach() would take? 0, or negative errno with a sentence */
int vg_guest_check(const char *spec, struct vg_err *err);

/** vg_guest_renamed - the name of @domid may have changed */
void vg_guest_renamed(struct vg_toolstack *ts, uint32_t domid);

/** vg_guest_adopt - xl made virtio/@id for @domid: write our configuration, if there is one */
void vg_guest_adopt(struct vg_toolstack *ts, uint32_t domid, uint32_t id);

/** vg_guest_attach - `vgrant attach`. Return: the number, or negative errno with a sentence. */
int vg_guest_attach(struct vg_toolstack *ts, const char *guest, const char *spec,
		    struct vg_err *err);

/** vg_toolstack_free - forget all guests */
void vg_toolstack_free(struct vg_toolstack *ts);

#endif /* VG_TOOLSTACK_H */
