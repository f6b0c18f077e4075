/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_mem.h - a guest's memory for a fuzzer of a device: in place, or copied
 *
 * Included by one file of a program. The same bytes are reached by fm_regions, as a VMM shares them, and
 * by fm_copied, which copies as Xen does, and of which a page can be revoked. All that the driver
 * shares comes from fm_arena; its rings from fm_flat.
 */
#ifndef FUZZ_MEM_H
#define FUZZ_MEM_H

#include <errno.h>
#include <string.h>

#include "backend/memory/data.h"
#include "backend/memory/regions.h"
#include "tests/driver/vring.h"
#include "tests/fuzz/fuzz.h"

enum { FM_BYTES = 2 << 20 };
#define FM_BASE 0x40000000ull /* its first guest address */

static uint8_t fm_memory[FM_BYTES] __attribute__((aligned(4096)));
static struct vg_regions fm_regions;
static struct vg_mem fm_copied;
static struct drv_mem_flat fm_flat;
static struct drv_buf fm_arena;
static uint64_t fm_revoked; /* a page that cannot be copied; 0: none */

static int fm_copy(struct vg_mem *mem, struct vg_copy *ops, unsigned n)
{
	int first = 0;

	(void)mem;
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = ops[i].addr - FM_BASE;

		MUST(ops[i].len);
		if (ops[i].addr < FM_BASE || at > FM_BYTES || ops[i].len > FM_BYTES - at ||
		    (fm_revoked && ops[i].addr < fm_revoked + 4096 &&
		     fm_revoked < ops[i].addr + ops[i].len)) {
			if (ops[i].error)
				*ops[i].error = -EFAULT;
			first = -EFAULT;
		} else if (ops[i].dir == VG_FROM_GUEST) {
			memcpy(ops[i].host, fm_memory + at, ops[i].len);
		} else {
			memcpy(fm_memory + at, ops[i].host, ops[i].len);
		}
	}
	return first;
}

static int fm_map(struct vg_mem *mem, uint64_t addr, size_t len, struct vg_map *out)
{
	(void)mem;
	return vg_mem_map(&fm_regions.mem, addr, len, out);
}

static void fm_unmap(struct vg_mem *mem, struct vg_map *map)
{
	(void)mem;
	vg_mem_unmap(&fm_regions.mem, map);
}

static const struct vg_mem_ops fm_copied_ops = { .copy = fm_copy,
						 .map = fm_map,
						 .unmap = fm_unmap };

/** fm_open() - once; @arena: bytes of fm_arena */
static inline void fm_open(size_t arena)
{
	MUST(drv_mem_flat_init(&fm_flat, fm_memory, FM_BASE, FM_BYTES) == 0);
	vg_regions_init(&fm_regions);
	MUST(vg_regions_add(&fm_regions, &(struct vg_region){ .guest_addr = FM_BASE,
							      .size = FM_BYTES,
							      .host = fm_memory }) == 0);
	MUST(drv_alloc(&fm_flat.mem, arena, 4096, true, &fm_arena) == 0);
	fm_copied.ops = &fm_copied_ops;
}

/** fm_begin() - for a run: memory in place, or copied with @bounce bytes to wait for; Return: which */
static inline struct vg_mem *fm_begin(bool in_place, size_t bounce)
{
	fm_revoked = 0;
	fm_copied.bounce = vg_bounce_new(bounce);
	MUST(fm_copied.bounce);
	return in_place ? &fm_regions.mem : &fm_copied;
}

static inline void fm_end(void)
{
	vg_bounce_free(fm_copied.bounce);
}

#endif /* FUZZ_MEM_H */
