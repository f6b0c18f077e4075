/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_domxml.c - metadata of libvirt domains: what is read, what is refused, and the schema
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <libxml/relaxng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/toolstack/libvirt/domxml.h"
#include "backend/virtio/device.h"

#define OPEN  "<vgrant:devices xmlns:vgrant='urn:vgrant:devices:1'>"
#define CLOSE "</vgrant:devices>"
/* A domain with @devices in our element. */
#define DOMAIN(devices)                                                          \
	"<domain type='xen'>\n<name>web</name>\n<metadata>\n" OPEN devices CLOSE \
	"</metadata></domain>"

static struct vg_domxml *parsed(const char *text)
{
	struct vg_domxml *x = NULL;
	struct vg_err err = { "" };

	if (vg_domxml_parse("t", text, strlen(text), &x, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return x;
}

/* ---- what is read --------------------------------------------------------------- */

static void a_domain(void **state)
{
	struct vg_domxml *x =
		parsed("<?xml version='1.0' encoding='UTF-8'?>\n"
		       "<domain type='xen' id='3'>\n"
		       "  <name>we&amp;b</name>\n"
		       "  <uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>\n"
		       "  <metadata>\n"
		       "    <other:name xmlns:other='http://o/'><devices>x</devices></other:name>\n"
		       "    <v:devices xmlns:v='urn:vgrant:devices:1'> <!-- one -->\n"
		       "      <v:blk target='/a,b\\c &lt;&#38;&quot;' readonly='yes'/>\n"
		       "      <!-- \xc3\xa4 --> <v:can\n"
		       "         interface='can0'\n"
		       "         backend='dd'/><v:rng id='7'></v:rng>\n"
		       "    </v:devices>\n"
		       "  </metadata>\n"
		       "  <devices><disk/><name>no</name></devices>\n"
		       "</domain>\n");
	const struct vg_xlconf *c = x->conf;
	struct vg_xl_place place;

	(void)state;
	assert_string_equal(c->name, "we&b");
	assert_string_equal(x->uuid, "6695eb01-f6a4-8304-79aa-97f2502e193f");
	assert_true(x->ours);
	assert_int_equal(c->n_devices, 3);
	assert_string_equal(c->devices[0].spec, "blk,target=/a\\,b\\\\c <&\",readonly=yes");
	assert_string_equal(vg_params_str(&c->devices[0].params, NULL, "target"), "/a,b\\c <&\"");
	assert_int_equal(c->devices[0].place.line, 8);
	assert_int_equal(c->devices[0].place.column, 7);
	assert_int_equal(c->devices[1].place.line, 9);
	assert_int_equal(c->devices[1].place.column, 18);
	assert_string_equal(c->devices[1].backend, "dd");
	assert_int_equal(c->devices[2].id, 7);
	assert_int_equal(c->devices[2].place.line, 11);
	assert_int_equal(c->devices[2].place.column, 24);
	place = vg_domxml_key_place(x, 1, "backend", 7);
	assert_int_equal(place.line, 11);
	assert_int_equal(place.column, 10);
	place = vg_domxml_key_place(x, 0, "colour", 6);
	assert_int_equal(place.column, 7);
	for (unsigned i = 0; i < 3; i++)
		assert_string_equal(c->devices[i].err.text, "");
	vg_domxml_free(x);
}

/* As virDomainGetMetadata() returns it, and as it stands in a domain. */
static void the_element_alone(void **state)
{
	static const char *const texts[] = {
		"<devices>\n  <rng/>\n  <blk target='/x'/>\n</devices>",
		OPEN "<vgrant:rng/><vgrant:blk target='/x'/>" CLOSE,
		"<devices xmlns='urn:vgrant:devices:1'><rng/><blk target='/x'/></devices>",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct vg_domxml *x = parsed(texts[i]);

		assert_true(x->ours);
		assert_int_equal(x->conf->n_devices, 2);
		assert_string_equal(x->conf->devices[0].spec, "rng");
		assert_string_equal(x->conf->devices[1].spec, "blk,target=/x");
		vg_domxml_free(x);
	}
}

static void without_ours(void **state)
{
	struct vg_domxml *x = parsed("<domain><name>w</name><metadata/></domain>");

	(void)state;
	assert_false(x->ours);
	assert_int_equal(x->conf->n_devices, 0);
	vg_domxml_free(x);
	x = parsed(DOMAIN(""));
	assert_true(x->ours);
	vg_domxml_free(x);
}

/* A device that is wrong is listed, and harms no other. */
static void wrong_devices(void **state)
{
	struct vg_domxml *x = parsed(DOMAIN("<vgrant:blk id='3' target='/x'/>"
					    "<vgrant:rng id='3'/>"
					    "<vgrant:blk target=' /y'/>"
					    "<vgrant:blk target='a&#10;b'/>"
					    "<vgrant:blk xmlns:q='q' q:target='/z'/>"
					    "<vgrant:rng id='1000'/>"
					    "<vgrant:nosuch a='b'/>"));
	static const char *const errors[] = { "",
					      "id=3 is taken",
					      "blanks",
					      "control characters",
					      "another namespace",
					      "id must be",
					      "" };

	(void)state;
	assert_int_equal(x->conf->n_devices, COUNT(errors));
	for (unsigned i = 0; i < COUNT(errors); i++) {
		const char *text = x->conf->devices[i].err.text;

		if (!strstr(text, errors[i]) || !errors[i][0] != !text[0])
			fail_msg("%u: %s", i, text);
	}
	assert_string_equal(x->conf->devices[6].spec, "nosuch,a=b");
	vg_domxml_free(x);
}

static void too_many(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct vg_domxml *x;

	(void)state;
	fputs("<devices>", f);
	for (int i = 0; i < VG_XL_DEVICES_MAX + 5; i++)
		fputs("<rng/>", f);
	fputs("</devices>", f);
	fclose(f);
	x = parsed(text);
	assert_int_equal(x->conf->n_devices, VG_XL_DEVICES_MAX);
	assert_int_equal(x->conf->dropped, 5);
	vg_domxml_free(x);
	free(text);
}

/* ---- what is refused ------------------------------------------------------------ */

static void refused(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "", "t" },
		{ "rubbish", "t:1" },
		{ "<domain>", "t:1" },
		{ "<domain></domian>", "t:1" },
		{ "<network/>", "t:1:1: <network>" },
		{ "\n\n <devices xmlns='urn:vgrant:devices:2'/>", "t:3:2: <devices>" },
		{ DOMAIN("<vgrant:rng/>x"), "t:4: there is text" },
		{ DOMAIN("<vgrant:rng/><![CDATA[x]]>"), "t:4: there is text" },
		{ DOMAIN("<rng/>"), "t:4:53: <rng> is of another namespace" },
		{ DOMAIN("<vgrant:rng><vgrant:x/></vgrant:rng>"), "t:4:65: <x> stands within" },
		{ DOMAIN(CLOSE OPEN), "t:4:70: there is a second" },
		{ "<domain>" OPEN CLOSE "</domain>", "t:1:9: our <devices> belongs" },
		{ "<domain><metadata><a>" OPEN CLOSE "</a></metadata></domain>", "t:1:22: our" },
		{ "<domain><metadata><b xmlns='urn:vgrant:devices:1'/></metadata></domain>",
		  "t:1:19: <b> stands where" },
		{ "<domain><metadata><devices xmlns='urn:vgrant:devices:9'/></metadata></domain>",
		  "another version" },
		{ "<domain><metadata><devices id='1' xmlns='urn:vgrant:devices:1'/></metadata>"
		  "</domain>",
		  "no attribute id" },
		{ DOMAIN("<vgrant:blk target='/x' target='/y'/>"), "t:4" },
		{ DOMAIN("<vgrant:blk target='&nosuch;'/>"), "t:4" },
		{ "<domain>\xff</domain>", "t:1" },
		{ "<!DOCTYPE domain><domain/>", "document type" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct vg_domxml *x = NULL;
		struct vg_err err = { "" };
		int ret = vg_domxml_parse("t", cases[i].text, strlen(cases[i].text), &x, &err);

		if (ret != -EINVAL || x || !strstr(err.text, cases[i].says))
			fail_msg("%s: %d, %s", cases[i].text, ret, err.text);
	}
}

/* Entities that grow, that read files, that fetch: there are none. */
static void hostile(void **state)
{
	static const char *const texts[] = {
		"<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
		"<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>]><domain><name>&c;</name></domain>",
		"<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
		"<domain><name>&a;</name></domain>",
		"<!DOCTYPE d SYSTEM 'http://127.0.0.1:1/x.dtd'><domain/>",
		"<!DOCTYPE d [<!ENTITY % p SYSTEM 'file:///etc/passwd'>%p;]><domain/>",
		"<!DOCTYPE d [<!ATTLIST domain x CDATA 'y'>]><domain/>",
	};
	struct vg_domxml *x = NULL;
	struct vg_err err;
	char *deep;
	size_t n = 200000;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		err.text[0] = '\0';
		assert_int_equal(vg_domxml_parse("t", texts[i], strlen(texts[i]), &x, &err),
				 -EINVAL);
		assert_non_null(strstr(err.text, "document type"));
	}
	/* Elements in elements without end, and more than we take. */
	deep = malloc(VG_DOMXML_MAX + 2);
	for (size_t i = 0; i < n; i++)
		memcpy(deep + 3 * i, "<a>", 3);
	assert_int_equal(vg_domxml_parse("t", deep, 3 * n, &x, &err), -EINVAL);
	memset(deep, ' ', VG_DOMXML_MAX + 2);
	assert_int_equal(vg_domxml_parse("t", deep, VG_DOMXML_MAX + 1, &x, &err), -EFBIG);
	/* Bytes behind a NUL are no part of it. */
	memcpy(deep, "<domain>\0</domain>", 19);
	assert_int_equal(vg_domxml_parse("t", deep, 18, &x, &err), -EINVAL);
	free(deep);
	assert_null(x);
}

/* Cut anywhere: an error, and no crash. */
static void truncated(void **state)
{
	static const char text[] = DOMAIN("<vgrant:blk target='/x&amp;'/><vgrant:rng/>");

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		struct vg_domxml *x = NULL;
		char *copy = malloc(len ? len : 1);

		memcpy(copy, text, len);
		assert_int_equal(vg_domxml_parse("t", copy, len, &x, NULL), -EINVAL);
		free(copy);
	}
}

/* Another encoding is understood; only columns are not told. */
static void latin1(void **state)
{
	struct vg_domxml *x = parsed("<?xml version='1.0' encoding='ISO-8859-1'?>\n"
				     "<devices>\n<blk target='/\xe4'/></devices>");

	(void)state;
	assert_string_equal(x->conf->devices[0].spec, "blk,target=/\xc3\xa4");
	assert_int_equal(x->conf->devices[0].place.line, 3);
	assert_int_equal(x->conf->devices[0].place.column, 0);
	assert_int_equal(vg_domxml_key_place(x, 0, "target", 6).line, 3);
	vg_domxml_free(x);
}

/* ---- printing -------------------------------------------------------------------- */

static char *printed(const char *const *specs, unsigned n, bool prefixed)
{
	struct vg_err err = { "" };
	char *text = NULL;
	size_t len = 0;
	unsigned bad;
	FILE *f = open_memstream(&text, &len);

	if (vg_domxml_print(f, specs, n, prefixed, &bad, &err) < 0)
		fail_msg("%u: %s", bad, err.text);
	fclose(f);
	return text;
}

/* What was printed reads as it was. */
static void there_and_back(void **state)
{
	static const char *const specs[] = { "blk,target=/a\\,b\\\\c'\"<>&;\t%d,readonly=1",
					     "can,interface=can0,tx-allow=100:7f0+18DAF110", "rng",
					     "net,queues=2,rss=on,rss_hash_report=on",
					     "nosuch,key=" };

	(void)state;
	for (int prefixed = 0; prefixed < 2; prefixed++) {
		char *text = printed(specs, COUNT(specs), prefixed);
		struct vg_domxml *x = parsed(text);

		assert_int_equal(x->conf->n_devices, COUNT(specs));
		for (unsigned i = 0; i < COUNT(specs); i++)
			assert_string_equal(x->conf->devices[i].spec, specs[i]);
		vg_domxml_free(x);
		free(text);
	}
}

/* Numbers are written into the text, which otherwise stays, comments and all. */
static void numbered(void **state)
{
	static const char before[] = "<devices><!-- <rng/> --><rng/><blk target='/a&gt;b'\n/>"
				     "<rng id='7'/><can\tinterface=\"can0\"></can> </devices>";
	static const char after[] =
		"<devices><!-- <rng/> --><rng id='64'/><blk id='65' "
		"target='/a&gt;b'\n/>"
		"<rng id='7'/><can id='66'\tinterface=\"can0\"></can> </devices>";
	const int all[] = { 64, 65, -1, 66 }, none[] = { -1, -1, -1, -1 };
	struct vg_domxml *x = parsed(before);
	char *text = vg_domxml_number(x, all);

	(void)state;
	assert_string_equal(text, after);
	vg_domxml_free(x);
	x = parsed(text);
	assert_int_equal(x->conf->devices[0].id, 64);
	assert_int_equal(x->conf->devices[3].id, 66);
	vg_domxml_free(x);
	free(text);
	x = parsed(before);
	text = vg_domxml_number(x, none);
	assert_string_equal(text, before);
	free(text);
	vg_domxml_free(x);
}

static void cannot_be_printed(void **state)
{
	static const char *const specs[] = { "rng", "blk,1a=b" };
	struct vg_err err;
	unsigned bad = 9;
	FILE *f = fopen("/dev/null", "w");

	(void)state;
	assert_int_equal(vg_domxml_print(f, specs, 2, true, &bad, &err), -EINVAL);
	assert_int_equal(bad, 1);
	fclose(f);
}

/* ---- the schema -------------------------------------------------------------------- */

static void quiet(void *ctx, const char *fmt, ...)
{
	(void)ctx, (void)fmt;
}

static bool valid(xmlRelaxNGPtr schema, const char *text)
{
	xmlDocPtr doc = xmlReadMemory(text, (int)strlen(text), "t", NULL, XML_PARSE_NONET);
	xmlRelaxNGValidCtxtPtr ctxt = xmlRelaxNGNewValidCtxt(schema);
	int ret;

	assert_non_null(doc);
	xmlRelaxNGSetValidErrors(ctxt, quiet, quiet, NULL);
	ret = xmlRelaxNGValidateDoc(ctxt, doc);
	xmlRelaxNGFreeValidCtxt(ctxt);
	xmlFreeDoc(doc);
	return ret == 0;
}

/* A value that the key takes; a number is written to @text. */
static const char *sample(const struct vg_param_def *d, char text[32])
{
	switch (d->kind) {
	case VG_PARAM_PATH:
	case VG_PARAM_PLACE:
		return "/x";
	case VG_PARAM_BOOL:
		return "off";
	case VG_PARAM_UINT:
	case VG_PARAM_SIZE:
		snprintf(text, 32, "%llu", (unsigned long long)(d->max ? d->max : d->min));
		return text;
	default:
		return "word";
	}
}

/* @device with what it must have and, unless it is NULL, @key as @value. */
static bool valid_device(xmlRelaxNGPtr schema, const struct vg_device_ops *device,
			 const struct vg_param_def *key, const char *value)
{
	char doc[1024], number[32];
	size_t used = (size_t)snprintf(doc, sizeof(doc), OPEN "<vgrant:%s", device->name);

	for (const struct vg_param_def *d = device->params; d && d->key; d++) {
		if (d->required && d != key)
			used += (size_t)snprintf(doc + used, sizeof(doc) - used, " %s='%s'", d->key,
						 sample(d, number));
	}
	if (value)
		used += (size_t)snprintf(doc + used, sizeof(doc) - used, " %s='%s'",
					 key ? key->key : "nosuch", value);
	snprintf(doc + used, sizeof(doc) - used, "/>" CLOSE);
	return valid(schema, doc);
}

/* Keys in one element: even so the work of libxml2 doubles with each of a disk's, which has over thirty. */
enum { AT_ONCE = 14 };

/*
 * @device with all the keys that it can have. libxml2's states would double with each that has an
 * <optional> of its own: then this does not end.
 */
static bool valid_whole(xmlRelaxNGPtr schema, const struct vg_device_ops *device)
{
	const struct vg_param_def *const tables[] = { device->params, vg_common_params };
	char doc[4096], number[32];
	unsigned n = 0;
	size_t used = (size_t)snprintf(doc, sizeof(doc), OPEN "<vgrant:%s", device->name);

	for (size_t t = 0; t < COUNT(tables); t++) {
		for (const struct vg_param_def *d = tables[t]; d && d->key; d++) {
			if (!d->required && n++ >= AT_ONCE)
				continue;
			used += (size_t)snprintf(doc + used, sizeof(doc) - used, " %s='%s'", d->key,
						 sample(d, number));
		}
	}
	snprintf(doc + used, sizeof(doc) - used, "/>" CLOSE);
	return valid(schema, doc);
}

/* Every key of every device validates, and no other; one that must be there must. */
static void schema_of_each_device(void **state)
{
	char *text = NULL, number[32];
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	xmlRelaxNGParserCtxtPtr parser;
	xmlRelaxNGPtr schema;

	(void)state;
	vg_domxml_schema(f);
	fclose(f);
	parser = xmlRelaxNGNewMemParserCtxt(text, (int)len);
	schema = xmlRelaxNGParse(parser);
	assert_non_null(schema);
	xmlRelaxNGFreeParserCtxt(parser);
	for (size_t i = 0; vg_devices[i]; i++) {
		const struct vg_param_def *const tables[] = { vg_devices[i]->params,
							      vg_common_params };

		assert_false(valid_device(schema, vg_devices[i], NULL, "1"));
		assert_true(valid_whole(schema, vg_devices[i]));
		for (size_t t = 0; t < COUNT(tables); t++) {
			for (const struct vg_param_def *d = tables[t]; d && d->key; d++) {
				if (!valid_device(schema, vg_devices[i], d, sample(d, number)))
					fail_msg("%s: %s", vg_devices[i]->name, d->key);
				if (d->required)
					assert_false(valid_device(schema, vg_devices[i], d, NULL));
			}
		}
	}
	assert_true(valid(schema, DOMAIN("<vgrant:rng/><vgrant:rng id='0x10'/>")));
	assert_true(valid(
		schema, "<domain a='b'><metadata><x xmlns='urn:y'>z</x></metadata><os/></domain>"));
	assert_false(valid(schema, DOMAIN("<vgrant:rng id='256'/>")));
	assert_false(valid(schema, DOMAIN("<vgrant:rng packed='maybe'/>")));
	assert_false(valid(schema, DOMAIN("<vgrant:blk target='x'/>")));
	assert_false(valid(schema, DOMAIN("<vgrant:blk target='phy:/dev/x'/>")));
	assert_true(valid(schema, DOMAIN("<vgrant:blk target='nbd+unix:///d?socket=/s'/>")));
	assert_true(valid(schema, DOMAIN("<vgrant:blk target='rbd:pool/image'/>")));
	assert_false(valid(schema, DOMAIN("<vgrant:nosuch/>")));
	assert_false(valid(schema, DOMAIN("text")));
	assert_false(valid(schema, DOMAIN(CLOSE OPEN)));
	xmlRelaxNGFree(schema);
	free(text);
}

/* ---- files -------------------------------------------------------------------------- */

static void files(void **state)
{
	const char *build = getenv("VGRANT_BUILD");
	char path[] = "/tmp/vgrant-domxml.XXXXXX", example[512];
	int fd = mkstemp(path);
	struct vg_domxml *x;
	struct vg_err err;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "\xef\xbb\xbf \n<devices/>", 15), 15);
	assert_true(vg_domxml_is(path));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_false(vg_domxml_is(path));
	assert_int_equal(pwrite(fd, "<devices/>", 10, 0), 10);
	assert_int_equal(vg_domxml_read(path, &x, &err), 0);
	assert_string_equal(x->conf->path, path);
	vg_domxml_free(x);
	close(fd);
	unlink(path);
	assert_int_equal(vg_domxml_read(path, &x, &err), -ENOENT);
	assert_int_equal(vg_domxml_read("/tmp", &x, &err), -EIO);
	/* The example that is installed has no mistake. */
	snprintf(example, sizeof(example), "%s%sconfigs/libvirt/web.xml", build ? build : "",
		 build ? "/../../" : "");
	assert_int_equal(vg_domxml_read(example, &x, &err), 0);
	for (unsigned i = 0; i < x->conf->n_devices; i++) {
		const struct vg_device_ops *ops = vg_device_find(x->conf->devices[i].params.device);

		assert_non_null(ops);
		assert_int_equal(vg_params_check(&x->conf->devices[i].params, ops->params,
						 vg_common_params, &err),
				 0);
	}
	assert_int_equal(x->conf->n_devices, 3);
	vg_domxml_free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_domain),
		cmocka_unit_test(the_element_alone),
		cmocka_unit_test(without_ours),
		cmocka_unit_test(wrong_devices),
		cmocka_unit_test(too_many),
		cmocka_unit_test(refused),
		cmocka_unit_test(hostile),
		cmocka_unit_test(truncated),
		cmocka_unit_test(latin1),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(numbered),
		cmocka_unit_test(cannot_be_printed),
		cmocka_unit_test(schema_of_each_device),
		cmocka_unit_test(files),
	};

	vg_log_init(VG_LOG_STDERR, VG_LOG_ERR, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
