// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * top.c - `vgrant top`: what devices do just now, a line each
 *
 *	GUEST  ID  TYPE  STATE      REQ/S  READ/S     WRITE/S   P50     P99    DEPTH  KICKS/R  IRQS/R  HYPER/R  ERRORS
 *	web    64  blk   connected   1234  4.8 MiB    0 B       <128us  <2ms       4     0.12    0.25     0.40  3 (+1)
 *
 * Every line is the difference of two looks. A device that was not there at the first, or one of whose
 * counters went backwards, is a new one: it has no rates until the next look. A vgrantd that does not
 * answer is waited for; what was seen last is what the next look is compared with.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/base/container.h"
#include "backend/base/number.h"
#include "backend/base/ticks.h"
#include "tools/figures.h"
#include "tools/terminal.h"
#include "tools/vgrant.h"

#define INTERVAL_S 2.0

/* A device at one look. */
struct sight {
	struct json_object *dev; /* borrowed from the look's answer */
	struct vgrant_figures now, since;
	double seconds; /* that since is about; 0: it is new */
};

struct look {
	struct json_object *answer; /* NULL: vgrantd did not answer */
	struct sight *sights;
	size_t n;
	int64_t ns; /* when */
	struct timespec wall;
};

struct top {
	const struct vgrant_options *opt;
	const char *guest;
	double interval; /* s */
	uint64_t looks;	 /* that are shown; 0: without end */
	unsigned sort;	 /* index of sorts */
	struct look last;
	char trouble[512]; /* why there is nothing new; "": there is */
};

/* ---- what is compared ----------------------------------------------------- */

static double per_second(const struct sight *s, uint64_t n)
{
	return s->seconds > 0 ? (double)n / s->seconds : 0;
}

static double by_requests(const struct sight *s)
{
	return per_second(s, s->since.requests);
}

static double by_bytes(const struct sight *s)
{
	return per_second(s, s->since.bytes_read + s->since.bytes_written);
}

static double by_latency(const struct sight *s)
{
	return s->seconds > 0 ? (double)vgrant_within(s->since.count, 99) : 0;
}

static double by_depth(const struct sight *s)
{
	return (double)s->now.depth;
}

static double by_kicks(const struct sight *s)
{
	return per_second(s, s->since.kicks + s->since.interrupts);
}

static double by_hypercalls(const struct sight *s)
{
	return per_second(s, s->since.hypercalls);
}

static double by_errors(const struct sight *s)
{
	return (double)s->now.errors;
}

/* Also keys of the live form, by their first letter. */
static const struct {
	const char *name;
	double (*value)(const struct sight *s); /* the largest first; NULL: by place */
} sorts[] = {
	{ "guest", NULL },
	{ "requests", by_requests },
	{ "bytes", by_bytes },
	{ "latency", by_latency },
	{ "depth", by_depth },
	{ "kicks", by_kicks },
	{ "hypercalls", by_hypercalls },
	{ "errors", by_errors },
};

static int by_sort(const void *a, const void *b, void *arg)
{
	const struct sight *x = a, *y = b;
	const struct top *t = arg;
	double m = 0, n = 0;

	if (sorts[t->sort].value) {
		m = sorts[t->sort].value(x);
		n = sorts[t->sort].value(y);
	}
	if (m > n || m < n)
		return m > n ? -1 : 1;
	return vgrant_by_place(&x->dev, &y->dev);
}

/* ---- looking ---------------------------------------------------------------- */

static bool is_same(struct json_object *a, struct json_object *b)
{
	static const char *const keys[] = { "guest", "domid", "name", "type" };

	for (size_t i = 0; i < COUNT(keys); i++) {
		if (strcmp(vgrant_text(a, keys[i]), vgrant_text(b, keys[i])) != 0)
			return false;
	}
	return true;
}

static const struct sight *find(const struct look *l, struct json_object *dev)
{
	for (size_t i = 0; i < l->n; i++) {
		if (is_same(l->sights[i].dev, dev))
			return &l->sights[i];
	}
	return NULL;
}

/* @s is new since @last, or what it did since. */
static void compare(struct sight *s, const struct look *last, double seconds)
{
	const struct sight *was = find(last, s->dev);
	bool is_old = was && json_object_get_double(vgrant_member(s->dev, "uptime")) >= seconds;

	if (is_old && vgrant_figures_since(&s->now, &was->now, &s->since))
		s->seconds = seconds;
	else
		memset(&s->since, 0, sizeof(s->since));
}

static void forget(struct look *l)
{
	json_object_put(l->answer);
	free(l->sights);
	*l = (struct look){ .answer = NULL };
}

/* Return: a code; t->last is the new look only if that is VGRANT_OK. */
static int look(struct top *t)
{
	struct look l = { .answer = NULL };
	struct json_object *devices = NULL;
	int ret = vgrant_devices(t->opt, t->guest, &l.answer, &devices);
	double seconds;

	l.ns = vg_now_ns();
	clock_gettime(CLOCK_REALTIME, &l.wall);
	seconds = (double)(l.ns - t->last.ns) / 1e9;
	if (ret == VGRANT_OK) {
		l.n = json_object_array_length(devices);
		l.sights = calloc(l.n + 1, sizeof(*l.sights));
		if (!l.sights) {
			vgrant_complain("out of memory");
			ret = VGRANT_FAILED;
		}
	}
	if (ret != VGRANT_OK) {
		json_object_put(l.answer);
		return ret;
	}
	for (size_t i = 0; i < l.n; i++) {
		l.sights[i].dev = json_object_array_get_idx(devices, i);
		vgrant_figures_read(l.sights[i].dev, &l.sights[i].now);
		compare(&l.sights[i], &t->last, seconds);
	}
	forget(&t->last);
	t->last = l;
	return VGRANT_OK;
}

/* ---- for people ---------------------------------------------------------------- */

static const struct vgrant_column columns[] = {
	{ "GUEST", false },  { "ID", true },	 { "TYPE", false },   { "STATE", false },
	{ "REQ/S", true },   { "READ/S", true }, { "WRITE/S", true }, { "P50", true },
	{ "P99", true },     { "DEPTH", true },	 { "KICKS/R", true }, { "IRQS/R", true },
	{ "HYPER/R", true }, { "ERRORS", true },
};

static void add_rate(struct vgrant_table *t, const struct sight *s, uint64_t n)
{
	double rate = per_second(s, n);
	char text[32];

	snprintf(text, sizeof(text), rate < 9.95 && n ? "%.1f" : "%.0f", rate);
	vgrant_table_add(t, s->seconds > 0 ? text : "-");
}

static void add_bytes(struct vgrant_table *t, const struct sight *s, uint64_t n)
{
	vgrant_table_add(t, s->seconds > 0 ? vgrant_bytes((uint64_t)per_second(s, n)) : "-");
}

static void add_each(struct vgrant_table *t, const struct sight *s, uint64_t n)
{
	char text[32] = "-";

	if (s->since.requests)
		snprintf(text, sizeof(text), "%.2f", (double)n / (double)s->since.requests);
	vgrant_table_add(t, text);
}

static void add_within(struct vgrant_table *t, const struct sight *s, unsigned percent)
{
	uint64_t us = vgrant_within(s->since.count, percent);
	char text[32] = "-";

	if (us >= 1ull << (VG_LATENCY_BUCKETS - 1))
		snprintf(text, sizeof(text), ">%llus", (unsigned long long)us / 2 / 1000000);
	else if (us >= 1000)
		snprintf(text, sizeof(text), "<%llums", (unsigned long long)us / 1000);
	else if (us)
		snprintf(text, sizeof(text), "<%lluus", (unsigned long long)us);
	vgrant_table_add(t, text);
}

static void add_errors(struct vgrant_table *t, const struct sight *s)
{
	char text[64];

	if (s->since.errors)
		snprintf(text, sizeof(text), "%llu (+%llu)", (unsigned long long)s->now.errors,
			 (unsigned long long)s->since.errors);
	else
		snprintf(text, sizeof(text), "%llu", (unsigned long long)s->now.errors);
	vgrant_table_add(t, text);
}

static void add_row(struct vgrant_table *t, const struct sight *s)
{
	char depth[24];

	snprintf(depth, sizeof(depth), "%llu", (unsigned long long)s->now.depth);
	vgrant_table_add(t, vgrant_text(s->dev, "guest"));
	vgrant_table_add(t, vgrant_short_name(s->dev));
	vgrant_table_add(t, vgrant_text(s->dev, "type"));
	vgrant_table_add(t, vgrant_text(s->dev, "state"));
	add_rate(t, s, s->since.requests);
	add_bytes(t, s, s->since.bytes_read);
	add_bytes(t, s, s->since.bytes_written);
	add_within(t, s, 50);
	add_within(t, s, 99);
	vgrant_table_add(t, depth);
	add_each(t, s, s->since.kicks);
	add_each(t, s, s->since.interrupts);
	add_each(t, s, s->since.hypercalls);
	add_errors(t, s);
}

static void print_table(const struct top *t, FILE *out)
{
	struct vgrant_table table = { .columns = columns, .n_columns = COUNT(columns) };

	for (size_t i = 0; i < t->last.n; i++)
		add_row(&table, &t->last.sights[i]);
	vgrant_table_print(&table, out);
}

static void print_head(const struct top *t, FILE *out)
{
	char now[32] = "";
	struct tm tm;

	if (localtime_r(&t->last.wall.tv_sec, &tm))
		strftime(now, sizeof(now), "%F %T", &tm);
	fprintf(out, "%s  %zu device%s, every %g s, by %s%s%s\n", now, t->last.n,
		t->last.n == 1 ? "" : "s", t->interval, sorts[t->sort].name,
		*t->trouble ? "; " : "", vgrant_printable(t->trouble));
}

/* ---- for programs ---------------------------------------------------------------- */

static void put_number(struct json_object *obj, const char *key, bool known, double value)
{
	char text[40];

	snprintf(text, sizeof(text), "%.3f", value);
	json_object_object_add(obj, key, known ? json_object_new_double_s(value, text) : NULL);
}

static void put_count(struct json_object *obj, const char *key, bool known, uint64_t value)
{
	json_object_object_add(obj, key, known ? json_object_new_uint64(value) : NULL);
}

static struct json_object *sight_json(const struct sight *s)
{
	static const char *const same[] = { "guest", "domid", "id", "name", "type", "state" };
	struct json_object *obj = json_object_new_object();
	const struct vgrant_figures *d = &s->since;
	uint64_t p50 = vgrant_within(d->count, 50), p99 = vgrant_within(d->count, 99);
	double n = d->requests ? (double)d->requests : 1;
	bool known = s->seconds > 0, any = d->requests;

	for (size_t i = 0; i < COUNT(same); i++)
		json_object_object_add(obj, same[i],
				       json_object_get(vgrant_member(s->dev, same[i])));
	put_number(obj, "requests_per_second", known, per_second(s, d->requests));
	put_number(obj, "bytes_read_per_second", known, per_second(s, d->bytes_read));
	put_number(obj, "bytes_written_per_second", known, per_second(s, d->bytes_written));
	put_count(obj, "latency_median_us", p50, p50);
	put_count(obj, "latency_99_us", p99, p99);
	put_count(obj, "depth", true, s->now.depth);
	put_number(obj, "kicks_per_request", any, (double)d->kicks / n);
	put_number(obj, "interrupts_per_request", any, (double)d->interrupts / n);
	put_number(obj, "hypercalls_per_request", any, (double)d->hypercalls / n);
	put_count(obj, "errors", true, s->now.errors);
	put_count(obj, "errors_since", known, d->errors);
	return obj;
}

static void print_json(const struct top *t)
{
	struct json_object *obj = json_object_new_object(), *devices = json_object_new_array();

	for (size_t i = 0; i < t->last.n; i++)
		json_object_array_add(devices, sight_json(&t->last.sights[i]));
	put_number(obj, "time", true,
		   (double)t->last.wall.tv_sec + (double)t->last.wall.tv_nsec / 1e9);
	json_object_object_add(obj, "devices", devices);
	printf("%s\n", json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(obj);
}

/* ---- again and again ---------------------------------------------------------------- */

static void sort(struct top *t)
{
	qsort_r(t->last.sights, t->last.n, sizeof(*t->last.sights), by_sort, t);
}

static void paint(struct top *t)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	sort(t);
	print_head(t, out);
	fputs("keys: ", out);
	for (size_t i = 0; i < COUNT(sorts); i++)
		fprintf(out, "%c %s, ", sorts[i].name[0], sorts[i].name);
	fputs("q ends\n\n", out);
	print_table(t, out);
	if (fclose(out) == 0)
		vgrant_terminal_paint(text);
	free(text);
}

static void take_key(struct top *t, int key)
{
	for (unsigned i = 0; i < COUNT(sorts); i++) {
		if (key == sorts[i].name[0])
			t->sort = i;
	}
}

static int watch(struct top *t)
{
	int64_t next = t->last.ns + (int64_t)(t->interval * 1e9);
	int what = VGRANT_TERMINAL_AGAIN;

	vgrant_terminal_take();
	vgrant_complain_into(t->trouble, sizeof(t->trouble));
	while (what != VGRANT_TERMINAL_END && what != 'q') {
		int64_t left;

		if (what == VGRANT_TERMINAL_TIME) {
			t->trouble[0] = '\0';
			look(t);
			next = vg_now_ns() + (int64_t)(t->interval * 1e9);
		} else if (what > 0) {
			take_key(t, what);
		}
		paint(t);
		left = next - vg_now_ns();
		what = vgrant_terminal_wait(left > 0 ? (long)(left / 1000000) + 1 : 0);
	}
	vgrant_complain_into(NULL, 0);
	vgrant_terminal_give();
	return VGRANT_OK;
}

static void wait_for(double seconds)
{
	const struct timespec t = { .tv_sec = (time_t)seconds,
				    .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };

	nanosleep(&t, NULL);
}

/* For scripts and logs. Return: the code of the last look. */
static int report(struct top *t)
{
	int ret = VGRANT_OK;

	for (uint64_t i = 0; !t->looks || i < t->looks; i++) {
		wait_for(t->interval);
		ret = look(t);
		if (ret != VGRANT_OK)
			continue;
		sort(t);
		if (t->opt->json) {
			print_json(t);
		} else {
			print_head(t, stdout);
			print_table(t, stdout);
		}
		/* Nobody reads it any more, or it finds no room. */
		if (fflush(stdout))
			return VGRANT_FAILED;
	}
	return ret;
}

static int take_interval(struct top *t, const char *text)
{
	char *end;

	t->interval = INTERVAL_S;
	if (!text)
		return VGRANT_OK;
	t->interval = strtod(text, &end);
	if (!*end && end != text && t->interval >= 0.1 && t->interval <= 3600)
		return VGRANT_OK;
	vgrant_complain("--interval must be seconds from 0.1 to 3600, not '%s'", text);
	return VGRANT_USAGE;
}

static int take_sort(struct top *t, const char *text)
{
	for (unsigned i = 0; text && i < COUNT(sorts); i++) {
		if (strcmp(sorts[i].name, text) == 0) {
			t->sort = i;
			return VGRANT_OK;
		}
	}
	if (!text)
		return VGRANT_OK;
	vgrant_complain("there is no order '%s'; `vgrant help top` lists them", text);
	return VGRANT_USAGE;
}

static int take_batch(struct top *t, const struct vgrant_options *opt)
{
	t->looks = opt->once ? 1 : 0;
	if (!opt->batch ||
	    (vg_number(opt->batch, 10, UINT32_MAX, &t->looks) == 0 && t->looks && !opt->once))
		return VGRANT_OK;
	if (opt->once)
		vgrant_complain("--once is --batch 1: give one of them");
	else
		vgrant_complain("--batch must be a number of looks, not '%s'", opt->batch);
	return VGRANT_USAGE;
}

int vgrant_top(const struct vgrant_options *opt, int argc, char **argv)
{
	struct top t = { .opt = opt, .guest = argc ? argv[0] : NULL };
	int ret = take_interval(&t, opt->interval);

	if (ret == VGRANT_OK)
		ret = take_sort(&t, opt->sort);
	if (ret == VGRANT_OK)
		ret = take_batch(&t, opt);
	if (ret == VGRANT_OK)
		ret = look(&t);
	if (ret == VGRANT_OK)
		ret = t.looks || opt->json || !vgrant_terminal_is() ? report(&t) : watch(&t);
	forget(&t.last);
	return ret;
}
