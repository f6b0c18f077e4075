// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * log.c - see log.h
 *
 * A line is formatted into one buffer and leaves with one write(2), so that the
 * lines of the supervisor and of its workers, which share stderr, never mix.
 * Under systemd (JOURNAL_STREAM is set) the line starts with <N>, which
 * journald takes as its priority.
 */
#include "backend/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/container.h"

static enum vg_log_target log_target = VG_LOG_STDERR;
static enum vg_log_level log_max = VG_LOG_INFO;
static char log_who[160];
static bool log_journal;

void vg_log_init(enum vg_log_target target, enum vg_log_level max, const char *who)
{
	log_target = target;
	log_max = max;
	snprintf(log_who, sizeof(log_who), "%s", who ? who : "");
	log_journal = getenv("JOURNAL_STREAM") != NULL;
	if (target == VG_LOG_SYSLOG) {
		/* Both open files, which a worker cannot do any more once it is in its sandbox. */
		tzset();
		closelog(); /* of whom we were forked from */
		openlog("vgrantd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	}
}

static const char *level_word(enum vg_log_level level)
{
	switch (level) {
	case VG_LOG_ERR:
		return "error: ";
	case VG_LOG_WARN:
		return "warning: ";
	default:
		return "";
	}
}

/* Control characters in a line (a guest's string, a path) must not reach a terminal. */
static void make_printable(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	}
}

__attribute__((format(printf, 2, 0))) static void log_line(enum vg_log_level level, const char *fmt,
							   va_list ap)
{
	char text[1024];
	char line[1280];
	int n;

	if (level > log_max)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	make_printable(text);
	if (log_target == VG_LOG_SYSLOG) {
		syslog((int)level, "%s%s%s", log_who, log_who[0] ? ": " : "", text);
		return;
	}
	if (log_journal)
		n = snprintf(line, sizeof(line), "<%d>%s%s%s\n", (int)level, log_who,
			     log_who[0] ? ": " : "", text);
	else
		n = snprintf(line, sizeof(line), "vgrantd: %s%s%s%s\n", log_who,
			     log_who[0] ? ": " : "", level_word(level), text);
	if (n > (int)sizeof(line) - 1)
		n = (int)sizeof(line) - 1;
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* nobody listens: nothing better to do */
}

void vg_log(enum vg_log_level level, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	log_line(level, fmt, ap);
	va_end(ap);
	errno = saved;
}

void vg_log_limited(struct vg_ratelimit *rl, enum vg_log_level level, const char *fmt, ...)
{
	struct timespec now;
	int saved = errno;
	va_list ap;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (rl->in_window == 0 || now.tv_sec - rl->window_start_s >= (time_t)rl->interval_s) {
		rl->window_start_s = now.tv_sec;
		rl->in_window = 0;
	}
	if (rl->in_window >= rl->burst) {
		rl->dropped++;
		return;
	}
	rl->in_window++;
	if (rl->dropped) {
		vg_log(level, "(%u more lines like the next were not logged)", rl->dropped);
		rl->dropped = 0;
	}
	va_start(ap, fmt);
	log_line(level, fmt, ap);
	va_end(ap);
	errno = saved;
}

int vg_fail(struct vg_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
		make_printable(err->text);
	}
	return code;
}

static const char *const level_words[] = {
	[VG_LOG_ERR] = "error",
	[VG_LOG_WARN] = "warning",
	[VG_LOG_INFO] = "info",
	[VG_LOG_DEBUG] = "debug",
};

int vg_log_level_parse(const char *word, enum vg_log_level *level)
{
	for (unsigned i = 0; i < COUNT(level_words); i++) {
		if (level_words[i] && strcmp(level_words[i], word) == 0) {
			*level = (enum vg_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *vg_log_level_word(enum vg_log_level level)
{
	return level_words[level];
}
