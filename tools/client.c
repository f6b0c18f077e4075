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

/* Return: a descriptor, or -1 after a complaint. */
static int connect_daemon(const struct vgrant_options *opt)
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

static bool send_line(int fd, const char *text)
{
	size_t len = strlen(text), sent = 0;

	while (sent <= len) { /* the terminating NUL is sent as a newline */
		const char *from = sent == len ? "\n" : text + sent;
		ssize_t n = send(fd, from, sent == len ? 1 : len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		sent += (size_t)n;
	}
	return true;
}

/* One line that is not the last: a stream's. */
static void print_stream(struct json_object *obj)
{
	uint64_t dropped = vgrant_number(obj, "dropped");

	if (dropped)
		vgrant_complain("%llu lines were dropped: this side reads too slowly",
				(unsigned long long)dropped);
	printf("%s\n", vgrant_printable(vgrant_text(obj, "line")));
	fflush(stdout);
}

/* Read lines up to the last one of the answer. Return: its object, or NULL after a complaint. */
static struct json_object *read_answer(int fd)
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
		print_stream(obj);
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

/* A short answer, of one line, that may bring a descriptor: *@given, or -1. NULL: as read_answer(). */
static struct json_object *read_with_descriptor(int fd, int *given)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	char line[4096];
	struct json_object *obj = NULL;
	size_t len = 0;
	ssize_t n;

	*given = -1;
	do {
		struct iovec iov = { line + len, sizeof(line) - 1 - len };
		struct msghdr m = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control,
				    .msg_controllen = sizeof(control) };
		struct cmsghdr *c;

		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
		len += n > 0 ? (size_t)n : 0;
		c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
		if (c && c->cmsg_type == SCM_RIGHTS && *given < 0)
			memcpy(given, CMSG_DATA(c), sizeof(int));
	} while (n > 0 && line[len - 1] != '\n' && len < sizeof(line) - 1);
	line[len] = '\0';
	obj = json_tokener_parse(line);
	if (vgrant_member(obj, "ok"))
		return obj;
	vgrant_complain("vgrantd closed the connection before it answered");
	json_object_put(obj);
	if (*given >= 0)
		close(*given);
	*given = -1;
	return NULL;
}

/* @given: NULL: an answer that brings no descriptor. */
static int ask(const struct vgrant_options *opt, struct json_object **answer, int *given,
	       const char *cmd, const struct vgrant_arg *args)
{
	struct json_object *request, *obj = NULL;
	int fd = connect_daemon(opt);
	int ret;

	if (fd < 0)
		return VGRANT_NO_DAEMON;
	request = make_request(cmd, args);
	/* Even when sending fails there may be an answer: why we are not welcome. */
	(void)send_line(fd, json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN));
	json_object_put(request);
	obj = given ? read_with_descriptor(fd, given) : read_answer(fd);
	close(fd);
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
	return ask(opt, answer, NULL, cmd, args);
}

int vgrant_ask_for(const struct vgrant_options *opt, int *given, const char *cmd,
		   const struct vgrant_arg *args)
{
	int ret = ask(opt, NULL, given, cmd, args);

	if (ret == VGRANT_OK && *given < 0) {
		vgrant_complain("vgrantd answered without a descriptor: is it of another version?");
		ret = VGRANT_FAILED;
	}
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
