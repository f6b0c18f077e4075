// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * keys.c - see keys.h
 *
 * Linux numbered its keys after the XT's scancodes up to F12 (linux/input-event-codes.h); what came
 * later stands in the tables. Keysyms are those of X11 (X11/keysymdef.h): of Latin-1 they are the
 * characters, the others begin with 0xff.
 */
#include "backend/devices/input/keys.h"

#include <linux/input-event-codes.h>
#include <stddef.h>
#include <string.h>

#include "backend/base/container.h"

struct pair {
	uint16_t from, key;
};

static uint16_t look_up(const struct pair *p, size_t n, uint32_t from)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i].from == from)
			return p[i].key;
	}
	return 0;
}

uint16_t input_key_of_scancode(uint32_t scancode)
{
	static const struct pair others[] = {
		{ 0x56, KEY_102ND },
		{ 0x57, KEY_F11 },
		{ 0x58, KEY_F12 },
		{ 0x59, KEY_KPEQUAL },
		{ 0x5d, KEY_F13 },
		{ 0x5e, KEY_F14 },
		{ 0x5f, KEY_F15 },
		{ 0x70, KEY_KATAKANAHIRAGANA },
		{ 0x73, KEY_RO },
		{ 0x79, KEY_HENKAN },
		{ 0x7b, KEY_MUHENKAN },
		{ 0x7d, KEY_YEN },
		{ 0x7e, KEY_KPCOMMA },
		/* behind 0xe0 */
		{ 0x90, KEY_PREVIOUSSONG },
		{ 0x99, KEY_NEXTSONG },
		{ 0x9c, KEY_KPENTER },
		{ 0x9d, KEY_RIGHTCTRL },
		{ 0xa0, KEY_MUTE },
		{ 0xa1, KEY_CALC },
		{ 0xa2, KEY_PLAYPAUSE },
		{ 0xa4, KEY_STOPCD },
		{ 0xae, KEY_VOLUMEDOWN },
		{ 0xb0, KEY_VOLUMEUP },
		{ 0xb2, KEY_HOMEPAGE },
		{ 0xb5, KEY_KPSLASH },
		{ 0xb7, KEY_SYSRQ },
		{ 0xb8, KEY_RIGHTALT },
		{ 0xc6, KEY_PAUSE },
		{ 0xc7, KEY_HOME },
		{ 0xc8, KEY_UP },
		{ 0xc9, KEY_PAGEUP },
		{ 0xcb, KEY_LEFT },
		{ 0xcd, KEY_RIGHT },
		{ 0xcf, KEY_END },
		{ 0xd0, KEY_DOWN },
		{ 0xd1, KEY_PAGEDOWN },
		{ 0xd2, KEY_INSERT },
		{ 0xd3, KEY_DELETE },
		{ 0xdb, KEY_LEFTMETA },
		{ 0xdc, KEY_RIGHTMETA },
		{ 0xdd, KEY_COMPOSE },
		{ 0xde, KEY_POWER },
		{ 0xdf, KEY_SLEEP },
		{ 0xe3, KEY_WAKEUP },
	};

	if (scancode >= KEY_ESC && scancode <= KEY_KPDOT)
		return (uint16_t)scancode;
	return look_up(others, COUNT(others), scancode);
}

/* A row of keys: what is on them, without and with Shift. */
static uint16_t in_row(const char *plain, const char *shifted, uint16_t first, uint32_t keysym)
{
	const char *at = strchr(plain, (int)keysym);

	if (at)
		return (uint16_t)(first + (at - plain));
	at = strchr(shifted, (int)keysym);
	return at ? (uint16_t)(first + (at - shifted)) : 0;
}

uint16_t input_key_of_keysym(uint32_t keysym)
{
	static const struct {
		const char *plain, *shifted;
		uint16_t first;
	} rows[] = {
		{ "1234567890-=", "!@#$%^&*()_+", KEY_1 },
		{ "qwertyuiop[]", "QWERTYUIOP{}", KEY_Q },
		{ "asdfghjkl;'`", "ASDFGHJKL:\"~", KEY_A },
		{ "\\zxcvbnm,./", "|ZXCVBNM<>?", KEY_BACKSLASH },
		{ " ", " ", KEY_SPACE },
	};
	static const struct pair others[] = {
		{ 0xff08, KEY_BACKSPACE }, { 0xff09, KEY_TAB },	      { 0xfe20, KEY_TAB },
		{ 0xff0d, KEY_ENTER },	   { 0xff13, KEY_PAUSE },     { 0xff14, KEY_SCROLLLOCK },
		{ 0xff15, KEY_SYSRQ },	   { 0xff1b, KEY_ESC },	      { 0xff50, KEY_HOME },
		{ 0xff51, KEY_LEFT },	   { 0xff52, KEY_UP },	      { 0xff53, KEY_RIGHT },
		{ 0xff54, KEY_DOWN },	   { 0xff55, KEY_PAGEUP },    { 0xff56, KEY_PAGEDOWN },
		{ 0xff57, KEY_END },	   { 0xff61, KEY_SYSRQ },     { 0xff63, KEY_INSERT },
		{ 0xff67, KEY_COMPOSE },   { 0xff7f, KEY_NUMLOCK },   { 0xff8d, KEY_KPENTER },
		{ 0xff95, KEY_KP7 },	   { 0xff96, KEY_KP4 },	      { 0xff97, KEY_KP8 },
		{ 0xff98, KEY_KP6 },	   { 0xff99, KEY_KP2 },	      { 0xff9a, KEY_KP9 },
		{ 0xff9b, KEY_KP3 },	   { 0xff9c, KEY_KP1 },	      { 0xff9d, KEY_KP5 },
		{ 0xff9e, KEY_KP0 },	   { 0xff9f, KEY_KPDOT },     { 0xffaa, KEY_KPASTERISK },
		{ 0xffab, KEY_KPPLUS },	   { 0xffad, KEY_KPMINUS },   { 0xffae, KEY_KPDOT },
		{ 0xffaf, KEY_KPSLASH },   { 0xffb0, KEY_KP0 },	      { 0xffb1, KEY_KP1 },
		{ 0xffb2, KEY_KP2 },	   { 0xffb3, KEY_KP3 },	      { 0xffb4, KEY_KP4 },
		{ 0xffb5, KEY_KP5 },	   { 0xffb6, KEY_KP6 },	      { 0xffb7, KEY_KP7 },
		{ 0xffb8, KEY_KP8 },	   { 0xffb9, KEY_KP9 },	      { 0xffc8, KEY_F11 },
		{ 0xffc9, KEY_F12 },	   { 0xffe1, KEY_LEFTSHIFT }, { 0xffe2, KEY_RIGHTSHIFT },
		{ 0xffe3, KEY_LEFTCTRL },  { 0xffe4, KEY_RIGHTCTRL }, { 0xffe5, KEY_CAPSLOCK },
		{ 0xffe7, KEY_LEFTMETA },  { 0xffe8, KEY_RIGHTMETA }, { 0xffe9, KEY_LEFTALT },
		{ 0xffea, KEY_RIGHTALT },  { 0xffeb, KEY_LEFTMETA },  { 0xffec, KEY_RIGHTMETA },
		{ 0xfe03, KEY_RIGHTALT },  { 0xffff, KEY_DELETE },
	};
	uint16_t key = 0;

	if (keysym >= 0xffbe && keysym <= 0xffc7)
		return (uint16_t)(KEY_F1 + (keysym - 0xffbe));
	if (keysym >= 0x100 || keysym == 0)
		return look_up(others, COUNT(others), keysym);
	for (size_t i = 0; !key && i < COUNT(rows); i++)
		key = in_row(rows[i].plain, rows[i].shifted, rows[i].first, keysym);
	return key;
}
