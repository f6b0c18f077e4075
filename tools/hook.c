// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hook.c - `vgrant libvirt-hook NAME OPERATION ...`: libvirt's question whether a guest may start
 *
 * libvirt's Xen driver calls its hooks (libvirt.org/hooks.html) with the domain's
 * XML on standard input. A hook that fails in `prepare` keeps the guest from being
 * started, and what it says on stderr stands in virsh's error. Every other operation
 * passes but `migrate`: in `reconnect`, which comes when libvirtd is restarted, a
 * failure would end guests that run.
 *
 * `migrate` comes on the host that a guest is to go on on, before the guest is touched,
 * and is refused likewise, where there is XML. There is none in libvirt 11.3: it has it made
 * with VIR_DOMAIN_XML_MIGRATABLE, which virDomainDefFormat() does not know (libxl_domain.c,
 * libxlDomainHookRun()). Such a guest is refused in `prepare`, which comes when its
 * stream has begun: it stays where it is, but virsh hears only that the stream ended, and
 * the reason is in the log of the libvirtd here. `vgrant migrate` asks before (migrate.c).
 *
 * It asks nothing of libvirt, which waits for it, and is done in milliseconds.
 */
#include <string.h>
#include <time.h>

#include "backend/toolstack/libvirt/domxml.h"
#include "tools/vgrant.h"

enum { STEPS = 50, STEP_MS = 100 }; /* for vgrantd, which starts at boot shortly before libvirtd */

/* Devices need vgrantd, also those that another domain serves: it makes their nodes. */
static int need_daemon(const struct vgrant_options *opt)
{
	const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };

	for (int i = 0; i < STEPS && !vgrant_is_there(opt); i++)
		nanosleep(&step, NULL);
	return vgrant_ask(opt, NULL, "version", NULL);
}

int vgrant_hook(const struct vgrant_options *opt, int argc, char **argv)
{
	struct vg_domxml *xml;
	struct vg_err err;
	int ret = VGRANT_OK;

	(void)argc;
	if (strcmp(argv[1], "prepare") != 0 && strcmp(argv[1], "migrate") != 0)
		return VGRANT_OK;
	if (vg_domxml_read("-", &xml, &err) < 0) {
		vgrant_complain("%s", vgrant_printable(err.text));
		return VGRANT_FAILED;
	}
	if (xml->conf->n_devices) {
		if (vgrant_check_here(xml->conf->path, xml, stderr))
			ret = VGRANT_FAILED;
		else
			ret = need_daemon(opt);
	}
	vg_domxml_free(xml);
	return ret;
}
