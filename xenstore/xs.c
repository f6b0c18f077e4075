// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xs.c - see xs.h
 *
 * libxenstore waits for each answer, with no end to it. So a thread of ours makes
 * the calls, one at a time, and the caller waits for it with an end. What a call
 * needs is copied in and what it brings is copied out, because a caller that has
 * given up is gone when the answer comes.
 *
 * What must not race with a toolstack that removes nodes is done in a
 * transaction, and tried again for as long as xenstored says EAGAIN, with a
 * bound: a guest that writes all the time makes transactions fail.
 */
#include "xenstore/xs.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xenstore.h>

#include "backend/base/container.h"
#include "backend/base/loop.h"
#include "backend/base/number.h"

enum {
	TRIES = 50,
	TEXTS = 8192, /* bytes of the keys and values of one call; XENSTORE_PAYLOAD_MAX is 4096 */
};

/* What is asked, and what is answered. */
struct ask {
	char path[VG_XS_PATH], key[VG_XS_PATH];
	struct vg_xs_pair pair;
	uint32_t domid;
	unsigned n;   /* entries in texts; of an answer: names in result */
	unsigned len; /* bytes of result */
	void *result; /* malloc'd */
	struct xs_handle *opened;
	char texts[TEXTS]; /* for each entry "key", NUL, then 1 "value" NUL, or 0 */
	size_t used;
};

struct call {
	int (*run)(struct xs_handle *xs, struct ask *ask);
	struct ask *ask;
	int ret;
	bool done;
	bool abandoned; /* the caller has gone: the thread frees it */
	int64_t since_ns;
};

struct vg_xs {
	struct xs_handle *xs;
	pthread_t thread;
	pthread_mutex_t lock;	/* of what follows */
	pthread_cond_t to_do;	/* there is a call, or an end */
	pthread_cond_t is_done; /* it was made */
	struct call *call;	/* NULL: none under way */
	bool end;
};

/* ---- the thread --------------------------------------------------------- */

static void ask_free(struct ask *ask)
{
	if (!ask)
		return;
	if (ask->opened)
		xs_close(ask->opened);
	free(ask->result);
	free(ask);
}

static void call_free(struct call *call)
{
	ask_free(call->ask);
	free(call);
}

static void *make_calls(void *arg)
{
	struct vg_xs *x = arg;

	pthread_mutex_lock(&x->lock);
	for (;;) {
		struct call *call;
		int ret;

		while (!x->end && (!x->call || x->call->done))
			pthread_cond_wait(&x->to_do, &x->lock);
		if (x->end)
			break;
		call = x->call;
		pthread_mutex_unlock(&x->lock);
		ret = call->run(x->xs, call->ask);
		pthread_mutex_lock(&x->lock);
		call->ret = ret;
		call->done = true;
		if (call->abandoned) {
			x->call = NULL;
			call_free(call);
		}
		pthread_cond_signal(&x->is_done);
	}
	pthread_mutex_unlock(&x->lock);
	return NULL;
}

static struct ask *ask_new(const char *path, const char *key)
{
	struct ask *ask = malloc(sizeof(*ask));

	if (!ask)
		return NULL;
	/* Not texts, of which only what is used is read. */
	memset(ask, 0, offsetof(struct ask, texts));
	ask->used = 0;
	if ((size_t)snprintf(ask->path, sizeof(ask->path), "%s", path) >= sizeof(ask->path) ||
	    (size_t)snprintf(ask->key, sizeof(ask->key), "%s", key ? key : "") >=
		    sizeof(ask->key)) {
		free(ask);
		return NULL;
	}
	return ask;
}

/*
 * Have the thread do @run, and wait for it. @ask is ours again on return, unless that took too
 * long: then *@ask is NULL. Return: what @run returned; -ETIMEDOUT; -ENOMEM.
 */
static int call(struct vg_xs *x, int (*run)(struct xs_handle *xs, struct ask *ask),
		struct ask **ask)
{
	struct call *c = *ask ? calloc(1, sizeof(*c)) : NULL;
	struct timespec until;
	int ret = 0;

	if (!c)
		return -ENOMEM;
	*c = (struct call){ .run = run, .ask = *ask, .since_ns = vg_now_ns() };
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += VG_XS_PATIENCE_MS % 1000 * 1000000L;
	until.tv_sec += VG_XS_PATIENCE_MS / 1000 + until.tv_nsec / NS_PER_S;
	until.tv_nsec %= NS_PER_S;
	pthread_mutex_lock(&x->lock);
	if (x->call) {
		pthread_mutex_unlock(&x->lock);
		free(c);
		return -ETIMEDOUT;
	}
	x->call = c;
	pthread_cond_signal(&x->to_do);
	while (!c->done && ret == 0)
		ret = pthread_cond_timedwait(&x->is_done, &x->lock, &until);
	if (c->done) {
		ret = c->ret;
		x->call = NULL;
		pthread_mutex_unlock(&x->lock);
		free(c);
		return ret;
	}
	c->abandoned = true;
	*ask = NULL;
	pthread_mutex_unlock(&x->lock);
	vg_error("xenstored does not answer; nothing that it must be asked for goes on until it "
		 "does");
	return -ETIMEDOUT;
}

/* The same, of which only the result's code is wanted. */
static int call_only(struct vg_xs *x, int (*run)(struct xs_handle *xs, struct ask *ask),
		     struct ask *ask)
{
	int ret = call(x, run, &ask);

	ask_free(ask);
	return ret;
}

static void destroy(struct vg_xs *x)
{
	pthread_cond_destroy(&x->to_do);
	pthread_cond_destroy(&x->is_done);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

/* xs_open() waits, too, where a xenstored that stands still has as many unaccepted connections as it may. */
static int run_open(struct xs_handle *xs, struct ask *ask)
{
	(void)xs;
	ask->opened = xs_open(0);
	return ask->opened ? 0 : errno ? -errno : -ENOENT;
}

static int open_handle(struct vg_xs *x)
{
	struct ask *ask = ask_new("", NULL);
	int ret = call(x, run_open, &ask);

	if (ret == 0) {
		x->xs = ask->opened;
		ask->opened = NULL;
	}
	ask_free(ask);
	return ret;
}

int vg_xs_open(struct vg_xs **out)
{
	struct vg_xs *x = calloc(1, sizeof(*x));
	pthread_condattr_t attr;
	int ret;

	if (!x)
		return -ENOMEM;
	pthread_mutex_init(&x->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&x->to_do, NULL);
	pthread_cond_init(&x->is_done, &attr);
	pthread_condattr_destroy(&attr);
	ret = -pthread_create(&x->thread, NULL, make_calls, x);
	if (ret) {
		destroy(x);
		return ret;
	}
	ret = open_handle(x);
	if (ret)
		vg_xs_close(x);
	else
		*out = x;
	return ret;
}

void vg_xs_close(struct vg_xs *x)
{
	bool stuck;

	if (!x)
		return;
	pthread_mutex_lock(&x->lock);
	stuck = x->call != NULL;
	x->end = true;
	pthread_cond_signal(&x->to_do);
	pthread_mutex_unlock(&x->lock);
	if (stuck)
		return;
	pthread_join(x->thread, NULL);
	if (x->xs)
		xs_close(x->xs);
	destroy(x);
}

int64_t vg_xs_stuck_ns(struct vg_xs *x)
{
	int64_t ns;

	pthread_mutex_lock(&x->lock);
	ns = x->call ? vg_now_ns() - x->call->since_ns : 0;
	pthread_mutex_unlock(&x->lock);
	return ns;
}

/* ---- watches ------------------------------------------------------------ */

int vg_xs_fd(struct vg_xs *x)
{
	return xs_fileno(x->xs);
}

char *vg_xs_event(struct vg_xs *x)
{
	char **event = xs_check_watch(x->xs);
	char *path = event ? strdup(event[XS_WATCH_PATH]) : NULL;

	free(event);
	return path;
}

static int run_watch(struct xs_handle *xs, struct ask *ask)
{
	return xs_watch(xs, ask->path, ask->key) || errno == EEXIST ? 0 : -errno;
}

int vg_xs_watch(struct vg_xs *x, const char *path, const char *token)
{
	return call_only(x, run_watch, ask_new(path, token));
}

static int run_unwatch(struct xs_handle *xs, struct ask *ask)
{
	return xs_unwatch(xs, ask->path, ask->key) ? 0 : -errno;
}

int vg_xs_unwatch(struct vg_xs *x, const char *path, const char *token)
{
	return call_only(x, run_unwatch, ask_new(path, token));
}

/* ---- reading ------------------------------------------------------------ */

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

/* DIR/KEY. -ENAMETOOLONG: it is not read as another one. */
static int join(char *path, size_t size, const char *dir, const char *key)
{
	return (size_t)snprintf(path, size, "%s/%s", dir, key) < size ? 0 : -ENAMETOOLONG;
}

static int run_read(struct xs_handle *xs, struct ask *ask)
{
	char path[2 * VG_XS_PATH];

	join(path, sizeof(path), ask->path, ask->key);
	ask->result = xs_read(xs, XBT_NULL, ask->key[0] ? path : ask->path, &ask->len);
	if (ask->result)
		return 0;
	/* What we may not read is as good as not there. */
	return errno == EACCES ? -ENOENT : errno ? -errno : -EIO;
}

int vg_xs_text_dup(struct vg_xs *x, const char *dir, const char *key, char **out)
{
	struct ask *ask = ask_new(dir, key);
	int ret = call(x, run_read, &ask);

	*out = NULL;
	if (ret == 0) {
		const unsigned char *text = ask->result;

		for (unsigned i = 0; ret == 0 && i < ask->len; i++) {
			if (text[i] < 0x20 || text[i] == 0x7f)
				ret = -EINVAL;
		}
	}
	if (ret == 0) { /* libxenstore puts a NUL behind it */
		*out = ask->result;
		ask->result = NULL;
	}
	ask_free(ask);
	return ret;
}

int vg_xs_text(struct vg_xs *x, const char *dir, const char *key, char *buf, size_t size)
{
	char *text;
	int ret = vg_xs_text_dup(x, dir, key, &text);

	if (ret < 0)
		return ret;
	if (strlen(text) < size)
		memcpy(buf, text, strlen(text) + 1);
	else
		ret = -EINVAL;
	free(text);
	return ret;
}

int vg_xs_u32(struct vg_xs *x, const char *dir, const char *key, uint32_t max, uint32_t *out)
{
	uint64_t v;
	char *text;
	int ret = vg_xs_text_dup(x, dir, key, &text);

	if (ret == 0)
		ret = vg_number(text, 10, max, &v);
	if (ret == 0)
		*out = (uint32_t)v;
	free(text);
	return ret;
}

int vg_xs_state(struct vg_xs *x, const char *dir, enum vg_xenbus_state *out)
{
	uint32_t s;
	int ret = vg_xs_u32(x, dir, "state", VG_XENBUS_CLOSED, &s);

	*out = ret == 0 ? (enum vg_xenbus_state)s : VG_XENBUS_UNKNOWN;
	return ret == -ENOENT || ret == -EINVAL ? 0 : ret;
}

int vg_xs_exists(struct vg_xs *x, const char *path)
{
	int ret = call_only(x, run_read, ask_new(path, NULL));

	return ret == 0 ? 1 : ret == -ENOENT ? 0 : ret;
}

/* The first entry is the owner's, who may do all; its letter is for those who are not named. */
static int run_rights(struct xs_handle *xs, struct ask *ask)
{
	unsigned n = 0, given;
	struct xs_permissions *perms = xs_get_permissions(xs, XBT_NULL, ask->path, &n);

	if (!perms)
		return errno == EACCES ? -ENOENT : errno ? -errno : -EIO;
	given = n ? perms[0].perms : XS_PERM_NONE;
	for (unsigned i = 1; i < n; i++) {
		if (perms[i].id == ask->domid) {
			given = perms[i].perms;
			break;
		}
	}
	if (n && perms[0].id == ask->domid)
		given = XS_PERM_READ | XS_PERM_WRITE;
	free(perms);
	return (given & XS_PERM_READ ? VG_XS_READS : 0) |
	       (given & XS_PERM_WRITE ? VG_XS_WRITES : 0);
}

int vg_xs_rights(struct vg_xs *x, const char *path, uint32_t domid)
{
	struct ask *ask = ask_new(path, NULL);

	if (ask)
		ask->domid = domid;
	return call_only(x, run_rights, ask);
}

static int run_introduced(struct xs_handle *xs, struct ask *ask)
{
	errno = 0;
	if (xs_is_domain_introduced(xs, ask->domid))
		return 1;
	return -errno; /* 0: xenstored said no */
}

int vg_xs_introduced(struct vg_xs *x, uint32_t domid)
{
	struct ask *ask = ask_new("", NULL);

	if (ask)
		ask->domid = domid;
	return call_only(x, run_introduced, ask);
}

static int run_list(struct xs_handle *xs, struct ask *ask)
{
	ask->result = xs_directory(xs, XBT_NULL, ask->path, &ask->n);
	if (ask->result)
		return 0;
	return errno == ENOENT || errno == EACCES ? 0 : -errno;
}

int vg_xs_list(struct vg_xs *x, const char *path, char ***list, unsigned *n)
{
	struct ask *ask = ask_new(path, NULL);
	int ret = call(x, run_list, &ask);

	*list = NULL;
	*n = 0;
	if (ret == 0 && ask->result) {
		*list = ask->result;
		*n = ask->n;
		ask->result = NULL;
	}
	ask_free(ask);
	return ret;
}

/* ---- writing ------------------------------------------------------------ */

/* Append @entries to @ask; those without a value too if @removals. Return: @ask, or NULL. */
static struct ask *with_entries(struct ask *ask, const struct vg_xs_entry *entries, unsigned n,
				bool removals)
{
	for (unsigned i = 0; ask && i < n; i++) {
		const char *value = entries[i].value;
		size_t k = strlen(entries[i].key) + 1, v = value ? strlen(value) + 1 : 0;

		if (!value && !removals)
			continue;
		if (ask->used + k + 1 + v > sizeof(ask->texts)) {
			free(ask);
			return NULL;
		}
		memcpy(ask->texts + ask->used, entries[i].key, k);
		ask->used += k;
		ask->texts[ask->used++] = value != NULL;
		if (value)
			memcpy(ask->texts + ask->used, value, v);
		ask->used += v;
		ask->n++;
	}
	return ask;
}

static int write_key(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key,
		     const char *value)
{
	char path[2 * VG_XS_PATH];

	if (join(path, sizeof(path), dir, key) < 0)
		return -ENAMETOOLONG;
	if (value)
		return xs_write(xs, t, path, value, (unsigned)strlen(value)) ? 0 : -errno;
	return xs_rm(xs, t, path) || errno == ENOENT ? 0 : -errno;
}

static int write_entries(struct xs_handle *xs, xs_transaction_t t, const char *dir,
			 const struct ask *ask)
{
	const char *p = ask->texts;
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < ask->n; i++) {
		const char *key = p;
		const char *value = key + strlen(key) + 2;

		if (!value[-1])
			value = NULL;
		ret = write_key(xs, t, dir, key, value);
		p = value ? value + strlen(value) + 1 : key + strlen(key) + 2;
	}
	return ret;
}

/* Return: 1, 0, or negative errno. */
static int exists(struct xs_handle *xs, xs_transaction_t t, const char *path)
{
	char *value = xs_read(xs, t, path, NULL);
	int ret = value ? 1 : errno == ENOENT ? 0 : -errno;

	free(value);
	return ret;
}

/* Commit, or, when @ret says that something failed, abort. Return: 0, @ret, or negative errno. */
static int finish(struct xs_handle *xs, xs_transaction_t t, int ret)
{
	if (ret < 0) {
		xs_transaction_end(xs, t, true);
		return ret;
	}
	return xs_transaction_end(xs, t, false) ? 0 : -errno;
}

static int run_put(struct xs_handle *xs, struct ask *ask)
{
	return write_entries(xs, XBT_NULL, ask->path, ask);
}

int vg_xs_put(struct vg_xs *x, const char *dir, const char *key, const char *value)
{
	const struct vg_xs_entry entry = { key, value };

	return call_only(x, run_put, with_entries(ask_new(dir, NULL), &entry, 1, true));
}

static int run_update(struct xs_handle *xs, struct ask *ask)
{
	int ret = -EAGAIN;

	for (int i = 0; ret == -EAGAIN && i < TRIES; i++) {
		xs_transaction_t t = xs_transaction_start(xs);

		if (t == XBT_NULL)
			return -errno;
		ret = exists(xs, t, ask->path);
		if (ret == 0)
			ret = -ENOENT;
		if (ret > 0)
			ret = write_entries(xs, t, ask->path, ask);
		ret = finish(xs, t, ret);
	}
	return ret;
}

int vg_xs_update(struct vg_xs *x, const char *dir, const struct vg_xs_entry *entries, unsigned n)
{
	return call_only(x, run_update, with_entries(ask_new(dir, NULL), entries, n, true));
}

int vg_xs_update_one(struct vg_xs *x, const char *dir, const char *key, const char *value)
{
	const struct vg_xs_entry entry = { key, value };

	return vg_xs_update(x, dir, &entry, 1);
}

/* ---- pairs -------------------------------------------------------------- */

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

/* In transaction @t. Return: 0 or negative errno. */
static int make_both(struct xs_handle *xs, xs_transaction_t t, struct ask *ask)
{
	const struct vg_xs_pair *p = &ask->pair;
	char guest[16], backend[16], state[4], dir[VG_XS_PATH];
	const struct {
		const char *dir, *key, *value;
	} keys[] = {
		{ p->f, "backend", p->b },	{ p->f, "backend-id", backend },
		{ p->f, "state", state },	{ p->b, "frontend", p->f },
		{ p->b, "frontend-id", guest }, { p->b, "online", "1" },
	};
	int ret;

	snprintf(guest, sizeof(guest), "%u", p->guest);
	snprintf(backend, sizeof(backend), "%u", p->backend);
	snprintf(state, sizeof(state), "%d", VG_XENBUS_INITIALISING);
	snprintf(dir, sizeof(dir), "/local/domain/%u", p->guest);
	ret = exists(xs, t, dir);
	if (ret <= 0)
		return ret < 0 ? ret : -ENOENT;
	ret = exists(xs, t, p->b);
	if (ret != 0)
		return ret < 0 ? ret : -EEXIST;
	ret = make_dir(xs, t, p->f, p->guest, p->backend);
	if (ret == 0)
		ret = make_dir(xs, t, p->b, p->backend, p->guest);
	for (size_t i = 0; ret == 0 && i < COUNT(keys); i++)
		ret = write_key(xs, t, keys[i].dir, keys[i].key, keys[i].value);
	if (ret == 0)
		ret = write_entries(xs, t, p->b, ask);
	return ret < 0 ? ret : write_key(xs, t, p->b, "state", state);
}

static int run_make_pair(struct xs_handle *xs, struct ask *ask)
{
	int ret = -EAGAIN;

	for (int i = 0; ret == -EAGAIN && i < TRIES; i++) {
		xs_transaction_t t = xs_transaction_start(xs);

		ret = t == XBT_NULL ? -errno : finish(xs, t, make_both(xs, t, ask));
		if (t == XBT_NULL)
			break;
	}
	return ret;
}

int vg_xs_make_pair(struct vg_xs *x, const struct vg_xs_pair *p, const struct vg_xs_entry *entries,
		    unsigned n)
{
	struct ask *ask = with_entries(ask_new("", NULL), entries, n, false);

	if (ask)
		ask->pair = *p;
	return call_only(x, run_make_pair, ask);
}

static int run_remove_pair(struct xs_handle *xs, struct ask *ask)
{
	char parent[VG_XS_PATH];
	unsigned n = 0;
	char **list;
	int ret = 0;

	if (!xs_rm(xs, XBT_NULL, ask->pair.f) && errno != ENOENT)
		ret = -errno;
	if (!xs_rm(xs, XBT_NULL, ask->pair.b) && errno != ENOENT)
		ret = -errno;
	snprintf(parent, sizeof(parent), "%s", ask->pair.b);
	*strrchr(parent, '/') = '\0';
	list = xs_directory(xs, XBT_NULL, parent, &n);
	if (list && n == 0)
		xs_rm(xs, XBT_NULL, parent);
	free(list);
	return ret;
}

int vg_xs_remove_pair(struct vg_xs *x, const struct vg_xs_pair *p)
{
	struct ask *ask = ask_new("", NULL);

	if (ask)
		ask->pair = *p;
	return call_only(x, run_remove_pair, ask);
}
