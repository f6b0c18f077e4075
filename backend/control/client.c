// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * client.c - the bytes of one client of the control socket, in and out
 *
 * Nothing here reads what they mean; control.c explains when they move.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/control/int.h"
#include "backend/control/json.h"

/* Close and forget, but for the memory, which vg_client_reap() frees: somebody may be looking at it. */
void vg_client_drop(struct vg_client *client)
{
	struct vg_control_req *req = client->req;

	if (client->fd < 0)
		return;
	/* Said in so many words, because a worker that was forked meanwhile may hold a copy of the
	 * descriptor, and close() alone would then end nothing. */
	epoll_ctl(client->control->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
	shutdown(client->fd, SHUT_RDWR);
	close(client->fd);
	client->fd = -1;
	if (client->passed >= 0)
		close(client->passed);
	client->passed = -1;
	client->control->n_clients--;
	if (!req)
		return;
	req->client = NULL;
	client->req = NULL;
	if (req->gone)
		req->gone(req->gone_arg);
}

void vg_client_reap(struct vg_control *c)
{
	for (struct vg_client **p = &c->clients; *p;) {
		struct vg_client *client = *p;

		if (client->fd >= 0) {
			p = &client->next;
			continue;
		}
		*p = client->next;
		free(client->out);
		free(client);
	}
}

/* What to wait for: see the top of the file. A hangup is always reported. */
void vg_client_set_interest(struct vg_client *client)
{
	struct epoll_event ev = { .data.ptr = client };

	if (client->fd < 0)
		return;
	if (vg_client_unsent(client))
		ev.events = EPOLLOUT;
	else if (!client->req && !client->no_more)
		ev.events = EPOLLIN;
	if (ev.events == client->interest)
		return;
	client->interest = ev.events;
	epoll_ctl(client->control->epoll_fd, EPOLL_CTL_MOD, client->fd, &ev);
}

/* Queue @len bytes; serve() sends them. */
static int queue(struct vg_client *client, const char *bytes, size_t len)
{
	size_t unsent = client->out_len - client->out_sent;
	char *out;

	if (unsent + len > ANSWER_MAX)
		return -EMSGSIZE;
	if (unsent == 0)
		client->since = vg_now_ns();
	if (client->out_sent)
		memmove(client->out, client->out + client->out_sent, unsent);
	client->out_len = unsent;
	client->out_sent = 0;
	out = realloc(client->out, unsent + len);
	if (!out)
		return -ENOMEM;
	memcpy(out + unsent, bytes, len);
	client->out = out;
	client->out_len += len;
	vg_client_set_interest(client);
	return 0;
}

/* Queue @obj as a line. A client that cannot be answered is told nothing more, and closed. */
void vg_client_send(struct vg_client *client, struct json_object *obj)
{
	const char *text = json_object_to_json_string_ext(
		obj, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	int ret = text ? queue(client, text, strlen(text)) : -ENOMEM;

	if (ret == 0)
		ret = queue(client, "\n", 1);
	if (ret == 0)
		return;
	vg_error("an answer on the control socket could not be sent: %s", strerror(-ret));
	client->no_more = true;
	shutdown(client->fd, SHUT_RDWR);
}

void vg_client_send_error(struct vg_client *client, int code, const char *text)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "ok", json_object_new_boolean(false));
	json_object_object_add(obj, "error", vg_json_text(text));
	json_object_object_add(obj, "errno", json_object_new_int(-code));
	vg_client_send(client, obj);
	json_object_put(obj);
}

void vg_client_flush(struct vg_client *client)
{
	while (client->fd >= 0 && vg_client_unsent(client)) {
		ssize_t n = send(client->fd, client->out + client->out_sent,
				 client->out_len - client->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			vg_client_drop(client);
			return;
		}
		client->out_sent += (size_t)n;
		client->since = vg_now_ns();
	}
	/* Memory of a large answer is not kept. */
	free(client->out);
	client->out = NULL;
	client->out_len = 0;
	client->out_sent = 0;
}

/* Keep the last descriptor that came: no request takes more. */
static void keep_passed(struct vg_client *client, struct msghdr *mh)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(mh); h; h = CMSG_NXTHDR(mh, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= h->cmsg_len; at += sizeof(int)) {
			if (client->passed >= 0)
				close(client->passed);
			memcpy(&client->passed, (const char *)h + at, sizeof(int));
		}
	}
}

static ssize_t receive(struct vg_client *client, size_t room)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))]; /* the kernel closes what finds no room */
	} control;
	struct iovec iov = { .iov_base = client->in + client->in_len, .iov_len = room };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(client->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n >= 0)
		keep_passed(client, &mh);
	return n;
}

void vg_client_read(struct vg_client *client)
{
	size_t room = sizeof(client->in) - client->in_len;
	ssize_t n = room ? receive(client, room) : 0;

	if (room == 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	if (n < 0)
		vg_client_drop(client);
	else if (n == 0)
		client->no_more = true;
	else if (client->in_len == 0)
		client->since = vg_now_ns();
	if (n > 0)
		client->in_len += (size_t)n;
}
