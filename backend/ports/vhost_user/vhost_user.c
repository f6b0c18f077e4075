// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_user.c - see vhost_user.h
 *
 *	socket -> vg_vu_read() -> form (wire/vhost_user.c) -> may it come now? -> its function
 *	                                                                             |
 *	       <- its own reply, or REPLY_ACK's number, if one was asked for <-------+
 *
 * What a front-end can do wrong ends in one of three ways. A request that is
 * well-formed but cannot be done is refused, if the front-end asked for an
 * answer. Without one, and for what is no message at all, we hang up: the spec
 * allows it, and a front-end that believes in something that is not so is worse
 * than one that has to connect again. What is the guest's fault rather than the
 * front-end's (a ring that lies nowhere) is DEVICE_NEEDS_RESET.
 *
 * Status. With STATUS negotiated the front-end hands on the driver's; what of it
 * does not come, a ring that is ready stands for (vhost_user/ring.c). Without, a
 * driver's reset shows as all rings stopped and other features; one with the same
 * features leaves the device as it was, which is what the same driver expects
 * that was stopped and continued.
 *
 * Stopping a ring can take long (the disk must finish). A message for which rings
 * must stop says so in its row; it is carried out, and answered, when they have.
 * Until then no other message is read, and hanging up waits.
 */
#include "backend/ports/vhost_user/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/limits.h"
#include "backend/ports/vhost_user/int.h"
#include "backend/ports/record.h"

enum { NO_PF = -1, MESSAGES_PER_TURN = 64 };

/* QEMU's VIRTQUEUE_MAX_SIZE, hw/virtio/virtio.h: larger rings it does not have. A front-end cannot
 * ask what the device has, and QEMU 10.0.13 gave those of its disks and network cards this size. */
enum { QUEUE_SIZE = 1024 };

static void parted(struct vg_wait *w);

/* ---- negotiation -------------------------------------------------------- */

static uint64_t offered(const struct vg_vu *vu)
{
	return vg_dev_offered(vu->dev) | VG_FEATURE(VG_VU_F_PROTOCOL_FEATURES);
}

static uint64_t offered_protocol(const struct vg_vu *vu)
{
	uint64_t f = VG_FEATURE(VG_VU_PF_MQ) | VG_FEATURE(VG_VU_PF_REPLY_ACK) |
		     VG_FEATURE(VG_VU_PF_BACKEND_REQ) | VG_FEATURE(VG_VU_PF_INFLIGHT_SHMFD) |
		     VG_FEATURE(VG_VU_PF_RESET_DEVICE) | VG_FEATURE(VG_VU_PF_CONFIGURE_MEM_SLOTS) |
		     VG_FEATURE(VG_VU_PF_STATUS);

	if (vu->dev->config_size) /* QEMU warns of it where it expects none */
		f |= VG_FEATURE(VG_VU_PF_CONFIG);
	if (vu->options.in_band)
		f |= VG_FEATURE(VG_VU_PF_INBAND);
	if (vu->options.xen)
		f |= VG_FEATURE(VG_VU_PF_XEN_MMAP);
	return f;
}

static int reply(struct vg_vu *vu, struct vg_vu_msg *m, uint32_t size)
{
	m->hdr.flags = VG_VU_VERSION | VG_VU_REPLY;
	m->hdr.size = size;
	return vg_vu_send(vu->sock, m);
}

static int reply_u64(struct vg_vu *vu, struct vg_vu_msg *m, uint64_t value)
{
	m->u64 = value;
	return reply(vu, m, sizeof(m->u64));
}

static int get_features(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	(void)err;
	return reply_u64(vu, m, offered(vu));
}

static void nothing_waits(struct vg_wait *w)
{
	(void)w;
}

/* All rings have stopped: a reset is done at once. */
static void reset_now(struct vg_vu *vu)
{
	struct vg_wait w = { .done = nothing_waits };

	vg_dev_reset(vu->dev, &w);
}

/* Whether SET_FEATURES stands for a reset by the driver. */
static bool other_features(const struct vg_vu *vu, const struct vg_vu_msg *m)
{
	bool same = vu->has_features && vu->features == m->u64;

	return !(m->u64 & ~offered(vu)) && !vg_vu_has(vu, VG_VU_PF_STATUS) &&
	       !(same && !(vu->dev->status & VG_STATUS_NEEDS_RESET));
}

static int set_features(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	uint64_t unknown = m->u64 & ~offered(vu);

	if (unknown)
		return vg_fail(err, -EINVAL, "features 0x%llx were never offered",
			       (unsigned long long)unknown);
	if (other_features(vu, m))
		reset_now(vu);
	vu->features = m->u64;
	vu->has_features = true;
	vg_dev_set_features(vu->dev, m->u64 & ~VG_FEATURE(VG_VU_F_PROTOCOL_FEATURES));
	return 0;
}

static int get_protocol_features(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	(void)err;
	return reply_u64(vu, m, offered_protocol(vu));
}

static int set_protocol_features(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	const uint64_t in_band = VG_FEATURE(VG_VU_PF_INBAND);
	const uint64_t needs = VG_FEATURE(VG_VU_PF_BACKEND_REQ) | VG_FEATURE(VG_VU_PF_REPLY_ACK);

	if (m->u64 & ~offered_protocol(vu))
		return vg_fail(err, -EINVAL, "protocol features 0x%llx were never offered",
			       (unsigned long long)(m->u64 & ~offered_protocol(vu)));
	/* Spec, "In-band notifications": "the back-end should close the connection" */
	if ((m->u64 & in_band) && (m->u64 & needs) != needs) {
		vu->ending = true;
		return vg_fail(err, -EPROTO,
			       "in-band notifications need BACKEND_REQ and REPLY_ACK");
	}
	vu->protocol = m->u64;
	return 0;
}

static int nothing(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	(void)vu;
	(void)m;
	(void)err;
	return 0;
}

static int get_queue_num(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	(void)err;
	return reply_u64(vu, m, vu->dev->n_queues);
}

/* ---- status ------------------------------------------------------------- */

static void forget_parked(struct vg_vu *vu)
{
	free(vu->parked);
	vu->parked = NULL;
}

static void reset(struct vg_vu *vu)
{
	if (!vu->parked)
		vu->parked = malloc(vu->dev->saved_size + 1);
	if (vu->parked)
		memcpy(vu->parked, vu->dev->saved, vu->dev->saved_size);
	reset_now(vu);
}

/* DRIVER_OK may come before the rings or after. The queues that are there by then have had what the
 * driver set in the device restored (vg_vu_ring_start()). */
static int set_status(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	uint32_t status = (uint32_t)m->u64;

	(void)err;
	if (status == 0) {
		reset(vu);
		/* What the driver chooses next comes with SET_FEATURES, or is the same as before. */
		if (vu->has_features)
			vg_dev_set_features(vu->dev,
					    vu->features & ~VG_FEATURE(VG_VU_F_PROTOCOL_FEATURES));
		return 0;
	}
	vg_dev_set_status(vu->dev, status);
	vg_vu_rings_start(vu);
	return 0;
}

static int get_status(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	(void)err;
	return reply_u64(vu, m, vu->dev->status);
}

static int reset_device(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	(void)m;
	(void)err;
	reset(vu);
	forget_parked(vu);
	vg_vu_rings_forget(vu);
	return 0;
}

/* ---- memory ------------------------------------------------------------- */

static int set_mem_table(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	bool xen = vg_vu_has(vu, VG_VU_PF_XEN_MMAP);
	struct vg_vu_region r[VG_VU_TABLE_MAX];
	int ret;

	for (unsigned i = 0; i < m->table.n; i++)
		vg_vu_table_region(m, i, xen, &r[i]);
	if (vg_vu_mem_same(&vu->mem, r, m->fds, m->n_fds))
		return 0;
	ret = vg_vu_mem_set(&vu->mem, r, m->fds, m->n_fds, err);
	vg_vu_rings_start(vu);
	return ret;
}

static int add_mem_reg(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_region r;
	int ret;

	vg_vu_single_region(m, vg_vu_has(vu, VG_VU_PF_XEN_MMAP), &r);
	ret = vg_vu_mem_add(&vu->mem, &r, m->fds[0], err);
	vg_vu_rings_start(vu);
	return ret;
}

static int rem_mem_reg(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_region r;
	int ret;

	vg_vu_single_region(m, vg_vu_has(vu, VG_VU_PF_XEN_MMAP), &r);
	ret = vg_vu_mem_del(&vu->mem, &r, err);
	vg_vu_rings_start(vu);
	return ret;
}

static int get_max_mem_slots(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	(void)err;
	return reply_u64(vu, m, VG_MAX_REGIONS);
}

/* ---- rings -------------------------------------------------------------- */

static struct vg_vu_ring *ring(struct vg_vu *vu, uint64_t index, struct vg_err *err)
{
	if (index < vu->dev->n_queues)
		return &vu->ring[index];
	vg_fail(err, -EINVAL, "queue %llu: the device has %u", (unsigned long long)index,
		vu->dev->n_queues);
	return NULL;
}

static int set_vring_num(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_ring *r = ring(vu, m->state.index, err);

	if (!r)
		return -EINVAL;
	if (m->state.num == 0 || m->state.num > vg_dev_queue_max(vu->dev, r->q))
		return vg_fail(
			err, -EINVAL,
			"queue %u of %u descriptors: at most %u here; set queue-size= of the "
			"front-end or of the device",
			r->q, m->state.num, vg_dev_queue_max(vu->dev, r->q));
	r->num = m->state.num;
	r->has_num = true;
	vg_vu_ring_start(r);
	return 0;
}

static int set_vring_addr(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_ring *r = ring(vu, m->addr.index, err);

	if (!r)
		return -EINVAL;
	if (m->addr.flags)
		return vg_fail(err, -EINVAL, "queue %u: flags 0x%x of its address", r->q,
			       m->addr.flags);
	r->addr = m->addr;
	r->has_addr = true;
	vg_vu_ring_start(r);
	return 0;
}

static int set_vring_base(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_ring *r = ring(vu, m->state.index, err);

	if (!r)
		return -EINVAL;
	vg_vu_ring_set_base(r, m->state.num);
	vg_vu_ring_start(r);
	return 0;
}

static int get_vring_base(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_ring *r = ring(vu, m->state.index, err);

	if (!r)
		return -EINVAL;
	r->kicked = false;
	vg_vu_ring_set_kick(r, -1);
	m->state.num = vg_vu_ring_base(r);
	return reply(vu, m, sizeof(m->state));
}

static int set_vring_kick(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_ring *r = ring(vu, m->u64 & VG_VU_RING_INDEX, err);

	if (!r)
		return -EINVAL;
	if (vg_vu_ring_set_kick(r, vg_vu_take_fd(m, 0)) < 0)
		return vg_fail(err, -EINVAL, "queue %u: its kick is no eventfd", r->q);
	r->kicked = true;
	vg_vu_ring_start(r);
	return 0;
}

static int set_vring_call(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_ring *r = ring(vu, m->u64 & VG_VU_RING_INDEX, err);

	if (!r)
		return -EINVAL;
	vg_vu_ring_set_call(r, vg_vu_take_fd(m, 0));
	return 0;
}

static int set_vring_err(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_ring *r = ring(vu, m->u64 & VG_VU_RING_INDEX, err);

	if (!r)
		return -EINVAL;
	vg_vu_ring_set_err(r, vg_vu_take_fd(m, 0));
	return 0;
}

static int set_vring_enable(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_ring *r = ring(vu, m->state.index, err);

	if (!r)
		return -EINVAL;
	if (m->state.num > 1)
		return vg_fail(err, -EINVAL, "queue %u: enabled %u", r->q, m->state.num);
	r->enabled = m->state.num;
	if (r->enabled)
		vg_vu_ring_start(r);
	return 0;
}

static int vring_kick(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_ring *r = ring(vu, m->state.index, err);

	if (!r)
		return -EINVAL;
	r->kicked = true;
	vg_vu_ring_start(r);
	vg_vu_ring_kick(r);
	return 0;
}

/* ---- configuration ------------------------------------------------------ */

/* The answer has the size that was asked for, zeros where the device has nothing: front-ends know
 * a newer, longer configuration than the device, and Cloud Hypervisor dies of a refusal. */
static int get_config(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	struct vg_vu_config *c = &m->config;
	uint32_t have = 0;

	(void)err;
	if (c->size > VG_VU_CONFIG_MAX || c->offset > VG_VU_CONFIG_MAX - c->size) {
		c->size = 0; /* spec: "uses zero length of payload to indicate an error" */
		return reply(vu, m, offsetof(struct vg_vu_config, data));
	}
	memset(c->data, 0, c->size);
	if (c->offset < vu->dev->config_size)
		have = vu->dev->config_size - c->offset;
	if (have > c->size)
		have = c->size;
	vg_dev_config_read(vu->dev, c->offset < vu->dev->config_size ? c->offset : 0, c->data,
			   have);
	return reply(vu, m, (uint32_t)(offsetof(struct vg_vu_config, data) + c->size));
}

static int set_config(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	const struct vg_vu_config *c = &m->config;
	int ret;

	if (c->flags & ~VG_VU_CONFIG_MIGRATION)
		return vg_fail(err, -EINVAL, "flags 0x%x of a configuration", c->flags);
	ret = vg_dev_config_write(vu->dev, c->offset, c->data, c->size);
	if (ret == 0 || (c->flags & VG_VU_CONFIG_MIGRATION))
		return 0;
	/* The guest's doing, most likely: no reason to hang up. */
	vg_log_limited(&vu->log, VG_LOG_INFO, "%u bytes of configuration at %u are not writable",
		       c->size, c->offset);
	return m->hdr.flags & VG_VU_NEED_REPLY ? ret : 0;
}

/* ---- the rest ----------------------------------------------------------- */

static bool comes_with_socket(const struct vg_vu_msg *m)
{
	struct stat st;

	return fstat(m->fds[0], &st) == 0 && S_ISSOCK(st.st_mode);
}

static int set_backend_req_fd(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	if (!comes_with_socket(m))
		return vg_fail(err, -EINVAL, "the back-end's channel is no socket");
	vg_vu_back_set(vu, vg_vu_take_fd(m, 0));
	return 0;
}

/* Of docs/interop/vhost-user-gpu.rst; QEMU negotiates nothing for it. */
static int gpu_set_socket(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	if (!vu->dev->ops->screen)
		return vg_fail(err, -EOPNOTSUPP, "this device has no picture");
	if (!comes_with_socket(m))
		return vg_fail(err, -EINVAL, "where its picture is shown is no socket");
	return vg_vu_screen_new(vu, vg_vu_take_fd(m, 0));
}

static int get_inflight_fd(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	uint32_t size = m->hdr.size;
	int ret;

	if (vg_vu_rings_running(vu))
		return vg_fail(err, -EBUSY, "a new in-flight record while rings run");
	ret = vg_vu_inflight_get(vu, &m->inflight, err);
	if (ret < 0)
		return ret;
	m->fds[0] = vu->inflight_fd;
	m->n_fds = 1;
	ret = reply(vu, m, size);
	m->n_fds = 0;
	return ret;
}

static int set_inflight_fd(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err)
{
	if (vg_vu_rings_running(vu))
		return vg_fail(err, -EBUSY, "another in-flight record while rings run");
	return vg_vu_inflight_set(vu, &m->inflight, m->fds[0], err);
}

/* ---- dispatch ----------------------------------------------------------- */

/* Which rings must have stopped before a message is carried out: a number, VG_VU_ALL, VG_VU_NONE. */

static int if_there(const struct vg_vu *vu, uint64_t index)
{
	return index < vu->dev->n_queues ? (int)index : VG_VU_NONE;
}

static int stop_for_features(struct vg_vu *vu, const struct vg_vu_msg *m)
{
	return other_features(vu, m) ? VG_VU_ALL : VG_VU_NONE;
}

static int stop_for_table(struct vg_vu *vu, const struct vg_vu_msg *m)
{
	bool xen = vg_vu_has(vu, VG_VU_PF_XEN_MMAP);
	struct vg_vu_region r[VG_VU_TABLE_MAX];

	for (unsigned i = 0; i < m->table.n; i++)
		vg_vu_table_region(m, i, xen, &r[i]);
	return vg_vu_mem_same(&vu->mem, r, m->fds, m->n_fds) ? VG_VU_NONE : VG_VU_ALL;
}

/* The main context can go on with one more region; others must not look meanwhile. */
static int stop_for_region(struct vg_vu *vu, const struct vg_vu_msg *m)
{
	(void)m;
	return vu->dev->n_ctx > 1 ? VG_VU_ALL : VG_VU_NONE;
}

static int stop_for_num(struct vg_vu *vu, const struct vg_vu_msg *m)
{
	int q = if_there(vu, m->state.index);

	return q >= 0 && vu->ring[q].has_num && vu->ring[q].num != m->state.num ? q : VG_VU_NONE;
}

static int stop_for_addr(struct vg_vu *vu, const struct vg_vu_msg *m)
{
	int q = if_there(vu, m->addr.index);

	return q >= 0 && vu->ring[q].has_addr &&
			       memcmp(&vu->ring[q].addr, &m->addr, sizeof(m->addr)) != 0
		       ? q
		       : VG_VU_NONE;
}

static int stop_it(struct vg_vu *vu, const struct vg_vu_msg *m)
{
	return if_there(vu, m->state.index);
}

static int stop_unless_enabled(struct vg_vu *vu, const struct vg_vu_msg *m)
{
	return m->state.num ? VG_VU_NONE : if_there(vu, m->state.index);
}

static int stop_for_status(struct vg_vu *vu, const struct vg_vu_msg *m)
{
	(void)vu;
	return m->u64 ? VG_VU_NONE : VG_VU_ALL;
}

static int stop_all(struct vg_vu *vu, const struct vg_vu_msg *m)
{
	(void)vu;
	(void)m;
	return VG_VU_ALL;
}

static const struct handler {
	int (*run)(struct vg_vu *vu, struct vg_vu_msg *m, struct vg_err *err);
	int protocol_feature; /* that must have been negotiated */
	int (*stops)(struct vg_vu *vu, const struct vg_vu_msg *m); /* NULL: none */
} handlers[VG_VU_REQUESTS] = {
	[VG_VU_GET_FEATURES] = { get_features, NO_PF, NULL },
	[VG_VU_SET_FEATURES] = { set_features, NO_PF, stop_for_features },
	[VG_VU_SET_OWNER] = { nothing, NO_PF, NULL },
	[VG_VU_RESET_OWNER] = { nothing, NO_PF, NULL }, /* "recommended that back-ends ignore" it */
	[VG_VU_SET_MEM_TABLE] = { set_mem_table, NO_PF, stop_for_table },
	[VG_VU_SET_VRING_NUM] = { set_vring_num, NO_PF, stop_for_num },
	[VG_VU_SET_VRING_ADDR] = { set_vring_addr, NO_PF, stop_for_addr },
	[VG_VU_SET_VRING_BASE] = { set_vring_base, NO_PF, stop_it },
	[VG_VU_GET_VRING_BASE] = { get_vring_base, NO_PF, stop_it },
	[VG_VU_SET_VRING_KICK] = { set_vring_kick, NO_PF, NULL },
	[VG_VU_SET_VRING_CALL] = { set_vring_call, NO_PF, NULL },
	[VG_VU_SET_VRING_ERR] = { set_vring_err, NO_PF, NULL },
	[VG_VU_GET_PROTOCOL_FEATURES] = { get_protocol_features, NO_PF, NULL },
	[VG_VU_SET_PROTOCOL_FEATURES] = { set_protocol_features, NO_PF, NULL },
	[VG_VU_GET_QUEUE_NUM] = { get_queue_num, NO_PF, NULL },
	[VG_VU_SET_VRING_ENABLE] = { set_vring_enable, NO_PF, stop_unless_enabled },
	[VG_VU_SET_BACKEND_REQ_FD] = { set_backend_req_fd, VG_VU_PF_BACKEND_REQ, NULL },
	[VG_VU_GET_CONFIG] = { get_config, VG_VU_PF_CONFIG, NULL },
	[VG_VU_SET_CONFIG] = { set_config, VG_VU_PF_CONFIG, NULL },
	[VG_VU_GET_INFLIGHT_FD] = { get_inflight_fd, VG_VU_PF_INFLIGHT_SHMFD, NULL },
	[VG_VU_SET_INFLIGHT_FD] = { set_inflight_fd, VG_VU_PF_INFLIGHT_SHMFD, NULL },
	[VG_VU_GPU_SET_SOCKET] = { gpu_set_socket, NO_PF, NULL },
	[VG_VU_RESET_DEVICE] = { reset_device, VG_VU_PF_RESET_DEVICE, stop_all },
	[VG_VU_VRING_KICK] = { vring_kick, VG_VU_PF_INBAND, NULL },
	[VG_VU_GET_MAX_MEM_SLOTS] = { get_max_mem_slots, VG_VU_PF_CONFIGURE_MEM_SLOTS, NULL },
	[VG_VU_ADD_MEM_REG] = { add_mem_reg, VG_VU_PF_CONFIGURE_MEM_SLOTS, stop_for_region },
	[VG_VU_REM_MEM_REG] = { rem_mem_reg, VG_VU_PF_CONFIGURE_MEM_SLOTS, stop_all },
	[VG_VU_SET_STATUS] = { set_status, VG_VU_PF_STATUS, stop_for_status },
	[VG_VU_GET_STATUS] = { get_status, VG_VU_PF_STATUS, NULL },
};

/* Why a message cannot be carried out at all. Return: 0, or negative errno with a sentence. */
static int refuse(const struct vg_vu *vu, const struct handler *h, struct vg_err *err)
{
	if (!h->run)
		return vg_fail(err, -EOPNOTSUPP, "this device has no use for it");
	if (h->protocol_feature != NO_PF && !vg_vu_has(vu, (unsigned)h->protocol_feature))
		return vg_fail(err, -EPROTO, "its protocol feature was not negotiated");
	return 0;
}

/* Carry out the message that was read, and answer it. Return: 0, or the negative errno with which to
 * hang up. */
static int carry_out(struct vg_vu *vu)
{
	struct vg_vu_msg *m = &vu->reader.msg;
	uint32_t request = m->hdr.request;
	const struct handler *h = &handlers[request];
	bool wants_ack = (m->hdr.flags & VG_VU_NEED_REPLY) && !vg_vu_has_reply(request);
	struct vg_err err = { "" };
	int ret = refuse(vu, h, &err);

	if (ret == 0)
		ret = h->run(vu, m, &err);
	/* Asked after: SET_PROTOCOL_FEATURES itself can be acknowledged. */
	wants_ack = wants_ack && vg_vu_has(vu, VG_VU_PF_REPLY_ACK);
	if (ret < 0)
		vg_log_limited(&vu->log, VG_LOG_WARN, "%s of the front-end: %s",
			       vg_vu_name(VG_VU_MAIN_REQUEST, request),
			       err.text[0] ? err.text : strerror(-ret));
	vg_vu_drop_fds(m);
	/* What was refused changes nothing: rings that stopped for it run again. */
	if (ret < 0 && h->stops)
		vg_vu_rings_start(vu);
	if (!vu->ending && wants_ack)
		ret = vg_vu_send_u64(vu->sock, request, VG_VU_REPLY, ret < 0 ? (uint64_t)-ret : 0);
	/* A front-end that does not read its answers; to serve() -EAGAIN means another thing. */
	return ret == -EAGAIN ? -EPIPE : ret;
}

static void hang_up(struct vg_vu *vu, int error)
{
	vu->has_left = true;
	vu->left_error = error;
	vg_vu_drop(vu, &vu->left);
}

static void has_left(struct vg_wait *w)
{
	struct vg_vu *vu = container_of(w, struct vg_vu, left);

	vu->has_left = false;
	vu->events.gone(vu->events.owner, vu->left_error);
}

static void leave_now(struct vg_vu *vu);

/* The rings that a message was waiting for have stopped. */
static void go_on(struct vg_vu *vu)
{
	int ret;

	if (!vu->pending)
		return;
	vu->pending = false;
	if (vu->leaving) {
		vg_vu_drop_fds(&vu->reader.msg);
		leave_now(vu);
		return;
	}
	ret = carry_out(vu);
	if (vu->ending || ret < 0)
		hang_up(vu, vu->ending ? vu->error : ret);
	else
		vg_loop_timer(vu->dev->loop, &vu->more, 1);
}

static void stopped_for_message(struct vg_vu *vu)
{
	if (!vu->inside)
		go_on(vu);
}

/* A message was read. Return: 1: it was carried out; 0: it waits; or negative errno: hang up. */
static int handle(struct vg_vu *vu)
{
	struct vg_vu_msg *m = &vu->reader.msg;
	const struct handler *h;
	struct vg_err err = { "" };
	int q = VG_VU_NONE;
	int ret = vg_vu_check(m, VG_VU_MAIN_REQUEST, vg_vu_has(vu, VG_VU_PF_XEN_MMAP), &err);

	if (ret < 0) {
		vg_log_limited(&vu->log, VG_LOG_WARN, "the front-end: %s", err.text);
		return ret;
	}
	h = &handlers[m->hdr.request];
	if (h->stops && refuse(vu, h, NULL) == 0)
		q = h->stops(vu, m);
	if (q != VG_VU_NONE) {
		vu->pending = true;
		/* Rings that have stopped already let it go on at once; but from here. */
		vu->inside = true;
		vg_vu_rings_stop(vu, q, stopped_for_message);
		vu->inside = false;
		if (vu->stopping)
			return 0;
		vu->pending = false;
	}
	ret = carry_out(vu);
	return ret < 0 ? ret : 1;
}

static void serve(struct vg_vu *vu)
{
	unsigned handled = 0;
	int ret = 1;

	if (vu->pending || vu->leaving || vu->sock < 0)
		return;
	while (!vu->ending && handled < MESSAGES_PER_TURN &&
	       (ret = vg_vu_read(&vu->reader, vu->sock)) == 1) {
		ret = handle(vu);
		if (ret == 0)
			return; /* go_on() */
		if (ret < 0)
			break;
		handled++;
	}
	if (ret == 1 && !vu->ending)
		vg_loop_timer(vu->dev->loop, &vu->more, 1);
	else if (ret != -EAGAIN || vu->ending)
		hang_up(vu, vu->ending ? vu->error : ret);
}

static void sock_ready(struct vg_watch *w, unsigned events)
{
	(void)events; /* a hang-up reads as such */
	serve(container_of(w, struct vg_vu, watch));
}

static void serve_more(struct vg_timer *t)
{
	serve(container_of(t, struct vg_vu, more));
}

/* ---- what the device asks of its port ----------------------------------- */

static void config_changed(struct vg_port *port)
{
	struct vg_vu *vu = container_of(port, struct vg_vu, port);

	if (vu->sock < 0)
		return;
	if (vu->dev->status & VG_STATUS_NEEDS_RESET)
		vg_vu_errors(vu);
	/* QEMU reads the configuration when it connects, and then again only if it is told while its
	 * device runs. */
	vu->config_again = !vg_vu_rings_running(vu);
	vg_vu_back_config_changed(vu);
}

static void record(struct vg_port *port)
{
	vg_vu_inflight_save(container_of(port, struct vg_vu, port));
}

static const struct vg_port_ops vhost_user_ops = {
	.name = "vhost-user",
	.features = VG_FEATURE(VG_F_INDIRECT_DESC) | VG_FEATURE(VG_F_EVENT_IDX) |
		    VG_FEATURE(VG_F_VERSION_1) | VG_FEATURE(VG_F_RING_PACKED) |
		    VG_FEATURE(VG_F_IN_ORDER) | VG_FEATURE(VG_F_RING_RESET),
	.required = VG_FEATURE(VG_F_VERSION_1),
	.cheap_notify = true,
	.notify = vg_vu_notify,
	.config_changed = config_changed,
	.record = record,
};

/* ---- life --------------------------------------------------------------- */

int vg_vu_new(struct vg_dev *dev, const struct vg_vu_options *options,
	      const struct vg_vu_events *events, struct vg_vu **out, struct vg_err *err)
{
	struct vg_vu *vu = calloc(1, sizeof(*vu));
	int ret;

	if (!vu)
		return vg_fail(err, -ENOMEM, "out of memory");
	vu->ops = vhost_user_ops;
	if (options->no_packed)
		vu->ops.features &= ~VG_FEATURE(VG_F_RING_PACKED);
	/* Grants are addresses of the platform's making. */
	if (options->xen)
		vu->ops.features |= VG_FEATURE(VG_F_ACCESS_PLATFORM);
	vu->port.ops = &vu->ops;
	vu->dev = dev;
	vu->options = *options;
	vu->events = *events;
	vu->sock = -1;
	vu->inflight_fd = -1;
	vu->watch.ready = sock_ready;
	vu->more.expired = serve_more;
	vu->log = (struct vg_ratelimit)VG_RATELIMIT_INIT;
	vu->left.done = has_left;
	vu->parted.done = parted;
	vg_vu_reader_init(&vu->reader);
	vg_vu_rings_init(vu);
	vg_vu_back_init(vu);
	if (dev->n_ctx > 1 && (options->in_band || options->xen)) {
		ret = vg_fail(err, -EINVAL,
			      "threads=%u: with in-band notifications, or memory of Xen guests, "
			      "one thread serves all queues",
			      dev->n_ctx);
		vg_vu_free(vu);
		return ret;
	}
	ret = vg_vu_mem_init(&vu->mem, options->xen, dev->n_ctx,
			     options->bounce_bytes ? options->bounce_bytes : VG_LIMIT_BOUNCE_BYTES);
	if (ret == 0)
		ret = vg_vu_inflight_new(vu);
	if (ret < 0) {
		vg_fail(err, ret, "memory for requests in flight: %s", strerror(-ret));
		vg_vu_free(vu);
		return ret;
	}
	dev->port = &vu->port;
	dev->queue_size = QUEUE_SIZE;
	for (unsigned i = 0; i < dev->n_ctx; i++)
		dev->ctx[i].mem = vg_vu_mem_seen(&vu->mem, i);
	dev->mem = dev->ctx[0].mem;
	*out = vu;
	return 0;
}

void vg_vu_free(struct vg_vu *vu)
{
	if (!vu)
		return;
	/* One that became quiet has a front-end still. */
	vg_vu_screen_drop(vu);
	for (unsigned q = 0; q < VG_MAX_QUEUES; q++) {
		struct vg_vu_ring *r = &vu->ring[q];

		vg_loop_unwatch(&r->watch);
		if (r->kick >= 0)
			close(r->kick);
		if (r->call >= 0)
			close(r->call);
		if (r->err >= 0)
			close(r->err);
	}
	if (vu->sock >= 0) {
		vg_vu_back_set(vu, -1);
		vg_vu_reader_fini(&vu->reader);
		close(vu->sock);
	}
	free(vu->parked);
	vg_vu_mem_fini(&vu->mem);
	vg_vu_inflight_free(vu);
	free(vu);
}

static const struct vg_sandbox_call calls[] = {
	VG_CALL(accept4),	/* the worker's, of the next front-end */
	VG_CALL_FCNTL(F_SETFL), /* ring.c: kicks do not block */
	/* inflight.c: zeros its record */
	VG_CALL_IF(fallocate, 1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
	VG_CALLS_END,
};

/* Of descriptors, it answers with that of the in-flight record. */
const struct vg_sandbox_needs vg_vu_needs = { .calls = calls, .passes = true };

static void show_context(struct vg_ctx *ctx, void *arg)
{
	struct vg_vu *vu = arg;

	vg_vu_rings_show(vu, ctx, vu->shown);
}

void vg_vu_show(struct vg_vu *vu, struct vg_record_map *map, struct vg_wait *w)
{
	struct vg_dev *dev = vu->dev;
	struct vg_record_state s = { .status = dev->status, .features = dev->driver_features };

	vg_record_offered(map, vg_dev_offered(dev));
	vg_record_write(map, &s);
	vu->shown = map;
	vg_dev_each(dev, show_context, vu, w);
}

void vg_vu_serve(struct vg_vu *vu, int sock)
{
	vu->sock = sock;
	vu->ending = false;
	vu->error = -EPROTO;
	vu->protocol = 0;
	vu->features = 0;
	vu->has_features = false;
	vu->config_again = false;
	vg_vu_reader_init(&vu->reader);
	vg_loop_watch(vu->dev->loop, &vu->watch, sock);
}

/* ---- leaving ------------------------------------------------------------ */

static void call_leavers(struct vg_vu *vu)
{
	vu->leaving = vu->quiet; /* one that became quiet stays so */
	vg_waits_call(&vu->leavers);
}

/* No context holds anything of the front-end's any more. */
static void parted(struct vg_wait *w)
{
	struct vg_vu *vu = container_of(w, struct vg_vu, parted);

	vg_vu_screen_drop(vu);
	vg_vu_back_set(vu, -1);
	vg_vu_inflight_drop(vu);
	vg_vu_mem_clear(&vu->mem);
	forget_parked(vu);
	vg_vu_reader_fini(&vu->reader);
	close(vu->sock);
	vu->sock = -1;
	call_leavers(vu);
}

static void all_stopped(struct vg_vu *vu)
{
	if (vu->quiet) {
		call_leavers(vu);
		return;
	}
	reset_now(vu);
	vg_vu_rings_forget(vu);
	vg_dev_sync(vu->dev, &vu->parted);
}

static void leave_now(struct vg_vu *vu)
{
	vg_vu_rings_stop(vu, VG_VU_ALL, all_stopped);
}

static void leave(struct vg_vu *vu, struct vg_wait *w)
{
	bool first = !vu->leaving;

	vg_waits_add(&vu->leavers, w);
	vu->leaving = true;
	vg_loop_unwatch(&vu->watch);
	vg_loop_timer_stop(&vu->more);
	if (first && !vu->pending)
		leave_now(vu);
}

void vg_vu_drop(struct vg_vu *vu, struct vg_wait *w)
{
	if (vu->sock < 0)
		w->done(w);
	else
		leave(vu, w);
}

void vg_vu_quiesce(struct vg_vu *vu, struct vg_wait *w)
{
	if (!vu->leaving)
		vu->quiet = true;
	leave(vu, w);
}
