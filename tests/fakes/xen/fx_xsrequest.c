/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_xsrequest.c - the xenstore daemon: what each request does
 *
 * Mirrored from do_*() of tools/xenstored: who may do it, what it answers, in
 * which order reply and events leave.
 */
#include "tests/fakes/xen/fx_xenstored.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- requests ------------------------------------------------------------- */

/*
 * A request's payload, cut into strings; arg[i] is NULL beyond them. The
 * bytes after the last terminator are the rest (a value to write).
 */
struct args {
	const char *arg[8];
	unsigned int n;
	const char *rest; /* after the first string */
	uint32_t rest_len;
	char path[XENSTORE_ABS_PATH_MAX + 64]; /* arg[0] made absolute */
	bool relative;
};

static void parse(struct fxd_conn *c, struct args *a)
{
	char *p = c->in.bytes + sizeof(c->in.hdr), *end = p + c->in.hdr.len, *q;

	memset(a, 0, sizeof(*a));
	*end = '\0'; /* there is one byte of room */
	for (q = p; q < end && a->n < 8; a->n++) {
		size_t len = strnlen(q, (size_t)(end - q));

		if (q + len == end && a->n) /* not terminated: a value */
			break;
		a->arg[a->n] = q;
		q += len + 1;
		if (a->n == 0) {
			a->rest = q < end ? q : end;
			a->rest_len = q < end ? (uint32_t)(end - q) : 0;
		}
	}
	if (!a->n)
		return;
	a->relative = a->arg[0][0] != '/' && a->arg[0][0] != '@';
	if (a->relative)
		snprintf(a->path, sizeof(a->path), "/local/domain/%u/%s", c->domid, a->arg[0]);
	else
		snprintf(a->path, sizeof(a->path), "%s", a->arg[0]);
}

static struct fxs_tx **find_tx(struct fxd_conn *c, uint32_t id)
{
	struct fxs_tx **p;

	for (p = &c->tx; *p; p = &(*p)->next)
		if ((*p)->id == id)
			return p;
	return NULL;
}

static int do_directory(struct fxd_daemon *d, struct fxd_conn *c, struct fxs_tx *tx, struct args *a,
			bool part)
{
	char buf[XENSTORE_PAYLOAD_MAX];
	size_t used = 0, off = 0, pos = 0;
	struct fxs_node *n;
	unsigned int i;
	int rc;

	if (a->n < (part ? 2u : 1u))
		return EINVAL;
	rc = fxs_get(&d->store, tx, c->domid, a->path, XS_PERM_READ, &n);
	if (rc)
		return rc;
	if (part) {
		off = strtoul(a->arg[1], NULL, 10);
		used = (size_t)snprintf(buf, sizeof(buf), "%llu", (unsigned long long)n->gen) + 1;
	}
	for (i = 0; i < n->n_child; pos += strlen(n->child[i]) + 1, i++) {
		size_t len = strlen(n->child[i]) + 1;

		if (pos < off)
			continue;
		if (used + len > sizeof(buf) - (part ? 1 : 0)) {
			if (!part)
				return E2BIG;
			break;
		}
		memcpy(buf + used, n->child[i], len);
		used += len;
	}
	if (part && i == n->n_child)
		buf[used++] = '\0';
	fxd_reply(d, c, buf, used);
	return 0;
}

static int do_get_perms(struct fxd_daemon *d, struct fxd_conn *c, struct fxs_tx *tx, struct args *a)
{
	static const char letter[4] = { 'n', 'r', 'w', 'b' };
	char buf[XENSTORE_PAYLOAD_MAX];
	struct fxs_node *n;
	size_t used = 0;
	unsigned int i;
	int rc;

	rc = fxs_get(&d->store, tx, c->domid, a->path, XS_PERM_READ, &n);
	if (rc)
		return rc;
	for (i = 0; i < n->n_perms; i++)
		used += (size_t)sprintf(buf + used, "%c%u", letter[n->perms[i].perms & 3],
					n->perms[i].id) +
			1;
	fxd_reply(d, c, buf, used);
	return 0;
}

static int do_set_perms(struct fxd_daemon *d, struct fxd_conn *c, struct fxs_tx *tx, struct args *a)
{
	struct xs_permissions perms[64];
	const char *p = a->rest;
	unsigned int n = 0;

	while (p && p < a->rest + a->rest_len) {
		static const char letters[] = "nrwb";
		const char *l = *p ? strchr(letters, *p) : NULL;

		if (!l || n == 64)
			return EINVAL;
		perms[n].perms = (unsigned int)(l - letters);
		perms[n++].id = (unsigned int)strtoul(p + 1, NULL, 10);
		p += strlen(p) + 1;
	}
	return fxs_set_perms(&d->store, tx, c->domid, a->path, perms, n);
}

static int do_watch(struct fxd_daemon *d, struct fxd_conn *c, struct args *a)
{
	struct fxd_watch *wt, **tail;

	if (a->n != 2 || !fxs_path_ok(a->path, true))
		return EINVAL;
	for (tail = &c->watches; *tail; tail = &(*tail)->next)
		if (!strcmp((*tail)->path, a->path) && !strcmp((*tail)->token, a->arg[1]))
			return EEXIST;
	if (c->domid && c->n_watches >= FXS_QUOTA_WATCH)
		return E2BIG;
	wt = calloc(1, sizeof(*wt));
	if (!wt)
		return ENOMEM;
	wt->path = strdup(a->path);
	wt->token = strdup(a->arg[1]);
	if (!wt->path || !wt->token)
		abort();
	wt->prefix = a->relative ? (unsigned int)(strlen(a->path) - strlen(a->arg[0])) : 0;
	*tail = wt;
	c->n_watches++;
	fxd_reply(d, c, "OK", 3);
	fxd_event(d, c, wt, wt->path);
	return 0;
}

static int do_unwatch(struct fxd_daemon *d, struct fxd_conn *c, struct args *a)
{
	struct fxd_watch **p, *wt;

	if (a->n != 2)
		return EINVAL;
	for (p = &c->watches; *p; p = &(*p)->next)
		if (!strcmp((*p)->path, a->path) && !strcmp((*p)->token, a->arg[1]))
			break;
	wt = *p;
	if (!wt)
		return ENOENT;
	*p = wt->next;
	c->n_watches--;
	fxd_watch_free(wt);
	fxd_reply(d, c, "OK", 3);
	return 0;
}

static int do_tx_start(struct fxd_daemon *d, struct fxd_conn *c)
{
	struct fxs_tx *tx;
	char buf[16];

	if (c->in.hdr.tx_id)
		return EBUSY;
	if (c->domid && c->n_tx >= FXS_QUOTA_TX)
		return ENOSPC;
	if (!++d->next_tx)
		d->next_tx = 1;
	tx = fxs_tx_new(d->next_tx);
	tx->next = c->tx;
	c->tx = tx;
	c->n_tx++;
	fxd_reply(d, c, buf, (size_t)snprintf(buf, sizeof(buf), "%u", tx->id) + 1);
	return 0;
}

static int do_tx_end(struct fxd_daemon *d, struct fxd_conn *c, struct args *a)
{
	struct fxs_tx **p = find_tx(c, c->in.hdr.tx_id), *tx;
	uint32_t *force = &d->w->shm->xs_conflict;
	int rc = 0;

	if (a->n != 1 || (strcmp(a->arg[0], "T") && strcmp(a->arg[0], "F")))
		return EINVAL;
	if (!p)
		return ENOENT;
	tx = *p;
	*p = tx->next;
	c->n_tx--;
	if (a->arg[0][0] == 'T') {
		uint32_t n = __atomic_load_n(force, __ATOMIC_RELAXED);

		if (n && !c->domid && !c->quiet) {
			__atomic_store_n(force, n - 1, __ATOMIC_RELAXED);
			rc = EAGAIN;
		} else {
			rc = fxs_tx_commit(&d->store, tx, c->domid);
		}
	}
	fxs_tx_free(tx);
	if (!rc)
		fxd_reply(d, c, "OK", 3);
	return rc;
}

/* drop_domain() - a domain is gone: its connections too */
static void drop_domain(struct fxd_daemon *d, unsigned int domid)
{
	struct fxd_conn *c;

	for (c = d->conns; c; c = c->next)
		if (c->domid == domid)
			c->gone = true;
}

static int do_domain(struct fxd_daemon *d, struct fxd_conn *c, struct args *a)
{
	unsigned long domid = a->n ? strtoul(a->arg[0], NULL, 10) : 32768;
	uint32_t type = c->in.hdr.type;
	char buf[32];
	bool known;

	if (domid >= 32768)
		return EINVAL;
	known = !domid || d->introduced[domid];
	if (type == XS_GET_DOMAIN_PATH) {
		fxd_reply(d, c, buf,
			  (size_t)snprintf(buf, sizeof(buf), "/local/domain/%lu", domid) + 1);
		return 0;
	}
	if (c->domid && type != XS_IS_DOMAIN_INTRODUCED)
		return EACCES;
	if (type == XS_IS_DOMAIN_INTRODUCED) {
		fxd_reply(d, c, known ? "T" : "F", 2);
		return 0;
	}
	if (type == XS_INTRODUCE) {
		if (!known) {
			d->introduced[domid] = 1;
			fxd_fire(d, "@introduceDomain", false, NULL, 0);
		}
	} else {
		if (!known || !domid)
			return ENOENT;
		d->introduced[domid] = 0;
		drop_domain(d, (unsigned int)domid);
		fxd_fire(d, "@releaseDomain", false, NULL, 0);
	}
	fxd_reply(d, c, "OK", 3);
	return 0;
}

/* do_identify() - a connection says whose it is */
static int do_identify(struct fxd_daemon *d, struct fxd_conn *c, struct args *a)
{
	unsigned long domid = a->n ? strtoul(a->arg[0], NULL, 10) : 32768;
	char buf[16];

	if (domid >= 32768 || (domid && !d->introduced[domid]))
		return ENOENT;
	c->domid = (unsigned int)domid;
	c->quiet = a->n > 1;
	fxd_reply(d, c, buf, (size_t)snprintf(buf, sizeof(buf), "%u", c->id) + 1);
	return 0;
}

static int do_events(struct fxd_daemon *d, struct fxd_conn *c, struct args *a)
{
	uint32_t id = a->n ? (uint32_t)strtoul(a->arg[0], NULL, 10) : 0;
	struct fxd_conn *o;

	for (o = d->conns; o; o = o->next) {
		if (o->id != id || o == c || o->events)
			continue;
		o->events = c;
		c->events_for = id;
		c->domid = o->domid;
		fxd_reply(d, c, "OK", 3);
		return 0;
	}
	return ENOENT;
}

/* fault() - count the request; whether it shall fail */
static int fault(struct fxd_daemon *d, struct fxd_conn *c)
{
	struct fxi_dom *dom;
	int err = 0;

	if (c->quiet || c->in.hdr.type >= FXI_XS_IDENTIFY)
		return 0;
	fxi_lock(d->w);
	dom = fxi_dom(d->w, c->domid);
	if (dom) {
		err = fxi_fault(dom, FX_OP_XS, EIO);
		fxi_count(dom, FX_OP_XS, 0, 1, err != 0);
	}
	fxi_unlock(d->w);
	return err;
}

int fxd_dispatch(struct fxd_daemon *d, struct fxd_conn *c)
{
	uint32_t type = c->in.hdr.type;
	struct fxs_tx *tx = NULL, **p;
	struct fxs_node *n;
	struct args a;
	int rc;

	parse(c, &a);
	rc = fault(d, c);
	if (rc)
		return rc;
	if (c->in.hdr.tx_id && type != XS_TRANSACTION_START && type != XS_TRANSACTION_END) {
		p = find_tx(c, c->in.hdr.tx_id);
		if (!p)
			return ENOENT;
		tx = *p;
	}
	if (!a.n && type != XS_TRANSACTION_START)
		return EINVAL;
	switch (type) {
	case XS_DIRECTORY:
	case XS_DIRECTORY_PART:
		return do_directory(d, c, tx, &a, type == XS_DIRECTORY_PART);
	case XS_READ:
		rc = fxs_get(&d->store, tx, c->domid, a.path, XS_PERM_READ, &n);
		if (!rc)
			fxd_reply(d, c, n->data ? n->data : "", n->len);
		return rc;
	case XS_GET_PERMS:
		return do_get_perms(d, c, tx, &a);
	case XS_WRITE:
		rc = fxs_write(&d->store, tx, c->domid, a.path, a.rest, a.rest_len);
		break;
	case XS_MKDIR:
		rc = fxs_mkdir(&d->store, tx, c->domid, a.path);
		break;
	case XS_RM:
		rc = fxs_rm(&d->store, tx, c->domid, a.path);
		break;
	case XS_SET_PERMS:
		rc = do_set_perms(d, c, tx, &a);
		break;
	case XS_WATCH:
		return do_watch(d, c, &a);
	case XS_UNWATCH:
		return do_unwatch(d, c, &a);
	case XS_TRANSACTION_START:
		return do_tx_start(d, c);
	case XS_TRANSACTION_END:
		return do_tx_end(d, c, &a);
	case XS_INTRODUCE:
	case XS_RELEASE:
	case XS_GET_DOMAIN_PATH:
	case XS_IS_DOMAIN_INTRODUCED:
		return do_domain(d, c, &a);
	case FXI_XS_IDENTIFY:
		return do_identify(d, c, &a);
	case FXI_XS_EVENTS:
		return do_events(d, c, &a);
	default:
		return ENOSYS;
	}
	if (!rc)
		fxd_reply(d, c, "OK", 3);
	return rc;
}
