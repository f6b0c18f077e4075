/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int.h - shared by the files of the GPU; nobody else includes it
 *
 *	gpu.c		the device: configuration, features, life
 *	modes.c		which monitors there are, as configured
 *	control.c	the two queues: a command, its answer, its fence
 *	commands.c	what each command does
 *	resource.c	pictures, and the memory behind them
 *	scanout.c	which picture a head shows: into the frame memory
 *	link.c		the display (backend/displays/display.h)
 *	screen.c	a front-end that shows the picture itself (backend/displays/screen.h)
 *	render.c	the renderer (backend/renderers/renderer.h): operations under way, the window
 *	virgl.c		what the commands of 3D mean
 *	saved.c		what a successor must know
 *	edid.c, format.c
 */
#ifndef VG_GPU_INT_H
#define VG_GPU_INT_H

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/devices/devices.h"
#include "backend/devices/gpu/edid.h"
#include "backend/devices/gpu/format.h"
#include "backend/displays/display.h"
#include "backend/displays/screen.h"
#include "backend/memory/backing.h"
#include "backend/renderers/renderer.h"

enum {
	GPU_CONTROLQ = 0,
	GPU_CURSORQ = 1,
	GPU_QUEUES = 2,
	GPU_BUCKETS = 64,
	GPU_HEADS = VG_DISPLAY_HEADS,
	GPU_UUID = 16,
	GPU_TARGET_BUFFER = 0, /* of 3D: PIPE_BUFFER of Mesa's gallium, whose numbers are virgl's */
};

_Static_assert(VIRTIO_GPU_MAX_SCANOUTS == GPU_HEADS, "as the specification has it");

struct gpu_rect {
	uint32_t x, y, width, height;
};

/* ---- resources ---------------------------------------------------------- */

/* What a renderer has of a resource of 3D, and what bounds transfers of it. */
struct gpu_texture {
	uint32_t target, levels;
	bool is_written; /* by the library itself */
	bool has_slot;	 /* where it does that, and whence it goes to the guest */
	uint32_t slot;
	uint8_t seed[VG_RENDER_SLOT]; /* what slot and guest memory had when they were alike */
};

/* A picture, or a blob of which pictures are made; or what the renderer has, of any shape. */
struct gpu_resource {
	struct gpu_resource *next; /* of its bucket */
	uint32_t id;		   /* not 0 */
	uint64_t born;		   /* no other has had that number since the worker began */
	bool blob;
	bool is_3d;			/* it is the renderer's, and has no pixels here */
	uint32_t format, width, height; /* of a picture; of 3D, too */
	uint64_t size;			/* bytes: of its pixels, or of the blob; of 3D at most */
	struct gpu_texture tex;		/* of 3D */
	uint8_t *pixels;		/* of a picture: our copy, a row after the other */
	struct vg_backing backing; /* of a blob, its bytes; of a picture, where they come from */
	bool has_uuid;
	uint8_t uuid[GPU_UUID];
};

struct gpu_resources {
	struct gpu_resource *bucket[GPU_BUCKETS];
	unsigned n;
	unsigned ranges;     /* of all backings */
	uint64_t host_bytes; /* of all pixels, and of 3D */
	uint64_t births;
};

/* ---- heads -------------------------------------------------------------- */

/* How a picture lies in its resource. */
struct gpu_picture {
	uint32_t resource; /* id; 0: there is none */
	uint32_t format, stride;
	uint64_t offset;
	struct gpu_rect r; /* what of it is shown */
};

struct gpu_cursor {
	uint32_t resource; /* 0: it is hidden */
	uint32_t x, y, hot_x, hot_y;
};

struct gpu_head {
	struct gpu_mode mode; /* of its monitor */
	struct gpu_picture shown;
	struct gpu_cursor cursor;
	bool owed; /* the display process was not told all: all again */
};

/* ---- the display -------------------------------------------------------- */

struct gpu_link {
	int memfd;	/* the frame memory */
	uint8_t *frame; /* it, mapped */
	size_t size;
	int sock; /* -1: there is no display process */
	struct vg_watch watch;
	struct vg_screen *screen; /* NULL: the front-end does not show it */
	uint32_t serial;	  /* of the last damage */
	struct vg_ratelimit log;
};

/* ---- the renderer --------------------------------------------------------- */

struct gpu;
struct gpu_pending;

/* An operation that the renderer has been told, or is about to be, and has not answered. */
struct gpu_job {
	struct gpu_job *next;
	struct vg_render_op op;
	struct gpu_pending *pending; /* whose command it is; NULL: nobody waits for it */
	/* It is done, or failed; what it has of the window is there for as long. NULL: nothing to do. */
	void (*done)(struct gpu *gpu, struct gpu_job *job, bool ok);
	/* for done */
	uint64_t born;	      /* of its resource */
	uint64_t offset;      /* in guest memory */
	struct gpu_rect rect; /* of a picture */
	uint32_t head;
};

struct gpu_render {
	bool wanted; /* by the configuration */
	bool lost;   /* what the driver made there is gone; until it resets the device */
	bool used;   /* the renderer has something of the driver's */
	bool full;   /* commands wait for it */
	int sock;    /* -1: there is none */
	int next;    /* another, for the next reset; -1: none */
	struct vg_render_capsets capsets, next_capsets;
	int memfd; /* the window */
	uint8_t *window;
	struct vg_watch watch;
	struct gpu_job *jobs, **tail;
	struct gpu_job *unsent; /* the first of them that the socket has not taken */
	unsigned n_jobs, n_windowed;
	uint64_t from, to; /* what of the window is in use; it wraps */
	uint32_t seq;
	struct vg_timer watchdog;
	int64_t patience_ns;			 /* of an operation */
	uint32_t context[VG_LIMIT_GPU_CONTEXTS]; /* ids; 0: free */
	bool slot[VG_RENDER_SLOTS];		 /* in use */
	struct vg_ratelimit log;
};

/* ---- queues ------------------------------------------------------------- */

/* A chain that is answered, but not pushed: older fences have not been passed; or one that is not,
 * since the renderer is at it, or a screen was asked. */
struct gpu_pending {
	struct gpu_pending *next;
	struct gpu *gpu;
	struct vg_chain *chain;
	struct vg_screen_ask ask;
	struct gpu_job *job;		/* NULL: it is answered */
	struct virtio_gpu_ctrl_hdr req; /* for the answer */
	uint32_t written;
	uint32_t heads;	 /* bits: that have not been read up to serial */
	uint32_t serial; /* of the damage */
	int64_t until_ns;
};

union gpu_request {
	struct virtio_gpu_ctrl_hdr hdr;
	struct virtio_gpu_resource_create_2d create_2d;
	struct virtio_gpu_resource_unref unref;
	struct virtio_gpu_set_scanout set_scanout;
	struct virtio_gpu_resource_flush flush;
	struct virtio_gpu_transfer_to_host_2d transfer;
	struct virtio_gpu_resource_attach_backing attach;
	struct virtio_gpu_resource_detach_backing detach;
	struct virtio_gpu_get_capset_info capset_info;
	struct virtio_gpu_get_capset capset;
	struct virtio_gpu_cmd_get_edid edid;
	struct virtio_gpu_resource_assign_uuid assign_uuid;
	struct virtio_gpu_resource_create_blob create_blob;
	struct virtio_gpu_set_scanout_blob scanout_blob;
	struct virtio_gpu_resource_map_blob map_blob;
	struct virtio_gpu_update_cursor cursor;
	struct virtio_gpu_ctx_create ctx_create;
	struct virtio_gpu_ctx_resource ctx_resource;
	struct virtio_gpu_resource_create_3d create_3d;
	struct virtio_gpu_transfer_host_3d transfer_3d;
	struct virtio_gpu_cmd_submit submit;
};

union gpu_answer {
	struct virtio_gpu_ctrl_hdr hdr;
	struct virtio_gpu_resp_display_info display_info;
	struct virtio_gpu_resp_edid edid;
	struct virtio_gpu_resp_resource_uuid uuid;
	struct virtio_gpu_resp_capset_info capset_info;
	uint8_t capset[sizeof(struct virtio_gpu_resp_capset) + VG_LIMIT_GPU_CAPSET];
};

/* A command under way: our copy of it, and what is said to it. */
struct gpu_cmd {
	struct vg_chain *chain;
	union gpu_request req; /* zero behind what the driver sent */
	size_t got;	       /* bytes of it */
	union gpu_answer answer;
	uint32_t type;	     /* of the answer */
	uint32_t answer_len; /* bytes of it, header included */
	uint32_t heads;	     /* bits: that were drawn to, which the display has been told */
	struct gpu_job *job; /* it is answered when that is done; NULL: now */
	bool later;	     /* there is no room for it: it stays in the ring */
	/* It is answered when the screen has been asked that; the answer is the device's own, for a
	 * screen that does not know. */
	enum vg_screen_question ask;
};

struct gpu_counters {
	uint64_t flushes, transfers, cursors, streams;
	uint64_t late; /* flushes that were answered though no display had read them */
};

struct gpu {
	struct vg_dev *dev;
	unsigned n_heads;
	struct gpu_head head[GPU_HEADS];
	bool resize;		/* a viewer may change modes */
	uint8_t uuid[GPU_UUID]; /* of the next resource that asks for one: random, and a count */
	uint32_t events;	/* VIRTIO_GPU_EVENT_* that the driver has not cleared */
	bool again;		/* one came while the driver had not cleared the last */
	struct gpu_resources res;
	struct gpu_link link;
	struct gpu_render render;
	bool dirty; /* something of dev->saved is not what it was */
	struct gpu_pending *pending, **pending_tail;
	struct vg_timer patience; /* runs while the first of them waits for a display */
	struct gpu_counters n;
	struct vg_batch batch;
};

/* ---- modes.c ------------------------------------------------------------ */

/**
 * gpu_modes_parse - "1920x1080", "1920x1080@50+off+800x600": one for each head
 * @modes: GPU_HEADS of them; heads that are not named have none
 *
 * Return: how many are named, or -EINVAL with a sentence.
 */
int gpu_modes_parse(const char *text, struct gpu_mode modes[GPU_HEADS], struct vg_err *err);

/** gpu_modes_set - other monitors, of which the driver is told. Return: 0, -EINVAL with a sentence. */
int gpu_modes_set(struct gpu *gpu, const char *text, struct vg_err *err);

/** gpu_display_info - fill in the answer to GET_DISPLAY_INFO. Return: bytes of it */
uint32_t gpu_display_info(const struct gpu *gpu, union gpu_answer *a);

/** gpu_edid_of - fill in the answer to GET_EDID of head @head. Return: bytes of it */
uint32_t gpu_edid_of(const struct gpu *gpu, uint32_t head, union gpu_answer *a);

/** gpu_mode_wish - a viewer would like head @head to be of that size */
void gpu_mode_wish(struct gpu *gpu, uint32_t head, uint32_t width, uint32_t height);

/* ---- control.c ---------------------------------------------------------- */

void gpu_control_take(struct gpu *gpu);
void gpu_cursor_take(struct gpu *gpu);

/** gpu_read - the display has read head @head up to @serial */
void gpu_read(struct gpu *gpu, uint32_t head, uint32_t serial);

/** gpu_release_all - push all that waits for a display */
void gpu_release_all(struct gpu *gpu);

/** gpu_abandon_all - push all that waits for anything; what the renderer is at has failed */
void gpu_abandon_all(struct gpu *gpu);

/**
 * gpu_answered - the renderer has answered the command that @p is
 * @answer: @len bytes, header included, of which gpu_answered() fills the header in
 * @heads: bits, as in struct gpu_cmd
 */
void gpu_answered(struct gpu *gpu, struct gpu_pending *p, uint32_t type, union gpu_answer *answer,
		  uint32_t len, uint32_t heads);

/** gpu_go_on - push what is done, and take more */
void gpu_go_on(struct gpu *gpu);

void gpu_patience_over(struct vg_timer *t);

/** gpu_get - bytes of a command; those that we have are not read again. Return: are they there? */
bool gpu_get(struct gpu *gpu, struct gpu_cmd *cmd, size_t off, void *to, size_t len);

/* ---- commands.c --------------------------------------------------------- */

/** gpu_command - carry out @cmd: sets its type and answer */
void gpu_command(struct gpu *gpu, struct gpu_cmd *cmd);

/** gpu_cursor_command - the same for the cursor queue */
void gpu_cursor_command(struct gpu *gpu, struct gpu_cmd *cmd);

/* ---- resource.c --------------------------------------------------------- */

/** gpu_find - by id, or NULL */
struct gpu_resource *gpu_find(struct gpu *gpu, uint32_t id);

/* Each returns VIRTIO_GPU_RESP_OK_NODATA or an error of VIRTIO 1.3 section 5.7.6.7. */
uint32_t gpu_create_2d(struct gpu *gpu, uint32_t id, uint32_t format, uint32_t width,
		       uint32_t height);
uint32_t gpu_create_blob(struct gpu *gpu, uint32_t id, uint64_t size, struct vg_seg *segs,
			 unsigned n);
/** gpu_attach - @n > 0 ranges, which are put together in place where they lie side by side */
uint32_t gpu_attach(struct gpu *gpu, struct gpu_resource *r, struct vg_seg *segs, unsigned n);
/** gpu_transfer - the pixels of @rect, from @offset of the backing on; both are checked here */
uint32_t gpu_transfer(struct gpu *gpu, struct gpu_resource *r, const struct gpu_rect *rect,
		      uint64_t offset);

/** gpu_create_3d - the worker's side of one. Return: as above, and *@out. */
uint32_t gpu_create_3d(struct gpu *gpu, uint32_t id, uint64_t size, struct gpu_resource **out);

/** gpu_detach - unmap; what is not mapped is left alone */
void gpu_detach(struct gpu *gpu, struct gpu_resource *r);

/** gpu_unref - free @r; no head shows it any more */
void gpu_unref(struct gpu *gpu, struct gpu_resource *r);

/** gpu_unref_all - free them all */
void gpu_unref_all(struct gpu *gpu);

/** gpu_within - whether @r is not empty, and within @width and @height */
bool gpu_within(const struct gpu_rect *r, uint32_t width, uint32_t height);

/* ---- scanout.c ---------------------------------------------------------- */

/** gpu_show - head @head shows @p from now on, whose numbers are checked here. Return: as above. */
uint32_t gpu_show(struct gpu *gpu, uint32_t head, const struct gpu_picture *p);

/** gpu_show_nothing - head @head is dark */
void gpu_show_nothing(struct gpu *gpu, uint32_t head);

/**
 * gpu_flush - what of resource @id lies in @rect is to be seen
 *
 * Return: bits of the heads that show it, whose display was told.
 */
uint32_t gpu_flush(struct gpu *gpu, uint32_t id, const struct gpu_rect *rect);

/** gpu_is_shown - does any head show resource @id? */
bool gpu_is_shown(const struct gpu *gpu, uint32_t id);

/** gpu_flush_3d - the same of a resource of 3D, whose @rect is at @pixels, a row after the other */
uint32_t gpu_flush_3d(struct gpu *gpu, uint32_t id, const struct gpu_rect *rect,
		      const uint8_t *pixels);

/** gpu_cursor_pixels - the image of head @head's cursor, of 64 x 64, is at @pixels */
void gpu_cursor_pixels(struct gpu *gpu, uint32_t head, uint32_t format, const uint8_t *pixels);

/** gpu_cursor_tell - the display is told of head->cursor; @image: of its picture, too */
void gpu_cursor_tell(struct gpu *gpu, uint32_t head, bool image);

/** gpu_cursor_show - head->cursor is another one. @image: its picture, too. Return: as gpu_show(). */
uint32_t gpu_cursor_show(struct gpu *gpu, uint32_t head, bool image);

/** gpu_show_again - all of head @head, to a display that knows nothing of it */
void gpu_show_again(struct gpu *gpu, uint32_t head);

/* ---- screen.c ----------------------------------------------------------- */

/** gpu_screen - the front-end shows the picture: @s, in the place of another; NULL: not any more */
void gpu_screen(struct gpu *gpu, struct vg_screen *s);

/** gpu_screen_may_ask - whether there is a screen that can be asked something */
bool gpu_screen_may_ask(const struct gpu *gpu);

/** gpu_screen_ask - ask it, as gpu_screen_may_ask(), for @cmd, which waits as @p */
void gpu_screen_ask(struct gpu *gpu, const struct gpu_cmd *cmd, struct gpu_pending *p);

/** gpu_screen_give_up - answer @p, for which a screen was asked, without it */
void gpu_screen_give_up(struct gpu *gpu, struct gpu_pending *p);

/* ---- link.c ------------------------------------------------------------- */

/** gpu_link_open - make the frame memory. Return: 0, or negative errno with a sentence. */
int gpu_link_open(struct gpu *gpu, struct vg_err *err);
void gpu_link_close(struct gpu *gpu);

/** gpu_link_peer - a display is there: @sock is ours */
void gpu_link_peer(struct gpu *gpu, int sock);

/**
 * gpu_link_say - tell the display process, if there is one, and the screen
 *
 * A display that was not told is told all again (head->owed). Return: whether any was told.
 */
bool gpu_link_say(struct gpu *gpu, const struct vg_display_msg *m);

/** gpu_link_catch_up - show heads that the display was not told all of; its socket may have room now */
void gpu_link_catch_up(struct gpu *gpu);

/* ---- render.c ----------------------------------------------------------- */

/** gpu_render_open - make the window. Return: 0, or negative errno with a sentence. */
int gpu_render_open(struct gpu *gpu, struct vg_err *err);
void gpu_render_close(struct gpu *gpu);

/** gpu_render_peer - a renderer is there, which can @caps: @sock is ours */
void gpu_render_peer(struct gpu *gpu, int sock, const struct vg_render_capsets *caps);

/** gpu_render_reset - the driver has nothing there any more; another renderer takes over */
void gpu_render_reset(struct gpu *gpu);

/** gpu_render_lose - what the driver has there is gone: @why; it may be gone already */
void gpu_render_lose(struct gpu *gpu, const char *why);

/** gpu_render_full - whether commands must wait: they are told when that is over */
bool gpu_render_full(struct gpu *gpu);

/** gpu_render_is - is there one, which has what the driver made? */
bool gpu_render_is(const struct gpu *gpu);

/** gpu_render_room - @len bytes of the window, @at bytes from its begin. Return: false: later */
bool gpu_render_room(struct gpu *gpu, uint64_t len, uint64_t *at);

/**
 * gpu_render_do - tell the renderer @op, whose seq is set here
 *
 * op->at and op->len are of gpu_render_room(), just before. Return: the job, to which the caller may
 * add; NULL: there is no memory, or no renderer.
 */
struct gpu_job *gpu_render_do(struct gpu *gpu, const struct vg_render_op *op);

/**
 * gpu_render_state - of it, for people: virgl; none; lost; or reset: it was lost, and another waits for
 * the driver to reset the device
 */
const char *gpu_render_state(const struct gpu *gpu);

/* ---- virgl.c ------------------------------------------------------------ */

/* Each as those of commands.c: returns an answer, or sets cmd->job or cmd->later. */
uint32_t gpu_capset_info(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_capset(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_ctx_create(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_ctx_destroy(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_ctx_attach(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_ctx_detach(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_resource_3d(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_transfer_to(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_transfer_from(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_submit(struct gpu *gpu, struct gpu_cmd *cmd);
uint32_t gpu_read_back(struct gpu *gpu, struct gpu_cmd *cmd, const struct gpu_resource *r,
		       const struct gpu_rect *rect);

/** gpu_cursor_read_back - the same for the cursor of head @head. Return: as gpu_show(). */
uint32_t gpu_cursor_read_back(struct gpu *gpu, uint32_t head, const struct gpu_resource *r);

/** gpu_3d_attached, gpu_3d_gone - memory of @r is there; @r goes, or that */
void gpu_3d_attached(struct gpu *gpu, struct gpu_resource *r);
void gpu_3d_detached(struct gpu *gpu, struct gpu_resource *r);
void gpu_3d_gone(struct gpu *gpu, struct gpu_resource *r);

/* ---- saved.c ------------------------------------------------------------ */

size_t gpu_saved_size(void);

/** gpu_save - dev->saved says what is */
void gpu_save(struct gpu *gpu);

/** gpu_resume - make what dev->saved says. Return: 0, or negative errno: it cannot be. */
int gpu_resume(struct gpu *gpu);

#endif /* VG_GPU_INT_H */
