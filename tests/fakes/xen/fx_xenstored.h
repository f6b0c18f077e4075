/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fx_xenstored.h - the xenstore daemon's two parts
 *
 *	fx_xenstored.c	connections, and who is told of what
 *	fx_xsrequest.c	what each request does
 */
#ifndef FX_XENSTORED_H
#define FX_XENSTORED_H

#include <errno.h> /* before the next, whose table of errors needs it */
#include <stdint.h>

#include <xen/io/xs_wire.h>

#include "tests/fakes/xen/fx_internal.h"
#include "tests/fakes/xen/fx_store.h"

/** struct fxd_watch - a watch */
struct fxd_watch {
	struct fxd_watch *next;
	char *path; /* absolute */
	char *token;
	unsigned int prefix; /* bytes to leave out in events: relative watches */
};

/** struct fxd_out - a message that waits to be sent */
struct fxd_out {
	struct fxd_out *next;
	uint32_t len, sent;
	char bytes[];
};

/** struct fxd_conn - a connection */
struct fxd_conn {
	struct fxd_conn *next;
	int fd;
	uint32_t id;
	unsigned int domid;
	bool quiet; /* the toolstack's: not counted, no faults */
	bool gone;
	uint32_t events_for;	 /* this connection carries events of that one; 0 */
	struct fxd_conn *events; /* events go there; NULL: here */
	struct fxd_watch *watches;
	unsigned int n_watches;
	struct fxs_tx *tx;
	unsigned int n_tx;
	struct fxd_out *out, **out_tail;
	uint32_t have;
	union {
		struct xsd_sockmsg hdr;
		char bytes[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX + 1];
	} in;
};

/** struct fxd_daemon - all of it */
struct fxd_daemon {
	struct fx_world *w;
	int epoll;
	struct fxd_conn *conns;
	uint32_t next_conn, next_tx;
	uint8_t introduced[32768];
	struct fxs_store store;
};

/** fxd_reply() - answer the request that @c has just sent */
void fxd_reply(struct fxd_daemon *d, struct fxd_conn *c, const void *data, size_t len);

/** fxd_error() - answer it with an errno */
void fxd_error(struct fxd_daemon *d, struct fxd_conn *c, int err);

/** fxd_event() - send an event of a watch */
void fxd_event(struct fxd_daemon *d, struct fxd_conn *c, const struct fxd_watch *wt,
	       const char *path);

/** fxd_fire() - tell all who watch and may know; struct fxs_store.fire */
void fxd_fire(void *ctx, const char *path, bool exact, const struct xs_permissions *old,
	      unsigned int n_old);

/** fxd_watch_free() - free a watch that is in no list */
void fxd_watch_free(struct fxd_watch *wt);

/** fxd_dispatch() - do what the request in c->in asks; Return: 0, or an errno to answer with */
int fxd_dispatch(struct fxd_daemon *d, struct fxd_conn *c);

#endif /* FX_XENSTORED_H */
