// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kms.c - see worker/kms.h
 *
 *	supervisor --- SETUP (a card), SCREEN, ...             SCREEN_IS: what became of it
 *	    |
 *	this ----+---- the display of guest A, which takes it for one of its viewers
 *	         +---- the display of guest B ...              displays/display.h
 *
 * A card has one master, and several guests may have a part of it each, or of one monitor: so there is
 * one such process a card, and all displays whose heads are to be seen there have a socket to it. A
 * *screen* is one head of one guest: its place (displays/place.h), the frame memory that it is copied
 * from, and what is damaged. An *output* is a connector that has screens, which are the layers of its
 * picture (displays/compose.h): by the number that the configuration gives them, and among those of the
 * same number the one that came last on top. A screen keeps its area when its guest shows nothing, and
 * when its display has died: the supervisor alone takes it away.
 *
 * Two buffers an output: what is damaged is drawn into the one that is not shown, which then takes the
 * place of the other at the next refresh of the monitor. What was drawn is owed to the other buffer,
 * too, so that each screen notes what is stale of either. A guest hears READ when its frame is shown, so
 * that it draws as often as the monitor is refreshed; one that nobody sees, for its monitor is not
 * plugged in or others cover it, sixty times a second.
 *
 * Displays are not trusted, nor are guests whose pixels they pass on: messages are checked, frame memory
 * is sealed and mapped to be read, and pixels are copied without being looked at. What none of them can
 * change is whose area is where.
 */
#include "backend/worker/kms.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/loop.h"
#include "backend/displays/card.h"
#include "backend/worker/helper.h"
#include "backend/worker/ipc.h"
#include "backend/worker/sandbox.h"

enum {
	LOOP_ENTRIES = 256,
	UNSEEN_MS = 16,	 /* a frame that nobody sees */
	HEARD_MAX = 256, /* messages of one socket in one turn */
	OUTPUTS_MAX = 16,
	SCREENS_MAX = 64,
	LAYERS_MAX = 16, /* screens of one output */
	PLUG_MS = 200,	 /* one event seldom comes alone */
	FLIP_AGAIN_MS = 100,
};

struct kms;

struct output {
	struct vg_output o; /* connector 0: unused */
	struct kms *k;
	struct vg_rect stale[2]; /* of its buffers, beside what is stale of screens */
	bool wanted;		 /* something is to be shown that is not */
	struct vg_deferred draw; /* at the end of a turn */
	struct vg_timer again;	 /* after the kernel did not take a frame */
	struct vg_ratelimit log;
};

struct screen {
	struct screen *next; /* from the lowest to the topmost, of all outputs */
	struct kms *k;
	uint32_t id; /* the supervisor's */
	struct vg_place_of_head place;
	struct output *output; /* NULL: there is no such connector */
	struct vg_rect area;   /* on the output; empty while that is dark */
	int sock;	       /* to the display; -1: it is away */
	struct vg_watch watch;
	struct vg_deferred more; /* it has said something, or more than one turn should hear */
	uint8_t *frame;		 /* NULL: there is none yet */
	size_t frame_size;
	uint32_t heads, head;	/* in there */
	uint32_t width, height; /* 0: the guest shows nothing */
	struct vg_display_msg cursor;
	struct vg_rect stale[2];
	uint32_t serial,
		drawn;	       /* of the last damage, and of that in the frame that is on its way */
	bool unread, flipping; /* serial was not said to be read; drawn is about to be shown */
	struct vg_timer unseen;
	char text[VG_SCREEN_TEXT]; /* what the supervisor was told */
};

struct kms {
	struct vg_helper h;
	struct vg_watch card_watch, plug_watch;
	struct vg_timer plug; /* monitors are looked for when it expires */
	struct vg_card *card;
	struct output output[OUTPUTS_MAX];
	struct screen *screens;
	unsigned n_screens;
};

static const struct vg_param_def kms_params[] = {
	{ "card", VG_PARAM_STRING, true, 0, 0, NULL, NULL },
	{ 0 },
};

/* ---- layers ---------------------------------------------------------------- */

static struct vg_layer layer_of(const struct screen *s)
{
	const struct vg_display_msg *c = &s->cursor;
	struct vg_layer l = { .area = s->area, .width = s->width, .height = s->height };

	if (!s->frame || !s->width)
		return l;
	l.pixels = vg_display_pixels(s->frame, s->head);
	if (c->cursor.visible) {
		l.cursor = vg_display_cursor(s->frame, s->head);
		l.cursor_x = (int32_t)((uint32_t)c->cursor.x - c->cursor.hot_x);
		l.cursor_y = (int32_t)((uint32_t)c->cursor.y - c->cursor.hot_y);
	}
	return l;
}

/* Those of an output. Return: how many; *@at, unless NULL: which of them is @s. */
static unsigned layers_of(const struct output *o, struct vg_layer layers[LAYERS_MAX],
			  const struct screen *s, unsigned *at)
{
	unsigned n = 0;

	for (const struct screen *t = o->k->screens; t; t = t->next) {
		if (t->output != o)
			continue;
		if (t == s)
			*at = n;
		layers[n++] = layer_of(t);
	}
	return n;
}

static void want(struct output *o)
{
	o->wanted = true;
	vg_loop_defer(o->k->h.loop, &o->draw);
}

/* Of what is on the output, whoever has it. */
static void damage_output(struct output *o, struct vg_rect r)
{
	if (vg_rect_empty(&r))
		return;
	for (unsigned i = 0; i < COUNT(o->stale); i++)
		o->stale[i] = vg_rect_or(o->stale[i], r);
	want(o);
}

/* Return: whether anybody sees it. */
static bool damage_screen(struct screen *s, struct vg_rect r)
{
	struct vg_layer layers[LAYERS_MAX];
	unsigned n, at = 0;

	if (!s->output || vg_rect_empty(&r))
		return false;
	n = layers_of(s->output, layers, s, &at);
	if (!vg_layer_seen(layers, n, at, r))
		return false;
	for (unsigned i = 0; i < COUNT(s->stale); i++)
		s->stale[i] = vg_rect_or(s->stale[i], r);
	want(s->output);
	return true;
}

/* ---- frames ----------------------------------------------------------------- */

static void say(struct screen *s, const struct vg_display_msg *m)
{
	if (s->sock >= 0)
		vg_display_send(s->sock, m, -1);
}

static void say_read(struct screen *s, uint32_t serial)
{
	const struct vg_display_msg m = { .type = VG_DISPLAY_READ,
					  .head = s->head,
					  .serial = serial };

	vg_loop_timer_stop(&s->unseen);
	s->unread = s->serial != serial;
	say(s, &m);
}

static void unseen_expired(struct vg_timer *t)
{
	struct screen *s = container_of(t, struct screen, unseen);

	say_read(s, s->serial);
}

static void read_later(struct screen *s)
{
	if (s->unread && !s->unseen.tether)
		vg_loop_timer(s->k->h.loop, &s->unseen, UNSEEN_MS * (NS_PER_S / 1000));
}

/* Draw what the back buffer has not. Return: how many areas. */
static unsigned draw_stale(struct output *o, struct vg_rect damage[LAYERS_MAX + 1])
{
	struct vg_buffer *b = vg_output_back(&o->o);
	unsigned back = !o->o.front, n = 0, n_layers;
	struct vg_layer layers[LAYERS_MAX];

	n_layers = layers_of(o, layers, NULL, NULL);
	damage[n] = o->stale[back];
	n += !vg_rect_empty(&damage[n]);
	o->stale[back] = VG_RECT_NONE;
	for (struct screen *s = o->k->screens; s; s = s->next) {
		if (s->output != o)
			continue;
		damage[n] = s->stale[back];
		n += !vg_rect_empty(&damage[n]);
		s->stale[back] = VG_RECT_NONE;
	}
	for (unsigned i = 0; i < n; i++)
		vg_compose(b->pixels, b->pitch / 4, layers, n_layers, damage[i]);
	return n;
}

/* Frames of all screens of @o are on their way. */
static void under_way(struct output *o)
{
	for (struct screen *s = o->k->screens; s; s = s->next) {
		if (s->output != o)
			continue;
		s->flipping = s->unread;
		s->drawn = s->serial;
	}
}

static void draw(struct vg_deferred *d)
{
	struct output *o = container_of(d, struct output, draw);
	struct vg_rect damage[LAYERS_MAX + 1];
	unsigned n;
	int ret;

	if (!o->wanted || !o->o.width || o->o.flipping || o->again.tether)
		return;
	o->wanted = false;
	n = draw_stale(o, damage);
	ret = n ? vg_output_flip(&o->o, damage, n) : 0;
	if (ret == 0) {
		if (n)
			under_way(o);
		return;
	}
	vg_log_limited(&o->log, VG_LOG_WARN, "%s does not take a frame: %s", o->o.name,
		       strerror(-ret));
	for (unsigned i = 0; i < n; i++)
		damage_output(o, damage[i]);
	vg_loop_timer(o->k->h.loop, &o->again, FLIP_AGAIN_MS * (NS_PER_S / 1000));
}

static void again_expired(struct vg_timer *t)
{
	want(container_of(t, struct output, again));
}

static void flipped(struct vg_output *shown)
{
	struct output *o = container_of(shown, struct output, o);

	for (struct screen *s = o->k->screens; s; s = s->next) {
		if (s->output == o && s->flipping) {
			s->flipping = false;
			say_read(s, s->drawn);
		}
	}
	if (o->wanted)
		want(o);
}

/* ---- what the supervisor is told --------------------------------------------- */

static void tell(struct screen *s, const char *text)
{
	struct vg_ipc m = { .type = VG_IPC_SCREEN_IS, .screen_is = { .id = s->id } };

	if (strcmp(s->text, text) == 0)
		return;
	snprintf(s->text, sizeof(s->text), "%s", text);
	snprintf(m.screen_is.text, sizeof(m.screen_is.text), "%s", text);
	vg_ipc_send(s->k->h.sock, &m, -1);
}

static void tell_trouble(struct screen *s, const struct vg_err *err)
{
	char text[VG_SCREEN_TEXT];

	snprintf(text, sizeof(text), "its monitor: %.180s", err->text);
	tell(s, text);
}

static void tell_state(struct screen *s)
{
	const struct vg_output *o = &s->output->o;
	const struct vg_place_of_head *p = &s->place;
	char text[VG_SCREEN_TEXT];

	if (!o->width)
		snprintf(text, sizeof(text), "kms=%s:unplugged", o->name);
	else if (vg_rect_empty(&s->area))
		snprintf(text, sizeof(text),
			 "its monitor: kms-area=%ux%u@%u:%u is outside of %s, which shows %ux%u",
			 p->area_width, p->area_height, p->x, p->y, o->name, o->width, o->height);
	else if (p->width &&
		 (p->width != o->width || p->height != o->height || (p->hz && p->hz != o->hz)))
		snprintf(text, sizeof(text),
			 "kms=%s:%ux%u@%u, as %ux%u%s%.0u is no mode of it, or another guest was "
			 "first",
			 o->name, o->width, o->height, o->hz, p->width, p->height, p->hz ? "@" : "",
			 p->hz);
	else
		snprintf(text, sizeof(text), "kms=%s:%ux%u@%u", o->name, o->width, o->height,
			 o->hz);
	tell(s, text);
}

/* ---- outputs ----------------------------------------------------------------- */

/* Its guest is asked for a picture as large as its area. */
static void wish(struct screen *s)
{
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_WISH,
		.head = s->head,
		.mode = { (uint32_t)(s->area.right - s->area.x),
			  (uint32_t)(s->area.bottom - s->area.y) },
	};

	if (!vg_rect_empty(&s->area) && (m.mode.width != s->width || m.mode.height != s->height))
		say(s, &m);
}

static struct vg_rect whole(const struct output *o)
{
	return (struct vg_rect){ 0, 0, (int32_t)o->o.width, (int32_t)o->o.height };
}

static void place_screen(struct screen *s)
{
	const struct vg_place_of_head *p = &s->place;
	struct vg_rect area = { (int32_t)p->x, (int32_t)p->y, (int32_t)(p->x + p->area_width),
				(int32_t)(p->y + p->area_height) };

	if (!p->area_width)
		area = whole(s->output);
	s->area = vg_rect_and(area, whole(s->output));
	for (unsigned i = 0; i < COUNT(s->stale); i++)
		s->stale[i] = VG_RECT_NONE;
	if (!s->output->o.width)
		s->flipping = false;
	read_later(s);
	tell_state(s);
	wish(s);
}

/* Look whether a monitor is there, and show on it what there is. @s: whose mode it gets. */
static void look_at(struct output *o, struct screen *s)
{
	const struct vg_place_of_head *p = &s->place;
	uint32_t was = o->o.width;
	struct vg_err err = { "" };
	int ret = vg_output_light(&o->o, p->width, p->height, p->hz, &err);

	if (ret < 0)
		vg_error("%s", err.text);
	for (unsigned i = 0; i < COUNT(o->stale); i++)
		o->stale[i] = VG_RECT_NONE;
	for (struct screen *t = o->k->screens; t; t = t->next) {
		if (t->output != o || (t != s && was == o->o.width))
			continue;
		place_screen(t);
		if (ret < 0)
			tell_trouble(t, &err);
	}
	damage_output(o, whole(o));
}

/* The screen whose guest was first to have the output; NULL: none. */
static struct screen *first_of(const struct output *o)
{
	struct screen *first = NULL;

	for (struct screen *s = o->k->screens; s; s = s->next) {
		if (s->output == o && (!first || s->id < first->id))
			first = s;
	}
	return first;
}

static void plug_expired(struct vg_timer *t)
{
	struct kms *k = container_of(t, struct kms, plug);

	for (unsigned i = 0; i < OUTPUTS_MAX; i++) {
		struct output *o = &k->output[i];
		struct screen *s = o->o.connector ? first_of(o) : NULL;

		if (s)
			look_at(o, s);
	}
}

/* The output of that name, of which there may be none so far. NULL: with a sentence. */
static struct output *output_of(struct kms *k, const char *name, struct vg_err *err)
{
	struct output *o = k->output, *end = o + OUTPUTS_MAX;
	unsigned n = 0;

	while (o < end && o->o.connector && strcmp(o->o.name, name) != 0)
		o++;
	if (o == end) {
		vg_fail(err, -ENOSPC, "a card has %d connectors at most", OUTPUTS_MAX);
		return NULL;
	}
	if (!o->o.connector && vg_output_find(k->card, name, &o->o, err) < 0)
		return NULL;
	for (const struct screen *s = k->screens; s; s = s->next)
		n += s->output == o;
	if (n >= LAYERS_MAX) {
		vg_fail(err, -ENOSPC, "%s has %d areas already, which is all", name, LAYERS_MAX);
		return NULL;
	}
	return o;
}

/* ---- what a display says -------------------------------------------------------- */

static void hang_up(struct screen *s)
{
	if (s->sock < 0)
		return;
	vg_loop_unwatch(&s->watch);
	vg_loop_undefer(s->k->h.loop, &s->more);
	close(s->sock);
	s->sock = -1;
	s->unread = s->flipping = false;
	vg_loop_timer_stop(&s->unseen);
}

static void forget_frame(struct screen *s)
{
	if (s->frame)
		munmap(s->frame, s->frame_size);
	s->frame = NULL;
	s->width = s->height = 0;
}

/* Return: whether it makes sense. */
static bool hello(struct screen *s, const struct vg_display_msg *m, int fd)
{
	void *p;

	if (m->hello.version != VG_DISPLAY_VERSION || fd < 0 ||
	    !vg_display_is_frame_memory(fd, m->hello.heads))
		return false;
	forget_frame(s);
	s->heads = m->hello.heads;
	s->frame_size = s->heads * VG_DISPLAY_HEAD_BYTES;
	p = mmap(NULL, s->frame_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		s->frame = p;
	wish(s); /* the device is there now */
	return s->frame;
}

static bool mode(struct screen *s, const struct vg_display_msg *m)
{
	if (!vg_display_mode_ok(m->mode.width, m->mode.height))
		return false;
	s->width = m->mode.width;
	s->height = m->mode.height;
	damage_screen(s, s->area);
	wish(s);
	return true;
}

static bool damage(struct screen *s, const struct vg_display_msg *m)
{
	const struct vg_layer l = layer_of(s);

	if (!vg_display_is_within(m, s->width, s->height))
		return false;
	s->serial = m->damage.serial;
	s->unread = true;
	if (!damage_screen(s, vg_layer_damage(&l, m->damage.x, m->damage.y, m->damage.width,
					      m->damage.height)))
		read_later(s);
	return true;
}

static void damage_cursor(struct screen *s)
{
	const struct vg_layer l = layer_of(s);

	if (l.cursor)
		damage_screen(s, vg_layer_damage(&l, l.cursor_x, l.cursor_y, VG_DISPLAY_CURSOR,
						 VG_DISPLAY_CURSOR));
}

/* Return: whether it makes sense. @fd: the caller's. */
static bool display_says(struct screen *s, const struct vg_display_msg *m, int fd)
{
	if (m->type == VG_DISPLAY_HELLO)
		return m->hello.heads > s->head && hello(s, m, fd);
	if (m->head != s->head || !s->frame)
		return false;
	switch (m->type) {
	case VG_DISPLAY_MODE:
		return mode(s, m);
	case VG_DISPLAY_DAMAGE:
		return damage(s, m);
	case VG_DISPLAY_CURSOR_IS:
		damage_cursor(s);
		s->cursor = *m;
		damage_cursor(s);
		return true;
	default:
		return false;
	}
}

/* One that never stops must not keep the others from being heard. */
static void hear_display(struct vg_deferred *d)
{
	struct screen *s = container_of(d, struct screen, more);
	struct vg_display_msg m;
	int fd, ret = 1;

	for (unsigned i = 0; ret == 1 && i < HEARD_MAX; i++) {
		bool sense;

		ret = vg_display_recv(s->sock, &m, &fd, MSG_DONTWAIT);
		sense = ret != 1 || display_says(s, &m, fd);
		if (fd >= 0)
			close(fd);
		if (!sense) {
			vg_error("screen %u: its display talks nonsense (message %u), and is not "
				 "heard any more",
				 s->id, m.type);
			ret = -EPROTO;
		}
	}
	if (ret == 1)
		vg_loop_defer(s->k->h.loop, &s->more);
	else if (ret != -EAGAIN)
		hang_up(s);
}

static void display_ready(struct vg_watch *w, unsigned events)
{
	struct screen *s = container_of(w, struct screen, watch);

	(void)events;
	vg_loop_defer(s->k->h.loop, &s->more);
}

/* ---- screens -------------------------------------------------------------------- */

static struct screen *screen_of(struct kms *k, uint32_t id)
{
	struct screen *s = k->screens;

	while (s && s->id != id)
		s = s->next;
	return s;
}

static void screen_gone(struct screen *s)
{
	struct kms *k = s->k;
	struct screen **p = &k->screens;
	struct output *o = s->output;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	k->n_screens--;
	hang_up(s);
	forget_frame(s);
	if (o && first_of(o))
		damage_output(o, s->area);
	else if (o)
		vg_output_dark(&o->o);
	free(s);
}

/* Below those of a higher layer, above all others. */
static void insert(struct kms *k, struct screen *s)
{
	struct screen **p = &k->screens;

	while (*p && (*p)->place.layer <= s->place.layer)
		p = &(*p)->next;
	s->next = *p;
	*p = s;
	k->n_screens++;
}

static struct screen *screen_new(struct kms *k, const struct vg_ipc *m)
{
	struct screen *s = k->n_screens < SCREENS_MAX ? calloc(1, sizeof(*s)) : NULL;
	struct vg_err err;

	if (!s)
		return NULL;
	s->k = k;
	s->id = m->screen.id;
	s->head = m->screen.head;
	s->place = m->screen.place;
	s->sock = -1;
	s->watch.ready = display_ready;
	s->more.run = hear_display;
	s->unseen.expired = unseen_expired;
	s->output = output_of(k, s->place.connector, &err);
	insert(k, s);
	if (s->output)
		look_at(s->output, s);
	else
		tell_trouble(s, &err);
	return s;
}

/* A socket to the display of that screen, in place of the one before; none: it goes. @sock: the callee's. */
static void screen(struct kms *k, const struct vg_ipc *m, int sock)
{
	struct screen *s = screen_of(k, m->screen.id);

	if (sock < 0) {
		if (s)
			screen_gone(s);
		return;
	}
	if (!s)
		s = screen_new(k, m);
	if (!s) {
		vg_error("there is no room for one more screen");
		close(sock);
		return;
	}
	hang_up(s);
	s->sock = sock;
	vg_loop_watch(k->h.loop, &s->watch, sock);
	wish(s);
}

/* ---- the card --------------------------------------------------------------------- */

static void card_ready(struct vg_watch *w, unsigned events)
{
	struct kms *k = container_of(w, struct kms, card_watch);

	vg_card_read(k->card);
	if (events & POLLIN)
		return;
	vg_error("its card is gone");
	k->h.ending = true;
}

static void plug_ready(struct vg_watch *w, unsigned events)
{
	struct kms *k = container_of(w, struct kms, plug_watch);

	(void)events;
	if (vg_card_plugged(k->card) && !k->plug.tether)
		vg_loop_timer(k->h.loop, &k->plug, PLUG_MS * (NS_PER_S / 1000));
}

/* ---- the supervisor ---------------------------------------------------------------- */

static int setup(struct vg_helper *h, const struct vg_ipc *m, struct vg_ipc *answer,
		 struct vg_err *err)
{
	struct kms *k = container_of(h, struct kms, h);
	const struct vg_sandbox_needs *const all[] = { &vg_card_needs, NULL };
	struct vg_params params;
	int ret = vg_params_parse(m->setup.spec, &params, err);

	(void)answer;
	if (ret == 0)
		ret = vg_params_check(&params, kms_params, NULL, err);
	if (ret == 0)
		ret = vg_card_open(vg_params_str(&params, kms_params, "card"), &k->card, err);
	if (ret < 0)
		return ret;
	vg_loop_watch(k->h.loop, &k->card_watch, vg_card_fd(k->card));
	vg_loop_watch(k->h.loop, &k->plug_watch, vg_card_plugs(k->card));
	return vg_sandbox_enter(&m->setup.sandbox, all, err);
}

static bool heard(struct vg_helper *h, const struct vg_ipc *m, int fd)
{
	if (m->type != VG_IPC_SCREEN)
		return false;
	screen(container_of(h, struct kms, h), m, fd);
	return true;
}

static void init(struct kms *k, int sock)
{
	k->h = (struct vg_helper){ .setup = setup, .heard = heard, .sock = sock };
	k->card_watch.ready = card_ready;
	k->plug_watch.ready = plug_ready;
	k->plug.expired = plug_expired;
	for (unsigned i = 0; i < OUTPUTS_MAX; i++) {
		struct output *o = &k->output[i];

		o->k = k;
		o->o.flipped = flipped;
		o->draw.run = draw;
		o->again.expired = again_expired;
		o->log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	}
}

int vg_kms_main(int sock)
{
	struct kms *k = calloc(1, sizeof(*k));

	if (!k)
		return EXIT_FAILURE;
	vg_helper_begin();
	init(k, sock);
	return vg_helper_loop(&k->h, LOOP_ENTRIES) < 0 ? EXIT_FAILURE : vg_helper_run(&k->h);
}
