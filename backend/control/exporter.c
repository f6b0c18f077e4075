// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * exporter.c - see exporter.h
 *
 * Whoever may connect may send anything, slowly, or not read: that is why this is a process of its own,
 * without rights, and why all it holds is bounded. It is a client of the control socket that may look,
 * and asks for a list when somebody asks for the page, once a second at most.
 *
 *	READING --- the request is whole ---> WAITING --- the list has come ---> WRITING ---> closed
 *
 * Each has its time, after which the client is closed. When a client comes and there is no room, the
 * one that has been READING for longest has to go: who sends slowly, or nothing, keeps nobody out.
 */
#include "backend/control/exporter.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/ticks.h"
#include "backend/control/http.h"
#include "backend/control/metrics.h"
#include "backend/worker/ipc.h"

enum {
	CLIENTS = 16,
	REQUEST_MAX = 4096,  /* bytes */
	LIST_MAX = 16 << 20, /* bytes of a list; twice what control.c sends at most */
	READ_S = 5,
	WAIT_S = 10,
	WRITE_S = 30,
};

#define FRESH_NS 1000000000LL /* a page is shown for so long */
#define S_NS	 1000000000LL

/* A page, which several clients may be getting. */
struct page {
	unsigned refs;
	size_t len;
	char *text;
};

struct client {
	int fd; /* -1: free */
	enum { READING, WAITING, WRITING } phase;
	int64_t until;
	size_t n; /* bytes in in, and then in head */
	bool head_only;
	char in[REQUEST_MAX];
	char head[256];
	struct page *page;
	size_t sent; /* of head and page */
};

static struct exporter {
	int sock, listen, control; /* control -1: not yet */
	bool open, ending, asked;
	struct client client[CLIENTS];
	struct page *page; /* the last; NULL: none yet */
	int64_t page_ns;
	char *list; /* what has come of the answer */
	size_t n_list, size_list;
} e;

/* ---- pages ------------------------------------------------------------------ */

static void drop_page(struct page **p)
{
	if (*p && --(*p)->refs == 0) {
		free((*p)->text);
		free(*p);
	}
	*p = NULL;
}

/* Return: NULL: out of memory. */
static struct page *make_page(struct json_object *devices)
{
	struct page *p = calloc(1, sizeof(*p));
	FILE *out = p ? open_memstream(&p->text, &p->len) : NULL;
	bool whole = false;

	if (out) {
		vg_metrics_print(devices, out);
		whole = !ferror(out);
		whole = fclose(out) == 0 && whole;
	}
	if (whole) {
		p->refs = 1;
		return p;
	}
	if (p)
		free(p->text);
	free(p);
	return NULL;
}

/* ---- clients ---------------------------------------------------------------- */

static void drop(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	drop_page(&c->page);
}

/* As much as the socket takes. */
static void write_some(struct client *c)
{
	size_t body = c->page && !c->head_only ? c->page->len : 0;

	while (c->sent < c->n + body) {
		bool in_head = c->sent < c->n;
		const char *from = in_head ? c->head + c->sent : c->page->text + (c->sent - c->n);
		size_t len = in_head ? c->n - c->sent : body - (c->sent - c->n);
		ssize_t n = send(c->fd, from, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			drop(c);
			return;
		}
		c->sent += (size_t)n;
	}
	/* What it sent beyond its request must not turn our end into a reset. */
	shutdown(c->fd, SHUT_WR);
	while (recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT) > 0)
		;
	drop(c);
}

/* @page: NULL: the status says it all. */
static void answer(struct client *c, int status, struct page *page)
{
	size_t len = page ? page->len : strlen(vg_http_reason(status)) + 1;

	c->n = vg_http_head(c->head, sizeof(c->head), status, page ? VG_METRICS_TYPE : "text/plain",
			    len);
	if (!page)
		c->n += (size_t)snprintf(c->head + c->n, sizeof(c->head) - c->n, "%s\n",
					 vg_http_reason(status));
	c->page = page;
	if (page)
		page->refs++;
	c->sent = 0;
	c->phase = WRITING;
	c->until = vg_now_ns() + WRITE_S * S_NS;
	write_some(c);
}

static void ask(void)
{
	static const char request[] = "{\"cmd\":\"list\"}\n";

	if (e.asked || e.control < 0)
		return;
	if (send(e.control, request, sizeof(request) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		e.ending = true;
	e.asked = true;
}

static void read_some(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->n, sizeof(c->in) - c->n, MSG_DONTWAIT);
	int status;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->n += (size_t)n;
	status = vg_http_parse(c->in, c->n, "/metrics", &c->head_only);
	if (status == VG_HTTP_MORE && c->n < sizeof(c->in))
		return;
	if (status != VG_HTTP_OK) {
		answer(c, status == VG_HTTP_MORE ? 431 : status, NULL);
	} else if (e.page && vg_now_ns() - e.page_ns < FRESH_NS) {
		answer(c, VG_HTTP_OK, e.page);
	} else {
		c->phase = WAITING;
		c->until = vg_now_ns() + WAIT_S * S_NS;
		ask();
	}
}

/* A place for one more: one that is free, or that of who reads for longest. NULL: none. */
static struct client *place(void)
{
	struct client *oldest = NULL;

	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &e.client[i];

		if (c->fd < 0)
			return c;
		if (c->phase == READING && (!oldest || c->until < oldest->until))
			oldest = c;
	}
	return oldest;
}

static void take_client(void)
{
	struct client *c = place();
	int fd = c ? accept4(e.listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;

	if (fd < 0)
		return;
	drop(c);
	c->fd = fd;
	c->phase = READING;
	c->n = 0;
	c->until = vg_now_ns() + READ_S * S_NS;
}

/* Those whose time is over. */
static void expire(void)
{
	int64_t now = vg_now_ns();

	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &e.client[i];

		if (c->fd < 0 || now < c->until)
			continue;
		if (c->phase == WAITING)
			answer(c, 503, NULL);
		else
			drop(c);
	}
}

/* ---- the supervisor --------------------------------------------------------- */

/* The list has come. */
static void listed(const char *text)
{
	struct json_object *obj = json_tokener_parse(text), *devices = NULL;
	struct page *p = NULL;

	e.asked = false;
	if (json_object_object_get_ex(obj, "devices", &devices))
		p = make_page(devices);
	json_object_put(obj);
	if (p) {
		drop_page(&e.page);
		e.page = p;
		e.page_ns = vg_now_ns();
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (e.client[i].fd >= 0 && e.client[i].phase == WAITING)
			answer(&e.client[i], p ? VG_HTTP_OK : 503, p);
	}
}

/* Return: whether there is room for more of the list. */
static bool grow(void)
{
	size_t size = e.size_list ? 2 * e.size_list : 1 << 16;
	char *list;

	if (e.n_list + 1 < e.size_list)
		return true;
	list = size > LIST_MAX ? NULL : realloc(e.list, size);
	if (!list)
		return false;
	e.list = list;
	e.size_list = size;
	return true;
}

static void hear_list(void)
{
	ssize_t n = grow() ? recv(e.control, e.list + e.n_list, e.size_list - e.n_list - 1,
				  MSG_DONTWAIT)
			   : 0;
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		e.ending = true; /* another begins anew */
		return;
	}
	end = memchr(e.list + e.n_list, '\n', (size_t)n);
	e.n_list += (size_t)n;
	if (!end)
		return;
	*end = '\0';
	listed(e.list);
	e.n_list = 0;
}

static void setup(const struct vg_ipc *m)
{
	static const struct vg_sandbox_call calls[] = { VG_CALLS_POLL, VG_CALL(accept4),
							VG_CALL(shutdown),
							VG_CALL(getrandom), /* json-c */
							VG_CALLS_END };
	static const struct vg_sandbox_needs needs = { .calls = calls };
	const struct vg_sandbox_needs *const all[] = { &needs, NULL };
	struct vg_ipc said = { .type = VG_IPC_OPENED };
	struct vg_err err = { "" };
	int ret;

	vg_log_init((enum vg_log_target)m->setup.log_target, (enum vg_log_level)m->setup.log_level,
		    m->setup.who);
	ret = vg_sandbox_enter(&m->setup.sandbox, all, &err);
	if (ret < 0) {
		said = (struct vg_ipc){ .type = VG_IPC_FAILED, .error = ret };
		snprintf(said.text, sizeof(said.text), "%s", err.text);
		e.ending = true;
	}
	e.open = ret == 0;
	vg_ipc_send(e.sock, &said, -1);
}

static bool is_waited_for(void)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (e.client[i].fd >= 0 && e.client[i].phase == WAITING)
			return true;
	}
	return false;
}

static void hear_supervisor(void)
{
	struct vg_ipc m;
	int fd = -1;
	int ret = vg_ipc_recv(e.sock, &m, &fd);

	if (ret == -EAGAIN)
		return;
	if (ret <= 0 || m.type == VG_IPC_QUIESCE) {
		e.ending = true;
	} else if (m.type == VG_IPC_SETUP && !e.open) {
		setup(&m);
	} else if (m.type == VG_IPC_CONTROL && e.control < 0) {
		e.control = fd;
		fd = -1;
		if (is_waited_for())
			ask();
	}
	if (fd >= 0)
		close(fd);
}

/* ---- life ------------------------------------------------------------------- */

static void serve_client(struct client *c, short events)
{
	if (c->fd < 0)
		return;
	if (c->phase == READING)
		read_some(c);
	else if (c->phase == WRITING)
		write_some(c);
	else if (events & (POLLHUP | POLLERR))
		drop(c);
}

static void turn(void)
{
	struct pollfd f[3 + CLIENTS] = {
		{ .fd = e.sock, .events = POLLIN },
		{ .fd = e.open && place() ? e.listen : -1, .events = POLLIN },
		{ .fd = e.control, .events = POLLIN },
	};
	bool busy = false;

	for (unsigned i = 0; i < CLIENTS; i++) {
		const struct client *c = &e.client[i];

		f[3 + i].fd = c->fd;
		f[3 + i].events = c->phase == READING ? POLLIN : c->phase == WRITING ? POLLOUT : 0;
		busy |= c->fd >= 0;
	}
	if (poll(f, COUNT(f), busy ? 1000 : -1) < 0)
		return;
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (f[3 + i].revents)
			serve_client(&e.client[i], f[3 + i].revents);
	}
	if (f[2].revents)
		hear_list();
	if (f[1].revents)
		take_client();
	if (f[0].revents)
		hear_supervisor();
	expire();
}

int vg_exporter_main(int sock, int listen)
{
	/* A terminal's ^C goes to the whole group; the supervisor decides when we end. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	e.sock = sock;
	e.listen = listen;
	e.control = -1;
	for (unsigned i = 0; i < CLIENTS; i++)
		e.client[i].fd = -1;
	while (!e.ending)
		turn();
	return EXIT_SUCCESS;
}
