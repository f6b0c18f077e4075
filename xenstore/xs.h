/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xs.h - xenstore as the daemon uses it: typed reads, states, node pairs
 *
 * Values that a guest can write are believed only as far as these functions
 * check them: a number is all digits and in range, a text has no control
 * characters and a length.
 */
#ifndef VG_XS_H
#define VG_XS_H

#include <stdbool.h>
#include <stdint.h>
#include <xenstore.h>

#include "backend/base/log.h"

#define VG_XS_PATH 256 /* bytes; XENSTORE_ABS_PATH_MAX is 3072, ours are short */

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

/**
 * vg_xs_text - read DIR/KEY into @buf
 *
 * Return: 0; -ENOENT; -EINVAL: too long for @size, or has control characters; other negative errno.
 */
int vg_xs_text(struct xs_handle *xs, const char *dir, const char *key, char *buf, size_t size);

/** vg_xs_u32 - read a decimal number. Return: 0; -ENOENT; -EINVAL: not one, or over @max. */
int vg_xs_u32(struct xs_handle *xs, const char *dir, const char *key, uint32_t max, uint32_t *out);

/** vg_xs_state - read DIR/state; what is missing or no state is VG_XENBUS_UNKNOWN */
enum vg_xenbus_state vg_xs_state(struct xs_handle *xs, const char *dir);

/** vg_xs_exists - is there a node? */
bool vg_xs_exists(struct xs_handle *xs, const char *path);

/** vg_xs_put - write DIR/KEY. Return: 0 or negative errno. */
int vg_xs_put(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key,
	      const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/**
 * vg_xs_put_state - write DIR/state, but never make DIR anew
 *
 * A node that its owner has just removed must stay removed. Return: 0; -ENOENT; negative errno.
 */
int vg_xs_put_state(struct xs_handle *xs, const char *dir, enum vg_xenbus_state s);

/** vg_xs_update - vg_xs_put() of a string, but never make DIR anew; NULL removes the key */
int vg_xs_update(struct xs_handle *xs, const char *dir, const char *key, const char *value);

/**
 * vg_xs_make_pair - make both directories, as libxl does (libxl__device_generic_add)
 * @keys: pairs of key and value for the backend's directory, ended by NULL
 *
 * Return: 0; -EEXIST: the backend's is there already; -ENOENT: no such guest; negative errno.
 */
int vg_xs_make_pair(struct xs_handle *xs, const struct vg_xs_pair *p, const char *const *keys);

/** vg_xs_remove_pair - remove both, and parents of the backend's that are empty after it */
void vg_xs_remove_pair(struct xs_handle *xs, const struct vg_xs_pair *p);

#endif /* VG_XS_H */
