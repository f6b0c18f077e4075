// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_events.c - `vgrant events`: lines, JSON, what was lost, and when it ends
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <json-c/json.h>
#include <sys/socket.h>

#include "tests/rigs/tool_rig.h"

/* All that is queued for a client then goes out at once, as to one that reads on another processor meanwhile. */
static void make_room(void)
{
	const int bytes = 1 << 20;

	for (int fd = 3; fd < 64; fd++)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* Two events of web; "flood", and "roomy", have more than anybody is kept; "end" sees the end. */
static void do_events(void *ctx, struct vg_control_req *req, const char *guest)
{
	struct vg_control_event e = { .what = VG_EVENT_DIED,
				      .ns = 1234567890123000000,
				      .guest = "web",
				      .domid = 7,
				      .kind = "virtio",
				      .id = 64,
				      .type = "blk",
				      .text = "it \x1b[31mdied" };
	bool roomy = guest && strcmp(guest, "roomy") == 0;
	bool flood = roomy || (guest && strcmp(guest, "flood") == 0);

	(void)ctx;
	if (roomy)
		make_room();
	for (unsigned i = 0; flood && i < 5000; i++)
		vg_control_event(req, &e);
	if (!flood) {
		vg_control_event(req, &e);
		e.what = VG_EVENT_RESUMED;
		e.text = NULL;
		vg_control_event(req, &e);
	}
	if (guest && strcmp(guest, "end") == 0)
		vg_control_ok(req);
}

static const struct vg_control_ops ops = { .events = do_events };
static const struct vg_control_ops none;

static int begin(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	return tool_begin(&ops);
}

static int end(void **state)
{
	(void)state;
	return tool_end();
}

static void a_line_each(void **state)
{
	(void)state;
	assert_int_equal(run("events --guest end"), 3);
	assert_string_equal(out, "2009-02-13 23:31:30.123  web virtio/64 blk  died: it ?[31mdied\n"
				 "2009-02-13 23:31:30.123  web virtio/64 blk  resumed\n"
				 "vgrant: vgrantd has ended; devices wait for the next one\n");
	assert_int_equal(run("events --timeout 0.3"), 0);
	assert_not_out("vgrant:");
}

static void json_lines(void **state)
{
	(void)state;
	assert_int_equal(run("events --json --guest end 2>/dev/null; true"), 0);
	assert_schema("event");
	assert_int_equal(run("events --json --guest end"), 3);
	assert_out("{\"time\":1234567890.123,\"event\":\"died\",\"guest\":\"web\",\"domid\":7,"
		   "\"name\":\"virtio/64\",\"type\":\"blk\",\"text\":\"it \\u001b[31mdied\"}\n{");
	assert_out("\"event\":\"resumed\"");
	assert_out("vgrantd has ended");
}

/* Until it says that some were lost. */
static void flooded(const char *guest, const char *options)
{
	char args[640];

	/* Of an earlier one: the shell empties it for the new one when it comes to it. */
	snprintf(args, sizeof(args), "%s/f", dir);
	unlink(args);
	snprintf(args, sizeof(args),
		 "events -g %s -t 100 %s >%s/f & p=$!; for i in $(seq 300); do grep -qs lost %s/f "
		 "&& break; "
		 "sleep 0.1; done; kill $p; grep -c died %s/f; tail -n 1 %s/f",
		 guest, options, dir, dir, dir, dir);
	assert_int_equal(run(args), 0);
}

static void what_was_lost_is_told(void **state)
{
	struct json_object *obj, *lost;
	char *last;

	(void)state;
	flooded("flood", "--json");
	last = strchr(out, '\n');
	obj = json_tokener_parse(last);
	assert_true(json_object_object_get_ex(obj, "lost", &lost));
	assert_in_range(json_object_get_int(lost), 1, 4999);
	assert_int_equal(strtoul(out, NULL, 10) + (unsigned long)json_object_get_int(lost), 5000);
	json_object_put(obj);
	memmove(out, last, strlen(last) + 1);
	assert_schema("lost");
	flooded("flood", "");
	assert_out("events, for this side reads too slowly");
}

/* Nothing else need happen first. */
static void what_was_lost_is_told_at_once(void **state)
{
	(void)state;
	flooded("roomy", "");
	assert_out("events, for this side reads too slowly");
}

static void wrong_usage_is_told(void **state)
{
	(void)state;
	assert_int_equal(run("events --timeout soon"), 2);
	assert_out("must be seconds, not 'soon'");
	assert_int_equal(run("events web"), 2);
	assert_int_equal(run("list -g web"), 2);
}

/* One of before. */
static void a_daemon_that_has_none(void **state)
{
	tool_ops = &none;
	assert_int_equal(start_server(state), 0);
	assert_int_equal(run("events"), 1);
	assert_out("this vgrantd cannot do that");
	stop_server(state);
	tool_ops = &ops;
	assert_int_equal(run("events"), 3);
	assert_out("vgrantd is not running");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_daemon_that_has_none),
		SERVED(a_line_each),
		SERVED(json_lines),
		SERVED(what_was_lost_is_told),
		SERVED(what_was_lost_is_told_at_once),
		SERVED(wrong_usage_is_told),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
