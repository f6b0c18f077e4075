// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xlhost.c - see xlhost.h
 */
#include "backend/toolstack/xlhost.h"

#include <libxlutil.h>
#include <stdio.h>

#include "backend/base/log.h"

void vg_xl_default_bridge(const char *file, char *name, size_t size)
{
	const char *path = file ? file : VG_XL_CONF, *value;
	FILE *null = fopen("/dev/null", "we");
	XLU_Config *cfg = null ? xlu_cfg_init(null, path) : NULL;

	snprintf(name, size, "xenbr0");
	if (cfg && xlu_cfg_readfile(cfg, path) == 0 &&
	    xlu_cfg_get_string(cfg, "vif.default.bridge", &value, 1) == 0)
		snprintf(name, size, "%s", value);
	if (cfg)
		xlu_cfg_destroy(cfg);
	if (null)
		fclose(null);
}
