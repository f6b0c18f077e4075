// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_xlconf.c - guests' xl configurations: reading, finding, adopting xl's nodes
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/toolstack/xlconf.h"
#include "backend/toolstack/xlfind.h"
#include "tests/rigs/said.h"

static char top[] = "/tmp/vgrant-xlconf.XXXXXX";
static char dir_a[64], dir_b[64];
static const char *dirs[] = { dir_a, dir_b, NULL };
static struct vg_xlconf *conf;
static struct vg_err err;

static int make_top(void **state)
{
	(void)state;
	return mkdtemp(top) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int remove_top(void **state)
{
	(void)state;
	return nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Each test has two empty folders. */
static int setup(void **state)
{
	static int n;

	(void)state;
	sprintf(dir_a, "%s/a%d", top, n);
	sprintf(dir_b, "%s/b%d", top, n++);
	err.text[0] = '\0';
	return mkdir(dir_a, 0755) || mkdir(dir_b, 0755);
}

static int teardown(void **state)
{
	(void)state;
	vg_xlconf_free(conf);
	conf = NULL;
	return 0;
}

static const char *put_bytes(const char *dir, const char *name, const void *bytes, size_t len)
{
	static char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	fclose(f);
	return path;
}

static const char *put(const char *dir, const char *name, const char *text)
{
	return put_bytes(dir, name, text, strlen(text));
}

static int read_text(const char *text)
{
	vg_xlconf_free(conf);
	conf = NULL;
	return vg_xlconf_read(put(dir_a, "x.cfg", text), &conf, &err);
}

static int find(const char *name)
{
	vg_xlconf_free(conf);
	conf = NULL;
	return vg_xlfind_in(dirs, name, NULL, &conf, &err);
}

static void assert_says(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

/* Run @name through find() and return what was logged meanwhile. */
static const char *log_of_find(const char *name)
{
	said_begin();
	find(name);
	return said_end();
}

static uint16_t virtio_id_of(const char *device)
{
	static const struct {
		const char *name;
		uint16_t id;
	} known[] = { { "net", 1 }, { "blk", 2 }, { "rng", 4 }, { "can", 0x24 } };

	for (unsigned i = 0; i < COUNT(known); i++) {
		if (strcmp(known[i].name, device) == 0)
			return known[i].id;
	}
	return 0;
}

/* ---- reading ------------------------------------------------------------ */

static void a_usual_file_is_read(void **state)
{
	(void)state;
	assert_int_equal(read_text("# a guest\n"
				   "name = \"web\"\n"
				   "type = 'pvh'\nmemory = 512\nvcpus=2\n"
				   "kernel = '/boot/vmlinuz'\n"
				   "disk = [ 'phy:/dev/vg/web,xvda,w' ]\n"
				   "vif = [ 'bridge=xenbr0', ]\n"
				   "vgrant = [ 'blk,target=/srv/a\\\\,b.img,readonly',\n"
				   "           \"net,bridge=xenbr0,id=7,backend=netdom\",\n"
				   "         ]\n"
				   "virtio = [ 'backend=0,type=virtio,device24,transport=mmio,"
				   "grant_usage=1' ]\n"
				   "on_crash = 'destroy'"),
			 0);
	assert_string_equal(conf->name, "web");
	assert_int_equal(conf->n_devices, 2);
	assert_string_equal(conf->devices[0].params.device, "blk");
	assert_string_equal(vg_params_str(&conf->devices[0].params, NULL, "target"),
			    "/srv/a,b.img");
	assert_int_equal(conf->devices[0].id, -1);
	assert_null(conf->devices[0].backend);
	assert_string_equal(conf->devices[0].err.text, "");
	assert_int_equal(conf->devices[1].id, 7);
	assert_string_equal(conf->devices[1].backend, "netdom");
	assert_int_equal(conf->n_virtios, 1);
	assert_int_equal(conf->virtios[0].virtio_id, 0x24);
	assert_string_equal(conf->virtios[0].backend, "0");
	assert_string_equal(conf->virtios[0].transport, "mmio");
	assert_int_equal(conf->virtios[0].grant_usage, 1);
	assert_string_equal(conf->virtios[0].err.text, "");
}

static void a_file_without_our_keys_has_no_devices(void **state)
{
	(void)state;
	assert_int_equal(read_text("name='x'\n# a comment without a newline"), 0);
	assert_int_equal(conf->n_devices, 0);
	assert_int_equal(conf->n_virtios, 0);
	assert_int_equal(read_text(""), 0);
	assert_string_equal(conf->name, "");
	assert_int_equal(read_text("vgrant = []\nvirtio = []\nname = [ 'a' ]\n"), 0);
	assert_int_equal(conf->n_devices, 0);
	assert_string_equal(conf->name, "");
}

static void lists_can_grow_and_be_single_strings(void **state)
{
	(void)state;
	assert_int_equal(read_text("vgrant = [ 'rng' ]\nvgrant += [ 'blk,target=/x' ]\n"), 0);
	assert_int_equal(conf->n_devices, 2);
	assert_string_equal(conf->devices[1].params.device, "blk");
	assert_int_equal(read_text("vgrant = 'rng'\n"), 0);
	assert_int_equal(conf->n_devices, 1);
	assert_string_equal(conf->devices[0].params.device, "rng");
}

static void a_bad_entry_is_told_and_spoils_no_other(void **state)
{
	(void)state;
	assert_int_equal(read_text("vgrant = [ 'blk,a=1,a=2', 'rng', ['net'], 'rng,id=900',\n"
				   "  'rng,id=3', 'rng,id=3', 'rng,id=x' ]\n"),
			 0);
	assert_int_equal(conf->n_devices, 7);
	assert_says(conf->devices[0].err.text,
		    "vgrant entry 'blk,a=1,a=2': \"a\" stands in it twice");
	assert_int_equal(conf->devices[0].params.n, 0);
	assert_string_equal(conf->devices[1].err.text, "");
	assert_says(conf->devices[2].err.text, "name must come first");
	assert_says(conf->devices[3].err.text, "id must be from 0 to 255");
	assert_string_equal(conf->devices[4].err.text, "");
	assert_says(conf->devices[5].err.text, "id=3 is taken by the entry 'rng,id=3'");
	assert_says(conf->devices[6].err.text, "id must be a number");
	assert_int_equal(conf->devices[6].id, -1);
}

static void xl_virtio_entries_are_judged_as_xl_does(void **state)
{
	(void)state;
	assert_int_equal(read_text(
				 "virtio = [ 'type=virtio,device2,transport=mmio',\n"
				 " ' transport=mmio, type=virtio,device1a',\n"
				 " 'type=virtio,device2', 'type=i2c,transport=mmio',\n"
				 " 'type=virtio,device2,transport=mmio,target=/x', 'type=virtio',\n"
				 " 'type=virtio,device', 'type=virtio,deviceffffff', 'type',"
				 " '' ]\n"),
			 0);
	assert_int_equal(conf->n_virtios, 10);
	assert_int_equal(conf->virtios[0].virtio_id, 2);
	assert_string_equal(conf->virtios[0].backend, "");
	assert_int_equal(conf->virtios[0].grant_usage, -1);
	assert_string_equal(conf->virtios[0].err.text, "");
	assert_int_equal(conf->virtios[1].virtio_id, 0x1a);
	assert_string_equal(conf->virtios[1].err.text, "");
	assert_says(conf->virtios[2].err.text, "xl demands transport=mmio");
	assert_says(conf->virtios[3].err.text, "names no device");
	assert_says(conf->virtios[4].err.text, "xl knows no \"target\"");
	for (int i = 5; i < 9; i++) {
		assert_int_equal(conf->virtios[i].virtio_id, 0);
		assert_says(conf->virtios[i].err.text, "names no device");
	}
	assert_says(conf->virtios[9].err.text, "transport=mmio");
}

static void entries_beyond_the_limit_are_counted(void **state)
{
	static char text[4096] = "vgrant = [ ";

	(void)state;
	for (int i = 0; i < VG_XL_DEVICES_MAX + 3; i++)
		strcat(text, "'rng',");
	strcat(text, "]\n");
	assert_int_equal(read_text(text), 0);
	assert_int_equal(conf->n_devices, VG_XL_DEVICES_MAX);
	assert_int_equal(conf->dropped, 3);
}

static void syntax_errors_name_file_and_line(void **state)
{
	(void)state;
	assert_int_equal(read_text("name = 'x'\nmemory = \nvcpus = 1\n"), -EINVAL);
	assert_says(err.text, "x.cfg:");
	assert_says(err.text, "config parsing error");
	assert_int_equal(read_text("import os\n"), -EINVAL);
	assert_int_equal(read_text("vgrant = [ 'a', \n"), -EINVAL);
	assert_int_equal(read_text("vgrant = 'a'\nvgrant += [ 'b' ]\n"), -EINVAL);
}

static void what_is_no_configuration_is_refused(void **state)
{
	static char big[(1 << 20) + 1];
	char path[160];

	(void)state;
	assert_int_equal(vg_xlconf_read(dir_a, &conf, &err), -EINVAL);
	assert_says(err.text, "no regular file");
	snprintf(path, sizeof(path), "%s/fifo", dir_a);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(vg_xlconf_read(path, &conf, &err), -EINVAL);
	snprintf(path, sizeof(path), "%s/nothing", dir_a);
	assert_int_equal(vg_xlconf_read(path, &conf, &err), -ENOENT);
	assert_says(err.text, "No such file");
	assert_int_equal(vg_xlconf_read(put_bytes(dir_a, "nul", "name='a\0'\n", 10), &conf, &err),
			 -EINVAL);
	assert_says(err.text, "NUL");
	memset(big, '\n', sizeof(big));
	assert_int_equal(vg_xlconf_read(put_bytes(dir_a, "big", big, sizeof(big)), &conf, &err),
			 -EFBIG);
	assert_int_equal(vg_xlconf_read(put_bytes(dir_a, "big", big, sizeof(big) - 1), &conf, &err),
			 0);
}

static void a_file_that_anyone_may_write_is_not_trusted(void **state)
{
	const char *path = put(dir_a, "open.cfg", "name='x'\n");

	(void)state;
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(vg_xlconf_read(path, &conf, &err), -EPERM);
	assert_says(err.text, "chmod o-w");
	assert_int_equal(chmod(path, 0644), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(vg_xlconf_read(path, &conf, &err), -EPERM);
	}
}

/* Neither libxlutil nor we may fall over whatever stands in /etc/xen. */
static void damaged_files_never_end_the_process(void **state)
{
	static const char good[] =
		"name = \"web\"\nvgrant = [ 'blk,target=/a\\\\,b', 'x\\\"\\712' ]\n"
		"vgrant += [ \"net\", [ 'a', 3 ] ]; virtio = [ 'type=virtio,"
		"device2,transport=mmio' ]\n# end\nmaxmem = 0x10\n";
	static const char strange[] = "'\"\\[]=,;#\n+x\x01\xff 0a";
	char text[sizeof(good)];
	uint64_t x = 88172645463325252ULL;
	unsigned ok = 0;

	(void)state;
	for (int round = 0; round < 600; round++) {
		memcpy(text, good, sizeof(good));
		for (int k = 0; k < 1 + round % 3; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			text[x % (sizeof(good) - 1)] = strange[(x >> 32) % (sizeof(strange) - 1)];
		}
		if (read_text(text) < 0) {
			assert_string_not_equal(err.text, "");
			continue;
		}
		ok++;
		vg_xlconf_match(conf, virtio_id_of);
	}
	assert_true(ok > 50);
}

/* ---- finding ------------------------------------------------------------ */

static void a_guest_is_found_by_its_name(void **state)
{
	(void)state;
	put(dir_a, "one", "name='one'\n");
	put(dir_b, "two.hvm", "name='two'\n");
	assert_int_equal(find("two"), 0);
	assert_string_equal(conf->name, "two");
	assert_int_equal(find("one"), 0);
	assert_int_equal(find("one--incoming"), 0);
	assert_string_equal(conf->name, "one");
	assert_int_equal(find("on"), -ENOENT);
	assert_says(err.text, "says name = \"on\"");
	assert_int_equal(find(""), -ENOENT);
	assert_int_equal(find("--incoming"), -ENOENT);
}

static void leftovers_and_folders_are_passed_over(void **state)
{
	static const char *const names[] = { ".web.cfg",	 "web.cfg~",	    "web.cfg.bak",
					     "web.cfg.dpkg-old", "web.cfg.rpmsave", "w.swp" };
	char path[160];

	(void)state;
	for (unsigned i = 0; i < COUNT(names); i++)
		put(dir_a, names[i], "name='web'\n");
	snprintf(path, sizeof(path), "%s/sub", dir_a);
	assert_int_equal(mkdir(path, 0755), 0);
	put(path, "web.cfg", "name='web'\n");
	snprintf(path, sizeof(path), "%s/link-to-a-folder", dir_a);
	assert_int_equal(symlink(dir_b, path), 0);
	snprintf(path, sizeof(path), "%s/dangling", dir_a);
	assert_int_equal(symlink("/nothing/there", path), 0);
	assert_string_equal(log_of_find("web"), "");
	assert_null(conf);
}

static void a_broken_file_hides_no_good_one_and_is_logged_once(void **state)
{
	const char *log;

	(void)state;
	put(dir_a, "a-broken.cfg", "name = 'a\n");
	put(dir_b, "good.cfg", "name='good'\n");
	log = log_of_find("good");
	assert_non_null(conf);
	assert_says(log, "a-broken.cfg:");
	assert_string_equal(log_of_find("good"), "");
	assert_non_null(conf);
}

#define A_UUID "01234567-89ab-cdef-0123-456789abcdef"

/* What xl was told in the place of the file's name does not hide the file from who knows the uuid. */
static void a_uuid_counts_before_a_name(void **state)
{
	static const char *const as_well[] = { A_UUID, "0123456789ABCDEF0123456789ABCDEF",
					       "01234567-89AB-cdef-0123-456789abcdef" };
	static const char *const not [] = { "", NULL, "01234567-89ab-cdef-0123-456789abcdee",
					    "01234567-89ab-cdef-0123-456789abcde",
					    "01234567-89ab-cdef-0123-456789abcdef0" };

	(void)state;
	put(dir_a, "b.cfg", "name='other'\n");
	put(dir_b, "a.cfg", "name='web'\nuuid='" A_UUID "'\n");
	for (unsigned i = 0; i < COUNT(as_well); i++) {
		teardown(state);
		assert_int_equal(vg_xlfind_in(dirs, "other", as_well[i], &conf, &err), 0);
		assert_string_equal(conf->name, "web");
	}
	for (unsigned i = 0; i < COUNT(not ); i++) {
		teardown(state);
		assert_int_equal(vg_xlfind_in(dirs, "other", not [i], &conf, &err), 0);
		assert_string_equal(conf->name, "other");
	}
	teardown(state);
	assert_int_equal(vg_xlfind_in(dirs, "nobody", not [2], &conf, &err), -ENOENT);
	/* In the other order of folders, too. */
	put(dir_a, "a.cfg", "name='web'\nuuid='" A_UUID "'\n");
	put(dir_b, "b.cfg", "name='late'\n");
	teardown(state);
	assert_int_equal(vg_xlfind_in(dirs, "late", A_UUID, &conf, &err), 0);
	assert_string_equal(conf->name, "web");
}

static void of_two_files_with_one_name_the_first_counts(void **state)
{
	const char *log;

	(void)state;
	put(dir_b, "a.cfg", "name='twin'\n");
	put(dir_a, "z.cfg", "name='twin'\n");
	put(dir_a, "y.cfg", "name='twin'\n");
	log = log_of_find("twin");
	assert_non_null(conf);
	assert_says(conf->path, "/y.cfg");
	assert_says(log, "y.cfg and");
	assert_says(log, "z.cfg both say name = \"twin\"");
	assert_string_equal(log_of_find("twin"), "");
}

static void a_link_in_auto_is_the_same_file(void **state)
{
	char path[160], target[160];

	(void)state;
	snprintf(target, sizeof(target), "%s", put(dir_b, "auto1.cfg", "name='auto1'\n"));
	snprintf(path, sizeof(path), "%s/auto1.cfg", dir_a);
	assert_int_equal(symlink(target, path), 0);
	assert_string_equal(log_of_find("auto1"), "");
	assert_non_null(conf);
	assert_string_equal(conf->path, path);
}

static void folders_that_are_not_there_do_no_harm(void **state)
{
	const char *none[] = { "/nothing/here", NULL };

	(void)state;
	assert_int_equal(vg_xlfind_in(none, "x", NULL, &conf, &err), -ENOENT);
	assert_int_equal(vg_xlfind_in(none + 1, "x", NULL, &conf, &err), -ENOENT);
}

/* ---- adopting ----------------------------------------------------------- */

static void devices_adopt_nodes_of_their_type_in_order(void **state)
{
	(void)state;
	assert_int_equal(read_text("vgrant = [ 'can,interface=can0', 'blk,target=/a', 'rng',\n"
				   "           'blk,target=/b', 'blk,target=/c', 'warp' ]\n"
				   "virtio = [ 'type=virtio,device2,transport=mmio',\n"
				   "           'type=virtio,device24,transport=mmio',\n"
				   "           'type=virtio,device2,transport=mmio' ]\n"),
			 0);
	vg_xlconf_match(conf, virtio_id_of);
	assert_int_equal(conf->devices[0].virtio, 1);
	assert_int_equal(conf->devices[1].virtio, 0);
	assert_int_equal(conf->devices[2].virtio, -1);
	assert_int_equal(conf->devices[3].virtio, 2);
	assert_int_equal(conf->devices[4].virtio, -1);
	assert_int_equal(conf->devices[5].virtio, -1);
}

static void an_id_takes_the_node_of_that_number(void **state)
{
	(void)state;
	assert_int_equal(read_text("vgrant = [ 'blk,target=/a', 'blk,target=/b,id=0',\n"
				   "           'blk,target=/c,id=5', 'rng,id=1' ]\n"
				   "virtio = [ 'type=virtio,device2,transport=mmio',\n"
				   "           'type=virtio,device2,transport=mmio' ]\n"),
			 0);
	vg_xlconf_match(conf, virtio_id_of);
	assert_int_equal(conf->devices[0].virtio, 1);
	assert_int_equal(conf->devices[1].virtio, 0);
	assert_int_equal(conf->devices[2].virtio, -1);
	assert_string_equal(conf->devices[2].err.text, "");
	assert_int_equal(conf->devices[3].virtio, -1);
	assert_says(conf->devices[3].err.text, "which is another device");
}

static void every_device_has_a_number_of_its_own(void **state)
{
	static const unsigned want[] = { 65, 1, 64, 66, 200, 67, 68, 69 };

	(void)state;
	assert_int_equal(read_text(
				 "vgrant = [ 'blk,target=/a', 'can', 'rng,id=64', 'blk,a=1,a=2',\n"
				 " 'rng,id=200', 'rng,id=200', 'warp', 'rng,id=0' ]\n"
				 "virtio = [ 'type=virtio,device19,transport=mmio',\n"
				 "           'type=virtio,device24,transport=mmio' ]\n"),
			 0);
	vg_xlconf_match(conf, virtio_id_of);
	for (unsigned i = 0; i < conf->n_devices; i++)
		assert_int_equal(conf->devices[i].number, want[i]);
	assert_says(conf->devices[5].err.text, "id=200 is taken");
	assert_says(conf->devices[7].err.text, "which is another device");
}

#define WITH_FOLDERS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Where things stand, past whatever else an xl configuration has. */
static void places(void **state)
{
	static const char text[] = "# vgrant = [ 'comment' ]\n"
				   "name = \"a # b ' vgrant = [ 'x' ]\" # c\n"
				   "disk = [ 'vgrant = y', [ 'deep' ] ]\n"
				   "vgrant_more = [ 'z' ]\n"
				   "vgrant=['blk,target=/a',\n"
				   "\t\"rng\" , # 'no'\n"
				   "  ]\n"
				   "vgrant += [ 'rng' ]\n";
	struct vg_xl_place items[8];
	struct vg_xl_list list = { .max = 8, .items = items };

	(void)state;
	vg_xl_find(text, "vgrant", &list);
	assert_int_equal(list.n, 3);
	assert_int_equal(list.first.line, 5);
	assert_int_equal(list.again.line, 0);
	assert_int_equal(items[0].line, 5);
	assert_int_equal(items[0].column, 10);
	assert_int_equal(items[1].line, 6);
	assert_int_equal(items[1].column, 3);
	assert_int_equal(items[2].line, 8);
	assert_int_equal(items[2].column, 14);
	/* The last one counts. */
	vg_xl_find("vgrant = [ 'a', 'b' ]\nx = 1\n vgrant = [ 'c' ]\n", "vgrant", &list);
	assert_int_equal(list.n, 1);
	assert_int_equal(list.again.line, 3);
	assert_int_equal(list.again.column, 2);
	assert_int_equal(items[0].line, 3);
	/* What is broken ends somewhere. */
	vg_xl_find("vgrant = [ 'a\n', \"b\\", "vgrant", &list);
	vg_xl_find("]]][[vgrant = 'x'", "vgrant", &list);
	vg_xl_find("", "vgrant", &list);
	assert_int_equal(list.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places),
		WITH_FOLDERS(a_usual_file_is_read),
		WITH_FOLDERS(a_file_without_our_keys_has_no_devices),
		WITH_FOLDERS(lists_can_grow_and_be_single_strings),
		WITH_FOLDERS(a_bad_entry_is_told_and_spoils_no_other),
		WITH_FOLDERS(xl_virtio_entries_are_judged_as_xl_does),
		WITH_FOLDERS(entries_beyond_the_limit_are_counted),
		WITH_FOLDERS(syntax_errors_name_file_and_line),
		WITH_FOLDERS(what_is_no_configuration_is_refused),
		WITH_FOLDERS(a_file_that_anyone_may_write_is_not_trusted),
		WITH_FOLDERS(damaged_files_never_end_the_process),
		WITH_FOLDERS(a_guest_is_found_by_its_name),
		WITH_FOLDERS(leftovers_and_folders_are_passed_over),
		WITH_FOLDERS(a_broken_file_hides_no_good_one_and_is_logged_once),
		WITH_FOLDERS(a_uuid_counts_before_a_name),
		WITH_FOLDERS(of_two_files_with_one_name_the_first_counts),
		WITH_FOLDERS(a_link_in_auto_is_the_same_file),
		WITH_FOLDERS(folders_that_are_not_there_do_no_harm),
		WITH_FOLDERS(devices_adopt_nodes_of_their_type_in_order),
		WITH_FOLDERS(an_id_takes_the_node_of_that_number),
		WITH_FOLDERS(every_device_has_a_number_of_its_own),
	};

	return cmocka_run_group_tests(tests, make_top, remove_top);
}
