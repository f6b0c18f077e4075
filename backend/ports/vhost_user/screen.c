// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * screen.c - a picture that the front-end shows itself: QEMU's docs/interop/vhost-user-gpu.rst
 *
 *	device -- show() --> what each head owes --> one message at a time --> socket
 *	       -- ask() ---> questions ------------/                            |
 *	       <- answered(), read() <------- an answer to the oldest question -+
 *
 * QEMU passes a socket before it lets the device's queues run (VHOST_USER_GPU_SET_SOCKET), and closes
 * its end when it stops them. What is shown is told as pixels (SCANOUT, UPDATE), copied out of the
 * device's frame memory; DMA buffers are not offered.
 *
 * Nothing waits. Of each head is known what the front-end has not been told: its size, its cursor,
 * and one area, to which what is drawn meanwhile is added. From that a message is made when the one
 * before is in the socket: so what is outstanding is one message of OUT_MAX bytes and what the kernel
 * holds, however slow the front-end is. An area is told in bands, from above; what is drawn in the
 * meantime makes the next one, so that its lower end is not put off for ever. Once all of an area was
 * copied, damage up to then has been read.
 *
 * QEMU blocks while it reads a message, and it is given a whole one as fast as it takes it.
 *
 * Questions. The monitors are the front-end's, so that a driver's question for them is passed on. The
 * first one is ours, for the protocol's features, and the others are sent when it has been answered. A
 * question that is not answered in PATIENCE_MS is answered by the device, by what it knows. Whoever
 * answers another thing than the oldest question is not heard any more, nor shown anything.
 *
 * Needs of the kernel: send(2) and recvmsg(2), which every worker has (worker/sandbox.c).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/displays/screen.h"
#include "backend/ports/vhost_user/int.h"
#include "backend/wire/vhost_user_gpu.h"

enum {
	/* Pixels of one UPDATE; at least a row of the widest picture. */
	BAND_BYTES = 64 << 10,
	OUT_MAX = BAND_BYTES + sizeof(struct vg_vu_header) + sizeof(struct vg_vug_update),
	TURN_BYTES = 1 << 20, /* sent in one turn of the loop */
	QUESTIONS = 32,	      /* under way: an EDID of each head, twice */
	ANSWERS_PER_TURN = 64,
	PATIENCE_MS = 1000, /* Linux' driver waits for 5 s */
};

_Static_assert(BAND_BYTES >= VG_LIMIT_GPU_SIDE * sizeof(uint32_t), "a row");
_Static_assert((size_t)OUT_MAX >= VG_DISPLAY_CURSOR_BYTES + sizeof(struct vg_vu_header) +
					  sizeof(struct vg_vug_cursor_update),
	       "a cursor");

struct question {
	uint32_t request;
	uint32_t head;
	bool sent;
	struct vg_screen_ask *ask; /* NULL: ours; or nobody waits any more */
	int64_t until_ns;
};

/* What the front-end has been told of a head, and what it has not. */
struct head {
	uint32_t width, height;
	bool owes_size, owes_place, owes_cursor;
	struct vg_display_msg cursor;
	struct vg_display_area telling; /* what is left of it */
	struct vg_display_area damage;	/* since that was begun */
	uint32_t telling_serial, serial;
	bool owes_read; /* what was damaged is gone */
};

struct vg_vu_screen {
	struct vg_screen screen;
	struct vg_vu *vu;
	int sock;
	struct vg_watch watch;
	struct vg_deferred tell; /* at the end of a turn: what it showed is told at once */
	struct vg_timer more;	 /* in the next turn */
	struct vg_timer late;	 /* the oldest question that somebody waits for */
	struct vg_vu_reader reader;
	struct question question[QUESTIONS];
	unsigned first, n; /* of questions, the oldest first */
	bool introduced;   /* its features are known, and */
	bool has_edid;	   /* this one is in common */
	bool owes_features;
	struct head head[VG_DISPLAY_HEADS];
	uint32_t next; /* head that is told of first */
	size_t at, len;
	uint8_t out[OUT_MAX]; /* a message, sent up to at */
};

static struct vg_vu_screen *of(const struct vg_screen *s)
{
	return container_of(s, struct vg_vu_screen, screen);
}

static void tell_soon(struct vg_vu_screen *s)
{
	vg_loop_defer(s->vu->dev->loop, &s->tell);
}

static struct question *question(struct vg_vu_screen *s, unsigned i)
{
	return &s->question[(s->first + i) % QUESTIONS];
}

/* ---- what the device says ----------------------------------------------- */

/* What was to be told of a picture that is gone need not be read. */
static void another_size(struct head *h, uint32_t width, uint32_t height)
{
	if (h->width == width && h->height == height)
		return;
	h->width = width;
	h->height = height;
	h->owes_size = true;
	h->owes_read |= h->telling.width || h->damage.width;
	h->telling.width = h->damage.width = 0;
}

static void show(struct vg_screen *screen, const struct vg_display_msg *m)
{
	struct vg_vu_screen *s = of(screen);
	struct head *h = &s->head[m->head];

	if (m->type == VG_DISPLAY_MODE) {
		another_size(h, m->mode.width, m->mode.height);
	} else if (m->type == VG_DISPLAY_DAMAGE) {
		const struct vg_display_area a = { m->damage.x, m->damage.y, m->damage.width,
						   m->damage.height };

		vg_display_area_add(&h->damage, &a);
		h->serial = m->damage.serial;
	} else if (m->type == VG_DISPLAY_CURSOR_IS) {
		h->cursor = *m;
		h->owes_place = true;
		h->owes_cursor |= m->cursor.changed;
	}
	tell_soon(s);
}

static bool may_ask(const struct vg_screen *screen)
{
	return of(screen)->n < QUESTIONS;
}

static struct question *add_question(struct vg_vu_screen *s, uint32_t request, uint32_t head,
				     struct vg_screen_ask *ask)
{
	struct question *q = question(s, s->n++);

	*q = (struct question){
		.request = request,
		.head = head,
		.ask = ask,
		.until_ns = vg_loop_now(s->vu->dev->loop) + PATIENCE_MS * (NS_PER_S / 1000),
	};
	tell_soon(s);
	return q;
}

static void run_patience(struct vg_vu_screen *s)
{
	int64_t now = vg_loop_now(s->vu->dev->loop);

	vg_loop_timer_stop(&s->late);
	for (unsigned i = 0; i < s->n; i++) {
		const struct question *q = question(s, i);

		if (!q->ask)
			continue;
		vg_loop_timer(s->vu->dev->loop, &s->late,
			      q->until_ns > now ? q->until_ns - now : 1);
		return;
	}
}

static void ask(struct vg_screen *screen, struct vg_screen_ask *a)
{
	struct vg_vu_screen *s = of(screen);

	a->asked = true;
	add_question(s, a->what == VG_SCREEN_EDID ? VG_VUG_GET_EDID : VG_VUG_GET_DISPLAY_INFO,
		     a->head, a);
	run_patience(s);
}

/* Nobody waits for @q any more; its answer will come all the same. */
static struct vg_screen_ask *let_go(struct question *q)
{
	struct vg_screen_ask *a = q->ask;

	q->ask = NULL;
	if (a)
		a->asked = false;
	return a;
}

static void answer(struct question *q, const struct vg_screen_answer *answer)
{
	struct vg_screen_ask *a = let_go(q);

	if (a)
		a->answered(a, answer);
}

static void unask(struct vg_screen *screen, struct vg_screen_ask *a)
{
	struct vg_vu_screen *s = of(screen);

	for (unsigned i = 0; i < s->n; i++) {
		if (question(s, i)->ask == a)
			let_go(question(s, i));
	}
}

static void patience_over(struct vg_timer *t)
{
	struct vg_vu_screen *s = container_of(t, struct vg_vu_screen, late);
	int64_t now = vg_loop_now(s->vu->dev->loop);

	for (unsigned i = 0; i < s->n; i++) {
		if (question(s, i)->until_ns <= now)
			answer(question(s, i), NULL);
	}
	run_patience(s);
}

static const struct vg_screen_ops screen_ops = {
	.show = show,
	.may_ask = may_ask,
	.ask = ask,
	.unask = unask,
};

/* ---- what the front-end is told ----------------------------------------- */

static void put(struct vg_vu_screen *s, uint32_t request, const void *payload, size_t len)
{
	s->at = 0;
	s->len = vg_vug_put(s->out, request, payload, len, 0);
}

static bool put_features(struct vg_vu_screen *s)
{
	const uint64_t features = s->has_edid ? VG_FEATURE(VG_VUG_PF_EDID) : 0;

	if (!s->owes_features)
		return false;
	s->owes_features = false;
	put(s, VG_VUG_SET_PROTOCOL_FEATURES, &features, sizeof(features));
	return true;
}

static bool put_question(struct vg_vu_screen *s)
{
	unsigned i = 0;
	struct question *q;

	while (i < s->n && question(s, i)->sent)
		i++;
	if (i == s->n)
		return false;
	q = question(s, i);
	if (!s->introduced && q->request != VG_VUG_GET_PROTOCOL_FEATURES)
		return false;
	/* An EDID is then the device's own, of what the monitor likes best. */
	if (q->request == VG_VUG_GET_EDID && !s->has_edid)
		q->request = VG_VUG_GET_DISPLAY_INFO;
	q->sent = true;
	put(s, q->request, &q->head, q->request == VG_VUG_GET_EDID ? sizeof(q->head) : 0);
	return true;
}

static bool put_size(struct vg_vu_screen *s, uint32_t i)
{
	struct head *h = &s->head[i];
	const struct vg_vug_scanout m = { i, h->width, h->height };

	if (!h->owes_size)
		return false;
	h->owes_size = false;
	put(s, VG_VUG_SCANOUT, &m, sizeof(m));
	return true;
}

static bool put_cursor(struct vg_vu_screen *s, uint32_t i)
{
	struct head *h = &s->head[i];
	const struct vg_vug_cursor_update m = {
		.pos = { i, (uint32_t)h->cursor.cursor.x, (uint32_t)h->cursor.cursor.y },
		.hot_x = h->cursor.cursor.hot_x,
		.hot_y = h->cursor.cursor.hot_y,
	};

	if (!h->owes_place)
		return false;
	h->owes_place = false;
	if (!h->cursor.cursor.visible) {
		put(s, VG_VUG_CURSOR_POS_HIDE, &m.pos, sizeof(m.pos));
	} else if (!h->owes_cursor) {
		put(s, VG_VUG_CURSOR_POS, &m.pos, sizeof(m.pos));
	} else {
		h->owes_cursor = false;
		s->at = 0;
		s->len = vg_vug_put(s->out, VG_VUG_CURSOR_UPDATE, &m, sizeof(m),
				    VG_DISPLAY_CURSOR_BYTES);
		memcpy(s->out + s->len, vg_display_cursor(s->screen.frame, i),
		       VG_DISPLAY_CURSOR_BYTES);
		s->len += VG_DISPLAY_CURSOR_BYTES;
	}
	return true;
}

/* As many rows of @h->telling as a message has room for. */
static void put_band(struct vg_vu_screen *s, uint32_t i)
{
	struct head *h = &s->head[i];
	struct vg_display_area *a = &h->telling;
	size_t row = a->width * sizeof(uint32_t);
	uint32_t rows = a->height < BAND_BYTES / row ? a->height : (uint32_t)(BAND_BYTES / row);
	const struct vg_vug_update m = { i, a->x, a->y, a->width, rows };
	const uint32_t *from =
		vg_display_pixels(s->screen.frame, i) + (size_t)a->y * h->width + a->x;

	s->at = 0;
	s->len = vg_vug_put(s->out, VG_VUG_UPDATE, &m, sizeof(m), rows * row);
	for (uint32_t y = 0; y < rows; y++, from += h->width, s->len += row)
		memcpy(s->out + s->len, from, row);
	a->y += rows;
	a->height -= rows;
}

static bool put_picture(struct vg_vu_screen *s, uint32_t i)
{
	struct head *h = &s->head[i];

	if (!h->telling.width) {
		h->telling = h->damage;
		h->telling_serial = h->serial;
		h->damage.width = 0;
	}
	if (!h->telling.width)
		return false;
	put_band(s, i);
	if (!h->telling.height) {
		h->telling.width = 0;
		s->screen.read(&s->screen, i, h->telling_serial);
	}
	return true;
}

static void read_what_is_gone(struct vg_vu_screen *s)
{
	for (uint32_t i = 0; i < s->screen.heads; i++) {
		struct head *h = &s->head[i];

		if (h->owes_read)
			s->screen.read(&s->screen, i, h->serial);
		h->owes_read = false;
	}
}

/* Make the next message. Return: false: there is nothing to tell. */
static bool put_next(struct vg_vu_screen *s)
{
	if (put_features(s) || put_question(s))
		return true;
	for (uint32_t n = 0; n < s->screen.heads; n++) {
		uint32_t i = s->next++ % s->screen.heads;

		if (put_size(s, i) || put_cursor(s, i) || put_picture(s, i))
			return true;
	}
	return false;
}

/* Return: whether the front-end is there still. */
static bool tell(struct vg_vu_screen *s)
{
	size_t told = 0;

	read_what_is_gone(s);
	while (s->at < s->len || put_next(s)) {
		ssize_t n =
			send(s->sock, s->out + s->at, s->len - s->at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		s->at += (size_t)n;
		told += (size_t)n;
		if (told >= TURN_BYTES) {
			vg_loop_timer(s->vu->dev->loop, &s->more, 1);
			return true;
		}
	}
	return true;
}

/* ---- what the front-end says -------------------------------------------- */

static void introduce(struct vg_vu_screen *s, uint64_t features)
{
	s->introduced = true;
	s->has_edid = features & VG_FEATURE(VG_VUG_PF_EDID);
	s->owes_features = true;
	tell_soon(s);
}

static struct question pop(struct vg_vu_screen *s)
{
	struct question q = *question(s, 0);

	s->first = (s->first + 1) % QUESTIONS;
	s->n--;
	return q;
}

/* QEMU says nothing of the EDID of a head that it has not, for which a driver asks all the same. */
static void skip_unanswered(struct vg_vu_screen *s, uint32_t request)
{
	while (s->n && question(s, 0)->sent && question(s, 0)->request == VG_VUG_GET_EDID &&
	       request != VG_VUG_GET_EDID) {
		struct question q = pop(s);

		answer(&q, NULL);
	}
}

/* A message was read. Return: whether it is an answer. */
static bool hear(struct vg_vu_screen *s)
{
	const struct vg_vu_msg *m = &s->reader.msg;
	struct vg_screen_answer a;
	struct vg_err err = { "nothing was asked" };
	struct question q;

	skip_unanswered(s, m->hdr.request);
	if (!s->n || !question(s, 0)->sent || vg_vug_check(m, question(s, 0)->request, &err) < 0) {
		vg_log_limited(&s->vu->log, VG_LOG_WARN,
			       "the front-end's screen talks nonsense, and is not shown anything "
			       "any more: %s",
			       err.text);
		return false;
	}
	q = pop(s);
	if (q.request == VG_VUG_GET_PROTOCOL_FEATURES) {
		introduce(s, m->u64);
		return true;
	}
	vg_vug_answer(m, &a);
	answer(&q, &a);
	run_patience(s);
	return true;
}

/* Return: whether the front-end is there still. */
static bool listen_to(struct vg_vu_screen *s)
{
	for (unsigned i = 0; i < ANSWERS_PER_TURN; i++) {
		int ret = vg_vu_read(&s->reader, s->sock);

		if (ret == -EAGAIN)
			return true;
		if (ret != 1 || !hear(s))
			return false;
	}
	vg_loop_timer(s->vu->dev->loop, &s->more, 1);
	return true;
}

/* ---- life --------------------------------------------------------------- */

void vg_vu_screen_drop(struct vg_vu *vu)
{
	struct vg_vu_screen *s = vu->screen;

	if (!s)
		return;
	vu->screen = NULL;
	vu->dev->ops->screen(vu->dev, NULL);
	vg_loop_unwatch(&s->watch);
	vg_loop_undefer(vu->dev->loop, &s->tell);
	vg_loop_timer_stop(&s->more);
	vg_loop_timer_stop(&s->late);
	for (unsigned i = 0; i < s->n; i++)
		answer(question(s, i), NULL);
	vg_vu_reader_fini(&s->reader);
	close(s->sock);
	free(s);
}

static void go_on(struct vg_vu_screen *s)
{
	if (!listen_to(s) || !tell(s))
		vg_vu_screen_drop(s->vu);
}

static void ready(struct vg_watch *w, unsigned events)
{
	(void)events;
	go_on(container_of(w, struct vg_vu_screen, watch));
}

static void next_turn(struct vg_timer *t)
{
	go_on(container_of(t, struct vg_vu_screen, more));
}

static void end_of_turn(struct vg_deferred *d)
{
	struct vg_vu_screen *s = container_of(d, struct vg_vu_screen, tell);

	if (!tell(s))
		vg_vu_screen_drop(s->vu);
}

int vg_vu_screen_new(struct vg_vu *vu, int sock)
{
	struct vg_vu_screen *s = calloc(1, sizeof(*s));

	vg_vu_screen_drop(vu);
	if (!s) {
		close(sock);
		return -ENOMEM;
	}
	s->screen.ops = &screen_ops;
	s->vu = vu;
	s->sock = sock;
	s->watch.ready = ready;
	s->tell.run = end_of_turn;
	s->more.expired = next_turn;
	s->late.expired = patience_over;
	vg_vu_reader_init(&s->reader);
	vu->screen = s;
	add_question(s, VG_VUG_GET_PROTOCOL_FEATURES, 0, NULL);
	vg_loop_watch_for(vu->dev->loop, &s->watch, sock, POLLIN | POLLOUT);
	vu->dev->ops->screen(vu->dev, &s->screen);
	return 0;
}
