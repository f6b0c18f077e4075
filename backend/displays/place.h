/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * place.h - on which monitor of this machine a head is shown, and where there, as its configuration says
 */
#ifndef VG_PLACE_H
#define VG_PLACE_H

#include <stdint.h>

#include "backend/base/params.h"
#include "backend/displays/display.h"

/* Parameters of a device that has a display: for its table, before the last line. */
#define VG_PLACE_PARAMS                                                                           \
	{ "kms",                                                                                  \
	  VG_PARAM_STRING,                                                                        \
	  false,                                                                                  \
	  0,                                                                                      \
	  0,                                                                                      \
	  "off",                                                                                  \
	  "connector of this machine whose monitor shows the head, as HDMI-A-1, or of another "   \
	  "card than card0, as card1:HDMI-A-1; or off; several, for one head after the other, "   \
	  "are joined with +" },                                                                  \
		{ "kms-mode",                                                                     \
		  VG_PARAM_STRING,                                                                \
		  false,                                                                          \
		  0,                                                                              \
		  0,                                                                              \
		  "preferred",                                                                    \
		  "what is asked of that monitor, as 1920x1080 or 1920x1080@50: what it likes "   \
		  "best, where it has not that; several are joined with +" },                     \
		{ "kms-area",                                                                     \
		  VG_PARAM_STRING,                                                                \
		  false,                                                                          \
		  0,                                                                              \
		  0,                                                                              \
		  "all",                                                                          \
		  "part of that monitor that the head has, as 800x480@1120:0, which is its size " \
		  "and the place of its upper left corner; or all; several are joined with +" },  \
	{                                                                                         \
		"kms-layer", VG_PARAM_STRING, false, 0, 0, "0",                                   \
			"0 to 255: where areas of several heads meet, the one with the larger "   \
			"number is seen, whatever the others draw; several are joined with +"     \
	}

enum { VG_PLACE_CARD = 80, VG_PLACE_CONNECTOR = 32 };

struct vg_place_of_head {
	char card[VG_PLACE_CARD]; /* path; "": on no monitor */
	char connector[VG_PLACE_CONNECTOR];
	uint32_t width, height, hz; /* of the monitor; width 0: what it likes best; hz 0: any */
	uint32_t x, y, area_width, area_height; /* pixels; area_width 0: all of it */
	uint32_t layer;
};

/**
 * vg_places_parse - the places of all heads of a device
 * @defs: has VG_PLACE_PARAMS
 * @places: gets all of them; those behind the last that is named are on no monitor
 *
 * Return: how many are named, 0 with kms=off; or -EINVAL with a sentence.
 */
int vg_places_parse(const struct vg_params *params, const struct vg_param_def *defs,
		    struct vg_place_of_head places[VG_DISPLAY_HEADS], struct vg_err *err);

#endif /* VG_PLACE_H */
