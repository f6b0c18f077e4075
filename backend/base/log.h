/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.h - the one logger and the one error voice
 *
 * A line goes to stderr with systemd's <N> level prefix when that helps, or to
 * syslog. Every process names itself once (vg_log_init); a worker's lines thus
 * carry guest and device without each caller repeating them.
 */
#ifndef VG_LOG_H
#define VG_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum vg_log_level { VG_LOG_ERR = 3, VG_LOG_WARN = 4, VG_LOG_INFO = 6, VG_LOG_DEBUG = 7 };

enum vg_log_target { VG_LOG_STDERR, VG_LOG_SYSLOG };

/**
 * vg_log_init - say where lines go and who speaks
 * @target: stderr or syslog
 * @max: least important level that is printed
 * @who: put before every line, e.g. "guest web (7) blk 0"; copied, cut at 159 bytes; NULL for none
 */
void vg_log_init(enum vg_log_target target, enum vg_log_level max, const char *who);

/** vg_log - print one line; keeps errno */
void vg_log(enum vg_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define vg_error(...) vg_log(VG_LOG_ERR, __VA_ARGS__)
#define vg_warn(...)  vg_log(VG_LOG_WARN, __VA_ARGS__)
#define vg_info(...)  vg_log(VG_LOG_INFO, __VA_ARGS__)
#define vg_debug(...) vg_log(VG_LOG_DEBUG, __VA_ARGS__)

/** vg_log_level_parse - "error", "warning", "info", "debug". Return: 0 or -EINVAL. */
int vg_log_level_parse(const char *word, enum vg_log_level *level);

/** vg_log_level_word - the word that vg_log_level_parse() takes for @level */
const char *vg_log_level_word(enum vg_log_level level);

/* At most @burst lines per @interval_s seconds; how many were dropped is told by the next one. */
struct vg_ratelimit {
	unsigned interval_s;
	unsigned burst;
	int64_t window_start_s;
	unsigned in_window;
	unsigned dropped;
};

#define VG_RATELIMIT_INIT                    \
	{                                    \
		.interval_s = 10, .burst = 3 \
	}

/** vg_log_limited - vg_log() for what a guest can provoke */
void vg_log_limited(struct vg_ratelimit *rl, enum vg_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * A sentence for the user: what is wrong and what to do about it. Functions
 * that fail for a reason a user can mend fill one in and return the errno.
 */
struct vg_err {
	char text[256];
};

/**
 * vg_fail - fill @err and return @code
 * @err: may be NULL: the sentence is then dropped
 * @code: negative errno
 *
 * Return: @code, so that callers write `return vg_fail(err, -EINVAL, ...);`
 */
int vg_fail(struct vg_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* VG_LOG_H */
