/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_loop.h - loop.h without a kernel: a run is a function of its input
 *
 * Included by one file of a program, it is the whole of backend/base/loop.h. What
 * was deferred runs in fl_deferred(); timers expire in fl_timers(), which puts
 * the clock forward to where they do. An operation on a file waits in a list, and is done by
 * fl_complete() in the order and with the result of the target's choice.
 */
#ifndef FUZZ_LOOP_H
#define FUZZ_LOOP_H

#include <errno.h>
#include <unistd.h>

#include "backend/base/loop.h"
#include "tests/fuzz/fuzz.h"

enum { FL_TIMERS = 64, FL_WATCHES = 64, FL_OPS = 4096 };

enum fl_kind {
	FL_READ,
	FL_WRITE,
	FL_SYNC,
	FL_FALLOCATE,
	FL_DISCARD,
	FL_ACCEPT,
	FL_CONNECT,
	FL_SEND,
	FL_RECV,
};

struct fl_op {
	enum fl_kind kind;
	struct vg_io *io;
	int fd, flags;
	const struct iovec *iov;
	unsigned niov;
	uint64_t offset, len;
	void *buf; /* of recv; of send not to be written to */
};

struct vg_tether {
	struct vg_timer *timer;
	struct vg_watch *watch;
	int fd;
	int64_t at; /* fl_now when the timer expires */
};

static struct vg_deferred *fl_list, **fl_tail = &fl_list;
static unsigned fl_round; /* of fl_deferred(); marks what was deferred since it began */
static struct vg_poller *fl_pollers;
static struct vg_post *fl_posts, **fl_posts_tail = &fl_posts;
static struct vg_tether fl_timer[FL_TIMERS], fl_watch[FL_WATCHES];
static struct fl_op fl_op[FL_OPS];
static unsigned fl_ops;
static int64_t fl_now = 1000000000;
static void (*fl_on_op)(const struct fl_op *op); /* called when an operation is queued */

/* ---- for targets ------------------------------------------------------------ */

/** fl_posted - run what has been posted so far */
static MAYBE_UNUSED void fl_posted(void)
{
	struct vg_post *list = fl_posts;

	fl_posts = NULL;
	fl_posts_tail = &fl_posts;
	while (list) {
		struct vg_post *p = list;

		list = p->next;
		p->run(p);
	}
}

/* Each is looked at once, and has no more time than that. */
static void fl_polled(void)
{
	struct vg_poller *list = fl_pollers, *p;

	fl_pollers = NULL;
	if (list)
		list->pprev = &list;
	while ((p = list) != NULL) {
		vg_loop_unpoll(p);
		if (!p->look(p))
			p->over(p, false);
	}
}

/** fl_deferred - run what has been posted and deferred so far. Return: whether more was since. */
static MAYBE_UNUSED bool fl_deferred(void)
{
	struct vg_deferred *d;
	unsigned round;

	fl_posted();
	round = fl_round++;
	while ((d = fl_list) != NULL && (int)(d->turn - round) <= 0) {
		vg_loop_undefer(NULL, d);
		d->run(d);
	}
	fl_polled();
	return fl_list || fl_posts;
}

/** fl_timers - so much time passes that all timers expire that run */
static MAYBE_UNUSED void fl_timers(void)
{
	bool due[FL_TIMERS];

	for (unsigned i = 0; i < FL_TIMERS; i++) {
		due[i] = fl_timer[i].timer;
		if (due[i] && fl_timer[i].at > fl_now)
			fl_now = fl_timer[i].at;
	}
	for (unsigned i = 0; i < FL_TIMERS; i++) {
		struct vg_timer *t = fl_timer[i].timer;

		if (!due[i] || !t)
			continue;
		vg_loop_timer_stop(t);
		t->expired(t);
	}
}

/** fl_ready - call the @i-th watch, if there is one, with @events */
static MAYBE_UNUSED void fl_ready(unsigned i, unsigned events)
{
	struct vg_watch *w = fl_watch[i % FL_WATCHES].watch;

	if (w)
		w->ready(w, events);
}

/** fl_ready_all - call every watch */
static MAYBE_UNUSED void fl_ready_all(unsigned events)
{
	for (unsigned i = 0; i < FL_WATCHES; i++)
		fl_ready(i, events);
}

/** fl_complete - the @i-th operation under way completes with @res */
static MAYBE_UNUSED void fl_complete(unsigned i, int res)
{
	struct vg_io *io = fl_op[i].io;

	memmove(&fl_op[i], &fl_op[i + 1], (fl_ops - i - 1) * sizeof(fl_op[0]));
	fl_ops--;
	io->done(io, res);
}

/** fl_idle - whether nothing waits, runs or is watched */
static MAYBE_UNUSED bool fl_idle(void)
{
	for (unsigned i = 0; i < FL_TIMERS; i++)
		if (fl_timer[i].timer)
			return false;
	for (unsigned i = 0; i < FL_WATCHES; i++)
		if (fl_watch[i].watch)
			return false;
	return !fl_list && !fl_posts && !fl_ops && !fl_pollers;
}

/* ---- loop.h ------------------------------------------------------------------ */

int64_t vg_now_ns(void)
{
	return fl_now;
}

int64_t vg_span_ns(void)
{
	return fl_now;
}

void vg_loop_poll(struct vg_loop *loop, struct vg_poller *p, int64_t ns)
{
	(void)loop;
	(void)ns;
	vg_loop_unpoll(p);
	p->next = fl_pollers;
	p->pprev = &fl_pollers;
	if (p->next)
		p->next->pprev = &p->next;
	fl_pollers = p;
}

void vg_loop_unpoll(struct vg_poller *p)
{
	if (!p->pprev)
		return;
	*p->pprev = p->next;
	if (p->next)
		p->next->pprev = p->pprev;
	p->pprev = NULL;
}

int64_t vg_loop_now(struct vg_loop *loop)
{
	(void)loop;
	return fl_now;
}

void vg_loop_defer(struct vg_loop *loop, struct vg_deferred *d)
{
	(void)loop;
	if (d->queued)
		return;
	d->queued = true;
	d->next = NULL;
	d->turn = fl_round;
	*fl_tail = d;
	fl_tail = &d->next;
}

void vg_loop_undefer(struct vg_loop *loop, struct vg_deferred *d)
{
	(void)loop;
	for (struct vg_deferred **p = &fl_list; *p; p = &(*p)->next) {
		if (*p != d)
			continue;
		*p = d->next;
		if (fl_tail == &d->next)
			fl_tail = p;
		break;
	}
	d->queued = false;
}

void vg_loop_post(struct vg_loop *loop, struct vg_post *p)
{
	(void)loop;
	p->next = NULL;
	*fl_posts_tail = p;
	fl_posts_tail = &p->next;
}

struct vg_loop *vg_loop_current(void)
{
	return NULL;
}

void vg_loop_timer(struct vg_loop *loop, struct vg_timer *t, int64_t ns)
{
	(void)loop;
	MUST(ns >= 0);
	for (unsigned i = 0; i < FL_TIMERS && !t->tether; i++)
		if (!fl_timer[i].timer)
			t->tether = &fl_timer[i];
	MUST(t->tether);
	t->tether->timer = t;
	t->tether->at = fl_now + ns;
}

void vg_loop_timer_stop(struct vg_timer *t)
{
	if (t->tether)
		t->tether->timer = NULL;
	t->tether = NULL;
}

void vg_loop_watch(struct vg_loop *loop, struct vg_watch *w, int fd)
{
	vg_loop_watch_for(loop, w, fd, 1);
}

void vg_loop_watch_for(struct vg_loop *loop, struct vg_watch *w, int fd, unsigned events)
{
	(void)loop;
	MUST(events);
	MUST(!w->tether && fd >= 0);
	for (unsigned i = 0; i < FL_WATCHES; i++) {
		if (fl_watch[i].watch)
			continue;
		fl_watch[i].watch = w;
		fl_watch[i].fd = fd;
		w->tether = &fl_watch[i];
		return;
	}
	MUST(!"a watch is free");
}

int vg_loop_watch_fd(const struct vg_watch *w)
{
	return w->tether ? w->tether->fd : -1;
}

void vg_loop_unwatch(struct vg_watch *w)
{
	if (w->tether)
		w->tether->watch = NULL;
	w->tether = NULL;
}

static void fl_queue(struct fl_op op)
{
	MUST(fl_ops < FL_OPS);
	for (unsigned i = 0; i < op.niov; i++)
		op.len += op.iov[i].iov_len;
	if (fl_on_op)
		fl_on_op(&op);
	fl_op[fl_ops++] = op;
}

/* No kernel here. */
int vg_loop_pin(struct vg_loop *loop, void *at, size_t len)
{
	(void)loop;
	(void)at;
	(void)len;
	return 0;
}

void vg_loop_readv(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		   unsigned niov, uint64_t offset)
{
	(void)loop;
	fl_queue((struct fl_op){
		.kind = FL_READ, .io = io, .fd = fd, .iov = iov, .niov = niov, .offset = offset });
}

/* Whether there was something is the target's to say, by the result. */
void vg_loop_readv_now(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		       unsigned niov, uint64_t offset)
{
	(void)loop;
	fl_queue((struct fl_op){ .kind = FL_READ,
				 .io = io,
				 .fd = fd,
				 .flags = RWF_NOWAIT,
				 .iov = iov,
				 .niov = niov,
				 .offset = offset });
}

void vg_loop_writev(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		    unsigned niov, uint64_t offset, int rw_flags)
{
	(void)loop;
	fl_queue((struct fl_op){ .kind = FL_WRITE,
				 .io = io,
				 .fd = fd,
				 .flags = rw_flags,
				 .iov = iov,
				 .niov = niov,
				 .offset = offset });
}

void vg_loop_fdatasync(struct vg_loop *loop, struct vg_io *io, int fd)
{
	(void)loop;
	fl_queue((struct fl_op){ .kind = FL_SYNC, .io = io, .fd = fd });
}

void vg_loop_fallocate(struct vg_loop *loop, struct vg_io *io, int fd, int mode, uint64_t offset,
		       uint64_t len)
{
	(void)loop;
	fl_queue((struct fl_op){ .kind = FL_FALLOCATE,
				 .io = io,
				 .fd = fd,
				 .flags = mode,
				 .offset = offset,
				 .len = len });
}

void vg_loop_discard(struct vg_loop *loop, struct vg_io *io, int fd, uint64_t offset, uint64_t len)
{
	(void)loop;
	fl_queue((struct fl_op){
		.kind = FL_DISCARD, .io = io, .fd = fd, .offset = offset, .len = len });
}

void vg_loop_accept(struct vg_loop *loop, struct vg_io *io, int fd, int flags)
{
	(void)loop;
	fl_queue((struct fl_op){ .kind = FL_ACCEPT, .io = io, .fd = fd, .flags = flags });
}

void vg_loop_connect(struct vg_loop *loop, struct vg_io *io, int fd, const struct sockaddr *addr,
		     unsigned len)
{
	(void)loop;
	(void)addr;
	fl_queue((struct fl_op){ .kind = FL_CONNECT, .io = io, .fd = fd, .len = len });
}

void vg_loop_send(struct vg_loop *loop, struct vg_io *io, int fd, const void *buf, size_t len,
		  int flags)
{
	(void)loop;
	fl_queue((struct fl_op){ .kind = FL_SEND,
				 .io = io,
				 .fd = fd,
				 .flags = flags,
				 .len = len,
				 .buf = (void *)(uintptr_t)buf });
}

void vg_loop_recv(struct vg_loop *loop, struct vg_io *io, int fd, void *buf, size_t len, int flags)
{
	(void)loop;
	fl_queue((struct fl_op){
		.kind = FL_RECV, .io = io, .fd = fd, .flags = flags, .len = len, .buf = buf });
}

/* The target completes it, with what result it likes. */
void vg_loop_cancel(struct vg_loop *loop, struct vg_io *io)
{
	(void)loop;
	(void)io;
}

/* What waits for the loop gets what the target completes by default: see fl_turn. */
static void fl_turn(void);

int vg_loop_turn(struct vg_loop *loop, bool wait)
{
	(void)loop;
	(void)wait;
	fl_turn();
	return 1;
}

int vg_loop_new(unsigned entries, struct vg_loop **out)
{
	(void)entries;
	*out = NULL;
	return 0;
}

int vg_loop_new_disabled(unsigned entries, struct vg_loop **out)
{
	return vg_loop_new(entries, out);
}

void vg_loops_discard(int fd)
{
	(void)fd;
}

int vg_loops_enable(unsigned may)
{
	(void)may;
	return 0;
}

void vg_loop_free(struct vg_loop *loop)
{
	(void)loop;
}

int vg_loop_run(struct vg_loop *loop)
{
	(void)loop;
	return 0;
}

void vg_loop_stop(struct vg_loop *loop)
{
	(void)loop;
}

#endif /* FUZZ_LOOP_H */
