/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_domxml.c - libFuzzer target: the XML of libvirt domains
 *
 * The input is a document. What must hold: no crash, no sanitizer report; what
 * was refused has a sentence; places lie within the document; devices that have
 * no error, printed as an element of ours and read again, are the same.
 */
#include <errno.h>

#include "backend/toolstack/libvirt/domxml.h"
#include "tests/fuzz/fuzz.h"

static void print_and_read(const struct vg_xlconf *conf, bool prefixed)
{
	const char *specs[VG_XL_DEVICES_MAX];
	struct vg_domxml *again;
	unsigned n = 0, bad;
	struct vg_err err;
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	for (unsigned i = 0; i < conf->n_devices; i++) {
		if (!conf->devices[i].err.text[0])
			specs[n++] = conf->devices[i].spec;
	}
	f = open_memstream(&text, &len);
	MUST(f);
	/* A name that is none in XML came from an entry's text, not from XML. */
	MUST(vg_domxml_print(f, specs, n, prefixed, &bad, &err) == 0);
	MUST(fclose(f) == 0);
	MUST(vg_domxml_parse("again", text, len, &again, &err) == 0);
	MUST(again->ours && again->conf->n_devices == n);
	for (unsigned i = 0; i < n; i++)
		MUST(strcmp(again->conf->devices[i].spec, specs[i]) == 0);
	vg_domxml_free(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vg_domxml *x = NULL;
	struct vg_err err = { "" };
	int ret = vg_domxml_parse("input", (const char *)data, size, &x, &err);

	if (ret < 0) {
		MUST(err.text[0] && !x);
		return 0;
	}
	for (unsigned i = 0; i < x->conf->n_devices; i++) {
		const struct vg_xl_device *d = &x->conf->devices[i];

		MUST(d->place.line >= 1 && d->place.line <= size && d->place.column <= size);
		for (unsigned k = 0; k < d->params.n; k++) {
			const char *key = d->params.p[k].key;

			MUST(vg_domxml_key_place(x, i, key, strlen(key)).line >= d->place.line);
		}
	}
	print_and_read(x->conf, false);
	print_and_read(x->conf, true);
	vg_domxml_free(x);
	return 0;
}
