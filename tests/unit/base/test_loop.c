// SPDX-License-Identifier: GPL-2.0-or-later
/* The event loop: I/O, watches, timers, deferred functions, and turning it from within itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/base/loop.h"
#include "tests/rigs/loop_device.h"

static struct vg_loop *loop;

static int make_loop(void **state)
{
	(void)state;
	return vg_loop_new(8, &loop);
}

static int free_loop(void **state)
{
	(void)state;
	vg_loop_free(loop);
	return 0;
}

struct op {
	struct vg_io io;
	int calls, res;
	struct op *wait_for; /* turn the loop until this one is done, too */
};

static void op_done(struct vg_io *io, int res)
{
	struct op *op = (struct op *)io;

	op->calls++;
	op->res = res;
	while (op->wait_for && !op->wait_for->calls)
		assert_true(vg_loop_turn(loop, true) >= 0);
}

static int temp_file(void)
{
	char name[] = "loop.XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	return fd;
}

/* A read that waits, behind two that do not, of a socket that has one packet. */
static void test_read_now(void **state)
{
	char in[3][8];
	struct iovec iov[3] = { { in[0], 8 }, { in[1], 8 }, { in[2], 8 } };
	struct op op[3] = { { .io.done = op_done },
			    { .io.done = op_done },
			    { .io.done = op_done } };
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(write(pair[1], "one", 3), 3);
	vg_loop_readv_now(loop, &op[0].io, pair[0], &iov[0], 1, 0);
	vg_loop_readv_now(loop, &op[1].io, pair[0], &iov[1], 1, 0);
	vg_loop_readv(loop, &op[2].io, pair[0], &iov[2], 1, 0);
	while (!op[0].calls || !op[1].calls)
		vg_loop_turn(loop, true);
	assert_int_equal(op[0].res, 3);
	assert_int_equal(op[1].res, -EAGAIN);
	assert_int_equal(op[2].calls, 0);
	assert_int_equal(write(pair[1], "two!", 4), 4);
	while (!op[2].calls)
		vg_loop_turn(loop, true);
	assert_int_equal(op[2].res, 4);
	assert_memory_equal(in[2], "two!", 4);
	close(pair[0]);
	close(pair[1]);
}

static void test_file_io(void **state)
{
	char out[] = "written", in[8] = "", in2[4] = "";
	struct iovec w = { out, 7 };
	struct iovec r[2] = { { in, 4 }, { in2, 3 } };
	struct op op = { .io.done = op_done };
	int fd = temp_file();

	(void)state;
	vg_loop_writev(loop, &op.io, fd, &w, 1, 100, 0);
	assert_int_equal(op.calls, 0);
	while (!op.calls)
		vg_loop_turn(loop, true);
	assert_int_equal(op.res, 7);
	vg_loop_readv(loop, &op.io, fd, r, 2, 100);
	while (op.calls < 2)
		vg_loop_turn(loop, true);
	assert_int_equal(op.res, 7);
	assert_memory_equal(in, "writ", 4);
	assert_memory_equal(in2, "ten", 3);
	vg_loop_fdatasync(loop, &op.io, fd);
	while (op.calls < 3)
		vg_loop_turn(loop, true);
	assert_int_equal(op.res, 0);
	vg_loop_readv(loop, &op.io, -1, r, 2, 0);
	while (op.calls < 4)
		vg_loop_turn(loop, true);
	assert_int_equal(op.res, -EBADF);
	close(fd);
}

/* Many more operations than the submission queue holds. */
static void test_more_than_the_queue(void **state)
{
	enum { N = 500 };
	static struct op ops[N];
	char byte[1];
	struct iovec iov = { byte, 1 };
	int fd = temp_file(), done;

	(void)state;
	assert_int_equal(ftruncate(fd, N), 0);
	for (int i = 0; i < N; i++) {
		ops[i] = (struct op){ .io.done = op_done };
		vg_loop_readv(loop, &ops[i].io, fd, &iov, 1, (uint64_t)i);
	}
	do {
		vg_loop_turn(loop, true);
		done = 0;
		for (int i = 0; i < N; i++)
			done += ops[i].calls;
	} while (done < N);
	for (int i = 0; i < N; i++) {
		assert_int_equal(ops[i].calls, 1);
		assert_int_equal(ops[i].res, 1);
	}
	close(fd);
}

/* A completion that waits for another one of the same batch must not wait for ever. */
static void test_turn_within_a_turn(void **state)
{
	char a[1], b[1];
	struct iovec ia = { a, 1 }, ib = { b, 1 };
	struct op second = { .io.done = op_done };
	struct op first = { .io.done = op_done, .wait_for = &second };
	int fd = temp_file();

	(void)state;
	assert_int_equal(ftruncate(fd, 2), 0);
	vg_loop_readv(loop, &first.io, fd, &ia, 1, 0);
	vg_loop_readv(loop, &second.io, fd, &ib, 1, 1);
	while (!first.calls || !second.calls)
		vg_loop_turn(loop, true);
	assert_int_equal(first.calls, 1);
	assert_int_equal(second.calls, 1);
	close(fd);
}

struct watched {
	struct vg_watch w;
	int calls;
	bool unwatch;
};

static void watch_ready(struct vg_watch *w, unsigned events)
{
	struct watched *x = (struct watched *)w;
	uint64_t n;

	(void)events;
	x->calls++;
	if (x->unwatch)
		vg_loop_unwatch(w);
	else
		assert_int_equal(read(vg_loop_watch_fd(w), &n, sizeof(n)), sizeof(n));
}

static void poke(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void test_watch(void **state)
{
	struct watched x = { .w.ready = watch_ready };
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	(void)state;
	assert_int_equal(vg_loop_watch_fd(&x.w), -1);
	vg_loop_watch(loop, &x.w, fd);
	vg_loop_turn(loop, false);
	assert_int_equal(x.calls, 0);
	for (int i = 1; i <= 100; i++) {
		poke(fd);
		while (x.calls < i)
			vg_loop_turn(loop, true);
		assert_int_equal(x.calls, i);
	}
	vg_loop_unwatch(&x.w);
	vg_loop_unwatch(&x.w); /* twice does no harm */
	poke(fd);
	for (int i = 0; i < 5; i++)
		vg_loop_turn(loop, false);
	assert_int_equal(x.calls, 100);
	close(fd);
}

static void test_unwatch_from_within(void **state)
{
	struct watched *x = calloc(1, sizeof(*x));
	int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);

	(void)state;
	assert_non_null(x);
	x->w.ready = watch_ready;
	x->unwatch = true;
	vg_loop_watch(loop, &x->w, fd);
	while (!x->calls)
		vg_loop_turn(loop, true);
	assert_int_equal(x->calls, 1);
	free(x); /* the kernel's last word must not touch it */
	for (int i = 0; i < 5; i++)
		vg_loop_turn(loop, false);
	close(fd);
}

struct timed {
	struct vg_timer t;
	int calls;
};

static void expired(struct vg_timer *t)
{
	((struct timed *)t)->calls++;
}

static void test_timer(void **state)
{
	struct timed x = { .t.expired = expired };
	int64_t start = vg_now_ns();

	(void)state;
	vg_loop_timer(loop, &x.t, 20000000);
	while (!x.calls)
		vg_loop_turn(loop, true);
	assert_true(vg_now_ns() - start >= 20000000);
	assert_int_equal(x.calls, 1);
	/* Restarted before it expired: it expires once. */
	vg_loop_timer(loop, &x.t, 1000000);
	vg_loop_timer(loop, &x.t, 2000000);
	while (x.calls < 2)
		vg_loop_turn(loop, true);
	vg_loop_timer(loop, &x.t, 1000000);
	vg_loop_timer_stop(&x.t);
	usleep(3000);
	for (int i = 0; i < 5; i++)
		vg_loop_turn(loop, false);
	assert_int_equal(x.calls, 2);
}

struct late {
	struct vg_deferred d;
	int calls;
	struct late *then;
};

static void run_late(struct vg_deferred *d)
{
	struct late *l = (struct late *)d;

	l->calls++;
	if (l->then)
		vg_loop_defer(loop, &l->then->d);
}

static void test_deferred(void **state)
{
	struct late c = { .d.run = run_late };
	struct late b = { .d.run = run_late };
	struct late a = { .d.run = run_late, .then = &c };

	(void)state;
	vg_loop_defer(loop, &a.d);
	vg_loop_defer(loop, &a.d); /* once a turn */
	vg_loop_defer(loop, &b.d);
	vg_loop_undefer(loop, &b.d);
	vg_loop_undefer(loop, &b.d);
	vg_loop_turn(loop, false);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 0);
	assert_int_equal(c.calls, 1); /* deferred at the start of a turn: at its end */
	vg_loop_defer(loop, &b.d);    /* the list is whole after an undefer of its tail */
	vg_loop_defer(loop, &a.d);
	vg_loop_turn(loop, false);
	assert_int_equal(a.calls, 2);
	assert_int_equal(b.calls, 1);
}

/* One that defers itself for ever, as a guest that never stops would have it. */
static void run_again(struct vg_deferred *d)
{
	((struct late *)d)->calls++;
	vg_loop_defer(loop, d);
}

static void undefer_other(struct vg_deferred *d)
{
	vg_loop_undefer(loop, &((struct late *)d)->then->d);
}

static void test_deferred_is_fair(void **state)
{
	struct late self = { .d.run = run_again };
	struct late gone = { .d.run = run_late };
	struct late other = { .d.run = undefer_other, .then = &gone };
	struct op op = { .io.done = op_done };
	char byte[1];
	struct iovec iov = { byte, 1 };
	int fd = temp_file();

	(void)state;
	vg_loop_defer(loop, &self.d);
	vg_loop_defer(loop, &other.d);
	vg_loop_defer(loop, &gone.d); /* the last of the list is taken out while it runs */
	vg_loop_readv(loop, &op.io, fd, &iov, 1, 0);
	while (!op.calls)
		vg_loop_turn(loop, true);
	assert_int_equal(gone.calls, 0);
	/* Twice a turn at most, and a turn does not wait while it is queued. */
	self.calls = 0;
	vg_loop_turn(loop, true);
	assert_true(self.calls >= 1 && self.calls <= 2);
	vg_loop_undefer(loop, &self.d);
	close(fd);
}

enum { POSTERS = 4, POSTS = 2000 };

struct posted {
	struct vg_post p;
	unsigned who, n;
};

static struct poster {
	pthread_t thread;
	struct posted posts[POSTS];
	unsigned seen; /* by the loop's thread */
} posters[POSTERS];
static unsigned all_seen;

static void run_posted(struct vg_post *p)
{
	struct posted *x = (struct posted *)p;

	assert_ptr_equal(vg_loop_current(), loop);
	assert_int_equal(x->n, posters[x->who].seen); /* in the order of posting, none twice */
	posters[x->who].seen++;
	all_seen++;
}

static void *post_many(void *arg)
{
	struct poster *me = arg;

	for (unsigned i = 0; i < POSTS; i++) {
		me->posts[i] = (struct posted){ .p.run = run_posted,
						.who = (unsigned)(me - posters),
						.n = i };
		vg_loop_post(loop, &me->posts[i].p);
		if (i % 100 == 99)
			usleep(500); /* the loop falls asleep */
	}
	return NULL;
}

static void test_post_from_threads(void **state)
{
	(void)state;
	all_seen = 0;
	memset(posters, 0, sizeof(posters));
	assert_null(vg_loop_current());
	for (unsigned i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]),
				 0);
	while (all_seen < POSTERS * POSTS)
		assert_true(vg_loop_turn(loop, true) >= 0);
	for (unsigned i = 0; i < POSTERS; i++) {
		pthread_join(posters[i].thread, NULL);
		assert_int_equal(posters[i].seen, POSTS);
	}
	assert_null(vg_loop_current());
}

/* Two loops that send one post to and fro: it is posted again from within run(). */
struct pingpong {
	struct vg_post p;
	struct vg_loop *loops[2];
	unsigned at, rounds;
	unsigned long plain; /* handed over with the post, without any lock */
};

static void run_pingpong(struct vg_post *p)
{
	struct pingpong *x = (struct pingpong *)p;
	struct vg_loop *here = x->loops[x->at];

	assert_ptr_equal(vg_loop_current(), here);
	x->plain++;
	if (x->rounds-- == 0) {
		vg_loop_stop(here);
		return;
	}
	x->at = !x->at;
	vg_loop_post(x->loops[x->at], p);
}

static void *run_other(void *arg)
{
	assert_int_equal(vg_loop_run(arg), 0);
	return NULL;
}

static void run_stop(struct vg_post *p)
{
	(void)p;
	vg_loop_stop(vg_loop_current());
}

static void test_post_between_loops(void **state)
{
	struct pingpong x = { .p.run = run_pingpong, .loops[0] = loop, .rounds = 3000 };
	struct vg_post stop = { .run = run_stop };
	pthread_t other;

	(void)state;
	assert_int_equal(vg_loop_new(8, &x.loops[1]), 0);
	assert_int_equal(pthread_create(&other, NULL, run_other, x.loops[1]), 0);
	vg_loop_post(loop, &x.p);
	assert_int_equal(x.plain, 0); /* not from within the call */
	assert_int_equal(vg_loop_run(loop), 0);
	assert_int_equal(x.plain, 3001);
	vg_loop_post(x.loops[1], &stop);
	pthread_join(other, NULL);
	vg_loop_free(x.loops[1]);
}

/* A post that posts itself for ever leaves room for the rest of the turn. */
static void run_self(struct vg_post *p)
{
	((struct posted *)p)->n++;
	vg_loop_post(vg_loop_current(), p);
}

static void test_post_is_fair(void **state)
{
	struct posted self = { .p.run = run_self };
	struct op op = { .io.done = op_done };
	char byte[1];
	struct iovec iov = { byte, 1 };
	int fd = temp_file();

	(void)state;
	vg_loop_post(loop, &self.p);
	while (self.n < 10)
		vg_loop_turn(loop, true);
	vg_loop_readv(loop, &op.io, fd, &iov, 1, 0);
	while (!op.calls)
		vg_loop_turn(loop, true);
	close(fd);
}

static void until(const struct op *op, int calls)
{
	while (op->calls < calls)
		assert_true(vg_loop_turn(loop, true) >= 0);
}

struct writable {
	struct vg_watch w;
	int calls;
	unsigned events;
};

static void writable_ready(struct vg_watch *w, unsigned events)
{
	struct writable *x = (struct writable *)w;

	x->calls++;
	x->events = events;
}

/* A socket whose buffer is full becomes writable when its peer reads. */
static void test_watch_for_writing(void **state)
{
	struct writable x = { .w.ready = writable_ready };
	char buf[4096] = "";
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	while (write(pair[0], buf, sizeof(buf)) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	vg_loop_watch_for(loop, &x.w, pair[0], POLLOUT);
	vg_loop_turn(loop, false);
	assert_int_equal(x.calls, 0);
	while (read(pair[1], buf, sizeof(buf)) > 0)
		;
	while (!x.calls)
		vg_loop_turn(loop, true);
	assert_true(x.events & POLLOUT);
	assert_false(x.events & POLLIN);
	vg_loop_unwatch(&x.w);
	close(pair[0]);
	close(pair[1]);
}

static void test_sockets(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "loop.sock" };
	struct op accepted = { .io.done = op_done }, connected = { .io.done = op_done };
	struct op sent = { .io.done = op_done }, received = { .io.done = op_done };
	char in[8] = "";
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), to = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	unlink(un.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 1), 0);
	vg_loop_accept(loop, &accepted.io, fd, SOCK_CLOEXEC);
	vg_loop_connect(loop, &connected.io, to, (struct sockaddr *)&un, sizeof(un));
	until(&accepted, 1);
	until(&connected, 1);
	assert_true(accepted.res >= 0);
	assert_int_equal(connected.res, 0);
	assert_true(fcntl(accepted.res, F_GETFD) & FD_CLOEXEC);
	vg_loop_recv(loop, &received.io, accepted.res, in, sizeof(in), 0);
	vg_loop_send(loop, &sent.io, to, "hello", 5, MSG_NOSIGNAL);
	until(&received, 1);
	until(&sent, 1);
	assert_int_equal(sent.res, 5);
	assert_int_equal(received.res, 5);
	assert_memory_equal(in, "hello", 5);
	/* One that would wait for ever is cancelled, and says so. */
	vg_loop_recv(loop, &received.io, accepted.res, in, sizeof(in), 0);
	vg_loop_turn(loop, false);
	vg_loop_cancel(loop, &received.io);
	until(&received, 2);
	assert_int_equal(received.res, -ECANCELED);
	close(accepted.res);
	vg_loop_send(loop, &sent.io, to, "hello", 5, MSG_NOSIGNAL);
	until(&sent, 2);
	assert_int_equal(sent.res, -EPIPE);
	close(fd);
	close(to);
	unlink(un.sun_path);
}

static void test_now(void **state)
{
	struct timed x = { .t.expired = expired };
	int64_t before = vg_now_ns(), now = vg_loop_now(loop);

	(void)state;
	assert_true(now >= before);
	usleep(2000);
	assert_int_equal(vg_loop_now(loop), now); /* the same all through a turn */
	vg_loop_timer(loop, &x.t, 1000000);
	while (!x.calls)
		vg_loop_turn(loop, true);
	assert_true(vg_loop_now(loop) >= now + 1000000);
}

/* ---- restrictions: each in a process of its own, which has no other loop --------- */

static int in_child(void (*run)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		vg_loop_free(loop); /* the parent's */
		run();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define CHILD(x)                               \
	do {                                   \
		if (!(x))                      \
			_exit(__LINE__ & 127); \
	} while (0)

static void restricted(void)
{
	char byte[1];
	struct iovec iov = { byte, 1 };
	struct op read_op = { .io.done = op_done }, write_op = { .io.done = op_done };
	struct op hole = { .io.done = op_done }, send_op = { .io.done = op_done };
	struct timed timer = { .t.expired = expired };
	int fd = temp_file(), pair[2];

	CHILD(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHILD(ftruncate(fd, 1) == 0);
	CHILD(vg_loop_new_disabled(8, &loop) == 0);
	/* Nothing reaches the kernel before it is enabled. */
	vg_loop_readv(loop, &read_op.io, fd, &iov, 1, 0);
	vg_loop_timer(loop, &timer.t, 1000000);
	CHILD(vg_loop_turn(loop, false) == -EBADFD);
	CHILD(read_op.calls == 0);
	CHILD(vg_loops_enable(VG_LOOP_READ) == 0);
	while (!read_op.calls || !timer.calls)
		CHILD(vg_loop_turn(loop, true) >= 0);
	CHILD(read_op.res == 1);
	vg_loop_writev(loop, &write_op.io, fd, &iov, 1, 0, 0);
	vg_loop_fallocate(loop, &hole.io, fd, FALLOC_FL_KEEP_SIZE, 0, 1);
	vg_loop_send(loop, &send_op.io, pair[0], byte, 1, 0);
	while (!write_op.calls || !hole.calls || !send_op.calls)
		CHILD(vg_loop_turn(loop, true) >= 0);
	CHILD(write_op.res == -EACCES);
	CHILD(hole.res == -EACCES);
	CHILD(send_op.res == -EACCES);
	vg_loop_readv(loop, &read_op.io, fd, &iov, 1, 0);
	while (read_op.calls < 2)
		CHILD(vg_loop_turn(loop, true) >= 0);
	CHILD(read_op.res == 1);
}

/* Restricted, it discards from the file that was named, and from no other. */
static void discards(void)
{
	enum { MANY = 40 };
	struct op other = { .io.done = op_done }, many[MANY], own = { .io.done = op_done };
	int file = temp_file(), back = temp_file(), device;
	char path[32];

	CHILD(ftruncate(back, 1 << 20) == 0);
	device = loop_device(back, path, sizeof(path));
	vg_loops_discard(device < 0 ? file : device);
	CHILD(vg_loop_new_disabled(8, &loop) == 0);
	CHILD(vg_loops_enable(VG_LOOP_READ) == 0);
	vg_loop_discard(loop, &other.io, temp_file(), 0, 4096);
	vg_loop_discard(loop, &own.io, device < 0 ? file : device, 0, 4096);
	while (!other.calls || !own.calls)
		CHILD(vg_loop_turn(loop, true) >= 0);
	CHILD(other.res == -EACCES);
	CHILD(own.res == -EOPNOTSUPP || (device >= 0 && own.res == 0));
	/* More than the ring has room for, of submissions and of completions. */
	for (unsigned i = 0; i < MANY; i++) {
		many[i] = (struct op){ .io.done = op_done };
		vg_loop_discard(loop, &many[i].io, device < 0 ? file : device, i * 4096, 4096);
	}
	for (unsigned i = 0; i < MANY; i++) {
		while (!many[i].calls)
			CHILD(vg_loop_turn(loop, true) >= 0);
		CHILD(many[i].res == own.res);
	}
	vg_loop_free(loop);
	/* None is named any more. */
	vg_loops_discard(-1);
	CHILD(vg_loop_new_disabled(8, &loop) == 0);
	CHILD(vg_loops_enable(VG_LOOP_READ) == 0);
	vg_loop_discard(loop, &own.io, file, 0, 4096);
	while (own.calls < 2)
		CHILD(vg_loop_turn(loop, true) >= 0);
	CHILD(own.res == -EACCES);
}

static void one_is_open(void)
{
	struct vg_loop *other;

	CHILD(vg_loop_new_disabled(8, &loop) == 0);
	CHILD(vg_loop_new(8, &other) == 0);
	CHILD(vg_loops_enable(VG_LOOP_READ) == -EBUSY);
	CHILD(vg_loop_turn(loop, false) == -EBADFD);
	vg_loop_free(other);
	CHILD(vg_loops_enable(VG_LOOP_READ) == 0);
	CHILD(vg_loop_turn(loop, false) >= 0);
}

static void not_restricted(void)
{
	char byte[1] = "";
	struct iovec iov = { byte, 1 };
	struct op op = { .io.done = op_done };

	CHILD(vg_loop_new_disabled(8, &loop) == 0);
	CHILD(vg_loops_enable(VG_LOOP_ANY) == 0);
	vg_loop_writev(loop, &op.io, temp_file(), &iov, 1, 0, 0);
	while (!op.calls)
		CHILD(vg_loop_turn(loop, true) >= 0);
	CHILD(op.res == 1);
}

/* Threads that run their loops before these are enabled wait, and then go on. */
static void threads_wait(void)
{
	struct vg_post stop = { .run = run_stop };
	pthread_t thread;

	CHILD(vg_loop_new_disabled(8, &loop) == 0);
	CHILD(pthread_create(&thread, NULL, run_other, loop) == 0);
	usleep(20000);
	CHILD(vg_loops_enable(0) == 0);
	vg_loop_post(loop, &stop);
	CHILD(pthread_join(thread, NULL) == 0);
}

static int io(void (*give)(struct vg_io *io, int fd, const struct iovec *iov), int fd, void *at,
	      size_t len)
{
	struct op op = { .io.done = op_done };
	struct iovec iov = { at, len };

	give(&op.io, fd, &iov);
	while (!op.calls)
		CHILD(vg_loop_turn(loop, true) >= 0);
	return op.res;
}

static void give_read(struct vg_io *io, int fd, const struct iovec *iov)
{
	vg_loop_readv(loop, io, fd, iov, 1, 0);
}

static void give_write(struct vg_io *io, int fd, const struct iovec *iov)
{
	vg_loop_writev(loop, io, fd, iov, 1, 0, RWF_DSYNC);
}

static char *pages(void *at, unsigned n)
{
	char *p = mmap(at, n * 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);

	CHILD(p != MAP_FAILED);
	return p;
}

/* Of pinned memory the kernel has the pages themselves: those that come in their place later it knows
 * nothing of. What is not all pinned goes where its address is. */
static void pinned(void)
{
	char *at = pages(NULL, 3);
	int fd = temp_file();

	CHILD(vg_loop_new_disabled(8, &loop) == 0);
	CHILD(vg_loop_pin(loop, at, 8192) == 0);
	CHILD(vg_loop_pin(loop, at, 8192) == -EBUSY);
	CHILD(vg_loops_enable(VG_LOOP_READ | VG_LOOP_WRITE) == 0);
	memcpy(at, "first", 5);
	CHILD(io(give_write, fd, at, 5) == 5);
	memset(at, 0, 5);
	CHILD(io(give_read, fd, at, 5) == 5);
	CHILD(memcmp(at, "first", 5) == 0);
	CHILD(io(give_read, fd, at + 8190, 5) == 5);
	CHILD(memcmp(at + 8190, "first", 5) == 0);
	CHILD(io(give_read, fd, at + 8192, 5) == 5);
	CHILD(memcmp(at + 8192, "first", 5) == 0);
	pages(at, 3);
	CHILD(io(give_read, fd, at, 5) == 5 && at[0] == 0);
	CHILD(io(give_read, fd, at + 4096, 4096) == 5 && at[4096] == 0);
	CHILD(io(give_read, fd, at + 8190, 5) == 5 && at[8190] == 'f');
	memcpy(at, "other", 5);
	CHILD(io(give_write, fd, at, 5) == 5);
	CHILD(pread(fd, at, 5, 0) == 5 && memcmp(at, "first", 5) == 0);
}

static void pinned_restricted(void)
{
	char *at = pages(NULL, 1);
	int fd = temp_file();

	CHILD(vg_loop_new_disabled(8, &loop) == 0);
	CHILD(vg_loop_pin(loop, at, 4096) == 0);
	CHILD(vg_loops_enable(VG_LOOP_READ) == 0);
	CHILD(io(give_write, fd, at, 4096) == -EACCES);
	CHILD(io(give_read, fd, at, 4096) == 0);
	CHILD(vg_loop_pin(loop, at, 4096) == -EACCES);
}

static void test_pinned(void **state)
{
	(void)state;
	assert_int_equal(in_child(pinned), 0);
	assert_int_equal(in_child(pinned_restricted), 0);
}

static void test_restrictions(void **state)
{
	(void)state;
	assert_int_equal(in_child(restricted), 0);
	assert_int_equal(in_child(discards), 0);
	assert_int_equal(in_child(one_is_open), 0);
	assert_int_equal(in_child(not_restricted), 0);
	assert_int_equal(in_child(threads_wait), 0);
}

struct glance {
	struct vg_poller poller;
	unsigned looks, overs, find_at; /* 0: never finds */
	struct vg_poller *other;	/* is ended by it */
};

static bool glance_look(struct vg_poller *p)
{
	struct glance *g = (struct glance *)p;

	g->looks++;
	if (g->looks != g->find_at)
		return false;
	if (g->other)
		vg_loop_unpoll(g->other);
	return true;
}

/* One that is to find something goes on, if it ended because others wanted the processor. */
static void glance_over(struct vg_poller *p, bool preempted)
{
	struct glance *g = (struct glance *)p;

	g->overs++;
	if (g->find_at && preempted)
		vg_loop_poll(loop, p, 3600 * INT64_C(1000000000));
}

static void glance_begin(struct glance *g, int64_t ns)
{
	g->poller.look = glance_look;
	g->poller.over = glance_over;
	vg_loop_poll(loop, &g->poller, ns);
}

/* It is looked at until it finds something, and not any more then. */
static void test_poll_finds(void **state)
{
	struct glance g = { .find_at = 1000 };

	(void)state;
	glance_begin(&g, 3600 * INT64_C(1000000000));
	while (g.looks < 1000)
		assert_true(vg_loop_turn(loop, true) >= 0);
	for (unsigned looks = g.looks, i = 0; i < 3; i++) {
		assert_true(vg_loop_turn(loop, false) >= 0);
		assert_int_equal(g.looks, looks);
	}
}

/* A turn that must not wait looks once. */
static void test_poll_once(void **state)
{
	struct glance g = { 0 };

	(void)state;
	glance_begin(&g, 3600 * INT64_C(1000000000));
	assert_true(vg_loop_turn(loop, false) >= 0); /* submits what the loop itself watches */
	g.looks = 0;
	assert_true(vg_loop_turn(loop, false) >= 0);
	assert_int_equal(g.looks, 1);
	vg_loop_unpoll(&g.poller);
	assert_true(vg_loop_turn(loop, false) >= 0);
	assert_int_equal(g.looks, 1);
	vg_loop_unpoll(&g.poller); /* of one that does not run: nothing */
}

/* The time is over; and once both are, the loop waits again, here for a timer. */
static void expired_too(struct vg_timer *t)
{
	t->expired = NULL;
}

static void test_poll_is_over(void **state)
{
	struct glance g[2] = { { { 0 }, 0, 0, 0, NULL }, { { 0 }, 0, 0, 0, NULL } };
	struct vg_timer t = { .expired = expired_too };

	(void)state;
	glance_begin(&g[0], 1000000);
	glance_begin(&g[1], 2000000);
	vg_loop_timer(loop, &t, 20000000);
	while (t.expired)
		assert_true(vg_loop_turn(loop, true) >= 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(g[i].looks > 0);
		assert_int_equal(g[i].overs, 1);
	}
}

/* What else comes is handled meanwhile, and the looking goes on. */
static void test_poll_meanwhile(void **state)
{
	struct glance g[2] = { { .find_at = 0 }, { .find_at = 1 } };
	struct op op = { .io.done = op_done };
	char byte = 1;
	struct iovec iov = { &byte, 1 };
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	vg_loop_readv(loop, &op.io, pair[0], &iov, 1, 0);
	assert_true(vg_loop_turn(loop, false) >= 0);
	glance_begin(&g[0], 3600 * INT64_C(1000000000));
	assert_int_equal(write(pair[1], "x", 1), 1);
	while (!op.calls)
		assert_true(vg_loop_turn(loop, true) >= 0);
	assert_int_equal(byte, 'x');
	if (!g[0].overs) {
		unsigned looks = g[0].looks;

		/* One poller ends another from within its look. */
		g[1].other = &g[0].poller;
		glance_begin(&g[1], 3600 * INT64_C(1000000000));
		assert_true(vg_loop_turn(loop, true) >= 0);
		assert_int_equal(g[0].looks, looks);
	}
	vg_loop_unpoll(&g[1].poller);
	vg_loop_unpoll(&g[0].poller);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_file_io, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_read_now, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_more_than_the_queue, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_turn_within_a_turn, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_watch, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_unwatch_from_within, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_timer, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_deferred, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_deferred_is_fair, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_post_from_threads, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_post_between_loops, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_post_is_fair, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_watch_for_writing, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_sockets, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_now, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_poll_finds, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_poll_once, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_poll_is_over, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_poll_meanwhile, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_restrictions, make_loop, free_loop),
		cmocka_unit_test_setup_teardown(test_pinned, make_loop, free_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
