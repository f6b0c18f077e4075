/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * order_sites.h - each place that has an order is made weaker, and something goes wrong each time
 */
#ifndef ORDER_SITES_H
#define ORDER_SITES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/base/container.h"
#include "tests/rigs/order.h"

enum {
	OM_BUDGET = 3, /* unusual choices of a run */
	OM_SITES = 64,
};

/* om_explore() of all that there is to explore; @where: what it was, for people. */
typedef const char *om_explorer(int budget, const char **where);

/* The next weaker order than @order at @s; -1: there is none. */
static inline int om_weaker(const struct om_site *s, int order)
{
	if (order == __ATOMIC_RELAXED)
		return -1;
	if (order == __ATOMIC_SEQ_CST && s->kind == OM_LOAD)
		return __ATOMIC_ACQUIRE;
	if (order == __ATOMIC_SEQ_CST && s->kind == OM_STORE)
		return __ATOMIC_RELEASE;
	return __ATOMIC_RELAXED;
}

/* Places whose order is not needed, each with the reason why it stays. */
static inline const char *om_spare(const struct om_site *s)
{
	static const struct {
		const char *function, *reason;
	} spare[] = {
		{ "drv_split_has_used", "drv_split_get() loads the index again, and acquires" },
		{ "drv_packed_enable_cb",
		  "a device may load the two halves one after the other, which ours does not" },
	};

	for (size_t i = 0; i < COUNT(spare); i++) {
		if (strcmp(s->function, spare[i].function) == 0)
			return spare[i].reason;
	}
	return NULL;
}

/* Make @s weaker, step by step, and say how it ends. Return: how many steps did no harm. */
static inline unsigned om_take_out(struct om_site *s, const char *what, om_explorer *explore)
{
	static const char *const names[] = {
		[__ATOMIC_RELAXED] = "relaxed", [__ATOMIC_ACQUIRE] = "acquire",
		[__ATOMIC_RELEASE] = "release", [__ATOMIC_ACQ_REL] = "acq_rel",
		[__ATOMIC_SEQ_CST] = "seq_cst",
	};
	unsigned harmless = 0;

	for (int order = om_weaker(s, s->order); order >= 0; order = om_weaker(s, order)) {
		const char *where = "", *wrong = NULL;

		om_weaken(s, order);
		for (int budget = 1; budget <= OM_BUDGET && !wrong; budget++)
			wrong = explore(budget, &where);
		om_weaken(NULL, 0);
		harmless += !wrong;
		printf("# %-6s %-22s %-24s %s, not %s: %s%s%s\n", what, strrchr(s->file, '/') + 1,
		       s->function, names[order], names[s->order],
		       wrong ? wrong : "nothing happens", wrong && *where ? "; " : "",
		       wrong ? where : "");
	}
	return harmless;
}

/** om_each_is_needed - the test, of @least places and more */
static inline void om_each_is_needed(const char *what, om_explorer *explore, unsigned least)
{
	struct om_site *sites[OM_SITES];
	const char *where, *wrong;
	unsigned n = 0, harmless = 0;

	om_forget();
	om.runs = 0;
	wrong = explore(OM_BUDGET, &where);
	if (wrong)
		fail_msg("%s: %s", where, wrong);
	printf("# %s: %lu runs, all well\n", what, om.runs);
	for (struct om_site *s = om.sites; s; s = s->next) {
		if (s->used && s->order != __ATOMIC_RELAXED && n < OM_SITES)
			sites[n++] = s;
	}
	assert_in_range(n, least, OM_SITES - 1);
	while (n-- > 0) {
		const char *reason = om_spare(sites[n]);
		unsigned more = om_take_out(sites[n], what, explore);

		if (reason)
			printf("#   which stays: %s\n", reason);
		else
			harmless += more;
	}
	if (harmless)
		fail_msg("%u steps to a weaker order do no harm: they are not needed, or this test "
			 "does not "
			 "show why they are",
			 harmless);
}

#endif /* ORDER_SITES_H */
