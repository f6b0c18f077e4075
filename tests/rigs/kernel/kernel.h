// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kernel.h - as much of a kernel as the guest's module needs for its bookkeeping
 *
 * The module's files are compiled with this in tests (tests/unit/test_module*.c). One
 * thread, four processors of which the test says which one it is, locks that know who
 * had them, and a clock that the test moves. The headers in linux/ and xen/ all lead
 * here, or to one that begins with this one: core.h, dma.h, bus.h. table.h is a grant
 * table.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef uint64_t dma_addr_t;
typedef uint64_t phys_addr_t;
typedef u32 grant_ref_t;
typedef uint16_t domid_t;
typedef unsigned int gfp_t;

#define __percpu
#define __rcu
#define GFP_KERNEL		  0u
#define GFP_ATOMIC		  1u
#define __GFP_ZERO		  2u
#define __GFP_NOWARN		  4u
#define __GFP_NORETRY		  8u
#define READ_ONCE(x)		  (*(volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)	  (*(volatile __typeof__(x) *)&(x) = (v))
#define ARRAY_SIZE(a)		  (sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(a, b)	  (((a) + (b)-1) / (b))
#define min(a, b)		  ((a) < (b) ? (a) : (b))
#define max(a, b)		  ((a) > (b) ? (a) : (b))
#define clamp(v, a, b)		  min(max(v, a), b)
#define struct_size(p, member, n) (sizeof(*(p)) + (n) * sizeof((p)->member[0]))

/* ---- locks: one thread --------------------------------------------------- */

typedef struct {
	int held;
	unsigned int cpu; /* that had it last, and 1; 0: nobody had */
} spinlock_t;
void fake_lock(spinlock_t *l);
void fake_unlock(spinlock_t *l);
#define spin_lock_init(l)	     ((l)->held = 0, (l)->cpu = 0)
#define spin_lock(l)		     fake_lock(l)
#define spin_unlock(l)		     fake_unlock(l)
#define spin_lock_irq(l)	     fake_lock(l)
#define spin_unlock_irq(l)	     fake_unlock(l)
#define spin_lock_irqsave(l, f)	     ((f) = 0, fake_lock(l))
#define spin_unlock_irqrestore(l, f) ((void)(f), fake_unlock(l))
#define DEFINE_SPINLOCK(name)	     spinlock_t name
#define lockdep_assert_held(l)	     ((void)(l))
struct mutex {
	int held;
};
#define DEFINE_MUTEX(name)   struct mutex name
#define mutex_lock(m)	     ((m)->held++)
#define mutex_unlock(m)	     ((m)->held--)
#define cmpxchg(p, old, new) (*(p) == (old) ? (*(p) = (new), (old)) : *(p))

struct rcu_head {
	int unused;
};
#define rcu_read_lock()		 ((void)0)
#define rcu_read_unlock()	 ((void)0)
#define rcu_dereference(p)	 (p)
#define rcu_access_pointer(p)	 (p)
#define rcu_assign_pointer(p, v) ((p) = (v))
#define RCU_INIT_POINTER(p, v)	 ((p) = (v))
#define kfree_rcu(p, member)	 free(p)

typedef struct {
	long v;
} atomic64_t;
#define atomic64_inc(a)	 ((a)->v++)
#define atomic64_read(a) ((a)->v)

/* ---- processors, time, work ---------------------------------------------- */

#define FAKE_CPUS 4
extern unsigned int fake_cpu;
extern unsigned long jiffies;
#define HZ			 250
#define time_before(a, b)	 ((long)((a) - (b)) < 0)
#define for_each_possible_cpu(c) for ((c) = 0; (c) < FAKE_CPUS; (c)++)
/* Each processor's is so far from the one before, as in a kernel: also that of a member. */
#define FAKE_PERCPU 1024
#define alloc_percpu(type)                                                                \
	__extension__({                                                                   \
		_Static_assert(sizeof(type) <= FAKE_PERCPU, "larger than a processor's"); \
		(type *)calloc(FAKE_CPUS, FAKE_PERCPU);                                   \
	})
#define free_percpu(p)	       free(p)
#define per_cpu_ptr(p, c)      ((__typeof__(p))((char *)(p) + (size_t)(c)*FAKE_PERCPU))
#define raw_cpu_ptr(p)	       per_cpu_ptr(p, fake_cpu)
#define this_cpu_inc(v)	       ((*raw_cpu_ptr(&(v)))++)
#define raw_smp_processor_id() fake_cpu
struct work_struct {
	void (*fn)(struct work_struct *work);
	bool queued;
	unsigned long at; /* what follows: in bus.h */
	const struct workqueue_struct *queue;
};
struct delayed_work {
	struct work_struct work;
};
#define DECLARE_DELAYED_WORK(name, f) struct delayed_work name = { { .fn = f } }
#define schedule_delayed_work(w, t)   ((w)->work.queued = true)
#define cancel_delayed_work_sync(w)   ((w)->work.queued = false)

/* ---- lists ---------------------------------------------------------------- */

struct list_head {
	struct list_head *next, *prev;
};
#define LIST_HEAD(name) struct list_head name = { &(name), &(name) }
static inline void list_add(struct list_head *e, struct list_head *h)
{
	e->next = h->next;
	e->prev = h;
	h->next->prev = e;
	h->next = e;
}
static inline void list_del(struct list_head *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
}
#define list_empty(h)		     ((h)->next == (h))
#define list_entry_(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define list_for_each_entry(e, h, member)                                                 \
	for ((e) = list_entry_((h)->next, __typeof__(*(e)), member); &(e)->member != (h); \
	     (e) = list_entry_((e)->member.next, __typeof__(*(e)), member))

/* ---- memory --------------------------------------------------------------- */

#define kcalloc(n, size, gfp)  ((void)(gfp), calloc(n, size))
#define kvcalloc(n, size, gfp) ((void)(gfp), calloc(n, size))
#define kmalloc(size, gfp)     ((void)(gfp), calloc(1, size))
#define kfree(p)	       free(p)
#define kvfree(p)	       free(p)
void *alloc_pages_exact(size_t size, gfp_t gfp);
void free_pages_exact(void *p, size_t size);
#define PHYS_PFN(phys)	   ((unsigned long)((phys) >> 12))
#define pfn_to_page(pfn)   (pfn)
#define PageHighMem(page)  ((void)(page), false)
#define phys_to_virt(phys) ((void *)(uintptr_t)(phys))
#define virt_to_gfn(p)	   ((unsigned long)((uintptr_t)(p) >> 12))
#define XEN_PAGE_SIZE	   4096u

#define BITS_PER_LONG		   64
#define DECLARE_BITMAP(name, bits) unsigned long name[((bits) + BITS_PER_LONG - 1) / BITS_PER_LONG]
void bitmap_set(unsigned long *map, unsigned int at, unsigned int n);
void bitmap_clear(unsigned long *map, unsigned int at, unsigned int n);
unsigned long bitmap_find_next_zero_area(unsigned long *map, unsigned long size,
					 unsigned long start, unsigned int n, unsigned long align);

/* ---- the grant table ------------------------------------------------------ */

struct page;
unsigned int gnttab_max_grant_frames(void);
int gnttab_alloc_grant_reference_seq(unsigned int n, grant_ref_t *first);
void gnttab_free_grant_reference_seq(grant_ref_t first, unsigned int n);
void gnttab_free_grant_reference(grant_ref_t ref);
void gnttab_grant_foreign_access_ref(grant_ref_t ref, domid_t domid, unsigned long gfn, int ro);
int gnttab_end_foreign_access_ref(grant_ref_t ref);
void gnttab_end_foreign_access(grant_ref_t ref, struct page *page);

#endif /* KERNEL_H */
