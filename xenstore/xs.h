/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xs.h - xenstore as the daemon uses it: typed reads, states, node pairs
 *
 * Values that a guest can write are believed only as far as these functions
 * check them: a number is all digits and in range, a text has no control
 * characters and a length.
 *
 * What could not be asked is told apart from what is not there: a node is given
 * up only when xenstored said that it is gone.
 *
 * No call waits longer than VG_XS_PATIENCE_MS for xenstored. After one that did,
 * all fail with -ETIMEDOUT at once until xenstored has answered that one: nothing
 * is asked or written out of order, and whoever calls tries again later.
 */
#ifndef VG_XS_H
#define VG_XS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"

#define VG_XS_PATH 256 /* bytes; XENSTORE_ABS_PATH_MAX is 3072, ours are short */
/* A healthy xenstored needs one of them; one that gets no processor may need many. */
#define VG_XS_PATIENCE_MS 5000

struct vg_xs;

/* xen/include/public/io/xenbus.h */
enum vg_xenbus_state {
	VG_XENBUS_UNKNOWN = 0, /* also: the node, or its state, is not there */
	VG_XENBUS_INITIALISING = 1,
	VG_XENBUS_INIT_WAIT = 2,
	VG_XENBUS_INITIALISED = 3,
	VG_XENBUS_CONNECTED = 4,
	VG_XENBUS_CLOSING = 5,
	VG_XENBUS_CLOSED = 6,
};

/** vg_xenbus_state_name - "InitWait" */
const char *vg_xenbus_state_name(enum vg_xenbus_state s);

/* A device's two directories, and whom they belong to. */
struct vg_xs_pair {
	char kind[16]; /* "virtio", "virtio_disk" */
	uint32_t id;
	uint32_t guest; /* domain number */
	uint32_t backend;
	char b[VG_XS_PATH]; /* /local/domain/<backend>/backend/<kind>/<guest>/<id> */
	char f[VG_XS_PATH]; /* /local/domain/<guest>/device/<kind>/<id> */
};

/** vg_xs_pair_init - compute the paths */
void vg_xs_pair_init(struct vg_xs_pair *p, const char *kind, uint32_t guest, uint32_t backend,
		     uint32_t id);

/* A key and its value; NULL: no such key. */
struct vg_xs_entry {
	const char *key, *value;
};

/**
 * vg_xs_open - connect to xenstored
 * @out: to be freed with vg_xs_close()
 *
 * Block the signals that the caller takes with signalfd(2) first: threads are started.
 * Return: 0 or negative errno.
 */
int vg_xs_open(struct vg_xs **out);

/** vg_xs_close - NULL is allowed; a connection that is stuck is left to the end of the process */
void vg_xs_close(struct vg_xs *x);

/** vg_xs_stuck_ns - for how long a call has waited that its caller gave up; 0: none has */
int64_t vg_xs_stuck_ns(struct vg_xs *x);

/** vg_xs_fd - becomes readable when a watch fires: see vg_xs_event() */
int vg_xs_fd(struct vg_xs *x);

/** vg_xs_event - take the path of a watch that fired, to be freed; NULL: none. Never waits. */
char *vg_xs_event(struct vg_xs *x);

/** vg_xs_watch, vg_xs_unwatch - of @path; one that is there already is kept. Return: 0 or negative errno. */
int vg_xs_watch(struct vg_xs *x, const char *path, const char *token);
int vg_xs_unwatch(struct vg_xs *x, const char *path, const char *token);

/**
 * vg_xs_text - read DIR/KEY into @buf
 *
 * Return: 0; -ENOENT; -EINVAL: too long for @size, or has control characters; other negative errno.
 */
int vg_xs_text(struct vg_xs *x, const char *dir, const char *key, char *buf, size_t size);

/** vg_xs_text_dup - the same of any length, to be freed; *@out is NULL after an error */
int vg_xs_text_dup(struct vg_xs *x, const char *dir, const char *key, char **out);

/** vg_xs_u32 - read a decimal number. Return: 0; -ENOENT; -EINVAL: not one, or over @max. */
int vg_xs_u32(struct vg_xs *x, const char *dir, const char *key, uint32_t max, uint32_t *out);

/**
 * vg_xs_state - read DIR/state; what is missing or no state is VG_XENBUS_UNKNOWN
 *
 * Return: 0, or negative errno: xenstored did not say.
 */
int vg_xs_state(struct vg_xs *x, const char *dir, enum vg_xenbus_state *out);

/** vg_xs_exists - is there a node? Return: 1, 0, or negative errno: xenstored did not say. */
int vg_xs_exists(struct vg_xs *x, const char *path);

enum { VG_XS_READS = 1, VG_XS_WRITES = 2 };

/**
 * vg_xs_rights - what an unprivileged domain may do with a node (Xen, docs/misc/xenstore.txt, SET_PERMS)
 *
 * Return: VG_XS_READS and VG_XS_WRITES, or 0; -ENOENT: there is no such node, or it is not ours to look
 * at; or negative errno.
 */
int vg_xs_rights(struct vg_xs *x, const char *path, uint32_t domid);

/** vg_xs_introduced - does xenstored know the domain? Return: 1, 0 or negative errno. */
int vg_xs_introduced(struct vg_xs *x, uint32_t domid);

/**
 * vg_xs_list - names below @path
 * @list: one block, to be freed; NULL when there is none
 *
 * Return: 0, also when @path is not there; or negative errno.
 */
int vg_xs_list(struct vg_xs *x, const char *path, char ***list, unsigned *n);

/** vg_xs_put - write DIR/KEY, making DIR if need be. Return: 0 or negative errno. */
int vg_xs_put(struct vg_xs *x, const char *dir, const char *key, const char *value);

/**
 * vg_xs_update - write, or remove, several keys of DIR at once, but never make DIR anew
 * @entries: in the order of writing; one with value NULL removes its key
 *
 * One transaction: a node that its owner has just removed stays removed, and nobody sees some of
 * the keys without the others. Return: 0; -ENOENT: there is no DIR; negative errno: none is written,
 * or, after -ETIMEDOUT, it is not known.
 */
int vg_xs_update(struct vg_xs *x, const char *dir, const struct vg_xs_entry *entries, unsigned n);

/** vg_xs_update_one - the same for one key */
int vg_xs_update_one(struct vg_xs *x, const char *dir, const char *key, const char *value);

/**
 * vg_xs_make_pair - make both directories, as libxl does (libxl__device_generic_add)
 * @entries: more keys for the backend's directory; those without a value are left out
 *
 * Return: 0; -EEXIST: the backend's is there already; -ENOENT: no such guest; negative errno.
 */
int vg_xs_make_pair(struct vg_xs *x, const struct vg_xs_pair *p, const struct vg_xs_entry *entries,
		    unsigned n);

/** vg_xs_remove_pair - remove both, and the parent of the backend's if it is empty after it */
int vg_xs_remove_pair(struct vg_xs *x, const struct vg_xs_pair *p);

#endif /* VG_XS_H */
