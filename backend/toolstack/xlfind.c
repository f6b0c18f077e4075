// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xlfind.c - see xlfind.h
 */
#include "backend/toolstack/xlfind.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/base/container.h"
#include "backend/toolstack/xlprocess.h"

enum {
	NAMES_MAX = 4096, /* files looked at in one folder */
	TOLD_MAX = 64,	  /* complaints remembered */
};

/* Complaints made, each about one state of one file. One thread reads configurations. */
static struct told {
	dev_t dev;
	ino_t ino;
	struct timespec mtime, ctime;
	int what; /* TOLD_*; 0: unused */
} told[TOLD_MAX];
static unsigned told_next;

static bool was_told(const struct stat *st, int what)
{
	for (unsigned i = 0; i < TOLD_MAX; i++) {
		const struct told *t = &told[i];

		if (t->what == what && t->dev == st->st_dev && t->ino == st->st_ino &&
		    memcmp(&t->mtime, &st->st_mtim, sizeof(t->mtime)) == 0 &&
		    memcmp(&t->ctime, &st->st_ctim, sizeof(t->ctime)) == 0)
			return true;
	}
	return false;
}

static void remember_told(const struct stat *st, int what)
{
	told[told_next++ % TOLD_MAX] =
		(struct told){ st->st_dev, st->st_ino, st->st_mtim, st->st_ctim, what };
}

enum { TOLD_BROKEN = 1, TOLD_TWICE = 2 };

/* Xen's own settings, which lie in /etc/xen beside the guests'. */
static bool is_xens_own(const char *name)
{
	static const char *const names[] = { "xl.conf", "oxenstored.conf", "xenstored.conf",
					     "cpupool" };

	for (unsigned i = 0; i < COUNT(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static bool is_leftover(const char *name)
{
	static const char *const ends[] = { "~", ".bak", ".old", ".orig", ".swp", ".sxp" };
	static const char *const parts[] = { ".dpkg-", ".rpm", ".ucf-" };
	size_t len = strlen(name);

	if (name[0] == '.' || is_xens_own(name))
		return true;
	for (unsigned i = 0; i < COUNT(ends); i++) {
		size_t n = strlen(ends[i]);

		if (len > n && strcmp(name + len - n, ends[i]) == 0)
			return true;
	}
	for (unsigned i = 0; i < COUNT(parts); i++) {
		if (strstr(name, parts[i]))
			return true;
	}
	return false;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of @dir that are worth a look, sorted. Return: how many, or -ENOMEM. */
static int list_dir(const char *dir, char **names)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	if (!d) {
		vg_debug("%s cannot be searched for guests' configurations: %s", dir,
			 strerror(errno));
		return 0;
	}
	while ((e = readdir(d))) {
		if (e->d_type != DT_REG && e->d_type != DT_LNK && e->d_type != DT_UNKNOWN)
			continue;
		if (is_leftover(e->d_name))
			continue;
		if (n == NAMES_MAX) {
			vg_warn("%s has more than %d files: the rest is not searched for guests' "
				"configurations",
				dir, NAMES_MAX);
			break;
		}
		names[n] = strdup(e->d_name);
		if (!names[n])
			break;
		n++;
	}
	closedir(d);
	qsort(names, (size_t)n, sizeof(*names), by_bytes);
	return n;
}

/* What a search has come to. */
struct search {
	const char *name;
	size_t name_len;  /* without "--incoming" */
	const char *uuid; /* or NULL */
	struct vg_xlconf *found;
	bool by_uuid; /* found is */
	struct stat found_st;
	const char *const *settings; /* that stand behind the file's, ended by NULL; or NULL */
	bool of_xl;		     /* named by a command line: it need not be a configuration */
	int ret;		     /* -ENOMEM ends it */
	void (*broken)(void *ctx, const char *why); /* is told, instead of the log; or NULL */
	void *broken_ctx;
};

/* As libxl reads them: case and dashes do not matter. */
static bool is_uuid(const char *a, const char *b)
{
	for (;; a++, b++) {
		a += strspn(a, "-");
		b += strspn(b, "-");
		if (!*a || tolower((unsigned char)*a) != tolower((unsigned char)*b))
			return !*a && !*b;
	}
}

/* A uuid says more than a name: what was found by one gives way. Return: is @conf what is looked for? */
static bool is_wanted(struct search *s, const struct vg_xlconf *conf)
{
	bool by_uuid = s->uuid && conf->uuid[0] && is_uuid(conf->uuid, s->uuid);
	bool by_name =
		strlen(conf->name) == s->name_len && strncmp(conf->name, s->name, s->name_len) == 0;

	if (by_uuid && !s->by_uuid) {
		vg_xlconf_free(s->found);
		s->found = NULL;
		s->by_uuid = true;
	}
	return by_uuid || (by_name && !s->by_uuid);
}

static void look_at(struct search *s, const char *path)
{
	struct vg_xlconf *conf = NULL;
	struct vg_err why;
	struct stat st;
	int ret;

	/* Folders behind links, and files that are gone by now, are nobody's mistake. */
	if (stat(path, &st) < 0 || S_ISDIR(st.st_mode) || was_told(&st, TOLD_BROKEN))
		return;
	ret = vg_xlconf_read_with(path, s->settings, &conf, &why);
	if (ret == -ENOMEM) {
		s->ret = ret;
		return;
	}
	if (!conf && s->of_xl && ret != -EPERM)
		return;
	if (!conf) {
		remember_told(&st, TOLD_BROKEN);
		if (s->broken)
			s->broken(s->broken_ctx, why.text);
		else
			vg_warn("passed over in the search for guests' configurations: %s",
				why.text);
		return;
	}
	if (!is_wanted(s, conf)) {
		vg_xlconf_free(conf);
		return;
	}
	if (!s->found) {
		s->found = conf;
		s->found_st = st;
		return;
	}
	if ((st.st_dev != s->found_st.st_dev || st.st_ino != s->found_st.st_ino) &&
	    !was_told(&st, TOLD_TWICE)) {
		remember_told(&st, TOLD_TWICE);
		vg_warn("%s and %s both say %s = \"%s\": the first counts; change that in "
			"one, or move the other elsewhere",
			s->found->path, path, s->by_uuid ? "uuid" : "name",
			s->by_uuid ? conf->uuid : conf->name);
	}
	vg_xlconf_free(conf);
}

static void search_dir(struct search *s, const char *dir)
{
	char **names = calloc(NAMES_MAX, sizeof(*names));
	int n;

	if (!names) {
		s->ret = -ENOMEM;
		return;
	}
	n = list_dir(dir, names);
	if (n < 0)
		s->ret = n;
	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (s->ret == 0 && asprintf(&path, "%s/%s", dir, names[i]) < 0)
			s->ret = -ENOMEM;
		if (s->ret == 0)
			look_at(s, path);
		free(path);
		free(names[i]);
	}
	free(names);
}

/* "/etc/xen/auto, /etc/xen" for a sentence */
static const char *dirs_text(const char *const *dirs, char *buf, size_t len)
{
	size_t used = 0;

	buf[0] = '\0';
	for (; *dirs && used < len; dirs++)
		used += (size_t)snprintf(buf + used, len - used, "%s%s", used ? ", " : "", *dirs);
	return buf;
}

size_t vg_xlfind_name_len(const char *name)
{
	static const char incoming[] = "--incoming";
	size_t len = strlen(name), n = sizeof(incoming) - 1;

	return len > n && strcmp(name + len - n, incoming) == 0 ? len - n : len;
}

static bool look_at_call(void *ctx, const char *file, const char *const *settings)
{
	struct search *s = ctx;

	s->settings = settings;
	look_at(s, file);
	return s->found || s->ret < 0;
}

/* What a search came to. Return: as vg_xlfind(). */
static int outcome(struct search *s, const char *where, struct vg_xlconf **out, struct vg_err *err)
{
	if (s->ret < 0) {
		vg_xlconf_free(s->found);
		return vg_fail(err, s->ret, "out of memory");
	}
	if (!s->found)
		return vg_fail(err, -ENOENT, "no file in %s says name = \"%.*s\"", where,
			       (int)s->name_len, s->name);
	*out = s->found;
	return 0;
}

static struct search search_for(const char *name, const char *uuid)
{
	return (struct search){ .name = name,
				.name_len = vg_xlfind_name_len(name),
				.uuid = uuid && *uuid ? uuid : NULL };
}

int vg_xlfind_in(const char *const *dirs, const char *name, const char *uuid,
		 struct vg_xlconf **out, struct vg_err *err)
{
	struct search s = search_for(name, uuid);
	char where[120];

	if (s.name_len == 0)
		return vg_fail(err, -ENOENT, "the guest has no name");
	for (const char *const *d = dirs; *d && s.ret == 0; d++)
		search_dir(&s, *d);
	return outcome(&s, dirs_text(dirs, where, sizeof(where)), out, err);
}

int vg_xlfind(const char *const *dirs, const char *name, const char *uuid, struct vg_xlconf **out,
	      struct vg_err *err)
{
	struct search s = search_for(name, uuid);
	int ret;

	s.of_xl = true;
	if (s.name_len && s.ret == 0)
		s.ret = vg_xlprocess_each(look_at_call, &s);
	ret = outcome(&s, "xl's hands", out, err);
	return ret == -ENOENT ? vg_xlfind_in(dirs, name, uuid, out, err) : ret;
}

void vg_xlfind_broken(const char *const *dirs, void (*tell)(void *ctx, const char *why), void *ctx)
{
	/* A name that no file has. */
	struct search s = { .name = "/", .name_len = 1, .broken = tell, .broken_ctx = ctx };

	for (const char *const *d = dirs; *d && s.ret == 0; d++)
		search_dir(&s, *d);
	vg_xlconf_free(s.found);
}
