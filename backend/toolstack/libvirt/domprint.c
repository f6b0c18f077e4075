// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * domprint.c - see domxml.h: our element from a guest's entries, numbers in one that there is, and the schema of all
 * there can be
 */
#include <errno.h>
#include <stdlib.h>
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

char *vg_domxml_number(const struct vg_domxml *x, const int *ids)
{
	char *text = NULL;
	size_t len = 0, from = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	/* Behind the name in the tag. Tags come in their order. */
	for (unsigned i = 0; i < x->conf->n_devices; i++) {
		size_t to;

		if (ids[i] < 0 || x->tags[i] == SIZE_MAX)
			continue;
		to = x->tags[i] + strcspn(x->text + x->tags[i], " \t\r\n/>");
		fprintf(out, "%.*s id='%d'", (int)(to - from), x->text + from, ids[i]);
		from = to;
	}
	fputs(x->text + from, out);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
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
	case VG_PARAM_PLACE:
		print_pattern(out, "/.*|[a-z]+(\\+unix)?://.+|(rbd|vdpa):.+");
		break;
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

/* Do both take the same values, and neither has to be there? */
static bool takes_same(const struct vg_param_def *a, const struct vg_param_def *b)
{
	return !a->required && !b->required && a->kind == b->kind && a->min == b->min &&
	       a->max == b->max;
}

/* Of the keys of @tables, the one that @at is of all that are like it. */
static bool is_first(const struct vg_param_def *const *tables, const struct vg_param_def *at)
{
	for (; *tables; tables++) {
		for (const struct vg_param_def *d = *tables; d->key; d++) {
			if (d == at)
				return true;
			if (takes_same(d, at))
				return false;
		}
	}
	return true;
}

static void print_group(FILE *out, const struct vg_param_def *const *tables,
			const struct vg_param_def *first)
{
	fprintf(out, "     <zeroOrMore>\n      <attribute>\n       <choice>\n");
	for (; *tables; tables++) {
		for (const struct vg_param_def *d = *tables; d->key; d++) {
			if (takes_same(d, first))
				fprintf(out, "        <name ns=\"\">%s</name>\n", d->key);
		}
	}
	fprintf(out, "       </choice>\n");
	print_kind(out, first);
	fprintf(out, "      </attribute>\n     </zeroOrMore>\n");
}

/*
 * Keys that take the same values share a pattern. libxml2 goes on with each attribute both taken and
 * not taken, so that an <optional> each doubles its work with each one that is there: with 14 of
 * them it takes seconds, with 20 minutes.
 */
static void print_keys(FILE *out, const struct vg_param_def *const *tables)
{
	for (const struct vg_param_def *const *t = tables; *t; t++) {
		for (const struct vg_param_def *d = *t; d->key; d++) {
			if (d->required) {
				fprintf(out, "     <attribute name=\"%s\">\n", d->key);
				print_kind(out, d);
				fprintf(out, "     </attribute>\n");
			} else if (is_first(tables, d)) {
				print_group(out, tables, d);
			}
		}
	}
}

static void print_device_schema(FILE *out, const struct vg_device_ops *ops)
{
	const struct vg_param_def *const tables[] = {
		vg_common_params,
		ops->params,
		NULL,
	};

	fprintf(out,
		" <define name=\"device.%s\">\n"
		"    <element name=\"%s\">\n",
		ops->name, ops->name);
	print_keys(out, tables);
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
