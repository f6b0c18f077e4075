// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * requests.c - see requests.h
 *
 * A list waits until each worker has described its device, but not for long.
 */
#include "backend/daemon/requests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/base/container.h"
#include "backend/base/params.h"

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

/* ---- libvirt's guests --------------------------------------------------- */

/*
 * Whether a change of @guest is to be made in libvirt's metadata, from where it comes to us.
 * Without a scope: where that is so now, and libvirt can be reached.
 * Return: 1, with *@uuid of the guest that runs, or NULL; 0: no; negative errno with a sentence.
 */
static int is_libvirts(struct vg_requests *r, const char *guest, unsigned scope, const char **uuid,
		       struct vg_err *err)
{
	int ret = r->toolstack ? vg_guest_followed(r->toolstack, guest, uuid) : -ENOENT;
	bool known;

	if (ret == -ENOENT)
		*uuid = NULL;
	known = ret != 0 && r->virt && vg_virt_knows(r->virt, *uuid, guest);
	if (known && (scope || r->virt->connected))
		return 1;
	if (!(scope & VG_CONTROL_CONFIG))
		return 0;
	if (ret == 0)
		return vg_fail(
			err, -EINVAL,
			"the devices of %s are from its xl configuration: that is the place to "
			"change what it has from its next start on",
			guest);
	if (r->virt && !r->virt->connected)
		return vg_fail(err, -ENOTCONN, "libvirt cannot be reached: %s",
			       r->virt->error.text);
	return vg_fail(err, -ENOENT,
		       "libvirt has no domain %s; of a guest of xl's the configuration is a file",
		       guest);
}

_Static_assert((int)VG_VIRT_LIVE == (int)VG_CONTROL_LIVE &&
		       (int)VG_VIRT_CONFIG == (int)VG_CONTROL_CONFIG,
	       "a scope is the same to both");

static void put_in(struct vg_virt_msg *m, const struct vg_control_req *req, enum vg_virt_op op,
		   const char *guest, const char *uuid)
{
	memset(m, 0, sizeof(*m));
	m->change.op = op;
	m->change.scope = vg_control_scope(req);
	snprintf(m->uuid, sizeof(m->uuid), "%s", uuid ? uuid : "");
	snprintf(m->change.guest, sizeof(m->change.guest), "%s", guest);
}

static void attached(void *ctx, int ret, struct vg_err *err)
{
	struct vg_control_req *req = ctx;

	if (ret < 0) {
		vg_control_fail(req, ret, err);
		return;
	}
	vg_control_add_uint(req, "id", (uint64_t)ret);
	vg_control_ok(req);
}

static void changed(void *ctx, int ret, struct vg_err *err)
{
	struct vg_control_req *req = ctx;

	if (ret < 0)
		vg_control_fail(req, ret, err);
	else
		vg_control_ok(req);
}

/* Numbers of the guest's devices that are here, whoever made them. */
static void note_numbers(struct vg_requests *r, const char *guest, uint8_t taken[32])
{
	for (const struct vg_child *c = r->children->first; c; c = c->next) {
		struct vg_control_device d = { 0 };

		c->ops->place(c, &d);
		if (d.id < 256 && vg_control_is_guest(guest, d.guest, d.domid))
			taken[d.id / 8] |= (uint8_t)(1u << d.id % 8);
	}
}

static void on_attach(void *ctx, struct vg_control_req *req, const char *guest, const char *spec)
{
	struct vg_requests *r = ctx;
	struct vg_err err = { "" };
	struct vg_virt_msg m;
	const char *uuid = NULL;
	int ret = r->toolstack ? is_libvirts(r, guest, vg_control_scope(req), &uuid, &err)
			       : vg_fail(&err, -ENODEV, "there is no Xen here, and thus no guest");

	if (ret == 1 && strlen(spec) < sizeof(m.change.spec)) {
		ret = vg_guest_check(spec, &err);
		if (ret == 0) {
			put_in(&m, req, VG_VIRT_ATTACH, guest, uuid);
			snprintf(m.change.spec, sizeof(m.change.spec), "%s", spec);
			note_numbers(r, guest, m.change.taken);
			vg_virt_change(r->virt, &m, attached, req);
			return;
		}
	} else if (ret >= 0) {
		ret = vg_guest_attach(r->toolstack, guest, spec, &err);
	}
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

/* Is it a device from libvirt's metadata? What else there is, is taken away here. */
static bool of_metadata(const struct vg_child *c)
{
	struct vg_control_device d = { 0 };

	c->ops->place(c, &d);
	return d.origin == VG_CONTROL_FROM_LIBVIRT;
}

static void on_detach(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	unsigned scope = vg_control_scope(req);
	struct vg_requests *r = ctx;
	struct vg_err err = { "" };
	struct vg_virt_msg m;
	const char *uuid;
	struct vg_child *c = NULL;
	bool libvirts;
	int ret = is_libvirts(r, t->guest, scope, &uuid, &err);

	if (ret < 0) {
		vg_control_fail(req, ret, &err);
		return;
	}
	libvirts = ret != 0;
	if (!libvirts || (uuid && scope != VG_CONTROL_CONFIG)) {
		c = target_of(r, t, req);
		if (!c)
			return;
	}
	if (!c || (libvirts && of_metadata(c))) {
		put_in(&m, req, VG_VIRT_DETACH, t->guest, uuid);
		m.change.id = t->id;
		vg_virt_change(r->virt, &m, changed, req);
		return;
	}
	if (scope & VG_CONTROL_CONFIG) {
		vg_control_fail(req,
				vg_fail(&err, -EINVAL,
					"device %u of %s is not from libvirt's metadata: leave "
					"--config away",
					t->id, t->guest),
				&err);
		return;
	}
	ret = c->ops->detach(c, &err);
	if (ret < 0)
		vg_control_fail(req, ret, &err);
	else
		vg_control_ok(req);
}

/* `set --config`, and what of it is to be done live when libvirt has taken it. */
struct config_set {
	struct vg_requests *r;
	struct vg_control_req *req;
	struct vg_control_target t;
	char guest[256], kind[32], key[64], value[512];
};

static void set_in_config(void *ctx, int ret, struct vg_err *err)
{
	struct config_set *s = ctx;

	if (ret < 0) {
		vg_control_fail(s->req, ret, err);
	} else if (!(vg_control_scope(s->req) & VG_CONTROL_LIVE)) {
		vg_control_ok(s->req);
	} else {
		struct vg_child *c = target_of(s->r, &s->t, s->req);

		if (c)
			vg_child_set(c, s->req, s->key, s->value);
	}
	free(s);
}

static struct config_set *new_config_set(struct vg_requests *r, struct vg_control_req *req,
					 const struct vg_control_target *t, const char *key,
					 const char *value)
{
	struct config_set *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->r = r;
	s->req = req;
	s->t = *t;
	snprintf(s->guest, sizeof(s->guest), "%s", t->guest);
	snprintf(s->kind, sizeof(s->kind), "%s", t->kind ? t->kind : "");
	snprintf(s->key, sizeof(s->key), "%s", key);
	snprintf(s->value, sizeof(s->value), "%s", value);
	s->t.guest = s->guest;
	s->t.kind = t->kind ? s->kind : NULL;
	return s;
}

static void on_set(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		   const char *key, const char *value)
{
	unsigned scope = vg_control_scope(req);
	struct vg_requests *r = ctx;
	struct vg_err err = { "" };
	struct config_set *s;
	struct vg_virt_msg m;
	const char *uuid = NULL;
	struct vg_child *c;
	int ret = scope & VG_CONTROL_CONFIG ? is_libvirts(r, t->guest, scope, &uuid, &err) : 0;

	if (ret == 0) {
		c = target_of(r, t, req);
		if (c)
			vg_child_set(c, req, key, value);
		return;
	}
	put_in(&m, req, VG_VIRT_SET, t->guest, uuid);
	m.change.scope = VG_VIRT_CONFIG;
	m.change.id = t->id;
	if (ret == 1 &&
	    (strlen(key) >= sizeof(s->key) || strlen(value) >= sizeof(s->value) ||
	     vg_params_replace("set", key, value, m.change.spec, sizeof(m.change.spec)) < 0))
		ret = vg_fail(&err, -EINVAL, "%.40s or its value cannot stand in a configuration",
			      key);
	s = ret == 1 ? new_config_set(r, req, t, key, value) : NULL;
	if (ret == 1 && !s)
		ret = vg_fail(&err, -ENOMEM, "out of memory");
	if (ret < 0)
		vg_control_fail(req, ret, &err);
	else
		vg_virt_change(r->virt, &m, set_in_config, s);
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
