/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_metrics.c - libFuzzer target: requests for Prometheus' page, and what may stand in it
 *
 * The first byte says what the rest is: bytes of a request, as far as they have come, whole and then
 * without their last; or the names of a device's guest and type, and its numbers.
 *
 * What must hold: no crash, no sanitizer report; a request is refused, accepted or not whole, and one
 * that is decided is decided as before when more comes; the head of an answer fits; every line of a page
 * is a comment or a sample, whatever names are.
 */
#include <json-c/json.h>

#include "backend/control/http.h"
#include "backend/control/json.h"
#include "backend/control/metrics.h"
#include "tests/fuzz/fuzz.h"

static void answer(int status)
{
	char head[256];
	size_t n = vg_http_head(head, sizeof(head), status, VG_METRICS_TYPE, SIZE_MAX);

	MUST(n < sizeof(head) && n == strlen(head) && strcmp(head + n - 4, "\r\n\r\n") == 0);
	MUST(strcmp(vg_http_reason(status), "Error") != 0);
}

static int parse(const uint8_t *data, size_t len)
{
	/* As long as it is, for the sanitizer to see what is read behind it. */
	char *copy = malloc(len ? len : 1);
	bool head = false;
	int status;

	MUST(copy);
	memcpy(copy, data, len);
	status = vg_http_parse(copy, len, "/metrics", &head);
	free(copy);
	MUST(status == VG_HTTP_MORE || status == VG_HTTP_OK || status == 400 || status == 404 ||
	     status == 405 || status == 505);
	if (status != VG_HTTP_MORE)
		answer(status);
	return status;
}

static void request(const uint8_t *data, size_t len)
{
	int whole = parse(data, len), before = len ? parse(data, len - 1) : VG_HTTP_MORE;

	MUST(before == VG_HTTP_MORE || before == whole);
}

/* NAME{LABEL="TEXT",...} NUMBER, in which no quote ends a text that should not. */
static void sample(const char *p, const char *end)
{
	p += strspn(p, "abcdefghijklmnopqrstuvwxyz_");
	MUST(*p++ == '{');
	do {
		p += strspn(p, "abcdefghijklmnopqrstuvwxyz_");
		MUST(*p++ == '=' && *p++ == '"');
		for (; *p != '"'; p++) {
			if (*p == '\\')
				MUST(strchr("\\\"n", *++p));
			MUST(p < end);
		}
		p++;
	} while (*p++ == ',');
	MUST(p[-1] == '}' && *p++ == ' ');
	p += strspn(p, "0123456789.");
	MUST(p == end);
}

static void page(void)
{
	static const struct vg_control_queue queues[] = { { .index = 0 }, { .index = 1 } };
	struct json_object *devices = json_object_new_array();
	struct vg_control_device d = { .kind = "virtio", .queues = queues, .n_queues = 2 };
	char guest[64], type[64], *text = NULL;
	size_t len = 0;
	FILE *out;

	d.guest = fuzz_text(guest, sizeof(guest));
	d.type = u8() % 4 ? fuzz_text(type, sizeof(type)) : NULL;
	d.domid = u32();
	d.state = (enum vg_control_state)(u8() % VG_CONTROL_STATES);
	d.origin = (enum vg_control_origin)(u8() % VG_CONTROL_ORIGINS);
	d.stats.requests = u64();
	d.stats.latency[u8() % VG_OPS].count[u8() % VG_LATENCY_BUCKETS] = u64();
	d.uptime_ns = (int64_t)u32();
	json_object_array_add(devices, vg_json_device(&d));
	out = open_memstream(&text, &len);
	MUST(out);
	vg_metrics_print(devices, out);
	MUST(fclose(out) == 0 && len && text[len - 1] == '\n');
	for (char *p = text; *p;) {
		char *end = strchr(p, '\n');

		if (*p != '#')
			sample(p, end);
		p = end + 1;
	}
	free(text);
	json_object_put(devices);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_begin(data, len);
	if (u8() % 2)
		request(fuzz_in, (size_t)(fuzz_end - fuzz_in));
	else
		page();
	return 0;
}
