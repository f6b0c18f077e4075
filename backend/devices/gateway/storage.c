// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * storage.c - disks that are no files of this machine: of what in QEMU's block layer an address speaks
 *
 *	nbd://HOST[:PORT]/EXPORT		nbd+unix:///EXPORT?socket=/PATH
 *	nfs://HOST/FOLDER/FILE			iscsi://HOST[:PORT]/IQN/LUN
 *	rbd:POOL[/NAMESPACE]/IMAGE[@SNAPSHOT]
 *
 * as their users write them, with %XX for what has a meaning there (RFC 3986, section 2.1). What comes
 * out are options of --blockdev (qemu-storage-daemon(1)); which of them a driver has says
 * BlockdevOptions in QEMU's qapi/block-core.json.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/devices/gateway/int.h"

/* A server of NBD that is away: requests wait for so long, then they fail. */
#define NBD_WAIT "300"

struct address {
	char host[256], port[8], path[VG_PARAMS_LEN], query[VG_PARAMS_LEN];
};

struct scheme {
	const char *name;
	bool opaque; /* no //HOST */
	bool local;  /* needs no network */
	const char *driver, *form;
	int (*put)(const struct address *a, char *out, size_t size);
};

void gw_option(char *to, size_t size, const char *key, const char *value)
{
	size_t n = strlen(to);

	if (n)
		n += (size_t)snprintf(to + n, size - n, ",");
	n += (size_t)snprintf(to + n, size - n, "%s=", key);
	for (; *value && n + 3 < size; value++) {
		to[n++] = *value;
		if (*value == ',')
			to[n++] = ',';
	}
	to[n] = '\0';
}

/* ---- what each scheme says --------------------------------------------------- */

static int nbd(const struct address *a, char *out, size_t size)
{
	if (!a->host[0] || a->query[0])
		return -EINVAL;
	gw_option(out, size, "server.type", "inet");
	gw_option(out, size, "server.host", a->host);
	gw_option(out, size, "server.port", a->port[0] ? a->port : "10809");
	gw_option(out, size, "export", a->path);
	gw_option(out, size, "reconnect-delay", NBD_WAIT);
	return 0;
}

static int nbd_unix(const struct address *a, char *out, size_t size)
{
	if (a->host[0] || strncmp(a->query, "socket=/", 8) != 0)
		return -EINVAL;
	gw_option(out, size, "server.type", "unix");
	gw_option(out, size, "server.path", a->query + 7);
	gw_option(out, size, "export", a->path);
	gw_option(out, size, "reconnect-delay", NBD_WAIT);
	return 0;
}

static int nfs(const struct address *a, char *out, size_t size)
{
	char path[VG_PARAMS_LEN + 1];

	if (!a->host[0] || a->port[0] || a->query[0] || !strchr(a->path, '/'))
		return -EINVAL;
	snprintf(path, sizeof(path), "/%s", a->path);
	gw_option(out, size, "server.type", "inet");
	gw_option(out, size, "server.host", a->host);
	gw_option(out, size, "path", path);
	return 0;
}

static int iscsi(const struct address *a, char *out, size_t size)
{
	const char *lun = strrchr(a->path, '/');
	char portal[sizeof(a->host) + sizeof(a->port) + 4], target[VG_PARAMS_LEN];

	if (!a->host[0] || a->query[0] || !lun || lun == a->path || !lun[1] ||
	    strspn(lun + 1, "0123456789") != strlen(lun + 1))
		return -EINVAL;
	snprintf(portal, sizeof(portal), strchr(a->host, ':') ? "[%s]:%s" : "%s:%s", a->host,
		 a->port[0] ? a->port : "3260");
	snprintf(target, sizeof(target), "%.*s", (int)(lun - a->path), a->path);
	gw_option(out, size, "transport", "tcp");
	gw_option(out, size, "portal", portal);
	gw_option(out, size, "target", target);
	gw_option(out, size, "lun", lun + 1);
	return 0;
}

static int rbd(const struct address *a, char *out, size_t size)
{
	char text[VG_PARAMS_LEN], *pool = text, *middle, *image, *snapshot;

	snprintf(text, sizeof(text), "%s", a->path);
	image = strrchr(text, '/');
	if (!image || image == text)
		return -EINVAL;
	*image++ = '\0';
	middle = strchr(pool, '/');
	if (middle)
		*middle++ = '\0';
	snapshot = strchr(image, '@');
	if (snapshot)
		*snapshot++ = '\0';
	if (!*image || (middle && (!*middle || strchr(middle, '/'))) || (snapshot && !*snapshot))
		return -EINVAL;
	gw_option(out, size, "pool", pool);
	if (middle)
		gw_option(out, size, "namespace", middle);
	gw_option(out, size, "image", image);
	if (snapshot)
		gw_option(out, size, "snapshot", snapshot);
	return 0;
}

static const struct scheme schemes[] = {
	{ "nbd", false, false, "nbd", "nbd://HOST[:PORT]/EXPORT", nbd },
	{ "nbd+unix", false, true, "nbd", "nbd+unix:///EXPORT?socket=/PATH", nbd_unix },
	{ "nfs", false, false, "nfs", "nfs://HOST/FOLDER/FILE", nfs },
	{ "iscsi", false, false, "iscsi", "iscsi://HOST[:PORT]/IQN/LUN", iscsi },
	{ "rbd", true, false, "rbd", "rbd:POOL[/NAMESPACE]/IMAGE[@SNAPSHOT]", rbd },
};

/* ---- taking an address apart --------------------------------------------------- */

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Return: 0, or -EINVAL: too long, or %XX is none, or a control character. */
static int unescape(const char *from, size_t n, char *out, size_t size)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		char c = from[i];

		if (c == '%') {
			int high = i + 2 < n ? hex(from[i + 1]) : -1;
			int low = i + 2 < n ? hex(from[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EINVAL;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (k + 1 >= size || (unsigned char)c < ' ' || c == 0x7f)
			return -EINVAL;
		out[k++] = c;
	}
	out[k] = '\0';
	return 0;
}

/* "HOST:PORT", "[V6]:PORT" */
static int take_host(const char *at, size_t n, struct address *a)
{
	const char *end = at + n, *host = at, *port;
	size_t length;

	if (*at == '[') {
		const char *close = memchr(at, ']', n);

		if (!close)
			return -EINVAL;
		host = at + 1;
		length = (size_t)(close - host);
		port = close + 1;
	} else {
		port = memchr(at, ':', n);
		port = port ? port : end;
		length = (size_t)(port - host);
	}
	if (port < end && (*port != ':' || end - port < 2 || end - port > 6 ||
			   strspn(port + 1, "0123456789") < (size_t)(end - port - 1)))
		return -EINVAL;
	if (port < end)
		snprintf(a->port, sizeof(a->port), "%.*s", (int)(end - port - 1), port + 1);
	return unescape(host, length, a->host, sizeof(a->host));
}

static int take_apart(const struct scheme *s, const char *text, struct address *a)
{
	size_t path, query;
	int ret = 0;

	*a = (struct address){ .host = "" };
	text += strlen(s->name) + 1;
	if (!s->opaque) {
		text += 2;
		path = strcspn(text, "/");
		ret = take_host(text, path, a);
		text += path;
		text += *text == '/';
	}
	query = strcspn(text, s->opaque ? "" : "?");
	if (ret == 0)
		ret = unescape(text, query, a->path, sizeof(a->path));
	text += query;
	text += *text == '?';
	return ret == 0 ? unescape(text, strlen(text), a->query, sizeof(a->query)) : ret;
}

static const struct scheme *find(const char *target)
{
	for (const struct scheme *s = schemes; s < schemes + COUNT(schemes); s++) {
		size_t n = strlen(s->name);

		if (strncmp(target, s->name, n) == 0 && target[n] == ':' &&
		    (s->opaque || strncmp(target + n + 1, "//", 2) == 0))
			return s;
	}
	return NULL;
}

bool gw_storage_is(const char *target)
{
	return target[0] != '/' && (find(target) || strstr(target, "://"));
}

bool gw_storage_is_remote(const char *target)
{
	const struct scheme *s = find(target);

	return s && !s->local;
}

int gw_storage_options(const char *target, char *out, size_t size, struct vg_err *err)
{
	const struct scheme *s = find(target);
	struct address a;

	if (!s)
		return vg_fail(err, -EINVAL,
			       "target=%.100s: disks are at nbd://, nbd+unix://, nfs://, iscsi:// "
			       "and rbd: addresses, or paths of this domain",
			       target);
	out[0] = '\0';
	gw_option(out, size, "driver", s->driver);
	if (take_apart(s, target, &a) < 0 || s->put(&a, out, size) < 0)
		return vg_fail(err, -EINVAL, "target=%.100s must have the form %s", target,
			       s->form);
	return 0;
}
