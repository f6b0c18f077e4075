// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * figures.c - see figures.h
 */
#include "tools/figures.h"

#include <json-c/json.h>
#include <stdio.h>

/* Kinds of failed requests, as the JSON has them ("failed"), and in words. */
static const struct {
	const char *key, *words;
} failures[] = {
	{ "refused", "for what cannot be" },
	{ "unsupported", "not supported" },
	{ "io", "I/O errors" },
	{ "space", "for want of space" },
	{ "short", "of a short image" },
	{ "gone", "of a device that is gone" },
	{ NULL, NULL },
};

void vgrant_print_failures(struct json_object *failed, const char *before, const char *after)
{
	const char *between = before;

	for (unsigned i = 0; failures[i].key; i++) {
		if (!vgrant_number(failed, failures[i].key))
			continue;
		printf("%s%s %s", between, vgrant_text(failed, failures[i].key), failures[i].words);
		between = ", ";
	}
	if (between != before)
		printf("%s", after);
}

static uint64_t sum_of(struct json_object *queues, const char *key)
{
	uint64_t sum = 0;

	for (size_t i = 0; queues && i < json_object_array_length(queues); i++)
		sum += vgrant_number(json_object_array_get_idx(queues, i), key);
	return sum;
}

uint64_t vgrant_latency_read(struct json_object *l, uint64_t count[VG_LATENCY_BUCKETS])
{
	struct json_object *buckets = vgrant_member(l, "buckets");
	size_t n = buckets ? json_object_array_length(buckets) : 0;
	uint64_t sum = 0;

	for (size_t i = 0; i < n && i < VG_LATENCY_BUCKETS; i++) {
		uint64_t v = json_object_get_uint64(json_object_array_get_idx(buckets, i));

		count[i] += v;
		sum += v;
	}
	return sum;
}

void vgrant_figures_read(struct json_object *dev, struct vgrant_figures *f)
{
	struct json_object *c = vgrant_member(dev, "counters"), *x = vgrant_member(dev, "xen");
	struct json_object *latency = vgrant_member(dev, "latency");

	*f = (struct vgrant_figures){
		.requests = vgrant_number(c, "requests"),
		.errors = vgrant_number(c, "errors"),
		.bytes_read = vgrant_number(c, "bytes_read"),
		.bytes_written = vgrant_number(c, "bytes_written"),
		.kicks = vgrant_number(c, "kicks"),
		.interrupts = vgrant_number(c, "interrupts"),
		/* The grant device asks Xen twice for each mapping and its end. */
		.hypercalls = vgrant_number(x, "copy_hypercalls") +
			      2 * (vgrant_number(x, "maps") + vgrant_number(x, "unmaps")) +
			      vgrant_number(x, "notifies"),
		.depth = sum_of(vgrant_member(dev, "queues"), "inflight"),
	};
	if (!latency)
		return;
	json_object_object_foreach(latency, op, l)
	{
		(void)op;
		vgrant_latency_read(l, f->count);
	}
}

/* *@out = @now - @before. Return: whether that is no less than 0. */
static bool less(uint64_t now, uint64_t before, uint64_t *out)
{
	*out = now - before;
	return now >= before;
}

bool vgrant_figures_since(const struct vgrant_figures *now, const struct vgrant_figures *before,
			  struct vgrant_figures *out)
{
	bool on = less(now->requests, before->requests, &out->requests) &&
		  less(now->errors, before->errors, &out->errors) &&
		  less(now->bytes_read, before->bytes_read, &out->bytes_read) &&
		  less(now->bytes_written, before->bytes_written, &out->bytes_written) &&
		  less(now->kicks, before->kicks, &out->kicks) &&
		  less(now->interrupts, before->interrupts, &out->interrupts) &&
		  less(now->hypercalls, before->hypercalls, &out->hypercalls);

	for (unsigned i = 0; on && i < VG_LATENCY_BUCKETS; i++)
		on = less(now->count[i], before->count[i], &out->count[i]);
	out->depth = now->depth;
	return on;
}

uint64_t vgrant_within(const uint64_t count[VG_LATENCY_BUCKETS], unsigned percent)
{
	uint64_t n = 0, sum = 0;
	unsigned i;

	for (i = 0; i < VG_LATENCY_BUCKETS; i++)
		n += count[i];
	if (!n)
		return 0;
	for (i = 0; i < VG_LATENCY_BUCKETS - 1; i++) {
		sum += count[i];
		if (sum * 100 >= n * percent)
			break;
	}
	return 1ull << i;
}
