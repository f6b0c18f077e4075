// SPDX-License-Identifier: GPL-2.0-or-later
/* vu_front.c - see vu_front.h */
#include "tests/driver/vu_front.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { VERSION = 1, REPLY = 4, PATIENCE_MS = 5000, MAX_FDS = 64 };

struct header {
	uint32_t request, flags, size;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Wait for @fd to be readable. Return: 0 or -ETIMEDOUT. */
static int wait_for(struct vuf *f, int fd)
{
	int64_t end = now_ms() + PATIENCE_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, f->idle ? 0 : PATIENCE_MS) == 0) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		if (f->idle)
			f->idle(f->ctx);
	}
	return 0;
}

int vuf_send(struct vuf *f, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
	     const int *fds, unsigned n_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * MAX_FDS)] = { 0 };
	struct header h = { request, VERSION | flags, size };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)payload, size } };
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = payload ? 2 : 1 };

	if (n_fds) {
		struct cmsghdr *c;

		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	return sendmsg(f->sock, &mh, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Exactly @len bytes. Return: 1, 0: closed before the first, or negative errno. */
static int read_all(struct vuf *f, int sock, void *buf, size_t len, int *fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
	size_t got = 0;

	while (got < len) {
		struct iovec iov = { (char *)buf + got, len - got };
		struct msghdr mh = { .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control) };
		struct cmsghdr *c;
		ssize_t n;
		int ret = wait_for(f, sock);

		if (ret < 0)
			return ret;
		n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
		if (n < 0 && errno == ECONNRESET)
			return 0;
		if (n < 0)
			return -errno;
		if (n == 0)
			return got ? -ECONNRESET : 0;
		c = CMSG_FIRSTHDR(&mh);
		if (c && c->cmsg_type == SCM_RIGHTS)
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
		got += (size_t)n;
	}
	return 1;
}

int vuf_recv(struct vuf *f, int sock, struct vuf_msg *m)
{
	struct header h;
	int ret;

	m->fd = -1;
	ret = read_all(f, sock, &h, sizeof(h), &m->fd);
	if (ret != 1)
		return ret;
	m->request = h.request;
	m->flags = h.flags;
	m->size = h.size;
	if (h.size > sizeof(m->payload))
		return -EPROTO;
	ret = h.size ? read_all(f, sock, m->payload, h.size, &m->fd) : 1;
	return ret;
}

/* The reply to @request. */
static int answer(struct vuf *f, uint32_t request, struct vuf_msg *m)
{
	int ret = vuf_recv(f, f->sock, m);

	if (ret == 0)
		return -EPIPE;
	if (ret < 0)
		return ret;
	return m->request == request && m->flags == (VERSION | REPLY) ? 0 : -EPROTO;
}

int vuf_do(struct vuf *f, uint32_t request, const void *payload, uint32_t size, int fd)
{
	struct vuf_msg m;
	uint64_t result;
	int ret = vuf_send(f, request, f->ack ? VUF_NEED_REPLY : 0, payload, size, &fd, fd >= 0);

	if (ret < 0 || !f->ack)
		return ret;
	ret = answer(f, request, &m);
	if (ret < 0)
		return ret;
	if (m.size != sizeof(result))
		return -EPROTO;
	memcpy(&result, m.payload, sizeof(result));
	return result ? -EREMOTEIO : 0;
}

int vuf_do_u64(struct vuf *f, uint32_t request, uint64_t value, int fd)
{
	return vuf_do(f, request, &value, sizeof(value), fd);
}

int vuf_do_state(struct vuf *f, uint32_t request, uint32_t index, uint32_t num)
{
	uint32_t state[2] = { index, num };

	return vuf_do(f, request, state, sizeof(state), -1);
}

int vuf_get_u64(struct vuf *f, uint32_t request, uint64_t *value)
{
	struct vuf_msg m;
	int ret = vuf_send(f, request, f->ack ? VUF_NEED_REPLY : 0, NULL, 0, NULL, 0);

	if (ret == 0)
		ret = answer(f, request, &m);
	if (ret == 0 && m.size != sizeof(*value))
		ret = -EPROTO;
	if (ret == 0)
		memcpy(value, m.payload, sizeof(*value));
	return ret;
}

int vuf_get_base(struct vuf *f, uint32_t q, uint32_t *num)
{
	uint32_t state[2] = { q, 0 };
	struct vuf_msg m;
	int ret = vuf_send(f, VUF_GET_VRING_BASE, 0, state, sizeof(state), NULL, 0);

	if (ret == 0)
		ret = answer(f, VUF_GET_VRING_BASE, &m);
	if (ret == 0 && (m.size != sizeof(state) || memcmp(m.payload, &q, sizeof(q)) != 0))
		ret = -EPROTO;
	if (ret == 0)
		memcpy(num, m.payload + sizeof(q), sizeof(*num));
	return ret;
}

int vuf_config(struct vuf *f, uint32_t offset, uint32_t size, void *data)
{
	uint8_t req[VUF_PAYLOAD_MAX] = { 0 };
	const uint32_t head[3] = { offset, size, 0 };
	struct vuf_msg m;
	int ret;

	memcpy(req, head, sizeof(head));
	ret = vuf_send(f, VUF_GET_CONFIG, 0, req, (uint32_t)sizeof(head) + size, NULL, 0);
	if (ret == 0)
		ret = answer(f, VUF_GET_CONFIG, &m);
	if (ret < 0)
		return ret;
	if (m.size < sizeof(head))
		return -EPROTO;
	memcpy(data, m.payload + sizeof(head), m.size - sizeof(head));
	return (int)(m.size - sizeof(head));
}

int vuf_negotiate(struct vuf *f)
{
	bool ack = f->ack;
	int ret;

	f->ack = false;
	ret = vuf_do(f, VUF_SET_OWNER, NULL, 0, -1);
	if (ret == 0)
		ret = vuf_get_u64(f, VUF_GET_FEATURES, &f->offered);
	f->features &= f->offered;
	if (ret == 0 && (f->features & VUF_F_PROTOCOL)) {
		ret = vuf_get_u64(f, VUF_GET_PROTOCOL_FEATURES, &f->poffered);
		f->protocol &= f->poffered;
		if (ret == 0)
			ret = vuf_do_u64(f, VUF_SET_PROTOCOL_FEATURES, f->protocol, -1);
	}
	f->ack = ack && (f->protocol & VUF_P_ACK);
	if (ret == 0)
		ret = vuf_do_u64(f, VUF_SET_FEATURES, f->features, -1);
	return ret;
}

struct vuf_region vuf_region(const struct vuf *f)
{
	return (struct vuf_region){ .guest = f->guest, .size = f->len, .user = f->user };
}

int vuf_share(struct vuf *f)
{
	struct {
		uint32_t n, padding;
		struct vuf_region r;
	} table = { .n = 1, .r = vuf_region(f) };

	return vuf_do(f, VUF_SET_MEM_TABLE, &table, sizeof(table), f->memfd);
}

uint64_t vuf_user(const struct vuf *f, uint64_t guest)
{
	return guest - f->guest + f->user;
}

static void kick(void *ctx)
{
	struct vuf_queue *q = ctx;
	const uint64_t one = 1;

	if (drv_vring_publish(&q->vr) && q->kick >= 0 && write(q->kick, &one, sizeof(one)) < 0)
		return;
	if (q->kick < 0)
		vuf_do_state(q->f, VUF_VRING_KICK, q->q, 0);
}

static int wait_used(void *ctx, struct drv_used *used)
{
	struct vuf_queue *q = ctx;
	int64_t end = now_ms() + PATIENCE_MS;
	int ret;

	while ((ret = drv_vring_get(&q->vr, used)) == 0) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		if (q->f->idle)
			q->f->idle(q->f->ctx);
	}
	return ret < 0 ? ret : 0;
}

int vuf_queue_init(struct vuf *f, unsigned qi, unsigned size)
{
	struct vuf_queue *q = &f->queue[qi];
	const struct drv_vring_config cfg = {
		.size = size,
		.packed = f->features & VUF_F_PACKED,
		.event_idx = f->features & VUF_F_EVENT,
		.indirect = f->features & VUF_F_INDIRECT,
	};
	int ret = drv_vring_init(&q->vr, &cfg, &f->flat.mem);

	if (ret < 0)
		return ret;
	q->f = f;
	q->q = qi;
	q->blk = (struct drv_blk){
		.vr = &q->vr, .mem = &f->flat.mem, .kick = kick, .wait = wait_used, .ctx = q
	};
	q->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	q->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return q->kick < 0 || q->call < 0 ? -errno : 0;
}

int vuf_addr(struct vuf *f, unsigned qi)
{
	const struct drv_vring *vr = &f->queue[qi].vr;
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} a = { .index = qi,
		.desc = vuf_user(f, vr->desc_mem.addr),
		.used = vuf_user(f, vr->device_mem.addr),
		.avail = vuf_user(f, vr->driver_mem.addr) };

	return vuf_do(f, VUF_SET_VRING_ADDR, &a, sizeof(a), -1);
}

int vuf_queue_tell(struct vuf *f, unsigned qi, uint32_t base)
{
	struct vuf_queue *q = &f->queue[qi];
	int ret = vuf_do_state(f, VUF_SET_VRING_NUM, qi, q->vr.cfg.size);

	if (ret == 0)
		ret = vuf_do_state(f, VUF_SET_VRING_BASE, qi, base);
	if (ret == 0)
		ret = vuf_addr(f, qi);
	if (ret == 0 && q->call >= 0)
		ret = vuf_do_u64(f, VUF_SET_VRING_CALL, qi, q->call);
	if (ret == 0 && q->kick >= 0)
		ret = vuf_do_u64(f, VUF_SET_VRING_KICK, qi, q->kick);
	if (ret == 0 && (f->features & VUF_F_PROTOCOL))
		ret = vuf_do_state(f, VUF_SET_VRING_ENABLE, qi, 1);
	return ret;
}

int vuf_init(struct vuf *f, int sock, size_t len, uint64_t guest, uint64_t user)
{
	memset(f, 0, sizeof(*f));
	f->sock = sock;
	f->len = len;
	f->guest = guest;
	f->user = user;
	f->features = VUF_F_PROTOCOL | VUF_F_VERSION1 | VUF_F_INDIRECT;
	f->protocol = VUF_P_MQ | VUF_P_ACK | VUF_P_CONFIG;
	f->ack = true;
	for (unsigned q = 0; q < VUF_QUEUES; q++)
		f->queue[q].kick = f->queue[q].call = -1;
	f->memfd = memfd_create("guest", MFD_CLOEXEC);
	if (f->memfd < 0 || ftruncate(f->memfd, (off_t)len) < 0)
		return -errno;
	f->mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
	if (f->mem == MAP_FAILED)
		return -errno;
	return drv_mem_flat_init(&f->flat, f->mem, guest, len);
}

void vuf_fini(struct vuf *f)
{
	for (unsigned q = 0; q < VUF_QUEUES; q++) {
		if (f->queue[q].f)
			drv_vring_fini(&f->queue[q].vr);
		if (f->queue[q].kick >= 0)
			close(f->queue[q].kick);
		if (f->queue[q].call >= 0)
			close(f->queue[q].call);
	}
	drv_mem_flat_fini(&f->flat);
	munmap(f->mem, f->len);
	close(f->memfd);
	if (f->sock >= 0)
		close(f->sock);
	f->sock = -1;
}
