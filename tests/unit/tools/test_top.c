// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_top.c - `vgrant top`: differences of looks, orders, forms, and a terminal that gets itself back
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <json-c/json.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "tests/rigs/tool_rig.h"

/* ---- devices that do something between two looks ------------------------------ */

static unsigned n_lists;

/* web does 100 requests a look, db more of them, new is there from the second look on, and reborn
 * begins anew at the third. */
static void do_list(void *ctx, struct vg_control_req *req, const char *guest)
{
	unsigned n = ++n_lists;
	struct vg_control_queue queues[] = { { .index = 0, .size = 256, .inflight = 3 },
					     { .index = 1, .size = 256, .inflight = 2 } };
	struct vg_control_device dev = {
		.guest = "web",
		.domid = 7,
		.kind = "virtio",
		.id = 64,
		.type = "blk",
		.state = VG_CONTROL_CONNECTED,
		.config = "blk,target=/srv/web.img",
		.queues = queues,
		.n_queues = 2,
		.stats = { .requests = 1000 + 100 * n,
			   .errors = n,
			   .bytes_read = 4096ull * 100 * n,
			   .kicks = 10 * n,
			   .interrupts = 25 * n,
			   .latency = { [VG_OP_READ] = { .count = { [7] = 90 * n, [11] = 8 * n } },
					[VG_OP_FLUSH] = { .count = { [23] = 2 * n } } } },
		.hyper = { .copy_hypercalls = 20 * n,
			   .maps = 5 * n,
			   .unmaps = 5 * n,
			   .notifies = 10 * n,
			   .unmasks = 1000 * n },
		.uptime_ns = 3600 * 1000000000ll,
	};

	(void)ctx, (void)guest;
	vg_control_list_add(req, &dev);
	dev.guest = "db";
	dev.domid = 8;
	dev.stats.requests = 10000 * n;
	vg_control_list_add(req, &dev);
	dev.guest = "reborn";
	dev.domid = VG_CONTROL_NO_DOMAIN;
	dev.kind = "vhost-user";
	dev.stats.requests = n < 3 ? 5000 * n : 1;
	vg_control_list_add(req, &dev);
	dev.guest = "new";
	dev.domid = 9;
	dev.kind = "virtio";
	dev.stats.requests = 100 * n;
	if (n > 1)
		vg_control_list_add(req, &dev);
	vg_control_ok(req);
}

static const struct vg_control_ops ops = { .list = do_list };

static int begin(void **state)
{
	(void)state;
	return tool_begin(&ops);
}

static int end(void **state)
{
	(void)state;
	return tool_end();
}

/* The line that begins with @guest, blanks of any number made one. */
static const char *line_of(const char *guest)
{
	static char line[512];
	char *p = out;
	size_t n = 0;

	while (p && (strncmp(p, guest, strlen(guest)) != 0 || p[strlen(guest)] != ' ')) {
		p = strchr(p, '\n');
		p += p ? 1 : 0;
	}
	if (!p)
		fail_msg("no line of %s: %s", guest, out);
	for (; *p && *p != '\n' && n < sizeof(line) - 1; p++) {
		if (*p != ' ' || (n && line[n - 1] != ' '))
			line[n++] = *p;
	}
	line[n] = '\0';
	return line;
}

static int index_of(const char *text, const char *part)
{
	const char *at = strstr(text, part);

	if (!at)
		fail_msg("\"%s\" has no \"%s\"", text, part);
	return (int)(at - text);
}

/* Of look @n of those in out, from 0 on: member @key of @guest's device. To be put. */
static struct json_object *member(unsigned n, const char *guest, const char *key)
{
	struct json_object *look, *devices, *found = NULL;
	const char *line = out;

	while (n--)
		line = strchr(line, '\n') + 1;
	look = json_tokener_parse(line);
	assert_true(json_object_object_get_ex(look, "devices", &devices));
	for (size_t i = 0; i < json_object_array_length(devices); i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i), *v;

		json_object_object_get_ex(dev, "guest", &v);
		if (strcmp(json_object_get_string(v), guest) == 0) {
			assert_true(json_object_object_get_ex(dev, key, &found));
			json_object_get(found);
		}
	}
	json_object_put(look);
	return found;
}

static double number(unsigned n, const char *guest, const char *key)
{
	struct json_object *v = member(n, guest, key);
	double d;

	if (!v)
		fail_msg("%s of %s is null in look %u: %s", key, guest, n, out);
	d = json_object_get_double(v);
	json_object_put(v);
	return d;
}

/* ---- tests ---------------------------------------------------------------------- */

static void once_is_the_difference_of_two_looks(void **state)
{
	double rate, bytes;
	char unit[8], rest[128];

	(void)state;
	assert_int_equal(run("top --once -i 0.2"), 0);
	assert_out("4 devices, every 0.2 s, by guest\n");
	assert_int_equal(sscanf(line_of("web"), "web 64 blk connected %lf %lf %7s 0 B %127[^\n]",
				&rate, &bytes, unit, rest),
			 4);
	/* 100 of them in what lay between the looks: 0.2 s, and more on a busy machine. */
	assert_true(rate > 0 && rate <= 500 && bytes > 0);
	assert_string_equal(rest, "<128us >4s 5 0.10 0.25 0.50 2 (+1)");
}

/* Nor has one whose counters went backwards: it is another one. No rate is negative. */
static void a_new_device_has_no_rates(void **state)
{
	(void)state;
	assert_int_equal(run("top --json --batch 2 -i 0.1"), 0);
	assert_schema("top");
	assert_null(member(0, "new", "requests_per_second"));
	assert_null(member(0, "new", "errors_since"));
	assert_null(member(0, "new", "latency_99_us"));
	assert_int_equal(number(0, "new", "depth"), 5);
	assert_true(number(1, "new", "requests_per_second") > 0);
	assert_true(number(0, "reborn", "requests_per_second") > 0);
	assert_null(member(1, "reborn", "requests_per_second"));
	assert_null(member(1, "reborn", "kicks_per_request"));
	assert_null(member(1, "reborn", "domid"));
	assert_int_equal(number(1, "web", "latency_median_us"), 128);
	assert_int_equal(number(1, "web", "latency_99_us"), 1 << 23);
	assert_int_equal(number(1, "web", "errors"), 3);
	assert_int_equal(number(1, "web", "errors_since"), 1);
	assert_true(number(1, "web", "hypercalls_per_request") == 0.5);
}

static void orders(void **state)
{
	(void)state;
	assert_int_equal(run("top --once -i 0.1 --sort requests"), 0);
	assert_true(index_of(out, "\ndb ") < index_of(out, "\nweb "));
	assert_int_equal(run("top --once -i 0.1"), 0);
	assert_true(index_of(out, "\nweb ") < index_of(out, "\ndb "));
	assert_true(index_of(out, "\ndb ") < index_of(out, "\nreborn "));
}

static void wrong_usage_is_told(void **state)
{
	(void)state;
	assert_int_equal(run("top -i 0"), 2);
	assert_out("seconds from 0.1 to 3600, not '0'");
	assert_int_equal(run("top -i nan"), 2);
	assert_int_equal(run("top -i 2x"), 2);
	assert_int_equal(run("top --sort size"), 2);
	assert_out("there is no order 'size'");
	assert_int_equal(run("top --batch 0"), 2);
	assert_out("must be a number of looks, not '0'");
	assert_int_equal(run("top --once --batch 2"), 2);
	assert_int_equal(run("list --once"), 2);
	assert_int_equal(run("top --once -i 0.1 >/dev/full"), 1);
}

static void without_a_daemon_it_ends(void **state)
{
	(void)state;
	assert_int_equal(run("top --once"), 3);
	assert_out("vgrantd is not running");
}

/* ---- on a terminal ---------------------------------------------------------------- */

static struct {
	int fd;
	pid_t pid;
	char text[1 << 18]; /* all that was painted */
	size_t n, heard;
} tty;

/* Until it paints @part, behind what was heard before. */
static void hear(const char *part)
{
	for (;;) {
		char *at = strstr(tty.text + tty.heard, part);
		ssize_t n;

		if (at) {
			tty.heard = (size_t)(at - tty.text) + strlen(part);
			return;
		}
		n = read(tty.fd, tty.text + tty.n, sizeof(tty.text) - tty.n - 1);
		if (n <= 0)
			fail_msg("it ended, and did not say \"%s\": %s", part,
				 tty.text + tty.heard);
		tty.n += (size_t)n;
		tty.text[tty.n] = '\0';
	}
}

static void begin_top(struct termios *before)
{
	struct winsize w = { .ws_row = 24, .ws_col = 132 };

	memset(&tty, 0, sizeof(tty));
	tty.pid = forkpty(&tty.fd, NULL, NULL, &w);
	assert_true(tty.pid >= 0);
	if (tty.pid == 0) {
		execl(vgrant, "vgrant", "-s", path, "top", "-i", "0.1", NULL);
		_exit(127);
	}
	/* The master's attributes are those of the line. */
	assert_int_equal(tcgetattr(tty.fd, before), 0);
}

/* It has ended, and the terminal is as it was. */
static void ended(const struct termios *before)
{
	struct termios after;
	int status;

	hear("\033[?25h\033[?1049l");
	assert_int_equal(waitpid(tty.pid, &status, 0), tty.pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(tcgetattr(tty.fd, &after), 0);
	assert_int_equal(after.c_lflag, before->c_lflag);
	assert_int_equal(after.c_iflag, before->c_iflag);
	assert_int_equal(after.c_oflag, before->c_oflag);
	close(tty.fd);
}

static void put_key(char key)
{
	assert_int_equal(write(tty.fd, &key, 1), 1);
}

static void a_terminal_is_painted_and_given_back(void **state)
{
	struct winsize narrow = { .ws_row = 5, .ws_col = 20 };
	struct termios before;

	(void)state;
	begin_top(&before);
	hear("\033[?1049h\033[?25l");
	hear("by guest");
	hear("REQ/S");
	hear("web");
	put_key('r');
	hear("by requests");
	assert_int_equal(ioctl(tty.fd, TIOCSWINSZ, &narrow), 0);
	/* Cut to 20 columns, and the fifth line is the last. */
	hear("\nkeys: g guest, r req\033[K\r\n");
	hear("\nGUEST              I\033[K\r\n");
	hear("\033[K\033[J");
	put_key('q');
	ended(&before);
}

static void a_signal_gives_the_terminal_back(void **state)
{
	struct termios before;

	(void)state;
	begin_top(&before);
	hear("web");
	put_key(3); /* ^C */
	ended(&before);
	begin_top(&before);
	hear("web");
	kill(tty.pid, SIGTERM);
	ended(&before);
}

/* Stopped it is a shell's terminal; when it goes on it takes it again. */
static void a_stop_gives_the_terminal_back(void **state)
{
	struct termios before, now;
	int status;

	(void)state;
	begin_top(&before);
	hear("web");
	kill(tty.pid, SIGTSTP);
	hear("\033[?25h\033[?1049l");
	assert_int_equal(waitpid(tty.pid, &status, WUNTRACED), tty.pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(tcgetattr(tty.fd, &now), 0);
	assert_int_equal(now.c_lflag, before.c_lflag);
	kill(tty.pid, SIGCONT);
	hear("\033[?1049h\033[?25l");
	hear("web");
	put_key('q');
	ended(&before);
}

static void a_daemon_that_restarts_is_waited_for(void **state)
{
	struct termios before;

	begin_top(&before);
	hear("web");
	stop_server(state);
	hear("vgrantd is not running");
	hear("web"); /* what was seen last stays */
	start_server(state);
	hear("by guest\033[K");
	hear("web");
	put_key('q');
	ended(&before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_daemon_it_ends),
		SERVED(once_is_the_difference_of_two_looks),
		SERVED(a_new_device_has_no_rates),
		SERVED(orders),
		SERVED(wrong_usage_is_told),
		SERVED(a_terminal_is_painted_and_given_back),
		SERVED(a_signal_gives_the_terminal_back),
		SERVED(a_stop_gives_the_terminal_back),
		SERVED(a_daemon_that_restarts_is_waited_for),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
