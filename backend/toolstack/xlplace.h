/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xlplace.h - where in an xl configuration something stands
 *
 * libxlutil parses, but tells no place of what it parsed without a mistake. This looks at the text
 * again, for as much of the grammar as it takes: comments, strings, names that something is
 * assigned to.
 */
#ifndef VG_XLPLACE_H
#define VG_XLPLACE_H

#include <stdbool.h>

struct vg_xl_place {
	unsigned line, column; /* from 1; a tab is one column; 0: not known */
};

/* What is assigned to one name. */
struct vg_xl_list {
	struct vg_xl_place first; /* its first assignment with = */
	struct vg_xl_place again; /* another one, which replaces it; line 0: there is none */
	unsigned n;   /* strings in the value that counts, those that += adds included */
	unsigned max; /* of items */
	struct vg_xl_place *items; /* of the first character in each string's quotes; or NULL */
};

/** vg_xl_find - fill in @list, of which @max and @items are given, for the name @key in @text */
void vg_xl_find(const char *text, const char *key, struct vg_xl_list *list);

#endif /* VG_XLPLACE_H */
