// SPDX-License-Identifier: GPL-2.0-or-later
#include_next <linux/virtio_config.h>
#include "../core.h"
