// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * offers.c - what a device would offer its driver here, for a guest that is still elsewhere
 *
 * As a worker of vgrantd's finds it out (worker/worker.h): a process of its own opens the device, gives its rights
 * up, and only then looks at what a guest may have written. It has no guest; and it tells by shared memory, for
 * which it needs no system call.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/daemon/settings.h"
#include "backend/worker/sandbox.h"
#include "backend/worker/worker.h"
#include "tools/vgrant.h"

struct found {
	int ret;
	uint64_t features;
	struct vg_err err;
};

static void look(const char *spec, struct found *found)
{
	static const struct vg_sandbox_needs *const no_port[] = { NULL };
	static struct vg_settings settings;
	static struct vg_worker w;
	struct vg_sandbox sandbox = { 0 };

	(void)vg_settings_load(&settings, NULL, NULL);
	sandbox.namespaces = sandbox.seccomp = settings.sandbox;
	found->ret = 0;
	if (settings.sandbox && geteuid() == 0)
		found->ret =
			vg_settings_worker_ids(&settings, &sandbox.uid, &sandbox.gid, &found->err);
	if (found->ret == 0)
		found->ret = vg_worker_init(&w, -1, &found->err);
	if (found->ret == 0)
		found->ret = vg_worker_open(&w, spec, &found->err);
	if (found->ret == 0)
		found->ret = vg_worker_enter(&w, &sandbox, no_port, &found->err);
	found->features = w.dev.device_features & ~w.dev.withheld_features;
}

int vgrant_offers(const char *spec, uint64_t *features, struct vg_err *err)
{
	struct found *found = mmap(NULL, sizeof(*found), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, ret;
	pid_t pid;

	if (found == MAP_FAILED)
		return vg_fail(err, -ENOMEM, "out of memory");
	found->ret = -EIO;
	snprintf(found->err.text, sizeof(found->err.text), "what looked at it has died");
	pid = fork();
	if (pid == 0) {
		look(spec, found);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		found->ret = -errno;
	ret = found->ret;
	*features = found->features;
	if (err)
		*err = found->err;
	munmap(found, sizeof(*found));
	return ret;
}
