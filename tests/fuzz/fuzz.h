/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz.h - what fuzz targets share: the input, read as a little program
 *
 * A target reads numbers from its input and does what they say; at the end of
 * the input all numbers are 0. MUST() is a rule that has to hold whatever the
 * input is.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(x)                                                                           \
	do {                                                                              \
		if (!(x)) {                                                               \
			fprintf(stderr, "fuzz: %s:%d: not %s\n", __FILE__, __LINE__, #x); \
			abort();                                                          \
		}                                                                         \
	} while (0)

#define MAYBE_UNUSED __attribute__((unused))

static const uint8_t *fuzz_in, *fuzz_end;

/** fuzz_begin - the input of this run */
static inline void fuzz_begin(const uint8_t *data, size_t len)
{
	fuzz_in = data;
	fuzz_end = data + len;
}

/** fuzz_more - whether there is any left */
static inline bool fuzz_more(void)
{
	return fuzz_in < fuzz_end;
}

/** u8, u16, u32, u64 - the next number, little-endian */
static inline uint8_t u8(void)
{
	return fuzz_more() ? *fuzz_in++ : 0;
}

static inline uint16_t u16(void)
{
	uint16_t lo = u8();

	return (uint16_t)(lo | u8() << 8);
}

static inline uint32_t u32(void)
{
	uint32_t lo = u16();

	return lo | (uint32_t)u16() << 16;
}

static inline uint64_t u64(void)
{
	uint64_t lo = u32();

	return lo | (uint64_t)u32() << 32;
}

/** below - a number from 0 to @n - 1, n at most 256 */
static inline unsigned below(unsigned n)
{
	return u8() % n;
}

/** chance - true once in @n times or so */
static inline bool chance(unsigned n)
{
	return below(n) == n - 1;
}

/** fuzz_bytes - the next @n bytes; zeros at the end */
static inline void fuzz_bytes(void *to, size_t n)
{
	uint8_t *p = to;

	while (n--)
		*p++ = u8();
}

/** fuzz_text - a string of at most @size - 1 bytes: its length, then its bytes, up to a NUL */
static inline char *fuzz_text(char *to, size_t size)
{
	size_t n = u8();

	if (n >= size)
		n = size - 1;
	if (n > (size_t)(fuzz_end - fuzz_in))
		n = (size_t)(fuzz_end - fuzz_in);
	fuzz_bytes(to, n);
	to[n] = '\0';
	return to;
}

#endif /* FUZZ_H */
