/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.h - what benchmark clients of vhost-user share: the clock, a process's CPU time, the end
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Say @what failed with @error, an errno or its negative, and end. */
__attribute__((noreturn)) static void die(const char *what, int error)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
		strerror(error < 0 ? -error : error));
	exit(1);
}

/* Seconds of CLOCK_MONOTONIC. */
static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* CPU seconds of all threads of @pid, dead ones included: fields 14 and 15 of /proc/PID/stat. */
static double cpu_of(const char *pid)
{
	char path[64], text[1024];
	unsigned long user, system;
	char *after;
	FILE *s;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	s = fopen(path, "r");
	if (!s)
		die(path, errno);
	n = fread(text, 1, sizeof(text) - 1, s);
	text[n] = '\0';
	fclose(s);
	after = strrchr(text, ')');
	if (!after || sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			     &system) != 2)
		die(path, EPROTO);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

#endif /* BENCH_CLIENT_H */
