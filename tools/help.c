// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * help.c - `vgrant help`: commands, devices and their keys, from the tables themselves
 */
#include <inttypes.h>
#include <string.h>

#include "backend/virtio/device.h"
#include "tools/vgrant.h"

/* "16M": a size as people write it. */
static void print_size(uint64_t v)
{
	static const char suffixes[] = "KMGT";
	int i = -1;

	while (v && v % 1024 == 0 && i < 3) {
		v /= 1024;
		i++;
	}
	printf("%" PRIu64, v);
	if (i >= 0)
		putchar(suffixes[i]);
}

static void print_number(const struct vg_param_def *d, uint64_t v)
{
	if (d->kind == VG_PARAM_SIZE)
		print_size(v);
	else
		printf("%" PRIu64, v);
}

static void print_kind(const struct vg_param_def *d)
{
	switch (d->kind) {
	case VG_PARAM_STRING:
		printf("text");
		break;
	case VG_PARAM_PATH:
		printf("path, from / on");
		break;
	case VG_PARAM_PLACE:
		printf("path, from / on, or address");
		break;
	case VG_PARAM_BOOL:
		printf("0 or 1; the key alone means 1");
		break;
	case VG_PARAM_UINT:
	case VG_PARAM_SIZE:
		printf(d->kind == VG_PARAM_SIZE ? "bytes" : "number");
		if (d->max) {
			printf(" from ");
			print_number(d, d->min);
			printf(" to ");
			print_number(d, d->max);
		} else if (d->min) {
			printf(" from ");
			print_number(d, d->min);
			printf(" on");
		}
		break;
	}
	if (d->required)
		printf("; must be given");
	else if (d->fallback && *d->fallback)
		printf("; default %s", d->fallback);
}

static void print_keys(const struct vg_param_def *defs)
{
	for (; defs && defs->key; defs++) {
		printf("  %-16s ", defs->key);
		print_kind(defs);
		printf("\n  %-16s %s\n", "", defs->help ? defs->help : "");
	}
}

static void print_device(const struct vg_device_ops *ops)
{
	printf("%s - %s\n\n", ops->name, ops->help);
	printf("In the guest's xl configuration:  vgrant = [ '%s", ops->name);
	for (const struct vg_param_def *d = ops->params; d && d->key; d++) {
		if (d->required)
			printf(",%s=...", d->key);
	}
	printf("' ]\n");
	if (ops->virtio_id)
		printf("Virtio device id: %u (xl: type=virtio,device%x)\n", ops->virtio_id,
		       ops->virtio_id);
	if (ops->params && ops->params->key)
		printf("\nKeys:\n");
	print_keys(ops->params);
	printf("\nKeys of every device:\n");
	print_keys(vg_common_params);
}

static void print_command(const struct vgrant_command *cmd)
{
	printf("usage: vgrant %s%s%s\n%s\n\nOptions:\n", cmd->name, *cmd->args ? " " : "",
	       cmd->args, cmd->help);
	vgrant_print_option_help(cmd->options);
}

/* Those of all commands. */
static void print_options(const struct vgrant_command *c)
{
	char letters[256] = "";

	for (; c->name; c++)
		strncat(letters, c->options, sizeof(letters) - strlen(letters) - 1);
	vgrant_print_option_help(letters);
}

static void print_all(const struct vgrant_command *commands)
{
	const struct vgrant_command *c = commands;

	printf("usage: vgrant COMMAND [OPTION...] [ARGUMENT...]\n\nCommands:\n");
	for (; c->name; c++) {
		char what[64];

		snprintf(what, sizeof(what), "%s %s", c->name, c->args);
		printf("  %-26s %s\n", what, c->help);
	}
	printf("\nOptions (vgrant help COMMAND lists those of one):\n");
	print_options(commands);
	printf("\nDevices (vgrant help DEVICE lists the keys of one):\n");
	for (size_t i = 0; vg_devices[i]; i++)
		printf("  %-26s %s\n", vg_devices[i]->name, vg_devices[i]->help);
	printf("\nExit status: 0 done; 1 refused or failed; 2 wrong usage; 3 vgrantd is out of "
	       "reach.\nManual pages: vgrant(8), vgrantd(8), vgrant.conf(5).\n");
}

int vgrant_help(const struct vgrant_options *opt, int argc, char **argv)
{
	const struct vg_device_ops *ops;

	if (argc == 0) {
		print_all(opt->commands);
		return VGRANT_OK;
	}
	ops = vg_device_find(argv[0]);
	if (ops) {
		print_device(ops);
		return VGRANT_OK;
	}
	for (const struct vgrant_command *c = opt->commands; c->name; c++) {
		if (strcmp(c->name, argv[0]) == 0) {
			print_command(c);
			return VGRANT_OK;
		}
	}
	vgrant_complain("there is neither a device nor a command '%s'; `vgrant help` lists both",
			argv[0]);
	return VGRANT_USAGE;
}
