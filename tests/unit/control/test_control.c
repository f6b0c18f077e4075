// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_control.c - the control socket: commands, slow and hostile clients, rights
 *
 * Server and clients live in one thread: a client's step is followed by turns of
 * the loop until what it waits for has come.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/control/control.h"

static char dir[] = "/tmp/vgrant-control.XXXXXX";
static char path[64];
static struct vg_loop *loop;
static struct vg_control *control;
static struct vg_err err;

/* ---- a supervisor for tests --------------------------------------------- */

static char told[4096];		       /* what the handlers were called with */
static struct vg_control_req *waiting; /* of an attach that is not answered at once */
static unsigned n_devices;	       /* that list answers with */
static unsigned gone;

static void on_gone(void *arg)
{
	assert_ptr_equal(arg, &gone);
	gone++;
}

static void do_list(void *ctx, struct vg_control_req *req, const char *guest)
{
	static const struct vg_control_queue queues[] = {
		{ .index = 0,
		  .size = 256,
		  .running = true,
		  .packed = true,
		  .chains = 12,
		  .inflight = 3,
		  .kicks = 4,
		  .interrupts = 5 },
		{ .index = 1 },
	};
	struct vg_control_device dev = {
		.guest = "web",
		.domid = 7,
		.kind = "virtio",
		.type = "blk",
		.virtio_id = 2,
		.state = VG_CONTROL_CONNECTED,
		.config = "blk,target=/x\xff\xc3\xa9",
		.origin = VG_CONTROL_FROM_CONFIG,
		.file = "/etc/xen/web.cfg",
		.offered = 0x8000000520020020,
		.negotiated = VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_RING_PACKED),
		.queues = queues,
		.n_queues = 2,
		.stats = { .requests = 100,
			   .bytes_read = 1ULL << 60,
			   .faults = 1,
			   .failed = { [VG_FAILED_IO] = 2 },
			   .latency = { [VG_OP_WRITE] = { .ns = 9000003000,
							  .count = { [2] = 1, [23] = 1 } } } },
		.hyper = { .copy_calls = 1,
			   .copy_hypercalls = 2,
			   .copied_bytes = 3,
			   .maps = 4,
			   .mapped_pages = 5,
			   .unmaps = 6,
			   .pool_hits = 7,
			   .notifies = 8,
			   .unmasks = 9 },
		.worker = 4321,
		.uptime_ns = 1234567890,
	};

	assert_ptr_equal(ctx, told);
	snprintf(told, sizeof(told), "list %s", guest ? guest : "-");
	for (dev.id = 0; dev.id < n_devices; dev.id++)
		vg_control_list_add(req, &dev);
	vg_control_ok(req);
}

static void do_attach(void *ctx, struct vg_control_req *req, const char *guest, const char *spec)
{
	(void)ctx;
	snprintf(told, sizeof(told), "attach %s %s", guest, spec);
	vg_control_on_gone(req, on_gone, &gone);
	waiting = req;
}

static void do_detach(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	(void)ctx;
	snprintf(told, sizeof(told), "detach %s %s %u", t->guest, t->kind ? t->kind : "-", t->id);
	vg_control_fail(req, vg_fail(&err, -ENOENT, "%s has no device %u", t->guest, t->id), &err);
}

static void do_set(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		   const char *key, const char *value)
{
	(void)ctx;
	snprintf(told, sizeof(told), "set %s %u %s=%s", t->guest, t->id, key, value);
	vg_control_ok(req);
}

static void do_trace(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	do_attach(ctx, req, t->guest, "trace");
}

static void do_events(void *ctx, struct vg_control_req *req, const char *guest)
{
	do_attach(ctx, req, guest ? guest : "-", "events");
}

/* What came is read from here: a guest's name of bytes that were written into it. */
static void do_capture(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		       int fd)
{
	char text[16] = "nothing";

	if (fd >= 0) {
		ssize_t n = read(fd, text, sizeof(text) - 1);

		text[n > 0 ? n : 0] = '\0';
		close(fd);
	}
	do_attach(ctx, req, t->guest, text);
}

static void do_show_config(void *ctx, FILE *out)
{
	(void)ctx;
	fprintf(out, "[daemon]\nlog-level = info\n");
}

static void do_log_level(void *ctx, enum vg_log_level level)
{
	(void)ctx;
	snprintf(told, sizeof(told), "log-level %d", (int)level);
}

static void do_shutdown(void *ctx)
{
	(void)ctx;
	snprintf(told, sizeof(told), "shutdown");
}

static const struct vg_control_ops ops = {
	.list = do_list,
	.attach = do_attach,
	.detach = do_detach,
	.set = do_set,
	.trace = do_trace,
	.events = do_events,
	.capture = do_capture,
	.show_config = do_show_config,
	.log_level = do_log_level,
	.shutdown = do_shutdown,
};

static const struct vg_control_ops no_ops;

static int start(const struct vg_control_ops *o, gid_t group, mode_t mode)
{
	const struct vg_control_config cfg = {
		.path = path,
		.group = group,
		.mode = mode,
		.version = "1.2-test",
		.ops = o,
		.ctx = told,
	};

	told[0] = '\0';
	waiting = NULL;
	gone = 0;
	n_devices = 1;
	return vg_control_new(loop, &cfg, &control, &err);
}

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/run/control", dir);
	return chmod(dir, 0755);
}

static int remove_dir(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd);
}

static int setup(void **state)
{
	(void)state;
	if (vg_loop_new(64, &loop) < 0)
		return -1;
	return start(&ops, (gid_t)-1, 0660);
}

static int teardown(void **state)
{
	(void)state;
	vg_control_free(control);
	control = NULL;
	vg_loop_free(loop);
	return 0;
}

/* ---- clients ------------------------------------------------------------ */

static int connect_client(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void turns(int n)
{
	while (n--) {
		assert_true(vg_loop_turn(loop, false) >= 0);
		usleep(200);
	}
}

/* Read until a newline or the end. Return: the line without it; "" for the end. */
static const char *get_line(int fd)
{
	static char line[2 << 20];
	size_t n = 0;

	for (int tries = 0; tries < 20000; tries++) {
		ssize_t got = recv(fd, line + n, sizeof(line) - n, MSG_PEEK);
		char *end;

		if (got == 0 || (got < 0 && errno != EAGAIN))
			return "";
		if (got < 0) {
			turns(1);
			continue;
		}
		end = memchr(line + n, '\n', (size_t)got);
		if (end)
			got = end + 1 - (line + n);
		assert_int_equal(recv(fd, line + n, (size_t)got, 0), got);
		n += (size_t)got;
		assert_true(n < sizeof(line));
		if (end) {
			*end = '\0';
			return line;
		}
	}
	fail_msg("no answer");
	return "";
}

static void put_bytes(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		} else {
			assert_int_equal(errno, EAGAIN);
			turns(1);
		}
	}
}

static void put_text(int fd, const char *text)
{
	put_bytes(fd, text, strlen(text));
}

static const char *ask(int fd, const char *request)
{
	put_bytes(fd, request, strlen(request));
	put_text(fd, "\n");
	return get_line(fd);
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" has no \"%s\"", text, part);
}

static bool at_end(int fd)
{
	char c;

	turns(5);
	return recv(fd, &c, 1, 0) == 0;
}

/* ---- commands ----------------------------------------------------------- */

static void every_command_reaches_its_handler(void **state)
{
	int fd = connect_client();

	(void)state;
	assert_string_equal(ask(fd, "{\"cmd\":\"version\"}"),
			    "{\"ok\":true,\"version\":\"1.2-test\"}");
	assert_has(ask(fd, "{\"cmd\":\"list\"}"), "{\"ok\":true,\"devices\":[{\"guest\":\"web\"");
	assert_string_equal(told, "list -");
	ask(fd, "{\"cmd\":\"list\",\"guest\":7}");
	assert_string_equal(told, "list 7");
	assert_string_equal(
		ask(fd, "{\"cmd\":\"detach\",\"guest\":\"web\",\"id\":\"virtio_disk/51712\"}"),
		"{\"ok\":false,\"error\":\"web has no device 51712\",\"errno\":2}");
	assert_string_equal(told, "detach web virtio_disk 51712");
	assert_string_equal(ask(fd, "{\"cmd\":\"set\",\"guest\":\"web\",\"id\":3,\"key\":\"rate\","
				    "\"value\":\"9\"}"),
			    "{\"ok\":true}");
	assert_string_equal(told, "set web 3 rate=9");
	assert_string_equal(ask(fd, "{\"cmd\":\"show-config\"}"),
			    "{\"ok\":true,\"text\":\"[daemon]\\nlog-level = info\\n\"}");
	assert_string_equal(ask(fd, "{\"cmd\":\"log-level\",\"level\":\"debug\"}"),
			    "{\"ok\":true}");
	assert_string_equal(told, "log-level 7");
	assert_string_equal(ask(fd, "{\"cmd\":\"shutdown\"}"), "{\"ok\":true}");
	assert_string_equal(told, "shutdown");
	close(fd);
}

/* Send @text, and @n descriptors of pipes that hold "one", "two" ... with its first byte. */
static void send_with(int fd, const char *text, unsigned n)
{
	static const char *const words[] = { "one", "two" };
	struct iovec iov = { .iov_base = (char *)(uintptr_t)text, .iov_len = strlen(text) };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} c = { .head = { .cmsg_len = CMSG_LEN(n * sizeof(int)),
			  .cmsg_level = SOL_SOCKET,
			  .cmsg_type = SCM_RIGHTS } };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	int pair[2], read_end[2];

	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(pipe(pair), 0);
		assert_int_equal(write(pair[1], words[i], 3), 3);
		close(pair[1]);
		read_end[i] = pair[0];
		memcpy(CMSG_DATA(&c.head) + i * sizeof(int), &pair[0], sizeof(int));
	}
	mh.msg_control = c.bytes;
	mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
	assert_int_equal(sendmsg(fd, &mh, 0), strlen(text));
	while (n)
		close(read_end[--n]);
}

/* It goes with the request that wants one, and to nobody else; none is left over. */
static void a_descriptor_comes_with_its_request(void **state)
{
	static const char *const line = "{\"cmd\":\"capture\",\"guest\":\"web\",\"id\":3}\n";
	int before = dup(0), fd = connect_client(), after;

	(void)state;
	close(before);
	send_with(fd, line, 1);
	turns(20);
	assert_string_equal(told, "attach web one");
	vg_control_ok(waiting);
	assert_string_equal(get_line(fd), "{\"ok\":true}");
	/* Another request's own is not kept for long: the next one takes its place. */
	send_with(fd, "{\"cmd\":\"version\"}\n", 1);
	assert_has(get_line(fd), "1.2-test");
	send_with(fd, line, 2);
	turns(20);
	assert_string_equal(told, "attach web two");
	vg_control_ok(waiting);
	assert_string_equal(get_line(fd), "{\"ok\":true}");
	assert_has(ask(fd, "{\"cmd\":\"capture\",\"guest\":\"web\",\"id\":\"x\"}"), "is named by");
	send_with(fd, "{", 2);
	turns(20);
	close(fd);
	turns(20);
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

static void the_list_has_what_the_header_says(void **state)
{
	static const char *const members[] = {
		"guest",    "domid",  "id",	"name",	  "kind",   "type",    "virtio_id",
		"state",    "error",  "config", "file",	  "origin", "queues",  "features",
		"counters", "worker", "uptime", "detail", "failed", "latency",
	};
	struct json_object *obj, *devices, *dev, *v;
	int fd = connect_client();

	(void)state;
	obj = json_tokener_parse(ask(fd, "{\"cmd\":\"list\"}"));
	assert_non_null(obj);
	assert_true(json_object_object_get_ex(obj, "devices", &devices));
	dev = json_object_array_get_idx(devices, 0);
	for (size_t i = 0; i < COUNT(members); i++) {
		if (!json_object_object_get_ex(dev, members[i], &v))
			fail_msg("a device has no %s", members[i]);
	}
	assert_int_equal(json_object_object_length(dev), 21);
	json_object_object_get_ex(dev, "name", &v);
	assert_string_equal(json_object_get_string(v), "virtio/0");
	json_object_object_get_ex(dev, "state", &v);
	assert_string_equal(json_object_get_string(v), "connected");
	json_object_object_get_ex(dev, "config", &v);
	assert_string_equal(json_object_get_string(v), "blk,target=/x?\xc3\xa9");
	json_object_object_get_ex(dev, "uptime", &v);
	assert_string_equal(json_object_get_string(v), "1.235");
	json_object_object_get_ex(dev, "features", &v);
	assert_string_equal(json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN),
			    "{\"offered\":\"0x8000000520020020\",\"negotiated\":\"0x500000000\","
			    "\"names\":[\"VERSION_1\",\"RING_PACKED\"],"
			    "\"unused\":[\"EVENT_IDX\",\"BLK_RO\",\"BLK_ZONED\"]}");
	json_object_object_get_ex(dev, "queues", &v);
	assert_string_equal(
		json_object_to_json_string_ext(json_object_array_get_idx(v, 0),
					       JSON_C_TO_STRING_PLAIN),
		"{\"index\":0,\"size\":256,\"running\":true,\"packed\":true,\"chains\":12,"
		"\"inflight\":3,\"kicks\":4,\"interrupts\":5}");
	json_object_object_get_ex(dev, "xen", &v);
	assert_string_equal(
		json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN),
		"{\"copy_calls\":1,\"copy_hypercalls\":2,\"copied_bytes\":3,\"maps\":4,"
		"\"mapped_pages\":5,\"unmaps\":6,\"pool_hits\":7,\"notifies\":8,\"unmasks\":9}");
	json_object_object_get_ex(dev, "failed", &v);
	assert_string_equal(json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN),
			    "{\"refused\":0,\"unsupported\":0,\"io\":2,\"space\":0,\"short\":0,"
			    "\"gone\":0}");
	/* 3 us, and more than the last bound; of operations that there were. */
	json_object_object_get_ex(dev, "latency", &v);
	assert_string_equal(json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN),
			    "{\"write\":{\"us\":9000003,\"buckets\":[0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,"
			    "0,0,0,0,0,0,0,0,1]}}");
	json_object_object_get_ex(dev, "worker", &v);
	assert_string_equal(json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN),
			    "{\"pid\":4321,\"restarts\":0}");
	json_object_put(obj);
	close(fd);
}

static void malformed_requests_are_refused_and_the_client_lives(void **state)
{
	static const struct {
		const char *request, *says;
	} bad[] = {
		{ "hello", "must be one JSON object" },
		{ "{", "must be one JSON object" },
		{ "[]", "must be one JSON object" },
		{ "{} {}", "must be one JSON object" },
		{ "null", "must be one JSON object" },
		{ "{\"cmd\":\"list\"}x", "must be one JSON object" },
		{ "{\"cmd\":{\"a\":{\"b\":{\"c\":{}}}}}", "must be one JSON object" },
		{ "{\"cmd\":\"\xff\"}", "must be one JSON object" },
		{ "{}", "needs \\\"cmd\\\"" },
		{ "{\"cmd\":\"dance\"}", "no command \\\"dance\\\"" },
		{ "{\"cmd\":null}", "no command" },
		{ "{\"cmd\":[1]}", "no command" },
		{ "{\"cmd\":\"list\\u0000x\"}", "no command" },
		{ "{\"cmd\":\"list\",\"guset\":\"web\"}",
		  "members that \\\"list\\\" does not know" },
		{ "{\"cmd\":\"list\",\"guest\":[]}", "\\\"guest\\\" must be a string" },
		{ "{\"cmd\":\"attach\",\"guest\":\"web\"}", "needs \\\"device\\\"" },
		{ "{\"cmd\":\"detach\",\"guest\":\"web\",\"id\":\"x\"}", "as `vgrant list` shows" },
		{ "{\"cmd\":\"detach\",\"guest\":\"web\",\"id\":\"\"}", "as `vgrant list` shows" },
		{ "{\"cmd\":\"detach\",\"guest\":\"web\",\"id\":\"/1\"}",
		  "as `vgrant list` shows" },
		{ "{\"cmd\":\"detach\",\"guest\":\"web\",\"id\":-1}", "as `vgrant list` shows" },
		{ "{\"cmd\":\"detach\",\"guest\":\"web\",\"id\":9999999999}",
		  "as `vgrant list` shows" },
		{ "{\"cmd\":\"log-level\",\"level\":\"loud\"}", "error, warning, info, debug" },
	};
	int fd = connect_client();

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		const char *answer = ask(fd, bad[i].request);

		assert_has(answer, "{\"ok\":false,\"error\":");
		assert_has(answer, bad[i].says);
		assert_string_equal(told, "");
	}
	put_text(fd, "\n\n");
	assert_has(ask(fd, "{\"cmd\":\"version\"}"), "\"ok\":true");
	close(fd);
}

static void commands_without_a_handler_say_so(void **state)
{
	static const char *const requests[] = {
		"{\"cmd\":\"list\"}",
		"{\"cmd\":\"attach\",\"guest\":\"a\",\"device\":\"b\"}",
		"{\"cmd\":\"detach\",\"guest\":\"a\",\"id\":0}",
		"{\"cmd\":\"set\",\"guest\":\"a\",\"id\":0,\"key\":\"k\",\"value\":\"v\"}",
		"{\"cmd\":\"trace\",\"guest\":\"a\",\"id\":0}",
		"{\"cmd\":\"capture\",\"guest\":\"a\",\"id\":0}",
		"{\"cmd\":\"show-config\"}",
		"{\"cmd\":\"log-level\",\"level\":\"info\"}",
		"{\"cmd\":\"shutdown\"}",
	};
	int fd;

	(void)state;
	vg_control_free(control);
	assert_int_equal(start(&no_ops, (gid_t)-1, 0660), 0);
	fd = connect_client();
	for (size_t i = 0; i < COUNT(requests); i++)
		assert_has(ask(fd, requests[i]), "this vgrantd cannot do that");
	close(fd);
}

/* ---- time --------------------------------------------------------------- */

static void an_answer_may_come_later_and_stops_no_other_client(void **state)
{
	int a = connect_client();
	int b = connect_client();
	static const char attach[] = "{\"cmd\":\"attach\",\"guest\":\"web\",\"device\":\"rng\"}\n"
				     "{\"cmd\":\"version\"}\n";
	char c;

	(void)state;
	put_text(a, attach);
	turns(3);
	assert_non_null(waiting);
	assert_has(ask(b, "{\"cmd\":\"version\"}"), "1.2-test");
	assert_true(recv(a, &c, 1, 0) < 0 && errno == EAGAIN);
	vg_control_add_uint(waiting, "id", 5);
	vg_control_ok(waiting);
	assert_string_equal(get_line(a), "{\"ok\":true,\"id\":5}");
	/* The line that waited behind it comes next. */
	assert_has(get_line(a), "1.2-test");
	assert_int_equal(gone, 0);
	close(a);
	close(b);
}

static void a_client_that_leaves_is_told_to_the_handler(void **state)
{
	int a = connect_client();

	(void)state;
	put_text(a, "{\"cmd\":\"attach\",\"guest\":\"web\",\"device\":\"rng\"}\n");
	turns(3);
	assert_non_null(waiting);
	assert_false(vg_control_is_gone(waiting));
	close(a);
	turns(5);
	assert_int_equal(gone, 1);
	assert_true(vg_control_is_gone(waiting));
	assert_int_equal(vg_control_line(waiting, "x"), -EPIPE);
	vg_control_fail(waiting, -EIO, &err);
	turns(2);
}

static void a_client_may_close_its_half_and_still_gets_its_answer(void **state)
{
	int a = connect_client();

	(void)state;
	put_text(a, "{\"cmd\":\"attach\",\"guest\":\"web\",\"device\":\"rng\"}\n");
	shutdown(a, SHUT_WR);
	turns(5);
	assert_non_null(waiting);
	assert_false(vg_control_is_gone(waiting));
	vg_control_ok(waiting);
	assert_string_equal(get_line(a), "{\"ok\":true}");
	assert_true(at_end(a));
	close(a);
}

static void a_stream_drops_lines_for_a_slow_reader_and_counts_them(void **state)
{
	static char text[1000];
	int a = connect_client();
	unsigned dropped = 0, lines = 0, told_dropped = 0;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	put_text(a, "{\"cmd\":\"trace\",\"guest\":\"web\",\"id\":0}\n");
	turns(3);
	assert_non_null(waiting);
	for (int i = 0; i < 3000; i++) {
		int ret = vg_control_line(waiting, text);

		assert_true(ret == 0 || ret == -EAGAIN);
		dropped += ret == -EAGAIN;
		if (i % 100 == 0)
			turns(1);
	}
	assert_in_range(dropped, 1, 2999);
	/* It reads again, and the next line says what it missed. */
	for (unsigned i = 0; i < 100; i++, lines++)
		assert_has(get_line(a), "{\"ok\":true,\"more\":true,\"line\":\"xxx");
	turns(3);
	assert_int_equal(vg_control_line(waiting, "the last"), 0);
	vg_control_ok(waiting);
	for (;;) {
		const char *line = get_line(a), *d = strstr(line, "\"dropped\":");

		if (strcmp(line, "{\"ok\":true}") == 0)
			break;
		lines++;
		if (d)
			told_dropped += (unsigned)strtoul(d + 10, NULL, 10);
	}
	assert_int_equal(told_dropped, dropped);
	assert_int_equal(lines, 3000 - dropped + 1);
	close(a);
}

/* Nothing more happens, and it is told all the same; and its silence does not end it. */
static void who_misses_events_is_told_when_it_reads_again(void **state)
{
	static char text[1000];
	const struct vg_control_event e = { .what = VG_EVENT_DIED,
					    .ns = 1234567890123000000,
					    .guest = "web",
					    .domid = VG_CONTROL_NO_DOMAIN,
					    .kind = "virtio",
					    .id = 64,
					    .type = "blk",
					    .text = text };
	int a = connect_client();
	unsigned sent = 0, events = 0;
	const char *line, *d;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	put_text(a, "{\"cmd\":\"events\",\"guest\":\"web\"}\n");
	turns(3);
	assert_string_equal(told, "attach web events");
	for (int i = 0; i < 3000; i++) {
		sent += vg_control_event(waiting, &e) == 0;
		if (i % 100 == 0)
			turns(1);
	}
	assert_in_range(sent, 1, 2999);
	while (line = get_line(a), d = strstr(line, "\"dropped\":"), !d) {
		if (!events++) {
			assert_has(line,
				   "{\"ok\":true,\"more\":true,\"event\":{\"time\":1234567890.123,"
				   "\"event\":\"died\",\"guest\":\"web\",\"domid\":null,"
				   "\"name\":\"virtio/64\",\"type\":\"blk\",\"text\":\"xxx");
		}
	}
	assert_null(strstr(line, "event"));
	assert_int_equal(events, sent);
	assert_int_equal(strtoul(d + 10, NULL, 10), 3000 - sent);
	assert_int_equal(vg_control_event(waiting, &e), 0);
	assert_null(strstr(get_line(a), "dropped"));
	vg_control_ok(waiting);
	assert_string_equal(get_line(a), "{\"ok\":true}");
	close(a);
}

/* ---- hostile clients ---------------------------------------------------- */

static void a_long_list_is_sent_whole_to_a_slow_client(void **state)
{
	int a = connect_client();
	int b = connect_client();
	const char *line;

	(void)state;
	n_devices = 900;
	put_text(a, "{\"cmd\":\"list\"}\n");
	turns(5);
	/* More than the socket holds: the rest waits, and others are served. */
	assert_has(ask(b, "{\"cmd\":\"version\"}"), "1.2-test");
	line = get_line(a);
	assert_has(line, "\"name\":\"virtio/899\"");
	assert_string_equal(line + strlen(line) - 3, "}]}");
	close(a);
	close(b);
}

static void a_client_that_never_reads_costs_one_answer(void **state)
{
	static char flood[16 * 5000 + 1];
	int a = connect_client();
	int b = connect_client();
	size_t sent = 0;

	(void)state;
	n_devices = 900;
	for (int i = 0; i < 5000; i++)
		strcpy(flood + i * 15, "{\"cmd\":\"list\"}\n");
	for (int i = 0; i < 200; i++) {
		ssize_t n = send(a, flood + sent, strlen(flood) - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		turns(1);
	}
	assert_has(ask(b, "{\"cmd\":\"version\"}"), "1.2-test");
	close(a);
	close(b);
}

static void a_line_that_never_ends_is_refused(void **state)
{
	static char flood[20000];
	int a = connect_client();

	(void)state;
	memset(flood, ' ', sizeof(flood));
	for (int i = 0; i < 20 && send(a, flood, sizeof(flood), MSG_NOSIGNAL) > 0; i++)
		turns(1);
	assert_has(get_line(a), "the request is too long");
	turns(3);
	close(a);
	a = connect_client();
	assert_has(ask(a, "{\"cmd\":\"version\"}"), "1.2-test");
	close(a);
}

static void many_lines_in_one_packet_are_all_answered(void **state)
{
	static char text[20 * 200];
	int a = connect_client();

	(void)state;
	for (int i = 0; i < 200; i++)
		strcpy(text + i * 18, "{\"cmd\":\"version\"}\n");
	put_bytes(a, text, 200 * 18);
	for (int i = 0; i < 200; i++)
		assert_has(get_line(a), "1.2-test");
	close(a);
}

static void too_many_clients_are_told_so(void **state)
{
	int fds[64], extra;

	(void)state;
	for (int i = 0; i < 64; i++) {
		fds[i] = connect_client();
		assert_has(ask(fds[i], "{\"cmd\":\"version\"}"), "1.2-test");
	}
	extra = connect_client();
	assert_has(get_line(extra), "too many clients");
	assert_true(at_end(extra));
	close(extra);
	close(fds[3]);
	turns(5);
	extra = connect_client();
	assert_has(ask(extra, "{\"cmd\":\"version\"}"), "1.2-test");
	for (int i = 0; i < 64; i++)
		close(fds[i]);
	close(extra);
}

static void connections_that_come_and_go_leave_nothing(void **state)
{
	int before, after;

	(void)state;
	turns(3);
	before = dup(0);
	close(before);
	for (int i = 0; i < 300; i++) {
		int fd = connect_client();

		if (i % 3)
			put_bytes(fd, "{\"cmd\":\"list\"}\n{", (size_t)(i % 16));
		if (i % 5 == 0)
			turns(1);
		close(fd);
	}
	turns(20);
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

static void random_bytes_do_no_harm(void **state)
{
	static const char alphabet[] = "{}[]\":,cmdlistguesid \n\n0x\\u\xff\x01";
	uint64_t x = 88172645463325252ULL;
	char text[300];

	(void)state;
	for (int round = 0; round < 60; round++) {
		int fd = connect_client();

		for (size_t i = 0; i < sizeof(text); i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			text[i] = alphabet[x % (sizeof(alphabet) - 1)];
		}
		put_bytes(fd, text, sizeof(text));
		turns(2);
		close(fd);
	}
	assert_string_equal(told, "");
}

/* ---- rights, and the socket itself -------------------------------------- */

/* Run @request as another user in a child; its exit status says whether @want was in the answer. */
static bool as_user(gid_t gid, gid_t extra, const char *request, const char *want)
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct sockaddr_un addr = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		char answer[4096] = "";
		size_t n = 0;
		ssize_t got;

		strcpy(addr.sun_path, path);
		if (setgroups(extra != (gid_t)-1, &extra) || setgid(gid) || setuid(65533))
			_exit(2);
		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			_exit(3);
		/* Who is refused may find it closed by now, with the answer in it. */
		(void)!send(fd, request, strlen(request), MSG_NOSIGNAL);
		while (n < sizeof(answer) - 1 && !strchr(answer, '\n') &&
		       (got = read(fd, answer + n, sizeof(answer) - 1 - n)) > 0)
			n += (size_t)got;
		_exit(strstr(answer, want) ? 0 : 1);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		turns(1);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void others_are_refused_and_the_group_may_look(void **state)
{
	static const char list[] = "{\"cmd\":\"list\"}\n";
	static const char detach[] = "{\"cmd\":\"detach\",\"guest\":\"web\",\"id\":0}\n";

	(void)state;
	if (geteuid() != 0)
		skip();
	vg_control_free(control);
	assert_int_equal(start(&ops, 65532, 0666), 0);
	assert_true(as_user(65534, (gid_t)-1, list, "only root may talk to vgrantd"));
	assert_string_equal(told, "");
	assert_true(as_user(65532, (gid_t)-1, list, "\"devices\":["));
	assert_true(as_user(65534, 65532, list, "\"devices\":["));
	assert_true(as_user(65534, 65532, detach, "only root may detach"));
	assert_string_equal(told, "list -");
}

static void the_socket_has_the_permissions_asked_for(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	vg_control_free(control);
	control = NULL;
	assert_int_equal(stat(path, &st), -1);
}

static void a_second_daemon_is_refused_and_a_dead_ones_socket_taken(void **state)
{
	pid_t pid;
	int status, ready[2];
	char c;

	(void)state;
	vg_control_free(control);
	control = NULL;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		(void)!write(ready[1], "x", start(&ops, (gid_t)-1, 0660) == 0);
		close(ready[1]);
		pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	assert_int_equal(start(&ops, (gid_t)-1, 0660), -EADDRINUSE);
	assert_has(err.text, "vgrantd is running already, as process");
	assert_int_equal(access(path, F_OK), 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(start(&ops, (gid_t)-1, 0660), 0);
}

static void what_is_no_socket_is_left_alone(void **state)
{
	int fd;

	(void)state;
	vg_control_free(control);
	control = NULL;
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(start(&ops, (gid_t)-1, 0660), -EEXIST);
	assert_has(err.text, "is in the way");
	assert_int_equal(unlink(path), 0);
}

static void a_path_that_is_too_long_is_told(void **state)
{
	char longer[200];
	struct vg_control_config cfg = { .path = longer, .ops = &ops };
	struct vg_control *c;

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(vg_control_new(loop, &cfg, &c, &err), -ENAMETOOLONG);
	cfg.path = "/proc/nothing/control";
	assert_true(vg_control_new(loop, &cfg, &c, &err) < 0);
	assert_has(err.text, "/proc/nothing cannot be made");
}

static void freeing_tells_waiting_requests(void **state)
{
	int a = connect_client();

	(void)state;
	put_text(a, "{\"cmd\":\"attach\",\"guest\":\"web\",\"device\":\"rng\"}\n");
	turns(3);
	assert_non_null(waiting);
	vg_control_free(control);
	control = NULL;
	assert_int_equal(gone, 1);
	assert_string_equal(get_line(a), "");
	close(a);
}

static void guests_are_named_or_numbered(void **state)
{
	(void)state;
	assert_true(vg_control_is_guest("web", "web", 7));
	assert_true(vg_control_is_guest("7", "web", 7));
	/* As to xl: digits are a number, whatever a guest is called. */
	assert_true(vg_control_is_guest("07", "web", 7));
	assert_false(vg_control_is_guest("8", "8", 7));
	assert_true(vg_control_is_guest("7", "8", 7));
	assert_false(vg_control_is_guest("4294967303", "web", 7));
	assert_false(vg_control_is_guest("+7", "web", 7));
	assert_true(vg_control_is_guest("8", "8", VG_CONTROL_NO_DOMAIN));
	assert_false(vg_control_is_guest("we", "web", 7));
	assert_false(vg_control_is_guest("", "web", 7));
}

#define SERVED(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(every_command_reaches_its_handler),
		SERVED(a_descriptor_comes_with_its_request),
		SERVED(the_list_has_what_the_header_says),
		SERVED(malformed_requests_are_refused_and_the_client_lives),
		SERVED(commands_without_a_handler_say_so),
		SERVED(an_answer_may_come_later_and_stops_no_other_client),
		SERVED(a_client_that_leaves_is_told_to_the_handler),
		SERVED(a_client_may_close_its_half_and_still_gets_its_answer),
		SERVED(a_stream_drops_lines_for_a_slow_reader_and_counts_them),
		SERVED(who_misses_events_is_told_when_it_reads_again),
		SERVED(a_long_list_is_sent_whole_to_a_slow_client),
		SERVED(a_client_that_never_reads_costs_one_answer),
		SERVED(a_line_that_never_ends_is_refused),
		SERVED(many_lines_in_one_packet_are_all_answered),
		SERVED(too_many_clients_are_told_so),
		SERVED(connections_that_come_and_go_leave_nothing),
		SERVED(random_bytes_do_no_harm),
		SERVED(others_are_refused_and_the_group_may_look),
		SERVED(the_socket_has_the_permissions_asked_for),
		SERVED(a_second_daemon_is_refused_and_a_dead_ones_socket_taken),
		SERVED(what_is_no_socket_is_left_alone),
		SERVED(a_path_that_is_too_long_is_told),
		SERVED(freeing_tells_waiting_requests),
		SERVED(guests_are_named_or_numbered),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
