/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * number.h - the one way from text to a number
 *
 * strtoul(3) and its family take blanks, signs ("-1" is a large number), and stop where they like;
 * what users, guests and xenstore write is a number only if all of it is digits.
 */
#ifndef VG_NUMBER_H
#define VG_NUMBER_H

#include <errno.h>
#include <stdint.h>

/**
 * vg_digits - the number that @text begins with
 * @base: 8, 10 or 16; no prefix
 * @end: gets what is behind the last digit
 *
 * Return: 0; -EINVAL: it does not begin with a digit; -ERANGE: over 64 bits.
 */
static inline int vg_digits(const char *text, unsigned base, const char **end, uint64_t *out)
{
	const char *s = text;
	uint64_t v = 0;
	int ret = 0;

	for (;; s++) {
		char c = *s;
		unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
			     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
			     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
						    : 16;

		if (d >= base)
			break;
		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
			ret = -ERANGE;
	}
	*end = s;
	*out = v;
	return s == text ? -EINVAL : ret;
}

/**
 * vg_number - the number that all of @text is
 * @base: 8, 10 or 16; no prefix
 *
 * Return: 0; -EINVAL: empty, or something else than digits in it; -ERANGE: over @max.
 */
static inline int vg_number(const char *text, unsigned base, uint64_t max, uint64_t *out)
{
	const char *end;
	uint64_t v;
	int ret = vg_digits(text, base, &end, &v);

	if (*end || ret == -EINVAL)
		return -EINVAL;
	if (ret < 0 || v > max)
		return -ERANGE;
	*out = v;
	return 0;
}

#endif /* VG_NUMBER_H */
