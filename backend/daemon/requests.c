// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * requests.c - see requests.h
 *
 * A list waits until each worker has described its device, but not for long. What metadata says anew
 * of a device that runs is asked of its worker as `vgrant set` does.
 */
#include "backend/daemon/requests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
	/* Its domains are being told: it knows better than we do. */
	if (ret != 0 && r->virt && r->virt->connected && !r->virt->listed)
		return 1;
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

/*
 * `vgrant set`, of a device that stands in libvirt's metadata: whether that takes it is seen before the
 * worker is asked, and it is written once the worker has taken it. So what is refused by either is
 * done by neither.
 */
struct setting {
	struct vg_requests *r;
	struct vg_control_req *req; /* NULL: answered */
	struct vg_control_target t; /* of guest and kind below */
	unsigned scope;		    /* of the metadata; 0: the device alone */
	bool live;		    /* the device, too */
	char guest[256], kind[32], uuid[40], key[64], value[512];
};

static void end_setting(struct setting *s, int ret, struct vg_err *err)
{
	if (!s->req && ret < 0)
		vg_warn("%s, device %u: %s=%s is not in libvirt's metadata: %s", s->guest, s->t.id,
			s->key, s->value, err->text);
	else if (s->req && ret < 0)
		vg_control_fail(s->req, ret, err);
	else if (s->req)
		vg_control_ok(s->req);
	free(s);
}

static void setting_written(void *ctx, int ret, struct vg_err *err)
{
	end_setting(ctx, ret < 0 ? ret : 0, err);
}

/* @done: gets @s, with what libvirt said; or it could not be asked */
static void ask_libvirt(struct setting *s, bool only_look,
			void (*done)(void *ctx, int ret, struct vg_err *err))
{
	struct vg_virt_msg m = { .change = { .op = VG_VIRT_SET } };
	struct vg_err err;

	m.change.scope = s->scope;
	m.change.id = s->t.id;
	m.change.only_look = only_look;
	memcpy(m.uuid, s->uuid, sizeof(m.uuid));
	memcpy(m.change.guest, s->guest, sizeof(m.change.guest));
	if (vg_params_replace("set", s->key, s->value, m.change.spec, sizeof(m.change.spec)) < 0)
		done(s,
		     vg_fail(&err, -EINVAL, "%.40s or its value cannot stand in a configuration",
			     s->key),
		     &err);
	else
		vg_virt_change(s->r->virt, &m, done, s);
}

static void device_has_it(void *ctx, int ret, struct vg_err *err)
{
	struct setting *s = ctx;

	if (ret < 0 || !s->scope) {
		end_setting(s, ret, err);
		return;
	}
	/* Nobody said that metadata is to be changed: it is, but is not waited for. */
	if (!vg_control_scope(s->req)) {
		vg_control_ok(s->req);
		s->req = NULL;
	}
	ask_libvirt(s, false, setting_written);
}

static void ask_device(struct setting *s)
{
	struct vg_child *c = target_of(s->r, &s->t, s->req);

	if (c)
		vg_child_set(c, s->key, s->value, device_has_it, s);
	else
		free(s);
}

static void libvirt_could(void *ctx, int ret, struct vg_err *err)
{
	struct setting *s = ctx;

	if (ret < 0)
		end_setting(s, ret, err);
	else if (s->live)
		ask_device(s);
	else
		ask_libvirt(s, false, setting_written);
}

static struct setting *new_setting(struct vg_requests *r, struct vg_control_req *req,
				   const struct vg_control_target *t, const char *key,
				   const char *value, struct vg_err *err)
{
	struct setting *s;

	if (strlen(key) >= sizeof(s->key) || strlen(value) >= sizeof(s->value)) {
		vg_fail(err, -E2BIG, "%.40s=... is too long", key);
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		vg_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
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
	bool live = !scope || (scope & VG_CONTROL_LIVE);
	struct vg_requests *r = ctx;
	struct vg_err err = { "" };
	const char *uuid = NULL;
	struct vg_child *c = NULL;
	struct setting *s;
	int ret = is_libvirts(r, t->guest, scope, &uuid, &err);

	if (ret < 0) {
		vg_control_fail(req, ret, &err);
		return;
	}
	if (live) {
		c = target_of(r, t, req);
		if (!c)
			return;
	}
	s = new_setting(r, req, t, key, value, &err);
	if (!s) {
		vg_control_fail(req, -EINVAL, &err);
		return;
	}
	s->live = live;
	if (ret == 1) {
		s->scope = scope & VG_CONTROL_CONFIG;
		if (c && of_metadata(c))
			s->scope |= VG_CONTROL_LIVE;
		snprintf(s->uuid, sizeof(s->uuid), "%s", uuid ? uuid : "");
	}
	if (s->scope && scope)
		ask_libvirt(s, true, libvirt_could);
	else
		ask_device(s);
}

/* ---- settings that metadata has changed ----------------------------------- */

/* Key by key, as by `vgrant set`; what the device does not take is told, and the others go on. */
struct respec {
	struct vg_requests *r;
	uint32_t domid, id;
	unsigned next; /* of want; behind those, of was */
	struct vg_params was, want;
	char key[64];
};

static struct vg_child *child_of(struct vg_requests *r, uint32_t domid, uint32_t id)
{
	for (struct vg_child *c = r->children->first; c; c = c->next) {
		struct vg_control_device d = { 0 };

		c->ops->place(c, &d);
		if (d.domid == domid && d.id == id && d.origin == VG_CONTROL_FROM_LIBVIRT)
			return c;
	}
	return NULL;
}

/* What @key is when nobody says so; NULL: something that cannot be written. */
static const char *default_of(const struct vg_child *c, const char *key)
{
	const struct vg_device_ops *ops = vg_device_find(c->device);

	for (const struct vg_param_def *d = ops ? ops->params : NULL; d && d->key; d++) {
		if (strcmp(d->key, key) == 0)
			return d->fallback;
	}
	return NULL;
}

static void respec_next(struct respec *s);

static void respec_done(void *ctx, int ret, struct vg_err *err)
{
	struct respec *s = ctx;
	struct vg_child *c = child_of(s->r, s->domid, s->id);

	if (ret < 0 && c)
		vg_warn("%s: libvirt's metadata says otherwise now, which counts from the guest's "
			"next "
			"start: %s: %s",
			c->who, s->key, err->text);
	respec_next(s);
}

static void respec_next(struct respec *s)
{
	struct vg_child *c = child_of(s->r, s->domid, s->id);
	struct vg_params has;

	if (!c || vg_params_parse(c->spec, &has, NULL) < 0) {
		free(s);
		return;
	}
	while (s->next < s->want.n + s->was.n) {
		unsigned i = s->next++;
		bool there = i < s->want.n;
		const char *key = there ? s->want.p[i].key : s->was.p[i - s->want.n].key;
		const char *before = vg_params_str(&s->was, NULL, key);
		const char *value = there ? s->want.p[i].value : default_of(c, key);
		const char *now = vg_params_str(&has, NULL, key);

		if (strcmp(key, "id") == 0 || (!there && vg_params_str(&s->want, NULL, key)) ||
		    (there && before && strcmp(before, value) == 0) ||
		    (now && value && strcmp(now, value) == 0))
			continue;
		snprintf(s->key, sizeof(s->key), "%s", key);
		vg_child_set(c, key, value ? value : "", respec_done, s);
		return;
	}
	free(s);
}

static bool device_changed(void *ctx, uint32_t domid, uint32_t id, const char *was,
			   const char *spec)
{
	struct vg_requests *r = ctx;
	const struct vg_child *c = child_of(r, domid, id);
	struct respec *s = c ? calloc(1, sizeof(*s)) : NULL;

	if (!s || vg_params_parse(was, &s->was, NULL) < 0 ||
	    vg_params_parse(spec, &s->want, NULL) < 0 || strcmp(s->want.device, c->device) != 0) {
		free(s);
		return false;
	}
	s->r = r;
	s->domid = domid;
	s->id = id;
	respec_next(s);
	return true;
}

static void on_trace(void *ctx, struct vg_control_req *req, const struct vg_control_target *t)
{
	struct vg_child *c = target_of(ctx, t, req);

	if (c)
		vg_tracer_start(&c->tracers, c->device, req);
}

static void on_events(void *ctx, struct vg_control_req *req, const char *guest)
{
	struct vg_requests *r = ctx;

	vg_events_listen(&r->children->events, req, guest);
}

/* What the display has is said once, on the client's socket. */
static void on_look(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		    unsigned head, int fd)
{
	const struct vg_ipc m = { .type = VG_IPC_LOOK, .look = { head } };
	struct vg_child *c = target_of(ctx, t, req);
	struct vg_err err;

	if (c && fd < 0)
		vg_control_fail(req, vg_fail(&err, -EINVAL, "no socket came with the request"),
				&err);
	else if (c && (!c->helper[VG_SEAT_DISPLAY] || c->helper[VG_SEAT_DISPLAY]->sock < 0))
		vg_control_fail(req,
				vg_fail(&err, -ENODEV, "device %u of %s has no display", t->id,
					t->guest),
				&err);
	else if (c) {
		vg_child_tell(c->helper[VG_SEAT_DISPLAY], &m, fd);
		vg_control_ok(req);
	}
	if (fd >= 0)
		close(fd);
}

static void on_capture(void *ctx, struct vg_control_req *req, const struct vg_control_target *t,
		       int fd)
{
	struct vg_child *c = target_of(ctx, t, req);

	if (c)
		vg_tracer_capture(&c->tracers, c->device, req, fd);
	else if (fd >= 0)
		close(fd);
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
	.events = on_events,
	.look = on_look,
	.capture = on_capture,
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
	if (r->toolstack) {
		r->toolstack->changed = device_changed;
		r->toolstack->changed_ctx = r;
	}
	vg_settings_socket(r->settings, path, sizeof(path));
	ret = vg_settings_group(r->settings, &cfg.group, err);
	return ret < 0 ? ret : vg_control_new(r->children->loop, &cfg, &r->control, err);
}

void vg_requests_close(struct vg_requests *r)
{
	if (!r->control)
		return;
	r->children->described = NULL;
	vg_events_end(&r->children->events);
	vg_loop_timer_stop(&r->list_timer);
	for (unsigned i = 0; i < r->n_lists; i++)
		free(r->list_guest[i]);
	vg_control_free(r->control);
}
