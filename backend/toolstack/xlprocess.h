/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xlprocess.h - what the xl processes that run were told
 *
 * xl writes down nowhere which file it made a guest from. But the process stays for as long as the guest,
 * to start it again, and its command line is there to be read: `xl create -c web.cfg 'name="other"'`.
 */
#ifndef VG_XLPROCESS_H
#define VG_XLPROCESS_H

#include <stdbool.h>

/**
 * vg_xlprocess_each - call @look for each file that an `xl create` or `xl restore` may have read
 * @look: @file is an absolute path, which need not be a configuration, nor exist (xl's options have values,
 *	  too, and a saved guest is named the same way); @settings are what the command line sets behind the
 *	  file ("name=\"other\""), ended by NULL. Both are valid until it returns. True ends the search. It may
 *	  be called again for the same file.
 *
 * The process that was started last comes first. Only those count that root started, from a program xl that
 * nobody else can write to: for what they name is opened with our rights.
 *
 * A file that was named without its folder is looked for where xl was called. To know that, and which
 * program a process runs, takes CAP_SYS_PTRACE, or a process that may do no more than we: without it there
 * is none to be seen.
 *
 * Return: 0 or -ENOMEM.
 */
int vg_xlprocess_each(bool (*look)(void *ctx, const char *file, const char *const *settings),
		      void *ctx);

#endif /* VG_XLPROCESS_H */
