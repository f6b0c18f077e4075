// SPDX-License-Identifier: GPL-2.0-or-later
/* table.c - the formats of images; a new one is a line here */
#include "backend/images/raw.h"

const struct vg_image_ops *const vg_image_formats[] = {
	&vg_image_raw,
	NULL,
};
