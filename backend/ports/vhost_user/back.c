// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * back.c - the channel on which the back-end speaks first
 *
 * Spec, "Back-end communication". Two messages go out on it: the configuration
 * has changed, and, with in-band notifications, a ring has used chains.
 *
 * Nothing here waits for the front-end. A change message is sent without
 * NEED_REPLY. A call must be answered (spec, "In-band notifications"), so that
 * one is under way for each ring at most: what comes meanwhile is one more call
 * after the answer. Answers come in the order of the calls. What the socket has
 * no room for is tried again a little later.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "backend/ports/vhost_user/int.h"

enum { RETRY_NS = 5000000 };

static void lost(struct vg_vu *vu)
{
	vg_vu_back_set(vu, -1);
}

/* Return: 0; -EAGAIN: later; another errno: the channel is gone. */
static int send_call(struct vg_vu *vu, unsigned q)
{
	struct vg_vu_msg m;
	int ret;

	m.hdr = (struct vg_vu_header){ VG_VU_BACK_VRING_CALL, VG_VU_VERSION | VG_VU_NEED_REPLY,
				       sizeof(m.state) };
	m.state = (struct vg_vu_state){ .index = q };
	m.n_fds = 0;
	ret = vg_vu_send(vu->back, &m);
	if (ret == 0) {
		vu->ring[q].call_sent = true;
		vu->calls[(vu->calls_at + vu->calls_n++) % VG_MAX_QUEUES] = (uint8_t)q;
	}
	return ret;
}

static void send_owed(struct vg_vu *vu)
{
	int ret = 0;

	if (vu->back < 0)
		return;
	if (vu->config_owed) {
		struct vg_vu_msg m;

		m.hdr = (struct vg_vu_header){ VG_VU_BACK_CONFIG_CHANGE, VG_VU_VERSION, 0 };
		m.n_fds = 0;
		ret = vg_vu_send(vu->back, &m);
		vu->config_owed = ret == -EAGAIN;
	}
	for (unsigned q = 0; q < vu->dev->n_queues && ret == 0; q++) {
		struct vg_vu_ring *r = &vu->ring[q];

		if (!r->call_owed || r->call_sent)
			continue;
		ret = send_call(vu, q);
		r->call_owed = ret == -EAGAIN;
	}
	if (ret == -EAGAIN)
		vg_loop_timer(vu->dev->loop, &vu->back_retry, RETRY_NS);
	else if (ret < 0)
		lost(vu);
}

static void retry(struct vg_timer *t)
{
	send_owed(container_of(t, struct vg_vu, back_retry));
}

/* An answer. Whether the front-end liked the call changes nothing for us. */
static int answered(struct vg_vu *vu)
{
	const struct vg_vu_msg *m = &vu->back_reader.msg;
	int ret = vg_vu_check(m, VG_VU_BACK_REPLY, false, NULL);
	unsigned q;

	if (ret < 0)
		return ret;
	if (m->hdr.request != VG_VU_BACK_VRING_CALL)
		return 0;
	if (vu->calls_n == 0)
		return -EPROTO;
	q = vu->calls[vu->calls_at];
	vu->calls_at = (vu->calls_at + 1) % VG_MAX_QUEUES;
	vu->calls_n--;
	vu->ring[q].call_sent = false;
	return 0;
}

static void back_ready(struct vg_watch *w, unsigned events)
{
	struct vg_vu *vu = container_of(w, struct vg_vu, back_watch);
	int ret = 0;

	(void)events;
	while (vu->back >= 0 && (ret = vg_vu_read(&vu->back_reader, vu->back)) == 1) {
		ret = answered(vu);
		if (ret < 0)
			break;
	}
	if (ret == -EAGAIN)
		send_owed(vu);
	else if (vu->back >= 0)
		lost(vu);
}

void vg_vu_back_init(struct vg_vu *vu)
{
	vu->back = -1;
	vu->back_watch.ready = back_ready;
	vu->back_retry.expired = retry;
	vg_vu_reader_init(&vu->back_reader);
}

void vg_vu_back_set(struct vg_vu *vu, int fd)
{
	if (vu->back >= 0) {
		vg_loop_unwatch(&vu->back_watch);
		close(vu->back);
	}
	vg_loop_timer_stop(&vu->back_retry);
	vg_vu_reader_fini(&vu->back_reader);
	vu->calls_n = 0;
	/* A change from before there was a channel is told on the first: Cloud Hypervisor makes it after
	 * it has started the rings. */
	if (vu->back >= 0 || fd < 0)
		vu->config_owed = false;
	for (unsigned q = 0; q < vu->dev->n_queues; q++)
		vu->ring[q].call_sent = vu->ring[q].call_owed = false;
	vu->back = fd;
	if (fd < 0)
		return;
	vg_loop_watch(vu->dev->loop, &vu->back_watch, fd);
	send_owed(vu);
}

void vg_vu_back_call(struct vg_vu *vu, unsigned q)
{
	vu->ring[q].call_owed = true;
	send_owed(vu);
}

void vg_vu_back_config_changed(struct vg_vu *vu)
{
	if (!vg_vu_has(vu, VG_VU_PF_CONFIG))
		return;
	vu->config_owed = true;
	send_owed(vu);
}
