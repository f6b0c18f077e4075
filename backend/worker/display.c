// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * display.c - see worker/display.h
 *
 *	supervisor --- SETUP, PEER, VIEWER, ...                SHOWN: where, and how many look
 *	    |
 *	display ------ peer: the device's worker               displays/display.h
 *	    |      \--- each keyboard and pointer of the guest's   KEY, POINTER
 *	    +-- viewer --- a process each (displays/vnc.c)     displays/display.h, this end the device
 *	    \-- viewer --- who shows a head on a monitor of this machine (worker/kms.c)
 *
 * The display knows of each head its size, its cursor and what is damaged, and no pixel: it passes the
 * frame memory on. It reads nothing that a viewer sent but messages of a fixed size. What parses a
 * viewer's bytes is a process that was made for it, by fork(2), without anything but its two sockets;
 * if that crashes, hangs, or is taken over, the others see nothing of it.
 *
 * Where viewers must speak TLS, a process stands before each viewer's (displays/tls.c).
 *
 * A frame is read when one viewer has copied it: the fastest paces the guest, the others leave frames
 * out. A head that nobody looks at is read sixty times a second.
 *
 * The device's worker may die, and another come: viewers stay, and are shown its frame memory.
 */
#include "backend/worker/display.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/loop.h"
#include "backend/displays/display.h"
#include "backend/displays/listen.h"
#include "backend/displays/needs.h"
#include "backend/displays/tls.h"
#include "backend/displays/vnc.h"
#include "backend/worker/helper.h"
#include "backend/worker/ipc.h"
#include "backend/worker/sandbox.h"

enum {
	LOOP_ENTRIES = 256,
	UNSEEN_MS = 16,	 /* a frame of a head that nobody looks at */
	HEARD_MAX = 256, /* messages of one socket in one turn */
	SINKS_MAX = 16,	 /* keyboards and pointers of one guest */
};

struct display;

/* Who listens to keys and pointers. */
struct sink {
	struct display *d;
	int sock; /* -1: unused */
	struct vg_watch watch;
};

struct viewer {
	struct viewer *next, **pprev;
	struct display *d;
	int sock;
	struct vg_watch watch;
	uint32_t head;
	bool monitor; /* nobody who types, or is counted */
	bool reading; /* it was told of damage and has not said READ */
	bool strange; /* it has not the frame memory that there is */
	bool stale; /* it must be told of size and cursor: its socket was full, or it is strange */
	struct vg_display_area damage; /* since */
};

struct head {
	struct display *d;
	struct vg_listen listen;
	struct vg_watch watch;
	uint32_t width, height;
	struct vg_display_msg cursor;
	uint32_t serial; /* of the last damage */
	bool unread;	 /* the device has not been told that it was read */
	struct vg_timer unseen;
};

struct display {
	struct vg_helper h;
	char who[160];
	char password[VG_VNC_PASSWORD + 1];
	bool has_password, websocket;
	struct vg_tls *tls; /* that viewers must speak; NULL: they need not */
	int peer;	    /* to the device; -1: none */
	struct vg_watch peer_watch;
	int frame; /* its frame memory; -1: none */
	uint32_t frame_heads;
	uint32_t n_heads;
	struct head head[VG_DISPLAY_HEADS];
	struct sink sink[SINKS_MAX];
	struct viewer *viewers;
	unsigned n_viewers;
};

static const struct vg_param_def display_params[] = {
	VG_DISPLAY_PARAMS,
	{ "heads", VG_PARAM_UINT, false, 1, VG_DISPLAY_HEADS, "1", NULL },
	{ 0 },
};

/* ---- what is shown --------------------------------------------------------- */

/* It has been read up to @serial, which some viewer may have made up. */
static void tell_read(struct head *h, uint32_t serial)
{
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_READ,
		.head = (uint32_t)(h - h->d->head),
		.serial = serial,
	};

	if (!h->unread || (int32_t)(h->serial - serial) < 0)
		return;
	vg_loop_timer_stop(&h->unseen);
	if (h->d->peer >= 0)
		vg_display_send(h->d->peer, &m, -1);
	h->unread = serial != h->serial;
}

static void unseen_expired(struct vg_timer *t)
{
	struct head *h = container_of(t, struct head, unseen);

	tell_read(h, h->serial);
}

/* What it was not told of, if it is ready to be told. */
static void show_damage(struct viewer *v)
{
	const struct head *h = &v->d->head[v->head];
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_DAMAGE,
		.head = v->head,
		.damage = { v->damage.x, v->damage.y, v->damage.width, v->damage.height,
			    h->serial },
	};

	if (v->reading || v->stale || !v->damage.width)
		return;
	if (vg_display_send(v->sock, &m, -1) < 0)
		return;
	v->reading = true;
	v->damage.width = 0;
}

static void show_frame_memory(struct viewer *v)
{
	const struct vg_display_msg m = {
		.type = VG_DISPLAY_HELLO,
		.hello = { VG_DISPLAY_VERSION, v->d->frame_heads },
	};

	v->strange = v->d->frame < 0 || vg_display_send(v->sock, &m, v->d->frame) < 0;
}

/*
 * All that there is of its head. A monitor's end is told nothing before the frame memory; a viewer of VNC's
 * begins at once, with black, for a person waits there.
 */
static void show_all(struct viewer *v)
{
	const struct head *h = &v->d->head[v->head];
	const struct vg_display_msg mode = { .type = VG_DISPLAY_MODE,
					     .head = v->head,
					     .mode = { h->width, h->height } };
	struct vg_display_msg cursor = h->cursor;

	if (v->strange)
		show_frame_memory(v);
	cursor.cursor.changed = true;
	v->stale = (v->strange && v->monitor) || vg_display_send(v->sock, &mode, -1) < 0 ||
		   (cursor.type && vg_display_send(v->sock, &cursor, -1) < 0);
	v->damage = (struct vg_display_area){ 0, 0, h->width, h->height };
	show_damage(v);
}

/* ---- viewers ---------------------------------------------------------------- */

static void say_shown(struct display *d)
{
	struct vg_ipc m = { .type = VG_IPC_SHOWN };

	m.shown.port = d->head[0].listen.port;
	snprintf(m.shown.where, sizeof(m.shown.where), "%s", d->head[0].listen.where);
	m.shown.viewers = d->n_viewers;
	vg_ipc_send(d->h.sock, &m, -1);
}

/* A key or a pointer, to all that listen; they know what is theirs. */
static void pass_on(struct display *d, const struct vg_display_msg *m)
{
	for (unsigned i = 0; i < SINKS_MAX; i++) {
		if (d->sink[i].sock >= 0)
			vg_display_send(d->sink[i].sock, m, -1);
	}
}

static void viewer_free(struct viewer *v)
{
	struct display *d = v->d;
	struct head *h = &d->head[v->head];
	const struct vg_display_msg gone = { .type = VG_DISPLAY_RELEASE, .head = v->head };

	vg_loop_unwatch(&v->watch);
	close(v->sock);
	*v->pprev = v->next;
	if (v->next)
		v->next->pprev = v->pprev;
	if (!v->monitor) {
		d->n_viewers--;
		pass_on(d, &gone);
	}
	/* Perhaps the device waited for this one. */
	tell_read(h, h->serial);
	free(v);
	say_shown(d);
}

static void viewer_says(struct viewer *v, struct vg_display_msg *m)
{
	struct display *d = v->d;
	struct head *h = &d->head[v->head];

	m->head = v->head; /* it has no other */
	switch (m->type) {
	case VG_DISPLAY_READ:
		v->reading = false;
		tell_read(h, m->serial);
		if (v->stale)
			show_all(v);
		show_damage(v);
		break;
	case VG_DISPLAY_WISH:
		if (d->peer >= 0)
			vg_display_send(d->peer, m, -1);
		break;
	case VG_DISPLAY_KEY:
	case VG_DISPLAY_POINTER:
		if (!v->monitor)
			pass_on(d, m);
		break;
	}
}

static void viewer_ready(struct vg_watch *w, unsigned events)
{
	struct viewer *v = container_of(w, struct viewer, watch);
	struct vg_display_msg m;
	int ret = -EAGAIN, fd;

	(void)events;
	for (unsigned i = 0; i < HEARD_MAX; i++) {
		ret = vg_display_recv(v->sock, &m, &fd, MSG_DONTWAIT);
		if (fd >= 0)
			close(fd);
		if (ret != 1)
			break;
		viewer_says(v, &m);
	}
	/* One that never stops is no viewer. */
	if (ret != -EAGAIN)
		viewer_free(v);
}

/* ---- a viewer's process ------------------------------------------------------- */

/* Never returns. @server: a socket to who serves the viewer. */
static void be_tls(const struct display *d, int client, int server, bool seccomp)
{
	int fds[] = { fcntl(client, F_DUPFD, 64), fcntl(server, F_DUPFD, 64) };

	if (fds[0] < 0 || fds[1] < 0 || dup2(fds[0], VG_VIEWER_CLIENT) < 0 ||
	    dup2(fds[1], VG_VIEWER_PARENT) < 0 || close_range(VG_VIEWER_PARENT + 1, ~0U, 0) < 0)
		_exit(EXIT_FAILURE);
	vg_tls_not_waiting(VG_VIEWER_CLIENT);
	if (seccomp && vg_sandbox_narrow(vg_tls_calls) < 0)
		_exit(EXIT_FAILURE);
	vg_tls_serve(d->tls, VG_VIEWER_CLIENT, VG_VIEWER_PARENT, d->has_password);
	_exit(EXIT_SUCCESS);
}

/* Whoever parses what a viewer says has no key. Return: a socket in the place of @client; -1: none. */
static int behind_tls(const struct display *d, int client, bool seccomp)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		be_tls(d, client, pair[1], seccomp);
	close(pair[1]);
	close(client);
	if (pid < 0) {
		close(pair[0]);
		return -1;
	}
	vg_tls_free(d->tls);
	return pair[0];
}

/* Never returns. */
static void be_viewer(const struct display *d, uint32_t head, int client, int parent, bool seccomp)
{
	struct vg_vnc_config config = {
		.client = VG_VIEWER_CLIENT,
		.parent = VG_VIEWER_PARENT,
		.head = head,
		.name = d->who,
		.password = d->has_password ? d->password : NULL,
		.websocket = d->websocket,
	};
	int fds[2];

	if (d->tls)
		client = behind_tls(d, client, seccomp);
	fds[0] = fcntl(client, F_DUPFD, 64);
	fds[1] = fcntl(parent, F_DUPFD, 64);
	if (fds[0] < 0 || fds[1] < 0 || dup2(fds[0], config.client) < 0 ||
	    dup2(fds[1], config.parent) < 0 || close_range(VG_VIEWER_PARENT + 1, ~0U, 0) < 0)
		_exit(EXIT_FAILURE);
	signal(SIGCHLD, SIG_DFL);
	if (seccomp && vg_sandbox_narrow(vg_viewer_calls) < 0)
		_exit(EXIT_FAILURE);
	vg_vnc_view(&config);
	_exit(EXIT_SUCCESS);
}

static bool confined; /* the display's own system calls are filtered */

/* Somebody at the other end of @sock, which is the callee's, who is shown all of @head. */
static bool viewer_add(struct display *d, uint32_t head, int sock, bool monitor)
{
	struct viewer *v = calloc(1, sizeof(*v));

	if (!v) {
		close(sock);
		return false;
	}
	*v = (struct viewer){
		.d = d, .sock = sock, .head = head, .monitor = monitor, .strange = true
	};
	v->watch.ready = viewer_ready;
	v->next = d->viewers;
	v->pprev = &d->viewers;
	if (v->next)
		v->next->pprev = &v->next;
	d->viewers = v;
	vg_loop_watch(d->h.loop, &v->watch, v->sock);
	show_all(v);
	return true;
}

static void viewer_new(struct head *h, int client)
{
	struct display *d = h->d;
	uint32_t head = (uint32_t)(h - d->head);
	int pair[2];
	pid_t pid;

	if (d->n_viewers >= VG_LIMIT_VIEWERS ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	pid = fork();
	if (pid == 0)
		be_viewer(d, head, client, pair[1], confined);
	close(pair[1]);
	if (pid < 0) {
		vg_error("a viewer's process cannot be made: %s", strerror(errno));
		close(pair[0]);
		return;
	}
	if (!viewer_add(d, head, pair[0], false))
		return;
	d->n_viewers++;
	say_shown(d);
}

static void accept_ready(struct vg_watch *w, unsigned events)
{
	struct head *h = container_of(w, struct head, watch);
	int fd;

	(void)events;
	while ((fd = accept4(h->listen.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		viewer_new(h, fd);
		close(fd);
	}
}

/* ---- the device ---------------------------------------------------------------- */

static void peer_gone(struct display *d)
{
	if (d->peer < 0)
		return;
	vg_loop_unwatch(&d->peer_watch);
	close(d->peer);
	d->peer = -1;
	for (uint32_t i = 0; i < d->n_heads; i++)
		vg_loop_timer_stop(&d->head[i].unseen);
}

/* Return: whether it makes sense. @fd: the callee's. */
static bool hello(struct display *d, const struct vg_display_msg *m, int fd)
{
	if (m->hello.version != VG_DISPLAY_VERSION || fd < 0 ||
	    !vg_display_is_frame_memory(fd, m->hello.heads)) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (d->frame >= 0)
		close(d->frame);
	d->frame = fd;
	d->frame_heads = m->hello.heads;
	for (struct viewer *v = d->viewers; v; v = v->next) {
		show_frame_memory(v);
		v->damage.width = 0; /* in what was before; MODE comes next, with all of it */
	}
	return true;
}

static void damage(struct display *d, const struct vg_display_msg *m)
{
	struct head *h = &d->head[m->head];
	const struct vg_display_area a = { m->damage.x, m->damage.y, m->damage.width,
					   m->damage.height };
	bool seen = false;

	h->serial = m->damage.serial;
	h->unread = true;
	for (struct viewer *v = d->viewers; v; v = v->next) {
		if (v->head != m->head)
			continue;
		seen = true;
		vg_display_area_add(&v->damage, &a);
		if (v->stale)
			show_all(v);
		else
			show_damage(v);
	}
	if (!seen && !h->unseen.tether)
		vg_loop_timer(d->h.loop, &h->unseen, UNSEEN_MS * (NS_PER_S / 1000));
}

/* Return: whether it makes sense. */
static bool peer_says(struct display *d, const struct vg_display_msg *m, int fd)
{
	struct head *h;

	if (m->type == VG_DISPLAY_HELLO)
		return hello(d, m, fd);
	if (fd >= 0)
		close(fd);
	if (d->frame < 0 || m->head >= d->n_heads || m->head >= d->frame_heads)
		return false;
	h = &d->head[m->head];
	switch (m->type) {
	case VG_DISPLAY_MODE:
		if (!vg_display_mode_ok(m->mode.width, m->mode.height))
			return false;
		h->width = m->mode.width;
		h->height = m->mode.height;
		for (struct viewer *v = d->viewers; v; v = v->next) {
			if (v->head == m->head)
				show_all(v);
		}
		return true;
	case VG_DISPLAY_DAMAGE:
		if (!vg_display_is_within(m, h->width, h->height))
			return false;
		damage(d, m);
		return true;
	case VG_DISPLAY_CURSOR_IS:
		h->cursor = *m;
		for (struct viewer *v = d->viewers; v; v = v->next) {
			if (v->head == m->head && !v->stale)
				v->stale = vg_display_send(v->sock, m, -1) < 0;
		}
		return true;
	default:
		return false;
	}
}

static void peer_ready(struct vg_watch *w, unsigned events)
{
	struct display *d = container_of(w, struct display, peer_watch);
	struct vg_display_msg m;
	int fd, ret;

	(void)events;
	while (d->peer >= 0) {
		ret = vg_display_recv(d->peer, &m, &fd, MSG_DONTWAIT);
		if (ret == -EAGAIN)
			return;
		if (ret == 1 && peer_says(d, &m, fd))
			continue;
		if (ret == 1)
			vg_error(
				"its device talks nonsense (message %u), and is not heard any more",
				m.type);
		peer_gone(d);
	}
}

static void peer_new(struct display *d, int sock)
{
	peer_gone(d);
	d->peer = sock;
	d->peer_watch.ready = peer_ready;
	vg_loop_watch(d->h.loop, &d->peer_watch, sock);
}

/* ---- keyboards and pointers ------------------------------------------------------ */

static void sink_gone(struct sink *s)
{
	vg_loop_unwatch(&s->watch);
	close(s->sock);
	s->sock = -1;
}

/* It says nothing so far, and has gone when it does. */
static void sink_ready(struct vg_watch *w, unsigned events)
{
	(void)events;
	sink_gone(container_of(w, struct sink, watch));
}

static void sink_new(struct display *d, int sock)
{
	for (unsigned i = 0; i < SINKS_MAX; i++) {
		struct sink *s = &d->sink[i];

		if (s->sock >= 0)
			continue;
		s->sock = sock;
		s->watch.ready = sink_ready;
		vg_loop_watch(d->h.loop, &s->watch, sock);
		return;
	}
	close(sock);
}

/* ---- who looks once ---------------------------------------------------------------- */

/* The frame memory and the head's size, as a viewer is told; nothing: there is none yet. */
static void show_once(const struct display *d, uint32_t head, int sock)
{
	const struct vg_display_msg hello = {
		.type = VG_DISPLAY_HELLO,
		.hello = { VG_DISPLAY_VERSION, d->frame_heads },
	};
	struct vg_display_msg mode = { .type = VG_DISPLAY_MODE, .head = head };

	if (d->frame < 0 || head >= d->n_heads || head >= d->frame_heads)
		return;
	mode.mode.width = d->head[head].width;
	mode.mode.height = d->head[head].height;
	if (vg_display_send(sock, &hello, d->frame) == 0)
		vg_display_send(sock, &mode, -1);
}

/* ---- the supervisor --------------------------------------------------------------- */

static int read_password(struct display *d, const char *path, struct vg_err *err)
{
	char text[64] = "";
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		return vg_fail(err, -errno, "password-file=%.150s cannot be read: %s", path,
			       strerror(errno));
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	n = strcspn(text, "\r\n");
	text[n] = '\0';
	if (n == 0 || n > VG_VNC_PASSWORD)
		return vg_fail(err, -EINVAL,
			       "password-file=%.150s: its first line is to have 1 to %d bytes",
			       path, VG_VNC_PASSWORD);
	memcpy(d->password, text, n);
	d->has_password = true;
	explicit_bzero(text, sizeof(text));
	return 0;
}

static int listen_all(struct display *d, const struct vg_params *params, struct vg_err *err)
{
	const char *vnc = vg_params_str(params, display_params, "vnc");
	int ret = 0;

	d->n_heads = (uint32_t)vg_params_uint(params, display_params, "heads");
	for (uint32_t i = 0; i < VG_DISPLAY_HEADS; i++) {
		d->head[i].d = d;
		d->head[i].listen.fd = -1;
		d->head[i].watch.ready = accept_ready;
		d->head[i].unseen.expired = unseen_expired;
	}
	if (strcmp(vnc, "off") == 0)
		return 0;
	for (uint32_t i = 0; ret == 0 && i < d->n_heads; i++)
		ret = vg_listen_open(vnc, i, &d->head[i].listen, err);
	for (uint32_t i = 0; ret == 0 && i < d->n_heads; i++)
		vg_loop_watch(d->h.loop, &d->head[i].watch, d->head[i].listen.fd);
	return ret;
}

static int setup(struct vg_helper *h, const struct vg_ipc *m, struct vg_ipc *answer,
		 struct vg_err *err)
{
	struct display *d = container_of(h, struct display, h);
	const struct vg_sandbox_needs *const all[] = { &vg_display_needs, NULL };
	struct vg_params params;
	const char *file, *tls;
	int ret = vg_params_parse(m->setup.spec, &params, err);

	(void)answer;
	if (ret < 0)
		return ret;
	snprintf(d->who, sizeof(d->who), "%s", m->setup.who);
	d->websocket = vg_params_bool(&params, display_params, "websocket");
	file = vg_params_str(&params, display_params, "password-file");
	tls = vg_params_str(&params, display_params, "vnc-tls");
	if (file)
		ret = read_password(d, file, err);
	if (ret == 0 && tls)
		ret = vg_tls_load(tls, &d->tls, err);
	vg_vnc_warm_up();
	if (ret == 0)
		ret = listen_all(d, &params, err);
	if (ret == 0)
		ret = vg_sandbox_enter(&m->setup.sandbox, all, err);
	confined = m->setup.sandbox.seccomp;
	return ret;
}

static void opened(struct vg_helper *h)
{
	say_shown(container_of(h, struct display, h));
}

static bool heard(struct vg_helper *h, const struct vg_ipc *m, int fd)
{
	struct display *d = container_of(h, struct display, h);

	if (fd < 0)
		return false;
	switch (m->type) {
	case VG_IPC_PEER:
		peer_new(d, fd);
		return true;
	case VG_IPC_INPUT:
		sink_new(d, fd);
		return true;
	case VG_IPC_VIEWER:
		if (m->look.head >= d->n_heads)
			return false;
		viewer_add(d, m->look.head, fd, true);
		return true;
	case VG_IPC_LOOK:
		show_once(d, m->look.head, fd);
		return false;
	default:
		return false;
	}
}

int vg_display_main(int sock)
{
	struct display *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return EXIT_FAILURE;
	vg_helper_begin();
	signal(SIGCHLD, SIG_IGN); /* viewers that end are nobody's to wait for */
	d->h = (struct vg_helper){ .setup = setup, .opened = opened, .heard = heard, .sock = sock };
	d->peer = d->frame = -1;
	for (unsigned i = 0; i < SINKS_MAX; i++)
		d->sink[i] = (struct sink){ .d = d, .sock = -1 };
	if (vg_helper_loop(&d->h, LOOP_ENTRIES) < 0)
		return EXIT_FAILURE;
	ret = vg_helper_run(&d->h);
	for (uint32_t i = 0; i < d->n_heads; i++)
		vg_listen_close(&d->head[i].listen);
	return ret;
}
