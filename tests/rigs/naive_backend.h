/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * naive_backend.h - the simplest virtio-grant backend, for the driver's own tests
 *
 * One blk device with one queue and a disk of NB_SECTORS in memory, as a
 * thread in domain 0. Straight from xenstore/PROTOCOL.md, one message, one
 * request, one mapping at a time; it trusts the frontend, which is the one on
 * trial. nb.sin lets it break a rule, to see the frontend notice.
 */
#ifndef NAIVE_BACKEND_H
#define NAIVE_BACKEND_H

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

#include "frontend-glue/include/virtio_grant.h"
#include "tests/fakes/xen/fake_xen.h"
#include "tests/rigs/naive_device.h"

#define NB_SECTORS 64u
#define NB_QUEUE   64u
#define NB_FEATURES                                                              \
	(1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX | \
	 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |         \
	 1ull << VIRTIO_F_RING_PACKED | 1ull << 35 /* IN_ORDER */ | 1ull << 40 /* RING_RESET */)

enum nb_sin {
	NB_GOOD,
	NB_KEEPS_BUFFERS, /* publishes before it unmaps */
	NB_KEEPS_RINGS,	  /* answers a reset before it unmaps the rings */
	NB_KEEPS_CHANNEL, /* ... before it unbinds the queue's channel */
	NB_SILENT,	  /* consumes requests, answers none */
	NB_WRONG_PING,
	NB_NO_NOTIFY, /* uses buffers without a word */
	NB_FAILS,     /* cannot open its image */
	NB_NO_KEY,    /* speaks another transport */
	NB_BAD_INDEX, /* runs its producer index away */
};

struct nb_map {
	void *p;
	uint32_t pages;
};

struct nb {
	struct fx_world *w;
	unsigned int gid, id;
	enum nb_sin sin;
	pthread_t thread;
	bool stop;
	char front[96], back[96];
	struct xs_handle *xs;
	xengnttab_handle *xgt;
	xenevtchn_handle *xce;
	unsigned int state;

	struct virtio_grant_control *ctrl;
	int cport;
	uint32_t status, generation;
	uint64_t features;
	int qport;
	bool set;
	struct virtio_msg_vqueue q;
	struct nb_map ring[3], pool;
	uint32_t pool_ref;
	struct nv nv;
	struct nb_map tmp[NV_MAX_SEG + 1];
	unsigned int n_tmp;
	uint8_t disk[NB_SECTORS * 512];
};

/* ---- memory --------------------------------------------------------------- */

static inline void *nb_map_refs(struct nb *b, uint64_t addr, uint32_t len, struct nb_map *m)
{
	uint32_t ref = (uint32_t)(addr >> 12), off = addr & 4095, i, refs[1024];

	m->pages = (off + len + 4095) / 4096;
	if (!(addr >> 63) || m->pages > 1024)
		return NULL;
	for (i = 0; i < m->pages; i++)
		refs[i] = ref + i;
	m->p = xengnttab_map_domain_grant_refs(b->xgt, m->pages, b->gid, refs,
					       PROT_READ | PROT_WRITE);
	if (!m->p)
		m->p = xengnttab_map_domain_grant_refs(b->xgt, m->pages, b->gid, refs, PROT_READ);
	return m->p ? (uint8_t *)m->p + off : NULL;
}

static inline void nb_unmap(struct nb *b, struct nb_map *m)
{
	if (m->p)
		xengnttab_unmap(b->xgt, m->p, m->pages);
	m->p = NULL;
}

static inline void *nb_at(void *ctx, uint64_t addr, uint32_t len)
{
	uint32_t ref = (uint32_t)(addr >> 12);
	struct nb *b = ctx;
	void *p;

	if (b->pool.p && ref >= b->pool_ref && ref < b->pool_ref + b->pool.pages)
		return (uint8_t *)b->pool.p + (ref - b->pool_ref) * 4096 + (addr & 4095);
	p = nb_map_refs(b, addr, len, &b->tmp[b->n_tmp++]);
	if (!p)
		abort();
	return p;
}

static inline void nb_unmap_tmp(struct nb *b)
{
	while (b->n_tmp)
		nb_unmap(b, &b->tmp[--b->n_tmp]);
}

/* ---- the device ------------------------------------------------------------ */

/* nb_request() - one blk request; Return: bytes written */
static inline uint32_t nb_request(struct nb *b, const struct nv_chain *c)
{
	struct virtio_blk_outhdr h;
	uint8_t *status = c->seg[c->segs - 1].p;
	uint32_t written = 1, i;
	uint64_t pos;

	memcpy(&h, c->seg[0].p, sizeof(h));
	pos = h.sector * 512;
	*status = VIRTIO_BLK_S_OK;
	for (i = 1; i + 1 < c->segs; i++) {
		if (h.type == VIRTIO_BLK_T_GET_ID) {
			strncpy(c->seg[i].p, "naive", c->seg[i].len);
		} else if (pos + c->seg[i].len > sizeof(b->disk)) {
			*status = VIRTIO_BLK_S_IOERR;
			continue;
		} else if (h.type == VIRTIO_BLK_T_IN) {
			memcpy(c->seg[i].p, b->disk + pos, c->seg[i].len);
		} else if (h.type == VIRTIO_BLK_T_OUT) {
			memcpy(b->disk + pos, c->seg[i].p, c->seg[i].len);
		} else {
			*status = VIRTIO_BLK_S_UNSUPP;
		}
		pos += c->seg[i].len;
		written += c->seg[i].write ? c->seg[i].len : 0;
	}
	return written;
}

static inline void nb_serve(struct nb *b, const struct nv_chain *c)
{
	uint32_t len = nb_request(b, c);

	if (b->sin != NB_KEEPS_BUFFERS)
		nb_unmap_tmp(b);
	nv_push(&b->nv, c, 1, len);
	if (nv_should_notify(&b->nv) && b->sin != NB_NO_NOTIFY)
		xenevtchn_notify(b->xce, (evtchn_port_t)b->qport);
}

static inline void nb_queue(struct nb *b)
{
	struct nv_chain c;

	if (!b->set || !(b->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	do {
		nv_listen(&b->nv, false);
		while (nv_pop(&b->nv, &c))
			nb_serve(b, &c);
		nv_listen(&b->nv, true);
		if (!nv_pop(&b->nv, &c))
			return;
		nb_serve(b, &c); /* came in between */
	} while (true);
}

static inline void nb_stop_queue(struct nb *b, bool lie)
{
	unsigned int i;

	if (!(lie && b->sin == NB_KEEPS_RINGS))
		for (i = 0; i < 3; i++)
			nb_unmap(b, &b->ring[i]);
	if (b->qport > 0 && !(lie && b->sin == NB_KEEPS_CHANNEL)) {
		xenevtchn_unbind(b->xce, (evtchn_port_t)b->qport);
		b->qport = 0;
	}
	b->set = false;
}

static inline void nb_reset(struct nb *b, bool lie)
{
	nb_stop_queue(b, lie);
	nb_unmap_tmp(b);
	nb_unmap(b, &b->pool);
	b->status = 0;
	b->features = 0;
}

static inline void nb_set_queue(struct nb *b, const struct virtio_msg_vqueue *m)
{
	bool packed = b->features >> VIRTIO_F_RING_PACKED & 1;
	uint32_t n = m->size;
	void *area[3];

	if (b->set || b->qport <= 0 || m->index || !n || n > NB_QUEUE)
		return;
	area[0] = nb_map_refs(b, m->descriptor_addr, 16 * n, &b->ring[0]);
	area[1] = nb_map_refs(b, m->driver_addr, packed ? 4 : 6 + 2 * n, &b->ring[1]);
	area[2] = nb_map_refs(b, m->device_addr, packed ? 4 : 6 + 8 * n, &b->ring[2]);
	if (!area[0] || !area[1] || !area[2])
		return;
	b->q = *m;
	b->nv = (struct nv){ .packed = packed,
			     .event_idx = b->features >> VIRTIO_RING_F_EVENT_IDX & 1,
			     .in_order = b->features >> 35 & 1,
			     .at = nb_at,
			     .ctx = b };
	nv_init(&b->nv, (uint16_t)n, area[0], area[1], area[2]);
	b->set = true;
}

/* ---- messages -------------------------------------------------------------- */

/* nb_handle() - one request, @m in place: payload in, payload out; Return: its new length, < 0: discard */
static inline int nb_handle(struct nb *b, uint8_t type, uint8_t id, uint8_t *p, uint32_t len)
{
	struct virtio_msg_device_info_resp info = {
		.device_id = 2, .num_feature_bits = 64, .config_size = 60, .max_vqs = 1
	};
	struct virtio_msg_vqueue vq = { .max_size = NB_QUEUE };
	uint32_t w[122] = { 0 }, i;
	uint64_t sectors = NB_SECTORS;

	memcpy(w, p, len);
	if (type & VIRTIO_MSG_TYPE_BUS) {
		switch (id) {
		case VIRTIO_MSG_BUS_PING:
			p[0] ^= b->sin == NB_WRONG_PING;
			return 4;
		case VIRTIO_GRANT_BUS_SET_VQ_CHANNEL:
			b->qport = w[0] ? -1 : xenevtchn_bind_interdomain(b->xce, b->gid, w[1]);
			w[1] = b->qport > 0 ? 0 : w[0] ? EINVAL : (uint32_t)errno;
			memcpy(p, w, 8);
			return 8;
		case VIRTIO_GRANT_BUS_ADD_POOL:
			b->pool_ref = w[0];
			w[1] = nb_map_refs(b, 1ull << 63 | (uint64_t)w[0] << 12, w[1] * 4096,
					   &b->pool)
				       ? 0
				       : (uint32_t)errno;
			memcpy(p, w, 8);
			return 8;
		}
		return -1;
	}
	switch (id) {
	case VIRTIO_MSG_GET_DEVICE_INFO:
		memcpy(p, &info, sizeof(info));
		return sizeof(info);
	case VIRTIO_MSG_GET_DEVICE_FEATURES:
		for (i = 0; i < w[1]; i++)
			w[2 + i] = w[0] + i < 2 ? (uint32_t)(NB_FEATURES >> (32 * (w[0] + i))) : 0;
		memcpy(p, w, 8 + 4 * w[1]);
		return (int)(8 + 4 * w[1]);
	case VIRTIO_MSG_SET_DRIVER_FEATURES:
		b->features = w[2] | (uint64_t)w[3] << 32;
		return 0;
	case VIRTIO_MSG_GET_CONFIG:
		p[12] = 0;
		i = w[0] + w[1] <= 60 ? w[1] : 0;
		memset(p + 12, 0, i);
		memcpy(p + 12, w[0] < 8 ? (uint8_t *)&sectors + w[0] : (uint8_t *)w + 400,
		       i < 8 - w[0] % 8 ? i : 8 - w[0] % 8);
		memcpy(p, &b->generation, 4);
		memcpy(p + 4, w, 4);
		memcpy(p + 8, &i, 4);
		return (int)(12 + i);
	case VIRTIO_MSG_SET_CONFIG:
		memcpy(p, &b->generation, 4);
		memset(p + 8, 0, 4);
		return 12;
	case VIRTIO_MSG_GET_DEVICE_STATUS:
		memcpy(p, &b->status, 4);
		return 4;
	case VIRTIO_MSG_SET_DEVICE_STATUS:
		if (!w[0])
			nb_reset(b, true);
		b->status = w[0];
		memcpy(p, &b->status, 4);
		return 4;
	case VIRTIO_MSG_GET_VQUEUE:
		if (!w[0] && b->set) {
			vq = b->q;
			vq.max_size = NB_QUEUE;
		}
		vq.index = w[0];
		if (w[0])
			vq.max_size = 0;
		memcpy(p, &vq, sizeof(vq));
		return sizeof(vq);
	case VIRTIO_MSG_SET_VQUEUE:
		memcpy(&vq, w, sizeof(vq));
		nb_set_queue(b, &vq);
		return 0;
	case VIRTIO_MSG_RESET_VQUEUE:
		nb_stop_queue(b, true);
		return 0;
	}
	return -1;
}

/* nb_post() - a message to the driver; there is always room in these tests */
static inline void nb_post(struct nb *b, const uint8_t *m)
{
	uint32_t i = __atomic_load_n(&b->ctrl->device_prod.value, __ATOMIC_ACQUIRE);

	memcpy(b->ctrl->to_driver[i % 4], m, 480);
	__atomic_store_n(&b->ctrl->device_prod.value, i + 1, __ATOMIC_RELEASE);
	xenevtchn_notify(b->xce, (evtchn_port_t)b->cport);
}

/* nb_config_changed() - EVENT_CONFIG; called by the test while the device is idle */
static inline void nb_config_changed(struct nb *b)
{
	struct virtio_msg_header h = { .msg_id = VIRTIO_MSG_EVENT_CONFIG, .msg_size = 8 + 16 };
	struct virtio_msg_event_config e = { 0 };
	uint8_t m[480] = { 0 };

	/* What the device's thread did before its last message is seen from here on. */
	__atomic_load_n(&b->ctrl->device_prod.value, __ATOMIC_ACQUIRE);
	e.status = b->status;
	e.generation = ++b->generation;
	memcpy(m, &h, 8);
	memcpy(m + 8, &e, sizeof(e));
	nb_post(b, m);
}

static inline void nb_messages(struct nb *b)
{
	struct virtio_msg_header h;
	uint8_t m[480];
	uint32_t cons;
	int len;

	if (!b->ctrl)
		return;
	while ((cons = b->ctrl->device_cons.value) !=
	       __atomic_load_n(&b->ctrl->driver_prod.value, __ATOMIC_ACQUIRE)) {
		memcpy(m, b->ctrl->to_device[cons % 4], 480);
		memcpy(&h, m, 8);
		len = nb_handle(b, h.type, h.msg_id, m + 8, h.msg_size - 8u);
		if (len >= 0 && b->sin != NB_SILENT) {
			h.type |= VIRTIO_MSG_TYPE_RESPONSE;
			h.msg_size = (uint16_t)(8 + len);
			memcpy(m, &h, 8);
			nb_post(b, m);
		}
		if (b->sin == NB_BAD_INDEX)
			b->ctrl->device_prod.value += 9;
		__atomic_store_n(&b->ctrl->device_cons.value, cons + 1, __ATOMIC_RELEASE);
		xenevtchn_notify(b->xce, (evtchn_port_t)b->cport);
	}
}

/* ---- xenbus ---------------------------------------------------------------- */

static inline long nb_get(struct nb *b, const char *dir, const char *key)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	return fx_xs_read_int(b->xs, path, 0);
}

static inline void nb_set(struct nb *b, const char *key, const char *value)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", b->back, key);
	fx_xs_write(b->xs, path, "%s", value);
}

static inline void nb_state(struct nb *b, unsigned int state)
{
	char s[8];

	b->state = state;
	snprintf(s, sizeof(s), "%u", state);
	nb_set(b, "state", s);
}

static inline void nb_disconnect(struct nb *b)
{
	struct nb_map m = { b->ctrl, 1 };

	nb_reset(b, false);
	nb_unmap(b, &m);
	b->ctrl = NULL;
	if (b->cport > 0)
		xenevtchn_unbind(b->xce, (evtchn_port_t)b->cport);
	b->cport = 0;
}

static inline void nb_xenbus(struct nb *b)
{
	long front = nb_get(b, b->front, "state");
	uint32_t ref;

	if (front == 3 && b->state == 2) {
		ref = (uint32_t)nb_get(b, b->front, VIRTIO_GRANT_KEY_CONTROL_REF);
		b->ctrl = xengnttab_map_grant_ref(b->xgt, b->gid, ref, PROT_READ | PROT_WRITE);
		b->cport = xenevtchn_bind_interdomain(
			b->xce, b->gid,
			(evtchn_port_t)nb_get(b, b->front, VIRTIO_GRANT_KEY_EVENT_CHANNEL));
		if (!b->ctrl || b->ctrl->tail.magic != VIRTIO_GRANT_MAGIC || b->cport < 0)
			abort();
		nb_state(b, 4);
	} else if (front == 5 && b->state != 6) {
		nb_disconnect(b);
		nb_state(b, 6);
	} else if (front == 1 && b->state == 6 && b->sin != NB_FAILS) {
		nb_state(b, 2);
	}
}

static inline void *nb_main(void *arg)
{
	struct nb *b = arg;
	struct pollfd p[2];
	char **ev;
	int port;

	b->xs = xs_open(0);
	b->xgt = xengnttab_open(NULL, 0);
	b->xce = xenevtchn_open(NULL, 0);
	if (!b->xs || !b->xgt || !b->xce || !xs_watch(b->xs, b->front, "f"))
		abort();
	if (b->sin == NB_FAILS) {
		nb_set(b, VIRTIO_GRANT_KEY_ERROR, "No such image.");
		nb_state(b, 6);
	} else {
		if (b->sin != NB_NO_KEY)
			nb_set(b, VIRTIO_GRANT_KEY_VERSION, "1");
		nb_set(b, VIRTIO_GRANT_KEY_FEATURE_POOL, "1");
		nb_state(b, 2);
	}
	p[0] = (struct pollfd){ .fd = xs_fileno(b->xs), .events = POLLIN };
	p[1] = (struct pollfd){ .fd = xenevtchn_fd(b->xce), .events = POLLIN };
	while (!__atomic_load_n(&b->stop, __ATOMIC_ACQUIRE)) {
		poll(p, 2, 20);
		while ((ev = xs_check_watch(b->xs))) {
			free(ev);
			nb_xenbus(b);
		}
		if (p[1].revents & POLLIN) {
			port = xenevtchn_pending(b->xce);
			xenevtchn_unmask(b->xce, (evtchn_port_t)port);
			if (b->ctrl && port == b->cport)
				nb_messages(b);
			if (b->qport > 0)
				nb_queue(b);
		}
	}
	nb_disconnect(b);
	xenevtchn_close(b->xce);
	xengnttab_close(b->xgt);
	xs_close(b->xs);
	return NULL;
}

/** nb_start() - serve device "virtio" @id of a guest */
static inline void nb_start(struct nb *b, struct fx_world *w, unsigned int gid, unsigned int id,
			    enum nb_sin sin)
{
	memset(b, 0, sizeof(*b));
	b->w = w;
	b->gid = gid;
	b->id = id;
	b->sin = sin;
	snprintf(b->front, sizeof(b->front), "/local/domain/%u/device/virtio/%u", gid, id);
	snprintf(b->back, sizeof(b->back), "/local/domain/0/backend/virtio/%u/%u", gid, id);
	if (pthread_create(&b->thread, NULL, nb_main, b))
		abort();
}

/** nb_end() - stop serving */
static inline void nb_end(struct nb *b)
{
	__atomic_store_n(&b->stop, true, __ATOMIC_RELEASE);
	pthread_join(b->thread, NULL);
}

#endif /* NAIVE_BACKEND_H */
