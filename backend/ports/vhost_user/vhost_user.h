/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_user.h - the vhost-user port: one device to whoever holds the other end of a socket
 *
 * The back-end's side of QEMU's docs/interop/vhost-user.rst: QEMU and Cloud
 * Hypervisor on KVM, Cloud Hypervisor and OpenVMM on Hyper-V's /dev/mshv, User
 * Mode Linux, and Xen front-ends that speak XEN_MMAP.
 */
#ifndef VG_VHOST_USER_H
#define VG_VHOST_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/virtio/device.h"
#include "backend/ports/vhost_user/mem.h"

/* What the port needs in the sandbox; and what it needs more for memory of Xen guests. */
extern const struct vg_sandbox_needs vg_vu_needs, vg_vu_xen_needs;

struct vg_vu;

struct vg_vu_options {
	bool in_band;	       /* offer in-band notifications: slow, for simulations */
	bool no_packed;	       /* do not offer the packed ring */
	struct vg_vu_xen *xen; /* offer XEN_MMAP; NULL: do not. Stays the caller's. */
	size_t bounce_bytes;   /* bounce memory; 0: what limits.h allows */
};

/* What the port tells its owner. Called from a turn of the loop. */
struct vg_vu_events {
	/* The front-end is gone, or broke the protocol (@error < 0); the device is reset. */
	void (*gone)(void *owner, int error);
	void *owner;
};

/**
 * vg_vu_new - make the port of @dev
 * @dev: open, and not probed yet; its port, mem and queue_size are set
 *
 * Takes the in-flight memory that it may need, so that nothing has to be made in the sandbox.
 * Return: 0, or negative errno with a sentence.
 */
int vg_vu_new(struct vg_dev *dev, const struct vg_vu_options *options,
	      const struct vg_vu_events *events, struct vg_vu **out, struct vg_err *err);

/** vg_vu_free - free all; the front-end was dropped, or the port is quiet; no thread runs */
void vg_vu_free(struct vg_vu *vu);

/** vg_vu_serve - a front-end is there; @sock is the port's from now on. There was none before. */
void vg_vu_serve(struct vg_vu *vu, int sock);

/**
 * vg_vu_drop - hang up, reset the device, forget all memory; idempotent; does not call gone()
 * @w: done() is called when that is so; perhaps before this returns
 */
void vg_vu_drop(struct vg_vu *vu, struct vg_wait *w);

/** vg_vu_quiesce - finish what is in flight, leave the rest to a successor, call @w->done */
void vg_vu_quiesce(struct vg_vu *vu, struct vg_wait *w);

/** vg_vu_show - what `vgrant list` shows, to @rec; then call @w->done */
struct vg_record_map;
void vg_vu_show(struct vg_vu *vu, struct vg_record_map *rec, struct vg_wait *w);

/**
 * vg_vu_xen_open - handles for memory of Xen guests; to be called with privileges
 *
 * Return: 0 and what vg_vu_xen_close() frees, or negative errno with a sentence.
 */
int vg_vu_xen_open(struct vg_vu_xen **out, struct vg_err *err);
void vg_vu_xen_close(struct vg_vu_xen *xen);

#endif /* VG_VHOST_USER_H */
