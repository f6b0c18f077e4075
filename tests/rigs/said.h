/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * said.h - what a test's own process writes to its standard error meanwhile
 */
#ifndef SAID_H
#define SAID_H

#include <stdio.h>
#include <unistd.h>

/* Between said_begin() and said_end(), which returns the text: valid until the next. One at a time. */
static FILE *said_file;
static int said_saved;

static inline void said_begin(void)
{
	said_file = tmpfile();
	said_saved = dup(STDERR_FILENO);
	assert_non_null(said_file);
	dup2(fileno(said_file), STDERR_FILENO);
}

static inline const char *said_end(void)
{
	static char text[4096];
	size_t n;

	dup2(said_saved, STDERR_FILENO);
	close(said_saved);
	rewind(said_file);
	n = fread(text, 1, sizeof(text) - 1, said_file);
	text[n] = '\0';
	fclose(said_file);
	return text;
}

#endif /* SAID_H */
