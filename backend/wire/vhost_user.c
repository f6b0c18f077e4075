// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_user.c - see wire/vhost_user.h
 *
 * One row for each request says how large its payload is and how many
 * descriptors come with it, in the request and in the reply. What a row cannot
 * say (sizes that follow from a count inside) is said by the row's function.
 *
 * Reading. A recvmsg(2) never asks for more than the rest of the message, so
 * that descriptors are never taken for the wrong one: the kernel hands them out
 * with the bytes they were sent with. Descriptors beyond the largest number
 * that any message has are closed by the kernel or by us, and the message is
 * refused.
 */
#include "backend/wire/vhost_user.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/passing.h"

struct form {
	const char *name;  /* NULL: no such request */
	uint16_t min, max; /* bytes of the request's payload */
	uint8_t fds_min, fds_max;
	uint16_t reply_min, reply_max; /* of the reply's; max 0: no reply of its own */
	uint8_t reply_fds;
	/* What follows from the payload itself. Return: whether it is right. */
	bool (*fits)(const struct vg_vu_msg *m, bool xen);
};

enum {
	HEADER = sizeof(struct vg_vu_header),
	U64 = sizeof(uint64_t),
	STATE = sizeof(struct vg_vu_state),
	CONFIG = offsetof(struct vg_vu_config, data),
	INFLIGHT = offsetof(struct vg_vu_inflight, padding),
	INFLIGHT_PADDED = sizeof(struct vg_vu_inflight),
};

_Static_assert(sizeof(struct vg_vu_header) == 12 && sizeof(struct vg_vu_state) == 8 &&
		       sizeof(struct vg_vu_addr) == 40 && INFLIGHT == 20 && INFLIGHT_PADDED == 24 &&
		       CONFIG == 12 && sizeof(struct vg_vu_region) == VG_VU_REGION_SIZE_XEN &&
		       sizeof(struct vg_vu_table) <= VG_VU_PAYLOAD_MAX,
	       "as on the wire");

static size_t region_size(bool xen)
{
	return xen ? VG_VU_REGION_SIZE_XEN : VG_VU_REGION_SIZE;
}

/* UML sends room for more regions than it counts. */
static bool table_fits(const struct vg_vu_msg *m, bool xen)
{
	return m->table.n <= VG_VU_TABLE_MAX && m->n_fds == m->table.n &&
	       m->hdr.size >= offsetof(struct vg_vu_table, regions) + m->table.n * region_size(xen);
}

static bool one_fits(const struct vg_vu_msg *m, bool xen)
{
	return m->hdr.size == offsetof(struct vg_vu_single, region) + region_size(xen);
}

static bool ring_fd_fits(const struct vg_vu_msg *m, bool xen)
{
	(void)xen;
	return m->n_fds == (m->u64 & VG_VU_RING_NO_FD ? 0 : 1);
}

static bool config_fits(const struct vg_vu_msg *m, bool xen)
{
	(void)xen;
	return m->config.size <= m->hdr.size - CONFIG;
}

#define ONE_MIN (8 + VG_VU_REGION_SIZE)
#define ONE_MAX (8 + VG_VU_REGION_SIZE_XEN)

static const struct form main_forms[VG_VU_REQUESTS] = {
	[VG_VU_GET_FEATURES] = { .name = "GET_FEATURES", .reply_min = U64, .reply_max = U64 },
	[VG_VU_SET_FEATURES] = { .name = "SET_FEATURES", .min = U64, .max = U64 },
	[VG_VU_SET_OWNER] = { .name = "SET_OWNER" },
	[VG_VU_RESET_OWNER] = { .name = "RESET_OWNER" },
	[VG_VU_SET_MEM_TABLE] = { .name = "SET_MEM_TABLE",
				  .min = 8,
				  .max = sizeof(struct vg_vu_table),
				  .fds_max = VG_VU_TABLE_MAX,
				  .fits = table_fits },
	[VG_VU_SET_VRING_NUM] = { .name = "SET_VRING_NUM", .min = STATE, .max = STATE },
	[VG_VU_SET_VRING_ADDR] = { .name = "SET_VRING_ADDR",
				   .min = sizeof(struct vg_vu_addr),
				   .max = sizeof(struct vg_vu_addr) },
	[VG_VU_SET_VRING_BASE] = { .name = "SET_VRING_BASE", .min = STATE, .max = STATE },
	[VG_VU_GET_VRING_BASE] = { .name = "GET_VRING_BASE",
				   .min = STATE,
				   .max = STATE,
				   .reply_min = STATE,
				   .reply_max = STATE },
	[VG_VU_SET_VRING_KICK] = { .name = "SET_VRING_KICK",
				   .min = U64,
				   .max = U64,
				   .fds_max = 1,
				   .fits = ring_fd_fits },
	[VG_VU_SET_VRING_CALL] = { .name = "SET_VRING_CALL",
				   .min = U64,
				   .max = U64,
				   .fds_max = 1,
				   .fits = ring_fd_fits },
	[VG_VU_SET_VRING_ERR] = { .name = "SET_VRING_ERR",
				  .min = U64,
				  .max = U64,
				  .fds_max = 1,
				  .fits = ring_fd_fits },
	[VG_VU_GET_PROTOCOL_FEATURES] = { .name = "GET_PROTOCOL_FEATURES",
					  .reply_min = U64,
					  .reply_max = U64 },
	[VG_VU_SET_PROTOCOL_FEATURES] = { .name = "SET_PROTOCOL_FEATURES", .min = U64, .max = U64 },
	[VG_VU_GET_QUEUE_NUM] = { .name = "GET_QUEUE_NUM", .reply_min = U64, .reply_max = U64 },
	[VG_VU_SET_VRING_ENABLE] = { .name = "SET_VRING_ENABLE", .min = STATE, .max = STATE },
	[VG_VU_SET_BACKEND_REQ_FD] = { .name = "SET_BACKEND_REQ_FD",
				       .min = 0,
				       .max = 0,
				       .fds_min = 1,
				       .fds_max = 1 },
	[VG_VU_GET_CONFIG] = { .name = "GET_CONFIG",
			       .min = CONFIG,
			       .max = VG_VU_PAYLOAD_MAX,
			       .reply_min = CONFIG,
			       .reply_max = VG_VU_PAYLOAD_MAX },
	[VG_VU_SET_CONFIG] = { .name = "SET_CONFIG",
			       .min = CONFIG,
			       .max = VG_VU_PAYLOAD_MAX,
			       .fits = config_fits },
	[VG_VU_GET_INFLIGHT_FD] = { .name = "GET_INFLIGHT_FD",
				    .min = INFLIGHT,
				    .max = INFLIGHT_PADDED,
				    .reply_min = INFLIGHT,
				    .reply_max = INFLIGHT_PADDED,
				    .reply_fds = 1 },
	[VG_VU_SET_INFLIGHT_FD] = { .name = "SET_INFLIGHT_FD",
				    .min = INFLIGHT,
				    .max = INFLIGHT_PADDED,
				    .fds_min = 1,
				    .fds_max = 1 },
	[VG_VU_GPU_SET_SOCKET] = { .name = "GPU_SET_SOCKET",
				   .min = 0,
				   .max = 0,
				   .fds_min = 1,
				   .fds_max = 1 },
	[VG_VU_RESET_DEVICE] = { .name = "RESET_DEVICE" },
	[VG_VU_VRING_KICK] = { .name = "VRING_KICK", .min = STATE, .max = STATE },
	[VG_VU_GET_MAX_MEM_SLOTS] = { .name = "GET_MAX_MEM_SLOTS",
				      .reply_min = U64,
				      .reply_max = U64 },
	[VG_VU_ADD_MEM_REG] = { .name = "ADD_MEM_REG",
				.min = ONE_MIN,
				.max = ONE_MAX,
				.fds_min = 1,
				.fds_max = 1,
				.fits = one_fits },
	/* "back-end MAY accept messages with one file descriptor" */
	[VG_VU_REM_MEM_REG] = { .name = "REM_MEM_REG",
				.min = ONE_MIN,
				.max = ONE_MAX,
				.fds_max = 1,
				.fits = one_fits },
	[VG_VU_SET_STATUS] = { .name = "SET_STATUS", .min = U64, .max = U64 },
	[VG_VU_GET_STATUS] = { .name = "GET_STATUS", .reply_min = U64, .reply_max = U64 },
};

static const struct form back_forms[VG_VU_BACK_REQUESTS] = {
	[VG_VU_BACK_CONFIG_CHANGE] = { .name = "BACKEND_CONFIG_CHANGE_MSG" },
	[VG_VU_BACK_VRING_CALL] = { .name = "BACKEND_VRING_CALL", .min = STATE, .max = STATE },
	[VG_VU_BACK_VRING_ERR] = { .name = "BACKEND_VRING_ERR", .min = STATE, .max = STATE },
};

static const struct form *form_of(enum vg_vu_kind kind, uint32_t request)
{
	bool back = kind == VG_VU_BACK_REQUEST || kind == VG_VU_BACK_REPLY;
	const struct form *forms = back ? back_forms : main_forms;
	uint32_t n = back ? (uint32_t)VG_VU_BACK_REQUESTS : (uint32_t)VG_VU_REQUESTS;

	return request < n && forms[request].name ? &forms[request] : NULL;
}

const char *vg_vu_name(enum vg_vu_kind kind, uint32_t request)
{
	const struct form *f = form_of(kind, request);

	return f ? f->name : "unknown";
}

bool vg_vu_has_reply(uint32_t request)
{
	const struct form *f = form_of(VG_VU_MAIN_REQUEST, request);

	return f && f->reply_max;
}

int vg_vu_check(const struct vg_vu_msg *m, enum vg_vu_kind kind, bool xen, struct vg_err *err)
{
	const struct form *f = form_of(kind, m->hdr.request);
	bool reply = kind == VG_VU_MAIN_REPLY || kind == VG_VU_BACK_REPLY;
	unsigned min, max, fds_min, fds_max;

	if (!f)
		return vg_fail(err, -EOPNOTSUPP, "message %u is not known here", m->hdr.request);
	if ((m->hdr.flags & VG_VU_VERSION_MASK) != VG_VU_VERSION)
		return vg_fail(err, -EPROTO, "%s: version %u, we speak 1", f->name,
			       m->hdr.flags & VG_VU_VERSION_MASK);
	if (reply != !!(m->hdr.flags & VG_VU_REPLY))
		return vg_fail(err, -EPROTO, "%s: a %s was expected", f->name,
			       reply ? "reply" : "request");
	min = f->min;
	max = f->max;
	fds_min = f->fds_min;
	fds_max = f->fds_max;
	if (reply) { /* without a reply of its own: REPLY_ACK's number */
		min = f->reply_max ? f->reply_min : (unsigned)U64;
		max = f->reply_max ? f->reply_max : (unsigned)U64;
		fds_min = fds_max = f->reply_fds;
	}
	if (m->hdr.size < min || m->hdr.size > max)
		return vg_fail(err, -EPROTO, "%s: %u bytes, it has %u to %u", f->name, m->hdr.size,
			       min, max);
	if (m->n_fds < fds_min || m->n_fds > fds_max)
		return vg_fail(err, -EPROTO, "%s: %u file descriptors, it has %u to %u", f->name,
			       m->n_fds, fds_min, fds_max);
	if (!reply && f->fits && !f->fits(m, xen))
		return vg_fail(err, -EPROTO, "%s: size, file descriptors and content do not fit",
			       f->name);
	return 0;
}

static void region_at(const uint8_t *wire, bool xen, struct vg_vu_region *out)
{
	memset(out, 0, sizeof(*out));
	memcpy(out, wire, region_size(xen));
}

void vg_vu_table_region(const struct vg_vu_msg *m, unsigned i, bool xen, struct vg_vu_region *out)
{
	region_at(m->table.regions + i * region_size(xen), xen, out);
}

void vg_vu_single_region(const struct vg_vu_msg *m, bool xen, struct vg_vu_region *out)
{
	region_at(m->one.region, xen, out);
}

int vg_vu_take_fd(struct vg_vu_msg *m, unsigned i)
{
	int fd;

	if (i >= m->n_fds)
		return -1;
	fd = m->fds[i];
	m->fds[i] = -1;
	return fd;
}

void vg_vu_drop_fds(struct vg_vu_msg *m)
{
	for (unsigned i = 0; i < m->n_fds; i++) {
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	}
	m->n_fds = 0;
}

/* ---- on a socket -------------------------------------------------------- */

void vg_vu_reader_init(struct vg_vu_reader *r)
{
	r->got = 0;
	r->whole = false;
	r->msg.n_fds = 0;
}

void vg_vu_reader_fini(struct vg_vu_reader *r)
{
	vg_vu_drop_fds(&r->msg);
	vg_vu_reader_init(r);
}

/* Keep the descriptors that came with a part. Return: whether there was room for them. */
static bool keep_fds(struct vg_vu_msg *m, struct msghdr *mh)
{
	bool ok = !(mh->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		unsigned n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (m->n_fds < VG_VU_FDS_MAX) {
				m->fds[m->n_fds++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	return ok;
}

/* Up to @len bytes to @buf. Return: how many, > 0; 0: closed; or negative errno. */
static ssize_t receive(struct vg_vu_msg *m, int sock, void *buf, size_t len)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * VG_VU_FDS_MAX)];
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	do {
		n = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return keep_fds(m, &mh) ? n : -EPROTO;
}

int vg_vu_read(struct vg_vu_reader *r, int sock)
{
	struct vg_vu_msg *m = &r->msg;

	if (r->whole) {
		r->whole = false;
		r->got = 0;
		vg_vu_drop_fds(m);
	}
	for (;;) {
		size_t whole = r->got < HEADER ? (size_t)HEADER : HEADER + (size_t)m->hdr.size;
		uint8_t *to = r->got < HEADER ? (uint8_t *)&m->hdr + r->got
					      : m->bytes + (r->got - HEADER);
		ssize_t n;

		if (r->got >= HEADER && m->hdr.size > VG_VU_PAYLOAD_MAX)
			return -EPROTO;
		if (r->got >= HEADER && r->got == whole) {
			r->whole = true;
			return 1;
		}
		n = receive(m, sock, to, whole - r->got);
		if (n < 0)
			return (int)n == -EWOULDBLOCK ? -EAGAIN : (int)n;
		if (n == 0)
			return r->got ? -ECONNRESET : 0;
		r->got += (size_t)n;
	}
}

/* Without descriptors, with send(2); with one, as a worker in its sandbox can (base/passing.h). */
static ssize_t send_few(int sock, const struct vg_vu_msg *m)
{
	struct iovec iov[2] = {
		{ .iov_base = (void *)(uintptr_t)&m->hdr, .iov_len = sizeof(m->hdr) },
		{ .iov_base = (void *)(uintptr_t)m->bytes, .iov_len = m->hdr.size },
	};
	uint8_t whole[sizeof(m->hdr) + VG_VU_PAYLOAD_MAX];
	ssize_t n;

	if (m->n_fds)
		return vg_pass(sock, iov, 2, m->fds[0]);
	if (m->hdr.size > VG_VU_PAYLOAD_MAX)
		return -EMSGSIZE;
	memcpy(whole, &m->hdr, sizeof(m->hdr));
	memcpy(whole + sizeof(m->hdr), m->bytes, m->hdr.size);
	do
		n = send(sock, whole, sizeof(m->hdr) + m->hdr.size, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return n;
}

/* What front-ends send: memory tables. */
static ssize_t send_many(int sock, const struct vg_vu_msg *m)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * VG_VU_FDS_MAX)] = { 0 };
	struct vg_vu_header hdr = m->hdr;
	struct iovec iov[2] = {
		{ .iov_base = &hdr, .iov_len = sizeof(hdr) },
		/* Only read from. */
		{ .iov_base = (uint8_t *)(uintptr_t)m->bytes, .iov_len = m->hdr.size },
	};
	struct msghdr mh = {
		.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(sizeof(int) * m->n_fds),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * m->n_fds);
	memcpy(CMSG_DATA(c), m->fds, sizeof(int) * m->n_fds);
	do {
		n = sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return n;
}

int vg_vu_send(int sock, const struct vg_vu_msg *m)
{
	ssize_t n = m->n_fds > 1 ? send_many(sock, m) : send_few(sock, m);

	if (n < 0)
		return (int)n;
	return (size_t)n == sizeof(m->hdr) + m->hdr.size ? 0 : -EPIPE;
}

int vg_vu_send_u64(int sock, uint32_t request, uint32_t flags, uint64_t value)
{
	struct vg_vu_msg m;

	m.hdr = (struct vg_vu_header){ request, VG_VU_VERSION | flags, sizeof(value) };
	m.u64 = value;
	m.n_fds = 0;
	return vg_vu_send(sock, &m);
}
