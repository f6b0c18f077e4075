// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_probes.c - the probes that vgrantd(8) names are in the program, with their arguments
 *
 * readelf(1) reads the notes that <sys/sdt.h> leaves, as tracers do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/probe.h"

static char notes[1 << 20];

static int read_notes(void **state)
{
	const char *build = getenv("VGRANT_BUILD");
	char cmd[512];
	FILE *p;

	(void)state;
	snprintf(cmd, sizeof(cmd), "readelf -nW %s/vgrantd-fake", build ? build : "build/asan");
	p = popen(cmd, "r");
	if (!p)
		return -1;
	notes[fread(notes, 1, sizeof(notes) - 1, p)] = '\0';
	return pclose(p);
}

/* Provider vgrant has @name, each time with @n arguments ("8@%rax -4@$3"). */
static void there(const char *name, unsigned n)
{
	char head[96];
	unsigned found = 0;

	snprintf(head, sizeof(head), "Provider: vgrant\n    Name: %s\n", name);
	for (const char *at = notes; (at = strstr(at, head)); at += strlen(head)) {
		const char *arguments = strstr(at, "Arguments:");
		const char *end = arguments ? strchr(arguments, '\n') : NULL;
		unsigned args = 0;

		assert_non_null(end);
		for (const char *p = arguments; p < end; p++)
			args += *p == '@';
		assert_int_equal(args, n);
		found++;
	}
	if (!found)
		fail_msg("there is no probe %s: %s", name, notes);
}

static void all_that_the_manual_names(void **state)
{
	(void)state;
	if (!VG_HAS_PROBES)
		skip();
	there("kick", 1);
	there("pop", 3);
	there("submit", 5);
	there("complete", 5);
	there("notify", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_the_manual_names),
	};

	return cmocka_run_group_tests(tests, read_notes, NULL);
}
