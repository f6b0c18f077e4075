// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * control.c - see control.h
 *
 * All descriptors stand in one epoll set, and the loop watches that set: epoll
 * knows both directions, the loop only reading. All reading, writing and
 * closing happens in serve(), on the loop's call; what a handler answers is
 * merely queued. So no function that a handler calls ever calls back.
 *
 *	listener -> client: bytes -> line -> request -> handler
 *	                    bytes <- queue <- answer <- vg_control_ok(), _fail(), _line()
 *
 * A client is read from only while it waits for nothing: no request under way, no
 * answer unsent. That bounds what it can make us hold to one line and one answer.
 * One that does not send its line whole, or does not take its answer, within some
 * seconds is dropped; so is one that says nothing for long.
 *
 * A request outlives its client: the handler finishes it in any case.
 */
#include "backend/control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/control/int.h"
#include "backend/control/json.h"

/* ---- serving ------------------------------------------------------------ */

/* Handle lines while nothing is waited for. Return: false: there are more, for later. */
static bool handle_lines(struct vg_client *client)
{
	for (int i = 0; i < LINES; i++) {
		char line[REQUEST_MAX];
		char *end;
		size_t len;

		if (client->fd < 0 || client->req || vg_client_unsent(client))
			return true;
		end = memchr(client->in, '\n', client->in_len);
		if (!end)
			return true;
		len = (size_t)(end - client->in);
		memcpy(line, client->in, len);
		line[len] = '\0';
		client->in_len -= len + 1;
		memmove(client->in, end + 1, client->in_len);
		client->since = vg_now_ns();
		vg_control_handle_line(client, line, len);
		vg_client_flush(client);
	}
	return false;
}

/* Do what can be done for a client now. */
static void pump(struct vg_client *client)
{
	struct vg_control *c = client->control;

	vg_client_flush(client);
	if (!handle_lines(client))
		vg_loop_timer(c->loop, &c->again, 0);
	if (client->fd < 0)
		return;
	/* One that has taken all of a stream, be it at once, hears what it missed. */
	if (client->req && !vg_client_unsent(client))
		vg_control_caught_up(client->req);
	if (client->in_len == sizeof(client->in) && !memchr(client->in, '\n', client->in_len)) {
		vg_client_send_error(client, -E2BIG, "the request is too long");
		client->in_len = 0;
		client->no_more = true;
		vg_client_flush(client);
	}
	if (client->no_more && !client->req && !vg_client_unsent(client) &&
	    !memchr(client->in, '\n', client->in_len))
		vg_client_drop(client);
	vg_client_set_interest(client);
}

/* Root and our own user may all; the socket's group may look. Return: 0 or -EACCES. */
static int judge(const struct vg_control *c, int fd, bool *may_change)
{
	gid_t groups[GROUPS_MAX];
	struct ucred peer;
	socklen_t len = sizeof(peer);

	*may_change = false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -EACCES;
	if (peer.uid == 0 || peer.uid == geteuid()) {
		*may_change = true;
		return 0;
	}
	if (c->cfg.group == (gid_t)-1)
		return -EACCES;
	if (peer.gid == c->cfg.group)
		return 0;
	len = sizeof(groups);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return -EACCES;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++) {
		if (groups[i] == c->cfg.group)
			return 0;
	}
	return -EACCES;
}

static struct vg_client *client_new(struct vg_control *c, int fd)
{
	struct vg_client *client = calloc(1, sizeof(*client));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = client };

	if (!client || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		free(client);
		return NULL;
	}
	client->control = c;
	client->fd = fd;
	client->passed = -1;
	client->interest = EPOLLIN;
	client->since = vg_now_ns();
	client->next = c->clients;
	c->clients = client;
	if (c->n_clients++ == 0)
		vg_loop_timer(c->loop, &c->second, NS_PER_S);
	return client;
}

int vg_control_adopt(struct vg_control *c, int fd)
{
	struct vg_client *client = client_new(c, fd);

	if (!client) {
		close(fd);
		return -ENOMEM;
	}
	client->kept = true;
	return 0;
}

/* A new client, or one that is told at once why not. Return: false: there is no more to accept. */
static bool accept_one(struct vg_control *c)
{
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct vg_client *client;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
		vg_error("the control socket cannot accept: %s", strerror(errno));
		epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, c->listen_fd, NULL);
		c->listening = false;
		vg_loop_timer(c->loop, &c->second, NS_PER_S);
	}
	if (fd < 0)
		return false;
	client = client_new(c, fd);
	if (!client) {
		close(fd);
		return true;
	}
	if (judge(c, fd, &client->may_change) < 0) {
		vg_client_send_error(
			client, -EACCES,
			"only root may talk to vgrantd, and the members of the group that "
			"vgrantd.conf names in [control]");
		client->no_more = true;
	} else if (c->n_clients > CLIENTS_MAX) {
		vg_client_send_error(client, -EBUSY,
				     "vgrantd has too many clients already; try again");
		client->no_more = true;
	}
	if (client->no_more) {
		vg_client_flush(client);
		vg_client_drop(client);
	}
	return true;
}

static void serve(struct vg_control *c)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct epoll_event ev[CLIENTS_MAX + 1];
		int n;

		vg_client_reap(c);
		n = epoll_wait(c->epoll_fd, ev, CLIENTS_MAX + 1, 0);
		if (n <= 0)
			return;
		for (int i = 0; i < n; i++) {
			struct vg_client *client = ev[i].data.ptr;

			if (!client) {
				for (int k = 0; k < CLIENTS_MAX && accept_one(c); k++)
					;
			} else if (client->fd >= 0) {
				if (ev[i].events & (EPOLLHUP | EPOLLERR))
					vg_client_drop(client);
				else if (ev[i].events & EPOLLIN)
					vg_client_read(client);
				pump(client);
			}
		}
	}
	/* Whoever keeps us so busy can wait: the loop has other things to do. */
	vg_loop_timer(c->loop, &c->again, NS_PER_S / 1000);
}

static void watch_ready(struct vg_watch *w, unsigned events)
{
	(void)events;
	serve(container_of(w, struct vg_control, watch));
}

static void again_expired(struct vg_timer *t)
{
	struct vg_control *c = container_of(t, struct vg_control, again);

	for (struct vg_client *client = c->clients; client; client = client->next) {
		if (client->fd >= 0)
			pump(client);
	}
	serve(c);
}

static bool listen_on(struct vg_control *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };

	c->listening = epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->listen_fd, &ev) == 0;
	return c->listening;
}

static void second_expired(struct vg_timer *t)
{
	struct vg_control *c = container_of(t, struct vg_control, second);
	int64_t now = vg_now_ns();

	for (struct vg_client *client = c->clients; client; client = client->next) {
		bool busy = vg_client_unsent(client) || client->in_len > 0;
		int64_t limit = (busy ? SLOW_S : IDLE_S) * NS_PER_S;

		/* A request under way is the handler's to end, but its stream must be read; what is held
		 * for who hears of events is little, and they are told what they miss. */
		if ((client->req && client->req->of_events) || (client->kept && !busy))
			continue;
		if (client->fd >= 0 && (!client->req || vg_client_unsent(client)) &&
		    now - client->since > limit)
			vg_client_drop(client);
	}
	vg_client_reap(c);
	if (!c->listening)
		listen_on(c);
	if (c->n_clients || !c->listening)
		vg_loop_timer(c->loop, &c->second, NS_PER_S);
}

/* ---- the socket --------------------------------------------------------- */

/* The folder of the socket, if it is not there. */
static int make_folder(const char *path, struct vg_err *err)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;
	int ret;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	if (mkdir(dir, 0755) == 0 || errno == EEXIST)
		return 0;
	ret = -errno;
	return vg_fail(err, ret, "the folder %s cannot be made: %s", dir, strerror(-ret));
}

/* A POSIX lock, which fork() does not inherit: a worker that outlives us must not hold it. */
static int take_lock(struct vg_control *c, struct vg_err *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[sizeof(c->path) + 8];
	int ret;

	snprintf(path, sizeof(path), "%s.lock", c->path);
	c->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->lock_fd < 0) {
		ret = -errno;
		return vg_fail(err, ret, "%s cannot be opened: %s%s", path, strerror(-ret),
			       ret == -EACCES ? "; run vgrantd as root" : "");
	}
	if (fcntl(c->lock_fd, F_SETLK, &lock) == 0)
		return 0;
	if (fcntl(c->lock_fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
		return vg_fail(err, -EADDRINUSE,
			       "vgrantd is running already, as process %ld; stop that one first",
			       (long)lock.l_pid);
	return vg_fail(err, -EADDRINUSE, "%s cannot be locked: is vgrantd running already?", path);
}

/* Under the lock, a socket of that name is one that a dead daemon left. */
static int make_socket(struct vg_control *c, struct vg_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int ret;

	memcpy(addr.sun_path, c->path, sizeof(c->path));
	if (lstat(c->path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return vg_fail(err, -EEXIST,
				       "%s is in the way: it is no socket; remove it, or set "
				       "runtime-dir in [daemon]",
				       c->path);
		unlink(c->path);
	}
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mask = umask(0177); /* until chown() and chmod() */
	ret = c->listen_fd < 0 ? -1 : bind(c->listen_fd, (struct sockaddr *)&addr, sizeof(addr));
	if (ret < 0)
		ret = -errno;
	else
		c->bound = true;
	umask(mask);
	if (ret == 0 && chown(c->path, (uid_t)-1, c->cfg.group) < 0)
		ret = -errno;
	if (ret == 0 && chmod(c->path, c->cfg.mode) < 0)
		ret = -errno;
	if (ret == 0 && listen(c->listen_fd, CLIENTS_MAX) < 0)
		ret = -errno;
	if (ret < 0)
		vg_fail(err, ret, "the control socket %s cannot be made: %s", c->path,
			strerror(-ret));
	return ret;
}

static int set_up(struct vg_control *c, struct vg_err *err)
{
	int ret = make_folder(c->path, err);

	if (ret == 0)
		ret = take_lock(c, err);
	if (ret == 0)
		ret = make_socket(c, err);
	if (ret < 0)
		return ret;
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll_fd < 0 || !listen_on(c))
		return vg_fail(err, -errno, "the control socket cannot be watched: %s",
			       strerror(errno));
	return 0;
}

int vg_control_new(struct vg_loop *loop, const struct vg_control_config *cfg,
		   struct vg_control **out, struct vg_err *err)
{
	struct vg_control *c;
	int ret;

	if (strlen(cfg->path) >= sizeof(c->path))
		return vg_fail(
			err, -ENAMETOOLONG,
			"the control socket's path %s is too long: set a shorter runtime-dir",
			cfg->path);
	c = calloc(1, sizeof(*c));
	if (!c)
		return vg_fail(err, -ENOMEM, "out of memory");
	c->loop = loop;
	c->cfg = *cfg;
	c->lock_fd = c->listen_fd = c->epoll_fd = -1;
	c->watch.ready = watch_ready;
	c->again.expired = again_expired;
	c->second.expired = second_expired;
	memcpy(c->path, cfg->path, strlen(cfg->path));
	c->cfg.path = c->path;
	ret = set_up(c, err);
	if (ret < 0) {
		vg_control_free(c);
		return ret;
	}
	vg_loop_watch(loop, &c->watch, c->epoll_fd);
	*out = c;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vg_control_free(struct vg_control *c)
{
	if (!c)
		return;
	for (struct vg_client *client = c->clients; client; client = client->next) {
		vg_client_flush(client);
		vg_client_drop(client);
	}
	vg_client_reap(c);
	while (c->requests)
		vg_control_req_free(c->requests);
	vg_loop_unwatch(&c->watch);
	vg_loop_timer_stop(&c->again);
	vg_loop_timer_stop(&c->second);
	if (c->bound)
		unlink(c->path);
	close_fd(c->listen_fd);
	close_fd(c->epoll_fd);
	close_fd(c->lock_fd);
	free(c);
}
