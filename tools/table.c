// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * table.c - tables for people, whose columns are as wide as they must be
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "tools/vgrant.h"

/* Characters that show: UTF-8's continuation bytes take no place. */
static bool is_shown(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += is_shown(*s);
	return n;
}

size_t vgrant_cut(const char *line, unsigned width)
{
	size_t n = 0, at = 0;

	for (; line[at]; at++) {
		n += is_shown(line[at]);
		if (n > width)
			break;
	}
	return at;
}

/* One more, which is NULL, at *@list. Return: where. */
static char **one_more(char ***list, unsigned *n)
{
	char **more = reallocarray(*list, *n + 1, sizeof(**list));

	if (!more)
		return NULL;
	*list = more;
	more[*n] = NULL;
	return &more[(*n)++];
}

void vgrant_table_add(struct vgrant_table *t, const char *text)
{
	char **cell = one_more(&t->cells, &t->n_cells);

	if (cell)
		*cell = strdup(vgrant_printable(text));
	if (!cell || !*cell)
		t->short_of_memory = true;
	if (t->n_cells % t->n_columns == 0 && !one_more(&t->below, &t->n_below))
		t->short_of_memory = true;
}

void vgrant_table_below(struct vgrant_table *t, const char *text)
{
	if (*text && t->n_below)
		t->below[t->n_below - 1] = strdup(vgrant_printable(text));
}

static void pad(FILE *out, size_t n)
{
	while (n--)
		putc(' ', out);
}

static void print_cell(const struct vgrant_table *t, unsigned c, const char *text, size_t width,
		       FILE *out)
{
	size_t gap = width - width_of(text);
	bool last = c == t->n_columns - 1;

	if (last && !*text)
		return;
	if (c)
		pad(out, 2);
	if (t->columns[c].right)
		pad(out, gap);
	fputs(text, out);
	if (!t->columns[c].right && !last)
		pad(out, gap);
}

static size_t width_of_column(const struct vgrant_table *t, unsigned c)
{
	size_t width = width_of(t->columns[c].title);

	for (unsigned i = c; i < t->n_cells; i += t->n_columns) {
		if (width_of(t->cells[i]) > width)
			width = width_of(t->cells[i]);
	}
	return width;
}

static void print(const struct vgrant_table *t, const size_t *width, FILE *out)
{
	for (unsigned c = 0; c < t->n_columns; c++)
		print_cell(t, c, t->columns[c].title, width[c], out);
	putc('\n', out);
	for (unsigned i = 0; i < t->n_below; i++) {
		for (unsigned c = 0; c < t->n_columns; c++)
			print_cell(t, c, t->cells[i * t->n_columns + c], width[c], out);
		putc('\n', out);
		if (t->below[i])
			fprintf(out, "%*s%s\n", (int)width[0] + 2, "", t->below[i]);
	}
}

int vgrant_table_print(struct vgrant_table *t, FILE *out)
{
	size_t *width = calloc(t->n_columns, sizeof(*width));
	bool whole = width && !t->short_of_memory;

	for (unsigned c = 0; whole && c < t->n_columns; c++)
		width[c] = width_of_column(t, c);
	if (whole)
		print(t, width, out);
	else
		vgrant_complain("out of memory");
	for (unsigned i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	for (unsigned i = 0; i < t->n_below; i++)
		free(t->below[i]);
	free(t->cells);
	free(t->below);
	free(width);
	t->cells = t->below = NULL;
	t->n_cells = t->n_below = 0;
	return whole ? VGRANT_OK : VGRANT_FAILED;
}

const char *vgrant_short_name(struct json_object *dev)
{
	bool usual = strcmp(vgrant_text(dev, "kind"), "virtio") == 0;

	return vgrant_text(dev, usual ? "id" : "name");
}
