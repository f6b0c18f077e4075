// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * loop.c - see loop.h
 *
 * The kernel returns a pointer with each completion: that of the operation's
 * struct vg_io. Watches and timers may be forgotten by their owner while the
 * kernel still holds them, so theirs is not their own address but that of a
 * small heap record, which outlives the owner until the kernel's last word:
 *
 *	owner (vg_watch, vg_timer) <---> struct vg_tether <--- kernel
 *
 * To unwatch is to cut the tether and to ask the kernel to cancel; the record
 * is freed at its final completion.
 *
 * What other threads post is a stack, pushed by compare-and-exchange. The loop takes it whole, which
 * leaves no room for an ABA mistake, and turns it round: first in, first out. Who pushes onto an
 * empty stack writes an eventfd that the loop watches. The loop reads that first and takes the stack
 * then, so that whatever it does not find is followed by another write.
 *
 * fallocate(2) is no operation of the ring either, but a thread's (hand.h), which a restricted loop
 * has from its enabling on, and another one from the first on.
 *
 * A command for a file (URING_CMD) means what the file takes it for: to a block device, to discard;
 * to a socket, since Linux 6.7, to set its options. The list of a ring's operations cannot tell
 * these apart, nor one descriptor from another. So no restricted loop has that operation. A loop
 * that is to discard has a second ring, which takes nothing else, and it from one file alone: the
 * only one that is registered with it, and it serves registered ones alone. The first ring polls
 * the second. The registered file stays open until the kernel has taken the ring apart, some 25 ms
 * after the process has ended: its lock is held as long, and a successor tries again.
 */
#include "backend/base/loop.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/base/hand.h"
#include "backend/base/limits.h"

enum { CQE_BATCH = 64, COMMANDS = 16 };
/* While memory is looked at: how often others are let run, and how long that takes if they do. */
enum { SPIN_YIELD_NS = 50000, SPIN_GAP_NS = 100000 };

struct vg_tether {
	struct vg_io io;
	struct vg_loop *loop;
	struct vg_tether *next, **pprev; /* of loop->tethers, for vg_loop_free() */
	struct vg_watch *watch;		 /* one of the two, or neither: cut */
	struct vg_timer *timer;
	int fd;
	unsigned events; /* of the watch */
	struct __kernel_timespec ts;
};

/* One fallocate(2) under way. */
struct allocation {
	struct vg_hand_job job;
	struct vg_post post;
	struct vg_io *io;
	struct allocation *next, **pprev; /* of loop->allocations */
};

struct vg_loop {
	struct io_uring ring; /* these two first: tests/unit/worker/test_sandbox.c attacks them */
	struct io_uring commands; /* see the top; there is one when commands_fd >= 0 */
	int commands_fd;	  /* of the file, as the caller knows it */
	struct vg_watch commands_watch;
	struct vg_deferred *deferred, **deferred_tail;
	unsigned turn; /* of run_deferred(); marks what was deferred since it began */
	struct vg_poller *pollers;
	char *pinned; /* vg_loop_pin(): so many bytes from here */
	size_t n_pinned;
	struct vg_tether *tethers;
	/* Reaped and not yet handled. In the loop, not on the stack: a done() may itself turn the
	 * loop (a device that drains), and must then see what came in the same batch. */
	struct completion {
		struct vg_io *io;
		int res;
		unsigned flags;
	} ready[CQE_BATCH];
	unsigned ready_next, ready_n;
	bool stop;
	int64_t now;		       /* of this turn; 0: not asked for yet */
	struct vg_loop *next, **pprev; /* of loops */
	enum { OPEN, DISABLED, RESTRICTED } state;
	_Atomic(struct vg_post *) posted; /* the newest first */
	struct vg_watch post_watch;
	int post_fd;
	struct vg_hand *hand; /* NULL: not needed yet, or never */
	struct allocation *allocations;
};

static _Thread_local struct vg_loop *current;

/* All of this process, so that none is forgotten when the sandbox restricts them. */
static pthread_mutex_t loops_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t loops_enabled = PTHREAD_COND_INITIALIZER;
static struct vg_loop *loops;
static int discard_fd = -1; /* vg_loops_discard() */

/* The operation codes behind VG_LOOP_*, as the functions below prepare them. */
static const struct {
	unsigned may; /* 0: always */
	uint8_t op;
} ring_ops[] = {
	{ 0, IORING_OP_POLL_ADD },
	{ 0, IORING_OP_TIMEOUT },
	{ 0, IORING_OP_ASYNC_CANCEL },
	{ VG_LOOP_READ, IORING_OP_READ },
	{ VG_LOOP_READ, IORING_OP_READV },
	{ VG_LOOP_READ, IORING_OP_READ_FIXED },
	{ VG_LOOP_WRITE, IORING_OP_WRITE },
	{ VG_LOOP_WRITE, IORING_OP_WRITEV },
	{ VG_LOOP_WRITE, IORING_OP_WRITE_FIXED },
	{ VG_LOOP_SYNC, IORING_OP_FSYNC },
	{ VG_LOOP_ACCEPT, IORING_OP_ACCEPT },
	{ VG_LOOP_CONNECT, IORING_OP_CONNECT },
	{ VG_LOOP_SEND, IORING_OP_SEND },
	{ VG_LOOP_RECV, IORING_OP_RECV },
};

int64_t vg_loop_now(struct vg_loop *loop)
{
	if (!loop->now)
		loop->now = vg_now_ns();
	return loop->now;
}

static void tether_free(struct vg_tether *t)
{
	*t->pprev = t->next;
	if (t->next)
		t->next->pprev = t->pprev;
	free(t);
}

static void allocation_free(struct allocation *a)
{
	*a->pprev = a->next;
	if (a->next)
		a->next->pprev = a->pprev;
	free(a);
}

void vg_loop_free(struct vg_loop *loop)
{
	struct vg_tether *next;

	if (!loop)
		return;
	pthread_mutex_lock(&loops_lock);
	*loop->pprev = loop->next;
	if (loop->next)
		loop->next->pprev = loop->pprev;
	pthread_mutex_unlock(&loops_lock);
	vg_hand_free(loop->hand);
	for (struct allocation *a = loop->allocations, *after; a; a = after) {
		after = a->next;
		free(a);
	}
	if (loop->commands_fd >= 0)
		io_uring_queue_exit(&loop->commands);
	io_uring_queue_exit(&loop->ring);
	for (struct vg_tether *t = loop->tethers; t; t = next) {
		next = t->next;
		if (t->watch)
			t->watch->tether = NULL;
		if (t->timer)
			t->timer->tether = NULL;
		free(t);
	}
	close(loop->post_fd);
	free(loop);
}

/* A submission entry; makes room by submitting when the queue is full. */
static struct io_uring_sqe *get_sqe(struct vg_loop *loop)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&loop->ring))) {
		int ret = io_uring_submit(&loop->ring);

		/* -EBUSY: completions overflowed; they are reaped by the next turn, yet the
		 * submission queue must drain now. io_uring_get_events flushes the overflow. */
		if (ret == -EBUSY || ret == -EAGAIN)
			io_uring_get_events(&loop->ring);
		else if (ret < 0 && ret != -EINTR)
			abort(); /* the ring itself is broken, or more was queued before it was
				  * enabled than fits: no way to carry on, or to report */
	}
	return sqe;
}

int vg_loop_pin(struct vg_loop *loop, void *at, size_t len)
{
	struct iovec all = { at, len };
	int ret = io_uring_register_buffers(&loop->ring, &all, 1);

	if (ret < 0)
		return ret;
	loop->pinned = at;
	loop->n_pinned = len;
	return 0;
}

static bool is_pinned(const struct vg_loop *loop, const struct iovec *iov)
{
	size_t at = (uintptr_t)iov->iov_base - (uintptr_t)loop->pinned;

	return at < loop->n_pinned && iov->iov_len <= loop->n_pinned - at;
}

static void readv_with(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		       unsigned niov, uint64_t offset, int rw_flags)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (niov == 1 && is_pinned(loop, iov))
		io_uring_prep_read_fixed(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, offset, 0);
	else if (niov == 1)
		io_uring_prep_read(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, offset);
	else
		io_uring_prep_readv(sqe, fd, iov, niov, offset);
	sqe->rw_flags = rw_flags;
	io_uring_sqe_set_data(sqe, io);
}

void vg_loop_readv(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		   unsigned niov, uint64_t offset)
{
	readv_with(loop, io, fd, iov, niov, offset, 0);
}

void vg_loop_readv_now(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		       unsigned niov, uint64_t offset)
{
	readv_with(loop, io, fd, iov, niov, offset, RWF_NOWAIT);
}

void vg_loop_writev(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		    unsigned niov, uint64_t offset, int rw_flags)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (niov == 1 && is_pinned(loop, iov))
		io_uring_prep_write_fixed(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, offset,
					  0);
	else if (niov == 1)
		io_uring_prep_write(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, offset);
	else
		io_uring_prep_writev(sqe, fd, iov, niov, offset);
	sqe->rw_flags = rw_flags;
	io_uring_sqe_set_data(sqe, io);
}

void vg_loop_fdatasync(struct vg_loop *loop, struct vg_io *io, int fd)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data(sqe, io);
}

static void allocated(struct vg_post *p)
{
	struct allocation *a = container_of(p, struct allocation, post);
	struct vg_io *io = a->io;
	int res = a->job.res;

	allocation_free(a);
	io->done(io, res);
}

/* In the hand's thread. */
static void hand_done(void *owner, struct vg_hand_job *job)
{
	vg_loop_post(owner, &container_of(job, struct allocation, job)->post);
}

void vg_loop_fallocate(struct vg_loop *loop, struct vg_io *io, int fd, int mode, uint64_t offset,
		       uint64_t len)
{
	struct allocation *a = calloc(1, sizeof(*a));

	if (!a)
		abort(); /* some bytes for each request of a guest's queue */
	a->job = (struct vg_hand_job){ .fd = fd, .mode = mode, .offset = offset, .len = len };
	a->post.run = allocated;
	a->io = io;
	a->next = loop->allocations;
	a->pprev = &loop->allocations;
	if (a->next)
		a->next->pprev = &a->next;
	loop->allocations = a;
	if (!loop->hand)
		a->job.res = loop->state == RESTRICTED ? -EACCES
						       : vg_hand_new(hand_done, loop, &loop->hand);
	if (loop->hand)
		vg_hand_give(loop->hand, &a->job);
	else
		vg_loop_post(loop, &a->post);
}

void vg_loop_accept(struct vg_loop *loop, struct vg_io *io, int fd, int flags)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_accept(sqe, fd, NULL, NULL, flags);
	io_uring_sqe_set_data(sqe, io);
}

void vg_loop_connect(struct vg_loop *loop, struct vg_io *io, int fd, const struct sockaddr *addr,
		     unsigned len)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_connect(sqe, fd, addr, len);
	io_uring_sqe_set_data(sqe, io);
}

void vg_loop_send(struct vg_loop *loop, struct vg_io *io, int fd, const void *buf, size_t len,
		  int flags)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_send(sqe, fd, buf, len, flags);
	io_uring_sqe_set_data(sqe, io);
}

void vg_loop_recv(struct vg_loop *loop, struct vg_io *io, int fd, void *buf, size_t len, int flags)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_recv(sqe, fd, buf, len, flags);
	io_uring_sqe_set_data(sqe, io);
}

/* The room for submissions is empty again after each, so that there is always some. */
static struct io_uring_sqe *command_sqe(struct vg_loop *loop, int fd)
{
	struct io_uring_sqe *sqe;

	/* Without a ring for it, one that is not restricted takes it; the other says -EACCES. */
	if (loop->commands_fd < 0 || loop->commands_fd != fd) {
		sqe = get_sqe(loop);
		memset(sqe, 0, sizeof(*sqe));
		sqe->fd = fd;
		return sqe;
	}
	sqe = io_uring_get_sqe(&loop->commands);
	if (!sqe)
		abort();
	memset(sqe, 0, sizeof(*sqe));
	sqe->flags = IOSQE_FIXED_FILE;
	return sqe;
}

/* block/ioctl.c, blkdev_uring_cmd(): the numbers are those of linux/blkdev.h since 6.12. */
void vg_loop_discard(struct vg_loop *loop, struct vg_io *io, int fd, uint64_t offset, uint64_t len)
{
	struct io_uring_sqe *sqe = command_sqe(loop, fd);
	int ret;

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->cmd_op = _IO(0x12, 0); /* BLOCK_URING_CMD_DISCARD */
	sqe->addr = offset;
	sqe->addr3 = len;
	io_uring_sqe_set_data(sqe, io);
	if (!(sqe->flags & IOSQE_FIXED_FILE))
		return;
	while ((ret = io_uring_submit(&loop->commands)) < 0) {
		if (ret == -EBUSY) /* as in get_sqe() */
			io_uring_get_events(&loop->commands);
		else if (ret != -EAGAIN && ret != -EINTR)
			abort();
	}
}

static void commands_done(struct vg_watch *w, unsigned events)
{
	struct vg_loop *loop = container_of(w, struct vg_loop, commands_watch);
	struct io_uring_cqe *cqe;

	(void)events;
	/* Into memory of ours first: done() may turn the loop. */
	while (io_uring_peek_cqe(&loop->commands, &cqe) == 0) {
		struct vg_io *io = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&loop->commands, cqe);
		io->done(io, res);
	}
}

void vg_loop_cancel(struct vg_loop *loop, struct vg_io *io)
{
	struct io_uring_sqe *sqe;

	for (struct allocation *a = loop->allocations; a; a = a->next) {
		if (a->io == io) {
			atomic_store(&a->job.cancelled, true);
			return;
		}
	}
	sqe = get_sqe(loop);
	io_uring_prep_cancel(sqe, io, 0);
	io_uring_sqe_set_data(sqe, NULL);
}

static struct vg_tether *tether_new(struct vg_loop *loop)
{
	struct vg_tether *t = calloc(1, sizeof(*t));

	if (!t)
		abort(); /* some bytes at start-up; nothing can be watched without */
	t->loop = loop;
	t->next = loop->tethers;
	t->pprev = &loop->tethers;
	if (t->next)
		t->next->pprev = &t->next;
	loop->tethers = t;
	return t;
}

static void watch_submit(struct vg_tether *t)
{
	struct io_uring_sqe *sqe = get_sqe(t->loop);

	io_uring_prep_poll_multishot(sqe, t->fd, t->events);
	io_uring_sqe_set_data(sqe, &t->io);
}

/* One completion of a multishot poll. */
static void watch_fired(struct vg_io *io, int res)
{
	struct vg_tether *t = container_of(io, struct vg_tether, io);

	if (t->watch && res > 0)
		t->watch->ready(t->watch, (unsigned)res);
	else if (t->watch && res < 0 && res != -ECANCELED)
		t->watch->ready(t->watch, POLLERR);
}

/* The kernel ends a multishot poll by cancellation, on an error, or when completions overflow. */
static void watch_ended(struct vg_tether *t)
{
	if (t->watch)
		watch_submit(t);
	else
		tether_free(t);
}

void vg_loop_watch(struct vg_loop *loop, struct vg_watch *w, int fd)
{
	vg_loop_watch_for(loop, w, fd, POLLIN);
}

void vg_loop_watch_for(struct vg_loop *loop, struct vg_watch *w, int fd, unsigned events)
{
	struct vg_tether *t = tether_new(loop);

	t->io.done = watch_fired;
	t->watch = w;
	t->fd = fd;
	t->events = events;
	w->tether = t;
	watch_submit(t);
}

int vg_loop_watch_fd(const struct vg_watch *w)
{
	return w->tether ? w->tether->fd : -1;
}

void vg_loop_unwatch(struct vg_watch *w)
{
	struct vg_tether *t = w->tether;

	if (!t)
		return;
	w->tether = NULL;
	t->watch = NULL;
	vg_loop_cancel(t->loop, &t->io); /* whose completion frees the tether */
}

/* Run what was posted before now, the oldest first; what that posts is for a later turn. */
static void posts_ready(struct vg_watch *w, unsigned events)
{
	struct vg_loop *loop = container_of(w, struct vg_loop, post_watch);
	struct vg_post *stack, *next, *fifo = NULL;
	uint64_t n;

	(void)events;
	if (read(loop->post_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		abort(); /* a descriptor of ours is gone: nobody could reach this thread any more */
	for (stack = atomic_exchange(&loop->posted, NULL); stack; stack = next) {
		next = stack->next;
		stack->next = fifo;
		fifo = stack;
	}
	for (; fifo; fifo = next) {
		next = fifo->next; /* before it is posted again */
		fifo->run(fifo);
	}
}

void vg_loop_post(struct vg_loop *loop, struct vg_post *p)
{
	struct vg_post *head = atomic_load(&loop->posted);
	uint64_t one = 1;

	do {
		p->next = head;
	} while (!atomic_compare_exchange_weak(&loop->posted, &head, p));
	/* From here on @p belongs to the loop. EAGAIN cannot come: one write for each read. */
	if (!head && write(loop->post_fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

struct vg_loop *vg_loop_current(void)
{
	return current;
}

/*
 * COOP_TASKRUN (Linux 5.19): a completion does not interrupt the thread, which comes into the kernel
 * soon anyway: half the processor time of a buffered 4 KiB write over vhost-user (tests/bench).
 * DEFER_TASKRUN gains no more that could be measured, and binds the ring to one thread.
 */
static int loop_new(unsigned entries, bool disabled, struct vg_loop **out)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | (disabled ? IORING_SETUP_R_DISABLED : 0),
		.cq_entries = entries * 4,
	};
	unsigned threads[2] = { VG_LIMIT_IO_THREADS, VG_LIMIT_IO_THREADS_UNBOUND };
	struct vg_loop *loop = calloc(1, sizeof(*loop));
	int ret;

	if (!loop)
		return -ENOMEM;
	loop->post_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->post_fd < 0) {
		ret = -errno;
		free(loop);
		return ret;
	}
	ret = io_uring_queue_init_params(entries, &loop->ring, &params);
	if (ret < 0) {
		close(loop->post_fd);
		free(loop);
		return ret;
	}
	/* Kept by the ring for whichever thread submits. */
	io_uring_register_iowq_max_workers(&loop->ring, threads);
	loop->commands_fd = -1;
	loop->deferred_tail = &loop->deferred;
	loop->post_watch.ready = posts_ready;
	vg_loop_watch(loop, &loop->post_watch, loop->post_fd);
	loop->state = disabled ? DISABLED : OPEN;
	pthread_mutex_lock(&loops_lock);
	loop->next = loops;
	loop->pprev = &loops;
	if (loops)
		loops->pprev = &loop->next;
	loops = loop;
	pthread_mutex_unlock(&loops_lock);
	*out = loop;
	return 0;
}

int vg_loop_new(unsigned entries, struct vg_loop **out)
{
	return loop_new(entries, false, out);
}

int vg_loop_new_disabled(unsigned entries, struct vg_loop **out)
{
	return loop_new(entries, true, out);
}

/* liburing 2.3 declares functions for the two operations that follow, and does not export them. */
static int ring_register(struct io_uring *ring, unsigned opcode, void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, ring->ring_fd, opcode, arg, n) < 0 ? -errno : 0;
}

/* From its enabling on the ring takes operations of @may alone, plain ones: no links, no drains, no
 * registered files; and nothing can be registered with it any more. */
static int restrict_ring(struct vg_loop *loop, unsigned may)
{
	struct io_uring_restriction list[COUNT(ring_ops) + 1];
	unsigned n = 0;

	memset(list, 0, sizeof(list));
	for (unsigned i = 0; i < COUNT(ring_ops); i++) {
		if (ring_ops[i].may && !(ring_ops[i].may & may))
			continue;
		list[n].opcode = IORING_RESTRICTION_SQE_OP;
		list[n++].sqe_op = ring_ops[i].op;
	}
	list[n++].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED; /* of which none */
	return ring_register(&loop->ring, IORING_REGISTER_RESTRICTIONS, list, n);
}

/* The ring for commands to @fd, which is enabled, and takes nothing else if @restricted. */
static int make_commands(struct vg_loop *loop, int fd, bool restricted)
{
	struct io_uring_restriction list[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_URING_CMD },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
	};
	struct io_uring_params params = { .flags = IORING_SETUP_R_DISABLED };
	int ret = io_uring_queue_init_params(COMMANDS, &loop->commands, &params);

	if (ret < 0)
		return ret;
	ret = ring_register(&loop->commands, IORING_REGISTER_FILES, &fd, 1);
	if (ret == 0 && restricted)
		ret = ring_register(&loop->commands, IORING_REGISTER_RESTRICTIONS, list,
				    COUNT(list));
	if (ret == 0)
		ret = ring_register(&loop->commands, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (ret < 0) {
		io_uring_queue_exit(&loop->commands);
		return ret;
	}
	loop->commands_fd = fd;
	loop->commands_watch.ready = commands_done;
	vg_loop_watch(loop, &loop->commands_watch, loop->commands.ring_fd);
	return 0;
}

void vg_loops_discard(int fd)
{
	pthread_mutex_lock(&loops_lock);
	discard_fd = fd;
	pthread_mutex_unlock(&loops_lock);
}

int vg_loops_enable(unsigned may)
{
	int ret = 0;

	pthread_mutex_lock(&loops_lock);
	for (struct vg_loop *l = loops; l && may != VG_LOOP_ANY; l = l->next)
		ret = l->state == OPEN ? -EBUSY : ret;
	for (struct vg_loop *l = loops; l && ret == 0; l = l->next) {
		if (l->state != DISABLED)
			continue;
		if (may & VG_LOOP_FALLOCATE && may != VG_LOOP_ANY)
			ret = vg_hand_new(hand_done, l, &l->hand);
		if (ret == 0 && discard_fd >= 0)
			ret = make_commands(l, discard_fd, may != VG_LOOP_ANY);
		if (ret == 0 && may != VG_LOOP_ANY)
			ret = restrict_ring(l, may);
		if (ret == 0)
			ret = ring_register(&l->ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
		if (ret == 0)
			l->state = may == VG_LOOP_ANY ? OPEN : RESTRICTED;
	}
	pthread_cond_broadcast(&loops_enabled);
	pthread_mutex_unlock(&loops_lock);
	return ret;
}

static void timer_fired(struct vg_io *io, int res)
{
	struct vg_tether *t = container_of(io, struct vg_tether, io);
	struct vg_timer *timer = t->timer;

	(void)res;
	tether_free(t);
	if (timer) {
		timer->tether = NULL;
		timer->expired(timer);
	}
}

void vg_loop_timer(struct vg_loop *loop, struct vg_timer *timer, int64_t ns)
{
	struct vg_tether *t;
	struct io_uring_sqe *sqe;

	vg_loop_timer_stop(timer);
	t = tether_new(loop);
	t->io.done = timer_fired;
	t->timer = timer;
	t->ts.tv_sec = ns / NS_PER_S;
	t->ts.tv_nsec = ns % NS_PER_S;
	timer->tether = t;
	sqe = get_sqe(loop);
	io_uring_prep_timeout(sqe, &t->ts, 0, 0);
	io_uring_sqe_set_data(sqe, &t->io);
}

void vg_loop_timer_stop(struct vg_timer *timer)
{
	struct vg_tether *t = timer->tether;

	if (!t)
		return;
	timer->tether = NULL;
	t->timer = NULL;
	vg_loop_cancel(t->loop, &t->io); /* whose completion frees the tether */
}

void vg_loop_defer(struct vg_loop *loop, struct vg_deferred *d)
{
	if (d->queued)
		return;
	d->queued = true;
	d->next = NULL;
	d->turn = loop->turn;
	*loop->deferred_tail = d;
	loop->deferred_tail = &d->next;
}

void vg_loop_undefer(struct vg_loop *loop, struct vg_deferred *d)
{
	struct vg_deferred **p = &loop->deferred;

	if (!d->queued)
		return;
	while (*p != d)
		p = &(*p)->next;
	*p = d->next;
	if (!*p)
		loop->deferred_tail = p;
	d->queued = false;
}

/* Those that are queued now. What they defer, themselves included, is for the next turn: nothing
 * that a guest keeps busy holds up the rest. */
static void run_deferred(struct vg_loop *loop)
{
	unsigned turn = loop->turn++;
	struct vg_deferred *d;

	while ((d = loop->deferred) != NULL && (int)(d->turn - turn) <= 0) {
		vg_loop_undefer(loop, d);
		d->run(d);
	}
}

static void handle_cqe(struct vg_io *io, int res, unsigned flags)
{
	if (!io)
		return; /* the answer to a cancellation */
	if (io->done != watch_fired) {
		io->done(io, res);
		return;
	}
	watch_fired(io, res);
	if (!(flags & IORING_CQE_F_MORE))
		watch_ended(container_of(io, struct vg_tether, io));
}

void vg_loop_poll(struct vg_loop *loop, struct vg_poller *p, int64_t ns)
{
	vg_loop_unpoll(p);
	p->until = vg_span_ns() + ns;
	p->next = loop->pollers;
	p->pprev = &loop->pollers;
	if (p->next)
		p->next->pprev = &p->next;
	loop->pollers = p;
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

/* Whether the kernel has something, or would have if it were asked: a glance at shared memory. */
static bool completed(const struct vg_loop *loop)
{
	return io_uring_cq_ready(&loop->ring) ||
	       __atomic_load_n(loop->ring.sq.kflags, __ATOMIC_RELAXED) &
		       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* Look once at all that is looked at. Return: whether there was something. */
static bool look(struct vg_loop *loop, int64_t now, bool preempted)
{
	struct vg_poller *next;

	for (struct vg_poller *p = loop->pollers; p; p = next) {
		next = p->next;
		if (p->look(p)) {
			vg_loop_unpoll(p);
			return true;
		}
		if (preempted || now >= p->until) {
			vg_loop_unpoll(p);
			p->over(p, preempted);
			return false; /* it may have ended the next one */
		}
	}
	return false;
}

/*
 * Let others have the processor. Return: whether somebody took it: where nobody waits, the call comes
 * back in no time.
 */
static bool yield(int64_t now, int64_t *back)
{
	sched_yield();
	*back = vg_span_ns();
	return *back - now > SPIN_GAP_NS;
}

/* Leave the other threads of this core more room. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

/* Look, as long as there are pollers and nothing else to do; or @once. Return: whether one of them has
 * found something. */
static bool spin(struct vg_loop *loop, bool once)
{
	int64_t now, turn;
	bool found = false;

	if (!loop->pollers)
		return false;
	turn = vg_span_ns();
	while (!found && loop->pollers && !loop->deferred && !io_uring_sq_ready(&loop->ring) &&
	       !completed(loop)) {
		bool preempted = false;

		now = vg_span_ns();
		if (now - turn > SPIN_YIELD_NS) {
			preempted = yield(now, &turn);
			if (completed(loop))
				break;
		}
		loop->now = 0; /* the turn may have begun long ago */
		found = look(loop, now, preempted);
		if (once)
			break;
		relax();
	}
	return found;
}

/* Take what the kernel has completed, when nothing reaped is left to handle. */
static int reap(struct vg_loop *loop, bool wait)
{
	struct io_uring_cqe *cqes[CQE_BATCH];
	int ret;

	if (loop->ready_next < loop->ready_n)
		return 0;
	ret = io_uring_submit_and_wait(&loop->ring, wait ? 1 : 0);
	if (ret < 0 && ret != -EINTR && ret != -EBUSY && ret != -EAGAIN)
		return ret;
	loop->ready_next = 0;
	loop->ready_n = io_uring_peek_batch_cqe(&loop->ring, cqes, CQE_BATCH);
	for (unsigned i = 0; i < loop->ready_n; i++) {
		loop->ready[i].io = io_uring_cqe_get_data(cqes[i]);
		loop->ready[i].res = cqes[i]->res;
		loop->ready[i].flags = cqes[i]->flags;
	}
	io_uring_cq_advance(&loop->ring, loop->ready_n);
	return 0;
}

int vg_loop_turn(struct vg_loop *loop, bool wait)
{
	struct vg_loop *outer = current;
	int handled = 0;
	int ret;

	current = loop;
	loop->now = 0;
	run_deferred(loop);
	if (loop->ready_next == loop->ready_n && spin(loop, !wait))
		wait = false;
	ret = reap(loop, wait && !loop->deferred && !loop->pollers);
	loop->now = 0; /* it may have waited */
	if (ret < 0) {
		current = outer;
		return ret;
	}
	while (loop->ready_next < loop->ready_n) {
		struct completion c = loop->ready[loop->ready_next++];

		handle_cqe(c.io, c.res, c.flags);
		handled++;
	}
	run_deferred(loop);
	current = outer;
	return handled;
}

int vg_loop_run(struct vg_loop *loop)
{
	pthread_mutex_lock(&loops_lock);
	while (loop->state == DISABLED)
		pthread_cond_wait(&loops_enabled, &loops_lock);
	pthread_mutex_unlock(&loops_lock);
	loop->stop = false;
	while (!loop->stop) {
		int ret = vg_loop_turn(loop, true);

		if (ret < 0)
			return ret;
	}
	return 0;
}

void vg_loop_stop(struct vg_loop *loop)
{
	loop->stop = true;
}
