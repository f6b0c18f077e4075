/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cards.h - heads of guests on monitors of this machine
 *
 * A graphics card has one process, vgrant-kms, whichever guests are seen there: it is started for the
 * first head that is to be, and ended after the last. Each head has a socket from its guest's display
 * to that process, and a new one whenever one of them was replaced.
 */
#ifndef VG_CARDS_H
#define VG_CARDS_H

#include "backend/daemon/child.h"
#include "backend/displays/place.h"

struct vg_card_process;

/* All of them. Zeroed, and children set. */
struct vg_cards {
	struct vg_children *children;
	struct vg_card_process *first;
	uint32_t last_id; /* of a screen */
};

/* One head. */
struct vg_screen {
	struct vg_screens *owner;
	uint32_t id, head;
	struct vg_place_of_head place;
	struct vg_card_process *card; /* NULL: it is on no monitor */
	struct vg_screen *next;	      /* of the card's */
	char text[VG_SCREEN_TEXT];    /* where it is seen, or why not */
};

/* Those of one device. */
struct vg_screens {
	struct vg_cards *cards;
	struct vg_child *worker, *display; /* the owner's */
	char *text;			   /* its lists' word on all of them */
	bool display_open;
	unsigned n;
	struct vg_screen s[VG_DISPLAY_HEADS];
};

/**
 * vg_screens_new - show the heads of a device where its configuration says
 * @worker: whose spec that is; @display: its other process; both outlive the screens
 *
 * Return: to be freed with vg_screens_free(); NULL: none of its heads is to be on a monitor.
 */
struct vg_screens *vg_screens_new(struct vg_cards *cards, struct vg_child *worker,
				  struct vg_child *display);

/** vg_screens_display - the display is open now, or is not any more */
void vg_screens_display(struct vg_screens *all, bool open);

/** vg_screens_free - take them off their monitors. NULL is allowed. */
void vg_screens_free(struct vg_screens *all);

#endif /* VG_CARDS_H */
