/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keys.h - what a viewer says of a key, as Linux' input events name it (linux/input-event-codes.h)
 */
#ifndef VG_INPUT_KEYS_H
#define VG_INPUT_KEYS_H

#include <stdint.h>

/**
 * input_key_of_scancode - by its place: a scancode of the XT's set, 0x80 added for those behind 0xe0
 *
 * Return: KEY_*, or 0: no key has it.
 */
uint16_t input_key_of_scancode(uint32_t scancode);

/**
 * input_key_of_keysym - by what is printed on it, on a keyboard of the US
 *
 * For viewers that tell nothing else. Upper and lower case, and what else is on a key, are one.
 * Return: KEY_*, or 0.
 */
uint16_t input_key_of_keysym(uint32_t keysym);

#endif /* VG_INPUT_KEYS_H */
