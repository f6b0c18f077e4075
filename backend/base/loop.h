/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop.h - the one wait point of a thread: an io_uring
 *
 * Disk I/O, file descriptors that become readable, and timers all complete
 * here. Nothing else in a thread may block. A turn of the loop submits what was
 * queued, waits for at least one completion, calls each completion's `done`,
 * and then the functions deferred during the turn, once each: this is where
 * devices batch what one turn completed (one grant-copy hypercall, one used
 * index, one notification).
 *
 * A worker's loops are born disabled and enabled by the sandbox, which says what the kernel takes
 * from them from then on. Until then what is queued waits, and nothing reaches the kernel: no thread
 * of the kernel's that would keep the privileges of before can exist.
 *
 * A loop belongs to one thread at a time: the one that turns it. Only vg_loop_post() may be called
 * from another.
 */
#ifndef VG_LOOP_H
#define VG_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "backend/base/ticks.h"

struct sockaddr;
struct vg_loop;

/* One operation under way. Embed it; it must live until done() is called. */
struct vg_io {
	/* @res: what the system call would return: >= 0, or negative errno. */
	void (*done)(struct vg_io *io, int res);
};

struct vg_tether; /* private: what the kernel holds of a watch or a timer */

/* What a restricted loop may be asked for, beside watches, timers and vg_loop_cancel(): names the
 * functions below. A device says what it needs in its vg_sandbox_needs. */
enum {
	VG_LOOP_READ = 1u << 0,	     /* vg_loop_readv() */
	VG_LOOP_WRITE = 1u << 1,     /* vg_loop_writev() */
	VG_LOOP_SYNC = 1u << 2,	     /* vg_loop_fdatasync() */
	VG_LOOP_FALLOCATE = 1u << 3, /* vg_loop_fallocate(), by a thread; and the system call */
	VG_LOOP_ACCEPT = 1u << 4,
	VG_LOOP_CONNECT = 1u << 5,
	VG_LOOP_SEND = 1u << 6,
	VG_LOOP_RECV = 1u << 7,
	VG_LOOP_ANY = ~0u, /* all that the kernel can: no restriction */
};

/* A file descriptor watched for readability until unwatched. Zero it, set ready. */
struct vg_watch {
	struct vg_tether *tether; /* private; NULL: not watching */
	/* @events: POLLIN, POLLOUT (of those asked for), POLLHUP, POLLERR. May unwatch itself, and free @w. */
	void (*ready)(struct vg_watch *w, unsigned events);
};

/* A one-shot timer. Zero it, set expired. */
struct vg_timer {
	struct vg_tether *tether; /* private; NULL: not running */
	void (*expired)(struct vg_timer *t);
};

/* A function to call at the end of this turn; queued at most once a turn. */
struct vg_deferred {
	struct vg_deferred *next; /* private */
	bool queued;		  /* private */
	void (*run)(struct vg_deferred *d);
	unsigned turn; /* in which it was deferred */
};

/*
 * Memory that is looked at while the loop has nothing to do, before it waits. Embed it, set look and
 * over. Both are called in a turn, and may do what a completion may.
 */
struct vg_poller {
	struct vg_poller *next, **pprev; /* private; pprev is NULL: does not run */
	/* Whether there was something; then it has been dealt with, and this poller runs no more. */
	bool (*look)(struct vg_poller *p);
	/* Nothing came in time, and this poller runs no more: ask to be told. @preempted: the processor
	 * was taken from this thread meanwhile. */
	void (*over)(struct vg_poller *p, bool preempted);
	int64_t until; /* vg_span_ns() */
};

/* A function to call in a loop's thread, posted by any thread. Embed it, set run. */
struct vg_post {
	struct vg_post *next; /* private */
	void (*run)(struct vg_post *p);
};

/**
 * vg_loop_new - make a loop
 * @entries: submission entries, 1 to 4096; rounded up to a power of two. More operations than
 *           that can be in flight: a full submission queue is submitted at once.
 * @out: the loop, to be freed with vg_loop_free()
 *
 * Return: 0, or negative errno (-EPERM: io_uring is disabled by sysctl kernel.io_uring_disabled).
 */
int vg_loop_new(unsigned entries, struct vg_loop **out);

/**
 * vg_loop_new_disabled - make a loop that vg_loops_enable() must enable
 *
 * Operations, watches and timers can be queued meanwhile, @entries at most, and posts; vg_loop_turn()
 * fails with -EBADFD, and vg_loop_run() waits. Otherwise as vg_loop_new().
 */
int vg_loop_new_disabled(unsigned entries, struct vg_loop **out);

/**
 * vg_loops_enable - enable all disabled loops of this process, for good
 * @may: VG_LOOP_*: what the kernel takes from them; all else fails with -EACCES, whoever asks
 *
 * Return: 0; -EBUSY: a loop of this process is enabled already and not restricted (with
 * VG_LOOP_ANY that does not matter); or negative errno.
 */
int vg_loops_enable(unsigned may);

/**
 * vg_loops_discard - name the one block device that vg_loop_discard() works on in restricted loops
 * @fd: the device's, which stays the caller's; -1: none
 *
 * For the loops that vg_loops_enable() enables later. They keep the file open for as long as they
 * live.
 */
void vg_loops_discard(int fd);

/**
 * vg_loop_pin - name memory of the caller's that most of @loop's reads and writes will be of
 * @at: a page's start; @len: bytes, of whole pages
 *
 * The kernel keeps hold of its pages for as long as the loop lives, and need not find and let go of them with
 * each request (registered buffers, io_uring_register_buffers(3)): a tenth of the time that a 4 KiB read
 * with O_DIRECT takes (tests/bench/README.md). Memory of grants must not be named: see memory/grants.c.
 * Once for each loop, before it is enabled.
 *
 * Return: 0, or negative errno (-ENOMEM: RLIMIT_MEMLOCK, where there is no CAP_IPC_LOCK): all goes on
 * without.
 */
int vg_loop_pin(struct vg_loop *loop, void *at, size_t len);

/** vg_loop_free - close the loop; operations in flight are cancelled without their done() */
void vg_loop_free(struct vg_loop *loop);

/** vg_loop_run - turn until vg_loop_stop(). Return: 0, or negative errno of the ring itself. */
int vg_loop_run(struct vg_loop *loop);

/**
 * vg_loop_turn - one turn; may be called from a done() to wait for another operation
 * @wait: wait for a completion when none is there
 *
 * Return: how many completions were handled, or negative errno.
 */
int vg_loop_turn(struct vg_loop *loop, bool wait);

/** vg_loop_stop - make vg_loop_run() return after this turn */
void vg_loop_stop(struct vg_loop *loop);

/* Queue an operation; @io->done is called from a later turn, never from here. Buffers and iovecs
 * must live until then. @offset in bytes. */
void vg_loop_readv(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		   unsigned niov, uint64_t offset);
/* The same as vg_loop_readv(), but -EAGAIN where it would have to wait; -EOPNOTSUPP: this file cannot tell. */
void vg_loop_readv_now(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		       unsigned niov, uint64_t offset);
/* @rw_flags: RWF_* of pwritev2(2), e.g. RWF_DSYNC for write-through. */
void vg_loop_writev(struct vg_loop *loop, struct vg_io *io, int fd, const struct iovec *iov,
		    unsigned niov, uint64_t offset, int rw_flags);
void vg_loop_fdatasync(struct vg_loop *loop, struct vg_io *io, int fd);
/* @mode: FALLOC_FL_* of fallocate(2). By a thread of the loop's, which vg_loops_enable() makes. */
void vg_loop_fallocate(struct vg_loop *loop, struct vg_io *io, int fd, int mode, uint64_t offset,
		       uint64_t len);
/* Of a block device: BLKDISCARD, which vg_loop_cancel() does not reach. -EOPNOTSUPP before Linux
 * 6.12, too; -EACCES: of another file than vg_loops_discard() named, in a restricted loop. */
void vg_loop_discard(struct vg_loop *loop, struct vg_io *io, int fd, uint64_t offset, uint64_t len);

/**
 * vg_loop_cancel - end @io soon, if that can still be done
 *
 * io->done() comes in any case, in a later turn: with -ECANCELED, or with what it had come to.
 */
void vg_loop_cancel(struct vg_loop *loop, struct vg_io *io);

/* Sockets. @flags of accept4(2), send(2), recv(2). What a pointer points to must live until done. */
void vg_loop_accept(struct vg_loop *loop, struct vg_io *io, int fd, int flags);
void vg_loop_connect(struct vg_loop *loop, struct vg_io *io, int fd, const struct sockaddr *addr,
		     unsigned len);
void vg_loop_send(struct vg_loop *loop, struct vg_io *io, int fd, const void *buf, size_t len,
		  int flags);
void vg_loop_recv(struct vg_loop *loop, struct vg_io *io, int fd, void *buf, size_t len, int flags);

/**
 * vg_loop_watch - call @w->ready when @fd becomes readable
 *
 * Edge-like: after a call, drain the descriptor until it would block, else no other call may
 * come. On POLLERR or POLLHUP alone, unwatch: the descriptor will never be readable again.
 */
void vg_loop_watch(struct vg_loop *loop, struct vg_watch *w, int fd);

/** vg_loop_watch_for - the same for @events: POLLIN, POLLOUT or both */
void vg_loop_watch_for(struct vg_loop *loop, struct vg_watch *w, int fd, unsigned events);

/** vg_loop_watch_fd - the descriptor that @w watches, or -1 */
int vg_loop_watch_fd(const struct vg_watch *w);

/** vg_loop_unwatch - no ready() after this; waits for nothing; @w may be freed on return */
void vg_loop_unwatch(struct vg_watch *w);

/** vg_loop_timer - (re)start @t, to expire in @ns nanoseconds */
void vg_loop_timer(struct vg_loop *loop, struct vg_timer *t, int64_t ns);

/** vg_loop_timer_stop - no expired() after this; @t may be freed on return */
void vg_loop_timer_stop(struct vg_timer *t);

/**
 * vg_loop_defer - call @d->run once at the end of this turn
 *
 * Or, from within a deferred function, at the start of the next, which does not wait then.
 */
void vg_loop_defer(struct vg_loop *loop, struct vg_deferred *d);

/** vg_loop_undefer - do not call @d->run after all */
void vg_loop_undefer(struct vg_loop *loop, struct vg_deferred *d);

/**
 * vg_loop_poll - look at what @p does until it finds something, for @ns at most
 *
 * Meanwhile the loop does not wait, and handles whatever else comes. Whoever else wants the
 * processor gets it (sched_yield(2)).
 */
void vg_loop_poll(struct vg_loop *loop, struct vg_poller *p, int64_t ns);

/** vg_loop_unpoll - neither look() nor over() after this; one that does not run: nothing */
void vg_loop_unpoll(struct vg_poller *p);

/**
 * vg_loop_post - call @p->run once in the thread of @loop; the one call that crosses threads
 *
 * May be called from any thread, that of the loop included; wakes a loop that waits. run() is called
 * in a turn, never from here; what one thread posts is run in the order of posting. @p must live,
 * and must not be posted again, until run() was entered; from then on it may be posted again, or
 * freed. All that the poster wrote before is seen by run(). What is left when the loop is freed is
 * not run: threads that post must have ended by then.
 */
void vg_loop_post(struct vg_loop *loop, struct vg_post *p);

/** vg_loop_current - the loop that this thread is turning: that of the callback. NULL: none. */
struct vg_loop *vg_loop_current(void);

/**
 * vg_loop_now - vg_now_ns() of this turn: no earlier than what the turn handles came in
 *
 * Taken once a turn, when it is asked for: enough for rates and deadlines, and free on the data path.
 */
int64_t vg_loop_now(struct vg_loop *loop);

#endif /* VG_LOOP_H */
