// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * table.h - locks, a grant table, pages and bitmaps, for one test program
 *
 * What kernel.h and dma.h declare and every test of the module wants in the same way. The test
 * includes it after dma.h and after the module's files, once.
 */
#ifndef KERNEL_TABLE_H
#define KERNEL_TABLE_H

#include "dma.h"

/* ---- locks ----------------------------------------------------------------- */

/*
 * How often a lock was taken that another processor had last: what costs a guest of many processors
 * its time, for the lock's memory moves from one to the other, and who wants it waits.
 */
static unsigned int handed_over;

void fake_lock(spinlock_t *l)
{
	assert_int_equal(l->held, 0);
	l->held = 1;
	handed_over += l->cpu && l->cpu != fake_cpu + 1;
	l->cpu = fake_cpu + 1;
}

void fake_unlock(spinlock_t *l)
{
	assert_int_equal(l->held, 1);
	l->held = 0;
}

/* ---- a grant table: who has each entry ----------------------------------- */

#define FRAMES 64u
#define TABLE  (FRAMES * 512u)
enum entry { FREE, TAKEN, GRANTED };
static struct {
	enum entry state[TABLE];
	bool mapped[TABLE];   /* by the backend */
	bool deferred[TABLE]; /* left to Xen's code */
	bool readonly[TABLE];
	unsigned int searches, hint;
	unsigned int pages;
	unsigned int held; /* references to pages, beside those of their owners */
} table;

unsigned int gnttab_max_grant_frames(void)
{
	return FRAMES;
}

int gnttab_alloc_grant_reference_seq(unsigned int n, grant_ref_t *first)
{
	unsigned int i, run = 0, tries = 0;

	/* Next-fit, for speed: of the table once, or less. */
	table.searches++;
	for (i = table.hint; tries < TABLE + n && run < n; tries++, i++) {
		if (i < 8 || i >= TABLE)
			i = 8, run = 0;
		run = table.state[i] == FREE && !table.deferred[i] ? run + 1 : 0;
	}
	if (run < n)
		return -ENOSPC;
	table.hint = i;
	*first = i - n;
	for (i = 0; i < n; i++)
		table.state[*first + i] = TAKEN;
	return 0;
}

void gnttab_free_grant_reference_seq(grant_ref_t first, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		gnttab_free_grant_reference(first + i);
}

void gnttab_free_grant_reference(grant_ref_t ref)
{
	assert_in_range(ref, 8, TABLE - 1);
	assert_int_equal(table.state[ref], TAKEN);
	table.state[ref] = FREE;
}

void gnttab_grant_foreign_access_ref(grant_ref_t ref, domid_t domid, unsigned long gfn, int ro)
{
	(void)domid, (void)gfn;
	assert_int_equal(table.state[ref], TAKEN);
	table.readonly[ref] = ro;
	table.state[ref] = GRANTED;
}

int gnttab_end_foreign_access_ref(grant_ref_t ref)
{
	assert_int_not_equal(table.state[ref], FREE);
	if (table.mapped[ref])
		return 0;
	table.state[ref] = TAKEN;
	return 1;
}

void gnttab_end_foreign_access(grant_ref_t ref, struct page *page)
{
	/* What is not mapped is freed at once, and its page, if there is one. */
	if (table.mapped[ref]) {
		table.deferred[ref] = true;
	} else {
		assert_non_null(page);
		free_pages_exact(page_to_virt(page), 4096);
	}
	table.state[ref] = FREE;
}

static unsigned int taken(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < TABLE; i++)
		n += table.state[i] != FREE;
	return n;
}

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	void *p = aligned_alloc(4096, size);

	table.pages += size / 4096;
	memset(p, gfp & __GFP_ZERO ? 0 : 0xa5, size);
	return p;
}

void free_pages_exact(void *p, size_t size)
{
	table.pages -= size / 4096;
	free(p);
}

void get_page(struct page *page)
{
	assert_non_null(page);
	table.held++;
}

void put_page(struct page *page)
{
	assert_non_null(page);
	assert_int_not_equal(table.held, 0);
	table.held--;
}

void bitmap_set(unsigned long *map, unsigned int at, unsigned int n)
{
	for (; n; n--, at++) {
		assert_false(map[at / 64] >> at % 64 & 1);
		map[at / 64] |= 1ul << at % 64;
	}
}

void bitmap_clear(unsigned long *map, unsigned int at, unsigned int n)
{
	for (; n; n--, at++) {
		assert_true(map[at / 64] >> at % 64 & 1);
		map[at / 64] &= ~(1ul << at % 64);
	}
}

unsigned long bitmap_find_next_zero_area(unsigned long *map, unsigned long size,
					 unsigned long start, unsigned int n, unsigned long align)
{
	unsigned long at, run = 0;

	(void)align;
	for (at = start; at < size && run < n; at++)
		run = map[at / 64] >> at % 64 & 1 ? 0 : run + 1;
	return run < n ? size + 1 : at - n;
}

#endif /* KERNEL_TABLE_H */
