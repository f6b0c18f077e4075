// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * domprint.c - see domxml.h: our element from a guest's entries, and the schema of all there can be
 */
#include <errno.h>
#include <string.h>

#include "backend/toolstack/libvirt/domxml.h"
#include "backend/virtio/device.h"

/* @text as an attribute's value, in single quotes. A blank that is none would be normalised. */
static void print_value(FILE *out, const char *text)
{
	putc('\'', out);
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '\'':
			fputs("&apos;", out);
			break;
		case '\t':
			fputs("&#9;", out);
			break;
		default:
			putc(*text, out);
		}
	}
	putc('\'', out);
}

static int print_device(FILE *out, const char *spec, const char *prefix, struct vg_err *err)
{
	struct vg_params p;
	int ret = vg_params_parse(spec, &p, err);

	if (ret < 0)
		return ret;
	/* An element's name begins with a letter; a device's may not. */
	for (unsigned i = 0; i <= p.n; i++) {
		const char *name = i ? p.p[i - 1].key : p.device;

		if (strchr("0123456789.-", name[0]))
			return vg_fail(err, -EINVAL, "\"%.40s\" cannot be a name in XML", name);
	}
	fprintf(out, "  <%s%s", prefix, p.device);
	for (unsigned i = 0; i < p.n; i++) {
		fprintf(out, " %s=", p.p[i].key);
		print_value(out, p.p[i].value);
	}
	fprintf(out, "/>\n");
	return 0;
}

int vg_domxml_print(FILE *out, const char *const *specs, unsigned n, bool prefixed, unsigned *bad,
		    struct vg_err *err)
{
	const char *prefix = prefixed ? VG_DOMXML_PREFIX ":" : "";

	if (prefixed)
		fprintf(out, "<" VG_DOMXML_PREFIX ":" VG_DOMXML_ELEMENT " xmlns:" VG_DOMXML_PREFIX
			     "='" VG_DOMXML_URI "'>\n");
	else
		fprintf(out, "<" VG_DOMXML_ELEMENT ">\n");
	for (unsigned i = 0; i < n; i++) {
		int ret = print_device(out, specs[i], prefix, err);

		if (ret < 0) {
			*bad = i;
			return ret;
		}
	}
	fprintf(out, "</%s" VG_DOMXML_ELEMENT ">\n", prefix);
	return 0;
}

/* ---- the schema --------------------------------------------------------- */

static void print_pattern(FILE *out, const char *pattern)
{
	fprintf(out, "        <data type=\"string\"><param name=\"pattern\">%s</param></data>\n",
		pattern);
}

static void print_number(FILE *out, const struct vg_param_def *d)
{
	fprintf(out, "       <choice>\n        <data type=\"unsignedLong\">");
	if (d->min)
		fprintf(out, "<param name=\"minInclusive\">%llu</param>",
			(unsigned long long)d->min);
	if (d->max)
		fprintf(out, "<param name=\"maxInclusive\">%llu</param>",
			(unsigned long long)d->max);
	fprintf(out, "</data>\n");
	print_pattern(out, "0[xX][0-9a-fA-F]+");
	if (d->kind == VG_PARAM_SIZE)
		print_pattern(out, "[0-9]+[KkMmGgTt]");
	fprintf(out, "       </choice>\n");
}

static void print_kind(FILE *out, const struct vg_param_def *d)
{
	static const char *const words[] = { "0", "1", "no", "yes", "off", "on", "false", "true" };

	switch (d->kind) {
	case VG_PARAM_STRING:
	case VG_PARAM_PATH:
		if (d->required)
			print_pattern(out, d->kind == VG_PARAM_PATH ? "/.*" : ".+");
		else if (d->kind == VG_PARAM_PATH)
			print_pattern(out, "(/.*)?");
		else
			fprintf(out, "        <text/>\n");
		break;
	case VG_PARAM_BOOL:
		fprintf(out, "       <choice>\n");
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			fprintf(out, "        <value>%s</value>\n", words[i]);
		fprintf(out, "       </choice>\n");
		break;
	case VG_PARAM_UINT:
	case VG_PARAM_SIZE:
		print_number(out, d);
		break;
	}
}

static void print_keys(FILE *out, const struct vg_param_def *d)
{
	for (; d && d->key; d++) {
		if (!d->required)
			fprintf(out, "     <optional>\n");
		fprintf(out, "      <attribute name=\"%s\">\n", d->key);
		print_kind(out, d);
		fprintf(out, "      </attribute>\n");
		if (!d->required)
			fprintf(out, "     </optional>\n");
	}
}

static void print_device_schema(FILE *out, const struct vg_device_ops *ops)
{
	fprintf(out,
		" <define name=\"device.%s\">\n"
		"    <element name=\"%s\">\n",
		ops->name, ops->name);
	print_keys(out, ops->params);
	print_keys(out, vg_common_params);
	fprintf(out, "    </element>\n"
		     " </define>\n");
}

void vg_domxml_schema(FILE *out)
{
	fputs("<?xml version=\"1.0\"?>\n"
	      "<!-- Devices of vgrant in the metadata of a libvirt domain: vgrant.conf(5).\n"
	      "     xmllint -relaxng takes it for the element alone, and for a whole domain. -->\n"
	      "<grammar xmlns=\"http://relaxng.org/ns/structure/1.0\" ns=\"" VG_DOMXML_URI "\"\n"
	      "         datatypeLibrary=\"http://www.w3.org/2001/XMLSchema-datatypes\">\n"
	      " <start>\n"
	      "  <choice>\n"
	      "   <ref name=\"devices\"/>\n"
	      "   <element name=\"domain\" ns=\"\">\n"
	      "    <ref name=\"attributes\"/>\n"
	      "    <zeroOrMore><ref name=\"other\"/></zeroOrMore>\n"
	      "    <optional>\n"
	      "     <element name=\"metadata\" ns=\"\">\n"
	      "      <zeroOrMore><ref name=\"foreign\"/></zeroOrMore>\n"
	      "      <optional>\n"
	      "       <ref name=\"devices\"/>\n"
	      "       <zeroOrMore><ref name=\"foreign\"/></zeroOrMore>\n"
	      "      </optional>\n"
	      "     </element>\n"
	      "     <zeroOrMore><ref name=\"other\"/></zeroOrMore>\n"
	      "    </optional>\n"
	      "   </element>\n"
	      "  </choice>\n"
	      " </start>\n"
	      " <define name=\"attributes\">\n"
	      "  <zeroOrMore><attribute><anyName/></attribute></zeroOrMore>\n"
	      " </define>\n"
	      " <define name=\"other\">\n"
	      "  <element><anyName><except><name "
	      "ns=\"\">metadata</name><nsName/></except></anyName>"
	      "<ref name=\"anything\"/></element>\n"
	      " </define>\n"
	      " <define name=\"foreign\">\n"
	      "  <element><anyName><except><nsName/></except></anyName>"
	      "<ref name=\"anything\"/></element>\n"
	      " </define>\n"
	      " <define name=\"anything\">\n"
	      "  <ref name=\"attributes\"/>\n"
	      "  <mixed><zeroOrMore><ref name=\"foreign\"/></zeroOrMore></mixed>\n"
	      " </define>\n"
	      " <define name=\"devices\">\n"
	      "  <element name=\"" VG_DOMXML_ELEMENT "\">\n"
	      "   <zeroOrMore>\n"
	      "    <choice>\n",
	      out);
	for (size_t i = 0; vg_devices[i]; i++)
		fprintf(out, "     <ref name=\"device.%s\"/>\n", vg_devices[i]->name);
	fputs("    </choice>\n"
	      "   </zeroOrMore>\n"
	      "  </element>\n"
	      " </define>\n",
	      out);
	for (size_t i = 0; vg_devices[i]; i++)
		print_device_schema(out, vg_devices[i]);
	fputs("</grammar>\n", out);
}
