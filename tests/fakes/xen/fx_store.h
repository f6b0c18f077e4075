/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_store.h - the tree of xenstore: nodes, permissions, transactions
 *
 * Theory of operation
 * -------------------
 * As in C xenstored, the tree is a flat table from path to node; a node lists
 * its children's names. A transaction is a second such table: the first
 * access to a node copies it there and notes its generation; at the end, if
 * any node that was accessed (also one that did not exist, also a parent
 * whose list of children changed) has another generation in the tree by then,
 * the transaction fails with EAGAIN, else what it changed is put back.
 *
 * Errors are positive errno values here, as they travel.
 */
#ifndef FX_STORE_H
#define FX_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <xenstore.h>

#define FXS_BUCKETS 1024u

/* C xenstored's defaults for an unprivileged domain. */
#define FXS_QUOTA_NODES 1000u /* owned */
#define FXS_QUOTA_SIZE	2048u /* bytes of a node: data, children, permissions, header */
#define FXS_QUOTA_WATCH 128u
#define FXS_QUOTA_TX	10u
#define FXS_QUOTA_PERMS 5u

/** struct fxs_node - a node, or in a transaction the knowledge that there is none */
struct fxs_node {
	struct fxs_node *next;
	char *path;
	bool exists;
	bool changed; /* in a transaction: to be put back */
	uint64_t gen; /* of the tree's node when copied; 0: did not exist */
	struct xs_permissions *perms;
	unsigned int n_perms;
	char *data;
	unsigned int len;
	char **child;
	unsigned int n_child;
};

/** struct fxs_table - nodes by path */
struct fxs_table {
	struct fxs_node *bucket[FXS_BUCKETS];
};

/** struct fxs_event - a change that watches may want to know */
struct fxs_event {
	struct fxs_event *next;
	char *path;
	bool exact; /* only for watches on this very path */
};

/** struct fxs_tx - a transaction */
struct fxs_tx {
	struct fxs_tx *next;
	uint32_t id;
	unsigned int created; /* nodes */
	struct fxs_table table;
	struct fxs_event *events, **events_tail;
};

/** struct fxs_store - the tree */
struct fxs_store {
	struct fxs_table table;
	uint64_t gen;
	unsigned int owned[32768]; /* nodes by owner */
	/* told of each change outside transactions, while the old node is still there */
	void (*fire)(void *ctx, const char *path, bool exact, const struct xs_permissions *old,
		     unsigned int n_old);
	void *ctx;
};

/** fxs_init() - an empty tree: "/" owned by domain 0, with libxl's own top nodes */
void fxs_init(struct fxs_store *st);

/** fxs_fini() - free it */
void fxs_fini(struct fxs_store *st);

/** fxs_path_ok() - is_valid_nodename(): characters, slashes, length */
bool fxs_path_ok(const char *path, bool special);

/** fxs_perm() - what @domid may do with a node: XS_PERM_READ | XS_PERM_WRITE, XS_PERM_OWNER */
unsigned int fxs_perm(const struct xs_permissions *perms, unsigned int n, unsigned int domid);

/** fxs_lookup() - a node as seen by @tx (NULL: the tree); NULL if there is none */
struct fxs_node *fxs_lookup(struct fxs_store *st, struct fxs_tx *tx, const char *path);

/** fxs_parent() - malloc'd path of the parent */
char *fxs_parent(const char *path);

/** fxs_get() - a node that @domid has the rights @perm for; Return: 0 or what xenstored says */
int fxs_get(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path,
	    unsigned int perm, struct fxs_node **out);

/** fxs_write() - set the value, creating the node and its parents */
int fxs_write(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path,
	      const void *data, unsigned int len);

/** fxs_mkdir() - create a node unless it exists */
int fxs_mkdir(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path);

/** fxs_rm() - remove a node with all below */
int fxs_rm(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path);

/** fxs_set_perms() - set owner and permissions */
int fxs_set_perms(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid, const char *path,
		  const struct xs_permissions *perms, unsigned int n);

/** fxs_tx_new() - start a transaction */
struct fxs_tx *fxs_tx_new(uint32_t id);

/** fxs_tx_free() - drop it */
void fxs_tx_free(struct fxs_tx *tx);

/** fxs_tx_commit() - put it back and fire; EAGAIN on conflict. The caller frees it */
int fxs_tx_commit(struct fxs_store *st, struct fxs_tx *tx, unsigned int domid);

#endif /* FX_STORE_H */
