// SPDX-License-Identifier: GPL-2.0-or-later
/* writes.c - see writes.h */
#include "backend/base/writes.h"

#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/base/container.h"

struct vg_writes {
	struct io_uring ring;
	unsigned most;
};

/* IORING_SETUP_DEFER_TASKRUN is of Linux 6.1: the next of a chain then begins when we wait for it,
 * without a signal to ourselves. */
static int make_ring(struct vg_writes *w)
{
	static const unsigned flags[] = {
		IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_R_DISABLED,
	};
	int ret = -EINVAL;

	for (unsigned i = 0; ret == -EINVAL && i < COUNT(flags); i++)
		ret = io_uring_queue_init(w->most, &w->ring, flags[i]);
	return ret;
}

/* liburing 2.3 declares functions for these, and does not export them. */
static int ring_register(struct vg_writes *w, unsigned opcode, void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, w->ring.ring_fd, opcode, arg, n) < 0 ? -errno : 0;
}

static int restrict_and_enable(struct vg_writes *w)
{
	struct io_uring_restriction list[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_IO_LINK },
	};
	int ret = ring_register(w, IORING_REGISTER_RESTRICTIONS, list, COUNT(list));

	return ret < 0 ? ret : ring_register(w, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

int vg_writes_new(unsigned most, struct vg_writes **out)
{
	struct vg_writes *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return -ENOMEM;
	w->most = most;
	ret = make_ring(w);
	if (ret < 0) {
		free(w);
		return ret;
	}
	ret = restrict_and_enable(w);
	if (ret < 0) {
		vg_writes_free(w);
		return ret;
	}
	*out = w;
	return 0;
}

void vg_writes_free(struct vg_writes *w)
{
	if (!w)
		return;
	io_uring_queue_exit(&w->ring);
	free(w);
}

static int one(int fd, const struct iovec *iov)
{
	ssize_t n;

	do
		n = write(fd, iov->iov_base, iov->iov_len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (size_t)n == iov->iov_len ? 1 : -EMSGSIZE;
}

/* Completions of one chain come in any order: what became of the first that was not written counts. */
static int outcome(struct vg_writes *w, const struct iovec *iov, unsigned n)
{
	unsigned good = n, seen = 0;
	int error = 0;

	while (seen < n) {
		struct io_uring_cqe *cqe;
		int ret = io_uring_wait_cqe(&w->ring, &cqe);
		unsigned i;

		if (ret == -EINTR)
			continue;
		if (ret < 0)
			return ret;
		i = (unsigned)cqe->user_data;
		if (i < good && (cqe->res < 0 || (size_t)cqe->res != iov[i].iov_len)) {
			good = i;
			error = cqe->res < 0 ? cqe->res : -EMSGSIZE;
		}
		io_uring_cqe_seen(&w->ring, cqe);
		seen++;
	}
	return good ? (int)good : error;
}

int vg_writes_do(struct vg_writes *w, int fd, const struct iovec *iov, unsigned n)
{
	unsigned prepared = 0;
	int ret;

	if (n > w->most)
		n = w->most;
	if (n <= 1)
		return n ? one(fd, iov) : 0;
	while (prepared < n) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

		if (!sqe)
			return -EBUSY;
		io_uring_prep_write(sqe, fd, iov[prepared].iov_base,
				    (unsigned)iov[prepared].iov_len, 0);
		sqe->user_data = prepared++;
		if (prepared < n)
			sqe->flags |= IOSQE_IO_LINK;
	}
	do
		ret = io_uring_submit_and_wait(&w->ring, n);
	while (ret == -EINTR);
	return ret < 0 ? ret : outcome(w, iov, n);
}
