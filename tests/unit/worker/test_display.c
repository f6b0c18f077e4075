// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_display.c - vgrant-display between a supervisor and a device of the test's, and real viewers
 *
 * The process is the real one, with its sandbox: of sanitizers TSan alone cannot live in it, and ASan's
 * look for leaks at the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <pthread.h>
#include <rfb/rfbclient.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/displays/display.h"
#include "backend/worker/ipc.h"
#include "tests/driver/rfb.h"

enum { PATIENCE_MS = 10000, UNASKED_MS = 300, W = 320, H = 200 };

struct shown {
	pid_t pid;
	int super; /* our end */
	int device;
	int memfd;
	uint8_t *frame;
	uint32_t heads;
	uint32_t port;
	char where[120];
	uint32_t viewers;
	uint32_t serial;
	unsigned asks; /* of all viewers together */
};

static struct shown s;

/* ---- the supervisor -------------------------------------------------------------- */

static bool heard_ipc(struct vg_ipc *m)
{
	struct pollfd p = { .fd = s.super, .events = POLLIN };

	return poll(&p, 1, PATIENCE_MS) == 1 && vg_ipc_recv(s.super, m, NULL) == 1;
}

static void take_shown(const struct vg_ipc *m)
{
	s.port = m->shown.port;
	s.viewers = m->shown.viewers;
	snprintf(s.where, sizeof(s.where), "%s", m->shown.where);
}

/* Until it says that @n look at it. */
static void await_viewers(uint32_t n)
{
	struct vg_ipc m;

	while (s.viewers != n) {
		assert_true(heard_ipc(&m));
		assert_int_equal(m.type, VG_IPC_SHOWN);
		take_shown(&m);
	}
}

/* Start it with @spec. Return: what it answers. */
static struct vg_ipc start(const char *spec)
{
	const char *build = getenv("VGRANT_BUILD");
	posix_spawn_file_actions_t actions;
	char path[256];
	char *argv[] = { path, (char *)(uintptr_t) "--display", NULL };
	extern char **environ;
	struct vg_ipc m = { .type = VG_IPC_SETUP };
	int pair[2], theirs;

	memset(&s, 0, sizeof(s));
	s.device = s.memfd = -1;
	snprintf(path, sizeof(path), "%s/vgrant-display", build ? build : "build/asan");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 10);
	close(pair[1]);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, theirs, 3);
	assert_int_equal(posix_spawn(&s.pid, path, &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(theirs);
	s.super = pair[0];
	m.setup.log_level = VG_LOG_INFO;
#ifndef __SANITIZE_THREAD__
	m.setup.sandbox.seccomp = true;
	m.setup.sandbox.namespaces = true;
	if (geteuid() == 0)
		m.setup.sandbox.uid = m.setup.sandbox.gid = 65534;
#endif
	snprintf(m.setup.who, sizeof(m.setup.who), "guest web (7) gpu");
	snprintf(m.setup.spec, sizeof(m.setup.spec), "%s", spec);
	assert_int_equal(vg_ipc_send(s.super, &m, -1), 0);
	assert_true(heard_ipc(&m));
	return m;
}

static void stop(void)
{
	int status = 0;

	close(s.super);
	if (s.device >= 0)
		close(s.device);
	if (s.frame)
		munmap(s.frame, s.heads * VG_DISPLAY_HEAD_BYTES);
	if (s.memfd >= 0)
		close(s.memfd);
	assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
	assert_true(WIFEXITED(status));
}

/* ---- the device ---------------------------------------------------------------------- */

static void tell(const struct vg_display_msg *m)
{
	assert_int_equal(vg_display_send(s.device, m, -1), 0);
}

/* A device comes, in place of another: a fresh frame memory. */
static void device(uint32_t heads)
{
	const struct vg_display_msg m = { .type = VG_DISPLAY_HELLO,
					  .hello = { VG_DISPLAY_VERSION, heads } };
	const struct vg_ipc peer = { .type = VG_IPC_PEER };
	int pair[2];

	if (s.device >= 0)
		close(s.device);
	if (s.frame)
		munmap(s.frame, s.heads * VG_DISPLAY_HEAD_BYTES);
	if (s.memfd >= 0)
		close(s.memfd);
	s.heads = heads;
	s.memfd = memfd_create("frames", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(s.memfd, (off_t)(heads * VG_DISPLAY_HEAD_BYTES)), 0);
	assert_int_equal(fcntl(s.memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	s.frame = mmap(NULL, heads * VG_DISPLAY_HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		       s.memfd, 0);
	assert_true(s.frame != MAP_FAILED);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	s.device = pair[0];
	assert_int_equal(vg_ipc_send(s.super, &peer, pair[1]), 0);
	close(pair[1]);
	assert_int_equal(vg_display_send(s.device, &m, s.memfd), 0);
}

static void set_mode(uint32_t head, uint32_t w, uint32_t h)
{
	const struct vg_display_msg m = { .type = VG_DISPLAY_MODE, .head = head, .mode = { w, h } };

	tell(&m);
}

static uint32_t colour(unsigned seed, uint32_t x, uint32_t y)
{
	return (x * 3 & 255) << 16 | (y * 5 & 255) << 8 | ((x ^ y) + seed) % 256;
}

/* Draw all of head @head, @w x @h, and say so. */
static void draw(uint32_t head, uint32_t w, uint32_t h, unsigned seed)
{
	const struct vg_display_msg m = { .type = VG_DISPLAY_DAMAGE,
					  .head = head,
					  .damage = { 0, 0, w, h, ++s.serial } };
	uint32_t *p = vg_display_pixels(s.frame, head);

	for (uint32_t y = 0; y < h; y++) {
		for (uint32_t x = 0; x < w; x++)
			p[y * w + x] = colour(seed, x, y);
	}
	tell(&m);
}

/* The next message of @type from the display. */
static struct vg_display_msg heard(uint32_t type)
{
	struct pollfd p = { .fd = s.device, .events = POLLIN };
	struct vg_display_msg m;
	int fd;

	do {
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_int_equal(vg_display_recv(s.device, &m, &fd, 0), 1);
		assert_int_equal(fd, -1);
	} while (m.type != type);
	return m;
}

/* Whether READ of @serial comes, with no other message for @ms before it. */
static bool is_read(uint32_t serial, int ms)
{
	struct pollfd p = { .fd = s.device, .events = POLLIN };
	struct vg_display_msg m;
	int fd;

	while (poll(&p, 1, ms) == 1) {
		assert_int_equal(vg_display_recv(s.device, &m, &fd, 0), 1);
		if (m.type == VG_DISPLAY_READ && m.serial == serial)
			return true;
	}
	return false;
}

static void await_read(uint32_t head, uint32_t serial)
{
	struct vg_display_msg m;

	do
		m = heard(VG_DISPLAY_READ);
	while (m.head != head || m.serial != serial);
}

/* ---- viewers --------------------------------------------------------------------------- */

static int connect_port(uint32_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void look(struct rfb *r, uint32_t head)
{
	assert_int_equal(rfb_open(r, connect_port(s.port + head), NULL), 0);
}

static bool is_seen(const struct rfb *r, uint32_t w, uint32_t h, unsigned seed)
{
	if (r->width != w || r->height != h)
		return false;
	for (uint32_t y = 0; y < h; y++) {
		for (uint32_t x = 0; x < w; x++) {
			if ((r->pixels[y * w + x] & 0xffffff) != colour(seed, x, y))
				return false;
		}
	}
	return true;
}

static void ask_and_take(struct rfb *r, bool changed)
{
	int ret;

	s.asks++;
	assert_int_equal(rfb_ask(r, changed), 0);
	ret = rfb_take(r, 1000);
	if (ret != -ETIMEDOUT)
		assert_int_equal(ret, 0);
}

/* Ask and take until the picture is there. */
static void await_seen(struct rfb *r, uint32_t w, uint32_t h, unsigned seed)
{
	for (unsigned i = 0; i < 200 && !is_seen(r, w, h, seed); i++)
		ask_and_take(r, i > 0);
	assert_true(is_seen(r, w, h, seed));
}

/* A frame may be seen by what was told of the one before: then it is read when more is asked for. */
static void await_read_by(struct rfb *r, uint32_t serial)
{
	bool read = is_read(serial, 100);

	for (unsigned i = 0; i < 200 && !read; i++) {
		ask_and_take(r, true);
		read = is_read(serial, 100);
	}
	assert_true(read);
}

/* ---- tests ------------------------------------------------------------------------------- */

static void open_display(const char *spec)
{
	struct vg_ipc m = start(spec);

	if (m.type != VG_IPC_OPENED)
		fail_msg("%s", m.text);
	assert_true(heard_ipc(&m));
	assert_int_equal(m.type, VG_IPC_SHOWN);
	take_shown(&m);
}

static void test_looked_at(void **state)
{
	unsigned reads = 0;
	struct rfb r;

	(void)state;
	open_display("gpu");
	assert_true(s.port >= 5900);
	assert_non_null(strstr(s.where, "127.0.0.1:"));
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	await_read(0, s.serial); /* nobody looks */
	look(&r, 0);
	assert_string_equal(r.name, "guest web (7) gpu");
	await_viewers(1);
	await_seen(&r, W, H, 1);
	/* What changes is sent, and read first. */
	draw(0, W, H, 2);
	await_seen(&r, W, H, 2);
	await_read_by(&r, s.serial);
	/* It is not read more often than it is asked for; some asks may not be answered yet. */
	do
		draw(0, W, H, 3 + reads);
	while (is_read(s.serial, UNASKED_MS) && reads++ < s.asks);
	assert_in_range(reads, 0, s.asks);
	await_seen(&r, W, H, 3 + reads);
	rfb_close(&r);
	await_viewers(0);
	stop();
}

/* An empty rectangle that says that keys are taken by what they are, not by what is printed on them. */
enum { KEYS_ENCODING = -258 };

/* Which encoding the first rectangle comes in, when no other is asked for: RFC 6143, sections 7.5.2, 7.6.1. */
static int32_t encoded(int32_t encoding)
{
	uint8_t ask[8] = { 2, 0, 0, 1 }, head[16];
	int32_t network = (int32_t)htonl((uint32_t)encoding);
	struct rfb r;

	memcpy(ask + 4, &network, 4);
	look(&r, 0);
	assert_int_equal(write(r.fd, ask, sizeof(ask)), sizeof(ask));
	assert_int_equal(rfb_ask(&r, false), 0);
	do {
		assert_int_equal(recv(r.fd, head, sizeof(head), MSG_WAITALL), sizeof(head));
		memcpy(&network, head + 12, 4);
	} while ((int32_t)ntohl((uint32_t)network) == KEYS_ENCODING);
	close(r.fd);
	r.fd = -1;
	rfb_close(&r);
	return (int32_t)ntohl((uint32_t)network);
}

static rfbClient *library_viewer(const char *encodings)
{
	rfbClient *c = rfbGetClient(8, 3, 4);

	rfbEnableClientLogging = FALSE;
	assert_non_null(c);
	c->appData.encodingsString = encodings;
	c->appData.enableJPEG = FALSE; /* which loses some */
	c->format.redShift = 16;
	c->format.greenShift = 8;
	c->format.blueShift = 0;
	free(c->serverHost);
	c->serverHost = strdup("127.0.0.1");
	c->serverPort = (int)s.port;
	assert_true(rfbInitClient(c, NULL, NULL));
	return c;
}

/* What other people's viewers do, here libvncclient: it takes the picture by the usual encodings, and has each
 * pixel. */
static void test_encodings(void **state)
{
	static const struct {
		const char *name;
		int32_t number;
	} rows[] = { { "tight", 7 }, { "zrle", 16 }, { "hextile", 5 }, { "raw", 0 } };

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct rfb seen = { .width = W, .height = H };
		rfbClient *c;

		assert_int_equal(encoded(rows[i].number), rows[i].number);
		c = library_viewer(rows[i].name);
		seen.pixels = (uint32_t *)(void *)c->frameBuffer;
		draw(0, W, H, 2 + (unsigned)i);
		for (unsigned k = 0; k < 200 && !is_seen(&seen, W, H, 2 + (unsigned)i); k++) {
			if (WaitForMessage(c, 100000) > 0)
				assert_true(HandleRFBServerMessage(c));
		}
		assert_true(is_seen(&seen, W, H, 2 + (unsigned)i));
		free(c->frameBuffer);
		c->frameBuffer = NULL;
		rfbClientCleanup(c);
		await_viewers(0);
	}
	stop();
}

static void test_sizes_change(void **state)
{
	struct vg_display_msg m;
	struct rfb r;

	(void)state;
	open_display("gpu");
	/* Before there is anything to see. */
	device(1);
	set_mode(0, 0, 0);
	look(&r, 0);
	assert_int_equal(r.width, 640);
	set_mode(0, W, H);
	draw(0, W, H, 7);
	await_seen(&r, W, H, 7);
	assert_true(r.resizes >= 1);
	set_mode(0, 800, 600);
	draw(0, 800, 600, 8);
	await_seen(&r, 800, 600, 8);
	set_mode(0, 0, 0); /* dark: as large as it was, and black */
	while (r.pixels[9] != 0) {
		rfb_ask(&r, true);
		assert_int_equal(rfb_take(&r, PATIENCE_MS), 0);
	}
	assert_int_equal(r.width, 800);
	/* The viewer's window was made smaller. */
	assert_int_equal(rfb_wish(&r, 700, 500), 0);
	m = heard(VG_DISPLAY_WISH);
	assert_int_equal(m.mode.width, 700);
	assert_int_equal(m.mode.height, 500);
	set_mode(0, 700, 500);
	draw(0, 700, 500, 9);
	await_seen(&r, 700, 500, 9);
	rfb_close(&r);
	stop();
}

static void test_cursor(void **state)
{
	struct vg_display_msg m = { .type = VG_DISPLAY_CURSOR_IS,
				    .cursor = { 10, 10, 3, 4, true, true } };
	uint32_t *c;
	struct rfb r;

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	c = vg_display_cursor(s.frame, 0);
	for (unsigned i = 0; i < 64 * 64; i++)
		c[i] = i % 3 ? 0xff000000 | i : i;
	tell(&m);
	look(&r, 0);
	await_seen(&r, W, H, 1);
	while (r.cursor_width != 64) {
		rfb_ask(&r, true);
		draw(0, W, H, 1);
		assert_int_equal(rfb_take(&r, PATIENCE_MS), 0);
	}
	assert_int_equal(r.hot_x, 3);
	assert_int_equal(r.hot_y, 4);
	for (unsigned i = 0; i < 64 * 64; i++)
		assert_int_equal(r.cursor[i], i % 3 ? 0xff000000 | i : 0);
	rfb_close(&r);
	stop();
}

static void test_heads(void **state)
{
	struct rfb a, b;

	(void)state;
	open_display("gpu,heads=2");
	device(2);
	set_mode(0, W, H);
	set_mode(1, 128, 96);
	draw(0, W, H, 1);
	draw(1, 128, 96, 2);
	look(&a, 0);
	look(&b, 1);
	await_seen(&a, W, H, 1);
	await_seen(&b, 128, 96, 2);
	rfb_close(&a);
	rfb_close(&b);
	stop();
}

/* Keys and pointers reach who listens, with the place of the key where the viewer knows it. */
static void test_touched(void **state)
{
	const struct vg_ipc input = { .type = VG_IPC_INPUT };
	struct vg_display_msg m;
	int pair[2];
	struct rfb r;

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vg_ipc_send(s.super, &input, pair[1]), 0);
	close(pair[1]);
	look(&r, 0);
	await_seen(&r, W, H, 1);
	assert_true(r.has_ext_keys);
	assert_int_equal(rfb_key(&r, 'z', 0x15, true), 0); /* y of another layout */
	assert_int_equal(rfb_key(&r, 0x20ac, 0, false), 0);
	assert_int_equal(rfb_pointer(&r, 17, 21, 5), 0);
	close(s.device); /* to read from the other */
	s.device = pair[0];
	m = heard(VG_DISPLAY_KEY);
	assert_int_equal(m.key.keysym, 'z');
	assert_int_equal(m.key.scancode, 0x15);
	assert_int_equal(m.key.down, 1);
	m = heard(VG_DISPLAY_KEY);
	assert_int_equal(m.key.keysym, 0x20ac);
	assert_int_equal(m.key.scancode, 0);
	assert_int_equal(m.key.down, 0);
	m = heard(VG_DISPLAY_POINTER);
	assert_int_equal(m.pointer.x, 17);
	assert_int_equal(m.pointer.y, 21);
	assert_int_equal(m.pointer.buttons, 5);
	assert_int_equal(m.pointer.width, W);
	rfb_close(&r);
	heard(VG_DISPLAY_RELEASE);
	stop();
}

/* A monitor's end of a socket to the display. */
static int join_monitor(uint32_t head)
{
	const struct vg_ipc viewer = { .type = VG_IPC_VIEWER, .look = { head } };
	int monitor[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, monitor), 0);
	assert_int_equal(vg_ipc_send(s.super, &viewer, monitor[1]), 0);
	close(monitor[1]);
	return monitor[0];
}

/* What it hears next is of @type. */
static struct vg_display_msg expect(int monitor, uint32_t type)
{
	struct pollfd p = { .fd = monitor, .events = POLLIN };
	struct vg_display_msg m;
	int fd;

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(vg_display_recv(monitor, &m, &fd, 0), 1);
	if (fd >= 0)
		close(fd);
	assert_int_equal(m.type, type);
	return m;
}

/* Who shows a head on a monitor is told what viewers are; it is not counted, and types nothing. */
static void test_monitor(void **state)
{
	const struct vg_ipc input = { .type = VG_IPC_INPUT };
	const struct vg_display_msg key = { .type = VG_DISPLAY_KEY, .key = { 'x', 45, 1 } },
				    wish = { .type = VG_DISPLAY_WISH, .mode = { 300, 200 } };
	int monitor, keys[2], fd;
	struct vg_display_msg m;
	struct rfb r;

	(void)state;
	open_display("gpu,heads=2");
	device(2);
	set_mode(1, W, H);
	monitor = join_monitor(1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, keys), 0);
	assert_int_equal(vg_ipc_send(s.super, &input, keys[1]), 0);
	close(keys[1]);
	draw(1, W, H, 1);
	/* Its frame memory may come before the device does, and again then. */
	do {
		assert_int_equal(vg_display_recv(monitor, &m, &fd, 0), 1);
		if (m.type == VG_DISPLAY_HELLO)
			assert_true(vg_display_is_frame_memory(fd, 2));
		if (fd >= 0)
			close(fd);
	} while (m.type != VG_DISPLAY_DAMAGE);
	assert_int_equal(m.head, 1);
	assert_int_equal(m.damage.width, W);
	assert_int_equal(vg_display_send(monitor, &key, -1), 0);
	assert_int_equal(vg_display_send(monitor, &wish, -1), 0);
	m = heard(VG_DISPLAY_WISH);
	assert_int_equal(m.head, 1);
	assert_int_equal(m.mode.width, 300);
	look(&r, 1);
	await_viewers(1);
	assert_int_equal(rfb_key(&r, 'y', 0x15, true), 0);
	assert_int_equal(vg_display_recv(keys[0], &m, &fd, 0), 1);
	assert_int_equal(m.type, VG_DISPLAY_KEY);
	assert_int_equal(m.key.keysym, 'y');
	rfb_close(&r);
	await_viewers(0);
	close(monitor);
	close(keys[0]);
	stop();
}

/* One that is there before the device is: it begins with the frame memory, as any does. */
static void test_monitor_before_the_device(void **state)
{
	int monitor;

	(void)state;
	open_display("gpu");
	monitor = join_monitor(0);
	device(1);
	set_mode(0, W, H);
	expect(monitor, VG_DISPLAY_HELLO);
	assert_int_equal(expect(monitor, VG_DISPLAY_MODE).mode.width, W);
	assert_int_equal(expect(monitor, VG_DISPLAY_DAMAGE).damage.width, W);
	close(monitor);
	stop();
}

/* What was damaged in one frame memory is not told of the next, whose size is not known yet. */
static void test_monitor_of_another_device(void **state)
{
	const struct vg_display_msg read = { .type = VG_DISPLAY_READ },
				    wish = { .type = VG_DISPLAY_WISH, .mode = { W, H } };
	int monitor;

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	await_read(0, s.serial);
	monitor = join_monitor(0);
	expect(monitor, VG_DISPLAY_HELLO);
	expect(monitor, VG_DISPLAY_MODE);
	expect(monitor, VG_DISPLAY_DAMAGE);
	draw(0, W, H, 2); /* it has not read the first one */
	device(1);
	expect(monitor, VG_DISPLAY_HELLO);
	assert_int_equal(vg_display_send(monitor, &read, -1), 0);
	assert_int_equal(vg_display_send(monitor, &wish, -1), 0);
	heard(VG_DISPLAY_WISH); /* so that was heard, too */
	set_mode(0, W / 2, H);
	assert_int_equal(expect(monitor, VG_DISPLAY_MODE).mode.width, W / 2);
	assert_int_equal(expect(monitor, VG_DISPLAY_DAMAGE).damage.width, W / 2);
	close(monitor);
	stop();
}

static void test_password(void **state)
{
	char path[] = "/tmp/vgrant-pw.XXXXXX", spec[100];
	int fd = mkstemp(path);
	struct rfb r;

	(void)state;
	assert_int_equal(write(fd, "geheim\nmore\n", 12), 12);
	close(fd);
	snprintf(spec, sizeof(spec), "gpu,password-file=%s", path);
	open_display(spec);
	unlink(path);
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	assert_int_equal(rfb_open(&r, connect_port(s.port), NULL), -EACCES);
	rfb_close(&r);
	assert_int_equal(rfb_open(&r, connect_port(s.port), "geheiM"), -EACCES);
	rfb_close(&r);
	assert_int_equal(rfb_open(&r, connect_port(s.port), "geheim"), 0);
	await_seen(&r, W, H, 1);
	rfb_close(&r);
	stop();
}

/* ---- browsers ------------------------------------------------------------------------------ */

static void get(int fd, void *to, size_t len)
{
	assert_int_equal(recv(fd, to, len, MSG_WAITALL), len);
}

/* RFC 6455's own example. Return: a connection that was greeted, or -1. */
static int open_websocket(void)
{
	static const char ask[] = "GET /websockify HTTP/1.1\r\nHost: localhost\r\n"
				  "Upgrade: websocket\r\nConnection: Upgrade\r\n"
				  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
				  "Origin: http://example.com\r\n"
				  "Sec-WebSocket-Protocol: binary\r\n"
				  "Sec-WebSocket-Version: 13\r\n\r\n";
	char answer[1024] = "";
	int fd = connect_port(s.port);

	assert_int_equal(send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL), sizeof(ask) - 1);
	for (size_t n = 0; n < sizeof(answer) - 1 && !strstr(answer, "\r\n\r\n"); n++) {
		if (recv(fd, answer + n, 1, 0) != 1) {
			close(fd);
			return -1;
		}
	}
	assert_non_null(strstr(answer, " 101 "));
	assert_non_null(strstr(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
	return fd;
}

static void test_websocket(void **state)
{
	uint8_t frame[14], types[4],
		reply[] = { 0x82, 0x80 | 12, 0,	  0,   0,   0, /* a mask of 0 */
			    'R',  'F',	     'B', ' ', '0', '0', '3', '.', '0', '0', '8', '\n' };
	int fd;

	(void)state;
	open_display("gpu,websocket");
	device(1);
	set_mode(0, W, H);
	fd = open_websocket();
	assert_true(fd >= 0);
	get(fd, frame, sizeof(frame));
	assert_memory_equal(frame, "\x82\x0cRFB 003.008\n", sizeof(frame));
	assert_int_equal(send(fd, reply, sizeof(reply), MSG_NOSIGNAL), sizeof(reply));
	get(fd, types, sizeof(types)); /* one security type: none */
	assert_memory_equal(types, "\x82\x02\x01\x01", sizeof(types));
	close(fd);
	await_viewers(0);
	stop();
}

/* ---- TLS ------------------------------------------------------------------------------- */

static void write_pem(const char *folder, const char *name, const gnutls_datum_t *d)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(d->data, 1, d->size, f), d->size);
	fclose(f);
}

/* A certificate that signs itself, and its key, in @folder. */
static void make_certificate(const char *folder)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t cert;
	gnutls_datum_t pem;

	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(
		gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
					     GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
		0);
	assert_int_equal(gnutls_x509_crt_init(&cert), 0);
	assert_int_equal(gnutls_x509_crt_set_version(cert, 3), 0);
	assert_int_equal(gnutls_x509_crt_set_serial(cert, "\1", 1), 0);
	assert_int_equal(gnutls_x509_crt_set_activation_time(cert, time(NULL) - 3600), 0);
	assert_int_equal(gnutls_x509_crt_set_expiration_time(cert, time(NULL) + 36000), 0);
	assert_int_equal(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0,
						       "localhost", 9),
			 0);
	assert_int_equal(gnutls_x509_crt_set_key(cert, key), 0);
	assert_int_equal(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem), 0);
	write_pem(folder, "server-cert.pem", &pem);
	gnutls_free(pem.data);
	assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
	write_pem(folder, "server-key.pem", &pem);
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(cert);
	gnutls_x509_privkey_deinit(key);
}

/* A viewer's end of TLS. */
struct tls {
	gnutls_session_t session;
	gnutls_certificate_credentials_t cert;
	gnutls_anon_client_credentials_t anon;
	int fd, inner[2];
	pthread_t thread;
};

static void tls_begin(struct tls *t, int fd, bool anon)
{
	int ret;

	t->fd = fd;
	assert_int_equal(gnutls_init(&t->session, GNUTLS_CLIENT), 0);
	assert_int_equal(gnutls_certificate_allocate_credentials(&t->cert), 0);
	assert_int_equal(gnutls_anon_allocate_client_credentials(&t->anon), 0);
	assert_int_equal(gnutls_priority_set_direct(
				 t->session,
				 anon ? "NORMAL:-VERS-TLS1.3:+ANON-ECDH:+ANON-DH" : "NORMAL", NULL),
			 0);
	if (anon)
		gnutls_credentials_set(t->session, GNUTLS_CRD_ANON, t->anon);
	gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->cert);
	gnutls_transport_set_int(t->session, fd);
	gnutls_handshake_set_timeout(t->session, PATIENCE_MS);
	do
		ret = gnutls_handshake(t->session);
	while (ret < 0 && !gnutls_error_is_fatal(ret));
	if (ret < 0)
		fail_msg("no TLS: %s", gnutls_strerror(ret));
}

static void tls_end(struct tls *t)
{
	gnutls_deinit(t->session);
	gnutls_certificate_free_credentials(t->cert);
	gnutls_anon_free_client_credentials(t->anon);
	close(t->fd);
}

static void tls_get(struct tls *t, void *to, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t ret = gnutls_record_recv(t->session, (uint8_t *)to + got, n - got);

		if (ret == GNUTLS_E_AGAIN || ret == GNUTLS_E_INTERRUPTED)
			continue;
		assert_true(ret > 0);
		got += (size_t)ret;
	}
}

static void *tls_pass(void *arg)
{
	struct tls *t = arg;
	struct pollfd p[] = { { .fd = t->fd, .events = POLLIN },
			      { .fd = t->inner[1], .events = POLLIN } };
	uint8_t bytes[4096];
	ssize_t n = 1;

	while (n > 0) {
		if (!gnutls_record_check_pending(t->session))
			poll(p, 2, -1);
		if (p[1].revents) {
			n = read(t->inner[1], bytes, sizeof(bytes));
			if (n > 0)
				n = gnutls_record_send(t->session, bytes, (size_t)n);
		} else {
			n = gnutls_record_recv(t->session, bytes, sizeof(bytes));
			if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
				n = 1;
			else if (n > 0)
				n = write(t->inner[1], bytes, (size_t)n);
		}
	}
	close(t->inner[1]);
	return NULL;
}

static char *tls_folder(char *spec, size_t size, const char *more)
{
	static char folder[] = "/tmp/vgrant-tls.XXXXXX";

	snprintf(folder, sizeof(folder), "/tmp/vgrant-tls.XXXXXX");
	assert_non_null(mkdtemp(folder));
	make_certificate(folder);
	snprintf(spec, size, "gpu,vnc-tls=%s%s", folder, more);
	return folder;
}

static void remove_folder(const char *folder)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/server-cert.pem", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/server-key.pem", folder);
	unlink(path);
	rmdir(folder);
}

/* Who begins with TLS: all of RFB within it, and a picture through it. */
static void test_tls_at_once(void **state)
{
	char spec[200], *folder = tls_folder(spec, sizeof(spec), "");
	struct rfb r;
	struct tls t;

	(void)state;
	open_display(spec);
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	tls_begin(&t, connect_port(s.port), false);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t.inner), 0);
	assert_int_equal(pthread_create(&t.thread, NULL, tls_pass, &t), 0);
	assert_int_equal(rfb_open(&r, t.inner[0], NULL), 0);
	await_viewers(1);
	for (unsigned i = 2; i < 6; i++) {
		draw(0, W, H, i);
		await_seen(&r, W, H, i);
	}
	rfb_close(&r);
	pthread_join(t.thread, NULL);
	tls_end(&t);
	await_viewers(0);
	stop();
	remove_folder(folder);
}

/* VeNCrypt, up to TLS. Return: a connection. */
static int vencrypt(uint32_t subtype)
{
	const uint8_t sub[] = { 0, 0, (uint8_t)(subtype >> 8), (uint8_t)subtype };
	int fd = connect_port(s.port);
	uint8_t b[16];

	get(fd, b, 12);
	assert_memory_equal(b, "RFB 003.008\n", 12);
	assert_int_equal(send(fd, b, 12, MSG_NOSIGNAL), 12);
	get(fd, b, 2);
	assert_memory_equal(b, "\1\x13", 2); /* it alone */
	assert_int_equal(send(fd, "\x13", 1, MSG_NOSIGNAL), 1);
	get(fd, b, 2);
	assert_memory_equal(b, "\0\2", 2);
	assert_int_equal(send(fd, "\0\2", 2, MSG_NOSIGNAL), 2);
	get(fd, b, 6);
	assert_memory_equal(b, "\0\1", 2);
	assert_memory_equal(b + 2, sub, 4);
	assert_int_equal(send(fd, sub, 4, MSG_NOSIGNAL), 4);
	get(fd, b, 1);
	assert_int_equal(b[0], 1);
	return fd;
}

static void expect_desktop(struct tls *t)
{
	uint8_t b[24];
	char name[64] = "";

	tls_get(t, b, 4);
	assert_memory_equal(b, "\0\0\0\0", 4); /* let in */
	assert_int_equal(gnutls_record_send(t->session, "\1", 1), 1);
	tls_get(t, b, 24);
	assert_int_equal(b[0] << 8 | b[1], W);
	assert_int_equal(b[2] << 8 | b[3], H);
	tls_get(t, name, b[23]);
	assert_string_equal(name, "guest web (7) gpu");
}

static void test_vencrypt(void **state)
{
	char spec[200], *folder = tls_folder(spec, sizeof(spec), "");
	struct tls t;

	(void)state;
	open_display(spec);
	device(1);
	set_mode(0, W, H);
	tls_begin(&t, vencrypt(260), false);
	expect_desktop(&t);
	tls_end(&t);
	stop();
	remove_folder(folder);
	/* Without a certificate. */
	open_display("gpu,vnc-tls=anon");
	device(1);
	set_mode(0, W, H);
	tls_begin(&t, vencrypt(257), true);
	expect_desktop(&t);
	tls_end(&t);
	stop();
}

static void test_vencrypt_password(void **state)
{
	static const char file[] = "tls-password";
	uint8_t challenge[16];
	char spec[300], more[100], dir[160], *folder;
	struct tls t;
	FILE *f = fopen(file, "we");

	(void)state;
	assert_non_null(f);
	fputs("secret\n", f);
	fclose(f);
	assert_non_null(getcwd(dir, sizeof(dir) / 2));
	snprintf(more, sizeof(more), ",password-file=%.70s/%s", dir, file);
	folder = tls_folder(spec, sizeof(spec), more);
	open_display(spec);
	device(1);
	set_mode(0, W, H);
	for (unsigned wrong = 0; wrong < 2; wrong++) {
		uint8_t result[4];

		tls_begin(&t, vencrypt(261), false);
		tls_get(&t, challenge, sizeof(challenge));
		rfb_des(challenge, wrong ? "guess" : "secret");
		assert_int_equal(gnutls_record_send(t.session, challenge, 16), 16);
		if (wrong) {
			tls_get(&t, result, 4);
			assert_memory_equal(result, "\0\0\0\1", 4);
		} else {
			expect_desktop(&t);
		}
		tls_end(&t);
	}
	stop();
	unlink(file);
	remove_folder(folder);
}

/* Who does not want TLS, or says nonsense instead of it, does not reach anybody. */
static void test_tls_or_nothing(void **state)
{
	static const struct {
		const char *says;
		size_t len;
	} strangers[] = {
		{ "RFB 003.003\n", 12 },
		{ "RFB 003.008\n\1", 13 },
		{ "RFB 003.008\n\2", 13 },
		{ "RFB 003.008\n\x13\0\1", 15 },
		{ "RFB 003.008\n\x13\0\2\0\0\0\0", 19 },
		{ "RFB 003.008\n\x13\0\2\0\0\1\4not TLS at all, but enough for a record", 58 },
		{ "GET / HTTP/1.1\r\n\r\n", 18 },
		{ "\x16\3\1\xff\xff garbage", 13 },
		{ "\x16", 1 },
		{ "", 0 },
	};
	char spec[200], *folder = tls_folder(spec, sizeof(spec), ",websocket");
	char bytes[512];
	struct tls t;

	(void)state;
	open_display(spec);
	device(1);
	set_mode(0, W, H);
	for (unsigned i = 0; i < COUNT(strangers); i++) {
		int fd = connect_port(s.port);

		send(fd, strangers[i].says, strangers[i].len, MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		/* It hears of versions and types, perhaps an alert, and then nothing. */
		for (unsigned n = 0, got = 0; got < 100; n++) {
			ssize_t ret = recv(fd, bytes, sizeof(bytes), 0);

			assert_true(n < 100);
			if (ret <= 0)
				break;
			got += (unsigned)ret;
			assert_true(got < 100);
		}
		close(fd);
	}
	tls_begin(&t, vencrypt(260), false);
	expect_desktop(&t);
	tls_end(&t);
	await_viewers(0);
	stop();
	remove_folder(folder);
}

static void test_tls_errors(void **state)
{
	static const char *const bad[] = { "gpu,vnc-tls=/nowhere", "gpu,vnc-tls=yes",
					   "gpu,vnc-tls=/proc/self" };

	(void)state;
	for (unsigned i = 0; i < COUNT(bad); i++) {
		struct vg_ipc m = start(bad[i]);

		assert_int_equal(m.type, VG_IPC_FAILED);
		assert_non_null(strstr(m.text, bad[i] + 4));
		stop();
	}
}

/* A page in a browser of this domain's, that nobody asked to connect. */
static void test_browser_is_not_let_in(void **state)
{
	uint8_t reply[] = { 0x82, 0x80 | 12, 0,	  0,   0,   0,	 'R', 'F', 'B',
			    ' ',  '0',	     '0', '3', '.', '0', '0', '8', '\n' };
	struct rfb r;
	char c[64];
	int fd;

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	fd = open_websocket();
	if (fd >= 0) {
		/* It hears which protocol it is, and no more. */
		send(fd, reply, sizeof(reply), MSG_NOSIGNAL);
		assert_true(recv(fd, c, 14, MSG_WAITALL) <= 14);
		assert_true(recv(fd, c, sizeof(c), 0) <= 0);
		close(fd);
	}
	look(&r, 0);
	await_seen(&r, W, H, 1);
	rfb_close(&r);
	stop();
}

static void test_unix_socket(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char spec[150];
	struct rfb r;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/vgrant-vnc-%d", (int)getpid());
	snprintf(spec, sizeof(spec), "gpu,vnc=%s", a.sun_path);
	open_display(spec);
	assert_int_equal(s.port, 0);
	assert_string_equal(s.where, a.sun_path);
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(rfb_open(&r, fd, NULL), 0);
	await_seen(&r, W, H, 1);
	rfb_close(&r);
	stop();
	unlink(a.sun_path);
}

/* What is wrong with the configuration is told. */
static void test_refused(void **state)
{
	static const struct {
		const char *spec, *says;
	} bad[] = {
		{ "gpu,vnc=nowhere", "nowhere" },
		{ "gpu,vnc=127.0.0.1:70000", "70000" },
		{ "gpu,vnc=127.0.0.1:x", "'x'" },
		{ "gpu,vnc=192.0.2.1", "cannot be listened on" },
		{ "gpu,vnc=[::1", "address" },
		{ "gpu,vnc=/proc/nothing/vnc", "cannot be listened on" },
		{ "gpu,password-file=/nowhere/at/all", "cannot be read" },
		{ "gpu,password-file=/dev/null", "1 to 8" },
	};
	char taken[60];
	struct vg_ipc m;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		m = start(bad[i].spec);
		assert_int_equal(m.type, VG_IPC_FAILED);
		if (!strstr(m.text, bad[i].says))
			fail_msg("%s: %s", bad[i].spec, m.text);
		stop();
	}
	/* A port that another has, and the next one that is free. */
	open_display("gpu");
	snprintf(taken, sizeof(taken), "gpu,vnc=127.0.0.1:%u", s.port);
	{
		struct shown first = s;

		m = start(taken);
		assert_int_equal(m.type, VG_IPC_FAILED);
		assert_non_null(strstr(m.text, "another program has it"));
		stop();
		open_display("gpu");
		assert_true(s.port > first.port);
		stop();
		s = first;
	}
	stop();
	open_display("gpu,vnc=off");
	assert_string_equal(s.where, "");
	stop();
}

/* A device's worker in place of another: viewers stay, and see its picture. */
static void test_another_device(void **state)
{
	struct rfb r;

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	look(&r, 0);
	await_seen(&r, W, H, 1);
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 2);
	await_seen(&r, W, H, 2);
	rfb_close(&r);
	stop();
}

/* A viewer that does not read, and one that says nothing, cost neither the other nor the device. */
static void test_viewer_that_hangs(void **state)
{
	struct rfb r, slow;
	int mute;

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, 1600, 1200);
	draw(0, 1600, 1200, 1);
	mute = connect_port(s.port);
	look(&slow, 0);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(rfb_ask(&slow, false), 0);
	look(&r, 0);
	for (unsigned i = 2; i < 8; i++) {
		draw(0, 1600, 1200, i);
		await_seen(&r, 1600, 1200, i);
		await_read_by(&r, s.serial);
	}
	close(mute);
	rfb_close(&slow);
	rfb_close(&r);
	await_viewers(0);
	stop();
}

/* One that breaks the protocol is gone, and nobody else. */
static void test_viewer_that_lies(void **state)
{
	static const uint8_t junk[][16] = {
		{ 0xff, 0xff, 0xff, 0xff }, { 6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		{ 2, 0, 0xff, 0xff },	    { 251, 0, 0xff, 0xff, 0xff, 0xff, 0xff },
		{ 7, 3, 0, 0, 0, 0, 0, 1 }, { 255, 9 },
	};
	struct rfb r, bad;

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	look(&r, 0);
	await_seen(&r, W, H, 1);
	for (unsigned i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
		look(&bad, 0);
		assert_int_equal(send(bad.fd, junk[i], sizeof(junk[i]), MSG_NOSIGNAL), 16);
		shutdown(bad.fd, SHUT_WR);
		rfb_close(&bad);
	}
	draw(0, W, H, 2);
	await_seen(&r, W, H, 2);
	rfb_close(&r);
	await_viewers(0);
	stop();
}

/* More viewers than there may be are not let in, until others have gone. */
static void test_too_many_viewers(void **state)
{
	struct rfb r[VG_LIMIT_VIEWERS + 1];

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, 64, 64);
	draw(0, 64, 64, 1);
	for (unsigned i = 0; i < VG_LIMIT_VIEWERS; i++)
		look(&r[i], 0);
	await_viewers(VG_LIMIT_VIEWERS);
	assert_true(rfb_open(&r[VG_LIMIT_VIEWERS], connect_port(s.port), NULL) < 0);
	rfb_close(&r[VG_LIMIT_VIEWERS]);
	rfb_close(&r[3]);
	await_viewers(VG_LIMIT_VIEWERS - 1);
	look(&r[3], 0);
	await_seen(&r[3], 64, 64, 1);
	for (unsigned i = 0; i < VG_LIMIT_VIEWERS; i++)
		rfb_close(&r[i]);
	await_viewers(0);
	stop();
}

/* A device that was taken over: it is not heard any more, and its memory is not believed. */
static void test_device_that_lies(void **state)
{
	const struct vg_display_msg bad[] = {
		{ .type = VG_DISPLAY_MODE, .head = 16, .mode = { 64, 64 } },
		{ .type = VG_DISPLAY_MODE, .head = 1, .mode = { 64, 64 } },
		{ .type = VG_DISPLAY_MODE, .mode = { 65536, 65536 } },
		{ .type = VG_DISPLAY_MODE, .mode = { 0, 64 } },
		{ .type = VG_DISPLAY_DAMAGE, .damage = { 0, 0, W + 1, 1, 1 } },
		{ .type = VG_DISPLAY_DAMAGE, .damage = { UINT32_MAX, 0, 2, 1, 1 } },
		{ .type = 77 },
	};
	struct rfb r;

	(void)state;
	open_display("gpu");
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 1);
	look(&r, 0);
	await_seen(&r, W, H, 1);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pollfd p = { .fd = -1, .events = POLLIN };
		char c;

		device(1);
		set_mode(0, W, H);
		tell(&bad[i]);
		p.fd = s.device;
		do
			assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		while (recv(s.device, &c, 1, 0) > 0);
	}
	/* Frame memory that could be made shorter. */
	device(1);
	close(s.memfd);
	s.memfd = memfd_create("frames", MFD_CLOEXEC);
	assert_int_equal(ftruncate(s.memfd, (off_t)VG_DISPLAY_HEAD_BYTES), 0);
	{
		const struct vg_display_msg m = { .type = VG_DISPLAY_HELLO,
						  .hello = { VG_DISPLAY_VERSION, 1 } };
		struct pollfd p = { .fd = s.device, .events = POLLIN };
		char c;

		assert_int_equal(vg_display_send(s.device, &m, s.memfd), 0);
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_true(recv(s.device, &c, 1, 0) <= 0);
	}
	device(1);
	set_mode(0, W, H);
	draw(0, W, H, 3);
	await_seen(&r, W, H, 3);
	rfb_close(&r);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_looked_at),
		cmocka_unit_test(test_encodings),
		cmocka_unit_test(test_sizes_change),
		cmocka_unit_test(test_cursor),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_touched),
		cmocka_unit_test(test_monitor),
		cmocka_unit_test(test_monitor_before_the_device),
		cmocka_unit_test(test_monitor_of_another_device),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_unix_socket),
		cmocka_unit_test(test_websocket),
		cmocka_unit_test(test_browser_is_not_let_in),
		cmocka_unit_test(test_tls_at_once),
		cmocka_unit_test(test_vencrypt),
		cmocka_unit_test(test_vencrypt_password),
		cmocka_unit_test(test_tls_or_nothing),
		cmocka_unit_test(test_tls_errors),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_another_device),
		cmocka_unit_test(test_viewer_that_hangs),
		cmocka_unit_test(test_viewer_that_lies),
		cmocka_unit_test(test_too_many_viewers),
		cmocka_unit_test(test_device_that_lies),
	};

	const char *options = getenv("ASAN_OPTIONS");
	char text[200];

	snprintf(text, sizeof(text), "%s%sdetect_leaks=0:strict_string_checks=0",
		 options ? options : "", options ? ":" : "");
	/* Of processes that are started. libvncserver gives strtol(3) a number that ends with a line, not
	 * with a string, of a browser's request. */
	setenv("ASAN_OPTIONS", text, 1);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
