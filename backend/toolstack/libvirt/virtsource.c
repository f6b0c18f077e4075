// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtsource.c - see virtsource.h
 *
 * A domain's devices come one packet each, behind the domain; it counts once all
 * are there. After a new connection of libvirt's, domains that were not told again
 * are forgotten; but what a guest that runs was given, it keeps: only libvirt's own
 * word that a domain has none of our metadata takes devices away.
 *
 * Xen has a guest before libvirt tells of it: a transient one (virsh create) is told of once it runs. So a
 * guest with an unknown uuid waits until libvirt was asked, before other sources are; not for long, and
 * not at all while libvirt is silent.
 */
#include "backend/toolstack/libvirt/virtsource.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/base/container.h"
#include "backend/toolstack/xlconf.h"

enum {
	TURN = 256,	    /* packets in one turn of the loop */
	PATIENCE_S = 10,    /* with a change; libvirt's own with a silent libvirtd is longer */
	WHO_PATIENCE_S = 5, /* with the question who a guest is: its devices wait as long */
};

struct vg_virt_domain {
	struct vg_virt_domain *next;
	char uuid[40];
	char name[256];
	bool ours, stale;
	bool passing; /* counts once: when its guest is asked about again, so is libvirt */
	int error;    /* 0, or its metadata is wrong, as text says */
	struct vg_err text;
	unsigned n, wanted;
	struct {
		char *spec;
		char backend[128]; /* "": none is named */
		unsigned line, number;
		bool has_id;
		struct vg_err err;
	} devices[VG_XL_DEVICES_MAX];
};

/* ---- strangers -------------------------------------------------------------------- */

static struct vg_virt_stranger *stranger_of(struct vg_virt *v, const char *uuid)
{
	for (unsigned i = 0; i < VG_VIRT_STRANGERS; i++) {
		if (strcmp(v->strangers[i].uuid, uuid) == 0)
			return &v->strangers[i];
	}
	return NULL;
}

static void stranger_free(struct vg_virt_stranger *s)
{
	vg_loop_timer_stop(&s->patience);
	s->uuid[0] = '\0';
	s->answered = false;
}

/* It waits no longer: whoever asked, of all guests of that uuid, asks again now. */
static void stranger_answered(struct vg_virt_stranger *s)
{
	char uuid[sizeof(s->uuid)];

	vg_loop_timer_stop(&s->patience);
	s->answered = true;
	memcpy(uuid, s->uuid, sizeof(uuid));
	s->virt->changed(s->virt->ctx, uuid);
	stranger_free(s);
}

static void who_patience_over(struct vg_timer *t)
{
	struct vg_virt_stranger *s = container_of(t, struct vg_virt_stranger, patience);

	vg_warn("libvirt has not said for %d s whether it has the domain %s: it counts as none of "
		"libvirt's, and so does each that appears until libvirt answers again",
		WHO_PATIENCE_S, s->uuid);
	s->virt->silent = true;
	stranger_answered(s);
}

static void all_strangers_answered(struct vg_virt *v)
{
	for (unsigned i = 0; i < VG_VIRT_STRANGERS; i++) {
		if (v->strangers[i].uuid[0] && !v->strangers[i].answered)
			stranger_answered(&v->strangers[i]);
	}
}

/* Return: whether the guest of @uuid, which is unknown, is to wait for libvirt's answer. */
static bool waits(struct vg_virt *v, const char *uuid)
{
	struct vg_virt_msg m = { .type = VG_VIRT_WHO };
	struct vg_virt_stranger *s = uuid[0] ? stranger_of(v, uuid) : NULL;

	if (s)
		return !s->answered;
	s = stranger_of(v, "");
	if (!uuid[0] || !s || v->sock < 0 || !v->connected || v->silent ||
	    strlen(uuid) >= sizeof(s->uuid))
		return false;
	memcpy(m.uuid, uuid, strlen(uuid));
	if (vg_virt_send(v->sock, &m, false) < 0)
		return false;
	memcpy(s->uuid, m.uuid, sizeof(s->uuid));
	vg_loop_timer(v->loop, &s->patience, WHO_PATIENCE_S * NS_PER_S);
	return true;
}

/* ---- domains -------------------------------------------------------------------- */

static void domain_free(struct vg_virt_domain *d)
{
	for (unsigned i = 0; d && i < d->n; i++)
		free(d->devices[i].spec);
	free(d);
}

static struct vg_virt_domain **find(struct vg_virt *v, const char *uuid)
{
	struct vg_virt_domain **p = &v->domains;

	while (*p && strcmp((*p)->uuid, uuid) != 0)
		p = &(*p)->next;
	return p;
}

static void forget(struct vg_virt_domain **p)
{
	struct vg_virt_domain *d = *p;

	if (!d)
		return;
	*p = d->next;
	domain_free(d);
}

/* The domain that was coming is whole: it replaces what was known of it. */
static void arrived(struct vg_virt *v)
{
	struct vg_virt_domain *d = v->coming;
	struct vg_virt_stranger *s;
	char uuid[sizeof(d->uuid)];

	v->coming = NULL;
	forget(find(v, d->uuid));
	d->next = v->domains;
	v->domains = d;
	s = stranger_of(v, d->uuid);
	if (s && !s->answered) {
		stranger_answered(s);
		return;
	}
	memcpy(uuid, d->uuid, sizeof(uuid));
	v->changed(v->ctx, uuid);
}

static void on_gone(struct vg_virt *v, const char *uuid)
{
	struct vg_virt_stranger *s = uuid[0] ? stranger_of(v, uuid) : NULL;

	forget(find(v, uuid));
	if (s && !s->answered)
		stranger_answered(s);
}

static void on_guest(struct vg_virt *v, const struct vg_virt_msg *m)
{
	struct vg_virt_domain *d = calloc(1, sizeof(*d));

	domain_free(v->coming);
	v->coming = d;
	if (!d)
		return;
	memcpy(d->uuid, m->uuid, sizeof(d->uuid));
	memcpy(d->name, m->guest.name, sizeof(d->name));
	d->ours = m->guest.ours;
	d->passing = m->guest.passing;
	d->error = m->error;
	memcpy(d->text.text, m->text, sizeof(d->text.text));
	d->wanted = m->guest.n_devices < VG_XL_DEVICES_MAX ? m->guest.n_devices : VG_XL_DEVICES_MAX;
	if (!d->wanted)
		arrived(v);
}

static void on_device(struct vg_virt *v, const struct vg_virt_msg *m)
{
	struct vg_virt_domain *d = v->coming;

	if (!d || strcmp(d->uuid, m->uuid) != 0)
		return;
	d->devices[d->n].spec = strdup(m->device.spec);
	if (!d->devices[d->n].spec) {
		domain_free(d);
		v->coming = NULL;
		return;
	}
	memcpy(d->devices[d->n].backend, m->device.backend, sizeof(m->device.backend));
	d->devices[d->n].line = m->device.line;
	d->devices[d->n].number = m->device.number;
	d->devices[d->n].has_id = m->device.has_id;
	memcpy(d->devices[d->n].err.text, m->text, sizeof(d->devices[d->n].err.text));
	if (++d->n == d->wanted)
		arrived(v);
}

static void forget_stale(struct vg_virt *v)
{
	struct vg_virt_domain **p = &v->domains;

	while (*p) {
		if ((*p)->stale)
			forget(p);
		else
			p = &(*p)->next;
	}
}

/* ---- changes ---------------------------------------------------------------------- */

static void answer(struct vg_virt_request *r, int ret, struct vg_err *err)
{
	void *ctx = r->ctx;

	vg_loop_timer_stop(&r->patience);
	r->ctx = NULL;
	r->done(ctx, ret, err);
}

static void patience_over(struct vg_timer *t)
{
	struct vg_virt_request *r = container_of(t, struct vg_virt_request, patience);
	struct vg_err err;

	answer(r,
	       vg_fail(&err, -ETIMEDOUT,
		       "libvirt has not answered for %d s; whether it does so later, vgrant list "
		       "and virsh dumpxml show",
		       PATIENCE_S),
	       &err);
}

static void on_done(struct vg_virt *v, const struct vg_virt_msg *m)
{
	struct vg_err err;

	memcpy(err.text, m->text, sizeof(err.text));
	for (unsigned i = 0; i < VG_VIRT_REQUESTS; i++) {
		if (v->requests[i].ctx && v->requests[i].number == m->request)
			answer(&v->requests[i], m->error < 0 ? m->error : (int)m->change.id, &err);
	}
}

static void fail_all(struct vg_virt *v)
{
	for (unsigned i = 0; i < VG_VIRT_REQUESTS; i++) {
		struct vg_err err;

		if (v->requests[i].ctx)
			answer(&v->requests[i],
			       vg_fail(&err, -ENOTCONN,
				       "the process that speaks to libvirt has ended"),
			       &err);
	}
}

void vg_virt_change(struct vg_virt *v, struct vg_virt_msg *m,
		    void (*done)(void *ctx, int ret, struct vg_err *err), void *ctx)
{
	struct vg_virt_request *r = v->requests;
	struct vg_err err;
	int ret = 0;

	while (r < v->requests + VG_VIRT_REQUESTS && r->ctx)
		r++;
	if (r == v->requests + VG_VIRT_REQUESTS)
		ret = vg_fail(&err, -EBUSY, "other changes wait for libvirt: try again");
	else if (v->sock < 0 || !v->connected)
		ret = vg_fail(&err, -ENOTCONN, "libvirt cannot be reached: %s", v->error.text);
	if (ret == 0) {
		m->type = VG_VIRT_CHANGE;
		m->request = ++v->next_request;
		ret = vg_virt_send(v->sock, m, false);
		if (ret < 0)
			vg_fail(&err, ret, "libvirt does not answer: try again");
	}
	if (ret < 0) {
		done(ctx, ret, &err);
		return;
	}
	r->done = done;
	r->ctx = ctx;
	r->number = m->request;
	vg_loop_timer(v->loop, &r->patience, PATIENCE_S * NS_PER_S);
}

/* ---- what the other process says --------------------------------------------------- */

static void on_state(struct vg_virt *v, const struct vg_virt_msg *m)
{
	v->connected = m->error == 0;
	v->listed = false;
	memcpy(v->error.text, m->text, sizeof(v->error.text));
	if (v->connected)
		vg_info("libvirt: connected to %s", m->text);
	else
		vg_info("libvirt: not connected, and tried again each second: %s", m->text);
	if (!v->connected)
		all_strangers_answered(v);
	for (struct vg_virt_domain *d = v->domains; v->connected && d; d = d->next)
		d->stale = true;
}

static void handle(struct vg_virt *v, const struct vg_virt_msg *m)
{
	v->silent = false;
	switch (m->type) {
	case VG_VIRT_HELLO:
		v->heard = true;
		break;
	case VG_VIRT_STATE:
		on_state(v, m);
		break;
	case VG_VIRT_GUEST:
		on_guest(v, m);
		break;
	case VG_VIRT_DEVICE:
		on_device(v, m);
		break;
	case VG_VIRT_GONE:
		on_gone(v, m->uuid);
		break;
	case VG_VIRT_SYNCED:
		v->listed = true;
		forget_stale(v);
		break;
	case VG_VIRT_DONE:
		on_done(v, m);
		break;
	default:
		break;
	}
}

static void hang_up(struct vg_virt *v)
{
	if (v->sock < 0)
		return;
	vg_loop_unwatch(&v->watch);
	close(v->sock);
	v->sock = -1;
	v->connected = false;
	vg_fail(&v->error, 0, "the process that speaks to it does not run");
	domain_free(v->coming);
	v->coming = NULL;
	fail_all(v);
	all_strangers_answered(v);
}

static void ready(struct vg_watch *w, unsigned events)
{
	struct vg_virt *v = container_of(w, struct vg_virt, watch);
	struct vg_virt_msg m;
	bool heard;
	int ret;

	(void)events;
	while ((ret = vg_virt_recv(v->sock, &m)) == 1)
		handle(v, &m);
	if (ret == -EAGAIN)
		return;
	heard = v->heard;
	hang_up(v);
	v->lost(v->ctx, heard);
}

/* ---- the source ---------------------------------------------------------------------- */

static void config_free(struct vg_source_config *config)
{
	for (unsigned i = 0; i < config->n_devices; i++) {
		free((char *)(uintptr_t)config->devices[i].spec);
		free((char *)(uintptr_t)config->devices[i].backend);
	}
	free(config->devices);
	free(config->priv);
	free(config);
}

static int config_of(const struct vg_virt_domain *d, struct vg_source_config **out,
		     struct vg_err *err)
{
	struct vg_source_config *config = calloc(1, sizeof(*config));
	char *where = NULL;

	if (!config || asprintf(&where, "libvirt's metadata of %s", d->name) < 0)
		where = NULL;
	if (config)
		config->devices = calloc(d->n + 1, sizeof(*config->devices));
	if (!config || !config->devices || !where) {
		free(where);
		if (config)
			free(config->devices);
		free(config);
		return vg_fail(err, -ENOMEM, "out of memory");
	}
	config->where = config->priv = where;
	config->warning = d->text;
	for (unsigned i = 0; i < d->n; i++) {
		struct vg_source_device *dev = &config->devices[i];

		*dev = (struct vg_source_device){
			.spec = strdup(d->devices[i].spec),
			.line = d->devices[i].line,
			.backend = d->devices[i].backend[0] ? strdup(d->devices[i].backend) : NULL,
			.adopts = -1,
			.adopts_from = "",
			.number = d->devices[i].number,
			.has_id = d->devices[i].has_id,
			.err = d->devices[i].err,
		};
		config->n_devices++;
		if (!dev->spec || (d->devices[i].backend[0] && !dev->backend)) {
			config_free(config);
			return vg_fail(err, -ENOMEM, "out of memory");
		}
	}
	*out = config;
	return 0;
}

static int virt_find(void *ctx, const struct vg_guest_id *guest,
		     uint16_t (*virtio_id_of)(const char *device), struct vg_source_config **out,
		     struct vg_err *err)
{
	struct vg_virt *v = ctx;
	const struct vg_virt_domain *d = *find(v, guest->uuid);

	(void)virtio_id_of;
	if ((!d || d->passing) && waits(v, guest->uuid))
		return vg_fail(err, -EAGAIN, "libvirt is asked whether it has the domain %s",
			       guest->uuid);
	if (!d)
		return vg_fail(err, -ENOENT, "libvirt has no domain %s", guest->uuid);
	if (d->error < 0)
		return vg_fail(err, d->error, "%s", d->text.text);
	if (!d->ours)
		return vg_fail(err, -ENOENT, "libvirt's domain has none of our metadata");
	return config_of(d, out, err);
}

/* Nobody waits for it: what is not written is told again with the next change. */
static void virt_number(void *ctx, const struct vg_guest_id *guest,
			const struct vg_source_device *d, unsigned number)
{
	struct vg_virt_msg m = { .type = VG_VIRT_NUMBER };
	struct vg_virt *v = ctx;

	if (v->sock < 0 || !v->connected || d->err.text[0])
		return;
	snprintf(m.uuid, sizeof(m.uuid), "%s", guest->uuid);
	snprintf(m.device.spec, sizeof(m.device.spec), "%s", d->spec);
	m.device.number = number;
	(void)vg_virt_send(v->sock, &m, false);
}

const struct vg_source vg_virt_source = {
	.name = "libvirt",
	.origin = VG_CONTROL_FROM_LIBVIRT,
	.follows = true,
	.find = virt_find,
	.free = config_free,
	.number = virt_number,
};

bool vg_virt_knows(const struct vg_virt *v, const char *uuid, const char *name)
{
	for (const struct vg_virt_domain *d = v->domains; d; d = d->next) {
		if (uuid ? strcmp(d->uuid, uuid) == 0
			 : strcmp(d->name, name) == 0 || strcmp(d->uuid, name) == 0)
			return true;
	}
	return false;
}

/* ---- life ------------------------------------------------------------------------------ */

void vg_virt_init(struct vg_virt *v)
{
	v->sock = -1;
	v->watch.ready = ready;
	vg_fail(&v->error, 0, "it is not used: libvirt in vgrantd.conf is off");
	for (unsigned i = 0; i < VG_VIRT_REQUESTS; i++)
		v->requests[i].patience.expired = patience_over;
	for (unsigned i = 0; i < VG_VIRT_STRANGERS; i++) {
		v->strangers[i].patience.expired = who_patience_over;
		v->strangers[i].virt = v;
	}
}

void vg_virt_serve(struct vg_virt *v, int sock)
{
	v->sock = sock;
	v->heard = v->connected = false;
	vg_fail(&v->error, 0, "it is not connected yet");
	vg_loop_watch(v->loop, &v->watch, sock);
}

void vg_virt_free(struct vg_virt *v)
{
	for (unsigned i = 0; i < VG_VIRT_STRANGERS; i++)
		stranger_free(&v->strangers[i]);
	hang_up(v);
	while (v->domains)
		forget(&v->domains);
}
