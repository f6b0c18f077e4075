// SPDX-License-Identifier: GPL-2.0-or-later
/* passing.c - see passing.h */
#include "backend/base/passing.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECES = 2 };

/* Above what sysctl vm.mmap_min_addr keeps free (64 KiB), below where a program that is not
 * relocated begins (4 MiB on x86-64 and arm64). */
#define FLOOR ((uintptr_t)1 << 20)

static union {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
} control;
static struct iovec piece[PIECES];
static struct msghdr *sealed;

static void write_header(struct msghdr *mh)
{
	memset(mh, 0, sizeof(*mh));
	mh->msg_iov = piece;
	mh->msg_iovlen = PIECES;
	mh->msg_control = control.bytes;
	mh->msg_controllen = sizeof(control.bytes);
}

int vg_pass_seal(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p;

	if (sealed)
		return 0;
	p = mmap((void *)FLOOR, page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	write_header(p);
	if (p != (void *)FLOOR || mprotect(p, page, PROT_READ) < 0) {
		munmap(p, page);
		return -ENOMEM;
	}
	sealed = p;
	return 0;
}

const void *vg_pass_header(void)
{
	return sealed;
}

uintptr_t vg_pass_floor(void)
{
	return FLOOR + (uintptr_t)sysconf(_SC_PAGESIZE);
}

long vg_pass(int sock, const struct iovec *iov, size_t n, int fd)
{
	struct msghdr plain;
	struct cmsghdr *c;
	long sent;

	if (n > PIECES)
		return -EINVAL;
	memset(piece, 0, sizeof(piece));
	memcpy(piece, iov, n * sizeof(*iov));
	memset(&control, 0, sizeof(control));
	write_header(&plain);
	c = CMSG_FIRSTHDR(&plain);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	do
		sent = sendmsg(sock, sealed ? sealed : &plain, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return sent;
}
