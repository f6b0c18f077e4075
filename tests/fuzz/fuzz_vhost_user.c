/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_vhost_user.c - libFuzzer target: a hostile front-end against the vhost-user port
 *
 * The input is a little program. Its operations send messages whose fields are
 * mostly sensible (a good session can be had in a few bytes) or any bytes at all,
 * with descriptors that fit or do not; send raw bytes; write to guest memory and
 * to the in-flight record; kick; truncate the memory's file; hang up and connect
 * again. The device is the rng: what it does with chains is not looked for here.
 *
 * What must hold: no crash, no sanitizer report, no call that does not return, and
 * no descriptor left over when the front-end is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xengnttab.h>

#include "backend/ports/vhost_user.h"
#include "backend/devices/devices.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MEM   0x10000u
#define GUEST 0x100000ull
#define USER  0x7f0000000000ull

const struct vg_device_ops *const vg_devices[] = { &vg_template, NULL };

/* There is no Xen here. */
xengnttab_handle *xengnttab_open(struct xentoollog_logger *l, unsigned f)
{
	(void)l;
	(void)f;
	return NULL;
}
int xengnttab_close(xengnttab_handle *x)
{
	(void)x;
	return 0;
}
void *xengnttab_map_domain_grant_refs(xengnttab_handle *x, uint32_t n, uint32_t d, uint32_t *r,
				      int p)
{
	(void)x, (void)n, (void)d, (void)r, (void)p;
	return NULL;
}
int xengnttab_unmap(xengnttab_handle *x, void *p, uint32_t n)
{
	(void)x, (void)p, (void)n;
	return 0;
}
int xengnttab_grant_copy(xengnttab_handle *x, uint32_t n, xengnttab_grant_copy_segment_t *s)
{
	(void)x, (void)n, (void)s;
	return -1;
}

static struct vg_loop *loop;
static struct vg_dev dev;
static struct vg_vu *vu;
static int sock = -1, memfd = -1, kickfd = -1, recordfd = -1;
static uint8_t *mem;
static const uint8_t *in, *in_end;

static unsigned u8(void)
{
	return in < in_end ? *in++ : 0;
}

static uint64_t u64(void)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v |= (uint64_t)u8() << (8 * i);
	return v;
}

static void gone(void *owner, int error)
{
	(void)owner;
	(void)error;
}

static void turns(unsigned n)
{
	while (n--)
		vg_loop_turn(loop, false);
}

static void hang_up(void)
{
	if (sock >= 0)
		close(sock);
	sock = -1;
	turns(2);
	vg_vu_drop(vu);
	turns(2);
}

static void connect_again(void)
{
	int s[2];

	hang_up();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0)
		abort();
	sock = s[1];
	vg_vu_serve(vu, s[0]);
}

static void send_raw(const void *buf, size_t len, const int *fds, unsigned n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 40)] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint8_t answers[4096];

	if (n) {
		struct cmsghdr *c;

		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	if (sock < 0 || sendmsg(sock, &mh, MSG_NOSIGNAL) < 0)
		connect_again();
	turns(2);
	while (sock >= 0 && recv(sock, answers, sizeof(answers), MSG_DONTWAIT) > 0)
		;
}

static int a_fd(void)
{
	switch (u8() % 5) {
	case 0:
		return memfd;
	case 1:
		return kickfd;
	case 2:
		return recordfd;
	case 3:
		return sock;
	default:
		return STDIN_FILENO;
	}
}

/* An address: mostly one that is there. */
static uint64_t an_addr(uint64_t base)
{
	unsigned how = u8();

	return how == 255 ? u64() : base + how * 256ull % (MEM + 4096);
}

static void send_message(uint32_t request, const void *payload, uint32_t size, int fd)
{
	uint8_t m[1024];
	const uint32_t h[3] = { request, 1u | (u8() & 8), size };

	memcpy(m, h, sizeof(h));
	memcpy(m + sizeof(h), payload, size);
	send_raw(m, sizeof(h) + size, &fd, fd >= 0);
}

static void a_message(void)
{
	uint32_t request = u8() % 44;
	uint8_t p[512] = { 0 };
	uint32_t size = 8;
	int fd = -1;

	switch (request) {
	case 2: {
		uint64_t f =
			u8() & 1 ? u64() : 1ull << 30 | 1ull << 32 | (uint64_t)(u8() & 0xf) << 28;
		memcpy(p, &f, 8);
		break;
	}
	case 16: {
		uint64_t f = u8() & 1 ? u64() : 0x1f229ull;
		memcpy(p, &f, 8);
		break;
	}
	case 5: {
		uint64_t t[9] = { 1, GUEST, MEM, USER, 0, an_addr(GUEST), 4096, an_addr(USER), 0 };
		unsigned n = 1 + u8() % 2;

		t[0] = n;
		memcpy(p, t, sizeof(t));
		size = 8 + 32 * n;
		if (n == 2) {
			uint8_t m[128];
			int fds[2] = { a_fd(), memfd };
			const uint32_t h[3] = { 5, 1, size };

			memcpy(m, h, sizeof(h));
			memcpy(m + sizeof(h), p, size);
			send_raw(m, sizeof(h) + size, fds, 2);
			return;
		}
		fd = memfd;
		break;
	}
	case 9: {
		uint64_t a[5] = { 0, USER + an_addr(0), USER + an_addr(0), USER + an_addr(0), 0 };
		memcpy(p, a, sizeof(a));
		size = sizeof(a);
		break;
	}
	case 12:
	case 13:
	case 14:
		fd = u8() & 1 ? kickfd : a_fd();
		break;
	case 21:
		size = 0;
		fd = sock;
		break;
	case 31:
	case 32: {
		uint64_t d[3] = { u8() * 128ull, u8() & 1 ? u64() : 0, 1 | (u8() % 65) << 16 };
		memcpy(p, d, sizeof(d));
		size = sizeof(d);
		fd = request == 32 ? recordfd : -1;
		break;
	}
	case 37:
	case 38: {
		uint64_t g = an_addr(GUEST);
		uint64_t r[5] = { 0, g, (u8() % 16) * 4096ull, USER + (g - GUEST), g - GUEST };
		memcpy(p, r, sizeof(r));
		size = sizeof(r);
		fd = request == 37 ? memfd : -1;
		break;
	}
	default: {
		uint32_t s[2] = { u8() % 2, u8() };
		memcpy(p, s, sizeof(s));
		if (u8() & 1)
			size = u8();
	}
	}
	send_message(request, p, size, fd);
}

static void start(void)
{
	const struct vg_vu_options options = { .in_band = true };
	const struct vg_vu_events events = { gone, NULL };
	struct vg_params params;
	struct vg_err err;

	signal(SIGPIPE, SIG_IGN);
	vg_log_init(VG_LOG_STDERR, 0, NULL);
	memfd = memfd_create("guest", MFD_CLOEXEC);
	recordfd = memfd_create("record", MFD_CLOEXEC);
	kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ftruncate(memfd, MEM) < 0 || ftruncate(recordfd, 8192) < 0 ||
	    vg_loop_new(64, &loop) < 0 || vg_params_parse("rng", &params, &err) < 0 ||
	    vg_dev_open(&dev, &vg_template, loop, &params, &err) < 0 ||
	    vg_vu_new(&dev, &options, &events, &vu, &err) < 0)
		abort();
	mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
}

/* A session that works, so that not each input must find one. */
static void session(void)
{
	static const uint64_t table[5] = { 1, GUEST, MEM, USER, 0 };
	static const uint64_t addr[5] = { 0, USER, USER + 0x2000, USER + 0x1000, 0 };
	static const uint64_t protocol = 0x1f229, zero;
	uint64_t features =
		1ull << 30 | 1ull << 32 | (uint64_t)(u8() & 0xd) << 28 | (uint64_t)(u8() & 1) << 34;
	const uint32_t num[2] = { 0, 64 }, on[2] = { 0, 1 };

	send_message(16, &protocol, 8, -1);
	send_message(2, &features, 8, -1);
	send_message(5, table, sizeof(table), memfd);
	send_message(8, num, 8, -1);
	send_message(9, addr, sizeof(addr), -1);
	send_message(13, &zero, 8, kickfd);
	send_message(12, &zero, 8, kickfd);
	send_message(18, on, 8, -1);
}

static unsigned count_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint64_t one = 1;
	unsigned before;

	in = data;
	in_end = data + len;
	if (!loop)
		start();
	if (ftruncate(memfd, 0) < 0 || ftruncate(memfd, MEM) < 0 || ftruncate(recordfd, 0) < 0 ||
	    ftruncate(recordfd, 8192) < 0)
		abort();
	before = count_fds();
	connect_again();
	if (u8() & 1)
		session();
	while (in < in_end) {
		unsigned op = u8();

		switch (op % 8) {
		case 0:
		case 1:
			a_message();
			break;
		case 2: {
			unsigned n = op / 8;

			if (n > (size_t)(in_end - in))
				n = (unsigned)(in_end - in);
			send_raw(in, n, &memfd, op & 0x80 ? 1 : 0);
			in += n;
			break;
		}
		case 3: {
			unsigned at = (u8() << 6) % 0x3000;
			uint64_t v = u64();

			memcpy(mem + at, &v, sizeof(v));
			break;
		}
		case 4:
			if (write(kickfd, &one, sizeof(one)) < 0)
				break;
			turns(2);
			break;
		case 5: {
			uint64_t v = u64();

			if (pwrite(recordfd, &v, sizeof(v), u8() * 8) < 0)
				break;
			break;
		}
		case 6: /* an rng request: descriptor, available entry, index */
		{
			uint64_t d[2] = { GUEST + 0x3000, 64 | 2ull << 32 };
			uint16_t idx;

			memcpy(mem, d, sizeof(d));
			memcpy(&idx, mem + 0x1002, 2);
			idx++;
			memcpy(mem + 0x1002, &idx, 2);
			break;
		}
		case 7:
			if (op & 0x80 && op & 0x40) {
				if (ftruncate(memfd, 4096) < 0)
					abort();
				if (write(kickfd, &one, sizeof(one)) < 0)
					break;
				turns(2);
				if (ftruncate(memfd, MEM) < 0)
					abort();
			} else if (op & 0x80) {
				connect_again();
			}
			break;
		}
	}
	hang_up();
	if (count_fds() != before)
		abort();
	return 0;
}
