// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_daemon_can.c - CAN through the whole of vgrantd on a fake Xen host: what
 * `vgrant set` changes, and what `vgrant trace` shows, when workers, vgrantd or
 * those who look on come and go
 *
 * The bus is tests/fakes/can, one for each worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "backend/base/container.h"
#include "backend/base/limits.h"
#include "backend/base/loop.h"
#include "backend/devices/can/wire.h"
#include "tests/fakes/can/fake_can.h"
#include "tests/rigs/daemon_rig.h"

/* ---- a guest with a controller ------------------------------------------ */

/* One chain: @out bytes, and a byte for the result. */
static void put(struct rig_guest *g, unsigned q, const void *out, uint32_t len, struct drv_buf *buf)
{
	struct drv_seg o, i;

	assert_int_equal(drv_alloc(&g->dev->gmem.mem, 192, 16, true, buf), 0);
	memcpy(buf->virt, out, len);
	memset((uint8_t *)buf->virt + 160, 0xff, 1);
	o = (struct drv_seg){ buf->addr, len };
	i = (struct drv_seg){ buf->addr + 160, 1 };
	assert_true(drv_vring_add(&g->dev->queues[q].vr, &o, 1, &i, 1, buf, 0) >= 0);
}

/* The chain that comes back next; one of @n in @buf. Return: its result. */
static uint8_t get(struct rig_guest *g, unsigned q, struct drv_buf *buf, unsigned n)
{
	struct drv_used used;
	struct drv_buf *back;
	uint8_t result;

	assert_int_equal(drv_queue_wait(&g->dev->queues[q], &used), 0);
	back = used.cookie;
	assert_true(back >= buf && back < buf + n);
	result = *((uint8_t *)back->virt + 160);
	assert_int_equal(drv_free(&g->dev->gmem.mem, back), 0);
	return result;
}

static uint8_t ask(struct rig_guest *g, unsigned q, const void *out, uint32_t len)
{
	struct drv_buf buf;

	put(g, q, out, len, &buf);
	drv_queue_kick(&g->dev->queues[q]);
	return get(g, q, &buf, 1);
}

struct one_byte {
	struct can_wire_header h;
	uint8_t data[8];
};

static struct one_byte one_byte(uint32_t id, uint8_t byte)
{
	return (struct one_byte){ .h = { .msg_type = htole16(CAN_MSG_TX),
					 .length = htole16(1),
					 .can_id = htole32(id) },
				  .data = { byte } };
}

/* Send a frame of one byte. Return: its result. */
static uint8_t frame(struct rig_guest *g, uint32_t id, uint8_t byte)
{
	const struct one_byte f = one_byte(id, byte);

	return ask(g, CAN_TXQ, &f, sizeof(f.h) + 1);
}

/* Send so many of 64 bytes at once that the guest need not be woken for each; numbered from @first. */
enum { BURST = 16 };

static void burst(struct rig_guest *g, unsigned first)
{
	struct drv_buf buf[BURST];

	for (unsigned i = 0; i < BURST; i++) {
		struct {
			struct can_wire_header h;
			uint8_t data[64];
		} f = { .h = { .msg_type = htole16(CAN_MSG_TX),
			       .length = htole16(64),
			       .flags = htole32(CAN_WIRE_FD),
			       .can_id = htole32(0x100 + (first + i) % 16) } };

		memset(f.data, (int)(first + i), sizeof(f.data));
		put(g, CAN_TXQ, &f, sizeof(f), &buf[i]);
	}
	drv_queue_kick(&g->dev->queues[CAN_TXQ]);
	for (unsigned i = 0; i < BURST; i++)
		assert_int_equal(get(g, CAN_TXQ, buf, BURST), CAN_RESULT_OK);
}

/* Guest @n, its controller started. */
static struct rig_guest *can_guest(struct rig *r, unsigned n)
{
	const uint16_t start = htole16(CAN_MSG_START);
	struct rig_guest *g = rig_domain(r, n);

	rig_nodes(r, n, "can,interface=can0,tx-rate=900000");
	g->dev->timeout_ms = 30000;
	assert_int_equal(drv_dev_connect(g->dev), 0);
	assert_int_equal(drv_dev_start(g->dev, ~0ull, CAN_QUEUES, 64), 0);
	assert_int_equal(ask(g, CAN_CONTROLQ, &start, sizeof(start)), CAN_RESULT_OK);
	return g;
}

static void kill_worker(struct rig *r)
{
	pid_t old, pid = 0;

	assert_int_equal(rig_workers(r, &old, 1), 1);
	kill(old, SIGKILL);
	for (int i = 0; i < 1000 && (rig_workers(r, &pid, 1) != 1 || pid == old); i++)
		usleep(10000);
	assert_true(pid != old);
}

/* ---- a client of the control socket ------------------------------------- */

static int control(struct rig *r)
{
	int fd = rig_control(r);

	assert_true(fd >= 0);
	return fd;
}

/* The next line of @fd, within 20 s, without its newline. */
static void get_line(int fd, char *line, size_t size)
{
	size_t n = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		size_t end;
		ssize_t got;

		assert_int_equal(poll(&p, 1, 20000), 1);
		assert_true(n < size - 1);
		/* No byte of the line after it. */
		got = recv(fd, line + n, size - 1 - n, MSG_PEEK);
		assert_true(got > 0);
		for (end = n; end < n + (size_t)got && line[end] != '\n'; end++)
			;
		got = end < n + (size_t)got ? (ssize_t)(end + 1 - n) : got;
		assert_int_equal(read(fd, line + n, (size_t)got), got);
		n += (size_t)got;
		if (line[n - 1] == '\n')
			break;
	}
	n--;
	line[n] = '\0';
}

static void say(int fd, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_int_equal(write(fd, text, (size_t)n), n);
}

/* vgrant set: what vgrantd answers */
static void set(struct rig *r, struct rig_guest *g, const char *key, const char *value,
		const char *answer)
{
	int fd = control(r);
	char line[1024];

	say(fd, "{\"cmd\":\"set\",\"guest\":\"%u\",\"id\":%u,\"key\":\"%s\",\"value\":\"%s\"}\n",
	    g->id, RIG_ID, key, value);
	get_line(fd, line, sizeof(line));
	if (!strstr(line, answer))
		fail_msg("'%s' is not in '%s'", answer, line);
	close(fd);
}

/* ---- settings ----------------------------------------------------------- */

/* What `vgrant set` left: ids 100 to 10f may be sent, FD not, and the limit of the configuration is
 * gone. */
static void assert_as_set(struct rig *r, struct rig_guest *g)
{
	char line[4096];
	int fd = control(r);

	assert_int_equal(frame(g, 0x105, 1), CAN_RESULT_OK);
	assert_int_equal(frame(g, 0x205, 1), CAN_RESULT_NOT_OK);
	say(fd, "{\"cmd\":\"list\"}\n");
	get_line(fd, line, sizeof(line));
	close(fd);
	assert_non_null(strstr(line, "tx-allow=100:7f0"));
	assert_non_null(strstr(line, "fd=0"));
	assert_non_null(strstr(line, "tx-rate=0"));
	assert_non_null(strstr(line, "refused=id:1/kind:0/rate:0/load:0"));
}

static void settings_outlive_workers_and_vgrantd(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = can_guest(r, 0);

	assert_int_equal(frame(g, 0x205, 1), CAN_RESULT_OK);
	set(r, g, "tx-allow", "200:7f0", "{\"ok\":true}");
	set(r, g, "tx-allow", "100:7f0", "{\"ok\":true}"); /* the last word counts */
	set(r, g, "fd", "0", "{\"ok\":true}");
	set(r, g, "tx-rate", "0", "{\"ok\":true}");
	/* What is refused leaves nothing behind. */
	set(r, g, "tx-allow", "10:zz", "is no rule");
	set(r, g, "interface", "can1", "cannot be changed while running");
	assert_as_set(r, g);
	kill_worker(r);
	assert_as_set(r, g);
	kill_worker(r);
	assert_as_set(r, g);
	assert_int_equal(rig_daemon_stop(r, SIGTERM), 0);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	assert_as_set(r, g);
	rig_daemon_stop(r, SIGKILL);
	rig_daemon_start(r);
	rig_daemon_ready(r);
	assert_as_set(r, g);
	kill_worker(r);
	assert_as_set(r, g);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* ---- traces ------------------------------------------------------------- */

static int trace(struct rig *r, struct rig_guest *g)
{
	int fd = control(r);

	say(fd, "{\"cmd\":\"trace\",\"guest\":\"%u\",\"id\":%u}\n", g->id, RIG_ID);
	return fd;
}

/* The text of the next line of a trace. Return: lines that were dropped before it. */
static unsigned long traced(int fd, char *text, size_t size)
{
	static const char head[] = "{\"ok\":true,\"more\":true,\"line\":\"";
	char line[8192], *dropped, *end;

	get_line(fd, line, sizeof(line));
	if (strncmp(line, head, sizeof(head) - 1) != 0)
		fail_msg("no line of a trace: %s", line);
	end = strchr(line + sizeof(head) - 1, '"');
	assert_non_null(end);
	dropped = strstr(end, "\"dropped\":");
	*end = '\0';
	snprintf(text, size, "%s", line + sizeof(head) - 1);
	return dropped ? strtoul(dropped + 10, NULL, 10) : 0;
}

/* "(seconds.microseconds) can0 @want": candump's log format, with the direction of candump -x */
static void assert_traced(int fd, const char *want)
{
	char text[8192];
	long sec, usec;
	int at = 0;

	assert_int_equal(traced(fd, text, sizeof(text)), 0);
	assert_int_equal(sscanf(text, "(%10ld.%6ld) can0 %n", &sec, &usec, &at), 2);
	assert_int_equal(at, 25);
	assert_int_equal(text[11], '.');
	assert_in_range(sec, time(NULL) - 60, time(NULL) + 1);
	assert_string_equal(text + at, want);
}

/* Until a trace that was just asked for has begun: the worker is told behind the client's back. */
static void await_trace(struct rig_guest *g, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[8192];

	for (int i = 0; i < 1000 && poll(&p, 1, 20) == 0; i++)
		assert_int_equal(frame(g, 0x001, 0), CAN_RESULT_OK);
	do
		traced(fd, text, sizeof(text));
	while (poll(&p, 1, 200) == 1);
}

static void traces(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = can_guest(r, 0);
	int a = trace(r, g), b = trace(r, g), c, d, e;
	char line[1024];

	await_trace(g, a);
	await_trace(g, b);
	while (poll(&(struct pollfd){ .fd = a, .events = POLLIN }, 1, 200) == 1)
		traced(a, line, sizeof(line));
	assert_int_equal(frame(g, 0x123, 0xab), CAN_RESULT_OK);
	assert_traced(a, "123#AB T");
	assert_traced(b, "123#AB T");
	assert_int_equal(frame(g, FAKE_CAN_ASK, 0xcd), CAN_RESULT_OK);
	assert_traced(a, "7E0#CD T");
	assert_traced(a, "7E8#CD R");
	assert_traced(b, "7E0#CD T");
	/* One hangs up in mid-line; the other does not notice. */
	close(b);
	assert_int_equal(frame(g, 0x124, 1), CAN_RESULT_OK);
	assert_traced(a, "124#01 T");
	/* What the firewall refuses is not on the bus. */
	set(r, g, "tx-allow", "100:700+001+7e0", "{\"ok\":true}");
	assert_int_equal(frame(g, 0x200, 1), CAN_RESULT_NOT_OK);
	assert_int_equal(frame(g, 0x125, 1), CAN_RESULT_OK);
	assert_traced(a, "125#01 T");
	/* Another worker: the trace goes on. */
	kill_worker(r);
	assert_int_equal(frame(g, 0x126, 2), CAN_RESULT_OK);
	assert_traced(a, "126#02 T");
	/* Four at once, and no fifth; one that left makes room. */
	b = trace(r, g);
	c = trace(r, g);
	d = trace(r, g);
	await_trace(g, d);
	e = trace(r, g);
	get_line(e, line, sizeof(line));
	assert_non_null(strstr(line, "4 traces of it run already"));
	close(e);
	close(b);
	close(c);
	e = trace(r, g);
	await_trace(g, e);
	close(e);
	close(d);
	close(a);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* How many lines end in what has come; waits for something. */
static unsigned lines_there(int fd)
{
	char text[16384];
	ssize_t got;
	unsigned n = 0;

	assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 20000), 1);
	got = read(fd, text, sizeof(text));
	assert_true(got > 0);
	for (ssize_t i = 0; i < got; i++)
		n += text[i] == '\n';
	return n;
}

/* A client that does not read: the guest does not wait for it, and it is told what it missed. */
static void slow_trace(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = can_guest(r, 0);
	int slow = trace(r, g), fast = trace(r, g);
	unsigned long lines = 0, dropped = 0, n;
	int64_t from = vg_now_ns();
	unsigned sent = 0, seen = 0;
	char text[8192];

	await_trace(g, slow);
	await_trace(g, fast);
	while (poll(&(struct pollfd){ .fd = slow, .events = POLLIN }, 1, 200) == 1)
		traced(slow, text, sizeof(text));
	/* In less than the 10 s after which one that takes nothing is hung up on. */
	for (; sent < 1920; sent += BURST) {
		burst(g, sent);
		/* Its own lines reach the one that reads, each of them; the first ones are looked at. */
		for (; seen < sent && seen < 320; seen++) {
			char want[160];
			int at = snprintf(want, sizeof(want), "%03X##1", 0x100 + seen % 16);

			for (unsigned i = 0; i < 64; i++)
				at += snprintf(want + at, 3, "%02X", seen & 0xff);
			snprintf(want + at, 3, " T");
			assert_traced(fast, want);
		}
		while (seen < sent)
			seen += lines_there(fast);
	}
	if (vg_now_ns() - from > 9 * NS_PER_S) {
		print_message("this machine is too busy: 1920 frames took longer than the 10 s "
			      "after which a client that takes nothing is hung up on\n");
		close(slow);
		close(fast);
		skip();
	}
	do {
		char *note;

		dropped += traced(slow, text, sizeof(text));
		note = strstr(text, " lines were lost");
		if (note && sscanf(text, "# %lu", &n) == 1)
			dropped += n;
		else
			lines++;
		/* What it missed last is told with the next line, which may be missed, too. */
		while (lines + dropped < sent &&
		       poll(&(struct pollfd){ .fd = slow, .events = POLLIN }, 1, 500) == 0) {
			assert_true(sent < 2020);
			assert_int_equal(frame(g, 0x1ff, 0), CAN_RESULT_OK);
			sent++;
		}
	} while (lines + dropped < sent);
	assert_true(dropped > 0);
	assert_int_equal(lines + dropped, sent);
	print_message("# trace: of %u lines a client that did not read missed %lu, and was told\n",
		      sent, dropped);
	close(slow);
	close(fast);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

/* ---- the interface comes back ---------------------------------------------- */

/* A worker in its sandbox is given what its configuration names, as often as an interface comes back; one
 * that asks without end is replaced, and with it goes what it was given. */
static void interface_again(void **state)
{
	struct rig *r = *state;
	struct rig_guest *g = can_guest(r, 0);
	pid_t old, pid = 0;
	int a = trace(r, g);

	await_trace(g, a);
	for (unsigned i = 0; i < VG_LIMIT_ASKED; i++) {
		assert_int_equal(frame(g, FAKE_CAN_REJOIN, 0), CAN_RESULT_OK);
		assert_traced(a, "7E1#00 T");
		assert_traced(a, "7E9#63616E30 R"); /* "can0" */
	}
	assert_false(rig_logged(r, "asked for many descriptors"));
	assert_int_equal(rig_workers(r, &old, 1), 1);
	assert_int_equal(frame(g, FAKE_CAN_REJOIN, 0), CAN_RESULT_OK);
	for (int i = 0; i < 1000 && (rig_workers(r, &pid, 1) != 1 || pid == old); i++)
		usleep(10000);
	assert_true(pid != old);
	assert_true(rig_logs(r, "asked for many descriptors"));
	close(a);
	a = trace(r, g);
	await_trace(g, a);
	assert_int_equal(frame(g, FAKE_CAN_REJOIN, 0), CAN_RESULT_OK);
	assert_traced(a, "7E1#00 T");
	assert_traced(a, "7E9#63616E30 R");
	close(a);
	assert_int_equal(drv_dev_close(g->dev), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_begin, rig_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(settings_outlive_workers_and_vgrantd),
		T(traces),
		T(slow_trace),
		T(interface_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
