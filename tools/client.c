// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * client.c - one request to vgrantd and its answer; see backend/control/control.h for the lines
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/daemon/settings.h"
#include "tools/vgrant.h"

enum { PATIENCE_S = 30 }; /* vgrantd itself waits for a worker at most some seconds */

struct json_object *vgrant_member(struct json_object *obj, const char *key)
{
	struct json_object *value = NULL;

	if (json_object_is_type(obj, json_type_object))
		json_object_object_get_ex(obj, key, &value);
	return value;
}

const char *vgrant_text(struct json_object *obj, const char *key)
{
	struct json_object *value = vgrant_member(obj, key);

	return value ? json_object_get_string(value) : "";
}

uint64_t vgrant_number(struct json_object *obj, const char *key)
{
	struct json_object *value = vgrant_member(obj, key);

	return value ? json_object_get_uint64(value) : 0;
}

struct json_object *vgrant_find_device(struct json_object *devices, const char *id)
{
	for (size_t i = 0; devices && i < json_object_array_length(devices); i++) {
		struct json_object *dev = json_object_array_get_idx(devices, i);

		if (strcmp(vgrant_text(dev, "id"), id) == 0 ||
		    strcmp(vgrant_text(dev, "name"), id) == 0)
			return dev;
	}
	return NULL;
}

/* The socket's path: --socket, or where vgrantd.conf puts it (a mistake in it is vgrantd's to tell). */
static void socket_path(const struct vgrant_options *opt, struct sockaddr_un *addr)
{
	static struct vg_settings settings;
	char path[sizeof(addr->sun_path)];

	(void)vg_settings_load(&settings, NULL, NULL);
	vg_settings_socket(&settings, path, sizeof(path));
	addr->sun_family = AF_UNIX;
	snprintf(addr->sun_path, sizeof(addr->sun_path), "%s", opt->socket ? opt->socket : path);
}

int vgrant_connect(const struct vgrant_options *opt)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	struct sockaddr_un addr = { 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	socket_path(opt, &addr);
	if (fd < 0) {
		vgrant_complain("no socket: %s", strerror(errno));
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED)
		vgrant_complain("vgrantd is not running (nobody listens at %s); start it with: "
				"systemctl start vgrantd",
				addr.sun_path);
	else if (errno == EACCES || errno == EPERM)
		vgrant_complain(
			"you may not talk to vgrantd at %s: run vgrant as root, or, to look "
			"only, as a member of the group that vgrantd.conf names in [control]",
			addr.sun_path);
	else
		vgrant_complain("vgrantd cannot be reached at %s: %s", addr.sun_path,
				strerror(errno));
	close(fd);
	return -1;
}

bool vgrant_is_there(const struct vgrant_options *opt)
{
	struct sockaddr_un addr = { 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool there;

	socket_path(opt, &addr);
	there = fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
	if (fd >= 0)
		close(fd);
	return there;
}

static struct json_object *make_request(const char *cmd, const struct vgrant_arg *args)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "cmd", json_object_new_string(cmd));
	for (; args && args->key; args++) {
		if (args->value)
			json_object_object_add(obj, args->key, json_object_new_string(args->value));
	}
	return obj;
}

/* Some bytes, with a descriptor; -1: with none. */
static ssize_t send_some(int fd, const char *from, size_t len, int fd_to_pass)
{
	struct iovec iov = { .iov_base = (char *)(uintptr_t)from, .iov_len = len };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS } };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd_to_pass >= 0) {
		memcpy(CMSG_DATA(&control.head), &fd_to_pass, sizeof(int));
		mh.msg_control = control.bytes;
		mh.msg_controllen = sizeof(control.bytes);
	}
	return sendmsg(fd, &mh, MSG_NOSIGNAL);
}

static bool send_line(int fd, const char *text, int fd_to_pass)
{
	size_t len = strlen(text), sent = 0;

	while (sent <= len) { /* the terminating NUL is sent as a newline */
		const char *from = sent == len ? "\n" : text + sent;
		ssize_t n =
			send_some(fd, from, sent == len ? 1 : len - sent, sent ? -1 : fd_to_pass);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		sent += (size_t)n;
	}
	return true;
}

/* One line that is not the last: a trace's. */
static void print_line(struct json_object *obj, void *ctx)
{
	uint64_t dropped = vgrant_number(obj, "dropped");

	if (dropped)
		vgrant_complain("%llu lines were dropped: this side reads too slowly",
				(unsigned long long)dropped);
	(void)ctx;
	printf("%s\n", vgrant_printable(vgrant_text(obj, "line")));
	fflush(stdout);
}

/* Read lines up to the last one of the answer. Return: its object, or NULL after a complaint. */
static struct json_object *read_answer(int fd, void (*more)(struct json_object *obj, void *ctx),
				       void *ctx)
{
	FILE *in = fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 0), "r");
	struct json_object *obj = NULL;
	bool heard = false; /* a line that is not a part of a stream */
	char *line = NULL;
	size_t size = 0;

	errno = 0;
	while (in && getline(&line, &size, in) > 0) {
		heard = true;
		obj = json_tokener_parse(line);
		if (!json_object_get_boolean(vgrant_member(obj, "more")))
			break;
		more(obj, ctx);
		json_object_put(obj);
		obj = NULL;
		heard = false;
		errno = 0;
	}
	if (!vgrant_member(obj, "ok")) {
		if (heard)
			vgrant_complain("what listens there does not answer like vgrantd");
		else if (errno == EAGAIN)
			vgrant_complain(
				"vgrantd has not answered for %d s; its log says what it does",
				PATIENCE_S);
		else
			vgrant_complain("vgrantd closed the connection before it answered");
		json_object_put(obj);
		obj = NULL;
	}
	free(line);
	if (in)
		fclose(in);
	return obj;
}

void vgrant_request(int fd, const char *cmd, const struct vgrant_arg *args, int fd_to_pass)
{
	struct json_object *request = make_request(cmd, args);

	/* Even when sending fails there may be an answer: why we are not welcome. */
	(void)send_line(fd, json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN),
			fd_to_pass);
	json_object_put(request);
}

int vgrant_answer(int fd, struct json_object **answer)
{
	return vgrant_stream(fd, print_line, NULL, answer);
}

int vgrant_stream(int fd, void (*more)(struct json_object *obj, void *ctx), void *ctx,
		  struct json_object **answer)
{
	struct json_object *obj = read_answer(fd, more, ctx);
	int ret;

	if (!obj)
		return VGRANT_NO_DAEMON;
	if (!json_object_get_boolean(vgrant_member(obj, "ok"))) {
		vgrant_complain("%s", vgrant_printable(vgrant_text(obj, "error")));
		ret = vgrant_number(obj, "errno") == EACCES ? VGRANT_NO_DAEMON : VGRANT_FAILED;
		json_object_put(obj);
		return ret;
	}
	if (answer)
		*answer = obj;
	else
		json_object_put(obj);
	return VGRANT_OK;
}

int vgrant_ask(const struct vgrant_options *opt, struct json_object **answer, const char *cmd,
	       const struct vgrant_arg *args)
{
	int fd = vgrant_connect(opt);
	int ret;

	if (fd < 0)
		return VGRANT_NO_DAEMON;
	vgrant_request(fd, cmd, args, -1);
	ret = vgrant_answer(fd, answer);
	close(fd);
	return ret;
}

int vgrant_devices(const struct vgrant_options *opt, const char *guest, struct json_object **answer,
		   struct json_object **devices)
{
	int ret = vgrant_ask(opt, answer, "list", VGRANT_ARGS({ "guest", guest }));

	if (ret != VGRANT_OK)
		return ret;
	*devices = vgrant_member(*answer, "devices");
	if (json_object_is_type(*devices, json_type_array))
		return VGRANT_OK;
	vgrant_complain("vgrantd answered without a list: is it of another version?");
	return VGRANT_FAILED;
}

bool vgrant_is_a(struct json_object *dev, const char *type)
{
	return strcmp(vgrant_text(dev, "type"), type) == 0;
}
