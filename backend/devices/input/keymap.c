// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * keymap.c - see keymap.h
 *
 * A layout becomes a table, sorted by keysym: libxkbcommon answers the other way round. What has a
 * keysym of its own and a character of Unicode stands there twice, for viewers send either.
 */
#include "backend/devices/input/keymap.h"

#include <ctype.h>
#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xkbcommon/xkbcommon.h>

#include "backend/base/container.h"
#include "backend/devices/input/keys.h"

enum {
	XKB_OFFSET = 8, /* of X11's keycodes to Linux' */
	NAME_MAX_LEN = 64,
	LEVELS_MAX = 8,
	KEYS_MAX = 256,
};

#define UNICODE 0x1000000u /* keysyms of characters begin here */

struct entry {
	uint32_t keysym;
	uint16_t key, level;
};

struct input_keymap {
	size_t n;
	struct entry e[KEYS_MAX * LEVELS_MAX * 2];
};

/* Return: the part in parentheses, whose length is *@len; NULL: there is none. */
static const char *variant_of(const char *name, size_t *len)
{
	const char *open = strchr(name, '(');

	*len = open ? strcspn(open + 1, ")") : 0;
	return open ? open + 1 : NULL;
}

int input_keymap_check(const char *name, struct vg_err *err)
{
	size_t len;
	const char *variant = variant_of(name, &len);
	bool ok = isalpha((unsigned char)name[0]) && strlen(name) < NAME_MAX_LEN;

	for (const char *p = name; ok && *p; p++)
		ok = isalnum((unsigned char)*p) || strchr("-_()", *p);
	if (ok && variant)
		ok = len > 0 && strcmp(variant + len, ")") == 0 && !memchr(variant, '(', len);
	return ok ? 0
		  : vg_fail(err, -EINVAL,
			    "keymap=%.60s: it is a layout of X11's, as de, or one with a variant, "
			    "as "
			    "de(nodeadkeys)",
			    name);
}

static void add(struct input_keymap *m, uint32_t keysym, xkb_keycode_t code, unsigned level)
{
	if (keysym && m->n < COUNT(m->e))
		m->e[m->n++] =
			(struct entry){ keysym, (uint16_t)(code - XKB_OFFSET), (uint16_t)level };
}

static int by_keysym(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->keysym != y->keysym)
		return x->keysym < y->keysym ? -1 : 1;
	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* Whether our keyboards have it; X11 has some that are on none. */
static bool is_key(unsigned key)
{
	for (uint32_t scancode = 1; scancode < 0x100; scancode++) {
		if (input_key_of_scancode(scancode) == key)
			return true;
	}
	return false;
}

static void fill(struct input_keymap *m, struct xkb_keymap *map)
{
	for (xkb_keycode_t code = XKB_OFFSET + KEY_ESC; code < KEYS_MAX; code++) {
		xkb_level_index_t levels = xkb_keymap_num_levels_for_key(map, code, 0);

		if (!is_key(code - XKB_OFFSET))
			continue;
		for (xkb_level_index_t i = 0; i < levels && i < LEVELS_MAX; i++) {
			const xkb_keysym_t *syms;
			uint32_t c;

			if (xkb_keymap_key_get_syms_by_level(map, code, 0, i, &syms) != 1)
				continue;
			add(m, syms[0], code, i);
			c = xkb_keysym_to_utf32(syms[0]);
			if (c > 0xff && syms[0] != (UNICODE | c))
				add(m, UNICODE | c, code, i);
		}
	}
	qsort(m->e, m->n, sizeof(m->e[0]), by_keysym);
}

int input_keymap_new(const char *name, struct input_keymap **out, struct vg_err *err)
{
	struct input_keymap *m = calloc(1, sizeof(*m));
	char layout[NAME_MAX_LEN], variant[NAME_MAX_LEN];
	const struct xkb_rule_names names = { "evdev", "pc105", layout, variant, "" };
	struct xkb_context *context;
	struct xkb_keymap *map = NULL;
	size_t len;
	const char *at = variant_of(name, &len);

	if (!m)
		return vg_fail(err, -ENOMEM, "out of memory");
	snprintf(layout, sizeof(layout), "%.*s", (int)strcspn(name, "("), name);
	snprintf(variant, sizeof(variant), "%.*s", (int)len, at ? at : "");
	context = xkb_context_new(XKB_CONTEXT_NO_ENVIRONMENT_NAMES);
	if (context) {
		xkb_context_set_log_level(context, XKB_LOG_LEVEL_CRITICAL);
		map = xkb_keymap_new_from_names(context, &names, XKB_KEYMAP_COMPILE_NO_FLAGS);
	}
	if (map)
		fill(m, map);
	xkb_keymap_unref(map);
	xkb_context_unref(context);
	if (map && m->n) {
		*out = m;
		return 0;
	}
	free(m);
	return vg_fail(err, -ENOENT,
		       "keymap=%.60s cannot be read: is there such a layout in "
		       "/usr/share/X11/xkb/symbols?",
		       name);
}

void input_keymap_free(struct input_keymap *m)
{
	free(m);
}

static uint16_t find(const struct input_keymap *m, uint32_t keysym)
{
	size_t from = 0, to = m->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (m->e[middle].keysym < keysym)
			from = middle + 1;
		else
			to = middle;
	}
	return from < m->n && m->e[from].keysym == keysym ? m->e[from].key : 0;
}

uint16_t input_keymap_key(const struct input_keymap *m, uint32_t keysym)
{
	static const struct {
		uint32_t keysym, dead;
	} dead[] = {
		{ XKB_KEY_grave, XKB_KEY_dead_grave },
		{ XKB_KEY_acute, XKB_KEY_dead_acute },
		{ XKB_KEY_asciicircum, XKB_KEY_dead_circumflex },
		{ XKB_KEY_asciitilde, XKB_KEY_dead_tilde },
		{ XKB_KEY_diaeresis, XKB_KEY_dead_diaeresis },
		{ XKB_KEY_degree, XKB_KEY_dead_abovering },
		{ XKB_KEY_cedilla, XKB_KEY_dead_cedilla },
	};
	uint16_t key = find(m, keysym);

	for (size_t i = 0; !key && i < COUNT(dead); i++) {
		if (dead[i].keysym == keysym)
			key = find(m, dead[i].dead);
	}
	return key;
}
