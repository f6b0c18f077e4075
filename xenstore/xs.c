// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xs.c - see xs.h
 *
 * What must not race with a toolstack that removes nodes is done in a
 * transaction, and tried again for as long as xenstored says EAGAIN, with a
 * bound: a guest that writes all the time makes transactions fail.
 */
#include "xenstore/xs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"

enum { TRIES = 50 };

const char *vg_xenbus_state_name(enum vg_xenbus_state s)
{
	static const char *const names[] = { "Unknown",	  "Initialising", "InitWait", "Initialised",
					     "Connected", "Closing",	  "Closed" };

	return (unsigned)s < COUNT(names) ? names[s] : "Unknown";
}

void vg_xs_pair_init(struct vg_xs_pair *p, const char *kind, uint32_t guest, uint32_t backend,
		     uint32_t id)
{
	memset(p, 0, sizeof(*p));
	snprintf(p->kind, sizeof(p->kind), "%s", kind);
	p->id = id;
	p->guest = guest;
	p->backend = backend;
	snprintf(p->b, sizeof(p->b), "/local/domain/%u/backend/%s/%u/%u", backend, kind, guest, id);
	snprintf(p->f, sizeof(p->f), "/local/domain/%u/device/%s/%u", guest, kind, id);
}

static void join(char *path, const char *dir, const char *key)
{
	snprintf(path, VG_XS_PATH, "%s/%s", dir, key);
}

int vg_xs_text(struct xs_handle *xs, const char *dir, const char *key, char *buf, size_t size)
{
	char path[VG_XS_PATH];
	unsigned len = 0;
	char *value;
	int ret = 0;

	join(path, dir, key);
	value = xs_read(xs, XBT_NULL, path, &len);
	if (!value)
		return errno == EACCES ? -ENOENT : errno ? -errno : -EIO;
	if (len >= size)
		ret = -EINVAL;
	for (unsigned i = 0; ret == 0 && i < len; i++) {
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			ret = -EINVAL;
	}
	if (ret == 0) {
		memcpy(buf, value, len);
		buf[len] = '\0';
	}
	free(value);
	return ret;
}

int vg_xs_u32(struct xs_handle *xs, const char *dir, const char *key, uint32_t max, uint32_t *out)
{
	char text[16] = "";
	uint64_t v = 0;
	int ret = vg_xs_text(xs, dir, key, text, sizeof(text));

	if (ret < 0)
		return ret;
	if (!text[0])
		return -EINVAL;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(*c - '0');
		if (v > max)
			return -EINVAL;
	}
	*out = (uint32_t)v;
	return 0;
}

enum vg_xenbus_state vg_xs_state(struct xs_handle *xs, const char *dir)
{
	uint32_t s;

	if (vg_xs_u32(xs, dir, "state", VG_XENBUS_CLOSED, &s) < 0)
		return VG_XENBUS_UNKNOWN;
	return (enum vg_xenbus_state)s;
}

static bool exists(struct xs_handle *xs, xs_transaction_t t, const char *path)
{
	char *value = xs_read(xs, t, path, NULL);

	free(value);
	return value != NULL;
}

bool vg_xs_exists(struct xs_handle *xs, const char *path)
{
	return exists(xs, XBT_NULL, path);
}

int vg_xs_put(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key,
	      const char *fmt, ...)
{
	char path[VG_XS_PATH];
	char value[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(value))
		return -E2BIG;
	join(path, dir, key);
	return xs_write(xs, t, path, value, (unsigned)n) ? 0 : -errno;
}

int vg_xs_update(struct xs_handle *xs, const char *dir, const char *key, const char *value)
{
	char path[VG_XS_PATH];

	join(path, dir, key);
	for (int i = 0; i < TRIES; i++) {
		xs_transaction_t t = xs_transaction_start(xs);
		bool ok;

		if (t == XBT_NULL)
			return -errno;
		if (!exists(xs, t, dir)) {
			xs_transaction_end(xs, t, true);
			return -ENOENT;
		}
		ok = value ? xs_write(xs, t, path, value, (unsigned)strlen(value))
			   : xs_rm(xs, t, path) || errno == ENOENT;
		if (!ok) {
			int e = errno;

			xs_transaction_end(xs, t, true);
			return -e;
		}
		if (xs_transaction_end(xs, t, false))
			return 0;
		if (errno != EAGAIN)
			return -errno;
	}
	return -EAGAIN;
}

int vg_xs_put_state(struct xs_handle *xs, const char *dir, enum vg_xenbus_state s)
{
	char value[4];

	snprintf(value, sizeof(value), "%d", (int)s);
	return vg_xs_update(xs, dir, "state", value);
}

/* A directory that @owner owns and @reader may read. */
static int make_dir(struct xs_handle *xs, xs_transaction_t t, const char *path, uint32_t owner,
		    uint32_t reader)
{
	struct xs_permissions perms[2] = {
		{ .id = owner, .perms = XS_PERM_NONE },
		{ .id = reader, .perms = XS_PERM_READ },
	};

	if (!xs_mkdir(xs, t, path) || !xs_set_permissions(xs, t, path, perms, 2))
		return -errno;
	return 0;
}

/* Return: 0; negative errno, of which -EAGAIN is worth another try. */
static int try_make_pair(struct xs_handle *xs, const struct vg_xs_pair *p, const char *const *keys)
{
	xs_transaction_t t = xs_transaction_start(xs);
	char guest[VG_XS_PATH];
	int ret;

	if (t == XBT_NULL)
		return -errno;
	snprintf(guest, sizeof(guest), "/local/domain/%u", p->guest);
	ret = !exists(xs, t, guest) ? -ENOENT : exists(xs, t, p->b) ? -EEXIST : 0;
	if (ret == 0)
		ret = make_dir(xs, t, p->f, p->guest, p->backend);
	if (ret == 0)
		ret = make_dir(xs, t, p->b, p->backend, p->guest);
	if (ret == 0)
		ret = vg_xs_put(xs, t, p->f, "backend", "%s", p->b);
	if (ret == 0)
		ret = vg_xs_put(xs, t, p->f, "backend-id", "%u", p->backend);
	if (ret == 0)
		ret = vg_xs_put(xs, t, p->f, "state", "%d", VG_XENBUS_INITIALISING);
	if (ret == 0)
		ret = vg_xs_put(xs, t, p->b, "frontend", "%s", p->f);
	if (ret == 0)
		ret = vg_xs_put(xs, t, p->b, "frontend-id", "%u", p->guest);
	if (ret == 0)
		ret = vg_xs_put(xs, t, p->b, "online", "1");
	for (; ret == 0 && keys[0]; keys += 2)
		ret = vg_xs_put(xs, t, p->b, keys[0], "%s", keys[1]);
	if (ret == 0)
		ret = vg_xs_put(xs, t, p->b, "state", "%d", VG_XENBUS_INITIALISING);
	if (ret < 0) {
		xs_transaction_end(xs, t, true);
		return ret;
	}
	return xs_transaction_end(xs, t, false) ? 0 : -errno;
}

int vg_xs_make_pair(struct xs_handle *xs, const struct vg_xs_pair *p, const char *const *keys)
{
	int ret = -EAGAIN;

	for (int i = 0; ret == -EAGAIN && i < TRIES; i++)
		ret = try_make_pair(xs, p, keys);
	return ret;
}

/* Remove the directory at @path when nothing is in it. */
static void remove_if_empty(struct xs_handle *xs, const char *path)
{
	unsigned n = 0;
	char **list = xs_directory(xs, XBT_NULL, path, &n);

	if (list && n == 0)
		xs_rm(xs, XBT_NULL, path);
	free(list);
}

void vg_xs_remove_pair(struct xs_handle *xs, const struct vg_xs_pair *p)
{
	char parent[VG_XS_PATH];

	xs_rm(xs, XBT_NULL, p->f);
	xs_rm(xs, XBT_NULL, p->b);
	snprintf(parent, sizeof(parent), "%s", p->b);
	*strrchr(parent, '/') = '\0';
	remove_if_empty(xs, parent);
}
