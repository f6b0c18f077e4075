// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_params.c - the syntax of a device's configuration, and hostile forms of it
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

#include "backend/base/container.h"
#include "backend/base/params.h"

static const struct vg_param_def disk[] = {
	{ .key = "target", .kind = VG_PARAM_STRING, .required = true, .help = "the image" },
	{ .key = "readonly", .kind = VG_PARAM_BOOL, .fallback = "0" },
	{ .key = "queues", .kind = VG_PARAM_UINT, .min = 1, .max = 16, .fallback = "4" },
	{ .key = "limit", .kind = VG_PARAM_SIZE, .min = 512, .fallback = "1M" },
	{ .key = NULL },
};

static struct vg_params p;
static struct vg_err err;

static int parse(const char *spec)
{
	err.text[0] = '\0';
	memset(&p, 0xa5, sizeof(p));
	return vg_params_parse(spec, &p, &err);
}

static int check(const char *spec)
{
	assert_int_equal(parse(spec), 0);
	return vg_params_check(&p, disk, vg_common_params, &err);
}

static void assert_says(const char *part)
{
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void a_usual_text_is_split(void **state)
{
	(void)state;
	assert_int_equal(parse("blk,target=/x.img,readonly,queues=2"), 0);
	assert_string_equal(p.device, "blk");
	assert_int_equal(p.n, 3);
	assert_string_equal(p.p[0].key, "target");
	assert_string_equal(p.p[0].value, "/x.img");
	assert_string_equal(p.p[1].key, "readonly");
	assert_string_equal(p.p[1].value, "1");
	assert_string_equal(p.p[2].value, "2");
	assert_int_equal(parse("rng"), 0);
	assert_string_equal(p.device, "rng");
	assert_int_equal(p.n, 0);
}

static void blanks_around_words_do_not_count(void **state)
{
	(void)state;
	assert_int_equal(parse("  blk ,\ttarget = /a b.img  , readonly "), 0);
	assert_string_equal(p.device, "blk");
	assert_string_equal(p.p[0].key, "target");
	assert_string_equal(p.p[0].value, "/a b.img");
	assert_string_equal(p.p[1].key, "readonly");
}

static void commas_and_backslashes_are_escaped(void **state)
{
	(void)state;
	assert_int_equal(parse("blk,target=/a\\,b\\\\c=d"), 0);
	assert_int_equal(p.n, 1);
	assert_string_equal(p.p[0].value, "/a,b\\c=d");
	assert_int_equal(parse("blk,target="), 0);
	assert_string_equal(p.p[0].value, "");
}

static void malformed_texts_are_refused_with_a_sentence(void **state)
{
	static const struct {
		const char *spec, *says;
	} bad[] = {
		{ "", "name must come first" },
		{ "   ", "name must come first" },
		{ ",target=/x", "name must come first" },
		{ "target=/x", "cannot be the device's name" },
		{ "b lk,target=/x", "cannot be the device's name" },
		{ "blk,", "nothing before" },
		{ "blk,,readonly", "nothing before" },
		{ "blk,=3", "nothing before" },
		{ "blk,re ad=3", "cannot be a key" },
		{ "blk,a=1,a=2", "twice" },
		{ "blk,a,a", "twice" },
		{ "blk,a=\\n", "backslash" },
		{ "blk,a=\\", "backslash" },
		{ "blk\\", "backslash" },
		{ "blk,a=\n", "control character" },
		{ "blk,a=\x1b[31m", "control character" },
		{ "blk,a=\x7f", "control character" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (parse(bad[i].spec) != -EINVAL)
			fail_msg("\"%s\" was accepted", bad[i].spec);
		assert_says(bad[i].says);
	}
}

static void what_is_too_long_is_refused(void **state)
{
	static char text[VG_PARAMS_LEN + 8];
	size_t len;

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "blk,a=", 6);
	text[VG_PARAMS_LEN - 1] = '\0';
	assert_int_equal(parse(text), 0);
	assert_int_equal(strlen(p.p[0].value), VG_PARAMS_LEN - 1 - 6);
	text[VG_PARAMS_LEN - 1] = 'x';
	text[VG_PARAMS_LEN] = '\0';
	assert_int_equal(parse(text), -E2BIG);

	assert_int_equal(parse("a234567890123456789012345678901"), 0);
	assert_int_equal(parse("a2345678901234567890123456789012"), -E2BIG);

	len = (size_t)sprintf(text, "blk");
	for (int i = 0; i < VG_PARAMS_MAX; i++)
		len += (size_t)sprintf(text + len, ",k%d", i);
	assert_int_equal(parse(text), 0);
	assert_int_equal(p.n, VG_PARAMS_MAX);
	strcpy(text + len, ",k");
	assert_int_equal(parse(text), -E2BIG);
}

static void good_values_pass_and_are_read(void **state)
{
	(void)state;
	assert_int_equal(check("blk,target=/x"), 0);
	assert_string_equal(vg_params_str(&p, disk, "target"), "/x");
	assert_false(vg_params_bool(&p, disk, "readonly"));
	assert_int_equal(vg_params_uint(&p, disk, "queues"), 4);
	assert_int_equal(vg_params_uint(&p, disk, "limit"), 1 << 20);
	assert_null(vg_params_str(&p, disk, "nothing"));
	assert_null(vg_params_str(&p, vg_common_params, "backend"));

	assert_int_equal(check("blk,target=/x,readonly,queues=0x10,limit=3g,id=7,backend=dd"), 0);
	assert_true(vg_params_bool(&p, disk, "readonly"));
	assert_int_equal(vg_params_uint(&p, disk, "queues"), 16);
	assert_true(vg_params_uint(&p, disk, "limit") == 3ULL << 30);
	assert_int_equal(vg_params_uint(&p, vg_common_params, "id"), 7);
	assert_string_equal(vg_params_str(&p, vg_common_params, "backend"), "dd");

	assert_int_equal(check("blk,target=/x,limit=0x10K,readonly=off"), 0);
	assert_int_equal(vg_params_uint(&p, disk, "limit"), 16 << 10);
	assert_false(vg_params_bool(&p, disk, "readonly"));
	assert_int_equal(check("blk,target=/x,limit=2T,readonly=true"), 0);
	assert_true(vg_params_uint(&p, disk, "limit") == 2ULL << 40);
	assert_true(vg_params_bool(&p, disk, "readonly"));
}

static void bad_values_are_refused_with_a_sentence(void **state)
{
	static const struct {
		const char *spec, *says;
	} bad[] = {
		{ "blk", "needs target=" },
		{ "blk,target=", "must not be empty" },
		{ "blk,target=/x,colour=red",
		  "no key \"colour\"; it has target, readonly, queues, limit, backend, id" },
		{ "blk,target=/x,readonly=maybe", "readonly must be 1 or 0" },
		{ "blk,target=/x,queues=0", "from 1 to 16" },
		{ "blk,target=/x,queues=17", "from 1 to 16" },
		{ "blk,target=/x,queues=-1", "must be a number" },
		{ "blk,target=/x,queues=+1", "must be a number" },
		{ "blk,target=/x,queues=", "must be a number" },
		{ "blk,target=/x,queues=0x", "must be a number" },
		{ "blk,target=/x,queues=4k", "must be a number" },
		{ "blk,target=/x,queues=1e1", "must be a number" },
		{ "blk,target=/x,queues=99999999999999999999", "from 1 to 16" },
		{ "blk,target=/x,limit=0", "at least 512 bytes" },
		{ "blk,target=/x,limit=1KB", "number of bytes" },
		{ "blk,target=/x,limit=K", "number of bytes" },
		{ "blk,target=/x,limit=1@", "number of bytes" },
		{ "blk,target=/x,limit=18446744073709551615T", "at least 512 bytes" },
		{ "blk,target=/x,id=256", "from 0 to 255" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (check(bad[i].spec) != -EINVAL)
			fail_msg("\"%s\" was accepted", bad[i].spec);
		assert_says(bad[i].says);
	}
}

static void a_long_list_of_keys_is_cut_at_a_key(void **state)
{
	static char names[40][24];
	static struct vg_param_def many[41];

	(void)state;
	for (int i = 0; i < 40; i++) {
		sprintf(names[i], "a-rather-long-key-%d", i);
		many[i].key = names[i];
	}
	assert_int_equal(parse("blk,x"), 0);
	assert_int_equal(vg_params_check(&p, many, NULL, &err), -EINVAL);
	assert_says(", a-rather-long-key-1, ");
	assert_string_equal(err.text + strlen(err.text) - 5, ", ...");
	assert_int_equal(vg_params_check(&p, NULL, NULL, &err), -EINVAL);
	assert_says("it has none");
}

/* The next of a fixed sequence, so that a failure can be repeated. */
static unsigned pick(unsigned n)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (unsigned)(x % n);
}

/* What was parsed must be within the copy, and survive being written and parsed again. */
static void assert_sound(void)
{
	static char again[2 * VG_PARAMS_LEN + 64];
	static struct vg_params q;
	size_t len = (size_t)sprintf(again, "%s", p.device);

	assert_in_range(p.n, 0, VG_PARAMS_MAX);
	for (unsigned i = 0; i < p.n; i++) {
		assert_true(p.p[i].key >= p.text && p.p[i].key < p.text + sizeof(p.text));
		len += (size_t)sprintf(again + len, ",%s=", p.p[i].key);
		for (const char *v = p.p[i].value; *v; v++) {
			if (*v == ',' || *v == '\\')
				again[len++] = '\\';
			again[len++] = *v;
		}
		again[len] = '\0';
	}
	if (len >= VG_PARAMS_LEN)
		return;
	assert_int_equal(vg_params_parse(again, &q, &err), 0);
	assert_string_equal(q.device, p.device);
	assert_int_equal(q.n, p.n);
	for (unsigned i = 0; i < p.n; i++) {
		assert_string_equal(q.p[i].key, p.p[i].key);
		assert_string_equal(q.p[i].value, p.p[i].value);
	}
}

static void random_texts_are_parsed_soundly_or_refused(void **state)
{
	static const char alphabet[] =
		"blk,,,,===\\\\ targetidqueueslimit0123456789xKT\t\x1b\x80\xff";
	static char text[VG_PARAMS_LEN + 16];
	unsigned good = 0;

	(void)state;
	for (int round = 0; round < 30000; round++) {
		unsigned len = pick(round % 50 ? 40 : sizeof(text) - 8);

		memcpy(text, "blk,", 4);
		for (unsigned i = 0; i < len; i++)
			text[4 + i] = alphabet[pick(sizeof(alphabet) - 1)];
		text[4 + len] = '\0';
		if (parse(text + pick(2) * 4) < 0) {
			assert_string_not_equal(err.text, "");
			continue;
		}
		good++;
		assert_sound();
		if (vg_params_check(&p, disk, vg_common_params, &err) < 0)
			assert_string_not_equal(err.text, "");
		(void)vg_params_uint(&p, disk, "limit");
		(void)vg_params_bool(&p, disk, "target");
	}
	assert_true(good > 100);
}

static void test_replace(void **state)
{
	static const char *const rows[][4] = {
		{ "can", "fd", "0", "can,fd=0" },
		{ "can,fd=1", "fd", "0", "can,fd=0" },
		{ "can,a=1,fd,b=2", "fd", "0", "can,a=1,fd=0,b=2" },
		{ "can,fdx=1", "fd", "0", "can,fdx=1,fd=0" },
		{ "can,a=x\\,y", "b", "p,q\\", "can,a=x\\,y,b=p\\,q\\\\" },
	};
	char out[64];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(
			vg_params_replace(rows[i][0], rows[i][1], rows[i][2], out, sizeof(out)), 0);
		assert_string_equal(out, rows[i][3]);
	}
	assert_int_equal(vg_params_replace("", "a", "1", out, sizeof(out)), -EINVAL);
	/* What a configuration cannot say is not put into one. */
	static const char *const never[] = { "a\nb", "\x7f", " x", "x\t", " " };

	for (size_t i = 0; i < COUNT(never); i++)
		assert_int_equal(vg_params_replace("can", "a", never[i], out, sizeof(out)),
				 -EINVAL);
	assert_int_equal(vg_params_replace("can", "a b", "1", out, sizeof(out)), -EINVAL);
	assert_int_equal(vg_params_replace("can", "", "1", out, sizeof(out)), -EINVAL);
	assert_int_equal(vg_params_replace("can", "a", "x y", out, sizeof(out)), 0);
	assert_string_equal(out, "can,a=x y");
	/* Room to the byte. */
	assert_int_equal(vg_params_replace("can", "a", "12", out, 9), 0);
	assert_int_equal(vg_params_replace("can", "a", "12", out, 8), -E2BIG);
	assert_int_equal(vg_params_replace("can", "abcdefgh", "", out, 8), -E2BIG);
	assert_int_equal(vg_params_replace("can", "a", "1", out, 3), -E2BIG);
}

/* Paths, as people write them who are used to a shell or to xl. */
static void test_paths(void **state)
{
	static const struct vg_param_def table[] = {
		{ .key = "target", .kind = VG_PARAM_PATH, .required = true },
		{ .key = "log", .kind = VG_PARAM_PATH },
		{ .key = NULL }
	};
	static const struct {
		const char *spec, *why; /* NULL: all is well */
	} cases[] = {
		{ "x,target=/d.img", NULL },
		{ "x,target=/d.img,log=", NULL },
		{ "x,target=d.img", "does not run in the folder" },
		{ "x,target=./d.img", "does not run in the folder" },
		{ "x,target=~/d.img", "what ~ stands for" },
		{ "x,target=$HOME/d.img", "what the variable stands for" },
		{ "x,target=file:/x", "xl's file: for a disk" },
		{ "x,target=phy:/dev/x", "xl's phy: for a disk" },
		{ "x,target=/d.img,log=l", "log must be a path" },
	};
	struct vg_params parsed;
	struct vg_err why;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int ret;

		assert_int_equal(vg_params_parse(cases[i].spec, &parsed, &why), 0);
		why.text[0] = '\0';
		assert_int_equal(vg_params_check(&parsed, table, NULL, &why), 0);
		ret = vg_params_check_paths(&parsed, table, &why);
		assert_int_equal(ret, cases[i].why ? -EINVAL : 0);
		if (cases[i].why && !strstr(why.text, cases[i].why))
			fail_msg("%s: %s", cases[i].spec, why.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(a_usual_text_is_split),
		cmocka_unit_test(blanks_around_words_do_not_count),
		cmocka_unit_test(commas_and_backslashes_are_escaped),
		cmocka_unit_test(malformed_texts_are_refused_with_a_sentence),
		cmocka_unit_test(what_is_too_long_is_refused),
		cmocka_unit_test(good_values_pass_and_are_read),
		cmocka_unit_test(bad_values_are_refused_with_a_sentence),
		cmocka_unit_test(a_long_list_of_keys_is_cut_at_a_key),
		cmocka_unit_test(random_texts_are_parsed_soundly_or_refused),
		cmocka_unit_test(test_replace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
