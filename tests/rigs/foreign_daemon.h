/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * foreign_daemon.h - a back-end of vhost-user that does what a test wants: well, or badly
 *
 * It listens on a socket and serves one front-end after the other, in a thread: messages as the
 * specification has them, and each request of a ring as the test says. What it has of the rings and of
 * the memory the test may write to at will, and each message can be met by the test first.
 */
#ifndef FOREIGN_DAEMON_H
#define FOREIGN_DAEMON_H

#include <errno.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/wire/vhost_user.h"

enum { FD_QUEUES = 16, FD_CONFIG = 256 };

struct foreign;

struct fd_ring {
	unsigned size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t taken; /* entries of the available ring */
	int kick, call;
};

/* A request that was taken from a ring. */
struct fd_request {
	unsigned q;
	uint16_t head;
	uint8_t *out, *in; /* NULL: it has none */
	uint32_t out_len, in_len;
};

struct foreign {
	/* The test's, before fd_begin(). */
	uint64_t features, protocol;
	uint64_t queues;
	uint8_t config[FD_CONFIG];
	uint32_t config_size; /* what it has: another is refused */
	/* A message, before it is answered. Return: whether it was dealt with. NULL: all are answered. */
	bool (*message)(struct foreign *d, struct vg_vu_msg *m);
	/* Something was made available. Return: whether it is given back, with *@len. NULL: it is, unread. */
	bool (*request)(struct foreign *d, const struct fd_request *r, uint32_t *len);
	void *ctx;

	/* The thread's; the test's in its callbacks, and where it has the lock. */
	pthread_mutex_t lock;
	char path[100];
	int listen, conn, back, quit;
	pthread_t thread;
	uint8_t *memory;
	size_t size;
	uint64_t base;
	uint64_t negotiated;
	struct fd_ring ring[FD_QUEUES];
	atomic_uint connections, requests, messages[VG_VU_REQUESTS];
};

/** fd_reply - answer @m with what is in it, @size bytes */
static inline void fd_reply(struct foreign *d, struct vg_vu_msg *m, uint32_t size)
{
	m->hdr.flags = VG_VU_VERSION | VG_VU_REPLY;
	m->hdr.size = size;
	m->n_fds = 0;
	vg_vu_send(d->conn, m);
}

static inline void *fd_at(const struct foreign *d, uint64_t addr)
{
	return d->memory && addr >= d->base && addr - d->base < d->size
		       ? d->memory + (addr - d->base)
		       : NULL;
}

static inline void fd_call(const struct fd_ring *r)
{
	const uint64_t one = 1;

	if (r->call >= 0 && write(r->call, &one, sizeof(one)) < 0)
		return;
}

/** fd_give_back - one used element, and a notification */
static inline void fd_give_back(struct foreign *d, unsigned q, uint32_t id, uint32_t len)
{
	struct fd_ring *r = &d->ring[q];
	uint16_t idx = r->used->idx;

	r->used->ring[idx % r->size] = (struct vring_used_elem){ id, len };
	__atomic_store_n(&r->used->idx, (uint16_t)(idx + 1), __ATOMIC_RELEASE);
	fd_call(r);
}

static inline void fd_serve(struct foreign *d, unsigned q)
{
	struct fd_ring *r = &d->ring[q];

	while (r->avail && r->taken != __atomic_load_n(&r->avail->idx, __ATOMIC_ACQUIRE)) {
		struct fd_request req = { .q = q, .head = r->avail->ring[r->taken++ % r->size] };
		uint32_t len = 0;

		for (unsigned i = req.head, more = 1; more; i = r->desc[i].next) {
			const struct vring_desc *e = &r->desc[i];

			if (e->flags & VRING_DESC_F_WRITE) {
				req.in = fd_at(d, e->addr);
				req.in_len = e->len;
			} else {
				req.out = fd_at(d, e->addr);
				req.out_len = e->len;
			}
			more = e->flags & VRING_DESC_F_NEXT;
		}
		atomic_fetch_add(&d->requests, 1);
		if (!d->request || d->request(d, &req, &len))
			fd_give_back(d, q, req.head, len);
	}
}

static inline void fd_stop_ring(struct fd_ring *r)
{
	if (r->kick >= 0)
		close(r->kick);
	if (r->call >= 0)
		close(r->call);
	*r = (struct fd_ring){ .kick = -1, .call = -1 };
}

static inline void fd_hang_up(struct foreign *d)
{
	if (d->conn >= 0)
		close(d->conn);
	if (d->back >= 0)
		close(d->back);
	d->conn = d->back = -1;
	for (unsigned q = 0; q < FD_QUEUES; q++)
		fd_stop_ring(&d->ring[q]);
	if (d->memory)
		munmap(d->memory, d->size);
	d->memory = NULL;
}

/* Return: whether it has a reply, which is in @m, of *@size bytes. */
static inline bool fd_asked(struct foreign *d, struct vg_vu_msg *m, uint32_t *size)
{
	*size = sizeof(uint64_t);
	switch (m->hdr.request) {
	case VG_VU_GET_FEATURES:
		m->u64 = d->features;
		return true;
	case VG_VU_GET_PROTOCOL_FEATURES:
		m->u64 = d->protocol;
		return true;
	case VG_VU_GET_QUEUE_NUM:
		m->u64 = d->queues;
		return true;
	case VG_VU_GET_MAX_MEM_SLOTS:
		m->u64 = 8;
		return true;
	case VG_VU_GET_VRING_BASE:
		m->state.num = d->ring[m->state.index % FD_QUEUES].taken;
		fd_stop_ring(&d->ring[m->state.index % FD_QUEUES]);
		return true;
	case VG_VU_GET_CONFIG:
		*size = (uint32_t)offsetof(struct vg_vu_config, data) + m->config.size;
		if (m->config.size != d->config_size)
			*size = 0;
		else
			memcpy(m->config.data, d->config, d->config_size);
		return true;
	default:
		return false;
	}
}

static inline void fd_told(struct foreign *d, struct vg_vu_msg *m)
{
	struct fd_ring *r = &d->ring[m->u64 % FD_QUEUES]; /* of messages about one */
	struct vg_vu_region region;

	switch (m->hdr.request) {
	case VG_VU_SET_FEATURES:
		d->negotiated = m->u64;
		break;
	case VG_VU_SET_MEM_TABLE:
	case VG_VU_ADD_MEM_REG: /* of the first: others it has no use for */
		if (m->hdr.request == VG_VU_SET_MEM_TABLE)
			vg_vu_table_region(m, 0, false, &region);
		else
			vg_vu_single_region(m, false, &region);
		if (d->memory)
			break;
		d->base = region.guest;
		d->size = region.size;
		d->memory = mmap(NULL, d->size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[0], 0);
		if (d->memory == MAP_FAILED)
			d->memory = NULL;
		break;
	case VG_VU_SET_VRING_NUM:
		d->ring[m->state.index % FD_QUEUES].size = m->state.num;
		break;
	case VG_VU_SET_VRING_ADDR:
		r = &d->ring[m->addr.index % FD_QUEUES];
		r->desc = fd_at(d, m->addr.desc);
		r->avail = fd_at(d, m->addr.avail);
		r->used = fd_at(d, m->addr.used);
		break;
	case VG_VU_SET_VRING_KICK:
		r->kick = vg_vu_take_fd(m, 0);
		break;
	case VG_VU_SET_VRING_CALL:
		r->call = vg_vu_take_fd(m, 0);
		break;
	case VG_VU_SET_BACKEND_REQ_FD:
		d->back = vg_vu_take_fd(m, 0);
		break;
	case VG_VU_SET_CONFIG:
		memcpy(d->config + m->config.offset, m->config.data, m->config.size);
		break;
	default:
		break;
	}
}

static inline void fd_message(struct foreign *d, struct vg_vu_msg *m)
{
	bool ack = m->hdr.flags & VG_VU_NEED_REPLY;
	uint32_t size;

	if (m->hdr.request < VG_VU_REQUESTS)
		atomic_fetch_add(&d->messages[m->hdr.request], 1);
	if (d->message && d->message(d, m))
		return;
	if (fd_asked(d, m, &size)) {
		fd_reply(d, m, size);
		return;
	}
	fd_told(d, m);
	vg_vu_drop_fds(m);
	if (ack) {
		m->u64 = 0;
		fd_reply(d, m, sizeof(uint64_t));
	}
}

static inline void *fd_run(void *arg)
{
	struct foreign *d = arg;
	struct vg_vu_reader *reader = calloc(1, sizeof(*reader));

	while (reader) {
		struct pollfd p[2 + FD_QUEUES] = { { .fd = d->quit, .events = POLLIN },
						   { .fd = d->conn >= 0 ? d->conn : d->listen,
						     .events = POLLIN } };
		uint64_t n;

		for (unsigned q = 0; q < FD_QUEUES; q++)
			p[2 + q] = (struct pollfd){ .fd = d->ring[q].kick, .events = POLLIN };
		if (poll(p, 2 + FD_QUEUES, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			break;
		pthread_mutex_lock(&d->lock);
		for (unsigned q = 0; q < FD_QUEUES; q++) {
			if (p[2 + q].revents && read(d->ring[q].kick, &n, sizeof(n)) > 0)
				fd_serve(d, q);
		}
		if (p[1].revents && d->conn < 0) {
			d->conn = accept4(d->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			vg_vu_reader_init(reader);
			atomic_fetch_add(&d->connections, 1);
		} else if (p[1].revents) {
			int ret = vg_vu_read(reader, d->conn);

			if (ret == 1)
				fd_message(d, &reader->msg);
			else if (ret != -EAGAIN)
				fd_hang_up(d);
		}
		pthread_mutex_unlock(&d->lock);
	}
	if (reader)
		vg_vu_reader_fini(reader);
	free(reader);
	pthread_mutex_lock(&d->lock);
	fd_hang_up(d);
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/** fd_init - a network's, or whatever the test makes of it: nothing runs yet */
static inline void fd_init(struct foreign *d, const char *name)
{
	memset(d, 0, sizeof(*d));
	d->features = 1ull << 32 | 1ull << VG_VU_F_PROTOCOL_FEATURES;
	d->protocol = 1ull << VG_VU_PF_MQ | 1ull << VG_VU_PF_REPLY_ACK | 1ull << VG_VU_PF_CONFIG |
		      1ull << VG_VU_PF_BACKEND_REQ;
	pthread_mutex_init(&d->lock, NULL);
	d->queues = 1;
	d->listen = d->conn = d->back = -1;
	for (unsigned q = 0; q < FD_QUEUES; q++)
		d->ring[q] = (struct fd_ring){ .kick = -1, .call = -1 };
	snprintf(d->path, sizeof(d->path), "%.60s/%s.sock", getenv("TMPDIR") ?: "/tmp", name);
}

/** fd_begin - listen, and serve. Return: 0 or negative errno. */
static inline int fd_begin(struct foreign *d)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", d->path);
	unlink(d->path);
	d->quit = eventfd(0, EFD_CLOEXEC);
	d->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (d->quit < 0 || d->listen < 0 || bind(d->listen, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(d->listen, 4) < 0)
		return -errno;
	return -pthread_create(&d->thread, NULL, fd_run, d);
}

/** fd_end - hang up, and be gone */
static inline void fd_end(struct foreign *d)
{
	const uint64_t one = 1;

	if (write(d->quit, &one, sizeof(one)) == sizeof(one))
		pthread_join(d->thread, NULL);
	close(d->quit);
	close(d->listen);
	unlink(d->path);
}

#endif /* FOREIGN_DAEMON_H */
