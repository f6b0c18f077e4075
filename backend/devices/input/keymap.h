/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keymap.h - which key has a character on it, on a keyboard of another layout than the US'
 *
 * For viewers that tell what is printed on a key, and not which it is. The layouts are those of X11
 * (xkeyboard-config), read by libxkbcommon when the device is opened.
 */
#ifndef VG_INPUT_KEYMAP_H
#define VG_INPUT_KEYMAP_H

#include <stdint.h>

#include "backend/base/log.h"

struct input_keymap;

/** input_keymap_check - is @name "LAYOUT" or "LAYOUT(VARIANT)"? Opens nothing. Return: 0, or -EINVAL. */
int input_keymap_check(const char *name, struct vg_err *err);

/** input_keymap_new - read it. Return: 0, or negative errno with a sentence: there is no such layout. */
int input_keymap_new(const char *name, struct input_keymap **out, struct vg_err *err);

/** input_keymap_free - NULL is allowed */
void input_keymap_free(struct input_keymap *m);

/**
 * input_keymap_key - the key that has @keysym on it, on whatever level; the lowest one counts
 *
 * A dead key will do for what it would put on a letter, where nothing else has that.
 * Return: KEY_*, or 0: none has it.
 */
uint16_t input_keymap_key(const struct input_keymap *m, uint32_t keysym);

#endif /* VG_INPUT_KEYMAP_H */
