// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * show.c - `vgrant show`: all of a device in sentences, what is wrong first
 */
#include <json-c/json.h>
#include <string.h>

#include "backend/base/container.h"
#include "tools/figures.h"
#include "tools/vgrant.h"

enum { BAR = 40 }; /* characters of the longest */

static unsigned long long count(struct json_object *obj, const char *key)
{
	return (unsigned long long)vgrant_number(obj, key);
}

static const char *plural(unsigned long long n)
{
	return n == 1 ? "" : "s";
}

/* ---- what it is, and how it is ------------------------------------------------ */

static void print_head(struct json_object *dev)
{
	printf("Device %s of %s", vgrant_text(dev, "name"),
	       vgrant_printable(vgrant_text(dev, "guest")));
	if (vgrant_member(dev, "domid"))
		printf(" (domain %s)", vgrant_text(dev, "domid"));
	printf(": %s, %s, here for %s.\n", vgrant_printable(vgrant_text(dev, "type")),
	       vgrant_text(dev, "state"), vgrant_duration(vgrant_number(dev, "uptime")));
}

/* What a state means to who does not know it. */
static void print_state(struct json_object *dev)
{
	static const struct {
		const char *state, *means;
	} states[] = {
		{ "opening", "Its worker opens what it stands on." },
		{ "waiting",
		  "It is ready, and no driver of the guest's has connected: does the guest "
		  "run, and is virtio_grant loaded there?" },
		{ "connected", "A driver uses it." },
		{ "failed",
		  "The guest does not have it. Once that is mended: systemctl reload vgrantd" },
		{ "closing", "It is being taken down." },
		{ "restarting",
		  "Its worker has died, and the next one is about to go on; the guest "
		  "waits." },
	};

	if (*vgrant_text(dev, "error"))
		printf("  WRONG: %s.\n", vgrant_printable(vgrant_text(dev, "error")));
	for (size_t i = 0; i < COUNT(states); i++) {
		if (strcmp(states[i].state, vgrant_text(dev, "state")) == 0)
			printf("  %s\n", states[i].means);
	}
}

static void print_origin(struct json_object *dev)
{
	static const struct {
		const char *origin, *means;
	} origins[] = {
		{ "config", "from the guest's xl configuration" },
		{ "xl-virtio",
		  "from virtio = [ ... ] of its xl configuration, with nothing in vgrant" },
		{ "xl-disk", "from disk = [ ... ] of its xl configuration" },
		{ "attach", "by vgrant attach; it lasts until it is detached or the guest ends" },
		{ "libvirt", "from the domain's metadata in libvirt" },
		{ "vhost-user", "from [vhost-user] of vgrantd.conf; its socket is" },
	};

	printf("  Settings: %s\n", vgrant_printable(vgrant_text(dev, "config")));
	for (size_t i = 0; i < COUNT(origins); i++) {
		if (strcmp(origins[i].origin, vgrant_text(dev, "origin")) == 0)
			printf("    %s%s%s\n", origins[i].means,
			       *vgrant_text(dev, "file") ? " " : "",
			       vgrant_printable(vgrant_text(dev, "file")));
	}
	if (*vgrant_text(dev, "detail"))
		printf("  The device says: %s\n", vgrant_printable(vgrant_text(dev, "detail")));
}

static void print_worker(struct json_object *dev)
{
	struct json_object *worker = vgrant_member(dev, "worker");
	unsigned long long n = count(worker, "restarts");

	if (vgrant_member(worker, "pid"))
		printf("  Its worker is process %s", vgrant_text(worker, "pid"));
	else
		printf("  It has no worker now");
	if (n)
		printf("; %llu before it died, and vgrantd's log says how.\n", n);
	else
		printf("; none has died.\n");
}

static void print_names(const char *what, struct json_object *names)
{
	size_t n = names ? json_object_array_length(names) : 0;

	if (!n)
		return;
	printf("  %s", what);
	for (size_t i = 0; i < n; i++)
		printf(" %s", json_object_get_string(json_object_array_get_idx(names, i)));
	printf(".\n");
}

/* ---- queues --------------------------------------------------------------------- */

static void print_queue(struct json_object *q)
{
	unsigned long long taken = count(q, "chains");

	printf("  Queue %llu ", count(q, "index"));
	if (!count(q, "size")) {
		printf("is not set up.\n");
		return;
	}
	printf("%s: %s, %llu entries; %llu request%s taken, %llu in flight; %llu kick%s, %llu "
	       "interrupt%s.\n",
	       json_object_get_boolean(vgrant_member(q, "running")) ? "runs" : "is stopped",
	       json_object_get_boolean(vgrant_member(q, "packed")) ? "packed" : "split",
	       count(q, "size"), taken, plural(taken), count(q, "inflight"), count(q, "kicks"),
	       plural(count(q, "kicks")), count(q, "interrupts"), plural(count(q, "interrupts")));
}

/* ---- what it has done --------------------------------------------------------------- */

static void print_counters(struct json_object *dev)
{
	struct json_object *c = vgrant_member(dev, "counters");
	unsigned long long n = count(c, "requests"), errors = count(c, "errors");

	printf("  It has done %llu request%s: %s read, %s written.", n, plural(n),
	       vgrant_bytes(vgrant_number(c, "bytes_read")),
	       vgrant_bytes(vgrant_number(c, "bytes_written")));
	if (errors)
		printf(" %llu ended with an error.", errors);
	else if (n)
		printf(" None ended with an error.");
	vgrant_print_failures(vgrant_member(dev, "failed"), " Of them: ", ".");
	printf("\n");
	if (count(c, "faults"))
		printf("  WRONG: the guest broke the rules %llu time%s; vgrantd's log says how.\n",
		       count(c, "faults"), plural(count(c, "faults")));
	if (count(c, "resets"))
		printf("  The guest's driver has reset it %llu time%s.\n", count(c, "resets"),
		       plural(count(c, "resets")));
}

static void print_costs(struct json_object *dev)
{
	struct vgrant_figures f;
	double n;

	vgrant_figures_read(dev, &f);
	if (!f.requests)
		return;
	n = (double)f.requests;
	printf("  A request costs %.2f kicks, %.2f interrupts and %.2f hypercalls; Xen copied "
	       "%s.\n",
	       (double)f.kicks / n, (double)f.interrupts / n, (double)f.hypercalls / n,
	       vgrant_bytes(vgrant_number(vgrant_member(dev, "xen"), "copied_bytes")));
}

/* "< 128 us", of bucket @i of struct vg_latency. */
static void print_bound(unsigned i)
{
	bool last = i == VG_LATENCY_BUCKETS - 1;
	unsigned long long us = 1ull << (last ? i - 1 : i);

	if (us >= 1000000)
		printf("    %c %4llu s  ", last ? '>' : '<', us / 1000000);
	else if (us >= 1000)
		printf("    < %4llu ms ", us / 1000);
	else
		printf("    < %4llu us ", us);
}

static void print_bars(const uint64_t *counts)
{
	unsigned first = 0, last = VG_LATENCY_BUCKETS - 1;
	uint64_t most = 1;

	while (first < last && !counts[first])
		first++;
	while (last > first && !counts[last])
		last--;
	for (unsigned i = first; i <= last; i++)
		most = counts[i] > most ? counts[i] : most;
	for (unsigned i = first; i <= last; i++) {
		/* What there is shows, be it ever so little. */
		unsigned bar = (unsigned)((double)counts[i] / (double)most * BAR + 0.5);

		print_bound(i);
		bar = counts[i] && !bar ? 1 : bar;
		putchar('|');
		for (unsigned k = 0; k < BAR; k++)
			putchar(k < bar ? '#' : ' ');
		printf("| %llu\n", (unsigned long long)counts[i]);
	}
}

static void print_latency(struct json_object *latency)
{
	if (!latency)
		return;
	json_object_object_foreach(latency, op, l)
	{
		uint64_t counts[VG_LATENCY_BUCKETS] = { 0 };
		uint64_t n = vgrant_latency_read(l, counts);

		if (!n)
			continue;
		printf("  How long each %s took: %llu us on average of %llu.\n",
		       strcmp(op, "other") == 0 ? "other request" : op,
		       (unsigned long long)(vgrant_number(l, "us") / n), (unsigned long long)n);
		print_bars(counts);
	}
}

static void print_device(struct json_object *dev)
{
	struct json_object *queues = vgrant_member(dev, "queues");
	struct json_object *features = vgrant_member(dev, "features");

	print_head(dev);
	print_state(dev);
	print_origin(dev);
	print_worker(dev);
	print_names("The driver uses", vgrant_member(features, "names"));
	print_names("It was offered, and does not use,", vgrant_member(features, "unused"));
	for (size_t i = 0; queues && i < json_object_array_length(queues); i++)
		print_queue(json_object_array_get_idx(queues, i));
	print_counters(dev);
	print_costs(dev);
	print_latency(vgrant_member(dev, "latency"));
}

/* ---- the command -------------------------------------------------------------------- */

/* As `vgrant list --json`, with this device alone. */
static void print_json(struct json_object *devices)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "devices", json_object_get(devices));
	printf("%s\n", json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY |
								   JSON_C_TO_STRING_SPACED |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(obj);
}

/* Those of @devices that are meant. Return: an array, to be put; an empty one after a complaint. */
static struct json_object *meant(struct json_object *devices, const char *guest, const char *id)
{
	struct json_object *array = json_object_new_array();
	struct json_object *dev = id ? vgrant_find_device(devices, id) : NULL;

	if (dev)
		json_object_array_add(array, json_object_get(dev));
	for (size_t i = 0; !id && i < json_object_array_length(devices); i++)
		json_object_array_add(array,
				      json_object_get(json_object_array_get_idx(devices, i)));
	if (!json_object_array_length(array))
		vgrant_complain("%s has no device%s%s: vgrant list shows what there is", guest,
				id ? " " : "", id ? id : "");
	json_object_array_sort(array, vgrant_by_place);
	return array;
}

int vgrant_show(const struct vgrant_options *opt, int argc, char **argv)
{
	struct json_object *answer = NULL, *devices, *array;
	int ret = vgrant_devices(opt, argv[0], &answer, &devices);

	if (ret != VGRANT_OK) {
		json_object_put(answer);
		return ret;
	}
	array = meant(devices, argv[0], argc > 1 ? argv[1] : NULL);
	if (!json_object_array_length(array))
		ret = VGRANT_FAILED;
	else if (opt->json)
		print_json(array);
	for (size_t i = 0; !opt->json && i < json_object_array_length(array); i++) {
		if (i)
			putchar('\n');
		print_device(json_object_array_get_idx(array, i));
	}
	json_object_put(array);
	json_object_put(answer);
	return ret;
}
