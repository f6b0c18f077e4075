// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_console.c - a console and its ports, driven as a guest's driver does, with clients on terminals
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "backend/daemon/terminals.h"
#include "backend/devices/console/int.h"
#include "tests/driver/testport.h"

enum {
	RX = 0,
	TX = 1,
	CTL_RX = 2,
	CTL_TX = 3,
	RX1 = 4,
	TX1 = 5,
	BUFS = 16,
	PATIENCE = 5000, /* ms: what crosses a terminal comes when a thread of the kernel's runs */
	CTL = 80,	 /* bytes of a control buffer */
	CHUNK = 16 << 10,
};

#define TWO "console,ports=agent"

struct con {
	struct tp tp;
	struct vg_terminals terminals;
	struct drv_buf ctl, said, in, out;
	unsigned outs;
	uint32_t rx_len; /* of buffers for what is typed */
};

static struct con con;

static void give_terminals(void)
{
	for (unsigned i = 0; i < con.terminals.n; i++)
		con.tp.dev.ops->terminal(&con.tp.dev, i,
					 fcntl(con.terminals.t[i].device, F_DUPFD_CLOEXEC, 0));
	con.tp.dev.ops->memory(&con.tp.dev, fcntl(con.terminals.memory, F_DUPFD_CLOEXEC, 0));
}

static void begin(const char *spec, enum tp_manner manner, uint64_t want)
{
	struct vg_err err = { "" };

	tp_open(&con.tp, manner, spec);
	assert_int_equal(vg_terminals_make(&con.terminals, spec, &err), 0);
	give_terminals();
	tp_start(&con.tp, want, 64);
	assert_int_equal(drv_alloc(&con.tp.flat.mem, BUFS * CTL, 4096, true, &con.ctl), 0);
	assert_int_equal(drv_alloc(&con.tp.flat.mem, 64, 16, false, &con.said), 0);
	assert_int_equal(drv_alloc(&con.tp.flat.mem, 65536, 4096, true, &con.in), 0);
	assert_int_equal(drv_alloc(&con.tp.flat.mem, 512 << 10, 4096, true, &con.out), 0);
}

static void up(const char *spec, enum tp_manner manner, uint64_t want)
{
	memset(&con, 0, sizeof(con));
	vg_terminals_init(&con.terminals);
	begin(spec, manner, want);
}

/* The device goes; terminals and what is kept stay. */
static void end(void)
{
	tp_reset(&con.tp);
	drv_free(&con.tp.flat.mem, &con.ctl);
	drv_free(&con.tp.flat.mem, &con.said);
	drv_free(&con.tp.flat.mem, &con.in);
	drv_free(&con.tp.flat.mem, &con.out);
	tp_close(&con.tp);
}

static void down(void)
{
	end();
	vg_terminals_free(&con.terminals);
}

/* As once a second. */
static void tick(void)
{
	con.tp.dev.ops->tick(&con.tp.dev);
	tp_settle(&con.tp);
}

/* ---- control ------------------------------------------------------------------- */

static void ctl_post(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct drv_seg seg = { con.ctl.addr + i * CTL, CTL };

		assert_true(drv_vring_add(&con.tp.vr[CTL_RX], NULL, 0, &seg, 1,
					  (uint8_t *)con.ctl.virt + i * CTL, 0) >= 0);
	}
	tp_kick(&con.tp, CTL_RX);
	tp_settle(&con.tp);
}

static void ctl_say_bytes(const void *m, uint32_t len)
{
	const struct drv_seg seg = { con.said.addr, len };
	struct drv_used used;

	memcpy(con.said.virt, m, len);
	assert_true(drv_vring_add(&con.tp.vr[CTL_TX], &seg, 1, NULL, 0, &con, 0) >= 0);
	tp_kick(&con.tp, CTL_TX);
	tp_wait(&con.tp, CTL_TX, &used);
	assert_int_equal(used.len, 0);
	tp_settle(&con.tp);
}

static void ctl_say(uint16_t event, uint32_t id, uint16_t value)
{
	const struct virtio_console_control m = { htole32(id), htole16(event), htole16(value) };

	ctl_say_bytes(&m, sizeof(m));
}

/* Return: bytes of the next message behind its head, which are at *@rest; -1: there is none. */
static int ctl_next(struct virtio_console_control *m, uint8_t **rest)
{
	struct drv_used used;

	tp_settle(&con.tp);
	if (drv_vring_get(&con.tp.vr[CTL_RX], &used) <= 0)
		return -1;
	memcpy(m, used.cookie, sizeof(*m));
	*rest = (uint8_t *)used.cookie + sizeof(*m);
	return (int)used.len - (int)sizeof(*m);
}

static void expect_ctl(uint16_t event, uint32_t id, uint16_t value, const void *rest, int len)
{
	struct virtio_console_control m;
	uint8_t *got;
	int ret = ctl_next(&m, &got);

	for (unsigned i = 0; i < PATIENCE && ret < 0; i++) {
		usleep(1000);
		ret = ctl_next(&m, &got);
	}
	assert_int_equal(ret, len);
	assert_int_equal(le16toh(m.event), event);
	assert_int_equal(le32toh(m.id), id);
	assert_int_equal(le16toh(m.value), value);
	if (len)
		assert_memory_equal(got, rest, (size_t)len);
}

static void expect_no_ctl(void)
{
	struct virtio_console_control m;
	uint8_t *rest;

	assert_int_equal(ctl_next(&m, &rest), -1);
}

/* All that a driver says of its ports, so that they are open. */
static void open_ports(unsigned n)
{
	struct virtio_console_control m;
	uint8_t *rest;

	ctl_post(BUFS);
	ctl_say(VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_BAD_ID, 1);
	for (unsigned i = 0; i < n; i++) {
		ctl_say(VIRTIO_CONSOLE_PORT_READY, i, 1);
		ctl_say(VIRTIO_CONSOLE_PORT_OPEN, i, 1);
	}
	while (ctl_next(&m, &rest) >= 0)
		;
}

/* ---- data --------------------------------------------------------------------------- */

static void out_bytes(unsigned q, uint32_t len)
{
	const struct drv_seg seg = { con.out.addr, len };

	assert_true(drv_vring_add(&con.tp.vr[q], &seg, 1, NULL, 0, &con, 0) >= 0);
	con.outs++;
	tp_kick(&con.tp, q);
	tp_settle(&con.tp);
}

static void out(unsigned q, const char *text)
{
	memcpy(con.out.virt, text, strlen(text));
	out_bytes(q, (uint32_t)strlen(text));
}

/* Return: how many that were given came back. */
static unsigned outs_back(unsigned q)
{
	struct drv_used used;
	unsigned n = 0;

	tp_settle(&con.tp);
	while (drv_vring_get(&con.tp.vr[q], &used) > 0)
		n++;
	con.outs -= n;
	return n;
}

static void rx_post(unsigned q, unsigned n, uint32_t len)
{
	con.rx_len = len;
	for (unsigned i = 0; i < n; i++) {
		const struct drv_seg seg = { con.in.addr + i * len, len };

		assert_true(drv_vring_add(&con.tp.vr[q], NULL, 0, &seg, 1,
					  (uint8_t *)con.in.virt + i * len, 0) >= 0);
	}
	tp_kick(&con.tp, q);
	tp_settle(&con.tp);
}

/* What the guest has got, put together, once it is as much as @text, or longer. */
static void expect_typed(unsigned q, const char *text)
{
	char got[256] = "";
	struct drv_used used;
	size_t n = 0;

	for (unsigned i = 0; i < PATIENCE && n < strlen(text); i++) {
		tp_settle(&con.tp);
		while (drv_vring_get(&con.tp.vr[q], &used) > 0) {
			uint32_t len = used.skipped ? con.rx_len : used.len;

			assert_true(n + len < sizeof(got));
			memcpy(got + n, used.cookie, len);
			n += len;
		}
		usleep(1000);
	}
	assert_string_equal(got, text);
}

static void expect_nothing_typed(unsigned q)
{
	struct drv_used used;

	usleep(5000);
	tp_settle(&con.tp);
	assert_true(drv_vring_get(&con.tp.vr[q], &used) <= 0);
}

/* ---- clients -------------------------------------------------------------------------- */

/* As `xl console` does it. */
static int client(unsigned i)
{
	int fd = open(con.terminals.t[i].path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	assert_true(fd >= 0);
	tick();
	return fd;
}

static void type(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	tp_settle(&con.tp);
}

/* Until there are @want bytes, or nothing comes any more. Return: bytes. */
static size_t read_all(int fd, char *to, size_t want)
{
	size_t n = 0;
	ssize_t ret;

	for (unsigned idle = 0; idle < PATIENCE && n < want; idle++) {
		tp_settle(&con.tp);
		ret = read(fd, to + n, want - n);
		if (ret > 0) {
			n += (size_t)ret;
			idle = 0;
		} else {
			usleep(1000);
		}
	}
	return n;
}

static void expect_read(int fd, const char *text)
{
	char got[256] = "";
	size_t n = read_all(fd, got, strlen(text));

	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, n);
	usleep(2000);
	tp_settle(&con.tp);
	assert_int_equal(read(fd, got, sizeof(got)), -1);
}

static void await_fault(void)
{
	for (unsigned i = 0; i < PATIENCE && !(con.tp.dev.status & VG_STATUS_NEEDS_RESET); i++) {
		usleep(1000);
		tp_settle(&con.tp);
	}
	assert_true(con.tp.dev.status & VG_STATUS_NEEDS_RESET);
}

static bool described(const char *what)
{
	char text[256];

	con.tp.dev.ops->describe(&con.tp.dev, text, sizeof(text));
	return strstr(text, what) != NULL;
}

/* ---- what it is -------------------------------------------------------------------------- */

static void test_what_it_says(void **state)
{
	struct virtio_console_config c;

	(void)state;
	up(TWO, TP_COPY, TP_ALL);
	assert_int_equal(con.tp.dev.virtio_id, 3);
	assert_int_equal(con.tp.dev.n_queues, 6);
	assert_int_equal(con.tp.dev.device_features, 7);
	assert_int_equal(vg_dev_config_read(&con.tp.dev, 0, &c, sizeof(c)), 0);
	assert_int_equal(le16toh(c.cols), 80);
	assert_int_equal(le16toh(c.rows), 24);
	assert_int_equal(le32toh(c.max_nr_ports), 2);
	assert_int_equal(vg_dev_config_write(&con.tp.dev, 0, "xx", 2), -EPERM);
	down();
}

static void test_configuration_errors(void **state)
{
	static const char *const bad[] = {
		"console,ports=",
		"console,ports=a:",
		"console,ports=a:b:a",
		"console,ports=console",
		"console,ports=a b",
		"console,ports=a/b",
		"console,ports=a:b:c:d:e:f:g:h:i:j:k:l:m:n:o:p",
		"console,ports="
		"0123456789012345678901234567890123456789012345678901234567890123",
		"console,size=80x25",
	};
	struct vg_err err;
	struct tp tp;

	(void)state;
	for (unsigned i = 0; i < COUNT(bad); i++)
		assert_true(tp_try_open(&tp, TP_COPY, bad[i], &err) < 0);
}

/* As Linux' driver goes about it. */
static void test_ports_come_up(void **state)
{
	const uint16_t size[] = { htole16(80), htole16(24) };
	int fd;

	(void)state;
	up(TWO, TP_COPY, TP_ALL);
	ctl_post(BUFS);
	expect_no_ctl();
	ctl_say(VIRTIO_CONSOLE_PORT_READY, 0, 1); /* it has not begun */
	expect_no_ctl();
	ctl_say(VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_BAD_ID, 1);
	expect_ctl(VIRTIO_CONSOLE_PORT_ADD, 0, 0, NULL, 0);
	expect_ctl(VIRTIO_CONSOLE_PORT_ADD, 1, 0, NULL, 0);
	expect_no_ctl();
	ctl_say(VIRTIO_CONSOLE_PORT_READY, 0, 1);
	expect_ctl(VIRTIO_CONSOLE_CONSOLE_PORT, 0, 1, NULL, 0);
	expect_ctl(VIRTIO_CONSOLE_PORT_OPEN, 0, 1, NULL, 0);
	expect_ctl(VIRTIO_CONSOLE_RESIZE, 0, 0, size, 4);
	ctl_say(VIRTIO_CONSOLE_PORT_READY, 1, 1);
	expect_ctl(VIRTIO_CONSOLE_PORT_NAME, 1, 1, "agent", 5);
	expect_no_ctl();
	/* Whether somebody has the other side open. */
	fd = client(1);
	expect_ctl(VIRTIO_CONSOLE_PORT_OPEN, 1, 1, NULL, 0);
	close(fd);
	tp_settle(&con.tp);
	expect_ctl(VIRTIO_CONSOLE_PORT_OPEN, 1, 0, NULL, 0);
	/* It gives the port up, and takes it again: all is told again. */
	ctl_say(VIRTIO_CONSOLE_PORT_READY, 1, 0);
	expect_no_ctl();
	ctl_say(VIRTIO_CONSOLE_PORT_READY, 1, 1);
	expect_ctl(VIRTIO_CONSOLE_PORT_NAME, 1, 1, "agent", 5);
	expect_no_ctl();
	down();
}

/* However few buffers there are: what is not told yet waits, and costs nothing. */
static void test_few_control_buffers(void **state)
{
	(void)state;
	up(TWO, TP_DIRECT, TP_ALL);
	ctl_say(VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_BAD_ID, 1);
	ctl_post(1);
	expect_ctl(VIRTIO_CONSOLE_PORT_ADD, 0, 0, NULL, 0);
	ctl_say(VIRTIO_CONSOLE_PORT_READY, 0, 1);
	expect_no_ctl();
	for (unsigned i = 0; i < 4; i++) {
		/* It opens and closes: the last counts. */
		int fd = client(1);

		close(fd);
		tick();
	}
	ctl_post(1);
	expect_ctl(VIRTIO_CONSOLE_CONSOLE_PORT, 0, 1, NULL, 0);
	expect_no_ctl();
	ctl_post(4);
	expect_ctl(VIRTIO_CONSOLE_PORT_OPEN, 0, 1, NULL, 0);
	down();
}

/* ---- from the guest --------------------------------------------------------------------- */

static void test_output(void **state)
{
	enum tp_manner manner = *state ? TP_DIRECT : TP_COPY;
	int fd;

	up("console", manner, TP_ALL);
	fd = client(0);
	out(TX, "login: \r\n");
	assert_int_equal(outs_back(TX), 1);
	expect_read(fd, "login: \r\n");
	assert_true(described("clients=1"));
	close(fd);
	down();
}

/* A driver that knows no ports but the one. */
static void test_without_multiport(void **state)
{
	int fd;

	(void)state;
	up(TWO, TP_COPY, ~VG_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT));
	fd = client(0);
	ctl_post(4);
	rx_post(RX, 1, 16);
	rx_post(RX1, 1, 16);
	type(fd, "x");
	expect_typed(RX, "x");
	out(TX, "y");
	expect_read(fd, "y");
	expect_no_ctl();
	close(fd);
	down();
}

/* Nobody is there: it waits for who comes, and what comes after stands behind it. */
static void test_kept_until_somebody_comes(void **state)
{
	int fd;

	(void)state;
	up("console", TP_COPY, TP_ALL);
	out(TX, "one ");
	out(TX, "two ");
	assert_int_equal(outs_back(TX), 2);
	assert_true(described("waiting=8 lost=0"));
	fd = client(0);
	out(TX, "three");
	expect_read(fd, "one two three");
	close(fd);
	tick();
	out(TX, "four");
	fd = client(0);
	expect_read(fd, "four");
	close(fd);
	down();
}

static void fill_out(void)
{
	uint32_t *p = con.out.virt;

	for (uint32_t i = 0; i < con.out.len / 4; i++)
		p[i] = i;
}

/* A guest that speaks to nobody without end: it gets all its buffers back, and the end is kept. */
static void test_nobody_reads(void **state)
{
	static char got[2 * VG_LIMIT_CONSOLE_BYTES];
	uint32_t last, n = 512 << 10;
	size_t len;
	int fd;

	(void)state;
	up("console", TP_COPY, TP_ALL);
	fill_out();
	for (unsigned i = 0; i < 8; i++)
		out_bytes(TX, CHUNK);
	assert_int_equal(outs_back(TX), 8);
	assert_false(described("lost=0"));
	/* One that is longer than all that is kept. */
	out_bytes(TX, n);
	assert_int_equal(outs_back(TX), 1);
	fd = client(0);
	len = read_all(fd, got, VG_LIMIT_CONSOLE_BYTES / 2 + 4);
	memcpy(&last, got + len - 4, 4);
	len += read_all(fd, got + len, (n / 4 - 1 - last) * 4);
	assert_true(len > VG_LIMIT_CONSOLE_BYTES / 2 && len <= VG_LIMIT_CONSOLE_BYTES);
	memcpy(&last, got + len - 4, 4);
	assert_int_equal(last, n / 4 - 1);
	/* In a row. */
	for (size_t at = len; at >= 8; at -= 4) {
		uint32_t a, b;

		memcpy(&a, got + at - 8, 4);
		memcpy(&b, got + at - 4, 4);
		assert_int_equal(a + 1, b);
	}
	close(fd);
	down();
}

/* Somebody is there, and does not read (^S): the guest waits for a moment. */
static void test_somebody_does_not_read(void **state)
{
	unsigned back = 0;
	int fd;

	(void)state;
	up("console", TP_COPY, TP_ALL);
	fd = client(0);
	fill_out();
	for (unsigned i = 0; i < 16; i++)
		out_bytes(TX, CHUNK);
	back = outs_back(TX);
	assert_true(back >= 4 && back < 16);
	assert_true(described("lost=0"));
	for (unsigned i = 0; i < 100 && con.outs; i++) {
		usleep(50000);
		tick();
		back += outs_back(TX);
	}
	assert_int_equal(back, 16);
	assert_false(described("lost=0"));
	close(fd);
	down();
}

/* A slow reader gets it all. */
static void test_slow_reader(void **state)
{
	static char got[16 * CHUNK];
	int fd;

	(void)state;
	up("console", TP_DIRECT, TP_ALL);
	fd = client(0);
	fill_out();
	for (unsigned i = 0; i < 16; i++)
		out_bytes(TX, CHUNK);
	assert_int_equal(read_all(fd, got, 16 * CHUNK), 16 * CHUNK);
	for (unsigned i = 0; i < 16; i++)
		assert_memory_equal(got + i * CHUNK, con.out.virt, CHUNK);
	assert_int_equal(outs_back(TX), 16);
	assert_true(described("lost=0"));
	close(fd);
	down();
}

/* A port with a name loses nothing: its guest's program waits. */
static void test_named_port_waits(void **state)
{
	static char got[16 * CHUNK];
	int fd;

	(void)state;
	up(TWO, TP_COPY, TP_ALL);
	open_ports(2);
	fill_out();
	for (unsigned i = 0; i < 16; i++)
		out_bytes(TX1, CHUNK);
	assert_true(outs_back(TX1) < 16);
	tick();
	usleep(1100000);
	tick();
	assert_true(con.outs > 0);
	/* The console beside it does not wait. */
	out(TX, "x");
	assert_int_equal(outs_back(TX), 1);
	fill_out();
	fd = client(1);
	assert_int_equal(read_all(fd, got, 16 * CHUNK), 16 * CHUNK);
	assert_memory_equal(got + 15 * CHUNK, con.out.virt, CHUNK);
	outs_back(TX1);
	assert_int_equal(con.outs, 0);
	assert_true(described("lost=0"));
	close(fd);
	down();
}

static void test_emergency(void **state)
{
	int fd;

	(void)state;
	up("console", TP_COPY, TP_ALL);
	tp_reset(&con.tp); /* before queues are there */
	for (const char *p = "oops"; *p; p++) {
		const uint32_t v = htole32(0x11223300u | (uint8_t)*p);

		assert_int_equal(vg_dev_config_write(&con.tp.dev, 8, &v, 4), 0);
	}
	fd = client(0);
	expect_read(fd, "oops");
	for (unsigned i = 0; i < 3 * VG_LIMIT_CONSOLE_BYTES; i++)
		assert_int_equal(vg_dev_config_write(&con.tp.dev, 8, "a", 1), 0);
	close(fd);
	down();
}

/* ---- to the guest --------------------------------------------------------------------------- */

static void test_typed(void **state)
{
	int fd;

	(void)state;
	up(TWO, TP_COPY, TP_ALL);
	fd = client(0);
	rx_post(RX, 4, 8);
	type(fd, "early"); /* the guest has not opened it */
	expect_nothing_typed(RX);
	open_ports(1);
	expect_typed(RX, "early");
	/* More than there are buffers for waits. */
	type(fd, "0123456789abcdefghijklmnopqrstuvwxyz");
	expect_typed(RX, "0123456789abcdefghijklmn");
	expect_nothing_typed(RX);
	rx_post(RX, 4, 8);
	expect_typed(RX, "opqrstuvwxyz");
	/* What was typed before they left is heard. */
	type(fd, "bye");
	close(fd);
	rx_post(RX, 4, 8);
	expect_typed(RX, "bye");
	/* The guest closes it: what is typed waits. */
	fd = client(0);
	ctl_say(VIRTIO_CONSOLE_PORT_OPEN, 0, 0);
	type(fd, "later");
	expect_nothing_typed(RX);
	ctl_say(VIRTIO_CONSOLE_PORT_OPEN, 0, 1);
	expect_typed(RX, "later");
	close(fd);
	down();
}

/* Who comes next finds the terminal as the first did, whatever was done to it: with an echo the guest
 * would hear itself. */
static void test_terminal_is_raw_again(void **state)
{
	struct termios t;
	int fd;

	(void)state;
	up("console", TP_COPY, ~VG_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT));
	rx_post(RX, 4, 64);
	fd = client(0);
	assert_int_equal(tcgetattr(fd, &t), 0);
	t.c_lflag |= ECHO | ICANON;
	t.c_oflag |= OPOST | ONLCR;
	assert_int_equal(tcsetattr(fd, TCSANOW, &t), 0);
	close(fd);
	tick();
	out(TX, "hello\n");
	fd = client(0);
	assert_int_equal(tcgetattr(fd, &t), 0);
	assert_int_equal(t.c_lflag & (ECHO | ICANON), 0);
	expect_read(fd, "hello\n");
	expect_nothing_typed(RX);
	close(fd);
	down();
}

static void resize(int fd, uint16_t cols, uint16_t rows)
{
	const struct winsize w = { .ws_col = cols, .ws_row = rows };

	assert_int_equal(ioctl(fd, TIOCSWINSZ, &w), 0);
	tick();
}

static void test_resize(void **state)
{
	const uint16_t size[] = { htole16(132), htole16(43) };
	struct virtio_console_config c;
	unsigned changes;
	int fd;

	(void)state;
	up(TWO, TP_COPY, TP_ALL);
	open_ports(2);
	fd = client(0);
	changes = con.tp.config_changes;
	ctl_post(4);
	resize(fd, 132, 43);
	expect_ctl(VIRTIO_CONSOLE_RESIZE, 0, 0, size, 4);
	expect_no_ctl();
	assert_int_equal(con.tp.config_changes, changes);
	close(fd);
	down();
	up("console", TP_COPY, ~VG_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT));
	fd = client(0);
	changes = con.tp.config_changes;
	resize(fd, 132, 43);
	assert_int_equal(con.tp.config_changes, changes + 1);
	assert_int_equal(vg_dev_config_read(&con.tp.dev, 0, &c, sizeof(c)), 0);
	assert_int_equal(le16toh(c.cols), 132);
	assert_int_equal(le16toh(c.rows), 43);
	tick();
	assert_int_equal(con.tp.config_changes, changes + 1);
	close(fd);
	down();
}

/* Nobody is there, and the processor is nobody's: a terminal that was hung up on wakes us once. */
static void test_quiet_when_nobody_is_there(void **state)
{
	int fd, turns = 0;

	(void)state;
	up("console", TP_COPY, TP_ALL);
	fd = client(0);
	close(fd);
	tp_settle(&con.tp);
	for (unsigned i = 0; i < 50; i++) {
		turns += vg_loop_turn(con.tp.loop, false) > 0;
		usleep(1000);
	}
	assert_true(turns < 5);
	down();
}

/* ---- successors -------------------------------------------------------------------------------- */

/* What nobody has read yet is there after a worker's death, and the terminal's client stays. */
static void test_successor(void **state)
{
	uint8_t saved[3];
	int fd;

	(void)state;
	up(TWO, TP_COPY, TP_ALL);
	open_ports(2);
	out(TX, "last words");
	fd = open(con.terminals.t[1].path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(fd >= 0);
	tick();
	memcpy(saved, con.tp.dev.saved, sizeof(saved));
	end();
	begin(TWO, TP_COPY, TP_ALL);
	out(TX1, "still here");
	expect_read(fd, "still here");
	close(fd);
	fd = client(0);
	expect_read(fd, "last words");
	close(fd);
	/* What was told is known: it is not told again. */
	assert_int_equal(saved[0], 1);
	assert_true(saved[1] & saved[2] & PORT_GUEST_OPEN);
	tp_reset(&con.tp);
	memcpy(con.tp.dev.saved, saved, sizeof(saved));
	down();
}

/* Memory of a predecessor that was taken over. */
static void test_memory_that_lies(void **state)
{
	static const struct {
		uint64_t put, got;
	} lies[] = {
		{ 0, 1 }, { UINT64_MAX, 0 }, { VG_LIMIT_CONSOLE_BYTES + 1, 0 }, { 5, UINT64_MAX }
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(lies); i++) {
		struct console_kept *k;
		int fd;

		up("console", TP_COPY, TP_ALL);
		end();
		k = mmap(NULL, sizeof(*k), PROT_READ | PROT_WRITE, MAP_SHARED, con.terminals.memory,
			 0);
		assert_true(k != MAP_FAILED);
		k->put = lies[i].put;
		k->got = lies[i].got;
		begin("console", TP_COPY, TP_ALL);
		assert_true(described("waiting=0"));
		out(TX, "x");
		fd = client(0);
		expect_read(fd, "x");
		close(fd);
		munmap(k, sizeof(*k));
		down();
	}
	/* One that is too short is not used. */
	up("console", TP_COPY, TP_ALL);
	con.tp.dev.ops->memory(&con.tp.dev, memfd_create("short", MFD_CLOEXEC));
	out(TX, "x");
	down();
}

/* Terminals stay where a configuration keeps their names. */
static void test_terminals(void **state)
{
	char path[32], text[256];
	struct vg_terminals t;
	struct vg_err err;

	(void)state;
	vg_terminals_init(&t);
	assert_int_equal(vg_terminals_make(&t, "rng", &err), 0);
	assert_int_equal(t.n, 0);
	vg_terminals_text(&t, text, sizeof(text));
	assert_string_equal(text, "");
	assert_int_equal(vg_terminals_make(&t, "console,ports=a:b", &err), 0);
	assert_int_equal(t.n, 3);
	memcpy(path, t.t[2].path, sizeof(path));
	assert_int_equal(vg_terminals_make(&t, "console,ports=b", &err), 0);
	assert_int_equal(t.n, 2);
	assert_string_equal(t.t[1].path, path);
	vg_terminals_text(&t, text, sizeof(text));
	assert_non_null(strstr(text, "console=/dev/pts/"));
	assert_non_null(strstr(text, " b=/dev/pts/"));
	/* A mistake is the worker's to tell. */
	assert_int_equal(vg_terminals_make(&t, "console,ports=b:b", &err), 0);
	assert_int_equal(t.n, 0);
	vg_terminals_free(&t);
}

/* ---- guests that break the rules ------------------------------------------------------------------ */

static void test_control_nonsense(void **state)
{
	struct virtio_console_control m;
	uint8_t bytes[32], *rest;

	(void)state;
	up(TWO, TP_COPY, TP_ALL);
	open_ports(2);
	ctl_post(BUFS);
	memset(bytes, 0xff, sizeof(bytes));
	for (uint32_t len = 1; len <= sizeof(bytes); len++)
		ctl_say_bytes(bytes, len);
	for (uint16_t event = 0; event < 16; event++) {
		static const uint32_t ids[] = { 2, 31, 0x7fffffff, UINT32_MAX };

		for (unsigned i = 0; i < COUNT(ids); i++) {
			if (event != VIRTIO_CONSOLE_DEVICE_READY)
				ctl_say(event, ids[i], 1);
		}
	}
	ctl_say(0x1234, 0, 0xffff);
	ctl_say(VIRTIO_CONSOLE_PORT_ADD, 0, 1); /* the device's to say */
	ctl_say(VIRTIO_CONSOLE_RESIZE, 1, 1);
	assert_int_equal(ctl_next(&m, &rest), -1);
	assert_false(con.tp.dev.status & VG_STATUS_NEEDS_RESET);
	down();
}

/* A driver that takes a port and gives it up, again and again. */
static void test_control_flood(void **state)
{
	struct virtio_console_control *m;
	struct drv_used used;

	(void)state;
	up("console", TP_DIRECT, TP_ALL);
	ctl_say(VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_BAD_ID, 1);
	m = con.said.virt;
	for (unsigned i = 0; i < 20; i++) {
		const struct drv_seg seg = { con.said.addr, sizeof(*m) };
		unsigned n = 0;

		*m = (struct virtio_console_control){ 0, htole16(VIRTIO_CONSOLE_PORT_READY),
						      htole16(i % 2) };
		while (n < 60 && drv_vring_add(&con.tp.vr[CTL_TX], &seg, 1, NULL, 0, &con, 0) >= 0)
			n++;
		tp_kick(&con.tp, CTL_TX);
		while (n--)
			tp_wait(&con.tp, CTL_TX, &used);
	}
	assert_false(con.tp.dev.status & VG_STATUS_NEEDS_RESET);
	down();
}

static void test_small_control_buffers(void **state)
{
	struct drv_seg seg = { 0, 7 };

	(void)state;
	up("console", TP_COPY, TP_ALL);
	seg.addr = con.ctl.addr;
	assert_true(drv_vring_add(&con.tp.vr[CTL_RX], NULL, 0, &seg, 1, &con, 0) >= 0);
	tp_kick(&con.tp, CTL_RX);
	ctl_say(VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_BAD_ID, 1);
	assert_true(con.tp.dev.status & VG_STATUS_NEEDS_RESET);
	tp_reset(&con.tp);
	tp_start(&con.tp, TP_ALL, 64);
	open_ports(1);
	out(TX, "x");
	assert_int_equal(outs_back(TX), 1);
	down();
}

static void test_buffers_without_room(void **state)
{
	const struct drv_seg seg = { con.out.addr, 8 };
	struct drv_seg s = seg;
	int fd;

	(void)state;
	up("console", TP_COPY, TP_ALL);
	open_ports(1);
	s.addr = con.out.addr;
	assert_true(drv_vring_add(&con.tp.vr[RX], &s, 1, NULL, 0, &con, 0) >= 0);
	tp_kick(&con.tp, RX);
	fd = client(0);
	type(fd, "x");
	await_fault();
	close(fd);
	/* Output that has none to read says nothing. */
	tp_reset(&con.tp);
	tp_start(&con.tp, TP_ALL, 64);
	s.addr = con.in.addr;
	assert_true(drv_vring_add(&con.tp.vr[TX], NULL, 0, &s, 1, &con, 0) >= 0);
	tp_kick(&con.tp, TX);
	assert_int_equal(outs_back(TX), 1);
	down();
}

static void test_revoked_buffers(void **state)
{
	int fd;

	(void)state;
	up("console", TP_COPY, TP_ALL);
	tp_revoke(&con.tp, con.out.addr, 4096, false);
	out(TX, "x");
	assert_true(con.tp.dev.status & VG_STATUS_NEEDS_RESET);
	assert_true(described("waiting=0"));
	tp_reset(&con.tp);
	tp_start(&con.tp, TP_ALL, 64);
	tp_revoke(&con.tp, con.in.addr, 4096, false);
	open_ports(1);
	rx_post(RX, 1, 16);
	fd = client(0);
	type(fd, "x");
	await_fault();
	close(fd);
	tp_reset(&con.tp);
	tp_start(&con.tp, TP_ALL, 64);
	tp_revoke(&con.tp, con.said.addr, 64, false);
	ctl_say(VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_BAD_ID, 1);
	assert_true(con.tp.dev.status & VG_STATUS_NEEDS_RESET);
	down();
}

/* With output in hand that nobody takes; and queues that stop alone. */
static void test_reset_in_flight(void **state)
{
	(void)state;
	up(TWO, TP_COPY, TP_ALL);
	open_ports(2);
	for (unsigned i = 0; i < 8; i++)
		out_bytes(TX1, CHUNK);
	assert_true(outs_back(TX1) < 8);
	tp_stop_queue(&con.tp, TX1);
	tp_start_queue(&con.tp, TX1, 64);
	con.outs = 0;
	out_bytes(TX1, CHUNK);
	tp_reset(&con.tp);
	tp_start(&con.tp, TP_ALL, 64);
	assert_false(con.tp.dev.status & VG_STATUS_NEEDS_RESET);
	/* It knows nothing of what was said before. */
	ctl_post(4);
	expect_no_ctl();
	ctl_say(VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_BAD_ID, 1);
	expect_ctl(VIRTIO_CONSOLE_PORT_ADD, 0, 0, NULL, 0);
	down();
}

int main(void)
{
	static int direct = 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_says),
		cmocka_unit_test(test_configuration_errors),
		cmocka_unit_test(test_ports_come_up),
		cmocka_unit_test(test_few_control_buffers),
		cmocka_unit_test(test_output),
		{ "test_output_direct", test_output, NULL, NULL, &direct },
		cmocka_unit_test(test_without_multiport),
		cmocka_unit_test(test_kept_until_somebody_comes),
		cmocka_unit_test(test_nobody_reads),
		cmocka_unit_test(test_somebody_does_not_read),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_named_port_waits),
		cmocka_unit_test(test_emergency),
		cmocka_unit_test(test_typed),
		cmocka_unit_test(test_terminal_is_raw_again),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_quiet_when_nobody_is_there),
		cmocka_unit_test(test_successor),
		cmocka_unit_test(test_memory_that_lies),
		cmocka_unit_test(test_terminals),
		cmocka_unit_test(test_control_nonsense),
		cmocka_unit_test(test_control_flood),
		cmocka_unit_test(test_small_control_buffers),
		cmocka_unit_test(test_buffers_without_room),
		cmocka_unit_test(test_revoked_buffers),
		cmocka_unit_test(test_reset_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
