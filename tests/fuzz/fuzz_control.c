/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_control.c - libFuzzer target: clients of the control socket
 *
 * control.c, control/commands.c and control/json.c as they are, on a real socket; the
 * supervisor is a few functions that answer at once, or later, or stream lines.
 * The input is a program: clients come, send requests (of all commands, with
 * strange strings; with members left out, twice, of other types; or any bytes, in
 * pieces), read or do not read, and leave; requests that wait are finished; time
 * passes.
 *
 * What must hold: no crash, no sanitizer report; each answer is a line with one
 * JSON object that has "ok", and none comes that was not asked for; every request
 * is finished once; nothing is open in the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "backend/control/control.h"
#include "tests/fuzz/fuzz_loop.h"

enum { CLIENTS = 6, WAITING = 16 };

static char dir[64], path[96];
static struct vg_control *control;
static struct vg_control_req *waiting[WAITING];
static unsigned n_waiting;

static struct client {
	int fd;
	unsigned asked, answered; /* lines */
	size_t len;
	char buf[1 << 16];
} clients[CLIENTS];

static void fl_turn(void)
{
}

/* ---- the supervisor ------------------------------------------------------------ */

static void finish(unsigned i, uint8_t how)
{
	struct vg_control_req *req = waiting[i];
	struct vg_err err;

	waiting[i] = waiting[--n_waiting];
	if (how & 1)
		vg_control_add_uint(req, "id", how);
	if (how & 2) {
		vg_fail(&err, -EINVAL, "no\x80\xff\"\\\n%d", how);
		vg_control_fail(req, -EINVAL, &err);
	} else {
		vg_control_ok(req);
	}
}

/** later - keep @req, or answer it at once */
static void later(struct vg_control_req *req)
{
	MUST(!vg_control_is_gone(req));
	MUST(n_waiting < WAITING);
	waiting[n_waiting++] = req;
	if (chance(2) || n_waiting == WAITING)
		finish(n_waiting - 1, u8());
}

static void list(void *ctx, struct vg_control_req *req, const char *guest)
{
	static struct vg_control_queue queues[2] = { { .size = 64, .running = true } };
	char text[64] = "";
	unsigned n = below(4);

	(void)ctx;
	for (unsigned i = 0; i < n; i++) {
		const struct vg_control_device d = {
			.guest = guest ? guest : fuzz_text(text, sizeof(text)),
			.kind = "virtio",
			.type = i ? "blk" : NULL,
			.state = (enum vg_control_state)below(VG_CONTROL_STATES),
			.origin = (enum vg_control_origin)below(VG_CONTROL_ORIGINS),
			.error = chance(2) ? text : NULL,
			.negotiated = u64(),
			.queues = queues,
			.n_queues = below(3),
			.uptime_ns = (int64_t)u32(),
		};

		vg_control_list_add(req, &d);
	}
	later(req);
}

static void attach(void *ctx, struct vg_control_req *req, const char *guest, const char *spec)
{
	(void)ctx;
	MUST(guest && spec);
	later(req);
}

static void target(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	(void)ctx;
	MUST(t->guest && (!t->kind || strlen(t->kind) < 32));
	later(req);
}

static void events(void *ctx, struct vg_control_req *req, const char *guest)
{
	(void)ctx, (void)guest;
	later(req);
}

static void set(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		const char *key, const char *value)
{
	MUST(key && value);
	target(ctx, req, t);
}

static void show_config(void *ctx, FILE *out)
{
	(void)ctx;
	fprintf(out, "[daemon]\n# \xff\n");
}

static void log_level(void *ctx, enum vg_log_level level)
{
	(void)ctx;
	MUST(level <= VG_LOG_DEBUG);
}

static void stop(void *ctx)
{
	(void)ctx;
}

static const struct vg_control_ops ops = { .list = list,
					   .attach = attach,
					   .detach = target,
					   .set = set,
					   .trace = target,
					   .events = events,
					   .show_config = show_config,
					   .log_level = log_level,
					   .shutdown = stop };

/* ---- clients -------------------------------------------------------------------- */

static void turns(unsigned n)
{
	while (n--)
		fl_ready_all(POLLIN);
}

/** answer - one line of an answer */
static void answer(struct client *c, char *line)
{
	struct json_object *obj = json_tokener_parse(line), *value;

	MUST(json_object_is_type(obj, json_type_object));
	MUST(json_object_object_get_ex(obj, "ok", &value) &&
	     json_object_is_type(value, json_type_boolean));
	if (!json_object_get_boolean(value))
		MUST(json_object_object_get_ex(obj, "error", &value) &&
		     json_object_is_type(value, json_type_string));
	if (!json_object_object_get_ex(obj, "more", &value))
		c->answered++;
	json_object_put(obj);
}

static void take(struct client *c)
{
	for (;;) {
		ssize_t n;
		char *end;

		if (c->fd < 0)
			return;
		MUST(c->len < sizeof(c->buf) - 1);
		n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - 1 - c->len, MSG_DONTWAIT);
		if (n <= 0)
			return;
		c->len += (size_t)n;
		while ((end = memchr(c->buf, '\n', c->len))) {
			*end = '\0';
			MUST(strlen(c->buf) == (size_t)(end - c->buf));
			answer(c, c->buf);
			c->len -= (size_t)(end + 1 - c->buf);
			memmove(c->buf, end + 1, c->len);
		}
	}
}

static void come(struct client *c)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (c->fd >= 0)
		close(c->fd);
	memcpy(sa.sun_path, path, strlen(path));
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->asked = c->answered = 0;
	c->len = 0;
	if (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(c->fd); /* the backlog is full */
		c->fd = -1;
	}
}

static void send_bytes(struct client *c, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		c->asked += p[i] == '\n';
	if (c->fd >= 0 && send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

/** request - a command with about the arguments that it takes */
static void request(struct client *c)
{
	static const char *const commands[] = { "list",	    "attach",	   "detach",	"set",
						"trace",    "show-config", "log-level", "version",
						"shutdown", "nonsense",	   "events" };
	static const char *const keys[] = { "guest", "id", "key", "value", "device", "level", "x" };
	static const char *const values[] = { "\"web\"",   "\"0\"",	  "\"virtio/0\"", "0",
					      "null",	   "[1,[2,[3]]]", "\"\\u0000\"",  "1e999",
					      "\"debug\"", "{}",	  "\"a/b/7\"",	  "-5" };
	static const uint8_t usual[] = {
		1, 1 | 16, 1 | 2, 1 | 2 | 4 | 8, 1 | 2, 0, 32, 0, 0, 0, 1
	};
	unsigned cmd = below(11);
	uint8_t members = chance(3) ? u8() : usual[cmd];
	char text[1024], raw[64];
	size_t n = (size_t)snprintf(text, sizeof(text), "{\"cmd\":\"%s\"", commands[cmd]);

	for (unsigned k = 0; k < 7; k++) {
		if (!(members >> k & 1))
			continue;
		if (chance(4)) {
			fuzz_text(raw, sizeof(raw));
			n += (size_t)snprintf(text + n, sizeof(text) - n, ",\"%s\":\"%s\"", keys[k],
					      raw);
		} else {
			n += (size_t)snprintf(text + n, sizeof(text) - n, ",\"%s\":%s", keys[k],
					      values[below(12)]);
		}
	}
	n += (size_t)snprintf(text + n, sizeof(text) - n, "}\n");
	send_bytes(c, text, n);
}

/* A line, or an event, to whoever waits. */
static void stream(struct vg_control_req *req, const char *text, unsigned k)
{
	const struct vg_control_event e = { .what = (enum vg_control_happening)(k % VG_EVENTS),
					    .guest = text,
					    .domid = k % 3 ? k : VG_CONTROL_NO_DOMAIN,
					    .kind = "virtio",
					    .type = k % 5 ? "blk" : NULL,
					    .text = k % 7 ? text : NULL };

	if (k % 2)
		(void)vg_control_event(req, &e);
	else
		(void)vg_control_line(req, text);
}

static void step(void)
{
	struct client *c = &clients[below(CLIENTS)];
	char bytes[256];
	uint8_t op = u8();

	switch (op % 10) {
	case 0:
	case 1:
	case 2:
		request(c);
		break;
	case 3:
		fuzz_text(bytes, sizeof(bytes));
		send_bytes(c, bytes, strlen(bytes));
		if (op & 64)
			send_bytes(c, "\n", 1);
		break;
	case 4:
		come(c);
		break;
	case 5:
		if (c->fd >= 0)
			close(c->fd);
		c->fd = -1;
		break;
	case 6:
		take(c);
		break;
	case 7:
		turns(1 + (op >> 4) % 3);
		break;
	case 8:
		if (!n_waiting)
			break;
		if (op & 16)
			finish(below(n_waiting), u8());
		else
			for (unsigned k = 0; k <= (op >> 5) * 40u; k++)
				stream(waiting[0], fuzz_text(bytes, sizeof(bytes)), k);
		break;
	case 9:
		fl_now += (int64_t)u8() * 100000000;
		fl_timers();
		break;
	}
}

static void clean(void)
{
	if (dir[0])
		rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct vg_control_config cfg = {
		.path = path, .group = (gid_t)-1, .mode = 0600, .version = "fuzz", .ops = &ops
	};
	struct vg_err err;
	int first;

	if (!dir[0]) {
		vg_log_init(VG_LOG_STDERR, (enum vg_log_level)0, NULL);
		snprintf(dir, sizeof(dir), "/tmp/fuzz-control.XXXXXX");
		MUST(mkdtemp(dir));
		snprintf(path, sizeof(path), "%s/s", dir);
		atexit(clean);
	}
	first = dup(0);
	close(first);
	fuzz_begin(data, len);
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	MUST(vg_control_new(NULL, &cfg, &control, &err) == 0);
	for (unsigned i = 0; i < 3; i++)
		come(&clients[i]);
	turns(1);
	while (fuzz_more())
		step();
	/* Whoever is there, and reads, gets its answers. */
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < CLIENTS; i++)
			take(&clients[i]);
		while (n_waiting)
			finish(0, 0);
		fl_timers();
		turns(1);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		take(&clients[i]);
		MUST(clients[i].answered <= clients[i].asked + 1); /* one for who must leave */
		if (clients[i].fd >= 0)
			close(clients[i].fd);
	}
	while (n_waiting)
		finish(0, 0);
	vg_control_free(control);
	n_waiting = 0;
	MUST(fl_idle());
	MUST(unlink(strcat(strcpy((char[128]){ 0 }, path), ".lock")) == 0);
	MUST(dup(0) == first);
	close(first);
	return 0;
}
