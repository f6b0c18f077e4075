// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xlsource.c - see xlsource.h
 */
#include "backend/toolstack/xlsource.h"

#include <errno.h>
#include <stdlib.h>

#include "backend/toolstack/xlfind.h"

static void xl_free(struct vg_source_config *config)
{
	vg_xlconf_free(config->priv);
	free(config->devices);
	free(config);
}

static int xl_find(void *ctx, const struct vg_guest_id *guest,
		   uint16_t (*virtio_id_of)(const char *device), struct vg_source_config **out,
		   struct vg_err *err)
{
	struct vg_source_config *config;
	struct vg_xlconf *conf;
	int ret = vg_xlfind(ctx, guest->name, guest->uuid, &conf, err);

	if (ret < 0)
		return ret;
	vg_xlconf_match(conf, virtio_id_of);
	config = calloc(1, sizeof(*config));
	if (config)
		config->devices = calloc(conf->n_devices + 1, sizeof(*config->devices));
	if (!config || !config->devices) {
		free(config);
		vg_xlconf_free(conf);
		return vg_fail(err, -ENOMEM, "out of memory");
	}
	config->where = conf->path;
	config->n_devices = conf->n_devices;
	config->priv = conf;
	if (conf->vgrant_again.line)
		vg_fail(&config->warning, 0,
			"the list vgrant = [...] in line %u replaces that in line %u, whose "
			"devices the "
			"guest does not get: make one of them, or write +=",
			conf->vgrant_again.line, conf->vgrant.line);
	for (unsigned i = 0; i < conf->n_devices; i++) {
		const struct vg_xl_device *d = &conf->devices[i];

		config->devices[i] = (struct vg_source_device){
			.spec = d->spec,
			.line = d->place.line,
			.backend = d->backend,
			.adopts = d->virtio,
			.adopts_from = d->virtio >= 0 ? conf->virtios[d->virtio].backend : "",
			.number = d->number,
			.err = d->err,
		};
	}
	*out = config;
	return 0;
}

const struct vg_source vg_xl_source = {
	.name = "xl",
	.origin = VG_CONTROL_FROM_CONFIG,
	.find = xl_find,
	.free = xl_free,
};
