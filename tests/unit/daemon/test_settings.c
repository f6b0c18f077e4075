// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_settings.c - vgrantd.conf, its mistakes, and that the manual knows every key
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/daemon/settings.h"

static char path[] = "/tmp/vgrant-settings.XXXXXX";
static struct vg_settings s;
static struct vg_err err;

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static int load_bytes(const void *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
	err.text[0] = '\0';
	return vg_settings_load(&s, path, &err);
}

static int load(const char *text)
{
	return load_bytes(text, strlen(text));
}

static void assert_says(const char *part)
{
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void assert_defaults(void)
{
	assert_int_equal(s.log_target, VG_LOG_STDERR);
	assert_int_equal(s.log_level, VG_LOG_INFO);
	assert_string_equal(s.runtime_dir, "/run/vgrant");
	assert_string_equal(s.config_dirs[0], "/etc/xen/auto");
	assert_string_equal(s.config_dirs[1], "/etc/xen");
	assert_null(s.config_dirs[2]);
	assert_string_equal(s.group, "");
	assert_int_equal(s.mode, 0660);
	assert_string_equal(s.user, "vgrant");
	assert_false(s.user_is_set);
	assert_true(s.sandbox);
	assert_int_equal(s.devices, 1024);
	assert_int_equal(s.devices_per_guest, 64);
}

static void an_empty_file_leaves_the_defaults(void **state)
{
	(void)state;
	assert_int_equal(load(""), 0);
	assert_defaults();
	assert_int_equal(load("# nothing\n\n; here\n[daemon]\n"), 0);
	assert_defaults();
}

static void only_the_standard_file_may_be_absent(void **state)
{
	(void)state;
	assert_int_equal(vg_settings_load(&s, "/nothing/here.conf", &err), -ENOENT);
	assert_says("/nothing/here.conf cannot be opened: No such file");
	assert_defaults();
	if (access(VG_SETTINGS_FILE, F_OK) != 0)
		assert_int_equal(vg_settings_load(&s, NULL, &err), 0);
	assert_true(vg_settings_load(&s, "/tmp", &err) < 0);
}

static void every_key_can_be_set(void **state)
{
	(void)state;
	assert_int_equal(load("[daemon]\nlog-target = syslog\nlog-level=debug ; for now\n"
			      "runtime-dir = /tmp/r\n"
			      "[guests]\nconfig-dirs = /a, /b\n  /c\n\t/d /e\n"
			      "[control]\ngroup = xen\nmode = 600\n"
			      "[worker]\nuser = nobody\nsandbox = off\n"
			      "[limits]\ndevices = 1\ndevices-per-guest = 7"),
			 0);
	assert_int_equal(s.log_target, VG_LOG_SYSLOG);
	assert_int_equal(s.log_level, VG_LOG_DEBUG);
	assert_string_equal(s.runtime_dir, "/tmp/r");
	for (int i = 0; i < 5; i++) {
		assert_int_equal(s.config_dirs[i][0], '/');
		assert_int_equal(s.config_dirs[i][1], 'a' + i);
	}
	assert_null(s.config_dirs[5]);
	assert_string_equal(s.group, "xen");
	assert_int_equal(s.mode, 0600);
	assert_string_equal(s.user, "nobody");
	assert_true(s.user_is_set);
	assert_false(s.sandbox);
	assert_int_equal(s.devices, 1);
	assert_int_equal(s.devices_per_guest, 7);
}

static void mistakes_are_told_with_their_line(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "[daemon]\n\nlog-levle = debug\n", ":3: [daemon] has no key \"log-levle\"; it "
						     "has log-target, log-level, runtime-dir" },
		{ "[daemon]\nsandbox = off\n",
		  ":2: [daemon] has no key \"sandbox\"; it belongs into "
		  "[worker]" },
		{ "[deamon]\nlog = x\n", ":2: there is no section [deamon]; there are [daemon], " },
		{ "log-level = debug\n", ":1: \"log-level\" stands in no section; put [daemon]" },
		{ "[daemon]\nlog-level = loud\n",
		  ":2: log-level must be error, warning, info or debug, not \"loud\"" },
		{ "[daemon]\nlog-target = file\n", ":2: log-target must be stderr or syslog" },
		{ "[daemon]\nruntime-dir = run\n", ":2: runtime-dir must be a path that starts" },
		{ "[daemon]\nnonsense\n", ":2: this is neither" },
		{ "[daemon\n", ":1: this is neither" },
		{ "[guests]\nconfig-dirs = /a b\n", ":2: config-dirs must be folders" },
		{ "[control]\nmode = 0888\n", ":2: mode must be octal" },
		{ "[control]\nmode = 1777\n", ":2: mode must be octal" },
		{ "[control]\ngroup = a-name-that-is-longer-than-thirty-two\n",
		  ":2: group is longer than 32 characters" },
		{ "[worker]\nsandbox = maybe\n", ":2: sandbox must be on or off" },
		{ "[limits]\ndevices = 0\n", ":2: devices must be a number from 1 to 1024" },
		{ "[limits]\ndevices = -1\n", ":2: devices must be a number" },
		{ "[limits]\ndevices =\n", ":2: devices must be a number" },
		{ "[limits]\ndevices = 99999999999999999999\n", ":2: devices must be a number" },
		{ "[limits]\ndevices = 1\ndevices = 2\n", ":3: devices stands in the file twice" },
		{ "[vhost-user]\n = rng\n", ":2: \"\" names no socket" },
		{ "[vhost-user]\na/b = rng\n", ":2: \"a/b\" names no socket" },
		{ "[vhost-user]\nsocket-mode = rng\n", ":2: socket-mode must be octal" },
		{ "[vhost-user]\na = rng\na = rng\n", ":3: a stands in [vhost-user] twice" },
		{ "x\n[limits]\ndevices = 0\n", ":1: this is neither" },
		{ "[limits]\ndevices = 0\nx\n", ":2: devices must be" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (load(bad[i].text) != -EINVAL)
			fail_msg("accepted: %s", bad[i].text);
		assert_says(bad[i].says);
		assert_says(path);
	}
	/* What is right is in effect all the same. */
	assert_int_equal(load("[limits]\ndevices = x\n[worker]\nsandbox = off\n"), -EINVAL);
	assert_false(s.sandbox);
}

static void long_lines_and_lists(void **state)
{
	static char text[1 << 18];
	size_t len;

	(void)state;
	/* A comment may be as long as it likes. */
	for (unsigned n = 100; n < sizeof(text) / 2; n *= 2) {
		len = (size_t)sprintf(text, "# ");
		memset(text + len, 'x', n);
		strcpy(text + len + n, "\n[daemon]\nlog-level = debug\n");
		assert_int_equal(load(text), 0);
		assert_int_equal(s.log_level, VG_LOG_DEBUG);
		text[0] = ' ';
		text[1] = ';';
		assert_int_equal(load(text), 0);
	}
	/* So may a value that means something. */
	len = (size_t)sprintf(text, "[vhost-user]\nbus = can,interface=can0,allow=1");
	for (int i = 0; i < 200; i++)
		len += (size_t)sprintf(text + len, ":%d", i);
	strcpy(text + len, "\n");
	assert_int_equal(load(text), 0);
	assert_int_equal(s.n_sockets, 1);
	assert_int_equal(strlen(s.sockets[0].spec), len - strlen("[vhost-user]\nbus = "));

	len = (size_t)sprintf(text, "[guests]\nconfig-dirs = /");
	memset(text + len, 'x', 70000);
	strcpy(text + len + 70000, "\n[daemon]\nlog-level = debug\n");
	assert_int_equal(load(text), -EINVAL);
	assert_says(":2: the line is longer than");
	assert_int_equal(s.log_level, VG_LOG_DEBUG);

	len = (size_t)sprintf(text, "[guests]\nconfig-dirs =");
	for (int i = 0; i <= VG_SETTINGS_DIRS_MAX; i++)
		len += (size_t)sprintf(text + len, " /%c", 'a' + i);
	assert_int_equal(load(text), -EINVAL);
	assert_says("more than 16 folders");

	len = (size_t)sprintf(text, "[guests]\nconfig-dirs = /0\n");
	for (int i = 1; i < 16; i++)
		len += (size_t)sprintf(text + len, " /%0150d\n", i);
	assert_int_equal(load(text), -EINVAL);
	assert_says("config-dirs is too long");
}

static void a_file_that_anyone_may_write_is_not_trusted(void **state)
{
	(void)state;
	assert_int_equal(load(""), 0);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(vg_settings_load(&s, path, &err), -EPERM);
	assert_int_equal(chmod(path, 0644), 0);
}

static void the_command_line_can_set_keys(void **state)
{
	(void)state;
	vg_settings_defaults(&s);
	assert_int_equal(vg_settings_set(&s, "log-level", "error", &err), 0);
	assert_int_equal(s.log_level, VG_LOG_ERR);
	assert_int_equal(vg_settings_set(&s, "worker.sandbox", "no", &err), 0);
	assert_false(s.sandbox);
	assert_int_equal(vg_settings_set(&s, "daemon.sandbox", "no", &err), -EINVAL);
	assert_says("there is no setting \"daemon.sandbox\"");
	assert_int_equal(vg_settings_set(&s, "devices", "0", &err), -EINVAL);
	assert_says("devices must be a number");
}

static void what_is_printed_can_be_read_again(void **state)
{
	char *text, *again;
	size_t len;
	FILE *f;

	(void)state;
	assert_int_equal(load("[guests]\nconfig-dirs = /a /b\n[worker]\nsandbox = off\n[control]\n"
			      "mode = 0644\n[daemon]\nlog-target = syslog\n"
			      "[vhost-user]\nweb = blk,target=/a,readonly\nsocket-mode = 0660\n"),
			 0);
	f = open_memstream(&text, &len);
	vg_settings_print(&s, f);
	fclose(f);
	assert_int_equal(load(text), 0);
	f = open_memstream(&again, &len);
	vg_settings_print(&s, f);
	fclose(f);
	assert_string_equal(text, again);
	assert_non_null(strstr(text, "config-dirs = /a\n  /b\n"));
	assert_non_null(strstr(text, "mode = 0644\n"));
	assert_non_null(strstr(text, "socket-mode = 0660\nweb = blk,target=/a,readonly\n"));
	free(text);
	free(again);
}

/* The command line takes no value that a file could not say: it would be another one there. */
static void values_that_no_file_can_say(void **state)
{
	static const char *const bad[] = { "/run/x\n",	"/run/\vx",
					   "/run/x ",	"/run/x\t",
					   "/run/x ;y", "/run/x\n[worker]\nsandbox = off" };

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		vg_settings_defaults(&s);
		assert_int_equal(vg_settings_set(&s, "runtime-dir", bad[i], &err), -EINVAL);
		assert_says("runtime-dir ");
		assert_string_equal(s.runtime_dir, "/run/vgrant");
		assert_int_equal(vg_settings_set(&s, "group", bad[i] + 5, &err), -EINVAL);
	}
	assert_int_equal(vg_settings_set(&s, "group", ";x", &err), -EINVAL);
	assert_int_equal(vg_settings_set(&s, "config-dirs", "/a ;/b", &err), -EINVAL);
	assert_int_equal(vg_settings_set(&s, "config-dirs", "/a\n/b", &err), -EINVAL);
	/* A list that is refused changes nothing. */
	vg_settings_defaults(&s);
	assert_int_equal(vg_settings_set(&s, "config-dirs", "/a b", &err), -EINVAL);
	assert_string_equal(s.config_dirs[1], "/etc/xen");
	assert_int_equal(vg_settings_set(&s, "config-dirs", " /a,/b\t", &err), 0);
	assert_string_equal(s.config_dirs[1], "/b");
	assert_null(s.config_dirs[2]);
}

static void users_and_groups_are_looked_up(void **state)
{
	uid_t uid = 0;
	gid_t gid;

	(void)state;
	vg_settings_defaults(&s);
	assert_int_equal(vg_settings_worker_ids(&s, &uid, &gid, &err), 0);
	assert_int_not_equal(uid, 0);
	assert_int_equal(vg_settings_set(&s, "user", "no-such-user", &err), 0);
	assert_int_equal(vg_settings_worker_ids(&s, &uid, &gid, &err), -ENOENT);
	assert_says("useradd --system no-such-user");
	assert_int_equal(vg_settings_group(&s, &gid, &err), 0);
	assert_int_equal(gid, (gid_t)-1);
	assert_int_equal(vg_settings_set(&s, "group", "root", &err), 0);
	assert_int_equal(vg_settings_group(&s, &gid, &err), 0);
	assert_int_equal(gid, 0);
	assert_int_equal(vg_settings_set(&s, "group", "no-such-group", &err), 0);
	assert_int_equal(vg_settings_group(&s, &gid, &err), -ENOENT);
}

static void random_bytes_do_no_harm(void **state)
{
	static const char good[] = "[daemon]\nlog-level = debug\n[guests]\nconfig-dirs = /a\n /b\n"
				   "[control]\nmode = 0660 ; x\n[limits]\ndevices = 7\n";
	char text[sizeof(good)];
	uint64_t x = 88172645463325252ULL;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		memcpy(text, good, sizeof(good));
		for (int k = 0; k <= round % 4; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			text[x % (sizeof(good) - 1)] = (char)(x >> 32);
		}
		if (load_bytes(text, sizeof(good) - 1) < 0)
			assert_string_not_equal(err.text, "");
	}
}

/* Full name of a file of the source tree: tests/run-unit says where the build is, two levels down. */
static const char *in_tree(const char *name)
{
	static char full[4096];
	const char *build = getenv("VGRANT_BUILD");

	snprintf(full, sizeof(full), "%s%s%s", build ? build : "", build ? "/../../" : "", name);
	return full;
}

static char *slurp(const char *name)
{
	static char text[1 << 17];
	FILE *f = fopen(in_tree(name), "r");

	if (!f)
		fail_msg("%s is not there: run the tests from the top of the source tree",
			 in_tree(name));
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void the_manual_and_the_example_name_every_key(void **state)
{
	(void)state;
	for (const struct vg_setting_key *k = vg_settings_keys; k->section; k++) {
		char want[96];

		assert_non_null(k->help);
		snprintf(want, sizeof(want), ".It Cm %s", k->key);
		if (!strstr(slurp("tools/man/vgrant.conf.5"), want))
			fail_msg("tools/man/vgrant.conf.5 has no \"%s\"", want);
		snprintf(want, sizeof(want), "\n#%s =", k->key);
		if (!strstr(slurp("configs/vgrantd.conf"), want))
			fail_msg("configs/vgrantd.conf does not show %s", k->key);
	}
	assert_int_equal(vg_settings_load(&s, in_tree("configs/vgrantd.conf"), &err), 0);
	assert_defaults();
}

/* Users for guests' workers: a number, a user's, or none. */
static void user_range(void **state)
{
	struct vg_settings set;
	struct vg_err why;
	uid_t uid = 1;

	(void)state;
	vg_settings_defaults(&set);
	snprintf(set.user_range, sizeof(set.user_range), "no-such-user-by-default");
	assert_int_equal(vg_settings_user_range(&set, &uid, &why), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(vg_settings_set(&set, "user-range-base", "458752", &why), 0);
	assert_int_equal(vg_settings_user_range(&set, &uid, &why), 0);
	assert_int_equal(uid, 458752);
	assert_int_equal(vg_settings_set(&set, "user-range-base", "nobody", &why), 0);
	assert_int_equal(vg_settings_user_range(&set, &uid, &why), 0);
	assert_int_equal(uid, 65534);
	assert_int_equal(vg_settings_set(&set, "user-range-base", "0", &why), 0);
	assert_int_equal(vg_settings_user_range(&set, &uid, &why), 0);
	assert_int_equal(uid, 0);
	/* Root's number is no place to begin at, nor one so high that guests' wrap around. */
	assert_int_equal(vg_settings_set(&set, "user-range-base", "root", &why), 0);
	assert_int_equal(vg_settings_user_range(&set, &uid, &why), -ERANGE);
	assert_int_equal(vg_settings_set(&set, "user-range-base", "4294967290", &why), 0);
	assert_int_equal(vg_settings_user_range(&set, &uid, &why), -ENOENT);
	assert_int_equal(vg_settings_set(&set, "user-range-base", "no-such-user", &why), 0);
	assert_int_equal(vg_settings_user_range(&set, &uid, &why), -ENOENT);
	assert_int_equal(uid, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_range),
		cmocka_unit_test(an_empty_file_leaves_the_defaults),
		cmocka_unit_test(only_the_standard_file_may_be_absent),
		cmocka_unit_test(every_key_can_be_set),
		cmocka_unit_test(mistakes_are_told_with_their_line),
		cmocka_unit_test(long_lines_and_lists),
		cmocka_unit_test(a_file_that_anyone_may_write_is_not_trusted),
		cmocka_unit_test(the_command_line_can_set_keys),
		cmocka_unit_test(what_is_printed_can_be_read_again),
		cmocka_unit_test(values_that_no_file_can_say),
		cmocka_unit_test(users_and_groups_are_looked_up),
		cmocka_unit_test(random_bytes_do_no_harm),
		cmocka_unit_test(the_manual_and_the_example_name_every_key),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
