// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * domxml.c - see domxml.h
 *
 * libxml2 reads, through its SAX interface: nothing is kept but what is ours. A
 * document type declaration ends it, and with that go all entities but XML's own
 * five, external files, and documents that grow while they are read.
 *
 * libxml2 tells a line, and only of a tag's end. A tag's beginning is looked for
 * in the text: no '<' can stand within a tag, so it is the last one before.
 */
#include "backend/toolstack/libvirt/domxml.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"

/* How deep our element and its devices lie: in a domain, and when the element is the document. */
struct depths {
	unsigned element, device;
};

static const struct depths in_domain = { 3, 4 }, alone = { 1, 2 };

struct reader {
	xmlParserCtxtPtr ctxt;
	const char *where;
	size_t len;
	unsigned depth; /* elements that are open */
	const struct depths *depths;
	bool in_metadata, in_ours, in_device;
	char *take; /* what the element that is open is the text of; NULL: nothing */
	size_t take_size;
	struct vg_domxml *x;
	int ret; /* 0, or why it ended; then err */
	struct vg_err err;
};

/* ---- places ------------------------------------------------------------- */

static struct vg_xl_place place_at(const char *text, size_t at)
{
	struct vg_xl_place place = { 1, 1 };

	for (size_t i = 0; i < at; i++) {
		if (text[i] == '\n') {
			place.line++;
			place.column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			place.column++;
		}
	}
	return place;
}

/* Where the tag begins whose start was just read. Return: false: the text is not as it was parsed. */
static bool tag_start(const struct reader *r, size_t *at)
{
	long end = xmlByteConsumed(r->ctxt);
	size_t i;

	if (r->ctxt->input->buf && r->ctxt->input->buf->encoder)
		return false;
	if (end < 0 || (size_t)end > r->len)
		return false;
	for (i = (size_t)end; i > 0; i--) {
		if (r->x->text[i - 1] == '<') {
			*at = i - 1;
			return true;
		}
	}
	return false;
}

static struct vg_xl_place tag_place(const struct reader *r)
{
	size_t at;

	if (tag_start(r, &at))
		return place_at(r->x->text, at);
	return (struct vg_xl_place){ (unsigned)r->ctxt->input->line, 0 };
}

/* The document is wrong: this ends it. */
__attribute__((format(printf, 3, 4))) static void stop(struct reader *r, struct vg_xl_place place,
						       const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (r->ret < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text[strcspn(text, "\n")] = '\0';
	if (place.column)
		r->ret = vg_fail(&r->err, -EINVAL, "%s:%u:%u: %s", r->where, place.line,
				 place.column, text);
	else
		r->ret = vg_fail(&r->err, -EINVAL, "%s:%u: %s", r->where, place.line, text);
	xmlStopParser(r->ctxt);
}

static void no_memory(struct reader *r)
{
	if (r->ret == 0)
		r->ret = vg_fail(&r->err, -ENOMEM, "%s: out of memory", r->where);
	xmlStopParser(r->ctxt);
}

/* ---- devices ------------------------------------------------------------ */

/* "blk", ",target=/x": @spec grows by the attributes. */
static void add_attributes(struct vg_xl_device *d, char *spec, const xmlChar **attrs, int n)
{
	char next[VG_PARAMS_LEN];

	for (int i = 0; i < n; i++) {
		const xmlChar **a = attrs + 5 * i; /* name, prefix, URI, value, its end */
		char value[VG_PARAMS_LEN];
		size_t len = (size_t)(a[4] - a[3]);
		int ret = len < sizeof(value) ? 0 : -E2BIG;

		if (a[1]) {
			vg_fail(&d->err, 0,
				"vgrant entry '%.80s': its attribute %.40s:%.40s is of another "
				"namespace",
				spec, (const char *)a[1], (const char *)a[0]);
			return;
		}
		if (ret == 0) {
			memcpy(value, a[3], len);
			value[len] = '\0';
			ret = vg_params_replace(spec, (const char *)a[0], value, next,
						sizeof(next));
		}
		if (ret < 0) {
			vg_fail(&d->err, 0,
				ret == -E2BIG ? "vgrant entry '%.80s': with %.40s it is too long"
					      : "vgrant entry '%.80s': the attribute %.40s or its "
						"value cannot stand in it: there are blanks around "
						"it, or control characters",
				spec, (const char *)a[0]);
			return;
		}
		memcpy(spec, next, sizeof(next));
	}
}

static void add_device(struct reader *r, const char *name, const xmlChar **attrs, int n)
{
	struct vg_xlconf *conf = r->x->conf;
	char spec[VG_PARAMS_LEN];
	struct vg_xl_device *d;
	struct vg_err wrong;
	size_t at;

	if (conf->n_devices == VG_XL_DEVICES_MAX) {
		conf->dropped++;
		return;
	}
	d = &conf->devices[conf->n_devices];
	d->place = tag_place(r);
	r->x->tags[conf->n_devices] = tag_start(r, &at) ? at : SIZE_MAX;
	snprintf(spec, sizeof(spec), "%s", name);
	add_attributes(d, spec, attrs, n);
	d->spec = strdup(spec);
	if (!d->spec) {
		no_memory(r);
		return;
	}
	wrong = d->err;
	vg_xlconf_read_device(conf, d);
	if (wrong.text[0])
		d->err = wrong;
	conf->n_devices++;
}

/* ---- elements ----------------------------------------------------------- */

static bool is_ours(const struct reader *r, const xmlChar *uri)
{
	return uri ? strcmp((const char *)uri, VG_DOMXML_URI) == 0 : r->depths == &alone;
}

static void take_text(struct reader *r, char *buf, size_t size)
{
	r->take = buf;
	r->take_size = size;
	buf[0] = '\0';
}

static void root(struct reader *r, const char *name, const xmlChar *uri)
{
	if (strcmp(name, "domain") == 0 && !uri)
		r->depths = &in_domain;
	else if (strcmp(name, VG_DOMXML_ELEMENT) == 0 &&
		 (!uri || strcmp((const char *)uri, VG_DOMXML_URI) == 0))
		r->depths = &alone;
	else
		stop(r, tag_place(r),
		     "<%.40s> is no <domain> of libvirt's, and not our metadata either", name);
}

/* An element that is, or looks as if it should be, ours. */
static void element(struct reader *r, const char *name)
{
	if (strcmp(name, VG_DOMXML_ELEMENT) != 0)
		stop(r, tag_place(r),
		     "<%.40s> stands where <" VG_DOMXML_ELEMENT
		     "> should: a device stands within that",
		     name);
	else if (r->depth != r->depths->element || (r->depths == &in_domain && !r->in_metadata))
		stop(r, tag_place(r),
		     "our <" VG_DOMXML_ELEMENT "> belongs directly into <metadata>");
	else if (r->x->ours)
		stop(r, tag_place(r),
		     "there is a second <" VG_DOMXML_ELEMENT
		     "> of ours: one has all of a guest's devices");
	r->in_ours = r->x->ours = true;
}

static void start(void *ctx, const xmlChar *localname, const xmlChar *prefix, const xmlChar *uri,
		  int n_namespaces, const xmlChar **namespaces, int n_attrs, int n_defaulted,
		  const xmlChar **attrs)
{
	const char *name = (const char *)localname;
	struct reader *r = ctx;

	(void)prefix, (void)n_namespaces, (void)namespaces, (void)n_defaulted;
	r->take = NULL;
	if (++r->depth == 1)
		root(r, name, uri);
	if (r->ret < 0)
		return;
	if (r->in_device) {
		stop(r, tag_place(r), "<%.40s> stands within a device, which has attributes alone",
		     name);
	} else if (r->in_ours && is_ours(r, uri)) {
		r->in_device = true;
		add_device(r, name, attrs, n_attrs);
	} else if (r->in_ours) {
		stop(r, tag_place(r), "<%.40s> is of another namespace than " VG_DOMXML_URI, name);
	} else if (is_ours(r, uri)) {
		element(r, name);
		for (int i = 0; r->ret == 0 && i < n_attrs; i++)
			stop(r, tag_place(r), "<" VG_DOMXML_ELEMENT "> has no attribute %.40s",
			     (const char *)attrs[5 * i]);
	} else if (uri && strncmp((const char *)uri, VG_DOMXML_FAMILY,
				  sizeof(VG_DOMXML_FAMILY) - 1) == 0) {
		stop(r, tag_place(r),
		     "the namespace %.60s is of another version of vgrant; this one "
		     "has " VG_DOMXML_URI,
		     (const char *)uri);
	} else if (r->depths == &in_domain && r->depth == 2 && !uri) {
		r->in_metadata = strcmp(name, "metadata") == 0;
		if (strcmp(name, "name") == 0)
			take_text(r, r->x->conf->name, VG_PARAMS_LEN);
		else if (strcmp(name, "uuid") == 0)
			take_text(r, r->x->uuid, sizeof(r->x->uuid));
	}
}

static void end(void *ctx, const xmlChar *localname, const xmlChar *prefix, const xmlChar *uri)
{
	struct reader *r = ctx;

	(void)localname, (void)prefix, (void)uri;
	r->take = NULL;
	if (r->in_device)
		r->in_device = false;
	else if (r->in_ours)
		r->in_ours = false;
	else if (r->depth == 2)
		r->in_metadata = false;
	r->depth--;
}

static void characters(void *ctx, const xmlChar *text, int len)
{
	struct reader *r = ctx;

	if (r->take) {
		size_t used = strlen(r->take);

		snprintf(r->take + used, r->take_size - used, "%.*s", len, (const char *)text);
		return;
	}
	if (!r->in_ours)
		return;
	for (int i = 0; i < len; i++) {
		if (!strchr(" \t\r\n", text[i]) || !text[i]) {
			stop(r, (struct vg_xl_place){ (unsigned)r->ctxt->input->line, 0 },
			     "there is text among the devices; they are elements with attributes");
			return;
		}
	}
}

static void doctype(void *ctx, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
	struct reader *r = ctx;

	(void)name, (void)external, (void)system;
	stop(r, (struct vg_xl_place){ (unsigned)r->ctxt->input->line, 0 },
	     "a document type declaration is refused: libvirt's XML has none");
}

/* libxml2's first complaint counts; it goes on after some of them. */
__attribute__((format(printf, 2, 3))) static void complaint(void *ctx, const char *fmt, ...)
{
	struct reader *r = ctx;
	const xmlError *e = xmlCtxtGetLastError(r->ctxt);

	(void)fmt;
	if (!e || e->level < XML_ERR_ERROR)
		return;
	if (e->code == XML_ERR_NO_MEMORY)
		no_memory(r);
	else
		stop(r, (struct vg_xl_place){ (unsigned)e->line, (unsigned)e->int2 }, "%s",
		     e->message ? e->message : "it is no XML");
}

static xmlSAXHandler handlers = {
	.initialized = XML_SAX2_MAGIC,
	.internalSubset = doctype,
	.startElementNs = start,
	.endElementNs = end,
	.characters = characters,
	.cdataBlock = characters,
	.warning = complaint,
	.error = complaint,
	.fatalError = complaint,
};

/* ---- a document --------------------------------------------------------- */

void vg_domxml_free(struct vg_domxml *x)
{
	if (!x)
		return;
	vg_xlconf_free(x->conf);
	free(x->tags);
	free(x->text);
	free(x);
}

static struct vg_domxml *new_document(const char *where, const char *text, size_t len)
{
	struct vg_domxml *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->text = malloc(len + 1);
	x->tags = calloc(VG_XL_DEVICES_MAX, sizeof(*x->tags));
	x->conf = calloc(1, sizeof(*x->conf));
	if (x->conf) {
		x->conf->path = strdup(where);
		x->conf->name = calloc(1, VG_PARAMS_LEN);
		x->conf->devices = calloc(VG_XL_DEVICES_MAX, sizeof(*x->conf->devices));
	}
	if (!x->text || !x->tags || !x->conf || !x->conf->path || !x->conf->name ||
	    !x->conf->devices) {
		vg_domxml_free(x);
		return NULL;
	}
	memcpy(x->text, text, len);
	x->text[len] = '\0';
	return x;
}

int vg_domxml_parse(const char *where, const char *text, size_t len, struct vg_domxml **out,
		    struct vg_err *err)
{
	struct reader r = { .where = where, .len = len, .depths = &in_domain };

	if (len > VG_DOMXML_MAX)
		return vg_fail(err, -EFBIG, "%s is longer than 1 MiB: no domain's XML", where);
	r.x = new_document(where, text, len);
	r.ctxt = xmlCreatePushParserCtxt(&handlers, &r, NULL, 0, NULL);
	if (!r.x || !r.ctxt) {
		vg_domxml_free(r.x);
		if (r.ctxt)
			xmlFreeParserCtxt(r.ctxt);
		return vg_fail(err, -ENOMEM, "%s: out of memory", where);
	}
	/* NOENT: without it &amp; in an attribute stays as it is written. There is no other entity. */
	xmlCtxtUseOptions(r.ctxt, XML_PARSE_NONET | XML_PARSE_NOENT);
	xmlParseChunk(r.ctxt, text, (int)len, 1);
	if (r.ret == 0 && !r.ctxt->wellFormed)
		r.ret = vg_fail(&r.err, -EINVAL, "%s is no XML", where);
	if (r.ctxt->myDoc)
		xmlFreeDoc(r.ctxt->myDoc);
	xmlFreeParserCtxt(r.ctxt);
	if (r.ret < 0) {
		vg_domxml_free(r.x);
		return vg_fail(err, r.ret, "%s", r.err.text);
	}
	*out = r.x;
	return 0;
}

/* ---- a file ------------------------------------------------------------- */

static FILE *open_file(const char *path)
{
	return strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
}

static void close_file(FILE *f)
{
	if (f != stdin)
		fclose(f);
}

int vg_domxml_read(const char *path, struct vg_domxml **out, struct vg_err *err)
{
	const char *where = strcmp(path, "-") == 0 ? "standard input" : path;
	char *text = malloc(VG_DOMXML_MAX + 1);
	FILE *f = open_file(path);
	size_t len;
	int ret = -errno;

	if (!text || !f) {
		ret = text ? ret : -ENOMEM;
		if (f)
			close_file(f);
		free(text);
		return vg_fail(err, ret, "%s cannot be opened: %s", where, strerror(-ret));
	}
	len = fread(text, 1, VG_DOMXML_MAX + 1, f);
	ret = ferror(f) ? vg_fail(err, -EIO, "%s cannot be read: %s", where, strerror(errno)) : 0;
	close_file(f);
	if (ret == 0)
		ret = vg_domxml_parse(where, text, len, out, err);
	free(text);
	return ret;
}

bool vg_domxml_is(const char *path)
{
	FILE *f = fopen(path, "re");
	int c;

	if (!f)
		return false;
	do
		c = getc(f);
	while (c != EOF && strchr(" \t\r\n\xef\xbb\xbf", c)); /* a byte order mark, too */
	fclose(f);
	return c == '<';
}

struct vg_xl_place vg_domxml_key_place(const struct vg_domxml *x, unsigned i, const char *key,
				       size_t key_len)
{
	size_t at = x->tags[i];
	char quote = 0;

	if (at == SIZE_MAX)
		return x->conf->devices[i].place;
	for (size_t k = at + 1; x->text[k] && (quote || x->text[k] != '>'); k++) {
		char c = x->text[k];

		if (quote) {
			if (c == quote)
				quote = 0;
		} else if (c == '\'' || c == '"') {
			quote = c;
		} else if (strchr(" \t\r\n", x->text[k - 1]) &&
			   strncmp(x->text + k, key, key_len) == 0 &&
			   strchr(" \t\r\n=", x->text[k + key_len])) {
			return place_at(x->text, k);
		}
	}
	return x->conf->devices[i].place;
}
