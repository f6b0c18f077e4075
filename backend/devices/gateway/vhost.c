// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost.c - see vhost.h
 *
 *	worker <--vhost-user--> this process <--ioctl(2)--> the kernel's vhost device
 *	worker <----------- rings, eventfds ----------------> the kernel's vhost device
 *
 * The kernel's vhost devices are asked by ioctls (linux/vhost.h), and read and write the memory of the
 * process that owns them. So that process is one that has nothing but the memory that a daemon gets of a
 * gateway; the gateway itself neither has the device nor the right to ask it, and does not know it from
 * another daemon. No request passes by here: rings lie in memory that both have, and each end has the
 * other's eventfds.
 *
 * What each kind of device wants says vhost_kinds.c.
 *
 * The device is opened once, with the rights that that takes; then they are given up (@confine), and nothing
 * can be opened any more. Who connects next finds a device as after its opening, by a reset: stopped, and
 * without a ring until one is placed in that connection's own memory.
 *
 * A worker that was taken over says what it likes here. What the kernel is told lies in memory that came
 * from the worker, to the last byte of each ring: this process's own memory it never reaches. So memory is
 * given once a connection, and neither rings nor their sizes are changed without a look at both.
 */
#include "backend/devices/gateway/vhost.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/devices/gateway/vhost_int.h"

enum { RING_MAX = 32768 }; /* VIRTIO 1.3 section 2.7 */

#define PROTOCOL (1ULL << VG_VU_PF_MQ | 1ULL << VG_VU_PF_REPLY_ACK | 1ULL << VG_VU_PF_CONFIG)

/* ---- memory ----------------------------------------------------------------- */

static void forget_memory(struct vhost *v)
{
	while (v->n_regions) {
		struct vh_region *g = &v->region[--v->n_regions];

		munmap(g->base, g->r.size);
	}
}

static bool has_ring(const struct vhost *v, const struct vg_vu_addr *a, uint32_t size)
{
	return vh_ours(v, a->desc, vh_desc_bytes(size)) &&
	       vh_ours(v, a->avail, vh_avail_bytes(size)) &&
	       vh_ours(v, a->used, vh_used_bytes(size));
}

static int map(struct vhost *v, struct vg_vu_msg *m)
{
	if (v->n_regions)
		return -EBUSY;
	for (unsigned i = 0; i < m->table.n; i++) {
		struct vh_region *g = &v->region[v->n_regions];
		int fd = vg_vu_take_fd(m, i);
		void *p;

		if (v->n_regions == VH_REGIONS) {
			close(fd);
			return -E2BIG;
		}
		vg_vu_table_region(m, i, false, &g->r);
		p = mmap(NULL, g->r.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 (off_t)g->r.offset);
		close(fd);
		if (p == MAP_FAILED)
			return -errno;
		g->base = p;
		v->n_regions++;
	}
	return v->kind->memory(v);
}

/* ---- life --------------------------------------------------------------------- */

static int fail(const struct vhost *v, const char *what, int error)
{
	if (error < 0)
		fprintf(stderr, "%s %s %s: %s\n", v->kind->name, v->what, what, strerror(-error));
	return error;
}

static void keep_kick(struct vhost *v, unsigned q, int fd)
{
	if (v->ring[q].has_kick)
		close(v->ring[q].kick);
	v->ring[q].has_kick = fd >= 0;
	v->ring[q].kick = fd;
}

/* As after its opening. Memory stays; the kernel has to be told of it. */
static int reset(struct vhost *v)
{
	v->due = false;
	memset(v->enabled, 0, sizeof(v->enabled));
	for (unsigned q = 0; q < VH_QUEUES; q++)
		keep_kick(v, q, -1);
	memset(v->ring, 0, sizeof(v->ring));
	return fail(v, "cannot be reset", v->kind->reset(v));
}

/* A device that did not run has taken notice of what was made available, and nothing else. */
static int start(struct vhost *v)
{
	const uint64_t one = 1;
	int ret = fail(v, "cannot be started", v->kind->start(v));

	for (unsigned q = 0; ret == 0 && q < v->kernel_queues; q++) {
		if (v->enabled[q] && v->ring[q].has_kick &&
		    write(v->ring[q].kick, &one, sizeof(one)) < 0 && errno != EAGAIN)
			ret = fail(v, "cannot be notified", -errno);
	}
	return ret;
}

/* ---- what the front-end says ---------------------------------------------------- */

/* A device that ran, and is to be started once more. */
static int begin_anew(struct vhost *v)
{
	int ret = reset(v);

	return ret == 0 && v->n_regions ? v->kind->memory(v) : ret;
}

static int set_features(struct vhost *v, uint64_t features)
{
	int ret = v->kind->agree && v->running ? begin_anew(v) : 0;

	features &= ~(1ULL << VG_VU_F_PROTOCOL_FEATURES);
	/* All that a device which maps addresses itself reads and writes goes through that. */
	if (v->kind->addresses_are_its_own)
		features |= 1ULL << VIRTIO_F_ACCESS_PLATFORM;
	if (ret == 0)
		ret = vh_ask(v, VHOST_SET_FEATURES, &features);
	return ret == 0 && v->kind->agree ? v->kind->agree(v) : ret;
}

static int set_addresses(struct vhost *v, const struct vg_vu_addr *m)
{
	unsigned q = m->index;
	uint32_t size = q < v->queues ? v->ring[q].size : 0;
	struct vhost_vring_addr a = {
		.index = q,
		.desc_user_addr = m->desc,
		.avail_user_addr = m->avail,
		.used_user_addr = m->used,
	};

	if (!size || !has_ring(v, m, size))
		return -EINVAL;
	v->ring[q].at = *m;
	v->ring[q].placed = true;
	if (!v->kind->addresses_are_its_own) {
		a.desc_user_addr = vh_ours(v, m->desc, vh_desc_bytes(size));
		a.avail_user_addr = vh_ours(v, m->avail, vh_avail_bytes(size));
		a.used_user_addr = vh_ours(v, m->used, vh_used_bytes(size));
	}
	return q < v->kernel_queues ? vh_ask(v, VHOST_SET_VRING_ADDR, &a) : 0;
}

static int set_state(struct vhost *v, unsigned long request, const struct vg_vu_state *m)
{
	struct vhost_vring_state s = { .index = m->index, .num = m->num };

	if (m->index >= v->queues)
		return -EINVAL;
	return m->index < v->kernel_queues ? vh_ask(v, request, &s) : 0;
}

static int set_size(struct vhost *v, const struct vg_vu_state *m)
{
	unsigned q = m->index;
	int ret;

	if (q >= v->queues || !m->num || m->num > RING_MAX ||
	    (v->ring[q].placed && !has_ring(v, &v->ring[q].at, m->num)))
		return -EINVAL;
	ret = set_state(v, VHOST_SET_VRING_NUM, m);
	if (ret == 0)
		v->ring[q].size = m->num;
	return ret;
}

/* The kernel holds the file itself. One that tells of requests is kept: see start(). */
static int set_file(struct vhost *v, unsigned long request, struct vg_vu_msg *m)
{
	struct vhost_vring_file f = { .index = (uint32_t)m->u64 & VG_VU_RING_INDEX };
	int ret = 0;

	f.fd = m->u64 & VG_VU_RING_NO_FD ? -1 : vg_vu_take_fd(m, 0);
	if (f.index >= v->queues)
		ret = -EINVAL;
	else if (f.index < v->kernel_queues)
		ret = vh_ask(v, request, &f);
	if (ret == 0 && request == VHOST_SET_VRING_KICK) {
		keep_kick(v, f.index, f.fd);
		f.fd = -1;
	}
	if (f.fd >= 0)
		close(f.fd);
	return ret;
}

static int enable(struct vhost *v, const struct vg_vu_state *m)
{
	int ret = 0;

	/* What an earlier connection said of it is no memory any more. */
	if (m->index >= v->queues || (m->num && !v->ring[m->index].placed))
		return -EINVAL;
	v->enabled[m->index] = m->num;
	v->due = true;
	if (v->kind->addresses_are_its_own)
		ret = set_state(v, VHOST_VDPA_SET_VRING_ENABLE, m);
	return ret;
}

static int get_base(struct vhost *v, struct vg_vu_msg *m)
{
	unsigned q = m->state.index;

	if (q >= v->queues)
		return -EINVAL;
	v->enabled[q] = false;
	m->state.num = 0;
	return q < v->kernel_queues ? v->kind->base(v, q, &m->state.num) : 0;
}

static int get_config(struct vhost *v, struct vg_vu_msg *m)
{
	if (m->config.offset > VH_CONFIG || m->config.size > VH_CONFIG)
		return -EINVAL;
	return v->kind->config(v, m->config.data, m->config.offset, m->config.size);
}

static int get_features(const struct vhost *v, uint64_t *features)
{
	int ret = vh_ask(v, VHOST_GET_FEATURES, features);

	/* Bits that are vhost's own, not a device's, are its front-end's to set. */
	*features &= ~(1ULL << VHOST_F_LOG_ALL | v->kind->withheld);
	*features |= 1ULL << VG_VU_F_PROTOCOL_FEATURES;
	return ret;
}

/* Return: 1: @m is the answer; 0; or negative errno: it is refused. */
static int carry_out(struct vhost *v, struct vg_vu_msg *m)
{
	int ret;

	switch (m->hdr.request) {
	case VG_VU_SET_OWNER:
	case VG_VU_SET_PROTOCOL_FEATURES:
		return 0;
	case VG_VU_GET_FEATURES:
		ret = get_features(v, &m->u64);
		m->hdr.size = sizeof(m->u64);
		return ret < 0 ? ret : 1;
	case VG_VU_GET_PROTOCOL_FEATURES:
	case VG_VU_GET_QUEUE_NUM:
		m->u64 = m->hdr.request == VG_VU_GET_QUEUE_NUM ? v->queues : PROTOCOL;
		m->hdr.size = sizeof(m->u64);
		return 1;
	case VG_VU_GET_CONFIG:
		ret = get_config(v, m);
		return ret < 0 ? ret : 1;
	case VG_VU_GET_VRING_BASE:
		ret = get_base(v, m);
		return ret < 0 ? ret : 1;
	case VG_VU_SET_FEATURES:
		return set_features(v, m->u64);
	case VG_VU_SET_MEM_TABLE:
		return map(v, m);
	case VG_VU_SET_VRING_NUM:
		return set_size(v, &m->state);
	case VG_VU_SET_VRING_BASE:
		return set_state(v, VHOST_SET_VRING_BASE, &m->state);
	case VG_VU_SET_VRING_ADDR:
		return set_addresses(v, &m->addr);
	case VG_VU_SET_VRING_KICK:
		return set_file(v, VHOST_SET_VRING_KICK, m);
	case VG_VU_SET_VRING_CALL:
		return set_file(v, VHOST_SET_VRING_CALL, m);
	case VG_VU_SET_VRING_ENABLE:
		return enable(v, &m->state);
	default:
		return -EOPNOTSUPP;
	}
}

/* Return: 1, or 0: the front-end cannot go on. */
static int answer(struct vhost *v, int sock, struct vg_vu_msg *m)
{
	bool wants = m->hdr.flags & VG_VU_NEED_REPLY;
	uint32_t request = m->hdr.request;
	struct vg_err err = { "" };
	int ret = vg_vu_check(m, VG_VU_MAIN_REQUEST, false, &err);

	if (ret == 0)
		ret = carry_out(v, m);
	vg_vu_drop_fds(m);
	if (ret == 1) {
		m->hdr.flags = VG_VU_VERSION | VG_VU_REPLY;
		m->n_fds = 0;
		return vg_vu_send(sock, m) == 0;
	}
	if (wants && !vg_vu_has_reply(request) &&
	    vg_vu_send_u64(sock, request, VG_VU_REPLY, ret < 0) < 0)
		return 0;
	if (ret == 0 || request == VG_VU_SET_CONFIG)
		return 1;
	fprintf(stderr, "%s: %s\n", vg_vu_name(VG_VU_MAIN_REQUEST, request),
		err.text[0] ? err.text : strerror(-ret));
	return 0;
}

/* Nothing has come. Return: 1: something may have, or it is time to go on; 0: it is no use. */
static int wait(struct vhost *v, int sock)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int ret = poll(&p, 1, v->due ? v->kind->quiet_ms : -1);

	if (ret != 0)
		return ret > 0 || errno == EINTR;
	v->due = false;
	return start(v) == 0;
}

/* Until it hangs up, or is no use. */
static void serve(struct vhost *v, int sock)
{
	struct vg_vu_reader in;
	int ret;

	vg_vu_reader_init(&in);
	do {
		ret = vg_vu_read(&in, sock);
		if (ret == 1)
			ret = answer(v, sock, &in.msg);
		else if (ret == -EAGAIN)
			ret = wait(v, sock);
	} while (ret > 0);
	vg_vu_reader_fini(&in);
}

int vg_vhost_main(const char *kind, const char *what, int (*confine)(struct vg_err *err))
{
	static struct vhost v = { .fd = -1 };
	struct vg_err err = { "" };
	int sock;

	for (v.kind = vh_kinds; v.kind->name && strcmp(kind, v.kind->name) != 0;)
		v.kind++;
	v.what = what;
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	if (!v.kind->name || fail(&v, "cannot be opened", v.kind->open(&v)) < 0)
		return EXIT_FAILURE;
	if (confine(&err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return EXIT_FAILURE;
	}
	/* Its owner has a thread of the kernel's from then on, with what rights it has by now. */
	if (fail(&v, "is not ours to use", vh_ask(&v, VHOST_SET_OWNER, NULL)) < 0 || reset(&v) < 0)
		return EXIT_FAILURE;
	while ((sock = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		serve(&v, sock);
		close(sock);
		if (reset(&v) < 0)
			return EXIT_FAILURE;
		forget_memory(&v);
	}
	fprintf(stderr, "its socket is gone: %s\n", strerror(errno));
	return EXIT_FAILURE;
}

static const struct vg_sandbox_call calls[] = {
	VG_CALLS_POLL,
	VG_CALL(accept4),
	/* Those of vhost alone. */
	{ .nr = SYS_ioctl, .filtered = true, .arg = 1, .mask = 0xff00, .value = VHOST_VIRTIO << 8 },
	VG_CALLS_END,
};
const struct vg_sandbox_needs vg_vhost_needs = { .calls = calls };
