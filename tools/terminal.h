/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * terminal.h - a terminal that is painted on, and given back as it was
 */
#ifndef VGRANT_TERMINAL_H
#define VGRANT_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/** vgrant_terminal_is - are pictures of any use there: is stdout a terminal? */
bool vgrant_terminal_is(void);

/**
 * vgrant_terminal_take - paint on it from here on
 *
 * Signals that end, stop or resize are held back until vgrant_terminal_wait(), which answers them.
 */
void vgrant_terminal_take(void);

/** vgrant_terminal_give - as it was before */
void vgrant_terminal_give(void);

/**
 * vgrant_terminal_paint - show @text, lines of it cut to what there is room for
 *
 * Without escape sequences in it. What was there before is gone.
 */
void vgrant_terminal_paint(const char *text);

enum { VGRANT_TERMINAL_TIME = 0, VGRANT_TERMINAL_AGAIN = -1, VGRANT_TERMINAL_END = -2 };

/**
 * vgrant_terminal_wait - for @ms milliseconds, unless something happens before
 *
 * Return: a key, above 0; VGRANT_TERMINAL_TIME: the time is over; _AGAIN: it must be painted again;
 * _END: the user, or a signal, wants an end.
 */
int vgrant_terminal_wait(long ms);

#endif /* VGRANT_TERMINAL_H */
