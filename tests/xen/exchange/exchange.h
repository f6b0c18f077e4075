// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * exchange.h - what dom0 and a test's guest say to each other over the guest's console
 *
 * guest-run.c (in dom0) sends a command in lines
 *
 *	!vg ID c BASE64		a piece of its text
 *	!vg ID go SUM		the text is complete: run it
 *	!vg ID again		send the last command's output once more, in base64
 *
 * and agent.c (in the guest) answers with
 *
 *	@vg ID |LINE		a line of its output, as it comes
 *	@vg ID b BASE64		the same, when it was asked for again
 *	@vg ID rc STATUS SUM	its exit status, and the sum of all its output
 *	@vg ID bad		the text did not arrive whole: send it again
 *
 * The sums are there because the guest's kernel writes to the same console and may do so in the middle
 * of a line. Both are small programs, and no scripts, because a process costs a tenth of a second of
 * an emulated processor, and tests run some hundred commands.
 */
#ifndef VG_TEST_EXCHANGE_H
#define VG_TEST_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	EXCHANGE_ID = 40,     /* bytes of an ID, with the byte that ends it */
	EXCHANGE_PIECE = 450, /* of text in a line: a terminal's line has at most 4095 */
};

/* Bytes that grow. */
struct bytes {
	char *at;
	size_t n, room;
};

static inline void bytes_add(struct bytes *b, const void *from, size_t n)
{
	if (b->n + n + 1 > b->room) {
		b->room = (b->n + n + 1) * 2;
		b->at = realloc(b->at, b->room);
		if (!b->at)
			abort();
	}
	memcpy(b->at + b->n, from, n);
	b->n += n;
	b->at[b->n] = '\0';
}

/* FNV-1a of 64 bits: it finds lost and foreign bytes, and is nobody's secret. */
static inline uint64_t exchange_sum(const void *from, size_t n)
{
	const uint8_t *p = from;
	uint64_t h = 0xcbf29ce484222325;

	while (n--)
		h = (h ^ *p++) * 0x100000001b3;
	return h;
}

static const char exchange_letters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* @to gets the text for @n bytes, without an end. */
static inline void exchange_encode(struct bytes *to, const void *from, size_t n)
{
	const uint8_t *p = from;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? p[i + 1] << 8 : 0) |
			     (i + 2 < n ? p[i + 2] : 0);
		char four[4] = { exchange_letters[v >> 18], exchange_letters[v >> 12 & 63],
				 i + 1 < n ? exchange_letters[v >> 6 & 63] : '=',
				 i + 2 < n ? exchange_letters[v & 63] : '=' };

		bytes_add(to, four, sizeof(four));
	}
}

/* What is not of its letters is passed over: sums tell what was lost. */
static inline void exchange_decode(struct bytes *to, const char *text, size_t n)
{
	uint32_t v = 0, bits = 0;

	for (size_t i = 0; i < n && text[i] != '='; i++) {
		const char *at = text[i] ? strchr(exchange_letters, text[i]) : NULL;

		if (!at)
			continue;
		v = v << 6 | (uint32_t)(at - exchange_letters);
		bits += 6;
		if (bits >= 8) {
			uint8_t byte = (uint8_t)(v >> (bits - 8));

			bits -= 8;
			bytes_add(to, &byte, 1);
		}
	}
}

#endif
