// SPDX-License-Identifier: GPL-2.0-or-later
/* listen.c - see listen.h */
#include "backend/displays/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/base/number.h"

enum {
	PORT_FIRST = 5900,
	PORT_LAST = 6923, /* as many as there are domains, or more */
	BACKLOG = 8,
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
};

/* Return: 0, or negative errno; *@fd is a socket then. */
static int try_listen(const union address *a, socklen_t len, int *fd)
{
	const int on = 1;
	int ret = 0;

	*fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return -errno;
	if (a->any.sa_family != AF_UNIX)
		setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->any.sa_family == AF_INET6)
		setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(*fd, &a->any, len) < 0 || listen(*fd, BACKLOG) < 0)
		ret = -errno;
	if (ret < 0)
		close(*fd);
	return ret;
}

/* ---- a path ----------------------------------------------------------------- */

/* A socket that nobody listens on any more is removed. */
static void remove_left_behind(const union address *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd >= 0 && lstat(a->un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    connect(fd, &a->any, sizeof(a->un)) < 0 && errno == ECONNREFUSED)
		unlink(a->un.sun_path);
	if (fd >= 0)
		close(fd);
}

static int open_path(const char *path, unsigned head, struct vg_listen *l, struct vg_err *err)
{
	union address a = { .un.sun_family = AF_UNIX };
	int ret;

	ret = head ? snprintf(l->where, sizeof(l->where), "%s.%u", path, head)
		   : snprintf(l->where, sizeof(l->where), "%s", path);
	if ((size_t)ret >= sizeof(a.un.sun_path))
		return vg_fail(err, -ENAMETOOLONG,
			       "vnc=%.100s...: the path is too long for a socket", path);
	memcpy(a.un.sun_path, l->where, (size_t)ret);
	remove_left_behind(&a);
	ret = try_listen(&a, sizeof(a.un), &l->fd);
	/* Whoever may connect sees the guest: that is for root to give away. */
	if (ret == 0 && chmod(l->where, 0600) < 0) {
		ret = -errno;
		close(l->fd);
	}
	if (ret == 0)
		return 0;
	l->fd = -1;
	return vg_fail(err, ret, "vnc=%.100s cannot be listened on: %s", path,
		       ret == -EADDRINUSE ? "something is there already" : strerror(-ret));
}

/* ---- an address -------------------------------------------------------------- */

/* "localhost", an address, "[::1]", each with ":PORT" or without. *@port: 0: none is said. */
static int parse(const char *text, union address *a, socklen_t *len, uint16_t *port,
		 struct vg_err *err)
{
	char host[64];
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
	size_t n = strlen(text);
	uint64_t v = 0;

	memset(a, 0, sizeof(*a));
	*port = 0;
	/* Without brackets more than one colon is an IPv6 address. */
	if (colon && (bracket ? colon > bracket : strchr(text, ':') == colon)) {
		if (vg_number(colon + 1, 10, UINT16_MAX, &v) < 0 || v == 0)
			return vg_fail(err, -EINVAL, "vnc=%.60s: '%.20s' is no port", text,
				       colon + 1);
		n = (size_t)(colon - text);
	}
	*port = (uint16_t)v;
	if (n > 1 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	snprintf(host, sizeof(host), "%.*s", (int)n, text);
	if (strcmp(host, "localhost") == 0)
		snprintf(host, sizeof(host), "127.0.0.1");
	*len = sizeof(a->v4);
	a->v4.sin_family = AF_INET;
	if (n < sizeof(host) && inet_pton(AF_INET, host, &a->v4.sin_addr) == 1)
		return 0;
	*len = sizeof(a->v6);
	a->v6.sin6_family = AF_INET6;
	if (n < sizeof(host) && inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1)
		return 0;
	return vg_fail(
		err, -EINVAL,
		"vnc=%.60s: it is off, localhost, an address of this domain in numbers (with "
		"a port or without), or a path",
		text);
}

static void set_port(union address *a, uint16_t port)
{
	if (a->any.sa_family == AF_INET)
		a->v4.sin_port = htons(port);
	else
		a->v6.sin6_port = htons(port);
}

static int open_address(const char *text, unsigned head, struct vg_listen *l, struct vg_err *err)
{
	union address a;
	socklen_t len = 0;
	uint16_t asked, port;
	char host[64];
	int ret = parse(text, &a, &len, &asked, err);

	if (ret < 0)
		return ret;
	if (asked > UINT16_MAX - head)
		return vg_fail(err, -EINVAL, "vnc=%.60s: there is no port for head %u", text, head);
	port = asked ? (uint16_t)(asked + head) : PORT_FIRST;
	do {
		set_port(&a, port);
		ret = try_listen(&a, len, &l->fd);
	} while (ret == -EADDRINUSE && !asked && port++ < PORT_LAST);
	if (ret < 0) {
		l->fd = -1;
		return vg_fail(err, ret, "vnc=%.60s: port %u cannot be listened on: %s%s", text,
			       port, ret == -EADDRINUSE ? "another program has it" : strerror(-ret),
			       asked ? "; without a port one is chosen that is free" : "");
	}
	inet_ntop(a.any.sa_family,
		  a.any.sa_family == AF_INET ? (void *)&a.v4.sin_addr : (void *)&a.v6.sin6_addr,
		  host, sizeof(host));
	l->port = port;
	snprintf(l->where, sizeof(l->where), a.any.sa_family == AF_INET ? "%s:%u" : "[%s]:%u", host,
		 port);
	return 0;
}

int vg_listen_check(const char *vnc, struct vg_err *err)
{
	union address a;
	socklen_t len;
	uint16_t port;

	return vnc[0] == '/' || strcmp(vnc, "off") == 0 ? 0 : parse(vnc, &a, &len, &port, err);
}

int vg_listen_check_tls(const char *value, struct vg_err *err)
{
	if (value[0] == '/' || strcmp(value, "anon") == 0)
		return 0;
	return vg_fail(err, -EINVAL,
		       "vnc-tls=%.60s: it is anon, or the folder of server-cert.pem and "
		       "server-key.pem",
		       value);
}

int vg_listen_open(const char *vnc, unsigned head, struct vg_listen *l, struct vg_err *err)
{
	*l = (struct vg_listen){ .fd = -1 };
	return vnc[0] == '/' ? open_path(vnc, head, l, err) : open_address(vnc, head, l, err);
}

void vg_listen_close(struct vg_listen *l)
{
	if (l->fd < 0)
		return;
	close(l->fd);
	l->fd = -1;
}
