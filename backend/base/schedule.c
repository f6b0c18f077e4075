// SPDX-License-Identifier: GPL-2.0-or-later
/* schedule.c - see schedule.h */
#include "backend/base/schedule.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include "backend/base/container.h"
#include "backend/base/number.h"

static const struct {
	const char *name;
	int policy;
} classes[] = {
	{ "other", SCHED_OTHER },
	{ "batch", SCHED_BATCH },
	{ "idle", SCHED_IDLE },
};

/* "0-2,4", where a plus sign or blanks may stand for a comma. Return: whether it is such a list. */
static bool parse_cpus(const char *text, cpu_set_t *set)
{
	CPU_ZERO(set);
	do {
		uint64_t first, last;

		text += strspn(text, " ");
		if (vg_digits(text, 10, &text, &first) < 0)
			return false;
		last = first;
		if (*text == '-' && vg_digits(text + 1, 10, &text, &last) < 0)
			return false;
		if (last >= CPU_SETSIZE || first > last)
			return false;
		for (; first <= last; first++)
			CPU_SET(first, set);
	} while (*text && strchr(",+ ", *text++));
	return *text == '\0';
}

static bool parse_nice(const char *text, int *nice)
{
	bool negative = *text == '-';
	uint64_t n;

	if (vg_digits(text + negative, 10, &text, &n) < 0 || *text || n > 20 ||
	    (n == 20 && !negative))
		return false;
	*nice = negative ? -(int)n : (int)n;
	return true;
}

static bool parse_class(const char *text, int *policy)
{
	for (unsigned i = 0; i < COUNT(classes); i++) {
		if (strcmp(text, classes[i].name) == 0) {
			*policy = classes[i].policy;
			return true;
		}
	}
	return false;
}

struct wish {
	const char *cpus, *nice, *sched; /* as the user said it; NULL: did not */
	cpu_set_t set;
	int value, policy;
};

static int parse(const struct vg_params *params, struct wish *w, struct vg_err *err)
{
	*w = (struct wish){ 0 };
	w->cpus = vg_params_str(params, NULL, "cpus");
	w->nice = vg_params_str(params, NULL, "nice");
	w->sched = vg_params_str(params, NULL, "sched");
	if (w->cpus && !parse_cpus(w->cpus, &w->set))
		return vg_fail(err, -EINVAL, "cpus=%.40s is no list of processors such as 0-1+3",
			       w->cpus);
	if (w->nice && !parse_nice(w->nice, &w->value))
		return vg_fail(err, -EINVAL, "nice=%.40s must be from -20 to 19", w->nice);
	if (w->sched && !parse_class(w->sched, &w->policy))
		return vg_fail(err, -EINVAL, "sched=%.40s must be other, batch or idle", w->sched);
	return 0;
}

int vg_schedule_check(const struct vg_params *params, struct vg_err *err)
{
	struct wish w;

	return parse(params, &w, err);
}

int vg_schedule_apply(const struct vg_params *params, struct vg_err *err)
{
	const struct sched_param none = { 0 };
	struct wish w;
	int ret = parse(params, &w, err);

	if (ret < 0)
		return ret;
	if (w.cpus && sched_setaffinity(0, sizeof(w.set), &w.set) < 0)
		return vg_fail(err, -errno, "cpus=%.40s: %s", w.cpus,
			       errno == EINVAL ? "this domain has none of these processors"
					       : strerror(errno));
	if (w.sched && sched_setscheduler(0, w.policy, &none) < 0)
		return vg_fail(err, -errno, "sched=%.40s: %s", w.sched, strerror(errno));
	if (w.nice && setpriority(PRIO_PROCESS, 0, w.value) < 0)
		return vg_fail(err, -errno, "nice=%.40s: %s", w.nice, strerror(errno));
	return 0;
}
