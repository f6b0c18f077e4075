/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * order.h - what two threads may see of each other's memory, on any machine that C11 is for
 *
 * Theory of operation
 * -------------------
 * Code that shares memory is compiled into a test with this file in front of it. Then its
 * __atomic_load_n(), __atomic_store_n() and __atomic_thread_fence() are calls of a model in place of
 * instructions, as long as they are to the memory of om_begin(); and two coroutines take the place
 * of two processors. Nothing depends on the machine that the test runs on.
 *
 * The model is that of views (Kang et al., "A promising semantics for relaxed-memory concurrency",
 * POPL 2017, without its promises). Memory is a log of stores. Each thread has a view: for each cell
 * of two bytes, the latest store that it is bound to know of. A load may return any store to the
 * cell that is not older. A release store carries its thread's view along, and an acquire load that
 * finds it joins that to its own. What is sequentially consistent goes by one more view, which all
 * have in common. A load of several cells sees a store to several of them whole or not at all.
 *
 * An event (a kick, an interrupt) carries the sender's view: it is sent by a hypercall, and taken in
 * an interrupt, on each of which a processor waits for what it was told before.
 *
 * om_explore() runs a scenario again and again, and takes another choice each time, until all were
 * taken: whose turn it is before each access, and which store a load returns. Choices that are not
 * what a single processor would do cost one each, and a run has so many; each barrier that is left
 * out of the code in hand shows with three.
 *
 * What the model does not have is a load that is late, behind a store that follows it in the
 * program. That release which keeps a reader's loads before its "you may write again" is the same
 * that carries its data, in rings.
 *
 * Each place in the code with an order of its own is a site. om_weaken() makes one weaker, as if it
 * were written so.
 */
#ifndef ORDER_H
#define ORDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#ifndef OM_CELLS
#define OM_CELLS 256 /* of two bytes: what can be shared */
#endif

enum {
	OM_STORES = 384,
	OM_CELL_STORES = 64,
	OM_NODES = 4096,
	OM_WIDE = 4,	  /* cells of one access */
	OM_LOADABLE = 24, /* things that one load may return */
	OM_STACK = 256 << 10,
	OM_LOADS = 20000, /* of a run: more than any that ends */
	OM_THREADS = 2,
};

/* A place in the code. */
struct om_site {
	const char *file, *function;
	int line, order;
	enum om_kind { OM_LOAD, OM_STORE, OM_FENCE } kind;
	bool known;
	unsigned used; /* since om_forget() */
	struct om_site *next;
};

#define OM_SITE(kind, order)                                                          \
	({                                                                            \
		static struct om_site site_ = { __FILE__, __func__, __LINE__, order,  \
						kind,	  false,    0,	      NULL }; \
		om_meet(&site_);                                                      \
	})

typedef uint16_t om_view[OM_CELLS];

struct om_store {
	uint16_t cell, cells;
	uint16_t value[OM_WIDE];
	bool carries; /* view is something */
	om_view view;
};

struct om_event {
	bool pending;
	om_view view;
};

struct om_thread {
	ucontext_t ctx;
	void (*run)(void);
	om_view view;
	om_view seen;	/* views that loads found and did not acquire: a fence does */
	om_view fenced; /* what a relaxed store carries, by the fence before it */
	struct om_event *waits;
	bool done;
};

/* A choice in the run under way. */
struct om_node {
	uint8_t taken, of;
};

struct om {
	uint8_t *base;
	size_t len;
	bool on;
	uint16_t first[OM_CELLS]; /* what memory held */
	struct om_store log[OM_STORES];
	unsigned now; /* stores; the first one is 1 */
	uint16_t at[OM_CELLS][OM_CELL_STORES], n_at[OM_CELLS];
	om_view common; /* of what is sequentially consistent */
	struct om_thread thread[OM_THREADS];
	struct om_thread *cur;
	ucontext_t back;
	struct om_node node[OM_NODES];
	unsigned n_nodes, at_node;
	int budget, left;
	unsigned cells;
	char failure[256];
	struct om_site *sites, *weak;
	int weak_order;
	unsigned long runs;
	unsigned loads; /* of the run under way */
};

/* One for all files of a test, where one of the sides cannot be compiled together with the other. */
__attribute__((weak)) struct om om;
__attribute__((weak, aligned(64))) uint8_t om_stacks[OM_THREADS][OM_STACK];

static inline struct om_site *om_meet(struct om_site *s)
{
	if (!s->known) {
		s->known = true;
		s->next = om.sites;
		om.sites = s;
	}
	s->used++;
	return s;
}

/* ---- choices --------------------------------------------------------------- */

/** om_fail - what must not happen has: the run ends here */
static inline void __attribute__((format(printf, 1, 2), noreturn)) om_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(om.failure, sizeof(om.failure), fmt, ap);
	va_end(ap);
	setcontext(&om.back);
	abort();
}

/** om_choose - one of @n things, of which the first is the usual one */
static inline unsigned om_choose(unsigned n)
{
	struct om_node *node;

	if (n < 2 || om.left == 0)
		return 0;
	if (om.at_node == OM_NODES)
		om_fail("too many choices");
	node = &om.node[om.at_node++];
	if (om.at_node > om.n_nodes) {
		om.n_nodes = om.at_node;
		*node = (struct om_node){ 0, (uint8_t)n };
	}
	if (node->taken)
		om.left--;
	return node->taken;
}

/** om_next - go to the next run. Return: false: there was none left. */
static inline bool om_next(void)
{
	while (om.n_nodes && om.node[om.n_nodes - 1].taken + 1 == om.node[om.n_nodes - 1].of)
		om.n_nodes--;
	if (!om.n_nodes)
		return false;
	om.node[om.n_nodes - 1].taken++;
	return true;
}

/* ---- whose turn it is ------------------------------------------------------- */

static inline struct om_thread *om_other(void)
{
	return om.cur == &om.thread[0] ? &om.thread[1] : &om.thread[0];
}

static inline bool om_can_run(const struct om_thread *t)
{
	return !t->done && (!t->waits || t->waits->pending);
}

static inline void om_switch(void)
{
	struct om_thread *from = om.cur;

	om.cur = om_other();
	swapcontext(&from->ctx, &om.cur->ctx);
}

/* Before each access: the other one may go first. */
static inline void om_step(void)
{
	if (om_can_run(om_other()) && om_choose(2))
		om_switch();
}

static inline void om_join(om_view into, const om_view from)
{
	for (unsigned i = 0; i < om.cells; i++)
		into[i] = into[i] > from[i] ? into[i] : from[i];
}

/** om_signal - an event is sent */
static inline void om_signal(struct om_event *e)
{
	om_step();
	e->pending = true;
	om_join(e->view, om.cur->view);
}

/** om_wait - until there is an event */
static inline void om_wait(struct om_event *e)
{
	om_step();
	if (!e->pending) {
		om.cur->waits = e;
		if (!om_can_run(om_other()))
			om_fail("both sleep");
		om_switch();
		om.cur->waits = NULL;
	}
	e->pending = false;
	om_join(om.cur->view, e->view);
}

static inline void om_thread_main(void)
{
	om.cur->run();
	om.cur->done = true;
	if (om_can_run(om_other())) {
		om.cur = om_other();
		setcontext(&om.cur->ctx);
	}
	if (!om_other()->done)
		om_fail("one sleeps for ever");
	setcontext(&om.back);
}

/* ---- memory ----------------------------------------------------------------- */

static inline bool om_is_shared(const void *p)
{
	return om.on && (const uint8_t *)p >= om.base && (const uint8_t *)p < om.base + om.len;
}

static inline int om_order_of(const struct om_site *s)
{
	return s == om.weak ? om.weak_order : s->order;
}

static inline uint16_t om_value(unsigned cell, unsigned time)
{
	const struct om_store *s = &om.log[time];

	return time ? s->value[cell - s->cell] : om.first[cell];
}

/* Would a load that takes @time of each cell see each store whole or not at all? */
static inline bool om_is_whole(unsigned cell, unsigned n, const uint16_t *time)
{
	for (unsigned i = 0; i < n; i++) {
		const struct om_store *s = &om.log[time[i]];

		for (unsigned k = 0; time[i] && k < n; k++) {
			if (cell + k >= s->cell && cell + k < s->cell + s->cells &&
			    time[k] < time[i])
				return false;
		}
	}
	return true;
}

/* What the thread may find in @n cells: times, newest first. Return: how many. */
static inline unsigned om_loadable(unsigned cell, unsigned n, bool common,
				   uint16_t found[][OM_WIDE])
{
	unsigned at[OM_WIDE], count = 0, i;

	for (i = 0; i < n; i++)
		at[i] = 0;
	do {
		uint16_t time[OM_WIDE];
		bool may = true;

		for (i = 0; i < n; i++) {
			unsigned c = cell + i, k = om.n_at[c];
			uint16_t floor = om.cur->view[c];

			if (common && om.common[c] > floor)
				floor = om.common[c];
			/* The first thing of a cell is what it held at the beginning. */
			if (at[i] <= k)
				time[i] = at[i] == k ? 0 : om.at[c][k - 1 - at[i]];
			may = at[i] <= k && time[i] >= floor;
			if (!may)
				break;
		}
		if (may && om_is_whole(cell, n, time)) {
			memcpy(found[count++], time, sizeof(time));
			if (count == OM_LOADABLE)
				break;
		}
		/* The next: the last cell's older ones first; one too old ends its cell's turn. */
		if (may) {
			i = n - 1;
		} else {
			at[i] = 0;
			if (i-- == 0)
				break;
			for (unsigned k = i + 1; k < n; k++)
				at[k] = 0;
		}
		at[i]++;
	} while (true);
	return count;
}

static inline uint64_t om_load(const void *p, size_t size, struct om_site *site)
{
	unsigned cell = (unsigned)((const uint8_t *)p - om.base) / 2, n = (unsigned)size / 2;
	int order = om_order_of(site);
	uint16_t found[OM_LOADABLE][OM_WIDE], *time;
	uint64_t value = 0;

	if (++om.loads > OM_LOADS)
		om_fail("it turns in circles");
	om_step();
	time = found[om_choose(om_loadable(cell, n, order == __ATOMIC_SEQ_CST, found))];
	for (unsigned i = 0; i < n; i++) {
		const struct om_store *s = &om.log[time[i]];
		uint16_t *known = &om.cur->view[cell + i];

		value |= (uint64_t)om_value(cell + i, time[i]) << 16 * i;
		*known = *known > time[i] ? *known : time[i];
		if (order == __ATOMIC_SEQ_CST && om.common[cell + i] < time[i])
			om.common[cell + i] = time[i];
		if (time[i] && s->carries)
			om_join(order == __ATOMIC_RELAXED ? om.cur->seen : om.cur->view, s->view);
	}
	return value;
}

static inline void om_store(void *p, size_t size, uint64_t value, struct om_site *site)
{
	unsigned cell = (unsigned)((uint8_t *)p - om.base) / 2, n = (unsigned)size / 2;
	int order = om_order_of(site);
	struct om_store *s;

	/*
	 * That the other one goes before a store that is not sequentially consistent makes no
	 * difference: it may go before the next thing, and find what was there before.
	 */
	if (order == __ATOMIC_SEQ_CST)
		om_step();
	if (++om.now == OM_STORES)
		om_fail("too many stores");
	s = &om.log[om.now];
	s->cell = (uint16_t)cell;
	s->cells = (uint16_t)n;
	for (unsigned i = 0; i < n; i++) {
		if (om.n_at[cell + i] == OM_CELL_STORES)
			om_fail("too many stores to one place");
		s->value[i] = (uint16_t)(value >> 16 * i);
		om.at[cell + i][om.n_at[cell + i]++] = (uint16_t)om.now;
		om.cur->view[cell + i] = (uint16_t)om.now;
		if (order == __ATOMIC_SEQ_CST)
			om.common[cell + i] = (uint16_t)om.now;
	}
	s->carries = true;
	memcpy(s->view, order == __ATOMIC_RELAXED ? om.cur->fenced : om.cur->view,
	       om.cells * sizeof(s->view[0]));
}

static inline void om_fence(struct om_site *site)
{
	struct om_thread *t = om.cur;

	if (om_order_of(site) != __ATOMIC_SEQ_CST)
		return;
	om_step();
	om_join(t->view, t->seen);
	om_join(t->view, om.common);
	om_join(om.common, t->view);
	memcpy(t->fenced, t->view, sizeof(t->fenced));
}

/* Does @p still hold what it held at the beginning? Memory itself is never written to in a run. */
static inline bool om_is_old(const void *p, size_t size)
{
	unsigned cell = (unsigned)((const uint8_t *)p - om.base) / 2, n = (unsigned)size / 2;

	if (!om_is_shared(p))
		return false;
	while (n && !om.n_at[cell + n - 1])
		n--;
	return !n;
}

/** om_copy - memcpy(), of an even number of bytes; to or from what is shared, not both */
static inline void om_copy(void *to, const void *from, size_t len)
{
	struct om_site *load = OM_SITE(OM_LOAD, __ATOMIC_RELAXED),
		       *store = OM_SITE(OM_STORE, __ATOMIC_RELAXED);

	if (!om_is_shared(to) && !om_is_shared(from)) {
		memcpy(to, from, len);
		return;
	}
	for (size_t at = 0, n; at < len; at += n) {
		uint64_t word = 0;

		n = len - at < 2 * OM_WIDE ? len - at : 2 * OM_WIDE;
		if (at && om_is_old((const uint8_t *)from + at, n)) {
			memcpy((uint8_t *)to + at, (const uint8_t *)from + at, n);
		} else if (om_is_shared(to)) {
			memcpy(&word, (const uint8_t *)from + at, n);
			om_store((uint8_t *)to + at, n, word, store);
		} else {
			word = om_load((const uint8_t *)from + at, n, load);
			memcpy((uint8_t *)to + at, &word, n);
		}
	}
}

/* ---- runs ------------------------------------------------------------------- */

/**
 * om_begin - @len bytes at @base, at most 2 * OM_CELLS, are what is shared, as they are
 *
 * To be called by @prepare of om_explore().
 */
static inline void om_begin(void *base, size_t len)
{
	om.base = base;
	om.len = len;
	om.cells = (unsigned)(len + 1) / 2;
	memcpy(om.first, base, len);
	om.on = true;
}

static inline void om_thread_make(struct om_thread *t, uint8_t *stack, void (*run)(void))
{
	memset(t->view, 0, sizeof(t->view));
	memset(t->seen, 0, sizeof(t->seen));
	memset(t->fenced, 0, sizeof(t->fenced));
	t->run = run;
	t->waits = NULL;
	t->done = false;
	getcontext(&t->ctx);
	t->ctx.uc_stack.ss_sp = stack;
	t->ctx.uc_stack.ss_size = OM_STACK;
	t->ctx.uc_link = NULL;
	makecontext(&t->ctx, om_thread_main, 0);
}

/* Two threads from the beginning to the end, or to where something went wrong. */
static inline void om_run(void (*const runs[OM_THREADS])(void), unsigned first)
{
	for (unsigned i = 0; i < OM_THREADS; i++)
		om_thread_make(&om.thread[i], om_stacks[i], runs[i]);
	om.now = om.loads = 0;
	memset(om.n_at, 0, sizeof(om.n_at));
	memset(om.common, 0, sizeof(om.common));
	om.cur = &om.thread[first];
	swapcontext(&om.back, &om.cur->ctx);
}

/**
 * om_explore - all runs of two threads with at most @budget unusual choices
 * @prepare: makes memory as it is before each, and calls om_begin(); @tidy: after each
 *
 * Return: NULL; or what must not happen and did, in a sentence, until the next call.
 */
static inline const char *om_explore(void (*prepare)(void), void (*tidy)(void),
				     void (*const runs[OM_THREADS])(void), int budget)
{
	om.failure[0] = '\0';
	for (unsigned first = 0; first < OM_THREADS; first++) {
		om.n_nodes = 0;
		do {
			om.at_node = 0;
			om.left = budget;
			prepare();
			om_run(runs, first);
			om.on = false;
			tidy();
			om.runs++;
			if (om.failure[0])
				return om.failure;
		} while (om_next());
	}
	return NULL;
}

/** om_weaken - from now on @site is of @order; NULL: all are as they are written */
static inline void om_weaken(struct om_site *site, int order)
{
	om.weak = site;
	om.weak_order = order;
}

/** om_forget - no site was used */
static inline void om_forget(void)
{
	for (struct om_site *s = om.sites; s; s = s->next)
		s->used = 0;
}

#define __atomic_load_n(p, order)                                                        \
	({                                                                               \
		__typeof__(p) p_ = (p);                                                  \
		struct om_site *s_ = OM_SITE(OM_LOAD, order);                            \
		om_is_shared(p_) ? (__typeof__(*(p)))om_load(p_, sizeof(*p_), s_) : *p_; \
	})
#define __atomic_store_n(p, v, order)                                \
	({                                                           \
		__typeof__(p) p_ = (p);                              \
		__typeof__(*(p)) v_ = (v);                           \
		struct om_site *s_ = OM_SITE(OM_STORE, order);       \
		if (om_is_shared(p_))                                \
			om_store(p_, sizeof(*p_), (uint64_t)v_, s_); \
		else                                                 \
			*p_ = v_;                                    \
	})
#define __atomic_thread_fence(order) om_fence(OM_SITE(OM_FENCE, order))

#endif /* ORDER_H */
