// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * views.c - what people look for in virsh, which cannot show devices that libvirt does not know
 *
 * `vgrant domblklist GUEST` has virsh's columns. A disk's target is the number of
 * its device, as it is in `vgrant list`: which name the guest gives it, vda or
 * another, only the guest knows.
 */
#include <json-c/json.h>
#include <string.h>

#include "backend/base/params.h"
#include "tools/vgrant.h"

static bool is_disk(struct json_object *dev)
{
	return strcmp(vgrant_text(dev, "type"), "blk") == 0;
}

/* What it is read from; "-" as virsh has it, when that is not known. */
static const char *source_of(struct json_object *dev, struct vg_params *params)
{
	const char *target = NULL;

	if (vg_params_parse(vgrant_text(dev, "config"), params, NULL) == 0)
		target = vg_params_str(params, NULL, "target");
	return target && *target ? target : "-";
}

static void print_disks(struct json_object *devices)
{
	static const char title[] = "Target", source[] = "Source";
	size_t n = json_object_array_length(devices), target_width = strlen(title),
	       source_width = strlen(source);
	struct vg_params params;

	for (size_t i = 0; i < n; i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);

		if (!is_disk(dev))
			continue;
		if (strlen(vgrant_text(dev, "name")) > target_width)
			target_width = strlen(vgrant_text(dev, "name"));
		if (strlen(source_of(dev, &params)) > source_width)
			source_width = strlen(source_of(dev, &params));
	}
	printf(" %-*s   %s\n", (int)target_width, title, source);
	for (size_t i = 0; i < target_width + source_width + 5; i++)
		putchar('-');
	putchar('\n');
	for (size_t i = 0; i < n; i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);

		if (is_disk(dev))
			printf(" %-*s   %s\n", (int)target_width,
			       vgrant_printable(vgrant_text(dev, "name")),
			       vgrant_printable(source_of(dev, &params)));
	}
}

int vgrant_domblklist(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *answer = NULL;
	int ret = vgrant_ask(opt, &answer, "list", VGRANT_ARGS({ "guest", argv[0] }));

	(void)argc;
	if (ret != VGRANT_OK)
		return ret;
	if (json_object_is_type(vgrant_member(answer, "devices"), json_type_array)) {
		print_disks(vgrant_member(answer, "devices"));
	} else {
		vgrant_complain("vgrantd answered without a list: is it of another version?");
		ret = VGRANT_FAILED;
	}
	json_object_put(answer);
	return ret;
}
