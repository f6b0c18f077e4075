// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cards.c - see cards.h
 *
 * A process that ended, or could not open its card, is started again, ever more slowly, for as long as
 * there is a screen for it: a card that a desktop has is taken when that ends.
 */
#include "backend/daemon/cards.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"

struct vg_card_process {
	struct vg_card_process *next; /* of all->first */
	struct vg_cards *all;
	char path[VG_PLACE_CARD];
	struct vg_child c;
	bool open;
	struct vg_timer timer;	   /* before it is started again */
	struct vg_screen *screens; /* the first that came is the first */
};

static const struct vg_param_def params_of_heads[] = {
	VG_PLACE_PARAMS,
	{ "heads", VG_PARAM_UINT, false, 1, VG_DISPLAY_HEADS, "1", NULL },
	{ 0 },
};

static struct vg_card_process *of_child(const struct vg_child *c)
{
	return container_of(c, struct vg_card_process, c);
}

/* ---- what lists say ------------------------------------------------------------ */

static void show_text(const struct vg_screens *all)
{
	size_t at = 0;

	all->text[0] = '\0';
	for (unsigned i = 0; i < all->n && at < VG_CHILD_BESIDE - 1; i++) {
		const char *text = all->s[i].text;

		/* What is wrong with a card is so with each head on it: said once. */
		if (!text[0] || strstr(all->text, text))
			continue;
		at += (size_t)snprintf(all->text + at, VG_CHILD_BESIDE - at, "%s%s", at ? " " : "",
				       text);
	}
}

static bool is_trouble(const char *text)
{
	return strncmp(text, "kms=", 4) != 0;
}

static bool is_said(const struct vg_screens *all, const char *text)
{
	for (unsigned i = 0; i < all->n; i++) {
		if (strcmp(all->s[i].text, text) == 0)
			return true;
	}
	return false;
}

/* In the log once, not each time, nor for each head. */
static void say(struct vg_screen *s, const char *text)
{
	bool said = is_said(s->owner, text);

	snprintf(s->text, sizeof(s->text), "%s", text);
	if (!said)
		vg_child_say(s->owner->worker, is_trouble(text) ? VG_LOG_ERR : VG_LOG_INFO, text);
	show_text(s->owner);
}

static void trouble(struct vg_card_process *card, const char *why)
{
	char text[VG_SCREEN_TEXT];

	snprintf(text, sizeof(text), "its monitor: %.180s", why);
	for (struct vg_screen *s = card->screens; s; s = s->next)
		say(s, text);
}

/* ---- a socket between a display and a card ---------------------------------------- */

static void join(struct vg_screen *s)
{
	struct vg_ipc to_card = { .type = VG_IPC_SCREEN,
				  .screen = { .id = s->id, .head = s->head } };
	const struct vg_ipc to_display = { .type = VG_IPC_VIEWER, .look = { s->head } };
	int pair[2];

	if (!s->card || !s->card->open || !s->owner->display_open)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		say(s, "its monitor: no socket for it: it stays dark");
		return;
	}
	to_card.screen.place = s->place;
	vg_child_tell(&s->card->c, &to_card, pair[0]);
	vg_child_tell(s->owner->display, &to_display, pair[1]);
	close(pair[0]);
	close(pair[1]);
}

/* ---- a card's process -------------------------------------------------------------- */

static void start_later(struct vg_card_process *card)
{
	vg_loop_timer(card->all->children->loop, &card->timer,
		      vg_child_backoff(&card->c) * (NS_PER_S / 1000));
}

static void start(struct vg_card_process *card)
{
	struct vg_err err;

	if (card->c.pid || card->timer.tether || card->all->children->stopping)
		return;
	if (vg_child_start(&card->c, "--kms", 0, -1, &err) < 0) {
		trouble(card, err.text);
		start_later(card);
	}
}

static void timer_expired(struct vg_timer *t)
{
	start(container_of(t, struct vg_card_process, timer));
}

static void message(struct vg_child *c, const struct vg_ipc *m)
{
	struct vg_card_process *card = of_child(c);

	if (m->type == VG_IPC_OPENED) {
		card->open = true;
		for (struct vg_screen *s = card->screens; s; s = s->next)
			join(s);
	} else if (m->type == VG_IPC_FAILED) {
		trouble(card, m->text);
	} else if (m->type == VG_IPC_SCREEN_IS) {
		for (struct vg_screen *s = card->screens; s; s = s->next) {
			if (s->id == m->screen_is.id)
				say(s, m->screen_is.text);
		}
	}
}

static void reaped(struct vg_child *c, int status)
{
	struct vg_card_process *card = of_child(c);
	bool was_open = card->open;
	char text[200];

	card->open = false;
	if (c->all->stopping)
		return;
	/* What could not be opened has said why. */
	if (was_open) {
		vg_child_explain(c, status, text, sizeof(text));
		trouble(card, text);
	}
	start_later(card);
}

static void place(const struct vg_child *c, struct vg_control_device *d)
{
	(void)c;
	(void)d;
}

static const struct vg_child_ops child_ops = {
	.place = place,
	.message = message,
	.reaped = reaped,
};

static struct vg_card_process *card_of(struct vg_cards *all, const char *path)
{
	struct vg_card_process *card = all->first;
	char spec[VG_PLACE_CARD + 16];

	while (card && strcmp(card->path, path) != 0)
		card = card->next;
	if (card)
		return card;
	card = calloc(1, sizeof(*card));
	if (!card)
		return NULL;
	card->all = all;
	snprintf(card->path, sizeof(card->path), "%s", path);
	snprintf(spec, sizeof(spec), "kms,card=%s", path);
	card->timer.expired = timer_expired;
	vg_child_init_alone(&card->c, &child_ops, all->children, spec);
	card->c.program = "vgrant-kms";
	snprintf(card->c.who, sizeof(card->c.who), "card %s", path);
	card->next = all->first;
	all->first = card;
	return card;
}

static void card_free(struct vg_card_process *card)
{
	struct vg_card_process **p = &card->all->first;

	while (*p != card)
		p = &(*p)->next;
	*p = card->next;
	vg_loop_timer_stop(&card->timer);
	vg_child_fini(&card->c);
	free(card);
}

/* ---- the screens of a device -------------------------------------------------------- */

static void screen_add(struct vg_screen *s)
{
	struct vg_cards *cards = s->owner->cards;
	struct vg_screen **last;

	s->id = ++cards->last_id;
	s->card = card_of(cards, s->place.card);
	if (!s->card)
		return;
	last = &s->card->screens;
	while (*last)
		last = &(*last)->next;
	*last = s;
	start(s->card);
}

static void screen_remove(struct vg_screen *s)
{
	const struct vg_ipc gone = { .type = VG_IPC_SCREEN, .screen = { .id = s->id } };
	struct vg_card_process *card = s->card;
	struct vg_screen **p = &card->screens;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	if (!card->screens)
		card_free(card);
	else if (card->open)
		vg_child_tell(&card->c, &gone, -1);
}

struct vg_screens *vg_screens_new(struct vg_cards *cards, struct vg_child *worker,
				  struct vg_child *display)
{
	struct vg_place_of_head places[VG_DISPLAY_HEADS];
	struct vg_screens *all;
	struct vg_params params;
	int n;

	/* What is wrong with it the worker says. */
	if (vg_params_parse(worker->spec, &params, NULL) < 0)
		return NULL;
	n = vg_places_parse(&params, params_of_heads, places, NULL);
	if (n <= 0 || (uint64_t)n > vg_params_uint(&params, params_of_heads, "heads"))
		return NULL;
	all = calloc(1, sizeof(*all));
	if (!all)
		return NULL;
	all->cards = cards;
	all->worker = worker;
	all->display = display;
	all->text = worker->beside[VG_SEAT_MONITOR];
	all->n = (unsigned)n;
	for (unsigned i = 0; i < all->n; i++) {
		all->s[i] = (struct vg_screen){ .owner = all, .head = i, .place = places[i] };
		if (places[i].card[0])
			screen_add(&all->s[i]);
	}
	return all;
}

void vg_screens_display(struct vg_screens *all, bool open)
{
	all->display_open = open;
	for (unsigned i = 0; i < all->n; i++)
		join(&all->s[i]);
}

void vg_screens_free(struct vg_screens *all)
{
	if (!all)
		return;
	for (unsigned i = 0; i < all->n; i++) {
		if (all->s[i].card)
			screen_remove(&all->s[i]);
	}
	all->text[0] = '\0';
	free(all);
}
