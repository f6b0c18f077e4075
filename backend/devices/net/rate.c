// SPDX-License-Identifier: GPL-2.0-or-later
/* rate.c - see rate.h; how it is kept is base/rate.c's */
#include "backend/devices/net/rate.h"

#include <errno.h>
#include <string.h>

#include "backend/base/container.h"

enum { DEFAULT_MS = 50 }; /* as libxlu_vif.c */

#define RATE_MAX 125000000000ull /* bytes a second: 1 Tbit/s */

/* Digits at *@text, which moves behind them. Return: false: there are none, or too many. */
static bool number(const char **text, uint64_t *value)
{
	const char *p = *text;

	for (*value = 0; *p >= '0' && *p <= '9' && *value < RATE_MAX; p++)
		*value = *value * 10 + (uint64_t)(*p - '0');
	if (p == *text || (*p >= '0' && *p <= '9'))
		return false;
	*text = p;
	return true;
}

/* Return: whether @text is a rate. */
static bool parse(const char *text, uint64_t *bytes, int64_t *burst)
{
	static const struct {
		const char *unit;
		int64_t ns;
	} units[] = { { "ms", 1000000 }, { "us", 1000 }, { "s", NS_PER_S } };
	uint64_t unit = 1, interval;

	if (!number(&text, bytes))
		return false;
	for (const char *k = "KMG"; *k && unit == 1; k++) {
		if (*text == *k)
			unit = *k == 'K' ? 1000 : *k == 'M' ? 1000000 : 1000000000;
	}
	text += unit > 1;
	if ((*text != 'b' && *text != 'B') || text[1] != '/' || text[2] != 's')
		return false;
	if (*bytes > RATE_MAX * (*text == 'b' ? 8 : 1) / unit)
		return false;
	*bytes *= unit;
	if (*text == 'b')
		*bytes /= 8;
	text += 3;
	*burst = DEFAULT_MS * 1000000LL;
	if (*text == '\0')
		return *bytes > 0;
	if (*text++ != '@' || !number(&text, &interval))
		return false;
	for (unsigned i = 0; i < COUNT(units); i++) {
		if (strcmp(text, units[i].unit) != 0)
			continue;
		*burst = (int64_t)interval * units[i].ns;
		return *bytes > 0 && interval > 0 && interval <= 1000000 && *burst <= NS_PER_S;
	}
	return false;
}

int net_rate_set(struct vg_rate *r, const char *text, struct vg_err *err)
{
	uint64_t bytes = 0;
	int64_t burst = 0;

	if (strcmp(text, "0") != 0 && !parse(text, &bytes, &burst))
		return vg_fail(
			err, -EINVAL,
			"rate=%s is none: a number, K, M or G, b/s (bits) or B/s (bytes), and "
			"perhaps @ and an interval of at most 1s, as 10Mb/s@20ms; 0: no limit",
			text);
	vg_rate_set(r, bytes, burst);
	return 0;
}
