/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_store.c - the tree of xenstore (theory of operation: fx_store.h)
 *
 * Mirrored from tools/xenstored: core.c, transaction.c. Allocation failures
 * end the daemon: it is a test's.
 */
#include "tests/fakes/xen/fx_store.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/io/xs_wire.h>

#include "backend/base/container.h"

#define NODE_HEADER 24u /* struct node_hdr of xenstored, for FXS_QUOTA_SIZE */

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "fakexend: out of memory\n");
		abort();
	}
	return p;
}

/* ---- tables --------------------------------------------------------------- */

static struct fxs_node **bucket(struct fxs_table *t, const char *path)
{
	uint32_t h = 2166136261u;

	while (*path)
		h = (h ^ (uint8_t)*path++) * 16777619u;
	return &t->bucket[h % FXS_BUCKETS];
}

static struct fxs_node *find(struct fxs_table *t, const char *path)
{
	struct fxs_node *n;

	for (n = *bucket(t, path); n; n = n->next)
		if (!strcmp(n->path, path))
			return n;
	return NULL;
}

static void clear(struct fxs_node *n)
{
	unsigned int i;

	for (i = 0; i < n->n_child; i++)
		free(n->child[i]);
	free(n->child);
	free(n->perms);
	free(n->data);
	n->child = NULL;
	n->perms = NULL;
	n->data = NULL;
	n->n_child = n->n_perms = n->len = 0;
}

static void node_free(struct fxs_node *n)
{
	clear(n);
	free(n->path);
	free(n);
}

static struct fxs_node *node_add(struct fxs_table *t, const char *path)
{
	struct fxs_node *n = must(calloc(1, sizeof(*n))), **b = bucket(t, path);

	n->path = must(strdup(path));
	n->next = *b;
	*b = n;
	return n;
}

static void node_del(struct fxs_table *t, struct fxs_node *n)
{
	struct fxs_node **p;

	for (p = bucket(t, n->path); *p != n; p = &(*p)->next)
		;
	*p = n->next;
	node_free(n);
}

static void table_fini(struct fxs_table *t)
{
	unsigned int i;

	for (i = 0; i < FXS_BUCKETS; i++) {
		while (t->bucket[i]) {
			struct fxs_node *n = t->bucket[i];

			t->bucket[i] = n->next;
			node_free(n);
		}
	}
}

static void set_data(struct fxs_node *n, const void *data, unsigned int len)
{
	free(n->data);
	n->data = must(malloc(len + 1));
	memcpy(n->data, data, len);
	n->data[len] = '\0';
	n->len = len;
}

static void set_perms(struct fxs_node *n, const struct xs_permissions *perms, unsigned int count)
{
	struct xs_permissions *p = must(malloc(count * sizeof(*p)));

	memcpy(p, perms, count * sizeof(*p));
	free(n->perms);
	n->perms = p;
	n->n_perms = count;
}

static void add_child(struct fxs_node *n, const char *name)
{
	n->child = must(realloc(n->child, (n->n_child + 1) * sizeof(n->child[0])));
	n->child[n->n_child++] = must(strdup(name));
}

static void del_child(struct fxs_node *n, const char *name)
{
	unsigned int i;

	for (i = 0; i < n->n_child; i++) {
		if (strcmp(n->child[i], name))
			continue;
		free(n->child[i]);
		memmove(&n->child[i], &n->child[i + 1], (n->n_child - i - 1) * sizeof(n->child[0]));
		n->n_child--;
		return;
	}
}

static void copy_node(struct fxs_node *to, const struct fxs_node *from)
{
	unsigned int i;

	clear(to);
	set_perms(to, from->perms, from->n_perms);
	set_data(to, from->data ? from->data : "", from->len);
	for (i = 0; i < from->n_child; i++)
		add_child(to, from->child[i]);
	to->exists = true;
}

static unsigned int node_size(const struct fxs_node *n)
{
	unsigned int i, size;

	size = NODE_HEADER + n->len + n->n_perms * (unsigned int)sizeof(n->perms[0]);
	for (i = 0; i < n->n_child; i++)
		size += (unsigned int)strlen(n->child[i]) + 1;
	return size;
}

/* ---- looking -------------------------------------------------------------- */

struct fxs_node *fxs_lookup(struct fxs_store *st, struct fxs_tx *tx, const char *path)
{
	struct fxs_node *n, *m;

	if (!tx)
		return find(&st->table, path);
	n = find(&tx->table, path);
	if (!n) {
		m = find(&st->table, path);
		n = node_add(&tx->table, path);
		if (m) {
			n->gen = m->gen;
			copy_node(n, m);
		}
	}
	return n->exists ? n : NULL;
}

char *fxs_parent(const char *path)
{
	const char *slash = strrchr(path, '/');

	return must(strndup(path, slash == path || !slash ? 1 : (size_t)(slash - path)));
}

static const char *leaf(const char *path)
{
	return strrchr(path, '/') + 1;
}

bool fxs_path_ok(const char *path, bool special)
{
	size_t len = strlen(path), i;

	if (special && path[0] == '@')
		return !strcmp(path, "@introduceDomain") || !strcmp(path, "@releaseDomain");
	if (path[0] != '/' || len > XENSTORE_ABS_PATH_MAX || strstr(path, "//") ||
	    (len > 1 && path[len - 1] == '/'))
		return false;
	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)path[i]) && !strchr("-/_@", path[i]))
			return false;
	return true;
}

unsigned int fxs_perm(const struct xs_permissions *perms, unsigned int n, unsigned int domid)
{
	unsigned int i;

	if (!domid || perms[0].id == domid)
		return XS_PERM_READ | XS_PERM_WRITE | XS_PERM_OWNER;
	for (i = 1; i < n; i++)
		if (perms[i].id == domid)
			return perms[i].perms;
	return perms[0].perms & ~(unsigned int)XS_PERM_OWNER;
}

/* hide() - errno_from_parents(): do not tell who may not know */
static int hide(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path,
		int err, unsigned int perm)
{
	char *p = must(strdup(path)), *q;
	struct fxs_node *n;

	do {
		q = fxs_parent(p);
		free(p);
		p = q;
		n = fxs_lookup(st, tx, p);
	} while (!n);
	free(p);
	return fxs_perm(n->perms, n->n_perms, domid) & perm ? err : EACCES;
}

int fxs_get(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path,
	    unsigned int perm, struct fxs_node **out)
{
	struct fxs_node *n;
	int err = ENOENT;

	if (!fxs_path_ok(path, false))
		return EINVAL;
	n = fxs_lookup(st, tx, path);
	if (n) {
		*out = n;
		if ((fxs_perm(n->perms, n->n_perms, domid) & perm) == perm)
			return 0;
		err = EACCES;
	}
	return hide(st, tx, domid, path, err, perm);
}

/* ---- changing ------------------------------------------------------------- */

/* touched() - a node was changed */
static void touched(struct fxs_store *st, struct fxs_tx *tx, struct fxs_node *n)
{
	if (tx)
		n->changed = true;
	else
		n->gen = ++st->gen;
}

/* fire() - tell, or in a transaction remember */
static void fire(struct fxs_store *st, struct fxs_tx *tx, const char *path, bool exact,
		 const struct xs_permissions *old, unsigned int n_old)
{
	struct fxs_event *e;

	if (!tx) {
		st->fire(st->ctx, path, exact, old, n_old);
		return;
	}
	for (e = tx->events; e; e = e->next)
		if (!strcmp(e->path, path) && e->exact == exact)
			return;
	e = must(calloc(1, sizeof(*e)));
	e->path = must(strdup(path));
	e->exact = exact;
	*tx->events_tail = e;
	tx->events_tail = &e->next;
}

/* create() - a node that does not exist, and its parents, without a value */
static int create(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path,
		  unsigned int len, struct fxs_node **out)
{
	struct fxs_node *parent, *n;
	char *up = fxs_parent(path);
	int rc = 0;

	parent = fxs_lookup(st, tx, up);
	if (!parent)
		rc = create(st, tx, domid, up, 0, &parent);
	free(up);
	if (rc)
		return rc;
	if (domid &&
	    len + NODE_HEADER + parent->n_perms * sizeof(parent->perms[0]) > FXS_QUOTA_SIZE)
		return ENOSPC;
	if (domid && (st->owned[domid] + (tx ? tx->created : 0) >= FXS_QUOTA_NODES ||
		      node_size(parent) + strlen(leaf(path)) + 1 > FXS_QUOTA_SIZE))
		return ENOSPC;
	n = tx ? find(&tx->table, path) : NULL;
	if (!n)
		n = node_add(tx ? &tx->table : &st->table, path);
	clear(n);
	set_perms(n, parent->perms, parent->n_perms);
	if (domid)
		n->perms[0].id = domid;
	n->exists = true;
	add_child(parent, leaf(path));
	touched(st, tx, parent);
	touched(st, tx, n);
	if (tx)
		tx->created++;
	else
		st->owned[n->perms[0].id % 32768]++;
	*out = n;
	return 0;
}

int fxs_write(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path,
	      const void *data, unsigned int len)
{
	struct fxs_node *n;
	int rc = fxs_get(st, tx, domid, path, XS_PERM_WRITE, &n);

	if (rc == ENOENT)
		rc = create(st, tx, domid, path, len, &n);
	else if (!rc && domid && node_size(n) - n->len + len > FXS_QUOTA_SIZE)
		rc = ENOSPC;
	if (rc)
		return rc;
	set_data(n, data, len);
	touched(st, tx, n);
	fire(st, tx, path, false, NULL, 0);
	return 0;
}

int fxs_mkdir(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path)
{
	struct fxs_node *n;
	int rc = fxs_get(st, tx, domid, path, XS_PERM_WRITE, &n);

	if (rc != ENOENT)
		return rc;
	rc = create(st, tx, domid, path, 0, &n);
	if (rc)
		return rc;
	set_data(n, "", 0);
	fire(st, tx, path, false, NULL, 0);
	return 0;
}

/* remove_tree() - children first, each told to its own watchers; the root to all above */
static void remove_tree(struct fxs_store *st, struct fxs_tx *tx, const char *path, bool root)
{
	struct fxs_node *n = fxs_lookup(st, tx, path);

	if (!n)
		return;
	while (n->n_child) {
		char *sub;

		if (asprintf(&sub, "%s/%s", path, n->child[n->n_child - 1]) < 0)
			must(NULL);
		remove_tree(st, tx, sub, false);
		del_child(n, leaf(sub));
		free(sub);
	}
	fire(st, tx, path, !root, NULL, 0);
	if (tx) {
		clear(n);
		n->exists = false;
		n->changed = true;
	} else {
		st->owned[n->perms[0].id % 32768]--;
		node_del(&st->table, n);
	}
}

int fxs_rm(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path)
{
	struct fxs_node *n;
	int rc = fxs_get(st, tx, domid, path, XS_PERM_WRITE, &n);
	char *up;

	if (rc && rc != ENOENT)
		return rc;
	if (!strcmp(path, "/"))
		return EINVAL;
	up = fxs_parent(path);
	if (rc) {
		rc = fxs_lookup(st, tx, up) ? 0 : ENOENT;
		free(up);
		return rc;
	}
	remove_tree(st, tx, path, true);
	n = fxs_lookup(st, tx, up);
	free(up);
	del_child(n, leaf(path));
	touched(st, tx, n);
	return 0;
}

int fxs_set_perms(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path,
		  const struct xs_permissions *perms, unsigned int count)
{
	struct xs_permissions *old;
	struct fxs_node *n;
	unsigned int n_old;
	int rc;

	if (!count)
		return EINVAL;
	if (domid && count > FXS_QUOTA_PERMS)
		return ENOSPC;
	rc = fxs_get(st, tx, domid, path, XS_PERM_WRITE | XS_PERM_OWNER, &n);
	if (rc)
		return rc;
	if (domid && perms[0].id != n->perms[0].id)
		return EPERM;
	old = n->perms;
	n_old = n->n_perms;
	n->perms = NULL;
	set_perms(n, perms, count);
	if (!tx) {
		st->owned[old[0].id % 32768]--;
		st->owned[perms[0].id % 32768]++;
	}
	touched(st, tx, n);
	fire(st, tx, path, false, old, n_old);
	free(old);
	return 0;
}

/* ---- transactions --------------------------------------------------------- */

struct fxs_tx *fxs_tx_new(uint32_t id)
{
	struct fxs_tx *tx = must(calloc(1, sizeof(*tx)));

	tx->id = id;
	tx->events_tail = &tx->events;
	return tx;
}

void fxs_tx_free(struct fxs_tx *tx)
{
	while (tx->events) {
		struct fxs_event *e = tx->events;

		tx->events = e->next;
		free(e->path);
		free(e);
	}
	table_fini(&tx->table);
	free(tx);
}

/* put_back() - make the tree's node like the transaction's */
static void put_back(struct fxs_store *st, struct fxs_node *n)
{
	struct fxs_node *m = find(&st->table, n->path);

	if (m)
		st->owned[m->perms[0].id % 32768]--;
	if (!n->exists) {
		if (m)
			node_del(&st->table, m);
		return;
	}
	if (!m)
		m = node_add(&st->table, n->path);
	copy_node(m, n);
	m->gen = ++st->gen;
	st->owned[m->perms[0].id % 32768]++;
}

int fxs_tx_commit(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid)
{
	struct fxs_event *e;
	struct fxs_node *n, *m;
	unsigned int i;

	for (i = 0; i < FXS_BUCKETS; i++) {
		for (n = tx->table.bucket[i]; n; n = n->next) {
			m = find(&st->table, n->path);
			if ((m ? m->gen : 0) != n->gen)
				return EAGAIN;
		}
	}
	if (domid && st->owned[domid] + tx->created > FXS_QUOTA_NODES)
		return ENOSPC;
	/*
	 * Watchers of what goes away are told while it is still there, by its
	 * permissions; all others when the new state is.
	 */
	for (e = tx->events; e; e = e->next) {
		n = find(&tx->table, e->path);
		if (n && !n->exists && n->gen)
			st->fire(st->ctx, e->path, e->exact, NULL, 0);
	}
	for (i = 0; i < FXS_BUCKETS; i++)
		for (n = tx->table.bucket[i]; n; n = n->next)
			if (n->changed)
				put_back(st, n);
	for (e = tx->events; e; e = e->next) {
		n = find(&tx->table, e->path);
		if (n && n->exists)
			st->fire(st->ctx, e->path, e->exact, NULL, 0);
	}
	return 0;
}

/* ---- the tree ------------------------------------------------------------- */

void fxs_init(struct fxs_store *st)
{
	static const char *const top[] = {
		"/tool",  "/local",	     "/local/domain",	      "/vm",
		"/libxl", "/local/domain/0", "/local/domain/0/domid", "/local/domain/0/name"
	};
	struct xs_permissions p = { .id = 0, .perms = XS_PERM_NONE };
	struct fxs_node *n = node_add(&st->table, "/");
	unsigned int i;

	n->exists = true;
	n->gen = ++st->gen;
	set_perms(n, &p, 1);
	set_data(n, "", 0);
	for (i = 0; i < COUNT(top); i++) {
		create(st, NULL, 0, top[i], 0, &n);
		set_data(n, "", 0);
	}
	n = find(&st->table, "/local/domain/0/domid");
	set_data(n, "0", 1);
	n = find(&st->table, "/local/domain/0/name");
	set_data(n, "Domain-0", 8);
}

void fxs_fini(struct fxs_store *st)
{
	table_fini(&st->table);
}
