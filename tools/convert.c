// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * convert.c - `vgrant convert FILE`: an xl configuration's devices as metadata of libvirt's, and back
 *
 * What is printed means the same; blanks and comments are not kept. It can be read again by
 * `vgrant convert`, and gives the same devices.
 */
#include <stdlib.h>
#include <string.h>

#include "backend/toolstack/libvirt/domxml.h"
#include "backend/toolstack/xlconf.h"
#include "tools/vgrant.h"

/* In single quotes, with what libxlutil takes away behind a backslash. */
static void print_xl_string(const char *text)
{
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\\' || *text == '\'')
			putchar('\\');
		putchar(*text);
	}
	putchar('\'');
}

static void print_xl(const struct vg_xlconf *conf)
{
	printf("vgrant = [");
	for (unsigned i = 0; i < conf->n_devices; i++) {
		printf("%s", i ? ",\n           " : " ");
		print_xl_string(conf->devices[i].spec);
	}
	printf(" ]\n");
}

/* What cannot be read cannot be converted. Return: whether all entries can be. */
static bool all_well(const struct vg_xlconf *conf)
{
	bool well = conf->dropped == 0;

	if (!well)
		vgrant_complain("%s has %u entries too many", conf->path, conf->dropped);
	for (unsigned i = 0; i < conf->n_devices; i++) {
		const struct vg_xl_device *d = &conf->devices[i];

		if (!d->err.text[0])
			continue;
		vgrant_complain("%s:%u:%u: %s", conf->path, d->place.line, d->place.column,
				vgrant_printable(d->err.text));
		well = false;
	}
	return well;
}

static int from_xml(const char *file)
{
	struct vg_domxml *xml;
	struct vg_err err;
	bool well;

	if (vg_domxml_read(file, &xml, &err) < 0) {
		vgrant_complain("%s", vgrant_printable(err.text));
		return VGRANT_FAILED;
	}
	well = all_well(xml->conf);
	if (well)
		print_xl(xml->conf);
	vg_domxml_free(xml);
	return well ? VGRANT_OK : VGRANT_FAILED;
}

static int print_xml(const struct vg_xlconf *conf)
{
	const char *specs[VG_XL_DEVICES_MAX];
	struct vg_err err;
	char *text = NULL;
	size_t len = 0;
	unsigned bad;
	FILE *out = open_memstream(&text, &len);
	int ret;

	if (!out) {
		vgrant_complain("out of memory");
		return VGRANT_FAILED;
	}
	for (unsigned i = 0; i < conf->n_devices; i++)
		specs[i] = conf->devices[i].spec;
	ret = vg_domxml_print(out, specs, conf->n_devices, true, &bad, &err);
	fclose(out);
	if (ret < 0)
		vgrant_complain("%s:%u:%u: vgrant entry '%.120s': %s", conf->path,
				conf->devices[bad].place.line, conf->devices[bad].place.column,
				vgrant_printable(conf->devices[bad].spec), err.text);
	else
		fputs(text, stdout);
	free(text);
	return ret < 0 ? VGRANT_FAILED : VGRANT_OK;
}

static int from_xl(const char *file)
{
	struct vg_xlconf *conf;
	struct vg_err err;
	int ret = VGRANT_FAILED;

	if (vg_xlconf_read(file, &conf, &err) < 0) {
		vgrant_complain("%s", vgrant_printable(err.text));
		return VGRANT_FAILED;
	}
	if (all_well(conf))
		ret = print_xml(conf);
	vg_xlconf_free(conf);
	return ret;
}

int vgrant_convert(const struct vgrant_options *opt, int argc, char **argv)
{
	(void)opt, (void)argc;
	return strcmp(argv[0], "-") == 0 || vg_domxml_is(argv[0]) ? from_xml(argv[0])
								  : from_xl(argv[0]);
}

int vgrant_schema(const struct vgrant_options *opt, int argc, char **argv)
{
	(void)opt, (void)argc, (void)argv;
	vg_domxml_schema(stdout);
	return VGRANT_OK;
}
