// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * text.c - what `vgrant` says to people: complaints, sizes, times, and text that is not ours
 */
#include <stdarg.h>
#include <string.h>

#include "tools/vgrant.h"

enum { BUFFERS = 8 };

static struct {
	char *buf; /* NULL: stderr */
	size_t size;
} complaints;

void vgrant_complain_into(char *buf, size_t size)
{
	complaints.buf = buf;
	complaints.size = size;
}

void vgrant_complain(const char *fmt, ...)
{
	va_list ap;

	if (complaints.buf) {
		va_start(ap, fmt);
		vsnprintf(complaints.buf, complaints.size, fmt, ap);
		va_end(ap);
		return;
	}
	fflush(stdout);
	fputs("vgrant: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	putc('\n', stderr);
}

const char *vgrant_printable(const char *text)
{
	static char bufs[BUFFERS][4096];
	static unsigned turn;
	char *buf = bufs[turn++ % BUFFERS];

	snprintf(buf, sizeof(bufs[0]), "%s", text);
	for (unsigned char *p = (unsigned char *)buf; *p; p++) {
		/* C0, DEL, and C1 as UTF-8 has it (0xc2 0x80 to 0xc2 0x9f) */
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
	return buf;
}

const char *vgrant_bytes(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	static char bufs[BUFFERS][24];
	static unsigned turn;
	char *buf = bufs[turn++ % BUFFERS];
	double v = (double)bytes;
	unsigned u = 0;

	/* What would be rounded to 1024.0 goes to the next unit. */
	for (; v >= 1023.95 && u < 6; u++)
		v /= 1024;
	snprintf(buf, sizeof(bufs[0]), u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return buf;
}

const char *vgrant_duration(uint64_t s)
{
	static char bufs[BUFFERS][32];
	static unsigned turn;
	char *buf = bufs[turn++ % BUFFERS];
	size_t n = sizeof(bufs[0]);
	unsigned long long m = s / 60, h = m / 60, d = h / 24;

	if (d)
		snprintf(buf, n, "%llud%02lluh", d, h % 24);
	else if (h)
		snprintf(buf, n, "%lluh%02llum", h, m % 60);
	else if (m)
		snprintf(buf, n, "%llum%02llus", m, (unsigned long long)s % 60);
	else
		snprintf(buf, n, "%llus", (unsigned long long)s);
	return buf;
}
