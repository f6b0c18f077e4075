/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_toolstack.c - from sources of configurations to nodes, over tests/fakes/xen's xenstore
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/number.h"
#include "backend/toolstack/toolstack.h"
#include "tests/fakes/xen/fake_xen.h"
#include "xenstore/watch.h"

struct fixture {
	struct fx_world *w;
	struct vg_loop *loop;
	struct vg_xs *xs;
	struct vg_toolstack ts;
};

/* ---- two sources ---------------------------------------------------------------- */

static unsigned asked; /* times that the first source was */

/* One that knows nobody. */
static int knows_nobody(void *ctx, const struct vg_guest_id *guest,
			uint16_t (*virtio_id_of)(const char *device), struct vg_source_config **out,
			struct vg_err *err)
{
	(void)ctx, (void)virtio_id_of, (void)out;
	asked++;
	return vg_fail(err, -ENOENT, "there is no %s here", guest->name);
}

/* A tiny one: a table of guests by uuid, each with devices. */
struct table {
	const char *uuid;
	const char *specs[3];
};

static int find_in_table(void *ctx, const struct vg_guest_id *guest,
			 uint16_t (*virtio_id_of)(const char *device),
			 struct vg_source_config **out, struct vg_err *err)
{
	const struct table *t = ctx;
	struct vg_source_config *config;

	assert_int_equal(virtio_id_of("blk"), 2);
	if (strcmp(t->uuid, guest->uuid) != 0)
		return vg_fail(err, -ENOENT, "not in the table");
	config = calloc(1, sizeof(*config));
	config->where = "the table";
	config->devices = calloc(3, sizeof(*config->devices));
	for (; t->specs[config->n_devices]; config->n_devices++)
		config->devices[config->n_devices] =
			(struct vg_source_device){ .spec = t->specs[config->n_devices],
						   .adopts = -1,
						   .adopts_from = "",
						   .number = 70 + config->n_devices };
	*out = config;
	return 0;
}

static void free_config(struct vg_source_config *config)
{
	free(config->devices);
	free(config);
}

static const struct vg_source nobody = { "nobody", knows_nobody, free_config };
static const struct vg_source table = { "table", find_in_table, free_config };

/* ---- the fixture ------------------------------------------------------------------ */

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vg_log_init(VG_LOG_STDERR, VG_LOG_ERR, NULL);
	assert_int_equal(fx_world_start(NULL, &f->w), 0);
	assert_int_equal(vg_loop_new(16, &f->loop), 0);
	assert_int_equal(vg_xs_open(&f->xs), 0);
	vg_toolstack_init(&f->ts, f->loop, f->xs, 0);
	asked = 0;
	*state = f;
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;

	vg_toolstack_free(&f->ts);
	vg_xs_close(f->xs);
	vg_loop_free(f->loop);
	fx_world_stop(f->w);
	free(f);
	return 0;
}

static char *value(struct fixture *f, unsigned guest, unsigned id, const char *key)
{
	char dir[128], *text;

	snprintf(dir, sizeof(dir), "/local/domain/0/backend/virtio/%u/%u", guest, id);
	vg_xs_text_dup(f->xs, dir, key, &text);
	return text;
}

static void assert_value(struct fixture *f, unsigned guest, unsigned id, const char *key,
			 const char *want)
{
	char *text = value(f, guest, id, key);

	if (!want)
		assert_null(text);
	else
		assert_string_equal(text ? text : "", want);
	free(text);
}

/* ---- tests ------------------------------------------------------------------------- */

/* The sources are asked in their order, with name, uuid and domid; the first that knows counts. */
static void a_second_source(void **state)
{
	static const uint8_t uuid[16] = { 0x12, 0x34 };
	static struct table guests = { "12340000-0000-0000-0000-000000000000",
				       { "rng", "blk,target=/x", NULL } };
	const struct fx_domain_config known = { .name = "known", .uuid = uuid };
	struct fixture *f = *state;
	unsigned int id, other;

	vg_toolstack_add_source(&f->ts, &nobody, NULL);
	vg_toolstack_add_source(&f->ts, &table, &guests);
	assert_int_equal(fx_domain_create(f->w, &known, &id), 0);
	assert_int_equal(fx_domain_create(f->w, NULL, &other), 0);
	vg_guests_scan(&f->ts);
	assert_int_equal(asked, 2);
	assert_value(f, id, 70, "vgrant-config", "rng");
	assert_value(f, id, 70, "vgrant-origin", "config");
	assert_value(f, id, 70, "vgrant-file", "the table");
	assert_value(f, id, 71, "vgrant-config", "blk,target=/x");
	assert_value(f, other, 70, "vgrant-config", NULL);
	/* Nobody is asked twice. */
	vg_guests_scan(&f->ts);
	assert_int_equal(asked, 2);
	/* A vgrantd that is started anew does not bring back what was taken away. */
	vg_toolstack_free(&f->ts);
	{
		struct vg_xs_pair pair;

		vg_xs_pair_init(&pair, "virtio", id, 0, 70);
		assert_int_equal(vg_xs_remove_pair(f->xs, &pair), 0);
	}
	vg_guests_scan(&f->ts);
	assert_value(f, id, 70, "vgrant-config", NULL);
	assert_value(f, id, 71, "vgrant-config", "blk,target=/x");
}

/* Xenstored fails in the middle: what is missing is made when it is well again. */
static void made_in_the_end(void **state)
{
	static const uint8_t uuid[16] = { 0x56 };
	static struct table guests = { "56000000-0000-0000-0000-000000000000",
				       { "rng", "rng", NULL } };
	const struct fx_domain_config cfg = { .name = "g", .uuid = uuid };
	struct fixture *f = *state;
	unsigned int id;

	vg_toolstack_add_source(&f->ts, &table, &guests);
	assert_int_equal(fx_domain_create(f->w, &cfg, &id), 0);
	for (unsigned skip = 0; skip < 60; skip += 7) {
		const struct fx_fault fault = { .skip = skip, .count = 3, .status = ENOMEM };

		fx_inject(f->w, 0, FX_OP_XS, &fault);
		vg_guests_scan(&f->ts);
	}
	fx_inject(f->w, 0, FX_OP_XS, &(struct fx_fault){ 0 });
	for (unsigned i = 0; i < 300 && vg_loop_turn(f->loop, false) >= 0; i++)
		usleep(10000);
	assert_value(f, id, 70, "vgrant-config", "rng");
	assert_value(f, id, 71, "vgrant-config", "rng");
}

/* Without a source this is no dom0. */
static void driver_domain(void **state)
{
	struct fixture *f = *state;
	struct vg_err err;

	vg_guests_scan(&f->ts);
	assert_int_equal(vg_guest_attach(&f->ts, "x", "rng", &err), -EPERM);
}

/* What the path of an event is about; some of its names are a guest's. */
static void events(void **state)
{
	static const struct {
		const char *path;
		enum vg_xs_about about;
		const char *kind;
		uint32_t guest, id;
	} cases[] = {
		{ "@releaseDomain", VG_XS_DOMAINS, "", 0, 0 },
		{ "/local/domain/0/backend/virtio", VG_XS_TREES, "", 0, 0 },
		{ "/local/domain/0/backend/virtio/7", VG_XS_TREES, "", 0, 0 },
		{ "/local/domain/0/backend/virtio/7/64", VG_XS_BACKEND, "virtio", 7, 64 },
		{ "/local/domain/3/backend/virtio_disk/7/51712/state", VG_XS_BACKEND, "virtio_disk",
		  7, 51712 },
		{ "/local/domain/7/device/virtio/64/state", VG_XS_FRONTEND, "virtio", 7, 64 },
		{ "/local/domain/7/device/virtio/64", VG_XS_FRONTEND, "virtio", 7, 64 },
		{ "/local/domain/7/name", VG_XS_NAME, "", 7, 0 },
		{ "/local/domain/7/device/virtio/64x/state", VG_XS_TREES, "", 0, 0 },
		{ "/local/domain/7/device/virtio/-1/state", VG_XS_TREES, "", 0, 0 },
		{ "/local/domain/7/device/virtio/ 1/state", VG_XS_TREES, "", 0, 0 },
		{ "/local/domain/99999999999/device/virtio/1/state", VG_XS_TREES, "", 0, 0 },
		{ "/local/domain/7/device/a_kind_that_is_too_long/1/state", VG_XS_TREES, "", 0, 0 },
		{ "", VG_XS_TREES, "", 0, 0 },
		{ "/", VG_XS_TREES, "", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct vg_xs_event event;

		vg_xs_about(cases[i].path, &event);
		if (event.about != cases[i].about)
			fail_msg("%s: %d", cases[i].path, event.about);
		if (event.about == VG_XS_TREES || event.about == VG_XS_DOMAINS)
			continue;
		assert_string_equal(event.kind, cases[i].kind);
		assert_int_equal(event.guest, cases[i].guest);
		assert_int_equal(event.id, cases[i].id);
	}
}

/* All digits, and in range; nothing else is a number. */
static void numbers(void **state)
{
	static const struct {
		const char *text;
		unsigned base;
		int ret;
		uint64_t value;
	} cases[] = {
		{ "0", 10, 0, 0 },
		{ "007", 10, 0, 7 },
		{ "1000", 10, 0, 1000 },
		{ "1001", 10, -ERANGE, 0 },
		{ "99999999999999999999999", 10, -ERANGE, 0 },
		{ "18446744073709551616", 10, -ERANGE, 0 },
		{ "", 10, -EINVAL, 0 },
		{ "-1", 10, -EINVAL, 0 },
		{ "+1", 10, -EINVAL, 0 },
		{ " 1", 10, -EINVAL, 0 },
		{ "1 ", 10, -EINVAL, 0 },
		{ "0x1", 10, -EINVAL, 0 },
		{ "1x", 10, -EINVAL, 0 },
		{ "1e", 16, 0, 30 },
		{ "1G", 16, -EINVAL, 0 },
		{ "17", 8, 0, 15 },
		{ "18", 8, -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t v = 0;
		int ret = vg_number(cases[i].text, cases[i].base, 1000, &v);

		if (ret != cases[i].ret || v != cases[i].value)
			fail_msg("'%s': %d, %llu", cases[i].text, ret, (unsigned long long)v);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_second_source),	  T(made_in_the_end),	     T(driver_domain),
		cmocka_unit_test(events), cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
