// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ini.c - see ini.h
 */
#include "backend/daemon/ini.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct state {
	const struct vg_ini_ops *ops;
	void *ctx;
	int line;
	char *section, *name; /* NULL: none yet */
};

static bool is_blank(char c)
{
	return isspace((unsigned char)c);
}

/* @text without blanks at either end, cut in place. */
static char *trim(char *text)
{
	char *end;

	while (is_blank(*text))
		text++;
	end = text + strlen(text);
	while (end > text && is_blank(end[-1]))
		*--end = '\0';
	return text;
}

/* The first of @chars in @text, before a comment; or where that, or the text, ends. */
static char *find(char *text, const char *chars)
{
	bool blank = false;

	while (*text && !strchr(chars, *text) && !(blank && *text == ';')) {
		blank = is_blank(*text);
		text++;
	}
	return text;
}

/* A value, without the comment behind it. */
static char *value_of(char *text)
{
	*find(text, "") = '\0';
	return trim(text);
}

static int keep(char **where, const char *text)
{
	free(*where);
	*where = text ? strdup(text) : NULL;
	return text && !*where ? -ENOMEM : 0;
}

static int one_line(struct state *s, char *text, size_t len)
{
	const char *section = s->section ? s->section : "";
	bool indented, nul = strlen(text) != len;
	char *start, *end;
	int ret = 0;

	if (s->line == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
		text += 3;
	indented = is_blank(text[0]);
	start = trim(text);
	if (*start == '#' || *start == ';' || (!*start && !nul))
		return 0;
	if (nul || len > VG_INI_LINE_MAX) {
		s->ops->wrong(
			s->ctx, s->line,
			nul ? "there is a NUL byte in the line"
			    : "the line is longer than 65536 characters; continue a list on the "
			      "next line, after a blank");
		return 0;
	}
	if (indented && s->name) {
		s->ops->pair(s->ctx, s->line, section, s->name, value_of(start));
		return 0;
	}
	if (*start == '[') {
		end = find(start + 1, "]");
		if (*end == ']') {
			*end = '\0';
			ret = keep(&s->section, start + 1);
			return ret < 0 ? ret : keep(&s->name, NULL);
		}
	}
	end = find(start, "=:");
	if (*start == '[' || (*end != '=' && *end != ':')) {
		s->ops->wrong(s->ctx, s->line,
			      "this is neither [section], nor key = value, nor a # comment");
		return 0;
	}
	*end = '\0';
	ret = keep(&s->name, trim(start));
	if (ret == 0)
		s->ops->pair(s->ctx, s->line, section, s->name, value_of(end + 1));
	return ret;
}

int vg_ini_read(FILE *file, const struct vg_ini_ops *ops, void *ctx)
{
	struct state s = { .ops = ops, .ctx = ctx };
	char *text = NULL;
	size_t size = 0;
	ssize_t len;
	int ret = 0;

	while (ret == 0 && (len = getline(&text, &size, file)) > 0) {
		s.line++;
		ret = one_line(&s, text, (size_t)len);
	}
	if (ret == 0 && ferror(file))
		ret = -EIO;
	free(text);
	free(s.section);
	free(s.name);
	return ret;
}
