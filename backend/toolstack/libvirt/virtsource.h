/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtsource.h - configurations from the metadata of libvirt's domains, as a source
 *
 * What vgrant-libvirt says (msg.h) is kept, by uuid: so that a guest's configuration is found
 * without anybody's having to be asked, and stays known while libvirtd is restarted.
 */
#ifndef VG_VIRTSOURCE_H
#define VG_VIRTSOURCE_H

#include <stdbool.h>

#include "backend/base/loop.h"
#include "backend/toolstack/libvirt/msg.h"
#include "backend/toolstack/source.h"

struct vg_virt_domain;

enum {
	VG_VIRT_REQUESTS = 8,	/* changes that wait at once */
	VG_VIRT_STRANGERS = 16, /* guests that wait at once; one more is not waited for */
};

/* A guest that libvirt has told nothing of, and is asked about. */
struct vg_virt_stranger {
	char uuid[40]; /* "": unused */
	bool answered; /* or given up */
	struct vg_timer patience;
	struct vg_virt *virt;
};

struct vg_virt_request {
	/* @ret: the device's number, or negative errno with a sentence. Called once. */
	void (*done)(void *ctx, int ret, struct vg_err *err);
	void *ctx; /* NULL: unused */
	uint32_t number;
	struct vg_timer patience;
	struct vg_virt *virt;
};

/* The owner fills in what comes first, zeroes the rest, and calls vg_virt_init(). */
struct vg_virt {
	struct vg_loop *loop;
	/* A domain's metadata is known, or has changed; or find(), asked again, does not wait any more. */
	void (*changed)(void *ctx, const char *uuid);
	/* The other process has gone. @heard: it ran at all */
	void (*lost)(void *ctx, bool heard);
	void *ctx;
	int sock; /* -1: none */
	struct vg_watch watch;
	bool heard, connected;
	bool listed; /* all of its domains have been told since it was connected */
	bool silent; /* an answer did not come in time, nor did anything since: no guest waits */
	struct vg_err error; /* why it is not connected */
	struct vg_virt_domain *domains;
	struct vg_virt_domain *coming; /* whose devices are being told */
	uint32_t next_request;
	struct vg_virt_request requests[VG_VIRT_REQUESTS];
	struct vg_virt_stranger strangers[VG_VIRT_STRANGERS];
};

/**
 * vg_virt_source - its ctx is a struct vg_virt
 *
 * find() of a guest that libvirt has told nothing of returns -EAGAIN while libvirt is asked, for some
 * seconds at most; then comes changed().
 */
extern const struct vg_source vg_virt_source;

void vg_virt_init(struct vg_virt *v);

/** vg_virt_serve - the other process is at the end of @sock, which is ours to close from now on */
void vg_virt_serve(struct vg_virt *v, int sock);

/** vg_virt_knows - does libvirt have the domain of this uuid; or, when that is NULL, of this name? */
bool vg_virt_knows(const struct vg_virt *v, const char *uuid, const char *name);

/**
 * vg_virt_change - have libvirt change a domain's metadata
 * @m: a VG_VIRT_CHANGE, filled in but for request
 * @done: called with @ctx, which is not NULL: from here when it cannot even be asked
 */
void vg_virt_change(struct vg_virt *v, struct vg_virt_msg *m,
		    void (*done)(void *ctx, int ret, struct vg_err *err), void *ctx);

/** vg_virt_free - forget all; what waits is told */
void vg_virt_free(struct vg_virt *v);

#endif /* VG_VIRTSOURCE_H */
