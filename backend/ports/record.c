// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * record.c - see record.h
 *
 *	head | state 0 | state 1 | spec | counters, live view | in-flight areas, a page each at least
 *
 *	state: its fixed part | pools | queues | the device's own bytes
 *
 * Writers know the layout by the head, which only the supervisor writes, but for `active`. Readers
 * (of another process, or of another version of this program) take the head for what it is, numbers
 * of somebody else's: every range that follows from it is checked before it is used.
 *
 * Reading copies the file first, by pread(2): a file that becomes shorter meanwhile yields an error
 * and no signal.
 */
#include "backend/ports/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/virtio/port.h"

#define MAGIC	0x56475245434f5244ULL /* "VGRECORD" */
#define VERSION 3u

enum {
	PAGE = 4096,
	LINE = 64, /* counters of different threads lie in different cache lines */
	FIXED = offsetof(struct vg_record_state, pool), /* bytes of a state's fixed part */
	HEAD_MAX = 1 << 20, /* a reader's bounds: of all before the in-flight areas, */
	FILE_MAX = 1 << 28, /* of the file, */
	STRIDE_MAX = 4096,  /* of an element, */
	QUEUES_MAX = 4096,  /* and of how many there are */
};

/* An array: @n elements of @size bytes, one each @stride bytes, from @at of the file on. */
struct array {
	uint32_t at, stride, size, n;
};

struct vg_record_head {
	uint64_t magic;
	uint32_t version;
	_Atomic uint32_t active; /* 0 or 1: index into states. The worker's; all else is fixed. */
	uint32_t file_bytes;
	uint32_t head_bytes; /* before the in-flight areas */
	struct array states; /* their fixed parts: size is FIXED */
	struct array pools;  /* of state 0; those of state 1 lie states.stride bytes behind */
	struct array queues; /* the same */
	struct array saved;  /* the same; one element */
	struct array spec;   /* one element: a string */
	struct array offered, stats, queue_stats, hyper, live;
	struct array areas; /* struct area */
};

struct area {
	uint32_t at, bytes;
};

_Static_assert(sizeof(struct vg_record_head) == 24 + 11 * sizeof(struct array), "no padding");

/* Whether two heads, whose `active` was set to the same, say the same. */
static bool same_head(const struct vg_record_head *a, const struct vg_record_head *b)
{
	/* There is no padding; it is _Atomic that clang-tidy cannot see through. */
	return memcmp(a, b, sizeof(*a)) == 0; /* NOLINT(bugprone-suspicious-memory-comparison) */
}

/* A worker's own copy: where things lie does not change if the file is taken away. */
struct vg_record_layout {
	struct vg_record_head head;
	struct area areas[VG_MAX_QUEUES];
};

/* Version 2, of vgrant before records described themselves. In-flight areas: one for each of 65
 * queues, from a page's start, for rings of queue_size_max. */
struct v2 {
	uint64_t magic;
	uint32_t version, queue_size_max, active, reserved;
	struct v2_state {
		uint32_t connected, control_ref, control_channel, status;
		uint64_t features;
		uint32_t generation, n_pools;
		struct vg_record_pool pool[16];
		uint8_t saved[64];
		struct vg_record_queue queue[65];
	} state[2];
	uint64_t offered;
	uint64_t stats[8], hyper[9];
	uint64_t live[65][8];
};
_Static_assert(sizeof(struct v2) == 8936, "as it was");

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* The layout serves both ring formats: the larger of the two. */
static size_t inflight_bytes(uint32_t queue_max)
{
	size_t split = vg_vq_inflight_size(queue_max, false);
	size_t packed = vg_vq_inflight_size(queue_max, true);

	return round_up(split > packed ? split : packed, PAGE);
}

/* ---- laying out ---------------------------------------------------------- */

static struct array place(uint32_t *at, size_t size, size_t stride, uint32_t n)
{
	struct array a = { .at = *at, .stride = (uint32_t)stride, .size = (uint32_t)size, .n = n };

	*at += (uint32_t)stride * n;
	return a;
}

/* Return: 0; -EINVAL: no such shape. */
static int lay_out(const struct vg_record_shape *shape, struct vg_record_head *h,
		   struct area *areas)
{
	uint32_t n = shape->n_queues, at = (uint32_t)round_up(sizeof(*h), LINE), state = at;

	if (n == 0 || n > VG_MAX_QUEUES || shape->saved_size > VG_RECORD_SAVED_MAX)
		return -EINVAL;
	memset(h, 0, sizeof(*h));
	h->magic = MAGIC;
	h->version = VERSION;
	h->states = place(&at, FIXED, FIXED, 1);
	h->pools = place(&at, sizeof(struct vg_record_pool), sizeof(struct vg_record_pool),
			 VG_LIMIT_POOLS);
	h->queues = place(&at, sizeof(struct vg_record_queue), sizeof(struct vg_record_queue), n);
	h->saved = place(&at, shape->saved_size, round_up(shape->saved_size, 8), 1);
	h->states.stride = (uint32_t)round_up(at - state, LINE);
	h->states.n = 2;
	at = state + 2 * h->states.stride;
	h->spec = place(&at, VG_PARAMS_LEN, VG_PARAMS_LEN, 1);
	h->offered = place(&at, 8, LINE, 1);
	h->stats = place(&at, sizeof(struct vg_dev_stats),
			 round_up(sizeof(struct vg_dev_stats), LINE), 1);
	h->queue_stats = place(&at, sizeof(struct vg_dev_stats),
			       round_up(sizeof(struct vg_dev_stats), LINE), n);
	h->hyper = place(&at, sizeof(struct vg_hyper_stats),
			 round_up(sizeof(struct vg_hyper_stats), LINE), n);
	h->live = place(&at, sizeof(struct vg_record_live),
			round_up(sizeof(struct vg_record_live), LINE), n);
	h->areas = place(&at, sizeof(struct area), sizeof(struct area), n);
	at = (uint32_t)round_up(at, PAGE);
	h->head_bytes = at;
	for (unsigned q = 0; q < n; q++) {
		if (shape->queue_max[q] == 0 || shape->queue_max[q] > VG_VQ_SIZE_MAX)
			return -EINVAL;
		areas[q].at = at;
		areas[q].bytes = (uint32_t)inflight_bytes(shape->queue_max[q]);
		at += areas[q].bytes;
		if (at > FILE_MAX)
			return -EINVAL;
	}
	h->file_bytes = at;
	return 0;
}

/* ---- reading what somebody else wrote ------------------------------------ */

/* A copy of a file's beginning. */
struct copy {
	uint8_t *bytes;
	size_t size;
	struct vg_record_head head; /* of version 3 and later: checked */
};

/* Return: 0, or negative errno; @c->bytes is the caller's to free. */
static int read_file(int fd, size_t max, struct copy *c)
{
	struct stat st;
	size_t n = 0;

	memset(c, 0, sizeof(*c));
	if (fstat(fd, &st) < 0)
		return -errno;
	c->size = st.st_size < (off_t)max ? (size_t)st.st_size : max;
	if (c->size == 0)
		return -ENODATA;
	c->bytes = calloc(1, c->size);
	if (!c->bytes)
		return -ENOMEM;
	while (n < c->size) {
		ssize_t got = pread(fd, c->bytes + n, c->size - n, (off_t)n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EPROTO; /* it was made shorter meanwhile */
		n += (size_t)got;
	}
	return 0;
}

static bool array_ok(const struct copy *c, const struct array *a, uint64_t more)
{
	return a->n <= QUEUES_MAX && (a->n <= 1 || a->stride <= STRIDE_MAX) &&
	       (a->n <= 1 || a->size <= a->stride) &&
	       a->at + (uint64_t)a->stride * (a->n ? a->n - 1 : 0) + a->size + more <= c->size;
}

/* Everything that the head tells lies within what was read. */
static bool head_ok(const struct copy *c)
{
	const struct vg_record_head *h = &c->head;
	const struct array *rest[] = { &h->spec,  &h->offered, &h->stats, &h->queue_stats,
				       &h->hyper, &h->live,    &h->areas };
	const struct array *of_state[] = { &h->pools, &h->queues, &h->saved };

	if (h->states.n != 2 || h->states.stride > HEAD_MAX || h->states.size > h->states.stride ||
	    h->states.at + 2 * (uint64_t)h->states.stride > c->size)
		return false;
	for (unsigned i = 0; i < COUNT(of_state); i++) {
		if (!array_ok(c, of_state[i], h->states.stride))
			return false;
	}
	for (unsigned i = 0; i < COUNT(rest); i++) {
		if (!array_ok(c, rest[i], 0))
			return false;
	}
	return true;
}

/* Element @i, as much of it as both know; the rest, or one that is not there, is zero. */
static void take(const struct copy *c, const struct array *a, uint32_t i, uint64_t more, void *out,
		 size_t size)
{
	memset(out, 0, size);
	if (i < a->n)
		memcpy(out, c->bytes + a->at + (uint64_t)a->stride * i + more,
		       a->size < size ? a->size : size);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* saved points into @c->bytes. */
static void take_state(const struct copy *c, unsigned active, struct vg_record_state *s)
{
	const struct vg_record_head *h = &c->head;
	uint64_t more = (uint64_t)h->states.stride * active;

	memset(s, 0, sizeof(*s));
	take(c, &h->states, active, 0, s, FIXED);
	s->n_pools = min_u32(s->n_pools, VG_LIMIT_POOLS);
	s->owed_len = min_u32(s->owed_len, VG_RECORD_OWED);
	for (uint32_t i = 0; i < VG_LIMIT_POOLS; i++)
		take(c, &h->pools, i, more, &s->pool[i], sizeof(s->pool[i]));
	for (uint32_t i = 0; i < VG_MAX_QUEUES; i++)
		take(c, &h->queues, i, more, &s->queue[i], sizeof(s->queue[i]));
	s->saved = c->bytes + h->saved.at + more;
	s->saved_size = h->saved.size;
}

static void add_words(void *sum, const void *one, size_t size)
{
	for (size_t i = 0; i < size / sizeof(uint64_t); i++)
		((uint64_t *)sum)[i] += ((const uint64_t *)one)[i];
}

void vg_dev_stats_add(struct vg_dev_stats *sum, const struct vg_dev_stats *one)
{
	_Static_assert(sizeof(*sum) % 8 == 0, "it holds counters of 64 bits and nothing else");
	add_words(sum, one, sizeof(*sum));
}

/* What both kinds of reader want of a file, whatever its version. */
struct contents {
	struct vg_record_state state;
	struct vg_record_view view;
};

static int understand_v2(const struct copy *c, struct contents *out)
{
	const struct v2 *v2 = (const struct v2 *)c->bytes;
	const struct v2_state *from;
	struct vg_record_state *s = &out->state;

	if (c->size < sizeof(*v2))
		return -EPROTO;
	from = &v2->state[v2->active & 1];
	s->connected = from->connected;
	s->control_ref = from->control_ref;
	s->control_channel = from->control_channel;
	s->status = from->status;
	s->features = from->features;
	s->generation = from->generation;
	s->n_pools = min_u32(from->n_pools, min_u32(COUNT(from->pool), VG_LIMIT_POOLS));
	memcpy(s->pool, from->pool, s->n_pools * sizeof(s->pool[0]));
	for (unsigned q = 0; q < COUNT(from->queue) && q < VG_MAX_QUEUES; q++)
		s->queue[q] = from->queue[q];
	s->saved = from->saved;
	s->saved_size = sizeof(from->saved);
	out->view.offered = v2->offered;
	out->view.n_queues = min_u32(COUNT(v2->live), VG_MAX_QUEUES);
	memcpy(&out->view.stats, v2->stats, sizeof(v2->stats));
	memcpy(&out->view.hyper, v2->hyper, sizeof(v2->hyper));
	for (unsigned q = 0; q < out->view.n_queues; q++)
		memcpy(&out->view.live[q], v2->live[q], sizeof(v2->live[q]));
	return 0;
}

static int understand_v3(struct copy *c, struct contents *out)
{
	const struct vg_record_head *h = &c->head;
	struct vg_record_view *v = &out->view;
	struct vg_hyper_stats hyper;

	if (c->size < sizeof(*h))
		return -EPROTO;
	memcpy(&c->head, c->bytes, sizeof(c->head));
	if (!head_ok(c))
		return -EPROTO;
	take_state(c, h->active & 1, &out->state);
	take(c, &h->offered, 0, 0, &v->offered, sizeof(v->offered));
	take(c, &h->spec, 0, 0, v->spec, sizeof(v->spec));
	v->spec[sizeof(v->spec) - 1] = '\0';
	take(c, &h->stats, 0, 0, &v->stats, sizeof(v->stats));
	v->n_queues = min_u32(h->live.n, VG_MAX_QUEUES);
	for (uint32_t q = 0; q < VG_MAX_QUEUES; q++) {
		take(c, &h->queue_stats, q, 0, &v->queue_stats[q], sizeof(v->queue_stats[q]));
		take(c, &h->live, q, 0, &v->live[q], sizeof(v->live[q]));
	}
	for (uint32_t i = 0; i < h->hyper.n; i++) {
		take(c, &h->hyper, i, 0, &hyper, sizeof(hyper));
		add_words(&v->hyper, &hyper, sizeof(hyper));
	}
	return 0;
}

/* v->stats are the device's own still. */
static int understand(struct copy *c, struct contents *out)
{
	struct {
		uint64_t magic;
		uint32_t version;
	} begin;
	int ret;

	memset(out, 0, sizeof(*out));
	if (c->size < sizeof(begin))
		return -EPROTO;
	memcpy(&begin, c->bytes, sizeof(begin));
	if (begin.magic == 0)
		return -ENODATA;
	if (begin.magic != MAGIC || begin.version < 2)
		return -EPROTO;
	ret = begin.version == 2 ? understand_v2(c, out) : understand_v3(c, out);
	out->view.connected = out->state.connected;
	out->view.status = out->state.status;
	out->view.features = out->state.features;
	return ret;
}

int vg_record_peek(int fd, struct vg_record_view *out)
{
	struct contents *all = malloc(sizeof(*all));
	struct copy c = { .bytes = NULL };
	int ret = all ? read_file(fd, HEAD_MAX, &c) : -ENOMEM;

	if (ret == 0)
		ret = understand(&c, all);
	if (ret == 0) {
		*out = all->view;
		for (unsigned q = 0; q < VG_MAX_QUEUES; q++)
			vg_dev_stats_add(&out->stats, &out->queue_stats[q]);
	}
	free(c.bytes);
	free(all);
	return ret;
}

/* ---- making -------------------------------------------------------------- */

/* Where the in-flight record of queue @q lies in @c, and how long it is; NULL: there is none. */
static const uint8_t *area_of(const struct copy *c, unsigned q, size_t *bytes)
{
	const struct v2 *v2 = (const struct v2 *)c->bytes;
	struct area a = { 0, 0 };

	if (v2->version == 2 && q < COUNT(v2->live) && v2->queue_size_max <= VG_VQ_SIZE_MAX) {
		a.bytes = v2->queue_size_max ? (uint32_t)inflight_bytes(v2->queue_size_max) : 0;
		a.at = (uint32_t)round_up(sizeof(*v2), PAGE) + q * a.bytes;
	} else if (v2->version > 2) {
		take(c, &c->head.areas, q, 0, &a, sizeof(a));
	}
	*bytes = a.bytes;
	return a.bytes && (uint64_t)a.at + a.bytes <= c->size ? c->bytes + a.at : NULL;
}

static void put_state(uint8_t *base, const struct vg_record_head *h, unsigned copy,
		      const struct vg_record_state *s)
{
	uint8_t *at = base + (size_t)copy * h->states.stride;

	memcpy(at + h->states.at, s, FIXED);
	memcpy(at + h->pools.at, s->pool, sizeof(s->pool));
	memcpy(at + h->queues.at, s->queue, h->queues.n * sizeof(s->queue[0]));
	if (s->saved) {
		uint32_t n = min_u32(s->saved_size, h->saved.size);

		memmove(at + h->saved.at, s->saved, n);
		memset(at + h->saved.at + n, 0, h->saved.size - n);
	}
}

/* What @c says, in @to, which is a fresh record. */
static void carry_over(const struct copy *c, const struct contents *from, uint8_t *to)
{
	const struct vg_record_head *h = (const struct vg_record_head *)to;
	const struct area *areas = (const struct area *)(to + h->areas.at);
	struct vg_record_state s = from->state;

	for (unsigned q = h->queues.n; q < VG_MAX_QUEUES; q++)
		s.lost_queues += s.queue[q].size != 0;
	put_state(to, h, 0, &s);
	memcpy(to + h->offered.at, &from->view.offered, sizeof(from->view.offered));
	memcpy(to + h->stats.at, &from->view.stats, sizeof(from->view.stats));
	memcpy(to + h->hyper.at, &from->view.hyper, sizeof(from->view.hyper));
	for (unsigned q = 0; q < h->queues.n; q++) {
		size_t bytes;
		const uint8_t *area = area_of(c, q, &bytes);

		memcpy(to + h->queue_stats.at + (size_t)q * h->queue_stats.stride,
		       &from->view.queue_stats[q], sizeof(from->view.queue_stats[q]));
		if (area)
			memcpy(to + areas[q].at, area,
			       bytes < areas[q].bytes ? bytes : areas[q].bytes);
	}
}

/* A record in memory of the heap: @c's contents in @shape, or fresh. Return: 0, or negative errno. */
static int compose(const struct vg_record_shape *shape, const char *spec, const struct copy *c,
		   const struct contents *from, uint8_t **out, size_t *size)
{
	struct vg_record_head head;
	struct area areas[VG_MAX_QUEUES];
	int ret = lay_out(shape, &head, areas);

	if (ret < 0)
		return ret;
	*size = head.file_bytes;
	*out = calloc(1, *size);
	if (!*out)
		return -ENOMEM;
	memcpy(*out, &head, sizeof(head));
	memcpy(*out + head.areas.at, areas, head.areas.n * sizeof(areas[0]));
	snprintf((char *)*out + head.spec.at, head.spec.size, "%s", spec);
	if (from)
		carry_over(c, from, *out);
	return 0;
}

/* Is @c, whose contents were understood, laid out as we would lay out @shape? */
static bool has_shape(const struct copy *c, const struct vg_record_shape *shape)
{
	struct vg_record_head want, have = c->head;
	struct area areas[VG_MAX_QUEUES];

	if (lay_out(shape, &want, areas) < 0 || have.magic != MAGIC)
		return false;
	have.active = 0;
	return same_head(&want, &have) && c->size == want.file_bytes &&
	       memcmp(c->bytes + want.areas.at, areas, want.areas.n * sizeof(areas[0])) == 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t size, size_t at)
{
	size_t n = 0;

	while (n < size) {
		ssize_t put = pwrite(fd, bytes + n, size - n, (off_t)(at + n));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		n += (size_t)put;
	}
	return 0;
}

/* All of the file's memory is there: touching it raises no signal, whatever else fills /run. */
static int fill(int fd, const uint8_t *bytes, size_t size)
{
	int ret = -posix_fallocate(fd, 0, (off_t)size);

	return ret < 0 ? ret : write_all(fd, bytes, size, 0);
}

/* The record has its shape: no memory of it may be missing, and it is told its configuration. */
static int keep(int fd, const struct copy *c, const char *spec)
{
	char text[VG_PARAMS_LEN] = "";
	int ret = -posix_fallocate(fd, 0, (off_t)c->size);

	snprintf(text, sizeof(text), "%s", spec);
	if (ret == 0 && memcmp(c->bytes + c->head.spec.at, text, sizeof(text)) != 0)
		ret = write_all(fd, (const uint8_t *)text, sizeof(text), c->head.spec.at);
	return ret;
}

/* Has a process the file open that did not get it from us? A predecessor's worker that still finishes
 * writes into it: a lease on writing is given only when there is no other open file. */
static bool others_have(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return errno == EAGAIN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

bool vg_record_held(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	bool held = fd >= 0 && others_have(fd);

	if (fd >= 0)
		close(fd);
	return held;
}

static int replace(int dir, const char *name, const uint8_t *bytes, size_t size, int *out)
{
	char temp[128];
	int fd, ret;

	if ((size_t)snprintf(temp, sizeof(temp), "%s.new", name) >= sizeof(temp))
		return -ENAMETOOLONG;
	unlinkat(dir, temp, 0);
	fd = openat(dir, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	ret = fill(fd, bytes, size);
	if (ret == 0 && renameat(dir, temp, dir, name) < 0)
		ret = -errno;
	if (ret < 0) {
		unlinkat(dir, temp, 0);
		close(fd);
		return ret;
	}
	*out = fd;
	return 0;
}

static int say_why(int ret, const char *what, struct vg_err *err)
{
	if (ret == -ENOSPC)
		return vg_fail(err, ret,
			       "there is no room for its record (%s): free some space below the "
			       "runtime folder",
			       what);
	if (ret == -EBUSY)
		return vg_fail(err, ret, "its record (%s) is in use by a worker of before", what);
	return ret < 0 ? vg_fail(err, ret, "its record (%s) cannot be made: %s", what,
				 strerror(-ret))
		       : 0;
}

int vg_record_make(int dir, const char *name, const struct vg_record_shape *shape, const char *spec,
		   int *fd, struct vg_err *err)
{
	struct contents *before = malloc(sizeof(*before));
	struct copy c = { .bytes = NULL };
	uint8_t *bytes = NULL;
	size_t size = 0;
	int old = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int ret = before ? 0 : -ENOMEM;
	bool known;

	if (ret == 0 && old < 0 && errno != ENOENT)
		ret = -errno;
	if (ret < 0)
		goto out;
	known = old >= 0 && read_file(old, FILE_MAX, &c) == 0 && understand(&c, before) == 0;
	if (known && has_shape(&c, shape)) {
		ret = keep(old, &c, spec);
		*fd = ret < 0 ? -1 : old;
		old = ret < 0 ? old : -1;
		goto out;
	}
	if (known && before->state.connected && others_have(old))
		ret = -EBUSY;
	if (ret == 0)
		ret = compose(shape, spec, &c, known ? before : NULL, &bytes, &size);
	if (ret == 0)
		ret = replace(dir, name, bytes, size, fd);
out:
	if (old >= 0)
		close(old);
	free(bytes);
	free(c.bytes);
	free(before);
	return say_why(ret, name, err);
}

int vg_record_make_memfd(const struct vg_record_shape *shape, const char *spec, int *fd,
			 struct vg_err *err)
{
	struct contents *before = malloc(sizeof(*before));
	struct copy c = { .bytes = NULL };
	uint8_t *bytes = NULL;
	size_t size = 0;
	int new_fd = -1;
	int ret = before ? 0 : -ENOMEM;
	bool known = ret == 0 && *fd >= 0 && read_file(*fd, FILE_MAX, &c) == 0 &&
		     understand(&c, before) == 0;

	if (known && has_shape(&c, shape)) {
		ret = keep(*fd, &c, spec);
		goto out;
	}
	if (ret == 0)
		ret = compose(shape, spec, &c, known ? before : NULL, &bytes, &size);
	if (ret == 0) {
		new_fd = memfd_create("vgrant-record", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ret = new_fd < 0 ? -errno : fill(new_fd, bytes, size);
	}
	if (ret == 0 && fcntl(new_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		ret = -errno;
	if (ret == 0) {
		if (*fd >= 0)
			close(*fd);
		*fd = new_fd;
	} else if (new_fd >= 0) {
		close(new_fd);
	}
out:
	free(bytes);
	free(c.bytes);
	free(before);
	return say_why(ret, "in memory", err);
}

/* ---- the worker's side --------------------------------------------------- */

void vg_record_shape_of(const struct vg_dev *dev, struct vg_record_shape *shape)
{
	memset(shape, 0, sizeof(*shape));
	shape->n_queues = dev->n_queues;
	shape->saved_size = (uint32_t)dev->saved_size;
	for (unsigned q = 0; q < dev->n_queues; q++)
		shape->queue_max[q] = vg_dev_queue_max(dev, q);
}

static _Atomic uint32_t *active_of(const struct vg_record_map *map)
{
	return &((struct vg_record_head *)map->base)->active;
}

int vg_record_open(int fd, const struct vg_record_shape *shape, struct vg_record_map *map)
{
	struct vg_record_layout *l = calloc(1, sizeof(*l));
	struct vg_record_head have;
	struct stat st;
	void *base = MAP_FAILED;
	int ret = l ? lay_out(shape, &l->head, l->areas) : -ENOMEM;

	memset(map, 0, sizeof(*map));
	if (ret == 0 && fstat(fd, &st) < 0)
		ret = -errno;
	if (ret == 0 && st.st_size != l->head.file_bytes)
		ret = -EPROTO;
	if (ret == 0) {
		base = mmap(NULL, l->head.file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ret = base == MAP_FAILED ? -errno : 0;
	}
	if (ret < 0) {
		free(l);
		return ret;
	}
	map->base = base;
	map->layout = l;
	map->size = l->head.file_bytes;
	vg_sigbus_guard(&map->guard, map->base, map->size);
	memcpy(&have, base, sizeof(have));
	have.active = 0;
	if (same_head(&have, &l->head) && memcmp(map->base + l->head.areas.at, l->areas,
						 l->head.areas.n * sizeof(l->areas[0])) == 0)
		return 0;
	vg_record_close(map);
	return -EPROTO;
}

void vg_record_close(struct vg_record_map *map)
{
	if (!map->base)
		return;
	vg_sigbus_unguard(&map->guard);
	munmap(map->base, map->size);
	free(map->layout);
	memset(map, 0, sizeof(*map));
}

void vg_record_read(const struct vg_record_map *map, struct vg_record_state *out)
{
	struct copy c = { .bytes = map->base, .size = map->size, .head = map->layout->head };

	take_state(&c, atomic_load_explicit(active_of(map), memory_order_acquire) & 1, out);
}

void vg_record_write(struct vg_record_map *map, const struct vg_record_state *state)
{
	uint32_t next = !(atomic_load_explicit(active_of(map), memory_order_relaxed) & 1);

	put_state(map->base, &map->layout->head, next, state);
	atomic_store_explicit(active_of(map), next, memory_order_release);
	if (!map->guard.hurt || map->hurt_told)
		return;
	map->hurt_told = true;
	vg_error("the record of this device was taken away: no other worker could resume it");
}

static void *element(const struct vg_record_map *map, const struct array *a, unsigned i)
{
	return map->base + a->at + (size_t)a->stride * i;
}

struct vg_dev_stats *vg_record_stats(const struct vg_record_map *map)
{
	return element(map, &map->layout->head.stats, 0);
}

struct vg_dev_stats *vg_record_queue_stats(const struct vg_record_map *map, unsigned q)
{
	return element(map, &map->layout->head.queue_stats, q);
}

struct vg_hyper_stats *vg_record_hyper(const struct vg_record_map *map, unsigned c)
{
	return element(map, &map->layout->head.hyper, c);
}

struct vg_record_live *vg_record_live(const struct vg_record_map *map, unsigned q)
{
	return element(map, &map->layout->head.live, q);
}

void vg_record_show(const struct vg_record_map *map, const struct vg_queue *queue, uint64_t kicks)
{
	struct vg_record_live *live = vg_record_live(map, queue->index);
	const struct vg_vq *vq = queue->vq;

	live->size = vq ? vg_vq_size(vq) : 0;
	live->running = vq != NULL;
	live->packed = vq && vg_vq_packed(vq);
	live->kicks = kicks;
	live->inflight = vq ? vg_vq_inflight(vq) : 0;
	if (vq)
		live->stats = *vg_vq_stats(vq);
}

void vg_record_offered(const struct vg_record_map *map, uint64_t offered)
{
	*(uint64_t *)element(map, &map->layout->head.offered, 0) = offered;
}

void *vg_record_inflight(const struct vg_record_map *map, unsigned q)
{
	return map->base + map->layout->areas[q].at;
}

void vg_record_fresh(struct vg_record_map *map, unsigned q)
{
	memset(map->base + map->layout->areas[q].at, 0, map->layout->areas[q].bytes);
}
