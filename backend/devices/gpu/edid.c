// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * edid.c - see edid.h
 *
 *	0	header, who made it, when, version		18 bytes
 *	20	what it is: digital, its size, gamma, features	5
 *	25	colours: those of sRGB				10
 *	35	timings of old, as bits				3
 *	38	standard timings				8 of 2
 *	54	four descriptors: the timing that it likes best,
 *		what it can do, its name, its serial number	4 of 18
 *	126	number of extensions, checksum			2
 */
#include "backend/devices/gpu/edid.h"

#include <stdio.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"

enum {
	/* CVT with reduced blanking. */
	H_BLANK = 160,
	H_FRONT = 48,
	H_SYNC = 32,
	V_FRONT = 3,
	V_SYNC = 8, /* of any aspect; a driver takes what it is told */
	V_BLANK_US = 460,
	V_BACK_MIN = 6,

	DPI = 96,
	INCH_10UM = 2540, /* an inch in 0.01 mm */
	NAME = 0xfc,
	SERIAL = 0xff,
	RANGE = 0xfd,
	DESCRIPTOR = 18,
};

struct timing {
	unsigned h_total, v_total, v_blank;
	unsigned long clock; /* 10 kHz */
};

static struct timing timing_of(const struct gpu_mode *m)
{
	struct timing t = { .h_total = m->width + H_BLANK };
	/* The time of a line follows from what is left of a frame after its blanking. */
	double frame_us = 1e6 / m->hz;
	double line_us = (frame_us - V_BLANK_US) / m->height;

	t.v_blank = (unsigned)(V_BLANK_US / line_us) + 1;
	if (t.v_blank < V_FRONT + V_SYNC + V_BACK_MIN)
		t.v_blank = V_FRONT + V_SYNC + V_BACK_MIN;
	t.v_total = m->height + t.v_blank;
	t.clock = (unsigned long)t.h_total * t.v_total * m->hz / 10000;
	return t;
}

int gpu_mode_fits(const struct gpu_mode *m)
{
	struct timing t;

	if (m->width < 64 || m->height < 64 || m->width > GPU_EDID_SIDE_MAX ||
	    m->height > GPU_EDID_SIDE_MAX || m->hz < GPU_HZ_MIN ||
	    (uint64_t)m->width * m->height * 4 > VG_LIMIT_GPU_BYTES)
		return 0;
	t = timing_of(m);
	return t.clock > 0 && t.clock <= GPU_EDID_CLOCK_MAX && t.v_blank <= GPU_EDID_SIDE_MAX;
}

static unsigned mm(unsigned pixels)
{
	return (pixels * INCH_10UM / DPI + 50) / 100;
}

/* 3.10.2 */
static void put_timing(uint8_t *d, const struct gpu_mode *m)
{
	struct timing t = timing_of(m);
	unsigned w = mm(m->width), h = mm(m->height);

	d[0] = (uint8_t)t.clock;
	d[1] = (uint8_t)(t.clock >> 8);
	d[2] = (uint8_t)m->width;
	d[3] = H_BLANK;
	d[4] = (uint8_t)((m->width >> 8) << 4);
	d[5] = (uint8_t)m->height;
	d[6] = (uint8_t)t.v_blank;
	d[7] = (uint8_t)((m->height >> 8) << 4 | t.v_blank >> 8);
	d[8] = H_FRONT;
	d[9] = H_SYNC;
	d[10] = V_FRONT << 4 | V_SYNC;
	d[12] = (uint8_t)w;
	d[13] = (uint8_t)h;
	d[14] = (uint8_t)((w >> 8) << 4 | h >> 8);
	d[17] = 0x1a; /* digital, separate syncs: horizontal positive, vertical negative */
}

/* 3.10.3: text of at most 13 bytes, ended by a line feed, filled up with blanks. */
static void put_text(uint8_t *d, uint8_t tag, const char *text)
{
	size_t n = strnlen(text, 13);

	d[3] = tag;
	memset(d + 5, ' ', 13);
	for (size_t i = 0; i < n; i++)
		d[5 + i] = (uint8_t)text[i];
	if (n < 13)
		d[5 + n] = '\n';
}

/* 3.10.3.3: all that a timing can be, so that no mode is taken for one that it cannot show. */
static void put_range(uint8_t *d)
{
	d[3] = RANGE;
	d[5] = GPU_HZ_MIN;
	d[6] = GPU_HZ_MAX;
	d[7] = 1;
	d[8] = 255;
	d[9] = 66;    /* 660 MHz, above the greatest clock */
	d[10] = 0x01; /* these limits alone */
	d[11] = '\n';
	memset(d + 12, ' ', 6);
}

/* 3.9: those that it has at 60 Hz, in the code of two bytes: width / 8 - 31, aspect and rate. */
static void put_standard(uint8_t *at, const struct gpu_mode *m)
{
	static const struct {
		uint16_t width, height;
		uint8_t aspect;
	} modes[] = {
		{ 1920, 1080, 3 }, { 1680, 1050, 0 }, { 1600, 900, 3 }, { 1440, 900, 0 },
		{ 1280, 1024, 2 }, { 1280, 800, 0 },  { 1280, 720, 3 }, { 1024, 768, 1 },
	};

	memset(at, 0x01, 16); /* unused */
	for (unsigned i = 0; i < COUNT(modes); i++) {
		if (modes[i].width > m->width || modes[i].height > m->height)
			continue;
		*at++ = (uint8_t)(modes[i].width / 8 - 31);
		*at++ = (uint8_t)(modes[i].aspect << 6);
	}
}

void gpu_edid(uint8_t edid[GPU_EDID_BYTES], const struct gpu_mode *m, uint32_t serial)
{
	static const uint8_t head[] = { 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0 };
	/* 3.7: red, green, blue and white of sRGB. */
	static const uint8_t srgb[] = {
		0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54
	};
	/* Three letters of 5 bits: VGR. */
	const unsigned maker = ('V' - 'A' + 1) << 10 | ('G' - 'A' + 1) << 5 | ('R' - 'A' + 1);
	uint8_t *d = edid + 54;
	char text[14];
	uint8_t sum = 0;

	memset(edid, 0, GPU_EDID_BYTES);
	memcpy(edid, head, sizeof(head));
	edid[8] = (uint8_t)(maker >> 8);
	edid[9] = (uint8_t)maker;
	edid[10] = 1; /* product */
	for (unsigned i = 0; i < 4; i++)
		edid[12 + i] = (uint8_t)(serial >> 8 * i);
	edid[16] = 0xff; /* the year is that of the model */
	edid[17] = 2024 - 1990;
	edid[18] = 1;
	edid[19] = 4;
	edid[20] = 0xa5; /* digital, 8 bits a colour, DisplayPort */
	edid[21] = (uint8_t)((mm(m->width) + 5) / 10);
	edid[22] = (uint8_t)((mm(m->height) + 5) / 10);
	edid[23] = 220 - 100; /* gamma 2.2 */
	edid[24] = 0x07;      /* sRGB; the first timing is its own; any other is taken, too */
	memcpy(edid + 25, srgb, sizeof(srgb));
	edid[35] =
		m->width >= 800 && m->height >= 600 ? 0x21 : 0x20;  /* 640x480, 800x600 at 60 Hz */
	edid[36] = m->width >= 1024 && m->height >= 768 ? 0x08 : 0; /* 1024x768 */
	put_standard(edid + 38, m);
	put_timing(d, m);
	put_range(d + DESCRIPTOR);
	put_text(d + 2 * DESCRIPTOR, NAME, "vgrant");
	snprintf(text, sizeof(text), "%u", serial);
	put_text(d + 3 * DESCRIPTOR, SERIAL, text);
	for (unsigned i = 0; i < GPU_EDID_BYTES - 1; i++)
		sum = (uint8_t)(sum + edid[i]);
	edid[127] = (uint8_t)-sum;
}
