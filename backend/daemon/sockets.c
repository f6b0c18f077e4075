// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sockets.c - see sockets.h
 *
 * The supervisor makes the socket and keeps it; a worker (socket_worker.c) gets it
 * as a descriptor, opens the device, enters its sandbox, and only then accepts. So
 * front-ends that come while there is no worker wait in the backlog, and a worker
 * that died is replaced behind the same socket.
 *
 *	      listen, spawn          OPENED            CONNECTED
 *	IDLE ---------------> OPENING -----> WAITING <-----------> CONNECTED
 *	 ^ ^      |   | FAILED                 |    DISCONNECTED       |
 *	 | |      v   v                        |                       |
 *	 | |      FAILED                       |                       |
 *	 | +--------+ SIGHUP                   |                       |
 *	 +------- died: after a while, another resumes <---------------+
 *
 *	(any) ---- the line changed, or is gone ----> ENDING ----> IDLE, or freed
 *
 * A gpu with render=virgl has its renderer beside it, and one with vnc= a display of ours beside the
 * front-end's (group.h): the worker is started when group.h says so.
 *
 * Nothing here needs Xen: vgrantd serves sockets on a host without it, too. A
 * vgrantd that dies takes the sockets with it; its workers finish what is in flight
 * and end. The next one takes the paths over.
 */
#include "backend/daemon/sockets.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/daemon/group.h"
#include "backend/daemon/listen.h"

enum {
	BACKLOG = 4,
	BUSY_DELAY_MS = 300, /* its predecessor has not ended yet */
};

enum phase {
	IDLE,	   /* no worker: not yet, or not again */
	OPENING,   /* SETUP sent */
	WAITING,   /* for a front-end */
	CONNECTED, /* to one */
	FAILED,	   /* and no reason to try again by itself */
	ENDING,	   /* told to end */
};

/* With one process. */
struct socket_group {
	struct vg_group g;
	struct vg_socket_device *device;
};

struct vg_socket_device {
	struct vg_child c;
	struct socket_group group[VG_SEATS];
	struct vg_sockets *all;
	struct vg_socket_device *next; /* of all->first */
	char name[64];
	char line[VG_PARAMS_LEN]; /* of the settings; c.spec has what `vgrant set` changed since */
	char path[108];
	int listen; /* -1: none */
	enum phase phase;
	bool gone;   /* from the settings: forget it when its worker has ended */
	bool served; /* as the line is now: a front-end has had it, and may have state in it */
	struct vg_timer timer; /* start again, or the end of patience */
};

static struct vg_socket_device *of_child(const struct vg_child *c)
{
	return container_of(c, struct vg_socket_device, c);
}

/* ---- the socket --------------------------------------------------------- */

/* Return: 0; -EBUSY: somebody listens there; or negative errno; all with a sentence. */
static int make_socket(struct vg_socket_device *d, struct vg_err *err)
{
	const struct vg_settings *settings = d->all->settings;
	gid_t group;
	int ret;

	if (d->listen >= 0)
		return 0;
	ret = vg_settings_socket_group(settings, &group, err);
	if (ret == 0)
		ret = vg_listen_unix(d->path, group, (mode_t)settings->socket_mode, BACKLOG, err);
	if (ret < 0)
		return ret;
	d->listen = ret;
	return 0;
}

static void remove_socket(struct vg_socket_device *d)
{
	if (d->listen < 0)
		return;
	unlink(d->path);
	close(d->listen);
	d->listen = -1;
}

/* ---- starting ----------------------------------------------------------- */

/* There is no worker, by our own fault. */
static void fail(struct vg_socket_device *d, int error, const char *text)
{
	unsigned ms = vg_child_retry(&d->c, error, d->served);
	bool is_new = strncmp(d->c.error.text, text, sizeof(d->c.error.text) - 1) != 0;

	/* Nobody has it yet, and it may pass. */
	if (is_new && ms && !d->served)
		vg_child_say(&d->c, VG_LOG_INFO, text);
	else if (is_new || !ms)
		vg_child_event(&d->c, VG_EVENT_FAILED, VG_LOG_ERR, text);
	snprintf(d->c.error.text, sizeof(d->c.error.text), "%.255s", text);
	d->phase = ms ? IDLE : FAILED;
	if (ms)
		vg_loop_timer(d->c.all->loop, &d->timer, ms * (NS_PER_S / 1000));
}

static void group_changed(struct vg_group *g)
{
	struct vg_socket_device *d = container_of(g, struct socket_group, g)->device;

	/* Not from within it. */
	if (d->phase == IDLE && !d->c.pid && !d->timer.tether)
		vg_loop_timer(d->c.all->loop, &d->timer, 1);
}

static void end_worker(struct vg_group *g)
{
	vg_child_end(g->worker);
}

static const struct vg_group_ops group_ops = {
	.changed = group_changed,
	.end_worker = end_worker,
};

/* The front-end shows the picture: a display of ours is beside it where somebody says so. */
static bool wants_display(const struct vg_socket_device *d)
{
	struct vg_params params;

	if (vg_params_parse(d->c.spec, &params, NULL) < 0)
		return false;
	for (unsigned i = 0; i < params.n; i++) {
		if (strcmp(params.p[i].key, "vnc") == 0)
			return true;
	}
	return false;
}

/* The processes that its device needs beside its worker. Return: whether the worker may start now. */
static bool with_helpers(struct vg_socket_device *d)
{
	const struct vg_group_policy *policy[VG_SEATS];
	bool may = true;

	vg_group_wanted(d->c.spec, policy);
	if (!wants_display(d))
		policy[VG_SEAT_DISPLAY] = NULL;
	for (unsigned i = 0; i < VG_SEATS; i++) {
		d->group[i].device = d;
		may &= vg_group_with(&d->group[i].g, &group_ops, policy[i], &d->c, 0);
	}
	return may;
}

static void start(struct vg_socket_device *d)
{
	struct vg_sockets *s = d->all;
	struct vg_err err = { "" };
	int ret = 0;

	if (s->children->n > s->settings->devices)
		ret = vg_fail(&err, -ENOSPC,
			      "too many devices: raise [limits] in vgrantd.conf, or remove some");
	if (ret == 0)
		ret = make_socket(d, &err);
	if (ret == 0 && !with_helpers(d)) {
		d->phase = IDLE;
		return;
	}
	if (ret == 0)
		ret = vg_child_start(&d->c, "--socket-worker", 0, d->listen, &err);
	if (ret == -EINPROGRESS) {
		d->phase = IDLE;
		vg_loop_timer(d->c.all->loop, &d->timer, VG_CHILD_WAIT_MS * 1000000LL);
	} else if (ret < 0) {
		fail(d, ret, err.text);
	} else {
		d->phase = OPENING;
	}
}

static void end(struct vg_socket_device *d)
{
	d->phase = ENDING;
	vg_loop_timer_stop(&d->timer);
	vg_child_end(&d->c);
}

static void timer_expired(struct vg_timer *t)
{
	struct vg_socket_device *d = container_of(t, struct vg_socket_device, timer);

	if (d->c.all->stopping)
		return;
	if (d->phase == IDLE && d->c.pid) {
		vg_loop_timer(d->c.all->loop, t, BUSY_DELAY_MS * 1000000LL);
	} else if (d->phase == IDLE) {
		start(d);
	}
}

/* ---- what a worker does ------------------------------------------------- */

/* Its counters get memory, which is gone with vgrantd. */
static void opened(struct vg_socket_device *d, const struct vg_ipc *m)
{
	const struct vg_ipc record = { .type = VG_IPC_RECORD };
	struct vg_child *c = &d->c;
	struct vg_err err;
	int ret = vg_record_make_memfd(&m->opened.shape, c->spec, &c->record_fd, &err);

	if (ret < 0) {
		vg_child_end(c);
		fail(d, ret, err.text);
		return;
	}
	d->phase = WAITING;
	vg_child_opened(c);
	c->error.text[0] = '\0';
	/* Before the record, with which it begins to serve: what a renderer can do is offered to the first
	 * front-end. */
	for (unsigned i = 0; i < VG_SEATS; i++)
		vg_group_worker_opened(&d->group[i].g);
	vg_child_tell(c, &record, c->record_fd);
	vg_child_say(c, VG_LOG_INFO, "waits for a front-end");
}

static void message(struct vg_child *c, const struct vg_ipc *m)
{
	struct vg_socket_device *d = of_child(c);

	if (d->phase == ENDING)
		return;
	switch (m->type) {
	case VG_IPC_OPENED:
		opened(d, m);
		break;
	case VG_IPC_FAILED:
		fail(d, m->error, m->text);
		break;
	case VG_IPC_CONNECTED:
		d->phase = CONNECTED;
		d->served = true;
		vg_child_connected(c, c->died);
		break;
	case VG_IPC_DISCONNECTED:
		d->phase = WAITING;
		vg_child_event_unlogged(c, VG_EVENT_DISCONNECTED, NULL);
		break;
	}
}

/* @d is in no list any more. */
static void dispose(struct vg_socket_device *d)
{
	vg_loop_timer_stop(&d->timer);
	remove_socket(d);
	for (unsigned i = 0; i < VG_SEATS; i++)
		vg_group_fini(&d->group[i].g);
	vg_child_event_unlogged(&d->c, VG_EVENT_REMOVED, NULL);
	vg_child_fini(&d->c);
	free(d);
}

static void forget(struct vg_socket_device *d)
{
	struct vg_socket_device **p = &d->all->first;

	while (*p != d)
		p = &(*p)->next;
	*p = d->next;
	dispose(d);
}

static void reaped(struct vg_child *c, int status)
{
	struct vg_socket_device *d = of_child(c);
	enum phase was = d->phase;
	unsigned ms;

	if (c->all->stopping)
		return;
	for (unsigned i = 0; i < VG_SEATS; i++)
		vg_group_worker_gone(&d->group[i].g);
	if (was == FAILED || was == IDLE)
		return; /* it had said why */
	vg_loop_timer_stop(&d->timer);
	d->phase = IDLE;
	if (was == ENDING && d->gone) {
		vg_child_say(c, VG_LOG_INFO, "closed");
		forget(d);
	} else if (was == ENDING) {
		c->delay_ms = 0;
		start(d);
	} else {
		vg_child_explain(c, status, c->error.text, sizeof(c->error.text));
		ms = vg_child_backoff(c);
		vg_loop_timer(c->all->loop, &d->timer, ms * 1000000LL);
	}
}

/* ---- control ------------------------------------------------------------ */

static enum vg_control_state state_of(const struct vg_socket_device *d)
{
	switch (d->phase) {
	case IDLE:
		return d->c.restarts ? VG_CONTROL_RESTARTING : VG_CONTROL_OPENING;
	case OPENING:
		return VG_CONTROL_OPENING;
	case WAITING:
		return VG_CONTROL_WAITING;
	case CONNECTED:
		return VG_CONTROL_CONNECTED;
	case FAILED:
		return VG_CONTROL_FAILED;
	default:
		return VG_CONTROL_CLOSING;
	}
}

static void place(const struct vg_child *c, struct vg_control_device *out)
{
	const struct vg_socket_device *d = of_child(c);

	out->guest = d->name;
	out->domid = VG_CONTROL_NO_DOMAIN;
	out->kind = VG_SOCKETS_KIND;
	out->id = 0;
	out->state = state_of(d);
	out->origin = VG_CONTROL_FROM_SOCKET;
	out->file = d->path;
}

static int detach(struct vg_child *c, struct vg_err *err)
{
	return vg_fail(err, -EPERM,
		       "%s stands in vgrantd.conf: remove it from [vhost-user], then reload "
		       "vgrantd (SIGHUP)",
		       of_child(c)->name);
}

static const struct vg_child_ops child_ops = {
	.place = place,
	.message = message,
	.reaped = reaped,
	.detach = detach,
};

/* ---- by the settings ---------------------------------------------------- */

static void name_it(struct vg_socket_device *d)
{
	snprintf(d->c.who, sizeof(d->c.who), "vhost-user %s (%s)", d->name, d->c.device);
}

static void add(struct vg_sockets *s, const struct vg_settings_socket_device *set)
{
	struct vg_socket_device *d = calloc(1, sizeof(*d));
	char path[sizeof(s->settings->runtime_dir) + sizeof(d->name) + 8];

	if (!d) {
		vg_error("out of memory for [vhost-user] %s", set->name);
		return;
	}
	vg_child_init(&d->c, &child_ops, s->children, set->spec);
	d->all = s;
	snprintf(d->name, sizeof(d->name), "%s", set->name);
	snprintf(d->line, sizeof(d->line), "%s", set->spec);
	name_it(d);
	d->listen = -1;
	d->timer.expired = timer_expired;
	d->next = s->first;
	s->first = d;
	vg_child_event_unlogged(&d->c, VG_EVENT_MADE, set->spec);
	if ((size_t)snprintf(path, sizeof(path), "%s/%s.sock", s->settings->runtime_dir, d->name) >=
	    sizeof(d->path)) {
		fail(d, -ENAMETOOLONG,
		     "its socket's path has more than 107 characters: choose a shorter name, or "
		     "runtime-dir");
		return;
	}
	memcpy(d->path, path, strlen(path) + 1);
	start(d);
}

/* The line is there, perhaps changed. */
static void update(struct vg_socket_device *d, const char *line)
{
	bool same = strcmp(d->line, line) == 0;

	if (!same) {
		snprintf(d->line, sizeof(d->line), "%s", line);
		vg_child_set_spec(&d->c, line);
		name_it(d);
		for (unsigned i = 0; i < VG_SEATS; i++)
			vg_group_again(&d->group[i].g);
		d->served = false;
		vg_child_say(&d->c, VG_LOG_INFO, "its configuration has changed");
		vg_child_event_unlogged(&d->c, VG_EVENT_CHANGED, line);
	}
	if (d->phase == ENDING || !d->path[0] || (same && d->phase != FAILED))
		return;
	vg_child_opened(&d->c);
	if (d->c.pid) {
		end(d);
		return;
	}
	vg_loop_timer_stop(&d->timer);
	d->c.error.text[0] = '\0';
	start(d);
}

static void drop(struct vg_socket_device *d)
{
	d->gone = true;
	remove_socket(d);
	if (!d->c.pid)
		forget(d);
	else if (d->phase != ENDING)
		end(d);
}

static const struct vg_settings_socket_device *in_settings(const struct vg_settings *settings,
							   const char *name)
{
	for (unsigned i = 0; i < settings->n_sockets; i++) {
		if (strcmp(settings->sockets[i].name, name) == 0)
			return &settings->sockets[i];
	}
	return NULL;
}

static bool is_there(const struct vg_sockets *s, const char *name)
{
	for (const struct vg_socket_device *d = s->first; d; d = d->next) {
		if (!d->gone && strcmp(d->name, name) == 0)
			return true;
	}
	return false;
}

void vg_sockets_sync(struct vg_sockets *s)
{
	struct vg_socket_device *d = s->first;

	if (s->children->stopping)
		return;
	while (d) {
		struct vg_socket_device *next = d->next;
		const struct vg_settings_socket_device *set = in_settings(s->settings, d->name);

		if (!d->gone && set)
			update(d, set->spec);
		else if (!d->gone)
			drop(d);
		d = next;
	}
	for (unsigned i = 0; i < s->settings->n_sockets; i++) {
		if (!is_there(s, s->settings->sockets[i].name))
			add(s, &s->settings->sockets[i]);
	}
}

void vg_sockets_free(struct vg_sockets *s)
{
	struct vg_socket_device *d;

	while ((d = s->first) != NULL) {
		s->first = d->next;
		dispose(d);
	}
}
