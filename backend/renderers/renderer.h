/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * renderer.h - between a device whose driver draws in three dimensions and the process that does it
 *
 * The renderer alone parses what a guest's Mesa says (streams of virgl) and runs its shaders. It
 * sees no guest memory: the device's worker makes a *window*, a sealed memfd that both have mapped,
 * and copies what goes in or out of the guest's pages there.
 *
 *	[0, VG_RENDER_WINDOW)		what operations have with them: streams, pixels, capsets
 *	behind it			VG_RENDER_SLOTS times VG_RENDER_SLOT bytes: memory of small
 *					buffers that the library itself writes to (results of queries)
 *
 * Over a SOCK_SEQPACKET socket go packets of struct vg_render_op, and for each, in their order, one
 * of struct vg_render_done, once it is carried out: a submitted stream, when the GL has finished it.
 *
 *	device				renderer
 *	HELLO (window)
 *	CONTEXT, RESOURCE, SUBMIT ...
 *					done, in order
 *
 * Which capsets there are the renderer tells the supervisor before (vg_render_capsets), so that a
 * device knows what to offer without waiting.
 *
 * A renderer works on one operation for VG_RENDER_PATIENCE_S, and is killed by its own alarm then; a
 * device waits a little longer, and never again for one that it gave up. Neither trusts the other: what
 * a renderer says is a number, and what it leaves in the window is pixels. One serves one device once: when
 * its socket closes it ends.
 */
#ifndef VG_RENDERER_H
#define VG_RENDERER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/limits.h"

enum {
	VG_RENDER_VERSION = 1,
	VG_RENDER_CAPSETS = 4,
	VG_RENDER_NAME = 64,	   /* bytes of a context's, VIRTIO 1.3 section 5.7.6.8 */
	VG_RENDER_SLOTS = 512,	   /* VG_LIMIT_GPU_RESOURCES */
	VG_RENDER_SLOT = 64,	   /* bytes; the result of a query is 16 */
	VG_RENDER_PATIENCE_S = 10, /* for one operation */
};

#define VG_RENDER_WINDOW       ((uint64_t)VG_LIMIT_GPU_BYTES)
#define VG_RENDER_WINDOW_BYTES (VG_RENDER_WINDOW + (uint64_t)VG_RENDER_SLOTS * VG_RENDER_SLOT)

_Static_assert(VG_RENDER_SLOTS == VG_LIMIT_GPU_RESOURCES, "one for each");

/* What a renderer can. */
struct vg_render_capset {
	uint32_t id, version, size; /* size: bytes, at most VG_LIMIT_GPU_CAPSET */
};

struct vg_render_capsets {
	uint32_t n; /* at most VG_RENDER_CAPSETS */
	struct vg_render_capset set[VG_RENDER_CAPSETS];
};

enum vg_render_type {
	VG_RENDER_HELLO = 1,
	VG_RENDER_RESET, /* all contexts and resources go */
	VG_RENDER_CAPSET,
	VG_RENDER_CONTEXT,
	VG_RENDER_CONTEXT_END,
	VG_RENDER_ATTACH,
	VG_RENDER_DETACH,
	VG_RENDER_RESOURCE,
	VG_RENDER_RESOURCE_END,
	VG_RENDER_SLOT_IS,
	VG_RENDER_SLOT_GONE,
	VG_RENDER_SUBMIT,
	VG_RENDER_WRITE, /* from the window into a resource */
	VG_RENDER_READ,	 /* from a resource into the window */
	VG_RENDER_TYPES,
};

struct vg_render_box {
	uint32_t x, y, z, width, height, depth;
};

struct vg_render_op {
	uint32_t type; /* enum vg_render_type */
	uint32_t seq;  /* comes back with what is said about it */
	uint32_t context, resource;
	uint64_t at, len; /* in the window; bytes */
	union {
		uint32_t version; /* HELLO, with the window */
		struct {	  /* CAPSET: its bytes go to the window */
			uint32_t id, version;
		} capset;
		struct {	       /* CONTEXT */
			uint32_t init; /* capset; 0: as the library has it */
			uint32_t name_len;
			char name[VG_RENDER_NAME];
		} create;
		struct { /* RESOURCE */
			uint32_t target, format, bind, width, height, depth, array_size, last_level,
				nr_samples, flags;
		} make;
		uint32_t slot; /* SLOT_IS */
		struct {       /* WRITE, READ; the window begins with the first byte of the box */
			uint32_t level, stride, layer_stride;
			struct vg_render_box box;
		} transfer;
	};
};

struct vg_render_done {
	uint32_t seq;
	uint32_t error; /* 0, or a positive errno */
};

/** vg_render_send - one operation, without waiting. @fd: goes with it, or -1. Return: 0, -EAGAIN, ... */
int vg_render_send(int sock, const struct vg_render_op *op, int fd);

/**
 * vg_render_recv - the next operation, without waiting
 * @fd: gets what came with it, the caller's, or -1
 *
 * Return: 1; 0: the other end is closed; -EAGAIN; -EPROTO: it is none.
 */
int vg_render_recv(int sock, struct vg_render_op *op, int *fd);

/** vg_render_recv_done - what is said about an operation, without waiting. Return: as above. */
int vg_render_recv_done(int sock, struct vg_render_done *d);

/** vg_render_send_done - say it; waits for room. Return: 0, or negative errno: nobody is there */
int vg_render_send_done(int sock, const struct vg_render_done *d);

/**
 * vg_render_ok - whether the numbers of @op are within the window and the limits
 *
 * Of its meaning (is there such a resource?) the library decides.
 */
bool vg_render_ok(const struct vg_render_op *op);

#endif /* VG_RENDERER_H */
