// SPDX-License-Identifier: GPL-2.0-or-later
/* vhost_worker.c - see vhost_worker.h */
#include "backend/worker/vhost_worker.h"

#include <cap-ng.h>
#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "backend/devices/gateway/vhost.h"
#include "backend/worker/sandbox.h"

static int confine(struct vg_err *err)
{
	const struct vg_sandbox_needs *const needs[] = { &vg_vhost_needs, NULL };
	const struct vg_sandbox sb = { .seccomp = true };

	capng_clear(CAPNG_SELECT_ALL);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    capng_apply(CAPNG_SELECT_CAPS) < 0 || capng_get_caps_process() < 0 ||
	    capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		return vg_fail(err, -EPERM, "the right to open files cannot be given up");
	return vg_sandbox_enter(&sb, needs, err);
}

int vg_vhost_worker_main(const char *kind, const char *what)
{
	return vg_vhost_main(kind, what, confine);
}
