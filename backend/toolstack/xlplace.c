// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xlplace.c - see xlplace.h; the grammar is that of libxlu_cfg_l.l and libxlu_cfg_y.y
 */
#include "backend/toolstack/xlplace.h"

#include <ctype.h>
#include <string.h>

struct scan {
	const char *at;
	struct vg_xl_place place; /* of at */
	unsigned depth;		  /* of brackets */
};

static void step(struct scan *s)
{
	if (*s->at == '\n') {
		s->place.line++;
		s->place.column = 1;
	} else {
		s->place.column++;
	}
	s->at++;
}

/* A string is of one line, in either kind of quotes; a backslash takes the next character along. */
static void skip_string(struct scan *s)
{
	char quote = *s->at;

	step(s);
	while (*s->at && *s->at != quote && *s->at != '\n') {
		if (*s->at == '\\' && s->at[1] && s->at[1] != '\n')
			step(s);
		step(s);
	}
	if (*s->at == quote)
		step(s);
}

static void skip_blanks(struct scan *s)
{
	while (*s->at == ' ' || *s->at == '\t' || *s->at == '\r')
		step(s);
}

/* At the beginning of a name: is it @key, assigned to? Goes on behind it. */
static bool assignment(struct scan *s, const char *key, bool *append)
{
	const char *name = s->at;
	size_t len;

	while (isalnum((unsigned char)*s->at) || *s->at == '_')
		step(s);
	len = (size_t)(s->at - name);
	skip_blanks(s);
	*append = s->at[0] == '+' && s->at[1] == '=';
	if (*append)
		step(s);
	if (*s->at != '=')
		return false;
	step(s);
	return strlen(key) == len && memcmp(name, key, len) == 0;
}

static void found(struct vg_xl_list *list, const struct vg_xl_place *where, bool append)
{
	if (append)
		return;
	list->n = 0;
	if (!list->first.line)
		list->first = *where;
	else
		list->again = *where;
}

void vg_xl_find(const char *text, const char *key, struct vg_xl_list *list)
{
	struct scan s = { .at = text, .place = { 1, 1 } };
	struct vg_xl_place where;
	bool of_key = false, append;

	list->first = list->again = (struct vg_xl_place){ 0, 0 };
	list->n = 0;
	while (*s.at) {
		where = s.place;
		if (*s.at == '#') {
			while (*s.at && *s.at != '\n')
				step(&s);
		} else if (*s.at == '\'' || *s.at == '"') {
			where.column++;
			if (of_key && list->items && list->n < list->max)
				list->items[list->n] = where;
			list->n += of_key;
			skip_string(&s);
		} else if (s.depth == 0 && (isalpha((unsigned char)*s.at) || *s.at == '_')) {
			of_key = assignment(&s, key, &append);
			if (of_key)
				found(list, &where, append);
		} else {
			if (*s.at == '[')
				s.depth++;
			else if (*s.at == ']' && s.depth)
				s.depth--;
			step(&s);
		}
	}
}
