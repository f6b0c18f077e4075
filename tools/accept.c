// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * accept.c - `vgrant accept`: can the guest that another host asks for (migrate.c) have its devices here?
 *
 * A guest's drivers keep what they have agreed upon with their devices when it moves: a device that does not offer
 * that any more refuses its driver, and the guest loses it (virtio_device_restore() in Linux). What a driver agreed
 * to is compared with what is written in the configuration here, with the features that this version knows, and, of a
 * disk that is a file or a block device, with what it would offer here and now (offers.c). What a network card offers
 * depends on the host's kernel as well, and is not tried: its interface would have to be made.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/control/view.h"
#include "backend/daemon/settings.h"
#include "backend/toolstack/libvirt/domxml.h"
#include "backend/toolstack/xlfind.h"
#include "backend/virtio/device.h"
#include "tools/vgrant.h"

/* Device features, VIRTIO 1.3 section 6: 0 to 23 and 50 to 63; the others are the transport's. */
#define DEVICE_FEATURES 0xfffc000000ffffffULL

/* Keys of which a driver knows the outcome, and goes by it after a move. */
static const struct {
	const char *type; /* NULL: of every device */
	const char *key;
} seen[] = {
	{ NULL, "packed" },	{ "blk", "queues" },   { "blk", "readonly" },
	{ "net", "queues" },	{ "net", "offloads" }, { "net", "mtu" },
	{ "net", "rss" },	{ "net", "hash" },     { "net", "rss_hash_report" },
	{ "console", "ports" },
};

static struct json_object *read_question(void)
{
	char *text = malloc(VGRANT_QUESTION_MAX);
	struct json_object *q = NULL;
	size_t len = text ? fread(text, 1, VGRANT_QUESTION_MAX - 1, stdin) : 0;

	if (text) {
		text[len] = '\0';
		q = json_tokener_parse(text);
	}
	free(text);
	if (json_object_is_type(q, json_type_object) &&
	    json_object_is_type(vgrant_member(q, "devices"), json_type_array) &&
	    vgrant_text(q, "guest")[0])
		return q;
	vgrant_complain("standard input is not what `vgrant migrate` asks");
	json_object_put(q);
	return NULL;
}

/* ---- a device there, and its entry here ------------------------------------------ */

static const struct vg_xl_device *configured(const struct vg_xlconf *conf, struct json_object *dev)
{
	for (unsigned i = 0; i < conf->n_devices; i++) {
		if (conf->devices[i].number == vgrant_number(dev, "id"))
			return &conf->devices[i];
	}
	return NULL;
}

static const struct vg_param_def *def_of(const struct vg_param_def *defs, const char *key)
{
	while (defs && defs->key && strcmp(defs->key, key) != 0)
		defs++;
	return defs && defs->key ? defs : NULL;
}

/* What @key comes to in @p; "" where nobody says anything */
static const char *value_of(const struct vg_params *p, const struct vg_param_def *defs,
			    const char *key)
{
	const char *text;

	if (def_of(defs, key)->kind == VG_PARAM_BOOL)
		return vg_params_bool(p, defs, key) ? "1" : "0";
	text = vg_params_str(p, defs, key);
	return text ? text : "";
}

static unsigned compare_keys(const struct vg_xlconf *conf, const struct vg_xl_device *d,
			     struct json_object *dev)
{
	const struct vg_device_ops *ops = vg_device_find(d->params.device);
	struct vg_params there;
	unsigned mistakes = 0;

	if (!ops || vg_params_parse(vgrant_text(dev, "config"), &there, NULL) < 0)
		return 0;
	for (size_t i = 0; i < COUNT(seen); i++) {
		const struct vg_param_def *defs = seen[i].type ? ops->params : vg_common_params;
		const char *is, *was;

		if ((seen[i].type && strcmp(seen[i].type, ops->name) != 0) ||
		    !def_of(defs, seen[i].key))
			continue;
		is = value_of(&d->params, defs, seen[i].key);
		was = value_of(&there, defs, seen[i].key);
		if (strcmp(is, was) == 0)
			continue;
		vgrant_complain("%s: vgrant entry '%.120s': %s is '%s' here, and '%s' where the "
				"guest is, whose "
				"driver goes by that",
				conf->path, d->spec, seen[i].key, is, vgrant_printable(was));
		mistakes++;
	}
	return mistakes;
}

static unsigned compare_size(const struct vg_xlconf *conf, const struct vg_xl_device *d,
			     struct json_object *dev)
{
	uint64_t size = vgrant_number(dev, "size"), here, allocation;
	const char *target = vg_params_str(&d->params, NULL, "target");

	if (!size || !target || vgrant_sizes_of(target, &here, &allocation) < 0 || here == size)
		return 0;
	vgrant_complain(
		"%s: vgrant entry '%.120s': %s has %llu bytes here, and %llu where the guest "
		"is: that is not the same disk",
		conf->path, d->spec, target, (unsigned long long)here, (unsigned long long)size);
	return 1;
}

/* One that could not be opened now, as where both hosts see its lock, is not judged. */
static uint64_t lacks(const struct vg_xl_device *d, uint64_t used)
{
	uint64_t offered = 0;
	struct vg_err err;

	if (vg_device_of(&d->params) != vg_device_find("blk") ||
	    vgrant_offers(d->spec, &offered, &err) < 0)
		return 0;
	return used & DEVICE_FEATURES & ~offered;
}

/* "BLK_DISCARD, BLK_WRITE_ZEROES"; one without a name as "57" */
static const char *feature_list(unsigned virtio_id, uint64_t bits)
{
	static char text[512];
	size_t used = 0;

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = vg_control_feature_name(virtio_id, bit);
		char number[8];

		if (!(bits & VG_FEATURE(bit)) || used >= sizeof(text))
			continue;
		snprintf(number, sizeof(number), "%u", bit);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used ? ", " : "",
					 name ? name : number);
	}
	return text;
}

static unsigned compare_features(const struct vg_xlconf *conf, const struct vg_xl_device *d,
				 struct json_object *dev)
{
	uint64_t used = strtoull(vgrant_text(dev, "features"), NULL, 16), missing = 0;
	unsigned virtio_id = (unsigned)vgrant_number(dev, "virtio_id");

	for (unsigned bit = 0; bit < 64; bit++) {
		if ((used & VG_FEATURE(bit)) && !vg_control_feature_name(virtio_id, bit))
			missing |= VG_FEATURE(bit);
	}
	if (!missing)
		missing = lacks(d, used);
	if (!missing)
		return 0;
	vgrant_complain("%s: vgrant entry '%.120s': the guest's driver uses %s, which the device "
			"would not offer "
			"here: the guest would lose it",
			conf->path, d->spec, feature_list(virtio_id, missing));
	return 1;
}

/* One that the guest has: does it get the same here? Return: number of mistakes, which were told. */
static unsigned compare(const struct vg_xlconf *conf, struct json_object *dev)
{
	unsigned id = (unsigned)vgrant_number(dev, "id"), mistakes;
	const struct vg_xl_device *d = configured(conf, dev);

	if (!d || !vgrant_is_a(dev, d->params.device)) {
		vgrant_complain("%s: the guest has a device %u, %s, for which there is no vgrant "
				"entry: it would lose it here; add one, with id=%u",
				conf->path, id, vgrant_printable(vgrant_text(dev, "type")), id);
		return 1;
	}
	if (d->err.text[0] || d->backend)
		return 0;
	mistakes = compare_size(conf, d, dev) + compare_keys(conf, d, dev);
	return mistakes ? mistakes : compare_features(conf, d, dev);
}

static unsigned compare_all(const struct vg_xlconf *conf, struct json_object *devices)
{
	unsigned mistakes = 0;

	for (size_t i = 0; i < json_object_array_length(devices); i++)
		mistakes += compare(conf, json_object_array_get_idx(devices, i));
	return mistakes;
}

/* ---- a guest ----------------------------------------------------------------------- */

/* Return: VGRANT_OK, or another code when @guest is here, or nobody can tell. */
static int is_free(const struct vgrant_options *opt, const char *guest)
{
	struct json_object *answer = NULL, *devices;
	int ret = vgrant_devices(opt, guest, &answer, &devices);

	if (ret == VGRANT_OK && json_object_array_length(devices)) {
		vgrant_complain("a guest %s is here already", vgrant_printable(guest));
		ret = VGRANT_FAILED;
	}
	json_object_put(answer);
	return ret;
}

/* libvirt takes its configuration with it. */
static int accept_xml(struct json_object *xml, struct json_object *devices)
{
	struct vg_domxml *x;
	struct vg_err err;
	unsigned mistakes;

	if (vg_domxml_parse("the domain's XML", json_object_get_string(xml),
			    (size_t)json_object_get_string_len(xml), &x, &err) < 0) {
		vgrant_complain("%s", vgrant_printable(err.text));
		return VGRANT_FAILED;
	}
	mistakes = vgrant_check_here(x->conf->path, x, stderr);
	mistakes += compare_all(x->conf, devices);
	vg_domxml_free(x);
	return mistakes ? VGRANT_FAILED : VGRANT_OK;
}

static int accept_file(const char *guest, struct json_object *devices)
{
	static struct vg_settings settings;
	struct vg_xlconf *conf;
	struct vg_err err;
	unsigned mistakes;

	(void)vg_settings_load(&settings, NULL, NULL);
	if (vg_xlfind_in(settings.config_dirs, guest, NULL, &conf, &err) < 0) {
		vgrant_complain("%s: its devices are not known here; copy its configuration",
				vgrant_printable(err.text));
		return VGRANT_FAILED;
	}
	mistakes = vgrant_check_arrival(conf, stderr);
	mistakes += compare_all(conf, devices);
	vg_xlconf_free(conf);
	return mistakes ? VGRANT_FAILED : VGRANT_OK;
}

static int accept_guest(const struct vgrant_options *opt, struct json_object *q)
{
	struct json_object *devices = vgrant_member(q, "devices"), *xml = vgrant_member(q, "xml");
	const char *guest = vgrant_text(q, "guest");
	int ret;

	if (vgrant_number(q, "format") != VGRANT_QUESTION_FORMAT) {
		vgrant_complain("the guest comes from a host with a later version of vgrant: "
				"install that here first");
		return VGRANT_FAILED;
	}
	ret = is_free(opt, guest);
	if (ret != VGRANT_OK)
		return ret;
	return json_object_is_type(xml, json_type_string) ? accept_xml(xml, devices)
							  : accept_file(guest, devices);
}

int vgrant_accept(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *q = read_question();
	int ret = q ? accept_guest(opt, q) : VGRANT_FAILED;

	(void)argc, (void)argv;
	json_object_put(q);
	return ret;
}
