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

static const struct vg_source nobody = { .name = "nobody",
					 .find = knows_nobody,
					 .free = free_config };
static const struct vg_source table = { .name = "table",
					.find = find_in_table,
					.free = free_config };

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

/* One that follows: what it wants now, of the one guest that it knows. */
static const char *wanted[4];
static bool wants_something;

static int find_wanted(void *ctx, const struct vg_guest_id *guest,
		       uint16_t (*virtio_id_of)(const char *device), struct vg_source_config **out,
		       struct vg_err *err)
{
	struct vg_source_config *config;
	unsigned next = 64;

	(void)ctx, (void)virtio_id_of;
	if (guest->uuid[0] != '7' || !wants_something)
		return vg_fail(err, -ENOENT, "not mine");
	config = calloc(1, sizeof(*config));
	config->where = "the wish";
	config->devices = calloc(4, sizeof(*config->devices));
	for (unsigned i = 0; wanted[i]; i++) {
		const char *id = strstr(wanted[i], "id=");

		config->devices[i] = (struct vg_source_device){
			.spec = wanted[i],
			.adopts = -1,
			.adopts_from = "",
			.has_id = id != NULL,
			.number = id ? (unsigned)atoi(id + 3) : next,
		};
		next += !id;
		config->n_devices++;
	}
	*out = config;
	return 0;
}

static const struct vg_source wish = { .name = "wish",
				       .origin = VG_CONTROL_FROM_LIBVIRT,
				       .follows = true,
				       .find = find_wanted,
				       .free = free_config };

static void want(struct fixture *f, const char *a, const char *b, const char *c)
{
	wanted[0] = a;
	wanted[1] = a ? b : NULL;
	wanted[2] = a && b ? c : NULL;
	wants_something = true;
	vg_guests_changed(&f->ts, "70000000-0000-0000-0000-000000000000");
}

/* Devices come and go with what the source says; what stays keeps its number. */
static void a_source_that_follows(void **state)
{
	static const uint8_t uuid[16] = { 0x70 };
	const struct fx_domain_config cfg = { .name = "g", .uuid = uuid };
	struct fixture *f = *state;
	struct vg_err err;
	unsigned int id;

	vg_toolstack_add_source(&f->ts, &wish, NULL);
	assert_int_equal(fx_domain_create(f->w, &cfg, &id), 0);
	wants_something = false;
	vg_guests_scan(&f->ts);
	assert_value(f, id, 64, "vgrant-config", NULL);
	want(f, "rng", "blk,target=/a", "rng,id=7");
	assert_value(f, id, 64, "vgrant-config", "rng");
	assert_value(f, id, 65, "vgrant-config", "blk,target=/a");
	assert_value(f, id, 7, "vgrant-config", "rng,id=7");
	assert_value(f, id, 65, "vgrant-origin", "libvirt");
	{
		const char *of = "";

		assert_int_equal(vg_guest_followed(&f->ts, "g", &of), 1);
		assert_string_equal(of, "70000000-0000-0000-0000-000000000000");
	}
	/* What was attached is nobody's but the user's. */
	assert_int_equal(vg_guest_attach(&f->ts, "g", "rng", &err), 66);
	/* The first goes; the second, now first, stays what it is, and one comes. */
	want(f, "blk,target=/a", "rng,id=7", "blk,target=/b");
	assert_value(f, id, 64, "online", "0");
	assert_value(f, id, 65, "online", "1");
	assert_value(f, id, 7, "online", "1");
	assert_value(f, id, 66, "online", "1");
	/* 64 is still there, on its way out: the next free number is taken. */
	assert_value(f, id, 67, "vgrant-config", "blk,target=/b");
	/* The same in other words is the same. */
	want(f, "blk,id=65,target=/a", "rng,id=7", "blk,id=67,target=/b");
	for (unsigned i = 65; i < 68; i++)
		assert_value(f, id, i, "online", "1");
	assert_value(f, id, 68, "vgrant-config", NULL);
	/* Other words under an old number change nothing while the guest runs. */
	want(f, "blk,id=65,target=/other", "rng,id=7", "blk,id=67,target=/b");
	assert_value(f, id, 65, "vgrant-config", "blk,target=/a");
	assert_value(f, id, 65, "online", "1");
	/* vgrantd that is started anew sees what has changed meanwhile. */
	vg_toolstack_free(&f->ts);
	wanted[1] = NULL;
	vg_guests_scan(&f->ts);
	assert_value(f, id, 7, "online", "0");
	assert_value(f, id, 65, "online", "1");
	assert_value(f, id, 67, "online", "0");
	/* Nothing at all. */
	wants_something = false;
	vg_guests_changed(&f->ts, "70000000-0000-0000-0000-000000000000");
	assert_value(f, id, 65, "online", "0");
	assert_value(f, id, 66, "online", "1");
}

/* A guest that another source has configured is not given a second set. */
static void two_sources_one_guest(void **state)
{
	static const uint8_t uuid[16] = { 0x70 };
	static struct table guests = { "70000000-0000-0000-0000-000000000000",
				       { "rng", NULL, NULL } };
	const struct fx_domain_config cfg = { .name = "g", .uuid = uuid };
	struct fixture *f = *state;
	unsigned int id;

	vg_toolstack_add_source(&f->ts, &wish, NULL);
	vg_toolstack_add_source(&f->ts, &table, &guests);
	wants_something = false;
	assert_int_equal(fx_domain_create(f->w, &cfg, &id), 0);
	vg_guests_scan(&f->ts);
	assert_value(f, id, 70, "vgrant-config", "rng");
	want(f, "rng", NULL, NULL);
	assert_value(f, id, 64, "vgrant-config", NULL);
	assert_value(f, id, 70, "online", "1");
	/* The next time that it is started the first source is the first. */
	assert_int_equal(fx_domain_destroy(f->w, id, 0), 0);
	vg_guests_scan(&f->ts);
	assert_int_equal(fx_domain_create(f->w, &cfg, &id), 0);
	vg_guests_scan(&f->ts);
	assert_value(f, id, 64, "vgrant-config", "rng");
	assert_value(f, id, 70, "vgrant-config", NULL);
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
		T(a_second_source),	   T(made_in_the_end),	     T(driver_domain),
		T(a_source_that_follows),  T(two_sources_one_guest), cmocka_unit_test(events),
		cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
