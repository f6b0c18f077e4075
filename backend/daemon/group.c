// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * group.c - see group.h
 */
#include "backend/daemon/group.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/virtio/device.h"

const struct vg_group_policy vg_group_policies[] = {
	/* Clients stay connected, and are shown the picture again; the device needs none to run. */
	{ "display", "--display", "vgrant-display", VG_SEAT_DISPLAY, false, false, VG_GROUP_ALONE,
	  VG_GROUP_ALONE },
	/* What a guest has there is lost with the one: the device goes on in two dimensions. What was
	 * made for a worker that died is of no use to the next. */
	{ "renderer", "--renderer", "vgrant-renderer", VG_SEAT_RENDERER, true, false,
	  VG_GROUP_ALONE, VG_GROUP_BOTH },
	/* Others' daemon, and who keeps it (worker/keeper.c): a gateway's worker connects to it, or to the
	 * next one, and is of no use without. */
	{ "daemon", "--daemon", NULL, VG_SEAT_DISPLAY, true, true, VG_GROUP_ALONE, VG_GROUP_ALONE },
	{ NULL, NULL, NULL, VG_SEAT_DISPLAY, false, false, VG_GROUP_ALONE, VG_GROUP_ALONE },
};

const struct vg_group_policy *vg_group_policy(const char *name)
{
	for (const struct vg_group_policy *p = vg_group_policies; p->name; p++) {
		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

static struct vg_group *of_helper(const struct vg_child *c)
{
	return container_of(c, struct vg_group, helper);
}

static char *beside(const struct vg_group *g)
{
	return g->worker->beside[g->policy->seat];
}

static bool is_renderer(const struct vg_group *g)
{
	return g->policy->seat == VG_SEAT_RENDERER;
}

/* Give each a socket to the other, once both are open. */
static void join(struct vg_group *g)
{
	const struct vg_ipc m = { .type = VG_IPC_PEER, .peer = { is_renderer(g), g->capsets } };
	int pair[2];

	if (!g->helper_open || !g->worker_open)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		/* Neither is of use alone: one that is started again tries again. */
		vg_child_say(&g->helper, VG_LOG_ERR, "no socket for it: it is started again");
		vg_child_end(&g->helper);
		return;
	}
	vg_child_tell(&g->helper, &m, pair[0]);
	vg_child_tell(g->worker, &m, pair[1]);
	close(pair[0]);
	close(pair[1]);
}

static void start_later(struct vg_group *g)
{
	vg_loop_timer(g->helper.all->loop, &g->timer,
		      vg_child_backoff(&g->helper) * (NS_PER_S / 1000));
}

/* Both begin anew, once both are gone. */
static void begin_anew(struct vg_group *g)
{
	if (g->helper.pid || g->worker->pid)
		return;
	g->anew = false;
	start_later(g);
}

/* The device works without, or waits: lists say why. Said in the log once, not each time. */
static void trouble(struct vg_group *g, const char *text)
{
	char line[VG_CHILD_BESIDE];

	snprintf(line, sizeof(line), "its %s: %.150s", g->policy->name, text);
	if (strcmp(line, beside(g)) != 0)
		vg_child_say(g->worker, VG_LOG_ERR, line);
	memcpy(beside(g), line, sizeof(line));
	g->failed = true;
}

static void timer_expired(struct vg_timer *t)
{
	struct vg_group *g = container_of(t, struct vg_group, timer);

	vg_group_start(g);
	g->ops->changed(g);
}

void vg_group_start(struct vg_group *g)
{
	struct vg_err err;

	if (g->helper.pid || g->timer.tether || g->anew || g->helper.all->stopping)
		return;
	vg_child_set_spec(&g->helper, g->worker->spec);
	if (vg_child_start(&g->helper, g->policy->role, g->domid, -1, &err) < 0) {
		trouble(g, err.text);
		start_later(g);
		g->ops->changed(g);
	}
}

bool vg_group_may_start(const struct vg_group *g)
{
	return !g->anew &&
	       (g->helper_open || (g->failed && !g->policy->needed) || !g->policy->first);
}

const char *vg_group_lacks(const struct vg_group *g)
{
	return g->policy->needed && g->failed && !g->helper_open ? beside(g) : NULL;
}

void vg_group_again(struct vg_group *g)
{
	if (g->policy)
		vg_child_end(&g->helper);
}

void vg_group_worker_opened(struct vg_group *g)
{
	if (!g->policy)
		return;
	g->worker_open = true;
	join(g);
}

void vg_group_worker_gone(struct vg_group *g)
{
	if (!g->policy)
		return;
	g->worker_open = false;
	if (g->policy->worker_died == VG_GROUP_BOTH && g->helper.pid) {
		g->anew = true;
		vg_child_end(&g->helper);
	}
	if (g->anew)
		begin_anew(g);
}

/* ---- what the helper does ----------------------------------------------- */

static void place(const struct vg_child *c, struct vg_control_device *d)
{
	c->parent->ops->place(c->parent, d);
}

/* Where it can be looked at: for lists, and for who wants to know. */
static void shown(struct vg_group *g, const struct vg_ipc *m)
{
	if (m->shown.where[0])
		snprintf(beside(g), VG_CHILD_BESIDE, "vnc=%s viewers=%u", m->shown.where,
			 m->shown.viewers);
	else
		snprintf(beside(g), VG_CHILD_BESIDE, "vnc=off");
	if (g->ops->shown)
		g->ops->shown(g, m);
}

static void message(struct vg_child *c, const struct vg_ipc *m)
{
	struct vg_group *g = of_helper(c);

	if (m->type == VG_IPC_OPENED) {
		g->helper_open = true;
		g->failed = false;
		beside(g)[0] = '\0';
		g->capsets = m->peer.capsets;
		join(g);
		g->ops->changed(g);
	} else if (m->type == VG_IPC_FAILED) {
		trouble(g, m->text);
		g->ops->changed(g);
	} else if (m->type == VG_IPC_SHOWN) {
		shown(g, m);
	}
}

static void reaped(struct vg_child *c, int status)
{
	struct vg_group *g = of_helper(c);
	bool opened = g->helper_open;
	char text[200] = "";

	g->helper_open = false;
	if (c->all->stopping)
		return;
	if (!g->anew && !g->failed)
		vg_child_explain(c, status, text, sizeof(text));
	/* Nobody waits for one that dies before it is open. */
	if (!opened && text[0])
		trouble(g, text);
	if (g->policy->helper_died == VG_GROUP_BOTH && !g->anew && g->worker->pid) {
		g->anew = true;
		g->ops->end_worker(g);
	}
	if (g->anew)
		begin_anew(g);
	else
		start_later(g);
	g->ops->changed(g);
}

static const struct vg_child_ops child_ops = {
	.place = place,
	.message = message,
	.reaped = reaped,
};

/* ---- life --------------------------------------------------------------- */

void vg_group_init(struct vg_group *g, const struct vg_group_ops *ops,
		   const struct vg_group_policy *policy, struct vg_child *worker, uint32_t domid)
{
	*g = (struct vg_group){ .ops = ops, .policy = policy, .worker = worker, .domid = domid };
	g->timer.expired = timer_expired;
	vg_child_init_helper(&g->helper, &child_ops, worker, policy->seat, policy->name);
	g->helper.program = policy->program;
}

void vg_group_wanted(const char *spec, const struct vg_group_policy *policy[VG_SEATS])
{
	const struct vg_device_ops *ops = NULL;
	struct vg_params params;

	for (unsigned i = 0; i < VG_SEATS; i++)
		policy[i] = NULL;
	if (vg_params_parse(spec, &params, NULL) == 0)
		ops = vg_device_of(&params);
	if (ops && ops->helper)
		policy[VG_SEAT_DISPLAY] = vg_group_policy(ops->helper);
	if (ops && ops->draws && ops->draws(&params))
		policy[VG_SEAT_RENDERER] = vg_group_policy("renderer");
}

bool vg_group_with(struct vg_group *g, const struct vg_group_ops *ops,
		   const struct vg_group_policy *policy, struct vg_child *worker, uint32_t domid)
{
	if (g->policy != policy)
		vg_group_fini(g);
	if (!policy)
		return true;
	if (!g->policy)
		vg_group_init(g, ops, policy, worker, domid);
	vg_group_start(g);
	return vg_group_may_start(g);
}

void vg_group_fini(struct vg_group *g)
{
	if (!g->policy)
		return;
	vg_loop_timer_stop(&g->timer);
	vg_child_fini(&g->helper);
	g->policy = NULL;
}
