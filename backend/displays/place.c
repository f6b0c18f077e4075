// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * place.c - see place.h
 *
 *	kms=HDMI-A-1				/dev/dri/card0
 *	kms=card1:HDMI-A-1+card1:DP-1		the first two heads
 *	kms=/dev/dri/by-path/pci-0000:03:00.0-card:DP-1
 *	kms=off+DP-1				the second alone
 *
 * Of kms-mode, kms-area and kms-layer the last one counts for the heads behind it, too, as in mode.
 */
#include "backend/displays/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/number.h"

#define FOLDER "/dev/dri/"

enum { HZ_MAX = 1000, LAYER_MAX = 255, WORD = 160 };

/* ---- one of each --------------------------------------------------------------- */

static bool parse_kms(const char *word, struct vg_place_of_head *p)
{
	const char *colon = strrchr(word, ':');
	const char *connector = colon ? colon + 1 : word;
	int card = colon ? (int)(colon - word) : 0;
	int n;

	if (strcmp(word, "off") == 0)
		return true;
	if (!*connector || strlen(connector) >= sizeof(p->connector) || strchr(connector, '/') ||
	    (colon && !card))
		return false;
	if (!colon)
		n = snprintf(p->card, sizeof(p->card), FOLDER "card0");
	else
		n = snprintf(p->card, sizeof(p->card), "%s%.*s", *word == '/' ? "" : FOLDER, card,
			     word);
	snprintf(p->connector, sizeof(p->connector), "%s", connector);
	/* Nothing else is opened with vgrantd's rights. */
	return n < (int)sizeof(p->card) && strncmp(p->card, FOLDER, strlen(FOLDER)) == 0 &&
	       !strstr(p->card, "..");
}

/* A number from @min to @max that *@text begins with, and @then behind it, which may be NUL. */
static bool number(const char **text, unsigned min, unsigned max, char then, uint32_t *out)
{
	uint64_t v;

	if (vg_digits(*text, 10, text, &v) < 0 || v < min || v > max || **text != then)
		return false;
	*out = (uint32_t)v;
	if (then)
		(*text)++;
	return true;
}

static bool parse_mode(const char *word, struct vg_place_of_head *p)
{
	bool rate = strchr(word, '@');

	if (strcmp(word, "preferred") == 0)
		return true;
	return number(&word, 1, VG_LIMIT_GPU_SIDE, 'x', &p->width) &&
	       number(&word, 1, VG_LIMIT_GPU_SIDE, rate ? '@' : '\0', &p->height) &&
	       (!rate || number(&word, 1, HZ_MAX, '\0', &p->hz));
}

static bool parse_area(const char *word, struct vg_place_of_head *p)
{
	if (strcmp(word, "all") == 0)
		return true;
	return number(&word, 1, VG_LIMIT_GPU_SIDE, 'x', &p->area_width) &&
	       number(&word, 1, VG_LIMIT_GPU_SIDE, '@', &p->area_height) &&
	       number(&word, 0, VG_LIMIT_GPU_SIDE, ':', &p->x) &&
	       number(&word, 0, VG_LIMIT_GPU_SIDE, '\0', &p->y);
}

static bool parse_layer(const char *word, struct vg_place_of_head *p)
{
	return number(&word, 0, LAYER_MAX, '\0', &p->layer);
}

static const struct part {
	const char *key;
	bool (*parse)(const char *word, struct vg_place_of_head *p);
	bool last_counts; /* for heads that are not named */
	const char *form;
} parts[] = {
	{ "kms", parse_kms, false,
	  "it is off, or a connector, as HDMI-A-1 or card1:HDMI-A-1, with a card below " FOLDER },
	{ "kms-mode", parse_mode, true, "it is preferred, or WIDTHxHEIGHT or WIDTHxHEIGHT@HZ" },
	{ "kms-area", parse_area, true, "it is all, or WIDTHxHEIGHT@X:Y" },
	{ "kms-layer", parse_layer, true, "it is a number from 0 to 255" },
};

/* ---- all of them ---------------------------------------------------------------- */

/* Return: how many are named, or -EINVAL. */
static int parse(const struct part *part, const char *value,
		 struct vg_place_of_head places[VG_DISPLAY_HEADS], struct vg_err *err)
{
	const char *at = value, *plus;
	char word[WORD];
	int n = 0;

	do {
		plus = strchrnul(at, '+');
		snprintf(word, sizeof(word), "%.*s", (int)(plus - at), at);
		if (n == VG_DISPLAY_HEADS)
			return vg_fail(err, -EINVAL, "%s=%.60s names more than %d heads", part->key,
				       value, VG_DISPLAY_HEADS);
		if (plus - at >= WORD || !part->parse(word, &places[n++]))
			return vg_fail(err, -EINVAL, "%s=%.80s: %s; several are joined with +",
				       part->key, value, part->form);
		at = plus + 1;
	} while (*plus);
	for (int i = n; part->last_counts && i < VG_DISPLAY_HEADS; i++)
		part->parse(word, &places[i]);
	return n;
}

int vg_places_parse(const struct vg_params *params, const struct vg_param_def *defs,
		    struct vg_place_of_head places[VG_DISPLAY_HEADS], struct vg_err *err)
{
	int named = 0;

	memset(places, 0, VG_DISPLAY_HEADS * sizeof(*places));
	for (unsigned i = 0; i < COUNT(parts); i++) {
		int ret = parse(&parts[i], vg_params_str(params, defs, parts[i].key), places, err);

		if (ret < 0)
			return ret;
		if (i == 0)
			named = ret;
	}
	return named == 1 && !places[0].card[0] ? 0 : named;
}
