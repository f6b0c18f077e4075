/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * card.h - a graphics card of this machine and its monitors, by Linux' mode setting (DRM/KMS), with libdrm
 *
 * Who has a card open is its *master*: the one process that says what its monitors show. There is no
 * other of ours for the same card, and no compositor.
 */
#ifndef VG_CARD_H
#define VG_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"
#include "backend/base/needs.h"
#include "backend/displays/compose.h"
#include "backend/displays/place.h"

struct vg_card;

/* What a frame is drawn into: one is shown, and the other one is drawn. */
struct vg_buffer {
	uint32_t handle, fb;
	uint32_t pitch; /* bytes */
	uint64_t size;
	uint32_t *pixels; /* NULL: there is none */
};

/* A connector that something is to be shown on. */
struct vg_output {
	struct vg_card *card;
	char name[VG_PLACE_CONNECTOR];
	uint32_t connector, crtc, plane, pipe; /* ids of DRM's; pipe: of the crtc, by its number */
	uint32_t fb_id, damage_clips;	       /* properties of the plane; 0: it has not that one */
	uint32_t width, height, hz;	       /* of what is shown; width 0: nothing */
	struct vg_buffer buffer[2];
	unsigned front;			      /* that is shown */
	bool flipping;			      /* the other one is about to be */
	void (*flipped)(struct vg_output *o); /* it is; called by vg_card_read() */
};

/* Of a process that has a card. */
extern const struct vg_sandbox_needs vg_card_needs;

/**
 * vg_card_open - become master of the card, and have all of its monitors dark; with privileges
 * @path: of its device, below /dev/dri
 * @out: to be freed with vg_card_close()
 *
 * Return: 0, or negative errno with a sentence: there is no such card, it is no card, another program
 * has it, or its driver has no atomic mode setting.
 */
int vg_card_open(const char *path, struct vg_card **out, struct vg_err *err);
void vg_card_close(struct vg_card *card);

/** vg_card_fd - readable when vg_card_read() has something to do */
int vg_card_fd(const struct vg_card *card);
void vg_card_read(struct vg_card *card);

/** vg_card_plugs - readable when a monitor may have been plugged in or out */
int vg_card_plugs(const struct vg_card *card);

/** vg_card_plugged - read that. Return: whether monitors are to be looked for. */
bool vg_card_plugged(struct vg_card *card);

/**
 * vg_output_find - look for a connector by its name, as HDMI-A-1
 * @o: zeroed; gets card, name and connector; lives as long as @card
 *
 * Return: 0; -ENOENT: there is none, with a sentence that names those that there are; other errno.
 */
int vg_output_find(struct vg_card *card, const char *name, struct vg_output *o, struct vg_err *err);

/**
 * vg_output_light - show black, in the mode that is wanted, or the one that the monitor likes best
 * @width, @height, @hz: wanted; width 0: what it likes; hz 0: any
 *
 * Has the monitor looked for. One that shows something already is left as it is, unless it is gone.
 * Return: 1: it shows something, o->width by o->height; 0: none is plugged in; negative errno with a
 * sentence. Of all but 1 it is dark then.
 */
int vg_output_light(struct vg_output *o, uint32_t width, uint32_t height, uint32_t hz,
		    struct vg_err *err);

/** vg_output_dark - show nothing, and give back its memory */
void vg_output_dark(struct vg_output *o);

/** vg_output_back - the buffer that is not shown */
static inline struct vg_buffer *vg_output_back(struct vg_output *o)
{
	return &o->buffer[!o->front];
}

/**
 * vg_output_flip - have the back buffer shown, at the next refresh; flipped() is called then
 * @damage: @n areas of it, at least one, that may differ from what is shown
 *
 * Not while flipping. Return: 0, or negative errno.
 */
int vg_output_flip(struct vg_output *o, const struct vg_rect *damage, unsigned n);

#endif /* VG_CARD_H */
