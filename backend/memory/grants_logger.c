// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * grants_logger.c - what Xen's libraries say, see grants.h
 */
#include <stdarg.h>
#include <stdio.h>

#include "backend/base/log.h"
#include "backend/memory/grants.h"

/* What fails is told by whoever asked, and not as often as a guest likes. */
__attribute__((format(printf, 5, 0))) static void quiet(struct xentoollog_logger *logger,
							xentoollog_level level, int errnoval,
							const char *context, const char *format,
							va_list al)
{
	char text[160];

	(void)logger;
	(void)level;
	(void)errnoval;
	vsnprintf(text, sizeof(text), format, al);
	vg_debug("%s: %s", context ? context : "libxen", text);
}

struct xentoollog_logger vg_xen_logger = { .vmessage = quiet };
