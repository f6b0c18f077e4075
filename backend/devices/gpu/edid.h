/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * edid.h - what a monitor says of itself: VESA E-EDID standard, release A, revision 2 (EDID 1.4)
 */
#ifndef VG_GPU_EDID_H
#define VG_GPU_EDID_H

#include <stdint.h>

enum {
	GPU_EDID_BYTES = 128,
	/* Of a detailed timing: 12 bits for pixels, and a clock of 16 bits in 10 kHz. */
	GPU_EDID_SIDE_MAX = 4095,
	GPU_EDID_CLOCK_MAX = 65535,
	GPU_HZ_MIN = 1,
	GPU_HZ_MAX = 255,
};

struct gpu_mode {
	uint16_t width, height; /* pixels; 0: no monitor is there */
	uint8_t hz;
};

/** gpu_mode_fits - whether an EDID can tell @m, and a guest show it; all but "no monitor" */
int gpu_mode_fits(const struct gpu_mode *m);

/**
 * gpu_edid - the EDID of a monitor that likes @m best
 * @m: gpu_mode_fits()
 * @serial: a number of this monitor, different for each
 *
 * Timings are those of CVT with reduced blanking (VESA CVT 1.2, section 3), but for the clock, which is
 * as near below as an EDID can tell. The size is that of 96
 * pixels an inch, so that a desktop scales nothing.
 */
void gpu_edid(uint8_t edid[GPU_EDID_BYTES], const struct gpu_mode *m, uint32_t serial);

#endif /* VG_GPU_EDID_H */
