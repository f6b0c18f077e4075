// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_module.c - the bookkeeping of the guest's kernel module
 *
 * What the module decides without a kernel, and its files of grant references, of
 * pools and of mappings, compiled with tests/rigs/kernel in place of a kernel's headers. How it
 * does on Xen is for tests/xen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/rigs/kernel/dma.h"

#include "frontend-glue/linux/virtio_grant_calc.h"
#include "frontend-glue/linux/virtio_grant_refs.c"
#include "frontend-glue/linux/virtio_grant_pool.c"
#include "frontend-glue/linux/virtio_grant_dma.c"

#include "tests/rigs/kernel/table.h"

unsigned int fake_cpu;
unsigned long jiffies = 1000000;
bool fake_irqs_off;
int fake_module;
struct task_struct *fake_task;

void fake_may_sleep(void)
{
	assert_false(fake_irqs_off);
}

void fake_say(const struct device *dev, const char *text, ...)
{
	(void)dev, (void)text;
}

static int fresh(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	fake_cpu = handed_over = 0;
	INIT_LIST_HEAD(&vg_refs_all); /* what a test that failed has left */
	vg_reclaimed = 0;
	return 0;
}

/* ---- decisions ------------------------------------------------------------ */

static bool after(struct vg_spurious *s, unsigned int n, bool idle)
{
	bool slow = false;

	while (n--)
		slow = vg_spurious_add(s, idle);
	return slow;
}

static void test_spurious(void **state)
{
	struct vg_spurious s = { 0 };
	bool slow = false;

	(void)state;
	assert_false(after(&s, 63, true));
	assert_true(after(&s, 1, true));
	/* One that brings something excuses nothing. */
	assert_true(after(&s, 1, false));
	for (int i = 0; i < 100; i++) {
		assert_true(after(&s, 64, true));
		assert_true(after(&s, 1, false));
	}
	/* An honest sender is believed again. */
	assert_false(after(&s, 64, false));
	/* A driver that polls leaves many behind: half, or three of four. */
	for (int i = 0; i < 4000; i++)
		slow |= vg_spurious_add(&s, i % 4 != 0);
	assert_false(slow);
}

static void test_queue_of_cpu(void **state)
{
	(void)state;
	for (u32 cpus = 1; cpus <= 70; cpus++) {
		for (u32 queues = 1; queues <= 80; queues++) {
			u32 n[80] = { 0 }, last = 0;

			for (u32 c = 0; c < cpus; c++) {
				u32 q = vg_queue_of_cpu(c, cpus, queues);

				assert_in_range(q, last, queues - 1);
				last = q;
				n[q]++;
			}
			for (u32 q = 0; q < queues; q++)
				assert_in_range(n[q], queues <= cpus ? cpus / queues : 0,
						(cpus + queues - 1) / queues);
		}
	}
}

/* ---- references ----------------------------------------------------------- */

struct queue {
	struct {
		grant_ref_t first;
		unsigned int n;
	} out[1024];
	unsigned int depth;
};

static void fill(struct vg_refs *refs, struct queue *q, unsigned int depth, unsigned int shortest)
{
	static unsigned int seed = 1;

	for (; q->depth < depth; q->depth++) {
		seed = seed * 1103515245 + 12345;
		fake_cpu = seed >> 20 & 3;
		q->out[q->depth].n = shortest + (seed >> 8) % (VG_RUN_MAX + 1 - shortest);
		assert_int_equal(vg_refs_get(refs, q->out[q->depth].n, &q->out[q->depth].first), 0);
	}
}

/* Answers come to one processor, whoever asked. */
static void drain(struct vg_refs *refs, struct queue *q, unsigned int depth)
{
	fake_cpu = 2;
	while (q->depth > depth) {
		q->depth--;
		vg_refs_put(refs, q->out[q->depth].n, q->out[q->depth].first);
	}
}

/* A queue of any depth that drains and fills again asks the kernel for nothing. */
static void test_refs_steady(void **state)
{
	static const unsigned int depths[] = { 32, 64, 128, 256, 480 };
	static struct queue q;

	(void)state;
	for (unsigned int d = 0; d < ARRAY_SIZE(depths); d++) {
		struct vg_refs refs = { 0 };
		unsigned int first;

		assert_int_equal(vg_refs_init(&refs), 0);
		fill(&refs, &q, depths[d], VG_RUN_MAX);
		first = table.searches;
		assert_int_equal(first, atomic64_read(&refs.missed));
		for (int round = 0; round < 50; round++) {
			drain(&refs, &q, depths[d] / 4);
			fill(&refs, &q, depths[d], VG_RUN_MAX);
			/* What answers bring to one processor, the others miss a little. */
			assert_in_range(table.searches - first, 0, 8);
		}
		drain(&refs, &q, 0);
		vg_refs_exit(&refs);
		assert_int_equal(taken(), 0);
		table.searches = 0;
	}
}

/* So does one whose buffers have all lengths, when it has seen some fillings. */
static void test_refs_mixed(void **state)
{
	static const unsigned int depths[] = { 32, 256, 700 };
	static struct queue q;

	(void)state;
	for (unsigned int d = 0; d < ARRAY_SIZE(depths); d++) {
		struct vg_refs refs = { 0 };
		unsigned int first = 0, maps = 0;

		assert_int_equal(vg_refs_init(&refs), 0);
		for (int round = 0; round < 150; round++) {
			if (round == 100)
				first = table.searches;
			maps += round < 100 ? 0 : depths[d] - depths[d] / 4;
			fill(&refs, &q, depths[d], 1);
			drain(&refs, &q, depths[d] / 4);
		}
		assert_in_range(table.searches - first, 0, maps / 20);
		drain(&refs, &q, 0);
		vg_refs_exit(&refs);
		assert_int_equal(taken(), 0);
		table.searches = 0;
	}
}

static u32 out(const struct vg_refs *refs)
{
	u32 n = 0;

	for (int i = 0; i < VG_RUN_MAX; i++)
		n += refs->share.out[i];
	return n;
}

static void test_refs_idle_go_back(void **state)
{
	struct vg_refs refs = { 0 };
	static struct queue q;

	(void)state;
	assert_int_equal(vg_refs_init(&refs), 0);
	fill(&refs, &q, 200, 1);
	drain(&refs, &q, 0);
	assert_true(taken() > 1000);
	vg_refs_tick(NULL);
	assert_true(taken() > 1000);
	vg_refs_tick(NULL);
	vg_refs_tick(NULL);
	assert_int_equal(taken(), 0);
	assert_int_equal(out(&refs), 0);
	vg_refs_exit(&refs);
}

/* What one device keeps, another one gets when the table is empty. */
static void test_refs_exhausted(void **state)
{
	struct vg_refs one = { 0 }, two = { 0 };
	static struct queue q, r;
	grant_ref_t rest[TABLE / 32], ref;
	unsigned int n = 0, searches;

	(void)state;
	assert_int_equal(vg_refs_init(&one), 0);
	assert_int_equal(vg_refs_init(&two), 0);
	fill(&one, &q, 300, 32);
	drain(&one, &q, 0);
	while (!gnttab_alloc_grant_reference_seq(32, &rest[n]))
		n++;
	while (!gnttab_alloc_grant_reference_seq(1, &ref))
		;
	fill(&two, &r, 100, 32);
	/* Then there is an end, which does not cost a search through all devices each time. */
	jiffies += HZ;
	while (!vg_refs_get(&two, 32, &ref))
		;
	searches = table.searches;
	for (int i = 0; i < 100; i++)
		assert_int_equal(vg_refs_get(&two, 32, &ref), -ENOSPC);
	assert_int_equal(table.searches - searches, 100);
	drain(&two, &r, 0);
	vg_refs_exit(&one);
	vg_refs_exit(&two);
	vg_reclaimed = 0;
}

/*
 * All processors map and unmap at once, each what it mapped. With one lock for the device's references
 * each of these would wait for the last one's: here it is one for each batch, at most.
 */
static void test_refs_apart(void **state)
{
	enum { DEPTH = 100, ROUNDS = 50 };
	static const unsigned int lengths[] = { 1, 2, 4 };
	static grant_ref_t out[FAKE_CPUS][DEPTH];

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(lengths); k++) {
		unsigned int len = lengths[k], ops = 0, missed = 0;
		struct vg_refs refs = { 0 };

		assert_int_equal(vg_refs_init(&refs), 0);
		for (int round = 0; round < ROUNDS; round++) {
			/* The first two have to get them from the kernel. */
			if (round == 2)
				ops = handed_over = 0, missed = table.searches;
			for (unsigned int i = 0; i < DEPTH; i++)
				for (fake_cpu = 0; fake_cpu < FAKE_CPUS; fake_cpu++, ops++)
					assert_int_equal(vg_refs_get(&refs, len, &out[fake_cpu][i]),
							 0);
			for (unsigned int i = 0; i < DEPTH; i++)
				for (fake_cpu = 0; fake_cpu < FAKE_CPUS; fake_cpu++, ops++)
					vg_refs_put(&refs, len, out[fake_cpu][i]);
		}
		assert_int_equal(table.searches, missed);
		assert_in_range(handed_over, 0, ops / vg_runs_batch(len));
		fake_cpu = 0;
		vg_refs_exit(&refs);
	}
}

static void test_refs_long(void **state)
{
	struct vg_refs refs = { 0 };
	grant_ref_t a;

	(void)state;
	assert_int_equal(vg_refs_init(&refs), 0);
	assert_int_equal(vg_refs_get(&refs, VG_RUN_MAX + 1, &a), 0);
	vg_refs_put(&refs, VG_RUN_MAX + 1, a);
	assert_int_equal(taken(), 0);
	assert_int_equal(out(&refs), 0);
	vg_refs_exit(&refs);
}

/* ---- pools ---------------------------------------------------------------- */

static void test_pool_grows(void **state)
{
	struct vg_pool pool = { 0 };
	static u8 buffer[600] __attribute__((aligned(512)));
	static dma_addr_t addr[20000];
	phys_addr_t phys = (uintptr_t)buffer;
	unsigned int n = 0;

	(void)state;
	vg_pool_init(&pool);
	assert_false(vg_pool_map(&pool, phys, 600, false, &addr[0]));
	while (n < 2000) {
		fake_cpu = n % FAKE_CPUS;
		assert_true(vg_pool_map(&pool, phys, 600, true, &addr[n++]));
	}
	assert_true(pool.pages >= 2000 * 2 / VG_SLOTS_A_PAGE);
	assert_true(pool.pages < 2 * 2000 * 2 / VG_SLOTS_A_PAGE);
	for (unsigned int i = 0; i < n; i++)
		assert_true(vg_pool_unmap(&pool, addr[i], 600, false));
	vg_pool_free(&pool);
	assert_int_equal(pool.pages, 0);
	assert_int_equal(taken(), 0);
	assert_int_equal(table.pages, 0);
}

static void test_pool_limits(void **state)
{
	struct vg_pool pool = { 0 };
	static u8 buffer[1 << 21] __attribute__((aligned(4096)));
	phys_addr_t phys = (uintptr_t)buffer;
	static dma_addr_t addr[40];
	unsigned int n = 0;

	(void)state;
	vg_pool_init(&pool);
	/* No arena has room for so much. */
	assert_false(vg_pool_map(&pool, phys, (1 << 20) + 1, true, &addr[0]));
	while (vg_pool_map(&pool, phys, 1 << 20, true, &addr[n])) {
		n++;
		assert_in_range(n, 1, ARRAY_SIZE(pool.arena));
	}
	assert_int_equal(n, ARRAY_SIZE(pool.arena));
	assert_int_equal(table.pages, n * 256);
	while (n--)
		assert_true(vg_pool_unmap(&pool, addr[n], 1 << 20, false));
	vg_pool_free(&pool);
	assert_int_equal(table.pages, 0);
}

static void test_pool_copies(void **state)
{
	struct vg_pool pool = { 0 };
	static u8 buffer[1024] __attribute__((aligned(512)));
	phys_addr_t phys = (uintptr_t)buffer;
	dma_addr_t addr;
	u8 *copy;

	(void)state;
	vg_pool_init(&pool);
	memset(buffer, 7, sizeof(buffer));
	assert_true(vg_pool_map(&pool, phys + 3, 700, true, &addr));
	copy = (u8 *)pool.arena[0]->mem + (addr - VIRTIO_GRANT_ADDR(pool.arena[0]->first, 0));
	assert_memory_equal(copy, buffer + 3, 700);
	copy[699] = 9;
	vg_pool_sync(&pool, addr + 600, 100, true);
	assert_int_equal(buffer[3 + 699], 9);
	buffer[3 + 520] = 5;
	vg_pool_sync(&pool, addr + 512, 100, false);
	assert_int_equal(copy[520], 5);
	copy[0] = 1;
	assert_true(vg_pool_unmap(&pool, addr, 700, true));
	assert_int_equal(buffer[3], 1);
	assert_int_equal(buffer[2], 7);
	vg_pool_free(&pool);
}

/* Processors that have arenas enough each have one to themselves, and no lock of another's. */
static void test_pool_apart(void **state)
{
	struct vg_pool pool = { 0 };
	static u8 buffer[512] __attribute__((aligned(512)));
	phys_addr_t phys = (uintptr_t)buffer;
	dma_addr_t addr[FAKE_CPUS];

	(void)state;
	vg_pool_init(&pool);
	assert_int_equal(vg_pool_make(&pool, FAKE_CPUS * VG_ARENA_PAGES),
			 FAKE_CPUS * VG_ARENA_PAGES);
	for (unsigned int i = 0; i < FAKE_CPUS; i++)
		vg_pool_arena(&pool, i)->announced = true;
	for (unsigned int i = 0; i < 1000; i++) {
		for (fake_cpu = 0; fake_cpu < FAKE_CPUS; fake_cpu++)
			assert_true(vg_pool_map(&pool, phys, 512, false, &addr[fake_cpu]));
		for (fake_cpu = 0; fake_cpu < FAKE_CPUS; fake_cpu++)
			assert_true(vg_pool_unmap(&pool, addr[fake_cpu], 512, false));
	}
	/* Of 8000: those of the arenas' first owners, who made them. */
	assert_in_range(handed_over, 0, FAKE_CPUS);
	fake_cpu = 0;
	vg_pool_free(&pool);
}

/* A buffer may stay for longer than the connection: its address means nothing else meanwhile. */
static void test_pool_outlived(void **state)
{
	struct vg_pool pool = { 0 };
	static u8 buffer[512] __attribute__((aligned(512)));
	phys_addr_t phys = (uintptr_t)buffer;
	dma_addr_t old, new;

	(void)state;
	vg_pool_init(&pool);
	assert_true(vg_pool_map(&pool, phys, 512, true, &old));
	vg_pool_free(&pool);
	assert_int_equal(taken(), VG_ARENA_PAGES_MIN);
	/* The next connection's. */
	assert_int_equal(vg_pool_make(&pool, 20), 20);
	vg_pool_arena(&pool, 1)->announced = true;
	assert_true(vg_pool_map(&pool, phys, 512, true, &new));
	assert_int_not_equal(old, new);
	assert_int_equal(pool.pages, 20 + VG_ARENA_PAGES_MIN);
	assert_true(vg_pool_unmap(&pool, old, 512, true));
	assert_int_equal(pool.pages, 20);
	assert_true(vg_pool_unmap(&pool, new, 512, true));
	vg_pool_free(&pool);
	assert_int_equal(taken(), 0);
	assert_int_equal(table.pages, 0);
}

/* Pages that the backend does not let go of are left to Xen's code, which has a reference. */
static void test_pool_kept(void **state)
{
	struct vg_pool pool = { 0 };
	grant_ref_t ref;

	(void)state;
	vg_pool_init(&pool);
	assert_int_equal(vg_pool_make(&pool, 32), 32);
	ref = pool.arena[0]->first + 5;
	table.mapped[ref] = true;
	vg_pool_free(&pool);
	assert_true(table.deferred[ref]);
	assert_int_equal(taken(), 0);
	assert_int_equal(table.pages, 0);
}

/* All pools together leave three quarters of the table to others; bounce pools are none. */
static void test_pools_share(void **state)
{
	static struct vg_pool pool[8];
	static u8 buffer[512];
	unsigned int most = gnttab_max_grant_frames() * 512 / 4, n = 0;
	dma_addr_t addr;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(pool); i++) {
		memset(&pool[i], 0, sizeof(pool[i]));
		vg_pool_init(&pool[i]);
		n += vg_pool_make(&pool[i], 4096);
	}
	assert_int_equal(n, most);
	assert_int_equal(atomic_read(&vg_pools_pages), most);
	assert_int_equal(vg_pool_make(&pool[0], 16), 0);
	assert_true(vg_pool_map(&pool[7], (uintptr_t)buffer, 512, true, &addr));
	vg_pool_unmap(&pool[7], addr, 512, false);
	vg_pool_free(&pool[0]);
	assert_int_equal(vg_pool_make(&pool[1], 16), pool[1].pages < most ? 16 : 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(pool); i++)
		vg_pool_free(&pool[i]);
	assert_int_equal(atomic_read(&vg_pools_pages), 0);
}

static void test_pool_trim(void **state)
{
	struct vg_pool pool = { 0 };
	static u8 buffer[512] __attribute__((aligned(512)));
	phys_addr_t phys = (uintptr_t)buffer;
	dma_addr_t addr;

	(void)state;
	vg_pool_init(&pool);
	assert_int_equal(vg_pool_make(&pool, 512), 512);
	/* Nothing goes into one that the backend does not know. */
	assert_false(vg_pool_map(&pool, phys, 512, false, &addr));
	vg_pool_arena(&pool, 1)->announced = true;
	vg_pool_trim(&pool);
	assert_int_equal(pool.pages, 256);
	assert_true(vg_pool_map(&pool, phys, 512, false, &addr));
	assert_true(vg_pool_unmap(&pool, addr, 512, false));
	vg_pool_free(&pool);
	assert_int_equal(taken(), 0);
}

/* ---- mappings ---------------------------------------------------------------- */

static u8 memory[16 * 4096] __attribute__((aligned(4096)));
static bool slab; /* @memory is the slab allocator's */
static unsigned int faults;

bool folio_test_slab(const struct folio *folio)
{
	uintptr_t at = (uintptr_t)folio << 12;

	return slab && at >= (uintptr_t)memory && at < (uintptr_t)(memory + sizeof(memory));
}

static void fault(struct vg_dma *dma)
{
	assert_true(dma->broken);
	faults++;
}

static void full(struct vg_dma *dma)
{
	assert_true(dma->asked);
}

static struct device_dma_parameters parms;
static u64 mask;
static struct device dev = { .dma_parms = &parms, .dma_mask = &mask };

static struct vg_dma *mappings(bool trusted, unsigned int pool)
{
	static struct vg_dma dma;

	memset(&dma, 0, sizeof(dma));
	memset(&parms, 0, sizeof(parms));
	memset(memory, 7, sizeof(memory));
	slab = false;
	faults = 0;
	assert_int_equal(vg_dma_init(&dma, &dev, fault, full), 0);
	assert_int_equal(vg_dma_attach(&dma), 0);
	assert_int_equal(parms.max_segment_size, VG_DMA_MAX_SIZE);
	vg_dma_connect(&dma, 0, trusted);
	assert_int_equal(vg_dma_make_pool(&dma, pool, 4096), pool);
	if (pool)
		dma.pool.arena[0]->announced = true;
	return &dma;
}

static void no_mappings(struct vg_dma *dma)
{
	assert_int_equal(atomic_read(&dma->lasting), 0);
	vg_dma_exit(dma);
	assert_int_equal(taken(), 0);
	assert_int_equal(table.pages, 0);
	assert_int_equal(table.held, 0);
}

static dma_addr_t map(const void *p, size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	return dev.dma_ops->map_page(&dev, virt_to_page(p), (uintptr_t)p & 4095, size, dir, attrs);
}

static void unmap(dma_addr_t addr, size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	dev.dma_ops->unmap_page(&dev, addr, size, dir, attrs);
}

/* Where the backend sees a buffer that was copied. */
static u8 *copy_of(struct vg_pool *pool, dma_addr_t addr)
{
	return (u8 *)pool->arena[0]->mem + (addr - VIRTIO_GRANT_ADDR(pool->arena[0]->first, 0));
}

static grant_ref_t ref_of(dma_addr_t addr)
{
	return (grant_ref_t)((addr & ~VIRTIO_GRANT_ADDR_FLAG) >> 12);
}

static void test_dma_grants(void **state)
{
	struct vg_dma *dma = mappings(true, 0);
	dma_addr_t out = map(memory + 100, 8192, DMA_TO_DEVICE, 0);
	dma_addr_t in = map(memory, 4096, DMA_FROM_DEVICE, 0);

	(void)state;
	/* Each page that it touches, and no more; the device reads the one, and writes the other. */
	assert_int_equal(out & 4095, 100);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(table.state[ref_of(out) + i], GRANTED);
		assert_true(table.readonly[ref_of(out) + i]);
	}
	assert_false(table.readonly[ref_of(in)]);
	unmap(out, 8192, DMA_TO_DEVICE, 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_not_equal(table.state[ref_of(out) + i], GRANTED);
	unmap(in, 4096, DMA_FROM_DEVICE, 0);
	no_mappings(dma);
}

/* What is counted for each buffer is counted where nobody else counts. */
static void test_dma_counts(void **state)
{
	struct vg_dma *dma = mappings(true, 0);

	(void)state;
	for (fake_cpu = 0; fake_cpu < FAKE_CPUS; fake_cpu++)
		for (unsigned int i = 0; i <= fake_cpu; i++)
			unmap(map(memory, 4096, DMA_TO_DEVICE, 0), 4096, DMA_TO_DEVICE, 0);
	for (fake_cpu = 0; fake_cpu < FAKE_CPUS; fake_cpu++)
		assert_int_equal(raw_cpu_ptr(dma->counts)->granted, fake_cpu + 1);
	fake_cpu = 0;
	no_mappings(dma);
}

/* What lies beside a buffer is not for a backend that is not trusted, nor slab memory for any. */
static void test_dma_beside(void **state)
{
	struct vg_dma *dma = mappings(false, 0);
	dma_addr_t addr = map(memory + 8, 100, DMA_TO_DEVICE, 0);
	u8 *seen = copy_of(&dma->bounce, addr);

	(void)state;
	assert_memory_equal(seen, memory + 8, 100);
	assert_true(seen < memory || seen >= memory + sizeof(memory));
	unmap(addr, 100, DMA_TO_DEVICE, 0);
	addr = map(memory, 4096, DMA_TO_DEVICE, 0); /* a page of its own */
	assert_int_equal(table.state[ref_of(addr)], GRANTED);
	unmap(addr, 4096, DMA_TO_DEVICE, 0);
	no_mappings(dma);

	dma = mappings(true, 0);
	slab = true;
	addr = map(memory, 4096, DMA_FROM_DEVICE, 0);
	seen = copy_of(&dma->bounce, addr);
	memset(seen, 9, 4096);
	unmap(addr, 4096, DMA_FROM_DEVICE, 0);
	assert_int_equal(memory[4095], 9);
	no_mappings(dma);
}

/* No references left in the middle of a list: all of it is given back, and it may be tried again. */
static void test_dma_list_exhausted(void **state)
{
	struct vg_dma *dma = mappings(true, 0);
	static struct scatterlist sg[2000];
	static u8 big[VG_DMA_MAX_SIZE] __attribute__((aligned(4096)));
	unsigned int n = ARRAY_SIZE(sg);

	(void)state;
	for (unsigned int i = 0; i < n; i++)
		sg[i] = (struct scatterlist){ .phys = (uintptr_t)big, .length = sizeof(big) };
	assert_true(n * (sizeof(big) / 4096) > TABLE);
	assert_int_equal(dev.dma_ops->map_sg(&dev, sg, (int)n, DMA_TO_DEVICE, 0), -ENOMEM);
	for (unsigned int i = 0; i < TABLE; i++)
		assert_int_not_equal(table.state[i], GRANTED);
	assert_int_equal(dev.dma_ops->map_sg(&dev, sg, 10, DMA_TO_DEVICE, 0), 10);
	dev.dma_ops->unmap_sg(&dev, sg, 10, DMA_TO_DEVICE, 0);
	no_mappings(dma);
}

/* A copy is made where the other side shall see something, and not otherwise. */
static void test_dma_syncs(void **state)
{
	struct vg_dma *dma = mappings(true, 32);
	dma_addr_t addr;
	u8 *seen;

	(void)state;
	/* The device writes: nothing of ours goes there, neither now nor later. */
	addr = map(memory, 2048, DMA_FROM_DEVICE, 0);
	seen = copy_of(&dma->pool, addr);
	memset(seen, 1, 2048);
	dev.dma_ops->sync_single_for_device(&dev, addr, 2048, DMA_FROM_DEVICE);
	assert_int_equal(seen[0], 1);
	assert_int_equal(memory[0], 7);
	dev.dma_ops->sync_single_for_cpu(&dev, addr, 1024, DMA_FROM_DEVICE);
	assert_int_equal(memory[1023], 1);
	assert_int_equal(memory[1024], 7);
	unmap(addr, 2048, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
	assert_int_equal(memory[1024], 7);
	/* The device reads: nothing comes back. */
	addr = map(memory, 2048, DMA_TO_DEVICE, 0);
	seen = copy_of(&dma->pool, addr);
	assert_int_equal(seen[1024], 7);
	seen[0] = 3;
	dev.dma_ops->sync_single_for_cpu(&dev, addr, 2048, DMA_TO_DEVICE);
	assert_int_equal(memory[0], 1);
	memory[5] = 5;
	dev.dma_ops->sync_single_for_device(&dev, addr, 2048, DMA_TO_DEVICE);
	assert_int_equal(seen[5], 5);
	unmap(addr, 2048, DMA_TO_DEVICE, 0);
	assert_int_equal(memory[0], 1);
	/* What nobody will synchronise as a whole, or goes both ways for long, is granted. */
	addr = map(memory, 2048, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
	assert_int_equal(table.state[ref_of(addr)], GRANTED);
	unmap(addr, 2048, DMA_FROM_DEVICE, 0);
	addr = map(memory, 2048, DMA_BIDIRECTIONAL, 0);
	assert_int_equal(atomic_read(&dma->lasting), 1);
	assert_int_equal(dma->counts[0].granted, 2);
	unmap(addr, 2048, DMA_BIDIRECTIONAL, 0);
	no_mappings(dma);
}

/* The backend gave a buffer back, and keeps it: said once, and nothing more is granted to it. */
static void test_dma_kept(void **state)
{
	struct vg_dma *dma = mappings(true, 0);
	dma_addr_t a = map(memory, 3 * 4096, DMA_FROM_DEVICE, 0);
	dma_addr_t b = map(memory + 4 * 4096, 4096, DMA_FROM_DEVICE, 0);

	(void)state;
	table.mapped[ref_of(a) + 1] = true;
	table.mapped[ref_of(b)] = true;
	unmap(a, 3 * 4096, DMA_FROM_DEVICE, 0);
	unmap(b, 4096, DMA_FROM_DEVICE, 0);
	assert_int_equal(faults, 1);
	assert_true(table.deferred[ref_of(a) + 1]);
	assert_false(table.deferred[ref_of(a)]);
	assert_true(table.deferred[ref_of(b)]);
	assert_true(map(memory, 4096, DMA_TO_DEVICE, 0) == DMA_MAPPING_ERROR);
	assert_null(dev.dma_ops->alloc(&dev, 4096, &a, GFP_KERNEL, 0));
	no_mappings(dma);
}

static int map_list(struct scatterlist *sg, enum dma_data_direction dir)
{
	for (unsigned int i = 0; i < 2; i++)
		sg[i] = (struct scatterlist){ .phys = (uintptr_t)memory + i * 8 * 4096,
					      .length = 3 * 4096 };
	return dev.dma_ops->map_sg(&dev, sg, 2, dir, 0);
}

/* A driver that is removed frees what the device has, resets it, and is gone: the device is no culprit. */
static void test_dma_leaves(void **state)
{
	struct vg_dma *dma = mappings(true, 0);
	struct scatterlist sg[2], request[2];
	grant_ref_t ref;

	(void)state;
	assert_int_equal(map_list(sg, DMA_BIDIRECTIONAL), 2);
	assert_int_equal(map_list(request, DMA_TO_DEVICE), 2);
	ref = ref_of(sg[1].dma_address);
	table.mapped[ref + 2] = true;
	vg_dma_leave(dma);
	dev.dma_ops->unmap_sg(&dev, request, 2, DMA_TO_DEVICE, 0); /* that one came back */
	assert_int_equal(table.state[ref_of(request[0].dma_address)], TAKEN);
	dev.dma_ops->unmap_sg(&dev, sg, 2, DMA_BIDIRECTIONAL, 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(table.state[ref_of(sg[0].dma_address) + i], GRANTED);
		assert_int_equal(table.state[ref + i], GRANTED);
	}
	assert_int_equal(table.held, 6);
	table.mapped[ref + 2] = false; /* the reset */
	vg_dma_left(dma);
	assert_int_equal(faults, 0);
	assert_int_equal(table.held, 0);
	assert_int_not_equal(table.state[ref], GRANTED);
	/* The next driver's memory is revoked when it says so. */
	assert_int_equal(map_list(sg, DMA_BIDIRECTIONAL), 2);
	dev.dma_ops->unmap_sg(&dev, sg, 2, DMA_BIDIRECTIONAL, 0);
	assert_int_not_equal(table.state[ref_of(sg[0].dma_address)], GRANTED);
	no_mappings(dma);
}

/* One that was reset, and keeps it all the same, is. */
static void test_dma_leaves_kept(void **state)
{
	struct vg_dma *dma = mappings(true, 0);
	struct scatterlist sg[2];
	grant_ref_t ref;

	(void)state;
	assert_int_equal(map_list(sg, DMA_BIDIRECTIONAL), 2);
	ref = ref_of(sg[0].dma_address) + 1;
	table.mapped[ref] = true;
	vg_dma_leave(dma);
	dev.dma_ops->unmap_sg(&dev, sg, 2, DMA_BIDIRECTIONAL, 0);
	assert_int_equal(faults, 0);
	vg_dma_left(dma);
	assert_int_equal(faults, 1);
	assert_true(table.deferred[ref]);
	no_mappings(dma);
}

/* A status that the device has not written is an error, and no other small buffer is touched. */
static void test_dma_poison(void **state)
{
	struct vg_dma *dma = mappings(true, 0);
	dma_addr_t addr;

	(void)state;
	for (unsigned int on = 0; on < 2; on++) {
		dma->poison_status = on;
		memset(memory, 0, 64);
		addr = map(memory, 16, DMA_FROM_DEVICE, 0);
		assert_int_equal(memory[15], on ? VG_POISON : 0);
		assert_int_equal(memory[16], 0);
		unmap(addr, 16, DMA_FROM_DEVICE, 0);
		memory[0] = 0;
		unmap(map(memory, 16, DMA_TO_DEVICE, 0), 16, DMA_TO_DEVICE, 0);
		unmap(map(memory, 17, DMA_FROM_DEVICE, 0), 17, DMA_FROM_DEVICE, 0);
		assert_int_equal(memory[0], 0);
	}
	no_mappings(dma);
}

static int last(void **state)
{
	(void)state;
	vg_refs_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spurious),
		cmocka_unit_test(test_queue_of_cpu),
		cmocka_unit_test_setup(test_refs_steady, fresh),
		cmocka_unit_test_setup(test_refs_mixed, fresh),
		cmocka_unit_test_setup(test_refs_idle_go_back, fresh),
		cmocka_unit_test_setup(test_refs_exhausted, fresh),
		cmocka_unit_test_setup(test_refs_apart, fresh),
		cmocka_unit_test_setup(test_refs_long, fresh),
		cmocka_unit_test_setup(test_pool_grows, fresh),
		cmocka_unit_test_setup(test_pool_limits, fresh),
		cmocka_unit_test_setup(test_pool_copies, fresh),
		cmocka_unit_test_setup(test_pool_apart, fresh),
		cmocka_unit_test_setup(test_pool_outlived, fresh),
		cmocka_unit_test_setup(test_pool_kept, fresh),
		cmocka_unit_test_setup(test_pool_trim, fresh),
		cmocka_unit_test_setup(test_pools_share, fresh),
		cmocka_unit_test_setup(test_dma_grants, fresh),
		cmocka_unit_test_setup(test_dma_counts, fresh),
		cmocka_unit_test_setup(test_dma_beside, fresh),
		cmocka_unit_test_setup(test_dma_list_exhausted, fresh),
		cmocka_unit_test_setup(test_dma_syncs, fresh),
		cmocka_unit_test_setup(test_dma_kept, fresh),
		cmocka_unit_test_setup(test_dma_leaves, fresh),
		cmocka_unit_test_setup(test_dma_leaves_kept, fresh),
		cmocka_unit_test_setup(test_dma_poison, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, last);
}
