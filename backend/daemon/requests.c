// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * requests.c - see requests.h
 *
 * A list waits until each worker has described its device, but not for long.
 */
#include "backend/daemon/requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"

enum { DESCRIBE_PATIENCE_MS = 300 };

static bool is_of_guest(const struct vg_child *c, const char *guest)
{
	struct vg_control_device d = { 0 };

	c->ops->place(c, &d);
	return vg_control_is_guest(guest, d.guest, d.domid);
}

static void answer_lists(struct vg_requests *r)
{
	vg_loop_timer_stop(&r->list_timer);
	for (unsigned i = 0; i < r->n_lists; i++) {
		for (struct vg_child *c = r->children->first; c; c = c->next) {
			if (!r->list_guest[i] || is_of_guest(c, r->list_guest[i]))
				vg_child_list(c, r->list_req[i]);
		}
		vg_control_ok(r->list_req[i]);
		free(r->list_guest[i]);
	}
	r->n_lists = 0;
}

static void described(struct vg_children *children)
{
	struct vg_requests *r = children->described_ctx;

	if (!r->n_lists)
		return;
	for (const struct vg_child *c = r->children->first; c; c = c->next) {
		if (c->sock >= 0 && !c->described)
			return;
	}
	answer_lists(r);
}

static void list_timer_expired(struct vg_timer *t)
{
	answer_lists(container_of(t, struct vg_requests, list_timer));
}

static void on_list(void *ctx, struct vg_control_req *req, const char *guest)
{
	struct vg_requests *r = ctx;

	if (r->n_lists == COUNT(r->list_req))
		answer_lists(r);
	r->list_req[r->n_lists] = req;
	r->list_guest[r->n_lists++] = guest ? strdup(guest) : NULL;
	for (struct vg_child *c = r->children->first; c; c = c->next)
		vg_child_describe(c);
	vg_loop_timer(r->children->loop, &r->list_timer, DESCRIBE_PATIENCE_MS * 1000000LL);
	described(r->children);
}

static void on_attach(void *ctx, struct vg_control_req *req, const char *guest, const char *spec)
{
	struct vg_requests *r = ctx;
	struct vg_err err = { "" };
	int ret = r->toolstack ? vg_guest_attach(r->toolstack, guest, spec, &err)
			       : vg_fail(&err, -ENODEV, "there is no Xen here, and thus no guest");

	if (ret < 0) {
		vg_control_fail(req, ret, &err);
		return;
	}
	vg_control_add_uint(req, "id", (uint64_t)ret);
	vg_control_ok(req);
}

/* A guest's device before a socket's of the same name; "vhost-user/0" is the latter in any case. */
static struct vg_child *target_of(struct vg_requests *r, const struct vg_control_target *t,
				  struct vg_control_req *req)
{
	struct vg_child *found = NULL;
	struct vg_err err;

	for (struct vg_child *c = r->children->first; c; c = c->next) {
		struct vg_control_device d = { 0 };

		c->ops->place(c, &d);
		if (d.id == t->id && (!t->kind || strcmp(t->kind, d.kind) == 0) &&
		    vg_control_is_guest(t->guest, d.guest, d.domid) &&
		    (!found || d.domid != VG_CONTROL_NO_DOMAIN))
			found = c;
	}
	if (!found)
		vg_control_fail(req,
				vg_fail(&err, -ENOENT,
					"%s has no device %u: vgrant list shows what there is",
					t->guest, t->id),
				&err);
	return found;
}

static void on_detach(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	struct vg_child *c = target_of(ctx, t, req);
	struct vg_err err = { "" };
	int ret;

	if (!c)
		return;
	ret = c->ops->detach(c, &err);
	if (ret < 0)
		vg_control_fail(req, ret, &err);
	else
		vg_control_ok(req);
}

static void on_set(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		   const char *key, const char *value)
{
	struct vg_child *c = target_of(ctx, t, req);

	if (c)
		vg_child_set(c, req, key, value);
}

static void on_trace(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	struct vg_child *c = target_of(ctx, t, req);

	if (c)
		vg_tracer_start(&c->tracers, c->device, req);
}

static void on_show_config(void *ctx, FILE *out)
{
	struct vg_requests *r = ctx;

	vg_settings_print(r->settings, out);
}

/* Of the supervisor, and of workers from the next one on. */
static void on_log_level(void *ctx, enum vg_log_level level)
{
	struct vg_requests *r = ctx;

	r->settings->log_level = level;
	vg_log_init(r->settings->log_target, level, NULL);
}

static void on_shutdown(void *ctx)
{
	struct vg_requests *r = ctx;

	r->shutdown(r);
}

static const struct vg_control_ops control_ops = {
	.list = on_list,
	.attach = on_attach,
	.detach = on_detach,
	.set = on_set,
	.trace = on_trace,
	.show_config = on_show_config,
	.log_level = on_log_level,
	.shutdown = on_shutdown,
};

int vg_requests_open(struct vg_requests *r, struct vg_err *err)
{
	char path[108];
	struct vg_control_config cfg = {
		.path = path,
		.mode = (mode_t)r->settings->mode,
		.version = VG_VERSION,
		.ops = &control_ops,
		.ctx = r,
	};
	int ret;

	r->list_timer.expired = list_timer_expired;
	r->children->described = described;
	r->children->described_ctx = r;
	vg_settings_socket(r->settings, path, sizeof(path));
	ret = vg_settings_group(r->settings, &cfg.group, err);
	return ret < 0 ? ret : vg_control_new(r->children->loop, &cfg, &r->control, err);
}

void vg_requests_close(struct vg_requests *r)
{
	if (!r->control)
		return;
	r->children->described = NULL;
	vg_loop_timer_stop(&r->list_timer);
	for (unsigned i = 0; i < r->n_lists; i++)
		free(r->list_guest[i]);
	vg_control_free(r->control);
}
