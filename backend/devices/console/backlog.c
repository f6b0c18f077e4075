// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * backlog.c - what a guest has said and nobody has read yet: a ring of bytes
 */
#include "backend/devices/console/int.h"

static uint32_t place(uint64_t count)
{
	return (uint32_t)(count % VG_LIMIT_CONSOLE_BYTES);
}

void console_kept_check(struct console_kept *k)
{
	if (k->put < k->got || k->put - k->got > VG_LIMIT_CONSOLE_BYTES)
		k->put = k->got = 0;
}

void console_kept_forget(struct console_kept *k, uint32_t n)
{
	k->got += n;
}

uint32_t console_kept_next(struct console_kept *k, uint32_t n, uint8_t **at)
{
	uint32_t room = console_kept_room(k), to_end = VG_LIMIT_CONSOLE_BYTES - place(k->put);

	*at = k->bytes + place(k->put);
	if (n > room)
		n = room;
	return n < to_end ? n : to_end;
}

uint32_t console_kept_first(const struct console_kept *k, const uint8_t **at)
{
	uint32_t n = console_kept_n(k), to_end = VG_LIMIT_CONSOLE_BYTES - place(k->got);

	*at = k->bytes + place(k->got);
	return n < to_end ? n : to_end;
}
