/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_settings.c - libFuzzer target: everything that is configured with text
 *
 * The first byte says what the rest is: vgrantd.conf, one key of it, a guest's
 * xl configuration, a device's configuration, or a change of one. (The search
 * for a guest's file is test_xlconf.c's.)
 *
 * What must hold: no crash, no sanitizer report; what was refused has a
 * sentence; settings that are printed and read again are the same; a device's
 * configuration with one key replaced has that value, and the others as before.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/virtio/device.h"
#include "backend/daemon/settings.h"
#include "backend/toolstack/xlconf.h"
#include "tests/fuzz/fuzz.h"

static int filefd;
static char file[64]; /* its name */

static void put_file(const void *text, size_t len)
{
	MUST(ftruncate(filefd, 0) == 0);
	MUST(pwrite(filefd, text, len, 0) == (ssize_t)len);
}

/** rest - the rest of the input, as a string to be freed */
static char *rest(void)
{
	size_t n = (size_t)(fuzz_end - fuzz_in);
	char *s = malloc(n + 1);

	MUST(s);
	fuzz_bytes(s, n);
	s[n] = '\0';
	return s;
}

static void said(int ret, const struct vg_err *err)
{
	MUST(ret <= 0 && (ret == 0 || err->text[0]));
	MUST(memchr(err->text, '\0', sizeof(err->text)));
}

/* ---- vgrantd.conf ----------------------------------------------------------- */

static char *printed(const struct vg_settings *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	MUST(f);
	vg_settings_print(s, f);
	MUST(fclose(f) == 0);
	return text;
}

/** print_again - what is printed can be read, and is printed alike */
static void print_again(const struct vg_settings *s)
{
	static struct vg_settings second;
	struct vg_err err = { "" };
	char *first = printed(s), *again;
	int ret;

	put_file(first, strlen(first));
	ret = vg_settings_load(&second, file, &err);
	if (ret)
		fprintf(stderr, "%s\n%s", err.text, first);
	MUST(ret == 0);
	again = printed(&second);
	if (strcmp(first, again) != 0)
		fprintf(stderr, "%s---\n%s", first, again);
	MUST(strcmp(first, again) == 0);
	free(first);
	free(again);
}

static void conf(void)
{
	static struct vg_settings s;
	struct vg_err err = { "" };

	put_file(fuzz_in, (size_t)(fuzz_end - fuzz_in));
	said(vg_settings_load(&s, file, &err), &err);
	print_again(&s);
}

static void one_setting(void)
{
	static struct vg_settings s;
	struct vg_err err = { "" };
	const struct vg_setting_key *k = vg_settings_keys;
	unsigned n = u8();
	char key[96], *value;

	while (k[1].section && n--)
		k++;
	snprintf(key, sizeof(key), "%s.%s", k->section, k->key);
	if (chance(8))
		fuzz_text(key, sizeof(key));
	value = rest();
	vg_settings_defaults(&s);
	said(vg_settings_set(&s, key, value, &err), &err);
	print_again(&s);
	free(value);
}

/* ---- a guest's xl configuration -------------------------------------------------- */

static uint16_t virtio_id_of(const char *device)
{
	const struct vg_device_ops *ops = vg_device_find(device);

	return ops ? ops->virtio_id : 0;
}

static void xl(void)
{
	struct vg_xlconf *c = NULL;
	struct vg_err err = { "" };
	int ret;

	put_file(fuzz_in, (size_t)(fuzz_end - fuzz_in));
	ret = vg_xlconf_read(file, &c, &err);
	said(ret, &err);
	if (ret)
		return;
	MUST(c->n_devices <= VG_XL_DEVICES_MAX && c->n_virtios <= VG_XL_DEVICES_MAX);
	vg_xlconf_match(c, virtio_id_of);
	for (unsigned i = 0; i < c->n_devices; i++) {
		const struct vg_xl_device *d = &c->devices[i];

		MUST(d->spec && d->virtio < (int)c->n_virtios);
		MUST(!d->backend || strlen(d->backend) < VG_PARAMS_LEN);
		for (unsigned k = 0; k < i; k++) {
			MUST(c->devices[k].number != d->number);
			MUST(d->virtio < 0 || c->devices[k].virtio != d->virtio);
		}
		MUST(d->virtio < 0 || d->number == (unsigned)d->virtio);
	}
	vg_xlconf_free(c);
}

/* ---- a device's configuration ------------------------------------------------------ */

static const char *value_of(const struct vg_params *p, const char *key)
{
	for (unsigned i = 0; i < p->n; i++)
		if (strcmp(p->p[i].key, key) == 0)
			return p->p[i].value;
	return NULL;
}

/** check - against each device's table; what passes can be read */
static void check(const struct vg_params *p)
{
	for (const struct vg_device_ops *const *ops = vg_devices; *ops; ops++) {
		struct vg_err err = { "" };
		int ret = vg_params_check(p, (*ops)->params, vg_common_params, &err);

		said(ret, &err);
		for (const struct vg_param_def *d = (*ops)->params; ret == 0 && d->key; d++) {
			const char *text = vg_params_str(p, (*ops)->params, d->key);

			MUST(text || !d->fallback);
			if (d->kind == VG_PARAM_BOOL)
				(void)vg_params_bool(p, (*ops)->params, d->key);
			if ((d->kind == VG_PARAM_UINT || d->kind == VG_PARAM_SIZE) && text) {
				uint64_t v = vg_params_uint(p, (*ops)->params, d->key);

				MUST(!value_of(p, d->key) || (v >= d->min && v <= d->max));
			}
		}
	}
}

static void device(void)
{
	static struct vg_params p;
	struct vg_err err = { "" };
	char *spec = rest();
	int ret = vg_params_parse(spec, &p, &err);

	said(ret, &err);
	if (ret == 0) {
		MUST(p.n <= VG_PARAMS_MAX && p.device[0]);
		check(&p);
	}
	free(spec);
}

static void change(void)
{
	static struct vg_params before, after;
	char key[32], value[128], out[VG_PARAMS_LEN], *spec;
	int ret;

	fuzz_text(key, sizeof(key));
	fuzz_text(value, sizeof(value));
	spec = rest();
	ret = vg_params_replace(spec, key, value, out, sizeof(out));
	if (vg_params_parse(spec, &before, NULL) < 0) {
		MUST(ret < 0);
	} else if (ret == 0 && key[0] && !strpbrk(key, "=,\\ \t") &&
		   vg_params_parse(out, &after, NULL) == 0) {
		const char *now = value_of(&after, key);

		MUST(now && strcmp(now, value) == 0);
		MUST(strcmp(before.device, after.device) == 0);
		for (unsigned i = 0; i < before.n; i++) {
			if (strcmp(before.p[i].key, key) == 0)
				continue;
			now = value_of(&after, before.p[i].key);
			MUST(now && strcmp(now, before.p[i].value) == 0);
		}
	}
	free(spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool ready;

	if (!ready) {
		vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
		filefd = memfd_create("file", 0);
		MUST(filefd >= 0 && fchmod(filefd, 0600) == 0);
		snprintf(file, sizeof(file), "/proc/self/fd/%d", filefd);
		ready = true;
	}
	fuzz_begin(data, len);
	switch (below(5)) {
	case 0:
		conf();
		break;
	case 1:
		one_setting();
		break;
	case 2:
		xl();
		break;
	case 3:
		device();
		break;
	case 4:
		change();
		break;
	}
	return 0;
}
