// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_kms.c - what shows guests on the monitors of a card, between a supervisor and displays of the test's
 *
 * The card is the test's, too, for few machines that run tests have one: displays/card.h over memory that
 * both see. Its connectors are A and B; a refresh is when the test says so. With a card of the kernel's
 * the same runs on real Xen (tests/xen/t/31-kms.t).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/displays/card.h"
#include "backend/worker/ipc.h"
#include "backend/worker/kms.h"

enum {
	PATIENCE_MS = 10000,
	QUIET_MS = 60,
	W = 64,
	H = 48,
	PITCH = W + 3,
	OUTPUTS = 2,
	SCREENS = 4
};

/* ---- the card ---------------------------------------------------------------------------- */

struct monitor {
	volatile bool plugged, refuses; /* the test's to set */
	volatile uint32_t shown[H * PITCH];
	volatile unsigned flips, lights;
	volatile uint32_t asked_width;
	volatile uint32_t width; /* 0: dark */
};

struct vg_card {
	struct monitor monitor[OUTPUTS];
	int refresh[2], plugs[2];	     /* test's end, card's end */
	struct vg_output *flipping[OUTPUTS]; /* the other process' alone */
};

static struct vg_card *card;

const struct vg_sandbox_needs vg_card_needs = { .calls = NULL };

int vg_card_open(const char *path, struct vg_card **out, struct vg_err *err)
{
	if (strcmp(path, "/dev/dri/card0") != 0)
		return vg_fail(err, -ENOENT, "%s is not there", path);
	*out = card;
	return 0;
}

int vg_card_fd(const struct vg_card *c)
{
	return c->refresh[1];
}

int vg_card_plugs(const struct vg_card *c)
{
	return c->plugs[1];
}

bool vg_card_plugged(struct vg_card *c)
{
	char byte;
	bool any = false;

	while (recv(c->plugs[1], &byte, 1, MSG_DONTWAIT) == 1)
		any = true;
	return any;
}

static struct monitor *of(const struct vg_output *o)
{
	return &o->card->monitor[o->connector - 1];
}

void vg_card_read(struct vg_card *c)
{
	char n;

	while (recv(c->refresh[1], &n, 1, MSG_DONTWAIT) == 1) {
		struct vg_output *o = c->flipping[(int)n];

		if (!o || !o->flipping)
			continue;
		o->flipping = false;
		if (!o->width)
			continue;
		o->front = !o->front;
		memcpy((void *)(uintptr_t)of(o)->shown, o->buffer[o->front].pixels,
		       sizeof(of(o)->shown));
		of(o)->flips++;
		o->flipped(o);
	}
}

int vg_output_find(struct vg_card *c, const char *name, struct vg_output *o, struct vg_err *err)
{
	if (strcmp(name, "A") != 0 && strcmp(name, "B") != 0)
		return vg_fail(err, -ENOENT, "no connector %s; A, B", name);
	o->card = c;
	o->connector = (uint32_t)(*name - 'A') + 1;
	snprintf(o->name, sizeof(o->name), "%s", name);
	return 0;
}

int vg_output_light(struct vg_output *o, uint32_t width, uint32_t height, uint32_t hz,
		    struct vg_err *err)
{
	(void)height;
	(void)hz;
	if (!of(o)->plugged || of(o)->refuses) {
		vg_output_dark(o);
		return of(o)->plugged ? vg_fail(err, -EINVAL, "%s does not take it", o->name) : 0;
	}
	if (o->width)
		return 1;
	of(o)->asked_width = width;
	of(o)->lights++;
	for (unsigned i = 0; i < 2; i++) {
		o->buffer[i].pixels = calloc(H * PITCH, 4);
		o->buffer[i].pitch = PITCH * 4;
	}
	memset((void *)(uintptr_t)of(o)->shown, 0, sizeof(of(o)->shown));
	o->front = 0;
	of(o)->width = o->width = W;
	o->height = H;
	o->hz = 60;
	return 1;
}

void vg_output_dark(struct vg_output *o)
{
	for (unsigned i = 0; i < 2; i++) {
		free(o->buffer[i].pixels);
		o->buffer[i].pixels = NULL;
	}
	of(o)->width = o->width = o->height = 0;
}

int vg_output_flip(struct vg_output *o, const struct vg_rect *damage, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (vg_rect_empty(&damage[i]) || damage[i].x < 0 || damage[i].y < 0 ||
		    damage[i].right > W || damage[i].bottom > H)
			abort();
	}
	if (o->flipping || !n)
		abort();
	o->flipping = true;
	o->card->flipping[o->connector - 1] = o;
	return 0;
}

/* ---- the supervisor, and displays ------------------------------------------------------------ */

struct shower {
	int sock; /* our end; -1: none */
	int memfd;
	uint8_t *frame;
	uint32_t serial;
};

static struct {
	pid_t pid;
	int super;
	char text[SCREENS + 1][VG_SCREEN_TEXT]; /* what was said of each, by its id */
	struct shower d[SCREENS + 1];
} s;

static struct vg_ipc start(const char *spec)
{
	struct vg_ipc m = { .type = VG_IPC_SETUP };
	int pair[2];

	memset(&s, 0, sizeof(s));
	for (unsigned i = 0; i <= SCREENS; i++)
		s.d[i].sock = s.d[i].memfd = -1;
	card = mmap(NULL, sizeof(*card), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(card != MAP_FAILED);
	card->monitor[0].plugged = card->monitor[1].plugged = true;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, card->refresh), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, card->plugs), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	s.pid = fork();
	assert_true(s.pid >= 0);
	if (s.pid == 0) {
		close(pair[0]);
		_exit(vg_kms_main(pair[1]));
	}
	close(pair[1]);
	s.super = pair[0];
	snprintf(m.setup.who, sizeof(m.setup.who), "card");
	snprintf(m.setup.spec, sizeof(m.setup.spec), "%s", spec);
	m.setup.log_level = VG_LOG_WARN;
	assert_int_equal(vg_ipc_send(s.super, &m, -1), 0);
	do
		assert_int_equal(poll(&(struct pollfd){ .fd = s.super, .events = POLLIN }, 1,
				      PATIENCE_MS),
				 1);
	while (vg_ipc_recv(s.super, &m, NULL) != 1);
	return m;
}

static void open_card(void)
{
	assert_int_equal(start("kms,card=/dev/dri/card0").type, VG_IPC_OPENED);
}

static void stop(void)
{
	int status;

	close(s.super);
	assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_SUCCESS);
	for (unsigned i = 0; i <= SCREENS; i++) {
		if (s.d[i].sock >= 0)
			close(s.d[i].sock);
		if (s.d[i].frame)
			munmap(s.d[i].frame, VG_DISPLAY_HEAD_BYTES);
		if (s.d[i].memfd >= 0)
			close(s.d[i].memfd);
	}
	for (unsigned i = 0; i < 2; i++) {
		close(card->refresh[i]);
		close(card->plugs[i]);
	}
	munmap(card, sizeof(*card));
}

/* Until it was said of a screen. */
static void await_text(uint32_t id, const char *text)
{
	struct pollfd p = { .fd = s.super, .events = POLLIN };
	struct vg_ipc m;

	while (!strstr(s.text[id], text)) {
		if (poll(&p, 1, PATIENCE_MS) != 1)
			fail_msg("screen %u: \"%s\", not \"%s\"", id, s.text[id], text);
		assert_int_equal(vg_ipc_recv(s.super, &m, NULL), 1);
		assert_int_equal(m.type, VG_IPC_SCREEN_IS);
		assert_in_range(m.screen_is.id, 1, SCREENS);
		snprintf(s.text[m.screen_is.id], VG_SCREEN_TEXT, "%s", m.screen_is.text);
	}
}

/* A socket for the screen, in place of the one before. */
static void screen_at(uint32_t id, const char *connector, uint32_t layer,
		      const struct vg_rect *area)
{
	struct vg_ipc m = { .type = VG_IPC_SCREEN, .screen = { .id = id } };
	struct vg_place_of_head *p = &m.screen.place;
	struct shower *d = &s.d[id];
	int pair[2];

	snprintf(p->connector, sizeof(p->connector), "%s", connector);
	p->layer = layer;
	p->width = 800;
	p->height = 600;
	if (area) {
		p->x = (uint32_t)area->x;
		p->y = (uint32_t)area->y;
		p->area_width = (uint32_t)(area->right - area->x);
		p->area_height = (uint32_t)(area->bottom - area->y);
	}
	if (d->sock >= 0)
		close(d->sock);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vg_ipc_send(s.super, &m, pair[1]), 0);
	close(pair[1]);
	d->sock = pair[0];
}

static void tell(uint32_t id, const struct vg_display_msg *m, int fd)
{
	assert_int_equal(vg_display_send(s.d[id].sock, m, fd), 0);
}

/* A frame memory, and a picture of that size. */
static void show(uint32_t id, uint32_t w, uint32_t h)
{
	const struct vg_display_msg hello = { .type = VG_DISPLAY_HELLO,
					      .hello = { VG_DISPLAY_VERSION, 1 } },
				    mode = { .type = VG_DISPLAY_MODE, .mode = { w, h } };
	struct shower *d = &s.d[id];

	if (d->memfd < 0) {
		d->memfd = memfd_create("frames", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		assert_int_equal(ftruncate(d->memfd, (off_t)VG_DISPLAY_HEAD_BYTES), 0);
		assert_int_equal(fcntl(d->memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
		d->frame = mmap(NULL, VG_DISPLAY_HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
				d->memfd, 0);
		assert_true(d->frame != MAP_FAILED);
	}
	tell(id, &hello, d->memfd);
	tell(id, &mode, -1);
}

static void damage(uint32_t id, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	const struct vg_display_msg m = { .type = VG_DISPLAY_DAMAGE,
					  .damage = { x, y, w, h, ++s.d[id].serial } };

	tell(id, &m, -1);
}

/* All of it one colour. */
static void draw(uint32_t id, uint32_t w, uint32_t h, uint32_t colour)
{
	uint32_t *p = vg_display_pixels(s.d[id].frame, 0);

	for (uint32_t i = 0; i < w * h; i++)
		p[i] = colour;
	damage(id, 0, 0, w, h);
}

static bool heard(uint32_t id, struct vg_display_msg *m, int ms)
{
	struct pollfd p = { .fd = s.d[id].sock, .events = POLLIN };
	int fd;

	return poll(&p, 1, ms) == 1 && vg_display_recv(s.d[id].sock, m, &fd, 0) == 1;
}

static void refresh(char monitor)
{
	assert_int_equal(send(card->refresh[0], &monitor, 1, 0), 1);
}

static bool has_read(uint32_t id, int ms)
{
	struct vg_display_msg m;

	while (heard(id, &m, ms)) {
		if (m.type == VG_DISPLAY_READ && m.serial == s.d[id].serial)
			return true;
	}
	return false;
}

/* With refreshes as they come. */
static void await_read(uint32_t id)
{
	for (int i = 0; i < PATIENCE_MS / 10; i++) {
		refresh(0);
		refresh(1);
		if (has_read(id, 10))
			return;
	}
	fail_msg("screen %u: no READ", id);
}

static uint32_t at(unsigned monitor, uint32_t x, uint32_t y)
{
	return card->monitor[monitor].shown[y * PITCH + x];
}

/* Until a pixel has that colour, with refreshes. */
static void await_pixel(unsigned monitor, uint32_t x, uint32_t y, uint32_t colour)
{
	for (int i = 0; i < PATIENCE_MS / 5 && at(monitor, x, y) != colour; i++) {
		refresh((char)monitor);
		usleep(5000);
	}
	assert_int_equal(at(monitor, x, y), colour);
}

static bool is_hung_up(uint32_t id)
{
	struct pollfd p = { .fd = s.d[id].sock, .events = POLLIN };
	struct vg_display_msg m;
	int fd;

	while (poll(&p, 1, PATIENCE_MS) == 1) {
		if (vg_display_recv(s.d[id].sock, &m, &fd, 0) <= 0)
			return true;
	}
	return false;
}

/* ---- tests --------------------------------------------------------------------------------------- */

static const struct vg_rect corner = { 40, 30, 60, 45 };

static void a_frame_is_read_when_it_is_shown(void **state)
{
	struct vg_display_msg m;

	(void)state;
	open_card();
	screen_at(1, "A", 0, NULL);
	await_text(1, "kms=A:64x48@60");
	assert_int_equal(card->monitor[0].asked_width, 800);
	show(1, W, H);
	draw(1, W, H, 0x123456);
	assert_false(has_read(1, QUIET_MS));
	await_read(1);
	assert_int_equal(at(0, 0, 0), 0x123456);
	assert_int_equal(at(0, W - 1, H - 1), 0x123456);
	/* What was damaged, in both buffers. */
	for (uint32_t i = 1; i < 6; i++) {
		vg_display_pixels(s.d[1].frame, 0)[i * W + i] = i;
		damage(1, i, i, 1, 1);
		await_read(1);
		for (uint32_t k = 1; k <= i; k++)
			assert_int_equal(at(0, k, k), k);
		assert_int_equal(at(0, i, i + 1), 0x123456);
	}
	/* Nothing new, no frame. */
	refresh(0);
	assert_false(heard(1, &m, QUIET_MS));
	stop();
}

static void one_is_on_top(void **state)
{
	unsigned flips;

	(void)state;
	open_card();
	screen_at(2, "A", 7, &corner);
	screen_at(1, "A", 0, NULL);
	show(1, W, H);
	draw(1, W, H, 0x111111);
	await_pixel(0, 0, 0, 0x111111);
	assert_int_equal(at(0, 50, 40),
			 0); /* its guest shows nothing, and nobody else does there */
	show(2, 20, 15);
	draw(2, 20, 15, 0x222222);
	await_read(2);
	await_pixel(0, 50, 40, 0x222222);
	assert_int_equal(at(0, 39, 30), 0x111111);
	assert_int_equal(at(0, 60, 30), 0x111111);
	draw(1, W, H, 0x333333);
	await_read(1);
	await_pixel(0, 0, 0, 0x333333);
	assert_int_equal(at(0, 50, 40), 0x222222);
	/* What the other one covers is read, and costs no frame. */
	refresh(0);
	usleep(QUIET_MS * 1000);
	flips = card->monitor[0].flips;
	damage(1, 41, 31, 5, 5);
	assert_true(has_read(1, PATIENCE_MS));
	refresh(0);
	usleep(QUIET_MS * 1000);
	assert_int_equal(card->monitor[0].flips, flips);
	stop();
}

static void its_guest_is_asked_for_its_size(void **state)
{
	struct vg_display_msg m;

	(void)state;
	open_card();
	screen_at(1, "A", 0, &corner);
	do
		assert_true(heard(1, &m, PATIENCE_MS));
	while (m.type != VG_DISPLAY_WISH);
	assert_int_equal(m.mode.width, 20);
	assert_int_equal(m.mode.height, 15);
	/* In the middle, until it has it. */
	show(1, 10, 5);
	draw(1, 10, 5, 0x999999);
	await_pixel(0, 45, 35, 0x999999);
	assert_int_equal(at(0, 44, 35), 0);
	assert_int_equal(at(0, 45, 34), 0);
	stop();
}

static void a_cursor_moves(void **state)
{
	struct vg_display_msg m = { .type = VG_DISPLAY_CURSOR_IS,
				    .cursor = { 10, 10, 3, 3, true, true } };

	(void)state;
	open_card();
	screen_at(1, "A", 0, NULL);
	show(1, W, H);
	draw(1, W, H, 0x404040);
	await_pixel(0, 0, 0, 0x404040);
	vg_display_cursor(s.d[1].frame, 0)[0] = 0xffaabbcc;
	tell(1, &m, -1);
	await_pixel(0, 7, 7, 0xaabbcc);
	m.cursor.x = 30;
	tell(1, &m, -1);
	await_pixel(0, 27, 7, 0xaabbcc);
	assert_int_equal(at(0, 7, 7), 0x404040);
	m.cursor.visible = false;
	tell(1, &m, -1);
	await_pixel(0, 27, 7, 0x404040);
	stop();
}

static void a_display_dies(void **state)
{
	(void)state;
	open_card();
	screen_at(1, "A", 0, NULL);
	show(1, W, H);
	draw(1, W, H, 0x111111);
	await_pixel(0, 9, 9, 0x111111);
	close(s.d[1].sock);
	s.d[1].sock = -1;
	refresh(0);
	usleep(QUIET_MS * 1000);
	assert_int_equal(at(0, 9, 9), 0x111111);
	screen_at(1, "A", 0, NULL);
	show(1, W, H);
	draw(1, W, H, 0x222222);
	await_pixel(0, 9, 9, 0x222222);
	stop();
}

static void a_guest_goes(void **state)
{
	struct vg_ipc gone = { .type = VG_IPC_SCREEN, .screen = { .id = 2 } };

	(void)state;
	open_card();
	screen_at(1, "A", 0, NULL);
	screen_at(2, "A", 1, NULL);
	show(1, W, H);
	draw(1, W, H, 0x111111);
	show(2, W, H);
	draw(2, W, H, 0x222222);
	await_pixel(0, 9, 9, 0x222222);
	assert_int_equal(vg_ipc_send(s.super, &gone, -1), 0);
	await_pixel(0, 9, 9, 0x111111);
	gone.screen.id = 1;
	assert_int_equal(vg_ipc_send(s.super, &gone, -1), 0);
	for (int i = 0; i < PATIENCE_MS / 10 && card->monitor[0].width; i++)
		usleep(10000);
	assert_int_equal(card->monitor[0].width, 0);
	stop();
}

static void a_monitor_is_unplugged(void **state)
{
	(void)state;
	open_card();
	card->monitor[0].plugged = false;
	screen_at(1, "A", 0, NULL);
	await_text(1, "kms=A:unplugged");
	show(1, W, H);
	draw(1, W, H, 0x111111);
	assert_true(has_read(1, PATIENCE_MS)); /* nobody sees it */
	card->monitor[0].plugged = true;
	assert_int_equal(send(card->plugs[0], "", 1, 0), 1);
	await_text(1, "kms=A:64x48@60");
	await_pixel(0, 9, 9, 0x111111);
	draw(1, W, H, 0x222222);
	card->monitor[0].plugged = false;
	assert_int_equal(send(card->plugs[0], "", 1, 0), 1);
	await_text(1, "unplugged");
	refresh(0); /* of a frame that was on its way */
	assert_true(has_read(1, PATIENCE_MS));
	card->monitor[0].plugged = true;
	card->monitor[0].refuses = true;
	assert_int_equal(send(card->plugs[0], "", 1, 0), 1);
	await_text(1, "its monitor: A does not take it");
	stop();
}

/* What is wrong with one has nothing to do with the other. */
static void what_cannot_be_is_told(void **state)
{
	static const struct vg_rect outside = { W, 0, W + 10, 10 };

	(void)state;
	assert_int_equal(start("kms,card=/dev/dri/card9").type, VG_IPC_FAILED);
	stop();
	open_card();
	screen_at(1, "C", 0, NULL);
	await_text(1, "its monitor: no connector C; A, B");
	show(1, W, H);
	draw(1, W, H, 1);
	assert_true(has_read(1, PATIENCE_MS));
	screen_at(2, "A", 0, &outside);
	await_text(2, "is outside of A, which shows 64x48");
	show(2, W, H);
	draw(2, W, H, 2);
	assert_true(has_read(2, PATIENCE_MS));
	screen_at(3, "B", 0, NULL);
	show(3, W, H);
	draw(3, W, H, 3);
	await_pixel(1, 5, 5, 3);
	stop();
}

static void displays_that_lie(void **state)
{
	static const struct vg_display_msg lies[] = {
		{ .type = VG_DISPLAY_MODE, .mode = { W, 0 } },
		{ .type = VG_DISPLAY_MODE, .mode = { UINT32_MAX, UINT32_MAX } },
		{ .type = VG_DISPLAY_MODE, .mode = { VG_LIMIT_GPU_SIDE, VG_LIMIT_GPU_SIDE } },
		{ .type = VG_DISPLAY_MODE, .head = 1, .mode = { W, H } },
		{ .type = VG_DISPLAY_DAMAGE, .damage = { 1, 0, W, H, 9 } },
		{ .type = VG_DISPLAY_DAMAGE, .damage = { UINT32_MAX, UINT32_MAX, 2, 2, 9 } },
		{ .type = VG_DISPLAY_DAMAGE, .damage = { 0, 0, 0, 0, 9 } },
		{ .type = VG_DISPLAY_HELLO, .hello = { VG_DISPLAY_VERSION, 1 } },
		{ .type = VG_DISPLAY_HELLO, .hello = { VG_DISPLAY_VERSION + 1, 1 } },
		{ .type = VG_DISPLAY_READ },
		{ .type = 4711 },
	};
	const struct vg_display_msg hello = { .type = VG_DISPLAY_HELLO,
					      .hello = { VG_DISPLAY_VERSION, 16 } };
	int unsealed = memfd_create("frames", MFD_CLOEXEC);

	(void)state;
	open_card();
	screen_at(1, "A", 1, &corner);
	show(1, 20, 15);
	draw(1, 20, 15, 0x111111);
	await_pixel(0, 50, 40, 0x111111);
	for (unsigned i = 0; i < COUNT(lies); i++) {
		screen_at(2, "A", 0, NULL);
		show(2, W, H);
		tell(2, &lies[i], -1);
		if (!is_hung_up(2))
			fail_msg("lie %u is believed", i);
	}
	/* Before there is any memory; memory that is too short, or could become so. */
	screen_at(2, "A", 0, NULL);
	tell(2, &lies[1], -1);
	assert_true(is_hung_up(2));
	screen_at(2, "A", 0, NULL);
	tell(2, &hello, s.d[1].memfd);
	assert_true(is_hung_up(2));
	assert_int_equal(ftruncate(unsealed, (off_t)(16 * VG_DISPLAY_HEAD_BYTES)), 0);
	screen_at(2, "A", 0, NULL);
	tell(2, &hello, unsealed);
	assert_true(is_hung_up(2));
	close(unsealed);
	draw(1, 20, 15, 0x222222);
	await_pixel(0, 50, 40, 0x222222);
	stop();
}

/* Cursors anywhere, damage without end, and nothing is read: the other one's frames come all the same. */
static void a_display_that_never_stops(void **state)
{
	struct vg_display_msg m = { .type = VG_DISPLAY_CURSOR_IS };

	(void)state;
	open_card();
	screen_at(1, "A", 1, &corner);
	show(1, 20, 15);
	screen_at(2, "A", 0, NULL);
	show(2, W, H);
	for (unsigned i = 1; i < 12; i++) {
		for (unsigned k = 0; k < 3000; k++) {
			m.cursor.x = (int32_t)(k * 0x9e3779b9);
			m.cursor.y = (int32_t)(k * 0x85ebca6b);
			m.cursor.hot_x = k * 0xc2b2ae35;
			m.cursor.visible = true;
			vg_display_send(s.d[2].sock, &m, -1);
		}
		draw(1, 20, 15, i);
		await_read(1);
		await_pixel(0, 50, 40, i);
	}
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_is_read_when_it_is_shown),
		cmocka_unit_test(one_is_on_top),
		cmocka_unit_test(its_guest_is_asked_for_its_size),
		cmocka_unit_test(a_cursor_moves),
		cmocka_unit_test(a_display_dies),
		cmocka_unit_test(a_guest_goes),
		cmocka_unit_test(a_monitor_is_unplugged),
		cmocka_unit_test(what_cannot_be_is_told),
		cmocka_unit_test(displays_that_lie),
		cmocka_unit_test(a_display_that_never_stops),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
