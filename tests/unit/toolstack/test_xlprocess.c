// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_xlprocess.c - which file an xl that runs was told: processes that are called xl, in folders of their own
 *
 * The program xl is this one, copied: it waits to be ended.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/toolstack/xlfind.h"
#include "backend/toolstack/xlprocess.h"
#include "tests/rigs/said.h"

enum { XLS_MAX = 8 };

static char top[64], dir[80], xl[80];
static const char *dirs[] = { dir, NULL };
static pid_t xls[XLS_MAX];
static unsigned n_xls;
static struct vg_xlconf *conf;
static struct vg_err err;

static void copy_program(const char *to, mode_t mode)
{
	int in = open("/proc/self/exe", O_RDONLY),
	    out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0700);
	struct stat st;

	assert_true(in >= 0 && out >= 0);
	assert_int_equal(fstat(in, &st), 0);
	for (off_t at = 0; at < st.st_size;)
		assert_true(sendfile(out, in, &at, (size_t)(st.st_size - at)) > 0);
	assert_int_equal(fchmod(out, mode), 0);
	close(in);
	close(out);
}

static int setup(void **state)
{
	(void)state;
	strcpy(top, "/tmp/vgrant-xlprocess.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	sprintf(dir, "%s/etc", top);
	sprintf(xl, "%s/xl", top);
	copy_program(xl, 0755);
	err.text[0] = '\0';
	return mkdir(dir, 0755);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

/* With what they went on as. */
static void end_all(void)
{
	for (unsigned i = 0; i < n_xls; i++) {
		kill(-xls[i], SIGKILL);
		waitpid(xls[i], NULL, 0);
	}
	n_xls = 0;
}

static int teardown(void **state)
{
	(void)state;
	end_all();
	vg_xlconf_free(conf);
	conf = NULL;
	return nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, const char *text)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Start @program in @cwd with these words, the environment PWD=@pwd; it runs when this returns. */
static void start(const char *program, const char *cwd, const char *pwd, const char *const *words)
{
	char env[100];
	char *const envp[] = { env, NULL };
	int started[2];
	char byte;

	snprintf(env, sizeof(env), "PWD=%s", pwd);
	assert_int_equal(pipe(started), 0);
	assert_true(n_xls < XLS_MAX);
	xls[n_xls] = fork();
	if (xls[n_xls] == 0) {
		setpgid(0, 0);
		dup2(started[1], STDIN_FILENO);
		if (chdir(cwd) == 0)
			execve(program, (char *const *)(uintptr_t)words, envp);
		_exit(127);
	}
	n_xls++;
	close(started[1]);
	/* main() writes one when it is that program. */
	assert_int_equal(read(started[0], &byte, 1), 1);
	close(started[0]);
}

#define START(cwd, pwd, ...) start(xl, cwd, pwd, (const char *const[]){ "xl", __VA_ARGS__, NULL })

static int find(const char *name)
{
	vg_xlconf_free(conf);
	conf = NULL;
	return vg_xlfind(dirs, name, NULL, &conf, &err);
}

static void assert_found(const char *name, const char *file)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", top, file);
	assert_int_equal(find(name), 0);
	assert_string_equal(conf->path, path);
}

/* Nothing is found by @name. Return: what was logged meanwhile. */
static const char *log_of_search(const char *name)
{
	const char *log;
	int ret;

	said_begin();
	ret = find(name);
	log = said_end();
	assert_int_equal(ret, -ENOENT);
	return log;
}

/* ---- tests ---------------------------------------------------------------------- */

static void a_file_anywhere(void **state)
{
	char path[160];

	(void)state;
	put("web.cfg", "name='web'\n");
	assert_int_equal(find("web"), -ENOENT);
	snprintf(path, sizeof(path), "%s/web.cfg", top);
	START("/", "/", "create", path);
	assert_found("web", "web.cfg");
	assert_int_equal(find("other"), -ENOENT);
}

/* By where xl is; or where it was, when it has gone to / as daemons do. */
static void a_file_of_that_folder(void **state)
{
	(void)state;
	put("a.cfg", "name='a'\n");
	put("b.cfg", "name='b'\n");
	put("c.cfg", "name='c'\n");
	START(top, "/nowhere", "-vv", "cr", "-p", "a.cfg");
	START("/", top, "create", "-f", "b.cfg", "-q");
	START("/", top, "restore", "--defconfig=c.cfg", "c.save");
	assert_found("a", "a.cfg");
	assert_found("b", "b.cfg");
	assert_found("c", "c.cfg");
}

/* As xl reads it: behind the file's lines, in place of what they say. */
static void what_the_command_line_sets(void **state)
{
	(void)state;
	put("web.cfg", "name='web'\nvgrant=['rng']\n");
	START(top, "/", "create", "web.cfg", "name=\"second\"", "vgrant=[ 'rng', 'console' ]");
	assert_found("second", "web.cfg");
	assert_int_equal(conf->n_devices, 2);
	assert_int_equal(find("web"), -ENOENT);
}

/* Of the same name: a guest that was renamed since, and one that is made now. */
static void the_newest_counts_and_before_any_folder(void **state)
{
	(void)state;
	put("etc/web.cfg", "name='web'\n");
	assert_found("web", "etc/web.cfg");
	put("old.cfg", "name='web'\n");
	put("new.cfg", "name='web'\n");
	START(top, "/", "create", "old.cfg");
	assert_found("web", "old.cfg");
	usleep(50000); /* the kernel counts starts in hundredths of a second */
	START(top, "/", "create", "new.cfg");
	assert_found("web", "new.cfg");
}

/* Whatever else is on a command line, and what is no call that makes a guest. */
static void nothing_else_is_a_file(void **state)
{
	(void)state;
	put("web.cfg", "name='web'\n");
	put("broken.cfg", "name = [\n");
	START(top, "/", "c", "web.cfg");
	START(top, "/", "list", "web.cfg");
	START(top, "/", "create", "name='web'", "-V", "none.cfg", "etc", "broken.cfg", "/");
	START(top, "/", "create");
	START("/", "relative", "create", "web.cfg");
	START("/", "/", "create", "web.cfg", "-f");
	assert_string_equal(log_of_search("web"), "");
}

/* Who may start a program of root's chooses its words; who may write to a program, what it does. */
static void only_xl_is_believed(void **state)
{
	char other[100];

	(void)state;
	put("web.cfg", "name='web'\n");
	snprintf(other, sizeof(other), "%s/su", top);
	copy_program(other, 0755);
	start(other, top, "/", (const char *const[]){ "xl", "create", "web.cfg", NULL });
	snprintf(other, sizeof(other), "%s/bin", top);
	assert_int_equal(mkdir(other, 0755), 0);
	strcat(other, "/xl");
	copy_program(other, 0777);
	start(other, top, "/", (const char *const[]){ "xl", "create", "web.cfg", NULL });
	assert_int_equal(find("web"), -ENOENT);
	START(top, "/", "create", "web.cfg");
	assert_found("web", "web.cfg");
}

/* xl goes on as a child of its own when the guest is made, which may be just when it is looked for. */
static void one_that_goes_on_as_its_child(void **state)
{
	(void)state;
	put("web.cfg", "name='web'\n");
	for (unsigned i = 0; i < 30; i++) {
		START(top, "/", "create", "flee=1", "web.cfg");
		assert_found("web", "web.cfg");
		end_all();
	}
}

static void a_user_is_not_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	put("web.cfg", "name='web'\n");
	assert_int_equal(chmod(top, 0755), 0);
	START(top, "/", "create", "as=1", "web.cfg");
	assert_int_equal(find("web"), -ENOENT);
}

static void a_file_that_others_may_write_is_not_trusted(void **state)
{
	char path[160];

	(void)state;
	put("web.cfg", "name='web'\n");
	snprintf(path, sizeof(path), "%s/web.cfg", top);
	assert_int_equal(chmod(path, 0666), 0);
	START(top, "/", "create", "web.cfg");
	assert_non_null(
		strstr(log_of_search("web"), "web.cfg could be written by others than root"));
}

/* As the program xl: say that it runs, as another user if it was told to be one, and wait; or go on as a child. */
static int be_xl(char **words)
{
	unsigned flees = 0;

	for (; *words; words++) {
		if (strcmp(*words, "flee=1") == 0)
			flees = 3;
		if (strcmp(*words, "as=1") == 0 && setuid(1) < 0)
			return 1;
	}
	if (write(STDIN_FILENO, "", 1) != 1)
		return 1;
	for (; flees; flees--) {
		usleep(2000);
		if (fork() > 0)
			_exit(0);
	}
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_of_that_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_command_line_sets, setup, teardown),
		cmocka_unit_test_setup_teardown(the_newest_counts_and_before_any_folder, setup,
						teardown),
		cmocka_unit_test_setup_teardown(nothing_else_is_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(only_xl_is_believed, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_goes_on_as_its_child, setup, teardown),
		cmocka_unit_test_setup_teardown(a_user_is_not_root, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_others_may_write_is_not_trusted, setup,
						teardown),
	};

	if (argc > 1 && strcmp(argv[0], "xl") == 0)
		return be_xl(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
