// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * metrics.c - see metrics.h
 *
 * Names and units by Prometheus' conventions: seconds and bytes, _total for what only grows. A device is
 * the labels guest, device and type; what changes with each start of a guest, such as its domain's
 * number, stands in vgrant_device_info alone, so that a series goes on.
 */
#include "backend/control/metrics.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdint.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/control/view.h"

struct metrics {
	struct json_object *devices;
	FILE *out;
};

static struct json_object *member(struct json_object *obj, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(obj, key, &v);
	return v;
}

static uint64_t number(struct json_object *obj, const char *key)
{
	return json_object_get_uint64(member(obj, key));
}

/* ---- lines ---------------------------------------------------------------- */

static void begin(const struct metrics *m, const char *name, const char *type, const char *help)
{
	fprintf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* "" for null, as labels have it. */
static void put_label(FILE *out, const char *key, struct json_object *value)
{
	const char *s = value ? json_object_get_string(value) : "";

	fprintf(out, "%s=\"", key);
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			fprintf(out, "\\%c", *s);
		else if (*s == '\n')
			fputs("\\n", out);
		else
			putc(*s, out);
	}
	putc('"', out);
}

/* NAME{guest="web",device="virtio/64",type="blk" - without its end. */
static void begin_sample(FILE *out, const char *name, struct json_object *dev)
{
	fprintf(out, "%s{", name);
	put_label(out, "guest", member(dev, "guest"));
	putc(',', out);
	put_label(out, "device", member(dev, "name"));
	putc(',', out);
	put_label(out, "type", member(dev, "type"));
}

static void end_sample(FILE *out, uint64_t value)
{
	fprintf(out, "} %" PRIu64 "\n", value);
}

/* One more label, and the value. */
static void end_sample_of(FILE *out, const char *key, const char *word, uint64_t value)
{
	fprintf(out, ",%s=\"%s\"", key, word);
	end_sample(out, value);
}

static struct json_object *device(const struct metrics *m, size_t i)
{
	return json_object_array_get_idx(m->devices, i);
}

static size_t n_devices(const struct metrics *m)
{
	return json_object_array_length(m->devices);
}

/* ---- families --------------------------------------------------------------- */

/* Numbers of the list, one a device. */
static const struct {
	const char *name, *object, *key, *help;
} counters[] = {
	{ "vgrant_requests_total", "counters", "requests", "Requests that were finished." },
	{ "vgrant_request_errors_total", "counters", "errors",
	  "Requests that were finished with an error." },
	{ "vgrant_read_bytes_total", "counters", "bytes_read", "Bytes to the guest." },
	{ "vgrant_written_bytes_total", "counters", "bytes_written", "Bytes from the guest." },
	{ "vgrant_kicks_total", "counters", "kicks", "Notifications from the guest." },
	{ "vgrant_interrupts_total", "counters", "interrupts", "Notifications to the guest." },
	{ "vgrant_guest_faults_total", "counters", "faults",
	  "Times that the guest broke the rules." },
	{ "vgrant_device_resets_total", "counters", "resets", "Resets by the guest's driver." },
	{ "vgrant_worker_restarts_total", "worker", "restarts",
	  "Workers that took over from one that ended." },
	{ "vgrant_grant_copy_hypercalls_total", "xen", "copy_hypercalls",
	  "Hypercalls that copied from or to the guest." },
	{ "vgrant_grant_copied_bytes_total", "xen", "copied_bytes", "Bytes that they copied." },
	{ "vgrant_grant_maps_total", "xen", "maps", "Calls that mapped pages of the guest." },
	{ "vgrant_grant_mapped_pages_total", "xen", "mapped_pages", "Pages that they mapped." },
	{ "vgrant_grant_unmaps_total", "xen", "unmaps", "Calls that unmapped them." },
	{ "vgrant_pool_ranges_total", "xen", "pool_hits",
	  "Ranges of memory for which Xen was asked nothing." },
	{ "vgrant_events_sent_total", "xen", "notifies", "Events that were sent to the guest." },
	{ "vgrant_event_unmasks_total", "xen", "unmasks",
	  "Event channels that were opened again." },
};

static void put_counters(const struct metrics *m)
{
	for (size_t k = 0; k < COUNT(counters); k++) {
		begin(m, counters[k].name, "counter", counters[k].help);
		for (size_t i = 0; i < n_devices(m); i++) {
			begin_sample(m->out, counters[k].name, device(m, i));
			end_sample(m->out, number(member(device(m, i), counters[k].object),
						  counters[k].key));
		}
	}
}

static void put_info(const struct metrics *m)
{
	static const char *const keys[] = { "domid", "origin" };

	begin(m, "vgrant_device_info", "gauge", "A device, and what may change of it; always 1.");
	for (size_t i = 0; i < n_devices(m); i++) {
		begin_sample(m->out, "vgrant_device_info", device(m, i));
		for (size_t k = 0; k < COUNT(keys); k++) {
			putc(',', m->out);
			put_label(m->out, keys[k], member(device(m, i), keys[k]));
		}
		end_sample(m->out, 1);
	}
	begin(m, "vgrant_device_uptime_seconds", "gauge", "How long the device has been here.");
	for (size_t i = 0; i < n_devices(m); i++) {
		begin_sample(m->out, "vgrant_device_uptime_seconds", device(m, i));
		fprintf(m->out, "} %.3f\n", json_object_get_double(member(device(m, i), "uptime")));
	}
}

static void put_states(const struct metrics *m)
{
	begin(m, "vgrant_device_state", "gauge", "1 for the state that the device is in, else 0.");
	for (size_t i = 0; i < n_devices(m); i++) {
		const char *state = json_object_get_string(member(device(m, i), "state"));

		for (unsigned s = 0; s < VG_CONTROL_STATES; s++) {
			const char *word = vg_control_state_words[s];

			begin_sample(m->out, "vgrant_device_state", device(m, i));
			end_sample_of(m->out, "state", word, state && !strcmp(state, word));
		}
	}
}

static void put_failures(const struct metrics *m)
{
	begin(m, "vgrant_request_failures_total", "counter",
	      "Requests that failed, by kind, where the device knows it.");
	for (size_t i = 0; i < n_devices(m); i++) {
		struct json_object *failed = member(device(m, i), "failed");

		if (!failed)
			continue;
		json_object_object_foreach(failed, kind, n)
		{
			begin_sample(m->out, "vgrant_request_failures_total", device(m, i));
			end_sample_of(m->out, "kind", kind, json_object_get_uint64(n));
		}
	}
}

static void put_queues(const struct metrics *m, const char *name, const char *key, const char *help)
{
	begin(m, name, "gauge", help);
	for (size_t i = 0; i < n_devices(m); i++) {
		struct json_object *queues = member(device(m, i), "queues");

		for (size_t q = 0; queues && q < json_object_array_length(queues); q++) {
			struct json_object *queue = json_object_array_get_idx(queues, q);

			begin_sample(m->out, name, device(m, i));
			fprintf(m->out, ",queue=\"%" PRIu64 "\"", number(queue, "index"));
			end_sample(m->out, number(queue, key));
		}
	}
}

/* Bucket i of struct vg_latency counts what took less than 2^i us, the last one the rest. */
static void put_histogram(const struct metrics *m, struct json_object *dev, const char *op,
			  struct json_object *l)
{
	struct json_object *buckets = member(l, "buckets");
	size_t n = buckets ? json_object_array_length(buckets) : 0;
	uint64_t sum = 0;
	char le[32];

	for (size_t i = 0; i < n; i++) {
		sum += json_object_get_uint64(json_object_array_get_idx(buckets, i));
		if (i < n - 1)
			snprintf(le, sizeof(le), "%.10g", (double)(1ull << i) / 1e6);
		else
			snprintf(le, sizeof(le), "+Inf");
		begin_sample(m->out, "vgrant_request_duration_seconds_bucket", dev);
		fprintf(m->out, ",op=\"%s\"", op);
		end_sample_of(m->out, "le", le, sum);
	}
	begin_sample(m->out, "vgrant_request_duration_seconds_sum", dev);
	fprintf(m->out, ",op=\"%s\"} %.6f\n", op, (double)number(l, "us") / 1e6);
	begin_sample(m->out, "vgrant_request_duration_seconds_count", dev);
	end_sample_of(m->out, "op", op, sum);
}

static void put_latencies(const struct metrics *m)
{
	begin(m, "vgrant_request_duration_seconds", "histogram",
	      "How long requests took, from when they were taken until they were answered.");
	for (size_t i = 0; i < n_devices(m); i++) {
		struct json_object *latency = member(device(m, i), "latency");

		if (!latency)
			continue;
		json_object_object_foreach(latency, op, l)
		{
			put_histogram(m, device(m, i), op, l);
		}
	}
}

void vg_metrics_print(struct json_object *devices, FILE *out)
{
	const struct metrics m = { devices, out };

	put_info(&m);
	put_states(&m);
	put_counters(&m);
	put_failures(&m);
	put_queues(&m, "vgrant_queue_inflight_requests", "inflight",
		   "Requests that were taken from the queue, and are not answered yet.");
	put_queues(&m, "vgrant_queue_size_entries", "size", "Entries of the queue's ring.");
	put_latencies(&m);
}
