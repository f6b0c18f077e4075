// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xlprocess.c - see xlprocess.h
 *
 * Of /proc/PID the name `comm` is cheap, and says little: a process may call itself what it likes, and
 * whoever starts a program with root's rights (su) may choose what it is called and its words. So `exe`
 * decides, which is the program itself.
 *
 * While it makes a guest xl is in the folder where it was called. Then it goes to / (daemon(3)), and what is
 * left of that folder is PWD, as a shell sets it; Debian's /usr/sbin/xl is a script of such a shell.
 */
#include "backend/toolstack/xlprocess.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"

enum {
	XLS_MAX = 1024,	      /* processes: one a guest */
	TEXT_MAX = 128 << 10, /* bytes of a command line or an environment that are read */
	WORDS_MAX = 256,      /* of a command line */
	TRIES = 8,	      /* looks at all of them, while some process ends */
};

struct xl {
	char pid[16];
	uint64_t start; /* ticks since the machine's start: proc_pid_stat(5), field 22 */
};

/* One command line, taken apart. */
struct call {
	char *text;
	const char *settings[WORDS_MAX + 1];
	unsigned n_settings;
	const char *files[WORDS_MAX];
	unsigned n_files;
};

/* ---- /proc/PID ------------------------------------------------------------------ */

/* Its file @name; two NULs follow. Return: the text, to be freed; or NULL. */
static char *slurp(int proc, const char *name)
{
	int fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
	char *text = fd < 0 ? NULL : calloc(1, TEXT_MAX + 2);
	size_t len = 0;
	ssize_t n;

	while (text && len < TEXT_MAX) {
		n = read(fd, text + len, TEXT_MAX - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	return text;
}

/* To read it is asked of nobody, which `stat` is: AppArmor logs each process that we may not look at. */
static bool calls_itself_xl(int proc)
{
	int fd = openat(proc, "comm", O_RDONLY | O_CLOEXEC);
	char comm[4]; /* one more than of that name: a longer one is seen to be longer */
	ssize_t n = fd < 0 ? -1 : read(fd, comm, sizeof(comm));

	if (fd >= 0)
		close(fd);
	return n == 3 && memcmp(comm, "xl\n", 3) == 0;
}

/* Return: when it was started; 0: it has ended. */
static uint64_t start_of(int proc)
{
	char *stat = slurp(proc, "stat");
	const char *end = stat ? strrchr(stat, ')') : NULL;
	bool is_zombie = end && end[1] && end[2] == 'Z';
	uint64_t start = 0;

	/* Field 2 ends at the parenthesis. */
	for (unsigned field = 2; end && field < 22; field++)
		end = strchr(end + 1, ' ');
	if (end && !is_zombie)
		start = strtoull(end + 1, NULL, 10);
	free(stat);
	return start;
}

static bool is_trusted(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

/* Is it xl, and root's? */
static bool is_xl(int proc)
{
	char path[PATH_MAX];
	const char *base;
	struct stat st;
	ssize_t n;

	if (fstat(proc, &st) < 0 || !is_trusted(&st))
		return false;
	if (fstatat(proc, "exe", &st, 0) < 0 || !is_trusted(&st) || (st.st_mode & 022))
		return false;
	n = readlinkat(proc, "exe", path, sizeof(path) - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	base = strrchr(path, '/');
	/* The latter when Xen was upgraded meanwhile. */
	return base && (strcmp(base, "/xl") == 0 || strcmp(base, "/xl (deleted)") == 0);
}

/* The folder where it was called. Return: to be freed; or NULL: not known, or no memory. */
static char *folder_of(int proc)
{
	char path[PATH_MAX], *env, *found = NULL;
	ssize_t n = readlinkat(proc, "cwd", path, sizeof(path) - 1);

	if (n > 1) {
		path[n] = '\0';
		return strdup(path);
	}
	env = slurp(proc, "environ");
	for (const char *p = env; p && *p && !found; p += strlen(p) + 1) {
		if (strncmp(p, "PWD=/", 5) == 0)
			found = strdup(p + 4);
	}
	free(env);
	return found;
}

/* ---- the command line ----------------------------------------------------------- */

/* As xl takes its commands: by the beginning. "c" and "r" begin others, too. */
static bool makes_guests(const char *word)
{
	size_t n = strlen(word);

	return n > 1 && (strncmp("create", word, n) == 0 || strncmp("restore", word, n) == 0);
}

/* Is @word an option that the name of a file follows (*@file: NULL), or that has it? */
static bool is_file_option(const char *word, const char **file)
{
	static const char defconfig[] = "--defconfig";
	size_t n = sizeof(defconfig) - 1;
	bool is_long = strncmp(word, defconfig, n) == 0;

	*file = NULL;
	if (is_long && word[n] == '=')
		*file = word + n + 1;
	else if (strncmp(word, "-f", 2) == 0 && word[2])
		*file = word + 2;
	return *file || (is_long && !word[n]) || strcmp(word, "-f") == 0;
}

/* What stands behind the command: xl(1), "xl [options] create [configfile] [options] [key=value ...]". */
static void take_apart(struct call *c, const char *word)
{
	unsigned n = 0;

	for (; *word && n < WORDS_MAX; word += strlen(word) + 1, n++) {
		const char *file;

		if (is_file_option(word, &file)) {
			if (!file && word[strlen(word) + 1])
				file = word += strlen(word) + 1;
			if (file)
				c->files[c->n_files++] = file;
		} else if (*word == '-') {
			continue;
		} else if (strchr(word, '=')) {
			c->settings[c->n_settings++] = word;
		} else {
			c->files[c->n_files++] = word;
		}
	}
}

/* Return: was it told to make a guest? Then @c->text is to be freed. */
static bool read_call(int proc, struct call *c)
{
	const char *word;

	c->text = slurp(proc, "cmdline");
	if (!c->text)
		return false;
	word = c->text;
	do
		word += strlen(word) + 1;
	while (*word == '-');
	if (makes_guests(word)) {
		take_apart(c, word + strlen(word) + 1);
		return true;
	}
	free(c->text);
	return false;
}

/* ---- all of them ---------------------------------------------------------------- */

static int newest_first(const void *a, const void *b)
{
	const struct xl *x = a, *y = b;

	return (x->start < y->start) - (x->start > y->start);
}

static int open_proc(const char *pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%.16s", pid);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Return: how many call themselves xl, at most XLS_MAX, in @list; *@gone: some process has ended meanwhile. */
static unsigned list_xls(struct xl *list, bool *gone)
{
	DIR *d = opendir("/proc");
	unsigned n = 0;
	struct dirent *e;

	*gone = false;
	while (d && n < XLS_MAX && (e = readdir(d))) {
		int proc;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		proc = open_proc(e->d_name);
		*gone = *gone || proc < 0;
		if (proc >= 0 && calls_itself_xl(proc)) {
			list[n].start = start_of(proc);
			*gone = *gone || !list[n].start;
			snprintf(list[n++].pid, sizeof(list->pid), "%.15s", e->d_name);
		}
		if (proc >= 0)
			close(proc);
	}
	if (d)
		closedir(d);
	qsort(list, n, sizeof(*list), newest_first);
	return n;
}

/* Return: 1: @look is satisfied; 0; or -ENOMEM. */
static int show_files(const struct call *c, const char *folder,
		      bool (*look)(void *ctx, const char *file, const char *const *settings),
		      void *ctx)
{
	bool enough = false;

	for (unsigned i = 0; i < c->n_files && !enough; i++) {
		bool absolute = c->files[i][0] == '/';
		char *path;

		if (!absolute && !folder)
			continue;
		if (asprintf(&path, "%s%s%s", absolute ? "" : folder, absolute ? "" : "/",
			     c->files[i]) < 0)
			return -ENOMEM;
		enough = look(ctx, path, c->settings);
		free(path);
	}
	return enough;
}

/* Return: as show_files(); *@gone: as list_xls(), until the last was looked at. */
static int show_all(struct xl *list, struct call *c,
		    bool (*look)(void *ctx, const char *file, const char *const *settings),
		    void *ctx, bool *gone)
{
	unsigned n = list_xls(list, gone);
	int ret = 0;

	for (unsigned i = 0; i < n && ret == 0; i++) {
		int proc = open_proc(list[i].pid);

		memset(c, 0, sizeof(*c));
		if (proc >= 0 && is_xl(proc) && read_call(proc, c)) {
			char *folder = folder_of(proc);

			ret = show_files(c, folder, look, ctx);
			free(folder);
			free(c->text);
		}
		*gone = *gone || proc < 0 || start_of(proc) != list[i].start;
		if (proc >= 0)
			close(proc);
	}
	return ret;
}

int vg_xlprocess_each(bool (*look)(void *ctx, const char *file, const char *const *settings),
		      void *ctx)
{
	struct xl *list = calloc(XLS_MAX, sizeof(*list));
	struct call *c = calloc(1, sizeof(*c));
	int ret = list && c ? 0 : -ENOMEM;
	bool gone = ret == 0;

	/* One that has ended goes on as its child (daemon(3)), which the list may not have. */
	for (unsigned i = 0; i < TRIES && ret == 0 && gone; i++)
		ret = show_all(list, c, look, ctx, &gone);
	free(list);
	free(c);
	return ret < 0 ? ret : 0;
}
