// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * list.c - `vgrant list`: a table for people, details, or what programs read
 *
 *	GUEST  ID  TYPE  STATE      QUEUES  REQUESTS  READ     WRITTEN  ERRORS  UP     CONFIG
 *	web    64  blk   connected  4x256       1234  1.2 GiB  3.4 MiB       0  3m12s  target=/srv/web
 *	db     64  blk   failed     -              0  0 B      0 B           0  2s     target=/srv/db
 *	       /srv/db cannot be opened: No such file or directory
 *	web: from libvirt's metadata, which counts before a file of xl's
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "tools/figures.h"
#include "tools/vgrant.h"

static const struct vgrant_column columns[] = {
	{ "GUEST", false },  { "ID", true },	   { "TYPE", false },	{ "STATE", false },
	{ "QUEUES", false }, { "REQUESTS", true }, { "READ", true },	{ "WRITTEN", true },
	{ "ERRORS", true },  { "UP", true },	   { "CONFIG", false },
};

/* ---- words -------------------------------------------------------------- */

/* "4x256", "2/4 x256" when not all run, "-" when none is set up. */
static void queues_text(struct json_object *dev, char *buf, size_t len)
{
	struct json_object *queues = vgrant_member(dev, "queues");
	size_t n = queues ? json_object_array_length(queues) : 0;
	size_t running = 0;
	uint64_t size = 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *q = json_object_array_get_idx(queues, i);

		running += (size_t)json_object_get_boolean(vgrant_member(q, "running"));
		if (vgrant_number(q, "size") > size)
			size = vgrant_number(q, "size");
	}
	if (!size)
		snprintf(buf, len, "-");
	else if (running == n)
		snprintf(buf, len, "%zux%llu", n, (unsigned long long)size);
	else
		snprintf(buf, len, "%zu/%zu x%llu", running, n, (unsigned long long)size);
}

/* The configuration without the device's name, which stands in a column of its own. */
static const char *without_type(const char *config)
{
	const char *comma = strchr(config, ',');

	return comma ? comma + 1 : "";
}

/* ---- the table ---------------------------------------------------------- */

static void fill_row(struct json_object *dev, struct vgrant_table *t)
{
	struct json_object *counters = vgrant_member(dev, "counters");
	char queues[64];

	queues_text(dev, queues, sizeof(queues));
	vgrant_table_add(t, vgrant_text(dev, "guest"));
	vgrant_table_add(t, vgrant_short_name(dev));
	vgrant_table_add(t, vgrant_text(dev, "type"));
	vgrant_table_add(t, vgrant_text(dev, "state"));
	vgrant_table_add(t, queues);
	vgrant_table_add(t, vgrant_text(counters, "requests"));
	vgrant_table_add(t, vgrant_bytes(vgrant_number(counters, "bytes_read")));
	vgrant_table_add(t, vgrant_bytes(vgrant_number(counters, "bytes_written")));
	vgrant_table_add(t, vgrant_text(counters, "errors"));
	vgrant_table_add(t, vgrant_duration(vgrant_number(dev, "uptime")));
	vgrant_table_add(t, without_type(vgrant_text(dev, "config")));
	vgrant_table_below(t, vgrant_text(dev, "error"));
}

static int print_table(struct json_object *devices)
{
	struct vgrant_table t = { .columns = columns, .n_columns = COUNT(columns) };

	for (size_t i = 0; i < json_object_array_length(devices); i++)
		fill_row(json_object_array_get_idx(devices, i), &t);
	return vgrant_table_print(&t, stdout);
}

/* ---- details ------------------------------------------------------------ */

static void print_queue(struct json_object *q)
{
	printf("  queue %-4llu ", (unsigned long long)vgrant_number(q, "index"));
	if (!vgrant_number(q, "size")) {
		printf("not set up\n");
		return;
	}
	printf("%s %s of %llu, %llu chains taken, %llu in flight; %llu kicks, %llu interrupts\n",
	       json_object_get_boolean(vgrant_member(q, "running")) ? "running," : "stopped,",
	       json_object_get_boolean(vgrant_member(q, "packed")) ? "packed" : "split",
	       (unsigned long long)vgrant_number(q, "size"),
	       (unsigned long long)vgrant_number(q, "chains"),
	       (unsigned long long)vgrant_number(q, "inflight"),
	       (unsigned long long)vgrant_number(q, "kicks"),
	       (unsigned long long)vgrant_number(q, "interrupts"));
}

static void print_features(struct json_object *features)
{
	struct json_object *names = vgrant_member(features, "names");

	printf("  features  ");
	for (size_t i = 0; names && i < json_object_array_length(names); i++)
		printf(" %s", json_object_get_string(json_object_array_get_idx(names, i)));
	printf(" (%s of %s)\n", vgrant_text(features, "negotiated"),
	       vgrant_text(features, "offered"));
}

static void print_counters(struct json_object *c)
{
	printf("  requests   %s done, %s of them with an error; read %s, written %s\n",
	       vgrant_text(c, "requests"), vgrant_text(c, "errors"),
	       vgrant_bytes(vgrant_number(c, "bytes_read")),
	       vgrant_bytes(vgrant_number(c, "bytes_written")));
	printf("  guest      %s kicks received, %s interrupts sent; broke the rules %s times, "
	       "reset "
	       "the device %s times\n",
	       vgrant_text(c, "kicks"), vgrant_text(c, "interrupts"), vgrant_text(c, "faults"),
	       vgrant_text(c, "resets"));
}

static void print_within(const uint64_t *count, unsigned part)
{
	uint64_t us = vgrant_within(count, part);

	if (us < 1000)
		printf(", %u %% within %llu us", part, (unsigned long long)us);
	else
		printf(", %u %% within %llu ms", part, (unsigned long long)us / 1000);
}

static void print_latency(struct json_object *latency)
{
	if (!latency)
		return;
	json_object_object_foreach(latency, op, l)
	{
		uint64_t count[VG_LATENCY_BUCKETS] = { 0 };
		uint64_t n = vgrant_latency_read(l, count);

		if (!n)
			continue;
		printf("  %-10s %llu, on average %llu us", op, (unsigned long long)n,
		       (unsigned long long)(vgrant_number(l, "us") / n));
		print_within(count, 50);
		print_within(count, 99);
		printf("\n");
	}
}

static void print_xen(struct json_object *x)
{
	printf("  xen        %s grant copies of %s, %s maps of %s pages, %s unmaps, %s ranges in "
	       "the pool; %s events sent, %s unmasked\n",
	       vgrant_text(x, "copy_calls"), vgrant_bytes(vgrant_number(x, "copied_bytes")),
	       vgrant_text(x, "maps"), vgrant_text(x, "mapped_pages"), vgrant_text(x, "unmaps"),
	       vgrant_text(x, "pool_hits"), vgrant_text(x, "notifies"), vgrant_text(x, "unmasks"));
}

static void print_details(struct json_object *dev)
{
	struct json_object *queues = vgrant_member(dev, "queues");
	struct json_object *worker = vgrant_member(dev, "worker");

	printf("%s", vgrant_printable(vgrant_text(dev, "guest")));
	if (vgrant_member(dev, "domid"))
		printf(" (domain %s)", vgrant_text(dev, "domid"));
	printf(", device %s: %s, %s; here for %s\n", vgrant_text(dev, "name"),
	       vgrant_printable(vgrant_text(dev, "type")), vgrant_text(dev, "state"),
	       vgrant_duration(vgrant_number(dev, "uptime")));
	if (*vgrant_text(dev, "error"))
		printf("  error      %s\n", vgrant_printable(vgrant_text(dev, "error")));
	printf("  config     %s\n", vgrant_printable(vgrant_text(dev, "config")));
	printf("  origin     %s %s\n", vgrant_text(dev, "origin"),
	       vgrant_printable(vgrant_text(dev, "file")));
	if (vgrant_member(worker, "pid"))
		printf("  worker     process %s, restarted %s times\n", vgrant_text(worker, "pid"),
		       vgrant_text(worker, "restarts"));
	else
		printf("  worker     none now, restarted %s times\n",
		       vgrant_text(worker, "restarts"));
	print_features(vgrant_member(dev, "features"));
	print_counters(vgrant_member(dev, "counters"));
	vgrant_print_failures(vgrant_member(dev, "failed"), "  failed     ", "\n");
	print_latency(vgrant_member(dev, "latency"));
	print_xen(vgrant_member(dev, "xen"));
	if (*vgrant_text(dev, "detail"))
		printf("  device     %s\n", vgrant_printable(vgrant_text(dev, "detail")));
	for (size_t i = 0; queues && i < json_object_array_length(queues); i++)
		print_queue(json_object_array_get_idx(queues, i));
}

/* ---- the command -------------------------------------------------------- */

static void print_brief(struct json_object *dev)
{
	printf("%s\t%s\t%s\t%s\n", vgrant_printable(vgrant_text(dev, "guest")),
	       vgrant_text(dev, "name"), vgrant_printable(vgrant_text(dev, "type")),
	       vgrant_text(dev, "state"));
}

/* Below the table, for it is not what one may expect: xl's file does not count. Devices are sorted. */
static void print_sources(struct json_object *devices)
{
	const char *last = "";

	for (size_t i = 0; i < json_object_array_length(devices); i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);

		if (strcmp(vgrant_text(dev, "origin"), "libvirt") != 0 ||
		    strcmp(vgrant_text(dev, "guest"), last) == 0)
			continue;
		last = vgrant_text(dev, "guest");
		printf("%s: from libvirt's metadata, which counts before a file of xl's\n",
		       vgrant_printable(last));
	}
}

static int print_devices(const struct vgrant_options *opt, struct json_object *devices)
{
	size_t n = json_object_array_length(devices);

	if (!opt->verbose && !opt->brief) {
		int ret = print_table(devices);

		print_sources(devices);
		return ret;
	}
	for (size_t i = 0; i < n; i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);

		if (opt->brief)
			print_brief(dev);
		else
			print_details(dev);
	}
	return VGRANT_OK;
}

int vgrant_by_place(const void *a, const void *b)
{
	struct json_object *x = *(struct json_object *const *)a;
	struct json_object *y = *(struct json_object *const *)b;
	uint64_t m = vgrant_number(x, "domid"), n = vgrant_number(y, "domid");
	int kinds = strcmp(vgrant_text(x, "kind"), vgrant_text(y, "kind"));
	int names = strcmp(vgrant_text(x, "guest"), vgrant_text(y, "guest"));

	if (!vgrant_member(x, "domid") != !vgrant_member(y, "domid"))
		return vgrant_member(x, "domid") ? -1 : 1;
	if (m != n)
		return m < n ? -1 : 1;
	if (kinds || names)
		return kinds ? kinds : names;
	m = vgrant_number(x, "id");
	n = vgrant_number(y, "id");
	return m < n ? -1 : m > n;
}

int vgrant_list(const struct vgrant_options *opt, int argc, char **argv)
{
	const char *guest = argc ? argv[0] : NULL;
	struct json_object *answer = NULL, *devices;
	int ret = vgrant_ask(opt, &answer, "list", VGRANT_ARGS({ "guest", guest }));

	if (ret != VGRANT_OK)
		return ret;
	json_object_object_del(answer, "ok");
	devices = vgrant_member(answer, "devices");
	if (json_object_is_type(devices, json_type_array))
		json_object_array_sort(devices, vgrant_by_place);
	if (!json_object_is_type(devices, json_type_array)) {
		vgrant_complain("vgrantd answered without a list: is it of another version?");
		ret = VGRANT_FAILED;
	} else if (opt->json) {
		printf("%s\n", json_object_to_json_string_ext(
				       answer, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						       JSON_C_TO_STRING_NOSLASHESCAPE));
	} else if (json_object_array_length(devices)) {
		ret = print_devices(opt, devices);
	} else if (guest) {
		vgrant_complain(
			"vgrantd has no device of a guest %s: is it running (xl list), and "
			"has its configuration a vgrant = [ ... ] that `vgrant check` likes?",
			guest);
		ret = VGRANT_FAILED;
	} else if (!opt->brief) {
		vgrant_complain(
			"there are no devices; see vgrant.conf(5) for how to configure one");
	}
	json_object_put(answer);
	return ret;
}
